//! A scenario as it is written: the shapes of `scenario.yaml`, with the places of what may be at fault.
//! The JSON Schema is generated from these types. Knows syntax only; `validate` gives it meaning.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

use super::Difficulty;
use crate::check::CheckKind;
use crate::cluster::Capability;
use crate::curriculum::{ResourceId, TopicId};

/// A place in a text; lines and columns count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

impl At {
    pub(crate) const START: Self = Self { line: 1, column: 1 };
}

impl From<serde_saphyr::Location> for At {
    fn from(location: serde_saphyr::Location) -> Self {
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX).max(1);
        Self { line: number(location.line()), column: number(location.column()) }
    }
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) at: At,
}

impl<T> Deref for Placed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<T>::deserialize(deserializer)?;
        Ok(Self { at: spanned.referenced.into(), value: spanned.value })
    }
}

impl<T: JsonSchema> JsonSchema for Placed<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A scenario of cks-lab.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Scenario")]
pub(crate) struct RawScenario {
    /// The version of the format.
    #[expect(dead_code, reason = "it is parsed for the error it gives when it is another version")]
    pub(crate) api_version: Placed<ApiVersion>,
    /// The name: kebab-case, unique, and the name of the folder.
    pub(crate) id: Placed<String>,
    /// The title; the same for every variant.
    pub(crate) title: Placed<String>,
    /// The topic of the curriculum.
    pub(crate) topic: Placed<TopicId>,
    /// How much it asks for: quick up to 4 minutes, core up to 9, deep up to 14.
    pub(crate) difficulty: Placed<Difficulty>,
    /// How many minutes it is meant to take.
    pub(crate) minutes: Placed<u32>,
    /// What it needs of a cluster: all that its checks and its seed need.
    pub(crate) needs: Placed<Vec<Capability>>,
    /// The variables, drawn from the variant number; every other text may use them as `{{ name }}`. This block itself
    /// is read before anything is drawn.
    #[serde(default)]
    #[expect(dead_code, reason = "`RawVars` is read instead, before anything is rendered")]
    pub(crate) vars: BTreeMap<String, Placed<RawVar>>,
    /// The file of the task text, Markdown.
    pub(crate) task: Placed<String>,
    /// What brings a cluster into the state that the task starts from, in order.
    #[serde(default)]
    pub(crate) seed: Vec<Placed<RawSeedStep>>,
    /// What an attacker does with the seed: works before the fix, is refused after it.
    #[serde(default)]
    pub(crate) attack: Option<Placed<RawAttack>>,
    /// The checks, in the order in which they are shown.
    pub(crate) checks: Placed<Vec<Placed<RawCheck>>>,
    /// The hints, in the order in which they are given.
    #[serde(default)]
    pub(crate) hints: Placed<Texts>,
    /// The solution.
    pub(crate) solution: RawSolution,
    /// What proves that the checks tell right from wrong.
    pub(crate) proofs: Placed<RawProofs>,
}

/// The keys that a listing needs; they are read without rendering and so may not use variables.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawHeader {
    #[expect(dead_code, reason = "it is parsed for the error it gives when it is another version")]
    pub(crate) api_version: ApiVersion,
    pub(crate) id: Placed<String>,
    pub(crate) title: String,
    pub(crate) topic: TopicId,
    pub(crate) difficulty: Difficulty,
    pub(crate) minutes: u32,
    pub(crate) needs: Vec<Capability>,
}

impl RawHeader {
    /// The keys of the header as they are written.
    pub(crate) const KEYS: [&'static str; 7] =
        ["apiVersion", "id", "title", "topic", "difficulty", "minutes", "needs"];
}

/// The `vars` block by itself.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RawVars {
    #[serde(default)]
    pub(crate) vars: BTreeMap<String, Placed<RawVar>>,
}

/// The version of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub(crate) enum ApiVersion {
    /// The one there is.
    #[serde(rename = "cks-lab/v1")]
    V1,
}

/// Texts in order.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(crate) struct Texts(pub(crate) Vec<String>);

impl Default for Placed<Texts> {
    fn default() -> Self {
        Self { value: Texts::default(), at: At::START }
    }
}

/// How a variable is drawn.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Variable")]
pub(crate) enum RawVar {
    /// One of these texts. Neighbouring variants get different ones.
    Choose(Vec<String>),
    /// A whole number from `min` to `max`.
    Int(RawRange),
    /// A word that can be part of a name, unlike the other words and texts of the draw.
    Word(True),
    /// A person's first name in lower case, unlike the other names of the draw.
    Person(True),
    /// That many hexadecimal digits, of which the first is a letter.
    Hex(u32),
    /// That many letters and digits, of which the first is a letter.
    Secret(u32),
    /// An IPv4 address of this network, such as `10.20.0.0/16`.
    Address(#[schemars(with = "String")] ipnet::Ipv4Net),
    /// Always this text.
    Fixed(String),
    /// A text made of the other variables: `"{{ app }}-ci"`. It cannot use another variable of this sort.
    Text(String),
}

/// A range of whole numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Range")]
pub(crate) struct RawRange {
    /// The least.
    pub(crate) min: i64,
    /// The greatest.
    pub(crate) max: i64,
}

/// The value `true`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct True;

impl<'de> Deserialize<'de> for True {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match bool::deserialize(deserializer)? {
            true => Ok(Self),
            false => Err(serde::de::Error::custom("expected `true`")),
        }
    }
}

impl JsonSchema for True {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "True".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "boolean", "const": true })
    }
}

/// One step of the seed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "SeedStep")]
pub(crate) enum RawSeedStep {
    /// Applies the objects of a manifest, each document in order.
    Apply(String),
    /// Waits until all workloads of a namespace are ready.
    WaitReady(RawWaitReady),
    /// Writes a file into the learner's task folder.
    File(RawTaskFile),
    /// Writes a file onto a node.
    NodeFile(RawNodeFile),
    /// Runs a shell script on a node as root; it must end with 0.
    NodeRun(RawNodeRun),
}

/// What is waited for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WaitReady")]
pub(crate) struct RawWaitReady {
    /// The namespace.
    pub(crate) namespace: String,
    /// For how many seconds; 120 when left out.
    #[serde(default)]
    pub(crate) seconds: Option<u32>,
}

/// A file for the task folder.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TaskFile")]
pub(crate) struct RawTaskFile {
    /// The file in the scenario's folder.
    pub(crate) from: String,
    /// Where it goes in the task folder.
    pub(crate) to: String,
    /// The permission bits as a text such as `"0600"`; `"0644"` when left out.
    #[serde(default)]
    pub(crate) mode: Option<String>,
    /// Takes the file as it is; otherwise it is rendered with the variables.
    #[serde(default)]
    pub(crate) verbatim: bool,
}

/// A file for a node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NodeFile")]
pub(crate) struct RawNodeFile {
    /// The node's name.
    pub(crate) node: String,
    /// The file in the scenario's folder.
    pub(crate) from: String,
    /// The absolute path on the node.
    pub(crate) to: String,
    /// The permission bits as a text such as `"0600"`; `"0644"` when left out.
    #[serde(default)]
    pub(crate) mode: Option<String>,
    /// `user:group`; `root:root` when left out.
    #[serde(default)]
    pub(crate) owner: Option<String>,
    /// Takes the file as it is; otherwise it is rendered with the variables.
    #[serde(default)]
    pub(crate) verbatim: bool,
}

/// A script for a node.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NodeRun")]
pub(crate) struct RawNodeRun {
    /// The node's name.
    pub(crate) node: String,
    /// The script.
    pub(crate) script: String,
}

/// What the seed lets an attacker do.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Attack")]
pub(crate) struct RawAttack {
    /// What it does, in words; shown to the learner with the grade.
    pub(crate) describe: String,
    /// What the attacker types, bash.
    pub(crate) run: String,
    /// What it gives before the fix.
    pub(crate) before: RawExpectation,
    /// What it gives after the fix.
    pub(crate) after: RawExpectation,
}

/// What a run of steps gives.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Expectation")]
pub(crate) struct RawExpectation {
    /// The exit status; 0 when left out.
    #[serde(default)]
    pub(crate) exit: i32,
    /// A text that stdout contains.
    #[serde(default)]
    pub(crate) output: Option<String>,
    /// A text that stderr contains.
    #[serde(default)]
    pub(crate) error: Option<String>,
}

/// One check. Either `points` or `gate` says what it does to the score.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Check")]
pub(crate) struct RawCheck {
    /// The name: kebab-case, unique in the scenario.
    pub(crate) id: Placed<String>,
    /// What it earns when it passes.
    #[serde(default)]
    pub(crate) points: Option<Placed<u32>>,
    /// It is true before anything is done and earns nothing; when it is broken, the task earns nothing or loses its
    /// `cost`.
    #[serde(default)]
    pub(crate) gate: bool,
    /// How many points a broken gate costs; all when left out.
    #[serde(default)]
    pub(crate) cost: Option<Placed<u32>>,
    /// What must hold, in words, Markdown.
    pub(crate) describe: String,
    /// Why it matters.
    #[serde(default)]
    pub(crate) why: String,
    /// What to read; the topic's own links when left out.
    #[serde(default)]
    pub(crate) read: Vec<Placed<ResourceId>>,
    /// The task text leaves the names in this check for the learner to find.
    #[serde(default)]
    pub(crate) unnamed: bool,
    /// How many seconds judging may take; 60 when left out.
    #[serde(default)]
    pub(crate) seconds: Option<u32>,
    /// How it is judged: a map of one key, which names the kind.
    pub(crate) assert: Placed<CheckKind>,
}

/// The solution.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Solution")]
pub(crate) struct RawSolution {
    /// The file of the explanation, Markdown.
    pub(crate) explain: Placed<String>,
    /// What a learner would type, bash.
    pub(crate) run: Placed<String>,
}

/// What proves that the checks tell right from wrong.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Proofs")]
pub(crate) struct RawProofs {
    /// Other fixes, which must earn everything.
    #[serde(default)]
    pub(crate) right: Vec<Placed<RawRight>>,
    /// Fixes that must not.
    #[serde(default)]
    pub(crate) wrong: Vec<Placed<RawWrong>>,
}

/// Another fix that must earn everything.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RightProof")]
pub(crate) struct RawRight {
    /// What it does.
    pub(crate) describe: String,
    /// What a learner would type, bash.
    pub(crate) run: String,
}

/// A fix that must not earn everything.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WrongProof")]
pub(crate) struct RawWrong {
    /// What it does.
    pub(crate) describe: String,
    /// What a learner would type, bash.
    pub(crate) run: String,
    /// Exactly the checks whose points are awarded.
    pub(crate) earns: Vec<Placed<String>>,
    /// Exactly the gates that it breaks.
    #[serde(default)]
    pub(crate) breaks: Vec<Placed<String>>,
}
