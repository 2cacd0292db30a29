//! What of a quota's resources a namespace uses, counted over its objects.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::evaluate;
use super::scopes;
use crate::sim::admission::pods::text;
use crate::sim::pod_resources::{Amounts, amounts};
use crate::sim::quantity::Quantity;
use crate::sim::resource::GroupResource;
use crate::sim::store::Store;

/// Returns the status that a quota should have.
pub(super) fn status(store: &Store, now: Timestamp, quota: &Value) -> Value {
    let hard = amounts(&quota["spec"]["hard"]);
    let mut used = amounts(&quota["status"]["used"]);
    used.extend(count(store, now, quota, &hard));
    used.retain(|name, _| hard.contains_key(name));
    let mut status = Map::new();
    for (field, values) in [("hard", &hard), ("used", &used)] {
        if !values.is_empty() {
            let values = values.iter().map(|(name, value)| (name.clone(), Value::from(*value))).collect();
            status.insert(field.to_owned(), Value::Object(values));
        }
    }
    status.into()
}

fn count(store: &Store, now: Timestamp, quota: &Value, hard: &Amounts) -> Amounts {
    let namespace = text(&quota["metadata"], "namespace");
    let scopes = scopes(quota);
    let mut sum = Amounts::new();
    for resource in counted(hard) {
        let names = evaluate::matching(&resource, hard.keys());
        for name in &names {
            sum.entry(name.clone()).or_insert(Quantity::ZERO);
        }
        for entry in store.list(&resource, Some(namespace)) {
            if !scopes.iter().all(|scope| evaluate::in_scope(&resource, scope, &entry.object)) {
                continue;
            }
            for (name, amount) in evaluate::usage(&resource, &entry.object, now) {
                if let Some(total) = sum.get_mut(&name).filter(|_| names.contains(&name)) {
                    *total = total.plus(amount);
                }
            }
        }
    }
    sum
}

/// Returns the resources whose objects the limits are about.
fn counted(hard: &Amounts) -> BTreeSet<GroupResource> {
    let mut resources: BTreeSet<GroupResource> =
        hard.keys().filter_map(|name| evaluate::counted_by(name)).collect();
    for resource in ["pods", "services", "persistentvolumeclaims"] {
        let resource = GroupResource::of("", resource);
        if !evaluate::matching(&resource, hard.keys()).is_empty() {
            resources.insert(resource);
        }
    }
    resources
}
