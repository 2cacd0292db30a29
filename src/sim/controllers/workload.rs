//! What workload controllers share beyond Pods: which of them a Pod concerns, and numbers that may be percentages.

use serde_json::Value;

use super::engine::{Cx, Notice};
use super::queue::{Key, Queue};
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::selectors::Selector;

/// Queues the owners of `kind` that a change of a Pod (or ReplicaSet) concerns: the one that manages it or did, and for
/// an orphan all that could adopt it.
pub(crate) fn owners_of_pod(
    cx: &Cx,
    notice: &Notice<'_>,
    resource: &GroupResource,
    kind: &str,
    selector: impl Fn(&Value) -> Selector,
    queue: &Queue,
) {
    let namespace = meta::namespace(notice.object);
    let mut managed = false;
    for version in [Some(&**notice.object), notice.previous].into_iter().flatten() {
        if let Some(owner) = meta::controller(version).filter(|owner| owner["kind"] == kind) {
            queue.add(Key::new(namespace, owner["name"].as_str().unwrap_or_default()));
        }
    }
    managed |= meta::controller(notice.object).is_some();
    if managed || notice.is_gone() || meta::is_deleting(notice.object) {
        return;
    }
    let was_orphan = notice.previous.is_some_and(|previous| meta::controller(previous).is_none());
    if was_orphan && !notice.changed("/metadata/labels") {
        return;
    }
    for entry in cx.store().list(resource, Some(namespace)) {
        if selector(&entry.object).matches(meta::labels(notice.object)) {
            queue.add(Key::new(namespace, entry.name()));
        }
    }
}

/// Resolves a count or a percentage of `total`; a fraction is rounded up or down.
pub(crate) fn int_or_percent(value: &Value, total: i64, round_up: bool) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => {
            let percent: i64 = text.strip_suffix('%')?.parse().ok()?;
            let product = percent * total;
            Some(if round_up { (product + 99).div_euclid(100) } else { product.div_euclid(100) })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn percentages_are_rounded_as_asked() {
        assert_eq!(int_or_percent(&json!("25%"), 10, true), Some(3));
        assert_eq!(int_or_percent(&json!("25%"), 10, false), Some(2));
        assert_eq!(int_or_percent(&json!("100%"), 3, false), Some(3));
        assert_eq!(int_or_percent(&json!(4), 10, false), Some(4));
        assert_eq!(int_or_percent(&json!("many"), 10, false), None);
        assert_eq!(int_or_percent(&Value::Null, 10, false), None);
    }
}
