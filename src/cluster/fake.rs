//! A provider for tests: clusters that are a folder and a flag, whose failures are asked for. Its clusters' clients
//! lead nowhere, so every check against one cannot be judged.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::{
    Availability, Capabilities, Capability, Cluster, ClusterError, ClusterRecord, ClusterSpec, ExecOutput,
    Found, Probe, Progress, Provider, ProviderError, Reach, Support,
};

/// What a fake provider does when a cluster is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Creates {
    /// It makes one.
    Works,
    /// It fails half-way and cleans up after itself, as the contract says.
    Fails,
    /// It never ends, until it is dropped.
    Hangs,
}

/// Makes clusters that are a folder.
#[derive(Clone)]
pub(crate) struct FakeProvider {
    name: &'static str,
    capabilities: Capabilities,
    availability: Availability,
    creates: Creates,
    clusters: Arc<Mutex<Vec<String>>>,
    client: Option<kube::Client>,
}

impl FakeProvider {
    pub(crate) fn new(name: &'static str) -> Self {
        Self {
            name,
            capabilities: Capabilities::default(),
            availability: Availability::Ready,
            creates: Creates::Works,
            clusters: Arc::default(),
            client: None,
        }
    }

    pub(crate) fn with(mut self, capabilities: &[Capability]) -> Self {
        self.capabilities.0.extend(capabilities.iter().map(|capability| (*capability, Support::Real)));
        self
    }

    pub(crate) fn missing(mut self, reason: &str) -> Self {
        self.availability = Availability::Missing { reason: reason.to_owned(), hint: "wait".to_owned() };
        self
    }

    pub(crate) fn creates(mut self, creates: Creates) -> Self {
        self.creates = creates;
        self
    }

    /// Lets its clusters' clients lead somewhere.
    pub(crate) fn client(mut self, client: kube::Client) -> Self {
        self.client = Some(client);
        self
    }

    /// The names of the clusters that there are.
    pub(crate) fn clusters(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.clusters.lock().unwrap()
    }
}

#[async_trait]
impl Provider for FakeProvider {
    fn name(&self) -> &'static str {
        self.name
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities.clone()
    }

    async fn probe(&self) -> Availability {
        self.availability.clone()
    }

    async fn create(
        &self,
        spec: &ClusterSpec,
        progress: &dyn Progress,
    ) -> Result<ClusterRecord, ProviderError> {
        progress.stage("making a folder");
        std::fs::create_dir_all(&spec.dir).unwrap();
        self.lock().push(spec.name.clone());
        match self.creates {
            Creates::Works => {}
            Creates::Fails => {
                if !spec.retain {
                    self.remove(&spec.name).await?;
                    std::fs::remove_dir_all(&spec.dir).unwrap();
                }
                return Err(ProviderError::Unavailable {
                    message: "the fake is broken".to_owned(),
                    hint: "mend it".to_owned(),
                });
            }
            Creates::Hangs => std::future::pending().await,
        }
        let kubeconfig = spec.dir.join("kubeconfig");
        std::fs::write(&kubeconfig, "apiVersion: v1\nkind: Config\n").unwrap();
        Ok(ClusterRecord {
            provider: self.name.to_owned(),
            name: spec.name.clone(),
            dir: spec.dir.clone(),
            kubeconfig,
            data: serde_json::Value::Null,
        })
    }

    async fn attach(&self, record: &ClusterRecord) -> Result<Box<dyn Cluster>, ProviderError> {
        if !self.lock().contains(&record.name) {
            return Err(ProviderError::Gone(record.name.clone()));
        }
        let nowhere = || {
            // Nothing listens on port 1.
            let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
            kube::Client::try_from(config).unwrap()
        };
        let client = self.client.clone().unwrap_or_else(nowhere);
        let kubeconfig = record.kubeconfig.clone();
        Ok(Box::new(FakeCluster { client, kubeconfig, capabilities: self.capabilities.clone() }))
    }

    async fn delete(&self, record: &ClusterRecord) -> Result<(), ProviderError> {
        let _ = std::fs::remove_dir_all(&record.dir);
        self.remove(&record.name).await
    }

    async fn find(&self) -> Result<Vec<Found>, ProviderError> {
        let found = |name: &String| Found { name: name.clone(), summary: "a fake".to_owned() };
        Ok(self.lock().iter().map(found).collect())
    }

    async fn remove(&self, name: &str) -> Result<(), ProviderError> {
        self.lock().retain(|there| there != name);
        Ok(())
    }
}

struct FakeCluster {
    client: kube::Client,
    kubeconfig: PathBuf,
    capabilities: Capabilities,
}

#[async_trait]
impl Cluster for FakeCluster {
    fn client(&self) -> kube::Client {
        self.client.clone()
    }

    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn node_exec(&self, _node: &str, _argv: &[&str]) -> Result<ExecOutput, ClusterError> {
        Err(ClusterError::Missing(Capability::Nodes))
    }

    async fn reach(&self, _probes: &[Probe]) -> Result<Vec<Reach>, ClusterError> {
        Err(ClusterError::Missing(Capability::Reach))
    }
}
