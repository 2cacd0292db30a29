//! What an exam comes to: percent by task weight and partial credit, by domain, against the pass mark. What could not
//! be judged is listed apart and never counted as wrong in silence.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A graded task, as far as the score needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Graded {
    /// The domain that it counts for.
    pub domain: String,
    /// Its share of the exam in percent.
    pub weight: u32,
    /// The points that were earned.
    pub awarded: u32,
    /// The points that could be earned; 0 when all of its checks were skipped.
    pub max: u32,
    /// Points of checks that could not be judged.
    pub undecided: u32,
}

/// What a domain comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DomainScore {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its share of the curriculum in percent.
    pub weight: u32,
    /// How many tasks it had.
    pub tasks: usize,
    /// The share of this exam that its tasks had, in percent.
    pub share: u32,
    /// What was earned of that, in percent of the domain.
    pub score: f64,
}

/// What an exam comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExamScore {
    /// Percent of what could be earned, to two decimal places.
    pub score: f64,
    /// Percent that is needed.
    pub pass_mark: u32,
    /// Whether it was reached.
    pub passed: bool,
    /// Percent that hang on checks which could not be judged; they count as not earned until they are.
    pub undecided: f64,
    /// The domains in the curriculum's order.
    pub domains: Vec<DomainScore>,
}

/// Adds up an exam. `domains` are id, title and weight in the curriculum's order.
pub fn score(tasks: &[Graded], domains: &[(String, String, u32)], pass_mark: u32) -> ExamScore {
    let mut of: BTreeMap<&str, Sum> = BTreeMap::new();
    let mut all = Sum::default();
    for task in tasks {
        all.add(task);
        of.entry(&task.domain).or_default().add(task);
    }
    let domains = domains.iter().map(|(id, title, weight)| {
        let sum = of.get(id.as_str()).copied().unwrap_or_default();
        DomainScore {
            id: id.clone(),
            title: title.clone(),
            weight: *weight,
            tasks: sum.tasks,
            share: sum.share,
            score: sum.percent(sum.earned),
        }
    });
    let reached = all.percent(all.earned);
    ExamScore {
        score: reached,
        pass_mark,
        passed: all.counted > 0 && reached >= f64::from(pass_mark),
        undecided: all.percent(all.undecided),
        domains: domains.collect(),
    }
}

/// Sums of weights; `counted` leaves out tasks that were skipped whole.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    tasks: usize,
    share: u32,
    counted: u32,
    earned: f64,
    undecided: f64,
}

impl Sum {
    fn add(&mut self, task: &Graded) {
        self.tasks += 1;
        self.share += task.weight;
        if task.max == 0 {
            return;
        }
        self.counted += task.weight;
        let part = |points: u32| f64::from(task.weight) * f64::from(points) / f64::from(task.max);
        self.earned += part(task.awarded);
        self.undecided += part(task.undecided.min(task.max - task.awarded.min(task.max)));
    }

    fn percent(&self, part: f64) -> f64 {
        match self.counted {
            0 => 0.0,
            counted => (part / f64::from(counted) * 10_000.0).round() / 100.0,
        }
    }
}
