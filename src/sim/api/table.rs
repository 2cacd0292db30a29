//! Objects as a Table: the columns of a v1.34 server and its cells, custom columns of CRDs by their JSON paths.
//! Cells are in `table/`, one file an area; how long ago something was is told against a given time.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::resources::Resource;
use crate::sim::object::Fields as _;
use jsonpath::JsonPath;

pub(crate) mod age;
mod cells;
pub(crate) mod jsonpath;
mod network;
mod nodes;
mod others;
mod pods;
mod storage;
mod workloads;

/// What the rows of a Table carry of their objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// PartialObjectMetadata.
    Metadata,
    /// The object itself.
    Object,
}

/// How objects of one resource are shown.
#[derive(Debug)]
pub struct Table {
    columns: Value,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    BuiltIn(cells::Printer),
    Custom(Vec<(String, Option<JsonPath>)>),
}

/// The columns that a resource without columns of its own has.
const FALLBACK: &str = "Name@\tCreated At:date";

static COLUMNS: LazyLock<HashMap<(&'static str, &'static str), Value>> = LazyLock::new(|| {
    let lines = include_str!("table/columns.tsv").lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (group_version, rest) = line.split_once('\t')?;
            let (resource, columns) = rest.split_once('\t')?;
            let group = group_version.split_once('/').map_or("", |(group, _)| group);
            Some(((group, resource), parse_columns(columns)))
        })
        .collect()
});

fn parse_columns(columns: &str) -> Value {
    let column = |text: &str| {
        let (text, priority) = text.strip_suffix('*').map_or((text, 0), |text| (text, 1));
        let (text, kind) = text.split_once(':').unwrap_or((text, "string"));
        let (name, format) = text.strip_suffix('@').map_or((text, ""), |name| (name, "name"));
        column(name, kind, format, priority)
    };
    columns.split('\t').map(column).collect()
}

fn column(name: &str, kind: &str, format: &str, priority: i64) -> Value {
    let description = match name {
        "Name" => {
            "Name must be unique within a namespace. Is required when creating resources, although some resources may \
             allow a client to request the generation of an appropriate name automatically. Name is primarily intended \
             for creation idempotence and configuration definition. Cannot be updated. More info: \
             https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
        }
        "Age" | "Created At" => {
            "CreationTimestamp is a timestamp representing the server time when this object was created. It is not \
             guaranteed to be set in happens-before order across separate operations. Clients may not set this value. \
             It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. \
             More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
        }
        _ => "",
    };
    json!({ "name": name, "type": kind, "format": format, "description": description, "priority": priority })
}

impl Table {
    /// Looks up how a resource is shown.
    pub fn of(resource: &Resource) -> Self {
        if let Some(version) = resource.definition_version() {
            return Self::custom(version);
        }
        let columns = COLUMNS.get(&(resource.group.as_str(), resource.plural.as_str())).cloned();
        Self {
            columns: columns.unwrap_or_else(|| parse_columns(FALLBACK)),
            rows: Rows::BuiltIn(cells::printer(&resource.group, &resource.plural)),
        }
    }

    fn custom(version: &Value) -> Self {
        let mut columns = vec![column("Name", "string", "name", 0)];
        let mut rows = Vec::new();
        let mut add = |name: &str, kind: &str, path: &str| {
            columns.push(column(name, kind, "", 0));
            rows.push((kind.to_owned(), JsonPath::parse(path)));
        };
        let custom = version.items("additionalPrinterColumns");
        if custom.is_empty() {
            add("Age", "date", ".metadata.creationTimestamp");
        }
        for own in custom {
            add(own.text("name"), own.text("type"), own.text("jsonPath"));
        }
        for (shown, own) in columns[1..].iter_mut().zip(custom) {
            shown["format"] = own.text("format").into();
            let described = own.text("description");
            shown["description"] = if described.is_empty() {
                format!("Custom resource definition column (in JSONPath format): {}", own.text("jsonPath"))
            } else {
                described.to_owned()
            }
            .into();
            shown["priority"] = own.int("priority").unwrap_or(0).into();
        }
        Self { columns: columns.into(), rows: Rows::Custom(rows) }
    }

    /// Returns `columnDefinitions`.
    pub fn columns(&self) -> &Value {
        &self.columns
    }

    /// Returns the cells of an object.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match &self.rows {
            Rows::BuiltIn(printer) => printer(object, now),
            Rows::Custom(columns) => {
                let mut cells = vec![object.at("metadata").text("name").into()];
                for (kind, path) in columns {
                    let value = path.as_ref().and_then(|path| path.first(object));
                    cells.push(value.map_or(Value::Null, |value| custom_cell(kind, value, now)));
                }
                cells
            }
        }
    }

    /// Returns one row.
    pub fn row(&self, object: &Value, include: Include, now: Timestamp) -> Value {
        let mut row = json!({ "cells": self.cells(object, now) });
        let conditions = self.conditions(object);
        if !conditions.is_empty() {
            row["conditions"] = conditions.into();
        }
        row["object"] = match include {
            Include::None => Value::Null,
            Include::Metadata => json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": object.at("metadata") }),
            Include::Object => object.clone(),
        };
        row
    }

    /// Writes a whole Table as JSON, without copying what it shows. `version` is that of `meta.k8s.io`, `list` the
    /// metadata of the list.
    pub fn write<T: Borrow<Value>>(
        &self,
        objects: &[T],
        version: &str,
        list: &Value,
        include: Include,
        now: Timestamp,
    ) -> Vec<u8> {
        let mut out = Vec::with_capacity(512 + objects.len() * 1024);
        out.extend_from_slice(
            format!("{{\"kind\":\"Table\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":").as_bytes(),
        );
        write(&mut out, list);
        out.extend_from_slice(b",\"columnDefinitions\":");
        write(&mut out, &self.columns);
        out.extend_from_slice(b",\"rows\":[");
        for (at, object) in objects.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            self.write_row(&mut out, object.borrow(), version, include, now);
        }
        out.extend_from_slice(b"]}");
        out
    }

    fn write_row(&self, out: &mut Vec<u8>, object: &Value, version: &str, include: Include, now: Timestamp) {
        out.extend_from_slice(b"{\"cells\":");
        write(out, &self.cells(object, now).into());
        let conditions = self.conditions(object);
        if !conditions.is_empty() {
            out.extend_from_slice(b",\"conditions\":");
            write(out, &conditions.into());
        }
        out.extend_from_slice(b",\"object\":");
        match include {
            Include::None => out.extend_from_slice(b"null"),
            Include::Metadata => {
                out.extend_from_slice(b"{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/");
                out.extend_from_slice(version.as_bytes());
                out.extend_from_slice(b"\",\"metadata\":");
                write(out, object.at("metadata"));
                out.push(b'}');
            }
            Include::Object => write(out, object),
        }
        out.push(b'}');
    }

    fn conditions(&self, object: &Value) -> Vec<Value> {
        match &self.rows {
            Rows::BuiltIn(_) if object.text("kind") == "Pod" => pods::conditions(object),
            _ => Vec::new(),
        }
    }
}

fn write(out: &mut Vec<u8>, value: &Value) {
    // Writing a Value to memory does not fail.
    let _ = serde_json::to_writer(out, value);
}

/// Shows a value of a custom resource as its column's type says; null where it is of another.
fn custom_cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match kind {
        "string" => match value {
            Value::String(text) => text.clone().into(),
            Value::Null => "<nil>".into(),
            other => other.to_string().into(),
        },
        "integer" => match (value.as_i64(), value.as_f64()) {
            (Some(whole), _) => whole.into(),
            #[expect(clippy::cast_possible_truncation, reason = "upstream cuts fractions off")]
            (None, Some(float)) => (float as i64).into(),
            _ => Value::Null,
        },
        "number" if value.is_number() => value.clone(),
        "boolean" if value.is_boolean() => value.clone(),
        "date" => match value {
            Value::String(_) => age::read(value)
                .map_or_else(|| "<invalid>".to_owned(), |time| age::human(now.duration_since(time)))
                .into(),
            _ => Value::Null,
        },
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests;
