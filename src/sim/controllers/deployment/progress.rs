//! A Deployment's status: counts, availability, and whether the rollout progresses, is done, or has taken too long. Pure.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{replicas, rollout};
use crate::sim::meta;

const NO_DEADLINE: i64 = i32::MAX as i64;

fn seconds_allowed(deployment: &Value) -> Option<i64> {
    deployment["spec"]["progressDeadlineSeconds"].as_i64().filter(|&seconds| seconds != NO_DEADLINE)
}

/// Tells whether progress is judged at all.
pub(super) fn has_deadline(deployment: &Value) -> bool {
    seconds_allowed(deployment).is_some()
}

fn find<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    meta::items(&status["conditions"]).find(|c| c["type"] == kind)
}

fn remove(status: &mut Value, kind: &str) {
    if let Some(conditions) = status["conditions"].as_array_mut() {
        conditions.retain(|c| c["type"] != kind);
    }
}

/// Sets a condition, unless it has this status and reason already; it then stands last.
pub(super) fn set(status: &mut Value, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let at = meta::seconds(now);
    let mut condition = json!({
        "type": kind, "status": value, "reason": reason, "message": message,
        "lastUpdateTime": at, "lastTransitionTime": at,
    });
    if let Some(known) = find(status, kind) {
        if known["status"] == value && known["reason"] == reason {
            return;
        }
        if known["status"] == value {
            condition["lastTransitionTime"] = known["lastTransitionTime"].clone();
        }
    }
    remove(status, kind);
    match status["conditions"].as_array_mut() {
        Some(conditions) => conditions.push(condition),
        None => status["conditions"] = json!([condition]),
    }
}

/// Returns the status with the condition of pausing or resuming, when that has to be noted.
pub(super) fn paused_or_resumed(deployment: &Value, now: Timestamp) -> Option<Value> {
    if !has_deadline(deployment) {
        return None;
    }
    let known = meta::condition(deployment, "Progressing");
    if known.is_some_and(|c| c["reason"] == "ProgressDeadlineExceeded") {
        return None;
    }
    let noted = known.is_some_and(|c| c["reason"] == "DeploymentPaused");
    let (reason, message) = match (deployment["spec"]["paused"] == true, noted) {
        (true, false) => ("DeploymentPaused", "Deployment is paused"),
        (false, true) => ("DeploymentResumed", "Deployment is resumed"),
        _ => return None,
    };
    let mut status = if deployment["status"].is_object() { deployment["status"].clone() } else { json!({}) };
    set(&mut status, "Progressing", "Unknown", reason, message, now);
    Some(status)
}

/// Computes the counts and the Available condition; the other conditions stay.
pub(super) fn counts(deployment: &Value, all: &[&Value], new: Option<&Value>, now: Timestamp) -> Value {
    let sum = |field: &str| all.iter().map(|set| meta::int(&set["status"][field], 0)).sum::<i64>();
    let available = sum("availableReplicas");
    let wanted_of_all = all.iter().map(|set| replicas(set)).sum::<i64>();
    let mut status = json!({});
    if let Some(conditions) = deployment["status"].get("conditions") {
        status["conditions"] = conditions.clone();
    }
    let updated = new.map_or(0, |set| meta::int(&set["status"]["replicas"], 0));
    for (field, count) in [
        ("observedGeneration", meta::generation(deployment)),
        ("replicas", sum("replicas")),
        ("updatedReplicas", updated),
        ("readyReplicas", sum("readyReplicas")),
        ("availableReplicas", available),
        ("unavailableReplicas", (wanted_of_all - available).max(0)),
    ] {
        meta::set_omitempty(&mut status, field, count);
    }
    if let Some(collisions) = deployment["status"].get("collisionCount") {
        status["collisionCount"] = collisions.clone();
    }
    if available >= replicas(deployment) - rollout::max_unavailable(deployment) {
        let text = "Deployment has minimum availability.";
        set(&mut status, "Available", "True", "MinimumReplicasAvailable", text, now);
    } else {
        let text = "Deployment does not have minimum availability.";
        set(&mut status, "Available", "False", "MinimumReplicasUnavailable", text, now);
    }
    status
}

/// Tells whether all that is wanted is updated and available, and nothing else runs.
pub(super) fn is_complete(deployment: &Value, status: &Value) -> bool {
    let wanted = replicas(deployment);
    let count = |field: &str| meta::int(&status[field], 0);
    count("updatedReplicas") == wanted
        && count("replicas") == wanted
        && count("availableReplicas") == wanted
        && count("observedGeneration") >= meta::generation(deployment)
}

fn is_progressing(old: &Value, new: &Value) -> bool {
    let count = |status: &Value, field: &str| meta::int(&status[field], 0);
    let outdated = |status: &Value| count(status, "replicas") - count(status, "updatedReplicas");
    count(new, "updatedReplicas") > count(old, "updatedReplicas")
        || outdated(new) < outdated(old)
        || count(new, "readyReplicas") > count(old, "readyReplicas")
        || count(new, "availableReplicas") > count(old, "availableReplicas")
}

fn is_timed_out(deployment: &Value, status: &Value, now: Timestamp) -> bool {
    let (Some(seconds), Some(known)) = (seconds_allowed(deployment), find(status, "Progressing")) else {
        return false;
    };
    match known["reason"].as_str() {
        Some("NewReplicaSetAvailable") => false,
        Some("ProgressDeadlineExceeded") => true,
        _ => meta::time(&known["lastUpdateTime"])
            .is_some_and(|since| now.duration_since(since) > SignedDuration::from_secs(seconds)),
    }
}

/// Sets the Progressing and ReplicaFailure conditions of a rollout.
pub(super) fn judge(
    deployment: &Value,
    status: &mut Value,
    all: &[&Value],
    new: Option<&Value>,
    now: Timestamp,
) {
    let known = meta::condition(deployment, "Progressing").cloned();
    if !has_deadline(deployment) {
        remove(status, "Progressing");
    }
    let count = |field: &str| meta::int(&status[field], 0);
    let was_complete = count("replicas") == count("updatedReplicas")
        && known.as_ref().is_some_and(|c| c["reason"] == "NewReplicaSetAvailable");
    if has_deadline(deployment) && !was_complete {
        let subject = match new {
            Some(set) => format!("ReplicaSet {:?}", meta::name(set)),
            None => format!("Deployment {:?}", meta::name(deployment)),
        };
        if is_complete(deployment, status) {
            let text = format!("{subject} has successfully progressed.");
            set(status, "Progressing", "True", "NewReplicaSetAvailable", &text, now);
        } else if is_progressing(&deployment["status"], status) {
            let text = format!("{subject} is progressing.");
            // Each step of progress counts anew, so that the condition is replaced and not kept.
            remove(status, "Progressing");
            set(status, "Progressing", "True", "ReplicaSetUpdated", &text, now);
            let transition = known.filter(|c| c["status"] == "True").map(|c| c["lastTransitionTime"].clone());
            let last = status["conditions"].as_array_mut().and_then(|list| list.last_mut());
            if let (Some(transition), Some(last)) = (transition, last) {
                last["lastTransitionTime"] = transition;
            }
        } else if is_timed_out(deployment, status, now) {
            let text = format!("{subject} has timed out progressing.");
            set(status, "Progressing", "False", "ProgressDeadlineExceeded", &text, now);
        }
    }
    let failure = |set: &&Value| meta::condition(set, "ReplicaFailure").cloned();
    let failure = new.as_ref().and_then(failure).or_else(|| all.iter().find_map(failure));
    match failure {
        None => remove(status, "ReplicaFailure"),
        Some(failure) => {
            let text = |field: &str| failure[field].as_str().unwrap_or_default().to_owned();
            let since = meta::time(&failure["lastTransitionTime"]).unwrap_or(now);
            set(status, "ReplicaFailure", &text("status"), &text("reason"), &text("message"), since);
        }
    }
}

/// Returns when a rollout that stands still will have taken too long.
pub(super) fn deadline(deployment: &Value) -> Option<Timestamp> {
    let seconds = seconds_allowed(deployment)?;
    let known = meta::condition(deployment, "Progressing")?;
    if matches!(known["reason"].as_str(), Some("ProgressDeadlineExceeded" | "NewReplicaSetAvailable"))
        || is_complete(deployment, &deployment["status"])
        || deployment["spec"]["paused"] == true
    {
        return None;
    }
    meta::time(&known["lastUpdateTime"])?.checked_add(SignedDuration::from_secs(seconds)).ok()
}
