//! A Pod's status as the kubelet reports it: phase, conditions, addresses, container statuses.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::runtime::{Container, Part, Runtime, Sandbox, State};
use crate::sim::image::ImageName;
use crate::sim::meta;
use crate::sim::node::images;

/// Conditions that the kubelet itself keeps, in their order.
const OWN: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Builds the status. What others wrote (other conditions, the class of service) stays.
pub(super) fn build(pod: &Value, runtime: &Runtime, node_address: &str, now: Timestamp) -> Value {
    let mut status = json!({});
    for kept in
        ["qosClass", "nominatedNodeName", "resize", "ephemeralContainerStatuses", "resourceClaimStatuses"]
    {
        if let Some(value) = pod["status"].get(kept) {
            status[kept] = value.clone();
        }
    }
    let phase = runtime.phase(pod);
    status["phase"] = phase.into();
    status["hostIP"] = node_address.into();
    status["hostIPs"] = json!([{"ip": node_address}]);
    status["startTime"] = meta::seconds(runtime.start_time).into();
    meta::set_omitempty(&mut status, "observedGeneration", meta::generation(pod));
    if let Some((reason, message)) = runtime.failed.as_ref().filter(|_| phase == "Failed") {
        status["reason"] = reason.clone().into();
        status["message"] = message.clone().into();
    }
    if let Some(address) = runtime.address() {
        status["podIP"] = address.into();
        status["podIPs"] = json!([{"ip": address}]);
    }
    if runtime.rejected {
        for field in ["hostIP", "hostIPs"] {
            if let Some(map) = status.as_object_mut() {
                map.remove(field);
            }
        }
        return status;
    }
    let lists: [(&str, &[Part]); 3] = [
        ("initContainerStatuses", &[Part::Init, Part::Sidecar]),
        ("containerStatuses", &[Part::App]),
        ("ephemeralContainerStatuses", &[Part::Ephemeral]),
    ];
    for (list, parts) in lists {
        let statuses: Vec<Value> =
            runtime.containers.iter().filter(|c| parts.contains(&c.part)).map(container_status).collect();
        meta::set_omitempty(&mut status, list, statuses);
    }
    status["conditions"] = conditions(pod, runtime, phase, now).into();
    status
}

fn container_status(container: &Container) -> Value {
    let spec = &container.spec;
    let name = spec["image"].as_str().unwrap_or_default();
    let has_run = !container.id.is_empty();
    let parsed = ImageName::parse(name).filter(|_| has_run);
    let state = match &container.state {
        State::Waiting { reason, message } => {
            let mut waiting = json!({"reason": reason});
            meta::set_omitempty(&mut waiting, "message", message.clone());
            json!({"waiting": waiting})
        }
        State::Running { since } => json!({"running": {"startedAt": meta::seconds(*since)}}),
        State::Ended(ended) => json!({"terminated": ended.to_json()}),
    };
    let mut status = json!({
        "name": container.name(),
        "image": parsed.as_ref().map_or_else(|| name.to_owned(), images::full_name),
        "imageID": parsed.as_ref().map(images::image_id).unwrap_or_default(),
        "lastState": container.last.as_ref().map_or_else(|| json!({}), |last| json!({"terminated": last.to_json()})),
        "ready": container.is_ready(),
        "restartCount": container.restarts,
        "started": container.is_started(),
        "state": state,
    });
    if has_run {
        status["containerID"] = format!("containerd://{}", container.id).into();
        status["resources"] = spec["resources"].clone();
        if status["resources"].is_null() {
            status["resources"] = json!({});
        }
        if !spec["resources"]["requests"].is_null() {
            status["allocatedResources"] = spec["resources"]["requests"].clone();
        }
    }
    let mounts: Vec<Value> = meta::items(&spec["volumeMounts"])
        .map(|mount| {
            let mut shown = json!({"name": mount["name"], "mountPath": mount["mountPath"]});
            if mount["readOnly"] == true {
                shown["readOnly"] = true.into();
                let recursive = mount["recursiveReadOnly"].as_str().filter(|mode| *mode == "Enabled");
                shown["recursiveReadOnly"] = recursive.unwrap_or("Disabled").into();
            }
            shown
        })
        .collect();
    meta::set_omitempty(&mut status, "volumeMounts", mounts);
    status
}

type Verdict = (&'static str, String, String);

fn conditions(pod: &Value, runtime: &Runtime, phase: &str, now: Timestamp) -> Vec<Value> {
    let known = |kind: &str| meta::condition(pod, kind);
    let others = meta::items(&pod["status"]["conditions"])
        .filter(|condition| !OWN.contains(&condition["type"].as_str().unwrap_or_default()))
        .cloned();
    let mut conditions: Vec<Value> = others.collect();
    let yes = || ("True", String::new(), String::new());
    let finished = matches!(phase, "Succeeded" | "Failed");
    let sandbox = matches!(runtime.sandbox, Sandbox::Ready { .. }) && !finished;
    let lost = finished && runtime.containers.iter().all(|c| c.id.is_empty());
    let initialized: Verdict = if phase == "Succeeded" {
        ("True", "PodCompleted".to_owned(), String::new())
    } else if runtime.is_initialized() || (finished && lost) {
        yes()
    } else {
        let incomplete: Vec<&str> =
            runtime.init().filter(|c| !c.is_initialized()).map(Container::name).collect();
        let text = format!("containers with incomplete status: [{}]", incomplete.join(" "));
        ("False", "ContainersNotInitialized".to_owned(), text)
    };
    let unready: Vec<&str> = runtime
        .containers
        .iter()
        .filter(|c| matches!(c.part, Part::App | Part::Sidecar) && !c.is_ready())
        .map(Container::name)
        .collect();
    let not_ready = || {
        let text = format!("containers with unready status: [{}]", unready.join(" "));
        ("False", "ContainersNotReady".to_owned(), text)
    };
    let containers: Verdict = match phase {
        "Succeeded" => ("False", "PodCompleted".to_owned(), String::new()),
        "Failed" if !lost => ("False", "PodFailed".to_owned(), String::new()),
        _ if unready.is_empty() => yes(),
        _ => not_ready(),
    };
    let missing: Vec<String> = meta::items(&pod["spec"]["readinessGates"])
        .filter_map(|gate| gate["conditionType"].as_str())
        .filter_map(|kind| match known(kind) {
            None => Some(format!("corresponding condition of pod readiness gate {kind:?} does not exist.")),
            Some(condition) if condition["status"] != "True" => Some(format!(
                "the status of pod readiness gate {kind:?} is not \"True\", but {}",
                condition["status"].as_str().unwrap_or_default()
            )),
            Some(_) => None,
        })
        .collect();
    let ready: Verdict = if containers.0 == "True" && !missing.is_empty() {
        ("False", "ReadinessGatesNotReady".to_owned(), missing.join(", "))
    } else {
        containers.clone()
    };
    let verdicts: [(&str, Verdict); 5] = [
        (OWN[0], (if sandbox { "True" } else { "False" }, String::new(), String::new())),
        (OWN[1], initialized),
        (OWN[2], ready),
        (OWN[3], containers),
        (OWN[4], yes()),
    ];
    for (kind, (value, reason, message)) in verdicts {
        let transition = match known(kind) {
            Some(known) if known["status"] == value => known["lastTransitionTime"].clone(),
            _ => meta::seconds(now).into(),
        };
        let mut condition =
            json!({"type": kind, "status": value, "lastProbeTime": null, "lastTransitionTime": transition});
        meta::set_omitempty(&mut condition, "reason", reason);
        meta::set_omitempty(&mut condition, "message", message);
        meta::set_omitempty(&mut condition, "observedGeneration", meta::generation(pod));
        conditions.push(condition);
    }
    conditions
}
