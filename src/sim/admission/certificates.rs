//! What the plugins about certificates share: who may speak for a signer, and what a signing request asks for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::pods::text;
use super::{AdmissionCx, AdmissionRequest};
use crate::sim::attributes::Attributes;
use crate::sim::pki::request::SigningRequest;
use crate::sim::resource::GroupResource;

pub mod approval;
pub mod attest;
pub mod signing;
pub mod subject_restriction;

const GROUP: &str = "certificates.k8s.io";

static REQUESTS: GroupResource = GroupResource::of(GROUP, "certificatesigningrequests");
static BUNDLES: GroupResource = GroupResource::of(GROUP, "clustertrustbundles");

/// Reads what a CertificateSigningRequest's spec asks for.
pub(super) fn parse(spec: &Value) -> Result<SigningRequest, String> {
    let pem = STANDARD.decode(text(spec, "request")).map_err(|error| error.to_string())?;
    SigningRequest::parse(&pem).map_err(|error| error.to_string())
}

/// Tells whether a user may do something for a signer: by its name, or by its whole domain.
fn may(cx: &AdmissionCx<'_>, request: &AdmissionRequest, verb: &str, signer: &str) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    [signer.to_owned(), format!("{domain}/*")].into_iter().any(|name| {
        let asked = Attributes {
            user: request.user.clone(),
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: "signers".to_owned(),
            name,
            ..Attributes::default()
        };
        cx.authorizer.authorize(&asked).is_allowed()
    })
}

#[cfg(test)]
mod testing {
    use serde_json::{Value, json};

    use super::GROUP;
    use crate::sim::admission::AdmissionRequest;
    use crate::sim::admission::testing::{Cluster, update};
    use crate::sim::rbac::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES};

    pub(super) fn cluster(verb: &str, names: Value) -> Cluster {
        let rules = json!([{"apiGroups": [GROUP], "resources": ["signers"], "resourceNames": names, "verbs": [verb]}]);
        Cluster::new().with(&CLUSTER_ROLES, json!({"metadata": {"name": "r"}, "rules": rules})).with(
            &CLUSTER_ROLE_BINDINGS,
            json!({"metadata": {"name": "r"}, "subjects": [{"kind": "User", "name": "jane"}],
                "roleRef": {"kind": "ClusterRole", "name": "r"}}),
        )
    }

    fn csr(signer: &str, status: Value) -> Value {
        json!({"metadata": {"name": "x"}, "spec": {"signerName": signer}, "status": status})
    }

    pub(super) fn on(subresource: &str, signer: &str, status: Value) -> AdmissionRequest {
        let mut request =
            update(GROUP, "certificatesigningrequests", csr(signer, json!({})), csr(signer, status));
        request.subresource = subresource.into();
        request
    }
}
