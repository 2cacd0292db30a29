//! How long what was done in a scenario stays known: the FSRS memory model over its attempts. Each attempt is taken as
//! an answer; knows nothing of domains and what is worth practising.

use std::time::Duration;

use jiff::Timestamp;
use rs_fsrs::{Parameters, Rating};

use crate::history::Attempt;

/// Attempts that are closer together are of one sitting, where nothing is forgotten in between.
const SITTING_DAYS: f64 = 0.5;
const DAY: f64 = 86_400.0;

/// What is remembered of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// In how many days the chance to know it falls to 90 %.
    stability: f64,
    /// From 1 to 10.
    difficulty: f64,
    last: Timestamp,
}

impl Memory {
    /// Makes it of the attempts of one scenario, oldest first; none where there is none.
    pub fn of(attempts: &[&Attempt]) -> Option<Self> {
        let model = Parameters::default();
        attempts.iter().fold(None, |memory: Option<Self>, attempt| {
            Some(match memory {
                None => Self::first(&model, attempt),
                Some(memory) => memory.after(&model, attempt),
            })
        })
    }

    /// Returns the chance that it is still known, from 0 to 1.
    pub fn recall(&self, now: Timestamp) -> f64 {
        Parameters::forgetting_curve(days(self.last, now), self.stability).clamp(0.0, 1.0)
    }

    /// Returns when that chance falls to 90 %.
    pub fn due(&self) -> Timestamp {
        let interval = Parameters::default().next_interval(self.stability, 0).min(3650.0);
        self.last.saturating_add(Duration::from_secs_f64(interval * DAY)).unwrap_or(Timestamp::MAX)
    }

    fn first(model: &Parameters, attempt: &Attempt) -> Self {
        let rating = rating(attempt);
        Self {
            stability: model.init_stability(rating),
            difficulty: model.init_difficulty(rating),
            last: attempt.submitted,
        }
    }

    fn after(self, model: &Parameters, attempt: &Attempt) -> Self {
        let rating = rating(attempt);
        let elapsed = days(self.last, attempt.submitted);
        let recall = Parameters::forgetting_curve(elapsed, self.stability);
        let stability = match rating {
            _ if elapsed < SITTING_DAYS => model.short_term_stability(self.stability, rating),
            Rating::Again => {
                model.next_forget_stability(self.difficulty, self.stability, recall).min(self.stability)
            }
            _ => model.next_recall_stability(self.difficulty, self.stability, recall, rating),
        };
        Self {
            stability: stability.max(0.1),
            difficulty: model.next_difficulty(self.difficulty, rating),
            last: attempt.submitted,
        }
    }
}

/// Takes an attempt as an answer: not passed is forgotten; with help or too late is hard; in half the time is easy.
fn rating(attempt: &Attempt) -> Rating {
    let complete = attempt.max > 0 && attempt.score == attempt.max;
    let quick = attempt.minutes > 0 && attempt.elapsed_seconds <= u64::from(attempt.minutes) * 30;
    match (attempt.passed && !attempt.late, attempt.hints) {
        (false, _) if complete => Rating::Hard,
        (false, _) => Rating::Again,
        (true, 0) if quick => Rating::Easy,
        (true, 0) => Rating::Good,
        (true, _) => Rating::Hard,
    }
}

/// Returns the days between two times; a clock that went back counts as none.
fn days(from: Timestamp, to: Timestamp) -> f64 {
    (to.duration_since(from).as_secs_f64() / DAY).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::tests::{attempt, day};

    fn memory(attempts: &[Attempt]) -> Memory {
        Memory::of(&attempts.iter().collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn what_was_passed_is_known_and_fades() {
        let memory = memory(&[attempt("a", 0, 7)]);
        assert!(memory.recall(day(0)) > 0.999);
        let recalls: Vec<f64> = [1, 10, 100, 1000].map(|at| memory.recall(day(at))).into();
        assert!(recalls.is_sorted_by(|a, b| a > b) && recalls[3] > 0.0, "{recalls:?}");
        assert!((memory.recall(memory.due()) - 0.9).abs() < 0.03, "due is where 9 of 10 still know it");
    }

    #[test]
    fn each_pass_after_a_while_lasts_longer_and_a_failure_shortens() {
        let once = memory(&[attempt("a", 0, 7)]);
        let twice = memory(&[attempt("a", 0, 7), attempt("a", 4, 7)]);
        assert!(twice.stability > once.stability * 1.5);
        let lost = memory(&[attempt("a", 0, 7), attempt("a", 4, 7), attempt("a", 9, 2)]);
        assert!(lost.stability < twice.stability / 2.0 && lost.difficulty > twice.difficulty);
        assert!(lost.due() < day(9) + Duration::from_secs(3 * 86_400));
    }

    #[test]
    fn help_and_lateness_count_for_less_and_haste_for_more() {
        let plain = memory(&[attempt("a", 0, 7)]).stability;
        let with = |change: fn(&mut Attempt)| {
            let mut attempt = attempt("a", 0, 7);
            change(&mut attempt);
            memory(&[attempt]).stability
        };
        assert!(with(|attempt| attempt.hints = 1) < plain);
        assert!(with(|attempt| attempt.elapsed_seconds = 60) > plain);
        let late = with(|attempt| (attempt.late, attempt.passed) = (true, false));
        assert!(late < plain && late > memory(&[attempt("a", 0, 2)]).stability);
    }

    #[test]
    fn a_second_try_in_one_sitting_is_not_taken_for_long_memory() {
        let hour = |at: i64| day(0) + Duration::from_secs(3600 * u64::try_from(at).unwrap());
        let mut again = attempt("a", 0, 7);
        again.submitted = hour(1);
        let soon = memory(&[attempt("a", 0, 2), again]);
        let later = memory(&[attempt("a", 0, 2), attempt("a", 4, 7)]);
        assert!(soon.stability < later.stability);
    }

    #[test]
    fn a_clock_that_went_back_harms_nothing() {
        let memory = memory(&[attempt("a", 9, 7), attempt("a", 3, 7)]);
        assert!(memory.stability.is_finite() && memory.recall(day(0)) <= 1.0);
    }
}
