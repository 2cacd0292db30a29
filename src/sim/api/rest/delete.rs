//! Deleting: preconditions, grace, finalizers, and what becomes of dependents.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::Api;
use super::super::call::Call;
use super::super::definitions::DEFINITIONS;
use super::update::is_finished;
use super::{MODIFIED, failure, timestamp};
use crate::sim::admission::Operation;
use crate::sim::client::DeleteOptions;
use crate::sim::crd;
use crate::sim::object::Fields as _;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;
use crate::sim::store::{Entry, StoreError};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What a delete has done.
pub(crate) struct Deleted {
    /// The object as it is, or last was.
    pub(crate) object: Arc<Value>,
    /// Whether it is gone.
    pub(crate) gone: bool,
}

impl Api {
    /// Deletes an object, or begins to.
    pub(crate) async fn delete(&self, call: &mut Call, options: &DeleteOptions) -> Result<Deleted, Status> {
        for _ in 0..64 {
            let old = self.read(call).await?;
            let mut request = self.admission_request(call, Operation::Delete, None, Some(old.object.clone()));
            let cx = self.admission_cx();
            let mut judged = self.admission().admit(&cx, &mut request).await;
            if judged.is_ok() {
                judged = self.admission().validate(&cx, &mut request).await;
            }
            self.collect(call, &mut request);
            judged?;
            check_preconditions(call, &old, options)?;
            let step = next_step(call, &old.object, options, self.clock().now());
            if call.options.dry_run || options.dry_run {
                return Ok(match step {
                    Step::Keep => Deleted { object: old.object.clone(), gone: false },
                    Step::Mark(marked) => Deleted { object: Arc::new(marked), gone: false },
                    Step::Remove => Deleted { object: old.object.clone(), gone: true },
                });
            }
            let (storage, revision) = (&call.resource.storage, Some(old.revision));
            let written = match step {
                Step::Keep => return Ok(Deleted { object: old.object.clone(), gone: false }),
                Step::Mark(marked) => {
                    let marked = self.saved(&call.resource, marked).await?;
                    self.store()
                        .update(storage, &call.namespace, &call.name, revision, marked)
                        .map(|entry| (entry, false))
                }
                Step::Remove => self
                    .store()
                    .delete(storage, &call.namespace, &call.name, revision)
                    .map(|entry| (entry, true)),
            };
            match written {
                Ok((entry, gone)) => {
                    request.commit();
                    if call.resource.storage == DEFINITIONS {
                        self.refresh_definitions().map_err(Status::internal)?;
                    }
                    let object = self.loaded(&call.resource, entry).await?.object.clone();
                    return Ok(Deleted { object, gone });
                }
                Err(StoreError::Conflict | StoreError::NotFound) => {}
                Err(error) => return Err(failure(error, &call.gr(), &call.name)),
            }
        }
        Err(Status::conflict(&call.gr(), &call.name, MODIFIED))
    }
}

fn check_preconditions(call: &Call, old: &Entry, options: &DeleteOptions) -> Result<(), Status> {
    // Upstream names the kind here, where it names the resource in every other conflict.
    let kind = GroupResource::named(call.resource.group.clone(), call.resource.storage_kind.kind.clone());
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != old.uid()) {
        let detail = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            old.uid()
        );
        return Err(Status::conflict(&kind, &call.name, detail));
    }
    let current = old.revision.to_string();
    if let Some(version) = options.resource_version.as_deref().filter(|version| *version != current) {
        let detail = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record \
             ({current}). The object might have been modified"
        );
        return Err(Status::conflict(&kind, &call.name, detail));
    }
    Ok(())
}

enum Step {
    /// It is on its way already.
    Keep,
    /// It is to be stored with a deletion timestamp.
    Mark(Value),
    /// Nothing holds it.
    Remove,
}

fn next_step(call: &Call, old: &Value, options: &DeleteOptions, now: jiff::Timestamp) -> Step {
    let deleting = old["metadata"].has("deletionTimestamp");
    let grace = grace_period(call, old, options);
    let mut new = old.clone();
    let finalizers = finalizers(call, old, options);
    if finalizers.is_empty() {
        if let Some(metadata) = new["metadata"].as_object_mut() {
            metadata.remove("finalizers");
        }
    } else {
        new["metadata"]["finalizers"] = finalizers.into();
    }
    if deleting {
        // A second request may only shorten the wait.
        let left = old["metadata"].int("deletionGracePeriodSeconds").unwrap_or_default();
        if grace < left {
            let shorter = jiff::SignedDuration::from_secs(left - grace);
            let ends = old["metadata"].text("deletionTimestamp").parse::<jiff::Timestamp>().unwrap_or(now);
            new["metadata"]["deletionTimestamp"] = timestamp(ends - shorter).into();
            new["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        }
    } else {
        let ends = now + jiff::SignedDuration::from_secs(grace);
        new["metadata"]["deletionTimestamp"] = timestamp(ends).into();
        new["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        if let Some(generation) = new["metadata"].int("generation").filter(|g| *g > 0) {
            new["metadata"]["generation"] = (generation + 1).into();
        }
        if call.resource.storage == DEFINITIONS {
            crd::begin_deletion(&mut new, &timestamp(now));
        }
        if is_namespace(call) {
            new["status"]["phase"] = json!("Terminating");
            // A namespace is held by its own finalizers and carries no grace period.
            if let Some(metadata) = new["metadata"].as_object_mut() {
                metadata.remove("deletionGracePeriodSeconds");
            }
        }
    }
    if is_finished(&new) {
        Step::Remove
    } else if new == *old {
        Step::Keep
    } else {
        Step::Mark(new)
    }
}

fn is_namespace(call: &Call) -> bool {
    call.resource.group.is_empty() && call.resource.plural == "namespaces"
}

/// Returns for how long an object is to stay; only Pods on a node do.
fn grace_period(call: &Call, object: &Value, options: &DeleteOptions) -> i64 {
    if !(call.resource.group.is_empty() && call.resource.plural == "pods") {
        return 0;
    }
    let own = object["spec"].int("terminationGracePeriodSeconds").unwrap_or(30);
    let period = options.grace_period_seconds.unwrap_or(own);
    let period = if period < 0 { 1 } else { period };
    let unscheduled = object["spec"].text("nodeName").is_empty();
    let ended = matches!(object["status"].text("phase"), "Failed" | "Succeeded");
    if unscheduled || ended { 0 } else { period }
}

/// Returns the finalizers that the object is to have by the policy for its dependents.
fn finalizers(call: &Call, object: &Value, options: &DeleteOptions) -> Vec<String> {
    let own: Vec<String> = object["metadata"].texts("finalizers").into_iter().map(str::to_owned).collect();
    let has = |name: &str| own.iter().any(|finalizer| finalizer == name);
    let (orphan, foreground) = match options.propagation_policy.as_deref() {
        Some("Orphan") => (true, false),
        Some("Foreground") => (false, true),
        Some(_) => (false, false),
        None if has(ORPHAN) => (true, false),
        None if has(FOREGROUND) => (false, true),
        None => (orphans_by_default(call), false),
    };
    let mut kept: Vec<String> = own.iter().filter(|f| *f != ORPHAN && *f != FOREGROUND).cloned().collect();
    if orphan {
        kept.push(ORPHAN.to_owned());
    }
    if foreground {
        kept.push(FOREGROUND.to_owned());
    }
    kept
}

fn orphans_by_default(call: &Call) -> bool {
    matches!(
        (call.resource.group.as_str(), call.resource.plural.as_str()),
        ("batch", "jobs") | ("", "replicationcontrollers")
    )
}
