//! Figures, not verdicts: how long a start and a check take, what the server holds, what the simulated API does in a
//! second. `cargo bench` prints them; `cargo bench -- lab` or `-- api` prints one half.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark measures and prints"
)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cks_lab::clock::SystemClock;
use cks_lab::sim::server::{Home, SimConfig, SimulatedCluster};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

const SCENARIO: &str = "shrink-the-publisher";

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

fn figure(name: &str, value: impl std::fmt::Display) {
    println!("{name:<58} {value}");
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

/// Runs the binary with a state folder of its own and returns what it wrote and how long it took.
fn run(home: &Path, args: &[&str]) -> (Value, Duration) {
    let begun = Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_cks-lab"))
        .args(args)
        .args(["--output", "json"])
        .env("CKS_LAB_HOME", home)
        .output()
        .unwrap();
    let took = begun.elapsed();
    let text = String::from_utf8_lossy(&output.stdout);
    let value = serde_json::from_str(&text).unwrap_or(Value::Null);
    assert!(!value.is_null(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    (value, took)
}

/// Returns the resident memory of the server that serves `home`, in MiB.
fn resident(home: &Path) -> f64 {
    let wanted = home.to_string_lossy().into_owned();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let mut pages = processes.filter_map(|process| {
        let line = std::fs::read_to_string(process.path().join("cmdline")).ok()?;
        let server = line.contains("sim-server") && line.contains(&wanted);
        let status = server.then(|| std::fs::read_to_string(process.path().join("status")).ok())??;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?
            .trim()
            .trim_end_matches(" kB")
            .parse::<f64>();
        kib.ok()
    });
    pages.next().unwrap_or(f64::NAN) / 1024.0
}

fn lab() {
    println!("# the lab, through the binary");
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let start = ["start", SCENARIO, "--provider", "sim", "--yes"];
    let (first, cold) = run(home, &start);
    figure("start to a usable kubeconfig, no server yet", ms(cold));
    std::thread::sleep(Duration::from_secs(2));
    let one = resident(home);
    figure("server with one cluster, resident", format!("{one:.1} MiB"));
    let mut warm: Vec<Duration> = (0..5).map(|_| run(home, &start).1).collect();
    warm.sort();
    figure("start, server running, median of 5", ms(warm[2]));
    std::thread::sleep(Duration::from_secs(2));
    figure("each further cluster, resident", format!("{:.1} MiB", (resident(home) - one) / 5.0));
    let session = first["session"].as_str().unwrap().to_owned();
    let mut checks: Vec<Duration> = (0..9).map(|_| run(home, &["check", "--session", &session]).1).collect();
    checks.sort();
    figure("check, median of 9", ms(checks[4]));
    run(home, &["stop", "--all", "--yes"]);
}

async fn client(cluster: &mut SimulatedCluster) -> kube::Client {
    cluster.listen().await.unwrap();
    let config = kube::config::Kubeconfig::from_yaml(&cluster.admin_kubeconfig().unwrap()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
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
    let home = Home::Dir(dir.path().join("cluster"));
    let begun = Instant::now();
    let mut cluster =
        SimulatedCluster::start(SimConfig::new("bench", 0), home.clone(), Arc::new(SystemClock))
            .await
            .unwrap();
    let client = client(&mut cluster).await;
    client.apiserver_version().await.unwrap();
    figure("cluster ready", ms(begun.elapsed()));

    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let begun = Instant::now();
    let mut each = Vec::new();
    for number in 0..5000 {
        let one = Instant::now();
        maps.create(&PostParams::default(), &config_map(&format!("c{number}"))).await.unwrap();
        each.push(one.elapsed());
    }
    let took = begun.elapsed();
    each.sort();
    figure(
        "creates, one connection",
        format!("{:.0}/s, median {}", 5000.0 / took.as_secs_f64(), ms(each[2500])),
    );

    let begun = Instant::now();
    assert!(maps.list(&ListParams::default()).await.unwrap().items.len() >= 5000);
    figure("list of 5,000 ConfigMaps as JSON, parsed by the client", ms(begun.elapsed()));
    pods(&client).await;
    watches(&maps).await;

    cluster.stop().await.unwrap();
    let begun = Instant::now();
    let cluster =
        SimulatedCluster::start(SimConfig::new("bench", 0), home, Arc::new(SystemClock)).await.unwrap();
    figure("restart with 15,000 objects", ms(begun.elapsed()));
    cluster.stop().await.unwrap();
}

/// Fetches a path and returns how long the whole body took.
async fn fetch(client: &kube::Client, path: &str, accept: &str) -> (usize, Duration) {
    let request = http::Request::get(path).header("accept", accept).body(Vec::new()).unwrap();
    let begun = Instant::now();
    let text = client.request_text(request).await.unwrap();
    (text.len(), begun.elapsed())
}

async fn pods(client: &kube::Client) {
    let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(client.clone(), "default");
    let numbers: Vec<usize> = (0..10_000).collect();
    futures::stream::iter(numbers)
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
    let path = "/api/v1/namespaces/default/pods";
    let (bytes, took) = fetch(client, path, "application/json").await;
    figure("list of 10,000 Pods as JSON", format!("{}, {:.1} MiB", ms(took), bytes as f64 / 1048576.0));
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    let (bytes, took) = fetch(client, path, table).await;
    figure("list of 10,000 Pods as a Table", format!("{}, {:.1} MiB", ms(took), bytes as f64 / 1048576.0));
}

/// 500 watches, 100 writes a second for five seconds: how long until each watch has each change.
async fn watches(maps: &Api<ConfigMap>) {
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
    all.sort_unstable();
    let at = |share: f64| {
        all.get((all.len() as f64 * share) as usize).copied().unwrap_or_default() as f64 / 1000.0
    };
    figure(
        "500 watches, 100 writes/s",
        format!("{} events, p50 {:.1} ms, p99 {:.1} ms", all.len(), at(0.5), at(0.99)),
    );
}
