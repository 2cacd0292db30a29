//! The same semantics by enumeration: for each Pod the whole set of (peer, port, protocol) that may pass, as the union of
//! the sets that the rules name. Shares no code with what it is held against.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sim::netpol::{Endpoint, Protocol, World};

const PORTS: [u16; 5] = [53, 80, 443, 8080, 9090];
const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
const OUTSIDE: [&str; 2] = ["1.1.1.1", "10.244.0.200"];
const NODES: [&str; 2] = ["172.18.0.2", "172.18.0.3"];

/// A passage, seen from a Pod: who is at the other end, the port, the protocol.
type Passage = (usize, u16, &'static str);

#[derive(Debug, Clone)]
struct Universe {
    pods: Vec<Value>,
    namespaces: Vec<Value>,
    policies: Vec<Value>,
}

/// The other ends there are: every Pod, then addresses that belong to none.
fn ends(u: &Universe) -> Vec<(Option<usize>, String)> {
    let pods =
        u.pods.iter().enumerate().map(|(i, p)| (Some(i), p["status"]["podIP"].as_str().unwrap().to_owned()));
    pods.chain(OUTSIDE.iter().chain(&NODES).map(|a| (None, (*a).to_owned()))).collect()
}

fn host(pod: &Value) -> bool {
    pod["spec"]["hostNetwork"] == true
}

fn selected(selector: &Value, labels: &Value) -> bool {
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        if labels.get(key) != Some(value) {
            return false;
        }
    }
    for e in selector["matchExpressions"].as_array().into_iter().flatten() {
        let label = labels.get(e["key"].as_str().unwrap());
        let listed = label.is_some_and(|l| e["values"].as_array().is_some_and(|v| v.contains(l)));
        let good = match e["operator"].as_str().unwrap() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => label.is_some(),
            _ => label.is_none(),
        };
        if !good {
            return false;
        }
    }
    true
}

fn inside(cidr: &str, address: &str) -> bool {
    let (net, bits) = cidr.split_once('/').unwrap();
    let bits: u32 = bits.parse().unwrap();
    let number = |text: &str| u64::from(u32::from(text.parse::<Ipv4Addr>().unwrap()));
    number(net) >> (32 - bits) == number(address) >> (32 - bits)
}

fn named_by_peer(u: &Universe, policy: &Value, peer: &Value) -> BTreeSet<usize> {
    let mut out = BTreeSet::new();
    for (index, (pod, address)) in ends(u).into_iter().enumerate() {
        let named = if let Some(block) = peer.get("ipBlock") {
            inside(block["cidr"].as_str().unwrap(), &address)
                && !block["except"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|x| inside(x.as_str().unwrap(), &address))
        } else if let Some(pod) = pod.map(|i| &u.pods[i]).filter(|pod| !host(pod)) {
            let ns = pod["metadata"]["namespace"].clone();
            let in_namespace = match peer.get("namespaceSelector") {
                None => ns == policy["metadata"]["namespace"],
                Some(s) => {
                    let ns = u.namespaces.iter().find(|n| n["metadata"]["name"] == ns).unwrap();
                    selected(s, &ns["metadata"]["labels"])
                }
            };
            in_namespace && peer.get("podSelector").is_none_or(|s| selected(s, &pod["metadata"]["labels"]))
        } else {
            false
        };
        if named {
            out.insert(index);
        }
    }
    out
}

/// Every passage of a Pod in one direction; `field` is `ingress` or `egress`.
fn passages(u: &Universe, index: usize, field: &str) -> BTreeSet<Passage> {
    let pod = &u.pods[index];
    let everyone: BTreeSet<usize> = (0..ends(u).len()).collect();
    let all_ports: BTreeSet<(u16, &'static str)> =
        PORTS.iter().flat_map(|&n| PROTOCOLS.iter().map(move |&p| (n, p))).collect();
    let cross = |peers: &BTreeSet<usize>, ports: &dyn Fn(usize) -> BTreeSet<(u16, &'static str)>| {
        peers
            .iter()
            .flat_map(|&e| ports(e).into_iter().map(move |(n, p)| (e, n, p)))
            .collect::<BTreeSet<Passage>>()
    };
    let full = cross(&everyone, &|_| all_ports.clone());
    if host(pod) {
        return full;
    }
    let (mut isolated, mut out) = (false, BTreeSet::new());
    for policy in &u.policies {
        let spec = &policy["spec"];
        let has_rules = spec["egress"].as_array().is_some_and(|a| !a.is_empty());
        let covers = match spec["policyTypes"].as_array() {
            Some(types) => types.iter().any(|t| t.as_str().unwrap().eq_ignore_ascii_case(field)),
            None => field == "ingress" || has_rules,
        };
        if !covers
            || policy["metadata"]["namespace"] != pod["metadata"]["namespace"]
            || !selected(&spec["podSelector"], &pod["metadata"]["labels"])
        {
            continue;
        }
        isolated = true;
        for rule in spec[field].as_array().into_iter().flatten() {
            let list = |name: &str| rule[name].as_array().cloned().unwrap_or_default();
            let peers = list(if field == "ingress" { "from" } else { "to" });
            let peers = if peers.is_empty() {
                everyone.clone()
            } else {
                peers.iter().flat_map(|peer| named_by_peer(u, policy, peer)).collect()
            };
            let ports = list("ports");
            let open_at = |end: usize| -> BTreeSet<(u16, &'static str)> {
                if ports.is_empty() {
                    return all_ports.clone();
                }
                let server = if field == "ingress" { Some(pod) } else { ends(u)[end].0.map(|i| &u.pods[i]) };
                let server = server.filter(|pod| !host(pod));
                all_ports
                    .iter()
                    .copied()
                    .filter(|(number, protocol)| {
                        ports.iter().any(|entry| {
                            let same =
                                entry.get("protocol").map_or("TCP", |p| p.as_str().unwrap()) == *protocol;
                            same && match entry.get("port") {
                                None => true,
                                Some(Value::String(name)) => server.is_some_and(|pod| {
                                    pod["spec"]["containers"][0]["ports"].as_array().unwrap().iter().any(
                                        |p| {
                                            p["name"] == *name
                                                && p["containerPort"] == *number
                                                && p["protocol"] == *protocol
                                        },
                                    )
                                }),
                                Some(first) => {
                                    let last = entry.get("endPort").unwrap_or(first);
                                    (first.as_u64()..=last.as_u64()).contains(&Some(u64::from(*number)))
                                }
                            }
                        })
                    })
                    .collect()
            };
            out.extend(cross(&peers, &open_at));
        }
    }
    if !isolated {
        return full;
    }
    // The Pod itself and its own node are always reached; a host-network Pod has its node's address.
    for (end, (other, address)) in ends(u).into_iter().enumerate() {
        let off_network = other.is_none_or(|i| host(&u.pods[i]));
        if other == Some(index) || (off_network && pod["status"]["hostIP"] == address) {
            out.extend(cross(&BTreeSet::from([end]), &|_| all_ports.clone()));
        }
    }
    out
}

fn labels() -> impl Strategy<Value = Value> {
    (0..3usize, 0..3usize).prop_map(|(app, tier)| {
        let mut labels = json!({});
        if app > 0 {
            labels["app"] = format!("v{app}").into();
        }
        if tier > 0 {
            labels["tier"] = format!("v{tier}").into();
        }
        labels
    })
}

fn selector() -> impl Strategy<Value = Value> {
    let key = prop_oneof![Just("app"), Just("tier")];
    let expression = (key, 0..4usize, 1..3usize).prop_map(|(key, operator, value)| match operator {
        0 => json!({"key": key, "operator": "In", "values": [format!("v{value}")]}),
        1 => json!({"key": key, "operator": "NotIn", "values": [format!("v{value}")]}),
        2 => json!({"key": key, "operator": "Exists"}),
        _ => json!({"key": key, "operator": "DoesNotExist"}),
    });
    prop_oneof![
        2 => Just(json!({})),
        3 => labels().prop_map(|l| json!({"matchLabels": l})),
        2 => expression.prop_map(|e| json!({"matchExpressions": [e]})),
        1 => (labels(), selector_expression()).prop_map(|(l, e)| json!({"matchLabels": l, "matchExpressions": [e]})),
    ]
}

fn selector_expression() -> impl Strategy<Value = Value> {
    (1..3usize).prop_map(|v| json!({"key": "tier", "operator": "NotIn", "values": [format!("v{v}")]}))
}

fn peer() -> impl Strategy<Value = Value> {
    let cidr = prop_oneof![
        Just("0.0.0.0/0"),
        Just("10.244.0.0/24"),
        Just("10.244.0.4/31"),
        Just("172.18.0.3/32"),
        Just("1.1.1.1/32")
    ];
    let except = prop_oneof![Just("10.244.0.5/32"), Just("172.18.0.0/16"), Just("1.0.0.0/8")];
    prop_oneof![
        selector().prop_map(|s| json!({"podSelector": s})),
        selector().prop_map(|s| json!({"namespaceSelector": s})),
        (selector(), selector()).prop_map(|(n, p)| json!({"namespaceSelector": n, "podSelector": p})),
        cidr.clone().prop_map(|c| json!({"ipBlock": {"cidr": c}})),
        except.prop_map(|x| json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": [x]}})),
    ]
}

fn port() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        Just(json!({})),
        Just(json!({"port": 80})),
        Just(json!({"port": "http"})),
        Just(json!({"port": "dns"})),
        Just(json!({"port": 80, "endPort": 8080})),
    ];
    (kind, 0..4usize).prop_map(|(mut port, protocol)| {
        if protocol < 3 {
            port["protocol"] = PROTOCOLS[protocol].into();
        }
        port
    })
}

fn rule(peers: &'static str) -> impl Strategy<Value = Value> {
    let some_peers = prop::option::of(prop::collection::vec(peer(), 0..3));
    let some_ports = prop::option::of(prop::collection::vec(port(), 0..3));
    (some_peers, some_ports).prop_map(move |(p, n)| {
        let mut rule = json!({});
        if let Some(p) = p {
            rule[peers] = p.into();
        }
        if let Some(n) = n {
            rule["ports"] = n.into();
        }
        rule
    })
}

fn policy() -> impl Strategy<Value = Value> {
    let types = prop_oneof![
        Just(Value::Null),
        Just(json!(["Ingress"])),
        Just(json!(["Egress"])),
        Just(json!(["Ingress", "Egress"]))
    ];
    let rules = |peers| prop::option::of(prop::collection::vec(rule(peers), 0..3));
    (prop::bool::ANY, selector(), types, rules("from"), rules("to")).prop_map(
        |(first, pods, types, ingress, egress)| {
            let mut spec = json!({"podSelector": pods});
            for (field, value) in [("ingress", ingress), ("egress", egress)] {
                if let Some(rules) = value {
                    spec[field] = rules.into();
                }
            }
            if !types.is_null() {
                spec["policyTypes"] = types;
            }
            json!({"metadata": {"namespace": if first { "a" } else { "b" }}, "spec": spec})
        },
    )
}

fn universe() -> impl Strategy<Value = Universe> {
    let pod = (prop::bool::ANY, labels(), prop::bool::weighted(0.15), 0..2usize, prop::bool::ANY);
    let pods = prop::collection::vec(pod, 2..5);
    (pods, [labels(), labels()], prop::collection::vec(policy(), 0..4)).prop_map(|(pods, namespaces, mut policies)| {
        let pods = pods.into_iter().enumerate().map(|(i, (first, labels, host, node, http))| {
            let ip = if host { NODES[node].to_owned() } else { format!("10.244.0.{}", i + 4) };
            json!({
                "metadata": {"namespace": if first { "a" } else { "b" }, "name": format!("p{i}"), "labels": labels},
                "spec": {"hostNetwork": host, "containers": [{"ports": [
                    {"name": "http", "containerPort": if http { 80 } else { 8080 }, "protocol": "TCP"},
                    {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                ]}]},
                "status": {"phase": "Running", "podIP": ip, "hostIP": NODES[node]},
            })
        });
        let namespaces = ["a", "b"].into_iter().zip(namespaces);
        for (i, policy) in policies.iter_mut().enumerate() {
            policy["metadata"]["name"] = format!("np{i}").into();
        }
        Universe {
            pods: pods.collect(),
            namespaces: namespaces.map(|(n, l)| json!({"metadata": {"name": n, "labels": l}})).collect(),
            policies,
        }
    })
}

fn endpoint(u: &Universe, end: &(Option<usize>, String)) -> Endpoint {
    match end.0 {
        Some(i) => {
            let meta = &u.pods[i]["metadata"];
            Endpoint::pod(meta["namespace"].as_str().unwrap(), meta["name"].as_str().unwrap())
        }
        None => Endpoint::Address(end.1.parse().unwrap()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn verdicts_are_those_of_the_enumeration(u in universe()) {
        let world = World::new(&u.pods, &u.namespaces, &u.policies);
        let ends = ends(&u);
        let sets: Vec<[BTreeSet<Passage>; 2]> =
            (0..u.pods.len()).map(|i| [passages(&u, i, "egress"), passages(&u, i, "ingress")]).collect();
        for (s, source) in ends.iter().enumerate() {
            for (d, target) in ends.iter().enumerate() {
                for &number in &PORTS {
                    for protocol in PROTOCOLS {
                        let out = source.0.is_none_or(|i| sets[i][0].contains(&(d, number, protocol)));
                        let into = target.0.is_none_or(|i| sets[i][1].contains(&(s, number, protocol)));
                        let (from, to) = (endpoint(&u, source), endpoint(&u, target));
                        let verdict = world.verdict(&from, &to, number, protocol.parse::<Protocol>().unwrap());
                        prop_assert_eq!(
                            verdict.is_allowed(), out && into, "{} -> {} {}/{}: {}", from, to, number, protocol, verdict
                        );
                    }
                }
            }
        }
    }
}
