//! Seeding a cluster: what is applied, what is refused, what is waited for, what is recorded.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cks_lab::clock::SystemClock;
use cks_lab::cluster::{
    Capabilities, Capability, Cluster, ClusterError, ExecOutput, Probe, Progress, Reach, SESSION_LABEL,
    Support,
};
use cks_lab::scenario::catalog::Catalog;
use cks_lab::scenario::{Scenario, SeedStep, Variant};
use cks_lab::seed::{SeedError, seed};
use cks_lab::sim::server::SimulatedCluster;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

/// A cluster in this process, with a node whose commands are noted.
struct InProcess {
    cluster: SimulatedCluster,
    capabilities: Capabilities,
    exclusive: bool,
    commands: Mutex<Vec<Vec<String>>>,
}

impl InProcess {
    async fn new() -> Self {
        let capabilities = [Capability::Api, Capability::Pods, Capability::Nodes];
        Self {
            cluster: SimulatedCluster::in_memory(Arc::new(SystemClock)).await.unwrap(),
            capabilities: Capabilities(capabilities.map(|capability| (capability, Support::Real)).into()),
            exclusive: true,
            commands: Mutex::default(),
        }
    }
}

#[async_trait]
impl Cluster for InProcess {
    fn client(&self) -> kube::Client {
        self.cluster.kube_client()
    }

    fn kubeconfig(&self) -> &Path {
        Path::new("/nowhere")
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn node_exec(&self, node: &str, argv: &[&str]) -> Result<ExecOutput, ClusterError> {
        let command = std::iter::once(node).chain(argv.iter().copied()).map(str::to_owned).collect();
        self.commands.lock().map_err(|_| ClusterError::Missing(Capability::Nodes))?.push(command);
        let status = if argv.contains(&"false") { 1 } else { 0 };
        Ok(ExecOutput { status, stdout: Vec::new(), stderr: b"first\nno such thing\n".to_vec() })
    }

    async fn reach(&self, _: &[Probe]) -> Result<Vec<Reach>, ClusterError> {
        Err(ClusterError::Missing(Capability::Reach))
    }

    fn exclusive(&self) -> bool {
        self.exclusive
    }
}

struct Quiet;

impl Progress for Quiet {
    fn stage(&self, _: &str) {}
    fn detail(&self, _: &str) {}
}

fn base() -> Scenario {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scenarios/valid/base");
    Catalog::open(&dir).unwrap().load("base", Variant(0)).unwrap()
}

fn with(objects: &[Value]) -> Scenario {
    let mut scenario = base();
    scenario.checks.clear();
    scenario.seed = vec![SeedStep::Apply { file: "manifests/x.yaml".into(), objects: objects.to_vec() }];
    scenario
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn config_map(namespace: &str, key: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": namespace}, "data": {key: "1"}})
}

async fn run(scenario: &Scenario, cluster: &InProcess) -> (Result<(), SeedError>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let result = seed(scenario, cluster, "s1", dir.path(), &Quiet).await;
    (result.map(|_| ()), dir)
}

#[tokio::test]
async fn a_scenario_is_seeded_and_can_be_seeded_again() {
    let cluster = InProcess::new().await;
    let scenario = base();
    for _ in 0..2 {
        let (result, dir) = run(&scenario, &cluster).await;
        result.unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        let note = dir.path().join("note.txt");
        assert_eq!(std::fs::metadata(&note).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(std::fs::read_to_string(note).unwrap().contains(&scenario.values["app"]));
    }
    let made = Api::<Namespace>::all(cluster.client()).get(&scenario.values["app"]).await.unwrap();
    assert_eq!(made.metadata.labels.unwrap().get(SESSION_LABEL).map(String::as_str), Some("s1"));
}

#[tokio::test]
async fn an_object_that_is_there_is_merged_into() {
    let cluster = InProcess::new().await;
    run(&with(&[namespace("a"), config_map("a", "one")]), &cluster).await.0.unwrap();
    run(&with(&[config_map("a", "two")]), &cluster).await.0.unwrap();
    let data = Api::<ConfigMap>::namespaced(cluster.client(), "a").get("c").await.unwrap().data.unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["one", "two"]);
}

#[tokio::test]
async fn a_namespace_of_somebody_else_is_not_taken() {
    let cluster = InProcess::new().await;
    let theirs: Namespace = serde_json::from_value(namespace("a")).unwrap();
    Api::all(cluster.client()).create(&PostParams::default(), &theirs).await.unwrap();
    let (result, _) = run(&with(&[namespace("a")]), &cluster).await;
    assert!(matches!(result, Err(SeedError::NamespaceTaken { .. })), "{result:?}");
    run(&with(&[namespace("default")]), &cluster).await.0.unwrap();
}

#[tokio::test]
async fn in_a_cluster_of_somebody_nothing_outside_is_touched() {
    let mut cluster = InProcess::new().await;
    cluster.exclusive = false;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}});
    for outside in [role, config_map("default", "x"), config_map("b", "x")] {
        let (result, _) = run(&with(&[namespace("a"), outside]), &cluster).await;
        assert!(matches!(result, Err(SeedError::Outside { .. })), "{result:?}");
        let made = Api::<Namespace>::all(cluster.client()).get_opt("a").await.unwrap();
        assert!(made.is_none(), "it is refused before anything is done");
    }
    run(&with(&[namespace("a"), config_map("a", "x")]), &cluster).await.0.unwrap();
}

#[tokio::test]
async fn a_refusal_names_the_manifest_and_the_object() {
    let cluster = InProcess::new().await;
    let mut wrong = config_map("default", "x");
    wrong["metadata"]["name"] = json!("C");
    let text = run(&with(&[wrong]), &cluster).await.0.unwrap_err().to_string();
    assert!(
        text.starts_with(
            "ConfigMap default/C of `manifests/x.yaml` was not accepted: ConfigMap \"C\" is invalid"
        ),
        "{text}"
    );
    let unknown = json!({"apiVersion": "v1", "kind": "Podd", "metadata": {"name": "p"}});
    let text = run(&with(&[unknown]), &cluster).await.0.unwrap_err().to_string();
    assert_eq!(text, "Podd p of `manifests/x.yaml` is of a kind that the cluster does not serve");
}

#[tokio::test]
async fn what_is_waited_for_must_be_ready() {
    let cluster = InProcess::new().await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "a"},
        // Nobody else looks after this one.
        "spec": {"schedulerName": "nobody", "containers": [{"name": "c", "image": "registry.k8s.io/pause:3.10"}]},
    });
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "a"}});
    let mut scenario = with(&[namespace("a"), account, pod]);
    scenario.seed.push(SeedStep::WaitReady { namespace: "a".into(), timeout: Duration::from_millis(150) });
    let text = run(&scenario, &cluster).await.0.unwrap_err().to_string();
    assert!(text.starts_with("Pod a/p was not ready within 0 s: phase "), "{text}");
    scenario.seed = vec![SeedStep::WaitReady { namespace: "default".into(), timeout: Duration::ZERO }];
    run(&scenario, &cluster).await.0.unwrap();
}

#[tokio::test]
async fn nodes_get_their_files_in_pieces_and_scripts_must_succeed() {
    let cluster = InProcess::new().await;
    let mut scenario = with(&[]);
    scenario.seed = vec![SeedStep::NodeFile {
        node: "n".into(),
        to: "/etc/kubernetes/x.yaml".into(),
        content: vec![b'x'; 100_000],
        mode: 0o600,
        owner: "root:root".into(),
    }];
    run(&scenario, &cluster).await.0.unwrap();
    let commands = std::mem::take(&mut *cluster.commands.lock().unwrap());
    assert_eq!(commands.len(), 4, "one to begin, two pieces, one to end");
    assert_eq!(commands[3][5..], ["/etc/kubernetes/x.yaml", "600", "root:root"]);
    scenario.seed = vec![SeedStep::NodeRun { node: "n".into(), script: "false".into() }];
    let text = run(&scenario, &cluster).await.0.unwrap_err().to_string();
    assert_eq!(text, "node `n` could not be changed: `the script` ended with status 1: first; no such thing");
}

#[tokio::test]
async fn a_task_folder_that_cannot_be_written_is_named() {
    let cluster = InProcess::new().await;
    let dir = tempfile::tempdir().unwrap();
    let not_a_folder: PathBuf = dir.path().join("file");
    std::fs::write(&not_a_folder, "").unwrap();
    let error = seed(&base(), &cluster, "s1", &not_a_folder, &Quiet).await.unwrap_err();
    assert!(matches!(error, SeedError::TaskFile { .. }), "{error:?}");
}
