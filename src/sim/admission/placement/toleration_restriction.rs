//! PodTolerationRestriction: a namespace gives its Pods tolerations, and bounds them. Off by default.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{annotation, writes_pod};
use crate::sim::admission::pods::items;
use crate::sim::admission::runtime_class::{includes, merge};
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::field_at;
use crate::sim::pod_resources::qos_class;
use crate::sim::status::Status;

const DEFAULT_TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
const TOLERATIONS_WHITELIST: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";

/// Adds default tolerations of a namespace to its Pods, and holds them to its whitelist.
#[derive(Debug, Default)]
pub struct PodTolerationRestriction;

#[async_trait]
impl Plugin for PodTolerationRestriction {
    fn name(&self) -> &'static str {
        "PodTolerationRestriction"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !writes_pod(request) {
            return Ok(());
        }
        let mut all = if request.operation == Operation::Create {
            tolerations(cx, &request.namespace, DEFAULT_TOLERATIONS)?
        } else {
            Vec::new()
        };
        all.extend(items(&request.object()["spec"]["tolerations"]).cloned());
        if qos_class(request.object()) != "BestEffort" {
            let pressure = "node.kubernetes.io/memory-pressure";
            all.push(json!({"key": pressure, "operator": "Exists", "effect": "NoSchedule"}));
        }
        let merged = merge(&all);
        if let Some(pod) = request.object.as_mut().filter(|_| !merged.is_empty()) {
            field_at(pod, "spec")["tolerations"] = json!(merged);
        }
        self.validate(cx, request).await
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !writes_pod(request) {
            return Ok(());
        }
        let allowed = tolerations(cx, &request.namespace, TOLERATIONS_WHITELIST)?;
        let within = items(&request.object()["spec"]["tolerations"])
            .all(|toleration| allowed.iter().any(|wider| includes(wider, toleration)));
        if allowed.is_empty() || within {
            return Ok(());
        }
        let why = "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist";
        Err(Status::new(500, "", why))
    }
}

fn tolerations(cx: &AdmissionCx<'_>, namespace: &str, key: &str) -> Result<Vec<Value>, Status> {
    match annotation(cx, namespace, key).filter(|text| !text.is_empty()) {
        None => Ok(Vec::new()),
        Some(text) => serde_json::from_str(&text).map_err(|error| Status::new(500, "", error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{admit, cluster};
    use super::*;

    #[test]
    fn tolerations_are_added_and_held_to_the_whitelist() {
        let cluster = cluster(json!({
            DEFAULT_TOLERATIONS: r#"[{"key": "a", "operator": "Exists"}]"#,
            TOLERATIONS_WHITELIST: r#"[{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Exists"}]"#,
        }));
        let spec = admit(&cluster, &PodTolerationRestriction, json!({"containers": [{}]})).unwrap();
        assert_eq!(spec["tolerations"], json!([{"key": "a", "operator": "Exists"}]));
        let other = json!({"containers": [{}], "tolerations": [{"key": "c", "operator": "Exists"}]});
        assert!(
            admit(&cluster, &PodTolerationRestriction, other)
                .unwrap_err()
                .ends_with("conflict with its namespace whitelist")
        );
    }
}
