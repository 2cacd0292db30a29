//! Resource names, quantities, and what containers and Pods ask for.

use serde_json::Value;

use super::cursor::{At, Faults, NEGATIVE};
use super::names;
use crate::sim::field::{ErrorList, FieldError, Path};
use crate::sim::object::Fields;
use crate::sim::quantity::Quantity;

const STANDARD: [&str; 20] = [
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
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

pub(crate) fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_quota_huge_page(name: &str) -> bool {
    is_huge_page(name) || name.starts_with("requests.hugepages-")
}

fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name) || is_quota_huge_page(name)
}

/// Tells whether a resource quota knows the name without counting objects of a group.
pub(crate) fn is_standard_quota(name: &str) -> bool {
    name != "storage" && is_standard(name)
}

pub(crate) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

fn is_integer(name: &str) -> bool {
    COUNTED.contains(&name) || is_extended(name)
}

pub(crate) fn is_overcommit_allowed(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

fn has_prefix(name: &str) -> bool {
    name.contains('/')
}

/// Validates any resource's name.
pub(crate) fn resource_name(path: &Path, name: &str) -> ErrorList {
    let mut errors = ErrorList::new();
    errors.all(path, name, names::qualified_name(name));
    if errors.is_empty() && !has_prefix(name) && !is_standard(name) {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
    }
    errors
}

/// Validates the name of a resource that a container may ask for.
pub(crate) fn container_resource_name(path: &Path, name: &str) -> ErrorList {
    let mut errors = resource_name(path, name);
    if !has_prefix(name) {
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !is_huge_page(name) {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
    errors
}

fn pod_resource_name(path: &Path, name: &str) -> ErrorList {
    let mut errors = resource_name(path, name);
    if errors.is_empty() && !crate::sim::pod_resources::is_pod_level(name) {
        errors.not_supported(path, name, &["cpu", "hugepages-", "memory"]);
    }
    errors
}

/// Validates the name of a resource that a quota may bound.
pub(crate) fn quota_resource_name(path: &Path, name: &str) -> ErrorList {
    let mut errors = resource_name(path, name);
    if !has_prefix(name) && !is_standard_quota(name) {
        errors.invalid(path, name, "must be a standard resource for quota");
    }
    errors
}

/// Validates an amount: not negative, and whole where things are counted.
pub(crate) fn quantity(errors: &mut ErrorList, name: &str, at: &At<'_>) {
    let amount = Quantity::of(at.value);
    if amount.is_negative() {
        errors.invalid(&at.path, amount, NEGATIVE);
    }
    if is_integer(name) && amount.milli_value() % 1000 != 0 {
        errors.invalid(&at.path, amount, "must be an integer");
    }
}

/// Validates that an amount is above nothing.
pub(crate) fn positive(errors: &mut ErrorList, at: &At<'_>) -> bool {
    let amount = Quantity::of(at.value);
    let wrong = amount <= Quantity::ZERO;
    if wrong {
        errors.invalid(&at.path, amount, super::cursor::NOT_POSITIVE);
    }
    !wrong
}

fn huge_page(errors: &mut ErrorList, name: &str, at: &At<'_>) {
    let amount = Quantity::of(at.value);
    let size = Quantity::parse(name.trim_start_matches("hugepages-")).map_or(0, |size| size.value());
    if size <= 0 || amount.value() % size != 0 {
        errors.invalid(&at.path, amount, format!("{amount} is not positive integer multiple of {name}"));
    }
}

type NameRule = fn(&Path, &str) -> ErrorList;

/// Validates what a container asks for.
pub(crate) fn container(errors: &mut ErrorList, at: &At<'_>, claims: &[&str]) {
    requirements(errors, at, container_resource_name, claims);
}

/// Validates what a Pod asks for as a whole.
pub(crate) fn pod(errors: &mut ErrorList, at: &At<'_>, claims: &[&str]) {
    requirements(errors, at, pod_resource_name, claims);
}

fn requirements(errors: &mut ErrorList, at: &At<'_>, name_rule: NameRule, claims: &[&str]) {
    let (limits, requests) = (at.child("limits"), at.child("requests"));
    let (mut compute, mut huge) = (false, false);
    for (name, limit) in limits.entries() {
        errors.extend(name_rule(&limit.path, name));
        quantity(errors, name, &limit);
        if is_huge_page(name) {
            huge = true;
            huge_page(errors, name, &limit);
        }
        compute |= matches!(name, "cpu" | "memory");
    }
    for (name, request) in requests.entries() {
        errors.extend(name_rule(&request.path, name));
        quantity(errors, name, &request);
        let amount = Quantity::of(request.value);
        if limits.value.has(name) {
            let limit = Quantity::of(limits.value.at(name));
            if amount != limit && !is_overcommit_allowed(name) {
                errors.invalid(&requests.path, amount, format!("must be equal to {name} limit of {limit}"));
            } else if amount > limit {
                errors.invalid(
                    &requests.path,
                    amount,
                    format!("must be less than or equal to {name} limit of {limit}"),
                );
            }
        } else if !is_overcommit_allowed(name) {
            errors.required(&limits.path, "Limit must be set for non overcommitable resources");
        }
        if is_huge_page(name) {
            huge = true;
            huge_page(errors, name, &request);
        }
        compute |= matches!(name, "cpu" | "memory");
    }
    if huge && !compute {
        errors.forbidden(&at.path, "HugePages require cpu or memory");
    }
    claim_names(errors, &at.child("claims"), claims);
}

fn claim_names(errors: &mut ErrorList, at: &At<'_>, known: &[&str]) {
    let mut seen: Vec<String> = Vec::new();
    for claim in at.items() {
        let (name, request) = (claim.value.text("name"), claim.child("request"));
        if name.is_empty() {
            errors.required(&claim.path, "");
            continue;
        }
        if seen.iter().any(|key| key == name) {
            errors.duplicate(&claim.path, name);
        } else {
            let mut key = name.to_owned();
            if !request.str().is_empty() {
                errors.all(&request.path, request.str(), names::dns1123_label(request.str()));
                key = format!("{name}/{}", request.str());
            }
            if seen.contains(&key) {
                errors.duplicate(&claim.path, key.clone());
            } else if request.str().is_empty() {
                let overlaps = seen.iter().filter(|key| key.split_once('/').is_some_and(|(n, _)| n == name));
                for _ in overlaps {
                    errors.push(FieldError::duplicate(&claim.path, name));
                }
            }
            seen.push(key);
        }
        if !known.contains(&name) {
            let mut detail = "must be one of the names in pod.spec.resourceClaims".to_owned();
            if known.is_empty() {
                detail.push_str(" which is empty");
            } else {
                let mut list = known.to_vec();
                list.sort_unstable();
                detail = format!("{detail}: {}", list.join(", "));
            }
            errors.push(FieldError::not_found(&claim.path, name).saying(detail));
        }
    }
}

/// Validates that a Pod's own requests and limits hold those of its containers.
pub(crate) fn pod_holds_containers(errors: &mut ErrorList, spec: &Value, at: &At<'_>) {
    let asked = crate::sim::pod_resources::containers(spec, "requests");
    let requests = at.child("requests");
    for (name, sum) in asked {
        let own = Quantity::of(requests.value.at(&name));
        if sum > own {
            errors.invalid(
                &requests.path.key(&name),
                own,
                format!("must be greater than or equal to aggregate container requests of {sum}"),
            );
        }
    }
    let limits = at.value.at("limits");
    for (index, container) in spec.items("containers").iter().enumerate() {
        for (name, limit) in container.at("resources").entries("limits") {
            if !limits.has(name) {
                continue;
            }
            let (limit, bound) = (Quantity::of(limit), Quantity::of(limits.at(name)));
            if limit > bound {
                errors.invalid(
                    &at.path.child("containers").index(index).key(name).child("limits"),
                    limit,
                    format!("must be less than or equal to pod limits of {bound}"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(resources: Value) -> Vec<String> {
        let mut errors = ErrorList::new();
        container(&mut errors, &At::new(Path::new("r"), &resources), &[]);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn requests_stay_below_limits() {
        assert_eq!(
            texts(json!({"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})),
            ["r.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"]
        );
        assert!(texts(json!({"requests": {"cpu": "1000m"}, "limits": {"cpu": "1"}})).is_empty());
    }

    #[test]
    fn unknown_names_and_odd_amounts_are_told() {
        assert_eq!(
            texts(json!({"limits": {"disk": "1", "memory": "-1"}})),
            [
                "r.limits[disk]: Invalid value: \"disk\": must be a standard resource type or fully qualified",
                "r.limits[disk]: Invalid value: \"disk\": must be a standard resource for containers",
                "r.limits[memory]: Invalid value: \"-1\": must be greater than or equal to 0",
            ]
        );
        assert_eq!(
            texts(json!({"limits": {"example.com/gpu": "1500m"}})),
            ["r.limits[example.com/gpu]: Invalid value: \"1500m\": must be an integer"]
        );
        assert_eq!(
            texts(json!({"requests": {"example.com/gpu": "1"}})),
            ["r.limits: Required value: Limit must be set for non overcommitable resources"]
        );
    }

    #[test]
    fn huge_pages_come_in_whole_pages_and_not_alone() {
        assert_eq!(
            texts(json!({"limits": {"hugepages-2Mi": "3Mi"}, "requests": {"hugepages-2Mi": "3Mi"}})),
            [
                "r.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
                "r.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
                "r: Forbidden: HugePages require cpu or memory",
            ]
        );
    }
}
