//! `nodeService`: whether services of a node run, and whether they will after the next boot.

use serde::{Deserialize, Serialize};

use super::api::Api;
use super::{Check, CheckCx, CheckError, Finding, Verdict, node};
use crate::cluster::Capability;

/// Asks systemd about units of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeService {
    /// The node's name, or `control-plane`, `workers` or `all`.
    #[serde(default = "control_plane")]
    pub node: String,
    /// The units.
    pub units: Vec<UnitRow>,
}

/// What is expected of one unit. A unit that is not there neither runs nor starts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnitRow {
    /// Its name, such as `kubelet` or `rpcbind.socket`.
    pub unit: String,
    /// Whether it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<bool>,
    /// Whether it starts at boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

fn control_plane() -> String {
    "control-plane".to_owned()
}

impl Check for NodeService {
    const NEEDS: &'static [Capability] = &[Capability::Api, Capability::Nodes];

    fn lint(&self, faults: &mut Vec<String>) {
        if self.units.is_empty() {
            faults.push("units: without units it cannot fail".to_owned());
        }
        for (index, row) in self.units.iter().enumerate() {
            if row.unit.is_empty() || row.unit.starts_with('-') {
                faults.push(format!("units[{index}].unit: name it"));
            }
            if row.active.is_none() && row.enabled.is_none() {
                faults.push(format!("units[{index}]: say whether it is active, or enabled"));
            }
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let nodes = node::named(&api, &self.node).await?;
        let mut findings = Vec::new();
        if nodes.is_empty() {
            findings.push(Finding::new(format!("Node {}", self.node), "", "it exists", "it does not"));
        }
        for name in &nodes {
            for row in &self.units {
                let label = format!("{} on {name}", row.unit);
                for (what, wanted) in [("is-active", row.active), ("is-enabled", row.enabled)] {
                    let Some(wanted) = wanted else { continue };
                    let said = ask(cx, name, what, &row.unit).await?;
                    // `activating` is a unit that fails again and again.
                    let is = match what {
                        "is-active" => said == "active",
                        _ => matches!(&*said, "enabled" | "enabled-runtime" | "alias" | "static"),
                    };
                    if is != wanted {
                        let word = what.trim_start_matches("is-");
                        let expected = if wanted { word.to_owned() } else { format!("not {word}") };
                        findings.push(Finding::new(&label, "", expected, said));
                    }
                }
            }
        }
        Ok(Verdict::of(findings))
    }
}

/// Asks systemd, whose exit status repeats the word that it says.
async fn ask(cx: &CheckCx<'_>, node: &str, what: &str, unit: &str) -> Result<String, CheckError> {
    const WORDS: [&str; 17] = [
        "active",
        "inactive",
        "failed",
        "activating",
        "deactivating",
        "reloading",
        "unknown",
        "enabled",
        "enabled-runtime",
        "disabled",
        "masked",
        "masked-runtime",
        "static",
        "alias",
        "indirect",
        "generated",
        "not-found",
    ];
    let output = cx.cluster.node_exec(node, &["systemctl", what, unit]).await?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if WORDS.contains(&text.as_str()) {
        return Ok(text);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let gone = ["could not be found", "No such file or directory", "not-found"];
    if text.is_empty() && gone.iter().any(|words| stderr.contains(words)) {
        return Ok("not-found".to_owned());
    }
    Err(node::failed(format!("systemd on {node} does not tell of {unit}: {} {}", text, stderr.trim())))
}
