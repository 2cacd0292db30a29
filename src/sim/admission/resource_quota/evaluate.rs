//! What one object costs: Pods, Services and claims by what they ask for, everything by its number.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::scopes;
use crate::sim::admission::pods::{items, text};
use crate::sim::admission::{AdmissionRequest, Operation};
use crate::sim::pod_resources::{self, Amounts, amounts};
use crate::sim::quantity::{Format, Quantity};
use crate::sim::resource::GroupResource;
use crate::sim::selectors::Requirement;

const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
const POD_RESOURCES: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
/// What each container must say when a quota limits it.
const MUST_SPECIFY: &[&str] =
    &["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
const SERVICE_RESOURCES: &[&str] = &["services", "services.nodeports", "services.loadbalancers"];
const CLAIM_RESOURCES: &[&str] = &["persistentvolumeclaims", "requests.storage"];
/// Core resources that are counted under their own name, without `count/`.
const COUNTED_BY_NAME: &[&str] = &["configmaps", "resourcequotas", "replicationcontrollers", "secrets"];
const VIRTUAL: &[&str] = &[
    "bindings",
    "componentstatuses",
    "events",
    "tokenreviews",
    "selfsubjectreviews",
    "subjectaccessreviews",
    "localsubjectaccessreviews",
    "selfsubjectaccessreviews",
    "selfsubjectrulesreviews",
];

/// Tells whether a request can change what a quota counts.
pub(super) fn handles(request: &AdmissionRequest) -> bool {
    if VIRTUAL.contains(&request.resource.as_str()) {
        return false;
    }
    let is_core = request.group.is_empty();
    match (request.operation, request.subresource.as_str()) {
        (Operation::Create, "") => true,
        (Operation::Update, "") => match request.resource.as_str() {
            "services" | "persistentvolumeclaims" => is_core,
            "pods" => is_core && is_terminating(request.object()) != is_terminating(request.old()),
            _ => false,
        },
        (Operation::Update, "resize") => is_core && request.resource == "pods",
        _ => false,
    }
}

/// Tells whether a quota limits anything about an object.
pub(super) fn matches(resource: &GroupResource, quota: &Value, object: &Value) -> bool {
    let hard = amounts(&quota["status"]["hard"]);
    !matching(resource, hard.keys()).is_empty()
        && scopes(quota).iter().all(|scope| in_scope(resource, scope, object))
}

/// Returns those of the limited names that objects of a resource count towards.
pub(super) fn matching<'a>(resource: &GroupResource, names: impl Iterator<Item = &'a String>) -> Vec<String> {
    let own_count = format!("count/{resource}");
    let is_core = resource.group.is_empty();
    let counts = |name: &str| {
        if name == own_count {
            return true;
        }
        match &*resource.resource {
            "pods" if is_core => {
                POD_RESOURCES.contains(&name)
                    || name.starts_with("hugepages-")
                    || name.starts_with("requests.hugepages-")
                    || name.strip_prefix("requests.").is_some_and(is_extended)
            }
            "services" if is_core => SERVICE_RESOURCES.contains(&name),
            "persistentvolumeclaims" if is_core => {
                CLAIM_RESOURCES.contains(&name)
                    || name
                        .split_once(STORAGE_CLASS)
                        .is_some_and(|(_, resource)| CLAIM_RESOURCES.contains(&resource))
            }
            other => is_core && other == name && COUNTED_BY_NAME.contains(&name),
        }
    };
    names.filter(|name| counts(name)).cloned().collect()
}

/// Returns the resource that a name such as `count/deployments.apps` or `secrets` counts.
pub(super) fn counted_by(name: &str) -> Option<GroupResource> {
    if let Some(counted) = name.strip_prefix("count/") {
        let (resource, group) = counted.split_once('.').unwrap_or((counted, ""));
        return Some(GroupResource::named(group, resource));
    }
    COUNTED_BY_NAME.contains(&name).then(|| GroupResource::named("", name))
}

/// Tells whether an extended resource, such as `example.com/gpu`, is meant.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.split('/').next().is_some_and(|domain| domain.ends_with("kubernetes.io"))
        || name.starts_with("deviceclass.resource.kubernetes.io/")
}

/// Tells whether an object falls into a scope; only Pods and claims fall into any.
pub(super) fn in_scope(resource: &GroupResource, scope: &Value, object: &Value) -> bool {
    if !resource.group.is_empty() {
        return false;
    }
    let spec = &object["spec"];
    match (&*resource.resource, text(scope, "scopeName")) {
        ("pods", "Terminating") => is_terminating(object),
        ("pods", "NotTerminating") => !is_terminating(object),
        ("pods", "BestEffort") => pod_resources::qos_class(object) == "BestEffort",
        ("pods", "NotBestEffort") => pod_resources::qos_class(object) != "BestEffort",
        ("pods", "PriorityClass") => selects(scope, text(spec, "priorityClassName")),
        ("pods", "CrossNamespacePodAffinity") => crosses_namespaces(spec),
        ("persistentvolumeclaims", "VolumeAttributesClass") => {
            selects(scope, text(spec, "volumeAttributesClassName"))
        }
        _ => false,
    }
}

fn selects(scope: &Value, name: &str) -> bool {
    let value = (!name.is_empty()).then_some(name);
    let expression = json!({
        "key": "name", "operator": scope["operator"], "values": scope["values"],
    });
    Requirement::from_expression(&expression).is_ok_and(|requirement| requirement.holds(value))
}

fn is_terminating(pod: &Value) -> bool {
    pod["spec"]["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0)
}

fn crosses_namespaces(spec: &Value) -> bool {
    let crosses =
        |term: &Value| term["namespaceSelector"].is_object() || items(&term["namespaces"]).next().is_some();
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let affinity = &spec["affinity"][*kind];
        items(&affinity["requiredDuringSchedulingIgnoredDuringExecution"]).any(crosses)
            || items(&affinity["preferredDuringSchedulingIgnoredDuringExecution"])
                .any(|weighted| crosses(&weighted["podAffinityTerm"]))
    })
}

/// Checks that a Pod's containers say what the quota limits.
pub(super) fn constraints(resource: &GroupResource, limited: &[String], pod: &Value) -> Result<(), String> {
    let spec = &pod["spec"];
    let of_pod = &spec["resources"];
    let has_own = ["requests", "limits"].iter().any(|which| {
        of_pod[*which].as_object().is_some_and(|own| own.keys().any(|name| pod_resources::is_pod_level(name)))
    });
    if *resource != crate::sim::admission::pods::PODS || has_own {
        return Ok(());
    }
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in items(&spec["containers"]).chain(items(&spec["initContainers"])) {
        let own = compute(
            &amounts(&container["resources"]["requests"]),
            &amounts(&container["resources"]["limits"]),
        );
        for name in limited.iter().filter(|name| MUST_SPECIFY.contains(&name.as_str())) {
            if !own.contains_key(name) {
                missing.entry(name).or_default().insert(text(container, "name"));
            }
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let parts: Vec<String> = missing
        .into_iter()
        .map(|(name, containers)| {
            format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(","))
        })
        .collect();
    Err(format!("must specify {}", parts.join("; ")))
}

/// Returns what an object costs.
pub(super) fn usage(resource: &GroupResource, object: &Value, now: Timestamp) -> Amounts {
    let mut usage = Amounts::from([(format!("count/{resource}"), one())]);
    if resource.group.is_empty() {
        match &*resource.resource {
            "pods" => usage.extend(of_pod(object, now)),
            "services" => usage.extend(of_service(object)),
            "persistentvolumeclaims" => usage.extend(of_claim(object)),
            name if COUNTED_BY_NAME.contains(&name) => {
                usage.insert(name.to_owned(), one());
            }
            _ => {}
        }
    }
    usage
}

fn one() -> Quantity {
    Quantity::units(1, Format::DecimalSi)
}

fn of_pod(pod: &Value, now: Timestamp) -> Amounts {
    if matches!(text(&pod["status"], "phase"), "Failed" | "Succeeded") || is_overdue(pod, now) {
        return Amounts::new();
    }
    let mut usage = compute(&pod_resources::requests(pod), &pod_resources::limits(pod));
    usage.insert("pods".to_owned(), one());
    usage
}

/// Tells whether a Pod should have been gone by now: its node may never say so.
fn is_overdue(pod: &Value, now: Timestamp) -> bool {
    let metadata = &pod["metadata"];
    let (Some(at), Some(grace)) =
        (metadata["deletionTimestamp"].as_str(), metadata["deletionGracePeriodSeconds"].as_i64())
    else {
        return false;
    };
    at.parse::<Timestamp>()
        .ok()
        .and_then(|at| at.checked_add(SignedDuration::from_secs(grace)).ok())
        .is_some_and(|end| now > end)
}

fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut usage = Amounts::new();
    for (name, amount) in requests {
        match name.as_str() {
            "cpu" | "memory" | "ephemeral-storage" => {
                usage.insert(name.clone(), *amount);
            }
            name if name.starts_with("hugepages-") => {
                usage.insert(name.to_owned(), *amount);
            }
            name if is_extended(name) => {}
            _ => continue,
        }
        usage.insert(format!("requests.{name}"), *amount);
    }
    for (name, amount) in limits {
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            usage.insert(format!("limits.{name}"), *amount);
        }
    }
    usage
}

fn of_service(service: &Value) -> Amounts {
    let spec = &service["spec"];
    let all = items(&spec["ports"]).count();
    let chosen = items(&spec["ports"]).filter(|port| port["nodePort"].as_i64().unwrap_or(0) != 0).count();
    let (node_ports, balancers) = match text(spec, "type") {
        "NodePort" => (all, 0),
        "LoadBalancer" if spec["allocateLoadBalancerNodePorts"] == false => (chosen, 1),
        "LoadBalancer" => (all, 1),
        _ => (0, 0),
    };
    let units = |count: usize| Quantity::units(i64::try_from(count).unwrap_or(i64::MAX), Format::DecimalSi);
    Amounts::from([
        ("services".to_owned(), one()),
        ("services.nodeports".to_owned(), units(node_ports)),
        ("services.loadbalancers".to_owned(), units(balancers)),
    ])
}

fn of_claim(claim: &Value) -> Amounts {
    let mut usage = Amounts::from([("persistentvolumeclaims".to_owned(), one())]);
    let annotated = claim["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_str();
    let class = annotated.or_else(|| claim["spec"]["storageClassName"].as_str()).unwrap_or_default();
    if let Some(asked) = amounts(&claim["spec"]["resources"]["requests"]).get("storage") {
        let allocated = amounts(&claim["status"]["allocatedResources"]).get("storage").copied();
        usage.insert(
            "requests.storage".to_owned(),
            allocated.map_or(*asked, |allocated| allocated.max(*asked)),
        );
    }
    if !class.is_empty() {
        let of_class: Vec<(String, Quantity)> =
            usage.iter().map(|(name, amount)| (format!("{class}{STORAGE_CLASS}{name}"), *amount)).collect();
        usage.extend(of_class);
    }
    usage
}
