//! `vulnReport`: what scanners' reports say, as the learner read it: compared with what the reports themselves said when
//! they were seeded.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::Api;
use super::document::{self, Source, cap};
use super::task_file::Content;
use super::{Check, CheckCx, CheckError, Finding, Verdict, object};
use crate::cluster::Capability;

/// Compares the learner's answer with vulnerabilities in Trivy's reports (JSON).
///
/// The reports are read once, right after the seed. `where` picks the vulnerabilities that count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VulnReport {
    /// The reports.
    pub reports: Vec<Report>,
    /// A CEL expression over `vuln`, an entry of `Vulnerabilities`, and `target`, the result that it stands in:
    /// `vuln.Severity == 'CRITICAL' && has(vuln.FixedVersion)`. All of them when left out.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Where the answer lies.
    pub answer: Source,
    /// What the answer holds.
    pub lists: VulnAnswer,
}

/// A report, and what the learner calls it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Report {
    /// The name, such as the image or the Deployment that it is about.
    pub name: String,
    /// Where it lies.
    pub source: Source,
}

/// What an answer holds: exactly the right ones, one a line, in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum VulnAnswer {
    /// Identifiers, such as `CVE-2026-1234`.
    #[default]
    Ids,
    /// Packages with their installed version: `openssl 3.0.11`.
    Packages,
    /// The names of reports that have such a vulnerability.
    Reports,
    /// The names of reports that have none.
    CleanReports,
    /// Reports with identifiers: `registry.test/api CVE-2026-1234`.
    IdsByReport,
    /// Reports with how many there are: `registry.test/api 3`, those with none too.
    Counts,
    /// One number, of all reports together.
    Total,
}

/// The largest report that is read.
const LARGEST: u64 = 32 * 1024 * 1024;
/// How many findings are shown.
const SHOWN: usize = 10;

impl Check for VulnReport {
    fn needs(&self) -> &'static [Capability] {
        let all = self.reports.iter().map(|report| &report.source).chain([&self.answer]);
        all.map(Source::needs).max_by_key(|needs| needs.len()).unwrap_or(Self::NEEDS)
    }

    fn lint(&self, faults: &mut Vec<String>) {
        self.answer.lint("answer", faults);
        if self.reports.is_empty() {
            faults.push("reports: name them".to_owned());
        }
        let mut names = BTreeSet::new();
        for (index, report) in self.reports.iter().enumerate() {
            report.source.lint(&format!("reports[{index}].source"), faults);
            if report.name.is_empty()
                || report.name.contains(char::is_whitespace)
                || !names.insert(&report.name)
            {
                faults.push(format!("reports[{index}].name: a name of its own, without spaces"));
            }
        }
        if let Some(condition) = &self.condition {
            object::lint_cel("where", condition, &["vuln", "target"], faults);
        }
    }

    async fn record(&self, cx: &CheckCx<'_>) -> Result<Value, CheckError> {
        let api = Api::new(cx.client.clone());
        let mut lines: BTreeSet<String> = BTreeSet::new();
        let mut total = 0;
        for report in &self.reports {
            let wrong = |text: String| CheckError::Spec(format!("report `{}`: {text}", report.name));
            let text = match report.source.read_up_to(&api, cx, LARGEST).await? {
                Content::Text(text) => text,
                Content::Unusable(finding) => return Err(wrong(finding.actual)),
            };
            let root: Value = document::json(&text).map_err(|fault| wrong(fault.message))?;
            let found = self.select(&root).map_err(wrong)?;
            total += found.len();
            let text = |vuln: &Value, field: &str| vuln[field].as_str().unwrap_or_default().to_owned();
            let name = &report.name;
            for vuln in &found {
                let (id, package) = (text(vuln, "VulnerabilityID"), text(vuln, "PkgName"));
                match self.lists {
                    VulnAnswer::Ids => lines.insert(id),
                    VulnAnswer::Packages => {
                        lines.insert(format!("{package} {}", text(vuln, "InstalledVersion")))
                    }
                    VulnAnswer::Reports => lines.insert(name.clone()),
                    VulnAnswer::IdsByReport => lines.insert(format!("{name} {id}")),
                    VulnAnswer::CleanReports | VulnAnswer::Counts | VulnAnswer::Total => false,
                };
            }
            match self.lists {
                VulnAnswer::CleanReports if found.is_empty() => lines.insert(name.clone()),
                VulnAnswer::Counts => lines.insert(format!("{name} {}", found.len())),
                _ => false,
            };
        }
        if self.lists == VulnAnswer::Total {
            lines.insert(total.to_string());
        }
        if lines.is_empty() {
            return Err(CheckError::Spec("nothing in the reports is asked for".to_owned()));
        }
        Ok(json!({"lines": lines}))
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let recorded = cx.baseline.map(|baseline| baseline["lines"].clone()).ok_or(CheckError::NoBaseline)?;
        let wanted: BTreeSet<String> =
            serde_json::from_value(recorded).map_err(|_| CheckError::NoBaseline)?;
        let text = match self.answer.read(&api, cx).await? {
            Content::Text(text) => text,
            Content::Unusable(finding) => return Ok(Verdict::Fail(vec![finding])),
        };
        let label = self.answer.label();
        let mut findings = Vec::new();
        let mut given = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            for line in self.normal(line) {
                if !wanted.contains(&line) {
                    let path = format!("line {}", index + 1);
                    findings.push(Finding::new(&label, path, "not there", object::shorten(&line)));
                }
                given.insert(line);
            }
        }
        let missing = wanted.difference(&given).count();
        if missing > 0 {
            let count = wanted.len();
            let expected = format!("exactly {count} {}", if count == 1 { "line" } else { "lines" });
            findings.push(Finding::new(&label, "lines", expected, format!("{missing} missing")));
        }
        cap(&label, SHOWN, &mut findings);
        Ok(Verdict::of(findings))
    }
}

impl VulnReport {
    /// Returns the vulnerabilities that count.
    fn select(&self, root: &Value) -> Result<Vec<Value>, String> {
        if !root["SchemaVersion"].is_number() && !root["Results"].is_array() {
            return Err("it is none of Trivy's reports".to_owned());
        }
        let program = match &self.condition {
            Some(source) => Some(object::compile(source).map_err(|error| error.to_string())?),
            None => None,
        };
        let mut found = Vec::new();
        for result in root["Results"].as_array().into_iter().flatten() {
            for vuln in result["Vulnerabilities"].as_array().into_iter().flatten() {
                let Some(program) = &program else {
                    found.push(vuln.clone());
                    continue;
                };
                let mut target = result.clone();
                if let Value::Object(map) = &mut target {
                    map.remove("Vulnerabilities");
                }
                let bindings =
                    BTreeMap::from([("vuln".to_owned(), vuln.clone()), ("target".to_owned(), target)]);
                match program.evaluate(&bindings) {
                    Ok(Value::Bool(true)) => found.push(vuln.clone()),
                    Ok(Value::Bool(false)) => {}
                    Ok(other) => return Err(format!("where gave {}, no boolean", object::show(&other))),
                    Err(error) => return Err(format!("where: {error}; use has()")),
                }
            }
        }
        Ok(found)
    }

    /// Brings a line into the form of the expected ones; a line with a report may have several identifiers.
    fn normal(&self, line: &str) -> Vec<String> {
        let line = line.trim_start_matches('\u{feff}').trim().trim_start_matches("- ").trim();
        let separators = |char: char| char.is_whitespace() || [',', ';', '|', '='].contains(&char);
        let words: Vec<&str> = line
            .split(separators)
            .map(|word| word.trim_matches(['"', '\'']).trim_end_matches(':'))
            .filter(|word| !word.is_empty())
            .collect();
        let upper = |word: &&str| word.to_uppercase();
        match self.lists {
            VulnAnswer::Ids => words.iter().map(upper).collect(),
            VulnAnswer::Total | VulnAnswer::Reports | VulnAnswer::CleanReports => {
                words.iter().map(|word| (*word).to_owned()).collect()
            }
            VulnAnswer::Packages | VulnAnswer::Counts if words.is_empty() => Vec::new(),
            VulnAnswer::Packages if words.len() == 1 => {
                // `name@version` and `name:version`, as some write it; the version may have an epoch.
                let parts = words[0].rsplit_once('@').or_else(|| words[0].split_once(':'));
                vec![parts.map_or(words[0].to_owned(), |(name, version)| format!("{name} {version}"))]
            }
            VulnAnswer::Packages | VulnAnswer::Counts => vec![words.join(" ")],
            VulnAnswer::IdsByReport => match words.split_first() {
                Some((report, [])) => vec![(*report).to_owned()],
                Some((report, ids)) => {
                    ids.iter().map(|id| format!("{report} {}", id.to_uppercase())).collect()
                }
                None => Vec::new(),
            },
        }
    }
}
