//! The log file: a line an event, rotated by size and cleared of old ones as the API server's flags say.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::strtime;
use rustix::fs::{Mode, OFlags};

use super::Sink;
use crate::clock::Clock;
use crate::sim::node::tree::Tree;

/// What a rotated file has between its stem and its ending, in UTC.
const STAMP: &str = "%Y-%m-%dT%H-%M-%S.%3f";
const MEGABYTE: u64 = 1 << 20;
/// How large a file grows where nothing is said (lumberjack's default).
const USUAL_MEGABYTES: u64 = 100;

/// `--audit-log-maxsize`, `--audit-log-maxbackup`, `--audit-log-maxage`; 0 for no bound, or the usual size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogSettings {
    /// Megabytes of one file.
    pub max_size: u64,
    /// Rotated files that are kept.
    pub max_backup: usize,
    /// Days for which they are kept.
    pub max_age: u64,
}

/// A log file on a node.
#[derive(Debug)]
pub struct LogFile {
    tree: Tree,
    path: String,
    settings: LogSettings,
    clock: Arc<dyn Clock>,
    open: Mutex<Option<(File, u64)>>,
}

impl LogFile {
    /// Appends to the file at `path` of a node's files, wherever links lead within them; makes it where it is not.
    ///
    /// # Errors
    /// Why the file cannot be written, which keeps a server from starting.
    pub fn open(tree: Tree, path: &str, settings: LogSettings, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let opened = append(&tree, path)?;
        Ok(Self { tree, path: path.to_owned(), settings, clock, open: Mutex::new(Some(opened)) })
    }

    fn write(&self, line: &str) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let limit =
            MEGABYTE * if self.settings.max_size == 0 { USUAL_MEGABYTES } else { self.settings.max_size };
        let length = line.len() as u64 + 1;
        // Somebody may have taken the file away; upstream goes on writing into what nobody sees, until it is restarted.
        if open.as_ref().is_some_and(|(_, size)| size + length > limit) {
            *open = None;
            self.rotate()?;
        }
        let (file, size) = match &mut *open {
            Some(open) => open,
            closed => closed.insert(append(&self.tree, &self.path)?),
        };
        file.write_all(format!("{line}\n").as_bytes())?;
        *size += length;
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        let now = self.clock.now();
        let (stem, ending) = self.names();
        self.tree.rename(&self.path, &format!("{stem}-{}{ending}", now.strftime(STAMP)))?;
        let mut kept = self.rotated()?;
        // The newest first.
        kept.sort_by(|a, b| b.cmp(a));
        let age = Duration::from_secs(self.settings.max_age * 24 * 60 * 60);
        for (index, (at, path)) in kept.iter().enumerate() {
            let too_many = self.settings.max_backup > 0 && index >= self.settings.max_backup;
            let too_old = self.settings.max_age > 0 && now.duration_since(*at).unsigned_abs() > age;
            if too_many || too_old {
                self.tree.remove(path)?;
            }
        }
        Ok(())
    }

    /// Returns what stands before and after the time in the paths of rotated files.
    fn names(&self) -> (&str, String) {
        let folder = self.path.rfind('/').map_or(0, |slash| slash + 1);
        match self.path[folder..].rfind('.') {
            Some(dot) => (&self.path[..folder + dot], self.path[folder + dot..].to_owned()),
            None => (&self.path, String::new()),
        }
    }

    fn rotated(&self) -> io::Result<Vec<(Timestamp, String)>> {
        let (stem, ending) = self.names();
        let folder = self.path.rsplit_once('/').map_or("/", |(folder, _)| folder);
        let paths = self.tree.list(folder)?.into_iter().map(|name| format!("{folder}/{name}"));
        let dated = |path: String| {
            let stamp = path.strip_prefix(stem)?.strip_prefix('-')?.strip_suffix(&ending)?;
            let at = strtime::parse("%Y-%m-%dT%H-%M-%S%.f", stamp).ok()?.to_datetime().ok()?;
            Some((at.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp(), path))
        };
        Ok(paths.filter_map(dated).collect())
    }
}

impl Sink for LogFile {
    fn take(&self, event: &str) {
        // As upstream: a full disk loses events, and the request goes on.
        let _ = self.write(event);
    }
}

fn append(tree: &Tree, path: &str) -> io::Result<(File, u64)> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
    let file = tree.open_file(path, flags, Mode::RUSR | Mode::WUSR)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}
