//! AdmissionReview: what a webhook is asked, and how its answer is read. Knows v1 and v1beta1.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::sim::admission::AdmissionRequest;
use crate::sim::admission::matching::Matched;
use crate::sim::object::Fields as _;
use crate::sim::schema::document::Document;
use crate::sim::status::Status;

/// A question to a webhook.
pub(super) struct Review {
    pub(super) uid: String,
    version: &'static str,
    pub(super) body: Value,
}

/// A valid answer.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answered {
    pub(super) allowed: bool,
    pub(super) result: Value,
    pub(super) warnings: Vec<String>,
    pub(super) annotations: Vec<(String, String)>,
    /// The patch as it was sent, decoded.
    pub(super) patch: Option<Vec<u8>>,
    pub(super) patch_type: String,
}

impl Review {
    /// Asks about a request, in the first version of those that both sides know.
    ///
    /// # Errors
    /// There is no such version.
    pub(super) fn of(
        request: &AdmissionRequest,
        matched: &Matched,
        versions: &[&str],
        (object, old): (&Value, &Value),
    ) -> Result<Self, String> {
        let version = versions.iter().find_map(|version| match *version {
            "v1" => Some("v1"),
            "v1beta1" => Some("v1beta1"),
            _ => None,
        });
        let version =
            version.ok_or("webhook does not accept known AdmissionReview versions (v1, v1beta1)")?;
        let uid = crate::sim::random::uuid();
        let (group, resource_version) = request.asked_version();
        let kind = request.kind_version(&matched.group, &matched.version);
        let asked = request.kind_version(group, resource_version);
        let mut asking = json!({
            "uid": uid,
            "kind": { "group": kind.0, "version": kind.1, "kind": matched.kind },
            "resource": { "group": matched.group, "version": matched.version, "resource": matched.resource },
            "requestKind": { "group": asked.0, "version": asked.1, "kind": request.kind },
            "requestResource": {
                "group": group, "version": resource_version, "resource": request.resource,
            },
            "operation": request.operation.as_str(),
            "userInfo": request.user,
            "object": object,
            "oldObject": old,
            "dryRun": request.dry_run,
            "options": request.options,
        });
        for (field, text) in [
            ("subResource", &request.subresource),
            ("requestSubResource", &request.subresource),
            ("name", &request.name),
            ("namespace", &request.namespace),
        ] {
            if !text.is_empty() {
                asking[field] = text.as_str().into();
            }
        }
        let body = json!({ "kind": "AdmissionReview", "apiVersion": format!("admission.k8s.io/{version}"),
            "request": asking });
        Ok(Self { uid, version, body })
    }

    /// Reads the body of an answer.
    ///
    /// # Errors
    /// Why it is none: first whether it could not be read at all, then the words.
    pub(super) fn read(&self, body: &[u8], mutating: bool) -> Result<Answered, Unreadable> {
        let document = Document::parse(body).map_err(|error| {
            Unreadable::Document(format!("couldn't get version/kind; json parse error: {error}"))
        })?;
        let review = document.to_value();
        if !review.is_object() {
            let why = "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type \
                       struct";
            return Err(Unreadable::Document(why.to_owned()));
        }
        let response = &review["response"];
        if !response.is_object() {
            return Err(Unreadable::Review("webhook response was absent".to_owned()));
        }
        if self.version == "v1" {
            self.check(&review)?;
        }
        let bytes = match response.text("patch") {
            "" => None,
            text => Some(STANDARD.decode(text).map_err(|error| Unreadable::Document(error.to_string()))?),
        };
        let kind = response.at("patchType");
        if self.version == "v1" && mutating {
            let fault = |why: &str| Err(Unreadable::Review(why.to_owned()));
            match (&bytes, kind.as_str()) {
                (Some(_), None) => {
                    return fault("webhook returned response.patch but not response.patchType");
                }
                (None, Some(_)) => {
                    return fault("webhook returned response.patchType but not response.patch");
                }
                (_, Some("")) => return fault("webhook returned invalid response.patchType of \"\""),
                _ => {}
            }
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(Answered {
            allowed: response["allowed"] == true,
            result: response.at("status").clone(),
            warnings: response.items("warnings").iter().map(text).collect(),
            annotations: response
                .entries("auditAnnotations")
                .into_iter()
                .map(|(key, value)| (key.to_owned(), text(value)))
                .collect(),
            patch: bytes,
            patch_type: kind.as_str().unwrap_or("JSONPatch").to_owned(),
        })
    }

    fn check(&self, review: &Value) -> Result<(), Unreadable> {
        let uid = review["response"].text("uid");
        if uid != self.uid {
            return Err(Unreadable::Review(format!("expected response.uid={:?}, got {uid:?}", self.uid)));
        }
        let (api, kind) = (review.text("apiVersion"), review.text("kind"));
        if api != "admission.k8s.io/v1" || kind != "AdmissionReview" {
            let group = if api.contains('/') || api.is_empty() { String::new() } else { "/".to_owned() };
            let api = if api.is_empty() { "/" } else { api };
            return Err(Unreadable::Review(format!(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {group}{api}, Kind={kind}"
            )));
        }
        Ok(())
    }
}

/// Why an answer is none.
#[derive(Debug, PartialEq)]
pub(super) enum Unreadable {
    /// It is no document.
    Document(String),
    /// It is no answer to the question.
    Review(String),
}

/// Words the refusal of a webhook: its own Status, never with a code that is no failure.
pub(super) fn rejection(name: &str, result: &Value) -> Status {
    let code =
        result.int("code").and_then(|code| u16::try_from(code).ok()).filter(|code| (400..600).contains(code));
    let denied = format!("admission webhook {name:?} denied the request");
    let message = match (result.text("message"), result.text("reason")) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let mut status = Status::new(code.unwrap_or(400), result.text("reason"), message);
    status.details = result.at("details").clone();
    status
}
