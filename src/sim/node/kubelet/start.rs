//! Starting containers: image, configuration, creation, start, and what is said when one of them fails.

use std::time::Duration;

use serde_json::Value;

use super::pod::{Round, after};
use super::runtime::{Ended, Part, State};
use crate::sim::events::Severity::{Normal, Warning};
use crate::sim::image::ImageName;
use crate::sim::meta;
use crate::sim::node::{environment, images};

/// How long a container must run to be seen running: kubelets look at their runtime from time to time.
const UNSEEN: Duration = Duration::from_millis(300);

impl Round<'_> {
    /// Brings one container on: starts it, waits for its time, or leaves it ended.
    pub fn keep(&mut self, index: usize) {
        let now = self.now;
        let container = &self.runtime.containers[index];
        if let Some(at) = container.starting {
            if at <= now {
                self.started(index);
            } else {
                self.wake_at(at);
            }
            return;
        }
        match &container.state {
            State::Running { .. } => return,
            State::Ended(ended) if !self.restarts(index, ended.code) => return,
            State::Ended(_) if container.next.is_none() => {
                let ended = container.ended().cloned();
                if let Some(ended) = ended {
                    self.crashed(index, &ended);
                }
            }
            _ => {}
        }
        let container = &self.runtime.containers[index];
        match (container.next, container.shown_until) {
            (Some(next), Some(shown)) if now < next && shown <= now => {
                self.back_off(index);
                self.wake_at(next);
            }
            (Some(next), shown) if now < next => self.wake_at(shown.map_or(next, |shown| shown.min(next))),
            _ => {
                self.attempt(index);
                let container = &self.runtime.containers[index];
                if container.replaced && container.ended().is_some() && container.starting.is_some() {
                    self.started(index);
                }
            }
        }
    }

    /// Tells whether a container that ended so is started again.
    fn restarts(&self, index: usize, code: i64) -> bool {
        let policy = self.pod["spec"]["restartPolicy"].as_str().unwrap_or("Always");
        match self.runtime.containers[index].part {
            Part::Ephemeral => false,
            Part::Sidecar => true,
            Part::Init => code != 0 && policy != "Never",
            Part::App => policy == "Always" || (policy == "OnFailure" && code != 0),
        }
    }

    /// Shows that the next attempt is some time away.
    fn back_off(&mut self, index: usize) {
        self.runtime.containers[index].shown_until = None;
        let container = &self.runtime.containers[index];
        let name = container.name().to_owned();
        if let State::Waiting { reason, message } = &container.state
            && reason == "ErrImagePull"
        {
            let image = container.spec["image"].as_str().unwrap_or_default();
            let text = format!("Back-off pulling image {image:?}");
            let shown = format!("{text}: ErrImagePull: {message}");
            self.event(index, Normal, "BackOff", text);
            self.event(index, Warning, "Failed", "Error: ImagePullBackOff");
            self.runtime.containers[index].wait("ImagePullBackOff", shown);
            return;
        }
        let delay = go_duration(self.crash_delay(index) * self.kubelet.timings.haste.max(1));
        let text = format!("Back-off restarting failed container {name} in pod {}", self.full_name());
        self.event(index, Warning, "BackOff", text);
        let shown = format!("back-off {delay} restarting failed container={name} pod={}", self.full_name());
        let container = &mut self.runtime.containers[index];
        if let State::Ended(ended) = &container.state {
            container.last = Some(ended.clone());
        }
        container.wait("CrashLoopBackOff", shown);
    }

    fn crash_delay(&self, index: usize) -> Duration {
        let timings = &self.kubelet.timings;
        match self.runtime.containers[index].crashes {
            0 | 1 => Duration::ZERO,
            crashes => timings.back_off.saturating_mul(1 << (crashes - 2).min(16)).min(timings.back_off_most),
        }
    }

    /// Counts a crash and sets when it is tried again.
    pub fn crashed(&mut self, index: usize, ended: &Ended) {
        let finished = ended.finished.unwrap_or(self.now);
        let ran_well = ended.started.is_some_and(|started| {
            finished.duration_since(started).unsigned_abs()
                > self.kubelet.timings.back_off_most.saturating_mul(2)
                && started.as_second() > 0
        });
        let container = &mut self.runtime.containers[index];
        container.crashes = if ran_well { 1 } else { container.crashes + 1 };
        let delay = self.crash_delay(index);
        let shown = after(self.now, self.kubelet.timings.shown);
        let container = &mut self.runtime.containers[index];
        container.next = Some(after(finished, delay));
        container.shown_until = Some(shown);
        if !container.replaced {
            return;
        }
        // For what the kubelet ended itself the back-off counts from the end before that, and its own is not shown.
        container.shown_until = Some(self.now);
        let before = container.last.as_ref().map(|last| last.finished.unwrap_or(finished));
        if before.is_none() {
            container.crashes -= 1;
        }
        if before.is_none_or(|before| finished.duration_since(before).unsigned_abs() >= delay) {
            container.next = Some(finished);
        }
    }

    fn attempt(&mut self, index: usize) {
        let image = self.runtime.containers[index].spec["image"].as_str().unwrap_or_default().to_owned();
        let latency = match self.fetch_image(index, &image) {
            Some(latency) => latency,
            None => return,
        };
        if let Err(why) = self.check_config(index) {
            return self.not_created(index, "CreateContainerConfigError", why);
        }
        if let Err(why) = self.check_creation(index) {
            return self.not_created(index, "CreateContainerError", why);
        }
        let name = self.runtime.containers[index].name().to_owned();
        self.event(index, Normal, "Created", format!("Created container: {name}"));
        if let Err(why) = self.process(index).check_command() {
            self.event(index, Warning, "Failed", format!("Error: {why}"));
            return self.start_failed(index, "RunContainerError", "StartError", 128, why);
        }
        let at = after(self.now, latency + self.kubelet.timings.start);
        self.runtime.containers[index].starting = Some(at);
        self.wake_at(at);
    }

    fn not_created(&mut self, index: usize, reason: &str, why: String) {
        self.event(index, Warning, "Failed", format!("Error: {why}"));
        self.retry_later(index, reason, why);
    }

    fn retry_later(&mut self, index: usize, reason: &str, message: String) {
        let next = after(self.now, self.kubelet.timings.retry);
        self.runtime.containers[index].wait(reason, message);
        self.runtime.containers[index].next = Some(next);
        self.wake_at(next);
    }

    /// A container that could not be started, or did not survive its start, has crashed.
    fn start_failed(&mut self, index: usize, shown: &str, reason: &str, code: i64, message: String) {
        self.begin_again(index);
        let started = if code == 128 { jiff::Timestamp::UNIX_EPOCH } else { self.now };
        let id = self.new_id(index);
        let container = &mut self.runtime.containers[index];
        let ended = Ended {
            code,
            reason: reason.to_owned(),
            message: message.clone(),
            started: Some(started),
            finished: Some(self.now),
            id: id.clone(),
        };
        container.id = id;
        container.state = State::Ended(ended.clone());
        if !self.restarts(index, code) {
            return;
        }
        self.crashed(index, &ended);
        let container = &mut self.runtime.containers[index];
        container.last = Some(ended);
        container.wait(shown, message);
        let next = container.next.unwrap_or(self.now).max(after(self.now, Duration::from_millis(5)));
        container.next = Some(next);
        let wake = container.shown_until.map_or(next, |shown| shown.min(next));
        self.wake_at(wake);
    }

    /// Counts a restart, when this is one.
    fn begin_again(&mut self, index: usize) {
        let container = &mut self.runtime.containers[index];
        if let State::Ended(ended) = &container.state {
            container.last = Some(ended.clone());
        }
        if container.last.is_some() {
            container.restarts += 1;
        }
        container.starting = None;
        container.next = None;
        container.shown_until = None;
        container.failed_pulls = 0;
        container.ends = None;
        container.look = None;
        container.stopping = None;
        container.replaced = false;
        container.probes.clear();
    }

    fn new_id(&self, index: usize) -> String {
        let container = &self.runtime.containers[index];
        let seed = format!("{}/{}/{}", self.runtime.uid, container.name(), container.restarts);
        let digest = ring::digest::digest(&ring::digest::SHA256, seed.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn started(&mut self, index: usize) {
        self.begin_again(index);
        let id = self.new_id(index);
        let now = self.now;
        let container = &mut self.runtime.containers[index];
        container.id = id;
        container.state = State::Running { since: now };
        let name = container.name().to_owned();
        self.event(index, Normal, "Started", format!("Started container {name}"));
        if !self.post_start(index) {
            self.event(index, Warning, "FailedPostStartHook", "PostStartHook failed");
            self.event(index, Normal, "Killing", "FailedPostStartHook");
            // The start has been counted; what follows is its end.
            let id = self.runtime.containers[index].id.clone();
            let ended = Ended {
                code: 137,
                reason: "Error".to_owned(),
                message: String::new(),
                started: Some(now),
                finished: Some(now),
                id,
            };
            self.runtime.containers[index].state = State::Ended(ended.clone());
            if self.restarts(index, 137) {
                self.crashed(index, &ended);
                let container = &mut self.runtime.containers[index];
                container.last = Some(ended);
                container.wait("PostStartHookError", "PostStartHook failed");
                let wake = container.next.unwrap_or(now).max(after(now, Duration::from_millis(5)));
                self.wake_at(wake);
            }
            return;
        }
        // What ends at once is never seen running.
        self.settle(index);
        if let Some((at, ended)) = self.runtime.containers[index].ends.clone()
            && at <= after(now, UNSEEN)
        {
            self.end(index, ended);
        }
        self.wake_at(after(now, Duration::from_millis(1)));
    }

    fn post_start(&self, index: usize) -> bool {
        let hook = &self.runtime.containers[index].spec["lifecycle"]["postStart"];
        self.hook_succeeds(index, hook)
    }

    /// Runs a lifecycle hook; a missing one succeeds.
    pub fn hook_succeeds(&self, index: usize, hook: &Value) -> bool {
        let State::Running { since } = self.runtime.containers[index].state else { return true };
        let process = self.process(index);
        let argv: Vec<String> =
            meta::items(&hook["exec"]["command"]).filter_map(Value::as_str).map(str::to_owned).collect();
        if let Some(program) = argv.first() {
            if process.exec_error(program).is_some() {
                return false;
            }
            let limit = Duration::from_secs(60);
            return process.exec(&argv, since, self.now, limit).ending.is_none_or(|ending| ending.code == 0);
        }
        if !hook["httpGet"].is_null() {
            return self.probe_http(index, &hook["httpGet"]).is_ok();
        }
        true
    }

    /// Sees to the image; tells how long that takes, or nothing when there is none.
    fn fetch_image(&mut self, index: usize, image: &str) -> Option<Duration> {
        let Some(name) = ImageName::parse(image) else {
            let lower = image.split([':', '@']).next().unwrap_or_default();
            let why = if lower.chars().any(|c| c.is_ascii_uppercase()) {
                let path = if lower.contains('/') { lower.to_owned() } else { format!("library/{lower}") };
                format!("invalid reference format: repository name ({path}) must be lowercase")
            } else {
                "invalid reference format".to_owned()
            };
            let text = format!(
                "Failed to apply default image tag {image:?}: couldn't parse image name {image:?}: {why}"
            );
            self.event(index, Warning, "InspectFailed", text.clone());
            self.event(index, Warning, "Failed", "Error: InvalidImageName");
            self.retry_later(index, "InvalidImageName", text);
            return None;
        };
        let whole = images::full_name(&name);
        let present = images::is_present(&name) || self.kubelet.lock().images.contains(&whole);
        let policy = self.runtime.containers[index].spec["imagePullPolicy"]
            .as_str()
            .unwrap_or("IfNotPresent")
            .to_owned();
        if policy == "Never" && !present {
            let text = format!("Container image {image:?} is not present with pull policy of Never");
            self.event(index, Warning, "ErrImageNeverPull", text.clone());
            self.event(index, Warning, "Failed", "Error: ErrImageNeverPull");
            self.retry_later(index, "ErrImageNeverPull", text);
            return None;
        }
        if present && policy != "Always" {
            self.event(
                index,
                Normal,
                "Pulled",
                format!("Container image {image:?} already present on machine"),
            );
            return Some(Duration::ZERO);
        }
        self.event(index, Normal, "Pulling", format!("Pulling image {image:?}"));
        if let Err(why) = images::pull(&name) {
            self.event(index, Warning, "Failed", format!("Failed to pull image {image:?}: {why}"));
            self.event(index, Warning, "Failed", "Error: ErrImagePull");
            let timings = &self.kubelet.timings;
            let failed = self.runtime.containers[index].failed_pulls;
            let delay = timings.back_off.saturating_mul(1 << failed.min(16)).min(timings.back_off_most);
            let (shown, next) = (after(self.now, timings.shown), after(self.now, delay));
            let container = &mut self.runtime.containers[index];
            container.failed_pulls += 1;
            container.wait("ErrImagePull", why);
            container.shown_until = Some(shown);
            container.next = Some(next);
            self.wake_at(shown.min(next));
            return None;
        }
        let latency = self.kubelet.timings.pull;
        self.kubelet.lock().images.insert(whole.clone());
        let took = format!("{}ms", latency.as_millis());
        let size =
            20_000_000 + whole.bytes().fold(0_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 150_000_000);
        let text = format!(
            "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {size} bytes."
        );
        self.event(index, Normal, "Pulled", text);
        Some(latency)
    }

    fn check_config(&self, index: usize) -> Result<(), String> {
        let spec = &self.runtime.containers[index].spec;
        environment::compose(self.cx.store(), self.pod, spec, self.node)?;
        let of = |field: &str| {
            let own = &spec["securityContext"][field];
            if own.is_null() { &self.pod["spec"]["securityContext"][field] } else { own }
        };
        if of("runAsNonRoot") != true {
            return Ok(());
        }
        let about =
            format!("(pod: {:?}, container: {})", self.full_name(), self.runtime.containers[index].name());
        match of("runAsUser").as_i64() {
            Some(0) => return Err(format!("container's runAsUser breaks non-root policy {about}")),
            Some(_) => return Ok(()),
            None => {}
        }
        let process = self.process(index);
        match process.user() {
            Some(0) => Err(format!("container has runAsNonRoot and image will run as root {about}")),
            Some(_) => Ok(()),
            None => {
                let user =
                    process.image().map_or("", |image| image.user.split(':').next().unwrap_or_default());
                Err(format!(
                    "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root {about}"
                ))
            }
        }
    }

    fn check_creation(&self, index: usize) -> Result<(), String> {
        let spec = &self.runtime.containers[index].spec;
        let profile = |field: &str| {
            let own = &spec["securityContext"][field];
            if own.is_null() { &self.pod["spec"]["securityContext"][field] } else { own }
        };
        let node = &self.kubelet.node.name;
        let seccomp = profile("seccompProfile");
        if seccomp["type"] == "Localhost" {
            let path = format!(
                "/var/lib/kubelet/seccomp/{}",
                seccomp["localhostProfile"].as_str().unwrap_or_default()
            );
            let Some(text) = self.kubelet.machine.read(node, &path) else {
                return Err(format!(
                    "failed to create containerd container: cannot load seccomp profile {path:?}: open {path}: no such file \
                     or directory"
                ));
            };
            if serde_json::from_str::<Value>(&text).is_err() {
                let first = text.trim_start().chars().next();
                let why = match first {
                    None => "unexpected end of JSON input".to_owned(),
                    Some(c @ ('{' | '[' | '"')) => format!("invalid character after {c:?}").replace('"', "'"),
                    Some(c) => format!("invalid character '{c}' looking for beginning of value"),
                };
                return Err(format!(
                    "failed to create containerd container: decoding seccomp profile failed {path:?}: {why}"
                ));
            }
        }
        let apparmor = profile("appArmorProfile");
        if apparmor["type"] == "Localhost" {
            let wanted = apparmor["localhostProfile"].as_str().unwrap_or_default();
            let loaded = self.kubelet.machine.apparmor_profiles(node).unwrap_or_default();
            if !loaded.iter().any(|name| name == wanted) {
                return Err(format!(
                    "failed to get container spec opts: failed to generate apparmor spec opts: apparmor profile not found \
                     {wanted}"
                ));
            }
        }
        Ok(())
    }
}

/// Writes a duration as Go does: `10s`, `1m20s`, `5m0s`.
pub(super) fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, seconds) if duration.subsec_millis() == 0 => format!("{seconds}s"),
        (0, seconds) => {
            format!("{}s", format!("{seconds}.{:03}", duration.subsec_millis()).trim_end_matches('0'))
        }
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}
