//! DefaultIngressClass: an Ingress that names no class gets the default one.

use async_trait::async_trait;

use super::storage::newest_default;
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::field_at;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

static INGRESSES: GroupResource = GroupResource::of("networking.k8s.io", "ingresses");
static CLASSES: GroupResource = GroupResource::of("networking.k8s.io", "ingressclasses");

/// The plugin.
#[derive(Debug, Default)]
pub struct DefaultIngressClass;

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if request.operation != Operation::Create || !request.is_for(&INGRESSES) {
            return Ok(());
        }
        let ingress = request.object();
        let has_class = ingress["spec"]["ingressClassName"].is_string()
            || ingress["metadata"]["annotations"]["kubernetes.io/ingress.class"].is_string();
        let mark = ["ingressclass.kubernetes.io/is-default-class"];
        if !has_class
            && let Some(class) = newest_default(cx, &CLASSES, &mark)
            && let Some(ingress) = request.object.as_mut()
        {
            field_at(ingress, "spec")["ingressClassName"] = class["metadata"]["name"].clone();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sim::admission::testing::{Cluster, create};

    #[test]
    fn ingresses_get_the_default_class_unless_they_name_one() {
        let cluster = Cluster::new();
        let admitted = |metadata: Value, class: Value| {
            let ingress = json!({"metadata": metadata, "spec": {"ingressClassName": class}});
            let mut request = create("networking.k8s.io", "ingresses", ingress);
            cluster.admit(&DefaultIngressClass, &mut request).unwrap();
            request.object.unwrap()["spec"]["ingressClassName"].clone()
        };
        assert_eq!(admitted(json!({}), Value::Null), Value::Null);
        let default = json!({"metadata": {"name": "nginx", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}});
        cluster.put(&CLASSES, default);
        assert_eq!(admitted(json!({}), Value::Null), "nginx");
        assert_eq!(admitted(json!({}), json!("other")), "other");
        let annotated = json!({"annotations": {"kubernetes.io/ingress.class": "x"}});
        assert_eq!(admitted(annotated, Value::Null), Value::Null);
    }
}
