//! The log file: a line an event, rotated by size and cleared of old ones as the API server's flags say.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::strtime;

use super::Sink;
use crate::clock::Clock;

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
    path: PathBuf,
    settings: LogSettings,
    clock: Arc<dyn Clock>,
    open: Mutex<Option<(File, u64)>>,
    /// What the path leads through, kept open.
    _folder: Option<File>,
}

impl LogFile {
    /// Appends to the file at `path`, which is created when the first event comes.
    ///
    /// # Errors
    /// Why the file cannot be written, which keeps a server from starting.
    pub fn open(path: &Path, settings: LogSettings, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let opened = append(path)?;
        Ok(Self { path: path.to_owned(), settings, clock, open: Mutex::new(Some(opened)), _folder: None })
    }

    /// As [`LogFile::open`], in a folder that is open already: whoever moves things about there leads nothing out of it.
    ///
    /// # Errors
    /// As [`LogFile::open`].
    pub fn open_in(
        folder: File,
        name: &str,
        settings: LogSettings,
        clock: Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()));
        Ok(Self { _folder: Some(folder), ..Self::open(&path, settings, clock)? })
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
            closed => closed.insert(append(&self.path)?),
        };
        file.write_all(format!("{line}\n").as_bytes())?;
        *size += length;
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        let now = self.clock.now();
        let (stem, ending) = self.names();
        let rotated = self.path.with_file_name(format!("{stem}-{}{ending}", now.strftime(STAMP)));
        std::fs::rename(&self.path, rotated)?;
        let mut kept = self.rotated()?;
        // The newest first.
        kept.sort_by(|a, b| b.cmp(a));
        let age = Duration::from_secs(self.settings.max_age * 24 * 60 * 60);
        for (index, (at, path)) in kept.iter().enumerate() {
            let too_many = self.settings.max_backup > 0 && index >= self.settings.max_backup;
            let too_old = self.settings.max_age > 0 && now.duration_since(*at).unsigned_abs() > age;
            if too_many || too_old {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Returns what stands before and after the time in the names of rotated files.
    fn names(&self) -> (String, String) {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match name.rsplit_once('.') {
            Some((stem, ending)) => (stem.to_owned(), format!(".{ending}")),
            None => (name, String::new()),
        }
    }

    fn rotated(&self) -> io::Result<Vec<(Timestamp, PathBuf)>> {
        let (stem, ending) = self.names();
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let stamp = name.strip_prefix(&format!("{stem}-")).and_then(|name| name.strip_suffix(&ending));
            let at = stamp
                .and_then(|stamp| strtime::parse("%Y-%m-%dT%H-%M-%S%.f", stamp).ok())
                .and_then(|parsed| parsed.to_datetime().ok())
                .and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok());
            found.extend(at.map(|at| (at.timestamp(), entry.path())));
        }
        Ok(found)
    }
}

impl Sink for LogFile {
    fn take(&self, event: &str) {
        // As upstream: a full disk loses events, and the request goes on.
        let _ = self.write(event);
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}
