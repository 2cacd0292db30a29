//! Holds JSON against a published schema: the part of JSON Schema that generated schemas use.

use serde_json::Value;

/// Asserts that `data` is as the published schema `name` says, and that the schema describes every field of it.
pub fn assert_valid(name: &str, data: &Value) {
    let path = format!("{}/docs/reference/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let root: Value = serde_json::from_str(&text).unwrap();
    let mut faults = Vec::new();
    check(&root, &root, data, "$", &mut faults);
    assert!(faults.is_empty(), "{name}: {faults:#?}\n{data:#}");
}

fn check(root: &Value, schema: &Value, data: &Value, at: &str, faults: &mut Vec<String>) {
    if let Some(target) = schema["$ref"].as_str() {
        let pointer = target.trim_start_matches('#');
        check(root, root.pointer(pointer).unwrap_or_else(|| panic!("no {target}")), data, at, faults);
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema[key].as_array() {
            let fits = |choice: &Value| {
                let mut own = Vec::new();
                check(root, choice, data, at, &mut own);
                own.is_empty()
            };
            if !choices.iter().any(fits) {
                faults.push(format!("{at}: none of {key} fits"));
            }
        }
    }
    if let Some(constant) = schema.get("const")
        && constant != data
    {
        faults.push(format!("{at}: {data} is not {constant}"));
    }
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(data)
    {
        faults.push(format!("{at}: {data} is not one of {values:?}"));
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if !types.is_empty() && !types.iter().any(|wanted| is(wanted, data)) {
        faults.push(format!("{at}: {data} is not {types:?}"));
    }
    if let (Some(properties), Some(fields)) = (schema["properties"].as_object(), data.as_object()) {
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(required) {
                faults.push(format!("{at}: {required} is missing"));
            }
        }
        for (name, value) in fields {
            match properties.get(name) {
                Some(property) => check(root, property, value, &format!("{at}.{name}"), faults),
                None => faults.push(format!("{at}: the schema does not know {name}")),
            }
        }
    }
    if let Some(items) = schema.get("items") {
        for (index, item) in data.as_array().into_iter().flatten().enumerate() {
            check(root, items, item, &format!("{at}[{index}]"), faults);
        }
    }
    if let (Some(additional @ Value::Object(_)), Some(fields)) =
        (schema.get("additionalProperties"), data.as_object())
    {
        for (name, value) in fields {
            check(root, additional, value, &format!("{at}.{name}"), faults);
        }
    }
}

fn is(wanted: &str, data: &Value) -> bool {
    match wanted {
        "null" => data.is_null(),
        "boolean" => data.is_boolean(),
        "integer" => data.is_i64() || data.is_u64(),
        "number" => data.is_number(),
        "string" => data.is_string(),
        "array" => data.is_array(),
        "object" => data.is_object(),
        other => panic!("unknown type {other}"),
    }
}
