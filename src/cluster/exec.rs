//! Commands in containers, through the API's `exec`, as kubectl does it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::AttachParams;
use tokio::io::AsyncReadExt as _;

use super::{ClusterError, ExecOutput};

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs a command in a container and waits for its end.
///
/// # Errors
/// [`ClusterError::Failed`] when it could not be run, which its own exit status never is.
pub(super) async fn in_pod(
    client: kube::Client,
    namespace: &str,
    pod: &str,
    container: Option<&str>,
    argv: &[&str],
) -> Result<ExecOutput, ClusterError> {
    let failed = |why: String| ClusterError::Failed {
        message: format!("`{}` could not be run in Pod {namespace}/{pod}: {why}", argv.join(" ")),
        source: None,
    };
    let pods: kube::Api<Pod> = kube::Api::namespaced(client, namespace);
    let mut params = AttachParams::default().stdin(false).stdout(true).stderr(true);
    if let Some(container) = container {
        params = params.container(container);
    }
    let run = async {
        let mut process =
            pods.exec(pod, argv.iter().copied(), &params).await.map_err(|error| failed(error.to_string()))?;
        let (stdout, stderr) = (process.stdout(), process.stderr());
        let status = process.take_status();
        let (stdout, stderr) = tokio::join!(all(stdout), all(stderr));
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        let status = status.ok_or_else(|| failed("it did not tell how it ended".to_owned()))?;
        let code = match status.status.as_deref() {
            Some("Success") => 0,
            _ => status
                .details
                .as_ref()
                .and_then(|details| details.causes.as_ref())
                .and_then(|causes| causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode")))
                .and_then(|cause| cause.message.as_ref()?.parse().ok())
                .ok_or_else(|| failed(status.message.clone().unwrap_or_default()))?,
        };
        Ok(ExecOutput { status: code, stdout, stderr })
    };
    match tokio::time::timeout(LIMIT, run).await {
        Ok(done) => done,
        Err(_) => Err(failed(format!("it did not end within {} s", LIMIT.as_secs()))),
    }
}

/// Reads a stream to its end; one that breaks off ends there, and the status tells.
async fn all(stream: Option<impl tokio::io::AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = stream.read_to_end(&mut bytes).await;
    }
    bytes
}
