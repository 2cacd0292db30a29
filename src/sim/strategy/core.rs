//! Smaller kinds: namespaces, service accounts, volumes and claims, endpoints, definitions.

use serde_json::{Value, json};

use crate::sim::object::{Fields, copy, field_at, items_mut, map_at, remove, set};

pub(super) fn namespace(object: &mut Value) {
    let spec = field_at(object, "spec");
    let mut finalizers: Vec<Value> = spec.items("finalizers").to_vec();
    if !finalizers.contains(&json!("kubernetes")) {
        finalizers.push(json!("kubernetes"));
    }
    set(spec, "finalizers", finalizers);
    // A generated name has not been known when the object was defaulted.
    let name = object.dig(&["metadata", "name"]).clone();
    map_at(field_at(object, "metadata"), "labels").insert("kubernetes.io/metadata.name".to_owned(), name);
}

pub(super) fn namespace_update(subresource: &str, new: &mut Value, old: &Value) {
    match subresource {
        "finalize" => copy(new, old, "status"),
        _ => copy(new, old, "spec"),
    }
}

/// Of a reference to a Secret only the name counts.
pub(super) fn service_account(object: &mut Value) {
    for secret in items_mut(object, "secrets") {
        *secret = json!({"name": secret.text("name")});
    }
}

/// Keeps the two fields for a claim's source in step.
pub(super) fn data_sources(object: &mut Value) {
    let spec = field_at(object, "spec");
    let foreign = spec.at("dataSourceRef").has("namespace");
    if foreign {
        // The gate for sources in other namespaces is off.
        if let Some(reference) = spec.get_mut("dataSourceRef") {
            remove(reference, "namespace");
        }
    }
    let (source, reference) = (spec.at("dataSource").clone(), spec.at("dataSourceRef").clone());
    match (source.is_null(), reference.is_null()) {
        (false, true) => set(spec, "dataSourceRef", source),
        (true, false) => set(spec, "dataSource", reference),
        _ => {}
    }
}

/// Notes when a volume's phase has changed.
pub(super) fn phase_time(new: &mut Value, old: &Value, now: Value) {
    let changed = new.at("status").text("phase") != old.at("status").text("phase");
    let field = "lastPhaseTransitionTime";
    let status = field_at(new, "status");
    if changed {
        if status.at(field) == old.at("status").at(field) {
            set(status, field, now);
        }
    } else {
        copy(status, old.at("status"), field);
    }
}

/// Notes the version that objects are stored in.
pub(super) fn stored_versions(new: &mut Value, old: &Value) {
    let stored =
        new.at("spec").items("versions").iter().find(|version| version.truth("storage") == Some(true));
    let Some(stored) = stored.map(|version| version.text("name").to_owned()) else { return };
    let mut versions: Vec<String> =
        old.at("status").texts("storedVersions").iter().map(ToString::to_string).collect();
    if !versions.contains(&stored) {
        versions.push(stored);
    }
    set(field_at(new, "status"), "storedVersions", versions);
}

/// Topology of slices is a field of its own by now.
pub(super) fn endpoint_slice(object: &mut Value) {
    for endpoint in items_mut(object, "endpoints") {
        remove(endpoint, "deprecatedTopology");
    }
}

/// Sorts Endpoints and joins subsets of the same ports.
pub(super) fn endpoints(object: &mut Value) {
    let subsets = object.items("subsets").to_vec();
    let mut packed: Vec<Value> = Vec::new();
    for subset in subsets {
        let same = packed.iter_mut().find(|other| other.at("ports") == subset.at("ports"));
        match same {
            Some(other) => {
                for list in ["addresses", "notReadyAddresses"] {
                    let more = subset.items(list).to_vec();
                    if more.is_empty() {
                        continue;
                    }
                    let mut all = other.items(list).to_vec();
                    all.extend(more.into_iter().filter(|address| !other.items(list).contains(address)));
                    set(other, list, all);
                }
            }
            None => packed.push(subset),
        }
    }
    for subset in &mut packed {
        for list in ["addresses", "notReadyAddresses"] {
            if let Some(Value::Array(addresses)) = subset.get_mut(list) {
                addresses.sort_by(|a, b| a.text("ip").cmp(b.text("ip")));
            }
        }
    }
    if !packed.is_empty() {
        set(object, "subsets", packed);
    }
}
