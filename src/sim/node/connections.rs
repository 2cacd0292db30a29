//! Connections into containers, as the nodes answer them. What may be asked at all is settled before.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::Response;
use serde_json::Value;

use super::NodeLogs;
use super::logs::Run;
use super::shell::{self, Host as _, Trace};
use crate::sim::api::{Body, Connection, Connector};
use crate::sim::status::Status;

mod exec;
mod logs;
mod remote;
mod spdy;
mod upgrade;

/// Files that commands have written or removed, by path.
type Files = BTreeMap<String, Option<String>>;

/// The nodes of one cluster, as far as somebody connects to what runs on them.
#[derive(Debug, Clone)]
pub struct NodeConnections {
    logs: NodeLogs,
    /// What commands have left behind, by run.
    left: Arc<Mutex<HashMap<String, Files>>>,
}

impl NodeConnections {
    /// Answers for the containers that write these logs.
    pub fn new(logs: NodeLogs) -> Self {
        Self { logs, left: Arc::default() }
    }

    /// Returns what commands have left in a container.
    fn files(&self, run: &Run) -> Files {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).get(run.id()).cloned().unwrap_or_default()
    }

    fn keep(&self, run: &Run, files: Files) {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).insert(run.id().to_owned(), files);
    }

    /// Runs a command in a container for a time.
    fn run(
        &self,
        pod: &Value,
        run: &Run,
        files: &Files,
        command: &[String],
        stdin: Option<String>,
        limit: Duration,
    ) -> Trace {
        let now = self.logs.now();
        let traced = self.logs.with_process(pod, run, |process| {
            process.exec_over(command, (run.started(), now), files, stdin, limit)
        });
        traced.unwrap_or_default()
    }

    /// Says why a program cannot be run, in the words of the runtime, or that nobody knows what it would do.
    fn refusal(&self, pod: &Value, run: &Run, program: &str) -> Option<Status> {
        let name = program.rsplit('/').next().unwrap_or_default();
        let unknown = || Status::not_simulated(&format!("running {name:?} in a container"));
        self.logs.with_process(pod, run, |process| {
            if name == "tar" {
                return Some(unknown());
            }
            if let Some(why) = process.exec_error(program) {
                let id = run.id().trim_start_matches("containerd://");
                return Some(Status::internal(format!(
                    "Internal error occurred: error executing command in container: failed to exec in container: failed \
                     to start exec {id:?}: OCI runtime exec failed: exec failed: unable to start container process: {why}"
                )));
            }
            let is_script = program.contains('/') && process.read(program).is_some();
            (!shell::is_tool(name) && !is_script).then(unknown)
        })?
    }

    /// Tells whether commands in a container run as root.
    fn is_root(&self, pod: &Value, run: &Run) -> bool {
        self.logs.with_process(pod, run, |process| process.user() == Some(0)).unwrap_or_default()
    }
}

#[async_trait]
impl Connector for NodeConnections {
    async fn connect(&self, connection: Connection) -> Result<Response<Body>, Status> {
        match connection.kind.as_str() {
            "log" => logs::respond(&self.logs, &connection),
            "exec" => exec::respond(self, &connection),
            "proxy" => Err(Status::not_simulated("proxying to what runs in the cluster")),
            kind => Err(Status::not_simulated(&format!("{kind} into a container"))),
        }
    }
}
