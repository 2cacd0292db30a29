//! Brings an object to the form in which Go writes it: empty optional fields are gone, others are there with their
//! zero value, structs that are no pointers are written even when they hold nothing.

use serde_json::{Map, Value};

use super::{Field, Schema, Type, named};

/// Brings an object of a built-in type to the form in which a server answers it. Unknown fields are dropped.
pub fn normalize(schema: &'static Schema, object: &mut Value) {
    if let Value::Object(map) = object {
        structure(schema, map);
    }
}

fn structure(schema: &'static Schema, map: &mut Map<String, Value>) {
    map.retain(|key, value| match schema.field(key) {
        Some(field) => {
            value_of(&field.kind, value);
            !field.omit_empty || !is_empty(field, value)
        }
        None => false,
    });
    for field in &schema.fields {
        if !field.always_written() {
            continue;
        }
        match map.get_mut(field.name) {
            None => {
                map.insert(field.name.to_owned(), zero(field));
            }
            // A list or map that holds nothing does not survive storage as such.
            Some(value) if value.is_null() || (!field.pointer && is_hollow(&field.kind, value)) => {
                *value = zero(field);
            }
            Some(_) => {}
        }
    }
}

fn value_of(kind: &'static Type, value: &mut Value) {
    match (kind, value) {
        (Type::Object(id), Value::Object(map)) => structure(id.get(), map),
        (Type::List(element), Value::Array(items)) if is_deep(element) => {
            for item in items {
                value_of(element, item);
            }
        }
        (Type::Map(element), Value::Object(map)) if is_deep(element) => {
            for item in map.values_mut() {
                value_of(element, item);
            }
        }
        (Type::SchemaOrBool | Type::SchemaOrList | Type::SchemaOrStrings, value) => {
            let Some(schema) = named("apiextensions.v1.JSONSchemaProps") else { return };
            match value {
                Value::Object(map) => structure(schema, map),
                Value::Array(items) => {
                    for item in items {
                        normalize(schema, item);
                    }
                }
                _ => {}
            }
        }
        _ => {}
    }
}

fn is_deep(kind: &Type) -> bool {
    matches!(
        kind,
        Type::Object(_)
            | Type::List(_)
            | Type::Map(_)
            | Type::SchemaOrBool
            | Type::SchemaOrList
            | Type::SchemaOrStrings
    )
}

fn is_hollow(kind: &Type, value: &Value) -> bool {
    match (kind, value) {
        (Type::List(_), Value::Array(items)) => items.is_empty(),
        (Type::Map(_), Value::Object(map)) => map.is_empty(),
        (Type::Bytes, Value::String(text)) => text.is_empty(),
        _ => false,
    }
}

/// Tells whether `omitempty` leaves the value out.
fn is_empty(field: &Field, value: &Value) -> bool {
    match value {
        Value::Null => true,
        _ if field.pointer => false,
        Value::Bool(flag) => !flag && field.kind == Type::Bool,
        Value::Number(number) => number.as_f64() == Some(0.0) && !field.kind.is_struct(),
        Value::String(text) => text.is_empty() && !field.kind.is_struct(),
        value => is_hollow(&field.kind, value),
    }
}

fn zero(field: &Field) -> Value {
    if field.pointer {
        return Value::Null;
    }
    match &field.kind {
        Type::String => "".into(),
        Type::Int32 | Type::Int64 | Type::Double | Type::IntOrString => 0.into(),
        Type::Bool => false.into(),
        Type::Quantity => "0".into(),
        Type::Object(id) => {
            let mut map = Map::new();
            structure(id.get(), &mut map);
            map.into()
        }
        _ => Value::Null,
    }
}
