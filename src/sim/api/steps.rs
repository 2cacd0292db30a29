//! What a kind has to say about its objects: defaults, preparation, validation, and who manages which field.
//! The one place where the verbs ask built-in kinds and custom ones alike.

use jiff::Timestamp;
use serde_json::Value;

use super::call::Call;
use crate::sim::field::ErrorList;
use crate::sim::{defaults, strategy, validation};

pub(super) fn default(call: &Call, object: &mut Value) {
    let kind = &call.resource.storage_kind;
    if call.resource.definition.is_none() {
        defaults::apply(&kind.group, &kind.version, &kind.kind, object);
    }
}

pub(super) fn prepare_for_create(call: &Call, object: &mut Value, now: Timestamp) {
    let kind = &call.resource.storage_kind;
    let facts = strategy::RequestFacts { user: &call.user, now };
    if call.resource.definition.is_none() {
        strategy::prepare_for_create(&kind.group, &kind.version, &kind.kind, object, facts);
    }
}

pub(super) fn prepare_for_update(call: &Call, new: &mut Value, old: &Value, now: Timestamp) {
    let kind = &call.resource.storage_kind;
    let facts = strategy::RequestFacts { user: &call.user, now };
    if call.resource.definition.is_none() {
        strategy::prepare_for_update(
            &kind.group,
            &kind.version,
            &kind.kind,
            &call.subresource,
            new,
            old,
            facts,
        );
    }
}

pub(super) fn validate_create(call: &Call, object: &Value) -> ErrorList {
    let kind = &call.resource.storage_kind;
    validation::create(&kind.group, &kind.version, &kind.kind, object)
}

pub(super) fn validate_update(call: &Call, new: &Value, old: &Value) -> ErrorList {
    let kind = &call.resource.storage_kind;
    validation::update(&kind.group, &kind.version, &kind.kind, &call.subresource, new, old)
}

pub(super) fn warnings_on_create(call: &Call, object: &Value) -> Vec<String> {
    let kind = &call.resource.storage_kind;
    strategy::warnings_on_create(&kind.group, &kind.version, &kind.kind, object)
}

pub(super) fn warnings_on_update(call: &Call, new: &Value, old: &Value) -> Vec<String> {
    let kind = &call.resource.storage_kind;
    strategy::warnings_on_update(&kind.group, &kind.version, &kind.kind, new, old)
}

pub(super) fn creates_on_update(call: &Call) -> bool {
    call.subresource.is_empty()
        && call.resource.definition.is_none()
        && strategy::creates_on_update(&call.resource.storage_kind.group, &call.resource.storage_kind.kind)
}
