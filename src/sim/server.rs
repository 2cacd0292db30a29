//! The background process that hosts simulated clusters: one state folder, one process, one loopback TLS listener each.
//! Who starts the process is up to the caller; [`arguments`] says with what.

mod authority;
mod control;
mod host;
mod kubeconfig;
mod kubelet;
mod listener;
mod parts;
mod protocol;
pub mod simulated;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::pki::PkiError;
use super::store::StoreError;
use crate::persist::PersistError;
use crate::sim::admission::SettingsError;
use crate::sim::node::host::layout::LayoutError;

pub use control::Control;
pub use host::run;
pub use protocol::{ClusterInfo, ClusterRequest, Pong};
pub use simulated::{ApiServerFlags, Home, SimConfig, SimulatedCluster};

/// The hidden subcommand that [`run`]s a server.
pub const SUBCOMMAND: &str = "sim-server";

/// Returns the arguments with which the binary is to be started so that it serves `dir`: `sim-server --dir DIR`.
pub fn arguments(dir: &Path) -> Vec<OsString> {
    vec![SUBCOMMAND.into(), "--dir".into(), dir.as_os_str().to_owned()]
}

/// Returns the file that a server's stdout and stderr belong in.
pub fn log_file(dir: &Path) -> PathBuf {
    dir.join("server.log")
}

/// Why a server, or a cluster in it, cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No server runs for this folder, or it ended before it answered.
    #[error("no server of simulated clusters is running")]
    NotRunning,
    /// Another process serves this folder already.
    #[error("another process serves these clusters already")]
    AlreadyRunning,
    /// The server did not answer in time.
    #[error("the server of simulated clusters does not answer")]
    Silent,
    /// The server refused what was asked.
    #[error("{0}")]
    Refused(String),
    /// There is no such cluster.
    #[error("there is no simulated cluster `{0}`")]
    NoCluster(String),
    /// There is such a cluster already.
    #[error("there is a simulated cluster `{0}` already")]
    Exists(String),
    /// The name cannot be a folder and a host name at once.
    #[error("`{0}` cannot be the name of a cluster: use lowercase letters, digits and `-`")]
    BadName(String),
    /// Its objects cannot be read or written.
    #[error("failed to open the objects of the cluster")]
    Store(#[from] StoreError),
    /// Its API server would not start with these flags.
    #[error("the API server does not start")]
    Admission(#[from] SettingsError),
    /// Its keys cannot be read or made.
    #[error("failed to prepare the keys of the cluster")]
    Pki(#[from] PkiError),
    /// The files of its nodes cannot be written.
    #[error("failed to write the files of a node")]
    Nodes(#[source] std::io::Error),
    /// Its files cannot be read or written.
    #[error("failed to keep the state of the cluster")]
    Persist(#[from] PersistError),
    /// No port or socket can be had.
    #[error("failed to listen")]
    Listen(#[source] std::io::Error),
    /// TLS cannot be set up with the cluster's keys.
    #[error("failed to set up TLS: {0}")]
    Tls(String),
}

impl From<LayoutError> for ServerError {
    fn from(error: LayoutError) -> Self {
        match error {
            LayoutError::Persist(error) => error.into(),
            LayoutError::Pki(error) => error.into(),
        }
    }
}
