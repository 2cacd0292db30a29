//! Defaults of the core group.

use base64::Engine;
use serde_json::{Value, json};

use super::{always, claim_spec, drop_empty, drop_zeros, each, pod, round_amounts};
use crate::sim::object::{Fields, field_at, is_empty, items_mut, map_at, remove, set, set_default};

pub(super) fn apply(kind: &str, object: &mut Value) {
    match kind {
        "Pod" => pod::pod(object),
        "PodTemplate" => pod::template(object, "template"),
        "ReplicationController" => replication_controller(object),
        "Service" => service(object),
        "Secret" => secret(object),
        "Namespace" => namespace(object),
        "Node" => node(object),
        "Endpoints" => {
            each(object, "subsets", |subset| {
                each(subset, "ports", |port| set_default(port, "protocol", "TCP"))
            });
        }
        "LimitRange" => each(field_at(object, "spec"), "limits", limit_range_item),
        "ResourceQuota" => round_amounts(field_at(object, "spec"), "hard"),
        "PersistentVolume" => {
            let spec = field_at(object, "spec");
            set_default(spec, "persistentVolumeReclaimPolicy", "Retain");
            set_default(spec, "volumeMode", "Filesystem");
            pod::source(spec);
            round_amounts(spec, "capacity");
            set_default(field_at(object, "status"), "phase", "Pending");
        }
        "PersistentVolumeClaim" => {
            claim_spec(field_at(object, "spec"));
            set_default(field_at(object, "status"), "phase", "Pending");
        }
        "ConfigMap" => drop_empty(object, &["data", "binaryData"]),
        "Event" => event(object),
        _ => {}
    }
}

fn replication_controller(object: &mut Value) {
    let labels = object.dig(&["spec", "template", "metadata", "labels"]).clone();
    if !is_empty(&labels) {
        if is_empty(object.dig(&["spec", "selector"])) {
            set(field_at(object, "spec"), "selector", labels.clone());
        }
        if is_empty(object.dig(&["metadata", "labels"])) {
            set(field_at(object, "metadata"), "labels", labels);
        }
    }
    let spec = field_at(object, "spec");
    set_default(spec, "replicas", 1);
    if spec.has("template") {
        pod::template(spec, "template");
    }
}

/// What is written as text becomes data; the text itself is never stored.
fn secret(object: &mut Value) {
    if let Some(Value::Object(texts)) = remove(object, "stringData")
        && !texts.is_empty()
    {
        let data = map_at(object, "data");
        for (key, text) in texts {
            let encoded = base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap_or_default());
            data.insert(key, encoded.into());
        }
    }
    drop_empty(object, &["data"]);
    set_default(object, "type", "Opaque");
}

fn service(object: &mut Value) {
    let spec = field_at(object, "spec");
    drop_zeros(
        spec,
        &["clusterIP", "loadBalancerIP", "externalName", "healthCheckNodePort", "publishNotReadyAddresses"],
    );
    drop_empty(
        spec,
        &["clusterIPs", "ipFamilies", "externalIPs", "loadBalancerSourceRanges", "ports", "selector"],
    );
    set_default(spec, "sessionAffinity", "None");
    if spec.text("sessionAffinity") == "None" {
        remove(spec, "sessionAffinityConfig");
    }
    if spec.text("sessionAffinity") == "ClientIP"
        && !spec.dig(&["sessionAffinityConfig", "clientIP"]).has("timeoutSeconds")
    {
        set(spec, "sessionAffinityConfig", json!({"clientIP": {"timeoutSeconds": 10800}}));
    }
    set_default(spec, "type", "ClusterIP");
    for port in items_mut(spec, "ports") {
        drop_zeros(port, &["name", "nodePort"]);
        set_default(port, "protocol", "TCP");
        let unset = matches!(port.at("targetPort"), Value::Null)
            || port.int("targetPort") == Some(0)
            || port.at("targetPort").as_str() == Some("");
        if unset {
            let number = port.int("port").unwrap_or_default();
            set(port, "targetPort", number);
        }
    }
    let kind = spec.text("type").to_owned();
    let reachable = matches!(kind.as_str(), "LoadBalancer" | "NodePort")
        || (kind == "ClusterIP" && !spec.items("externalIPs").is_empty());
    if reachable {
        set_default(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        set_default(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set_default(spec, "allocateLoadBalancerNodePorts", true);
    }
    let balancer = field_at(field_at(object, "status"), "loadBalancer");
    if balancer.is_null() {
        *balancer = json!({});
    }
    if kind == "LoadBalancer" {
        for ingress in items_mut(balancer, "ingress") {
            if !ingress.text("ip").is_empty() {
                set_default(ingress, "ipMode", "VIP");
            }
        }
    }
}

fn namespace(object: &mut Value) {
    let name = object.dig(&["metadata", "name"]).clone();
    if name.as_str().is_some_and(|name| !name.is_empty()) {
        map_at(field_at(object, "metadata"), "labels").insert("kubernetes.io/metadata.name".to_owned(), name);
    }
    always(object, "spec");
    set_default(field_at(object, "status"), "phase", "Active");
}

fn node(object: &mut Value) {
    always(object, "spec");
    drop_zeros(field_at(object, "spec"), &["unschedulable"]);
    drop_empty(field_at(object, "spec"), &["taints"]);
    let status = field_at(object, "status");
    round_amounts(status, "capacity");
    round_amounts(status, "allocatable");
    if !status.has("allocatable") && status.has("capacity") {
        let capacity = status.at("capacity").clone();
        set(status, "allocatable", capacity);
    }
}

fn limit_range_item(item: &mut Value) {
    for name in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        round_amounts(item, name);
    }
    if item.text("type") != "Container" {
        return;
    }
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        if let Value::Object(amounts) = item.at(from).clone() {
            let target = map_at(item, to);
            for (name, amount) in amounts {
                target.entry(name).or_insert(amount);
            }
        }
    }
    drop_empty(item, &["default", "defaultRequest"]);
}

fn event(object: &mut Value) {
    for name in ["firstTimestamp", "lastTimestamp", "eventTime"] {
        super::null_list(object, name);
    }
    for name in ["reportingComponent", "reportingInstance"] {
        if !object.has(name) {
            set(object, name, "");
        }
    }
    always(object, "source");
    always(object, "involvedObject");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaulted(kind: &str, mut object: Value) -> Value {
        apply(kind, &mut object);
        object
    }

    #[test]
    fn services_get_ports_and_policies_by_type() {
        let service =
            defaulted("Service", json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}));
        assert_eq!(
            service,
            json!({"spec": {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": true,
                "externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}, "status": {"loadBalancer": {}}})
        );
        let plain = defaulted("Service", json!({"spec": {"ports": [{"port": 80, "targetPort": "http"}]}}));
        assert_eq!(plain["spec"].get("externalTrafficPolicy"), None);
        assert_eq!(plain["spec"]["ports"][0]["targetPort"], "http");
        let sticky = defaulted("Service", json!({"spec": {"sessionAffinity": "ClientIP"}}));
        assert_eq!(sticky["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);
    }

    #[test]
    fn a_secrets_text_becomes_data() {
        assert_eq!(
            defaulted("Secret", json!({"data": {"a": "eA==", "b": "eQ=="}, "stringData": {"a": "new"}})),
            json!({"data": {"a": "bmV3", "b": "eQ=="}, "type": "Opaque"})
        );
    }

    #[test]
    fn limit_ranges_default_from_their_bounds() {
        let range = defaulted(
            "LimitRange",
            json!({"spec": {"limits": [
            {"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "0.5Gi"}}, {"type": "Pod", "max": {"cpu": "4"}}]}}),
        );
        assert_eq!(
            range["spec"]["limits"],
            json!([{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "512Mi"}, "default": {"cpu": "2"},
                "defaultRequest": {"cpu": "2", "memory": "512Mi"}}, {"type": "Pod", "max": {"cpu": "4"}}])
        );
    }

    #[test]
    fn namespaces_are_labelled_with_their_name() {
        assert_eq!(
            defaulted("Namespace", json!({"metadata": {"name": "m-ns"}})),
            json!({"metadata": {"name": "m-ns", "labels": {"kubernetes.io/metadata.name": "m-ns"}}, "spec": {},
                "status": {"phase": "Active"}})
        );
    }
}
