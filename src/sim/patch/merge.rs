//! JSON merge patch (RFC 7396), with what upstream's library does beside it: nulls inside of lists are dropped too.

use serde_json::{Map, Value};

use crate::sim::status::Status;

/// Merges a patch into an object.
///
/// # Errors
/// 400 when the patch is no object.
pub fn apply(target: &mut Value, patch: &Value) -> Result<(), Status> {
    let Value::Object(fields) = patch else { return Err(Status::bad_request("Invalid JSON Patch")) };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(map) = target {
        merge(map, fields);
    }
    Ok(())
}

fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match (target.get_mut(key), value) {
            (_, Value::Null) => {
                target.remove(key);
            }
            (Some(Value::Object(inner)), Value::Object(fields)) => merge(inner, fields),
            _ => {
                target.insert(key.clone(), pruned(value));
            }
        }
    }
}

/// Copies a value without the null fields of its objects.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), pruned(value))).collect())
        }
        Value::Array(items) => items.iter().map(pruned).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn merged(target: Value, patch: Value) -> Value {
        let mut target = target;
        apply(&mut target, &patch).expect("merges");
        target
    }

    #[test]
    fn the_cases_of_the_rfc_hold() {
        for (target, patch, expected) in [
            (json!({ "a": "b" }), json!({ "a": "c" }), json!({ "a": "c" })),
            (json!({ "a": "b" }), json!({ "b": "c" }), json!({ "a": "b", "b": "c" })),
            (json!({ "a": "b", "b": "c" }), json!({ "a": null }), json!({ "b": "c" })),
            (json!({ "a": ["b"] }), json!({ "a": "c" }), json!({ "a": "c" })),
            (json!({ "a": "c" }), json!({ "a": ["b"] }), json!({ "a": ["b"] })),
            (
                json!({ "a": { "b": "c" } }),
                json!({ "a": { "b": "d", "c": null } }),
                json!({ "a": { "b": "d" } }),
            ),
            (json!({ "e": null }), json!({ "a": 1 }), json!({ "e": null, "a": 1 })),
            (json!({}), json!({ "a": { "bb": { "ccc": null } } }), json!({ "a": { "bb": {} } })),
        ] {
            assert_eq!(merged(target, patch.clone()), expected, "{patch}");
        }
    }

    #[test]
    fn null_fields_inside_lists_are_dropped() {
        assert_eq!(merged(json!({}), json!({ "a": [{ "b": null }, null] })), json!({ "a": [{}, null] }));
    }

    #[test]
    fn a_patch_is_an_object() {
        let error = apply(&mut json!({}), &json!([])).expect_err("refused");
        assert_eq!((error.code, error.message.as_str()), (400, "Invalid JSON Patch"));
    }
}
