//! `admission`: what the API server would admit and what it would refuse, tried by dry-run, and whose refusal it is.

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::{Api, Reply, Trial};
use super::refusal::{self, Outcome, Refuser};
use super::subject::Subject;
use super::task_file::{self, Content};
use super::{Check, CheckCx, CheckError, Finding, Format, Verdict, object};

/// Tries manifests with a server-side dry-run; nothing is stored.
///
/// Each row's `manifest` is laid over `base` (a merge patch: maps are merged, lists replaced, null removes).
/// A refusal counts only when it comes from whom the row names: a manifest that is refused because it is invalid,
/// because its namespace is missing or because the user may not create it proves nothing about a policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Admission {
    /// Who tries; the grader when left out.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// What the rows' manifests have in common.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub base: Value,
    /// What must be admitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub admitted: Vec<AdmittedRow>,
    /// What must be refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedRow>,
    /// Allows a check with rows of one sort only; otherwise a refused row wants an admitted one beside it, since
    /// whatever refuses everything refuses the right thing too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unpaired: bool,
}

/// A manifest that must be admitted.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AdmittedRow {
    /// What it is, for findings: `a Pod without privileges`.
    pub describe: String,
    /// The manifest, laid over `base`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub manifest: Value,
    /// A manifest in the learner's task folder instead; all its documents are tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// How it is tried.
    #[serde(default)]
    pub operation: Operation,
    /// Who tries; the check's `as` when left out.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Texts, each of which must be in one of the warnings that come back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// No warning may come back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_warnings: bool,
}

/// A manifest that must be refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefusedRow {
    /// What it is, for findings: `a privileged init container`.
    pub describe: String,
    /// The manifest, laid over `base`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub manifest: Value,
    /// A manifest in the learner's task folder instead; each of its documents must be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// How it is tried.
    #[serde(default)]
    pub operation: Operation,
    /// Who tries; the check's `as` when left out.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Who must refuse it.
    pub by: RefusedBy,
    /// The policy, quota or webhook that must refuse it, where its name matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A text that the message must contain, such as `privileged`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a manifest is tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// As a new object.
    #[default]
    Create,
    /// As a merge patch of the object of that name, which must exist.
    Update,
    /// As an ephemeral container of the Pod of that name, which must exist; the manifest is a Pod with
    /// `spec.ephemeralContainers`.
    EphemeralContainers,
}

/// Who refuses a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RefusedBy {
    /// Any admission plugin or policy, but not the authorizer, validation or a missing namespace.
    #[default]
    Admission,
    /// Pod Security Admission.
    PodSecurity,
    /// A ValidatingAdmissionPolicy.
    ValidatingAdmissionPolicy,
    /// A ResourceQuota.
    ResourceQuota,
    /// A LimitRange.
    LimitRange,
    /// An admission webhook.
    Webhook,
    /// ImagePolicyWebhook.
    ImagePolicy,
    /// The ServiceAccount plugin, as when the account is missing.
    ServiceAccount,
    /// NodeRestriction.
    NodeRestriction,
    /// The authorizer: the user may not.
    Rbac,
    /// Validation of the object.
    Validation,
}

impl Check for Admission {
    fn lint(&self, faults: &mut Vec<String>) {
        if self.admitted.is_empty() && self.refused.is_empty() {
            faults.push("admission: without rows it cannot fail".to_owned());
        }
        if !self.unpaired && self.admitted.is_empty() != self.refused.is_empty() {
            faults.push("admission: pair what is refused with what is admitted, or say unpaired".to_owned());
        }
        if let Some(subject) = &self.subject {
            subject.lint("as", faults);
        }
        for (index, row) in self.admitted.iter().enumerate() {
            self.row(row.into()).lint(&format!("admitted[{index}]"), faults);
            if row.no_warnings && !row.warnings.is_empty() {
                faults.push(format!("admitted[{index}]: warnings are wanted and not wanted"));
            }
        }
        for (index, row) in self.refused.iter().enumerate() {
            self.row(row.into()).lint(&format!("refused[{index}]"), faults);
            if row.message.as_deref() == Some("") {
                faults.push(format!("refused[{index}].message: every message contains nothing"));
            }
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        api.alive().await?;
        let mut findings = Vec::new();
        for row in &self.admitted {
            for reply in self.row(row.into()).attempt(&api, cx, &mut findings).await? {
                row.judge(&reply, &mut findings);
            }
        }
        for row in &self.refused {
            for reply in self.row(row.into()).attempt(&api, cx, &mut findings).await? {
                row.judge(&reply, &mut findings);
            }
        }
        Ok(Verdict::of(findings))
    }
}

impl Admission {
    /// Completes a row with what the check has in common.
    fn row<'a>(&'a self, mut row: Row<'a>) -> Row<'a> {
        row.base = &self.base;
        row.subject = row.subject.or(self.subject.as_ref());
        row
    }
}

/// What rows of both sorts have in common.
struct Row<'a> {
    describe: &'a str,
    base: &'a Value,
    manifest: &'a Value,
    file: Option<&'a str>,
    operation: Operation,
    subject: Option<&'a Subject>,
}

impl<'a> From<&'a AdmittedRow> for Row<'a> {
    fn from(row: &'a AdmittedRow) -> Self {
        Self {
            describe: &row.describe,
            base: &Value::Null,
            manifest: &row.manifest,
            file: row.file.as_deref(),
            operation: row.operation,
            subject: row.subject.as_ref(),
        }
    }
}

impl<'a> From<&'a RefusedRow> for Row<'a> {
    fn from(row: &'a RefusedRow) -> Self {
        Self {
            describe: &row.describe,
            base: &Value::Null,
            manifest: &row.manifest,
            file: row.file.as_deref(),
            operation: row.operation,
            subject: row.subject.as_ref(),
        }
    }
}

impl AdmittedRow {
    fn judge(&self, reply: &Reply, findings: &mut Vec<Finding>) {
        if let Outcome::Refused(refusal) = refusal::outcome(reply) {
            let actual = format!("refused by {}: {}", refusal.by, refusal.message);
            findings.push(Finding::new(&self.describe, "", "admitted", object::shorten(&actual)));
            return;
        }
        for wanted in &self.warnings {
            if !reply.warnings.iter().any(|warning| warning.contains(wanted)) {
                let actual = if reply.warnings.is_empty() {
                    "no warning".to_owned()
                } else {
                    object::shorten(&reply.warnings.join("; "))
                };
                let expected = format!("a warning with `{wanted}`");
                findings.push(Finding::new(&self.describe, "warnings", expected, actual));
            }
        }
        if self.no_warnings && !reply.warnings.is_empty() {
            let actual = object::shorten(&reply.warnings.join("; "));
            findings.push(Finding::new(&self.describe, "warnings", "none", actual));
        }
    }
}

impl RefusedRow {
    fn judge(&self, reply: &Reply, findings: &mut Vec<Finding>) {
        let who = self.name.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default();
        let what = self.message.as_ref().map(|text| format!(" with `{text}`")).unwrap_or_default();
        let expected = format!("refused by {}{who}{what}", self.by.name());
        let actual = match refusal::outcome(reply) {
            Outcome::Admitted => "admitted".to_owned(),
            Outcome::Refused(refusal) => {
                let says = self.message.as_ref().is_none_or(|text| refusal.message.contains(text));
                let of_quota = self.by == RefusedBy::ResourceQuota
                    && refusal.by == Refuser::QuotaWithoutLimits
                    && self.message.is_some();
                let by = self.by.is(refusal.by) || of_quota;
                let named = self.name.is_none() || self.name == refusal.name;
                if by && named && says {
                    return;
                }
                let name = refusal.name.map(|name| format!(" `{name}`")).unwrap_or_default();
                format!("refused by {}{name}: {}", refusal.by, refusal.message)
            }
        };
        findings.push(Finding::new(&self.describe, "", expected, object::shorten(&actual)));
    }
}

impl Row<'_> {
    fn lint(&self, at: &str, faults: &mut Vec<String>) {
        if self.describe.trim().is_empty() {
            faults.push(format!("{at}.describe: say what it is"));
        }
        if let Some(subject) = self.subject {
            subject.lint(&format!("{at}.as"), faults);
        }
        if let Some(file) = self.file {
            if !self.manifest.is_null() {
                faults.push(format!("{at}: give a manifest or a file"));
            }
            if let Err(fault) = task_file::lint(file) {
                faults.push(format!("{at}.file: {fault}"));
            }
            return;
        }
        let manifest = merged(self.base, self.manifest);
        for field in ["apiVersion", "kind"] {
            if !manifest[field].is_string() {
                faults.push(format!("{at}.manifest.{field}: it is missing"));
            }
        }
        let named = manifest["metadata"]["name"].is_string();
        if !named
            && (self.operation != Operation::Create || !manifest["metadata"]["generateName"].is_string())
        {
            faults.push(format!("{at}.manifest.metadata.name: it is missing"));
        }
        if self.operation == Operation::EphemeralContainers && manifest["kind"] != "Pod" {
            faults.push(format!("{at}.manifest.kind: only a Pod has ephemeral containers"));
        }
    }

    /// Tries each manifest; what cannot be tried because of what was done to the cluster or the file is a finding.
    async fn attempt(
        &self,
        api: &Api,
        cx: &CheckCx<'_>,
        findings: &mut Vec<Finding>,
    ) -> Result<Vec<Reply>, CheckError> {
        let trial = match self.subject {
            None => Trial::default(),
            Some(subject) => {
                let who = subject.identity()?;
                Trial { user: Some(who.user), groups: who.groups }
            }
        };
        let manifests = match self.file {
            None => vec![merged(self.base, self.manifest)],
            Some(file) => match task_file::read(cx.task_dir, file, task_file::LARGEST).await? {
                Content::Text(text) => match task_file::parse(&text, Format::Yaml) {
                    Ok(Value::Array(documents)) => documents,
                    Ok(document) => vec![document],
                    Err(reason) => {
                        findings.push(Finding::new(file, "", "YAML", reason));
                        return Ok(Vec::new());
                    }
                },
                Content::Unusable(finding) => {
                    findings.push(finding);
                    return Ok(Vec::new());
                }
            },
        };
        if manifests.iter().all(|manifest| !manifest.is_object()) {
            let name = self.file.unwrap_or(self.describe);
            findings.push(Finding::new(name, "", "a manifest", "none"));
            return Ok(Vec::new());
        }
        let mut replies = Vec::new();
        for manifest in manifests.into_iter().filter(|manifest| !manifest.is_null()) {
            replies.extend(self.try_one(api, manifest, &trial, findings).await?);
        }
        Ok(replies)
    }

    async fn try_one(
        &self,
        api: &Api,
        manifest: Value,
        trial: &Trial,
        findings: &mut Vec<Finding>,
    ) -> Result<Option<Reply>, CheckError> {
        let (api_version, kind) = (manifest["apiVersion"].as_str(), manifest["kind"].as_str());
        let (api_version, kind) = (api_version.unwrap_or_default(), kind.unwrap_or_default());
        let Some(served) = api.kind(api_version, kind).await? else {
            let expected = format!("{kind} is served in `{api_version}`");
            findings.push(Finding::new(self.describe, "apiVersion", expected, "it is not"));
            return Ok(None);
        };
        let namespace =
            served.namespaced.then(|| manifest["metadata"]["namespace"].as_str().unwrap_or("default"));
        if let Some(namespace) = namespace
            && !api.has_namespace(namespace).await?
        {
            let finding = Finding::new(format!("Namespace {namespace}"), "", "it exists", "it does not");
            if !findings.contains(&finding) {
                findings.push(finding);
            }
            return Ok(None);
        }
        if self.operation == Operation::Create {
            let path = served.path(namespace, None);
            let reply = api.try_change(Method::POST, &path, "application/json", &manifest, trial).await?;
            return Ok(Some(reply));
        }
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default();
        if api.get(&served, namespace, name).await?.is_none() {
            findings.push(Finding::new(object::display(&manifest), "", "it exists", "it does not"));
            return Ok(None);
        }
        let mut path = served.path(namespace, Some(name));
        let mut content_type = "application/merge-patch+json";
        if self.operation == Operation::EphemeralContainers {
            path.push_str("/ephemeralcontainers");
            content_type = "application/strategic-merge-patch+json";
        }
        Ok(Some(api.try_change(Method::PATCH, &path, content_type, &manifest, trial).await?))
    }
}

/// Lays `over` on `base` as a merge patch.
fn merged(base: &Value, over: &Value) -> Value {
    let mut merged = base.clone();
    if !over.is_null() {
        json_patch::merge(&mut merged, over);
    }
    merged
}
