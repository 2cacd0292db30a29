//! What a container runs: the image's entry point or what the Pod says instead, and how far it has come at a moment.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::images::{self, Image, Runs};
use super::shell::{self, Ending, Host, OnTerm, Start, Trace, Written};
use super::{Machine, environment, volumes};
use crate::sim::image::ImageName;
use crate::sim::meta;
use crate::sim::quantity::Quantity;
use crate::sim::store::Store;

/// A container with all that its process depends on.
pub(super) struct Process<'a> {
    pub store: &'a Store,
    pub machine: &'a dyn Machine,
    pub pod: &'a Value,
    pub container: &'a Value,
    pub node: &'a Value,
}

/// Why a process cannot be started.
const NOT_STARTED: &str = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc \
                           create failed: unable to start container process: ";

impl Process<'_> {
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

    fn hostname(&self) -> String {
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
        let user = self.user().unwrap_or_default();
        let group = context("runAsGroup").as_u64().unwrap_or_default();
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
        Start { env: self.env(), hostname: self.hostname(), user, groups, memory, at, stdin: None }
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
        let is_shell = matches!(base, "sh" | "bash" | "ash" | "dash" | "zsh");
        let has_shell = self.image().is_none_or(|image| image.shell);
        let known = shell::is_tool(base) || self.is_service(program);
        if program.contains('/') {
            if (known && (has_shell || !shell::is_tool(base)))
                || self.read(program).is_some_and(|text| text.starts_with("#!"))
            {
                return None;
            }
            if self.read(program).is_some() || self.list(program).is_some() {
                return Some(format!("exec: {program:?}: permission denied: unknown"));
            }
            return Some(format!("exec: {program:?}: stat {program}: no such file or directory: unknown"));
        }
        if !known || ((is_shell || shell::is_tool(base)) && !has_shell) {
            return Some(format!("exec: {program:?}: executable file not found in $PATH: unknown"));
        }
        None
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
            if let Some(folder) = image.writes.iter().find(|folder| self.is_read_only(folder)) {
                let text = format!(
                    "[emerg] 1#1: mkdir() \"{folder}/client_temp\" failed (30: Read-only file system)\n"
                );
                let output = vec![Written { at: Duration::ZERO, error: true, text }];
                let ending = Some(Ending { at: Duration::from_millis(10), code: 1, out_of_memory: false });
                return Trace { output, ending, ..Trace::default() };
            }
            self.service(&image.listens)
        } else {
            shell::run(&argv, &start, self, None, passed)
        };
        if trace.ending.is_none() && image.runs != Runs::Tool {
            trace.listens.extend(&image.listens);
        }
        trace
    }

    /// Runs another program in the container, as `exec` and probes do; `None` when it cannot be executed.
    pub fn exec(&self, argv: &[String], started: Timestamp, now: Timestamp, limit: Duration) -> Trace {
        let before = self.trace(started, now);
        shell::run(argv, &self.start(now), self, Some(&before), limit)
    }

    /// Runs another program over files that others have left in the container. What the trace says of files is then what
    /// differs from those of the container's own process.
    pub fn exec_over(
        &self,
        argv: &[String],
        (started, now): (Timestamp, Timestamp),
        left: &BTreeMap<String, Option<String>>,
        stdin: Option<String>,
        limit: Duration,
    ) -> Trace {
        let own = self.trace(started, now).files;
        let mut before = Trace { files: own.clone(), ..Trace::default() };
        before.files.extend(left.clone());
        let start = Start { stdin, ..self.start(now) };
        let mut trace = shell::run(argv, &start, self, Some(&before), limit);
        trace.files.retain(|path, content| own.get(path) != Some(content));
        trace
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
            let files = volumes::content(self.store, self.pod, volume).ok()?;
            return files.get(inner.trim_start_matches("..data/")).cloned();
        }
        match path {
            "/etc/hostname" => Some(format!("{}\n", self.hostname())),
            "/etc/passwd" => Some(
                "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n".to_owned(),
            ),
            "/etc/group" => Some("root:x:0:\nnobody:x:65534:\n".to_owned()),
            "/etc/resolv.conf" => Some(format!(
                "search {}.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n",
                meta::namespace(self.pod)
            )),
            "/etc/hosts" => Some(format!(
                "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost \
                 ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\t\
                 ip6-allrouters\n{}\t{}\n",
                self.pod["status"]["podIP"].as_str().unwrap_or_default(),
                self.hostname()
            )),
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
            "/etc" => &["group", "hostname", "hosts", "passwd", "resolv.conf"],
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

    fn is_read_only(&self, path: &str) -> bool {
        match self.mounted(path) {
            Some((mount, volume, _)) => {
                mount["readOnly"] == true
                    || ["secret", "configMap", "projected", "downwardAPI"]
                        .iter()
                        .any(|kind| volume[*kind].is_object())
            }
            None => {
                self.container["securityContext"]["readOnlyRootFilesystem"] == true
                    && !path.starts_with("/dev/")
                    && !path.starts_with("/proc/")
                    && path != "/etc/hosts"
            }
        }
    }

    fn program(&self, _argv: &[String], _stdin: &str) -> Option<(String, String, i32, Duration)> {
        None
    }

    fn is_service(&self, program: &str) -> bool {
        let base = program.rsplit('/').next().unwrap_or_default();
        let own = self.image().is_some_and(|image| {
            image.entrypoint.iter().chain(&image.command).any(|word| word.rsplit('/').next() == Some(base))
        });
        let absent =
            ["nosuch", "no-such", "nonexistent", "doesnotexist"].iter().any(|word| base.contains(word));
        own || (self.runs() != Runs::Tool && !absent && !shell::is_tool(base))
            || (self.runs() == Runs::Tool
                && is_installed(self.container["image"].as_str().unwrap_or_default(), base))
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
        "curl" => has("curl") || has("netshoot"),
        "kubectl" => has("kubectl"),
        "hello" => has("hello-world"),
        _ => false,
    }
}
