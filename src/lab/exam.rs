//! The exam: drawn, brought up side by side, sat on one clock, graded at its end, looked at afterwards. The rules are
//! `crate::exam`'s; here they meet clusters and files.

mod grading;
mod keeper;
mod plan;
mod sit;
pub mod view;

use std::time::Duration;

use super::Lab;
use super::error::LabError;
use super::event::Event;
use super::start::{VARIANTS, digest, random};
use crate::cluster::registry::Choice;
use crate::cluster::{ClusterRecord, ClusterSpec};
use crate::session::store::Locked;
use crate::session::{Desk, Mode, Session, SessionId, Sitting, Task, TaskCluster, TaskState};

use plan::Planned;
pub(super) use plan::track;
use view::ExamStarted;

/// What exam is to be sat.
#[derive(Debug, Clone)]
pub struct ExamRequest {
    /// The curriculum's track; the newest where there is none.
    pub track: Option<String>,
    /// How many tasks; the usual number where there is none.
    pub tasks: Option<usize>,
    /// How many minutes; the track's own where there is none.
    pub minutes: Option<u32>,
    /// The number that tasks, names and values are drawn from; any where there is none.
    pub variant: Option<u32>,
    /// The provider.
    pub provider: Choice,
    /// The node image, for a provider that has one.
    pub node_image: Option<String>,
    /// Whether pages of third parties are shown.
    pub open_book: bool,
}

impl Lab {
    /// Draws an exam and brings up all of its tasks. The clock does not run before [`Lab::exam_begin`].
    ///
    /// # Errors
    /// [`LabError::Draw`], any [`LabError`] of catalog, provider, seed and store; [`LabError::Interrupted`]. Nothing is
    /// left then.
    pub async fn exam_prepare(&self, request: ExamRequest) -> Result<ExamStarted, LabError> {
        let track = plan::track(request.track.as_deref())?;
        let variant = match request.variant {
            Some(variant) => variant,
            None => 1 + random()? % VARIANTS,
        };
        let minutes = request.minutes.unwrap_or(track.exam.minutes);
        let planned = self.plan_exam(&request, track, variant, minutes).await?;

        let id = SessionId::new("exam", random()?);
        let hosts = plan::hosts(planned.len(), variant);
        let mut tasks = Vec::new();
        let mut desks = Vec::new();
        for ((index, task), host) in planned.iter().enumerate().zip(hosts) {
            let name = id.cluster_name(index);
            let spec = ClusterSpec {
                dir: self.cluster_dir(&name),
                name,
                node_image: request.node_image.clone(),
                ..ClusterSpec::default()
            };
            tasks.push(Task {
                scenario: task.scenario.id.to_string(),
                title: task.scenario.title.clone(),
                variant: task.scenario.variant.0,
                digest: digest(&task.scenario),
                state: TaskState::Preparing,
                cluster: TaskCluster { provider: task.provider.name().to_owned(), spec, record: None },
                dir: self.store.dir(&id).join(format!("task-{}", index + 1)),
                hints: 0,
                resets: 0,
            });
            desks.push(Desk {
                host,
                domain: task.drawn.candidate.domain.clone(),
                weight: task.drawn.weight,
                minutes: task.drawn.candidate.minutes,
                visited: false,
                flagged: false,
                note: String::new(),
                spent: Duration::ZERO,
            });
        }
        let limit = Duration::from_secs(u64::from(minutes) * 60);
        let mut session = Session::plan(id, Mode::Exam, &self.clock.moment(), Some(limit), tasks);
        session.catalog = self.scenarios.clone();
        session.sitting = Some(Sitting {
            track: track.id.to_string(),
            variant,
            pass_mark: track.exam.pass_percent,
            current: 0,
            since: Duration::ZERO,
            open_book: request.open_book,
            allowed: Vec::new(),
            told: Vec::new(),
            notified: Vec::new(),
            desks,
        });
        let mut locked = self.store.create(session, "exam start")?;
        match self.interruptible(self.bring_up(&locked.session, &planned)).await {
            Ok(records) => {
                for (task, record) in locked.session.tasks.iter_mut().zip(records) {
                    task.cluster.record = Some(record);
                }
            }
            Err(error) => return Err(self.undo(locked, error).await),
        }
        locked.save()?;
        ExamStarted::new(&locked.session)
    }

    /// Starts the clock of an exam that is ready.
    ///
    /// # Errors
    /// Any [`LabError`] of the store; [`LabError::Session`] when it is no exam.
    pub fn exam_begin(&self, session: Option<&str>) -> Result<ExamStarted, LabError> {
        let id = self.exam_id(session)?;
        let mut locked = self.store.lock(&id, "exam start")?;
        locked.session.sitting()?;
        let ready = locked.session.tasks.iter().all(|task| task.cluster.record.is_some());
        match locked.session.state {
            TaskState::Preparing if ready => {
                locked.session.begin(&self.clock.moment());
                locked.save()?;
            }
            TaskState::Preparing => return Err(LabError::NoCluster { session: id }),
            _ => locked.session.running()?,
        }
        ExamStarted::new(&locked.session)
    }

    /// Brings all tasks up side by side.
    async fn bring_up(&self, session: &Session, planned: &[Planned]) -> Result<Vec<ClusterRecord>, LabError> {
        let total = planned.len();
        let done = std::sync::atomic::AtomicUsize::new(0);
        let quiet = Quiet;
        self.tell(Event::Stage { text: format!("preparing {total} tasks") });
        let each = planned.iter().enumerate().map(|(index, planned)| {
            let (done, quiet) = (&done, &quiet);
            async move {
                let task = session.task(index)?;
                let provider = planned.provider.as_ref();
                let record = provider.create(&task.cluster.spec, quiet).await?;
                self.set_up(&session.id, index, task, &record, provider, &planned.scenario, quiet).await?;
                let done = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                self.tell(Event::Detail { text: format!("{done} of {total} tasks are ready") });
                Ok::<_, LabError>(record)
            }
        });
        futures::future::try_join_all(each).await
    }
}

/// Many clusters at once would all tell of the same stages.
struct Quiet;

impl crate::cluster::Progress for Quiet {
    fn stage(&self, _: &str) {}
    fn detail(&self, _: &str) {}
}
