//! Which requests a policy or a webhook is for: resource rules, and selectors over namespace and object labels.

use serde_json::Value;

use super::{AdmissionCx, AdmissionRequest, Operation};
use crate::sim::api::resources::Resources;
use crate::sim::object::Fields as _;
use crate::sim::resource::GroupResource;
use crate::sim::selectors::Selector;
use crate::sim::status::Status;

static NAMESPACES: GroupResource = GroupResource::of("", "namespaces");

/// What a request is taken for, where a rule names another version or group of the same resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Matched {
    /// The group.
    pub(crate) group: String,
    /// The version.
    pub(crate) version: String,
    /// The kind.
    pub(crate) kind: String,
    /// The plural.
    pub(crate) resource: String,
}

impl Matched {
    fn exactly(request: &AdmissionRequest) -> Self {
        let (group, version) = request.asked_version();
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: request.kind.clone(),
            resource: request.resource.clone(),
        }
    }
}

/// Tells whether a request is about the policies and webhooks themselves, which none of them may judge: one that
/// refuses everything could not be removed.
pub(crate) fn is_configuration(request: &AdmissionRequest) -> bool {
    request.group == "admissionregistration.k8s.io"
        && matches!(
            request.resource.as_str(),
            "validatingadmissionpolicies"
                | "validatingadmissionpolicybindings"
                | "mutatingadmissionpolicies"
                | "mutatingadmissionpolicybindings"
                | "validatingwebhookconfigurations"
                | "mutatingwebhookconfigurations"
        )
}

/// Tells whether a request is a question about access or identity, which policies do not judge.
pub(crate) fn is_review(request: &AdmissionRequest) -> bool {
    match request.group.as_str() {
        "authentication.k8s.io" => matches!(request.resource.as_str(), "tokenreviews" | "selfsubjectreviews"),
        "authorization.k8s.io" => request.resource.ends_with("reviews"),
        _ => false,
    }
}

/// Matches a request with `matchConstraints` or `matchResources` of a policy.
///
/// # Errors
/// When the namespace is not there, or a selector cannot be read.
pub(crate) fn matches_resources(
    cx: &AdmissionCx<'_>,
    request: &AdmissionRequest,
    criteria: &Value,
) -> Result<Option<Matched>, Status> {
    let namespace = namespace_selected(cx, request, criteria.at("namespaceSelector"));
    if matches!(namespace, Ok(false)) || !object_selected(request, criteria.at("objectSelector"))? {
        return Ok(None);
    }
    let equivalent = criteria.text("matchPolicy") == "Equivalent";
    if rules_match(&cx.resources, request, criteria.items("excludeResourceRules"), equivalent).is_some() {
        return Ok(None);
    }
    let matched = match criteria.items("resourceRules") {
        [] => Some(Matched::exactly(request)),
        rules => rules_match(&cx.resources, request, rules, equivalent),
    };
    // A fault of the selector matters only for a request that the rules are for.
    if matched.is_some() {
        namespace?;
    }
    Ok(matched)
}

/// Matches a request with the rules of a webhook.
pub(crate) fn rules_match(
    resources: &Resources,
    request: &AdmissionRequest,
    rules: &[Value],
    equivalent: bool,
) -> Option<Matched> {
    let exact = Matched::exactly(request);
    if rules.iter().any(|rule| rule_matches(rule, request, &exact) && named(rule, request)) {
        return Some(exact);
    }
    if !equivalent {
        return None;
    }
    equivalents(resources, request, &exact)
        .into_iter()
        .find(|other| rules.iter().any(|rule| rule_matches(rule, request, other) && named(rule, request)))
}

/// Returns the other groups and versions in which the same objects are served.
fn equivalents(resources: &Resources, request: &AdmissionRequest, exact: &Matched) -> Vec<Matched> {
    let same_objects = |group: &str| {
        group == exact.group || (request.resource == "events" && matches!(group, "" | "events.k8s.io"))
    };
    resources
        .all()
        .filter(|other| {
            let other = other.gvk();
            same_objects(&other.group) && (other.group != exact.group || other.version != exact.version)
        })
        .filter(|other| other.group_resource().resource == request.resource)
        .map(|other| {
            let gvk = other.gvk();
            // A subresource may have a kind of its own, which is the same in every version.
            let kind = if request.subresource.is_empty() { gvk.kind } else { request.kind.clone() };
            Matched { group: gvk.group, version: gvk.version, kind, resource: request.resource.clone() }
        })
        .collect()
}

fn named(rule: &Value, request: &AdmissionRequest) -> bool {
    let names = rule.texts("resourceNames");
    names.is_empty() || names.contains(&request.name.as_str())
}

fn rule_matches(rule: &Value, request: &AdmissionRequest, as_resource: &Matched) -> bool {
    let any =
        |field: &str, wanted: &str| rule.texts(field).iter().any(|&known| known == "*" || known == wanted);
    scope_matches(rule.text("scope"), request)
        && any("operations", request.operation.as_str())
        && any("apiGroups", &as_resource.group)
        && any("apiVersions", &as_resource.version)
        && rule.texts("resources").iter().any(|known| {
            let (resource, subresource) = known.split_once('/').unwrap_or((known, ""));
            (resource == "*" || resource == as_resource.resource)
                && (subresource == "*" || subresource == request.subresource)
        })
}

fn scope_matches(scope: &str, request: &AdmissionRequest) -> bool {
    // A request for a namespace carries its own name as its namespace, and is of cluster scope all the same.
    let cluster = request.concerns(&NAMESPACES) || request.namespace.is_empty();
    match scope {
        "Namespaced" => !cluster,
        "Cluster" => cluster,
        _ => true,
    }
}

/// Tells whether the labels of the request's namespace are selected. What has no namespace always is.
///
/// # Errors
/// When the namespace is not there, or the selector cannot be read.
pub(crate) fn namespace_selected(
    cx: &AdmissionCx<'_>,
    request: &AdmissionRequest,
    selector: &Value,
) -> Result<bool, Status> {
    if request.namespace.is_empty() && !request.concerns(&NAMESPACES) {
        return Ok(true);
    }
    let selector = read(selector)?;
    if selector.is_everything() {
        return Ok(true);
    }
    let itself =
        request.is_for(&NAMESPACES) && matches!(request.operation, Operation::Create | Operation::Update);
    if itself {
        return Ok(selector.matches(request.object().dig(&["metadata", "labels"])));
    }
    match cx.get(&NAMESPACES, "", &request.namespace) {
        Some(namespace) => Ok(selector.matches(namespace.dig(&["metadata", "labels"]))),
        None => Err(Status::not_found(&NAMESPACES, &request.namespace)),
    }
}

/// Tells whether the labels of the object, as it is or as it will be, are selected.
///
/// # Errors
/// When the selector cannot be read.
pub(crate) fn object_selected(request: &AdmissionRequest, selector: &Value) -> Result<bool, Status> {
    let selector = read(selector)?;
    if selector.is_everything() {
        return Ok(true);
    }
    let selected = |object: &Value| {
        object.at("metadata").is_object() && selector.matches(object.dig(&["metadata", "labels"]))
    };
    Ok(selected(request.object()) || selected(request.old()))
}

fn read(selector: &Value) -> Result<Selector, Status> {
    if selector.is_null() {
        return Ok(Selector::everything());
    }
    Selector::from_label_selector(selector).map_err(Status::internal)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::admission::testing::create;

    fn request() -> AdmissionRequest {
        create(
            "apps",
            "deployments",
            json!({"kind": "Deployment", "metadata": {"name": "d", "namespace": "a"}}),
        )
    }

    fn matched(rule: Value, request: &AdmissionRequest) -> bool {
        rules_match(&Resources::builtin(), request, &[rule], true).is_some()
    }

    fn rule(resource: &str) -> Value {
        json!({"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]})
    }

    #[test]
    fn subresources_are_named_of_their_own() {
        let mut request = request();
        assert!(matched(rule("deployments"), &request) && matched(rule("*"), &request));
        assert!(!matched(rule("deployments/scale"), &request) && matched(rule("*/*"), &request));
        request.subresource = "scale".to_owned();
        assert!(!matched(rule("deployments"), &request) && !matched(rule("*"), &request));
        assert!(matched(rule("deployments/*"), &request) && matched(rule("*/scale"), &request));
    }

    #[test]
    fn scopes_and_names_narrow_a_rule() {
        let mut narrow = rule("deployments");
        narrow["scope"] = json!("Cluster");
        assert!(!matched(narrow.clone(), &request()));
        narrow["scope"] = json!("Namespaced");
        assert!(matched(narrow.clone(), &request()));
        narrow["resourceNames"] = json!(["other"]);
        assert!(!matched(narrow, &request()));
    }

    #[test]
    fn other_versions_of_the_same_resource_are_equivalent() {
        let mut request = create(
            "autoscaling",
            "horizontalpodautoscalers",
            json!({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "d", "namespace": "a"}}),
        );
        request.version = "v2".to_owned();
        let rule = json!({"apiGroups": ["autoscaling"], "apiVersions": ["v1"], "operations": ["*"],
            "resources": ["horizontalpodautoscalers"]});
        let found = rules_match(&Resources::builtin(), &request, std::slice::from_ref(&rule), true).unwrap();
        assert_eq!(found.version, "v1");
        assert!(rules_match(&Resources::builtin(), &request, &[rule], false).is_none());
    }
}
