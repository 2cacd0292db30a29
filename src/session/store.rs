//! Sessions on disk: one folder each under the state directory, listed, found, locked and saved. A session that a
//! newer program wrote, or that is damaged, is listed as such and hides no other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Session, SessionId};
use crate::persist::{self, Lock, PersistError, Stored};

/// Keeps the sessions under one folder.
#[derive(Debug, Clone)]
pub struct SessionStore {
    root: PathBuf,
}

/// What is there.
#[derive(Debug, Default)]
pub struct Listing {
    /// The sessions that can be read, oldest first.
    pub sessions: Vec<Session>,
    /// Those that cannot, and why.
    pub unreadable: Vec<(SessionId, PersistError)>,
}

/// Which session is meant where none is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Last {
    session: SessionId,
}

impl Stored for Last {
    const KIND: &'static str = "last-session";
    const VERSION: u32 = 1;
}

/// Why a session could not be found, locked or kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is none at all.
    #[error("there is no session")]
    None,
    /// No session has that name.
    #[error("there is no session `{wanted}`")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// Those that there are.
        known: Vec<SessionId>,
    },
    /// Several sessions begin like that.
    #[error("`{wanted}` could be {}", listed(.matching))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// Those that it could be.
        matching: Vec<SessionId>,
    },
    /// Another command works on it.
    #[error("session `{id}` is in use{}", by(.holder))]
    Busy {
        /// Which session.
        id: SessionId,
        /// Who uses it, such as `process 4711 (check)`.
        holder: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    Persist(#[from] PersistError),
}

fn listed(ids: &[SessionId]) -> String {
    ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(" or ")
}

fn by(holder: &str) -> String {
    if holder.is_empty() { String::new() } else { format!(" by {holder}") }
}

/// A session that no other command can change meanwhile.
#[derive(Debug)]
pub struct Locked {
    /// The session; [`Locked::save`] keeps what was changed.
    pub session: Session,
    dir: PathBuf,
    _lock: Lock,
}

impl Locked {
    /// Keeps the session as it is now.
    ///
    /// # Errors
    /// [`StoreError::Persist`]; what was kept before is then still there.
    pub fn save(&self) -> Result<(), StoreError> {
        Ok(persist::save(&self.dir.join("session.json"), &self.session)?)
    }

    /// Returns the session's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Forgets the session and all that its folder holds.
    ///
    /// # Errors
    /// [`StoreError::Persist`].
    pub fn remove(self) -> Result<(), StoreError> {
        // The session's file goes first: what is interrupted after it is no session any more.
        persist::remove(&self.dir.join("session.json"))?;
        Ok(persist::remove(&self.dir)?)
    }
}

impl SessionStore {
    /// Keeps sessions under `root`.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Returns the folder of a session.
    pub fn dir(&self, id: &SessionId) -> PathBuf {
        self.root.join(id.as_str())
    }

    /// Lists all sessions.
    ///
    /// # Errors
    /// [`StoreError::Persist`] when the folder itself cannot be read.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        for id in self.ids()? {
            match persist::load(&self.dir(&id).join("session.json")) {
                Ok(Some(session)) => listing.sessions.push(session),
                Ok(None) => {}
                Err(error) => listing.unreadable.push((id, error)),
            }
        }
        listing.sessions.sort_by(|a, b| a.created.cmp(&b.created).then_with(|| a.id.cmp(&b.id)));
        Ok(listing)
    }

    /// Finds the session that is meant: by its id or a part of it that only one has, else the last one.
    ///
    /// # Errors
    /// [`StoreError::None`], [`StoreError::Unknown`] or [`StoreError::Ambiguous`].
    pub fn resolve(&self, wanted: Option<&str>) -> Result<SessionId, StoreError> {
        let ids = self.ids()?;
        let Some(wanted) = wanted else {
            let last: Option<Last> = persist::load(&self.last_path())?;
            return match last.filter(|last| ids.contains(&last.session)) {
                Some(last) => Ok(last.session),
                None => self.list()?.sessions.pop().map(|session| session.id).ok_or(StoreError::None),
            };
        };
        if let Some(exact) = ids.iter().find(|id| id.as_str() == wanted) {
            return Ok(exact.clone());
        }
        let fits = |id: &&SessionId| id.as_str().starts_with(wanted) || id.as_str().ends_with(wanted);
        let mut matching: Vec<SessionId> = ids.iter().filter(fits).cloned().collect();
        match matching.len() {
            0 if ids.is_empty() => Err(StoreError::None),
            0 => Err(StoreError::Unknown { wanted: wanted.to_owned(), known: ids }),
            1 => Ok(matching.remove(0)),
            _ => Err(StoreError::Ambiguous { wanted: wanted.to_owned(), matching }),
        }
    }

    /// Reads a session, without keeping others from changing it.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] when it is gone, [`StoreError::Persist`].
    pub fn load(&self, id: &SessionId) -> Result<Session, StoreError> {
        let session = persist::load(&self.dir(id).join("session.json"))?;
        session.ok_or_else(|| StoreError::Unknown { wanted: id.to_string(), known: Vec::new() })
    }

    /// Reads a session and keeps others from changing it. `purpose` is the command, for the message others get.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when another command works on it, [`StoreError::Unknown`], [`StoreError::Persist`].
    pub fn lock(&self, id: &SessionId, purpose: &str) -> Result<Locked, StoreError> {
        // Looked at first, so that a lock never brings back the folder of a session that is gone.
        self.load(id)?;
        let lock = self.lock_file(id, purpose)?;
        Ok(Locked { session: self.load(id)?, dir: self.dir(id), _lock: lock })
    }

    /// Keeps a new session, locked, and makes it the one that is meant where none is named.
    ///
    /// # Errors
    /// [`StoreError::Persist`]; nothing is left then.
    pub fn create(&self, session: Session, purpose: &str) -> Result<Locked, StoreError> {
        let id = session.id.clone();
        let dir = self.dir(&id);
        persist::create_dir(&dir)?;
        let create = || -> Result<Locked, StoreError> {
            let lock = self.lock_file(&id, purpose)?;
            let locked = Locked { session, dir: dir.clone(), _lock: lock };
            locked.save()?;
            self.set_last(&id)?;
            Ok(locked)
        };
        create().inspect_err(|_| {
            let _ = persist::remove(&dir);
        })
    }

    /// Makes a session the one that is meant where none is named.
    ///
    /// # Errors
    /// [`StoreError::Persist`].
    pub fn set_last(&self, id: &SessionId) -> Result<(), StoreError> {
        Ok(persist::save(&self.last_path(), &Last { session: id.clone() })?)
    }

    /// Removes the folders that hold no session: what is left of a command that was killed.
    ///
    /// # Errors
    /// [`StoreError::Persist`].
    pub fn sweep(&self) -> Result<Vec<SessionId>, StoreError> {
        let mut swept = Vec::new();
        for id in self.folders()? {
            let empty = !self.dir(&id).join("session.json").exists();
            if empty && self.lock_file(&id, "clean").is_ok() {
                persist::remove(&self.dir(&id))?;
                swept.push(id);
            }
        }
        Ok(swept)
    }

    /// Tells who works on a session now, if anybody does.
    ///
    /// # Errors
    /// [`StoreError::Persist`].
    pub fn holder(&self, id: &SessionId) -> Result<Option<String>, StoreError> {
        match self.lock_file(id, "status") {
            Ok(_) => Ok(None),
            Err(StoreError::Busy { holder, .. }) => Ok(Some(holder)),
            Err(error) => Err(error),
        }
    }

    /// Waits for a session that another command works on.
    ///
    /// # Errors
    /// As [`SessionStore::lock`].
    pub async fn lock_within(
        &self,
        id: &SessionId,
        purpose: &str,
        patience: Duration,
    ) -> Result<Locked, StoreError> {
        self.load(id)?;
        let lock = Lock::acquire(&self.dir(id).join("lock"), purpose, patience).await;
        let lock = lock.map_err(|error| busy(id, error))?;
        Ok(Locked { session: self.load(id)?, dir: self.dir(id), _lock: lock })
    }

    fn lock_file(&self, id: &SessionId, purpose: &str) -> Result<Lock, StoreError> {
        Lock::try_acquire(&self.dir(id).join("lock"), purpose).map_err(|error| busy(id, error))
    }

    fn ids(&self) -> Result<Vec<SessionId>, StoreError> {
        let mut ids = self.folders()?;
        ids.retain(|id| self.dir(id).join("session.json").exists());
        Ok(ids)
    }

    fn folders(&self) -> Result<Vec<SessionId>, StoreError> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(PersistError::Io { path: self.root.clone(), action: "read", source }.into());
            }
        };
        let names = entries.flatten().filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name());
        let mut ids: Vec<SessionId> =
            names.filter_map(|name| name.to_str().and_then(SessionId::parse)).collect();
        ids.sort();
        Ok(ids)
    }

    fn last_path(&self) -> PathBuf {
        self.root.join("last.json")
    }
}

fn busy(id: &SessionId, error: PersistError) -> StoreError {
    match error {
        PersistError::Held { holder, .. } => StoreError::Busy { id: id.clone(), holder },
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::tests::planned;

    fn id(text: &str) -> SessionId {
        SessionId::parse(text).unwrap()
    }

    fn store() -> (tempfile::TempDir, SessionStore) {
        let dir = tempfile::tempdir().unwrap();
        let store = SessionStore::new(dir.path().join("sessions"));
        (dir, store)
    }

    #[test]
    fn the_last_session_is_meant_where_none_is_named() {
        let (_dir, store) = store();
        assert!(matches!(store.resolve(None), Err(StoreError::None)));
        drop(store.create(planned("first-aaaa"), "start").unwrap());
        drop(store.create(planned("second-bbbb"), "start").unwrap());
        assert_eq!(store.resolve(None).unwrap(), id("second-bbbb"));
        store.set_last(&id("first-aaaa")).unwrap();
        assert_eq!(store.resolve(None).unwrap(), id("first-aaaa"));
        store.lock(&id("first-aaaa"), "stop").unwrap().remove().unwrap();
        assert_eq!(store.resolve(None).unwrap(), id("second-bbbb"), "one that is gone is not meant");
    }

    #[test]
    fn a_part_of_the_id_will_do_when_only_one_has_it() {
        let (_dir, store) = store();
        for name in ["shrink-aaaa", "shrink-bbbb", "quota-cccc"] {
            drop(store.create(planned(name), "start").unwrap());
        }
        assert_eq!(store.resolve(Some("quota")).unwrap(), id("quota-cccc"));
        assert_eq!(store.resolve(Some("bbbb")).unwrap(), id("shrink-bbbb"));
        let error = store.resolve(Some("shrink")).unwrap_err();
        assert_eq!(error.to_string(), "`shrink` could be `shrink-aaaa` or `shrink-bbbb`");
        assert!(
            matches!(store.resolve(Some("other")), Err(StoreError::Unknown { known, .. }) if known.len() == 3)
        );
    }

    #[test]
    fn two_commands_cannot_change_one_session() {
        let (_dir, store) = store();
        let locked = store.create(planned("one-aaaa"), "start").unwrap();
        let error = store.lock(&id("one-aaaa"), "check").unwrap_err();
        let holder = format!("process {} (start)", std::process::id());
        assert_eq!(error.to_string(), format!("session `one-aaaa` is in use by {holder}"));
        assert_eq!(store.holder(&id("one-aaaa")).unwrap(), Some(holder));
        drop(locked);
        assert_eq!(store.holder(&id("one-aaaa")).unwrap(), None);
        store.lock(&id("one-aaaa"), "check").unwrap();
    }

    #[test]
    fn a_session_of_a_newer_program_hides_no_other_and_is_kept() {
        let (_dir, store) = store();
        drop(store.create(planned("old-aaaa"), "start").unwrap());
        drop(store.create(planned("new-bbbb"), "start").unwrap());
        let path = store.dir(&id("new-bbbb")).join("session.json");
        let text = std::fs::read_to_string(&path).unwrap().replace("\"version\": 1", "\"version\": 9");
        std::fs::write(&path, &text).unwrap();
        let listing = store.list().unwrap();
        assert_eq!(listing.sessions.len(), 1);
        assert!(matches!(&listing.unreadable[..], [(_, PersistError::Newer { found: 9, .. })]));
        assert!(matches!(store.lock(&id("new-bbbb"), "stop"), Err(StoreError::Persist(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn folders_without_a_session_are_swept_and_others_are_not() {
        let (_dir, store) = store();
        drop(store.create(planned("kept-aaaa"), "start").unwrap());
        std::fs::create_dir_all(store.dir(&id("left-bbbb")).join("task")).unwrap();
        assert_eq!(store.sweep().unwrap(), [id("left-bbbb")]);
        assert!(!store.dir(&id("left-bbbb")).exists());
        assert_eq!(store.list().unwrap().sessions.len(), 1);
    }

    #[test]
    fn what_was_changed_is_kept() {
        let (_dir, store) = store();
        let mut locked = store.create(planned("one-aaaa"), "start").unwrap();
        locked.session.tasks[0].hints = 2;
        locked.save().unwrap();
        drop(locked);
        assert_eq!(store.load(&id("one-aaaa")).unwrap().tasks[0].hints, 2);
    }
}
