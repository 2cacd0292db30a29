//! CertificateSigning: issuing a certificate takes the right to, for its signer.

use async_trait::async_trait;

use super::{REQUESTS, may};
use crate::sim::admission::pods::text;
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::equal;
use crate::sim::status::Status;

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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{cluster, on};
    use super::*;

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
}
