//! CertificateSigningRequests.

use serde_json::Value;

use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules};
use super::names;
use super::webhooks::choice;
use crate::sim::field::{ErrorList, Path, go_quote};
use crate::sim::object::{Fields, equal};
use crate::sim::pki::PkiError;
use crate::sim::pki::request::SigningRequest;

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// The conditions that, once set, stay.
const DECISIONS: [&str; 3] = ["Approved", "Denied", "Failed"];

/// The shortest certificate that may be asked for.
const SHORTEST_SECONDS: i64 = 600;

pub(super) fn create(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let spec = At::field(object, "spec");
    let request = spec.child("request");
    if let Some(problem) = problem(request.str()) {
        errors.invalid(&request.path, request.value.clone(), problem);
    }
    let usages = spec.child("usages");
    if usages.is_empty() {
        errors.required(&usages.path, "");
    }
    for usage in usages.items() {
        choice(&mut errors, &usage, &USAGES);
    }
    let mut seen = Vec::new();
    for usage in usages.items() {
        if seen.contains(&usage.str()) {
            errors.duplicate(&usage.path, usage.str());
        }
        seen.push(usage.str());
    }
    let signer = spec.child("signerName");
    if signer.str() == "kubernetes.io/legacy-unknown" {
        errors.invalid(
            &signer.path,
            signer.str(),
            "the legacy signerName is not allowed via this API version",
        );
    } else {
        signer_name(&mut errors, &signer);
    }
    let expiry = spec.child("expirationSeconds");
    if let Some(seconds) = expiry.int()
        && seconds < SHORTEST_SECONDS
    {
        errors.invalid(
            &expiry.path,
            seconds,
            "may not specify a duration less than 600 seconds (10 minutes)",
        );
    }
    conditions(&mut errors, &At::field(object, "status").child("conditions"));
    errors
}

/// Says what is wrong with the request itself, which is PEM within base64.
fn problem(request: &str) -> Option<String> {
    use base64::Engine as _;
    let pem = base64::engine::general_purpose::STANDARD.decode(request).unwrap_or_default();
    match SigningRequest::parse(&pem) {
        Ok(_) => None,
        Err(PkiError::Request(why)) => Some(why),
        Err(other) => Some(other.to_string()),
    }
}

fn signer_name(errors: &mut ErrorList, at: &At<'_>) {
    let name = at.str();
    if name.is_empty() {
        errors.required(&at.path, "");
        return;
    }
    let segments: Vec<_> = name.split('/').collect();
    let [domain, path] = segments.as_slice() else {
        let words = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.invalid(&at.path, name, words);
        return;
    };
    if domain.len() > 253 {
        errors.too_long(&at.path, 253);
    }
    labels(errors, &at.path, domain, names::dns1123_label);
    if !domain.contains('.') {
        errors.invalid(&at.path, *domain, "should be a domain with at least two segments separated by dots");
    }
    labels(errors, &at.path, path, names::dns1123_subdomain);
    if path.len() > 253 + 63 + 1 {
        errors.too_long(&at.path, 253 + 63 + 1);
    }
}

/// Files what is wrong with the first bad part between dots.
fn labels(errors: &mut ErrorList, path: &Path, text: &str, rule: fn(&str) -> Vec<String>) {
    for label in text.split('.') {
        let messages = rule(label);
        for message in &messages {
            errors.invalid(path, text, format!("validating label {}: {message}", go_quote(label)));
        }
        if !messages.is_empty() {
            return;
        }
    }
}

fn conditions(errors: &mut ErrorList, list: &At<'_>) {
    let mut seen = Vec::new();
    for condition in list.items() {
        let (kind, status) = (condition.child("type"), condition.child("status"));
        if kind.str().is_empty() {
            errors.required(&kind.path, "");
        }
        let allowed: &[&str] =
            if DECISIONS.contains(&kind.str()) { &["True"] } else { &["False", "True", "Unknown"] };
        if status.str().is_empty() {
            errors.required(&status.path, "");
        } else {
            choice(errors, &status, allowed);
        }
        if seen.contains(&kind.str()) {
            errors.duplicate(&kind.path, kind.str());
        }
        seen.push(kind.str());
    }
    if seen.contains(&"Approved") && seen.contains(&"Denied") {
        let words = "Approved and Denied conditions are mutually exclusive";
        errors.invalid(&list.path, list.value.clone(), words);
    }
}

pub(super) fn update(new: &Value, old: &Value, subresource: &str, rules: MetaRules) -> ErrorList {
    let mut errors = create(new, rules);
    errors.extend(metadata::validate_update(new, old, rules.core));
    let status = At::field(new, "status");
    let path = status.path.child("conditions");
    let of = |object: &Value, kind: &str| -> Vec<Value> {
        let all = object.at("status").items("conditions");
        all.iter().filter(|condition| condition.text("type") == kind).cloned().collect()
    };
    for kind in DECISIONS {
        if !of(old, kind).is_empty() && of(new, kind).is_empty() {
            let words = format!("updates may not remove a condition of type {}", go_quote(kind));
            errors.forbidden(&path, words);
        }
    }
    if subresource != "approval" {
        for kind in ["Approved", "Denied"] {
            let (now, was) = (of(new, kind), of(old, kind));
            if now.len() > was.len() {
                let words = format!("updates may not add a condition of type {}", go_quote(kind));
                errors.forbidden(&path, words);
            } else if !now.is_empty() && now != was {
                let words = format!("updates may not modify a condition of type {}", go_quote(kind));
                errors.forbidden(&path, words);
            }
        }
    }
    let (certificate, before) = (status.child("certificate"), old.at("status").at("certificate"));
    if !equal(certificate.value, before) {
        if subresource != "status" {
            errors.forbidden(&certificate.path, "updates may not set certificate content");
        } else if !crate::sim::object::is_empty(before) {
            errors.forbidden(&certificate.path, "updates may not modify existing certificate content");
        }
    }
    errors
}
