//! Outcomes and what they are worth make a score. Pure: knows no cluster, no clock, no session.

use serde::{Deserialize, Serialize};

use crate::check::{Outcome, Verdict};
use crate::scenario::{CheckId, CheckItem, GateCost, Points, Role};

/// How a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// Every check that could be asked passed, and at least one of them earns points.
    Passed,
    /// A check failed or a gate is broken.
    Failed,
    /// Nothing failed, but something could not be judged, or nothing that earns points was asked.
    Undecided,
}

/// What one check brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Graded {
    /// The check.
    pub id: CheckId,
    /// What it is worth here: nothing for gates and for checks that were skipped.
    pub points: Points,
    /// What it brought; nothing when a gate that costs everything is broken.
    pub awarded: Points,
}

/// The score of a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Score {
    /// What is earned for certain: what could not be judged earns nothing, and a gate that could not be judged costs
    /// what it would when broken.
    pub awarded: Points,
    /// What could be earned here; checks that were skipped are not counted.
    pub max: Points,
    /// What broken gates took away, beside those that took everything.
    pub lost: Points,
    /// How the task stands.
    pub standing: Standing,
    /// The checks in the scenario's order.
    pub checks: Vec<Graded>,
    /// The gates that are broken.
    pub broken: Vec<CheckId>,
    /// The checks that could not be judged.
    pub undecided: Vec<CheckId>,
    /// The checks that were not asked, since the cluster lacks what they need.
    pub skipped: Vec<CheckId>,
}

/// Grades the outcomes of a scenario's checks, which are in the same order.
pub fn grade(checks: &[CheckItem], outcomes: &[Outcome]) -> Score {
    let mut score = Score {
        awarded: Points::default(),
        max: Points::default(),
        lost: Points::default(),
        standing: Standing::Passed,
        checks: Vec::with_capacity(checks.len()),
        broken: Vec::new(),
        undecided: Vec::new(),
        skipped: Vec::new(),
    };
    let mut everything_lost = false;
    let mut failed = false;
    for (check, outcome) in checks.iter().zip(outcomes) {
        let mut graded = Graded { id: check.id.clone(), points: check.points(), awarded: Points::default() };
        match outcome {
            Outcome::Judged(Verdict::Pass) => graded.awarded = graded.points,
            Outcome::Judged(Verdict::Fail(_)) => failed = true,
            Outcome::Skipped { .. } => {
                graded.points = Points::default();
                score.skipped.push(check.id.clone());
            }
            Outcome::Errored(_) => score.undecided.push(check.id.clone()),
        }
        let holds = matches!(outcome, Outcome::Judged(Verdict::Pass) | Outcome::Skipped { .. });
        if let (Role::Gate(cost), false) = (check.role, holds) {
            if matches!(outcome, Outcome::Judged(_)) {
                score.broken.push(check.id.clone());
            }
            match cost {
                GateCost::Everything => everything_lost = true,
                GateCost::Points(points) => score.lost = score.lost + points,
            }
        }
        score.max = score.max + graded.points;
        score.checks.push(graded);
    }
    // What was not run has no outcome; taking it for undecided keeps it from passing.
    score.undecided.extend(checks.iter().skip(outcomes.len()).map(|check| check.id.clone()));
    if everything_lost {
        score.checks.iter_mut().for_each(|graded| graded.awarded = Points::default());
    }
    score.awarded = score.checks.iter().map(|graded| graded.awarded).sum::<Points>() - score.lost;
    if failed {
        score.standing = Standing::Failed;
    } else if !score.undecided.is_empty() || score.max == Points::default() {
        score.standing = Standing::Undecided;
    }
    score
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::{CheckError, CheckKind, Finding, Resource};
    use crate::cluster::Capability;

    fn item(id: &str, role: Role) -> CheckItem {
        CheckItem {
            id: id.into(),
            role,
            describe: String::new(),
            why: String::new(),
            read: Vec::new(),
            assert: CheckKind::Resource(Resource::default()),
            deadline: Duration::from_secs(1),
        }
    }

    fn items() -> Vec<CheckItem> {
        vec![
            item("closed", Role::Scored(Points(3))),
            item("narrow", Role::Scored(Points(4))),
            item("alive", Role::Gate(GateCost::Everything)),
            item("tidy", Role::Gate(GateCost::Points(Points(2)))),
        ]
    }

    fn pass() -> Outcome {
        Outcome::Judged(Verdict::Pass)
    }

    fn fail() -> Outcome {
        Outcome::Judged(Verdict::Fail(vec![Finding::new("Pod a/b", "spec", "this", "that")]))
    }

    fn errored() -> Outcome {
        Outcome::Errored(CheckError::Api("connection refused".into()))
    }

    fn skipped() -> Outcome {
        Outcome::Skipped { missing: Capability::Nodes }
    }

    fn graded(outcomes: [Outcome; 4]) -> Score {
        grade(&items(), &outcomes)
    }

    #[test]
    fn all_that_passes_is_awarded() {
        let score = graded([pass(), pass(), pass(), pass()]);
        assert_eq!((score.awarded, score.max, score.standing), (Points(7), Points(7), Standing::Passed));
    }

    #[test]
    fn credit_is_partial() {
        let score = graded([pass(), fail(), pass(), pass()]);
        assert_eq!((score.awarded, score.max, score.standing), (Points(3), Points(7), Standing::Failed));
    }

    #[test]
    fn a_broken_gate_leaves_nothing() {
        let score = graded([pass(), pass(), fail(), pass()]);
        assert_eq!((score.awarded, score.max, score.standing), (Points(0), Points(7), Standing::Failed));
        assert_eq!(score.broken, ["alive".into()]);
        assert!(score.checks.iter().all(|graded| graded.awarded == Points(0)));
    }

    #[test]
    fn a_broken_gate_with_a_cost_takes_that_much_and_never_more_than_there_is() {
        let score = graded([pass(), fail(), pass(), fail()]);
        assert_eq!((score.awarded, score.lost, score.standing), (Points(1), Points(2), Standing::Failed));
        assert_eq!(graded([fail(), fail(), pass(), fail()]).awarded, Points(0));
    }

    #[test]
    fn what_is_skipped_does_not_count_at_all() {
        let score = graded([pass(), skipped(), pass(), skipped()]);
        assert_eq!((score.awarded, score.max, score.standing), (Points(3), Points(3), Standing::Passed));
        assert_eq!(score.skipped, ["narrow".into(), "tidy".into()]);
    }

    #[test]
    fn what_cannot_be_judged_neither_passes_nor_fails() {
        let score = graded([pass(), errored(), pass(), pass()]);
        assert_eq!((score.awarded, score.max, score.standing), (Points(3), Points(7), Standing::Undecided));
        assert_eq!(score.undecided, ["narrow".into()]);
        assert_eq!(graded([fail(), errored(), pass(), pass()]).standing, Standing::Failed);
    }

    #[test]
    fn a_gate_that_cannot_be_judged_lets_nothing_be_certain() {
        let score = graded([pass(), pass(), errored(), pass()]);
        assert_eq!((score.awarded, score.standing), (Points(0), Standing::Undecided));
        assert!(score.broken.is_empty());
        let score = graded([pass(), pass(), pass(), errored()]);
        assert_eq!((score.awarded, score.lost, score.standing), (Points(5), Points(2), Standing::Undecided));
    }

    #[test]
    fn nothing_asked_is_not_passed() {
        let score = graded([skipped(), skipped(), pass(), pass()]);
        assert_eq!((score.max, score.standing), (Points(0), Standing::Undecided));
        let score = grade(&items(), &[pass(), pass()]);
        assert_eq!(score.standing, Standing::Undecided);
    }
}
