//! AlwaysAdmit and AlwaysDeny: what they say. Off by default.

use async_trait::async_trait;

use super::{AdmissionCx, AdmissionRequest, Plugin};
use crate::sim::status::Status;

/// Admits everything.
#[derive(Debug, Default)]
pub struct AlwaysAdmit;

#[async_trait]
impl Plugin for AlwaysAdmit {
    fn name(&self) -> &'static str {
        "AlwaysAdmit"
    }
}

/// Refuses everything.
#[derive(Debug, Default)]
pub struct AlwaysDeny;

#[async_trait]
impl Plugin for AlwaysDeny {
    fn name(&self) -> &'static str {
        "AlwaysDeny"
    }

    async fn admit(&self, _cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        Err(request.forbidden("admission control is denying all modifications"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::sim::admission::testing::{Cluster, create};

    #[test]
    fn nothing_passes_the_one_that_denies() {
        let mut request = create("", "pods", json!({"metadata": {"name": "p"}}));
        assert!(Cluster::new().admit(&AlwaysDeny, &mut request).is_err());
        Cluster::new().admit(&AlwaysAdmit, &mut request).unwrap();
    }
}
