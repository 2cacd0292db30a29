//! What a mutation makes of an object: merging an apply configuration, or running a JSON patch.

use serde_json::Value;

use crate::sim::api::resources::GroupVersionKind;
use crate::sim::crd::CustomVersion;
use crate::sim::managed_fields::{self, Types};
use crate::sim::patch::json::{Misfit, Patch};
use crate::sim::schema;

/// Merges a configuration into an object, as an apply does, but owning nothing.
///
/// # Errors
/// What is wrong with the configuration.
pub(super) fn apply_configuration(
    kind: &GroupVersionKind,
    custom: Option<&CustomVersion>,
    object: &Value,
    mut configuration: Value,
) -> Result<Value, String> {
    let types = match custom {
        Some(custom) => Types::Custom(custom.schema()),
        None => match schema::of(&kind.group, &kind.version, &kind.kind) {
            Some(schema) => Types::Builtin(schema),
            None => return Err(format!("Resource kind {} not found", kind.kind)),
        },
    };
    configuration["apiVersion"] = object["apiVersion"].clone();
    configuration["kind"] = object["kind"].clone();
    managed_fields::overlay(types, object, &configuration)
        .map_err(|why| format!("error applying patch: {why}"))
}

/// Runs a patch. One whose test fails changes nothing.
///
/// # Errors
/// Why it cannot be run.
pub(super) fn json_patch(object: &Value, operations: &Value) -> Result<Value, String> {
    let patch = Patch::parse(operations).map_err(|status| status.message)?;
    let mut changed = object.clone();
    match patch.apply_explained(&mut changed) {
        Ok(()) => Ok(changed),
        Err(Misfit::Test(_)) => Ok(object.clone()),
        Err(Misfit::Other(why)) => Err(format!("JSON Patch: {why}")),
    }
}
