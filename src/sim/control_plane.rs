//! What runs beside the API of a cluster: controllers, scheduler, event writing. Tasks that end when this is dropped.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::client::Client;
use super::controllers::{self, Authority, Settings, engine};
use super::events::EventSink;
use super::scheduler::Scheduler;

/// The running loops of one cluster.
#[derive(Debug)]
pub struct ControlPlane {
    tasks: JoinSet<()>,
}

impl ControlPlane {
    /// Starts the loops on the current runtime. They find in the store where they were.
    pub fn start(client: &Client, authority: &Arc<dyn Authority>, settings: Settings) -> Self {
        let mut tasks = JoinSet::new();
        let sink = EventSink::start(client.clone(), &mut tasks);
        let settings = Arc::new(settings);
        let mut loops = controllers::all(authority);
        loops.push(Arc::new(Scheduler::default()));
        engine::start(loops, client, &sink, &settings, &mut tasks);
        Self { tasks }
    }

    /// Ends the loops and waits until they have ended.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}
