//! Unit files as systemd reads them: where they lie, their drop-ins, what masks and enables them. Knows no processes.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::tree::Tree;

/// Where unit files lie, the first before the others.
pub(super) const FOLDERS: [&str; 4] =
    ["/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];

/// What systemd knows of the file of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// It was read.
    Loaded,
    /// There is none.
    NotFound,
    /// It is a link to `/dev/null`.
    Masked,
    /// It cannot be used, as one without a command.
    BadSetting,
}

/// Whether a unit is started with the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enablement {
    /// A target wants it.
    Enabled,
    /// It could be, but is not.
    Disabled,
    /// It says of no target that it belongs to it.
    Static,
    /// It cannot be started at all.
    Masked,
}

/// What a unit does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Active {
    /// It runs, or has run as it should.
    Active,
    /// It does not run.
    Inactive,
    /// It has failed and is not tried again.
    Failed,
    /// It is being started, or waits to be started again.
    Activating,
}

/// How the process of a unit ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exit {
    /// Its process id.
    pub pid: u32,
    /// Its exit status.
    pub status: i32,
    /// The word for it, such as `FAILURE`, `EXEC`.
    pub word: String,
    /// When.
    pub at: Timestamp,
}

/// A unit as `systemctl` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Unit {
    /// Its name with suffix, such as `kubelet.service`.
    pub name: String,
    /// Its description; its name where it has none.
    pub description: String,
    /// Whether its file could be read.
    pub load: Load,
    /// The file; empty where there is none.
    pub path: String,
    /// Its drop-ins, in their order.
    pub drop_ins: Vec<String>,
    /// Whether it starts with the machine.
    pub enabled: Enablement,
    /// What it does.
    pub active: Active,
    /// The finer state: `running`, `exited`, `dead`, `failed`, `auto-restart`.
    pub sub: String,
    /// Since when.
    pub since: Option<Timestamp>,
    /// Its process, while there is one.
    pub main_pid: Option<u32>,
    /// Its command lines, as the file has them.
    pub exec_start: Vec<String>,
    /// The command line of its process.
    pub command: Vec<String>,
    /// How its last process ended, when that was not asked for.
    pub exit: Option<Exit>,
    /// How often it was started again by itself.
    pub restarts: u32,
    /// `Documentation=`.
    pub docs: Vec<String>,
    /// Whether its files have changed since they were read.
    pub needs_reload: bool,
}

/// The sections of a unit file with their settings, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Definition {
    /// The file; empty where there is none.
    pub path: String,
    pub drop_ins: Vec<String>,
    pub masked: bool,
    settings: Vec<(String, String, String)>,
}

impl Definition {
    /// Reads the unit of a name with its drop-ins.
    pub(super) fn read(tree: &Tree, name: &str) -> Self {
        let mut read = Self::default();
        let Some(path) = FOLDERS.iter().map(|folder| format!("{folder}/{name}")).find(|path| {
            tree.link_target(path).is_some() || tree.kind(path) == Some(crate::sim::node::PathKind::File)
        }) else {
            return read;
        };
        let masks = |target: &str| target == "/dev/null";
        read.masked = tree.link_target(&path).as_deref().is_some_and(masks);
        if let Ok(text) = tree.read_text(&path) {
            // An empty file masks as well.
            read.masked |= text.is_empty();
            read.parse(&text);
        }
        read.path = path;
        let mut drop_ins: BTreeMap<String, String> = BTreeMap::new();
        for folder in FOLDERS.iter().rev() {
            let folder = format!("{folder}/{name}.d");
            for file in tree.list(&folder).unwrap_or_default() {
                if file.ends_with(".conf") {
                    drop_ins.insert(file.clone(), format!("{folder}/{file}"));
                }
            }
        }
        for path in drop_ins.into_values() {
            if let Ok(text) = tree.read_text(&path) {
                read.parse(&text);
                read.drop_ins.push(path);
            }
        }
        read
    }

    fn parse(&mut self, text: &str) {
        let mut section = String::new();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let mut line = line.trim().to_owned();
            while let Some(start) = line.strip_suffix('\\') {
                line = format!("{} {}", start.trim_end(), lines.next().unwrap_or_default().trim());
            }
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                name.clone_into(&mut section);
            } else if let Some((key, value)) = line.split_once('=') {
                self.settings.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }

    /// Returns the last value of a setting.
    pub(super) fn text(&self, section: &str, key: &str) -> &str {
        self.list(section, key).last().copied().unwrap_or_default()
    }

    /// Returns the values of a setting that is a list: an empty one forgets those before it.
    pub(super) fn list(&self, section: &str, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (in_section, name, value) in &self.settings {
            if in_section == section && name == key {
                if value.is_empty() {
                    values.clear();
                } else {
                    values.push(value.as_str());
                }
            }
        }
        values
    }

    /// Returns after how long it is started again when it failed, where it is.
    pub(super) fn restart(&self) -> Option<Duration> {
        if !matches!(self.text("Service", "Restart"), "always" | "on-failure" | "on-abnormal" | "on-abort") {
            return None;
        }
        Some(span(self.text("Service", "RestartSec")).unwrap_or(Duration::from_millis(100)))
    }

    /// Tells whether anything wants it, by its links.
    pub(super) fn enablement(&self, tree: &Tree, name: &str) -> Enablement {
        if self.masked {
            return Enablement::Masked;
        }
        let targets = self.targets();
        if targets.is_empty() {
            return Enablement::Static;
        }
        let wants = |target: &String| tree.link_target(&wanted(target, name)).is_some();
        if targets.iter().any(wants) { Enablement::Enabled } else { Enablement::Disabled }
    }

    /// Returns the targets that it says it belongs to.
    pub(super) fn targets(&self) -> Vec<String> {
        let lists = ["WantedBy", "RequiredBy"].into_iter().flat_map(|key| self.list("Install", key));
        lists.flat_map(str::split_whitespace).map(str::to_owned).collect()
    }

    /// Composes the process's command line: `$NAME` and `${NAME}` stand for what the unit's environment says.
    pub(super) fn command(&self, tree: &Tree) -> Result<Vec<String>, String> {
        let mut env: BTreeMap<String, String> = BTreeMap::new();
        for line in self.list("Service", "Environment") {
            for word in split(line) {
                if let Some((name, value)) = word.split_once('=') {
                    env.insert(name.to_owned(), value.to_owned());
                }
            }
        }
        for path in self.list("Service", "EnvironmentFile") {
            let (path, optional) = match path.strip_prefix('-') {
                Some(path) => (path, true),
                None => (path, false),
            };
            match tree.read_text(path) {
                Ok(text) => {
                    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
                        if let Some((name, value)) = line.split_once('=') {
                            env.insert(name.trim().to_owned(), unquote(value.trim()));
                        }
                    }
                }
                Err(_) if optional => {}
                Err(error) => return Err(super::tree::reason(&error)),
            }
        }
        let Some(line) = self.list("Service", "ExecStart").last().copied() else { return Ok(Vec::new()) };
        let mut command = Vec::new();
        for word in split(line.trim_start_matches(['-', '@', '+', '!', ':'])) {
            match word.strip_prefix('$').filter(|name| !name.is_empty() && !name.starts_with('{')) {
                // A word that is a variable alone becomes as many words as its value has.
                Some(name) => command.extend(split(env.get(name).map_or("", String::as_str))),
                None => command.push(expand(&word, &env)),
            }
        }
        Ok(command)
    }
}

/// Returns the link by which a target wants a unit.
pub(super) fn wanted(target: &str, unit: &str) -> String {
    format!("/etc/systemd/system/{target}.wants/{unit}")
}

fn expand(word: &str, env: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, behind)) = after.split_once('}') else { break };
        text.push_str(before);
        text.push_str(env.get(name).map_or("", String::as_str));
        rest = behind;
    }
    text + rest
}

fn unquote(value: &str) -> String {
    let quoted = |mark: char| value.strip_prefix(mark).and_then(|rest| rest.strip_suffix(mark));
    quoted('"').or_else(|| quoted('\'')).unwrap_or(value).to_owned()
}

/// Splits a line into words as systemd does: quotes hold words together.
pub(in crate::sim) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quote, mut open) = (None, false);
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(mark), c) if c == mark => quote = None,
            (None, '"' | '\'') => (quote, open) = (Some(c), true),
            (Some('"') | None, '\\') => {
                word.extend(characters.next());
                open = true;
            }
            (None, c) if c.is_whitespace() => {
                if open {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            (_, c) => {
                word.push(c);
                open = true;
            }
        }
    }
    if open {
        words.push(word);
    }
    words
}

/// Reads a time span such as `10`, `10s`, `500ms`, `1min`.
fn span(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().ok()?;
    Some(match unit.trim() {
        "" | "s" | "sec" | "second" | "seconds" => Duration::from_secs(number),
        "ms" | "msec" => Duration::from_millis(number),
        "m" | "min" | "minutes" => Duration::from_secs(number.saturating_mul(60)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_its_file_with_drop_ins_and_environment() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::new(dir.path().to_owned());
        let unit = "[Unit]\nDescription=K\n[Service]\nExecStart=/usr/bin/kubelet\nRestart=always\nRestartSec=10\n\
                    [Install]\nWantedBy=multi-user.target\n";
        tree.write("/usr/lib/systemd/system/k.service", unit, 0o644).unwrap();
        let drop_in = "[Service]\nEnvironment=\"A=--config=/x\"\nEnvironmentFile=/flags\nEnvironmentFile=-/missing\n\
                       ExecStart=\nExecStart=/usr/bin/kubelet $A $B ${C}x\n";
        tree.write("/usr/lib/systemd/system/k.service.d/10.conf", drop_in, 0o644).unwrap();
        tree.write("/flags", "B=\"--one=1 --two='a b'\"\nC=c\n", 0o644).unwrap();
        let read = Definition::read(&tree, "k.service");
        assert_eq!(
            read.command(&tree).unwrap(),
            ["/usr/bin/kubelet", "--config=/x", "--one=1", "--two=a b", "cx"]
        );
        assert_eq!(read.restart(), Some(Duration::from_secs(10)));
        assert_eq!(read.enablement(&tree, "k.service"), Enablement::Disabled);
        tree.link(&wanted("multi-user.target", "k.service"), "/usr/lib/systemd/system/k.service").unwrap();
        assert_eq!(read.enablement(&tree, "k.service"), Enablement::Enabled);
        tree.link("/etc/systemd/system/k.service", "/dev/null").unwrap();
        assert!(Definition::read(&tree, "k.service").masked);
        assert!(!Definition::read(&tree, "none.service").masked);
    }
}
