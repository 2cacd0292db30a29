//! Files as the shell sees them: what it has written itself lies over what its host has; redirections.

use super::parse::Redirect;
use super::{Errors, Machine, OUTPUT, Step};

impl Machine<'_> {
    pub(super) fn redirected(
        &mut self,
        redirects: &[Redirect],
        action: impl FnOnce(&mut Self) -> Step,
    ) -> Step {
        if redirects.is_empty() {
            return action(self);
        }
        let (stdin, errors, depth) = (self.stdin.clone(), self.errors, self.captured.len());
        let mut file = None;
        for redirect in redirects {
            let target = self.expand_one(&redirect.target)?;
            match (redirect.operator.as_str(), redirect.descriptor) {
                (">&", 2) if target == "1" => self.errors = Errors::Stdout,
                (">&", 1) if target == "2" => {
                    self.captured.push(String::new());
                    file = Some(("/dev/stderr".to_owned(), false));
                }
                (">" | ">>" | ">|", 2) => {
                    self.errors = if target == "/dev/stderr" { Errors::Log } else { Errors::Nowhere };
                }
                (operator @ (">" | ">>" | ">|" | "&>" | "&>>"), _) => {
                    if self.cannot_write(&target) {
                        return Ok(1);
                    }
                    if operator.starts_with('&') {
                        self.errors = Errors::Stdout;
                    }
                    self.captured.push(String::new());
                    file = Some((target, operator.ends_with(">>")));
                }
                ("<", _) => match self.read(&target) {
                    Some(text) => self.stdin = Some(text),
                    None => {
                        let path = self.absolute(&target);
                        let why = if self.host.hides(&path) { "Permission denied" } else { "no such file" };
                        self.complain(&format!("sh: can't open {target}: {why}\n"));
                        self.stdin = stdin;
                        return Ok(1);
                    }
                },
                _ => {}
            }
        }
        let outcome = action(self);
        let text =
            if self.captured.len() > depth { self.captured.split_off(depth).concat() } else { String::new() };
        (self.stdin, self.errors) = (stdin, errors);
        if let Some((path, append)) = file {
            self.write(&path, text, append);
        }
        outcome
    }

    /// Says why a path cannot be written to; nothing when it can.
    pub(super) fn refusal(&self, path: &str) -> Option<&'static str> {
        let path = self.absolute(path);
        let special = path.starts_with("/dev/") || path.starts_with("/proc/");
        if special { None } else { self.host.refuses(&path) }
    }

    pub(super) fn cannot_write(&mut self, path: &str) -> bool {
        let Some(why) = self.refusal(path) else { return false };
        let text = if self.start.gnu {
            format!("sh: 1: cannot create {path}: {why}\n")
        } else {
            format!("sh: can't create {path}: {why}\n")
        };
        self.complain(&text);
        true
    }

    pub(super) fn absolute(&self, path: &str) -> String {
        let whole = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.folder) };
        let mut parts: Vec<&str> = Vec::new();
        for part in whole.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    parts.pop();
                }
                part => parts.push(part),
            }
        }
        format!("/{}", parts.join("/"))
    }

    pub(super) fn read(&self, path: &str) -> Option<String> {
        let path = self.absolute(path);
        match path.as_str() {
            "/dev/null" => return Some(String::new()),
            "/dev/stdin" => return Some(self.stdin.clone().unwrap_or_default()),
            _ => {}
        }
        match self.trace.files.get(&path) {
            Some(written) => written.clone(),
            None if self.host.hides(&path) => None,
            None => self.host.read(&path),
        }
    }

    pub(super) fn write(&mut self, path: &str, text: String, append: bool) {
        let path = self.absolute(path);
        match path.as_str() {
            "/dev/null" => {}
            "/dev/stdout" | "/proc/1/fd/1" | "/proc/self/fd/1" => self.log(&text, false),
            "/dev/stderr" | "/proc/1/fd/2" | "/proc/self/fd/2" => self.log(&text, true),
            _ => {
                let before = if append { self.read(&path).unwrap_or_default() } else { String::new() };
                if before.len() < OUTPUT {
                    self.trace.files.insert(path, Some(before + &text));
                }
            }
        }
    }

    /// Makes a folder.
    pub(super) fn make_folder(&mut self, path: &str) {
        let path = self.absolute(path);
        self.trace.files.insert(format!("{}/.", path.trim_end_matches('/')), Some(String::new()));
        // One that was removed is there again.
        if let Some(None) = self.trace.files.get(&path) {
            self.trace.files.remove(&path);
        }
    }

    pub(super) fn list_folder(&self, path: &str) -> Option<Vec<String>> {
        let path = self.absolute(path);
        let prefix = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let removed = matches!(self.trace.files.get(&path), Some(None));
        let mut names = if removed { None } else { self.host.list(&path) };
        for (file, content) in &self.trace.files {
            let Some(rest) = file.strip_prefix(&prefix).filter(|rest| !rest.is_empty()) else { continue };
            let name = rest.split('/').next().unwrap_or_default().to_owned();
            match (content, &mut names) {
                (Some(_), Some(names)) if names.contains(&name) => {}
                (Some(_), names) => names.get_or_insert_with(Vec::new).push(name),
                (None, Some(names)) if rest == name => names.retain(|n| *n != name),
                _ => {}
            }
        }
        if let Some(names) = &mut names {
            names.sort();
        }
        names
    }
}
