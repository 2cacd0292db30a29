//! StorageClasses, what drivers say of themselves, and attachments.

use serde_json::Value;

use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules, label_key, label_selector};
use super::pod::volumes::csi_driver_name;
use super::webhooks::choice;
use super::{names, persistent_volume};
use crate::sim::field::{ErrorList, Path};
use crate::sim::object::{Fields, equal};
use crate::sim::quantity::Quantity;

const MOST_PARAMETERS: usize = 512;
const LARGEST_PARAMETERS: usize = 256 * 1024;
const LONGEST_NODE_ID: usize = 192;

pub(super) fn create(kind: &str, object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = ErrorList::new();
    if matches!(kind, "CSIDriver") {
        csi_driver_name(&mut errors, &At::new(Path::new("name"), object.at("metadata").at("name")));
    } else {
        errors.extend(metadata::validate(object, rules));
    }
    let spec = At::field(object, "spec");
    match kind {
        "StorageClass" => class(&mut errors, object),
        "VolumeAttributesClass" => {
            provisioner(&mut errors, &At::field(object, "driverName"));
            let parameters = At::field(object, "parameters");
            if parameters.is_empty() {
                errors.required(&parameters.path, "must contain at least one key/value pair");
            }
            self::parameters(&mut errors, &parameters);
        }
        "CSIDriver" => driver(&mut errors, &spec),
        "CSINode" => node_drivers(&mut errors, &spec.child("drivers")),
        "VolumeAttachment" => attachment(&mut errors, &spec),
        "CSIStorageCapacity" => capacity(&mut errors, object),
        _ => {}
    }
    errors
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    let spec = At::field(new, "spec");
    let before = old.at("spec");
    match kind {
        "StorageClass" => {
            unchanged(&mut errors, new, old, &["parameters", "provisioner", "reclaimPolicy"]);
            let mode = At::field(new, "volumeBindingMode");
            errors.immutable(&mode.path, mode.value, old.at("volumeBindingMode"));
        }
        "VolumeAttributesClass" => unchanged(&mut errors, new, old, &["driverName", "parameters"]),
        "CSIDriver" => {
            driver(&mut errors, &spec);
            for field in ["attachRequired", "volumeLifecycleModes"] {
                errors.immutable(&spec.path.child(field), spec.value.at(field), before.at(field));
            }
        }
        "CSINode" => changed_drivers(&mut errors, &spec, before),
        "VolumeAttachment" if !equal(spec.value, before) => {
            errors.invalid_object(&spec.path, spec.value, super::cursor::IMMUTABLE);
        }
        "CSIStorageCapacity" => {
            errors = create(kind, new, rules);
            for field in ["nodeTopology", "storageClassName"] {
                errors.immutable(&Path::new(field), new.at(field), old.at(field));
            }
        }
        _ => {}
    }
    errors
}

/// Files that fields were changed, in the words that parameters have.
fn unchanged(errors: &mut ErrorList, new: &Value, old: &Value, fields: &[&str]) {
    for field in fields {
        if !equal(new.at(field), old.at(field)) {
            errors.forbidden(&Path::new(field), format!("updates to {field} are forbidden."));
        }
    }
}

fn class(errors: &mut ErrorList, object: &Value) {
    provisioner(errors, &At::field(object, "provisioner"));
    parameters(errors, &At::field(object, "parameters"));
    choice(errors, &At::field(object, "reclaimPolicy"), &["Delete", "Retain"]);
    let mode = At::field(object, "volumeBindingMode");
    if mode.is_null() {
        errors.required(&mode.path, "");
    }
    choice(errors, &mode, &["Immediate", "WaitForFirstConsumer"]);
    topologies(errors, &At::field(object, "allowedTopologies"));
}

fn provisioner(errors: &mut ErrorList, at: &At<'_>) {
    if at.str().is_empty() {
        errors.required(&at.path, "");
        return;
    }
    errors.all(&at.path, at.str(), names::qualified_name(&at.str().to_lowercase()));
}

fn parameters(errors: &mut ErrorList, at: &At<'_>) {
    if at.len() > MOST_PARAMETERS {
        errors.too_long(&at.path, MOST_PARAMETERS);
        return;
    }
    let mut size = 0;
    for (key, value) in at.entries() {
        if key.is_empty() {
            errors.invalid(&at.path, key, "field can not be empty.");
        }
        size += key.len() + value.str().len();
    }
    if size > LARGEST_PARAMETERS {
        errors.too_long(&at.path, LARGEST_PARAMETERS);
    }
}

fn topologies(errors: &mut ErrorList, list: &At<'_>) {
    let mut seen: Vec<&Value> = Vec::new();
    for term in list.items() {
        let mut keys = Vec::new();
        for rule in term.child("matchLabelExpressions").items() {
            let (key, values) = (rule.child("key"), rule.child("values"));
            label_key(errors, &key.path, key.str());
            if values.is_empty() {
                errors.required(&values.path, "");
            }
            let mut known = Vec::new();
            for value in values.items() {
                if known.contains(&value.str()) {
                    errors.duplicate(&value.path, value.str());
                }
                known.push(value.str());
            }
            if keys.contains(&key.str()) {
                errors.duplicate(&key.path, key.str());
            }
            keys.push(key.str());
        }
        if seen.iter().any(|other| equal(other, term.value)) {
            errors.duplicate(&term.path, "");
        }
        seen.push(term.value);
    }
}

fn driver(errors: &mut ErrorList, spec: &At<'_>) {
    for field in ["attachRequired", "podInfoOnMount", "storageCapacity"] {
        let field = spec.child(field);
        if field.is_null() {
            errors.required(&field.path, "");
        }
    }
    choice(errors, &spec.child("fsGroupPolicy"), &["ReadWriteOnceWithFSType", "File", "None"]);
    let mut audiences = Vec::new();
    for request in spec.child("tokenRequests").items() {
        let (audience, expiry) = (request.child("audience"), request.child("expirationSeconds"));
        if audiences.contains(&audience.str()) {
            errors.duplicate(&audience.path, audience.str());
            continue;
        }
        audiences.push(audience.str());
        if let Some(seconds) = expiry.int() {
            if seconds < 600 {
                errors.invalid(&expiry.path, seconds, "may not specify a duration less than 10 minutes");
            }
            if seconds > 1 << 32 {
                errors.invalid(&expiry.path, seconds, "may not specify a duration larger than 2^32 seconds");
            }
        }
    }
    for mode in spec.child("volumeLifecycleModes").items() {
        choice(errors, &mode, &["Ephemeral", "Persistent"]);
    }
    let period = spec.child("nodeAllocatableUpdatePeriodSeconds");
    if let Some(seconds) = period.int()
        && seconds < 10
    {
        errors.invalid(&period.path, seconds, "must be greater than or equal to 10 seconds");
    }
}

fn node_drivers(errors: &mut ErrorList, list: &At<'_>) {
    let mut seen = Vec::new();
    for driver in list.items() {
        node_driver(errors, &driver);
        let name = driver.child("name");
        if seen.contains(&name.str()) {
            errors.duplicate(&name.path, name.str());
        }
        seen.push(name.str());
    }
}

fn node_driver(errors: &mut ErrorList, at: &At<'_>) {
    csi_driver_name(errors, &at.child("name"));
    let id = at.child("nodeID");
    if id.str().is_empty() {
        errors.required(&id.path, "");
    }
    if id.len() > LONGEST_NODE_ID {
        let words = format!("must be {LONGEST_NODE_ID} characters or less");
        errors.invalid(&id.path, id.str(), words);
    }
    let count = at.child("allocatable").child("count");
    if let Some(number) = count.int()
        && number < 0
    {
        errors.invalid(&count.path, number, super::cursor::NEGATIVE);
    }
    let mut keys = Vec::new();
    for key in at.child("topologyKeys").items() {
        if key.str().is_empty() || keys.contains(&key.str()) {
            errors.required(&key.path, "");
        }
        keys.push(key.str());
        errors.all(&key.path, key.str(), names::qualified_name(key.str()));
    }
}

/// A driver that stays on a node may change only what it can allocate.
fn changed_drivers(errors: &mut ErrorList, spec: &At<'_>, before: &Value) {
    for driver in spec.child("drivers").items() {
        let name = driver.value.text("name");
        let Some(old) = before.items("drivers").iter().find(|old| old.text("name") == name) else { continue };
        let fields = ["nodeID", "topologyKeys"];
        if fields.iter().any(|field| !equal(driver.value.at(field), old.at(field))) {
            errors.invalid_object(&driver.path, driver.value, super::cursor::IMMUTABLE);
        }
    }
    node_drivers(errors, &spec.child("drivers"));
}

fn attachment(errors: &mut ErrorList, spec: &At<'_>) {
    csi_driver_name(errors, &spec.child("attacher"));
    let source = spec.child("source");
    let (inline, volume) = (source.child("inlineVolumeSpec"), source.child("persistentVolumeName"));
    match (inline.present(), volume.present()) {
        (false, false) => {
            let words = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            errors.required(&source.path, words);
        }
        (true, true) => {
            let words = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
            errors.forbidden(&source.path, words);
        }
        (true, false) => persistent_volume::spec(errors, &inline, true),
        (false, true) => {
            if volume.str().is_empty() {
                errors.required(&volume.path, "must specify non empty persistentVolumeName");
            }
            errors.all(&volume.path, volume.str(), names::subdomain_name(volume.str(), false));
        }
    }
    let node = spec.child("nodeName");
    errors.all(&node.path, node.str(), names::subdomain_name(node.str(), false));
}

fn capacity(errors: &mut ErrorList, object: &Value) {
    let class = At::field(object, "storageClassName");
    errors.all(&class.path, class.str(), names::subdomain_name(class.str(), false));
    label_selector(errors, &At::field(object, "nodeTopology"));
    for field in ["capacity", "maximumVolumeSize"] {
        let amount = At::field(object, field);
        if amount.present() && Quantity::of(amount.value).is_negative() {
            errors.invalid(&amount.path, Quantity::of(amount.value), super::cursor::NEGATIVE);
        }
    }
}
