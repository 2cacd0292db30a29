//! Words of a Dockerfile and of the shell lines in it: variables expanded, `key=value` lists split, commands told
//! apart, and what package managers install in them. Knows no instruction.

use std::collections::{BTreeMap, BTreeSet};

/// Expands `$name`, `${name}`, and `${name:-word}` and its kin, as the builder does; what is not set is empty.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['$', '\\']) {
        out.push_str(&rest[..at]);
        let found = &rest[at..];
        if let Some(after) = found.strip_prefix('\\') {
            match after.strip_prefix('$') {
                Some(after) => {
                    out.push('$');
                    rest = after;
                }
                None => {
                    out.push('\\');
                    rest = after;
                }
            }
            continue;
        }
        let after = &found[1..];
        if let Some((inside, tail)) = after.strip_prefix('{').and_then(braces) {
            out.push_str(&substitute(inside, variables));
            rest = tail;
        } else {
            let end = after
                .find(|char: char| !(char.is_ascii_alphanumeric() || char == '_'))
                .unwrap_or(after.len());
            if end == 0 {
                out.push('$');
            } else {
                out.push_str(variables.get(&after[..end]).map_or("", String::as_str));
            }
            rest = &after[end..];
        }
    }
    out.push_str(rest);
    out
}

/// Splits what follows `{` at the brace that closes it.
fn braces(text: &str) -> Option<(&str, &str)> {
    let mut depth = 1;
    for (at, char) in text.char_indices() {
        match char {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
}

fn substitute(inside: &str, variables: &BTreeMap<String, String>) -> String {
    let end =
        inside.find(|char: char| !(char.is_ascii_alphanumeric() || char == '_')).unwrap_or(inside.len());
    let (name, operator) = inside.split_at(end);
    let set = variables.get(name);
    let full = set.filter(|value| !value.is_empty());
    let value = || set.cloned().unwrap_or_default();
    if let Some(word) = operator.strip_prefix(":-") {
        full.cloned().unwrap_or_else(|| expand(word, variables))
    } else if let Some(word) = operator.strip_prefix(":+") {
        full.map(|_| expand(word, variables)).unwrap_or_default()
    } else if let Some(word) = operator.strip_prefix('-') {
        set.cloned().unwrap_or_else(|| expand(word, variables))
    } else if let Some(word) = operator.strip_prefix('+') {
        set.map(|_| expand(word, variables)).unwrap_or_default()
    } else if let Some(word) = operator.strip_prefix('#') {
        let word = word.trim_start_matches('#');
        value().strip_prefix(word).map_or_else(value, str::to_owned)
    } else if let Some(word) = operator.strip_prefix('%') {
        let word = word.trim_start_matches('%');
        value().strip_suffix(word).map_or_else(value, str::to_owned)
    } else {
        value()
    }
}

/// Splits a line into words at spaces that are not quoted, and takes quotes away.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(open), char) if char == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => match chars.next() {
                // The dollar stays marked, so that it is not expanded.
                Some('$') => word.get_or_insert_default().push_str("\\$"),
                Some('\n') | None => {}
                Some(next) => word.get_or_insert_default().push(next),
            },
            (None, char) if char.is_whitespace() => words.extend(word.take()),
            (_, char) => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

/// Splits `a=b c="d e"`, and for `ENV` the old form `a b c`, into names and values.
pub(super) fn pairs(text: &str, old_form: bool) -> Vec<(String, Option<String>)> {
    let text = text.trim();
    let first = text.split(char::is_whitespace).next().unwrap_or_default();
    if old_form && !first.contains('=') {
        let rest = text[first.len()..].trim();
        return vec![(first.to_owned(), Some(rest.to_owned()))];
    }
    words(text)
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        })
        .collect()
}

/// Splits a shell script into simple commands: at `&&`, `||`, `;`, `|`, `&` and line ends that are not quoted.
pub(super) fn commands(script: &str) -> Vec<Vec<String>> {
    let script = script.replace("\\\r\n", " ").replace("\\\n", " ");
    let mut commands = Vec::new();
    let mut start = 0;
    let mut quote = None;
    let mut escaped = false;
    let mut comment = false;
    let mut before = ' ';
    for (at, char) in script.char_indices() {
        if comment {
            if char == '\n' {
                comment = false;
                start = at;
            }
            before = char;
            continue;
        }
        match (quote, char) {
            _ if escaped => escaped = false,
            (None | Some('"'), '\\') => escaped = true,
            (Some(open), char) if char == open => quote = None,
            (None, '"' | '\'') => quote = Some(char),
            (None, '#') if before.is_whitespace() || before == ';' => {
                commands.push(words(&script[start..at]));
                comment = true;
            }
            (None, ';' | '|' | '&' | '\n' | '(' | ')' | '{' | '}') => {
                commands.push(words(&script[start..at]));
                start = at + char.len_utf8();
            }
            _ => {}
        }
        before = char;
    }
    if !comment {
        commands.push(words(&script[start..]));
    }
    commands.into_iter().map(bare).filter(|command| !command.is_empty()).collect()
}

/// Takes away what may stand before the command itself: assignments, keywords, `sudo`, `env`, `exec`.
fn bare(words: Vec<String>) -> Vec<String> {
    const BEFORE: [&str; 11] =
        ["sudo", "env", "exec", "command", "then", "do", "else", "if", "while", "!", "time"];
    let is_before = |word: &String| {
        BEFORE.contains(&word.as_str())
            || word.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty() && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
            })
    };
    words.into_iter().skip_while(is_before).collect()
}

/// What package managers leave in a layer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Installed {
    /// Names without versions.
    pub(super) packages: BTreeSet<String>,
    /// The package managers that leave lists or caches behind.
    pub(super) caches: BTreeSet<&'static str>,
}

/// Follows the package managers through the commands of one layer. `mounts` are the targets of cache mounts.
pub(super) fn installed(commands: &[Vec<String>], mounts: &[String]) -> Installed {
    let mut found = Installed::default();
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for command in commands {
        let program = command[0].rsplit('/').next().unwrap_or_default();
        let is_verb = |word: &&String| !word.starts_with('-');
        let verb = command.iter().skip(1).find(is_verb).map_or("", String::as_str);
        let (installs, removes, cache) = match program {
            "apt-get" | "apt" | "aptitude" => {
                (verb == "install", ["remove", "purge", "autoremove"].contains(&verb), "apt")
            }
            "apk" => (verb == "add", verb == "del", "apk"),
            "dnf" | "microdnf" | "yum" | "zypper" => {
                (["install", "in"].contains(&verb), ["remove", "erase", "rm"].contains(&verb), "dnf")
            }
            "pip" | "pip3" => (verb == "install", verb == "uninstall", "pip"),
            "npm" => (["install", "i", "add"].contains(&verb), verb == "uninstall", "npm"),
            "rm" => {
                for path in command.iter().skip(1) {
                    if path.starts_with("/var/lib/apt") {
                        found.caches.remove("apt");
                    } else if path.starts_with("/var/cache/apk") {
                        found.caches.remove("apk");
                    } else if path.starts_with("/var/cache/dnf") || path.starts_with("/var/cache/yum") {
                        found.caches.remove("dnf");
                    }
                }
                continue;
            }
            _ => continue,
        };
        let flag = |name: &str| command.iter().any(|word| word == name);
        let mounted = |folder: &str| mounts.iter().any(|target| target.starts_with(folder));
        match program {
            "apt-get" | "apt" | "aptitude" if (verb == "update" || installs) && !mounted("/var/lib/apt") => {
                found.caches.insert(cache);
            }
            "apk" if (installs || verb == "update") && !flag("--no-cache") && !mounted("/var/cache/apk") => {
                found.caches.insert(cache);
            }
            "dnf" | "microdnf" | "yum" | "zypper" => {
                if verb == "clean" {
                    found.caches.remove(cache);
                } else if installs && !mounts.iter().any(|target| target.starts_with("/var/cache")) {
                    found.caches.insert(cache);
                }
            }
            _ => {}
        }
        let mut named = Vec::new();
        let mut group = None;
        let mut rest = command.iter().skip_while(|word| *word != verb).skip(1);
        while let Some(word) = rest.next() {
            if ["--virtual", "-t"].contains(&word.as_str()) && cache == "apk" {
                group = rest.next().cloned();
            } else if ["-t", "--target-release", "-o", "--repository", "-X", "-r"].contains(&word.as_str()) {
                rest.next();
            } else if let Some(name) = word.strip_prefix("--virtual=") {
                group = Some(name.to_owned());
            } else if !word.starts_with(['-', '$', '>', '<']) {
                named.push(package(word, cache));
            }
        }
        if installs {
            found.packages.extend(named.iter().cloned());
            if let Some(group) = group {
                groups.insert(group, named);
            }
        } else if removes {
            for name in named {
                match groups.remove(&name) {
                    Some(members) => members.iter().for_each(|member| {
                        found.packages.remove(member);
                    }),
                    None => {
                        found.packages.remove(&name);
                    }
                }
            }
        }
    }
    found
}

/// Takes versions, architectures and releases from a package's name.
fn package(word: &str, manager: &str) -> String {
    let name = match manager {
        "apt" => word.split(['=', ':', '/']).next(),
        "apk" | "pip" => word.split(['=', '~', '<', '>', '@', '[', '!']).next(),
        "npm" => match word.strip_prefix('@') {
            Some(scoped) => return format!("@{}", scoped.split('@').next().unwrap_or(scoped)),
            None => word.split('@').next(),
        },
        _ => Some(word),
    };
    name.unwrap_or(word).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_expand_as_in_the_builder() {
        let of = |text: &str| {
            let set = [("a", "1"), ("e", ""), ("p", "v1.2")];
            expand(text, &set.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
        };
        for (text, expected) in [
            ("x$a.y", "x1.y"),
            ("${a}b", "1b"),
            ("${e:-d}${e-d}", "d"),
            ("${n:-${a}}", "1"),
            ("${a:+y}${n:+z}", "y"),
            (r"\$a $", "$a $"),
            ("${p#v}", "1.2"),
            ("$n", ""),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }

    #[test]
    fn pairs_have_two_forms() {
        let pair = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        assert_eq!(
            pairs(r#"a=1 b="x y" c"#, false),
            [pair("a", Some("1")), pair("b", Some("x y")), pair("c", None)]
        );
        assert_eq!(pairs("PATH /bin:/usr", true), [pair("PATH", Some("/bin:/usr"))]);
    }

    #[test]
    fn package_managers_leave_what_is_not_removed_in_the_same_layer() {
        let of = |script: &str| installed(&commands(script), &[]);
        let names = |found: &Installed| found.packages.iter().cloned().collect::<Vec<_>>().join(" ");
        let apt = of(
            "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends curl=7.88 \\\n git # vim\n",
        );
        assert_eq!((names(&apt).as_str(), apt.caches.contains("apt")), ("curl git", true));
        let clean =
            of("apt-get update; apt-get -y install curl; apt-get purge -y curl; rm -rf /var/lib/apt/lists/*");
        assert_eq!(clean, Installed::default());
        let apk = of(
            "apk add --no-cache --virtual .deps gcc make && make && apk del .deps && apk add --no-cache tini",
        );
        assert_eq!((names(&apk).as_str(), apk.caches.len()), ("tini", 0));
        assert_eq!(of("echo 'apt-get install curl'"), Installed::default());
        assert_eq!(of("echo x # ; apt-get install curl"), Installed::default());
    }
}
