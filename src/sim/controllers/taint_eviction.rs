//! Taints with effect NoExecute: Pods that do not tolerate them go, those that tolerate them for a time go after it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::engine::{Controller, Cx, Next, Notice};
use super::node_lifecycle;
use super::pods::{self, PODS};
use super::queue::{Key, Queue};
use crate::sim::attributes::UserInfo;
use crate::sim::client::DeleteOptions;
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::scheduler::{NODES, is_tolerated_by};
use crate::sim::status::Status;

const REASON: &str = "TaintManagerEviction";

/// Since when a Pod has to go, and when it will.
#[derive(Debug, Clone)]
struct Eviction {
    uid: String,
    since: Timestamp,
    due: Timestamp,
}

/// Evicts by taints.
#[derive(Debug, Default)]
pub(crate) struct TaintEviction {
    planned: Mutex<HashMap<Key, Eviction>>,
    /// The Pods of each node.
    on: Mutex<BTreeMap<String, BTreeMap<Key, ()>>>,
}

impl TaintEviction {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Eviction>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<String, BTreeMap<Key, ()>>> {
        self.on.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_execute(node: &Value) -> Vec<&Value> {
    meta::items(&node["spec"]["taints"]).filter(|taint| taint["effect"] == "NoExecute").collect()
}

/// For how long a Pod stays in spite of taints: not at all, for a time, or for ever.
#[derive(Debug, PartialEq, Eq)]
enum Stay {
    Not,
    For(SignedDuration),
    Forever,
}

/// Works out how long a Pod stays: each taint needs a toleration, and the shortest of those used counts.
fn stay(taints: &[&Value], pod: &Value) -> Stay {
    let mut shortest: Option<i64> = None;
    for taint in taints {
        let text = |field: &str| taint[field].as_str().unwrap_or_default();
        let Some(used) = meta::items(&pod["spec"]["tolerations"])
            .find(|toleration| is_tolerated_by(toleration, text("key"), text("value"), "NoExecute"))
        else {
            return Stay::Not;
        };
        if let Some(seconds) = used["tolerationSeconds"].as_i64() {
            let seconds = seconds.max(0);
            shortest = Some(shortest.map_or(seconds, |known| known.min(seconds)));
        }
    }
    match shortest {
        None => Stay::Forever,
        Some(0) => Stay::Not,
        Some(seconds) => Stay::For(SignedDuration::from_secs(seconds)),
    }
}

#[async_trait]
impl Controller for TaintEviction {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn user(&self) -> UserInfo {
        node_lifecycle::user()
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![NODES, PODS]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&NODES) {
            if notice.changed("/spec/taints") || notice.is_gone() {
                let pods = self.pods();
                for key in pods.get(meta::name(notice.object)).into_iter().flat_map(BTreeMap::keys) {
                    queue.add(key.clone());
                }
            }
            return;
        }
        let node = notice.object["spec"]["nodeName"].as_str().unwrap_or_default();
        if node.is_empty() {
            return;
        }
        if notice.is_gone() {
            let mut pods = self.pods();
            if let Some(on) = pods.get_mut(node) {
                on.remove(&notice.key());
                if on.is_empty() {
                    pods.remove(node);
                }
            }
            queue.add(notice.key());
        } else if notice.changed("/spec/nodeName") || notice.changed("/spec/tolerations") {
            self.pods().entry(node.to_owned()).or_default().insert(notice.key(), ());
            queue.add(notice.key());
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(pod) = cx.get(&PODS, &key.namespace, &key.name) else {
            self.lock().remove(key);
            return Ok(Next::Done);
        };
        let node = cx.get(&NODES, "", pod["spec"]["nodeName"].as_str().unwrap_or_default());
        let taints = node.as_deref().map(no_execute).unwrap_or_default();
        let planned = self.lock().get(key).filter(|planned| planned.uid == meta::uid(&pod)).cloned();
        if taints.is_empty() {
            if self.lock().remove(key).is_some() && planned.is_some() && !meta::is_deleting(&pod) {
                let text = format!("Cancelling deletion of Pod {}/{}", key.namespace, key.name);
                cx.recorder.normal(&pod, REASON, text);
            }
            return Ok(Next::Done);
        }
        if meta::is_deleting(&pod) {
            return Ok(Next::Done);
        }
        let now = cx.clock().now();
        let time = match stay(&taints, &pod) {
            Stay::Forever => {
                self.lock().remove(key);
                return Ok(Next::Done);
            }
            Stay::Not => SignedDuration::ZERO,
            Stay::For(time) => time,
        };
        // A time that has begun goes on; another taint can only shorten it.
        let since = planned.as_ref().map_or(now, |planned| planned.since);
        let due = since.checked_add(time).unwrap_or(Timestamp::MAX);
        let due = planned.filter(|planned| planned.due <= due).map_or(due, |planned| planned.due);
        if now < due {
            self.lock().insert(key.clone(), Eviction { uid: meta::uid(&pod).to_owned(), since, due });
            return Ok(Next::Done.or_after(cx.until(due)));
        }
        let text = format!("Marking for deletion Pod {}/{}", key.namespace, key.name);
        cx.recorder.normal(&pod, REASON, text);
        let why = "Taint manager: deleting due to NoExecute taint";
        pods::disrupt(cx, &pod, "DeletionByTaintManager", why).await?;
        let options = DeleteOptions { uid: Some(meta::uid(&pod).to_owned()), ..DeleteOptions::default() };
        match cx.client.delete(&PODS, &key.namespace, &key.name, options).await {
            Err(status) if !matches!(status.code, 404 | 409) => return Err(status),
            _ => {}
        }
        self.lock().remove(key);
        Ok(Next::Done)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_taint_must_be_tolerated_and_the_shortest_time_counts() {
        let taint = |key: &str| json!({"key": key, "value": "v", "effect": "NoExecute"});
        let (a, b) = (taint("a"), taint("b"));
        let pod = |tolerations: Value| json!({"spec": {"tolerations": tolerations}});
        let tolerates = |key: &str, seconds: Option<i64>| match seconds {
            None => json!({"key": key, "operator": "Exists"}),
            Some(seconds) => json!({"key": key, "operator": "Exists", "tolerationSeconds": seconds}),
        };
        assert_eq!(stay(&[&a], &pod(json!([]))), Stay::Not);
        assert_eq!(stay(&[&a], &pod(json!([tolerates("a", None)]))), Stay::Forever);
        assert_eq!(stay(&[&a, &b], &pod(json!([tolerates("a", None)]))), Stay::Not);
        let both = pod(json!([tolerates("a", Some(60)), tolerates("b", Some(5))]));
        assert_eq!(stay(&[&a, &b], &both), Stay::For(SignedDuration::from_secs(5)));
        assert_eq!(stay(&[&a], &pod(json!([tolerates("a", Some(-1))]))), Stay::Not);
        let other = pod(json!([{"key": "a", "operator": "Equal", "value": "w"}]));
        assert_eq!(stay(&[&a], &other), Stay::Not);
    }
}
