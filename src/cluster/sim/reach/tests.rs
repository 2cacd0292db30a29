use serde_json::json;

use super::*;

fn pod(namespace: &str, name: &str, ip: &str, ports: Value) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "main", "ports": ports}]},
        "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "containerStatuses": [{"name": "main", "state": {"running": {}}}]},
    })
}

fn policy(name: &str, selects: Value, from: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"podSelector": selects, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": from}}}]}]},
    })
}

fn snapshot(policies: &[Value]) -> Snapshot {
    let http = json!([{"containerPort": 8080, "name": "http"}]);
    let pods = [
        pod("shop", "web", "10.0.0.1", json!([])),
        pod("shop", "api-1", "10.0.0.2", http.clone()),
        pod("shop", "api-2", "10.0.0.3", http),
        pod("shop", "stray", "10.0.0.4", json!([])),
    ];
    let namespaces = [json!({"metadata": {"name": "shop", "labels": {}}})];
    let endpoint = |name: &str, ready: bool| json!({"conditions": {"ready": ready}, "targetRef": {"kind": "Pod", "namespace": "shop", "name": name}});
    let services = vec![json!({
        "metadata": {"namespace": "shop", "name": "api"},
        "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 80, "name": "http", "targetPort": "http"}]},
    })];
    let slices = vec![json!({
        "metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": "api"}},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [endpoint("api-1", true), endpoint("api-2", true)],
    })];
    let world = World::new(&pods, &namespaces, policies);
    let pods = pods.into_iter().map(|pod| ((text(&pod, "namespace"), text(&pod, "name")), pod)).collect();
    Snapshot { world, pods, services, slices }
}

fn named(name: &str) -> Peer {
    Peer::Pod { namespace: "shop".to_owned(), name: name.to_owned() }
}

fn service() -> Peer {
    Peer::Service { namespace: "shop".to_owned(), name: "api".to_owned() }
}

fn ask(snapshot: &Snapshot, from: &str, to: Peer, port: u16) -> Reach {
    snapshot.answer(&Probe { from: named(from), to, port, protocol: "TCP".to_owned() }).unwrap()
}

#[test]
fn a_service_is_reached_through_its_port_and_its_address() {
    let cluster = snapshot(&[]);
    assert_eq!(ask(&cluster, "web", service(), 80), Reach::Open);
    assert_eq!(ask(&cluster, "web", Peer::Address("10.96.0.7".parse().unwrap()), 80), Reach::Open);
    let Reach::Broken { reason } = ask(&cluster, "web", service(), 8080) else { panic!() };
    assert_eq!(reason, "Service shop/api has no port 8080/TCP");
}

#[test]
fn a_policy_blocks_and_is_named() {
    let cluster = snapshot(&[policy("only-web", json!({}), "web")]);
    assert_eq!(ask(&cluster, "web", service(), 80), Reach::Open);
    let by = "NetworkPolicy shop/only-web (ingress)".to_owned();
    assert_eq!(ask(&cluster, "stray", service(), 80), Reach::Blocked { by: by.clone() });
    let address = Peer::Address("10.0.0.2".parse().unwrap());
    assert_eq!(ask(&cluster, "stray", address, 8080), Reach::Blocked { by });
}

#[test]
fn a_service_of_which_only_some_endpoints_answer_is_neither_open_nor_blocked() {
    let cluster = snapshot(&[policy("half", json!({"matchLabels": {"app": "api-1"}}), "web")]);
    let Reach::Broken { reason } = ask(&cluster, "stray", service(), 80) else { panic!() };
    assert!(reason.starts_with("1 of 2 endpoints answer"), "{reason}");
}

#[test]
fn what_nobody_serves_is_not_blocked() {
    let mut cluster = snapshot(&[policy("only-web", json!({}), "web")]);
    let answer = ask(&cluster, "stray", named("api-1"), 9090);
    assert_eq!(answer, Reach::Broken { reason: "nothing listens on 9090/TCP in Pod shop/api-1".to_owned() });
    for endpoint in cluster.slices[0]["endpoints"].as_array_mut().unwrap() {
        endpoint["conditions"]["ready"] = json!(false);
    }
    let Reach::Broken { reason } = ask(&cluster, "stray", service(), 80) else { panic!() };
    assert_eq!(reason, "Service shop/api has no ready endpoint for port 80/TCP");
}

#[test]
fn a_container_that_does_not_run_serves_nothing() {
    let mut cluster = snapshot(&[]);
    let api = cluster.pods.get_mut(&("shop".to_owned(), "api-1".to_owned())).unwrap();
    api["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let Reach::Broken { reason } = ask(&cluster, "web", named("api-1"), 8080) else { panic!() };
    assert_eq!(reason, "container main of Pod shop/api-1 does not run");
}
