//! What a Pod names: Secrets, ConfigMaps, claims, and whether it is a mirror of a static Pod. Admission and the Node
//! authorizer go by it.

use serde_json::Value;

use super::object::Fields;

/// The annotation of a Pod that mirrors a static one.
pub const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// Tells whether a Pod mirrors a static one.
pub fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"].get(MIRROR_ANNOTATION).is_some()
}

fn list<'a>(object: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.items(name).iter()
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|kind| spec.items(kind))
}

fn named<'a>(names: impl Iterator<Item = &'a Value>) -> impl Iterator<Item = &'a str> {
    names.filter_map(Value::as_str).filter(|name| !name.is_empty())
}

/// Returns the Secrets that a Pod's spec names.
pub fn secrets(spec: &Value) -> impl Iterator<Item = &str> {
    const WITH_SECRET_REF: &[&str] =
        &["azureFile", "cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"];
    let pulls = list(spec, "imagePullSecrets").map(|secret| &secret["name"]);
    let of_containers = containers(spec).flat_map(|container| {
        let sources = list(container, "envFrom").map(|from| &from["secretRef"]["name"]);
        sources.chain(list(container, "env").map(|env| &env["valueFrom"]["secretKeyRef"]["name"]))
    });
    let of_volumes = list(spec, "volumes").flat_map(|volume| {
        let direct = [
            &volume["secret"]["secretName"],
            &volume["azureFile"]["secretName"],
            &volume["csi"]["nodePublishSecretRef"]["name"],
        ];
        let referenced = WITH_SECRET_REF.iter().map(|kind| &volume[*kind]["secretRef"]["name"]);
        let projected = list(&volume["projected"], "sources").map(|source| &source["secret"]["name"]);
        direct.into_iter().chain(referenced).chain(projected)
    });
    named(pulls.chain(of_containers).chain(of_volumes))
}

/// Returns the ConfigMaps that a Pod's spec names.
pub fn config_maps(spec: &Value) -> impl Iterator<Item = &str> {
    let of_containers = containers(spec).flat_map(|container| {
        let sources = list(container, "envFrom").map(|from| &from["configMapRef"]["name"]);
        sources.chain(list(container, "env").map(|env| &env["valueFrom"]["configMapKeyRef"]["name"]))
    });
    let of_volumes = list(spec, "volumes").flat_map(|volume| {
        let projected = list(&volume["projected"], "sources").map(|source| &source["configMap"]["name"]);
        std::iter::once(&volume["configMap"]["name"]).chain(projected)
    });
    named(of_containers.chain(of_volumes))
}

/// Returns the claims that a Pod uses, those made for its ephemeral volumes included.
pub fn claims(pod: &Value) -> Vec<String> {
    let name = pod["metadata"].text("name");
    list(&pod["spec"], "volumes")
        .filter_map(|volume| match volume["persistentVolumeClaim"]["claimName"].as_str() {
            Some(claim) => Some(claim.to_owned()),
            None if volume["ephemeral"].is_object() => Some(format!("{name}-{}", volume.text("name"))),
            None => None,
        })
        .collect()
}

/// Returns the resource claims that a Pod uses, those made from templates included.
pub fn resource_claims(pod: &Value) -> impl Iterator<Item = &str> {
    let named_in_spec = list(&pod["spec"], "resourceClaims").map(|claim| &claim["resourceClaimName"]);
    let made = list(&pod["status"], "resourceClaimStatuses").map(|claim| &claim["resourceClaimName"]);
    named(named_in_spec.chain(made))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_and_config_maps_are_found_wherever_they_are_named() {
        let env =
            |kind: &str, name: &str| json!({"name": "E", "valueFrom": {kind: {"name": name, "key": "k"}}});
        let spec = json!({
            "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"env": [env("secretKeyRef", "init"), env("configMapKeyRef", "cm-init")]}],
            "containers": [{"envFrom": [{"secretRef": {"name": "from"}}, {"configMapRef": {"name": "cm-from"}}]}],
            "ephemeralContainers": [{"env": [env("secretKeyRef", "debug"), {"name": "X", "value": "y"}]}],
            "volumes": [
                {"name": "a", "secret": {"secretName": "volume"}},
                {"name": "b", "configMap": {"name": "cm-volume"}},
                {"name": "c", "projected": {"sources": [{"secret": {"name": "projected"}},
                    {"configMap": {"name": "cm-projected"}}, {"serviceAccountToken": {"path": "t"}}]}},
                {"name": "d", "csi": {"nodePublishSecretRef": {"name": "csi"}}},
                {"name": "e", "rbd": {"secretRef": {"name": "rbd"}}},
                {"name": "f", "emptyDir": {}},
            ],
        });
        let found: Vec<&str> = secrets(&spec).collect();
        assert_eq!(found, ["pull", "init", "from", "debug", "volume", "projected", "csi", "rbd"]);
        let found: Vec<&str> = config_maps(&spec).collect();
        assert_eq!(found, ["cm-init", "cm-from", "cm-volume", "cm-projected"]);
    }

    #[test]
    fn claims_of_ephemeral_volumes_carry_the_pods_name() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"volumes": [
            {"name": "a", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "b", "ephemeral": {}}]}});
        assert_eq!(claims(&pod), ["data", "p-b"]);
    }
}
