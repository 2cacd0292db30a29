//! PersistentVolumeClaimResize: bound claims grow where their class allows it.

use async_trait::async_trait;
use serde_json::Value;

use super::{CLAIMS, CLASS_ANNOTATION, CLASSES};
use crate::sim::admission::pods::text;
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::quantity::Quantity;
use crate::sim::status::Status;

/// Lets bound claims grow where their class allows it.
#[derive(Debug, Default)]
pub struct PersistentVolumeClaimResize;

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if request.operation != Operation::Update || !request.is_for(&CLAIMS) {
            return Ok(());
        }
        let (new, old) = (request.object(), request.old());
        let size = |claim: &Value| Quantity::of(&claim["spec"]["resources"]["requests"]["storage"]);
        if size(new) <= size(old) {
            return Ok(());
        }
        if text(&old["status"], "phase") != "Bound" {
            return Err(request.forbidden("Only bound persistent volume claims can be expanded"));
        }
        let class = class_of(new);
        let allows = !class.is_empty()
            && class == class_of(old)
            && cx.get(&CLASSES, "", class).is_some_and(|class| class["allowVolumeExpansion"] == true);
        if allows {
            return Ok(());
        }
        Err(request.forbidden(
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
        ))
    }
}

fn class_of(claim: &Value) -> &str {
    let annotated = claim["metadata"]["annotations"][CLASS_ANNOTATION].as_str();
    annotated.or_else(|| claim["spec"]["storageClassName"].as_str()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{claim, class};
    use super::*;
    use crate::sim::admission::testing::{Cluster, update};

    #[test]
    fn claims_grow_when_bound_and_allowed() {
        let cluster =
            Cluster::new().with(&CLASSES, class("grows", "", true)).with(&CLASSES, class("stays", "", false));
        let change = |old: Value, new: Value| {
            let mut request = update("", "persistentvolumeclaims", old, new);
            cluster.validate(&PersistentVolumeClaimResize, &mut request).map_err(|refusal| refusal.message)
        };
        let grows = |size: &str, phase: &str| claim(json!("grows"), size, phase);
        change(grows("1Gi", "Bound"), grows("2Gi", "Bound")).unwrap();
        change(grows("1Gi", "Pending"), grows("1024Mi", "Pending")).unwrap();
        assert_eq!(
            change(grows("1Gi", "Pending"), grows("2Gi", "Pending")).unwrap_err(),
            r#"persistentvolumeclaims "c" is forbidden: Only bound persistent volume claims can be expanded"#
        );
        let stays = |size: &str| claim(json!("stays"), size, "Bound");
        assert!(
            change(stays("1Gi"), stays("2Gi"))
                .unwrap_err()
                .contains("the storageclass that provisions the pvc must support resize")
        );
    }
}
