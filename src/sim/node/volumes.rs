//! A Pod's volumes: whether they can be set up, and what is in them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::environment::{field, secret_text};
use super::{Machine, PathKind};
use crate::sim::meta;
use crate::sim::pod_refs;
use crate::sim::resource::GroupResource;
use crate::sim::store::Store;

const SECRETS: GroupResource = GroupResource::of("", "secrets");
const CONFIG_MAPS: GroupResource = GroupResource::of("", "configmaps");
const CLAIMS: GroupResource = GroupResource::of("", "persistentvolumeclaims");

/// Sets the volumes up.
///
/// # Errors
/// The message of the FailedMount event.
pub(super) fn mount(store: &Store, machine: &dyn Machine, pod: &Value, node: &str) -> Result<(), String> {
    for volume in meta::items(&pod["spec"]["volumes"]) {
        let name = volume["name"].as_str().unwrap_or_default();
        content(store, pod, volume)
            .map_err(|why| format!("MountVolume.SetUp failed for volume {name:?} : {why}"))?;
        if let Some(path) = volume["hostPath"]["path"].as_str() {
            let wanted = volume["hostPath"]["type"].as_str().unwrap_or_default();
            let kind = machine.kind(node, path);
            let refusal = match (wanted, kind) {
                ("Directory", kind) if kind != Some(PathKind::Folder) => Some("a directory"),
                ("File", kind) if kind != Some(PathKind::File) => Some("a file"),
                ("Socket", kind) if kind != Some(PathKind::Socket) => Some("a socket file"),
                ("DirectoryOrCreate", Some(PathKind::File | PathKind::Socket)) => Some("a directory"),
                ("FileOrCreate", Some(PathKind::Folder | PathKind::Socket)) => Some("a file"),
                _ => None,
            };
            if let Some(what) = refusal {
                return Err(format!(
                    "MountVolume.SetUp failed for volume {name:?} : hostPath type check failed: {path} is not {what}"
                ));
            }
            if kind.is_none() {
                match wanted {
                    "FileOrCreate" => machine.create(node, path, PathKind::File),
                    // Of a volume without a type the runtime makes a folder.
                    "DirectoryOrCreate" | "" => machine.create(node, path, PathKind::Folder),
                    _ => {}
                }
            }
        }
    }
    for claim in pod_refs::claims(pod) {
        let namespace = meta::namespace(pod);
        if store.get(&CLAIMS, namespace, &claim).is_none() {
            return Err(format!(
                "Unable to attach or mount volumes: error processing PVC {namespace}/{claim}: failed to fetch PVC from API \
                 server: persistentvolumeclaims {claim:?} not found"
            ));
        }
    }
    Ok(())
}

/// Returns the files of a volume by their path in it; none for kinds whose content is written by containers.
pub(super) fn content(
    store: &Store,
    pod: &Value,
    volume: &Value,
) -> Result<BTreeMap<String, String>, String> {
    if !volume["projected"].is_null() {
        let mut files = BTreeMap::new();
        for source in meta::items(&volume["projected"]["sources"]) {
            files.extend(source_content(store, pod, source)?);
        }
        return Ok(files);
    }
    source_content(store, pod, volume)
}

fn source_content(store: &Store, pod: &Value, source: &Value) -> Result<BTreeMap<String, String>, String> {
    let namespace = meta::namespace(pod);
    let mut files = BTreeMap::new();
    for (field_name, resource) in [("secret", &SECRETS), ("configMap", &CONFIG_MAPS)] {
        let spec = &source[field_name];
        if spec.is_null() {
            continue;
        }
        let is_secret = field_name == "secret";
        let name = spec["secretName"].as_str().or(spec["name"].as_str()).unwrap_or_default();
        let optional = spec["optional"] == true;
        let Some(entry) = store.get(resource, namespace, name) else {
            let kind = if is_secret { "secret" } else { "configmap" };
            return if optional { Ok(files) } else { Err(format!("{kind} {name:?} not found")) };
        };
        let text = |value: &Value| {
            if is_secret { secret_text(value) } else { value.as_str().unwrap_or_default().to_owned() }
        };
        let data = &entry.object["data"];
        if meta::items(&spec["items"]).next().is_none() {
            files.extend(
                data.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))),
            );
        }
        for item in meta::items(&spec["items"]) {
            let key = item["key"].as_str().unwrap_or_default();
            let path = item["path"].as_str().unwrap_or_default();
            match (&data[key], is_secret) {
                (Value::Null, _) if entry.object["binaryData"][key].is_string() => {
                    files.insert(path.to_owned(), secret_text(&entry.object["binaryData"][key]));
                }
                (Value::Null, _) if optional => {}
                (Value::Null, true) => return Err(format!("references non-existent secret key: {key}")),
                (Value::Null, false) => {
                    return Err(format!("configmap references non-existent config key: {key}"));
                }
                (value, _) => {
                    files.insert(path.to_owned(), text(value));
                }
            }
        }
    }
    for item in meta::items(&source["downwardAPI"]["items"]) {
        let path = item["path"].as_str().unwrap_or_default();
        files.insert(path.to_owned(), field(pod, item["fieldRef"]["fieldPath"].as_str().unwrap_or_default()));
    }
    if let Some(path) = source["serviceAccountToken"]["path"].as_str() {
        files.insert(path.to_owned(), String::new());
    }
    Ok(files)
}
