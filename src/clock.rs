//! The only reader of the time. Everything else is given a [`Clock`], so that tests decide what time it is.

use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Returns the wall-clock time.
    fn now(&self) -> Timestamp;
    /// Returns the time since the machine was booted; it never goes back, counts sleep, and sees no clock change.
    /// Every process of the machine sees the same.
    fn monotonic(&self) -> Duration;
    /// Returns what tells this run of the machine from the one before: readings of [`Clock::monotonic`] compare only
    /// where this is equal.
    fn boot(&self) -> String;

    /// Returns one reading of all of it.
    fn moment(&self) -> Moment {
        Moment { wall: self.now(), monotonic: self.monotonic(), boot: self.boot() }
    }
}

/// One reading of a clock that can be kept and compared by another process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The wall-clock time, which an administrator may have moved.
    pub wall: Timestamp,
    /// The time since the boot.
    pub monotonic: Duration,
    /// Which boot.
    pub boot: String,
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        clock_gettime(SINCE_BOOT).map_or(Duration::ZERO, Duration::from)
    }

    fn boot(&self) -> String {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        id.trim().to_owned()
    }
}

/// The clock that goes on while the machine sleeps.
#[cfg(any(target_os = "linux", target_os = "android"))]
const SINCE_BOOT: ClockId = ClockId::CLOCK_BOOTTIME;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const SINCE_BOOT: ClockId = ClockId::CLOCK_MONOTONIC;

/// A clock that stands still until it is told to move.
#[derive(Debug)]
pub struct ManualClock(Mutex<Moment>);

impl ManualClock {
    /// Creates a clock that shows `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Moment { wall: now, monotonic: Duration::ZERO, boot: "boot-0".to_owned() }))
    }

    /// Moves both the wall clock and the monotonic clock forward.
    pub fn advance(&self, by: Duration) {
        let mut state = self.lock();
        state.wall += by;
        state.monotonic += by;
    }

    /// Sets the wall clock alone, as an administrator or NTP would.
    pub fn set_wall(&self, now: Timestamp) {
        self.lock().wall = now;
    }

    /// Boots the machine anew after it was off for `off`.
    pub fn reboot(&self, off: Duration) {
        let mut state = self.lock();
        state.wall += off;
        state.monotonic = Duration::ZERO;
        state.boot.push('+');
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Moment> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn boot(&self) -> String {
        self.lock().boot.clone()
    }
}
