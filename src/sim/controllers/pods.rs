//! What workload controllers have to do with Pods: when one counts, how it is made from a template, which goes first.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::engine::Cx;
use crate::sim::client::DeleteOptions;
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

pub(crate) const PODS: GroupResource = GroupResource::of("", "pods");

/// How many Pods a controller makes or deletes in one go.
pub(crate) const BURST: usize = 500;

/// Returns the phase.
pub(crate) fn phase(pod: &Value) -> &str {
    pod["status"]["phase"].as_str().unwrap_or_default()
}

/// Tells whether the Pod has ended, well or badly.
pub(crate) fn is_finished(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Tells whether the Pod counts for a controller: it has not ended and is not going.
pub(crate) fn is_active(pod: &Value) -> bool {
    !is_finished(pod) && !meta::is_deleting(pod)
}

/// Tells whether the Pod is ready.
pub(crate) fn is_ready(pod: &Value) -> bool {
    meta::is_condition_true(pod, "Ready")
}

fn ready_since(pod: &Value) -> Option<Timestamp> {
    meta::condition(pod, "Ready")
        .filter(|c| c["status"] == "True")
        .and_then(|c| meta::time(&c["lastTransitionTime"]))
}

/// Tells whether the Pod has been ready for long enough.
pub(crate) fn is_available(pod: &Value, min_ready_seconds: i64, now: Timestamp) -> bool {
    is_ready(pod) && available_in(pod, min_ready_seconds, now).is_none()
}

/// Returns how long it is until a ready Pod is available; nothing when it is, or when it is not ready.
pub(crate) fn available_in(
    pod: &Value,
    min_ready_seconds: i64,
    now: Timestamp,
) -> Option<std::time::Duration> {
    let since = ready_since(pod)?;
    let ready_for = now.duration_since(since).as_millis();
    let missing = i128::from(min_ready_seconds) * 1000 - ready_for;
    if missing > 0 { u64::try_from(missing).ok().map(std::time::Duration::from_millis) } else { None }
}

/// Builds a Pod from a template, managed by `owner`; the API makes the name from the owner's.
pub(crate) fn from_template(template: &Value, owner: &Value) -> Value {
    let mut meta = json!({
        "generateName": format!("{}-", meta::name(owner)),
        "namespace": meta::namespace(owner),
        "ownerReferences": [meta::controller_reference(owner)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        let value = &template["metadata"][field];
        if !value.is_null() {
            meta[field] = value.clone();
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": template["spec"]})
}

/// Tells whether a refusal means that the namespace is going: nothing is recorded of it then.
pub(crate) fn is_namespace_going(status: &Status) -> bool {
    meta::items(&status.details["causes"]).any(|cause| cause["reason"] == "NamespaceTerminating")
}

/// Creates a Pod and records how that went.
///
/// # Errors
/// As the API refuses.
pub(crate) async fn create(cx: &Cx, owner: &Value, pod: Value) -> Result<Arc<Value>, Status> {
    let namespace = meta::namespace(owner);
    match cx.client.create(&PODS, namespace, pod).await {
        Ok(created) => {
            cx.recorder.normal(owner, "SuccessfulCreate", format!("Created pod: {}", meta::name(&created)));
            Ok(created)
        }
        Err(status) => {
            if !is_namespace_going(&status) {
                cx.recorder.warning(owner, "FailedCreate", format!("Error creating: {status}"));
            }
            Err(status)
        }
    }
}

/// Deletes a Pod and records how that went; one that is gone already counts as deleted.
///
/// # Errors
/// As the API refuses.
pub(crate) async fn delete(cx: &Cx, owner: &Value, pod: &Value) -> Result<(), Status> {
    let options = DeleteOptions { uid: Some(meta::uid(pod).to_owned()), ..DeleteOptions::default() };
    match cx.client.delete(&PODS, meta::namespace(pod), meta::name(pod), options).await {
        Ok(_) => {
            cx.recorder.normal(owner, "SuccessfulDelete", format!("Deleted pod: {}", meta::name(pod)));
            Ok(())
        }
        Err(status) if status.code == 404 => Ok(()),
        Err(status) => {
            cx.recorder.warning(owner, "FailedDelete", format!("Error deleting: {status}"));
            Err(status)
        }
    }
}

/// Creates `count` Pods, at first one, then twice as many at a time: a refusal ends it before it is repeated often.
///
/// # Errors
/// The first refusal; a namespace that is going is none.
pub(crate) async fn create_slowly(cx: &Cx, owner: &Value, pod: &Value, count: usize) -> Result<(), Status> {
    let (mut left, mut batch) = (count.min(BURST), 1);
    while left > 0 {
        let size = batch.min(left);
        let mut refusal = None;
        for _ in 0..size {
            match create(cx, owner, pod.clone()).await {
                Err(status) if is_namespace_going(&status) => return Ok(()),
                Err(status) => refusal = refusal.or(Some(status)),
                Ok(_) => {}
            }
        }
        if let Some(status) = refusal {
            return Err(status);
        }
        left -= size;
        batch *= 2;
    }
    Ok(())
}

/// Puts Pods in the order in which a controller that has too many deletes them; `beside` are all Pods of related owners,
/// so that nodes with many of them lose one first.
pub(crate) fn by_deletion_rank(pods: &mut [Arc<Value>], beside: &[Arc<Value>], now: Timestamp) {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in beside.iter().filter(|pod| is_active(pod)) {
        *on_node.entry(node(pod)).or_default() += 1;
    }
    let rank = |pod: &Value| on_node.get(node(pod)).copied().unwrap_or_default();
    pods.sort_by(|a, b| {
        node(b)
            .is_empty()
            .cmp(&node(a).is_empty())
            .then_with(|| phase_rank(a).cmp(&phase_rank(b)))
            .then_with(|| is_ready(a).cmp(&is_ready(b)))
            .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
            .then_with(|| rank(b).cmp(&rank(a)))
            .then_with(|| by_age(ready_since(a), ready_since(b), a, b, now))
            .then_with(|| restarts(b).cmp(&restarts(a)))
            .then_with(|| by_age(meta::created(a), meta::created(b), a, b, now))
    });
}

fn node(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or_default()
}

fn phase_rank(pod: &Value) -> u8 {
    match phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    }
}

fn deletion_cost(pod: &Value) -> i32 {
    meta::annotation(pod, "controller.kubernetes.io/pod-deletion-cost")
        .and_then(|c| c.parse().ok())
        .unwrap_or_default()
}

/// Returns the most restarts of a container.
fn restarts(pod: &Value) -> i64 {
    meta::items(&pod["status"]["containerStatuses"])
        .map(|c| meta::int(&c["restartCount"], 0))
        .max()
        .unwrap_or_default()
}

/// The younger first, where ages are told apart by their order of magnitude only; a missing time is the youngest.
fn by_age(
    a: Option<Timestamp>,
    b: Option<Timestamp>,
    pod_a: &Value,
    pod_b: &Value,
    now: Timestamp,
) -> Ordering {
    let magnitude = |time: Option<Timestamp>| {
        time.map_or(-1, |time| {
            let seconds = now.duration_since(time).as_secs();
            if seconds <= 0 { 0 } else { i64::from(seconds.ilog2()) }
        })
    };
    match magnitude(a).cmp(&magnitude(b)) {
        Ordering::Equal => meta::uid(pod_a).cmp(meta::uid(pod_b)),
        other => other,
    }
}

/// Sets a condition of a Pod; the time of transition stays when the status does.
pub(crate) fn set_pod_condition(
    pod: &mut Value,
    kind: &str,
    status: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let known = meta::condition(pod, kind).cloned();
    let transition = match &known {
        Some(known) if known["status"] == status => known["lastTransitionTime"].clone(),
        _ => meta::seconds(now).into(),
    };
    let mut condition = json!({
        "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": transition,
    });
    for (field, text) in [("reason", reason), ("message", message)] {
        if !text.is_empty() {
            condition[field] = text.into();
        }
    }
    if meta::generation(pod) > 0 {
        condition["observedGeneration"] = meta::generation(pod).into();
    }
    let Some(conditions) = pod["status"]["conditions"].as_array_mut() else {
        pod["status"]["conditions"] = json!([condition]);
        return;
    };
    match conditions.iter_mut().find(|c| c["type"] == kind) {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
}

/// Notes on a Pod that it is about to be disrupted, and by whom.
///
/// # Errors
/// As the API refuses; a Pod that is gone is no error.
pub(crate) async fn disrupt(cx: &Cx, pod: &Value, reason: &str, message: &str) -> Result<(), Status> {
    let mut updated = pod.clone();
    set_pod_condition(&mut updated, "DisruptionTarget", "True", reason, message, cx.clock().now());
    match cx.client.update_status(&PODS, meta::namespace(pod), meta::name(pod), updated).await {
        Err(status) if status.code == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}
