//! An API in memory, asked without a socket.

use std::sync::{Arc, OnceLock};

use cks_lab::clock::SystemClock;
use cks_lab::sim::api::Api;
use cks_lab::sim::attributes::UserInfo;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tower::ServiceExt as _;

/// Every kind of object that is most often written, and requests that are no objects.
pub const COLLECTIONS: &[&str] = &[
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

/// Asks a fresh API with what `set_up` put into it; many inputs share one.
pub struct Asked {
    api: Api,
    runtime: tokio::runtime::Runtime,
}

impl Asked {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { api: Api::in_memory(Arc::new(SystemClock)), runtime }
    }

    /// Sends a request and returns its status and body.
    pub fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(Full::new(body.to_vec().into()))
            .unwrap();
        self.runtime.block_on(async {
            let user = UserInfo::named("fuzzer", &["system:masters"]);
            let response = self.api.service(user).oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
        })
    }
}

thread_local! {
    static ASKED: OnceLock<Asked> = const { OnceLock::new() };
}

/// Uses the API of this thread, which `set_up` prepares the first time.
pub fn asked<T>(set_up: impl FnOnce(&Asked), with: impl FnOnce(&Asked) -> T) -> T {
    ASKED.with(|asked| {
        let asked = asked.get_or_init(|| {
            let asked = Asked::new();
            set_up(&asked);
            asked
        });
        with(asked)
    })
}
