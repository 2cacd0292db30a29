//! The programs of a control plane where they take effect: the API with its port, and the gates of the loops.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;

use super::listener::{self, Front, TlsSettings};
use crate::sim::alive::Gates;
use crate::sim::api::{Api, VERSION};
use crate::sim::apiserver::{Configuration, Failure};
use crate::sim::attributes::Attributes;
use crate::sim::audit::{self, Audit, LogFile, LogSettings, Sink, Webhook};
use crate::sim::bootstrap;
use crate::sim::flags::{Flags, Program};
use crate::sim::node::host::klog;
use crate::sim::node::host::tree::reason;
use crate::sim::node::parts::{Course, Parts, Starting};
use crate::sim::outbound::Target;
use crate::sim::store::Transformer;

/// How long an API server waits for etcd before it gives up, in reality.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a program lives that fails after it has read its flags, in reality.
const LATE: Duration = Duration::from_millis(1500);

/// The control plane of one cluster.
#[derive(Debug)]
pub(super) struct ControlPlaneParts {
    api: Api,
    gates: Gates,
    cluster: String,
    nodes: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    front: Option<Arc<Front>>,
    /// What the API server runs with, while it runs.
    server: Option<Configuration>,
    /// Where etcd listens for clients, while it runs.
    etcd: Option<Etcd>,
}

#[derive(Debug, Clone)]
struct Etcd {
    urls: Vec<String>,
}

impl ControlPlaneParts {
    pub(super) fn new(api: &Api, gates: &Gates, cluster: &str, nodes: &[String]) -> Self {
        Self {
            api: api.clone(),
            gates: gates.clone(),
            cluster: cluster.to_owned(),
            nodes: nodes.to_vec(),
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the API its port; it is opened when the server runs.
    pub(super) fn set_front(&self, front: Arc<Front>) {
        let mut state = self.lock();
        state.front = Some(front);
        if let Some(configuration) = state.server.clone()
            && self.api.is_up()
        {
            // It was made with these settings a moment ago.
            let _ = self.open(&state, &configuration);
        }
    }

    /// Opens the port.
    fn open(&self, state: &State, configuration: &Configuration) -> Result<(), String> {
        let Some(front) = &state.front else { return Ok(()) };
        let tls = TlsSettings {
            only_13: configuration.tls.only_13,
            suites: configuration.tls.suites.clone(),
            identity: configuration.tls.identity.clone(),
        };
        let acceptor = listener::acceptor(self.api.pki(), &tls).map_err(|error| error.to_string())?;
        front.open(acceptor, self.api.clone());
        Ok(())
    }

    /// Makes what requests are noted by.
    fn audit(
        &self,
        configuration: &Configuration,
        starting: &Starting<'_>,
    ) -> Result<Option<Arc<Audit>>, String> {
        let flags = &configuration.flags;
        let Some(text) = &configuration.audit_policy else { return Ok(None) };
        let (policy, _) = audit::load(text, flags.text("audit-policy-file"))?;
        let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
        let path = flags.text("audit-log-path");
        if !path.is_empty() && path != "-" {
            let failed = |why: String| format!("ensureLogFile: {why}");
            // What no volume leads to the node goes with the container.
            if let Some(own) = starting.writable(path).map_err(failed)? {
                let tree = starting.host.tree();
                let told = |error: std::io::Error| failed(format!("open {path}: {}", reason(&error)));
                if let Some((folder, _)) = own.rsplit_once('/')
                    && tree.kind(folder).is_none()
                {
                    tree.create_dir(folder, 0o700).map_err(told)?;
                }
                let number = |name: &str| u64::try_from(flags.number(name, 0)).unwrap_or_default();
                let settings = LogSettings {
                    max_size: number("audit-log-maxsize"),
                    max_backup: usize::try_from(number("audit-log-maxbackup")).unwrap_or_default(),
                    max_age: number("audit-log-maxage"),
                };
                let clock = self.api.clock().clone();
                let log = tree.files().and_then(|files| LogFile::open(files, &own, settings, clock));
                sinks.push(Arc::new(log.map_err(told)?));
            }
        }
        let webhook = flags.text("audit-webhook-config-file");
        if !webhook.is_empty() {
            let failed = |why: String| format!("initializing audit webhook: {why}");
            let text = starting.read(webhook).map_err(failed)?;
            let target = Target::from_kubeconfig(&text, &|path| starting.read(path)).map_err(failed)?;
            sinks.push(Arc::new(Webhook::start(target)));
        }
        if sinks.is_empty() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Audit::new(policy, sinks, self.api.clock().clone()))))
    }

    /// Begins a life of the API with what was read.
    fn serve(&self, state: &mut State, configuration: Configuration) -> Result<(), String> {
        let settings = configuration.settings(self.api.pki(), self.api.clock())?;
        self.api.begin(settings).map_err(|error| error.to_string())?;
        bootstrap::run(&self.api, &self.cluster, &self.nodes).map_err(|error| error.to_string())?;
        self.open(state, &configuration)?;
        state.server = Some(configuration);
        Ok(())
    }

    fn start_api(&self, starting: &Starting<'_>) -> Course {
        let log = Log { starting };
        let read = |path: &str| starting.read(path);
        let configuration = match Configuration::read(starting.arguments, &read) {
            Ok(configuration) => configuration,
            Err(Failure::Usage(why)) => return log.usage(&why),
            Err(Failure::Start(why)) => return log.failed(&why),
        };
        let mut lines = log.greeting(&configuration);
        let mut state = self.lock();
        if !self.finds_etcd(&state, &configuration.flags, starting) {
            if let Some(front) = &state.front {
                front.hang();
            }
            let address = configuration.flags.list("etcd-servers").first().cloned().unwrap_or_default();
            let address = address.rsplit("//").next().unwrap_or_default().to_owned();
            lines.push(format!(
                "{}  \"Addr\": {address:?}, \"ServerName\": {address:?}, }}. Err: connection error: desc = \"transport: Error while \
                 dialing: dial tcp {address}: connect: connection refused\"",
                klog('W', starting.at, 1, "logging.go:55", "[core] [Channel #1 SubChannel #3]grpc: addrConn.createTransport failed to connect to {")
            ));
            let after = starting.soon(PATIENCE);
            let mut course = Course {
                lines: lines.into_iter().map(|line| (Duration::ZERO, line)).collect(),
                ends: Some((after, 1)),
            };
            course.lines.push((after, log.error("context deadline exceeded")));
            self.close_after(&state, after);
            return course;
        }
        let audit = match self.audit(&configuration, starting) {
            Ok(audit) => audit,
            Err(why) => return log.failed(&why),
        };
        self.api.set_audit(audit);
        let transformer = configuration.encryption.clone().map(|with| with as Arc<dyn Transformer>);
        self.api.store().set_transformer(transformer);
        match self.serve(&mut state, configuration) {
            Ok(()) => {
                lines.push(klog(
                    'I',
                    starting.at,
                    1,
                    "secure_serving.go:211",
                    "Serving securely on [::]:6443",
                ));
                Course { lines: lines.into_iter().map(|line| (Duration::ZERO, line)).collect(), ends: None }
            }
            Err(why) => log.failed(&why),
        }
    }

    /// Closes the port later, unless something was started meanwhile.
    fn close_after(&self, state: &State, after: Duration) {
        let Some(front) = state.front.clone() else { return };
        let hanging = front.generation();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            front.close_if(hanging);
        });
    }

    /// Tells whether an API server with these flags finds etcd, and is let in.
    fn finds_etcd(&self, state: &State, flags: &Flags, starting: &Starting<'_>) -> bool {
        let Some(etcd) = state.etcd.as_ref().filter(|_| self.gates.is_alive(Program::Etcd)) else {
            return false;
        };
        let plain = |url: &str| url.trim_end_matches('/').replace("localhost", "127.0.0.1");
        let reached =
            flags.list("etcd-servers").iter().any(|url| etcd.urls.iter().any(|own| plain(own) == plain(url)));
        if !reached {
            return false;
        }
        let client = crate::sim::node::host::EtcdClient {
            endpoint: flags.list("etcd-servers").first().cloned().unwrap_or_default(),
            authority: starting.read(flags.text("etcd-cafile")).ok(),
            certificate: starting.read(flags.text("etcd-certfile")).ok(),
            key: starting.read(flags.text("etcd-keyfile")).ok(),
        };
        // What runs is not shown yet when the cluster comes back.
        !starting.host.shows_etcd() || starting.host.etcd_connect(&client).is_ok()
    }

    fn start_etcd(&self, starting: &Starting<'_>) -> Course {
        let log = Log { starting };
        let flags = match Flags::parse(Program::Etcd, starting.arguments) {
            Ok(flags) => flags,
            Err(why) => return log.exits(vec![why.to_string()], Duration::from_millis(100), 2),
        };
        let fatal = |message: &str, error: &str| {
            let at = starting.at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
            let line = format!(
                "{{\"level\":\"fatal\",\"ts\":\"{at}\",\"caller\":\"etcdmain/etcd.go:204\",\"msg\":{message:?},\"error\":{error:?}}}"
            );
            log.exits(vec![line], LATE, 1)
        };
        for name in [
            "cert-file",
            "key-file",
            "trusted-ca-file",
            "peer-cert-file",
            "peer-key-file",
            "peer-trusted-ca-file",
        ] {
            if let (path, true) = (flags.text(name), flags.has(name))
                && let Err(why) = starting.read(path)
            {
                return fatal("discovery failed", &why);
            }
        }
        if starting.writable(flags.text("data-dir")).ok().flatten().as_deref() != Some("/var/lib/etcd") {
            return fatal(
                "failed to start etcd",
                "a data directory other than the node's /var/lib/etcd is not simulated",
            );
        }
        let urls: Vec<String> = flags.list("listen-client-urls");
        if urls.is_empty() {
            return fatal(
                "discovery failed",
                "--advertise-client-urls is required when --listen-client-urls is set explicitly",
            );
        }
        let mut state = self.lock();
        state.etcd = Some(Etcd { urls: urls.clone() });
        self.gates.set(Program::Etcd, true);
        // A server that was left without it goes on.
        if let Some(configuration) = state.server.clone()
            && !self.api.is_up()
        {
            let _ = self.serve(&mut state, configuration);
        }
        let at = starting.at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
        let line = |caller: &str, message: &str| {
            format!("{{\"level\":\"info\",\"ts\":\"{at}\",\"caller\":{caller:?},\"msg\":{message:?}}}")
        };
        let mut lines = vec![
            line("etcdmain/etcd.go:73", "Running: "),
            line("embed/serve.go:187", "ready to serve client requests"),
        ];
        lines.extend(
            urls.iter()
                .map(|url| line("embed/serve.go:250", &format!("serving client traffic securely on {url}"))),
        );
        Course { lines: lines.into_iter().map(|line| (Duration::ZERO, line)).collect(), ends: None }
    }

    /// Starts a program whose loops only wait for it.
    fn start_loops(&self, starting: &Starting<'_>) -> Course {
        let log = Log { starting };
        let flags = match Flags::parse(starting.program, starting.arguments) {
            Ok(flags) => flags,
            Err(why) => return log.usage(&why.to_string()),
        };
        if let Err(why) = check_loops(starting, &flags) {
            return log.failed(&why);
        }
        self.gates.set(starting.program, true);
        let (version, port) = match starting.program {
            Program::Scheduler => ("server.go:166", 10259),
            _ => ("controllermanager.go:189", 10257),
        };
        let port = flags.number("secure-port", port);
        let host = match flags.text("bind-address") {
            "" | "0.0.0.0" => "[::]",
            address => address,
        };
        let lines = [
            klog('I', starting.at, 1, version, &format!("\"Starting\" version={VERSION:?}")),
            klog('I', starting.at, 1, "secure_serving.go:211", &format!("Serving securely on {host}:{port}")),
            klog(
                'I',
                starting.at,
                1,
                "leaderelection.go:257",
                &format!("attempting to acquire leader lease kube-system/{}...", starting.program.name()),
            ),
            klog(
                'I',
                starting.at,
                1,
                "leaderelection.go:271",
                &format!("successfully acquired lease kube-system/{}", starting.program.name()),
            ),
        ];
        Course { lines: lines.into_iter().map(|line| (Duration::ZERO, line)).collect(), ends: None }
    }
}

/// Checks the files that a controller manager or a scheduler is told of.
fn check_loops(starting: &Starting<'_>, flags: &Flags) -> Result<(), String> {
    let read = |name: &str| -> Result<String, String> {
        match flags.text(name) {
            "" => Ok(String::new()),
            path => starting.read(path),
        }
    };
    for name in ["client-ca-file", "requestheader-client-ca-file", "tls-cert-file", "tls-private-key-file"] {
        read(name)?;
    }
    for name in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
        let path = flags.text(name);
        if path.is_empty() {
            continue;
        }
        let text = starting.read(path).map_err(|why| why.replacen("open ", "stat ", 1))?;
        if text.trim().is_empty() {
            return Err("invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment \
                        variable"
                .to_owned());
        }
    }
    if starting.program == Program::Scheduler {
        if let (path, true) = (flags.text("config"), flags.has("config")) {
            starting.read(path)?;
        }
        return Ok(());
    }
    for name in ["cluster-signing-cert-file", "cluster-signing-key-file"] {
        read(name).map_err(|why| {
            format!("error starting controllers: failed to start certificate controller: {why}")
        })?;
    }
    read("root-ca-file").map_err(|why| {
        format!(
            "error starting controllers: error reading root-ca-file at {}: {why}",
            flags.text("root-ca-file")
        )
    })?;
    let key = flags.text("service-account-private-key-file");
    read("service-account-private-key-file").map(drop).map_err(|why| {
        format!(
            "error starting controllers: error reading key for service account token controller: {why}: {key}"
        )
    })
}

impl Parts for ControlPlaneParts {
    fn start(&self, starting: &Starting<'_>) -> Course {
        match starting.program {
            Program::ApiServer => self.start_api(starting),
            Program::Etcd => self.start_etcd(starting),
            Program::ControllerManager | Program::Scheduler => self.start_loops(starting),
            Program::Kubelet => Course::default(),
        }
    }

    fn stop(&self, program: Program) {
        match program {
            Program::ApiServer => {
                let mut state = self.lock();
                state.server = None;
                if let Some(front) = &state.front {
                    front.close();
                }
                self.api.end();
            }
            Program::Etcd => {
                self.gates.set(program, false);
                let mut state = self.lock();
                state.etcd = None;
                // A server without its etcd answers nobody, until it is restarted or etcd comes back.
                if state.server.is_some() {
                    self.api.end();
                    if let Some(front) = &state.front {
                        front.hang();
                    }
                }
            }
            other => self.gates.set(other, false),
        }
    }

    fn probe(&self, program: Program, path: &str) -> Result<(), String> {
        let refused = |port: u16| {
            Err(format!(
                "Get \"https://127.0.0.1:{port}{path}\": dial tcp 127.0.0.1:{port}: connect: connection refused"
            ))
        };
        match program {
            Program::ApiServer if self.lock().server.is_none() => refused(6443),
            Program::ApiServer => self.probe_api(path),
            Program::Etcd if !self.gates.is_alive(program) => refused(2381),
            Program::ControllerManager if !self.gates.is_alive(program) => refused(10257),
            Program::Scheduler if !self.gates.is_alive(program) => refused(10259),
            _ => Ok(()),
        }
    }
}

impl ControlPlaneParts {
    fn probe_api(&self, path: &str) -> Result<(), String> {
        let failed = |code: u16| Err(format!("HTTP probe failed with statuscode: {code}"));
        let bare = path.split('?').next().unwrap_or_default();
        if !self.gates.is_alive(Program::Etcd) {
            return failed(500);
        }
        // A value that no key opens keeps the server's own caches from being filled.
        let store = self.api.store();
        if bare == "/readyz"
            && store.resources().iter().any(|resource| !store.all_locked(resource, None).is_empty())
        {
            return failed(500);
        }
        let user = self.api.authenticator().authenticate(self.api.store(), None, &HeaderMap::new(), bare);
        let Ok(user) = user else { return failed(401) };
        let attributes =
            Attributes { user, verb: "get".to_owned(), path: bare.to_owned(), ..Attributes::default() };
        if self.api.authorizer().require(&attributes).is_err() {
            return failed(403);
        }
        Ok(())
    }
}

/// What a program writes about its start.
struct Log<'a> {
    starting: &'a Starting<'a>,
}

impl Log<'_> {
    fn exits(&self, lines: Vec<String>, after: Duration, code: i32) -> Course {
        let after = self.starting.soon(after);
        Course { lines: lines.into_iter().map(|line| (after, line)).collect(), ends: Some((after, code)) }
    }

    /// A program that does not understand its flags prints all there are, and then what is wrong.
    fn usage(&self, why: &str) -> Course {
        let program = self.starting.program;
        let mut lines = vec![
            "Usage:".to_owned(),
            format!("  {} [flags]", program.name()),
            String::new(),
            "Flags:".to_owned(),
        ];
        lines.extend(crate::sim::flags::usage(program));
        lines.extend([String::new(), format!("Error: {why}"), String::new()]);
        self.exits(lines, Duration::from_millis(500), 1)
    }

    fn error(&self, why: &str) -> String {
        klog('E', self.starting.at, 1, "run.go:72", &format!("\"command failed\" err={why:?}"))
    }

    fn failed(&self, why: &str) -> Course {
        self.exits(vec![self.error(why)], LATE, 1)
    }

    /// What an API server says before it serves.
    fn greeting(&self, configuration: &Configuration) -> Vec<String> {
        let at = self.starting.at;
        let mut lines = vec![
            klog(
                'I',
                at,
                1,
                "options.go:263",
                &format!(
                    "external host was not specified, using {}",
                    configuration.flags.text("advertise-address")
                ),
            ),
            klog('I', at, 1, "server.go:150", &format!("Version: {VERSION}")),
        ];
        lines.extend(configuration.warnings.iter().map(|warning| {
            let (place, text) = warning.split_once("] ").unwrap_or(("server.go:1", warning));
            klog('W', at, 1, place, text)
        }));
        lines
    }
}
