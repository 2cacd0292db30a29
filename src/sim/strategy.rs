//! What the registry does with an object of a built-in kind around validation: status and spec are kept apart,
//! generations counted, what only the server may say is set or taken away, and what deserves a warning is told.

use jiff::Timestamp;
use serde_json::Value;

use super::attributes::UserInfo;

/// What preparing an object may need of the request.
#[derive(Debug, Clone, Copy)]
pub struct RequestFacts<'a> {
    /// Who asks.
    pub user: &'a UserInfo,
    /// When.
    pub now: Timestamp,
}

/// Prepares a new object before it is validated. `metadata` must be complete by then: name, namespace, uid,
/// creationTimestamp.
pub fn prepare_for_create(
    group: &str,
    version: &str,
    kind: &str,
    object: &mut Value,
    facts: RequestFacts<'_>,
) {
    let _ = (group, version, kind, object, facts);
}

/// Prepares a changed object before it is validated: keeps from the old one what a request to this subresource (empty
/// for the object itself) may not change, and counts the generation up when the spec has changed.
pub fn prepare_for_update(
    group: &str,
    version: &str,
    kind: &str,
    subresource: &str,
    new: &mut Value,
    old: &Value,
    facts: RequestFacts<'_>,
) {
    let _ = (group, version, kind, subresource, new, old, facts);
}

/// Returns what a client is warned of when it creates the object.
pub fn warnings_on_create(group: &str, version: &str, kind: &str, object: &Value) -> Vec<String> {
    let _ = (group, version, kind, object);
    Vec::new()
}

/// Returns what a client is warned of when it changes the object.
pub fn warnings_on_update(group: &str, version: &str, kind: &str, new: &Value, old: &Value) -> Vec<String> {
    let _ = (group, version, kind, new, old);
    Vec::new()
}

/// Tells whether an update of an object that does not exist creates it.
pub fn creates_on_update(group: &str, kind: &str) -> bool {
    matches!(
        (group, kind),
        ("", "Endpoints" | "LimitRange" | "Event" | "Service")
            | ("events.k8s.io", "Event")
            | ("coordination.k8s.io", "Lease")
    ) || group == "rbac.authorization.k8s.io"
}
