//! Leases.

use serde_json::Value;

use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules};
use crate::sim::field::ErrorList;

pub(super) fn create(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    spec_of(&mut errors, &At::field(object, "spec"));
    errors
}

pub(super) fn update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    spec_of(&mut errors, &At::field(new, "spec"));
    errors
}

fn spec_of(errors: &mut ErrorList, spec: &At<'_>) {
    let duration = spec.child("leaseDurationSeconds");
    if let Some(seconds) = duration.int()
        && seconds <= 0
    {
        errors.invalid(&duration.path, seconds, "must be greater than 0");
    }
    errors.negative(&spec.child("leaseTransitions"));
}
