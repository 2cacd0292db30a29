//! Reads a document as a built-in type, as Go's decoder reads it: unknown and duplicate fields are found and dropped,
//! type errors named in its words, quantities and times brought to one form. Knows no defaults and no validation.

use std::borrow::Cow;

use base64::Engine as _;
use serde_json::{Map, Value};

use super::document::{Document, number};
use super::{Field, Schema, Type, golang, named, normalize};
use crate::sim::quantity::Quantity;

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The object, without what its type does not know, in the form in which Go writes it.
    pub object: Value,
    /// What strict validation refuses: `unknown field "spec.foo"`, `duplicate field "metadata.name"`.
    pub strict: Vec<String>,
}

/// Why a document is not of its type, in Go's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// No more than so many strict errors are kept.
const MAX_STRICT: usize = 100;

/// Reads a document as a type.
///
/// # Errors
/// The first value that does not fit its field; a malformed quantity or time before all others.
pub fn decode(schema: &'static Schema, document: &Document<'_>) -> Result<Decoded, DecodeError> {
    let mut decoder = Decoder::default();
    let go = || Type::go_type_of(schema);
    let object = decoder.structure(schema, document, &go).map_err(DecodeError)?;
    if let Some(error) = decoder.saved {
        return Err(DecodeError(error));
    }
    let mut object = object.map_or_else(|| Value::Object(Map::new()), Value::Object);
    normalize(schema, &mut object);
    Ok(Decoded { object, strict: decoder.strict })
}

/// Finds the fields that stand twice in a document without a type, as strict reading of custom resources does.
pub fn duplicates(document: &Document<'_>) -> Vec<String> {
    let mut decoder = Decoder::default();
    decoder.duplicates(document);
    decoder.strict
}

#[derive(Default)]
struct Decoder {
    strict: Vec<String>,
    /// The first type error: reading goes on, as in Go.
    saved: Option<String>,
    /// The path for strict errors: `spec.containers[0]`.
    path: String,
    /// The struct and the fields that lead to the value, for type errors.
    structure: Option<&'static str>,
    fields: Vec<&'static str>,
}

type GoType<'a> = &'a dyn Fn() -> String;

impl Decoder {
    fn strict(&mut self, what: &str, field: &str) {
        let path = if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) };
        let error = format!("{what} {path:?}");
        if self.strict.len() < MAX_STRICT && !self.strict.contains(&error) {
            self.strict.push(error);
        }
    }

    fn type_error(&self, value: &str, go: &str) -> String {
        match self.structure {
            Some(structure) => {
                let field = self.fields.join(".");
                format!(
                    "json: cannot unmarshal {value} into Go struct field {structure}.{field} of type {go}"
                )
            }
            None => format!("json: cannot unmarshal {value} into Go value of type {go}"),
        }
    }

    fn mismatch(&mut self, value: &str, go: GoType<'_>) {
        if self.saved.is_none() {
            self.saved = Some(self.type_error(value, &go()));
        }
    }

    fn enter(&mut self, key: &str) -> usize {
        let length = self.path.len();
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
        length
    }

    fn structure(
        &mut self,
        schema: &'static Schema,
        document: &Document<'_>,
        go: GoType<'_>,
    ) -> Result<Option<Map<String, Value>>, String> {
        let fields = match document {
            Document::Object(fields) => fields,
            Document::Null => return Ok(None),
            other => {
                self.mismatch(other.kind(), go);
                return Ok(None);
            }
        };
        let mut map = Map::new();
        let mut seen: Vec<&'static str> = Vec::with_capacity(fields.len());
        for (key, value) in fields {
            let Some(field) = schema.field(key) else {
                self.strict("unknown field", key);
                continue;
            };
            if seen.contains(&field.name) {
                self.strict("duplicate field", key);
            }
            seen.push(field.name);
            let outer = self.structure.replace(schema.go_name());
            self.fields.push(field.name);
            let length = self.enter(key);
            let read = self.field(field, value)?;
            self.path.truncate(length);
            self.fields.pop();
            self.structure = outer;
            match read {
                Some(value) => map.insert(field.name.to_owned(), value),
                None => map.remove(field.name),
            };
        }
        Ok(Some(map))
    }

    fn field(&mut self, field: &'static Field, document: &Document<'_>) -> Result<Option<Value>, String> {
        self.value(&field.kind, document, &|| field.go_type())
    }

    fn value(
        &mut self,
        kind: &'static Type,
        document: &Document<'_>,
        go: GoType<'_>,
    ) -> Result<Option<Value>, String> {
        if document.is_null() {
            return Ok(None);
        }
        Ok(match (kind, document) {
            (Type::Object(id), _) => self.structure(id.get(), document, go)?.map(Value::Object),
            (Type::List(element), Document::Array(items)) => Some(self.list(element, items, go)?),
            (Type::Map(element), Document::Object(fields)) => Some(self.map(element, fields, go)?),
            (Type::String, Document::String(text)) => Some(text.to_string().into()),
            (Type::Bool, Document::Bool(flag)) => Some((*flag).into()),
            (Type::Int32, Document::Number(text)) => match text.parse::<i32>() {
                Ok(number) => Some(number.into()),
                Err(_) => self.bad_number(text, go),
            },
            (Type::Int64, Document::Number(text)) => match text.parse::<i64>() {
                Ok(number) => Some(number.into()),
                Err(_) => self.bad_number(text, go),
            },
            (Type::Double, Document::Number(text)) => match text.parse::<f64>() {
                Ok(float) if float.is_finite() => Some(number(text)),
                _ => self.bad_number(text, go),
            },
            (Type::Bytes, Document::String(text)) => match golang::base64(text) {
                Ok(bytes) => Some(base64::engine::general_purpose::STANDARD.encode(bytes).into()),
                Err(error) => {
                    self.saved.get_or_insert(error);
                    None
                }
            },
            (Type::Time, _) => Some(self.time(document, "2006-01-02T15:04:05Z07:00")?),
            (Type::MicroTime, _) => Some(self.time(document, "2006-01-02T15:04:05.000000Z07:00")?),
            (Type::Quantity, _) => Some(quantity(document)?),
            (Type::IntOrString, Document::String(text)) => Some(text.to_string().into()),
            (Type::IntOrString, Document::Number(text)) => match text.parse::<i32>() {
                Ok(number) => Some(number.into()),
                Err(_) => return Err(self.type_error(&format!("number {text}"), "int32")),
            },
            (Type::IntOrString, other) => return Err(self.type_error(other.kind(), "int32")),
            (Type::Any, other) => Some(other.to_value()),
            (Type::SchemaOrList | Type::SchemaOrBool | Type::SchemaOrStrings, _) => {
                self.schema_or(kind, document)?
            }
            (_, other) => {
                self.mismatch(other.kind(), go);
                None
            }
        })
    }

    fn bad_number(&mut self, text: &str, go: GoType<'_>) -> Option<Value> {
        self.mismatch(&format!("number {text}"), go);
        None
    }

    fn list(
        &mut self,
        element: &'static Type,
        items: &[Document<'_>],
        go: GoType<'_>,
    ) -> Result<Value, String> {
        let go = || element_of(&go(), element);
        let mut list = Vec::with_capacity(items.len());
        let length = self.path.len();
        for (index, item) in items.iter().enumerate() {
            self.path.push_str(&format!("[{index}]"));
            let value = self.value(element, item, &go)?;
            self.path.truncate(length);
            list.push(value.unwrap_or_else(|| zero(element)));
        }
        Ok(list.into())
    }

    fn map(
        &mut self,
        element: &'static Type,
        fields: &[(Cow<'_, str>, Document<'_>)],
        go: GoType<'_>,
    ) -> Result<Value, String> {
        let go = || element_of(&go(), element);
        let mut map = Map::new();
        for (key, value) in fields {
            if map.contains_key(key.as_ref()) {
                self.strict("duplicate field", key);
            }
            let length = self.enter(key);
            let value = self.value(element, value, &go)?;
            self.path.truncate(length);
            map.insert(key.to_string(), value.unwrap_or_else(|| zero(element)));
        }
        Ok(map.into())
    }

    fn time(&self, document: &Document<'_>, layout: &str) -> Result<Value, String> {
        let Some(text) = document.as_str() else { return Err(self.type_error(document.kind(), "string")) };
        let time = golang::time(text, layout)?;
        let micro = layout.contains(".000000");
        Ok(format!("{}", time.strftime(if micro { "%Y-%m-%dT%H:%M:%S%.6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" }))
            .into())
    }

    /// Reads a schema of a CRD where a list, a boolean or strings may stand instead. Go reads it with its plain
    /// decoder: what is unknown inside is dropped without a word.
    fn schema_or(&mut self, kind: &Type, document: &Document<'_>) -> Result<Option<Value>, String> {
        let Some(schema) = named("apiextensions.v1.JSONSchemaProps") else { return Ok(None) };
        let props = |document: &Document<'_>| -> Result<Value, String> {
            decode(schema, document).map(|decoded| decoded.object).map_err(|error| error.0)
        };
        Ok(Some(match (kind, document) {
            (_, Document::Object(_)) => props(document)?,
            (Type::SchemaOrBool, Document::Bool(flag)) => (*flag).into(),
            (Type::SchemaOrBool, _) => return Err("boolean or JSON schema expected".to_owned()),
            (Type::SchemaOrList, Document::Array(items)) => {
                items.iter().map(props).collect::<Result<Vec<_>, _>>()?.into()
            }
            (Type::SchemaOrStrings, Document::Array(items)) => {
                let mut list = Vec::new();
                for item in items {
                    match item.as_str() {
                        Some(text) => list.push(Value::from(text)),
                        None => return Err(self.type_error(item.kind(), "string")),
                    }
                }
                list.into()
            }
            _ => return Ok(None),
        }))
    }

    fn duplicates(&mut self, document: &Document<'_>) {
        match document {
            Document::Object(fields) => {
                for (at, (key, value)) in fields.iter().enumerate() {
                    if fields[..at].iter().any(|(earlier, _)| earlier == key) {
                        self.strict("duplicate field", key);
                    }
                    let length = self.enter(key);
                    self.duplicates(value);
                    self.path.truncate(length);
                }
            }
            Document::Array(items) => {
                let length = self.path.len();
                for (index, item) in items.iter().enumerate() {
                    self.path.push_str(&format!("[{index}]"));
                    self.duplicates(item);
                    self.path.truncate(length);
                }
            }
            _ => {}
        }
    }
}

fn quantity(document: &Document<'_>) -> Result<Value, String> {
    let text = match document {
        Document::String(text) | Document::Number(text) => text.trim(),
        Document::Bool(flag) => {
            if *flag {
                "true"
            } else {
                "false"
            }
        }
        _ => "{}",
    };
    Quantity::parse(text).map(|quantity| quantity.to_string().into()).map_err(|error| error.to_string())
}

/// What Go leaves in a list or map for `null`.
fn zero(kind: &Type) -> Value {
    match kind {
        Type::String | Type::Bytes => "".into(),
        Type::Int32 | Type::Int64 | Type::Double | Type::IntOrString => 0.into(),
        Type::Bool => false.into(),
        Type::Quantity => "0".into(),
        Type::Object(_) => Value::Object(Map::new()),
        _ => Value::Null,
    }
}

/// Names the type of a list's or map's elements by the name of the whole.
fn element_of(go: &str, element: &Type) -> String {
    if let Some(rest) = go.strip_prefix("[]") {
        return rest.trim_start_matches('*').to_owned();
    }
    match go.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
        Some((_, rest)) => rest.trim_start_matches('*').to_owned(),
        None => element.go_type(),
    }
}
