//! The shape that an OpenAPI schema gives to JSON: how names are escaped, which texts are times, which lists are sets.
//! Made from the schema of a custom resource; built-in objects are read without.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::library::time;
use super::types::Type;
use super::value::{Text, Val};

/// What JSON at one place is by its schema.
#[derive(Debug, Clone)]
pub struct Shape {
    pub(super) kind: Kind,
    /// Fields by their escaped names, with their own names.
    fields: BTreeMap<String, (String, Shape)>,
    /// What items of a list or values of a map are.
    inner: Option<Box<Shape>>,
    /// The list is a set, or is told apart by keys: order does not count.
    unordered: bool,
}

/// The sorts of JSON that expressions tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything; nothing is known of what is within.
    Any,
    Bool,
    Int,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List,
    Map,
    Object,
}

impl Shape {
    /// Reads a schema. What expressions cannot see, such as fields that are only preserved, is left out.
    pub fn of(schema: &Value) -> Self {
        Self::read_schema(schema, false)
    }

    /// Reads the schema of a whole object, which has `apiVersion`, `kind` and the names in `metadata` in any case.
    pub fn of_root(schema: &Value) -> Self {
        Self::read_schema(schema, true)
    }

    fn read_schema(schema: &Value, root: bool) -> Self {
        let mut shape = Self { kind: Kind::Any, fields: BTreeMap::new(), inner: None, unordered: false };
        if schema["x-kubernetes-int-or-string"] == true {
            return shape;
        }
        let embedded = root || schema["x-kubernetes-embedded-resource"] == true;
        shape.kind = match schema["type"].as_str() {
            Some("boolean") => Kind::Bool,
            Some("integer") => Kind::Int,
            Some("number") => Kind::Double,
            Some("string") => match schema["format"].as_str() {
                Some("byte") => Kind::Bytes,
                Some("date" | "date-time") => Kind::Timestamp,
                Some("duration") => Kind::Duration,
                _ => Kind::String,
            },
            Some("array") => Kind::List,
            Some("object") if schema["additionalProperties"].is_object() => Kind::Map,
            Some("object") if schema["properties"].is_object() || embedded => Kind::Object,
            // An object without properties has no fields that could be selected.
            Some("object") => Kind::Object,
            _ => Kind::Any,
        };
        match shape.kind {
            Kind::List => {
                shape.inner = Some(Box::new(Self::of(&schema["items"])));
                let list_type = schema["x-kubernetes-list-type"].as_str();
                shape.unordered = matches!(list_type, Some("set" | "map"));
            }
            Kind::Map => shape.inner = Some(Box::new(Self::of(&schema["additionalProperties"]))),
            Kind::Object => {
                for (name, property) in schema["properties"].as_object().into_iter().flatten() {
                    if let Some(escaped) = escape(name) {
                        shape.fields.insert(escaped, (name.clone(), Self::of(property)));
                    }
                }
                if embedded {
                    shape.embed();
                }
            }
            _ => {}
        }
        shape
    }

    /// Adds what every object has.
    fn embed(&mut self) {
        let text = || Self { kind: Kind::String, fields: BTreeMap::new(), inner: None, unordered: false };
        for name in ["apiVersion", "kind"] {
            self.fields.insert(name.to_owned(), (name.to_owned(), text()));
        }
        let mut metadata =
            Self { kind: Kind::Object, fields: BTreeMap::new(), inner: None, unordered: false };
        for name in ["name", "generateName"] {
            metadata.fields.insert(name.to_owned(), (name.to_owned(), text()));
        }
        self.fields.insert("metadata".to_owned(), ("metadata".to_owned(), metadata));
    }

    /// Returns the shape of a property by its own name.
    pub fn property(&self, name: &str) -> Option<&Shape> {
        self.fields.values().find(|(real, _)| real == name).map(|(_, shape)| shape)
    }

    /// Returns the shape of items or values.
    pub fn inner(&self) -> Option<&Shape> {
        self.inner.as_deref()
    }

    /// Returns the type that the checker reasons with; `name` names objects in messages.
    pub fn type_of(&self, name: &str) -> Type {
        let inner = |suffix: &str| {
            self.inner.as_ref().map_or(Type::Dyn, |inner| inner.type_of(&format!("{name}{suffix}")))
        };
        match self.kind {
            Kind::Any => Type::Dyn,
            Kind::Bool => Type::Bool,
            Kind::Int => Type::Int,
            Kind::Double => Type::Double,
            Kind::String => Type::String,
            Kind::Bytes => Type::Bytes,
            Kind::Timestamp => Type::Timestamp,
            Kind::Duration => Type::Duration,
            Kind::List => Type::list(inner(".@idx")),
            Kind::Map => Type::map(Type::String, inner(".@elem")),
            Kind::Object => Type::object(
                name,
                self.fields.iter().map(|(escaped, (_, shape))| {
                    (escaped.clone(), shape.type_of(&format!("{name}.{escaped}")))
                }),
            ),
        }
    }

    pub(super) fn item(&self) -> Option<&Shape> {
        self.inner.as_deref()
    }

    pub(super) fn is_set(&self) -> bool {
        self.unordered
    }

    /// Finds a field by the name that the expression uses; returns its own name, where that is another.
    pub(super) fn field(&self, name: &str) -> Option<(Option<&str>, Option<&Shape>)> {
        match self.kind {
            Kind::Object => self.fields.get(name).map(|(real, shape)| (Some(real.as_str()), Some(shape))),
            Kind::Map => Some((None, self.inner.as_deref())),
            _ => Some((None, None)),
        }
    }

    /// Returns the name under which an expression sees a field.
    pub(super) fn name_of<'a>(&'a self, real: &'a str) -> Option<Text<'a>> {
        if self.kind != Kind::Object {
            return Some(Text::Borrowed(real));
        }
        let (escaped, _) = self.fields.iter().find(|(_, (known, _))| known == real)?;
        Some(Text::Borrowed(escaped))
    }

    /// Reads a text that stands for something else.
    pub(super) fn read<'a>(&self, text: &str) -> Option<Val<'a>> {
        match self.kind {
            Kind::Timestamp if text.len() == 10 => {
                time::parse_timestamp(&format!("{text}T00:00:00Z")).map(Val::Timestamp)
            }
            Kind::Timestamp => time::parse_timestamp(text).map(Val::Timestamp),
            Kind::Duration => time::parse_duration(text).map(Val::Duration),
            Kind::Bytes => {
                use base64::Engine as _;
                let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
                Some(Val::Bytes(Arc::from(bytes)))
            }
            _ => None,
        }
    }
}

/// Names that CEL keeps for itself.
pub const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Writes a property's name as expressions must: reserved words and signs that no identifier has are escaped. `None`
/// for names that cannot be written at all.
pub fn escape(name: &str) -> Option<String> {
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let written = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/'));
    if !starts || !written {
        return None;
    }
    let escaped = name
        .replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__");
    Some(escaped)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_that_are_no_identifiers_are_escaped() {
        for (name, escaped) in [
            ("a.b/c-d", Some("a__dot__b__slash__c__dash__d")),
            ("namespace", Some("__namespace__")),
            ("a__b", Some("a__underscores__b")),
            ("9a", None),
            ("a b", None),
            ("plain", Some("plain")),
        ] {
            assert_eq!(escape(name).as_deref(), escaped, "{name}");
        }
    }

    #[test]
    fn the_root_has_its_names_and_nothing_undeclared() {
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}});
        let t = Shape::of_root(&schema).type_of("self");
        let Type::Object(root) = &t else { panic!("{t}") };
        assert_eq!(root.fields.keys().collect::<Vec<_>>(), ["apiVersion", "kind", "metadata", "spec"]);
    }
}
