//! The roles and bindings that every cluster starts with, and how the API server keeps them whole.

use serde_json::{Value, json};

use super::rule::Rule;
use super::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, uncovered};
use crate::sim::resource::GroupResource;

const OBJECTS: &str = include_str!("bootstrap.json");
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Returns the objects in the order in which a new cluster gets them: cluster roles, their bindings, roles, their
/// bindings. The namespace, where there is one, stands in the metadata.
pub fn objects() -> Vec<(GroupResource, Value)> {
    // A test reads the embedded data, so that it cannot fail to parse here.
    let objects: Vec<Value> = serde_json::from_str(OBJECTS).unwrap_or_default();
    objects
        .into_iter()
        .map(|mut object| {
            object["apiVersion"] = json!("rbac.authorization.k8s.io/v1");
            let resource = match object["kind"].as_str() {
                Some("ClusterRole") => &CLUSTER_ROLES,
                Some("ClusterRoleBinding") => &CLUSTER_ROLE_BINDINGS,
                Some("Role") => &ROLES,
                _ => &ROLE_BINDINGS,
            };
            (resource.clone(), object)
        })
        .collect()
}

/// Returns what a start of the API server writes for one bootstrap object: the object itself when it is gone, the
/// existing one with what it lacks when it may be updated, nothing when nothing is missing.
///
/// Additions by an administrator stay. A binding to another role is replaced. `autoupdate: "false"` protects the object.
pub fn reconcile(existing: Option<&Value>, expected: &Value) -> Option<Value> {
    let Some(existing) = existing else { return Some(expected.clone()) };
    if existing["metadata"]["annotations"][AUTO_UPDATE] == "false" {
        return None;
    }
    let mut result = existing.clone();
    for field in ["labels", "annotations"] {
        if let Some(expected) = expected["metadata"][field].as_object() {
            for (key, value) in expected {
                if result["metadata"][field].get(key).is_none() {
                    result["metadata"][field][key.as_str()] = value.clone();
                }
            }
        }
    }
    if expected.get("roleRef").is_some() {
        if existing["roleRef"] != expected["roleRef"] {
            return Some(expected.clone());
        }
        reconcile_subjects(&mut result, expected);
    } else if let Some(rule) = expected.get("aggregationRule") {
        reconcile_selectors(&mut result, rule);
    } else {
        let missing = super::compact(&uncovered(&Rule::list_of(existing), &Rule::list_of(expected)));
        if !missing.is_empty() {
            let mut rules = Rule::list_of(existing);
            rules.extend(missing);
            result["rules"] = json!(rules);
        }
    }
    (result != *existing).then_some(result)
}

fn reconcile_subjects(result: &mut Value, expected: &Value) {
    let mut subjects = result["subjects"].as_array().cloned().unwrap_or_default();
    for subject in expected["subjects"].as_array().into_iter().flatten() {
        if !subjects.contains(subject) {
            subjects.push(subject.clone());
        }
    }
    if !subjects.is_empty() {
        result["subjects"] = subjects.into();
    }
}

fn reconcile_selectors(result: &mut Value, expected: &Value) {
    let own = &result["aggregationRule"]["clusterRoleSelectors"];
    let mut selectors = own.as_array().cloned().unwrap_or_default();
    for selector in expected["clusterRoleSelectors"].as_array().into_iter().flatten() {
        if !selectors.contains(selector) {
            selectors.push(selector.clone());
        }
    }
    result["aggregationRule"] = json!({ "clusterRoleSelectors": selectors });
}
