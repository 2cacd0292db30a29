//! AlwaysPullImages: no Pod runs an image that its node has without showing credentials for it.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::pods::{PODS, containers, items, text};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::field::{FieldError, Path};
use crate::sim::object::{field_at, items_mut};
use crate::sim::status::Status;

const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// The plugin.
#[derive(Debug, Default)]
pub struct AlwaysPullImages;

#[async_trait]
impl Plugin for AlwaysPullImages {
    fn name(&self) -> &'static str {
        "AlwaysPullImages"
    }

    async fn admit(&self, _cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !is_subject(request) {
            return Ok(());
        }
        let Some(pod) = request.object.as_mut() else { return Ok(()) };
        let spec = field_at(pod, "spec");
        for list in LISTS {
            for container in items_mut(spec, list) {
                container["imagePullPolicy"] = json!("Always");
            }
        }
        for volume in items_mut(spec, "volumes") {
            if volume["image"].is_object() {
                volume["image"]["pullPolicy"] = json!("Always");
            }
        }
        Ok(())
    }

    async fn validate(&self, _cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !is_subject(request) {
            return Ok(());
        }
        let spec = &request.object()["spec"];
        for list in LISTS {
            for (index, container) in items(&spec[list]).enumerate() {
                let policy = text(container, "imagePullPolicy");
                if policy != "Always" {
                    let path = Path::new("spec").child(list).index(index).child("imagePullPolicy");
                    return Err(request.forbidden(FieldError::not_supported(&path, policy, &["Always"])));
                }
            }
        }
        Ok(())
    }
}

/// New Pods, and changes that bring a new image.
fn is_subject(request: &AdmissionRequest) -> bool {
    if !request.is_for(&PODS) {
        return false;
    }
    match request.operation {
        Operation::Create => true,
        Operation::Update => {
            let old: Vec<&Value> =
                containers(&request.old()["spec"]).map(|container| &container["image"]).collect();
            containers(&request.object()["spec"]).any(|container| !old.contains(&&container["image"]))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::admission::testing::{Cluster, create, update};

    #[test]
    fn every_container_pulls() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "initContainers": [{"name": "i", "image": "a", "imagePullPolicy": "Never"}],
            "containers": [{"name": "c", "image": "a"}], "volumes": [{"name": "v", "image": {"reference": "x"}}]}});
        let mut request = create("", "pods", pod.clone());
        Cluster::new().admit(&AlwaysPullImages, &mut request).unwrap();
        let spec = &request.object()["spec"];
        assert_eq!(spec["initContainers"][0]["imagePullPolicy"], "Always");
        assert_eq!(spec["containers"][0]["imagePullPolicy"], "Always");
        assert_eq!(spec["volumes"][0]["image"]["pullPolicy"], "Always");
        Cluster::new().validate(&AlwaysPullImages, &mut request).unwrap();
        let refusal =
            Cluster::new().validate(&AlwaysPullImages, &mut create("", "pods", pod.clone())).unwrap_err();
        assert_eq!(
            refusal.message,
            r#"pods "p" is forbidden: spec.initContainers[0].imagePullPolicy: Unsupported value: "Never": supported values: "Always""#
        );
        let mut same = update("", "pods", pod.clone(), pod);
        Cluster::new().admit(&AlwaysPullImages, &mut same).unwrap();
        assert_eq!(same.object()["spec"]["initContainers"][0]["imagePullPolicy"], "Never");
    }
}
