//! A seccomp profile as runtimes read it, and the decision about one system call by libseccomp's rules.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::super::document::nullable;
use super::{SeccompProfile, SeccompRuntime};

/// The architecture of the machine.
pub(super) const NATIVE: &str = "SCMP_ARCH_X86_64";

/// A profile.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Profile {
    default_action: Action,
    #[serde(default)]
    default_errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "nullable")]
    arch_map: Vec<ArchMap>,
    #[serde(default, deserialize_with = "nullable")]
    architectures: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    #[expect(dead_code, reason = "flags change how a filter is loaded, not what it decides")]
    flags: Vec<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "who listens changes no decision")]
    listener_path: Option<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "who listens changes no decision")]
    listener_metadata: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    syscalls: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ArchMap {
    architecture: String,
    #[serde(default, deserialize_with = "nullable")]
    sub_architectures: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    #[serde(default, deserialize_with = "nullable")]
    names: Vec<String>,
    #[serde(default)]
    name: Option<String>,
    action: Action,
    #[serde(default)]
    errno_ret: Option<u32>,
    #[serde(default, deserialize_with = "nullable")]
    args: Vec<Arg>,
    #[serde(default)]
    #[expect(dead_code, reason = "a comment is for people")]
    comment: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    includes: Filter,
    #[serde(default, deserialize_with = "nullable")]
    excludes: Filter,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Filter {
    #[serde(default, deserialize_with = "nullable")]
    caps: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    arches: Vec<String>,
    #[serde(default)]
    min_kernel: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Arg {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: Op,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Action {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD", alias = "SCMP_ACT_KILL_PROCESS")]
    Kill,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_TRACE", alias = "SCMP_ACT_NOTIFY")]
    Ask,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Op {
    #[serde(rename = "SCMP_CMP_NE")]
    Ne,
    #[serde(rename = "SCMP_CMP_LT")]
    Lt,
    #[serde(rename = "SCMP_CMP_LE")]
    Le,
    #[serde(rename = "SCMP_CMP_EQ")]
    Eq,
    #[serde(rename = "SCMP_CMP_GE")]
    Ge,
    #[serde(rename = "SCMP_CMP_GT")]
    Gt,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEq,
}

/// One system call.
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) args: &'a BTreeMap<u8, u64>,
    pub(super) arch: &'a str,
}

/// What it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Allowed,
    Logged,
    Errno(u32),
    Killed,
    Trapped,
    Asked,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed => f.write_str("allowed"),
            Self::Logged => f.write_str("allowed and logged"),
            Self::Errno(0) => f.write_str("not run, and said to have succeeded (error 0)"),
            Self::Errno(errno) => write!(f, "error {errno}"),
            Self::Killed => f.write_str("killed"),
            Self::Trapped => f.write_str("SIGSYS"),
            Self::Asked => f.write_str("somebody else decides"),
        }
    }
}

/// What `SCMP_ACT_ERRNO` gives where no number is given.
const EPERM: u32 = 1;

fn outcome(action: Action, errno: Option<u32>) -> Outcome {
    match action {
        Action::Allow => Outcome::Allowed,
        Action::Log => Outcome::Logged,
        Action::Errno => Outcome::Errno(errno.unwrap_or(EPERM)),
        Action::Kill => Outcome::Killed,
        Action::Trap => Outcome::Trapped,
        Action::Ask => Outcome::Asked,
    }
}

/// Reads major and minor of a kernel's version.
pub(super) fn version(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl Profile {
    /// Returns what runtimes refuse.
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |path: String, text: &str| faults.push((path, text.to_owned()));
        if !self.architectures.is_empty() && !self.arch_map.is_empty() {
            fault("archMap".to_owned(), "architectures and archMap are both given");
        }
        for arch in self.architectures.iter().filter(|arch| !arch.starts_with("SCMP_ARCH_")) {
            fault("architectures".to_owned(), &format!("`{arch}` is no architecture"));
        }
        for (index, rule) in self.syscalls.iter().enumerate() {
            let at = format!("syscalls[{index}]");
            if rule.names.is_empty() == rule.name.is_none() {
                fault(format!("{at}.names"), "a rule names its system calls, once");
            }
            if rule.args.iter().any(|arg| arg.index > 5) {
                fault(format!("{at}.args"), "a system call has six arguments, from 0 to 5");
            }
        }
        faults
    }

    /// Decides about a call.
    pub(super) fn of(&self, call: &Call<'_>, spec: &SeccompProfile) -> Outcome {
        let docker = spec.runtime == SeccompRuntime::Docker;
        let mapped = || {
            let own = self.arch_map.iter().find(|map| map.architecture == NATIVE);
            own.is_some_and(|map| map.sub_architectures.iter().any(|arch| arch == call.arch))
        };
        // A filter always knows the machine's own architecture; a program of another one that it does not know dies.
        let known = call.arch == NATIVE
            || self.architectures.iter().any(|arch| arch == call.arch)
            || (docker && mapped());
        if !known {
            return Outcome::Killed;
        }
        let default = outcome(self.default_action, self.default_errno_ret);
        let rules = self.syscalls.iter().filter(|rule| {
            let named = rule.names.iter().chain(&rule.name).any(|name| name == call.name);
            named && (!docker || rule.applies(spec)) && outcome(rule.action, rule.errno_ret) != default
        });
        let mut by_args = None;
        for rule in rules {
            let decision = outcome(rule.action, rule.errno_ret);
            if rule.args.is_empty() {
                return decision;
            }
            if by_args.is_none() && rule.matches(call) {
                by_args = Some(decision);
            }
        }
        by_args.unwrap_or(default)
    }
}

impl Rule {
    fn applies(&self, spec: &SeccompProfile) -> bool {
        let has = |cap: &String| spec.capabilities.contains(cap);
        let native = |arch: &String| arch == "amd64";
        let recent = |wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| version(wanted) <= version(&spec.kernel))
        };
        let included = self.includes.caps.iter().all(has)
            && (self.includes.arches.is_empty() || self.includes.arches.iter().any(native))
            && recent(&self.includes.min_kernel);
        let excluded = self.excludes.caps.iter().any(has)
            || self.excludes.arches.iter().any(native)
            || (self.excludes.min_kernel.is_some() && recent(&self.excludes.min_kernel));
        included && !excluded
    }

    fn matches(&self, call: &Call<'_>) -> bool {
        // Several conditions on one argument are rules of their own: any of them is enough.
        let twice = self
            .args
            .iter()
            .enumerate()
            .any(|(at, arg)| self.args[at + 1..].iter().any(|other| other.index == arg.index));
        let holds = |arg: &Arg| arg.holds(call.args.get(&arg.index).copied().unwrap_or_default());
        if twice { self.args.iter().any(holds) } else { self.args.iter().all(holds) }
    }
}

impl Arg {
    fn holds(&self, given: u64) -> bool {
        match self.op {
            Op::Ne => given != self.value,
            Op::Lt => given < self.value,
            Op::Le => given <= self.value,
            Op::Eq => given == self.value,
            Op::Ge => given >= self.value,
            Op::Gt => given > self.value,
            Op::MaskedEq => given & self.value == self.value_two,
        }
    }
}
