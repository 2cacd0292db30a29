//! What a candidate does while an exam goes on: turns to tasks, flags, notes, goes to hosts, submits, looks back.

use super::super::{Lab, LabError};
use super::view::{ExamResult, ExamRules, ExamStatus, ExamTaskView};
use crate::lab::view::EnvView;
use crate::session::{Session, TaskState};

impl Lab {
    /// Returns how the exam stands; ends it when its time is up.
    ///
    /// # Errors
    /// Any [`LabError`] of the store; [`LabError::Session`] when it is no exam.
    pub async fn exam_status(&self, session: Option<&str>) -> Result<ExamStatus, LabError> {
        let locked = self.open_exam(session, "exam status").await?;
        ExamStatus::new(&locked.session)
    }

    /// Returns how the exam stands without keeping others from it, and without ending it when its time is up.
    ///
    /// # Errors
    /// Any [`LabError`] of the store; [`LabError::Session`] when it is no exam.
    pub fn exam_look(&self, session: Option<&str>) -> Result<ExamStatus, LabError> {
        let id = self.exam_id(session)?;
        ExamStatus::new(&self.look(Some(id.as_str()))?)
    }

    /// Returns the rules of the exam.
    ///
    /// # Errors
    /// Any [`LabError`] of the store; [`LabError::Session`] when it is no exam.
    pub fn exam_rules(&self, session: Option<&str>) -> Result<ExamRules, LabError> {
        let id = self.exam_id(session)?;
        ExamRules::new(&self.look(Some(id.as_str()))?)
    }

    /// Returns the text of a task, by its number from 1, without turning to it.
    ///
    /// # Errors
    /// Any [`LabError`] of store and catalog; [`LabError::Session`] for a task that is not there.
    pub fn exam_text(&self, session: Option<&str>, number: usize) -> Result<ExamTaskView, LabError> {
        let id = self.exam_id(session)?;
        let session = self.look(Some(id.as_str()))?;
        let index = number.wrapping_sub(1);
        session.sitting()?;
        session.task(index)?;
        ExamTaskView::new(&session, index, &self.scenario_of(&session, index)?)
    }

    /// Goes on with an exam after a crash or a reboot: brings back clusters that have died, and starts the clock of an
    /// exam that was ready.
    ///
    /// # Errors
    /// Any [`LabError`] of store and provider; [`LabError::Session`] when it is no exam.
    pub async fn exam_resume(&self, session: Option<&str>) -> Result<ExamStatus, LabError> {
        let locked = self.open_exam(session, "exam resume").await?;
        for task in locked.session.tasks.iter().filter(|task| task.cluster.record.is_some()) {
            self.attach(&locked.session, task).await?;
        }
        let Session { id, state, .. } = locked.session.clone();
        let id = id.to_string();
        // The next two take the lock themselves.
        drop(locked);
        if state == TaskState::Preparing {
            self.exam_begin(Some(&id))?;
        }
        self.exam_status(Some(&id)).await
    }

    /// Turns to a task, by its number from 1, or shows the one that the learner is at.
    ///
    /// # Errors
    /// Any [`LabError`] of store and catalog.
    pub async fn exam_task(
        &self,
        session: Option<&str>,
        number: Option<usize>,
    ) -> Result<ExamTaskView, LabError> {
        let mut locked = self.open_exam(session, "exam task").await?;
        let index = match number {
            Some(number) => number.checked_sub(1).unwrap_or(usize::MAX),
            None => locked.session.current(),
        };
        if locked.session.state == TaskState::Running {
            locked.session.turn_to(index, &self.clock.moment())?;
        } else {
            // After the end one may look at each task; no time is counted.
            locked.session.task(index)?;
            if let Some(sitting) = &mut locked.session.sitting {
                sitting.current = index;
            }
        }
        locked.save()?;
        let scenario = self.scenario_of(&locked.session, index)?;
        ExamTaskView::new(&locked.session, index, &scenario)
    }

    /// Turns to the next task: the one after the present one that was not visited, else the next one that is flagged,
    /// else the next one.
    ///
    /// # Errors
    /// As [`Lab::exam_task`].
    pub async fn exam_next(&self, session: Option<&str>) -> Result<ExamTaskView, LabError> {
        let locked = self.open_exam(session, "exam next").await?;
        let sitting = locked.session.sitting()?;
        let count = sitting.desks.len();
        let after = || (1..count.max(2)).map(|step| (sitting.current + step) % count.max(1));
        let unseen = after().find(|&index| sitting.desks.get(index).is_some_and(|desk| !desk.visited));
        let flagged = || after().find(|&index| sitting.desks.get(index).is_some_and(|desk| desk.flagged));
        let next = unseen.or_else(flagged).or_else(|| after().next()).unwrap_or(0);
        let id = locked.session.id.to_string();
        drop(locked);
        self.exam_task(Some(&id), Some(next + 1)).await
    }

    /// Flags a task to come back to, or takes the flag away; the present task where there is no number.
    ///
    /// # Errors
    /// Any [`LabError`] of the store; [`LabError::Session`] for a task that is not there.
    pub async fn exam_flag(
        &self,
        session: Option<&str>,
        number: Option<usize>,
    ) -> Result<ExamStatus, LabError> {
        let mut locked = self.open_exam(session, "exam flag").await?;
        locked.session.running()?;
        let index = number.map_or(locked.session.current(), |number| number.wrapping_sub(1));
        let desk = locked.session.desk_mut(index)?;
        desk.flagged = !desk.flagged;
        locked.save()?;
        ExamStatus::new(&locked.session)
    }

    /// Keeps a note on a task in place of the one before.
    ///
    /// # Errors
    /// Any [`LabError`] of the store; [`LabError::Session`] for a task that is not there.
    pub async fn exam_note(
        &self,
        session: Option<&str>,
        number: usize,
        note: &str,
    ) -> Result<ExamStatus, LabError> {
        let mut locked = self.open_exam(session, "exam note").await?;
        locked.session.running()?;
        locked.session.desk_mut(number.wrapping_sub(1))?.note = note.trim().to_owned();
        locked.save()?;
        ExamStatus::new(&locked.session)
    }

    /// Grades the exam for good. With `force` it does so although some checks cannot be judged.
    ///
    /// # Errors
    /// [`LabError::Undecided`] when something could not be judged, and nothing is changed; any [`LabError`] of store,
    /// catalog and provider.
    pub async fn exam_submit(&self, session: Option<&str>, force: bool) -> Result<ExamResult, LabError> {
        let mut locked = self.open_exam(session, "exam submit").await?;
        if locked.session.state == TaskState::Submitted {
            // The time was up just now, or long ago: what counts is there already.
            return self.exam_result(&locked.session.id);
        }
        locked.session.running()?;
        self.interruptible(self.finish(&mut locked, force)).await
    }

    /// Returns what an exam that has ended came to.
    ///
    /// # Errors
    /// [`LabError::NoReport`] before its end; any [`LabError`] of the store.
    pub async fn exam_review(&self, session: Option<&str>) -> Result<ExamResult, LabError> {
        // The report outlives the session.
        let id = match self.open_exam(session, "exam review").await {
            Ok(locked) => {
                if locked.session.state != TaskState::Submitted {
                    return Err(LabError::Hidden { session: locked.session.id.clone() });
                }
                locked.session.id.clone()
            }
            Err(LabError::Store(_)) => self.report(session)?.session,
            Err(error) => return Err(error),
        };
        self.exam_result(&id)
    }

    /// Returns what a shell needs on a host of the exam, and turns to its task.
    ///
    /// # Errors
    /// [`LabError::NoHost`], any [`LabError`] of the store.
    pub async fn exam_host(&self, session: Option<&str>, host: &str) -> Result<EnvView, LabError> {
        let mut locked = self.open_exam(session, "ssh").await?;
        let sitting = locked.session.sitting()?;
        let Some(index) = sitting.desks.iter().position(|desk| desk.host == host) else {
            return Err(LabError::NoHost {
                session: locked.session.id.clone(),
                host: host.to_owned(),
                known: sitting.desks.iter().map(|desk| desk.host.clone()).collect(),
            });
        };
        if locked.session.state == TaskState::Running {
            locked.session.turn_to(index, &self.clock.moment())?;
            locked.save()?;
        }
        let mut view = self.env_of(&locked.session, index).await?;
        view.variables.insert("CKS_LAB_HOST".to_owned(), host.to_owned());
        Ok(view)
    }
}
