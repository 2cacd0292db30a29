//! What the registry does with an object of a built-in kind around validation: status and spec are kept apart,
//! generations counted, what only the server may say is set or taken away, and what deserves a warning is told.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::attributes::UserInfo;
use super::object::{Fields, copy, equal, field_at, is_empty, remove, set};

mod certificates;
mod core;
mod kinds;
mod pod;
pub mod service;
mod warnings;
mod workloads;

pub use warnings::{deprecation, warnings_on_create, warnings_on_update};

/// What preparing an object may need of the request.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// When.
    pub now: Timestamp,
}

impl RequestFacts<'_> {
    /// Returns the time as objects carry it.
    fn timestamp(&self) -> Value {
        self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
    }
}

/// Prepares a new object before it is validated. `metadata` must be complete by then: name, namespace, uid,
/// creationTimestamp.
pub fn prepare_for_create(
    group: &str,
    version: &str,
    kind: &str,
    object: &mut Value,
    facts: RequestFacts<'_>,
) {
    let _ = version;
    let Some(traits) = kinds::of(group, kind) else { return };
    if traits.generation {
        set(field_at(object, "metadata"), "generation", 1);
    } else if let Some(metadata) = object.get_mut("metadata") {
        remove(metadata, "generation");
    }
    if let Some(status) = kinds::empty_status(group, kind) {
        *field_at(object, "status") = status;
    }
    match (group, kind) {
        ("", "Pod") => pod::create(object),
        ("", "Namespace") => core::namespace(object),
        ("", "Service") => service::prepare_create(object),
        ("", "ServiceAccount") => core::service_account(object),
        ("", "PersistentVolume") => {
            *field_at(object, "status") =
                json!({"phase": "Pending", "lastPhaseTransitionTime": facts.timestamp()});
        }
        ("", "PersistentVolumeClaim") => core::data_sources(object),
        ("batch", "Job") => workloads::job(object),
        ("apps", "DaemonSet") => workloads::daemon_set(object),
        ("certificates.k8s.io", "CertificateSigningRequest") => certificates::create(object, facts.user),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => core::stored_versions(object, &Value::Null),
        ("discovery.k8s.io", "EndpointSlice") => core::endpoint_slice(object),
        ("", "Endpoints") => core::endpoints(object),
        _ => {}
    }
    workloads::drop_disabled(group, kind, object, &Value::Null);
}

/// Prepares a changed object before it is validated: keeps from the old one what a request to this subresource (empty
/// for the object itself) may not change, and counts the generation up when the spec has changed.
pub fn prepare_for_update(
    group: &str,
    version: &str,
    kind: &str,
    subresource: &str,
    new: &mut Value,
    old: &Value,
    facts: RequestFacts<'_>,
) {
    let _ = version;
    let Some(traits) = kinds::of(group, kind) else { return };
    copy(field_at(new, "metadata"), old.at("metadata"), "generation");
    match subresource {
        "status" => {
            for field in traits.content {
                copy(new, old, field);
            }
        }
        "" if traits.status => {
            copy(new, old, "status");
        }
        _ => {}
    }
    match (group, kind, subresource) {
        ("", "Pod", _) => return pod::update(subresource, new, old),
        ("", "Namespace", _) => core::namespace_update(subresource, new, old),
        ("", "Service", "") => service::prepare_update(new, old),
        ("", "ServiceAccount", _) => core::service_account(new),
        ("", "Secret", _) if is_empty(new.at("type")) => {
            copy(new, old, "type");
        }
        ("", "PersistentVolume", "status") => core::phase_time(new, old, facts.timestamp()),
        ("", "PersistentVolumeClaim", "") => core::data_sources(new),
        ("apps", "Deployment", "status") => {
            copy(field_at(new, "metadata"), old.at("metadata"), "labels");
        }
        ("apps", "DaemonSet", "") => workloads::daemon_set_update(new, old),
        ("certificates.k8s.io", "CertificateSigningRequest", _) => {
            return certificates::update(subresource, new, old, &facts.timestamp());
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition", "") => core::stored_versions(new, old),
        ("", "Endpoints", _) => core::endpoints(new),
        _ => {}
    }
    workloads::drop_disabled(group, kind, new, old);
    if traits.generation && subresource.is_empty() && bumps(group, kind, traits.content, new, old) {
        let generation = old.at("metadata").int("generation").unwrap_or_default() + 1;
        set(field_at(new, "metadata"), "generation", generation);
    }
}

/// Tells whether a change is one that controllers have to look at.
fn bumps(group: &str, kind: &str, content: &[&str], new: &Value, old: &Value) -> bool {
    let annotations = |object: &Value| object.dig(&["metadata", "annotations"]).clone();
    let labels = |object: &Value| object.dig(&["metadata", "labels"]).clone();
    content.iter().any(|field| !equal(new.at(field), old.at(field)))
        || match (group, kind) {
            ("apps", "Deployment") => !equal(&annotations(new), &annotations(old)),
            ("discovery.k8s.io", "EndpointSlice") => !equal(&labels(new), &labels(old)),
            _ => false,
        }
}

/// Tells whether an update of an object that does not exist creates it.
pub fn creates_on_update(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("", "Endpoints" | "LimitRange" | "Event" | "Service")
            | ("events.k8s.io", "Event")
            | ("coordination.k8s.io", "Lease")
            | ("rbac.authorization.k8s.io", _)
    )
}

/// Tells whether a replacement that names no resourceVersion takes the place of whatever is there.
pub fn updates_unconditionally(group: &str, kind: &str) -> bool {
    !matches!(
        (group, kind),
        ("admissionregistration.k8s.io" | "apiextensions.k8s.io" | "apiregistration.k8s.io", _)
            | ("coordination.k8s.io", "Lease")
            | ("flowcontrol.apiserver.k8s.io", _)
            | ("node.k8s.io", "RuntimeClass")
            | ("policy", "PodDisruptionBudget")
            | ("storage.k8s.io", "CSIDriver" | "CSINode" | "VolumeAttachment" | "CSIStorageCapacity")
    )
}

#[cfg(test)]
mod tests;
