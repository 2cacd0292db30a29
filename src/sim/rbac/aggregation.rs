//! ClusterRole aggregation: the rules that a role with an aggregationRule gathers from labelled roles.

use serde_json::{Value, json};

use super::rule::Rule;
use crate::sim::selectors::Selector;

/// Returns the rules that `role` should have, gathered from `all` ClusterRoles; nothing when it does not aggregate.
///
/// Selectors are taken in order; under each, roles by name; a rule that is already there is not repeated.
pub fn aggregated_rules(role: &Value, all: &[std::sync::Arc<Value>]) -> Option<Vec<Rule>> {
    let selectors = role.get("aggregationRule")?.get("clusterRoleSelectors")?.as_array()?;
    let name = &role["metadata"]["name"];
    let mut rules: Vec<Rule> = Vec::new();
    for wanted in selectors {
        let Ok(selector) = Selector::from_label_selector(wanted) else { continue };
        let mut found: Vec<&Value> = all
            .iter()
            .map(AsRef::as_ref)
            .filter(|other| other["metadata"]["name"] != *name)
            .filter(|other| selector.matches(&other["metadata"]["labels"]))
            .collect();
        found.sort_by_key(|other| other["metadata"]["name"].as_str());
        for rule in found.into_iter().flat_map(Rule::list_of) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
    }
    Some(rules)
}

/// Returns the role with its gathered rules when that changes it.
pub fn aggregate(role: &Value, all: &[std::sync::Arc<Value>]) -> Option<Value> {
    let rules = aggregated_rules(role, all)?;
    if Rule::list_of(role) == rules {
        return None;
    }
    let mut role = role.clone();
    role["rules"] = json!(rules);
    Some(role)
}
