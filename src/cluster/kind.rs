//! The kind provider: real Kubernetes in Docker, through the `kind` binary and Docker's API. Its clusters carry a
//! name prefix and kind's own labels, so that what is there is looked up and never remembered.

mod config;
mod docker;
mod probe;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;

use crate::cluster::{
    Availability, Capabilities, Capability, Cluster, ClusterError, ClusterRecord, ClusterSpec, ExecOutput,
    Found, NodeShell, Probe, Progress, Provider, ProviderError, Reach, Support, Terminal,
};
use crate::persist;
use crate::process::{HostCommand, ProcessError, Stream};

/// What the names of our kind clusters begin with.
const PREFIX: &str = "cks-lab-";
/// How long kind may take to create a cluster, pulling its image included.
const CREATE_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// How long kind waits for the control plane to be ready.
const READY_TIMEOUT: &str = "180s";
/// How long the API may take to come back after its node was started again, and how often it is asked meanwhile.
const RESTART_TIMEOUT: Duration = Duration::from_secs(60);
const RESTART_INTERVAL: Duration = Duration::from_millis(250);
/// The oldest kind whose node images run the Kubernetes that scenarios are written for.
const OLDEST: semver::Version = semver::Version::new(0, 24, 0);

/// Brings clusters up with kind.
#[derive(Debug)]
pub struct KindProvider {
    clusters: PathBuf,
}

impl KindProvider {
    /// Takes the folder that holds a folder for each of its clusters. Others on this machine may have kind clusters
    /// too, which look just the same to Docker; those without a folder here are theirs.
    pub fn new(clusters: PathBuf) -> Self {
        Self { clusters }
    }
}

/// A kind cluster.
struct KindCluster {
    docker: Docker,
    client: kube::Client,
    kubeconfig: PathBuf,
    capabilities: Capabilities,
    /// The names of its nodes, the control plane first.
    nodes: Vec<String>,
}

#[async_trait]
impl Provider for KindProvider {
    fn name(&self) -> &'static str {
        "kind"
    }

    fn shares(&self) -> bool {
        true
    }

    fn at_once(&self) -> usize {
        // Nodes that start are what a laptop has least of.
        2
    }

    fn capabilities(&self) -> Capabilities {
        let mut has: BTreeMap<Capability, Support> = [
            Capability::Api,
            Capability::ClusterScope,
            Capability::Pods,
            Capability::Exec,
            Capability::Reach,
            Capability::Nodes,
        ]
        .into_iter()
        .map(|capability| (capability, Support::Real))
        .collect();
        if host_has_apparmor() {
            has.insert(Capability::AppArmor, Support::Real);
        }
        Capabilities(has)
    }

    async fn probe(&self) -> Availability {
        match preflight().await {
            Ok(_) => Availability::Ready,
            Err(ProviderError::Unavailable { message, hint }) => {
                Availability::Missing { reason: message, hint }
            }
            Err(error) => Availability::Missing { reason: error.to_string(), hint: String::new() },
        }
    }

    async fn create(
        &self,
        spec: &ClusterSpec,
        progress: &dyn Progress,
    ) -> Result<ClusterRecord, ProviderError> {
        progress.stage("looking for Docker and kind");
        let docker = preflight().await?;
        if let Some(image) = &spec.node_image
            && !docker::has_image(&docker, image).await
        {
            progress.detail(&format!(
                "`{image}` is not on this machine yet; kind pulls it, which may take minutes"
            ));
        }
        let name = kind_name(&spec.name);
        let result = create(&docker, spec, &name, progress).await;
        if result.is_err() && !spec.retain {
            // The first failure is what the learner has to know; what could not be removed `clean` finds again.
            let _ = remove(&docker, &name).await;
            let _ = std::fs::remove_dir_all(&spec.dir);
        }
        result
    }

    async fn attach(&self, record: &ClusterRecord) -> Result<Box<dyn Cluster>, ProviderError> {
        let docker = docker::connect().await?;
        let name = kind_name(&record.name);
        let nodes = docker::nodes(&docker, Some(&name), PREFIX).await?;
        if nodes.is_empty() {
            return Err(ProviderError::Gone(record.name.clone()));
        }
        let client = client_of(&grader_path(&record.dir)).await?;
        if nodes.iter().any(|node| !node.running) {
            for node in nodes.iter().filter(|node| !node.running) {
                docker::start(&docker, &node.name).await?;
            }
            wait_for_api(&client).await;
        }
        let capabilities = self.capabilities();
        let mut named: Vec<(bool, String)> =
            nodes.into_iter().map(|node| (node.role != "control-plane", node.name)).collect();
        named.sort();
        let names = named.into_iter().map(|(_, name)| name).collect();
        let kubeconfig = record.kubeconfig.clone();
        Ok(Box::new(KindCluster { docker, client, kubeconfig, capabilities, nodes: names }))
    }

    async fn delete(&self, record: &ClusterRecord) -> Result<(), ProviderError> {
        self.remove(&record.name).await?;
        match std::fs::remove_dir_all(&record.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ProviderError::Failed {
                message: format!("failed to remove `{}`", record.dir.display()),
                source: Some(Box::new(error)),
            }),
            _ => Ok(()),
        }
    }

    async fn find(&self) -> Result<Vec<Found>, ProviderError> {
        let docker = docker::connect().await?;
        let mut clusters: BTreeMap<String, usize> = BTreeMap::new();
        for node in docker::nodes(&docker, None, PREFIX).await? {
            *clusters.entry(node.cluster).or_default() += 1;
        }
        let found = clusters.into_iter().filter_map(|(cluster, nodes)| {
            let name = cluster.strip_prefix(PREFIX)?.to_owned();
            let summary = format!("kind cluster `{cluster}` with {nodes} node container(s)");
            self.clusters.join(&name).exists().then_some(Found { name, summary })
        });
        Ok(found.collect())
    }

    async fn remove(&self, name: &str) -> Result<(), ProviderError> {
        let docker = docker::connect().await?;
        remove(&docker, &kind_name(name)).await
    }
}

#[async_trait]
impl Cluster for KindCluster {
    fn client(&self) -> kube::Client {
        self.client.clone()
    }

    fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn nodes(&self) -> Result<Vec<String>, ClusterError> {
        Ok(self.nodes.clone())
    }

    async fn node_shell(
        &self,
        node: &str,
        argv: &[OsString],
        terminal: &Terminal,
    ) -> Result<NodeShell, ClusterError> {
        let mut command = HostCommand::new("docker").arg("exec").arg("--interactive");
        if terminal.interactive {
            command = command.arg("--tty");
        }
        command = command.args(["--env", "KUBECONFIG=/etc/kubernetes/admin.conf", node]);
        let shell = [OsString::from("bash"), OsString::from("-l")];
        let argv = if argv.is_empty() { &shell[..] } else { argv };
        Ok(NodeShell { command: command.args(argv.iter().cloned()), note: None })
    }

    async fn node_exec(&self, node: &str, argv: &[&str]) -> Result<ExecOutput, ClusterError> {
        docker::exec(&self.docker, node, argv).await
    }

    async fn reach(&self, probes: &[Probe]) -> Result<Vec<Reach>, ClusterError> {
        probe::run(self, probes).await
    }

    fn reserved_namespaces(&self) -> Vec<String> {
        ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"].map(str::to_owned).to_vec()
    }
}

fn kind_name(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn grader_path(dir: &Path) -> PathBuf {
    dir.join("grader.kubeconfig")
}

fn host_has_apparmor() -> bool {
    std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.trim() == "Y")
}

/// Sees that Docker answers and that a kind is there which is not too old.
async fn preflight() -> Result<Docker, ProviderError> {
    let docker = docker::connect().await?;
    let hint =
        "install kind from https://kind.sigs.k8s.io or from your distribution; or use `--provider sim`";
    let output = match HostCommand::new("kind").arg("version").timeout(Duration::from_secs(20)).run().await {
        Ok(output) => output,
        Err(ProcessError::NotFound { .. }) => {
            return Err(ProviderError::Unavailable {
                message: "`kind` was not found".to_owned(),
                hint: hint.to_owned(),
            });
        }
        Err(error) => {
            return Err(ProviderError::Unavailable {
                message: format!("`kind` does not work: {error}"),
                hint: hint.to_owned(),
            });
        }
    };
    let text = output.stdout_text();
    match parse_version(&text) {
        Some(version) if version < OLDEST => Err(ProviderError::Unavailable {
            message: format!("kind {version} is too old"),
            hint: format!("install kind {OLDEST} or newer"),
        }),
        Some(_) => Ok(docker),
        None => Err(ProviderError::Unavailable {
            message: format!("`kind version` answered `{text}`, which names no version"),
            hint: hint.to_owned(),
        }),
    }
}

/// Waits for the API of nodes that were started again. Where it stays silent, whoever asks it next says so.
async fn wait_for_api(client: &kube::Client) {
    let answers = async {
        while client.apiserver_version().await.is_err() {
            tokio::time::sleep(RESTART_INTERVAL).await;
        }
    };
    let _ = tokio::time::timeout(RESTART_TIMEOUT, answers).await;
}

/// Reads `kind v0.27.0 go1.24.4 linux/amd64`.
fn parse_version(text: &str) -> Option<semver::Version> {
    text.split_whitespace().find_map(|word| semver::Version::parse(word.strip_prefix('v')?).ok())
}

async fn create(
    docker: &Docker,
    spec: &ClusterSpec,
    name: &str,
    progress: &dyn Progress,
) -> Result<ClusterRecord, ProviderError> {
    persist::create_dir(&spec.dir).map_err(|source| failed("create the cluster's folder", source))?;
    let config = spec.dir.join("kind.yaml");
    persist::write_atomic(&config, config::render(spec)?.as_bytes())
        .map_err(|source| failed("write the kind configuration", source))?;
    let kubeconfig = spec.dir.join("kubeconfig");
    let mut command = HostCommand::new("kind")
        .args(["create", "cluster", "--name", name, "--wait", READY_TIMEOUT, "--config"])
        .arg(&config)
        .arg("--kubeconfig")
        .arg(&kubeconfig)
        .timeout(CREATE_TIMEOUT);
    if let Some(image) = &spec.node_image {
        command = command.args(["--image", image]);
    }
    // kind removes its nodes when it fails; they are kept until their decisive log lines have been read.
    command = command.arg("--retain");
    let ended = command
        .run_lines(|stream, line| {
            if stream == Stream::Stderr {
                report(line, progress);
            }
        })
        .await;
    if let Err(error) = ended {
        let hint = decisive_lines(docker, name).await;
        return Err(ProviderError::Failed {
            message: format!("kind failed to create the cluster{hint}"),
            source: Some(Box::new(error)),
        });
    }
    progress.stage("taking credentials for the grader");
    let control_plane = format!("{name}-control-plane");
    let grader = grader_kubeconfig(docker, &control_plane, &kubeconfig).await?;
    persist::write_atomic(&grader_path(&spec.dir), grader.as_bytes())
        .map_err(|source| failed("write the grader's kubeconfig", source))?;
    restrict(&kubeconfig)?;
    Ok(ClusterRecord {
        provider: "kind".to_owned(),
        name: spec.name.clone(),
        dir: spec.dir.clone(),
        kubeconfig,
        data: serde_json::json!({ "image": spec.node_image }),
    })
}

/// Turns a line of kind's into progress: ` • Preparing nodes ...` begins a stage.
fn report(line: &str, progress: &dyn Progress) {
    let line = line.trim();
    if let Some(stage) = line.strip_prefix('•') {
        let words = stage.trim().trim_end_matches(|c: char| matches!(c, '.' | ' ') || !c.is_ascii());
        let mut letters = words.chars();
        let lower: String =
            letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default();
        progress.stage(&lower);
    } else if !line.is_empty() && !line.starts_with('✓') {
        progress.detail(line);
    }
}

/// Returns the lines of the nodes' logs that tell why kind gave up.
async fn decisive_lines(docker: &Docker, name: &str) -> String {
    let Ok(nodes) = docker::nodes(docker, Some(name), PREFIX).await else { return String::new() };
    let mut text = String::new();
    for node in nodes {
        let log = docker::log_tail(docker, &node.name, 200).await;
        let worth = |line: &&str| {
            let lower = line.to_lowercase();
            ["error", "failed", "fatal", "cgroup", "denied"].iter().any(|word| lower.contains(word))
        };
        for line in log.lines().filter(worth).take(5) {
            text.push_str(&format!("\n  {}: {}", node.name, line.trim()));
        }
    }
    if text.is_empty() { text } else { format!("; its nodes say:{text}") }
}

/// Returns credentials that the learner's changes to RBAC cannot take away: those of `super-admin.conf`, whose group
/// is `system:masters`, or the learner's where the node has no such file.
async fn grader_kubeconfig(docker: &Docker, node: &str, learner: &Path) -> Result<String, ProviderError> {
    let text = std::fs::read_to_string(learner).map_err(|source| failed("read the kubeconfig", source))?;
    let mut config: serde_json::Value =
        serde_saphyr::from_str(&text).map_err(|source| failed("parse the kubeconfig", source))?;
    let output = docker::exec(docker, node, &["cat", "/etc/kubernetes/super-admin.conf"])
        .await
        .map_err(|source| failed("read the node's credentials", source))?;
    if output.status == 0 {
        let own: serde_json::Value = serde_saphyr::from_str(&String::from_utf8_lossy(&output.stdout))
            .map_err(|source| failed("parse the node's credentials", source))?;
        config["users"][0]["user"] = own["users"][0]["user"].clone();
    }
    Ok(config.to_string())
}

fn restrict(path: &Path) -> Result<(), ProviderError> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|source| failed("restrict the kubeconfig's mode", source))
}

async fn client_of(kubeconfig: &Path) -> Result<kube::Client, ProviderError> {
    let config = kube::config::Kubeconfig::read_from(kubeconfig)
        .map_err(|source| failed("read the grader's kubeconfig", source))?;
    let config = kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default())
        .await
        .map_err(|source| failed("use the grader's kubeconfig", source))?;
    kube::Client::try_from(config).map_err(|source| failed("use the grader's kubeconfig", source))
}

async fn remove(docker: &Docker, name: &str) -> Result<(), ProviderError> {
    let nodes = docker::nodes(docker, Some(name), PREFIX).await?;
    futures::future::try_join_all(nodes.iter().map(|node| docker::remove(docker, &node.name))).await?;
    Ok(())
}

fn failed(what: &str, source: impl std::error::Error + Send + Sync + 'static) -> ProviderError {
    ProviderError::Failed { message: format!("failed to {what}"), source: Some(Box::new(source)) }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Progress for Heard {
        fn stage(&self, text: &str) {
            self.0.lock().unwrap().push(format!("stage: {text}"));
        }
        fn detail(&self, text: &str) {
            self.0.lock().unwrap().push(format!("detail: {text}"));
        }
    }

    #[test]
    fn reads_versions() {
        assert_eq!(parse_version("kind v0.27.0 go1.24.4 linux/amd64"), Some(semver::Version::new(0, 27, 0)));
        assert_eq!(parse_version("kind (unknown)"), None);
    }

    #[test]
    fn turns_kinds_lines_into_stages() {
        let heard = Heard::default();
        for line in [
            "Creating cluster \"x\" ...",
            " • Ensuring node image (kindest/node:v1.34.0) 🖼  ...",
            " ✓ Ensuring node image (kindest/node:v1.34.0) 🖼",
            " • Preparing nodes 📦 📦   ...",
        ] {
            report(line, &heard);
        }
        assert_eq!(
            heard.0.into_inner().unwrap(),
            [
                "detail: Creating cluster \"x\" ...",
                "stage: ensuring node image (kindest/node:v1.34.0)",
                "stage: preparing nodes",
            ]
        );
    }
}
