//! `sysctl`, `modprobe`, `lsmod`, `rmmod`: the kernel of a node.

use super::options::{Known, Options};
use super::{Cx, Done};

/// Modules that the kernel of a node has on its disk.
const ON_DISK: [&str; 34] = [
    "af_packet_diag",
    "bluetooth",
    "bpfilter",
    "br_netfilter",
    "bridge",
    "cramfs",
    "dccp",
    "dummy",
    "freevxfs",
    "hfs",
    "hfsplus",
    "ip6_tables",
    "ip_tables",
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_sh",
    "ip_vs_wrr",
    "iptable_filter",
    "iptable_nat",
    "jffs2",
    "n_hdlc",
    "nf_conntrack",
    "nf_nat",
    "nf_tables",
    "overlay",
    "rds",
    "sctp",
    "squashfs",
    "tipc",
    "udf",
    "usb_storage",
    "veth",
    "wireguard",
    "xt_conntrack",
];
/// Where modprobe's settings lie, the later winning.
const SETTINGS: [&str; 3] = ["/usr/lib/modprobe.d", "/run/modprobe.d", "/etc/modprobe.d"];
/// Where sysctl's settings lie.
const PARAMETERS: [&str; 3] = ["/usr/lib/sysctl.d", "/run/sysctl.d", "/etc/sysctl.d"];

/// `sysctl NAME`, `sysctl -w NAME=VALUE`, `sysctl -p [FILE]`, `sysctl --system`, `sysctl -a`.
pub(super) fn sysctl(cx: &Cx) -> Done {
    let known: &[Known] = &[
        ("write", Some('w'), false),
        ("values", Some('n'), false),
        ("all", Some('a'), false),
        ("all-too", Some('A'), false),
        ("load", Some('p'), false),
        ("system", None, false),
        ("quiet", Some('q'), false),
        ("ignore", Some('e'), false),
        ("names", Some('N'), false),
        ("pattern", Some('r'), true),
    ];
    let options = match Options::read(cx.args(), known) {
        Ok(options) => options,
        Err(option) => return cx.not_simulated(&format!("option `{option}`")),
    };
    let mut done = Done::default();
    if options.has("system") {
        for path in setting_files(cx, &PARAMETERS).into_iter().chain(["/etc/sysctl.conf".to_owned()]) {
            if let Ok(text) = cx.host.tree().read_text(&path) {
                done.say(&format!("* Applying {path} ...\n"));
                load(cx, &options, &text, &path, &mut done);
            }
        }
        return done;
    }
    if options.has("load") {
        let files =
            if options.rest.is_empty() { vec!["/etc/sysctl.conf".to_owned()] } else { options.rest.clone() };
        for file in files {
            if file == "-" || file == "/dev/stdin" {
                match cx.stdin() {
                    Ok(bytes) => load(cx, &options, &String::from_utf8_lossy(bytes), "-", &mut done),
                    Err(done) => return done,
                }
                continue;
            }
            match cx.host.tree().read_text(&cx.path(&file)) {
                Ok(text) => load(cx, &options, &text, &file, &mut done),
                Err(_) => {
                    done.err
                        .push_str(&format!("sysctl: cannot open \"{file}\": No such file or directory\n"));
                    done.status = 1;
                }
            }
        }
        return done;
    }
    let show = |name: &str, value: &str| {
        if options.has("values") {
            format!("{value}\n")
        } else if options.has("names") {
            format!("{name}\n")
        } else {
            format!("{name} = {value}\n")
        }
    };
    let sysctls = cx.host.sysctls();
    if options.has("all") || options.has("all-too") {
        let pattern = match options.get("pattern").map(regex::Regex::new).transpose() {
            Ok(pattern) => pattern,
            Err(_) => return Done::fail(1, "sysctl: bad pattern\n"),
        };
        let chosen =
            sysctls.iter().filter(|(name, _)| pattern.as_ref().is_none_or(|pattern| pattern.is_match(name)));
        return Done::out(chosen.map(|(name, value)| show(name, value)).collect::<String>());
    }
    if options.rest.is_empty() {
        return Done::fail(1, "sysctl: no variables specified\nTry `sysctl --help' for more information.\n");
    }
    for word in &options.rest {
        match word.split_once('=') {
            Some((name, value)) => set(cx, &options, name, value, &mut done),
            None if options.has("write") => {
                done.err.push_str(&format!("sysctl: \"{word}\" must be of the form name=value\n"));
                done.status = 1;
            }
            None => match sysctls.get(&dotted(word)) {
                Some(value) => done.say(&show(&dotted(word), value)),
                None => missing(&options, word, &mut done),
            },
        }
    }
    done
}

/// Names may be written as paths, and with stray spaces in files.
fn dotted(name: &str) -> String {
    name.trim().trim_start_matches('-').replace('/', ".")
}

fn missing(options: &Options, name: &str, done: &mut Done) {
    if !options.has("ignore") {
        let path = dotted(name).replace('.', "/");
        done.err.push_str(&format!("sysctl: cannot stat /proc/sys/{path}: No such file or directory\n"));
        done.status = 1;
    }
}

fn set(cx: &Cx, options: &Options, name: &str, value: &str, done: &mut Done) {
    let (name, value) = (dotted(name), value.trim());
    if cx.host.set_sysctl(&name, value) {
        if !options.has("quiet") {
            done.say(&match options.has("values") {
                true => format!("{value}\n"),
                false => format!("{name} = {value}\n"),
            });
        }
    } else {
        missing(options, &name, done);
    }
}

fn load(cx: &Cx, options: &Options, text: &str, path: &str, done: &mut Done) {
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        match line.split_once('=') {
            Some((name, value)) => set(cx, options, name, value, done),
            None => {
                done.err.push_str(&format!("sysctl: {path}({}): invalid syntax, continuing...\n", number + 1))
            }
        }
    }
}

fn setting_files(cx: &Cx, folders: &[&str]) -> Vec<String> {
    let mut files = std::collections::BTreeMap::new();
    for folder in folders {
        for name in cx.host.tree().list(folder).unwrap_or_default() {
            if name.ends_with(".conf") {
                files.insert(name.clone(), format!("{folder}/{name}"));
            }
        }
    }
    files.into_values().collect()
}

/// `lsmod`.
pub(super) fn lsmod(cx: &Cx) -> Done {
    let mut out = "Module                  Size  Used by\n".to_owned();
    for (name, users) in cx.host.modules() {
        let size = 16384 * (1 + name.len() % 7);
        let line = format!("{name:<19} {size:>8}  {} {}", users.len(), users.join(","));
        out.push_str(&format!("{}\n", line.trim_end()));
    }
    Done::out(out)
}

/// `modprobe NAME`, `modprobe -r NAME`.
pub(super) fn modprobe(cx: &Cx) -> Done {
    let known: &[Known] = &[
        ("remove", Some('r'), false),
        ("verbose", Some('v'), false),
        ("quiet", Some('q'), false),
        ("dry-run", Some('n'), false),
        ("use-blacklist", Some('b'), false),
        ("all", Some('a'), false),
        ("showconfig", Some('c'), false),
    ];
    let options = match Options::read(cx.args(), known) {
        Ok(options) => options,
        Err(option) => return cx.not_simulated(&format!("option `{option}`")),
    };
    let settings: String = setting_files(cx, &SETTINGS)
        .iter()
        .filter_map(|path| cx.host.tree().read_text(path).ok())
        .collect::<Vec<_>>()
        .join("\n");
    if options.has("showconfig") {
        return Done::out(settings);
    }
    if options.rest.is_empty() {
        return Done::fail(1, "modprobe: ERROR: missing parameters. See -h.\n");
    }
    let mut done = Done::default();
    let count = if options.has("all") || options.has("remove") { options.rest.len() } else { 1 };
    for name in options.rest.iter().take(count) {
        let module = name.replace('-', "_");
        if options.has("remove") {
            if !cx.host.modules().contains_key(&module) && !ON_DISK.contains(&module.as_str()) {
                done.err.push_str(&format!("modprobe: FATAL: Module {name} not found.\n"));
                done.status = 1;
            } else if cx.host.modules().contains_key(&module)
                && !options.has("dry-run")
                && !cx.host.unload_module(&module)
            {
                done.err.push_str(&format!("modprobe: FATAL: Module {name} is in use.\n"));
                done.status = 1;
            }
            continue;
        }
        let says = |word: &str| {
            settings.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).rfind(|words| {
                words.first() == Some(&word)
                    && words.get(1).is_some_and(|name| name.replace('-', "_") == module)
            })
        };
        if options.has("use-blacklist") && says("blacklist").is_some() {
            done.err.push_str(&format!(
                "modprobe: ERROR: could not insert '{module}': Operation not permitted\n"
            ));
            done.status = 1;
            continue;
        }
        if let Some(install) = says("install") {
            let command = install.get(2..).unwrap_or_default();
            match command.first().map(|program| program.rsplit('/').next().unwrap_or_default()) {
                Some("true") => {}
                Some("false") => {
                    done.err.push_str(&format!(
                        "modprobe: ERROR: ../libkmod/libkmod-module.c:990 command_do() Error running install command \
                         '{}' for module {module}: retcode 1\nmodprobe: ERROR: could not insert '{module}': Invalid \
                         argument\n",
                        command.join(" ")
                    ));
                    done.status = 1;
                }
                _ => return cx.not_simulated(&format!("the install command of module `{module}`")),
            }
            continue;
        }
        if cx.host.modules().contains_key(&module) {
            continue;
        }
        if ON_DISK.contains(&module.as_str()) {
            if !options.has("dry-run") {
                cx.host.load_module(&module);
            }
        } else {
            done.err.push_str(&format!(
                "modprobe: FATAL: Module {name} not found in directory /lib/modules/6.1.0-28-amd64\n"
            ));
            done.status = 1;
        }
    }
    done
}

/// `rmmod NAME`.
pub(super) fn rmmod(cx: &Cx) -> Done {
    let mut done = Done::default();
    for name in cx.args() {
        if name.starts_with('-') {
            return cx.not_simulated(&format!("option `{name}`"));
        }
        let module = name.replace('-', "_");
        match cx.host.modules().get(&module) {
            None => {
                done.err.push_str(&format!("rmmod: ERROR: Module {module} is not currently loaded\n"));
                done.status = 1;
            }
            Some(users) if !users.is_empty() => {
                done.err
                    .push_str(&format!("rmmod: ERROR: Module {module} is in use by: {}\n", users.join(" ")));
                done.status = 1;
            }
            Some(_) => {
                cx.host.unload_module(&module);
            }
        }
    }
    done
}
