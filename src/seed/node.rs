//! Files and scripts onto nodes.

use super::SeedError;
use crate::cluster::{Cluster, ClusterError, ended};

/// Writes a file whole or not at all.
pub(super) async fn write(
    cluster: &dyn Cluster,
    node: &str,
    to: &str,
    content: &[u8],
    mode: u32,
    owner: &str,
) -> Result<(), SeedError> {
    cluster.node_write(node, to, content, mode, owner).await.map_err(|error| failed(node, error))
}

/// Runs a script; it must end with 0.
pub(super) async fn run(cluster: &dyn Cluster, node: &str, script: &str) -> Result<(), SeedError> {
    let done = cluster.node_exec(node, &["sh", "-c", script]).await;
    done.and_then(|output| ended("the script", output)).map_err(|error| failed(node, error))
}

fn failed(node: &str, error: ClusterError) -> SeedError {
    let node = node.to_owned();
    match error {
        ClusterError::Ended { what, status, stderr } => SeedError::Node { node, what, status, stderr },
        source => SeedError::NodeUnreachable { node, source },
    }
}
