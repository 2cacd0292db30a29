//! A place in an object: a field path and what stands there. Rules walk with it, and file their errors by it.

use serde_json::Value;

use crate::sim::field::{ErrorList, FieldError, Path};
use crate::sim::object::{Fields, is_empty};

/// A field path with its value; null where there is none.
#[derive(Debug, Clone)]
pub(crate) struct At<'a> {
    pub(crate) path: Path,
    pub(crate) value: &'a Value,
}

impl<'a> At<'a> {
    pub(crate) fn new(path: Path, value: &'a Value) -> Self {
        Self { path, value }
    }

    /// Goes to a field of a whole object, such as `spec`.
    pub(crate) fn field(object: &'a Value, name: &str) -> Self {
        Self { path: Path::new(name), value: object.at(name) }
    }

    pub(crate) fn child(&self, name: &str) -> Self {
        Self { path: self.path.child(name), value: self.value.at(name) }
    }

    /// Goes to a field that upstream reports under another name.
    pub(crate) fn child_as(&self, name: &str, shown: &str) -> Self {
        Self { path: self.path.child(shown), value: self.value.at(name) }
    }

    pub(crate) fn is_null(&self) -> bool {
        self.value.is_null()
    }

    pub(crate) fn present(&self) -> bool {
        !self.value.is_null()
    }

    /// Tells whether Go's length of it is zero.
    pub(crate) fn is_empty(&self) -> bool {
        is_empty(self.value)
    }

    pub(crate) fn str(&self) -> &'a str {
        self.value.as_str().unwrap_or_default()
    }

    pub(crate) fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// Returns a number that Go keeps without a pointer: zero when it is absent.
    pub(crate) fn number(&self) -> i64 {
        self.value.as_i64().unwrap_or_default()
    }

    pub(crate) fn is_true(&self) -> bool {
        self.value.as_bool() == Some(true)
    }

    pub(crate) fn len(&self) -> usize {
        match self.value {
            Value::Array(list) => list.len(),
            Value::Object(map) => map.len(),
            Value::String(text) => text.len(),
            _ => 0,
        }
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = At<'a>> + use<'a> {
        let path = self.path.clone();
        let list = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().enumerate().map(move |(index, value)| At { path: path.index(index), value })
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, At<'a>)> + use<'a> {
        let path = self.path.clone();
        let entries: Vec<_> = match self.value {
            Value::Object(map) => map.iter().collect(),
            _ => Vec::new(),
        };
        entries.into_iter().map(move |(key, value)| (key.as_str(), At { path: path.key(key), value }))
    }

    /// Returns the texts of a list.
    pub(crate) fn strings(&self) -> Vec<&'a str> {
        self.value.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
    }
}

/// Files errors by path.
pub(crate) trait Faults {
    fn required(&mut self, path: &Path, detail: &str);
    fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: impl Into<String>);
    fn not_supported(&mut self, path: &Path, value: impl Into<Value>, supported: &[&str]);
    fn duplicate(&mut self, path: &Path, value: impl Into<Value>);
    fn forbidden(&mut self, path: &Path, detail: impl Into<String>);
    fn not_found(&mut self, path: &Path, value: impl Into<Value>);
    fn too_long(&mut self, path: &Path, max: usize);
    fn too_many(&mut self, path: &Path, actual: usize, max: usize);
    /// Files one error for each message about a value.
    fn all(&mut self, path: &Path, value: &str, messages: Vec<String>);
    /// Files an error that shows an internal object of Go, whose fields are written with capitals.
    fn invalid_object(&mut self, path: &Path, value: &Value, detail: &str);
    fn negative(&mut self, at: &At<'_>);
    fn immutable(&mut self, path: &Path, new: &Value, old: &Value);
}

impl Faults for ErrorList {
    fn required(&mut self, path: &Path, detail: &str) {
        self.push(FieldError::required(path, detail));
    }

    fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: impl Into<String>) {
        self.push(FieldError::invalid(path, value, detail));
    }

    fn not_supported(&mut self, path: &Path, value: impl Into<Value>, supported: &[&str]) {
        self.push(FieldError::not_supported(path, value, supported));
    }

    fn duplicate(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(FieldError::duplicate(path, value));
    }

    fn forbidden(&mut self, path: &Path, detail: impl Into<String>) {
        self.push(FieldError::forbidden(path, detail));
    }

    fn not_found(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(FieldError::not_found(path, value));
    }

    fn too_long(&mut self, path: &Path, max: usize) {
        self.push(FieldError::too_long(path, max));
    }

    fn too_many(&mut self, path: &Path, actual: usize, max: usize) {
        self.push(FieldError::too_many(path, actual, max));
    }

    fn all(&mut self, path: &Path, value: &str, messages: Vec<String>) {
        for message in messages {
            self.push(FieldError::invalid(path, value, message));
        }
    }

    fn invalid_object(&mut self, path: &Path, value: &Value, detail: &str) {
        self.push(FieldError::invalid(path, exported(value), detail));
    }

    fn negative(&mut self, at: &At<'_>) {
        if let Some(number) = at.int()
            && number < 0
        {
            self.push(FieldError::invalid(&at.path, number, NEGATIVE));
        }
    }

    fn immutable(&mut self, path: &Path, new: &Value, old: &Value) {
        if !crate::sim::object::equal(new, old) {
            self.push(FieldError::invalid(path, new.clone(), IMMUTABLE));
        }
    }
}

/// What upstream says of a number below zero.
pub(crate) const NEGATIVE: &str = "must be greater than or equal to 0";
/// What upstream says of a changed field that may not change.
pub(crate) const IMMUTABLE: &str = "field is immutable";
/// What upstream says of a number that is not above zero.
pub(crate) const NOT_POSITIVE: &str = "must be greater than zero";

/// Writes an object's fields as Go exports them: `runAsUser` becomes `RunAsUser`. Maps with free keys look the same to
/// us, so their keys are written large too; upstream's dump is not of that precision either.
pub(crate) fn exported(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| {
                let mut letters = key.chars();
                let large = letters.next().map(|first| first.to_ascii_uppercase()).into_iter();
                (large.chain(letters).collect::<String>(), exported(value))
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(list) => list.iter().map(exported).collect(),
        other => other.clone(),
    }
}
