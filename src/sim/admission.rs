//! The admission chain: what stands between an authorized write and the store.
//! Owns the order and the contract of the plugins; each plugin is a file of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use super::api::resources::{GroupVersionKind, Resource, Resources};
use super::attributes::UserInfo;
use super::authz::Authorizer;
use super::crd::CustomVersion;
use super::resource::GroupResource;
use super::status::Status;
use super::store::Store;
use crate::clock::Clock;

pub mod always;
pub mod always_pull_images;
pub mod certificates;
mod chain;
mod compiled;
pub mod default_ingress_class;
pub mod default_toleration_seconds;
pub mod deny_service_external_ips;
pub(crate) mod expression;
pub mod image_policy;
pub mod limit_ranger;
pub(crate) mod matching;
pub mod mutating_policy;
pub mod namespace_exists;
pub mod namespace_lifecycle;
pub mod node_restriction;
pub mod owner_references;
pub(crate) mod params;
pub mod placement;
pub mod pod_security;
pub(crate) mod pods;
pub mod priority;
pub(crate) mod reinvocation;
pub mod resource_quota;
pub mod runtime_class;
pub mod service_account;
pub mod storage;
#[cfg(test)]
pub(crate) mod testing;
pub mod validating_policy;
pub(crate) mod versioned;
pub mod webhook;

use reinvocation::Reinvocation;

pub use chain::{Chain, Settings, SettingsError};

/// What a request does to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// A new object.
    Create,
    /// A change of an object, patches included.
    Update,
    /// The end of an object.
    Delete,
    /// A connection to an object, such as `pods/exec`.
    Connect,
}

impl Operation {
    /// Returns the name that admission reviews carry: `CREATE`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// A request on its way through the chain. Mutating plugins change `object`.
pub struct AdmissionRequest {
    /// Who asks.
    pub user: UserInfo,
    /// What is done.
    pub operation: Operation,
    /// The group of the resource.
    pub group: String,
    /// The version that the request names, in which `object` is.
    pub version: String,
    /// The kind of `object`: of the subresource's own object where it has one, such as `PodExecOptions`.
    pub kind: String,
    /// The plural.
    pub resource: String,
    /// The subresource, or nothing.
    pub subresource: String,
    /// The namespace; empty for cluster scope. For a namespace itself, its name.
    pub namespace: String,
    /// The name in the request; empty on a create that generates one.
    pub name: String,
    /// The object to be written; none on a delete.
    pub object: Option<Value>,
    /// The object as it is, on an update or delete.
    pub old_object: Option<Arc<Value>>,
    /// CreateOptions, UpdateOptions or DeleteOptions.
    pub options: Value,
    /// Whether nothing is to be kept.
    pub dry_run: bool,
    /// Warnings for the client.
    pub warnings: Vec<String>,
    /// Annotations for the audit event.
    pub audit_annotations: BTreeMap<String, String>,
    /// How the client names what it sends.
    pub asked: Asked,
    /// What is to be asked again once all have had their turn.
    pub(crate) reinvocation: Reinvocation,
    /// What plugins hold until the write is done; see [`Reservation`].
    pub reservations: Vec<Box<dyn Reservation>>,
}

/// How a client names and shapes what it sends, where that is not as it is stored.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// The resource in the version of the request; none where that is the stored one.
    pub resource: Option<Arc<Resource>>,
    /// The kind of an object that a subresource has for itself, such as `autoscaling/v1` `Scale`.
    pub kind: Option<GroupVersionKind>,
    /// What the version of a custom resource asks of its objects.
    pub custom: Option<Arc<CustomVersion>>,
}

/// Something a plugin holds from its judgement until the write: a lock, and what is to be kept of it.
///
/// Dropped without `commit`, when the write fails, it must leave no trace.
pub trait Reservation: Send + Sync {
    /// The write has happened.
    fn commit(self: Box<Self>);
}

impl AdmissionRequest {
    /// Returns the resource that is written.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::named(self.group.clone(), self.resource.clone())
    }

    /// Returns group and version of the resource as the client names it.
    pub(crate) fn asked_version(&self) -> (&str, &str) {
        match &self.asked.resource {
            Some(resource) => (&resource.group, &resource.version),
            None => (&self.group, &self.version),
        }
    }

    /// Returns group and version of the kind of the object, of a resource in this group and version.
    pub(crate) fn kind_version<'a>(&'a self, group: &'a str, version: &'a str) -> (&'a str, &'a str) {
        self.asked.kind.as_ref().map_or((group, version), |kind| (&kind.group, &kind.version))
    }

    /// Tells whether the request is for this resource itself, no subresource.
    pub fn is_for(&self, resource: &GroupResource) -> bool {
        self.subresource.is_empty() && self.concerns(resource)
    }

    /// Tells whether the request is for this resource or a subresource of it.
    pub fn concerns(&self, resource: &GroupResource) -> bool {
        self.resource == resource.resource && self.group == resource.group
    }

    /// Returns the object to be written, or null.
    pub fn object(&self) -> &Value {
        self.object.as_ref().unwrap_or(&Value::Null)
    }

    /// Returns the object as it is, or null.
    pub fn old(&self) -> &Value {
        self.old_object.as_deref().unwrap_or(&Value::Null)
    }

    /// Returns the name that refusals carry: of the request, the object, or what its name will begin with.
    pub fn display_name(&self) -> &str {
        if !self.name.is_empty() {
            return &self.name;
        }
        let metadata = &self.object()["metadata"];
        let filled = |field: &str| metadata[field].as_str().filter(|text| !text.is_empty());
        filled("name").or_else(|| filled("generateName")).unwrap_or("Unknown!")
    }

    /// Words a refusal: `pods "x" is forbidden: why`.
    pub fn forbidden(&self, why: impl fmt::Display) -> Status {
        Status::forbidden(&self.group_resource(), self.display_name(), why)
    }

    /// Adds a warning for the client, once.
    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// Tells the plugins that the write has happened. On a failed write, drop the request instead.
    pub fn commit(&mut self) {
        for reservation in self.reservations.drain(..) {
            reservation.commit();
        }
    }
}

impl fmt::Debug for AdmissionRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdmissionRequest")
            .field("operation", &self.operation)
            .field("resource", &self.group_resource().to_string())
            .field("subresource", &self.subresource)
            .field("namespace", &self.namespace)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What plugins may look at and ask.
#[derive(Clone)]
pub struct AdmissionCx<'a> {
    /// The objects of the cluster.
    pub store: &'a Store,
    /// Who may do what.
    pub authorizer: std::sync::Arc<Authorizer>,
    /// What is served at the moment.
    pub resources: Arc<Resources>,
    /// The time.
    pub clock: &'a dyn Clock,
}

impl AdmissionCx<'_> {
    /// Returns an object; the namespace is empty for cluster-scoped resources.
    pub fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.store.get(resource, namespace, name).map(|entry| entry.object.clone())
    }

    /// Returns the objects of one namespace, or of all.
    pub fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Vec<Arc<Value>> {
        self.store.list(resource, namespace).into_iter().map(|entry| entry.object.clone()).collect()
    }
}

/// One admission plugin.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// Returns the name by which it is enabled and disabled.
    fn name(&self) -> &'static str;

    /// Changes the object, or refuses the request. Runs before validation.
    ///
    /// # Errors
    /// The refusal.
    async fn admit(&self, _cx: &AdmissionCx<'_>, _request: &mut AdmissionRequest) -> Result<(), Status> {
        Ok(())
    }

    /// Refuses the request or lets it pass; the object no longer changes. Runs after validation.
    ///
    /// # Errors
    /// The refusal.
    async fn validate(&self, _cx: &AdmissionCx<'_>, _request: &mut AdmissionRequest) -> Result<(), Status> {
        Ok(())
    }
}
