//! The files that kubeadm and its packages leave on a node, laid when the cluster is made. Contents are this cluster's
//! own: its names, its addresses, its keys.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::tree::Tree;
use crate::persist::PersistError;
use crate::sim::bootstrap;
use crate::sim::node::NodeSpec;
use crate::sim::pki::authority::{Authority, Purpose};
use crate::sim::pki::{Credentials, Pki, PkiError};

const KUBELET_SERVICE: &str = include_str!("layout/kubelet.service");
const KUBEADM_CONF: &str = include_str!("layout/10-kubeadm.conf");
const CONTAINERD_SERVICE: &str = include_str!("layout/containerd.service");
const CONTAINERD_CONFIG: &str = include_str!("layout/containerd.toml");
const KUBELET_CONFIG: &str = include_str!("layout/kubelet.yaml");
const NETWORK: &str = include_str!("layout/10-kindnet.conflist");

/// Folders that every node has, with their modes.
const FOLDERS: [(&str, u32); 45] = [
    ("/etc", 0o755),
    ("/etc/apparmor.d", 0o755),
    ("/etc/ca-certificates", 0o755),
    ("/etc/cni", 0o755),
    ("/etc/cni/net.d", 0o700),
    ("/etc/containerd", 0o755),
    ("/etc/default", 0o755),
    ("/etc/kubernetes", 0o755),
    ("/etc/kubernetes/manifests", 0o755),
    ("/etc/kubernetes/pki", 0o755),
    ("/etc/modprobe.d", 0o755),
    ("/etc/modules-load.d", 0o755),
    ("/etc/ssl", 0o755),
    ("/etc/ssl/certs", 0o755),
    ("/etc/sysctl.d", 0o755),
    ("/etc/systemd/system", 0o755),
    ("/etc/systemd/system/kubelet.service.d", 0o755),
    ("/etc/systemd/system/multi-user.target.wants", 0o755),
    ("/home", 0o755),
    ("/mnt", 0o755),
    ("/opt", 0o755),
    ("/opt/cni/bin", 0o755),
    ("/root", 0o700),
    ("/run", 0o755),
    ("/run/containerd", 0o755),
    ("/run/systemd/system", 0o755),
    ("/srv", 0o755),
    ("/tmp", 0o1777),
    ("/usr", 0o755),
    ("/usr/bin", 0o755),
    ("/usr/lib", 0o755),
    ("/usr/libexec/kubernetes/kubelet-plugins/volume/exec", 0o755),
    ("/usr/local/bin", 0o755),
    ("/usr/local/share/ca-certificates", 0o755),
    ("/usr/share/ca-certificates", 0o755),
    ("/var", 0o755),
    ("/var/cache", 0o755),
    ("/var/lib", 0o755),
    ("/var/lib/kubelet", 0o700),
    ("/var/lib/kubelet/pki", 0o755),
    ("/var/lib/kubelet/seccomp", 0o755),
    ("/var/log", 0o755),
    ("/var/log/containers", 0o755),
    ("/var/log/pods", 0o755),
    ("/var/tmp", 0o1777),
];

/// Kubeconfigs on nodes that name the API server.
const KUBECONFIGS: [&str; 5] = ["admin", "super-admin", "controller-manager", "scheduler", "kubelet"];

/// Why the files of a node could not be laid.
#[derive(Debug, thiserror::Error)]
pub(in crate::sim) enum LayoutError {
    /// A file could not be written.
    #[error(transparent)]
    Persist(#[from] PersistError),
    /// A key could not be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// Lays the files of the nodes of a new cluster into its folder.
///
/// # Errors
/// When a file cannot be written or a key cannot be made.
pub(in crate::sim) fn lay(
    dir: &Path,
    cluster: &str,
    nodes: &[NodeSpec],
    pki: &Pki,
    now: Timestamp,
) -> Result<(), LayoutError> {
    for node in nodes {
        let folder = super::folder(dir, &node.name);
        let tree = Tree::new(folder.join("root"));
        std::fs::create_dir_all(tree.root()).map_err(|error| super::failed(&folder, "made", error))?;
        let laying = Laying { tree: &tree, cluster, node, nodes, pki, now };
        laying.all()?;
    }
    Ok(())
}

struct Laying<'a> {
    tree: &'a Tree,
    cluster: &'a str,
    node: &'a NodeSpec,
    nodes: &'a [NodeSpec],
    pki: &'a Pki,
    now: Timestamp,
}

impl Laying<'_> {
    fn write(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<(), LayoutError> {
        let written = self.tree.write(path, content, mode);
        Ok(written.map_err(|error| super::failed(&self.tree.root().join(&path[1..]), "written", error))?)
    }

    fn link(&self, path: &str, target: &str) -> Result<(), LayoutError> {
        let made = self.tree.link(path, target);
        Ok(made.map_err(|error| super::failed(&self.tree.root().join(&path[1..]), "linked", error))?)
    }

    fn pair(&self, stem: &str, credentials: &Credentials) -> Result<(), LayoutError> {
        self.write(&format!("{stem}.crt"), &credentials.certificate, 0o644)?;
        self.write(&format!("{stem}.key"), &credentials.key, 0o600)
    }

    fn all(&self) -> Result<(), LayoutError> {
        for (path, mode) in FOLDERS {
            let made = self.tree.create_dir(path, mode);
            made.map_err(|error| super::failed(&self.tree.root().join(&path[1..]), "made", error))?;
        }
        self.system()?;
        self.kubelet()?;
        if self.node.control_plane {
            self.control_plane()?;
        } else {
            self.write("/etc/kubernetes/pki/ca.crt", self.pki.authority_pem(), 0o644)?;
        }
        Ok(())
    }

    /// What a machine has before it is a node, and the units of its packages.
    fn system(&self) -> Result<(), LayoutError> {
        let name = &self.node.name;
        let hosts: String =
            self.nodes.iter().map(|node| format!("{}\t{}\n", node.address, node.name)).collect();
        let machine = super::containers::id_of(&format!("machine {} {name}", self.cluster));
        let files: [(&str, String, u32); 15] = [
            ("/etc/hostname", format!("{name}\n"), 0o644),
            ("/etc/hosts", format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n{hosts}"), 0o644),
            ("/etc/machine-id", format!("{}\n", &machine[..32]), 0o444),
            ("/etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n".to_owned(), 0o644),
            ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n".to_owned(), 0o644),
            ("/etc/group", "root:x:0:\ndaemon:x:1:\nsudo:x:27:\nwww-data:x:33:\nnogroup:x:65534:\n".to_owned(), 0o644),
            ("/etc/shadow", "root:*:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\nwww-data:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n".to_owned(), 0o640),
            ("/etc/resolv.conf", "nameserver 172.18.0.1\noptions ndots:0\n".to_owned(), 0o644),
            ("/etc/crictl.yaml", "runtime-endpoint: unix:///run/containerd/containerd.sock\n".to_owned(), 0o644),
            ("/etc/containerd/config.toml", CONTAINERD_CONFIG.to_owned(), 0o644),
            ("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=\n".to_owned(), 0o644),
            ("/etc/sysctl.d/k8s.conf", "net.bridge.bridge-nf-call-iptables = 1\nnet.bridge.bridge-nf-call-ip6tables = 1\nnet.ipv4.ip_forward = 1\n".to_owned(), 0o644),
            ("/etc/modules-load.d/k8s.conf", "overlay\nbr_netfilter\n".to_owned(), 0o644),
            ("/etc/cni/net.d/10-kindnet.conflist", NETWORK.replace("{{SUBNET}}", &format!("10.244.{}.0/24", self.node.pod_network)), 0o644),
            ("/root/.bashrc", "alias k=kubectl\n".to_owned(), 0o644),
        ];
        for (path, content, mode) in files {
            self.write(path, content, mode)?;
        }
        for (unit, content) in [("kubelet", KUBELET_SERVICE), ("containerd", CONTAINERD_SERVICE)] {
            let path = format!("/etc/systemd/system/{unit}.service");
            self.write(&path, content, 0o644)?;
            self.link(&super::units::wanted("multi-user.target", &format!("{unit}.service")), &path)?;
        }
        self.write("/etc/systemd/system/kubelet.service.d/10-kubeadm.conf", KUBEADM_CONF, 0o644)
    }

    fn kubelet(&self) -> Result<(), LayoutError> {
        let name = &self.node.name;
        self.write("/var/lib/kubelet/config.yaml", KUBELET_CONFIG, 0o644)?;
        let flags = format!(
            "KUBELET_KUBEADM_ARGS=\"--pod-infra-container-image=registry.k8s.io/pause:3.10.1 --node-ip={}\"\n",
            self.node.address
        );
        self.write("/var/lib/kubelet/kubeadm-flags.env", flags, 0o644)?;
        let user = format!("system:node:{name}");
        let client = self.pki.client(&user, &["system:nodes"], self.now)?;
        let stamp = self.now.strftime("%Y-%m-%d-%H-%M-%S");
        let file = format!("/var/lib/kubelet/pki/kubelet-client-{stamp}.pem");
        self.write(&file, format!("{}{}", client.certificate, client.key), 0o600)?;
        let current = "/var/lib/kubelet/pki/kubelet-client-current.pem";
        self.link(current, &file)?;
        // The kubelet signs its own certificate for its port.
        let own = Authority::generate(&format!("{name}-ca"), self.now)?;
        let serving =
            own.sign(&format!("{name}@{}", self.now.as_second()), Purpose::Server, &[name], &[], self.now)?;
        self.pair("/var/lib/kubelet/pki/kubelet", &serving)?;
        let credentials = format!("    client-certificate: {current}\n    client-key: {current}\n");
        self.kubeconfig("kubelet", &user, &credentials)
    }

    fn control_plane(&self) -> Result<(), LayoutError> {
        let (name, address, now) = (&self.node.name, IpAddr::V4(self.node.address), self.now);
        let local = [address, IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let pki = "/etc/kubernetes/pki";
        let of =
            |certificate: &str, key: &str| Credentials { certificate: certificate.into(), key: key.into() };
        self.pair(&format!("{pki}/ca"), &of(self.pki.authority_pem(), self.pki.authority_key_pem()))?;
        self.pair(&format!("{pki}/apiserver"), self.pki.server())?;
        let client = self.pki.client("kube-apiserver-kubelet-client", &["kubeadm:cluster-admins"], now)?;
        self.pair(&format!("{pki}/apiserver-kubelet-client"), &client)?;
        self.write(&format!("{pki}/sa.key"), self.pki.token_key_pem(), 0o600)?;
        self.write(&format!("{pki}/sa.pub"), self.pki.token_public_pem()?, 0o600)?;
        let etcd = Authority::generate("etcd-ca", now)?;
        self.pair(&format!("{pki}/etcd/ca"), &etcd.credentials)?;
        let hosts = ["localhost", name.as_str()];
        for stem in ["server", "peer"] {
            let signed = etcd.sign(name, Purpose::Both, &hosts, &local, now)?;
            self.pair(&format!("{pki}/etcd/{stem}"), &signed)?;
        }
        for (stem, user) in [
            ("etcd/healthcheck-client", "kube-etcd-healthcheck-client"),
            ("apiserver-etcd-client", "kube-apiserver-etcd-client"),
        ] {
            self.pair(&format!("{pki}/{stem}"), &etcd.sign(user, Purpose::Client, &[], &[], now)?)?;
        }
        let proxy = Authority::generate("front-proxy-ca", now)?;
        self.pair(&format!("{pki}/front-proxy-ca"), &proxy.credentials)?;
        let signed = proxy.sign("front-proxy-client", Purpose::Client, &[], &[], now)?;
        self.pair(&format!("{pki}/front-proxy-client"), &signed)?;
        for (file, user, groups) in [
            ("admin", "kubernetes-admin", &["kubeadm:cluster-admins"][..]),
            ("super-admin", "kubernetes-super-admin", &["system:masters"]),
            ("controller-manager", "system:kube-controller-manager", &[]),
            ("scheduler", "system:kube-scheduler", &[]),
        ] {
            let client = self.pki.client(user, groups, now)?;
            let credentials = format!(
                "    client-certificate-data: {}\n    client-key-data: {}\n",
                STANDARD.encode(&client.certificate),
                STANDARD.encode(&client.key)
            );
            self.kubeconfig(file, user, &credentials)?;
        }
        for (file, content) in bootstrap::manifests(self.cluster, name, self.node.address) {
            self.write(&format!("/etc/kubernetes/manifests/{file}"), content, 0o600)?;
        }
        for folder in
            ["/var/lib/etcd", "/var/lib/etcd/member", "/var/lib/etcd/member/snap", "/var/lib/etcd/member/wal"]
        {
            let made = self.tree.create_dir(folder, 0o700);
            made.map_err(|error| super::failed(self.tree.root(), "made", error))?;
        }
        Ok(())
    }

    fn kubeconfig(&self, file: &str, user: &str, credentials: &str) -> Result<(), LayoutError> {
        let cluster = self.cluster;
        let content = format!(
            "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {}\n    server: {}\n  \
             name: {cluster}\ncontexts:\n- context:\n    cluster: {cluster}\n    user: {user}\n  name: {user}@{cluster}\n\
             current-context: {user}@{cluster}\nkind: Config\nusers:\n- name: {user}\n  user:\n{credentials}",
            STANDARD.encode(self.pki.authority_pem()),
            unlistened(self.nodes),
        );
        self.write(&format!("/etc/kubernetes/{file}.conf"), content, 0o600)
    }
}

/// The URL of an API server that has no port of this machine yet.
fn unlistened(nodes: &[NodeSpec]) -> String {
    let address = nodes.first().map_or(Ipv4Addr::LOCALHOST, |node| node.address);
    format!("https://{address}:6443")
}

/// Writes the URL of the API into the kubeconfigs of the nodes, in place of that of this cluster before or of the one that
/// it was copied from.
///
/// # Errors
/// As writing a file fails.
pub(in crate::sim) fn address(hosts: &super::Hosts, url: &str) -> std::io::Result<()> {
    const LOCAL: &str = "    server: https://127.0.0.1:";
    let first: Vec<NodeSpec> = hosts.control_plane().map(|host| host.spec().clone()).into_iter().collect();
    let fresh = format!("    server: {}", unlistened(&first));
    for host in hosts.iter() {
        for name in KUBECONFIGS {
            let path = format!("/etc/kubernetes/{name}.conf");
            let Ok(text) = host.tree().read_text(&path) else { continue };
            let line = |line: &str| {
                let own = line == fresh || line.starts_with(LOCAL);
                if own { format!("    server: {url}\n") } else { format!("{line}\n") }
            };
            let changed: String = text.lines().map(line).collect();
            if changed != text {
                host.tree().write(&path, changed, 0o600)?;
            }
        }
    }
    Ok(())
}
