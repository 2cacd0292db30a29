//! TaintNodesByCondition: a new node is tainted until it is ready.

use async_trait::async_trait;
use serde_json::json;

use crate::sim::admission::pods::{items, text};
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::field_at;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

static NODES: GroupResource = GroupResource::of("", "nodes");

/// Taints new nodes until they are ready.
#[derive(Debug, Default)]
pub struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    async fn admit(&self, _cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if request.operation != Operation::Create || !request.is_for(&NODES) {
            return Ok(());
        }
        let Some(node) = request.object.as_mut() else { return Ok(()) };
        let taints = field_at(field_at(node, "spec"), "taints");
        if items(taints).any(|taint| text(taint, "key") == NOT_READY && text(taint, "effect") == "NoSchedule")
        {
            return Ok(());
        }
        let taint = json!({"key": NOT_READY, "effect": "NoSchedule"});
        match taints.as_array_mut() {
            Some(list) => list.push(taint),
            None => *taints = json!([taint]),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::admission::testing::{Cluster, create};

    #[test]
    fn new_nodes_wait_to_be_ready() {
        let mut request = create("", "nodes", json!({"metadata": {"name": "w"}}));
        for _ in 0..2 {
            Cluster::new().admit(&TaintNodesByCondition, &mut request).unwrap();
        }
        assert_eq!(request.object()["spec"]["taints"], json!([{"key": NOT_READY, "effect": "NoSchedule"}]));
    }
}
