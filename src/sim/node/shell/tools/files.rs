//! Programs that make, list, move and remove files.

use super::super::{Flow, Machine, Step};
use super::{Words, archive};

/// Their names.
pub(super) const TOOLS: &[&str] = &[
    "basename", "chgrp", "chmod", "chown", "cp", "dd", "df", "dirname", "du", "find", "gunzip", "gzip",
    "install", "ln", "ls", "mkdir", "mkfifo", "mknod", "mktemp", "mount", "mv", "readlink", "realpath", "rm",
    "rmdir", "stat", "sync", "tar", "touch", "umount", "unzip",
];

/// How deep folders are walked.
const DEEP: usize = 32;

/// What is at a path.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
}

impl Machine<'_> {
    pub(super) fn file_tool(&mut self, name: &str, words: &Words<'_>) -> Step {
        let plain = &words.plain;
        match name {
            "touch" | "mkdir" | "mktemp" => self.make(name, words),
            "rm" | "rmdir" => self.remove(name, words),
            "cp" | "mv" | "ln" | "install" => self.copy(name, words),
            "chmod" | "chown" | "chgrp" => {
                let mut status = 0;
                for path in plain.iter().skip(1) {
                    let why = match self.kind(path) {
                        None => Some("No such file or directory"),
                        Some(_) => self.refusal(path).map(|why| match why {
                            "Permission denied" => "Operation not permitted",
                            why => why,
                        }),
                    };
                    if let Some(why) = why {
                        let text = match (self.start.gnu, name) {
                            (true, "chmod") if why.starts_with("No such") => {
                                format!("chmod: cannot access '{path}': {why}\n")
                            }
                            (true, "chmod") => format!("chmod: changing permissions of '{path}': {why}\n"),
                            (true, _) if why.starts_with("No such") => {
                                format!("{name}: cannot access '{path}': {why}\n")
                            }
                            (true, _) => format!("{name}: changing ownership of '{path}': {why}\n"),
                            (false, _) => format!("{name}: {path}: {why}\n"),
                        };
                        self.complain(&text);
                        status = 1;
                    }
                }
                Ok(status)
            }
            "dd" => self.dd(words),
            "ls" => self.ls(words),
            "find" => self.find(words),
            "stat" | "readlink" | "realpath" => {
                let Some(path) = plain.first() else { return Ok(1) };
                let Some(kind) = self.kind(path) else {
                    return self.fail(format!("{name}: can't stat '{path}': No such file or directory\n"), 1);
                };
                let whole = self.absolute(path);
                let (mode, owner, group) = self.facts(path);
                let text = match (name, words.after("-c")) {
                    ("stat", Some(format)) => format
                        .replace("%a", &format!("{mode:o}"))
                        .replace("%A", &shown_mode(kind, mode))
                        .replace("%u", &owner.to_string())
                        .replace("%g", &group.to_string())
                        .replace("%U", &self.user_name(owner))
                        .replace("%G", &self.user_name(group))
                        .replace("%s", &self.size(path).to_string())
                        .replace("%n", path),
                    ("stat", None) => format!(
                        "  File: {path}\n  Size: {}\nAccess: ({mode:04o}/{})  Uid: ({owner:5}/{:>8})   Gid: ({group:5}/{:>8})",
                        self.size(path),
                        shown_mode(kind, mode),
                        self.user_name(owner),
                        self.user_name(group)
                    ),
                    _ => whole,
                };
                self.say(&format!("{text}\n"));
                Ok(0)
            }
            "basename" | "dirname" => {
                let path = plain.first().map_or("", |p| p.trim_end_matches('/'));
                let (folder, base) = path.rsplit_once('/').unwrap_or((".", path));
                let suffix = plain.get(1).map_or("", |suffix| suffix.as_str());
                let text = match (name, folder) {
                    ("basename", _) => {
                        base.strip_suffix(suffix).filter(|rest| !rest.is_empty()).unwrap_or(base)
                    }
                    (_, "") => "/",
                    _ => folder,
                };
                self.say(&format!("{text}\n"));
                Ok(0)
            }
            "du" => {
                for path in plain {
                    let kilobytes =
                        self.walk(path).iter().map(|(path, _)| self.size(path)).sum::<usize>() / 1024 + 4;
                    self.say(&format!("{kilobytes}\t{path}\n"));
                }
                Ok(0)
            }
            "df" => {
                self.say(
                    "Filesystem           1K-blocks      Used Available Use% Mounted on\noverlay               61202244  \
                     11403856  46657144  20% /\n",
                );
                Ok(0)
            }
            "tar" => archive::run(self, words.all),
            "mount" | "umount" if name == "umount" || plain.len() > 1 => {
                let text = match (self.start.gnu, name, plain.first()) {
                    (true, _, Some(first)) => {
                        let target = plain.get(1).unwrap_or(first);
                        format!("{name}: {target}: must be superuser to use {name}.\n")
                    }
                    (_, "mount", _) => "mount: permission denied (are you root?)\n".to_owned(),
                    (_, _, Some(first)) => {
                        format!("umount: can't unmount {first}: Operation not permitted\n")
                    }
                    _ => return Ok(1),
                };
                self.fail(text, 1)
            }
            "mount" => {
                let text = self.host.mounts();
                self.say(&text);
                Ok(0)
            }
            "mknod" if self.start.user != 0 => {
                let path = plain.first().map_or("", |p| p);
                self.fail(format!("mknod: {path}: Operation not permitted\n"), 1)
            }
            "gzip" | "gunzip" | "unzip" => {
                let text = format!("{name}: not simulated in a container\n");
                self.fail(text, 1)
            }
            // Done, as far as anybody could tell: sync, mkfifo.
            _ => Ok(0),
        }
    }

    /// Tells what is at a path.
    pub(super) fn kind(&self, path: &str) -> Option<Kind> {
        if self.list_folder(path).is_some() {
            return Some(Kind::Folder);
        }
        let whole = self.absolute(path);
        let there =
            self.read(path).is_some() || (self.host.hides(&whole) && self.host.read(&whole).is_some());
        there.then_some(Kind::File)
    }

    /// Returns mode, owner and group of what is at a path.
    pub(super) fn facts(&self, path: &str) -> (u32, u32, u32) {
        let whole = self.absolute(path);
        let group = self.start.groups.first().copied().unwrap_or_default();
        let own =
            self.trace.files.contains_key(&whole) || self.trace.files.contains_key(&format!("{whole}/."));
        if own && self.host.read(&whole).is_none() {
            let mode = if self.list_folder(path).is_some() { 0o755 } else { 0o644 };
            return (mode, self.start.user, group);
        }
        self.host.facts(&whole)
    }

    fn size(&self, path: &str) -> usize {
        match self.list_folder(path) {
            Some(_) => 4096,
            None => self.read(path).map_or(0, |text| super::super::bytes::to_bytes(&text).len()),
        }
    }

    pub(super) fn user_name(&self, id: u32) -> String {
        if id == 0 {
            return "root".to_owned();
        }
        if id == self.start.user && !self.start.user_name.is_empty() {
            return self.start.user_name.clone();
        }
        id.to_string()
    }

    /// Lists what is below a path, itself first.
    pub(super) fn walk(&self, path: &str) -> Vec<(String, Kind)> {
        let mut found = Vec::new();
        let mut open = vec![(path.to_owned(), 0)];
        while let Some((path, depth)) = open.pop() {
            match self.kind(&path) {
                Some(Kind::File) => found.push((path, Kind::File)),
                Some(Kind::Folder) => {
                    if depth < DEEP {
                        let names = self.list_folder(&path).unwrap_or_default();
                        let base = path.trim_end_matches('/');
                        let inside = names.iter().filter(|name| *name != "." && *name != "..");
                        open.extend(inside.rev().map(|name| (format!("{base}/{name}"), depth + 1)));
                    }
                    found.push((path, Kind::Folder));
                }
                None => {}
            }
        }
        found
    }

    /// Says that something cannot be made, removed, or the like.
    fn cannot(&self, name: &str, path: &str, why: &str) -> String {
        match (name, self.start.gnu) {
            ("touch", true) => format!("touch: cannot touch '{path}': {why}\n"),
            ("touch", false) => format!("touch: {path}: {why}\n"),
            ("mkdir", true) => format!("mkdir: cannot create directory '{path}': {why}\n"),
            ("mkdir", false) => format!("mkdir: can't create directory '{path}': {why}\n"),
            ("rm", true) => format!("rm: cannot remove '{path}': {why}\n"),
            ("rm", false) => format!("rm: can't remove '{path}': {why}\n"),
            ("rmdir", true) => format!("rmdir: failed to remove '{path}': {why}\n"),
            ("rmdir", false) => format!("rmdir: '{path}': {why}\n"),
            ("mktemp", true) => format!("mktemp: failed to create file via template '{path}': {why}\n"),
            (_, true) => format!("{name}: cannot create regular file '{path}': {why}\n"),
            (_, false) => format!("{name}: can't create '{path}': {why}\n"),
        }
    }

    fn make(&mut self, name: &str, words: &Words<'_>) -> Step {
        if name == "mktemp" {
            let path = format!("/tmp/tmp.{:06}", self.now.as_micros() % 1_000_000);
            if let Some(why) = self.refusal(&path) {
                return self.fail(self.cannot(name, &path, why), 1);
            }
            match words.has('d') {
                true => self.make_folder(&path),
                false => self.write(&path, String::new(), false),
            }
            self.say(&format!("{path}\n"));
            return Ok(0);
        }
        let mut status = 0;
        for path in &words.plain {
            let parent =
                self.absolute(path).rsplit_once('/').map(|(parent, _)| parent.to_owned()).unwrap_or_default();
            let why = match (self.kind(path), name) {
                (Some(_), "mkdir") if words.has('p') => continue,
                (Some(_), "mkdir") => Some("File exists"),
                (Some(_), _) => self.refusal(path),
                (None, "mkdir")
                    if !words.has('p') && !parent.is_empty() && self.list_folder(&parent).is_none() =>
                {
                    Some("No such file or directory")
                }
                (None, _) => self.refusal(path),
            };
            if let Some(why) = why {
                let text = self.cannot(name, path, why);
                self.complain(&text);
                status = 1;
            } else if name == "mkdir" {
                self.make_folder(path);
            } else if self.read(path).is_none() {
                self.write(path, String::new(), false);
            }
        }
        Ok(status)
    }

    fn remove(&mut self, name: &str, words: &Words<'_>) -> Step {
        let force = words.has('f');
        let mut status = 0;
        for path in &words.plain {
            let kind = self.kind(path);
            let why = match kind {
                None if force => continue,
                None => Some("No such file or directory"),
                Some(Kind::Folder) if name == "rm" && !words.has('r') && !words.has('R') => {
                    Some("Is a directory")
                }
                Some(_) => self.refusal(path),
            };
            if let Some(why) = why {
                let text = match why {
                    "Is a directory" if !self.start.gnu => format!("rm: '{path}' is a directory\n"),
                    why => self.cannot(name, path, why),
                };
                self.complain(&text);
                status = 1;
                continue;
            }
            for (inside, _) in self.walk(path) {
                let inside = self.absolute(&inside);
                self.trace.files.insert(inside, None);
            }
            let whole = self.absolute(path);
            let inside = format!("{whole}/");
            for (file, content) in &mut self.trace.files {
                if file.starts_with(&inside) {
                    *content = None;
                }
            }
            self.trace.files.insert(whole, None);
        }
        Ok(status)
    }

    fn copy(&mut self, name: &str, words: &Words<'_>) -> Step {
        let Some((to, from)) = words.plain.split_last().filter(|(_, from)| !from.is_empty()) else {
            return Ok(1);
        };
        let mut status = 0;
        for from in from {
            let Some(kind) = self.kind(from) else {
                let text = if self.start.gnu {
                    format!("{name}: cannot stat '{from}': No such file or directory\n")
                } else {
                    format!("{name}: can't stat '{from}': No such file or directory\n")
                };
                self.complain(&text);
                status = 1;
                continue;
            };
            let deep = name != "cp" || ['r', 'R', 'a'].into_iter().any(|flag| words.has(flag));
            if kind == Kind::Folder && !deep {
                let text = if self.start.gnu {
                    format!("cp: -r not specified; omitting directory '{from}'\n")
                } else {
                    format!("cp: omitting directory '{from}'\n")
                };
                self.complain(&text);
                status = 1;
                continue;
            }
            let base = from.trim_end_matches('/');
            let target = match self.list_folder(to) {
                Some(_) => format!("{to}/{}", base.rsplit('/').next().unwrap_or_default()),
                None => (*to).clone(),
            };
            if let Some(why) = self.refusal(&target) {
                let text = self.cannot(name, &target, why);
                self.complain(&text);
                status = 1;
                continue;
            }
            for (path, kind) in self.walk(base) {
                let target = format!("{target}{}", path.strip_prefix(base).unwrap_or_default());
                match (kind, self.read(&path)) {
                    (Kind::Folder, _) => self.make_folder(&target),
                    (Kind::File, Some(text)) => self.write(&target, text, false),
                    (Kind::File, None) => {
                        let why = self.why_unread(name, &path);
                        self.complain(&why);
                        status = 1;
                        continue;
                    }
                }
                if name == "mv" {
                    let path = self.absolute(&path);
                    self.trace.files.insert(path, None);
                }
            }
        }
        Ok(status)
    }

    fn dd(&mut self, words: &Words<'_>) -> Step {
        let option = |name: &str| words.all.iter().find_map(|a| a.strip_prefix(name));
        let size = |text: &str| {
            let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
            let unit = match &text[digits.len()..] {
                "k" | "K" => 1 << 10,
                "m" | "M" => 1 << 20,
                "" => 1,
                _ => 512,
            };
            digits.parse::<usize>().unwrap_or(1).saturating_mul(unit)
        };
        let block = option("bs=").map_or(512, size);
        let count = option("count=").and_then(|count| count.parse::<usize>().ok());
        let limit = block.saturating_mul(count.unwrap_or(1 << 20)).min(1 << 20);
        let data = match option("if=") {
            Some("/dev/zero") => "\0".repeat(limit),
            Some("/dev/urandom" | "/dev/random") => "x".repeat(limit),
            Some(file) => match self.read(file) {
                Some(text) => text,
                None => {
                    let why = self.why_unread("dd", file);
                    return self.fail(why, 1);
                }
            },
            None => self.given()?,
        };
        let blocks = count.unwrap_or_else(|| data.len().div_ceil(block.max(1)));
        match option("of=") {
            Some(file) if self.cannot_write(file) => return Ok(1),
            Some(file) => self.write(file, data, false),
            None => self.say(&data),
        }
        self.complain(&format!("{blocks}+0 records in\n{blocks}+0 records out\n"));
        Ok(0)
    }

    fn ls(&mut self, words: &Words<'_>) -> Step {
        let here = ".".to_owned();
        let paths = if words.plain.is_empty() { vec![&here] } else { words.plain.clone() };
        let (long, all) = (words.has('l'), words.has('a') || words.has('A'));
        let many = paths.len() > 1;
        let mut status = 0;
        for path in paths {
            let Some(kind) = self.kind(path) else {
                let text = if self.start.gnu {
                    format!("ls: cannot access '{path}': No such file or directory\n")
                } else {
                    format!("ls: {path}: No such file or directory\n")
                };
                self.complain(&text);
                status = if self.start.gnu { 2 } else { 1 };
                continue;
            };
            if kind == Kind::File || words.has('d') {
                let text = if long { self.long(path, path) } else { format!("{path}\n") };
                self.say(&text);
                continue;
            }
            if self.host.hides(&self.absolute(path)) {
                let text = if self.start.gnu {
                    format!("ls: cannot open directory '{path}': Permission denied\n")
                } else {
                    format!("ls: can't open '{path}': Permission denied\n")
                };
                self.complain(&text);
                status = if self.start.gnu { 2 } else { 1 };
                continue;
            }
            let mut text = if many { format!("{path}:\n") } else { String::new() };
            if long {
                text.push_str("total 0\n");
            }
            let mut names = self.list_folder(path).unwrap_or_default();
            names.retain(|name| !matches!(name.as_str(), "." | ".." | "") && (all || !name.starts_with('.')));
            if words.has('a') {
                names.splice(0..0, [".".to_owned(), "..".to_owned()]);
            }
            for name in names {
                let whole = format!("{}/{name}", path.trim_end_matches('/'));
                text.push_str(&if long { self.long(&whole, &name) } else { format!("{name}\n") });
            }
            self.say(&text);
        }
        Ok(status)
    }

    /// One line of `ls -l`.
    fn long(&self, path: &str, name: &str) -> String {
        let kind = self.kind(path).unwrap_or(Kind::File);
        let (mode, owner, group) = self.facts(path);
        let links = if kind == Kind::Folder { 2 } else { 1 };
        let when = self.start.at.strftime("%b %e %H:%M");
        format!(
            "{} {links:4} {:<8} {:<8} {:9} {when} {name}\n",
            shown_mode(kind, mode),
            self.user_name(owner),
            self.user_name(group),
            self.size(path),
        )
    }

    /// `find PATH... [-name PATTERN] [-type f|d] [-maxdepth N]`, and `-perm` for bits that are set.
    fn find(&mut self, words: &Words<'_>) -> Step {
        let roots: Vec<String> =
            words.all.iter().take_while(|word| !word.starts_with(['-', '(', '!'])).cloned().collect();
        let roots = if roots.is_empty() { vec![".".to_owned()] } else { roots };
        let option = |name: &str| {
            let at = words.all.iter().position(|word| word == name)?;
            words.all.get(at + 1)
        };
        let deepest = option("-maxdepth").and_then(|n| n.parse::<usize>().ok()).unwrap_or(DEEP);
        let bits = option("-perm")
            .and_then(|bits| u32::from_str_radix(bits.trim_start_matches(['-', '/', '+']), 8).ok());
        let mut status = 0;
        for root in roots {
            if self.kind(&root).is_none() {
                let text = if self.start.gnu {
                    format!("find: '{root}': No such file or directory\n")
                } else {
                    format!("find: {root}: No such file or directory\n")
                };
                self.complain(&text);
                status = 1;
                continue;
            }
            let above = root.trim_end_matches('/').matches('/').count();
            let mut text = String::new();
            for (path, kind) in self.walk(&root) {
                let base = path.rsplit('/').next().unwrap_or_default();
                let wanted = option("-name")
                    .is_none_or(|pattern| super::super::expand::matches(pattern, base))
                    && option("-type").is_none_or(|wanted| (wanted == "d") == (kind == Kind::Folder))
                    && bits.is_none_or(|bits| self.facts(&path).0 & bits == bits)
                    && path.trim_end_matches('/').matches('/').count() - above <= deepest;
                if wanted {
                    text.push_str(&format!("{path}\n"));
                }
            }
            self.say(&text);
        }
        Ok(status)
    }

    /// Makes a file at a path, and says why where that cannot be.
    pub(super) fn save(&mut self, name: &str, path: &str, text: String) -> Result<bool, Flow> {
        if let Some(why) = self.refusal(path) {
            let text = self.cannot(name, path, why);
            self.complain(&text);
            return Ok(false);
        }
        self.write(path, text, false);
        Ok(true)
    }
}

fn shown_mode(kind: Kind, mode: u32) -> String {
    let mut shown = if kind == Kind::Folder { "d" } else { "-" }.to_owned();
    for at in (0..9).rev() {
        let letter = ['x', 'w', 'r'][at % 3];
        shown.push(if mode & (1 << at) != 0 { letter } else { '-' });
    }
    if mode & 0o1000 != 0 {
        shown.pop();
        shown.push('t');
    }
    shown
}
