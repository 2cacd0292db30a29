//! One look at a Pod: whatever is due for it is done, and told when to look again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::runtime::{Ended, Part, Runtime, Sandbox, State};
use super::{Kubelet, PODS, RUNTIME_CLASSES};
use crate::sim::controllers::engine::Cx;
use crate::sim::events::Severity;
use crate::sim::meta;
use crate::sim::node::process::Process;
use crate::sim::node::volumes;

/// How long at least until a process is looked at again that has asked for something.
const SOON: Duration = Duration::from_millis(100);
/// The longest until that, for one that has done so for a while: all that it did is gone through each time.
const LATE: Duration = Duration::from_secs(5);
/// How often a process is looked at that somebody may have typed something at.
const TYPED: Duration = Duration::from_millis(400);

/// The Pod, the moment, and all that is needed to act on it.
pub(super) struct Round<'a> {
    pub kubelet: &'a Kubelet,
    pub cx: &'a Cx,
    pub pod: &'a Value,
    pub node: &'a Value,
    pub runtime: &'a mut Runtime,
    pub now: Timestamp,
    wake: Option<Timestamp>,
}

/// Adds a duration to a moment, staying within what can be told.
pub(in crate::sim::node) fn after(moment: Timestamp, delay: Duration) -> Timestamp {
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    moment.checked_add(delay).unwrap_or(Timestamp::MAX)
}

impl<'a> Round<'a> {
    pub fn new(
        kubelet: &'a Kubelet,
        cx: &'a Cx,
        pod: &'a Value,
        node: &'a Value,
        runtime: &'a mut Runtime,
        now: Timestamp,
    ) -> Self {
        Self { kubelet, cx, pod, node, runtime, now, wake: None }
    }

    /// Does what is due and returns when there will be more to do.
    pub fn run(mut self) -> Option<Timestamp> {
        self.runtime.adopt_ephemeral(self.pod);
        let fresh = matches!(self.runtime.sandbox, Sandbox::Missing { attempts: 0, next: None });
        if fresh && self.runtime.failed.is_none() && !meta::is_deleting(self.pod) {
            self.admit();
        }
        if self.runtime.rejected {
            return None;
        }
        if meta::is_deleting(self.pod) {
            let grace = self.pod["metadata"]["deletionGracePeriodSeconds"].as_i64();
            self.kill(grace);
            self.settle_all();
            return self.wake;
        }
        self.check_deadline();
        if self.runtime.failed.is_some() {
            self.kill(None);
            self.settle_all();
            return self.wake;
        }
        if matches!(self.runtime.phase(self.pod), "Succeeded" | "Failed") {
            return None;
        }
        if !self.prepare_sandbox() {
            return self.wake;
        }
        self.settle_all();
        self.probe_all();
        self.start_all();
        self.wake
    }

    /// Asks to be run again at a moment, if not earlier.
    pub fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |earlier| earlier.min(at)));
    }

    pub fn event(&self, index: usize, severity: Severity, reason: &str, message: impl Into<String>) {
        let path = self.runtime.containers[index].path();
        self.cx.recorder.field(self.pod, &path, severity, reason, message);
    }

    pub fn process(&self, index: usize) -> Process<'_> {
        Process {
            store: self.cx.store(),
            machine: &*self.kubelet.machine,
            pod: self.pod,
            container: &self.runtime.containers[index].spec,
            node: self.node,
            history: &self.kubelet.history,
            id: &self.runtime.containers[index].id,
            api: Some(self.cx.client.api()),
            asks: true,
        }
    }

    /// The name by which messages call the Pod: `name_namespace(uid)`.
    pub fn full_name(&self) -> String {
        format!("{}_{}({})", meta::name(self.pod), meta::namespace(self.pod), meta::uid(self.pod))
    }

    fn check_deadline(&mut self) {
        let Some(seconds) = self.pod["spec"]["activeDeadlineSeconds"].as_i64() else { return };
        if self.runtime.failed.is_some() || matches!(self.runtime.phase(self.pod), "Succeeded" | "Failed") {
            return;
        }
        let deadline =
            after(self.runtime.start_time, Duration::from_secs(u64::try_from(seconds).unwrap_or_default()));
        if self.now < deadline {
            self.wake_at(deadline);
            return;
        }
        let text = "Pod was active on the node longer than the specified deadline";
        self.cx.recorder.normal(self.pod, "DeadlineExceeded", text);
        self.runtime.failed = Some(("DeadlineExceeded".to_owned(), text.to_owned()));
    }

    /// Mounts volumes and makes the sandbox; tells whether it is there.
    fn prepare_sandbox(&mut self) -> bool {
        match self.runtime.sandbox.clone() {
            Sandbox::Ready { .. } => return true,
            Sandbox::Creating { ready } if self.now < ready => {
                self.wake_at(ready);
                return false;
            }
            Sandbox::Creating { .. } => {
                let address = self.address();
                self.runtime.sandbox = Sandbox::Ready { address };
                return true;
            }
            Sandbox::Missing { next: Some(next), .. } if self.now < next => {
                self.wake_at(next);
                return false;
            }
            Sandbox::Missing { .. } => {}
        }
        let attempts = match self.runtime.sandbox {
            Sandbox::Missing { attempts, .. } => attempts,
            _ => 0,
        };
        let store = self.cx.store();
        let node = self.kubelet.node.name.as_str();
        if let Err(why) = volumes::mount(store, &*self.kubelet.machine, self.pod, node) {
            self.cx.recorder.warning(self.pod, "FailedMount", why);
            // Ever farther apart, up to two minutes.
            let delay =
                Duration::from_millis(500).saturating_mul(1 << attempts.min(8)).min(Duration::from_secs(122));
            let delay = delay / self.kubelet.timings.haste.max(1);
            return self.later(attempts, delay);
        }
        if let Err(why) = self.check_sandbox() {
            let text = format!("Failed to create pod sandbox: {why}");
            self.cx.recorder.warning(self.pod, "FailedCreatePodSandBox", text);
            return self.later(attempts, self.kubelet.timings.retry);
        }
        self.warn_of_pull_secrets();
        let ready = after(self.now, self.kubelet.timings.sandbox);
        self.runtime.sandbox = Sandbox::Creating { ready };
        self.wake_at(ready);
        false
    }

    fn later(&mut self, attempts: u32, delay: Duration) -> bool {
        let next = after(self.now, delay);
        self.runtime.sandbox = Sandbox::Missing { next: Some(next), attempts: attempts + 1 };
        self.wake_at(next);
        false
    }

    fn check_sandbox(&self) -> Result<(), String> {
        if let Some(class) = self.pod["spec"]["runtimeClassName"].as_str().filter(|class| !class.is_empty()) {
            let Some(object) = self.cx.get(&RUNTIME_CLASSES, "", class) else {
                return Err(format!("runtimeclass.node.k8s.io {class:?} not found"));
            };
            let handler = object["handler"].as_str().unwrap_or_default();
            if !self.kubelet.machine.has_runtime(&self.kubelet.node.name, handler) {
                return Err(format!(
                    "rpc error: code = Unknown desc = failed to get sandbox runtime: no runtime for {handler:?} is configured"
                ));
            }
        }
        if self.pod["spec"]["hostUsers"] == false {
            return Err(
                "can't set `spec.hostUsers: false`, runtime does not support user namespaces".to_owned()
            );
        }
        Ok(())
    }

    fn warn_of_pull_secrets(&mut self) {
        if std::mem::replace(&mut self.runtime.pull_secrets_told, true) {
            return;
        }
        let namespace = meta::namespace(self.pod);
        let missing: Vec<&str> = meta::items(&self.pod["spec"]["imagePullSecrets"])
            .filter_map(|reference| reference["name"].as_str())
            .filter(|name| self.cx.get(&super::SECRETS, namespace, name).is_none())
            .collect();
        if !missing.is_empty() {
            let text = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                missing.join(", ")
            );
            self.cx.recorder.warning(self.pod, "FailedToRetrieveImagePullSecret", text);
        }
    }

    /// Finds an address that no other Pod of the node has.
    fn address(&self) -> String {
        let node = &self.kubelet.node;
        if self.pod["spec"]["hostNetwork"] == true {
            return node.address.to_string();
        }
        let pods = self.cx.list(&PODS, None);
        let written = pods
            .iter()
            .filter(|pod| self.kubelet.is_mine(pod) && !crate::sim::controllers::is_finished(pod))
            .filter_map(|pod| pod["status"]["podIP"].as_str().map(str::to_owned));
        let mut memory = self.kubelet.lock();
        let used: std::collections::HashSet<String> = memory
            .pods
            .values()
            .filter_map(|other| other.address().map(str::to_owned))
            .chain(written)
            .collect();
        let start = memory.address.max(1);
        for step in 1..=253_u16 {
            let host = u8::try_from((u16::from(start) + 251 + step) % 253 + 2).unwrap_or(2);
            let address = node.pod_address(host).to_string();
            if !used.contains(&address) {
                memory.address = host;
                return address;
            }
        }
        node.pod_address(254).to_string()
    }

    /// Starts what may be started: init containers one after the other, then the rest.
    fn start_all(&mut self) {
        let mut initialized = true;
        for index in 0..self.runtime.containers.len() {
            match self.runtime.containers[index].part {
                Part::Init | Part::Sidecar if initialized => {
                    let done = self.runtime.containers[index].part == Part::Init
                        && self.runtime.containers[index].is_initialized();
                    if !done && !self.apps_are_done() {
                        self.keep(index);
                    }
                    initialized = self.runtime.containers[index].is_initialized();
                }
                Part::App if initialized => self.keep(index),
                Part::Ephemeral => self.keep(index),
                _ => {}
            }
        }
        if self.apps_are_done() {
            for index in 0..self.runtime.containers.len() {
                let container = &self.runtime.containers[index];
                if container.part == Part::Sidecar && container.is_running() && container.stopping.is_none() {
                    let text = format!("Stopping container {}", container.name());
                    self.event(index, Severity::Normal, "Killing", text);
                    let grace = meta::int(&self.pod["spec"]["terminationGracePeriodSeconds"], 30);
                    self.stop(index, grace);
                }
            }
        }
    }

    /// Tells whether all app containers have ended for good.
    fn apps_are_done(&self) -> bool {
        let policy = self.pod["spec"]["restartPolicy"].as_str().unwrap_or("Always");
        policy != "Always"
            && self.runtime.of(Part::App).all(|c| c.ended().is_some_and(|e| policy == "Never" || e.code == 0))
    }

    /// Notes the containers that have ended by now.
    fn settle_all(&mut self) {
        for index in 0..self.runtime.containers.len() {
            self.settle(index);
        }
    }

    /// Notes whether one container has ended, and works out when it will.
    pub fn settle(&mut self, index: usize) {
        let State::Running { since } = self.runtime.containers[index].state else { return };
        let (now, name) = (self.now, self.runtime.containers[index].spec["image"].clone());
        if let Some((at, ended)) = self.runtime.containers[index].stopping.clone() {
            if at <= now {
                self.end(index, ended);
            } else {
                self.wake_at(at);
            }
            return;
        }
        // A new image means a new container.
        let wanted = self.spec_of(index);
        if let Some(image) = wanted.filter(|image| *image != name) {
            let text = format!(
                "Container {} definition changed, will be restarted",
                self.runtime.containers[index].name()
            );
            self.event(index, Severity::Normal, "Killing", text);
            self.runtime.containers[index].spec["image"] = image;
            self.runtime.containers[index].crashes = 0;
            self.runtime.containers[index].replaced = true;
            self.stop(index, meta::int(&self.pod["spec"]["terminationGracePeriodSeconds"], 30));
            return self.settle(index);
        }
        let look = self.runtime.containers[index].look;
        if self.runtime.containers[index].ends.is_none() && look.is_none_or(|at| at <= now) {
            // What will have happened by then is known already; later it is looked at again.
            let horizon = after(now, now.duration_since(since).unsigned_abs().max(Duration::from_secs(60)));
            let trace = self.process(index).trace(since, horizon);
            let ends = trace.ending.map(|ending| {
                let finished = after(since, ending.at);
                let reason = match (ending.out_of_memory, ending.code) {
                    (true, _) => "OOMKilled",
                    (_, 0) => "Completed",
                    _ => "Error",
                };
                let container = &self.runtime.containers[index];
                let message = super::stop::message(&container.spec, &trace, ending.code);
                let ended = Ended {
                    code: i64::from(ending.code),
                    reason: reason.to_owned(),
                    message,
                    started: Some(since),
                    finished: Some(finished),
                    id: container.id.clone(),
                };
                (finished, ended)
            });
            let container = &mut self.runtime.containers[index];
            container.ends = ends;
            // What hangs on others is looked at again when it may have gone on.
            let age = now.duration_since(since).unsigned_abs();
            let soon = |delay: Duration| after(now, delay.max(age / 50).min(LATE)).min(horizon);
            container.look = Some(match (trace.settled, trace.wakes, trace.waits) {
                (true, ..) => Timestamp::MAX,
                (_, Some(at), _) => after(since, at).max(soon(SOON)).min(horizon),
                (.., true) => after(now, TYPED),
                _ => horizon,
            });
        }
        match self.runtime.containers[index].ends.clone() {
            Some((at, ended)) if at <= now => self.end(index, ended),
            Some((at, _)) => self.wake_at(at),
            None => match self.runtime.containers[index].look {
                Some(at) if at < Timestamp::MAX => self.wake_at(at),
                _ => {}
            },
        }
    }

    /// Returns the image that the Pod now wants for a container.
    fn spec_of(&self, index: usize) -> Option<Value> {
        let container = &self.runtime.containers[index];
        let list = match container.part {
            Part::Init | Part::Sidecar => "initContainers",
            Part::App => "containers",
            Part::Ephemeral => return None,
        };
        meta::items(&self.pod["spec"][list])
            .find(|spec| spec["name"] == container.name())
            .map(|spec| spec["image"].clone())
    }
}
