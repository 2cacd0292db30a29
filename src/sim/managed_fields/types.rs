//! How values of a type merge: which maps and lists are owned item by item, and which as one value.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::set::Step;
use crate::sim::object::Fields as _;
use crate::sim::schema::{self, Apply, Schema, Type};

/// The type of a whole object.
#[derive(Debug, Clone, Copy)]
pub enum Types<'a> {
    /// A built-in kind.
    Builtin(&'static Schema),
    /// A custom resource, by its structural schema.
    Custom(&'a Value),
}

/// The type at one place of an object.
#[derive(Debug, Clone, Copy)]
pub(super) enum Node<'a> {
    Struct(&'static Schema),
    Field(&'static Type, &'static Apply),
    CustomRoot(&'a Value),
    Custom(&'a Value),
    /// Nothing is known: maps merge, lists are one value.
    Deduced,
}

/// How a value merges.
pub(super) enum Shape {
    /// As one value.
    Leaf,
    /// Field by field.
    Map,
    /// As a set of scalars.
    Set,
    /// Item by item, told apart by keys with the values that stand for missing ones.
    Keyed(Vec<(String, Option<Value>)>),
}

static DEFAULT: Apply = Apply::Default;
static OBJECT_META: LazyLock<Option<&'static Schema>> = LazyLock::new(|| schema::named("meta.v1.ObjectMeta"));

impl<'a> Node<'a> {
    pub(super) fn root(types: Types<'a>) -> Self {
        match types {
            Types::Builtin(schema) => Self::Struct(schema),
            Types::Custom(schema) => Self::CustomRoot(schema),
        }
    }

    /// Tells how `value` merges here.
    pub(super) fn shape(self, value: &Value) -> Shape {
        match (self, value) {
            (Self::Struct(schema), Value::Object(_)) if !schema.atomic => Shape::Map,
            (Self::CustomRoot(_) | Self::Deduced, Value::Object(_)) => Shape::Map,
            (Self::Custom(schema), Value::Object(_)) if schema.text("x-kubernetes-map-type") != "atomic" => {
                Shape::Map
            }
            (Self::Custom(schema), Value::Array(_)) => match schema.text("x-kubernetes-list-type") {
                "set" => Shape::Set,
                "map" => Shape::Keyed(
                    schema
                        .texts("x-kubernetes-list-map-keys")
                        .into_iter()
                        .map(|key| {
                            let default = schema.dig(&["items", "properties", key, "default"]);
                            (key.to_owned(), (!default.is_null()).then(|| default.clone()))
                        })
                        .collect(),
                ),
                _ => Shape::Leaf,
            },
            (Self::Field(kind, apply), Value::Object(_)) => {
                let atomic = match (kind, apply) {
                    (_, Apply::Atomic) => true,
                    (_, Apply::Granular) => false,
                    (Type::Object(id), _) => id.get().atomic,
                    (Type::Map(_), _) => false,
                    _ => true,
                };
                if atomic { Shape::Leaf } else { Shape::Map }
            }
            (Self::Field(Type::List(_), Apply::Set), Value::Array(_)) => Shape::Set,
            (Self::Field(Type::List(_), Apply::Keys(keys)), Value::Array(_)) => Shape::Keyed(
                keys.iter().map(|(key, default)| ((*key).to_owned(), default.map(scalar))).collect(),
            ),
            _ => Shape::Leaf,
        }
    }

    /// Returns the type of a field or entry.
    pub(super) fn field(self, name: &str) -> Self {
        match self {
            Self::Struct(schema) => {
                schema.field(name).map_or(Self::Deduced, |f| Self::Field(&f.kind, &f.apply))
            }
            Self::Field(Type::Object(id), _) => Self::Struct(id.get()).field(name),
            Self::Field(Type::Map(element), _) => Self::Field(element, &DEFAULT),
            Self::Field(..) | Self::Deduced => Self::Deduced,
            Self::CustomRoot(_) if name == "metadata" => OBJECT_META.map_or(Self::Deduced, Self::Struct),
            Self::CustomRoot(schema) | Self::Custom(schema) => {
                let additional = schema.at("additionalProperties");
                match schema.at("properties").get(name) {
                    Some(property) => Self::Custom(property),
                    None if additional.is_object() => Self::Custom(additional),
                    None => Self::Deduced,
                }
            }
        }
    }

    /// Returns the type of a list's items.
    pub(super) fn item(self) -> Self {
        match self {
            Self::Field(Type::List(element), _) => Self::Field(element, &DEFAULT),
            Self::Custom(schema) if schema.at("items").is_object() => Self::Custom(schema.at("items")),
            _ => Self::Deduced,
        }
    }

    /// Tells whether the type names the field itself, as a struct does and a map does not.
    pub(super) fn names(self, name: &str) -> bool {
        match self {
            Self::Struct(schema) => schema.field(name).is_some(),
            Self::Field(Type::Object(id), _) => id.get().field(name).is_some(),
            Self::CustomRoot(schema) => name == "metadata" || schema.at("properties").get(name).is_some(),
            Self::Custom(schema) => schema.at("properties").get(name).is_some(),
            Self::Field(..) | Self::Deduced => false,
        }
    }
}

impl Node<'_> {
    /// Tells whether only the fields that the type names may be there.
    pub(super) fn is_closed(self) -> bool {
        match self {
            Self::Struct(_) => true,
            Self::Field(Type::Object(id), _) => !id.get().fields.is_empty(),
            Self::Field(..) | Self::CustomRoot(_) | Self::Custom(_) | Self::Deduced => false,
        }
    }
}

fn scalar(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// Names an item of a list that merges item by item; none when a key is missing that has no default.
pub(super) fn step_of(shape: &Shape, item: &Value) -> Option<Step> {
    match shape {
        Shape::Set => Some(Step::Item(item.to_string())),
        Shape::Keyed(keys) => {
            let mut found = Map::new();
            for (key, default) in keys {
                let value = item.get(key).filter(|value| !value.is_null()).or(default.as_ref());
                if let Some(value) = value {
                    found.insert(key.clone(), value.clone());
                }
            }
            (!found.is_empty()).then(|| Step::Key(Value::Object(found).to_string()))
        }
        Shape::Leaf | Shape::Map => None,
    }
}

/// Returns what a new object of the type is in Go before anything is set: structs are there, lists and maps that are
/// always written are null. What is compared with it counts as new only beyond that.
pub(super) fn zero(types: Types<'_>) -> Value {
    fn of(schema: &Schema, depth: usize) -> Value {
        let mut map = Map::new();
        for field in schema.fields.iter().filter(|field| field.always_written() && depth < 12) {
            let value = match &field.kind {
                Type::Object(id) if !field.pointer => of(id.get(), depth + 1),
                Type::String => "".into(),
                Type::Int32 | Type::Int64 | Type::Double => 0.into(),
                Type::Bool => false.into(),
                _ => Value::Null,
            };
            map.insert(field.name.to_owned(), if field.pointer { Value::Null } else { value });
        }
        map.into()
    }
    match types {
        Types::Builtin(schema) => of(schema, 0),
        Types::Custom(_) => Value::Object(Map::new()),
    }
}
