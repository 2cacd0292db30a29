use serde_json::json;

use super::*;

mod model;

fn pod(namespace: &str, name: &str, labels: Value, ip: &str) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name, "labels": labels},
        "spec": {"containers": [{"name": "c", "ports": [
            {"name": "http", "containerPort": 8080, "protocol": "TCP"},
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
        ]}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "172.18.0.2"},
    })
}

fn namespace(name: &str, labels: Value) -> Value {
    let mut labels = labels;
    labels["kubernetes.io/metadata.name"] = name.into();
    json!({"metadata": {"name": name, "labels": labels}})
}

fn policy(namespace: &str, name: &str, spec: Value) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name}, "spec": spec})
}

/// Two namespaces: `a` with web, db, and `b` with web and a host-network agent on another node.
fn world(policies: &[Value]) -> World {
    let mut agent = pod("b", "agent", json!({"app": "agent"}), "172.18.0.3");
    agent["spec"]["hostNetwork"] = true.into();
    agent["status"]["hostIP"] = "172.18.0.3".into();
    let mut done = pod("b", "done", json!({}), "10.244.0.9");
    done["status"]["phase"] = "Succeeded".into();
    let pods = [
        pod("a", "web", json!({"app": "web"}), "10.244.0.5"),
        pod("a", "db", json!({"app": "db"}), "10.244.0.6"),
        pod("b", "web", json!({"app": "web"}), "10.244.0.7"),
        agent,
        done,
    ];
    let namespaces = [namespace("a", json!({"team": "one"})), namespace("b", json!({"team": "two"}))];
    World::new(&pods, &namespaces, policies)
}

fn address(text: &str) -> Endpoint {
    Endpoint::Address(text.parse().unwrap())
}

fn reaches(world: &World, from: &Endpoint, to: &Endpoint, port: u16) -> bool {
    world.verdict(from, to, port, Protocol::Tcp).is_allowed()
}

#[test]
fn without_policies_all_is_allowed() {
    let world = world(&[]);
    let verdict = world.verdict(&Endpoint::pod("b", "web"), &Endpoint::pod("a", "db"), 5432, Protocol::Tcp);
    assert_eq!(verdict.outcome, Outcome::Allowed);
    assert_eq!((verdict.egress, verdict.ingress), (Decision::Unrestricted, Decision::Unrestricted));
}

#[test]
fn default_deny_isolates_only_its_direction_and_namespace() {
    let world = world(&[policy("a", "deny", json!({"podSelector": {}, "policyTypes": ["Ingress"]}))]);
    let (web, db, other) = (Endpoint::pod("a", "web"), Endpoint::pod("a", "db"), Endpoint::pod("b", "web"));
    assert!(!reaches(&world, &web, &db, 80));
    assert!(!reaches(&world, &other, &db, 80));
    assert!(reaches(&world, &web, &other, 80));
    assert!(reaches(&world, &web, &web, 80), "a Pod reaches itself");
    let verdict = world.verdict(&other, &db, 80, Protocol::Tcp);
    assert_eq!(verdict.to_string(), "blocked: ingress: no rule allows it of a/deny");
}

#[test]
fn missing_policy_types_imply_egress_only_with_rules() {
    let (web, db) = (Endpoint::pod("a", "web"), Endpoint::pod("a", "db"));
    let ingress_only = world(&[policy("a", "p", json!({"podSelector": {"matchLabels": {"app": "web"}}}))]);
    assert!(reaches(&ingress_only, &web, &db, 80));
    assert!(!reaches(&ingress_only, &db, &web, 80));
    let empty_egress =
        world(&[policy("a", "p", json!({"podSelector": {"matchLabels": {"app": "web"}}, "egress": []}))]);
    assert!(reaches(&empty_egress, &web, &db, 80));
    let both = world(&[policy(
        "a",
        "p",
        json!({"podSelector": {"matchLabels": {"app": "web"}}, "egress": [{"ports": [{"port": 5432}]}]}),
    )]);
    assert!(reaches(&both, &web, &db, 5432));
    assert!(!reaches(&both, &web, &db, 80));
    assert!(!reaches(&both, &db, &web, 80));
}

#[test]
fn selectors_of_one_item_must_both_hold_and_items_are_alternatives() {
    let one_item = json!({"podSelector": {}, "ingress": [{"from": [
        {"namespaceSelector": {"matchLabels": {"team": "two"}}, "podSelector": {"matchLabels": {"app": "web"}}},
    ]}]});
    let two_items = json!({"podSelector": {}, "ingress": [{"from": [
        {"namespaceSelector": {"matchLabels": {"team": "two"}}},
        {"podSelector": {"matchLabels": {"app": "web"}}},
    ]}]});
    let (web, db, other) = (Endpoint::pod("a", "web"), Endpoint::pod("a", "db"), Endpoint::pod("b", "web"));
    let both = world(&[policy("a", "p", one_item)]);
    assert!(reaches(&both, &other, &db, 80));
    assert!(!reaches(&both, &web, &db, 80), "app matches, but not the namespace");
    let either = world(&[policy("a", "p", two_items)]);
    assert!(reaches(&either, &other, &db, 80));
    assert!(reaches(&either, &web, &db, 80));
}

#[test]
fn policies_add_up() {
    let deny = policy("a", "deny", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
    let allow = policy(
        "a",
        "web-to-db",
        json!({"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [
            {"from": [{"podSelector": {"matchLabels": {"app": "web"}}}], "ports": [{"port": 5432}]}]}),
    );
    let egress = policy(
        "a",
        "web-out",
        json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"], "egress": [{}]}),
    );
    let (web, db) = (Endpoint::pod("a", "web"), Endpoint::pod("a", "db"));
    let half = world(&[deny.clone(), allow.clone()]);
    let verdict = half.verdict(&web, &db, 5432, Protocol::Tcp);
    assert_eq!(verdict.to_string(), "blocked: egress: no rule allows it of a/deny");
    let whole = world(&[deny, allow, egress]);
    let verdict = whole.verdict(&web, &db, 5432, Protocol::Tcp);
    assert_eq!(
        verdict.to_string(),
        "allowed: egress: allowed by a/web-out spec.egress[0]; ingress: allowed by a/web-to-db spec.ingress[0]"
    );
    assert!(!reaches(&whole, &web, &db, 22));
    assert!(!reaches(&whole, &db, &web, 80));
}

#[test]
fn blocks_and_their_exceptions_match_addresses_of_pods_too() {
    let world = world(&[policy(
        "a",
        "p",
        json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"], "egress": [
            {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32", "10.244.0.6/32"]}}]}]}),
    )]);
    let web = Endpoint::pod("a", "web");
    assert!(reaches(&world, &web, &address("1.1.1.1"), 443));
    assert!(!reaches(&world, &web, &address("169.254.169.254"), 80));
    assert!(!reaches(&world, &web, &Endpoint::pod("a", "db"), 80));
    assert!(reaches(&world, &web, &Endpoint::pod("b", "web"), 80));
    assert!(!reaches(&world, &web, &address("2001:db8::1"), 443), "the other family is not in the block");
}

#[test]
fn named_ports_are_those_of_the_destination_with_their_protocol() {
    let world = world(&[
        policy(
            "a",
            "in",
            json!({"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"ports": [{"port": "http"}]}]}),
        ),
        policy(
            "a",
            "out",
            json!({"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"],
                   "egress": [{"ports": [{"port": "http"}, {"port": "dns", "protocol": "UDP"}]}]}),
        ),
    ]);
    let (web, db) = (Endpoint::pod("a", "web"), Endpoint::pod("a", "db"));
    assert!(reaches(&world, &web, &db, 8080));
    assert!(!reaches(&world, &web, &db, 80));
    assert!(!world.verdict(&web, &db, 8080, Protocol::Udp).is_allowed());
    assert!(world.verdict(&web, &Endpoint::pod("b", "web"), 53, Protocol::Udp).is_allowed());
    assert!(!reaches(&world, &web, &address("8.8.8.8"), 8080), "an address has no named ports");
}

#[test]
fn ranges_protocols_and_portless_entries() {
    let world = world(&[policy(
        "a",
        "p",
        json!({"podSelector": {}, "ingress": [{"ports": [
            {"port": 8000, "endPort": 8100}, {"protocol": "UDP"}, {"port": 9, "protocol": "SCTP"}]}]}),
    )]);
    let (from, to) = (Endpoint::pod("b", "web"), Endpoint::pod("a", "db"));
    let allowed = |port, protocol| world.verdict(&from, &to, port, protocol).is_allowed();
    assert!(allowed(8000, Protocol::Tcp) && allowed(8100, Protocol::Tcp));
    assert!(!allowed(7999, Protocol::Tcp) && !allowed(8101, Protocol::Tcp));
    assert!(allowed(1, Protocol::Udp) && allowed(65535, Protocol::Udp));
    assert!(allowed(9, Protocol::Sctp) && !allowed(10, Protocol::Sctp));
}

#[test]
fn the_own_node_and_host_network_pods() {
    let deny = |types: Value| policy("b", "deny", json!({"podSelector": {}, "policyTypes": types}));
    let world = world(&[deny(json!(["Ingress", "Egress"]))]);
    let (web, agent) = (Endpoint::pod("b", "web"), Endpoint::pod("b", "agent"));
    assert!(reaches(&world, &address("172.18.0.2"), &web, 80), "from its own node");
    assert!(reaches(&world, &web, &address("172.18.0.2"), 10250), "to its own node");
    assert!(!reaches(&world, &address("172.18.0.3"), &web, 80), "another node is no exception");
    assert!(!reaches(&world, &agent, &web, 80), "a host-network Pod of another node neither");
    assert!(reaches(&world, &address("1.1.1.1"), &agent, 80), "policies do not select host-network Pods");
    assert!(reaches(&world, &agent, &Endpoint::pod("a", "web"), 80));
    assert!(world.isolating("b", "agent", Direction::Ingress).is_empty());
    assert_eq!(world.isolating("b", "web", Direction::Egress).len(), 1);
}

#[test]
fn host_network_peers_match_by_address_only() {
    let by = |peer: Value| policy("a", "p", json!({"podSelector": {}, "ingress": [{"from": [peer]}]}));
    let (agent, db) = (Endpoint::pod("b", "agent"), Endpoint::pod("a", "db"));
    assert!(!reaches(&world(&[by(json!({"namespaceSelector": {}}))]), &agent, &db, 80));
    assert!(reaches(&world(&[by(json!({"ipBlock": {"cidr": "172.18.0.0/16"}}))]), &agent, &db, 80));
}

#[test]
fn an_address_of_a_pod_is_that_pod() {
    let world = world(&[policy(
        "a",
        "p",
        json!({"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": [{"podSelector": {}}]}]}),
    )]);
    assert!(reaches(&world, &address("10.244.0.5"), &address("10.244.0.6"), 80));
    assert!(!reaches(&world, &address("10.244.0.7"), &address("10.244.0.6"), 80));
}

#[test]
fn ends_that_do_not_run_are_named() {
    let world = world(&[]);
    let to =
        |name: &str| world.verdict(&Endpoint::pod("a", "web"), &Endpoint::pod("b", name), 80, Protocol::Tcp);
    assert_eq!(to("done").outcome, Outcome::NoEndpoint("pod b/done is not running".into()));
    assert_eq!(to("nosuch").to_string(), "pod b/nosuch does not exist");
    assert!(!to("nosuch").is_allowed());
}
