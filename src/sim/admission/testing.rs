//! What tests of plugins share: a cluster of fixed objects and requests against it.

use std::sync::Arc;

use serde_json::Value;

use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::clock::ManualClock;
use crate::sim::api::resources::Resources;
use crate::sim::attributes::UserInfo;
use crate::sim::authz::{Authorizer, Mode};
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;
use crate::sim::store::Store;

/// A cluster for one test.
pub(crate) struct Cluster {
    pub store: Store,
    pub modes: Vec<Mode>,
    pub clock: ManualClock,
}

impl Cluster {
    pub fn new() -> Self {
        let clock = ManualClock::new(jiff::Timestamp::UNIX_EPOCH);
        Self { store: Store::in_memory(), modes: vec![Mode::Rbac], clock }
    }

    /// Adds or replaces an object.
    pub fn with(self, resource: &GroupResource, object: Value) -> Self {
        self.put(resource, object);
        self
    }

    pub fn put(&self, resource: &GroupResource, object: Value) {
        let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (field("namespace"), field("name"));
        if self.store.get(resource, &namespace, &name).is_some() {
            self.store.update(resource, &namespace, &name, None, object).unwrap();
        } else {
            self.store.create(resource, &namespace, &name, object).unwrap();
        }
    }

    pub fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Value {
        (*self.store.get(resource, namespace, name).unwrap().object).clone()
    }

    pub fn admit(&self, plugin: &dyn Plugin, request: &mut AdmissionRequest) -> Result<(), Status> {
        self.run(|cx| block_on(plugin.admit(cx, request)))
    }

    pub fn validate(&self, plugin: &dyn Plugin, request: &mut AdmissionRequest) -> Result<(), Status> {
        self.run(|cx| block_on(plugin.validate(cx, request)))
    }

    fn run<T>(&self, act: impl FnOnce(&AdmissionCx<'_>) -> T) -> T {
        let authorizer = Arc::new(Authorizer::new(self.modes.clone(), Arc::new(self.store.clone())));
        let resources = Arc::new(Resources::builtin());
        act(&AdmissionCx { store: &self.store, authorizer, resources, clock: &self.clock })
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
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
        asked: Default::default(),
        reinvocation: Default::default(),
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
