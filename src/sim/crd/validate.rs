//! Validation of a value against a structural schema, worded as k8s.io/kube-openapi/pkg/validation words it.
//! On an update, what is as it was is not judged again (ratcheting, KEP-4008).

use std::collections::BTreeMap;

use serde_json::Value;

use super::formats;
use crate::cel::re2;
use crate::sim::field::{ErrorList, FieldError, Path};
use crate::sim::object::Fields as _;

pub(super) fn validate(schema: &Value, object: &Value, old: Option<&Value>) -> ErrorList {
    let mut errors = ErrorList::new();
    // Metadata has its own rules, which are those of every object.
    let mut root = object.clone();
    if let Some(map) = root.as_object_mut() {
        for name in ["apiVersion", "kind", "metadata"] {
            map.remove(name);
        }
    }
    let mut schema = schema.clone();
    for name in ["apiVersion", "kind", "metadata"] {
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.remove(name);
        }
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|wanted| wanted != name);
        }
    }
    value(&schema, &root, old, &Path::default(), &mut errors);
    lists(&schema, &root, &Path::default(), &mut errors);
    errors
}

/// Validates a value that is no whole object, which stands at `path`.
pub(super) fn validate_at(schema: &Value, found: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    value(schema, found, None, path, &mut errors);
    lists(schema, found, path, &mut errors);
    errors
}

/// Prints a path as kube-openapi does within its sentences; the root has none.
fn name(path: &Path) -> String {
    format!("{} in body", path.as_str()).trim_start().to_owned()
}

fn value(schema: &Value, found: &Value, old: Option<&Value>, path: &Path, errors: &mut ErrorList) {
    if old.is_some_and(|old| old == found) {
        return;
    }
    if found.is_null() && schema.truth("nullable") == Some(true) {
        return;
    }
    let before = errors.len();
    types(schema, found, path, errors);
    if errors.len() > before {
        return;
    }
    match found {
        Value::String(text) => strings(schema, text, path, errors),
        Value::Number(_) => numbers(schema, found, path, errors),
        Value::Array(list) => array(schema, list, old, path, errors),
        Value::Object(map) => object(schema, map, old, path, errors),
        _ => {}
    }
    enumeration(schema, found, path, errors);
    combinations(schema, found, path, errors);
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() && number.as_f64().is_some_and(|n| n.fract() != 0.0) => {
            "number"
        }
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn types(schema: &Value, found: &Value, path: &Path, errors: &mut ErrorList) {
    let actual = type_of(found);
    if schema.truth("x-kubernetes-int-or-string") == Some(true) {
        if !matches!(actual, "integer" | "string") {
            wrong_type(path, "integer,string", actual, errors);
        }
        return;
    }
    let wanted = schema.text("type");
    let fits = wanted.is_empty() || wanted == actual || (wanted == "number" && actual == "integer");
    if !fits {
        wrong_type(path, wanted, actual, errors);
    }
}

fn wrong_type(path: &Path, wanted: &str, actual: &str, errors: &mut ErrorList) {
    errors.push(FieldError::type_invalid(
        path,
        actual,
        format!("{} must be of type {wanted}: \"{actual}\"", name(path)),
    ));
}

fn strings(schema: &Value, text: &str, path: &Path, errors: &mut ErrorList) {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if let Some(max) = schema.int("maxLength").filter(|max| length > *max) {
        errors.push(FieldError::too_long(path, usize::try_from(max).unwrap_or_default()));
    }
    if let Some(min) = schema.int("minLength").filter(|min| length < *min) {
        let detail = format!("{} should be at least {min} chars long", name(path));
        errors.push(FieldError::invalid(path, text, detail));
    }
    let pattern = schema.text("pattern");
    if !pattern.is_empty() && re2::compile(pattern).is_ok_and(|regex| !regex.is_match(text)) {
        let detail = format!("{} should match '{pattern}'", name(path));
        errors.push(FieldError::invalid(path, text, detail));
    }
    let format = schema.text("format");
    if !format.is_empty() && !formats::matches(format, text) {
        let detail = format!("{} must be of type {format}: {text:?}", name(path));
        errors.push(FieldError::invalid(path, text, detail));
    }
}

fn numbers(schema: &Value, found: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(number) = found.as_f64() else { return };
    let mut fault = |words: &str, bound: &Value| {
        let detail = format!("{} should be {words} {bound}", name(path));
        errors.push(FieldError::invalid(path, found.clone(), detail));
    };
    if let Some(max) = schema.at("maximum").as_f64() {
        if schema.truth("exclusiveMaximum") == Some(true) {
            if number >= max {
                fault("less than", schema.at("maximum"));
            }
        } else if number > max {
            fault("less than or equal to", schema.at("maximum"));
        }
    }
    if let Some(min) = schema.at("minimum").as_f64() {
        if schema.truth("exclusiveMinimum") == Some(true) {
            if number <= min {
                fault("greater than", schema.at("minimum"));
            }
        } else if number < min {
            fault("greater than or equal to", schema.at("minimum"));
        }
    }
    if let Some(factor) = schema.at("multipleOf").as_f64().filter(|factor| *factor > 0.0)
        && (number / factor).fract() != 0.0
    {
        fault("a multiple of", schema.at("multipleOf"));
    }
    let bits = match schema.text("format") {
        "int32" => i64::from(i32::MIN)..=i64::from(i32::MAX),
        _ => i64::MIN..=i64::MAX,
    };
    if schema.text("type") == "integer" && found.as_i64().is_some_and(|number| !bits.contains(&number)) {
        let detail = format!("{} must be of type int32: \"{found}\"", name(path));
        errors.push(FieldError::invalid(path, found.clone(), detail));
    }
}

fn array(schema: &Value, list: &[Value], old: Option<&Value>, path: &Path, errors: &mut ErrorList) {
    let length = list.len();
    let bound = |name: &str| schema.int(name).and_then(|bound| usize::try_from(bound).ok());
    if let Some(max) = bound("maxItems").filter(|max| length > *max) {
        errors.push(FieldError::too_many(path, length, max));
    }
    if let Some(min) = bound("minItems").filter(|min| length < *min) {
        let detail = format!("{} should have at least {min} items", name(path));
        errors.push(FieldError::invalid(path, length, detail));
    }
    if schema.truth("uniqueItems") == Some(true) && (1..length).any(|at| list[..at].contains(&list[at])) {
        errors.push(FieldError::invalid(
            path,
            Value::Null,
            format!("{} shouldn't contain duplicates", name(path)),
        ));
    }
    let items = schema.at("items");
    if items.is_object() {
        for (index, item) in list.iter().enumerate() {
            value(items, item, correlated(schema, item, index, old), &path.index(index), errors);
        }
    }
}

/// Finds the element that an element of a list was before, where the list's type tells.
pub(super) fn correlated<'a>(
    schema: &Value,
    item: &Value,
    index: usize,
    old: Option<&'a Value>,
) -> Option<&'a Value> {
    let old = old?.as_array()?;
    match schema.text("x-kubernetes-list-type") {
        "map" => {
            let keys = schema.texts("x-kubernetes-list-map-keys");
            old.iter().find(|was| keys.iter().all(|key| was.at(key) == item.at(key)))
        }
        "set" => old.iter().find(|was| *was == item),
        // Atomic lists have no correlation, but an element that has not moved has not changed either.
        _ => old.get(index).filter(|was| *was == item),
    }
}

fn object(
    schema: &Value,
    map: &serde_json::Map<String, Value>,
    old: Option<&Value>,
    path: &Path,
    errors: &mut ErrorList,
) {
    let length = map.len();
    let bound = |name: &str| schema.int(name).and_then(|bound| usize::try_from(bound).ok());
    if let Some(max) = bound("maxProperties").filter(|max| length > *max) {
        errors.push(FieldError::too_many(path, length, max));
    }
    if let Some(min) = bound("minProperties").filter(|min| length < *min) {
        let detail = format!("{} should have at least {min} properties", name(path));
        errors.push(FieldError::invalid(path, length, detail));
    }
    for wanted in schema.texts("required") {
        if !map.contains_key(wanted) {
            errors.push(FieldError::required(&path.child(wanted), ""));
        }
    }
    let additional = schema.at("additionalProperties");
    for (name, found) in map {
        let schema = schema.at("properties").get(name).or(additional.is_object().then_some(additional));
        if let Some(schema) = schema {
            value(schema, found, old.and_then(|old| old.get(name)), &path.child(name), errors);
        }
    }
}

fn enumeration(schema: &Value, found: &Value, path: &Path, errors: &mut ErrorList) {
    let allowed = schema.items("enum");
    if !allowed.is_empty() && !allowed.contains(found) {
        let texts: Vec<String> = allowed
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        errors.push(FieldError::not_supported(path, found.clone(), &texts));
    }
}

fn combinations(schema: &Value, found: &Value, path: &Path, errors: &mut ErrorList) {
    let faults = |schema: &Value| {
        let mut errors = ErrorList::new();
        value(schema, found, None, path, &mut errors);
        errors
    };
    let quoted = format!("{:?}", path.as_str());
    for part in schema.items("allOf") {
        errors.extend(faults(part));
    }
    let any = schema.items("anyOf");
    if !any.is_empty() && !any.iter().any(|part| faults(part).is_empty()) {
        let detail = format!("{quoted} must validate at least one schema (anyOf)");
        errors.push(FieldError::invalid(path, Value::Null, detail));
        if let Some(closest) = any.iter().map(faults).min_by_key(Vec::len) {
            errors.extend(closest);
        }
    }
    let one = schema.items("oneOf");
    if !one.is_empty() {
        let valid = one.iter().filter(|part| faults(part).is_empty()).count();
        if valid != 1 {
            let found = if valid == 0 {
                "Found none valid".to_owned()
            } else {
                format!("Found {valid} valid alternatives")
            };
            let detail = format!("{quoted} must validate one and only one schema (oneOf). {found}");
            errors.push(FieldError::invalid(path, Value::Null, detail));
        }
    }
    let not = schema.at("not");
    if not.is_object() && faults(not).is_empty() {
        let detail = format!("{quoted} must not validate the schema (not)");
        errors.push(FieldError::invalid(path, Value::Null, detail));
    }
}

/// Checks that sets have no element twice and list-maps no key twice.
fn lists(schema: &Value, found: &Value, path: &Path, errors: &mut ErrorList) {
    match found {
        Value::Object(map) => {
            let additional = schema.at("additionalProperties");
            for (name, found) in map {
                let property = schema.at("properties").get(name);
                if let Some(schema) = property.or(additional.is_object().then_some(additional)) {
                    lists(schema, found, &path.child(name), errors);
                }
            }
        }
        Value::Array(list) => {
            let keys = schema.texts("x-kubernetes-list-map-keys");
            let identity = |item: &Value| match schema.text("x-kubernetes-list-type") {
                "set" => Some(item.clone()),
                "map" => Some(
                    keys.iter()
                        .filter(|key| item.has(key))
                        .map(|&key| (key.to_owned(), item.at(key).clone()))
                        .collect::<BTreeMap<_, _>>()
                        .into_iter()
                        .collect::<serde_json::Map<_, _>>()
                        .into(),
                ),
                _ => None,
            };
            let mut seen: Vec<Value> = Vec::new();
            for (index, item) in list.iter().enumerate() {
                if let Some(identity) = identity(item) {
                    if seen.contains(&identity) {
                        errors.push(FieldError::duplicate(&path.index(index), identity));
                    } else {
                        seen.push(identity);
                    }
                }
                lists(schema.at("items"), item, &path.index(index), errors);
            }
        }
        _ => {}
    }
}
