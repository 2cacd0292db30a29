//! Configuration, access and admission objects as rows, and what has no columns of its own.

use jiff::Timestamp;
use serde_json::Value;

use super::age::human;
use super::cells::{age, length, name, number, or_none, size};
use crate::sim::object::Fields as _;

/// An object of which only the metadata is shown.
pub(super) fn name_and_creation(object: &Value, _now: Timestamp) -> Vec<Value> {
    vec![name(object), object.at("metadata").at("creationTimestamp").clone()]
}

/// An object that shows its age alone.
pub(super) fn name_and_age(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), age(object, now)]
}

/// A ConfigMap.
pub(super) fn config_map(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), (size(object, "data") + size(object, "binaryData")).into(), age(object, now)]
}

/// A Secret.
pub(super) fn secret(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), object.text("type").into(), size(object, "data").into(), age(object, now)]
}

/// A ServiceAccount.
pub(super) fn service_account(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), length(object, "secrets").into(), age(object, now)]
}

/// A ResourceQuota.
pub(super) fn quota(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = object.at("status");
    let used = status.at("used");
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in status.entries("hard") {
        let used = match used.text(resource) {
            "" => "0",
            used => used,
        };
        let text = format!("{resource}: {used}/{}", hard.as_str().unwrap_or("0"));
        if resource.starts_with("limits.") { &mut limits } else { &mut requests }.push(text);
    }
    vec![name(object), requests.join(", ").into(), limits.join(", ").into(), age(object, now)]
}

/// A RoleBinding or ClusterRoleBinding.
pub(super) fn binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let role = object.at("roleRef");
    let subjects = |kind: &str| -> Value {
        let found = object.items("subjects").iter().filter(|s| s.text("kind") == kind);
        let names: Vec<String> = found
            .map(|s| match kind {
                "ServiceAccount" => format!("{}/{}", s.text("namespace"), s.text("name")),
                _ => s.text("name").to_owned(),
            })
            .collect();
        names.join(", ").into()
    };
    vec![
        name(object),
        format!("{}/{}", role.text("kind"), role.text("name")).into(),
        age(object, now),
        subjects("User"),
        subjects("Group"),
        subjects("ServiceAccount"),
    ]
}

/// A CertificateSigningRequest.
pub(super) fn signing_request(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (object.at("spec"), object.at("status"));
    let has = |kind: &str| status.items("conditions").iter().any(|c| c.text("type") == kind);
    let mut state = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !status.text("certificate").is_empty() {
        state.push_str(",Issued");
    }
    let asked = spec.int("expirationSeconds").map(|s| human(jiff::SignedDuration::from_secs(s)));
    vec![
        name(object),
        age(object, now),
        spec.text("signerName").into(),
        spec.text("username").into(),
        or_none(&asked.unwrap_or_default()),
        state.into(),
    ]
}

/// An APIService.
pub(super) fn api_service(object: &Value, now: Timestamp) -> Vec<Value> {
    let service = object.dig(&["spec", "service"]);
    let service = match service.is_object() {
        true => format!("{}/{}", service.text("namespace"), service.text("name")),
        false => "Local".to_owned(),
    };
    let conditions = object.at("status").items("conditions");
    let available = conditions.iter().find(|c| c.text("type") == "Available");
    let available = available.map_or_else(
        || "Unknown".to_owned(),
        |c| match c.text("status") {
            "True" => "True".to_owned(),
            other => format!("{other} ({})", c.text("reason")),
        },
    );
    vec![name(object), service.into(), available.into(), age(object, now)]
}

/// A webhook configuration.
pub(super) fn webhooks(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), length(object, "webhooks").into(), age(object, now)]
}

/// A ValidatingAdmissionPolicy.
pub(super) fn policy(object: &Value, now: Timestamp) -> Vec<Value> {
    rules_of(object, "validations", now)
}

/// A MutatingAdmissionPolicy.
pub(super) fn mutating_policy(object: &Value, now: Timestamp) -> Vec<Value> {
    rules_of(object, "mutations", now)
}

fn rules_of(object: &Value, rules: &str, now: Timestamp) -> Vec<Value> {
    let spec = object.at("spec");
    let kind = spec.at("paramKind");
    let kind = match kind.is_object() {
        true => format!("{}/{}", kind.text("apiVersion"), kind.text("kind")),
        false => "<unset>".to_owned(),
    };
    vec![name(object), length(spec, rules).into(), kind.into(), age(object, now)]
}

/// A ValidatingAdmissionPolicyBinding.
pub(super) fn policy_binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object.at("spec");
    let reference = spec.at("paramRef");
    let reference = match (reference.is_object(), reference.text("namespace")) {
        (false, _) => "<unset>".to_owned(),
        (true, "") => reference.text("name").to_owned(),
        (true, namespace) => format!("{namespace}/{}", reference.text("name")),
    };
    vec![name(object), spec.text("policyName").into(), reference.into(), age(object, now)]
}

/// A ResourceClaim.
pub(super) fn resource_claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = object.at("status");
    let mut states = Vec::new();
    let deleted = object.at("metadata").has("deletionTimestamp");
    if deleted {
        states.push("deleted");
    }
    if status.has("allocation") {
        states.push("allocated");
        if !status.items("reservedFor").is_empty() {
            states.push("reserved");
        }
    } else if !deleted {
        states.push("pending");
    }
    vec![name(object), states.join(",").into(), age(object, now)]
}

/// A ResourceSlice.
pub(super) fn resource_slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object.at("spec");
    vec![
        name(object),
        spec.text("nodeName").into(),
        spec.text("driver").into(),
        spec.at("pool").text("name").into(),
        age(object, now),
    ]
}

/// A FlowSchema.
pub(super) fn flow_schema(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object.at("spec");
    let dangling = object.at("status").items("conditions").iter().find(|c| c.text("type") == "Dangling");
    vec![
        name(object),
        spec.at("priorityLevelConfiguration").text("name").into(),
        number(spec, "matchingPrecedence").into(),
        or_none(spec.at("distinguisherMethod").text("type")),
        age(object, now),
        dangling.map_or("?", |c| c.text("status")).into(),
    ]
}

/// A PriorityLevelConfiguration.
pub(super) fn priority_level(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object.at("spec");
    let limited = spec.at("limited");
    let queuing = limited.dig(&["limitResponse", "queuing"]);
    let of = |holder: &Value, field: &str| holder.int(field).map_or_else(|| "<none>".into(), Value::from);
    let shares = if limited.is_object() { limited } else { spec.at("exempt") };
    vec![
        name(object),
        spec.text("type").into(),
        of(shares, "nominalConcurrencyShares"),
        of(queuing, "queues"),
        of(queuing, "handSize"),
        of(queuing, "queueLengthLimit"),
        age(object, now),
    ]
}
