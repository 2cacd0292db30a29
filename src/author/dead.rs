//! A cluster whose API server is gone: for clusters that are not ours to take down.

use std::path::Path;

use async_trait::async_trait;

use crate::cluster::{Capabilities, Cluster, ClusterError, ExecOutput, Probe, Reach};

/// Stands in for another cluster and answers nothing.
pub(super) struct Dead<'a> {
    alive: &'a dyn Cluster,
    client: kube::Client,
}

impl<'a> Dead<'a> {
    /// Makes a client to a port that nothing listens on; none when no client can be made.
    pub(super) fn new(alive: &'a dyn Cluster) -> Option<Self> {
        // Port 1 of the loopback address refuses connections.
        let config = kube::Config::new("https://127.0.0.1:1".parse().ok()?);
        let client = kube::Client::try_from(config).ok()?;
        Some(Self { alive, client })
    }
}

fn gone() -> ClusterError {
    ClusterError::Failed { message: "the cluster is gone".to_owned(), source: None }
}

#[async_trait]
impl Cluster for Dead<'_> {
    fn client(&self) -> kube::Client {
        self.client.clone()
    }

    fn kubeconfig(&self) -> &Path {
        self.alive.kubeconfig()
    }

    fn capabilities(&self) -> &Capabilities {
        self.alive.capabilities()
    }

    async fn node_exec(&self, _: &str, _: &[&str]) -> Result<ExecOutput, ClusterError> {
        Err(gone())
    }

    async fn reach(&self, _: &[Probe]) -> Result<Vec<Reach>, ClusterError> {
        Err(gone())
    }

    fn exclusive(&self) -> bool {
        self.alive.exclusive()
    }
}
