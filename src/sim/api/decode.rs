//! Request bodies: from JSON, YAML or protobuf to an object of the kind that is expected.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::call::FieldValidation;
use super::protobuf;
use super::resources::GroupVersionKind;
use crate::sim::client::DeleteOptions;
use crate::sim::crd::CustomVersion;
use crate::sim::field::{FieldError, Path};
use crate::sim::object::Fields as _;
use crate::sim::random::hex;
use crate::sim::schema::decode::{decode as read_as, duplicates};
use crate::sim::schema::{self, document::Document};
use crate::sim::status::Status;

/// Returns the media type of a body, without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Decodes an object of the `expected` kind, by a custom version's schema or the built-in one. Returns it with what is
/// to be warned of.
///
/// # Errors
/// BadRequest for what is no such object or, when validation is strict, has fields that the kind does not; 415 for a
/// form that is not read.
pub(crate) fn object(
    media_type: &str,
    body: &Bytes,
    expected: &GroupVersionKind,
    custom: Option<&CustomVersion>,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let (object, strict) = match media_type {
        "" | "application/json" => {
            let document = Document::parse(body).map_err(|error| {
                unrecognized(expected, &format!("couldn't get version/kind; json parse error: {error}"), body)
            })?;
            typed(&document, expected, custom, body)?
        }
        "application/yaml" => typed(&Document::from_value(&yaml(body, expected)?), expected, custom, body)?,
        "application/vnd.kubernetes.protobuf" if custom.is_none() => {
            let object = from_protobuf(body, expected)?;
            check_kind(object.text("apiVersion"), object.text("kind"), expected)?;
            (object, Vec::new())
        }
        _ => {
            let protobuf = if custom.is_none() { ", application/vnd.kubernetes.protobuf" } else { "" };
            return Err(Status::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: application/json, \
                 application/yaml{protobuf}"
            )));
        }
    };
    let warnings = judge(strict, validation)
        .map_err(|why| cannot_handle(expected, &format!("strict decoding error: {why}")))?;
    Ok((object, warnings))
}

/// Sorts out fields that a kind does not have: returns the warnings, or the refusal.
pub(crate) fn judge(strict: Vec<String>, validation: FieldValidation) -> Result<Vec<String>, String> {
    match validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(strict),
        FieldValidation::Strict if strict.is_empty() => Ok(strict),
        FieldValidation::Strict => Err(strict.join(", ")),
    }
}

fn typed(
    document: &Document<'_>,
    expected: &GroupVersionKind,
    custom: Option<&CustomVersion>,
    body: &[u8],
) -> Result<(Value, Vec<String>), Status> {
    if !matches!(document, Document::Object(_)) {
        let why = format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type struct {{ \
             APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}",
            document.kind()
        );
        return Err(unrecognized(expected, &why, body));
    }
    let text = |name: &str| document.get(name).and_then(Document::as_str).unwrap_or_default();
    check_kind(text("apiVersion"), text("kind"), expected)?;
    let (mut object, strict) =
        shape(document, expected, custom).map_err(|why| cannot_handle(expected, &why))?;
    object["apiVersion"] = expected.api_version().into();
    object["kind"] = expected.kind.clone().into();
    Ok((object, strict))
}

/// Reads a document as the kind. Returns what strict validation would refuse beside it; the error is in Go's words.
pub(crate) fn shape(
    document: &Document<'_>,
    kind: &GroupVersionKind,
    custom: Option<&CustomVersion>,
) -> Result<(Value, Vec<String>), String> {
    if let Some(custom) = custom {
        let mut object = document.to_value();
        let mut strict = duplicates(document);
        if let (Some(metadata), Some(meta)) = (document.get("metadata"), schema::named("meta.v1.ObjectMeta"))
        {
            let decoded = read_as(meta, metadata).map_err(|error| error.to_string())?;
            object["metadata"] = decoded.object;
            strict.extend(decoded.strict.into_iter().map(|error| error.replacen('"', "\"metadata.", 1)));
        }
        let unknown = custom.prune(&mut object);
        strict.extend(unknown.into_iter().map(|path| format!("unknown field {path:?}")));
        return Ok((object, strict));
    }
    match schema::of(&kind.group, &kind.version, &kind.kind) {
        Some(schema) => {
            let decoded = read_as(schema, document).map_err(|error| error.to_string())?;
            Ok((decoded.object, decoded.strict))
        }
        None => Ok((document.to_value(), Vec::new())),
    }
}

/// Holds the object to the kind that its path implies; what it does not say is implied.
fn check_kind(api_version: &str, kind: &str, expected: &GroupVersionKind) -> Result<(), Status> {
    let wanted = expected.api_version();
    let api_version = if api_version.is_empty() { &wanted } else { api_version };
    let kind = if kind.is_empty() { &expected.kind } else { kind };
    if api_version == wanted && kind == expected.kind {
        return Ok(());
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    // Another version of the same kind can be read, but not through this path.
    if group == expected.group && kind == expected.kind && schema::of(group, version, kind).is_some() {
        return Err(Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({wanted})"
        )));
    }
    Err(Status::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {}: {}",
        expected.kind,
        conversion(api_version, kind, expected)
    )))
}

/// Says why an object of one kind is none of another.
pub(crate) fn conversion(api_version: &str, kind: &str, expected: &GroupVersionKind) -> String {
    if kind.is_empty() || api_version.is_empty() {
        let missing = if kind.is_empty() { "Kind" } else { "apiVersion" };
        return format!("Object '{missing}' is missing");
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if schema::of(group, version, kind).is_none() {
        return format!(
            "no kind {kind:?} is registered for version {api_version:?} in scheme \
             \"pkg/api/legacyscheme/scheme.go:30\""
        );
    }
    let internal = match expected.group.split('.').next() {
        None | Some("") => "core",
        Some(group) => group,
    };
    format!("converting ({version}.{kind}) to ({internal}.{}): unknown conversion", expected.kind)
}

fn cannot_handle(expected: &GroupVersionKind, why: &str) -> Status {
    let (kind, version) = (&expected.kind, &expected.version);
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

fn unrecognized(expected: &GroupVersionKind, why: &str, body: &[u8]) -> Status {
    let cut = &body[..body.len().min(30)];
    let more = if body.len() > cut.len() { " ..." } else { "" };
    let head = match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(cut).into_owned(),
        Some(_) => hex(cut),
    };
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {why} ({head}{more})",
        expected.kind
    ))
}

fn yaml(body: &[u8], expected: &GroupVersionKind) -> Result<Value, Status> {
    let text = std::str::from_utf8(body).map_err(|error| unrecognized(expected, &error.to_string(), body))?;
    parse_yaml(text).map_err(|error| unrecognized(expected, &format!("error parsing YAML: {error}"), body))
}

/// Parses YAML as Kubernetes reads it.
pub(crate) fn parse_yaml(text: &str) -> Result<Value, String> {
    // No deeper than JSON may be.
    let budget = serde_saphyr::budget! { max_depth: 120 };
    let options = serde_saphyr::options! { legacy_octal_numbers: true, budget: budget };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
}

fn from_protobuf(body: &[u8], expected: &GroupVersionKind) -> Result<Value, Status> {
    protobuf::read(body, expected).map_err(|error| unrecognized(expected, &error.to_string(), body))
}

/// Reads DeleteOptions from a body.
///
/// # Errors
/// BadRequest for what is none.
pub(crate) fn delete_options(media_type: &str, body: &Bytes) -> Result<Option<Value>, Status> {
    if body.is_empty() {
        return Ok(None);
    }
    let kind = GroupVersionKind::of("", "v1", "DeleteOptions");
    let value = match media_type {
        "application/vnd.kubernetes.protobuf" => from_protobuf(body, &kind)?,
        "application/yaml" => yaml(body, &kind)?,
        _ => {
            let document = Document::parse(body).map_err(|error| {
                unrecognized(&kind, &format!("couldn't get version/kind; json parse error: {error}"), body)
            })?;
            match schema::named("meta.v1.DeleteOptions") {
                Some(schema) => {
                    read_as(schema, &document)
                        .map_err(|error| cannot_handle(&kind, &error.to_string()))?
                        .object
                }
                None => document.to_value(),
            }
        }
    };
    Ok(Some(value))
}

/// Checks DeleteOptions and brings them to the form that deleting goes by.
///
/// # Errors
/// Invalid, with what is wrong with them.
pub(crate) fn read_delete_options(value: &Value) -> Result<DeleteOptions, Status> {
    let mut errors = Vec::new();
    let mut policy = value.at("propagationPolicy").as_str().map(str::to_owned);
    if let Some(orphan) = value.truth("orphanDependents") {
        if policy.is_some() {
            errors.push(FieldError::invalid(
                &Path::new("propagationPolicy"),
                policy.clone().unwrap_or_default(),
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        } else {
            policy = Some(if orphan { "Orphan" } else { "Background" }.to_owned());
        }
    }
    if let Some(other) = policy.as_deref().filter(|p| !matches!(*p, "Foreground" | "Background" | "Orphan")) {
        errors.push(FieldError::not_supported(
            &Path::new("propagationPolicy"),
            other,
            &["Foreground", "Background", "Orphan", "nil"],
        ));
    }
    let dry_run = value.texts("dryRun");
    for other in dry_run.iter().filter(|value| **value != "All") {
        errors.push(FieldError::not_supported(&Path::new("dryRun"), *other, &["All"]));
    }
    if !errors.is_empty() {
        return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors));
    }
    let precondition = |field: &str| value.dig(&["preconditions", field]).as_str().map(str::to_owned);
    Ok(DeleteOptions {
        grace_period_seconds: value.int("gracePeriodSeconds"),
        propagation_policy: policy,
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
        dry_run: !dry_run.is_empty(),
    })
}
