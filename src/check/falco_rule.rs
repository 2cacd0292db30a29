//! `falcoRule`: what rule files make of recorded events, evaluated as Falco loads and runs them. No driver, no kernel.

mod eval;
mod fields;
mod filter;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::rules::{Fault, Loader, Rule};
use super::api::Api;
use super::document::{self, Source};
use super::object::shorten;
use super::task_file::Content;
use super::{Check, CheckCx, CheckError, Finding, Verdict};
use crate::cluster::Capability;

/// Evaluates Falco rules on recorded events: each must raise exactly the alerts that it names, and no others.
///
/// `base` and the files are loaded in their order, as Falco does: a later definition replaces an earlier one, `append`
/// and `override` change it, macros and lists must be defined before they are used, and an unknown field is an error.
/// Only alerts of the `rules` count.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FalcoRule {
    /// Rules that are loaded before the files, as YAML: what the learner builds upon and cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// The rule files, in the order in which they are loaded.
    pub sources: Vec<Source>,
    /// The names of the rules whose alerts count.
    pub rules: Vec<String>,
    /// Fields that all events have unless they say otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub common: BTreeMap<String, Value>,
    /// The events.
    pub events: Vec<FalcoEvent>,
}

/// A recorded event, and what it must raise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FalcoEvent {
    /// What happens, for findings: `a shell in a container`.
    pub describe: String,
    /// Where it comes from.
    #[serde(default = "syscall")]
    pub source: String,
    /// Its fields, by the names that conditions use; lists for fields with several values.
    pub fields: BTreeMap<String, Value>,
    /// Exactly the alerts that it raises; none when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<Alert>,
}

/// An alert.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Alert {
    /// The rule's name.
    pub rule: String,
    /// The whole text, with the event's values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// The priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
}

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Priority {
    /// The system cannot be used.
    Emergency,
    /// Something must be done at once.
    Alert,
    /// A critical state.
    Critical,
    /// An error.
    Error,
    /// A warning.
    Warning,
    /// Normal, and worth a look.
    Notice,
    /// For information; `INFO` is the same.
    Informational,
    /// For debugging.
    Debug,
}

fn syscall() -> String {
    "syscall".to_owned()
}

impl Priority {
    fn parse(text: &str) -> Option<Self> {
        Some(match text.to_lowercase().as_str() {
            "emergency" => Self::Emergency,
            "alert" => Self::Alert,
            "critical" => Self::Critical,
            "error" => Self::Error,
            "warning" => Self::Warning,
            "notice" => Self::Notice,
            "informational" | "info" => Self::Informational,
            "debug" => Self::Debug,
            _ => return None,
        })
    }

    fn name(self) -> String {
        format!("{self:?}")
    }
}

/// How many findings are shown.
const SHOWN: usize = 10;

impl Check for FalcoRule {
    fn needs(&self) -> &'static [Capability] {
        let on_node = self.sources.iter().find(|source| source.needs().len() > 1);
        on_node.map_or(Self::NEEDS, Source::needs)
    }

    fn lint(&self, faults: &mut Vec<String>) {
        if self.sources.is_empty() {
            faults.push("sources: name the rule files".to_owned());
        }
        for (index, source) in self.sources.iter().enumerate() {
            source.lint(&format!("sources[{index}]"), faults);
        }
        if let Some(base) = &self.base {
            let mut wrong = Vec::new();
            let mut loader = Loader::default();
            match loader.load(0, base, &mut wrong) {
                Ok(()) => {
                    loader.rules(&mut wrong);
                    faults
                        .extend(wrong.iter().map(|fault| format!("base: {}: {}", fault.path, fault.message)));
                }
                Err(fault) => faults.push(format!("base: {}", fault.message)),
            }
        }
        if self.rules.is_empty() {
            faults.push("rules: name the rules whose alerts count".to_owned());
        }
        if !self.events.iter().any(|event| !event.alerts.is_empty())
            || !self.events.iter().any(|event| event.alerts.is_empty())
        {
            faults.push("events: have one that raises an alert and one that raises none".to_owned());
        }
        let known = |field: &String| {
            let (name, argument) = fields::split(field);
            fields::kind(name, argument.is_some()).is_some()
        };
        for field in self.common.keys().filter(|field| !known(field)) {
            faults.push(format!("common: there is no field `{field}`"));
        }
        for (index, event) in self.events.iter().enumerate() {
            if event.describe.trim().is_empty() {
                faults.push(format!("events[{index}].describe: say what happens"));
            }
            for field in event.fields.keys().filter(|field| !known(field)) {
                faults.push(format!("events[{index}].fields: there is no field `{field}`"));
            }
            for alert in event.alerts.iter().filter(|alert| !self.rules.contains(&alert.rule)) {
                faults.push(format!("events[{index}].alerts: `{}` is none of the rules", alert.rule));
            }
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let (mut findings, mut faults) = (Vec::new(), Vec::new());
        let mut loader = Loader::default();
        if let Some(base) = &self.base {
            loader.load(usize::MAX, base, &mut faults).map_err(|fault| CheckError::Spec(fault.message))?;
        }
        for (index, source) in self.sources.iter().enumerate() {
            match source.read(&api, cx).await? {
                Content::Text(text) => {
                    if let Err(fault) = loader.load(index, &text, &mut faults) {
                        findings.push(fault.finding(&source.label(), "a rule file"));
                    }
                }
                Content::Unusable(finding) => findings.push(finding),
            }
        }
        let rules = loader.rules(&mut faults);
        findings.extend(faults.iter().map(|fault| self.refused(fault)));
        if !findings.is_empty() {
            document::cap("Falco", SHOWN, &mut findings);
            return Ok(Verdict::Fail(findings));
        }
        for name in &self.rules {
            match rules.iter().find(|rule| rule.name == *name) {
                None => findings.push(Finding::new(format!("rule {name}"), "", "it is defined", "it is not")),
                Some(rule) if !rule.enabled => {
                    findings.push(Finding::new(format!("rule {name}"), "enabled", "true", "false"));
                }
                Some(_) => {}
            }
        }
        if findings.is_empty() {
            for event in &self.events {
                self.judge(event, &rules, &mut findings);
            }
        }
        document::cap("Falco", SHOWN, &mut findings);
        Ok(Verdict::of(findings))
    }
}

impl FalcoRule {
    fn refused(&self, fault: &Fault) -> Finding {
        let label = self.sources.get(fault.file).map_or("the given rules".to_owned(), Source::label);
        Finding::new(label, &fault.path, "what Falco loads", shorten(&fault.message))
    }

    fn judge(&self, event: &FalcoEvent, rules: &[Rule], findings: &mut Vec<Finding>) {
        let mut fields = self.common.clone();
        fields.extend(event.fields.clone());
        let counts: BTreeSet<&String> = self.rules.iter().collect();
        let raised: Vec<&Rule> = rules
            .iter()
            .filter(|rule| counts.contains(&rule.name) && rule.enabled && rule.source == event.source)
            .filter(|rule| eval::holds(&rule.condition, &fields))
            .collect();
        let object = format!("event: {}", event.describe);
        for alert in &event.alerts {
            let path = format!("rule {}", alert.rule);
            let Some(rule) = raised.iter().find(|rule| rule.name == alert.rule) else {
                findings.push(Finding::new(&object, path, "an alert", "none"));
                continue;
            };
            let written = eval::write(&rule.output, &fields);
            if let Some(output) = alert.output.as_ref().filter(|output| output.trim() != written) {
                findings.push(Finding::new(&object, format!("{path}, output"), output, shorten(&written)));
            }
            if let Some(priority) = alert.priority.filter(|priority| *priority != rule.priority) {
                findings.push(Finding::new(
                    &object,
                    format!("{path}, priority"),
                    priority.name(),
                    rule.priority.name(),
                ));
            }
        }
        for rule in raised {
            if !event.alerts.iter().any(|alert| alert.rule == rule.name) {
                let written = eval::write(&rule.output, &fields);
                findings.push(Finding::new(
                    &object,
                    format!("rule {}", rule.name),
                    "no alert",
                    shorten(&written),
                ));
            }
        }
    }
}
