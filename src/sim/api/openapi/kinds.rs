//! The schemas of built-in kinds, from the k8s-openapi crate.

use k8s_openapi as k8s;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value};

use super::extensions;

/// What every object's `apiVersion` is described with.
pub(super) const API_VERSION: &str =
    "APIVersion defines the versioned schema of this representation of an object.";
/// What every object's `kind` is described with.
pub(super) const KIND: &str = "Kind is a string value representing the REST resource this object represents.";
/// What every object's `metadata` is described with.
pub(super) const METADATA: &str = "Standard object's metadata.";

/// Adds the kinds of one group and version to a generator.
type Register = fn(&mut SchemaGenerator);

macro_rules! kinds {
    ($($group:literal $version:literal $path:path { $($kind:ident)* })*) => {
        /// The kinds of each group and version.
        const KINDS: &[(&str, &str, Register)] = &[$(($group, $version, |generator| {
            use $path as module;
            $(generator.subschema_for::<module::$kind>();)*
        })),*];

        /// The name of each kind's schema.
        fn names() -> Vec<(&'static str, &'static str, &'static str, String)> {
            let mut names = Vec::new();
            $({
                use $path as module;
                $(names.push(($group, $version, stringify!($kind), <module::$kind as JsonSchema>::schema_name().into_owned()));)*
            })*
            names
        }
    };
}

kinds! {
    "" "v1" k8s::api::core::v1 { Binding ComponentStatus ConfigMap Endpoints Event LimitRange Namespace Node PersistentVolumeClaim PersistentVolume Pod PodTemplate ReplicationController ResourceQuota Secret ServiceAccount Service }
    "apiregistration.k8s.io" "v1" k8s::kube_aggregator::pkg::apis::apiregistration::v1 { APIService }
    "apps" "v1" k8s::api::apps::v1 { ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet }
    "events.k8s.io" "v1" k8s::api::events::v1 { Event }
    "authentication.k8s.io" "v1" k8s::api::authentication::v1 { SelfSubjectReview TokenReview TokenRequest }
    "authorization.k8s.io" "v1" k8s::api::authorization::v1 { LocalSubjectAccessReview SelfSubjectAccessReview SelfSubjectRulesReview SubjectAccessReview }
    "autoscaling" "v2" k8s::api::autoscaling::v2 { HorizontalPodAutoscaler }
    "autoscaling" "v1" k8s::api::autoscaling::v1 { HorizontalPodAutoscaler Scale }
    "batch" "v1" k8s::api::batch::v1 { CronJob Job }
    "certificates.k8s.io" "v1" k8s::api::certificates::v1 { CertificateSigningRequest }
    "networking.k8s.io" "v1" k8s::api::networking::v1 { IngressClass Ingress IPAddress NetworkPolicy ServiceCIDR }
    "policy" "v1" k8s::api::policy::v1 { PodDisruptionBudget Eviction }
    "rbac.authorization.k8s.io" "v1" k8s::api::rbac::v1 { ClusterRoleBinding ClusterRole RoleBinding Role }
    "storage.k8s.io" "v1" k8s::api::storage::v1 { CSIDriver CSINode CSIStorageCapacity StorageClass VolumeAttachment VolumeAttributesClass }
    "admissionregistration.k8s.io" "v1" k8s::api::admissionregistration::v1 { MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding ValidatingWebhookConfiguration }
    "apiextensions.k8s.io" "v1" k8s::apiextensions_apiserver::pkg::apis::apiextensions::v1 { CustomResourceDefinition }
    "scheduling.k8s.io" "v1" k8s::api::scheduling::v1 { PriorityClass }
    "coordination.k8s.io" "v1" k8s::api::coordination::v1 { Lease }
    "node.k8s.io" "v1" k8s::api::node::v1 { RuntimeClass }
    "discovery.k8s.io" "v1" k8s::api::discovery::v1 { EndpointSlice }
    "resource.k8s.io" "v1" k8s::api::resource::v1 { DeviceClass ResourceClaim ResourceClaimTemplate ResourceSlice }
    "flowcontrol.apiserver.k8s.io" "v1" k8s::api::flowcontrol::v1 { FlowSchema PriorityLevelConfiguration }
}

/// Returns the schemas of a group and version with all that they refer to.
pub(super) fn schemas(group: &str, version: &str) -> Map<String, Value> {
    let mut generator = schemars::generate::SchemaSettings::openapi3().into_generator();
    for (of, at, register) in KINDS {
        if *of == group && *at == version {
            register(&mut generator);
        }
    }
    described(generator)
}

/// Returns the schemas of all kinds.
pub(super) fn all() -> Map<String, Value> {
    let mut generator = schemars::generate::SchemaSettings::openapi3().into_generator();
    for (_, _, register) in KINDS {
        register(&mut generator);
    }
    described(generator)
}

fn described(mut generator: SchemaGenerator) -> Map<String, Value> {
    let mut schemas = generator.take_definitions(true);
    for (name, schema) in &mut schemas {
        extensions::add(name, schema);
    }
    schemas
}

/// Returns the name of a kind's schema, such as `io.k8s.api.core.v1.Pod`.
pub(super) fn name_of(group: &str, version: &str, kind: &str) -> Option<String> {
    let found =
        names().into_iter().find(|(of, at, named, _)| *of == group && *at == version && *named == kind);
    found.map(|(_, _, _, name)| name)
}
