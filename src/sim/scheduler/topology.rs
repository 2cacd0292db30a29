//! Constraints between Pods: affinity, anti-affinity and topology spread.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::cache::{NodeInfo, PodFacts};
use super::filter::{Refusal, Round, matches_node_affinity, tolerates};
use crate::sim::meta;
use crate::sim::selectors::{Operator, Requirement, Selector};

/// A Pod affinity term, with whose Pods it means.
pub(super) struct Term<'a> {
    term: &'a Value,
    selector: Selector,
    owner_namespace: &'a str,
}

impl<'a> Term<'a> {
    pub fn new(term: &'a Value, owner: &'a Value) -> Self {
        let selector =
            Selector::from_label_selector(&term["labelSelector"]).unwrap_or_else(|_| Selector::nothing());
        Self {
            selector: with_label_keys(selector, term, owner),
            term,
            owner_namespace: meta::namespace(owner),
        }
    }

    pub fn key(&self) -> &str {
        self.term["topologyKey"].as_str().unwrap_or_default()
    }

    pub fn matches(&self, pod: &Value, namespaces: &[Arc<Value>]) -> bool {
        self.selector.matches(meta::labels(pod)) && self.covers(meta::namespace(pod), namespaces)
    }

    fn covers(&self, namespace: &str, namespaces: &[Arc<Value>]) -> bool {
        let listed = meta::items(&self.term["namespaces"]);
        let by_selector = &self.term["namespaceSelector"];
        if by_selector.is_null() && listed.clone().next().is_none() {
            return namespace == self.owner_namespace;
        }
        if listed.clone().any(|name| name == namespace) {
            return true;
        }
        let selector = Selector::from_label_selector(by_selector).unwrap_or_else(|_| Selector::nothing());
        namespaces.iter().any(|ns| meta::name(ns) == namespace && selector.matches(meta::labels(ns)))
    }
}

/// Adds `matchLabelKeys` and `mismatchLabelKeys`, which stand for the owner's own labels.
fn with_label_keys(selector: Selector, term: &Value, owner: &Value) -> Selector {
    if selector.is_nothing() {
        return selector;
    }
    let mut requirements = selector.requirements().to_vec();
    for (field, operator) in [("matchLabelKeys", Operator::In), ("mismatchLabelKeys", Operator::NotIn)] {
        for key in meta::items(&term[field]).filter_map(Value::as_str) {
            if let Some(value) = meta::label(owner, key) {
                requirements.push(Requirement {
                    key: key.to_owned(),
                    operator,
                    values: vec![value.to_owned()],
                });
            }
        }
    }
    Selector::all_of(requirements)
}

/// Returns the required terms of an affinity (`podAffinity`) or anti-affinity (`podAntiAffinity`).
pub(super) fn required<'a>(pod: &'a Value, kind: &str) -> impl Iterator<Item = Term<'a>> + use<'a> {
    meta::items(&pod["spec"]["affinity"][kind]["requiredDuringSchedulingIgnoredDuringExecution"])
        .map(move |term| Term::new(term, pod))
}

/// Tells whether two nodes are in the same domain of a key.
fn same_domain(a: &Value, b: &Value, key: &str) -> bool {
    meta::label(a, key).is_some_and(|value| meta::label(b, key) == Some(value))
}

/// Checks affinity both ways: what the Pod wants, and what the Pods that are there do not want. `info` stands for the
/// node's Pods in place of what the cache has.
pub(super) fn check_affinity(
    round: &Round<'_>,
    name: &str,
    node: &Value,
    info: &NodeInfo,
) -> Result<(), Refusal> {
    let pod = &*round.pod.pod;
    let elsewhere = round.cache.pods().filter(|other| other.node != name);
    let others: Vec<&PodFacts> = elsewhere.chain(info.pods.values()).collect();
    let node_of = |facts: &PodFacts| {
        if facts.node == name || facts.node.is_empty() {
            Some(node)
        } else {
            round.cache.nodes.get(&facts.node).map(|n| &**n)
        }
    };
    let near = |term: &Term<'_>, facts: &PodFacts| {
        node_of(facts).is_some_and(|other| same_domain(node, other, term.key()))
    };
    let terms: Vec<Term<'_>> = required(pod, "podAffinity").collect();
    let satisfied = terms.iter().all(|term| {
        meta::label(node, term.key()).is_some()
            && others.iter().any(|other| {
                terms.iter().all(|all| all.matches(&other.pod, round.namespaces)) && near(term, other)
            })
    });
    if !terms.is_empty() && !satisfied {
        // The first of a group has nobody to be near to: it may start anywhere where the keys are.
        let nobody = !round.cache.pods().any(|other| {
            terms.iter().all(|term| {
                term.matches(&other.pod, round.namespaces)
                    && round
                        .cache
                        .nodes
                        .get(&other.node)
                        .is_some_and(|n| meta::label(n, term.key()).is_some())
            })
        });
        let itself = terms.iter().all(|term| term.matches(pod, round.namespaces));
        let keys = terms.iter().all(|term| meta::label(node, term.key()).is_some());
        if !(nobody && itself && keys) {
            return Err(Refusal::final_one("node(s) didn't match pod affinity rules"));
        }
    }
    let repelled = required(pod, "podAntiAffinity").any(|term| {
        others.iter().any(|other| term.matches(&other.pod, round.namespaces) && near(&term, other))
    });
    if repelled {
        return Err(Refusal::for_now("node(s) didn't match pod anti-affinity rules"));
    }
    let unwanted = others.iter().any(|other| {
        required(&other.pod, "podAntiAffinity")
            .any(|term| term.matches(pod, round.namespaces) && near(&term, other))
    });
    if unwanted {
        return Err(Refusal::for_now("node(s) didn't satisfy existing pods anti-affinity rules"));
    }
    Ok(())
}

/// One spread constraint and how many matching Pods each domain has.
struct Constraint {
    key: String,
    max_skew: i64,
    itself: i64,
    fewest: i64,
    counts: BTreeMap<String, i64>,
}

/// The spread constraints of a Pod that must hold.
pub(super) struct Spread(Vec<Constraint>);

impl Spread {
    /// Counts; `instead` gives the Pods of one node in place of what the cache has.
    pub fn of(round: &Round<'_>, instead: Option<(&str, &NodeInfo)>) -> Self {
        let pod = &*round.pod.pod;
        let hard: Vec<&Value> = meta::items(&pod["spec"]["topologySpreadConstraints"])
            .filter(|constraint| constraint["whenUnsatisfiable"].as_str() != Some("ScheduleAnyway"))
            .collect();
        let keys: Vec<&str> = hard.iter().map(|c| c["topologyKey"].as_str().unwrap_or_default()).collect();
        Self(
            hard.iter().zip(&keys).map(|(c, key)| Constraint::count(round, c, key, &keys, instead)).collect(),
        )
    }

    pub fn check(&self, _round: &Round<'_>, _name: &str, node: &Value) -> Result<(), Refusal> {
        for constraint in &self.0 {
            let Some(domain) = meta::label(node, &constraint.key) else {
                let text = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(Refusal::final_one(text));
            };
            let count = constraint.counts.get(domain).copied().unwrap_or_default();
            if count + constraint.itself - constraint.fewest > constraint.max_skew {
                return Err(Refusal::for_now("node(s) didn't match pod topology spread constraints"));
            }
        }
        Ok(())
    }
}

impl Constraint {
    fn count(
        round: &Round<'_>,
        constraint: &Value,
        key: &str,
        keys: &[&str],
        instead: Option<(&str, &NodeInfo)>,
    ) -> Self {
        let pod = &*round.pod.pod;
        let selector = Selector::from_label_selector(&constraint["labelSelector"])
            .unwrap_or_else(|_| Selector::nothing());
        let selector = with_label_keys(selector, constraint, pod);
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for (name, node) in &round.cache.nodes {
            let Some(domain) = meta::label(node, key) else { continue };
            let eligible = keys.iter().all(|key| meta::label(node, key).is_some())
                && (constraint["nodeAffinityPolicy"] == "Ignore"
                    || matches_node_affinity(&pod["spec"], name, node))
                && (constraint["nodeTaintsPolicy"] != "Honor" || tolerates_all(&pod["spec"], node));
            if !eligible {
                continue;
            }
            let own;
            let info = match instead {
                Some((other, info)) if other == name => info,
                _ => {
                    own = round.cache.info(name);
                    &own
                }
            };
            let matching = info.pods.values().filter(|other| {
                meta::namespace(&other.pod) == meta::namespace(pod)
                    && !meta::is_deleting(&other.pod)
                    && selector.matches(meta::labels(&other.pod))
            });
            *counts.entry(domain.to_owned()).or_default() += matching.count() as i64;
        }
        let domains = counts.len() as i64;
        let fewest = if meta::int(&constraint["minDomains"], 1) > domains {
            0
        } else {
            counts.values().copied().min().unwrap_or_default()
        };
        Self {
            key: key.to_owned(),
            max_skew: meta::int(&constraint["maxSkew"], 1),
            itself: i64::from(selector.matches(meta::labels(pod))),
            fewest,
            counts,
        }
    }
}

fn tolerates_all(spec: &Value, node: &Value) -> bool {
    meta::items(&node["spec"]["taints"]).all(|taint| {
        let text = |field: &str| taint[field].as_str().unwrap_or_default();
        text("effect") == "PreferNoSchedule" || tolerates(spec, text("key"), text("value"), text("effect"))
    })
}
