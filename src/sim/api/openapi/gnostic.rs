//! Writes an OpenAPI v2 document in the protobuf form of gnostic (openapi.v2.Document), of which it knows the parts that
//! Kubernetes clients read: definitions, and the operations on paths with their parameters and extensions.

use serde_json::{Map, Value};

use crate::sim::object::Fields as _;

/// Encodes a document.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, document.text("swagger"));
    let mut info = Message::default();
    info.text(1, document.at("info").text("title"));
    info.text(2, document.at("info").text("version"));
    out.message(2, &info);
    let mut paths = Message::default();
    for (path, item) in document.entries("paths") {
        paths.named(2, path, &path_item(item));
    }
    out.message(8, &paths);
    let mut definitions = Message::default();
    for (name, definition) in document.entries("definitions") {
        definitions.named(1, name, &schema(definition));
    }
    out.message(9, &definitions);
    out.0
}

/// A message as it is written, field by field.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(u8::try_from(value & 0x7f).unwrap_or_default() | 0x80);
            value >>= 7;
        }
        self.0.push(u8::try_from(value).unwrap_or_default());
    }

    fn bytes(&mut self, number: u64, bytes: &[u8]) {
        self.varint(number << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, number: u64, text: &str) {
        if !text.is_empty() {
            self.bytes(number, text.as_bytes());
        }
    }

    fn texts(&mut self, number: u64, texts: &[&str]) {
        texts.iter().for_each(|text| self.bytes(number, text.as_bytes()));
    }

    fn flag(&mut self, number: u64, flag: Option<bool>) {
        if flag == Some(true) {
            self.varint(number << 3);
            self.varint(1);
        }
    }

    fn message(&mut self, number: u64, message: &Message) {
        self.bytes(number, &message.0);
    }

    /// Writes an entry of a list of pairs: a name, and a message that belongs to it.
    fn named(&mut self, number: u64, name: &str, message: &Message) {
        let mut pair = Message::default();
        pair.text(1, name);
        pair.message(2, message);
        self.message(number, &pair);
    }

    fn extensions(&mut self, number: u64, holder: &Value) {
        let Value::Object(map) = holder else { return };
        for (name, value) in map.iter().filter(|(name, _)| name.starts_with("x-")) {
            self.named(number, name, &any(value));
        }
    }
}

/// Any value is sent as YAML; JSON is YAML.
fn any(value: &Value) -> Message {
    let mut out = Message::default();
    out.text(2, &format!("{value}\n"));
    out
}

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    for (number, method) in [(3, "put"), (4, "post"), (8, "patch")] {
        if item.has(method) {
            out.message(number, &operation(item.at(method)));
        }
    }
    out
}

fn operation(operation: &Value) -> Message {
    let mut out = Message::default();
    out.texts(6, &operation.texts("produces"));
    out.texts(7, &operation.texts("consumes"));
    for given in operation.items("parameters") {
        let mut item = Message::default();
        item.message(1, &parameter(given));
        out.message(8, &item);
    }
    let mut responses = Message::default();
    for (code, response) in operation.entries("responses") {
        let (mut inner, mut value) = (Message::default(), Message::default());
        inner.text(1, response.text("description"));
        value.message(1, &inner);
        responses.named(1, code, &value);
    }
    out.message(9, &responses);
    out.extensions(13, operation);
    out
}

fn parameter(given: &Value) -> Message {
    let mut out = Message::default();
    let mut inner = Message::default();
    if given.text("in") == "body" {
        inner.text(2, given.text("name"));
        inner.text(3, "body");
        inner.flag(4, given.truth("required"));
        inner.message(5, &schema(given.at("schema")));
        out.message(1, &inner);
        return out;
    }
    inner.text(2, given.text("in"));
    inner.text(4, given.text("name"));
    inner.text(6, given.text("type"));
    inner.flag(20, given.truth("uniqueItems"));
    let mut other = Message::default();
    other.message(3, &inner);
    out.message(2, &other);
    out
}

fn schema(schema: &Value) -> Message {
    let mut out = Message::default();
    out.text(1, schema.text("$ref"));
    out.text(2, schema.text("format"));
    out.text(4, schema.text("description"));
    out.texts(19, &schema.texts("required"));
    for value in schema.items("enum") {
        out.message(20, &any(value));
    }
    if let Value::Object(_) = schema.at("additionalProperties") {
        let mut item = Message::default();
        item.message(1, &self::schema(schema.at("additionalProperties")));
        out.message(21, &item);
    }
    if let Value::String(kind) = schema.at("type") {
        let mut item = Message::default();
        item.text(1, kind);
        out.message(22, &item);
    }
    if let Value::Object(_) = schema.at("items") {
        let mut item = Message::default();
        item.message(1, &self::schema(schema.at("items")));
        out.message(23, &item);
    }
    if let Value::Object(fields) = schema.at("properties") {
        out.message(25, &properties(fields));
    }
    out.extensions(31, schema);
    out
}

fn properties(fields: &Map<String, Value>) -> Message {
    let mut out = Message::default();
    for (name, field) in fields {
        out.named(1, name, &schema(field));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_document_is_written_by_the_numbers_of_gnostic() {
        let document = json!({ "swagger": "2.0", "info": { "title": "K", "version": "1" },
            "paths": {}, "definitions": { "A": { "type": "string" } } });
        let expected = [
            b"\x0a\x032.0".as_slice(),
            b"\x12\x06\x0a\x01K\x12\x011",
            b"\x42\x00",
            b"\x4a\x12\x0a\x10\x0a\x01A\x12\x0b\xb2\x01\x08\x0a\x06string",
        ];
        assert_eq!(encode(&document), expected.concat());
    }
}
