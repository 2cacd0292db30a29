//! Where a document lies that a check parses, and how it is read into types: what is missing or malformed is a finding
//! with its line and column, what cannot be read cannot be judged. Knows no format's meaning.

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_json::Value;

use super::api::Api;
use super::object::shorten;
use super::task_file::{self, Content};
use super::{CheckCx, CheckError, Finding, node};
use crate::cluster::Capability;

/// Where a document lies.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Source {
    /// A file of the learner's task folder, relative to it.
    File(String),
    /// A file of a node.
    NodeFile(NodePath),
    /// A key of a ConfigMap.
    ConfigMap(KeyOf),
    /// A key of a Secret, decoded.
    Secret(KeyOf),
}

/// A file of a node.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodePath {
    /// The node's name, or `control-plane`.
    pub node: String,
    /// The absolute path.
    pub path: String,
}

/// A key of a ConfigMap or a Secret.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyOf {
    /// The namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The key.
    pub key: String,
}

impl Default for Source {
    fn default() -> Self {
        Self::File(String::new())
    }
}

impl Source {
    /// Pushes a fault for each thing that cannot be right.
    pub(crate) fn lint(&self, field: &str, faults: &mut Vec<String>) {
        match self {
            Self::File(file) => {
                if let Err(fault) = task_file::lint(file) {
                    faults.push(format!("{field}.file: {fault}"));
                }
            }
            Self::NodeFile(of) => {
                if of.node.is_empty() || !of.path.starts_with('/') {
                    faults.push(format!("{field}.nodeFile: name a node and a path that starts with /"));
                }
            }
            Self::ConfigMap(of) | Self::Secret(of) => {
                if of.namespace.is_empty() || of.name.is_empty() || of.key.is_empty() {
                    faults.push(format!("{field}: name namespace, object and key"));
                }
            }
        }
    }

    /// Returns what reading needs of a cluster.
    pub(crate) fn needs(&self) -> &'static [Capability] {
        match self {
            Self::NodeFile(_) => &[Capability::Api, Capability::Nodes],
            _ => &[Capability::Api],
        }
    }

    /// Names the document as findings do.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::File(file) => format!("file {file}"),
            Self::NodeFile(of) => format!("{}:{}", of.node, of.path),
            Self::ConfigMap(of) => format!("ConfigMap {}/{} key {}", of.namespace, of.name, of.key),
            Self::Secret(of) => format!("Secret {}/{} key {}", of.namespace, of.name, of.key),
        }
    }

    /// Reads the text; also makes sure that the cluster answers, since a verdict on a file alone would come even when
    /// there is no cluster any more.
    ///
    /// # Errors
    /// [`CheckError`] when the cluster does not answer or the document is there and cannot be read.
    pub(crate) async fn read(&self, api: &Api, cx: &CheckCx<'_>) -> Result<Content, CheckError> {
        self.read_up_to(api, cx, task_file::LARGEST).await
    }

    /// Reads as [`Source::read`] does, files of the task folder up to a size.
    ///
    /// # Errors
    /// [`CheckError`] when the cluster does not answer or the document is there and cannot be read.
    pub(crate) async fn read_up_to(
        &self,
        api: &Api,
        cx: &CheckCx<'_>,
        largest: u64,
    ) -> Result<Content, CheckError> {
        api.alive().await?;
        let missing = |what: String| Content::Unusable(Finding::new(what, "", "it exists", "it does not"));
        match self {
            Self::File(file) => Ok(match task_file::read(cx.task_dir, file, largest).await? {
                Content::Text(text) => Content::Text(plain(&text)),
                unusable => unusable,
            }),
            Self::NodeFile(of) => {
                let Some(name) = node::one(api, &of.node).await? else {
                    return Ok(missing(format!("Node {}", of.node)));
                };
                let output = cx.cluster.node_exec(&name, &["cat", &of.path]).await?;
                Ok(match node::read(&name, &of.path, output)? {
                    Some(text) => Content::Text(plain(&text)),
                    None => missing(self.label()),
                })
            }
            Self::ConfigMap(of) => {
                let found = api.get_known("v1", "ConfigMap", Some(&of.namespace), &of.name).await?;
                Ok(match found.as_ref().and_then(|object| object["data"][&of.key].as_str()) {
                    Some(text) => Content::Text(plain(text)),
                    None => missing(self.label()),
                })
            }
            Self::Secret(of) => {
                let found = api.get_known("v1", "Secret", Some(&of.namespace), &of.name).await?;
                let Some(data) = found.as_ref().and_then(|object| object["data"][&of.key].as_str()) else {
                    return Ok(missing(self.label()));
                };
                let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data)
                    .map_err(|_| CheckError::Api(format!("{} is no base64", self.label())))?;
                Ok(match String::from_utf8(bytes) {
                    Ok(text) => Content::Text(plain(&text)),
                    Err(_) => {
                        let bytes = "bytes that are no text";
                        Content::Unusable(Finding::new(self.label(), "", "a text", bytes))
                    }
                })
            }
        }
    }
}

/// Drops a byte order mark.
fn plain(text: &str) -> String {
    text.strip_prefix('\u{feff}').unwrap_or(text).to_owned()
}

/// A text that is not what it should be, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// Line and column, from 1, where they are known.
    pub(crate) at: Option<(u64, u64)>,
    /// What is wrong.
    pub(crate) message: String,
}

impl Malformed {
    /// Says it as a finding.
    pub(crate) fn finding(&self, label: &str, expected: &str) -> Finding {
        let path = self.at.map(|(line, column)| format!("line {line}, column {column}")).unwrap_or_default();
        Finding::new(label, path, expected, shorten(&self.message))
    }
}

impl From<serde_saphyr::Error> for Malformed {
    fn from(error: serde_saphyr::Error) -> Self {
        let error = error.without_snippet();
        let at = error.location().map(|at| (at.line(), at.column()));
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default();
        let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
        Self { at, message: message.to_owned() }
    }
}

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        let at = (error.line() > 0).then(|| (error.line() as u64, error.column() as u64));
        let text = error.to_string();
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
        Self { at, message: message.to_owned() }
    }
}

/// Parses the one document of a YAML text.
pub(crate) fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, Malformed> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    Ok(serde_saphyr::from_str_with_options(text, options)?)
}

/// Parses all documents of a YAML text.
pub(crate) fn yamls<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, Malformed> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
    Ok(serde_saphyr::from_multiple_with_options(text, options)?)
}

/// Parses a JSON text.
pub(crate) fn json<T: DeserializeOwned>(text: &str) -> Result<T, Malformed> {
    Ok(serde_json::from_str(text)?)
}

/// Parses a text that may be JSON or YAML, by how it begins.
pub(crate) fn json_or_yaml(text: &str) -> Result<Value, Malformed> {
    if text.trim_start().starts_with(['{', '[']) {
        json(text).or_else(|error| yaml(text).map_err(|_| error))
    } else {
        yaml(text)
    }
}

/// Reads null as nothing given, as Kubernetes does.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Keeps the first findings of a long table, and counts the rest.
pub(crate) fn cap(label: &str, shown: usize, findings: &mut Vec<Finding>) {
    if findings.len() > shown {
        let more = findings.len() - shown;
        findings.truncate(shown);
        findings.push(Finding::new(label, "and further", "none", format!("{more} more")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        #[serde(default, deserialize_with = "nullable")]
        a: Vec<u8>,
    }

    #[test]
    fn faults_have_their_place() {
        let fault = yaml::<Strict>("a: [1]\nbb: 2\n").unwrap_err();
        assert_eq!((fault.at, fault.message.contains("`bb`")), (Some((2, 1)), true), "{fault:?}");
        let fault = json::<Strict>("{\n  \"a\": [1,]\n}").unwrap_err();
        assert_eq!(fault.at, Some((2, 11)), "{fault:?}");
        assert!(yaml::<Strict>("a: [1]\na: [2]\n").is_err(), "a key given twice");
        assert!(yaml::<Strict>("a:\n").unwrap().a.is_empty());
    }
}
