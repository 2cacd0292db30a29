//! `workload`: the learner's fix left the work running. Compares with what was recorded after the seed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Check, CheckCx, CheckError, Verdict};
use crate::cluster::Capability;

/// Makes sure that workloads still do their work; meant for gates.
///
/// Each one must exist with the identity (uid) that it had after the seed, with at least as many replicas, all of
/// them ready and of the newest template, with nothing left of older ones, with every container it had present,
/// ready and not restarting, and with the images it had. A rollout under way is given time to end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// The namespace.
    pub namespace: String,
    /// The workloads as `Kind/name`: Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or Pod.
    pub of: Vec<String>,
    /// At least how many replicas each must have; as many as after the seed when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<u32>,
    /// The containers that must be there, init and ephemeral ones included; those after the seed when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
    /// What may become of the images.
    #[serde(default)]
    pub images: Images,
    /// Allows the workload to be deleted and made anew; otherwise its uid must be the one it had.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_recreated: bool,
    /// Services of the namespace that must have a ready endpoint on one of these workloads' Pods for each port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// How many seconds a rollout may take to end before it counts as stuck.
    #[serde(default = "settle_seconds")]
    pub settle_seconds: u32,
}

/// What may become of a workload's images.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Images {
    /// They are the ones it had.
    #[default]
    Unchanged,
    /// They may be any.
    Any,
    /// These containers have these images, the others the ones they had.
    Exactly(BTreeMap<String, String>),
}

fn settle_seconds() -> u32 {
    30
}

impl Check for Workload {
    const NEEDS: &'static [Capability] = &[Capability::Api, Capability::Pods];

    async fn run(&self, _cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        Err(CheckError::Spec("`workload` is not judged yet".to_owned()))
    }
}
