//! Figures, not verdicts: how long a start and a check take, what the server holds, what the simulated API does in a
//! second. `cargo bench` prints them; `cargo bench -- lab` or `-- api` prints one half. Each is the best of several
//! tries; `server` is the processor time that the server took for it, which a busy machine leaves as it is.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark measures and prints"
)]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cks_lab::sim::server::{ClusterInfo, ClusterRequest, Control, arguments};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

const SCENARIO: &str = "shrink-the-publisher";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let runs = |name: &str| wanted.is_empty() || wanted.iter().any(|want| want == name);
    if runs("lab") {
        lab();
    }
    if runs("api") {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(api());
    }
}

fn figure(name: &str, target: &str, value: impl std::fmt::Display) {
    println!("{name:<52} {target:>12}   {value}");
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn best(mut times: Vec<Duration>) -> String {
    times.sort();
    format!("{} (median {})", ms(times[0]), ms(times[times.len() / 2]))
}

// --- The lab, through the binary

/// Runs the binary with a state folder of its own and returns what it wrote and how long it took.
fn run(home: &Path, args: &[&str]) -> (Value, Duration) {
    let begun = Instant::now();
    let output = command(home, args).output().unwrap();
    let took = begun.elapsed();
    let text = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&text).unwrap_or(Value::Null);
    assert!(!value.is_null(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    (value, took)
}

fn command(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cks-lab"));
    command.args(args).args(["--output", "json"]).env("CKS_LAB_HOME", home);
    command
}

/// How long `start` takes until its cluster has a kubeconfig that somebody answers to, and until it is done.
fn start(home: &Path) -> (Value, Duration, Duration) {
    let clusters = home.join("sim/clusters");
    let ready = || {
        let made = std::fs::read_dir(&clusters).into_iter().flatten().flatten();
        made.filter(|cluster| cluster.path().join("cluster.json").exists()).count()
    };
    let before = ready();
    let begun = Instant::now();
    let child = command(home, &["start", SCENARIO, "--provider", "sim", "--yes"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The description is written last, when the API listens and the kubeconfig is there.
    while ready() == before {
        std::thread::sleep(Duration::from_micros(500));
    }
    let usable = begun.elapsed();
    let output = child.wait_with_output().unwrap();
    let done = begun.elapsed();
    (serde_json::from_slice(&output.stdout).unwrap(), usable, done)
}

/// The process that serves a state folder.
fn server_of(home: &Path) -> Server {
    let wanted = home.to_string_lossy().into_owned();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut found = processes.map(|process| process.path()).filter(|process| {
        let line = std::fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        line.contains("sim-server") && line.contains(&wanted)
    });
    Server { process: found.next().unwrap() }
}

struct Server {
    process: PathBuf,
}

impl Server {
    /// Returns its resident memory in MiB.
    fn resident(&self) -> f64 {
        let status = std::fs::read_to_string(self.process.join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// Returns the processor time that it has taken.
    fn time(&self) -> Duration {
        let threads = std::fs::read_dir(self.process.join("task")).unwrap().flatten();
        let nanos = threads.filter_map(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
            stat.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }
}

fn lab() {
    println!("# the lab, through the binary");
    let (mut cold, mut warm) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
    for round in 0..3 {
        let home = tempfile::tempdir().unwrap();
        let home = home.path();
        let (first, usable, done) = start(home);
        cold.0.push(usable);
        cold.1.push(done);
        if round == 2 {
            memory_and_checks(home, first["session"].as_str().unwrap(), &mut warm);
        }
        run(home, &["stop", "--all", "--yes"]);
    }
    figure("start to a usable kubeconfig, no server yet", "< 300 ms", best(cold.0));
    figure("start to a usable kubeconfig, server running", "< 300 ms", best(warm.0));
    figure("start, seeded and recorded, no server yet", "", best(cold.1));
    figure("start, seeded and recorded, server running", "", best(warm.1));
}

fn memory_and_checks(home: &Path, session: &str, warm: &mut (Vec<Duration>, Vec<Duration>)) {
    let server = server_of(home);
    // Longer than anything that a start leaves to be done.
    std::thread::sleep(Duration::from_secs(3));
    let one = server.resident();
    let busy = server.time();
    std::thread::sleep(Duration::from_secs(3));
    let busy = (server.time() - busy) / 3;
    figure("server with one idle cluster, resident", "40 MiB", format!("{one:.1} MiB"));
    figure("server with one idle cluster, busy", "", format!("{} of each second", ms(busy)));
    let checks = (0..9).map(|_| run(home, &["check", "--session", session]).1).collect();
    figure("check", "", best(checks));
    for _ in 0..5 {
        let (_, usable, done) = start(home);
        warm.0.push(usable);
        warm.1.push(done);
    }
    std::thread::sleep(Duration::from_secs(3));
    figure("each further cluster, resident", "8 MiB", format!("{:.1} MiB", (server.resident() - one) / 5.0));
}

// --- The simulated API, over TLS on loopback

fn serve(home: &Path) -> Child {
    let mut server = Command::new(env!("CARGO_BIN_EXE_cks-lab"));
    server.args(arguments(home)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    server.spawn().unwrap()
}

async fn client(info: &ClusterInfo) -> kube::Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(&info.kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

fn config_map(name: &str) -> ConfigMap {
    let object =
        json!({ "metadata": { "name": name, "labels": { "of": "benchmark" } }, "data": { "key": "value" } });
    serde_json::from_value(object).unwrap()
}

async fn api() {
    println!("# the simulated API, over TLS on loopback");
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let control = Control::new(home);
    let mut process = serve(home);
    control.wait(Duration::from_secs(30), || false).await.unwrap();
    let server = server_of(home);
    let (mut ready, mut times) = (Vec::new(), Vec::new());
    for number in 0..5 {
        let (begun, time) = (Instant::now(), server.time());
        let request = ClusterRequest { name: format!("bench-{number}"), ..Default::default() };
        control.create(&request).await.unwrap();
        ready.push(begun.elapsed());
        times.push(server.time() - time);
    }
    let value = format!("{}; server {}", best(ready), best(times));
    figure("cluster ready in the server", "< 150 ms", value);
    for number in 1..5 {
        control.delete(&format!("bench-{number}")).await.unwrap();
    }
    let info = control.get("bench-0").await.unwrap();
    let client = client(&info).await;
    creates(&client, &server).await;
    pods(&client, &server).await;
    watches(&Api::namespaced(client, "default"), &server).await;

    let (mut restarts, mut times) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        process.kill().unwrap();
        process.wait().unwrap();
        let begun = Instant::now();
        process = serve(home);
        control.wait(Duration::from_secs(30), || false).await.unwrap();
        let client = self::client(&info).await;
        client.apiserver_version().await.unwrap();
        restarts.push(begun.elapsed());
        times.push(server_of(home).time());
    }
    let value = format!("{}; server {}", best(restarts), best(times));
    figure("killed and answering again, 15,500 objects", "< 500 ms", value);
    figure("with them, resident", "", format!("{:.0} MiB", server_of(home).resident()));
    control.stop().await.unwrap();
    process.wait().unwrap();
}

async fn creates(client: &kube::Client, server: &Server) {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let (begun, time) = (Instant::now(), server.time());
    let mut each = Vec::new();
    for number in 0..5000 {
        let one = Instant::now();
        maps.create(&PostParams::default(), &config_map(&format!("c{number}"))).await.unwrap();
        each.push(one.elapsed());
    }
    let (took, time) = (begun.elapsed(), server.time() - time);
    each.sort();
    let rate = |time: Duration| 5000.0 / time.as_secs_f64();
    figure(
        "5,000 creates, one after the other",
        ">= 2,000/s",
        format!("{:.0}/s, median {}; server {:.0}/s", rate(took), ms(each[2500]), rate(time)),
    );
    let path = "/api/v1/namespaces/default/configmaps";
    list(client, server, path, "application/json", "list of 5,000 ConfigMaps as JSON", "").await;
    list(client, server, path, TABLE, "list of 5,000 ConfigMaps as a Table", "").await;
}

/// Fetches a list several times.
async fn list(client: &kube::Client, server: &Server, path: &str, accept: &str, name: &str, target: &str) {
    let (mut took, mut size) = (Vec::new(), 0);
    let time = server.time();
    for _ in 0..5 {
        let request = http::Request::get(path).header("accept", accept).body(Vec::new()).unwrap();
        let begun = Instant::now();
        size = client.request_text(request).await.unwrap().len();
        took.push(begun.elapsed());
    }
    let time = (server.time() - time) / 5;
    let size = size as f64 / 1_048_576.0;
    figure(name, target, format!("{}; server {}; {size:.1} MiB", best(took), ms(time)));
}

async fn pods(client: &kube::Client, server: &Server) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let time = server.time();
    futures::stream::iter(0..10_000)
        .for_each_concurrent(16, |number| {
            let pods = pods.clone();
            async move {
                // A node that is not there keeps the kubelet out of the measurement.
                let pod = json!({ "metadata": { "name": format!("p{number}") },
                    "spec": { "nodeName": "elsewhere", "containers": [{ "name": "c", "image": "nginx:1.27" }] } });
                pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
            }
        })
        .await;
    let time = server.time() - time;
    figure("10,000 Pods created", "", format!("server {:.0}/s", 10_000.0 / time.as_secs_f64()));
    let path = "/api/v1/namespaces/default/pods";
    list(client, server, path, "application/json", "list of 10,000 Pods as JSON", "< 250 ms").await;
    list(client, server, path, TABLE, "list of 10,000 Pods as a Table", "< 200 ms").await;
}

/// 500 watches, 100 writes a second for five seconds: how long until each watch has each change.
async fn watches(maps: &Api<ConfigMap>, server: &Server) {
    let version =
        maps.list(&ListParams::default().limit(1)).await.unwrap().metadata.resource_version.unwrap();
    let (sender, mut delays) = tokio::sync::mpsc::unbounded_channel();
    let epoch = Instant::now();
    for _ in 0..500 {
        let (maps, sender, version) = (maps.clone(), sender.clone(), version.clone());
        tokio::spawn(async move {
            let mut stream = maps.watch(&WatchParams::default(), &version).await.unwrap().boxed();
            while let Some(Ok(event)) = stream.next().await {
                if let WatchEvent::Added(map) = event {
                    let sent: u128 = map.data.unwrap()["at"].parse().unwrap();
                    let _ = sender.send(epoch.elapsed().as_micros().saturating_sub(sent));
                }
            }
        });
    }
    drop(sender);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let time = server.time();
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    for number in 0..500 {
        tick.tick().await;
        let mut map = config_map(&format!("w{number}"));
        map.data = Some([("at".to_owned(), epoch.elapsed().as_micros().to_string())].into());
        let maps = maps.clone();
        tokio::spawn(async move { maps.create(&PostParams::default(), &map).await.unwrap() });
    }
    let mut all = Vec::with_capacity(250_000);
    while let Ok(Some(delay)) = tokio::time::timeout(Duration::from_secs(3), delays.recv()).await {
        all.push(delay);
    }
    let busy = (server.time() - time) / 5;
    all.sort_unstable();
    let at = |share: f64| {
        all.get((all.len() as f64 * share) as usize).copied().unwrap_or_default() as f64 / 1000.0
    };
    figure(
        "500 watches, 100 writes/s",
        "p99 < 50 ms",
        format!(
            "p50 {:.1} ms, p99 {:.1} ms, {} events; server {} of each second",
            at(0.5),
            at(0.99),
            all.len(),
            ms(busy)
        ),
    );
}
