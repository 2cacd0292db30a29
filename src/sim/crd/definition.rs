//! The CustomResourceDefinition itself: what it must be, when its names are accepted, how it goes.

use serde_json::{Value, json};

use crate::sim::field::{ErrorList, FieldError, Path};
use crate::sim::object::{self, Fields as _};

/// Holds a definition that is being deleted until its objects are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Returns the status of a definition whose names collide with none of `others`: accepted and established, as the
/// naming and establishing controllers write it. None when it is so already.
pub fn accept(definition: &Value, others: &[&Value], now: &str) -> Option<Value> {
    let names = definition.dig(&["spec", "names"]);
    let group = definition.dig(&["spec", "group"]);
    let taken = |name: &str, field: &str| {
        others.iter().any(|other| {
            other.dig(&["spec", "group"]) == group
                && other.dig(&["metadata", "name"]) != definition.dig(&["metadata", "name"])
                && other.dig(&["status", "acceptedNames"]).text(field) == name
        })
    };
    let conflict = ["plural", "singular", "kind", "listKind"]
        .into_iter()
        .find(|field| !names.text(field).is_empty() && taken(names.text(field), field));
    let mut status = definition.at("status").clone();
    if !status.is_object() {
        status = json!({});
    }
    let (accepted, established) = match conflict {
        None => {
            object::set(&mut status, "acceptedNames", names.clone());
            (
                condition("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
                condition(
                    "Established",
                    "True",
                    "InitialNamesAccepted",
                    "the initial names have been accepted",
                ),
            )
        }
        Some(field) => {
            let reason = match field {
                "plural" => "PluralConflict",
                "singular" => "SingularConflict",
                "kind" => "KindConflict",
                _ => "ListKindConflict",
            };
            let message = format!("{:?} is already in use", names.text(field));
            (
                condition("NamesAccepted", "False", reason, &message),
                condition("Established", "False", "NotAccepted", "not all names are accepted"),
            )
        }
    };
    for new in [accepted, established] {
        set_condition(&mut status, new, now);
    }
    let mut stored = status.items("storedVersions").to_vec();
    for version in definition.dig(&["spec"]).items("versions") {
        if version.truth("storage") == Some(true) && !stored.contains(version.at("name")) {
            stored.push(version.at("name").clone());
        }
    }
    object::set(&mut status, "storedVersions", stored);
    (status != *definition.at("status")).then_some(status)
}

/// Marks a definition whose deletion was asked for: its objects go first.
pub fn begin_deletion(definition: &mut Value, now: &str) {
    let mut finalizers = definition.dig(&["metadata", "finalizers"]).as_array().cloned().unwrap_or_default();
    if !finalizers.iter().any(|finalizer| finalizer == CLEANUP_FINALIZER) {
        finalizers.push(CLEANUP_FINALIZER.into());
    }
    definition["metadata"]["finalizers"] = finalizers.into();
    let mut status = definition.at("status").clone();
    let message = "CustomResource deletion is in progress";
    set_condition(&mut status, condition("Terminating", "True", "InstanceDeletionInProgress", message), now);
    definition["status"] = status;
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": reason, "message": message })
}

/// Sets a condition; the transition time changes with the status.
fn set_condition(status: &mut Value, mut new: Value, now: &str) {
    let mut conditions = status.items("conditions").to_vec();
    let old = conditions.iter_mut().find(|old| old["type"] == new["type"]);
    let time = match &old {
        Some(old) if old["status"] == new["status"] => old.at("lastTransitionTime").clone(),
        _ => now.into(),
    };
    object::set(&mut new, "lastTransitionTime", time);
    match old {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
    object::set(status, "conditions", conditions);
}

/// Validates what makes the schema of a version structural, then its defaults.
pub fn validate_schema(schema: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    structural(schema, path, Level::Root, &mut errors);
    errors.sort_by_key(|error| format!("{}: {}", error.field, error.body()));
    if errors.is_empty() {
        defaults(schema, path, &mut errors);
    }
    errors
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Field,
    Item,
}

fn defaults(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let default = schema.at("default");
    if !default.is_null() {
        let at = path.child("default");
        let mut pruned = default.clone();
        super::prune::prune(schema, &mut pruned);
        if pruned == *default {
            errors.extend(super::validate::validate_at(schema, default, &at));
        } else {
            errors.push(FieldError::invalid(&at, default.clone(), "must not have unknown fields"));
        }
    }
    for (name, property) in schema.entries("properties") {
        defaults(property, &path.child("properties").key(name), errors);
    }
    for within in ["additionalProperties", "items"] {
        if schema.at(within).is_object() {
            defaults(schema.at(within), &path.child(within), errors);
        }
    }
}

fn structural(schema: &Value, path: &Path, level: Level, errors: &mut ErrorList) {
    let kind = schema.text("type");
    let flag = |name: &str| schema.truth(name) == Some(true);
    let int_or_string = flag("x-kubernetes-int-or-string");
    let embedded = flag("x-kubernetes-embedded-resource");
    let preserves = super::preserves_unknown(schema);
    let items = schema.at("items");
    if items.is_object() {
        structural(items, &path.child("items"), Level::Item, errors);
    } else if kind == "array" {
        errors.push(FieldError::required(&path.child("items"), "must be specified"));
    }
    for (name, property) in schema.entries("properties") {
        structural(property, &path.child("properties").key(name), Level::Field, errors);
    }
    let additional = schema.at("additionalProperties");
    if additional.is_object() {
        structural(additional, &path.child("additionalProperties"), Level::Field, errors);
    }
    if level == Level::Root && schema.has("additionalProperties") {
        let at = path.child("additionalProperties");
        errors.push(FieldError::forbidden(&at, "must not be used at the root"));
    }
    for (name, set) in
        [("x-kubernetes-preserve-unknown-fields", preserves), ("x-kubernetes-embedded-resource", embedded)]
    {
        if int_or_string && set {
            let why = "must be false if x-kubernetes-int-or-string is true";
            errors.push(FieldError::invalid(&path.child(name), true, why));
        }
    }
    nested(schema, path, int_or_string, errors);
    let at = path.child("type");
    if embedded && kind != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(match kind {
            "" => FieldError::required(&at, why),
            _ => FieldError::invalid(&at, kind, why),
        });
    } else if kind.is_empty() && !int_or_string && !preserves {
        errors.push(FieldError::required(
            &at,
            match level {
                Level::Root => "must not be empty at the root",
                Level::Item => "must not be empty for specified array items",
                Level::Field => "must not be empty for specified object fields",
            },
        ));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(FieldError::invalid(&at, kind, "must be object at the root"));
    }
    if level == Level::Root || embedded {
        for name in ["apiVersion", "kind"] {
            if let Some(property) = schema.at("properties").get(name).filter(|p| p.text("type") != "string") {
                let at = path.child("properties").key(name).child("type");
                errors.push(FieldError::invalid(&at, property.text("type"), "must be string"));
            }
        }
        if let Some(metadata) = schema.at("properties").get("metadata") {
            let at = path.child("properties").key("metadata");
            if metadata.text("type") != "object" {
                let why = "must be object";
                errors.push(FieldError::invalid(&at.child("type"), metadata.text("type"), why));
            }
            let known = ["name", "generateName"];
            let allowed = ["type", "description", "properties"];
            let others =
                metadata.as_object().into_iter().flatten().any(|(name, _)| !allowed.contains(&&**name))
                    || metadata.entries("properties").iter().any(|(name, _)| !known.contains(name));
            if others && level == Level::Root {
                errors.push(FieldError::forbidden(
                    &at,
                    "must not specify anything other than name and generateName, but metadata is implicitly specified",
                ));
            }
        }
    }
    if embedded && !preserves && schema.at("properties").as_object().is_none_or(serde_json::Map::is_empty) {
        errors.push(FieldError::required(
            &path.child("properties"),
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        ));
    }
}

/// Holds what `allOf`, `anyOf`, `oneOf` and `not` say to what a structural schema leaves to them.
fn nested(schema: &Value, path: &Path, int_or_string: bool, errors: &mut ErrorList) {
    for (word, plural) in [("allOf", true), ("anyOf", true), ("oneOf", true), ("not", false)] {
        let parts: Vec<(&Value, Path)> = if plural {
            let path = path.child(word);
            schema.items(word).iter().enumerate().map(|(i, part)| (part, path.index(i))).collect()
        } else {
            schema.get(word).map(|part| (part, path.child(word))).into_iter().collect()
        };
        for (part, path) in parts {
            // `anyOf` with an integer and a string is how int-or-string is written.
            constraint(part, &path, int_or_string, errors);
        }
    }
}

fn constraint(part: &Value, path: &Path, int_or_string: bool, errors: &mut ErrorList) {
    let mut forbid = |name: &str, why: &str| {
        errors.push(FieldError::forbidden(&path.child(name), format!("{why} to be structural")));
    };
    if part.at("additionalProperties").is_object() || part.has("additionalProperties") {
        forbid("additionalProperties", "must be undefined");
    }
    if !part.text("type").is_empty() && !int_or_string {
        forbid("type", "must be empty");
    }
    for name in ["title", "description"] {
        if !part.text(name).is_empty() {
            forbid(name, "must be empty");
        }
    }
    if part.has("default") {
        forbid("default", "must be undefined");
    }
    if part.truth("nullable") == Some(true) {
        forbid("nullable", "must be false");
    }
    for name in [
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
    ] {
        if part.truth(name) == Some(true) {
            forbid(name, "must be false");
        }
    }
    for (name, property) in part.entries("properties") {
        constraint(property, &path.child("properties").key(name), false, errors);
    }
    if part.at("items").is_object() {
        constraint(part.at("items"), &path.child("items"), false, errors);
    }
    nested(part, path, int_or_string, errors);
}
