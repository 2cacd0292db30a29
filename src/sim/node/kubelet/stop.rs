//! Ending containers: because the Pod goes, because a probe failed, or because they are done.

use std::time::Duration;

use serde_json::Value;

use super::pod::{Round, after};
use super::runtime::{Ended, State};
use crate::sim::events::Severity::{Normal, Warning};
use crate::sim::meta;
use crate::sim::node::shell::{OnTerm, Trace};

/// How much of a termination message is kept.
const MESSAGE: usize = 4096;

/// Returns what a container leaves as its termination message.
pub(super) fn message(spec: &Value, trace: &Trace, code: i32) -> String {
    let path = spec["terminationMessagePath"].as_str().unwrap_or("/dev/termination-log");
    let written = trace.files.get(path).cloned().flatten().unwrap_or_default();
    let text =
        if written.is_empty() && code != 0 && spec["terminationMessagePolicy"] == "FallbackToLogsOnError" {
            let log: String = trace.output.iter().map(|w| w.text.as_str()).collect();
            let mut start = log.len().saturating_sub(2048);
            while !log.is_char_boundary(start) {
                start += 1;
            }
            log[start..].to_owned()
        } else {
            written
        };
    text.chars().take(MESSAGE).collect()
}

impl Round<'_> {
    /// Tells all containers to end; those that never ran are given up.
    pub fn kill(&mut self, grace: Option<i64>) {
        let grace =
            grace.unwrap_or_else(|| meta::int(&self.pod["spec"]["terminationGracePeriodSeconds"], 30));
        self.runtime.killing = true;
        for index in 0..self.runtime.containers.len() {
            let container = &self.runtime.containers[index];
            match &container.state {
                State::Running { .. } if container.stopping.is_none() => {
                    let text = format!("Stopping container {}", container.name());
                    self.event(index, Normal, "Killing", text);
                    self.stop(index, grace);
                }
                State::Waiting { .. } => {
                    let container = &mut self.runtime.containers[index];
                    container.starting = None;
                    let lost = Ended {
                        code: 137,
                        reason: "ContainerStatusUnknown".to_owned(),
                        message: "The container could not be located when the pod was terminated".to_owned(),
                        started: None,
                        finished: None,
                        id: String::new(),
                    };
                    container.state = State::Ended(container.last.clone().unwrap_or(lost));
                }
                _ => {}
            }
        }
    }

    /// Tells one container to end, and works out when and how it will.
    pub fn stop(&mut self, index: usize, grace: i64) {
        let State::Running { since } = self.runtime.containers[index].state else { return };
        let hook = self.runtime.containers[index].spec["lifecycle"]["preStop"].clone();
        if !hook.is_null() && !self.hook_succeeds(index, &hook) {
            self.event(index, Warning, "FailedPreStopHook", "PreStopHook failed");
        }
        let process = self.process(index);
        let trace = process.trace(since, self.now);
        self.kubelet.machine.halt(self.pod, &self.runtime.containers[index].spec);
        let timings = &self.kubelet.timings;
        let grace = Duration::from_secs(u64::try_from(grace).unwrap_or_default()).min(timings.grace);
        let (delay, code) = match process.on_term(&trace) {
            OnTerm::Exit(code) => (timings.stop.min(grace), code),
            OnTerm::Ignore => (grace, 137),
        };
        let finished = after(self.now, delay);
        let container = &self.runtime.containers[index];
        let ended = Ended {
            code: i64::from(code),
            reason: if code == 0 { "Completed" } else { "Error" }.to_owned(),
            message: message(&container.spec, &trace, code),
            started: Some(since),
            finished: Some(finished),
            id: container.id.clone(),
        };
        self.runtime.containers[index].stopping = Some((finished, ended));
        self.wake_at(finished);
    }

    /// Notes that a container has ended.
    pub fn end(&mut self, index: usize, ended: Ended) {
        let container = &mut self.runtime.containers[index];
        container.state = State::Ended(ended);
        container.stopping = None;
        container.ends = None;
        container.look = None;
        container.next = None;
        container.shown_until = None;
        container.probes.clear();
    }
}
