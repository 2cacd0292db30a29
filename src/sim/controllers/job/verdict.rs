//! Whether a Job is done, has failed, or goes on; and the conditions that say so. Pure.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::indexed;
use crate::sim::controllers::pods;
use crate::sim::meta;

/// How a Job ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Complete { reason: &'static str, message: &'static str },
    Failed { reason: &'static str, message: String },
}

const REACHED: (&str, &str) = ("CompletionsReached", "Reached expected number of succeeded pods");
const BY_POLICY: (&str, &str) = ("SuccessPolicy", "Matched rules at index 0");
const LIMIT: (&str, &str) = ("BackoffLimitExceeded", "Job has reached the specified backoff limit");
const DEADLINE: (&str, &str) = ("DeadlineExceeded", "Job was active longer than specified deadline");
const REASONS: [&str; 5] = [
    "BackoffLimitExceeded",
    "DeadlineExceeded",
    "PodFailurePolicy",
    "MaxFailedIndexesExceeded",
    "FailedIndexes",
];

/// Sets a condition.
pub(super) fn set(status: &mut Value, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let at = meta::seconds(now);
    let condition = json!({
        "type": kind, "status": value, "reason": reason, "message": message,
        "lastProbeTime": at, "lastTransitionTime": at,
    });
    match status["conditions"].as_array_mut() {
        Some(conditions) => match conditions.iter_mut().find(|c| c["type"] == kind) {
            Some(known) => *known = condition,
            None => conditions.push(condition),
        },
        None => status["conditions"] = json!([condition]),
    }
}

impl Verdict {
    /// Reads the verdict that was announced earlier.
    pub fn announced(job: &Value) -> Option<Self> {
        let holds = |kind: &str| meta::condition(job, kind).filter(|c| c["status"] == "True");
        if let Some(condition) = holds("FailureTarget") {
            let reason = REASONS.into_iter().find(|reason| condition["reason"] == *reason).unwrap_or(LIMIT.0);
            let message = condition["message"].as_str().unwrap_or_default().to_owned();
            return Some(Self::Failed { reason, message });
        }
        let condition = holds("SuccessCriteriaMet")?;
        let (reason, message) = if condition["reason"] == BY_POLICY.0 { BY_POLICY } else { REACHED };
        Some(Self::Complete { reason, message })
    }

    /// Says that the Job will end so once its Pods have.
    pub fn announce(&self, status: &mut Value, now: Timestamp) {
        match self {
            Self::Complete { reason, message } => {
                set(status, "SuccessCriteriaMet", "True", reason, message, now)
            }
            Self::Failed { reason, message } => set(status, "FailureTarget", "True", reason, message, now),
        }
    }

    /// Says that the Job has ended so.
    pub fn conclude(&self, status: &mut Value, now: Timestamp) {
        match self {
            Self::Complete { reason, message } => {
                set(status, "Complete", "True", reason, message, now);
                status["completionTime"] = meta::seconds(now).into();
            }
            Self::Failed { reason, message } => set(status, "Failed", "True", reason, message, now),
        }
    }
}

/// Returns when the Job will have been active for too long.
pub(super) fn deadline(job: &Value) -> Option<Timestamp> {
    let seconds = job["spec"]["activeDeadlineSeconds"].as_i64()?;
    meta::time(&job["status"]["startTime"])?.checked_add(SignedDuration::from_secs(seconds)).ok()
}

/// Judges a Job whose Pods have been counted.
pub(super) fn judge(job: &Value, pods: &[Arc<Value>], now: Timestamp) -> Option<Verdict> {
    let (spec, status) = (&job["spec"], &job["status"]);
    let failed = |(reason, message): (&'static str, &str)| {
        Some(Verdict::Failed { reason, message: message.to_owned() })
    };
    if let Some(message) = pods.iter().find_map(|pod| failure_policy(job, pod)) {
        return Some(Verdict::Failed { reason: "PodFailurePolicy", message });
    }
    let limit = meta::int(&spec["backoffLimit"], 6);
    if meta::int(&status["failed"], 0) > limit || restarts_exceed(job, pods, limit) {
        return failed(LIMIT);
    }
    if spec["suspend"] != true && deadline(job).is_some_and(|deadline| deadline <= now) {
        return failed(DEADLINE);
    }
    let succeeded = meta::int(&status["succeeded"], 0);
    let active = pods.iter().filter(|pod| pods::is_active(pod)).count();
    if let Some((reason, message)) = indexed::failure(job, active) {
        return Some(Verdict::Failed { reason, message: message.to_owned() });
    }
    if indexed::meets_success_policy(job) {
        return Some(Verdict::Complete { reason: BY_POLICY.0, message: BY_POLICY.1 });
    }
    let complete = match spec["completions"].as_i64() {
        None => succeeded > 0 && active == 0,
        Some(completions) => succeeded >= completions,
    };
    complete.then_some(Verdict::Complete { reason: REACHED.0, message: REACHED.1 })
}

/// Containers that are restarted in place count by their restarts.
fn restarts_exceed(job: &Value, pods: &[Arc<Value>], limit: i64) -> bool {
    if job["spec"]["template"]["spec"]["restartPolicy"] != "OnFailure" {
        return false;
    }
    let restarts: i64 = pods
        .iter()
        .filter(|pod| matches!(pods::phase(pod), "Running" | "Pending"))
        .flat_map(|pod| {
            meta::items(&pod["status"]["initContainerStatuses"])
                .chain(meta::items(&pod["status"]["containerStatuses"]))
        })
        .map(|container| meta::int(&container["restartCount"], 0))
        .sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

/// Returns the first rule of the failure policy that a failed Pod matches: its index, action, and what matched.
fn matching_rule(job: &Value, pod: &Value) -> Option<(usize, String, String)> {
    if pods::phase(pod) != "Failed" {
        return None;
    }
    let name = format!("{}/{}", meta::namespace(pod), meta::name(pod));
    for (index, rule) in meta::items(&job["spec"]["podFailurePolicy"]["rules"]).enumerate() {
        let action = rule["action"].as_str().unwrap_or_default().to_owned();
        let codes = &rule["onExitCodes"];
        let containers = meta::items(&pod["status"]["initContainerStatuses"])
            .chain(meta::items(&pod["status"]["containerStatuses"]))
            .filter(|c| codes["containerName"].is_null() || codes["containerName"] == c["name"]);
        for container in containers.filter(|_| !codes.is_null()) {
            let Some(code) = container["state"]["terminated"]["exitCode"].as_i64().filter(|code| *code != 0)
            else {
                continue;
            };
            let listed = meta::items(&codes["values"]).any(|value| value.as_i64() == Some(code));
            if listed == (codes["operator"] == "In") {
                let container = container["name"].as_str().unwrap_or_default();
                let text =
                    format!("Container {container} for pod {name} failed with exit code {code} matching");
                return Some((index, action, text));
            }
        }
        for pattern in meta::items(&rule["onPodConditions"]) {
            let kind = pattern["type"].as_str().unwrap_or_default();
            if meta::condition(pod, kind).is_some_and(|c| c["status"] == pattern["status"]) {
                return Some((index, action, format!("Pod {name} has condition {kind} matching")));
            }
        }
    }
    None
}

/// Says why a failed Pod fails the whole Job.
fn failure_policy(job: &Value, pod: &Value) -> Option<String> {
    let (index, action, what) = matching_rule(job, pod)?;
    (action == "FailJob").then(|| format!("{what} FailJob rule at index {index}"))
}

/// Tells whether a failed Pod does not count.
pub(super) fn is_ignored(job: &Value, pod: &Value) -> bool {
    matching_rule(job, pod).is_some_and(|(_, action, _)| action == "Ignore")
}
