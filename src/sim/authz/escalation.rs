//! Who may write roles and bindings: nobody grants what they do not hold, unless they may `escalate` or `bind`.

use serde_json::Value;

use super::Authorizer;
use crate::sim::attributes::{Attributes, UserInfo};
use crate::sim::rbac::{
    CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, GROUP, ROLES, ResolutionError, RoleRef, Rule, aggregate, compact,
    quoted_list, uncovered,
};
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

/// A write of a role or binding, after mutating admission and before validation.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// Who writes.
    pub user: &'a UserInfo,
    /// `roles`, `clusterroles`, `rolebindings` or `clusterrolebindings`; others pass.
    pub resource: &'a GroupResource,
    /// The request's namespace; empty for cluster scope.
    pub namespace: &'a str,
    /// The name in the request's path; empty for a create.
    pub name: &'a str,
    /// The object to be written.
    pub object: &'a Value,
    /// The object as it is, for an update.
    pub old: Option<&'a Value>,
}

/// Refuses a write that grants more than its author holds.
///
/// # Errors
/// 403 with the missing rules, or 404 when a binding's role does not exist and so cannot be compared.
pub fn check(authorizer: &Authorizer, write: &Write<'_>) -> Result<(), Status> {
    if write.resource.group != GROUP || write.user.in_group("system:masters") {
        return Ok(());
    }
    if write.old.is_some_and(|old| only_collection_fields_differ(write.object, old)) {
        return Ok(());
    }
    match &*write.resource.resource {
        "roles" | "clusterroles" => check_role(authorizer, write),
        "rolebindings" | "clusterrolebindings" => check_binding(authorizer, write),
        _ => Ok(()),
    }
}

fn check_role(authorizer: &Authorizer, write: &Write<'_>) -> Result<(), Status> {
    if may(authorizer, write, "escalate", &write.resource.resource, GROUP, write.name) {
        return Ok(());
    }
    confirm(authorizer, write, &Rule::list_of(write.object))?;
    let aggregates = |role: &Value| role["aggregationRule"]["clusterRoleSelectors"].is_array();
    if *write.resource == CLUSTER_ROLES && (aggregates(write.object) || write.old.is_some_and(aggregates)) {
        let all = [Rule::resources(&["*"], &["*"], &["*"]), Rule::paths(&["*"], &["*"])];
        if missing(authorizer, write, &all).is_some() {
            let why = "must have cluster-admin privileges to use the aggregationRule";
            return Err(forbidden(write, why));
        }
    }
    Ok(())
}

fn check_binding(authorizer: &Authorizer, write: &Write<'_>) -> Result<(), Status> {
    let role = RoleRef::of(write.object);
    let plural = match role.kind.as_str() {
        "ClusterRole" => Some("clusterroles"),
        "Role" => Some("roles"),
        _ => None,
    };
    if plural.is_some_and(|plural| may(authorizer, write, "bind", plural, &role.group, &role.name)) {
        return Ok(());
    }
    let namespace = if *write.resource == CLUSTER_ROLE_BINDINGS { "" } else { write.namespace };
    let rules = authorizer.rbac().role_rules(&role, namespace).map_err(|error| match &error {
        ResolutionError::NotFound { cluster, name } => {
            Status::not_found(if *cluster { &CLUSTER_ROLES } else { &ROLES }, name)
        }
        ResolutionError::UnsupportedKind(_) => Status::new(500, "", error.to_string()),
    })?;
    confirm(authorizer, write, &rules)
}

fn may(
    authorizer: &Authorizer,
    write: &Write<'_>,
    verb: &str,
    resource: &str,
    group: &str,
    name: &str,
) -> bool {
    let attributes = Attributes {
        user: write.user.clone(),
        verb: verb.to_owned(),
        group: group.to_owned(),
        version: "*".to_owned(),
        resource: resource.to_owned(),
        namespace: write.namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    authorizer.authorize(&attributes).is_allowed()
}

fn confirm(authorizer: &Authorizer, write: &Write<'_>, rules: &[Rule]) -> Result<(), Status> {
    match missing(authorizer, write, rules) {
        Some(why) => Err(forbidden(write, why)),
        None => Ok(()),
    }
}

/// Words what of `rules` the author does not hold; nothing when all is held.
fn missing(authorizer: &Authorizer, write: &Write<'_>, rules: &[Rule]) -> Option<String> {
    let (held, errors) = authorizer.rbac().rules_for(write.user, write.namespace);
    let missing = compact(&uncovered(&held, rules));
    if missing.is_empty() {
        return None;
    }
    let mut lines: Vec<String> = missing.iter().map(Rule::to_compact_string).collect();
    lines.sort();
    lines.dedup();
    let mut why = format!(
        "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        write.user.username,
        quoted_list(&write.user.groups),
        lines.join("\n")
    );
    if !errors.is_empty() {
        let errors: Vec<String> = errors.iter().map(ResolutionError::as_stored).collect();
        why.push_str(&format!("; resolution errors: [{}]", aggregate(&errors)));
    }
    Some(why)
}

fn forbidden(write: &Write<'_>, why: impl std::fmt::Display) -> Status {
    let name = write.object["metadata"]["name"].as_str().unwrap_or_default();
    Status::forbidden(write.resource, name, why)
}

/// Tells whether an update changes no more than what garbage collection needs to: then it grants nothing.
fn only_collection_fields_differ(object: &Value, old: &Value) -> bool {
    let stripped = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["ownerReferences", "finalizers", "managedFields", "selfLink"] {
                metadata.remove(field);
            }
        }
        object
    };
    stripped(object) == stripped(old)
}
