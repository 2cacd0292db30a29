//! Policy documents: their shape, what is wrong with them, and the decision about one request.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::super::object::matches;
use super::condition::{Operator, holds};

/// A policy document.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Policy {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "a name without meaning")]
    id: Option<String>,
    #[serde(deserialize_with = "one_or_many")]
    statement: Vec<Statement>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    #[serde(default)]
    sid: Option<String>,
    effect: Effect,
    #[serde(default)]
    principal: Option<Value>,
    #[serde(default)]
    not_principal: Option<Value>,
    #[serde(default, deserialize_with = "texts")]
    action: Option<Vec<String>>,
    #[serde(default, deserialize_with = "texts")]
    not_action: Option<Vec<String>>,
    #[serde(default, deserialize_with = "texts")]
    resource: Option<Vec<String>>,
    #[serde(default, deserialize_with = "texts")]
    not_resource: Option<Vec<String>>,
    #[serde(default)]
    condition: BTreeMap<String, BTreeMap<String, Value>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

/// One request.
pub(super) struct Request<'a> {
    pub(super) action: &'a str,
    pub(super) resource: &'a str,
    /// Context keys in lower case.
    pub(super) context: &'a BTreeMap<String, Value>,
}

/// What was decided, and by which statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Allowed(String),
    Denied(String),
    NotAllowed,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed(by) => write!(f, "allowed (by {by})"),
            Self::Denied(by) => write!(f, "denied (by {by})"),
            Self::NotAllowed => f.write_str("denied (no statement allows it)"),
        }
    }
}

/// Decides about a request by all policies together.
pub(super) fn decide(policies: &[Policy], request: &Request<'_>) -> Decision {
    let mut decision = Decision::NotAllowed;
    for policy in policies {
        for (index, statement) in policy.statement.iter().enumerate() {
            if !statement.applies(request, policy.has_variables()) {
                continue;
            }
            let by = statement.sid.clone().unwrap_or_else(|| format!("Statement[{index}]"));
            match statement.effect {
                Effect::Deny => return Decision::Denied(by),
                Effect::Allow if decision == Decision::NotAllowed => decision = Decision::Allowed(by),
                Effect::Allow => {}
            }
        }
    }
    decision
}

impl Policy {
    /// Policy variables came with the newer version of the language; without a version the older one is meant.
    fn has_variables(&self) -> bool {
        self.version.as_deref() == Some("2012-10-17")
    }

    /// Returns what the cloud would refuse.
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |path: String, text: String| faults.push((path, text));
        if let Some(version) = &self.version
            && !["2012-10-17", "2008-10-17"].contains(&version.as_str())
        {
            fault("Version".to_owned(), format!("`{version}` is no version of the language"));
        }
        for (index, statement) in self.statement.iter().enumerate() {
            let at = format!("Statement[{index}]");
            if statement.principal.is_some() || statement.not_principal.is_some() {
                fault(format!("{at}.Principal"), "an identity's policy has no principal".to_owned());
            }
            for (name, one, other) in [
                ("Action", &statement.action, &statement.not_action),
                ("Resource", &statement.resource, &statement.not_resource),
            ] {
                if one.is_some() == other.is_some() {
                    fault(format!("{at}.{name}"), format!("give {name} or Not{name}"));
                }
                if one.iter().chain(other).any(Vec::is_empty) {
                    fault(format!("{at}.{name}"), "an empty list".to_owned());
                }
            }
            for action in statement.action.iter().chain(&statement.not_action).flatten() {
                let fine = action == "*"
                    || action.split_once(':').is_some_and(|(service, name)| {
                        !service.is_empty() && !service.contains(['*', '?']) && !name.is_empty()
                    });
                if !fine {
                    fault(format!("{at}.Action"), format!("`{action}` is no action"));
                }
            }
            for resource in statement.resource.iter().chain(&statement.not_resource).flatten() {
                if resource != "*" && !(resource.starts_with("arn:") && resource.split(':').count() >= 6) {
                    fault(format!("{at}.Resource"), format!("`{resource}` is neither an ARN nor `*`"));
                }
            }
            for name in statement.condition.keys().filter(|name| Operator::parse(name).is_none()) {
                fault(format!("{at}.Condition"), format!("`{name}` is no condition operator"));
            }
        }
        faults
    }
}

impl Statement {
    fn applies(&self, request: &Request<'_>, variables: bool) -> bool {
        let is_action = |pattern: &String| matches(&pattern.to_lowercase(), &request.action.to_lowercase());
        let is_resource = |pattern: &String| match expand(pattern, request.context, variables) {
            Some(pattern) => resource_matches(&pattern, request.resource),
            // A variable that the request does not have: the pattern means nothing.
            None => false,
        };
        let action = match (&self.action, &self.not_action) {
            (Some(actions), _) => actions.iter().any(is_action),
            (None, Some(actions)) => !actions.iter().any(is_action),
            (None, None) => false,
        };
        let resource = match (&self.resource, &self.not_resource) {
            (Some(resources), _) => resources.iter().any(is_resource),
            (None, Some(resources)) => !resources.iter().any(is_resource),
            (None, None) => false,
        };
        let condition = |(name, keys): (&String, &BTreeMap<String, Value>)| {
            let Some(operator) = Operator::parse(name) else { return false };
            keys.iter().all(|(key, wanted)| {
                let wanted: Vec<Option<String>> =
                    listed(wanted).iter().map(|text| expand(text, request.context, variables)).collect();
                // A value with a variable that is not there equals nothing.
                let wanted: Vec<String> = wanted.into_iter().flatten().collect();
                holds(&operator, request.context.get(&key.to_lowercase()), &wanted)
            })
        };
        action && resource && self.condition.iter().all(condition)
    }
}

/// Compares the parts of ARNs one by one, the last one as a whole: a wildcard does not reach over into other parts.
fn resource_matches(pattern: &str, resource: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    let (wanted, given): (Vec<&str>, Vec<&str>) =
        (pattern.splitn(6, ':').collect(), resource.splitn(6, ':').collect());
    wanted.len() == given.len() && wanted.iter().zip(&given).all(|(wanted, given)| matches(wanted, given))
}

/// Puts policy variables in; `None` when one of them is not in the request.
fn expand(text: &str, context: &BTreeMap<String, Value>, variables: bool) -> Option<String> {
    if !variables {
        return Some(text.to_owned());
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        out.push_str(&rest[..at]);
        let Some((inside, after)) = rest[at + 2..].split_once('}') else { break };
        let (name, default) = match inside.split_once(',') {
            Some((name, default)) => (name.trim(), Some(default.trim().trim_matches('\''))),
            None => (inside.trim(), None),
        };
        if ["*", "?", "$"].contains(&name) {
            out.push_str(name);
        } else {
            let value = context.get(&name.to_lowercase()).and_then(|value| listed(value).into_iter().next());
            out.push_str(&value.or_else(|| default.map(str::to_owned))?);
        }
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

/// Reads one value or several as texts.
pub(super) fn listed(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Array(items) => items.iter().map(text).collect(),
        Value::Null => Vec::new(),
        other => vec![text(other)],
    }
}

fn texts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(Some(vec![text])),
        Value::Array(items) => {
            let texts =
                items.into_iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
            texts.map(Some).ok_or_else(|| serde::de::Error::custom("a list of texts is expected"))
        }
        _ => Err(serde::de::Error::custom("a text or a list of texts is expected")),
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Statement>, D::Error> {
    let statements = match Value::deserialize(deserializer)? {
        Value::Array(items) => items,
        one => vec![one],
    };
    statements
        .into_iter()
        .enumerate()
        .map(|(index, statement)| {
            Statement::deserialize(statement)
                .map_err(|error| serde::de::Error::custom(format!("Statement[{index}]: {error}")))
        })
        .collect()
}
