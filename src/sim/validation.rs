//! Validation of built-in kinds: what upstream's `Validate` and `ValidateUpdate` find wrong with an object, in its words
//! and order. Objects come decoded and defaulted, and strategy has prepared them. Custom resources are not known here.

#![allow(dead_code, reason = "rules of further kinds use the rest")]

use serde_json::Value;

pub(crate) mod claims;
pub(crate) mod cursor;
pub(crate) mod diff;
pub(crate) mod kinds;
pub(crate) mod metadata;
pub(crate) mod names;
pub(crate) mod pod;
pub(crate) mod resources;

use super::field::ErrorList;
use super::object::Fields;

/// Validates a new object of a built-in kind; the list is empty when all is well.
pub fn create(group: &str, version: &str, kind: &str, object: &Value) -> ErrorList {
    let Some(rules) = kinds::of(group, kind) else {
        return metadata::validate_generic(object, object["metadata"].has("namespace"));
    };
    let errors = create_kind(group, version, kind, object, rules);
    // The checks that hold for all kinds run last, so that a kind's own words are heard where it has some.
    if errors.is_empty() { metadata::validate_generic(object, rules.namespaced) } else { errors }
}

/// Validates a changed object of a built-in kind. `subresource` is empty, or such as `status`, `approval`,
/// `ephemeralcontainers`.
pub fn update(
    group: &str,
    version: &str,
    kind: &str,
    subresource: &str,
    new: &Value,
    old: &Value,
) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, false);
    if let Some(rules) = kinds::of(group, kind) {
        errors.extend(update_kind(group, version, kind, subresource, new, old, rules));
    }
    errors
}

fn create_kind(
    group: &str,
    _version: &str,
    kind: &str,
    object: &Value,
    rules: metadata::MetaRules,
) -> ErrorList {
    match (group, kind) {
        ("", "Pod") => pod::create(object, rules),
        ("", "PersistentVolumeClaim") => claims::create(object, rules),
        _ => metadata::validate(object, rules),
    }
}

fn update_kind(
    group: &str,
    _version: &str,
    kind: &str,
    subresource: &str,
    new: &Value,
    old: &Value,
    rules: metadata::MetaRules,
) -> ErrorList {
    match (group, kind, subresource) {
        ("", "Pod", "status") => pod::status(new, old, rules),
        ("", "Pod", "ephemeralcontainers") => pod::ephemeral_containers(new, old, rules),
        ("", "Pod", "resize") => pod::resize(new, old, rules),
        ("", "Pod", _) => pod::update(new, old, rules),
        ("", "PersistentVolumeClaim", "status") => claims::status(new, old, rules),
        ("", "PersistentVolumeClaim", _) => claims::update(new, old, rules),
        _ => metadata::validate_update(new, old, rules.core),
    }
}
