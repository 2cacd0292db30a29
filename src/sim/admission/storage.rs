//! What the plugins about storage share: its resources, and which of several classes is the default.

use std::sync::Arc;

use serde_json::Value;

use super::AdmissionCx;
use super::pods::text;
use crate::sim::resource::GroupResource;

pub mod default_class;
pub mod in_use_protection;
pub mod resize;

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

#[cfg(test)]
mod testing {
    use serde_json::{Value, json};

    pub(super) fn class(name: &str, created: &str, default: bool) -> Value {
        json!({"metadata": {"name": name, "creationTimestamp": created, "annotations":
            {"storageclass.kubernetes.io/is-default-class": default.to_string()}}, "allowVolumeExpansion": default})
    }

    pub(super) fn claim(class: Value, size: &str, phase: &str) -> Value {
        json!({"metadata": {"name": "c", "namespace": "n"}, "status": {"phase": phase},
            "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}})
    }
}
