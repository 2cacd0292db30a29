//! What runs of containers were told: by the network, by who typed at them, by commands that left files. What they say
//! follows from it, so that what was said once stays said. Kept in memory, as long as the container is there.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::shell::outside::{Ask, HttpRequest, Told};
use super::shell::{Ending, Memory, Written};
use crate::clock::Clock;

/// Files that commands have written or removed, by path.
pub(super) type Files = BTreeMap<String, Option<String>>;

/// The history of all containers of a cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct History(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Arc<dyn Clock>,
    records: Mutex<HashMap<String, Arc<Record>>>,
    tokens: Mutex<HashMap<String, (Timestamp, String)>>,
}

/// What one process was told.
#[derive(Debug, Default)]
pub(super) struct Record {
    answers: Mutex<Vec<(Ask, Told)>>,
    asking: AtomicBool,
    console: Mutex<Console>,
    left: Mutex<Files>,
}

/// What somebody typed at a process, and what became of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Console {
    /// What a shell remembers of it.
    pub memory: Option<Memory>,
    /// What was said, by the time since the start.
    pub output: Vec<Written>,
    /// How it ended.
    pub ended: Option<Ending>,
    /// All that there will be to read, and when that was settled.
    pub stdin: Option<(Duration, String)>,
    /// Whether somebody has been told what was said before they came.
    pub attached: bool,
}

impl History {
    /// Begins with nothing.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner { clock, records: Mutex::default(), tokens: Mutex::default() }))
    }

    /// Returns the time.
    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Returns the record of a container's run by its id.
    pub(super) fn of(&self, id: &str) -> Arc<Record> {
        lock(&self.0.records).entry(id.to_owned()).or_default().clone()
    }

    /// Returns the token that a Pod was given last.
    pub(super) fn last_token(&self, key: &str) -> Option<String> {
        lock(&self.0.tokens).get(key).map(|(_, token)| token.clone())
    }

    /// Returns the token that a Pod was given, or gives it a new one when four fifths of its time are over.
    pub(super) fn token(
        &self,
        key: &str,
        lasts: Duration,
        issue: impl FnOnce() -> Option<String>,
    ) -> Option<String> {
        let now = self.now();
        let mut tokens = lock(&self.0.tokens);
        if let Some((at, token)) = tokens.get(key)
            && now.duration_since(*at).unsigned_abs() < lasts.mul_f64(0.8)
        {
            return Some(token.clone());
        }
        let token = issue()?;
        tokens.insert(key.to_owned(), (now, token.clone()));
        Some(token)
    }

    /// Forgets containers that are gone.
    pub(super) fn forget<'a>(&self, ids: impl Iterator<Item = &'a str>) {
        let mut records = lock(&self.0.records);
        ids.for_each(|id| drop(records.remove(id)));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells whether two questions are the same: one with a newer token is.
fn is_same(one: &Ask, other: &Ask) -> bool {
    let (Ask::Http { to, request, .. }, Ask::Http { to: other_to, request: other_request, .. }) =
        (one, other)
    else {
        return one == other;
    };
    let headers = |request: &HttpRequest| -> Vec<(String, String)> {
        let headers = request.headers.iter();
        headers.filter(|(name, _)| !name.eq_ignore_ascii_case("authorization")).cloned().collect()
    };
    to == other_to
        && request.method == other_request.method
        && request.path == other_request.path
        && request.body == other_request.body
        && headers(request) == headers(other_request)
}

impl Record {
    /// Returns what was answered to the question of this number, or finds an answer and keeps it.
    pub fn answer(&self, number: usize, ask: &Ask, find: impl FnOnce() -> Told) -> Told {
        if let Some(told) = self.known(number, ask) {
            return told;
        }
        let told = find();
        if told != Told::Later {
            self.keep(number, ask, told.clone());
        }
        told
    }

    /// Returns what was answered to the question of this number, if it was the same.
    pub fn known(&self, number: usize, ask: &Ask) -> Option<Told> {
        lock(&self.answers).get(number).filter(|(asked, _)| is_same(asked, ask)).map(|(_, told)| told.clone())
    }

    /// Keeps an answer.
    pub fn keep(&self, number: usize, ask: &Ask, told: Told) {
        let mut answers = lock(&self.answers);
        // What was asked instead of this, or after it, belongs to a course of things that is no more.
        answers.truncate(number);
        if answers.len() == number {
            answers.push((ask.clone(), told));
        }
    }

    /// Tells whether somebody is finding out already, and notes that now somebody is.
    pub fn is_asking(&self) -> bool {
        self.asking.swap(true, Ordering::AcqRel)
    }

    /// Notes that nobody is finding out any more.
    pub fn has_asked(&self) {
        self.asking.store(false, Ordering::Release);
    }

    /// Returns what was typed, and what became of it.
    pub fn console(&self) -> MutexGuard<'_, Console> {
        lock(&self.console)
    }

    /// Returns the files that commands have left.
    pub fn left(&self) -> Files {
        lock(&self.left).clone()
    }

    /// Keeps the files that a command has left.
    pub fn leave(&self, files: Files) {
        *lock(&self.left) = files;
    }
}
