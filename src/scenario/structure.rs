//! Text to raw types. What parses is parsed once; what does not is read again as a tree and held against the JSON
//! Schema, so that every unknown key, missing key and wrong type is found at its place and not only the first.

use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, Error, Options, Spanned};

use super::code::Code;
use super::fault::Fault;
use super::raw::{At, RawScenario};
use super::schema::schema;
use crate::diag::closest;

/// Parses a rendered `scenario.yaml`, or finds every fault of its structure.
pub(crate) fn parse(text: &str) -> Result<RawScenario, Vec<Fault>> {
    parse_as(text, schema())
}

/// Parses a file of another format that people write, or finds every fault of its structure by its schema.
pub(crate) fn parse_as<T: DeserializeOwned>(text: &str, schema: &'static Value) -> Result<T, Vec<Fault>> {
    let error = match serde_saphyr::from_str_with_options::<T>(text, options()) {
        Ok(raw) => return Ok(raw),
        Err(error) => error,
    };
    let mut faults = faults(text, schema);
    if faults.is_empty() {
        faults.push(fault(&error));
    }
    faults.sort_by_key(|fault| fault.at);
    Err(faults)
}

/// Parses a part of the file by itself.
pub(crate) fn parse_part<T: DeserializeOwned>(text: &str) -> Result<T, Fault> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| fault(&error))
}

/// Parses the documents of a Kubernetes manifest, empty ones left out, as kubectl reads them.
pub(crate) fn parse_manifest(text: &str) -> Result<Vec<Spanned<Value>>, Fault> {
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options::<Spanned<Value>>(text, options)
        .map(|documents| documents.into_iter().filter(|document| !document.value.is_null()).collect())
        .map_err(|error| fault(&error))
}

/// Far above what a scenario needs, far below what hurts.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: 1,
            max_nodes: 50_000,
            max_events: 200_000,
            max_depth: 64,
            max_total_scalar_bytes: 4_000_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 20_000,
            max_replay_stack_depth: 16,
        },
        strict_booleans: true,
        with_snippet: false,
    }
}

fn fault(error: &Error) -> Fault {
    let error = error.without_snippet();
    let at = error.location().map_or(At::START, At::from);
    let code = match error {
        Error::AliasError { error, .. } => return Fault { at, ..fault(error) },
        Error::Budget { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::RecursiveReferencesRequireWeakTypes { .. } => Code::YamlBomb,
        Error::DuplicateMappingKey { .. } => Code::DuplicateKey,
        Error::SerdeUnknownField { field, expected, .. } => {
            return Fault::new(Code::UnknownField, at, format!("unknown key `{field}`"))
                .help(format!("the keys are {}", expected.join(", ")))
                .suggest(closest(field, expected.iter().copied()));
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            return Fault::new(Code::UnknownValue, at, format!("unknown value `{variant}`"))
                .help(format!("one of {}", expected.join(", ")))
                .suggest(closest(variant, expected.iter().copied()));
        }
        Error::SerdeMissingField { field, .. } => {
            return Fault::new(Code::MissingField, at, format!("the key `{field}` is missing"));
        }
        Error::Message { .. }
        | Error::Unexpected { .. }
        | Error::InvalidBooleanStrict { .. }
        | Error::NullIntoString { .. }
        | Error::InvalidScalar { .. }
        | Error::SerdeInvalidType { .. }
        | Error::SerdeInvalidValue { .. }
        | Error::SerdeInvalidLength { .. }
        | Error::ExternallyTaggedEnumExpectedScalarOrMapping { .. }
        | Error::ExpectedStringKeyForExternallyTaggedEnum { .. }
        | Error::ExpectedMappingEndAfterEnumVariantValue { .. }
        | Error::UnexpectedValueForUnit { .. } => Code::WrongType,
        _ => Code::YamlSyntax,
    };
    let text = error.to_string();
    let message = text.lines().next().unwrap_or_default();
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    Fault::new(code, at, message)
}

/// Reads the text as a tree and holds it against the schema.
fn faults(text: &str, schema: &'static Value) -> Vec<Fault> {
    let mut options = options();
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    let mut walk = Walk { defs: &EMPTY, faults: Vec::new() };
    match serde_saphyr::from_str_with_options::<Spanned<Node>>(text, options) {
        Ok(root) => {
            if let Some(Value::Object(defs)) = schema.get("$defs") {
                walk.defs = defs;
            }
            walk.check(&root, schema);
            walk.faults
        }
        Err(error) => vec![fault(&error)],
    }
}

static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// A YAML tree that keeps its places and its duplicate keys.
#[derive(Debug)]
enum Node {
    Null,
    Bool(bool),
    Integer(i128),
    Float,
    Text(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl Node {
    fn describe(&self) -> String {
        match self {
            Self::Null => "nothing".to_owned(),
            Self::Bool(value) => format!("`{value}`"),
            Self::Integer(value) => format!("the number {value}"),
            Self::Float => "a number with a fraction".to_owned(),
            Self::Text(text) if text.len() <= 40 && !text.contains('\n') => format!("the text `{text}`"),
            Self::Text(_) => "a text".to_owned(),
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NodeVisitor;

        impl<'de> Visitor<'de> for NodeVisitor {
            type Value = Node;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("any YAML")
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_none<E>(self) -> Result<Node, E> {
                Ok(Node::Null)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
                Node::deserialize(deserializer)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
                Ok(Node::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
                Ok(Node::Integer(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
                Ok(Node::Integer(value.into()))
            }

            fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
                Ok(Node::Integer(value))
            }

            fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Float)
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = access.next_element()? {
                    items.push(item);
                }
                Ok(Node::List(items))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = access.next_entry()? {
                    entries.push(entry);
                }
                Ok(Node::Map(entries))
            }
        }

        deserializer.deserialize_any(NodeVisitor)
    }
}

struct Walk<'s> {
    defs: &'s Map<String, Value>,
    faults: Vec<Fault>,
}

impl<'s> Walk<'s> {
    fn push(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Follows references; gives the definition's name beside it.
    fn resolve(&self, mut schema: &'s Value) -> (&'s str, &'s Value) {
        let mut name = "";
        while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            name = reference.rsplit('/').next().unwrap_or_default();
            match self.defs.get(name) {
                Some(found) => schema = found,
                None => break,
            }
        }
        (name, schema)
    }

    fn check(&mut self, node: &Spanned<Node>, schema: &'s Value) {
        let at = At::from(node.referenced);
        let (name, schema) = self.resolve(schema);
        if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
            // An optional value: `anyOf` the value or null.
            if let ([only], true) = (&without_null(options)[..], options.len() == 2)
                && !matches!(node.value, Node::Null)
            {
                self.check(node, only);
            }
            return;
        }
        if let Some(options) = schema.get("oneOf").and_then(Value::as_array) {
            self.one_of(node, options, at);
            return;
        }
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(only)) => vec![only],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => return,
        };
        if types.contains(&"null") && matches!(node.value, Node::Null) {
            return;
        }
        match (types.first().copied().unwrap_or_default(), &node.value) {
            ("object", Node::Map(entries)) => self.map(entries, schema, at),
            ("array", Node::List(items)) => {
                if let Some(schema) = schema.get("items") {
                    items.iter().for_each(|item| self.check(item, schema));
                }
            }
            // Texts need no quotes: `name: 7` is the text `7`.
            ("string", Node::Text(_) | Node::Bool(_) | Node::Integer(_) | Node::Float) => {
                if let (Some(options), Node::Text(text)) =
                    (schema.get("enum").and_then(Value::as_array), &node.value)
                {
                    self.one_text(text, options, name, at);
                }
            }
            ("boolean", Node::Bool(value)) => {
                if schema.get("const").is_some_and(|only| only != value) {
                    self.wrong_type(at, "`true`", &node.value);
                }
            }
            ("integer", Node::Integer(value)) => {
                let bound = |key: &str| schema.get(key).and_then(Value::as_i64).map(i128::from);
                let low = bound("minimum").is_some_and(|least| *value < least);
                let high = bound("maximum").is_some_and(|most| *value > most)
                    || (schema.get("format").and_then(Value::as_str) == Some("uint32")
                        && *value > i128::from(u32::MAX));
                if low || high {
                    let expected = if low { "a whole number from 0" } else { "a smaller number" };
                    self.wrong_type(at, expected, &node.value);
                }
            }
            ("number", Node::Integer(_) | Node::Float) => {}
            (expected, _) => {
                let expected = match expected {
                    "object" => "a map",
                    "array" => "a list",
                    "string" => "a text",
                    "boolean" => "`true` or `false`",
                    "integer" => "a whole number",
                    _ => "a number",
                };
                self.wrong_type(at, expected, &node.value);
            }
        }
    }

    fn wrong_type(&mut self, at: At, expected: &str, found: &Node) {
        self.push(Fault::new(
            Code::WrongType,
            at,
            format!("expected {expected}, found {}", found.describe()),
        ));
    }

    fn map(&mut self, entries: &[(Spanned<String>, Spanned<Node>)], schema: &'s Value, at: At) {
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&EMPTY);
        let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        for (position, (key, value)) in entries.iter().enumerate() {
            if entries[..position].iter().any(|(before, _)| before.value == key.value) {
                let at = At::from(key.referenced);
                self.push(Fault::new(
                    Code::DuplicateKey,
                    at,
                    format!("the key `{}` is there twice", key.value),
                ));
            } else if let Some(schema) = properties.get(&key.value) {
                self.check(value, schema);
            } else if closed {
                let at = At::from(key.referenced);
                let known = || properties.keys().map(String::as_str);
                self.push(
                    Fault::new(Code::UnknownField, at, format!("unknown key `{}`", key.value))
                        .help(format!("the keys are {}", known().collect::<Vec<_>>().join(", ")))
                        .suggest(closest(&key.value, known())),
                );
            } else if let Some(schema @ Value::Object(_)) = schema.get("additionalProperties") {
                self.check(value, schema);
            }
        }
        let required =
            schema.get("required").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for key in required.iter().filter_map(Value::as_str) {
            if !entries.iter().any(|(found, _)| found.value == key) {
                self.push(Fault::new(Code::MissingField, at, format!("the key `{key}` is missing")));
            }
        }
    }

    /// A choice: texts, and maps of one key that names what is chosen.
    fn one_of(&mut self, node: &Spanned<Node>, options: &'s [Value], at: At) {
        let mut texts: Vec<&str> = Vec::new();
        let mut tags: Vec<(&str, &Value)> = Vec::new();
        for option in options {
            if let Some(text) = option.get("const").and_then(Value::as_str) {
                texts.push(text);
            } else if let Some(several) = option.get("enum").and_then(Value::as_array) {
                texts.extend(several.iter().filter_map(Value::as_str));
            } else if let Some(properties) = option.get("properties").and_then(Value::as_object) {
                tags.extend(properties.iter().map(|(tag, schema)| (tag.as_str(), schema)));
            } else {
                // A shape that this walk does not know; the typed parser judges it.
                return;
            }
        }
        let all = || texts.iter().chain(tags.iter().map(|(tag, _)| tag)).copied();
        let unknown = |found: &str, at: At| {
            Fault::new(Code::UnknownValue, at, format!("unknown value `{found}`"))
                .help(format!("one of {}", all().collect::<Vec<_>>().join(", ")))
                .suggest(closest(found, all()))
        };
        match &node.value {
            Node::Text(text) if texts.contains(&text.as_str()) => {}
            Node::Text(text) if tags.iter().any(|(tag, _)| tag == text) => {
                self.push(Fault::new(Code::WrongType, at, format!("`{text}` needs a value: `{text}: …`")));
            }
            Node::Text(text) => self.push(unknown(text, at)),
            Node::Map(entries) if !tags.is_empty() => match &entries[..] {
                [(key, value)] => match tags.iter().find(|(tag, _)| *tag == key.value) {
                    Some((_, schema)) => self.check(value, schema),
                    None => self.push(unknown(&key.value, At::from(key.referenced))),
                },
                _ => {
                    let message = format!("expected a map of one key, found one of {}", entries.len());
                    let names = all().collect::<Vec<_>>().join(", ");
                    self.push(Fault::new(Code::WrongType, at, message).help(format!("one of {names}")));
                }
            },
            other => {
                let names = all().collect::<Vec<_>>().join(", ");
                self.wrong_type(at, &format!("one of {names}"), other);
            }
        }
    }

    fn one_text(&mut self, text: &str, options: &[Value], definition: &str, at: At) {
        let known = || options.iter().filter_map(Value::as_str);
        if known().any(|option| option == text) {
            return;
        }
        let (code, what) = match definition {
            "TopicId" => (Code::UnknownTopic, "topic"),
            "ResourceId" => (Code::UnknownResource, "resource"),
            _ => (Code::UnknownValue, "value"),
        };
        let mut fault = Fault::new(code, at, format!("unknown {what} `{text}`"));
        if options.len() <= 40 {
            fault = fault.help(format!("one of {}", known().collect::<Vec<_>>().join(", ")));
        }
        self.push(fault.suggest(closest(text, known())));
    }
}

fn without_null(options: &[Value]) -> Vec<&Value> {
    options.iter().filter(|option| option.get("type") != Some(&"null".into())).collect()
}

#[cfg(test)]
mod tests;
