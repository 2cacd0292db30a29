//! Impersonation: the `Impersonate-*` headers, and whether the one who asks may be all that they name.

use std::collections::BTreeMap;

use http::HeaderMap;

use super::request::decode;
use crate::sim::attributes::{Attributes, UserInfo};
use crate::sim::authz::Authorizer;
use crate::sim::status::Status;

const EXTRA: &str = "impersonate-extra-";

/// Returns the user that a request is to be made as.
///
/// # Errors
/// 403 when one of the named things may not be impersonated, 500 when there are things but no user.
pub(crate) fn resolve(
    authorizer: &Authorizer,
    headers: &HeaderMap,
    user: UserInfo,
) -> Result<UserInfo, Status> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    let username = text("impersonate-user");
    let uid = text("impersonate-uid");
    let groups: Vec<String> = headers
        .get_all("impersonate-group")
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA), value.to_str()) {
            extra.entry(decode(key).to_lowercase()).or_default().push(value.to_owned());
        }
    }
    if username.is_empty() {
        if groups.is_empty() && uid.is_empty() && extra.is_empty() {
            return Ok(user);
        }
        let named: Vec<String> = groups
            .iter()
            .map(|group| format!("{{Group  {group}    }}"))
            .chain((!uid.is_empty()).then(|| format!("{{UID  {uid}  authentication.k8s.io/v1  }}")))
            .collect();
        return Err(Status::internal(format!(
            "requested [{}] without impersonating a user",
            named.join(" ")
        )));
    }
    let ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        authorizer.require(&Attributes {
            user: user.clone(),
            verb: "impersonate".to_owned(),
            group: group.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        })
    };
    let account = username.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, name)) => ask("", "serviceaccounts", "", namespace, name)?,
        None => ask("", "users", "", "", &username)?,
    };
    for group in &groups {
        ask("", "groups", "", "", group)?;
    }
    for (key, values) in &extra {
        for value in values {
            ask("authentication.k8s.io", "userextras", key, "", value)?;
        }
    }
    if !uid.is_empty() {
        ask("authentication.k8s.io", "uids", "", "", &uid)?;
    }
    let mut groups = groups;
    if let (Some((namespace, _)), true) = (account, groups.is_empty()) {
        groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    let implied =
        if username == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !groups.iter().any(|group| group == implied) {
        groups.push(implied.to_owned());
    }
    Ok(UserInfo { username, uid, groups, extra })
}
