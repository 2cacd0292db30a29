//! Joins rules that differ in their verbs only, as upstream does before it prints or reviews them.

use super::rule::Rule;

/// Joins the verbs of rules over the same single resource; others stay as they are and come first.
pub fn compact(rules: &[Rule]) -> Vec<Rule> {
    let mut others = Vec::new();
    let mut simple: Vec<Rule> = Vec::new();
    for rule in rules {
        if !is_simple(rule) {
            others.push(rule.clone());
        } else if let Some(found) = simple.iter_mut().find(|found| same_resource(found, rule)) {
            found.verbs.extend(rule.verbs.iter().cloned());
        } else {
            simple.push(rule.clone());
        }
    }
    others.append(&mut simple);
    others
}

fn is_simple(rule: &Rule) -> bool {
    rule.resource_names.len() <= 1
        && rule.non_resource_urls.is_empty()
        && rule.api_groups.len() == 1
        && rule.resources.len() == 1
}

fn same_resource(a: &Rule, b: &Rule) -> bool {
    (&a.api_groups, &a.resources, &a.resource_names) == (&b.api_groups, &b.resources, &b.resource_names)
}
