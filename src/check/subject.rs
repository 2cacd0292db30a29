//! Who asks: the subject of a permission row or of a request made by impersonation.

use serde::{Deserialize, Serialize};

/// A subject; exactly one of `serviceAccount`, `user` and `anonymous` names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subject {
    /// A ServiceAccount as `namespace/name`, with the groups that every one has by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// A user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's groups; `system:authenticated` is added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Whoever has no credentials: `system:anonymous` in `system:unauthenticated`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
}
