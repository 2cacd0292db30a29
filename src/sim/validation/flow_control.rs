//! FlowSchemas and PriorityLevelConfigurations.

use serde_json::Value;

use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules};
use super::names;
use super::webhooks::choice;
use crate::sim::field::ErrorList;

const VERBS: [&str; 10] =
    ["*", "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const PATH_VERBS: [&str; 9] = ["*", "delete", "get", "head", "options", "patch", "post", "put", "watch"];
const HIGHEST_PRECEDENCE: i64 = 10_000;
const MOST_QUEUES: i64 = 10_000_000;

pub(super) fn create(kind: &str, object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    body(&mut errors, kind, object);
    errors
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    errors.extend(create(kind, new, rules));
    errors
}

fn body(errors: &mut ErrorList, kind: &str, object: &Value) {
    let name = At::field(object, "metadata").child("name");
    let spec = At::field(object, "spec");
    match kind {
        "FlowSchema" => schema(errors, name.str(), &spec),
        _ => level(errors, name.str(), &spec),
    }
}

fn schema(errors: &mut ErrorList, name: &str, spec: &At<'_>) {
    let precedence = spec.child("matchingPrecedence");
    let number = precedence.number();
    if number <= 0 {
        errors.invalid(&precedence.path, number, "must be a positive value");
    }
    if number > HIGHEST_PRECEDENCE {
        errors.invalid(&precedence.path, number, format!("must not be greater than {HIGHEST_PRECEDENCE}"));
    }
    if number == 1 && name != "exempt" {
        let words = "only the schema named 'exempt' may have matchingPrecedence 1";
        errors.invalid(&precedence.path, number, words);
    }
    let method = spec.child("distinguisherMethod");
    if method.present() && !matches!(method.child("type").str(), "ByNamespace" | "ByUser") {
        let path = method.path.child("type");
        errors.not_supported(&path, method.child("type").str(), &["ByNamespace", "ByUser"]);
    }
    let level = spec.child("priorityLevelConfiguration").child("name");
    if level.str().is_empty() {
        errors.required(&level.path, "must reference a priority level");
    } else {
        errors.all(&level.path, level.str(), names::subdomain_name(level.str(), false));
    }
    for rule in spec.child("rules").items() {
        let subjects = rule.child("subjects");
        if subjects.is_empty() {
            errors.required(&subjects.path, "subjects must contain at least one value");
        }
        for subject in subjects.items() {
            self::subject(errors, &subject);
        }
        let (resources, paths) = (rule.child("resourceRules"), rule.child("nonResourceRules"));
        if resources.is_empty() && paths.is_empty() {
            let words = "at least one of resourceRules and nonResourceRules has to be non-empty";
            errors.required(&rule.path, words);
        }
        for rule in resources.items() {
            resource_rule(errors, &rule);
        }
        for rule in paths.items() {
            path_rule(errors, &rule);
        }
    }
}

fn subject(errors: &mut ErrorList, at: &At<'_>) {
    const KINDS: [(&str, &str); 3] =
        [("ServiceAccount", "serviceAccount"), ("User", "user"), ("Group", "group")];
    let kind = at.child("kind");
    let Some((_, own)) = KINDS.iter().find(|(known, _)| *known == kind.str()) else {
        errors.not_supported(&kind.path, kind.str(), &["Group", "ServiceAccount", "User"]);
        return;
    };
    let field = at.child(own);
    if field.is_null() {
        let words = format!("{own} is required when subject kind is '{}'", kind.str());
        errors.required(&field.path, &words);
    } else {
        let (name, namespace) = (field.child("name"), field.child("namespace"));
        if name.str().is_empty() {
            errors.required(&name.path, "");
        } else if *own == "serviceAccount" && name.str() != "*" {
            errors.all(&name.path, name.str(), names::subdomain_name(name.str(), false));
        }
        if *own == "serviceAccount" {
            if namespace.str().is_empty() {
                errors.required(&namespace.path, "must specify namespace for service account");
            } else {
                errors.all(&namespace.path, namespace.str(), names::label_name(namespace.str(), false));
            }
        }
    }
    for (known, field) in KINDS.iter().filter(|(_, field)| field != own && at.value.get(field).is_some()) {
        let words = format!("{field} is forbidden when subject kind is not '{known}'");
        errors.forbidden(&at.path.child(field), words);
    }
}

/// A list that must have something, where the wildcard stands alone.
fn filled(errors: &mut ErrorList, list: &At<'_>, empty: &str, others: &str) -> bool {
    if list.is_empty() {
        errors.required(&list.path, empty);
    } else if list.len() > 1 && list.strings().contains(&"*") {
        let words = format!("if '*' is present, must not specify other {others}");
        errors.invalid(&list.path, list.value.clone(), words);
    } else {
        return true;
    }
    false
}

fn verbs(errors: &mut ErrorList, list: &At<'_>, known: &[&str]) {
    let good = filled(errors, list, "verbs must contain at least one value", "verbs");
    if good && !list.strings().iter().all(|verb| known.contains(verb)) {
        errors.not_supported(&list.path, list.value.clone(), known);
    }
}

fn resource_rule(errors: &mut ErrorList, at: &At<'_>) {
    verbs(errors, &at.child("verbs"), &VERBS);
    let groups = "resource rules must supply at least one api group";
    filled(errors, &at.child("apiGroups"), groups, "api groups");
    let resources = "resource rules must supply at least one resource";
    filled(errors, &at.child("resources"), resources, "resources");
    let namespaces = at.child("namespaces");
    if namespaces.is_empty() {
        if !at.child("clusterScope").is_true() {
            let words = "resource rules that are not cluster scoped must supply at least one namespace";
            errors.required(&namespaces.path, words);
        }
    } else if filled(errors, &namespaces, "", "namespaces") {
        for namespace in namespaces.items().filter(|namespace| namespace.str() != "*") {
            errors.all(&namespace.path, namespace.str(), names::label_name(namespace.str(), false));
        }
    }
}

fn path_rule(errors: &mut ErrorList, at: &At<'_>) {
    verbs(errors, &at.child("verbs"), &PATH_VERBS);
    let paths = at.child("nonResourceURLs");
    if !filled(errors, &paths, "nonResourceURLs must contain at least one value", "non-resource URLs") {
        return;
    }
    for path in paths.items().filter(|path| path.str() != "*") {
        let text = path.str();
        if text.is_empty() {
            errors.invalid(&path.path, text, "must not be empty");
        } else if text.contains(' ') {
            errors.invalid(&path.path, text, "must not contain white-space");
        } else if !text.starts_with('/') {
            errors.invalid(&path.path, text, "must start with slash");
        } else if text.contains("//") {
            errors.invalid(&path.path, text, "must not contain double slash");
        } else if text.find('*').is_some_and(|star| star + 1 != text.len()) {
            errors.invalid(&path.path, text, "wildcard can only be specified at the end");
        }
    }
}

fn level(errors: &mut ErrorList, name: &str, spec: &At<'_>) {
    let (kind, limited, exempt) = (spec.child("type"), spec.child("limited"), spec.child("exempt"));
    if (name == "exempt") != (kind.str() == "Exempt") {
        let words = "type must be 'Exempt' if and only if name is 'exempt'";
        errors.invalid(&kind.path, kind.str(), words);
    }
    match kind.str() {
        "Exempt" => {
            if limited.present() {
                errors.forbidden(&limited.path, "must be nil if the type is not Limited");
            }
            shares(errors, &exempt);
        }
        "Limited" => {
            if exempt.present() {
                errors.forbidden(&exempt.path, "must be nil if the type is Limited");
            }
            if limited.is_null() {
                errors.required(&limited.path, "must not be empty when type is Limited");
            } else {
                shares(errors, &limited);
                response(errors, &limited.child("limitResponse"));
            }
        }
        other => errors.not_supported(&kind.path, other, &["Exempt", "Limited"]),
    }
}

fn shares(errors: &mut ErrorList, at: &At<'_>) {
    let (shares, lent, borrowed) = (
        at.child("nominalConcurrencyShares"),
        at.child("lendablePercent"),
        at.child("borrowingLimitPercent"),
    );
    if shares.number() < 0 {
        errors.invalid(&shares.path, shares.number(), "must be a non-negative integer");
    }
    if !(0..=100).contains(&lent.number()) {
        errors.invalid(&lent.path, lent.number(), "must be between 0 and 100, inclusive");
    }
    if borrowed.number() < 0 {
        let words = "if specified, must be a non-negative integer";
        errors.invalid(&borrowed.path, borrowed.number(), words);
    }
}

fn response(errors: &mut ErrorList, at: &At<'_>) {
    let (kind, queuing) = (at.child("type"), at.child("queuing"));
    match kind.str() {
        "Reject" => {
            if queuing.present() {
                let words = "must be nil if limited.limitResponse.type is not Limited";
                errors.forbidden(&queuing.path, words);
            }
        }
        "Queue" => {
            if queuing.is_null() {
                let words = "must not be empty if limited.limitResponse.type is Limited";
                errors.required(&queuing.path, words);
            } else {
                queues(errors, &queuing);
            }
        }
        _ => choice(errors, &At::new(kind.path.clone(), &kind.str().into()), &["Queue", "Reject"]),
    }
}

fn queues(errors: &mut ErrorList, at: &At<'_>) {
    let (length, queues, hand) = (at.child("queueLengthLimit"), at.child("queues"), at.child("handSize"));
    if length.number() <= 0 {
        errors.invalid(&length.path, length.number(), "must be positive");
    }
    if queues.number() <= 0 {
        errors.invalid(&queues.path, queues.number(), "must be positive");
    } else if queues.number() > MOST_QUEUES {
        let words = format!("must not be greater than {MOST_QUEUES}");
        errors.invalid(&queues.path, queues.number(), words);
    }
    if hand.number() <= 0 {
        errors.invalid(&hand.path, hand.number(), "must be positive");
    } else if hand.number() > queues.number() {
        let words = format!("should not be greater than queues ({})", queues.number());
        errors.invalid(&hand.path, hand.number(), words);
    }
}
