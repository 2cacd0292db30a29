//! Shapes other than the object itself: PartialObjectMetadata and Table.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::resources::Resource;
use crate::sim::field::{FieldError, Path};
use crate::sim::status::Status;

/// What the rows of a Table carry of their objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    None,
    Metadata,
    Object,
}

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
pub(crate) fn table(resource: &Resource, objects: &[Arc<Value>], include: Include, _now: Timestamp) -> Value {
    let _ = resource;
    let rows: Vec<Value> = objects
        .iter()
        .map(|object| {
            let mut row =
                json!({ "cells": [object["metadata"]["name"], object["metadata"]["creationTimestamp"]] });
            match include {
                Include::None => {}
                Include::Metadata => row["object"] = partial(object, "v1"),
                Include::Object => row["object"] = Value::clone(object),
            }
            row
        })
        .collect();
    json!({ "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "columnDefinitions": [
        { "name": "Name", "type": "string", "format": "name", "description": "", "priority": 0 },
        { "name": "Created At", "type": "date", "format": "", "description": "", "priority": 0 },
    ], "rows": rows })
}
