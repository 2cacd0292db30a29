//! What tests of plugins share: a cluster of fixed objects and requests against it.

use std::sync::Arc;

use serde_json::Value;

use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::clock::ManualClock;
use crate::sim::attributes::UserInfo;
use crate::sim::authz::{Authorizer, Mode};
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;
use crate::sim::view::Objects;

/// A cluster for one test.
pub(crate) struct Cluster {
    pub objects: Objects,
    pub modes: Vec<Mode>,
}

impl Cluster {
    pub fn new() -> Self {
        Self { objects: Objects::default(), modes: vec![Mode::Rbac] }
    }

    pub fn with(mut self, resource: &GroupResource, object: Value) -> Self {
        self.objects.insert(resource, object);
        self
    }

    pub fn admit(&self, plugin: &dyn Plugin, request: &mut AdmissionRequest) -> Result<(), Status> {
        self.run(|cx| block_on(plugin.admit(cx, request)))
    }

    pub fn validate(&self, plugin: &dyn Plugin, request: &mut AdmissionRequest) -> Result<(), Status> {
        self.run(|cx| block_on(plugin.validate(cx, request)))
    }

    fn run<T>(&self, act: impl FnOnce(&AdmissionCx<'_>) -> T) -> T {
        let authorizer = Authorizer::new(self.modes.clone(), Arc::new(self.objects.clone()));
        let clock = ManualClock::new(jiff::Timestamp::UNIX_EPOCH);
        act(&AdmissionCx { view: &self.objects, authorizer: &authorizer, clock: &clock })
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A create of `object` as an ordinary user.
pub(crate) fn create(group: &str, resource: &str, object: Value) -> AdmissionRequest {
    let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    AdmissionRequest {
        user: UserInfo::named("jane", &[]),
        operation: Operation::Create,
        group: group.to_owned(),
        version: "v1".to_owned(),
        kind: object["kind"].as_str().unwrap_or_default().to_owned(),
        resource: resource.to_owned(),
        subresource: String::new(),
        namespace: if resource == "namespaces" { field("name") } else { field("namespace") },
        name: field("name"),
        object: Some(object),
        old_object: None,
        options: Value::Null,
        dry_run: false,
        warnings: Vec::new(),
        audit_annotations: Default::default(),
        reservations: Vec::new(),
    }
}

/// An update of `old` to `object`.
pub(crate) fn update(group: &str, resource: &str, old: Value, object: Value) -> AdmissionRequest {
    let mut request = create(group, resource, object);
    request.operation = Operation::Update;
    request.old_object = Some(Arc::new(old));
    request
}

/// A delete of `old`.
pub(crate) fn delete(group: &str, resource: &str, old: Value) -> AdmissionRequest {
    let mut request = create(group, resource, old);
    request.operation = Operation::Delete;
    request.old_object = request.object.take().map(Arc::new);
    request
}
