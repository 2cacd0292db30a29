//! `unchanged`: what the task does not speak of is as it was seeded. Compares meaning, not text.

use serde::{Deserialize, Serialize};

use super::{Check, CheckCx, CheckError, Verdict};

/// Makes sure that objects, permissions and cluster roles are as they were after the seed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unchanged {
    /// Sets of objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<UnchangedObjects>,
    /// ServiceAccounts as `namespace/name` whose effective permissions, from all bindings together, neither grow nor
    /// shrink; `*` and `?` stand for any characters and any one. One that is deleted has lost them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effective_permissions: Vec<String>,
    /// ClusterRoles by name whose rules are the same and of which none is lost; `*` and `?` as above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_roles: Vec<String>,
}

/// Objects that must be as they were seeded. Status, bookkeeping of the API server and kubectl's annotations never
/// count; the order of keys and of sets does not either.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnchangedObjects {
    /// The API version, such as `v1` or `apps/v1`.
    pub api_version: String,
    /// The kind, such as `NetworkPolicy`.
    pub kind: String,
    /// The namespace; `*` means every namespace. Left out for kinds without namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The one object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Several names; `*` and `?` stand for any characters and any one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// A label selector as kubectl takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// A CEL expression over `object` that must be true for objects of the set.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Every object of the kind in the namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Only these fields, such as `spec.podSelector`, `data` or `metadata.labels`; everything but metadata beyond
    /// labels and annotations when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Fields that may differ, such as `spec.replicas`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// Lets the set grow; otherwise an object more is a finding as one less is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_grow: bool,
    /// Lets objects be deleted and made anew with the same content; otherwise the uid must be the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_recreated: bool,
}

impl Check for Unchanged {
    async fn run(&self, _cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        Err(CheckError::Spec("`unchanged` is not judged yet".to_owned()))
    }
}
