//! What the registry knows of each built-in kind: whether it counts generations, what is its content and what its status.

use serde_json::{Value, json};

/// How objects of a kind are kept.
pub(super) struct Traits {
    /// Whether `metadata.generation` counts changes of the content.
    pub(super) generation: bool,
    /// The fields that a request for the status leaves as they are, and whose change counts.
    pub(super) content: &'static [&'static str],
    /// Whether the status is a subresource, so that other requests leave it as it is.
    pub(super) status: bool,
}

const fn kept(generation: bool, content: &'static [&'static str], status: bool) -> Option<Traits> {
    Some(Traits { generation, content, status })
}

const SPEC: &[&str] = &["spec"];

pub(super) fn of(group: &str, kind: &str) -> Option<Traits> {
    match (group, kind) {
        ("", "Pod" | "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("batch", "Job" | "CronJob")
        | ("networking.k8s.io", "Ingress")
        | ("policy", "PodDisruptionBudget")
        | ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy")
        | ("apiextensions.k8s.io", "CustomResourceDefinition")
        | ("flowcontrol.apiserver.k8s.io", "FlowSchema" | "PriorityLevelConfiguration") => {
            kept(true, SPEC, true)
        }
        ("networking.k8s.io", "NetworkPolicy" | "IngressClass")
        | (
            "admissionregistration.k8s.io",
            "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicy" | "MutatingAdmissionPolicyBinding",
        )
        | ("resource.k8s.io", "DeviceClass" | "ResourceSlice") => kept(true, SPEC, false),
        ("", "PodTemplate") => kept(true, &["template"], false),
        ("scheduling.k8s.io", "PriorityClass") => kept(true, &[], false),
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => kept(true, &["webhooks"], false),
        ("discovery.k8s.io", "EndpointSlice") => kept(true, &["addressType", "endpoints", "ports"], false),
        (
            "",
            "Namespace" | "Node" | "Service" | "PersistentVolume" | "PersistentVolumeClaim" | "ResourceQuota",
        )
        | ("autoscaling", "HorizontalPodAutoscaler")
        | ("storage.k8s.io", "VolumeAttachment")
        | ("certificates.k8s.io", "CertificateSigningRequest")
        | ("networking.k8s.io", "ServiceCIDR")
        | ("apiregistration.k8s.io", "APIService")
        | ("resource.k8s.io", "ResourceClaim") => kept(false, SPEC, true),
        (
            "",
            "ConfigMap" | "Secret" | "ServiceAccount" | "Endpoints" | "LimitRange" | "Event"
            | "ComponentStatus",
        )
        | ("apps", "ControllerRevision")
        | ("networking.k8s.io", "IPAddress")
        | ("rbac.authorization.k8s.io", _)
        | (
            "storage.k8s.io",
            "StorageClass" | "CSIDriver" | "CSINode" | "CSIStorageCapacity" | "VolumeAttributesClass",
        )
        | ("node.k8s.io", "RuntimeClass")
        | ("coordination.k8s.io", "Lease")
        | ("events.k8s.io", "Event")
        | ("resource.k8s.io", "ResourceClaimTemplate") => kept(false, &[], false),
        _ => None,
    }
}

/// Returns the status that a new object has, whatever its author wrote; none for kinds that take it as it comes.
pub(super) fn empty_status(group: &str, kind: &str) -> Option<Value> {
    let status = match (group, kind) {
        ("", "Pod") => json!({"phase": "Pending"}),
        ("", "Namespace") => json!({"phase": "Active"}),
        ("", "Service") | ("networking.k8s.io", "Ingress") => json!({"loadBalancer": {}}),
        ("", "PersistentVolumeClaim") => json!({"phase": "Pending"}),
        ("", "ReplicationController") | ("apps", "ReplicaSet") => json!({"replicas": 0}),
        ("apps", "StatefulSet") => json!({"replicas": 0, "availableReplicas": 0}),
        ("apps", "DaemonSet") => json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0,
            "numberMisscheduled": 0, "numberReady": 0}),
        ("policy", "PodDisruptionBudget") => {
            json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0})
        }
        ("autoscaling", "HorizontalPodAutoscaler") => json!({"currentMetrics": null, "desiredReplicas": 0}),
        ("storage.k8s.io", "VolumeAttachment") => json!({"attached": false}),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": null})
        }
        ("", "ResourceQuota")
        | ("apps", "Deployment")
        | ("batch", "Job" | "CronJob")
        | ("networking.k8s.io", "ServiceCIDR")
        | ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy")
        | ("certificates.k8s.io", "CertificateSigningRequest")
        | ("flowcontrol.apiserver.k8s.io", "FlowSchema" | "PriorityLevelConfiguration")
        | ("apiregistration.k8s.io", "APIService")
        | ("resource.k8s.io", "ResourceClaim") => json!({}),
        _ => return None,
    };
    Some(status)
}
