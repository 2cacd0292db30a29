//! What containers have written to their logs, worked out when it is asked for.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::history::{History, Record};
use super::network;
use super::process::Process;
use super::{Machine, kubelet};
use crate::sim::api::Api;
use crate::sim::meta;
use crate::sim::status::Status;
use crate::sim::store::{Store, Watch};

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

/// One run of a container: what has a log of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The container's name.
    pub container: String,
    /// The uid of its Pod.
    uid: String,
    id: String,
    started: Timestamp,
    ended: Option<Timestamp>,
}

impl Run {
    /// Describes the run of a container that the API does not know of.
    pub(super) fn of(
        container: &str,
        uid: &str,
        id: &str,
        started: Timestamp,
        ended: Option<Timestamp>,
    ) -> Self {
        Self { container: container.to_owned(), uid: uid.to_owned(), id: id.to_owned(), started, ended }
    }

    /// Returns the id of the container.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Returns when the run began.
    pub(super) fn started(&self) -> Timestamp {
        self.started
    }

    /// Returns when the run ended, if it has.
    pub fn ended(&self) -> Option<Timestamp> {
        // Times of a status are whole seconds: what falls into the last one belongs to it.
        self.ended.map(|end| kubelet::after(end, Duration::from_millis(999)))
    }
}

/// The logs of all containers of a cluster.
#[derive(Debug, Clone)]
pub struct NodeLogs {
    store: Store,
    machine: Arc<dyn Machine>,
    history: History,
}

impl NodeLogs {
    /// Reads logs of the Pods in `store`.
    pub fn new(store: Store, machine: Arc<dyn Machine>, history: History) -> Self {
        Self { store, machine, history }
    }

    /// Finds the run whose log is meant: the one that goes on or was last, or the one before it when `previous` is set.
    /// None has run where the Pod is not on a node yet.
    ///
    /// # Errors
    /// BadRequest where there is no such container or it has not run, in the API's words.
    pub fn run(&self, pod: &Value, container: &str, previous: bool) -> Result<Option<Run>, Status> {
        let name = meta::name(pod);
        if spec_of(pod, container).is_none() {
            return Err(Status::bad_request(format!("container {container} is not valid for pod {name}")));
        }
        if pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
            return Ok(None);
        }
        let waiting = |reason: &str| {
            // Of these two upstream says more than their names.
            let reason = match reason {
                "ErrImagePull" => "image can't be pulled",
                "ImagePullBackOff" => "trying and failing to pull image",
                other => other,
            };
            Status::bad_request(format!(
                "container {container:?} in pod {name:?} is waiting to start: {reason}"
            ))
        };
        let Some(status) = status_of(pod, container) else { return Err(waiting("ContainerCreating")) };
        let (state, last) = (&status["state"], &status["lastState"]["terminated"]);
        let run = |id: &Value, state: &Value| {
            let started = meta::time(&state["startedAt"]).filter(|time| time.as_second() > 0)?;
            Some(Run {
                container: container.to_owned(),
                uid: meta::uid(pod).to_owned(),
                id: id.as_str().unwrap_or_default().to_owned(),
                started,
                ended: meta::time(&state["finishedAt"]),
            })
        };
        let over = |ended: &Value| run(&ended["containerID"], ended);
        if previous {
            if last.is_null() {
                let text = format!("previous terminated container {container:?} in pod {name:?} not found");
                return Err(Status::bad_request(text));
            }
            return Ok(over(last));
        }
        if !state["running"].is_null() {
            return Ok(run(&status["containerID"], &state["running"]));
        }
        if !state["terminated"].is_null() {
            return Ok(over(&state["terminated"]).or_else(|| over(last)));
        }
        if !last.is_null() {
            return Ok(over(last));
        }
        Err(waiting(state["waiting"]["reason"].as_str().unwrap_or("ContainerCreating")))
    }

    /// Returns a run as it is by now. One whose Pod is gone has ended.
    pub fn again(&self, run: &Run, pod: &Value) -> Run {
        let over = |ended: &Value| Run { ended: meta::time(&ended["finishedAt"]), ..run.clone() };
        let gone = || Run { ended: Some(self.history.now()), ..run.clone() };
        let Some(pod) = self.latest(pod).filter(|pod| meta::uid(pod) == run.uid) else { return gone() };
        let Some(status) = status_of(&pod, &run.container) else { return gone() };
        let (state, last) = (&status["state"], &status["lastState"]["terminated"]);
        if !state["running"].is_null() && status["containerID"] == run.id.as_str() {
            return Run { ended: None, ..run.clone() };
        }
        let ended =
            [&state["terminated"], last].into_iter().find(|end| end["containerID"] == run.id.as_str());
        ended.map_or_else(gone, over)
    }

    /// Returns a Pod as it is by now.
    pub(super) fn latest(&self, pod: &Value) -> Option<Arc<Value>> {
        let entry = self.store.get(&kubelet::PODS, meta::namespace(pod), meta::name(pod))?;
        Some(entry.object.clone())
    }

    /// Returns what is under the nodes.
    pub(super) fn machine(&self) -> &dyn Machine {
        &*self.machine
    }

    /// Returns the changes of all Pods from now on.
    pub(super) fn changes(&self) -> Option<Watch> {
        self.store.watch(Some(&kubelet::PODS), None).ok()
    }

    /// Returns what a run was told.
    pub(super) fn record(&self, run: &Run) -> Arc<Record> {
        self.history.of(run.id.trim_start_matches("containerd://"))
    }

    /// Lets somebody look at the network as a Pod finds it.
    pub(super) fn with_network<T>(&self, pod: &Value, look: impl FnOnce(&network::Network<'_>) -> T) -> T {
        look(&network::Network { store: &self.store, machine: &*self.machine, history: &self.history, pod })
    }

    /// Returns the time by which runs are told.
    pub fn now(&self) -> Timestamp {
        self.history.now()
    }

    /// Lets somebody look at what runs in a container.
    pub(super) fn with_process<T>(
        &self,
        pod: &Value,
        run: &Run,
        look: impl FnOnce(&Process<'_>) -> T,
    ) -> Option<T> {
        self.with_process_of(None, pod, run, look)
    }

    /// Lets somebody look at what runs in a container, whose Pod knows the API.
    pub(super) fn with_process_of<T>(
        &self,
        api: Option<&Api>,
        pod: &Value,
        run: &Run,
        look: impl FnOnce(&Process<'_>) -> T,
    ) -> Option<T> {
        let container = spec_of(pod, &run.container)?;
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        let node = self.store.get(&kubelet::NODES, "", node).map(|entry| entry.object.clone());
        Some(look(&Process {
            store: &self.store,
            machine: &*self.machine,
            pod,
            container,
            node: node.as_deref().unwrap_or(&Value::Null),
            history: &self.history,
            id: run.id.trim_start_matches("containerd://"),
            api,
            // What its own process asks for is the kubelet's to find out; commands ask for themselves.
            asks: api.is_some(),
        }))
    }

    /// Returns all lines that a run of a container has written until a moment, or will have as far as one can tell. What
    /// has no end of line yet is not one, unless the run is over.
    pub fn lines(&self, pod: &Value, run: &Run, until: Timestamp) -> Vec<LogLine> {
        let end = run.ended();
        let until = end.map_or(until, |end| end.min(until));
        let trace = self.with_process(pod, run, |process| process.trace(run.started, until));
        let mut lines: Vec<LogLine> = Vec::new();
        // Each of the two streams is cut into lines on its own.
        let mut open = [String::new(), String::new()];
        let mut last = run.started;
        for written in trace.unwrap_or_default().output {
            last = kubelet::after(run.started, written.at);
            let rest = &mut open[usize::from(written.error)];
            for piece in written.text.split_inclusive('\n') {
                match piece.strip_suffix('\n') {
                    Some(end) => {
                        let text = std::mem::take(rest) + end;
                        lines.push(LogLine { at: last, error: written.error, text });
                    }
                    None => rest.push_str(piece),
                }
            }
        }
        if end.is_some() {
            for (error, text) in [(false, &open[0]), (true, &open[1])] {
                if !text.is_empty() {
                    lines.push(LogLine { at: last, error, text: text.clone() });
                }
            }
        }
        lines
    }
}

const LISTS: [(&str, &str); 3] = [
    ("containers", "containerStatuses"),
    ("initContainers", "initContainerStatuses"),
    ("ephemeralContainers", "ephemeralContainerStatuses"),
];

fn spec_of<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    LISTS.iter().find_map(|(list, _)| meta::items(&pod["spec"][*list]).find(|spec| spec["name"] == container))
}

fn status_of<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    LISTS
        .iter()
        .find_map(|(_, list)| meta::items(&pod["status"][*list]).find(|status| status["name"] == container))
}
