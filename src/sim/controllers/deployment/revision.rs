//! Revisions of a Deployment: which ReplicaSet is which, and the annotations that say so.

use serde_json::{Value, json};

use super::{replicas, rollout};
use crate::sim::meta;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const HASH: &str = "pod-template-hash";
/// How long the list of earlier revisions may grow.
const HISTORY_LENGTH: usize = 2000;

/// Annotations of a Deployment that its ReplicaSets do not get.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];

/// Returns the revision of a Deployment or ReplicaSet; 0 without one.
pub(super) fn of(object: &Value) -> i64 {
    meta::annotation(object, REVISION).and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Tells whether a ReplicaSet is that of the Deployment's template; the hash label does not count.
pub(super) fn is_same_template(deployment: &Value, set: &Value) -> bool {
    without_hash(&deployment["spec"]["template"]) == without_hash(&set["spec"]["template"])
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(meta) = template["metadata"].as_object_mut() {
        if let Some(labels) = meta.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove(HASH);
        }
        meta.remove("creationTimestamp");
        meta.retain(|_, value| !value.as_object().is_some_and(serde_json::Map::is_empty));
    }
    template
}

/// Builds the ReplicaSet of the Deployment's template, without replicas and annotations.
pub(super) fn new_set(deployment: &Value, hash: &str) -> Value {
    let spec = &deployment["spec"];
    let mut template = spec["template"].clone();
    template["metadata"]["labels"][HASH] = hash.into();
    let mut selector = spec["selector"].clone();
    selector["matchLabels"][HASH] = hash.into();
    let mut set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("{}-{hash}", meta::name(deployment)), "namespace": meta::namespace(deployment),
            "labels": template["metadata"]["labels"], "ownerReferences": [meta::controller_reference(deployment)],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
    });
    let min_ready = meta::int(&spec["minReadySeconds"], 0);
    if min_ready > 0 {
        set["spec"]["minReadySeconds"] = min_ready.into();
    }
    set
}

/// Gives a ReplicaSet the Deployment's annotations and its revision; tells whether anything changed.
pub(super) fn annotate(deployment: &Value, set: &mut Value, revision: i64, exists: bool) -> bool {
    let mut changed = false;
    for (key, value) in meta::texts(&deployment["metadata"]["annotations"]) {
        if !OWN.contains(&key) && meta::annotation(set, key) != Some(value) {
            set["metadata"]["annotations"][key] = value.into();
            changed = true;
        }
    }
    let old = meta::annotation(set, REVISION).map(str::to_owned);
    if of(set) < revision {
        set["metadata"]["annotations"][REVISION] = revision.to_string().into();
        changed = true;
        if let Some(old) = old.filter(|_| exists) {
            let history = meta::annotation(set, HISTORY).unwrap_or_default();
            let mut entries: Vec<&str> = history.split(',').filter(|entry| !entry.is_empty()).collect();
            entries.push(&old);
            while entries.len() > 1 && entries.join(",").len() > HISTORY_LENGTH {
                entries.remove(0);
            }
            set["metadata"]["annotations"][HISTORY] = entries.join(",").into();
        }
    }
    if !exists {
        changed |= annotate_size(deployment, set);
    }
    changed
}

/// Notes on a ReplicaSet how many replicas the Deployment wants and may have; tells whether anything changed.
pub(super) fn annotate_size(deployment: &Value, set: &mut Value) -> bool {
    let wanted = replicas(deployment);
    let mut changed = false;
    for (key, count) in [(DESIRED, wanted), (MAXIMUM, wanted + rollout::max_surge(deployment))] {
        let text = count.to_string();
        if meta::annotation(set, key) != Some(&text) {
            set["metadata"]["annotations"][key] = text.into();
            changed = true;
        }
    }
    changed
}

/// Notes the revision on the Deployment; tells whether anything changed.
pub(super) fn annotate_deployment(deployment: &mut Value, revision: i64) -> bool {
    let text = revision.to_string();
    if meta::annotation(deployment, REVISION) == Some(&text) {
        return false;
    }
    deployment["metadata"]["annotations"][REVISION] = text.into();
    true
}
