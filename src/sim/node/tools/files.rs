//! `chown`, `chgrp` and `stat`: whose a file is. All files of a node are those of whoever runs this program, who is root
//! there; that one is somebody else's is a note that these tools make and read.

use super::options::{Known, Options};
use super::{Cx, Done};
use crate::sim::node::tree::{Facts, Kind, Tree};

/// Finds the number of a user or a group by its name, in `/etc/passwd` or `/etc/group`.
fn number(tree: &Tree, file: &str, name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let text = tree.read_text(file).ok()?;
    text.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))?
        .get(2)?
        .parse()
        .ok()
}

fn name(tree: &Tree, file: &str, number: u32) -> String {
    let text = tree.read_text(file).unwrap_or_default();
    let wanted = number.to_string();
    let mut lines = text.lines().map(|line| line.split(':').collect::<Vec<_>>());
    match lines.find(|fields| fields.get(2) == Some(&wanted.as_str())) {
        Some(fields) => fields.first().copied().unwrap_or_default().to_owned(),
        None if number == 0 => "root".to_owned(),
        None => "UNKNOWN".to_owned(),
    }
}

/// Reads `user`, `user:group`, `user:`, `:group` by the names that the node has.
///
/// # Errors
/// What `chown` says of a name that there is none of.
pub fn owner(tree: &Tree, text: &str) -> Result<(Option<u32>, Option<u32>), String> {
    let (user, group) = text.split_once([':', '.']).map_or((text, None), |(user, group)| (user, Some(group)));
    let user_number = match user {
        "" => None,
        user => Some(number(tree, "/etc/passwd", user).ok_or_else(|| format!("invalid user: '{text}'"))?),
    };
    let group_number = match group {
        None => None,
        // With a colon and no group it is the user's own.
        Some("") => user_number,
        Some(group) => {
            Some(number(tree, "/etc/group", group).ok_or_else(|| format!("invalid group: '{text}'"))?)
        }
    };
    Ok((user_number, group_number))
}

/// `chown` and `chgrp`.
pub(super) fn chown(cx: &Cx) -> Done {
    let tool = cx.ask.tool.as_str();
    let known: &[Known] = &[
        ("recursive", Some('R'), false),
        ("verbose", Some('v'), false),
        ("changes", Some('c'), false),
        ("silent", Some('f'), false),
        ("no-dereference", Some('h'), false),
        ("reference", None, true),
    ];
    let options = match Options::read(cx.args(), known) {
        Ok(options)
            if !options.has("verbose") && !options.has("changes") && !options.has("no-dereference") =>
        {
            options
        }
        Ok(_) => return cx.not_simulated("options `-v`, `-c` and `-h`"),
        Err(option) => return cx.not_simulated(&format!("option `{option}`")),
    };
    let tree = cx.tree();
    let (wanted, files) = if let Some(reference) = options.get("reference") {
        match tree.stat(&cx.path(reference)) {
            Ok(facts) => {
                ((Some(facts.owner).filter(|_| tool == "chown"), Some(facts.group)), options.rest.as_slice())
            }
            Err(_) => {
                return Done::fail(
                    1,
                    format!("{tool}: failed to get attributes of '{reference}': No such file or directory\n"),
                );
            }
        }
    } else {
        let Some((first, files)) = options.rest.split_first() else {
            return Done::fail(
                1,
                format!("{tool}: missing operand\nTry '{tool} --help' for more information.\n"),
            );
        };
        let text = if tool == "chgrp" { format!(":{first}") } else { first.clone() };
        match owner(tree, &text) {
            Ok(wanted) => (wanted, files),
            Err(error) => {
                let error = if tool == "chgrp" { error.replace("':", "'") } else { error };
                return Done::fail(1, format!("{tool}: {error}\n"));
            }
        }
    };
    if files.is_empty() {
        return Done::fail(
            1,
            format!(
                "{tool}: missing operand after '{}'\nTry '{tool} --help' for more information.\n",
                options.rest.first().map(String::as_str).unwrap_or_default()
            ),
        );
    }
    let mut done = Done::default();
    for file in files {
        let path = cx.path(file);
        if let Err(error) = change(tree, &path, wanted, options.has("recursive")) {
            let reason = words(&error);
            if !options.has("silent") {
                done.err.push_str(&match reason {
                    "No such file or directory" => format!("{tool}: cannot access '{file}': {reason}\n"),
                    reason => format!("{tool}: changing ownership of '{file}': {reason}\n"),
                });
            }
            done.status = 1;
        }
    }
    done
}

fn change(tree: &Tree, path: &str, wanted: (Option<u32>, Option<u32>), below: bool) -> std::io::Result<()> {
    let facts = tree.stat(path)?;
    tree.set_owner(path, wanted.0.unwrap_or(facts.owner), wanted.1.unwrap_or(facts.group))?;
    if below && facts.kind == Kind::Folder {
        for name in tree.list(path)? {
            let inner = format!("{}/{name}", path.trim_end_matches('/'));
            // Links below a folder are not followed, and are root's.
            if matches!(tree.lstat(&inner)?.kind, Kind::File | Kind::Folder) {
                change(tree, &inner, wanted, true)?;
            }
        }
    }
    Ok(())
}

fn words(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::NotFound => "No such file or directory",
        std::io::ErrorKind::NotADirectory => "Not a directory",
        std::io::ErrorKind::PermissionDenied => "Permission denied",
        std::io::ErrorKind::ReadOnlyFilesystem => "Read-only file system",
        std::io::ErrorKind::Unsupported => "Operation not supported",
        _ => "Invalid argument",
    }
}

/// `stat`, of the node's own files; of all others it is the program of that name that answers.
pub(super) fn stat(cx: &Cx) -> Done {
    let known: &[Known] = &[
        ("dereference", Some('L'), false),
        ("format", Some('c'), true),
        ("printf", None, true),
        ("terse", Some('t'), false),
        ("file-system", Some('f'), false),
    ];
    let host = || Done::run([vec!["/usr/bin/stat".to_owned()], cx.args().to_vec()].concat());
    let Ok(options) = Options::read(cx.args(), known) else { return host() };
    let tree = cx.tree();
    // Without a note there is nothing that the program of that name does not know as well.
    let noted = options.rest.iter().any(|file| {
        let facts =
            if options.has("dereference") { tree.stat(&cx.path(file)) } else { tree.lstat(&cx.path(file)) };
        facts.is_ok_and(|facts| (facts.owner, facts.group) != (0, 0))
    });
    if !noted || options.has("file-system") || options.has("terse") {
        return host();
    }
    let mut done = Done::default();
    for file in &options.rest {
        let path = cx.path(file);
        let facts = if options.has("dereference") { tree.stat(&path) } else { tree.lstat(&path) };
        match facts {
            Err(error) => {
                done.err.push_str(&format!("stat: cannot statx '{file}': {}\n", words(&error)));
                done.status = 1;
            }
            Ok(facts) => match (options.get("format"), options.get("printf")) {
                (Some(format), _) => match formatted(tree, format, file, &facts) {
                    Some(text) => done.say(&format!("{text}\n")),
                    None => return cx.not_simulated(&format!("the format `{format}`")),
                },
                (None, Some(format)) => match formatted(tree, &format.replace("\\n", "\n"), file, &facts) {
                    Some(text) => done.say(&text),
                    None => return cx.not_simulated(&format!("the format `{format}`")),
                },
                (None, None) => {
                    let format =
                        "  File: %n\n  Size: %s\t\t%F\nAccess: (%04a/%A)  Uid: (%5u/%8U)   Gid: (%5g/%8G)";
                    done.say(&format!("{}\n", formatted(tree, format, file, &facts).unwrap_or_default()));
                }
            },
        }
    }
    done
}

/// Fills in a format of `stat`; nothing where it holds what is not known here.
pub fn formatted(tree: &Tree, format: &str, file: &str, facts: &Facts) -> Option<String> {
    let mut out = String::new();
    let mut letters = format.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let mut width = String::new();
        while let Some(digit) = letters.next_if(char::is_ascii_digit) {
            width.push(digit);
        }
        let value = match letters.next()? {
            'a' => format!("{:o}", facts.mode),
            'A' => permissions(facts),
            'f' => return None,
            'F' => kind(facts).to_owned(),
            'g' => facts.group.to_string(),
            'G' => name(tree, "/etc/group", facts.group),
            'i' => facts.number.to_string(),
            'n' => file.to_owned(),
            's' => facts.size.to_string(),
            'u' => facts.owner.to_string(),
            'U' => name(tree, "/etc/passwd", facts.owner),
            'Y' => facts.written.0.to_string(),
            '%' => "%".to_owned(),
            _ => return None,
        };
        let zeros = width.starts_with('0');
        let width: usize = width.parse().unwrap_or(0);
        match zeros {
            true => out.push_str(&format!("{value:0>width$}")),
            false => out.push_str(&format!("{value:>width$}")),
        }
    }
    Some(out)
}

fn kind(facts: &Facts) -> &'static str {
    match facts.kind {
        Kind::File if facts.size == 0 => "regular empty file",
        Kind::File => "regular file",
        Kind::Folder => "directory",
        Kind::Link => "symbolic link",
        Kind::Socket => "socket",
        Kind::Pipe => "fifo",
        Kind::Device => "character special file",
    }
}

fn permissions(facts: &Facts) -> String {
    let first = match facts.kind {
        Kind::File => '-',
        Kind::Folder => 'd',
        Kind::Link => 'l',
        Kind::Socket => 's',
        Kind::Pipe => 'p',
        Kind::Device => 'c',
    };
    let mut text = String::from(first);
    for (shift, special, small, large) in
        [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')]
    {
        let bits = facts.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (facts.mode & special != 0, bits & 1 != 0) {
            (true, true) => small,
            (true, false) => large,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_names_or_numbers_of_the_node() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::open(dir.path()).unwrap();
        tree.write("/etc/passwd", b"root:x:0:0::/root:/bin/bash\netcd:x:998:997::/:/bin/false\n", 0o644)
            .unwrap();
        tree.write("/etc/group", b"root:x:0:\netcd:x:997:\n", 0o644).unwrap();
        assert_eq!(owner(&tree, "etcd:etcd"), Ok((Some(998), Some(997))));
        assert_eq!(owner(&tree, "etcd"), Ok((Some(998), None)));
        assert_eq!(owner(&tree, ":5"), Ok((None, Some(5))));
        assert_eq!(owner(&tree, "nemo:root"), Err("invalid user: 'nemo:root'".to_owned()));
        tree.write("/var/lib/etcd/x", b"abc", 0o600).unwrap();
        change(&tree, "/var/lib/etcd", (Some(998), Some(997)), true).unwrap();
        let facts = tree.stat("/var/lib/etcd/x").unwrap();
        let shown = formatted(&tree, "%a %U %G %s %F %A %04a %u:%g", "x", &facts).unwrap();
        assert_eq!(shown, "600 etcd etcd 3 regular file -rw------- 0600 998:997");
        assert_eq!(formatted(&tree, "%Z", "x", &facts), None);
    }
}
