//! What a learner and an instructor get to see of a grading: verdicts, points, findings, reasons and study links.
//! Made from a session, a scenario and its score; rendered by `report::{text, json, html, junit}`; printing is not here.

pub mod cohort;
pub mod file;
pub mod html;
pub mod json;
pub mod junit;
pub mod seal;
pub mod text;

use std::path::PathBuf;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Finding, Outcome, Verdict};
use crate::curriculum::{self, Curriculum};
use crate::exam::score::ExamScore;
use crate::grade::{Score, Standing};
use crate::persist::Stored;
use crate::scenario::{CheckItem, Scenario};
use crate::session::{Jump, Mode, Session, SessionId, Task};

use seal::Seal;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeName {
    /// What was expected was found.
    Pass,
    /// Something else was found.
    Fail,
    /// It could not be found out; this says nothing about the learner's work.
    CannotJudge,
    /// The cluster lacks what the check needs; it counts neither way.
    Skipped,
}

/// A page to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StudyLink {
    /// Its title.
    pub title: String,
    /// Where it is.
    pub url: String,
    /// Whether it may be open during the exam: `allowed` or `third-party`.
    pub kind: LinkKind,
}

/// Whether a page may be open during the exam.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LinkKind {
    /// It may.
    Allowed,
    /// It is for study only.
    ThirdParty,
}

impl From<curriculum::Kind> for LinkKind {
    fn from(kind: curriculum::Kind) -> Self {
        match kind {
            curriculum::Kind::Allowed => Self::Allowed,
            curriculum::Kind::ThirdParty => Self::ThirdParty,
        }
    }
}

impl From<&curriculum::Resource> for StudyLink {
    fn from(resource: &curriculum::Resource) -> Self {
        Self { title: resource.title.clone(), url: resource.url.clone(), kind: resource.kind.into() }
    }
}

/// One check of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckResult {
    /// Its id, unique in the scenario.
    pub id: String,
    /// What must hold, in words.
    pub title: String,
    /// What it is worth; 0 for a gate.
    pub points: u32,
    /// What it earned.
    pub awarded: u32,
    /// Whether it is a gate: true before anything is done, and costly when broken.
    pub gate: bool,
    /// What it came to.
    pub outcome: OutcomeName,
    /// Whether the cluster only models something that the check looks at.
    pub simulated: bool,
    /// What was found that should have been otherwise; empty unless the outcome is `fail`.
    pub findings: Vec<Finding>,
    /// Why it could not be judged or was skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it matters.
    pub why: String,
    /// What to read.
    pub resources: Vec<StudyLink>,
}

/// A graded task: what `check --output json` gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskReport {
    /// The scenario's id.
    pub scenario: String,
    /// The session's id.
    pub session: SessionId,
    /// The variant's number.
    pub variant: u32,
    /// The provider's name.
    pub provider: String,
    /// The points that were earned.
    pub score: u32,
    /// The points that could be earned; skipped checks are not counted.
    pub max: u32,
    /// Whether everything that could be judged passed, and all of it could be judged.
    pub passed: bool,
    /// The seconds on the session's clock.
    pub elapsed_seconds: u64,
    /// The checks in the scenario's order.
    pub checks: Vec<CheckResult>,
}

/// A task within a kept report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReportedTask {
    /// The scenario's title.
    pub title: String,
    /// The curriculum topic that it trains.
    pub topic: String,
    /// The domain of the newest track that the topic belongs to.
    pub domain: String,
    /// How many minutes the scenario is meant to take.
    pub minutes: u32,
    /// How many hints were given.
    pub hints: usize,
    /// How often it was reset.
    pub resets: u32,
    /// What the seed let an attacker do, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attack: Option<String>,
    /// Tells one state of the scenario's files and one variant from another; empty where an older version kept it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub digest: String,
    /// The grading.
    #[serde(flatten)]
    pub result: TaskReport,
}

/// What is kept of a session that was submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The session's id.
    pub session: SessionId,
    /// What the session was for.
    pub mode: Mode,
    /// When it was started.
    #[schemars(with = "String")]
    pub started: Timestamp,
    /// When it was submitted.
    #[schemars(with = "String")]
    pub submitted: Timestamp,
    /// The seconds on its clock.
    pub elapsed_seconds: u64,
    /// The seconds that it was given; none without a timer.
    pub limit_seconds: Option<u64>,
    /// By how many seconds it was submitted too late.
    pub overtime_seconds: Option<u64>,
    /// Changes of the machine's clock that were noticed. They changed nothing in the time that was counted.
    pub clock_jumps: Vec<Jump>,
    /// The points that were earned.
    pub score: u32,
    /// The points that could be earned.
    pub max: u32,
    /// Whether it was passed, in time.
    pub passed: bool,
    /// What it came to as an exam, where it was one; the tasks are in the same order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exam: Option<ExamReport>,
    /// The version of the program.
    pub program: String,
    /// Its tasks.
    pub tasks: Vec<ReportedTask>,
    /// What shows that it was not edited; none in reports of versions that did not seal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<Seal>,
}

/// What an exam adds to a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExamReport {
    /// The curriculum's track.
    pub track: String,
    /// The number that its tasks were drawn by.
    pub variant: u32,
    /// What it adds to each task.
    pub tasks: Vec<ExamTaskReport>,
    /// What it came to.
    #[serde(flatten)]
    pub result: ExamScore,
}

/// What an exam adds to the report of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExamTaskReport {
    /// The host that it was on.
    pub host: String,
    /// The domain that it counted for.
    pub domain: String,
    /// Its share of the exam in percent.
    pub weight: u32,
    /// Percent of the task that were earned.
    pub score: f64,
    /// How many seconds the candidate was there.
    pub spent_seconds: u64,
    /// The candidate's own note.
    pub note: String,
}

impl Stored for Report {
    const KIND: &'static str = "report";
    const VERSION: u32 = 1;
}

/// What `submit --output json` gives: the grading, and where the report is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Submitted {
    /// The grading.
    #[serde(flatten)]
    pub result: TaskReport,
    /// The file of the kept report.
    #[schemars(with = "String")]
    pub report: PathBuf,
}

impl TaskReport {
    /// Makes the report of a task from what its checks came to, and whether the cluster only modelled what they look
    /// at; both are in the order of the scenario's checks.
    pub fn new(
        session: &Session,
        task: &Task,
        scenario: &Scenario,
        outcomes: &[Outcome],
        simulated: &[bool],
        score: &Score,
    ) -> Self {
        let judged = outcomes.iter().zip(simulated);
        let checks = scenario.checks.iter().zip(judged).map(|(item, (outcome, simulated))| {
            let graded = score.checks.iter().find(|graded| graded.id == item.id);
            let awarded = graded.map_or(0, |graded| graded.awarded.0);
            CheckResult::new(item, outcome, *simulated, awarded)
        });
        Self {
            scenario: scenario.id.to_string(),
            session: session.id.clone(),
            variant: task.variant,
            provider: task.cluster.provider.clone(),
            score: score.awarded.0,
            max: score.max.0,
            passed: score.standing == Standing::Passed,
            elapsed_seconds: session.timer.elapsed().as_secs(),
            checks: checks.collect(),
        }
    }

    /// Iterates over the checks with an outcome.
    pub fn with(&self, outcome: OutcomeName) -> impl Iterator<Item = &CheckResult> {
        self.checks.iter().filter(move |check| check.outcome == outcome)
    }
}

impl CheckResult {
    fn new(item: &CheckItem, outcome: &Outcome, simulated: bool, awarded: u32) -> Self {
        let (outcome, findings, reason) = match outcome {
            Outcome::Judged(Verdict::Pass) => (OutcomeName::Pass, Vec::new(), None),
            Outcome::Judged(Verdict::Fail(findings)) => (OutcomeName::Fail, findings.clone(), None),
            Outcome::Errored(error) => (OutcomeName::CannotJudge, Vec::new(), Some(chain(error))),
            Outcome::Skipped { missing } => {
                let reason = format!("the cluster has no {}", missing.words());
                (OutcomeName::Skipped, Vec::new(), Some(reason))
            }
        };
        let resource = |id| Curriculum::builtin().resource(id).map(StudyLink::from);
        Self {
            id: item.id.to_string(),
            title: item.describe.clone(),
            points: item.points().0,
            awarded,
            gate: item.is_gate(),
            outcome,
            simulated,
            findings,
            reason,
            why: item.why.clone(),
            resources: item.read.iter().filter_map(resource).collect(),
        }
    }
}

impl Report {
    /// Makes the report of a session that was submitted.
    pub fn new(session: &Session, submitted: Timestamp, tasks: Vec<ReportedTask>) -> Self {
        let timer = &session.timer;
        let overtime = timer.overtime();
        Self {
            session: session.id.clone(),
            mode: session.mode,
            started: session.created,
            submitted,
            elapsed_seconds: timer.elapsed().as_secs(),
            limit_seconds: timer.limit().map(|limit| limit.as_secs()),
            overtime_seconds: overtime.map(|over| over.as_secs()),
            clock_jumps: timer.jumps().to_vec(),
            score: tasks.iter().map(|task| task.result.score).sum(),
            max: tasks.iter().map(|task| task.result.max).sum(),
            passed: overtime.is_none() && tasks.iter().all(|task| task.result.passed),
            exam: None,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            tasks,
            seal: None,
        }
    }

    /// Seals it as it is now.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.seal = seal::seal(&self);
        self
    }

    /// Returns the percent that were earned: of the exam by weight, else of the points.
    pub fn percent(&self) -> f64 {
        match &self.exam {
            Some(exam) => exam.result.score,
            None => percent(self.score, self.max),
        }
    }

    /// Iterates over the checks of all tasks that came to something.
    pub fn with(&self, outcome: OutcomeName) -> impl Iterator<Item = (&ReportedTask, &CheckResult)> {
        self.tasks.iter().flat_map(move |task| task.result.with(outcome).map(move |check| (task, check)))
    }
}

/// Returns points as percent, to two decimal places; 0 where nothing could be earned.
pub(crate) fn percent(score: u32, max: u32) -> f64 {
    match max {
        0 => 0.0,
        max => (f64::from(score) / f64::from(max) * 10_000.0).round() / 100.0,
    }
}

impl ReportedTask {
    /// Adds to a grading what the kept report says about the task.
    pub fn new(task: &Task, scenario: &Scenario, result: TaskReport) -> Self {
        let curriculum = Curriculum::builtin();
        let newest = curriculum.places_in(&scenario.topic, curriculum.newest());
        // A topic that the newest track has dropped keeps the domain that it had.
        let place = newest.first().copied().or_else(|| curriculum.places(&scenario.topic).pop());
        let domain = place.map(|place| place.domain.id.to_string());
        Self {
            title: scenario.title.clone(),
            topic: scenario.topic.to_string(),
            domain: domain.unwrap_or_default(),
            minutes: scenario.minutes,
            hints: task.hints,
            resets: task.resets,
            attack: scenario.attack.as_ref().map(|attack| attack.describe.clone()),
            digest: task.digest.clone(),
            result,
        }
    }
}

/// Joins an error and its causes, leaving out those that say nothing new.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests;
