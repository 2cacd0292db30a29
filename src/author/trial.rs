//! Proves scenarios on a provider: every job on a cluster of its own, some at once.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::Semaphore;

use super::job::{self, Job, Original, Place};
use super::results::{Proof, TestReport, Trial};
use super::witness::Witness;
use crate::clock::Clock;
use crate::cluster::{Capability, ClusterSpec, Provider, ProviderError};
use crate::scenario::catalog::{Catalog, CatalogError};
use crate::scenario::{Scenario, Variant};

/// What is to be proven, and where.
pub struct TestPlan<'a> {
    /// The scenarios' catalog.
    pub catalog: &'a Catalog,
    /// The names of the scenarios; all of them when empty.
    pub scenarios: Vec<String>,
    /// The variants of each.
    pub variants: Vec<Variant>,
    /// Who brings up clusters.
    pub provider: Arc<dyn Provider>,
    /// What each cluster is made from; its name and folder are replaced.
    pub spec: ClusterSpec,
    /// What the names of the clusters begin with; a DNS label that no other run uses.
    pub prefix: String,
    /// An empty folder that everything is written into.
    pub scratch: PathBuf,
    /// How many clusters there may be at once.
    pub parallel: usize,
    /// Where the steps' programs are looked up.
    pub path: OsString,
    /// How long one run of steps may take.
    pub timeout: Duration,
    /// Folders in which nothing may change meanwhile, such as the user's `~/.kube`.
    pub watched: Vec<PathBuf>,
    /// Tells how long it takes.
    pub clock: Arc<dyn Clock>,
}

/// What happens while scenarios are proven.
#[derive(Debug)]
pub enum TestEvent<'a> {
    /// So many proofs are to be shown, on so many clusters.
    Planned {
        /// The number of clusters.
        clusters: usize,
    },
    /// A cluster's proofs are done.
    Done {
        /// The scenario.
        scenario: &'a str,
        /// The variant.
        variant: Variant,
        /// The proofs.
        proofs: &'a [Proof],
    },
}

/// Proves scenarios. What fails is in the report; only an unknown name is an error.
///
/// # Errors
/// [`CatalogError::Unknown`].
pub async fn test(
    plan: &TestPlan<'_>,
    observe: &(dyn Fn(TestEvent<'_>) + Sync),
) -> Result<TestReport, CatalogError> {
    let started = plan.clock.monotonic();
    let witness = Witness::new(&plan.watched, &plan.scratch);
    let names = match plan.scenarios.is_empty() {
        true => plan.catalog.names(),
        false => plan.scenarios.clone(),
    };
    let mut loaded: Vec<(Trial, Option<Scenario>)> = Vec::new();
    for name in &names {
        for variant in &plan.variants {
            loaded.push(load(plan, name, *variant)?);
        }
    }
    let scenarios = || {
        let with_index = loaded.iter().enumerate();
        with_index.filter_map(|(index, (_, scenario))| Some((index, scenario.as_ref()?)))
    };
    observe(TestEvent::Planned { clusters: scenarios().map(|(_, scenario)| Job::all(scenario).len()).sum() });
    // In a cluster that is somebody's own, the namespaces of two seeds would be the same.
    let parallel = if plan.spec.context.is_some() { 1 } else { plan.parallel.max(1) };
    let run = Run { plan, observe, room: Semaphore::new(parallel) };
    let results: Vec<(usize, Vec<Proof>, f64)> = futures::stream::iter(scenarios())
        .map(|(index, scenario)| run.scenario(index, scenario))
        .buffer_unordered(parallel)
        .collect()
        .await;
    let mut trials: Vec<Trial> = loaded.into_iter().map(|(trial, _)| trial).collect();
    for (index, proofs, seconds) in results {
        trials[index].proofs.extend(proofs);
        trials[index].seconds += seconds;
    }
    for trial in &mut trials {
        // Stable: within a column the author's order stays.
        trial.proofs.sort_by_key(|proof| proof.column);
    }
    let strays = witness.changed();
    Ok(TestReport {
        provider: plan.provider.name().to_owned(),
        passed: strays.is_empty() && !trials.is_empty() && trials.iter().all(Trial::passed),
        trials,
        strays,
        seconds: (plan.clock.monotonic() - started).as_secs_f64(),
    })
}

/// Removes the clusters of a run that was interrupted.
///
/// # Errors
/// [`ProviderError`] when something may be left.
pub async fn sweep(provider: &dyn Provider, prefix: &str) -> Result<(), ProviderError> {
    for found in provider.find().await? {
        if found.name.starts_with(prefix) {
            provider.remove(&found.name).await?;
        }
    }
    Ok(())
}

fn load(
    plan: &TestPlan<'_>,
    name: &str,
    variant: Variant,
) -> Result<(Trial, Option<Scenario>), CatalogError> {
    let mut trial =
        Trial { scenario: name.into(), variant, not_tried: None, proofs: Vec::new(), seconds: 0.0 };
    match plan.catalog.load(name, variant) {
        Ok(scenario) => {
            let needs: Vec<Capability> = scenario.needs.iter().copied().collect();
            if let Some(missing) = plan.provider.capabilities().missing(&needs) {
                trial.not_tried = Some(format!("provider `{}` has no {missing:?}", plan.provider.name()));
                return Ok((trial, None));
            }
            Ok((trial, Some(scenario)))
        }
        Err(error @ CatalogError::Unknown { .. }) => Err(error),
        Err(error) => {
            trial.not_tried = Some(error.to_string());
            Ok((trial, None))
        }
    }
}

/// A run under way; `room` is for so many clusters as may work at once.
struct Run<'a> {
    plan: &'a TestPlan<'a>,
    observe: &'a (dyn Fn(TestEvent<'_>) + Sync),
    room: Semaphore,
}

impl Run<'_> {
    /// Runs every job of a scenario; the seconds are those that its jobs took together.
    async fn scenario(&self, index: usize, scenario: &Scenario) -> (usize, Vec<Proof>, f64) {
        let before = self.plan.clock.monotonic();
        let mut seconds = 0.0;
        let scratch = self.plan.scratch.join(format!("{}-{index}", self.plan.prefix));
        let original = match self.plan.provider.copies() {
            false => Ok(None),
            true => {
                let _room = self.room.acquire().await;
                Original::new(scenario, &self.place(&scratch)).await.map(Some)
            }
        };
        seconds += (self.plan.clock.monotonic() - before).as_secs_f64();
        let jobs = Job::all(scenario).into_iter().enumerate().map(|(number, job)| {
            let original = &original;
            async move {
                let _room = self.room.acquire().await;
                let before = self.plan.clock.monotonic();
                let proofs = match original {
                    Ok(original) => self.job(index, number, job, scenario, original.as_ref()).await,
                    Err(problem) => job::failed(job, scenario, problem),
                };
                let done = TestEvent::Done {
                    scenario: scenario.id.as_str(),
                    variant: scenario.variant,
                    proofs: &proofs,
                };
                (self.observe)(done);
                (proofs, (self.plan.clock.monotonic() - before).as_secs_f64())
            }
        });
        let done = futures::future::join_all(jobs).await;
        seconds += done.iter().map(|(_, seconds)| seconds).sum::<f64>();
        let mut proofs: Vec<Proof> = done.into_iter().flat_map(|(proofs, _)| proofs).collect();
        if let Ok(Some(original)) = original
            && let Err(problem) = original.remove(self.plan.provider.as_ref()).await
            && let Some(first) = proofs.first_mut()
        {
            first.problems.push(problem);
        }
        let _ = remove(&scratch);
        (index, proofs, seconds)
    }

    async fn job(
        &self,
        index: usize,
        number: usize,
        job: Job,
        scenario: &Scenario,
        original: Option<&Original>,
    ) -> Vec<Proof> {
        let scratch = self.plan.scratch.join(format!("{}-{index}-{number}", self.plan.prefix));
        let proofs = job::run(job, scenario, &self.place(&scratch), original).await;
        // Nothing in it is wanted any more; what cannot be removed goes with the scratch folder.
        let _ = remove(&scratch);
        proofs
    }

    /// A place whose cluster is named as its folder is.
    fn place<'p>(&'p self, scratch: &'p Path) -> Place<'p> {
        let name = scratch.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Place {
            provider: self.plan.provider.as_ref(),
            spec: ClusterSpec { dir: scratch.join("cluster"), name, ..self.plan.spec.clone() },
            scratch,
            path: &self.plan.path,
            timeout: self.plan.timeout,
        }
    }
}

fn remove(scratch: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(scratch)
}
