//! LimitRanger: gives containers the requests and limits that a LimitRange defaults, and holds Pods and claims to its
//! bounds.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::pods::{PODS, items, text};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::{field_at, items_mut, map_at};
use crate::sim::pod_resources::{self, Amounts, amounts};
use crate::sim::quantity::Quantity;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

static LIMIT_RANGES: GroupResource = GroupResource::of("", "limitranges");
static CLAIMS: GroupResource = GroupResource::of("", "persistentvolumeclaims");

/// The plugin.
#[derive(Debug, Default)]
pub struct LimitRanger;

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !is_subject(request) || !request.concerns(&PODS) {
            return Ok(());
        }
        for range in cx.list(&LIMIT_RANGES, Some(&request.namespace)) {
            if let Some(pod) = request.object.as_mut() {
                set_defaults(pod, &range);
            }
        }
        Ok(())
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !is_subject(request) {
            return Ok(());
        }
        for range in cx.list(&LIMIT_RANGES, Some(&request.namespace)) {
            let faults = if request.concerns(&PODS) {
                pod_faults(request.object(), &range)
            } else {
                claim_faults(request.object(), &range)
            };
            if !faults.is_empty() {
                return Err(request.forbidden(aggregate(faults)));
            }
        }
        Ok(())
    }
}

/// Pods when they are made or resized, and claims, but nothing that is going.
fn is_subject(request: &AdmissionRequest) -> bool {
    if request.old()["metadata"]["deletionTimestamp"].is_string() {
        return false;
    }
    match request.operation {
        Operation::Create => request.is_for(&PODS) || request.is_for(&CLAIMS),
        Operation::Update => {
            request.is_for(&CLAIMS) || (request.concerns(&PODS) && request.subresource == "resize")
        }
        _ => false,
    }
}

fn set_defaults(pod: &mut Value, range: &Value) {
    let (mut requests, mut limits) = (BTreeMap::new(), BTreeMap::new());
    for limit in items(&range["spec"]["limits"]).filter(|limit| limit["type"] == "Container") {
        for (field, into) in [("defaultRequest", &mut requests), ("default", &mut limits)] {
            for (name, value) in limit[field].as_object().into_iter().flatten() {
                into.insert(name.clone(), value.clone());
            }
        }
    }
    let mut notes = Vec::new();
    let spec = field_at(pod, "spec");
    for (list, kind) in [("containers", "container"), ("initContainers", "init container")] {
        for container in items_mut(spec, list) {
            let name = text(container, "name").to_owned();
            // Limits are looked at first, and noted second.
            let set_limits = fill(container, "limits", &limits);
            let set_requests = fill(container, "requests", &requests);
            for (set, what) in [(set_requests, "request"), (set_limits, "limit")] {
                if !set.is_empty() {
                    notes.push(format!("{} {what} for {kind} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        map_at(field_at(pod, "metadata"), "annotations").insert(ANNOTATION.to_owned(), json!(note));
    }
}

/// Adds what is missing and returns its names in order.
fn fill(container: &mut Value, which: &str, defaults: &BTreeMap<String, Value>) -> Vec<String> {
    let missing: Vec<String> = defaults
        .keys()
        .filter(|name| container["resources"][which].get(name.as_str()).is_none())
        .cloned()
        .collect();
    if !missing.is_empty() {
        let own = map_at(field_at(container, "resources"), which);
        for name in &missing {
            own.insert(name.clone(), defaults[name].clone());
        }
    }
    missing
}

fn pod_faults(pod: &Value, range: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let mut faults = Vec::new();
    for limit in items(&range["spec"]["limits"]) {
        match text(limit, "type") {
            "Container" => {
                for container in items(&spec["containers"]).chain(items(&spec["initContainers"])) {
                    let resources = &container["resources"];
                    check(
                        limit,
                        &amounts(&resources["requests"]),
                        &amounts(&resources["limits"]),
                        &mut faults,
                    );
                }
            }
            "Pod" => check(limit, &of_pod(spec, "requests"), &of_pod(spec, "limits"), &mut faults),
            _ => {}
        }
    }
    faults
}

/// Sums what a Pod asks for without the overhead of its runtime.
fn of_pod(spec: &Value, which: &str) -> Amounts {
    let mut sum = pod_resources::containers(spec, which);
    let own = amounts(&spec["resources"][which]);
    sum.extend(own.into_iter().filter(|(name, _)| pod_resources::is_pod_level(name)));
    sum
}

fn claim_faults(claim: &Value, range: &Value) -> Vec<String> {
    let requests = amounts(&claim["spec"]["resources"]["requests"]);
    let mut faults = Vec::new();
    for limit in items(&range["spec"]["limits"]).filter(|limit| limit["type"] == "PersistentVolumeClaim") {
        for (name, bound) in amounts(&limit["min"]) {
            faults.extend(below_minimum("PersistentVolumeClaim", &name, bound, &requests, &Amounts::new()));
        }
        for (name, bound) in amounts(&limit["max"]) {
            let prefix = format!("maximum {name} usage per PersistentVolumeClaim is {bound}");
            match requests.get(&name) {
                None => faults.push(format!("{prefix}.  No request is specified")),
                Some(own) if *own > bound => faults.push(format!("{prefix}, but request is {own}")),
                Some(_) => {}
            }
        }
    }
    faults
}

fn check(limit: &Value, requests: &Amounts, limits: &Amounts, faults: &mut Vec<String>) {
    let kind = text(limit, "type");
    for (name, bound) in amounts(&limit["min"]) {
        faults.extend(below_minimum(kind, &name, bound, requests, limits));
    }
    for (name, bound) in amounts(&limit["max"]) {
        faults.extend(above_maximum(kind, &name, bound, requests, limits));
    }
    for (name, bound) in amounts(&limit["maxLimitRequestRatio"]) {
        faults.extend(above_ratio(kind, &name, bound, requests, limits));
    }
}

fn below_minimum(
    kind: &str,
    name: &str,
    bound: Quantity,
    requests: &Amounts,
    limits: &Amounts,
) -> Option<String> {
    let prefix = format!("minimum {name} usage per {kind} is {bound}");
    match (requests.get(name), limits.get(name)) {
        (None, _) => Some(format!("{prefix}.  No request is specified")),
        (Some(request), _) if *request < bound => Some(format!("{prefix}, but request is {request}")),
        (_, Some(limit)) if *limit < bound => Some(format!("{prefix}, but limit is {limit}")),
        _ => None,
    }
}

fn above_maximum(
    kind: &str,
    name: &str,
    bound: Quantity,
    requests: &Amounts,
    limits: &Amounts,
) -> Option<String> {
    let prefix = format!("maximum {name} usage per {kind} is {bound}");
    match (requests.get(name), limits.get(name)) {
        (_, None) => Some(format!("{prefix}.  No limit is specified")),
        (_, Some(limit)) if *limit > bound => Some(format!("{prefix}, but limit is {limit}")),
        (Some(request), _) if *request > bound => Some(format!("{prefix}, but request is {request}")),
        _ => None,
    }
}

fn above_ratio(
    kind: &str,
    name: &str,
    bound: Quantity,
    requests: &Amounts,
    limits: &Amounts,
) -> Option<String> {
    let prefix = format!("{name} max limit to request ratio per {kind} is {bound}");
    let given = |amounts: &Amounts| amounts.get(name).copied().filter(|own| !own.is_zero());
    let Some(request) = given(requests) else {
        return Some(format!("{prefix}, but no request is specified or request is 0"));
    };
    let Some(limit) = given(limits) else {
        return Some(format!("{prefix}, but no limit is specified or limit is 0"));
    };
    let ratio = limit.as_f64() / request.as_f64();
    (ratio * 1000.0 > bound.milli_value() as f64)
        .then(|| format!("{prefix}, but provided ratio is {ratio:.6}"))
}

/// Words several faults as one: a single one as it is, more in brackets, each once.
fn aggregate(faults: Vec<String>) -> String {
    let mut seen = BTreeSet::new();
    let distinct: Vec<String> = faults.into_iter().filter(|fault| seen.insert(fault.clone())).collect();
    match distinct.as_slice() {
        [only] => only.clone(),
        _ => format!("[{}]", distinct.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::admission::testing::{Cluster, create, update};

    fn range(limits: Value) -> Value {
        json!({"metadata": {"name": "lr", "namespace": "n"}, "spec": {"limits": limits}})
    }

    fn pod(containers: Value) -> Value {
        json!({"metadata": {"name": "b", "namespace": "n"}, "spec": {"containers": containers}})
    }

    fn refusal(limits: Value, resource: &str, object: Value) -> Option<String> {
        let cluster = Cluster::new().with(&LIMIT_RANGES, range(limits));
        let result = cluster.validate(&LimitRanger, &mut create("", resource, object));
        result.err().map(|refusal| refusal.message)
    }

    #[test]
    fn defaults_fill_what_is_missing_and_are_noted() {
        // As the API stores it: the default request follows from the default.
        let limits = json!([{"type": "Container", "default": {"cpu": "200m", "memory": "64Mi"},
            "defaultRequest": {"cpu": "100m", "memory": "64Mi"}}]);
        let cluster = Cluster::new().with(&LIMIT_RANGES, range(limits));
        let mut request = create("", "pods", pod(json!([{"name": "a"}])));
        cluster.admit(&LimitRanger, &mut request).unwrap();
        let admitted = request.object.unwrap();
        assert_eq!(
            admitted["spec"]["containers"][0]["resources"],
            json!({"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "100m", "memory": "64Mi"}})
        );
        assert_eq!(
            admitted["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: cpu, memory request for container a; cpu, memory limit for container a"
        );
        let mut object = pod(json!([{"name": "a", "resources": {"limits": {"cpu": "1", "memory": "1Gi"},
            "requests": {"cpu": "1"}}}]));
        object["spec"]["initContainers"] = json!([{"name": "i", "resources": {"requests": {"cpu": "1"}}}]);
        let mut request = create("", "pods", object);
        cluster.admit(&LimitRanger, &mut request).unwrap();
        assert_eq!(
            request.object.unwrap()["metadata"]["annotations"][ANNOTATION],
            "LimitRanger plugin set: memory request for container a; memory request for init container i; \
             cpu, memory limit for init container i"
        );
    }

    #[test]
    fn containers_are_held_to_minimum_maximum_and_ratio() {
        let with = |resources: Value| pod(json!([{"name": "b", "resources": resources}]));
        let bound = |field: &str, value: &str| json!([{"type": "Container", field: {"cpu": value}}]);
        for (limits, resources, why) in [
            (
                bound("max", "500m"),
                json!({"limits": {"cpu": "1"}}),
                "maximum cpu usage per Container is 500m, but limit is 1",
            ),
            (
                bound("max", "500m"),
                json!({}),
                "maximum cpu usage per Container is 500m.  No limit is specified",
            ),
            (
                bound("max", "500m"),
                json!({"limits": {"cpu": "400m"}, "requests": {"cpu": "600m"}}),
                "maximum cpu usage per Container is 500m, but request is 600m",
            ),
            (
                bound("min", "100m"),
                json!({"requests": {"cpu": "50m"}}),
                "minimum cpu usage per Container is 100m, but request is 50m",
            ),
            (
                bound("min", "100m"),
                json!({"limits": {"cpu": "1"}}),
                "minimum cpu usage per Container is 100m.  No request is specified",
            ),
            (
                bound("min", "100m"),
                json!({"limits": {"cpu": "60m"}, "requests": {"cpu": "100m"}}),
                "minimum cpu usage per Container is 100m, but limit is 60m",
            ),
            (
                bound("maxLimitRequestRatio", "2"),
                json!({"limits": {"cpu": "1"}, "requests": {"cpu": "300m"}}),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 3.333333",
            ),
            (
                bound("maxLimitRequestRatio", "2"),
                json!({"limits": {"cpu": "1"}}),
                "cpu max limit to request ratio per Container is 2, but no request is specified or request is 0",
            ),
            (
                bound("maxLimitRequestRatio", "2"),
                json!({"requests": {"cpu": "1"}}),
                "cpu max limit to request ratio per Container is 2, but no limit is specified or limit is 0",
            ),
        ] {
            assert_eq!(
                refusal(limits, "pods", with(resources)),
                Some(format!(r#"pods "b" is forbidden: {why}"#))
            );
        }
        let within = json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "250m"}});
        let all = json!([{"type": "Container", "min": {"cpu": "250m"}, "max": {"cpu": "0.5"},
            "maxLimitRequestRatio": {"cpu": "2"}}]);
        assert_eq!(refusal(all.clone(), "pods", with(within.clone())), None);
        let mut init = pod(json!([{"name": "b", "resources": within}]));
        init["spec"]["initContainers"] =
            json!([{"name": "i", "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}}]);
        assert!(refusal(all, "pods", init).unwrap().contains("but limit is 1"));
        let both = json!([{"type": "Container", "max": {"cpu": "1", "memory": "1Gi"}}]);
        assert_eq!(
            refusal(both, "pods", pod(json!([{"name": "a"}, {"name": "b"}]))).unwrap(),
            r#"pods "b" is forbidden: [maximum cpu usage per Container is 1.  No limit is specified, maximum memory usage per Container is 1Gi.  No limit is specified]"#
        );
    }

    #[test]
    fn pods_are_held_to_the_sum_of_their_containers() {
        let limits = json!([{"type": "Pod", "max": {"cpu": "1"}}]);
        let two = pod(
            json!([{"resources": {"limits": {"cpu": "600m"}}}, {"resources": {"limits": {"cpu": "600m"}}}]),
        );
        assert_eq!(
            refusal(limits, "pods", two).unwrap(),
            r#"pods "b" is forbidden: maximum cpu usage per Pod is 1, but limit is 1200m"#
        );
    }

    #[test]
    fn claims_are_held_to_their_requests() {
        let limits =
            json!([{"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}]);
        let claim = |size: &str| json!({"metadata": {"name": "c", "namespace": "n"}, "spec": {"resources": {"requests": {"storage": size}}}});
        let why = |size: &str| refusal(limits.clone(), "persistentvolumeclaims", claim(size));
        assert_eq!(why("1Gi"), None);
        let prefix = r#"persistentvolumeclaims "c" is forbidden: "#;
        assert_eq!(
            why("512Mi").unwrap(),
            format!("{prefix}minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 512Mi")
        );
        assert_eq!(
            why("3Gi").unwrap(),
            format!("{prefix}maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi")
        );
    }

    #[test]
    fn updates_of_pods_pass_but_resizes_do_not() {
        let limits = json!([{"type": "Container", "max": {"cpu": "1"}}]);
        let cluster = Cluster::new().with(&LIMIT_RANGES, range(limits));
        let big = pod(json!([{"name": "b", "resources": {"limits": {"cpu": "2"}}}]));
        let mut request = update("", "pods", big.clone(), big);
        cluster.validate(&LimitRanger, &mut request).unwrap();
        request.subresource = "resize".into();
        assert!(cluster.validate(&LimitRanger, &mut request).is_err());
    }
}
