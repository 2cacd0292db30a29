//! NodeRestriction: a kubelet changes its own Node, its own Pods, and what belongs to them.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::Value;

use super::pods::{PODS, items, text};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::attributes::Attributes;
use crate::sim::authz::node_of;
use crate::sim::object::{equal, remove};
use crate::sim::pki::request::SigningRequest;
use crate::sim::pod_refs::{self, MIRROR_ANNOTATION};
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

static NODES: GroupResource = GroupResource::of("", "nodes");
static SLICES: GroupResource = GroupResource::of("resource.k8s.io", "resourceslices");

/// Labels in Kubernetes' own name spaces that a kubelet may set on its Node.
const KUBELET_LABELS: &[&str] = &[
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// The plugin.
#[derive(Debug, Default)]
pub struct NodeRestriction;

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        let Some(node) = node_of(&request.user).map(ToOwned::to_owned) else { return Ok(()) };
        if node.is_empty() {
            let user = &request.user.username;
            return Err(request.forbidden(format!("could not determine node from user {user:?}")));
        }
        let judge = Judge { cx, request, node: &node };
        match (request.group.as_str(), request.resource.as_str()) {
            ("", "pods") => judge.pod(),
            ("", "nodes") => judge.node(),
            ("", "persistentvolumeclaims") => judge.claim(),
            ("", "serviceaccounts") => judge.token(),
            ("coordination.k8s.io", "leases") => judge.lease(),
            ("storage.k8s.io", "csinodes") => {
                judge.own_name("can only access CSINode with the same name as the requesting node")
            }
            ("resource.k8s.io", "resourceslices") => judge.slice(),
            ("certificates.k8s.io", "certificatesigningrequests") => judge.signing_request(),
            _ => Ok(()),
        }
    }
}

struct Judge<'a> {
    cx: &'a AdmissionCx<'a>,
    request: &'a AdmissionRequest,
    node: &'a str,
}

impl Judge<'_> {
    fn refuse(&self, why: impl std::fmt::Display) -> Result<(), Status> {
        Err(self.request.forbidden(why))
    }

    fn stored_pod(&self, name: &str) -> Result<std::sync::Arc<Value>, Status> {
        let namespace = &self.request.namespace;
        self.cx.get(&PODS, namespace, name).ok_or_else(|| Status::not_found(&PODS, name))
    }

    fn pod(&self) -> Result<(), Status> {
        let (request, node) = (self.request, self.node);
        let operation = request.operation;
        match (request.subresource.as_str(), operation) {
            ("", Operation::Create) => self.mirror_pod(),
            ("", Operation::Delete) => {
                if self.stored_pod(&request.name)?["spec"]["nodeName"] == node {
                    return Ok(());
                }
                self.refuse(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
            }
            ("", _) => self.refuse(format!(
                "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
                operation.as_str()
            )),
            ("status", Operation::Update) => self.pod_status(),
            ("status", _) => self.refuse(format!("unexpected operation {:?}", operation.as_str())),
            ("eviction", Operation::Create) => {
                let own = text(&request.object()["metadata"], "name");
                let name = if request.name.is_empty() { own } else { &request.name };
                if name.is_empty() {
                    return self.refuse("could not determine pod from request data");
                }
                if self.stored_pod(name)?["spec"]["nodeName"] == node {
                    return Ok(());
                }
                self.refuse(format!("node {node} can only evict pods with spec.nodeName set to itself"))
            }
            ("eviction", _) => self.refuse(format!("unexpected operation {}", operation.as_str())),
            (other, _) => self.refuse(format!(
                "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
            )),
        }
    }

    fn mirror_pod(&self) -> Result<(), Status> {
        let node = self.node;
        let pod = self.request.object();
        let (metadata, spec) = (&pod["metadata"], &pod["spec"]);
        if !pod_refs::is_mirror(pod) {
            return self.refuse(format!(
                "pod does not have {MIRROR_ANNOTATION:?} annotation, node {node:?} can only create mirror pods"
            ));
        }
        if spec["nodeName"] != node {
            return self
                .refuse(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
        }
        let owners: Vec<&Value> = items(&metadata["ownerReferences"]).collect();
        let itself = format!("node {node:?} can only create pods with an owner reference set to itself");
        let owner = match owners.as_slice() {
            [] => return self.refuse(itself),
            [owner] => *owner,
            _ => {
                return self.refuse(format!(
                    "node {node:?} can only create pods with a single owner reference set to itself"
                ));
            }
        };
        if owner["apiVersion"] != "v1" || owner["kind"] != "Node" || owner["name"] != node {
            return self.refuse(itself);
        }
        if owner["controller"] != true {
            return self.refuse(format!(
                "node {node:?} can only create pods with a controller owner reference set to itself"
            ));
        }
        if owner["blockOwnerDeletion"] == true {
            return self
                .refuse(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
        }
        let Some(own) = self.cx.get(&NODES, "", node) else { return Err(Status::not_found(&NODES, node)) };
        let (expected, found) = (text(owner, "uid"), text(&own["metadata"], "uid"));
        if expected != found {
            return self.refuse(format!("node {node} UID mismatch: expected {expected} got {found}"));
        }
        let cannot =
            |what: &str| self.refuse(format!("node {node:?} can not create pods that reference {what}"));
        if !text(spec, "serviceAccountName").is_empty() {
            return cannot("a service account");
        }
        if pod_refs::secrets(spec).next().is_some() {
            return cannot("secrets");
        }
        if pod_refs::config_maps(spec).next().is_some() {
            return cannot("configmaps");
        }
        let mut sources = items(&spec["volumes"]).flat_map(|volume| items(&volume["projected"]["sources"]));
        if sources.any(|source| source["clusterTrustBundle"].is_object()) {
            return cannot("clustertrustbundles");
        }
        if items(&spec["volumes"]).any(|volume| volume["persistentVolumeClaim"].is_object()) {
            return cannot("persistentvolumeclaims");
        }
        if items(&spec["resourceClaims"]).next().is_some() {
            return cannot("resourceclaims");
        }
        Ok(())
    }

    fn pod_status(&self) -> Result<(), Status> {
        let (node, new, old) = (self.node, self.request.object(), self.request.old());
        if old["spec"]["nodeName"] != node {
            return self.refuse(format!(
                "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
            ));
        }
        if !equal(&old["metadata"]["labels"], &new["metadata"]["labels"]) {
            return self.refuse(format!("node {node:?} cannot update labels through pod status"));
        }
        if !equal(&old["status"]["resourceClaimStatuses"], &new["status"]["resourceClaimStatuses"]) {
            return self.refuse(format!("node {node:?} cannot update resource claim statuses"));
        }
        Ok(())
    }

    fn node(&self) -> Result<(), Status> {
        let (request, node) = (self.request, self.node);
        let (new, old) = (request.object(), request.old());
        let forbidden = forbidden_labels(&new["metadata"]["labels"], &old["metadata"]["labels"]);
        let creates = request.operation == Operation::Create;
        if creates && !forbidden.is_empty() {
            return self.refuse(format!(
                "node {node:?} is not allowed to set the following labels: {}",
                forbidden.join(", ")
            ));
        }
        let requested = match request.name.as_str() {
            "" if creates => text(&new["metadata"], "name"),
            name => name,
        };
        if requested != node {
            return self.refuse(format!("node {node:?} is not allowed to modify node {requested:?}"));
        }
        if request.operation == Operation::Update {
            if !equal(&new["spec"]["taints"], &old["spec"]["taints"]) {
                return self.refuse(format!("node {node:?} is not allowed to modify taints"));
            }
            if !equal(&new["metadata"]["ownerReferences"], &old["metadata"]["ownerReferences"]) {
                return self.refuse(format!("node {node:?} is not allowed to modify ownerReferences"));
            }
            if !forbidden.is_empty() {
                return self.refuse(format!("is not allowed to modify labels: {}", forbidden.join(", ")));
            }
        }
        Ok(())
    }

    fn claim(&self) -> Result<(), Status> {
        let (request, node) = (self.request, self.node);
        if request.subresource != "status" {
            return self.refuse("may only update PVC status");
        }
        if request.operation != Operation::Update {
            return self.refuse(format!("unexpected operation {:?}", request.operation.as_str()));
        }
        let rest = |claim: &Value| {
            let mut claim = claim.clone();
            for field in ["capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"] {
                remove(&mut claim["status"], field);
            }
            remove(&mut claim["metadata"], "managedFields");
            claim
        };
        if equal(&rest(request.object()), &rest(request.old())) {
            return Ok(());
        }
        self.refuse(format!(
            "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
        ))
    }

    fn token(&self) -> Result<(), Status> {
        let request = self.request;
        if request.operation != Operation::Create || request.subresource != "token" {
            return Ok(());
        }
        let spec = &request.object()["spec"];
        let bound = &spec["boundObjectRef"];
        let name = text(bound, "name");
        if bound["apiVersion"] != "v1" || bound["kind"] != "Pod" || name.is_empty() {
            return self.refuse("node requested token not bound to a pod");
        }
        let uid = text(bound, "uid");
        if uid.is_empty() {
            return self.refuse("node requested token with a pod binding without a uid");
        }
        let pod = self.stored_pod(name)?;
        if uid != text(&pod["metadata"], "uid") {
            return self.refuse(format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
            ));
        }
        if pod["spec"]["nodeName"] != self.node {
            return self.refuse("node requested token bound to a pod scheduled on a different node");
        }
        let audiences: Vec<&str> = items(&spec["audiences"]).filter_map(Value::as_str).collect();
        let audience = match audiences.as_slice() {
            [] => "",
            [one] => *one,
            _ => return self.refuse("node may only request 0 or 1 audiences"),
        };
        self.audience(&pod, audience)
    }

    /// A token for another audience must be wanted by the Pod, or be allowed in so many words.
    fn audience(&self, pod: &Value, audience: &str) -> Result<(), Status> {
        let wanted = items(&pod["spec"]["volumes"])
            .flat_map(|volume| items(&volume["projected"]["sources"]))
            .filter(|source| source["serviceAccountToken"].is_object())
            .any(|source| text(&source["serviceAccountToken"], "audience") == audience);
        let asked = Attributes {
            user: self.request.user.clone(),
            verb: "request-serviceaccounts-token-audience".to_owned(),
            version: "v1".to_owned(),
            resource: audience.to_owned(),
            namespace: self.request.namespace.clone(),
            name: self.request.name.clone(),
            ..Attributes::default()
        };
        // A request without a resource would be one for a path.
        if wanted || (!audience.is_empty() && self.cx.authorizer.authorize(&asked).is_allowed()) {
            return Ok(());
        }
        self.refuse(format!(
            "audience {audience:?} not found in pod spec volume, {} is not authorized to request tokens for this audience",
            self.request.user.username
        ))
    }

    fn lease(&self) -> Result<(), Status> {
        if self.request.namespace != "kube-node-lease" {
            return self.refuse(r#"can only access leases in the "kube-node-lease" system namespace"#);
        }
        self.own_name("can only access node lease with the same name as the requesting node")
    }

    fn own_name(&self, otherwise: &str) -> Result<(), Status> {
        let own = text(&self.request.object()["metadata"], "name");
        let name = if self.request.operation == Operation::Create { own } else { &self.request.name };
        if name == self.node { Ok(()) } else { self.refuse(otherwise) }
    }

    fn slice(&self) -> Result<(), Status> {
        let (verb, slice) = match self.request.operation {
            Operation::Create => ("create", self.request.object().clone()),
            Operation::Delete => {
                let stored = self.cx.get(&SLICES, "", &self.request.name);
                ("delete", stored.map(|slice| (*slice).clone()).unwrap_or_default())
            }
            _ => return Ok(()),
        };
        if slice["spec"]["nodeName"] == self.node {
            return Ok(());
        }
        self.refuse(format!("can only {verb} ResourceSlice with the same NodeName as the requesting node"))
    }

    fn signing_request(&self) -> Result<(), Status> {
        let request = self.request;
        let spec = &request.object()["spec"];
        let signer = text(spec, "signerName");
        let is_kubelets =
            matches!(signer, "kubernetes.io/kubelet-serving" | "kubernetes.io/kube-apiserver-client-kubelet");
        if request.operation != Operation::Create || !request.subresource.is_empty() || !is_kubelets {
            return Ok(());
        }
        match super::certificates::parse(spec) {
            Ok(SigningRequest { common_name, .. }) if common_name == format!("system:node:{}", self.node) => {
                Ok(())
            }
            Ok(_) => self.refuse(format!("can only create a node CSR with CN=system:node:{}", self.node)),
            Err(error) => self.refuse(format!("unable to parse csr: {error}")),
        }
    }
}

/// Returns the labels that differ and that a kubelet may not touch.
fn forbidden_labels(new: &Value, old: &Value) -> Vec<String> {
    let keys = |labels: &Value| -> BTreeSet<String> {
        labels.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    let all: BTreeSet<String> = keys(new).union(&keys(old)).cloned().collect();
    all.into_iter().filter(|key| new.get(key) != old.get(key)).filter(|key| is_forbidden(key)).collect()
}

fn is_forbidden(label: &str) -> bool {
    let space = label.split_once('/').map_or("", |(space, _)| space);
    let within = |domain: &str| space == domain || space.ends_with(&format!(".{domain}"));
    if within("node-restriction.kubernetes.io") {
        return true;
    }
    let is_kubernetes = within("kubernetes.io") || within("k8s.io");
    let is_kubelets =
        KUBELET_LABELS.contains(&label) || within("kubelet.kubernetes.io") || within("node.kubernetes.io");
    is_kubernetes && !is_kubelets
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::admission::testing::{Cluster, create, delete, update};
    use crate::sim::attributes::UserInfo;

    fn as_node(mut request: AdmissionRequest) -> AdmissionRequest {
        request.user = UserInfo::named("system:node:w", &["system:nodes"]);
        request
    }

    fn judge(cluster: &Cluster, request: AdmissionRequest) -> Result<(), String> {
        cluster.admit(&NodeRestriction, &mut as_node(request)).map_err(|refusal| refusal.message)
    }

    fn node(name: &str, labels: Value) -> Value {
        json!({"metadata": {"name": name, "uid": "u", "labels": labels}, "spec": {}})
    }

    fn pod(name: &str, node: &str) -> Value {
        json!({"metadata": {"name": name, "namespace": "n", "uid": "pod-uid"}, "spec": {"nodeName": node}})
    }

    #[test]
    fn a_node_changes_itself_alone_and_not_what_steers_pods() {
        let cluster = Cluster::new();
        let change = |name: &str, patch: &dyn Fn(&mut Value)| {
            let mut new = node(name, json!({}));
            patch(&mut new);
            judge(&cluster, update("", "nodes", node(name, json!({})), new))
        };
        change("w", &|_| {}).unwrap();
        assert_eq!(
            change("x", &|_| {}).unwrap_err(),
            r#"nodes "x" is forbidden: node "w" is not allowed to modify node "x""#
        );
        assert_eq!(
            change("w", &|node| node["spec"]["taints"] = json!([{"key": "a"}])).unwrap_err(),
            r#"nodes "w" is forbidden: node "w" is not allowed to modify taints"#
        );
        assert_eq!(
            change("w", &|node| node["metadata"]["ownerReferences"] = json!([{"uid": "x"}])).unwrap_err(),
            r#"nodes "w" is forbidden: node "w" is not allowed to modify ownerReferences"#
        );
        for (label, allowed) in [
            ("node-restriction.kubernetes.io/x", false),
            ("a.node-restriction.kubernetes.io/x", false),
            ("node-role.kubernetes.io/master", false),
            ("x.k8s.io/y", false),
            ("kubernetes.io/other", false),
            ("kubernetes.io/hostname", true),
            ("node.kubernetes.io/anything", true),
            ("kubelet.kubernetes.io/x", true),
            ("example.com/x", true),
            ("plain", true),
        ] {
            let result = change("w", &|node| node["metadata"]["labels"] = json!({label: "v"}));
            let refused = format!(r#"nodes "w" is forbidden: is not allowed to modify labels: {label}"#);
            assert_eq!(result, if allowed { Ok(()) } else { Err(refused) });
        }
        let labels = json!({"node-restriction.kubernetes.io/b": "", "a.k8s.io/b": ""});
        assert_eq!(
            judge(&cluster, create("", "nodes", node("w", labels))).unwrap_err(),
            r#"nodes "w" is forbidden: node "w" is not allowed to set the following labels: a.k8s.io/b, node-restriction.kubernetes.io/b"#
        );
        let kept = node("w", json!({"node-role.kubernetes.io/x": ""}));
        judge(&cluster, update("", "nodes", kept.clone(), kept)).unwrap();
    }

    #[test]
    fn a_node_creates_bare_mirror_pods_of_its_own() {
        let cluster = Cluster::new().with(&NODES, node("w", json!({})));
        let mirror = || {
            let mut pod = pod("m", "w");
            pod["metadata"]["annotations"] = json!({ MIRROR_ANNOTATION: "x" });
            pod["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "v1", "kind": "Node", "name": "w", "uid": "u", "controller": true}]);
            pod
        };
        judge(&cluster, create("", "pods", mirror())).unwrap();
        let why = |patch: &dyn Fn(&mut Value)| {
            let mut pod = mirror();
            patch(&mut pod);
            let message = judge(&cluster, create("", "pods", pod)).unwrap_err();
            message.strip_prefix(r#"pods "m" is forbidden: "#).unwrap().to_owned()
        };
        assert_eq!(
            why(&|pod| pod["metadata"]["annotations"] = json!({})),
            r#"pod does not have "kubernetes.io/config.mirror" annotation, node "w" can only create mirror pods"#
        );
        assert_eq!(
            why(&|pod| pod["spec"]["nodeName"] = json!("x")),
            r#"node "w" can only create pods with spec.nodeName set to itself"#
        );
        assert_eq!(
            why(&|pod| pod["metadata"]["ownerReferences"] = json!([])),
            r#"node "w" can only create pods with an owner reference set to itself"#
        );
        assert_eq!(
            why(&|pod| pod["metadata"]["ownerReferences"][0]["uid"] = json!("other")),
            "node w UID mismatch: expected other got u"
        );
        for (spec, what) in [
            (json!({"serviceAccountName": "a"}), "a service account"),
            (json!({"volumes": [{"secret": {"secretName": "s"}}]}), "secrets"),
            (json!({"volumes": [{"configMap": {"name": "c"}}]}), "configmaps"),
            (json!({"volumes": [{"persistentVolumeClaim": {"claimName": "c"}}]}), "persistentvolumeclaims"),
            (json!({"resourceClaims": [{"name": "c"}]}), "resourceclaims"),
        ] {
            let message =
                why(&|pod| pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone()));
            assert_eq!(message, format!(r#"node "w" can not create pods that reference {what}"#));
        }
    }

    #[test]
    fn a_node_touches_the_pods_bound_to_it() {
        let cluster = Cluster::new().with(&PODS, pod("mine", "w")).with(&PODS, pod("other", "x"));
        judge(&cluster, delete("", "pods", pod("mine", "w"))).unwrap();
        assert_eq!(
            judge(&cluster, delete("", "pods", pod("other", "x"))).unwrap_err(),
            r#"pods "other" is forbidden: node "w" can only delete pods with spec.nodeName set to itself"#
        );
        assert!(
            judge(&cluster, update("", "pods", pod("mine", "w"), pod("mine", "w")))
                .unwrap_err()
                .contains("unexpected operation \"UPDATE\"")
        );
        let status = |pod: Value, new: Value| {
            let mut request = update("", "pods", pod, new);
            request.subresource = "status".into();
            judge(&cluster, request)
        };
        status(pod("mine", "w"), pod("mine", "w")).unwrap();
        assert!(status(pod("other", "x"), pod("other", "x")).is_err());
        let mut labelled = pod("mine", "w");
        labelled["metadata"]["labels"] = json!({"a": "b"});
        assert!(
            status(pod("mine", "w"), labelled)
                .unwrap_err()
                .contains("cannot update labels through pod status")
        );
    }

    #[test]
    fn tokens_are_for_the_pods_of_the_node() {
        let mut mine = pod("mine", "w");
        mine["spec"]["volumes"] =
            json!([{"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]);
        let cluster = Cluster::new().with(&PODS, mine).with(&PODS, pod("other", "x"));
        let token = |spec: Value| {
            let mut request =
                create("", "serviceaccounts", json!({"metadata": {"namespace": "n"}, "spec": spec}));
            (request.subresource, request.name) = ("token".into(), "sa".into());
            judge(&cluster, request).map_err(|message| {
                message.strip_prefix(r#"serviceaccounts "sa" is forbidden: "#).unwrap().to_owned()
            })
        };
        let bound = |pod: &str, uid: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}});
        token(bound("mine", "pod-uid")).unwrap();
        assert_eq!(token(json!({})).unwrap_err(), "node requested token not bound to a pod");
        assert_eq!(
            token(bound("mine", "")).unwrap_err(),
            "node requested token with a pod binding without a uid"
        );
        assert!(
            token(bound("mine", "old"))
                .unwrap_err()
                .starts_with("the UID in the bound object reference (old)")
        );
        assert_eq!(
            token(bound("other", "pod-uid")).unwrap_err(),
            "node requested token bound to a pod scheduled on a different node"
        );
        let mut vault = bound("mine", "pod-uid");
        vault["audiences"] = json!(["vault"]);
        assert_eq!(
            token(vault).unwrap_err(),
            r#"audience "vault" not found in pod spec volume, system:node:w is not authorized to request tokens for this audience"#
        );
    }

    #[test]
    fn leases_and_claims_are_bounded() {
        let cluster = Cluster::new();
        let lease = |name: &str, namespace: &str| {
            let lease = json!({"metadata": {"name": name, "namespace": namespace}});
            judge(&cluster, create("coordination.k8s.io", "leases", lease))
        };
        lease("w", "kube-node-lease").unwrap();
        assert!(lease("x", "kube-node-lease").is_err());
        assert!(lease("w", "n").is_err());
        let claim = |capacity: &str, mode: &str| {
            json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"volumeMode": mode},
                "status": {"capacity": {"storage": capacity}}})
        };
        let change = |new: Value, subresource: &str| {
            let mut request = update("", "persistentvolumeclaims", claim("1Gi", "Block"), new);
            request.subresource = subresource.into();
            judge(&cluster, request)
        };
        change(claim("2Gi", "Block"), "status").unwrap();
        assert!(change(claim("2Gi", "Filesystem"), "status").is_err());
        assert!(change(claim("2Gi", "Block"), "").unwrap_err().ends_with("may only update PVC status"));
    }

    #[test]
    fn others_are_not_restricted() {
        let mut request = create("", "nodes", node("x", json!({"node-restriction.kubernetes.io/a": ""})));
        Cluster::new().admit(&NodeRestriction, &mut request).unwrap();
        let mut unknown = create("", "nodes", node("x", json!({})));
        unknown.user = UserInfo::named("kubelet", &["system:nodes"]);
        assert!(
            Cluster::new()
                .admit(&NodeRestriction, &mut unknown)
                .unwrap_err()
                .message
                .contains("could not determine node")
        );
    }
}
