//! ClusterTrustBundleAttest: writing a signer's trust bundle takes the right to, for the signer.

use async_trait::async_trait;

use super::{BUNDLES, may};
use crate::sim::admission::pods::text;
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::equal;
use crate::sim::status::Status;

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
