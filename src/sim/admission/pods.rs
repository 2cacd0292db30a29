//! Reading Pods and the workloads that make them: where the spec is, and its containers in upstream's order.

use serde_json::Value;

use crate::sim::resource::GroupResource;

/// `pods`
pub static PODS: GroupResource = GroupResource::of("", "pods");
/// `namespaces`
pub static NAMESPACES: GroupResource = GroupResource::of("", "namespaces");

/// Returns every container of a Pod's spec: init containers, containers, ephemeral containers.
pub(crate) fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|list| items(&spec[list]))
}

/// Returns the elements of a list; none when it is not there.
pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// Returns the text of a field; empty when it is not there.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object[field].as_str().unwrap_or_default()
}

/// Returns the Pod template of a workload: what has `metadata` and `spec` of the Pods it makes.
pub(crate) fn template<'a>(group: &str, resource: &str, object: &'a Value) -> Option<&'a Value> {
    let template = match (group, resource) {
        ("", "podtemplates") => object.get("template")?,
        ("", "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => object.get("spec")?.get("template")?,
        ("batch", "cronjobs") => object.get("spec")?.get("jobTemplate")?.get("spec")?.get("template")?,
        _ => return None,
    };
    template.is_object().then_some(template)
}
