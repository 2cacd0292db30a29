//! Pod specs wherever they are, and what they come to: the API's defaults filled in, and what a Pod says for all its
//! containers written into each. Knows no files.

use serde_json::{Map, Value, json};

/// Returns the Pod spec in an object, with the metadata that go with it.
pub(super) fn spec(object: &Value) -> Option<(&Value, &Value)> {
    let template = match object["kind"].as_str()? {
        "Pod" => object,
        "PodTemplate" => &object["template"],
        "CronJob" => &object["spec"]["jobTemplate"]["spec"]["template"],
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicationController" => {
            &object["spec"]["template"]
        }
        _ => return None,
    };
    template["spec"].is_object().then(|| (&template["spec"], &template["metadata"]))
}

/// Fills defaults into a Pod spec.
pub(super) fn filled(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let account = spec["serviceAccount"].as_str().unwrap_or("default").to_owned();
    defaults(
        &mut spec,
        json!({
            "hostNetwork": false, "hostPID": false, "hostIPC": false, "hostUsers": true,
            "shareProcessNamespace": false, "serviceAccountName": account, "restartPolicy": "Always",
            "automountServiceAccountToken": true, "securityContext": {}, "volumes": [], "initContainers": [],
            "ephemeralContainers": [], "containers": [], "hostAliases": [], "nodeSelector": {}, "tolerations": [],
        }),
    );
    spec
}

/// Returns all containers of a Pod spec as they come to.
pub(super) fn containers(spec: &Value, meta: &Value) -> Vec<Value> {
    let mut all = Vec::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in spec[list].as_array().into_iter().flatten().filter(|item| item.is_object()) {
            all.push(effective(container, spec, meta));
        }
    }
    all
}

fn effective(container: &Value, spec: &Value, meta: &Value) -> Value {
    let mut container = container.clone();
    let latest = container["image"].as_str().is_some_and(|image| {
        let name = image.rsplit('/').next().unwrap_or(image);
        !image.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
    });
    defaults(
        &mut container,
        json!({
            "imagePullPolicy": if latest { "Always" } else { "IfNotPresent" },
            "securityContext": {}, "resources": {}, "env": [], "envFrom": [], "volumeMounts": [], "ports": [],
            "volumeDevices": [], "command": [], "args": [],
        }),
    );
    let mut context = Map::new();
    const SHARED: [&str; 7] = [
        "runAsUser",
        "runAsGroup",
        "runAsNonRoot",
        "seccompProfile",
        "appArmorProfile",
        "seLinuxOptions",
        "windowsOptions",
    ];
    for field in SHARED {
        let of_pod = &spec["securityContext"][field];
        if !of_pod.is_null() {
            context.insert(field.to_owned(), of_pod.clone());
        }
    }
    let of_container = container["securityContext"].as_object().cloned().unwrap_or_default();
    // The annotation that came before the field.
    let name = container["name"].as_str().unwrap_or_default();
    let annotation = format!("container.apparmor.security.beta.kubernetes.io/{name}");
    if let Some(profile) = meta["annotations"][&annotation].as_str()
        && !of_container.contains_key("appArmorProfile")
    {
        let profile = match profile.strip_prefix("localhost/") {
            Some(local) => json!({"type": "Localhost", "localhostProfile": local}),
            None if profile == "unconfined" => json!({"type": "Unconfined"}),
            None => json!({"type": "RuntimeDefault"}),
        };
        context.insert("appArmorProfile".to_owned(), profile);
    }
    context.extend(of_container.into_iter().filter(|(_, value)| !value.is_null()));
    let mut context = Value::Object(context);
    defaults(
        &mut context,
        json!({
            "privileged": false, "allowPrivilegeEscalation": true, "readOnlyRootFilesystem": false,
            "runAsNonRoot": false, "procMount": "Default", "capabilities": {},
        }),
    );
    defaults(&mut context["capabilities"], json!({"add": [], "drop": []}));
    container["securityContext"] = context;
    defaults(&mut container["resources"], json!({"limits": {}, "requests": {}}));
    // What is limited and not requested is requested.
    let limits = container["resources"]["limits"].clone();
    defaults(&mut container["resources"]["requests"], limits);
    container
}

/// Sets what is missing or null.
fn defaults(value: &mut Value, defaults: Value) {
    if value.is_null() {
        *value = json!({});
    }
    let (Value::Object(map), Value::Object(defaults)) = (value, defaults) else { return };
    for (key, default) in defaults {
        let entry = map.entry(key).or_insert(Value::Null);
        if entry.is_null() {
            *entry = default;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_pod_says_holds_for_containers_that_say_nothing_else() {
        let spec = json!({
            "securityContext": {"runAsNonRoot": true, "runAsUser": 10, "fsGroup": 5},
            "initContainers": [{"name": "i", "image": "a", "securityContext": {"runAsUser": 0}}],
            "containers": [{"name": "c", "image": "r/a:1", "resources": {"limits": {"cpu": "1"}}, "env": null}],
        });
        let meta =
            json!({"annotations": {"container.apparmor.security.beta.kubernetes.io/c": "localhost/x"}});
        let all = containers(&spec, &meta);
        assert_eq!(all[0]["securityContext"]["runAsUser"], 0);
        assert_eq!(all[0]["imagePullPolicy"], "Always");
        let context = &all[1]["securityContext"];
        assert_eq!((&context["runAsUser"], &context["runAsNonRoot"]), (&json!(10), &json!(true)));
        assert_eq!(context["appArmorProfile"]["localhostProfile"], "x");
        assert_eq!(context["capabilities"], json!({"add": [], "drop": []}));
        assert_eq!(all[1]["resources"]["requests"], json!({"cpu": "1"}));
        assert_eq!(all[1]["env"], json!([]));
        assert!(context["fsGroup"].is_null());
    }
}
