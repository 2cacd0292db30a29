//! One simulated cluster, brought up from its parts: in memory for tests, or on disk as the server hosts it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::authority::Keys;
use super::listener::{Front, TlsSettings};
use super::parts::ControlPlaneParts;
use super::{ServerError, kubeconfig, kubelet, listener};
use crate::clock::Clock;
use crate::persist::{self, Stored};
use crate::sim::admission::{Chain, Settings, SettingsError};
use crate::sim::alive::Gates;
use crate::sim::api::resources::Resources;
use crate::sim::api::{Api, Parts};
use crate::sim::apiserver;
use crate::sim::attributes::UserInfo;
use crate::sim::authn::Authenticator;
use crate::sim::authz::Mode;
use crate::sim::bootstrap;
use crate::sim::client::Client;
use crate::sim::control_plane::{ControlPlane, Plan};
use crate::sim::controllers::Authority;
use crate::sim::flags::Program;
use crate::sim::node::host::{self, Hosts, KubeletAnswer, KubeletRequest, NodeHost};
use crate::sim::node::tools;
use crate::sim::node::{NodeConnections, NodeLogs, NodeSpec};
use crate::sim::pki::Pki;
use crate::sim::store::Store;

/// The user of the learner's kubeconfig, as kubeadm makes it.
pub const ADMIN: (&str, &str) = ("kubernetes-admin", "kubeadm:cluster-admins");
/// The user of the grader's kubeconfig.
pub const GRADER: (&str, &str) = ("cks-lab-grader", "system:masters");

/// What a cluster is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SimConfig {
    /// Its name.
    pub name: String,
    /// The names of its nodes, the control plane first.
    pub nodes: Vec<String>,
    /// The port of its API; 0 for any.
    #[serde(default)]
    pub port: u16,
    /// What its API server is started with beside what kubeadm says.
    #[serde(default)]
    pub api_server: ApiServerFlags,
}

/// Flags of an API server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiServerFlags {
    /// `--enable-admission-plugins`.
    pub enable_admission_plugins: Vec<String>,
    /// `--disable-admission-plugins`.
    pub disable_admission_plugins: Vec<String>,
    /// `--admission-control-config-file`: a file of this machine.
    pub admission_control_config_file: Option<PathBuf>,
    /// `--runtime-config`: versions that are off by default, such as `admissionregistration.k8s.io/v1beta1=true`.
    pub runtime_config: Vec<String>,
    /// `--feature-gates`: features that are off by default, such as `MutatingAdmissionPolicy=true`.
    pub feature_gates: Vec<String>,
}

impl ApiServerFlags {
    /// Returns what is served.
    fn resources(&self) -> Resources {
        Resources::with_versions(&apiserver::versions(&self.runtime_config, &self.feature_gates))
    }

    /// Makes the admission plugins.
    fn admission(&self) -> Result<Chain, SettingsError> {
        let mut settings = Settings::kubeadm();
        settings.enable.extend(self.enable_admission_plugins.iter().cloned());
        settings.disable.extend(self.disable_admission_plugins.iter().cloned());
        if let Some(path) = &self.admission_control_config_file {
            settings.configure(&path.to_string_lossy(), &|file| std::fs::read_to_string(file).ok())?;
        }
        Chain::configured(&settings)
    }
}

impl SimConfig {
    /// Describes a cluster with a control plane and so many workers.
    pub fn new(name: &str, workers: u32) -> Self {
        let workers = (1..=workers).map(|number| format!("worker-{number}"));
        let nodes = std::iter::once("control-plane".to_owned()).chain(workers).collect();
        Self { name: name.to_owned(), nodes, port: 0, api_server: ApiServerFlags::default() }
    }
}

impl Stored for SimConfig {
    const KIND: &'static str = "simulated-cluster";
    const VERSION: u32 = 1;
}

/// Where a cluster keeps its state.
#[derive(Debug, Clone)]
pub enum Home {
    /// Nowhere: it ends with the process.
    Memory,
    /// In this folder.
    Dir(PathBuf),
}

/// A running cluster. It ends when dropped.
///
/// Tests in this process use it without any socket:
/// ```ignore
/// let cluster = SimulatedCluster::in_memory(clock).await?;
/// let client = cluster.kube_client();                 // kube::Client of an administrator
/// let jane = cluster.kube_client_as(UserInfo::named("jane", &["dev"]));
/// cluster.api().store();                              // the objects themselves
/// let address = cluster.listen().await?;              // only for tests that want kubectl
/// std::fs::write(path, cluster.admin_kubeconfig()?)?;
/// ```
#[derive(Debug)]
pub struct SimulatedCluster {
    config: SimConfig,
    home: Home,
    api: Api,
    address: Option<SocketAddr>,
    tasks: JoinSet<()>,
    control_plane: Option<ControlPlane>,
    /// The machines of its nodes; a cluster in memory has none.
    hosts: Option<Hosts>,
    control: Arc<ControlPlaneParts>,
    front: Option<Arc<Front>>,
}

impl SimulatedCluster {
    /// Brings up a cluster of one node in memory, without a listener.
    ///
    /// # Errors
    /// As [`SimulatedCluster::start`].
    pub async fn in_memory(clock: Arc<dyn Clock>) -> Result<Self, ServerError> {
        Self::start(SimConfig::new("test", 0), Home::Memory, clock).await
    }

    /// Brings up a cluster, with the objects that it had or those of a fresh one, and its controllers.
    ///
    /// # Errors
    /// [`ServerError`] when its state cannot be read or made.
    pub async fn start(config: SimConfig, home: Home, clock: Arc<dyn Clock>) -> Result<Self, ServerError> {
        let plan = Plan::new(&config.nodes);
        Self::start_with(config, home, clock, plan).await
    }

    /// Brings up a cluster whose controllers and kubelets go by a plan.
    ///
    /// # Errors
    /// As [`SimulatedCluster::start`].
    pub async fn start_with(
        config: SimConfig,
        home: Home,
        clock: Arc<dyn Clock>,
        mut plan: Plan,
    ) -> Result<Self, ServerError> {
        let (store, pki) = match &home {
            Home::Memory => (Store::in_memory(), Pki::generate(&config.nodes, clock.now())?),
            Home::Dir(dir) => {
                let keys = dir.join(KEYS);
                let pki = if keys.join("sa.key").exists() {
                    Pki::load(&keys)?
                } else {
                    let pki = Pki::generate(&config.nodes, clock.now())?;
                    pki.save(&keys)?;
                    pki
                };
                (Store::open(&dir.join(OBJECTS))?, pki)
            }
        };
        let hosts = match &home {
            Home::Memory => None,
            Home::Dir(dir) => {
                let nodes = NodeSpec::named(&config.nodes);
                if !host::are_laid(dir) {
                    host::layout::lay(dir, &config.name, &nodes, &pki, clock.now())?;
                }
                let hosts = Hosts::open(dir, nodes, &store, &clock)?;
                plan.machine = Arc::new(hosts.clone());
                Some(hosts)
            }
        };
        let authenticator =
            Authenticator::new(Arc::new(pki), clock.clone(), true).map_err(ServerError::Tls)?;
        let parts = Parts {
            clock,
            resources: config.api_server.resources(),
            modes: vec![Mode::Node, Mode::Rbac],
            admission: config.api_server.admission()?,
            authenticator,
        };
        let api = Api::new(store, parts);
        let gates = Gates::new(&api);
        let with_machines = hosts.is_some();
        if with_machines {
            // The manifests on the node say with what it begins.
            api.end();
        }
        bootstrap::run(&api, &config.name, &config.nodes)?;
        api.refresh_definitions()?;
        let control = Arc::new(ControlPlaneParts::new(&api, &gates, &config.name, &config.nodes));
        for host in hosts.iter().flat_map(Hosts::iter).filter(|host| host.spec().control_plane) {
            host.set_parts(control.clone(), plan.timings.static_haste);
        }
        if with_machines {
            for program in [Program::ControllerManager, Program::Scheduler, Program::Etcd] {
                gates.set(program, false);
            }
        }
        let authority: Arc<dyn Authority> = Arc::new(Keys(api.clone()));
        let control_plane = ControlPlane::start(&api, &authority, plan, &gates, hosts.as_ref());
        api.set_connector(Arc::new(NodeConnections::new(control_plane.logs().clone())));
        let mut cluster = Self {
            config,
            home,
            api,
            address: None,
            tasks: JoinSet::new(),
            control_plane: Some(control_plane),
            hosts,
            control,
            front: None,
        };
        cluster.tasks.spawn(cluster.api.clone().clear_up_definitions());
        cluster.start_maintenance();
        Ok(cluster)
    }

    /// Writes the keys, the files of the nodes and the objects into a folder, from which another cluster can be started.
    ///
    /// # Errors
    /// [`ServerError`] when they cannot be written.
    pub fn copy_to(&self, dir: &Path) -> Result<(), ServerError> {
        self.api.pki().save(&dir.join(KEYS))?;
        if let Home::Dir(own) = &self.home {
            host::copy(own, dir)?;
        }
        Ok(self.api.store().copy_to(&dir.join(OBJECTS))?)
    }

    fn start_maintenance(&mut self) {
        if matches!(self.home, Home::Memory) {
            return;
        }
        let store = self.api.store().clone();
        self.tasks.spawn(async move {
            loop {
                // No more than the last second is ever unsynced, the time that the disk takes included.
                tokio::time::sleep(Duration::from_millis(500)).await;
                let store = store.clone();
                // A full disk shows in the writes themselves; what is not synced now is tried again.
                let _ = tokio::task::spawn_blocking(move || store.maintain()).await;
            }
        });
    }

    /// Listens on a loopback port, the one it had if that is free, and returns the address.
    ///
    /// # Errors
    /// [`ServerError::Listen`], [`ServerError::Tls`].
    pub async fn listen(&mut self) -> Result<SocketAddr, ServerError> {
        if let Some(address) = self.address {
            return Ok(address);
        }
        let front = Arc::new(Front::reserve(self.config.port)?);
        let address = front.address();
        if let Some(hosts) = &self.hosts {
            let written = host::layout::address(hosts, &listener::url(address));
            written.map_err(ServerError::Nodes)?;
        }
        self.config.port = address.port();
        self.api.set_address(address.to_string());
        self.address = Some(address);
        if self.hosts.is_some() {
            self.control.set_front(front.clone());
        } else {
            front.open(listener::acceptor(self.api.pki(), &TlsSettings::default())?, self.api.clone());
        }
        self.front = Some(front);
        if let (Some(hosts), Some(control_plane)) = (&self.hosts, &self.control_plane) {
            let client = self.api.client(UserInfo::named(ADMIN.0, &[ADMIN.1]));
            tools::listen(hosts, control_plane.logs(), &client, &mut self.tasks)
                .map_err(ServerError::Listen)?;
        }
        Ok(address)
    }

    /// Writes the cluster's description and its kubeconfigs into its folder.
    pub(super) fn save(&self) -> Result<(), ServerError> {
        let Home::Dir(dir) = &self.home else { return Ok(()) };
        for (file, (user, group)) in [(ADMIN_FILE, ADMIN), (GRADER_FILE, GRADER)] {
            let path = dir.join(file);
            // Credentials stay; only the address may have changed.
            if !self.is_current(&path)? {
                persist::write_atomic(&path, self.kubeconfig(user, group)?.as_bytes())?;
            }
        }
        persist::save(&dir.join(CONFIG_FILE), &self.config)?;
        Ok(())
    }

    fn is_current(&self, path: &Path) -> Result<bool, ServerError> {
        let server = format!("server: {}\n", self.url());
        let content = persist::read(path)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&content).contains(&server))
    }

    /// Returns the URL of the API; meaningful once it listens.
    pub fn url(&self) -> String {
        self.address.map(listener::url).unwrap_or_else(|| format!("https://{}", self.api.address()))
    }

    /// Returns a kubeconfig of the administrator, for a cluster that listens.
    ///
    /// # Errors
    /// [`ServerError::Pki`].
    pub fn admin_kubeconfig(&self) -> Result<String, ServerError> {
        self.kubeconfig(ADMIN.0, ADMIN.1)
    }

    /// Returns a kubeconfig of a user with a new client certificate.
    ///
    /// # Errors
    /// [`ServerError::Pki`].
    pub fn kubeconfig(&self, user: &str, group: &str) -> Result<String, ServerError> {
        let pki = self.api.pki();
        let credentials = pki.client(user, &[group], self.api.clock().now())?;
        Ok(kubeconfig::render(&self.config.name, &self.url(), pki.authority_pem(), user, &credentials))
    }

    /// Returns the API.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Returns the machines of the nodes; a cluster in memory has none.
    pub fn hosts(&self) -> Option<&Hosts> {
        self.hosts.as_ref()
    }

    /// Returns the machine of one node.
    pub fn host(&self, node: &str) -> Option<&NodeHost> {
        self.hosts.as_ref()?.get(node)
    }

    /// Answers a request to a port of the kubelet of a node, as it is configured; nothing where there is no such node.
    pub fn ask_kubelet(&self, node: &str, request: &KubeletRequest) -> Option<KubeletAnswer> {
        Some(kubelet::answer(&self.api, self.host(node)?, request))
    }

    /// Returns the logs of the containers.
    pub fn logs(&self) -> Option<&NodeLogs> {
        self.control_plane.as_ref().map(ControlPlane::logs)
    }

    /// Returns what the cluster is.
    pub fn config(&self) -> &SimConfig {
        &self.config
    }

    /// Returns an in-process client that acts as `user`, as controllers use it.
    pub fn client(&self, user: UserInfo) -> Client {
        self.api.client(user)
    }

    /// Returns a kube client of an administrator that needs no socket.
    pub fn kube_client(&self) -> kube::Client {
        self.kube_client_as(UserInfo::named(GRADER.0, &[GRADER.1]))
    }

    /// Returns a kube client of `user` that needs no socket.
    pub fn kube_client_as(&self, user: UserInfo) -> kube::Client {
        kube::Client::new(self.api.service(user), "default")
    }

    /// Ends the cluster and waits until all of it is on disk.
    ///
    /// # Errors
    /// [`ServerError::Store`] when the last writes could not be brought to disk.
    pub async fn stop(mut self) -> Result<(), ServerError> {
        if let Some(control_plane) = self.control_plane.take() {
            control_plane.stop().await;
        }
        if let Some(front) = self.front.take() {
            front.close();
        }
        self.tasks.shutdown().await;
        let store = self.api.store().clone();
        match tokio::task::spawn_blocking(move || store.maintain()).await {
            Ok(done) => Ok(done?),
            Err(_) => Ok(()),
        }
    }
}

/// The folder of a cluster's keys and certificates.
const KEYS: &str = "pki";
/// The folder of a cluster's objects.
const OBJECTS: &str = "store";
/// The learner's kubeconfig in a cluster's folder.
pub(super) const ADMIN_FILE: &str = "kubeconfig";
/// The grader's kubeconfig in a cluster's folder.
pub(super) const GRADER_FILE: &str = "grader.kubeconfig";
/// The cluster's description in its folder; written last, so that a folder without it is an unfinished one.
pub(super) const CONFIG_FILE: &str = "cluster.json";
