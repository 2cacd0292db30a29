//! Whether a set of rules holds all that another set grants, by upstream's comparison rule by rule.

use super::rule::{Rule, url_covers};

/// Returns the single permissions of `wanted` that no rule of `held` covers, broken down to one verb on one resource.
pub fn uncovered(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    wanted.iter().flat_map(break_down).filter(|part| !held.iter().any(|own| covers(own, part))).collect()
}

fn break_down(rule: &Rule) -> Vec<Rule> {
    let one = |text: &String| vec![text.clone()];
    let mut parts = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let part = Rule {
                    verbs: one(verb),
                    api_groups: one(group),
                    resources: one(resource),
                    ..Rule::default()
                };
                if rule.resource_names.is_empty() {
                    parts.push(part);
                    continue;
                }
                parts.extend(
                    rule.resource_names.iter().map(|name| Rule { resource_names: one(name), ..part.clone() }),
                );
            }
        }
    }
    for url in &rule.non_resource_urls {
        for verb in &rule.verbs {
            parts.push(Rule { verbs: one(verb), non_resource_urls: one(url), ..Rule::default() });
        }
    }
    parts
}

fn covers(own: &Rule, part: &Rule) -> bool {
    let names = if part.resource_names.is_empty() {
        own.resource_names.is_empty()
    } else {
        own.resource_names.is_empty() || has_all(&own.resource_names, &part.resource_names)
    };
    names
        && (has(&own.verbs, "*") || has_all(&own.verbs, &part.verbs))
        && (has(&own.api_groups, "*") || has_all(&own.api_groups, &part.api_groups))
        && covers_resources(&own.resources, &part.resources)
        && part
            .non_resource_urls
            .iter()
            .all(|path| own.non_resource_urls.iter().any(|url| url_covers(url, path)))
}

fn covers_resources(own: &[String], wanted: &[String]) -> bool {
    has(own, "*")
        || wanted.iter().all(|resource| {
            has(own, resource)
                || resource
                    .split_once('/')
                    .is_some_and(|(_, subresource)| has(own, &format!("*/{subresource}")))
        })
}

fn has(set: &[String], item: &str) -> bool {
    set.iter().any(|own| own == item)
}

fn has_all(set: &[String], items: &[String]) -> bool {
    items.iter().all(|item| has(set, item))
}
