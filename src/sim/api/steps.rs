//! What a kind has to say about its objects: defaults, preparation, validation, and who manages which field.
//! The one place where the verbs ask built-in kinds and custom ones alike.

use jiff::Timestamp;
use serde_json::Value;

use super::call::Call;
use super::rest::timestamp;
use crate::sim::crd::Part;
use crate::sim::field::ErrorList;
use crate::sim::managed_fields::{self, Types, Write};
use crate::sim::object::Fields as _;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;
use crate::sim::store::Store;
use crate::sim::{defaults, schema, strategy, validation};

pub(super) fn default(call: &Call, object: &mut Value) {
    let kind = &call.resource.working_kind;
    match &call.custom {
        Some(custom) => custom.apply_defaults(object),
        None => defaults::apply(&kind.group, &kind.version, &kind.kind, object),
    }
}

const SERVICES: GroupResource = GroupResource::of("", "services");

/// Tells whether objects of this kind are given addresses.
pub(super) fn allocates(call: &Call) -> bool {
    call.resource.storage == SERVICES && call.subresource.is_empty()
}

/// Gives a Service its addresses and ports. Upstream allocates before it validates, and takes back what it refuses; here
/// nothing is held until the object is stored.
pub(super) fn allocate(
    call: &Call,
    store: &Store,
    new: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    const RANGES: GroupResource = GroupResource::of("networking.k8s.io", "servicecidrs");
    if !allocates(call) {
        return Ok(());
    }
    let ranges = store.list(&RANGES, None);
    let ranges: Vec<String> =
        ranges.iter().flat_map(|range| range.object["spec"].texts("cidrs")).map(str::to_owned).collect();
    let others = store.list(&SERVICES, None);
    let others = others
        .iter()
        .filter(|entry| old.is_none_or(|old| old["metadata"].text("uid") != entry.uid()))
        .map(|entry| &*entry.object);
    strategy::service::allocate(new, old, strategy::service::Taken::by(others, &ranges))
}

pub(super) fn prepare_for_create(call: &Call, object: &mut Value, now: Timestamp) {
    let kind = &call.resource.working_kind;
    let facts = strategy::RequestFacts { user: &call.user, now };
    match &call.custom {
        Some(custom) => custom.prepare_for_create(object),
        None => strategy::prepare_for_create(&kind.group, &kind.version, &kind.kind, object, facts),
    }
}

pub(super) fn prepare_for_update(call: &Call, new: &mut Value, old: &Value, now: Timestamp) {
    let kind = &call.resource.working_kind;
    let facts = strategy::RequestFacts { user: &call.user, now };
    let part = if call.subresource == "status" { Part::Status } else { Part::Main };
    match &call.custom {
        Some(custom) => custom.prepare_for_update(new, old, part),
        None => {
            let (group, version, kind) = (&kind.group, &kind.version, &kind.kind);
            strategy::prepare_for_update(group, version, kind, &call.subresource, new, old, facts);
        }
    }
}

pub(super) fn validate_create(call: &Call, object: &Value) -> ErrorList {
    let kind = &call.resource.working_kind;
    let mut errors = validation::create(&kind.group, &kind.version, &kind.kind, object);
    if let Some(custom) = &call.custom {
        errors.extend(custom.validate(object, None));
    }
    errors
}

pub(super) fn validate_update(call: &Call, new: &Value, old: &Value) -> ErrorList {
    let kind = &call.resource.working_kind;
    let mut errors = validation::update(&kind.group, &kind.version, &kind.kind, &call.subresource, new, old);
    if let Some(custom) = &call.custom {
        errors.extend(custom.validate(new, Some(old)));
    }
    errors
}

pub(super) fn warnings_on_create(call: &Call, object: &Value) -> Vec<String> {
    let kind = &call.resource.working_kind;
    strategy::warnings_on_create(&kind.group, &kind.version, &kind.kind, object)
}

pub(super) fn warnings_on_update(call: &Call, new: &Value, old: &Value) -> Vec<String> {
    let kind = &call.resource.working_kind;
    strategy::warnings_on_update(&kind.group, &kind.version, &kind.kind, new, old)
}

pub(super) fn updates_unconditionally(call: &Call) -> bool {
    let kind = &call.resource.working_kind;
    call.custom.is_none() && strategy::updates_unconditionally(&kind.group, &kind.kind)
}

pub(super) fn creates_on_update(call: &Call) -> bool {
    let kind = &call.resource.working_kind;
    call.subresource.is_empty()
        && call.custom.is_none()
        && strategy::creates_on_update(&kind.group, &kind.kind)
}

/// Records who set which field, for every write but an apply, which has done so itself.
pub(super) fn track(call: &Call, live: Option<&Value>, new: &mut Value, now: Timestamp) {
    if call.tracked {
        return;
    }
    with_types(call, |types| {
        with_write(call, now, |write| managed_fields::track(types, live, new, write));
    });
}

/// Applies a configuration to an object.
pub(super) fn apply(
    call: &Call,
    live: Option<&Value>,
    config: &Value,
    now: Timestamp,
) -> Result<Value, Status> {
    with_types(call, |types| {
        with_write(call, now, |write| managed_fields::apply(types, live, config, write, call.options.force))
    })
    .unwrap_or_else(|| Err(Status::not_simulated("server-side apply to this kind")))
}

fn with_types<T>(call: &Call, f: impl FnOnce(Types<'_>) -> T) -> Option<T> {
    let kind = &call.resource.working_kind;
    match &call.custom {
        Some(custom) => Some(f(Types::Custom(custom.schema()))),
        None => schema::of(&kind.group, &kind.version, &kind.kind).map(|schema| f(Types::Builtin(schema))),
    }
}

fn with_write<T>(call: &Call, now: Timestamp, f: impl FnOnce(&Write<'_>) -> T) -> T {
    const STATUS: &[&[&str]] = &[&["status"]];
    const SPEC: &[&[&str]] = &[&["spec"]];
    let has_status = call.resource.subresource("status").is_some();
    let reset: &[&[&str]] = match call.subresource.as_str() {
        "status" => SPEC,
        "" if has_status => STATUS,
        _ => &[],
    };
    f(&Write {
        manager: &call.options.manager,
        api_version: &call.resource.working_kind.api_version(),
        subresource: call.tracked_as.unwrap_or(&call.subresource),
        time: &timestamp(now),
        reset,
    })
}
