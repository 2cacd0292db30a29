//! `answer`: what the learner wrote into the task folder, compared with facts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::Api;
use super::expect::{Expect, Format};
use super::select::{Select, Selected};
use super::task_file::{self, Content};
use super::{Check, CheckCx, CheckError, Finding, Verdict, object};

/// Compares a file of the task folder with facts: given ones, or ones computed from the cluster when it is judged.
///
/// Exactly one of `lines`, `linesFrom`, `value`, `valueFrom` and `expect` says what must be in it. A file that is
/// missing, too large or not text is a finding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// The file, relative to the task folder.
    pub file: String,
    /// The exact set of lines; blank lines and surrounding space do not count, a line too many does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// A CEL expression for the exact set of lines, over the `facts`: a list of strings, not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines_from: Option<String>,
    /// The one value that the file holds, without surrounding space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A CEL expression for the value, over the `facts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<String>,
    /// How the file is read for `expect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Expectations about `content` and the `facts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Expect>,
    /// Lists of objects that expressions may use by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// Whether the order of lines counts.
    #[serde(default)]
    pub order: Order,
    /// Whether upper and lower case differ.
    #[serde(default)]
    pub case: Case,
    /// The largest size in bytes that is read.
    #[serde(default = "max_bytes")]
    pub max_bytes: u64,
    /// Shows the right answer in findings; otherwise they only count what is missing and name what is too much.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reveal: bool,
}

/// Objects of the cluster under a name that expressions use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fact {
    /// The name: a CEL identifier.
    pub name: String,
    /// Which objects, ordered by namespace and name.
    pub objects: Select,
    /// Takes the objects as they were after the seed, for facts that the task itself changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_seeded: bool,
}

/// Whether the order of lines counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// It does not.
    #[default]
    Any,
    /// It does.
    Exact,
}

/// Whether upper and lower case differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Case {
    /// They do.
    #[default]
    Sensitive,
    /// They do not.
    Insensitive,
}

fn max_bytes() -> u64 {
    64 * 1024
}

impl Check for Answer {
    fn lint(&self, faults: &mut Vec<String>) {
        if let Err(fault) = task_file::lint(&self.file) {
            faults.push(format!("file: {fault}"));
        }
        let ways = [
            !self.lines.is_empty(),
            self.lines_from.is_some(),
            self.value.is_some(),
            self.value_from.is_some(),
            !self.expect.is_empty(),
        ];
        if ways.into_iter().filter(|&way| way).count() != 1 {
            faults
                .push("answer: give exactly one of lines, linesFrom, value, valueFrom and expect".to_owned());
        }
        if self.lines.iter().any(|line| line.trim().is_empty()) {
            faults.push("lines: blank lines never count".to_owned());
        }
        if self.value.as_deref().is_some_and(|value| value.trim().is_empty()) {
            faults.push("value: an empty value is no answer".to_owned());
        }
        if self.format.is_some() == self.expect.is_empty() {
            faults.push("format: it goes with expect".to_owned());
        }
        if self.max_bytes == 0 || self.max_bytes > task_file::LARGEST {
            faults.push(format!("maxBytes: between 1 and {}", task_file::LARGEST));
        }
        let mut variables: Vec<&str> = Vec::new();
        for (index, fact) in self.facts.iter().enumerate() {
            let identifier = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if fact.name.is_empty()
                || !fact.name.chars().all(identifier)
                || fact.name.starts_with(|c: char| c.is_ascii_digit())
                || fact.name == "content"
                || variables.contains(&fact.name.as_str())
            {
                faults.push(format!("facts[{index}].name: a name of its own that CEL can use"));
            }
            fact.objects.lint(&format!("facts[{index}].objects"), faults);
            variables.push(&fact.name);
        }
        for (field, source) in [("linesFrom", &self.lines_from), ("valueFrom", &self.value_from)] {
            if let Some(source) = source {
                object::lint_cel(field, source, &variables, faults);
            }
        }
        variables.push("content");
        object::lint_expects("expect", &self.expect, &variables, faults);
    }

    async fn record(&self, cx: &CheckCx<'_>) -> Result<Value, CheckError> {
        if !self.facts.iter().any(|fact| fact.as_seeded) {
            return Ok(Value::Null);
        }
        let api = Api::new(cx.client.clone());
        let mut seeded = serde_json::Map::new();
        for fact in self.facts.iter().filter(|fact| fact.as_seeded) {
            let Selected::Objects(found) = fact.objects.objects(&api).await? else {
                let what = fact.objects.describe();
                return Err(CheckError::Spec(format!("there can be no {what} after the seed")));
            };
            if found.is_empty() {
                return Err(CheckError::Spec(format!(
                    "there is no {} after the seed",
                    fact.objects.describe()
                )));
            }
            seeded.insert(fact.name.clone(), found.into());
        }
        Ok(seeded.into())
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        // A verdict on the file alone would come even when there is no cluster any more.
        api.alive().await?;
        let mut findings = Vec::new();
        let text = match task_file::read(cx.task_dir, &self.file, self.max_bytes).await? {
            Content::Text(text) => text,
            Content::Unusable(finding) => return Ok(Verdict::Fail(vec![finding])),
        };
        let mut bindings = self.facts(&api, cx, &mut findings).await?;
        if !findings.is_empty() {
            return Ok(Verdict::Fail(findings));
        }
        let label = format!("file {}", self.file);
        if !self.expect.is_empty() {
            match task_file::parse(&text, self.format.unwrap_or(Format::Text)) {
                Ok(content) => {
                    bindings.insert("content".to_owned(), content.clone());
                    object::judge(&self.expect, &label, &content, &bindings, &mut findings)?;
                }
                Err(reason) => {
                    let expected = format!("{:?}", self.format.unwrap_or(Format::Text));
                    findings.push(Finding::new(&label, "", expected, object::shorten(&reason)));
                }
            }
        } else if self.value.is_some() || self.value_from.is_some() {
            let wanted = match (&self.value, &self.value_from) {
                (Some(value), _) => value.clone(),
                (_, Some(source)) => scalar(source, &evaluate(source, &bindings)?)?,
                _ => String::new(),
            };
            if self.fold(text.trim()) != self.fold(wanted.trim()) {
                let expected = if self.reveal { wanted } else { "another value".to_owned() };
                findings.push(Finding::new(&label, "", expected, object::shorten(text.trim())));
            }
        } else {
            let wanted = match &self.lines_from {
                Some(source) => list(source, evaluate(source, &bindings)?)?,
                None => self.lines.clone(),
            };
            self.compare(&label, &wanted, &text, &mut findings);
        }
        Ok(Verdict::of(findings))
    }
}

impl Answer {
    async fn facts(
        &self,
        api: &Api,
        cx: &CheckCx<'_>,
        findings: &mut Vec<Finding>,
    ) -> Result<BTreeMap<String, Value>, CheckError> {
        let mut bindings = BTreeMap::new();
        for fact in &self.facts {
            let found = if fact.as_seeded {
                let seeded = cx.baseline.and_then(|baseline| baseline.get(&fact.name));
                seeded.ok_or(CheckError::NoBaseline)?.clone()
            } else {
                match fact.objects.objects(api).await? {
                    Selected::Objects(found) => found.into(),
                    Selected::Impossible(finding) => {
                        findings.push(finding);
                        continue;
                    }
                }
            };
            // With nothing to compare with, an empty answer would be right.
            if found.as_array().is_none_or(Vec::is_empty) {
                findings.push(Finding::new(fact.objects.describe(), "", "at least one", "none"));
            }
            bindings.insert(fact.name.clone(), found);
        }
        Ok(bindings)
    }

    fn fold(&self, text: &str) -> String {
        match self.case {
            Case::Sensitive => text.to_owned(),
            Case::Insensitive => text.to_lowercase(),
        }
    }

    fn compare(&self, label: &str, wanted: &[String], text: &str, findings: &mut Vec<Finding>) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let wanted: Vec<String> = wanted.iter().map(|line| self.fold(line.trim())).collect();
        let given: Vec<String> =
            text.lines().map(|line| self.fold(line.trim())).filter(|line| !line.is_empty()).collect();
        let wanted_set: BTreeSet<&String> = wanted.iter().collect();
        let given_set: BTreeSet<&String> = given.iter().collect();
        let count = wanted_set.len();
        let expected = format!("exactly {count} {}", if count == 1 { "line" } else { "lines" });
        let missing: Vec<&String> = wanted_set.difference(&given_set).copied().collect();
        if !missing.is_empty() {
            let (expected, actual) = if self.reveal {
                let missing: Vec<&str> = missing.iter().map(|line| line.as_str()).collect();
                (missing.join(", "), "missing".to_owned())
            } else {
                (expected.clone(), format!("{} missing", missing.len()))
            };
            findings.push(Finding::new(label, "lines", object::shorten(&expected), actual));
        }
        for (index, line) in given.iter().enumerate() {
            if !wanted_set.contains(line) {
                let path = format!("line {}", index + 1);
                findings.push(Finding::new(label, path, "not there", object::shorten(line)));
            }
        }
        findings.truncate(20);
        if findings.is_empty() && self.order == Order::Exact && given != wanted {
            findings.push(Finding::new(label, "lines", "the order asked for", "another order"));
        }
    }
}

fn evaluate(source: &str, bindings: &BTreeMap<String, Value>) -> Result<Value, CheckError> {
    let program = object::compile(source)?;
    program.evaluate(bindings).map_err(|error| CheckError::Spec(format!("`{source}`: {error}")))
}

fn scalar(source: &str, value: &Value) -> Result<String, CheckError> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(CheckError::Spec(format!("`{source}` gave {}, no value", object::show(value)))),
    }
}

fn list(source: &str, value: Value) -> Result<Vec<String>, CheckError> {
    match value {
        Value::Array(lines) if !lines.is_empty() => lines.iter().map(|line| scalar(source, line)).collect(),
        other => Err(CheckError::Spec(format!("`{source}` gave {}, not lines", object::show(&other)))),
    }
}
