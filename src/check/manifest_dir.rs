//! `manifestDir`: a folder of manifests under review: what is wrong with which file, as the learner wrote it down, and
//! fixes that hold for what the objects mean, not for how they are written.

mod folder;
mod pods;

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::folder::{Folder, Item};
use super::api::{Api, Trial};
use super::expect::Expect;
use super::refusal::{self, Outcome};
use super::task_file::{self, Content};
use super::{Check, CheckCx, CheckError, Finding, Verdict, object};

/// Reviews the manifests of a folder (`.yaml`, `.yml`, `.json`).
///
/// Rules are CEL over objects, Pod specs and containers, with Kubernetes' defaults filled in and what a Pod says for its
/// containers taken over, so that every way to write the same thing is the same. Annotations and comments that silence
/// tools change nothing. Objects and containers that were seeded must stay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestDir {
    /// The folder, relative to the task folder.
    pub dir: String,
    /// What manifests must be like.
    pub rules: Vec<ManifestRule>,
    /// Where the learner writes down which seeded manifest breaks which rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<WrittenFindings>,
    /// The files that must keep all rules in the end; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fixed: Vec<String>,
    /// The files that must mean what they meant when they were seeded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untouched: Vec<String>,
    /// CEL expressions over `object`, each of which must give for every object what it gave when that was seeded, lists in
    /// any order. Where
    /// it gave an error then, as for a field that the kind does not have, it does not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keeps: Vec<String>,
    /// The objects of the `fixed` files must be admitted by a server-side dry-run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub admitted: bool,
}

/// Something that manifests must be like. At least one of `each`, `pods` and `containers` says what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ManifestRule {
    /// The name that the learner writes down: `host-path`.
    pub id: String,
    /// The kinds it is about; all when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Expectations about each `object`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub each: Vec<Expect>,
    /// Expectations about each Pod spec, as `pod`, of `object`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<Expect>,
    /// Expectations about each `container`, init and ephemeral ones too, of `pod` and `object`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Expect>,
}

/// Where and how the learner writes findings down.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WrittenFindings {
    /// The file, relative to the task folder.
    pub file: String,
    /// What a line holds.
    #[serde(default)]
    pub lines: FindingLine,
}

/// What a line of findings holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FindingLine {
    /// A file that breaks a rule.
    Files,
    /// A file and the rules it breaks, with spaces, colons or commas between: `web.yaml: host-path`.
    #[default]
    FilesAndRules,
}

impl Check for ManifestDir {
    fn lint(&self, faults: &mut Vec<String>) {
        if let Err(fault) = task_file::lint(&self.dir) {
            faults.push(format!("dir: {fault}"));
        }
        if self.rules.is_empty() {
            faults.push("rules: without rules nothing is wrong".to_owned());
        }
        let mut ids = BTreeSet::new();
        for (index, rule) in self.rules.iter().enumerate() {
            let at = format!("rules[{index}]");
            let plain = |char: char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '-';
            if rule.id.is_empty() || !rule.id.chars().all(plain) || !ids.insert(&rule.id) {
                faults.push(format!("{at}.id: a name of its own, in kebab-case"));
            }
            if rule.each.is_empty() && rule.pods.is_empty() && rule.containers.is_empty() {
                faults.push(format!("{at}: without expectations it cannot be broken"));
            }
            object::lint_expects(&format!("{at}.each"), &rule.each, &["object"], faults);
            object::lint_expects(&format!("{at}.pods"), &rule.pods, &["object", "pod"], faults);
            let variables = ["object", "pod", "container"];
            object::lint_expects(&format!("{at}.containers"), &rule.containers, &variables, faults);
        }
        if self.findings.is_none() && self.fixed.is_empty() && self.untouched.is_empty() {
            faults.push("manifestDir: ask for findings, or for files to be fixed or left alone".to_owned());
        }
        if let Some(Err(fault)) = self.findings.as_ref().map(|findings| task_file::lint(&findings.file)) {
            faults.push(format!("findings.file: {fault}"));
        }
        if self.admitted && self.fixed.is_empty() {
            faults.push("admitted: it goes with fixed".to_owned());
        }
        for (index, source) in self.keeps.iter().enumerate() {
            object::lint_cel(&format!("keeps[{index}]"), source, &["object"], faults);
        }
    }

    async fn record(&self, cx: &CheckCx<'_>) -> Result<Value, CheckError> {
        let Some(folder) = Folder::read(cx.task_dir, &self.dir).await? else {
            return Err(CheckError::Spec(format!("there is no folder `{}` after the seed", self.dir)));
        };
        if let Some(finding) = folder.faults.first() {
            return Err(CheckError::Spec(format!("{}: {}", finding.object, finding.actual)));
        }
        if self.findings.is_some() && self.broken(&folder)?.is_empty() {
            return Err(CheckError::Spec("no seeded manifest breaks a rule".to_owned()));
        }
        for (field, patterns) in [("fixed", &self.fixed), ("untouched", &self.untouched)] {
            if let Some(pattern) = patterns.iter().find(|pattern| !folder.has(pattern)) {
                return Err(CheckError::Spec(format!("{field}: no seeded manifest is `{pattern}`")));
            }
        }
        Ok(folder.to_json())
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        api.alive().await?;
        let seeded = Folder::from_json(cx.baseline.ok_or(CheckError::NoBaseline)?);
        let seeded = seeded.ok_or(CheckError::NoBaseline)?;
        let mut findings = Vec::new();
        if let Some(written) = &self.findings {
            self.written(written, &seeded, cx, &mut findings).await?;
        }
        let Some(now) = Folder::read(cx.task_dir, &self.dir).await? else {
            findings.push(Finding::new(format!("folder {}", self.dir), "", "it exists", "it does not"));
            return Ok(Verdict::Fail(findings));
        };
        findings.extend(now.faults.iter().cloned());
        self.stay(&seeded, &now, &mut findings)?;
        for (file, items) in &now.files {
            let is = |patterns: &[String]| patterns.iter().any(|pattern| object::matches(pattern, file));
            if is(&self.fixed) {
                for rule in &self.rules {
                    findings.extend(rule.judge(file, items)?);
                }
            }
            let before = seeded.files.get(file);
            if is(&self.untouched) && before.is_some_and(|before| !Item::same(before, items)) {
                let label = format!("file {}/{file}", self.dir);
                findings.push(Finding::new(label, "", "what was seeded", "something else"));
            }
        }
        if self.admitted && findings.is_empty() {
            self.admit(&api, &now, &mut findings).await?;
        }
        Ok(Verdict::of(findings))
    }
}

impl ManifestDir {
    /// Returns which file breaks which rules.
    fn broken(&self, folder: &Folder) -> Result<BTreeMap<String, BTreeSet<String>>, CheckError> {
        let mut broken: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (file, items) in &folder.files {
            for rule in &self.rules {
                if !rule.judge(file, items)?.is_empty() {
                    broken.entry(file.clone()).or_default().insert(rule.id.clone());
                }
            }
        }
        Ok(broken)
    }

    /// Compares what the learner wrote down with what is broken.
    async fn written(
        &self,
        written: &WrittenFindings,
        seeded: &Folder,
        cx: &CheckCx<'_>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), CheckError> {
        let text = match task_file::read(cx.task_dir, &written.file, task_file::LARGEST).await? {
            Content::Text(text) => text,
            Content::Unusable(finding) => {
                findings.push(finding);
                return Ok(());
            }
        };
        let label = format!("file {}", written.file);
        let mut wanted: BTreeSet<(String, String)> = BTreeSet::new();
        for (file, rules) in self.broken(seeded)? {
            match written.lines {
                FindingLine::Files => {
                    wanted.insert((file, String::new()));
                }
                FindingLine::FilesAndRules => {
                    wanted.extend(rules.into_iter().map(|rule| (file.clone(), rule)))
                }
            }
        }
        let mut given: BTreeSet<(String, String)> = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_start_matches('\u{feff}').trim().trim_start_matches(['-', '*']).trim();
            let separators = |char: char| char.is_whitespace() || [':', ',', ';', '|', '='].contains(&char);
            let mut words = line.split(separators).filter(|word| !word.is_empty());
            let Some(file) = words.next() else { continue };
            let file = file.strip_prefix("./").unwrap_or(file);
            let file = file.strip_prefix(&format!("{}/", self.dir)).unwrap_or(file).to_owned();
            let rules: Vec<String> = words.map(str::to_lowercase).collect();
            let path = format!("line {}", index + 1);
            let pairs: Vec<(String, String)> = match written.lines {
                FindingLine::Files => vec![(file, String::new())],
                FindingLine::FilesAndRules if rules.is_empty() => {
                    findings.push(Finding::new(&label, path, "a file and what is wrong with it", line));
                    continue;
                }
                FindingLine::FilesAndRules => rules.into_iter().map(|rule| (file.clone(), rule)).collect(),
            };
            for pair in pairs {
                if !wanted.contains(&pair) {
                    let actual = format!("{} {}", pair.0, pair.1);
                    findings.push(Finding::new(&label, &path, "not there", actual.trim()));
                }
                given.insert(pair);
            }
        }
        let missing = wanted.difference(&given).count();
        if missing > 0 {
            let expected = format!("exactly {} findings", wanted.len());
            findings.push(Finding::new(&label, "lines", expected, format!("{missing} missing")));
        }
        Ok(())
    }

    /// Makes sure that what was seeded is still there, and is what it was where that is asked for.
    fn stay(&self, seeded: &Folder, now: &Folder, findings: &mut Vec<Finding>) -> Result<(), CheckError> {
        for (file, items) in &seeded.files {
            let Some(items_now) = now.files.get(file) else {
                // A file with a fault has one already.
                if !now.faults.iter().any(|fault| fault.object.ends_with(&format!("/{file}"))) {
                    let label = format!("file {}/{file}", self.dir);
                    findings.push(Finding::new(label, "", "it exists", "it does not"));
                }
                continue;
            };
            for item in items {
                let label = format!("{file}: {}", item.name());
                let Some(item_now) = items_now.iter().find(|other| other.name() == item.name()) else {
                    findings.push(Finding::new(label, "", "it exists", "it does not"));
                    continue;
                };
                let names = |item: &Item| {
                    let containers = item.containers().into_iter();
                    containers.map(|container| object::show(&container["name"])).collect::<BTreeSet<_>>()
                };
                for lost in names(item).difference(&names(item_now)) {
                    findings.push(Finding::new(
                        &label,
                        format!("container {lost}"),
                        "it exists",
                        "it does not",
                    ));
                }
                for source in &self.keeps {
                    let program = object::compile(source)?;
                    let of = |item: &Item| {
                        program.evaluate(&BTreeMap::from([("object".to_owned(), item.object.clone())]))
                    };
                    let Ok(before) = of(item) else { continue };
                    let after = of(item_now);
                    if after.as_ref().ok().map(unordered) != Some(unordered(&before)) {
                        let actual =
                            after.map_or_else(|error| error.to_string(), |value| object::show(&value));
                        findings.push(Finding::new(&label, source, object::show(&before), actual));
                    }
                }
            }
        }
        Ok(())
    }

    /// Tries the objects of the fixed files.
    async fn admit(&self, api: &Api, now: &Folder, findings: &mut Vec<Finding>) -> Result<(), CheckError> {
        for (file, items) in &now.files {
            if !self.fixed.iter().any(|pattern| object::matches(pattern, file)) {
                continue;
            }
            for item in items {
                let label = format!("{file}: {}", item.name());
                let text = |field: &str| item.object[field].as_str().unwrap_or_default();
                let Some(kind) = api.kind(text("apiVersion"), text("kind")).await? else {
                    let expected = format!("a kind that is served in `{}`", text("apiVersion"));
                    findings.push(Finding::new(label, "apiVersion", expected, text("kind")));
                    continue;
                };
                let namespace = item.object["metadata"]["namespace"].as_str().unwrap_or("default");
                let namespace = kind.namespaced.then_some(namespace);
                if let Some(namespace) = namespace
                    && !api.has_namespace(namespace).await?
                {
                    let place = format!("Namespace {namespace}");
                    findings.push(Finding::new(
                        label,
                        "metadata.namespace",
                        format!("{place} exists"),
                        "it does not",
                    ));
                    continue;
                }
                let path = kind.path(namespace, None);
                let reply = api
                    .try_change(Method::POST, &path, "application/json", &item.object, &Trial::default())
                    .await?;
                if let Outcome::Refused(refusal) = refusal::outcome(&reply) {
                    let actual = format!("refused by {}: {}", refusal.by, refusal.message);
                    findings.push(Finding::new(label, "", "admitted", object::shorten(&actual)));
                }
            }
        }
        Ok(())
    }
}

/// Puts the items of a list into an order of their own: containers may change places.
fn unordered(value: &Value) -> Value {
    let mut value = value.clone();
    if let Value::Array(items) = &mut value {
        items.sort_by_cached_key(Value::to_string);
    }
    value
}

impl ManifestRule {
    /// Returns what in a file breaks the rule.
    fn judge(&self, file: &str, items: &[Item]) -> Result<Vec<Finding>, CheckError> {
        let mut findings = Vec::new();
        let of_kind = |item: &&Item| {
            self.kinds.is_empty() || self.kinds.iter().any(|kind| item.object["kind"] == kind.as_str())
        };
        for item in items.iter().filter(of_kind) {
            let label = format!("{file}: {}", item.name());
            let mut bindings = BTreeMap::from([("object".to_owned(), item.object.clone())]);
            object::judge(&self.each, &label, &item.object, &bindings, &mut findings)?;
            let Some(pod) = item.pod() else { continue };
            bindings.insert("pod".to_owned(), pod.clone());
            object::judge(&self.pods, &label, &pod, &bindings, &mut findings)?;
            for container in item.containers() {
                let label = format!("{label} container {}", object::show(&container["name"]));
                bindings.insert("container".to_owned(), container.clone());
                object::judge(&self.containers, &label, &container, &bindings, &mut findings)?;
            }
        }
        Ok(findings)
    }
}
