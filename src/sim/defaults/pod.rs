//! Defaults of Pods, and of the pod templates of everything that makes Pods.

use serde_json::{Value, json};

use super::{claim_spec, drop_empty, drop_zeros, number_default, round_amounts};
use crate::sim::image::ImageName;
use crate::sim::object::{Fields, field_at, items_mut, map_at, object_mut, remove, set, set_default};
use crate::sim::pod_resources::{amounts, containers, is_pod_level};

/// Defaults a Pod: what templates get and, beyond it, requests from limits, service links and host ports.
pub(super) fn pod(object: &mut Value) {
    let spec = field_at(object, "spec");
    pod_spec(spec);
    for list in ["containers", "initContainers"] {
        for container in items_mut(spec, list) {
            requests_from_limits(container);
        }
    }
    pod_level_requests(spec);
    set_default(spec, "enableServiceLinks", true);
    if spec.truth("hostNetwork") == Some(true) {
        for list in ["containers", "initContainers"] {
            for port in items_mut(spec, list).flat_map(|container| items_mut(container, "ports")) {
                if port.int("hostPort").unwrap_or_default() == 0 {
                    let number = port.at("containerPort").clone();
                    set(port, "hostPort", number);
                }
            }
        }
    }
}

/// Defaults a PodTemplateSpec.
pub(super) fn template(object: &mut Value, name: &str) {
    let template = field_at(object, name);
    map_at(template, "metadata");
    pod_spec(field_at(template, "spec"));
}

fn pod_spec(spec: &mut Value) {
    map_at(spec, "securityContext");
    set_default(spec, "dnsPolicy", "ClusterFirst");
    set_default(spec, "restartPolicy", "Always");
    set_default(spec, "terminationGracePeriodSeconds", 30);
    set_default(spec, "schedulerName", "default-scheduler");
    // The older name is kept in step with the newer one, which wins.
    let account = match spec.text("serviceAccountName") {
        "" => spec.text("serviceAccount").to_owned(),
        name => name.to_owned(),
    };
    for name in ["serviceAccountName", "serviceAccount"] {
        if account.is_empty() {
            remove(spec, name);
        } else {
            set(spec, name, account.clone());
        }
    }
    drop_zeros(
        spec,
        &["hostNetwork", "hostPID", "hostIPC", "nodeName", "hostname", "subdomain", "priorityClassName"],
    );
    drop_empty(
        spec,
        &[
            "volumes",
            "initContainers",
            "ephemeralContainers",
            "nodeSelector",
            "imagePullSecrets",
            "tolerations",
            "hostAliases",
            "readinessGates",
            "topologySpreadConstraints",
            "schedulingGates",
            "resourceClaims",
        ],
    );
    for volume in items_mut(spec, "volumes") {
        self::volume(volume);
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items_mut(spec, list) {
            self::container(container);
        }
    }
    for toleration in items_mut(spec, "tolerations") {
        drop_zeros(toleration, &["key", "operator", "value", "effect"]);
    }
    round_amounts(spec, "overhead");
    if let Some(resources) = object_mut(spec, "resources") {
        round_amounts(resources, "limits");
        round_amounts(resources, "requests");
    }
}

fn container(container: &mut Value) {
    map_at(container, "resources");
    drop_zeros(container, &["stdin", "stdinOnce", "tty", "workingDir"]);
    drop_empty(
        container,
        &["command", "args", "ports", "env", "envFrom", "volumeMounts", "volumeDevices", "resizePolicy"],
    );
    let policy = pull_policy(container.text("image"));
    set_default(container, "imagePullPolicy", policy);
    set_default(container, "terminationMessagePath", "/dev/termination-log");
    set_default(container, "terminationMessagePolicy", "File");
    for port in items_mut(container, "ports") {
        set_default(port, "protocol", "TCP");
        drop_zeros(port, &["name", "hostPort", "hostIP"]);
    }
    for variable in items_mut(container, "env") {
        drop_zeros(variable, &["value"]);
        if let Some(source) = object_mut(variable, "valueFrom") {
            field_ref(source);
            if let Some(reference) = object_mut(source, "resourceFieldRef") {
                set_default(reference, "divisor", "0");
                drop_zeros(reference, &["containerName"]);
            }
            if let Some(file) = object_mut(source, "fileKeyRef") {
                set_default(file, "optional", false);
            }
        }
    }
    for source in items_mut(container, "envFrom") {
        drop_zeros(source, &["prefix"]);
    }
    for mount in items_mut(container, "volumeMounts") {
        drop_zeros(mount, &["readOnly", "subPath", "subPathExpr"]);
    }
    if let Some(resources) = object_mut(container, "resources") {
        drop_empty(resources, &["limits", "requests", "claims"]);
        round_amounts(resources, "limits");
        round_amounts(resources, "requests");
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = object_mut(container, name) {
            number_default(probe, "timeoutSeconds", 1);
            number_default(probe, "periodSeconds", 10);
            number_default(probe, "successThreshold", 1);
            number_default(probe, "failureThreshold", 3);
            drop_zeros(probe, &["initialDelaySeconds"]);
            http_get(probe);
            if let Some(grpc) = object_mut(probe, "grpc")
                && !grpc.has("service")
            {
                set(grpc, "service", "");
            }
        }
    }
    if let Some(lifecycle) = object_mut(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(handler) = object_mut(lifecycle, name) {
                http_get(handler);
            }
        }
    }
}

fn http_get(handler: &mut Value) {
    if let Some(action) = object_mut(handler, "httpGet") {
        set_default(action, "path", "/");
        set_default(action, "scheme", "HTTP");
        drop_zeros(action, &["host"]);
    }
}

fn pull_policy(image: &str) -> &'static str {
    match ImageName::parse(image) {
        Some(name) if name.tag == "latest" => "Always",
        _ => "IfNotPresent",
    }
}

fn field_ref(source: &mut Value) {
    if let Some(reference) = object_mut(source, "fieldRef") {
        set_default(reference, "apiVersion", "v1");
    }
}

const FILE_MODE: i64 = 0o644;

/// Defaults a volume; one without any source is an emptyDir.
fn volume(volume: &mut Value) {
    let sources =
        volume.as_object().map_or(0, |map| map.iter().filter(|(k, v)| *k != "name" && !v.is_null()).count());
    if sources == 0 {
        set(volume, "emptyDir", json!({}));
    }
    source(volume);
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = object_mut(volume, name) {
            set_default(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(source) = object_mut(volume, "emptyDir") {
        drop_zeros(source, &["medium"]);
    }
    if let Some(source) = object_mut(volume, "persistentVolumeClaim") {
        drop_zeros(source, &["readOnly"]);
    }
    if let Some(source) = object_mut(volume, "downwardAPI") {
        downward_items(source);
    }
    if let Some(projected) = object_mut(volume, "projected") {
        for source in items_mut(projected, "sources") {
            if let Some(downward) = object_mut(source, "downwardAPI") {
                downward_items(downward);
            }
            if let Some(token) = object_mut(source, "serviceAccountToken") {
                set_default(token, "expirationSeconds", 3600);
                drop_zeros(token, &["audience"]);
            }
            if let Some(certificate) = object_mut(source, "podCertificate") {
                set_default(certificate, "maxExpirationSeconds", 86400);
            }
        }
    }
    if let Some(ephemeral) = object_mut(volume, "ephemeral")
        && let Some(template) = object_mut(ephemeral, "volumeClaimTemplate")
    {
        map_at(template, "metadata");
        claim_spec(field_at(template, "spec"));
    }
    if let Some(image) = object_mut(volume, "image") {
        let policy = pull_policy(image.text("reference"));
        set_default(image, "pullPolicy", policy);
    }
}

fn downward_items(source: &mut Value) {
    for item in items_mut(source, "items") {
        field_ref(item);
        if let Some(reference) = object_mut(item, "resourceFieldRef") {
            set_default(reference, "divisor", "0");
        }
    }
}

/// Defaults the sources that volumes of Pods and PersistentVolumes share.
pub(super) fn source(holder: &mut Value) {
    if let Some(path) = object_mut(holder, "hostPath")
        && !path.has("type")
    {
        set(path, "type", "");
    }
    if let Some(iscsi) = object_mut(holder, "iscsi") {
        set_default(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = object_mut(holder, "rbd") {
        set_default(rbd, "pool", "rbd");
        set_default(rbd, "user", "admin");
        set_default(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = object_mut(holder, "azureDisk") {
        set_default(disk, "cachingMode", "ReadWrite");
        set_default(disk, "kind", "Shared");
        set_default(disk, "fsType", "ext4");
        set_default(disk, "readOnly", false);
    }
    if let Some(scale) = object_mut(holder, "scaleIO") {
        set_default(scale, "storageMode", "ThinProvisioned");
        set_default(scale, "fsType", "xfs");
    }
}

fn requests_from_limits(container: &mut Value) {
    let limits = container.dig(&["resources", "limits"]).clone();
    if let Value::Object(limits) = limits
        && !limits.is_empty()
    {
        let requests = map_at(field_at(container, "resources"), "requests");
        for (name, amount) in limits {
            requests.entry(name).or_insert(amount);
        }
    }
}

/// Requests of a Pod that has limits of its own: what its containers request, else its limits.
fn pod_level_requests(spec: &mut Value) {
    let limits = amounts(spec.dig(&["resources", "limits"]));
    if limits.is_empty() {
        return;
    }
    let asked = containers(spec, "requests");
    let requests = map_at(field_at(spec, "resources"), "requests");
    for (name, amount) in asked {
        if is_pod_level(&name) && !name.starts_with("hugepages-") {
            requests.entry(name).or_insert_with(|| amount.into());
        }
    }
    for (name, amount) in limits {
        if is_pod_level(&name) {
            requests.entry(name).or_insert_with(|| amount.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaulted(spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "p"}, "spec": spec});
        pod(&mut object);
        object["spec"].take()
    }

    #[test]
    fn a_minimal_pod_gets_what_a_real_cluster_gives_it() {
        assert_eq!(
            defaulted(json!({"containers": [{"name": "c", "image": "nginx"}]})),
            json!({
                "containers": [{
                    "name": "c", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                }],
                "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
                "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
            })
        );
    }

    #[test]
    fn pull_policies_follow_the_tag() {
        for (image, policy) in [
            ("nginx", "Always"),
            ("nginx:latest", "Always"),
            ("nginx:1.27", "IfNotPresent"),
            ("Nginx", "IfNotPresent"),
            ("", "IfNotPresent"),
            ("nginx@sha256:0123456789012345678901234567890123456789012345678901234567890123", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn probes_ports_volumes_and_fields_are_filled_in() {
        let spec = defaulted(json!({
            "serviceAccount": "sa", "hostNetwork": true,
            "volumes": [{"name": "e"}, {"name": "s", "secret": {"secretName": "x"}}, {"name": "h", "hostPath": {"path": "/etc"}},
                {"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "tok"}},
                    {"downwardAPI": {"items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]}}]}}],
            "containers": [{"name": "c", "image": "a:1", "ports": [{"containerPort": 80}],
                "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                "livenessProbe": {"httpGet": {"port": 80}, "periodSeconds": 2, "failureThreshold": 0},
                "resources": {"limits": {"memory": "16Mi"}, "requests": {"cpu": "0.0005"}}}],
        }));
        assert_eq!(spec["serviceAccountName"], "sa");
        assert_eq!(spec["volumes"][0], json!({"name": "e", "emptyDir": {}}));
        assert_eq!(spec["volumes"][1]["secret"]["defaultMode"], 420);
        assert_eq!(spec["volumes"][2]["hostPath"], json!({"path": "/etc", "type": ""}));
        assert_eq!(spec["volumes"][3]["projected"]["defaultMode"], 420);
        assert_eq!(
            spec["volumes"][3]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"],
            3600
        );
        assert_eq!(
            spec["volumes"][3]["projected"]["sources"][1]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"],
            "v1"
        );
        let container = &spec["containers"][0];
        assert_eq!(container["ports"], json!([{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]));
        assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
        assert_eq!(
            container["livenessProbe"],
            json!({"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "periodSeconds": 2,
                "failureThreshold": 3, "successThreshold": 1, "timeoutSeconds": 1})
        );
        assert_eq!(
            container["resources"],
            json!({"limits": {"memory": "16Mi"}, "requests": {"cpu": "1m", "memory": "16Mi"}})
        );
    }

    #[test]
    fn what_go_would_leave_out_is_left_out() {
        let spec = defaulted(json!({"hostPID": false, "hostUsers": false, "volumes": [],
            "containers": [{"name": "c", "image": "a:1", "tty": false, "env": [{"name": "E", "value": ""}]}]}));
        assert_eq!(spec.get("hostPID"), None);
        assert_eq!(spec.get("volumes"), None);
        assert_eq!(spec["hostUsers"], false);
        assert_eq!(spec["containers"][0].get("tty"), None);
        assert_eq!(spec["containers"][0]["env"], json!([{"name": "E"}]));
    }
}
