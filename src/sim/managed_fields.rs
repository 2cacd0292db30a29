//! Field management: who set which field, server-side apply with its conflicts (KEP-555), and the tracking of every
//! other write. By the rules of sigs.k8s.io/structured-merge-diff and of apimachinery's field manager.

mod compare;
mod set;
mod types;

use serde_json::{Value, json};

use super::object::{self, Fields as _};
use super::status::Status;
use compare::{compare, fields_of, merge, remove};
use set::{Set, Step};
use types::{Node, Shape, zero};

pub use types::Types;

/// How many managers that update are kept apart.
const MOST_UPDATE_MANAGERS: usize = 10;
/// Whoever the oldest updates are put down to beyond that.
const ANCIENT: &str = "ancient-changes";
/// Whoever the fields of an object are put down to that nobody tracked before its first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The metadata that nobody owns.
const NOBODYS_METADATA: [&str; 11] = [
    "name",
    "namespace",
    "creationTimestamp",
    "selfLink",
    "uid",
    "generation",
    "managedFields",
    "resourceVersion",
    "generateName",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

/// A write, as far as field management is concerned.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// Who writes: the `fieldManager` of the request, or the first part of its user agent.
    pub manager: &'a str,
    /// The version that is written.
    pub api_version: &'a str,
    /// The subresource, or nothing.
    pub subresource: &'a str,
    /// The time, to the second.
    pub time: &'a str,
    /// Fields that the request cannot set, such as `status` on the resource itself; each a path of names.
    pub reset: &'a [&'a [&'a str]],
}

/// One manager of an object, and what it has set.
#[derive(Debug, Clone, PartialEq)]
struct Manager {
    name: String,
    applies: bool,
    api_version: String,
    subresource: String,
    time: Option<String>,
    set: Set,
}

impl Manager {
    fn parse(entry: &Value) -> Option<Self> {
        Some(Self {
            name: entry.text("manager").to_owned(),
            applies: match entry.text("operation") {
                "Apply" => true,
                "Update" => false,
                _ => return None,
            },
            api_version: entry.text("apiVersion").to_owned(),
            subresource: entry.text("subresource").to_owned(),
            time: entry.at("time").as_str().map(str::to_owned),
            set: match entry.at("fieldsV1") {
                Value::Null => Set::default(),
                fields => Set::parse(fields)?,
            },
        })
    }

    fn write(&self) -> Value {
        let mut entry = json!({
            "manager": self.name,
            "operation": if self.applies { "Apply" } else { "Update" },
            "apiVersion": self.api_version,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.set.write(),
        });
        if let Some(time) = &self.time {
            entry["time"] = time.as_str().into();
        }
        if !self.subresource.is_empty() {
            entry["subresource"] = self.subresource.as_str().into();
        }
        entry
    }

    fn is(&self, write: &Write<'_>, applies: bool) -> bool {
        self.name == write.manager
            && self.applies == applies
            && self.subresource == write.subresource
            && (applies || self.api_version == write.api_version)
    }

    /// Names the manager in a conflict.
    fn describe(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.applies {
            text.push_str(&format!(" using {}", self.api_version));
        }
        text
    }
}

/// Records a write that is no apply: sets `metadata.managedFields` of `new`. `live` is none on a create.
pub fn track(types: Types<'_>, live: Option<&Value>, new: &mut Value, write: &Write<'_>) {
    let node = Node::root(types);
    let mut managers = match (decode(new), live) {
        // `managedFields: [{}]` asks to forget.
        (Decoded::Reset, _) => Vec::new(),
        (Decoded::Managers(managers), _) => managers,
        (Decoded::Absent, live) => live.map(managers_of).unwrap_or_default(),
    };
    let before = managers.clone();
    let old = live.cloned().unwrap_or_else(|| zero(types));
    let changes = compare(node, &strip(&old), &strip(new));
    let reset = reset_set(write.reset);
    let (added, modified, removed) = (
        changes.added.without_below(&reset),
        changes.modified.without_below(&reset),
        changes.removed.without_below(&reset),
    );
    let changed = added.union(&modified);
    for manager in managers.iter_mut().filter(|manager| !manager.is(write, false)) {
        manager.set = manager.set.difference(&changed).difference(&removed);
    }
    let at = managers.iter().position(|manager| manager.is(write, false)).unwrap_or_else(|| {
        managers.push(manager(write, false));
        managers.len() - 1
    });
    managers[at].set = managers[at].set.difference(&removed).union(&changed);
    encode(new, managers, &before, write);
}

/// Applies a configuration: merges it into the object, takes out what the manager applied before and no longer does,
/// and returns the object with its new managers. `live` is none when there is no such object yet.
///
/// # Errors
/// Conflict when fields that another manager has set would change, unless `force`; BadRequest for a configuration
/// that brings managedFields itself.
pub fn apply(
    types: Types<'_>,
    live: Option<&Value>,
    config: &Value,
    write: &Write<'_>,
    force: bool,
) -> Result<Value, Status> {
    if !object::is_empty(config.dig(&["metadata", "managedFields"])) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let node = Node::root(types);
    let mut managers = live.map(managers_of).unwrap_or_default();
    let before = managers.clone();
    if let Some(live) = live
        && managers.is_empty()
    {
        let fields = compare(node, &zero(types), &strip(live));
        let set = fields.added.union(&fields.modified);
        let first = Write { manager: BEFORE_FIRST_APPLY, subresource: "", ..*write };
        managers.push(Manager { set, ..manager(&first, false) });
    }
    let reset = reset_set(write.reset);
    let mut own = strip(config);
    if object::is_empty(own.at("metadata")) {
        object::remove(&mut own, "metadata");
    }
    let applied = fields_of(node, &own).without_below(&reset);
    let last = managers.iter().find(|manager| manager.is(write, true)).map(|manager| manager.set.clone());
    let mut merged = match live {
        Some(live) => merge(node, live, config),
        None => config.clone(),
    };
    for path in write.reset {
        if let (Some(live), [name]) = (live, path) {
            object::copy(&mut merged, live, name);
        }
    }
    managers.retain(|manager| !manager.is(write, true));
    if let Some(last) = last {
        let owned = managers.iter().fold(applied.clone(), |all, manager| all.union(&manager.set));
        let kept = merged.at("metadata").clone();
        remove(node, &mut merged, &last.with_named().difference(&owned.with_named()));
        // Metadata as a whole goes when nobody applies any of it; what nobody owns stays.
        for name in NOBODYS_METADATA {
            if kept.has(name) {
                object::copy(object::field_at(&mut merged, "metadata"), &kept, name);
            }
        }
    }
    let empty = zero(types);
    let changes = compare(node, &strip(live.unwrap_or(&empty)), &strip(&merged));
    let changed = changes.added.union(&changes.modified);
    let mut conflicts: Vec<(String, Vec<Step>)> = Vec::new();
    for other in &mut managers {
        let clash = other.set.intersection(&changed);
        conflicts.extend(clash.paths().into_iter().map(|path| (other.describe(), path)));
        other.set = other.set.difference(&clash).difference(&changes.removed);
    }
    if !force && !conflicts.is_empty() {
        return Err(conflict(conflicts));
    }
    managers.push(Manager { set: applied, ..manager(write, true) });
    encode(&mut merged, managers, &before, write);
    Ok(merged)
}

/// Merges a configuration into an object as an apply does, without owners. What merges as one value may not be in it.
///
/// # Errors
/// Fields that the type does not have, and values that are one.
pub fn overlay(types: Types<'_>, object: &Value, config: &Value) -> Result<Value, String> {
    let node = Node::root(types);
    let (mut unknown, mut whole) = (Vec::new(), Vec::new());
    survey(node, config, String::new(), &mut unknown, &mut whole);
    if !unknown.is_empty() {
        let faults: Vec<String> =
            unknown.iter().map(|path| format!("{path}: field not declared in schema")).collect();
        return Err(format!("failed to convert patch object to typed object: {}", faults.join(", ")));
    }
    if !whole.is_empty() {
        return Err(format!(
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {}",
            whole.join(", ")
        ));
    }
    Ok(merge(node, object, config))
}

/// Finds fields that are not declared and values that merge as one.
fn survey(node: Node<'_>, value: &Value, path: String, unknown: &mut Vec<String>, whole: &mut Vec<String>) {
    let shape = node.shape(value);
    if matches!(shape, Shape::Leaf) && (value.is_object() || value.is_array()) {
        whole.push(path.clone());
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let path = format!("{path}.{name}");
                if node.is_closed() && !node.names(name) {
                    unknown.push(path);
                } else {
                    survey(node.field(name), value, path, unknown, whole);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                survey(node.item(), item, format!("{path}[{index}]"), unknown, whole);
            }
        }
        _ => {}
    }
}

/// Tells whether two versions of an object differ in nothing but the times of their managers.
pub fn differ_only_in_times(new: &Value, old: &Value) -> bool {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        if let Some(entries) = object.pointer_mut("/metadata/managedFields").and_then(Value::as_array_mut) {
            for entry in entries {
                object::remove(entry, "time");
            }
        }
        object
    };
    timeless(new) == timeless(old)
}

fn manager(write: &Write<'_>, applies: bool) -> Manager {
    Manager {
        name: write.manager.to_owned(),
        applies,
        api_version: write.api_version.to_owned(),
        subresource: write.subresource.to_owned(),
        time: Some(write.time.to_owned()),
        set: Set::default(),
    }
}

enum Decoded {
    Absent,
    Reset,
    Managers(Vec<Manager>),
}

fn decode(object: &Value) -> Decoded {
    let entries = object.dig(&["metadata"]).items("managedFields");
    match entries {
        [] => Decoded::Absent,
        [only] if only.as_object().is_some_and(serde_json::Map::is_empty) => Decoded::Reset,
        entries => match entries.iter().map(Manager::parse).collect::<Option<Vec<_>>>() {
            Some(managers) => Decoded::Managers(managers),
            None => Decoded::Absent,
        },
    }
}

fn managers_of(object: &Value) -> Vec<Manager> {
    match decode(object) {
        Decoded::Managers(managers) => managers,
        Decoded::Absent | Decoded::Reset => Vec::new(),
    }
}

/// Writes the managers, those that have changed with the time of this write.
fn encode(object: &mut Value, mut managers: Vec<Manager>, before: &[Manager], write: &Write<'_>) {
    managers.retain(|manager| !manager.set.is_empty());
    for manager in &mut managers {
        let same = |old: &&Manager| {
            old.name == manager.name
                && old.applies == manager.applies
                && old.subresource == manager.subresource
                && old.api_version == manager.api_version
        };
        let old = before.iter().find(same);
        let ours = manager.is(write, true) || manager.is(write, false);
        match old {
            Some(old) if !ours || old.set == manager.set => manager.time.clone_from(&old.time),
            _ => manager.time = Some(write.time.to_owned()),
        }
    }
    managers.sort_by(|a, b| {
        let rank = |m: &Manager| {
            (!m.applies, m.time.clone(), m.name.clone(), m.api_version.clone(), m.subresource.clone())
        };
        rank(a).cmp(&rank(b))
    });
    cap(&mut managers);
    let entries: Vec<Value> = managers.iter().map(Manager::write).collect();
    let metadata = object::field_at(object, "metadata");
    if entries.is_empty() {
        object::remove(metadata, "managedFields");
    } else {
        object::set(metadata, "managedFields", entries);
    }
}

/// Puts the oldest updates down to one manager when there are too many.
fn cap(managers: &mut Vec<Manager>) {
    let updates = managers.iter().filter(|manager| !manager.applies).count();
    if updates <= MOST_UPDATE_MANAGERS {
        return;
    }
    let first = managers.iter().position(|manager| !manager.applies).unwrap_or_default();
    let many = updates - MOST_UPDATE_MANAGERS + 1;
    let old: Vec<Manager> = managers.drain(first..first + many).collect();
    let set = old.iter().fold(Set::default(), |all, manager| all.union(&manager.set));
    let mut ancient = old.into_iter().next_back().unwrap_or_else(|| unreachable!("many is at least 2"));
    ancient.name = ANCIENT.to_owned();
    ancient.subresource = String::new();
    ancient.set = set;
    managers.insert(first, ancient);
}

/// Takes out what nobody owns: the identity of the object and what the server writes.
fn strip(object: &Value) -> Value {
    let mut object = object.clone();
    for name in ["apiVersion", "kind"] {
        object::remove(&mut object, name);
    }
    if let Some(metadata) = object.get_mut("metadata") {
        for name in NOBODYS_METADATA {
            object::remove(metadata, name);
        }
    }
    object
}

fn reset_set(paths: &[&[&str]]) -> Set {
    let mut set = Set::default();
    for path in paths {
        let steps: Vec<Step> = path.iter().map(|name| Step::Field((*name).to_owned())).collect();
        set.insert(&steps);
    }
    set
}

fn conflict(mut conflicts: Vec<(String, Vec<Step>)>) -> Status {
    conflicts.sort();
    let text = |path: &[Step]| path.iter().map(ToString::to_string).collect::<String>();
    let message = match conflicts.as_slice() {
        [(manager, path)] => format!("Apply failed with 1 conflict: conflict with {manager}: {}", text(path)),
        all => {
            let mut lines = Vec::new();
            let mut last = "";
            for (manager, path) in all {
                if manager != last {
                    lines.push(format!("conflicts with {manager}:"));
                    last = manager;
                }
                lines.push(format!("- {}", text(path)));
            }
            format!("Apply failed with {} conflicts: {}", all.len(), lines.join("\n"))
        }
    };
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|(manager, path)| {
            json!({ "reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": text(path) })
        })
        .collect();
    let mut status = Status::new(409, "Conflict", message);
    status.details = json!({ "causes": causes });
    status
}

#[cfg(test)]
mod tests;
