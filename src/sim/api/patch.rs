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
use crate::sim::schema::conform::{hold, restore};
use crate::sim::schema::decode::duplicates;
use crate::sim::schema::{self, document::Document};
use crate::sim::status::Status;

/// A patch as it came, and what strict reading holds against it.
#[derive(Debug)]
pub(crate) struct Patch {
    form: Form,
    strict: Vec<String>,
}

#[derive(Debug)]
enum Form {
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
    /// A merge patch of the server's own.
    pub(crate) fn merge(patch: Value) -> Self {
        Self { form: Form::Merge(patch), strict: Vec::new() }
    }

    /// Reads the body of a request.
    pub(crate) fn read(call: &Call, request: &ResourceRequest<'_>) -> Result<Self, Status> {
        let custom = call.custom.is_some();
        let checked = call.options.validation != FieldValidation::Ignore;
        let patch = match request.media_type() {
            "application/json-patch+json" => json_patch(&request.body, checked)?,
            "application/merge-patch+json" => {
                let (patch, strict) = map(&request.body, checked, "error decoding patch: ")?;
                Self { form: Form::Merge(patch), strict }
            }
            "application/strategic-merge-patch+json" if !custom => {
                let (patch, strict) = map(&request.body, true, "")?;
                Self { form: Form::Strategic(patch), strict }
            }
            "application/apply-patch+yaml" => {
                Self { form: Form::Apply(yaml(&request.body)?), strict: Vec::new() }
            }
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
        let applies = matches!(self.form, Form::Apply(_));
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
        match &self.form {
            Form::Json(patch) => patch.apply(&mut new)?,
            Form::Merge(patch) => merge::apply(&mut new, patch)?,
            Form::Strategic(patch) => match schema::of(&kind.group, &kind.version, &kind.kind) {
                Some(schema) => strategic::apply(schema, &mut new, patch)?,
                None => return Err(Status::not_simulated("strategic merge patches of this kind")),
            },
            Form::Apply(_) => return Err(Status::bad_request("an apply is no patch of this object")),
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
            let shown = match &self.form {
                Form::Strategic(patch) => golang(patch),
                _ => patched.to_string(),
            };
            let error = FieldError::invalid(&Path::new("patch"), shown, why);
            Status::invalid("", "", "", &vec![error])
        };
        if matches!(self.form, Form::Strategic(_)) {
            // Upstream goes from the patched map straight to the struct, in words of its own.
            if let Some(schema) = schema::of(&kind.group, &kind.version, &kind.kind) {
                restore(schema, &patched).map_err(&refuse)?;
            }
        } else if custom.is_none() {
            let (version, named) = (patched.text("apiVersion"), patched.text("kind"));
            if version != kind.api_version() || named != kind.kind {
                return Err(refuse(decode::conversion(version, named, kind)));
            }
        }
        let (mut new, strict) =
            decode::shape(&Document::from_value(&patched), kind, custom).map_err(&refuse)?;
        let strict = self.strict.iter().cloned().chain(strict).collect();
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
        if let Form::Apply(config) = &patch.form {
            return self.apply(call, config).await;
        }
        let resource = call.resource.clone();
        let custom = call.custom.clone();
        let validation = call.options.validation;
        let warnings = std::sync::Mutex::new(Vec::new());
        let updated = self
            .update(call, false, |old| {
                let old = old.cloned().unwrap_or_default();
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
        let untyped = |why: String| {
            let mut status = Status::new(
                500,
                "",
                format!(
                    "failed to create typed patch object ({}/{}; {}/{}, Kind={}): {why}",
                    config["metadata"].text("namespace"),
                    config["metadata"].text("name"),
                    expected.group,
                    expected.version,
                    expected.kind,
                ),
            );
            status.details = serde_json::json!({});
            status
        };
        if call.custom.is_none()
            && let Some(schema) = schema::of(&expected.group, &expected.version, &expected.kind)
        {
            hold(schema, &config).map_err(&untyped)?;
        }
        let (typed, strict) =
            decode::shape(&Document::from_value(&config), &expected, call.custom.as_deref())
                .map_err(|why| Status::new(500, "", why))?;
        if let Some(unknown) = strict.iter().find_map(|error| error.strip_prefix("unknown field \"")) {
            return Err(untyped(format!(".{}: field not declared in schema", unknown.trim_end_matches('"'))));
        }
        let config = typed;
        let mut config = config;
        config["apiVersion"] = expected.api_version().into();
        config["kind"] = expected.kind.clone().into();
        let config = convert::to_storage(&resource, config);
        let now = self.clock().now();
        call.tracked = true;
        let reading = call.clone();
        self.update(call, true, |old| {
            let mut merged = steps::apply(&reading, old.map(|old| &**old), &config, now)?;
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
            let found = Document::from_value(config).kind();
            return Err(Status::bad_request(format!(
                "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {found} into \
                 Go value of type map[string]interface {{}}"
            )));
        }
        let (version, kind) = (config.text("apiVersion"), config.text("kind"));
        if version != expected.api_version() || kind != expected.kind {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            return Err(Status::bad_request(format!("invalid object type: {group}/{version}, Kind={kind}")));
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

/// Reads a patch that is a map, with the fields that stand twice in it.
fn map(body: &Bytes, checked: bool, prefix: &str) -> Result<(Value, Vec<String>), Status> {
    let document = Document::parse(body).map_err(|error| Status::bad_request(format!("{prefix}{error}")))?;
    if checked && !matches!(document, Document::Object(_) | Document::Null) {
        return Err(Status::bad_request(format!(
            "{prefix}json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            document.kind()
        )));
    }
    let value = match document.to_value() {
        Value::Null => Value::Object(Default::default()),
        value => value,
    };
    Ok((value, duplicates(&document)))
}

fn json_patch(body: &Bytes, checked: bool) -> Result<Patch, Status> {
    let document = Document::parse(body)
        .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
    let refuse = |found: &Document<'_>, wanted: &str| {
        Err(Status::bad_request(format!(
            "error decoding patch: json: cannot unmarshal {} into Go value of type {wanted}",
            found.kind()
        )))
    };
    let mut strict = Vec::new();
    if checked {
        let Document::Array(operations) = &document else {
            return refuse(&document, "[]handlers.jsonPatchOp");
        };
        for (at, operation) in operations.iter().enumerate() {
            let Document::Object(fields) = operation else {
                return refuse(operation, "handlers.jsonPatchOp");
            };
            let known = ["op", "path", "from", "value"];
            let unknown = fields.iter().filter(|(name, _)| !known.contains(&&**name));
            strict.extend(unknown.map(|(name, _)| format!("json patch unknown field \"[{at}].{name}\"")));
            for (place, (name, _)) in fields.iter().enumerate() {
                if fields[..place].iter().any(|(earlier, _)| earlier == name) {
                    strict.push(format!("json patch duplicate field \"[{at}].{name}\""));
                }
            }
        }
    }
    Ok(Patch { form: Form::Json(json::Patch::parse(&document.to_value())?), strict })
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
