//! What a sitting is: its tasks, how far each is, and its clock. Transitions are pure and are told the time.
//! Knows no cluster, scenario or file; `session::store` keeps it.

mod sitting;
pub mod store;
mod timer;

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use sitting::{Desk, Sitting};
pub use timer::{Jump, Timer};

use crate::clock::Moment;
use crate::cluster::{ClusterRecord, ClusterSpec};
use crate::persist::Stored;

/// Names a session: the scenario and a few letters, such as `shrink-the-releaser-k3f9`.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct SessionId(String);

impl SessionId {
    /// The letters of the suffix: no two that look alike, none that begin a word.
    const ALPHABET: &[u8; 32] = b"0123456789bcdfghjkmnpqrstvwxyzae";

    /// Makes an id from a base, such as a scenario's id, and random bits.
    pub fn new(base: &str, random: u32) -> Self {
        let suffix: String = (0..4)
            .map(|place| char::from(Self::ALPHABET[(random >> (place * 5)) as usize % Self::ALPHABET.len()]))
            .collect();
        Self(format!("{base}-{suffix}"))
    }

    /// Reads an id; `None` when it could not be one.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let whole = !text.is_empty() && text.len() <= 128 && text.chars().all(fits);
        (whole && !text.starts_with('-')).then(|| Self(text.to_owned()))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a DNS label for the cluster of one of its tasks, short enough for node names to be made of it.
    pub fn cluster_name(&self, task: usize) -> String {
        let (base, suffix) = self.0.rsplit_once('-').unwrap_or(("", &self.0));
        let base: String = base.chars().take(24).collect();
        let base = base.trim_end_matches('-');
        match task {
            0 => format!("{base}-{suffix}"),
            more => format!("{base}-{suffix}-{more}"),
        }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the sitting is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// One task; verdicts and hints at any time.
    Practice,
    /// Many tasks on one clock; verdicts only after the end.
    Exam,
}

/// How far a session or one of its tasks is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TaskState {
    /// Its cluster is being created and seeded.
    Preparing,
    /// The learner works on it.
    Running,
    /// It could not be prepared, and what there is of it was kept to be looked at.
    Failed,
    /// It was graded; its cluster is gone.
    Submitted,
}

impl TaskState {
    /// Returns the state in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "being prepared",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Submitted => "submitted",
        }
    }
}

/// Which cluster a task has. The record is there once the provider has made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskCluster {
    /// The provider's name.
    pub provider: String,
    /// What was asked of it.
    pub spec: ClusterSpec,
    /// What the provider needs to find it again.
    pub record: Option<ClusterRecord>,
}

/// One task of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// The scenario's id.
    pub scenario: String,
    /// The scenario's title.
    pub title: String,
    /// The number that its names and values are drawn from.
    pub variant: u32,
    /// A digest of the scenario's files when it was started.
    pub digest: String,
    /// How far it is.
    pub state: TaskState,
    /// Its cluster.
    pub cluster: TaskCluster,
    /// The learner's folder: the task's text, files to work on, answers.
    pub dir: PathBuf,
    /// How many hints were given.
    pub hints: usize,
    /// How often it was reset.
    pub resets: u32,
}

/// A sitting: one task in practice, many in an exam.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// What it is for.
    pub mode: Mode,
    /// How far it is.
    pub state: TaskState,
    /// When it was started.
    pub created: Timestamp,
    /// Its clock.
    pub timer: Timer,
    /// The folder with scenarios that it was started from, where that is not what is built in.
    pub catalog: Option<PathBuf>,
    /// Its tasks, at least one.
    pub tasks: Vec<Task>,
    /// The exam that it is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sitting: Option<Sitting>,
}

impl Stored for Session {
    const KIND: &'static str = "session";
    const VERSION: u32 = 1;
}

/// Why a session cannot do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// It is in another state.
    #[error("session `{id}` is {}", state.as_str())]
    NotRunning {
        /// Which session.
        id: SessionId,
        /// Its state.
        state: TaskState,
    },
    /// It is no exam.
    #[error("session `{id}` is no exam")]
    NoExam {
        /// Which session.
        id: SessionId,
    },
    /// There is no such task.
    #[error("session `{id}` has no task {number}")]
    NoTask {
        /// Which session.
        id: SessionId,
        /// The task's number, from 1.
        number: usize,
    },
}

impl Session {
    /// Plans a session that is still to be prepared.
    pub fn plan(
        id: SessionId,
        mode: Mode,
        now: &Moment,
        limit: Option<std::time::Duration>,
        tasks: Vec<Task>,
    ) -> Self {
        let timer = Timer::new(limit, now);
        Self {
            id,
            mode,
            state: TaskState::Preparing,
            created: now.wall,
            timer,
            catalog: None,
            tasks,
            sitting: None,
        }
    }

    /// Starts the clock: everything is ready.
    pub fn begin(&mut self, now: &Moment) {
        self.state = TaskState::Running;
        for task in &mut self.tasks {
            task.state = TaskState::Running;
        }
        self.timer.start(now);
        if let Some(desk) = self.sitting.as_mut().and_then(|sitting| sitting.desks.get_mut(sitting.current)) {
            desk.visited = true;
        }
    }

    /// Notes that it could not be prepared and that what there is of it stays.
    pub fn fail(&mut self) {
        self.state = TaskState::Failed;
    }

    /// Brings the clock up to now.
    pub fn observe(&mut self, now: &Moment) {
        if self.state == TaskState::Running {
            self.timer.observe(now);
        }
    }

    /// Stops the clock for good: it is graded.
    ///
    /// # Errors
    /// [`SessionError::NotRunning`].
    pub fn submit(&mut self, now: &Moment) -> Result<(), SessionError> {
        self.running()?;
        self.timer.observe(now);
        self.count_time();
        self.timer.stop();
        self.state = TaskState::Submitted;
        for task in &mut self.tasks {
            task.state = TaskState::Submitted;
        }
        Ok(())
    }

    /// Gives the next hint of a task, of which there are `available`. Returns its number from 0 and whether it is new;
    /// when all were given, the last one again. `None` when there is none.
    ///
    /// # Errors
    /// [`SessionError::NotRunning`] or [`SessionError::NoTask`].
    pub fn give_hint(
        &mut self,
        task: usize,
        available: usize,
    ) -> Result<Option<(usize, bool)>, SessionError> {
        self.running()?;
        let task = self.task_mut(task)?;
        if available == 0 {
            return Ok(None);
        }
        let new = task.hints < available;
        if new {
            task.hints += 1;
        }
        Ok(Some((task.hints.min(available) - 1, new)))
    }

    /// Returns the one task of a practice session, and the first of an exam.
    ///
    /// # Errors
    /// [`SessionError::NoTask`].
    pub fn task(&self, index: usize) -> Result<&Task, SessionError> {
        self.tasks.get(index).ok_or_else(|| SessionError::NoTask { id: self.id.clone(), number: index + 1 })
    }

    /// Returns a task to change it.
    ///
    /// # Errors
    /// [`SessionError::NoTask`].
    pub fn task_mut(&mut self, index: usize) -> Result<&mut Task, SessionError> {
        let missing = SessionError::NoTask { id: self.id.clone(), number: index + 1 };
        self.tasks.get_mut(index).ok_or(missing)
    }

    /// Makes sure that it runs.
    ///
    /// # Errors
    /// [`SessionError::NotRunning`].
    pub fn running(&self) -> Result<(), SessionError> {
        match self.state {
            TaskState::Running => Ok(()),
            state => Err(SessionError::NotRunning { id: self.id.clone(), state }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
