//! A node's own objects: the Node with its capacity and conditions, and the Lease by which it says that it is there.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::NodeSpec;
use super::kubelet::NODES;
use crate::sim::controllers::engine::Cx;
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

pub(crate) const LEASES: GroupResource = GroupResource::of("coordination.k8s.io", "leases");
pub(crate) const LEASE_NAMESPACE: &str = "kube-node-lease";
/// How often the conditions are confirmed although nothing changed.
const CONFIRM: SignedDuration = SignedDuration::from_mins(5);
/// What a kubelet that is well reports: type, status, reason, message.
const CONDITIONS: [(&str, &str, &str, &str); 4] = [
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
];

/// What a kubelet knows of itself beside what the API has.
#[derive(Debug, Default)]
pub(super) struct Registration {
    /// Whether it has registered since it was started: a node that is deleted after that stays so.
    done: bool,
    schedulable: Option<bool>,
}

/// Registers the node when it is not, reports that it is well, and renews its lease.
///
/// # Errors
/// As the API refuses.
pub(super) async fn beat(cx: &Cx, spec: &NodeSpec, own: &mut Registration) -> Result<(), Status> {
    let now = cx.clock().now();
    let known = cx.get(&NODES, "", &spec.name);
    let node = match known {
        Some(node) => node,
        None if own.done => return Ok(()),
        None => match cx.client.create(&NODES, "", object(spec)).await {
            Ok(node) => node,
            Err(status) if status.code == 409 => return Ok(()),
            Err(status) => return Err(status),
        },
    };
    let is_now = |what: &str| format!("Node {} status is now: {what}", spec.name);
    if !own.done {
        own.done = true;
        cx.recorder.normal(&node, "Starting", "Starting kubelet.");
        for what in ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"] {
            cx.recorder.normal(&node, what, is_now(what));
        }
        cx.recorder.normal(&node, "NodeAllocatableEnforced", "Updated Node Allocatable limit across pods");
    }
    let schedulable = node["spec"]["unschedulable"] != true;
    if own.schedulable.replace(schedulable).is_some_and(|before| before != schedulable) {
        let what = if schedulable { "NodeSchedulable" } else { "NodeNotSchedulable" };
        cx.recorder.normal(&node, what, is_now(what));
    }
    let mut updated = Value::clone(&node);
    updated["status"] = status(spec, &node, now);
    let well = |node: &Value| {
        CONDITIONS.iter().all(|(kind, value, ..)| {
            meta::condition(node, kind).is_some_and(|condition| condition["status"] == *value)
        })
    };
    let confirmed = meta::condition(&node, "Ready").and_then(|c| meta::time(&c["lastHeartbeatTime"]));
    let stale = confirmed.is_none_or(|at| now.duration_since(at) >= CONFIRM);
    if !well(&node) || stale {
        cx.client.update_status(&NODES, "", &spec.name, updated).await?;
        if !meta::is_condition_true(&node, "Ready") {
            cx.recorder.normal(&node, "NodeReady", is_now("NodeReady"));
        }
    }
    renew(cx, spec, &node, now).await
}

async fn renew(cx: &Cx, spec: &NodeSpec, node: &Value, now: Timestamp) -> Result<(), Status> {
    let renewed = json!(meta::micros(now));
    if cx.get(&LEASES, LEASE_NAMESPACE, &spec.name).is_some() {
        let patch = json!({"spec": {"renewTime": renewed}});
        return cx.client.merge_patch(&LEASES, LEASE_NAMESPACE, &spec.name, "", patch).await.map(|_| ());
    }
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": spec.name, "namespace": LEASE_NAMESPACE,
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": spec.name, "uid": meta::uid(node)}],
        },
        "spec": {"holderIdentity": spec.name, "leaseDurationSeconds": 40, "renewTime": renewed},
    });
    match cx.client.create(&LEASES, LEASE_NAMESPACE, lease).await {
        // The namespace may be a moment behind at the start.
        Err(status) if matches!(status.code, 404 | 409) => Ok(()),
        other => other.map(|_| ()),
    }
}

fn object(spec: &NodeSpec) -> Value {
    let mut labels = json!({
        "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": spec.name, "kubernetes.io/os": "linux",
    });
    if spec.control_plane {
        labels["node-role.kubernetes.io/control-plane"] = "".into();
    }
    let network = format!("10.244.{}.0/24", spec.pod_network);
    let mut node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": spec.name, "labels": labels,
            "annotations": {
                "node.alpha.kubernetes.io/ttl": "0", "volumes.kubernetes.io/controller-managed-attach-detach": "true",
            },
        },
        "spec": {
            "podCIDR": network, "podCIDRs": [network], "providerID": format!("kind://docker/cks-lab/{}", spec.name),
        },
    });
    if spec.tainted {
        node["spec"]["taints"] =
            json!([{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]);
    }
    node
}

fn status(spec: &NodeSpec, node: &Value, now: Timestamp) -> Value {
    let machine = ring::digest::digest(&ring::digest::SHA256, spec.name.as_bytes());
    let id: String = machine.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let capacity = json!({
        "cpu": "2", "ephemeral-storage": "102400000Ki", "hugepages-1Gi": "0", "hugepages-2Mi": "0",
        "memory": "8388608Ki", "pods": "110",
    });
    let own = CONDITIONS.into_iter().map(|(kind, value, reason, message)| {
        let known = meta::condition(node, kind).filter(|known| known["status"] == value);
        let transition =
            known.map_or_else(|| meta::seconds(now).into(), |known| known["lastTransitionTime"].clone());
        json!({
            "type": kind, "status": value, "reason": reason, "message": message,
            "lastHeartbeatTime": meta::seconds(now), "lastTransitionTime": transition,
        })
    });
    // Conditions of others, such as those of a network plugin, are theirs.
    let others = meta::items(&node["status"]["conditions"])
        .filter(|condition| !CONDITIONS.iter().any(|(kind, ..)| condition["type"] == *kind));
    let conditions: Vec<Value> = others.cloned().chain(own).collect();
    let mut status = json!({
        "capacity": capacity, "allocatable": capacity, "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": spec.address.to_string()}, {"type": "Hostname", "address": spec.name},
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        "nodeInfo": {
            "machineID": id, "systemUUID": id, "bootID": "33bbc651-0d00-4f45-9bb5-24605f7707de",
            "kernelVersion": "6.1.0-28-amd64", "osImage": "Debian GNU/Linux 12 (bookworm)",
            "containerRuntimeVersion": "containerd://1.7.24", "kubeletVersion": "v1.34.9", "kubeProxyVersion": "",
            "operatingSystem": "linux", "architecture": "amd64",
        },
        "runtimeHandlers": [{"name": "", "features": {"recursiveReadOnlyMounts": false, "userNamespaces": false}},
                            {"name": "runc", "features": {"recursiveReadOnlyMounts": false, "userNamespaces": false}}],
    });
    // What was reported before stays: the machine is the same, and somebody may have given it a resource of its own.
    for (field, value) in node["status"].as_object().into_iter().flatten() {
        if field != "conditions" {
            status[field] = value.clone();
        }
    }
    status
}
