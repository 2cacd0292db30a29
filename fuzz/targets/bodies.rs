//! Bodies of requests that create: JSON, YAML and protobuf, to every kind. Nothing is stored, so that inputs do not
//! depend on one another.

#![no_main]

mod http;

use libfuzzer_sys::{Corpus, fuzz_target};

/// Every kind of object that is most often written, and requests that are no objects.
const COLLECTIONS: &[&str] = &[
    "/api/v1/namespaces/default/pods",
    "/api/v1/namespaces/default/configmaps",
    "/api/v1/namespaces/default/secrets",
    "/api/v1/namespaces/default/services",
    "/api/v1/namespaces/default/serviceaccounts",
    "/api/v1/namespaces/default/resourcequotas",
    "/api/v1/namespaces/default/limitranges",
    "/api/v1/namespaces/default/persistentvolumeclaims",
    "/api/v1/namespaces",
    "/api/v1/nodes",
    "/api/v1/persistentvolumes",
    "/apis/apps/v1/namespaces/default/deployments",
    "/apis/apps/v1/namespaces/default/daemonsets",
    "/apis/apps/v1/namespaces/default/statefulsets",
    "/apis/batch/v1/namespaces/default/jobs",
    "/apis/batch/v1/namespaces/default/cronjobs",
    "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
    "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
    "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    "/apis/certificates.k8s.io/v1/certificatesigningrequests",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    "/apis/authentication.k8s.io/v1/tokenreviews",
    "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
    "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims",
];

fuzz_target!(|data: &[u8]| -> Corpus {
    let [kind, collection, body @ ..] = data else { return Corpus::Reject };
    let kinds = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
    let kind = kinds[usize::from(*kind) % kinds.len()];
    let path = COLLECTIONS[usize::from(*collection) % COLLECTIONS.len()];
    let (status, answer) = http::asked(
        |_| {},
        |asked| asked.send("POST", &format!("{path}?dryRun=All&fieldValidation=Warn"), kind, body),
    );
    http::hold(path, status, &answer);
    Corpus::Keep
});
