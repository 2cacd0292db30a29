//! The ports to a cluster: who brings one up ([`Provider`]) and what a lab may ask of it ([`Cluster`]).
//! Knows no adapter; `cluster::registry` alone names them.

mod exec;
#[cfg(test)]
pub(crate) mod fake;
pub mod kind;
pub mod kubeconfig;
pub mod registry;
pub mod sim;
pub mod snapshot;
mod upload;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::process::HostCommand;

pub use upload::ended;

/// Something that a scenario or a check needs of a cluster.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Capability {
    /// The Kubernetes API: objects, RBAC, admission.
    Api,
    /// Pods that get to Running and carry their status.
    Pods,
    /// Commands that run inside containers.
    Exec,
    /// Who reaches whom: NetworkPolicy is enforced.
    Reach,
    /// Node file systems, processes and services.
    Nodes,
    /// Objects outside namespaces, which a cluster that others use too does not lend.
    ClusterScope,
    /// AppArmor in the nodes' kernel.
    AppArmor,
    /// A sandboxed runtime (gVisor) on the nodes.
    Gvisor,
}

impl Capability {
    /// Returns what it is in words, to go after `has no`.
    pub fn words(self) -> &'static str {
        match self {
            Self::Api => "Kubernetes API",
            Self::Pods => "running Pods",
            Self::Exec => "commands inside containers",
            Self::Reach => "enforced NetworkPolicy",
            Self::Nodes => "nodes to work on",
            Self::ClusterScope => "objects outside namespaces of its own",
            Self::AppArmor => "AppArmor",
            Self::Gvisor => "sandboxed runtime",
        }
    }
}

/// How a provider has a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Support {
    /// The real thing.
    Real,
    /// Modelled; results say so.
    Simulated,
}

/// What a provider or cluster has; what is not in the map is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities(pub BTreeMap<Capability, Support>);

impl Capabilities {
    /// Returns the first of `needs` that is missing.
    pub fn missing(&self, needs: &[Capability]) -> Option<Capability> {
        needs.iter().copied().find(|need| !self.0.contains_key(need))
    }

    /// Tells whether any of `needs` is only modelled here.
    pub fn simulates(&self, needs: &[Capability]) -> bool {
        needs.iter().any(|need| self.0.get(need) == Some(&Support::Simulated))
    }
}

/// Whether a provider can be used on this machine now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Availability {
    /// It can.
    Ready,
    /// It cannot.
    Missing {
        /// What is missing, as a fragment.
        reason: String,
        /// What to do about it.
        hint: String,
    },
}

/// The cluster that a scenario asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSpec {
    /// A unique DNS label, drawn from the session.
    pub name: String,
    /// The folder under the state directory that belongs to this cluster; providers keep kubeconfigs and keys there.
    pub dir: PathBuf,
    /// How many worker nodes beside the control plane.
    pub workers: u32,
    /// The context to use, for a provider that takes over an existing cluster.
    pub context: Option<String>,
    /// The learner's kubeconfig file that holds the context.
    pub source_kubeconfig: Option<PathBuf>,
    /// The node image, for providers that have one.
    pub node_image: Option<String>,
    /// Keep what was created when creation fails.
    pub retain: bool,
    /// The learner has agreed that this cluster may be used; see [`ProviderError::Unconfirmed`].
    pub confirmed: bool,
}

/// The label that everything carries which a session puts into a cluster that is not its own; its value is the
/// cluster's name.
pub const SESSION_LABEL: &str = "cks-lab.dev/session";

/// What survives between two commands: enough for [`Provider::attach`] to rebuild the handle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterRecord {
    /// The provider's name.
    pub provider: String,
    /// The cluster's name.
    pub name: String,
    /// Its folder.
    pub dir: PathBuf,
    /// The learner's kubeconfig.
    pub kubeconfig: PathBuf,
    /// What only the provider understands.
    pub data: serde_json::Value,
}

/// A cluster that exists, whether or not a session knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// The cluster's name.
    pub name: String,
    /// What there is, in a few words.
    pub summary: String,
}

/// Where a provider reports what it is doing. Implemented by the lab, which turns it into events.
pub trait Progress: Send + Sync {
    /// A stage begins; the text is a present participle such as `starting the control plane`.
    fn stage(&self, text: &str);
    /// A line of detail within the stage.
    fn detail(&self, text: &str);
}

/// Brings clusters up and down. Each command is a new process: what survives is a [`ClusterRecord`].
#[async_trait]
pub trait Provider: Send + Sync {
    /// Returns the name that `--provider` takes.
    fn name(&self) -> &'static str;
    /// Returns what its clusters have; known before anything is created.
    fn capabilities(&self) -> Capabilities;
    /// Tells whether tasks of one exam that leave each other alone share a cluster, since clusters are dear.
    fn shares(&self) -> bool {
        false
    }
    /// Returns how many clusters are brought up at once.
    fn at_once(&self) -> usize {
        usize::MAX
    }
    /// Looks whether it can be used here.
    async fn probe(&self) -> Availability;
    /// Creates a cluster and waits until its API is ready. On failure it leaves nothing behind unless
    /// [`ClusterSpec::retain`] says so. A caller that drops the future, as on Ctrl-C, calls [`Provider::remove`] with
    /// the name after it.
    ///
    /// # Errors
    /// [`ProviderError`] with what to do about it.
    async fn create(
        &self,
        spec: &ClusterSpec,
        progress: &dyn Progress,
    ) -> Result<ClusterRecord, ProviderError>;
    /// Tells whether [`Provider::copy`] can be used. Where not, it takes a new cluster and the same steps again.
    fn copies(&self) -> bool {
        false
    }
    /// Creates a cluster with the nodes and objects that another one has now, as [`Provider::create`] does.
    ///
    /// # Errors
    /// [`ProviderError`], always where it cannot copy.
    async fn copy(
        &self,
        original: &ClusterRecord,
        _spec: &ClusterSpec,
    ) -> Result<ClusterRecord, ProviderError> {
        let message = format!("cluster `{}` of provider `{}` cannot be copied", original.name, self.name());
        Err(ProviderError::Failed { message, source: None })
    }
    /// Rebuilds the handle, restarting what has died where that is possible.
    ///
    /// # Errors
    /// [`ProviderError::Gone`] when the cluster is no more, [`ProviderError::Unavailable`] when it cannot be reached.
    async fn attach(&self, record: &ClusterRecord) -> Result<Box<dyn Cluster>, ProviderError>;
    /// Notes what was put into the cluster, once the task is set up, so that [`Provider::delete`] finds it whatever
    /// the learner does to it. A cluster that goes as a whole needs none of that.
    ///
    /// # Errors
    /// [`ProviderError`] when the cluster cannot be asked.
    async fn settle(&self, _record: &mut ClusterRecord) -> Result<(), ProviderError> {
        Ok(())
    }
    /// Removes the cluster; one that is gone already is no error.
    ///
    /// # Errors
    /// [`ProviderError`] when something of it may be left.
    async fn delete(&self, record: &ClusterRecord) -> Result<(), ProviderError>;
    /// Finds every cluster that this provider made for this state folder, for `clean`. Those of other people and other
    /// state folders are not its own.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] when it cannot look.
    async fn find(&self) -> Result<Vec<Found>, ProviderError>;
    /// Removes a cluster by name that no record describes.
    ///
    /// # Errors
    /// [`ProviderError`] when something of it may be left.
    async fn remove(&self, name: &str) -> Result<(), ProviderError>;
}

/// A running cluster, as the grader sees it. Credentials are the grader's own, never the ambient context.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// Returns a client with the grader's credentials.
    fn client(&self) -> kube::Client;
    /// Returns the learner's kubeconfig.
    fn kubeconfig(&self) -> &Path;
    /// Returns what this cluster has.
    fn capabilities(&self) -> &Capabilities;
    /// Returns the names of its nodes, the control plane first, whether or not its API answers.
    ///
    /// # Errors
    /// [`ClusterError`] where it has none to work on, or they cannot be found.
    async fn nodes(&self) -> Result<Vec<String>, ClusterError> {
        Err(ClusterError::Missing(Capability::Nodes))
    }
    /// Returns the command of this machine that runs `argv` on a node as root, on the learner's terminal; without any a
    /// shell.
    ///
    /// # Errors
    /// [`ClusterError`] where there is no such node, or no way onto it.
    async fn node_shell(
        &self,
        _node: &str,
        _argv: &[OsString],
        _terminal: &Terminal,
    ) -> Result<NodeShell, ClusterError> {
        Err(ClusterError::Missing(Capability::Nodes))
    }
    /// Runs a command on a node as root.
    ///
    /// # Errors
    /// [`ClusterError`] when the command could not be run; its own exit status is in the output.
    async fn node_exec(&self, node: &str, argv: &[&str]) -> Result<ExecOutput, ClusterError>;
    /// Writes a file on a node whole or not at all, with the folders above it. The owner is as `chown` takes it.
    ///
    /// # Errors
    /// [`ClusterError`] when it could not be written; nothing of it is there then.
    async fn node_write(
        &self,
        node: &str,
        path: &str,
        content: &[u8],
        mode: u32,
        owner: &str,
    ) -> Result<(), ClusterError> {
        upload::write(self, node, path, content, mode, owner).await
    }
    /// Runs a command in a container of a running Pod, the first one where none is named.
    ///
    /// # Errors
    /// [`ClusterError`] when the command could not be run; its own exit status is in the output.
    async fn pod_exec(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
        argv: &[&str],
    ) -> Result<ExecOutput, ClusterError> {
        exec::in_pod(self.client(), namespace, pod, container, argv).await
    }
    /// Tells for each probe whether the connection is possible.
    ///
    /// # Errors
    /// [`ClusterError`] when it cannot be told; a refused connection is an answer, not an error.
    async fn reach(&self, probes: &[Probe]) -> Result<Vec<Reach>, ClusterError>;
    /// Tells whether the cluster is this session's alone. In one that is not, nothing is put outside the namespaces
    /// that the session made, each labelled with [`SESSION_LABEL`].
    fn exclusive(&self) -> bool {
        true
    }
    /// Returns the objects a provider put there for itself and a learner should not have to care about, as
    /// namespaces that are not the scenario's.
    fn reserved_namespaces(&self) -> Vec<String> {
        ["kube-system", "kube-public", "kube-node-lease"].map(str::to_owned).to_vec()
    }
}

/// The terminal that a shell on a node is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terminal {
    /// What `TERM` says of it.
    pub kind: Option<String>,
    /// What `COLORTERM` says of it.
    pub colours: Option<String>,
    /// Whether it is one at all, so that commands may ask questions.
    pub interactive: bool,
}

/// A way onto a node.
#[derive(Debug, Clone)]
pub struct NodeShell {
    /// The command to run on the learner's terminal.
    pub command: HostCommand,
    /// What the learner must know before.
    pub note: Option<String>,
}

/// What a command on a node did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// The exit status.
    pub status: i32,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: Vec<u8>,
}

/// One question of a connectivity matrix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Probe {
    /// Where the connection starts.
    pub from: Peer,
    /// Where it goes.
    pub to: Peer,
    /// The port.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Peer {
    /// A Pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A Service, resolved to its endpoints.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// An address inside or outside the cluster.
    Address(std::net::IpAddr),
}

/// The answer to a [`Probe`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Reach {
    /// The connection is possible; where a server listens, it answered.
    Open,
    /// A policy forbids it; the text names the policies and direction, where they can be known.
    Blocked {
        /// What forbids it.
        by: String,
    },
    /// It fails for another reason than a policy: no such Pod, nothing listens, no endpoints. Never taken for blocked.
    Broken {
        /// What is broken.
        reason: String,
    },
}

/// Why a provider could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// A tool, an image or a permission is missing.
    #[error("{message}")]
    Unavailable {
        /// What is missing or wrong.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// The cluster is no more.
    #[error("cluster `{0}` is gone")]
    Gone(String),
    /// The cluster is somebody's own, and nobody has agreed yet that it may be used. The front end asks, or is told
    /// `--yes`, and tries again with [`ClusterSpec::confirmed`].
    #[error("{question}")]
    Unconfirmed {
        /// What to ask; names server and context.
        question: String,
    },
    /// A guard rail refused.
    #[error("{message}")]
    Refused {
        /// Which and why.
        message: String,
        /// What to do about it.
        hint: String,
    },
    /// Something failed on the way.
    #[error("{message}")]
    Failed {
        /// What failed.
        message: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

/// Why a running cluster did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// It does not have the capability.
    #[error("this cluster has no {0:?}")]
    Missing(Capability),
    /// A command on a node failed.
    #[error("{what} ended with status {status}: {stderr}")]
    Ended {
        /// What was run, or the file that it was about.
        what: String,
        /// The exit status.
        status: i32,
        /// The end of what it wrote to stderr.
        stderr: String,
    },
    /// It could not be asked.
    #[error("{message}")]
    Failed {
        /// What failed.
        message: String,
        /// The cause.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}
