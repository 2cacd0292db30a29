//! The server's life: it takes the folder, brings its clusters back, answers on the control socket, and ends with its
//! last cluster.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Notify};

use super::ServerError;
use super::control::socket;
use super::protocol::{Ask, ClusterInfo, ClusterRequest, Pong, Reply};
use super::simulated::{ADMIN_FILE, CONFIG_FILE, GRADER_FILE, Home, SimConfig, SimulatedCluster};
use crate::clock::Clock;
use crate::persist::{self, Lock, PersistError};

/// How long a server without clusters waits for the first one.
const FIRST: Duration = Duration::from_secs(30);

/// Serves the clusters of `dir` until the last one is deleted, a stop is asked for, or `shutdown` comes.
///
/// # Errors
/// [`ServerError::AlreadyRunning`] when another process does, or what keeps it from listening. A cluster that cannot be
/// brought back is told to `report` and left as it is.
pub async fn run(
    dir: &Path,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()> + Send,
    report: impl Fn(&str) + Send + Sync,
) -> Result<(), ServerError> {
    persist::create_dir(dir)?;
    let lock =
        Lock::try_acquire(&dir.join("server.lock"), "simulated clusters").map_err(|error| match error {
            PersistError::Held { .. } => ServerError::AlreadyRunning,
            other => other.into(),
        })?;
    let host = Arc::new(Host {
        dir: dir.to_owned(),
        clock,
        clusters: Mutex::new(BTreeMap::new()),
        stopped: Notify::new(),
        emptied: Notify::new(),
    });
    for name in names(dir) {
        if let Err(error) = host.restore(&name).await {
            report(&format!("cluster `{name}` cannot be brought back: {}", chain(&error)));
        }
    }
    let socket = socket(dir).map_err(ServerError::Listen)?;
    // With the lock held, a socket that lies there is a dead server's.
    let _ = std::fs::remove_file(&socket.path);
    let control = UnixListener::bind(&socket.path).map_err(ServerError::Listen)?;
    std::fs::set_permissions(&socket.path, std::fs::Permissions::from_mode(0o600))
        .map_err(ServerError::Listen)?;
    let mut shutdown = std::pin::pin!(shutdown);
    let mut clusters = loop {
        let all = tokio::select! {
            () = host.accept(&control) => true,
            () = host.stopped.notified() => true,
            () = &mut shutdown => true,
            () = host.emptied.notified() => false,
            () = host.idle() => false,
        };
        // The lock is kept to the end: whoever asks for a cluster from now on gets no answer and starts another server.
        // Otherwise a cluster that is made in this very moment would go down with this one.
        let clusters = host.clusters.lock().await;
        if all || clusters.is_empty() {
            break clusters;
        }
    };
    let _ = std::fs::remove_file(&socket.path);
    for (_, cluster) in std::mem::take(&mut *clusters) {
        cluster.stop().await?;
    }
    drop(lock);
    Ok(())
}

/// Returns the names of the clusters that lie in `dir`.
pub(super) fn names(dir: &Path) -> Vec<String> {
    let Ok(folders) = std::fs::read_dir(dir.join("clusters")) else { return Vec::new() };
    let mut names: Vec<String> = folders
        .flatten()
        .filter(|folder| folder.path().join(CONFIG_FILE).exists())
        .filter_map(|folder| folder.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// An error with its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

struct Host {
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    clusters: Mutex<BTreeMap<String, SimulatedCluster>>,
    /// Somebody asked the server to stop.
    stopped: Notify,
    /// The last cluster went.
    emptied: Notify,
}

impl Host {
    fn folder(&self, name: &str) -> PathBuf {
        self.dir.join("clusters").join(name)
    }

    async fn accept(self: &Arc<Self>, control: &UnixListener) {
        loop {
            match control.accept().await {
                Ok((stream, _)) => {
                    let host = self.clone();
                    tokio::spawn(async move { host.converse(stream).await });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Ends when nobody has asked for a cluster in a server that has none.
    async fn idle(&self) {
        loop {
            tokio::time::sleep(FIRST).await;
            if self.clusters.lock().await.is_empty() {
                return;
            }
        }
    }

    async fn converse(&self, stream: UnixStream) {
        let (reading, mut writing) = stream.into_split();
        let mut lines = BufReader::new(reading).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let ask = serde_json::from_str::<Ask>(&line);
            let (reply, then) = match ask {
                Ok(ask) => self.answer(ask).await,
                Err(error) => (Reply::Failed { message: format!("not understood: {error}") }, None),
            };
            let mut line = serde_json::to_vec(&reply).unwrap_or_default();
            line.push(b'\n');
            let sent = writing.write_all(&line).await;
            if let Some(then) = then {
                then.notify_one();
            }
            if sent.is_err() {
                return;
            }
        }
    }

    /// Does what is asked, and returns whom to tell once the reply is sent.
    async fn answer(&self, ask: Ask) -> (Reply, Option<&Notify>) {
        let mut clusters = self.clusters.lock().await;
        let failed = |error: ServerError| match error {
            ServerError::NoCluster(name) => Reply::NoCluster { name },
            ServerError::Exists(name) => Reply::Exists { name },
            ServerError::BadName(name) => Reply::BadName { name },
            other => Reply::Failed { message: chain(&other) },
        };
        match ask {
            Ask::Ping => {
                let version = env!("CARGO_PKG_VERSION").to_owned();
                (Reply::Pong(Pong { pid: std::process::id(), version, clusters: clusters.len() }), None)
            }
            Ask::List => (Reply::Clusters(clusters.values().map(|c| self.describe(c)).collect()), None),
            Ask::Create(request) => match self.create(&mut clusters, &request).await {
                Ok(info) => (Reply::Cluster(info), None),
                Err(error) => (failed(error), None),
            },
            Ask::Delete { name } => match self.delete(&mut clusters, &name).await {
                Ok(()) => (Reply::Done, clusters.is_empty().then_some(&self.emptied)),
                Err(error) => (failed(error), None),
            },
            Ask::Stop => (Reply::Done, Some(&self.stopped)),
        }
    }

    fn describe(&self, cluster: &SimulatedCluster) -> ClusterInfo {
        let config = cluster.config();
        let dir = self.folder(&config.name);
        ClusterInfo {
            name: config.name.clone(),
            server: cluster.url(),
            kubeconfig: dir.join(ADMIN_FILE),
            grader_kubeconfig: dir.join(GRADER_FILE),
            nodes: config.nodes.clone(),
            dir,
        }
    }

    async fn create(
        &self,
        clusters: &mut BTreeMap<String, SimulatedCluster>,
        request: &ClusterRequest,
    ) -> Result<ClusterInfo, ServerError> {
        let name = &request.name;
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fits = !name.is_empty()
            && name.len() <= 63
            && name.chars().all(|c| letter(c) || c == '-')
            && name.starts_with(letter)
            && name.ends_with(letter);
        if !fits {
            return Err(ServerError::BadName(name.clone()));
        }
        let dir = self.folder(name);
        if clusters.contains_key(name) || dir.join(CONFIG_FILE).exists() {
            return Err(ServerError::Exists(name.clone()));
        }
        remove(&dir)?;
        persist::create_dir(&dir)?;
        let config = match &request.copy_of {
            None => Ok(SimConfig::new(name, request.workers)),
            Some(original) => match clusters.get(original) {
                None => Err(ServerError::NoCluster(original.clone())),
                Some(cluster) => cluster.copy_to(&dir).map(|()| SimConfig {
                    name: name.clone(),
                    port: 0,
                    ..cluster.config().clone()
                }),
            },
        };
        let made = match config {
            Ok(config) => self.bring_up(config, &dir).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(cluster) => {
                let info = self.describe(&cluster);
                clusters.insert(name.clone(), cluster);
                Ok(info)
            }
            Err(error) => {
                let _ = remove(&dir);
                Err(error)
            }
        }
    }

    async fn bring_up(&self, config: SimConfig, dir: &Path) -> Result<SimulatedCluster, ServerError> {
        let home = Home::Dir(dir.to_owned());
        let mut cluster = SimulatedCluster::start(config, home, self.clock.clone()).await?;
        cluster.listen().await?;
        cluster.save()?;
        Ok(cluster)
    }

    async fn restore(&self, name: &str) -> Result<(), ServerError> {
        let dir = self.folder(name);
        let Some(config) = persist::load::<SimConfig>(&dir.join(CONFIG_FILE))? else { return Ok(()) };
        let cluster = self.bring_up(config, &dir).await?;
        self.clusters.lock().await.insert(name.to_owned(), cluster);
        Ok(())
    }

    async fn delete(
        &self,
        clusters: &mut BTreeMap<String, SimulatedCluster>,
        name: &str,
    ) -> Result<(), ServerError> {
        let Some(cluster) = clusters.remove(name) else {
            return Err(ServerError::NoCluster(name.to_owned()));
        };
        let dir = self.folder(name);
        // Without its description a folder is nothing that a later server would bring back.
        persist::remove(&dir.join(CONFIG_FILE))?;
        let _ = cluster.stop().await;
        remove(&dir)
    }
}

fn remove(dir: &Path) -> Result<(), ServerError> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(PersistError::Io { path: dir.to_owned(), action: "removed", source: error }.into())
        }
        _ => Ok(()),
    }
}
