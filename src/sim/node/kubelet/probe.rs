//! Probes: startup, liveness, readiness. One that has succeeded and cannot fail without a change is not repeated.

use std::time::Duration;

use serde_json::Value;

use super::pod::{Round, after};
use super::runtime::{Part, State};
use crate::sim::events::Severity::{Normal, Warning};
use crate::sim::meta;
use crate::sim::node::images::Runs;

/// What a probe found.
enum Outcome {
    /// Success, and whether that can change by itself.
    Success {
        lasting: bool,
    },
    Failure(String),
    /// It could not be carried out, which counts as neither.
    Unknown(String),
}

impl Round<'_> {
    pub fn probe_all(&mut self) {
        for index in 0..self.runtime.containers.len() {
            let container = &self.runtime.containers[index];
            if !matches!(container.part, Part::App | Part::Sidecar) || container.stopping.is_some() {
                continue;
            }
            for (kind, field) in
                [("startup", "startupProbe"), ("readiness", "readinessProbe"), ("liveness", "livenessProbe")]
            {
                let container = &self.runtime.containers[index];
                let started = kind == "startup" || container.is_started();
                if container.is_running() && started && !container.spec[field].is_null() {
                    self.probe(index, kind, field);
                }
            }
        }
    }

    fn probe(&mut self, index: usize, kind: &'static str, field: &str) {
        let State::Running { since } = self.runtime.containers[index].state else { return };
        let spec = self.runtime.containers[index].spec[field].clone();
        let seconds = |name: &str, default: i64| {
            Duration::from_secs(u64::try_from(meta::int(&spec[name], default)).unwrap_or_default())
                / self.kubelet.timings.haste.max(1)
        };
        let mut state = self.runtime.containers[index].probes.get(kind).cloned().unwrap_or_default();
        let due = match state.next {
            Some(at) => at,
            // It has succeeded for good, or succeeded before the kubelet restarted.
            None if state.outcome == Some(true) => return,
            None => after(since, seconds("initialDelaySeconds", 0)),
        };
        if self.now < due {
            self.wake_at(due);
            return;
        }
        let period =
            seconds("periodSeconds", 10).max(Duration::from_secs(1) / self.kubelet.timings.haste.max(1));
        let mut next = Some(after(self.now, period));
        let title = match kind {
            "startup" => "Startup",
            "readiness" => "Readiness",
            _ => "Liveness",
        };
        match self.outcome(index, &spec) {
            Outcome::Success { lasting } => {
                state.successes += 1;
                state.failures = 0;
                if state.successes >= meta::int(&spec["successThreshold"], 1) {
                    state.outcome = Some(true);
                    if lasting || kind == "startup" {
                        next = None;
                    }
                }
            }
            Outcome::Failure(why) => {
                state.failures += 1;
                state.successes = 0;
                self.event(index, Warning, "Unhealthy", format!("{title} probe failed: {why}"));
                if state.failures >= meta::int(&spec["failureThreshold"], 3) {
                    state.outcome = Some(false);
                }
            }
            Outcome::Unknown(why) => {
                let text = format!("{title} probe errored and resulted in unknown state: {why}");
                self.event(index, Warning, "Unhealthy", text);
            }
        }
        let failed = state.outcome == Some(false) && kind != "readiness";
        state.next = next;
        self.runtime.containers[index].probes.insert(kind, state);
        if failed {
            let name = self.runtime.containers[index].name();
            let text = format!("Container {name} failed {kind} probe, will be restarted");
            self.event(index, Normal, "Killing", text);
            let own = spec["terminationGracePeriodSeconds"].as_i64();
            let grace =
                own.unwrap_or_else(|| meta::int(&self.pod["spec"]["terminationGracePeriodSeconds"], 30));
            self.runtime.containers[index].replaced = true;
            self.stop(index, grace);
        } else if let Some(at) = next {
            self.wake_at(at);
        }
    }

    fn outcome(&self, index: usize, spec: &Value) -> Outcome {
        let process = self.process(index);
        let lasting = Outcome::Success { lasting: true };
        let argv: Vec<String> =
            meta::items(&spec["exec"]["command"]).filter_map(Value::as_str).map(str::to_owned).collect();
        if let Some(program) = argv.first() {
            if process.image().is_none_or(|image| image.runs == Runs::Unknown) {
                return lasting;
            }
            if let Some(why) = process.exec_error(program) {
                let id: String = crate::sim::random::uuid().replace('-', "").repeat(2);
                return Outcome::Unknown(format!(
                    "rpc error: code = Unknown desc = failed to exec in container: failed to start exec {id:?}: OCI runtime \
                     exec failed: exec failed: unable to start container process: {why}"
                ));
            }
            let State::Running { since } = self.runtime.containers[index].state else { return lasting };
            let limit =
                Duration::from_secs(u64::try_from(meta::int(&spec["timeoutSeconds"], 1)).unwrap_or(1).max(1));
            let trace = process.exec(&argv, since, self.now, limit);
            return match trace.ending {
                Some(ending) if ending.code == 0 => {
                    // A service's own tools say the same each time; a script's files may come and go.
                    Outcome::Success {
                        lasting: process.image().is_some_and(|image| image.runs == Runs::Service),
                    }
                }
                Some(_) => Outcome::Failure(trace.output.iter().map(|w| w.text.as_str()).collect()),
                None => Outcome::Failure(format!(
                    "command timed out: {:?} timed out after {}",
                    argv.join(" "),
                    super::start::go_duration(limit)
                )),
            };
        }
        let result = if !spec["httpGet"].is_null() {
            self.probe_http(index, &spec["httpGet"])
        } else if !spec["tcpSocket"].is_null() {
            let (host, port) = self.target(index, &spec["tcpSocket"]);
            if self.answers(index, port) {
                Ok(())
            } else {
                Err(format!("dial tcp {host}:{port}: connect: connection refused"))
            }
        } else if !spec["grpc"].is_null() {
            let (host, port) = self.target(index, &spec["grpc"]);
            let text = format!(
                "timeout: failed to connect service {:?} within 1s: context deadline exceeded",
                format!("{host}:{port}")
            );
            if self.answers(index, port) { Ok(()) } else { Err(text) }
        } else {
            Ok(())
        };
        result.map_or_else(Outcome::Failure, |()| lasting)
    }

    /// Asks a page of a container.
    ///
    /// # Errors
    /// Why it did not answer well.
    pub fn probe_http(&self, index: usize, action: &Value) -> Result<(), String> {
        let (host, port) = self.target(index, action);
        let path = action["path"].as_str().filter(|path| !path.is_empty()).unwrap_or("/");
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let scheme = action["scheme"].as_str().unwrap_or("HTTP").to_lowercase();
        let container = &self.runtime.containers[index].spec;
        if let Some(answer) = self.kubelet.machine.probe(self.pod, container, &path) {
            return answer;
        }
        if !self.answers(index, port) {
            return Err(format!(
                "Get \"{scheme}://{host}:{port}{path}\": dial tcp {host}:{port}: connect: connection refused"
            ));
        }
        let process = self.process(index);
        let pages = process.image().and_then(|image| image.pages.as_ref());
        let bare = path.split('?').next().unwrap_or_default();
        if pages.is_some_and(|pages| !pages.iter().any(|page| page == bare)) {
            return Err("HTTP probe failed with statuscode: 404".to_owned());
        }
        Ok(())
    }

    /// Returns host and port of an action; a named port is looked up.
    fn target(&self, index: usize, action: &Value) -> (String, u16) {
        let spec = &self.runtime.containers[index].spec;
        let port = match &action["port"] {
            Value::String(name) => meta::items(&spec["ports"])
                .find(|port| port["name"] == name.as_str())
                .and_then(|port| port["containerPort"].as_u64())
                .or_else(|| name.parse().ok()),
            number => number.as_u64(),
        };
        let host = action["host"].as_str().filter(|host| !host.is_empty()).or_else(|| self.runtime.address());
        (
            host.unwrap_or_default().to_owned(),
            port.and_then(|port| u16::try_from(port).ok()).unwrap_or_default(),
        )
    }

    /// Tells whether something in the Pod listens on a port: containers of a Pod share their network.
    fn answers(&self, _index: usize, port: u16) -> bool {
        (0..self.runtime.containers.len()).any(|other| {
            let State::Running { since } = self.runtime.containers[other].state else { return false };
            let process = self.process(other);
            process.listens(&process.trace(since, self.now), port)
        })
    }
}
