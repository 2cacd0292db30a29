//! CertificateSubjectRestriction: no client certificate makes its holder a member of `system:masters`.

use async_trait::async_trait;

use super::{REQUESTS, parse};
use crate::sim::admission::pods::text;
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::status::Status;

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

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::super::GROUP;
    use super::*;
    use crate::sim::admission::testing::{Cluster, create};

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
