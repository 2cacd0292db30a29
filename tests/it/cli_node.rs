//! On the nodes of a simulated cluster, through the real binary: shells, commands, copies, tools, and what a hostile
//! shell cannot do.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use cks_lab::process::HostCommand;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cli::{Home, Ran, binary, ran, until};

const SCENARIO: &str = "a-lock-for-the-counter";
const NODE: &str = "control-plane";

/// A session on a simulated cluster.
struct Lab {
    home: Home,
}

impl Lab {
    async fn start() -> Self {
        let home = Home::new();
        home.start(SCENARIO).await;
        Self { home }
    }

    /// Runs a script on the node.
    async fn script(&self, script: &str) -> Ran {
        self.home.run(&["ssh", NODE, "--", "bash", "-c", script]).await
    }

    /// Runs a script on the node that must succeed, and returns what it wrote.
    async fn must(&self, script: &str) -> String {
        let ran = self.script(script).await;
        assert_eq!(ran.status, 0, "{script}\n{}\n{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Where the node's files are on this machine.
    fn root(&self) -> PathBuf {
        let clusters = self.home.state().join("sim/clusters");
        let cluster = std::fs::read_dir(clusters).unwrap().next().unwrap().unwrap().path();
        cluster.join("nodes").join(NODE).join("root")
    }
}

/// Returns the processes of this machine whose command line holds a text.
fn processes_with(marker: &str) -> Vec<i32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != std::process::id() as i32 && String::from_utf8_lossy(&line).contains(marker)
    })
    .collect()
}

#[tokio::test]
async fn a_shell_on_a_node_is_roots_among_the_nodes_own_files() {
    let lab = Lab::start().await;
    let out = lab
        .must("id -u; hostname; pwd; echo $HOME; cat /etc/hostname; echo $CKS_LAB_HOME$CKS_LAB_SESSION")
        .await;
    assert_eq!(out.lines().collect::<Vec<_>>(), ["0", NODE, "/root", "/root", NODE, ""]);
    lab.must("echo one > /etc/own && chmod 640 /etc/own && mkdir /audit && echo two > /audit/x").await;
    let own = lab.root().join("etc/own");
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "one\n");
    assert_eq!(own.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(lab.must("stat -c %U:%G:%a /etc/own; cat /audit/x").await, "root:root:640\ntwo\n");
    // Root reads what nobody else may.
    lab.must("chmod 0 /etc/own; chmod 600 /audit; cat /etc/own /audit/x; chmod 755 /audit").await;

    assert_eq!(lab.script("exit 7").await.status, 7);
    assert_eq!(lab.script("kill -TERM $$").await.status, 143);
    let line = lab.home.run(&["ssh", NODE, "--", "echo one two | wc -w"]).await;
    assert_eq!((line.status, line.stdout.trim()), (0, "2"));
    let none = lab.home.run(&["ssh", NODE, "--", "no-such-program"]).await;
    assert_eq!(none.status, 127);
    none.says(&["`no-such-program` was not found"]);
    let wrong = lab.home.expect(2, &["ssh", "worker-9"]).await;
    wrong.says(&["has no node `worker-9`", "nodes: control-plane"]);
}

#[tokio::test]
async fn files_go_to_a_node_and_back_as_they_are() {
    let lab = Lab::start().await;
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    let local = lab.home.path("blob");
    std::fs::write(&local, &bytes).unwrap();
    std::fs::set_permissions(&local, std::fs::Permissions::from_mode(0o600)).unwrap();
    let at = |path: &str| format!("{NODE}:{path}");
    lab.home.expect(0, &["cp", "blob", &at("/etc/blob")]).await;
    lab.home.expect(0, &["cp", "blob", &at("/tmp")]).await;
    lab.home.expect(0, &["cp", "blob", &at("relative")]).await;
    assert_eq!(
        lab.must("stat -c %a /etc/blob; cmp /etc/blob /tmp/blob && cmp /etc/blob /root/relative").await,
        "600\n"
    );
    lab.home.expect(0, &["cp", &at("/etc/blob"), "back"]).await;
    assert_eq!(std::fs::read(lab.home.path("back")).unwrap(), bytes);
    let missing = lab.home.expect(1, &["cp", &at("/etc/none"), "back"]).await;
    missing.says(&["/etc/none", "No such file or directory"]);

    std::fs::create_dir_all(lab.home.path("folder/deep")).unwrap();
    std::fs::write(lab.home.path("folder/deep/x"), "x").unwrap();
    lab.home.expect(2, &["cp", "folder", &at("/opt")]).await.says(&["is a folder"]);
    lab.must("mkdir -p /opt").await;
    lab.home.expect(0, &["cp", "-r", "folder", &at("/opt")]).await;
    lab.home.expect(0, &["cp", "-r", "folder", &at("/opt/other")]).await;
    assert_eq!(lab.must("cat /opt/folder/deep/x /opt/other/deep/x").await, "xx");
    lab.home.expect(0, &["cp", "-r", &at("/opt/folder"), "again"]).await;
    assert_eq!(std::fs::read_to_string(lab.home.path("again/deep/x")).unwrap(), "x");
    lab.home.expect(2, &["cp", "a", "b"]).await.says(&["neither of the two is on a node"]);
}

#[tokio::test]
async fn a_hostile_shell_does_not_reach_the_machine() {
    let lab = Lab::start().await;
    let secret = lab.home.path("secret-of-the-host");
    std::fs::write(&secret, "host").unwrap();
    let secret = secret.to_str().unwrap();

    // The machine's files are not there: by their paths, through links, or through other processes.
    let state = lab.home.state();
    for path in [secret, state.to_str().unwrap(), "/work", "/boot", "/old", "/new"] {
        assert_ne!(lab.script(&format!("ls -d {path}")).await.status, 0, "{path}");
    }
    let way_out = format!(
        "ln -s {secret} /etc/link; ln -s /proc/1/root /etc/up; cat /etc/link /etc/up/{secret} \
         /proc/1/cwd/../../../../../..{secret} /proc/self/root/../..{secret} /etc/../../../..{secret}"
    );
    let tried = lab.script(&way_out).await;
    assert_ne!(tried.status, 0);
    assert!(!tried.stdout.contains("host"), "{}", tried.stdout);
    let shadow = lab.script("cat /etc/shadow").await.stdout;
    assert_ne!(std::fs::read_to_string("/etc/shadow").unwrap_or_default(), shadow);

    // What is the machine's and shown cannot be written, whatever is tried.
    for attempt in [
        "echo > /usr/bin/own",
        "rm /usr/bin/env",
        "chmod 777 /usr/bin/env",
        "mv /usr /usr2",
        "echo > /.cks-lab/cks-lab",
        "echo > /proc/1/exe",
        "exec 9<> /proc/self/exe",
        "mount -o remount,rw /usr",
        "mount -o remount,bind,rw /usr",
        "umount /usr",
        "umount /.cks-lab",
        "mount -t tmpfs none /etc",
        "mount --bind /etc /usr",
        "mount -o remount,rw /proc",
        "mount -t proc proc /tmp",
        "mknod /tmp/disk b 8 0",
        "mknod /tmp/null c 1 3",
        "chroot / true",
        "unshare --user true",
        "unshare --mount true",
        "unshare --pid --fork true",
        "unshare --map-root-user --mount mount -o remount,bind,rw /usr",
        "nsenter --target 1 --mount true",
        "hostname other",
        "echo 1 > /proc/sys/kernel/panic",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo h > /proc/sysrq-trigger",
        "echo 0 > /proc/sys/user/max_user_namespaces",
        "echo c > /proc/self/oom_score_adj",
        "kill -9 1 && sleep 1 && test ! -d /proc/1",
        "test -e /dev/sda || test -e /dev/vda || test -e /dev/mem || test -e /dev/kmsg",
        "capsh --has-p=cap_sys_admin",
    ] {
        let ran = lab.script(attempt).await;
        assert_ne!(ran.status, 0, "`{attempt}` was possible\n{}\n{}", ran.stdout, ran.stderr);
    }
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "host");
    // Root's power over files, its own processes and user ids, and no other.
    assert_eq!(
        lab.must("grep -E 'Cap(Eff|Bnd)' /proc/self/status | cut -f2 | uniq").await,
        "00000000000000ff\n"
    );

    // Other processes are neither seen nor reached, this test's and the server's among them.
    let server = lab.home.server().unwrap();
    let seen = lab.must("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").await;
    assert!(!seen.contains("sim-server"), "{seen}");
    assert_ne!(lab.script(&format!("kill -9 {server} {}", std::process::id())).await.status, 0);
    lab.script("kill -9 -1; true").await;
    kill(Pid::from_raw(server), None).unwrap();

    // Nothing that the caller has open is open in there.
    let leaked = format!(
        "exec 7< {}; exec {} ssh {NODE} -- ls /proc/self/fd/7/",
        lab.home.home().display(),
        binary().display()
    );
    let ran = ran(&lab.home.program("bash").args(["-c", &leaked])).await;
    assert_ne!(ran.status, 0, "{}", ran.stdout);

    // Links in the node's places do not lead what this program does there out of them.
    let out = lab.home.path("out");
    std::fs::create_dir(&out).unwrap();
    let links = format!(
        "rm -rf /opt /etc/hosts; ln -s {0} /opt; ln -s {0}/hosts /etc/hosts; ln -s {0} /etc/cks",
        out.display()
    );
    lab.must(&links).await;
    let _ = lab.home.run(&["cp", "secret-of-the-host", &format!("{NODE}:/opt/x")]).await;
    let _ = lab.home.run(&["cp", "secret-of-the-host", &format!("{NODE}:/etc/cks/x")]).await;
    lab.must("rm -rf /root /tmp; true").await;
    lab.must("ls -d /root /tmp").await;
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0);
}

#[tokio::test]
async fn what_would_fill_the_machine_is_limited() {
    let lab = Lab::start().await;
    let many = "(i=0; while [ $i -lt 3000 ]; do sleep 300.25 & i=$((i+1)); done) 2> /tmp/errors; \
                set -- /proc/[0-9]*; echo $#";
    let counted = lab.home.run(&["ssh", NODE, "--", "sh", "-c", many]).await;
    let counted: u32 = counted.stdout.trim().parse().unwrap_or(0);
    assert!(counted <= 1024, "{counted} processes");
    until("all of them end", || processes_with("300.25").is_empty()).await;

    let huge = lab.script("head -c 400M /dev/zero > /tmp/huge").await;
    assert_ne!(huge.status, 0);
    assert!(lab.root().join("tmp/huge").metadata().unwrap().len() <= 256 << 20);
    std::fs::remove_file(lab.root().join("tmp/huge")).unwrap();
    assert_ne!(lab.script("tail /dev/zero").await.status, 0, "memory without end");
    assert_ne!(lab.script("head -c 100M /dev/zero > /dev/shm/x").await.status, 0);
    assert_ne!(lab.script("head -c 10M /dev/zero > /dev/x").await.status, 0);
}

#[tokio::test]
async fn nothing_outlives_the_shell() {
    let lab = Lab::start().await;
    // What is left in the background.
    lab.must("nohup setsid sleep 301.75 > /dev/null 2>&1 & disown; sleep 0.1").await;
    until("it ends with the shell", || processes_with("301.75").is_empty()).await;

    for (number, signal) in [(1, Signal::SIGKILL), (2, Signal::SIGHUP), (3, Signal::SIGTERM)] {
        let marker = format!("302.{number}5");
        let script = format!("setsid sleep {marker} & sleep {marker}");
        let program = HostCommand::new(binary())
            .args(["ssh", NODE, "--", "bash", "-c", &script])
            .env("CKS_LAB_HOME", lab.home.state())
            .env("HOME", lab.home.home());
        let started = program.spawn_detached(&lab.home.path("log")).unwrap();
        until("both run", || processes_with(&marker).len() >= 4).await;
        kill(Pid::from_raw(i32::try_from(started.pid()).unwrap()), signal).unwrap();
        until("all of it ends", || processes_with(&marker).is_empty()).await;
    }
}

#[tokio::test]
async fn without_namespaces_the_shell_says_what_it_is() {
    let lab = Lab::start().await;
    lab.must("echo of the node > /etc/own").await;
    // As on a machine whose administrator allows none: here in a user namespace of the test's own.
    let line = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && exec {} ssh {NODE} -- sh -c 'cat etc/own; pwd'",
        binary().display()
    );
    let without = lab.home.program("unshare").args(["--user", "--map-root-user", "sh", "-c", &line]);
    let ran = ran(&without.timeout(Duration::from_secs(60))).await;
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout, format!("of the node\n{}\n", lab.root().display()));
    ran.says(&["This machine gives no namespaces to users", "nothing is kept from this machine's own files"]);
    let line = format!(
        "echo 0 > /proc/sys/user/max_user_namespaces && exec {} cp {NODE}:/etc/own own",
        binary().display()
    );
    let without = lab.home.program("unshare").args(["--user", "--map-root-user", "sh", "-c", &line]);
    let refused = crate::cli::ran(&without).await;
    assert_ne!(refused.status, 0);
    refused.says(&["this machine gives no namespaces"]);
}

/// Runs a tool on the node that must end with `status`; returns all that it wrote.
async fn tool(lab: &Lab, status: i32, line: &str) -> String {
    let ran = lab.script(&format!("{line} 2>&1")).await;
    assert_eq!(ran.status, status, "{line}\n{}\n{}", ran.stdout, ran.stderr);
    ran.stdout
}

fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
}

const ETCDCTL: &str = "ETCDCTL_API=3 etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt \
                       --cert=/etc/kubernetes/pki/etcd/server.crt --key=/etc/kubernetes/pki/etcd/server.key";

#[tokio::test]
async fn tools_answer_for_the_node() {
    let lab = Lab::start().await;
    let say = async |status, line: &str| tool(&lab, status, line).await;

    let status = say(0, "systemctl status kubelet --no-pager").await;
    holds(
        &status,
        &[
            "● kubelet.service - ",
            "Loaded: loaded (/etc/systemd/system/kubelet.service; enabled",
            "Active: active (running)",
            "/usr/bin/kubelet --",
        ],
    );
    assert_eq!(say(0, "systemctl is-active kubelet containerd").await, "active\nactive\n");
    assert_eq!(say(3, "systemctl stop kubelet; systemctl is-active kubelet").await, "inactive\n");
    assert_eq!(say(0, "systemctl start kubelet && systemctl is-active kubelet").await, "active\n");
    holds(
        &say(5, "systemctl start nothing").await,
        &["Failed to start nothing.service: Unit nothing.service not found."],
    );
    holds(&say(4, "systemctl status nothing").await, &["Unit nothing.service could not be found."]);
    assert_eq!(
        say(1, "systemctl disable kubelet 2> /dev/null; systemctl is-enabled kubelet").await,
        "disabled\n"
    );
    holds(
        &say(0, "systemctl enable kubelet").await,
        &["Created symlink /etc/systemd/system/multi-user.target.wants/kubelet.service → "],
    );
    holds(
        &say(0, "systemctl list-units --type=service").await,
        &["kubelet.service", "loaded active running"],
    );
    holds(
        &say(0, "systemctl cat kubelet").await,
        &["# /etc/systemd/system/kubelet.service\n", "10-kubeadm.conf"],
    );
    assert_eq!(say(0, "systemctl show -p ActiveState --value kubelet").await, "active\n");
    holds(
        &say(0, "journalctl -u kubelet --no-pager -n 50").await,
        &[NODE, "systemd[1]: Started kubelet.service"],
    );
    holds(&say(0, "journalctl -xeu kubelet -o cat").await, &["Started kubelet.service"]);
    assert_eq!(say(0, "journalctl -u nothing").await, "-- No entries --\n");

    let containers = say(0, "crictl ps -a --name 'kube-apiserver|etcd'").await;
    holds(&containers, &["CONTAINER           IMAGE", "kube-apiserver", "Running", "kube-system"]);
    let id = say(0, "crictl ps -q --name kube-apiserver").await;
    assert_eq!(id.trim().len(), 64, "{id}");
    holds(
        &say(0, &format!("crictl inspect {}", id.trim())).await,
        &["\"state\": \"CONTAINER_RUNNING\"", "--authorization-mode=Node,RBAC"],
    );
    say(0, &format!("crictl logs --tail 3 {}", &id[..13])).await;
    holds(
        &say(0, "crictl pods --name kube-apiserver").await,
        &["POD ID", "Ready", "kube-apiserver-control-plane"],
    );
    holds(&say(0, "crictl images").await, &["IMAGE", "registry.k8s.io/kube-apiserver", "v1.34"]);
    holds(
        &say(1, "crictl logs nothing").await,
        &["an error occurred when try to find container", "not found"],
    );

    holds(&say(0, &format!("{ETCDCTL} endpoint health")).await, &["https://127.0.0.1:2379 is healthy"]);
    holds(
        &say(0, "kubectl create secret generic plain -n default --from-literal=k=in-the-clear").await,
        &["created"],
    );
    let raw = lab.script(&format!("{ETCDCTL} get /registry/secrets/default/plain")).await.stdout;
    holds(&raw, &["/registry/secrets/default/plain\n", "k8s\0", "in-the-clear"]);
    let keys = say(0, &format!("{ETCDCTL} get /registry/namespaces/ --prefix --keys-only")).await;
    holds(&keys, &["/registry/namespaces/default\n\n", "/registry/namespaces/kube-system\n"]);
    holds(
        &say(1, "etcdctl endpoint health").await,
        &["127.0.0.1:2379 is unhealthy", "Error: unhealthy cluster"],
    );
    let stranger = ETCDCTL.replace("etcd/server", "apiserver-kubelet-client");
    holds(
        &say(1, &format!("{stranger} get /registry/secrets/default/plain")).await,
        &["Error: context deadline exceeded"],
    );
    let without_key = ETCDCTL.replace("server.key", "none.key");
    holds(&say(128, &format!("{without_key} get x")).await, &["none.key: no such file or directory"]);

    let certificates = say(0, "kubeadm certs check-expiration").await;
    holds(&certificates, &["apiserver-kubelet-client", "364d            ca", "etcd-ca", "front-proxy-ca"]);
    let join = say(0, "kubeadm token create --print-join-command").await;
    holds(&join, &["kubeadm join ", "--discovery-token-ca-cert-hash sha256:"]);
    let token = join.split("--token ").nth(1).unwrap().split(' ').next().unwrap();
    holds(&say(0, "kubeadm token list").await, &[token, "authentication,signing"]);
    holds(
        &say(0, &format!("kubectl get secret -n kube-system bootstrap-token-{}", &token[..6])).await,
        &["bootstrap.kubernetes.io/token"],
    );
    holds(&say(0, "kubelet --version").await, &["Kubernetes v1.34"]);

    holds(&say(0, "ss -ltnp").await, &["kube-apiserver", ":6443", "kubelet", ":10250"]);
    holds(&say(0, "netstat -tulpn | grep 2379").await, &["LISTEN", "/etcd"]);
    holds(&say(0, "ps aux | grep kube-apiserver").await, &["--authorization-mode=Node,RBAC"]);
    assert_eq!(say(0, "ps -ef | grep -c '[k]ube-scheduler --'").await, "1\n");

    assert_eq!(
        say(0, "sysctl -w net.ipv4.ip_forward=0; sysctl -n net.ipv4.ip_forward").await,
        "net.ipv4.ip_forward = 0\n0\n"
    );
    assert_eq!(say(0, "echo net.ipv4.ip_forward=1 | sysctl -p -").await, "net.ipv4.ip_forward = 1\n");
    say(0, "modprobe sctp && lsmod | grep -w sctp && modprobe -r sctp && ! lsmod | grep -w sctp").await;
    say(0, "echo 'install sctp /bin/false' > /etc/modprobe.d/no.conf").await;
    holds(&say(1, "modprobe sctp").await, &["could not insert 'sctp'"]);

    say(0, "printf 'profile deny-write {\\n  file,\\n  deny /** w,\\n}\\n' > /etc/apparmor.d/deny-write")
        .await;
    say(0, "apparmor_parser -q /etc/apparmor.d/deny-write").await;
    holds(&say(0, "aa-status").await, &["profiles are in enforce mode", "   deny-write\n"]);
    holds(
        &say(1, "echo 'profile broken {' > /tmp/b; apparmor_parser /tmp/b").await,
        &["AppArmor parser error for /tmp/b", "line 1"],
    );

    say(0, "ufw allow 22/tcp && ufw default deny incoming && ufw --force enable").await;
    holds(&say(0, "ufw status verbose").await, &["Status: active", "deny (incoming)", "22/tcp"]);
    say(0, "iptables -A INPUT -p tcp --dport 10255 -j DROP").await;
    assert_eq!(say(0, "iptables -S INPUT").await, "-P INPUT ACCEPT\n-A INPUT -p tcp --dport 10255 -j DROP\n");

    say(0, "echo x > /etc/owned; chmod 600 /etc/owned; chown nobody:nogroup /etc/owned").await;
    assert_eq!(say(0, "stat -c '%U %G %a' /etc/owned").await, "nobody nogroup 600\n");
    say(0, "chown root:root /etc/owned").await;
    assert_eq!(say(0, "stat -c '%U %G' /etc/owned").await, "root root\n");
    assert_eq!(say(0, "sudo -i id -u; sudo systemctl is-active kubelet").await, "0\nactive\n");

    // What is not simulated is refused.
    for line in [
        "systemctl kill kubelet",
        "systemctl status --user kubelet",
        "crictl exec -it x sh",
        "etcdctl defrag",
        "kubeadm reset",
        "ps --sort=-rss",
        "ip link set eth0 down",
        "reboot",
        "apt install x",
        "iptables -A INPUT -m recent --set",
    ] {
        holds(&say(2, line).await, &["is not simulated on this node"]);
    }

    // One that follows ends when whoever watches goes.
    let followed = lab.script("timeout 1 journalctl -fu kubelet > /tmp/followed & sleep 0.3; systemctl restart kubelet; wait; grep -c Stopped /tmp/followed").await;
    assert_ne!(followed.stdout.trim(), "0", "{}", followed.stderr);
}
