//! The machine under a simulated node: its files, its units and their journal, what its runtime and its kernel show.
//! What the tools of a node answer is read here; how they print it is theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

use super::images;
use super::kubelet::{NODES, PODS};
use super::parts::{Courses, Parts};
use super::shell::Trace;
use super::{LogLine, Machine, NodeLogs, NodeSpec, PathKind, Run};
use crate::clock::Clock;
use crate::persist::{self, PersistError, Stored};
use crate::sim::image::ImageName;
use crate::sim::object::Fields as _;
use crate::sim::pod_refs;
use crate::sim::store::Store;

mod containers;
mod etcd;
mod journal;
mod kernel;
mod kubelet;
pub(in crate::sim) mod layout;
pub(super) mod programs;
mod services;
pub mod tree;
mod units;

pub use containers::{Container, ContainerState, Mount, NodeImage, PodSandbox};
pub use etcd::{EtcdClient, EtcdKey};
pub use journal::JournalLine;
pub use kernel::{Listener, NodeProcess};
pub use kubelet::{KubeletAnswer, KubeletRequest};
pub use services::UnitError;
pub use tree::Tree;
pub(in crate::sim) use units::split as split_words;
pub use units::{Active, Enablement, Exit, Load, Unit};

pub(in crate::sim::node) use containers::{StaticContainer, StaticSandbox, id_of};
pub(in crate::sim) use journal::klog;
pub(in crate::sim) use kubelet::Asks;

use containers::Runtime;
use kernel::{Kernel, Pids};
use services::Service;

/// The folder of a cluster in which its nodes lie.
const NODES_DIR: &str = "nodes";

/// The machines of a cluster. Clones share them.
#[derive(Debug, Clone)]
pub struct Hosts(Arc<BTreeMap<String, NodeHost>>);

/// One machine. Clones share it.
#[derive(Debug, Clone)]
pub struct NodeHost(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    spec: NodeSpec,
    tree: Tree,
    /// What outlives the server beside the files.
    saved: PathBuf,
    clock: Arc<dyn Clock>,
    store: Store,
    state: Mutex<State>,
    /// Where programs of the control plane take effect, and how much faster than in reality.
    parts: OnceLock<(Arc<dyn Parts>, u32)>,
    /// Somebody has done something that the machine's loops are to look at.
    stirred: Notify,
}

#[derive(Debug, Default)]
struct State {
    booted: Timestamp,
    journal: journal::Journal,
    services: BTreeMap<String, Service>,
    pids: Pids,
    kernel: Kernel,
    runtime: Runtime,
    courses: Courses,
    /// What the kubelet goes by, while it runs.
    kubelet: Option<kubelet::Running>,
}

/// What of a machine is kept beside its files.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Saved {
    booted: Timestamp,
    kernel: Kernel,
    /// Units that somebody stopped although they are enabled.
    stopped: BTreeSet<String>,
    /// Units that somebody started although they are not.
    started: BTreeSet<String>,
}

impl Stored for Saved {
    const KIND: &'static str = "simulated-node";
    const VERSION: u32 = 1;
}

impl Hosts {
    /// Finds the machines of a cluster in its folder.
    ///
    /// # Errors
    /// [`PersistError`] when what they keep cannot be read.
    pub fn open(
        dir: &Path,
        nodes: Vec<NodeSpec>,
        store: &Store,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, PersistError> {
        let mut hosts = BTreeMap::new();
        for spec in nodes {
            let folder = folder(dir, &spec.name);
            let name = spec.name.clone();
            hosts.insert(name, NodeHost::open(spec, &folder, store.clone(), clock.clone())?);
        }
        Ok(Self(Arc::new(hosts)))
    }

    /// Returns the machine of a node.
    pub fn get(&self, node: &str) -> Option<&NodeHost> {
        self.0.get(node)
    }

    /// Returns all machines by the names of their nodes.
    pub fn iter(&self) -> impl Iterator<Item = &NodeHost> {
        self.0.values()
    }

    /// Returns the machine of the control plane.
    pub fn control_plane(&self) -> Option<&NodeHost> {
        self.iter().find(|host| host.spec().control_plane)
    }
}

/// Returns the folder of a node in that of its cluster.
pub(in crate::sim) fn folder(dir: &Path, node: &str) -> PathBuf {
    dir.join(NODES_DIR).join(node)
}

/// Tells whether a cluster's folder has the files of its nodes.
pub(in crate::sim) fn are_laid(dir: &Path) -> bool {
    dir.join(NODES_DIR).exists()
}

/// Copies the machines of one cluster into the folder of another.
///
/// # Errors
/// [`PersistError::Io`].
pub(in crate::sim) fn copy(from: &Path, to: &Path) -> Result<(), PersistError> {
    let source = from.join(NODES_DIR);
    if !source.exists() {
        return Ok(());
    }
    tree::copy(&source, &to.join(NODES_DIR)).map_err(|error| failed(&source, "copied", error))
}

fn failed(path: &Path, action: &'static str, source: std::io::Error) -> PersistError {
    PersistError::Io { path: path.to_owned(), action, source }
}

impl NodeHost {
    fn open(
        spec: NodeSpec,
        folder: &Path,
        store: Store,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, PersistError> {
        let saved = folder.join("state.json");
        let known = persist::load::<Saved>(&saved)?;
        let Saved { booted, kernel, stopped, started } =
            known.unwrap_or_else(|| Saved { booted: clock.now(), ..Saved::default() });
        let state = State { booted, kernel, ..State::default() };
        let tree = Tree::new(folder.join("root"));
        let host = Self(Arc::new(Inner {
            spec,
            tree,
            saved,
            clock,
            store,
            state: Mutex::new(state),
            parts: OnceLock::new(),
            stirred: Notify::new(),
        }));
        host.boot(&stopped, &started);
        Ok(host)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the name of the node.
    pub fn name(&self) -> &str {
        &self.0.spec.name
    }

    /// Returns what the node is.
    pub fn spec(&self) -> &NodeSpec {
        &self.0.spec
    }

    /// Returns its files.
    pub fn tree(&self) -> &Tree {
        &self.0.tree
    }

    /// Returns the folder that is its `/`.
    pub fn root(&self) -> &Path {
        self.0.tree.root()
    }

    /// Returns the time by which it lives.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Returns when it was booted.
    pub fn booted(&self) -> Timestamp {
        self.lock().booted
    }

    /// Returns the objects of the cluster.
    pub(in crate::sim) fn store(&self) -> &Store {
        &self.0.store
    }

    /// Waits until somebody has changed something about the machine other than its files.
    pub(in crate::sim) async fn stirred(&self) {
        self.0.stirred.notified().await;
    }

    fn stir(&self) {
        self.0.stirred.notify_one();
    }

    /// Keeps what is not in the files. A full disk must not stop a node: what is lost is lost at the next start only.
    fn save(&self, state: &State) {
        let (mut stopped, mut started) = (BTreeSet::new(), BTreeSet::new());
        for (name, service) in &state.services {
            let wanted = service.definition.enablement(self.tree(), name) == Enablement::Enabled;
            match service.wanted {
                true if !wanted => started.insert(name.clone()),
                false if wanted => stopped.insert(name.clone()),
                _ => false,
            };
        }
        let saved = Saved { booted: state.booted, kernel: state.kernel.clone(), stopped, started };
        let _ = persist::save(&self.0.saved, &saved);
    }

    // The journal.

    /// Adds a line to the journal.
    pub fn note(&self, unit: &str, identifier: &str, text: impl Into<String>) {
        let now = self.now();
        let mut state = self.lock();
        let pid = if identifier == "systemd" { 1 } else { state.pids.of(&format!("unit:{unit}")) };
        state.journal.add(now, unit, identifier, pid, text.into());
    }

    /// Adds a line of the kubelet's, as klog writes it.
    pub(in crate::sim) fn kubelet_log(&self, severity: char, place: &str, text: &str) {
        let now = self.now();
        let mut state = self.lock();
        let pid = state.pids.of("unit:kubelet.service");
        let line = klog(severity, now, pid, place, text);
        state.journal.add(now, "kubelet.service", "kubelet", pid, line);
    }

    /// Returns the lines of the journal, of one unit or of all, from a number on.
    pub fn journal(&self, unit: Option<&str>, from: u64) -> Vec<JournalLine> {
        self.lock().journal.lines(unit, from)
    }

    // The container runtime.

    /// Returns the Pods of this node that its kubelet has from the API.
    fn pods(&self) -> Vec<Arc<Value>> {
        let all = self.0.store.list(&PODS, None).into_iter().map(|entry| entry.object.clone());
        all.filter(|pod| pod["spec"]["nodeName"] == self.name() && !pod_refs::is_mirror(pod)).collect()
    }

    /// Returns the sandboxes, the newest first, as `crictl pods` does.
    pub fn sandboxes(&self) -> Vec<PodSandbox> {
        let mut all: Vec<PodSandbox> =
            self.pods().iter().filter_map(|pod| containers::sandbox_of(pod)).collect();
        all.extend(self.lock().runtime.sandboxes.iter().cloned());
        all.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.name.cmp(&b.name)));
        all
    }

    /// Returns the containers, those that have ended among them, the newest first, as `crictl ps -a` does.
    pub fn containers(&self) -> Vec<Container> {
        let mut all: Vec<Container> = Vec::new();
        for pod in self.pods() {
            if let Some(sandbox) = containers::sandbox_of(&pod) {
                all.extend(containers::containers_of(&pod, &sandbox.id));
            }
        }
        all.extend(self.lock().runtime.containers.iter().cloned());
        all.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.name.cmp(&b.name)));
        all
    }

    /// Returns the log of a container; nothing when there is no such container. Ids may be cut short.
    pub fn container_log(&self, id: &str, logs: &NodeLogs) -> Option<Vec<LogLine>> {
        let container = self.container(id)?;
        let pod = self.lock().runtime.pods.get(&container.sandbox).cloned();
        if let Some(pod) = pod {
            let started = container.started?;
            let run =
                Run::of(&container.name, &container.pod_uid, &container.id, started, container.finished);
            return Some(logs.lines(&pod, &run, self.now()));
        }
        let pod = self.0.store.get(&PODS, &container.namespace, &container.pod)?;
        let run = |previous| logs.run(&pod.object, &container.name, previous).ok().flatten();
        let run = run(false).filter(|run| run.id().ends_with(&container.id)).or_else(|| run(true))?;
        Some(logs.lines(&pod.object, &run, self.now()))
    }

    /// Takes the static Pods as they are now.
    pub(in crate::sim::node) fn show_static(&self, shown: Vec<StaticSandbox>) {
        self.lock().runtime.show(shown);
    }

    /// Notes that a static Pod has ended.
    pub(in crate::sim::node) fn end_static(&self, sandbox: &str, uid: &str) {
        let mut state = self.lock();
        state.runtime.end(sandbox);
        state.courses.forget(uid);
    }

    /// Returns the address of the API server among the nodes.
    pub(in crate::sim::node) fn api_address(&self) -> std::net::Ipv4Addr {
        crate::sim::bootstrap::node_address(0)
    }

    /// Returns a container by the beginning of its id, where that is one alone.
    pub fn container(&self, id: &str) -> Option<Container> {
        let mut found = self.containers().into_iter().filter(|container| container.id.starts_with(id));
        found.next().filter(|_| !id.is_empty() && found.next().is_none())
    }

    /// Describes a container as `crictl inspect` does.
    pub fn inspect(&self, id: &str) -> Option<Value> {
        let container = self.container(id)?;
        let pid = self.lock().pids.of(&format!("container:{}", container.id));
        let mut described = containers::inspect(&container, self.name());
        if container.state == ContainerState::Running {
            described["info"]["pid"] = pid.into();
        }
        Some(described)
    }

    /// Describes a sandbox as `crictl inspectp` does.
    pub fn inspect_sandbox(&self, id: &str) -> Option<Value> {
        let all = self.sandboxes();
        let found = all.iter().find(|sandbox| !id.is_empty() && sandbox.id.starts_with(id));
        found.map(containers::inspect_sandbox)
    }

    /// Returns the images that are on the node: those it had from the start, and those of its containers.
    pub fn images(&self) -> Vec<NodeImage> {
        let mut names: BTreeSet<String> = self.containers().into_iter().map(|c| c.image).collect();
        names.extend(images::present().map(str::to_owned));
        let described: BTreeMap<String, NodeImage> = names
            .iter()
            .filter_map(|name| ImageName::parse(name))
            .map(|name| {
                let whole = images::full_name(&name);
                let (repository, tag) = containers::repository(&whole);
                let id = containers::image_id(&whole);
                // Nobody looks at the size; it is the same each time.
                let size = 20_000_000 + u64::from_str_radix(&id[..4], 16).unwrap_or_default() * 1500;
                (whole, NodeImage { repository, tag, id, size })
            })
            .collect();
        described.into_values().collect()
    }

    // The kernel.

    /// Returns the processes, in the order of their ids.
    pub fn processes(&self) -> Vec<NodeProcess> {
        let (containers, sandboxes) = (self.containers(), self.sandboxes());
        let mut state = self.lock();
        let process = |pid, parent, user: &str, command: Vec<String>| {
            let program = command.first().map_or("", String::as_str);
            let name = program.rsplit('/').next().unwrap_or_default().chars().take(15).collect();
            NodeProcess { pid, parent, user: user.to_owned(), name, command, container: None }
        };
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut all =
            vec![NodeProcess { name: "systemd".to_owned(), ..process(1, 0, "root", words("/sbin/init")) }];
        for (pid, line) in [(87, "/lib/systemd/systemd-journald"), (104, "/lib/systemd/systemd-udevd")] {
            all.push(process(pid, 1, "root", words(line)));
        }
        for service in state.services.values() {
            if let Some(pid) = service.pid {
                let user = match service.definition.text("Service", "User") {
                    "" => "root",
                    user => user,
                };
                all.push(process(pid, 1, user, service.command.clone()));
            }
        }
        for sandbox in sandboxes.iter().filter(|sandbox| sandbox.ready) {
            let shim = state.pids.of(&format!("shim:{}", sandbox.id));
            let line = format!(
                "/usr/local/bin/containerd-shim-runc-v2 -namespace k8s.io -id {} -address /run/containerd/containerd.sock",
                sandbox.id
            );
            all.push(process(shim, 1, "root", words(&line)));
            let pause = state.pids.of(&format!("pause:{}", sandbox.id));
            all.push(process(pause, shim, "65535", words("/pause")));
            for container in &containers {
                if container.sandbox == sandbox.id && container.state == ContainerState::Running {
                    let pid = state.pids.of(&format!("container:{}", container.id));
                    let user = match container.spec["securityContext"]["runAsUser"].as_i64() {
                        Some(user) if user != 0 => user.to_string(),
                        _ => "root".to_owned(),
                    };
                    let process = process(pid, shim, &user, container.command.clone());
                    all.push(NodeProcess { container: Some(container.id.clone()), ..process });
                }
            }
        }
        all.sort_by_key(|process| process.pid);
        all
    }

    /// Returns the sockets that are listened on.
    pub fn listeners(&self) -> Vec<Listener> {
        let mut all = Vec::new();
        let node = self.0.spec.address.to_string();
        for process in self.processes() {
            let ports = match (process.name.as_str(), &process.container) {
                ("kubelet", None) => self.kubelet_ports(),
                (_, None) => kernel::listens(&process.command),
                (_, Some(id)) => self.container_ports(id, &process, &node),
            };
            all.extend(ports.into_iter().map(|(address, port)| Listener {
                protocol: "tcp".to_owned(),
                address,
                port,
                process: process.name.clone(),
                pid: process.pid,
            }));
        }
        for service in self.lock().services.values() {
            let Some(pid) = service.pid else { continue };
            for line in service.definition.list("X-Simulated", "Listen") {
                let (protocol, rest) = line.split_once(' ').unwrap_or(("tcp", line));
                let (address, port) = rest.rsplit_once(':').unwrap_or(("*", rest));
                let Ok(port) = port.parse() else { continue };
                let program = service.command.first().map_or("", String::as_str);
                all.push(Listener {
                    protocol: protocol.to_owned(),
                    address: address.to_owned(),
                    port,
                    process: program.rsplit('/').next().unwrap_or_default().to_owned(),
                    pid,
                });
            }
        }
        all.sort();
        all.dedup();
        all
    }

    /// Works out where a container listens in the network of the node.
    fn container_ports(&self, id: &str, process: &NodeProcess, node: &str) -> Vec<(String, u16)> {
        let Some(container) = self.container(id) else { return Vec::new() };
        let sandbox = self.sandboxes().into_iter().find(|sandbox| sandbox.id == container.sandbox);
        if sandbox.is_none_or(|sandbox| !sandbox.ip.is_empty()) {
            return Vec::new();
        }
        let flag = |name: &str| {
            let prefix = format!("--{name}=");
            process.command.iter().rev().find_map(|word| word.strip_prefix(&prefix).map(str::to_owned))
        };
        let socket = |url: &str| -> Option<(String, u16)> {
            let (host, port) = url.rsplit_once("//").map_or(url, |(_, rest)| rest).rsplit_once(':')?;
            Some((host.to_owned(), port.parse().ok()?))
        };
        let bound = |default: &str| match flag("bind-address").as_deref().unwrap_or(default) {
            "0.0.0.0" | "::" => "*".to_owned(),
            address => address.to_owned(),
        };
        let port =
            |name: &str, default: u16| flag(name).and_then(|text| text.parse().ok()).unwrap_or(default);
        match process.name.as_str() {
            "kube-apiserver" => vec![(bound("0.0.0.0"), port("secure-port", 6443))],
            "kube-controller" | "kube-controller-manager" => {
                vec![(bound("0.0.0.0"), port("secure-port", 10257))]
            }
            "kube-scheduler" => vec![(bound("0.0.0.0"), port("secure-port", 10259))],
            "kube-proxy" => vec![("127.0.0.1".to_owned(), 10249), ("*".to_owned(), 10256)],
            "etcd" => ["listen-client-urls", "listen-peer-urls", "listen-metrics-urls"]
                .iter()
                .filter_map(|name| flag(name))
                .flat_map(|list| list.split(',').filter_map(&socket).collect::<Vec<_>>())
                .collect(),
            _ => container
                .spec
                .items("ports")
                .iter()
                .filter_map(|port| {
                    Some((node.to_owned(), u16::try_from(port["containerPort"].as_u64()?).ok()?))
                })
                .collect(),
        }
    }

    /// Returns the kernel's parameters.
    pub fn sysctls(&self) -> BTreeMap<String, String> {
        let mut sysctls = self.lock().kernel.sysctls.clone();
        sysctls.insert("kernel.hostname".to_owned(), self.name().to_owned());
        sysctls
    }

    /// Sets a parameter of the kernel; tells whether there is one of this name.
    pub fn set_sysctl(&self, name: &str, value: &str) -> bool {
        let mut state = self.lock();
        let Some(current) = state.kernel.sysctls.get_mut(name) else { return false };
        value.clone_into(current);
        self.save(&state);
        true
    }

    /// Returns the loaded modules with those that use them.
    pub fn modules(&self) -> BTreeMap<String, Vec<String>> {
        self.lock().kernel.modules.clone()
    }

    /// Loads a module.
    pub fn load_module(&self, name: &str) {
        let mut state = self.lock();
        state.kernel.modules.entry(name.replace('-', "_")).or_default();
        self.save(&state);
    }

    /// Unloads a module; tells whether it was loaded and nothing used it.
    pub fn unload_module(&self, name: &str) -> bool {
        let mut state = self.lock();
        let name = name.replace('-', "_");
        if state.kernel.modules.get(&name).is_none_or(|users| !users.is_empty()) {
            return false;
        }
        state.kernel.modules.remove(&name);
        for users in state.kernel.modules.values_mut() {
            users.retain(|user| *user != name);
        }
        self.save(&state);
        true
    }

    /// Returns the AppArmor profiles that are loaded, with their modes: `enforce`, `complain`.
    pub fn profiles(&self) -> BTreeMap<String, String> {
        self.lock().kernel.profiles.clone()
    }

    /// Loads an AppArmor profile, or another one of that name in its place.
    pub fn load_profile(&self, name: &str, mode: &str) {
        let mut state = self.lock();
        state.kernel.profiles.insert(name.to_owned(), mode.to_owned());
        self.save(&state);
    }

    /// Unloads an AppArmor profile; tells whether it was loaded.
    pub fn unload_profile(&self, name: &str) -> bool {
        let mut state = self.lock();
        let was = state.kernel.profiles.remove(name).is_some();
        self.save(&state);
        was
    }

    /// Returns the Node, where the API has it.
    pub(in crate::sim) fn node(&self) -> Option<Arc<Value>> {
        self.0.store.get(&NODES, "", self.name()).map(|entry| entry.object.clone())
    }
}

impl Machine for Hosts {
    fn kind(&self, node: &str, path: &str) -> Option<PathKind> {
        const SOCKETS: [&str; 2] = ["/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock"];
        // The folders of the system itself are not the node's own.
        const SYSTEM: [&str; 9] =
            ["/bin", "/boot", "/dev", "/lib", "/lib/modules", "/proc", "/sbin", "/sys", "/lib64"];
        let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
        match path {
            path if SOCKETS.contains(&path) => Some(PathKind::Socket),
            path if SYSTEM.contains(&path) => Some(PathKind::Folder),
            path => self.get(node)?.tree().kind(path),
        }
    }

    fn read(&self, node: &str, path: &str) -> Option<String> {
        self.get(node)?.tree().read_text(path).ok()
    }

    fn apparmor_profiles(&self, node: &str) -> Option<Vec<String>> {
        Some(self.get(node)?.profiles().into_keys().collect())
    }

    fn has_runtime(&self, _node: &str, handler: &str) -> bool {
        matches!(handler, "" | "runc")
    }

    fn create(&self, node: &str, path: &str, kind: PathKind) {
        let Some(host) = self.get(node) else { return };
        // What cannot be made is found missing a moment later.
        let _ = match kind {
            PathKind::File => host.tree().write(path, "", 0o644),
            _ => host.tree().create_dir(path, 0o755),
        };
    }

    fn course(&self, pod: &Value, container: &Value, started: Timestamp) -> Option<Trace> {
        self.get(pod["spec"].text("nodeName"))?.course(pod, container, started)
    }

    fn halt(&self, pod: &Value, container: &Value) {
        if let Some(host) = self.get(pod["spec"].text("nodeName")) {
            host.halt_program(pod, container);
        }
    }

    fn probe(&self, pod: &Value, container: &Value, path: &str) -> Option<Result<(), String>> {
        self.get(pod["spec"].text("nodeName"))?.probe_program(pod, container, path)
    }

    fn configz(&self, node: &str) -> Option<Value> {
        self.get(node)?.configz()
    }

    fn runs_kubelet(&self, node: &str) -> bool {
        self.get(node).is_none_or(NodeHost::kubelet_runs)
    }
}
