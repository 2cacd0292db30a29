//! Pods as rows: what STATUS says, which containers are ready, when one was last restarted.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age;
use super::cells::{containers, labels, name, or_none};
use crate::sim::object::Fields as _;

/// A Pod.
pub(super) fn pod(pod: &Value, now: Timestamp) -> Vec<Value> {
    let spec = pod.at("spec");
    let status = pod.at("status");
    let summary = summary(pod);
    let restarts = match summary.last_restart {
        Some(last) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, age::human(now.duration_since(last)))
        }
        _ => summary.restarts.to_string(),
    };
    let address = status.items("podIPs").first().map_or("", |ip| ip.text("ip"));
    let gates = spec.items("readinessGates");
    let open = gates.iter().filter(|gate| {
        condition(status, gate.text("conditionType")).is_some_and(|c| c.text("status") == "True")
    });
    let gates =
        if gates.is_empty() { "<none>".to_owned() } else { format!("{}/{}", open.count(), gates.len()) };
    vec![
        name(pod),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        restarts.into(),
        super::cells::age(pod, now),
        or_none(address),
        or_none(spec.text("nodeName")),
        or_none(status.text("nominatedNodeName")),
        gates.into(),
    ]
}

/// A PodTemplate.
pub(super) fn template(object: &Value, _now: Timestamp) -> Vec<Value> {
    let template = object.at("template");
    let [names, images] = containers(template.at("spec"));
    vec![name(object), names, images, labels(template.at("metadata"), "labels")]
}

/// What a row of a Pod that has ended says beside its cells.
pub(super) fn conditions(pod: &Value) -> Vec<Value> {
    let (reason, message) = match pod.at("status").text("phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return Vec::new(),
    };
    vec![json!({ "type": "Completed", "status": "True", "reason": reason, "message": message })]
}

struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

fn condition<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status.items("conditions").iter().find(|c| c.text("type") == kind)
}

/// Names how a container ended: its reason, else its signal or exit code.
fn ending(terminated: &Value) -> String {
    match (terminated.text("reason"), terminated.int("signal").unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", terminated.int("exitCode").unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn later(a: Option<Timestamp>, container: &Value) -> Option<Timestamp> {
    a.max(age::read(container.dig(&["lastState", "terminated", "finishedAt"])))
}

fn summary(pod: &Value) -> Summary {
    let (spec, status) = (pod.at("spec"), pod.at("status"));
    let phase = status.text("phase");
    let mut reason = match status.text("reason") {
        "" => phase.to_owned(),
        reason => reason.to_owned(),
    };
    if condition(status, "PodScheduled").is_some_and(|c| c.text("reason") == "SchedulingGated") {
        "SchedulingGated".clone_into(&mut reason);
    }
    let inits = spec.items("initContainers");
    let restartable =
        |name: &str| inits.iter().any(|c| c.text("name") == name && c.text("restartPolicy") == "Always");
    let sidecars = inits.iter().filter(|c| c.text("restartPolicy") == "Always").count();
    let total = spec.items("containers").len() + sidecars;
    let (mut ready, mut restarts, mut last_restart) = (0, 0, None);
    let (mut sidecar_restarts, mut sidecar_last) = (0, None);
    let mut initializing = false;
    for (at, container) in status.items("initContainerStatuses").iter().enumerate() {
        let count = container.int("restartCount").unwrap_or(0);
        let is_sidecar = restartable(container.text("name"));
        restarts += count;
        last_restart = later(last_restart, container);
        if is_sidecar {
            sidecar_restarts += count;
            sidecar_last = later(sidecar_last, container);
        }
        let state = container.at("state");
        let terminated = state.at("terminated");
        if terminated.is_object() && terminated.int("exitCode").unwrap_or(0) == 0 {
            continue;
        }
        if is_sidecar && container.truth("started") == Some(true) {
            if container.truth("ready") == Some(true) {
                ready += 1;
            }
            continue;
        }
        let waiting = state.at("waiting").text("reason");
        reason = if terminated.is_object() {
            format!("Init:{}", ending(terminated))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{at}/{}", inits.len())
        };
        initializing = true;
        break;
    }
    let initialized = condition(status, "Initialized").is_some_and(|c| c.text("status") == "True");
    if !initializing || initialized {
        restarts = sidecar_restarts;
        last_restart = sidecar_last;
        let mut running = false;
        for container in status.items("containerStatuses").iter().rev() {
            restarts += container.int("restartCount").unwrap_or(0);
            last_restart = later(last_restart, container);
            let state = container.at("state");
            let waiting = state.at("waiting").text("reason");
            if !waiting.is_empty() {
                waiting.clone_into(&mut reason);
            } else if state.has("terminated") {
                reason = ending(state.at("terminated"));
            } else if container.truth("ready") == Some(true) && state.has("running") {
                running = true;
                ready += 1;
            }
        }
        if reason == "Completed" && running {
            let is_ready = condition(status, "Ready").is_some_and(|c| c.text("status") == "True");
            if is_ready { "Running" } else { "NotReady" }.clone_into(&mut reason);
        }
    }
    if pod.at("metadata").has("deletionTimestamp") {
        if status.text("reason") == "NodeLost" {
            "Unknown".clone_into(&mut reason);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut reason);
        }
    }
    Summary { reason, ready, total, restarts, last_restart }
}
