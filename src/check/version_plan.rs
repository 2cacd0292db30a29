//! `versionPlan`: a plan to upgrade a cluster, run through step by step by the version-skew rules of Kubernetes.

mod walk;

use serde::{Deserialize, Serialize};

use super::api::Api;
use super::document::{self, Source, nullable};
use super::task_file::Content;
use super::{Check, CheckCx, CheckError, Finding, Verdict};
use crate::cluster::Capability;

/// Runs through an upgrade plan, YAML or JSON: `{target: 1.35.2, steps: [...]}` or the list of steps alone.
///
/// A step is `{action: upgrade, node: cp-1, component: control-plane, version: 1.34.5}`; `drain` and `uncordon` need a
/// node alone. Components are `kube-apiserver`, `kube-controller-manager`, `kube-scheduler`, `kubelet` and `kube-proxy`;
/// `control-plane` is the first three together, and `node`, also when no component is named on a worker, the last two.
/// The API servers go up one minor version at a time and are never more than one apart; controller manager and
/// scheduler are not newer than any API server and at most one minor older; kubelet and kube-proxy are not newer than
/// any API server and at most three older. A kubelet changes its minor version on a drained node. Nothing goes down,
/// and in the end all is at the target and no node is left cordoned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VersionPlan {
    /// Where the plan lies.
    pub source: Source,
    /// The nodes as they are.
    pub nodes: Vec<PlanNode>,
    /// The version that everything must have in the end.
    pub target: String,
    /// The plan must name the target itself, as `target`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub names_target: bool,
    /// The versions that can be installed; any when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub available: Vec<String>,
    /// How many nodes may be drained at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained_at_once: Option<u32>,
}

/// A node before the upgrade.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanNode {
    /// The name.
    pub name: String,
    /// It runs the control plane.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub control_plane: bool,
    /// The version of all that runs on it.
    pub version: String,
    /// The kubelet's and kube-proxy's version, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet: Option<String>,
}

/// A plan as the learner writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Plan {
    #[serde(default)]
    target: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    steps: Vec<Step>,
}

/// One step of a plan.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Step {
    action: Action,
    node: String,
    #[serde(default)]
    component: Option<String>,
    #[serde(default)]
    version: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Action {
    Drain,
    Upgrade,
    Uncordon,
}

impl Check for VersionPlan {
    fn needs(&self) -> &'static [Capability] {
        self.source.needs()
    }

    fn lint(&self, faults: &mut Vec<String>) {
        self.source.lint("source", faults);
        let mut versions = vec![("target".to_owned(), &self.target)];
        versions.extend(self.available.iter().map(|version| ("available".to_owned(), version)));
        for (index, node) in self.nodes.iter().enumerate() {
            versions.push((format!("nodes[{index}].version"), &node.version));
            versions
                .extend(node.kubelet.as_ref().map(|version| (format!("nodes[{index}].kubelet"), version)));
            if node.name.is_empty() || self.nodes[..index].iter().any(|other| other.name == node.name) {
                faults.push(format!("nodes[{index}].name: a name of its own"));
            }
        }
        for (field, version) in versions {
            if walk::version(version).is_none() {
                faults.push(format!("{field}: `{version}` is no version"));
            }
        }
        if !self.nodes.iter().any(|node| node.control_plane) {
            faults.push("nodes: one of them runs the control plane".to_owned());
        }
        if self.nodes.iter().all(|node| walk::version(&node.version) == walk::version(&self.target)) {
            faults.push("target: nothing is to be done".to_owned());
        }
        if !self.available.is_empty() && !self.available.contains(&self.target) {
            faults.push("available: the target is not among them".to_owned());
        }
        if self.drained_at_once == Some(0) {
            faults.push("drainedAtOnce: then no node can be drained".to_owned());
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let text = match self.source.read(&api, cx).await? {
            Content::Text(text) => text,
            Content::Unusable(finding) => return Ok(Verdict::Fail(vec![finding])),
        };
        let label = self.source.label();
        let is_list = document::json_or_yaml(&text).is_ok_and(|value| value.is_array());
        let plan = match is_list {
            true => document::yaml(&text).map(|steps| Plan { target: None, steps }),
            false => document::yaml::<Plan>(&text),
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(fault) => return Ok(Verdict::Fail(vec![fault.finding(&label, "a plan of steps")])),
        };
        let mut findings = Vec::new();
        if self.names_target {
            let named = plan.target.as_deref().and_then(walk::version);
            if named != walk::version(&self.target) {
                let actual = plan.target.clone().unwrap_or_else(|| "nothing".to_owned());
                findings.push(Finding::new(&label, "target", "the version asked for", actual));
            }
        }
        walk::Walk::new(self, &label)?.through(&plan.steps, &mut findings);
        document::cap(&label, 10, &mut findings);
        Ok(Verdict::of(findings))
    }
}
