//! One rule of a role: what it matches, and how upstream prints it.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::sim::attributes::Attributes;

/// A PolicyRule.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The verbs; `*` for all.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub verbs: Vec<String>,
    /// The API groups; empty text for core, `*` for all.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// The resources: `pods`, `pods/log`, `*/scale`, `*`.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// The names of objects; none for all.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths; a trailing `*` stands for any rest.
    #[serde(default, rename = "nonResourceURLs", deserialize_with = "null_is_empty")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Rule {
    /// Reads the `rules` of a role; what does not read as a rule grants nothing.
    pub fn list_of(role: &Value) -> Vec<Self> {
        let rules = role.get("rules").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        rules.iter().filter_map(|rule| Self::deserialize(rule).ok()).collect()
    }

    /// Names a rule over resources of one group.
    pub fn resources(verbs: &[&str], groups: &[&str], resources: &[&str]) -> Self {
        let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Self { verbs: own(verbs), api_groups: own(groups), resources: own(resources), ..Self::default() }
    }

    /// Names a rule over paths.
    pub fn paths(verbs: &[&str], urls: &[&str]) -> Self {
        let own = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        Self { verbs: own(verbs), non_resource_urls: own(urls), ..Self::default() }
    }

    /// Tells whether the rule allows the request.
    pub fn allows(&self, request: &Attributes) -> bool {
        if !self.matches_verb(&request.verb) {
            return false;
        }
        if !request.is_resource_request() {
            return self.non_resource_urls.iter().any(|url| url_covers(url, &request.path));
        }
        self.api_groups.iter().any(|group| group == "*" || *group == request.group)
            && self
                .resources
                .iter()
                .any(|resource| covers_resource(resource, &request.resource, &request.subresource))
            && (self.resource_names.is_empty() || self.resource_names.contains(&request.name))
    }

    fn matches_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|own| own == "*" || own == verb)
    }

    /// Prints the rule as messages about escalation do: `{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}`.
    pub fn to_compact_string(&self) -> String {
        let parts: Vec<String> = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ]
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| format!("{name}:{}", quoted_list(values)))
        .collect();
        format!("{{{}}}", parts.join(", "))
    }
}

/// Prints texts as Go prints a slice of strings with `%q`: `["a" "b"]`.
pub(crate) fn quoted_list(values: &[String]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

/// Tells whether a path of a rule, perhaps with a trailing `*`, covers a path.
pub(super) fn url_covers(own: &str, path: &str) -> bool {
    own == "*" || own == path || (own.ends_with('*') && path.starts_with(own.trim_end_matches('*')))
}

fn covers_resource(own: &str, resource: &str, subresource: &str) -> bool {
    if own == "*" {
        return true;
    }
    if subresource.is_empty() {
        return own == resource;
    }
    let rest = own.strip_prefix(resource).and_then(|rest| rest.strip_prefix('/'));
    rest == Some(subresource) || own.strip_prefix("*/") == Some(subresource)
}
