//! The kind provider against the real Docker Engine and the real `kind` binary. The node image is a small one of our
//! own whose control plane is the simulated API, since what is tested is the provider and not Kubernetes.

#![expect(clippy::disallowed_methods, reason = "tests look at Docker with its own command")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use cks_lab::cluster::kind::KindProvider;
use cks_lab::cluster::{Availability, Capability, ClusterSpec, Progress, Provider, ProviderError};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ListParams};

/// Builds the node image, once for all tests.
pub fn node_image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let image = "cks-lab-test-node:latest".to_owned();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let test = std::env::current_exe().unwrap();
        let node = test.parent().and_then(Path::parent).unwrap().join("examples/kind-node");
        assert!(node.exists(), "`cargo test` builds {}", node.display());
        let built = Command::new(root.join("tests/kind-node/build")).arg(node).arg(&image).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        image
    })
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn stage(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
    fn detail(&self, _text: &str) {}
}

fn spec(name: &str, home: &Path, image: &str) -> ClusterSpec {
    ClusterSpec {
        name: name.to_owned(),
        dir: home.join(name),
        node_image: Some(image.to_owned()),
        ..ClusterSpec::default()
    }
}

/// Returns the containers, running or not, that kind made for a cluster of this name.
fn containers(name: &str) -> String {
    let filter = format!("label=io.x-k8s.kind.cluster=cks-lab-{name}");
    let output = Command::new("docker").args(["ps", "-aq", "--filter", &filter]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

#[tokio::test]
async fn is_ready_where_docker_and_kind_are() {
    assert_eq!(KindProvider::new(PathBuf::new()).probe().await, Availability::Ready);
}

#[tokio::test]
async fn a_cluster_is_created_used_found_restarted_and_deleted() {
    let home = tempfile::tempdir().unwrap();
    let kind = KindProvider::new(home.path().to_owned());
    let name = unique("whole");
    let heard = Heard::default();
    let spec = spec(&name, home.path(), node_image());
    let record = kind.create(&spec, &heard).await.unwrap();
    let stages = heard.0.into_inner().unwrap().join("\n");
    for stage in ["preparing nodes", "starting control-plane", "taking credentials"] {
        assert!(stages.contains(stage), "{stages}");
    }
    for file in ["kubeconfig", "grader.kubeconfig"] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(spec.dir.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }

    let cluster = kind.attach(&record).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    assert!(namespaces.list(&ListParams::default()).await.unwrap().items.len() >= 4);
    assert!(cluster.capabilities().missing(&[Capability::Nodes, Capability::Exec]).is_none());
    let node = format!("cks-lab-{name}-control-plane");
    let output =
        cluster.node_exec(&node, &["sh", "-c", "cat /kind/version; echo wrong >&2; exit 3"]).await.unwrap();
    assert_eq!(
        (output.status, output.stdout.as_slice(), output.stderr.as_slice()),
        (3, b"v1.34.9\n".as_slice(), b"wrong\n".as_slice())
    );
    assert!(cluster.node_exec("no-such-node", &["true"]).await.is_err());

    let found = kind.find().await.unwrap();
    assert!(found.iter().any(|found| found.name == name), "{found:?}");
    let elsewhere = tempfile::tempdir().unwrap();
    let others = KindProvider::new(elsewhere.path().to_owned()).find().await.unwrap();
    assert_eq!(others, [], "what somebody else has made is theirs");

    // As after a reboot: the node stands still and the next command brings it back with what it held.
    let stopped = Command::new("docker").args(["stop", "-t", "1", &node]).output().unwrap();
    assert!(stopped.status.success());
    let cluster = kind.attach(&record).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(cluster.client());
    assert!(namespaces.list(&ListParams::default()).await.unwrap().items.len() >= 4);

    kind.delete(&record).await.unwrap();
    assert_eq!(containers(&name), "");
    assert!(!spec.dir.exists());
    assert!(matches!(kind.attach(&record).await, Err(ProviderError::Gone(_))));
    kind.delete(&record).await.unwrap();
}

#[tokio::test]
async fn a_failure_leaves_nothing_and_says_why() {
    let home = tempfile::tempdir().unwrap();
    let kind = KindProvider::new(home.path().to_owned());
    let name = unique("broken");
    let spec = spec(&name, home.path(), "cks-lab-no-such-image:1");
    let error = kind.create(&spec, &Heard::default()).await.unwrap_err();
    let ProviderError::Failed { message, source } = error else { panic!("{error}") };
    let all = format!("{message}: {}", source.unwrap());
    assert!(all.contains("cks-lab-no-such-image:1"), "{all}");
    assert_eq!(containers(&name), "");
    assert!(!spec.dir.exists());
}

#[tokio::test]
async fn an_interrupted_start_is_cleaned_up_by_name() {
    let home = tempfile::tempdir().unwrap();
    let kind = KindProvider::new(home.path().to_owned());
    let name = unique("interrupted");
    let spec = spec(&name, home.path(), node_image());
    let heard = Heard::default();
    let made = async {
        while containers(&name).is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        created = kind.create(&spec, &heard) => panic!("{created:?} came before its container"),
        () = made => {}
    }
    kind.remove(&name).await.unwrap();
    // Nothing that kind left running may bring it back.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(containers(&name), "");
}
