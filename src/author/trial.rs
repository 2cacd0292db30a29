//! Proves scenarios on a provider: every job on a cluster of its own, some at once.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;

use super::job::{self, Job, Place};
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
    let jobs: Vec<(usize, Job, &Scenario)> = loaded
        .iter()
        .enumerate()
        .filter_map(|(index, (_, scenario))| Some((index, scenario.as_ref()?)))
        .flat_map(|(index, scenario)| Job::all(scenario).into_iter().map(move |job| (index, job, scenario)))
        .collect();
    observe(TestEvent::Planned { clusters: jobs.len() });
    // In a cluster that is somebody's own, the namespaces of two seeds would be the same.
    let parallel = if plan.spec.context.is_some() { 1 } else { plan.parallel.max(1) };
    let results: Vec<(usize, usize, Vec<Proof>, f64)> = futures::stream::iter(jobs.into_iter().enumerate())
        .map(|(number, (index, job, scenario))| async move {
            let before = plan.clock.monotonic();
            let proofs = in_scratch(plan, number, job, scenario).await;
            let done = TestEvent::Done {
                scenario: scenario.id.as_str(),
                variant: scenario.variant,
                proofs: &proofs,
            };
            observe(done);
            (index, number, proofs, (plan.clock.monotonic() - before).as_secs_f64())
        })
        .buffer_unordered(parallel)
        .collect()
        .await;
    let mut trials: Vec<Trial> = loaded.into_iter().map(|(trial, _)| trial).collect();
    let mut results = results;
    results.sort_by_key(|(_, number, ..)| *number);
    for (index, _, proofs, seconds) in results {
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

async fn in_scratch(plan: &TestPlan<'_>, number: usize, job: Job, scenario: &Scenario) -> Vec<Proof> {
    let name = format!("{}-{number}", plan.prefix);
    let scratch = plan.scratch.join(&name);
    let spec = ClusterSpec { dir: scratch.join("cluster"), name, ..plan.spec.clone() };
    let place = Place {
        provider: plan.provider.as_ref(),
        spec,
        scratch: &scratch,
        path: &plan.path,
        timeout: plan.timeout,
    };
    let proofs = job::run(job, scenario, &place).await;
    // Nothing in it is wanted any more; what cannot be removed goes with the scratch folder.
    let _ = remove(&scratch);
    proofs
}

fn remove(scratch: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(scratch)
}
