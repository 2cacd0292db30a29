//! `resource`: expectations about one object or a named set, or its stated absence.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::Api;
use super::expect::Expect;
use super::select::{Select, Selected};
use super::{Check, CheckCx, CheckError, Finding, Verdict, object};

/// Looks at one object, or at a set that is named and not empty, with CEL.
///
/// The set is what `name`, `names`, `selector` and `where` leave of the kind in the namespace. An empty set fails
/// unless `absent: true` asks for it; absence is believed only while the API answers and serves the kind. A
/// namespace that is gone is a failure too: nothing in it can be as expected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Resource {
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
    /// Several names, each of which must match an object; `*` and `?` stand for any characters and any one.
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
    /// Exactly how many objects the set has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// How many objects the set has at least; 1 when neither this nor `count` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<u32>,
    /// Expectations about each object of the set, as `object`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub each: Vec<Expect>,
    /// Expectations about the set as a whole, as the list `objects`, ordered by namespace and name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub together: Vec<Expect>,
    /// No such object may exist; then `each`, `together` and the counts are left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
}

impl Resource {
    fn select(&self) -> Select {
        Select {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            names: self.names.clone(),
            selector: self.selector.clone(),
            condition: self.condition.clone(),
            all: self.all,
        }
    }

    /// Finds fault with how many objects there are and which names are missing.
    fn count(&self, select: &Select, found: &[Value], findings: &mut Vec<Finding>) {
        for pattern in &self.names {
            let there = found
                .iter()
                .any(|item| object::matches(pattern, item["metadata"]["name"].as_str().unwrap_or_default()));
            if !there {
                let one = Select { names: vec![pattern.clone()], ..select.clone() };
                findings.push(Finding::new(one.describe(), "", "it exists", "it does not"));
            }
        }
        let (actual, at_least) = (found.len() as u64, u64::from(self.at_least.unwrap_or(1)));
        match self.count {
            Some(count) if u64::from(count) != actual => {
                let names = found.iter().map(object::key).collect::<Vec<_>>().join(", ");
                let actual = if names.is_empty() { "none".to_owned() } else { format!("{actual}: {names}") };
                findings.push(Finding::new(
                    select.describe(),
                    "",
                    format!("exactly {count}"),
                    object::shorten(&actual),
                ));
            }
            None if actual == 0 && self.name.is_some() => {
                findings.push(Finding::new(select.describe(), "", "it exists", "it does not"));
            }
            None if actual < at_least && findings.is_empty() => {
                let expected = format!("at least {at_least}");
                let actual = if actual == 0 { "none".to_owned() } else { actual.to_string() };
                findings.push(Finding::new(select.describe(), "", expected, actual));
            }
            _ => {}
        }
    }
}

impl Check for Resource {
    fn lint(&self, faults: &mut Vec<String>) {
        self.select().lint("", faults);
        object::lint_expects("each", &self.each, &["object"], faults);
        object::lint_expects("together", &self.together, &["objects"], faults);
        for (index, expect) in self.each.iter().enumerate() {
            if !expect.path.is_empty() && !object::is_path(&expect.path) && expect.actual.is_none() {
                faults.push(format!("each[{index}].path: not a path; give `actual` to show something else"));
            }
        }
        let counted = self.count.is_some() || self.at_least.is_some();
        if self.absent && (counted || !self.each.is_empty() || !self.together.is_empty()) {
            faults.push("absent: what is not there cannot be counted or looked at".to_owned());
        }
        if self.count == Some(0) || self.at_least == Some(0) {
            faults.push("count: say `absent: true` when there should be none".to_owned());
        }
        if self.count.is_some() && self.at_least.is_some() {
            faults.push("count: give count or atLeast, not both".to_owned());
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let select = self.select();
        let mut found = match select.objects(&api).await? {
            Selected::Objects(found) => found,
            Selected::Impossible(finding) => return Ok(Verdict::Fail(vec![finding])),
        };
        let mut findings = Vec::new();
        if self.absent {
            for item in &found {
                let actual = if object::is_going(item) { "it is being deleted" } else { "it exists" };
                findings.push(Finding::new(object::display(item), "", "it does not exist", actual));
            }
            return Ok(Verdict::of(findings));
        }
        // What is on its way out no longer counts, whatever it says.
        found.retain(|item| !object::is_going(item));
        self.count(&select, &found, &mut findings);
        for item in &found {
            let bindings = BTreeMap::from([("object".to_owned(), item.clone())]);
            object::judge(&self.each, &object::display(item), item, &bindings, &mut findings)?;
        }
        if !found.is_empty() && !self.together.is_empty() {
            let all = Value::Array(found);
            let bindings = BTreeMap::from([("objects".to_owned(), all.clone())]);
            object::judge(&self.together, &select.describe(), &all, &bindings, &mut findings)?;
        }
        Ok(Verdict::of(findings))
    }
}
