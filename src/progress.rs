//! What attempts over time say: how well each scenario, topic and domain is mastered now, how ready that is for the
//! exam, and what to practise next. Pure: is told the attempts, the scenarios, the track and the time.

pub mod html;
pub mod memory;
pub mod next;
pub mod readiness;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::curriculum::{Curriculum, TopicId, Track};
use crate::history::{Attempt, Best};
use crate::session::{Mode, SessionId};

pub use next::Suggestion;
pub use readiness::Readiness;

/// A scenario that there is to practise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exercise {
    /// Its id.
    pub scenario: String,
    /// Its title.
    pub title: String,
    /// The topic that it trains.
    pub topic: String,
    /// How many minutes it is meant to take.
    pub minutes: u32,
    /// How much it asks for: 0 for the least.
    pub depth: u8,
}

/// All of it: what `progress --output json` gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The curriculum's track that it is held against.
    pub track: String,
    /// When it was looked at.
    #[schemars(with = "String")]
    pub now: Timestamp,
    /// The attempts, oldest first.
    pub attempts: Vec<Tried>,
    /// The domains of the track.
    pub domains: Vec<DomainProgress>,
    /// The scenarios that were tried, the last one first.
    pub scenarios: Vec<ScenarioProgress>,
    /// How ready that is for the exam.
    pub readiness: Readiness,
    /// What to practise next, the most useful first.
    pub next: Vec<Suggestion>,
}

/// An attempt in a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// The session.
    pub session: SessionId,
    /// The scenario; none for an exam, which is one attempt.
    pub scenario: Option<String>,
    /// What the session was for.
    pub mode: Mode,
    /// When it was submitted.
    #[schemars(with = "String")]
    pub submitted: Timestamp,
    /// Percent of the points that were earned.
    pub score: f64,
    /// Whether everything passed, in time. An exam may be passed without.
    pub passed: bool,
}

/// How a domain stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainProgress {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its share of the exam in percent.
    pub weight: u32,
    /// How many scenarios there are.
    pub scenarios: usize,
    /// How many of them were tried.
    pub tried: usize,
    /// Percent that are mastered now: the mean over its scenarios, 0 for those that were not tried.
    pub mastery: f64,
    /// Its topics.
    pub topics: Vec<TopicProgress>,
}

/// How a topic stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicProgress {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// How many scenarios there are.
    pub scenarios: usize,
    /// How many of them were tried.
    pub tried: usize,
    /// Percent that are mastered now.
    pub mastery: f64,
}

/// How a scenario stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScenarioProgress {
    /// Its id.
    pub scenario: String,
    /// Its title; its id where the scenario is not there any more.
    pub title: String,
    /// Its topic.
    pub topic: String,
    /// Its domain in the track; empty where the track has none for it.
    pub domain: String,
    /// How often it was tried.
    pub attempts: usize,
    /// The best attempt.
    pub best: Best,
    /// The last attempt.
    pub last: Best,
    /// When that was.
    #[schemars(with = "String")]
    pub last_tried: Timestamp,
    /// Percent that are mastered now: what the last attempt earned, times how likely it is still known.
    pub mastery: f64,
    /// When it is to be practised again; none where no attempt could be judged.
    #[schemars(with = "Option<String>")]
    pub due: Option<Timestamp>,
    /// How many of the last attempts in a row did not pass.
    pub failures: usize,
}

impl Progress {
    /// Makes it of all attempts, oldest first.
    pub fn new(attempts: &[Attempt], exercises: &[Exercise], track: &Track, now: Timestamp) -> Self {
        let mut of: BTreeMap<&str, Vec<&Attempt>> = BTreeMap::new();
        for attempt in attempts {
            of.entry(&attempt.scenario).or_default().push(attempt);
        }
        let mut scenarios: Vec<ScenarioProgress> =
            of.values().filter_map(|attempts| scenario(attempts, exercises, track, now)).collect();
        scenarios.sort_by(|a, b| b.last_tried.cmp(&a.last_tried).then_with(|| a.scenario.cmp(&b.scenario)));
        let domains: Vec<DomainProgress> =
            track.domains.iter().map(|domain| of_domain(domain, exercises, &scenarios, track)).collect();
        Self {
            track: track.id.to_string(),
            now,
            attempts: tried(attempts),
            readiness: Readiness::new(track, &domains, exercises, &scenarios),
            next: next::suggest(track, exercises, &scenarios, now),
            domains,
            scenarios,
        }
    }
}

/// Finds the domain of a topic in a track.
pub(crate) fn domain_in(topic: &str, track: &Track) -> Option<String> {
    let places = Curriculum::builtin().places_in(&TopicId::from(topic), track);
    places.first().map(|place| place.domain.id.to_string())
}

fn scenario(
    attempts: &[&Attempt],
    exercises: &[Exercise],
    track: &Track,
    now: Timestamp,
) -> Option<ScenarioProgress> {
    let last = attempts.last()?;
    let exercise = exercises.iter().find(|exercise| exercise.scenario == last.scenario);
    let topic = exercise.map_or(&last.topic, |exercise| &exercise.topic);
    let judged: Vec<&Attempt> = attempts.iter().copied().filter(|attempt| attempt.is_judged()).collect();
    let memory = memory::Memory::of(&judged);
    let share = judged.last().and_then(|attempt| attempt.share()).unwrap_or(0.0);
    let failed = |attempt: &&&Attempt| !attempt.passed;
    Some(ScenarioProgress {
        scenario: last.scenario.clone(),
        title: exercise.map_or_else(|| last.scenario.clone(), |exercise| exercise.title.clone()),
        topic: topic.clone(),
        domain: domain_in(topic, track).unwrap_or_default(),
        attempts: attempts.len(),
        best: attempts.iter().map(|attempt| Best::from(*attempt)).reduce(Best::better)?,
        last: Best::from(*last),
        last_tried: last.submitted,
        mastery: percent(share * memory.as_ref().map_or(0.0, |memory| memory.recall(now))),
        due: memory.as_ref().map(memory::Memory::due),
        failures: judged.iter().rev().take_while(failed).count(),
    })
}

fn of_domain(
    domain: &crate::curriculum::Domain,
    exercises: &[Exercise],
    scenarios: &[ScenarioProgress],
    track: &Track,
) -> DomainProgress {
    let places = |exercise: &Exercise| {
        Curriculum::builtin().places_in(&TopicId::from(exercise.topic.as_str()), track).first().copied()
    };
    let stand = |of: &[&Exercise]| {
        let known: Vec<&ScenarioProgress> = of
            .iter()
            .filter_map(|exercise| scenarios.iter().find(|known| known.scenario == exercise.scenario))
            .collect();
        let sum: f64 = known.iter().map(|known| known.mastery).sum();
        (known.len(), if of.is_empty() { 0.0 } else { rounded(sum / of.len() as f64) })
    };
    let here: Vec<&Exercise> = exercises
        .iter()
        .filter(|exercise| places(exercise).is_some_and(|place| place.domain.id == domain.id))
        .collect();
    let topics = domain.topics.iter().map(|topic| {
        let of: Vec<&Exercise> = here
            .iter()
            .copied()
            .filter(|exercise| places(exercise).is_some_and(|place| place.topic.id == topic.id))
            .collect();
        let (tried, mastery) = stand(&of);
        TopicProgress {
            id: topic.id.to_string(),
            title: topic.title.clone(),
            scenarios: of.len(),
            tried,
            mastery,
        }
    });
    let (tried, mastery) = stand(&here);
    DomainProgress {
        id: domain.id.to_string(),
        title: domain.title.clone(),
        weight: domain.weight,
        scenarios: here.len(),
        tried,
        mastery,
        topics: topics.collect(),
    }
}

/// Puts the tasks of an exam together to one attempt.
fn tried(attempts: &[Attempt]) -> Vec<Tried> {
    let mut tried: Vec<(Tried, u32, u32)> = Vec::new();
    for attempt in attempts {
        let exam = attempt.mode == Mode::Exam;
        match tried.iter_mut().find(|(known, ..)| exam && known.session == attempt.session) {
            Some((known, score, max)) => {
                (*score, *max) = (*score + attempt.score, *max + attempt.max);
                known.passed &= attempt.passed;
            }
            None => tried.push((
                Tried {
                    session: attempt.session.clone(),
                    scenario: (!exam).then(|| attempt.scenario.clone()),
                    mode: attempt.mode,
                    submitted: attempt.submitted,
                    score: 0.0,
                    passed: attempt.passed && !attempt.late,
                },
                attempt.score,
                attempt.max,
            )),
        }
    }
    let with_score = |(tried, score, max): (Tried, u32, u32)| Tried {
        score: percent(f64::from(score) / f64::from(max.max(1))),
        ..tried
    };
    tried.into_iter().map(with_score).collect()
}

fn percent(share: f64) -> f64 {
    rounded(share * 100.0)
}

fn rounded(percent: f64) -> f64 {
    // The sum of nothing is a zero with a sign.
    (percent * 10.0).round() / 10.0 + 0.0
}

#[cfg(test)]
pub(crate) mod tests;
