//! Files that survive: atomic private writes, lock files that say who holds them, and a versioned envelope that
//! refuses what a newer program wrote. Knows nothing of what is stored.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Data with a kind and a version, kept in an envelope `{kind, version, data}`.
pub trait Stored: Serialize + DeserializeOwned {
    /// What it is, such as `session`.
    const KIND: &'static str;
    /// The version that is written.
    const VERSION: u32;

    /// Turns data of an older version into the current one.
    ///
    /// # Errors
    /// A sentence when that version cannot be read any more.
    fn migrate(version: u32, data: Value) -> Result<Value, String> {
        let _ = data;
        Err(format!("version {version} is no longer read"))
    }
}

/// Why something could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum PersistError {
    /// The file system refused.
    #[error("`{}` could not be {action}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: `read`, `written`, `locked` and so on.
        action: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Somebody else holds the lock.
    #[error("`{}` is locked{}", path.display(), held_by(.holder))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, such as `process 4711 (check)`; empty when it does not say.
        holder: String,
    },
    /// A newer program wrote it.
    #[error(
        "`{}` was written by a newer version of this program ({kind} version {found}, known up to {known})",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// What it holds.
        kind: &'static str,
        /// Its version.
        found: u32,
        /// The newest version that is understood here.
        known: u32,
    },
    /// It is not what it should be.
    #[error("`{}` is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In which way.
        reason: String,
    },
}

fn held_by(holder: &str) -> String {
    if holder.is_empty() { String::new() } else { format!(" by {holder}") }
}

/// Creates a folder and its parents, readable by the owner alone.
///
/// # Errors
/// [`PersistError::Io`].
pub fn create_dir(path: &Path) -> Result<(), PersistError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io(path, "created"))
}

/// Writes a file so that after a crash there is either the old or the new content, readable by the owner alone.
///
/// # Errors
/// [`PersistError::Io`]; the old content is then still there.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), PersistError> {
    let failed = io(path, "written");
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(dir)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        // The rename itself is durable only when the folder is.
        File::open(dir)?.sync_all()
    };
    write().map_err(failed)
}

/// Reads a file; one that does not exist is `None`.
///
/// # Errors
/// [`PersistError::Io`].
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, PersistError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io(path, "read")(error)),
    }
}

/// Removes a file or a folder with all in it; one that does not exist is no error.
///
/// # Errors
/// [`PersistError::Io`].
pub fn remove(path: &Path) -> Result<(), PersistError> {
    let removed = match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(path, "removed")(error)),
        _ => Ok(()),
    }
}

#[derive(Serialize)]
struct Written<'a, T> {
    version: u32,
    kind: &'static str,
    data: &'a T,
}

#[derive(Deserialize)]
struct Envelope {
    version: u32,
    kind: String,
    #[serde(default)]
    data: Value,
}

/// Writes data in its envelope, atomically.
///
/// # Errors
/// [`PersistError::Io`]; what was there before is then still there.
pub fn save<T: Stored>(path: &Path, data: &T) -> Result<(), PersistError> {
    let written = Written { version: T::VERSION, kind: T::KIND, data };
    let mut bytes = serde_json::to_vec_pretty(&written)
        .map_err(|error| PersistError::Damaged { path: path.to_owned(), reason: error.to_string() })?;
    bytes.push(b'\n');
    write_atomic(path, &bytes)
}

/// Reads data from its envelope; a file that does not exist is `None`. Never changes the file.
///
/// # Errors
/// [`PersistError::Newer`] for what a newer program wrote, [`PersistError::Damaged`] for anything else that is not
/// this data, [`PersistError::Io`].
pub fn load<T: Stored>(path: &Path) -> Result<Option<T>, PersistError> {
    let Some(bytes) = read(path)? else { return Ok(None) };
    let damaged = |reason: String| PersistError::Damaged { path: path.to_owned(), reason };
    let envelope: Envelope = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if envelope.kind != T::KIND {
        return Err(damaged(format!("it holds `{}`, not `{}`", envelope.kind, T::KIND)));
    }
    if envelope.version > T::VERSION {
        let (found, known) = (envelope.version, T::VERSION);
        return Err(PersistError::Newer { path: path.to_owned(), kind: T::KIND, found, known });
    }
    let data = if envelope.version < T::VERSION {
        T::migrate(envelope.version, envelope.data).map_err(damaged)?
    } else {
        envelope.data
    };
    serde_json::from_value(data).map(Some).map_err(|error| damaged(error.to_string()))
}

/// A held lock. It is given back when dropped or when the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock, or says who holds it. `purpose` is what the holder is told to be doing, such as `check`.
    ///
    /// # Errors
    /// [`PersistError::Held`] when somebody else has it, [`PersistError::Io`].
    pub fn try_acquire(path: &Path, purpose: &str) -> Result<Self, PersistError> {
        if let Some(dir) = path.parent() {
            create_dir(dir)?;
        }
        let failed = io(path, "locked");
        // The file stays when the lock is given back: removing it would let two holders lock two files.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(&failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // A holder that is just writing its name leaves it empty, which is fine.
                let _ = file.read_to_string(&mut holder);
                return Err(PersistError::Held { path: path.to_owned(), holder: holder.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let lock = Self { file };
        let holder = format!("process {} ({purpose})\n", std::process::id());
        // The name is for the message alone; a full disk must not take the lock away.
        let _ = lock.name_holder(&holder);
        Ok(lock)
    }

    /// Takes the lock and waits for it as long as `patience` says.
    ///
    /// # Errors
    /// [`PersistError::Held`] when it is not given back in time, [`PersistError::Io`].
    pub async fn acquire(path: &Path, purpose: &str, patience: Duration) -> Result<Self, PersistError> {
        const STEP: Duration = Duration::from_millis(10);
        let mut waited = Duration::ZERO;
        loop {
            match Self::try_acquire(path, purpose) {
                Err(PersistError::Held { .. }) if waited < patience => {
                    tokio::time::sleep(STEP).await;
                    waited += STEP;
                }
                other => return other,
            }
        }
    }

    fn name_holder(&self, holder: &str) -> std::io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(holder.as_bytes())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
        let _ = self.file.unlock();
    }
}

fn io(path: &Path, action: &'static str) -> impl Fn(std::io::Error) -> PersistError {
    move |source| PersistError::Io { path: path.to_owned(), action, source }
}

#[cfg(test)]
mod tests;
