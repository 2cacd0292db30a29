//! Attempts over time: one plain file that every submitted session adds to. Knows scores, not how they came about.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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
    /// How often it was reset.
    pub resets: u32,
    /// How many minutes it was meant to take; 0 where that was not kept.
    pub minutes: u32,
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
    const VERSION: u32 = 2;

    fn migrate(version: u32, mut data: Value) -> Result<Value, String> {
        if version != 1 {
            return Err(format!("version {version} is no longer read"));
        }
        // Version 1 did not keep how often a task was reset and how long it was meant to take.
        for attempt in data["attempts"].as_array_mut().into_iter().flatten() {
            attempt["resets"] = 0.into();
            attempt["minutes"] = 0.into();
        }
        Ok(data)
    }
}

/// What came of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Imported {
    /// How many attempts were added.
    pub added: usize,
    /// How many were there already.
    pub known: usize,
    /// How many were there already and say something else; what was there stays.
    pub different: usize,
}

/// Why a history could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file could not be read or written.
    #[error(transparent)]
    Persist(#[from] PersistError),
    /// There is no such file.
    #[error("there is no file `{}`", .0.display())]
    Missing(PathBuf),
    /// It holds something that cannot be an attempt.
    #[error("attempt {number} of `{}` cannot be: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Which attempt, from 1.
        number: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
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

    /// Writes all attempts to a file that [`History::import`] reads, and returns how many there are.
    ///
    /// # Errors
    /// [`PersistError`].
    pub fn export(&self, to: &Path) -> Result<usize, PersistError> {
        let all = persist::load::<Attempts>(&self.path)?.unwrap_or_default();
        persist::save(to, &all)?;
        Ok(all.attempts.len())
    }

    /// Adds the attempts of an exported file. One that is there already is not added again. Either all of it is taken
    /// or, when something in it cannot be, nothing.
    ///
    /// # Errors
    /// [`ImportError`]; what was there is then kept as it was.
    pub async fn import(&self, from: &Path, now: Timestamp) -> Result<Imported, ImportError> {
        let missing = || ImportError::Missing(from.to_owned());
        let new = persist::load::<Attempts>(from)?.ok_or_else(missing)?.attempts;
        for (place, attempt) in new.iter().enumerate() {
            if let Err(reason) = attempt.plausible(now) {
                return Err(ImportError::Invalid { path: from.to_owned(), number: place + 1, reason });
            }
        }
        let _lock = Lock::acquire(&self.path.with_extension("lock"), "import", PATIENCE).await?;
        let mut all = persist::load::<Attempts>(&self.path)?.unwrap_or_default();
        let mut imported = Imported { added: 0, known: 0, different: 0 };
        for attempt in new {
            let same =
                |known: &&Attempt| known.session == attempt.session && known.scenario == attempt.scenario;
            match all.attempts.iter().find(same) {
                Some(known) if known.is(&attempt) => imported.known += 1,
                Some(_) => imported.different += 1,
                None => {
                    all.attempts.push(attempt);
                    imported.added += 1;
                }
            }
        }
        if imported.added > 0 {
            // The order in a file is that of time, wherever the attempts come from; an exam's tasks stay in theirs.
            all.attempts.sort_by_key(|attempt| attempt.submitted);
            persist::save(&self.path, &all)?;
        }
        Ok(imported)
    }

    /// Returns the best attempt of each scenario: in time before late, then by the share of the points, then the
    /// latest.
    ///
    /// # Errors
    /// As [`History::attempts`].
    pub fn best(&self) -> Result<BTreeMap<String, Best>, PersistError> {
        let mut best: BTreeMap<String, Best> = BTreeMap::new();
        for attempt in self.attempts()? {
            let this = Best::from(&attempt);
            let better = best.remove(&attempt.scenario).map_or(this.clone(), |known| known.better(this));
            best.insert(attempt.scenario, better);
        }
        Ok(best)
    }
}

impl Attempt {
    /// Returns the share of the points that were earned, from 0 to 1; none where none could be earned.
    pub fn share(&self) -> Option<f64> {
        (self.max > 0).then(|| f64::from(self.score) / f64::from(self.max))
    }

    /// Tells whether it came to a verdict: something failed, or all passed. Where nothing failed and something could
    /// not be judged, nothing is known.
    pub fn is_judged(&self) -> bool {
        let failed = self.checks.values().any(|outcome| *outcome == OutcomeName::Fail);
        let open = self.checks.values().any(|outcome| *outcome == OutcomeName::CannotJudge);
        self.max > 0 && (self.passed || failed || !open)
    }

    /// Tells whether two say the same, but for what an older version did not keep.
    fn is(&self, other: &Self) -> bool {
        let comparable = |one: &Self| Self { resets: 0, minutes: 0, ..one.clone() };
        comparable(self) == comparable(other)
    }

    /// Says why it cannot be an attempt of a session of this program.
    fn plausible(&self, now: Timestamp) -> Result<(), &'static str> {
        let name = |text: &str| !text.is_empty() && text.len() <= 128 && !text.chars().any(char::is_control);
        // A clock may be a little ahead of another.
        let latest = now + Duration::from_secs(24 * 3600);
        match () {
            () if SessionId::parse(self.session.as_str()).is_none() => Err("the session's name is none"),
            () if !name(&self.scenario) => Err("the scenario's name is none"),
            () if !name(&self.topic) || !name(&self.domain) => Err("topic or domain have no name"),
            () if !name(&self.provider) => Err("the provider's name is none"),
            () if self.score > self.max => Err("it earned more points than there are"),
            () if self.passed && self.score < self.max => Err("it passed without all points"),
            () if self.submitted > latest => Err("it was submitted in the future"),
            () => Ok(()),
        }
    }
}

impl From<&Attempt> for Best {
    fn from(attempt: &Attempt) -> Self {
        let Attempt { score, max, passed, late, .. } = *attempt;
        Self { score, max, passed, late }
    }
}

impl Best {
    /// Returns the better of two: in time before late, then by the share of the points, then the later one.
    #[must_use]
    pub fn better(self, later: Self) -> Self {
        // Shares are compared by cross-multiplication, since a provider may skip checks and so change the maximum.
        let share = |one: &Self, other: &Self| u64::from(one.score) * u64::from(other.max.max(1));
        let rank = |one: &Self, other: &Self| (one.passed, !one.late, share(one, other));
        match rank(&self, &later) > rank(&later, &self) {
            true => self,
            false => later,
        }
    }
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
        resets: task.resets,
        minutes: task.minutes,
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

    /// A time after all attempts of these tests.
    fn later() -> Timestamp {
        "2026-12-01T00:00:00Z".parse().unwrap()
    }

    #[tokio::test]
    async fn what_is_exported_is_imported_elsewhere_once() {
        let (dir, history) = history();
        history.add(&report("a-1", 3, false)).await.unwrap();
        history.add(&report("a-2", 9, true)).await.unwrap();
        let file = dir.path().join("export.json");
        assert_eq!(history.export(&file).unwrap(), 2);
        let (_other, elsewhere) = self::history();
        elsewhere.add(&report("b-1", 9, true)).await.unwrap();
        let imported = elsewhere.import(&file, later()).await.unwrap();
        assert_eq!(imported, Imported { added: 2, known: 0, different: 0 });
        let again = elsewhere.import(&file, later()).await.unwrap();
        assert_eq!(again, Imported { added: 0, known: 2, different: 0 });
        assert_eq!(elsewhere.attempts().unwrap().len(), 3);
        let text = std::fs::read_to_string(&file).unwrap().replacen("\"hints\": 1", "\"hints\": 0", 1);
        std::fs::write(&file, text).unwrap();
        let changed = elsewhere.import(&file, later()).await.unwrap();
        assert_eq!(changed, Imported { added: 0, known: 1, different: 1 });
    }

    #[tokio::test]
    async fn an_import_is_taken_whole_or_not_at_all() {
        let (dir, history) = history();
        history.add(&report("a-1", 3, false)).await.unwrap();
        history.add(&report("a-2", 9, true)).await.unwrap();
        let file = dir.path().join("export.json");
        history.export(&file).unwrap();
        let good = std::fs::read_to_string(&file).unwrap();
        let (_other, elsewhere) = self::history();
        for (from, to, reason) in [
            ("\"score\": 3", "\"score\": 99", "more points"),
            ("\"session\": \"a-2\"", "\"session\": \"../a\"", "session's name"),
            ("2026-09-01", "2099-09-01", "future"),
            ("\"passed\": false", "\"passed\": true", "without all points"),
            ("shrink-the-releaser", "", "scenario's name"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            std::fs::write(&file, bad).unwrap();
            let error = elsewhere.import(&file, later()).await.unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
            assert_eq!(elsewhere.attempts().unwrap(), []);
        }
        let missing = elsewhere.import(&dir.path().join("none"), later()).await;
        assert!(matches!(missing, Err(ImportError::Missing(_))));
    }

    #[tokio::test]
    async fn a_history_of_the_first_version_is_read() {
        let (_dir, history) = history();
        std::fs::write(&history.path, include_str!("../tests/fixtures/history/v1.json")).unwrap();
        let [attempt] = history.attempts().unwrap().try_into().unwrap();
        assert_eq!((attempt.score, attempt.minutes, attempt.resets), (7, 0, 0));
        history.add(&report("a-2", 3, false)).await.unwrap();
        assert_eq!(history.attempts().unwrap().len(), 2);
        assert!(std::fs::read_to_string(&history.path).unwrap().contains("\"version\": 2"));
    }

    #[tokio::test]
    async fn a_session_counts_once() {
        let (_dir, history) = history();
        history.add(&report("a-1", 3, false)).await.unwrap();
        history.add(&report("a-1", 3, false)).await.unwrap();
        assert_eq!(history.attempts().unwrap().len(), 1);
    }
}
