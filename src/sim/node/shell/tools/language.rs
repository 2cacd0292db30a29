//! What the shell does itself: running programs and scripts, and the commands that are part of it.

use super::super::{Flow, Machine, OnTerm, Step, TICK};
use super::is_tool;

/// Commands that are part of the shell and can end or change it.
const OWN: &[&str] = &[
    ".", ":", "alias", "break", "cd", "command", "continue", "eval", "exec", "exit", "export", "local",
    "read", "readonly", "return", "set", "shift", "source", "trap", "type", "ulimit", "umask", "unset",
    "wait",
];

impl Machine<'_> {
    /// Runs a program as `exec` does.
    pub(in super::super) fn program(&mut self, argv: Vec<String>) -> Step {
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
        if is_tool(&name) && !self.host.lacks(&name) {
            return self.tool(&name, &argv[1..]);
        }
        if let Some(script) = self.read(first).filter(|text| first.contains('/') && text.starts_with("#!")) {
            return self.nested(&script, &argv[1..]);
        }
        if self.host.is_service(first) {
            return Err(Flow::Pause);
        }
        let text = if first.contains('/') && self.list_folder(first).is_none() && self.read(first).is_some() {
            self.complain(&format!("sh: {first}: Permission denied\n"));
            return Ok(126);
        } else if self.start.gnu {
            format!("sh: 1: {first}: not found\n")
        } else {
            format!("sh: {first}: not found\n")
        };
        self.complain(&text);
        Ok(127)
    }

    /// Tells whether a program can be found by its name.
    pub(super) fn is_there(&self, name: &str) -> bool {
        (is_tool(name) && !self.host.lacks(name)) || self.host.is_service(name)
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
        let script = match script {
            Some(script) => script,
            None => self.given()?,
        };
        self.nested(&script, &arguments)
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
    pub(in super::super) fn builtin(&mut self, argv: Vec<String>) -> Step {
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
                let home = self.variables.get("HOME").cloned().unwrap_or_else(|| "/".to_owned());
                let target = arguments.first().unwrap_or(&home);
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
                    let found = names.iter().all(|n| self.is_there(n) || OWN.contains(&n.as_str()));
                    if found && let Some(first) = names.first() {
                        let path = format!("/bin/{first}\n");
                        self.say(&path);
                    }
                    return Ok(if found { 0 } else { 127 });
                }
                self.builtin(arguments.to_vec())
            }
            "read" => {
                let text = self.given()?;
                if text.is_empty() {
                    return Ok(1);
                }
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
}
