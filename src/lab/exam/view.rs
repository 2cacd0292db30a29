//! What the use cases of the exam return, and the shapes of their `--output json`.

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::curriculum::{Curriculum, TopicId, Track};
use crate::exam::score::DomainScore;
use crate::lab::error::LabError;
use crate::report::{LinkKind, Report, StudyLink};
use crate::scenario::Scenario;
use crate::session::{Session, SessionId, Sitting, TaskState};

/// An exam that is ready or runs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExamStarted {
    /// The session's id.
    pub session: SessionId,
    /// The curriculum's track.
    pub track: String,
    /// The number that it was drawn by.
    pub variant: u32,
    /// Percent that are needed to pass.
    pub pass_mark: u32,
    /// How many minutes there are.
    pub minutes: u64,
    /// When the time will be up; none before the clock runs.
    #[schemars(with = "Option<String>")]
    pub deadline: Option<Timestamp>,
    /// Its tasks.
    pub tasks: Vec<ExamPlace>,
}

/// A task of an exam, as the candidate is told of it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExamPlace {
    /// Its number, from 1.
    pub number: usize,
    /// The scenario's id.
    pub scenario: String,
    /// The host to go to.
    pub host: String,
    /// Its share of the exam in percent.
    pub weight: u32,
    /// How many minutes it is meant to take.
    pub minutes: u32,
}

/// An exam that was drawn and not brought up.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExamPlan {
    /// What its planner calls it.
    pub title: Option<String>,
    /// The curriculum's track.
    pub track: String,
    /// The number that it was drawn by; the same number gives the same exam.
    pub variant: u32,
    /// How many minutes there are.
    pub minutes: u32,
    /// Percent that are needed to pass.
    pub pass_mark: u32,
    /// How many clusters it takes.
    pub clusters: usize,
    /// Its tasks.
    pub tasks: Vec<PlannedTask>,
}

/// A task that was drawn.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlannedTask {
    /// Its number, from 1.
    pub number: usize,
    /// The scenario's id.
    pub scenario: String,
    /// The scenario's title.
    pub title: String,
    /// The domain that it counts for.
    pub domain: String,
    /// The number that its names and values are drawn from.
    pub variant: u32,
    /// Its share of the exam in percent.
    pub weight: u32,
    /// How many minutes it is meant to take.
    pub minutes: u32,
    /// Whether it was in one of the last exams.
    pub repeated: bool,
    /// Where its cluster comes from.
    pub provider: String,
    /// The number of its cluster, from 1; tasks that leave each other alone may share one.
    pub cluster: usize,
}

/// The rules of an exam, for whoever is about to sit it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExamRules {
    /// The session's id.
    pub session: SessionId,
    /// The curriculum's track.
    pub track: String,
    /// What its planner calls it, else the track's title.
    pub title: String,
    /// How many tasks there are.
    pub tasks: usize,
    /// How many minutes there are.
    pub minutes: u64,
    /// Percent that are needed to pass.
    pub pass_mark: u32,
    /// Prefixes of the pages that may be open.
    pub allowed: Vec<String>,
    /// Whether pages of third parties are shown.
    pub open_book: bool,
}

/// How an exam stands.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExamStatus {
    /// The session's id.
    pub session: SessionId,
    /// The curriculum's track.
    pub track: String,
    /// How far it is.
    pub state: TaskState,
    /// Whether everything is there that the clock waits for.
    pub ready: bool,
    /// How many minutes there are in all.
    pub minutes: u64,
    /// The seconds that are left.
    pub left_seconds: u64,
    /// When the time will be up.
    #[schemars(with = "Option<String>")]
    pub deadline: Option<Timestamp>,
    /// The number of the task that the candidate is at.
    pub current: usize,
    /// Its tasks.
    pub tasks: Vec<ExamTaskStatus>,
}

/// How a task of an exam stands.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExamTaskStatus {
    /// What the candidate is told of it.
    #[serde(flatten)]
    pub place: ExamPlace,
    /// The scenario's title.
    pub title: String,
    /// Whether the candidate was there.
    pub visited: bool,
    /// Whether the candidate wants to come back.
    pub flagged: bool,
    /// The candidate's own note.
    pub note: String,
    /// How many seconds the candidate was there.
    pub spent_seconds: u64,
}

/// The text of a task of an exam.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExamTaskView {
    /// The session's id.
    pub session: SessionId,
    /// How it stands.
    #[serde(flatten)]
    pub status: ExamTaskStatus,
    /// How many tasks there are.
    pub of: usize,
    /// The text, Markdown.
    pub text: String,
    /// The pages on its topic: those that may be open, and with an open book all.
    pub reference: Vec<StudyLink>,
    /// The folder for the candidate's files.
    #[schemars(with = "String")]
    pub task_dir: PathBuf,
    /// The seconds that are left.
    pub left_seconds: u64,
}

/// What an exam came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExamResult {
    /// The session's id.
    pub session: SessionId,
    /// The curriculum's track.
    pub track: String,
    /// Percent of what could be earned.
    pub score: f64,
    /// Percent that are needed.
    pub pass_mark: u32,
    /// Whether they were reached.
    pub passed: bool,
    /// Percent that hang on checks which could not be judged; they count as not earned.
    pub undecided: f64,
    /// The domains in the curriculum's order.
    pub domains: Vec<DomainScore>,
    /// The tasks.
    pub tasks: Vec<ExamTaskResult>,
    /// The file of the kept report.
    #[schemars(with = "String")]
    pub report: PathBuf,
}

/// What a task of an exam came to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExamTaskResult {
    /// Its number, from 1.
    pub number: usize,
    /// The scenario's id.
    pub scenario: String,
    /// The scenario's title.
    pub title: String,
    /// The domain that it counts for.
    pub domain: String,
    /// Its share of the exam in percent.
    pub weight: u32,
    /// Percent of the task that were earned.
    pub score: f64,
    /// The points that were earned.
    pub awarded: u32,
    /// The points that could be earned.
    pub max: u32,
    /// How many checks could not be judged.
    pub cannot_judge: usize,
    /// How many checks were skipped.
    pub skipped: usize,
    /// How many seconds the candidate was there.
    pub spent_seconds: u64,
}

impl ExamStarted {
    pub(super) fn new(session: &Session) -> Result<Self, LabError> {
        let sitting = session.sitting()?;
        let running = session.state == TaskState::Running;
        Ok(Self {
            session: session.id.clone(),
            track: sitting.track.clone(),
            variant: sitting.variant,
            pass_mark: sitting.pass_mark,
            minutes: minutes(session),
            deadline: session.timer.deadline().filter(|_| running),
            tasks: places(session)?.into_iter().map(|status| status.place).collect(),
        })
    }
}

impl ExamRules {
    pub(super) fn new(session: &Session) -> Result<Self, LabError> {
        let sitting = session.sitting()?;
        let track = track(sitting);
        Ok(Self {
            session: session.id.clone(),
            track: sitting.track.clone(),
            title: sitting.title.clone().unwrap_or_else(|| track.title.clone()),
            tasks: session.tasks.len(),
            minutes: minutes(session),
            pass_mark: sitting.pass_mark,
            allowed: match sitting.allowed.is_empty() {
                true => track.allowed_documentation.clone(),
                false => sitting.allowed.clone(),
            },
            open_book: sitting.open_book,
        })
    }
}

impl ExamStatus {
    pub(super) fn new(session: &Session) -> Result<Self, LabError> {
        let sitting = session.sitting()?;
        let running = session.state == TaskState::Running;
        Ok(Self {
            session: session.id.clone(),
            track: sitting.track.clone(),
            state: session.state,
            ready: session.tasks.iter().all(|task| task.cluster.record.is_some()),
            minutes: minutes(session),
            left_seconds: left(session),
            deadline: session.timer.deadline().filter(|_| running),
            current: sitting.current + 1,
            tasks: places(session)?,
        })
    }
}

impl ExamTaskView {
    pub(super) fn new(session: &Session, index: usize, scenario: &Scenario) -> Result<Self, LabError> {
        let task = session.task(index)?;
        let mut all = places(session)?;
        Ok(Self {
            session: session.id.clone(),
            of: all.len(),
            status: all.swap_remove(index.min(all.len().saturating_sub(1))),
            text: scenario.task.clone(),
            reference: reference(session.sitting()?, &scenario.topic),
            task_dir: task.dir.clone(),
            left_seconds: left(session),
        })
    }
}

impl ExamResult {
    pub(super) fn new(report: &Report, path: PathBuf) -> Option<Self> {
        let exam = report.exam.as_ref()?;
        let tasks = report.tasks.iter().zip(&exam.tasks).enumerate().map(|(index, (task, at))| {
            let count = |outcome| task.result.with(outcome).count();
            ExamTaskResult {
                number: index + 1,
                scenario: task.result.scenario.clone(),
                title: task.title.clone(),
                domain: at.domain.clone(),
                weight: at.weight,
                score: at.score,
                awarded: task.result.score,
                max: task.result.max,
                cannot_judge: count(crate::report::OutcomeName::CannotJudge),
                skipped: count(crate::report::OutcomeName::Skipped),
                spent_seconds: at.spent_seconds,
            }
        });
        Some(Self {
            session: report.session.clone(),
            track: exam.track.clone(),
            score: exam.result.score,
            pass_mark: exam.result.pass_mark,
            passed: exam.result.passed,
            undecided: exam.result.undecided,
            domains: exam.result.domains.clone(),
            tasks: tasks.collect(),
            report: path,
        })
    }
}

fn left(session: &Session) -> u64 {
    session.timer.left().map_or(0, |left| left.as_secs())
}

fn minutes(session: &Session) -> u64 {
    session.timer.limit().map_or(0, |limit| limit.as_secs() / 60)
}

fn track(sitting: &Sitting) -> &'static Track {
    let curriculum = Curriculum::builtin();
    curriculum.track(&sitting.track).unwrap_or_else(|| curriculum.newest())
}

/// The pages on a topic that a candidate is shown.
fn reference(sitting: &Sitting, topic: &TopicId) -> Vec<StudyLink> {
    let places = Curriculum::builtin().places_in(topic, track(sitting));
    let links = places.first().map(|place| place.topic.resources.iter().map(StudyLink::from));
    let mut links: Vec<StudyLink> = links.into_iter().flatten().collect();
    if !sitting.allowed.is_empty() {
        for link in &mut links {
            let allowed = sitting.allowed.iter().any(|prefix| link.url.starts_with(prefix.as_str()));
            link.kind = if allowed { LinkKind::Allowed } else { LinkKind::ThirdParty };
        }
    }
    links.retain(|link| sitting.open_book || link.kind == LinkKind::Allowed);
    links
}

fn places(session: &Session) -> Result<Vec<ExamTaskStatus>, LabError> {
    let sitting = session.sitting()?;
    let each = session.tasks.iter().zip(&sitting.desks).enumerate();
    Ok(each
        .map(|(index, (task, desk))| ExamTaskStatus {
            place: ExamPlace {
                number: index + 1,
                scenario: task.scenario.clone(),
                host: desk.host.clone(),
                weight: desk.weight,
                minutes: desk.minutes,
            },
            title: task.title.clone(),
            visited: desk.visited,
            flagged: desk.flagged,
            note: desk.note.clone(),
            spent_seconds: desk.spent.as_secs(),
        })
        .collect())
}
