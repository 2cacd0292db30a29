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

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use super::*;

    const WEB: &str = "
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web}
spec:
  replicas: 3
  minReadySeconds: 30
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: web, image: 'nginx:1.27'}]}
";

    fn count(set: &Value, field: &str) -> i64 {
        meta::int(&set["status"][field], 0)
    }

    #[tokio::test(start_paused = true)]
    async fn pods_are_available_when_they_were_ready_for_long_enough() {
        let lab = Lab::new(1).await;
        lab.apply(WEB).await;
        let set = lab.wait("replicasets.apps", "t/web", |set| count(set, "readyReplicas") == 3).await;
        assert_eq!(count(&set, "availableReplicas"), 0);
        lab.pass(20).await;
        assert_eq!(count(&lab.the("replicasets.apps", "t/web"), "availableReplicas"), 0);
        lab.pass(15).await;
        assert_eq!(count(&lab.the("replicasets.apps", "t/web"), "availableReplicas"), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_useful_pods_go_first() {
        let lab = Lab::new(1).await;
        lab.apply(WEB).await;
        lab.wait("replicasets.apps", "t/web", |set| count(set, "readyReplicas") == 3).await;
        let old: Vec<String> = lab.list("pods", "web").iter().map(|pod| meta::name(pod).to_owned()).collect();
        // Two more that find no place.
        lab.patch("nodes", "worker-1", "", "{spec: {unschedulable: true}}").await;
        lab.patch("replicasets.apps", "t/web", "", "{spec: {replicas: 5}}").await;
        lab.until("five", |lab| (lab.list("pods", "web").len() == 5).then_some(())).await;
        lab.patch("replicasets.apps", "t/web", "", "{spec: {replicas: 3}}").await;
        lab.until("three", |lab| (lab.list("pods", "web").len() == 3).then_some(())).await;
        let left: Vec<String> =
            lab.list("pods", "web").iter().map(|pod| meta::name(pod).to_owned()).collect();
        assert_eq!(left, old, "those that run stay");
        lab.patch("replicasets.apps", "t/web", "", "{spec: {replicas: 0}}").await;
        lab.until("nobody", |lab| lab.list("pods", "web").is_empty().then_some(())).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_told_until_it_is_over() {
        let lab = Lab::new(1).await;
        lab.apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {pods: '1'}}}")
            .await;
        lab.wait("resourcequotas", "t/q", |quota| quota["status"]["hard"]["pods"] == "1").await;
        lab.apply(WEB).await;
        let kind = "ReplicaFailure";
        let set = lab.wait("replicasets.apps", "t/web", |set| meta::condition(set, kind).is_some()).await;
        let why = meta::condition(&set, kind).unwrap()["message"].as_str().unwrap().to_owned();
        assert!(why.contains("is forbidden: exceeded quota: q"), "{why}");
        lab.delete("resourcequotas", "t/q", None).await;
        let set = lab.wait("replicasets.apps", "t/web", |set| count(set, "readyReplicas") == 3).await;
        assert!(meta::condition(&set, kind).is_none());
    }
}
