//! The Node authorizer: a kubelet reads what the Pods bound to its node need, and little else.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::sim::attributes::{Attributes, UserInfo};
use crate::sim::object::Fields;
use crate::sim::pod_refs;
use crate::sim::rbac::{Decision, Rule, bootstrap};
use crate::sim::resource::GroupResource;
use crate::sim::view::View;

static PODS: GroupResource = GroupResource::of("", "pods");
static VOLUMES: GroupResource = GroupResource::of("", "persistentvolumes");
static CLAIMS: GroupResource = GroupResource::of("", "persistentvolumeclaims");
static ATTACHMENTS: GroupResource = GroupResource::of("storage.k8s.io", "volumeattachments");
static SLICES: GroupResource = GroupResource::of("resource.k8s.io", "resourceslices");

/// Returns the node that a user is: nothing for others, empty for a member of `system:nodes` with another name.
pub(crate) fn node_of(user: &UserInfo) -> Option<&str> {
    let is_node = user.in_group("system:nodes");
    is_node.then(|| user.username.strip_prefix("system:node:").unwrap_or_default())
}

/// Decides by the relation of objects to the Pods of a node.
pub(super) struct NodeAuthorizer {
    view: Arc<dyn View>,
    /// What every node may do with resources that have no relation to Pods.
    rules: Vec<Rule>,
}

impl fmt::Debug for NodeAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeAuthorizer").finish_non_exhaustive()
    }
}

fn allow() -> Decision {
    Decision::Allow { reason: String::new() }
}

fn pass(reason: impl Into<String>) -> Decision {
    Decision::NoOpinion { reason: reason.into() }
}

impl NodeAuthorizer {
    pub(super) fn new(view: Arc<dyn View>) -> Self {
        let rules = bootstrap::objects()
            .iter()
            .find(|(_, object)| {
                object["kind"] == "ClusterRole" && object["metadata"]["name"] == "system:node"
            })
            .map(|(_, role)| Rule::list_of(role))
            .unwrap_or_default();
        Self { view, rules }
    }

    pub(super) fn authorize(&self, request: &Attributes) -> Decision {
        let Some(node) = node_of(&request.user) else { return pass("") };
        if node.is_empty() {
            return pass(format!("unknown node for user {:?}", request.user.username));
        }
        match (request.group.as_str(), request.resource.as_str()) {
            ("", "secrets" | "configmaps") => self.read_namespaced(node, request),
            ("", "persistentvolumeclaims") if request.subresource == "status" => {
                if matches!(request.verb.as_str(), "update" | "patch") {
                    self.related(node, request)
                } else {
                    pass("can only get/update/patch this type")
                }
            }
            ("", "persistentvolumeclaims" | "persistentvolumes")
            | ("resource.k8s.io", "resourceclaims")
            | ("storage.k8s.io", "volumeattachments") => self.get_one(node, request),
            ("", "serviceaccounts") => self.create_token(node, request),
            ("coordination.k8s.io", "leases") => lease(node, request),
            ("storage.k8s.io", "csinodes") => csi_node(node, request),
            ("resource.k8s.io", "resourceslices") => self.slice(node, request),
            ("", "nodes") => node_object(node, request),
            ("", "pods") => self.pod(node, request),
            _ if self.rules.iter().any(|rule| rule.allows(request)) => allow(),
            _ => pass(""),
        }
    }

    fn get_one(&self, node: &str, request: &Attributes) -> Decision {
        if request.verb != "get" {
            return pass("can only get individual resources of this type");
        }
        if !request.subresource.is_empty() {
            return pass("cannot get subresource");
        }
        self.related(node, request)
    }

    fn read_namespaced(&self, node: &str, request: &Attributes) -> Decision {
        if !matches!(request.verb.as_str(), "get" | "list" | "watch") {
            return pass("can only read resources of this type");
        }
        if !request.subresource.is_empty() {
            return pass("cannot read subresource");
        }
        if request.namespace.is_empty() {
            return pass("can only read namespaced object of this type");
        }
        self.related(node, request)
    }

    fn create_token(&self, node: &str, request: &Attributes) -> Decision {
        if request.verb != "create" || request.name.is_empty() {
            return pass("can only create tokens for individual service accounts");
        }
        if request.subresource != "token" {
            return pass("can only create token subresource of serviceaccount");
        }
        self.related(node, request)
    }

    fn slice(&self, node: &str, request: &Attributes) -> Decision {
        if !request.subresource.is_empty() {
            return pass("cannot authorize ResourceSlice subresources");
        }
        match request.verb.as_str() {
            "create" => allow(),
            "get" | "update" | "patch" | "delete" => self.related(node, request),
            "watch" | "list" | "deletecollection"
                if selects(&request.field_selector, "spec.nodeName", node) =>
            {
                allow()
            }
            "watch" | "list" | "deletecollection" => {
                pass("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => pass(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn pod(&self, node: &str, request: &Attributes) -> Decision {
        match (request.subresource.as_str(), request.verb.as_str()) {
            ("", "get") => self.get_one(node, request),
            ("", "list" | "watch") if selects(&request.field_selector, "spec.nodeName", node) => allow(),
            ("", "list" | "watch") if !request.name.is_empty() => self.related(node, request),
            ("", "list" | "watch") => pass("can only list/watch pods with spec.nodeName field selector"),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => allow(),
            _ => pass(""),
        }
    }

    fn related(&self, node: &str, request: &Attributes) -> Decision {
        if request.name.is_empty() {
            return pass("No Object name found");
        }
        if self.is_related(node, request) {
            allow()
        } else {
            pass(format!("no relationship found between node '{node}' and this object"))
        }
    }

    fn is_related(&self, node: &str, request: &Attributes) -> bool {
        let (namespace, name) = (request.namespace.as_str(), request.name.as_str());
        let any =
            |refers: &dyn Fn(&Value) -> bool| self.pods_of(node, namespace).iter().any(|pod| refers(pod));
        match request.resource.as_str() {
            "pods" => any(&|pod| pod["metadata"]["name"] == name),
            "secrets" => {
                any(&|pod| pod_refs::secrets(&pod["spec"]).any(|own| own == name))
                    || self.volumes_of(node).iter().any(|volume| uses_secret(volume, namespace, name))
            }
            "configmaps" => any(&|pod| pod_refs::config_maps(&pod["spec"]).any(|own| own == name)),
            "serviceaccounts" => any(&|pod| pod["spec"]["serviceAccountName"] == name),
            "persistentvolumeclaims" => any(&|pod| pod_refs::claims(pod).iter().any(|own| own == name)),
            "resourceclaims" => any(&|pod| pod_refs::resource_claims(pod).any(|own| own == name)),
            "persistentvolumes" => {
                self.volumes_of(node).iter().any(|volume| volume["metadata"]["name"] == name)
            }
            "volumeattachments" => {
                self.view.get(&ATTACHMENTS, "", name).is_some_and(|it| it["spec"]["nodeName"] == node)
            }
            "resourceslices" => {
                self.view.get(&SLICES, "", name).is_some_and(|it| it["spec"]["nodeName"] == node)
            }
            _ => false,
        }
    }

    /// Returns the Pods bound to a node. Mirror Pods are the kubelet's own account of itself and open nothing.
    fn pods_of(&self, node: &str, namespace: &str) -> Vec<Arc<Value>> {
        let mut pods = self.view.list(&PODS, (!namespace.is_empty()).then_some(namespace));
        pods.retain(|pod| pod["spec"]["nodeName"] == node && !pod_refs::is_mirror(pod));
        pods
    }

    /// Returns the volumes that the claims of a node's Pods are bound to.
    fn volumes_of(&self, node: &str) -> Vec<Arc<Value>> {
        let claims: Vec<(String, String)> = self
            .pods_of(node, "")
            .iter()
            .flat_map(|pod| {
                let namespace = pod["metadata"].text("namespace").to_owned();
                pod_refs::claims(pod).into_iter().map(move |claim| (namespace.clone(), claim))
            })
            .filter(|(namespace, claim)| self.view.get(&CLAIMS, namespace, claim).is_some())
            .collect();
        let mut volumes = self.view.list(&VOLUMES, None);
        volumes.retain(|volume| {
            let claim = &volume["spec"]["claimRef"];
            claims.iter().any(|(namespace, name)| claim["namespace"] == *namespace && claim["name"] == *name)
        });
        volumes
    }
}

/// Tells whether a volume names a Secret; one without a namespace is in that of the claim.
fn uses_secret(volume: &Value, namespace: &str, name: &str) -> bool {
    let spec = &volume["spec"];
    let claim_namespace = spec["claimRef"].text("namespace");
    let in_namespace = |reference: &Value| {
        let own = reference.text("namespace");
        namespace == if own.is_empty() { claim_namespace } else { own }
    };
    let azure = &spec["azureFile"];
    if azure["secretName"] == name {
        let own = azure.text("secretNamespace");
        return namespace == if own.is_empty() { claim_namespace } else { own };
    }
    let sources = spec.as_object().into_iter().flatten().map(|(_, source)| source);
    sources
        .flat_map(|source| source.as_object().into_iter().flatten())
        .filter(|(field, _)| *field == "secretRef" || field.ends_with("SecretRef"))
        .any(|(_, reference)| reference["name"] == name && in_namespace(reference))
}

fn lease(node: &str, request: &Attributes) -> Decision {
    if !matches!(request.verb.as_str(), "get" | "create" | "update" | "patch" | "delete") {
        return pass("can only get, create, update, patch, or delete a node lease");
    }
    if request.namespace != "kube-node-lease" {
        return pass(r#"can only access leases in the "kube-node-lease" system namespace"#);
    }
    if request.verb != "create" && request.name != node {
        return pass("can only access node lease with the same name as the requesting node");
    }
    allow()
}

fn csi_node(node: &str, request: &Attributes) -> Decision {
    if !matches!(request.verb.as_str(), "get" | "create" | "update" | "patch" | "delete") {
        return pass("can only get, create, update, patch, or delete a CSINode");
    }
    if !request.subresource.is_empty() {
        return pass("cannot authorize CSINode subresources");
    }
    if request.verb != "create" && request.name != node {
        return pass("can only access CSINode with the same name as the requesting node");
    }
    allow()
}

fn node_object(node: &str, request: &Attributes) -> Decision {
    match (request.subresource.as_str(), request.verb.as_str()) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => allow(),
        ("", "get" | "list" | "watch") if request.name == node => allow(),
        ("", "get" | "list" | "watch") if request.name.is_empty() => {
            pass(format!("node '{node}' cannot read all nodes, only its own Node object"))
        }
        ("", "get" | "list" | "watch") => {
            pass(format!("node '{node}' cannot read '{}', only its own Node object", request.name))
        }
        _ => pass(""),
    }
}

/// Tells whether a field selector asks for one value of a field, whatever else it asks.
fn selects(selector: &str, field: &str, value: &str) -> bool {
    selector.split(',').any(|part| {
        let pair = part.split_once("==").or_else(|| part.split_once('='));
        pair.is_some_and(|(own, wanted)| own == field && wanted == value)
    })
}
