//! One cluster, seeded or a copy of a seeded one, and what is shown on it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
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

/// A cluster as the seed leaves it, which the clusters of jobs are copies of.
pub(super) struct Original {
    record: ClusterRecord,
    task_dir: PathBuf,
    baseline: Baseline,
}

impl Original {
    /// Seeds a cluster to copy; `Err` says why there is none.
    pub(super) async fn new(scenario: &Scenario, place: &Place<'_>) -> Result<Self, String> {
        let record = create(place).await?;
        let task_dir = place.scratch.join("task");
        let seeded = async {
            let cluster = attach(place, &record).await?;
            seeded(scenario, place, cluster.as_ref(), &task_dir).await
        };
        match seeded.await {
            Ok(baseline) => Ok(Self { record, task_dir, baseline }),
            Err(problem) => {
                // What is left of it goes with the run.
                let _ = place.provider.delete(&record).await;
                Err(problem)
            }
        }
    }

    /// Removes it; `Err` says what kept it from that.
    pub(super) async fn remove(self, provider: &dyn Provider) -> Result<(), String> {
        let removed = provider.delete(&self.record).await;
        removed.map_err(|error| format!("the cluster could not be removed: {}", chain(&error)))
    }
}

/// Runs a job on a cluster of its own, a copy of the original where there is one, and removes that.
pub(super) async fn run(
    job: Job,
    scenario: &Scenario,
    place: &Place<'_>,
    original: Option<&Original>,
) -> Vec<Proof> {
    let made = match original {
        None => create(place).await,
        Some(original) => {
            let copied = place.provider.copy(&original.record, &place.spec).await;
            copied.map_err(|error| format!("no cluster: {}", chain(&error)))
        }
    };
    let record = match made {
        Ok(record) => record,
        Err(problem) => return failed(job, scenario, &problem),
    };
    let proofs = match attach(place, &record).await {
        Ok(cluster) => on_cluster(job, scenario, place, cluster.as_ref(), &record, original).await,
        Err(problem) => failed(job, scenario, &problem),
    };
    match place.provider.delete(&record).await {
        Ok(()) => proofs,
        Err(error) => add(proofs, &format!("the cluster could not be removed: {}", chain(&error))),
    }
}

async fn create(place: &Place<'_>) -> Result<ClusterRecord, String> {
    let created = place.provider.create(&place.spec, &Silent).await;
    created.map_err(|error| format!("no cluster: {}", chain(&error)))
}

async fn attach(place: &Place<'_>, record: &ClusterRecord) -> Result<Box<dyn Cluster>, String> {
    let attached = place.provider.attach(record).await;
    attached.map_err(|error| format!("no cluster: {}", chain(&error)))
}

async fn seeded(
    scenario: &Scenario,
    place: &Place<'_>,
    cluster: &dyn Cluster,
    task_dir: &Path,
) -> Result<Baseline, String> {
    let no_folder = |error: std::io::Error| format!("no scratch folder: {error}");
    std::fs::create_dir_all(task_dir).map_err(no_folder)?;
    let seeded = seed(scenario, cluster, &place.spec.name, task_dir, &Silent).await;
    seeded.map_err(|error| format!("the seed failed: {}", chain(&error)))
}

/// Copies a folder of plain files with their modes.
fn copy_dir(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_dir(&entry.path(), &target)?,
            false => std::fs::copy(entry.path(), &target).map(drop)?,
        }
    }
    Ok(())
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
    original: Option<&Original>,
) -> Vec<Proof> {
    let task_dir = place.scratch.join("task");
    let kubeconfig = cluster.kubeconfig();
    let prepared = match original {
        None => Ok(()),
        Some(original) => copy_dir(&original.task_dir, &task_dir),
    };
    let prepared = prepared.and_then(|()| {
        Steps::prepare(place.scratch, scenario, kubeconfig, &task_dir, place.path, place.timeout)
    });
    let steps = match prepared {
        Ok(steps) => steps,
        Err(error) => return failed(job, scenario, &format!("no scratch folder: {error}")),
    };
    let steps = match steps.onto_nodes(cluster).await {
        Ok(steps) => steps,
        Err(error) => return failed(job, scenario, &format!("no way onto the nodes: {}", chain(&error))),
    };
    let baseline = match original {
        Some(original) => original.baseline.clone(),
        None => match seeded(scenario, place, cluster, &task_dir).await {
            Ok(baseline) => baseline,
            Err(problem) => return failed(job, scenario, &problem),
        },
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
            return failed(Job::Solution, self.scenario, &problems.join("; "));
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
pub(super) fn failed(job: Job, scenario: &Scenario, problem: &str) -> Vec<Proof> {
    let with = |column, describe: &str| proof(column, describe, vec![problem.to_owned()]);
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

fn add(mut proofs: Vec<Proof>, problem: &str) -> Vec<Proof> {
    if let Some(first) = proofs.first_mut() {
        first.problems.push(problem.to_owned());
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
