//! What to practise next: what is due or was never tried, by the weight of its domain and how often it failed. Says of
//! each why.

use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Exercise, ScenarioProgress, domain_in};
use crate::curriculum::{DomainId, Track};

/// What was done so shortly before is not practised again, unless nothing else is left.
const REST: Duration = Duration::from_secs(12 * 3600);

/// A scenario that is worth practising.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Suggestion {
    /// Its id.
    pub scenario: String,
    /// Its title.
    pub title: String,
    /// Its topic.
    pub topic: String,
    /// Its domain.
    pub domain: String,
    /// How many minutes it is meant to take.
    pub minutes: u32,
    /// How useful it is; only compares with others of the same day.
    pub urgency: f64,
    /// When it is or was due; none where it was never tried.
    #[schemars(with = "Option<String>")]
    pub due: Option<Timestamp>,
    /// Why.
    pub reason: String,
}

/// Orders all that there is to practise in a track, the most useful first. Topics alternate.
pub(super) fn suggest(
    track: &Track,
    exercises: &[Exercise],
    scenarios: &[ScenarioProgress],
    now: Timestamp,
) -> Vec<Suggestion> {
    let mut left: Vec<Suggestion> = exercises
        .iter()
        .filter_map(|exercise| {
            let domain = domain_in(&exercise.topic, track)?;
            let known = scenarios.iter().find(|known| known.scenario == exercise.scenario);
            Some(suggestion(track, exercise, domain, known, now))
        })
        .collect();
    let mut ordered: Vec<Suggestion> = Vec::with_capacity(left.len());
    let mut taken: std::collections::BTreeMap<String, i32> = std::collections::BTreeMap::new();
    while !left.is_empty() {
        let worth = |suggestion: &Suggestion| {
            let before = taken.get(&suggestion.topic).copied().unwrap_or(0);
            suggestion.urgency * 0.7_f64.powi(before)
        };
        let best = (0..left.len()).max_by(|&a, &b| {
            worth(&left[a]).total_cmp(&worth(&left[b])).then_with(|| left[b].scenario.cmp(&left[a].scenario))
        });
        let Some(best) = best else { break };
        let suggestion = left.swap_remove(best);
        *taken.entry(suggestion.topic.clone()).or_default() += 1;
        ordered.push(suggestion);
    }
    ordered
}

fn suggestion(
    track: &Track,
    exercise: &Exercise,
    domain: String,
    known: Option<&ScenarioProgress>,
    now: Timestamp,
) -> Suggestion {
    let found = track.domain(&DomainId::from(domain.as_str()));
    let weight = found.map_or(0, |domain| domain.weight);
    let title = found.map_or(domain.as_str(), |domain| domain.title.as_str());
    let (need, reason) = match known {
        // Of two that were never tried the one that asks for less comes first.
        None => (
            0.9 - 0.05 * f64::from(exercise.depth),
            format!("never tried; {title} is {weight}\u{a0}% of the exam"),
        ),
        Some(known) => need(known, now),
    };
    let boost = 1.0 + 0.5 * known.map_or(0, |known| known.failures.min(2)) as f64;
    Suggestion {
        scenario: exercise.scenario.clone(),
        title: exercise.title.clone(),
        topic: exercise.topic.clone(),
        domain,
        minutes: exercise.minutes,
        urgency: (f64::from(weight) * need * boost * 100.0).round() / 100.0,
        due: known.and_then(|known| known.due),
        reason,
    }
}

fn need(known: &ScenarioProgress, now: Timestamp) -> (f64, String) {
    let ago = ago(known.last_tried, now);
    let rests = now.duration_since(known.last_tried).unsigned_abs() < REST;
    let due = known.due.is_none_or(|due| due <= now);
    let need = 1.0 - known.mastery / 100.0;
    match (known.failures, due) {
        (0, true) => (need + 0.1, format!("due again; last passed {ago}")),
        (0, false) => {
            let again = known.due.map_or(String::new(), |due| format!(", due again {}", within(now, due)));
            (need * 0.25, format!("passed {ago}{again}"))
        }
        (failures, _) => {
            let times =
                if failures > 1 { format!("failed {failures} times in a row") } else { "failed".to_owned() };
            let worth = if rests { need * 0.5 } else { need + 0.1 };
            (worth, format!("{times}, the last time {ago} with {:.0}\u{a0}%", share(known)))
        }
    }
}

fn share(known: &ScenarioProgress) -> f64 {
    f64::from(known.last.score) / f64::from(known.last.max.max(1)) * 100.0
}

/// Says how long ago a time is.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    match now.duration_since(at).as_hours() {
        hours if hours < 1 => "just now".to_owned(),
        1 => "an hour ago".to_owned(),
        hours if hours < 24 => format!("{hours} hours ago"),
        hours if hours < 48 => "a day ago".to_owned(),
        hours => format!("{} days ago", hours / 24),
    }
}

/// Says in how long a time is.
pub(crate) fn within(now: Timestamp, at: Timestamp) -> String {
    match at.duration_since(now).as_hours() {
        hours if hours < 24 => "within a day".to_owned(),
        hours if hours < 48 => "in a day".to_owned(),
        hours => format!("in {} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use crate::progress::tests::{all_of, attempt, day, exercises, progress};

    #[test]
    fn who_has_done_nothing_starts_with_what_weighs_most_and_asks_least() {
        let next = progress(&[], 0).next;
        assert_eq!(next.len(), exercises().len());
        assert!(
            next[0].reason.starts_with("never tried; ") && next[0].reason.contains("20\u{a0}%"),
            "{next:#?}"
        );
        let topics: Vec<&str> = next.iter().take(3).map(|suggestion| suggestion.topic.as_str()).collect();
        assert!(topics[0] != topics[1] && topics[1] != topics[2], "topics alternate: {topics:?}");
    }

    #[test]
    fn what_failed_comes_before_what_was_never_tried_and_that_before_what_is_fresh() {
        let all = exercises();
        // The first two are of one domain and ask for the same.
        let (failed, fresh) = (&all[0].scenario, &all[1].scenario);
        let next = progress(&[attempt(failed, 0, 2), attempt(fresh, 0, 7)], 1).next;
        let place =
            |scenario: &str| next.iter().position(|suggestion| suggestion.scenario == scenario).unwrap();
        assert_eq!(place(failed), 0, "{next:#?}");
        assert_eq!(place(fresh), next.len() - 1, "{next:#?}");
        assert!(
            next[0].reason.contains("failed, the last time a day ago with 29\u{a0}%"),
            "{}",
            next[0].reason
        );
        let twice = progress(&[attempt(failed, 0, 2), attempt(failed, 1, 2)], 2).next;
        assert!(twice[0].reason.contains("failed 2 times in a row") && twice[0].urgency > next[0].urgency);
    }

    #[test]
    fn what_was_passed_comes_back_when_it_is_due() {
        let all = all_of(0, 7);
        let fresh = progress(&all, 1);
        let due = fresh.next[0].due.unwrap();
        assert!(
            fresh.next.iter().all(|suggestion| suggestion.reason.contains("passed a day ago, due again in"))
        );
        assert!(due > day(1));
        let later = progress(&all, 60);
        assert!(
            later.next[0].reason.starts_with("due again; last passed 60 days ago"),
            "{:?}",
            later.next[0]
        );
        assert!(later.next[0].urgency > fresh.next[0].urgency);
    }

    #[test]
    fn what_just_failed_may_rest_a_little() {
        let all = exercises();
        let mut just = attempt(&all[0].scenario, 0, 2);
        just.submitted = day(0);
        let next = progress(&[just], 0).next;
        assert_ne!(next[0].scenario, all[0].scenario);
    }
}
