//! `admission`: what the API server would admit and what it would refuse, tried by dry-run, and whose refusal it is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::subject::Subject;
use super::{Check, CheckCx, CheckError, Verdict};

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
    async fn run(&self, _cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        Err(CheckError::Spec("`admission` is not judged yet".to_owned()))
    }
}
