//! Pods and pod templates (k8s.io/kubernetes/pkg/apis/core/validation). The parts of a spec have files of their own.

use serde_json::Value;

use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules};
use super::names;
use crate::sim::field::{ErrorList, Path};
use crate::sim::object::{Fields, is_empty};

pub(crate) mod containers;
pub(crate) mod scheduling;
pub(crate) mod security;
mod updates;
pub(crate) mod volumes;

use super::resources;
pub(crate) use updates::{ephemeral_containers, resize, status, update};

/// In what a PodSpec stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// A Pod, as against a template.
    pub(crate) is_pod: bool,
}

/// Validates a new Pod.
pub(crate) fn create(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = whole(object, rules);
    let spec = At::field(object, "spec");
    if !spec.child("ephemeralContainers").is_empty() {
        errors.forbidden(&spec.path.child("ephemeralContainers"), "cannot be set on create");
    }
    if !spec.value.text("nodeName").is_empty() && !spec.child("schedulingGates").is_empty() {
        errors.forbidden(
            &spec.path.child("nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        );
    }
    security::annotations_match(&mut errors, object.dig(&["metadata", "annotations"]), &spec);
    errors
}

/// Validates metadata and spec, as both creation and changes do.
fn whole(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let spec = At::field(object, "spec");
    let annotations = At::field(object, "metadata").child("annotations");
    security::annotations(&mut errors, &annotations, &spec);
    self::spec(&mut errors, &spec, Some(object.at("metadata")), Options { is_pod: true });
    if spec.value.text("serviceAccountName").is_empty() {
        for volume in spec.child("volumes").items() {
            for source in volume.child("projected").child("sources").items() {
                if source.value.has("serviceAccountToken") {
                    errors.forbidden(
                        &source.path.child("serviceAccountToken"),
                        "must not be specified when serviceAccountName is not set",
                    );
                }
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for container in spec.child(list).items() {
            containers::trimmed_image(&mut errors, &container);
        }
    }
    errors
}

/// Validates a PodTemplateSpec.
pub(crate) fn template(errors: &mut ErrorList, at: &At<'_>) {
    // Upstream tells faults of a template's metadata as if it stood in the template itself.
    let meta = at.value.at("metadata");
    let annotations = At::new(at.path.child("annotations"), meta.at("annotations"));
    metadata::labels(errors, &At::new(at.path.child("labels"), meta.at("labels")));
    metadata::annotations(errors, &annotations);
    let spec = at.child("spec");
    security::annotations(errors, &annotations, &spec);
    self::spec(errors, &spec, None, Options { is_pod: false });
    security::annotations_match(errors, annotations.value, &spec);
    let ephemeral = spec.child("ephemeralContainers");
    if !ephemeral.is_empty() {
        errors.forbidden(&ephemeral.path, "ephemeral containers not allowed in pod template");
    }
}

/// Goes through all containers in upstream's order: init, regular, ephemeral.
pub(crate) fn visit_containers<'a>(spec: &At<'a>) -> impl Iterator<Item = At<'a>> + use<'a> {
    let lists = ["initContainers", "containers", "ephemeralContainers"].map(|name| spec.child(name));
    lists.into_iter().flat_map(|list| list.items())
}

/// Validates a PodSpec; `meta` is a real Pod's metadata.
fn spec<'a>(errors: &mut ErrorList, at: &At<'a>, meta: Option<&'a Value>, options: Options) {
    let value = at.value;
    let grace = value.int("terminationGracePeriodSeconds");
    if grace.is_none() {
        errors.required(&at.path.child("terminationGracePeriodSeconds"), "");
    }
    let volumes = volumes::volumes(errors, &at.child("volumes"), meta, options.is_pod);
    let claims: Vec<&str> = value
        .items("resourceClaims")
        .iter()
        .map(|claim| claim.text("name"))
        .filter(|name| !name.is_empty())
        .collect();
    resource_claims(errors, &at.child("resourceClaims"));
    let facts = containers::PodFacts {
        volumes,
        claims,
        grace,
        restart_policy: value.text("restartPolicy"),
        host_users: value.truth("hostUsers") != Some(false),
    };
    let regular = at.child("containers");
    containers::regular(errors, &regular, &facts);
    containers::init(errors, &at.child("initContainers"), &regular, &facts);
    containers::ephemeral(errors, &at.child("ephemeralContainers"), at, &facts);
    pod_resources(errors, at, &facts.claims);
    host_network_ports(errors, at, options);
    match value.text("restartPolicy") {
        "Always" | "OnFailure" | "Never" => {}
        "" => errors.required(&at.path.child("restartPolicy"), ""),
        other => {
            errors.not_supported(&at.path.child("restartPolicy"), other, &["Always", "OnFailure", "Never"]);
        }
    }
    dns_policy(errors, &at.child("dnsPolicy"));
    metadata::labels(errors, &at.child("nodeSelector"));
    security::pod(errors, at);
    scheduling::affinity(errors, &at.child("affinity"));
    dns_config(errors, &at.child("dnsConfig"), value.text("dnsPolicy"));
    scheduling::gates(errors, at);
    scheduling::topology_spread(errors, &at.child("topologySpreadConstraints"));
    security::host_process(errors, at);
    security::host_users(errors, at);
    for name in ["serviceAccountName", "nodeName"] {
        named(errors, &at.child(name));
    }
    let deadline = at.child("activeDeadlineSeconds");
    if let Some(seconds) = deadline.int()
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        errors.invalid(&deadline.path, seconds, names::range(1, i64::from(i32::MAX)));
    }
    for name in ["hostname", "subdomain"] {
        let field = at.child(name);
        if !field.str().is_empty() {
            errors.all(&field.path, field.str(), names::dns1123_label(field.str()));
        }
    }
    scheduling::tolerations(errors, &at.child("tolerations"));
    host_aliases(errors, &at.child("hostAliases"));
    named(errors, &at.child("priorityClassName"));
    let class = at.child("runtimeClassName");
    if class.present() {
        errors.all(&class.path, class.str(), names::subdomain_name(class.str(), false));
    }
    let preemption = at.child("preemptionPolicy");
    if preemption.present() {
        preemption_policy(errors, &preemption);
    }
    let overhead = at.child("overhead");
    if overhead.present() {
        let limits = serde_json::json!({ "limits": overhead.value });
        resources::container(errors, &At::new(overhead.path, &limits), &[]);
    }
    security::operating_system(errors, at);
}

fn named(errors: &mut ErrorList, at: &At<'_>) {
    if !at.str().is_empty() {
        errors.all(&at.path, at.str(), names::subdomain_name(at.str(), false));
    }
}

/// Validates whether Pods of a class push others away.
pub(crate) fn preemption_policy(errors: &mut ErrorList, at: &At<'_>) {
    match at.str() {
        "PreemptLowerPriority" | "Never" => {}
        "" => errors.required(&at.path, ""),
        other => errors.not_supported(&at.path, other, &["PreemptLowerPriority", "Never"]),
    }
}

fn resource_claims(errors: &mut ErrorList, at: &At<'_>) {
    let mut seen = std::collections::BTreeSet::new();
    for claim in at.items() {
        let name = claim.child("name");
        if name.str().is_empty() {
            errors.required(&name.path, "");
        } else if seen.insert(name.str()) {
            errors.all(&name.path, name.str(), names::dns1123_label(name.str()));
        } else {
            errors.duplicate(&name.path, name.str());
        }
        let sources = [claim.child("resourceClaimName"), claim.child("resourceClaimTemplateName")];
        match sources.iter().filter(|source| source.present()).count() {
            0 => errors.invalid_object(
                &claim.path,
                claim.value,
                "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`",
            ),
            1 => {}
            _ => errors.invalid_object(
                &claim.path,
                claim.value,
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            ),
        }
        for source in sources.iter().filter(|source| source.present()) {
            errors.all(&source.path, source.str(), names::subdomain_name(source.str(), false));
        }
    }
}

fn pod_resources(errors: &mut ErrorList, at: &At<'_>, claims: &[&str]) {
    let own = at.child("resources");
    if own.is_null() {
        return;
    }
    if own.value.has("claims") {
        errors.forbidden(&own.path.child("claims"), "claims cannot be set for Resources at pod-level");
    }
    resources::pod(errors, &own, claims);
    resources::pod_holds_containers(errors, at.value, &own);
}

fn host_network_ports(errors: &mut ErrorList, at: &At<'_>, options: Options) {
    if at.value.truth("hostNetwork") != Some(true) {
        return;
    }
    for port in at.child("containers").items().flat_map(|container| container.child("ports").items()) {
        let host = port.child("hostPort");
        let (given, own) = (host.number(), port.child("containerPort").number());
        if (options.is_pod || given != 0) && given != own {
            errors.invalid(&host.path, given, "must match `containerPort` when `hostNetwork` is true");
        }
    }
}

fn dns_policy(errors: &mut ErrorList, at: &At<'_>) {
    match at.str() {
        "ClusterFirstWithHostNet" | "ClusterFirst" | "Default" | "None" => {}
        "" => errors.required(&at.path, ""),
        other => errors.not_supported(
            &at.path,
            other,
            &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        ),
    }
}

fn dns_config(errors: &mut ErrorList, at: &At<'_>, policy: &str) {
    let servers = at.child("nameservers");
    if policy == "None" {
        if at.is_null() {
            errors.required(&at.path, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            errors
                .required(&servers.path, "must provide at least one DNS nameserver when `dnsPolicy` is None");
            return;
        }
    }
    if servers.len() > 3 {
        errors.invalid(&servers.path, servers.value.clone(), "must not have more than 3 nameservers");
    }
    for server in servers.items() {
        errors.all(&server.path, server.str(), names::ip(server.str()));
    }
    let searches = at.child("searches");
    if searches.len() > 32 {
        errors.invalid(&searches.path, searches.value.clone(), "must not have more than 32 search paths");
    }
    if searches.strings().join(" ").len() > 2048 {
        errors.invalid(
            &searches.path,
            searches.value.clone(),
            "must not have more than 2048 characters (including spaces) in the search list",
        );
    }
    for search in searches.items().filter(|search| search.str() != ".") {
        let text = search.str().strip_suffix('.').unwrap_or(search.str());
        errors.all(&search.path, text, names::dns1123_subdomain_with_underscore(text));
    }
    for option in at.child("options").items() {
        if option.value.text("name").is_empty() {
            errors.required(&option.path, "must not be empty");
        }
    }
}

fn host_aliases(errors: &mut ErrorList, at: &At<'_>) {
    for alias in at.items() {
        let ip = alias.child("ip");
        errors.all(&ip.path, ip.str(), names::ip(ip.str()));
        for name in alias.child("hostnames").items() {
            errors.all(&name.path, name.str(), names::dns1123_subdomain(name.str()));
        }
    }
}

/// Validates a Binding of a Pod to a node.
pub(crate) fn binding(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let target = At::field(object, "target");
    let kind = target.value.text("kind");
    if !matches!(kind, "" | "Node") {
        errors.not_supported(&target.path.child("kind"), kind, &["Node", "<empty>"]);
    }
    if target.value.text("name").is_empty() {
        errors.required(&target.path.child("name"), "");
    }
    errors
}

/// Validates what a request for logs asks for; `path` names are those of the query.
pub(crate) fn log_options(options: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = |name: &str| At::new(Path::new(name), options.at(name));
    errors.negative(&at("tailLines"));
    for name in ["limitBytes", "sinceSeconds"] {
        let field = at(name);
        if name == "sinceSeconds" && options.has("sinceTime") && field.present() {
            errors.forbidden(&Path::new(""), "at most one of `sinceTime` or `sinceSeconds` may be specified");
        } else if let Some(number) = field.int().filter(|number| *number < 1) {
            errors.invalid(&field.path, number, "must be greater than 0");
        }
    }
    if !is_empty(options.at("stream")) {
        errors.forbidden(&Path::new("stream"), "may not be specified");
    }
    errors
}

#[cfg(test)]
mod tests;
