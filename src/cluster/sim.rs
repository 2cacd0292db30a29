//! The sim provider: clusters of `crate::sim`, hosted by a background process of this same program. Starts it, finds
//! it again, restarts it when it died; talks to its clusters through their API alone, with the grader's credentials.

mod node;
mod reach;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use kube::config::{KubeConfigOptions, Kubeconfig};

use node::Nodes;

use super::{
    Availability, Capabilities, Capability, Cluster, ClusterError, ClusterRecord, ClusterSpec, ExecOutput,
    Found, NodeShell, Probe, Progress, Provider, ProviderError, Reach, Support, Terminal,
};
use crate::persist;
use crate::process::{Detached, HostCommand};
use crate::sim::server::{self, ClusterInfo, ClusterRequest, Control, ServerError};

/// How long a server may take to answer after it was started; it brings its clusters back first.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// How long an old server may take to give its folder free.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before trying again to start a server that another one kept out.
const ENDING: Duration = Duration::from_millis(100);

/// Brings up simulated clusters.
#[derive(Debug, Clone)]
pub struct SimProvider {
    dir: PathBuf,
    program: PathBuf,
    path: OsString,
}

/// A simulated cluster.
struct SimCluster {
    client: kube::Client,
    kubeconfig: PathBuf,
    capabilities: Capabilities,
    nodes: Nodes,
}

impl SimProvider {
    /// Keeps clusters under `dir` and serves them with `program`, which is this program itself; other programs are
    /// looked for in `path`.
    pub fn new(dir: PathBuf, program: PathBuf, path: OsString) -> Self {
        Self { dir, program, path }
    }

    fn control(&self) -> Control {
        Control::new(&self.dir)
    }

    /// Makes sure that a server of this version runs.
    async fn ensure(&self) -> Result<Control, ProviderError> {
        let control = self.control();
        match control.ping().await {
            Ok(pong) if pong.version == env!("CARGO_PKG_VERSION") => return Ok(control),
            Ok(_) => {
                // The clusters are on disk; the new version brings them back.
                control.stop().await.map_err(|error| self.failed("stop the old server", error))?;
                self.wait_until_free(&control).await?;
            }
            Err(ServerError::NotRunning) => {}
            Err(error) => return Err(self.unavailable(&error.to_string())),
        }
        persist::create_dir(&self.dir).map_err(|error| self.failed("keep simulated clusters", error))?;
        let log = server::log_file(&self.dir);
        persist::remove(&log).map_err(|error| self.failed("begin the log of the server", error))?;
        let mut waited = Duration::ZERO;
        loop {
            let mut process = HostCommand::new(&self.program)
                .args(server::arguments(&self.dir))
                .cwd(&self.dir)
                .spawn_detached(&log)
                .map_err(|error| self.failed("start the server of simulated clusters", error))?;
            match control.wait(START_PATIENCE, || has_ended(&mut process)).await {
                Ok(_) => return Ok(control),
                // A server that was just ending kept this one out.
                Err(ServerError::NotRunning) if waited < STOP_PATIENCE => {
                    tokio::time::sleep(ENDING).await;
                    waited += ENDING;
                }
                Err(error) => return Err(self.unavailable(&error.to_string())),
            }
        }
    }

    async fn make(
        &self,
        spec: &ClusterSpec,
        copy_of: Option<String>,
    ) -> Result<ClusterRecord, ProviderError> {
        let control = self.ensure().await?;
        let request = ClusterRequest { name: spec.name.clone(), workers: spec.workers, copy_of };
        let info = match control.create(&request).await {
            // The server ended with its last cluster just when it was asked.
            Err(ServerError::NotRunning | ServerError::Silent) => self.ensure().await?.create(&request).await,
            other => other,
        };
        let info = info.map_err(|error| self.failed("create a simulated cluster", error))?;
        Ok(ClusterRecord {
            provider: self.name().to_owned(),
            name: spec.name.clone(),
            dir: spec.dir.clone(),
            kubeconfig: info.kubeconfig,
            data: serde_json::Value::Null,
        })
    }

    async fn wait_until_free(&self, control: &Control) -> Result<(), ProviderError> {
        let gone = async {
            while control.ping().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(STOP_PATIENCE, gone).await;
        waited.map_err(|_| self.unavailable("the old server of simulated clusters does not end"))
    }

    async fn delete_by_name(&self, name: &str) -> Result<(), ProviderError> {
        let control = self.control();
        let deleted = match control.delete(name).await {
            Err(ServerError::NotRunning) if control.on_disk().iter().any(|there| there == name) => {
                self.ensure().await?.delete(name).await
            }
            other => other,
        };
        match deleted {
            Ok(()) | Err(ServerError::NotRunning) => Ok(()),
            Err(ServerError::NoCluster(_)) => self.delete_files(name),
            Err(error) => Err(self.failed(&format!("remove cluster `{name}`"), error)),
        }
    }

    /// Removes what lies there of a cluster that no server could bring back.
    fn delete_files(&self, name: &str) -> Result<(), ProviderError> {
        let dir = self.dir.join("clusters").join(name);
        persist::remove(&dir).map_err(|error| self.failed(&format!("remove cluster `{name}`"), error))
    }

    fn failed(&self, what: &str, source: impl std::error::Error + Send + Sync + 'static) -> ProviderError {
        ProviderError::Failed { message: format!("failed to {what}"), source: Some(Box::new(source)) }
    }

    fn unavailable(&self, message: &str) -> ProviderError {
        let log = server::log_file(&self.dir);
        let tail = last_line(&log).map(|line| format!(": {line}")).unwrap_or_default();
        ProviderError::Unavailable {
            message: format!("{message}{tail}"),
            hint: format!("its log is `{}`", log.display()),
        }
    }
}

#[async_trait]
impl Provider for SimProvider {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn capabilities(&self) -> Capabilities {
        let has = [
            Capability::Api,
            Capability::ClusterScope,
            Capability::Pods,
            Capability::Reach,
            Capability::Nodes,
        ];
        Capabilities(has.into_iter().map(|capability| (capability, Support::Simulated)).collect())
    }

    async fn probe(&self) -> Availability {
        match std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)) {
            Ok(_) => Availability::Ready,
            Err(error) => Availability::Missing {
                reason: format!("no loopback port can be opened: {error}"),
                hint: "allow programs to listen on 127.0.0.1".to_owned(),
            },
        }
    }

    async fn create(
        &self,
        spec: &ClusterSpec,
        progress: &dyn Progress,
    ) -> Result<ClusterRecord, ProviderError> {
        progress.stage("starting a simulated cluster");
        self.make(spec, None).await
    }

    fn copies(&self) -> bool {
        true
    }

    async fn copy(
        &self,
        original: &ClusterRecord,
        spec: &ClusterSpec,
    ) -> Result<ClusterRecord, ProviderError> {
        self.make(spec, Some(original.name.clone())).await
    }

    async fn attach(&self, record: &ClusterRecord) -> Result<Box<dyn Cluster>, ProviderError> {
        if !self.control().on_disk().contains(&record.name) {
            return Err(ProviderError::Gone(record.name.clone()));
        }
        let info: ClusterInfo = match self.ensure().await?.get(&record.name).await {
            Ok(info) => info,
            Err(ServerError::NoCluster(name)) => {
                return Err(
                    self.unavailable(&format!("the simulated cluster `{name}` cannot be brought back"))
                );
            }
            Err(error) => return Err(self.unavailable(&error.to_string())),
        };
        let client = client_of(&info.grader_kubeconfig)
            .await
            .map_err(|error| self.failed("use the grader's credentials", error))?;
        Ok(Box::new(SimCluster {
            client,
            kubeconfig: record.kubeconfig.clone(),
            capabilities: self.capabilities(),
            nodes: Nodes {
                dir: info.dir,
                names: info.nodes,
                program: self.program.clone(),
                path: self.path.clone(),
                refused: tokio::sync::OnceCell::new(),
            },
        }))
    }

    async fn delete(&self, record: &ClusterRecord) -> Result<(), ProviderError> {
        self.delete_by_name(&record.name).await
    }

    async fn find(&self) -> Result<Vec<Found>, ProviderError> {
        let found = |name| Found { summary: "simulated cluster".to_owned(), name };
        Ok(self.control().on_disk().into_iter().map(found).collect())
    }

    async fn remove(&self, name: &str) -> Result<(), ProviderError> {
        self.delete_by_name(name).await
    }
}

#[async_trait]
impl Cluster for SimCluster {
    fn client(&self) -> kube::Client {
        self.client.clone()
    }

    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn nodes(&self) -> Result<Vec<String>, ClusterError> {
        Ok(self.nodes.names.clone())
    }

    async fn node_exec(&self, node: &str, argv: &[&str]) -> Result<ExecOutput, ClusterError> {
        self.nodes.exec(node, argv).await
    }

    async fn node_write(
        &self,
        node: &str,
        path: &str,
        content: &[u8],
        mode: u32,
        owner: &str,
    ) -> Result<(), ClusterError> {
        self.nodes.write(node, path, content, mode, owner)
    }

    async fn node_shell(
        &self,
        node: &str,
        argv: &[OsString],
        terminal: &Terminal,
    ) -> Result<NodeShell, ClusterError> {
        self.nodes.shell(node, argv, terminal).await
    }

    async fn reach(&self, probes: &[Probe]) -> Result<Vec<Reach>, ClusterError> {
        reach::run(&self.client, probes).await
    }
}

async fn client_of(kubeconfig: &Path) -> Result<kube::Client, ClientError> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(kube::Client::try_from(config)?)
}

#[derive(Debug, thiserror::Error)]
enum ClientError {
    #[error(transparent)]
    Kubeconfig(#[from] kube::config::KubeconfigError),
    #[error(transparent)]
    Client(#[from] kube::Error),
}

fn has_ended(process: &mut Detached) -> bool {
    // A process that cannot be asked is taken for one that runs; the wait has its own end.
    matches!(process.ended(), Ok(Some(_)))
}

fn last_line(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
}
