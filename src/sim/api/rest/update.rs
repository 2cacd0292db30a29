//! Replacing an object, by a new one or by a function of the old one.

use std::sync::Arc;

use serde_json::Value;

use super::super::call::Call;
use super::super::{Api, steps};
use super::{MODIFIED, failure, place};
use crate::sim::admission::Operation;
use crate::sim::field::{FieldError, Path};
use crate::sim::managed_fields::differ_only_in_times;
use crate::sim::object::Fields as _;
use crate::sim::status::Status;
use crate::sim::store::{Entry, StoreError};

/// How often a write without a resourceVersion is tried when others write at the same time.
const ATTEMPTS: usize = 5;

/// An object as it is after an update, and whether the update created it.
pub(crate) struct Updated {
    pub(crate) object: Arc<Value>,
    pub(crate) created: bool,
}

impl Api {
    /// Replaces an object by what `make` makes of it; `make` is called again when others have written meanwhile.
    ///
    /// `make` is given nothing where there is no object, and then its result is created.
    pub(crate) async fn update<F>(
        &self,
        call: &mut Call,
        may_create: bool,
        make: F,
    ) -> Result<Updated, Status>
    where
        F: Fn(Option<&Arc<Value>>) -> Result<Value, Status>,
    {
        let mut attempt = 1;
        loop {
            let old = self.store().get(&call.resource.storage, &call.namespace, &call.name);
            let Some(old) = old else {
                if !may_create {
                    return Err(Status::not_found(&call.gr(), &call.name));
                }
                let new = make(None)?;
                if !new["metadata"].text("uid").is_empty() {
                    let detail = format!(
                        "uid mismatch: the provided object specified uid {}, and no existing object was found",
                        new["metadata"].text("uid")
                    );
                    return Err(Status::conflict(&call.gr(), &call.name, detail));
                }
                let object = self.create(call, new).await?;
                return Ok(Updated { object, created: true });
            };
            let old = self.loaded(&call.resource, old).await?;
            let new = make(Some(&old.object))?;
            let expected = new["metadata"].text("resourceVersion").to_owned();
            match self.replace(call, &old, new).await {
                // Only who named a version must know that it is gone.
                Err(Outcome::Raced) if attempt < ATTEMPTS && (expected.is_empty() || expected == "0") => {
                    attempt += 1
                }
                Err(Outcome::Raced) => return Err(Status::conflict(&call.gr(), &call.name, MODIFIED)),
                Err(Outcome::Refused(status)) => return Err(status),
                Ok(object) => return Ok(Updated { object, created: false }),
            }
        }
    }

    async fn replace(
        &self,
        call: &mut Call,
        old: &Arc<Entry>,
        mut new: Value,
    ) -> Result<Arc<Value>, Outcome> {
        let gr = call.gr();
        let expected = new["metadata"].text("resourceVersion").to_owned();
        let uid = new["metadata"].text("uid");
        // Only a whole object names the one it means to replace; a patch that changes the uid is invalid.
        if call.replaces() && !uid.is_empty() && uid != old.uid() {
            let detail = format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: \
                 Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                storage_key(call),
                old.uid()
            );
            return Err(Status::conflict(&gr, &call.name, detail).into());
        }
        if call.replaces() && matches!(&*expected, "" | "0") && !steps::updates_unconditionally(call) {
            let error = FieldError::invalid(
                &Path::new("metadata").child("resourceVersion"),
                serde_json::json!("0x0"),
                "must be specified for an update",
            );
            let error = FieldError { shown: Some("0x0".to_owned()), ..error };
            let plural = &call.resource.plural;
            return Err(Status::invalid(&call.resource.group, plural, &call.name, &vec![error]).into());
        }
        if !expected.is_empty() && expected != "0" && expected != old.revision.to_string() {
            return Err(Status::conflict(&gr, &call.name, MODIFIED).into());
        }
        place(call, &mut new)?;
        keep_metadata(&mut new, &old.object);
        steps::default(call, &mut new);
        steps::track(call, Some(&old.object), &mut new, self.clock().now());
        let mut request =
            self.admission_request(call, Operation::Update, Some(new), Some(old.object.clone()));
        if !call.admitted {
            let admitted = self.admission().admit(&self.admission_cx(), &mut request).await;
            self.collect(call, &mut request);
            admitted?;
        }
        let mut new = request.object.take().unwrap_or_default();
        self.check_escalation(call, &new, Some(&old.object))?;
        let _allocating = self.allocating(call).await;
        steps::allocate(call, self.store(), &mut new, Some(&old.object))?;
        steps::prepare_for_update(call, &mut new, &old.object, self.clock().now());
        let errors = steps::validate_update(call, &new, &old.object);
        if !errors.is_empty() {
            let kind = &call.resource.working_kind.kind;
            return Err(Status::invalid(&call.resource.group, kind, &call.name, &errors).into());
        }
        for warning in steps::warnings_on_update(call, &new, &old.object) {
            call.warn(warning);
        }
        request.object = Some(new);
        if !call.admitted {
            let validated = self.admission().validate(&self.admission_cx(), &mut request).await;
            self.collect(call, &mut request);
            validated?;
        }
        let new = request.object.take().unwrap_or_default();
        if call.options.dry_run {
            return Ok(Arc::new(new));
        }
        let new = if differ_only_in_times(&new, &old.object) { Value::clone(&old.object) } else { new };
        let new = self.saved(&call.resource, new).await?;
        let (storage, revision) = (&call.resource.storage, Some(old.revision));
        let written = if is_finished(&new) {
            self.store().delete(storage, &call.namespace, &call.name, revision)
        } else {
            self.store().update(storage, &call.namespace, &call.name, revision, new)
        };
        match written {
            Ok(entry) => {
                request.commit();
                Ok(self.written(call, entry).await?)
            }
            Err(StoreError::Conflict | StoreError::NotFound) => Err(Outcome::Raced),
            Err(error) => Err(failure(error, &gr, &call.name).into()),
        }
    }

    /// Changes an object as the server itself, past admission and validation.
    pub(crate) fn edit(
        &self,
        call: &Call,
        change: impl Fn(&mut Value) -> Result<(), Status>,
    ) -> Result<Arc<Value>, Status> {
        for _ in 0..64 {
            let old = self.held(call)?;
            let mut new = Value::clone(&old.object);
            change(&mut new)?;
            if call.options.dry_run {
                return Ok(Arc::new(new));
            }
            match self.store().update(
                &call.resource.storage,
                &call.namespace,
                &call.name,
                Some(old.revision),
                new,
            ) {
                Ok(entry) => return Ok(entry.object.clone()),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(failure(error, &call.gr(), &call.name)),
            }
        }
        Err(Status::conflict(&call.gr(), &call.name, MODIFIED))
    }
}

/// Returns the key under which upstream keeps an object, as its messages show it.
fn storage_key(call: &Call) -> String {
    let resource = match (&*call.resource.group, &*call.resource.plural) {
        ("", "services") => "services/specs",
        ("", "endpoints") => "services/endpoints",
        ("", "nodes") => "minions",
        ("", "replicationcontrollers") => "controllers",
        ("networking.k8s.io", "ingresses") => "ingress",
        (_, plural) => plural,
    };
    let group = match &*call.resource.group {
        group @ ("apiextensions.k8s.io" | "apiregistration.k8s.io") => format!("/{group}"),
        group if call.custom.is_some() => format!("/{group}"),
        _ => String::new(),
    };
    let namespace = if call.namespace.is_empty() { String::new() } else { format!("/{}", call.namespace) };
    format!("/registry{group}/{resource}{namespace}/{}", call.name)
}

enum Outcome {
    /// Somebody else wrote in between.
    Raced,
    Refused(Status),
}

impl From<Status> for Outcome {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

/// Keeps in a replacement what only the server may say.
fn keep_metadata(new: &mut Value, old: &Value) {
    if !new["metadata"].is_object() {
        new["metadata"] = Value::Object(Default::default());
    }
    let (Some(new), Some(old)) = (new["metadata"].as_object_mut(), old["metadata"].as_object()) else {
        return;
    };
    for field in ["uid"] {
        if new.get(field).and_then(Value::as_str).unwrap_or_default().is_empty() {
            match old.get(field) {
                Some(value) => new.insert(field.to_owned(), value.clone()),
                None => new.remove(field),
            };
        }
    }
    for field in ["generation", "creationTimestamp", "resourceVersion"] {
        match old.get(field) {
            Some(value) => new.insert(field.to_owned(), value.clone()),
            None => new.remove(field),
        };
    }
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        if let Some(value) = old.get(field) {
            new.insert(field.to_owned(), value.clone());
        }
    }
    new.remove("selfLink");
}

/// Tells whether nothing holds an object any longer whose deletion was asked for.
pub(super) fn is_finished(object: &Value) -> bool {
    let metadata = &object["metadata"];
    metadata.has("deletionTimestamp")
        && metadata.int("deletionGracePeriodSeconds").unwrap_or_default() == 0
        && metadata.items("finalizers").is_empty()
        && (object.text("kind") != "Namespace" || object["spec"].items("finalizers").is_empty())
}
