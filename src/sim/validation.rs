//! Validation of built-in kinds: what upstream's `Validate` and `ValidateUpdate` find wrong with an object, in its words
//! and order. Objects come decoded and defaulted, and strategy has prepared them. Custom resources are not known here.

use serde_json::Value;

mod admission_policies;
mod apps;
mod autoscaling;
mod batch;
mod certificates;
mod claims;
mod classes;
mod core;
pub(crate) mod cursor;
mod devices;
mod diff;
mod disruption;
mod endpoint_slices;
pub(crate) mod expressions;
mod extensions;
mod flow_control;
pub(crate) mod kinds;
mod lease;
pub(crate) mod metadata;
mod mutating_policies;
pub(crate) mod names;
mod networking;
mod node;
mod persistent_volume;
pub(crate) mod pod;
mod rbac;
mod resources;
pub(crate) mod service;
mod storage;
mod webhooks;

use self::cursor::At;
use self::metadata::MetaRules;
use super::field::ErrorList;
use super::object::Fields;

/// Validates a new object of a built-in kind; the list is empty when all is well.
pub fn create(group: &str, version: &str, kind: &str, object: &Value) -> ErrorList {
    let Some(rules) = kinds::of(group, kind) else {
        return passing(group, kind, object);
    };
    let errors = create_kind(group, version, kind, object, rules);
    // The checks that hold for all kinds run last, so that a kind's own words are heard where it has some.
    if errors.is_empty() { metadata::validate_generic(object, rules.namespaced) } else { errors }
}

/// Validates what is asked and not stored, and of custom resources the metadata.
fn passing(group: &str, kind: &str, object: &Value) -> ErrorList {
    match (group, kind) {
        ("", "Binding") => pod::binding(object),
        ("authentication.k8s.io", "TokenRequest") => core::token_request(object),
        ("authentication.k8s.io" | "authorization.k8s.io", _)
        | ("autoscaling", "Scale")
        | ("policy", "Eviction") => ErrorList::new(),
        _ => {
            let namespaced = object.at("metadata").has("namespace");
            metadata::validate(object, MetaRules { namespaced, name: names::subdomain_name, core: false })
        }
    }
}

/// Validates a changed object of a built-in kind. `subresource` is empty, or such as `status`, `approval`,
/// `ephemeralcontainers`.
pub fn update(
    group: &str,
    version: &str,
    kind: &str,
    subresource: &str,
    new: &Value,
    old: &Value,
) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, false);
    if let Some(rules) = kinds::of(group, kind) {
        errors.extend(update_kind(group, version, kind, subresource, new, old, rules));
    }
    errors
}

fn create_kind(group: &str, _version: &str, kind: &str, object: &Value, rules: MetaRules) -> ErrorList {
    match (group, kind) {
        ("", "Pod") => pod::create(object, rules),
        ("", "PodTemplate") => {
            let mut errors = metadata::validate(object, rules);
            pod::template(&mut errors, &At::field(object, "template"));
            errors
        }
        ("", "Service") => service::create(object, rules),
        ("", "ConfigMap") => core::config_map(object, rules),
        ("", "Secret") => core::secret(object, rules),
        ("", "Namespace") => core::namespace(object, rules),
        ("", "LimitRange") => core::limit_range(object, rules),
        ("", "ResourceQuota") => core::resource_quota(object, rules),
        ("", "ReplicationController") => core::replication_controller(object, rules),
        ("", "Endpoints") => core::endpoints(object, rules),
        ("" | "events.k8s.io", "Event") => core::event(object, group == "events.k8s.io"),
        ("", "Node") => node::create(object, rules),
        ("", "PersistentVolume") => persistent_volume::create(object, rules),
        ("", "PersistentVolumeClaim") => claims::create(object, rules),
        ("apps", _) => apps::create(kind, object, rules),
        ("batch", "Job") => batch::job(object, rules),
        ("batch", "CronJob") => batch::cron_job(object, rules),
        ("networking.k8s.io", "NetworkPolicy") => networking::network_policy(object, rules),
        ("networking.k8s.io", "Ingress") => networking::ingress(object, rules),
        ("networking.k8s.io", "IngressClass") => networking::ingress_class(object, rules),
        ("networking.k8s.io", "IPAddress") => networking::ip_address(object, rules),
        ("networking.k8s.io", "ServiceCIDR") => networking::service_cidr(object, rules),
        ("rbac.authorization.k8s.io", _) => rbac::create(kind, object, rules),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            admission_policies::policy(object, rules)
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
            admission_policies::binding(object, rules)
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => {
            mutating_policies::policy(object, rules, None)
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding") => {
            admission_policies::any_binding(object, rules)
        }
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => webhooks::create(kind, object, rules),
        ("apiextensions.k8s.io", _) => extensions::definition(object, rules),
        ("apiregistration.k8s.io", _) => extensions::api_service(object, rules),
        ("storage.k8s.io", _) => storage::create(kind, object, rules),
        ("autoscaling", _) => autoscaling::create(object, rules),
        ("certificates.k8s.io", _) => certificates::create(object, rules),
        ("flowcontrol.apiserver.k8s.io", _) => flow_control::create(kind, object, rules),
        ("policy", _) => disruption::create(object),
        ("coordination.k8s.io", _) => lease::create(object, rules),
        ("scheduling.k8s.io", _) => classes::priority_class(object, rules),
        ("node.k8s.io", _) => classes::runtime_class(object, rules),
        ("discovery.k8s.io", _) => endpoint_slices::create(object, rules),
        ("resource.k8s.io", _) => devices::create(kind, object, rules),
        _ => metadata::validate(object, rules),
    }
}

fn update_kind(
    group: &str,
    _version: &str,
    kind: &str,
    subresource: &str,
    new: &Value,
    old: &Value,
    rules: MetaRules,
) -> ErrorList {
    match (group, kind, subresource) {
        ("", "Pod", "status") => pod::status(new, old, rules),
        ("", "Pod", "ephemeralcontainers") => pod::ephemeral_containers(new, old, rules),
        ("", "Pod", "resize") => pod::resize(new, old, rules),
        ("", "Pod", _) => pod::update(new, old, rules),
        ("", "PodTemplate", _) => {
            let mut errors = metadata::validate_update(new, old, rules.core);
            pod::template(&mut errors, &At::field(new, "template"));
            errors
        }
        ("", "Service", "status") => service::status(new, old, rules),
        ("", "Service", _) => service::update(new, old, rules),
        ("", "ConfigMap", _) => core::config_map_update(new, old, rules),
        ("", "Secret", _) => core::secret_update(new, old, rules),
        ("", "Namespace", _) => core::namespace_update(new, old, subresource, rules),
        ("", "LimitRange", _) => core::limit_range(new, rules),
        ("", "ResourceQuota", _) => core::resource_quota_update(new, old, subresource, rules),
        ("", "ReplicationController", "") => core::replication_controller_update(new, old, rules),
        ("", "Endpoints", _) => {
            let mut errors = metadata::validate_update(new, old, rules.core);
            errors.extend(core::endpoints(new, rules));
            errors
        }
        ("" | "events.k8s.io", "Event", _) => core::event_update(new, old, group == "events.k8s.io"),
        ("", "Node", _) => node::update(new, old, rules),
        ("", "PersistentVolume", _) => persistent_volume::update(new, old, subresource, rules),
        ("", "PersistentVolumeClaim", "status") => claims::status(new, old, rules),
        ("", "PersistentVolumeClaim", _) => claims::update(new, old, rules),
        ("apps", _, _) => apps::update(kind, subresource, new, old, rules),
        ("batch", "Job", _) => batch::job_update(new, old, subresource, rules),
        ("batch", "CronJob", _) => batch::cron_job_update(new, old, subresource, rules),
        ("networking.k8s.io", "NetworkPolicy", _) => networking::network_policy_update(new, old, rules),
        ("networking.k8s.io", "Ingress", _) => networking::ingress_update(new, old, subresource, rules),
        ("networking.k8s.io", "IngressClass", _) => networking::ingress_class_update(new, old, rules),
        ("networking.k8s.io", "IPAddress", _) => networking::ip_address_update(new, old, rules),
        ("networking.k8s.io", "ServiceCIDR", _) => {
            networking::service_cidr_update(new, old, subresource, rules)
        }
        ("rbac.authorization.k8s.io", _, _) => rbac::update(kind, new, old, rules),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy", "") => {
            admission_policies::policy_update(new, old, rules)
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding", _) => {
            admission_policies::binding(new, rules)
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy", _) => {
            mutating_policies::policy(new, rules, Some(old))
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding", _) => {
            admission_policies::any_binding(new, rules)
        }
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
            _,
        ) => webhooks::update(kind, new, old, rules),
        ("apiextensions.k8s.io", _, _) => extensions::definition_update(new, old, subresource, rules),
        ("apiregistration.k8s.io", _, "") => extensions::api_service_update(new, old, rules),
        ("storage.k8s.io", _, "") => storage::update(kind, new, old, rules),
        ("autoscaling", _, _) => autoscaling::update(new, old, subresource, rules),
        ("certificates.k8s.io", _, _) => certificates::update(new, old, subresource, rules),
        ("flowcontrol.apiserver.k8s.io", _, "") => flow_control::update(kind, new, old, rules),
        ("policy", _, _) => disruption::update(new, subresource),
        ("coordination.k8s.io", _, _) => lease::update(new, old, rules),
        ("scheduling.k8s.io", _, _) => classes::priority_class_update(new, old, rules),
        ("node.k8s.io", _, _) => classes::runtime_class_update(new, old, rules),
        ("discovery.k8s.io", _, _) => endpoint_slices::update(new, old, rules),
        ("resource.k8s.io", _, _) => devices::update(kind, new, old, subresource, rules),
        _ => metadata::validate_update(new, old, rules.core),
    }
}

#[cfg(test)]
mod tests;
