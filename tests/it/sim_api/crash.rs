//! A real server process is killed at random points. Whatever it had acknowledged is there when it comes back.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cks_lab::sim::server::{ClusterInfo, ClusterRequest, Control, ServerError, arguments};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

#[expect(
    clippy::disallowed_methods,
    reason = "the process under test must be killed in the middle of its work"
)]
fn start(dir: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_cks-lab"))
        .args(arguments(dir))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn kill(mut server: Child) {
    server.kill().unwrap();
    server.wait().unwrap();
}

async fn client(info: &ClusterInfo) -> kube::Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(&info.grader_kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

/// What one object must be after the crash: as last acknowledged or, when the answer to a write was lost, as that write
/// would have it. Nothing means that it is not there.
#[derive(Debug, Clone, Default)]
struct Expectation {
    acknowledged: Option<String>,
    lost: Option<Option<String>>,
}

type Expected = Arc<Mutex<BTreeMap<String, Expectation>>>;

fn object(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": {"v": value}})).unwrap()
}

/// Creates, replaces and deletes until the server is gone.
async fn write(client: kube::Client, writer: usize, expected: Expected) {
    let api: Api<ConfigMap> = Api::namespaced(client, "default");
    for step in 0.. {
        let name = format!("w{writer}-{}", step % 7);
        let value = format!("{step}");
        let there = expected.lock().unwrap().get(&name).is_some_and(|e| e.acknowledged.is_some());
        let wanted = if there && step % 5 == 0 { None } else { Some(value.clone()) };
        expected.lock().unwrap().entry(name.clone()).or_default().lost = Some(wanted.clone());
        let done = match (&wanted, there) {
            (None, _) => api.delete(&name, &DeleteParams::default()).await.map(|_| ()),
            (Some(value), true) => {
                api.replace(&name, &PostParams::default(), &object(&name, value)).await.map(|_| ())
            }
            (Some(value), false) => {
                api.create(&PostParams::default(), &object(&name, value)).await.map(|_| ())
            }
        };
        match done {
            Ok(()) => {
                let mut expected = expected.lock().unwrap();
                expected.insert(name, Expectation { acknowledged: wanted, lost: None });
            }
            Err(kube::Error::Api(status)) => panic!("{name}: {status:?}"),
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_write_is_lost_when_the_server_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let control = Control::new(home.path());
    let mut server = start(home.path());
    control.wait(Duration::from_secs(30), || false).await.unwrap();
    let request = ClusterRequest { name: "crash".to_owned(), ..ClusterRequest::default() };
    let created = control.create(&request).await.unwrap();
    let expected = Expected::default();
    for round in 0..4u64 {
        let info = control.get("crash").await.unwrap();
        assert_eq!(info.server, created.server, "the port stays");
        let client = client(&info).await;
        let writers: Vec<_> =
            (0..3).map(|writer| tokio::spawn(write(client.clone(), writer, expected.clone()))).collect();
        // Somewhere in the middle of writing; the process id makes it another place in each run.
        let pause = 120 + (u64::from(std::process::id()) * 37 + round * 101) % 300;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        kill(server);
        for writer in writers {
            writer.await.unwrap();
        }
        server = start(home.path());
        control.wait(Duration::from_secs(30), || false).await.unwrap();
        let api: Api<ConfigMap> = Api::namespaced(self::client(&info).await, "default");
        let listed = api.list(&Default::default()).await.unwrap();
        let found: BTreeMap<String, String> = listed
            .items
            .into_iter()
            .filter_map(|map| Some((map.metadata.name?, map.data?.get("v")?.clone())))
            .collect();
        let mut expected = expected.lock().unwrap();
        assert!(expected.len() >= 3, "nothing was written in {pause} ms");
        for (name, expectation) in expected.iter_mut() {
            let now = found.get(name).cloned();
            let fits = now == expectation.acknowledged || expectation.lost.as_ref() == Some(&now);
            assert!(fits, "round {round}: {name} is {now:?}, expected {expectation:?}");
            *expectation = Expectation { acknowledged: now, lost: None };
        }
    }
    control.delete("crash").await.unwrap();
    assert!(!created.dir.exists());
    server.wait().unwrap();
    assert!(matches!(control.ping().await, Err(ServerError::NotRunning)), "it ends with its last cluster");
}

/// Starts a server whose files can grow to so many KiB and no more: to it, a full disk.
#[expect(clippy::disallowed_methods, reason = "the process under test needs a limit of its own")]
fn start_on_small_disk(dir: &Path, kib: u32) -> Child {
    let limited = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$@\"");
    Command::new("bash")
        .args(["-c", &limited, "bash", env!("CARGO_BIN_EXE_cks-lab")])
        .args(arguments(dir))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_writes_and_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let control = Control::new(home.path());
    let server = start_on_small_disk(home.path(), 2048);
    control.wait(Duration::from_secs(30), || false).await.unwrap();
    let info =
        control.create(&ClusterRequest { name: "full".to_owned(), ..Default::default() }).await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(client(&info).await, "default");
    let filler = "x".repeat(100_000);
    let mut written = Vec::new();
    let refused = loop {
        let name = format!("big-{}", written.len());
        match api.create(&PostParams::default(), &object(&name, &filler)).await {
            Ok(_) => written.push(name),
            Err(kube::Error::Api(status)) => break status,
            Err(other) => panic!("{other}"),
        }
        assert!(written.len() < 40, "the disk never filled");
    };
    assert_eq!((refused.code, refused.reason.as_str()), (500, "InternalError"), "{refused:?}");
    assert!(refused.message.contains("failed to write the store: File too large"), "{refused:?}");
    assert!(!written.is_empty());
    let names = |list: kube::core::ObjectList<ConfigMap>| -> Vec<String> {
        let names = list.items.into_iter().filter_map(|map| map.metadata.name);
        names.filter(|name| name.starts_with("big-")).collect()
    };
    let mut expected = written.clone();
    expected.sort();
    assert_eq!(names(api.list(&Default::default()).await.unwrap()), expected, "reading goes on");
    kill(server);
    let mut server = start(home.path());
    control.wait(Duration::from_secs(30), || false).await.unwrap();
    let api: Api<ConfigMap> = Api::namespaced(client(&info).await, "default");
    assert_eq!(names(api.list(&Default::default()).await.unwrap()), expected);
    api.create(&PostParams::default(), &object("more", &filler)).await.unwrap();
    control.stop().await.unwrap();
    server.wait().unwrap();
}

#[tokio::test]
async fn a_folder_has_one_server_and_a_stale_socket_is_no_obstacle() {
    let home = tempfile::tempdir().unwrap();
    let control = Control::new(home.path());
    assert!(matches!(control.ping().await, Err(ServerError::NotRunning)));
    let first = start(home.path());
    let pong = control.wait(Duration::from_secs(30), || false).await.unwrap();
    assert_eq!(pong.pid, first.id());
    let mut second = start(home.path());
    second.wait().unwrap();
    assert_eq!(control.ping().await.unwrap().pid, first.id());
    assert!(matches!(
        control.create(&ClusterRequest { name: "../x".to_owned(), ..ClusterRequest::default() }).await,
        Err(ServerError::BadName(_))
    ));
    assert!(matches!(control.delete("none").await, Err(ServerError::NoCluster(_))));
    kill(first);
    assert!(home.path().join("server.sock").exists(), "the socket was left behind");
    let mut third = start(home.path());
    control.wait(Duration::from_secs(30), || false).await.unwrap();
    control.stop().await.unwrap();
    third.wait().unwrap();
}
