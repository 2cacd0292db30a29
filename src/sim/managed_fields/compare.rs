//! Which fields an object has, which differ between two, and the merge of an applied configuration into an object.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::set::{Set, Step};
use super::types::{Node, Shape, step_of};

/// What is different between an old and a new object.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

/// Returns the fields of an applied configuration.
pub(super) fn fields_of(node: Node<'_>, value: &Value) -> Set {
    let mut set = Set::default();
    list_fields(node, value, &mut Vec::new(), &mut set);
    set
}

fn list_fields(node: Node<'_>, value: &Value, path: &mut Vec<Step>, set: &mut Set) {
    match (node.shape(value), value) {
        (Shape::Map, Value::Object(map)) => {
            for (name, value) in map {
                path.push(Step::Field(name.clone()));
                list_fields(node.field(name), value, path, set);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if empty || !node.names(name) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        (shape @ (Shape::Set | Shape::Keyed(_)), Value::Array(list)) => {
            for item in list {
                let Some(step) = step_of(&shape, item) else { continue };
                path.push(step);
                if matches!(shape, Shape::Keyed(_)) {
                    list_fields(node.item(), item, path, set);
                }
                set.insert(path);
                path.pop();
            }
        }
        _ => set.insert(path),
    }
}

/// Compares two objects.
pub(super) fn compare(node: Node<'_>, old: &Value, new: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    walk(node, Some(old), Some(new), &mut Vec::new(), &mut comparison);
    comparison
}

fn walk<'v>(
    node: Node<'_>,
    old: Option<&'v Value>,
    new: Option<&'v Value>,
    path: &mut Vec<Step>,
    to: &mut Comparison,
) {
    let shape = match (new, old) {
        (Some(new), Some(old)) if new.is_null() => node.shape(old),
        (Some(new), _) => node.shape(new),
        (None, Some(old)) => node.shape(old),
        (None, None) => return,
    };
    let same_form = match (old, new) {
        (Some(old), Some(new)) => {
            old.is_null() || new.is_null() || std::mem::discriminant(old) == std::mem::discriminant(new)
        }
        _ => true,
    };
    let empty = |value: Option<&Value>| match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    };
    if matches!(shape, Shape::Leaf) || !same_form || (empty(old) && empty(new)) {
        match (old, new) {
            (None, _) => to.added.insert(path),
            (_, None) => to.removed.insert(path),
            (Some(old), Some(new)) if old != new => to.modified.insert(path),
            _ => {}
        }
        return;
    }
    match shape {
        Shape::Map => {
            let none = Map::new();
            let fields = |value: Option<&'v Value>| value.and_then(Value::as_object);
            let (before, after) = (fields(old).unwrap_or(&none), fields(new).unwrap_or(&none));
            let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                path.push(Step::Field(name.clone()));
                walk(node.field(name), before.get(name), after.get(name), path, to);
                path.pop();
            }
        }
        shape => {
            let items = |value: Option<&'v Value>| {
                let list = value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let mut items = BTreeMap::new();
                for item in list {
                    if let Some(step) = step_of(&shape, item) {
                        items.entry(step).or_insert(item);
                    }
                }
                items
            };
            let (before, after) = (items(old), items(new));
            let mut steps: Vec<&Step> = before.keys().chain(after.keys()).collect();
            steps.sort();
            steps.dedup();
            for step in steps {
                path.push(step.clone());
                walk(node.item(), before.get(step).copied(), after.get(step).copied(), path, to);
                path.pop();
            }
        }
    }
    match (old, new) {
        (None, _) => to.added.insert(path),
        (_, None) => to.removed.insert(path),
        _ => {}
    }
}

/// Merges an applied configuration into an object.
pub(super) fn merge(node: Node<'_>, live: &Value, config: &Value) -> Value {
    match (node.shape(config), live, config) {
        (Shape::Map, Value::Object(live), Value::Object(config)) => {
            let mut merged = live.clone();
            for (name, value) in config {
                let value = match live.get(name) {
                    Some(live) => merge(node.field(name), live, value),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            merged.into()
        }
        (shape @ (Shape::Set | Shape::Keyed(_)), Value::Array(live), Value::Array(config)) => {
            let name = |item: &Value| step_of(&shape, item);
            let wanted: BTreeSet<Option<Step>> = config.iter().map(name).collect();
            let mut there: BTreeMap<Option<Step>, &Value> = BTreeMap::new();
            for item in live {
                there.entry(name(item)).or_insert(item);
            }
            let mut taken = BTreeSet::new();
            let mut merged: Vec<Value> = Vec::new();
            let mut rest = live.iter().map(|item| (name(item), item)).peekable();
            for item in config {
                // What only the object has keeps its place before what comes next of the configuration.
                while let Some((key, next)) =
                    rest.next_if(|(key, _)| !wanted.contains(key) || taken.contains(key))
                {
                    if !wanted.contains(&key) {
                        merged.push(next.clone());
                    }
                }
                let key = name(item);
                merged.push(match there.get(&key) {
                    Some(was) => merge(node.item(), was, item),
                    None => item.clone(),
                });
                taken.insert(key);
            }
            merged.extend(rest.filter(|(key, _)| !wanted.contains(key)).map(|(_, item)| item.clone()));
            merged.into()
        }
        _ => config.clone(),
    }
}

/// Takes the members of a set out of an object.
pub(super) fn remove(node: Node<'_>, value: &mut Value, gone: &Set) {
    match (node.shape(value), value) {
        (Shape::Map, Value::Object(map)) => {
            map.retain(|name, _| !gone.child(&Step::Field(name.clone())).is_some_and(Set::is_member));
            for (name, value) in map.iter_mut() {
                if let Some(below) = gone.child(&Step::Field(name.clone())) {
                    remove(node.field(name), value, below);
                }
            }
        }
        (shape @ (Shape::Set | Shape::Keyed(_)), Value::Array(list)) => {
            let below = |item: &Value| step_of(&shape, item).and_then(|step| gone.child(&step).cloned());
            list.retain(|item| !below(item).is_some_and(|set| set.is_member()));
            for item in list.iter_mut() {
                if let Some(below) = below(item) {
                    remove(node.item(), item, &below);
                }
            }
        }
        _ => {}
    }
}
