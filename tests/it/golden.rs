//! kubectl's commands against the simulated cluster, held to what a real Kubernetes v1.34 answered to the letter.

#![expect(
    clippy::disallowed_methods,
    reason = "tests run kubectl themselves, and may be told to run one case"
)]

mod normalise;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cks_lab::clock::SystemClock;
use cks_lab::sim::server::SimulatedCluster;
use serde::Deserialize;

use normalise::normalise;

/// How many cases run at once.
const AT_ONCE: usize = 4;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Case {
    name: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    no_namespace: bool,
    steps: Vec<serde_json::Value>,
    #[serde(default)]
    cleanup: Vec<String>,
}

#[derive(Deserialize)]
struct Step {
    run: String,
    #[serde(default)]
    stdin: String,
    #[serde(default)]
    settle: f64,
    #[serde(default)]
    timeout: Option<u64>,
    #[serde(default)]
    skip_output: bool,
    #[serde(default)]
    unordered: bool,
}

#[derive(Deserialize)]
struct Golden {
    run: String,
    rc: serde_json::Value,
    #[serde(default)]
    out: Option<String>,
    #[serde(default)]
    err: Option<String>,
}

struct Server {
    kubeconfig: serde_json::Value,
    url: String,
    node: String,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/real-cluster").join(name)
}

/// What the reference page says of steps that differ and stay so: `case[step]`, each on a line of its list.
fn known_differences() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/simulated-cluster.md");
    let text = std::fs::read_to_string(page).unwrap();
    let (_, section) =
        text.split_once("\n## Where the recording is not met").expect("the page has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let named = section.lines().filter_map(|line| line.strip_prefix("- `"));
    named.filter_map(|line| line.split('`').next()).map(str::to_owned).collect()
}

fn step_of(value: &serde_json::Value) -> Step {
    match value {
        serde_json::Value::String(run) => serde_json::from_value(serde_json::json!({ "run": run })).unwrap(),
        other => serde_json::from_value(other.clone()).unwrap(),
    }
}

/// Runs one command line as the recording did; none when it takes too long.
fn bash(
    run: &str,
    stdin: &str,
    dir: &Path,
    env: &[(String, String)],
    limit: Duration,
) -> Option<(i32, String, String)> {
    use std::io::{Read as _, Write as _};

    let mut child = Command::new("timeout")
        .args(["--kill-after=1", &limit.as_secs().to_string(), "bash", "-c", run])
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash runs");
    let mut input = child.stdin.take().unwrap();
    let text = stdin.to_owned();
    let feed = std::thread::spawn(move || {
        let _ = input.write_all(text.as_bytes());
    });
    let mut errors = child.stderr.take().unwrap();
    let drain = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = errors.read_to_end(&mut bytes);
        bytes
    });
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out).unwrap();
    let status = child.wait().unwrap().code().unwrap_or(-1);
    feed.join().unwrap();
    let err = drain.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status != 124 || run.starts_with("timeout")).then(|| (status, text(out), text(err)))
}

fn sorted(text: &str) -> String {
    let mut lines: Vec<&str> = text.split('\n').collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Runs a case and returns a description of each step that differs, by the name that the page would give it.
fn run_case(case: &Case, golden: &[Golden], server: &Server) -> BTreeMap<String, String> {
    let top = tempfile::tempdir().unwrap();
    let dir = top.path().join("work");
    std::fs::create_dir(&dir).unwrap();
    let namespace = case.name.chars().take(50).collect::<String>().trim_end_matches('-').to_owned();
    let fill = |text: &str| text.replace("$NS", &namespace).replace("$NODE", &server.node);
    for (file, text) in &case.files {
        std::fs::write(dir.join(file), fill(text)).unwrap();
    }
    let mut config = server.kubeconfig.clone();
    config["contexts"][0]["context"]["namespace"] =
        if case.no_namespace { "default" } else { &namespace }.into();
    let kubeconfig = top.path().join("kubeconfig");
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let env: Vec<(String, String)> = [
        ("KUBECONFIG", path(&kubeconfig)),
        ("NS", namespace.clone()),
        ("NODE", server.node.clone()),
        ("SERVER", server.url.clone()),
        ("HOME", path(top.path())),
        ("KUBECTL_EXTERNAL_DIFF", "diff -u -N".to_owned()),
        ("NO_COLOR", "1".to_owned()),
        ("TERM", "dumb".to_owned()),
        ("LC_ALL", "C".to_owned()),
        ("TZ", "UTC".to_owned()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    let limit = Duration::from_secs(60);
    if !case.no_namespace {
        bash("kubectl delete namespace $NS --ignore-not-found --timeout=50s", "", &dir, &env, limit);
        let made =
            bash("kubectl create namespace $NS", "", &dir, &env, limit).expect("the namespace is created");
        assert_eq!(made.0, 0, "{}", made.2);
        let ready = "for i in $(seq 100); do kubectl get cm kube-root-ca.crt && kubectl get sa default && exit; sleep 0.1; done; exit 1";
        assert_eq!(
            bash(ready, "", &dir, &env, limit).map(|ended| ended.0),
            Some(0),
            "the namespace gets its objects"
        );
    }
    let names = [
        (path(&dir), "<dir>".to_owned()),
        (path(top.path()), "<home>".to_owned()),
        (namespace.clone(), "<ns>".to_owned()),
        (server.url.clone(), "<server>".to_owned()),
        (server.node.clone(), "<node>".to_owned()),
    ];
    let mut differences = BTreeMap::new();
    for (at, (step, golden)) in case.steps.iter().map(step_of).zip(golden).enumerate() {
        assert_eq!(step.run, golden.run, "{} step {at} is the recorded one", case.name);
        std::thread::sleep(Duration::from_secs_f64(step.settle));
        let ended =
            bash(&step.run, &fill(&step.stdin), &dir, &env, Duration::from_secs(step.timeout.unwrap_or(60)));
        let (rc, out, err) = match ended {
            Some((rc, out, err)) => (serde_json::json!(rc), out, err),
            None => (serde_json::json!("timeout"), String::new(), String::new()),
        };
        let tidy = |text: &str| {
            let text = normalise(text, &names);
            if step.unordered { sorted(&text) } else { text }
        };
        let (out, err) = if step.skip_output { (None, None) } else { (Some(tidy(&out)), Some(tidy(&err))) };
        if rc != golden.rc || out != golden.out || err != golden.err {
            let mut text =
                format!("--- {}[{at}] $ {}\n    rc {} and not {}\n", case.name, step.run, rc, golden.rc);
            for (name, ours, real) in [("out", &out, &golden.out), ("err", &err, &golden.err)] {
                if ours != real {
                    let _ = writeln!(text, "    {name}: {ours:?}\n   real: {real:?}");
                }
            }
            differences.insert(format!("{}[{at}]", case.name), text);
        }
    }
    for clean in case.cleanup.iter().map(String::as_str).chain(["kubectl delete namespace $NS --wait=false"])
    {
        if !(case.no_namespace && clean.contains("delete namespace")) {
            bash(clean, "", &dir, &env, limit);
        }
    }
    differences
}

async fn server() -> (SimulatedCluster, Server) {
    let mut cluster = SimulatedCluster::in_memory(Arc::new(SystemClock)).await.expect("the cluster starts");
    cluster.listen().await.expect("the cluster listens");
    let text = cluster.admin_kubeconfig().expect("the cluster has a kubeconfig");
    let mut kubeconfig: serde_json::Value = serde_saphyr::from_str(&text).expect("the kubeconfig is YAML");
    for kind in ["clusters", "users", "contexts"] {
        kubeconfig[kind][0]["name"] = "lab".into();
    }
    kubeconfig["contexts"][0]["context"]["cluster"] = "lab".into();
    kubeconfig["contexts"][0]["context"]["user"] = "lab".into();
    kubeconfig["current-context"] = "lab".into();
    let node = cluster.config().nodes[0].clone();
    let server = Server { kubeconfig, url: cluster.url(), node };
    (cluster, server)
}

/// Runs cases, a few at once, and returns what differs.
fn run_cases(
    cases: &[&Case],
    golden: &BTreeMap<String, Vec<Golden>>,
    server: &Server,
    at_once: usize,
) -> BTreeMap<String, String> {
    let queue = std::sync::Mutex::new(cases.iter());
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once)
            .map(|_| {
                scope.spawn(|| {
                    let mut found = BTreeMap::new();
                    loop {
                        let Some(case) = queue.lock().unwrap().next() else { return found };
                        found.extend(run_case(case, &golden[&case.name], server));
                    }
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

/// Holds every command of the corpus to the recording, but for the differences that the reference page lists.
/// `GOLDEN_ONLY=text` runs the cases whose name contains it and prints what differs.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_is_answered_as_by_a_real_cluster() {
    let cases: Vec<Case> =
        serde_saphyr::from_str(&std::fs::read_to_string(fixture("corpus.yaml")).unwrap()).unwrap();
    let golden: BTreeMap<String, Vec<Golden>> =
        serde_json::from_str(&std::fs::read_to_string(fixture("golden.json")).unwrap()).unwrap();
    let only = std::env::var("GOLDEN_ONLY").unwrap_or_default();
    let cases: Vec<Case> = cases.into_iter().filter(|case| case.name.contains(&only)).collect();
    assert!(!cases.is_empty(), "no case has a name with {only:?}");
    let (_cluster, server) = server().await;
    let (differences, cases) = tokio::task::spawn_blocking(move || {
        // Those that look at the cluster as a whole must not see what others have made.
        let (whole, apart): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.no_namespace);
        let mut differences = run_cases(&apart, &golden, &server, AT_ONCE);
        differences.extend(run_cases(&whole, &golden, &server, 1));
        // What differs only while four cases share a busy machine is the machine's fault.
        let again: Vec<&Case> = cases
            .iter()
            .filter(|case| differences.keys().any(|step| step.starts_with(&format!("{}[", case.name))))
            .collect();
        if !again.is_empty() {
            differences = run_cases(&again, &golden, &server, 1);
        }
        (differences, cases)
    })
    .await
    .unwrap();
    let total: usize = cases.iter().map(|case| case.steps.len()).sum();
    let described = differences.values().cloned().collect::<Vec<_>>().join("\n");
    println!("{described}\n{} of {total} steps agree", total - differences.len());
    let names = |step: &&String| cases.iter().any(|case| step.starts_with(&format!("{}[", case.name)));
    let known = known_differences();
    let expected: BTreeSet<&String> = known.iter().filter(names).collect();
    let found: BTreeSet<&String> = differences.keys().collect();
    assert_eq!(
        found, expected,
        "what differs is what docs/reference/simulated-cluster.md lists:\n{described}"
    );
}
