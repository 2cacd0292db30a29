//! What checks on nodes share: which nodes are meant, and what a command on one of them wrote.

use super::CheckError;
use super::api::Api;
use crate::cluster::{Cluster, ClusterError, ExecOutput};

/// Returns the nodes that `control-plane`, `workers`, `all` or a name stand for.
///
/// # Errors
/// [`CheckError`] when the API does not answer.
pub(crate) async fn named(api: &Api, name: &str) -> Result<Vec<String>, CheckError> {
    let nodes = api.list_known("v1", "Node", None, None).await?;
    let controls = |node: &serde_json::Value| {
        node["metadata"]["labels"]["node-role.kubernetes.io/control-plane"].is_string()
    };
    Ok(nodes
        .iter()
        .filter(|node| match name {
            "control-plane" => controls(node),
            "workers" => !controls(node),
            "all" => true,
            name => node["metadata"]["name"] == name,
        })
        .filter_map(|node| node["metadata"]["name"].as_str().map(str::to_owned))
        .collect())
}

/// Returns the one node of a name, or the first of the control plane.
///
/// # Errors
/// [`CheckError`] when the API does not answer.
pub(crate) async fn one(api: &Api, name: &str) -> Result<Option<String>, CheckError> {
    Ok(named(api, name).await?.into_iter().next())
}

/// Returns what a command wrote, or `None` when it says that there is no such file.
///
/// # Errors
/// [`CheckError`] when it failed otherwise.
pub(crate) fn read(node: &str, path: &str, output: ExecOutput) -> Result<Option<String>, CheckError> {
    if output.status == 0 {
        return String::from_utf8(output.stdout)
            .map(Some)
            .map_err(|_| failed(format!("{path} on {node} is no text")));
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("No such file or directory") || stderr.contains("Not a directory") {
        return Ok(None);
    }
    Err(failed(format!("{path} on {node} cannot be read: {}", stderr.trim())))
}

/// Runs a command that is expected to end with 0, and returns what it wrote.
///
/// # Errors
/// [`CheckError`] when it did not.
pub(crate) async fn output(cluster: &dyn Cluster, node: &str, argv: &[&str]) -> Result<String, CheckError> {
    let output = cluster.node_exec(node, argv).await?;
    if output.status != 0 {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let said = stderr.lines().last().unwrap_or_default().trim();
        let program = argv.first().copied().unwrap_or_default();
        return Err(failed(format!("`{program}` on {node} ended with {}: {said}", output.status)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Says that a node gave no usable answer.
pub(crate) fn failed(message: String) -> CheckError {
    ClusterError::Failed { message, source: None }.into()
}
