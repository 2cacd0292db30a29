//! How ready somebody is for the exam: what it would likely come to, how uncertain that is and why, in words.
//! An estimate from practice in this lab; it never says more than the attempts do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DomainProgress, Exercise, ScenarioProgress, domain_in};
use crate::curriculum::Track;

/// What is believed of a domain of which nothing is known: a third, as loosely as three tasks would tell.
const PRIOR: (f64, f64) = (1.0, 2.0);
/// How much one scenario tells of its domain, in tasks of the exam.
const WEIGHT: f64 = 3.0;
/// How many standard deviations hold 8 of 10 cases.
const EIGHT_OF_TEN: f64 = 1.28;

/// The estimate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Readiness {
    /// Percent that an exam would likely come to; none where nothing was tried.
    pub score: Option<f64>,
    /// In 8 of 10 cases it would come to at least that.
    pub low: Option<f64>,
    /// In 8 of 10 cases it would come to at most that.
    pub high: Option<f64>,
    /// Percent that are needed.
    pub pass_mark: u32,
    /// The chance to reach them, in percent.
    pub chance: Option<f64>,
    /// How many scenarios it rests on.
    pub scenarios: usize,
    /// How many domains those are of.
    pub domains: usize,
    /// All of it in words, with what makes it uncertain.
    pub words: String,
}

impl Readiness {
    pub(super) fn new(
        track: &Track,
        domains: &[DomainProgress],
        exercises: &[Exercise],
        scenarios: &[ScenarioProgress],
    ) -> Self {
        let pass_mark = track.exam.pass_percent;
        // Only what can be in an exam says something about it.
        let of = |domain: &str| {
            scenarios
                .iter()
                .filter(|known| {
                    let there = exercises.iter().find(|exercise| exercise.scenario == known.scenario);
                    there.is_some_and(|there| domain_in(&there.topic, track).as_deref() == Some(domain))
                })
                .collect::<Vec<_>>()
        };
        let tried = |domain: &&DomainProgress| domain.tried > 0;
        let known = domains.iter().filter(tried).map(|domain| domain.tried).sum();
        let touched = domains.iter().filter(tried).count();
        if known == 0 {
            let words = "Nothing can be said yet: no scenario was submitted. `cks-lab next` starts one that is worth it.";
            return Self {
                score: None,
                low: None,
                high: None,
                pass_mark,
                chance: None,
                scenarios: 0,
                domains: 0,
                words: words.to_owned(),
            };
        }
        let (mut mean, mut variance) = (0.0, 0.0);
        for domain in domains {
            let share = f64::from(domain.weight) / 100.0;
            let (mut yes, mut no) = PRIOR;
            for scenario in of(&domain.id) {
                yes += WEIGHT * scenario.mastery / 100.0;
                no += WEIGHT * (1.0 - scenario.mastery / 100.0);
            }
            let sum = yes + no;
            let expected = yes / sum;
            mean += share * expected;
            // What is not known of the domain, and which of its tasks are drawn.
            let unknown = yes * no / (sum * sum * (sum + 1.0));
            let tasks = (share * f64::from(track.exam.tasks.min)).max(1.0);
            variance += share * share * (unknown + expected * (1.0 - expected) / 2.0 / tasks);
        }
        let spread = variance.sqrt();
        let percent = |share: f64| (share.clamp(0.0, 1.0) * 100.0).round();
        let (score, low, high) =
            (percent(mean), percent(mean - EIGHT_OF_TEN * spread), percent(mean + EIGHT_OF_TEN * spread));
        let chance = (normal((mean - f64::from(pass_mark) / 100.0) / spread.max(1e-6)) * 100.0).round();
        let untried: Vec<&str> =
            domains.iter().filter(|domain| domain.tried == 0).map(|domain| domain.title.as_str()).collect();
        let mut words = format!(
            "An exam today would likely come to about {score}\u{a0}%: between {low}\u{a0}% and {high}\u{a0}% in 8 of 10 cases. \
             To pass at {pass_mark}\u{a0}% is {}. ",
            likelihood(chance)
        );
        let total: usize = domains.iter().map(|domain| domain.scenarios).sum();
        words.push_str(&format!(
            "That rests on {known} of {total} scenarios in {touched} of {} domains",
            domains.len()
        ));
        match untried.as_slice() {
            [] => words.push_str(". "),
            some => {
                words.push_str(&format!("; nothing is known of {}, which is taken as a third. ", join(some)))
            }
        }
        words.push_str(match known {
            0..=4 => "So few attempts say little: take it as a guess. ",
            5..=14 => "It becomes surer with every scenario that is tried. ",
            _ => "",
        });
        words.push_str("The real exam has other tasks than this lab.");
        Self {
            score: Some(score),
            low: Some(low),
            high: Some(high),
            pass_mark,
            chance: Some(chance),
            scenarios: known,
            domains: touched,
            words,
        }
    }
}

fn join(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// Puts a chance in percent into words.
fn likelihood(chance: f64) -> &'static str {
    match chance {
        chance if chance < 5.0 => "very unlikely",
        chance if chance < 25.0 => "unlikely",
        chance if chance < 45.0 => "rather unlikely",
        chance if chance < 55.0 => "as likely as not",
        chance if chance < 75.0 => "rather likely",
        chance if chance < 95.0 => "likely",
        _ => "very likely",
    }
}

/// The share of a normal distribution below so many standard deviations, to three places.
fn normal(deviations: f64) -> f64 {
    // A logistic curve of this steepness is never more than 0.01 away, far less than the estimate itself.
    1.0 / (1.0 + (-1.702 * deviations).exp())
}

#[cfg(test)]
mod tests {
    use crate::progress::tests::{all_of, attempt, exercises, progress, track};

    #[test]
    fn nothing_tried_is_nothing_said() {
        let readiness = progress(&[], 0).readiness;
        assert_eq!((readiness.score, readiness.chance), (None, None));
        assert!(readiness.words.contains("Nothing can be said yet"));
    }

    #[test]
    fn few_attempts_say_little_and_say_so() {
        let one = progress(&[attempt(&exercises()[0].scenario, 0, 7)], 0).readiness;
        let (low, high) = (one.low.unwrap(), one.high.unwrap());
        assert!(high - low > 25.0 && high < 67.0, "{one:?}");
        for words in ["So few attempts say little", "nothing is known of", "unlikely", "in 8 of 10 cases"] {
            assert!(one.words.contains(words), "{words}: {}", one.words);
        }
    }

    #[test]
    fn who_masters_everything_is_ready_and_who_fails_everything_is_not() {
        let ready = progress(&all_of(0, 7), 0).readiness;
        assert!(ready.score.unwrap() > 80.0 && ready.chance.unwrap() > 90.0, "{ready:?}");
        assert!(ready.words.contains("likely") && !ready.words.contains("nothing is known"));
        let not = progress(&all_of(0, 0), 0).readiness;
        assert!(not.high.unwrap() < f64::from(track().exam.pass_percent), "{not:?}");
        assert!(not.words.contains("is very unlikely"), "{}", not.words);
    }

    #[test]
    fn what_is_long_ago_counts_for_less() {
        let (fresh, stale) = (progress(&all_of(0, 7), 1).readiness, progress(&all_of(0, 7), 400).readiness);
        assert!(stale.score < fresh.score, "{fresh:?} {stale:?}");
    }
}
