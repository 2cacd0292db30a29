//! CertificateSigningRequests: who asks is set down, what is asked stays, who approved is told apart from who signed.

use serde_json::{Value, json};

use crate::sim::attributes::UserInfo;
use crate::sim::object::{Fields, copy, field_at, items_mut, remove, set};

/// Sets the requester's identity, whatever the object says of it.
pub(super) fn create(object: &mut Value, user: &UserInfo) {
    let spec = field_at(object, "spec");
    for name in ["username", "uid", "groups", "extra"] {
        remove(spec, name);
    }
    set(spec, "username", user.username.clone());
    if !user.uid.is_empty() {
        set(spec, "uid", user.uid.clone());
    }
    if !user.groups.is_empty() {
        set(spec, "groups", user.groups.clone());
    }
    if !user.extra.is_empty() {
        set(spec, "extra", json!(user.extra));
    }
}

pub(super) fn update(subresource: &str, new: &mut Value, old: &Value, now: &Value) {
    copy(new, old, "spec");
    match subresource {
        "status" => keep_decisions(new, old),
        "approval" => copy(field_at(new, "status"), old.at("status"), "certificate"),
        _ => {
            copy(new, old, "status");
            return;
        }
    }
    let before = old.at("status").items("conditions");
    for condition in items_mut(field_at(new, "status"), "conditions") {
        if !condition.has("lastUpdateTime") {
            set(condition, "lastUpdateTime", now.clone());
        }
        if !condition.has("lastTransitionTime") {
            let same = before.iter().find(|other| {
                ["type", "status"].iter().all(|field| other.at(field) == condition.at(field))
                    && other.has("lastTransitionTime")
            });
            let time = same.map_or_else(|| now.clone(), |other| other.at("lastTransitionTime").clone());
            set(condition, "lastTransitionTime", time);
        }
    }
}

/// A signer may add conditions of its own, and neither approve nor deny.
fn keep_decisions(new: &mut Value, old: &Value) {
    let decision = |condition: &Value| matches!(condition.text("type"), "Approved" | "Denied");
    let mut conditions: Vec<Value> =
        old.at("status").items("conditions").iter().filter(|c| decision(c)).cloned().collect();
    conditions.extend(new.at("status").items("conditions").iter().filter(|c| !decision(c)).cloned());
    if conditions.is_empty() {
        remove(field_at(new, "status"), "conditions");
    } else {
        set(field_at(new, "status"), "conditions", conditions);
    }
}
