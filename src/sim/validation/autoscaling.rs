//! HorizontalPodAutoscalers, as stored: autoscaling/v2.

use serde_json::Value;

use super::cursor::{At, Faults, NEGATIVE, NOT_POSITIVE};
use super::metadata::{self, MetaRules, label_selector};
use super::names;
use super::webhooks::choice;
use crate::sim::field::{ErrorList, Path};
use crate::sim::object::Fields;
use crate::sim::quantity::Quantity;

const LONGEST_WINDOW: i64 = 3600;
const LONGEST_PERIOD: i64 = 1800;

/// The types of metrics with the fields that describe them.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

pub(super) fn create(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    spec(&mut errors, &At::field(object, "spec"));
    errors
}

pub(super) fn update(new: &Value, old: &Value, subresource: &str, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    if subresource == "status" {
        let status = At::field(new, "status");
        errors.negative(&status.child("currentReplicas"));
        errors.negative(&status.child("desiredReplicas"));
    } else {
        spec(&mut errors, &At::field(new, "spec"));
    }
    errors
}

fn spec(errors: &mut ErrorList, at: &At<'_>) {
    let (least, most) = (at.child("minReplicas"), at.child("maxReplicas"));
    if let Some(number) = least.int()
        && number < 1
    {
        errors.invalid(&least.path, number, "must be greater than or equal to 1");
    }
    if most.number() < 1 {
        errors.invalid(&most.path, most.number(), "must be greater than 0");
    }
    if least.int().is_some_and(|least| most.number() < least) {
        errors.invalid(&most.path, most.number(), "must be greater than or equal to `minReplicas`");
    }
    reference(errors, &at.child("scaleTargetRef"));
    for metric in at.child("metrics").items() {
        self::metric(errors, &metric);
    }
    for rules in ["scaleUp", "scaleDown"] {
        scaling(errors, &at.child("behavior").child(rules));
    }
}

fn reference(errors: &mut ErrorList, at: &At<'_>) {
    for field in ["kind", "name"] {
        let field = at.child(field);
        if field.str().is_empty() {
            errors.required(&field.path, "");
        } else {
            errors.all(&field.path, field.str(), names::path_segment_name(field.str(), false));
        }
    }
}

fn metric(errors: &mut ErrorList, at: &At<'_>) {
    let kind = at.child("type");
    if kind.str().is_empty() {
        errors.required(&kind.path, "must specify a metric source type");
    }
    if !SOURCES.iter().any(|(known, _)| *known == kind.str()) {
        errors.not_supported(&kind.path, kind.str(), &SOURCES.map(|(known, _)| known));
    }
    let present: Vec<_> = ["object", "external", "pods", "resource", "containerResource"]
        .into_iter()
        .filter(|field| at.value.has(field))
        .collect();
    if let Some(first) = present.first() {
        source(errors, first, &at.child(first));
    }
    let expected = SOURCES.iter().find(|(known, _)| *known == kind.str()).map(|(_, field)| *field);
    if let Some(field) = expected
        && !present.contains(&field)
    {
        errors.required(&at.path.child(field), "must populate information for the given metric source");
    }
    if present.len() != 1 {
        for field in present.iter().filter(|field| Some(**field) != expected) {
            errors.forbidden(&at.path.child(field), "must populate the given metric source only");
        }
    }
}

fn source(errors: &mut ErrorList, kind: &str, at: &At<'_>) {
    let target = at.child("target");
    let (value, average, share) =
        (target.child("value"), target.child("averageValue"), target.child("averageUtilization"));
    match kind {
        "object" => {
            reference(errors, &at.child("describedObject"));
            identifier(errors, &at.child("metric"));
            self::target(errors, &target);
            if value.is_null() && average.is_null() {
                errors.required(&average.path, "must set either a target value or averageValue");
            }
        }
        "external" => {
            identifier(errors, &at.child("metric"));
            self::target(errors, &target);
            if value.is_null() && average.is_null() {
                let words = "must set either a target value for metric or a per-pod target";
                errors.required(&average.path, words);
            }
            if value.present() && average.present() {
                let words = "may not set both a target value for metric and a per-pod target";
                errors.forbidden(&value.path, words);
            }
        }
        "pods" => {
            identifier(errors, &at.child("metric"));
            self::target(errors, &target);
            if average.is_null() || Quantity::of(average.value) <= Quantity::ZERO {
                errors.required(&average.path, "must specify a positive target averageValue");
            }
        }
        _ => {
            let (name, container) = (at.child("name"), at.child("container"));
            if name.str().is_empty() {
                errors.required(&name.path, "must specify a resource name");
            }
            if kind == "containerResource" && container.str().is_empty() {
                errors.required(&container.path, "must specify a container");
            }
            self::target(errors, &target);
            if share.is_null() && average.is_null() {
                let words = "must set either a target raw value or a target utilization";
                errors.required(&share.path, words);
            }
            if share.present() && average.present() {
                let words = "may not set both a target raw value and a target utilization";
                errors.forbidden(&average.path, words);
            }
        }
    }
}

fn identifier(errors: &mut ErrorList, at: &At<'_>) {
    let name = at.child("name");
    if name.str().is_empty() {
        errors.required(&name.path, "must specify a metric name");
    } else {
        errors.all(&name.path, name.str(), names::path_segment_name(name.str(), false));
    }
    label_selector(errors, &at.child("selector"));
}

fn target(errors: &mut ErrorList, at: &At<'_>) {
    let kind = at.child("type");
    match kind.str() {
        "" => errors.required(&kind.path, "must specify a metric target type"),
        "Utilization" | "Value" | "AverageValue" => {}
        other => errors.invalid(&kind.path, other, "must be either Utilization, Value, or AverageValue"),
    }
    for field in ["value", "averageValue"] {
        let amount = at.child(field);
        if amount.present() && Quantity::of(amount.value) <= Quantity::ZERO {
            errors.invalid(&amount.path, Quantity::of(amount.value), "must be positive");
        }
    }
    let share = at.child("averageUtilization");
    if let Some(number) = share.int()
        && number < 1
    {
        errors.invalid(&share.path, number, "must be greater than 0");
    }
}

fn scaling(errors: &mut ErrorList, at: &At<'_>) {
    if at.is_null() {
        return;
    }
    let window = at.child("stabilizationWindowSeconds");
    if let Some(seconds) = window.int() {
        if seconds < 0 {
            errors.invalid(&window.path, seconds, "must be greater than or equal to zero");
        }
        at_most(errors, &window.path, seconds, LONGEST_WINDOW);
    }
    choice(errors, &at.child("selectPolicy"), &["Disabled", "Max", "Min"]);
    let policies = at.child("policies");
    if policies.is_empty() {
        errors.required(&policies.path, "must specify at least one Policy");
    }
    for policy in policies.items() {
        let (kind, value, period) =
            (policy.child("type"), policy.child("value"), policy.child("periodSeconds"));
        if !matches!(kind.str(), "Percent" | "Pods") {
            errors.not_supported(&kind.path, kind.str(), &["Percent", "Pods"]);
        }
        for field in [&value, &period] {
            if field.number() <= 0 {
                errors.invalid(&field.path, field.number(), NOT_POSITIVE);
            }
        }
        at_most(errors, &period.path, period.number(), LONGEST_PERIOD);
    }
    let tolerance = at.child("tolerance");
    if tolerance.present() && Quantity::of(tolerance.value).is_negative() {
        errors.invalid(&tolerance.path, Quantity::of(tolerance.value), NEGATIVE);
    }
}

fn at_most(errors: &mut ErrorList, path: &Path, number: i64, most: i64) {
    if number > most {
        errors.invalid(path, number, format!("must be less than or equal to {most}"));
    }
}
