//! Which objects a check speaks of: a kind, and names, a selector or a condition. Lists them; judges nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::{Api, Kind};
use super::{CheckError, Finding, object};

/// A set of objects of one kind. At least one of `name`, `names`, `selector`, `where` and `all: true` says which.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Select {
    /// The API version, such as `v1` or `apps/v1`.
    pub api_version: String,
    /// The kind, such as `Deployment`.
    pub kind: String,
    /// The namespace; `*` means every namespace. Left out for kinds without namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The one object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Several names; `*` and `?` stand for any characters and any one character.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// A label selector as kubectl takes it: `app=api,tier in (web,db),!legacy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// A CEL expression over `object` that must be true for objects of the set.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Every object of the kind in the namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
}

/// What a selection found.
pub(crate) enum Selected {
    /// The objects, those on their way out included, ordered by namespace and name.
    Objects(Vec<Value>),
    /// Nothing could be found, for the reason in the finding: the kind is not served or the namespace is gone.
    Impossible(Finding),
}

impl Select {
    /// Pushes a fault for each thing that cannot be right.
    pub(crate) fn lint(&self, field: &str, faults: &mut Vec<String>) {
        let at = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
        if self.api_version.is_empty() {
            faults.push(format!("{}: name the API version, such as `v1`", at("apiVersion")));
        }
        if self.kind.is_empty() || self.kind.starts_with(char::is_lowercase) {
            faults.push(format!("{}: name the kind, such as `Deployment`", at("kind")));
        }
        let named = self.name.is_some() || !self.names.is_empty() || self.selector.is_some();
        if !named && self.condition.is_none() && !self.all {
            faults.push(format!("{}: say which objects: name, names, selector, where or all", at("name")));
        }
        if self.name.is_some() && (!self.names.is_empty() || self.selector.is_some() || self.all) {
            faults.push(format!("{}: one name leaves nothing to select", at("name")));
        }
        if self.name.as_deref().is_some_and(object::is_pattern) {
            faults.push(format!("{}: patterns belong into names", at("name")));
        }
        if self.name.is_some() && self.namespace.as_deref() == Some("*") {
            faults.push(format!("{}: one name lives in one namespace; use names", at("namespace")));
        }
        if let Some(condition) = &self.condition {
            object::lint_cel(&at("where"), condition, &["object"], faults);
        }
    }

    /// Says which objects are meant, for findings: `Pod shop/* with app=api`.
    pub(crate) fn describe(&self) -> String {
        let place = self.namespace.as_deref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let names = match &self.name {
            Some(name) => name.clone(),
            None if self.names.is_empty() => "*".to_owned(),
            None => self.names.join(","),
        };
        let labels = self.selector.as_ref().map(|selector| format!(" with {selector}")).unwrap_or_default();
        let condition = self.condition.as_ref().map(|text| format!(" where {text}")).unwrap_or_default();
        format!("{} {place}{names}{labels}{condition}", self.kind)
    }

    /// Finds the objects.
    ///
    /// # Errors
    /// [`CheckError`] when the API does not answer, or the specification cannot be meant.
    pub(crate) async fn objects(&self, api: &Api) -> Result<Selected, CheckError> {
        let Some(kind) = api.kind(&self.api_version, &self.kind).await? else {
            let served = format!("{} is served in {}", self.kind, self.api_version);
            return Ok(Selected::Impossible(Finding::new(self.describe(), "", served, "it is not")));
        };
        let namespace = self.place(&kind)?;
        let mut found = match &self.name {
            Some(name) => api.get(&kind, namespace, name).await?.into_iter().collect(),
            None => api.list(&kind, namespace, self.selector.as_deref()).await?,
        };
        if !self.names.is_empty() {
            found.retain(|item| {
                let name = item["metadata"]["name"].as_str().unwrap_or_default();
                self.names.iter().any(|pattern| object::matches(pattern, name))
            });
        }
        if let Some(condition) = &self.condition {
            found = filter(condition, found)?;
        }
        if let Some(namespace) = namespace.filter(|_| found.is_empty())
            && !api.has_namespace(namespace).await?
        {
            let finding = Finding::new(format!("Namespace {namespace}"), "", "it exists", "it does not");
            return Ok(Selected::Impossible(finding));
        }
        Ok(Selected::Objects(found))
    }

    /// Returns the one namespace to look into, if it is one.
    fn place(&self, kind: &Kind) -> Result<Option<&str>, CheckError> {
        match (kind.namespaced, self.namespace.as_deref()) {
            (true, None) => Err(CheckError::Spec(format!("{} lives in a namespace; name it", self.kind))),
            (false, Some(_)) => Err(CheckError::Spec(format!("{} lives in no namespace", self.kind))),
            (_, Some("*")) => Ok(None),
            (_, namespace) => Ok(namespace),
        }
    }
}

/// Keeps the objects for which the condition is true. An error is not taken for false: that would leave out objects
/// which the check is about.
fn filter(condition: &str, objects: Vec<Value>) -> Result<Vec<Value>, CheckError> {
    let program = object::compile(condition)?;
    let mut kept = Vec::new();
    for item in objects {
        let bindings = BTreeMap::from([("object".to_owned(), item)]);
        match program.evaluate(&bindings) {
            Ok(Value::Bool(true)) => kept.extend(bindings.into_values()),
            Ok(Value::Bool(false)) => {}
            Ok(other) => {
                return Err(CheckError::Spec(format!("where `{condition}` gave {}", object::show(&other))));
            }
            Err(error) => return Err(CheckError::Spec(format!("where `{condition}`: {error}"))),
        }
    }
    Ok(kept)
}
