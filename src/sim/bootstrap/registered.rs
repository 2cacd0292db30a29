//! What an API server registers of itself when it starts: an APIService for each version that it serves, and the priority
//! levels and flow schemas of its fairness. None of it is acted on: requests are neither queued nor handed on.

use serde_json::{Value, json};

/// The versions that are registered: group, version, priority of the group, priority of the version.
const VERSIONS: [(&str, &str, i32, i32); 21] = [
    ("", "v1", 18000, 1),
    ("apps", "v1", 17800, 15),
    ("events.k8s.io", "v1", 17750, 15),
    ("authentication.k8s.io", "v1", 17700, 15),
    ("authorization.k8s.io", "v1", 17600, 15),
    ("autoscaling", "v1", 17500, 15),
    ("autoscaling", "v2", 17500, 30),
    ("batch", "v1", 17400, 15),
    ("certificates.k8s.io", "v1", 17300, 15),
    ("networking.k8s.io", "v1", 17200, 15),
    ("policy", "v1", 17100, 15),
    ("rbac.authorization.k8s.io", "v1", 17000, 15),
    ("storage.k8s.io", "v1", 16800, 15),
    ("apiextensions.k8s.io", "v1", 16700, 15),
    ("admissionregistration.k8s.io", "v1", 16700, 15),
    ("scheduling.k8s.io", "v1", 16600, 15),
    ("coordination.k8s.io", "v1", 16500, 15),
    ("node.k8s.io", "v1", 16300, 15),
    ("discovery.k8s.io", "v1", 16200, 15),
    ("flowcontrol.apiserver.k8s.io", "v1", 16100, 21),
    ("resource.k8s.io", "v1", 15900, 20),
];

/// The label by which the server knows the APIServices that it keeps itself.
pub(crate) const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Builds the APIService of a version that this server serves itself. `managed` is `onstart` for built-in versions and
/// `true` for those of custom resources.
pub(crate) fn api_service(
    group: &str,
    version: &str,
    group_priority: i32,
    priority: i32,
    managed: &str,
    now: &str,
) -> Value {
    let mut spec =
        json!({ "version": version, "groupPriorityMinimum": group_priority, "versionPriority": priority });
    if !group.is_empty() {
        spec["group"] = group.into();
    }
    json!({ "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": { "name": format!("{version}.{group}"), "labels": { MANAGED: managed } },
        "spec": spec,
        "status": { "conditions": [{ "type": "Available", "status": "True", "reason": "Local",
            "message": "Local APIServices are always available", "lastTransitionTime": now }] } })
}

/// Returns everything that a server registers.
pub(super) fn objects(now: &str) -> Vec<Value> {
    let services = VERSIONS.iter().map(|(group, version, minimum, priority)| {
        api_service(group, version, *minimum, *priority, "onstart", now)
    });
    services.chain(priority_levels()).chain(flow_schemas(now)).collect()
}

const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

fn priority_levels() -> impl Iterator<Item = Value> {
    let queues = |queues: i32, hand: i32| json!({ "type": "Queue", "queuing": { "queues": queues, "handSize": hand, "queueLengthLimit": 50 } });
    let limited = |shares: i32, lendable: i32, response: Value| {
        json!({ "type": "Limited", "limited": { "nominalConcurrencyShares": shares, "lendablePercent": lendable,
            "limitResponse": response } })
    };
    [
        ("exempt", json!({ "type": "Exempt", "exempt": { "nominalConcurrencyShares": 0, "lendablePercent": 0 } })),
        ("catch-all", limited(5, 0, json!({ "type": "Reject" }))),
        ("system", limited(30, 33, queues(64, 6))),
        ("node-high", limited(40, 25, queues(64, 6))),
        ("leader-election", limited(10, 0, queues(16, 4))),
        ("workload-high", limited(40, 50, queues(128, 6))),
        ("workload-low", limited(100, 90, queues(128, 6))),
        ("global-default", limited(20, 50, queues(128, 6))),
    ]
    .into_iter()
    .map(|(name, spec)| {
        json!({ "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
            "metadata": { "name": name, "annotations": { AUTO_UPDATE: "true" } }, "spec": spec, "status": {} })
    })
}

fn flow_schemas(now: &str) -> Vec<Value> {
    let group = |name: &str| json!({ "kind": "Group", "group": { "name": name } });
    let user = |name: &str| json!({ "kind": "User", "user": { "name": name } });
    let account = |name: &str| json!({ "kind": "ServiceAccount", "serviceAccount": { "namespace": "kube-system", "name": name } });
    let (everybody, manager, scheduler) = (
        || vec![group("system:unauthenticated"), group("system:authenticated")],
        "system:kube-controller-manager",
        "system:kube-scheduler",
    );
    let everything = json!({ "resourceRules": [{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
            "clusterScope": true, "namespaces": ["*"] }],
        "nonResourceRules": [{ "verbs": ["*"], "nonResourceURLs": ["*"] }] });
    let rule = |verbs: &[&str], api: &str, resources: &[&str], cluster: bool| {
        let mut rule =
            json!({ "verbs": verbs, "apiGroups": [api], "resources": resources, "namespaces": ["*"] });
        if cluster {
            rule["clusterScope"] = true.into();
        }
        rule
    };
    let elect = ["get", "create", "update"];
    let leases = || rule(&elect, "coordination.k8s.io", &["leases"], false);
    let all = |subjects: Vec<Value>| {
        let mut rules = everything.clone();
        rules["subjects"] = subjects.into();
        rules
    };
    let some =
        |subjects: Vec<Value>, rules: Vec<Value>| json!({ "subjects": subjects, "resourceRules": rules });
    let (by_user, by_namespace) = ("ByUser", "ByNamespace");
    [
        ("exempt", "exempt", 1, "", all(vec![group("system:masters")])),
        (
            "probes",
            "exempt",
            2,
            "",
            json!({ "subjects": everybody(), "nonResourceRules": [{ "verbs": ["get"],
                "nonResourceURLs": ["/healthz", "/readyz", "/livez"] }] }),
        ),
        (
            "system-leader-election",
            "leader-election",
            100,
            by_user,
            some(vec![user(manager), user(scheduler), account("*")], vec![leases()]),
        ),
        (
            "endpoint-controller",
            "workload-high",
            150,
            by_user,
            some(
                vec![user(manager), account("endpoint-controller"), account("endpointslicemirroring-controller")],
                vec![rule(&elect, "", &["endpoints"], false)],
            ),
        ),
        (
            "workload-leader-election",
            "leader-election",
            200,
            by_user,
            some(vec![account("*")], vec![rule(&elect, "", &["endpoints", "configmaps"], false), leases()]),
        ),
        (
            "system-node-high",
            "node-high",
            400,
            by_user,
            some(
                vec![group("system:nodes")],
                vec![
                    rule(&["*"], "", &["nodes", "nodes/status"], true),
                    rule(&["*"], "coordination.k8s.io", &["leases"], false),
                ],
            ),
        ),
        ("system-nodes", "system", 500, by_user, all(vec![group("system:nodes")])),
        ("kube-controller-manager", "workload-high", 800, by_namespace, all(vec![user(manager)])),
        ("kube-scheduler", "workload-high", 800, by_namespace, all(vec![user(scheduler)])),
        ("kube-system-service-accounts", "workload-high", 900, by_namespace, all(vec![account("*")])),
        ("service-accounts", "workload-low", 9000, by_user, all(vec![group("system:serviceaccounts")])),
        ("global-default", "global-default", 9900, by_user, all(everybody())),
        ("catch-all", "catch-all", 10000, by_user, all(everybody())),
    ]
    .into_iter()
    .map(|(name, level, precedence, method, rules)| {
        let mut spec = json!({ "matchingPrecedence": precedence, "priorityLevelConfiguration": { "name": level },
            "rules": [rules] });
        if !method.is_empty() {
            spec["distinguisherMethod"] = json!({ "type": method });
        }
        let message =
            format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists");
        json!({ "apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema",
            "metadata": { "name": name, "annotations": { AUTO_UPDATE: "true" } }, "spec": spec,
            "status": { "conditions": [{ "type": "Dangling", "status": "False", "reason": "Found",
                "message": message, "lastTransitionTime": now }] } })
    })
    .collect()
}
