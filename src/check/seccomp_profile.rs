//! `seccompProfile`: what a system call gets under a profile: by name, arguments, architecture, and what the container may.

mod profile;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::profile::{Call, Outcome, Profile};
use super::api::Api;
use super::document::{self, Source};
use super::task_file::Content;
use super::{Check, CheckCx, CheckError, Finding, Verdict};
use crate::cluster::Capability;

/// Evaluates a seccomp profile (JSON, as container runtimes read it) on a table of system calls.
///
/// A rule without arguments decides over those with arguments; of these the first that matches. A rule that gives what
/// the default gives is none. What no rule is about gets the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SeccompProfile {
    /// Where the profile lies.
    pub source: Source,
    /// The system calls.
    pub requests: Vec<SyscallRow>,
    /// Who reads the profile.
    #[serde(default)]
    pub runtime: SeccompRuntime,
    /// The capabilities that the container has, for `includes` and `excludes`: `CAP_SYS_ADMIN`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// The kernel's version, for `minKernel`.
    #[serde(default = "kernel")]
    pub kernel: String,
}

/// System calls, and what each must get.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SyscallRow {
    /// The names of the calls.
    pub syscalls: Vec<String>,
    /// Arguments by their number, from 0; others are 0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub args: BTreeMap<u8, u64>,
    /// The architecture of the calling program; the machine's is `SCMP_ARCH_X86_64`.
    #[serde(default = "arch")]
    pub arch: String,
    /// What the calls must get.
    pub gets: SyscallEffect,
    /// The error number that they must get, with `gets: error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u32>,
}

/// What a system call gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SyscallEffect {
    /// It runs, and nobody is told.
    #[default]
    Allowed,
    /// It runs, and is logged.
    Logged,
    /// It does not run: an error, a signal, or the end of the program.
    Refused,
    /// It gives an error, and the program goes on.
    Error,
    /// The program or thread is killed.
    Killed,
    /// The program gets SIGSYS.
    Trapped,
    /// A tracer or a listener decides.
    Asked,
}

/// Who reads a profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum SeccompRuntime {
    /// containerd, as on most Kubernetes nodes, which knows neither `includes` and `excludes` nor `archMap`.
    #[default]
    Containerd,
    /// Docker and CRI-O, which do.
    Docker,
}

fn kernel() -> String {
    "6.1".to_owned()
}

fn arch() -> String {
    profile::NATIVE.to_owned()
}

/// How many findings are shown.
const SHOWN: usize = 10;

impl Check for SeccompProfile {
    fn needs(&self) -> &'static [Capability] {
        self.source.needs()
    }

    fn lint(&self, faults: &mut Vec<String>) {
        self.source.lint("source", faults);
        if self.requests.is_empty() {
            faults.push("requests: without system calls it cannot fail".to_owned());
        }
        if profile::version(&self.kernel).is_none() {
            faults.push("kernel: a version such as 6.1".to_owned());
        }
        for (index, row) in self.requests.iter().enumerate() {
            let at = format!("requests[{index}]");
            if row.syscalls.is_empty() || row.syscalls.iter().any(|name| name.trim().is_empty()) {
                faults.push(format!("{at}.syscalls: name the calls"));
            }
            if row.args.keys().any(|index| *index > 5) {
                faults.push(format!("{at}.args: a system call has six arguments, from 0 to 5"));
            }
            if !row.arch.starts_with("SCMP_ARCH_") {
                faults.push(format!("{at}.arch: an architecture such as SCMP_ARCH_X86"));
            }
            if row.errno.is_some() && row.gets != SyscallEffect::Error {
                faults.push(format!("{at}.errno: it goes with gets: error"));
            }
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let text = match self.source.read(&api, cx).await? {
            Content::Text(text) => text,
            Content::Unusable(finding) => return Ok(Verdict::Fail(vec![finding])),
        };
        let label = self.source.label();
        let profile: Profile = match document::json(&text) {
            Ok(profile) => profile,
            Err(fault) => return Ok(Verdict::Fail(vec![fault.finding(&label, "a seccomp profile")])),
        };
        let mut findings: Vec<Finding> = profile
            .faults()
            .into_iter()
            .map(|(path, fault)| Finding::new(&label, path, "what a runtime can read", fault))
            .collect();
        if !findings.is_empty() {
            return Ok(Verdict::Fail(findings));
        }
        for row in &self.requests {
            for name in &row.syscalls {
                let call = Call { name, args: &row.args, arch: &row.arch };
                let outcome = profile.of(&call, self);
                if !row.fits(&outcome) {
                    let args: Vec<String> =
                        row.args.iter().map(|(at, value)| format!("arg{at}={value}")).collect();
                    let arch = if row.arch == profile::NATIVE { "" } else { row.arch.as_str() };
                    let asked = format!("{name}({}) {arch}", args.join(", "));
                    findings.push(Finding::new(&label, asked.trim(), row.expected(), outcome.to_string()));
                }
            }
        }
        document::cap(&label, SHOWN, &mut findings);
        Ok(Verdict::of(findings))
    }
}

impl SyscallRow {
    fn fits(&self, outcome: &Outcome) -> bool {
        match self.gets {
            SyscallEffect::Error => {
                matches!(outcome, Outcome::Errno(errno) if *errno != 0 && self.errno.is_none_or(|wanted| wanted == *errno))
            }
            SyscallEffect::Refused => match outcome {
                Outcome::Errno(errno) => *errno != 0,
                Outcome::Killed | Outcome::Trapped => true,
                _ => false,
            },
            SyscallEffect::Allowed => *outcome == Outcome::Allowed,
            SyscallEffect::Logged => *outcome == Outcome::Logged,
            SyscallEffect::Killed => *outcome == Outcome::Killed,
            SyscallEffect::Trapped => *outcome == Outcome::Trapped,
            SyscallEffect::Asked => *outcome == Outcome::Asked,
        }
    }

    fn expected(&self) -> String {
        let word = match self.gets {
            SyscallEffect::Allowed => "allowed",
            SyscallEffect::Logged => "allowed and logged",
            SyscallEffect::Refused => "refused",
            SyscallEffect::Error => "an error",
            SyscallEffect::Killed => "killed",
            SyscallEffect::Trapped => "SIGSYS",
            SyscallEffect::Asked => "somebody else decides",
        };
        match self.errno {
            Some(errno) => format!("error {errno}"),
            None => word.to_owned(),
        }
    }
}
