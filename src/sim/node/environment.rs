//! The environment of a container, as the kubelet composes it from the Pod, ConfigMaps, Secrets and Services.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::sim::meta;
use crate::sim::quantity::Quantity;
use crate::sim::resource::GroupResource;
use crate::sim::store::Store;

const SECRETS: GroupResource = GroupResource::of("", "secrets");
const CONFIG_MAPS: GroupResource = GroupResource::of("", "configmaps");
const SERVICES: GroupResource = GroupResource::of("", "services");

/// Decodes a value of a Secret.
pub(super) fn secret_text(value: &Value) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default());
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// Composes the environment.
///
/// # Errors
/// What is missing, in the kubelet's words.
pub(super) fn compose(
    store: &Store,
    pod: &Value,
    container: &Value,
    node: &Value,
) -> Result<BTreeMap<String, String>, String> {
    let namespace = meta::namespace(pod);
    let mut env = BTreeMap::new();
    if pod["spec"]["enableServiceLinks"] != false {
        services(store, namespace, &mut env);
    } else {
        services(store, "", &mut env);
    }
    for source in meta::items(&container["envFrom"]) {
        let prefix = source["prefix"].as_str().unwrap_or_default();
        for (field, resource, kind) in
            [("configMapRef", &CONFIG_MAPS, "configmap"), ("secretRef", &SECRETS, "secret")]
        {
            let Some(name) = source[field]["name"].as_str() else { continue };
            match store.get(resource, namespace, name) {
                Some(entry) => {
                    for (key, value) in entry.object["data"].as_object().into_iter().flatten() {
                        let text = if kind == "secret" { secret_text(value) } else { plain(value) };
                        env.insert(format!("{prefix}{key}"), text);
                    }
                }
                None if source[field]["optional"] == true => {}
                None => return Err(format!("{kind} {name:?} not found")),
            }
        }
    }
    for variable in meta::items(&container["env"]) {
        let name = variable["name"].as_str().unwrap_or_default();
        let from = &variable["valueFrom"];
        let value = if from.is_null() {
            Some(expand(variable["value"].as_str().unwrap_or_default(), &env))
        } else {
            referenced(store, pod, container, node, from)?
        };
        if let Some(value) = value {
            env.insert(name.to_owned(), value);
        }
    }
    Ok(env)
}

fn plain(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn referenced(
    store: &Store,
    pod: &Value,
    container: &Value,
    node: &Value,
    from: &Value,
) -> Result<Option<String>, String> {
    let namespace = meta::namespace(pod);
    let sources = [
        ("configMapKeyRef", &CONFIG_MAPS, "configmap", "ConfigMap"),
        ("secretKeyRef", &SECRETS, "secret", "Secret"),
    ];
    for (field, resource, lower, kind) in sources {
        let reference = &from[field];
        if reference.is_null() {
            continue;
        }
        let name = reference["name"].as_str().unwrap_or_default();
        let key = reference["key"].as_str().unwrap_or_default();
        let optional = reference["optional"] == true;
        let Some(entry) = store.get(resource, namespace, name) else {
            return if optional { Ok(None) } else { Err(format!("{lower} {name:?} not found")) };
        };
        return match (&entry.object["data"][key], &entry.object["binaryData"][key]) {
            (Value::Null, Value::Null) if optional => Ok(None),
            (Value::Null, Value::Null) => {
                Err(format!("couldn't find key {key} in {kind} {namespace}/{name}"))
            }
            (Value::Null, value) => Ok(Some(secret_text(value))),
            (value, _) if kind == "Secret" => Ok(Some(secret_text(value))),
            (value, _) => Ok(Some(plain(value))),
        };
    }
    if let Some(path) = from["fieldRef"]["fieldPath"].as_str() {
        return Ok(Some(field(pod, path)));
    }
    let reference = &from["resourceFieldRef"];
    if let Some(resource) = reference["resource"].as_str() {
        let named = reference["containerName"].as_str();
        let of = named.and_then(|name| meta::items(&pod["spec"]["containers"]).find(|c| c["name"] == name));
        return Ok(Some(amount(of.unwrap_or(container), node, resource, &reference["divisor"])));
    }
    Ok(None)
}

/// Returns a field of a Pod by its downward path.
pub(super) fn field(pod: &Value, path: &str) -> String {
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        return plain(&pod["metadata"][map.trim_start_matches("metadata.")][key]);
    }
    if matches!(path, "metadata.labels" | "metadata.annotations") {
        let map = &pod["metadata"][path.trim_start_matches("metadata.")];
        let lines: Vec<String> = meta::texts(map).map(|(key, value)| format!("{key}={value:?}")).collect();
        return lines.join("\n");
    }
    let mut value = pod;
    for part in path.split('.') {
        value = &value[part];
    }
    plain(value)
}

fn amount(container: &Value, node: &Value, resource: &str, divisor: &Value) -> String {
    let (list, name) = resource.split_once('.').unwrap_or(("limits", resource));
    let value = match &container["resources"][list][name] {
        // Without a limit the node is the limit.
        Value::Null if list == "limits" => &node["status"]["allocatable"][name],
        value => value,
    };
    let quantity = if value.is_null() { Quantity::ZERO } else { Quantity::of(value) };
    let divisor = match divisor.as_str() {
        None | Some("" | "0") => 1.0,
        Some(_) => Quantity::of(divisor).as_f64(),
    };
    format!("{:.0}", (quantity.as_f64() / divisor).ceil())
}

/// Replaces `$(NAME)` of known names; `$$` is a dollar.
pub(super) fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$$") {
            out.push('$');
            rest = after;
            continue;
        }
        let reference = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')'));
        match reference.and_then(|(name, after)| env.get(name).map(|value| (value, after))) {
            Some((value, after)) => {
                out.push_str(value);
                rest = after;
            }
            None => {
                out.push('$');
                rest = &rest[1..];
            }
        }
    }
    out + rest
}

/// Adds the variables of `kubernetes` and of the namespace's Services that have an address.
fn services(store: &Store, namespace: &str, env: &mut BTreeMap<String, String>) {
    let own = store.list(&SERVICES, Some(namespace));
    let api = store.get(&SERVICES, "default", "kubernetes");
    let of_namespace = if namespace.is_empty() { Vec::new() } else { own };
    for entry in api.iter().chain(of_namespace.iter().filter(|entry| entry.namespace() == namespace)) {
        let spec = &entry.object["spec"];
        let Some(address) = spec["clusterIP"].as_str().filter(|ip| !ip.is_empty() && *ip != "None") else {
            continue;
        };
        let name = entry.name().to_uppercase().replace('-', "_");
        env.insert(format!("{name}_SERVICE_HOST"), address.to_owned());
        for (index, port) in meta::items(&spec["ports"]).enumerate() {
            let number = meta::int(&port["port"], 0);
            let protocol = port["protocol"].as_str().unwrap_or("TCP");
            let lower = protocol.to_lowercase();
            if index == 0 {
                env.insert(format!("{name}_SERVICE_PORT"), number.to_string());
                env.insert(format!("{name}_PORT"), format!("{lower}://{address}:{number}"));
            }
            if let Some(port_name) = port["name"].as_str().filter(|n| !n.is_empty()) {
                let port_name = port_name.to_uppercase().replace('-', "_");
                env.insert(format!("{name}_SERVICE_PORT_{port_name}"), number.to_string());
            }
            let prefix = format!("{name}_PORT_{number}_{protocol}");
            env.insert(prefix.clone(), format!("{lower}://{address}:{number}"));
            env.insert(format!("{prefix}_PROTO"), lower);
            env.insert(format!("{prefix}_PORT"), number.to_string());
            env.insert(format!("{prefix}_ADDR"), address.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_are_expanded_and_unknown_ones_stay() {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(expand("x$(A)y $(NOPE) $$(A) $B", &env), "x1y $(NOPE) $(A) $B");
    }

    #[test]
    fn what_is_missing_is_named_as_the_kubelet_does() {
        let store = Store::in_memory();
        let secret = json!({"metadata": {"name": "has", "namespace": "ns"}, "data": {"a": "MQ=="}});
        store.create(&SECRETS, "ns", "has", secret).unwrap();
        let pod = json!({"metadata": {"name": "p", "namespace": "ns", "labels": {"app": "web"}}});
        let of = |container: Value| compose(&store, &pod, &container, &Value::Null);
        let key = |name: &str, key: &str| json!({"env": [{"name": "V", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}]});
        assert_eq!(of(key("has", "a")).unwrap()["V"], "1");
        assert_eq!(of(key("has", "nokey")).unwrap_err(), "couldn't find key nokey in Secret ns/has");
        assert_eq!(of(key("nosuch", "a")).unwrap_err(), "secret \"nosuch\" not found");
        let all = json!({"envFrom": [{"configMapRef": {"name": "nosuch"}}]});
        assert_eq!(of(all).unwrap_err(), "configmap \"nosuch\" not found");
        let label = json!({"env": [{"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}]});
        assert_eq!(of(label).unwrap()["L"], "web");
    }
}
