//! Holds an object to a built-in type as a strategic merge patch and as server-side apply do, each in upstream's own
//! words. Knows neither defaults nor what the fields mean; [`super::decode`] reads request bodies.

use serde_json::Value;

use super::{Apply, Field, Schema, Type};

/// Holds what a strategic merge patch has made to its type.
///
/// # Errors
/// What a struct, map, list or scalar cannot be restored from.
pub fn restore(schema: &'static Schema, value: &Value) -> Result<(), String> {
    let Value::Object(map) = value else {
        return if value.is_null() {
            Ok(())
        } else {
            Err(format!("cannot restore struct from: {}", go_kind(value)))
        };
    };
    for field in &schema.fields {
        if let Some(value) = map.get(field.name).filter(|value| !value.is_null()) {
            restore_value(&field.kind, value, &|| field.go_type())?;
        }
    }
    Ok(())
}

fn restore_value(kind: &'static Type, value: &Value, go: &dyn Fn() -> String) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    match (kind, value) {
        (Type::Object(id), _) => restore(id.get(), value),
        (Type::List(element), Value::Array(items)) => {
            let go = || element.go_type();
            items.iter().try_for_each(|item| restore_value(element, item, &go))
        }
        (Type::Map(element), Value::Object(fields)) => {
            let go = || element.go_type();
            fields.values().try_for_each(|item| restore_value(element, item, &go))
        }
        (Type::List(_), _)
        | (Type::Bytes, Value::Array(_) | Value::Object(_) | Value::Number(_) | Value::Bool(_)) => {
            Err(format!("cannot restore slice from {}", go_kind(value)))
        }
        (Type::Map(_), _) => Err(format!("cannot restore map from {}", go_kind(value))),
        (Type::String, Value::String(_))
        | (Type::Bool, Value::Bool(_))
        | (Type::Double, Value::Number(_)) => Ok(()),
        (Type::Int32 | Type::Int64, Value::Number(number)) => match number.as_f64() {
            _ if number.is_i64() || number.is_u64() => Ok(()),
            Some(float) if float.trunc() == float => Ok(()),
            _ => Err(format!("cannot convert float64 to {}", scalar(&go()))),
        },
        // Go converts a number to a string, and upstream forbids what Go allows.
        (Type::String, Value::Number(_)) => {
            Err(format!("cannot convert {} to {}", go_kind(value), scalar(&go())))
        }
        (Type::String, _) => Err("unrecognized type: string".to_owned()),
        (Type::Bool, _) => Err("unrecognized type: bool".to_owned()),
        (Type::Int32, _) => Err("unrecognized type: int32".to_owned()),
        (Type::Int64, _) => Err("unrecognized type: int64".to_owned()),
        (Type::Double, _) => Err("unrecognized type: float64".to_owned()),
        // The others read JSON themselves.
        _ => Ok(()),
    }
}

fn scalar(go: &str) -> &str {
    go.trim_start_matches('*')
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "interface",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

/// Holds a configuration that is applied to the schema of its type.
///
/// # Errors
/// The fields whose values are of another type, with their paths.
pub fn hold(schema: &'static Schema, value: &Value) -> Result<(), String> {
    let mut faults = Vec::new();
    structure(&mut faults, "", schema, value);
    match &*faults {
        [] => Ok(()),
        [fault] => Err(fault.clone()),
        _ => Err(format!(
            "errors:\n{}",
            faults.iter().map(|fault| format!("  {fault}")).collect::<Vec<_>>().join("\n")
        )),
    }
}

fn structure(faults: &mut Vec<String>, path: &str, schema: &'static Schema, value: &Value) {
    let map = match value {
        Value::Null => return,
        Value::Object(map) => map,
        other => return fault(faults, path, &format!("expected map, got &{{{}}}", printed(other))),
    };
    for (name, value) in map {
        match schema.field(name) {
            Some(field) => member(faults, &format!("{path}.{name}"), field, value),
            None => fault(faults, &format!("{path}.{name}"), "field not declared in schema"),
        }
    }
}

fn member(faults: &mut Vec<String>, path: &str, field: &'static Field, value: &Value) {
    let (Type::List(element), Value::Array(items)) = (&field.kind, value) else {
        return typed(faults, path, &field.kind, value);
    };
    for (index, item) in items.iter().enumerate() {
        let path = match &field.apply {
            Apply::Keys(keys) if item.is_object() => {
                let mut parts = Vec::new();
                for (key, default) in keys {
                    match (item.get(key).filter(|value| !value.is_null()), default) {
                        (Some(value), _) => parts.push(format!("{key}={value}")),
                        (None, Some(default)) => parts.push(format!("{key}={default:?}")),
                        (None, None) if keys.len() == 1 => {
                            let why = format!(
                                "associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
                            );
                            fault(faults, path, &format!("element {index}: {why}"));
                        }
                        (None, None) => {}
                    }
                }
                format!("{path}[{}]", parts.join(","))
            }
            Apply::Set => format!("{path}[={item}]"),
            _ => format!("{path}[{index}]"),
        };
        typed(faults, &path, element, item);
    }
}

fn typed(faults: &mut Vec<String>, path: &str, kind: &'static Type, value: &Value) {
    if value.is_null() {
        return;
    }
    match (kind, value) {
        (Type::Object(id), _) => structure(faults, path, id.get(), value),
        (Type::Map(element), Value::Object(map)) => {
            for (name, value) in map {
                typed(faults, &format!("{path}.{name}"), element, value);
            }
        }
        (Type::Map(_), _) => fault(faults, path, &format!("expected map, got &{{{}}}", printed(value))),
        (Type::List(element), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                typed(faults, &format!("{path}[{index}]"), element, item);
            }
        }
        (Type::List(_), _) => fault(faults, path, &format!("expected list, got &{{{}}}", printed(value))),
        (Type::Int32 | Type::Int64 | Type::Double, Value::Number(_)) | (Type::Bool, Value::Bool(_)) => {}
        (Type::Int32 | Type::Int64 | Type::Double, other) => {
            fault(faults, path, &format!("expected numeric (int or float), got {}", go_type(other)));
        }
        (Type::Bool, other) => fault(faults, path, &format!("expected boolean, got &{{{}}}", printed(other))),
        (Type::String | Type::Bytes | Type::Time | Type::MicroTime, Value::String(_)) => {}
        (Type::String | Type::Bytes | Type::Time | Type::MicroTime, other) => {
            fault(
                faults,
                path,
                &format!("expected string, got &value.valueUnstructured{{Value:{}}}", syntax(other)),
            );
        }
        _ => {}
    }
}

fn fault(faults: &mut Vec<String>, path: &str, why: &str) {
    faults.push(if path.is_empty() { why.to_owned() } else { format!("{path}: {why}") });
}

/// Prints a value as Go's `%v` does.
fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let fields: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", printed(value))).collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

/// Prints a value as Go's `%#v` does.
fn syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => format!("{text:?}"),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let fields: Vec<String> =
                map.iter().map(|(key, value)| format!("{key:?}:{}", syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::of;
    use super::*;

    fn deployment() -> &'static Schema {
        of("apps", "v1", "Deployment").expect("the kind is known")
    }

    #[test]
    fn what_a_strategic_patch_has_made_is_refused_in_the_converters_words() {
        for (spec, why) in [
            (json!({"replicas": "3"}), "unrecognized type: int32"),
            (json!({"replicas": 1.5}), "cannot convert float64 to int32"),
            (json!({"paused": "yes"}), "unrecognized type: bool"),
            (json!({"selector": "x"}), "cannot restore struct from: string"),
            (json!({"selector": {"matchLabels": ["a"]}}), "cannot restore map from slice"),
            (json!({"selector": {"matchLabels": {"a": 1}}}), "cannot convert int64 to string"),
            (json!({"template": {"spec": {"containers": {"name": "x"}}}}), "cannot restore slice from map"),
        ] {
            assert_eq!(restore(deployment(), &json!({"spec": spec})), Err(why.to_owned()), "{spec}");
        }
        assert_eq!(restore(deployment(), &json!({"spec": {"replicas": 3, "paused": null}})), Ok(()));
    }

    #[test]
    fn what_is_applied_is_refused_with_the_path_of_the_field() {
        for (spec, why) in [
            (json!({"replicas": "3"}), ".spec.replicas: expected numeric (int or float), got string"),
            (json!({"replica": 3}), ".spec.replica: field not declared in schema"),
            (json!({"paused": "x"}), ".spec.paused: expected boolean, got &{x}"),
            (json!({"selector": ["x"]}), ".spec.selector: expected map, got &{[x]}"),
            (
                json!({"template": {"spec": {"containers": [{"name": "c", "image": 1}]}}}),
                ".spec.template.spec.containers[name=\"c\"].image: expected string, got &value.valueUnstructured{Value:1}",
            ),
        ] {
            assert_eq!(hold(deployment(), &json!({"spec": spec})), Err(why.to_owned()), "{spec}");
        }
    }
}
