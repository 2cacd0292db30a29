//! `answer`: what the learner wrote into the task folder, compared with facts.

use serde::{Deserialize, Serialize};

use super::expect::{Expect, Format};
use super::select::Select;
use super::{Check, CheckCx, CheckError, Verdict};

/// Compares a file of the task folder with facts: given ones, or ones computed from the cluster when it is judged.
///
/// Exactly one of `lines`, `linesFrom`, `value`, `valueFrom` and `expect` says what must be in it. A file that is
/// missing, too large or not text is a finding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Answer {
    /// The file, relative to the task folder.
    pub file: String,
    /// The exact set of lines; blank lines and surrounding space do not count, a line too many does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// A CEL expression for the exact set of lines, over the `facts`: a list of strings, not empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines_from: Option<String>,
    /// The one value that the file holds, without surrounding space.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// A CEL expression for the value, over the `facts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_from: Option<String>,
    /// How the file is read for `expect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// Expectations about `content` and the `facts`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expect: Vec<Expect>,
    /// Lists of objects that expressions may use by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// Whether the order of lines counts.
    #[serde(default)]
    pub order: Order,
    /// Whether upper and lower case differ.
    #[serde(default)]
    pub case: Case,
    /// The largest size in bytes that is read.
    #[serde(default = "max_bytes")]
    pub max_bytes: u64,
    /// Hides the expected value in findings, for tasks where it would give the answer away.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub secret: bool,
}

/// Objects of the cluster under a name that expressions use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Fact {
    /// The name: a CEL identifier.
    pub name: String,
    /// Which objects, ordered by namespace and name.
    pub objects: Select,
    /// Takes the objects as they were after the seed, for facts that the task itself changes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_seeded: bool,
}

/// Whether the order of lines counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Order {
    /// It does not.
    #[default]
    Any,
    /// It does.
    Exact,
}

/// Whether upper and lower case differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Case {
    /// They do.
    #[default]
    Sensitive,
    /// They do not.
    Insensitive,
}

fn max_bytes() -> u64 {
    64 * 1024
}

impl Check for Answer {
    async fn run(&self, _cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        Err(CheckError::Spec("`answer` is not judged yet".to_owned()))
    }
}
