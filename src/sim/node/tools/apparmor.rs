//! `apparmor_parser`, `aa-status`, `aa-enforce`, `aa-complain`: the profiles in a node's kernel.

use std::sync::LazyLock;

use regex::Regex;

use super::options::{Known, Options};
use super::{Cx, Done};

/// A profile's head: `profile NAME /path flags=(...) {`, or a path alone.
static HEAD: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"^\s*(?:profile\s+(?:"(?P<quoted>[^"]+)"|(?P<name>[^\s"{]+))(?:\s+[/@"][^\s{]*)?|(?P<path>/[^\s{]*))\s*(?:xattrs=\([^)]*\)\s*)?(?:flags\s*=\s*)?(?:\((?P<flags>[^)]*)\))?\s*\{"#,
    )
    .ok()
});

/// A profile in a file.
struct Profile {
    name: String,
    flags: String,
}

/// Finds the profiles of a file, or the line in which it makes no sense.
fn profiles(text: &str) -> Result<Vec<Profile>, (usize, String)> {
    let mut found: Vec<Profile> = Vec::new();
    let mut depth = 0_i64;
    let mut last = 0;
    for (index, line) in text.lines().enumerate() {
        last = index + 1;
        // What begins with # is a comment but for the includes of old.
        let code = line.split_once('#').map_or(line, |(before, _)| before);
        let code = code.trim();
        if code.is_empty() {
            continue;
        }
        let head = HEAD.as_ref().and_then(|head| head.captures(code));
        if depth == 0 {
            match &head {
                Some(head) => {
                    let text = |name: &str| head.name(name).map(|found| found.as_str().to_owned());
                    let name =
                        text("quoted").or_else(|| text("name")).or_else(|| text("path")).unwrap_or_default();
                    found.push(Profile { name, flags: text("flags").unwrap_or_default() });
                }
                None => {
                    let word = code.split_whitespace().next().unwrap_or_default();
                    let known = ["abi", "include", "alias", "set"].contains(&word) || word.starts_with('@');
                    if !known {
                        return Err((index + 1, "syntax error, unexpected TOK_ID".to_owned()));
                    }
                }
            }
        } else if head.is_none() && !code.ends_with([',', '{', '}']) && !code.starts_with("include") {
            // Rules end with a comma; one may go on over lines.
            let next = text.lines().nth(index + 1).map(str::trim).unwrap_or_default();
            if next.starts_with('}') || next.is_empty() {
                return Err((
                    index + 2,
                    "syntax error, unexpected TOK_CLOSE, expecting TOK_END_OF_RULE".to_owned(),
                ));
            }
        }
        // Braces of alternatives in paths come in pairs on one line.
        for letter in code.chars() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
        }
        if depth < 0 {
            return Err((index + 1, "syntax error, unexpected TOK_CLOSE".to_owned()));
        }
    }
    if depth > 0 {
        return Err((last, "syntax error, unexpected $end".to_owned()));
    }
    Ok(found)
}

/// `apparmor_parser [-a|-r|-R] [-C] FILE...`.
pub(super) fn parser(cx: &Cx) -> Done {
    let known: &[Known] = &[
        ("add", Some('a'), false),
        ("replace", Some('r'), false),
        ("remove", Some('R'), false),
        ("Complain", Some('C'), false),
        ("quiet", Some('q'), false),
        ("write-cache", Some('W'), false),
        ("skip-cache", Some('K'), false),
        ("skip-read-cache", Some('T'), false),
        ("verbose", Some('v'), false),
        ("names", Some('N'), false),
        ("skip-kernel-load", Some('Q'), false),
        ("preprocess", Some('p'), false),
    ];
    let options = match Options::read(cx.args(), known) {
        Ok(options) => options,
        Err(option) => return cx.not_simulated(&format!("option `{option}`")),
    };
    if options.has("preprocess") {
        return cx.not_simulated("option `--preprocess`");
    }
    let mut files = Vec::new();
    if options.rest.is_empty() {
        match cx.stdin() {
            Ok(bytes) => files.push(("stdin".to_owned(), String::from_utf8_lossy(bytes).into_owned())),
            Err(done) => return done,
        }
    }
    for name in &options.rest {
        let path = cx.path(name);
        let listed = cx
            .host
            .tree()
            .list(&path)
            .map(|all| all.into_iter().map(|one| format!("{name}/{one}")).collect());
        for name in listed.unwrap_or_else(|_| vec![name.clone()]) {
            match cx.host.tree().read_text(&cx.path(&name)) {
                Ok(text) => files.push((name, text)),
                // Folders below a folder are not gone through.
                Err(_)
                    if options
                        .rest
                        .iter()
                        .any(|given| given != &name && name.starts_with(given.as_str())) => {}
                Err(_) => return Done::fail(2, format!("File {name} not found, skipping...\n")),
            }
        }
    }
    let mut done = Done::default();
    for (name, text) in files {
        let found = match profiles(&text) {
            Ok(found) => found,
            Err((line, why)) => {
                done.err.push_str(&format!(
                    "AppArmor parser error for {name} in profile {name} at line {line}: {why}\n"
                ));
                done.status = 1;
                continue;
            }
        };
        for profile in found {
            if options.has("names") {
                done.say(&format!("{}\n", profile.name));
                continue;
            }
            if options.has("skip-kernel-load") {
                continue;
            }
            let loaded = cx.host.profiles().contains_key(&profile.name);
            if options.has("remove") {
                if !cx.host.unload_profile(&profile.name) {
                    done.err.push_str(&format!(
                        "apparmor_parser: Unable to remove \"{}\".  Profile doesn't exist\n",
                        profile.name
                    ));
                    done.status = 254;
                }
            } else if loaded && !options.has("replace") {
                done.err.push_str(&format!(
                    "apparmor_parser: Unable to add \"{}\".  Profile already exists\n",
                    profile.name
                ));
                done.status = 239;
            } else {
                let complain = options.has("Complain") || profile.flags.contains("complain");
                cx.host.load_profile(&profile.name, if complain { "complain" } else { "enforce" });
            }
        }
    }
    done
}

/// `aa-status`.
pub(super) fn status(cx: &Cx) -> Done {
    let profiles = cx.host.profiles();
    let in_mode = |mode: &str| -> Vec<&String> {
        profiles.iter().filter(|(_, have)| *have == mode).map(|(name, _)| name).collect()
    };
    match cx.args() {
        [] => {}
        [option] if option == "--enabled" => return Done::default(),
        [option] if option == "--profiled" => return Done::out(format!("{}\n", profiles.len())),
        [option] if option == "--enforced" => return Done::out(format!("{}\n", in_mode("enforce").len())),
        [option] if option == "--complaining" => {
            return Done::out(format!("{}\n", in_mode("complain").len()));
        }
        [option] if option == "--verbose" => {}
        [option, ..] => return cx.not_simulated(&format!("option `{option}`")),
    }
    let mut out = format!("apparmor module is loaded.\n{} profiles are loaded.\n", profiles.len());
    for mode in ["enforce", "complain"] {
        let names = in_mode(mode);
        out.push_str(&format!("{} profiles are in {mode} mode.\n", names.len()));
        names.iter().for_each(|name| out.push_str(&format!("   {name}\n")));
    }
    out.push_str("0 profiles are in kill mode.\n0 profiles are in unconfined mode.\n");
    // Containers of a Pod that names a profile run under it.
    let confined: Vec<(u32, String, String)> = cx
        .host
        .processes()
        .into_iter()
        .filter_map(|process| {
            let container = cx.host.container(process.container.as_deref()?)?;
            let profile = &container.spec["securityContext"]["appArmorProfile"];
            let name = profile["localhostProfile"].as_str()?.to_owned();
            let program = process.command.first().cloned().unwrap_or_default();
            profiles.contains_key(&name).then_some((process.pid, program, name))
        })
        .collect();
    let mode = |name: &str| profiles.get(name).map(String::as_str).unwrap_or_default();
    out.push_str(&format!("{} processes have profiles defined.\n", confined.len()));
    for wanted in ["enforce", "complain"] {
        let these: Vec<_> = confined.iter().filter(|(_, _, name)| mode(name) == wanted).collect();
        out.push_str(&format!("{} processes are in {wanted} mode.\n", these.len()));
        these.iter().for_each(|(pid, program, name)| out.push_str(&format!("   {program} ({pid}) {name}\n")));
    }
    out.push_str(
        "0 processes are unconfined but have a profile defined.\n0 processes are in mixed mode.\n0 processes are in kill \
         mode.\n",
    );
    Done::out(out)
}

/// `aa-enforce` and `aa-complain`: the mode of the profiles in a file.
pub(super) fn set_mode(cx: &Cx, mode: &str) -> Done {
    let mut done = Done::default();
    if cx.args().is_empty() {
        return Done::fail(
            1,
            format!("usage: aa-{mode} [-h] [-d DIR] [--no-reload] program [program ...]\n"),
        );
    }
    for name in cx.args() {
        if name.starts_with('-') {
            return cx.not_simulated(&format!("option `{name}`"));
        }
        let path = cx.path(name);
        let Ok(text) = cx.host.tree().read_text(&path) else {
            done.err.push_str(&format!("\nERROR: Can't find {name} in the system path list. If the name of the application\nis correct, please run 'which {name}' as a user with correct PATH\nenvironment set up in order to find the fully-qualified path and\nuse the full path as parameter.\n"));
            done.status = 1;
            continue;
        };
        let Ok(found) = profiles(&text) else {
            done.err.push_str(&format!("\nERROR: Syntax Error: {path}\n"));
            done.status = 1;
            continue;
        };
        done.say(&format!("Setting {path} to {mode} mode.\n"));
        let changed = with_mode(&text, mode);
        if changed != text
            && let Err(error) = cx.host.tree().write(&path, changed, 0o644)
        {
            done.err.push_str(&format!("{path}: {error}\n"));
            done.status = 1;
            continue;
        }
        for profile in found {
            cx.host.load_profile(&profile.name, mode);
        }
    }
    done
}

/// Sets or takes away the flag `complain` in the heads of profiles.
fn with_mode(text: &str, mode: &str) -> String {
    let mut out = String::new();
    let mut depth = 0_i64;
    for line in text.lines() {
        let head = HEAD
            .as_ref()
            .filter(|_| depth == 0 && !line.trim_start().starts_with('#'))
            .and_then(|head| head.captures(line));
        let code = line.split_once('#').map_or(line, |(before, _)| before);
        depth += code.matches('{').count() as i64 - code.matches('}').count() as i64;
        let Some(head) = head else {
            out.push_str(&format!("{line}\n"));
            continue;
        };
        let flags = head.name("flags").map(|flags| flags.as_str()).unwrap_or_default();
        let mut list: Vec<&str> =
            flags.split([',', ' ']).filter(|flag| !flag.is_empty() && *flag != "complain").collect();
        if mode == "complain" {
            list.push("complain");
        }
        let start = line.find("flags").or_else(|| line.rfind('{')).unwrap_or(line.len());
        let flags = if list.is_empty() { String::new() } else { format!("flags=({}) ", list.join(",")) };
        let rest = line.rfind('{').and_then(|at| line.get(at..)).unwrap_or("{");
        out.push_str(&format!("{}{flags}{rest}\n", line.get(..start).unwrap_or_default()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "#include <tunables/global>\nabi <abi/3.0>,\n\nprofile k8s-deny-write flags=(attach_disconnected) {\n  \
                        #include <abstractions/base>\n  file,\n  # Deny all file writes.\n  deny /** w,\n  /etc/{a,b} r,\n}\n\
                        profile second /usr/bin/x {\n  file,\n}\n/usr/sbin/nginx {\n  capability net_bind_service,\n}\n";

    #[test]
    fn profiles_are_found_by_their_heads() {
        let found = profiles(GOOD).unwrap();
        let names: Vec<&str> = found.iter().map(|profile| profile.name.as_str()).collect();
        assert_eq!(names, ["k8s-deny-write", "second", "/usr/sbin/nginx"]);
        assert_eq!(found[0].flags, "attach_disconnected");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_line() {
        for (text, line) in [
            ("profile a {\n  file,\n", 2),
            ("profile a {\n  file\n}\n", 3),
            ("nonsense here\n", 1),
            ("profile a {\n file,\n}\n}\n", 4),
        ] {
            assert_eq!(profiles(text).map(|_| ()).unwrap_err().0, line, "{text}");
        }
    }

    #[test]
    fn a_mode_is_a_flag_of_the_head() {
        let complaining = with_mode(GOOD, "complain");
        assert!(
            complaining.contains("profile k8s-deny-write flags=(attach_disconnected,complain) {\n"),
            "{complaining}"
        );
        assert!(complaining.contains("profile second /usr/bin/x flags=(complain) {\n"), "{complaining}");
        assert_eq!(with_mode(&complaining, "enforce"), GOOD);
    }
}
