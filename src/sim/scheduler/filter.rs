//! Which nodes will do for a Pod, and in upstream's words why the others will not.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::cache::{Cache, NodeInfo, PodFacts};
use super::volumes::Demands;
use super::{score, topology};
use crate::sim::meta;
use crate::sim::quantity::Quantity;
use crate::sim::selectors::Requirement;

/// Why a node will not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub reasons: Vec<String>,
    /// Whether it could change if Pods left the node.
    pub preemptible: bool,
}

impl Refusal {
    pub fn final_one(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], preemptible: false }
    }

    pub fn for_now(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], preemptible: true }
    }
}

/// Why no node will do.
#[derive(Debug, Clone)]
pub(super) struct Diagnosis {
    pub nodes: usize,
    pub refusals: BTreeMap<String, Refusal>,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in self.refusals.values().flat_map(|refusal| &refusal.reasons) {
            *counts.entry(reason).or_default() += 1;
        }
        let mut texts: Vec<String> =
            counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        texts.sort();
        write!(f, "0/{} nodes are available: {}.", self.nodes, texts.join(", "))
    }
}

/// One Pod held against the nodes as they are.
pub(super) struct Round<'a> {
    pub cache: &'a Cache,
    pub pod: &'a PodFacts,
    pub namespaces: &'a [Arc<Value>],
    demands: &'a Demands,
}

impl<'a> Round<'a> {
    pub fn new(
        cache: &'a Cache,
        pod: &'a PodFacts,
        namespaces: &'a [Arc<Value>],
        demands: &'a Demands,
    ) -> Self {
        Self { cache, pod, namespaces, demands }
    }

    /// Returns the best node, or why there is none.
    pub fn run(&self) -> Result<String, Diagnosis> {
        let mut feasible = Vec::new();
        let mut refusals = BTreeMap::new();
        let spread = topology::Spread::of(self, None);
        for (name, node) in &self.cache.nodes {
            let mut info = self.cache.info(name);
            self.add_nominated(name, &mut info);
            match self.check(name, node, &info, &spread) {
                Ok(()) => feasible.push((name.as_str(), node.as_ref())),
                Err(refusal) => {
                    refusals.insert(name.clone(), refusal);
                }
            }
        }
        score::best(self, &feasible).ok_or(Diagnosis { nodes: self.cache.nodes.len(), refusals })
    }

    /// Pods for which room was made count as there for all that are not more important.
    fn add_nominated(&self, node: &str, info: &mut NodeInfo) {
        for (key, (on, facts)) in &self.cache.nominated {
            let itself = meta::uid(&facts.pod) == meta::uid(&self.pod.pod);
            if on == node && !itself && facts.priority >= self.pod.priority && !info.pods.contains_key(key) {
                for (name, amount) in &facts.requests {
                    let before = info.requested.get(name).copied().unwrap_or(Quantity::ZERO);
                    info.requested.insert(name.clone(), before.plus(*amount));
                }
                info.pods.insert(key.clone(), facts.clone());
            }
        }
    }

    /// Asks each plugin in turn; the first that refuses decides.
    pub fn check(
        &self,
        name: &str,
        node: &Value,
        info: &NodeInfo,
        spread: &topology::Spread,
    ) -> Result<(), Refusal> {
        let spec = &self.pod.pod["spec"];
        if node["spec"]["unschedulable"] == true
            && !tolerates(spec, "node.kubernetes.io/unschedulable", "", "NoSchedule")
        {
            return Err(Refusal::final_one("node(s) were unschedulable"));
        }
        let untolerated = meta::items(&node["spec"]["taints"]).any(|taint| {
            let text = |field: &str| taint[field].as_str().unwrap_or_default();
            matches!(text("effect"), "NoSchedule" | "NoExecute")
                && !tolerates(spec, text("key"), text("value"), text("effect"))
        });
        if untolerated {
            return Err(Refusal::final_one("node(s) had untolerated taint(s)"));
        }
        if !matches_node_affinity(spec, name, node) {
            return Err(Refusal::final_one("node(s) didn't match Pod's node affinity/selector"));
        }
        if ports_conflict(self.pod, info) {
            return Err(Refusal::for_now("node(s) didn't have free ports for the requested pod ports"));
        }
        check_resources(self.pod, node, info)?;
        self.demands.check(node)?;
        spread.check(self, name, node)?;
        topology::check_affinity(self, name, node, info)
    }
}

/// Tells whether a Pod tolerates a taint.
pub(super) fn tolerates(spec: &Value, key: &str, value: &str, effect: &str) -> bool {
    meta::items(&spec["tolerations"]).any(|toleration| is_tolerated_by(toleration, key, value, effect))
}

/// Tells whether one toleration covers a taint.
pub(crate) fn is_tolerated_by(toleration: &Value, key: &str, value: &str, effect: &str) -> bool {
    let text = |field: &str| toleration[field].as_str().unwrap_or_default();
    (text("effect").is_empty() || text("effect") == effect)
        && (text("key").is_empty() || text("key") == key)
        && match text("operator") {
            "Exists" => true,
            "" | "Equal" => !text("key").is_empty() && text("value") == value,
            _ => false,
        }
}

/// Tells whether a node meets a Pod's node selector and required node affinity.
pub(crate) fn matches_node_affinity(spec: &Value, name: &str, node: &Value) -> bool {
    let labels = meta::labels(node);
    let selected = meta::texts(&spec["nodeSelector"]).all(|(key, value)| labels[key].as_str() == Some(value));
    let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    selected
        && (required.is_null()
            || meta::items(&required["nodeSelectorTerms"]).any(|term| matches_node_term(term, name, node)))
}

/// Tells whether a node meets one term; an empty term meets nothing.
pub(super) fn matches_node_term(term: &Value, name: &str, node: &Value) -> bool {
    let all = |field: &str, value_of: &dyn Fn(&str) -> Option<String>| {
        meta::items(&term[field]).all(|expression| {
            Requirement::from_expression(expression)
                .is_ok_and(|requirement| requirement.holds(value_of(&requirement.key).as_deref()))
        })
    };
    let empty =
        meta::items(&term["matchExpressions"]).chain(meta::items(&term["matchFields"])).next().is_none();
    !empty
        && all("matchExpressions", &|key| meta::label(node, key).map(str::to_owned))
        && all("matchFields", &|key| (key == "metadata.name").then(|| name.to_owned()))
}

fn ports_conflict(pod: &PodFacts, info: &NodeInfo) -> bool {
    let used = || info.pods.values().flat_map(|other| &other.host_ports);
    pod.host_ports.iter().any(|(address, protocol, port)| {
        used().any(|(other, other_protocol, other_port)| {
            let anywhere = "0.0.0.0";
            port == other_port
                && protocol == other_protocol
                && (address == other || address == anywhere || other == anywhere)
        })
    })
}

fn check_resources(pod: &PodFacts, node: &Value, info: &NodeInfo) -> Result<(), Refusal> {
    let allocatable = &node["status"]["allocatable"];
    let amount = |name: &str| match &allocatable[name] {
        Value::Null => Quantity::ZERO,
        value => Quantity::of(value),
    };
    let mut refusal = Refusal { reasons: Vec::new(), preemptible: true };
    if info.pods.len() as i64 + 1 > amount("pods").value() {
        refusal.reasons.push("Too many pods".to_owned());
    }
    for (name, wanted) in &pod.requests {
        let total = amount(name);
        let used = info.requested.get(name).copied().unwrap_or(Quantity::ZERO);
        if total < used.plus(*wanted) {
            refusal.reasons.push(format!("Insufficient {name}"));
            // What the node does not have at all no preemption gives.
            refusal.preemptible &= *wanted <= total;
        }
    }
    if refusal.reasons.is_empty() { Ok(()) } else { Err(refusal) }
}
