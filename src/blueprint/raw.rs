//! A blueprint as it is written, with the places of what may be at fault. The JSON Schema is generated from these
//! types. Knows syntax only.

use std::sync::LazyLock;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::scenario::raw::{ApiVersion, Placed};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = schemars::schema_for!(RawBlueprint);
    schema.insert("title".to_owned(), "A blueprint of an exam".into());
    schema.to_value()
});

pub(super) fn schema() -> &'static Value {
    &SCHEMA
}

/// A blueprint of an exam of cks-lab.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Blueprint")]
pub(super) struct RawBlueprint {
    /// The version of the format.
    #[expect(dead_code, reason = "it is parsed for the error it gives when it is another version")]
    pub(super) api_version: Placed<ApiVersion>,
    /// What to call it.
    pub(super) title: Placed<String>,
    /// The curriculum's track; the newest when left out.
    #[serde(default)]
    pub(super) track: Option<Placed<String>>,
    /// How many minutes there are; those of the track's exam when left out.
    #[serde(default)]
    pub(super) minutes: Option<Placed<u32>>,
    /// Percent that are needed to pass; those of the track's exam when left out.
    #[serde(default)]
    pub(super) pass_mark: Option<Placed<u32>>,
    /// The number that tasks, names and values are drawn from: the same number gives everybody the same exam. Another
    /// one each time when left out.
    #[serde(default)]
    pub(super) variant: Option<u32>,
    /// Where the clusters come from, such as `sim` or `kind`.
    #[serde(default)]
    pub(super) provider: Option<Placed<String>>,
    /// Whether study links of third parties are shown.
    #[serde(default)]
    pub(super) open_book: bool,
    /// Beginnings of the addresses of pages that may be open; those of the track when left out.
    #[serde(default)]
    pub(super) allowed_links: Vec<Placed<String>>,
    /// The tasks, in their order.
    pub(super) tasks: Placed<Vec<Placed<RawTask>>>,
}

/// One entry of the tasks: a map of one key.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Task")]
pub(super) enum RawTask {
    /// A certain scenario.
    Fixed(RawFixed),
    /// Scenarios that are drawn.
    Drawn(RawDrawn),
}

/// A certain scenario.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "FixedTask")]
pub(super) struct RawFixed {
    /// Its id.
    pub(super) scenario: Placed<String>,
    /// Its share of the exam in percent; tasks without one share what is left by domain and minutes.
    #[serde(default)]
    pub(super) weight: Option<Placed<u32>>,
    /// The number that its names and values are drawn from; one that follows from the exam's when left out.
    #[serde(default)]
    pub(super) variant: Option<u32>,
}

/// Scenarios that are drawn.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "DrawnTasks")]
pub(super) struct RawDrawn {
    /// Of which domain; of any by the domains' weights when left out.
    #[serde(default)]
    pub(super) domain: Option<Placed<String>>,
    /// How many; 1 when left out.
    #[serde(default)]
    pub(super) number: Option<Placed<u32>>,
    /// The share of the exam that each has, in percent.
    #[serde(default)]
    pub(super) weight: Option<Placed<u32>>,
}
