//! An audit policy as the API server reads it: its shape, its validation, and which rule a request falls under.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{self, Malformed, nullable};

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

/// A policy.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Policy {
    api_version: String,
    kind: String,
    #[serde(default)]
    #[expect(dead_code, reason = "a policy may have metadata, which mean nothing")]
    metadata: Option<Value>,
    #[serde(default, deserialize_with = "nullable")]
    rules: Vec<Rule>,
    #[serde(default, deserialize_with = "nullable")]
    omit_stages: Vec<Stage>,
    #[serde(default, deserialize_with = "nullable")]
    omit_managed_fields: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Level,
    #[serde(default, deserialize_with = "nullable")]
    users: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    user_groups: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    verbs: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    resources: Vec<GroupResources>,
    #[serde(default, deserialize_with = "nullable")]
    namespaces: Vec<String>,
    #[serde(default, deserialize_with = "nullable", rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    #[serde(default, deserialize_with = "nullable")]
    group: String,
    #[serde(default, deserialize_with = "nullable")]
    resources: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    resource_names: Vec<String>,
}

/// One request, as the policy sees it.
pub(super) struct Request<'a> {
    pub(super) user: &'a str,
    pub(super) groups: &'a [String],
    pub(super) verb: &'a str,
    /// Group and `resource/subresource`; `None` when it is about a path.
    pub(super) resource: Option<(&'a str, &'a str)>,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) path: &'a str,
}

/// What a policy makes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) level: Level,
    /// The rule that matched.
    pub(super) rule: Option<usize>,
    pub(super) omitted: BTreeSet<Stage>,
    pub(super) omit_managed_fields: bool,
}

impl Outcome {
    /// Returns how many events one such request gives.
    pub(super) fn events(&self, verb: &str) -> u64 {
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
    /// Parses a policy.
    pub(super) fn parse(text: &str) -> Result<Self, Malformed> {
        document::yaml(text)
    }

    /// Returns what the API server would refuse, with where it is.
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |path: String, text: &str| faults.push((path, text.to_owned()));
        if self.api_version != "audit.k8s.io/v1" {
            fault("apiVersion".to_owned(), &format!("`{}`, not `audit.k8s.io/v1`", self.api_version));
        }
        if self.kind != "Policy" {
            fault("kind".to_owned(), &format!("`{}`, not `Policy`", self.kind));
        }
        if self.rules.is_empty() {
            fault("rules".to_owned(), "a policy without rules is refused");
        }
        for (index, rule) in self.rules.iter().enumerate() {
            let at = format!("rules[{index}]");
            let of_resources = !rule.resources.is_empty() || !rule.namespaces.is_empty();
            if of_resources && !rule.non_resource_urls.is_empty() {
                fault(format!("{at}.nonResourceURLs"), "a rule is about resources or about other paths");
            }
            for url in rule.non_resource_urls.iter().filter(|url| *url != "*") {
                let place = || format!("{at}.nonResourceURLs");
                if !url.starts_with('/') {
                    fault(place(), &format!("`{url}` does not begin with /"));
                }
                if url.find('*').is_some_and(|star| star + 1 < url.len()) {
                    fault(place(), &format!("`{url}` has a wildcard that is not at its end"));
                }
            }
            for (nth, group) in rule.resources.iter().enumerate() {
                if !group.group.is_empty() && !is_subdomain(&group.group) {
                    let text = format!("`{}` is no name of an API group", group.group);
                    fault(format!("{at}.resources[{nth}].group"), &text);
                }
                if !group.resource_names.is_empty() && group.resources.is_empty() {
                    fault(format!("{at}.resources[{nth}].resourceNames"), "names without a resource");
                }
            }
        }
        faults
    }

    /// Decides about a request: by the first rule that matches, and not at all without one.
    pub(super) fn of(&self, request: &Request<'_>) -> Outcome {
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

fn path_matches(spec: &str, path: &str) -> bool {
    spec == "*" || spec == path || (spec.ends_with('*') && path.starts_with(spec.trim_end_matches('*')))
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
        let policy = Policy::parse(&text).unwrap();
        assert_eq!(policy.faults(), Vec::new());
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
        for rules in [
            "rules: []",
            "rules: [{level: None, nonResourceURLs: [healthz]}]",
            "rules: [{level: None, nonResourceURLs: [\"/a*b\"]}]",
            "rules: [{level: None, nonResourceURLs: [/a], namespaces: [b]}]",
            "rules: [{level: None, resources: [{group: apps/v1}]}]",
            "rules: [{level: None, resources: [{resourceNames: [b]}]}]",
        ] {
            let policy =
                Policy::parse(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}\n")).unwrap();
            assert_eq!(policy.faults().len(), 1, "{rules}");
        }
        for text in
            ["rules: [{level: metadata}]", "rules: [{level: None, resource: [a]}]", "rules: [{users: [a]}]"]
        {
            assert!(
                Policy::parse(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{text}\n")).is_err(),
                "{text}"
            );
        }
    }
}
