//! `nodeFile`: a file on nodes, its mode, owner and parsed content.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::api::Api;
use super::expect::{Expect, Format};
use super::{Check, CheckCx, CheckError, Finding, Verdict, node, object, task_file};
use crate::cluster::Capability;

/// Looks at a file of one node or of several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeFile {
    /// The node's name, or `control-plane`, `workers` or `all`.
    #[serde(default = "control_plane")]
    pub node: String,
    /// The absolute path.
    pub path: String,
    /// Nothing may be at the path; then the rest is left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// The exact permission bits, in octal and quoted: `"0600"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The widest permission bits: no bit beyond these may be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode_at_most: Option<String>,
    /// The owner's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The group's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// How the content is read for `expect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Expectations about `content`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Expect>,
}

fn control_plane() -> String {
    "control-plane".to_owned()
}

/// The largest file whose content is looked at.
const LARGEST: u64 = task_file::LARGEST;

impl Check for NodeFile {
    const NEEDS: &'static [Capability] = &[Capability::Api, Capability::Nodes];

    fn lint(&self, faults: &mut Vec<String>) {
        if !self.path.starts_with('/') {
            faults.push("path: it starts with /".to_owned());
        }
        for (field, mode) in [("mode", &self.mode), ("modeAtMost", &self.mode_at_most)] {
            if mode.as_deref().is_some_and(|mode| octal(mode).is_none()) {
                faults.push(format!("{field}: give an octal mode in quotes, such as \"0600\""));
            }
        }
        let facts = self.mode.is_some()
            || self.mode_at_most.is_some()
            || self.owner.is_some()
            || self.group.is_some()
            || !self.expect.is_empty();
        if self.absent == facts {
            faults.push("nodeFile: say what it is like, or that it is absent".to_owned());
        }
        if self.format.is_some() == self.expect.is_empty() {
            faults.push("format: it goes with expect".to_owned());
        }
        object::lint_expects("expect", &self.expect, &["content"], faults);
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let mut findings = Vec::new();
        let nodes = node::named(&api, &self.node).await?;
        if nodes.is_empty() {
            findings.push(Finding::new(format!("Node {}", self.node), "", "it exists", "it does not"));
        }
        for node in nodes {
            self.look(cx, &node, &mut findings).await?;
        }
        Ok(Verdict::of(findings))
    }
}

impl NodeFile {
    async fn look(
        &self,
        cx: &CheckCx<'_>,
        name: &str,
        findings: &mut Vec<Finding>,
    ) -> Result<(), CheckError> {
        let label = format!("{name}:{}", self.path);
        let facts = cx.cluster.node_exec(name, &["stat", "-L", "-c", "%a %U %G %s %F", &self.path]).await?;
        let Some(facts) = node::read(name, &self.path, facts)? else {
            if !self.absent {
                findings.push(Finding::new(&label, "", "it exists", "it does not"));
            }
            return Ok(());
        };
        if self.absent {
            findings.push(Finding::new(&label, "", "it does not exist", "it exists"));
            return Ok(());
        }
        let mut fields = facts.trim().splitn(5, ' ');
        let mut next = || fields.next().unwrap_or_default().to_owned();
        let (mode, owner, group, size, kind) = (next(), next(), next(), next(), next());
        let Some(bits) = octal(&mode) else {
            return Err(node::failed(format!("stat on {name} answered `{}`", facts.trim())));
        };
        if let Some(wanted) = &self.mode
            && octal(wanted) != Some(bits)
        {
            findings.push(Finding::new(&label, "mode", wanted, format!("{bits:04o}")));
        }
        if let Some(most) = &self.mode_at_most
            && octal(most).is_none_or(|most| bits & !most != 0)
        {
            findings.push(Finding::new(&label, "mode", format!("{most} or less"), format!("{bits:04o}")));
        }
        for (path, wanted, actual) in [("owner", &self.owner, owner), ("group", &self.group, group)] {
            if let Some(wanted) = wanted.as_ref().filter(|&wanted| *wanted != actual) {
                findings.push(Finding::new(&label, path, wanted, actual));
            }
        }
        let Some(format) = self.format else { return Ok(()) };
        if !kind.starts_with("regular") {
            findings.push(Finding::new(&label, "", "a file", kind));
            return Ok(());
        }
        if size.parse::<u64>().is_ok_and(|size| size > LARGEST) {
            let expected = format!("at most {LARGEST} bytes");
            findings.push(Finding::new(&label, "", expected, format!("{size} bytes")));
            return Ok(());
        }
        let content = cx.cluster.node_exec(name, &["cat", &self.path]).await?;
        let Some(text) = node::read(name, &self.path, content)? else {
            findings.push(Finding::new(&label, "", "it exists", "it does not"));
            return Ok(());
        };
        match task_file::parse(&text, format) {
            Ok(content) => {
                let bindings = BTreeMap::from([("content".to_owned(), content.clone())]);
                object::judge(&self.expect, &label, &content, &bindings, findings)
            }
            Err(reason) => {
                findings.push(Finding::new(&label, "", format!("{format:?}"), object::shorten(&reason)));
                Ok(())
            }
        }
    }
}

fn octal(mode: &str) -> Option<u32> {
    u32::from_str_radix(mode, 8).ok().filter(|&bits| bits <= 0o7777)
}
