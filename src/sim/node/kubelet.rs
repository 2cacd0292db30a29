//! A kubelet: brings the Pods of its node to life and to their end, and reports what became of them.
//! `runtime` is what it remembers, `pod` what it does to a Pod, `start`, `stop` and `probe` to a container, `status` what
//! it reports.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::history::History;
use super::{Machine, NodeSpec, Timings, register};
use crate::sim::attributes::UserInfo;
use crate::sim::client::DeleteOptions;
use crate::sim::controllers::engine::{Controller, Cx, Next, Notice};
use crate::sim::controllers::queue::{Key, Queue};
use crate::sim::flags::Program;
use crate::sim::meta;
use crate::sim::object;
use crate::sim::pod_refs;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;
pub(in crate::sim::node) use pod::after;
use runtime::{Runtime, Sandbox, State};

mod admit;
mod pod;
mod probe;
mod runtime;
mod start;
pub(in crate::sim) mod static_pods;
mod status;
mod stop;
#[cfg(test)]
mod tests;

pub(super) const PODS: GroupResource = GroupResource::of("", "pods");
pub(super) const NODES: GroupResource = GroupResource::of("", "nodes");
const SECRETS: GroupResource = GroupResource::of("", "secrets");
const CONFIG_MAPS: GroupResource = GroupResource::of("", "configmaps");
const RUNTIME_CLASSES: GroupResource = GroupResource::of("node.k8s.io", "runtimeclasses");

/// How often a kubelet that was stopped looks whether it was started again.
const DOWN: Duration = Duration::from_secs(1);

/// The kubelet of one node.
#[derive(Debug)]
pub(crate) struct Kubelet {
    node: NodeSpec,
    machine: Arc<dyn Machine>,
    timings: Timings,
    history: History,
    state: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Pods by namespace and name.
    pods: HashMap<Key, Runtime>,
    /// Images that were pulled.
    images: HashSet<String>,
    /// The last address that was given out.
    address: u8,
    registration: register::Registration,
}

/// The key of the node itself among Pods.
fn itself() -> Key {
    Key::new("", "")
}

impl Kubelet {
    /// Creates the kubelet of a node.
    pub(crate) fn new(node: NodeSpec, machine: Arc<dyn Machine>, timings: Timings, history: History) -> Self {
        Self { node, machine, timings, history, state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_mine(&self, pod: &Value) -> bool {
        pod["spec"]["nodeName"].as_str() == Some(&self.node.name)
    }

    /// Lists Pods of a namespace that are held up by something.
    fn held_up(&self, namespace: &str) -> Vec<Key> {
        let state = self.lock();
        let held = |runtime: &Runtime| {
            matches!(runtime.sandbox, Sandbox::Missing { .. })
                || runtime.containers.iter().any(|container| {
                    matches!(&container.state, State::Waiting { reason, .. } if reason == "CreateContainerConfigError")
                })
        };
        let in_namespace = |key: &Key| namespace.is_empty() || key.namespace == namespace;
        state
            .pods
            .iter()
            .filter(|(key, pod)| in_namespace(key) && held(pod))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Lets a Pod that is held up be tried again at once.
    fn hurry(&self, key: &Key) {
        if let Some(runtime) = self.lock().pods.get_mut(key) {
            if let Sandbox::Missing { next, .. } = &mut runtime.sandbox {
                *next = None;
            }
            for container in &mut runtime.containers {
                if matches!(&container.state, State::Waiting { reason, .. } if reason == "CreateContainerConfigError")
                {
                    container.next = None;
                }
            }
        }
    }
}

#[async_trait]
impl Controller for Kubelet {
    fn name(&self) -> &'static str {
        "kubelet"
    }

    fn user(&self) -> UserInfo {
        UserInfo::named(&format!("system:node:{}", self.node.name), &["system:nodes"])
    }

    fn host(&self) -> String {
        self.node.name.clone()
    }

    fn program(&self) -> Program {
        Program::Kubelet
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![PODS, NODES, SECRETS, CONFIG_MAPS, RUNTIME_CLASSES]
    }

    fn begin(&self, queue: &Queue) {
        queue.add(itself());
    }

    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&PODS) {
            if !self.is_mine(notice.object) {
                return;
            }
            if notice.is_gone() {
                let mut state = self.lock();
                let same = |runtime: &Runtime| runtime.uid == meta::uid(notice.object);
                if state.pods.get(&notice.key()).is_some_and(same)
                    && let Some(gone) = state.pods.remove(&notice.key())
                {
                    self.history.forget(gone.containers.iter().map(|container| container.id.as_str()));
                }
                return;
            }
            queue.add(notice.key());
        } else if notice.is(&NODES) {
            if meta::name(notice.object) == self.node.name
                && (notice.changed("/spec/unschedulable") || notice.changed("/status/conditions"))
            {
                queue.add_after(itself(), Duration::from_secs(1));
            }
        } else if !notice.is_gone() {
            let (namespace, name) = (meta::namespace(notice.object), meta::name(notice.object));
            for key in self.held_up(namespace) {
                let Some(pod) = cx.get(&PODS, &key.namespace, &key.name) else { continue };
                let concerns = if notice.is(&SECRETS) {
                    pod_refs::secrets(&pod["spec"]).any(|secret| secret == name)
                } else if notice.is(&CONFIG_MAPS) {
                    pod_refs::config_maps(&pod["spec"]).any(|map| map == name)
                } else {
                    pod["spec"]["runtimeClassName"] == name
                };
                if concerns {
                    self.hurry(&key);
                    queue.add(key);
                }
            }
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        if !self.machine.runs_kubelet(&self.node.name) {
            self.lock().registration = register::Registration::default();
            return Ok(Next::After(DOWN));
        }
        if *key == itself() {
            let mut registration = std::mem::take(&mut self.lock().registration);
            let outcome = register::beat(cx, &self.node, &mut registration).await;
            self.lock().registration = registration;
            outcome?;
            return Ok(Next::After(self.timings.heartbeat));
        }
        let pod = cx.get(&PODS, &key.namespace, &key.name).filter(|pod| self.is_mine(pod));
        let Some(pod) = pod else {
            self.lock().pods.remove(key);
            return Ok(Next::Done);
        };
        if pod_refs::is_mirror(&pod) {
            return Ok(Next::Done);
        }
        let now = cx.clock().now();
        let known = self.lock().pods.remove(key).filter(|runtime| runtime.uid == meta::uid(&pod));
        let mut runtime = known.unwrap_or_else(|| Runtime::restore(&pod, now));
        let node = cx.get(&NODES, "", &self.node.name);
        let wake =
            pod::Round::new(self, cx, &pod, node.as_deref().unwrap_or(&Value::Null), &mut runtime, now).run();
        let status = status::build(&pod, &runtime, &self.node.address.to_string(), now);
        let ended = meta::is_deleting(&pod)
            && runtime.killing
            && runtime.containers.iter().all(|c| c.ended().is_some());
        let over = ended || (meta::is_deleting(&pod) && runtime.rejected);
        self.lock().pods.insert(key.clone(), runtime);
        if !object::equal(&status, &pod["status"]) {
            let mut updated = Value::clone(&pod);
            updated["status"] = status;
            match cx.client.update_status(&PODS, &key.namespace, &key.name, updated).await {
                Err(status) if status.code == 404 => return Ok(Next::Done),
                Err(status) => return Err(status),
                Ok(_) => {}
            }
        }
        if over {
            let options = DeleteOptions {
                grace_period_seconds: Some(0),
                uid: Some(meta::uid(&pod).to_owned()),
                ..DeleteOptions::default()
            };
            match cx.client.delete(&PODS, &key.namespace, &key.name, options).await {
                Err(status) if matches!(status.code, 404 | 409) => {}
                Err(status) => return Err(status),
                Ok(_) => {}
            }
            return Ok(Next::Done);
        }
        Ok(Next::Done.or_after(wake.map(|at| cx.until(at).unwrap_or(Duration::from_millis(1)))))
    }
}
