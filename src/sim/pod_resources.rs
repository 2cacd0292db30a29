//! What a Pod asks for in all: the sums over its containers, init containers and sidecars, and its quality-of-service
//! class, by upstream's component-helpers. Scheduling, quota and validation count alike.

use std::collections::BTreeMap;

use serde_json::Value;

use super::object::Fields;
use super::quantity::Quantity;

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Quantity>;

/// Reads a resource list, such as `limits`.
pub fn amounts(list: &Value) -> Amounts {
    match list {
        Value::Object(map) => map.iter().map(|(name, value)| (name.clone(), Quantity::of(value))).collect(),
        _ => Amounts::new(),
    }
}

/// Returns what a Pod requests, overhead included; requests of the Pod itself stand before its containers'.
pub fn requests(pod: &Value) -> Amounts {
    total(&pod["spec"], "requests")
}

/// Returns a Pod's limits, overhead included where there is a limit.
pub fn limits(pod: &Value) -> Amounts {
    total(&pod["spec"], "limits")
}

fn total(spec: &Value, which: &str) -> Amounts {
    let mut sum = containers(spec, which);
    for (name, amount) in amounts(spec.dig(&["resources", which])) {
        if is_pod_level(&name) {
            sum.insert(name, amount);
        }
    }
    for (name, amount) in amounts(spec.at("overhead")) {
        if which == "requests" || sum.get(&name).is_some_and(|limit| !limit.is_zero()) {
            let before = sum.get(&name).copied().unwrap_or(Quantity::ZERO);
            sum.insert(name, before.plus(amount));
        }
    }
    sum
}

/// Tells whether a resource may be asked for by a Pod as a whole.
pub fn is_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// Sums `requests` or `limits` over containers: sidecars run beside all that starts after them, other init containers
/// run one by one before the rest.
pub fn containers(spec: &Value, which: &str) -> Amounts {
    let mut running = Amounts::new();
    for container in spec.items("containers") {
        add(&mut running, &amounts(container.dig(&["resources", which])));
    }
    let mut sidecars = Amounts::new();
    let mut starting = Amounts::new();
    for container in spec.items("initContainers") {
        let own = amounts(container.dig(&["resources", which]));
        let mut moment = own.clone();
        if container.text("restartPolicy") == "Always" {
            add(&mut running, &own);
            add(&mut sidecars, &own);
            moment = sidecars.clone();
        } else {
            add(&mut moment, &sidecars);
        }
        raise(&mut starting, &moment);
    }
    raise(&mut running, &starting);
    running
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let before = sum.get(name).copied().unwrap_or(Quantity::ZERO);
        sum.insert(name.clone(), before.plus(*amount));
    }
}

fn raise(sum: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        if sum.get(name).is_none_or(|before| before < amount) {
            sum.insert(name.clone(), *amount);
        }
    }
}

/// Returns a Pod's quality-of-service class: `Guaranteed`, `Burstable` or `BestEffort`.
pub fn qos_class(pod: &Value) -> &'static str {
    let spec = &pod["spec"];
    let compute = |list: &Value| -> Amounts {
        amounts(list)
            .into_iter()
            .filter(|(name, amount)| matches!(name.as_str(), "cpu" | "memory") && *amount > Quantity::ZERO)
            .collect()
    };
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    let mut guaranteed = true;
    let own = spec.at("resources");
    if own.is_null() || (own.entries("requests").is_empty() && own.entries("limits").is_empty()) {
        for container in spec.items("containers").iter().chain(spec.items("initContainers")) {
            let (asked, capped) = (
                compute(container.dig(&["resources", "requests"])),
                compute(container.dig(&["resources", "limits"])),
            );
            guaranteed &= capped.len() == 2;
            add(&mut requests, &asked);
            add(&mut limits, &capped);
        }
    } else {
        requests = compute(own.at("requests"));
        limits = compute(own.at("limits"));
        guaranteed = limits.len() == 2;
    }
    if requests.is_empty() && limits.is_empty() {
        "BestEffort"
    } else if guaranteed && requests == limits {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cpu(amounts: &Amounts) -> String {
        amounts.get("cpu").map(ToString::to_string).unwrap_or_default()
    }

    fn container(cpu: &str) -> Value {
        json!({"resources": {"requests": {"cpu": cpu}}})
    }

    #[test]
    fn init_containers_count_where_they_need_more_than_the_rest() {
        let mut sidecar = container("100m");
        sidecar["restartPolicy"] = json!("Always");
        let pod = json!({"spec": {
            "containers": [container("200m"), container("300m")],
            "initContainers": [container("400m"), sidecar, container("700m")],
            "overhead": {"cpu": "10m"}}});
        // 100m sidecar + 700m beside it is more than 500m + 100m.
        assert_eq!(cpu(&requests(&pod)), "810m");
    }

    #[test]
    fn a_pods_own_requests_stand_before_the_sum() {
        let pod = json!({"spec": {"resources": {"requests": {"cpu": "2"}}, "containers": [container("1")]}});
        assert_eq!(cpu(&requests(&pod)), "2");
    }

    #[test]
    fn the_class_follows_from_requests_and_limits() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        let both = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(qos_class(&pod(json!({}))), "BestEffort");
        assert_eq!(qos_class(&pod(json!({"requests": {"cpu": "1"}}))), "Burstable");
        assert_eq!(qos_class(&pod(json!({"requests": both, "limits": both}))), "Guaranteed");
        assert_eq!(
            qos_class(&pod(json!({"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": both}))),
            "Burstable"
        );
    }
}
