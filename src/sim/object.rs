//! Reads and edits objects as Go's types would: what is absent, null or zero is one and the same.
//! Knows JSON and no kind.

use serde_json::{Map, Value};

/// An absent value.
pub const NULL: &Value = &Value::Null;

/// Reads fields without caring whether they are there.
pub trait Fields {
    /// Returns a field, or null.
    fn at(&self, name: &str) -> &Value;
    /// Returns what lies at the end of a path of names, or null.
    fn dig(&self, names: &[&str]) -> &Value;
    /// Tells whether a field is there and not null.
    fn has(&self, name: &str) -> bool;
    /// Returns a text field, or the empty text.
    fn text(&self, name: &str) -> &str;
    /// Returns a whole number.
    fn int(&self, name: &str) -> Option<i64>;
    /// Returns a boolean.
    fn truth(&self, name: &str) -> Option<bool>;
    /// Returns the elements of a list, none when it is absent.
    fn items(&self, name: &str) -> &[Value];
    /// Returns the texts of a list.
    fn texts(&self, name: &str) -> Vec<&str>;
    /// Returns the entries of a map in the order of their keys.
    fn entries(&self, name: &str) -> Vec<(&str, &Value)>;
}

impl Fields for Value {
    fn at(&self, name: &str) -> &Value {
        self.get(name).unwrap_or(NULL)
    }

    fn dig(&self, names: &[&str]) -> &Value {
        names.iter().fold(self, |value, name| value.at(name))
    }

    fn has(&self, name: &str) -> bool {
        !self.at(name).is_null()
    }

    fn text(&self, name: &str) -> &str {
        self.at(name).as_str().unwrap_or_default()
    }

    fn int(&self, name: &str) -> Option<i64> {
        self.at(name).as_i64()
    }

    fn truth(&self, name: &str) -> Option<bool> {
        self.at(name).as_bool()
    }

    fn items(&self, name: &str) -> &[Value] {
        self.at(name).as_array().map(Vec::as_slice).unwrap_or_default()
    }

    fn texts(&self, name: &str) -> Vec<&str> {
        self.items(name).iter().filter_map(Value::as_str).collect()
    }

    fn entries(&self, name: &str) -> Vec<(&str, &Value)> {
        match self.at(name) {
            Value::Object(map) => map.iter().map(|(key, value)| (key.as_str(), value)).collect(),
            _ => Vec::new(),
        }
    }
}

/// Tells whether Go would leave the value out (`omitempty`): null, `""`, `[]`, `{}`.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Compares as `apiequality.Semantic.DeepEqual` does: what is absent, null and empty are equal.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            x.iter().all(|(key, value)| equal(value, y.get(key).unwrap_or(NULL)))
                && y.iter().all(|(key, value)| x.contains_key(key) || is_empty(value))
        }
        (Value::Array(x), Value::Array(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|(one, other)| equal(one, other))
        }
        _ => a == b || (is_empty(a) && is_empty(b)),
    }
}

/// Returns a map field, made when it is not there.
pub fn map_at<'a>(object: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    let field = field_at(object, name);
    if !field.is_object() {
        *field = Value::Object(Map::new());
    }
    match field {
        Value::Object(map) => map,
        _ => unreachable!("it was made an object"),
    }
}

/// Returns a field to write to, null when it is not there yet. What is no object becomes one.
pub fn field_at<'a>(object: &'a mut Value, name: &str) -> &'a mut Value {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    match object {
        Value::Object(map) => map.entry(name).or_insert(Value::Null),
        _ => unreachable!("it was made an object"),
    }
}

/// Sets a field; null removes it.
pub fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    let value = value.into();
    if value.is_null() {
        remove(object, name);
    } else {
        *field_at(object, name) = value;
    }
}

/// Sets a field that is absent, null or the empty text.
pub fn set_default(object: &mut Value, name: &str, value: impl Into<Value>) {
    let unset = match object.at(name) {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        _ => false,
    };
    if unset {
        set(object, name, value);
    }
}

/// Takes a field away.
pub fn remove(object: &mut Value, name: &str) -> Option<Value> {
    object.as_object_mut().and_then(|map| map.remove(name))
}

/// Makes a field of `object` what it is in `from`, absent included.
pub fn copy(object: &mut Value, from: &Value, name: &str) {
    set(object, name, from.at(name).clone());
}

/// Returns a list's elements to write to, none when it is absent.
pub fn items_mut<'a>(object: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

/// Returns a field that is an object, to write to.
pub fn object_mut<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    object.get_mut(name).filter(|value| value.is_object())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn absent_null_and_empty_are_equal() {
        assert!(equal(&json!({"a": 1, "b": {}, "c": null}), &json!({"a": 1, "d": ""})));
        assert!(!equal(&json!({"a": 1}), &json!({"a": 1, "b": false})));
        assert!(!equal(&json!({"a": [1]}), &json!({"a": [1, 2]})));
    }

    #[test]
    fn defaults_replace_only_what_is_unset() {
        let mut object = json!({"a": "", "b": false, "c": 0});
        for name in ["a", "b", "c", "d"] {
            set_default(&mut object, name, "x");
        }
        assert_eq!(object, json!({"a": "x", "b": false, "c": 0, "d": "x"}));
    }
}
