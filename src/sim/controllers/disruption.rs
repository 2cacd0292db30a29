//! PodDisruptionBudgets: how many of the Pods they cover are healthy, and how many may be disrupted.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::engine::{Controller, Cx, Next, Notice};
use super::pods::{self, PODS};
use super::queue::{Key, Queue};
use super::workload::int_or_percent;
use crate::sim::api::resources::split_api_version;
use crate::sim::meta;
use crate::sim::object;
use crate::sim::resource::GroupResource;
use crate::sim::selectors::Selector;
use crate::sim::status::Status;

const BUDGETS: GroupResource = GroupResource::of("policy", "poddisruptionbudgets");
/// How long an eviction that was granted counts although the Pod has not begun to go.
const GRANTED: SignedDuration = SignedDuration::from_secs(120);

/// Keeps the status of budgets.
#[derive(Debug)]
pub(crate) struct Disruption;

fn covers(budget: &Value, pod: &Value) -> bool {
    Selector::from_label_selector(&budget["spec"]["selector"]).is_ok_and(|s| s.matches(meta::labels(pod)))
}

#[async_trait]
impl Controller for Disruption {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn component(&self) -> &'static str {
        "controllermanager"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![BUDGETS, PODS]
    }

    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&BUDGETS) {
            queue.add(notice.key());
            return;
        }
        let namespace = meta::namespace(notice.object);
        for budget in cx.store().list(&BUDGETS, Some(namespace)) {
            let versions = [Some(&**notice.object), notice.previous];
            if versions.into_iter().flatten().any(|pod| covers(&budget.object, pod)) {
                queue.add(Key::new(namespace, budget.name()));
            }
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(budget) = cx.get(&BUDGETS, &key.namespace, &key.name) else { return Ok(Next::Done) };
        let mut mine = cx.list(&PODS, Some(&key.namespace));
        mine.retain(|pod| covers(&budget, pod));
        if mine.is_empty() {
            cx.recorder.normal(&budget, "NoPods", "No matching pods found");
        }
        let now = cx.clock().now();
        let mut disrupted = json!({});
        let mut expires = None;
        for (name, since) in meta::texts(&budget["status"]["disruptedPods"]) {
            let Some(end) = since.parse().ok().and_then(|at: jiff::Timestamp| at.checked_add(GRANTED).ok())
            else {
                continue;
            };
            let there = mine.iter().any(|pod| meta::name(pod) == name && !meta::is_deleting(pod));
            if there && now < end {
                disrupted[name] = since.into();
                expires = expires.into_iter().chain(cx.until(end)).min();
            }
        }
        let healthy = mine
            .iter()
            .filter(|pod| {
                !meta::is_deleting(pod) && pods::is_ready(pod) && disrupted.get(meta::name(pod)).is_none()
            })
            .count() as i64;
        let (expected, desired) = expectation(cx, &budget, &mine);
        let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
        let mut status = json!({
            "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected,
            "disruptionsAllowed": allowed, "conditions": [condition(&budget, allowed, now)],
        });
        meta::set_omitempty(&mut status, "observedGeneration", meta::generation(&budget));
        meta::set_omitempty(&mut status, "disruptedPods", disrupted);
        if !object::equal(&status, &budget["status"]) {
            let mut updated = Value::clone(&budget);
            updated["status"] = status;
            cx.client.update_status(&BUDGETS, &key.namespace, &key.name, updated).await?;
        }
        Ok(Next::Done.or_after(expires))
    }
}

fn condition(budget: &Value, allowed: i64, now: jiff::Timestamp) -> Value {
    let (value, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let known = meta::condition(budget, "DisruptionAllowed").filter(|known| known["status"] == value);
    let transition =
        known.map_or_else(|| meta::seconds(now).into(), |known| known["lastTransitionTime"].clone());
    json!({
        "type": "DisruptionAllowed", "status": value, "reason": reason, "message": "",
        "lastTransitionTime": transition, "observedGeneration": meta::generation(budget),
    })
}

/// Returns how many Pods there should be, and how many of them must be healthy.
fn expectation(cx: &Cx, budget: &Value, pods: &[Arc<Value>]) -> (i64, i64) {
    let spec = &budget["spec"];
    if spec["minAvailable"].is_null() {
        let total = scale(cx, pods);
        let missing = int_or_percent(&spec["maxUnavailable"], total, true).unwrap_or_default();
        return (total, (total - missing).max(0));
    }
    let total = if spec["minAvailable"].is_string() { scale(cx, pods) } else { pods.len() as i64 };
    (total, int_or_percent(&spec["minAvailable"], total, true).unwrap_or_default())
}

/// Adds up what the controllers of the Pods want.
fn scale(cx: &Cx, pods: &[Arc<Value>]) -> i64 {
    let mut by_owner: BTreeMap<String, i64> = BTreeMap::new();
    for pod in pods {
        let Some(mut owner) = owner_of(cx, pod) else { continue };
        while let Some(above) = owner_of(cx, &owner) {
            owner = above;
        }
        let wanted = owner["spec"]["replicas"].as_i64().unwrap_or(0);
        by_owner.insert(meta::uid(&owner).to_owned(), wanted);
    }
    by_owner.values().sum()
}

fn owner_of(cx: &Cx, object: &Value) -> Option<Arc<Value>> {
    let reference = meta::controller(object)?;
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (group, version) = split_api_version(text("apiVersion"));
    let resources = cx.client.api().resources();
    let resource = resources.by_kind(group, version, text("kind"))?;
    let owner = cx.get(&resource.storage, meta::namespace(object), text("name"))?;
    (meta::uid(&owner) == text("uid")).then_some(owner)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use super::*;

    const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: web, image: 'nginx:1.27'}]}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: share}
spec: {maxUnavailable: 34%, selector: {matchLabels: {app: web}}}
";

    fn counts(budget: &Value) -> [i64; 4] {
        ["currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed"]
            .map(|field| meta::int(&budget["status"][field], -1))
    }

    #[tokio::test(start_paused = true)]
    async fn a_budget_allows_what_the_healthy_pods_can_spare() {
        let lab = Lab::new(1).await;
        lab.apply(WEB).await;
        let kind = "poddisruptionbudgets.policy";
        let budget = lab.wait(kind, "t/web", |budget| counts(budget) == [3, 2, 3, 1]).await;
        assert_eq!(meta::condition(&budget, "DisruptionAllowed").unwrap()["reason"], "SufficientPods");
        // A third of three, rounded up.
        lab.wait(kind, "t/share", |budget| counts(budget) == [3, 1, 3, 2]).await;
        lab.patch("nodes", "worker-1", "", "{spec: {unschedulable: true}}").await;
        let first = lab.list("pods", "web").remove(0);
        lab.delete("pods", &format!("t/{}", meta::name(&first)), None).await;
        let budget = lab.wait(kind, "t/web", |budget| counts(budget) == [2, 2, 3, 0]).await;
        assert_eq!(meta::condition(&budget, "DisruptionAllowed").unwrap()["reason"], "InsufficientPods");
        lab.patch("nodes", "worker-1", "", "{spec: {unschedulable: null}}").await;
        lab.wait(kind, "t/web", |budget| counts(budget) == [3, 2, 3, 1]).await;
    }
}
