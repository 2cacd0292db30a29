//! What stands between a node and the cluster's own programs: a static Pod starts one, the cluster says what becomes of
//! it. Knows neither flags nor what they do.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::host::{Mount, NodeHost, tree};
use crate::sim::flags::Program;

/// A program of the control plane that is being started.
#[derive(Debug)]
pub(in crate::sim) struct Starting<'a> {
    /// The machine.
    pub host: &'a NodeHost,
    /// Which program.
    pub program: Program,
    /// Its arguments, without its name.
    pub arguments: &'a [String],
    /// The paths of the node that it sees.
    pub mounts: &'a [Mount],
    /// When.
    pub at: Timestamp,
    /// How many times faster than in reality things happen.
    pub haste: u32,
}

/// What becomes of a program.
#[derive(Debug, Clone, Default)]
pub(in crate::sim) struct Course {
    /// What it writes, and when after its start.
    pub lines: Vec<(Duration, String)>,
    /// When and how it ends by itself.
    pub ends: Option<(Duration, i32)>,
}

/// Where programs of the control plane take effect.
pub(in crate::sim) trait Parts: Send + Sync + std::fmt::Debug {
    /// Starts a program.
    fn start(&self, starting: &Starting<'_>) -> Course;
    /// Stops a program that was told to end, or has ended.
    fn stop(&self, program: Program);
    /// Answers a probe; the error is what the kubelet says of it.
    ///
    /// # Errors
    /// `HTTP probe failed with statuscode: 401` and the like.
    fn probe(&self, program: Program, path: &str) -> Result<(), String>;
}

impl Starting<'_> {
    /// Finds the path of the node behind a path of the container.
    fn path(&self, path: &str) -> Option<String> {
        let within = |mount: &Mount| {
            let rest = path.strip_prefix(mount.container.trim_end_matches('/'))?;
            (rest.is_empty() || rest.starts_with('/'))
                .then(|| format!("{}{rest}", mount.host.trim_end_matches('/')))
        };
        let deepest = self.mounts.iter().filter_map(|mount| Some((mount.container.len(), within(mount)?)));
        deepest.max_by_key(|(length, _)| *length).map(|(_, path)| path)
    }

    /// Reads a file as the program sees it.
    ///
    /// # Errors
    /// In Go's words: `open /x: no such file or directory`.
    pub fn read(&self, path: &str) -> Result<String, String> {
        let missing = || Err(format!("open {path}: no such file or directory"));
        let Some(own) = self.path(path) else { return missing() };
        let tree = self.host.tree();
        match tree.read_text(&own) {
            Ok(text) => Ok(text),
            Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => {
                Err(format!("read {path}: is a directory"))
            }
            Err(error) => Err(format!("open {path}: {}", tree::reason(&error))),
        }
    }

    /// Returns where a file that the program writes lies on the node; nothing where it stays in the container, and an
    /// error where it cannot be written.
    ///
    /// # Errors
    /// In Go's words.
    pub fn writable(&self, path: &str) -> Result<Option<String>, String> {
        let Some(own) = self.path(path) else { return Ok(None) };
        let read_only = self.mounts.iter().any(|mount| {
            mount.read_only
                && path
                    .strip_prefix(mount.container.trim_end_matches('/'))
                    .is_some_and(|rest| rest.starts_with('/'))
        });
        if read_only { Err(format!("open {path}: read-only file system")) } else { Ok(Some(own)) }
    }

    /// Shortens a time of reality.
    pub fn soon(&self, real: Duration) -> Duration {
        real / self.haste.max(1)
    }
}

/// The runs of programs that a machine knows, by Pod and container.
#[derive(Debug, Default)]
pub(super) struct Courses(BTreeMap<(String, String), Vec<Run>>);

/// A run of a program.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub started: Timestamp,
    pub course: Course,
}

impl Courses {
    /// Finds the run that began within the second of a moment.
    pub fn find(&self, uid: &str, container: &str, started: Timestamp) -> Option<&Run> {
        let runs = self.0.get(&(uid.to_owned(), container.to_owned()))?;
        runs.iter()
            .rev()
            .find(|run| run.started == started)
            .or_else(|| runs.iter().rev().find(|run| run.started.as_second() == started.as_second()))
    }

    /// Keeps a run, and forgets those long before it.
    pub fn keep(&mut self, uid: &str, container: &str, run: Run) {
        let runs = self.0.entry((uid.to_owned(), container.to_owned())).or_default();
        runs.push(run);
        let over = runs.len().saturating_sub(4);
        runs.drain(..over);
    }

    /// Forgets a Pod.
    pub fn forget(&mut self, uid: &str) {
        self.0.retain(|(of, _), _| of != uid);
    }
}
