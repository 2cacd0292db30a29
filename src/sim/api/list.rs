//! Lists: which revision, which objects, and in pages that stay consistent while others write.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};

use super::answer::{self, Accepted, Body, Shape};
use super::fields::Selection;
use super::request::Query;
use super::resources::Resource;
use super::table::Table;
use super::verbs::ResourceRequest;
use super::{Api, convert, shape};
use crate::sim::field::{FieldError, Path};
use crate::sim::object::Fields as _;
use crate::sim::schema::{document::Document, golang};
use crate::sim::status::Status;
use crate::sim::store::{Entry, StoreError};

/// A list or a part of one.
#[derive(Debug)]
pub(crate) struct Page {
    /// The revision at which this was the list.
    pub(crate) revision: u64,
    /// The objects, as requests work on them.
    pub(crate) entries: Vec<Arc<Entry>>,
    next: Option<String>,
    remaining: Option<usize>,
}

impl Api {
    /// Lists by the options of a query.
    pub(crate) async fn page(
        &self,
        resource: &Resource,
        namespace: &str,
        selection: &Selection,
        query: &Query,
    ) -> Result<Page, Status> {
        query.number("timeoutSeconds")?;
        let limit = usize::try_from(query.number("limit")?.unwrap_or_default()).unwrap_or_default();
        let (version, matching) = (query.text("resourceVersion"), query.text("resourceVersionMatch"));
        check_options(query)?;
        let namespace = (!namespace.is_empty()).then_some(namespace);
        let current = || self.store().list_now(&resource.storage, namespace);
        let at = |revision: u64| match self.store().list_at(&resource.storage, namespace, revision) {
            Ok(entries) => Ok((revision, entries)),
            Err(StoreError::Ahead) => Err(too_large(revision, self.store().revision())),
            Err(_) => Err(Status::expired(format!(
                "The resourceVersion for the provided list is too old: {revision}"
            ))),
        };
        let mut start = None;
        let (revision, mut entries) = match query.text("continue") {
            "" => match parse_revision(version)? {
                None | Some(0) => current(),
                Some(wanted) if matching == "Exact" || (matching.is_empty() && limit > 0) => at(wanted)?,
                Some(wanted) => {
                    let (revision, entries) = current();
                    if wanted > revision {
                        return Err(too_large(wanted, revision));
                    }
                    (revision, entries)
                }
            },
            token => {
                let (revision, key) = read_token(token)?;
                if !version.is_empty() && version != "0" {
                    return Err(Status::bad_request(
                        "specifying resource version is not allowed when using continue",
                    ));
                }
                let listed = match revision {
                    None => current(),
                    Some(revision) => at(revision).map_err(|_| outdated(&key))?,
                };
                start = Some(key);
                listed
            }
        };
        if let Some(start) = &start {
            let from = entries.partition_point(|entry| key(entry) < *start);
            entries.drain(..from);
        }
        self.load(resource, &mut entries).await?;
        let everything = selection.is_everything();
        if !everything {
            entries.retain(|entry| selection.matches(resource, &entry.object));
        }
        let (mut next, mut remaining) = (None, None);
        if limit > 0 && entries.len() > limit {
            next = entries.get(limit - 1).map(|last| token(revision, &format!("{}\0", key(last))));
            remaining = everything.then(|| entries.len() - limit);
            entries.truncate(limit);
        }
        Ok(Page { revision, entries, next, remaining })
    }
}

impl Api {
    /// Answers with a list of objects that are not stored.
    pub(crate) fn respond_list(
        &self,
        resource: &Resource,
        objects: Vec<Arc<Value>>,
        request: &ResourceRequest<'_>,
    ) -> Result<http::Response<Body>, Status> {
        let entries = objects.into_iter().map(Entry::unstored).collect();
        let page = Page { revision: 0, entries, next: None, remaining: None };
        page.respond(self, resource, request.accepted, request.query)
    }
}

impl Page {
    /// Makes the answer in the shape that is wanted.
    pub(crate) fn respond(
        &self,
        api: &Api,
        resource: &Resource,
        accepted: Accepted,
        query: &Query,
    ) -> Result<http::Response<Body>, Status> {
        let metadata = self.metadata();
        match accepted.shape {
            Shape::Full if !accepted.yaml && !accepted.pretty => {
                Ok(answer::bytes(200, "application/json", self.json(resource, &metadata)))
            }
            Shape::Full => {
                let items: Vec<Value> = self
                    .objects(resource)
                    .map(|object| {
                        let mut item = Value::clone(&object);
                        strip(resource, &mut item);
                        item
                    })
                    .collect();
                let list = json!({ "kind": resource.list_kind, "apiVersion": resource.api_version(),
                    "metadata": metadata, "items": items });
                Ok(answer::object(200, &list, accepted))
            }
            Shape::Metadata(version) => {
                let items: Vec<Value> =
                    self.objects(resource).map(|object| shape::partial(&object, version)).collect();
                let list = json!({ "kind": "PartialObjectMetadataList",
                    "apiVersion": format!("meta.k8s.io/{version}"), "metadata": metadata, "items": items });
                Ok(answer::object(200, &list, accepted))
            }
            Shape::Table(version) => {
                let objects: Vec<Arc<Value>> = self.objects(resource).collect();
                let include = shape::Include::read(query.text("includeObject"))?;
                let now = api.clock().now();
                if !accepted.yaml && !accepted.pretty {
                    let bytes = Table::of(resource).write(&objects, version, &metadata, include, now);
                    return Ok(answer::bytes(200, "application/json", bytes.into()));
                }
                let mut rendered = shape::table(resource, &objects, include, now);
                rendered["apiVersion"] = format!("meta.k8s.io/{version}").into();
                rendered["metadata"] = metadata;
                Ok(answer::object(200, &rendered, accepted))
            }
        }
    }

    fn objects<'a>(&'a self, resource: &'a Resource) -> impl Iterator<Item = Arc<Value>> + 'a {
        self.entries.iter().map(|entry| convert::from_storage(resource, &entry.object))
    }

    fn metadata(&self) -> Value {
        let mut metadata = json!({ "resourceVersion": self.revision.to_string() });
        if let Some(next) = &self.next {
            metadata["continue"] = next.clone().into();
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        metadata
    }

    /// Strings the objects together as they lie in the store.
    fn json(&self, resource: &Resource, metadata: &Value) -> Bytes {
        let size: usize = self.entries.iter().map(|entry| entry.json().len() + 1).sum();
        let mut out = Vec::with_capacity(size + 256);
        let kind = Value::from(resource.list_kind.as_str());
        let version = Value::from(resource.api_version());
        out.extend_from_slice(
            format!("{{\"kind\":{kind},\"apiVersion\":{version},\"metadata\":{metadata},\"items\":[")
                .as_bytes(),
        );
        let plain = convert::is_working_version(resource);
        for (index, entry) in self.entries.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            if plain && resource.definition.is_none() {
                out.push(b'{');
                out.extend_from_slice(entry.json_fields());
            } else if plain {
                out.extend_from_slice(entry.json());
            } else {
                let mut item = Value::clone(&convert::from_storage(resource, &entry.object));
                strip(resource, &mut item);
                out.extend_from_slice(&answer::to_json(&item));
            }
        }
        out.extend_from_slice(b"]}\n");
        Bytes::from(out)
    }
}

/// Takes away what the items of a typed list do not carry.
fn strip(resource: &Resource, item: &mut Value) {
    if let (None, Some(fields)) = (&resource.definition, item.as_object_mut()) {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
}

/// Returns where an object stands in a list.
fn key(entry: &Entry) -> String {
    match entry.namespace() {
        "" => entry.name().to_owned(),
        namespace => format!("{namespace}/{}", entry.name()),
    }
}

/// Reads a resourceVersion; nothing when it is empty.
pub(crate) fn parse_revision(version: &str) -> Result<Option<u64>, Status> {
    if version.is_empty() {
        return Ok(None);
    }
    version
        .parse()
        .map(Some)
        .map_err(|_| Status::bad_request(format!("invalid resource version: {}", unparsable(version))))
}

impl Api {
    /// Makes sure that the store has come to a resourceVersion, which a read may ask for.
    pub(crate) fn check_reached(&self, version: &str) -> Result<(), Status> {
        let current = self.store().revision();
        // What is wrong with it is told as a fault of the storage, other than for lists.
        match parse_revision(version) {
            Err(_) => Err(Status::new(500, "", unparsable(version).to_string())),
            Ok(Some(wanted)) if wanted > current => Err(too_large(wanted, current)),
            Ok(_) => Ok(()),
        }
    }
}

fn unparsable(version: &str) -> FieldError {
    let why = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
    FieldError::invalid(&Path::new("resourceVersion"), version, why)
}

/// The answer to a resourceVersion of the future.
pub(crate) fn too_large(wanted: u64, current: u64) -> Status {
    let mut status =
        Status::new(504, "Timeout", format!("Too large resource version: {wanted}, current: {current}"));
    status.details = json!({ "retryAfterSeconds": 1,
        "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }] });
    status
}

fn check_options(query: &Query) -> Result<(), Status> {
    let (version, matching) = (query.text("resourceVersion"), query.text("resourceVersionMatch"));
    let path = Path::new("resourceVersionMatch");
    let mut errors = Vec::new();
    if query.get("sendInitialEvents").is_some() {
        let detail = "sendInitialEvents is forbidden for list";
        errors.push(FieldError::forbidden(&Path::new("sendInitialEvents"), detail));
    }
    if !matching.is_empty() {
        if version.is_empty() {
            errors.push(FieldError::forbidden(
                &path,
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            ));
        }
        if !query.text("continue").is_empty() {
            errors.push(FieldError::forbidden(
                &path,
                "resourceVersionMatch is forbidden when continue is provided",
            ));
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            errors.push(FieldError::not_supported(&path, matching, &["Exact", "NotOlderThan", ""]));
        }
        if matching == "Exact" && version == "0" {
            errors.push(FieldError::forbidden(
                &path,
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            ));
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors)) }
}

fn token(revision: u64, start: &str) -> String {
    let token = json!({ "v": "meta.k8s.io/v1", "rv": revision, "start": start });
    URL_SAFE_NO_PAD.encode(token.to_string())
}

/// Reads where to go on; without a revision, in whatever the list is then.
fn read_token(token: &str) -> Result<(Option<u64>, String), Status> {
    let refuse =
        |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let bytes = golang::raw_url_base64(token).map_err(|error| refuse(&error))?;
    let document = Document::parse(&bytes).map_err(|error| refuse(&error.to_string()))?;
    let parsed = document.to_value();
    if parsed.text("v") != "meta.k8s.io/v1" {
        let version = parsed.text("v");
        return Err(refuse(&format!("server does not recognize this encoded version {version}")));
    }
    if parsed.int("rv").unwrap_or_default() == 0 {
        return Err(refuse("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
    }
    let start = parsed.text("start");
    if start.is_empty() {
        return Err(refuse("encoded start key empty (version meta.k8s.io/v1)"));
    }
    let revision = match parsed.int("rv") {
        Some(revision) if revision > 0 => u64::try_from(revision).ok(),
        _ => None,
    };
    Ok((revision, start.to_owned()))
}

/// The answer to a token whose snapshot is gone, with one that goes on in the present.
fn outdated(start: &str) -> Status {
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    let token = json!({ "v": "meta.k8s.io/v1", "rv": -1, "start": start });
    status.resume = Some(URL_SAFE_NO_PAD.encode(token.to_string()));
    status
}
