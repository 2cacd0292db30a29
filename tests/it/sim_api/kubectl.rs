//! The real kubectl against a listener: what a learner types.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use cks_lab::clock::SystemClock;
use cks_lab::sim::server::{Home, SimConfig, SimulatedCluster};

pub(super) struct Shell {
    _cluster: SimulatedCluster,
    dir: tempfile::TempDir,
    kubeconfig: PathBuf,
}

impl Shell {
    pub(super) async fn new() -> Self {
        Self::with(SimConfig::new("test", 0)).await
    }

    /// A shell with a cluster of its own kind.
    pub(super) async fn with(config: SimConfig) -> Self {
        let clock = Arc::new(SystemClock);
        let mut cluster = SimulatedCluster::start(config, Home::Memory, clock).await.unwrap();
        cluster.listen().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = dir.path().join("kubeconfig");
        std::fs::write(&kubeconfig, cluster.admin_kubeconfig().unwrap()).unwrap();
        Self { _cluster: cluster, dir, kubeconfig }
    }

    #[expect(clippy::disallowed_methods, reason = "kubectl is the client under test")]
    pub(super) fn command(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", line]).env("KUBECONFIG", &self.kubeconfig).env("HOME", self.dir.path());
        command
    }

    /// Runs a command line in a thread of its own, so that the cluster goes on.
    pub(super) async fn run(&self, line: &str) -> (bool, String, String) {
        let mut command = self.command(line);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    /// A path in the folder that commands find as their home.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) async fn ok(&self, line: &str) -> String {
        let (success, out, err) = self.run(line).await;
        assert!(success, "{line}: {err}");
        out
    }
}

const MANIFEST: &str =
    r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "one"}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_made_shown_changed_and_deleted() {
    let shell = Shell::new().await;
    assert_eq!(shell.ok(&format!("kubectl apply -f - <<< '{MANIFEST}'")).await, "configmap/settings created");
    assert_eq!(
        shell.ok(&format!("kubectl apply -f - <<< '{MANIFEST}'")).await,
        "configmap/settings unchanged"
    );
    let changed = MANIFEST.replace("one", "two");
    assert_eq!(
        shell.ok(&format!("kubectl apply -f - <<< '{changed}'")).await,
        "configmap/settings configured"
    );
    assert_eq!(shell.ok("kubectl get cm settings -o jsonpath={.data.a}").await, "two");
    assert_eq!(
        shell.ok("kubectl create secret generic db --from-literal=user=admin").await,
        "secret/db created",
        "a protobuf body"
    );
    let table = shell.ok("kubectl get secret").await;
    assert!(table.lines().nth(1).unwrap().starts_with("db     Opaque   1"), "{table}");
    assert_eq!(shell.ok("kubectl label cm settings tier=front").await, "configmap/settings labeled");
    assert_eq!(shell.ok("kubectl get cm -l tier=front -o name").await, "configmap/settings");
    assert_eq!(shell.ok("kubectl delete cm settings").await, "configmap \"settings\" deleted");
    let (success, _, err) = shell.run("kubectl get cm settings").await;
    assert!(!success);
    assert_eq!(err, "Error from server (NotFound): configmaps \"settings\" not found");
    let (_, _, err) = shell.run("kubectl get pods --as=jane").await;
    assert!(err.starts_with("Error from server (Forbidden): pods is forbidden: User \"jane\""), "{err}");
    assert_eq!(shell.ok("kubectl auth can-i create pods --as=jane || true").await, "no");
    assert!(shell.ok("kubectl auth whoami").await.contains("kubernetes-admin"));
    assert!(shell.ok("kubectl explain pod.spec.hostNetwork").await.contains("FIELD: hostNetwork <boolean>"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_follows_what_happens() {
    let shell = Shell::new().await;
    shell.ok("kubectl create cm first --from-literal=a=b").await;
    let mut command =
        shell.command("exec kubectl get cm -w -o name --field-selector metadata.name!=kube-root-ca.crt");
    let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    assert_eq!(received.recv().await.unwrap(), "configmap/first");
    shell.ok("kubectl create cm second --from-literal=a=b").await;
    assert_eq!(received.recv().await.unwrap(), "configmap/second");
    shell.ok("kubectl delete cm first").await;
    assert_eq!(received.recv().await.unwrap(), "configmap/first");
    watch.kill().unwrap();
    watch.wait().unwrap();
}
