//! `atRest`: how values lie in etcd.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::Api;
use super::{Check, CheckCx, CheckError, Finding, Verdict, document, node};
use crate::cluster::Capability;

/// Reads raw values out of etcd and tells which provider wrote them.
///
/// The set is `names`, or every object of the resource in the namespace; an empty set fails. What the API server would
/// do with the next write says nothing about what was written before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AtRest {
    /// The node's name, or `control-plane`.
    #[serde(default = "control_plane")]
    pub node: String,
    /// The resource of the core group, such as `secrets`.
    #[serde(default = "secrets")]
    pub resource: String,
    /// The namespace.
    pub namespace: String,
    /// The objects; all of the namespace when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Who must have written them, any of these.
    pub by: Vec<AtRestProvider>,
    /// The key that must have been used, by its name in the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A provider of an EncryptionConfiguration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AtRestProvider {
    /// Nobody: the value is plain.
    Identity,
    /// AES-CBC.
    AesCbc,
    /// AES-GCM.
    AesGcm,
    /// XSalsa20 and Poly1305.
    Secretbox,
    /// A KMS plugin.
    Kms,
}

fn control_plane() -> String {
    "control-plane".to_owned()
}

fn secrets() -> String {
    "secrets".to_owned()
}

/// How many findings are shown.
const SHOWN: usize = 10;

/// Asks etcd with the certificates that kubeadm lays; on a node without etcdctl in etcd's own container.
const SCRIPT: &str = r#"export ETCDCTL_API=3
set -- "$1" --endpoints=https://127.0.0.1:2379 --cacert=/etc/kubernetes/pki/etcd/ca.crt \
  --cert=/etc/kubernetes/pki/etcd/server.crt --key=/etc/kubernetes/pki/etcd/server.key
if command -v etcdctl >/dev/null 2>&1; then exec etcdctl get "$@" --prefix -w json; fi
id=$(crictl ps -q --state Running --name '^etcd$' | head -n 1)
exec crictl exec "$id" etcdctl get "$@" --prefix -w json"#;

impl Check for AtRest {
    const NEEDS: &'static [Capability] = &[Capability::Api, Capability::Nodes];

    fn lint(&self, faults: &mut Vec<String>) {
        if self.namespace.is_empty() {
            faults.push("namespace: name it".to_owned());
        }
        if self.by.is_empty() {
            faults.push("by: say who must have written the values".to_owned());
        }
        if self.key.is_some() && self.by.contains(&AtRestProvider::Identity) {
            faults.push("key: a plain value has none".to_owned());
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        api.alive().await?;
        let Some(node) = node::one(&api, &self.node).await? else {
            let finding = Finding::new(format!("Node {}", self.node), "", "it exists", "it does not");
            return Ok(Verdict::Fail(vec![finding]));
        };
        let folder = format!("/registry/{}/{}/", self.resource, self.namespace);
        let answer = node::output(cx.cluster, &node, &["sh", "-c", SCRIPT, "sh", &folder]).await?;
        let answer: Value = serde_json::from_str(&answer)
            .map_err(|error| node::failed(format!("etcd on {node} gave no JSON: {error}")))?;
        let mut found = Vec::new();
        for pair in answer["kvs"].as_array().map(Vec::as_slice).unwrap_or_default() {
            let bytes =
                |field: &str| STANDARD.decode(pair[field].as_str().unwrap_or_default()).unwrap_or_default();
            let key = String::from_utf8_lossy(&bytes("key")).into_owned();
            found.push((key.trim_start_matches(&folder).to_owned(), bytes("value")));
        }
        let mut findings = Vec::new();
        let label = |name: &str| format!("etcd value {folder}{name}");
        if self.names.is_empty() && found.is_empty() {
            findings.push(Finding::new(label(""), "", "at least one", "none"));
        }
        for name in &self.names {
            if !found.iter().any(|(found, _)| found == name) {
                findings.push(Finding::new(label(name), "", "it exists", "it does not"));
            }
        }
        let asked = |name: &String| self.names.is_empty() || self.names.contains(name);
        for (name, value) in found.iter().filter(|(name, _)| asked(name)) {
            let (provider, key) = writer(value);
            let fits = provider.is_some_and(|provider| self.by.contains(&provider))
                && self.key.as_ref().is_none_or(|wanted| key.as_ref() == Some(wanted));
            if !fits {
                let by: Vec<&str> = self.by.iter().map(|provider| provider.words()).collect();
                let with = self.key.as_ref().map(|key| format!(" with key {key}")).unwrap_or_default();
                findings.push(Finding::new(
                    label(name),
                    "",
                    format!("{}{with}", by.join(" or ")),
                    shown(value),
                ));
            }
        }
        document::cap(&label(""), SHOWN, &mut findings);
        Ok(Verdict::of(findings))
    }
}

impl AtRestProvider {
    fn words(self) -> &'static str {
        match self {
            Self::Identity => "plain",
            Self::AesCbc => "encrypted by aescbc",
            Self::AesGcm => "encrypted by aesgcm",
            Self::Secretbox => "encrypted by secretbox",
            Self::Kms => "encrypted by kms",
        }
    }
}

/// Tells who wrote a value, and with which key.
fn writer(value: &[u8]) -> (Option<AtRestProvider>, Option<String>) {
    let Some(sealed) = value.strip_prefix(b"k8s:enc:") else { return (Some(AtRestProvider::Identity), None) };
    let mut parts = sealed.split(|byte| *byte == b':').map(String::from_utf8_lossy);
    let provider = match parts.next().as_deref() {
        Some("aescbc") => Some(AtRestProvider::AesCbc),
        Some("aesgcm") => Some(AtRestProvider::AesGcm),
        Some("secretbox") => Some(AtRestProvider::Secretbox),
        Some("kms") => Some(AtRestProvider::Kms),
        _ => None,
    };
    (provider, parts.nth(1).map(std::borrow::Cow::into_owned))
}

/// Shows what a value begins with, and nothing of what it holds.
fn shown(value: &[u8]) -> String {
    match writer(value) {
        (Some(AtRestProvider::Identity), _) => "plain".to_owned(),
        (Some(provider), Some(key)) => format!("{} with key {key}", provider.words()),
        _ => "encrypted by something unknown".to_owned(),
    }
}
