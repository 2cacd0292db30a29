use serde_json::json;

use super::*;
use crate::sim::defaults;

const RULES: MetaRules = MetaRules { namespaced: true, name: names::subdomain_name, core: true };

fn pod(spec: Value) -> Value {
    let mut object = json!({"metadata": {"name": "q", "namespace": "n", "uid": "u", "resourceVersion": "1"}, "spec": spec});
    object["spec"]["serviceAccountName"] = json!("default");
    defaults::apply("", "v1", "Pod", &mut object);
    object
}

fn texts(errors: &ErrorList) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

fn created(spec: Value) -> Vec<String> {
    texts(&create(&pod(spec), RULES))
}

fn with_container(fields: Value) -> Value {
    let mut container = json!({"name": "a", "image": "x"});
    container.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    json!({"containers": [container]})
}

/// The recorded answers of a real cluster to the corpus' invalid Pods.
#[test]
fn invalid_pods_are_refused_in_the_words_of_a_real_cluster() {
    let mut bad = pod(json!({"containers": [{"name": "a", "image": ""},
        {"name": "a", "image": "x", "ports": [{"containerPort": 99999}]}]}));
    bad["metadata"]["name"] = json!("Bad_Pod");
    assert_eq!(
        texts(&create(&bad, RULES)),
        [
            "metadata.name: Invalid value: \"Bad_Pod\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            "spec.containers[0].image: Required value",
            "spec.containers[1].ports[0].containerPort: Invalid value: 99999: must be between 1 and 65535, inclusive",
            "spec.containers[1].name: Duplicate value: \"a\"",
        ]
    );
    assert_eq!(
        created(json!({"restartPolicy": "Sometimes", "containers": [{"name": "a", "image": "x",
            "volumeMounts": [{"name": "gone", "mountPath": "/x"}], "imagePullPolicy": "Maybe"}]})),
        [
            "spec.containers[0].volumeMounts[0].name: Not found: \"gone\"",
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ]
    );
    assert_eq!(
        created(with_container(json!({"securityContext": {"procMount": "Unmasked"}}))),
        [
            "spec.containers[0].securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`"
        ]
    );
    let found = created(with_container(
        json!({"securityContext": {"allowPrivilegeEscalation": false, "privileged": true}}),
    ));
    assert_eq!(
        found,
        [
            "spec.containers[0].securityContext: Invalid value: {\"AllowPrivilegeEscalation\":false,\"Privileged\":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        ]
    );
}

#[test]
fn a_sound_pod_with_much_in_it_passes() {
    let found = created(json!({
        "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet",
        "securityContext": {"runAsUser": 1000, "seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"},
            "sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]},
        "initContainers": [{"name": "i", "image": "x", "restartPolicy": "Always", "livenessProbe": {"exec": {"command": ["a"]}}}],
        "containers": [{"name": "a", "image": "x:1", "ports": [{"containerPort": 80, "name": "http"}],
            "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}],
            "envFrom": [{"configMapRef": {"name": "c"}}],
            "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m", "example.com/gpu": "1"}},
            "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
            "readinessProbe": {"httpGet": {"port": "http"}, "successThreshold": 2},
            "volumeMounts": [{"name": "t", "mountPath": "/t", "subPath": "a"}]}],
        "volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "tok"}},
            {"configMap": {"name": "x", "items": [{"key": "k", "path": "p"}]}}]}}],
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}},
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1,
                "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}}]}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}],
    }));
    assert_eq!(found, [] as [&str; 0]);
}

#[test]
fn containers_are_told_their_faults() {
    for (fields, expected) in [
        (json!({"name": "A"}), "spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label"),
        (
            json!({"image": " x"}),
            "spec.containers[0].image: Invalid value: \" x\": must not have leading or trailing whitespace",
        ),
        (
            json!({"ports": [{"containerPort": 80, "protocol": "tcp"}]}),
            "spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ),
        (
            json!({"ports": [{"containerPort": 1, "hostPort": 7}, {"containerPort": 2, "hostPort": 7}]}),
            "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//7\"",
        ),
        (
            json!({"env": [{"name": "a=b"}]}),
            "spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII",
        ),
        (
            json!({"env": [{"name": "A", "value": "x", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}),
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ),
        (
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.hostNetwork"}}}]}),
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.hostNetwork\": error converting fieldPath: field label not supported: spec.hostNetwork",
        ),
        (
            json!({"livenessProbe": {"httpGet": {"port": 80}, "successThreshold": 2}}),
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ),
        (
            json!({"livenessProbe": {}}),
            "spec.containers[0].livenessProbe: Required value: must specify a handler type",
        ),
        (
            json!({"lifecycle": {"preStop": {"sleep": {"seconds": 99}}}}),
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 99: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ),
        (
            json!({"restartPolicy": "Always"}),
            "spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers",
        ),
        (
            json!({"securityContext": {"runAsUser": -1}}),
            "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Localhost"}}}),
            "spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "../x.json"}}}),
            "spec.containers[0].securityContext.seccompProfile.localhostProfile: Invalid value: \"../x.json\": must not contain '..'",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "/x.json"}}}),
            "spec.containers[0].securityContext.seccompProfile.localhostProfile: Invalid value: \"/x.json\": must be a relative path",
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Runtime"}}}),
            "spec.containers[0].securityContext.seccompProfile.type: Unsupported value: \"Runtime\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"",
        ),
        (
            json!({"securityContext": {"appArmorProfile": {"type": "RuntimeDefault", "localhostProfile": "x"}}}),
            "spec.containers[0].securityContext.appArmorProfile.localhostProfile: Invalid value: \"x\": can only be set when AppArmor type is Localhost",
        ),
    ] {
        let found = created(with_container(fields));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].starts_with(expected), "{}\n{expected}", found[0]);
    }
}

#[test]
fn specs_are_told_their_faults() {
    for (field, value, expected) in [
        (
            "volumes",
            json!([{"name": "v", "secret": {"secretName": "a"}, "configMap": {"name": "b"}}]),
            "spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type",
        ),
        (
            "volumes",
            json!([{"name": "v", "hostPath": {"path": "/a/../b", "type": "Dir"}}]),
            "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
        ),
        ("volumes", json!([{"name": "v"}, {"name": "v"}]), "spec.volumes[1].name: Duplicate value: \"v\""),
        (
            "volumes",
            json!([{"name": "v", "secret": {"secretName": "a", "defaultMode": 1000}}]),
            "spec.volumes[0].secret.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive",
        ),
        (
            "volumes",
            json!([{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "a", "expirationSeconds": 60}}]}}]),
            "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes",
        ),
        (
            "tolerations",
            json!([{"key": "a", "operator": "Like"}]),
            "spec.tolerations[0].operator: Unsupported value: \"Like\": supported values: \"Equal\", \"Exists\"",
        ),
        (
            "tolerations",
            json!([{"key": "a", "effect": "NoRun"}]),
            "spec.tolerations[0].effect: Unsupported value: \"NoRun\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
        ),
        (
            "tolerations",
            json!([{"key": "a", "tolerationSeconds": 5}]),
            "spec.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
        ),
        (
            "nodeSelector",
            json!({"a": "not ok"}),
            "spec.nodeSelector: Invalid value: \"not ok\": a valid label must be",
        ),
        (
            "activeDeadlineSeconds",
            json!(0),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        ("hostname", json!("a.b"), "spec.hostname: Invalid value: \"a.b\": must not contain dots"),
        (
            "hostAliases",
            json!([{"ip": "1.2.3"}]),
            "spec.hostAliases[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ),
        (
            "dnsPolicy",
            json!("None"),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            "ephemeralContainers",
            json!([{"name": "e", "image": "x"}]),
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
        (
            "initContainers",
            json!([{"name": "a", "image": "x"}]),
            "spec.initContainers[0].name: Duplicate value: \"a\"",
        ),
        (
            "initContainers",
            json!([{"name": "i", "image": "x", "readinessProbe": {"exec": {"command": ["a"]}}}]),
            "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        (
            "os",
            json!({"name": "beos"}),
            "spec.os: Unsupported value: \"beos\": supported values: \"linux\", \"windows\"",
        ),
        (
            "securityContext",
            json!({"sysctls": [{"name": "Kernel", "value": "1"}]}),
            "spec.securityContext.sysctls[0].name: Invalid value: \"Kernel\": must have at most 253 characters and match regex",
        ),
        (
            "resources",
            json!({"limits": {"disk": "1"}}),
            "spec.resources.limits[disk]: Invalid value: \"disk\": must be a standard resource type or fully qualified",
        ),
    ] {
        let mut spec = with_container(json!({}));
        spec[field] = value;
        let found = created(spec);
        assert!(found.first().is_some_and(|text| text.starts_with(expected)), "{found:#?}\n{expected}");
    }
}

#[test]
fn user_namespaces_and_host_namespaces_do_not_mix() {
    let mut spec = with_container(json!({}));
    spec["hostUsers"] = json!(false);
    spec["hostPID"] = json!(true);
    assert_eq!(created(spec), ["spec.HostPID: Forbidden: when `pod.Spec.HostUsers` is false"]);
}

#[test]
fn annotations_and_fields_must_agree() {
    let mut object =
        pod(with_container(json!({"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}})));
    object["metadata"]["annotations"] = json!({"container.apparmor.security.beta.kubernetes.io/a": "unconfined",
        "container.apparmor.security.beta.kubernetes.io/b": "localhost/x"});
    assert_eq!(
        texts(&create(&object, RULES)),
        [
            "metadata.annotations[container.apparmor.security.beta.kubernetes.io/b]: Invalid value: \"b\": container not found",
            "spec.containers[0].securityContext.appArmorProfile.type: Forbidden: apparmor type in annotation and field must match",
        ]
    );
}

#[test]
fn an_image_may_change_and_a_command_may_not() {
    let old = pod(with_container(json!({"command": ["sleep", "3600"]})));
    let mut new = old.clone();
    new["spec"]["containers"][0]["image"] = json!("y");
    new["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    new["spec"]["activeDeadlineSeconds"] = json!(10);
    assert_eq!(texts(&update(&new, &old, RULES)), [] as [&str; 0]);
    new["spec"]["containers"][0]["command"] = json!(["x"]);
    let found = texts(&update(&new, &old, RULES));
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n@@ -"));
    assert!(found[0].contains("\n-    \"sleep\",\n-    \"3600\"\n+    \"x\"\n"), "{}", found[0]);
    let mut more = old.clone();
    more["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "b", "image": "x"}));
    assert!(
        texts(&update(&more, &old, RULES))
            .contains(&"spec.containers: Forbidden: pod updates may not add or remove containers".to_owned())
    );
}

#[test]
fn ephemeral_containers_are_added_and_stay() {
    let old = pod(with_container(json!({})));
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"] =
        json!([{"name": "dbg", "image": "b", "targetContainerName": "nosuch"}]);
    defaults::apply("", "v1", "Pod", &mut new);
    assert_eq!(
        texts(&ephemeral_containers(&new, &old, RULES)),
        ["spec.ephemeralContainers[0].targetContainerName: Not found: \"nosuch\""]
    );
    new["spec"]["ephemeralContainers"][0]["targetContainerName"] = json!("a");
    assert_eq!(texts(&ephemeral_containers(&new, &old, RULES)), [] as [&str; 0]);
    assert_eq!(
        texts(&ephemeral_containers(&old, &new, RULES)),
        ["spec.ephemeralContainers: Forbidden: existing ephemeral containers \"dbg\" may not be removed\n"]
    );
    new["spec"]["ephemeralContainers"][0]["ports"] = json!([{"containerPort": 1, "protocol": "TCP"}]);
    assert_eq!(
        texts(&ephemeral_containers(&new, &old, RULES)),
        ["spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container"]
    );
}

#[test]
fn resizing_changes_processor_and_memory_alone() {
    let old = pod(with_container(json!({"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}})));
    let mut new = old.clone();
    new["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("2");
    assert_eq!(texts(&resize(&new, &old, RULES)), [] as [&str; 0]);
    new["spec"]["containers"][0]["image"] = json!("y");
    assert_eq!(
        texts(&resize(&new, &old, RULES)),
        ["spec: Forbidden: only cpu and memory resources are mutable"]
    );
    let mut less = old.clone();
    less["spec"]["containers"][0]["resources"] = json!({});
    assert!(texts(&resize(&less, &old, RULES)).contains(
        &"spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed".to_owned()
    ));
}
