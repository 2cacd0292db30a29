//! MutatingAdmissionPolicies and their bindings.

use serde_json::Value;

use super::admission_policies::{match_resources, variables};
use super::cursor::{At, Faults};
use super::expressions::{Extras, check, environment, json_patch_type, match_conditions, object_type};
use super::metadata::{self, MetaRules};
use super::webhooks::{choice, param_kind};
use crate::cel::{Environment, Type};
use crate::sim::field::ErrorList;
use crate::sim::object::{Fields, equal};

/// Validates a policy; match conditions that were there before stay unread.
pub(super) fn policy(object: &Value, rules: MetaRules, old: Option<&Value>) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let at = At::field(object, "spec");
    let failure = at.child("failurePolicy");
    if failure.is_null() {
        errors.required(&failure.path, "");
    }
    choice(&mut errors, &failure, &["Fail", "Ignore"]);
    let kind = at.child("paramKind");
    if kind.present() {
        param_kind(&mut errors, &kind);
    }
    let extras = Extras { params: kind.present(), authorizer: true };
    let constraints = at.child("matchConstraints");
    if constraints.is_null() {
        errors.required(&constraints.path, "");
    } else {
        match_resources(&mut errors, &constraints);
        let rules = constraints.child("resourceRules");
        if rules.is_empty() {
            errors.required(&rules.path, "");
        }
    }
    let same = old.is_some_and(|old| {
        ["matchConditions", "paramKind"]
            .iter()
            .all(|field| equal(old.at("spec").at(field), object.at("spec").at(field)))
    });
    if !same {
        match_conditions(&mut errors, &at.child("matchConditions"), extras);
    }
    let known = variables(&mut errors, &at.child("variables"), extras, Environment::constructing);
    let mutations = at.child("mutations");
    if mutations.is_empty() {
        errors.required(&mutations.path, "mutations must contain at least one item");
    }
    for item in mutations.items() {
        mutation(&mut errors, &item, extras, &known);
    }
    let again = at.child("reinvocationPolicy");
    if again.str().is_empty() {
        errors.required(&again.path, "");
    } else {
        choice(&mut errors, &again, &["IfNeeded", "Never"]);
    }
    errors
}

fn mutation(errors: &mut ErrorList, at: &At<'_>, extras: Extras, known: &[(String, Type)]) {
    let kind = at.child("patchType");
    let (configuration, patch) = (at.child("applyConfiguration"), at.child("jsonPatch"));
    let (own, other, of) = match kind.str() {
        "ApplyConfiguration" => (&configuration, &patch, object_type()),
        "JSONPatch" => (&patch, &configuration, json_patch_type()),
        "" => return errors.required(&kind.path, ""),
        _ => return choice(errors, &kind, &["ApplyConfiguration", "JSONPatch"]),
    };
    if own.is_null() {
        let words = format!("must be specified when patchType is {}", kind.str());
        errors.required(&own.path, &words);
    } else {
        let expression = own.child("expression");
        if expression.str().trim().is_empty() {
            errors.required(&expression.path, "expression is not specified");
        } else {
            let environment = environment(extras, Some(known)).constructing();
            check(errors, &expression.path, expression.str(), &environment, &[of]);
        }
    }
    if other.present() {
        let name = if kind.str() == "JSONPatch" { "applyConfiguration" } else { "jsonPatch" };
        let words = format!("must not be specified when patchType is {}", kind.str());
        errors.invalid(&other.path, format!("{{{name}}}"), words);
    }
}
