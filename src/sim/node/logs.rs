//! What containers have written to their logs, worked out when it is asked for.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::process::Process;
use super::{Machine, kubelet};
use crate::clock::Clock;
use crate::sim::meta;
use crate::sim::status::Status;
use crate::sim::store::Store;

/// A line of a container's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written.
    pub at: Timestamp,
    /// Whether it went to stderr.
    pub error: bool,
    /// The line, without its end.
    pub text: String,
}

/// The logs of all containers of a cluster.
#[derive(Debug, Clone)]
pub struct NodeLogs {
    store: Store,
    machine: Arc<dyn Machine>,
    clock: Arc<dyn Clock>,
}

impl NodeLogs {
    /// Reads logs of the Pods in `store`.
    pub fn new(store: Store, machine: Arc<dyn Machine>, clock: Arc<dyn Clock>) -> Self {
        Self { store, machine, clock }
    }

    /// Returns all that a container has written so far, or the one before it when `previous` is set.
    ///
    /// # Errors
    /// BadRequest where there is no such container or it has not run, in the API's words.
    pub fn lines(&self, pod: &Value, container: &str, previous: bool) -> Result<Vec<LogLine>, Status> {
        let name = meta::name(pod);
        let lists = [
            ("containers", "containerStatuses"),
            ("initContainers", "initContainerStatuses"),
            ("ephemeralContainers", "ephemeralContainerStatuses"),
        ];
        let found = lists.iter().find_map(|(list, statuses)| {
            let spec = meta::items(&pod["spec"][*list]).find(|spec| spec["name"] == container)?;
            Some((spec, meta::items(&pod["status"][*statuses]).find(|status| status["name"] == container)))
        });
        let Some((spec, status)) = found else {
            return Err(Status::bad_request(format!("container {container} is not valid for pod {name}")));
        };
        if pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
            return Ok(Vec::new());
        }
        let waiting = |reason: &str| {
            Status::bad_request(format!(
                "container {container:?} in pod {name:?} is waiting to start: {reason}"
            ))
        };
        let Some(status) = status else { return Err(waiting("ContainerCreating")) };
        let (state, last) = (&status["state"], &status["lastState"]["terminated"]);
        let span = |ended: &Value| {
            let started = meta::time(&ended["startedAt"]).filter(|time| time.as_second() > 0)?;
            Some((started, meta::time(&ended["finishedAt"])))
        };
        if previous {
            if last.is_null() {
                let text = format!("previous terminated container {container:?} in pod {name:?} not found");
                return Err(Status::bad_request(text));
            }
            return Ok(span(last)
                .map(|(since, end)| self.written(pod, spec, since, end))
                .unwrap_or_default());
        }
        if let Some(since) = meta::time(&state["running"]["startedAt"]) {
            return Ok(self.written(pod, spec, since, None));
        }
        if !state["terminated"].is_null() {
            return Ok(span(&state["terminated"])
                .map(|(since, end)| self.written(pod, spec, since, end))
                .unwrap_or_default());
        }
        match span(last) {
            Some((since, end)) => Ok(self.written(pod, spec, since, end)),
            None if !last.is_null() => Ok(Vec::new()),
            None => Err(waiting(state["waiting"]["reason"].as_str().unwrap_or("ContainerCreating"))),
        }
    }

    /// Tells whether a container still runs, so that its log may grow.
    pub fn is_running(&self, namespace: &str, pod: &str, container: &str) -> bool {
        let Some(entry) = self.store.get(&kubelet::PODS, namespace, pod) else { return false };
        ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"].iter().any(|list| {
            meta::items(&entry.object["status"][*list])
                .any(|status| status["name"] == container && !status["state"]["running"].is_null())
        })
    }

    fn written(&self, pod: &Value, spec: &Value, since: Timestamp, end: Option<Timestamp>) -> Vec<LogLine> {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        let node = self.store.get(&kubelet::NODES, "", node).map(|entry| entry.object.clone());
        let process = Process {
            store: &self.store,
            machine: &*self.machine,
            pod,
            container: spec,
            node: node.as_deref().unwrap_or(&Value::Null),
        };
        // Times of a status are whole seconds: what falls into the last one belongs to it.
        let until =
            end.map_or_else(|| self.clock.now(), |end| kubelet::after(end, Duration::from_millis(999)));
        let mut lines: Vec<LogLine> = Vec::new();
        let mut open = false;
        for written in process.trace(since, until).output {
            let at = kubelet::after(since, written.at);
            for piece in written.text.split_inclusive('\n') {
                let text = piece.trim_end_matches('\n');
                match lines.last_mut() {
                    Some(line) if open && line.error == written.error => line.text.push_str(text),
                    _ => lines.push(LogLine { at, error: written.error, text: text.to_owned() }),
                }
                open = !piece.ends_with('\n');
            }
        }
        lines
    }
}
