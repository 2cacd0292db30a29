//! The machines under simulated nodes, by what becomes of the cluster when somebody edits their files. The real kubectl
//! asks.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use cks_lab::clock::SystemClock;
use cks_lab::sim::control_plane::Plan;
use cks_lab::sim::node::host::{Active, Container, ContainerState, KubeletAnswer, KubeletRequest, NodeHost};
use cks_lab::sim::server::{Home, SimConfig, SimulatedCluster};

const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const REFUSED: &str = "was refused - did you specify the right host or port?";

struct Lab {
    cluster: SimulatedCluster,
    dir: tempfile::TempDir,
}

impl Lab {
    async fn new() -> Self {
        Self::at(50, 0).await
    }

    /// A cluster on which things happen so many times faster than in reality.
    async fn at(haste: u32, workers: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = SimConfig::new("lab", workers);
        let mut plan = Plan::new(&config.nodes);
        plan.timings.static_haste = haste;
        plan.timings.watch = Duration::from_millis(20);
        plan.timings.heartbeat = Duration::from_millis(200);
        plan.settings.node_grace = Duration::from_secs(1);
        let home = Home::Dir(dir.path().join("cluster"));
        let clock = Arc::new(SystemClock);
        let mut cluster = SimulatedCluster::start_with(config, home, clock, plan).await.unwrap();
        cluster.listen().await.unwrap();
        std::fs::write(dir.path().join("kubeconfig"), cluster.admin_kubeconfig().unwrap()).unwrap();
        Self { cluster, dir }
    }

    fn host(&self) -> &NodeHost {
        self.cluster.host("control-plane").unwrap()
    }

    /// Runs a command line in a thread of its own, so that the cluster goes on.
    #[expect(clippy::disallowed_methods, reason = "kubectl is the client under test")]
    async fn run(&self, line: &str) -> (bool, String) {
        let mut command = Command::new("bash");
        command.args(["-c", line]).env("KUBECONFIG", self.dir.path().join("kubeconfig"));
        command.env("HOME", self.dir.path()).env("ROOT", self.host().root());
        command.env("URL", self.cluster.url());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    async fn ok(&self, line: &str) -> String {
        let (success, text) = self.run(line).await;
        assert!(success, "{line}: {text}\njournal:\n{}", self.journal());
        text
    }

    /// Tries until what a command says is as wanted.
    async fn until(&self, line: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        for _ in 0..300 {
            last = self.run(line).await.1;
            if wanted(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("`{line}` still says: {last}\njournal:\n{}", self.journal());
    }

    async fn answers(&self) {
        self.until("kubectl get --raw /readyz", |text| text == "ok").await;
    }

    async fn refuses(&self) {
        self.until("kubectl get ns default", |text| text.contains(REFUSED)).await;
    }

    /// Waits until something is so on the node.
    async fn sees<T>(&self, what: &str, look: impl Fn(&NodeHost) -> Option<T>) -> T {
        for _ in 0..1000 {
            if let Some(seen) = look(self.host()) {
                return seen;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not seen: {what}\njournal:\n{}", self.journal());
    }

    fn journal(&self) -> String {
        let lines = self.host().journal(Some("kubelet.service"), 0);
        lines.into_iter().map(|line| line.text + "\n").collect()
    }

    fn edit(&self, path: &str, change: impl Fn(String) -> String) -> String {
        let before = self.host().tree().read_text(path).unwrap();
        self.host().tree().write(path, change(before.clone()), 0o600).unwrap();
        before
    }

    fn restore(&self, path: &str, before: &str) {
        self.host().tree().write(path, before, 0o600).unwrap();
    }

    /// Adds a flag to the API server's manifest.
    fn add_flag(&self, flag: &str) -> String {
        self.edit(MANIFEST, |text| {
            text.replace(
                "    - --allow-privileged=true\n",
                &format!("    - --allow-privileged=true\n    - {flag}\n"),
            )
        })
    }

    fn api_servers(&self) -> Vec<Container> {
        named(self.host(), "kube-apiserver")
    }

    fn log(&self, container: &Container) -> String {
        let lines = self.host().container_log(&container.id, self.cluster.logs().unwrap()).unwrap();
        lines.into_iter().map(|line| line.text + "\n").collect()
    }
}

fn named(host: &NodeHost, name: &str) -> Vec<Container> {
    host.containers().into_iter().filter(|container| container.name == name).collect()
}

fn crashed(host: &NodeHost, name: &str) -> Option<Container> {
    named(host, name).into_iter().find(|c| c.state == ContainerState::Exited && c.exit_code != 0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cluster_has_the_files_and_containers_of_a_kubeadm_node() {
    let lab = Lab::at(50, 1).await;
    lab.answers().await;
    let names: Vec<String> = lab.host().containers().into_iter().map(|c| c.name).collect();
    for name in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
    let ports: Vec<u16> = lab.host().listeners().into_iter().map(|listener| listener.port).collect();
    for port in [2379, 2380, 2381, 6443, 10250, 10257, 10259] {
        assert!(ports.contains(&port), "{port}: {ports:?}");
    }
    let worker = lab.cluster.host("worker-1").unwrap();
    assert_eq!(worker.tree().list("/etc/kubernetes/manifests").unwrap(), [""; 0]);
    assert!(worker.tree().read("/etc/kubernetes/pki/ca.key").is_err());
    // The administrator's file on the node works from the host.
    assert!(
        lab.ok("kubectl --kubeconfig $ROOT/etc/kubernetes/admin.conf get nodes").await.contains("worker-1")
    );
    let unit = lab.host().unit("kubelet").unwrap();
    assert_eq!((unit.sub.as_str(), unit.path.as_str()), ("running", "/etc/systemd/system/kubelet.service"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_flag_keeps_the_api_down_until_it_is_mended() {
    let lab = Lab::new().await;
    lab.answers().await;
    let before = lab.add_flag("--audit-log-pth=/var/log/audit.log");
    lab.refuses().await;
    let container = lab.sees("a crash", |host| crashed(host, "kube-apiserver")).await;
    let log = lab.log(&container);
    assert!(log.trim_end().ends_with("Error: unknown flag: --audit-log-pth"), "{log}");
    let said = |host: &NodeHost| {
        let lines = host.journal(Some("kubelet.service"), 0);
        lines.into_iter().find(|line| line.text.contains("CrashLoopBackOff"))
    };
    let line = lab.sees("a back-off", said).await;
    assert!(line.text.contains("restarting failed container=kube-apiserver"), "{}", line.text);
    lab.restore(MANIFEST, &before);
    lab.answers().await;
    let events = lab.until("kubectl get events -n kube-system", |text| text.contains("BackOff")).await;
    assert!(events.contains("Back-off restarting failed container kube-apiserver in pod"), "{events}");
    lab.until("kubectl get pod -n kube-system kube-apiserver-control-plane", |text| text.contains("1/1"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_manifest_is_only_dropped_when_the_folder_is_listed() {
    let lab = Lab::new().await;
    lab.answers().await;
    let before =
        lab.edit(MANIFEST, |text| text.replace("    - --allow-privileged", "   - --allow-privileged"));
    lab.refuses().await;
    lab.sees("no container", |host| named(host, "kube-apiserver").is_empty().then_some(())).await;
    let journal = lab.journal();
    let event = journal.find("Unable to process watch event").unwrap();
    let listing = journal.find("Could not process manifest file").unwrap();
    assert!(event < listing, "{journal}");
    assert!(journal.contains("couldn't parse as pod(yaml: line 15: did not find expected key)"), "{journal}");
    lab.restore(MANIFEST, &before);
    lab.answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comment_changes_nothing_and_a_copy_wins_over_the_manifest() {
    let lab = Lab::new().await;
    lab.answers().await;
    let running = lab.api_servers()[0].id.clone();
    lab.edit(MANIFEST, |text| {
        let flag = "    - --allow-privileged=true\n";
        text.replace(flag, &format!("{flag}    # - --profiling=false\n"))
    });
    // Whoever reads this file has read the other one too.
    let web = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers: [{name: web, image: nginx}]\n";
    lab.host().tree().write("/etc/kubernetes/manifests/web.yaml", web, 0o644).unwrap();
    lab.until("kubectl get pod web-control-plane", |text| text.contains("1/1")).await;
    assert_eq!(lab.api_servers()[0].id, running);
    // A copy is another Pod of the same name: the server is killed at once, and from then on the copy is what runs.
    let manifest = lab.host().tree().read_text(MANIFEST).unwrap();
    lab.host().tree().write(&format!("{MANIFEST}.bak"), manifest, 0o600).unwrap();
    lab.refuses().await;
    lab.answers().await;
    lab.add_flag("--profiling=false");
    lab.until("sleep 1; kubectl get --raw /readyz", |text| text == "ok").await;
    assert!(!lab.api_servers()[0].command.contains(&"--profiling=false".to_owned()));
    lab.host().tree().remove(&format!("{MANIFEST}.bak")).unwrap();
    let edited = |host: &NodeHost| {
        let flag = "--profiling=false".to_owned();
        named(host, "kube-apiserver").into_iter().find(|c| c.command.contains(&flag))
    };
    lab.sees("the edited manifest", edited).await;
    lab.answers().await;
    let (_, text) = lab.run("kubectl get --raw /debug/pprof/").await;
    assert!(text.contains("NotFound"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_anonymous_requests_the_probes_fail_and_the_server_is_restarted() {
    let lab = Lab::new().await;
    lab.answers().await;
    lab.add_flag("--anonymous-auth=false");
    lab.refuses().await;
    lab.until("kubectl get ns default", |text| text.contains("Active")).await;
    let (_, text) = lab.run("curl -sk $URL/livez").await;
    assert!(text.contains("\"code\": 401"), "{text}");
    let restarted =
        |host: &NodeHost| named(host, "kube-apiserver").into_iter().find(|container| container.attempt > 0);
    lab.sees("a restart", restarted).await;
    let events = lab.until("kubectl get events -n kube-system", |text| text.contains("Unhealthy")).await;
    assert!(events.contains("Startup probe failed: HTTP probe failed with statuscode: 401"), "{events}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_static_pod_is_mirrored_and_comes_back_when_its_mirror_is_deleted() {
    let lab = Lab::new().await;
    lab.answers().await;
    let web = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers: [{name: web, image: nginx}]\n";
    lab.host().tree().write("/etc/kubernetes/manifests/web.yaml", web, 0o644).unwrap();
    lab.until("kubectl get pod web-control-plane", |text| text.contains("1/1")).await;
    let uid = "kubectl get pod web-control-plane -o jsonpath={.metadata.uid}";
    let before = lab.ok(uid).await;
    let container = named(lab.host(), "web")[0].id.clone();
    assert!(lab.ok("timeout 10 kubectl delete pod web-control-plane").await.contains("deleted"));
    let after = lab.until(uid, |text| !text.is_empty() && !text.contains("NotFound")).await;
    assert_ne!(after, before);
    assert_eq!(named(lab.host(), "web")[0].id, container, "the container is not touched");
    lab.host().tree().remove("/etc/kubernetes/manifests/web.yaml").unwrap();
    lab.until("kubectl get pod web-control-plane", |text| text.contains("NotFound")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_restriction_is_what_keeps_a_kubelet_from_labelling_itself() {
    let lab = Lab::new().await;
    lab.answers().await;
    let pem = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&pem, lab.host().tree().read("/var/lib/kubelet/pki/kubelet-client-current.pem").unwrap())
        .unwrap();
    let label = format!(
        "kubectl --server $URL --certificate-authority $ROOT/etc/kubernetes/pki/ca.crt --client-certificate {0} --client-key {0} \
         --kubeconfig /dev/null label node control-plane node-restriction.kubernetes.io/x=y --overwrite",
        pem.path().display()
    );
    let (_, text) = lab.run(&label).await;
    assert!(text.contains("is not allowed to modify labels: node-restriction.kubernetes.io/x"), "{text}");
    lab.edit(MANIFEST, |text| text.replace("    - --enable-admission-plugins=NodeRestriction\n", ""));
    lab.refuses().await;
    lab.until(&label, |text| text.contains("node/control-plane")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_mount_and_a_missing_file_keep_the_server_from_starting() {
    let lab = Lab::new().await;
    lab.answers().await;
    let before = lab.add_flag("--audit-policy-file=/etc/kubernetes/audit/policy.yaml");
    lab.host().tree().write("/etc/kubernetes/audit/policy.yaml", "", 0o644).unwrap();
    let container = lab.sees("a crash", |host| crashed(host, "kube-apiserver")).await;
    let log = lab.log(&container);
    assert!(
        log.contains("open /etc/kubernetes/audit/policy.yaml: no such file or directory"),
        "not mounted: {log}"
    );
    // A volume of the wrong type: no container at all, and the journal says why.
    let volume = "  - hostPath:\n      path: /etc/kubernetes/nothing\n      type: File\n    name: audit\n";
    lab.restore(MANIFEST, &before.replace("  volumes:\n", &format!("  volumes:\n{volume}")));
    lab.sees("no container", |host| named(host, "kube-apiserver").is_empty().then_some(())).await;
    let said = |host: &NodeHost| {
        let text = "hostPath type check failed: /etc/kubernetes/nothing is not a file";
        host.journal(None, 0).into_iter().find(|line| line.text.contains(text))
    };
    lab.sees("the type check", said).await;
    lab.restore(MANIFEST, &before);
    lab.answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_controller_manager_a_deployment_gets_no_pods() {
    let lab = Lab::new().await;
    lab.answers().await;
    let manifest = "/etc/kubernetes/manifests/kube-controller-manager.yaml";
    let before = lab.edit(manifest, |text| text.replace("--cluster-name=", "--cluster-name-x="));
    let container = lab.sees("a crash", |host| crashed(host, "kube-controller-manager")).await;
    assert!(lab.log(&container).contains("Error: unknown flag: --cluster-name-x"));
    lab.ok("kubectl create deployment d17 --image=nginx --replicas=1").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!lab.ok("kubectl get rs").await.contains("d17"));
    lab.restore(manifest, &before);
    lab.until("kubectl get deploy d17", |text| text.contains("1/1")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_etcd_gives_up_and_comes_back_with_it() {
    let lab = Lab::new().await;
    lab.answers().await;
    let before = lab.edit(MANIFEST, |text| text.replace("https://127.0.0.1:2379", "https://127.0.0.1:2378"));
    let container = lab.sees("a crash", |host| crashed(host, "kube-apiserver")).await;
    assert!(lab.log(&container).contains("err=\"context deadline exceeded\""));
    lab.restore(MANIFEST, &before);
    lab.answers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_cluster_has_its_nodes_as_they_are() {
    let lab = Lab::new().await;
    lab.answers().await;
    lab.host().tree().write("/opt/answer", "42", 0o600).unwrap();
    let dir = lab.dir.path().join("copy");
    lab.cluster.copy_to(&dir).unwrap();
    let config = SimConfig { name: "copy".to_owned(), port: 0, ..lab.cluster.config().clone() };
    let mut copy = SimulatedCluster::start(config, Home::Dir(dir), Arc::new(SystemClock)).await.unwrap();
    copy.listen().await.unwrap();
    let host = copy.host("control-plane").unwrap();
    assert_eq!(host.tree().read_text("/opt/answer").unwrap(), "42");
    let line =
        format!("kubectl --kubeconfig {}/etc/kubernetes/admin.conf get --raw /readyz", host.root().display());
    assert_eq!(lab.ok(&line).await, "ok");
    assert!(copy.url() != lab.cluster.url());
}

const KUBELET: &str = "/var/lib/kubelet/config.yaml";

fn ask(lab: &Lab, port: u16, certificate: Option<String>) -> KubeletAnswer {
    let request =
        KubeletRequest { port, method: "GET".to_owned(), path: "/pods".to_owned(), certificate, token: None };
    lab.cluster.ask_kubelet("control-plane", &request).unwrap()
}

fn code(answer: &KubeletAnswer) -> u16 {
    match answer {
        KubeletAnswer::Refused => 0,
        KubeletAnswer::Answered { code, .. } => *code,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubelet_that_cannot_read_its_file_leaves_its_node_not_ready() {
    let lab = Lab::new().await;
    lab.answers().await;
    let before = lab.edit(KUBELET, |text| text.replace("mode: Webhook", "mode: Webhok"));
    lab.host().restart_unit("kubelet").unwrap();
    let unit = lab.host().unit("kubelet.service").unwrap();
    assert_eq!((unit.active, unit.sub.as_str()), (Active::Activating, "auto-restart"));
    assert!(lab.journal().contains("err=\"failed to run Kubelet: unknown authorization mode Webhok\""));
    lab.until("kubectl get node control-plane", |text| text.contains("NotReady")).await;
    let (_, text) = lab.run("kubectl logs -n kube-system etcd-control-plane").await;
    assert!(text.contains("dial tcp 172.18.0.2:10250: connect: connection refused"), "{text}");
    assert_eq!(ask(&lab, 10250, None), KubeletAnswer::Refused);
    lab.restore(KUBELET, &before);
    // It is tried again by itself.
    lab.sees("the kubelet", |host| (host.unit("kubelet")?.active == Active::Active).then_some(())).await;
    lab.until("kubectl get node control-plane", |text| text.contains(" Ready ")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kubelet_goes_by_its_file_once_it_is_restarted() {
    let lab = Lab::new().await;
    lab.answers().await;
    let configz = "kubectl get --raw /api/v1/nodes/control-plane/proxy/configz";
    assert!(lab.ok(configz).await.contains("\"anonymous\":{\"enabled\":false}"));
    assert_eq!(code(&ask(&lab, 10250, None)), 401);
    let certificate =
        lab.host().tree().read_text("/etc/kubernetes/pki/apiserver-kubelet-client.crt").unwrap();
    assert_eq!(code(&ask(&lab, 10250, Some(certificate))), 200);
    let read_only = |text: String| text + "readOnlyPort: 10255\n";
    lab.edit(KUBELET, |text| {
        read_only(text).replace("anonymous:\n    enabled: false", "anonymous:\n    enabled: true")
    });
    // A file alone changes nothing.
    assert!(lab.ok(configz).await.contains("\"anonymous\":{\"enabled\":false}"));
    assert_eq!(ask(&lab, 10255, None), KubeletAnswer::Refused);
    lab.host().restart_unit("kubelet").unwrap();
    assert!(lab.ok(configz).await.contains("\"anonymous\":{\"enabled\":true}"));
    assert_eq!(code(&ask(&lab, 10255, None)), 200);
    let KubeletAnswer::Answered { code, body, .. } = ask(&lab, 10250, None) else { panic!("refused") };
    assert_eq!(code, 403);
    assert_eq!(
        body,
        "Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"
    );
    lab.edit(KUBELET, |text| text.replace("mode: Webhook", "mode: AlwaysAllow"));
    lab.host().restart_unit("kubelet").unwrap();
    assert_eq!(self::code(&ask(&lab, 10250, None)), 200);
}

/// Mounts a path of the node into the API server's container under the same name.
fn with_volume(text: &str, name: &str, path: &str, kind: &str) -> String {
    let mount = format!("    volumeMounts:\n    - mountPath: {path}\n      name: {name}\n");
    let volume =
        format!("  volumes:\n  - hostPath:\n      path: {path}\n      type: {kind}\n    name: {name}\n");
    text.replace("    volumeMounts:\n", &mount).replace("  volumes:\n", &volume)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_audited_into_a_file_of_the_node() {
    let lab = Lab::new().await;
    lab.answers().await;
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n  resources: [{group: \"\", resources: \
                  [secrets]}]\n- level: None\n";
    lab.host().tree().write("/etc/kubernetes/audit/policy.yaml", policy, 0o600).unwrap();
    lab.edit(MANIFEST, |text| {
        let text = with_volume(&text, "audit-policy", "/etc/kubernetes/audit", "Directory");
        let text = with_volume(&text, "audit-log", "/var/log/kubernetes/audit", "DirectoryOrCreate");
        let flags = "    - --audit-policy-file=/etc/kubernetes/audit/policy.yaml\n    - \
                     --audit-log-path=/var/log/kubernetes/audit/audit.log\n";
        text.replace("    - --allow-privileged=true\n", &format!("    - --allow-privileged=true\n{flags}"))
    });
    lab.refuses().await;
    lab.until("kubectl create secret generic audited --from-literal=password=hunter2", |text| {
        text.contains("created")
    })
    .await;
    let log = lab
        .sees("the event", |host| {
            let log = host.tree().read_text("/var/log/kubernetes/audit/audit.log").ok()?;
            log.contains("\"name\":\"audited\"").then_some(log)
        })
        .await;
    let event =
        log.lines().find(|line| line.contains("\"audited\"") && line.contains("ResponseComplete")).unwrap();
    assert!(event.contains("\"level\":\"Metadata\"") && event.contains("\"verb\":\"create\""), "{event}");
    assert!(!log.contains("hunter2"));
    assert!(!log.contains("configmaps"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_with_a_key_is_sealed_and_unreadable_without_it() {
    let lab = Lab::new().await;
    lab.answers().await;
    lab.ok("kubectl create secret generic old --from-literal=password=hunter2").await;
    let stored = |name: &str| {
        let found = lab.host().etcd_keys(&format!("/registry/secrets/default/{name}"), false);
        String::from_utf8_lossy(&found[0].value).into_owned()
    };
    assert!(stored("old").starts_with("k8s\0") && stored("old").contains("hunter2"));
    let providers = |list: &str| {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  \
             providers:\n{list}"
        )
    };
    let key = "  - aescbc: {keys: [{name: key1, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}]}\n";
    let path = "/etc/kubernetes/enc/enc.yaml";
    lab.host().tree().write(path, providers(&format!("{key}  - identity: {{}}\n")), 0o600).unwrap();
    let before = lab.edit(MANIFEST, |text| {
        let text = with_volume(&text, "enc", "/etc/kubernetes/enc", "Directory");
        let flag = format!("    - --allow-privileged=true\n    - --encryption-provider-config={path}\n");
        text.replace("    - --allow-privileged=true\n", &flag)
    });
    let edited = lab.host().tree().read_text(MANIFEST).unwrap();
    lab.refuses().await;
    let create = "kubectl create secret generic new --from-literal=password=hunter2";
    lab.until(create, |text| text.contains("created")).await;
    assert!(stored("new").starts_with("k8s:enc:aescbc:v1:key1:") && !stored("new").contains("hunter2"));
    assert!(stored("old").contains("hunter2"), "what was there stays as it was");
    lab.ok("kubectl get secrets old -o json | kubectl replace -f -").await;
    assert!(stored("old").starts_with("k8s:enc:aescbc:v1:key1:"));
    // The file is read at a start only; without the key nothing opens what it has sealed.
    lab.host().tree().write(path, providers("  - identity: {}\n"), 0o600).unwrap();
    assert!(lab.ok("kubectl get secret new").await.contains("Opaque"));
    lab.restore(MANIFEST, &before);
    lab.refuses().await;
    lab.until("kubectl get ns default", |text| text.contains("Active")).await;
    lab.restore(MANIFEST, &edited);
    lab.refuses().await;
    let text = lab.until("kubectl get secret new", |text| text.contains("Internal")).await;
    assert!(text.contains("no matching prefix found"), "{text}");
}
