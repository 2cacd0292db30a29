//! `resource`: expectations about one object or a named set, or its stated absence.

use serde::{Deserialize, Serialize};

use super::expect::Expect;
use super::{Check, CheckCx, CheckError, Verdict};

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

impl Check for Resource {
    async fn run(&self, _cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        Err(CheckError::Spec("`resource` is not judged yet".to_owned()))
    }
}
