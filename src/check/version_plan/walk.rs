//! The cluster that a plan goes through: what runs where at which version, and which rule a step breaks.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;

use super::{Action, Step, VersionPlan};
use crate::check::{CheckError, Finding};

const CONTROL_PLANE: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
const NODE: [&str; 2] = ["kubelet", "kube-proxy"];
const API_SERVER: &str = "kube-apiserver";

/// Reads a version with or without `v`, and without patch as `.0`.
pub(super) fn version(text: &str) -> Option<Version> {
    let text = text.trim().trim_start_matches('v');
    Version::parse(text).ok().or_else(|| Version::parse(&format!("{text}.0")).ok())
}

/// The state between two steps.
pub(super) struct Walk<'a> {
    spec: &'a VersionPlan,
    label: &'a str,
    target: Version,
    running: BTreeMap<(String, &'static str), Version>,
    drained: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(spec: &'a VersionPlan, label: &'a str) -> Result<Self, CheckError> {
        let read =
            |text: &str| version(text).ok_or_else(|| CheckError::Spec(format!("`{text}` is no version")));
        let mut running = BTreeMap::new();
        for node in &spec.nodes {
            let own = read(&node.version)?;
            if node.control_plane {
                for component in CONTROL_PLANE {
                    running.insert((node.name.clone(), component), own.clone());
                }
            }
            let kubelet = match &node.kubelet {
                Some(text) => read(text)?,
                None => own,
            };
            for component in NODE {
                running.insert((node.name.clone(), component), kubelet.clone());
            }
        }
        Ok(Self { spec, label, target: read(&spec.target)?, running, drained: BTreeSet::new() })
    }

    /// Goes through all steps.
    pub(super) fn through(mut self, steps: &[Step], findings: &mut Vec<Finding>) {
        let (spec, label) = (self.spec, self.label);
        for (index, step) in steps.iter().enumerate() {
            let at = format!("steps[{index}]");
            let mut find = |expected: String, actual: String| {
                findings.push(Finding::new(label, &at, expected, actual));
            };
            let Some(node) = spec.nodes.iter().find(|node| node.name == step.node) else {
                find("a node of the cluster".to_owned(), step.node.clone());
                continue;
            };
            match step.action {
                Action::Drain => {
                    self.drained.insert(node.name.clone());
                    let most = spec.drained_at_once.map_or(usize::MAX, |most| most as usize);
                    if self.drained.len() > most {
                        let expected = format!("at most {most} drained at once");
                        find(expected, format!("{} are", self.drained.len()));
                    }
                }
                Action::Uncordon => {
                    self.drained.remove(&node.name);
                }
                Action::Upgrade => {
                    let Some(new) = step.version.as_deref().and_then(version) else {
                        let actual = step.version.clone().unwrap_or_else(|| "none".to_owned());
                        find("a version to upgrade to".to_owned(), actual);
                        continue;
                    };
                    let installable = |text: &String| version(text).as_ref() == Some(&new);
                    if !spec.available.is_empty() && !spec.available.iter().any(installable) {
                        find("a version that can be installed".to_owned(), new.to_string());
                    }
                    match components(step.component.as_deref(), node.control_plane) {
                        Some(components) => {
                            for fault in self.upgrade(&node.name, &components, &new) {
                                find(fault.0, fault.1);
                            }
                        }
                        None => {
                            let actual = step.component.clone().unwrap_or_else(|| "none".to_owned());
                            find("a component that runs on the node".to_owned(), actual);
                        }
                    }
                }
            }
        }
        self.end(findings);
    }

    /// Upgrades components and returns what is wrong with that.
    fn upgrade(&mut self, node: &str, components: &[&'static str], new: &Version) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        for component in components {
            let key = (node.to_owned(), *component);
            let Some(old) = self.running.get(&key).cloned() else { continue };
            let name = format!("{component} on {node}");
            if *new < old {
                faults.push((format!("{name} goes up"), format!("from {old} to {new}")));
            }
            if *component == API_SERVER && new.minor > old.minor + 1 {
                faults.push((format!("{name} goes up one minor version"), format!("from {old} to {new}")));
            }
            if *component == "kubelet" && new.minor != old.minor && !self.drained.contains(node) {
                faults.push((
                    format!("{node} is drained before its kubelet changes its minor version"),
                    "it is not".to_owned(),
                ));
            }
            self.running.insert(key, new.clone());
        }
        faults.extend(self.skew());
        faults
    }

    /// Returns which versions are too far apart now.
    fn skew(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let servers: Vec<&Version> = self
            .running
            .iter()
            .filter(|((_, component), _)| *component == API_SERVER)
            .map(|(_, v)| v)
            .collect();
        let (Some(oldest), Some(newest)) = (servers.iter().min(), servers.iter().max()) else {
            return faults;
        };
        if newest.minor > oldest.minor + 1 {
            let actual = format!("{oldest} and {newest}");
            faults.push(("API servers at most one minor version apart".to_owned(), actual));
        }
        for ((node, component), own) in &self.running {
            // A kubelet before 1.25 may be two minor versions older, not three.
            let back = match *component {
                API_SERVER => continue,
                "kubelet" | "kube-proxy" if own.minor >= 25 => 3,
                "kubelet" | "kube-proxy" => 2,
                _ => 1,
            };
            let name = format!("{component} on {node}");
            if own.minor > oldest.minor {
                faults.push((format!("{name} not newer than the API server {oldest}"), own.to_string()));
            } else if own.minor + back < newest.minor {
                let expected =
                    format!("{name} at most {back} minor versions older than the API server {newest}");
                faults.push((expected, own.to_string()));
            }
        }
        faults
    }

    fn end(&self, findings: &mut Vec<Finding>) {
        for ((node, component), own) in self.running.iter().filter(|(_, own)| **own != self.target) {
            let path = format!("in the end, {component} on {node}");
            findings.push(Finding::new(self.label, path, "the target", own.to_string()));
        }
        for node in &self.drained {
            let path = format!("in the end, {node}");
            findings.push(Finding::new(self.label, path, "it takes Pods again", "it is cordoned"));
        }
    }
}

/// Returns what a step upgrades; `None` for what does not run there.
fn components(name: Option<&str>, control_plane: bool) -> Option<Vec<&'static str>> {
    let all = CONTROL_PLANE.iter().chain(&NODE).copied();
    match name.map(|name| name.trim().to_lowercase()).as_deref() {
        Some("control-plane" | "controlplane") if control_plane => Some(CONTROL_PLANE.to_vec()),
        Some("node") => Some(NODE.to_vec()),
        None if !control_plane => Some(NODE.to_vec()),
        // What runs on a node as a DaemonSet goes along with its kubelet.
        Some("kubelet") => Some(NODE.to_vec()),
        Some(name) => {
            let found: Vec<&str> = all.filter(|component| *component == name).collect();
            (!found.is_empty() && (control_plane || !CONTROL_PLANE.contains(&found[0]))).then_some(found)
        }
        None => None,
    }
}
