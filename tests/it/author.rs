//! Proving scenarios: the proofs hold for a sound scenario, and each defect is seen where it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cks_lab::author::{Cell, Column, TestEvent, TestPlan, TestReport, test};
use cks_lab::clock::SystemClock;
use cks_lab::cluster::{
    Availability, Capabilities, Capability, Cluster, ClusterError, ClusterRecord, ClusterSpec, ExecOutput,
    Found, Probe, Progress, Provider, ProviderError, Reach, Support,
};
use cks_lab::scenario::Variant;
use cks_lab::scenario::catalog::Catalog;
use cks_lab::sim::server::SimulatedCluster;

/// Simulated clusters in this process, each with a listener.
#[derive(Default)]
struct InProcess {
    clusters: Mutex<BTreeMap<String, SimulatedCluster>>,
    made: Mutex<usize>,
}

struct Attached {
    client: kube::Client,
    kubeconfig: PathBuf,
    capabilities: Capabilities,
}

fn failed(message: String) -> ProviderError {
    ProviderError::Failed { message, source: None }
}

fn api_only() -> Capabilities {
    let has = [Capability::Api, Capability::ClusterScope];
    Capabilities(has.map(|capability| (capability, Support::Simulated)).into())
}

#[async_trait]
impl Provider for InProcess {
    fn name(&self) -> &'static str {
        "in-process"
    }

    fn capabilities(&self) -> Capabilities {
        api_only()
    }

    async fn probe(&self) -> Availability {
        Availability::Ready
    }

    async fn create(&self, spec: &ClusterSpec, _: &dyn Progress) -> Result<ClusterRecord, ProviderError> {
        let mut cluster =
            SimulatedCluster::in_memory(Arc::new(SystemClock)).await.map_err(|e| failed(e.to_string()))?;
        cluster.listen().await.map_err(|e| failed(e.to_string()))?;
        std::fs::create_dir_all(&spec.dir).map_err(|e| failed(e.to_string()))?;
        let kubeconfig = spec.dir.join("kubeconfig");
        let text = cluster.admin_kubeconfig().map_err(|e| failed(e.to_string()))?;
        std::fs::write(&kubeconfig, text).map_err(|e| failed(e.to_string()))?;
        self.clusters.lock().map_err(|e| failed(e.to_string()))?.insert(spec.name.clone(), cluster);
        *self.made.lock().map_err(|e| failed(e.to_string()))? += 1;
        Ok(ClusterRecord {
            provider: self.name().to_owned(),
            name: spec.name.clone(),
            dir: spec.dir.clone(),
            kubeconfig,
            data: serde_json::Value::Null,
        })
    }

    async fn attach(&self, record: &ClusterRecord) -> Result<Box<dyn Cluster>, ProviderError> {
        let config =
            kube::config::Kubeconfig::read_from(&record.kubeconfig).map_err(|e| failed(e.to_string()))?;
        let config = kube::Config::from_custom_kubeconfig(config, &Default::default())
            .await
            .map_err(|e| failed(e.to_string()))?;
        Ok(Box::new(Attached {
            client: kube::Client::try_from(config).map_err(|e| failed(e.to_string()))?,
            kubeconfig: record.kubeconfig.clone(),
            capabilities: api_only(),
        }))
    }

    async fn delete(&self, record: &ClusterRecord) -> Result<(), ProviderError> {
        self.remove(&record.name).await
    }

    async fn find(&self) -> Result<Vec<Found>, ProviderError> {
        let clusters = self.clusters.lock().map_err(|e| failed(e.to_string()))?;
        Ok(clusters.keys().map(|name| Found { name: name.clone(), summary: String::new() }).collect())
    }

    async fn remove(&self, name: &str) -> Result<(), ProviderError> {
        let removed = self.clusters.lock().map_err(|e| failed(e.to_string()))?.remove(name);
        drop(removed);
        Ok(())
    }
}

#[async_trait]
impl Cluster for Attached {
    fn client(&self) -> kube::Client {
        self.client.clone()
    }

    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn node_exec(&self, _: &str, _: &[&str]) -> Result<ExecOutput, ClusterError> {
        Err(ClusterError::Missing(Capability::Nodes))
    }

    async fn reach(&self, _: &[Probe]) -> Result<Vec<Reach>, ClusterError> {
        Err(ClusterError::Missing(Capability::Reach))
    }
}

/// Copies the skeleton that `author new` makes, changes its scenario, and proves it.
async fn prove(change: impl FnOnce(String) -> String) -> TestReport {
    prove_watching(&[], change).await
}

async fn prove_watching(watched: &[PathBuf], change: impl FnOnce(String) -> String) -> TestReport {
    let dir = tempfile::tempdir().unwrap();
    let folder = cks_lab::author::new(dir.path(), "probe", "rbac").unwrap();
    let file = folder.join("scenario.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, change(text)).unwrap();
    prove_all(&Catalog::open(dir.path()).unwrap(), &[], watched).await
}

#[expect(clippy::disallowed_methods, reason = "the steps need the programs that are there")]
async fn prove_all(catalog: &Catalog, names: &[&str], watched: &[PathBuf]) -> TestReport {
    let scratch = tempfile::tempdir().unwrap();
    let provider = Arc::new(InProcess::default());
    let plan = TestPlan {
        catalog,
        scenarios: names.iter().map(|name| (*name).to_owned()).collect(),
        variants: vec![Variant(1)],
        provider: provider.clone(),
        spec: ClusterSpec::default(),
        prefix: "proof".to_owned(),
        scratch: scratch.path().to_path_buf(),
        parallel: 2,
        path: std::env::var_os("PATH").unwrap(),
        timeout: Duration::from_secs(30),
        watched: watched.to_vec(),
        clock: Arc::new(SystemClock),
    };
    let planned = Mutex::new(0);
    let report = test(&plan, &|event| {
        if let TestEvent::Planned { clusters } = event {
            *planned.lock().unwrap() = clusters;
        }
    })
    .await
    .unwrap();
    assert_eq!(provider.find().await.unwrap(), [], "every cluster is removed");
    assert_eq!(*provider.made.lock().unwrap(), *planned.lock().unwrap());
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "the scratch folder is empty again");
    report
}

/// The problems, each with its column.
fn problems(report: &TestReport) -> Vec<String> {
    let proofs = report.trials.iter().flat_map(|trial| &trial.proofs);
    proofs
        .flat_map(|proof| proof.problems.iter().map(|problem| format!("{}: {problem}", proof.column.title())))
        .collect()
}

#[tokio::test]
async fn the_skeleton_proves_itself() {
    let report = prove(|text| text).await;
    assert_eq!(problems(&report), [] as [&str; 0]);
    assert!(report.passed);
    let trial = &report.trials[0];
    let of = |column| trial.cell(column);
    assert_eq!(of(Column::Untouched), Cell::Shown { shown: 1, of: 1 });
    assert_eq!(of(Column::Attack), Cell::Shown { shown: 2, of: 2 });
    assert_eq!(of(Column::Solution), Cell::Shown { shown: 1, of: 1 });
    assert_eq!(of(Column::Right), Cell::Shown { shown: 1, of: 1 });
    assert_eq!(of(Column::Wrong), Cell::Shown { shown: 3, of: 3 });
    assert_eq!(of(Column::Repeat), Cell::Shown { shown: 2, of: 2 });
    assert_eq!(of(Column::ApiDown), Cell::Shown { shown: 1, of: 1 });
}

#[tokio::test]
async fn the_example_of_the_guide_proves_itself() {
    let catalog = Catalog::embedded();
    let of = catalog.load("shrink-the-publisher", Variant(1)).unwrap().proofs.wrong.len();
    let report = prove_all(&catalog, &["shrink-the-publisher"], &[]).await;
    assert_eq!(problems(&report), [] as [&str; 0]);
    assert!(report.passed);
    assert_eq!(report.trials[0].cell(Column::Wrong), Cell::Shown { shown: of, of });
}

/// Each defect shows in its own column and in no other.
#[tokio::test]
async fn defects_of_proofs_are_seen() {
    let outside = tempfile::tempdir().unwrap();
    let stray = outside.path().join("stray");
    let report = prove_watching(&[outside.path().to_path_buf()], |text| {
        text.replace("get secret database\n", "get secret databank\n")
            // The solution does not solve.
            .replace("value\":[\"configmaps\"]", "value\":[\"configmaps\",\"secrets\"]")
            // The alternative's steps fail.
            .replace("delete rolebinding {{ worker }}\n  wrong:", "delete rolebindinx {{ worker }}\n  wrong:")
            // A wrong fix earns less than it says, and writes where it must not.
            .replacen(
                "      run: |\n        kubectl -n {{ app }} patch role",
                &format!(
                    "      run: |\n        touch {}\n        kubectl -n {{{{ app }}}} patch role",
                    stray.display()
                ),
                1,
            )
            .replacen("      earns: []", "      earns: [no-secrets]", 1)
            // Another breaks more.
            .replace("      breaks: [still-works]\n", "")
    })
    .await;
    let found = problems(&report);
    let expected = [
        "attack: exit status 1, expected 0: ",
        "attack: stderr does not contain `forbidden`: ",
        "solution: `no-secrets` is not earned: ",
        "alternatives: the steps ended with status 1: ",
        "wrong fixes: `no-secrets` is not earned: ",
        "wrong fixes: the gate `still-works` is broken and must not be: ",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nexpected {expected}");
    }
    assert_eq!(report.strays, [stray]);
    assert!(!report.passed);
}

/// What is wrong before anything is done.
#[tokio::test]
async fn defects_of_checks_are_seen() {
    let report = prove(|text| {
        let text = text
            .replace("resource: secrets, namespace", "resource: services, namespace")
            .replace("resource: configmaps, namespace", "resource: pods, namespace");
        // One wrong fix is enough here.
        let (before, after) = text.split_once("  wrong:").unwrap();
        let last = after.rfind("    - describe:").unwrap();
        format!("{before}  wrong:\n{}", &after[last..])
    })
    .await;
    let found = problems(&report);
    assert!(
        found.contains(&"untouched: `no-secrets` passes although nothing was done".to_owned()),
        "{found:#?}"
    );
    let gate = "untouched: the gate `still-works` is broken although nothing was done: ";
    assert!(found.iter().any(|problem| problem.starts_with(gate)), "{found:#?}");
    assert!(!report.passed);
}

#[tokio::test]
async fn what_the_provider_lacks_is_not_tried() {
    let report = prove(|text| text.replace("needs: [api]", "needs: [api, nodes]")).await;
    assert_eq!(report.trials[0].not_tried.as_deref(), Some("provider `in-process` has no Nodes"));
    assert!(report.trials[0].proofs.is_empty() && !report.passed);
}

#[tokio::test]
async fn a_scenario_with_faults_is_not_tried() {
    let report = prove(|text| text.replace("points: 3", "points: three")).await;
    assert_eq!(report.trials[0].not_tried.as_deref(), Some("scenario `probe` has 1 fault"));
}
