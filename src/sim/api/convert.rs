//! Versions of one built-in kind: objects are stored in one, and asked for in others. Requests on custom resources work in
//! their own version, and `conversion` does the rest.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::resources::Resource;

/// Returns a stored object in the version of `resource`.
pub(crate) fn from_storage(resource: &Resource, object: &Arc<Value>) -> Arc<Value> {
    if is_working_version(resource) { object.clone() } else { Arc::new(convert(resource, object, false)) }
}

/// Returns an object of the version of `resource` in the version that is stored.
pub(crate) fn to_storage(resource: &Resource, object: Value) -> Value {
    if is_working_version(resource) { object } else { convert(resource, &object, true) }
}

/// Tells whether requests work in the very version of `resource`.
pub(crate) fn is_working_version(resource: &Resource) -> bool {
    let working = &resource.working_kind;
    working.version == resource.version && working.group == resource.group
}

fn convert(resource: &Resource, object: &Value, storing: bool) -> Value {
    let mut converted = match (resource.group.as_str(), resource.kind.as_str()) {
        ("events.k8s.io", "Event") => rename(object, storing, EVENT_FIELDS),
        ("autoscaling", "HorizontalPodAutoscaler") if resource.version == "v1" => {
            if storing {
                autoscaler_to_v2(object)
            } else {
                autoscaler_to_v1(object)
            }
        }
        _ => object.clone(),
    };
    let version = if storing { resource.storage_kind.api_version() } else { resource.api_version() };
    converted["apiVersion"] = version.into();
    converted
}

/// Names of an Event's fields in events.k8s.io and in core.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("reportingController", "reportingComponent"),
];

fn rename(object: &Value, storing: bool, names: &[(&str, &str)]) -> Value {
    let fields = object.as_object().into_iter().flatten().map(|(key, value)| {
        let renamed = names.iter().find_map(|&(outside, stored)| {
            let (from, to) = if storing { (outside, stored) } else { (stored, outside) };
            (from == key).then(|| to.to_owned())
        });
        (renamed.unwrap_or_else(|| key.clone()), value.clone())
    });
    Value::Object(fields.collect())
}

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";

fn autoscaler_to_v1(object: &Value) -> Value {
    let mut out = object.clone();
    let mut others = Vec::new();
    let mut cpu = None;
    for metric in object["spec"]["metrics"].as_array().into_iter().flatten() {
        let utilization = &metric["resource"]["target"]["averageUtilization"];
        if cpu.is_none() && metric["resource"]["name"] == "cpu" && !utilization.is_null() {
            cpu = Some(utilization.clone());
        } else {
            others.push(metric.clone());
        }
    }
    let mut notes = Map::new();
    if !others.is_empty() {
        notes.insert(METRICS.to_owned(), Value::Array(others).to_string().into());
    }
    if let Some(spec) = out.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("metrics");
        if let Some(cpu) = cpu {
            spec.insert("targetCPUUtilizationPercentage".to_owned(), cpu);
        }
        if let Some(behavior) = spec.remove("behavior") {
            notes.insert(BEHAVIOR.to_owned(), behavior.to_string().into());
        }
    }
    if let Some(status) = out.get_mut("status").and_then(Value::as_object_mut) {
        if let Some(conditions) = status.remove("conditions") {
            notes.insert(CONDITIONS.to_owned(), conditions.to_string().into());
        }
        if let Some(current) = status.remove("currentMetrics") {
            let cpu = current.as_array().into_iter().flatten().find(|m| m["resource"]["name"] == "cpu");
            let used = cpu.map(|m| m["resource"]["current"]["averageUtilization"].clone());
            if let Some(used) = used.filter(|used| !used.is_null()) {
                status.insert("currentCPUUtilizationPercentage".to_owned(), used);
            }
            if !current.as_array().is_some_and(Vec::is_empty) && !current.is_null() {
                notes.insert(CURRENT.to_owned(), current.to_string().into());
            }
        }
    }
    for (key, note) in notes {
        out["metadata"]["annotations"][key] = note;
    }
    out
}

fn autoscaler_to_v2(object: &Value) -> Value {
    let mut out = object.clone();
    let mut metrics = Vec::new();
    let take = |out: &mut Value, key: &str| -> Option<Value> {
        let annotations = out["metadata"].get_mut("annotations")?.as_object_mut()?;
        let text = annotations.remove(key)?;
        let empty = annotations.is_empty();
        if empty {
            out["metadata"].as_object_mut()?.remove("annotations");
        }
        serde_json::from_str(text.as_str()?).ok()
    };
    if let Some(Value::Array(others)) = take(&mut out, METRICS) {
        metrics.extend(others);
    }
    let behavior = take(&mut out, BEHAVIOR);
    let conditions = take(&mut out, CONDITIONS);
    let current = take(&mut out, CURRENT);
    if let Some(spec) = out.get_mut("spec").and_then(Value::as_object_mut) {
        if let Some(percentage) = spec.remove("targetCPUUtilizationPercentage").filter(|p| !p.is_null()) {
            metrics.insert(
                0,
                json!({ "type": "Resource", "resource": { "name": "cpu",
                "target": { "type": "Utilization", "averageUtilization": percentage } } }),
            );
        }
        if !metrics.is_empty() {
            spec.insert("metrics".to_owned(), metrics.into());
        }
        if let Some(behavior) = behavior {
            spec.insert("behavior".to_owned(), behavior);
        }
    }
    if let Some(status) = out.get_mut("status").and_then(Value::as_object_mut) {
        let used = status.remove("currentCPUUtilizationPercentage").filter(|used| !used.is_null());
        if let Some(conditions) = conditions {
            status.insert("conditions".to_owned(), conditions);
        }
        if let Some(current) = current {
            status.insert("currentMetrics".to_owned(), current);
        } else if let Some(used) = used {
            let metric = json!({ "type": "Resource", "resource": { "name": "cpu",
                "current": { "averageUtilization": used, "averageValue": "0" } } });
            status.insert("currentMetrics".to_owned(), json!([metric]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::api::resources::Resources;

    fn round_trip(group: &str, version: &str, plural: &str, object: &Value) -> (Value, Value) {
        let all = Resources::builtin();
        let resource = all.find(group, version, plural).unwrap();
        let stored = to_storage(resource, object.clone());
        let back = from_storage(resource, &Arc::new(stored.clone()));
        (stored, Value::clone(&back))
    }

    #[test]
    fn events_change_the_names_of_their_fields() {
        let event = json!({"apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "hello",
            "regarding": {"kind": "Pod"}, "reportingController": "lab", "metadata": {"name": "e"}});
        let (stored, back) = round_trip("events.k8s.io", "v1", "events", &event);
        assert_eq!(
            stored,
            json!({"apiVersion": "v1", "kind": "Event", "message": "hello",
            "involvedObject": {"kind": "Pod"}, "reportingComponent": "lab", "metadata": {"name": "e"}})
        );
        assert_eq!(back, event);
    }

    #[test]
    fn autoscalers_keep_what_the_old_version_cannot_say() {
        let old = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h", "annotations": {METRICS: "[{\"type\":\"Pods\"}]"}},
            "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 80}});
        let (stored, back) = round_trip("autoscaling", "v1", "horizontalpodautoscalers", &old);
        assert_eq!(stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
        assert_eq!(stored["spec"]["metrics"][1], json!({"type": "Pods"}));
        assert!(stored["metadata"].get("annotations").is_none());
        assert_eq!(stored["apiVersion"], "autoscaling/v2");
        assert_eq!(back, old);
    }
}
