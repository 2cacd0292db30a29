use serde_json::json;

use super::*;
use crate::sim::admission::testing::{Cluster, create};

const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
clusters:
- name: scanner
  cluster: {server: 'https://127.0.0.1:9/scan', certificate-authority: ca.crt}
contexts:
- name: it
  context: {cluster: scanner, user: api-server}
current-context: it
users:
- name: api-server
  user: {token: secret}
";

fn files(path: &str) -> Option<String> {
    match path {
        "/etc/policy/kubeconfig" => Some(KUBECONFIG.to_owned()),
        "/etc/policy/ca.crt" => Some(String::new()),
        _ => None,
    }
}

fn read(policy: Value) -> Result<Configuration, String> {
    let mut policy = policy;
    if !policy.has("kubeConfigFile") {
        policy["kubeConfigFile"] = "/etc/policy/kubeconfig".into();
    }
    Configuration::read(&json!({ "imagePolicy": policy }), &files)
}

#[test]
fn times_are_read_in_their_units_and_held_to_their_bounds() {
    let configuration = read(json!({ "allowTTL": 50, "denyTTL": -1, "retryBackoff": 200 })).unwrap();
    assert_eq!(configuration.allow_ttl, Duration::from_secs(50));
    assert_eq!(configuration.deny_ttl, Duration::ZERO);
    assert_eq!(configuration.retry_backoff, Duration::from_millis(200));
    assert!(!configuration.default_allow, "closed when nothing is said");
    let defaults = read(json!({})).unwrap();
    assert_eq!((defaults.allow_ttl.as_secs(), defaults.deny_ttl.as_secs()), (300, 30));
    assert_eq!(
        read(json!({ "allowTTL": 3600 })).unwrap_err(),
        "valid value is between 1s and 30m0s, got 1h0m0s"
    );
    assert_eq!(
        read(json!({ "kubeConfigFile": "/etc/policy/none" })).unwrap_err(),
        "stat /etc/policy/none: no such file or directory"
    );
}

fn pod() -> AdmissionRequest {
    create(
        "",
        "pods",
        json!({ "kind": "Pod", "metadata": { "name": "p", "namespace": "a",
            "annotations": { "x.image-policy.k8s.io/ticket": "7", "other": "no" } },
            "spec": { "containers": [{ "image": "nginx" }], "initContainers": [{ "image": "busybox" }],
                "ephemeralContainers": [{ "image": "late" }] } }),
    )
}

#[test]
fn the_backend_is_told_images_namespace_and_its_own_annotations() {
    assert_eq!(
        question(&pod(), &["containers", "initContainers"]),
        json!({ "containers": [{ "image": "nginx" }, { "image": "busybox" }], "namespace": "a",
            "annotations": { "x.image-policy.k8s.io/ticket": "7" } })
    );
}

#[test]
fn a_backend_that_is_not_there_closes_or_opens() {
    let cluster = Cluster::new();
    let closed = ImagePolicyWebhook::new(read(json!({})).ok());
    let mut request = pod();
    let refused = cluster.validate(&closed, &mut request).unwrap_err();
    assert_eq!(
        refused.message,
        "pods \"p\" is forbidden: Post \"https://127.0.0.1:9/scan?timeout=30s\": dial tcp 127.0.0.1:9: connect: \
         connection refused"
    );
    let open = ImagePolicyWebhook::new(read(json!({ "defaultAllow": true })).ok());
    cluster.validate(&open, &mut request).unwrap();
    assert_eq!(request.object()["metadata"]["annotations"][FAILED_OPEN], "true");
    assert_eq!(request.audit_annotations["imagepolicywebhook.image-policy.k8s.io/failed-open"], "true");
    request.subresource = "status".to_owned();
    cluster.validate(&closed, &mut request).unwrap();
    request.subresource = "ephemeralcontainers".to_owned();
    assert!(cluster.validate(&closed, &mut request).is_err());
}

#[test]
fn an_answer_is_good_for_its_time_and_not_for_ever() {
    let (answers, second) = (Answers::default(), Duration::from_secs(1));
    answers.keep("a".to_owned(), json!({ "allowed": true }), 10 * second, 5 * second);
    assert_eq!(answers.recall("a", 14 * second), Some(json!({ "allowed": true })));
    assert_eq!((answers.recall("a", 15 * second), answers.recall("b", 11 * second)), (None, None));
    for n in 0..KEPT {
        answers.keep(format!("n{n}"), Value::Null, 20 * second, second);
    }
    assert_eq!(answers.lock().len(), KEPT, "old ones make room");
}
