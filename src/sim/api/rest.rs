//! Verbs on stored objects, behind authorization: the order in which an object is defaulted, admitted, prepared,
//! validated and written. Objects here are of the version in which requests work on the resource.

mod delete;
mod update;

use std::sync::Arc;

use serde_json::Value;

pub(crate) use update::Updated;

use super::call::Call;
use super::definitions::DEFINITIONS;
use super::{Api, convert, steps};
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Asked, Operation};
use crate::sim::authz::escalation;
use crate::sim::object::Fields as _;
use crate::sim::random;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;
use crate::sim::store::{Entry, StoreError};

/// How often a name is generated anew when there is such an object.
const NAME_ATTEMPTS: usize = 8;
/// The longest name that a suffix is added to.
const GENERATED_BASE: usize = 58;

impl Api {
    /// Returns an object.
    pub(crate) async fn read(&self, call: &Call) -> Result<Arc<Entry>, Status> {
        self.loaded(&call.resource, self.held(call)?).await
    }

    /// Returns an object as the store holds it.
    fn held(&self, call: &Call) -> Result<Arc<Entry>, Status> {
        let entry = self.store().get(&call.resource.storage, &call.namespace, &call.name);
        entry.ok_or_else(|| Status::not_found(&call.gr(), &call.name))
    }

    /// Creates an object.
    pub(crate) async fn create(&self, call: &mut Call, mut object: Value) -> Result<Arc<Value>, Status> {
        place(call, &mut object)?;
        let versioned = !matches!(object["metadata"].text("resourceVersion"), "" | "0");
        complete_metadata(&mut object, &now(self));
        steps::default(call, &mut object);
        let generated = call.name.is_empty() && object["metadata"].text("name").is_empty();
        let mut attempt = 1;
        loop {
            match self.create_once(call, object.clone(), generated, versioned).await {
                Err(status) if generated && status.reason == "AlreadyExists" && attempt < NAME_ATTEMPTS => {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    async fn create_once(
        &self,
        call: &mut Call,
        mut object: Value,
        generated: bool,
        versioned: bool,
    ) -> Result<Arc<Value>, Status> {
        steps::track(call, None, &mut object, self.clock().now());
        let mut request = self.admission_request(call, Operation::Create, Some(object), None);
        let admitted = self.admission().admit(&self.admission_cx(), &mut request).await;
        self.collect(call, &mut request);
        admitted?;
        let mut object = request.object.take().unwrap_or_default();
        self.check_escalation(call, &object, None)?;
        // What changes objects sees a name that is yet to be generated as none.
        if generated {
            generate_name(&mut object);
            object["metadata"].text("name").clone_into(&mut request.name);
        }
        let _allocating = self.allocating(call).await;
        steps::allocate(call, self.store(), &mut object, None)?;
        steps::prepare_for_create(call, &mut object, self.clock().now());
        let errors = steps::validate_create(call, &object);
        if !errors.is_empty() {
            let kind = &call.resource.working_kind;
            return Err(Status::invalid(
                &call.resource.group,
                &kind.kind,
                object["metadata"].text("name"),
                &errors,
            ));
        }
        for warning in steps::warnings_on_create(call, &object) {
            call.warn(warning);
        }
        request.object = Some(object);
        let validated = self.admission().validate(&self.admission_cx(), &mut request).await;
        self.collect(call, &mut request);
        validated?;
        let object = request.object.take().unwrap_or_default();
        let name = object["metadata"].text("name").to_owned();
        let storage = &call.resource.storage;
        if call.options.dry_run {
            if self.store().get(storage, &call.namespace, &name).is_some() {
                return Err(Status::already_exists(&call.gr(), &name));
            }
            return Ok(Arc::new(object));
        }
        if versioned {
            return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        let object = self.saved(&call.resource, object).await?;
        let entry = self.store().create(storage, &call.namespace, &name, object);
        let entry = entry.map_err(|error| failure(error, &call.gr(), &name))?;
        request.commit();
        self.written(call, entry).await
    }

    /// Holds back other writers of what shares addresses and ports until this one is stored.
    async fn allocating(&self, call: &Call) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        if steps::allocates(call) { Some(self.0.allocating.lock().await) } else { None }
    }

    /// Lets the server itself act on what was written.
    async fn written(&self, call: &Call, entry: Arc<Entry>) -> Result<Arc<Value>, Status> {
        if call.resource.storage == DEFINITIONS {
            self.refresh_definitions().map_err(Status::internal)?;
        }
        Ok(self.loaded(&call.resource, entry).await?.object.clone())
    }

    /// Holds writers of roles and bindings to what they hold themselves.
    fn check_escalation(&self, call: &Call, object: &Value, old: Option<&Value>) -> Result<(), Status> {
        let write = escalation::Write {
            user: &call.user,
            resource: &call.resource.storage,
            namespace: &call.namespace,
            name: &call.name,
            object,
            old,
        };
        escalation::check(&self.authorizer(), &write)
    }

    pub(super) fn admission_cx(&self) -> AdmissionCx<'_> {
        AdmissionCx {
            store: self.store(),
            authorizer: self.authorizer(),
            resources: self.resources(),
            clock: &**self.clock(),
        }
    }

    pub(super) fn admission_request(
        &self,
        call: &Call,
        operation: Operation,
        object: Option<Value>,
        old_object: Option<Arc<Value>>,
    ) -> AdmissionRequest {
        let kind = &call.resource.working_kind;
        let mut namespace = call.namespace.clone();
        let mut name = call.name.clone();
        if name.is_empty() {
            object.as_ref().map_or("", |o| o["metadata"].text("name")).clone_into(&mut name);
        }
        if call.resource.plural == "namespaces" && call.resource.group.is_empty() {
            namespace.clone_from(&name);
        }
        AdmissionRequest {
            user: call.user.clone(),
            operation,
            group: kind.group.clone(),
            version: kind.version.clone(),
            kind: kind.kind.clone(),
            resource: call.resource.plural.clone(),
            subresource: call.subresource.clone(),
            namespace,
            name,
            object,
            old_object,
            options: call.options.raw.clone(),
            dry_run: call.options.dry_run,
            warnings: Vec::new(),
            audit_annotations: Default::default(),
            asked: Asked {
                resource: (!convert::is_working_version(&call.resource)).then(|| call.resource.clone()),
                kind: call
                    .resource
                    .subresource(&call.subresource)
                    .map(|sub| sub.kind.clone())
                    .filter(|kind| !kind.version.is_empty()),
                custom: call.custom.clone(),
            },
            reinvocation: Default::default(),
            reservations: Vec::new(),
        }
    }

    /// Admits an object that is created through a subresource and is not the resource's own kind.
    pub(super) async fn admit_other(
        &self,
        call: &mut Call,
        kind: &str,
        object: &mut Value,
    ) -> Result<(), Status> {
        let mut request = self.admission_request(call, Operation::Create, Some(object.take()), None);
        kind.clone_into(&mut request.kind);
        let cx = self.admission_cx();
        let mut judged = self.admission().admit(&cx, &mut request).await;
        if judged.is_ok() {
            judged = self.admission().validate(&cx, &mut request).await;
        }
        self.collect(call, &mut request);
        judged?;
        *object = request.object.take().unwrap_or_default();
        Ok(())
    }

    pub(super) fn collect(&self, call: &mut Call, request: &mut AdmissionRequest) {
        for warning in request.warnings.drain(..) {
            call.warn(warning);
        }
        call.audit_annotations.append(&mut request.audit_annotations);
    }
}

/// Returns the time as metadata carries it.
pub(crate) fn now(api: &Api) -> String {
    timestamp(api.clock().now())
}

/// Writes a time as metadata carries it: whole seconds.
pub(crate) fn timestamp(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Sets the namespace of the request in the object, and holds the object to the request.
fn place(call: &Call, object: &mut Value) -> Result<(), Status> {
    let inside = object["metadata"].text("namespace");
    if call.namespace.is_empty() {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("namespace");
        }
    } else if inside.is_empty() {
        object["metadata"]["namespace"] = call.namespace.clone().into();
    } else if inside != call.namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if !call.name.is_empty() && object["metadata"].text("name").is_empty() {
        object["metadata"]["name"] = call.name.clone().into();
    }
    Ok(())
}

/// Gives an object that wants it a name of its own.
fn generate_name(object: &mut Value) {
    let base: String = object["metadata"].text("generateName").chars().take(GENERATED_BASE).collect();
    if !base.is_empty() && object["metadata"].text("name").is_empty() {
        object["metadata"]["name"] = format!("{base}{}", random::suffix(5)).into();
    }
}

/// Gives a new object what only the server may say.
fn complete_metadata(object: &mut Value, now: &str) {
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Default::default());
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        for field in
            ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "generation"]
        {
            metadata.remove(field);
        }
        metadata.insert("uid".to_owned(), random::uuid().into());
        metadata.insert("creationTimestamp".to_owned(), now.into());
    }
}

/// Words what the store refused.
pub(crate) fn failure(error: StoreError, gr: &GroupResource, name: &str) -> Status {
    match error {
        StoreError::Exists => Status::already_exists(gr, name),
        StoreError::NotFound => Status::not_found(gr, name),
        StoreError::Conflict => Status::conflict(gr, name, MODIFIED),
        StoreError::TooDeep => Status::bad_request(error.to_string()),
        // A full disk says so itself.
        StoreError::Io(cause) => Status::internal(format!("failed to write the store: {cause}")),
        other => Status::internal(other),
    }
}

/// Why an optimistic write was refused.
pub(crate) const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";
