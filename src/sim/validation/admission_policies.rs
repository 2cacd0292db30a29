//! ValidatingAdmissionPolicies and their bindings.

use serde_json::Value;

use super::cursor::{At, Faults};
use super::expressions::{Extras, check, environment, match_conditions};
use super::metadata::{self, MetaRules, label_selector};
use super::names;
use super::webhooks::{choice, param_kind, qualified_name, rule_with_operations};
use crate::cel::{Environment, RESERVED, Type};
use crate::sim::field::ErrorList;
use crate::sim::object::{Fields, equal};

/// How many audit annotations a policy may have.
const MOST_ANNOTATIONS: usize = 20;
/// How long the expression of an audit annotation may be.
const LONGEST_ANNOTATION: usize = 5 * 1024;

const NOTHING_TO_DO: &str = "validations or auditAnnotations must contain at least one item";
const DENY_AND_WARN: &str = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";

pub(super) fn policy(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    spec(&mut errors, object, true);
    errors
}

/// Validates a changed policy; match conditions that were there before stay unread.
pub(super) fn policy_update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(new, rules);
    let conditions = |object: &Value| object.at("spec").at("matchConditions").clone();
    let kind = |object: &Value| object.at("spec").at("paramKind").clone();
    let same = equal(&conditions(new), &conditions(old)) && equal(&kind(new), &kind(old));
    spec(&mut errors, new, !same);
    errors
}

fn spec(errors: &mut ErrorList, object: &Value, conditions: bool) {
    let at = At::field(object, "spec");
    let failure = at.child("failurePolicy");
    if failure.is_null() {
        errors.required(&failure.path, "");
    }
    choice(errors, &failure, &["Fail", "Ignore"]);
    let kind = at.child("paramKind");
    if kind.present() {
        param_kind(errors, &kind);
    }
    let extras = Extras { params: kind.present(), authorizer: true };
    let constraints = at.child("matchConstraints");
    if constraints.is_null() {
        errors.required(&constraints.path, "");
    } else {
        match_resources(errors, &constraints);
        let rules = constraints.child("resourceRules");
        if rules.is_empty() {
            errors.required(&rules.path, "");
        }
    }
    if conditions {
        match_conditions(errors, &at.child("matchConditions"), extras);
    }
    let variables = variables(errors, &at.child("variables"), extras, |plain| plain);
    let (validations, annotations) = (at.child("validations"), at.child("auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        errors.required(&validations.path, NOTHING_TO_DO);
        errors.required(&annotations.path, NOTHING_TO_DO);
        return;
    }
    for item in validations.items() {
        validation(errors, &item, extras, &variables);
    }
    audit_annotations(errors, &annotations, object.at("metadata").text("name"), extras, &variables);
}

/// Reads the variables of a policy; `shape` makes an environment what the policy's kind has it.
pub(super) fn variables(
    errors: &mut ErrorList,
    list: &At<'_>,
    extras: Extras,
    shape: fn(Environment) -> Environment,
) -> Vec<(String, Type)> {
    let mut known = Vec::new();
    for variable in list.items() {
        let (name, expression) = (variable.child("name"), variable.child("expression"));
        if name.str().trim().is_empty() {
            errors.required(&name.path, "name is not specified");
        } else if !is_identifier(name.str()) {
            errors.invalid(&name.path, name.str(), "name is not a valid CEL identifier");
        }
        if expression.str().trim().is_empty() {
            errors.required(&expression.path, "expression is not specified");
            continue;
        }
        let environment = shape(environment(extras, Some(&known)));
        let program = check(errors, &expression.path, expression.str(), &environment, &[]);
        let of = program.map_or(Type::Dyn, |program| program.output().clone());
        known.push((name.str().to_owned(), of));
    }
    known
}

fn is_identifier(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|first| first == '_' || first.is_ascii_alphabetic())
        && letters.all(|letter| letter == '_' || letter.is_ascii_alphanumeric())
        && !RESERVED.contains(&name)
}

fn validation(errors: &mut ErrorList, at: &At<'_>, extras: Extras, variables: &[(String, Type)]) {
    let expression = at.child("expression");
    if expression.str().trim().is_empty() {
        errors.required(&expression.path, "expression is not specified");
    } else {
        let environment = environment(extras, Some(variables));
        check(errors, &expression.path, expression.str(), &environment, &[Type::Bool]);
    }
    let told = at.child("messageExpression");
    if !told.str().is_empty() && told.str().trim().is_empty() {
        errors.invalid(&told.path, told.str(), "must be non-empty if specified");
    } else if !told.str().is_empty() {
        let environment = environment(Extras { authorizer: false, ..extras }, Some(variables));
        check(errors, &told.path, told.str(), &environment, &[Type::String]);
    }
    let message = at.child("message");
    if !message.str().is_empty() && message.str().trim().is_empty() {
        errors.invalid(&message.path, message.str(), "message must be non-empty if specified");
    } else if message.str().trim().contains(['\n', '\r']) {
        errors.invalid(&message.path, message.str(), "message must not contain line breaks");
    }
    choice(errors, &at.child("reason"), &["Forbidden", "Invalid", "RequestEntityTooLarge"]);
}

fn audit_annotations(
    errors: &mut ErrorList,
    list: &At<'_>,
    policy: &str,
    extras: Extras,
    variables: &[(String, Type)],
) {
    if list.len() > MOST_ANNOTATIONS {
        let words = format!("must not have more than {MOST_ANNOTATIONS} auditAnnotations");
        errors.invalid(&list.path, list.value.clone(), words);
    }
    let environment = environment(extras, Some(variables));
    let mut keys = Vec::new();
    for annotation in list.items() {
        let (key, expression) = (annotation.child("key"), annotation.child("valueExpression"));
        if policy.is_empty() {
            qualified_name(errors, &key.path, key.str());
        } else {
            qualified_name(errors, &key.path, &format!("{policy}/{}", key.str()));
        }
        let size = expression.str().trim().len();
        if size == 0 {
            errors.required(&expression.path, "valueExpression is not specified");
        } else if size > LONGEST_ANNOTATION {
            let words = format!("must not exceed {LONGEST_ANNOTATION} bytes in length");
            errors.required(&expression.path, &words);
        } else {
            let types = [Type::String, Type::Null];
            check(errors, &expression.path, expression.str(), &environment, &types);
        }
        if keys.contains(&key.str()) {
            errors.duplicate(&key.path, key.str());
        }
        keys.push(key.str());
    }
}

pub(super) fn match_resources(errors: &mut ErrorList, at: &At<'_>) {
    if at.is_null() {
        return;
    }
    let policy = at.child("matchPolicy");
    if policy.is_null() {
        errors.required(&policy.path, "");
    }
    choice(errors, &policy, &["Equivalent", "Exact"]);
    for selector in [at.child("namespaceSelector"), at.child_as("objectSelector", "labelSelector")] {
        if selector.is_null() {
            errors.required(&selector.path, "");
        } else {
            label_selector(errors, &selector);
        }
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in at.child(list).items() {
            let mut seen = Vec::new();
            for name in rule.child("resourceNames").items() {
                errors.all(&name.path, name.str(), names::path_segment_name(name.str(), false));
                if seen.contains(&name.str()) {
                    errors.duplicate(&name.path, name.str());
                }
                seen.push(name.str());
            }
            rule_with_operations(errors, &rule);
        }
    }
}

pub(super) fn binding(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = any_binding(object, rules);
    actions(&mut errors, &At::field(object, "spec").child("validationActions"));
    errors
}

/// Validates what bindings of validating and of mutating policies have in common.
pub(super) fn any_binding(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let spec = At::field(object, "spec");
    let policy = spec.child("policyName");
    if policy.str().is_empty() {
        errors.required(&policy.path, "");
    } else {
        errors.all(&policy.path, policy.str(), names::dns1123_subdomain(policy.str()));
    }
    param_ref(&mut errors, &spec.child("paramRef"));
    // Upstream's path has this misspelling.
    match_resources(&mut errors, &spec.child_as("matchResources", "matchResouces"));
    errors
}

pub(super) fn param_ref(errors: &mut ErrorList, at: &At<'_>) {
    if at.is_null() {
        return;
    }
    let (name, selector) = (at.child("name"), at.child("selector"));
    let exclusive = "name and selector are mutually exclusive";
    let named = !name.str().is_empty();
    if named {
        errors.all(&name.path, name.str(), names::path_segment_name(name.str(), false));
        if selector.present() {
            errors.forbidden(&name.path, exclusive);
        }
    }
    if selector.present() {
        label_selector(errors, &selector);
        if named {
            errors.forbidden(&selector.path, exclusive);
        }
    }
    if !named && selector.is_null() {
        errors.required(&at.path, "one of name or selector must be specified");
    }
    let missing = at.child("parameterNotFoundAction");
    if missing.str().is_empty() {
        errors.required(&missing.path, "");
    } else {
        choice(errors, &missing, &["Allow", "Deny"]);
    }
}

fn actions(errors: &mut ErrorList, list: &At<'_>) {
    let mut seen = Vec::new();
    for action in list.items() {
        choice(errors, &action, &["Audit", "Deny", "Warn"]);
        if seen.contains(&action.str()) {
            errors.duplicate(&action.path, action.str());
        }
        seen.push(action.str());
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        errors.invalid(&list.path, list.value.clone(), DENY_AND_WARN);
    }
    if seen.is_empty() {
        errors.required(&list.path, "at least one validation action is required");
    }
}
