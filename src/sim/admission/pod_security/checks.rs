//! The controls of the Pod Security Standards: which there are at each level and version, and what all say of a Pod.

use serde_json::Value;

use super::level::{Level, LevelVersion, Version};
use crate::sim::admission::pods::containers;

mod baseline;
mod restricted;

/// What one control forbids: a short reason, and what exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The control in a few words: `hostPort`.
    pub reason: String,
    /// Which part of the Pod, and what it must do: `container "a" uses hostPort 80`.
    pub detail: String,
}

impl Violation {
    fn new(reason: &str, detail: String) -> Option<Self> {
        Some(Self { reason: reason.to_owned(), detail })
    }
}

/// The part of a Pod that the controls look at.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The Pod's metadata.
    pub metadata: &'a Value,
    /// The Pod's spec.
    pub spec: &'a Value,
}

impl<'a> Subject<'a> {
    fn containers(self) -> impl Iterator<Item = Container<'a>> {
        containers(self.spec).map(Container)
    }

    /// Returns the Pod's own security context, or null.
    fn security(self) -> &'a Value {
        &self.spec["securityContext"]
    }

    fn annotations(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let annotations = self.metadata["annotations"].as_object();
        annotations
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value.as_str().unwrap_or_default()))
    }

    fn is_windows(self) -> bool {
        self.spec["os"]["name"] == "windows"
    }
}

/// A container of any kind.
#[derive(Debug, Clone, Copy)]
struct Container<'a>(&'a Value);

impl<'a> Container<'a> {
    fn name(self) -> &'a str {
        self.0["name"].as_str().unwrap_or_default()
    }

    fn security(self) -> &'a Value {
        &self.0["securityContext"]
    }
}

type Control = fn(Subject<'_>) -> Option<Violation>;

/// The versions of one control, oldest first.
struct Check {
    id: &'static str,
    /// The baseline control that this restricted one is stricter than.
    overrides: Option<&'static str>,
    /// From which minor version on each holds.
    versions: &'static [(u64, Control)],
}

impl Check {
    fn at(&self, version: Version) -> Option<Control> {
        let holds = |from: u64| match version {
            Version::Latest => true,
            Version::Minor(minor) => from <= minor,
        };
        self.versions.iter().rev().find(|(from, _)| holds(*from)).map(|(_, control)| *control)
    }
}

/// By id, as messages are ordered.
const BASELINE: &[Check] = &[
    Check { id: "appArmorProfile", overrides: None, versions: &[(0, baseline::app_armor)] },
    Check { id: "capabilities_baseline", overrides: None, versions: &[(0, baseline::capabilities)] },
    Check { id: "hostNamespaces", overrides: None, versions: &[(0, baseline::host_namespaces)] },
    Check { id: "hostPathVolumes", overrides: None, versions: &[(0, baseline::host_path_volumes)] },
    Check { id: "hostPorts", overrides: None, versions: &[(0, baseline::host_ports)] },
    Check { id: "hostProbesAndHostLifecycle", overrides: None, versions: &[(34, baseline::host_probes)] },
    Check { id: "privileged", overrides: None, versions: &[(0, baseline::privileged)] },
    Check { id: "procMount", overrides: None, versions: &[(0, baseline::proc_mount)] },
    Check {
        id: "seLinuxOptions",
        overrides: None,
        versions: &[(0, baseline::se_linux), (31, baseline::se_linux_with_engine)],
    },
    Check {
        id: "seccompProfile_baseline",
        overrides: None,
        versions: &[(0, baseline::seccomp_annotations), (19, baseline::seccomp)],
    },
    Check {
        id: "sysctls",
        overrides: None,
        versions: &[
            (0, baseline::sysctls_0),
            (27, baseline::sysctls_27),
            (29, baseline::sysctls_29),
            (32, baseline::sysctls_32),
        ],
    },
    Check { id: "windowsHostProcess", overrides: None, versions: &[(0, baseline::windows_host_process)] },
];

const RESTRICTED: &[Check] = &[
    Check {
        id: "allowPrivilegeEscalation",
        overrides: None,
        versions: &[
            (8, restricted::privilege_escalation),
            (25, restricted::privilege_escalation_but_windows),
        ],
    },
    Check {
        id: "capabilities_restricted",
        overrides: Some("capabilities_baseline"),
        versions: &[(22, restricted::capabilities), (25, restricted::capabilities_but_windows)],
    },
    Check {
        id: "restrictedVolumes",
        overrides: Some("hostPathVolumes"),
        versions: &[(0, restricted::volumes)],
    },
    Check { id: "runAsNonRoot", overrides: None, versions: &[(0, restricted::run_as_non_root)] },
    Check { id: "runAsUser", overrides: None, versions: &[(23, restricted::run_as_user)] },
    Check {
        id: "seccompProfile_restricted",
        overrides: Some("seccompProfile_baseline"),
        versions: &[(19, restricted::seccomp), (25, restricted::seccomp_but_windows)],
    },
];

/// Returns what a policy forbids about a Pod, in upstream's order: baseline controls by id, then restricted ones.
pub fn evaluate(policy: LevelVersion, subject: Subject<'_>) -> Vec<Violation> {
    let restricted: &[Check] = match policy.level {
        Level::Privileged => return Vec::new(),
        Level::Baseline => &[],
        Level::Restricted => RESTRICTED,
    };
    let overridden = |id: &str| {
        restricted.iter().any(|check| check.overrides == Some(id) && check.at(policy.version).is_some())
    };
    BASELINE
        .iter()
        .filter(|check| !overridden(check.id))
        .chain(restricted)
        .filter_map(|check| check.at(policy.version))
        .filter_map(|control| control(subject))
        .collect()
}

/// Words violations as a refusal does: `hostPort (container "a" uses hostPort 80), privileged (...)`.
pub fn details(violations: &[Violation]) -> String {
    let texts: Vec<String> = violations
        .iter()
        .map(|violation| match violation.detail.as_str() {
            "" => violation.reason.clone(),
            detail => format!("{} ({detail})", violation.reason),
        })
        .collect();
    texts.join(", ")
}

/// Words violations in short, as warnings about existing Pods do.
pub fn reasons(violations: &[Violation]) -> String {
    violations.iter().map(|violation| violation.reason.as_str()).collect::<Vec<_>>().join(", ")
}

fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

fn quote<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.as_ref().to_owned()).collect();
    if items.is_empty() { String::new() } else { format!("\"{}\"", items.join("\", \"")) }
}

/// Words a set of containers: `containers "a", "b"`.
fn name_containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quote(names))
}

/// Words who sets something: `pod and containers "a", "b"`.
fn setters(pod: bool, containers: &[&str]) -> Option<String> {
    let mut setters = Vec::new();
    if pod {
        setters.push("pod".to_owned());
    }
    if !containers.is_empty() {
        setters.push(name_containers(containers));
    }
    (!setters.is_empty()).then(|| setters.join(" and "))
}
