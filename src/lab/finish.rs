//! How a session ends: graded and reported, or dropped; and how what is left over is found and removed.

use std::path::PathBuf;

use super::Lab;
use super::error::LabError;
use super::event::Event;
use super::view::{Removed, StrayCluster};
use crate::persist;
use crate::report::{OutcomeName, Report, ReportedTask, Submitted};
use crate::session::store::Locked;
use crate::session::{Session, SessionId, TaskState};

/// What `clean` would remove.
#[derive(Debug, Clone, Default)]
pub struct Leftovers {
    /// Sessions that were submitted, failed or cut short.
    pub sessions: Vec<SessionId>,
    /// Clusters that no session knows.
    pub clusters: Vec<StrayCluster>,
}

impl Leftovers {
    /// Tells whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.clusters.is_empty()
    }
}

impl Lab {
    /// Grades the work as it stands for good, keeps the report, removes the cluster. With `force` it does so although
    /// some checks cannot be judged.
    ///
    /// # Errors
    /// [`LabError::Undecided`] when something could not be judged, and nothing is changed; any [`LabError`] of store,
    /// catalog and provider.
    pub async fn submit(&self, session: Option<&str>, force: bool) -> Result<(Submitted, Session), LabError> {
        let mut locked = self.open(session, "submit")?;
        if locked.session.sitting.is_some() {
            return Err(LabError::IsExam { session: locked.session.id.clone() });
        }
        locked.session.running()?;
        locked.save()?;
        let scenario = self.scenario_of(&locked.session, 0)?;
        self.note_change(&locked.session, &scenario)?;
        self.tell(Event::Stage { text: "grading".to_owned() });
        let (mut result, _) = self.interruptible(self.grade(&locked.session, 0, &scenario)).await?;
        let undecided = result.with(OutcomeName::CannotJudge).count();
        if undecided > 0 && !force {
            return Err(LabError::Undecided { count: undecided });
        }

        // The time of the grading counts, not of what follows. Report and history come before the state: what is cut
        // short in between is submitted again and not lost.
        let now = self.clock.moment();
        let mut ended = locked.session.clone();
        ended.submit(&now)?;
        result.elapsed_seconds = ended.timer.elapsed().as_secs();
        let task = ReportedTask::new(ended.task(0)?, &scenario, result.clone());
        let (report, path) = self.keep(Report::new(&ended, now.wall, vec![task])).await?;
        locked.session = ended;
        locked.save()?;
        if let Err(error) = self.remove_clusters(&mut locked).await {
            self.warn(format!("the cluster could not be removed: {error}; `cks-lab clean` tries again"));
        }
        // What was right but late is not passed.
        result.passed = report.passed;
        Ok((Submitted { result, report: path }, locked.session))
    }

    /// Seals a report, keeps it and adds it to the history. Returns it with its file.
    pub(super) async fn keep(&self, report: Report) -> Result<(Report, PathBuf), LabError> {
        let report = report.sealed();
        let path = self.report_path(&report.session);
        persist::create_dir(&self.state.join("reports"))?;
        persist::save(&path, &report)?;
        self.history.add(&report).await?;
        Ok((report, path))
    }

    /// Ends a session without a grade and forgets it; with `forget` even though its cluster cannot be removed.
    ///
    /// # Errors
    /// Any [`LabError`] of store and provider; the session stays then.
    pub async fn stop(&self, session: Option<&str>, forget: bool) -> Result<Removed, LabError> {
        let id = self.store.resolve(session)?;
        self.drop_session(&id, forget).await?;
        Ok(Removed { sessions: vec![id], clusters: Vec::new() })
    }

    /// Ends every session. One that cannot be ended does not keep the others from it; it is told as a warning, and the
    /// first error is returned at the end.
    ///
    /// # Errors
    /// As [`Lab::stop`].
    pub async fn stop_all(&self, forget: bool) -> Result<Removed, LabError> {
        let listing = self.store.list()?;
        for (id, error) in &listing.unreadable {
            self.warn(format!("session `{id}` is left as it is: {error}"));
        }
        let ids = listing.sessions.into_iter().map(|session| session.id).collect();
        self.drop_all(ids, forget).await
    }

    /// Finds what is left over: sessions that were submitted, failed or cut short, and clusters that no session knows.
    ///
    /// # Errors
    /// [`LabError::Store`].
    pub async fn leftovers(&self) -> Result<Leftovers, LabError> {
        let listing = self.store.list()?;
        let mut left = Leftovers::default();
        let mut known: Vec<String> = Vec::new();
        for session in &listing.sessions {
            known.extend(session.tasks.iter().map(|task| task.cluster.spec.name.clone()));
            let idle = self.store.holder(&session.id)?.is_none();
            if idle && session.state != TaskState::Running {
                left.sessions.push(session.id.clone());
            }
        }
        for provider in self.registry.iter() {
            // A provider that cannot be asked has nothing that could be removed now.
            let Ok(found) = provider.find().await else { continue };
            let stray = found.into_iter().filter(|cluster| !known.contains(&cluster.name));
            left.clusters.extend(stray.map(|cluster| StrayCluster {
                provider: provider.name().to_owned(),
                name: cluster.name,
                summary: cluster.summary,
            }));
        }
        if let Some((id, error)) = listing.unreadable.first() {
            // Its clusters cannot be told from stray ones.
            left.clusters.clear();
            self.warn(format!("clusters are not looked for, since session `{id}` cannot be read: {error}"));
        }
        Ok(left)
    }

    /// Removes what [`Lab::leftovers`] found.
    ///
    /// # Errors
    /// Any [`LabError`] of store and provider.
    pub async fn clean(&self, left: &Leftovers) -> Result<Removed, LabError> {
        let mut removed = self.drop_all(left.sessions.clone(), false).await?;
        for cluster in &left.clusters {
            self.tell(Event::Stage { text: format!("removing cluster {}", cluster.name) });
            self.registry.get(&cluster.provider)?.remove(&cluster.name).await?;
            persist::remove(&self.cluster_dir(&cluster.name))?;
            removed.clusters.push(cluster.clone());
        }
        self.store.sweep()?;
        Ok(removed)
    }

    /// Returns the kept report of a session.
    ///
    /// # Errors
    /// [`LabError::NoReport`] when it was not submitted, [`LabError::Persist`].
    pub fn report(&self, session: Option<&str>) -> Result<Report, LabError> {
        // A report outlives its session.
        let id = match (self.store.resolve(session), session.and_then(SessionId::parse)) {
            (Ok(id), _) => id,
            (Err(_), Some(id)) if self.report_path(&id).exists() => id,
            (Err(error), _) => match (session, self.history.attempts()?.pop()) {
                (None, Some(attempt)) => attempt.session,
                _ => return Err(error.into()),
            },
        };
        let report = persist::load(&self.report_path(&id))?;
        report.ok_or(LabError::NoReport { session: id })
    }

    async fn drop_all(&self, ids: Vec<SessionId>, forget: bool) -> Result<Removed, LabError> {
        let mut removed = Removed::default();
        let mut first = None;
        for id in ids {
            match self.drop_session(&id, forget).await {
                Ok(()) => removed.sessions.push(id),
                Err(error) => {
                    if first.is_some() {
                        self.warn(format!("session `{id}` could not be ended: {error}"));
                    }
                    first.get_or_insert(error);
                }
            }
        }
        match first {
            Some(error) => Err(error),
            None => Ok(removed),
        }
    }

    async fn drop_session(&self, id: &SessionId, forget: bool) -> Result<(), LabError> {
        let mut locked = self.store.lock(id, "stop")?;
        match self.remove_clusters(&mut locked).await {
            Err(error) if forget => {
                self.warn(format!(
                    "the cluster of session `{id}` may go on; it could not be removed: {error}"
                ));
                for task in &locked.session.tasks {
                    persist::remove(&task.cluster.spec.dir)?;
                }
            }
            removed => removed?,
        }
        Ok(locked.remove()?)
    }

    async fn remove_clusters(&self, locked: &mut Locked) -> Result<(), LabError> {
        let mut gone: Vec<String> = Vec::new();
        for index in 0..locked.session.tasks.len() {
            let task = locked.session.task(index)?;
            if gone.contains(&task.cluster.spec.name) {
                continue;
            }
            gone.push(task.cluster.spec.name.clone());
            let submitted = locked.session.state == TaskState::Submitted;
            let provider = self.provider_of(task)?;
            match &task.cluster.record {
                Some(record) => {
                    self.tell(Event::Stage { text: format!("removing cluster {}", record.name) });
                    provider.delete(record).await?;
                }
                None if submitted && locked.session.sitting.is_none() => {}
                // A start that was killed has left a cluster without a record.
                None => provider.remove(&task.cluster.spec.name).await?,
            }
            persist::remove(&task.cluster.spec.dir)?;
            // Tasks of an exam may share it.
            let name = task.cluster.spec.name.clone();
            for other in locked.session.tasks.iter_mut().filter(|other| other.cluster.spec.name == name) {
                other.cluster.record = None;
            }
            locked.save()?;
        }
        Ok(())
    }
}
