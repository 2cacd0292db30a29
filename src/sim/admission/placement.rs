//! PodNodeSelector, PodTolerationRestriction, ExtendedResourceToleration, LimitPodHardAntiAffinityTopology and
//! TaintNodesByCondition: where Pods may go. All but the last are off by default.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::pods::{NAMESPACES, PODS, containers, items, text};
use super::runtime_class::{includes, merge};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::{field_at, map_at};
use crate::sim::pod_resources::qos_class;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

static NODES: GroupResource = GroupResource::of("", "nodes");

const NODE_SELECTOR: &str = "scheduler.alpha.kubernetes.io/node-selector";
const DEFAULT_TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
const TOLERATIONS_WHITELIST: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";
const NOT_READY: &str = "node.kubernetes.io/not-ready";

fn creates_pod(request: &AdmissionRequest) -> bool {
    request.operation == Operation::Create && request.is_for(&PODS)
}

fn writes_pod(request: &AdmissionRequest) -> bool {
    matches!(request.operation, Operation::Create | Operation::Update) && request.is_for(&PODS)
}

fn annotation(cx: &AdmissionCx<'_>, namespace: &str, key: &str) -> Option<String> {
    let namespace = cx.get(&NAMESPACES, "", namespace)?;
    namespace["metadata"]["annotations"][key].as_str().map(ToOwned::to_owned)
}

/// Adds the node selector of a namespace to its Pods.
#[derive(Debug, Default)]
pub struct PodNodeSelector;

#[async_trait]
impl Plugin for PodNodeSelector {
    fn name(&self) -> &'static str {
        "PodNodeSelector"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !creates_pod(request) {
            return Ok(());
        }
        let wanted = annotation(cx, &request.namespace, NODE_SELECTOR).unwrap_or_default();
        let mut labels = BTreeMap::new();
        for pair in wanted.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some((key, value)) => labels.insert(key.trim().to_owned(), json!(value.trim())),
                None => return Err(Status::new(500, "", format!("invalid selector: {pair}"))),
            };
        }
        let own = &request.object()["spec"]["nodeSelector"];
        if labels.iter().any(|(key, value)| own.get(key).is_some_and(|other| other != value)) {
            let why = "pod node label selector conflicts with its namespace node label selector";
            return Err(request.forbidden(why));
        }
        if let Some(pod) = request.object.as_mut().filter(|_| !labels.is_empty()) {
            map_at(field_at(pod, "spec"), "nodeSelector").extend(labels);
        }
        Ok(())
    }
}

/// Adds default tolerations of a namespace to its Pods, and holds them to its whitelist.
#[derive(Debug, Default)]
pub struct PodTolerationRestriction;

#[async_trait]
impl Plugin for PodTolerationRestriction {
    fn name(&self) -> &'static str {
        "PodTolerationRestriction"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !writes_pod(request) {
            return Ok(());
        }
        let mut all = if request.operation == Operation::Create {
            tolerations(cx, &request.namespace, DEFAULT_TOLERATIONS)?
        } else {
            Vec::new()
        };
        all.extend(items(&request.object()["spec"]["tolerations"]).cloned());
        if qos_class(request.object()) != "BestEffort" {
            let pressure = "node.kubernetes.io/memory-pressure";
            all.push(json!({"key": pressure, "operator": "Exists", "effect": "NoSchedule"}));
        }
        let merged = merge(&all);
        if let Some(pod) = request.object.as_mut().filter(|_| !merged.is_empty()) {
            field_at(pod, "spec")["tolerations"] = json!(merged);
        }
        self.validate(cx, request).await
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !writes_pod(request) {
            return Ok(());
        }
        let allowed = tolerations(cx, &request.namespace, TOLERATIONS_WHITELIST)?;
        let within = items(&request.object()["spec"]["tolerations"])
            .all(|toleration| allowed.iter().any(|wider| includes(wider, toleration)));
        if allowed.is_empty() || within {
            return Ok(());
        }
        let why = "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist";
        Err(Status::new(500, "", why))
    }
}

fn tolerations(cx: &AdmissionCx<'_>, namespace: &str, key: &str) -> Result<Vec<Value>, Status> {
    match annotation(cx, namespace, key).filter(|text| !text.is_empty()) {
        None => Ok(Vec::new()),
        Some(text) => serde_json::from_str(&text).map_err(|error| Status::new(500, "", error.to_string())),
    }
}

/// Lets Pods that ask for a special device onto the nodes that are kept for it.
#[derive(Debug, Default)]
pub struct ExtendedResourceToleration;

#[async_trait]
impl Plugin for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
    }

    async fn admit(&self, _cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !writes_pod(request) {
            return Ok(());
        }
        let spec = &request.object()["spec"];
        let mut devices: Vec<String> = containers(spec)
            .flat_map(|container| container["resources"]["requests"].as_object().into_iter().flatten())
            .map(|(name, _)| name.clone())
            .filter(|name| is_extended(name))
            .collect();
        devices.sort();
        devices.dedup();
        let mut all: Vec<Value> = items(&spec["tolerations"]).cloned().collect();
        for device in &devices {
            let toleration = json!({"key": device, "operator": "Exists"});
            if !all.iter().any(|own| text(own, "key") == device && includes(own, &toleration)) {
                all.push(toleration);
            }
        }
        if let Some(pod) = request.object.as_mut().filter(|_| !devices.is_empty()) {
            field_at(pod, "spec")["tolerations"] = json!(all);
        }
        Ok(())
    }
}

fn is_extended(name: &str) -> bool {
    name.split_once('/')
        .is_some_and(|(domain, _)| domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"))
        && !name.starts_with("requests.")
}

/// Refuses Pods that keep others away from more than a node.
#[derive(Debug, Default)]
pub struct LimitPodHardAntiAffinityTopology;

#[async_trait]
impl Plugin for LimitPodHardAntiAffinityTopology {
    fn name(&self) -> &'static str {
        "LimitPodHardAntiAffinityTopology"
    }

    async fn validate(&self, _cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        const HOST: &str = "kubernetes.io/hostname";
        if !writes_pod(request) {
            return Ok(());
        }
        let affinity = &request.object()["spec"]["affinity"]["podAntiAffinity"];
        let other = items(&affinity["requiredDuringSchedulingIgnoredDuringExecution"])
            .map(|term| text(term, "topologyKey"))
            .find(|key| *key != HOST);
        match other {
            None => Ok(()),
            Some(key) => Err(request.forbidden(format!(
                "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOST} is allowed"
            ))),
        }
    }
}

/// Taints new nodes until they are ready.
#[derive(Debug, Default)]
pub struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    async fn admit(&self, _cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if request.operation != Operation::Create || !request.is_for(&NODES) {
            return Ok(());
        }
        let Some(node) = request.object.as_mut() else { return Ok(()) };
        let taints = field_at(field_at(node, "spec"), "taints");
        if items(taints).any(|taint| text(taint, "key") == NOT_READY && text(taint, "effect") == "NoSchedule")
        {
            return Ok(());
        }
        let taint = json!({"key": NOT_READY, "effect": "NoSchedule"});
        match taints.as_array_mut() {
            Some(list) => list.push(taint),
            None => *taints = json!([taint]),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::admission::testing::{Cluster, create};

    fn cluster(annotations: Value) -> Cluster {
        Cluster::new().with(&NAMESPACES, json!({"metadata": {"name": "n", "annotations": annotations}}))
    }

    fn admit(cluster: &Cluster, plugin: &dyn Plugin, spec: Value) -> Result<Value, String> {
        let mut request =
            create("", "pods", json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}));
        let result =
            cluster.admit(plugin, &mut request).and_then(|()| cluster.validate(plugin, &mut request));
        result.map(|()| request.object.unwrap()["spec"].clone()).map_err(|refusal| refusal.message)
    }

    #[test]
    fn a_namespaces_node_selector_joins_the_pods() {
        let cluster = cluster(json!({NODE_SELECTOR: "env=prod, disk=ssd"}));
        let spec =
            admit(&cluster, &PodNodeSelector, json!({"nodeSelector": {"a": "b", "env": "prod"}})).unwrap();
        assert_eq!(spec["nodeSelector"], json!({"a": "b", "disk": "ssd", "env": "prod"}));
        assert_eq!(
            admit(&cluster, &PodNodeSelector, json!({"nodeSelector": {"env": "dev"}})).unwrap_err(),
            r#"pods "p" is forbidden: pod node label selector conflicts with its namespace node label selector"#
        );
    }

    #[test]
    fn tolerations_are_added_and_held_to_the_whitelist() {
        let cluster = cluster(json!({
            DEFAULT_TOLERATIONS: r#"[{"key": "a", "operator": "Exists"}]"#,
            TOLERATIONS_WHITELIST: r#"[{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]"#,
        }));
        let spec = admit(&cluster, &PodTolerationRestriction, json!({"containers": [{}]})).unwrap();
        assert_eq!(spec["tolerations"], json!([{"key": "a", "operator": "Exists"}]));
        let other = json!({"containers": [{}], "tolerations": [{"key": "c", "operator": "Exists"}]});
        assert!(
            admit(&cluster, &PodTolerationRestriction, other)
                .unwrap_err()
                .ends_with("conflict with its namespace whitelist")
        );
    }

    #[test]
    fn devices_are_tolerated() {
        let spec = json!({"containers": [{"resources": {"requests": {"example.com/gpu": "1", "cpu": "1"}}}]});
        let spec = admit(&Cluster::new(), &ExtendedResourceToleration, spec).unwrap();
        assert_eq!(spec["tolerations"], json!([{"key": "example.com/gpu", "operator": "Exists"}]));
    }

    #[test]
    fn hard_anti_affinity_is_of_hosts() {
        let spec = |key: &str| {
            json!({"affinity": {"podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": key}]}}})
        };
        admit(&Cluster::new(), &LimitPodHardAntiAffinityTopology, spec("kubernetes.io/hostname")).unwrap();
        assert!(admit(&Cluster::new(), &LimitPodHardAntiAffinityTopology, spec("zone")).is_err());
    }

    #[test]
    fn new_nodes_wait_to_be_ready() {
        let mut request = create("", "nodes", json!({"metadata": {"name": "w"}}));
        for _ in 0..2 {
            Cluster::new().admit(&TaintNodesByCondition, &mut request).unwrap();
        }
        assert_eq!(request.object()["spec"]["taints"], json!([{"key": NOT_READY, "effect": "NoSchedule"}]));
    }
}
