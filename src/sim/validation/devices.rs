//! Dynamic resource allocation, as far as labs have a use for it.

use serde_json::Value;

use super::cursor::{At, Faults, NOT_POSITIVE};
use super::metadata::{self, MetaRules};
use super::names;
use crate::sim::field::{ErrorList, Path};
use crate::sim::object::{Fields, equal};

pub(super) fn create(kind: &str, object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let spec = At::field(object, "spec");
    match kind {
        "ResourceClaim" => device_claim(&mut errors, &spec.child("devices")),
        "ResourceClaimTemplate" => device_claim(&mut errors, &spec.child("spec").child("devices")),
        "DeviceClass" => selectors(&mut errors, &spec.child("selectors")),
        "ResourceSlice" => {
            let driver = spec.child("driver");
            if driver.str().is_empty() {
                errors.required(&driver.path, "");
            } else {
                errors.all(&driver.path, driver.str(), names::dns1123_subdomain(driver.str()));
            }
            let pool = spec.child("pool").child("name");
            if pool.str().is_empty() {
                errors.required(&pool.path, "");
            }
        }
        _ => {}
    }
    errors
}

pub(super) fn update(kind: &str, new: &Value, old: &Value, subresource: &str, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    if subresource == "status" {
        return errors;
    }
    match kind {
        "ResourceClaim" | "ResourceClaimTemplate" => {
            if !equal(new.at("spec"), old.at("spec")) {
                errors.invalid_object(&Path::new("spec"), new.at("spec"), super::cursor::IMMUTABLE);
            }
        }
        _ => errors.extend(create(kind, new, rules)),
    }
    errors
}

fn device_claim(errors: &mut ErrorList, devices: &At<'_>) {
    let requests = devices.child("requests");
    let mut seen = Vec::new();
    for request in requests.items() {
        let name = request.child("name");
        if name.str().is_empty() {
            errors.required(&name.path, "");
        } else {
            errors.all(&name.path, name.str(), names::dns1123_label(name.str()));
        }
        if seen.contains(&name.str()) {
            errors.duplicate(&name.path, name.str());
        }
        seen.push(name.str());
        let (exactly, first) = (request.child("exactly"), request.child("firstAvailable"));
        match (exactly.present(), first.is_empty()) {
            (true, false) => {
                let words = "exactly one of `exactly` or `firstAvailable` is required, but both are set";
                errors.invalid(&request.path, exactly.value.clone(), words);
            }
            (false, true) => {
                errors.required(&request.path, "exactly one of `exactly` or `firstAvailable` is required");
            }
            (true, true) => device_request(errors, &exactly),
            (false, false) => first.items().for_each(|request| device_request(errors, &request)),
        }
    }
}

fn device_request(errors: &mut ErrorList, at: &At<'_>) {
    let (class, mode, count) = (at.child("deviceClassName"), at.child("allocationMode"), at.child("count"));
    if class.str().is_empty() {
        errors.required(&class.path, "");
    } else {
        errors.all(&class.path, class.str(), names::dns1123_subdomain(class.str()));
    }
    selectors(errors, &at.child("selectors"));
    match mode.str() {
        "ExactCount" => {
            if count.number() <= 0 {
                errors.invalid(&count.path, count.number(), NOT_POSITIVE);
            }
        }
        "All" => {
            if count.number() != 0 {
                let words = "must not be specified when allocationMode is 'All'";
                errors.invalid(&count.path, count.number(), words);
            }
        }
        other => errors.not_supported(&mode.path, other, &["All", "ExactCount"]),
    }
}

fn selectors(errors: &mut ErrorList, list: &At<'_>) {
    for selector in list.items() {
        let cel = selector.child("cel");
        if cel.is_null() {
            errors.required(&cel.path, "");
        } else if cel.child("expression").str().is_empty() {
            errors.required(&cel.path.child("expression"), "");
        }
    }
}
