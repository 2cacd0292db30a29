//! The JSON form of objects: `kind` and `apiVersion` come before everything else, as from a real server.

use serde::Serialize;
use serde::ser::SerializeMap as _;
use serde_json::Value;

/// Writes an object with `kind` and `apiVersion` first.
pub(crate) struct KindFirst<'a>(pub(crate) &'a Value);

impl Serialize for KindFirst<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Object(fields) = self.0 else { return self.0.serialize(serializer) };
        let mut map = serializer.serialize_map(Some(fields.len()))?;
        for first in ["kind", "apiVersion"] {
            if let Some(value) = fields.get(first) {
                map.serialize_entry(first, value)?;
            }
        }
        for (key, value) in fields {
            if key != "kind" && key != "apiVersion" {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}

/// Serialises an object.
pub(crate) fn to_json(object: &Value) -> Vec<u8> {
    // A Value has string keys only, so that this cannot fail.
    serde_json::to_vec(&KindFirst(object)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kind_and_version_come_first() {
        let text = to_json(&json!({"apiVersion": "v1", "data": {}, "kind": "ConfigMap"}));
        assert_eq!(text, br#"{"kind":"ConfigMap","apiVersion":"v1","data":{}}"#);
    }
}
