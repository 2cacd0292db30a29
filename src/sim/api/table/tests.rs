use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::sim::api::resources::Resources;

fn now() -> Timestamp {
    "2024-05-01T12:00:00Z".parse().expect("time")
}

fn created(object: Value) -> Value {
    let mut object = object;
    object["metadata"]["creationTimestamp"] = "2024-05-01T11:55:00Z".into();
    object
}

fn table(group: &str, version: &str, plural: &str) -> Table {
    Table::of(Resources::builtin().find(group, version, plural).expect("resource"))
}

fn cells(group: &str, version: &str, plural: &str, object: Value) -> Vec<Value> {
    let table = table(group, version, plural);
    let cells = table.cells(&created(object), now());
    assert_eq!(cells.len(), table.columns().as_array().expect("columns").len());
    cells
}

fn pod(spec: Value, status: Value) -> Vec<String> {
    let object = json!({ "kind": "Pod", "metadata": { "name": "p" }, "spec": spec, "status": status });
    cells("", "v1", "pods", object)[1..4].iter().map(|c| c.as_str().expect("text").to_owned()).collect()
}

#[test]
fn every_listable_resource_has_as_many_cells_as_columns() {
    for resource in Resources::builtin().all().filter(|r| r.allows("list")) {
        let table = Table::of(resource);
        let object = created(json!({ "metadata": { "name": "x" }, "spec": {}, "status": {} }));
        let row = table.cells(&object, now());
        assert_eq!(row.len(), table.columns().as_array().expect("columns").len(), "{}", resource.plural);
        let named = table.columns()[0]["name"] == "Name";
        assert!(!named || row[0] == "x", "{}", resource.plural);
    }
}

#[test]
fn columns_are_those_of_a_real_server() {
    let pods = table("", "v1", "pods");
    let wide: Vec<(&str, i64)> = pods.columns().as_array().expect("columns")[4..7]
        .iter()
        .map(|c| (c["name"].as_str().expect("name"), c["priority"].as_i64().expect("priority")))
        .collect();
    assert_eq!(wide, [("Age", 0), ("IP", 1), ("Node", 1)]);
    assert_eq!(pods.columns()[0]["format"], "name");
    let fallback = table("rbac.authorization.k8s.io", "v1", "roles");
    assert_eq!(fallback.columns()[1]["type"], "date");
}

#[test]
fn pods_say_how_they_are() {
    let running = json!({ "name": "c", "ready": true, "restartCount": 0, "state": { "running": {} } });
    let two = json!({ "containers": [{ "name": "c" }, { "name": "d" }] });
    assert_eq!(pod(two.clone(), json!({ "phase": "Pending" })), ["0/2", "Pending", "0"]);
    assert_eq!(
        pod(two.clone(), json!({ "phase": "Running", "containerStatuses": [running, running] })),
        ["2/2", "Running", "0"]
    );
    let crashing = json!({ "name": "d", "ready": false, "restartCount": 3,
        "state": { "waiting": { "reason": "CrashLoopBackOff" } },
        "lastState": { "terminated": { "finishedAt": "2024-05-01T11:58:00Z" } } });
    assert_eq!(
        pod(two.clone(), json!({ "phase": "Running", "containerStatuses": [running, crashing] })),
        ["1/2", "CrashLoopBackOff", "3 (2m ago)"]
    );
    let ended = |code: i64| json!({ "name": "d", "state": { "terminated": { "exitCode": code } } });
    assert_eq!(
        pod(two.clone(), json!({ "phase": "Failed", "containerStatuses": [ended(3)] })),
        ["0/2", "ExitCode:3", "0"]
    );
    let completed = json!({ "name": "d", "state": { "terminated": { "reason": "Completed" } } });
    assert_eq!(
        pod(two.clone(), json!({ "phase": "Running", "containerStatuses": [running, completed] })),
        ["1/2", "NotReady", "0"]
    );
    assert_eq!(pod(two, json!({ "phase": "Failed", "reason": "Evicted" })), ["0/2", "Evicted", "0"]);
}

#[test]
fn pods_that_initialize_say_how_far_they_are() {
    let spec =
        json!({ "containers": [{ "name": "c" }], "initContainers": [{ "name": "a" }, { "name": "b" }] });
    let done = json!({ "name": "a", "state": { "terminated": { "exitCode": 0 } } });
    let state = |state: Value| json!({ "phase": "Pending", "initContainerStatuses": [done, { "name": "b", "state": state }] });
    assert_eq!(pod(spec.clone(), state(json!({ "running": {} }))), ["0/1", "Init:1/2", "0"]);
    assert_eq!(
        pod(spec.clone(), state(json!({ "waiting": { "reason": "PodInitializing" } }))),
        ["0/1", "Init:1/2", "0"]
    );
    assert_eq!(
        pod(spec.clone(), state(json!({ "waiting": { "reason": "ErrImagePull" } }))),
        ["0/1", "Init:ErrImagePull", "0"]
    );
    assert_eq!(
        pod(spec, state(json!({ "terminated": { "exitCode": 1, "reason": "Error" } }))),
        ["0/1", "Init:Error", "0"]
    );
    let sidecar = json!({ "containers": [{ "name": "c" }],
        "initContainers": [{ "name": "s", "restartPolicy": "Always" }] });
    let status = json!({ "phase": "Running",
        "initContainerStatuses": [{ "name": "s", "started": true, "ready": true, "restartCount": 1, "state": { "running": {} } }],
        "containerStatuses": [{ "name": "c", "ready": true, "state": { "running": {} } }] });
    assert_eq!(pod(sidecar, status), ["2/2", "Running", "1"]);
}

#[test]
fn pods_that_are_deleted_are_terminating_unless_they_have_ended() {
    let deleted = |phase: &str| {
        let object = json!({ "kind": "Pod", "status": { "phase": phase },
            "metadata": { "name": "p", "deletionTimestamp": "2024-05-01T11:59:00Z" } });
        cells("", "v1", "pods", object)[2].clone()
    };
    assert_eq!(deleted("Running"), "Terminating");
    assert_eq!(deleted("Succeeded"), "Succeeded");
}

#[test]
fn services_ingresses_and_endpoints_show_their_addresses() {
    let service = |spec: Value, status: Value| {
        cells("", "v1", "services", json!({ "metadata": { "name": "s" }, "spec": spec, "status": status }))
    };
    let row = service(
        json!({ "type": "NodePort", "clusterIPs": ["10.0.0.1"], "selector": { "a": "b" },
            "ports": [{ "port": 80, "nodePort": 30080, "protocol": "TCP" }, { "port": 53, "protocol": "UDP" }] }),
        json!({}),
    );
    assert_eq!(row, ["s", "NodePort", "10.0.0.1", "<none>", "80:30080/TCP,53/UDP", "5m", "a=b"]);
    let row = service(json!({ "type": "LoadBalancer" }), json!({}));
    assert_eq!(row[3], "<pending>");
    let row = service(json!({ "type": "ExternalName", "externalName": "example.com" }), json!({}));
    assert_eq!(row[2..5], ["<none>", "example.com", "<none>"]);
    let rules: Vec<Value> = (0..5).map(|n| json!({ "host": format!("h{n}") })).collect();
    let row =
        cells("networking.k8s.io", "v1", "ingresses", json!({ "metadata": {}, "spec": { "rules": rules } }));
    assert_eq!(row[1..5], ["<none>", "h0,h1,h2 + 2 more...", "", "80"]);
    let addresses: Vec<Value> = (0..4).map(|n| json!({ "ip": format!("10.0.0.{n}") })).collect();
    let subsets = json!([{ "addresses": addresses, "ports": [{ "port": 80 }] }]);
    let row = cells("", "v1", "endpoints", json!({ "metadata": {}, "subsets": subsets }));
    assert_eq!(row[1], "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 1 more...");
    let slice =
        json!({ "metadata": {}, "addressType": "IPv4", "endpoints": [{ "addresses": ["10.0.0.1"] }] });
    assert_eq!(
        cells("discovery.k8s.io", "v1", "endpointslices", slice)[1..4],
        ["IPv4", "<unset>", "10.0.0.1"]
    );
}

#[test]
fn bindings_quotas_and_requests_are_written_as_upstream_writes_them() {
    let subjects = json!([{ "kind": "User", "name": "jane" }, { "kind": "User", "name": "joe" },
        { "kind": "ServiceAccount", "namespace": "n", "name": "sa" }]);
    let binding = json!({ "metadata": { "name": "b" }, "subjects": subjects, "roleRef": { "kind": "Role", "name": "r" } });
    let row = cells("rbac.authorization.k8s.io", "v1", "rolebindings", binding);
    assert_eq!(row, ["b", "Role/r", "5m", "jane, joe", "", "n/sa"]);
    let quota = json!({ "metadata": { "name": "q" }, "status": {
        "hard": { "pods": "2", "limits.cpu": "1", "requests.cpu": "300m" }, "used": { "pods": "1" } } });
    let row = cells("", "v1", "resourcequotas", quota);
    assert_eq!(row[1..3], ["pods: 1/2, requests.cpu: 0/300m", "limits.cpu: 0/1"]);
    let request = json!({ "metadata": { "name": "r" }, "spec": { "signerName": "s", "username": "u",
        "expirationSeconds": 86400 }, "status": { "certificate": "x", "conditions": [{ "type": "Approved" }] } });
    let row = cells("certificates.k8s.io", "v1", "certificatesigningrequests", request);
    assert_eq!(row[2..], ["s", "u", "24h", "Approved,Issued"]);
}

#[test]
fn selectors_are_written_in_the_order_of_their_keys() {
    let selector = json!({ "matchLabels": { "b": "1" }, "matchExpressions": [
        { "key": "c", "operator": "In", "values": ["y", "x"] }, { "key": "a", "operator": "DoesNotExist" }] });
    let policy = json!({ "metadata": {}, "spec": { "podSelector": selector } });
    assert_eq!(cells("networking.k8s.io", "v1", "networkpolicies", policy)[1], "!a,b=1,c in (x,y)");
    let policy = json!({ "metadata": {}, "spec": { "podSelector": {} } });
    assert_eq!(cells("networking.k8s.io", "v1", "networkpolicies", policy)[1], "<none>");
}

#[test]
fn custom_resources_show_their_own_columns() {
    let definition = Arc::new(json!({
        "spec": { "group": "e.com", "scope": "Namespaced", "versions": [
            { "name": "v1", "served": true, "storage": true, "additionalPrinterColumns": [
                { "name": "Size", "type": "integer", "jsonPath": ".spec.size" },
                { "name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status", "priority": 1 },
                { "name": "When", "type": "date", "jsonPath": ".spec.when" },
                { "name": "Wrong", "type": "boolean", "jsonPath": ".spec.size" }] },
            { "name": "v2", "served": true }] },
        "status": { "acceptedNames": { "plural": "things", "kind": "Thing" },
            "conditions": [{ "type": "Established", "status": "True" }] },
    }));
    let all = Resources::with_definitions([&definition]);
    let table = Table::of(all.find("e.com", "v1", "things").expect("v1"));
    let object = json!({ "metadata": { "name": "t" }, "spec": { "size": 3, "when": "2024-05-01T11:00:00Z" },
        "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    assert_eq!(table.cells(&object, now()), [json!("t"), json!(3), json!("True"), json!("60m"), Value::Null]);
    assert_eq!(table.columns()[2]["priority"], 1);
    let plain = Table::of(all.find("e.com", "v2", "things").expect("v2"));
    assert_eq!(plain.cells(&created(object), now()), ["t", "5m"]);
}

#[test]
fn a_written_table_is_what_its_rows_are() {
    let table = table("", "v1", "pods");
    let pod = created(
        json!({ "kind": "Pod", "metadata": { "name": "p", "labels": { "a": "b" } }, "status": { "phase": "Succeeded" } }),
    );
    let list = json!({ "resourceVersion": "7", "continue": "x" });
    for include in [Include::None, Include::Metadata, Include::Object] {
        let bytes = table.write(&[&pod, &pod], "v1", &list, include, now());
        let parsed: Value = serde_json::from_slice(&bytes).expect("JSON");
        let row = table.row(&pod, include, now());
        assert_eq!(parsed["rows"], json!([row, row]));
        assert_eq!(parsed["metadata"], list);
        assert_eq!(&parsed["columnDefinitions"], table.columns());
    }
    assert_eq!(table.row(&pod, Include::None, now())["conditions"][0]["type"], "Completed");
}
