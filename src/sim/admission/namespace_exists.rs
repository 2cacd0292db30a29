//! NamespaceExists: what is written into a namespace that is not there is refused. Off by default.

use async_trait::async_trait;

use super::pods::NAMESPACES;
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::status::Status;

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
