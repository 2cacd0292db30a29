//! The kernel of a node as far as one sees it: processes, listeners, parameters, modules, profiles.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

/// A process of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeProcess {
    /// Its id.
    pub pid: u32,
    /// Its parent's id.
    pub parent: u32,
    /// Who it runs as: a name or a number.
    pub user: String,
    /// Its name, at most 15 characters.
    pub name: String,
    /// Its command line.
    pub command: Vec<String>,
    /// The container that it runs in.
    pub container: Option<String>,
}

/// A socket that is listened on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The address; `*` for all of both families.
    pub address: String,
    /// The port.
    pub port: u16,
    /// The name of the process.
    pub process: String,
    /// Its id.
    pub pid: u32,
}

/// What of the kernel outlives the server: parameters, modules, profiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Kernel {
    pub sysctls: BTreeMap<String, String>,
    pub modules: BTreeMap<String, Vec<String>>,
    /// Profiles by name, with their mode.
    pub profiles: BTreeMap<String, String>,
}

impl Default for Kernel {
    fn default() -> Self {
        const SYSCTLS: [(&str, &str); 26] = [
            ("fs.inotify.max_user_instances", "128"),
            ("fs.inotify.max_user_watches", "65536"),
            ("fs.protected_hardlinks", "1"),
            ("fs.protected_symlinks", "1"),
            ("fs.suid_dumpable", "0"),
            ("kernel.dmesg_restrict", "0"),
            ("kernel.hostname", ""),
            ("kernel.keys.root_maxbytes", "25000000"),
            ("kernel.kptr_restrict", "0"),
            ("kernel.panic", "10"),
            ("kernel.panic_on_oops", "1"),
            ("kernel.pid_max", "4194304"),
            ("kernel.randomize_va_space", "2"),
            ("kernel.unprivileged_bpf_disabled", "2"),
            ("kernel.yama.ptrace_scope", "1"),
            ("net.bridge.bridge-nf-call-iptables", "1"),
            ("net.bridge.bridge-nf-call-ip6tables", "1"),
            ("net.ipv4.conf.all.accept_redirects", "0"),
            ("net.ipv4.conf.all.rp_filter", "0"),
            ("net.ipv4.ip_forward", "1"),
            ("net.ipv4.ip_local_port_range", "32768\t60999"),
            ("net.ipv4.tcp_syncookies", "1"),
            ("net.ipv6.conf.all.forwarding", "0"),
            ("vm.overcommit_memory", "1"),
            ("vm.panic_on_oom", "0"),
            ("vm.swappiness", "60"),
        ];
        const MODULES: [(&str, &[&str]); 8] = [
            ("br_netfilter", &[]),
            ("bridge", &["br_netfilter"]),
            ("ip_tables", &[]),
            ("nf_conntrack", &["nf_nat", "xt_conntrack"]),
            ("nf_nat", &[]),
            ("overlay", &[]),
            ("veth", &[]),
            ("xt_conntrack", &[]),
        ];
        const PROFILES: [&str; 4] =
            ["cri-containerd.apparmor.d", "lsb_release", "man_filter", "unprivileged_userns"];
        let text = |text: &str| text.to_owned();
        Self {
            sysctls: SYSCTLS.iter().map(|(name, value)| (text(name), text(value))).collect(),
            modules: MODULES
                .iter()
                .map(|(name, users)| (text(name), users.iter().map(|user| text(user)).collect()))
                .collect(),
            profiles: PROFILES.iter().map(|name| (text(name), text("enforce"))).collect(),
        }
    }
}

/// Gives out process ids: the same one for the same thing as long as it lives.
#[derive(Debug)]
pub(super) struct Pids {
    next: u32,
    known: HashMap<String, u32>,
}

impl Default for Pids {
    fn default() -> Self {
        Self { next: 600, known: HashMap::new() }
    }
}

impl Pids {
    /// Returns the id of a thing.
    pub fn of(&mut self, thing: &str) -> u32 {
        if let Some(pid) = self.known.get(thing) {
            return *pid;
        }
        let pid = self.fresh();
        self.known.insert(thing.to_owned(), pid);
        pid
    }

    /// Says which id a thing has from now on.
    pub fn set(&mut self, thing: &str, pid: u32) {
        self.known.insert(thing.to_owned(), pid);
    }

    /// Returns an id that nothing had before.
    pub fn fresh(&mut self) -> u32 {
        // Other processes come and go in between.
        self.next += 1 + self.next % 7;
        self.next
    }
}

/// The ports that well-known programs listen on, where their command line names none.
const PROGRAMS: [(&str, &str, u16); 17] = [
    ("apache2", "*", 80),
    ("nginx", "0.0.0.0", 80),
    ("lighttpd", "0.0.0.0", 80),
    ("httpd", "*", 80),
    ("vsftpd", "*", 21),
    ("proftpd", "*", 21),
    ("smbd", "0.0.0.0", 445),
    ("sshd", "0.0.0.0", 22),
    ("inetd", "*", 23),
    ("telnetd", "*", 23),
    ("rpcbind", "0.0.0.0", 111),
    ("mysqld", "127.0.0.1", 3306),
    ("redis-server", "127.0.0.1", 6379),
    ("memcached", "127.0.0.1", 11211),
    ("postgres", "127.0.0.1", 5432),
    ("cupsd", "127.0.0.1", 631),
    ("exim4", "127.0.0.1", 25),
];

/// Works out where a command listens: address and port.
pub(super) fn listens(command: &[String]) -> Vec<(String, u16)> {
    let Some(program) = command.first() else { return Vec::new() };
    let program = program.rsplit('/').next().unwrap_or_default();
    let after = |flags: &[&str]| -> Vec<&str> {
        let mut found = Vec::new();
        for (index, word) in command.iter().enumerate().skip(1) {
            for flag in flags {
                if word == flag {
                    found.extend(command.get(index + 1).map(String::as_str));
                } else if let Some(value) = word.strip_prefix(flag).and_then(|rest| rest.strip_prefix('=')) {
                    found.push(value);
                }
            }
        }
        found
    };
    let socket = |text: &str| -> Option<(String, u16)> {
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let host = if host.is_empty() { "*" } else { host };
        Some((host.to_owned(), port.parse().ok()?))
    };
    match program {
        "dockerd" => {
            let hosts = after(&["-H", "--host"]).into_iter();
            hosts.filter_map(|host| socket(host.strip_prefix("tcp://")?)).collect()
        }
        "nc" | "ncat" | "netcat" => {
            let listens = command.iter().any(|word| word.starts_with('-') && word.contains('l'));
            let port = command.iter().rev().find_map(|word| word.parse().ok());
            port.filter(|_| listens).map(|port| ("0.0.0.0".to_owned(), port)).into_iter().collect()
        }
        "socat" => {
            let listen = command.iter().find_map(|word| {
                let rest = word.split_once("TCP-LISTEN:").or_else(|| word.split_once("TCP4-LISTEN:"))?.1;
                rest.split(',').next()?.parse().ok()
            });
            listen.map(|port| ("0.0.0.0".to_owned(), port)).into_iter().collect()
        }
        "python" | "python3" => {
            let serves = command.iter().any(|word| word == "http.server");
            let port = command.iter().rev().find_map(|word| word.parse().ok()).unwrap_or(8000);
            if serves { vec![("0.0.0.0".to_owned(), port)] } else { Vec::new() }
        }
        _ => {
            let told: Vec<_> = after(&["--listen", "--listen-address", "--bind", "-listen"])
                .into_iter()
                .filter_map(socket)
                .collect();
            if !told.is_empty() {
                return told;
            }
            let known = PROGRAMS.iter().filter(|(name, ..)| *name == program);
            known.map(|(_, address, port)| ((*address).to_owned(), *port)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_command_listens_follows_from_its_words() {
        let ask = |line: &str| listens(&super::super::units::split(line));
        assert_eq!(ask("/usr/bin/dockerd -H fd:// -H tcp://0.0.0.0:2375"), [("0.0.0.0".to_owned(), 2375)]);
        assert_eq!(ask("/usr/bin/dockerd -H fd://"), []);
        assert_eq!(ask("/usr/bin/nc -lk -p 9999"), [("0.0.0.0".to_owned(), 9999)]);
        assert_eq!(ask("/opt/x --listen=127.0.0.1:7070"), [("127.0.0.1".to_owned(), 7070)]);
        assert_eq!(ask("/usr/sbin/vsftpd /etc/vsftpd.conf"), [("*".to_owned(), 21)]);
        assert_eq!(ask("/bin/sleep 10"), []);
    }

    #[test]
    fn a_process_keeps_its_id() {
        let mut pids = Pids::default();
        let first = pids.of("kubelet");
        assert_ne!(pids.of("containerd"), first);
        assert_eq!(pids.of("kubelet"), first);
    }
}
