//! What use cases return: the data that every front end shows, and the shapes of `--output json`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::history::Best;
use crate::report::StudyLink;
use crate::session::{Mode, Session, SessionId, TaskState};

/// A session that was started, or started over.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// The session's id.
    pub session: SessionId,
    /// The scenario's id.
    pub scenario: String,
    /// The scenario's title.
    pub title: String,
    /// The kubeconfig to work with.
    #[schemars(with = "String")]
    pub kubeconfig: PathBuf,
    /// The provider's name.
    pub provider: String,
    /// The variant's number; the same number gives the same names and values.
    pub variant: u32,
    /// The file with the task's text.
    #[schemars(with = "String")]
    pub task_file: PathBuf,
    /// The folder for the learner's files.
    #[schemars(with = "String")]
    pub task_dir: PathBuf,
    /// When the time will be up; none without a timer.
    #[schemars(with = "Option<String>")]
    pub deadline: Option<Timestamp>,
}

/// The text of a task.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    /// The session's id.
    pub session: SessionId,
    /// The scenario's id.
    pub scenario: String,
    /// The scenario's title.
    pub title: String,
    /// The points that can be earned.
    pub points: u32,
    /// How many minutes the scenario is meant to take.
    pub minutes: u32,
    /// The text, Markdown.
    pub text: String,
    /// The file with the text.
    #[schemars(with = "String")]
    pub task_file: PathBuf,
    /// The folder for the learner's files.
    #[schemars(with = "String")]
    pub task_dir: PathBuf,
    /// The seconds that are left; none without a timer.
    pub left_seconds: Option<u64>,
}

/// A hint.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HintView {
    /// The session's id.
    pub session: SessionId,
    /// The scenario's id.
    pub scenario: String,
    /// The hint's number, from 1; 0 when the scenario has none.
    pub number: usize,
    /// How many hints the scenario has.
    pub total: usize,
    /// Whether it was given for the first time.
    pub new: bool,
    /// The hint, Markdown.
    pub text: Option<String>,
}

/// The solution of a task.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SolutionView {
    /// The session's id.
    pub session: SessionId,
    /// The scenario's id.
    pub scenario: String,
    /// The explanation, Markdown.
    pub explain: String,
    /// What to type.
    pub run: String,
    /// Whether it was run just now.
    pub applied: bool,
}

/// What a shell needs to work on a task.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvView {
    /// The session's id.
    pub session: SessionId,
    /// The scenario's id.
    pub scenario: String,
    /// The folder for the learner's files.
    #[schemars(with = "String")]
    pub task_dir: PathBuf,
    /// The variables to set.
    pub variables: BTreeMap<String, String>,
}

/// What there is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatusView {
    /// The session that is meant where none is named.
    pub current: Option<SessionId>,
    /// The sessions, oldest first.
    pub sessions: Vec<SessionView>,
    /// Sessions that cannot be read, with the reason.
    pub unreadable: Vec<Unreadable>,
}

/// One session.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// Its id.
    pub session: SessionId,
    /// What it is for.
    pub mode: Mode,
    /// How far it is.
    pub state: TaskState,
    /// Whether its preparation was cut short: it is not ready, and no command works on it.
    pub interrupted: bool,
    /// Which command works on it now.
    pub busy: Option<String>,
    /// When it was started.
    #[schemars(with = "String")]
    pub started: Timestamp,
    /// The seconds on its clock.
    pub elapsed_seconds: u64,
    /// The seconds that are left; none without a timer.
    pub left_seconds: Option<u64>,
    /// When the time will be up; none without a timer.
    #[schemars(with = "Option<String>")]
    pub deadline: Option<Timestamp>,
    /// Whether the machine's clock was moved meanwhile.
    pub clock_moved: bool,
    /// Its tasks.
    pub tasks: Vec<SessionTask>,
}

/// One task of a session.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionTask {
    /// The scenario's id.
    pub scenario: String,
    /// The scenario's title.
    pub title: String,
    /// The variant's number.
    pub variant: u32,
    /// The provider's name.
    pub provider: String,
    /// The kubeconfig to work with; none before the cluster is there and after it is gone.
    #[schemars(with = "Option<String>")]
    pub kubeconfig: Option<PathBuf>,
    /// The folder for the learner's files.
    #[schemars(with = "String")]
    pub task_dir: PathBuf,
    /// How many hints were given.
    pub hints: usize,
}

/// A session that cannot be read.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Unreadable {
    /// Its id.
    pub session: SessionId,
    /// Why.
    pub reason: String,
}

impl SessionView {
    /// Describes a session whose clock was brought up to now.
    pub fn new(session: &Session, busy: Option<String>) -> Self {
        let running = session.state == TaskState::Running;
        Self {
            session: session.id.clone(),
            mode: session.mode,
            state: session.state,
            interrupted: session.state == TaskState::Preparing && busy.is_none(),
            busy,
            started: session.created,
            elapsed_seconds: session.timer.elapsed().as_secs(),
            left_seconds: session.timer.left().filter(|_| running).map(|left| left.as_secs()),
            deadline: session.timer.deadline().filter(|_| running),
            clock_moved: !session.timer.jumps().is_empty(),
            tasks: session.tasks.iter().map(SessionTask::new).collect(),
        }
    }
}

impl SessionTask {
    fn new(task: &crate::session::Task) -> Self {
        Self {
            scenario: task.scenario.clone(),
            title: task.title.clone(),
            variant: task.variant,
            provider: task.cluster.provider.clone(),
            kubeconfig: task.cluster.record.as_ref().map(|record| record.kubeconfig.clone()),
            task_dir: task.dir.clone(),
            hints: task.hints,
        }
    }
}

/// What was removed.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct Removed {
    /// The sessions that are gone.
    pub sessions: Vec<SessionId>,
    /// Clusters that no session knew.
    pub clusters: Vec<StrayCluster>,
}

/// A cluster that no session knows.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StrayCluster {
    /// The provider's name.
    pub provider: String,
    /// The cluster's name.
    pub name: String,
    /// What there is, in a few words.
    pub summary: String,
}

/// All scenarios.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ListView {
    /// The scenarios, in the order of the curriculum.
    pub scenarios: Vec<ListedScenario>,
}

/// One scenario in a list.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListedScenario {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The domain of its topic.
    pub domain: String,
    /// The curriculum topic that it trains.
    pub topic: String,
    /// The tracks that it belongs to.
    pub tracks: Vec<String>,
    /// How many minutes it is meant to take.
    pub minutes: u32,
    /// The points that can be earned.
    pub points: u32,
    /// What it needs of a cluster.
    pub needs: Vec<crate::cluster::Capability>,
    /// The providers whose clusters have that.
    pub providers: Vec<String>,
    /// How much it asks for: `quick`, `core` or `deep`.
    pub difficulty: crate::scenario::Difficulty,
    /// The best attempt so far.
    pub best: Option<Best>,
}

/// One scenario with what it trains and what to read.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShowView {
    /// What the list says too.
    #[serde(flatten)]
    pub listed: ListedScenario,
    /// The domain's title.
    pub domain_title: String,
    /// The topic's title.
    pub topic_title: String,
    /// The domain's share of the exam in percent.
    pub weight: u32,
    /// What the checks look at, in words of one variant.
    pub checks: Vec<String>,
    /// How many hints there are.
    pub hints: usize,
    /// What to read.
    pub resources: Vec<StudyLink>,
}

/// A track of the curriculum.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CurriculumView {
    /// The track.
    pub track: String,
    /// Its title.
    pub title: String,
    /// Its domains.
    pub domains: Vec<DomainView>,
    /// Links that introduce the whole.
    pub general: Vec<StudyLink>,
    /// Links that lead further.
    pub related: Vec<StudyLink>,
}

/// A domain of the curriculum.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DomainView {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its share of the exam in percent.
    pub weight: u32,
    /// Its topics.
    pub topics: Vec<TopicView>,
}

/// A topic of the curriculum.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TopicView {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// What to read.
    pub resources: Vec<StudyLink>,
    /// The scenarios that train it.
    pub scenarios: Vec<String>,
}

/// What the machine has.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DoctorView {
    /// Whether at least one provider can be used and the state can be kept.
    pub usable: bool,
    /// What was looked at.
    pub findings: Vec<DoctorFinding>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DoctorFinding {
    /// What.
    pub name: String,
    /// How it is.
    pub health: Health,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Well.
    Ok,
    /// Not there, and not needed for everything.
    Missing,
    /// Broken.
    Bad,
}
