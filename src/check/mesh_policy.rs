//! `meshPolicy`: what a workload's ports take in an Istio mesh: mutual TLS only, plain text too, or what is not the
//! mesh's at all. Worked out from PeerAuthentications and from where there is a proxy.

mod effective;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::effective::Policies;
use super::api::Api;
use super::select::{Select, Selected};
use super::{Check, CheckCx, CheckError, Finding, Verdict, object};

/// Works out the effective mutual TLS mode of workloads and ports.
///
/// Of the policies for a workload, a namespace and the mesh, the closest one decides, the oldest where there are
/// several, and a port's own mode over that of its workload. A Pod without a proxy takes plain text whatever policies
/// say; a proxy is a container or a native sidecar `istio-proxy`, or the node's in ambient mode.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshPolicy {
    /// The namespace whose policies without selector hold for the mesh.
    #[serde(default = "root_namespace")]
    pub root_namespace: String,
    /// Whether Pods must have their proxy, or need only be set up to get one when they are created, for clusters in
    /// which nothing injects.
    #[serde(default)]
    pub proxy: MeshProxy,
    /// The workloads, and what they must take.
    pub workloads: Vec<MeshRow>,
}

/// Pods, and what they must take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshRow {
    /// The namespace.
    pub namespace: String,
    /// A label selector for the Pods; all of the namespace when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The containers' ports; all that the containers declare, and any other, when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<u16>,
    /// What they must take.
    pub takes: MeshMode,
}

/// What a port takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MeshMode {
    /// Mutual TLS and nothing else.
    #[default]
    Strict,
    /// Mutual TLS and plain text.
    Permissive,
    /// Plain text: mutual TLS is switched off, or there is no proxy.
    Plain,
}

/// Where a proxy is looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum MeshProxy {
    /// In the Pods as they run.
    #[default]
    Running,
    /// In what the labels of Pods and namespaces ask for.
    Injected,
}

fn root_namespace() -> String {
    "istio-system".to_owned()
}

impl Check for MeshPolicy {
    fn lint(&self, faults: &mut Vec<String>) {
        if self.root_namespace.is_empty() {
            faults.push("rootNamespace: name it".to_owned());
        }
        if self.workloads.is_empty() {
            faults.push("workloads: without them it cannot fail".to_owned());
        }
        for (index, row) in self.workloads.iter().enumerate() {
            if row.namespace.is_empty() || row.selector.as_deref() == Some("") {
                faults
                    .push(format!("workloads[{index}]: name the namespace, and leave an empty selector out"));
            }
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let mut policies = None;
        for version in ["security.istio.io/v1", "security.istio.io/v1beta1"] {
            if let Some(kind) = api.kind(version, "PeerAuthentication").await? {
                policies = Some(api.list(&kind, None, None).await?);
                break;
            }
        }
        let Some(policies) = policies else {
            let finding = Finding::new("PeerAuthentication", "", "it is served", "it is not");
            return Ok(Verdict::Fail(vec![finding]));
        };
        let mut findings = Vec::new();
        let policies = match Policies::new(&policies, &self.root_namespace) {
            Ok(policies) => policies,
            Err(finding) => return Ok(Verdict::Fail(vec![finding])),
        };
        for row in &self.workloads {
            let select = Select {
                api_version: "v1".to_owned(),
                kind: "Pod".to_owned(),
                namespace: Some(row.namespace.clone()),
                selector: row.selector.clone(),
                all: row.selector.is_none(),
                ..Select::default()
            };
            let pods = match select.objects(&api).await? {
                Selected::Objects(pods) => pods,
                Selected::Impossible(finding) => {
                    findings.push(finding);
                    continue;
                }
            };
            let runs = |pod: &&Value| {
                !object::is_going(pod)
                    && pod["status"]["phase"] != "Succeeded"
                    && pod["status"]["phase"] != "Failed"
            };
            let pods: Vec<&Value> = pods.iter().filter(runs).collect();
            if pods.is_empty() {
                findings.push(Finding::new(select.describe(), "", "at least one", "none"));
            }
            let namespace = api.get_known("v1", "Namespace", None, &row.namespace).await?.unwrap_or_default();
            for pod in pods {
                row.judge(pod, &namespace, &policies, self.proxy, &mut findings);
            }
        }
        Ok(Verdict::of(findings))
    }
}

impl MeshRow {
    fn judge(
        &self,
        pod: &Value,
        namespace: &Value,
        policies: &Policies<'_>,
        proxy: MeshProxy,
        findings: &mut Vec<Finding>,
    ) {
        let mut ports: Vec<Option<u16>> = self.ports.iter().copied().map(Some).collect();
        if ports.is_empty() {
            let declared: BTreeSet<u16> = effective::ports(pod).into_iter().collect();
            ports.extend(declared.into_iter().map(Some));
            ports.push(None);
        }
        for port in ports {
            let found = policies.of(pod, namespace, proxy, port);
            if found.mode != self.takes {
                let path = port.map_or("any other port".to_owned(), |port| format!("port {port}"));
                let actual = format!("{} ({})", found.mode.name(), found.why);
                findings.push(Finding::new(object::display(pod), path, self.takes.name(), actual));
            }
        }
    }
}

impl MeshMode {
    fn name(self) -> &'static str {
        match self {
            Self::Strict => "mutual TLS only",
            Self::Permissive => "mutual TLS and plain text",
            Self::Plain => "plain text",
        }
    }
}
