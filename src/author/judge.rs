//! Holds what checks came to against what a proof says they must. Pure.

use std::collections::BTreeSet;

use crate::check::{Finding, Outcome, Verdict};
use crate::grade::grade;
use crate::scenario::{CheckId, Scenario};
use crate::verify::Verified;

/// What checks came to, and the words for it.
pub(super) struct Judged<'a> {
    scenario: &'a Scenario,
    verified: Vec<Verified>,
    earned: BTreeSet<CheckId>,
    broken: BTreeSet<CheckId>,
}

impl<'a> Judged<'a> {
    pub(super) fn new(scenario: &'a Scenario, verified: Vec<Verified>) -> Self {
        let (ids, outcomes): (Vec<CheckId>, Vec<Outcome>) =
            verified.into_iter().map(|verified| (verified.id, verified.outcome)).unzip();
        let score = grade(&scenario.checks, &outcomes);
        let earned = score.checks.iter().filter(|graded| graded.awarded.0 > 0);
        Self {
            scenario,
            earned: earned.map(|graded| graded.id.clone()).collect(),
            broken: score.broken.iter().cloned().collect(),
            verified: ids
                .into_iter()
                .zip(outcomes)
                .map(|(id, outcome)| Verified { id, outcome, simulated: false })
                .collect(),
        }
    }

    /// Nothing is earned, and only gates pass.
    pub(super) fn untouched(&self) -> Vec<String> {
        let mut problems = self.unjudged();
        for (check, verified) in self.scenario.checks.iter().zip(&self.verified) {
            match (check.is_gate(), &verified.outcome) {
                (false, Outcome::Judged(Verdict::Pass)) => {
                    problems.push(format!("`{}` passes although nothing was done", check.id));
                }
                (true, Outcome::Judged(Verdict::Fail(findings))) => {
                    problems.push(format!(
                        "the gate `{}` is broken although nothing was done: {}",
                        check.id,
                        shown(findings)
                    ));
                }
                _ => {}
            }
        }
        problems
    }

    /// Everything is earned and no gate is broken.
    pub(super) fn right(&self) -> Vec<String> {
        let scored: BTreeSet<CheckId> = self.scored().collect();
        self.exactly(&scored, &BTreeSet::new())
    }

    /// Exactly these are earned, and exactly these gates broken.
    pub(super) fn exactly(&self, earns: &BTreeSet<CheckId>, breaks: &BTreeSet<CheckId>) -> Vec<String> {
        let mut problems = self.unjudged();
        problems.extend(self.earned.difference(earns).map(|id| format!("`{id}` is earned and must not be")));
        let missing = earns.difference(&self.earned);
        problems.extend(missing.map(|id| format!("`{id}` is not earned{}", self.because(id))));
        problems.extend(
            self.broken
                .difference(breaks)
                .map(|id| format!("the gate `{id}` is broken and must not be{}", self.because(id))),
        );
        problems.extend(breaks.difference(&self.broken).map(|id| format!("the gate `{id}` is not broken")));
        problems
    }

    /// Nothing was judged.
    pub(super) fn gone(&self) -> Vec<String> {
        self.verified
            .iter()
            .filter_map(|verified| match &verified.outcome {
                Outcome::Judged(Verdict::Pass) => {
                    Some(format!("`{}` passes although the API server is gone", verified.id))
                }
                Outcome::Judged(Verdict::Fail(findings)) => Some(format!(
                    "`{}` fails although the API server is gone: {}",
                    verified.id,
                    shown(findings)
                )),
                _ => None,
            })
            .collect()
    }

    /// The other run gave the same.
    pub(super) fn same(&self, other: &Self) -> Vec<String> {
        let pairs = self.verified.iter().zip(&other.verified);
        pairs
            .filter_map(|(one, two)| match (&one.outcome, &two.outcome) {
                (Outcome::Judged(one_verdict), Outcome::Judged(two_verdict)) => (one_verdict != two_verdict)
                    .then(|| {
                        format!(
                            "`{}` gives first {}, then {}",
                            one.id,
                            verdict(one_verdict),
                            verdict(two_verdict)
                        )
                    }),
                (Outcome::Skipped { .. }, Outcome::Skipped { .. }) => None,
                _ => Some(format!("`{}` cannot be judged twice", one.id)),
            })
            .collect()
    }

    fn scored(&self) -> impl Iterator<Item = CheckId> {
        self.scenario.checks.iter().filter(|check| !check.is_gate()).map(|check| check.id.clone())
    }

    fn unjudged(&self) -> Vec<String> {
        self.verified
            .iter()
            .filter_map(|verified| match &verified.outcome {
                Outcome::Judged(_) => None,
                Outcome::Errored(error) => Some(format!("`{}` cannot be judged: {error}", verified.id)),
                Outcome::Skipped { missing } => {
                    Some(format!("`{}` is skipped: the cluster has no {missing:?}", verified.id))
                }
            })
            .collect()
    }

    fn because(&self, id: &CheckId) -> String {
        match self.verified.iter().find(|verified| verified.id == *id).map(|verified| &verified.outcome) {
            Some(Outcome::Judged(Verdict::Fail(findings))) => format!(": {}", shown(findings)),
            _ => String::new(),
        }
    }
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Pass => "a pass".to_owned(),
        Verdict::Fail(findings) => format!("a fail ({})", shown(findings)),
    }
}

fn shown(findings: &[Finding]) -> String {
    const MOST: usize = 3;
    let mut texts: Vec<String> = findings
        .iter()
        .take(MOST)
        .map(|finding| {
            let Finding { object, path, expected, actual } = finding;
            format!("{object} {path}: expected {expected}, found {actual}")
        })
        .collect();
    if findings.len() > MOST {
        texts.push(format!("and {} more", findings.len() - MOST));
    }
    texts.join("; ")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::check::CheckError;
    use crate::scenario::Variant;
    use crate::scenario::catalog::Catalog;

    fn base() -> Scenario {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scenarios/valid/base");
        Catalog::open(&dir).unwrap().load("base", Variant(0)).unwrap()
    }

    fn pass() -> Outcome {
        Outcome::Judged(Verdict::Pass)
    }

    fn fail() -> Outcome {
        Outcome::Judged(Verdict::Fail(vec![Finding::new("Pod a/b", "spec", "this", "that")]))
    }

    fn errored() -> Outcome {
        Outcome::Errored(CheckError::NoBaseline)
    }

    /// The outcomes of `closed`, which is scored, and of the gate `open`.
    fn judged(scenario: &Scenario, closed: Outcome, open: Outcome) -> Judged<'_> {
        let verified = scenario.checks.iter().zip([closed, open]).map(|(check, outcome)| Verified {
            id: check.id.clone(),
            outcome,
            simulated: false,
        });
        Judged::new(scenario, verified.collect())
    }

    fn set(ids: &[&str]) -> BTreeSet<CheckId> {
        ids.iter().map(|id| CheckId::from(*id)).collect()
    }

    #[test]
    fn untouched_means_gates_alone() {
        let scenario = base();
        assert!(judged(&scenario, fail(), pass()).untouched().is_empty());
        assert_eq!(
            judged(&scenario, pass(), pass()).untouched(),
            ["`closed` passes although nothing was done"]
        );
        assert_eq!(judged(&scenario, fail(), fail()).untouched().len(), 1);
        assert_eq!(judged(&scenario, errored(), pass()).untouched().len(), 1);
        // Even when a broken gate takes the points away, a check that passes untouched proves nothing.
        assert_eq!(judged(&scenario, pass(), fail()).untouched().len(), 2);
    }

    #[test]
    fn right_means_everything() {
        let scenario = base();
        assert!(judged(&scenario, pass(), pass()).right().is_empty());
        assert_eq!(
            judged(&scenario, fail(), pass()).right(),
            ["`closed` is not earned: Pod a/b spec: expected this, found that"]
        );
        assert!(!judged(&scenario, pass(), fail()).right().is_empty());
        assert!(!judged(&scenario, errored(), pass()).right().is_empty());
        assert!(!judged(&scenario, pass(), errored()).right().is_empty());
    }

    #[test]
    fn wrong_means_exactly_what_it_says() {
        let scenario = base();
        let none = set(&[]);
        assert!(judged(&scenario, fail(), pass()).exactly(&none, &none).is_empty());
        assert!(!judged(&scenario, pass(), pass()).exactly(&none, &none).is_empty());
        assert!(judged(&scenario, pass(), fail()).exactly(&none, &set(&["open"])).is_empty());
        assert!(!judged(&scenario, pass(), fail()).exactly(&none, &none).is_empty());
        assert_eq!(
            judged(&scenario, fail(), pass()).exactly(&none, &set(&["open"])),
            ["the gate `open` is not broken"]
        );
        assert!(!judged(&scenario, pass(), fail()).exactly(&set(&["closed"]), &set(&["open"])).is_empty());
        assert!(!judged(&scenario, errored(), pass()).exactly(&none, &none).is_empty());
    }

    #[test]
    fn gone_means_nothing_is_judged() {
        let scenario = base();
        assert!(judged(&scenario, errored(), errored()).gone().is_empty());
        assert_eq!(judged(&scenario, pass(), fail()).gone().len(), 2);
    }

    #[test]
    fn the_same_means_the_same_findings() {
        let scenario = base();
        let one = judged(&scenario, fail(), pass());
        assert!(one.same(&judged(&scenario, fail(), pass())).is_empty());
        assert_eq!(one.same(&judged(&scenario, pass(), pass())).len(), 1);
        assert_eq!(one.same(&judged(&scenario, fail(), errored())).len(), 1);
        let other = Outcome::Judged(Verdict::Fail(vec![Finding::new("Pod a/c", "spec", "this", "that")]));
        assert_eq!(one.same(&judged(&scenario, other, pass())).len(), 1);
    }
}
