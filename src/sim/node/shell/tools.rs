//! The commands that scripts of containers use: the shell's own and BusyBox's, with its words for what goes wrong.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Flow, Machine, OnTerm, Step, TICK, expand};

/// Names of the programs that are answered here.
const TOOLS: &[&str] = &[
    "[",
    "arch",
    "ash",
    "awk",
    "base64",
    "basename",
    "bash",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "dirname",
    "dmesg",
    "du",
    "echo",
    "egrep",
    "env",
    "expr",
    "false",
    "fgrep",
    "find",
    "free",
    "grep",
    "gunzip",
    "gzip",
    "head",
    "hostname",
    "httpd",
    "id",
    "kill",
    "killall",
    "ln",
    "ls",
    "md5sum",
    "mkdir",
    "mkfifo",
    "mknod",
    "mktemp",
    "more",
    "mount",
    "mv",
    "nc",
    "netstat",
    "nice",
    "nohup",
    "nproc",
    "nslookup",
    "pgrep",
    "ping",
    "pkill",
    "printenv",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "su",
    "sync",
    "tail",
    "tar",
    "tee",
    "telnet",
    "test",
    "time",
    "timeout",
    "top",
    "touch",
    "tr",
    "traceroute",
    "true",
    "tty",
    "umask",
    "umount",
    "uname",
    "uniq",
    "unzip",
    "uptime",
    "usleep",
    "vi",
    "watch",
    "wc",
    "wget",
    "which",
    "who",
    "whoami",
    "xargs",
    "yes",
];

/// Tells whether BusyBox has a program of this name.
pub(in crate::sim::node) fn is_tool(name: &str) -> bool {
    TOOLS.binary_search(&name).is_ok()
}

/// Commands that are part of the shell and can end or change it.
const OWN: &[&str] = &[
    ".", ":", "alias", "break", "cd", "command", "continue", "eval", "exec", "exit", "export", "local",
    "read", "readonly", "return", "set", "shift", "source", "trap", "type", "ulimit", "umask", "unset",
    "wait",
];

impl Machine<'_> {
    /// Runs a program as `exec` does.
    pub(super) fn program(&mut self, argv: Vec<String>) -> Step {
        let Some(first) = argv.first() else { return Ok(0) };
        let name = first.rsplit('/').next().unwrap_or_default().to_owned();
        if matches!(name.as_str(), "sh" | "ash" | "bash" | "dash" | "zsh") {
            return self.shell(&argv[1..]);
        }
        if matches!(name.as_str(), "tini" | "dumb-init" | "docker-entrypoint.sh" | "nohup" | "nice") {
            let rest: Vec<String> =
                argv[1..].iter().skip_while(|arg| arg.starts_with('-')).cloned().collect();
            return if rest.is_empty() { Ok(0) } else { self.program(rest) };
        }
        self.pass(TICK)?;
        if let Some((out, error, code, time)) =
            self.host.program(&argv, self.stdin.as_deref().unwrap_or_default())
        {
            self.pass(time)?;
            self.say(&out);
            self.complain(&error);
            return Ok(code);
        }
        if is_tool(&name) {
            return self.tool(&name, &argv[1..]);
        }
        if let Some(script) = self.read(first).filter(|text| first.contains('/') && text.starts_with("#!")) {
            return self.nested(&script, &argv[1..]);
        }
        if self.host.is_service(first) {
            return Err(Flow::Pause);
        }
        self.complain(&format!("sh: {first}: not found\n"));
        Ok(127)
    }

    fn shell(&mut self, arguments: &[String]) -> Step {
        let mut rest = arguments.iter();
        let mut script = None;
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "-c" => {
                    script = rest.next().cloned();
                    break;
                }
                flags if flags.starts_with('-') && flags.len() > 1 && !flags.starts_with("--") => {
                    self.errexit |= flags.contains('e');
                    if flags.contains('c') {
                        script = rest.next().cloned();
                        break;
                    }
                }
                flags if flags.starts_with("--") => {}
                file => {
                    let Some(text) = self.read(file) else {
                        self.complain(&format!("sh: can't open '{file}': No such file or directory\n"));
                        return Ok(2);
                    };
                    let arguments: Vec<String> = rest.cloned().collect();
                    return self.nested(&text, &arguments);
                }
            }
        }
        let arguments: Vec<String> = rest.skip(1).cloned().collect();
        match script.or_else(|| self.stdin.clone()) {
            Some(script) => self.nested(&script, &arguments),
            None => Ok(0),
        }
    }

    /// Runs a script as a shell of its own.
    fn nested(&mut self, script: &str, arguments: &[String]) -> Step {
        let outer = std::mem::replace(&mut self.arguments, arguments.to_vec());
        self.depth += 1;
        let outcome = if self.depth > 60 { Ok(2) } else { self.script(script) };
        self.depth -= 1;
        self.arguments = outer;
        match outcome {
            Err(Flow::Exit(code) | Flow::Return(code)) => Ok(code),
            other => other,
        }
    }

    /// Runs what a script calls.
    pub(super) fn builtin(&mut self, argv: Vec<String>) -> Step {
        let Some(name) = argv.first().cloned() else { return Ok(0) };
        let arguments = &argv[1..];
        if let Some(body) = self.functions.get(&name).cloned() {
            self.pass(TICK)?;
            let outer = std::mem::replace(&mut self.arguments, arguments.to_vec());
            let outcome = self.command(&body);
            self.arguments = outer;
            return match outcome {
                Err(Flow::Return(code)) => Ok(code),
                other => other,
            };
        }
        if !OWN.contains(&name.as_str()) {
            return self.program(argv);
        }
        self.pass(TICK)?;
        let number =
            |index: usize, default: i32| arguments.get(index).and_then(|n| n.parse().ok()).unwrap_or(default);
        match name.as_str() {
            "exit" => Err(Flow::Exit(number(0, self.status) & 255)),
            "return" => Err(Flow::Return(number(0, self.status))),
            "break" => Err(Flow::Break(number(0, 1).unsigned_abs().max(1))),
            "continue" => Err(Flow::Continue(number(0, 1).unsigned_abs().max(1))),
            "exec" if arguments.is_empty() => Ok(0),
            "exec" => self.program(arguments.to_vec()).and_then(|code| Err(Flow::Exit(code))),
            "eval" => self.script(&arguments.join(" ")),
            "." | "source" => match arguments.first().and_then(|file| self.read(file)) {
                Some(text) => self.script(&text),
                None => {
                    self.complain(&format!("sh: .: can't open '{}'\n", arguments.first().map_or("", |f| f)));
                    Err(Flow::Exit(2))
                }
            },
            "cd" => {
                let target = arguments.first().map_or("/root", |a| a);
                if self.list_folder(target).is_none() {
                    self.complain(&format!("sh: cd: can't cd to {target}: No such file or directory\n"));
                    return Ok(2);
                }
                self.folder = self.absolute(target);
                Ok(0)
            }
            "export" | "readonly" | "local" | "alias" => {
                for argument in arguments {
                    if let Some((name, value)) = argument.split_once('=') {
                        self.assign(name, value.to_owned())?;
                    }
                }
                Ok(0)
            }
            "unset" => {
                for argument in arguments {
                    self.variables.remove(argument);
                }
                Ok(0)
            }
            "set" => {
                for argument in arguments {
                    match argument.strip_prefix('-').or_else(|| argument.strip_prefix('+')) {
                        Some(flags) if flags.contains('e') => self.errexit = argument.starts_with('-'),
                        _ => {}
                    }
                }
                if arguments.first().is_some_and(|first| first == "--") {
                    self.arguments = arguments[1..].to_vec();
                }
                Ok(0)
            }
            "shift" => {
                let count = usize::try_from(number(0, 1)).unwrap_or(1).min(self.arguments.len());
                self.arguments.drain(..count);
                Ok(0)
            }
            "trap" => {
                let signals = arguments.get(1..).unwrap_or_default();
                if signals.iter().any(|signal| matches!(signal.trim_start_matches("SIG"), "TERM" | "15")) {
                    let action = arguments[0].trim();
                    let code = action.rsplit(';').next().and_then(|last| last.trim().strip_prefix("exit"));
                    self.trace.on_term = Some(match code {
                        Some(code) => OnTerm::Exit(code.trim().parse().unwrap_or(0)),
                        None => OnTerm::Ignore,
                    });
                }
                Ok(0)
            }
            "wait" => {
                for end in std::mem::take(&mut self.background) {
                    let Some(end) = end else { return Err(Flow::Pause) };
                    self.pass(end.saturating_sub(self.now))?;
                }
                Ok(0)
            }
            "command" | "type" => {
                let names: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
                if arguments.first().is_some_and(|first| first == "-v") || name == "type" {
                    let found = names
                        .iter()
                        .all(|n| is_tool(n) || OWN.contains(&n.as_str()) || self.host.is_service(n));
                    if found && let Some(first) = names.first() {
                        let path = format!("/bin/{first}\n");
                        self.say(&path);
                    }
                    return Ok(if found { 0 } else { 127 });
                }
                self.builtin(arguments.to_vec())
            }
            "read" => {
                let Some(text) = self.stdin.clone().filter(|text| !text.is_empty()) else { return Ok(1) };
                let (line, rest) = text.split_once('\n').unwrap_or((&text, ""));
                let names: Vec<String> = arguments.iter().filter(|a| !a.starts_with('-')).cloned().collect();
                let mut words = line.trim();
                for (index, name) in names.iter().enumerate() {
                    let (word, left) = match words.split_once(char::is_whitespace) {
                        Some((word, left)) if index + 1 < names.len() => (word, left.trim_start()),
                        _ if index + 1 < names.len() => (words, ""),
                        _ => (words, ""),
                    };
                    self.assign(name, word.to_owned())?;
                    words = left;
                }
                self.stdin = Some(rest.to_owned());
                Ok(0)
            }
            _ => Ok(0),
        }
    }

    fn fail(&mut self, text: String, code: i32) -> Step {
        self.complain(&text);
        Ok(code)
    }

    /// Reads the files that are named, or stdin; complains of those that are not there.
    fn input(&mut self, name: &str, files: &[&String]) -> (String, i32) {
        if files.is_empty() {
            return (self.stdin.clone().unwrap_or_default(), 0);
        }
        let (mut text, mut status) = (String::new(), 0);
        for file in files {
            if *file == "-" {
                text.push_str(self.stdin.as_deref().unwrap_or_default());
                continue;
            }
            match self.read(file) {
                Some(content) => text.push_str(&content),
                None => {
                    let why = if self.list_folder(file).is_some() {
                        format!("{name}: read error: Is a directory\n")
                    } else {
                        format!("{name}: can't open '{file}': No such file or directory\n")
                    };
                    self.complain(&why);
                    status = 1;
                }
            }
        }
        (text, status)
    }

    fn tool(&mut self, name: &str, arguments: &[String]) -> Step {
        let plain: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-') || a.len() == 1).collect();
        let has = |flag: char| {
            arguments.iter().any(|a| a.starts_with('-') && !a.starts_with("--") && a.contains(flag))
        };
        match name {
            "true" | "sync" | "chmod" | "chown" | "chgrp" | "umask" | "kill" | "killall" | "pkill"
            | "mkfifo" => Ok(0),
            "false" => Ok(1),
            "echo" => {
                let mut rest = arguments;
                let (mut newline, mut escapes) = (true, false);
                while let Some(flags) = rest
                    .first()
                    .and_then(|a| a.strip_prefix('-'))
                    .filter(|f| !f.is_empty() && f.chars().all(|c| matches!(c, 'n' | 'e' | 'E')))
                {
                    newline &= !flags.contains('n');
                    escapes |= flags.contains('e');
                    rest = &rest[1..];
                }
                let mut text = rest.join(" ");
                if escapes {
                    text = unescaped(&text);
                }
                if newline {
                    text.push('\n');
                }
                self.say(&text);
                Ok(0)
            }
            "printf" => {
                let text =
                    arguments.first().map(|format| formatted(format, &arguments[1..])).unwrap_or_default();
                self.say(&text);
                Ok(0)
            }
            "sleep" | "usleep" => {
                let mut total = Duration::ZERO;
                for argument in &plain {
                    match duration(argument) {
                        Some(time) if name == "usleep" => total += time / 1_000_000,
                        Some(time) => total = total.saturating_add(time),
                        None => return self.fail(format!("sleep: invalid number '{argument}'\n"), 1),
                    }
                }
                self.pass(total).map(|()| 0)
            }
            "date" => {
                let text = dated(self.start.at, self.now, arguments.iter().find_map(|a| a.strip_prefix('+')));
                self.say(&text);
                Ok(0)
            }
            "hostname" => {
                let text = format!("{}\n", self.start.hostname);
                self.say(&text);
                Ok(0)
            }
            "whoami" => match self.start.user {
                0 => {
                    self.say("root\n");
                    Ok(0)
                }
                id => self.fail(format!("whoami: unknown uid {id}\n"), 1),
            },
            "id" => {
                let group = self.start.groups.first().copied().unwrap_or_default();
                let named = |id: u32| if id == 0 { "0(root)".to_owned() } else { id.to_string() };
                let text = if has('u') {
                    self.start.user.to_string()
                } else if has('g') {
                    group.to_string()
                } else {
                    let groups: Vec<String> = self.start.groups.iter().map(|id| named(*id)).collect();
                    format!("uid={} gid={} groups={}", named(self.start.user), named(group), groups.join(","))
                };
                self.say(&format!("{text}\n"));
                Ok(0)
            }
            "env" | "printenv" => {
                if let Some(name) = plain.first().filter(|_| name == "printenv") {
                    let value = self.variables.get(*name).cloned();
                    return match value {
                        Some(value) => {
                            self.say(&format!("{value}\n"));
                            Ok(0)
                        }
                        None => Ok(1),
                    };
                }
                let mut rest = arguments;
                while let Some((name, value)) = rest.first().and_then(|a| a.split_once('=')) {
                    self.assign(name, value.to_owned())?;
                    rest = &rest[1..];
                }
                if !rest.is_empty() {
                    return self.program(rest.to_vec());
                }
                let text: String =
                    self.variables.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
                self.say(&text);
                Ok(0)
            }
            "pwd" => {
                let text = format!("{}\n", self.folder);
                self.say(&text);
                Ok(0)
            }
            "uname" => {
                let text = if has('a') {
                    format!("Linux {} 6.18.44 #1 SMP x86_64 GNU/Linux\n", self.start.hostname)
                } else if has('r') {
                    "6.18.44\n".to_owned()
                } else if has('m') {
                    "x86_64\n".to_owned()
                } else {
                    "Linux\n".to_owned()
                };
                self.say(&text);
                Ok(0)
            }
            "arch" => {
                self.say("x86_64\n");
                Ok(0)
            }
            "nproc" => {
                self.say("2\n");
                Ok(0)
            }
            "cat" | "more" => {
                let (text, status) = self.input(name, &plain);
                self.say(&text);
                Ok(status)
            }
            "head" | "tail" => {
                let wanted = arguments
                    .iter()
                    .enumerate()
                    .find_map(|(i, a)| match a.strip_prefix("-n") {
                        Some("") => arguments.get(i + 1).and_then(|n| n.trim_start_matches('+').parse().ok()),
                        Some(n) => n.parse().ok(),
                        None => a.strip_prefix('-').and_then(|n| n.parse().ok()),
                    })
                    .unwrap_or(10_usize);
                let files: Vec<&String> =
                    plain.iter().copied().filter(|a| a.parse::<i64>().is_err()).collect();
                if name == "tail" && files.iter().any(|file| *file == "/dev/zero") {
                    return if self.start.memory.is_some() {
                        Err(Flow::OutOfMemory)
                    } else {
                        Err(Flow::Pause)
                    };
                }
                if name == "tail" && files.iter().all(|file| *file == "/dev/null") && (has('f') || has('F')) {
                    return Err(Flow::Pause);
                }
                let (text, status) = self.input(name, &files);
                let lines: Vec<&str> = text.split_inclusive('\n').collect();
                let kept = if name == "head" {
                    lines[..wanted.min(lines.len())].concat()
                } else {
                    lines[lines.len().saturating_sub(wanted)..].concat()
                };
                self.say(&kept);
                if name == "tail" && (has('f') || has('F')) { Err(Flow::Pause) } else { Ok(status) }
            }
            "tee" => {
                let text = self.stdin.clone().unwrap_or_default();
                for file in &plain {
                    if self.cannot_write(file) {
                        return Ok(1);
                    }
                    self.write(file, text.clone(), has('a'));
                }
                self.say(&text);
                Ok(0)
            }
            "grep" | "egrep" | "fgrep" => self.grep(name, arguments, &plain),
            "wc" => {
                let (text, status) = self.input(name, &plain);
                let (lines, words, bytes) =
                    (text.matches('\n').count(), text.split_whitespace().count(), text.len());
                let shown = match (has('l'), has('w'), has('c')) {
                    (true, ..) => lines.to_string(),
                    (_, true, _) => words.to_string(),
                    (_, _, true) => bytes.to_string(),
                    _ => format!("{lines:>9} {words:>9} {bytes:>9}"),
                };
                let file = plain.first().map(|file| format!(" {file}")).unwrap_or_default();
                self.say(&format!("{shown}{file}\n"));
                Ok(status)
            }
            "sort" | "uniq" => {
                let (text, status) = self.input(name, &plain);
                let mut lines: Vec<&str> = text.lines().collect();
                if name == "sort" {
                    if has('n') {
                        lines.sort_by_key(|line| line.trim().parse::<i64>().unwrap_or_default());
                    } else {
                        lines.sort_unstable();
                    }
                    if has('r') {
                        lines.reverse();
                    }
                }
                if name == "uniq" || has('u') {
                    lines.dedup();
                }
                let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
                self.say(&text);
                Ok(status)
            }
            "cut" => {
                let option = |flag: &str| {
                    arguments.iter().enumerate().find_map(|(i, a)| match a.strip_prefix(flag) {
                        Some("") => arguments.get(i + 1).cloned(),
                        Some(value) => Some(value.to_owned()),
                        None => None,
                    })
                };
                let delimiter = option("-d").unwrap_or_else(|| "\t".to_owned());
                let fields: Vec<usize> =
                    option("-f").unwrap_or_default().split(',').filter_map(|n| n.parse().ok()).collect();
                let text: String = self
                    .stdin
                    .clone()
                    .unwrap_or_default()
                    .lines()
                    .map(|line| {
                        let parts: Vec<&str> = line.split(delimiter.as_str()).collect();
                        let kept: Vec<&str> =
                            fields.iter().filter_map(|n| parts.get(n.wrapping_sub(1)).copied()).collect();
                        format!("{}\n", kept.join(&delimiter))
                    })
                    .collect();
                self.say(&text);
                Ok(0)
            }
            "tr" => {
                let text = self.stdin.clone().unwrap_or_default();
                let text = match (has('d'), plain.as_slice()) {
                    (true, [set, ..]) => {
                        let set = unescaped(set);
                        text.chars().filter(|c| !set.contains(*c)).collect()
                    }
                    (_, [from, to, ..]) => {
                        let (from, to): (Vec<char>, Vec<char>) = (ranged(from), ranged(to));
                        let swap = |c: char| match from.iter().position(|f| *f == c) {
                            Some(at) => to.get(at).or(to.last()).copied().unwrap_or(c),
                            None => c,
                        };
                        text.chars().map(swap).collect()
                    }
                    _ => text,
                };
                self.say(&text);
                Ok(0)
            }
            "seq" => {
                let numbers: Vec<i64> = plain.iter().filter_map(|n| n.parse().ok()).collect();
                let (first, step, last) = match numbers.as_slice() {
                    [last] => (1, 1, *last),
                    [first, last] => (*first, 1, *last),
                    [first, step, last] => (*first, (*step).max(1), *last),
                    _ => return Ok(1),
                };
                let mut text = String::new();
                let mut number = first;
                while number <= last && text.len() < 1 << 20 {
                    text.push_str(&format!("{number}\n"));
                    number += step;
                }
                self.say(&text);
                Ok(0)
            }
            "test" => self.test(arguments),
            "[" => match arguments.split_last() {
                Some((last, rest)) if last == "]" => self.test(rest),
                _ => self.fail("sh: missing ]\n".to_owned(), 2),
            },
            "expr" => {
                let text = match arguments {
                    [a, op, b] => {
                        let (x, y) = (a.parse().unwrap_or(0_i64), b.parse().unwrap_or(0_i64));
                        match op.as_str() {
                            "+" => (x + y).to_string(),
                            "-" => (x - y).to_string(),
                            "*" => (x * y).to_string(),
                            "/" => x.checked_div(y).unwrap_or_default().to_string(),
                            "%" => x.checked_rem(y).unwrap_or_default().to_string(),
                            "=" => i32::from(a == b).to_string(),
                            _ => String::new(),
                        }
                    }
                    other => other.join(" "),
                };
                self.say(&format!("{text}\n"));
                Ok(i32::from(text == "0" || text.is_empty()))
            }
            "touch" | "mkdir" | "mktemp" => {
                for path in &plain {
                    if self.host.is_read_only(&self.absolute(path)) {
                        let verb = if name == "mkdir" { "mkdir: can't create directory " } else { "touch: " };
                        let shown = if name == "mkdir" { format!("'{path}'") } else { (*path).clone() };
                        return self.fail(format!("{verb}{shown}: Read-only file system\n"), 1);
                    }
                    if name == "mkdir" {
                        self.write(&format!("{path}/."), String::new(), false);
                    } else if self.read(path).is_none() {
                        self.write(path, String::new(), false);
                    }
                }
                Ok(0)
            }
            "rm" | "rmdir" => {
                for path in &plain {
                    let whole = self.absolute(path);
                    let inside = format!("{whole}/");
                    let known = self.read(path).is_some() || self.list_folder(path).is_some();
                    if !known && !has('f') {
                        let text = format!("rm: can't remove '{path}': No such file or directory\n");
                        return self.fail(text, 1);
                    }
                    for (file, content) in &mut self.trace.files {
                        if file.starts_with(&inside) {
                            *content = None;
                        }
                    }
                    self.trace.files.insert(whole, None);
                }
                Ok(0)
            }
            "cp" | "mv" | "ln" => {
                let [from, to] = plain.as_slice() else { return Ok(1) };
                let Some(text) = self.read(from) else {
                    return self.fail(format!("{name}: can't stat '{from}': No such file or directory\n"), 1);
                };
                if self.cannot_write(to) {
                    return Ok(1);
                }
                let target = if self.list_folder(to).is_some() {
                    format!("{to}/{}", from.rsplit('/').next().unwrap_or_default())
                } else {
                    (*to).clone()
                };
                self.write(&target, text, false);
                if name == "mv" {
                    let from = self.absolute(from);
                    self.trace.files.insert(from, None);
                }
                Ok(0)
            }
            "dd" => {
                let option = |name: &str| arguments.iter().find_map(|a| a.strip_prefix(name));
                if let Some(file) = option("of=") {
                    if self.cannot_write(file) {
                        return Ok(1);
                    }
                    self.write(file, String::new(), false);
                }
                let count = option("count=").unwrap_or("0");
                self.complain(&format!("{count}+0 records in\n{count}+0 records out\n"));
                Ok(0)
            }
            "ls" => {
                let folder = plain.first().map_or(".", |p| p);
                let Some(names) = self.list_folder(folder) else {
                    if self.read(folder).is_some() {
                        self.say(&format!("{folder}\n"));
                        return Ok(0);
                    }
                    return self.fail(format!("ls: {folder}: No such file or directory\n"), 1);
                };
                let shown = |name: &&String| **name != "." && (has('a') || !name.starts_with('.'));
                let text: String = names.iter().filter(shown).map(|name| format!("{name}\n")).collect();
                self.say(&text);
                Ok(0)
            }
            "stat" | "readlink" | "realpath" => {
                let Some(path) = plain.first() else { return Ok(1) };
                if self.read(path).is_none() && self.list_folder(path).is_none() {
                    return self.fail(format!("{name}: can't stat '{path}': No such file or directory\n"), 1);
                }
                let text = format!("{}\n", self.absolute(path));
                self.say(&text);
                Ok(0)
            }
            "basename" | "dirname" => {
                let path = plain.first().map_or("", |p| p.trim_end_matches('/'));
                let (folder, base) = path.rsplit_once('/').unwrap_or((".", path));
                let text = if name == "basename" {
                    base
                } else if folder.is_empty() {
                    "/"
                } else {
                    folder
                };
                self.say(&format!("{text}\n"));
                Ok(0)
            }
            "base64" => {
                use base64::Engine as _;
                let (text, status) = self.input(name, &plain);
                let engine = base64::engine::general_purpose::STANDARD;
                let text = if has('d') {
                    let bytes =
                        engine.decode(text.split_whitespace().collect::<String>()).unwrap_or_default();
                    String::from_utf8_lossy(&bytes).into_owned()
                } else {
                    format!("{}\n", engine.encode(text))
                };
                self.say(&text);
                Ok(status)
            }
            "sha256sum" => {
                let (text, status) = self.input(name, &plain);
                let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
                let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                let file = plain.first().map_or("-", |f| f);
                self.say(&format!("{hex}  {file}\n"));
                Ok(status)
            }
            "which" => {
                let mut status = 0;
                for program in &plain {
                    if is_tool(program) {
                        self.say(&format!("/bin/{program}\n"));
                    } else {
                        status = 1;
                    }
                }
                Ok(status)
            }
            "timeout" => {
                let mut rest = arguments.iter().skip_while(|a| a.starts_with('-'));
                let limit = rest.next().and_then(|t| duration(t)).unwrap_or_default();
                let (until, deadline) = (self.until, self.now.saturating_add(limit));
                self.until = until.min(deadline);
                let outcome = self.program(rest.cloned().collect());
                self.until = until;
                match outcome {
                    Err(Flow::Pause) if deadline <= until => Ok(143),
                    other => other,
                }
            }
            "time" | "nice" | "nohup" => self.program(arguments.to_vec()),
            "xargs" => {
                let mut argv: Vec<String> = arguments.to_vec();
                argv.extend(self.stdin.clone().unwrap_or_default().split_whitespace().map(str::to_owned));
                if arguments.is_empty() {
                    argv.insert(0, "echo".to_owned());
                }
                self.program(argv)
            }
            "yes" | "top" | "watch" | "vi" => {
                if name == "yes" {
                    self.say(&"y\n".repeat(1000));
                }
                Err(Flow::Pause)
            }
            "httpd" => {
                let port = arguments
                    .iter()
                    .position(|a| a == "-p")
                    .and_then(|i| arguments.get(i + 1))
                    .and_then(|p| p.rsplit(':').next()?.parse().ok())
                    .unwrap_or(80);
                self.trace.listens.push(port);
                if has('f') { Err(Flow::Pause) } else { Ok(0) }
            }
            "nc" if has('l') => {
                let port: Option<u16> = arguments
                    .iter()
                    .position(|a| a.starts_with('-') && a.ends_with('p'))
                    .and_then(|i| arguments.get(i + 1))
                    .or_else(|| plain.last().copied())
                    .and_then(|p| p.parse().ok());
                self.trace.listens.extend(port);
                Err(Flow::Pause)
            }
            "wget" | "nc" | "nslookup" | "ping" | "telnet" | "traceroute" => {
                let host = plain.first().map_or("", |h| h);
                let host = host.trim_start_matches("http://").trim_start_matches("https://");
                let host = host.split(['/', ':']).next().unwrap_or_default();
                self.fail(format!("{name}: bad address '{host}'\n"), 1)
            }
            "mount" if !plain.is_empty() => {
                self.fail("mount: permission denied (are you root?)\n".to_owned(), 1)
            }
            "dmesg" => self.fail("dmesg: klogctl: Operation not permitted\n".to_owned(), 1),
            "ps" => {
                self.say("PID   USER     TIME  COMMAND\n    1 root      0:00 sh\n");
                Ok(0)
            }
            "sed" => self.sed(arguments),
            "awk" => Ok(0),
            _ => Ok(0),
        }
    }

    fn grep(&mut self, name: &str, arguments: &[String], plain: &[&String]) -> Step {
        let Some((pattern, files)) = plain.split_first() else { return Ok(2) };
        let has = |flag: char| arguments.iter().any(|a| a.starts_with('-') && a.contains(flag));
        let (text, status) = self.input("grep", files);
        let escaped = if name == "fgrep" || has('F') { regex::escape(pattern) } else { (*pattern).clone() };
        let pattern =
            regex::RegexBuilder::new(&escaped).case_insensitive(has('i')).size_limit(1 << 20).build();
        let Ok(pattern) = pattern else { return Ok(2) };
        let found: Vec<&str> = text.lines().filter(|line| pattern.is_match(line) != has('v')).collect();
        if has('c') {
            self.say(&format!("{}\n", found.len()));
        } else if !has('q') {
            let text: String = found.iter().map(|line| format!("{line}\n")).collect();
            self.say(&text);
        }
        Ok(if status != 0 { 2 } else { i32::from(found.is_empty()) })
    }

    /// `s/from/to/[g]` alone, which is what one-line scripts use.
    fn sed(&mut self, arguments: &[String]) -> Step {
        let plain: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
        let Some((script, files)) = plain.split_first() else { return Ok(1) };
        let (mut text, status) = self.input("sed", files);
        if let Some(rest) = script.strip_prefix('s')
            && let Some(separator) = rest.chars().next()
        {
            let parts: Vec<&str> = rest[separator.len_utf8()..].split(separator).collect();
            if let [from, to, flags @ ..] = parts.as_slice()
                && let Ok(pattern) = regex::Regex::new(from)
            {
                let limit = if flags.iter().any(|f| f.contains('g')) { 0 } else { 1 };
                let lines: Vec<String> = text
                    .split_inclusive('\n')
                    .map(|line| pattern.replacen(line, limit, *to).into_owned())
                    .collect();
                text = lines.concat();
            }
        }
        match (arguments.iter().any(|a| a.starts_with("-i")), files.first()) {
            (true, Some(file)) => self.write(file, text, false),
            _ => self.say(&text),
        }
        Ok(status)
    }

    fn test(&mut self, arguments: &[String]) -> Step {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Ok(i32::from(!self.truth(&words)))
    }

    fn truth(&self, words: &[&str]) -> bool {
        if let Some(at) = words.iter().position(|w| *w == "-o") {
            return self.truth(&words[..at]) || self.truth(&words[at + 1..]);
        }
        if let Some(at) = words.iter().position(|w| *w == "-a").filter(|at| *at > 0) {
            return self.truth(&words[..at]) && self.truth(&words[at + 1..]);
        }
        let exists = |path: &str| self.read(path).is_some() || self.list_folder(path).is_some();
        match words {
            [] => false,
            ["!", rest @ ..] => !self.truth(rest),
            [word] => !word.is_empty(),
            ["-z", word] => word.is_empty(),
            ["-n", word] => !word.is_empty(),
            ["-f", path] => self.read(path).is_some(),
            ["-d", path] => self.list_folder(path).is_some(),
            ["-s", path] => self.read(path).is_some_and(|text| !text.is_empty()),
            ["-w", path] => exists(path) && !self.host.is_read_only(&self.absolute(path)),
            ["-e" | "-r" | "-x" | "-L" | "-h", path] => exists(path),
            [a, operator, b] => {
                let numbers = (a.parse().unwrap_or(0_i64), b.parse().unwrap_or(0_i64));
                match *operator {
                    "=" | "==" => a == b,
                    "!=" => a != b,
                    "-eq" => numbers.0 == numbers.1,
                    "-ne" => numbers.0 != numbers.1,
                    "-gt" => numbers.0 > numbers.1,
                    "-ge" => numbers.0 >= numbers.1,
                    "-lt" => numbers.0 < numbers.1,
                    "-le" => numbers.0 <= numbers.1,
                    "=~" => expand::matches(b, a),
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

/// Reads a duration as `sleep` does: seconds, or with `s`, `m`, `h`, `d`; `infinity` never ends.
fn duration(text: &str) -> Option<Duration> {
    if matches!(text, "infinity" | "inf") {
        return Some(Duration::MAX);
    }
    let (number, factor) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) => (
            number,
            match &text[number.len()..] {
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => 1.0,
            },
        ),
        None => (text, 1.0),
    };
    let seconds: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(seconds * factor).ok()
}

fn dated(start: Timestamp, passed: Duration, format: Option<&str>) -> String {
    let time =
        SignedDuration::try_from(passed).ok().and_then(|by| start.checked_add(by).ok()).unwrap_or(start);
    let format = format.unwrap_or("%a %b %e %H:%M:%S UTC %Y");
    format!("{}\n", jiff::fmt::strtime::format(format, time).unwrap_or_else(|_| format.to_owned()))
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('e') => out.push('\u{1b}'),
            Some('\\') => out.push('\\'),
            Some('c') => break,
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

fn formatted(format: &str, arguments: &[String]) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let format = unescaped(format);
    loop {
        let mut chars = format.chars().peekable();
        let before = arguments.len();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut flags = String::new();
            while let Some(f) = chars.next_if(|c| c.is_ascii_digit() || matches!(c, '-' | '.' | '+' | ' ')) {
                flags.push(f);
            }
            let width: usize = flags.trim_start_matches(['-', '0']).parse().unwrap_or_default();
            match chars.next() {
                Some('%') => out.push('%'),
                Some('d' | 'i' | 'u') => {
                    let number = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(0_i64);
                    let zeros = flags.starts_with('0');
                    out.push_str(&if zeros {
                        format!("{number:0width$}")
                    } else {
                        format!("{number:width$}")
                    });
                }
                Some('b') => out.push_str(&unescaped(arguments.next().map_or("", |a| a))),
                Some(_) => {
                    let text = arguments.next().map_or("", |a| a);
                    let left = flags.starts_with('-');
                    out.push_str(&if left { format!("{text:width$}") } else { format!("{text:>width$}") });
                }
                None => out.push('%'),
            }
        }
        if arguments.len() == 0 || arguments.len() == before {
            return out;
        }
    }
}

fn ranged(set: &str) -> Vec<char> {
    let set = set.replace("[:lower:]", "a-z").replace("[:upper:]", "A-Z").replace("[:digit:]", "0-9");
    let chars: Vec<char> = unescaped(&set).chars().collect();
    let mut out = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        if at + 2 < chars.len() && chars[at + 1] == '-' {
            out.extend(chars[at]..=chars[at + 2]);
            at += 3;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
    out
}
