//! Which names the objects of each built-in kind may have, and whether they live in namespaces.

use super::metadata::MetaRules;
use super::names::{self, NameRule};

const NAMESPACED: bool = true;
const CLUSTER: bool = false;

/// Returns the rules of a kind that is stored; none for what only passes through, such as a TokenReview.
pub(crate) fn of(group: &str, kind: &str) -> Option<MetaRules> {
    let rule = |namespaced, name: NameRule| Some(MetaRules { namespaced, name, core: true });
    let extension = |name: NameRule| Some(MetaRules { namespaced: false, name, core: false });
    match (group, kind) {
        ("", "Service") => rule(NAMESPACED, names::dns1035_name),
        ("apps", "StatefulSet") => rule(NAMESPACED, names::label_name),
        ("", "Namespace") => rule(CLUSTER, names::label_name),
        ("", "Node" | "PersistentVolume" | "ComponentStatus") => rule(CLUSTER, names::subdomain_name),
        (
            "",
            "Pod"
            | "ConfigMap"
            | "Secret"
            | "ServiceAccount"
            | "Endpoints"
            | "LimitRange"
            | "ResourceQuota"
            | "PersistentVolumeClaim"
            | "PodTemplate"
            | "ReplicationController",
        )
        | ("apps", "Deployment" | "ReplicaSet" | "DaemonSet" | "ControllerRevision")
        | ("batch", "Job" | "CronJob")
        | ("networking.k8s.io", "Ingress" | "NetworkPolicy")
        | ("policy", "PodDisruptionBudget")
        | ("autoscaling", "HorizontalPodAutoscaler")
        | ("coordination.k8s.io", "Lease")
        | ("discovery.k8s.io", "EndpointSlice")
        | ("storage.k8s.io", "CSIStorageCapacity")
        | ("resource.k8s.io", "ResourceClaim" | "ResourceClaimTemplate") => {
            rule(NAMESPACED, names::subdomain_name)
        }
        ("" | "events.k8s.io", "Event") => rule(NAMESPACED, names::subdomain_name),
        ("networking.k8s.io", "IngressClass" | "ServiceCIDR")
        | ("storage.k8s.io", "StorageClass" | "VolumeAttachment" | "CSINode" | "VolumeAttributesClass")
        | ("scheduling.k8s.io", "PriorityClass")
        | ("node.k8s.io", "RuntimeClass")
        | ("resource.k8s.io", "DeviceClass" | "ResourceSlice")
        | ("flowcontrol.apiserver.k8s.io", "FlowSchema" | "PriorityLevelConfiguration") => {
            rule(CLUSTER, names::subdomain_name)
        }
        ("networking.k8s.io", "IPAddress") => rule(CLUSTER, super::networking::ip_address_name),
        ("storage.k8s.io", "CSIDriver") => rule(CLUSTER, names::subdomain_name),
        ("rbac.authorization.k8s.io", "Role" | "RoleBinding") => rule(NAMESPACED, names::path_segment_name),
        ("rbac.authorization.k8s.io", "ClusterRole" | "ClusterRoleBinding") => {
            rule(CLUSTER, names::path_segment_name)
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => rule(CLUSTER, |_, _| Vec::new()),
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration"
            | "MutatingWebhookConfiguration"
            | "ValidatingAdmissionPolicy"
            | "ValidatingAdmissionPolicyBinding"
            | "MutatingAdmissionPolicy"
            | "MutatingAdmissionPolicyBinding",
        )
        | ("apiextensions.k8s.io", "CustomResourceDefinition")
        | ("apiregistration.k8s.io", "APIService") => extension(names::subdomain_name),
        _ => None,
    }
}
