//! The cluster's own programs as containers of a node's static Pods: started once for each start of their container.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::{NodeHost, containers};
use crate::sim::flags::Program;
use crate::sim::meta;
use crate::sim::node::parts::{Course, Parts, Run, Starting};
use crate::sim::node::shell::{Ending, OnTerm, Trace, Written};
use crate::sim::object::Fields as _;
use crate::sim::pod_refs;

/// Returns the uid by which the kubelet knows a static Pod, by the Pod of its file or by that of the API.
pub(in crate::sim::node) fn static_uid(pod: &Value) -> Option<&str> {
    if pod_refs::is_mirror(pod) {
        return meta::annotation(pod, "kubernetes.io/config.hash");
    }
    // Those of the API have dashes in theirs.
    Some(meta::uid(pod)).filter(|uid| uid.len() == 32 && !uid.contains('-'))
}

/// Returns the program of the control plane that a container runs.
fn program_of(container: &Value) -> Option<(Program, Vec<String>)> {
    let command = containers::command_of(container);
    let program = Program::of(command.first()?).filter(|program| *program != Program::Kubelet)?;
    let image = container.text("image");
    let (repository, _) = containers::repository(image);
    (repository.rsplit('/').next() == Some(program.name())).then_some((program, command))
}

impl NodeHost {
    /// Says where the programs of the control plane take effect, and how much faster than in reality.
    pub(in crate::sim) fn set_parts(&self, parts: Arc<dyn Parts>, haste: u32) {
        // A second set is that of no other cluster.
        let _ = self.0.parts.set((parts, haste));
    }

    /// Tells what a program of the control plane does in a container; nothing for all other containers. The first who asks
    /// starts it.
    pub(super) fn course(&self, pod: &Value, container: &Value, started: Timestamp) -> Option<Trace> {
        let uid = static_uid(pod)?;
        let (program, command) = program_of(container)?;
        let name = container.text("name");
        let known = self.lock().courses.find(uid, name, started).cloned();
        let run = match known {
            Some(run) => run,
            None if pod_refs::is_mirror(pod) => return Some(Trace { settled: true, ..Trace::default() }),
            None => {
                let (parts, haste) = self.0.parts.get()?;
                let mounts = containers::mounts_of(pod, container);
                let starting = Starting {
                    host: self,
                    program,
                    arguments: &command[1..],
                    mounts: &mounts,
                    at: started,
                    haste: *haste,
                };
                let course = parts.start(&starting);
                let run = Run { started, course };
                self.lock().courses.keep(uid, name, run.clone());
                run
            }
        };
        Some(trace(&run.course, program))
    }

    /// Ends a program whose container was told to end.
    pub(super) fn halt_program(&self, pod: &Value, container: &Value) {
        if static_uid(pod).is_none() || pod_refs::is_mirror(pod) {
            return;
        }
        if let (Some((program, _)), Some((parts, _))) = (program_of(container), self.0.parts.get()) {
            parts.stop(program);
        }
    }

    /// Answers a probe of a program; nothing for other containers.
    pub(super) fn probe_program(
        &self,
        pod: &Value,
        container: &Value,
        path: &str,
    ) -> Option<Result<(), String>> {
        static_uid(pod)?;
        let (program, _) = program_of(container)?;
        let (parts, _) = self.0.parts.get()?;
        Some(parts.probe(program, path))
    }
}

fn trace(course: &Course, program: Program) -> Trace {
    let output = course
        .lines
        .iter()
        .map(|(at, line)| Written { at: *at, error: true, text: format!("{line}\n") })
        .collect();
    let ending = course.ends.map(|(at, code)| Ending { at, code, out_of_memory: false });
    // An API server takes all the time it is given to end its watches.
    let on_term = if program == Program::ApiServer { OnTerm::Ignore } else { OnTerm::Exit(0) };
    Trace { output, ending, on_term: Some(on_term), settled: true, ..Trace::default() }
}
