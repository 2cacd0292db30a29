//! Defaulting of built-in kinds: what upstream fills in when an object of a version is decoded, and what its types leave
//! out when they are written again. Custom resources are not known here, nor what admission adds.

use serde_json::Value;

use super::object::{Fields, field_at, items_mut, map_at, object_mut, remove, set, set_default};
use super::quantity::Quantity;

mod cluster;
mod core;
mod pod;
mod workloads;

/// Fills in the defaults of a built-in kind, on create and on update alike.
pub fn apply(group: &str, version: &str, kind: &str, object: &mut Value) {
    match group {
        "" => core::apply(kind, object),
        "apps" | "batch" | "autoscaling" | "policy" => workloads::apply(version, kind, object),
        _ => cluster::apply(group, kind, object),
    }
}

/// Sets a number that Go keeps without a pointer: zero is unset.
fn number_default(object: &mut Value, name: &str, value: i64) {
    if object.int(name).unwrap_or_default() == 0 {
        set(object, name, value);
    }
}

/// Takes away scalars that say nothing: `false`, `0` and `""` in fields that Go keeps without a pointer.
fn drop_zeros(object: &mut Value, names: &[&str]) {
    for name in names {
        let zero = match object.get(name) {
            Some(Value::Bool(value)) => !value,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Number(number)) => number.as_f64() == Some(0.0),
            _ => false,
        };
        if zero {
            remove(object, name);
        }
    }
}

/// Takes away lists and maps without anything in them.
fn drop_empty(object: &mut Value, names: &[&str]) {
    for name in names {
        let empty = match object.get(name) {
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            _ => false,
        };
        if empty {
            remove(object, name);
        }
    }
}

/// Writes amounts canonically and rounds them up to thousandths, as the API has always done.
fn round_amounts(holder: &mut Value, name: &str) {
    if let Some(Value::Object(list)) = holder.get_mut(name) {
        for amount in list.values_mut() {
            let quantity = Quantity::of(amount);
            *amount = quantity.rounded_to_milli().into();
        }
    }
}

/// Defaults a PersistentVolumeClaimSpec.
fn claim_spec(spec: &mut Value) {
    set_default(spec, "volumeMode", "Filesystem");
    let resources = field_at(spec, "resources");
    if resources.is_null() {
        *resources = Value::Object(serde_json::Map::new());
    }
    round_amounts(resources, "requests");
    round_amounts(resources, "limits");
}

/// Defaults the port of a Service that is called.
fn service_port(holder: &mut Value) {
    if let Some(service) = object_mut(holder, "service") {
        set_default(service, "port", 443);
    }
}

/// Sets lists of objects to `null` where Go writes a nil list.
fn null_list(object: &mut Value, name: &str) {
    if !object.has(name) {
        *field_at(object, name) = Value::Null;
    }
}

/// Defaults each element of a list.
fn each(object: &mut Value, list: &str, default: impl Fn(&mut Value)) {
    items_mut(object, list).for_each(default);
}

/// Makes an empty object of a field that Go keeps as a struct, so that it is always written.
fn always(object: &mut Value, name: &str) {
    map_at(object, name);
}
