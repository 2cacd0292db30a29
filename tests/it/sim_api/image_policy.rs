//! ImagePolicyWebhook with a real backend: who is let in, what is asked, and how often.

use cks_lab::sim::server::{ApiServerFlags, SimConfig};
use serde_json::json;

use super::kubectl::Shell;
use super::webhooks::Server;

/// Starts a cluster whose API server asks the backend.
async fn asking(dir: &std::path::Path, backend: &Server) -> Shell {
    let file = |name: &str, text: String| std::fs::write(dir.join(name), text).unwrap();
    file("ca.crt", backend.certificate.clone());
    file(
        "backend.yaml",
        json!({ "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{ "name": "scanner", "cluster": { "server": format!("https://127.0.0.1:{}/scan", backend.port),
                "certificate-authority": "ca.crt" } }],
            "contexts": [{ "name": "it", "context": { "cluster": "scanner", "user": "api-server" } }],
            "users": [{ "name": "api-server", "user": {} }] })
        .to_string(),
    );
    file(
        "policy.yaml",
        json!({ "imagePolicy": { "kubeConfigFile": dir.join("backend.yaml"), "allowTTL": 50, "denyTTL": -1,
            "retryBackoff": 10, "defaultAllow": false } })
        .to_string(),
    );
    let configuration = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n- name: \
                         ImagePolicyWebhook\n  path: policy.yaml\n";
    file("admission.yaml", configuration.to_owned());
    let api_server = ApiServerFlags {
        enable_admission_plugins: vec!["ImagePolicyWebhook".to_owned()],
        admission_control_config_file: Some(dir.join("admission.yaml")),
        ..ApiServerFlags::default()
    };
    Shell::with(SimConfig { api_server, ..SimConfig::new("test", 0) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backend_decides_which_images_run() {
    let backend = Server::start(|review| {
        let images = review["spec"]["containers"].as_array().unwrap();
        let pinned = images.iter().all(|container| container["image"].as_str().unwrap().contains(':'));
        let status =
            if pinned { json!({ "allowed": true }) } else { json!({ "allowed": false, "reason": "no tag" }) };
        Some(json!({ "apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview", "status": status }))
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let shell = asking(dir.path(), &backend).await;
    let (success, _, err) = shell.run("kubectl run bad --image=nginx").await;
    assert!(!success);
    assert_eq!(
        err,
        "Error from server (Forbidden): pods \"bad\" is forbidden: image policy webhook backend denied one or more \
         images: no tag"
    );
    let first = "kubectl run first --image=nginx:1.27 --overrides='{\"spec\":{\"initContainers\":[{\"name\":\"i\",\"image\":\"busybox\"}]}}'";
    assert!(!shell.run(first).await.0, "init containers are asked about");
    backend.heard();
    shell.ok("kubectl run good --image=nginx:1.27").await;
    let heard = backend.heard();
    assert_eq!(
        heard[0]["spec"],
        json!({ "containers": [{ "image": "nginx:1.27" }], "namespace": "default" })
    );
    assert_eq!(heard[0]["apiVersion"], "imagepolicy.k8s.io/v1alpha1");
    shell.ok("kubectl run same --image=nginx:1.27").await;
    assert!(backend.heard().is_empty(), "a good answer is kept");
    shell.ok("kubectl create deployment web --image=nginx").await;
    let failed = "kubectl wait --for=condition=ReplicaFailure deployment/web --timeout=30s";
    shell.ok(failed).await;
    let why = shell.ok("kubectl get deployment web -o jsonpath='{.status.conditions[?(@.type==\"ReplicaFailure\")].message}'");
    assert!(
        why.await.ends_with("is forbidden: image policy webhook backend denied one or more images: no tag")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_stumbles_is_asked_again() {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    // The cluster's own Pods are asked about, too.
    let is_ours = |review: &serde_json::Value| review["spec"]["containers"][0]["image"] == "nginx:1.27";
    let backend = Server::start(move |review| {
        let stumbles = is_ours(review) && asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        let review = json!({ "apiVersion": "imagepolicy.k8s.io/v1alpha1", "kind": "ImageReview",
            "status": { "allowed": true } });
        Some(if stumbles { json!({ "httpStatus": 500 }) } else { review })
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let shell = asking(dir.path(), &backend).await;
    shell.ok("kubectl run good --image=nginx:1.27").await;
    assert_eq!(backend.heard().iter().filter(|review| is_ours(review)).count(), 2);
}
