//! PodNodeSelector: a namespace's node selector joins that of its Pods. Off by default.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::json;

use super::{annotation, creates_pod};
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Plugin};
use crate::sim::object::{field_at, map_at};
use crate::sim::status::Status;

const NODE_SELECTOR: &str = "scheduler.alpha.kubernetes.io/node-selector";

/// Adds the node selector of a namespace to its Pods.
#[derive(Debug, Default)]
pub struct PodNodeSelector;

#[async_trait]
impl Plugin for PodNodeSelector {
    fn name(&self) -> &'static str {
        "PodNodeSelector"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !creates_pod(request) {
            return Ok(());
        }
        let wanted = annotation(cx, &request.namespace, NODE_SELECTOR).unwrap_or_default();
        let mut labels = BTreeMap::new();
        for pair in wanted.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some((key, value)) => labels.insert(key.trim().to_owned(), json!(value.trim())),
                None => return Err(Status::new(500, "", format!("invalid selector: {pair}"))),
            };
        }
        let own = &request.object()["spec"]["nodeSelector"];
        if labels.iter().any(|(key, value)| own.get(key).is_some_and(|other| other != value)) {
            let why = "pod node label selector conflicts with its namespace node label selector";
            return Err(request.forbidden(why));
        }
        if let Some(pod) = request.object.as_mut().filter(|_| !labels.is_empty()) {
            map_at(field_at(pod, "spec"), "nodeSelector").extend(labels);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{admit, cluster};
    use super::*;

    #[test]
    fn a_namespaces_node_selector_joins_the_pods() {
        let cluster = cluster(json!({NODE_SELECTOR: "env=prod, disk=ssd"}));
        let spec =
            admit(&cluster, &PodNodeSelector, json!({"nodeSelector": {"a": "b", "env": "prod"}})).unwrap();
        assert_eq!(spec["nodeSelector"], json!({"a": "b", "disk": "ssd", "env": "prod"}));
        assert_eq!(
            admit(&cluster, &PodNodeSelector, json!({"nodeSelector": {"env": "dev"}})).unwrap_err(),
            r#"pods "p" is forbidden: pod node label selector conflicts with its namespace node label selector"#
        );
    }
}
