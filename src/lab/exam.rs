//! The exam: drawn, brought up side by side, sat on one clock, graded at its end, looked at afterwards. The rules are
//! `crate::exam`'s; here they meet clusters and files.

mod grading;
mod keeper;
mod plan;
mod sit;
pub mod view;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::Lab;
use super::error::LabError;
use super::event::Event;
use super::start::{digest, random};
use crate::cluster::registry::Choice;
use crate::cluster::{ClusterRecord, ClusterSpec};
use crate::session::{Desk, Mode, Session, SessionId, Sitting, Task, TaskCluster, TaskState};

pub use plan::DrawnExam;
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
    /// The plan of an instructor, in a file; it wins over tracks and numbers of tasks.
    pub blueprint: Option<PathBuf>,
    /// The provider that was asked for; it wins over the blueprint's.
    pub provider: Option<Choice>,
    /// The provider where nothing else names one.
    pub usual_provider: Choice,
    /// The node image, for a provider that has one.
    pub node_image: Option<String>,
    /// Whether pages of third parties are shown.
    pub open_book: bool,
}

impl Lab {
    /// Brings up all tasks of an exam. The clock does not run before [`Lab::exam_begin`].
    ///
    /// # Errors
    /// Any [`LabError`] of provider, seed and store; [`LabError::Interrupted`]. Nothing is left then.
    pub async fn exam_prepare(&self, exam: DrawnExam) -> Result<ExamStarted, LabError> {
        let planned = &exam.tasks;
        let id = SessionId::new("exam", random()?);
        let hosts = plan::hosts(planned.len(), exam.variant);
        let mut tasks = Vec::new();
        let mut desks = Vec::new();
        for ((index, task), host) in planned.iter().enumerate().zip(hosts) {
            let first = planned.iter().position(|other| other.cluster == task.cluster).unwrap_or(index);
            let name = id.cluster_name(first);
            let spec = ClusterSpec {
                dir: self.cluster_dir(&name),
                name,
                node_image: exam.node_image.clone(),
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
        let limit = Duration::from_secs(u64::from(exam.minutes) * 60);
        let mut session = Session::plan(id, Mode::Exam, &self.clock.moment(), Some(limit), tasks);
        session.catalog = self.scenarios.clone();
        session.sitting = Some(Sitting {
            track: exam.track.id.to_string(),
            title: exam.title.clone(),
            variant: exam.variant,
            pass_mark: exam.pass_mark,
            current: 0,
            since: Duration::ZERO,
            open_book: exam.open_book,
            allowed: exam.allowed.clone(),
            told: Vec::new(),
            notified: Vec::new(),
            desks,
        });
        let mut locked = self.store.create(session, "exam start")?;
        match self.interruptible(self.bring_up(&locked.session, &exam)).await {
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

    /// Brings all tasks up, clusters side by side; returns the record of each task's cluster.
    async fn bring_up(&self, session: &Session, exam: &DrawnExam) -> Result<Vec<ClusterRecord>, LabError> {
        let planned = &exam.tasks;
        let (total, clusters) = (planned.len(), exam.clusters());
        let on = match clusters == total {
            true => String::new(),
            false => format!(" on {}", crate::layout::count(clusters, "cluster", "clusters")),
        };
        self.tell(Event::Stage { text: format!("preparing {total} tasks{on}") });
        let done = AtomicUsize::new(0);
        let done = &done;
        let each = (0..clusters).map(|cluster| async move {
            let indices = || (0..total).filter(|index| planned[*index].cluster == cluster);
            let mut record = None;
            for index in indices() {
                let (task, planned) = (session.task(index)?, &planned[index]);
                let provider = planned.provider.as_ref();
                let made: &ClusterRecord = match &mut record {
                    Some(made) => made,
                    none => none.insert(provider.create(&task.cluster.spec, &Quiet).await?),
                };
                self.set_up(&session.id, index, task, made, provider, &planned.scenario, &Quiet).await?;
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                self.tell(Event::Detail { text: format!("{done} of {total} tasks are ready") });
            }
            // Once all is in it, what was put there is noted.
            if let (Some(record), Some(first)) = (&mut record, indices().next()) {
                planned[first].provider.settle(record).await?;
            }
            Ok::<_, LabError>(record)
        });
        let at_once = planned.iter().map(|task| task.provider.at_once()).min().unwrap_or(1);
        let records: Vec<Option<ClusterRecord>> =
            stream::iter(each).buffered(at_once.clamp(1, total.max(1))).try_collect().await?;
        let record = |task: &plan::Planned| {
            let record = records.get(task.cluster).cloned().flatten();
            record.ok_or_else(|| LabError::NoCluster { session: session.id.clone() })
        };
        planned.iter().map(record).collect()
    }
}

/// Many clusters at once would all tell of the same stages.
struct Quiet;

impl crate::cluster::Progress for Quiet {
    fn stage(&self, _: &str) {}
    fn detail(&self, _: &str) {}
}
