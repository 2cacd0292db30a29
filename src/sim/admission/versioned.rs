//! The object of a request in the version that a webhook or a policy asks for, and the way back from what one has made
//! of it.

use std::sync::Arc;

use serde_json::Value;

use super::matching::Matched;
use super::{AdmissionCx, AdmissionRequest, Operation};
use crate::sim::api::resources::{GroupVersionKind, Resource};
use crate::sim::api::{conversion, convert, shape};
use crate::sim::crd::CustomVersion;
use crate::sim::defaults;
use crate::sim::object::Fields as _;
use crate::sim::schema::document::Document;
use crate::sim::status::Status;

/// Returns an object in the version that is asked for.
///
/// # Errors
/// When the webhook that converts a custom resource fails.
pub(crate) async fn versioned(
    cx: &AdmissionCx<'_>,
    request: &AdmissionRequest,
    matched: &Matched,
    object: &Value,
) -> Result<Value, Status> {
    match cx.resources.find(&matched.group, &matched.version, &matched.resource) {
        Some(resource) if !has_own_kind(request) && object.is_object() => {
            if resource.definition.is_some() {
                return conversion::in_version(cx.store, resource, object).await;
            }
            Ok(Value::clone(&convert::from_storage(resource, &Arc::new(object.clone()))))
        }
        _ => Ok(object.clone()),
    }
}

/// Reads what somebody has made of an object as an object of its kind again, with its defaults, as the request has it.
///
/// # Errors
/// Why it is none, in Go's words.
pub(crate) async fn read(
    cx: &AdmissionCx<'_>,
    request: &AdmissionRequest,
    matched: &Matched,
    changed: &Value,
) -> Result<Value, String> {
    let found = cx.resources.find(&matched.group, &matched.version, &matched.resource);
    let kind = kind_of(request, matched);
    let custom = found.and_then(|resource| custom_of(request, resource));
    let (mut object, _) = shape(&Document::from_value(changed), &kind, custom.as_deref())?;
    if changed.has("kind") {
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.as_str().into();
    }
    if has_own_kind(request) {
        return Ok(object);
    }
    if let Some(resource) = found {
        object = convert::to_storage(resource, object);
    }
    let own = cx.resources.find(&request.group, &request.version, &request.resource);
    match own.filter(|resource| resource.definition.is_some()) {
        Some(own) => {
            object = conversion::in_version(cx.store, own, &object).await.map_err(|status| status.message)?;
            if let Some(custom) = custom_of(request, own) {
                custom.apply_defaults(&mut object);
            }
        }
        None => defaults::apply(&request.group, &request.version, &request.kind, &mut object),
    }
    Ok(object)
}

/// Returns the kind of the object that is asked for.
pub(crate) fn kind_of(request: &AdmissionRequest, matched: &Matched) -> GroupVersionKind {
    let (group, version) = request.kind_version(&matched.group, &matched.version);
    GroupVersionKind::of(group, version, &matched.kind)
}

/// Returns what a custom resource asks of its objects; nothing for a built-in one.
pub(crate) fn custom_of(request: &AdmissionRequest, resource: &Resource) -> Option<Arc<CustomVersion>> {
    resource.definition.as_ref()?;
    if (resource.group.as_str(), resource.version.as_str()) == request.asked_version() {
        return request.asked.custom.clone();
    }
    CustomVersion::of(resource)
}

fn has_own_kind(request: &AdmissionRequest) -> bool {
    request.asked.kind.is_some() || request.operation == Operation::Connect
}
