//! PriorityClasses and RuntimeClasses.

use serde_json::Value;

use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules, labels};
use super::pod::{preemption_policy, scheduling};
use super::{names, resources};
use crate::sim::field::{ErrorList, Path};
use crate::sim::object::{Fields, equal};

const HIGHEST_USER_PRIORITY: i64 = 1_000_000_000;
/// The classes that Kubernetes defines, with their values.
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

pub(super) fn priority_class(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let name = object.at("metadata").text("name");
    let value = object.int("value").unwrap_or_default();
    if name.starts_with("system-") {
        let problem = match SYSTEM_CLASSES.iter().find(|(known, _)| *known == name) {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, known)) if *known != value => {
                Some(format!("value of {name} PriorityClass must be {known}"))
            }
            Some(_) if object.truth("globalDefault") == Some(true) => {
                Some(format!("globalDefault of {name} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        if let Some(problem) = problem {
            let words = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {problem}"
            );
            errors.forbidden(&Path::new("metadata").child("name"), words);
        }
    } else if value > HIGHEST_USER_PRIORITY {
        let words = format!("maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}");
        errors.forbidden(&Path::new("value"), words);
    }
    preemption_policy(&mut errors, &At::field(object, "preemptionPolicy"));
    errors
}

pub(super) fn priority_class_update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    let value = |object: &Value| object.int("value").unwrap_or_default();
    if value(new) != value(old) {
        errors.forbidden(&Path::new("value"), "may not be changed in an update.");
    }
    let path = Path::new("preemptionPolicy");
    errors.immutable(&path, new.at("preemptionPolicy"), old.at("preemptionPolicy"));
    errors
}

pub(super) fn runtime_class(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let handler = At::field(object, "handler");
    errors.all(&handler.path, handler.str(), names::label_name(handler.str(), false));
    let overhead = At::field(object, "overhead");
    if overhead.present() {
        // The amounts are told as if they were the limits of a container.
        for (name, amount) in overhead.child_as("podFixed", "limits").entries() {
            errors.extend(resources::container_resource_name(&amount.path, name));
            resources::quantity(&mut errors, name, &amount);
        }
    }
    let scheduling = At::field(object, "scheduling");
    labels(&mut errors, &scheduling.child("nodeSelector"));
    let tolerations = scheduling.child("tolerations");
    scheduling::tolerations(&mut errors, &tolerations);
    let mut seen: Vec<&Value> = Vec::new();
    for toleration in tolerations.items() {
        if seen.iter().any(|other| equal(other, toleration.value)) {
            errors.duplicate(&toleration.path, toleration.value.clone());
        }
        seen.push(toleration.value);
    }
    errors
}

pub(super) fn runtime_class_update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    errors.immutable(&Path::new("handler"), new.at("handler"), old.at("handler"));
    errors
}
