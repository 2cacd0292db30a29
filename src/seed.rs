//! Brings a cluster and a task folder into the state that a task starts from: steps in order, waited for, recorded.
//! Uses the grader's own client; in a cluster that is not this session's alone it stays in namespaces of its own.

mod apply;
mod node;
mod ready;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cluster::{Cluster, ClusterError, Progress};
use crate::scenario::{Scenario, SeedStep};
use crate::verify::{Baseline, RecordError, record};

/// Why a cluster could not be seeded.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// An object was not accepted.
    #[error("{object} of `{}` was not accepted: {reason}", file.display())]
    Object {
        /// The manifest, in the scenario's folder.
        file: PathBuf,
        /// The object, as `Kind namespace/name`.
        object: String,
        /// The API server's words.
        reason: String,
    },
    /// The cluster serves no such kind.
    #[error("{object} of `{}` is of a kind that the cluster does not serve", file.display())]
    UnknownKind {
        /// The manifest, in the scenario's folder.
        file: PathBuf,
        /// The object, as `Kind namespace/name`.
        object: String,
    },
    /// A namespace of the scenario is there already and belongs to somebody else.
    #[error("the namespace `{namespace}` is there already and was not made for this session")]
    NamespaceTaken {
        /// The namespace.
        namespace: String,
    },
    /// The scenario wants to change what is not this session's in a cluster that is somebody's own.
    #[error("{object} of `{}` lies outside the namespaces of this session", file.display())]
    Outside {
        /// The manifest, in the scenario's folder.
        file: PathBuf,
        /// The object, as `Kind namespace/name`.
        object: String,
    },
    /// Something did not become ready.
    #[error("{object} was not ready within {} s: {state}", within.as_secs())]
    NotReady {
        /// What, as `Kind namespace/name`.
        object: String,
        /// What was still missing.
        state: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// The API did not answer.
    #[error("the cluster did not answer")]
    Api(#[source] kube::Error),
    /// A file of the task folder could not be written.
    #[error("`{}` could not be written", path.display())]
    TaskFile {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A node could not be changed.
    #[error("node `{node}` could not be changed: {what} ended with status {status}: {stderr}")]
    Node {
        /// The node.
        node: String,
        /// The file or the script.
        what: String,
        /// The exit status.
        status: i32,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// A node could not be reached.
    #[error("node `{node}` could not be reached")]
    NodeUnreachable {
        /// The node.
        node: String,
        /// The cause.
        #[source]
        source: ClusterError,
    },
    /// What the checks compare with could not be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Takes every step of the seed, then records what the checks compare with. `session` marks what is made, so that it
/// can be found and undone; seeding again for the same session changes nothing that is as it should be.
///
/// # Errors
/// [`SeedError`] with the step that failed; the steps before it have been taken.
pub async fn seed(
    scenario: &Scenario,
    cluster: &dyn Cluster,
    session: &str,
    task_dir: &Path,
    progress: &dyn Progress,
) -> Result<Baseline, SeedError> {
    let mut applier = apply::Applier::new(cluster, session);
    applier.refuse_outside(&scenario.seed).await?;
    for step in &scenario.seed {
        match step {
            SeedStep::Apply { file, objects } => {
                progress.stage(&format!("applying {}", file.display()));
                for object in objects {
                    progress.detail(&apply::named(object));
                    applier.apply(file, object).await?;
                }
            }
            SeedStep::WaitReady { namespace, timeout } => {
                progress.stage(&format!("waiting for the workloads of {namespace}"));
                ready::wait(&cluster.client(), namespace, *timeout, progress).await?;
            }
            SeedStep::TaskFile { to, content, mode } => write_task_file(&task_dir.join(to), content, *mode)?,
            SeedStep::NodeFile { node, to, content, mode, owner } => {
                progress.stage(&format!("writing {to} on {node}"));
                node::write(cluster, node, to, content, *mode, owner).await?;
            }
            SeedStep::NodeRun { node, script } => {
                progress.stage(&format!("preparing {node}"));
                node::run(cluster, node, script).await?;
            }
        }
    }
    progress.stage("recording the state");
    Ok(record(&scenario.checks, cluster, task_dir).await?)
}

fn write_task_file(path: &Path, content: &[u8], mode: u32) -> Result<(), SeedError> {
    use std::os::unix::fs::PermissionsExt as _;
    let write = || {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, content)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    };
    write().map_err(|source| SeedError::TaskFile { path: path.to_path_buf(), source })
}
