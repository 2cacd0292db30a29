//! The files of a container: image, volumes, the token of its Pod; who may read and write them.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Process, is_installed};
use crate::sim::authn::AUDIENCE;
use crate::sim::authn::tokens::TokenSpec;
use crate::sim::meta;
use crate::sim::node::images::Runs;
use crate::sim::node::network::dns;
use crate::sim::node::shell::{self, Host};
use crate::sim::node::volumes;
use crate::sim::resource::GroupResource;

impl Process<'_> {
    /// Returns the token of the Pod's service account that a volume asks for.
    fn token(&self, wanted: &Value) -> Option<String> {
        const ACCOUNTS: GroupResource = GroupResource::of("", "serviceaccounts");
        let (namespace, spec) = (meta::namespace(self.pod), &self.pod["spec"]);
        let account =
            spec["serviceAccountName"].as_str().filter(|name| !name.is_empty()).unwrap_or("default");
        let audience =
            wanted["audience"].as_str().filter(|audience| !audience.is_empty()).unwrap_or(AUDIENCE);
        let asked = wanted["expirationSeconds"].as_i64().unwrap_or(3600);
        let path = wanted["path"].as_str().unwrap_or_default();
        let key = format!("{}/{account}/{audience}/{path}", meta::uid(self.pod));
        // Who only looks on sees the one that was given.
        let Some(api) = self.api else { return self.history.last_token(&key) };
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
