//! RuntimeClass: a Pod's runtime class must exist, and brings its overhead and where it can run.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::pods::{PODS, items, text};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::{equal, field_at, is_empty, map_at};
use crate::sim::pod_resources::amounts;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

static CLASSES: GroupResource = GroupResource::of("node.k8s.io", "runtimeclasses");

/// The plugin.
#[derive(Debug, Default)]
pub struct RuntimeClass;

#[async_trait]
impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if request.operation != Operation::Create || !request.is_for(&PODS) {
            return Ok(());
        }
        let Some(class) = class_of(cx, request)? else { return Ok(()) };
        let overhead = &class["overhead"]["podFixed"];
        let own = &request.object()["spec"]["overhead"];
        if class["overhead"].is_object() {
            if !is_empty(own) && amounts(own) != amounts(overhead) {
                return Err(request.forbidden(MISMATCH));
            }
            if let Some(pod) = request.object.as_mut().filter(|_| !is_empty(overhead)) {
                field_at(pod, "spec")["overhead"] = overhead.clone();
            }
        }
        set_scheduling(request, &class["scheduling"])
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if request.operation != Operation::Create || !request.is_for(&PODS) {
            return Ok(());
        }
        let class = class_of(cx, request)?;
        let own = &request.object()["spec"]["overhead"];
        match class.as_ref().map(|class| &class["overhead"]).filter(|overhead| overhead.is_object()) {
            Some(overhead) if amounts(own) != amounts(&overhead["podFixed"]) => {
                Err(request.forbidden(MISMATCH))
            }
            None if !is_empty(own) => Err(request.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            )),
            _ => Ok(()),
        }
    }
}

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

fn class_of(cx: &AdmissionCx<'_>, request: &AdmissionRequest) -> Result<Option<Arc<Value>>, Status> {
    let Some(name) = request.object()["spec"]["runtimeClassName"].as_str() else { return Ok(None) };
    match cx.get(&CLASSES, "", name) {
        Some(class) => Ok(Some(class)),
        None => Err(request.forbidden(format!("pod rejected: RuntimeClass {name:?} not found"))),
    }
}

fn set_scheduling(request: &mut AdmissionRequest, scheduling: &Value) -> Result<(), Status> {
    if !scheduling.is_object() {
        return Ok(());
    }
    let own = &request.object()["spec"]["nodeSelector"];
    let wanted = scheduling["nodeSelector"].as_object();
    for (key, value) in wanted.into_iter().flatten() {
        if let Some(other) = own[key].as_str().filter(|other| value != other) {
            let value = value.as_str().unwrap_or_default();
            return Err(request.forbidden(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; pod.spec.nodeSelector[{key}] = {other}"
            )));
        }
    }
    if let Some(pod) = request.object.as_mut() {
        let spec = field_at(pod, "spec");
        if let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) {
            map_at(spec, "nodeSelector").extend(wanted.clone());
        }
        let tolerations: Vec<Value> =
            items(&spec["tolerations"]).chain(items(&scheduling["tolerations"])).cloned().collect();
        if !tolerations.is_empty() {
            spec["tolerations"] = json!(merge(&tolerations));
        }
    }
    Ok(())
}

/// Leaves out tolerations that another one includes.
pub(super) fn merge(all: &[Value]) -> Vec<Value> {
    let mut merged: Vec<Value> = Vec::new();
    for (index, toleration) in all.iter().enumerate() {
        let before = merged.iter().any(|other| includes(other, toleration));
        let after =
            all[index + 1..].iter().any(|other| !equal(toleration, other) && includes(other, toleration));
        if !before && !after {
            merged.push(toleration.clone());
        }
    }
    merged
}

/// Tells whether one toleration tolerates all that another does.
pub(super) fn includes(wider: &Value, narrower: &Value) -> bool {
    if equal(wider, narrower) {
        return true;
    }
    let differs = |field: &str| text(wider, field) != text(narrower, field);
    let any_key = text(wider, "key").is_empty() && text(wider, "operator") == "Exists";
    if (differs("key") && !any_key) || (differs("effect") && !text(wider, "effect").is_empty()) {
        return false;
    }
    if text(wider, "effect") == "NoExecute"
        && let Some(seconds) = wider["tolerationSeconds"].as_i64()
        && narrower["tolerationSeconds"].as_i64().is_none_or(|own| own > seconds)
    {
        return false;
    }
    match text(wider, "operator") {
        "Equal" | "" => text(narrower, "operator") == "Equal" && !differs("value"),
        "Exists" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::admission::testing::{Cluster, create};

    fn admit(class: Value, spec: Value) -> Result<Value, String> {
        let mut class = class;
        class["metadata"] = json!({"name": "rc"});
        let cluster = Cluster::new().with(&CLASSES, class);
        let mut request =
            create("", "pods", json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}));
        let result = cluster
            .admit(&RuntimeClass, &mut request)
            .and_then(|()| cluster.validate(&RuntimeClass, &mut request));
        result.map(|()| request.object.unwrap()["spec"].clone()).map_err(|refusal| refusal.message)
    }

    #[test]
    fn the_class_must_be_there() {
        assert_eq!(
            admit(json!({}), json!({"runtimeClassName": "nosuch"})).unwrap_err(),
            r#"pods "p" is forbidden: pod rejected: RuntimeClass "nosuch" not found"#
        );
        admit(json!({}), json!({"runtimeClassName": "rc"})).unwrap();
        admit(json!({}), json!({})).unwrap();
    }

    #[test]
    fn overhead_is_the_classes_own() {
        let class = json!({"overhead": {"podFixed": {"cpu": "250m"}}});
        let spec = admit(class.clone(), json!({"runtimeClassName": "rc"})).unwrap();
        assert_eq!(spec["overhead"], json!({"cpu": "250m"}));
        admit(class.clone(), json!({"runtimeClassName": "rc", "overhead": {"cpu": "0.25"}})).unwrap();
        assert!(
            admit(class, json!({"runtimeClassName": "rc", "overhead": {"cpu": "1"}}))
                .unwrap_err()
                .contains(MISMATCH)
        );
        let alone = admit(json!({}), json!({"overhead": {"cpu": "1"}})).unwrap_err();
        assert!(alone.ends_with("Pod Overhead set without corresponding RuntimeClass defined Overhead"));
    }

    #[test]
    fn scheduling_is_merged_and_must_not_conflict() {
        let class = json!({"scheduling": {"nodeSelector": {"kata": "yes"},
            "tolerations": [{"key": "kata", "operator": "Exists"}]}});
        let spec = admit(
            class.clone(),
            json!({"runtimeClassName": "rc", "nodeSelector": {"a": "b"},
                "tolerations": [{"key": "kata", "operator": "Equal", "value": "x"}, {"key": "z", "operator": "Exists"}]}),
        )
        .unwrap();
        assert_eq!(spec["nodeSelector"], json!({"a": "b", "kata": "yes"}));
        assert_eq!(
            spec["tolerations"],
            json!([{"key": "z", "operator": "Exists"}, {"key": "kata", "operator": "Exists"}])
        );
        let refusal =
            admit(class, json!({"runtimeClassName": "rc", "nodeSelector": {"kata": "no"}})).unwrap_err();
        assert!(refusal.ends_with(
            "conflict: runtimeClass.scheduling.nodeSelector[kata] = yes; pod.spec.nodeSelector[kata] = no"
        ));
    }
}
