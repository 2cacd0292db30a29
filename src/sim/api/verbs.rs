//! Requests on resources: from verb and body to the registry's operations and back to an answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response};
use serde_json::{Value, json};

use super::answer::{self, Accepted, Body, Shape};
use super::call::{Call, FieldValidation, WriteOptions};
use super::fields::Selection;
use super::request::{Query, RequestInfo};
use super::resources::Resource;
use super::{Api, convert, decode, patch, shape};
use crate::sim::attributes::UserInfo;
use crate::sim::client::DeleteOptions;
use crate::sim::object::Fields as _;
use crate::sim::status::Status;
use crate::sim::strategy::deprecation;

/// A request on a resource, authorized.
pub(crate) struct ResourceRequest<'a> {
    pub(crate) info: &'a RequestInfo,
    pub(crate) user: &'a UserInfo,
    pub(crate) query: &'a Query,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) accepted: Accepted,
    pub(crate) body: Bytes,
    pub(crate) method: &'a http::Method,
    pub(crate) upgrade: Option<hyper::upgrade::OnUpgrade>,
}

/// An answer with the warnings that go with it.
pub(crate) struct Answered {
    pub(crate) response: Result<Response<Body>, Status>,
    pub(crate) warnings: Vec<String>,
    /// What admission noted for the audit log.
    pub(crate) annotations: BTreeMap<String, String>,
}

impl ResourceRequest<'_> {
    pub(crate) fn user_agent(&self) -> &str {
        self.headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn options(&self, kind: &str) -> Result<WriteOptions, Status> {
        WriteOptions::read(self.query, kind, self.user_agent())
    }

    pub(crate) fn media_type(&self) -> &str {
        decode::media_type(self.headers)
    }
}

impl Api {
    /// Answers a request on a resource that is served.
    pub(crate) async fn on_resource(
        &self,
        resource: &Arc<Resource>,
        request: &ResourceRequest<'_>,
    ) -> Answered {
        let info = request.info;
        let mut call = Call::new(request.user.clone(), resource.clone(), &info.namespace, &info.name);
        if !resource.namespaced {
            call.namespace.clear();
        }
        call.custom = self.custom(resource);
        call.subresource.clone_from(&info.subresource);
        if !info.is_named {
            call.name.clear();
        }
        if let Some(warning) = deprecation(&resource.group, &resource.version, &resource.kind) {
            call.warn(warning);
        }
        let response = self.dispatch(&mut call, request).await;
        Answered { response, warnings: call.warnings, annotations: call.audit_annotations }
    }

    async fn dispatch(
        &self,
        call: &mut Call,
        request: &ResourceRequest<'_>,
    ) -> Result<Response<Body>, Status> {
        let resource = call.resource.clone();
        let verb = request.info.verb.as_str();
        self.require_readable(call, verb)?;
        if !call.subresource.is_empty() {
            let Some(subresource) = resource.subresource(&call.subresource) else {
                return Err(Status::no_such_path());
            };
            let verb = if verb == "watch" { "get" } else { verb };
            if !subresource.allows(verb) {
                return Err(not_allowed(&resource));
            }
            return self.on_subresource(call, subresource, request).await;
        }
        // A named collection verb, and a write to a namespaced resource outside a namespace, have no route.
        let placed = !resource.namespaced || !call.namespace.is_empty();
        let routed = match verb {
            "list" | "watch" => resource.allows(verb),
            "create" => resource.allows(verb) && !request.info.is_named && placed,
            "deletecollection" => resource.allows(verb) && placed,
            _ => resource.allows(verb) && request.info.is_named && placed,
        };
        if !routed {
            return Err(not_allowed(&resource));
        }
        if !resource.is_stored() {
            return self.on_virtual(call, request).await;
        }
        match verb {
            "get" => {
                self.check_reached(request.query.text("resourceVersion"))?;
                let entry = self.read(call).await?;
                if request.accepted == Accepted::default() && convert::is_working_version(&resource) {
                    return Ok(answer::bytes(200, "application/json", entry.json().clone()));
                }
                self.respond(&resource, 200, &entry.object, request)
            }
            "list" => {
                let selection = self.selection(&resource, request, None)?;
                let page = self.page(&resource, &call.namespace, &selection, request.query).await?;
                page.respond(self, &resource, request.accepted, request.query)
            }
            "watch" => {
                let name = request.info.is_named.then_some(call.name.as_str());
                let selection = self.selection(&resource, request, name)?;
                self.watch(&resource, &call.namespace, selection, request.accepted, request.query).await
            }
            "create" => {
                call.options = request.options("CreateOptions")?;
                let object = self.decode(call, request)?;
                let created = self.create(call, object).await?;
                self.respond(&resource, 201, &created, request)
            }
            "update" => {
                call.options = request.options("UpdateOptions")?;
                let object = self.decode(call, request)?;
                named(call, &object)?;
                let may_create = super::steps::creates_on_update(call);
                let updated = self.update(call, may_create, |_| Ok(object.clone())).await?;
                self.respond(&resource, if updated.created { 201 } else { 200 }, &updated.object, request)
            }
            "patch" => {
                call.options = request.options("PatchOptions")?;
                let patch = patch::Patch::read(call, request)?;
                let updated = self.patch(call, &patch).await?;
                self.respond(&resource, if updated.created { 201 } else { 200 }, &updated.object, request)
            }
            "delete" => {
                let options = delete_options(call, request)?;
                let deleted = self.delete(call, &options).await?;
                if !deleted.gone || returns_deleted(&resource) {
                    return self.respond(&resource, 200, &deleted.object, request);
                }
                Ok(answer::object(200, &gone(&resource, &deleted.object), request.accepted))
            }
            "deletecollection" => {
                let options = delete_options(call, request)?;
                let selection = self.selection(&resource, request, None)?;
                let page = self.page(&resource, &call.namespace, &selection, request.query).await?;
                let mut items = Vec::new();
                for entry in &page.entries {
                    let mut one = call.clone();
                    entry.name().clone_into(&mut one.name);
                    entry.namespace().clone_into(&mut one.namespace);
                    let deleted = self.delete(&mut one, &options).await;
                    for warning in one.warnings {
                        call.warn(warning);
                    }
                    match deleted {
                        Ok(deleted) => {
                            items.push(Value::clone(&convert::from_storage(&resource, &deleted.object)))
                        }
                        Err(status) if status.reason == "NotFound" => {}
                        Err(status) => return Err(status),
                    }
                }
                let list = json!({ "kind": resource.list_kind, "apiVersion": resource.api_version(),
                    "metadata": { "resourceVersion": page.revision.to_string() }, "items": items });
                Ok(answer::object(200, &list, Accepted { shape: Shape::Full, ..request.accepted }))
            }
            _ => Err(not_allowed(&resource)),
        }
    }

    /// Refuses what concerns an object that is encrypted with a key that is not there.
    fn require_readable(&self, call: &Call, verb: &str) -> Result<(), Status> {
        let storage = &call.resource.storage;
        if !call.name.is_empty() {
            let why = self.store().locked(storage, &call.namespace, &call.name);
            return why.filter(|_| verb != "create").map_or(Ok(()), |why| Err(Status::internal(why)));
        }
        if verb == "create" {
            return Ok(());
        }
        let scope = (!call.namespace.is_empty()).then_some(call.namespace.as_str());
        match self.store().all_locked(storage, scope).first() {
            Some(locked) => Err(Status::internal(format!(
                "unable to transform key \"/registry/{}/{}\": {}",
                storage.resource, locked.key, locked.why
            ))),
            None => Ok(()),
        }
    }

    fn selection(
        &self,
        resource: &Resource,
        request: &ResourceRequest<'_>,
        name: Option<&str>,
    ) -> Result<Selection, Status> {
        let (labels, fields) = (request.query.text("labelSelector"), request.query.text("fieldSelector"));
        let mut selection = Selection::read(resource, labels, fields)?;
        if let Some(name) = name {
            selection.only(name);
        }
        Ok(selection)
    }

    /// Reads the object in the body, in the version in which requests work on it.
    pub(crate) fn decode(&self, call: &mut Call, request: &ResourceRequest<'_>) -> Result<Value, Status> {
        let resource = call.resource.clone();
        let (object, warnings) = decode::object(
            request.media_type(),
            &request.body,
            &resource.gvk(),
            call.custom.as_deref(),
            call.options.validation,
        )?;
        for warning in warnings {
            call.warn(warning);
        }
        Ok(convert::to_storage(&resource, object))
    }

    /// Returns the body of a request as the audit log shows it: the object, the patch, or the options.
    pub(crate) fn asked(&self, resource: &Resource, request: &ResourceRequest<'_>) -> Option<Value> {
        let media_type = request.media_type();
        let is_object =
            matches!(&*request.info.verb, "create" | "update") && request.info.subresource.is_empty();
        if is_object {
            let custom = self.custom(resource);
            let lenient = FieldValidation::Ignore;
            return decode::object(media_type, &request.body, &resource.gvk(), custom.as_deref(), lenient)
                .ok()
                .map(|(object, _)| object);
        }
        match serde_json::from_slice(&request.body) {
            Ok(body) => Some(body),
            Err(_) => decode::parse_yaml(std::str::from_utf8(&request.body).ok()?).ok(),
        }
    }

    /// Answers with an object in the shape that is wanted.
    pub(crate) fn respond(
        &self,
        resource: &Resource,
        code: u16,
        object: &Arc<Value>,
        request: &ResourceRequest<'_>,
    ) -> Result<Response<Body>, Status> {
        let object = convert::from_storage(resource, object);
        Ok(match request.accepted.shape {
            Shape::Full => answer::object(code, &object, request.accepted),
            Shape::Metadata(version) => {
                answer::object(code, &shape::partial(&object, version), request.accepted)
            }
            Shape::Table(version) => {
                let include = shape::Include::read(request.query.text("includeObject"))?;
                let revision = object["metadata"]["resourceVersion"].clone();
                let mut table = shape::table(resource, &[object], include, self.clock().now());
                table["apiVersion"] = format!("meta.k8s.io/{version}").into();
                table["metadata"] = json!({ "resourceVersion": revision });
                answer::object(code, &table, request.accepted)
            }
        })
    }
}

/// The answer to a method that a resource does not have.
pub(crate) fn not_allowed(resource: &Resource) -> Status {
    if resource.definition.is_some() {
        let gr = resource.group_resource();
        let mut status = Status::method_not_allowed();
        status.message = format!("the server does not allow this method on the requested resource ({gr})");
        return status;
    }
    Status::method_not_allowed()
}

/// Holds the object of an update to the name on its path.
pub(crate) fn named(call: &Call, object: &Value) -> Result<(), Status> {
    let (name, namespace) = (object["metadata"].text("name"), object["metadata"].text("namespace"));
    if name.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            call.name
        )));
    }
    if name != call.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name
        )));
    }
    if !call.namespace.is_empty() && !namespace.is_empty() && namespace != call.namespace {
        return Err(Status::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the request ({})",
            call.namespace
        )));
    }
    Ok(())
}

/// Reads how to delete from the body or, without one, from the query.
fn delete_options(call: &mut Call, request: &ResourceRequest<'_>) -> Result<DeleteOptions, Status> {
    let query = request.query;
    let mut value = match decode::delete_options(request.media_type(), &request.body)? {
        Some(value) => value,
        None => {
            let mut value = json!({});
            if let Some(seconds) = query.number("gracePeriodSeconds")? {
                value["gracePeriodSeconds"] = seconds.into();
            }
            if let Some(policy) = query.get("propagationPolicy") {
                value["propagationPolicy"] = policy.into();
            }
            if let Some(orphan) = query.get("orphanDependents") {
                value["orphanDependents"] = (orphan == "true").into();
            }
            value
        }
    };
    let dry_run: Vec<&str> = query.all("dryRun").collect();
    if !dry_run.is_empty() {
        value["dryRun"] = json!(dry_run);
    }
    let options = decode::read_delete_options(&value)?;
    value["kind"] = "DeleteOptions".into();
    value["apiVersion"] = "meta.k8s.io/v1".into();
    call.options = WriteOptions::internal("");
    call.options.dry_run = options.dry_run;
    call.options.raw = value;
    Ok(options)
}

/// Tells whether deleting answers with the object rather than with a Status.
fn returns_deleted(resource: &Resource) -> bool {
    matches!(
        (resource.group.as_str(), resource.plural.as_str()),
        (
            "",
            "pods"
                | "services"
                | "serviceaccounts"
                | "persistentvolumeclaims"
                | "persistentvolumes"
                | "podtemplates"
                | "resourcequotas"
        ) | (
            "storage.k8s.io",
            "storageclasses" | "volumeattachments" | "csinodes" | "csidrivers" | "volumeattributesclasses"
        )
    )
}

fn gone(resource: &Resource, object: &Value) -> Value {
    let mut details = json!({ "name": object["metadata"]["name"], "kind": resource.plural,
        "uid": object["metadata"]["uid"] });
    if !resource.group.is_empty() {
        details["group"] = resource.group.clone().into();
    }
    json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details })
}
