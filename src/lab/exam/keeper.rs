//! The clock of an exam: who keeps it, who is told how little is left, and what happens when the time is up.

use std::path::PathBuf;
use std::time::Duration;

use super::super::{Lab, LabError};
use crate::exam;
use crate::lab::event::Event;
use crate::persist::{Lock, PersistError};
use crate::session::store::{Locked, StoreError};
use crate::session::{Session, SessionId, Sitting, TaskState};

/// How often the keeper of the clock looks; a machine that was asleep is noticed no later.
const LOOK: Duration = Duration::from_secs(10);
/// How long the keeper of the clock waits for a command that is at work when the time is up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a command waits for another one that has the exam.
const TURN: Duration = Duration::from_secs(5);
/// How long it takes until it is tried again to grade what could not be judged, or to read a session that could not be
/// read, and how often.
const RETRY: (Duration, u32) = (Duration::from_secs(2), 5);

impl Lab {
    /// Tells whether somebody keeps the clock of an exam that runs.
    ///
    /// # Errors
    /// Any [`LabError`] of the store.
    pub fn is_kept(&self, session: &SessionId) -> Result<bool, LabError> {
        match Lock::try_acquire(&self.keeper_path(session), "exam clock") {
            Ok(_) => Ok(false),
            Err(PersistError::Held { .. }) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps the clock of an exam: tells the observer when little is left, waits for the end and grades it then as it
    /// stands. Returns when the exam has ended, however it did, and at once when somebody keeps it already.
    ///
    /// # Errors
    /// Any [`LabError`] of store, catalog and provider.
    pub async fn exam_keep(&self, session: &str) -> Result<(), LabError> {
        let id = self.store.resolve(Some(session))?;
        let _lock = match Lock::try_acquire(&self.keeper_path(&id), "exam clock") {
            Err(PersistError::Held { .. }) => return Ok(()),
            other => other?,
        };
        let mut unread = 0;
        loop {
            let mut now = match self.look(Some(id.as_str())) {
                Ok(now) => now,
                Err(LabError::Store(StoreError::Unknown { .. })) => return Ok(()),
                // What cannot be read just now may be there the next time; a state folder that went away as a whole is
                // not, and nobody would ever end a keeper that goes on waiting for it.
                Err(error) if unread == RETRY.1 => return Err(error),
                Err(_) => {
                    unread += 1;
                    tokio::time::sleep(RETRY.0).await;
                    continue;
                }
            };
            unread = 0;
            if now.state != TaskState::Running {
                return Ok(());
            }
            if due(&mut now, notified).is_some() {
                self.alert(&mut self.keep_within(&id, TURN).await?, notified)?;
            }
            match now.timer.left() {
                Some(left) if left.is_zero() => break,
                left => tokio::time::sleep(left.unwrap_or(LOOK).min(LOOK)).await,
            }
        }
        let mut locked = self.keep_within(&id, PATIENCE).await?;
        self.expire(&mut locked).await?;
        self.tell(Event::Alert { minutes: 0, left_seconds: 0 });
        Ok(())
    }

    async fn keep_within(&self, id: &SessionId, patience: Duration) -> Result<Locked, LabError> {
        let mut locked = self.store.lock_within(id, "exam clock", patience).await?;
        locked.session.observe(&self.clock.moment());
        Ok(locked)
    }

    /// Finds the exam that is meant: the one that is named, else the last one. A practice session that was started
    /// meanwhile is not meant.
    pub(super) fn exam_id(&self, session: Option<&str>) -> Result<SessionId, LabError> {
        let latest = match session {
            Some(_) => None,
            None => self.store.list()?.sessions.into_iter().rfind(|session| session.sitting.is_some()),
        };
        match latest {
            Some(session) => Ok(session.id),
            None => Ok(self.store.resolve(session)?),
        }
    }

    /// Opens a session that is an exam, tells how little is left where that was not told yet, and ends it when its time
    /// is up.
    pub(in crate::lab) async fn open_exam(
        &self,
        session: Option<&str>,
        purpose: &str,
    ) -> Result<Locked, LabError> {
        let id = self.exam_id(session)?;
        // Another terminal may just turn to a task, and the keeper of the clock may just be grading.
        let mut locked = self.store.lock_within(&id, purpose, TURN).await?;
        locked.session.observe(&self.clock.moment());
        locked.session.sitting()?;
        self.expire(&mut locked).await?;
        self.alert(&mut locked, |sitting| &mut sitting.told)?;
        Ok(locked)
    }

    /// Tells once that little is left; `told` is what was told already to whoever listens.
    fn alert(&self, locked: &mut Locked, told: fn(&mut Sitting) -> &mut Vec<u32>) -> Result<(), LabError> {
        let Some(minutes) = due(&mut locked.session, told) else { return Ok(()) };
        if let Some(sitting) = &mut locked.session.sitting {
            told(sitting).extend(exam::ALERTS.into_iter().filter(|alert| *alert >= minutes));
        }
        locked.save()?;
        let left_seconds = locked.session.timer.left().map_or(0, |left| left.as_secs());
        self.tell(Event::Alert { minutes, left_seconds });
        Ok(())
    }

    /// Grades an exam whose time is up, as it stands.
    async fn expire(&self, locked: &mut Locked) -> Result<(), LabError> {
        if locked.session.state != TaskState::Running || !locked.session.timer.is_up() {
            return Ok(());
        }
        self.tell(Event::Stage { text: "the time is up: grading".to_owned() });
        for _ in 0..RETRY.1 {
            match self.finish(locked, false).await {
                // A cluster that is just coming back may be judged a moment later.
                Err(LabError::Undecided { .. }) => tokio::time::sleep(RETRY.0).await,
                done => return done.map(drop),
            }
        }
        self.finish(locked, true).await.map(drop)
    }

    fn keeper_path(&self, id: &SessionId) -> PathBuf {
        self.store.dir(id).join("clock.lock")
    }
}

fn notified(sitting: &mut Sitting) -> &mut Vec<u32> {
    &mut sitting.notified
}

/// Returns the alert that is to be told now.
fn due(session: &mut Session, told: fn(&mut Sitting) -> &mut Vec<u32>) -> Option<u32> {
    let running = session.state == TaskState::Running;
    let (left, limit) = (session.timer.left()?, session.timer.limit()?);
    let told = told(session.sitting.as_mut()?);
    exam::alert(left, limit).filter(|alert| running && !left.is_zero() && !told.contains(alert))
}
