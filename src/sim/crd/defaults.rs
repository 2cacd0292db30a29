//! Defaults of a structural schema: for fields that are absent, or null where null is not allowed.

use serde_json::Value;

use crate::sim::object::Fields as _;

/// Tells whether a schema has a default anywhere.
pub(super) fn any(schema: &Value) -> bool {
    schema.has("default")
        || schema.entries("properties").iter().any(|(_, property)| any(property))
        || ["additionalProperties", "items"]
            .iter()
            .map(|within| schema.at(within))
            .any(|within| within.is_object() && any(within))
}

pub(super) fn apply(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            let additional = schema.at("additionalProperties");
            for (name, property) in schema.entries("properties") {
                let default = property.at("default");
                let missing = match map.get(name) {
                    None => true,
                    Some(Value::Null) => property.truth("nullable") != Some(true),
                    Some(_) => false,
                };
                if missing && !default.is_null() {
                    map.insert(name.to_owned(), default.clone());
                }
            }
            for (name, value) in map.iter_mut() {
                match schema.at("properties").get(name) {
                    Some(property) => apply(property, value),
                    None if additional.is_object() => apply(additional, value),
                    None => {}
                }
            }
        }
        Value::Array(list) => {
            let items = schema.at("items");
            for item in list {
                if item.is_null() && items.has("default") && items.truth("nullable") != Some(true) {
                    *item = items.at("default").clone();
                }
                apply(items, item);
            }
        }
        _ => {}
    }
}
