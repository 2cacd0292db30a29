//! What to practise: progress over time, what is worth doing next, and a plan of several scenarios that is worked off
//! one after the other. A plan is a small file; how far it is follows from history and sessions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Lab;
use super::error::LabError;
use super::exam::track;
use crate::cluster::Capability;
use crate::cluster::registry::Choice;
use crate::curriculum::Track;
use crate::history::Imported;
use crate::layout::count;
use crate::persist::{self, Stored};
use crate::progress::{Exercise, Progress, Suggestion};
use crate::report::Report;
use crate::scenario::Difficulty;
use crate::session::{Mode, SessionId, TaskState};

/// What is wished for.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The curriculum's track; the newest where there is none.
    pub track: Option<String>,
    /// Only scenarios of this domain.
    pub domain: Option<String>,
    /// Only scenarios of the domain where most is to be gained.
    pub weakest: bool,
    /// The provider that must be able to serve.
    pub provider: Choice,
}

/// A plan, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Plan {
    made: Timestamp,
    what: String,
    scenarios: Vec<String>,
}

impl Stored for Plan {
    const KIND: &'static str = "practice-plan";
    const VERSION: u32 = 1;
}

/// A plan and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlanView {
    /// When it was made.
    #[schemars(with = "String")]
    pub made: Timestamp,
    /// What it is for, in words.
    pub what: String,
    /// How many minutes its scenarios are meant to take.
    pub minutes: u32,
    /// Its scenarios, in order.
    pub items: Vec<PlanItem>,
}

/// One scenario of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlanItem {
    /// The scenario's id.
    pub scenario: String,
    /// The scenario's title.
    pub title: String,
    /// How many minutes it is meant to take.
    pub minutes: u32,
    /// How far it is.
    pub state: PlanState,
    /// The session that it is or was done in.
    pub session: Option<SessionId>,
}

/// How far a scenario of a plan is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PlanState {
    /// It was not begun.
    Open,
    /// A session with it runs.
    Running,
    /// It was submitted and passed.
    Passed,
    /// It was submitted and did not pass.
    Failed,
}

impl PlanView {
    /// Returns the next scenario that was not begun.
    pub fn next(&self) -> Option<&PlanItem> {
        self.items.iter().find(|item| item.state == PlanState::Open)
    }

    /// Returns the one that is being worked on.
    pub fn running(&self) -> Option<&PlanItem> {
        self.items.iter().find(|item| item.state == PlanState::Running)
    }

    /// Tells whether all of it was submitted.
    pub fn is_done(&self) -> bool {
        self.next().is_none() && self.running().is_none()
    }

    /// Returns how many were submitted.
    pub fn submitted(&self) -> usize {
        let done = |item: &&PlanItem| matches!(item.state, PlanState::Passed | PlanState::Failed);
        self.items.iter().filter(done).count()
    }
}

impl Lab {
    /// Returns what the attempts so far say, held against a track.
    ///
    /// # Errors
    /// [`LabError::UnknownTrack`], [`LabError::Catalog`], [`LabError::Persist`].
    pub fn progress(&self, wanted: Option<&str>) -> Result<Progress, LabError> {
        let track = track(wanted)?;
        let attempts = self.history.attempts()?;
        let mut progress = Progress::new(&attempts, &self.exercises()?, track, self.clock.now());
        // Of an exam the history has the points alone; its report has what it came to.
        for tried in progress.attempts.iter_mut().filter(|tried| tried.mode == Mode::Exam) {
            if let Ok(Some(report)) = persist::load::<Report>(&self.report_path(&tried.session)) {
                (tried.score, tried.passed) = (report.percent(), report.passed);
            }
        }
        Ok(progress)
    }

    /// Returns what is worth practising, the most useful first: only what this machine can serve.
    ///
    /// # Errors
    /// As [`Lab::progress`]; [`LabError::NothingToPractise`] when nothing is left; [`LabError::Choice`] when no provider
    /// can serve any of it.
    pub async fn suggestions(&self, wish: &Wish) -> Result<Vec<Suggestion>, LabError> {
        let progress = self.progress(wish.track.as_deref())?;
        let weakest = || {
            let gain = |mastery: f64, weight: u32| f64::from(weight) * (100.0 - mastery);
            let there = progress.domains.iter().filter(|domain| domain.scenarios > 0);
            let most = there.max_by(|a, b| gain(a.mastery, a.weight).total_cmp(&gain(b.mastery, b.weight)));
            most.map(|domain| domain.id.clone())
        };
        let domain = if wish.weakest { weakest() } else { wish.domain.clone() };
        let mut wanted = progress.next;
        wanted.retain(|one| domain.as_ref().is_none_or(|domain| one.domain == *domain));
        let catalog = self.catalog(self.scenarios.as_deref())?;
        let needs: BTreeMap<String, Vec<Capability>> =
            catalog.summaries().iter().map(|one| (one.id.to_string(), one.needs.clone())).collect();
        let mut served: BTreeMap<Vec<Capability>, bool> = BTreeMap::new();
        let mut refused = None;
        let mut able = Vec::new();
        for one in wanted {
            let needs = needs.get(&one.scenario).cloned().unwrap_or_default();
            let serves = match served.get(&needs) {
                Some(serves) => *serves,
                None => {
                    let chosen = self.registry.choose(&wish.provider, &needs).await;
                    let serves = chosen.map_err(|error| refused = Some(error)).is_ok();
                    served.insert(needs, serves);
                    serves
                }
            };
            if serves {
                able.push(one);
            }
        }
        match (able.is_empty(), refused) {
            (false, _) => Ok(able),
            (true, Some(refused)) => Err(refused.into()),
            (true, None) => Err(LabError::NothingToPractise),
        }
    }

    /// Makes a plan of what is worth practising that fits into the minutes, and keeps it in place of the one before.
    ///
    /// # Errors
    /// As [`Lab::suggestions`].
    pub async fn plan(&self, wish: &Wish, minutes: u32) -> Result<PlanView, LabError> {
        let mut left = minutes;
        let mut scenarios = Vec::new();
        let mut domains: Vec<String> = Vec::new();
        for one in self.suggestions(wish).await? {
            // One is there in any case: somebody with little time wants to do something too.
            if one.minutes <= left || scenarios.is_empty() {
                left = left.saturating_sub(one.minutes);
                domains.push(one.domain);
                scenarios.push(one.scenario);
            }
        }
        let tasks = count(scenarios.len(), "scenario", "scenarios");
        let what = match (&wish.domain, wish.weakest, domains.first()) {
            (Some(domain), _, _) => format!("{tasks} of {domain} in {minutes} minutes"),
            (None, true, Some(domain)) => {
                format!("{tasks} of {domain}, where most is to be gained, in {minutes} minutes")
            }
            _ => format!("{tasks} in {minutes} minutes"),
        };
        let plan = Plan { made: self.clock.now(), what, scenarios };
        persist::create_dir(&self.state)?;
        persist::save(&self.plan_path(), &plan)?;
        self.plan_view(plan)
    }

    /// Returns the plan that there is, and how far it is.
    ///
    /// # Errors
    /// [`LabError::Persist`], [`LabError::Store`], [`LabError::Catalog`].
    pub fn planned(&self) -> Result<Option<PlanView>, LabError> {
        persist::load::<Plan>(&self.plan_path())?.map(|plan| self.plan_view(plan)).transpose()
    }

    /// Forgets the plan; sessions that were started for it stay. Tells whether there was one.
    ///
    /// # Errors
    /// [`LabError::Persist`].
    pub fn drop_plan(&self) -> Result<bool, LabError> {
        let there = self.plan_path().exists();
        persist::remove(&self.plan_path())?;
        Ok(there)
    }

    /// Writes the history to a file and returns how many attempts it has.
    ///
    /// # Errors
    /// [`LabError::Persist`].
    pub fn export_history(&self, to: &Path) -> Result<usize, LabError> {
        Ok(self.history.export(to)?)
    }

    /// Adds the attempts of an exported file to the history.
    ///
    /// # Errors
    /// [`LabError::Import`]; nothing is changed then.
    pub async fn import_history(&self, from: &Path) -> Result<Imported, LabError> {
        persist::create_dir(&self.state)?;
        Ok(self.history.import(from, self.clock.now()).await?)
    }

    /// Tells whether nothing was ever done here.
    ///
    /// # Errors
    /// [`LabError::Persist`], [`LabError::Store`].
    pub fn is_new(&self) -> Result<bool, LabError> {
        let listing = self.store.list()?;
        Ok(listing.sessions.is_empty()
            && listing.unreadable.is_empty()
            && self.history.attempts()?.is_empty())
    }

    fn exercises(&self) -> Result<Vec<Exercise>, LabError> {
        let catalog = self.catalog(self.scenarios.as_deref())?;
        let exercise = |summary: &crate::scenario::catalog::Summary| Exercise {
            scenario: summary.id.to_string(),
            title: summary.title.clone(),
            topic: summary.topic.to_string(),
            minutes: summary.minutes,
            depth: match summary.difficulty {
                Difficulty::Quick => 0,
                Difficulty::Core => 1,
                Difficulty::Deep => 2,
            },
        };
        Ok(catalog.summaries().iter().map(exercise).collect())
    }

    fn plan_view(&self, plan: Plan) -> Result<PlanView, LabError> {
        let exercises = self.exercises()?;
        let attempts = self.history.attempts()?;
        let sessions = self.store.list()?.sessions;
        let item = |scenario: String| {
            let exercise = exercises.iter().find(|exercise| exercise.scenario == scenario);
            let running = sessions.iter().find(|session| {
                let task = session.tasks.first();
                let open = matches!(session.state, TaskState::Preparing | TaskState::Running);
                open && session.mode == Mode::Practice && task.is_some_and(|task| task.scenario == scenario)
            });
            let attempt = attempts
                .iter()
                .rfind(|attempt| attempt.scenario == scenario && attempt.submitted >= plan.made);
            let (state, session) = match (running, attempt) {
                (Some(session), _) => (PlanState::Running, Some(session.id.clone())),
                (None, Some(attempt)) if attempt.passed => (PlanState::Passed, Some(attempt.session.clone())),
                (None, Some(attempt)) => (PlanState::Failed, Some(attempt.session.clone())),
                (None, None) => (PlanState::Open, None),
            };
            PlanItem {
                title: exercise.map_or_else(|| scenario.clone(), |exercise| exercise.title.clone()),
                minutes: exercise.map_or(0, |exercise| exercise.minutes),
                scenario,
                state,
                session,
            }
        };
        let items: Vec<PlanItem> = plan.scenarios.into_iter().map(item).collect();
        let minutes = items.iter().map(|item| item.minutes).sum();
        Ok(PlanView { made: plan.made, what: plan.what, minutes, items })
    }

    fn plan_path(&self) -> PathBuf {
        self.state.join("practice.json")
    }
}

/// Returns the ids of a track's domains.
///
/// # Errors
/// [`LabError::UnknownTrack`].
pub fn domains(wanted: Option<&str>) -> Result<Vec<&'static str>, LabError> {
    let track: &'static Track = track(wanted)?;
    Ok(track.domains.iter().map(|domain| domain.id.as_str()).collect())
}
