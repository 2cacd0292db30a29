//! What is said over the control socket: one JSON line to ask, one to answer.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The cluster that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterRequest {
    /// Its name: a DNS label.
    pub name: String,
    /// How many worker nodes beside the control plane.
    pub workers: u32,
    /// The cluster whose nodes, keys and objects it is to have, where it is not to be a fresh one.
    pub copy_of: Option<String>,
}

/// A cluster that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterInfo {
    /// Its name.
    pub name: String,
    /// The URL of its API.
    pub server: String,
    /// The learner's kubeconfig, with the administrator's credentials.
    pub kubeconfig: PathBuf,
    /// The grader's kubeconfig.
    pub grader_kubeconfig: PathBuf,
    /// The names of its nodes, the control plane first.
    pub nodes: Vec<String>,
    /// Its folder.
    pub dir: PathBuf,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pong {
    /// Its process id.
    pub pid: u32,
    /// The version of the program that it is.
    pub version: String,
    /// How many clusters it hosts.
    pub clusters: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Ask {
    Ping,
    List,
    Create(ClusterRequest),
    Delete { name: String },
    Stop,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Reply {
    Pong(Pong),
    Clusters(Vec<ClusterInfo>),
    Cluster(ClusterInfo),
    Done,
    NoCluster { name: String },
    Exists { name: String },
    BadName { name: String },
    Failed { message: String },
}
