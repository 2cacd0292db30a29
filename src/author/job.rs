//! One cluster, seeded, and what is shown on it.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use super::dead::Dead;
use super::judge::Judged;
use super::results::{Column, Proof};
use super::steps::Steps;
use crate::cluster::{Cluster, ClusterRecord, ClusterSpec, Progress, Provider};
use crate::process::Output;
use crate::scenario::{Expectation, Scenario};
use crate::seed::seed;
use crate::verify::{Baseline, verify};

/// What is shown on one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// Nothing is done: untouched, twice, and the attack before.
    Untouched,
    /// The solution: judged twice, the attack after, and judged without API server.
    Solution,
    /// An alternative.
    Right(usize),
    /// A wrong fix.
    Wrong(usize),
}

impl Job {
    /// Returns every job of a scenario.
    pub(super) fn all(scenario: &Scenario) -> Vec<Self> {
        let right = (0..scenario.proofs.right.len()).map(Self::Right);
        let wrong = (0..scenario.proofs.wrong.len()).map(Self::Wrong);
        [Self::Untouched, Self::Solution].into_iter().chain(right).chain(wrong).collect()
    }
}

/// What a job needs beside the scenario.
pub(super) struct Place<'a> {
    pub(super) provider: &'a dyn Provider,
    pub(super) spec: ClusterSpec,
    pub(super) scratch: &'a Path,
    pub(super) path: &'a OsStr,
    pub(super) timeout: Duration,
}

struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str) {}
    fn detail(&self, _: &str) {}
}

/// Runs a job on a cluster of its own and removes that.
pub(super) async fn run(job: Job, scenario: &Scenario, place: &Place<'_>) -> Vec<Proof> {
    let record = match place.provider.create(&place.spec, &Silent).await {
        Ok(record) => record,
        Err(error) => return failed(job, scenario, format!("no cluster: {}", chain(&error))),
    };
    let proofs = match place.provider.attach(&record).await {
        Ok(cluster) => on_cluster(job, scenario, place, cluster.as_ref(), &record).await,
        Err(error) => failed(job, scenario, format!("no cluster: {}", chain(&error))),
    };
    match place.provider.delete(&record).await {
        Ok(()) => proofs,
        Err(error) => add(proofs, format!("the cluster could not be removed: {}", chain(&error))),
    }
}

struct Stand<'a> {
    scenario: &'a Scenario,
    cluster: &'a dyn Cluster,
    task_dir: &'a Path,
    baseline: Baseline,
    steps: Steps,
}

async fn on_cluster(
    job: Job,
    scenario: &Scenario,
    place: &Place<'_>,
    cluster: &dyn Cluster,
    record: &ClusterRecord,
) -> Vec<Proof> {
    let task_dir = place.scratch.join("task");
    let kubeconfig = cluster.kubeconfig();
    let steps =
        match Steps::prepare(place.scratch, scenario, kubeconfig, &task_dir, place.path, place.timeout) {
            Ok(steps) => steps,
            Err(error) => return failed(job, scenario, format!("no scratch folder: {error}")),
        };
    let baseline = match seed(scenario, cluster, &place.spec.name, &task_dir, &Silent).await {
        Ok(baseline) => baseline,
        Err(error) => return failed(job, scenario, format!("the seed failed: {}", chain(&error))),
    };
    let stand = Stand { scenario, cluster, task_dir: &task_dir, baseline, steps };
    match job {
        Job::Untouched => stand.untouched().await,
        Job::Solution => stand.solution(place.provider, record).await,
        Job::Right(index) => {
            let fix = &scenario.proofs.right[index];
            let mut problems = stand.fix(&fix.run).await;
            if problems.is_empty() {
                problems = stand.judge().await.right();
            }
            vec![proof(Column::Right, &fix.describe, problems)]
        }
        Job::Wrong(index) => {
            let fix = &scenario.proofs.wrong[index];
            let mut problems = stand.fix(&fix.run).await;
            if problems.is_empty() {
                problems = stand.judge().await.exactly(&fix.earns, &fix.breaks);
            }
            vec![proof(Column::Wrong, &fix.describe, problems)]
        }
    }
}

impl<'a> Stand<'a> {
    async fn untouched(&self) -> Vec<Proof> {
        let first = self.judge().await;
        let second = self.judge().await;
        let mut proofs = vec![
            proof(Column::Untouched, "nothing is done", first.untouched()),
            proof(Column::Repeat, "nothing is done", first.same(&second)),
        ];
        if let Some(attack) = &self.scenario.attack {
            let problems = self.attack(&attack.run, &attack.before).await;
            proofs.push(proof(Column::Attack, "before the fix", problems));
        }
        proofs
    }

    async fn solution(&self, provider: &dyn Provider, record: &ClusterRecord) -> Vec<Proof> {
        let problems = self.fix(&self.scenario.solution.run).await;
        if !problems.is_empty() {
            let text = problems.join("; ");
            return failed(Job::Solution, self.scenario, text);
        }
        let first = self.judge().await;
        let second = self.judge().await;
        let mut proofs = vec![
            proof(Column::Solution, "the solution", first.right()),
            proof(Column::Repeat, "the solution", first.same(&second)),
        ];
        if let Some(attack) = &self.scenario.attack {
            let problems = self.attack(&attack.run, &attack.after).await;
            proofs.push(proof(Column::Attack, "after the fix", problems));
        }
        proofs.push(proof(Column::ApiDown, "the solution", self.without_api(provider, record).await));
        proofs
    }

    async fn without_api(&self, provider: &dyn Provider, record: &ClusterRecord) -> Vec<String> {
        if self.cluster.exclusive() {
            if let Err(error) = provider.delete(record).await {
                return vec![format!("the cluster could not be taken down: {}", chain(&error))];
            }
            return self.judge_on(self.cluster).await.gone();
        }
        match Dead::new(self.cluster) {
            Some(dead) => self.judge_on(&dead).await.gone(),
            None => vec!["no client without API server could be made".to_owned()],
        }
    }

    async fn judge(&self) -> Judged<'a> {
        self.judge_on(self.cluster).await
    }

    async fn judge_on(&self, cluster: &dyn Cluster) -> Judged<'a> {
        let verified = verify(&self.scenario.checks, cluster, self.task_dir, &self.baseline).await;
        Judged::new(self.scenario, verified)
    }

    /// Runs a fix; the steps of a fix must succeed, even of a wrong one.
    async fn fix(&self, script: &str) -> Vec<String> {
        match self.steps.run(script).await {
            Ok(output) if output.status == 0 => Vec::new(),
            Ok(output) => vec![format!("the steps ended with status {}{}", output.status, tail(&output))],
            Err(error) => vec![format!("the steps could not be run: {}", chain(&error))],
        }
    }

    async fn attack(&self, script: &str, expected: &Expectation) -> Vec<String> {
        match self.steps.run(script).await {
            Ok(output) => expected
                .mismatch(output.status, &output.stdout_text(), &output.stderr_text())
                .map(|mismatch| format!("{mismatch}{}", tail(&output)))
                .into_iter()
                .collect(),
            Err(error) => vec![format!("the attack could not be run: {}", chain(&error))],
        }
    }
}

fn proof(column: Column, describe: &str, problems: Vec<String>) -> Proof {
    Proof { column, describe: describe.to_owned(), problems }
}

/// The proofs that a job would have shown, all with the one problem that kept it from it.
fn failed(job: Job, scenario: &Scenario, problem: String) -> Vec<Proof> {
    let with = |column, describe: &str| proof(column, describe, vec![problem.clone()]);
    let attack = |describe| scenario.attack.iter().map(move |_| with(Column::Attack, describe));
    match job {
        Job::Untouched => {
            [with(Column::Untouched, "nothing is done"), with(Column::Repeat, "nothing is done")]
                .into_iter()
                .chain(attack("before the fix"))
                .collect()
        }
        Job::Solution => [
            with(Column::Solution, "the solution"),
            with(Column::Repeat, "the solution"),
            with(Column::ApiDown, "the solution"),
        ]
        .into_iter()
        .chain(attack("after the fix"))
        .collect(),
        Job::Right(index) => vec![with(Column::Right, &scenario.proofs.right[index].describe)],
        Job::Wrong(index) => vec![with(Column::Wrong, &scenario.proofs.wrong[index].describe)],
    }
}

fn add(mut proofs: Vec<Proof>, problem: String) -> Vec<Proof> {
    if let Some(first) = proofs.first_mut() {
        first.problems.push(problem);
    }
    proofs
}

fn tail(output: &Output) -> String {
    let text = output.stderr_text();
    let lines: Vec<&str> = text.lines().rev().take(4).collect();
    match lines.is_empty() {
        true => String::new(),
        false => format!(": {}", lines.into_iter().rev().collect::<Vec<_>>().join("; ")),
    }
}

/// Writes an error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
