//! Attempts over time: one plain file that every submitted session adds to. Knows scores, not how they came about.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::persist::{self, Lock, PersistError, Stored};
use crate::report::{OutcomeName, Report};
use crate::session::{Mode, SessionId};

/// How long an attempt waits for another one to be added.
const PATIENCE: Duration = Duration::from_secs(5);

/// One submitted task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// The session.
    pub session: SessionId,
    /// The scenario.
    pub scenario: String,
    /// The topic that it trains.
    pub topic: String,
    /// The domain of the topic.
    pub domain: String,
    /// The variant's number.
    pub variant: u32,
    /// The provider's name.
    pub provider: String,
    /// What the session was for.
    pub mode: Mode,
    /// When it was submitted.
    #[schemars(with = "String")]
    pub submitted: Timestamp,
    /// The seconds on the session's clock.
    pub elapsed_seconds: u64,
    /// Whether it was submitted after the time was up.
    pub late: bool,
    /// The points that were earned.
    pub score: u32,
    /// The points that could be earned.
    pub max: u32,
    /// Whether everything passed.
    pub passed: bool,
    /// How many hints were given.
    pub hints: usize,
    /// What each check came to.
    pub checks: BTreeMap<String, OutcomeName>,
}

/// The best that was reached in a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Best {
    /// The points that were earned.
    pub score: u32,
    /// The points that could be earned.
    pub max: u32,
    /// Whether everything passed.
    pub passed: bool,
    /// Whether that was only after the time was up.
    pub late: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Attempts {
    attempts: Vec<Attempt>,
}

impl Stored for Attempts {
    const KIND: &'static str = "history";
    const VERSION: u32 = 1;
}

/// The file of attempts.
#[derive(Debug, Clone)]
pub struct History {
    path: PathBuf,
}

impl History {
    /// Keeps attempts in `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns all attempts, oldest first.
    ///
    /// # Errors
    /// [`PersistError`] when the file cannot be read or a newer program wrote it.
    pub fn attempts(&self) -> Result<Vec<Attempt>, PersistError> {
        Ok(persist::load::<Attempts>(&self.path)?.unwrap_or_default().attempts)
    }

    /// Adds the tasks of a submitted session; a session that is there already is not added again.
    ///
    /// # Errors
    /// [`PersistError`]; what was there is then kept as it was.
    pub async fn add(&self, report: &Report) -> Result<(), PersistError> {
        let _lock = Lock::acquire(&self.path.with_extension("lock"), "submit", PATIENCE).await?;
        let mut all = persist::load::<Attempts>(&self.path)?.unwrap_or_default();
        if all.attempts.iter().any(|attempt| attempt.session == report.session) {
            return Ok(());
        }
        all.attempts.extend(attempts_of(report));
        persist::save(&self.path, &all)
    }

    /// Returns the best attempt of each scenario: in time before late, then by the share of the points, then the
    /// latest.
    ///
    /// # Errors
    /// As [`History::attempts`].
    pub fn best(&self) -> Result<BTreeMap<String, Best>, PersistError> {
        let mut best: BTreeMap<String, Best> = BTreeMap::new();
        for attempt in self.attempts()? {
            let Attempt { score, max, passed, late, scenario, .. } = attempt;
            let this = Best { score, max, passed, late };
            match best.get_mut(&scenario) {
                Some(known) if better(known, &this) => {}
                Some(known) => *known = this,
                None => {
                    best.insert(scenario, this);
                }
            }
        }
        Ok(best)
    }
}

fn better(a: &Best, b: &Best) -> bool {
    // Shares are compared by cross-multiplication, since a provider may skip checks and so change the maximum.
    let share = |one: &Best, other: &Best| u64::from(one.score) * u64::from(other.max.max(1));
    (a.passed, !a.late, share(a, b)) > (b.passed, !b.late, share(b, a))
}

fn attempts_of(report: &Report) -> impl Iterator<Item = Attempt> {
    report.tasks.iter().map(|task| Attempt {
        session: report.session.clone(),
        scenario: task.result.scenario.clone(),
        topic: task.topic.clone(),
        domain: task.domain.clone(),
        variant: task.result.variant,
        provider: task.result.provider.clone(),
        mode: report.mode,
        submitted: report.submitted,
        elapsed_seconds: task.result.elapsed_seconds,
        late: report.overtime_seconds.is_some(),
        score: task.result.score,
        max: task.result.max,
        passed: task.result.passed,
        hints: task.hints,
        checks: task.result.checks.iter().map(|check| (check.id.clone(), check.outcome)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{kept, result};

    fn history() -> (tempfile::TempDir, History) {
        let dir = tempfile::tempdir().unwrap();
        let history = History::new(dir.path().join("history.json"));
        (dir, history)
    }

    fn report(session: &str, score: u32, passed: bool) -> Report {
        let mut report = kept(vec![result()]);
        report.session = SessionId::parse(session).unwrap();
        report.tasks[0].result.score = score;
        report.tasks[0].result.passed = passed;
        report
    }

    #[tokio::test]
    async fn the_best_attempt_of_a_scenario_is_known() {
        let (_dir, history) = history();
        assert_eq!(history.best().unwrap(), BTreeMap::new());
        history.add(&report("a-1", 3, false)).await.unwrap();
        history.add(&report("a-2", 7, true)).await.unwrap();
        history.add(&report("a-3", 5, false)).await.unwrap();
        let best = &history.best().unwrap()["shrink-the-releaser"];
        assert_eq!((best.score, best.passed), (7, true));
        assert_eq!(history.attempts().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn what_was_late_ranks_behind_what_was_in_time() {
        let (_dir, history) = history();
        let mut late = report("a-1", 7, false);
        late.overtime_seconds = Some(30);
        history.add(&late).await.unwrap();
        history.add(&report("a-2", 3, false)).await.unwrap();
        let best = &history.best().unwrap()["shrink-the-releaser"];
        assert_eq!((best.score, best.late), (3, false));
    }

    #[tokio::test]
    async fn a_session_counts_once() {
        let (_dir, history) = history();
        history.add(&report("a-1", 3, false)).await.unwrap();
        history.add(&report("a-1", 3, false)).await.unwrap();
        assert_eq!(history.attempts().unwrap().len(), 1);
    }
}
