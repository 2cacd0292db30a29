//! Who has to make room for a Pod of higher priority: as few and as unimportant as possible, on one node.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::cache::{NodeInfo, PodFacts};
use super::filter::{Diagnosis, Refusal, Round};
use super::topology::Spread;
use crate::sim::controllers::queue::Key;
use crate::sim::meta;
use crate::sim::quantity::Quantity;
use crate::sim::selectors::Selector;

/// A node, and the Pods that go from it.
#[derive(Debug)]
pub(super) struct Plan {
    pub node: String,
    pub victims: Vec<Arc<Value>>,
    violations: usize,
}

/// Why nobody is made to leave.
#[derive(Debug)]
pub(super) enum Refused {
    /// In upstream's words.
    Because(String),
    /// Those that were told to leave for this Pod are about to.
    Leaving,
}

/// Finds where preemption helps, or says why it does not.
pub(super) fn plan(
    round: &Round<'_>,
    diagnosis: &Diagnosis,
    budgets: &[Arc<Value>],
) -> Result<Plan, Refused> {
    let pod = &round.pod.pod;
    if pod["spec"]["preemptionPolicy"] == "Never" {
        return Err(Refused::Because("not eligible due to preemptionPolicy=Never.".to_owned()));
    }
    if let Some(nominated) = pod["status"]["nominatedNodeName"].as_str().filter(|node| !node.is_empty()) {
        let leaving = round
            .cache
            .info(nominated)
            .pods
            .values()
            .any(|other| other.priority < round.pod.priority && meta::is_deleting(&other.pod));
        if leaving {
            return Err(Refused::Leaving);
        }
    }
    let mut failures = Diagnosis { nodes: diagnosis.nodes, refusals: BTreeMap::new() };
    let mut plans = Vec::new();
    for (name, refusal) in &diagnosis.refusals {
        let why = if refusal.preemptible {
            match plan_for(round, name, budgets) {
                Ok(plan) => {
                    plans.push(plan);
                    continue;
                }
                Err(why) => why,
            }
        } else {
            Refusal::final_one("Preemption is not helpful for scheduling")
        };
        failures.refusals.insert(name.clone(), why);
    }
    let importance = |plan: &Plan| {
        let priorities = plan.victims.iter().map(|victim| meta::int(&victim["spec"]["priority"], 0));
        (
            plan.violations,
            priorities.clone().max().unwrap_or(i64::MIN),
            priorities.sum::<i64>(),
            plan.victims.len(),
        )
    };
    plans.into_iter().min_by_key(importance).ok_or_else(|| Refused::Because(failures.to_string()))
}

fn without(info: &mut NodeInfo, key: &Key) -> Option<PodFacts> {
    let facts = info.pods.remove(key)?;
    for (name, amount) in &facts.requests {
        let before = info.requested.get(name).copied().unwrap_or(Quantity::ZERO);
        info.requested.insert(name.clone(), before.minus(*amount));
    }
    Some(facts)
}

fn with(info: &mut NodeInfo, key: Key, facts: PodFacts) {
    for (name, amount) in &facts.requests {
        let before = info.requested.get(name).copied().unwrap_or(Quantity::ZERO);
        info.requested.insert(name.clone(), before.plus(*amount));
    }
    info.pods.insert(key, facts);
}

fn plan_for(round: &Round<'_>, name: &str, budgets: &[Arc<Value>]) -> Result<Plan, Refusal> {
    let Some(node) = round.cache.nodes.get(name) else {
        return Err(Refusal::final_one("Preemption is not helpful for scheduling"));
    };
    let mut info = round.cache.info(name);
    let lower: Vec<Key> = info
        .pods
        .iter()
        .filter(|(_, p)| p.priority < round.pod.priority)
        .map(|(key, _)| key.clone())
        .collect();
    if lower.is_empty() {
        return Err(Refusal::final_one("No preemption victims found for incoming pod"));
    }
    let mut victims: Vec<(Key, PodFacts)> =
        lower.into_iter().filter_map(|key| without(&mut info, &key).map(|facts| (key, facts))).collect();
    round.check(name, node, &info, &Spread::of(round, Some((name, &info))))?;
    // Those that stay are picked in this order: first whom a budget protects, then the important, then the old.
    let protected = protected(&victims, budgets);
    let mut order: Vec<usize> = (0..victims.len()).collect();
    order.sort_by_key(|&index| {
        let facts = &victims[index].1;
        (
            !protected[index],
            -facts.priority,
            facts.pod["status"]["startTime"].as_str().unwrap_or("~").to_owned(),
        )
    });
    let mut stays = vec![false; victims.len()];
    for index in order {
        let (key, facts) = victims[index].clone();
        with(&mut info, key.clone(), facts);
        if round.check(name, node, &info, &Spread::of(round, Some((name, &info)))).is_ok() {
            stays[index] = true;
        } else {
            without(&mut info, &key);
        }
    }
    let violations = (0..victims.len()).filter(|&index| !stays[index] && protected[index]).count();
    let mut index = 0;
    victims.retain(|_| {
        index += 1;
        !stays[index - 1]
    });
    victims.sort_by_key(|(_, facts)| -facts.priority);
    Ok(Plan {
        node: name.to_owned(),
        victims: victims.into_iter().map(|(_, facts)| facts.pod).collect(),
        violations,
    })
}

/// Tells for each Pod whether its going would break a disruption budget, counted one after the other.
fn protected(pods: &[(Key, PodFacts)], budgets: &[Arc<Value>]) -> Vec<bool> {
    let mut allowed: Vec<i64> =
        budgets.iter().map(|b| meta::int(&b["status"]["disruptionsAllowed"], 0)).collect();
    pods.iter()
        .map(|(_, facts)| {
            let mut violates = false;
            for (budget, left) in budgets.iter().zip(&mut allowed) {
                let selector = &budget["spec"]["selector"];
                let covers = meta::namespace(budget) == meta::namespace(&facts.pod)
                    && Selector::from_label_selector(selector)
                        .is_ok_and(|s| s.matches(meta::labels(&facts.pod)));
                if covers {
                    *left -= 1;
                    violates |= *left < 0;
                }
            }
            violates
        })
        .collect()
}
