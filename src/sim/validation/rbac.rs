//! Roles and bindings.

use serde_json::Value;

use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules, label_selector};
use super::names;
use crate::sim::field::{ErrorList, Path};
use crate::sim::object::{Fields, equal};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn create(kind: &str, object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    body(&mut errors, kind, object, rules.namespaced);
    errors
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    // Upstream validates the whole again, and then what may not change.
    let mut errors = create(kind, new, rules);
    errors.extend(metadata::validate_update(new, old, rules.core));
    if matches!(kind, "RoleBinding" | "ClusterRoleBinding") && !equal(new.at("roleRef"), old.at("roleRef")) {
        errors.invalid_object(&Path::new("roleRef"), new.at("roleRef"), "cannot change roleRef");
    }
    errors
}

fn body(errors: &mut ErrorList, kind: &str, object: &Value, namespaced: bool) {
    match kind {
        "Role" | "ClusterRole" => {
            for rule in At::field(object, "rules").items() {
                policy_rule(errors, &rule, namespaced);
            }
            aggregation(errors, &At::field(object, "aggregationRule"));
        }
        _ => {
            role_ref(errors, &At::field(object, "roleRef"), namespaced);
            for subject in At::field(object, "subjects").items() {
                self::subject(errors, &subject, namespaced);
            }
        }
    }
}

fn aggregation(errors: &mut ErrorList, at: &At<'_>) {
    if at.is_null() {
        return;
    }
    let selectors = at.child("clusterRoleSelectors");
    if selectors.is_empty() {
        errors.required(
            &selectors.path,
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        );
    }
    for selector in selectors.items() {
        label_selector(errors, &selector);
    }
}

fn policy_rule(errors: &mut ErrorList, at: &At<'_>, namespaced: bool) {
    let verbs = at.child("verbs");
    if verbs.is_empty() {
        errors.required(&verbs.path, "verbs must contain at least one value");
    }
    let urls = at.child("nonResourceURLs");
    let (groups, resources, names) =
        (at.child("apiGroups"), at.child("resources"), at.child("resourceNames"));
    if !urls.is_empty() {
        if namespaced {
            errors.invalid(
                &urls.path,
                urls.value.clone(),
                "namespaced rules cannot apply to non-resource URLs",
            );
        }
        if !groups.is_empty() || !resources.is_empty() || !names.is_empty() {
            errors.invalid(
                &urls.path,
                urls.value.clone(),
                "rules cannot apply to both regular resources and non-resource URLs",
            );
        }
        return;
    }
    if groups.is_empty() {
        errors.required(&groups.path, "resource rules must supply at least one api group");
    }
    if resources.is_empty() {
        errors.required(&resources.path, "resource rules must supply at least one resource");
    }
}

fn role_ref(errors: &mut ErrorList, at: &At<'_>, namespaced: bool) {
    let (group, kind, name) = (at.child("apiGroup"), at.child("kind"), at.child("name"));
    if group.str() != GROUP {
        errors.not_supported(&group.path, group.str(), &[GROUP]);
    }
    let known: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !known.contains(&kind.str()) {
        errors.not_supported(&kind.path, kind.str(), known);
    }
    if name.str().is_empty() {
        errors.required(&name.path, "");
    } else {
        errors.all(&name.path, name.str(), names::path_segment_name(name.str(), false));
    }
}

fn subject(errors: &mut ErrorList, at: &At<'_>, namespaced: bool) {
    let (group, kind, name, namespace) =
        (at.child("apiGroup"), at.child("kind"), at.child("name"), at.child("namespace"));
    if name.str().is_empty() {
        errors.required(&name.path, "");
    }
    match kind.str() {
        "ServiceAccount" => {
            if !name.str().is_empty() {
                errors.all(&name.path, name.str(), names::subdomain_name(name.str(), false));
            }
            if !group.str().is_empty() {
                errors.not_supported(&group.path, group.str(), &[""]);
            }
            // In a RoleBinding it may be left out, and then names nobody.
            if !namespaced && namespace.str().is_empty() {
                errors.required(&namespace.path, "");
            }
        }
        kind @ ("User" | "Group") => {
            if name.str().is_empty() {
                errors.invalid(&name.path, "", format!("{} name cannot be empty", kind.to_lowercase()));
            }
            if group.str() != GROUP {
                errors.not_supported(&group.path, group.str(), &[GROUP]);
            }
        }
        other => errors.not_supported(&kind.path, other, &["ServiceAccount", "User", "Group"]),
    }
}
