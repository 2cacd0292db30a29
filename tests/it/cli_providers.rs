//! The providers through the command line: kind with the real engine and a small node image, and a cluster that is
//! somebody's own, for which another home's simulated one stands.

#![expect(clippy::disallowed_methods, reason = "tests look at Docker with its own command")]

use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cli::schema::assert_valid;
use crate::cli::{Home, Ran, ran, text, until};
use crate::cli_session::started_and_sent;
use crate::kind::node_image;

/// The names of the node containers that kind made for a session, running or not.
fn containers(session: &str) -> Vec<String> {
    let filter = "label=io.x-k8s.kind.cluster";
    let output = Command::new("docker")
        .args(["ps", "-a", "--format", "{{.Names}}", "--filter", filter])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    let suffix = session.rsplit('-').next().unwrap();
    names.lines().filter(|name| name.contains(&format!("-{suffix}-"))).map(str::to_owned).collect()
}

#[tokio::test]
async fn kind_from_start_to_submit() {
    const SCENARIO: &str = "shrink-the-publisher";
    let home = Home::new();
    let image = node_image();
    let ran = home.expect(2, &["start", SCENARIO, "--provider", "sim", "--node-image", image]).await;
    ran.says(&["`--node-image` goes with `--provider kind`"]);

    let options = ["--provider", "kind", "--node-image", image, "--variant", "3"];
    let started = home.json(0, &[&["start", SCENARIO], options.as_slice()].concat()).await;
    assert_valid("start", &started);
    assert_eq!(started["provider"], "kind");
    let session = text(&started["session"]);
    assert_eq!(containers(session).len(), 1);
    let kubeconfig = text(&started["kubeconfig"]);
    assert!(Path::new(kubeconfig).starts_with(home.state()), "{kubeconfig}");

    let env = home.json(0, &["env"]).await;
    assert_eq!(text(&env["variables"]["KUBECONFIG"]), kubeconfig);
    home.expect(0, &["shell", "--", "kubectl", "get", "nodes"]).await.shows(&["control-plane", "Ready"]);
    let checked = home.json(1, &["check"]).await;
    assert_valid("check", &checked);
    assert_eq!((&checked["score"], &checked["provider"]), (&0.into(), &"kind".into()));
    assert!(
        checked["checks"].as_array().unwrap().iter().all(|check| check["simulated"] == false),
        "{checked:#}"
    );
    home.expect(0, &["solution", "--apply"]).await;
    let checked = home.json(0, &["check"]).await;
    assert_eq!(checked["passed"], true, "{checked:#}");

    // As after a reboot: the next command brings the node back.
    let node = containers(session).pop().unwrap();
    assert!(Command::new("docker").args(["stop", "-t", "1", &node]).output().unwrap().status.success());
    let submitted = home.json(0, &["submit"]).await;
    assert_eq!((&submitted["score"], &submitted["passed"]), (&submitted["max"], &true.into()));
    assert_eq!(containers(session), [""; 0]);
    assert!(!home.home().join(".kube/config").exists(), "the learner's own kubeconfig is nothing of ours");
}

#[tokio::test]
async fn kind_is_taken_with_its_image_from_the_preferences_and_ends_with_stop() {
    let home = Home::new();
    std::fs::create_dir(home.state()).unwrap();
    let preferences = format!("provider: kind\nnodeImage: {}\n", node_image());
    std::fs::write(home.state().join("config.yaml"), preferences).unwrap();
    let ran = home.expect(0, &["start", "no-doors-outside"]).await;
    ran.says(&["preparing nodes", "starting control-plane", " on kind, variant "]);
    let status = home.json(0, &["status"]).await;
    let session = text(&status["current"]);
    assert_eq!(status["sessions"][0]["tasks"][0]["provider"], "kind");
    assert_eq!(containers(session).len(), 1);
    // A cluster that somebody removed behind our back.
    let removed = Command::new("docker").args(["rm", "-f"]).args(containers(session)).output().unwrap();
    assert!(removed.status.success());
    home.expect(4, &["check"]).await.says(&["is gone", "`cks-lab reset` makes a new one"]);
    home.expect(0, &["reset", "--yes"]).await;
    assert_eq!(containers(session).len(), 1);
    home.expect(1, &["check"]).await;
    home.expect(0, &["stop", "--yes"]).await;
    assert_eq!(containers(session), [""; 0]);
    assert!(home.left().is_empty(), "{:?}", home.left());
}

#[tokio::test]
async fn an_interrupted_start_on_kind_leaves_no_container() {
    let home = Home::new();
    let all = |names: &str| names.lines().filter(|name| name.starts_with("cks-lab-base-")).count();
    let listed = || {
        let output = Command::new("docker").args(["ps", "-a", "--format", "{{.Names}}"]).output().unwrap();
        all(&String::from_utf8_lossy(&output.stdout))
    };
    let options = ["--provider", "kind", "--node-image", node_image()];
    assert_eq!(started_and_sent(&home, Signal::SIGTERM, &options).await, 130);
    assert_eq!(listed(), 0);
    assert!(home.left().is_empty(), "{:?}", home.left());
}

#[tokio::test]
async fn an_image_that_cannot_be_had_is_named_and_nothing_is_left() {
    let home = Home::new();
    let options = ["--provider", "kind", "--node-image", "cks-lab-no-such-image:1"];
    let ran = home.expect(4, &[&["start", "shrink-the-publisher"], options.as_slice()].concat()).await;
    ran.says(&["error: kind failed to create the cluster", "cks-lab-no-such-image:1"]);
    assert!(home.left().is_empty(), "{:?}", home.left());
}

/// Somebody's own cluster, with things of theirs in it.
struct Theirs {
    home: Home,
    kubeconfig: String,
}

const THEIR_SCENARIO: &str = "no-doors-outside";

impl Theirs {
    async fn new() -> Self {
        let home = Home::new();
        let started = home.start("shrink-the-publisher").await;
        let kubeconfig = home.path("their-config").to_str().unwrap().to_owned();
        std::fs::copy(text(&started["kubeconfig"]), &kubeconfig).unwrap();
        Self { home, kubeconfig }
    }

    async fn kubectl(&self, args: &[&str]) -> Ran {
        let command = self.home.program("kubectl").args(["--kubeconfig", &self.kubeconfig]).args(args);
        let ran = ran(&command).await;
        assert_eq!(ran.status, 0, "kubectl {}: {ran:?}", args.join(" "));
        ran
    }

    /// Everything in it that a session could have put there or changed.
    async fn content(&self) -> String {
        let kinds =
            "namespaces,services,resourcequotas,deployments,clusterroles,clusterrolebindings,serviceaccounts";
        let columns = "-o=custom-columns=KIND:.kind,NS:.metadata.namespace,NAME:.metadata.name,ID:.metadata.uid,\
                       L:.metadata.labels,SPEC:.spec,RULES:.rules";
        self.kubectl(&["get", kinds, "--all-namespaces", columns]).await.stdout
    }

    async fn context(&self) -> String {
        self.kubectl(&["config", "current-context"]).await.stdout.trim().to_owned()
    }
}

#[tokio::test]
async fn somebodys_own_cluster_from_start_to_submit() {
    let theirs = Theirs::new().await;
    theirs.kubectl(&["create", "namespace", "of-theirs"]).await;
    let before = theirs.content().await;
    let config = std::fs::read_to_string(&theirs.kubeconfig).unwrap();
    let context = theirs.context().await;
    let home = Home::new();
    let provider = ["--provider", "kubeconfig", "--kubeconfig", &theirs.kubeconfig];
    let named = [provider.as_slice(), &["--context", &context]].concat();
    let start = |scenario: &'static str, options: &[&str]| -> Vec<String> {
        [&["start", scenario, "--variant", "3"], options].concat().into_iter().map(str::to_owned).collect()
    };
    let args = |args: &[String]| -> Vec<String> { args.to_vec() };

    // Not without its name, not without consent, and not what would reach beyond its own namespaces.
    let refuse = async |status: i32, arguments: Vec<String>, texts: &[&str]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        home.expect(status, &arguments).await.says(texts);
        assert!(home.left().is_empty(), "{:?}", home.left());
    };
    refuse(2, start(THEIR_SCENARIO, &provider), &["no context was named", "--context NAME", &context]).await;
    let server =
        theirs.kubectl(&["config", "view", "-o=jsonpath={.clusters[0].cluster.server}"]).await.stdout;
    refuse(2, start(THEIR_SCENARIO, &named), &[&server, &context, "`--yes` agrees"]).await;
    let wrong = [provider.as_slice(), &["--context", "staging", "--yes"]].concat();
    refuse(2, start(THEIR_SCENARIO, &wrong), &["has no context `staging`", &context]).await;
    let agreed = [named.as_slice(), &["--yes"]].concat();
    let beyond = &["it has no objects outside namespaces of its own"];
    refuse(4, start("shrink-the-publisher", &agreed), beyond).await;
    refuse(4, start("fence-the-ledger", &agreed), &["it has no enforced NetworkPolicy"]).await;
    let nodes = home.scenarios(|text| text.replace("needs: [api]", "needs: [api, nodes]"));
    let on_nodes = [args(&["--scenarios".to_owned(), nodes]), start("base", &agreed)].concat();
    refuse(4, on_nodes, &["it has no nodes to work on"]).await;
    refuse(2, start(THEIR_SCENARIO, &["--context", &context]), &["go with `--provider kubeconfig`"]).await;
    assert_eq!(theirs.content().await, before);

    let arguments = start(THEIR_SCENARIO, &agreed);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let started = home.json(0, &arguments).await;
    assert_valid("start", &started);
    assert_eq!(started["provider"], "kubeconfig");
    let label = format!("cks-lab.dev/session={}", text(&started["session"]));
    let made = theirs.kubectl(&["get", "namespaces", "-l", &label, "-o", "name"]).await.stdout;
    assert_eq!(made.lines().count(), 2, "{made}");
    let all = theirs.kubectl(&["get", "namespaces", "-o", "name"]).await.stdout;
    assert_eq!(
        all.lines().filter(|name| !before.contains(name.trim_start_matches("namespace/"))).count(),
        2,
        "{all}"
    );

    let checked = home.json(1, &["check"]).await;
    assert_eq!((&checked["score"], &checked["provider"]), (&0.into(), &"kubeconfig".into()));
    let env = home.json(0, &["env"]).await;
    assert_ne!(
        text(&env["variables"]["KUBECONFIG"]),
        theirs.kubeconfig,
        "a copy that holds this context alone"
    );
    home.expect(0, &["solution", "--apply"]).await;
    assert_eq!(home.json(0, &["check"]).await["passed"], true);

    // The names are taken now, and what is there stays.
    let ran = home.expect(4, &arguments).await;
    ran.says(&["is there already and was not made for this session", "another `--variant`"]);
    assert_eq!(home.json(0, &["check"]).await["passed"], true, "the other session is as it was");

    let again = home.json(0, &["reset", "--yes"]).await;
    assert_eq!(again["session"], started["session"]);
    assert_eq!(home.json(1, &["check"]).await["score"], 0);
    home.expect(0, &["solution", "--apply"]).await;
    // A label that got lost, as when somebody replaces the object, loses no namespace.
    let one = made.lines().next().unwrap();
    theirs.kubectl(&["label", one, "cks-lab.dev/session-"]).await;
    let submitted = home.json(0, &["submit"]).await;
    assert_eq!(submitted["passed"], true);
    assert_eq!(theirs.content().await, before);
    assert_eq!(std::fs::read_to_string(&theirs.kubeconfig).unwrap(), config);
    home.expect(0, &["clean", "--yes"]).await;
    assert!(home.left().is_empty(), "{:?}", home.left());
}

#[tokio::test]
async fn an_interrupted_start_in_somebodys_own_cluster_is_undone() {
    let theirs = Theirs::new().await;
    let before = theirs.content().await;
    let context = theirs.context().await;
    let home = Home::new();
    let options =
        ["--provider", "kubeconfig", "--kubeconfig", &theirs.kubeconfig, "--context", &context, "--yes"];
    assert_eq!(started_and_sent(&home, Signal::SIGINT, &options).await, 130);
    assert_eq!(theirs.content().await, before);
    assert!(home.left().is_empty(), "{:?}", home.left());
}

#[tokio::test]
async fn a_cluster_that_is_gone_for_good_keeps_no_session() {
    let theirs = Theirs::new().await;
    let context = theirs.context().await;
    let home = Home::new();
    let options =
        ["--provider", "kubeconfig", "--kubeconfig", &theirs.kubeconfig, "--context", &context, "--yes"];
    home.expect(0, &[&["start", THEIR_SCENARIO], options.as_slice()].concat()).await;
    let server = theirs.home.server().unwrap();
    kill(Pid::from_raw(server), Signal::SIGKILL).unwrap();
    until("their server is gone", || !Path::new(&format!("/proc/{server}")).exists()).await;

    let checked = home.json(4, &["check"]).await;
    let undecided = |check: &Value| check["outcome"] == "cannot-judge" && check["awarded"] == 0;
    assert!(checked["checks"].as_array().unwrap().iter().all(undecided), "{checked:#}");
    home.expect(4, &["submit"]).await.says(&["could not be judged, so nothing was submitted"]);
    home.expect(4, &["stop", "--yes"]).await.says(&["--forget"]);
    home.expect(0, &["status"]).await.shows(&["running"]);
    home.expect(0, &["stop", "--yes", "--forget"]).await.says(&["warning: the cluster of session"]);
    assert!(home.left().is_empty(), "{:?}", home.left());
}
