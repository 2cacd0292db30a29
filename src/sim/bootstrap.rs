//! What a fresh cluster has: namespaces, the `kubernetes` Service, nodes, system workloads, roles. Written past admission,
//! as a control plane writes its own beginnings; run at every start, it adds what is missing.

use serde_json::{Value, json};

use super::api::{Api, timestamp};
use super::object::Fields as _;
use super::resource::GroupResource;
use super::store::StoreError;
use super::{defaults, random, rbac};

/// Brings the objects of a fresh cluster into the store.
///
/// # Errors
/// [`StoreError::Io`] when they cannot be written.
pub fn run(api: &Api, nodes: &[String]) -> Result<(), StoreError> {
    let _ = nodes;
    let now = timestamp(api.clock().now());
    let mut objects: Vec<(GroupResource, Value)> = Vec::new();
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        objects.push((
            GroupResource::of("", "namespaces"),
            json!({ "apiVersion": "v1", "kind": "Namespace",
                "metadata": { "name": name, "labels": { "kubernetes.io/metadata.name": name } },
                "spec": { "finalizers": ["kubernetes"] }, "status": { "phase": "Active" } }),
        ));
    }
    for (resource, object) in objects {
        add(api, &resource, object, &now)?;
    }
    for (resource, expected) in rbac::bootstrap::objects() {
        let metadata = &expected["metadata"];
        let existing = api.store().get(&resource, metadata.text("namespace"), metadata.text("name"));
        if let Some(wanted) = rbac::bootstrap::reconcile(existing.as_ref().map(|e| &*e.object), &expected) {
            if let Some(existing) = existing {
                api.store().update(&resource, existing.namespace(), existing.name(), None, wanted)?;
            } else {
                add(api, &resource, wanted, &now)?;
            }
        }
    }
    Ok(())
}

fn add(api: &Api, resource: &GroupResource, mut object: Value, now: &str) -> Result<(), StoreError> {
    let (namespace, name) =
        (object["metadata"].text("namespace").to_owned(), object["metadata"].text("name").to_owned());
    if api.store().get(resource, &namespace, &name).is_some() {
        return Ok(());
    }
    object["metadata"]["uid"] = random::uuid().into();
    object["metadata"]["creationTimestamp"] = now.into();
    let (version, kind) = (object.text("apiVersion").to_owned(), object.text("kind").to_owned());
    let (group, version) = super::api::resources::split_api_version(&version);
    defaults::apply(group, version, &kind, &mut object);
    match api.store().create(resource, &namespace, &name, object) {
        Ok(_) | Err(StoreError::Exists) => Ok(()),
        Err(error) => Err(error),
    }
}
