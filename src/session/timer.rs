//! The clock of a session: counts by the time since boot where it can, by the wall clock across a reboot, and notes
//! when the two disagree. So it neither stops with a closed terminal nor follows a moved system clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::clock::Moment;

/// How far wall clock and time since boot may drift apart between two readings before it is a jump.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

/// A moved system clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jump {
    /// The wall-clock time when it was noticed.
    #[schemars(with = "String")]
    pub noticed: Timestamp,
    /// By how many seconds the clock was moved; negative is back.
    pub seconds: i64,
}

/// Counts the time of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timer {
    limit: Option<Duration>,
    elapsed: Duration,
    last: Moment,
    running: bool,
    jumps: Vec<Jump>,
}

impl Timer {
    /// Creates a timer that does not run yet; without a limit it only counts.
    pub fn new(limit: Option<Duration>, now: &Moment) -> Self {
        Self { limit, elapsed: Duration::ZERO, last: now.clone(), running: false, jumps: Vec::new() }
    }

    /// Starts to count from zero.
    pub fn start(&mut self, now: &Moment) {
        self.elapsed = Duration::ZERO;
        self.last = now.clone();
        self.running = true;
    }

    /// Ends counting.
    pub fn stop(&mut self) {
        self.running = false;
    }

    /// Brings it up to now.
    pub fn observe(&mut self, now: &Moment) {
        if !self.running {
            return;
        }
        let by_wall = now.wall.duration_since(self.last.wall);
        let same_boot = now.boot == self.last.boot && now.monotonic >= self.last.monotonic;
        let passed = if same_boot {
            let passed = now.monotonic - self.last.monotonic;
            let moved = by_wall - SignedDuration::try_from(passed).unwrap_or(SignedDuration::MAX);
            if moved.abs() > TOLERANCE {
                self.jumps.push(Jump { noticed: now.wall, seconds: moved.as_secs() });
            }
            passed
        } else {
            // Across a reboot only the wall clock counted; one that went back gives nothing away but is noted.
            if by_wall.is_negative() {
                self.jumps.push(Jump { noticed: now.wall, seconds: by_wall.as_secs() });
            }
            Duration::try_from(by_wall).unwrap_or(Duration::ZERO)
        };
        self.elapsed += passed;
        self.last = now.clone();
    }

    /// Returns the time that was counted up to the last observation.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Returns the limit.
    pub fn limit(&self) -> Option<Duration> {
        self.limit
    }

    /// Returns the time that is left; `None` without a limit.
    pub fn left(&self) -> Option<Duration> {
        self.limit.map(|limit| limit.saturating_sub(self.elapsed))
    }

    /// Returns by how much the limit was passed.
    pub fn overtime(&self) -> Option<Duration> {
        self.limit.and_then(|limit| self.elapsed.checked_sub(limit)).filter(|over| !over.is_zero())
    }

    /// Tells whether the time is up.
    pub fn is_up(&self) -> bool {
        self.limit.is_some_and(|limit| self.elapsed >= limit)
    }

    /// Returns when the time will be up by the wall clock of the last observation.
    pub fn deadline(&self) -> Option<Timestamp> {
        let limit = self.limit?;
        let left = SignedDuration::try_from(limit).ok()? - SignedDuration::try_from(self.elapsed).ok()?;
        self.last.wall.checked_add(left).ok()
    }

    /// Returns the clock changes that were noticed.
    pub fn jumps(&self) -> &[Jump] {
        &self.jumps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock};

    const MINUTE: Duration = Duration::from_secs(60);

    fn clock() -> ManualClock {
        ManualClock::new("2026-09-01T12:00:00Z".parse().unwrap())
    }

    fn started(clock: &ManualClock) -> Timer {
        let mut timer = Timer::new(Some(10 * MINUTE), &clock.moment());
        // The preparation does not count.
        clock.advance(5 * MINUTE);
        timer.start(&clock.moment());
        timer
    }

    #[test]
    fn it_counts_from_the_start_to_its_limit() {
        let clock = clock();
        let mut timer = started(&clock);
        clock.advance(4 * MINUTE);
        timer.observe(&clock.moment());
        assert_eq!(timer.elapsed(), 4 * MINUTE);
        assert_eq!(timer.left(), Some(6 * MINUTE));
        assert_eq!(timer.deadline(), Some("2026-09-01T12:15:00Z".parse().unwrap()));
        assert!(!timer.is_up());
        clock.advance(6 * MINUTE);
        timer.observe(&clock.moment());
        assert!(timer.is_up());
        assert_eq!(timer.overtime(), None);
        clock.advance(MINUTE);
        timer.observe(&clock.moment());
        assert_eq!((timer.left(), timer.overtime()), (Some(Duration::ZERO), Some(MINUTE)));
        assert_eq!(timer.jumps(), []);
    }

    #[test]
    fn a_clock_that_is_moved_back_wins_no_time_and_is_noted() {
        let clock = clock();
        let mut timer = started(&clock);
        clock.advance(4 * MINUTE);
        clock.set_wall("2026-09-01T11:00:00Z".parse().unwrap());
        timer.observe(&clock.moment());
        assert_eq!(timer.elapsed(), 4 * MINUTE);
        assert_eq!(timer.jumps().len(), 1);
        assert_eq!(timer.jumps()[0].seconds, -69 * 60);
        assert_eq!(timer.deadline(), Some("2026-09-01T11:06:00Z".parse().unwrap()));
    }

    #[test]
    fn a_clock_that_is_moved_forward_costs_no_time_and_is_noted() {
        let clock = clock();
        let mut timer = started(&clock);
        clock.set_wall("2026-09-01T18:05:00Z".parse().unwrap());
        clock.advance(MINUTE);
        timer.observe(&clock.moment());
        assert_eq!(timer.elapsed(), MINUTE);
        assert_eq!(timer.jumps()[0].seconds, 6 * 3600);
    }

    #[test]
    fn a_reboot_counts_by_the_wall_clock() {
        let clock = clock();
        let mut timer = started(&clock);
        clock.advance(2 * MINUTE);
        timer.observe(&clock.moment());
        clock.reboot(3 * MINUTE);
        timer.observe(&clock.moment());
        assert_eq!(timer.elapsed(), 5 * MINUTE);
        assert_eq!(timer.jumps(), []);
        clock.reboot(Duration::ZERO);
        clock.set_wall("2026-09-01T12:00:00Z".parse().unwrap());
        timer.observe(&clock.moment());
        assert_eq!(timer.elapsed(), 5 * MINUTE, "time never runs back");
        assert_eq!(timer.jumps()[0].seconds, -10 * 60);
    }

    #[test]
    fn it_stands_still_once_stopped() {
        let clock = clock();
        let mut timer = started(&clock);
        clock.advance(MINUTE);
        timer.observe(&clock.moment());
        timer.stop();
        clock.advance(MINUTE);
        timer.observe(&clock.moment());
        assert_eq!(timer.elapsed(), MINUTE);
    }

    #[test]
    fn without_a_limit_it_is_never_up() {
        let clock = clock();
        let mut timer = Timer::new(None, &clock.moment());
        timer.start(&clock.moment());
        clock.advance(1000 * MINUTE);
        timer.observe(&clock.moment());
        assert!(!timer.is_up());
        assert_eq!((timer.left(), timer.deadline(), timer.overtime()), (None, None, None));
    }
}
