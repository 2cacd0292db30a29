//! Reading and writing the parts that all objects share: metadata, owners, finalizers, conditions, times.
//! Knows no kind. A field that is missing reads as empty, as Go's zero values do.

use jiff::Timestamp;
use serde_json::{Value, json};

/// Returns the text at a field of `metadata`.
fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// Returns the name.
pub(crate) fn name(object: &Value) -> &str {
    meta(object, "name")
}

/// Returns the namespace; empty for cluster scope.
pub(crate) fn namespace(object: &Value) -> &str {
    meta(object, "namespace")
}

/// Returns the uid.
pub(crate) fn uid(object: &Value) -> &str {
    meta(object, "uid")
}

/// Returns the labels, or null.
pub(crate) fn labels(object: &Value) -> &Value {
    &object["metadata"]["labels"]
}

/// Returns one label.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    labels(object)[key].as_str()
}

/// Returns one annotation.
pub(crate) fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str()
}

/// Tells whether deletion has begun.
pub(crate) fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Returns the generation; 0 where there is none.
pub(crate) fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or_default()
}

/// Iterates a list; a missing one is empty.
pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> + Clone {
    list.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

/// Iterates the entries of a map whose values are texts.
pub(crate) fn texts(map: &Value) -> impl Iterator<Item = (&str, &str)> {
    map.as_object().into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// Returns an integer field, or what it stands for when absent.
pub(crate) fn int(value: &Value, default: i64) -> i64 {
    value.as_i64().unwrap_or(default)
}

/// Returns the owner reference that names the managing controller.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    items(&object["metadata"]["ownerReferences"]).find(|owner| owner["controller"] == true)
}

/// Tells whether `owner` is the managing controller of `object`.
pub(crate) fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    controller(object).is_some_and(|reference| reference["uid"] == owner["metadata"]["uid"])
}

/// Builds the reference by which `owner` manages an object.
pub(crate) fn controller_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// Tells whether a finalizer is set.
pub(crate) fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    items(&object["metadata"]["finalizers"]).any(|f| f == finalizer)
}

/// Returns the finalizers without one of them.
pub(crate) fn finalizers_without(object: &Value, finalizer: &str) -> Vec<Value> {
    items(&object["metadata"]["finalizers"]).filter(|f| *f != finalizer).cloned().collect()
}

/// Returns the condition of a type from an object's status.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    items(&object["status"]["conditions"]).find(|c| c["type"] == kind)
}

/// Tells whether a condition is True.
pub(crate) fn is_condition_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|c| c["status"] == "True")
}

/// Reads an RFC 3339 time.
pub(crate) fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// Writes a time as metav1.Time does, in whole seconds.
pub(crate) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Writes a time as metav1.MicroTime does.
pub(crate) fn micros(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Returns the age of an object at `now`, counted from its creation.
pub(crate) fn created(object: &Value) -> Option<Timestamp> {
    time(&object["metadata"]["creationTimestamp"])
}

/// Puts a field in a map, or takes it away when it has Go's zero value, as `omitempty` does.
pub(crate) fn set_omitempty(map: &mut Value, field: &str, value: impl Into<Value>) {
    let value = value.into();
    let empty = match &value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(entries) => entries.is_empty(),
    };
    match (empty, map.as_object_mut()) {
        (false, _) => map[field] = value,
        (true, Some(entries)) => {
            entries.remove(field);
        }
        (true, None) => {}
    }
}

/// The characters of hashes: no vowels, nothing that looks like another.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Hashes a template and a collision count into the short text that names revisions (rand.SafeEncodeString of FNV-1a).
pub(crate) fn template_hash(template: &Value, collisions: Option<i64>) -> String {
    let mut hash = 0x811c_9dc5_u32;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    feed(template.to_string().as_bytes());
    if let Some(count) = collisions {
        feed(&u32::try_from(count).unwrap_or_default().to_le_bytes());
    }
    hash.to_string().bytes().map(|digit| char::from(SAFE[usize::from(digit) % SAFE.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_upstream_does() {
        let time: Timestamp = "2026-01-02T03:04:05.678901234Z".parse().unwrap();
        assert_eq!(seconds(time), "2026-01-02T03:04:05Z");
        assert_eq!(micros(time), "2026-01-02T03:04:05.678901Z");
    }

    #[test]
    fn hashes_differ_by_template_and_collision_and_are_safe() {
        let (a, b) = (json!({"spec": {"a": 1}}), json!({"spec": {"a": 2}}));
        assert_ne!(template_hash(&a, None), template_hash(&b, None));
        assert_ne!(template_hash(&a, None), template_hash(&a, Some(1)));
        assert_eq!(template_hash(&a, None), template_hash(&json!({"spec": {"a": 1}}), None));
        assert!(template_hash(&a, None).bytes().all(|b| SAFE.contains(&b)));
    }

    #[test]
    fn zero_values_are_left_out() {
        let mut status = json!({"replicas": 3});
        set_omitempty(&mut status, "replicas", 0);
        set_omitempty(&mut status, "readyReplicas", 2);
        assert_eq!(status, json!({"readyReplicas": 2}));
    }
}
