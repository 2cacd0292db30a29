//! `cks-lab sim-server`, the background process that the sim provider starts.

use std::path::PathBuf;
use std::sync::Arc;

use super::Cx;
use super::error::CliError;
use super::exit::Exit;
use crate::clock::SystemClock;
use crate::sim::server::{self, ServerError};

/// Serve simulated clusters
#[derive(Debug, clap::Args)]
pub(super) struct SimServerArgs {
    /// The folder with the clusters
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

pub(super) async fn run(cx: &Cx, args: &SimServerArgs) -> Result<Exit, CliError> {
    ignore_hangup();
    let mut interrupt = cx.interrupt.clone();
    let ui = cx.ui.clone();
    let report = move |message: &str| ui.warn(message);
    let served =
        server::run(&args.dir, Arc::new(SystemClock), async move { interrupt.pulled().await }, report);
    match served.await {
        // Whoever won the race serves.
        Ok(()) | Err(ServerError::AlreadyRunning) => Ok(Exit::Passed),
        Err(error) => Err(CliError::new(Exit::Unavailable, error)),
    }
}

/// A closed terminal is not to end the clusters of those who work in another one.
pub(super) fn ignore_hangup() {
    use tokio::signal::unix::{SignalKind, signal};
    if let Ok(mut hangups) = signal(SignalKind::hangup()) {
        tokio::spawn(async move { while hangups.recv().await.is_some() {} });
    }
}
