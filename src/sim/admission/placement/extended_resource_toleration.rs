//! ExtendedResourceToleration: Pods that ask for a special device go to the nodes that are kept for it. Off by default.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::writes_pod;
use crate::sim::admission::pods::{containers, items, text};
use crate::sim::admission::runtime_class::includes;
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Plugin};
use crate::sim::object::field_at;
use crate::sim::status::Status;

/// Lets Pods that ask for a special device onto the nodes that are kept for it.
#[derive(Debug, Default)]
pub struct ExtendedResourceToleration;

#[async_trait]
impl Plugin for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
    }

    async fn admit(&self, _cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !writes_pod(request) {
            return Ok(());
        }
        let spec = &request.object()["spec"];
        let mut devices: Vec<String> = containers(spec)
            .flat_map(|container| container["resources"]["requests"].as_object().into_iter().flatten())
            .map(|(name, _)| name.clone())
            .filter(|name| is_extended(name))
            .collect();
        devices.sort();
        devices.dedup();
        let mut all: Vec<Value> = items(&spec["tolerations"]).cloned().collect();
        for device in &devices {
            let toleration = json!({"key": device, "operator": "Exists"});
            if !all.iter().any(|own| text(own, "key") == device && includes(own, &toleration)) {
                all.push(toleration);
            }
        }
        if let Some(pod) = request.object.as_mut().filter(|_| !devices.is_empty()) {
            field_at(pod, "spec")["tolerations"] = json!(all);
        }
        Ok(())
    }
}

fn is_extended(name: &str) -> bool {
    name.split_once('/')
        .is_some_and(|(domain, _)| domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"))
        && !name.starts_with("requests.")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::admit;
    use super::*;
    use crate::sim::admission::testing::Cluster;

    #[test]
    fn devices_are_tolerated() {
        let spec = json!({"containers": [{"resources": {"requests": {"example.com/gpu": "1", "cpu": "1"}}}]});
        let spec = admit(&Cluster::new(), &ExtendedResourceToleration, spec).unwrap();
        assert_eq!(spec["tolerations"], json!([{"key": "example.com/gpu", "operator": "Exists"}]));
    }
}
