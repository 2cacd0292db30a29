//! Strategic merge patch: lists merged by their keys, the `$patch`, `$retainKeys`, `$deleteFromPrimitiveList` and
//! `$setElementOrder` directives, by the rules of apimachinery's strategicpatch and over the field table.

use serde_json::{Map, Value};

use crate::sim::schema::{Patch, Schema, Type};
use crate::sim::status::Status;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

/// Merges a patch into an object of a built-in type.
///
/// # Errors
/// 400 when a directive is malformed, 422 for lists of lists, 500 when an item lacks its key: as upstream.
pub fn apply(schema: &'static Schema, target: &mut Value, patch: &Value) -> Result<(), Status> {
    let Value::Object(patch) = patch else { return Err(Status::bad_request("invalid JSON document")) };
    let original = match std::mem::take(target) {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    *target = Value::Object(merge_map(original, patch.clone(), Place::Struct(schema))?);
    Ok(())
}

/// Where in the types a value lies.
#[derive(Clone, Copy)]
enum Place {
    Struct(&'static Schema),
    MapOf(&'static Type),
    Untyped,
}

impl Place {
    fn of(kind: &'static Type) -> Self {
        match kind {
            Type::Object(id) => Self::Struct(id.get()),
            Type::Map(element) => Self::MapOf(element),
            _ => Self::Untyped,
        }
    }

    /// Returns how a field is patched, and where its value or its items lie.
    fn field(self, name: &str) -> Result<(Patch, Self), Status> {
        let inside = |kind: &'static Type| match kind {
            Type::List(element) => Self::of(element),
            other => Self::of(other),
        };
        match self {
            Self::Struct(schema) => match schema.field(name) {
                Some(field) => Ok((field.patch.clone(), inside(&field.kind))),
                None => Err(internal(format!(
                    "unable to find api field in struct {} for the json field {name:?}",
                    schema.go_name()
                ))),
            },
            Self::MapOf(element) => Ok((Patch::default(), inside(element))),
            Self::Untyped => Ok((Patch::default(), Self::Untyped)),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Struct(schema) => schema.go_name(),
            _ => "",
        }
    }
}

/// What upstream answers for errors that it does not expect: 500 without a reason.
fn internal(message: String) -> Status {
    Status::new(500, "", message)
}

fn bad_order() -> Status {
    Status::bad_request("invalid patch format of setElementOrder list")
}

fn no_key(item: &Value, key: &str) -> Status {
    internal(format!("map: {} does not contain declared merge key: {key}", golang(item)))
}

fn wrong_kind(expected: &str, found: &Value) -> Status {
    internal(format!("expected a {expected}, but received a {}", go_type(found)))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Prints a value as Go's `%v` prints a map.
fn golang(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(golang).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields: Vec<String> = fields.iter().map(|(k, v)| format!("{k}:{}", golang(v))).collect();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

fn merge_map(
    mut original: Map<String, Value>,
    mut patch: Map<String, Value>,
    place: Place,
) -> Result<Map<String, Value>, Status> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Map::new()),
            _ => {
                patch.insert(DIRECTIVE.to_owned(), directive.clone());
                let (kind, map) = (golang(&directive), golang(&Value::Object(patch)));
                Err(internal(format!("unknown patch type: {kind} in map: {map}")))
            }
        };
    }
    retain_keys(&mut original, &mut patch)?;
    ordered_lists(&mut original, &mut patch, place)?;
    for (key, value) in patch {
        if let Some(list) = key.strip_prefix(DELETE_FROM) {
            delete_from(&mut original, list, value)?;
            continue;
        }
        if value.is_null() {
            original.remove(&key);
            continue;
        }
        let merged = match (original.remove(&key), value) {
            (Some(Value::Object(inner)), Value::Object(fields)) => {
                let (patch, inside) = place.field(&key)?;
                let merged = if patch.replace { fields } else { merge_map(inner, fields, inside)? };
                Some(Value::Object(merged))
            }
            (Some(Value::Array(items)), Value::Array(new)) => {
                let (patch, inside) = place.field(&key)?;
                let merged = if patch.merge { merge_list(items, new, inside, patch.key)? } else { new };
                Some(Value::Array(merged))
            }
            (_, mut value) => {
                drop_nulls(&mut value);
                without_directives(value)
            }
        };
        if let Some(merged) = merged {
            original.insert(key, merged);
        }
    }
    Ok(original)
}

/// Obeys `$retainKeys`: fields of the original that it does not name are cleared.
fn retain_keys(original: &mut Map<String, Value>, patch: &mut Map<String, Value>) -> Result<(), Status> {
    let Some(list) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let malformed = || Status::bad_request("invalid patch format of retainKeys");
    let Value::Array(list) = list else { return Err(malformed()) };
    let kept: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
    let is_kept = |key: &str| kept.contains(&key);
    let exempt = |key: &str, value: &Value| {
        value.is_null() || key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER)
    };
    if patch.iter().any(|(key, value)| !exempt(key, value) && !is_kept(key)) {
        return Err(malformed());
    }
    original.retain(|key, _| is_kept(key));
    Ok(())
}

/// Merges the lists for which the patch names an order with `$setElementOrder`.
fn ordered_lists(
    original: &mut Map<String, Value>,
    patch: &mut Map<String, Value>,
    place: Place,
) -> Result<(), Status> {
    let directives: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let Some(order) = patch.remove(&directive) else { continue };
        let Value::Array(order) = order else { return Err(wrong_kind("[]interface {}", &order)) };
        let Some(field) = directive.strip_prefix(SET_ORDER).and_then(|rest| rest.strip_prefix('/')) else {
            return Err(bad_order());
        };
        let list = |value: Option<&Value>| match value {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items.clone())),
            Some(other) => Err(wrong_kind("[]interface {}", other)),
        };
        let (old, new) = (list(original.get(field))?, list(patch.get(field))?);
        let (how, inside) = place.field(field)?;
        check_order(new.as_deref().unwrap_or_default(), &order, how.key)?;
        let merged = match (&old, new) {
            (None, None) => continue,
            (Some(old), None) => old.clone(),
            (None, Some(new)) => new.into_iter().filter_map(without_directives).collect(),
            (Some(old), Some(new)) if how.merge => merge_list(old.clone(), new, inside, how.key)?,
            (Some(_), Some(new)) => new,
        };
        let ordered = enforce_order(merged, &order, &old.unwrap_or_default(), how.key)?;
        original.insert(field.to_owned(), ordered.into());
        patch.remove(field);
    }
    Ok(())
}

/// Holds a patch's list to the order that it names itself.
fn check_order(list: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Status> {
    if list.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut named = order.iter();
    for item in list.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let found = loop {
            let Some(next) = named.next() else { break false };
            if identity(item, key)? == identity(next, key)? {
                break true;
            }
        };
        if !found {
            let (list, order) = (golang(&list.to_vec().into()), golang(&order.to_vec().into()));
            return Err(internal(format!(
                "The order in patch list:\n{list}\n doesn't match {SET_ORDER} list:\n{order}\n"
            )));
        }
    }
    Ok(())
}

/// What tells an item of a merged list from the others: its key's value, or a scalar itself.
fn identity<'a>(item: &'a Value, key: Option<&str>) -> Result<&'a Value, Status> {
    let Some(key) = key else { return Ok(item) };
    match item {
        Value::Object(map) => map.get(key).ok_or_else(|| no_key(item, key)),
        other => Err(wrong_kind("map[string]interface {}", other)),
    }
}

fn place_of(list: &[Value], wanted: &Value, key: Option<&str>) -> Option<usize> {
    list.iter().position(|item| identity(item, key).is_ok_and(|found| found == wanted))
}

/// Obeys `$deleteFromPrimitiveList/field`.
fn delete_from(original: &mut Map<String, Value>, list: &str, value: Value) -> Result<(), Status> {
    let Some(field) = list.strip_prefix('/') else {
        return Err(Status::bad_request("invalid patch format of primitive list"));
    };
    match (value, original.get_mut(field)) {
        (Value::Null, _) => drop(original.remove(field)),
        (Value::Array(gone), Some(Value::Array(items))) => items.retain(|item| !gone.contains(item)),
        _ => {}
    }
    Ok(())
}

fn merge_list(
    original: Vec<Value>,
    patch: Vec<Value>,
    inside: Place,
    key: Option<&'static str>,
) -> Result<Vec<Value>, Status> {
    let maps = original.iter().chain(&patch).filter(|item| item.is_object()).count();
    if original.iter().chain(&patch).any(Value::is_array) {
        let mut status =
            Status::new(422, "Invalid", "the server rejected our request due to an error in our request");
        status.details = Value::Object(Map::new());
        return Err(status);
    }
    if maps != 0 && maps != original.len() + patch.len() {
        return Err(internal("list element types are not identical".to_owned()));
    }
    if maps == 0 {
        let mut merged: Vec<Value> = Vec::new();
        for item in original.iter().chain(&patch) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return enforce_order(merged, &patch, &original, None);
    }
    let Some(key) = key else {
        return Err(internal(format!("cannot merge lists without merge key for {}", inside.name())));
    };
    let (before, patch) = special_items(original, patch, key)?;
    let mut merged = before.clone();
    for item in &patch {
        let wanted = identity(item, Some(key))?.clone();
        let Value::Object(fields) = item else { continue };
        match place_of(&merged, &wanted, Some(key)) {
            Some(at) => {
                let Value::Object(old) = std::mem::take(&mut merged[at]) else { continue };
                merged[at] = Value::Object(merge_map(old, fields.clone(), inside)?);
            }
            None => merged.push(item.clone()),
        }
    }
    // An item whose merge emptied it has no key to be put in order by.
    if let Some(lost) = merged.iter().find(|item| item.get(key).is_none()) {
        return Err(no_key(lost, key));
    }
    enforce_order(merged, &patch, &before, Some(key))
}

/// Obeys the items of a list that are directives, and takes them out.
fn special_items(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), Status> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        let Some(directive) = item.get(DIRECTIVE) else {
            plain.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let gone = item.get(key).ok_or_else(|| no_key(&item, key))?;
                original.retain(|old| old.get(key) != Some(gone));
            }
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(internal("merging lists cannot yet be specified in the patch".to_owned()));
            }
            _ => {
                let kind = golang(directive);
                return Err(internal(format!("unknown patch type: {kind} in map: {}", golang(&item))));
            }
        }
    }
    Ok(if replace { (plain, Vec::new()) } else { (original, plain) })
}

/// Puts the items that the patch names into its order, and those that it does not name where they were among them.
fn enforce_order(
    merged: Vec<Value>,
    order: &[Value],
    before: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, Status> {
    let mut named: Vec<(usize, Option<usize>, Value)> = Vec::new();
    let mut others: Vec<(usize, Value)> = Vec::new();
    for item in merged {
        let own = identity(&item, key)?;
        let was = place_of(before, own, key);
        match place_of(order, own, key) {
            Some(at) => named.push((at, was, item)),
            None => others.push((was.unwrap_or(usize::MAX), item)),
        }
    }
    named.sort_by_key(|(at, ..)| *at);
    others.sort_by_key(|(was, _)| *was);
    let mut result = Vec::with_capacity(named.len() + others.len());
    let mut named = named.into_iter().peekable();
    for (was, item) in others {
        // One that only the server has goes before the next named one if it stood before it.
        while named.peek().is_some_and(|(_, place, _)| place.is_none_or(|place| place <= was)) {
            result.extend(named.next().map(|(.., item)| item));
        }
        result.push(item);
    }
    result.extend(named.map(|(.., item)| item));
    Ok(result)
}

/// Takes the null fields out of what is new.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Takes directives out of what is new; a map that carries `$patch` goes as a whole.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => {
            let kept = map.into_iter().filter_map(|(key, value)| Some((key, without_directives(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(items) => Some(items.into_iter().filter_map(without_directives).collect()),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;
