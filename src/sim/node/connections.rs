//! Connections into containers, as the nodes answer them. What may be asked at all is settled before.

use async_trait::async_trait;
use http::Response;

use super::NodeLogs;
use crate::sim::api::{Body, Connection, Connector};
use crate::sim::status::Status;

mod logs;

/// The nodes of one cluster, as far as somebody connects to what runs on them.
#[derive(Debug)]
pub struct NodeConnections {
    logs: NodeLogs,
}

impl NodeConnections {
    /// Answers for the containers that write these logs.
    pub fn new(logs: NodeLogs) -> Self {
        Self { logs }
    }
}

#[async_trait]
impl Connector for NodeConnections {
    async fn connect(&self, connection: Connection) -> Result<Response<Body>, Status> {
        match connection.kind.as_str() {
            "log" => logs::respond(&self.logs, &connection),
            "proxy" => Err(Status::not_simulated("proxying to what runs in the cluster")),
            kind => Err(Status::not_simulated(&format!("{kind} into a container"))),
        }
    }
}
