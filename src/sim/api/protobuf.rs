//! Bodies in Kubernetes' protobuf: the envelope, and any built-in kind by the numbers of the field table, to JSON.
//! Answers are never protobuf; `write` is what etcd holds.

use base64::Engine as _;
use serde_json::{Map, Value};

use super::resources::{GroupVersionKind, split_api_version};
use crate::sim::quantity::Quantity;
use crate::sim::schema::document::Document;
use crate::sim::schema::{self, Schema, Type};

mod write;

pub(crate) use write::write;

const MAGIC: [u8; 4] = *b"k8s\0";
const MAX_DEPTH: usize = 100;

/// Why a body is not what it says it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// The envelope's first bytes are missing.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Prefix,
    /// A message ends in the middle.
    #[error("unexpected EOF")]
    End,
    /// A field has another wire type than its own.
    #[error("proto: wrong wireType = {0} for field {1}")]
    WireType(u8, String),
    /// The kind is not a built-in one.
    #[error(
        "no kind {kind:?} is registered for version {version:?} in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\""
    )]
    Kind {
        /// The kind.
        kind: String,
        /// `apps/v1`
        version: String,
    },
    /// A value is not what its field holds.
    #[error("{0}")]
    Value(String),
    /// Messages nest too deep.
    #[error("exceeded max depth")]
    Depth,
}

/// Reads a body: an envelope with a built-in kind, `default` where the envelope names none. The object has
/// `apiVersion` and `kind` and the form in which Go writes it.
///
/// # Errors
/// When the body is cut short, names an unknown kind or holds malformed values.
pub fn read(body: &[u8], default: &GroupVersionKind) -> Result<Value, ProtobufError> {
    let Some(envelope) = body.strip_prefix(&MAGIC) else { return Err(ProtobufError::Prefix) };
    let mut raw: &[u8] = &[];
    let mut api_version = default.api_version();
    let mut kind = default.kind.clone();
    for field in fields(envelope) {
        match field? {
            (1, Wire::Bytes(meta)) => {
                for field in fields(meta) {
                    match field? {
                        (1, Wire::Bytes(text)) if !text.is_empty() => api_version = lossy(text),
                        (2, Wire::Bytes(text)) if !text.is_empty() => kind = lossy(text),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let (group, version) = split_api_version(&api_version);
    let schema = match kind.as_str() {
        "DeleteOptions" => schema::named("meta.v1.DeleteOptions"),
        _ => schema::of(group, version, &kind),
    };
    let Some(schema) = schema else { return Err(ProtobufError::Kind { kind, version: api_version }) };
    let mut map = Map::new();
    message(schema, &mut Vec::new(), raw, &mut map, 0)?;
    let mut object = Value::Object(map);
    schema::normalize(schema, &mut object);
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    Ok(object)
}

enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed64(u64),
    Fixed32(#[expect(dead_code, reason = "no field is of this wire type")] u32),
}

impl Wire<'_> {
    fn code(&self) -> u8 {
        match self {
            Self::Number(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Fixed32(_) => 5,
        }
    }
}

/// Reads the fields of a message one after the other; stops at the first fault.
fn fields(mut rest: &[u8]) -> impl Iterator<Item = Result<(u32, Wire<'_>), ProtobufError>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = one(&mut rest);
        if field.is_err() {
            rest = &[];
        }
        Some(field)
    })
}

fn one<'a>(rest: &mut &'a [u8]) -> Result<(u32, Wire<'a>), ProtobufError> {
    let tag = varint(rest)?;
    let number = u32::try_from(tag >> 3).map_err(|_| ProtobufError::End)?;
    let wire = match tag & 7 {
        0 => Wire::Number(varint(rest)?),
        1 => Wire::Fixed64(u64::from_le_bytes(fixed(rest)?)),
        2 => {
            let length = usize::try_from(varint(rest)?).map_err(|_| ProtobufError::End)?;
            let bytes = rest.get(..length).ok_or(ProtobufError::End)?;
            *rest = &rest[length..];
            Wire::Bytes(bytes)
        }
        5 => Wire::Fixed32(u32::from_le_bytes(fixed(rest)?)),
        other => {
            let code = u8::try_from(other).unwrap_or_default();
            return Err(ProtobufError::WireType(code, number.to_string()));
        }
    };
    Ok((number, wire))
}

fn varint(rest: &mut &[u8]) -> Result<u64, ProtobufError> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(ProtobufError::End)?;
        *rest = after;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(ProtobufError::Value("proto: integer overflow".to_owned()))
}

fn fixed<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ProtobufError> {
    let bytes = rest.first_chunk::<N>().ok_or(ProtobufError::End)?;
    *rest = &rest[N..];
    Ok(*bytes)
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads a message's fields into `map`. `prefix` are the numbers that led here through embedded structs.
fn message(
    schema: &'static Schema,
    prefix: &mut Vec<u32>,
    bytes: &[u8],
    map: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::Depth);
    }
    for field in fields(bytes) {
        let (number, wire) = field?;
        prefix.push(number);
        let exact = schema.fields.iter().find(|field| field.numbers == *prefix);
        if let Some(field) = exact {
            prefix.pop();
            store(field.name, &field.kind, &wire, map, depth)?;
            continue;
        }
        let embedded = schema.fields.iter().any(|field| field.numbers.starts_with(prefix));
        if let (true, Wire::Bytes(inner)) = (embedded, &wire) {
            message(schema, prefix, inner, map, depth + 1)?;
        }
        prefix.pop();
    }
    Ok(())
}

fn store(
    name: &'static str,
    kind: &'static Type,
    wire: &Wire<'_>,
    map: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    match kind {
        Type::List(element) => {
            let list = map.entry(name).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(items) = list else { return Ok(()) };
            match (element.as_ref(), wire) {
                (Type::Int32 | Type::Int64 | Type::Bool, Wire::Bytes(packed)) => {
                    let mut packed: &[u8] = packed;
                    while !packed.is_empty() {
                        let number = Wire::Number(varint(&mut packed)?);
                        items.extend(value(name, element, &number, depth)?);
                    }
                }
                _ => items.push(value(name, element, wire, depth)?.unwrap_or_default()),
            }
        }
        Type::Map(element) => {
            let Wire::Bytes(entry) = wire else { return Err(wrong(wire, name)) };
            let (mut key, mut held) = (String::new(), None);
            for field in fields(entry) {
                match field? {
                    (1, Wire::Bytes(text)) => key = lossy(text),
                    (2, wire) => held = map_value(name, element, &wire, depth)?,
                    _ => {}
                }
            }
            let held = held.unwrap_or_else(|| empty(element));
            let whole = map.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(entries) = whole {
                entries.insert(key, held);
            }
        }
        Type::Object(id) => {
            let Wire::Bytes(bytes) = wire else { return Err(wrong(wire, name)) };
            // A message that comes in two parts is merged.
            let whole = map.entry(name).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = whole {
                message(id.get(), &mut Vec::new(), bytes, inner, depth + 1)?;
            }
        }
        _ => {
            if let Some(value) = value(name, kind, wire, depth)? {
                map.insert(name.to_owned(), value);
            }
        }
    }
    Ok(())
}

/// Lists inside maps are messages of their own, with the items under 1.
fn map_value(
    name: &'static str,
    kind: &'static Type,
    wire: &Wire<'_>,
    depth: usize,
) -> Result<Option<Value>, ProtobufError> {
    let (Type::List(element), Wire::Bytes(bytes)) = (kind, wire) else {
        return value(name, kind, wire, depth);
    };
    let mut items = Vec::new();
    for field in fields(bytes) {
        if let (1, wire) = field? {
            items.extend(value(name, element, &wire, depth)?);
        }
    }
    Ok(Some(items.into()))
}

fn empty(kind: &Type) -> Value {
    match kind {
        Type::String | Type::Bytes => "".into(),
        Type::Quantity => "0".into(),
        Type::Object(_) | Type::Map(_) => Value::Object(Map::new()),
        Type::List(_) => Value::Array(Vec::new()),
        Type::Bool => false.into(),
        Type::Int32 | Type::Int64 | Type::Double | Type::IntOrString => 0.into(),
        _ => Value::Null,
    }
}

fn wrong(wire: &Wire<'_>, name: &str) -> ProtobufError {
    ProtobufError::WireType(wire.code(), name.to_owned())
}

fn value(
    name: &'static str,
    kind: &'static Type,
    wire: &Wire<'_>,
    depth: usize,
) -> Result<Option<Value>, ProtobufError> {
    #[expect(clippy::cast_possible_truncation, reason = "protobuf integers are cut to their type")]
    #[expect(clippy::cast_possible_wrap, reason = "negative integers are sent as unsigned ones")]
    Ok(match (kind, wire) {
        (Type::String, Wire::Bytes(text)) => Some(lossy(text).into()),
        (Type::Bytes, Wire::Bytes(bytes)) => {
            Some(base64::engine::general_purpose::STANDARD.encode(bytes).into())
        }
        (Type::Int32, Wire::Number(number)) => Some((*number as i32).into()),
        (Type::Int64, Wire::Number(number)) => Some((*number as i64).into()),
        (Type::Bool, Wire::Number(number)) => Some((*number != 0).into()),
        (Type::Double, Wire::Fixed64(bits)) => Some(f64::from_bits(*bits).into()),
        (Type::Time, Wire::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%SZ")?,
        (Type::MicroTime, Wire::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%S%.6fZ")?,
        (Type::Quantity, Wire::Bytes(bytes)) => {
            let mut text = String::from("0");
            for field in fields(bytes) {
                if let (1, Wire::Bytes(bytes)) = field? {
                    text = lossy(bytes);
                }
            }
            let quantity = Quantity::parse(&text).map_err(|error| ProtobufError::Value(error.to_string()))?;
            Some(quantity.to_string().into())
        }
        (Type::IntOrString, Wire::Bytes(bytes)) => {
            let (mut is_text, mut number, mut text) = (false, 0, String::new());
            for field in fields(bytes) {
                match field? {
                    (1, Wire::Number(kind)) => is_text = kind == 1,
                    (2, Wire::Number(value)) => number = value as i32,
                    (3, Wire::Bytes(bytes)) => text = lossy(bytes),
                    _ => {}
                }
            }
            Some(if is_text { text.into() } else { number.into() })
        }
        (Type::Any, Wire::Bytes(bytes)) => {
            let mut raw: &[u8] = &[];
            for field in fields(bytes) {
                if let (1, Wire::Bytes(bytes)) = field? {
                    raw = bytes;
                }
            }
            if raw.is_empty() {
                None
            } else {
                let parsed = Document::parse(raw);
                Some(parsed.map_err(|error| ProtobufError::Value(error.to_string()))?.to_value())
            }
        }
        (Type::SchemaOrList | Type::SchemaOrBool | Type::SchemaOrStrings, Wire::Bytes(bytes)) => {
            schema_or(kind, bytes, depth)?
        }
        (Type::Object(id), Wire::Bytes(bytes)) => {
            let mut map = Map::new();
            message(id.get(), &mut Vec::new(), bytes, &mut map, depth + 1)?;
            Some(map.into())
        }
        _ => return Err(wrong(wire, name)),
    })
}

fn time(bytes: &[u8], format: &str) -> Result<Option<Value>, ProtobufError> {
    let (mut seconds, mut nanoseconds) = (0, 0);
    for field in fields(bytes) {
        #[expect(clippy::cast_possible_truncation, reason = "protobuf integers are cut to their type")]
        #[expect(clippy::cast_possible_wrap, reason = "negative integers are sent as unsigned ones")]
        match field? {
            (1, Wire::Number(number)) => seconds = number as i64,
            (2, Wire::Number(number)) => nanoseconds = number as i32,
            _ => {}
        }
    }
    if seconds == 0 && nanoseconds == 0 {
        return Ok(None);
    }
    let stamp = jiff::Timestamp::new(seconds, nanoseconds);
    let stamp = stamp.map_err(|error| ProtobufError::Value(error.to_string()))?;
    Ok(Some(stamp.strftime(format).to_string().into()))
}

fn schema_or(kind: &Type, bytes: &[u8], depth: usize) -> Result<Option<Value>, ProtobufError> {
    let Some(props) = schema::named("apiextensions.v1.JSONSchemaProps") else { return Ok(None) };
    let read = |bytes: &[u8]| -> Result<Value, ProtobufError> {
        let mut map = Map::new();
        message(props, &mut Vec::new(), bytes, &mut map, depth + 1)?;
        Ok(map.into())
    };
    // The boolean comes first, the strings and the list second.
    let (schema_at, other_at) = if *kind == Type::SchemaOrBool { (2, 1) } else { (1, 2) };
    let (mut schema, mut others) = (None, Vec::new());
    for field in fields(bytes) {
        match (field?, kind) {
            ((number, Wire::Bytes(bytes)), _) if number == schema_at => schema = Some(read(bytes)?),
            ((number, Wire::Number(flag)), Type::SchemaOrBool) if number == other_at => {
                others.push(Value::Bool(flag != 0));
            }
            ((number, Wire::Bytes(text)), Type::SchemaOrStrings) if number == other_at => {
                others.push(lossy(text).into());
            }
            ((number, Wire::Bytes(bytes)), Type::SchemaOrList) if number == other_at => {
                others.push(read(bytes)?);
            }
            _ => {}
        }
    }
    Ok(match (schema, kind) {
        (Some(schema), _) => Some(schema),
        (None, Type::SchemaOrBool) => others.pop(),
        (None, _) => Some(others.into()),
    })
}

#[cfg(test)]
mod tests;
