//! Onto the nodes of a session's cluster, and the hosts of an exam's tasks.

use super::Lab;
use super::error::LabError;
use crate::cluster::Cluster;
use crate::session::SessionId;

/// A node of a session's cluster.
pub struct NodeHandle {
    /// The session.
    pub session: SessionId,
    /// The node's full name.
    pub node: String,
    /// The cluster that it belongs to.
    pub cluster: Box<dyn Cluster>,
}

impl Lab {
    /// Tells whether the session that is meant is an exam, whose names are hosts.
    ///
    /// # Errors
    /// [`LabError::Store`] when there is no such session.
    pub fn is_exam(&self, session: Option<&str>) -> Result<bool, LabError> {
        Ok(self.look(session)?.sitting.is_some())
    }

    /// Finds a node of the session that is meant, by its name or by its end where only one has it. `host` is the host of
    /// an exam's task that the command is run on.
    ///
    /// # Errors
    /// [`LabError::NoNode`] where there is none of the name, or any of store and provider.
    pub async fn node(
        &self,
        session: Option<&str>,
        host: Option<&str>,
        node: &str,
    ) -> Result<NodeHandle, LabError> {
        let (session, index) = match host {
            None => {
                let session = self.look(session)?;
                session.running()?;
                let index = session.current();
                (session, index)
            }
            Some(host) => {
                let locked = self.open_exam(session, "ssh").await?;
                let desk = locked.session.sitting()?.desks.iter().position(|desk| desk.host == host);
                let index = desk.unwrap_or_else(|| locked.session.current());
                (locked.session.clone(), index)
            }
        };
        let task = session.task(index)?;
        let cluster = self.attach(&session, task).await?;
        let known = cluster.nodes().await?;
        let ending = format!("-{node}");
        let mut ends = known.iter().filter(|name| name.ends_with(&ending));
        let found = match (known.iter().find(|name| *name == node), ends.next(), ends.next()) {
            (Some(name), ..) | (None, Some(name), None) => name.clone(),
            _ => return Err(LabError::NoNode { session: session.id.clone(), node: node.to_owned(), known }),
        };
        Ok(NodeHandle { session: session.id, node: found, cluster })
    }
}
