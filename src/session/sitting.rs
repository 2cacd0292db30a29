//! What an exam adds to a session: hosts, weights, flags, notes, and which task the learner is at.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Session, SessionError};
use crate::clock::Moment;

/// The exam that a session is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sitting {
    /// The curriculum's track.
    pub track: String,
    /// What its planner calls it, where somebody planned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The number that its tasks were drawn by.
    pub variant: u32,
    /// Percent that are needed to pass.
    pub pass_mark: u32,
    /// The task that the learner is at, from 0.
    pub current: usize,
    /// What the clock showed when the learner came to it.
    pub since: Duration,
    /// Whether pages of third parties are shown.
    #[serde(default)]
    pub open_book: bool,
    /// Prefixes of the pages that may be open, where those are not the track's.
    #[serde(default)]
    pub allowed: Vec<String>,
    /// The alerts that commands have told, in minutes.
    #[serde(default)]
    pub told: Vec<u32>,
    /// The alerts that the keeper of the clock has told, in minutes.
    #[serde(default)]
    pub notified: Vec<u32>,
    /// What it adds to each task, in the tasks' order.
    pub desks: Vec<Desk>,
}

/// What an exam adds to a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Desk {
    /// The host to go to for it.
    pub host: String,
    /// The domain that it counts for.
    pub domain: String,
    /// Its share of the exam in percent.
    pub weight: u32,
    /// How many minutes it is meant to take.
    pub minutes: u32,
    /// Whether the learner was there.
    pub visited: bool,
    /// Whether the learner wants to come back.
    pub flagged: bool,
    /// The learner's own note.
    pub note: String,
    /// How long the learner was there.
    pub spent: Duration,
}

impl Session {
    /// Returns the task that is meant where none is named: the only one, or the one that the learner of an exam is at.
    pub fn current(&self) -> usize {
        self.sitting.as_ref().map_or(0, |sitting| sitting.current)
    }

    /// Returns the exam that it is.
    ///
    /// # Errors
    /// [`SessionError::NoExam`].
    pub fn sitting(&self) -> Result<&Sitting, SessionError> {
        self.sitting.as_ref().ok_or_else(|| SessionError::NoExam { id: self.id.clone() })
    }

    /// Turns to a task of the exam; the time so far counts for the one before.
    ///
    /// # Errors
    /// [`SessionError::NotRunning`], [`SessionError::NoExam`], [`SessionError::NoTask`].
    pub fn turn_to(&mut self, task: usize, now: &Moment) -> Result<(), SessionError> {
        self.running()?;
        self.sitting()?;
        self.task(task)?;
        self.observe(now);
        self.count_time();
        if let Some(sitting) = &mut self.sitting {
            sitting.current = task;
            if let Some(desk) = sitting.desks.get_mut(task) {
                desk.visited = true;
            }
        }
        Ok(())
    }

    /// Returns what the exam adds to a task, to change it.
    ///
    /// # Errors
    /// [`SessionError::NoExam`], [`SessionError::NoTask`].
    pub fn desk_mut(&mut self, task: usize) -> Result<&mut Desk, SessionError> {
        self.task(task)?;
        let id = self.id.clone();
        let sitting = self.sitting.as_mut().ok_or_else(|| SessionError::NoExam { id: id.clone() })?;
        sitting.desks.get_mut(task).ok_or(SessionError::NoTask { id, number: task + 1 })
    }

    /// Adds the time since the last turn to the task that the learner is at. The session's clock is that of the
    /// last [`Session::observe`].
    pub(super) fn count_time(&mut self) {
        // What is done after the end is nobody's time.
        let elapsed =
            self.timer.limit().map_or(self.timer.elapsed(), |limit| limit.min(self.timer.elapsed()));
        if let Some(sitting) = &mut self.sitting {
            let spent = elapsed.saturating_sub(sitting.since);
            sitting.since = elapsed;
            if let Some(desk) = sitting.desks.get_mut(sitting.current) {
                desk.spent += spent;
            }
        }
    }
}
