//! Pruning: fields that the structural schema does not name are taken out, unless it says to keep them.

use serde_json::Value;

use super::preserves_unknown;
use crate::sim::object::Fields as _;

/// What every object, and every embedded one, has beside its schema.
const TYPE_AND_META: [&str; 3] = ["apiVersion", "kind", "metadata"];

pub(super) fn prune(schema: &Value, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    walk(schema, object, true, "", &mut unknown);
    unknown
}

fn walk(schema: &Value, value: &mut Value, embedded: bool, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let properties = schema.at("properties");
            let additional = schema.at("additionalProperties");
            let open = preserves_unknown(schema) || additional == &Value::Bool(true);
            let embedded = embedded || schema.truth("x-kubernetes-embedded-resource") == Some(true);
            map.retain(|name, value| {
                let at = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                if embedded && TYPE_AND_META.contains(&name.as_str()) {
                    return true;
                }
                if let Some(schema) = properties.get(name) {
                    walk(schema, value, false, &at, unknown);
                    true
                } else if additional.is_object() {
                    walk(additional, value, false, &at, unknown);
                    true
                } else {
                    if !open {
                        unknown.push(at);
                    }
                    open
                }
            });
        }
        Value::Array(list) => {
            let items = schema.at("items");
            for (index, item) in list.iter_mut().enumerate() {
                // Without a schema for its items a list that is kept is kept as it is.
                if items.is_object() {
                    walk(items, item, false, &format!("{path}[{index}]"), unknown);
                }
            }
        }
        _ => {}
    }
}
