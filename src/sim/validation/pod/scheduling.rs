//! Where a Pod may run: affinity, tolerations, topology spread, gates.

use std::collections::BTreeSet;

use crate::sim::field::ErrorList;
use crate::sim::object::Fields;
use crate::sim::validation::cursor::{At, Faults, NOT_POSITIVE};
use crate::sim::validation::metadata::{label_key, label_selector};
use crate::sim::validation::names;

pub(super) fn affinity(errors: &mut ErrorList, at: &At<'_>) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let node = at.child("nodeAffinity");
    let required = node.child(REQUIRED);
    if required.present() {
        node_selector(errors, &required);
    }
    for term in node.child(PREFERRED).items() {
        weight(errors, &term);
        // A preference that no label can meet does no harm.
        node_selector_term(errors, &term.child("preference"), false);
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        let pods = at.child(name);
        for term in pods.child(REQUIRED).items() {
            pod_term(errors, &term);
        }
        for term in pods.child(PREFERRED).items() {
            weight(errors, &term);
            pod_term(errors, &term.child("podAffinityTerm"));
        }
    }
}

fn weight(errors: &mut ErrorList, term: &At<'_>) {
    let weight = term.child("weight");
    if !(1..=100).contains(&weight.number()) {
        errors.invalid(&weight.path, weight.number(), "must be in the range 1-100");
    }
}

/// Validates a NodeSelector, of Pods and of PersistentVolumes.
pub(crate) fn node_selector(errors: &mut ErrorList, at: &At<'_>) {
    let terms = at.child("nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(&terms.path, "must have at least one node selector term");
    }
    for term in terms.items() {
        node_selector_term(errors, &term, true);
    }
}

fn node_selector_term(errors: &mut ErrorList, at: &At<'_>, check_values: bool) {
    for rule in at.child("matchExpressions").items() {
        let (operator, values, key) = (rule.child("operator"), rule.child("values"), rule.child("key"));
        match operator.str() {
            "In" | "NotIn" => {
                if values.is_empty() {
                    errors.required(&values.path, "must be specified when `operator` is 'In' or 'NotIn'");
                }
            }
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    errors.forbidden(
                        &values.path,
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                    );
                }
            }
            "Gt" | "Lt" => {
                if values.len() != 1 {
                    errors.required(
                        &values.path,
                        "must be specified single value when `operator` is 'Lt' or 'Gt'",
                    );
                }
            }
            other => errors.invalid(&operator.path, other, "not a valid selector operator"),
        }
        label_key(errors, &key.path, key.str());
        if check_values {
            for value in values.items() {
                errors.all(&value.path, value.str(), names::label_value(value.str()));
            }
        }
    }
    for rule in at.child("matchFields").items() {
        let (operator, values, key) = (rule.child("operator"), rule.child("values"), rule.child("key"));
        match operator.str() {
            "In" | "NotIn" => {
                if values.len() != 1 {
                    errors.required(
                        &values.path,
                        "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                    );
                }
            }
            other => errors.invalid(&operator.path, other, "not a valid selector operator"),
        }
        if key.str() == "metadata.name" {
            for value in values.items() {
                errors.all(&value.path, value.str(), names::subdomain_name(value.str(), false));
            }
        } else {
            errors.invalid(&key.path, key.str(), "not a valid field selector key");
        }
    }
}

fn pod_term(errors: &mut ErrorList, at: &At<'_>) {
    let selector = at.child("labelSelector");
    label_selector(errors, &selector);
    label_selector(errors, &at.child("namespaceSelector"));
    for name in at.child("namespaces").strings() {
        errors.all(&at.path.child("namespace"), name, names::label_name(name, false));
    }
    let (matching, mismatching) = (at.child("matchLabelKeys"), at.child("mismatchLabelKeys"));
    for keys in [&matching, &mismatching] {
        if !keys.is_empty() && selector.is_null() {
            errors.forbidden(&keys.path, "must not be specified when labelSelector is not set");
        } else {
            keys.items().for_each(|key| label_key(errors, &key.path, key.str()));
        }
    }
    if selector.present() {
        let keys = matching.strings();
        let mut seen: BTreeSet<&str> =
            selector.value.entries("matchLabels").into_iter().map(|(key, _)| key).collect();
        for rule in selector.value.items("matchExpressions") {
            let key = rule.text("key");
            if let (Some(index), true) = (keys.iter().position(|name| *name == key), seen.contains(key)) {
                errors.invalid(&at.path.index(index), key, "exists in both matchLabelKeys and labelSelector");
            }
            seen.insert(key);
        }
    }
    let others = mismatching.strings();
    for key in matching.items().filter(|key| others.contains(&key.str())) {
        errors.invalid(&key.path, key.str(), "exists in both matchLabelKeys and mismatchLabelKeys");
    }
    let topology = at.child("topologyKey");
    if topology.str().is_empty() {
        errors.required(&topology.path, "can not be empty");
    }
    label_key(errors, &topology.path, topology.str());
}

/// Validates a taint's effect, or a toleration's.
pub(crate) fn taint_effect(errors: &mut ErrorList, at: &At<'_>, allow_empty: bool) {
    match at.str() {
        "NoSchedule" | "PreferNoSchedule" | "NoExecute" => {}
        "" if !allow_empty => errors.required(&at.path, ""),
        other => errors.not_supported(&at.path, other, &["NoSchedule", "PreferNoSchedule", "NoExecute"]),
    }
}

pub(crate) fn tolerations(errors: &mut ErrorList, at: &At<'_>) {
    for toleration in at.items() {
        let (key, operator, value, effect) = (
            toleration.child("key"),
            toleration.child("operator"),
            toleration.child("value"),
            toleration.child("effect"),
        );
        if !key.str().is_empty() {
            label_key(errors, &key.path, key.str());
        }
        if key.str().is_empty() && operator.str() != "Exists" {
            errors.invalid(
                &operator.path,
                operator.str(),
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        if toleration.value.has("tolerationSeconds") && effect.str() != "NoExecute" {
            errors.invalid(
                &effect.path,
                effect.str(),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        match operator.str() {
            "Equal" | "" => {
                let messages = names::label_value(value.str());
                if !messages.is_empty() {
                    errors.invalid(&operator.path, value.str(), messages.join(";"));
                }
            }
            "Exists" => {
                if !value.str().is_empty() {
                    errors.invalid(
                        &operator.path,
                        value.str(),
                        "value must be empty when `operator` is 'Exists'",
                    );
                }
            }
            other => errors.not_supported(&operator.path, other, &["Equal", "Exists"]),
        }
        if !effect.str().is_empty() {
            taint_effect(errors, &effect, true);
        }
    }
}

pub(super) fn topology_spread(errors: &mut ErrorList, at: &At<'_>) {
    let all: Vec<At<'_>> = at.items().collect();
    let mut later = BTreeSet::new();
    let mut repeated: Vec<bool> = all
        .iter()
        .rev()
        .map(|other| !later.insert((other.value.text("topologyKey"), other.value.text("whenUnsatisfiable"))))
        .collect();
    repeated.reverse();
    for (constraint, repeated) in all.iter().zip(repeated) {
        let (skew, key, action) = (
            constraint.child("maxSkew"),
            constraint.child("topologyKey"),
            constraint.child("whenUnsatisfiable"),
        );
        if skew.number() <= 0 {
            errors.invalid(&skew.path, skew.number(), NOT_POSITIVE);
        }
        if key.str().is_empty() {
            errors.required(&key.path, "can not be empty");
        }
        if !matches!(action.str(), "DoNotSchedule" | "ScheduleAnyway") {
            errors.not_supported(&action.path, action.str(), &["DoNotSchedule", "ScheduleAnyway"]);
        }
        if repeated {
            errors.duplicate(
                &constraint.path.child("{topologyKey, whenUnsatisfiable}"),
                format!("{{{}, {}}}", key.str(), action.str()),
            );
        }
        let domains = constraint.child("minDomains");
        if let Some(number) = domains.int() {
            if number <= 0 {
                errors.invalid(&domains.path, number, NOT_POSITIVE);
            }
            if action.str() != "DoNotSchedule" {
                errors.invalid(
                    &domains.path,
                    number,
                    format!(
                        "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {}",
                        action.str()
                    ),
                );
            }
        }
        for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            let policy = constraint.child(name);
            if policy.present() && !matches!(policy.str(), "Honor" | "Ignore") {
                errors.not_supported(&policy.path, policy.str(), &["Honor", "Ignore"]);
            }
        }
        let selector = constraint.child("labelSelector");
        spread_keys(errors, &constraint.child("matchLabelKeys"), &selector);
        label_selector(errors, &selector);
    }
}

fn spread_keys(errors: &mut ErrorList, keys: &At<'_>, selector: &At<'_>) {
    if keys.is_empty() {
        return;
    }
    if selector.is_null() {
        errors.forbidden(&keys.path, "must not be specified when labelSelector is not set");
    }
    let mut used: BTreeSet<&str> =
        selector.value.entries("matchLabels").into_iter().map(|(key, _)| key).collect();
    used.extend(selector.value.items("matchExpressions").iter().map(|rule| rule.text("key")));
    for key in keys.items() {
        label_key(errors, &key.path, key.str());
        if used.contains(key.str()) {
            errors.invalid(&key.path, key.str(), "exists in both matchLabelKeys and labelSelector");
        }
    }
}

pub(super) fn gates(errors: &mut ErrorList, spec: &At<'_>) {
    for gate in spec.child("readinessGates").items() {
        let kind = gate.child("conditionType");
        errors.all(&kind.path, kind.str(), names::qualified_name(kind.str()));
    }
    let mut seen = BTreeSet::new();
    for gate in spec.child("schedulingGates").items() {
        let name = gate.value.text("name");
        errors.all(&gate.path, name, names::qualified_name(name));
        if !seen.insert(name) {
            errors.duplicate(&gate.path, name);
        }
    }
}
