//! Plugins of one rule: AlwaysAdmit, AlwaysDeny, NamespaceExists and DenyServiceExternalIPs. All are off by default.

use async_trait::async_trait;

use super::pods::{NAMESPACES, items};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

static SERVICES: GroupResource = GroupResource::of("", "services");

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

/// Refuses what is in a namespace that is not there.
#[derive(Debug, Default)]
pub struct NamespaceExists;

#[async_trait]
impl Plugin for NamespaceExists {
    fn name(&self) -> &'static str {
        "NamespaceExists"
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        let namespace = &request.namespace;
        if namespace.is_empty()
            || request.concerns(&NAMESPACES)
            || request.operation == Operation::Connect
            || cx.get(&NAMESPACES, "", namespace).is_some()
        {
            return Ok(());
        }
        Err(Status::not_found(&NAMESPACES, namespace))
    }
}

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

    #[test]
    fn nothing_passes_the_one_that_denies() {
        let mut request = create("", "pods", json!({"metadata": {"name": "p"}}));
        assert!(Cluster::new().admit(&AlwaysDeny, &mut request).is_err());
        Cluster::new().admit(&AlwaysAdmit, &mut request).unwrap();
    }
}
