//! What a fresh cluster has: namespaces, the `kubernetes` Service, nodes, system workloads, roles. Written past admission,
//! as a control plane writes its own beginnings; run at every start, it adds what is missing of the server's own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use base64::Engine as _;
use serde_json::{Value, json};

use super::api::resources::GroupVersionKind;
use super::api::{Api, VERSION, timestamp};
use super::attributes::UserInfo;
use super::node::kubelet::static_pods;
use super::object::Fields as _;
use super::random::hex;
use super::resource::GroupResource;
use super::store::StoreError;
use super::strategy::{self, RequestFacts};
use super::{defaults, random, rbac};

pub(crate) mod registered;

const OBJECTS: &str = include_str!("bootstrap/objects.yaml");
const NODE: &str = include_str!("bootstrap/node.yaml");

/// The static Pods of a control plane: their names and manifests, with placeholders.
const MANIFESTS: [(&str, &str); 4] = [
    ("etcd", include_str!("bootstrap/manifests/etcd.yaml")),
    ("kube-apiserver", include_str!("bootstrap/manifests/kube-apiserver.yaml")),
    ("kube-controller-manager", include_str!("bootstrap/manifests/kube-controller-manager.yaml")),
    ("kube-scheduler", include_str!("bootstrap/manifests/kube-scheduler.yaml")),
];

/// The in-tree volume plugins that a kubelet says have moved to CSI.
const MIGRATED: &str = "kubernetes.io/aws-ebs,kubernetes.io/azure-disk,kubernetes.io/azure-file,kubernetes.io/cinder,\
    kubernetes.io/gce-pd,kubernetes.io/portworx-volume,kubernetes.io/vsphere-volume";

/// Namespaces that the API server makes anew when they are gone.
const SYSTEM_NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

/// Returns the address of a node of a cluster; the first is the control plane.
pub fn node_address(index: usize) -> Ipv4Addr {
    Ipv4Addr::new(172, 18, 0, u8::try_from(index + 2).unwrap_or(u8::MAX))
}

/// Returns the static Pod manifests of a control plane as kubeadm writes them: file name and content.
pub fn manifests(cluster: &str, node: &str, address: Ipv4Addr) -> Vec<(String, String)> {
    MANIFESTS
        .iter()
        .map(|(name, text)| {
            let text = text
                .replace("{{IP}}", &address.to_string())
                .replace("{{NODE}}", node)
                .replace("{{CLUSTER}}", cluster);
            (format!("{name}.yaml"), text)
        })
        .collect()
}

/// Brings the objects of a fresh cluster into the store, or those that every start of an API server brings back.
///
/// # Errors
/// [`StoreError::Io`] when they cannot be written.
pub fn run(api: &Api, cluster: &str, nodes: &[String]) -> Result<(), StoreError> {
    let bootstrap = Bootstrap { api, cluster, now: timestamp(api.clock().now()) };
    let is_fresh = api.store().revision() == 0;
    let control_plane = nodes.first().map_or("control-plane", String::as_str);
    let values = bootstrap.values(control_plane, 0);
    for object in documents(OBJECTS, &values) {
        let name = object["metadata"].text("name");
        let namespace = object["metadata"].text("namespace");
        let own = match object.text("kind") {
            "Namespace" => SYSTEM_NAMESPACES.contains(&name),
            "PriorityClass" => true,
            "Service" | "Endpoints" | "EndpointSlice" => (namespace, name) == ("default", "kubernetes"),
            _ => false,
        };
        if is_fresh || own {
            bootstrap.add(object)?;
        }
    }
    bootstrap.roles()?;
    for object in registered::objects(&bootstrap.now) {
        bootstrap.add(object)?;
    }
    if is_fresh {
        bootstrap.leases(control_plane)?;
        for (index, name) in nodes.iter().enumerate() {
            bootstrap.node(name, index, nodes.len() > 1)?;
        }
        bootstrap.static_pods(control_plane)?;
    }
    Ok(())
}

struct Bootstrap<'a> {
    api: &'a Api,
    cluster: &'a str,
    now: String,
}

impl Bootstrap<'_> {
    fn values(&self, node: &str, index: usize) -> BTreeMap<&'static str, String> {
        let authority = self.api.pki().authority_pem();
        let machine =
            hex(&ring::digest::digest(&ring::digest::SHA256, format!("{}/{node}", self.cluster).as_bytes())
                .as_ref()[..16]);
        BTreeMap::from([
            ("{{NODE}}", node.to_owned()),
            ("{{IP}}", node_address(index).to_string()),
            ("{{POD_CIDR}}", format!("10.244.{index}.0/24")),
            ("{{CLUSTER}}", self.cluster.to_owned()),
            ("{{VERSION}}", VERSION.to_owned()),
            ("{{NOW}}", self.now.clone()),
            ("{{TODAY}}", self.now.split('T').next().unwrap_or_default().to_owned()),
            ("{{CA}}", authority.to_owned()),
            ("{{CA64}}", base64::engine::general_purpose::STANDARD.encode(authority)),
            ("{{MACHINE_ID}}", machine),
            ("{{BOOT_ID}}", random::uuid()),
        ])
    }

    fn node(&self, name: &str, index: usize, has_workers: bool) -> Result<(), StoreError> {
        for mut node in documents(NODE, &self.values(name, index)) {
            if index == 0 {
                let labels = &mut node["metadata"]["labels"];
                labels["node-role.kubernetes.io/control-plane"] = "".into();
                if has_workers {
                    node["spec"]["taints"] =
                        json!([{ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }]);
                }
            }
            self.add(node)?;
        }
        let nodes = GroupResource::of("", "nodes");
        let uid = self.api.store().get(&nodes, "", name).map(|node| node.uid().to_owned());
        self.add(json!({ "apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
            "metadata": { "name": name, "annotations": { "storage.alpha.kubernetes.io/migrated-plugins": MIGRATED },
                "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid }] },
            "spec": { "drivers": null } }))
    }

    /// Shows who leads, as the parts of a control plane elect themselves.
    fn leases(&self, node: &str) -> Result<(), StoreError> {
        let time = self.api.clock().now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
        for leader in ["kube-controller-manager", "kube-scheduler"] {
            self.add(json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": { "name": leader, "namespace": "kube-system" },
                "spec": { "holderIdentity": format!("{node}_{}", random::uuid()), "leaseDurationSeconds": 15,
                    "leaseTransitions": 0, "acquireTime": time, "renewTime": time } }))?;
        }
        let digest = ring::digest::digest(&ring::digest::SHA256, node.as_bytes());
        let identity = format!("apiserver-{}", &hex(digest.as_ref())[..26]);
        self.add(json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": identity, "namespace": "kube-system", "labels": {
                "apiserver.kubernetes.io/identity": "kube-apiserver", "kubernetes.io/hostname": node } },
            "spec": { "holderIdentity": format!("{identity}_{}", random::uuid()), "leaseDurationSeconds": 3600,
                "renewTime": time } }))
    }

    /// Shows the control plane's static Pods as its kubelet mirrors them.
    fn static_pods(&self, node: &str) -> Result<(), StoreError> {
        let nodes = GroupResource::of("", "nodes");
        let owner = self.api.store().get(&nodes, "", node).map(|entry| entry.object.clone());
        let address = node_address(0);
        for (file, manifest) in manifests(self.cluster, node, address) {
            let path = format!("/etc/kubernetes/manifests/{file}");
            let Ok(read) = static_pods::parse(&manifest, &path, node, self.api.clock().now()) else {
                continue;
            };
            let mut pod = static_pods::mirror(&read, owner.as_deref());
            pod["metadata"]["generation"] = 1.into();
            pod["spec"]["preemptionPolicy"] = "PreemptLowerPriority".into();
            pod["status"] = self.running(&pod, address);
            self.add_as_is(pod)?;
        }
        Ok(())
    }

    fn running(&self, pod: &Value, address: Ipv4Addr) -> Value {
        let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": self.now });
        let statuses: Vec<Value> = pod["spec"]
            .items("containers")
            .iter()
            .map(|container| {
                let image = container.text("image");
                let digest = |what: &str| {
                    hex(ring::digest::digest(&ring::digest::SHA256, format!("{what} {image}").as_bytes())
                        .as_ref())
                };
                let repository = image.rsplit_once(':').map_or(image, |(repository, _)| repository);
                json!({ "name": container.text("name"), "image": image, "ready": true, "started": true,
                    "restartCount": 0, "lastState": {}, "state": { "running": { "startedAt": self.now } },
                    "imageID": format!("{repository}@sha256:{}", digest("image")),
                    "containerID": format!("containerd://{}", digest("container")),
                    "allocatedResources": container["resources"]["requests"],
                    "resources": { "requests": container["resources"]["requests"] } })
            })
            .collect();
        let kinds = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];
        json!({ "phase": "Running", "conditions": kinds.map(condition),
            "hostIP": address.to_string(), "hostIPs": [{ "ip": address.to_string() }],
            "podIP": address.to_string(), "podIPs": [{ "ip": address.to_string() }],
            "startTime": self.now, "containerStatuses": statuses, "qosClass": "Burstable" })
    }

    /// Writes the roles and bindings that are missing, and what is missing in those that are there.
    fn roles(&self) -> Result<(), StoreError> {
        let store = self.api.store();
        for (resource, expected) in rbac::bootstrap::objects() {
            let metadata = &expected["metadata"];
            let existing = store.get(&resource, metadata.text("namespace"), metadata.text("name"));
            let found = existing.as_ref().map(|entry| &*entry.object);
            match (rbac::bootstrap::reconcile(found, &expected), &existing) {
                (None, _) => {}
                (Some(wanted), None) => self.add(wanted)?,
                (Some(mut wanted), Some(existing)) => {
                    for field in ["uid", "creationTimestamp"] {
                        wanted["metadata"][field] = existing.object["metadata"][field].clone();
                    }
                    store.update(&resource, existing.namespace(), existing.name(), None, wanted)?;
                }
            }
        }
        Ok(())
    }

    /// Adds an object with its defaults, unless it is there.
    fn add(&self, mut object: Value) -> Result<(), StoreError> {
        let Some(kind) = GroupVersionKind::read(&object) else { return Ok(()) };
        self.complete(&mut object);
        defaults::apply(&kind.group, &kind.version, &kind.kind, &mut object);
        let status = object.get("status").cloned();
        let user = UserInfo::named("system:apiserver", &["system:masters"]);
        let facts = RequestFacts { user: &user, now: self.api.clock().now() };
        strategy::prepare_for_create(&kind.group, &kind.version, &kind.kind, &mut object, facts);
        if let Some(status) = status {
            object["status"] = status;
        }
        self.store(&kind, object)
    }

    fn add_as_is(&self, mut object: Value) -> Result<(), StoreError> {
        let Some(kind) = GroupVersionKind::read(&object) else { return Ok(()) };
        self.complete(&mut object);
        defaults::apply(&kind.group, &kind.version, &kind.kind, &mut object);
        self.store(&kind, object)
    }

    fn complete(&self, object: &mut Value) {
        object["metadata"]["uid"] = random::uuid().into();
        object["metadata"]["creationTimestamp"] = self.now.clone().into();
    }

    fn store(&self, kind: &GroupVersionKind, object: Value) -> Result<(), StoreError> {
        let resources = self.api.resources();
        let Some(resource) = resources.by_kind(&kind.group, &kind.version, &kind.kind) else { return Ok(()) };
        let metadata = &object["metadata"];
        let (namespace, name) = (metadata.text("namespace").to_owned(), metadata.text("name").to_owned());
        match self.api.store().create(&resource.storage, &namespace, &name, object) {
            Ok(_) | Err(StoreError::Exists) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Reads embedded documents and fills in their placeholders.
fn documents(text: &str, values: &BTreeMap<&'static str, String>) -> Vec<Value> {
    text.split("\n---\n")
        .filter_map(|document| super::api::parse_yaml(document).ok())
        .filter(Value::is_object)
        .map(|mut object| {
            fill(&mut object, values);
            object
        })
        .collect()
}

fn fill(value: &mut Value, values: &BTreeMap<&'static str, String>) {
    match value {
        Value::String(text) if text.contains("{{") => {
            for (placeholder, value) in values {
                *text = text.replace(placeholder, value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill(item, values)),
        Value::Object(fields) => fields.values_mut().for_each(|item| fill(item, values)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_embedded_document_is_read() {
        let values = BTreeMap::new();
        assert_eq!(documents(OBJECTS, &values).len(), OBJECTS.matches("\n---\n").count() + 1);
        assert_eq!(documents(NODE, &values).len(), 1);
        for (file, manifest) in manifests("c", "n", node_address(0)) {
            let pod = super::super::api::parse_yaml(&manifest).unwrap();
            assert_eq!(format!("{}.yaml", pod["metadata"].text("name")), file);
            assert!(!manifest.contains("{{"), "{file}");
        }
    }
}
