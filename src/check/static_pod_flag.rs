//! `staticPodFlag`: the flags of a control-plane component as it runs, whatever its manifest says.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::api::Api;
use super::{Check, CheckCx, CheckError, Finding, Verdict, node};
use crate::cluster::Capability;

/// Looks at the arguments of a running process: `kube-apiserver`, `etcd`, `kubelet`, ...
///
/// A comment, an edit that was not picked up and a manifest with a fault change nothing here. Of a flag that is given
/// more than once the last counts, as the components read them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticPodFlag {
    /// The node's name, or `control-plane`, `workers` or `all`.
    #[serde(default = "control_plane")]
    pub node: String,
    /// The program, such as `kube-apiserver`.
    pub component: String,
    /// What is expected of its flags.
    pub flags: Vec<FlagRow>,
}

/// What is expected of one flag. At least one of `is`, `anyOf`, `includes`, `excludes` and `absent`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlagRow {
    /// Its name without dashes, such as `anonymous-auth`.
    pub flag: String,
    /// What it is where it is not given, by the component's documentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
    /// Values of which it has one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub any_of: Vec<String>,
    /// Items that its comma-separated list has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<String>,
    /// Items that its comma-separated list does not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<String>,
    /// It is not given.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
}

fn control_plane() -> String {
    "control-plane".to_owned()
}

impl Check for StaticPodFlag {
    const NEEDS: &'static [Capability] = &[Capability::Api, Capability::Nodes];

    fn lint(&self, faults: &mut Vec<String>) {
        if self.component.is_empty() || self.component.contains('/') {
            faults.push("component: name the program, such as kube-apiserver".to_owned());
        }
        if self.flags.is_empty() {
            faults.push("flags: without flags it cannot fail".to_owned());
        }
        for (index, row) in self.flags.iter().enumerate() {
            let at = format!("flags[{index}]");
            if row.flag.is_empty() || row.flag.starts_with('-') {
                faults.push(format!("{at}.flag: the name without dashes"));
            }
            let asks = row.is.is_some()
                || !row.any_of.is_empty()
                || !row.includes.is_empty()
                || !row.excludes.is_empty();
            if asks == row.absent {
                faults.push(format!("{at}: say what it is, or that it is absent"));
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
        for name in nodes {
            let processes = node::output(cx.cluster, &name, &["ps", "-ww", "-eo", "args="]).await?;
            let running: Vec<Vec<&str>> = processes
                .lines()
                .map(|line| line.split_whitespace().collect::<Vec<_>>())
                .filter(|words| {
                    words.first().is_some_and(|word| word.rsplit('/').next() == Some(&*self.component))
                })
                .collect();
            let label = format!("{} on {name}", self.component);
            if running.is_empty() {
                findings.push(Finding::new(&label, "", "it runs", "it does not"));
            }
            for words in running {
                for row in &self.flags {
                    row.judge(&label, &words, &mut findings);
                }
            }
        }
        findings.dedup();
        Ok(Verdict::of(findings))
    }
}

impl FlagRow {
    fn judge(&self, label: &str, words: &[&str], findings: &mut Vec<Finding>) {
        let given = value(words, &self.flag);
        let path = format!("--{}", self.flag);
        let shown = || match (&given, &self.default) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) => format!("not given, which is {default}"),
            (None, None) => "not given".to_owned(),
        };
        let mut wrong = |expected: String| findings.push(Finding::new(label, &path, expected, shown()));
        if self.absent {
            if given.is_some() {
                wrong("not given".to_owned());
            }
            return;
        }
        let value = given.clone().or_else(|| self.default.clone());
        let accepted: Vec<&String> = self.is.iter().chain(&self.any_of).collect();
        if !accepted.is_empty()
            && !accepted.iter().any(|wanted| value.as_ref().is_some_and(|v| same(wanted, v)))
        {
            wrong(accepted.iter().map(|text| text.as_str()).collect::<Vec<_>>().join(" or "));
        }
        let items: BTreeSet<&str> = value
            .iter()
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .collect();
        let missing: Vec<&str> =
            self.includes.iter().map(String::as_str).filter(|item| !items.contains(item)).collect();
        if !missing.is_empty() {
            wrong(format!("with {}", missing.join(", ")));
        }
        let extra: Vec<&str> =
            self.excludes.iter().map(String::as_str).filter(|item| items.contains(item)).collect();
        if !extra.is_empty() {
            wrong(format!("without {}", extra.join(", ")));
        }
    }
}

/// Compares values as the components read them: `true`, `True` and `1` are one boolean.
fn same(wanted: &str, actual: &str) -> bool {
    let truth = |text: &str| match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    };
    match (wanted, truth(actual)) {
        ("true", Some(actual)) => actual,
        ("false", Some(actual)) => !actual,
        _ => wanted == actual,
    }
}

/// Returns the value of a flag in a command line, by the last time that it is given; `true` for one without value.
fn value(words: &[&str], flag: &str) -> Option<String> {
    let mut found = None;
    for (index, word) in words.iter().enumerate().skip(1) {
        let Some(name) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
        if let Some((name, value)) = name.split_once('=') {
            if name == flag {
                found = Some(value.to_owned());
            }
        } else if name == flag {
            let next = words.get(index + 1).filter(|next| !next.starts_with('-'));
            found = Some(next.map_or_else(|| "true".to_owned(), |next| (*next).to_owned()));
        }
    }
    found
}
