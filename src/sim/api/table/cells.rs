//! Which function shows which resource, and the pieces that several share.

use jiff::Timestamp;
use serde_json::Value;

use super::{age, network, nodes, others, pods, storage, workloads};
use crate::sim::object::Fields as _;
use crate::sim::selectors::Selector;

/// Turns an object into the cells of its row.
pub(super) type Printer = fn(&Value, Timestamp) -> Vec<Value>;

/// Finds the function that shows a resource.
pub(super) fn printer(group: &str, resource: &str) -> Printer {
    match (group, resource) {
        ("", "pods") => pods::pod,
        ("", "podtemplates") => pods::template,
        ("", "replicationcontrollers") => workloads::replication_controller,
        ("apps", "replicasets") => workloads::replica_set,
        ("apps", "deployments") => workloads::deployment,
        ("apps", "statefulsets") => workloads::stateful_set,
        ("apps", "daemonsets") => workloads::daemon_set,
        ("apps", "controllerrevisions") => workloads::controller_revision,
        ("batch", "jobs") => workloads::job,
        ("batch", "cronjobs") => workloads::cron_job,
        ("autoscaling", "horizontalpodautoscalers") => workloads::autoscaler,
        ("policy", "poddisruptionbudgets") => workloads::disruption_budget,
        ("", "services") => network::service,
        ("", "endpoints") => network::endpoints,
        ("discovery.k8s.io", "endpointslices") => network::endpoint_slice,
        ("networking.k8s.io", "ingresses") => network::ingress,
        ("networking.k8s.io", "ingressclasses") => network::ingress_class,
        ("networking.k8s.io", "networkpolicies") => network::network_policy,
        ("networking.k8s.io", "ipaddresses") => network::ip_address,
        ("networking.k8s.io", "servicecidrs") => network::service_cidr,
        ("", "nodes") => nodes::node,
        ("", "events") => nodes::event,
        ("events.k8s.io", "events") => nodes::new_event,
        ("", "namespaces") => nodes::namespace,
        ("", "componentstatuses") => nodes::component_status,
        ("coordination.k8s.io", "leases") => nodes::lease,
        ("node.k8s.io", "runtimeclasses") => nodes::runtime_class,
        ("scheduling.k8s.io", "priorityclasses") => nodes::priority_class,
        ("", "persistentvolumes") => storage::volume,
        ("", "persistentvolumeclaims") => storage::claim,
        ("storage.k8s.io", "storageclasses") => storage::class,
        ("storage.k8s.io", "volumeattributesclasses") => storage::attributes_class,
        ("storage.k8s.io", "volumeattachments") => storage::attachment,
        ("storage.k8s.io", "csidrivers") => storage::driver,
        ("storage.k8s.io", "csinodes") => storage::node,
        ("", "configmaps") => others::config_map,
        ("", "secrets") => others::secret,
        ("", "serviceaccounts") => others::service_account,
        ("", "resourcequotas") => others::quota,
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => others::binding,
        ("certificates.k8s.io", "certificatesigningrequests") => others::signing_request,
        ("apiregistration.k8s.io", "apiservices") => others::api_service,
        (
            "admissionregistration.k8s.io",
            "mutatingwebhookconfigurations" | "validatingwebhookconfigurations",
        ) => others::webhooks,
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => others::policy,
        (
            "admissionregistration.k8s.io",
            "validatingadmissionpolicybindings" | "mutatingadmissionpolicybindings",
        ) => others::policy_binding,
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies") => others::mutating_policy,
        ("resource.k8s.io", "resourceclaims") => others::resource_claim,
        ("resource.k8s.io", "resourceslices") => others::resource_slice,
        ("resource.k8s.io", "deviceclasses" | "resourceclaimtemplates") => others::name_and_age,
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => others::flow_schema,
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => others::priority_level,
        _ => others::name_and_creation,
    }
}

/// Returns the object's name as a cell.
pub(super) fn name(object: &Value) -> Value {
    object.at("metadata").text("name").into()
}

/// Returns the object's age as a cell.
pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    age::since(object.at("metadata").at("creationTimestamp"), now).into()
}

/// Returns the text, or `<none>`.
pub(super) fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>" } else { text }.into()
}

/// Returns a count.
pub(super) fn number(object: &Value, field: &str) -> i64 {
    object.int(field).unwrap_or(0)
}

/// Returns how many entries a map has.
pub(super) fn size(object: &Value, field: &str) -> i64 {
    let size = object.at(field).as_object().map_or(0, serde_json::Map::len);
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Returns how many items a list has.
pub(super) fn length(object: &Value, field: &str) -> i64 {
    i64::try_from(object.items(field).len()).unwrap_or(i64::MAX)
}

/// Returns the names and the images of a Pod's containers.
pub(super) fn containers(spec: &Value) -> [Value; 2] {
    let join = |field: &str| -> Value {
        spec.items("containers").iter().map(|c| c.text(field)).collect::<Vec<_>>().join(",").into()
    };
    [join("name"), join("image")]
}

/// Writes labels as `a=b,c=d`, or `<none>`.
pub(super) fn labels(object: &Value, field: &str) -> Value {
    let pairs: Vec<String> = object
        .entries(field)
        .into_iter()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    or_none(&pairs.join(","))
}

/// Writes a label selector as `a=b,c in (d,e)`, or `<none>`.
pub(super) fn selector(selector: &Value) -> Value {
    match Selector::from_label_selector(selector) {
        Err(_) => "<error>".into(),
        Ok(parsed) if parsed.requirements().is_empty() => "<none>".into(),
        Ok(_) => written(selector).into(),
    }
}

/// Writes a label selector; the empty text for one that selects all.
pub(super) fn written(selector: &Value) -> String {
    let mut terms: Vec<(String, String)> = Vec::new();
    for (key, value) in selector.entries("matchLabels") {
        terms.push((key.to_owned(), format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for expression in selector.items("matchExpressions") {
        let key = expression.text("key");
        let mut values = expression.texts("values");
        values.sort_unstable();
        let values = values.join(",");
        let term = match expression.text("operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        terms.push((key.to_owned(), term));
    }
    terms.sort_by(|a, b| a.0.cmp(&b.0));
    terms.into_iter().map(|(_, term)| term).collect::<Vec<_>>().join(",")
}

/// Joins at most three texts and says how many more there are.
pub(super) fn at_most_three(list: &[String], count: usize) -> String {
    let shown = list.join(",");
    if count > list.len() { format!("{shown} + {} more...", count - list.len()) } else { shown }
}

/// Writes a Go boolean pointer.
pub(super) fn flag(value: Option<bool>) -> Value {
    match value {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    }
    .into()
}
