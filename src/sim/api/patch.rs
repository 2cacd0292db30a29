//! The patch verb: which kind of patch, on which version, as an update of what is there.

use bytes::Bytes;
use serde_json::Value;

use super::call::{Call, FieldValidation};
use super::resources::GroupVersionKind;
use super::rest::Updated;
use super::verbs::ResourceRequest;
use super::{Api, convert, decode, steps};
use crate::sim::field::{FieldError, Path};
use crate::sim::object::Fields as _;
use crate::sim::patch::{json, merge, strategic};
use crate::sim::schema::{self, document::Document};
use crate::sim::status::Status;

/// A patch as it came.
#[derive(Debug)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(json::Patch),
    /// RFC 7396.
    Merge(Value),
    /// Strategic merge.
    Strategic(Value),
    /// Server-side apply.
    Apply(Value),
}

impl Patch {
    /// Reads the body of a request.
    pub(crate) fn read(call: &Call, request: &ResourceRequest<'_>) -> Result<Self, Status> {
        let custom = call.custom.is_some();
        let patch = match request.media_type() {
            "application/json-patch+json" => Self::Json(json::Patch::parse(&read(&request.body)?)?),
            "application/merge-patch+json" => Self::Merge(read(&request.body)?),
            "application/strategic-merge-patch+json" if !custom => Self::Strategic(read(&request.body)?),
            "application/apply-patch+yaml" => Self::Apply(yaml(&request.body)?),
            _ => {
                let strategic = if custom { "" } else { "application/strategic-merge-patch+json, " };
                return Err(Status::unsupported_media_type(format!(
                    "the body of the request was in an unknown format - accepted media types include: \
                     application/json-patch+json, application/merge-patch+json, {strategic}application/apply-patch+yaml"
                )));
            }
        };
        patch.check_options(call, request)?;
        Ok(patch)
    }

    fn check_options(&self, call: &Call, request: &ResourceRequest<'_>) -> Result<(), Status> {
        let applies = matches!(self, Self::Apply(_));
        let mut errors = Vec::new();
        if !applies && request.query.get("force").is_some() {
            let detail = "may not be specified for non-apply patch";
            errors.push(FieldError::forbidden(&Path::new("force"), detail));
        }
        if applies && request.query.text("fieldManager").is_empty() {
            errors.push(FieldError::required(&Path::new("fieldManager"), "is required for apply patch"));
        }
        let _ = call;
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &errors))
        }
    }

    /// Applies to an object of the version that the request names.
    fn apply(&self, old: &Value, kind: &GroupVersionKind) -> Result<Value, Status> {
        let mut new = old.clone();
        match self {
            Self::Json(patch) => patch.apply(&mut new)?,
            Self::Merge(patch) => merge::apply(&mut new, patch)?,
            Self::Strategic(patch) => match schema::of(&kind.group, &kind.version, &kind.kind) {
                Some(schema) => strategic::apply(schema, &mut new, patch)?,
                None => return Err(Status::not_simulated("strategic merge patches of this kind")),
            },
            Self::Apply(_) => return Err(Status::bad_request("an apply is no patch of this object")),
        }
        Ok(new)
    }

    /// Applies to an object of `kind` and reads the result as one. Returns what is to be warned of beside it.
    pub(crate) fn apply_to(
        &self,
        old: &Value,
        kind: &GroupVersionKind,
        custom: Option<&crate::sim::crd::CustomVersion>,
        validation: FieldValidation,
    ) -> Result<(Value, Vec<String>), Status> {
        let patched = self.apply(old, kind)?;
        let refuse = |why: String| {
            let shown = match self {
                Self::Strategic(patch) => golang(patch),
                _ => patched.to_string(),
            };
            let error = FieldError::invalid(&Path::new("patch"), shown, why);
            Status::invalid("", "", "", &vec![error])
        };
        let (mut new, strict) =
            decode::shape(&Document::from_value(&patched), kind, custom).map_err(&refuse)?;
        let warnings = decode::judge(strict, validation)
            .map_err(|why| refuse(format!("strict decoding error: {why}")))?;
        new["apiVersion"] = kind.api_version().into();
        new["kind"] = kind.kind.clone().into();
        Ok((new, warnings))
    }
}

impl Api {
    /// Patches an object.
    pub(crate) async fn patch(&self, call: &mut Call, patch: &Patch) -> Result<Updated, Status> {
        if let Patch::Apply(config) = patch {
            return self.apply(call, config).await;
        }
        let resource = call.resource.clone();
        let custom = call.custom.clone();
        let validation = call.options.validation;
        let warnings = std::sync::Mutex::new(Vec::new());
        let updated = self
            .update(call, false, |old| {
                let old = old.map(|entry| &entry.object).cloned().unwrap_or_default();
                let before = convert::from_storage(&resource, &old);
                let (mut after, told) =
                    patch.apply_to(&before, &resource.gvk(), custom.as_deref(), validation)?;
                *warnings.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = told;
                let metadata = &before["metadata"];
                if after["metadata"].text("name") != metadata.text("name") {
                    return Err(Status::bad_request(format!(
                        "the name of the object ({}) does not match the name on the URL ({})",
                        after["metadata"].text("name"),
                        metadata.text("name")
                    )));
                }
                // A patch that does not name a version applies to whatever is there.
                if after["metadata"]["resourceVersion"] == metadata["resourceVersion"]
                    && let Some(metadata) = after["metadata"].as_object_mut()
                {
                    metadata.remove("resourceVersion");
                }
                Ok(convert::to_storage(&resource, after))
            })
            .await;
        for warning in warnings.into_inner().unwrap_or_default() {
            call.warn(warning);
        }
        updated
    }

    async fn apply(&self, call: &mut Call, config: &Value) -> Result<Updated, Status> {
        let resource = call.resource.clone();
        let expected = resource.gvk();
        let config = self.configuration(call, config)?;
        let (config, strict) =
            decode::shape(&Document::from_value(&config), &expected, call.custom.as_deref()).map_err(
                |why| {
                    Status::new(
                        500,
                        "InternalError",
                        format!(
                            "failed to create typed patch object ({}/{}; {}, Kind={}): {why}",
                            call.namespace,
                            call.name,
                            expected.api_version(),
                            expected.kind
                        ),
                    )
                },
            )?;
        if let Some(unknown) = strict.iter().find_map(|error| error.strip_prefix("unknown field \"")) {
            let mut status = Status::new(
                500,
                "",
                format!(
                    "failed to create typed patch object ({}/{}; {}, Kind={}): .{}: field not declared in schema",
                    call.namespace,
                    call.name,
                    expected.api_version(),
                    expected.kind,
                    unknown.trim_end_matches('"')
                ),
            );
            status.details = serde_json::json!({});
            return Err(status);
        }
        let mut config = config;
        config["apiVersion"] = expected.api_version().into();
        config["kind"] = expected.kind.clone().into();
        let config = convert::to_storage(&resource, config);
        let now = self.clock().now();
        call.tracked = true;
        let reading = call.clone();
        self.update(call, true, |old| {
            let mut merged = steps::apply(&reading, old.map(|entry| &*entry.object), &config, now)?;
            match config["metadata"].at("resourceVersion") {
                Value::String(version) => merged["metadata"]["resourceVersion"] = version.clone().into(),
                _ => {
                    if let Some(metadata) = merged["metadata"].as_object_mut() {
                        metadata.remove("resourceVersion");
                    }
                }
            }
            Ok(merged)
        })
        .await
    }

    /// Holds a configuration to the path that it was sent to.
    fn configuration(&self, call: &Call, config: &Value) -> Result<Value, Status> {
        let expected = call.resource.gvk();
        if !config.is_object() {
            return Err(Status::bad_request("error decoding YAML: the configuration is no object"));
        }
        let (version, kind) = (config.text("apiVersion"), config.text("kind"));
        if version.is_empty() || kind.is_empty() {
            let what = if kind.is_empty() { "Kind" } else { "apiVersion" };
            return Err(Status::bad_request(format!("Object '{what}' is missing in '{config}'")));
        }
        if version != expected.api_version() || kind != expected.kind {
            return Err(Status::bad_request(format!(
                "invalid object type: {}/{version}, Kind={kind}",
                call.name
            )));
        }
        let mut config = config.clone();
        let named = config["metadata"].text("name").to_owned();
        if named.is_empty() {
            config["metadata"]["name"] = call.name.clone().into();
        } else if named != call.name {
            return Err(Status::bad_request(format!(
                "the name of the object ({named}) does not match the name on the URL ({})",
                call.name
            )));
        }
        let placed = config["metadata"].text("namespace").to_owned();
        if !call.namespace.is_empty() {
            if placed.is_empty() {
                config["metadata"]["namespace"] = call.namespace.clone().into();
            } else if placed != call.namespace {
                return Err(Status::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
        }
        Ok(config)
    }
}

fn read(body: &Bytes) -> Result<Value, Status> {
    let document = Document::parse(body)
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    Ok(document.to_value())
}

fn yaml(body: &Bytes) -> Result<Value, Status> {
    let text = std::str::from_utf8(body).map_err(|error| Status::bad_request(error.to_string()))?;
    decode::parse_yaml(text).map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))
}

/// Prints a value as Go's `%+v` prints a map.
fn golang(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(golang).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}:{}", golang(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}
