//! The client of a server's control socket, and the paths of both.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::ServerError;
use super::protocol::{Ask, ClusterInfo, ClusterRequest, Pong, Reply};

/// How long an answer may take; creating a cluster takes well under a second.
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest path that a socket address holds.
const MAX_SOCKET_PATH: usize = 100;

/// Asks the server of one state folder.
#[derive(Debug, Clone)]
pub struct Control {
    dir: PathBuf,
}

/// A path by which a socket can be reached, however deep its folder lies.
pub(super) struct SocketPath {
    pub(super) path: PathBuf,
    _dir: Option<File>,
}

pub(super) fn socket(dir: &Path) -> std::io::Result<SocketPath> {
    let path = dir.join("server.sock");
    if path.as_os_str().len() <= MAX_SOCKET_PATH {
        return Ok(SocketPath { path, _dir: None });
    }
    let dir = File::open(dir)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/server.sock", dir.as_raw_fd()));
    Ok(SocketPath { path, _dir: Some(dir) })
}

impl Control {
    /// Addresses the server of `dir`, whether or not it runs.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Asks whether the server runs.
    ///
    /// # Errors
    /// [`ServerError::NotRunning`] when none does.
    pub async fn ping(&self) -> Result<Pong, ServerError> {
        match self.ask(&Ask::Ping).await? {
            Reply::Pong(pong) => Ok(pong),
            other => Err(unexpected(other)),
        }
    }

    /// Waits for a server that was just started; `ended` tells whether its process has died meanwhile.
    ///
    /// # Errors
    /// [`ServerError::Silent`] when it does not answer within `patience`, [`ServerError::NotRunning`] when it died.
    pub async fn wait(
        &self,
        patience: Duration,
        mut ended: impl FnMut() -> bool + Send,
    ) -> Result<Pong, ServerError> {
        const STEP: Duration = Duration::from_millis(5);
        let mut waited = Duration::ZERO;
        loop {
            match self.ping().await {
                Err(ServerError::NotRunning) => {}
                answered => return answered,
            }
            if ended() {
                // Another process may have won the race to serve the folder, and answers a moment later.
                tokio::time::sleep(STEP * 20).await;
                return self.ping().await;
            }
            if waited >= patience {
                return Err(ServerError::Silent);
            }
            tokio::time::sleep(STEP).await;
            waited += STEP;
        }
    }

    /// Creates a cluster and returns it ready for use.
    ///
    /// # Errors
    /// [`ServerError::Exists`], [`ServerError::BadName`], or what went wrong.
    pub async fn create(&self, request: &ClusterRequest) -> Result<ClusterInfo, ServerError> {
        match self.ask(&Ask::Create(request.clone())).await? {
            Reply::Cluster(info) => Ok(info),
            other => Err(unexpected(other)),
        }
    }

    /// Deletes a cluster with all its files. When it was the last one, the server ends.
    ///
    /// # Errors
    /// [`ServerError::NoCluster`].
    pub async fn delete(&self, name: &str) -> Result<(), ServerError> {
        match self.ask(&Ask::Delete { name: name.to_owned() }).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Returns the clusters that run, by name.
    ///
    /// # Errors
    /// [`ServerError::NotRunning`].
    pub async fn list(&self) -> Result<Vec<ClusterInfo>, ServerError> {
        match self.ask(&Ask::List).await? {
            Reply::Clusters(clusters) => Ok(clusters),
            other => Err(unexpected(other)),
        }
    }

    /// Returns one cluster.
    ///
    /// # Errors
    /// [`ServerError::NoCluster`].
    pub async fn get(&self, name: &str) -> Result<ClusterInfo, ServerError> {
        let found = self.list().await?.into_iter().find(|cluster| cluster.name == name);
        found.ok_or_else(|| ServerError::NoCluster(name.to_owned()))
    }

    /// Ends the server. Its clusters stay on disk, and come back with the next one.
    ///
    /// # Errors
    /// [`ServerError::NotRunning`].
    pub async fn stop(&self) -> Result<(), ServerError> {
        match self.ask(&Ask::Stop).await? {
            Reply::Done => Ok(()),
            other => Err(unexpected(other)),
        }
    }

    /// Returns the names of the clusters on disk, whether or not a server runs.
    pub fn on_disk(&self) -> Vec<String> {
        super::host::names(&self.dir)
    }

    async fn ask(&self, ask: &Ask) -> Result<Reply, ServerError> {
        match tokio::time::timeout(PATIENCE, self.talk(ask)).await {
            Ok(reply) => reply,
            Err(_) => Err(ServerError::Silent),
        }
    }

    async fn talk(&self, ask: &Ask) -> Result<Reply, ServerError> {
        let socket = socket(&self.dir).map_err(|_| ServerError::NotRunning)?;
        let stream = UnixStream::connect(&socket.path).await.map_err(|_| ServerError::NotRunning)?;
        let (reading, mut writing) = stream.into_split();
        let mut line = serde_json::to_vec(ask).map_err(|_| ServerError::Silent)?;
        line.push(b'\n');
        // A server that ends takes no more questions, and answers none that came too late.
        writing.write_all(&line).await.map_err(|_| ServerError::NotRunning)?;
        let mut answer = String::new();
        let read = BufReader::new(reading).read_line(&mut answer).await;
        if !read.is_ok_and(|length| length > 0) {
            return Err(ServerError::NotRunning);
        }
        serde_json::from_str(&answer).map_err(|_| ServerError::Silent)
    }
}

fn unexpected(reply: Reply) -> ServerError {
    match reply {
        Reply::NoCluster { name } => ServerError::NoCluster(name),
        Reply::Exists { name } => ServerError::Exists(name),
        Reply::BadName { name } => ServerError::BadName(name),
        Reply::Failed { message } => ServerError::Refused(message),
        _ => ServerError::Silent,
    }
}
