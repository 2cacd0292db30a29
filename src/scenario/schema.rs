//! The JSON Schema of `scenario.yaml`, generated from the types that parse it, so that the two cannot drift.

use std::sync::LazyLock;

use serde_json::Value;

use super::raw::RawScenario;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = schemars::schema_for!(RawScenario);
    schema.insert("title".to_owned(), "A cks-lab scenario".into());
    schema.to_value()
});

/// Returns the JSON Schema (2020-12) of `scenario.yaml`.
pub fn schema() -> &'static Value {
    &SCHEMA
}

/// Returns the schema as the text that is published.
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}
