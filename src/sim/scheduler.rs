//! The scheduler: finds a node for each Pod that has none, binds it, or says why not in upstream's words.
//! `filter` knows which nodes will do, `topology` what other Pods have to do with it, `score` which is best, `preempt`
//! who has to make room, `volumes` what claims demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::attributes::UserInfo;
use super::controllers::engine::{Controller, Cx, Next, Notice};
use super::controllers::queue::{Key, Queue};
use super::events::Severity;
use super::flags::Program;
use super::meta;
use super::resource::GroupResource;
use super::status::Status;
use cache::{Cache, PodFacts};
pub(crate) use filter::{is_tolerated_by, matches_node_affinity};

mod cache;
mod filter;
mod preempt;
mod score;
#[cfg(test)]
mod tests;
mod topology;
mod volumes;

pub(crate) const PODS: GroupResource = GroupResource::of("", "pods");
pub(crate) const NODES: GroupResource = GroupResource::of("", "nodes");
const NAMESPACES: GroupResource = GroupResource::of("", "namespaces");
const CLAIMS: GroupResource = GroupResource::of("", "persistentvolumeclaims");
const VOLUMES: GroupResource = GroupResource::of("", "persistentvolumes");
const CLASSES: GroupResource = GroupResource::of("storage.k8s.io", "storageclasses");
const BUDGETS: GroupResource = GroupResource::of("policy", "poddisruptionbudgets");

const NAME: &str = "default-scheduler";
/// How long the same failure is not recorded again.
const REPEAT: Duration = Duration::from_secs(10);
/// After how long a Pod is tried again although nothing changed.
const FLUSH: Duration = Duration::from_secs(300);

/// Schedules Pods.
#[derive(Debug, Default)]
pub(crate) struct Scheduler {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    cache: Cache,
    pending: BTreeMap<Key, Waiting>,
}

/// A Pod without a node.
#[derive(Debug, Clone)]
struct Waiting {
    priority: i64,
    since: Option<Timestamp>,
    /// Whether something changed since it was last tried.
    due: bool,
    /// What it was last told, and when.
    told: Option<(String, Timestamp)>,
}

fn is_ours(pod: &Value) -> bool {
    pod["spec"]["schedulerName"].as_str().unwrap_or(NAME) == NAME
}

fn is_waiting(pod: &Value) -> bool {
    pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty()
        && is_ours(pod)
        && !meta::is_deleting(pod)
        && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
        && meta::items(&pod["spec"]["schedulingGates"]).next().is_none()
}

/// What trying a Pod came to.
enum Attempt {
    Bound,
    Failed { message: String, nominated: Option<String> },
}

impl Scheduler {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next Pod to try: the highest priority first, then the oldest.
    fn take(&self) -> Option<Key> {
        let mut state = self.lock();
        let (key, _) = state
            .pending
            .iter()
            .filter(|(_, waiting)| waiting.due)
            .min_by(|(_, a), (_, b)| b.priority.cmp(&a.priority).then(a.since.cmp(&b.since)))?;
        let key = key.clone();
        if let Some(waiting) = state.pending.get_mut(&key) {
            waiting.due = false;
        }
        Some(key)
    }

    fn retry_all(&self) -> bool {
        let mut state = self.lock();
        for waiting in state.pending.values_mut() {
            waiting.due = true;
        }
        !state.pending.is_empty()
    }
}

fn round() -> Key {
    Key::new("", "")
}

#[async_trait]
impl Controller for Scheduler {
    fn name(&self) -> &'static str {
        "kube-scheduler"
    }

    fn user(&self) -> UserInfo {
        UserInfo::named("system:kube-scheduler", &[])
    }

    fn component(&self) -> &'static str {
        NAME
    }

    fn program(&self) -> Program {
        Program::Scheduler
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![PODS, NODES, CLAIMS, VOLUMES, CLASSES]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        let retry = if notice.is(&PODS) {
            self.notice_pod(notice, queue)
        } else if notice.is(&NODES) {
            let relevant = ["/spec", "/metadata/labels", "/status/allocatable"];
            let changed = notice.is_gone() || relevant.iter().any(|pointer| notice.changed(pointer));
            if changed {
                let node = if notice.is_gone() { None } else { Some(notice.object.clone()) };
                self.lock().cache.set_node(meta::name(notice.object), node);
            }
            changed
        } else {
            true
        };
        if retry && self.retry_all() {
            queue.add(round());
        }
    }

    async fn sync(&self, cx: &Cx, _key: &Key) -> Result<Next, Status> {
        while let Some(key) = self.take() {
            let Some(pod) = cx.get(&PODS, &key.namespace, &key.name).filter(|pod| is_waiting(pod)) else {
                self.lock().pending.remove(&key);
                continue;
            };
            match self.attempt(cx, &pod).await {
                Ok(Attempt::Bound) => {
                    self.lock().pending.remove(&key);
                }
                Ok(Attempt::Failed { message, nominated }) => {
                    self.tell(cx, &key, &pod, message, nominated).await;
                }
                // It changed meanwhile, or is gone; its next change brings it back, and if there is none, time does.
                Err(status) if matches!(status.code, 404 | 409) => {
                    if let Some(waiting) = self.lock().pending.get_mut(&key) {
                        waiting.due = status.code == 409;
                    }
                    return Ok(Next::After(Duration::from_millis(5)));
                }
                Err(status) => {
                    if let Some(waiting) = self.lock().pending.get_mut(&key) {
                        waiting.due = true;
                    }
                    return Err(status);
                }
            }
        }
        let waits = !self.lock().pending.is_empty();
        if waits {
            // Nothing may change for long, and then it is said again.
            let stale = {
                let now = cx.clock().now();
                let state = self.lock();
                state
                    .pending
                    .values()
                    .filter_map(|w| w.told.as_ref())
                    .any(|(_, at)| now.duration_since(*at).unsigned_abs() >= FLUSH)
            };
            if stale {
                self.retry_all();
                return Ok(Next::After(Duration::from_millis(1)));
            }
            return Ok(Next::After(FLUSH));
        }
        Ok(Next::Done)
    }
}

impl Scheduler {
    /// Tells whether Pods that wait should be tried again.
    fn notice_pod(&self, notice: &Notice<'_>, queue: &Queue) -> bool {
        let key = notice.key();
        let pod = notice.object;
        let mut state = self.lock();
        if is_waiting(pod) && !notice.is_gone() {
            let relevant = notice.changed("/spec") || notice.changed("/metadata/labels");
            let fresh = Waiting {
                priority: meta::int(&pod["spec"]["priority"], 0),
                since: meta::created(pod),
                due: true,
                told: None,
            };
            let entry = state.pending.entry(key).or_insert(fresh);
            entry.due |= relevant;
            if entry.due {
                queue.add(round());
            }
            return false;
        }
        state.pending.remove(&key);
        let holds = !notice.is_gone() && !super::controllers::is_finished(pod);
        if holds && !pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
            let affects = state.cache.set_pod(&key, PodFacts::read(pod.clone()));
            // A new Pod can only help those that want to be near it.
            return affects;
        }
        state.cache.nominated.remove(&key);
        state.cache.remove_pod(&key)
    }

    async fn attempt(&self, cx: &Cx, pod: &Arc<Value>) -> Result<Attempt, Status> {
        let facts = PodFacts::read(pod.clone());
        let demands = match volumes::demands(cx, pod) {
            Ok(demands) => demands,
            Err(reason) => {
                let nodes = self.lock().cache.nodes.len();
                let message = format!("0/{nodes} nodes are available: {reason}. not found");
                return Ok(Attempt::Failed { message, nominated: None });
            }
        };
        let namespaces = cx.list(&NAMESPACES, None);
        let choice = {
            let state = self.lock();
            let round = filter::Round::new(&state.cache, &facts, &namespaces, &demands);
            round.run()
        };
        let diagnosis = match choice {
            Ok(node) => {
                if !volumes::provision(cx, &demands, &node).await? {
                    let message = String::new();
                    return Ok(Attempt::Failed { message, nominated: None });
                }
                return self.bind(cx, pod, facts, &node).await;
            }
            Err(diagnosis) => diagnosis,
        };
        if diagnosis.nodes == 0 {
            let message = "no nodes available to schedule pods".to_owned();
            return Ok(Attempt::Failed { message, nominated: None });
        }
        let budgets = cx.list(&BUDGETS, None);
        let plan = {
            let state = self.lock();
            let round = filter::Round::new(&state.cache, &facts, &namespaces, &demands);
            preempt::plan(&round, &diagnosis, &budgets)
        };
        match plan {
            Ok(plan) => {
                let message = diagnosis.to_string();
                self.evict(cx, pod, &plan).await?;
                let key = Key::new(meta::namespace(pod), meta::name(pod));
                self.lock().cache.nominated.insert(key, (plan.node.clone(), facts));
                Ok(Attempt::Failed { message, nominated: Some(plan.node) })
            }
            // Whose room is being made waits for it, and that was said.
            Err(preempt::Refused::Leaving) => Ok(Attempt::Failed { message: String::new(), nominated: None }),
            Err(preempt::Refused::Because(why)) => {
                let message = format!("{diagnosis} no new claims to deallocate, preemption: {why}");
                Ok(Attempt::Failed { message, nominated: None })
            }
        }
    }

    async fn bind(&self, cx: &Cx, pod: &Arc<Value>, facts: PodFacts, node: &str) -> Result<Attempt, Status> {
        let (namespace, name) = (meta::namespace(pod), meta::name(pod));
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": meta::uid(pod)},
            "target": {"kind": "Node", "name": node},
        });
        let key = Key::new(namespace, name);
        {
            // Taken for granted at once, so that the next Pod does not get the same room.
            let mut state = self.lock();
            state.cache.nominated.remove(&key);
            state.cache.set_pod(&key, facts.on(node));
        }
        if let Err(status) = cx.client.create_subresource(&PODS, namespace, name, "binding", binding).await {
            self.lock().cache.remove_pod(&key);
            return Err(status);
        }
        let text = format!("Successfully assigned {namespace}/{name} to {node}");
        cx.recorder.action(pod, Severity::Normal, "Scheduled", "Binding", text);
        Ok(Attempt::Bound)
    }

    async fn evict(&self, cx: &Cx, pod: &Value, plan: &preempt::Plan) -> Result<(), Status> {
        for victim in &plan.victims {
            let (namespace, name) = (meta::namespace(victim), meta::name(victim));
            let Some(current) = cx.get(&PODS, namespace, name).filter(|p| !meta::is_deleting(p)) else {
                continue;
            };
            let text = "default-scheduler: preempting to accommodate a higher priority pod";
            super::controllers::disrupt(cx, &current, "PreemptionByScheduler", text).await?;
            let options = super::client::DeleteOptions {
                uid: Some(meta::uid(victim).to_owned()),
                ..super::client::DeleteOptions::default()
            };
            match cx.client.delete(&PODS, namespace, name, options).await {
                Err(status) if status.code != 404 => return Err(status),
                _ => {}
            }
            let text = format!("Preempted by pod {} on node {}", meta::uid(pod), plan.node);
            cx.recorder.action(victim, Severity::Normal, "Preempted", "Preempting", text);
        }
        Ok(())
    }

    /// Says why a Pod could not be scheduled: as an event, and as a condition when it changed.
    async fn tell(&self, cx: &Cx, key: &Key, pod: &Value, message: String, nominated: Option<String>) {
        if message.is_empty() {
            return;
        }
        let now = cx.clock().now();
        {
            let mut state = self.lock();
            let Some(waiting) = state.pending.get_mut(key) else { return };
            let recent = |at: Timestamp| now.duration_since(at).unsigned_abs() < REPEAT;
            if waiting.told.as_ref().is_some_and(|(text, at)| *text == message && recent(*at)) {
                return;
            }
            waiting.told = Some((message.clone(), now));
        }
        cx.recorder.action(pod, Severity::Warning, "FailedScheduling", "Scheduling", message.clone());
        let known = meta::condition(pod, "PodScheduled");
        let nominates =
            nominated.is_some() && pod["status"]["nominatedNodeName"].as_str() != nominated.as_deref();
        if !nominates && known.is_some_and(|c| c["status"] == "False" && c["message"] == message.as_str()) {
            return;
        }
        let mut updated = pod.clone();
        super::controllers::set_pod_condition(
            &mut updated,
            "PodScheduled",
            "False",
            "Unschedulable",
            &message,
            now,
        );
        if let Some(node) = nominated {
            updated["status"]["nominatedNodeName"] = node.into();
        }
        // A Pod that changed meanwhile comes back by that change.
        let _ = cx.client.update_status(&PODS, &key.namespace, &key.name, updated).await;
    }
}
