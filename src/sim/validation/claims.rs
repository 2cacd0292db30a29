//! PersistentVolumeClaims and the claim specs inside Pods and StatefulSets.

use serde_json::Value;

use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules};
use super::{diff, names, resources};
use crate::sim::field::{ErrorList, FieldError, Path};
use crate::sim::object::{Fields, copy, equal, field_at, map_at, set};
use crate::sim::quantity::Quantity;

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

pub(crate) fn create(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    spec(&mut errors, &At::field(object, "spec"));
    errors
}

/// Validates access modes, of claims and of volumes.
pub(crate) fn access_modes(errors: &mut ErrorList, at: &At<'_>) {
    let modes = at.strings();
    for mode in &modes {
        if !MODES.contains(mode) {
            errors.not_supported(&at.path, *mode, &MODES);
        }
    }
    let others = modes.iter().any(|mode| *mode != "ReadWriteOncePod" && MODES.contains(mode));
    if modes.contains(&"ReadWriteOncePod") && others {
        errors.forbidden(&at.path, "may not use ReadWriteOncePod with other access modes");
    }
}

/// Validates whether a volume is a file system or a device.
pub(crate) fn volume_mode(errors: &mut ErrorList, at: &At<'_>) {
    if at.present() && !matches!(at.str(), "Block" | "Filesystem") {
        errors.not_supported(&at.path, at.str(), &["Block", "Filesystem"]);
    }
}

/// Validates a PersistentVolumeClaimSpec.
pub(crate) fn spec(errors: &mut ErrorList, at: &At<'_>) {
    let modes = at.child("accessModes");
    if modes.is_empty() {
        errors.required(&modes.path, "at least 1 access mode is required");
    }
    metadata::label_selector(errors, &at.child("selector"));
    access_modes(errors, &modes);
    let storage = At::new(
        at.path.child("resources").key("storage"),
        at.value.dig(&["resources", "requests", "storage"]),
    );
    if storage.is_null() {
        errors.required(&storage.path, "");
    } else if resources::positive(errors, &storage) {
        resources::quantity(errors, "storage", &storage);
    }
    class_name(errors, &at.child("storageClassName"));
    volume_mode(errors, &at.child("volumeMode"));
    let (source, reference) = (at.child("dataSource"), at.child("dataSourceRef"));
    data_source(errors, &source);
    data_source(errors, &reference);
    let namespace = reference.child("namespace");
    if !namespace.str().is_empty() {
        errors.all(&namespace.path, namespace.str(), names::label_name(namespace.str(), false));
    }
    if source.present() && reference.present() {
        let shown = source.path.to_string();
        if !namespace.str().is_empty() {
            errors.push(
                FieldError::invalid(
                    &at.path,
                    shown.clone(),
                    "may not be specified when dataSourceRef.namespace is specified",
                )
                .showing(shown),
            );
        } else if ["apiGroup", "kind", "name"]
            .iter()
            .any(|field| source.value.at(field) != reference.value.at(field))
        {
            errors.push(
                FieldError::invalid(&at.path, shown.clone(), "must match dataSourceRef").showing(shown),
            );
        }
    }
    class_name(errors, &at.child("volumeAttributesClassName"));
}

fn class_name(errors: &mut ErrorList, at: &At<'_>) {
    if !at.str().is_empty() {
        errors.all(&at.path, at.str(), names::subdomain_name(at.str(), false));
    }
}

fn data_source(errors: &mut ErrorList, at: &At<'_>) {
    if at.is_null() {
        return;
    }
    for name in ["name", "kind"] {
        if at.value.text(name).is_empty() {
            errors.required(&at.path.child(name), "");
        }
    }
    let group = at.child("apiGroup");
    if group.str().is_empty() && at.value.text("kind") != "PersistentVolumeClaim" {
        errors.invalid(
            &at.path,
            at.value.text("kind"),
            "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        );
    }
    if !group.str().is_empty() {
        errors.all(&group.path, group.str(), names::dns1123_subdomain(group.str()));
    }
}

/// Validates a change of a claim.
pub(crate) fn update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    errors.extend(create(new, rules));
    let (mut after, mut before) = (new.at("spec").clone(), old.at("spec").clone());
    if before.text("volumeName").is_empty() {
        copy(&mut before, &after, "volumeName");
    }
    let beta = |object: &Value| object.dig(&["metadata", "annotations", BETA_CLASS]).clone();
    let (class_before, class_after) =
        (old.at("spec").at("storageClassName"), new.at("spec").at("storageClassName"));
    let (beta_before, beta_after) = (beta(old), beta(new));
    let upgraded = !beta_before.is_null()
        && class_before.is_null()
        && *class_after == beta_before
        && (beta_after.is_null() || beta_after == beta_before);
    if upgraded {
        set(&mut after, "storageClassName", Value::Null);
    } else {
        if beta_after.as_str().unwrap_or_default() != beta_before.as_str().unwrap_or_default() {
            errors.invalid(
                &Path::new("metadata").child("annotations").child(BETA_CLASS),
                beta_after.as_str().unwrap_or_default(),
                super::cursor::IMMUTABLE,
            );
        }
        if !class_after.is_null()
            && class_before.is_null()
            && (beta_before.is_null() || beta_before == *class_after)
        {
            copy(&mut after, old.at("spec"), "storageClassName");
        }
    }
    if new.at("status").text("phase") == "Bound" {
        if after.at("resources").has("requests") {
            let earlier = old.dig(&["spec", "resources", "requests", "storage"]).clone();
            map_at(field_at(&mut after, "resources"), "requests").insert("storage".to_owned(), earlier);
        }
        if after.has("volumeAttributesClassName") {
            copy(&mut after, &before, "volumeAttributesClassName");
        }
    }
    if !equal(&after, &before) {
        errors.forbidden(
            &Path::new("spec"),
            format!(
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{}",
                diff::objects(&before, &after)
            ),
        );
    }
    let size = |object: &Value, path: &[&str]| Quantity::of(object.dig(path));
    let requested = ["spec", "resources", "requests", "storage"];
    if size(new, &requested) < size(old, &requested)
        && size(new, &requested) <= size(old, &["status", "capacity", "storage"])
    {
        errors.forbidden(
            &Path::new("spec").child("resources").child("requests").child("storage"),
            "field can not be less than status.capacity",
        );
    }
    errors.immutable(
        &Path::new("volumeMode"),
        new.at("spec").at("volumeMode"),
        old.at("spec").at("volumeMode"),
    );
    let attributes = |object: &Value| object.at("spec").at("volumeAttributesClassName").clone();
    if !attributes(old).is_null() && attributes(old) != attributes(new) {
        let path = Path::new("spec").child("volumeAttributesClassName");
        match attributes(new).as_str() {
            None => errors.forbidden(&path, "update from non-nil value to nil is forbidden"),
            Some("") => errors.forbidden(&path, "update from non-nil value to an empty string is forbidden"),
            Some(_) => {}
        }
    }
    errors
}

/// Validates a change of a claim's status.
pub(crate) fn status(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    if new.at("spec").items("accessModes").is_empty() {
        errors.required(&Path::new("Spec").child("accessModes"), "");
    }
    for (_, amount) in At::field(new, "status").child("capacity").entries() {
        let value = Quantity::of(amount.value);
        if value.is_negative() {
            errors.invalid(&amount.path, value.value(), "must be a valid resource quantity");
        }
    }
    errors
}
