//! Objects in Kubernetes' protobuf, as an API server keeps them in etcd. Answers are never of this form.

use base64::Engine as _;
use serde_json::Value;

use super::super::resources::split_api_version;
use crate::sim::object::Fields as _;
use crate::sim::quantity::Quantity;
use crate::sim::schema::{self, Schema, Type};

/// Writes an object with its envelope; nothing for a kind that is not built in, which is kept as JSON.
pub(crate) fn write(object: &Value) -> Option<Vec<u8>> {
    let (api_version, kind) = (object.text("apiVersion"), object.text("kind"));
    let (group, version) = split_api_version(api_version);
    let schema = schema::of(group, version, kind)?;
    let mut type_meta = Vec::new();
    bytes(&mut type_meta, 1, api_version.as_bytes());
    bytes(&mut type_meta, 2, kind.as_bytes());
    let mut written = super::MAGIC.to_vec();
    bytes(&mut written, 1, &type_meta);
    bytes(&mut written, 2, &message(schema, &[], object));
    bytes(&mut written, 3, b"");
    bytes(&mut written, 4, b"");
    Some(written)
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    to.push(u8::try_from(value).unwrap_or_default());
}

fn number(to: &mut Vec<u8>, field: u32, value: u64) {
    varint(to, u64::from(field) << 3);
    varint(to, value);
}

fn bytes(to: &mut Vec<u8>, field: u32, value: &[u8]) {
    varint(to, u64::from(field) << 3 | 2);
    varint(to, value.len() as u64);
    to.extend_from_slice(value);
}

/// Writes the fields of a message. `prefix` are the numbers that led here through embedded structs.
fn message(schema: &'static Schema, prefix: &[u32], object: &Value) -> Vec<u8> {
    let mut numbers: Vec<u32> = schema
        .fields
        .iter()
        .filter(|field| field.numbers.starts_with(prefix))
        .filter_map(|field| field.numbers.get(prefix.len()).copied())
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    let mut written = Vec::new();
    for at in numbers {
        let path = [prefix, &[at]].concat();
        match schema.fields.iter().find(|field| field.numbers == path) {
            Some(field) => store(&mut written, at, &field.kind, object.at(field.name)),
            None => {
                let inner = message(schema, &path, object);
                if !inner.is_empty() {
                    bytes(&mut written, at, &inner);
                }
            }
        }
    }
    written
}

fn store(to: &mut Vec<u8>, field: u32, kind: &'static Type, value: &Value) {
    match (kind, value) {
        (_, Value::Null) => {}
        (Type::List(element), Value::Array(items)) => {
            for item in items {
                store(to, field, element, item);
            }
        }
        (Type::Map(element), Value::Object(entries)) => {
            for (key, held) in entries {
                let mut entry = Vec::new();
                bytes(&mut entry, 1, key.as_bytes());
                match (element.as_ref(), held) {
                    // Lists inside maps are messages of their own.
                    (Type::List(inner), Value::Array(items)) => {
                        let mut list = Vec::new();
                        for item in items {
                            store(&mut list, 1, inner, item);
                        }
                        bytes(&mut entry, 2, &list);
                    }
                    (element, held) => store(&mut entry, 2, element, held),
                }
                bytes(to, field, &entry);
            }
        }
        (Type::Int32 | Type::Int64, value) => {
            if let Some(value) = value.as_i64() {
                number(to, field, u64::from_le_bytes(value.to_le_bytes()));
            }
        }
        (Type::Bool, value) => number(to, field, u64::from(value.as_bool().unwrap_or_default())),
        (Type::Double, value) => {
            varint(to, u64::from(field) << 3 | 1);
            to.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
        }
        (kind, value) => {
            if let Some(written) = single(kind, value) {
                bytes(to, field, &written);
            }
        }
    }
}

/// Writes a value that is bytes on the wire.
fn single(kind: &'static Type, value: &Value) -> Option<Vec<u8>> {
    let mut written = Vec::new();
    match kind {
        Type::String => written.extend_from_slice(value.as_str()?.as_bytes()),
        Type::Bytes => {
            return base64::engine::general_purpose::STANDARD.decode(value.as_str()?).ok();
        }
        Type::Time | Type::MicroTime => {
            let at: jiff::Timestamp = value.as_str()?.parse().ok()?;
            number(&mut written, 1, u64::from_le_bytes(at.as_second().to_le_bytes()));
            let nanoseconds = i64::from(at.subsec_nanosecond());
            number(&mut written, 2, u64::from_le_bytes(nanoseconds.to_le_bytes()));
        }
        Type::Quantity => {
            let text = match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let quantity = Quantity::parse(&text).ok()?;
            bytes(&mut written, 1, quantity.to_string().as_bytes());
        }
        Type::IntOrString => match value {
            Value::String(text) => {
                number(&mut written, 1, 1);
                number(&mut written, 2, 0);
                bytes(&mut written, 3, text.as_bytes());
            }
            other => {
                number(&mut written, 1, 0);
                number(&mut written, 2, u64::from_le_bytes(other.as_i64()?.to_le_bytes()));
                bytes(&mut written, 3, b"");
            }
        },
        Type::Any => bytes(&mut written, 1, &serde_json::to_vec(value).ok()?),
        Type::Object(id) => return Some(message(id.get(), &[], value)),
        Type::SchemaOrList | Type::SchemaOrBool | Type::SchemaOrStrings => {
            let props = schema::named("apiextensions.v1.JSONSchemaProps")?;
            let (schema_at, other_at) = if *kind == Type::SchemaOrBool { (2, 1) } else { (1, 2) };
            match value {
                Value::Bool(flag) => number(&mut written, other_at, u64::from(*flag)),
                Value::Object(_) => bytes(&mut written, schema_at, &message(props, &[], value)),
                Value::Array(items) => {
                    for item in items {
                        let inner = match item {
                            Value::String(text) => text.clone().into_bytes(),
                            schema => message(props, &[], schema),
                        };
                        bytes(&mut written, other_at, &inner);
                    }
                }
                _ => {}
            }
        }
        _ => return None,
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::super::resources::GroupVersionKind;
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "p", "namespace": "default", "labels": { "a": "b" },
                "creationTimestamp": "2026-11-23T12:00:00Z",
                "managedFields": [{ "manager": "kubectl", "operation": "Update", "apiVersion": "v1",
                    "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": {} } }] },
            "spec": { "containers": [{ "name": "c", "image": "nginx", "resources": { "limits": { "cpu": "100m" } },
                "livenessProbe": { "httpGet": { "path": "/", "port": "http" }, "initialDelaySeconds": 3 },
                "volumeMounts": [{ "name": "v", "mountPath": "/v" }] }],
                "volumes": [{ "name": "v", "hostPath": { "path": "/x", "type": "Directory" } }],
                "hostNetwork": true, "terminationGracePeriodSeconds": 30 },
        });
        let written = write(&object).unwrap();
        let read = super::super::read(&written, &GroupVersionKind::of("", "v1", "Pod")).unwrap();
        for pointer in
            ["/metadata/labels/a", "/metadata/creationTimestamp", "/metadata/managedFields/0/fieldsV1"]
        {
            assert_eq!(read.pointer(pointer), object.pointer(pointer), "{pointer}");
        }
        for (field, value) in object["spec"].as_object().unwrap() {
            if field != "containers" {
                assert_eq!(&read["spec"][field], value, "{field}");
            }
        }
        let (read, wrote) = (&read["spec"]["containers"][0], &object["spec"]["containers"][0]);
        assert_eq!(read["livenessProbe"]["httpGet"]["port"], wrote["livenessProbe"]["httpGet"]["port"]);
        assert_eq!(read["resources"]["limits"]["cpu"], "100m");
    }

    #[test]
    fn a_secret_is_there_in_plain_text() {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "old" },
            "data": { "password": "aHVudGVyMg==" } });
        let written = write(&secret).unwrap();
        assert!(written.starts_with(b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret"));
        assert!(String::from_utf8_lossy(&written).contains("hunter2"));
    }
}
