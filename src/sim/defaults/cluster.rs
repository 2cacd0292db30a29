//! Defaults of the further groups: networking, RBAC, admission, storage, scheduling, flow control and extensions.

use serde_json::{Value, json};

use super::{always, drop_empty, each, null_list, number_default, round_amounts, service_port};
use crate::sim::object::{Fields, field_at, items_mut, map_at, object_mut, set, set_default};

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn apply(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("networking.k8s.io", "NetworkPolicy") => network_policy(object),
        ("networking.k8s.io", "Ingress") => {
            always(object, "spec");
            let status = field_at(object, "status");
            always(status, "loadBalancer");
        }
        ("networking.k8s.io", "IngressClass") => {
            if let Some(parameters) = object_mut(field_at(object, "spec"), "parameters") {
                set_default(parameters, "scope", "Cluster");
            }
        }
        (RBAC, "RoleBinding" | "ClusterRoleBinding") => binding(object),
        (RBAC, "Role" | "ClusterRole") => null_list(object, "rules"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => {
            each(object, "webhooks", webhook)
        }
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => {
            each(object, "webhooks", |hook| {
                webhook(hook);
                set_default(hook, "reinvocationPolicy", "Never");
            })
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy") => {
            let spec = field_at(object, "spec");
            set_default(spec, "failurePolicy", "Fail");
            if kind == "MutatingAdmissionPolicy" {
                set_default(spec, "reinvocationPolicy", "Never");
            }
            if let Some(constraints) = object_mut(spec, "matchConstraints") {
                match_resources(constraints);
            }
        }
        (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding",
        ) => {
            if let Some(resources) = object_mut(field_at(object, "spec"), "matchResources") {
                match_resources(resources);
            }
        }
        ("storage.k8s.io", "StorageClass") => {
            set_default(object, "reclaimPolicy", "Delete");
            set_default(object, "volumeBindingMode", "Immediate");
        }
        ("storage.k8s.io", "CSIDriver") => csi_driver(field_at(object, "spec")),
        ("scheduling.k8s.io", "PriorityClass") => {
            set_default(object, "preemptionPolicy", "PreemptLowerPriority");
            number_as_is(object, "value");
        }
        ("node.k8s.io", "RuntimeClass") => {
            if let Some(overhead) = object_mut(object, "overhead") {
                round_amounts(overhead, "podFixed");
            }
        }
        ("discovery.k8s.io", "EndpointSlice") => {
            each(object, "ports", |port| {
                if !port.has("name") {
                    set(port, "name", "");
                }
                set_default(port, "protocol", "TCP");
            });
            null_list(object, "endpoints");
            null_list(object, "ports");
        }
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => {
            number_default(field_at(object, "spec"), "matchingPrecedence", 1000);
        }
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => {
            priority_level(field_at(object, "spec"))
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => service_port(field_at(object, "spec")),
        ("authentication.k8s.io", "TokenRequest") => {
            set_default(field_at(object, "spec"), "expirationSeconds", 3600);
        }
        ("coordination.k8s.io", "Lease") => always(object, "spec"),
        ("resource.k8s.io", "ResourceClaim") => {
            device_claim(field_at(object, "spec"));
            always(object, "status");
        }
        ("resource.k8s.io", "ResourceClaimTemplate") => {
            let spec = field_at(object, "spec");
            always(spec, "metadata");
            device_claim(field_at(spec, "spec"));
        }
        _ => {}
    }
}

/// Writes a number that Go always writes.
fn number_as_is(object: &mut Value, name: &str) {
    if !object.has(name) {
        set(object, name, 0);
    }
}

fn network_policy(object: &mut Value) {
    let spec = field_at(object, "spec");
    always(spec, "podSelector");
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in items_mut(spec, rules) {
            each(rule, "ports", |port| set_default(port, "protocol", "TCP"));
            drop_empty(rule, &["ports", peers]);
        }
    }
    drop_empty(spec, &["ingress", "egress", "policyTypes"]);
    if spec.items("policyTypes").is_empty() {
        let types =
            if spec.items("egress").is_empty() { json!(["Ingress"]) } else { json!(["Ingress", "Egress"]) };
        set(spec, "policyTypes", types);
    }
}

fn binding(object: &mut Value) {
    set_default(field_at(object, "roleRef"), "apiGroup", RBAC);
    for subject in items_mut(object, "subjects") {
        if matches!(subject.text("kind"), "User" | "Group") {
            set_default(subject, "apiGroup", RBAC);
        }
        super::drop_zeros(subject, &["apiGroup", "namespace"]);
    }
    drop_empty(object, &["subjects"]);
}

fn rule_scope(rule: &mut Value) {
    set_default(rule, "scope", "*");
}

fn selectors(object: &mut Value) {
    set_default(object, "matchPolicy", "Equivalent");
    map_at(object, "namespaceSelector");
    map_at(object, "objectSelector");
}

fn webhook(hook: &mut Value) {
    set_default(hook, "failurePolicy", "Fail");
    selectors(hook);
    set_default(hook, "timeoutSeconds", 10);
    each(hook, "rules", rule_scope);
    service_port(field_at(hook, "clientConfig"));
}

fn match_resources(resources: &mut Value) {
    selectors(resources);
    each(resources, "resourceRules", rule_scope);
    each(resources, "excludeResourceRules", rule_scope);
}

fn csi_driver(spec: &mut Value) {
    set_default(spec, "attachRequired", true);
    for name in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        set_default(spec, name, false);
    }
    set_default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if spec.items("volumeLifecycleModes").is_empty() {
        set(spec, "volumeLifecycleModes", json!(["Persistent"]));
    }
}

fn priority_level(spec: &mut Value) {
    if let Some(limited) = object_mut(spec, "limited") {
        set_default(limited, "nominalConcurrencyShares", 30);
        set_default(limited, "lendablePercent", 0);
        let response = field_at(limited, "limitResponse");
        if let Some(queuing) = object_mut(response, "queuing") {
            number_default(queuing, "handSize", 8);
            number_default(queuing, "queues", 64);
            number_default(queuing, "queueLengthLimit", 50);
        }
    }
    if let Some(exempt) = object_mut(spec, "exempt") {
        set_default(exempt, "nominalConcurrencyShares", 0);
        set_default(exempt, "lendablePercent", 0);
    }
}

fn definition(object: &mut Value) {
    let spec = field_at(object, "spec");
    let names = field_at(spec, "names");
    let kind = names.text("kind").to_owned();
    if !kind.is_empty() {
        set_default(names, "singular", kind.to_lowercase());
        set_default(names, "listKind", format!("{kind}List"));
    }
    let conversion = field_at(spec, "conversion");
    set_default(conversion, "strategy", "None");
    if let Some(webhook) = object_mut(conversion, "webhook")
        && let Some(client) = object_mut(webhook, "clientConfig")
    {
        service_port(client);
    }
    let stored = spec.items("versions").iter().find(|version| version.truth("storage") == Some(true));
    let stored = stored.map(|version| version.text("name").to_owned());
    let status = field_at(object, "status");
    if let Some(name) = stored
        && status.items("storedVersions").is_empty()
    {
        set(status, "storedVersions", json!([name]));
    }
}

fn device_claim(spec: &mut Value) {
    always(spec, "devices");
    let devices = field_at(spec, "devices");
    for request in items_mut(devices, "requests") {
        if let Some(exactly) = object_mut(request, "exactly") {
            device_count(exactly);
        }
        each(request, "firstAvailable", device_count);
    }
}

fn device_count(request: &mut Value) {
    set_default(request, "allocationMode", "ExactCount");
    if request.text("allocationMode") == "ExactCount" {
        number_default(request, "count", 1);
    }
    each(request, "tolerations", |toleration| set_default(toleration, "operator", "Equal"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaulted(group: &str, kind: &str, mut object: Value) -> Value {
        apply(group, kind, &mut object);
        object
    }

    #[test]
    fn network_policies_get_types_and_protocols() {
        let found = defaulted(
            "networking.k8s.io",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "egress": [{}]}}),
        );
        assert_eq!(found["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        let found = defaulted(
            "networking.k8s.io",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}]}}),
        );
        assert_eq!(found["spec"]["policyTypes"], json!(["Ingress"]));
        assert_eq!(found["spec"]["ingress"][0]["ports"], json!([{"port": 80, "protocol": "TCP"}]));
    }

    #[test]
    fn subjects_get_the_group_of_users() {
        let found = defaulted(
            RBAC,
            "RoleBinding",
            json!({"roleRef": {"kind": "Role", "name": "m"},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]}),
        );
        assert_eq!(
            found,
            json!({"roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "m"},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": "u"},
                {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]})
        );
    }

    #[test]
    fn webhooks_and_policies_get_what_a_real_cluster_gives_them() {
        let rule = json!({"apiGroups": ["x.y"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["zz"]});
        let found = defaulted(
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration",
            json!({"webhooks": [
            {"name": "a.b.c", "clientConfig": {"service": {"name": "s", "namespace": "n"}}, "rules": [rule]}]}),
        );
        let hook = &found["webhooks"][0];
        assert_eq!(hook["clientConfig"]["service"]["port"], 443);
        assert_eq!(hook["rules"][0]["scope"], "*");
        assert_eq!(
            (
                &hook["failurePolicy"],
                &hook["matchPolicy"],
                &hook["timeoutSeconds"],
                &hook["reinvocationPolicy"]
            ),
            (&json!("Fail"), &json!("Equivalent"), &json!(10), &json!("Never"))
        );
        let found = defaulted(
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicy",
            json!({"spec": {"matchConstraints": {"resourceRules": [rule]}}}),
        );
        assert_eq!(found["spec"]["matchConstraints"]["objectSelector"], json!({}));
        assert_eq!(found["spec"]["matchConstraints"]["resourceRules"][0]["scope"], "*");
    }

    #[test]
    fn definitions_name_themselves() {
        let found = defaulted(
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            json!({"spec": {"names": {"kind": "Widget"}, "versions": [{"name": "v1", "storage": true}]}}),
        );
        assert_eq!(
            found["spec"]["names"],
            json!({"kind": "Widget", "listKind": "WidgetList", "singular": "widget"})
        );
        assert_eq!(found["spec"]["conversion"], json!({"strategy": "None"}));
        assert_eq!(found["status"]["storedVersions"], json!(["v1"]));
    }
}
