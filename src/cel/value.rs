//! Values while an expression is evaluated: views of JSON that borrow, and what functions make of them. Equality,
//! order and the way back to JSON are here; what functions do is not.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::opaque::Opaque;
use super::shape::{Kind, Shape};
use super::types::Type;

/// A value.
#[derive(Debug, Clone)]
pub enum Val<'a> {
    /// `null`
    Null,
    /// A boolean.
    Bool(bool),
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// A text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A point in time.
    Timestamp(Timestamp),
    /// A span of time.
    Duration(SignedDuration),
    /// A list.
    List(List<'a>),
    /// A map or an object.
    Map(Map<'a>),
    /// Something or nothing.
    Optional(Option<Arc<Val<'a>>>),
    /// A type.
    Type(Type),
    /// A value that only functions of the library know.
    Opaque(Opaque<'a>),
}

/// A text, borrowed or shared.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// Part of what was given.
    Borrowed(&'a str),
    /// Made by the expression.
    Shared(Arc<str>),
}

impl Text<'_> {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

/// A list.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// Part of what was given, with the shape of its items.
    Json(&'a [Value], Option<&'a Shape>),
    /// Made by the expression.
    Items(Arc<Vec<Val<'a>>>),
}

/// A map.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// Part of what was given, with its shape.
    Json(&'a serde_json::Map<String, Value>, Option<&'a Shape>),
    /// Made by the expression.
    Entries(Arc<BTreeMap<Key<'a>, Val<'a>>>),
}

/// A map's key. Whole numbers are one kind of key, however they are written.
#[derive(Debug, Clone)]
pub enum Key<'a> {
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Number(i128),
    /// An unsigned whole number; equal to a number of the same value.
    Unsigned(u64),
    /// A text.
    String(Text<'a>),
}

impl Key<'_> {
    fn rank(&self) -> (u8, i128, &str) {
        match self {
            Self::Bool(value) => (0, i128::from(*value), ""),
            Self::Number(value) => (1, *value, ""),
            Self::Unsigned(value) => (1, i128::from(*value), ""),
            Self::String(text) => (2, 0, text.as_str()),
        }
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Key<'_> {}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl<'a> Key<'a> {
    /// Returns the key as a value.
    pub fn to_val(&self) -> Val<'a> {
        match self {
            Self::Bool(value) => Val::Bool(*value),
            Self::Number(value) => i64::try_from(*value).map_or(Val::Null, Val::Int),
            Self::Unsigned(value) => Val::Uint(*value),
            Self::String(text) => Val::String(text.clone()),
        }
    }
}

impl<'a> From<&'a str> for Val<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }
}

impl From<String> for Val<'_> {
    fn from(text: String) -> Self {
        Self::String(Text::Shared(Arc::from(text)))
    }
}

impl From<bool> for Val<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Val<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<'a> From<Vec<Val<'a>>> for Val<'a> {
    fn from(items: Vec<Val<'a>>) -> Self {
        Self::List(List::Items(Arc::new(items)))
    }
}

impl<'a> Val<'a> {
    /// Takes JSON as it is.
    pub fn json(value: &'a Value) -> Self {
        Self::shaped(value, None)
    }

    /// Takes JSON by its shape: a date-time becomes a timestamp, names of fields are escaped.
    pub fn shaped(value: &'a Value, shape: Option<&'a Shape>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match (number.as_i64(), shape.map(|shape| &shape.kind)) {
                (Some(value), Some(Kind::Double)) => Self::Double(value as f64),
                (Some(value), _) => Self::Int(value),
                (None, _) => number
                    .as_u64()
                    .map_or_else(|| Self::Double(number.as_f64().unwrap_or_default()), Self::Uint),
            },
            Value::String(text) => {
                shape.and_then(|shape| shape.read(text)).unwrap_or_else(|| text.as_str().into())
            }
            Value::Array(items) => {
                Self::List(List::Json(items, shape.filter(|shape| !matches!(shape.kind, Kind::Any))))
            }
            Value::Object(map) => Self::Map(Map::Json(map, shape)),
        }
    }

    /// Makes a text.
    pub fn text(text: &str) -> Self {
        Self::String(Text::Shared(Arc::from(text)))
    }

    /// Returns the type that it has now.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Duration(_) => Type::Duration,
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Type(t) => Type::Type(Arc::new(t.clone())),
            Self::Opaque(opaque) => opaque.type_of(),
        }
    }

    /// Returns the text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Returns it as a key of a map, if it can be one.
    pub fn to_key(&self) -> Option<Key<'a>> {
        match self {
            Self::Bool(value) => Some(Key::Bool(*value)),
            Self::Int(value) => Some(Key::Number(i128::from(*value))),
            Self::Uint(value) => Some(Key::Unsigned(*value)),
            Self::Double(value) if value.fract() == 0.0 && value.abs() < 1e18 => {
                Some(Key::Number(*value as i128))
            }
            Self::String(text) => Some(Key::String(text.clone())),
            _ => None,
        }
    }

    /// Tells whether two values are equal. Values of different types are not, numbers are compared by value.
    pub fn equals(&self, other: &Val<'_>) -> bool {
        match (self, other) {
            (Self::Null, Val::Null) => true,
            (Self::Bool(a), Val::Bool(b)) => a == b,
            (Self::String(a), Val::String(b)) => a.as_str() == b.as_str(),
            (Self::Bytes(a), Val::Bytes(b)) => a == b,
            (Self::Timestamp(a), Val::Timestamp(b)) => a == b,
            (Self::Duration(a), Val::Duration(b)) => a == b,
            (Self::List(a), Val::List(b)) => a.equals(b),
            (Self::Map(a), Val::Map(b)) => {
                a.len() == b.len()
                    && a.keys().iter().all(|key| match (a.get(key), b.get(key)) {
                        (Some(Ok(a)), Some(Ok(b))) => a.equals(&b),
                        _ => false,
                    })
            }
            (Self::Optional(None), Val::Optional(None)) => true,
            (Self::Optional(Some(a)), Val::Optional(Some(b))) => a.equals(b),
            (Self::Type(a), Val::Type(b)) => a.name() == b.name(),
            (Self::Opaque(a), Val::Opaque(b)) => a.equals(b),
            (a, b) => a.number_order(b) == Some(Ordering::Equal),
        }
    }

    /// Compares numbers of any sort.
    fn number_order(&self, other: &Val<'_>) -> Option<Ordering> {
        let whole = |value: &Val<'_>| match value {
            Val::Int(value) => Some(i128::from(*value)),
            Val::Uint(value) => Some(i128::from(*value)),
            _ => None,
        };
        match (self, other) {
            (Self::Double(a), Val::Double(b)) => a.partial_cmp(b),
            (Self::Double(a), b) => compare_double(*a, whole(b)?),
            (a, Val::Double(b)) => compare_double(*b, whole(a)?).map(Ordering::reverse),
            (a, b) => Some(whole(a)?.cmp(&whole(b)?)),
        }
    }

    /// Compares values that have an order with each other.
    pub fn compare(&self, other: &Val<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(a), Val::Bool(b)) => Some(a.cmp(b)),
            (Self::String(a), Val::String(b)) => Some(a.as_str().cmp(b.as_str())),
            (Self::Bytes(a), Val::Bytes(b)) => Some(a.cmp(b)),
            (Self::Timestamp(a), Val::Timestamp(b)) => Some(a.cmp(b)),
            (Self::Duration(a), Val::Duration(b)) => Some(a.cmp(b)),
            (a, b) => a.number_order(b),
        }
    }

    /// Returns it as JSON, if JSON has a form for it.
    pub fn to_json(&self) -> Option<Value> {
        Some(match self {
            Self::Null | Self::Optional(None) => Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Uint(value) => (*value).into(),
            Self::Double(value) => (*value).into(),
            Self::String(text) => text.as_str().into(),
            Self::Bytes(bytes) => {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.encode(bytes).into()
            }
            Self::Timestamp(at) => at.to_string().into(),
            Self::Duration(span) => super::library::time::format_duration(*span).into(),
            Self::List(list) => {
                (0..list.len()).map(|index| list.get(index)?.to_json()).collect::<Option<Vec<_>>>()?.into()
            }
            Self::Map(map) => {
                let mut object = serde_json::Map::new();
                for key in map.keys() {
                    let value = map.get(&key)?.ok()?.to_json()?;
                    object.insert(
                        key.to_val()
                            .as_str()
                            .map(str::to_owned)
                            .or_else(|| key.to_val().to_json().map(|key| key.to_string()))?,
                        value,
                    );
                }
                object.into()
            }
            Self::Optional(Some(value)) => value.to_json()?,
            Self::Type(_) => return None,
            Self::Opaque(opaque) => opaque.to_json()?,
        })
    }
}

fn compare_double(double: f64, whole: i128) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Beyond this a double has no fraction, and the cast below is exact.
    if double.abs() < 9.0e15 {
        double.partial_cmp(&(whole as f64))
    } else {
        Some((double as i128).cmp(&whole))
    }
}

impl<'a> List<'a> {
    /// Returns how many items there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(items, _) => items.len(),
            Self::Items(items) => items.len(),
        }
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns an item.
    pub fn get(&self, index: usize) -> Option<Val<'a>> {
        match self {
            Self::Json(items, shape) => {
                Some(Val::shaped(items.get(index)?, shape.and_then(|shape| shape.item())))
            }
            Self::Items(items) => items.get(index).cloned(),
        }
    }

    /// Returns the items in order.
    pub fn iter(&self) -> impl Iterator<Item = Val<'a>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    fn equals(&self, other: &List<'_>) -> bool {
        if self.len() != other.len() {
            return false;
        }
        let is_set = |list: &List<'_>| matches!(list, List::Json(_, Some(shape)) if shape.is_set());
        if is_set(self) || is_set(other) {
            // Sets and lists with keys are equal in any order.
            return self.iter().all(|a| other.iter().any(|b| a.equals(&b)))
                && other.iter().all(|b| self.iter().any(|a| a.equals(&b)));
        }
        self.iter().zip(other.iter()).all(|(a, b)| a.equals(&b))
    }
}

impl<'a> Map<'a> {
    /// Returns how many entries there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(map, None) => map.len(),
            Self::Entries(entries) => entries.len(),
            other => other.keys().len(),
        }
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns an entry's value, or `None` when there is no such key.
    pub fn get(&self, key: &Key<'_>) -> Option<Result<Val<'a>, super::Fault>> {
        match (self, key) {
            (Self::Json(map, None), Key::String(name)) => Some(Ok(Val::json(map.get(name.as_str())?))),
            (Self::Json(map, Some(shape)), Key::String(name)) => {
                let (real, shape) = shape.field(name.as_str())?;
                let value = map.get(real.unwrap_or(name.as_str()))?;
                Some(Ok(Val::shaped(value, shape)))
            }
            (Self::Json(..), _) => None,
            (Self::Entries(entries), key) => {
                let found = entries.iter().find(|(known, _)| known.rank() == key.rank());
                found.map(|(_, value)| Ok(value.clone()))
            }
        }
    }

    /// Returns the keys in order.
    pub fn keys(&self) -> Vec<Key<'a>> {
        match self {
            Self::Json(map, shape) => map
                .keys()
                .filter_map(|name| match shape {
                    None => Some(Key::String(Text::Borrowed(name))),
                    Some(shape) => shape.name_of(name).map(Key::String),
                })
                .collect(),
            Self::Entries(entries) => entries.keys().cloned().collect(),
        }
    }
}
