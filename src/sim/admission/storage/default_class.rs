//! DefaultStorageClass: a claim that names no class gets the default one.

use async_trait::async_trait;

use super::{CLAIMS, CLASS_ANNOTATION, CLASSES, newest_default};
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::field_at;
use crate::sim::status::Status;

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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{claim, class};
    use super::*;
    use crate::sim::admission::testing::{Cluster, create};

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
}
