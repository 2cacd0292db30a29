//! The control plane of the test node: the simulated API in the foreground, on a port of the node's own loopback.
//!   kind-node DIR PORT KUBECONFIG

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use cks_lab::clock::SystemClock;
use cks_lab::sim::server::{Home, SimConfig, SimulatedCluster};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, port, kubeconfig] = arguments.as_slice() else { return Ok(ExitCode::from(2)) };
    let mut config = SimConfig::new("node", 0);
    config.port = port.parse()?;
    let mut cluster =
        SimulatedCluster::start(config, Home::Dir(PathBuf::from(dir)), Arc::new(SystemClock)).await?;
    cluster.listen().await?;
    std::fs::write(kubeconfig, cluster.admin_kubeconfig()?)?;
    std::future::pending::<()>().await;
    Ok(ExitCode::SUCCESS)
}
