use std::sync::Arc;

use serde_json::{Value, json};

use super::super::{Authorizer, Mode};
use crate::sim::attributes::{Attributes, UserInfo};
use crate::sim::rbac::Decision;
use crate::sim::resource::GroupResource;
use crate::sim::view::Objects;

fn pod(name: &str, node: &str, spec: Value) -> Value {
    let mut pod = json!({"metadata": {"namespace": "n", "name": name}, "spec": spec});
    pod["spec"]["nodeName"] = json!(node);
    pod
}

fn authorizer() -> Authorizer {
    let mut objects = Objects::default();
    let of = |resource: &'static str| GroupResource::of("", resource);
    let mut add = |resource: &'static str, object: Value| objects.insert(&of(resource), object);
    add(
        "pods",
        pod(
            "mine",
            "w",
            json!({"serviceAccountName": "sa", "volumes": [
            {"name": "a", "secret": {"secretName": "mine"}}, {"name": "b", "configMap": {"name": "cm"}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "data"}}]}),
        ),
    );
    add("pods", pod("other", "x", json!({"volumes": [{"name": "a", "secret": {"secretName": "other"}}]})));
    let mut mirror =
        pod("mirror", "w", json!({"volumes": [{"name": "a", "secret": {"secretName": "static"}}]}));
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    add("pods", mirror);
    add("persistentvolumeclaims", json!({"metadata": {"namespace": "n", "name": "data"}}));
    add(
        "persistentvolumes",
        json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "n", "name": "data"},
            "csi": {"nodeStageSecretRef": {"name": "stage", "namespace": "csi"}}}}),
    );
    add(
        "persistentvolumes",
        json!({"metadata": {"name": "pv2"}, "spec": {"claimRef": {"namespace": "n", "name": "x"}}}),
    );
    Authorizer::new(vec![Mode::Node], Arc::new(objects))
}

fn ask(verb: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
    Attributes {
        user: UserInfo::named("system:node:w", &["system:nodes"]),
        verb: verb.into(),
        group: group.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..Attributes::default()
    }
}

#[test]
fn a_node_reads_what_its_pods_name() {
    let authorizer = authorizer();
    let none = "no relationship found between node 'w' and this object";
    for (request, expected) in [
        (ask("get", "secrets", "n", "mine"), ""),
        (ask("watch", "secrets", "n", "mine"), ""),
        (ask("get", "secrets", "n", "other"), none),
        (ask("get", "secrets", "n", "static"), none),
        (ask("get", "secrets", "m", "mine"), none),
        (ask("list", "secrets", "n", ""), "No Object name found"),
        (ask("list", "secrets", "", ""), "can only read namespaced object of this type"),
        (ask("delete", "secrets", "n", "mine"), "can only read resources of this type"),
        (ask("get", "configmaps", "n", "cm"), ""),
        (ask("get", "configmaps", "n", "other"), none),
        (ask("get", "persistentvolumeclaims", "n", "data"), ""),
        (ask("list", "persistentvolumeclaims", "n", ""), "can only get individual resources of this type"),
        (ask("patch", "persistentvolumeclaims/status", "n", "data"), ""),
        (ask("get", "persistentvolumes", "", "pv"), ""),
        (ask("get", "persistentvolumes", "", "pv2"), none),
        (ask("get", "secrets", "csi", "stage"), ""),
        (ask("create", "serviceaccounts/token", "n", "sa"), ""),
        (ask("create", "serviceaccounts/token", "n", "default"), none),
        (ask("get", "serviceaccounts", "n", "sa"), "can only create tokens for individual service accounts"),
        (ask("get", "nodes", "", "w"), ""),
        (ask("get", "nodes", "", "x"), "node 'w' cannot read 'x', only its own Node object"),
        (ask("list", "nodes", "", ""), "node 'w' cannot read all nodes, only its own Node object"),
        (ask("patch", "nodes/status", "", "w"), ""),
        (ask("get", "pods", "n", "mine"), ""),
        (ask("get", "pods", "n", "other"), none),
        (ask("list", "pods", "", ""), "can only list/watch pods with spec.nodeName field selector"),
        (ask("create", "pods/eviction", "n", "mine"), ""),
        (ask("update", "leases.coordination.k8s.io", "kube-node-lease", "w"), ""),
        (
            ask("update", "leases.coordination.k8s.io", "kube-node-lease", "x"),
            "can only access node lease with the same name as the requesting node",
        ),
        (
            ask("update", "leases.coordination.k8s.io", "n", "w"),
            r#"can only access leases in the "kube-node-lease" system namespace"#,
        ),
        (ask("create", "csinodes.storage.k8s.io", "", ""), ""),
        (ask("list", "services", "", ""), ""),
    ] {
        let decision = authorizer.authorize(&request);
        if expected.is_empty() {
            assert!(decision.is_allowed(), "{request:?}");
        } else {
            assert_eq!(decision, Decision::NoOpinion { reason: expected.into() }, "{request:?}");
        }
    }
    assert!(!authorizer.authorize(&ask("delete", "nodes", "", "w")).is_allowed());
    assert!(!authorizer.authorize(&ask("list", "deployments.apps", "n", "")).is_allowed());
    let selecting =
        |selector: &str| Attributes { field_selector: selector.into(), ..ask("list", "pods", "", "") };
    assert!(authorizer.authorize(&selecting("spec.nodeName=w")).is_allowed());
    assert!(!authorizer.authorize(&selecting("spec.nodeName=x")).is_allowed());
    assert!(!authorizer.authorize(&selecting("spec.nodeName!=w")).is_allowed());
}

#[test]
fn only_nodes_are_nodes() {
    let authorizer = authorizer();
    let mut request = ask("get", "secrets", "n", "mine");
    request.user = UserInfo::named("system:node:w", &[]);
    assert_eq!(authorizer.authorize(&request), Decision::NoOpinion { reason: String::new() });
    request.user = UserInfo::named("someone", &["system:nodes"]);
    assert_eq!(authorizer.authorize(&request).reason(), r#"unknown node for user "someone""#);
}
