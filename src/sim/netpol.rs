//! NetworkPolicy semantics: who reaches whom on which port, and which policies say so. A pure function of a snapshot.
//! Knows nothing of Services, DNS or whether anything listens. Where the API leaves a choice to the network plugin this
//! does as kind's own one: `ipBlock` matches Pod addresses too, host-network Pods count as their node.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde_json::Value;

mod policy;
#[cfg(test)]
mod tests;

use policy::Policy;

/// A transport protocol of NetworkPolicy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// `TCP`
    Tcp,
    /// `UDP`
    Udp,
    /// `SCTP`
    Sctp,
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(name: &str) -> Result<Self, UnknownProtocol> {
        match name {
            "TCP" => Ok(Self::Tcp),
            "UDP" => Ok(Self::Udp),
            "SCTP" => Ok(Self::Sctp),
            _ => Err(UnknownProtocol(name.to_owned())),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

/// A protocol name that NetworkPolicy does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not one of TCP, UDP, SCTP")]
pub struct UnknownProtocol(String);

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A Pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// An address: of a Pod, of a node, or outside the cluster.
    Address(IpAddr),
}

impl Endpoint {
    /// Names a Pod.
    pub fn pod(namespace: &str, name: &str) -> Self {
        Self::Pod { namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod { namespace, name } => write!(f, "pod {namespace}/{name}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Names a NetworkPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for PolicyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Names a rule: the policy and the index into its `ingress` or `egress`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleRef {
    /// The policy.
    pub policy: PolicyRef,
    /// The rule's index.
    pub rule: usize,
}

/// What the policies of one direction decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Policies have no say, and why.
    Exempt(&'static str),
    /// No policy isolates the Pod in this direction.
    Unrestricted,
    /// The Pod is isolated, and these rules let the connection through.
    Allowed(Vec<RuleRef>),
    /// The Pod is isolated by these policies, and none of their rules lets the connection through.
    Blocked(Vec<PolicyRef>),
}

impl Decision {
    /// Tells whether the connection passes in this direction.
    pub fn passes(&self) -> bool {
        !matches!(self, Self::Blocked(_))
    }
}

/// Whether a connection is possible as far as policies go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Both directions let it through.
    Allowed,
    /// At least one direction does not.
    Blocked,
    /// There is no such end, or it does not run; why.
    NoEndpoint(String),
}

/// The answer for one connection: the outcome and each direction's part in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The outcome.
    pub outcome: Outcome,
    /// The source's egress.
    pub egress: Decision,
    /// The destination's ingress.
    pub ingress: Decision,
}

impl Verdict {
    /// Tells whether the connection is allowed.
    pub fn is_allowed(&self) -> bool {
        self.outcome == Outcome::Allowed
    }
}

impl fmt::Display for Verdict {
    /// Explains the verdict in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.outcome {
            Outcome::NoEndpoint(why) => return f.write_str(why),
            Outcome::Allowed => f.write_str("allowed: ")?,
            Outcome::Blocked => f.write_str("blocked: ")?,
        }
        let mut separator = "";
        for (direction, decision) in [("egress", &self.egress), ("ingress", &self.ingress)] {
            if self.outcome == Outcome::Blocked && decision.passes() {
                continue;
            }
            f.write_str(separator)?;
            separator = "; ";
            match decision {
                Decision::Exempt(why) => write!(f, "{direction}: {why}")?,
                Decision::Unrestricted => write!(f, "{direction}: no policy selects the Pod")?,
                Decision::Allowed(rules) => {
                    write!(f, "{direction}: allowed by ")?;
                    for (i, rule) in rules.iter().enumerate() {
                        let comma = if i == 0 { "" } else { ", " };
                        write!(f, "{comma}{} spec.{direction}[{}]", rule.policy, rule.rule)?;
                    }
                }
                Decision::Blocked(policies) => {
                    write!(f, "{direction}: no rule allows it of ")?;
                    for (i, policy) in policies.iter().enumerate() {
                        write!(f, "{}{policy}", if i == 0 { "" } else { ", " })?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A direction of traffic, seen from the Pod that a policy selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the Pod.
    Ingress,
    /// From the Pod.
    Egress,
}

#[derive(Debug)]
struct Pod {
    namespace: String,
    name: String,
    labels: Value,
    host_network: bool,
    live: bool,
    addresses: Vec<IpAddr>,
    node_addresses: Vec<IpAddr>,
    ports: Vec<(String, u16, Protocol)>,
}

impl Pod {
    fn read(pod: &Value) -> Self {
        let meta = &pod["metadata"];
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let addresses = addresses(&status["podIPs"], &status["podIP"]);
        let ended = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
        Self {
            namespace: meta["namespace"].as_str().unwrap_or_default().to_owned(),
            name: meta["name"].as_str().unwrap_or_default().to_owned(),
            labels: meta["labels"].clone(),
            host_network: spec["hostNetwork"].as_bool().unwrap_or_default(),
            live: !ended && !addresses.is_empty(),
            addresses,
            node_addresses: addresses_of_node(status),
            ports: named_ports(spec),
        }
    }
}

fn addresses(list: &Value, single: &Value) -> Vec<IpAddr> {
    let listed = list.as_array().into_iter().flatten().map(|entry| &entry["ip"]);
    let mut found: Vec<IpAddr> = Vec::new();
    for text in listed.chain([single]).filter_map(Value::as_str) {
        if let Ok(address) = text.parse()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

fn addresses_of_node(status: &Value) -> Vec<IpAddr> {
    addresses(&status["hostIPs"], &status["hostIP"])
}

/// Lists named ports of the containers that run beside each other: sidecars count, other init containers do not.
fn named_ports(spec: &Value) -> Vec<(String, u16, Protocol)> {
    let of = |field: &str| spec[field].as_array().into_iter().flatten();
    let sidecars = of("initContainers").filter(|c| c["restartPolicy"] == "Always");
    of("containers")
        .chain(sidecars)
        .flat_map(|container| container["ports"].as_array().into_iter().flatten())
        .filter_map(|port| {
            let protocol = port["protocol"].as_str().unwrap_or("TCP").parse().ok()?;
            let number = u16::try_from(port["containerPort"].as_u64()?).ok()?;
            Some((port["name"].as_str()?.to_owned(), number, protocol))
        })
        .collect()
}

/// One end as policies see it: a Pod of the Pod network, or else only an address.
struct Peer<'a> {
    pod: Option<&'a Pod>,
    addresses: Vec<IpAddr>,
    namespace_labels: &'a Value,
}

impl Peer<'_> {
    /// Picks the address that a connection to `other` would use.
    fn address_towards(&self, other: Option<IpAddr>) -> Option<IpAddr> {
        match other {
            Some(other) => self.addresses.iter().copied().find(|a| a.is_ipv4() == other.is_ipv4()),
            None => self.addresses.first().copied(),
        }
    }
}

/// A snapshot of Pods, namespaces and policies.
#[derive(Debug)]
pub struct World {
    pods: BTreeMap<(String, String), Pod>,
    namespaces: BTreeMap<String, Value>,
    policies: BTreeMap<String, Vec<Policy>>,
}

impl World {
    /// Takes a snapshot of objects as the API returns them, defaulted or not.
    pub fn new<'a>(
        pods: impl IntoIterator<Item = &'a Value>,
        namespaces: impl IntoIterator<Item = &'a Value>,
        policies: impl IntoIterator<Item = &'a Value>,
    ) -> Self {
        let pods = pods
            .into_iter()
            .map(Pod::read)
            .map(|pod| ((pod.namespace.clone(), pod.name.clone()), pod))
            .collect();
        let namespaces = namespaces
            .into_iter()
            .map(|ns| {
                let meta = &ns["metadata"];
                (meta["name"].as_str().unwrap_or_default().to_owned(), meta["labels"].clone())
            })
            .collect();
        let mut by_namespace: BTreeMap<String, Vec<Policy>> = BTreeMap::new();
        for policy in policies.into_iter().map(Policy::read) {
            by_namespace.entry(policy.id.namespace.clone()).or_default().push(policy);
        }
        for list in by_namespace.values_mut() {
            list.sort_by(|a, b| a.id.cmp(&b.id));
        }
        Self { pods, namespaces, policies: by_namespace }
    }

    /// Decides whether `from` may open a connection to `port` of `to`.
    pub fn verdict(&self, from: &Endpoint, to: &Endpoint, port: u16, protocol: Protocol) -> Verdict {
        let exempt = |why| Verdict {
            outcome: Outcome::Allowed,
            egress: Decision::Exempt(why),
            ingress: Decision::Exempt(why),
        };
        let (source, target) = match (self.peer(from), self.peer(to)) {
            (Ok(source), Ok(target)) => (source, target),
            (Err(why), _) | (_, Err(why)) => {
                return Verdict { outcome: Outcome::NoEndpoint(why), ..exempt("nothing to connect") };
            }
        };
        if let (Some(a), Some(b)) = (source.pod, target.pod)
            && std::ptr::eq(a, b)
        {
            return exempt("a Pod always reaches itself");
        }
        let target_address = target.address_towards(None);
        let source_address = source.address_towards(target_address);
        let on_own_node =
            |pod: &Pod, other: Option<IpAddr>| other.is_some_and(|a| pod.node_addresses.contains(&a));
        let egress = match source.pod {
            None => Decision::Exempt("the source is not on the Pod network"),
            Some(pod) if target.pod.is_none() && on_own_node(pod, target_address) => {
                Decision::Exempt("a Pod's own node is always reached")
            }
            Some(pod) => {
                self.decide(Direction::Egress, pod, &target, target_address, target.pod, port, protocol)
            }
        };
        let ingress = match target.pod {
            None => Decision::Exempt("the destination is not on the Pod network"),
            Some(pod) if source.pod.is_none() && on_own_node(pod, source_address) => {
                Decision::Exempt("a Pod is always reached from its own node")
            }
            Some(pod) => {
                self.decide(Direction::Ingress, pod, &source, source_address, Some(pod), port, protocol)
            }
        };
        let outcome = if egress.passes() && ingress.passes() { Outcome::Allowed } else { Outcome::Blocked };
        Verdict { outcome, egress, ingress }
    }

    /// Lists the policies that isolate a Pod in a direction; none for unknown and host-network Pods.
    pub fn isolating(&self, namespace: &str, pod: &str, direction: Direction) -> Vec<&PolicyRef> {
        match self.pods.get(&(namespace.to_owned(), pod.to_owned())) {
            Some(pod) if !pod.host_network => {
                self.selecting(pod).filter(|p| p.rules(direction).is_some()).map(|p| &p.id).collect()
            }
            _ => Vec::new(),
        }
    }

    fn selecting<'a>(&'a self, pod: &'a Pod) -> impl Iterator<Item = &'a Policy> {
        self.policies
            .get(&pod.namespace)
            .into_iter()
            .flatten()
            .filter(|policy| policy.selector.matches(&pod.labels))
    }

    #[expect(clippy::too_many_arguments, reason = "the facts of one connection, from one caller")]
    fn decide(
        &self,
        direction: Direction,
        pod: &Pod,
        peer: &Peer<'_>,
        address: Option<IpAddr>,
        destination: Option<&Pod>,
        port: u16,
        protocol: Protocol,
    ) -> Decision {
        let (mut isolating, mut allowing) = (Vec::new(), Vec::new());
        for policy in self.selecting(pod) {
            let Some(rules) = policy.rules(direction) else { continue };
            isolating.push(policy.id.clone());
            for (index, rule) in rules.iter().enumerate() {
                if rule.has_port(port, protocol, destination) && rule.has_peer(&pod.namespace, peer, address)
                {
                    allowing.push(RuleRef { policy: policy.id.clone(), rule: index });
                }
            }
        }
        if isolating.is_empty() {
            Decision::Unrestricted
        } else if allowing.is_empty() {
            Decision::Blocked(isolating)
        } else {
            Decision::Allowed(allowing)
        }
    }

    fn peer(&self, endpoint: &Endpoint) -> Result<Peer<'_>, String> {
        let pod = match endpoint {
            Endpoint::Pod { namespace, name } => {
                let pod = self.pods.get(&(namespace.clone(), name.clone()));
                pod.ok_or_else(|| format!("{endpoint} does not exist"))?
            }
            Endpoint::Address(address) => {
                let mut live = self.pods.values().filter(|pod| pod.live && !pod.host_network);
                match live.find(|pod| pod.addresses.contains(address)) {
                    Some(pod) => pod,
                    None => {
                        return Ok(Peer {
                            pod: None,
                            addresses: vec![*address],
                            namespace_labels: &Value::Null,
                        });
                    }
                }
            }
        };
        if !pod.live {
            return Err(format!("{endpoint} is not running"));
        }
        let addresses = match endpoint {
            Endpoint::Address(address) => vec![*address],
            Endpoint::Pod { .. } => pod.addresses.clone(),
        };
        if pod.host_network {
            return Ok(Peer { pod: None, addresses, namespace_labels: &Value::Null });
        }
        let namespace_labels = self.namespaces.get(&pod.namespace).unwrap_or(&Value::Null);
        Ok(Peer { pod: Some(pod), addresses, namespace_labels })
    }
}
