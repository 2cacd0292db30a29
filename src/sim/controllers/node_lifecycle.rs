//! Node lifecycle: a node whose kubelet is not heard of becomes Unknown, its Pods are no longer ready, and taints say in
//! what state it is. Who has to leave a tainted node is `taint_eviction`'s.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::engine::{Controller, Cx, Next, Notice};
use super::pods::{self, PODS};
use super::queue::{Key, Queue};
use crate::sim::attributes::UserInfo;
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::scheduler::NODES;
use crate::sim::status::Status;

const LEASES: GroupResource = GroupResource::of("coordination.k8s.io", "leases");
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// `--node-monitor-period`.
const PERIOD: Duration = Duration::from_secs(5);
/// `--node-startup-grace-period`: how long a kubelet may take to be heard of at all.
const STARTUP_GRACE: SignedDuration = SignedDuration::from_secs(60);

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// The conditions that become unknown with their node, in the order in which missing ones are added.
const CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
/// The taints with effect NoSchedule that follow from conditions: type, status, key.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// What was last seen of a node.
#[derive(Debug, Clone)]
struct Seen {
    object: Value,
    heartbeat: Value,
    renewal: Value,
    at: Timestamp,
    ready: String,
}

/// Watches over nodes.
#[derive(Debug, Default)]
pub(crate) struct NodeLifecycle {
    seen: Mutex<HashMap<String, Seen>>,
}

impl NodeLifecycle {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the status of a node's Ready condition; empty without one.
fn readiness(node: &Value) -> &str {
    meta::condition(node, "Ready").and_then(|c| c["status"].as_str()).unwrap_or_default()
}

#[async_trait]
impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![NODES, PODS]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&NODES) {
            queue.add(notice.key());
        } else if !notice.is_gone() && notice.changed("/spec/nodeName") {
            // A Pod that a silent node was given meanwhile is no more ready than the others.
            if let Some(node) = notice.object["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()) {
                queue.add(Key::new("", node));
            }
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(node) = cx.get(&NODES, "", &key.name) else {
            if let Some(seen) = self.lock().remove(&key.name) {
                let text = format!("Node {0} event: Removing Node {0} from Controller", key.name);
                cx.recorder.normal(&seen.object, "RemovingNode", text);
            }
            return Ok(Next::Done);
        };
        let now = cx.clock().now();
        let (seen, before) = self.observe(cx, &node, now);
        let silent = now.duration_since(seen.at);
        let known = meta::condition(&node, "Ready").is_some();
        let grace = SignedDuration::try_from(cx.settings.node_grace).unwrap_or(SignedDuration::MAX);
        let overdue = silent > if known { grace } else { STARTUP_GRACE };
        let mut node = Value::clone(&node);
        if overdue && mark_unknown(&mut node, now) {
            let (name, updated) = (meta::name(&node).to_owned(), node.clone());
            node = Value::clone(&*cx.client.update_status(&NODES, "", &name, updated).await?);
        }
        if readiness(&node) != "True" && before.as_deref() == Some("True") {
            let text = format!("Node {} status is now: NodeNotReady", key.name);
            cx.recorder.normal(&node, "NodeNotReady", text);
        }
        if !readiness(&node).is_empty() && readiness(&node) != "True" {
            pods_not_ready(cx, &key.name, now).await?;
        }
        taint(cx, &node, now).await?;
        if let Some(entry) = self.lock().get_mut(&key.name) {
            readiness(&node).clone_into(&mut entry.ready);
        }
        // Heartbeats are leases, whose coming is not followed but looked for.
        let quiet = grace.saturating_sub(silent).max(SignedDuration::ZERO).unsigned_abs();
        Ok(Next::After(quiet.max(PERIOD.min(cx.settings.node_grace / 2))))
    }
}

impl NodeLifecycle {
    /// Notes what the node says now; returns that, and how ready the node was before, where it was known.
    fn observe(&self, cx: &Cx, node: &Value, now: Timestamp) -> (Seen, Option<String>) {
        let name = meta::name(node);
        let lease = cx.get(&LEASES, LEASE_NAMESPACE, name);
        let heartbeat =
            meta::condition(node, "Ready").map_or(Value::Null, |c| c["lastHeartbeatTime"].clone());
        let renewal = lease.map_or(Value::Null, |lease| lease["spec"]["renewTime"].clone());
        // The clock is the same for all: a lease that was renewed was so when it says.
        let renewed = meta::time(&renewal).filter(|at| *at <= now).unwrap_or(now);
        let mut seen = self.lock();
        let known = seen.get(name).filter(|known| meta::uid(&known.object) == meta::uid(node)).cloned();
        let at = match &known {
            Some(known) if known.heartbeat != heartbeat => now,
            Some(known) if known.renewal != renewal => renewed.max(known.at),
            Some(known) => known.at,
            None if heartbeat.is_null() => meta::created(node).unwrap_or(now),
            None => now,
        };
        let entry = Seen {
            object: node.clone(),
            heartbeat,
            renewal,
            at,
            ready: known.as_ref().map_or_else(|| readiness(node).to_owned(), |known| known.ready.clone()),
        };
        seen.insert(name.to_owned(), entry.clone());
        drop(seen);
        if known.is_none() {
            let text = format!("Node {name} event: Registered Node {name} in Controller");
            cx.recorder.normal(node, "RegisteredNode", text);
        }
        (entry, known.map(|known| known.ready))
    }
}

/// Makes the conditions of a silent node unknown; tells whether any was not.
fn mark_unknown(node: &mut Value, now: Timestamp) -> bool {
    let created = node["metadata"]["creationTimestamp"].clone();
    let at = meta::seconds(now);
    let mut changed = false;
    if !node["status"]["conditions"].is_array() {
        node["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = node["status"]["conditions"].as_array_mut() else { return false };
    for kind in CONDITIONS {
        match conditions.iter_mut().find(|condition| condition["type"] == kind) {
            None => conditions.push(json!({
                "type": kind, "status": "Unknown", "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.",
                "lastHeartbeatTime": created, "lastTransitionTime": at,
            })),
            Some(known) if known["status"] == "Unknown" => continue,
            Some(known) => {
                known["status"] = "Unknown".into();
                known["reason"] = "NodeStatusUnknown".into();
                known["message"] = "Kubelet stopped posting node status.".into();
                known["lastTransitionTime"] = at.clone().into();
            }
        }
        changed = true;
    }
    changed
}

/// Takes the readiness from the Pods of a node that is not ready.
async fn pods_not_ready(cx: &Cx, node: &str, now: Timestamp) -> Result<(), Status> {
    for pod in cx.list(&PODS, None) {
        if pod["spec"]["nodeName"] != node || !pods::is_ready(&pod) {
            continue;
        }
        let mut updated = Value::clone(&pod);
        pods::set_pod_condition(&mut updated, "Ready", "False", "", "", now);
        match cx.client.update_status(&PODS, meta::namespace(&pod), meta::name(&pod), updated).await {
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
            Ok(_) => cx.recorder.warning(&pod, "NodeNotReady", "Node is not ready"),
        }
    }
    Ok(())
}

/// Returns the taints of lifecycle that a node should have: key and effect.
fn wanted_taints(node: &Value) -> Vec<(&'static str, &'static str)> {
    let status = |kind: &str| meta::condition(node, kind).and_then(|c| c["status"].as_str());
    let mut wanted: Vec<(&str, &str)> = BY_CONDITION
        .into_iter()
        .filter(|(kind, value, _)| status(kind) == Some(value))
        .map(|(_, _, key)| (key, "NoSchedule"))
        .collect();
    if node["spec"]["unschedulable"] == true {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    match status("Ready") {
        Some("False") => wanted.push((NOT_READY, "NoExecute")),
        Some("Unknown") => wanted.push((UNREACHABLE, "NoExecute")),
        _ => {}
    }
    wanted
}

fn is_lifecycle_taint(taint: &Value) -> bool {
    let key = taint["key"].as_str().unwrap_or_default();
    match taint["effect"].as_str() {
        Some("NoSchedule") => key == UNSCHEDULABLE || BY_CONDITION.iter().any(|(_, _, own)| *own == key),
        Some("NoExecute") => key == NOT_READY || key == UNREACHABLE,
        _ => false,
    }
}

/// Brings the taints of a node in line with its conditions.
async fn taint(cx: &Cx, node: &Value, now: Timestamp) -> Result<(), Status> {
    // A node that has not said anything yet keeps the taint that it was admitted with.
    if readiness(node).is_empty() && meta::condition(node, "Ready").is_none() {
        return Ok(());
    }
    let wanted = wanted_taints(node);
    let is = |taint: &Value, (key, effect): &(&str, &str)| taint["key"] == *key && taint["effect"] == *effect;
    let mut taints: Vec<Value> = meta::items(&node["spec"]["taints"]).cloned().collect();
    let before = taints.clone();
    taints.retain(|taint| !is_lifecycle_taint(taint) || wanted.iter().any(|w| is(taint, w)));
    for (key, effect) in &wanted {
        if !taints.iter().any(|taint| is(taint, &(key, effect))) {
            taints.push(json!({"key": key, "effect": effect, "timeAdded": meta::seconds(now)}));
        }
    }
    if taints == before {
        return Ok(());
    }
    let patch = json!({
        "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
        "spec": {"taints": if taints.is_empty() { Value::Null } else { taints.into() }},
    });
    match cx.client.merge_patch(&NODES, "", meta::name(node), "", patch).await {
        Err(status) if status.code == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}

/// The controller's user may change Pods and nodes as `system:serviceaccount:kube-system:node-controller`.
pub(crate) fn user() -> UserInfo {
    super::engine::system_user("node-controller")
}

#[cfg(test)]
mod tests;
