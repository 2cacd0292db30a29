//! What the scheduler knows of nodes and the Pods on them, kept up to date with each change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::sim::controllers::queue::Key;
use crate::sim::meta;
use crate::sim::pod_resources::{self, Amounts};
use crate::sim::quantity::Quantity;

/// What counts of a Pod.
#[derive(Debug, Clone)]
pub(super) struct PodFacts {
    pub pod: Arc<Value>,
    pub requests: Amounts,
    /// Address, protocol and port on the host.
    pub host_ports: BTreeSet<(String, String, i64)>,
    pub priority: i64,
    /// The node; empty while there is none.
    pub node: String,
}

impl PodFacts {
    pub fn read(pod: Arc<Value>) -> Self {
        let containers = meta::items(&pod["spec"]["containers"])
            .chain(meta::items(&pod["spec"]["initContainers"]).filter(|c| c["restartPolicy"] == "Always"));
        let host_ports = containers
            .flat_map(|container| meta::items(&container["ports"]))
            .filter_map(|port| {
                let number = port["hostPort"].as_i64().filter(|&number| number > 0)?;
                let address = port["hostIP"].as_str().filter(|ip| !ip.is_empty()).unwrap_or("0.0.0.0");
                Some((address.to_owned(), port["protocol"].as_str().unwrap_or("TCP").to_owned(), number))
            })
            .collect();
        let mut requests = pod_resources::requests(&pod);
        requests.retain(|_, amount| !amount.is_zero());
        Self {
            requests,
            host_ports,
            priority: meta::int(&pod["spec"]["priority"], 0),
            node: pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned(),
            pod,
        }
    }

    /// The same Pod, bound.
    pub fn on(mut self, node: &str) -> Self {
        node.clone_into(&mut self.node);
        self
    }

    /// Tells whether it could be what another Pod waits for or is kept off by.
    fn takes_part_in_topology(&self) -> bool {
        meta::labels(&self.pod).as_object().is_some_and(|labels| !labels.is_empty())
    }
}

/// A node and what runs on it. A node that is gone keeps its Pods for a while.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeInfo {
    pub pods: BTreeMap<Key, PodFacts>,
    pub requested: Amounts,
}

/// The state of all nodes.
#[derive(Debug, Default)]
pub(super) struct Cache {
    pub nodes: BTreeMap<String, Arc<Value>>,
    info: BTreeMap<String, NodeInfo>,
    on: BTreeMap<Key, String>,
    /// The Pods for which others were preempted, and where.
    pub nominated: BTreeMap<Key, (String, PodFacts)>,
}

impl Cache {
    pub fn set_node(&mut self, name: &str, node: Option<Arc<Value>>) {
        match node {
            Some(node) => self.nodes.insert(name.to_owned(), node),
            None => self.nodes.remove(name),
        };
    }

    /// Notes a Pod on its node; tells whether that can matter to Pods that wait.
    pub fn set_pod(&mut self, key: &Key, facts: PodFacts) -> bool {
        let known = self.on.get(key).and_then(|node| self.info.get(node)).and_then(|info| info.pods.get(key));
        let same = known.is_some_and(|known| {
            known.node == facts.node
                && known.requests == facts.requests
                && known.pod["metadata"]["labels"] == facts.pod["metadata"]["labels"]
                && meta::is_deleting(&known.pod) == meta::is_deleting(&facts.pod)
        });
        let matters = !same && facts.takes_part_in_topology();
        self.remove_pod(key);
        let info = self.info.entry(facts.node.clone()).or_default();
        for (name, amount) in &facts.requests {
            let before = info.requested.get(name).copied().unwrap_or(Quantity::ZERO);
            info.requested.insert(name.clone(), before.plus(*amount));
        }
        self.on.insert(key.clone(), facts.node.clone());
        info.pods.insert(key.clone(), facts);
        matters
    }

    /// Forgets a Pod; tells whether it was there.
    pub fn remove_pod(&mut self, key: &Key) -> bool {
        let Some(node) = self.on.remove(key) else { return false };
        let Some(info) = self.info.get_mut(&node) else { return false };
        let Some(facts) = info.pods.remove(key) else { return false };
        for (name, amount) in &facts.requests {
            let before = info.requested.get(name).copied().unwrap_or(Quantity::ZERO);
            info.requested.insert(name.clone(), before.minus(*amount));
        }
        if info.pods.is_empty() {
            self.info.remove(&node);
        }
        true
    }

    /// Returns what runs on a node.
    pub fn info(&self, node: &str) -> NodeInfo {
        self.info.get(node).cloned().unwrap_or_default()
    }

    /// Returns all Pods that have a node.
    pub fn pods(&self) -> impl Iterator<Item = &PodFacts> {
        self.info.values().flat_map(|info| info.pods.values())
    }
}
