//! The CustomResourceDefinition itself: what it must be, when its names are accepted, how it goes.

use serde_json::{Value, json};

use crate::cel::{CelError, Program};
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

/// Validates what makes a schema structural, and compiles its CEL rules.
pub fn validate_definition(definition: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = Path::new("spec");
    for (index, version) in definition.at("spec").items("versions").iter().enumerate() {
        let path = spec.child("versions").index(index).child("schema").child("openAPIV3Schema");
        let schema = version.dig(&["schema", "openAPIV3Schema"]);
        if schema.is_object() {
            structural(schema, &path, true, &mut errors);
        }
    }
    errors
}

fn structural(schema: &Value, path: &Path, root: bool, errors: &mut ErrorList) {
    let kind = schema.text("type");
    let int_or_string = schema.truth("x-kubernetes-int-or-string") == Some(true);
    let preserves = super::preserves_unknown(schema);
    if kind.is_empty() && !int_or_string && !preserves {
        let at = if root {
            "must not be empty at the root"
        } else {
            "must not be empty for specified object fields"
        };
        errors.push(FieldError::required(&path.child("type"), at));
    } else if root && kind != "object" {
        errors.push(FieldError::invalid(&path.child("type"), kind, "must be object at the root"));
    }
    for (index, rule) in schema.items("x-kubernetes-validations").iter().enumerate() {
        let path = path.child("x-kubernetes-validations").index(index);
        for field in ["rule", "messageExpression"] {
            let source = rule.text(field);
            if source.is_empty() {
                continue;
            }
            if let Err(CelError::Compile { message, .. }) = Program::compile(source) {
                let value = if field == "rule" { rule.clone() } else { source.into() };
                errors.push(FieldError::invalid(
                    &path.child(field),
                    value,
                    format!("compilation failed: {message}"),
                ));
            }
        }
        if rule.text("rule").trim().is_empty() {
            errors.push(FieldError::required(&path.child("rule"), "rule is not specified"));
        }
    }
    for (name, property) in schema.entries("properties") {
        structural(property, &path.child("properties").key(name), false, errors);
    }
    if schema.at("additionalProperties").is_object() {
        structural(schema.at("additionalProperties"), &path.child("additionalProperties"), false, errors);
    }
    let items = schema.at("items");
    if items.is_object() {
        structural(items, &path.child("items"), false, errors);
    } else if kind == "array" {
        errors.push(FieldError::required(&path.child("items"), "must be specified"));
    }
}
