//! The nodes of a simulated cluster: a kubelet each, and what containers do. Time passes in a container only when somebody
//! looks: its output, files and end follow from its command, its image and when it was started.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use self::shell::Trace;

mod connections;
mod environment;
mod history;
pub mod host;
pub mod images;
pub(crate) mod kubelet;
mod logs;
mod network;
pub(in crate::sim) mod parts;
mod process;
mod register;
pub mod shell;
pub mod tools;
pub mod tree;
mod volumes;

pub use connections::NodeConnections;
pub use history::History;
pub use logs::{LogLine, NodeLogs, Run};

/// A node as its machine is: name, addresses, size.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// The name.
    pub name: String,
    /// The address in the node network.
    pub address: Ipv4Addr,
    /// The second-to-last byte of its Pod network, 10.244.N.0/24.
    pub pod_network: u8,
    /// Whether it runs the control plane.
    pub control_plane: bool,
    /// Whether only Pods that tolerate the control plane may run there.
    pub tainted: bool,
}

impl NodeSpec {
    /// Describes the nodes of a cluster by their names, the control plane first; as kind does it, the control plane is
    /// tainted where there are others.
    pub fn named(names: &[String]) -> Vec<Self> {
        names
            .iter()
            .zip(0_u8..=200)
            .map(|(name, index)| Self {
                name: name.clone(),
                address: Ipv4Addr::new(172, 18, 0, index + 2),
                pod_network: index,
                control_plane: index == 0,
                tainted: index == 0 && names.len() > 1,
            })
            .collect()
    }

    /// Returns an address of its Pod network.
    fn pod_address(&self, host: u8) -> IpAddr {
        Ipv4Addr::new(10, 244, self.pod_network, host).into()
    }
}

/// What a path on a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A socket.
    Socket,
}

/// The machine under a kubelet: its files, its kernel, its container runtime.
pub trait Machine: Send + Sync + fmt::Debug {
    /// Tells what a path is; nothing when there is none.
    fn kind(&self, node: &str, path: &str) -> Option<PathKind>;

    /// Reads a file.
    fn read(&self, node: &str, path: &str) -> Option<String>;

    /// Lists the AppArmor profiles that are loaded; nothing when the kernel has no AppArmor.
    fn apparmor_profiles(&self, node: &str) -> Option<Vec<String>>;

    /// Tells whether the container runtime has a handler of this name.
    fn has_runtime(&self, node: &str, handler: &str) -> bool;

    /// Makes a folder or an empty file where a hostPath volume asks for it.
    fn create(&self, _node: &str, _path: &str, _kind: PathKind) {}

    /// Tells what a program of the control plane does in a container of a static Pod; nothing for other containers. The
    /// first who asks starts it.
    fn course(&self, _pod: &Value, _container: &Value, _started: Timestamp) -> Option<Trace> {
        None
    }

    /// Ends what runs in a container that was told to end, as far as it has an effect outside of it.
    fn halt(&self, _pod: &Value, _container: &Value) {}

    /// Answers a probe of a container whose program has an effect outside of it.
    fn probe(&self, _pod: &Value, _container: &Value, _path: &str) -> Option<Result<(), String>> {
        None
    }

    /// Returns what the kubelet of a node goes by, as `/configz` shows it.
    fn configz(&self, _node: &str) -> Option<Value> {
        None
    }

    /// Tells whether the kubelet runs; while it does not, nothing is heard of the node.
    fn runs_kubelet(&self, _node: &str) -> bool {
        true
    }
}

/// A machine with the usual folders, a few files, runc alone and no AppArmor.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainMachine;

impl Machine for PlainMachine {
    fn kind(&self, node: &str, path: &str) -> Option<PathKind> {
        const FOLDERS: [&str; 34] = [
            "/",
            "/bin",
            "/boot",
            "/dev",
            "/etc",
            "/etc/kubernetes",
            "/etc/kubernetes/manifests",
            "/etc/kubernetes/pki",
            "/etc/ssl",
            "/etc/ssl/certs",
            "/home",
            "/lib",
            "/lib/modules",
            "/mnt",
            "/opt",
            "/proc",
            "/root",
            "/run",
            "/run/containerd",
            "/sbin",
            "/srv",
            "/sys",
            "/tmp",
            "/usr",
            "/usr/bin",
            "/usr/lib",
            "/usr/local",
            "/var",
            "/var/lib",
            "/var/lib/etcd",
            "/var/lib/kubelet",
            "/var/log",
            "/var/log/pods",
            "/var/run",
        ];
        const SOCKETS: [&str; 2] = ["/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock"];
        let path = path.trim_end_matches('/');
        let path = if path.is_empty() { "/" } else { path };
        if FOLDERS.contains(&path) {
            Some(PathKind::Folder)
        } else if SOCKETS.contains(&path) {
            Some(PathKind::Socket)
        } else {
            self.read(node, path).map(|_| PathKind::File)
        }
    }

    fn read(&self, node: &str, path: &str) -> Option<String> {
        match path {
            "/etc/hostname" => Some(format!("{node}\n")),
            "/etc/passwd" => Some("root:x:0:0:root:/root:/bin/bash\n".to_owned()),
            "/etc/os-release" => {
                Some("PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n".to_owned())
            }
            _ => None,
        }
    }

    fn apparmor_profiles(&self, _node: &str) -> Option<Vec<String>> {
        None
    }

    fn has_runtime(&self, _node: &str, handler: &str) -> bool {
        matches!(handler, "" | "runc")
    }
}

/// Timings of kubelets: upstream's where somebody may look at them, shorter where one would only wait.
#[derive(Debug, Clone)]
pub struct Timings {
    /// How long a sandbox takes.
    pub sandbox: Duration,
    /// How long pulling an image takes.
    pub pull: Duration,
    /// How long creating and starting a container takes.
    pub start: Duration,
    /// How long a container takes to end when it heeds SIGTERM.
    pub stop: Duration,
    /// The longest that a container that ignores SIGTERM is waited for, whatever its grace period.
    pub grace: Duration,
    /// How long an ended container, or a failed pull, is shown as such before its back-off is.
    pub shown: Duration,
    /// The first delay of a container that crashed again, and of an image that could not be pulled.
    pub back_off: Duration,
    /// The longest such delay.
    pub back_off_most: Duration,
    /// After how long something that could not be set up is tried again.
    pub retry: Duration,
    /// How often a node says that it is there.
    pub heartbeat: Duration,
    /// How often the folder of the static Pods is looked at.
    pub watch: Duration,
    /// How many times faster than in reality probes come and mounts are tried again.
    pub haste: u32,
    /// How many times faster than in reality all of that is for static Pods, whose restarts one waits for.
    pub static_haste: u32,
}

impl Timings {
    /// Returns the timings of static Pods: those of reality, so many times faster.
    pub(crate) fn of_static_pods(&self) -> Self {
        let haste = self.static_haste.max(1);
        let real = |millis: u64| Duration::from_millis(millis) / haste;
        Self {
            sandbox: real(2000),
            pull: real(3000),
            start: real(3000),
            stop: real(1000),
            grace: real(31_000),
            shown: real(1000),
            back_off: real(10_000),
            back_off_most: real(300_000),
            retry: real(12_000),
            haste,
            ..self.clone()
        }
    }
}

impl Default for Timings {
    fn default() -> Self {
        let millis = Duration::from_millis;
        Self {
            sandbox: millis(20),
            pull: millis(30),
            start: millis(15),
            stop: millis(20),
            grace: millis(1000),
            shown: millis(1000),
            back_off: Duration::from_secs(10),
            back_off_most: Duration::from_secs(300),
            retry: Duration::from_secs(12),
            heartbeat: Duration::from_secs(10),
            watch: millis(200),
            haste: 1,
            static_haste: 10,
        }
    }
}
