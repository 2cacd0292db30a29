//! Custom resources: what a CustomResourceDefinition's schema makes of an object. Pruning, defaults, validation and
//! CEL rules, each by the rules of k8s.io/apiextensions-apiserver. Knows values, no store and no requests.

mod costs;
mod defaults;
mod definition;
mod formats;
mod prune;
mod rules;
mod validate;

use std::sync::Arc;

use serde_json::Value;

use super::api::resources::Resource;
use super::field::{ErrorList, FieldError, Path};
use super::object::{self, Fields as _};

pub use costs::{Cardinality, Costs, within};
pub use definition::{CLEANUP_FINALIZER, accept, begin_deletion, validate_schema};
pub use rules::{validate_expressions, validate_rules};

/// What one version of a custom resource asks of its objects.
#[derive(Debug)]
pub struct CustomVersion {
    schema: Value,
    rules: rules::Rules,
    status: bool,
    scale: Option<Scale>,
    defaults: bool,
}

/// Where a custom resource keeps what the scale subresource shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// The path of the wanted replicas, such as `.spec.size`.
    pub spec_path: String,
    /// The path of the counted replicas.
    pub status_path: String,
    /// The path of the selector in text form, where there is one.
    pub selector_path: Option<String>,
}

/// Which part of an object a request writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything, or all but the status where that is a subresource.
    Main,
    /// The status alone.
    Status,
}

impl CustomVersion {
    /// Reads the version of a custom resource; none for a built-in one.
    pub fn of(resource: &Resource) -> Option<Arc<Self>> {
        let version = resource.definition_version()?;
        let schema = version.dig(&["schema", "openAPIV3Schema"]).clone();
        let scale = version.dig(&["subresources", "scale"]);
        let scale = scale.is_object().then(|| Scale {
            spec_path: scale.text("specReplicasPath").to_owned(),
            status_path: scale.text("statusReplicasPath").to_owned(),
            selector_path: scale.at("labelSelectorPath").as_str().map(str::to_owned),
        });
        let status = version.dig(&["subresources", "status"]).is_object();
        let (rules, defaults) = (rules::Rules::compile(&schema), defaults::any(&schema));
        Some(Arc::new(Self { rules, schema, status, scale, defaults }))
    }

    /// Returns the structural schema.
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// Tells whether the status is a subresource.
    pub fn has_status(&self) -> bool {
        self.status
    }

    /// Returns where the scale subresource looks.
    pub fn scale(&self) -> Option<&Scale> {
        self.scale.as_ref()
    }

    /// Takes out the fields that the schema does not know and returns their paths, in order.
    pub fn prune(&self, object: &mut Value) -> Vec<String> {
        prune::prune(&self.schema, object)
    }

    /// Tells whether the schema has any defaults.
    pub fn has_defaults(&self) -> bool {
        self.defaults
    }

    /// Fills in the schema's defaults.
    pub fn apply_defaults(&self, object: &mut Value) {
        defaults::apply(&self.schema, object);
    }

    /// Prepares a new object: without status where that is a subresource, generation 1.
    pub fn prepare_for_create(&self, object: &mut Value) {
        if self.status {
            object::remove(object, "status");
        }
        object["metadata"]["generation"] = 1.into();
    }

    /// Prepares a changed object: the part that the request may not write is as it was, and a change of anything but
    /// metadata and status is a new generation.
    pub fn prepare_for_update(&self, object: &mut Value, old: &Value, part: Part) {
        match part {
            Part::Main if self.status => object::copy(object, old, "status"),
            Part::Main => {}
            Part::Status => {
                let status = object.at("status").clone();
                let managed = object.dig(&["metadata", "managedFields"]).clone();
                *object = old.clone();
                object::set(object, "status", status);
                object::set(&mut object["metadata"], "managedFields", managed);
            }
        }
        let same = |value: &Value| {
            let mut value = value.clone();
            object::remove(&mut value, "metadata");
            if self.status {
                object::remove(&mut value, "status");
            }
            value
        };
        let generation = old.dig(&["metadata", "generation"]).as_i64().unwrap_or(1);
        let changed = i64::from(!object::equal(&same(object), &same(old)));
        object["metadata"]["generation"] = (generation + changed).into();
    }

    /// Validates an object, against its old self when it is changed; metadata is not looked at.
    pub fn validate(&self, object: &Value, old: Option<&Value>) -> ErrorList {
        let mut errors = validate::validate(&self.schema, object, old);
        if let Some(scale) = &self.scale {
            scale_errors(object, &scale.spec_path, &mut errors);
            scale_errors(object, &scale.status_path, &mut errors);
        }
        let blocked = errors.iter().any(|error| {
            use super::field::ErrorType::{Required, TooLong, TooMany, TypeInvalid};
            matches!(error.kind, Required | TooLong | TooMany | TypeInvalid)
        });
        if !self.rules.is_empty() {
            if blocked {
                errors.push(FieldError::invalid(
                    &Path::new("<nil>"),
                    Value::Null,
                    "some validation rules were not checked because the object was invalid; correct the existing \
                     errors to complete validation",
                ));
            } else {
                self.rules.check(&self.schema, object, old, &mut errors);
            }
        }
        errors
    }
}

/// Checks the number that the scale subresource would show.
fn scale_errors(object: &Value, path: &str, errors: &mut ErrorList) {
    let names: Vec<&str> = path.trim_start_matches('.').split('.').collect();
    let value = object.dig(&names);
    let field = Path::new(path);
    match value {
        Value::Null => {}
        Value::Number(number) if number.is_i64() => {
            let number = number.as_i64().unwrap_or_default();
            if number < 0 {
                errors.push(FieldError::invalid(&field, number, "should be a non-negative integer"));
            } else if number > i64::from(i32::MAX) {
                let detail = format!("should be less than or equal to {}", i32::MAX);
                errors.push(FieldError::invalid(&field, number, detail));
            }
        }
        other => {
            let text = match other {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let detail =
                format!("{path} accessor error: {text} is of the type {}, expected int64", go_type(other));
            errors.push(FieldError::invalid(&field, 0, detail));
        }
    }
}

/// Names the type that Go's JSON decoder gives a value.
pub(crate) fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Tells whether a schema keeps fields that it does not know.
fn preserves_unknown(schema: &Value) -> bool {
    schema.truth("x-kubernetes-preserve-unknown-fields") == Some(true)
}

#[cfg(test)]
mod tests;
