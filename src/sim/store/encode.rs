//! The JSON form of objects: fields in the order in which a real server writes them where it shows, `kind` and
//! `apiVersion` before everything else.

use serde::Serialize;
use serde::ser::{SerializeMap as _, SerializeSeq as _};
use serde_json::{Map, Value};

/// Writes an object with its fields in order.
pub(crate) struct Ordered<'a>(pub(crate) &'a Value);

const TOP: &[&str] = &["kind", "apiVersion", "metadata"];
const STATUS: &[&str] = &["kind", "apiVersion", "metadata", "status", "message", "reason", "details", "code"];
const DETAILS: &[&str] = &["name", "group", "kind", "uid", "causes", "retryAfterSeconds"];
const GROUP: &[&str] = &["kind", "apiVersion", "name", "versions", "preferredVersion"];
const RESOURCE: &[&str] = &[
    "name",
    "singularName",
    "namespaced",
    "group",
    "version",
    "kind",
    "verbs",
    "shortNames",
    "categories",
    "storageVersionHash",
];
const METADATA: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "continue",
    "remainingItemCount",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

impl Serialize for Ordered<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Object(fields) = self.0 else { return self.0.serialize(serializer) };
        match fields.get("kind").and_then(Value::as_str) {
            Some("Status") => map(serializer, fields, STATUS, |name| match name {
                "details" => Some(DETAILS),
                _ => None,
            }),
            Some("APIGroup") => map(serializer, fields, GROUP, |_| None),
            Some("APIGroupList") => map(serializer, fields, TOP, |name| (name == "groups").then_some(GROUP)),
            Some("APIResourceList") => {
                map(serializer, fields, TOP, |name| (name == "resources").then_some(RESOURCE))
            }
            _ => map(serializer, fields, TOP, |name| (name == "metadata").then_some(METADATA)),
        }
    }
}

/// Writes the fields in `order` first, and `status` last where it is not among them. `inside` gives the order within a
/// field, or within the items of it.
fn map<S: serde::Serializer>(
    serializer: S,
    fields: &Map<String, Value>,
    order: &[&str],
    inside: fn(&str) -> Option<&'static [&'static str]>,
) -> Result<S::Ok, S::Error> {
    let mut out = serializer.serialize_map(Some(fields.len()))?;
    let last = order.len() == TOP.len();
    let rest =
        fields.keys().map(String::as_str).filter(|key| !(order.contains(key) || last && *key == "status"));
    let ordered = order.iter().copied().filter(|key| fields.contains_key(*key));
    let status = (last && fields.contains_key("status")).then_some("status");
    for key in ordered.chain(rest).chain(status) {
        match inside(key) {
            Some(order) => out.serialize_entry(key, &Inner(&fields[key], order))?,
            None => out.serialize_entry(key, &fields[key])?,
        }
    }
    out.end()
}

/// An object, or a list of objects, with its fields in order.
struct Inner<'a>(&'a Value, &'static [&'static str]);

impl Serialize for Inner<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let mut out = serializer.serialize_map(Some(fields.len()))?;
                let ordered = self.1.iter().copied().filter(|key| fields.contains_key(*key));
                for key in ordered {
                    out.serialize_entry(key, &fields[key])?;
                }
                for (key, value) in fields.iter().filter(|(key, _)| !self.1.contains(&key.as_str())) {
                    out.serialize_entry(key, value)?;
                }
                out.end()
            }
            Value::Array(items) => {
                let mut out = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    out.serialize_element(&Inner(item, self.1))?;
                }
                out.end()
            }
            other => other.serialize(serializer),
        }
    }
}

/// Serialises an object.
pub(crate) fn to_json(object: &Value) -> Vec<u8> {
    // A Value has string keys only, so that this cannot fail.
    serde_json::to_vec(&Ordered(object)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_come_in_the_order_of_a_real_server() {
        let text = |value: Value| String::from_utf8(to_json(&value)).unwrap();
        assert_eq!(
            text(
                json!({"apiVersion": "v1", "data": {}, "kind": "ConfigMap", "metadata": {"labels": {}, "name": "a",
                "uid": "u", "own": 1}, "status": 1, "type": 2})
            ),
            r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","uid":"u","labels":{},"own":1},"data":{},"type":2,"status":1}"#
        );
        assert_eq!(
            text(json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "code": 404, "message": "m",
                "reason": "r", "status": "Failure", "details": {"kind": "pods", "name": "x"}})),
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"m","reason":"r","details":{"name":"x","kind":"pods"},"code":404}"#
        );
    }
}
