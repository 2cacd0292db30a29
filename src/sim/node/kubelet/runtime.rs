//! What a kubelet remembers of a Pod: its sandbox and containers. After a restart it is read back from the Pod's status.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::sim::meta;

/// The part that a container plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Init,
    Sidecar,
    App,
    Ephemeral,
}

/// A container's end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ended {
    pub code: i64,
    pub reason: String,
    pub message: String,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    pub id: String,
}

/// What a container is doing.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    Waiting { reason: String, message: String },
    Running { since: Timestamp },
    Ended(Ended),
}

/// How a probe stands.
#[derive(Debug, Clone, Default)]
pub(super) struct ProbeState {
    pub next: Option<Timestamp>,
    pub successes: i64,
    pub failures: i64,
    /// The outcome that counts; nothing before the first.
    pub outcome: Option<bool>,
}

/// A container.
#[derive(Debug, Clone)]
pub(super) struct Container {
    pub part: Part,
    /// Where in the spec it stands.
    pub spec: Value,
    pub state: State,
    pub last: Option<Ended>,
    pub restarts: i64,
    pub id: String,
    /// When it will have been created and started.
    pub starting: Option<Timestamp>,
    /// Before when it is not tried again.
    pub next: Option<Timestamp>,
    /// How often it ended since it last ran well.
    pub crashes: u32,
    pub failed_pulls: u32,
    /// When the shown outcome gives way to the back-off.
    pub shown_until: Option<Timestamp>,
    /// When it will end, and how, as far as that is known.
    pub ends: Option<(Timestamp, Ended)>,
    /// When to look again whether it ends.
    pub look: Option<Timestamp>,
    /// What its end will be followed by, when it is being stopped.
    pub stopping: Option<(Timestamp, Ended)>,
    /// Whether the kubelet stops it to start it again: then both happen in one breath.
    pub replaced: bool,
    pub probes: BTreeMap<&'static str, ProbeState>,
}

impl Container {
    pub fn new(part: Part, spec: &Value, waiting: &str) -> Self {
        Self {
            part,
            spec: spec.clone(),
            state: State::Waiting { reason: waiting.to_owned(), message: String::new() },
            last: None,
            restarts: 0,
            id: String::new(),
            starting: None,
            next: None,
            crashes: 0,
            failed_pulls: 0,
            shown_until: None,
            ends: None,
            look: None,
            stopping: None,
            replaced: false,
            probes: BTreeMap::new(),
        }
    }

    pub fn name(&self) -> &str {
        self.spec["name"].as_str().unwrap_or_default()
    }

    pub fn is_running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    pub fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Ended(ended) => Some(ended),
            _ => None,
        }
    }

    /// The field path of its events.
    pub fn path(&self) -> String {
        let list = match self.part {
            Part::Init | Part::Sidecar => "initContainers",
            Part::App => "containers",
            Part::Ephemeral => "ephemeralContainers",
        };
        format!("spec.{list}{{{}}}", self.name())
    }

    pub fn wait(&mut self, reason: &str, message: impl Into<String>) {
        self.state = State::Waiting { reason: reason.to_owned(), message: message.into() };
    }

    /// Tells whether it has passed its startup probe, if it has one.
    pub fn is_started(&self) -> bool {
        self.is_running()
            && (self.spec["startupProbe"].is_null()
                || self.probes.get("startup").is_some_and(|probe| probe.outcome == Some(true)))
    }

    pub fn is_ready(&self) -> bool {
        match self.part {
            Part::Init => self.ended().is_some_and(|ended| ended.code == 0),
            Part::Ephemeral => false,
            Part::App | Part::Sidecar => {
                self.is_started()
                    && (self.spec["readinessProbe"].is_null()
                        || self.probes.get("readiness").is_some_and(|probe| probe.outcome == Some(true)))
            }
        }
    }

    /// Tells whether init goes on after it.
    pub fn is_initialized(&self) -> bool {
        match self.part {
            Part::Init => self.ended().is_some_and(|ended| ended.code == 0),
            Part::Sidecar => self.is_started() || self.last.is_some() || self.ended().is_some(),
            Part::App | Part::Ephemeral => true,
        }
    }
}

/// Whether a Pod has its sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sandbox {
    /// Not yet; before this moment it is not tried again.
    Missing { next: Option<Timestamp>, attempts: u32 },
    /// It will be there then.
    Creating { ready: Timestamp },
    /// It is there, with this address.
    Ready { address: String },
}

/// A Pod on its node.
#[derive(Debug, Clone)]
pub(super) struct Runtime {
    pub uid: String,
    pub sandbox: Sandbox,
    pub containers: Vec<Container>,
    /// Why the kubelet refused or ended the Pod: reason and message.
    pub failed: Option<(String, String)>,
    /// Whether the kubelet never let it in.
    pub rejected: bool,
    pub start_time: Timestamp,
    /// Whether its containers have been told to end.
    pub killing: bool,
    pub pull_secrets_told: bool,
}

impl Runtime {
    pub fn new(pod: &Value, now: Timestamp) -> Self {
        let has_init = meta::items(&pod["spec"]["initContainers"]).next().is_some();
        let waiting = if has_init { "PodInitializing" } else { "ContainerCreating" };
        let init = meta::items(&pod["spec"]["initContainers"]).map(|spec| {
            let part = if spec["restartPolicy"] == "Always" { Part::Sidecar } else { Part::Init };
            Container::new(part, spec, "PodInitializing")
        });
        let apps =
            meta::items(&pod["spec"]["containers"]).map(|spec| Container::new(Part::App, spec, waiting));
        Self {
            uid: meta::uid(pod).to_owned(),
            sandbox: Sandbox::Missing { next: None, attempts: 0 },
            containers: init.chain(apps).collect(),
            failed: None,
            rejected: false,
            start_time: meta::time(&pod["status"]["startTime"]).unwrap_or(now),
            killing: false,
            pull_secrets_told: false,
        }
    }

    /// Reads back what a kubelet before this one wrote.
    pub fn restore(pod: &Value, now: Timestamp) -> Self {
        let mut runtime = Self::new(pod, now);
        let status = &pod["status"];
        if status["startTime"].is_null() {
            return runtime;
        }
        if let Some(reason) = status["reason"].as_str() {
            let message = status["message"].as_str().unwrap_or_default();
            runtime.failed = Some((reason.to_owned(), message.to_owned()));
            runtime.rejected = status["containerStatuses"].is_null();
        }
        if let Some(address) = status["podIP"].as_str() {
            runtime.sandbox = Sandbox::Ready { address: address.to_owned() };
        }
        runtime.adopt_ephemeral(pod);
        let known = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"];
        for known in known.iter().flat_map(|list| meta::items(&status[*list])) {
            let Some(container) = runtime.containers.iter_mut().find(|c| known["name"] == c.name()) else {
                continue;
            };
            container.restarts = meta::int(&known["restartCount"], 0);
            container.id = known["containerID"]
                .as_str()
                .unwrap_or_default()
                .trim_start_matches("containerd://")
                .to_owned();
            container.last = ended(&known["lastState"]["terminated"]);
            container.crashes = u32::try_from(container.restarts).unwrap_or_default();
            if let Some(since) = meta::time(&known["state"]["running"]["startedAt"]) {
                container.state = State::Running { since };
                for (probe, passed) in [("readiness", &known["ready"]), ("startup", &known["started"])] {
                    if *passed == true {
                        let state = ProbeState { outcome: Some(true), ..ProbeState::default() };
                        container.probes.insert(probe, state);
                    }
                }
            } else if let Some(ended) = ended(&known["state"]["terminated"]) {
                container.state = State::Ended(ended);
            } else {
                let text =
                    |field: &str| known["state"]["waiting"][field].as_str().unwrap_or_default().to_owned();
                container.state = State::Waiting { reason: text("reason"), message: text("message") };
            }
        }
        runtime
    }

    /// Takes up ephemeral containers that were added.
    pub fn adopt_ephemeral(&mut self, pod: &Value) {
        for spec in meta::items(&pod["spec"]["ephemeralContainers"]) {
            if !self.containers.iter().any(|c| spec["name"] == c.name()) {
                self.containers.push(Container::new(Part::Ephemeral, spec, "ContainerCreating"));
            }
        }
    }

    pub fn of(&self, part: Part) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(move |c| c.part == part)
    }

    pub fn init(&self) -> impl Iterator<Item = &Container> {
        self.containers.iter().filter(|c| matches!(c.part, Part::Init | Part::Sidecar))
    }

    pub fn is_initialized(&self) -> bool {
        self.init().all(Container::is_initialized)
    }

    pub fn address(&self) -> Option<&str> {
        match &self.sandbox {
            Sandbox::Ready { address } => Some(address),
            _ => None,
        }
    }

    /// Computes the phase, as the kubelet does from its containers.
    pub fn phase(&self, pod: &Value) -> &'static str {
        // A Pod is not called failed while something of it still runs.
        if self.failed.is_some() && (self.rejected || !self.containers.iter().any(Container::is_running)) {
            return "Failed";
        }
        let policy = pod["spec"]["restartPolicy"].as_str().unwrap_or("Always");
        if policy == "Never" && self.of(Part::Init).any(|c| c.ended().is_some_and(|e| e.code != 0)) {
            return "Failed";
        }
        if !self.is_initialized() {
            return "Pending";
        }
        let (mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0);
        for container in self.of(Part::App) {
            match &container.state {
                State::Running { .. } => running += 1,
                State::Ended(ended) => {
                    stopped += 1;
                    succeeded += u32::from(ended.code == 0);
                }
                State::Waiting { .. } if container.last.is_some() => stopped += 1,
                State::Waiting { .. } => waiting += 1,
            }
        }
        let sidecars = self.of(Part::Sidecar).any(Container::is_running);
        if waiting > 0 {
            "Pending"
        } else if running > 0
            || (sidecars && policy != "Always")
            || (stopped > 0 && policy == "Always" && !self.killing)
        {
            "Running"
        } else if stopped > 0 && stopped == succeeded {
            "Succeeded"
        } else if stopped > 0 && (policy == "Never" || self.killing) {
            "Failed"
        } else if stopped > 0 {
            "Running"
        } else {
            "Pending"
        }
    }
}

/// Reads a `terminated` state.
fn ended(terminated: &Value) -> Option<Ended> {
    terminated.as_object()?;
    let text = |field: &str| terminated[field].as_str().unwrap_or_default().to_owned();
    Some(Ended {
        code: meta::int(&terminated["exitCode"], 0),
        reason: text("reason"),
        message: text("message"),
        started: meta::time(&terminated["startedAt"]),
        finished: meta::time(&terminated["finishedAt"]),
        id: text("containerID").trim_start_matches("containerd://").to_owned(),
    })
}

impl Ended {
    /// Writes a `terminated` state.
    pub fn to_json(&self) -> Value {
        let time = |time: Option<Timestamp>| time.map_or(Value::Null, |time| meta::seconds(time).into());
        let mut terminated = json!({
            "exitCode": self.code, "startedAt": time(self.started), "finishedAt": time(self.finished),
        });
        for (field, text) in [("reason", self.reason.clone()), ("message", self.message.clone())] {
            meta::set_omitempty(&mut terminated, field, text);
        }
        if !self.id.is_empty() {
            terminated["containerID"] = format!("containerd://{}", self.id).into();
        }
        terminated
    }
}
