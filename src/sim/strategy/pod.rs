//! Pods: their first status, and what requests to their subresources may touch.

use serde_json::{Value, json};

use crate::sim::object::{Fields, copy, equal, field_at, items_mut, map_at, object_mut, remove, set};
use crate::sim::pod_resources::qos_class;
use crate::sim::validation::pod::security::APPARMOR_ANNOTATION;

pub(super) fn create(object: &mut Value) {
    let mut status = json!({"phase": "Pending", "qosClass": qos_class(object)});
    if !object.at("spec").items("schedulingGates").is_empty() {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": null, "lastTransitionTime": null,
        }]);
    }
    *field_at(object, "status") = status;
    match_label_keys(object);
    app_armor_fields(object);
}

pub(super) fn update(subresource: &str, new: &mut Value, old: &Value) {
    match subresource {
        "status" => {
            copy(new, old, "spec");
            for field in ["ownerReferences", "deletionTimestamp"] {
                copy(field_at(new, "metadata"), old.at("metadata"), field);
            }
            let status = field_at(new, "status");
            if status.text("qosClass").is_empty() {
                copy(status, old.at("status"), "qosClass");
            }
        }
        "ephemeralcontainers" => {
            let containers = new.dig(&["spec", "ephemeralContainers"]).clone();
            *new = old.clone();
            set(field_at(new, "spec"), "ephemeralContainers", containers);
        }
        "resize" => resize(new, old),
        _ => copy(new, old, "status"),
    }
    if subresource != "status" && !equal(new.at("spec"), old.at("spec")) {
        let generation = old.at("metadata").int("generation").unwrap_or_default() + 1;
        set(field_at(new, "metadata"), "generation", generation);
    }
}

/// Takes over resources and resize policies, and leaves all else.
fn resize(new: &mut Value, old: &Value) {
    let wanted = new.at("spec").clone();
    *new = old.clone();
    let spec = field_at(new, "spec");
    for list in ["containers", "initContainers"] {
        for container in items_mut(spec, list) {
            let name = container.text("name").to_owned();
            let Some(wanted) = wanted.items(list).iter().find(|other| other.text("name") == name) else {
                continue;
            };
            for field in ["resources", "resizePolicy"] {
                copy(container, wanted, field);
            }
        }
    }
}

/// Copies the older annotations to the fields that came after them, where these are not set.
fn app_armor_fields(object: &mut Value) {
    let annotations = object.dig(&["metadata", "annotations"]).clone();
    let spec = field_at(object, "spec");
    if spec.at("os").text("name") == "windows" || spec.at("securityContext").has("appArmorProfile") {
        return;
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items_mut(spec, list) {
            let key = format!("{APPARMOR_ANNOTATION}{}", container.text("name"));
            let Some(annotation) = annotations.at(&key).as_str() else { continue };
            if container.at("securityContext").has("appArmorProfile") {
                continue;
            }
            let profile = match annotation.strip_prefix("localhost/") {
                _ if annotation == "runtime/default" => json!({"type": "RuntimeDefault"}),
                _ if annotation == "unconfined" => json!({"type": "Unconfined"}),
                Some(name) if !name.is_empty() => json!({"type": "Localhost", "localhostProfile": name}),
                _ => continue,
            };
            map_at(container, "securityContext").insert("appArmorProfile".to_owned(), profile);
        }
    }
}

/// Writes `matchLabelKeys` out as the expressions that they stand for, with the Pod's own labels.
fn match_label_keys(object: &mut Value) {
    let labels = object.dig(&["metadata", "labels"]).clone();
    let spec = field_at(object, "spec");
    for constraint in items_mut(spec, "topologySpreadConstraints") {
        expressions(constraint, "matchLabelKeys", "In", &labels);
    }
    let Some(affinity) = object_mut(spec, "affinity") else { return };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(rules) = object_mut(affinity, kind) else { continue };
        for term in items_mut(rules, "requiredDuringSchedulingIgnoredDuringExecution") {
            expressions(term, "matchLabelKeys", "In", &labels);
            expressions(term, "mismatchLabelKeys", "NotIn", &labels);
        }
        for weighted in items_mut(rules, "preferredDuringSchedulingIgnoredDuringExecution") {
            if let Some(term) = object_mut(weighted, "podAffinityTerm") {
                expressions(term, "matchLabelKeys", "In", &labels);
                expressions(term, "mismatchLabelKeys", "NotIn", &labels);
            }
        }
    }
}

fn expressions(term: &mut Value, keys: &str, operator: &str, labels: &Value) {
    let added: Vec<Value> = term
        .texts(keys)
        .into_iter()
        .filter_map(|key| {
            let value = labels.at(key).as_str()?;
            Some(json!({"key": key, "operator": operator, "values": [value]}))
        })
        .collect();
    if added.is_empty() || !term.has("labelSelector") {
        return;
    }
    let list = field_at(field_at(term, "labelSelector"), "matchExpressions");
    match list {
        Value::Array(list) => list.extend(added),
        other => *other = added.into(),
    }
}

/// Takes away what a feature would have to be on for: volumes of images.
pub(super) fn drop_disabled(spec: &mut Value, old: &Value) {
    let used = old.items("volumes").iter().any(|volume| volume.has("image"));
    if !used {
        for volume in items_mut(spec, "volumes") {
            remove(volume, "image");
        }
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items_mut(spec, list) {
            remove(container, "restartPolicyRules");
            for variable in items_mut(container, "env") {
                if let Some(source) = object_mut(variable, "valueFrom") {
                    remove(source, "fileKeyRef");
                }
            }
        }
    }
    remove(spec, "hostnameOverride");
}
