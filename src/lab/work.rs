//! What a learner does between start and submit: read the task, check, take a hint, look at the solution, get a
//! shell's variables, see what is running.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::Lab;
use super::error::LabError;
use super::event::Event;
use super::start::digest;
use super::view::{EnvView, HintView, SessionView, SolutionView, StatusView, TaskView, Unreadable};
use crate::author::steps::Steps;
use crate::persist::{self, PersistError};
use crate::report::TaskReport;
use crate::scenario::{Scenario, Variant};
use crate::session::store::Locked;
use crate::session::{Mode, Session, TaskState};

/// How long the solution may take to run.
const STEPS_TIMEOUT: Duration = Duration::from_secs(300);

impl Lab {
    /// Returns the text of the task.
    ///
    /// # Errors
    /// Any [`LabError`] of store and catalog.
    pub fn task(&self, session: Option<&str>) -> Result<TaskView, LabError> {
        let session = self.look(session)?;
        let scenario = self.scenario_of(&session, session.current())?;
        let task = session.task(session.current())?;
        Ok(TaskView {
            session: session.id.clone(),
            scenario: task.scenario.clone(),
            title: task.title.clone(),
            points: scenario.points().0,
            minutes: scenario.minutes,
            text: scenario.task,
            task_file: task.dir.join("task.md"),
            task_dir: task.dir.clone(),
            left_seconds: session.timer.left().map(|left| left.as_secs()),
        })
    }

    /// Judges the work as it stands. Returns the session too, for its clock.
    ///
    /// # Errors
    /// Any [`LabError`] of store, catalog and provider. A check that cannot be judged is no error but an outcome.
    pub async fn check(&self, session: Option<&str>) -> Result<(TaskReport, Session), LabError> {
        self.tell(Event::Stage { text: "checking".to_owned() });
        let (report, session) = self.check_quietly(session).await?;
        self.note_change(&session, &self.scenario_of(&session, session.current())?)?;
        Ok((report, session))
    }

    /// Does what [`Lab::check`] does and tells nothing.
    pub(super) async fn check_quietly(
        &self,
        session: Option<&str>,
    ) -> Result<(TaskReport, Session), LabError> {
        let locked = self.open(session, "check")?;
        let ended = locked.session.sitting.is_some() && locked.session.state == TaskState::Submitted;
        // What is done to a task after its exam can be judged again and counts no more.
        if !ended {
            practice(&locked.session)?;
            locked.session.running()?;
            locked.save()?;
        }
        let current = locked.session.current();
        let scenario = self.scenario_of(&locked.session, current)?;
        let (report, _) = self.interruptible(self.grade(&locked.session, current, &scenario)).await?;
        Ok((report, locked.session))
    }

    /// Gives the next hint.
    ///
    /// # Errors
    /// Any [`LabError`] of store and catalog.
    pub fn hint(&self, session: Option<&str>) -> Result<HintView, LabError> {
        let mut locked = self.open(session, "hint")?;
        practice(&locked.session)?;
        let scenario = self.scenario_of(&locked.session, 0)?;
        let given = locked.session.give_hint(0, scenario.hints.len())?;
        locked.save()?;
        let (number, new) = given.map_or((0, false), |(place, new)| (place + 1, new));
        Ok(HintView {
            session: locked.session.id.clone(),
            scenario: scenario.id.to_string(),
            number,
            total: scenario.hints.len(),
            new,
            text: number.checked_sub(1).and_then(|place| scenario.hints.get(place).cloned()),
        })
    }

    /// Returns the solution; it is the learner's choice to look.
    ///
    /// # Errors
    /// Any [`LabError`] of store and catalog.
    pub fn solution(&self, session: Option<&str>) -> Result<SolutionView, LabError> {
        let session = self.look(session)?;
        if session.state != TaskState::Submitted {
            practice(&session)?;
        }
        let scenario = self.scenario_of(&session, session.current())?;
        Ok(SolutionView {
            session: session.id.clone(),
            scenario: scenario.id.to_string(),
            explain: scenario.solution.explain,
            run: scenario.solution.run,
            applied: false,
        })
    }

    /// Runs the solution against the session's cluster; programs are looked up in `path`.
    ///
    /// # Errors
    /// Any [`LabError`] of store and catalog; [`LabError::SolutionFailed`] when it does not run through.
    pub async fn apply_solution(
        &self,
        session: Option<&str>,
        path: &OsStr,
    ) -> Result<SolutionView, LabError> {
        let locked = self.open(session, "solution")?;
        practice(&locked.session)?;
        locked.session.running()?;
        let scenario = self.scenario_of(&locked.session, locked.session.current())?;
        self.tell(Event::Stage { text: "running the solution".to_owned() });
        self.interruptible(self.run_solution(&locked, &scenario, path)).await?;
        Ok(SolutionView {
            session: locked.session.id.clone(),
            scenario: scenario.id.to_string(),
            explain: scenario.solution.explain,
            run: scenario.solution.run,
            applied: true,
        })
    }

    async fn run_solution(&self, locked: &Locked, scenario: &Scenario, path: &OsStr) -> Result<(), LabError> {
        let task = locked.session.task(locked.session.current())?;
        // The server may have died since; attaching brings it back.
        let cluster = self.attach(&locked.session, task).await?;
        let scratch = locked.dir().join("scratch");
        persist::remove(&scratch)?;
        persist::create_dir(&scratch)?;
        let steps = Steps::prepare(&scratch, scenario, cluster.kubeconfig(), &task.dir, path, STEPS_TIMEOUT)
            .map_err(|source| PersistError::Io { path: scratch.clone(), action: "written", source })?
            .onto_nodes(cluster.as_ref())
            .await?;
        let output = steps.run(&scenario.solution.run).await?;
        persist::remove(&scratch)?;
        for line in output.stdout_text().lines().chain(output.stderr_text().lines()) {
            self.tell(Event::Output { text: line.to_owned() });
        }
        match output.status {
            0 => Ok(()),
            status => Err(LabError::SolutionFailed { status }),
        }
    }

    /// Returns what a shell needs to work on the task.
    ///
    /// # Errors
    /// Any [`LabError`] of the store; [`LabError::NoCluster`] when there is none.
    pub async fn env(&self, session: Option<&str>) -> Result<EnvView, LabError> {
        let session = self.look(session)?;
        if session.sitting.is_none() {
            session.running()?;
        }
        self.env_of(&session, session.current()).await
    }

    /// Returns what a shell needs to work on one task of a session, and brings back a cluster that has died.
    pub(super) async fn env_of(&self, session: &Session, index: usize) -> Result<EnvView, LabError> {
        let task = session.task(index)?;
        let record = task.cluster.record.as_ref();
        let record = record.ok_or_else(|| LabError::NoCluster { session: session.id.clone() })?;
        self.attach(session, task).await?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        Ok(EnvView {
            session: session.id.clone(),
            scenario: task.scenario.clone(),
            task_dir: task.dir.clone(),
            variables: BTreeMap::from([
                ("KUBECONFIG".to_owned(), text(&record.kubeconfig)),
                ("CKS_LAB_SESSION".to_owned(), session.id.to_string()),
                ("CKS_LAB_TASK_DIR".to_owned(), text(&task.dir)),
            ]),
        })
    }

    /// Returns what there is.
    ///
    /// # Errors
    /// [`LabError::Store`] when the state folder cannot be read.
    pub fn status(&self) -> Result<StatusView, LabError> {
        let listing = self.store.list()?;
        let now = self.clock.moment();
        let mut sessions = Vec::new();
        for mut session in listing.sessions {
            session.observe(&now);
            let busy = self.store.holder(&session.id)?;
            sessions.push(SessionView::new(&session, busy));
        }
        let unreadable = listing.unreadable.into_iter();
        let unreadable =
            unreadable.map(|(session, error)| Unreadable { session, reason: error.to_string() }).collect();
        Ok(StatusView { current: self.store.resolve(None).ok(), sessions, unreadable })
    }

    /// Returns one session, with its clock brought up to now.
    ///
    /// # Errors
    /// [`LabError::Store`].
    pub fn session(&self, session: Option<&str>) -> Result<SessionView, LabError> {
        let session = self.look(session)?;
        let busy = self.store.holder(&session.id)?;
        Ok(SessionView::new(&session, busy))
    }

    pub(super) fn scenario_of(&self, session: &Session, index: usize) -> Result<Scenario, LabError> {
        let task = session.task(index)?;
        let folder = self.scenarios.as_deref().or(session.catalog.as_deref());
        self.scenario(folder, &task.scenario, Variant(task.variant))
    }

    /// Says so when the scenario is no longer what was seeded.
    pub(super) fn note_change(&self, session: &Session, scenario: &Scenario) -> Result<(), LabError> {
        let task = session.task(session.current())?;
        if session.state == TaskState::Running && task.digest != digest(scenario) {
            self.warn(format!(
                "scenario `{}` has changed since session `{}` was started; `cks-lab reset` starts it over with \
                 the new one",
                task.scenario, session.id
            ));
        }
        Ok(())
    }
}

/// Makes sure that verdicts, hints and solutions may be shown.
pub(super) fn practice(session: &Session) -> Result<(), LabError> {
    match session.mode {
        Mode::Practice => Ok(()),
        Mode::Exam => Err(LabError::Hidden { session: session.id.clone() }),
    }
}
