//! A folder of manifests: read, parsed, recorded and read back. Judges nothing.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::super::document;
use super::super::task_file::{self, Content};
use super::super::{CheckError, Finding, object};
use super::pods;

/// The manifests of a folder by file.
#[derive(Debug, Default)]
pub(super) struct Folder {
    pub(super) files: BTreeMap<String, Vec<Item>>,
    /// What could not be read as manifests.
    pub(super) faults: Vec<Finding>,
}

/// One object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) object: Value,
}

impl Folder {
    /// Reads the folder; `None` when there is none.
    pub(super) async fn read(task_dir: &Path, dir: &str) -> Result<Option<Self>, CheckError> {
        let Some(names) = task_file::list(task_dir, dir).await? else { return Ok(None) };
        let mut folder = Self::default();
        for name in names {
            if ![".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending)) {
                continue;
            }
            let path = format!("{dir}/{name}");
            let label = format!("file {path}");
            match task_file::read(task_dir, &path, task_file::LARGEST).await? {
                Content::Unusable(finding) => folder.faults.push(finding),
                Content::Text(text) => match document::yamls::<Value>(&text) {
                    Err(fault) => folder.faults.push(fault.finding(&label, "manifests")),
                    Ok(documents) => match items(documents) {
                        Ok(items) => {
                            folder.files.insert(name, items);
                        }
                        Err(what) => folder.faults.push(Finding::new(label, "", "manifests", what)),
                    },
                },
            }
        }
        Ok(Some(folder))
    }

    pub(super) fn to_json(&self) -> Value {
        let list = |items: &Vec<Item>| items.iter().map(|item| item.object.clone()).collect::<Value>();
        self.files.iter().map(|(file, items)| (file.clone(), list(items))).collect::<Map<_, _>>().into()
    }

    pub(super) fn from_json(value: &Value) -> Option<Self> {
        let mut folder = Self::default();
        for (file, objects) in value.as_object()? {
            let items = objects.as_array()?.iter().map(|object| Item { object: object.clone() }).collect();
            folder.files.insert(file.clone(), items);
        }
        Some(folder)
    }

    /// Tells whether a file matches a pattern.
    pub(super) fn has(&self, pattern: &str) -> bool {
        self.files.keys().any(|file| object::matches(pattern, file))
    }
}

/// Takes lists apart and leaves empty documents out.
fn items(documents: Vec<Value>) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
        match document.get("items").and_then(Value::as_array) {
            Some(list) if is_list => {
                items.extend(self::items(list.clone())?);
            }
            _ => {
                for field in ["apiVersion", "kind"] {
                    if !document[field].is_string() {
                        return Err(format!("a document without {field}"));
                    }
                }
                items.push(Item { object: document });
            }
        }
    }
    Ok(items)
}

impl Item {
    /// Names the object as findings do.
    pub(super) fn name(&self) -> String {
        object::display(&self.object)
    }

    /// Tells whether two files hold the same objects, whatever their order.
    pub(super) fn same(left: &[Self], right: &[Self]) -> bool {
        left.len() == right.len() && left.iter().all(|item| right.contains(item))
    }

    /// Returns the Pod spec of a Pod or a workload, with defaults.
    pub(super) fn pod(&self) -> Option<Value> {
        pods::spec(&self.object).map(|(spec, _)| pods::filled(spec))
    }

    /// Returns all containers, each with defaults and with what the Pod says for them.
    pub(super) fn containers(&self) -> Vec<Value> {
        pods::spec(&self.object).map(|(spec, meta)| pods::containers(spec, meta)).unwrap_or_default()
    }
}
