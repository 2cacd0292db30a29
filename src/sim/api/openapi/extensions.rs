//! What the field table knows of a type and the k8s-openapi crate does not: how lists and maps merge, enumerations,
//! what is required.
//! Clients compute their patches by it.

use serde_json::{Map, Value, json};

use crate::sim::schema::{self, Apply, Field, Type};

/// Adds `x-kubernetes-*` and enumerations to the schema of that name.
pub(super) fn add(name: &str, schema: &mut Value) {
    let Some(known) = schema::by_openapi_name(name) else { return };
    if known.atomic {
        schema["x-kubernetes-map-type"] = "atomic".into();
    }
    // The crate's types always have metadata, and therefore say that it is required.
    let required: Vec<&str> =
        known.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
    match (schema.as_object_mut(), required.is_empty()) {
        (Some(fields), true) => drop(fields.remove("required")),
        (Some(fields), false) => drop(fields.insert("required".to_owned(), json!(required))),
        (None, _) => {}
    }
    let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) else { return };
    for field in &known.fields {
        if let Some(Value::Object(property)) = properties.get_mut(field.name) {
            add_merging(field, property);
            add_values(field, property);
        }
    }
}

fn add_merging(field: &Field, property: &mut Map<String, Value>) {
    let mut set = |key: &str, value: Value| drop(property.insert(format!("x-kubernetes-{key}"), value));
    match (&field.apply, &field.kind) {
        (Apply::Default, Type::List(_)) => set("list-type", "atomic".into()),
        (Apply::Default, _) => {}
        (Apply::Set, _) => set("list-type", "set".into()),
        (Apply::Keys(keys), _) => {
            set("list-type", "map".into());
            set("list-map-keys", keys.iter().map(|(key, _)| *key).collect());
        }
        (Apply::Atomic, _) => set("map-type", "atomic".into()),
        (Apply::Granular, _) => set("map-type", "granular".into()),
    }
    let patch = &field.patch;
    let strategies = [("merge", patch.merge), ("replace", patch.replace), ("retainKeys", patch.retain_keys)];
    let strategies: Vec<&str> = strategies.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
    if !strategies.is_empty() {
        set("patch-strategy", strategies.join(",").into());
    }
    if let Some(key) = patch.key {
        set("patch-merge-key", key.into());
    }
}

fn add_values(field: &Field, property: &mut Map<String, Value>) {
    if field.values.is_empty() {
        return;
    }
    if !field.values_documented {
        let list: Vec<String> = field.values.iter().map(|value| format!(" - `{value:?}`")).collect();
        let said = property.get("description").and_then(Value::as_str).unwrap_or_default();
        let said = format!("{said}\n\nPossible enum values:\n{}", list.join("\n"));
        property.insert("description".to_owned(), said.into());
    }
    let target = match property.get_mut("items") {
        Some(Value::Object(items)) => items,
        _ => property,
    };
    target.insert("enum".to_owned(), json!(field.values));
}
