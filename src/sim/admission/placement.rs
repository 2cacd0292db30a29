//! What the plugins about where Pods go share. All but TaintNodesByCondition are off by default.

use super::pods::{NAMESPACES, PODS};
use super::{AdmissionCx, AdmissionRequest, Operation};

pub mod anti_affinity;
pub mod extended_resource_toleration;
pub mod node_selector;
pub mod taint_nodes;
pub mod toleration_restriction;

fn creates_pod(request: &AdmissionRequest) -> bool {
    request.operation == Operation::Create && request.is_for(&PODS)
}

fn writes_pod(request: &AdmissionRequest) -> bool {
    matches!(request.operation, Operation::Create | Operation::Update) && request.is_for(&PODS)
}

fn annotation(cx: &AdmissionCx<'_>, namespace: &str, key: &str) -> Option<String> {
    let namespace = cx.get(&NAMESPACES, "", namespace)?;
    namespace["metadata"]["annotations"][key].as_str().map(ToOwned::to_owned)
}

#[cfg(test)]
mod testing {
    use serde_json::{Value, json};

    use super::NAMESPACES;
    use crate::sim::admission::Plugin;
    use crate::sim::admission::testing::{Cluster, create};

    pub(super) fn cluster(annotations: Value) -> Cluster {
        Cluster::new().with(&NAMESPACES, json!({"metadata": {"name": "n", "annotations": annotations}}))
    }

    pub(super) fn admit(cluster: &Cluster, plugin: &dyn Plugin, spec: Value) -> Result<Value, String> {
        let mut request =
            create("", "pods", json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec}));
        let result =
            cluster.admit(plugin, &mut request).and_then(|()| cluster.validate(plugin, &mut request));
        result.map(|()| request.object.unwrap()["spec"].clone()).map_err(|refusal| refusal.message)
    }
}
