//! Static Pods: what the files in a folder of the node ask for runs, whether or not there is an API. The old Pod of a file
//! ends before the new one begins; the API is shown a mirror of each. `source` reads the folder, `mirror` writes to the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::pod::{Round, after};
use super::runtime::{Container, Part, Runtime, Sandbox, State};
use super::{Kubelet, PODS, status};
use crate::sim::alive::Gates;
use crate::sim::controllers::engine::Cx;
use crate::sim::controllers::queue::Key;
use crate::sim::meta;
use crate::sim::node::host::{ContainerState, NodeHost, StaticContainer, StaticSandbox};
use crate::sim::node::{History, Machine, Timings};
use source::Source;

mod mirror;
mod source;

pub(in crate::sim) use source::{StaticPod, mirror, parse, yaml_error};

/// How often the folder is listed as a whole, in reality.
const LISTING: Duration = Duration::from_secs(20);
/// How long after an old Pod has gone its successor begins, in reality.
const PAUSE: Duration = Duration::from_secs(5);
/// How late the status of a new mirror is reported, in reality.
const LATE: Duration = Duration::from_secs(15);
/// How often the journal says that the API cannot be reached, in reality.
const COMPLAINT: Duration = Duration::from_secs(15);

/// The static Pods of one node.
#[derive(Debug)]
pub(crate) struct StaticPods {
    host: NodeHost,
    kubelet: Kubelet,
    cx: Cx,
    gates: Gates,
    watch: Duration,
    source: Source,
    running: BTreeMap<Key, Instance>,
    /// Before when a Pod does not begin, because its predecessor has just gone.
    free: BTreeMap<Key, Timestamp>,
    mirrors: BTreeMap<Key, mirror::State>,
    complained: Option<Timestamp>,
    /// Whether the kubelet ran when it was last looked at.
    was_running: bool,
    wake: Option<Timestamp>,
}

/// A Pod that runs, or is being ended.
#[derive(Debug)]
struct Instance {
    config: StaticPod,
    /// The Pod with a deletion timestamp, once it is being ended.
    pod: Value,
    runtime: Runtime,
    sandbox: String,
    /// What the journal was last told of each container.
    told: BTreeMap<String, String>,
}

impl Instance {
    fn new(config: StaticPod, runtime: Runtime, now: Timestamp) -> Self {
        let sandbox = crate::sim::node::host::id_of(&format!("sandbox {} {now}", config.uid));
        Self { pod: config.pod.clone(), config, runtime, sandbox, told: BTreeMap::new() }
    }

    fn is_ending(&self) -> bool {
        meta::is_deleting(&self.pod)
    }

    fn has_ended(&self) -> bool {
        let over = self.runtime.containers.iter().all(|container| container.ended().is_some());
        self.is_ending() && (self.runtime.rejected || (self.runtime.killing && over))
    }

    fn begin_to_end(&mut self, now: Timestamp) {
        if self.is_ending() {
            return;
        }
        let grace = meta::int(&self.pod["spec"]["terminationGracePeriodSeconds"], 30);
        self.pod["metadata"]["deletionTimestamp"] = meta::seconds(now).into();
        self.pod["metadata"]["deletionGracePeriodSeconds"] = grace.into();
    }
}

impl StaticPods {
    /// Creates what runs the static Pods of a node.
    pub(crate) fn new(
        host: NodeHost,
        machine: Arc<dyn Machine>,
        timings: &Timings,
        history: History,
        cx: Cx,
        gates: Gates,
    ) -> Self {
        let kubelet = Kubelet::new(host.spec().clone(), machine, timings.of_static_pods(), history);
        Self {
            host,
            kubelet,
            cx,
            gates,
            watch: timings.watch,
            source: Source::default(),
            running: BTreeMap::new(),
            free: BTreeMap::new(),
            mirrors: BTreeMap::new(),
            complained: None,
            was_running: false,
            wake: None,
        }
    }

    /// Shortens a time of reality.
    fn soon(&self, real: Duration) -> Duration {
        real / self.kubelet.timings.haste.max(1)
    }

    /// Takes up what ran before this process was started, by what the API was told of it.
    pub(crate) fn boot(&mut self) {
        let now = self.host.now();
        if !self.host.kubelet_runs() {
            return;
        }
        self.was_running = true;
        self.look(now);
        let pods: Vec<StaticPod> = self.source.pods().values().cloned().collect();
        for config in pods {
            let mirror = self.cx.get(&PODS, &config.key.namespace, &config.key.name);
            let mirror = mirror.filter(|mirror| {
                meta::annotation(mirror, "kubernetes.io/config.hash") == Some(config.uid.as_str())
                    && mirror["status"]["phase"] == "Running"
            });
            let Some(mirror) = mirror else { continue };
            let mut known = config.pod.clone();
            known["status"] = mirror["status"].clone();
            let runtime = Runtime::restore(&known, now);
            self.mirrors.insert(config.key.clone(), mirror::State::known());
            self.running.insert(config.key.clone(), Instance::new(config, runtime, now));
        }
        // etcd first, then what needs it.
        let mut keys: Vec<Key> = self.running.keys().cloned().collect();
        keys.sort_by_key(|key| !key.name.starts_with("etcd"));
        for key in keys {
            self.round(&key, now);
        }
        self.show();
    }

    /// Runs them for as long as it is polled.
    pub(crate) async fn run(mut self) {
        loop {
            let now = self.host.now();
            self.host.tick_units();
            self.tick(now);
            self.reflect(now).await;
            let until = self.wake.map(|at| at.duration_since(self.host.now()));
            let pause = until
                .map_or(self.watch, |until| until.max(SignedDuration::ZERO).unsigned_abs().min(self.watch));
            tokio::select! {
                () = tokio::time::sleep(pause.max(Duration::from_millis(2))) => {}
                () = self.host.stirred() => {}
            }
        }
    }

    fn look(&mut self, now: Timestamp) {
        let every = self.soon(LISTING);
        match self.host.manifests() {
            Some(folder) => self.source.look(&self.host, &folder, every, now),
            None => self.source = Source::default(),
        }
    }

    /// Does what is due.
    fn tick(&mut self, now: Timestamp) {
        self.wake = None;
        if !self.host.kubelet_runs() {
            // Containers go on by themselves; nobody looks after them.
            self.was_running = false;
            return;
        }
        if !self.was_running {
            self.was_running = true;
            self.source = Source::default();
        }
        self.look(now);
        let wanted: BTreeMap<Key, StaticPod> = self.source.pods().clone();
        for (key, instance) in &mut self.running {
            if wanted.get(key).is_none_or(|pod| pod.uid != instance.config.uid) {
                instance.begin_to_end(now);
            }
        }
        for (key, pod) in &wanted {
            if self.running.contains_key(key) {
                continue;
            }
            if let Some(at) = self.free.get(key).copied().filter(|at| *at > now) {
                self.wake_at(at);
                continue;
            }
            self.free.remove(key);
            let runtime = Runtime::new(&pod.pod, now);
            self.running.insert(key.clone(), Instance::new(pod.clone(), runtime, now));
        }
        let keys: Vec<Key> = self.running.keys().cloned().collect();
        for key in keys {
            self.round(&key, now);
        }
        self.complain(now);
        self.show();
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |earlier| earlier.min(at)));
    }

    fn round(&mut self, key: &Key, now: Timestamp) {
        let Some(mut instance) = self.running.remove(key) else { return };
        let node = self.host.node();
        let node = node.as_deref().unwrap_or(&Value::Null);
        let before = instance.runtime.sandbox.clone();
        let wake = Round::new(&self.kubelet, &self.cx, &instance.pod, node, &mut instance.runtime, now).run();
        if let Some(at) = wake {
            self.wake_at(at);
        }
        self.tell(&mut instance, &before);
        if instance.has_ended() {
            self.host.end_static(&instance.sandbox, &instance.config.uid);
            self.free.insert(key.clone(), after(now, self.soon(PAUSE)));
            let at = after(now, self.soon(PAUSE));
            self.wake_at(at);
            return;
        }
        self.running.insert(key.clone(), instance);
    }

    /// Writes to the journal what has gone wrong since the last time.
    fn tell(&self, instance: &mut Instance, before: &Sandbox) {
        let (pod, uid) = (&instance.pod, &instance.config.uid);
        let name = format!("{}/{}", meta::namespace(pod), meta::name(pod));
        if let (Sandbox::Missing { next: Some(next), attempts }, true) =
            (&instance.runtime.sandbox, instance.runtime.sandbox != *before)
        {
            let why = crate::sim::node::volumes::mount(
                self.cx.store(),
                &*self.kubelet.machine,
                pod,
                &self.kubelet.node.name,
            );
            if let Err(why) = why {
                let volume = why.split('"').nth(1).unwrap_or_default();
                let unique = format!("kubernetes.io/host-path/{uid}-{volume}");
                let wait = Duration::from_millis(500).saturating_mul(1 << attempts.saturating_sub(1).min(8));
                let detail = why.split_once(" : ").map_or(why.as_str(), |(_, detail)| detail);
                let text = format!(
                    "Operation for \"{{volumeName:{unique} podName:{uid} nodeName:}}\" failed. No retries permitted until {} \
                     (durationBeforeRetry {}). Error: MountVolume.SetUp failed for volume {volume:?} (UniqueName: {unique:?}) \
                     pod {:?} (UID: {uid:?}) : {detail}",
                    next.strftime("%Y-%m-%d %H:%M:%S%.9f +0000 UTC"),
                    super::start::go_duration(wait),
                    meta::name(pod),
                );
                self.host.kubelet_log('E', "nestedpendingoperations.go:348", &text);
            }
        }
        for container in &instance.runtime.containers {
            let (reason, message) = match &container.state {
                State::Waiting { reason, message } => (reason.clone(), message.clone()),
                _ => (String::new(), String::new()),
            };
            let known = instance.told.insert(container.name().to_owned(), reason.clone());
            let plain = matches!(reason.as_str(), "" | "ContainerCreating" | "PodInitializing");
            if plain || known.as_deref() == Some(reason.as_str()) {
                continue;
            }
            let why =
                format!("failed to \"StartContainer\" for {:?} with {reason}: {message:?}", container.name());
            let text = format!("\"Error syncing pod, skipping\" err={why:?} pod={name:?} podUID={uid:?}");
            self.host.kubelet_log('E', "pod_workers.go:1324", &text);
        }
    }

    /// Says from time to time that nobody answers.
    fn complain(&mut self, now: Timestamp) {
        if self.gates.is_alive(crate::sim::flags::Program::ApiServer) {
            self.complained = None;
            return;
        }
        if self.complained.is_some_and(|at| now < after(at, self.soon(COMPLAINT))) {
            return;
        }
        self.complained = Some(now);
        let api = format!("https://{}:6443", self.host.api_address());
        let refused = format!("dial tcp {}:6443: connect: connection refused", self.host.api_address());
        for instance in self.running.values() {
            let (pod, uid) = (&instance.pod, &instance.config.uid);
            let (namespace, name) = (meta::namespace(pod), meta::name(pod));
            let why = format!("Get \"{api}/api/v1/namespaces/{namespace}/pods/{name}\": {refused}");
            let text = format!(
                "\"Failed to get status for pod\" err={why:?} podUID={uid:?} pod=\"{namespace}/{name}\""
            );
            self.host.kubelet_log('E', "status_manager.go:1018", &text);
        }
        let lease = format!(
            "{api}/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{}?timeout=10s",
            self.host.name()
        );
        let why = format!("Put {lease:?}: {refused}");
        self.host.kubelet_log('E', "controller.go:195", &format!("\"Failed to update lease\" err={why:?}"));
    }

    /// Hands the runtime what it shows of static Pods.
    fn show(&self) {
        let mut sandboxes = Vec::new();
        for instance in self.running.values() {
            if !matches!(instance.runtime.sandbox, Sandbox::Ready { .. }) {
                continue;
            }
            let containers = instance.runtime.containers.iter().flat_map(runs).collect();
            sandboxes.push(StaticSandbox {
                id: instance.sandbox.clone(),
                uid: instance.config.uid.clone(),
                pod: instance.config.pod.clone(),
                address: instance.runtime.address().unwrap_or_default().to_owned(),
                started: instance.runtime.start_time,
                containers,
            });
        }
        self.host.show_static(sandboxes);
    }

    /// Returns the status that the API is told, after the one that it knows.
    fn status(&self, instance: &Instance, known: &Value, now: Timestamp) -> Value {
        let address = self.kubelet.node.address.to_string();
        let mut pod = instance.config.pod.clone();
        pod["status"] = known.clone();
        status::build(&pod, &instance.runtime, &address, now)
    }

    /// Returns the names of the Pods that are to have a mirror.
    fn mirrored(&self) -> BTreeSet<Key> {
        self.running.keys().cloned().collect()
    }
}

/// Returns the runs of a container that the runtime still has: the present one, and the one before it.
fn runs(container: &Container) -> Vec<StaticContainer> {
    let mut runs = Vec::new();
    let attempt = u32::try_from(container.restarts).unwrap_or_default();
    if container.part == Part::Ephemeral || container.id.is_empty() {
        return runs;
    }
    let ended = |ended: &super::runtime::Ended, attempt| StaticContainer {
        id: ended.id.clone(),
        spec: container.spec.clone(),
        state: ContainerState::Exited,
        started: ended.started,
        finished: ended.finished,
        code: i32::try_from(ended.code).unwrap_or_default(),
        reason: ended.reason.clone(),
        attempt,
    };
    match &container.state {
        State::Running { since } => runs.push(StaticContainer {
            id: container.id.clone(),
            spec: container.spec.clone(),
            state: ContainerState::Running,
            started: Some(*since),
            finished: None,
            code: 0,
            reason: String::new(),
            attempt,
        }),
        State::Ended(end) => runs.push(ended(end, attempt)),
        State::Waiting { .. } => {}
    }
    if let Some(last) = container.last.as_ref().filter(|last| last.id != container.id || runs.is_empty()) {
        let before = if last.id == container.id { attempt } else { attempt.saturating_sub(1) };
        runs.push(ended(last, before));
    }
    runs
}
