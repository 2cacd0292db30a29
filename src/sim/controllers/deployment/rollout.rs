//! The arithmetic of rollouts: how many replicas each ReplicaSet may have next. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{replicas, revision};
use crate::sim::controllers::workload::int_or_percent;
use crate::sim::meta;

/// Returns surge and unavailability as counts; they cannot both be nothing.
fn limits(deployment: &Value) -> (i64, i64) {
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    let wanted = replicas(deployment);
    let surge = int_or_percent(&rolling["maxSurge"], wanted, true).unwrap_or_default();
    let unavailable = int_or_percent(&rolling["maxUnavailable"], wanted, false).unwrap_or_default();
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

fn is_rolling(deployment: &Value) -> bool {
    deployment["spec"]["strategy"]["type"] != "Recreate"
}

/// Returns how many Pods beyond the wanted ones there may be.
pub(super) fn max_surge(deployment: &Value) -> i64 {
    if is_rolling(deployment) { limits(deployment).0 } else { 0 }
}

/// Returns how many of the wanted Pods may be missing.
pub(super) fn max_unavailable(deployment: &Value) -> i64 {
    let wanted = replicas(deployment);
    if is_rolling(deployment) && wanted > 0 { limits(deployment).1.min(wanted) } else { 0 }
}

/// Returns what the new ReplicaSet may have, when all sets together have `total` and it has `current`.
pub(super) fn new_set_replicas(deployment: &Value, total: i64, current: i64) -> i64 {
    let wanted = replicas(deployment);
    if !is_rolling(deployment) {
        return wanted;
    }
    let most = wanted + max_surge(deployment);
    if total >= most { current } else { current + (most - total).min(wanted - current) }
}

/// Returns for each old ReplicaSet the sizes that it goes through now: first without its unavailable Pods, then as far
/// down as availability allows. `old` is in order of creation.
pub(super) fn old_set_replicas(deployment: &Value, new: &Value, old: &[Value]) -> Vec<Vec<i64>> {
    let mut steps = vec![Vec::new(); old.len()];
    let mut sizes: Vec<i64> = old.iter().map(replicas).collect();
    let available = |set: &Value| meta::int(&set["status"]["availableReplicas"], 0);
    let total = sizes.iter().sum::<i64>() + replicas(new);
    let least = replicas(deployment) - max_unavailable(deployment);
    let most_down = total - least - (replicas(new) - available(new));
    if sizes.iter().sum::<i64>() == 0 || most_down <= 0 {
        return steps;
    }
    let mut down = 0;
    for (index, set) in old.iter().enumerate() {
        if down >= most_down {
            break;
        }
        let surplus = (most_down - down).min(sizes[index] - available(set));
        if sizes[index] > 0 && surplus > 0 {
            sizes[index] -= surplus;
            down += surplus;
            steps[index].push(sizes[index]);
        }
    }
    let mut spare = old.iter().map(available).sum::<i64>() + available(new) - least;
    for (index, size) in sizes.iter_mut().enumerate() {
        if spare <= 0 {
            break;
        }
        let less = (*size).min(spare);
        if less > 0 {
            *size -= less;
            spare -= less;
            steps[index].push(*size);
        }
    }
    steps
}

/// Tells whether the Deployment was scaled since its ReplicaSets were last sized.
pub(super) fn is_scaling(deployment: &Value, sets: &[std::sync::Arc<Value>]) -> bool {
    sets.iter().filter(|set| replicas(set) > 0).any(|set| {
        meta::annotation(set, revision::DESIRED)
            .and_then(|text| text.parse::<i64>().ok())
            .is_some_and(|desired| desired != replicas(deployment))
    })
}

/// Tells whether the new ReplicaSet has all that is wanted, and has it available.
pub(super) fn is_saturated(deployment: &Value, set: &Value) -> bool {
    let wanted = replicas(deployment);
    let desired = meta::annotation(set, revision::DESIRED).and_then(|text| text.parse::<i64>().ok());
    replicas(set) == wanted
        && desired == Some(wanted)
        && meta::int(&set["status"]["availableReplicas"], 0) == wanted
}

/// Spreads a change of size over active sets in proportion to what they have; the largest takes the rounding.
pub(super) fn proportions(deployment: &Value, active: &[&Value]) -> BTreeMap<String, i64> {
    let wanted = replicas(deployment);
    let allowed = if wanted > 0 { wanted + max_surge(deployment) } else { 0 };
    let to_add = allowed - active.iter().map(|set| replicas(set)).sum::<i64>();
    let mut order: Vec<&Value> = active.to_vec();
    // Growing favours the newer of equal sets, shrinking the older.
    order.sort_by(|a, b| {
        let age =
            a["metadata"]["creationTimestamp"].as_str().cmp(&b["metadata"]["creationTimestamp"].as_str());
        let age = age.then_with(|| meta::name(a).cmp(meta::name(b)));
        replicas(b).cmp(&replicas(a)).then(if to_add > 0 { age.reverse() } else { age })
    });
    let mut added = 0;
    let mut sizes: Vec<i64> = Vec::new();
    for set in &order {
        let share = if to_add == added { 0 } else { fraction(deployment, set) };
        let share =
            if to_add > 0 { share.min(to_add - added).max(0) } else { share.max(to_add - added).min(0) };
        added += share;
        sizes.push(replicas(set) + share);
    }
    if let Some(first) = sizes.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    order.iter().map(|set| meta::name(set).to_owned()).zip(sizes).collect()
}

fn fraction(deployment: &Value, set: &Value) -> i64 {
    let wanted = replicas(deployment);
    if wanted == 0 {
        return -replicas(set);
    }
    let most = wanted + max_surge(deployment);
    let before = meta::annotation(set, revision::MAXIMUM)
        .and_then(|text| text.parse::<i64>().ok())
        .filter(|&count| count > 0)
        .unwrap_or_else(|| meta::int(&deployment["status"]["replicas"], 1).max(1));
    // To the nearest whole, halves away from zero.
    (2 * replicas(set) * most + before).div_euclid(2 * before) - replicas(set)
}
