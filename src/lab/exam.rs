//! The exam: drawn, brought up side by side, sat on one clock, graded at its end, looked at afterwards. The rules are
//! `crate::exam`'s; here they meet clusters and files.

mod grading;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Lab;
use super::error::LabError;
use super::event::Event;
use super::start::{VARIANTS, digest, random};
use super::view::EnvView;
use crate::cluster::registry::Choice;
use crate::cluster::{Capability, ClusterRecord, ClusterSpec, Provider};
use crate::curriculum::{Curriculum, Track};
use crate::exam::{self, Candidate, Draw, DrawnTask, FRESH_EXAMS};
use crate::persist::{Lock, PersistError};
use crate::random::Random;
use crate::scenario::{Scenario, Variant};
use crate::session::store::Locked;
use crate::session::{Desk, Mode, Session, SessionId, Sitting, Task, TaskCluster, TaskState};

use view::{ExamResult, ExamStarted, ExamStatus, ExamTaskView};

/// How often the keeper of the clock looks; a machine that was asleep is noticed no later.
const LOOK: Duration = Duration::from_secs(10);
/// How long the keeper of the clock waits for a command that is at work when the time is up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it takes until it tries again to grade what could not be judged, and how often.
const RETRY: (Duration, u32) = (Duration::from_secs(2), 5);

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
}

/// A task with what brings it up.
struct Planned {
    drawn: DrawnTask,
    scenario: Scenario,
    provider: std::sync::Arc<dyn Provider>,
}

impl Lab {
    /// Draws an exam and brings up all of its tasks. The clock does not run before [`Lab::exam_begin`].
    ///
    /// # Errors
    /// [`LabError::Draw`], any [`LabError`] of catalog, provider, seed and store; [`LabError::Interrupted`]. Nothing is
    /// left then.
    pub async fn exam_prepare(&self, request: ExamRequest) -> Result<ExamStarted, LabError> {
        let track = track(request.track.as_deref())?;
        let variant = match request.variant {
            Some(variant) => variant,
            None => 1 + random()? % VARIANTS,
        };
        let minutes = request.minutes.unwrap_or(track.exam.minutes);
        let planned = self.plan_exam(&request, track, variant, minutes).await?;

        let id = SessionId::new("exam", random()?);
        let hosts = hosts(planned.len(), variant);
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
        let id = self.store.resolve(session)?;
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

    /// Returns how the exam stands; ends it when its time is up.
    ///
    /// # Errors
    /// Any [`LabError`] of the store; [`LabError::Session`] when it is no exam.
    pub async fn exam_status(&self, session: Option<&str>) -> Result<ExamStatus, LabError> {
        let locked = self.open_exam(session, "exam status").await?;
        ExamStatus::new(&locked.session)
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

    /// Keeps the clock of an exam: waits for its end and grades it then as it stands. Returns when the exam has ended,
    /// however it did, and at once when somebody keeps it already.
    ///
    /// # Errors
    /// Any [`LabError`] of store, catalog and provider.
    pub async fn exam_keep(&self, session: &str) -> Result<(), LabError> {
        let id = self.store.resolve(Some(session))?;
        let _lock = match Lock::try_acquire(&self.keeper_path(&id), "exam clock") {
            Err(PersistError::Held { .. }) => return Ok(()),
            other => other?,
        };
        loop {
            let Ok(now) = self.look(Some(id.as_str())) else { return Ok(()) };
            if now.state != TaskState::Running {
                return Ok(());
            }
            match now.timer.left() {
                Some(left) if left.is_zero() => break,
                left => tokio::time::sleep(left.unwrap_or(LOOK).min(LOOK)).await,
            }
        }
        let mut locked = self.store.lock_within(&id, "exam clock", PATIENCE).await?;
        locked.session.observe(&self.clock.moment());
        self.expire(&mut locked).await
    }

    /// Opens a session that is an exam, and ends it when its time is up.
    async fn open_exam(&self, session: Option<&str>, purpose: &str) -> Result<Locked, LabError> {
        let latest = match session {
            Some(_) => None,
            // A practice session that was started meanwhile is not meant.
            None => self.store.list()?.sessions.into_iter().rfind(|session| session.sitting.is_some()),
        };
        let latest = latest.map(|session| session.id.to_string());
        let mut locked = self.open(latest.as_deref().or(session), purpose)?;
        locked.session.sitting()?;
        self.expire(&mut locked).await?;
        Ok(locked)
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

    async fn plan_exam(
        &self,
        request: &ExamRequest,
        track: &Track,
        variant: u32,
        minutes: u32,
    ) -> Result<Vec<Planned>, LabError> {
        let catalog = self.catalog(self.scenarios.as_deref())?;
        let curriculum = Curriculum::builtin();
        let mut providers: BTreeMap<BTreeSet<Capability>, Option<std::sync::Arc<dyn Provider>>> =
            BTreeMap::new();
        let mut refused = None;
        let mut candidates = Vec::new();
        for summary in catalog.summaries() {
            let Some(place) = curriculum.places_in(&summary.topic, track).first().copied() else { continue };
            let needs: BTreeSet<Capability> = summary.needs.iter().copied().collect();
            if !providers.contains_key(&needs) {
                let chosen = self.registry.choose(&request.provider, &summary.needs).await;
                let chosen = chosen.map_err(|error| refused = Some(error)).ok();
                providers.insert(needs.clone(), chosen);
            }
            if providers.get(&needs).is_some_and(Option::is_some) {
                candidates.push(Candidate {
                    scenario: summary.id.to_string(),
                    topic: place.topic.id.to_string(),
                    domain: place.domain.id.to_string(),
                    minutes: summary.minutes,
                });
            }
        }
        if let (true, Some(refused)) = (candidates.is_empty(), refused) {
            return Err(refused.into());
        }
        let recent = self.recent_exams()?;
        let drawn = exam::draw(&Draw {
            track,
            candidates: &candidates,
            tasks: request.tasks,
            minutes,
            recent: &recent,
            variant,
        })?;
        let mut random = Random::new(&["exam", "variants"], u64::from(variant));
        let mut planned = Vec::new();
        for drawn in drawn {
            let summary = catalog.find(&drawn.candidate.scenario)?;
            let needs: BTreeSet<Capability> = summary.needs.iter().copied().collect();
            let number = 1 + random.below(VARIANTS as usize) as u32;
            let scenario =
                self.scenario(self.scenarios.as_deref(), &drawn.candidate.scenario, Variant(number))?;
            if let Some(Some(provider)) = providers.get(&needs) {
                planned.push(Planned { drawn, scenario, provider: provider.clone() });
            }
        }
        Ok(planned)
    }

    /// The scenarios of the last exams that were submitted.
    fn recent_exams(&self) -> Result<BTreeSet<String>, LabError> {
        let attempts = self.history.attempts()?;
        let mut sessions: Vec<&SessionId> = Vec::new();
        let mut recent = BTreeSet::new();
        for attempt in attempts.iter().rev().filter(|attempt| attempt.mode == Mode::Exam) {
            if !sessions.contains(&&attempt.session) {
                sessions.push(&attempt.session);
            }
            if sessions.len() > FRESH_EXAMS {
                break;
            }
            recent.insert(attempt.scenario.clone());
        }
        Ok(recent)
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

    fn keeper_path(&self, id: &SessionId) -> std::path::PathBuf {
        self.store.dir(id).join("clock.lock")
    }
}

/// Many clusters at once would all tell of the same stages.
struct Quiet;

impl crate::cluster::Progress for Quiet {
    fn stage(&self, _: &str) {}
    fn detail(&self, _: &str) {}
}

fn track(wanted: Option<&str>) -> Result<&'static Track, LabError> {
    let curriculum = Curriculum::builtin();
    let Some(wanted) = wanted else { return Ok(curriculum.newest()) };
    curriculum.track(wanted).ok_or_else(|| LabError::UnknownTrack {
        wanted: wanted.to_owned(),
        known: curriculum.tracks().iter().map(|track| track.id.to_string()).collect(),
    })
}

/// Names the hosts of an exam: no two alike, none that tells its task.
fn hosts(count: usize, variant: u32) -> Vec<String> {
    let mut random = Random::new(&["exam", "hosts"], u64::from(variant));
    let order = random.shuffled(9000);
    order.into_iter().take(count).map(|number| format!("cks{}", number + 1000)).collect()
}
