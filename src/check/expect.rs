//! Expectations written in CEL, and the formats of files they look into. Knows no cluster.

use serde::{Deserialize, Serialize};

/// One expectation: an expression that must be true, and what to tell the learner when it is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Expect {
    /// The CEL expression. It must give true; false and an error of evaluation, such as a missing key, are findings.
    pub that: String,
    /// The field it is about, such as `spec.template.spec.automountServiceAccountToken`; findings show it and the
    /// value that is there.
    pub path: String,
    /// What should be there, in a few words or as a value.
    pub expected: String,
    /// A CEL expression for what is there; without it the value at `path` is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
}

/// How the text of a file is read before expectations look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Format {
    /// `content` is the YAML document; several documents are a list.
    Yaml,
    /// `content` is the JSON document.
    Json,
    /// `content` is a list of JSON documents, one a line.
    JsonLines,
    /// `content` maps sections to keys to values; keys before the first section are in section "". Comments are
    /// dropped, and of a key given twice the last one counts.
    Ini,
    /// `content` is the list of lines without comments (`#`), blank lines and surrounding space.
    Lines,
    /// `content` is the whole text.
    Text,
}
