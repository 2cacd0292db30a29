//! Volumes, claims and what provides them, as rows.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{age, length, name, or_none};
use crate::sim::object::Fields as _;

fn modes(object: &Value) -> Value {
    let short = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let given = object.texts("accessModes");
    let written: Vec<&str> =
        short.into_iter().filter(|(long, _)| given.contains(long)).map(|(_, short)| short).collect();
    written.join(",").into()
}

fn or_unset(text: &str) -> Value {
    if text.is_empty() { "<unset>" } else { text }.into()
}

fn phase(object: &Value) -> Value {
    if object.at("metadata").has("deletionTimestamp") {
        return "Terminating".into();
    }
    object.at("status").text("phase").into()
}

fn class_of(object: &Value) -> Value {
    let annotation = object.at("metadata").at("annotations").text("volume.beta.kubernetes.io/storage-class");
    if annotation.is_empty() { object.at("spec").text("storageClassName") } else { annotation }.into()
}

fn capacity(holder: &Value) -> Value {
    match holder.at("capacity").text("storage") {
        "" => "0",
        size => size,
    }
    .into()
}

/// A PersistentVolume.
pub(super) fn volume(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object.at("spec");
    let claim = spec.at("claimRef");
    let claim = match claim.is_object() {
        true => format!("{}/{}", claim.text("namespace"), claim.text("name")),
        false => String::new(),
    };
    vec![
        name(object),
        capacity(spec),
        modes(spec),
        spec.text("persistentVolumeReclaimPolicy").into(),
        phase(object),
        claim.into(),
        class_of(object),
        or_unset(spec.text("volumeAttributesClassName")),
        object.at("status").text("reason").into(),
        age(object, now),
        or_unset(spec.text("volumeMode")),
    ]
}

/// A PersistentVolumeClaim.
pub(super) fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (object.at("spec"), object.at("status"));
    let bound = !spec.text("volumeName").is_empty();
    let when_bound = |value: Value| if bound { value } else { "".into() };
    vec![
        name(object),
        phase(object),
        spec.text("volumeName").into(),
        when_bound(capacity(status)),
        when_bound(modes(status)),
        class_of(object),
        or_unset(spec.text("volumeAttributesClassName")),
        age(object, now),
        or_unset(spec.text("volumeMode")),
    ]
}

fn with_default(object: &Value, annotations: [&str; 2]) -> Value {
    let given = object.at("metadata").at("annotations");
    let plain = object.at("metadata").text("name");
    if annotations.iter().any(|key| given.text(key) == "true") {
        return format!("{plain} (default)").into();
    }
    plain.into()
}

/// A StorageClass.
pub(super) fn class(object: &Value, now: Timestamp) -> Vec<Value> {
    let or = |field: &str, default: &str| match object.text(field) {
        "" => Value::from(default),
        text => text.into(),
    };
    let name = with_default(
        object,
        ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"],
    );
    vec![
        name,
        object.text("provisioner").into(),
        or("reclaimPolicy", "Delete"),
        or("volumeBindingMode", "Immediate"),
        object.truth("allowVolumeExpansion").unwrap_or(false).into(),
        age(object, now),
    ]
}

/// A VolumeAttributesClass.
pub(super) fn attributes_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let annotation = "volumeattributesclass.alpha.kubernetes.io/is-default-class";
    vec![with_default(object, [annotation; 2]), object.text("driverName").into(), age(object, now)]
}

/// A VolumeAttachment.
pub(super) fn attachment(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object.at("spec");
    vec![
        name(object),
        spec.text("attacher").into(),
        spec.at("source").text("persistentVolumeName").into(),
        spec.text("nodeName").into(),
        object.at("status").truth("attached").unwrap_or(false).into(),
        age(object, now),
    ]
}

/// A CSIDriver.
pub(super) fn driver(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object.at("spec");
    let truth = |field: &str, default: bool| Value::from(spec.truth(field).unwrap_or(default));
    let audiences: Vec<&str> = spec.items("tokenRequests").iter().map(|t| t.text("audience")).collect();
    let tokens = if spec.has("tokenRequests") { audiences.join(",") } else { "<unset>".to_owned() };
    vec![
        name(object),
        truth("attachRequired", true),
        truth("podInfoOnMount", false),
        truth("storageCapacity", false),
        tokens.into(),
        truth("requiresRepublish", false),
        or_none(&spec.texts("volumeLifecycleModes").join(",")),
        age(object, now),
    ]
}

/// A CSINode.
pub(super) fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), length(object.at("spec"), "drivers").into(), age(object, now)]
}
