//! Mirrors: what the API shows of static Pods. One that somebody deletes comes back; what it says comes late.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::source;
use super::{LATE, StaticPods};
use crate::sim::client::DeleteOptions;
use crate::sim::controllers::queue::Key;
use crate::sim::flags::Program;
use crate::sim::meta;
use crate::sim::node::kubelet::PODS;
use crate::sim::node::kubelet::pod::after;
use crate::sim::object;
use crate::sim::pod_refs;

/// How long a mirror that somebody deletes is gone: who waits for that would take the next one for it.
const GONE: Duration = Duration::from_millis(500);

/// What is known of a mirror.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// Before when its status is not reported.
    quiet_until: Option<Timestamp>,
    /// Before when it is not made again.
    absent_until: Option<Timestamp>,
    /// Whether it was there when last looked at.
    there: bool,
}

impl State {
    /// Describes a mirror that has been there for long.
    pub(super) fn known() -> Self {
        Self { there: true, ..Self::default() }
    }
}

impl StaticPods {
    /// Brings the mirrors to what they should be, where the API can be asked.
    pub(super) async fn reflect(&mut self, now: Timestamp) {
        let admitted = crate::sim::alive::admits(self.cx.client.api().authorizer().modes(), Program::Kubelet);
        if !self.gates.is_alive(Program::ApiServer) || !admitted || !self.host.kubelet_runs() {
            return;
        }
        let wanted = self.mirrored();
        let shown = self.cx.store().list(&PODS, None);
        for entry in shown {
            let pod = &entry.object;
            let key = Key::new(entry.namespace(), entry.name());
            if pod["spec"]["nodeName"] == self.host.name()
                && pod_refs::is_mirror(pod)
                && !wanted.contains(&key)
            {
                self.remove(&key, pod).await;
                self.mirrors.remove(&key);
            }
        }
        for key in wanted {
            self.reflect_one(&key, now).await;
        }
    }

    async fn remove(&self, key: &Key, pod: &Value) {
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            uid: Some(meta::uid(pod).to_owned()),
            ..DeleteOptions::default()
        };
        match self.cx.client.delete(&PODS, &key.namespace, &key.name, options).await {
            // Who was faster has done the same.
            Err(status) if status.code != 404 => {
                let text = format!(
                    "\"Failed deleting a mirror pod\" err={:?} pod=\"{}/{}\"",
                    status.message, key.namespace, key.name
                );
                self.host.kubelet_log('E', "mirror_client.go:139", &text);
            }
            _ => {}
        }
    }

    async fn reflect_one(&mut self, key: &Key, now: Timestamp) {
        let Some(instance) = self.running.get(key) else { return };
        if instance.is_ending() {
            return;
        }
        let uid = instance.config.uid.clone();
        let mut state = self.mirrors.get(key).cloned().unwrap_or_default();
        let mut mirror = self.cx.get(&PODS, &key.namespace, &key.name);
        if let Some(found) = &mirror {
            let same = meta::annotation(found, "kubernetes.io/config.mirror") == Some(uid.as_str());
            if !same || meta::is_deleting(found) {
                if meta::is_deleting(found) {
                    state.absent_until = Some(after(now, GONE));
                }
                self.remove(key, found).await;
                mirror = None;
                state.there = false;
            }
        } else if state.there {
            // It was removed at once, which is noticed at a later look.
            state.there = false;
            state.absent_until = Some(after(now, self.soon(LATE)));
        }
        match mirror {
            None if state.absent_until.is_some_and(|at| now < at) => {}
            None => {
                let node = self.host.node();
                let made = source::mirror(&instance.config, node.as_deref());
                let created = self.cx.client.create(&PODS, &key.namespace, made).await;
                if let Err(status) = &created {
                    let text = format!(
                        "\"Failed creating a mirror pod\" err={:?} pod=\"{}/{}\"",
                        status.message, key.namespace, key.name
                    );
                    self.host.kubelet_log('E', "kubelet.go:3226", &text);
                    state.absent_until = Some(after(now, self.soon(LATE)));
                } else {
                    let late =
                        if state.absent_until.is_some() || self.ran_before(key) { LATE / 10 } else { LATE };
                    state = State {
                        there: true,
                        quiet_until: Some(after(now, self.soon(late))),
                        absent_until: None,
                    };
                }
            }
            Some(found) => {
                state.there = true;
                if state.quiet_until.is_none_or(|at| at <= now)
                    && let Some(instance) = self.running.get(key)
                {
                    let status = self.status(instance, &found["status"], now);
                    if !object::equal(&status, &found["status"]) {
                        let mut updated = Value::clone(&found);
                        updated["status"] = status;
                        let _ = self.cx.client.update_status(&PODS, &key.namespace, &key.name, updated).await;
                    }
                }
            }
        }
        self.mirrors.insert(key.clone(), state);
    }

    /// Tells whether the Pod itself is older than its mirror.
    fn ran_before(&self, key: &Key) -> bool {
        self.mirrors.contains_key(key)
            && self.running.get(key).is_some_and(|instance| {
                instance
                    .runtime
                    .containers
                    .iter()
                    .any(|container| container.is_running() && container.is_ready())
            })
    }
}
