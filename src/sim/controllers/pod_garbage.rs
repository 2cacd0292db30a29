//! Pod garbage collection: Pods of nodes that are gone, Pods that go without ever having had a node, and the oldest of
//! too many that have ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::engine::{Controller, Cx, Next, Notice};
use super::pods::{self, PODS};
use super::queue::{Key, Queue};
use crate::sim::client::DeleteOptions;
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::scheduler::NODES;
use crate::sim::status::Status;

/// How often all Pods are looked at.
const PERIOD: Duration = Duration::from_secs(20);
/// How long a node must have been gone.
const QUARANTINE: SignedDuration = SignedDuration::from_secs(40);
/// `--terminated-pod-gc-threshold`: how many ended Pods are kept.
const KEPT: usize = 12_500;
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Collects Pods.
#[derive(Debug, Default)]
pub(crate) struct PodGarbage {
    /// Nodes that Pods name and that are not there, and since when.
    missing: Mutex<HashMap<String, Timestamp>>,
}

impl PodGarbage {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn all() -> Key {
    Key::new("", "")
}

fn node(pod: &Value) -> &str {
    pod["spec"]["nodeName"].as_str().unwrap_or_default()
}

/// Tells whether a look at all Pods could find anything because of this one.
fn concerns(cx: &Cx, pod: &Value) -> bool {
    (meta::is_deleting(pod) && node(pod).is_empty())
        || (!node(pod).is_empty() && cx.store().get(&NODES, "", node(pod)).is_none())
}

#[async_trait]
impl Controller for PodGarbage {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![PODS, NODES]
    }

    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        let looks = match notice.is(&NODES) {
            true => notice.is_gone() || notice.changed("/spec/taints"),
            false => !notice.is_gone() && (concerns(cx, notice.object) || pods::is_finished(notice.object)),
        };
        if looks {
            queue.add_after(all(), PERIOD);
        }
    }

    async fn sync(&self, cx: &Cx, _key: &Key) -> Result<Next, Status> {
        let pods = cx.list(&PODS, None);
        self.collect_ended(cx, &pods).await?;
        let waits = self.collect_orphans(cx, &pods).await?;
        for pod in pods.iter().filter(|pod| meta::is_deleting(pod) && node(pod).is_empty()) {
            delete(cx, pod, None).await?;
        }
        for pod in pods.iter().filter(|pod| meta::is_deleting(pod)) {
            let lost = cx.get(&NODES, "", node(pod)).is_some_and(|node| {
                !meta::is_condition_true(&node, "Ready")
                    && meta::items(&node["spec"]["taints"]).any(|taint| taint["key"] == OUT_OF_SERVICE)
            });
            if lost {
                delete(cx, pod, None).await?;
            }
        }
        Ok(if waits { Next::After(PERIOD) } else { Next::Done })
    }
}

impl PodGarbage {
    async fn collect_ended(&self, cx: &Cx, pods: &[Arc<Value>]) -> Result<(), Status> {
        for pod in surplus(pods, KEPT) {
            delete(cx, pod, None).await?;
        }
        Ok(())
    }

    /// Deletes Pods whose node has been gone for long enough; tells whether some wait for that.
    async fn collect_orphans(&self, cx: &Cx, pods: &[Arc<Value>]) -> Result<bool, Status> {
        let now = cx.clock().now();
        let gone = |pod: &Value| !node(pod).is_empty() && cx.store().get(&NODES, "", node(pod)).is_none();
        let orphans: Vec<&Arc<Value>> = pods.iter().filter(|pod| gone(pod)).collect();
        {
            let mut missing = self.lock();
            missing.retain(|name, _| orphans.iter().any(|pod| node(pod) == name));
            for pod in &orphans {
                missing.entry(node(pod).to_owned()).or_insert(now);
            }
        }
        let mut waits = false;
        for pod in orphans {
            let since = self.lock().get(node(pod)).copied().unwrap_or(now);
            if now.duration_since(since) < QUARANTINE {
                waits = true;
                continue;
            }
            delete(cx, pod, Some("PodGC: node no longer exists")).await?;
        }
        Ok(waits)
    }
}

/// Marks a Pod that has not ended as failed, and removes it at once.
/// Returns the Pods that have ended and are too many: evicted ones first, then the oldest.
fn surplus(pods: &[Arc<Value>], kept: usize) -> Vec<&Arc<Value>> {
    let mut ended: Vec<&Arc<Value>> =
        pods.iter().filter(|pod| pods::is_finished(pod) && !meta::is_deleting(pod)).collect();
    ended.sort_by_key(|pod| {
        let evicted = pod["status"]["reason"] == "Evicted";
        (!evicted, meta::created(pod), meta::name(pod).to_owned())
    });
    ended.truncate(ended.len().saturating_sub(kept));
    ended
}

async fn delete(cx: &Cx, pod: &Value, disruption: Option<&str>) -> Result<(), Status> {
    let (namespace, name) = (meta::namespace(pod), meta::name(pod));
    if !pods::is_finished(pod) {
        let mut updated = pod.clone();
        updated["status"]["phase"] = "Failed".into();
        if let Some(message) = disruption {
            let now = cx.clock().now();
            let reason = "DeletionByPodGC";
            pods::set_pod_condition(&mut updated, "DisruptionTarget", "True", reason, message, now);
        }
        match cx.client.update_status(&PODS, namespace, name, updated).await {
            Err(status) if status.code == 404 => return Ok(()),
            Err(status) => return Err(status),
            Ok(_) => {}
        }
    }
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        uid: Some(meta::uid(pod).to_owned()),
        ..DeleteOptions::default()
    };
    match cx.client.delete(&PODS, namespace, name, options).await {
        Err(status) if !matches!(status.code, 404 | 409) => Err(status),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::Lab;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pods_of_a_node_that_is_gone_go_after_a_while() {
        let lab = Lab::new(2).await;
        lab.apply(
            "
apiVersion: v1
kind: Pod
metadata: {name: stranded}
spec: {nodeName: worker-1, containers: [{name: c, image: 'busybox:1.36', command: [sleep, '3600']}]}
",
        )
        .await;
        lab.phase("stranded", "Running").await;
        lab.machines.stop("worker-1");
        lab.delete("nodes", "worker-1", None).await;
        lab.pass(35).await;
        assert!(lab.get("pods", "t/stranded").is_some(), "the node may come back");
        let failed = lab.until("its end", |lab| {
            let pod = lab.get("pods", "t/stranded");
            pod.is_none_or(|pod| pod["status"]["phase"] == "Failed").then_some(())
        });
        failed.await;
        lab.gone("pods", "t/stranded").await;
    }

    #[test]
    fn too_many_that_have_ended_go_evicted_ones_first() {
        let pod = |name: &str, phase: &str, reason: &str, minute: u8| {
            Arc::new(
                json!({ "metadata": { "name": name, "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z") },
                "status": { "phase": phase, "reason": reason } }),
            )
        };
        let pods = [
            pod("runs", "Running", "", 0),
            pod("old", "Succeeded", "", 1),
            pod("new", "Succeeded", "", 2),
            pod("evicted", "Failed", "Evicted", 3),
        ];
        let names = |kept: usize| -> Vec<String> {
            surplus(&pods, kept).iter().map(|pod| meta::name(pod).to_owned()).collect()
        };
        assert_eq!(names(3), Vec::<String>::new());
        assert_eq!(names(1), ["evicted", "old"]);
    }
}
