//! DenyServiceExternalIPs: no Service gets new external addresses. Off by default.

use async_trait::async_trait;

use super::pods::items;
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

static SERVICES: GroupResource = GroupResource::of("", "services");

/// Refuses Services new external addresses.
#[derive(Debug, Default)]
pub struct DenyServiceExternalIPs;

#[async_trait]
impl Plugin for DenyServiceExternalIPs {
    fn name(&self) -> &'static str {
        "DenyServiceExternalIPs"
    }

    async fn validate(&self, _cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if !writes || !request.is_for(&SERVICES) {
            return Ok(());
        }
        let (new, old) = (&request.object()["spec"]["externalIPs"], &request.old()["spec"]["externalIPs"]);
        if items(new).all(|address| items(old).any(|own| own == address)) {
            return Ok(());
        }
        Err(request.forbidden("Use of external IPs is denied by admission control"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sim::admission::testing::{Cluster, create, update};

    #[test]
    fn external_addresses_may_only_go() {
        let service = |addresses: Value| json!({"metadata": {"name": "s", "namespace": "n"}, "spec": {"externalIPs": addresses}});
        let judge =
            |mut request: AdmissionRequest| Cluster::new().validate(&DenyServiceExternalIPs, &mut request);
        let refusal = judge(create("", "services", service(json!(["1.2.3.4"])))).unwrap_err();
        assert_eq!(
            refusal.message,
            r#"services "s" is forbidden: Use of external IPs is denied by admission control"#
        );
        judge(create("", "services", service(Value::Null))).unwrap();
        judge(update("", "services", service(json!(["1.2.3.4", "5.6.7.8"])), service(json!(["5.6.7.8"]))))
            .unwrap();
        assert!(
            judge(update("", "services", service(json!(["1.2.3.4"])), service(json!(["5.6.7.8"])))).is_err()
        );
    }
}
