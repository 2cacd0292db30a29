//! What a container runs: the image's entry point or what the Pod says instead, and how far it has come at a moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::history::{Files, History, Record};
use super::images::{self, Image, Runs};
use super::network::{Answer, Network, dns};
use super::shell::outside::{Ask, HttpRequest, Told};
use super::shell::{self, Ending, Host, Memory, OnTerm, Start, Trace, Written};
use super::{Machine, environment, volumes};
use crate::sim::api::Api;
use crate::sim::authn::AUDIENCE;
use crate::sim::authn::tokens::TokenSpec;
use crate::sim::image::ImageName;
use crate::sim::meta;
use crate::sim::quantity::Quantity;
use crate::sim::resource::GroupResource;
use crate::sim::store::Store;

/// A container with all that its process depends on.
pub(super) struct Process<'a> {
    pub store: &'a Store,
    pub machine: &'a dyn Machine,
    pub pod: &'a Value,
    pub container: &'a Value,
    pub node: &'a Value,
    pub history: &'a History,
    /// The id of the container's run; empty where it has none yet.
    pub id: &'a str,
    /// What answers requests to the API; nothing where nobody may make any.
    pub api: Option<&'a Api>,
    /// Whether it may ask the network for what it was not told before.
    pub asks: bool,
}

/// A process of a container with what it was told: what the shell runs in.
struct Inside<'a> {
    process: &'a Process<'a>,
    record: Arc<Record>,
    /// How far time has come since its start.
    passed: Duration,
    /// Whether somebody else makes the requests to the API, when they are told of them.
    asked_for: bool,
}

/// A command that somebody runs in a container beside its own process.
pub(super) struct Started<'a> {
    pub argv: &'a [String],
    /// What there is to read, and when that was settled.
    pub stdin: Option<(Duration, String)>,
    /// Whether there may be something to read yet.
    pub waits: bool,
    pub tty: bool,
    /// When it was started.
    pub begun: Timestamp,
    /// How far time has come since.
    pub passed: Duration,
    /// What it was told.
    pub record: Arc<Record>,
}

/// Why a process cannot be started.
const NOT_STARTED: &str = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc \
                           create failed: unable to start container process: ";

impl Process<'_> {
    fn record(&self) -> Arc<Record> {
        if self.id.is_empty() { Arc::default() } else { self.history.of(self.id) }
    }

    /// Returns the files that commands have left in the container.
    pub fn left(&self) -> Files {
        self.record().left()
    }

    /// Returns the words of the command line.
    pub fn words(&self) -> Vec<String> {
        self.argv(&self.env()).0
    }

    /// Returns the tag of the image.
    pub fn tag(&self) -> String {
        let name = ImageName::parse(self.container["image"].as_str().unwrap_or_default());
        name.map(|name| name.tag).unwrap_or_default()
    }

    /// Returns the name by which a server calls itself that nobody knows more of.
    pub fn full_name(&self) -> String {
        let container = self.container["name"].as_str().unwrap_or_default();
        format!("{container} of {}/{}", meta::namespace(self.pod), meta::name(self.pod))
    }

    /// Fills in what a page says of the request and its server.
    pub fn filled(&self, page: &str, request: &HttpRequest) -> Vec<u8> {
        let words = self.words();
        let text = words.iter().enumerate().find_map(|(at, word)| {
            let rest = word.trim_start_matches('-').strip_prefix("text")?;
            rest.strip_prefix('=').or_else(|| words.get(at + 1).map(String::as_str))
        });
        let headers: String =
            request.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
        page.replace("{hostname}", &self.hostname())
            .replace("{text}", text.unwrap_or("hello-world"))
            .replace("{request}", &format!("{} {} HTTP/1.1\n{headers}", request.method, request.path))
            .into_bytes()
    }

    /// Returns ports that a command line or the environment sets, as many servers have it.
    fn configured_ports(&self, env: &BTreeMap<String, String>) -> Vec<u16> {
        let words = self.argv(env).0;
        let options = ["-listen", "--listen", "--http-port", "--port", "-port", "-p"];
        let of = |value: &str| value.rsplit(':').next().and_then(|port| port.parse().ok());
        let named = words.iter().enumerate().filter_map(|(at, word)| match word.split_once('=') {
            Some((name, value)) if options.contains(&name) => of(value),
            None if options.contains(&word.as_str()) => of(words.get(at + 1)?),
            _ => None,
        });
        named.chain(env.get("PORT").and_then(|port| port.parse().ok())).collect()
    }

    /// Tells whether something takes connections at a port. `declares` is whether any container of the Pod says which
    /// ports it has.
    pub fn serves(&self, trace: &Trace, port: u16, declares: bool) -> bool {
        let declared = meta::items(&self.container["ports"])
            .any(|known| known["containerPort"].as_u64() == Some(u64::from(port)));
        if trace.listens.contains(&port) {
            return true;
        }
        let own = ["command", "args", "env", "envFrom"].iter().any(|field| !self.container[*field].is_null());
        let mounts = meta::items(&self.container["volumeMounts"])
            .any(|mount| mount["mountPath"] != "/var/run/secrets/kubernetes.io/serviceaccount");
        match self.runs() {
            Runs::Tool => false,
            // Another port than the image's own is one that somebody has set.
            Runs::Service => {
                let configured = self.configured_ports(&self.env());
                let usual = trace.listens.is_empty() || own || mounts;
                configured.contains(&port) || (declared && usual)
            }
            Runs::Unknown => declared || !declares,
        }
    }

    pub fn image(&self) -> Option<&'static Image> {
        ImageName::parse(self.container["image"].as_str().unwrap_or_default()).as_ref().and_then(images::find)
    }

    fn runs(&self) -> Runs {
        self.image().map_or(Runs::Unknown, |image| image.runs)
    }

    /// Returns the command line, and whether it is the image's own.
    fn argv(&self, env: &BTreeMap<String, String>) -> (Vec<String>, bool) {
        let list = |field: &str| -> Vec<String> {
            let texts = meta::items(&self.container[field]).filter_map(Value::as_str);
            texts.map(|text| environment::expand(text, env)).collect()
        };
        let (command, arguments) = (list("command"), list("args"));
        let (entrypoint, default) = match self.image() {
            Some(image) => (image.entrypoint.clone(), image.command.clone()),
            None => (Vec::new(), Vec::new()),
        };
        let own = command.is_empty() && arguments.is_empty();
        let argv = match (command.is_empty(), arguments.is_empty()) {
            (false, _) => [command, arguments].concat(),
            (true, false) => [entrypoint, arguments].concat(),
            (true, true) => [entrypoint, default].concat(),
        };
        (argv, own)
    }

    fn env(&self) -> BTreeMap<String, String> {
        let mut env =
            environment::compose(self.store, self.pod, self.container, self.node).unwrap_or_default();
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        env.entry("PATH".to_owned()).or_insert_with(|| path.to_owned());
        env.insert("HOSTNAME".to_owned(), self.hostname());
        env.entry("HOME".to_owned()).or_insert_with(|| "/root".to_owned());
        env
    }

    pub fn hostname(&self) -> String {
        let spec = &self.pod["spec"];
        if spec["hostNetwork"] == true {
            return spec["nodeName"].as_str().unwrap_or_default().to_owned();
        }
        let name =
            spec["hostname"].as_str().filter(|name| !name.is_empty()).unwrap_or_else(|| meta::name(self.pod));
        name.chars().take(63).collect()
    }

    fn start(&self, at: Timestamp) -> Start {
        let context = |field: &str| {
            let own = &self.container["securityContext"][field];
            if own.is_null() { &self.pod["spec"]["securityContext"][field] } else { own }
        };
        let (user, user_name, image_group) = self.identity();
        let group = context("runAsGroup").as_u64().unwrap_or(image_group);
        let of_pod = &self.pod["spec"]["securityContext"];
        let mut groups: Vec<u32> = [Some(group), of_pod["fsGroup"].as_u64()]
            .into_iter()
            .flatten()
            .chain(meta::items(&of_pod["supplementalGroups"]).filter_map(Value::as_u64))
            .filter_map(|id| u32::try_from(id).ok())
            .collect();
        groups.dedup();
        let memory = &self.container["resources"]["limits"]["memory"];
        let memory = if memory.is_null() { None } else { u64::try_from(Quantity::of(memory).value()).ok() };
        let folder = self.container["workingDir"].as_str().unwrap_or_default().to_owned();
        let gnu = self.image().is_some_and(|image| image.is_gnu(&self.tag()));
        let hostname = self.hostname();
        Start {
            env: self.env(),
            folder,
            hostname,
            user,
            user_name,
            groups,
            memory,
            at,
            gnu,
            ..Start::default()
        }
    }

    /// Returns the id of the user, their name in the image if they have one, and their group there.
    fn identity(&self) -> (u32, String, u64) {
        let image = self.image();
        let (named, of_image) = match image {
            Some(image) => {
                let name = image.user.split(':').next().unwrap_or_default();
                let numeric = name.parse::<u32>().is_ok();
                (if numeric { "" } else { name }, image.uid)
            }
            None => ("", None),
        };
        let group = image.and_then(|image| image.user.split_once(':')?.1.parse().ok()).unwrap_or_default();
        match self.user() {
            Some(0) => (0, "root".to_owned(), 0),
            Some(id) if Some(id) == of_image => (id, named.to_owned(), group),
            // Who is no user of the image is of the group of root.
            Some(id) => (id, String::new(), group),
            None => {
                let id = of_image.unwrap_or(1000);
                (id, named.to_owned(), u64::from(id))
            }
        }
    }

    /// Returns the user id: the Pod's, else the image's; a name is no id.
    pub fn user(&self) -> Option<u32> {
        let own = &self.container["securityContext"]["runAsUser"];
        let asked = if own.is_null() { &self.pod["spec"]["securityContext"]["runAsUser"] } else { own };
        if let Some(id) = asked.as_u64() {
            return u32::try_from(id).ok();
        }
        let user = self.image().map_or("", |image| image.user.as_str());
        if user.is_empty() { Some(0) } else { user.split(':').next().and_then(|id| id.parse().ok()) }
    }

    /// Tells whether the command can be started at all.
    ///
    /// # Errors
    /// What the container runtime says.
    pub fn check_command(&self) -> Result<(), String> {
        let (argv, own) = self.argv(&self.env());
        let Some(first) = argv.first().filter(|_| !own) else { return Ok(()) };
        self.exec_error(first).map_or(Ok(()), |why| Err(format!("{NOT_STARTED}{why}")))
    }

    /// Says why a program cannot be executed in the container, as runc does.
    pub fn exec_error(&self, program: &str) -> Option<String> {
        let base = program.rsplit('/').next().unwrap_or_default();
        let has_shell = self.image().is_none_or(|image| image.shell);
        let is_tool = shell::is_tool(base) || matches!(base, "dash" | "zsh");
        let known = (is_tool && !self.lacks(base)) || self.is_service(program);
        if program.contains('/') {
            if (known && (has_shell || !is_tool))
                || self.read(program).is_some_and(|text| text.starts_with("#!"))
            {
                return None;
            }
            if self.read(program).is_some() || self.list(program).is_some() {
                return Some(format!("exec: {program:?}: permission denied: unknown"));
            }
            return Some(format!("exec: {program:?}: stat {program}: no such file or directory: unknown"));
        }
        if !known || (is_tool && !has_shell && !self.is_service(program)) {
            return Some(format!("exec: {program:?}: executable file not found in $PATH: unknown"));
        }
        None
    }

    /// Tells whether a program is one that the image is known to have beside the common ones, or not known to have.
    pub fn may_have(&self, program: &str) -> bool {
        let base = program.rsplit('/').next().unwrap_or_default();
        self.runs() == Runs::Unknown || self.is_own(base) || is_installed(&self.image_name(), base)
    }

    fn image_name(&self) -> String {
        self.container["image"].as_str().unwrap_or_default().to_owned()
    }

    fn is_own(&self, base: &str) -> bool {
        self.image().is_some_and(|image| {
            let words = image.entrypoint.iter().chain(&image.command).chain(&image.programs);
            words.into_iter().any(|word| word.rsplit('/').next() == Some(base))
        })
    }

    /// Tells what the process has done by `now`.
    pub fn trace(&self, started: Timestamp, now: Timestamp) -> Trace {
        let passed = now.duration_since(started).unsigned_abs();
        let start = self.start(started);
        let (argv, own) = self.argv(&start.env);
        let Some(image) = self.image() else { return self.service(&[]) };
        if image.runs != Runs::Tool
            && !image.needs.is_empty()
            && !image.needs.iter().any(|name| start.env.contains_key(name))
        {
            let output = vec![Written { at: Duration::ZERO, error: true, text: image.fails.clone() }];
            let ending = Some(Ending { at: Duration::from_millis(10), code: 1, out_of_memory: false });
            return Trace { output, ending, ..Trace::default() };
        }
        let mut trace = if own && image.runs != Runs::Tool {
            if let Some(folder) =
                image.writes.iter().find(|folder| self.refuses(folder) == Some("Read-only file system"))
            {
                let text = format!(
                    "[emerg] 1#1: mkdir() \"{folder}/client_temp\" failed (30: Read-only file system)\n"
                );
                let output = vec![Written { at: Duration::ZERO, error: true, text }];
                let ending = Some(Ending { at: Duration::from_millis(10), code: 1, out_of_memory: false });
                return Trace { output, ending, ..Trace::default() };
            }
            self.service(&image.listens)
        } else {
            self.worked_out(&argv, start, started, passed)
        };
        if trace.ending.is_none() && image.runs != Runs::Tool {
            trace.listens.extend(&image.listens);
        }
        trace
    }

    /// Works out what the container's own process does, with what it was told on the way.
    fn worked_out(&self, argv: &[String], start: Start, started: Timestamp, until: Duration) -> Trace {
        let record = self.record();
        let mut start = start;
        if self.container["stdin"] == true {
            let console = record.console();
            if self.container["tty"] == true && shell::is_shell(argv) {
                return Trace {
                    output: console.output.clone(),
                    ending: console.ended,
                    files: console.memory.as_ref().map(|memory| memory.files.clone()).unwrap_or_default(),
                    on_term: Some(OnTerm::Ignore),
                    waits: true,
                    ..Trace::default()
                };
            }
            match &console.stdin {
                Some((at, text)) => (start.stdin, start.stdin_at) = (Some(text.clone()), *at),
                None => start.waits = true,
            }
            start.tty = self.container["tty"] == true;
        }
        let passed = self.history.now().duration_since(started).unsigned_abs();
        let inside = Inside { process: self, record, passed, asked_for: false };
        shell::run(argv, &start, &inside, None, until)
    }

    /// Runs another program in the container, as probes do.
    pub fn exec(&self, argv: &[String], started: Timestamp, now: Timestamp, limit: Duration) -> Trace {
        let before = self.trace(started, now);
        let inside = Inside { process: self, record: Arc::default(), passed: limit, asked_for: false };
        shell::run(argv, &self.start(now), &inside, Some(&before), limit)
    }

    /// Tells whether a terminal at the container's own process is one at a shell.
    pub fn is_at_shell(&self) -> bool {
        self.container["stdin"] == true && self.container["tty"] == true && shell::is_shell(&self.words())
    }

    /// Runs another program over files that others have left in the container. What the trace says of files is then what
    /// differs from those of the container's own process.
    pub fn exec_over(&self, started: Timestamp, command: &Started<'_>, limit: Duration) -> Trace {
        let own = self.trace(started, command.begun).files;
        let mut before = Trace { files: own.clone(), ..Trace::default() };
        before.files.extend(self.left());
        let start = self.start_of(command);
        let inside = self.inside(command);
        let mut trace = shell::run(command.argv, &start, &inside, Some(&before), limit);
        trace.files.retain(|path, content| own.get(path) != Some(content));
        trace
    }

    /// Runs a line of a shell at a terminal, and tells whether it has left the shell.
    pub fn line(
        &self,
        line: &str,
        memory: &Memory,
        command: &Started<'_>,
        limit: Duration,
    ) -> (Trace, Memory, bool) {
        let start = self.start_of(command);
        shell::run_line(line, &start, &self.inside(command), memory, limit)
    }

    /// Returns what a shell at a terminal remembers before its first line.
    pub fn memory(&self, started: Timestamp, now: Timestamp) -> Memory {
        let own = if self.is_at_shell() { Files::new() } else { self.trace(started, now).files };
        let mut files = own;
        files.extend(self.left());
        Memory::new(&self.start(now), files)
    }

    /// Keeps what a command has changed.
    pub fn leave_all(&self, files: Files) {
        self.record().leave(files);
    }

    /// Tells whether commands run as root.
    pub fn is_root(&self) -> bool {
        self.identity().0 == 0
    }

    /// Keeps what a shell at a terminal has changed.
    pub fn leave(&self, started: Timestamp, now: Timestamp, files: &Files) {
        let own = self.trace(started, now).files;
        let mut files = files.clone();
        files.retain(|path, content| own.get(path) != Some(content));
        self.record().leave(files);
    }

    fn start_of(&self, command: &Started<'_>) -> Start {
        let (stdin_at, stdin) = match &command.stdin {
            Some((at, text)) => (*at, Some(text.clone())),
            None => (Duration::ZERO, None),
        };
        let waits = command.waits && stdin.is_none();
        Start { stdin, stdin_at, waits, tty: command.tty, ..self.start(command.begun) }
    }

    /// Tells whether the image's shell is one of GNU's world.
    pub fn is_gnu(&self) -> bool {
        self.image().is_some_and(|image| image.is_gnu(&self.tag()))
    }

    fn inside<'a>(&'a self, command: &Started<'a>) -> Inside<'a> {
        Inside { process: self, record: command.record.clone(), passed: command.passed, asked_for: true }
    }

    fn network(&self) -> Network<'_> {
        Network { store: self.store, machine: self.machine, history: self.history, pod: self.pod }
    }

    fn service(&self, listens: &[u16]) -> Trace {
        Trace {
            listens: listens.to_vec(),
            on_term: Some(self.image_term()),
            settled: true,
            ..Trace::default()
        }
    }

    fn image_term(&self) -> OnTerm {
        match self.image().and_then(|image| image.term.as_deref()) {
            Some("ignore") => OnTerm::Ignore,
            Some(code) => OnTerm::Exit(code.parse().unwrap_or_default()),
            None => OnTerm::Ignore,
        }
    }

    /// Tells what SIGTERM does to the container: tools as process 1 ignore it, services end.
    pub fn on_term(&self, trace: &Trace) -> OnTerm {
        trace.on_term.unwrap_or_else(|| {
            let (argv, own) = self.argv(&self.env());
            let base = argv.first().and_then(|first| first.rsplit('/').next()).unwrap_or_default();
            if own || !shell::is_tool(base) { self.image_term() } else { OnTerm::Ignore }
        })
    }

    /// Tells whether something answers on a port; images that nobody knows are taken at their Pod's word.
    pub fn listens(&self, trace: &Trace, port: u16) -> bool {
        let declared = meta::items(&self.container["ports"])
            .any(|p| p["containerPort"].as_u64() == Some(u64::from(port)));
        trace.listens.contains(&port)
            || match self.runs() {
                Runs::Tool => false,
                Runs::Service => declared && trace.listens.is_empty(),
                Runs::Unknown => true,
            }
    }

    /// Returns the mount that a path is in: the volume and the path within it.
    fn mounted(&self, path: &str) -> Option<(&Value, &Value, String)> {
        let within = |mount: &str| {
            let mount = mount.trim_end_matches('/');
            let rest = path.strip_prefix(mount)?;
            (rest.is_empty() || rest.starts_with('/')).then(|| rest.trim_start_matches('/').to_owned())
        };
        let (mount, rest) = meta::items(&self.container["volumeMounts"])
            .filter_map(|mount| Some((mount, within(mount["mountPath"].as_str()?)?)))
            .max_by_key(|(mount, _)| mount["mountPath"].as_str().map(str::len))?;
        let volume =
            meta::items(&self.pod["spec"]["volumes"]).find(|volume| volume["name"] == mount["name"])?;
        let sub = mount["subPath"].as_str().unwrap_or_default();
        let inner =
            [sub, rest.as_str()].iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>().join("/");
        Some((mount, volume, inner))
    }
}

impl Host for Process<'_> {
    fn read(&self, path: &str) -> Option<String> {
        if let Some((_, volume, inner)) = self.mounted(path) {
            if let Some(folder) = volume["hostPath"]["path"].as_str() {
                let node = self.pod["spec"]["nodeName"].as_str().unwrap_or_default();
                return self.machine.read(node, format!("{folder}/{inner}").trim_end_matches('/'));
            }
            let inner = inner.trim_start_matches("..data/");
            let sources =
                meta::items(&volume["projected"]["sources"]).map(|source| &source["serviceAccountToken"]);
            if let Some(token) = sources.into_iter().find(|token| token["path"] == inner) {
                return self.token(token);
            }
            let files = volumes::content(self.store, self.pod, volume).ok()?;
            return files.get(inner).cloned();
        }
        match path {
            "/etc/hostname" => Some(format!("{}\n", self.hostname())),
            "/etc/passwd" => {
                let (id, name, group) = self.identity();
                let own = match id {
                    0 | 65534 => String::new(),
                    _ if name.is_empty() => String::new(),
                    id => format!("{name}:x:{id}:{group}:{name}:/home/{name}:/sbin/nologin\n"),
                };
                Some(format!(
                    "root:x:0:0:root:/root:/bin/sh\n{own}nobody:x:65534:65534:nobody:/home:/bin/false\n"
                ))
            }
            "/etc/shadow" => Some("root:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n".to_owned()),
            "/etc/os-release" => {
                let name = if self.tag().contains("alpine") || self.image_name().contains("alpine") {
                    "NAME=\"Alpine Linux\"\nID=alpine\n"
                } else if self.image().is_some_and(|image| image.is_gnu(&self.tag())) {
                    "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n"
                } else {
                    return None;
                };
                Some(name.to_owned())
            }
            "/proc/1/cmdline" => Some(self.words().join("\0") + "\0"),
            "/proc/self/status" | "/proc/1/status" => Some(self.status_file()),
            "/etc/group" => Some("root:x:0:\nnobody:x:65534:\n".to_owned()),
            "/etc/resolv.conf" => Some(dns::Resolvers::of(self.pod).file()),
            "/etc/hosts" => Some(dns::hosts_file(self.pod, &self.hostname())),
            _ => None,
        }
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        if let Some((_, volume, inner)) = self.mounted(path) {
            if volume["hostPath"].is_object()
                || volume["emptyDir"].is_object()
                || volume["persistentVolumeClaim"].is_object()
            {
                return Some(Vec::new());
            }
            let files = volumes::content(self.store, self.pod, volume).ok()?;
            let prefix = if inner.is_empty() { String::new() } else { format!("{inner}/") };
            let mut names: Vec<String> = files
                .keys()
                .filter_map(|file| file.strip_prefix(&prefix))
                .map(|rest| rest.split('/').next().unwrap_or_default().to_owned())
                .collect();
            names.dedup();
            return if names.is_empty() && !inner.is_empty() { None } else { Some(names) };
        }
        let names: &[&str] = match path {
            "/" => &["bin", "dev", "etc", "home", "lib", "proc", "root", "sys", "tmp", "usr", "var"],
            "/etc" => &["group", "hostname", "hosts", "passwd", "resolv.conf", "shadow"],
            "/var" => &["run"],
            "/var/run" => &["secrets"],
            "/usr" => &["bin", "lib", "local", "sbin"],
            "/bin" | "/dev" | "/home" | "/lib" | "/proc" | "/root" | "/sys" | "/tmp" | "/usr/bin"
            | "/usr/local" | "/usr/local/bin" | "/usr/sbin" | "/usr/lib" | "/var/log" | "/var/lib"
            | "/var/cache" | "/opt" | "/mnt" => &[],
            _ => return None,
        };
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn refuses(&self, path: &str) -> Option<&'static str> {
        const READ_ONLY: Option<&str> = Some("Read-only file system");
        const DENIED: Option<&str> = Some("Permission denied");
        let user = self.identity().0;
        if let Some((mount, volume, _)) = self.mounted(path) {
            let fixed = ["secret", "configMap", "projected", "downwardAPI"];
            if mount["readOnly"] == true || fixed.iter().any(|kind| volume[*kind].is_object()) {
                return READ_ONLY;
            }
            let owned = volume["hostPath"].is_object();
            return if owned && user != 0 { DENIED } else { None };
        }
        let own = &self.container["securityContext"];
        let below = |folder: &str| {
            path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if (below("/sys") || below("/proc/sys")) && own["privileged"] != true {
            return READ_ONLY;
        }
        if below("/dev") || below("/proc") {
            return None;
        }
        if own["readOnlyRootFilesystem"] == true && path != "/etc/hosts" {
            return READ_ONLY;
        }
        if user == 0 || below("/tmp") || below("/var/tmp") || below("/run/lock") {
            return None;
        }
        let image = self.image();
        let home = image
            .map(|image| image.user.split(':').next().unwrap_or_default())
            .filter(|name| !name.is_empty());
        if home.is_some_and(|name| below(&format!("/home/{name}"))) {
            return None;
        }
        let known = self.runs() != Runs::Unknown;
        let top = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let at_top = !path.trim_start_matches('/').contains('/');
        let roots = matches!(top, "bin" | "boot" | "etc" | "lib" | "root" | "sbin" | "usr");
        let others = matches!(top, "home" | "media" | "mnt" | "opt" | "run" | "srv" | "var");
        if roots || at_top || (known && others) { DENIED } else { None }
    }

    fn hides(&self, path: &str) -> bool {
        if self.identity().0 == 0 {
            return false;
        }
        let (mode, _, group) = self.facts(path);
        let member = group != 0 && self.start(Timestamp::UNIX_EPOCH).groups.contains(&group);
        mode & 0o004 == 0 && !(member && mode & 0o040 != 0)
    }

    fn facts(&self, path: &str) -> (u32, u32, u32) {
        let folder = self.list(path).is_some();
        let group =
            self.pod["spec"]["securityContext"]["fsGroup"].as_u64().and_then(|id| u32::try_from(id).ok());
        if let Some((_, volume, inner)) = self.mounted(path) {
            if volume["emptyDir"].is_object() || volume["persistentVolumeClaim"].is_object() {
                return (if folder { 0o777 } else { 0o644 }, 0, group.unwrap_or_default());
            }
            let token = meta::items(&volume["projected"]["sources"])
                .any(|source| source["serviceAccountToken"]["path"] == inner.as_str());
            let mode = ["secret", "configMap", "projected", "downwardAPI"]
                .iter()
                .find_map(|kind| volume[*kind]["defaultMode"].as_u64())
                .and_then(|mode| u32::try_from(mode).ok());
            return match (folder, group) {
                (true, Some(group)) => (0o777, 0, group),
                (true, None) => (0o777, 0, 0),
                // The token of a Pod is its own user's to read, whoever that is.
                (false, Some(group)) => (mode.unwrap_or(0o644) | 0o040, 0, group),
                (false, None) if token => (0o644, 0, 0),
                (false, None) => (mode.unwrap_or(0o644), 0, 0),
            };
        }
        match path {
            "/tmp" | "/var/tmp" => (0o1777, 0, 0),
            "/root" => (0o700, 0, 0),
            "/etc/shadow" => (0o640, 0, 42),
            _ if path.starts_with("/root/") => (0o600, 0, 0),
            _ => (if folder { 0o755 } else { 0o644 }, 0, 0),
        }
    }

    fn lacks(&self, program: &str) -> bool {
        self.image().is_some_and(|image| image.lacks(&self.tag(), program))
    }

    fn first_process(&self) -> String {
        self.words().join(" ")
    }

    fn mounts(&self) -> String {
        let root = self.container["securityContext"]["readOnlyRootFilesystem"] == true;
        let way = |read_only: bool| if read_only { "ro" } else { "rw" };
        let mut text = format!(
            "overlay on / type overlay ({},relatime)\nproc on /proc type proc (rw,nosuid,nodev,noexec,relatime)\ntmpfs on /dev \
             type tmpfs (rw,nosuid,size=65536k,mode=755)\nsysfs on /sys type sysfs (ro,nosuid,nodev,noexec,relatime)\n",
            way(root)
        );
        for mount in meta::items(&self.container["volumeMounts"]) {
            let path = mount["mountPath"].as_str().unwrap_or_default();
            let read_only = self.refuses(path) == Some("Read-only file system");
            let volume =
                meta::items(&self.pod["spec"]["volumes"]).find(|volume| volume["name"] == mount["name"]);
            let memory = volume.is_some_and(|volume| {
                ["secret", "projected"].iter().any(|kind| volume[*kind].is_object())
                    || volume["emptyDir"]["medium"] == "Memory"
            });
            let kind = if memory { ("tmpfs", "tmpfs") } else { ("/dev/sda1", "ext4") };
            text.push_str(&format!("{} on {path} type {} ({},relatime)\n", kind.0, kind.1, way(read_only)));
        }
        text
    }

    fn is_service(&self, program: &str) -> bool {
        let base = program.rsplit('/').next().unwrap_or_default();
        let absent =
            ["nosuch", "no-such", "nonexistent", "doesnotexist"].iter().any(|word| base.contains(word));
        self.is_own(base)
            || (self.runs() != Runs::Tool && !absent && !shell::is_tool(base))
            || (self.runs() == Runs::Tool && is_installed(&self.image_name(), base))
    }
}

/// Programs of general images that are more than BusyBox has.
fn is_installed(image: &str, program: &str) -> bool {
    let has = |name: &str| image.contains(name);
    match program {
        "apt" | "apt-get" | "dpkg" | "perl" => has("ubuntu") || has("debian"),
        "apk" => has("alpine"),
        "python" | "python3" | "pip" => has("python"),
        "node" | "npm" => has("node"),
        "go" => has("golang"),
        "kubectl" => has("kubectl"),
        "hello" => has("hello-world"),
        _ => false,
    }
}

impl Process<'_> {
    /// Returns the token of the Pod's service account that a volume asks for.
    fn token(&self, wanted: &Value) -> Option<String> {
        const ACCOUNTS: GroupResource = GroupResource::of("", "serviceaccounts");
        let api = self.api?;
        let (namespace, spec) = (meta::namespace(self.pod), &self.pod["spec"]);
        let account =
            spec["serviceAccountName"].as_str().filter(|name| !name.is_empty()).unwrap_or("default");
        let audience =
            wanted["audience"].as_str().filter(|audience| !audience.is_empty()).unwrap_or(AUDIENCE);
        let asked = wanted["expirationSeconds"].as_i64().unwrap_or(3600);
        let path = wanted["path"].as_str().unwrap_or_default();
        let key = format!("{}/{account}/{audience}/{path}", meta::uid(self.pod));
        let lasts = Duration::from_secs(u64::try_from(asked).unwrap_or_default());
        self.history.token(&key, lasts, || {
            let uid = self.store.get(&ACCOUNTS, namespace, account)?.uid().to_owned();
            let node = spec["nodeName"].as_str().unwrap_or_default();
            let node_uid = meta::uid(self.node);
            // Such a token is good for a year, for clients that read it once, and renewed long before.
            let extended = asked == 3607 && audience == AUDIENCE;
            api.authenticator()
                .issue(&TokenSpec {
                    namespace,
                    account,
                    account_uid: &uid,
                    audiences: vec![audience.to_owned()],
                    seconds: if extended { 365 * 24 * 3600 } else { asked },
                    warn_after: extended.then_some(asked),
                    bound: Some(("pod", meta::name(self.pod), meta::uid(self.pod))),
                    node: (!node.is_empty()).then_some((node, node_uid)),
                })
                .ok()
        })
    }

    /// Returns what `/proc/self/status` says of the process, as far as security is concerned.
    fn status_file(&self) -> String {
        let (user, ..) = self.identity();
        let own = &self.container["securityContext"];
        let privileged = own["privileged"] == true;
        let named = |list: &str| -> Vec<&str> {
            meta::items(&own["capabilities"][list]).filter_map(Value::as_str).collect()
        };
        let (add, drop) = (named("add"), named("drop"));
        let mut set: u64 = if privileged || add.contains(&"ALL") {
            (1 << CAPABILITIES.len()) - 1
        } else if drop.contains(&"ALL") {
            0
        } else {
            USUAL.iter().filter_map(|name| bit(name)).sum()
        };
        set = add.iter().filter_map(|name| bit(name)).fold(set, |set, bit| set | bit);
        if !privileged {
            set = drop.iter().filter_map(|name| bit(name)).fold(set, |set, bit| set & !bit);
        }
        let effective = if user == 0 { set } else { 0 };
        let no_new = u8::from(own["allowPrivilegeEscalation"] == false);
        let of_pod = &self.pod["spec"]["securityContext"]["seccompProfile"];
        let profile = if own["seccompProfile"].is_null() { of_pod } else { &own["seccompProfile"] };
        let filtered = !privileged && !profile.is_null() && profile["type"] != "Unconfined";
        format!(
            "Name:\tcat\nUid:\t{user}\t{user}\t{user}\t{user}\nCapInh:\t0000000000000000\nCapPrm:\t{effective:016x}\nCapEff:\t\
             {effective:016x}\nCapBnd:\t{set:016x}\nCapAmb:\t0000000000000000\nNoNewPrivs:\t{no_new}\nSeccomp:\t{}\n",
            if filtered { 2 } else { 0 }
        )
    }
}

/// The capabilities by their numbers.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Those that containers have unless somebody says otherwise.
const USUAL: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

fn bit(name: &str) -> Option<u64> {
    let name = name.strip_prefix("CAP_").unwrap_or(name);
    CAPABILITIES.iter().position(|known| *known == name).map(|at| 1 << at)
}

impl Host for Inside<'_> {
    fn read(&self, path: &str) -> Option<String> {
        self.process.read(path)
    }

    fn list(&self, path: &str) -> Option<Vec<String>> {
        self.process.list(path)
    }

    fn refuses(&self, path: &str) -> Option<&'static str> {
        self.process.refuses(path)
    }

    fn hides(&self, path: &str) -> bool {
        self.process.hides(path)
    }

    fn facts(&self, path: &str) -> (u32, u32, u32) {
        self.process.facts(path)
    }

    fn lacks(&self, program: &str) -> bool {
        self.process.lacks(program)
    }

    fn is_service(&self, program: &str) -> bool {
        self.process.is_service(program)
    }

    fn first_process(&self) -> String {
        self.process.first_process()
    }

    fn mounts(&self) -> String {
        self.process.mounts()
    }

    fn ask(&self, number: usize, at: Duration, ask: &Ask) -> Told {
        if let Some(told) = self.record.known(number, ask) {
            return told;
        }
        // What will be then nobody knows yet.
        if at > self.passed || !self.process.asks {
            return Told::Later;
        }
        self.record.answer(number, ask, || match self.process.network().answer(ask) {
            Answer::Told(told) => told,
            Answer::Api => {
                if let (Some(api), false) = (self.process.api, self.asked_for)
                    && !self.record.is_asking()
                {
                    let (api, record, ask) = (api.clone(), self.record.clone(), ask.clone());
                    tokio::spawn(async move {
                        let told = super::connections::request(&api, &ask).await;
                        record.keep(number, &ask, told);
                        record.has_asked();
                    });
                }
                Told::Later
            }
        })
    }
}
