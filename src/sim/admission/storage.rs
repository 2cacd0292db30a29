//! DefaultStorageClass, StorageObjectInUseProtection and PersistentVolumeClaimResize: what happens to claims and
//! volumes on their way in.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::pods::{items, text};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::field_at;
use crate::sim::quantity::Quantity;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

static CLAIMS: GroupResource = GroupResource::of("", "persistentvolumeclaims");
static VOLUMES: GroupResource = GroupResource::of("", "persistentvolumes");
static CLASSES: GroupResource = GroupResource::of("storage.k8s.io", "storageclasses");
static ATTRIBUTES: GroupResource = GroupResource::of("storage.k8s.io", "volumeattributesclasses");

const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// Returns the newest object that an annotation marks as the default; of equally old ones the first by name.
pub(super) fn newest_default(
    cx: &AdmissionCx<'_>,
    resource: &GroupResource,
    annotations: &[&str],
) -> Option<Arc<Value>> {
    let is_default =
        |object: &Value| annotations.iter().any(|key| object["metadata"]["annotations"][*key] == "true");
    let mut found = cx.list(resource, None);
    found.retain(|object| is_default(object));
    let created = |object: &Value| text(&object["metadata"], "creationTimestamp").to_owned();
    // The list is sorted by name, and the sort keeps that order.
    found.sort_by_key(|object| std::cmp::Reverse(created(object)));
    found.into_iter().next()
}

/// Gives a claim that names no class the default one.
#[derive(Debug, Default)]
pub struct DefaultStorageClass;

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if request.operation != Operation::Create || !request.is_for(&CLAIMS) {
            return Ok(());
        }
        let claim = request.object();
        let has_class = claim["spec"]["storageClassName"].is_string()
            || claim["metadata"]["annotations"][CLASS_ANNOTATION].is_string();
        if has_class {
            return Ok(());
        }
        let marks = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ];
        if let Some(class) = newest_default(cx, &CLASSES, &marks)
            && let Some(claim) = request.object.as_mut()
        {
            field_at(claim, "spec")["storageClassName"] = class["metadata"]["name"].clone();
        }
        Ok(())
    }
}

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
    use super::*;
    use crate::sim::admission::testing::{Cluster, create, update};

    fn class(name: &str, created: &str, default: bool) -> Value {
        json!({"metadata": {"name": name, "creationTimestamp": created, "annotations":
            {"storageclass.kubernetes.io/is-default-class": default.to_string()}}, "allowVolumeExpansion": default})
    }

    fn claim(class: Value, size: &str, phase: &str) -> Value {
        json!({"metadata": {"name": "c", "namespace": "n"}, "status": {"phase": phase},
            "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}})
    }

    #[test]
    fn claims_get_the_newest_default_class() {
        let cluster = Cluster::new().with(&CLASSES, class("plain", "2026-01-09T00:00:00Z", false));
        let admitted = |cluster: &Cluster, class: Value| {
            let mut request = create("", "persistentvolumeclaims", claim(class, "1Gi", ""));
            cluster.admit(&DefaultStorageClass, &mut request).unwrap();
            request.object.unwrap()["spec"]["storageClassName"].clone()
        };
        assert_eq!(admitted(&cluster, Value::Null), Value::Null);
        cluster.put(&CLASSES, class("old", "2026-01-01T00:00:00Z", true));
        cluster.put(&CLASSES, class("new-b", "2026-01-02T00:00:00Z", true));
        cluster.put(&CLASSES, class("new-a", "2026-01-02T00:00:00Z", true));
        assert_eq!(admitted(&cluster, Value::Null), "new-a");
        assert_eq!(admitted(&cluster, json!("")), "", "no class is a choice");
        assert_eq!(admitted(&cluster, json!("old")), "old");
    }

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
