//! Deployments, ReplicaSets, StatefulSets, DaemonSets and their revisions.

use serde_json::Value;

use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules, label_selector, selector_matches, selects_all};
use super::{claims, names, pod};
use crate::sim::field::{ErrorList, Path};
use crate::sim::object::{Fields, copy, equal};

const MISMATCH: &str = "`selector` does not match template `labels`";

pub(super) fn create(kind: &str, object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    match kind {
        "ControllerRevision" => revision(&mut errors, object),
        _ => spec(&mut errors, kind, &At::field(object, "spec")),
    }
    errors
}

fn spec(errors: &mut ErrorList, kind: &str, spec: &At<'_>) {
    match kind {
        "Deployment" => deployment(errors, spec),
        "ReplicaSet" => replica_set(errors, spec),
        "StatefulSet" => stateful_set(errors, spec),
        "DaemonSet" => daemon_set(errors, spec),
        _ => {}
    }
}

pub(super) fn update(kind: &str, subresource: &str, new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    if subresource == "status" {
        status(&mut errors, kind, &At::field(new, "status"), old.at("status"));
        return errors;
    }
    if kind == "ControllerRevision" {
        errors.extend(create(kind, new, rules));
        errors.immutable(&Path::new("data"), new.at("data"), old.at("data"));
        return errors;
    }
    let at = At::field(new, "spec");
    spec(&mut errors, kind, &at);
    let selector = at.child("selector");
    match kind {
        "StatefulSet" => {
            let mut masked = new.at("spec").clone();
            for name in [
                "replicas",
                "template",
                "updateStrategy",
                "minReadySeconds",
                "ordinals",
                "revisionHistoryLimit",
                "persistentVolumeClaimRetentionPolicy",
            ] {
                copy(&mut masked, old.at("spec"), name);
            }
            if !equal(&masked, old.at("spec")) {
                errors.forbidden(
                    &at.path,
                    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
                );
            }
        }
        _ => errors.immutable(&selector.path, selector.value, old.dig(&["spec", "selector"])),
    }
    errors
}

/// Validates a selector that must be there and choose something; false when it is missing.
fn selector(errors: &mut ErrorList, at: &At<'_>, what: &str) {
    if at.is_null() {
        errors.required(&at.path, "");
        return;
    }
    label_selector(errors, at);
    if selects_all(at.value) {
        errors.invalid(&at.path, at.value.clone(), format!("empty selector is invalid for {what}"));
    }
}

/// Validates that a template's labels are selected. Nothing is selected by an absent selector.
fn labels_match(errors: &mut ErrorList, selector: &At<'_>, template: &At<'_>) {
    let labels = template.value.dig(&["metadata", "labels"]);
    if selector.is_null() || !selector_matches(selector.value, labels) {
        errors.invalid(&template.path.child("metadata").child("labels"), labels.clone(), MISMATCH);
    }
}

/// Validates that a template's Pods run until they are deleted.
pub(super) fn runs_for_ever(errors: &mut ErrorList, template: &At<'_>, kind: &str) {
    let spec = template.child("spec");
    let policy = spec.child("restartPolicy");
    if policy.str() != "Always" {
        errors.not_supported(&policy.path, policy.str(), &["Always"]);
    }
    if spec.value.has("activeDeadlineSeconds") {
        errors.forbidden(
            &spec.path.child("activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        );
    }
}

fn template(errors: &mut ErrorList, spec: &At<'_>) {
    let template = spec.child("template");
    labels_match(errors, &spec.child("selector"), &template);
    pod::template(errors, &template);
    runs_for_ever(errors, &template, "ReplicaSet");
}

fn deployment(errors: &mut ErrorList, spec: &At<'_>) {
    errors.negative(&spec.child("replicas"));
    selector(errors, &spec.child("selector"), "deployment");
    template(errors, spec);
    let strategy = spec.child("strategy");
    let rolling = strategy.child("rollingUpdate");
    match strategy.value.text("type") {
        "Recreate" => {
            if rolling.present() {
                errors.forbidden(&rolling.path, "may not be specified when strategy `type` is 'Recreate'");
            }
        }
        "RollingUpdate" => rolling_update(errors, &rolling),
        _ => errors.not_supported(
            &strategy.path,
            super::cursor::exported(strategy.value),
            &["Recreate", "RollingUpdate"],
        ),
    }
    let ready = spec.child("minReadySeconds");
    errors.negative(&ready);
    errors.negative(&spec.child("revisionHistoryLimit"));
    let deadline = spec.child("progressDeadlineSeconds");
    if let Some(seconds) = deadline.int() {
        errors.negative(&deadline);
        if seconds <= ready.number() {
            errors.invalid(&deadline.path, seconds, "must be greater than minReadySeconds");
        }
    }
}

/// Validates a number that is not negative, or a percentage.
pub(super) fn count_or_percent(errors: &mut ErrorList, at: &At<'_>) {
    match at.value {
        Value::String(text) => {
            for message in names::percent(text) {
                errors.invalid(&at.path, text.as_str(), message);
            }
        }
        _ => errors.negative(at),
    }
}

/// Validates that a percentage is not above a hundred.
pub(super) fn at_most_all(errors: &mut ErrorList, at: &At<'_>) {
    if names::is_percent(at.str()) && number(at) > 100 {
        errors.invalid(&at.path, at.str(), "must not be greater than 100%");
    }
}

/// Returns a count, or a percentage's number.
fn number(at: &At<'_>) -> i64 {
    at.int().or_else(|| at.str().trim_end_matches('%').parse().ok()).unwrap_or_default()
}

fn rolling_update(errors: &mut ErrorList, at: &At<'_>) {
    let (unavailable, surge) = (at.child("maxUnavailable"), at.child("maxSurge"));
    count_or_percent(errors, &unavailable);
    count_or_percent(errors, &surge);
    if number(&unavailable) == 0 && number(&surge) == 0 {
        errors.invalid(&unavailable.path, unavailable.value.clone(), "may not be 0 when `maxSurge` is 0");
    }
    at_most_all(errors, &unavailable);
}

fn replica_set(errors: &mut ErrorList, spec: &At<'_>) {
    errors.negative(&spec.child("replicas"));
    errors.negative(&spec.child("minReadySeconds"));
    // Upstream speaks of a deployment here, too.
    selector(errors, &spec.child("selector"), "deployment");
    template(errors, spec);
}

fn daemon_set(errors: &mut ErrorList, spec: &At<'_>) {
    let (selector, template) = (spec.child("selector"), spec.child("template"));
    label_selector(errors, &selector);
    labels_match(errors, &selector, &template);
    if selector.present() && selects_all(selector.value) {
        errors.invalid(&selector.path, selector.value.clone(), "empty selector is invalid for daemonset");
    }
    pod::template(errors, &template);
    runs_for_ever(errors, &template, "DaemonSet");
    errors.negative(&spec.child("minReadySeconds"));
    let strategy = spec.child("updateStrategy");
    match strategy.value.text("type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling = strategy.child("rollingUpdate");
            let (unavailable, surge) = (rolling.child("maxUnavailable"), rolling.child("maxSurge"));
            count_or_percent(errors, &unavailable);
            count_or_percent(errors, &surge);
            at_most_all(errors, &unavailable);
            at_most_all(errors, &surge);
            match (number(&unavailable) != 0, number(&surge) != 0) {
                (true, true) => errors.invalid(
                    &surge.path,
                    surge.value.clone(),
                    "may not be set when maxUnavailable is non-zero",
                ),
                (false, false) => errors.required(&unavailable.path, "cannot be 0 when maxSurge is 0"),
                _ => {}
            }
        }
        _ => errors.not_supported(
            &strategy.path,
            super::cursor::exported(strategy.value),
            &["RollingUpdate", "OnDelete"],
        ),
    }
    errors.negative(&spec.child("revisionHistoryLimit"));
}

fn stateful_set(errors: &mut ErrorList, spec: &At<'_>) {
    let management = spec.child("podManagementPolicy");
    match management.str() {
        "OrderedReady" | "Parallel" => {}
        "" => errors.required(&management.path, ""),
        other => errors.invalid(&management.path, other, "must be 'OrderedReady' or 'Parallel'"),
    }
    let strategy = spec.child("updateStrategy");
    let rolling = strategy.child("rollingUpdate");
    match strategy.value.text("type") {
        "" => errors.required(&strategy.path, ""),
        "OnDelete" => {
            if rolling.present() {
                errors.invalid_object(
                    &rolling.path,
                    rolling.value,
                    "only allowed for updateStrategy 'RollingUpdate'",
                );
            }
        }
        "RollingUpdate" => {
            if rolling.present() {
                errors.negative(&rolling.child("partition"));
            }
        }
        _ => errors.invalid_object(&strategy.path, strategy.value, "must be 'RollingUpdate' or 'OnDelete'"),
    }
    let retention = spec.child("persistentVolumeClaimRetentionPolicy");
    for name in ["whenDeleted", "whenScaled"] {
        let policy = retention.child(name);
        if retention.present() && !matches!(policy.str(), "Retain" | "Delete") {
            errors.not_supported(&policy.path, policy.str(), &["Retain", "Delete"]);
        }
    }
    for field in ["replicas", "minReadySeconds"] {
        errors.negative(&spec.child(field));
    }
    errors.negative(&spec.child("ordinals").child("start"));
    selector(errors, &spec.child("selector"), "statefulset");
    let service = spec.child("serviceName");
    if !service.str().is_empty() {
        errors.all(&service.path, service.str(), names::dns1123_label(service.str()));
    }
    let template = spec.child("template");
    labels_match(errors, &spec.child("selector"), &template);
    stateful_template(errors, &template, &spec.child("volumeClaimTemplates"));
    runs_for_ever(errors, &template, "StatefulSet");
}

/// Validates the template together with the claims that become volumes of its Pods.
fn stateful_template(errors: &mut ErrorList, template: &At<'_>, claims: &At<'_>) {
    let mut value = template.value.clone();
    let spec = crate::sim::object::field_at(&mut value, "spec");
    let own: Vec<&str> =
        template.value.at("spec").items("volumes").iter().map(|volume| volume.text("name")).collect();
    let more: Vec<Value> = claims
        .items()
        .map(|claim| claim.value.at("metadata").text("name"))
        .filter(|name| !name.is_empty() && !own.contains(name))
        .map(|name| serde_json::json!({"name": name, "persistentVolumeClaim": {"claimName": name}}))
        .collect();
    if !more.is_empty() {
        let volumes = crate::sim::object::field_at(spec, "volumes");
        match volumes {
            Value::Array(list) => list.extend(more),
            other => *other = more.into(),
        }
    }
    pod::template(errors, &At::new(template.path.clone(), &value));
    for claim in claims.items() {
        let name = claim.child("metadata").child("name");
        if name.str().is_empty() {
            errors.required(&name.path, "");
        } else {
            errors.all(&name.path, name.str(), names::dns1123_label(name.str()));
        }
        claims::spec(errors, &claim.child("spec"));
    }
}

fn revision(errors: &mut ErrorList, object: &Value) {
    if !object.has("data") {
        errors.required(&Path::new("data"), "data is mandatory");
    }
    errors.negative(&At::field(object, "revision"));
}

fn status(errors: &mut ErrorList, kind: &str, at: &At<'_>, before: &Value) {
    let (counts, whole): (&[&str], &str) = match kind {
        "Deployment" => (
            &[
                "observedGeneration",
                "replicas",
                "updatedReplicas",
                "readyReplicas",
                "availableReplicas",
                "unavailableReplicas",
                "collisionCount",
            ],
            "replicas",
        ),
        "ReplicaSet" => (
            &["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration"],
            "replicas",
        ),
        "StatefulSet" => (
            &[
                "replicas",
                "readyReplicas",
                "currentReplicas",
                "updatedReplicas",
                "availableReplicas",
                "observedGeneration",
                "collisionCount",
            ],
            "replicas",
        ),
        _ => (
            &[
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
                "observedGeneration",
                "updatedNumberScheduled",
                "numberAvailable",
                "numberUnavailable",
                "collisionCount",
            ],
            "",
        ),
    };
    for name in counts {
        errors.negative(&at.child(name));
    }
    if !whole.is_empty() {
        let total = at.child(whole).number();
        let parts = [
            "updatedReplicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
            "currentReplicas",
        ];
        for name in parts.iter().filter(|name| counts.contains(name)) {
            let part = at.child(name);
            if part.number() > total {
                errors.invalid(&part.path, part.number(), "cannot be greater than status.replicas");
            }
        }
        let (ready, available) = (at.child("readyReplicas"), at.child("availableReplicas"));
        if available.number() > ready.number() {
            errors.invalid(&available.path, available.number(), "cannot be greater than readyReplicas");
        }
    }
    let collisions = at.child("collisionCount");
    if collisions.number() < before.int("collisionCount").unwrap_or_default() {
        errors.invalid(&collisions.path, collisions.number(), "cannot be decremented");
    }
}
