//! CertificateApproval: approving or denying a request takes the right to, for its signer.

use async_trait::async_trait;

use super::{REQUESTS, may};
use crate::sim::admission::pods::text;
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::status::Status;

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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{cluster, on};
    use super::*;

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
}
