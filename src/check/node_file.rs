//! `nodeFile`: a file on nodes, its mode, owner and parsed content.

use serde::{Deserialize, Serialize};

use super::expect::{Expect, Format};
use super::{Check, CheckCx, CheckError, Verdict};
use crate::cluster::Capability;

/// Looks at a file of one node or of several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeFile {
    /// The node's name, or `control-plane`, `workers` or `all`.
    #[serde(default = "control_plane")]
    pub node: String,
    /// The absolute path.
    pub path: String,
    /// Nothing may be at the path; then the rest is left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// The exact permission bits, in octal and quoted: `"0600"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The widest permission bits: no bit beyond these may be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode_at_most: Option<String>,
    /// The owner's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How the content is read for `expect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Expectations about `content`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Expect>,
}

fn control_plane() -> String {
    "control-plane".to_owned()
}

impl Check for NodeFile {
    const NEEDS: &'static [Capability] = &[Capability::Api, Capability::Nodes];

    async fn run(&self, _cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        Err(CheckError::Spec("`nodeFile` is not judged yet".to_owned()))
    }
}
