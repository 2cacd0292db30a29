//! What a container runs: the image's entry point or what the Pod says instead, and how far it has come at a moment.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::history::{Files, History, Record};
use super::images::{self, Image, Runs};
use super::network::{Answer, Network};
use super::shell::outside::{Ask, HttpRequest, Told};
use super::shell::{self, Ending, Host, Memory, OnTerm, Start, Trace, Written};
use super::{Machine, environment};
use crate::sim::api::Api;
use crate::sim::image::ImageName;
use crate::sim::meta;
use crate::sim::quantity::Quantity;
use crate::sim::store::Store;

mod capabilities;
mod files;

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
        if let Some(course) = self.machine.course(self.pod, self.container, started) {
            return course;
        }
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
