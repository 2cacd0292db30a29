//! CertificateApproval, CertificateSigning, CertificateSubjectRestriction and ClusterTrustBundleAttest: who may speak
//! for a signer, and what no certificate may say.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::pods::text;
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::attributes::Attributes;
use crate::sim::object::equal;
use crate::sim::pki::request::SigningRequest;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

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

/// Approving or denying needs the verb `approve` for the signer.
#[derive(Debug, Default)]
pub struct CertificateApproval;

#[async_trait]
impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        let approves = request.concerns(&REQUESTS)
            && request.subresource == "approval"
            && request.operation == Operation::Update;
        let signer = text(&request.object()["spec"], "signerName");
        if approves && !may(cx, request, "approve", signer) {
            let why = format!("user not permitted to approve requests with signerName {signer:?}");
            return Err(request.forbidden(why));
        }
        Ok(())
    }
}

/// Issuing needs the verb `sign` for the signer.
#[derive(Debug, Default)]
pub struct CertificateSigning;

#[async_trait]
impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        let on_status = request.concerns(&REQUESTS)
            && request.subresource == "status"
            && request.operation == Operation::Update;
        let (new, old) = (&request.object()["status"], &request.old()["status"]);
        let changes = ["certificate", "conditions"].iter().any(|field| !equal(&new[*field], &old[*field]));
        let signer = text(&request.old()["spec"], "signerName");
        if on_status && changes && !may(cx, request, "sign", signer) {
            let why = format!("user not permitted to sign requests with signerName {signer:?}");
            return Err(request.forbidden(why));
        }
        Ok(())
    }
}

/// Nobody asks for a client certificate of `system:masters`.
#[derive(Debug, Default)]
pub struct CertificateSubjectRestriction;

#[async_trait]
impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    async fn validate(&self, _cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        let spec = &request.object()["spec"];
        let signer = text(spec, "signerName");
        if request.operation != Operation::Create
            || !request.is_for(&REQUESTS)
            || signer != "kubernetes.io/kube-apiserver-client"
        {
            return Ok(());
        }
        match parse(spec) {
            Err(error) => Err(request.forbidden(format!("failed to parse CSR: {error}"))),
            Ok(asked) if asked.organizations.iter().any(|group| group == "system:masters") => {
                Err(request
                    .forbidden(format!("use of {signer} signer with system:masters group is not allowed")))
            }
            Ok(_) => Ok(()),
        }
    }
}

/// Writing a signer's trust bundle needs the verb `attest` for the signer.
#[derive(Debug, Default)]
pub struct ClusterTrustBundleAttest;

#[async_trait]
impl Plugin for ClusterTrustBundleAttest {
    fn name(&self) -> &'static str {
        "ClusterTrustBundleAttest"
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || !request.is_for(&BUNDLES) {
            return Ok(());
        }
        let (new, old) = (request.object(), request.old());
        let same = request.operation == Operation::Update
            && equal(&new["spec"], &old["spec"])
            && equal(&new["metadata"]["labels"], &old["metadata"]["labels"]);
        let signer = text(&new["spec"], "signerName");
        if same || signer.is_empty() || may(cx, request, "attest", signer) {
            return Ok(());
        }
        Err(request.forbidden(format!("user not permitted to attest for signerName {signer:?}")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::admission::testing::{Cluster, create, update};
    use crate::sim::rbac::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES};

    fn cluster(verb: &str, names: Value) -> Cluster {
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

    fn on(subresource: &str, signer: &str, status: Value) -> AdmissionRequest {
        let mut request =
            update(GROUP, "certificatesigningrequests", csr(signer, json!({})), csr(signer, status));
        request.subresource = subresource.into();
        request
    }

    #[test]
    fn approval_is_granted_by_signer_or_domain() {
        let approved = json!({"conditions": [{"type": "Approved"}]});
        let judge = |names: Value, signer: &str| {
            cluster("approve", names)
                .validate(&CertificateApproval, &mut on("approval", signer, approved.clone()))
                .map_err(|refusal| refusal.message)
        };
        judge(json!(["a.io/s"]), "a.io/s").unwrap();
        judge(json!(["a.io/*"]), "a.io/s").unwrap();
        assert_eq!(
            judge(json!(["a.io/*"]), "b.io/s").unwrap_err(),
            r#"certificatesigningrequests.certificates.k8s.io "x" is forbidden: user not permitted to approve requests with signerName "b.io/s""#
        );
    }

    #[test]
    fn signing_is_asked_for_when_certificate_or_conditions_change() {
        let judge = |verb: &str, status: Value| {
            cluster(verb, json!(["a.io/s"]))
                .validate(&CertificateSigning, &mut on("status", "a.io/s", status))
                .map_err(|refusal| refusal.message)
        };
        judge("sign", json!({"certificate": "x"})).unwrap();
        judge("approve", json!({})).unwrap();
        assert!(
            judge("approve", json!({"certificate": "x"}))
                .unwrap_err()
                .contains("not permitted to sign requests")
        );
        assert!(judge("approve", json!({"conditions": [{"type": "Failed"}]})).is_err());
    }

    #[test]
    fn nobody_becomes_a_master_by_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let request = |organization: &str, signer: &str| {
            let mut params = rcgen::CertificateParams::default();
            params.distinguished_name.push(rcgen::DnType::OrganizationName, organization);
            let pem = params.serialize_request(&key).unwrap().pem().unwrap();
            let spec = json!({"signerName": signer, "request": STANDARD.encode(pem)});
            create(GROUP, "certificatesigningrequests", json!({"metadata": {"name": "x"}, "spec": spec}))
        };
        let judge = |mut request: AdmissionRequest| {
            Cluster::new()
                .validate(&CertificateSubjectRestriction, &mut request)
                .map_err(|refusal| refusal.message)
        };
        let client = "kubernetes.io/kube-apiserver-client";
        judge(request("developers", client)).unwrap();
        judge(request("system:masters", "example.com/own")).unwrap();
        assert_eq!(
            judge(request("system:masters", client)).unwrap_err(),
            r#"certificatesigningrequests.certificates.k8s.io "x" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"#
        );
        let mut broken = request("x", client);
        broken.object.as_mut().unwrap()["spec"]["request"] = json!("eA==");
        assert!(judge(broken).unwrap_err().contains("failed to parse CSR"));
    }
}
