//! A copy of a cluster has what the original had, and goes its own way from there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cks_lab::clock::SystemClock;
use cks_lab::sim::server::{self, ClusterInfo, ClusterRequest, Control};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::json;

async fn client(info: &ClusterInfo) -> kube::Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(&info.kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap();
    kube::Client::try_from(config).unwrap()
}

/// The Pods' names, with their uids and how often their containers were started again.
async fn pods(client: &kube::Client) -> BTreeMap<String, (Option<String>, bool, i32)> {
    let listed = Api::<Pod>::namespaced(client.clone(), "default").list(&Default::default()).await.unwrap();
    let describe = |pod: Pod| {
        let statuses = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
        let ready = !statuses.is_empty() && statuses.iter().all(|status| status.ready);
        let restarts = statuses.iter().map(|status| status.restart_count).sum();
        (pod.metadata.name.unwrap_or_default(), (pod.metadata.uid, ready, restarts))
    };
    listed.items.into_iter().map(describe).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_has_the_same_objects_and_goes_its_own_way() {
    let home = tempfile::tempdir().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let dir = home.path().to_owned();
    let hosting = tokio::spawn(async move {
        let stopped = async { stopped.await.unwrap_or(()) };
        server::run(&dir, Arc::new(SystemClock), stopped, |_| {}).await
    });
    let control = Control::new(home.path());
    control.wait(Duration::from_secs(30), || false).await.unwrap();
    let ask = |name: &str, copy_of: Option<&str>| ClusterRequest {
        name: name.to_owned(),
        workers: 1,
        copy_of: copy_of.map(str::to_owned),
    };
    let original = control.create(&ask("original", None)).await.unwrap();
    let first = client(&original).await;
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx"}]}
        }}
    }))
    .unwrap();
    let deployments = Api::<Deployment>::namespaced(first.clone(), "default");
    deployments.create(&PostParams::default(), &deployment).await.unwrap();
    let running = loop {
        let running = pods(&first).await;
        if running.len() == 2 && running.values().all(|(_, ready, _)| *ready) {
            break running;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };

    let copied = control.create(&ask("copy", Some("original"))).await.unwrap();
    assert_ne!(copied.server, original.server);
    assert_eq!(copied.nodes, original.nodes);
    let second = client(&copied).await;
    assert_eq!(pods(&second).await, running, "the copy's Pods are the same, and still run");

    Api::<Deployment>::namespaced(second.clone(), "default")
        .delete("web", &DeleteParams::default())
        .await
        .unwrap();
    let config: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "only-here"}})).unwrap();
    Api::<ConfigMap>::namespaced(second.clone(), "default")
        .create(&PostParams::default(), &config)
        .await
        .unwrap();
    while !pods(&second).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(pods(&first).await, running, "the original has not noticed");
    let of_first = Api::<ConfigMap>::namespaced(first.clone(), "default");
    assert!(of_first.get_opt("only-here").await.unwrap().is_none());

    control.delete("original").await.unwrap();
    let of_second = Api::<ConfigMap>::namespaced(second, "default");
    assert!(of_second.get_opt("only-here").await.unwrap().is_some(), "the copy needs no original");
    assert!(control.create(&ask("late", Some("original"))).await.is_err());
    stop.send(()).unwrap();
    hosting.await.unwrap().unwrap();
}
