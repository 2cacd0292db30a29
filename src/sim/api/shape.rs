//! Shapes other than the object itself: PartialObjectMetadata and Table.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::resources::Resource;
pub(crate) use super::table::Include;
use super::table::Table;
use crate::sim::field::{FieldError, Path};
use crate::sim::status::Status;

impl Include {
    pub(crate) fn read(text: &str) -> Result<Self, Status> {
        match text {
            "None" => Ok(Self::None),
            "" | "Metadata" => Ok(Self::Metadata),
            "Object" => Ok(Self::Object),
            other => {
                let error = FieldError::not_supported(
                    &Path::new("includeObject"),
                    other,
                    &["Metadata", "None", "Object"],
                );
                Err(Status::invalid("meta.k8s.io", "TableOptions", "", &vec![error]))
            }
        }
    }
}

/// Returns an object's metadata as PartialObjectMetadata.
pub(crate) fn partial(object: &Value, version: &str) -> Value {
    let mut out = Map::new();
    out.insert("kind".to_owned(), "PartialObjectMetadata".into());
    out.insert("apiVersion".to_owned(), format!("meta.k8s.io/{version}").into());
    out.insert("metadata".to_owned(), object["metadata"].clone());
    out.into()
}

/// Renders objects as a Table.
pub(crate) fn table(resource: &Resource, objects: &[Arc<Value>], include: Include, now: Timestamp) -> Value {
    let table = Table::of(resource);
    let rows: Vec<Value> = objects.iter().map(|object| table.row(object, include, now)).collect();
    json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {},
        "columnDefinitions": table.columns(), "rows": rows })
}
