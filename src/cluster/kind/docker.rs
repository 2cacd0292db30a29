//! What the kind provider asks of Docker's API: is it there, which nodes are ours, run this in a node.

use std::collections::HashMap;

use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::{
    ListContainersOptions, LogsOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use futures::StreamExt;

use crate::cluster::{ClusterError, ExecOutput, ProviderError};

const CLUSTER_LABEL: &str = "io.x-k8s.kind.cluster";
const ROLE_LABEL: &str = "io.x-k8s.kind.role";

/// A node container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) cluster: String,
    pub(super) role: String,
    pub(super) running: bool,
}

/// Connects to the engine and agrees on an API version with it.
pub(super) async fn connect() -> Result<Docker, ProviderError> {
    let unavailable = |error: &dyn std::fmt::Display| ProviderError::Unavailable {
        message: format!("Docker does not answer: {error}"),
        hint: "start Docker (for example `sudo systemctl start docker`) and see that this user may use it; \
               or use `--provider sim`, which needs no Docker"
            .to_owned(),
    };
    let docker = Docker::connect_with_defaults().map_err(|error| unavailable(&error))?;
    docker.negotiate_version().await.map_err(|error| unavailable(&error))
}

/// Lists the nodes of one kind cluster, or of all whose name begins with `prefix`, the control plane first.
pub(super) async fn nodes(
    docker: &Docker,
    cluster: Option<&str>,
    prefix: &str,
) -> Result<Vec<Node>, ProviderError> {
    let label = cluster.map_or_else(|| CLUSTER_LABEL.to_owned(), |name| format!("{CLUSTER_LABEL}={name}"));
    let options = ListContainersOptions {
        all: true,
        filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
        ..ListContainersOptions::default()
    };
    let containers =
        docker.list_containers(Some(options)).await.map_err(|error| failed("list its containers", error))?;
    let mut nodes: Vec<Node> = containers
        .into_iter()
        .filter_map(|container| {
            let labels = container.labels.unwrap_or_default();
            let cluster = labels.get(CLUSTER_LABEL)?.clone();
            let name = container.names?.first()?.trim_start_matches('/').to_owned();
            let running = container.state.is_some_and(|state| state.to_string() == "running");
            let role = labels.get(ROLE_LABEL).cloned().unwrap_or_default();
            cluster.starts_with(prefix).then_some(Node { name, cluster, role, running })
        })
        .collect();
    nodes.sort_by(|a, b| (&a.role, &a.name).cmp(&(&b.role, &b.name)));
    Ok(nodes)
}

/// Tells whether the image is on this machine.
pub(super) async fn has_image(docker: &Docker, image: &str) -> bool {
    docker.inspect_image(image).await.is_ok()
}

/// Starts a node that stands still, as after a reboot.
pub(super) async fn start(docker: &Docker, node: &str) -> Result<(), ProviderError> {
    docker
        .start_container(node, None::<StartContainerOptions>)
        .await
        .map_err(|error| failed("start a node", error))
}

/// Removes a node with its volumes.
pub(super) async fn remove(docker: &Docker, node: &str) -> Result<(), ProviderError> {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    match docker.remove_container(node, Some(options)).await {
        Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => Ok(()),
        other => other.map_err(|error| failed("remove a node", error)),
    }
}

/// Returns the last lines that a node wrote.
pub(super) async fn log_tail(docker: &Docker, node: &str, lines: usize) -> String {
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).tail(&lines.to_string()).build();
    let mut stream = docker.logs(node, Some(options));
    let mut text = String::new();
    while let Some(Ok(chunk)) = stream.next().await {
        text.push_str(&chunk.to_string());
    }
    text
}

/// Runs a command in a node as root and waits for its end.
pub(super) async fn exec(docker: &Docker, node: &str, argv: &[&str]) -> Result<ExecOutput, ClusterError> {
    let failed = |error: bollard::errors::Error| ClusterError::Failed {
        message: format!("failed to run `{}` on node `{node}`", argv.join(" ")),
        source: Some(Box::new(error)),
    };
    let options = CreateExecOptions {
        cmd: Some(argv.to_vec()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        privileged: Some(true),
        ..CreateExecOptions::default()
    };
    let exec = docker.create_exec(node, options).await.map_err(failed)?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    if let StartExecResults::Attached { mut output, .. } =
        docker.start_exec(&exec.id, None).await.map_err(failed)?
    {
        while let Some(chunk) = output.next().await {
            match chunk.map_err(failed)? {
                LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                other => stdout.extend_from_slice(&other.into_bytes()),
            }
        }
    }
    let exit = docker.inspect_exec(&exec.id).await.map_err(failed)?.exit_code;
    let Some(status) = exit.and_then(|code| i32::try_from(code).ok()) else {
        return Err(ClusterError::Failed {
            message: format!("`{}` on node `{node}` ended without an exit status", argv.join(" ")),
            source: None,
        });
    };
    Ok(ExecOutput { status, stdout, stderr })
}

pub(super) fn failed(what: &str, error: bollard::errors::Error) -> ProviderError {
    ProviderError::Failed { message: format!("Docker failed to {what}"), source: Some(Box::new(error)) }
}
