//! Nodes.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules, label_key};
use super::pod::scheduling::taint_effect;
use super::{names, resources};
use crate::sim::field::{ErrorList, FieldError, Path};
use crate::sim::object::Fields;

pub(super) fn create(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    taints(&mut errors, object);
    amounts(&mut errors, object);
    let cidrs = At::field(object, "spec").child("podCIDRs");
    for cidr in cidrs.items() {
        errors.all(&cidr.path, cidr.str(), names::cidr(cidr.str()));
    }
    let list = cidrs.strings();
    if list.len() > 1 {
        let v6 = list.iter().filter(|cidr| cidr.contains(':')).count();
        if list.len() > 2 || v6 != 1 {
            errors.invalid(
                &cidrs.path,
                cidrs.value.clone(),
                "may specify no more than one CIDR for each IP family",
            );
        }
        let mut seen = BTreeSet::new();
        for cidr in cidrs.items().filter(|cidr| !seen.insert(cidr.str().to_owned())) {
            errors.duplicate(&cidr.path, cidr.str());
        }
    }
    errors
}

fn taints(errors: &mut ErrorList, object: &Value) {
    // Upstream tells taints as if they were metadata.
    let at = At::new(Path::new("metadata").child("taints"), object.at("spec").at("taints"));
    let mut seen = BTreeSet::new();
    for taint in at.items() {
        let (key, value, effect) = (taint.child("key"), taint.child("value"), taint.child("effect"));
        label_key(errors, &key.path, key.str());
        let messages = names::label_value(value.str());
        if !messages.is_empty() {
            errors.invalid(&value.path, value.str(), messages.join(";"));
        }
        taint_effect(errors, &effect, false);
        if !seen.insert((key.str(), effect.str())) {
            errors.push(
                FieldError::duplicate(&taint.path, super::cursor::exported(taint.value))
                    .saying("taints must be unique by key and effect pair"),
            );
        }
    }
}

fn amounts(errors: &mut ErrorList, object: &Value) {
    for list in ["capacity", "allocatable"] {
        let path = Path::new("status").child(list);
        for (name, amount) in object.at("status").entries(list) {
            resources::quantity(errors, name, &At::new(path.child(name), amount));
        }
    }
}

pub(super) fn update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    amounts(&mut errors, new);
    let mut seen: Vec<&Value> = Vec::new();
    for address in At::field(new, "status").child("addresses").items() {
        if seen.contains(&address.value) {
            errors.duplicate(&address.path, super::cursor::exported(address.value));
        }
        seen.push(address.value);
    }
    let (spec, before) = (At::field(new, "spec"), old.at("spec"));
    let (now, was) = (spec.value.texts("podCIDRs"), before.texts("podCIDRs"));
    let detail = "node updates may not change podCIDR except from \"\" to valid";
    if !was.is_empty() {
        if now.len() != was.len() {
            errors.forbidden(&spec.path.child("podCIDRs"), detail);
        } else {
            for _ in now.iter().zip(&was).filter(|(now, was)| now != was) {
                errors.forbidden(&spec.path.child("podCIDRs"), detail);
            }
        }
    }
    let id = before.text("providerID");
    if !id.is_empty() && id != spec.value.text("providerID") {
        errors.forbidden(
            &spec.path.child("providerID"),
            "node updates may not change providerID except from \"\" to valid",
        );
    }
    taints(&mut errors, new);
    if spec.value.at("externalID") != before.at("externalID") {
        errors.forbidden(&spec.path.child("externalID"), "may not be updated");
    }
    errors
}
