//! Holds the image that a Dockerfile builds against what is expected of it.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::Regex;

use super::build::{Base, Build, Does, Stage, Start, join, ports};
use super::image_ref::ImageRef;
use super::{Dockerfile, FinalUser, Keeps, Pinned, RemoteAdd, words};
use crate::check::{Finding, object};

/// One file under judgement.
pub(super) struct Judge<'a> {
    pub(super) spec: &'a Dockerfile,
    pub(super) build: &'a Build,
    pub(super) text: &'a str,
    pub(super) label: String,
    /// The text of `.dockerignore`.
    pub(super) ignore: &'a str,
}

/// Tells whether a user, with or without group, is root.
pub(super) fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or_default().trim();
    name.is_empty() || name == "root" || (name.bytes().all(|byte| byte == b'0'))
}

impl Judge<'_> {
    /// Returns all that is not as expected.
    pub(super) fn all(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        self.can_be_built(&mut findings);
        if let Some(user) = &self.spec.final_user {
            self.user(user, &mut findings);
        }
        if let Some(pinned) = self.spec.bases {
            self.pinned(pinned, &mut findings);
        }
        self.final_base(&mut findings);
        if self.spec.multi_stage {
            self.multi_stage(&mut findings);
        }
        self.secrets(&mut findings);
        self.files(&mut findings);
        if let Some(rule) = self.spec.remote_add {
            self.remote(rule, &mut findings);
        }
        self.packages(&mut findings);
        if self.spec.exec_form {
            self.exec_form(&mut findings);
        }
        if let Some(keeps) = &self.spec.keeps {
            self.keeps(keeps, &mut findings);
        }
        findings
    }

    fn find(&self, line: usize, expected: impl Into<String>, actual: impl Into<String>) -> Finding {
        Finding::new(&self.label, format!("line {line}"), expected, object::shorten(&actual.into()))
    }

    fn last(&self) -> Option<&Stage> {
        self.build.stages.last()
    }

    /// Nothing runs in an empty image.
    fn can_be_built(&self, findings: &mut Vec<Finding>) {
        for (index, stage) in self.build.stages.iter().enumerate() {
            if self.root_of(index) != Some(&Base::Scratch) {
                continue;
            }
            let brings_shell = |layer: &super::build::Layer| matches!(layer.does, Does::Copy { .. });
            let mut before = false;
            for layer in &stage.layers {
                if matches!(layer.does, Does::Run { .. }) && !before {
                    let expected = "an image that has what RUN needs";
                    findings.push(self.find(layer.line, expected, "RUN in `scratch`"));
                }
                before |= brings_shell(layer);
            }
        }
    }

    fn root_of(&self, mut index: usize) -> Option<&Base> {
        loop {
            match &self.build.stages.get(index)?.base {
                Base::Stage(earlier) => index = *earlier,
                base => return Some(base),
            }
        }
    }

    fn user(&self, wanted: &FinalUser, findings: &mut Vec<Finding>) {
        let Some(last) = self.last() else { return };
        let (line, user) = match &last.config.user {
            Some((line, user)) => (*line, user.clone()),
            None => {
                let image = match self.build.root() {
                    Some((Base::Image(image), _)) => Some(ImageRef::parse(image)),
                    _ => None,
                };
                let known = image.and_then(|image| {
                    self.spec.image_users.iter().find(|(pattern, _)| image.is(pattern)).map(|(_, user)| user)
                });
                (last.line, known.cloned().unwrap_or_default())
            }
        };
        let name = user.split(':').next().unwrap_or_default().trim();
        let expected = match (&wanted.is, wanted.numeric) {
            (Some(is), _) => format!("user {is}"),
            (None, true) => "a user that is not root, as a number".to_owned(),
            (None, false) => "a user that is not root".to_owned(),
        };
        let wrong = is_root(name)
            || wanted.is.as_deref().is_some_and(|is| is != name)
            || (wanted.numeric && name.parse::<u32>().is_err());
        if wrong {
            let actual = if user.is_empty() { "root, since no USER is set".to_owned() } else { user };
            findings.push(self.find(line, expected, actual));
        }
    }

    /// Returns every image that comes from outside, with its line.
    fn images(&self) -> Vec<(usize, &Base)> {
        let mut images = Vec::new();
        for stage in &self.build.stages {
            images.push((stage.line, &stage.base));
            for layer in &stage.layers {
                match &layer.does {
                    Does::Copy { from, .. } => images.extend(from.iter().map(|base| (layer.line, base))),
                    Does::Run { from, .. } => images.extend(from.iter().map(|base| (layer.line, base))),
                }
            }
        }
        images.retain(|(_, base)| matches!(base, Base::Image(_) | Base::Unknown(_)));
        images
    }

    fn pinned(&self, pinned: Pinned, findings: &mut Vec<Finding>) {
        let expected = match pinned {
            Pinned::Tag => "an image with a tag that does not move",
            Pinned::Digest => "an image by digest",
        };
        for (line, base) in self.images() {
            let image = match base {
                Base::Image(image) => image,
                Base::Unknown(name) => {
                    findings.push(self.find(line, expected, format!("`{name}`, which has no default")));
                    continue;
                }
                _ => continue,
            };
            let parsed = ImageRef::parse(image);
            let by_tag = parsed.tag.as_deref().is_some_and(|tag| {
                tag != "latest"
                    && !self.spec.floating_tags.iter().any(|floating| object::matches(floating, tag))
            });
            // A digest that is none would not be pulled.
            let fine = match (&parsed.digest, pinned) {
                (Some(_), _) => parsed.has_digest(),
                (None, Pinned::Tag) => by_tag,
                (None, Pinned::Digest) => false,
            };
            if !fine {
                findings.push(self.find(line, expected, image));
            }
        }
    }

    fn final_base(&self, findings: &mut Vec<Finding>) {
        let Some((base, line)) = self.build.root().filter(|_| !self.spec.final_base.is_empty()) else {
            return;
        };
        let fine = |pattern: &String| match base {
            Base::Scratch => pattern == "scratch",
            Base::Image(image) => pattern != "scratch" && ImageRef::parse(image).is(pattern),
            _ => false,
        };
        if !self.spec.final_base.iter().any(fine) {
            let actual = match base {
                Base::Scratch => "scratch",
                Base::Image(image) => image,
                Base::Unknown(name) => name,
                Base::Stage(_) => "a stage",
            };
            let expected = format!("the last stage stands on {}", self.spec.final_base.join(" or "));
            findings.push(self.find(line, expected, actual));
        }
    }

    fn multi_stage(&self, findings: &mut Vec<Finding>) {
        let Some(last) = self.last() else { return };
        let expected = "a last stage that copies from an earlier one it does not stand on";
        if self.build.stages.len() < 2 {
            findings.push(self.find(last.line, expected, "one stage"));
            return;
        }
        let chain = self.build.chain();
        let below = |index: usize| chain.iter().any(|stage| std::ptr::eq(*stage, &self.build.stages[index]));
        let takes = chain.iter().flat_map(|stage| &stage.layers).any(|layer| match &layer.does {
            Does::Copy { from: Some(Base::Stage(index)), .. } => !below(*index),
            _ => false,
        });
        if !takes {
            findings.push(self.find(last.line, expected, "nothing is copied from an earlier stage"));
        }
    }

    fn secrets(&self, findings: &mut Vec<Finding>) {
        let joined = self.text.replace("\\\r\n", "").replace("\\\n", "");
        for secret in &self.spec.no_secrets {
            let shown: String = secret.chars().take(3).collect();
            let shown = format!("the secret `{shown}...`");
            let forms = forms(secret);
            let has = |text: &str| forms.iter().any(|form| text.contains(form.as_str()));
            let mut lines: BTreeSet<usize> = BTreeSet::new();
            for (index, text) in self.text.lines().enumerate() {
                if has(text) {
                    lines.insert(index + 1);
                }
            }
            for stage in &self.build.stages {
                lines.extend(stage.values.iter().filter(|(_, value)| has(value)).map(|(line, _)| *line));
            }
            if lines.is_empty() && has(&joined) {
                lines.insert(1);
            }
            for line in lines.into_iter().take(5) {
                findings.push(self.find(line, "no secret", &shown));
            }
        }
        let stages = self.build.stages.iter();
        let mut seen = BTreeSet::new();
        for (line, name) in stages.flat_map(|stage| &stage.variables) {
            if self.spec.no_variables.contains(name) && seen.insert((line, name)) {
                let expected = "nothing secret in ARG or ENV, which the image's history shows";
                findings.push(self.find(*line, expected, name));
            }
        }
    }

    fn files(&self, findings: &mut Vec<Finding>) {
        let ignored = ignored(self.ignore);
        for file in self.spec.no_files.iter().filter(|file| !ignored(file)) {
            for layer in self.build.stages.iter().flat_map(|stage| &stage.layers) {
                let Does::Copy { from: None, sources, excludes, .. } = &layer.does else { continue };
                let excluded = excludes.iter().any(|pattern| covers(pattern, file));
                if let Some(source) = sources.iter().find(|source| covers(source, file) && !excluded) {
                    let expected = format!("`{file}` is not copied");
                    findings.push(self.find(layer.line, expected, format!("`{source}` brings it")));
                }
            }
        }
    }

    fn remote(&self, rule: RemoteAdd, findings: &mut Vec<Finding>) {
        for layer in self.build.stages.iter().flat_map(|stage| &stage.layers) {
            let Does::Copy { add: Some(checked), sources, .. } = &layer.does else { continue };
            if *checked && rule == RemoteAdd::Checksummed {
                continue;
            }
            for source in sources.iter().filter(|source| is_remote(source)) {
                let expected = match rule {
                    RemoteAdd::Never => "ADD takes nothing from elsewhere",
                    RemoteAdd::Checksummed => "ADD takes from elsewhere only with --checksum",
                };
                findings.push(self.find(layer.line, expected, source));
            }
        }
    }

    fn packages(&self, findings: &mut Vec<Finding>) {
        let mut all = BTreeSet::new();
        for layer in self.build.chain().iter().rev().flat_map(|stage| &stage.layers) {
            let Does::Run { commands, caches, .. } = &layer.does else { continue };
            let found = words::installed(commands, caches);
            for package in self.spec.no_packages.iter().filter(|name| found.packages.contains(*name)) {
                findings.push(self.find(
                    layer.line,
                    format!("no `{package}` in the image"),
                    "it is installed",
                ));
            }
            if self.spec.clean_caches {
                for manager in &found.caches {
                    let actual = format!("{manager} leaves its lists or its cache in the layer");
                    findings.push(self.find(layer.line, "no package cache in the layer", actual));
                }
            }
            all.extend(found.packages);
        }
        for package in self.spec.packages.iter().filter(|name| !all.contains(*name)) {
            let expected = format!("`{package}` is installed");
            findings.push(Finding::new(&self.label, "", expected, "it is not"));
        }
    }

    fn exec_form(&self, findings: &mut Vec<Finding>) {
        let Some(config) = self.last().map(|stage| &stage.config) else { return };
        for (name, start) in [("ENTRYPOINT", &config.entrypoint), ("CMD", &config.cmd)] {
            if let Some(start) = start.as_ref().filter(|start| !start.exec) {
                let expected = format!("{name} in exec form");
                findings.push(self.find(start.line, expected, start.words[2..].join(" ")));
            }
        }
    }

    fn keeps(&self, keeps: &Keeps, findings: &mut Vec<Finding>) {
        let Some(last) = self.last() else { return };
        let config = &last.config;
        let mut differ = |path: &str, expected: String, actual: String| {
            if expected != actual {
                let actual = if actual.is_empty() { "nothing".to_owned() } else { actual };
                findings.push(Finding::new(&self.label, path, expected, object::shorten(&actual)));
            }
        };
        if let Some(expose) = &keeps.expose {
            let set = |list: &[String]| {
                let all: BTreeSet<String> = list.iter().flat_map(|port| ports(port)).collect();
                all.into_iter().collect::<Vec<_>>().join(" ")
            };
            differ("EXPOSE", set(expose), set(&config.expose));
        }
        let words =
            |start: &Option<Start>| start.as_ref().map(|start| start.words.clone()).unwrap_or_default();
        let json = |words: &[String]| match words {
            [] => String::new(),
            words => serde_json::to_string(words).unwrap_or_default(),
        };
        if let Some(entrypoint) = &keeps.entrypoint {
            differ("ENTRYPOINT", json(entrypoint), json(&words(&config.entrypoint)));
        }
        if let Some(cmd) = &keeps.cmd {
            differ("CMD", json(cmd), json(&words(&config.cmd)));
        }
        if let Some(command) = &keeps.command {
            // An entry point in shell form takes no arguments.
            let mut all = words(&config.entrypoint);
            if config.entrypoint.as_ref().is_none_or(|start| start.exec) {
                all.extend(words(&config.cmd));
            }
            differ("ENTRYPOINT and CMD", json(command), json(&all));
        }
        if let Some(workdir) = &keeps.workdir {
            differ("WORKDIR", join("/", workdir), config.workdir.clone());
        }
        for (name, value) in &keeps.env {
            let actual = config.env.get(name).cloned().unwrap_or_default();
            differ(&format!("ENV {name}"), value.clone(), actual);
        }
        for path in &keeps.paths {
            let mut layers = self.build.chain().into_iter().flat_map(|stage| &stage.layers);
            let brought = layers.any(|layer| match &layer.does {
                Does::Copy { dest, sources, .. } => brings(dest, sources, path),
                Does::Run { .. } => false,
            });
            if !brought {
                let expected = format!("something is copied to {path}");
                findings.push(Finding::new(&self.label, "COPY", expected, "nothing is"));
            }
        }
    }
}

/// Tells whether what is copied to `dest` may be or hold `path`.
fn brings(dest: &str, sources: &[String], path: &str) -> bool {
    let (folder, path) = (dest.trim_end_matches('/'), join("/", path));
    if path == folder || (folder.is_empty() && path == "/") {
        return true;
    }
    let Some(below) = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')) else { return false };
    let first = below.split('/').next().unwrap_or_default();
    sources.iter().any(|source| {
        let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        // A file keeps its name in a folder; of a folder only what is in it is copied, under names nobody knows here.
        object::matches(name, first) || !name.contains('.') || name == "."
    })
}

/// Writes a secret as it may be hidden in a text: as it is, in base64 at any offset, and in hexadecimal digits.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = vec![secret.to_owned()];
    for offset in 0..3 {
        let mut bytes = vec![0_u8; offset];
        bytes.extend(secret.as_bytes());
        // Digits that also hold bits of what stands before or after are left out.
        let start = [0, 2, 3][offset];
        let end = bytes.len() * 8 / 6;
        for text in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            forms.extend(text.get(start..end).filter(|form| form.len() >= 8).map(str::to_owned));
        }
    }
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    forms.push(hex.to_uppercase());
    forms.push(hex);
    forms
}

fn is_remote(source: &str) -> bool {
    let lower = source.to_lowercase();
    ["http://", "https://", "ftp://", "git://", "ssh://", "git@"]
        .iter()
        .any(|scheme| lower.starts_with(scheme))
}

/// Tells whether a source of `COPY`, or a pattern of `.dockerignore`, is or holds a file of the context.
fn covers(pattern: &str, file: &str) -> bool {
    let cleaned = join("/", pattern);
    let pattern = cleaned.trim_matches('/');
    if pattern.is_empty() {
        return true;
    }
    let Some(pattern) = glob(pattern) else { return false };
    let file = join("/", file);
    let file = file.trim_matches('/');
    // The path itself, or a folder that it is in.
    let mut ends = file.match_indices('/').map(|(at, _)| at).chain([file.len()]);
    ends.any(|end| pattern.is_match(&file[..end]))
}

/// Makes a pattern as in Go's `filepath.Match`, with `**`, into a regular expression.
fn glob(pattern: &str) -> Option<Regex> {
    let mut out = String::from("^");
    let mut chars = pattern.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '*' if chars.peek() == Some(&'*') => {
                chars.next();
                if chars.peek() == Some(&'/') {
                    chars.next();
                    out.push_str("(?:.*/)?");
                } else {
                    out.push_str(".*");
                }
            }
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' => out.push('['),
            ']' => out.push(']'),
            '^' | '-' => out.push(char),
            '\\' => out.push_str(&regex::escape(&chars.next().unwrap_or('\\').to_string())),
            other => out.push_str(&regex::escape(&other.to_string())),
        }
    }
    out.push('$');
    Regex::new(&out).ok()
}

/// Reads `.dockerignore`: the last pattern that matches decides, and `!` takes a file in again.
fn ignored(text: &str) -> impl Fn(&str) -> bool {
    let patterns: Vec<(bool, String)> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| match line.strip_prefix('!') {
            Some(pattern) => (false, pattern.trim().to_owned()),
            None => (true, line.to_owned()),
        })
        .collect();
    move |file| {
        let mut out = false;
        for (ignores, pattern) in &patterns {
            if covers(pattern, file) {
                out = *ignores;
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_cover_what_lies_below_them() {
        for (pattern, file, expected) in [
            (".", "a/token", true),
            ("./", "token", true),
            ("a", "a/token", true),
            ("a/*.txt", "a/token.txt", true),
            ("*.txt", "a/token.txt", false),
            ("**/*.txt", "a/token.txt", true),
            ("**/*.txt", "token.txt", true),
            ("to", "token", false),
        ] {
            assert_eq!(covers(pattern, file), expected, "{pattern} {file}");
        }
        let ignored = ignored("# none\n*\n!src\nsrc/.npmrc\n");
        assert!(ignored(".npmrc") && ignored("src/.npmrc") && !ignored("src/main.go"));
    }

    #[test]
    fn secrets_are_found_in_base64_wherever_they_begin() {
        let secret = "s3cr3t-token-9";
        for before in ["", "a", "ab", "user:"] {
            let hidden = base64::engine::general_purpose::STANDARD.encode(format!("{before}{secret}:x"));
            assert!(forms(secret).iter().any(|form| hidden.contains(form.as_str())), "{hidden}");
        }
        assert!(is_root("0:1000") && is_root("root") && is_root("") && !is_root("10:0"));
    }
}
