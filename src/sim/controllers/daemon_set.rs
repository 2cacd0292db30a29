//! DaemonSets: one Pod on each node that will have it, replaced node by node when the template changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::claim::claim;
use super::engine::{Controller, Cx, Next, Notice};
use super::history::{self, REVISION_LABEL};
use super::pods::{self, PODS};
use super::queue::{Key, Queue};
use super::workload::{self, int_or_percent};
use crate::sim::meta;
use crate::sim::object;
use crate::sim::resource::GroupResource;
use crate::sim::scheduler::{NODES, is_tolerated_by, matches_node_affinity};
use crate::sim::selectors::Selector;
use crate::sim::status::Status;

const DAEMON_SETS: GroupResource = GroupResource::of("apps", "daemonsets");
const GENERATION: &str = "deprecated.daemonset.template.generation";

/// What every daemon tolerates: key and effect.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];

/// Keeps DaemonSets.
#[derive(Debug)]
pub(crate) struct DaemonSets;

fn selector(set: &Value) -> Selector {
    Selector::from_label_selector(&set["spec"]["selector"]).unwrap_or_else(|_| Selector::nothing())
}

#[async_trait]
impl Controller for DaemonSets {
    fn name(&self) -> &'static str {
        "daemon-set-controller"
    }

    fn component(&self) -> &'static str {
        "daemonset-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![DAEMON_SETS, PODS, NODES]
    }

    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&PODS) {
            workload::owners_of_pod(cx, notice, &DAEMON_SETS, "DaemonSet", selector, queue);
        } else if notice.is(&NODES) {
            if notice.is_gone() || notice.changed("/spec") || notice.changed("/metadata/labels") {
                for set in cx.list(&DAEMON_SETS, None) {
                    queue.add(Key::new(meta::namespace(&set), meta::name(&set)));
                }
            }
        } else {
            queue.add(notice.key());
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(set) = cx.get(&DAEMON_SETS, &key.namespace, &key.name) else { return Ok(Next::Done) };
        let selector = selector(&set);
        if selector.is_everything() {
            let text = "This daemon set is selecting all pods. A non-empty selector is required.";
            cx.recorder.warning(&set, "SelectingAll", text);
            return Ok(Next::Done);
        }
        if meta::is_deleting(&set) {
            return Ok(Next::Done);
        }
        let hash = history::current(cx, &set).await?;
        let candidates = cx.list(&PODS, Some(&key.namespace));
        let mine = claim(cx, &PODS, &set, &selector, candidates).await?;
        let round = Round::new(cx, &set, &hash, &mine);
        let mut managed = round.manage().await;
        if managed.is_ok() && set["spec"]["updateStrategy"]["type"] != "OnDelete" {
            managed = round.roll().await;
        }
        history::clean_up(cx, &set, &mine, &hash).await?;
        let mut now_there = cx.list(&PODS, Some(&key.namespace));
        now_there.retain(|pod| meta::is_controlled_by(pod, &set));
        let status = Round::new(cx, &set, &hash, &now_there).status();
        if !object::equal(&status, &set["status"]) {
            let mut updated = Value::clone(&set);
            updated["status"] = status;
            cx.client.update_status(&DAEMON_SETS, &key.namespace, &key.name, updated).await?;
        }
        managed?;
        let min_ready = meta::int(&set["spec"]["minReadySeconds"], 0);
        let now = cx.clock().now();
        Ok(Next::Done.or_after(mine.iter().filter_map(|pod| pods::available_in(pod, min_ready, now)).min()))
    }
}

/// Returns the node that a Pod is on or is meant for.
fn node_of(pod: &Value) -> &str {
    let bound = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if !bound.is_empty() {
        return bound;
    }
    let required = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    meta::items(&required["nodeSelectorTerms"])
        .flat_map(|term| meta::items(&term["matchFields"]))
        .find(|field| field["key"] == "metadata.name")
        .and_then(|field| field["values"][0].as_str())
        .unwrap_or_default()
}

/// One working off of one DaemonSet.
struct Round<'a> {
    cx: &'a Cx,
    set: &'a Value,
    hash: &'a str,
    nodes: Vec<Arc<Value>>,
    pods: BTreeMap<String, Vec<&'a Arc<Value>>>,
}

impl<'a> Round<'a> {
    fn new(cx: &'a Cx, set: &'a Value, hash: &'a str, mine: &'a [Arc<Value>]) -> Self {
        let mut pods: BTreeMap<String, Vec<&Arc<Value>>> = BTreeMap::new();
        for pod in mine {
            pods.entry(node_of(pod).to_owned()).or_default().push(pod);
        }
        Self { cx, set, hash, nodes: cx.list(&NODES, None), pods }
    }

    fn on(&self, node: &str) -> &[&'a Arc<Value>] {
        self.pods.get(node).map(Vec::as_slice).unwrap_or_default()
    }

    /// Tells whether a node should get a daemon, and whether one that is there may stay.
    fn belongs(&self, node: &Value) -> (bool, bool) {
        let pod = self.pod(meta::name(node));
        let template = &self.set["spec"]["template"]["spec"];
        let fixed = template["nodeName"].as_str().filter(|name| !name.is_empty());
        if fixed.is_some_and(|name| name != meta::name(node))
            || !matches_node_affinity(template, meta::name(node), node)
        {
            return (false, false);
        }
        let untolerated = |effect: &str| {
            meta::items(&node["spec"]["taints"]).filter(|taint| taint["effect"] == effect).any(|taint| {
                let text = |field: &str| taint[field].as_str().unwrap_or_default();
                !meta::items(&pod["spec"]["tolerations"])
                    .any(|toleration| is_tolerated_by(toleration, text("key"), text("value"), effect))
            })
        };
        let evicted = untolerated("NoExecute");
        (!evicted && !untolerated("NoSchedule"), !evicted)
    }

    /// Builds the Pod for a node; the scheduler is told which by an affinity.
    fn pod(&self, node: &str) -> Value {
        let mut pod = pods::from_template(&self.set["spec"]["template"], self.set);
        pod["metadata"]["labels"][REVISION_LABEL] = self.hash.into();
        pod["metadata"]["labels"]["pod-template-generation"] =
            meta::annotation(self.set, GENERATION).unwrap_or("1").into();
        let affinity =
            &mut pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
        *affinity = json!({"nodeSelectorTerms": [
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]},
        ]});
        let mut tolerations: Vec<Value> = meta::items(&pod["spec"]["tolerations"]).cloned().collect();
        let network = ("node.kubernetes.io/network-unavailable", "NoSchedule");
        let host_network = pod["spec"]["hostNetwork"] == true;
        for (key, effect) in TOLERATED.into_iter().chain(host_network.then_some(network)) {
            let toleration = json!({"key": key, "operator": "Exists", "effect": effect});
            if !tolerations.contains(&toleration) {
                tolerations.push(toleration);
            }
        }
        pod["spec"]["tolerations"] = tolerations.into();
        pod
    }

    async fn manage(&self) -> Result<(), Status> {
        let mut outcome = Ok(());
        for node in &self.nodes {
            let name = meta::name(node);
            let (wanted, may_stay) = self.belongs(node);
            let there = self.on(name);
            let mut live = 0;
            for pod in there {
                if meta::is_deleting(pod) {
                    continue;
                }
                let spare =
                    live > 0 && self.set["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"].is_null();
                let full = format!("{}/{}", meta::namespace(pod), meta::name(pod));
                if pods::phase(pod) == "Failed" {
                    let text = format!("Found failed daemon pod {full} on node {name}, will try to kill it");
                    self.cx.recorder.warning(self.set, "FailedDaemonPod", text);
                } else if pods::phase(pod) == "Succeeded" {
                    let text =
                        format!("Found succeeded daemon pod {full} on node {name}, will try to delete it");
                    self.cx.recorder.normal(self.set, "SucceededDaemonPod", text);
                } else if may_stay && !spare {
                    live += 1;
                    continue;
                }
                outcome = outcome.and(pods::delete(self.cx, self.set, pod).await);
            }
            if wanted && there.iter().all(|pod| pods::is_finished(pod) && !meta::is_deleting(pod)) {
                outcome = outcome.and(self.create(name).await);
            }
        }
        for (node, pods) in &self.pods {
            if !self.nodes.iter().any(|known| meta::name(known) == node) {
                for pod in pods.iter().filter(|pod| !meta::is_deleting(pod)) {
                    outcome = outcome.and(pods::delete(self.cx, self.set, pod).await);
                }
            }
        }
        outcome
    }

    async fn create(&self, node: &str) -> Result<(), Status> {
        match pods::create(self.cx, self.set, self.pod(node)).await {
            Err(status) if pods::is_namespace_going(&status) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    fn is_updated(&self, pod: &Value) -> bool {
        meta::label(pod, REVISION_LABEL) == Some(self.hash)
    }

    fn is_available(&self, pod: &Value) -> bool {
        let min_ready = meta::int(&self.set["spec"]["minReadySeconds"], 0);
        !meta::is_deleting(pod) && pods::is_available(pod, min_ready, self.cx.clock().now())
    }

    fn wanted_nodes(&self) -> Vec<&str> {
        self.nodes.iter().filter(|node| self.belongs(node).0).map(|node| meta::name(node)).collect()
    }

    /// Replaces Pods of older templates: those that do not work at once, the others as many at a time as may be missing,
    /// or with a surge after their successors.
    async fn roll(&self) -> Result<(), Status> {
        let wanted = self.wanted_nodes();
        let rolling = &self.set["spec"]["updateStrategy"]["rollingUpdate"];
        let total = wanted.len() as i64;
        let surge = int_or_percent(&rolling["maxSurge"], total, true).unwrap_or_default();
        let missing_allowed = int_or_percent(&rolling["maxUnavailable"], total, true).unwrap_or(1);
        let mut missing = 0;
        let mut surging = 0;
        let mut candidates = Vec::new();
        for node in wanted {
            let there = self.on(node);
            let old = there.iter().find(|pod| !self.is_updated(pod) && pods::is_active(pod));
            let new = there.iter().find(|pod| self.is_updated(pod) && pods::is_active(pod));
            match (old, new) {
                (Some(old), Some(new)) if self.is_available(new) => {
                    pods::delete(self.cx, self.set, old).await?
                }
                (Some(_), Some(_)) => surging += 1,
                (Some(old), None) if !self.is_available(old) => {
                    missing += 1;
                    pods::delete(self.cx, self.set, old).await?;
                }
                (Some(old), None) => candidates.push((node, *old)),
                (None, Some(new)) if self.is_available(new) => {}
                (None, _) => missing += 1,
            }
        }
        for (node, old) in candidates {
            if surge > 0 {
                if surging < surge {
                    surging += 1;
                    self.create(node).await?;
                }
            } else if missing < missing_allowed.max(1) {
                missing += 1;
                pods::delete(self.cx, self.set, old).await?;
            }
        }
        Ok(())
    }

    fn status(&self) -> Value {
        let mut counts = [0_i64; 6];
        let [desired, current, misplaced, ready, available, updated] = &mut counts;
        for node in &self.nodes {
            let (wanted, _) = self.belongs(node);
            let live: Vec<&&Arc<Value>> =
                self.on(meta::name(node)).iter().filter(|p| !pods::is_finished(p)).collect();
            if wanted {
                *desired += 1;
                *current += i64::from(!live.is_empty());
                let is_ready = |pod: &&&&Arc<Value>| pods::is_ready(pod) && !meta::is_deleting(pod);
                if let Some(pod) = live.iter().find(is_ready) {
                    *ready += 1;
                    *available += i64::from(self.is_available(pod));
                }
                *updated += i64::from(live.iter().any(|pod| self.is_updated(pod) && !meta::is_deleting(pod)));
            } else {
                *misplaced += i64::from(!live.is_empty());
            }
        }
        let [desired, current, misplaced, ready, available, updated] = counts;
        let mut status = json!({
            "desiredNumberScheduled": desired, "currentNumberScheduled": current, "numberMisscheduled": misplaced,
            "numberReady": ready,
        });
        for (field, count) in [
            ("numberAvailable", available),
            ("numberUnavailable", desired - available),
            ("updatedNumberScheduled", updated),
            ("observedGeneration", meta::generation(self.set)),
        ] {
            meta::set_omitempty(&mut status, field, count);
        }
        if let Some(count) = self.set["status"].get("collisionCount") {
            status["collisionCount"] = count.clone();
        }
        status
    }
}

#[cfg(test)]
mod tests;
