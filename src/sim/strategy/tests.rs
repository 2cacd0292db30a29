use super::*;
use crate::sim::defaults;

fn facts(user: &UserInfo) -> RequestFacts<'_> {
    RequestFacts { user, now: "2026-01-02T03:04:05Z".parse().unwrap() }
}

fn created(group: &str, kind: &str, mut object: Value) -> Value {
    let user = UserInfo::named("jane", &["dev"]);
    defaults::apply(group, "v1", kind, &mut object);
    prepare_for_create(group, "v1", kind, &mut object, facts(&user));
    object
}

fn updated(group: &str, kind: &str, subresource: &str, old: &Value, change: impl Fn(&mut Value)) -> Value {
    let user = UserInfo::named("jane", &[]);
    let mut new = old.clone();
    change(&mut new);
    prepare_for_update(group, "v1", kind, subresource, &mut new, old, facts(&user));
    new
}

#[test]
fn a_status_in_a_new_object_is_dropped() {
    let pod = created(
        "",
        "Pod",
        json!({"metadata": {"name": "p"}, "status": {"phase": "Running"},
        "spec": {"containers": [{"name": "c", "image": "x"}]}}),
    );
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "BestEffort"}));
    assert_eq!(pod["metadata"]["generation"], 1);
    let namespace =
        created("", "Namespace", json!({"metadata": {"name": "n"}, "status": {"phase": "Terminating"}}));
    assert_eq!(
        namespace,
        json!({"metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
    );
}

#[test]
fn requests_touch_either_the_spec_or_the_status() {
    let old = json!({"metadata": {"name": "d", "generation": 3}, "spec": {"replicas": 1}, "status": {"replicas": 1}});
    let change = |object: &mut Value| {
        object["spec"]["replicas"] = json!(2);
        object["status"]["replicas"] = json!(2);
    };
    let new = updated("apps", "Deployment", "", &old, change);
    assert_eq!(
        new,
        json!({"metadata": {"name": "d", "generation": 4}, "spec": {"replicas": 2}, "status": {"replicas": 1}})
    );
    let new = updated("apps", "Deployment", "status", &old, change);
    assert_eq!(
        new,
        json!({"metadata": {"name": "d", "generation": 3}, "spec": {"replicas": 1}, "status": {"replicas": 2}})
    );
    let new = updated("apps", "Deployment", "", &old, |object| {
        object["metadata"]["annotations"] = json!({"a": "b"})
    });
    assert_eq!(new["metadata"]["generation"], 4);
    let new = updated("apps", "ReplicaSet", "", &old, |object| {
        object["metadata"]["annotations"] = json!({"a": "b"})
    });
    assert_eq!(new["metadata"]["generation"], 3);
}

#[test]
fn a_job_knows_its_pods_by_its_uid() {
    let job = created(
        "batch",
        "Job",
        json!({"metadata": {"name": "m", "uid": "U"}, "spec": {"template": {"spec": {}}}}),
    );
    let labels = json!({"batch.kubernetes.io/controller-uid": "U", "batch.kubernetes.io/job-name": "m",
        "controller-uid": "U", "job-name": "m"});
    assert_eq!(job["spec"]["template"]["metadata"]["labels"], labels);
    assert_eq!(job["metadata"]["labels"], labels);
    assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "U"}}));
}

#[test]
fn a_signing_request_names_who_asked() {
    let request = created(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        json!({"metadata": {"name": "r"}, "spec": {"username": "root", "groups": ["system:masters"], "request": "x"}}),
    );
    assert_eq!(
        request["spec"],
        json!({"username": "jane", "groups": ["dev", "system:authenticated"], "request": "x"})
    );
    let approved =
        updated("certificates.k8s.io", "CertificateSigningRequest", "approval", &request, |object| {
            object["status"] =
                json!({"conditions": [{"type": "Approved", "status": "True"}], "certificate": "eA=="});
        });
    assert_eq!(
        approved["status"],
        json!({"conditions": [{"type": "Approved", "status": "True", "lastUpdateTime": "2026-01-02T03:04:05Z",
            "lastTransitionTime": "2026-01-02T03:04:05Z"}]})
    );
    let forged = updated("certificates.k8s.io", "CertificateSigningRequest", "status", &request, |object| {
        object["status"] = json!({"conditions": [{"type": "Approved", "status": "True"}]});
    });
    assert_eq!(forged["status"], json!({}));
}

#[test]
fn ephemeral_containers_come_alone() {
    let old = created(
        "",
        "Pod",
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}),
    );
    let new = updated("", "Pod", "ephemeralcontainers", &old, |object| {
        object["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "y"}]);
        object["spec"]["containers"][0]["image"] = json!("z");
        object["metadata"]["labels"] = json!({"a": "b"});
    });
    assert_eq!(new["spec"]["containers"][0]["image"], "x");
    assert_eq!(new["spec"]["ephemeralContainers"][0]["name"], "d");
    assert!(new["metadata"].get("labels").is_none());
    assert_eq!(new["metadata"]["generation"], 2);
}

#[test]
fn the_app_armor_annotation_becomes_a_field() {
    let pod = created(
        "",
        "Pod",
        json!({"metadata": {"name": "p", "annotations":
        {"container.apparmor.security.beta.kubernetes.io/c": "localhost/k8s-deny-write"}},
        "spec": {"containers": [{"name": "c", "image": "x"}]}}),
    );
    assert_eq!(
        pod["spec"]["containers"][0]["securityContext"],
        json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "k8s-deny-write"}})
    );
    assert_eq!(
        warnings_on_create("", "v1", "Pod", &pod),
        [
            "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since v1.30; use the \"appArmorProfile\" field instead"
        ]
    );
}

fn taken(services: &[Value]) -> service::Taken {
    service::Taken::by(services.iter(), &[])
}

#[test]
fn a_service_gets_an_address_and_ports() {
    let mut object = created(
        "",
        "Service",
        json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "selector": {"a": "b"},
        "ports": [{"name": "t", "port": 53}, {"name": "u", "port": 53, "protocol": "UDP"}]}}),
    );
    service::allocate(&mut object, None, taken(&[])).unwrap();
    let spec = &object["spec"];
    assert!(spec["clusterIP"].as_str().unwrap().starts_with("10.96."));
    assert_eq!(spec["clusterIPs"], json!([spec["clusterIP"]]));
    assert_eq!((&spec["ipFamilies"], &spec["ipFamilyPolicy"]), (&json!(["IPv4"]), &json!("SingleStack")));
    let port = spec["ports"][0]["nodePort"].as_i64().unwrap();
    assert!((30086..=32767).contains(&port));
    assert_eq!(spec["ports"][1]["nodePort"], port, "the same port of another protocol gets the same number");
    assert!(spec.get("healthCheckNodePort").is_none());
}

#[test]
fn what_is_taken_or_out_of_range_is_refused() {
    let other =
        json!({"spec": {"clusterIPs": ["10.96.0.10"], "ports": [{"protocol": "TCP", "nodePort": 30080}]}});
    let refused = |spec: Value| {
        let mut object = created("", "Service", json!({"metadata": {"name": "s"}, "spec": spec}));
        service::allocate(&mut object, None, taken(std::slice::from_ref(&other))).unwrap_err().message
    };
    assert_eq!(
        refused(json!({"clusterIP": "10.96.0.10", "ports": [{"port": 80}]})),
        "Service \"s\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate IP 10.96.0.10: provided IP is already allocated"
    );
    assert_eq!(
        refused(json!({"clusterIP": "1.2.3.4", "ports": [{"port": 80}]})),
        "Service \"s\" is invalid: spec.clusterIPs: Invalid value: [\"1.2.3.4\"]: failed to allocate IP 1.2.3.4: the provided network does not match the current range"
    );
    assert_eq!(
        refused(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]})),
        "Service \"s\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
    );
    assert_eq!(
        refused(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]})),
        "Service \"s\" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767"
    );
    assert_eq!(
        refused(json!({"ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 80}]})),
        "Service \"s\" is invalid: spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack services"
    );
}

#[test]
fn what_a_service_has_it_keeps_until_its_type_changes() {
    let mut old = created(
        "",
        "Service",
        json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}),
    );
    service::allocate(&mut old, None, taken(&[])).unwrap();
    let mut same = json!({"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80, "targetPort": 8080}]}});
    defaults::apply("", "v1", "Service", &mut same);
    service::allocate(&mut same, Some(&old), taken(&[])).unwrap();
    assert_eq!(same["spec"]["clusterIP"], old["spec"]["clusterIP"]);
    assert_eq!(same["spec"]["ports"][0]["nodePort"], old["spec"]["ports"][0]["nodePort"]);
    let inside = updated("", "Service", "", &old, |object| object["spec"]["type"] = json!("ClusterIP"));
    assert!(inside["spec"]["ports"][0].get("nodePort").is_none());
    assert!(inside["spec"].get("externalTrafficPolicy").is_none());
    let named = updated("", "Service", "", &old, |object| {
        object["spec"]["type"] = json!("ExternalName");
        object["spec"]["externalName"] = json!("example.com");
    });
    for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "externalTrafficPolicy"] {
        assert!(named["spec"].get(field).is_none(), "{field}");
    }
}

#[test]
fn doubtful_definitions_are_warned_of() {
    let template = json!({"spec": {"containers": [{"name": "c", "image": "x",
        "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP"}],
        "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "B", "value": "1"}, {"name": "B", "value": "$(B)2"}],
        "resources": {"limits": {"memory": "1500m"}}}],
        "nodeSelector": {"beta.kubernetes.io/os": "linux"},
        "volumes": [{"name": "g", "gitRepo": {"repository": "r"}}]}});
    assert_eq!(
        warnings_on_create(
            "apps",
            "v1",
            "Deployment",
            &json!({"metadata": {"name": "a.b"}, "spec": {"template": template}})
        ),
        [
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
            "spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.template.spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
            "spec.template.spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
            "spec.template.spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.template.spec.containers[0].ports[1]: duplicate port definition with spec.template.spec.containers[0].ports[0]",
        ]
    );
    let policy = json!({"metadata": {"name": "n"}, "spec": {"ingress": [{"from": [{"ipBlock": {"cidr": "10.1.2.3/8"}}]}]}});
    assert_eq!(
        warnings_on_create("networking.k8s.io", "v1", "NetworkPolicy", &policy),
        [
            "spec.ingress[0].from[0].ipBlock.cidr: CIDR value \"10.1.2.3/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.1.2.3/32\"?)"
        ]
    );
}
