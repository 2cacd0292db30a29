//! StorageObjectInUseProtection: claims, volumes and attribute classes stay while they are used.

use async_trait::async_trait;
use serde_json::json;

use super::{ATTRIBUTES, CLAIMS, VOLUMES};
use crate::sim::admission::pods::items;
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::field_at;
use crate::sim::status::Status;

/// Keeps claims, volumes and attribute classes from going while they are used.
#[derive(Debug, Default)]
pub struct StorageObjectInUseProtection;

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    async fn admit(&self, _cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if request.operation != Operation::Create {
            return Ok(());
        }
        let finalizer = if request.is_for(&CLAIMS) {
            "kubernetes.io/pvc-protection"
        } else if request.is_for(&VOLUMES) {
            "kubernetes.io/pv-protection"
        } else if request.is_for(&ATTRIBUTES) {
            "kubernetes.io/vac-protection"
        } else {
            return Ok(());
        };
        if let Some(object) = request.object.as_mut() {
            let finalizers = field_at(field_at(object, "metadata"), "finalizers");
            if !items(finalizers).any(|own| own == finalizer) {
                match finalizers.as_array_mut() {
                    Some(list) => list.push(json!(finalizer)),
                    None => *finalizers = json!([finalizer]),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::admission::testing::{Cluster, create};

    #[test]
    fn what_can_be_in_use_is_protected_once() {
        for (group, resource, finalizer) in [
            ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
            ("", "persistentvolumes", "kubernetes.io/pv-protection"),
            ("storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection"),
        ] {
            let mut request = create(group, resource, json!({"metadata": {"name": "x"}}));
            for _ in 0..2 {
                Cluster::new().admit(&StorageObjectInUseProtection, &mut request).unwrap();
            }
            assert_eq!(request.object.unwrap()["metadata"]["finalizers"], json!([finalizer]));
        }
    }
}
