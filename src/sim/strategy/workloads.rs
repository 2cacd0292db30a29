//! Jobs, DaemonSets, and what all pod templates have in common.

use serde_json::{Value, json};

use super::pod;
use crate::sim::object::{Fields, equal, field_at, map_at, set};

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Gives a Job the labels and the selector by which it knows its Pods, unless it brings its own.
pub(super) fn job(object: &mut Value) {
    if object.at("spec").truth("manualSelector") == Some(true) {
        return;
    }
    let uid = object.dig(&["metadata", "uid"]).clone();
    let name = object.dig(&["metadata", "name"]).clone();
    let marks = [
        (UID_LABEL, uid.clone()),
        (NAME_LABEL, name.clone()),
        ("controller-uid", uid.clone()),
        ("job-name", name),
    ];
    let spec = field_at(object, "spec");
    let labels = map_at(field_at(field_at(spec, "template"), "metadata"), "labels");
    for (key, value) in &marks {
        labels.entry(*key).or_insert_with(|| value.clone());
    }
    let selector = map_at(field_at(spec, "selector"), "matchLabels");
    selector.entry(UID_LABEL).or_insert(uid);
    // The Job itself was labelled like its template when it was defaulted, if it had no labels of its own. Upstream's
    // template shares its labels with the Job then, and so the marks are on both.
    let own = object.dig(&["metadata", "labels"]).clone();
    let template = object.dig(&["spec", "template", "metadata", "labels"]).clone();
    let shared = own.as_object().is_none_or(|own| own.iter().all(|(key, value)| template.at(key) == value));
    if shared {
        set(field_at(object, "metadata"), "labels", template);
    }
}

pub(super) fn daemon_set(object: &mut Value) {
    let annotations = map_at(field_at(object, "metadata"), "annotations");
    annotations.entry(TEMPLATE_GENERATION).or_insert(json!("1"));
}

pub(super) fn daemon_set_update(new: &mut Value, old: &Value) {
    let before = old.dig(&["metadata", "annotations", TEMPLATE_GENERATION]).as_str().unwrap_or("0");
    let mut generation: i64 = before.parse().unwrap_or_default();
    if !equal(new.dig(&["spec", "template"]), old.dig(&["spec", "template"])) {
        generation += 1;
    }
    if generation > 0 {
        map_at(field_at(new, "metadata"), "annotations")
            .insert(TEMPLATE_GENERATION.to_owned(), json!(generation.to_string()));
    }
}

/// Returns where a kind keeps the spec of its Pods.
pub(super) fn pod_spec_path(group: &str, kind: &str) -> Option<&'static [&'static str]> {
    Some(match (group, kind) {
        ("", "Pod") => &["spec"],
        ("", "PodTemplate") => &["template", "spec"],
        ("", "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job") => &["spec", "template", "spec"],
        ("batch", "CronJob") => &["spec", "jobTemplate", "spec", "template", "spec"],
        _ => return None,
    })
}

/// Takes away fields whose features are off, unless the object had them already.
pub(super) fn drop_disabled(group: &str, kind: &str, new: &mut Value, old: &Value) {
    let Some(path) = pod_spec_path(group, kind) else { return };
    if new.dig(path).is_object() {
        let spec = path.iter().fold(new, |value, name| field_at(value, name));
        pod::drop_disabled(spec, old.dig(path));
    }
}
