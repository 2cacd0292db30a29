//! `exec`: what a command in a container does.

use serde::{Deserialize, Serialize};

use super::api::Api;
use super::object::shorten;
use super::{Check, CheckCx, CheckError, Finding, Verdict};
use crate::cluster::{Capability, ExecOutput};

/// Runs a command in a container of each Pod of a set, which must not change anything, and looks at what comes of it.
///
/// A command that must fail has a `control`: another one, which works in the same container when only what is forbidden
/// is forbidden.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Exec {
    /// The namespace.
    pub namespace: String,
    /// The Pod, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The Pods, by a label selector as kubectl takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The container; the Pod's first when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// Whether it must end with 0.
    pub succeeds: bool,
    /// Texts that it must write, to stdout or stderr.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub says: Vec<String>,
    /// Texts that it must not write.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never_says: Vec<String>,
    /// A command that must end with 0 in the same container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub control: Vec<String>,
}

impl Check for Exec {
    const NEEDS: &'static [Capability] = &[Capability::Api, Capability::Pods, Capability::Exec];

    fn lint(&self, faults: &mut Vec<String>) {
        if self.namespace.is_empty() {
            faults.push("namespace: name it".to_owned());
        }
        if self.pod.is_some() == self.selector.is_some() {
            faults.push("pod: a name, or a selector".to_owned());
        }
        if self.command.is_empty() {
            faults.push("command: name the program".to_owned());
        }
        if !self.succeeds && self.control.is_empty() {
            faults.push(
                "control: what must fail needs a command that works, or a broken Pod would pass".to_owned(),
            );
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let namespace = Some(self.namespace.as_str());
        let pods = match &self.pod {
            Some(name) => api.get_known("v1", "Pod", namespace, name).await?.into_iter().collect(),
            None => api.list_known("v1", "Pod", namespace, self.selector.as_deref()).await?,
        };
        let mut findings = Vec::new();
        let alive = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let names: Vec<(&str, &str)> = alive
            .filter_map(|pod| {
                let phase = pod["status"]["phase"].as_str().unwrap_or_default();
                Some((pod["metadata"]["name"].as_str()?, phase))
            })
            .collect();
        if names.is_empty() {
            let which = self.pod.as_ref().or(self.selector.as_ref()).map(String::as_str).unwrap_or_default();
            let label = format!("Pod {}/{which}", self.namespace);
            findings.push(Finding::new(label, "", "it exists", "it does not"));
        }
        for (name, phase) in names {
            let label = format!("Pod {}/{name}", self.namespace);
            if phase != "Running" {
                findings.push(Finding::new(&label, "status.phase", "Running", phase));
                continue;
            }
            if !self.control.is_empty() {
                let output = self.execute(cx, name, &self.control).await?;
                if output.status != 0 {
                    let asked = self.control.join(" ");
                    findings.push(Finding::new(&label, asked, "it works", told(&output)));
                    continue;
                }
            }
            let output = self.execute(cx, name, &self.command).await?;
            self.judge(&label, &output, &mut findings);
        }
        Ok(Verdict::of(findings))
    }
}

impl Exec {
    async fn execute(
        &self,
        cx: &CheckCx<'_>,
        pod: &str,
        command: &[String],
    ) -> Result<ExecOutput, CheckError> {
        let argv: Vec<&str> = command.iter().map(String::as_str).collect();
        Ok(cx.cluster.pod_exec(&self.namespace, pod, self.container.as_deref(), &argv).await?)
    }

    fn judge(&self, label: &str, output: &ExecOutput, findings: &mut Vec<Finding>) {
        let asked = self.command.join(" ");
        if (output.status == 0) != self.succeeds {
            let expected = if self.succeeds { "it works" } else { "it fails" };
            findings.push(Finding::new(label, &asked, expected, told(output)));
            return;
        }
        let written =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        for text in self.says.iter().filter(|text| !written.contains(text.as_str())) {
            findings.push(Finding::new(label, &asked, format!("it says `{text}`"), told(output)));
        }
        for text in self.never_says.iter().filter(|text| written.contains(text.as_str())) {
            findings.push(Finding::new(label, &asked, format!("it does not say `{text}`"), "it does"));
        }
    }
}

/// Says what came of a command.
fn told(output: &ExecOutput) -> String {
    let text = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    let text = String::from_utf8_lossy(text);
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    match last {
        "" => format!("it ends with {}", output.status),
        last => format!("it ends with {}: {}", output.status, shorten(last)),
    }
}
