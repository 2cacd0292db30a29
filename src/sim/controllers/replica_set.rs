//! ReplicaSets: as many Pods as wanted, adopted, made or deleted, and the status that tells of it.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::claim::claim;
use super::engine::{Controller, Cx, Next, Notice};
use super::pods::{self, PODS};
use super::queue::{Key, Queue};
use super::workload;
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::selectors::Selector;
use crate::sim::status::Status;

pub(crate) const REPLICA_SETS: GroupResource = GroupResource::of("apps", "replicasets");
const REPLICATION_CONTROLLERS: GroupResource = GroupResource::of("", "replicationcontrollers");

/// Keeps ReplicaSets, or ReplicationControllers, whose rules are the same.
#[derive(Debug)]
pub(crate) struct ReplicaSets {
    name: &'static str,
    resource: GroupResource,
    kind: &'static str,
}

impl ReplicaSets {
    /// The controller of ReplicaSets.
    pub(crate) fn new() -> Self {
        Self { name: "replicaset-controller", resource: REPLICA_SETS, kind: "ReplicaSet" }
    }

    /// The controller of ReplicationControllers.
    pub(crate) fn of_replication_controllers() -> Self {
        Self {
            name: "replication-controller",
            resource: REPLICATION_CONTROLLERS,
            kind: "ReplicationController",
        }
    }

    fn selector(&self, set: &Value) -> Selector {
        if self.kind == "ReplicationController" {
            return Selector::from_map(&set["spec"]["selector"]);
        }
        Selector::from_label_selector(&set["spec"]["selector"]).unwrap_or_else(|_| Selector::nothing())
    }
}

#[async_trait]
impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        self.name
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![self.resource.clone(), PODS]
    }

    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&PODS) {
            workload::owners_of_pod(cx, notice, &self.resource, self.kind, |set| self.selector(set), queue);
        } else {
            queue.add(notice.key());
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(set) = cx.get(&self.resource, &key.namespace, &key.name) else { return Ok(Next::Done) };
        let selector = self.selector(&set);
        let mut candidates = cx.list(&PODS, Some(&key.namespace));
        candidates.retain(|pod| pods::is_active(pod));
        let mine = claim(cx, &PODS, &set, &selector, candidates).await?;
        let wanted = usize::try_from(meta::int(&set["spec"]["replicas"], 1)).unwrap_or_default();
        let managed =
            if meta::is_deleting(&set) { Ok(()) } else { self.manage(cx, &set, &mine, wanted).await };
        let status = self.status(cx, &set, &mine, wanted, managed.as_ref().err());
        if !crate::sim::object::equal(&status, &set["status"]) {
            let mut update = Value::clone(&set);
            update["status"] = status;
            cx.client.update_status(&self.resource, &key.namespace, &key.name, update).await?;
        }
        managed?;
        let min_ready = meta::int(&set["spec"]["minReadySeconds"], 0);
        let now = cx.clock().now();
        Ok(Next::Done.or_after(mine.iter().filter_map(|pod| pods::available_in(pod, min_ready, now)).min()))
    }
}

impl ReplicaSets {
    async fn manage(&self, cx: &Cx, set: &Value, mine: &[Arc<Value>], wanted: usize) -> Result<(), Status> {
        if mine.len() < wanted {
            let pod = pods::from_template(&set["spec"]["template"], set);
            return pods::create_slowly(cx, set, &pod, wanted - mine.len()).await;
        }
        let surplus = (mine.len() - wanted).min(pods::BURST);
        if surplus == 0 {
            return Ok(());
        }
        let mut ranked = mine.to_vec();
        if surplus < ranked.len() {
            pods::by_deletion_rank(&mut ranked, &self.related(cx, set), cx.clock().now());
        }
        let mut outcome = Ok(());
        for pod in ranked.iter().take(surplus) {
            outcome = outcome.and(pods::delete(cx, set, pod).await);
        }
        outcome
    }

    /// Returns the Pods of all sets of the same Deployment.
    fn related(&self, cx: &Cx, set: &Value) -> Vec<Arc<Value>> {
        let Some(owner) = meta::controller(set) else { return Vec::new() };
        let namespace = meta::namespace(set);
        let sets: Vec<Arc<Value>> = cx
            .list(&self.resource, Some(namespace))
            .into_iter()
            .filter(|other| meta::controller(other).is_some_and(|o| o["uid"] == owner["uid"]))
            .collect();
        let mut related = cx.list(&PODS, Some(namespace));
        related.retain(|pod| sets.iter().any(|set| meta::is_controlled_by(pod, set)));
        related
    }

    fn status(
        &self,
        cx: &Cx,
        set: &Value,
        mine: &[Arc<Value>],
        wanted: usize,
        failure: Option<&Status>,
    ) -> Value {
        let now = cx.clock().now();
        let min_ready = meta::int(&set["spec"]["minReadySeconds"], 0);
        let template = Selector::from_map(&set["spec"]["template"]["metadata"]["labels"]);
        let count = |keep: &dyn Fn(&Value) -> bool| mine.iter().filter(|pod| keep(pod)).count();
        let mut status = if set["status"].is_object() { set["status"].clone() } else { json!({}) };
        status["replicas"] = mine.len().into();
        let labelled = count(&|pod| template.matches(meta::labels(pod)));
        meta::set_omitempty(&mut status, "fullyLabeledReplicas", labelled);
        meta::set_omitempty(&mut status, "readyReplicas", count(&pods::is_ready));
        let available = count(&|pod| pods::is_available(pod, min_ready, now));
        meta::set_omitempty(&mut status, "availableReplicas", available);
        meta::set_omitempty(&mut status, "observedGeneration", meta::generation(set));
        let known = meta::condition(set, "ReplicaFailure");
        let mut conditions: Vec<Value> = meta::items(&status["conditions"]).cloned().collect();
        match (failure, known) {
            (Some(failure), None) => conditions.push(json!({
                "type": "ReplicaFailure", "status": "True", "lastTransitionTime": meta::seconds(now),
                "reason": if mine.len() < wanted { "FailedCreate" } else { "FailedDelete" }, "message": failure.message,
            })),
            (None, Some(_)) => conditions.retain(|c| c["type"] != "ReplicaFailure"),
            _ => {}
        }
        meta::set_omitempty(&mut status, "conditions", conditions);
        status
    }
}
