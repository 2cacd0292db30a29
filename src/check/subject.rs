//! Who asks: the subject of a permission row or of a request made by impersonation.

use serde::{Deserialize, Serialize};

use super::CheckError;

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

/// A subject as the authorizer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The user name.
    pub(crate) user: String,
    /// All groups, the implied ones included.
    pub(crate) groups: Vec<String>,
    /// Namespace and name when it is a ServiceAccount, which must exist for any answer to mean something.
    pub(crate) service_account: Option<(String, String)>,
}

impl Subject {
    /// Pushes a fault for each thing that cannot be right.
    pub(crate) fn lint(&self, field: &str, faults: &mut Vec<String>) {
        if let Err(error) = self.identity() {
            faults.push(format!("{field}: {error}"));
        }
    }

    /// Returns the user and the groups.
    ///
    /// # Errors
    /// [`CheckError::Spec`] unless exactly one subject is named.
    pub(crate) fn identity(&self) -> Result<Identity, CheckError> {
        let wrong = |text: &str| Err(CheckError::Spec(text.to_owned()));
        match (&self.service_account, &self.user, self.anonymous) {
            (Some(account), None, false) => {
                let Some((namespace, name)) = account
                    .split_once('/')
                    .filter(|(ns, name)| !ns.is_empty() && !name.is_empty() && !name.contains('/'))
                else {
                    return wrong("a service account is given as `namespace/name`");
                };
                if !self.groups.is_empty() {
                    return wrong("the groups of a service account follow from its namespace");
                }
                Ok(Identity::service_account(namespace, name))
            }
            (None, Some(user), false) if !user.is_empty() => {
                let mut groups = self.groups.clone();
                if !groups.iter().any(|group| group == "system:authenticated") {
                    groups.push("system:authenticated".to_owned());
                }
                Ok(Identity { user: user.clone(), groups, service_account: None })
            }
            (None, None, true) if self.groups.is_empty() => Ok(Identity {
                user: "system:anonymous".to_owned(),
                groups: vec!["system:unauthenticated".to_owned()],
                service_account: None,
            }),
            _ => wrong("name exactly one of serviceAccount, user (with its groups) and anonymous"),
        }
    }
}

impl Identity {
    /// Names a ServiceAccount with the groups that it has by itself.
    pub(crate) fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            user: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
            service_account: Some((namespace.to_owned(), name.to_owned())),
        }
    }

    /// Names the subject as findings do.
    pub(crate) fn display(&self) -> String {
        match &self.service_account {
            Some((namespace, name)) => format!("ServiceAccount {namespace}/{name}"),
            None => format!("User {}", self.user),
        }
    }
}
