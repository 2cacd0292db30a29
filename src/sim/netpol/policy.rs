//! One NetworkPolicy, parsed: which Pods it selects, in which directions it isolates, what its rules let through.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::{Direction, Peer, Pod, PolicyRef, Protocol};
use crate::sim::selectors::Selector;

#[derive(Debug)]
pub(super) struct Policy {
    pub id: PolicyRef,
    pub selector: Selector,
    ingress: Option<Vec<Rule>>,
    egress: Option<Vec<Rule>>,
}

impl Policy {
    pub fn read(policy: &Value) -> Self {
        let (meta, spec) = (&policy["metadata"], &policy["spec"]);
        let rules = |list: &Value, peers: &str| -> Vec<Rule> {
            list.as_array().into_iter().flatten().map(|rule| Rule::read(rule, peers)).collect()
        };
        let (isolates_ingress, isolates_egress) = match spec["policyTypes"].as_array() {
            Some(types) if !types.is_empty() => {
                (types.contains(&"Ingress".into()), types.contains(&"Egress".into()))
            }
            // As the API defaults it: ingress always, egress only when there are egress rules.
            _ => (true, spec["egress"].as_array().is_some_and(|rules| !rules.is_empty())),
        };
        Self {
            id: PolicyRef {
                namespace: meta["namespace"].as_str().unwrap_or_default().to_owned(),
                name: meta["name"].as_str().unwrap_or_default().to_owned(),
            },
            // A missing podSelector is an empty one: the field is no pointer.
            selector: match &spec["podSelector"] {
                Value::Null => Selector::everything(),
                selector => Selector::from_label_selector(selector).unwrap_or_else(|_| Selector::nothing()),
            },
            ingress: isolates_ingress.then(|| rules(&spec["ingress"], "from")),
            egress: isolates_egress.then(|| rules(&spec["egress"], "to")),
        }
    }

    /// Returns the rules of a direction, or none where the policy does not isolate in it.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

/// A rule; a list that is missing or empty restricts nothing.
#[derive(Debug)]
pub(super) struct Rule {
    peers: Vec<PeerRule>,
    ports: Vec<PortRule>,
}

impl Rule {
    fn read(rule: &Value, peers: &str) -> Self {
        let list = |field: &str| rule[field].as_array().into_iter().flatten();
        Self {
            peers: list(peers).map(PeerRule::read).collect(),
            ports: list("ports").map(PortRule::read).collect(),
        }
    }

    pub fn has_peer(&self, policy_namespace: &str, peer: &Peer<'_>, address: Option<IpAddr>) -> bool {
        self.peers.is_empty() || self.peers.iter().any(|rule| rule.matches(policy_namespace, peer, address))
    }

    pub fn has_port(&self, port: u16, protocol: Protocol, destination: Option<&Pod>) -> bool {
        self.ports.is_empty() || self.ports.iter().any(|rule| rule.matches(port, protocol, destination))
    }
}

#[derive(Debug)]
enum PeerRule {
    Block {
        cidr: IpNet,
        except: Vec<IpNet>,
    },
    Pods {
        namespaces: Option<Selector>,
        pods: Option<Selector>,
    },
    /// Something the API would have refused; it lets nothing through.
    Nothing,
}

impl PeerRule {
    fn read(peer: &Value) -> Self {
        if let Some(cidr) = peer["ipBlock"]["cidr"].as_str() {
            let except = peer["ipBlock"]["except"].as_array().into_iter().flatten().filter_map(Value::as_str);
            return match (cidr.parse(), except.map(str::parse).collect()) {
                (Ok(cidr), Ok(except)) => Self::Block { cidr, except },
                _ => Self::Nothing,
            };
        }
        let selector = |field: &str| match &peer[field] {
            Value::Null => None,
            selector => Some(Selector::from_label_selector(selector).unwrap_or_else(|_| Selector::nothing())),
        };
        match (selector("namespaceSelector"), selector("podSelector")) {
            (None, None) => Self::Nothing,
            (namespaces, pods) => Self::Pods { namespaces, pods },
        }
    }

    fn matches(&self, policy_namespace: &str, peer: &Peer<'_>, address: Option<IpAddr>) -> bool {
        match self {
            Self::Nothing => false,
            Self::Block { cidr, except } => {
                address.is_some_and(|a| cidr.contains(&a) && !except.iter().any(|net| net.contains(&a)))
            }
            Self::Pods { namespaces, pods } => peer.pod.is_some_and(|pod| {
                let in_namespace = match namespaces {
                    None => pod.namespace == policy_namespace,
                    Some(selector) => selector.matches(peer.namespace_labels),
                };
                in_namespace && pods.as_ref().is_none_or(|selector| selector.matches(&pod.labels))
            }),
        }
    }
}

#[derive(Debug)]
struct PortRule {
    protocol: Option<Protocol>,
    port: PortMatch,
}

#[derive(Debug)]
enum PortMatch {
    Any,
    Range(u64, u64),
    Named(String),
}

impl PortRule {
    fn read(port: &Value) -> Self {
        let matching = match &port["port"] {
            Value::String(name) => PortMatch::Named(name.clone()),
            Value::Number(number) => {
                let first = number.as_u64().unwrap_or_default();
                PortMatch::Range(first, port["endPort"].as_u64().unwrap_or(first))
            }
            _ => PortMatch::Any,
        };
        Self { protocol: port["protocol"].as_str().unwrap_or("TCP").parse().ok(), port: matching }
    }

    fn matches(&self, port: u16, protocol: Protocol, destination: Option<&Pod>) -> bool {
        if self.protocol != Some(protocol) {
            return false;
        }
        match &self.port {
            PortMatch::Any => true,
            PortMatch::Range(first, last) => (*first..=*last).contains(&u64::from(port)),
            PortMatch::Named(name) => destination.is_some_and(|pod| {
                pod.ports.iter().any(|(n, number, p)| n == name && *number == port && *p == protocol)
            }),
        }
    }
}
