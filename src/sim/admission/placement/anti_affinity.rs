//! LimitPodHardAntiAffinityTopology: Pods keep others away from their host and no more. Off by default.

use async_trait::async_trait;

use super::writes_pod;
use crate::sim::admission::pods::{items, text};
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Plugin};
use crate::sim::status::Status;

/// Refuses Pods that keep others away from more than a node.
#[derive(Debug, Default)]
pub struct LimitPodHardAntiAffinityTopology;

#[async_trait]
impl Plugin for LimitPodHardAntiAffinityTopology {
    fn name(&self) -> &'static str {
        "LimitPodHardAntiAffinityTopology"
    }

    async fn validate(&self, _cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        const HOST: &str = "kubernetes.io/hostname";
        if !writes_pod(request) {
            return Ok(());
        }
        let affinity = &request.object()["spec"]["affinity"]["podAntiAffinity"];
        let other = items(&affinity["requiredDuringSchedulingIgnoredDuringExecution"])
            .map(|term| text(term, "topologyKey"))
            .find(|key| *key != HOST);
        match other {
            None => Ok(()),
            Some(key) => Err(request.forbidden(format!(
                "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOST} is allowed"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::admit;
    use super::*;
    use crate::sim::admission::testing::Cluster;

    #[test]
    fn hard_anti_affinity_is_of_hosts() {
        let spec = |key: &str| {
            json!({"affinity": {"podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": key}]}}})
        };
        admit(&Cluster::new(), &LimitPodHardAntiAffinityTopology, spec("kubernetes.io/hostname")).unwrap();
        assert!(admit(&Cluster::new(), &LimitPodHardAntiAffinityTopology, spec("zone")).is_err());
    }
}
