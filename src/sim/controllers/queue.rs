//! A work queue: each key once, some later, some later still the more often they failed.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// What a controller works on: an object of its primary resource, or whatever else it names so.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// The namespace; empty for cluster scope.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// Names an object.
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Key>,
    waiting: HashSet<Key>,
    due: BTreeMap<(Instant, u64), Key>,
    due_of: HashMap<Key, (Instant, u64)>,
    failures: HashMap<Key, u32>,
    serial: u64,
}

impl State {
    fn add(&mut self, key: Key) -> bool {
        let new = self.waiting.insert(key.clone());
        if new {
            self.ready.push_back(key);
        }
        new
    }

    fn add_at(&mut self, key: Key, at: Instant) {
        self.serial += 1;
        let due = (at, self.serial);
        match self.due_of.get(&key) {
            Some(earlier) if earlier.0 <= at => return,
            Some(later) => {
                let later = *later;
                self.due.remove(&later);
            }
            None => {}
        }
        self.due.insert(due, key.clone());
        self.due_of.insert(key, due);
    }

    /// Returns the delay for another failure of a key.
    fn failed(&mut self, key: &Key, first: Duration, most: Duration) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let factor = 1_u32.checked_shl(*failures).unwrap_or(u32::MAX);
        *failures = (*failures + 1).min(30);
        first.saturating_mul(factor).min(most)
    }

    /// Takes the next key, or tells when there will be one.
    fn take(&mut self, now: Instant) -> Result<Key, Option<Instant>> {
        while let Some((&(at, serial), _)) = self.due.first_key_value()
            && at <= now
        {
            if let Some(key) = self.due.remove(&(at, serial)) {
                self.due_of.remove(&key);
                self.add(key);
            }
        }
        match self.ready.pop_front() {
            Some(key) => {
                self.waiting.remove(&key);
                Ok(key)
            }
            None => Err(self.due.first_key_value().map(|(&(at, _), _)| at)),
        }
    }
}

/// The queue of one controller.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a key, unless it waits already.
    pub(crate) fn add(&self, key: Key) {
        if self.lock().add(key) {
            self.changed.notify_one();
        }
    }

    /// Adds a key later; of two times the earlier one counts.
    pub(crate) fn add_after(&self, key: Key, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        // A delay beyond what the clock can tell is as good as a year.
        let now = Instant::now();
        let at = now.checked_add(delay).unwrap_or(now + Duration::from_secs(365 * 86_400));
        self.lock().add_at(key, at);
        self.changed.notify_one();
    }

    /// Adds a key after a delay that doubles with each failure since the last success.
    pub(crate) fn retry(&self, key: Key, first: Duration, most: Duration) {
        let delay = self.lock().failed(&key, first, most);
        self.add_after(key, delay);
    }

    /// Forgets the failures of a key.
    pub(crate) fn forget(&self, key: &Key) {
        self.lock().failures.remove(key);
    }

    /// Waits for the next key.
    pub(crate) async fn next(&self) -> Key {
        loop {
            let changed = self.changed.notified();
            let taken = self.lock().take(Instant::now());
            match taken {
                Ok(key) => return key,
                Err(None) => changed.await,
                Err(Some(at)) => {
                    let _ = tokio::time::timeout_at(at, changed).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("ns", name)
    }

    #[test]
    fn a_key_waits_once_and_in_order() {
        let (mut state, now) = (State::default(), Instant::now());
        assert!(state.add(key("a")));
        assert!(state.add(key("b")));
        assert!(!state.add(key("a")));
        assert_eq!(state.take(now), Ok(key("a")));
        assert!(state.add(key("a")), "it may be added again while it is worked on");
        assert_eq!(state.take(now), Ok(key("b")));
        assert_eq!(state.take(now), Ok(key("a")));
        assert_eq!(state.take(now), Err(None));
    }

    #[test]
    fn the_earlier_time_counts() {
        let (mut state, now) = (State::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        state.add_at(key("a"), after(9));
        state.add_at(key("a"), after(2));
        state.add_at(key("a"), after(5));
        state.add_at(key("b"), after(20));
        assert_eq!(state.take(now), Err(Some(after(2))));
        assert_eq!(state.take(after(2)), Ok(key("a")));
        assert_eq!(state.take(after(19)), Err(Some(after(20))));
        assert_eq!(state.take(after(20)), Ok(key("b")));
    }

    #[test]
    fn delays_double_up_to_the_most() {
        let mut state = State::default();
        let mut fail =
            || state.failed(&key("a"), Duration::from_millis(5), Duration::from_millis(15)).as_millis();
        assert_eq!([fail(), fail(), fail(), fail()], [5, 10, 15, 15]);
        state.failures.remove(&key("a"));
        assert_eq!(state.failed(&key("a"), Duration::from_millis(5), Duration::from_secs(1)).as_millis(), 5);
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken() {
        let queue = std::sync::Arc::new(Queue::default());
        let reader = tokio::spawn({
            let queue = queue.clone();
            async move { (queue.next().await, queue.next().await) }
        });
        tokio::task::yield_now().await;
        queue.add(key("now"));
        queue.add_after(key("later"), Duration::from_millis(1));
        assert_eq!(reader.await.unwrap(), (key("now"), key("later")));
    }
}
