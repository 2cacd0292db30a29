//! Which of the nodes that will do is best: the emptier one, the one further from its like, the one preferred.

use serde_json::Value;

use super::filter::{Round, matches_node_term, tolerates};
use super::topology::Term;
use crate::sim::meta;
use crate::sim::quantity::Quantity;

/// Returns the best of the nodes; of equals the first by name.
pub(super) fn best(round: &Round<'_>, nodes: &[(&str, &Value)]) -> Option<String> {
    let mut best: Option<(f64, &str)> = None;
    for &(name, node) in nodes {
        let score = score(round, name, node);
        if best.is_none_or(|(highest, _)| score > highest) {
            best = Some((score, name));
        }
    }
    best.map(|(_, name)| name.to_owned())
}

fn score(round: &Round<'_>, name: &str, node: &Value) -> f64 {
    let spec = &round.pod.pod["spec"];
    let info = round.cache.info(name);
    let free = ["cpu", "memory"].map(|resource| {
        let total = Quantity::of(&node["status"]["allocatable"][resource]).as_f64();
        let used = info.requested.get(resource).copied().unwrap_or(Quantity::ZERO).as_f64();
        if total > 0.0 { (total - used).max(0.0) / total * 100.0 } else { 0.0 }
    });
    let resources = (free[0] + free[1]) / 2.0;
    let disliked = meta::items(&node["spec"]["taints"])
        .filter(|taint| {
            let text = |field: &str| taint[field].as_str().unwrap_or_default();
            text("effect") == "PreferNoSchedule"
                && !tolerates(spec, text("key"), text("value"), "PreferNoSchedule")
        })
        .count() as f64;
    let preferred: f64 =
        meta::items(&spec["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"])
            .filter(|wish| matches_node_term(&wish["preference"], name, node))
            .map(|wish| meta::int(&wish["weight"], 0) as f64)
            .sum();
    let mut company = 0.0;
    for (kind, sign) in [("podAffinity", 1.0), ("podAntiAffinity", -1.0)] {
        for wish in meta::items(&spec["affinity"][kind]["preferredDuringSchedulingIgnoredDuringExecution"]) {
            let term = Term::new(&wish["podAffinityTerm"], &round.pod.pod);
            let near = round.cache.pods().filter(|other| {
                let there = round.cache.nodes.get(&other.node).and_then(|n| meta::label(n, term.key()));
                there.is_some()
                    && there == meta::label(node, term.key())
                    && term.matches(&other.pod, round.namespaces)
            });
            company += sign * meta::int(&wish["weight"], 0) as f64 * near.count() as f64;
        }
    }
    let owner = meta::controller(&round.pod.pod).map(|owner| &owner["uid"]);
    let alike = info
        .pods
        .values()
        .filter(|other| owner.is_some() && meta::controller(&other.pod).map(|o| &o["uid"]) == owner)
        .count() as f64;
    resources - 300.0 * disliked + 2.0 * preferred + 2.0 * company
        - 20.0 * alike
        - info.pods.len() as f64 / 100.0
}
