use serde_json::json;

use super::level::Version;
use super::*;
use crate::sim::admission::testing::{Cluster, create, update};

const BASELINE: Level = Level::Baseline;
const RESTRICTED: Level = Level::Restricted;

/// A Pod that restricted allows, with a container of each kind.
fn hardened() -> Value {
    let security = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let container = |name: &str| json!({"name": name, "image": "i", "securityContext": security.clone()});
    json!({
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [container("i")],
            "containers": [container("c")],
            "ephemeralContainers": [container("e")],
        },
    })
}

fn merge(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (key, value) in patch {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

fn verdict(level: Level, version: Version, pod: &Value) -> String {
    let subject = Subject { metadata: &pod["metadata"], spec: &pod["spec"] };
    details(&evaluate(LevelVersion { level, version }, subject))
}

fn latest(level: Level, pod: &Value) -> String {
    verdict(level, Version::Latest, pod)
}

/// Changes the security context, or another field, of one container.
fn with_container(list: &str, patch: &Value) -> Value {
    let mut pod = hardened();
    merge(&mut pod["spec"][list][0], patch);
    pod
}

fn with_pod(patch: &Value) -> Value {
    let mut pod = hardened();
    merge(&mut pod, patch);
    pod
}

#[test]
fn a_hardened_pod_passes_everything_at_every_version() {
    for minor in 0..60 {
        for level in [Level::Privileged, BASELINE, RESTRICTED] {
            assert_eq!(verdict(level, Version::Minor(minor), &hardened()), "", "{level} v1.{minor}");
        }
    }
}

/// Each control that looks at containers: what breaks it, the level that forbids it, what it says of container `X`.
fn container_controls() -> Vec<(Value, Level, &'static str)> {
    let security = |context: Value| json!({ "securityContext": context });
    vec![
        (
            security(json!({"appArmorProfile": {"type": "Unconfined"}})),
            BASELINE,
            r#"forbidden AppArmor profile (container "X" must not set AppArmor profile type to "Unconfined")"#,
        ),
        (
            json!({"ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2}]}),
            BASELINE,
            r#"hostPort (container "X" uses hostPort 80)"#,
        ),
        (
            json!({"ports": [{"hostPort": 90}, {"hostPort": 8080}]}),
            BASELINE,
            r#"hostPorts (container "X" uses hostPorts 8080, 90)"#,
        ),
        (
            json!({"livenessProbe": {"httpGet": {"host": "10.0.0.1"}}}),
            BASELINE,
            r#"probe or lifecycle host (container "X" uses probe or lifecycle host "10.0.0.1")"#,
        ),
        (
            json!({"readinessProbe": {"tcpSocket": {"host": "b"}}, "lifecycle": {"preStop": {"httpGet": {"host": "a"}}}}),
            BASELINE,
            r#"probe or lifecycle host (container "X" uses probe or lifecycle hosts "a", "b")"#,
        ),
        (
            security(json!({"privileged": true})),
            BASELINE,
            r#"privileged (container "X" must not set securityContext.privileged=true)"#,
        ),
        (
            security(json!({"procMount": "Unmasked"})),
            BASELINE,
            r#"procMount (container "X" must not set securityContext.procMount to "Unmasked")"#,
        ),
        (
            security(json!({"seLinuxOptions": {"type": "spc_t", "user": "u", "role": "r"}})),
            BASELINE,
            r#"seLinuxOptions (container "X" set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set; role may not be set)"#,
        ),
        (
            security(json!({"windowsOptions": {"hostProcess": true}})),
            BASELINE,
            r#"hostProcess (container "X" must not set securityContext.windowsOptions.hostProcess=true)"#,
        ),
        (
            security(json!({"seccompProfile": {"type": "Unconfined"}})),
            BASELINE,
            r#"seccompProfile (container "X" must not set securityContext.seccompProfile.type to "Unconfined")"#,
        ),
        (
            security(json!({"allowPrivilegeEscalation": true})),
            RESTRICTED,
            r#"allowPrivilegeEscalation != false (container "X" must set securityContext.allowPrivilegeEscalation=false)"#,
        ),
        (
            security(json!({"allowPrivilegeEscalation": null})),
            RESTRICTED,
            r#"allowPrivilegeEscalation != false (container "X" must set securityContext.allowPrivilegeEscalation=false)"#,
        ),
        (
            security(json!({"capabilities": {"drop": ["NET_RAW"]}})),
            RESTRICTED,
            r#"unrestricted capabilities (container "X" must set securityContext.capabilities.drop=["ALL"])"#,
        ),
        (
            security(json!({"capabilities": {"drop": ["ALL"], "add": ["CHOWN", "NET_BIND_SERVICE"]}})),
            RESTRICTED,
            r#"unrestricted capabilities (container "X" must not include "CHOWN" in securityContext.capabilities.add)"#,
        ),
        (
            security(json!({"runAsNonRoot": false})),
            RESTRICTED,
            r#"runAsNonRoot != true (container "X" must not set securityContext.runAsNonRoot=false)"#,
        ),
        (
            security(json!({"runAsUser": 0})),
            RESTRICTED,
            r#"runAsUser=0 (container "X" must not set runAsUser=0)"#,
        ),
    ]
}

#[test]
fn each_control_sees_init_plain_and_ephemeral_containers() {
    for (patch, level, expected) in container_controls() {
        for (list, name) in [("initContainers", "i"), ("containers", "c"), ("ephemeralContainers", "e")] {
            let pod = with_container(list, &patch);
            let expected = expected.replace("\"X\"", &format!("{name:?}"));
            assert_eq!(latest(level, &pod), expected, "{list}: {patch}");
            assert_eq!(latest(RESTRICTED, &pod), expected, "restricted includes baseline: {patch}");
            assert_eq!(latest(Level::Privileged, &pod), "");
            if level == RESTRICTED {
                assert_eq!(latest(BASELINE, &pod), "", "baseline leaves it: {patch}");
            }
        }
    }
}

#[test]
fn capabilities_are_judged_by_each_levels_own_control() {
    let patch =
        json!({"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN", "NET_RAW"]}}});
    for (list, name) in [("initContainers", "i"), ("containers", "c"), ("ephemeralContainers", "e")] {
        let pod = with_container(list, &patch);
        let rest = format!(
            r#"(container "{name}" must not include "NET_RAW", "SYS_ADMIN" in securityContext.capabilities.add)"#
        );
        assert_eq!(latest(BASELINE, &pod), format!("non-default capabilities {rest}"));
        assert_eq!(latest(RESTRICTED, &pod), format!("unrestricted capabilities {rest}"));
        // Before v1.22 restricted had no control of its own.
        assert_eq!(verdict(RESTRICTED, Version::Minor(21), &pod), format!("non-default capabilities {rest}"));
    }
    for capability in [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ] {
        let patch = json!({"securityContext": {"capabilities": {"add": [capability]}}});
        assert_eq!(latest(BASELINE, &with_container("containers", &patch)), "", "{capability}");
    }
    let both = with_container(
        "containers",
        &json!({"securityContext": {"capabilities": {"drop": [], "add": ["ALL"]}}}),
    );
    assert_eq!(
        latest(RESTRICTED, &both),
        r#"unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]; container "c" must not include "ALL" in securityContext.capabilities.add)"#
    );
}

#[test]
fn pod_level_fields_are_judged() {
    let spec = |spec: Value| json!({ "spec": spec });
    let security = |context: Value| json!({"spec": {"securityContext": context}});
    for (patch, level, expected) in [
        (
            spec(json!({"hostNetwork": true, "hostPID": true, "hostIPC": true})),
            BASELINE,
            "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
        ),
        (spec(json!({"hostPID": true})), BASELINE, "host namespaces (hostPID=true)"),
        (
            security(json!({"appArmorProfile": {"type": "Unconfined"}})),
            BASELINE,
            r#"forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")"#,
        ),
        (
            security(json!({"seLinuxOptions": {"type": "a_t"}})),
            BASELINE,
            r#"seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "a_t")"#,
        ),
        (
            security(json!({"seccompProfile": {"type": "Unconfined"}})),
            BASELINE,
            r#"seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")"#,
        ),
        (
            security(json!({"windowsOptions": {"hostProcess": true}})),
            BASELINE,
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            security(
                json!({"sysctls": [{"name": "kernel.msgmax"}, {"name": "net.ipv4.tcp_syncookies"}, {"name": "a"}]}),
            ),
            BASELINE,
            "forbidden sysctls (kernel.msgmax, a)",
        ),
        (
            security(json!({"runAsNonRoot": false})),
            RESTRICTED,
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false)",
        ),
        (security(json!({"runAsUser": 0})), RESTRICTED, "runAsUser=0 (pod must not set runAsUser=0)"),
        (
            security(json!({"runAsNonRoot": null})),
            RESTRICTED,
            r#"runAsNonRoot != true (pod or containers "i", "c", "e" must set securityContext.runAsNonRoot=true)"#,
        ),
        (
            security(json!({"seccompProfile": null})),
            RESTRICTED,
            r#"seccompProfile (pod or containers "i", "c", "e" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#,
        ),
        (
            json!({"metadata": {"annotations": {
                "container.apparmor.security.beta.kubernetes.io/c": "unconfined",
                "container.apparmor.security.beta.kubernetes.io/d": "localhost/x",
            }}}),
            BASELINE,
            r#"forbidden AppArmor profile (annotation must not set AppArmor profile type to "container.apparmor.security.beta.kubernetes.io/c="unconfined"")"#,
        ),
    ] {
        let pod = with_pod(&patch);
        assert_eq!(latest(level, &pod), expected);
        assert_eq!(latest(RESTRICTED, &pod), expected);
        if level == RESTRICTED {
            assert_eq!(latest(BASELINE, &pod), "");
        }
    }
}

#[test]
fn a_containers_own_setting_stands_for_the_pods() {
    let mut pod = with_pod(&json!({"spec": {"securityContext": null}}));
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        merge(
            &mut pod["spec"][list][0],
            &json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "Localhost"}}}),
        );
    }
    assert_eq!(latest(RESTRICTED, &pod), "");
    pod["spec"]["containers"][0]["securityContext"]["runAsNonRoot"] = json!(null);
    assert_eq!(
        latest(RESTRICTED, &pod),
        r#"runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)"#
    );
    // A good container does not make up for a bad Pod.
    pod["spec"]["securityContext"] = json!({"runAsNonRoot": false, "runAsUser": 0});
    assert_eq!(
        latest(RESTRICTED, &pod),
        "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false), \
         runAsUser=0 (pod must not set runAsUser=0)"
    );
    pod["spec"]["initContainers"][0]["securityContext"]["runAsNonRoot"] = json!(false);
    assert!(
        latest(RESTRICTED, &pod)
            .contains(r#"(pod and container "i" must not set securityContext.runAsNonRoot"#)
    );
}

#[test]
fn volumes_are_judged_by_each_levels_own_control() {
    let restricted = [
        "awsElasticBlockStore",
        "azureDisk",
        "azureFile",
        "cephfs",
        "cinder",
        "fc",
        "flexVolume",
        "flocker",
        "gcePersistentDisk",
        "gitRepo",
        "glusterfs",
        "hostPath",
        "iscsi",
        "nfs",
        "photonPersistentDisk",
        "portworxVolume",
        "quobyte",
        "rbd",
        "scaleIO",
        "storageos",
        "vsphereVolume",
    ];
    for source in restricted {
        let pod = with_pod(&json!({"spec": {"volumes": [{"name": "v", source: {}}]}}));
        assert_eq!(
            latest(RESTRICTED, &pod),
            format!(r#"restricted volume types (volume "v" uses restricted volume type "{source}")"#)
        );
        let baseline = if source == "hostPath" { r#"hostPath volumes (volume "v")"# } else { "" };
        assert_eq!(latest(BASELINE, &pod), baseline);
    }
    let allowed = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    for source in allowed {
        let pod = with_pod(&json!({"spec": {"volumes": [{"name": "v", source: {}}]}}));
        assert_eq!(latest(RESTRICTED, &pod), "", "{source}");
    }
    let volumes =
        json!([{"name": "a", "hostPath": {}}, {"name": "b", "nfs": {}}, {"name": "c", "hostPath": {}}]);
    let pod = with_pod(&json!({"spec": {"volumes": volumes}}));
    assert_eq!(
        latest(RESTRICTED, &pod),
        r#"restricted volume types (volumes "a", "b", "c" use restricted volume types "hostPath", "nfs")"#
    );
    assert_eq!(latest(BASELINE, &pod), r#"hostPath volumes (volumes "a", "c")"#);
    let unknown = with_pod(&json!({"spec": {"volumes": [{"name": "x"}]}}));
    assert_eq!(
        latest(RESTRICTED, &unknown),
        r#"restricted volume types (volume "x" uses restricted volume type "unknown")"#
    );
}

/// What is forbidden from a version on, and allowed before; or the other way round.
#[test]
fn controls_hold_from_their_version_on() {
    let security = |context: Value| with_container("containers", &json!({ "securityContext": context }));
    let sysctl = |name: &str| with_pod(&json!({"spec": {"securityContext": {"sysctls": [{"name": name}]}}}));
    let appears = [
        (RESTRICTED, 8, security(json!({"allowPrivilegeEscalation": true}))),
        (RESTRICTED, 19, with_pod(&json!({"spec": {"securityContext": {"seccompProfile": null}}}))),
        (BASELINE, 19, security(json!({"seccompProfile": {"type": "Unconfined"}}))),
        (RESTRICTED, 22, security(json!({"capabilities": {"drop": []}}))),
        (RESTRICTED, 23, security(json!({"runAsUser": 0}))),
        (BASELINE, 34, with_container("containers", &json!({"startupProbe": {"httpGet": {"host": "h"}}}))),
    ];
    for (level, from, pod) in appears {
        assert_eq!(verdict(level, Version::Minor(from - 1), &pod), "", "{level} before v1.{from}");
        assert_ne!(verdict(level, Version::Minor(from), &pod), "", "{level} at v1.{from}");
        assert_ne!(verdict(level, Version::Minor(99), &pod), "", "versions to come are the newest known");
        assert_ne!(latest(level, &pod), "");
    }
    let disappears = [
        (27, sysctl("net.ipv4.ip_local_reserved_ports")),
        (29, sysctl("net.ipv4.tcp_keepalive_time")),
        (29, sysctl("net.ipv4.tcp_fin_timeout")),
        (29, sysctl("net.ipv4.tcp_keepalive_intvl")),
        (29, sysctl("net.ipv4.tcp_keepalive_probes")),
        (32, sysctl("net.ipv4.tcp_rmem")),
        (32, sysctl("net.ipv4.tcp_wmem")),
        (31, security(json!({"seLinuxOptions": {"type": "container_engine_t"}}))),
        (
            19,
            with_pod(
                &json!({"metadata": {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}}}),
            ),
        ),
    ];
    for (from, pod) in disappears {
        assert_ne!(verdict(BASELINE, Version::Minor(from - 1), &pod), "", "before v1.{from}");
        assert_eq!(verdict(BASELINE, Version::Minor(from), &pod), "", "at v1.{from}");
        assert_eq!(latest(BASELINE, &pod), "");
    }
    for name in [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
    ] {
        assert_eq!(verdict(BASELINE, Version::Minor(0), &sysctl(name)), "");
    }
    let annotated = with_pod(&json!({"metadata": {"annotations": {
        "seccomp.security.alpha.kubernetes.io/pod": "unconfined",
        "container.seccomp.security.alpha.kubernetes.io/e": "x",
        "container.seccomp.security.alpha.kubernetes.io/c": "docker/default",
    }}}));
    assert_eq!(
        verdict(BASELINE, Version::Minor(0), &annotated),
        r#"seccompProfile (forbidden annotations container.seccomp.security.alpha.kubernetes.io/e="x", seccomp.security.alpha.kubernetes.io/pod="unconfined")"#
    );
}

#[test]
fn windows_pods_need_not_set_what_windows_lacks_from_v1_25_on() {
    let mut pod =
        with_pod(&json!({"spec": {"os": {"name": "windows"}, "securityContext": {"seccompProfile": null}}}));
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        pod["spec"][list][0]["securityContext"] = json!({});
    }
    assert_eq!(verdict(RESTRICTED, Version::Minor(25), &pod), "");
    assert_eq!(latest(RESTRICTED, &pod), "");
    let before = verdict(RESTRICTED, Version::Minor(24), &pod);
    for control in ["allowPrivilegeEscalation", "unrestricted capabilities", "seccompProfile"] {
        assert!(before.contains(control), "{before}");
    }
    // The rest still holds for them.
    pod["spec"]["securityContext"]["runAsNonRoot"] = json!(null);
    pod["spec"]["securityContext"]["windowsOptions"] = json!({"hostProcess": true});
    let now = latest(RESTRICTED, &pod);
    assert!(now.starts_with("hostProcess (pod must") && now.contains("runAsNonRoot"), "{now}");
    pod["spec"]["os"]["name"] = json!("linux");
    assert!(latest(RESTRICTED, &pod).contains("allowPrivilegeEscalation"));
}

#[test]
fn messages_are_those_of_a_real_cluster() {
    let host = json!({
        "metadata": {"name": "host"},
        "spec": {
            "hostNetwork": true, "hostPID": true, "volumes": [{"name": "h", "hostPath": {"path": "/"}}],
            "containers": [{
                "name": "app", "ports": [{"containerPort": 80, "hostPort": 80}],
                "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}},
            }],
        },
    });
    assert_eq!(
        latest(BASELINE, &host),
        r#"non-default capabilities (container "app" must not include "SYS_ADMIN" in securityContext.capabilities.add), host namespaces (hostNetwork=true, hostPID=true), hostPath volumes (volume "h"), hostPort (container "app" uses hostPort 80)"#
    );
    let bare = json!({"metadata": {"name": "bare"}, "spec": {"containers": [{"name": "bare"}]}});
    assert_eq!(
        latest(RESTRICTED, &bare),
        r#"allowPrivilegeEscalation != false (container "bare" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "bare" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "bare" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "bare" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#
    );
    // Baseline controls come first, also at restricted.
    let mut both = bare;
    both["spec"]["hostIPC"] = json!(true);
    assert!(
        latest(RESTRICTED, &both).starts_with("host namespaces (hostIPC=true), allowPrivilegeEscalation")
    );
}

fn namespace(labels: Value) -> Value {
    json!({"kind": "Namespace", "metadata": {"name": "n", "labels": labels}})
}

fn labelled(labels: &[(&str, &str)]) -> Value {
    let labels: serde_json::Map<String, Value> =
        labels.iter().map(|(key, value)| (format!("{PREFIX}{key}"), json!(value))).collect();
    namespace(labels.into())
}

fn bare(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "n"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn privileged(name: &str) -> Value {
    let mut pod = bare(name);
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    pod
}

#[test]
fn enforce_refuses_warn_warns_and_audit_notes() {
    let plugin = PodSecurity::default();
    let modes = [
        ("enforce", "baseline"),
        ("enforce-version", "v1.99"),
        ("warn", "restricted"),
        ("audit", "restricted"),
    ];
    let cluster = Cluster::new().with(&NAMESPACES, labelled(&modes));
    let mut request = create("", "pods", privileged("p"));
    let refusal = cluster.validate(&plugin, &mut request).unwrap_err();
    assert_eq!(
        refusal.message,
        r#"pods "p" is forbidden: violates PodSecurity "baseline:v1.99": privileged (container "c" must not set securityContext.privileged=true)"#
    );
    assert_eq!(refusal.code, 403);
    assert!(request.warnings.is_empty(), "no warning beside a refusal");

    let mut request = create("", "pods", bare("p"));
    cluster.validate(&plugin, &mut request).unwrap();
    assert_eq!(request.warnings.len(), 1);
    assert!(request.warnings[0].starts_with(r#"would violate PodSecurity "restricted:latest": allowPriv"#));
    assert_eq!(request.audit_annotations["pod-security.kubernetes.io/enforce-policy"], "baseline:v1.99");
    assert_eq!(request.audit_annotations["pod-security.kubernetes.io/audit-violations"], request.warnings[0]);
    assert!(request.object.is_some());
}

#[test]
fn workloads_are_warned_about_and_never_refused() {
    let plugin = PodSecurity::default();
    let cluster =
        Cluster::new().with(&NAMESPACES, labelled(&[("enforce", "restricted"), ("warn", "baseline")]));
    let template = json!({"metadata": {}, "spec": privileged("x")["spec"]});
    let meta = json!({"name": "w", "namespace": "n"});
    for (group, resource, object) in [
        ("apps", "deployments", json!({"metadata": meta, "spec": {"template": template}})),
        ("apps", "replicasets", json!({"metadata": meta, "spec": {"template": template}})),
        ("apps", "statefulsets", json!({"metadata": meta, "spec": {"template": template}})),
        ("apps", "daemonsets", json!({"metadata": meta, "spec": {"template": template}})),
        ("batch", "jobs", json!({"metadata": meta, "spec": {"template": template}})),
        (
            "batch",
            "cronjobs",
            json!({"metadata": meta, "spec": {"jobTemplate": {"spec": {"template": template}}}}),
        ),
        ("", "replicationcontrollers", json!({"metadata": meta, "spec": {"template": template}})),
        ("", "podtemplates", json!({"metadata": meta, "template": template})),
    ] {
        let mut request = create(group, resource, object);
        cluster.validate(&plugin, &mut request).unwrap();
        assert_eq!(
            request.warnings,
            [
                r#"would violate PodSecurity "baseline:latest": privileged (container "c" must not set securityContext.privileged=true)"#
            ],
            "{resource}"
        );
        request.warnings.clear();
        request.subresource = "scale".into();
        cluster.validate(&plugin, &mut request).unwrap();
        assert!(request.warnings.is_empty());
    }
    let mut other =
        create("example.com", "deployments", json!({"metadata": meta, "spec": {"template": template}}));
    cluster.validate(&plugin, &mut other).unwrap();
    assert!(other.warnings.is_empty());
}

#[test]
fn updates_are_judged_when_they_change_what_matters() {
    let plugin = PodSecurity::default();
    let cluster = Cluster::new().with(&NAMESPACES, labelled(&[("enforce", "baseline")]));
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut pod = privileged("p");
        change(&mut pod);
        cluster.validate(&plugin, &mut update("", "pods", privileged("p"), pod)).is_err()
    };
    assert!(!refused(&|_| {}));
    assert!(!refused(&|pod| pod["metadata"]["labels"] = json!({"a": "b"})));
    assert!(!refused(&|pod| pod["spec"]["tolerations"] = json!([{"operator": "Exists"}])));
    assert!(!refused(&|pod| pod["metadata"]["annotations"] = json!({"note": "x"})));
    assert!(refused(&|pod| pod["spec"]["containers"][0]["image"] = json!("other")));
    assert!(refused(&|pod| pod["spec"]["initContainers"] = json!([{"name": "i"}])));
    assert!(refused(&|pod| pod["spec"]["ephemeralContainers"] = json!([{"name": "debug"}])));
    assert!(refused(&|pod| pod["metadata"]["annotations"] =
        json!({"container.seccomp.security.alpha.kubernetes.io/c": "x"})));
    for (subresource, judged) in
        [("status", false), ("binding", false), ("resize", false), ("ephemeralcontainers", true)]
    {
        let mut pod = privileged("p");
        pod["spec"]["ephemeralContainers"] = json!([{"name": "debug"}]);
        let mut request = update("", "pods", privileged("p"), pod);
        request.subresource = subresource.into();
        assert_eq!(cluster.validate(&plugin, &mut request).is_err(), judged, "{subresource}");
    }
}

#[test]
fn defaults_hold_without_labels_and_exemptions_lift_them() {
    let config = json!({
        "defaults": {"enforce": "restricted", "enforce-version": "v1.30"},
        "exemptions": {"usernames": ["root"], "runtimeClasses": ["gvisor"], "namespaces": ["free"]},
    });
    let plugin = PodSecurity::new(Configuration::read(&config).unwrap());
    let free =
        json!({"metadata": {"name": "free", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let cluster = Cluster::new().with(&NAMESPACES, namespace(json!({}))).with(&NAMESPACES, free);
    let message = cluster.validate(&plugin, &mut create("", "pods", bare("p"))).unwrap_err().message;
    assert!(message.contains(r#"violates PodSecurity "restricted:v1.30""#), "{message}");
    let mut by_root = create("", "pods", bare("p"));
    by_root.user.username = "root".into();
    cluster.validate(&plugin, &mut by_root).unwrap();
    assert_eq!(by_root.audit_annotations["pod-security.kubernetes.io/exempt"], "user");
    let mut sandboxed = bare("p");
    sandboxed["spec"]["runtimeClassName"] = json!("gvisor");
    cluster.validate(&plugin, &mut create("", "pods", sandboxed)).unwrap();
    let mut pod = bare("p");
    pod["metadata"]["namespace"] = json!("free");
    cluster.validate(&plugin, &mut create("", "pods", pod)).unwrap();
}

#[test]
fn faulty_configuration_is_refused() {
    let config = json!({
        "defaults": {"enforce": "strict", "warn-version": "1.2"},
        "exemptions": {"usernames": ["a", "", "a"]},
    });
    let errors: Vec<String> =
        Configuration::read(&config).unwrap_err().iter().map(ToString::to_string).collect();
    assert_eq!(
        errors,
        [
            r#"defaults.enforce: Invalid value: "strict": must be one of privileged, baseline, restricted"#,
            r#"defaults.warn-version: Invalid value: "1.2": must be "latest" or "v1.x""#,
            r#"exemptions.usernames[1]: Invalid value: "": must not be empty"#,
            r#"exemptions.usernames[2]: Duplicate value: "a""#,
        ]
    );
}

#[test]
fn labels_are_validated_when_they_change() {
    let plugin = PodSecurity::default();
    let cluster = Cluster::new();
    let bad = labelled(&[("enforce", "strict")]);
    let refusal = cluster.validate(&plugin, &mut create("", "namespaces", bad.clone())).unwrap_err();
    assert_eq!(
        refusal.message,
        r#"Namespace "n" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted"#
    );
    assert_eq!(refusal.code, 422);
    let with_note = {
        let mut namespace = bad.clone();
        namespace["metadata"]["labels"]["note"] = json!("x");
        namespace
    };
    cluster.validate(&plugin, &mut update("", "namespaces", bad.clone(), with_note)).unwrap();
    let worse = labelled(&[("enforce", "strict"), ("warn-version", "v1.01")]);
    let refusal = cluster.validate(&plugin, &mut update("", "namespaces", bad, worse)).unwrap_err();
    assert!(
        refusal.message.contains(r#"Invalid value: "v1.01": must be "latest" or "v1.x""#),
        "{}",
        refusal.message
    );
}

#[test]
fn labels_that_cannot_be_read_enforce_the_strictest() {
    let (policy, errors) = Policy::of_labels(
        &labelled(&[("enforce", "x"), ("audit", "x"), ("warn", "x"), ("enforce-version", "y")])["metadata"]["labels"],
        &Policy::default(),
    );
    assert_eq!(errors.len(), 4);
    assert_eq!(policy.enforce.to_string(), "restricted:latest");
    assert_eq!(policy.audit.to_string(), "privileged:latest");
    assert_eq!(policy.warn.to_string(), "privileged:latest");
}

#[test]
fn a_stricter_label_warns_about_existing_pods() {
    let plugin = PodSecurity::default();
    let owned = |name: &str| {
        let mut pod = bare(name);
        pod["metadata"]["ownerReferences"] = json!([{"uid": "u", "controller": true}]);
        pod
    };
    let cluster = Cluster::new()
        .with(&PODS, privileged("a"))
        .with(&PODS, bare("z"))
        .with(&PODS, owned("m-1"))
        .with(&PODS, owned("m-2"))
        .with(&PODS, hardened());
    let warnings = |old: &[(&str, &str)], new: &[(&str, &str)]| {
        let mut request = update("", "namespaces", labelled(old), labelled(new));
        cluster.validate(&plugin, &mut request).unwrap();
        request.warnings
    };
    assert_eq!(
        warnings(&[], &[("enforce", "baseline")]),
        [
            r#"existing pods in namespace "n" violate the new PodSecurity enforce level "baseline:latest""#,
            "a: privileged"
        ]
    );
    let strict =
        "allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile";
    assert_eq!(
        warnings(&[("enforce", "baseline")], &[("enforce", "restricted"), ("enforce-version", "v1.33")]),
        [
            r#"existing pods in namespace "n" violate the new PodSecurity enforce level "restricted:v1.33""#
                .to_owned(),
            format!("a: privileged, {strict}"),
            format!("m-1 (and 2 other pods): {strict}"),
        ]
    );
    let none: [&str; 0] = [];
    assert_eq!(warnings(&[("enforce", "restricted")], &[("enforce", "baseline")]), none, "relaxed");
    assert_eq!(
        warnings(&[("enforce", "baseline")], &[("enforce", "baseline"), ("warn", "restricted")]),
        none
    );
    assert_eq!(
        warnings(&[("enforce", "baseline")], &[("enforce", "privileged"), ("enforce-version", "v1.1")]),
        none
    );
}

#[test]
fn versions_read_as_upstream_reads_them() {
    for good in ["latest", "v1.0", "v1.9", "v1.10", "v1.999"] {
        assert_eq!(Version::parse(good).map(|v| v.to_string()).as_deref(), Some(good));
    }
    for bad in
        ["", "1.2", "v1", "v1.", "v1.01", "v2.0", "v1.-1", "Latest", "v1.2.3", "v1.99999999999999999999"]
    {
        assert_eq!(Version::parse(bad), None, "{bad}");
    }
}
