//! What a real cluster answered to invalid objects, and tables of each group's rules.

mod cluster;

use serde_json::{Value, json};

use super::*;
use crate::sim::defaults;

/// Validates a new object after defaulting, with the metadata that a server would have completed.
fn created(group: &str, kind: &str, mut object: Value) -> Vec<String> {
    let namespaced = kinds::of(group, kind).is_some_and(|rules| rules.namespaced);
    if object["metadata"].is_null() {
        object["metadata"] = json!({"name": "x"});
    }
    if namespaced {
        object["metadata"]["namespace"] = json!("n");
    }
    object["metadata"]["uid"] = json!("u");
    defaults::apply(group, "v1", kind, &mut object);
    texts(&create(group, "v1", kind, &object))
}

/// Validates a change of a stored object.
fn changed(group: &str, kind: &str, old: Value, change: impl Fn(&mut Value)) -> Vec<String> {
    let mut old = old;
    old["metadata"] = json!({"name": "x", "uid": "u", "resourceVersion": "1"});
    if kinds::of(group, kind).is_some_and(|rules| rules.namespaced) {
        old["metadata"]["namespace"] = json!("n");
    }
    defaults::apply(group, "v1", kind, &mut old);
    let mut new = old.clone();
    change(&mut new);
    defaults::apply(group, "v1", kind, &mut new);
    let mut found = texts(&update(group, "v1", kind, "", &new, &old));
    found.dedup();
    found
}

fn texts(errors: &ErrorList) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn template(labels: Value) -> Value {
    json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "x"}]}})
}

/// One fault a row: what is wrong, and how the first error begins.
fn table(group: &str, kind: &str, rows: &[(Value, &str)]) {
    for (object, expected) in rows {
        let found = created(group, kind, object.clone());
        if expected.is_empty() {
            assert_eq!(found, [] as [&str; 0], "{object}");
        } else {
            assert!(
                found.first().is_some_and(|text| text.starts_with(expected)),
                "{object}\n{expected}\n{found:#?}"
            );
        }
    }
}

/// The recorded answers of a real cluster to the corpus' invalid objects.
#[test]
fn a_real_clusters_answers() {
    assert_eq!(
        created(
            "apps",
            "Deployment",
            json!({"spec": {"replicas": -1, "selector": {"matchLabels": {"app": "a"}},
            "template": template(json!({"app": "b"}))}})
        ),
        [
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.template.metadata.labels: Invalid value: {\"app\":\"b\"}: `selector` does not match template `labels`",
        ]
    );
    assert_eq!(
        created(
            "",
            "Service",
            json!({"metadata": {"name": "9svc"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 0}]}})
        ),
        [
            "metadata.name: Invalid value: \"9svc\": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        ]
    );
    assert_eq!(
        created("", "Secret", json!({"type": "kubernetes.io/tls", "data": {}})),
        ["data[tls.crt]: Required value", "data[tls.key]: Required value"]
    );
    assert_eq!(
        created(
            "networking.k8s.io",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "policyTypes": ["Ingres"],
            "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}], "ports": [{"port": 70000, "protocol": "ICMP"}]}]}})
        ),
        [
            "spec.ingress[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"TCP\", \"UDP\", \"SCTP\"",
            "spec.ingress[0].ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
            "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.0/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            "spec.policyTypes[0]: Unsupported value: \"Ingres\": supported values: \"Ingress\", \"Egress\"",
        ]
    );
    let found = created(
        "networking.k8s.io",
        "Ingress",
        json!({"spec": {"rules": [{"host": "Bad Host", "http": {"paths": [
        {"path": "x", "pathType": "Prefix", "backend": {"service": {"name": "a", "port": {"number": 80}}}}]}}]}}),
    );
    assert_eq!(found.len(), 2);
    assert!(
        found[0].starts_with(
            "spec.rules[0].host: Invalid value: \"Bad Host\": a lowercase RFC 1123 subdomain must"
        )
    );
    assert_eq!(found[1], "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path");
    assert_eq!(
        created(
            "batch",
            "CronJob",
            json!({"spec": {"schedule": "every day", "jobTemplate": {"spec": {"template":
            {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}}}}})
        ),
        ["spec.schedule: Invalid value: \"every day\": expected exactly 5 fields, found 2: [every day]"]
    );
    assert_eq!(
        texts(&create(
            "authentication.k8s.io",
            "v1",
            "TokenRequest",
            &json!({"spec": {"expirationSeconds": 30}})
        )),
        ["spec.expirationSeconds: Invalid value: 30: may not specify a duration less than 10 minutes"]
    );
}

#[test]
fn immutable_objects_stay() {
    let fixed = json!({"immutable": true, "data": {"a": "Yg=="}});
    assert_eq!(
        changed("", "Secret", fixed.clone(), |secret| secret["data"]["a"] = json!("Yw==")),
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
    assert_eq!(
        changed("", "Secret", fixed.clone(), |secret| secret["immutable"] = json!(false)),
        ["immutable: Forbidden: field is immutable when `immutable` is set"]
    );
    assert_eq!(
        changed("", "ConfigMap", fixed, |map| map["data"]["b"] = json!("x")),
        ["data: Forbidden: field is immutable when `immutable` is set"]
    );
    assert_eq!(
        changed("", "Secret", json!({}), |secret| secret["type"] = json!("x")),
        ["type: Invalid value: \"x\": field is immutable"]
    );
}

#[test]
fn selectors_and_references_stay() {
    let deployment = json!({"spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template(json!({"app": "web"}))}});
    assert_eq!(
        changed("apps", "Deployment", deployment, |object| {
            object["spec"]["selector"] = json!({"matchLabels": {"app": "other"}});
        }),
        [
            "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"other\"}}: field is immutable",
        ]
    );
    let binding = json!({"roleRef": {"kind": "ClusterRole", "name": "edit"}, "subjects": [{"kind": "User", "name": "jane"}]});
    assert_eq!(
        changed("rbac.authorization.k8s.io", "RoleBinding", binding, |object| object["roleRef"]["name"] =
            json!("view")),
        [
            "roleRef: Invalid value: {\"ApiGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"ClusterRole\",\"Name\":\"view\"}: cannot change roleRef"
        ]
    );
    let set = json!({"spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": template(json!({"a": "b"}))}});
    assert_eq!(
        changed("apps", "StatefulSet", set.clone(), |object| object["spec"]["serviceName"] = json!("t")),
        [
            "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
        ]
    );
    assert_eq!(
        changed("apps", "StatefulSet", set, |object| object["spec"]["replicas"] = json!(5)),
        [] as [&str; 0]
    );
    let job = json!({"spec": {"manualSelector": true, "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata":
        {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}}});
    let found = changed("batch", "Job", job, |object| {
        object["spec"]["template"]["spec"]["containers"][0]["image"] = json!("y")
    });
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with("spec.template: Invalid value: {")
            && found[0].ends_with("}: field is immutable")
    );
}

#[test]
fn services() {
    let port = json!([{"port": 80}]);
    table(
        "",
        "Service",
        &[
            (json!({"spec": {"ports": port}}), ""),
            (json!({"spec": {}}), "spec.ports: Required value"),
            (
                json!({"spec": {"type": "Node", "ports": port}}),
                "spec.type: Unsupported value: \"Node\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            ),
            (json!({"spec": {"type": "ExternalName"}}), "spec.externalName: Required value"),
            (json!({"spec": {"ports": [{"port": 80}, {"port": 81}]}}), "spec.ports[0].name: Required value"),
            (
                json!({"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}}),
                "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":0}",
            ),
            (
                json!({"spec": {"ports": [{"port": 80, "nodePort": 30000}]}}),
                "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            ),
            (
                json!({"spec": {"clusterIP": "x", "clusterIPs": ["x"], "ports": port}}),
                "spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            ),
            (
                json!({"spec": {"type": "NodePort", "clusterIP": "None", "clusterIPs": ["None"], "ports": port}}),
                "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
            ),
            (
                json!({"spec": {"externalTrafficPolicy": "Local", "ports": port}}),
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ),
            (
                json!({"spec": {"externalIPs": ["127.0.0.1"], "ports": port}}),
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
            (
                json!({"spec": {"sessionAffinity": "Sticky", "ports": port}}),
                "spec.sessionAffinity: Unsupported value: \"Sticky\": supported values: \"ClientIP\", \"None\"",
            ),
        ],
    );
    let stored = json!({"spec": {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ports": port}});
    assert_eq!(
        changed("", "Service", stored, |object| {
            object["spec"]["clusterIP"] = json!("10.0.0.2");
            object["spec"]["clusterIPs"] = json!(["10.0.0.2"]);
        }),
        ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"]
    );
}

#[test]
fn workloads() {
    let selector = json!({"matchLabels": {"a": "b"}});
    let sound = template(json!({"a": "b"}));
    table(
        "apps",
        "Deployment",
        &[
            (json!({"spec": {"selector": selector, "template": sound}}), ""),
            (json!({"spec": {"template": sound}}), "spec.selector: Required value"),
            (
                json!({"spec": {"selector": {}, "template": sound}}),
                "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
            ),
            (
                json!({"spec": {"selector": selector, "template": sound, "strategy": {"type": "Recreate", "rollingUpdate": {}}}}),
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ),
            (
                json!({"spec": {"selector": selector, "template": sound, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}}),
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
            ),
            (
                json!({"spec": {"selector": selector, "template": sound, "strategy": {"rollingUpdate": {"maxSurge": "ten"}}}}),
                "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"ten\": a valid percent string must be a numeric string followed by an ending '%'",
            ),
            (
                json!({"spec": {"selector": selector, "template": sound, "progressDeadlineSeconds": 5, "minReadySeconds": 9}}),
                "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
            ),
        ],
    );
    let mut never = sound.clone();
    never["spec"]["restartPolicy"] = json!("Never");
    table(
        "apps",
        "DaemonSet",
        &[
            (json!({"spec": {"selector": selector, "template": sound}}), ""),
            (
                json!({"spec": {"selector": selector, "template": never}}),
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
            ),
            (
                json!({"spec": {"selector": selector, "template": sound, "updateStrategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}}}),
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
            ),
        ],
    );
    let mut mounts = sound.clone();
    mounts["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/d"}]);
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    table(
        "apps",
        "StatefulSet",
        &[
            (
                json!({"spec": {"selector": selector, "template": mounts, "volumeClaimTemplates": [claim]}}),
                "",
            ),
            (
                json!({"spec": {"selector": selector, "template": sound, "updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}}),
                "spec.updateStrategy.rollingUpdate: Invalid value: {\"Partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
            ),
        ],
    );
    let pod = |policy: &str| json!({"spec": {"restartPolicy": policy, "containers": [{"name": "c", "image": "x"}]}});
    table(
        "batch",
        "CronJob",
        &[
            (
                json!({"spec": {"schedule": "@daily", "timeZone": "Nowhere/City", "jobTemplate": {"spec": {"template": pod("Never")}}}}),
                "spec.timeZone: Invalid value: \"Nowhere/City\": unknown time zone Nowhere/City",
            ),
            (
                json!({"spec": {"schedule": "TZ=UTC * * * * *", "jobTemplate": {"spec": {"template": pod("Never")}}}}),
                "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule",
            ),
            (
                json!({"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": pod("Always")}}}}),
                "spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ),
            (
                json!({"metadata": {"name": "n".repeat(53)}, "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": pod("Never")}}}}),
                "metadata.name: Invalid value: \"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn\": must be no more than 52 characters",
            ),
        ],
    );
}

#[test]
fn secrets_by_type() {
    table(
        "",
        "Secret",
        &[
            (
                json!({"data": {"a b": ""}}),
                "data[a b]: Invalid value: \"a b\": a valid config key must consist of",
            ),
            (json!({"type": "kubernetes.io/dockerconfigjson"}), "data[.dockerconfigjson]: Required value"),
            (
                json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "eA=="}}),
                "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character 'x' looking for beginning of value",
            ),
            (json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}), ""),
            (json!({"type": "kubernetes.io/basic-auth"}), "data[username]: Required value"),
            (json!({"type": "kubernetes.io/ssh-auth"}), "data[ssh-privatekey]: Required value"),
            (
                json!({"type": "kubernetes.io/service-account-token"}),
                "metadata.annotations[kubernetes.io/service-account.name]: Required value",
            ),
            (
                json!({"data": {"a": base64::Engine::encode(&base64::engine::general_purpose::STANDARD, vec![0_u8; 1024 * 1024 + 1])}}),
                "data: Too long: may not be more than 1048576 bytes",
            ),
        ],
    );
}

#[test]
fn quotas_and_limits() {
    table(
        "",
        "ResourceQuota",
        &[
            (
                json!({"spec": {"hard": {"pods": "2", "requests.cpu": "500m", "count/deployments.apps": "1"}}}),
                "",
            ),
            (
                json!({"spec": {"hard": {"disk": "1"}}}),
                "spec.hard[disk]: Invalid value: \"disk\": must be a standard resource type or fully qualified",
            ),
            (
                json!({"spec": {"hard": {"pods": "1500m"}}}),
                "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
            ),
            (
                json!({"spec": {"hard": {"services": "1"}, "scopes": ["BestEffort"]}}),
                "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource",
            ),
            (
                json!({"spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}}),
                "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
            ),
        ],
    );
    table(
        "",
        "LimitRange",
        &[
            (
                json!({"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}, "min": {"cpu": "2"}}]}}),
                "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
            ),
            (
                json!({"spec": {"limits": [{"type": "Pod", "default": {"cpu": "1"}}]}}),
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            ),
            (
                json!({"spec": {"limits": [{"type": "Box"}]}}),
                "spec.limits[0].type: Invalid value: \"Box\": must be a standard limit type or fully qualified",
            ),
        ],
    );
}

#[test]
fn roles_and_bindings() {
    let group = "rbac.authorization.k8s.io";
    table(
        group,
        "Role",
        &[
            (
                json!({"metadata": {"name": "a:b"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}),
                "",
            ),
            (
                json!({"rules": [{"resources": ["pods"], "verbs": ["get"]}]}),
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
            ),
            (
                json!({"rules": [{"apiGroups": [""], "resources": ["pods"]}]}),
                "rules[0].verbs: Required value: verbs must contain at least one value",
            ),
            (
                json!({"rules": [{"nonResourceURLs": ["/x"], "verbs": ["get"]}]}),
                "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
            ),
        ],
    );
    table(
        group,
        "ClusterRoleBinding",
        &[
            (
                json!({"roleRef": {"kind": "Role", "name": "x"}}),
                "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
            ),
            (
                json!({"roleRef": {"kind": "ClusterRole", "name": "x"}, "subjects": [{"kind": "ServiceAccount", "name": "s"}]}),
                "subjects[0].namespace: Required value",
            ),
            (
                json!({"roleRef": {"kind": "ClusterRole", "name": "x"}, "subjects": [{"kind": "Robot", "name": "s"}]}),
                "subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
            ),
        ],
    );
    table(
        group,
        "RoleBinding",
        &[(
            json!({"roleRef": {"kind": "Role", "name": "x"}, "subjects": [{"kind": "ServiceAccount", "name": "s"}]}),
            "",
        )],
    );
}

#[test]
fn policies_and_ingresses() {
    let policy = |rule: Value| json!({"spec": {"podSelector": {}, "ingress": [rule]}});
    table(
        "networking.k8s.io",
        "NetworkPolicy",
        &[
            (policy(json!({"from": [{}]})), "spec.ingress[0].from[0]: Required value: must specify a peer"),
            (
                policy(json!({"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]})),
                "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
            ),
            (
                policy(json!({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]})),
                "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
            ),
            (
                policy(json!({"ports": [{"port": 90, "endPort": 80}]})),
                "spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`",
            ),
            (
                policy(json!({"ports": [{"port": "http", "endPort": 80}]})),
                "spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when `port` is non-numeric",
            ),
            (
                policy(
                    json!({"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}]}),
                ),
                "spec.ingress[0].from[0].podSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            ),
        ],
    );
    table(
        "networking.k8s.io",
        "Ingress",
        &[
            (
                json!({"spec": {}}),
                "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified",
            ),
            (
                json!({"spec": {"defaultBackend": {"service": {"name": "a"}}}}),
                "spec.defaultBackend: Required value: port name or number is required",
            ),
            (
                json!({"spec": {"rules": [{"host": "1.2.3.4"}]}}),
                "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
            ),
            (
                json!({"spec": {"rules": [{"http": {"paths": [{"path": "/", "backend": {"service": {"name": "a", "port": {"number": 1}}}}]}}]}}),
                "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
            ),
        ],
    );
}

#[test]
fn nodes_volumes_and_claims() {
    table(
        "",
        "Node",
        &[(
            json!({"spec": {"taints": [{"key": "a", "effect": "NoRun"}]}}),
            "metadata.taints[0].effect: Unsupported value: \"NoRun\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        )],
    );
    table(
        "",
        "PersistentVolume",
        &[
            (
                json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp/x"}}}),
                "",
            ),
            (
                json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}}),
                "spec: Required value: must specify a volume type",
            ),
            (
                json!({"spec": {"capacity": {"storage": "0"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}}),
                "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
            ),
            (
                json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "local": {"path": "/x"}}}),
                "spec.nodeAffinity: Required value: Local volume requires node affinity",
            ),
        ],
    );
    table(
        "",
        "PersistentVolumeClaim",
        &[
            (
                json!({"spec": {"resources": {"requests": {"storage": "1Gi"}}}}),
                "spec.accessModes: Required value: at least 1 access mode is required",
            ),
            (json!({"spec": {"accessModes": ["ReadWriteOnce"]}}), "spec.resources[storage]: Required value"),
            (
                json!({"spec": {"accessModes": ["Any"], "resources": {"requests": {"storage": "1Gi"}}}}),
                "spec.accessModes: Unsupported value: \"Any\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
            ),
        ],
    );
    let claim = json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "a", "resources": {"requests": {"storage": "1Gi"}}}});
    let found =
        changed("", "PersistentVolumeClaim", claim, |claim| claim["spec"]["storageClassName"] = json!("b"));
    assert!(found[0].starts_with("spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n@@"));
}
