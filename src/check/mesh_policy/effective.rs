//! Istio's rules: which PeerAuthentication decides for a Pod's port, and whether there is a proxy to obey it. Pure.

use serde_json::Value;

use super::{MeshMode, MeshProxy};
use crate::check::{Finding, object};

/// All policies of a mesh.
pub(super) struct Policies<'a> {
    all: Vec<&'a Value>,
    root: &'a str,
}

/// What a port takes, and why.
pub(super) struct Effective {
    pub(super) mode: MeshMode,
    pub(super) why: String,
}

impl<'a> Policies<'a> {
    /// Puts policies in the order in which they decide: the oldest first.
    pub(super) fn new(policies: &'a [Value], root: &'a str) -> Result<Self, Finding> {
        let mut all: Vec<&Value> = policies.iter().filter(|policy| !object::is_going(policy)).collect();
        for policy in &all {
            let spec = &policy["spec"];
            let ports = spec["portLevelMtls"].as_object();
            let modes = ports.into_iter().flatten().map(|(_, of)| &of["mode"]).chain([&spec["mtls"]["mode"]]);
            for mode in modes.filter(|mode| !mode.is_null()) {
                if !["UNSET", "DISABLE", "PERMISSIVE", "STRICT"].iter().any(|known| mode == known) {
                    let label = object::display(policy);
                    return Err(Finding::new(label, "mode", "a mode that Istio knows", object::show(mode)));
                }
            }
        }
        let age = |policy: &&Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            (text(&policy["metadata"]["creationTimestamp"]), text(&policy["metadata"]["name"]))
        };
        all.sort_by_key(age);
        Ok(Self { all, root })
    }

    /// Works out what a port of a Pod takes; `None` is any port that no policy and no annotation names.
    pub(super) fn of(
        &self,
        pod: &Value,
        namespace: &Value,
        proxy: MeshProxy,
        port: Option<u16>,
    ) -> Effective {
        let plain = |why: &str| Effective { mode: MeshMode::Plain, why: why.to_owned() };
        let ambient = match proxy {
            MeshProxy::Running => pod["metadata"]["annotations"]["ambient.istio.io/redirection"] == "enabled",
            MeshProxy::Injected => is_ambient(pod, namespace),
        };
        let sidecar = match proxy {
            MeshProxy::Running => has_sidecar(pod),
            MeshProxy::Injected => is_injected(pod, namespace),
        };
        if !ambient && !sidecar {
            return plain("it has no proxy");
        }
        if sidecar && is_passed_by(pod, port) {
            return plain("an annotation leads the port past the proxy");
        }
        let (mode, why) = self.mode(pod, port);
        let mode = match mode {
            "STRICT" => MeshMode::Strict,
            // Without sidecars mutual TLS cannot be switched off.
            "DISABLE" if !sidecar => MeshMode::Permissive,
            "DISABLE" => MeshMode::Plain,
            _ => MeshMode::Permissive,
        };
        Effective { mode, why }
    }

    /// Returns the policies of a namespace, the oldest first.
    fn in_namespace(&self, namespace: &str) -> Vec<&'a Value> {
        self.all.iter().copied().filter(|policy| policy["metadata"]["namespace"] == namespace).collect()
    }

    fn mode(&self, pod: &Value, port: Option<u16>) -> (&'a str, String) {
        let selects = |policy: &&&Value| !selector(policy).is_empty();
        let of_mesh = self.in_namespace(self.root).into_iter().find(|policy| selector(policy).is_empty());
        let near = self.in_namespace(pod["metadata"]["namespace"].as_str().unwrap_or_default());
        let of_namespace = near.iter().find(|policy| !selects(policy)).copied();
        let of_workload = near.iter().find(|policy| selects(policy) && matches(policy, pod)).copied();
        if let (Some(policy), Some(port)) = (of_workload, port)
            && let Some(mode) = set(&policy["spec"]["portLevelMtls"][port.to_string()]["mode"])
        {
            return (mode, format!("{}, port {port}", object::display(policy)));
        }
        for policy in [of_workload, of_namespace, of_mesh].into_iter().flatten() {
            if let Some(mode) = set(&policy["spec"]["mtls"]["mode"]) {
                return (mode, object::display(policy));
            }
        }
        ("PERMISSIVE", "no policy says otherwise".to_owned())
    }
}

fn set(mode: &Value) -> Option<&str> {
    mode.as_str().filter(|mode| *mode != "UNSET")
}

fn selector(policy: &Value) -> Vec<(&String, &Value)> {
    policy["spec"]["selector"]["matchLabels"].as_object().into_iter().flatten().collect()
}

fn matches(policy: &Value, pod: &Value) -> bool {
    selector(policy).iter().all(|(key, value)| pod["metadata"]["labels"][key.as_str()] == **value)
}

/// Tells whether a proxy runs beside the containers, as one of them or as a native sidecar.
fn has_sidecar(pod: &Value) -> bool {
    let of = |list: &str| pod["spec"][list].as_array().cloned().unwrap_or_default();
    let is = |container: &Value| container["name"] == "istio-proxy";
    of("containers").iter().any(is)
        || of("initContainers")
            .iter()
            .any(|container| is(container) && container["restartPolicy"] == "Always")
}

/// Tells whether a Pod would be given a sidecar: by its own label, else by its namespace's.
fn is_injected(pod: &Value, namespace: &Value) -> bool {
    if has_sidecar(pod) {
        return true;
    }
    if pod["spec"]["hostNetwork"] == true {
        return false;
    }
    let (own, of_namespace) = (&pod["metadata"]["labels"], &namespace["metadata"]["labels"]);
    let inject = own["sidecar.istio.io/inject"]
        .as_str()
        .or_else(|| pod["metadata"]["annotations"]["sidecar.istio.io/inject"].as_str());
    match of_namespace["istio-injection"].as_str() {
        Some("enabled") => inject != Some("false"),
        Some("disabled") => false,
        _ if of_namespace["istio.io/rev"].is_string() => inject != Some("false"),
        _ => inject == Some("true") || (own["istio.io/rev"].is_string() && inject != Some("false")),
    }
}

fn is_ambient(pod: &Value, namespace: &Value) -> bool {
    const LABEL: &str = "istio.io/dataplane-mode";
    match pod["metadata"]["labels"][LABEL].as_str() {
        Some(mode) => mode == "ambient",
        None => namespace["metadata"]["labels"][LABEL] == "ambient" && pod["spec"]["hostNetwork"] != true,
    }
}

/// Tells whether what comes in on a port does not go through the sidecar.
fn is_passed_by(pod: &Value, port: Option<u16>) -> bool {
    let annotation = |name: &str| {
        pod["metadata"]["annotations"][format!("traffic.sidecar.istio.io/{name}")].as_str().map(|text| {
            text.split(',')
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
        })
    };
    let number = port.map(|port| port.to_string());
    let excluded = annotation("excludeInboundPorts").unwrap_or_default();
    if number.as_ref().is_some_and(|number| excluded.contains(number)) {
        return true;
    }
    match annotation("includeInboundPorts") {
        Some(included) if !included.iter().any(|one| one == "*") => {
            number.is_none_or(|number| !included.contains(&number))
        }
        _ => false,
    }
}

/// Returns the ports that the containers declare, the proxy's own left out.
pub(super) fn ports(pod: &Value) -> Vec<u16> {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    containers
        .filter(|container| container["name"] != "istio-proxy")
        .flat_map(|container| container["ports"].as_array().into_iter().flatten())
        .filter_map(|port| port["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(namespace: &str, name: &str, created: &str, spec: Value) -> Value {
        json!({
            "kind": "PeerAuthentication",
            "metadata": {"namespace": namespace, "name": name, "creationTimestamp": created},
            "spec": spec,
        })
    }

    #[test]
    fn the_closest_and_then_the_oldest_policy_decides() {
        let app = json!({"matchLabels": {"app": "a"}});
        let policies = [
            policy("istio-system", "mesh", "1", json!({"mtls": {"mode": "STRICT"}})),
            policy("shop", "later", "3", json!({"mtls": {"mode": "DISABLE"}})),
            policy("shop", "first", "2", json!({"mtls": {"mode": "PERMISSIVE"}})),
            policy(
                "shop",
                "app",
                "4",
                json!({"selector": app, "portLevelMtls": {"81": {"mode": "DISABLE"}, "82": {"mode": "STRICT"}}}),
            ),
        ];
        let policies = Policies::new(&policies, "istio-system").unwrap();
        let pod = |namespace: &str, app: &str, proxy: Value| json!({"kind": "Pod", "metadata": {"namespace": namespace, "name": "p", "labels": {"app": app}}, "spec": proxy});
        let sidecar = || json!({"containers": [{"name": "a"}, {"name": "istio-proxy"}]});
        let native = || json!({"initContainers": [{"name": "istio-proxy", "restartPolicy": "Always"}]});
        let of = |pod: Value, port| policies.of(&pod, &json!({}), MeshProxy::Running, port).mode;
        assert_eq!(of(pod("other", "b", sidecar()), None), MeshMode::Strict);
        assert_eq!(of(pod("shop", "b", native()), Some(80)), MeshMode::Permissive);
        assert_eq!(of(pod("shop", "a", sidecar()), Some(80)), MeshMode::Permissive);
        assert_eq!(of(pod("shop", "a", sidecar()), Some(81)), MeshMode::Plain);
        assert_eq!(of(pod("shop", "a", sidecar()), Some(82)), MeshMode::Strict);
        assert_eq!(
            of(pod("shop", "a", json!({"initContainers": [{"name": "istio-proxy"}]})), Some(82)),
            MeshMode::Plain
        );
    }
}
