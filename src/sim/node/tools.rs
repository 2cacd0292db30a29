//! The tools that one uses on a node. One program is behind all of them: what it is called tells which. It asks the
//! server, which knows the node; an option that is not simulated is refused, never taken for done.

mod apparmor;
mod crictl;
mod etcdctl;
pub mod files;
mod firewall;
mod journalctl;
mod kernel;
mod kubeadm;
mod options;
mod processes;
mod serve;
mod system;
mod systemctl;
mod table;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::NodeLogs;
use super::host::{ContainerState, Hosts, NodeHost};
use super::tree::Tree;
use crate::sim::attributes::UserInfo;
use crate::sim::client::Client;
use crate::sim::resource::GroupResource;

pub(in crate::sim) use serve::listen;

/// The names that this program goes by on a node.
pub const NAMES: [&str; 45] = [
    "aa-complain",
    "aa-enforce",
    "aa-status",
    "apparmor_parser",
    "apparmor_status",
    "apt",
    "apt-get",
    "chgrp",
    "chown",
    "crictl",
    "dmesg",
    "dnf",
    "docker",
    "dpkg",
    "etcdctl",
    "halt",
    "ip",
    "ip6tables",
    "iptables",
    "iptables-restore",
    "iptables-save",
    "journalctl",
    "killall",
    "kubeadm",
    "kubelet",
    "lsmod",
    "modprobe",
    "netstat",
    "nft",
    "pgrep",
    "pidof",
    "pkill",
    "poweroff",
    "ps",
    "reboot",
    "rmmod",
    "shutdown",
    "ss",
    "stat",
    "sudo",
    "sysctl",
    "systemctl",
    "systemd-analyze",
    "ufw",
    "yum",
];

/// The folder beside a node's root that holds the socket of its tools.
pub const SOCKET_FOLDER: &str = "run";
/// The socket of a node's tools in that folder.
pub const SOCKET: &str = "node.sock";
/// The folder of the socket as a shell on a node sees it.
pub const SOCKET_PLACE: &str = "/.cks-lab/run";
/// The variable that names the folder of the socket where it is not at its usual place.
pub const SOCKET_VARIABLE: &str = "CKS_LAB_NODE_SOCKET";
/// The longest path that a socket address holds.
const LONGEST_ADDRESS: usize = 100;

/// What a tool was asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Ask {
    /// Its name.
    pub tool: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// The working folder, as a path on the node.
    pub cwd: String,
    /// Variables that tools heed.
    pub env: BTreeMap<String, String>,
    /// Whether it writes to a terminal.
    pub terminal: bool,
    /// What was read from stdin, once that was asked for.
    #[serde(skip)]
    pub stdin: Option<Vec<u8>>,
}

/// What the server says to a tool: a byte of these, the length in four bytes, then as many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Frame {
    /// Write this to stdout.
    Out = 1,
    /// Write this to stderr.
    Err = 2,
    /// End with this status.
    Exit = 3,
    /// Send what comes from stdin: its length in four bytes, then it.
    Stdin = 4,
    /// Become this command of the machine: its words as JSON.
    Run = 5,
}

impl Frame {
    /// Reads the byte that a frame begins with.
    pub fn of(byte: u8) -> Option<Self> {
        [Self::Out, Self::Err, Self::Exit, Self::Stdin, Self::Run]
            .into_iter()
            .find(|frame| *frame as u8 == byte)
    }
}

/// A path by which a socket can be reached, however deep its folder lies.
#[derive(Debug)]
pub struct SocketPath {
    /// The path.
    pub path: PathBuf,
    _folder: Option<File>,
}

impl SocketPath {
    /// Finds the path of a socket in a folder, valid for as long as this is kept.
    ///
    /// # Errors
    /// What keeps the folder from being opened.
    pub fn of(folder: &Path, name: &str) -> std::io::Result<Self> {
        let path = folder.join(name);
        if path.as_os_str().len() <= LONGEST_ADDRESS {
            return Ok(Self { path, _folder: None });
        }
        let folder = File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()));
        Ok(Self { path, _folder: Some(folder) })
    }
}

/// What a tool works with.
#[derive(Clone)]
struct Cx {
    host: NodeHost,
    hosts: Hosts,
    logs: NodeLogs,
    client: Client,
    runtime: tokio::runtime::Handle,
    tree: Tree,
    ask: Arc<Ask>,
}

/// What a tool did.
#[derive(Default)]
struct Done {
    out: Vec<u8>,
    err: String,
    status: u8,
    /// How long it took.
    after: Duration,
    more: Option<More>,
}

/// What comes after the first output.
enum More {
    /// Whatever is new, for ever.
    Follow(Box<dyn FnMut() -> String + Send>),
    /// Nothing yet: it is to be run again with what comes from stdin.
    Stdin,
    /// A program of the machine in its place.
    Run(Vec<String>),
}

impl Done {
    fn out(text: impl Into<String>) -> Self {
        Self { out: text.into().into_bytes(), ..Self::default() }
    }

    fn fail(status: u8, text: impl Into<String>) -> Self {
        Self { err: text.into(), status, ..Self::default() }
    }

    fn follow(text: String, next: impl FnMut() -> String + Send + 'static) -> Self {
        Self { more: Some(More::Follow(Box::new(next))), ..Self::out(text) }
    }

    fn run(argv: Vec<String>) -> Self {
        Self { more: Some(More::Run(argv)), ..Self::default() }
    }

    fn say(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }
}

impl Cx {
    fn args(&self) -> &[String] {
        &self.ask.args
    }

    fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Says that something is not simulated; nothing was done.
    fn not_simulated(&self, what: &str) -> Done {
        Done::fail(2, format!("{}: {what} is not simulated on this node\n", self.ask.tool))
    }

    /// Makes a path that was given one of the node.
    fn path(&self, path: &str) -> String {
        if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{}/{path}", self.ask.cwd.trim_end_matches('/'))
        }
    }

    /// Returns what came from stdin, or asks for it.
    fn stdin(&self) -> Result<&[u8], Done> {
        self.ask.stdin.as_deref().ok_or_else(|| Done { more: Some(More::Stdin), ..Done::default() })
    }

    /// Tells whether the API server runs.
    fn api_answers(&self) -> bool {
        let containers = self.hosts.control_plane().map(NodeHost::containers).unwrap_or_default();
        containers.iter().any(|c| c.name == "kube-apiserver" && c.state == ContainerState::Running)
    }

    /// Returns the URL of the API as the node's kubeconfigs have it.
    fn server(&self) -> String {
        let texts = ["/etc/kubernetes/admin.conf", "/etc/kubernetes/kubelet.conf"]
            .iter()
            .filter_map(|path| self.host.tree().read_text(path).ok());
        let url = |text: String| {
            text.lines().find_map(|line| line.trim().strip_prefix("server:").map(|url| url.trim().to_owned()))
        };
        texts.into_iter().find_map(url).unwrap_or_else(|| "https://127.0.0.1:6443".to_owned())
    }

    fn list(&self, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
        let resource = GroupResource::named("", resource);
        self.runtime.block_on(self.client().list(&resource, Some(namespace), None)).unwrap_or_default()
    }

    fn create(&self, object: Value) -> Result<(), String> {
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let created = self.client();
        let resource = GroupResource::of("", "secrets");
        let created = self.runtime.block_on(created.create(&resource, &namespace, object));
        created.map(drop).map_err(|status| status.to_string())
    }

    fn delete(&self, resource: &str, namespace: &str, name: &str) -> Result<(), String> {
        let (client, resource) = (self.client(), GroupResource::named("", resource));
        let deleted = self.runtime.block_on(client.delete(&resource, namespace, name, Default::default()));
        deleted.map(drop).map_err(|status| status.to_string())
    }

    /// The administrator, as the node's `admin.conf` has them.
    fn client(&self) -> Client {
        self.client.with_user(UserInfo::named("kubernetes-admin", &["kubeadm:cluster-admins"]))
    }
}

/// Runs a tool.
fn run(cx: &Cx) -> Done {
    match cx.ask.tool.as_str() {
        "systemctl" => systemctl::run(cx),
        "journalctl" => journalctl::run(cx),
        "crictl" => crictl::run(cx),
        "etcdctl" => etcdctl::run(cx),
        "kubeadm" => kubeadm::kubeadm(cx),
        "kubelet" => kubeadm::kubelet(cx),
        "ps" => processes::ps(cx),
        "pgrep" => processes::pgrep(cx),
        "pidof" => processes::pidof(cx),
        "pkill" | "killall" => processes::kill(cx),
        "ss" => processes::ss(cx),
        "netstat" => processes::netstat(cx),
        "sysctl" => kernel::sysctl(cx),
        "lsmod" => kernel::lsmod(cx),
        "modprobe" => kernel::modprobe(cx),
        "rmmod" => kernel::rmmod(cx),
        "apparmor_parser" => apparmor::parser(cx),
        "aa-status" | "apparmor_status" => apparmor::status(cx),
        "aa-enforce" => apparmor::set_mode(cx, "enforce"),
        "aa-complain" => apparmor::set_mode(cx, "complain"),
        "ufw" => firewall::ufw(cx),
        "iptables" => firewall::iptables(cx),
        "iptables-save" => firewall::iptables_save(cx),
        "chown" | "chgrp" => files::chown(cx),
        "stat" => files::stat(cx),
        "ip" => system::ip(cx),
        "dmesg" => system::dmesg(cx),
        "docker" => system::docker(cx),
        _ => system::refused(cx),
    }
}
