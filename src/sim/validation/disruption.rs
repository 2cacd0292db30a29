//! PodDisruptionBudgets.

use serde_json::Value;

use super::apps::{at_most_all, count_or_percent};
use super::cursor::{At, Faults};
use super::metadata::label_selector;
use super::webhooks::choice;
use crate::sim::field::ErrorList;

/// Validates a PodDisruptionBudget; its metadata has no rules of its own.
pub(super) fn create(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = At::field(object, "spec");
    let (least, most) = (spec.child("minAvailable"), spec.child("maxUnavailable"));
    if least.present() && most.present() {
        let words = "minAvailable and maxUnavailable cannot be both set";
        errors.invalid_object(&spec.path, spec.value, words);
    }
    for amount in [&least, &most] {
        count_or_percent(&mut errors, amount);
        at_most_all(&mut errors, amount);
    }
    label_selector(&mut errors, &spec.child("selector"));
    choice(&mut errors, &spec.child("unhealthyPodEvictionPolicy"), &["AlwaysAllow", "IfHealthyBudget"]);
    errors
}

pub(super) fn update(new: &Value, subresource: &str) -> ErrorList {
    if subresource != "status" {
        return create(new);
    }
    let mut errors = ErrorList::new();
    let status = At::field(new, "status");
    for field in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        errors.negative(&status.child(field));
    }
    errors
}
