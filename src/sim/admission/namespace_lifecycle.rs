//! NamespaceLifecycle: nothing is created in a namespace that is not there or is going, and three never go.

use async_trait::async_trait;
use serde_json::json;

use super::pods::{NAMESPACES, text};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::status::Status;

const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// The plugin.
#[derive(Debug, Default)]
pub struct NamespaceLifecycle;

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if request.concerns(&NAMESPACES) {
            if request.operation == Operation::Delete && IMMORTAL.contains(&request.name.as_str()) {
                return Err(request.forbidden("this namespace may not be deleted"));
            }
            return Ok(());
        }
        // A review must not tell which namespaces there are.
        let is_review =
            request.group == "authorization.k8s.io" && request.resource == "localsubjectaccessreviews";
        let writes = matches!(request.operation, Operation::Create | Operation::Update);
        if request.namespace.is_empty() || is_review || !writes {
            return Ok(());
        }
        let Some(namespace) = cx.get(&NAMESPACES, "", &request.namespace) else {
            return Err(Status::not_found(&NAMESPACES, &request.namespace));
        };
        if request.operation == Operation::Create && text(&namespace["status"], "phase") == "Terminating" {
            let name = &request.namespace;
            let mut refusal = request.forbidden(format!(
                "unable to create new content in namespace {name} because it is being terminated"
            ));
            refusal.details["causes"] = json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {name} is being terminated"),
                "field": "metadata.namespace",
            }]);
            return Err(refusal);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::admission::testing::{Cluster, create, delete, update};

    #[test]
    fn a_namespace_must_be_there() {
        let cluster = Cluster::new().with(&NAMESPACES, json!({"metadata": {"name": "here"}}));
        let cm = |namespace: &str| json!({"metadata": {"name": "a", "namespace": namespace}});
        cluster.admit(&NamespaceLifecycle, &mut create("", "configmaps", cm("here"))).unwrap();
        let refusal =
            cluster.admit(&NamespaceLifecycle, &mut create("", "configmaps", cm("gone"))).unwrap_err();
        assert_eq!((refusal.code, refusal.message.as_str()), (404, r#"namespaces "gone" not found"#));
        assert!(
            cluster
                .admit(&NamespaceLifecycle, &mut update("", "configmaps", cm("gone"), cm("gone")))
                .is_err()
        );
        cluster.admit(&NamespaceLifecycle, &mut delete("", "configmaps", cm("gone"))).unwrap();
        cluster
            .admit(&NamespaceLifecycle, &mut create("", "nodes", json!({"metadata": {"name": "n"}})))
            .unwrap();
        let review = json!({"metadata": {"namespace": "gone"}});
        let mut request = create("authorization.k8s.io", "localsubjectaccessreviews", review);
        cluster.admit(&NamespaceLifecycle, &mut request).unwrap();
    }

    #[test]
    fn a_going_namespace_takes_nothing_new() {
        let going = json!({"metadata": {"name": "going"}, "status": {"phase": "Terminating"}});
        let cluster = Cluster::new().with(&NAMESPACES, going);
        let pod = json!({"metadata": {"name": "y", "namespace": "going"}});
        let refusal = cluster.admit(&NamespaceLifecycle, &mut create("", "pods", pod.clone())).unwrap_err();
        assert_eq!(
            refusal.message,
            r#"pods "y" is forbidden: unable to create new content in namespace going because it is being terminated"#
        );
        assert_eq!(refusal.details["causes"][0]["reason"], "NamespaceTerminating");
        cluster.admit(&NamespaceLifecycle, &mut update("", "pods", pod.clone(), pod)).unwrap();
    }

    #[test]
    fn some_namespaces_stay() {
        let cluster = Cluster::new();
        let remove = |name: &str| {
            cluster.admit(
                &NamespaceLifecycle,
                &mut delete("", "namespaces", json!({"metadata": {"name": name}})),
            )
        };
        for name in ["default", "kube-system", "kube-public"] {
            let expected = format!(r#"namespaces "{name}" is forbidden: this namespace may not be deleted"#);
            assert_eq!(remove(name).unwrap_err().message, expected);
        }
        remove("kube-node-lease").unwrap();
        remove("mine").unwrap();
    }
}
