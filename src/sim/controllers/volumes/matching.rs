//! Which volume suits a claim: the smallest that has what it asks for. Pure.

use std::sync::Arc;

use serde_json::Value;

use super::{class_of, is_for};
use crate::sim::meta;
use crate::sim::quantity::Quantity;
use crate::sim::selectors::Selector;

fn mode(object: &Value) -> &str {
    object["spec"]["volumeMode"].as_str().unwrap_or("Filesystem")
}

fn has_access_modes(volume: &Value, claim: &Value) -> bool {
    meta::items(&claim["spec"]["accessModes"])
        .all(|wanted| meta::items(&volume["spec"]["accessModes"]).any(|mode| mode == wanted))
}

fn capacity(volume: &Value) -> Quantity {
    Quantity::of(&volume["spec"]["capacity"]["storage"])
}

fn request(claim: &Value) -> Quantity {
    Quantity::of(&claim["spec"]["resources"]["requests"]["storage"])
}

/// Tells why a volume that was named does not suit a claim.
///
/// # Errors
/// The first thing that differs, in upstream's words.
pub(super) fn check(volume: &Value, claim: &Value) -> Result<(), &'static str> {
    if capacity(volume) < request(claim) {
        return Err("requested PV is too small");
    }
    if class_of(volume) != class_of(claim) {
        return Err("storageClassName does not match");
    }
    if mode(volume) != mode(claim) {
        return Err("incompatible volumeMode");
    }
    if !has_access_modes(volume, claim) {
        return Err("incompatible accessMode");
    }
    Ok(())
}

/// Finds the volume for a claim: one that is reserved for it, else, unless only those are wanted, the smallest free one.
pub(super) fn find(claim: &Value, volumes: &[Arc<Value>], reserved_only: bool) -> Option<Arc<Value>> {
    let selector = &claim["spec"]["selector"];
    let selector = match selector {
        Value::Null => Selector::everything(),
        selector => Selector::from_label_selector(selector).unwrap_or_else(|_| Selector::nothing()),
    };
    let mut best: Option<&Arc<Value>> = None;
    for volume in volumes.iter().filter(|volume| !meta::is_deleting(volume)) {
        if mode(volume) != mode(claim) || capacity(volume) < request(claim) {
            continue;
        }
        if !volume["spec"]["claimRef"].is_null() {
            if is_for(volume, claim) {
                return Some(volume.clone());
            }
            continue;
        }
        let suits = !reserved_only
            && volume["status"]["phase"] == "Available"
            && class_of(volume) == class_of(claim)
            && has_access_modes(volume, claim)
            && selector.matches(meta::labels(volume));
        if suits && best.is_none_or(|best| capacity(volume) < capacity(best)) {
            best = Some(volume);
        }
    }
    best.cloned()
}
