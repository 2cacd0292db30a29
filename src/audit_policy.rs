//! An audit policy (`audit.k8s.io/v1`): its shape, and which rule a request falls under. Knows neither who reads policies
//! nor who writes events.
//!
//! Upstream: `k8s.io/apiserver/pkg/audit/policy/checker.go`.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// How much of a request is logged.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum Level {
    /// Nothing.
    None,
    /// Who, when, what, but no bodies.
    Metadata,
    /// Also the request's body.
    Request,
    /// Also the response's body.
    RequestResponse,
}

impl Level {
    /// Returns the level as policies write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// When in the life of a request an event is written.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
pub enum Stage {
    /// The request came in.
    RequestReceived,
    /// The headers of a long answer went out, as of a watch.
    ResponseStarted,
    /// The answer is complete.
    ResponseComplete,
    /// The server panicked.
    Panic,
}

impl Stage {
    /// Returns the stage as policies write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// A policy. Unknown keys are faults; who reads more leniently drops them before.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    /// `audit.k8s.io/v1`.
    pub api_version: String,
    /// `Policy`.
    pub kind: String,
    #[serde(default)]
    #[expect(dead_code, reason = "a policy may have metadata, which mean nothing")]
    metadata: Option<Value>,
    /// The rules, of which the first that matches decides.
    #[serde(default, deserialize_with = "nullable")]
    pub rules: Vec<Rule>,
    /// Stages that are never written.
    #[serde(default, deserialize_with = "nullable")]
    pub omit_stages: Vec<Stage>,
    /// Whether bodies are written without `metadata.managedFields`.
    #[serde(default, deserialize_with = "nullable")]
    pub omit_managed_fields: bool,
}

/// A rule: every list that is not empty must match.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// How much is logged.
    pub level: Level,
    /// User names.
    #[serde(default, deserialize_with = "nullable")]
    pub users: Vec<String>,
    /// Groups, of which the user is in one.
    #[serde(default, deserialize_with = "nullable")]
    pub user_groups: Vec<String>,
    /// Verbs.
    #[serde(default, deserialize_with = "nullable")]
    pub verbs: Vec<String>,
    /// Resources by group.
    #[serde(default, deserialize_with = "nullable")]
    pub resources: Vec<GroupResources>,
    /// Namespaces; the empty one stands for resources outside namespaces.
    #[serde(default, deserialize_with = "nullable")]
    pub namespaces: Vec<String>,
    /// Paths that are no resources; `*` at the end stands for anything.
    #[serde(default, deserialize_with = "nullable", rename = "nonResourceURLs")]
    pub non_resource_urls: Vec<String>,
    /// Stages that are not written, beside those of the policy.
    #[serde(default, deserialize_with = "nullable")]
    pub omit_stages: Vec<Stage>,
    /// As the policy's, for this rule.
    #[serde(default)]
    pub omit_managed_fields: Option<bool>,
}

/// Resources of one API group.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupResources {
    /// The group without version; empty for core.
    #[serde(default, deserialize_with = "nullable")]
    pub group: String,
    /// `pods`, `pods/log`, `pods/*`, `*/scale`, `*`; all of the group when empty.
    #[serde(default, deserialize_with = "nullable")]
    pub resources: Vec<String>,
    /// Names of objects; any when empty.
    #[serde(default, deserialize_with = "nullable")]
    pub resource_names: Vec<String>,
}

/// One request, as the policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The user's name; nothing when nobody knows who asks.
    pub user: &'a str,
    /// The user's groups.
    pub groups: &'a [String],
    /// The verb.
    pub verb: &'a str,
    /// Group and `resource/subresource`; `None` when it is about a path.
    pub resource: Option<(&'a str, &'a str)>,
    /// The namespace.
    pub namespace: &'a str,
    /// The object's name in the path.
    pub name: &'a str,
    /// The path.
    pub path: &'a str,
}

/// What a policy makes of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How much is logged.
    pub level: Level,
    /// The rule that matched.
    pub rule: Option<usize>,
    /// The stages that are not written.
    pub omitted: BTreeSet<Stage>,
    /// Whether bodies are written without managed fields.
    pub omit_managed_fields: bool,
}

impl Outcome {
    /// Returns how many events one such request gives.
    pub fn events(&self, verb: &str) -> u64 {
        if self.level == Level::None {
            return 0;
        }
        let stages = [
            (Stage::RequestReceived, true),
            (Stage::ResponseStarted, verb == "watch"),
            (Stage::ResponseComplete, true),
        ];
        stages.iter().filter(|(stage, happens)| *happens && !self.omitted.contains(stage)).count() as u64
    }
}

impl Policy {
    /// Decides about a request: by the first rule that matches, and not at all without one.
    pub fn of(&self, request: &Request<'_>) -> Outcome {
        let mut omitted: BTreeSet<Stage> = self.omit_stages.iter().copied().collect();
        match self.rules.iter().position(|rule| rule.matches(request)) {
            Some(index) => {
                let rule = &self.rules[index];
                omitted.extend(&rule.omit_stages);
                Outcome {
                    level: rule.level,
                    rule: Some(index),
                    omitted,
                    omit_managed_fields: rule.omit_managed_fields.unwrap_or(self.omit_managed_fields),
                }
            }
            None => Outcome {
                level: Level::None,
                rule: None,
                omitted,
                omit_managed_fields: self.omit_managed_fields,
            },
        }
    }
}

impl Rule {
    fn matches(&self, request: &Request<'_>) -> bool {
        let has = |list: &[String], text: &str| list.iter().any(|item| item == text);
        if !self.users.is_empty() && !has(&self.users, request.user) {
            return false;
        }
        if !self.user_groups.is_empty() && !request.groups.iter().any(|group| has(&self.user_groups, group)) {
            return false;
        }
        if !self.verbs.is_empty() && !has(&self.verbs, request.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            // A rule that asks for a namespace or a resource is not about other paths.
            let Some((group, resource)) = request.resource else { return false };
            if !self.namespaces.is_empty() && !has(&self.namespaces, request.namespace) {
                return false;
            }
            return self.resources.is_empty()
                || self.resources.iter().any(|of| of.matches(group, resource, request.name));
        }
        if !self.non_resource_urls.is_empty() {
            return request.resource.is_none()
                && self.non_resource_urls.iter().any(|spec| path_matches(spec, request.path));
        }
        true
    }
}

impl GroupResources {
    fn matches(&self, group: &str, resource: &str, name: &str) -> bool {
        if self.group != group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        if !self.resource_names.is_empty() && !self.resource_names.iter().any(|item| item == name) {
            return false;
        }
        let (plain, sub) = match resource.split_once('/') {
            Some((plain, sub)) => (plain, Some(sub)),
            None => (resource, None),
        };
        self.resources.iter().any(|spec| {
            spec == "*"
                || spec == resource
                || sub.is_some_and(|sub| spec.strip_prefix("*/") == Some(sub))
                // Upstream takes the resource itself for matched, too.
                || spec.strip_suffix("/*") == Some(plain)
        })
    }
}

/// Returns what the API server refuses in a policy of the right shape, with where it is and in its words
/// (`k8s.io/apiserver/pkg/apis/audit/validation`).
pub fn faults(policy: &Value) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    stages(&policy["omitStages"], "omitStages", &mut faults);
    for (index, rule) in list(&policy["rules"]).iter().enumerate() {
        let at = format!("rules[{index}]");
        match rule["level"].as_str().unwrap_or_default() {
            "" => faults.push((format!("{at}.level"), "Required value".to_owned())),
            level if LEVELS.contains(&level) => {}
            level => {
                let levels: Vec<String> = LEVELS.iter().map(|level| format!("{level:?}")).collect();
                let text = format!("Unsupported value: {level:?}: supported values: {}", levels.join(", "));
                faults.push((format!("{at}.level"), text));
            }
        }
        let urls = list(&rule["nonResourceURLs"]);
        for (nth, url) in urls.iter().enumerate() {
            let text = url.as_str().unwrap_or_default();
            let mut fault =
                |detail| faults.push((format!("{at}.nonResourceURLs[{nth}]"), invalid(url, detail)));
            if text != "*" && !text.starts_with('/') {
                fault("non-resource URL rules must begin with a '/' character");
            }
            if text.find('*').is_some_and(|star| star + 1 < text.len()) {
                fault("non-resource URL wildcards '*' must be the final character of the rule");
            }
        }
        for group in list(&rule["resources"]) {
            let name = group["group"].as_str().unwrap_or_default();
            if !name.is_empty() && !is_subdomain(name) {
                faults.push((format!("{at}.resources.group"), invalid(&group["group"], SUBDOMAIN)));
            }
            if !list(&group["resourceNames"]).is_empty() && list(&group["resources"]).is_empty() {
                let text =
                    invalid(&group["resourceNames"], "using resourceNames requires at least one resource");
                faults.push((format!("{at}.resources.resourceNames"), text));
            }
        }
        stages(&rule["omitStages"], &format!("{at}.omitStages"), &mut faults);
        let of_resources = !list(&rule["resources"]).is_empty() || !list(&rule["namespaces"]).is_empty();
        if of_resources && !urls.is_empty() {
            let text = "rules cannot apply to both regular resources and non-resource URLs";
            faults.push((format!("{at}.nonResourceURLs"), invalid(&rule["nonResourceURLs"], text)));
        }
    }
    if list(&policy["rules"]).is_empty() {
        faults.push((String::new(), "loaded illegal policy with 0 rules".to_owned()));
    }
    faults
}

const LEVELS: [&str; 4] = ["None", "Metadata", "Request", "RequestResponse"];
const STAGES: [&str; 4] = ["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"];
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn invalid(value: &Value, detail: &str) -> String {
    format!("Invalid value: {value}: {detail}")
}

fn stages(stages: &Value, at: &str, faults: &mut Vec<(String, String)>) {
    for (index, stage) in list(stages).iter().enumerate() {
        if !STAGES.contains(&stage.as_str().unwrap_or_default()) {
            let detail = format!("allowed stages are {}", STAGES.join(","));
            faults.push((format!("{at}[{index}]"), invalid(stage, &detail)));
        }
    }
}

fn is_subdomain(name: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Reads null as nothing given, as Kubernetes does.
fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn path_matches(spec: &str, path: &str) -> bool {
    spec == "*" || spec == path || (spec.ends_with('*') && path.starts_with(spec.trim_end_matches('*')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(
        rules: &str,
        resource: Option<(&str, &str)>,
        namespace: &str,
        name: &str,
        path: &str,
    ) -> Outcome {
        let text = format!(
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n{rules}"
        );
        let policy: Policy = serde_saphyr::from_str(&text).unwrap();
        let groups = ["system:authenticated".to_owned(), "dev".to_owned()];
        policy.of(&Request { user: "ann", groups: &groups, verb: "get", resource, namespace, name, path })
    }

    #[test]
    fn resources_match_as_the_server_matches_them() {
        let rule = |spec: &str| format!("- level: Request\n  resources: [{spec}]\n");
        for (spec, group, resource, name, expected) in [
            (r#"{group: "", resources: [pods]}"#, "", "pods", "", true),
            (r#"{group: "", resources: [pods]}"#, "", "pods/log", "", false),
            (r#"{group: "", resources: ["pods/*"]}"#, "", "pods/log", "", true),
            (r#"{group: "", resources: ["pods/*"]}"#, "", "pods", "", true),
            (r#"{group: "", resources: ["*/log"]}"#, "", "pods/log", "", true),
            (r#"{group: "", resources: ["*/log"]}"#, "", "pods", "", false),
            (r#"{group: "", resources: ["*"]}"#, "", "pods/exec", "", true),
            (r#"{group: "", resources: [pod]}"#, "", "pods", "", false),
            ("{group: core, resources: [pods]}", "", "pods", "", false),
            ("{resources: [pods]}", "", "pods", "", true),
            ("{group: apps}", "apps", "deployments/scale", "", true),
            ("{group: apps}", "", "pods", "", false),
            (r#"{group: "", resources: [pods], resourceNames: [a]}"#, "", "pods", "a", true),
            (r#"{group: "", resources: [pods], resourceNames: [a]}"#, "", "pods", "", false),
        ] {
            let outcome = outcome(&rule(spec), Some((group, resource)), "x", name, "");
            assert_eq!(outcome.level == Level::Request, expected, "{spec} {group} {resource}");
        }
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = "- level: None\n  nonResourceURLs: [\"/healthz*\", /version]\n- level: Metadata\n  namespaces: [\"\"]\n- level: Request\n  userGroups: [dev]\n  omitManagedFields: true\n";
        assert_eq!(outcome(rules, None, "", "", "/healthz/ping").rule, Some(0));
        assert_eq!(outcome(rules, None, "", "", "/versions").rule, Some(2));
        assert_eq!(outcome(rules, Some(("", "nodes")), "", "", "").rule, Some(1));
        let last = outcome(rules, Some(("", "pods")), "x", "", "");
        assert_eq!((last.rule, last.omit_managed_fields, last.events("watch")), (Some(2), true, 2));
        assert_eq!(outcome("- level: Request\n  users: [bob]\n", None, "", "", "/").level, Level::None);
    }

    #[test]
    fn what_the_server_refuses_is_a_fault() {
        for (rules, expected) in [
            ("rules: []", "loaded illegal policy with 0 rules"),
            (
                "rules: [{level: metadata}]",
                "Unsupported value: \"metadata\": supported values: \"None\", \"Metadata\", \"Request\", \"RequestResponse\"",
            ),
            ("rules: [{users: [a]}]", "Required value"),
            (
                "rules: [{level: None, nonResourceURLs: [healthz]}]",
                "Invalid value: \"healthz\": non-resource URL rules must begin with a '/' character",
            ),
            (
                "rules: [{level: None, nonResourceURLs: [\"/a*b\"]}]",
                "Invalid value: \"/a*b\": non-resource URL wildcards '*' must be the final character of the rule",
            ),
            (
                "rules: [{level: None, nonResourceURLs: [/a], namespaces: [b]}]",
                "Invalid value: [\"/a\"]: rules cannot apply to both regular resources and non-resource URLs",
            ),
            (
                "rules: [{level: None, resources: [{resourceNames: [b]}]}]",
                "Invalid value: [\"b\"]: using resourceNames requires at least one resource",
            ),
            (
                "{omitStages: [Begin], rules: [{level: None}]}",
                "Invalid value: \"Begin\": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic",
            ),
        ] {
            let found = faults(&serde_saphyr::from_str(rules).unwrap());
            assert_eq!(found.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(), [expected]);
        }
        let found =
            faults(&serde_saphyr::from_str("rules: [{level: None, resources: [{group: apps/v1}]}]").unwrap());
        assert!(
            found[0].1.starts_with("Invalid value: \"apps/v1\": a lowercase RFC 1123 subdomain"),
            "{found:?}"
        );
    }
}
