//! Who asks and what for: the facts of a request that authorization, admission and audit go by.

use std::collections::BTreeMap;

/// An authenticated user (authentication.k8s.io UserInfo).
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UserInfo {
    /// The user name; `system:serviceaccount:NS:NAME` for a service account.
    pub username: String,
    /// The unique id, where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The groups, `system:authenticated` included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Further facts, such as `authentication.kubernetes.io/pod-name`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// Names a user with the given groups and `system:authenticated`.
    pub fn named(username: &str, groups: &[&str]) -> Self {
        let mut groups: Vec<String> = groups.iter().map(|&group| group.to_owned()).collect();
        groups.push("system:authenticated".to_owned());
        Self { username: username.to_owned(), groups, ..Self::default() }
    }

    /// Tells whether the user is in `group`.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

/// What is asked (authorizer.Attributes): a resource request, or a path that is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Who asks.
    pub user: UserInfo,
    /// The verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or for paths the
    /// lowercase HTTP method.
    pub verb: String,
    /// The API group; empty for core.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The plural; empty for a non-resource request.
    pub resource: String,
    /// The subresource, such as `exec`.
    pub subresource: String,
    /// The namespace; empty for cluster scope or all namespaces.
    pub namespace: String,
    /// The object's name; empty for collections.
    pub name: String,
    /// The field selector of a `list`, `watch` or `deletecollection`, as written.
    pub field_selector: String,
    /// The URL path; the only fact besides user and verb of a non-resource request.
    pub path: String,
}

impl Attributes {
    /// Tells whether a resource is asked for, as against a path such as `/healthz`.
    pub fn is_resource_request(&self) -> bool {
        !self.resource.is_empty()
    }
}
