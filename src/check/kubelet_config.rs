//! `kubeletConfig`: the configuration that a kubelet runs with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::api::Api;
use super::expect::Expect;
use super::{Check, CheckCx, CheckError, Finding, Verdict, node, object};
use crate::cluster::Capability;

/// Looks at a kubelet's `/configz`, which shows what is in force: file, drop-ins and flags together, as they were when it
/// was last started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KubeletConfig {
    /// The node's name, or `control-plane`, `workers` or `all`.
    pub node: String,
    /// Expectations about `config`, a KubeletConfiguration with every default in it.
    pub expect: Vec<Expect>,
}

impl Check for KubeletConfig {
    const NEEDS: &'static [Capability] = &[Capability::Api, Capability::Nodes];

    fn lint(&self, faults: &mut Vec<String>) {
        if self.node.is_empty() {
            faults.push("node: name it, or say control-plane, workers or all".to_owned());
        }
        if self.expect.is_empty() {
            faults.push("expect: without an expectation it cannot fail".to_owned());
        }
        object::lint_expects("expect", &self.expect, &["config"], faults);
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let nodes = node::named(&api, &self.node).await?;
        let mut findings = Vec::new();
        if nodes.is_empty() {
            findings.push(Finding::new(format!("Node {}", self.node), "", "it exists", "it does not"));
        }
        for name in nodes {
            let answer = api.read(&format!("/api/v1/nodes/{name}/proxy/configz")).await?;
            let config = &answer["kubeletconfig"];
            if !config.is_object() {
                return Err(node::failed(format!("the kubelet of {name} does not tell its configuration")));
            }
            let bindings = BTreeMap::from([("config".to_owned(), config.clone())]);
            object::judge(&self.expect, &format!("kubelet of {name}"), config, &bindings, &mut findings)?;
        }
        Ok(Verdict::of(findings))
    }
}
