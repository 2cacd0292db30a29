//! `canI`: what a subject may do, from all bindings together, as the API server's authorizer answers it.

use serde::{Deserialize, Serialize};

use super::subject::Subject;
use super::{Check, CheckCx, CheckError, Verdict};

/// Asks what a subject may do, with the grader's credentials and never by reading one binding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanI {
    /// The subject.
    #[serde(rename = "as")]
    pub subject: Subject,
    /// What it must be able to do: every verb of every row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<PermissionRow>,
    /// What it must not be able to do: none of the verbs of any row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<PermissionRow>,
    /// Everything it may do: these rows and nothing more, apart from what every authenticated subject may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exactly: Option<Vec<PermissionRow>>,
}

/// Verbs on a resource, or on a path that is no resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PermissionRow {
    /// The verbs; `*` in `denied` means any verb whatever, in `allowed` and `exactly` the verb `*` itself.
    pub verbs: Vec<String>,
    /// The resource as kubectl writes it, with group and subresource: `pods`, `pods/exec`, `deployments.apps`,
    /// `deployments.apps/scale`. `*` in `denied` means any resource that is served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// The one object it is about; any object when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The namespace; `*` in `denied` means in any namespace or all of them at once, in `allowed` and `exactly` all of
    /// them at once. Left out for resources without namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A path that is no resource, such as `/metrics`, instead of `resource`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl Check for CanI {
    async fn run(&self, _cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        Err(CheckError::Spec("`canI` is not judged yet".to_owned()))
    }
}
