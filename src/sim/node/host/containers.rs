//! What the container runtime of a node shows: sandboxes, containers, images, as `crictl` prints them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::sim::meta;
use crate::sim::object::Fields as _;
use crate::sim::random::hex;

/// What a container is in the eyes of the runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerState {
    /// It was made, but not started.
    Created,
    /// It runs.
    Running,
    /// It has ended.
    Exited,
}

/// A container as the runtime has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// The image as the Pod names it.
    pub image: String,
    /// The image's id, 64 hexadecimal digits.
    pub image_id: String,
    /// When it was made.
    pub created: Timestamp,
    /// When it was started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// What it does.
    pub state: ContainerState,
    /// Its exit status, once it has ended.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, once it has ended.
    pub reason: String,
    /// Its name in the Pod.
    pub name: String,
    /// How many of its name were there before in this sandbox.
    pub attempt: u32,
    /// The id of its sandbox.
    pub sandbox: String,
    /// The Pod's name.
    pub pod: String,
    /// The Pod's namespace.
    pub namespace: String,
    /// The uid of the Pod, as the kubelet knows it: of a static Pod the hash of its file.
    pub pod_uid: String,
    /// Its command line.
    pub command: Vec<String>,
    /// The container in the Pod's specification.
    pub spec: Value,
    /// Its mounts: path in the container, path on the node, whether it is only for reading.
    pub mounts: Vec<Mount>,
}

/// A path of the node in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// The path in the container.
    pub container: String,
    /// The path on the node.
    pub host: String,
    /// Whether it cannot be written.
    pub read_only: bool,
}

/// A sandbox: what a Pod's containers share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSandbox {
    /// Its id: 64 hexadecimal digits.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it still stands.
    pub ready: bool,
    /// The Pod's name.
    pub name: String,
    /// The Pod's namespace.
    pub namespace: String,
    /// The Pod's uid, as the kubelet knows it.
    pub uid: String,
    /// How many of the Pod were there before.
    pub attempt: u32,
    /// The runtime handler; empty for the default one.
    pub runtime: String,
    /// Its address; empty in the network of the node.
    pub ip: String,
    /// The Pod's labels.
    pub labels: BTreeMap<String, String>,
    /// The Pod's annotations.
    pub annotations: BTreeMap<String, String>,
}

/// An image that the node has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeImage {
    /// `registry.k8s.io/etcd`
    pub repository: String,
    /// `3.5.16-0`
    pub tag: String,
    /// 64 hexadecimal digits.
    pub id: String,
    /// In bytes.
    pub size: u64,
}

/// What the runtime holds of static Pods.
#[derive(Debug, Default)]
pub(super) struct Runtime {
    pub sandboxes: Vec<PodSandbox>,
    pub containers: Vec<Container>,
    /// The Pods themselves, by the ids of their sandboxes.
    pub pods: BTreeMap<String, Value>,
}

/// How many sandboxes that have ended are shown.
const ENDED: usize = 3;

/// A static Pod as its kubelet has it.
#[derive(Debug)]
pub(in crate::sim::node) struct StaticSandbox {
    pub id: String,
    pub uid: String,
    pub pod: Value,
    pub address: String,
    pub started: Timestamp,
    pub containers: Vec<StaticContainer>,
}

/// A run of a container of a static Pod.
#[derive(Debug)]
pub(in crate::sim::node) struct StaticContainer {
    pub id: String,
    pub spec: Value,
    pub state: ContainerState,
    pub started: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    pub code: i32,
    pub reason: String,
    pub attempt: u32,
}

impl Runtime {
    /// Takes the static Pods as they are now.
    pub fn show(&mut self, shown: Vec<StaticSandbox>) {
        self.containers.clear();
        let mut ended: Vec<PodSandbox> = self.sandboxes.drain(..).filter(|sandbox| !sandbox.ready).collect();
        ended.truncate(ENDED);
        self.pods.retain(|id, _| ended.iter().any(|sandbox| sandbox.id == *id));
        for sandbox in shown {
            let pod = &sandbox.pod;
            let network = pod["spec"]["hostNetwork"] == true;
            self.sandboxes.push(PodSandbox {
                id: sandbox.id.clone(),
                created: sandbox.started,
                ready: true,
                name: meta::name(pod).to_owned(),
                namespace: meta::namespace(pod).to_owned(),
                uid: sandbox.uid.clone(),
                attempt: 0,
                runtime: String::new(),
                ip: if network { String::new() } else { sandbox.address.clone() },
                labels: texts(&pod["metadata"]["labels"]),
                annotations: texts(&pod["metadata"]["annotations"]),
            });
            for run in sandbox.containers {
                self.containers.push(Container {
                    id: run.id,
                    image: run.spec.text("image").to_owned(),
                    image_id: image_id(run.spec.text("image")),
                    created: run.started.unwrap_or(sandbox.started),
                    started: run.started,
                    finished: run.finished,
                    state: run.state,
                    exit_code: run.code,
                    reason: run.reason,
                    name: run.spec.text("name").to_owned(),
                    attempt: run.attempt,
                    sandbox: sandbox.id.clone(),
                    pod: meta::name(pod).to_owned(),
                    namespace: meta::namespace(pod).to_owned(),
                    pod_uid: sandbox.uid.clone(),
                    command: command_of(&run.spec),
                    mounts: mounts_of(pod, &run.spec),
                    spec: run.spec,
                });
            }
            self.pods.insert(sandbox.id, sandbox.pod);
        }
        self.sandboxes.extend(ended);
    }

    /// Notes that a sandbox has ended; its containers go with it.
    pub fn end(&mut self, id: &str) {
        if let Some(at) = self.sandboxes.iter().position(|sandbox| sandbox.id == id) {
            let mut sandbox = self.sandboxes.remove(at);
            sandbox.ready = false;
            // The newest first, so that the oldest are forgotten.
            self.sandboxes.insert(0, sandbox);
        }
        self.containers.retain(|container| container.sandbox != id);
    }
}

/// Makes an id that is the same for the same words.
pub(in crate::sim::node) fn id_of(words: &str) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, words.as_bytes()).as_ref())
}

/// Returns the id of an image, the same wherever it is.
pub(super) fn image_id(image: &str) -> String {
    id_of(&format!("image {image}"))
}

/// Splits an image into repository and tag.
pub(super) fn repository(image: &str) -> (String, String) {
    match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository.to_owned(), tag.to_owned()),
        _ => (image.to_owned(), "latest".to_owned()),
    }
}

fn texts(object: &Value) -> BTreeMap<String, String> {
    let fields = object.as_object().into_iter().flatten();
    fields.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

/// Returns the sandbox of a Pod that its kubelet reports as set up.
pub(super) fn sandbox_of(pod: &Value) -> Option<PodSandbox> {
    let ready = pod["status"]
        .items("conditions")
        .iter()
        .any(|condition| condition["type"] == "PodReadyToStartContainers" && condition["status"] == "True");
    let started =
        pod["status"].items("containerStatuses").iter().any(|status| !status.text("containerID").is_empty());
    if !ready && !started {
        return None;
    }
    let metadata = &pod["metadata"];
    let network = pod["spec"]["hostNetwork"] == true;
    Some(PodSandbox {
        id: id_of(&format!("sandbox {}", meta::uid(pod))),
        created: meta::time(&pod["status"]["startTime"]).or_else(|| meta::created(pod)).unwrap_or_default(),
        ready,
        name: meta::name(pod).to_owned(),
        namespace: meta::namespace(pod).to_owned(),
        uid: meta::uid(pod).to_owned(),
        attempt: 0,
        runtime: String::new(),
        ip: if network { String::new() } else { pod["status"].text("podIP").to_owned() },
        labels: texts(&metadata["labels"]),
        annotations: texts(&metadata["annotations"]),
    })
}

/// Returns the containers of a Pod as its status tells of them, the runs before the present ones among them.
pub(super) fn containers_of(pod: &Value, sandbox: &str) -> Vec<Container> {
    let mut found = Vec::new();
    for (specs, statuses) in [
        ("initContainers", "initContainerStatuses"),
        ("containers", "containerStatuses"),
        ("ephemeralContainers", "ephemeralContainerStatuses"),
    ] {
        for status in pod["status"].items(statuses) {
            let name = status.text("name");
            let Some(spec) = pod["spec"].items(specs).iter().find(|spec| spec["name"] == name) else {
                continue;
            };
            let restarts =
                u32::try_from(status["restartCount"].as_u64().unwrap_or_default()).unwrap_or_default();
            for (state, attempt) in
                [(&status["state"], restarts), (&status["lastState"], restarts.saturating_sub(1))]
            {
                let (ended, running) = (&state["terminated"], &state["running"]);
                let id = if ended.is_null() { &status["containerID"] } else { &ended["containerID"] };
                let id = id.as_str().unwrap_or_default().trim_start_matches("containerd://");
                if id.is_empty() || (ended.is_null() && running.is_null()) {
                    continue;
                }
                let at = |value: &Value| meta::time(value);
                let started = at(&ended["startedAt"]).or_else(|| at(&running["startedAt"]));
                found.push(Container {
                    id: id.to_owned(),
                    image: spec.text("image").to_owned(),
                    image_id: image_id(spec.text("image")),
                    created: started.unwrap_or_default(),
                    started,
                    finished: at(&ended["finishedAt"]),
                    state: if ended.is_null() { ContainerState::Running } else { ContainerState::Exited },
                    exit_code: i32::try_from(ended["exitCode"].as_i64().unwrap_or_default())
                        .unwrap_or_default(),
                    reason: ended.text("reason").to_owned(),
                    name: name.to_owned(),
                    attempt,
                    sandbox: sandbox.to_owned(),
                    pod: meta::name(pod).to_owned(),
                    namespace: meta::namespace(pod).to_owned(),
                    pod_uid: meta::uid(pod).to_owned(),
                    command: command_of(spec),
                    spec: spec.clone(),
                    mounts: mounts_of(pod, spec),
                });
            }
        }
    }
    found
}

/// Returns what a container runs, as far as Pod and image say.
pub(super) fn command_of(spec: &Value) -> Vec<String> {
    let list = |field: &str| -> Vec<String> {
        spec.items(field).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (command, arguments) = (list("command"), list("args"));
    let image = crate::sim::image::ImageName::parse(spec.text("image"));
    let image = image.as_ref().and_then(crate::sim::node::images::find);
    match (command.is_empty(), arguments.is_empty(), image) {
        (false, ..) => [command, arguments].concat(),
        (true, false, Some(image)) => [image.entrypoint.clone(), arguments].concat(),
        (true, true, Some(image)) => [image.entrypoint.clone(), image.command.clone()].concat(),
        (true, _, None) => arguments,
    }
}

/// Returns the paths of the node that a container sees: its hostPath volumes.
pub(super) fn mounts_of(pod: &Value, spec: &Value) -> Vec<Mount> {
    let mounts = spec.items("volumeMounts").iter().filter_map(|mount| {
        let volume = pod["spec"].items("volumes").iter().find(|volume| volume["name"] == mount["name"])?;
        let path = volume["hostPath"]["path"].as_str()?;
        let below = mount.text("subPath");
        let host = if below.is_empty() {
            path.to_owned()
        } else {
            format!("{}/{below}", path.trim_end_matches('/'))
        };
        Some(Mount {
            container: mount.text("mountPath").to_owned(),
            host,
            read_only: mount["readOnly"] == true,
        })
    });
    mounts.collect()
}

/// Describes a container as `crictl inspect` does.
pub(super) fn inspect(container: &Container, node: &str) -> Value {
    let time = |at: Option<Timestamp>| {
        at.map_or_else(
            || "0001-01-01T00:00:00Z".to_owned(),
            |at| at.strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string(),
        )
    };
    let state = match container.state {
        ContainerState::Created => "CONTAINER_CREATED",
        ContainerState::Running => "CONTAINER_RUNNING",
        ContainerState::Exited => "CONTAINER_EXITED",
    };
    let mounts: Vec<Value> = container
        .mounts
        .iter()
        .map(|mount| {
            json!({ "containerPath": mount.container, "gidMappings": [], "hostPath": mount.host,
                "propagation": "PROPAGATION_PRIVATE", "readonly": mount.read_only, "selinuxRelabel": false,
                "uidMappings": [] })
        })
        .collect();
    let security = &container.spec["securityContext"];
    let (repository, _) = repository(&container.image);
    json!({
        "info": {
            "sandboxID": container.sandbox, "pid": 0, "removing": false, "snapshotter": "overlayfs",
            "runtimeType": "io.containerd.runc.v2", "config": {
                "metadata": { "attempt": container.attempt, "name": container.name },
                "command": container.command, "envs": container.spec["env"],
                "image": { "image": container.image_id, "user_specified_image": container.image },
            },
            "runtimeSpec": {
                "hostname": node,
                "process": { "args": container.command, "cwd": "/",
                    "noNewPrivileges": security["allowPrivilegeEscalation"] == false,
                    "user": { "uid": security["runAsUser"].as_i64().unwrap_or_default(), "gid": 0 } },
                "root": { "path": "rootfs", "readonly": security["readOnlyRootFilesystem"] == true },
            },
        },
        "status": {
            "annotations": {}, "createdAt": time(Some(container.created)), "exitCode": container.exit_code,
            "finishedAt": time(container.finished), "id": container.id,
            "image": { "annotations": {}, "image": container.image, "runtimeHandler": "", "userSpecifiedImage": "" },
            "imageId": format!("sha256:{}", container.image_id),
            "imageRef": format!("{repository}@sha256:{}", container.image_id),
            "labels": { "io.kubernetes.container.name": container.name, "io.kubernetes.pod.name": container.pod,
                "io.kubernetes.pod.namespace": container.namespace, "io.kubernetes.pod.uid": container.pod_uid },
            "logPath": format!("/var/log/pods/{}_{}_{}/{}/{}.log", container.namespace, container.pod,
                container.pod_uid, container.name, container.attempt),
            "message": "", "metadata": { "attempt": container.attempt, "name": container.name },
            "mounts": mounts, "reason": container.reason,
            "startedAt": time(container.started), "state": state,
        },
    })
}

/// Describes a sandbox as `crictl inspectp` does.
pub(super) fn inspect_sandbox(sandbox: &PodSandbox) -> Value {
    let created = sandbox.created.strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string();
    json!({
        "info": { "runtimeHandler": sandbox.runtime, "runtimeType": "io.containerd.runc.v2",
            "image": "registry.k8s.io/pause:3.10.1" },
        "status": {
            "annotations": sandbox.annotations, "createdAt": created, "id": sandbox.id, "labels": sandbox.labels,
            "linux": { "namespaces": { "options": { "ipc": "POD", "network":
                if sandbox.ip.is_empty() { "NODE" } else { "POD" }, "pid": "CONTAINER", "targetId": "",
                "usernsOptions": null } } },
            "metadata": { "attempt": sandbox.attempt, "name": sandbox.name, "namespace": sandbox.namespace,
                "uid": sandbox.uid },
            "network": { "additionalIps": [], "ip": sandbox.ip }, "runtimeHandler": sandbox.runtime,
            "state": if sandbox.ready { "SANDBOX_READY" } else { "SANDBOX_NOTREADY" },
        },
    })
}
