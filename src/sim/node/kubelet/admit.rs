//! What a kubelet does not let in: Pods that ask for what its node does not have.

use serde_json::Value;

use super::PODS;
use super::pod::Round;
use crate::sim::meta;
use crate::sim::pod_resources;
use crate::sim::quantity::Quantity;
use crate::sim::scheduler::matches_node_affinity;

/// Kernel settings that a Pod may change.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

impl Round<'_> {
    /// Refuses the Pod for good where it cannot run here.
    pub fn admit(&mut self) {
        if let Some((reason, message)) = self.objection() {
            self.cx.recorder.warning(self.pod, &reason, message.clone());
            self.runtime.failed = Some((reason, format!("Pod was rejected: {message}")));
            self.runtime.rejected = true;
        }
    }

    fn objection(&self) -> Option<(String, String)> {
        let spec = &self.pod["spec"];
        let node = &self.kubelet.node.name;
        if !self.node.is_null() && !matches_node_affinity(spec, node, self.node) {
            let text = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
            return Some(("NodeAffinity".to_owned(), text.to_owned()));
        }
        if let Some(refusal) = self.lack_of_resources() {
            return Some(refusal);
        }
        let forbidden = meta::items(&spec["securityContext"]["sysctls"])
            .filter_map(|sysctl| sysctl["name"].as_str())
            .map(|name| name.replace('/', "."))
            .find(|name| !SAFE_SYSCTLS.contains(&name.as_str()));
        if let Some(name) = forbidden {
            return Some((
                "SysctlForbidden".to_owned(),
                format!("forbidden sysctl: {name:?} not allowlisted"),
            ));
        }
        if self.kubelet.machine.apparmor_profiles(node).is_none() && self.asks_for_apparmor() {
            let text = "Cannot enforce AppArmor: AppArmor is not enabled on the host";
            return Some(("AppArmor".to_owned(), text.to_owned()));
        }
        None
    }

    fn asks_for_apparmor(&self) -> bool {
        let spec = &self.pod["spec"];
        let asks = |context: &Value| {
            matches!(context["appArmorProfile"]["type"].as_str(), Some("RuntimeDefault" | "Localhost"))
        };
        let by_annotation = meta::texts(&self.pod["metadata"]["annotations"]).any(|(key, value)| {
            key.starts_with("container.apparmor.security.beta.kubernetes.io/") && value != "unconfined"
        });
        let containers = meta::items(&spec["containers"]).chain(meta::items(&spec["initContainers"]));
        asks(&spec["securityContext"])
            || containers.into_iter().any(|container| asks(&container["securityContext"]))
            || by_annotation
    }

    /// The scheduler has seen to this already, but not for a Pod whose node was given by hand.
    fn lack_of_resources(&self) -> Option<(String, String)> {
        let allocatable = &self.node["status"]["allocatable"];
        if allocatable.is_null() {
            return None;
        }
        let others = self.cx.list(&PODS, None);
        let others = others.iter().filter(|other| {
            self.kubelet.is_mine(other)
                && meta::uid(other) != meta::uid(self.pod)
                && !crate::sim::controllers::is_finished(other)
        });
        let used: Vec<pod_resources::Amounts> = others.map(|other| pod_resources::requests(other)).collect();
        for (name, wanted) in pod_resources::requests(self.pod) {
            let total =
                if allocatable[&name].is_null() { Quantity::ZERO } else { Quantity::of(&allocatable[&name]) };
            let taken = used
                .iter()
                .filter_map(|amounts| amounts.get(&name))
                .fold(Quantity::ZERO, |sum, q| sum.plus(*q));
            if total < taken.plus(wanted) {
                let shown = |q: Quantity| if name == "cpu" { q.milli_value() } else { q.value() };
                let text = format!(
                    "Node didn't have enough resource: {name}, requested: {}, used: {}, capacity: {}",
                    shown(wanted),
                    shown(taken),
                    shown(total)
                );
                return Some((format!("OutOf{name}"), text));
            }
        }
        None
    }
}
