//! Request bodies: from JSON, YAML or protobuf to an object of the kind that is expected.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::call::FieldValidation;
use super::resources::{GroupVersionKind, api_version};
use crate::sim::client::DeleteOptions;
use crate::sim::field::{FieldError, Path};
use crate::sim::object::Fields as _;
use crate::sim::status::Status;

/// The media type of a body, without its parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// Decodes an object of `expected` kind. Returns it with what is to be warned of.
pub(crate) fn object(
    media_type: &str,
    body: &Bytes,
    expected: &GroupVersionKind,
    is_custom: bool,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let _ = validation;
    let value = match media_type {
        "" | "application/json" => json(body, expected)?,
        "application/yaml" => yaml(body, expected)?,
        "application/vnd.kubernetes.protobuf" if !is_custom => protobuf(body, expected)?,
        other => {
            return Err(Status::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: {}{}",
                if is_custom {
                    "application/json, application/yaml"
                } else {
                    "application/json, application/yaml, application/vnd.kubernetes.protobuf"
                },
                // A body without a type is read as JSON, one with a foreign type is not.
                {
                    let _ = other;
                    ""
                }
            )));
        }
    };
    let value = typed(value, expected, body)?;
    Ok((value, Vec::new()))
}

/// Gives the object the kind that the path implies, or refuses another one.
fn typed(mut value: Value, expected: &GroupVersionKind, body: &[u8]) -> Result<Value, Status> {
    if !value.is_object() {
        let why = "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type struct { \
            APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
        return Err(unrecognized(expected, why, body));
    }
    let (version, kind) = (value.text("apiVersion").to_owned(), value.text("kind").to_owned());
    let wanted = expected.api_version();
    if version.is_empty() {
        value["apiVersion"] = wanted.clone().into();
    }
    if kind.is_empty() {
        value["kind"] = expected.kind.clone().into();
    }
    if !version.is_empty() && version != wanted {
        return Err(Status::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({wanted})"
        )));
    }
    if !kind.is_empty() && kind != expected.kind {
        let own = &expected.version;
        return Err(Status::bad_request(format!(
            "{kind} in version {own:?} cannot be handled as a {}: converting ({own}.{kind}) to ({}.{}): unknown conversion",
            expected.kind,
            if expected.group.is_empty() {
                "core"
            } else {
                expected.group.split('.').next().unwrap_or_default()
            },
            expected.kind
        )));
    }
    Ok(value)
}

fn unrecognized(expected: &GroupVersionKind, why: &str, body: &[u8]) -> Status {
    let head = crate::sim::random::hex(&body[..body.len().min(15)]);
    let more = if body.len() > 15 { " ..." } else { "" };
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {why} ({head}{more})",
        expected.kind
    ))
}

fn json(body: &[u8], expected: &GroupVersionKind) -> Result<Value, Status> {
    serde_json::from_slice(body).map_err(|error| {
        let why = format!("couldn't get version/kind; json parse error: {}", go_syntax_error(&error, body));
        unrecognized(expected, &why, body)
    })
}

/// Words a syntax error as encoding/json does.
pub(crate) fn go_syntax_error(error: &serde_json::Error, body: &[u8]) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let at = body
        .split(|b| *b == b'\n')
        .nth(error.line().saturating_sub(1))
        .and_then(|line| line.get(error.column().saturating_sub(1)));
    match at {
        Some(byte) => format!("invalid character {:?} looking for beginning of value", char::from(*byte)),
        None => error.to_string(),
    }
}

fn yaml(body: &[u8], expected: &GroupVersionKind) -> Result<Value, Status> {
    let text = std::str::from_utf8(body).map_err(|error| unrecognized(expected, &error.to_string(), body))?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| unrecognized(expected, &format!("error parsing YAML: {error}"), body))
}

fn protobuf(body: &[u8], expected: &GroupVersionKind) -> Result<Value, Status> {
    let _ = body;
    Err(Status::not_simulated(&format!(
        "protobuf bodies of {} {}",
        api_version(&expected.group, &expected.version),
        expected.kind
    )))
}

/// Reads DeleteOptions from a body.
pub(crate) fn delete_options(media_type: &str, body: &Bytes) -> Result<Option<Value>, Status> {
    if body.is_empty() {
        return Ok(None);
    }
    let kind = GroupVersionKind::of("meta.k8s.io", "v1", "DeleteOptions");
    let value = match media_type {
        "application/vnd.kubernetes.protobuf" => protobuf(body, &kind)?,
        "application/yaml" => yaml(body, &kind)?,
        _ => json(body, &kind)?,
    };
    if !value.is_object() {
        return Err(unrecognized(&kind, "expected an object", body));
    }
    Ok(Some(value))
}

/// Checks DeleteOptions and brings them to the form that deleting goes by.
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
    let precondition = |field: &str| value["preconditions"].at(field).as_str().map(str::to_owned);
    Ok(DeleteOptions {
        grace_period_seconds: value.int("gracePeriodSeconds"),
        propagation_policy: policy,
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
        dry_run: !dry_run.is_empty(),
    })
}
