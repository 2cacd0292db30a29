//! The fields of the built-in types: JSON type, what Go writes when they are empty, protobuf numbers, how lists and
//! maps merge. One table for decoding, patches, server-side apply and protobuf. Knows no values and no validation.

use std::collections::HashMap;
use std::sync::LazyLock;

pub mod conform;
pub mod decode;
pub mod document;
pub(crate) mod golang;
mod normalize;

pub use normalize::normalize;

/// A type with its fields.
#[derive(Debug)]
pub struct Schema {
    /// The short name: `core.v1.Pod`, `meta.v1.ObjectMeta`.
    pub name: &'static str,
    /// Whether server-side apply owns it as one value.
    pub atomic: bool,
    /// The fields, sorted by name.
    pub fields: Vec<Field>,
    kinds: Vec<(&'static str, &'static str, &'static str)>,
}

/// A field of a type.
#[derive(Debug)]
pub struct Field {
    /// The name in JSON.
    pub name: &'static str,
    /// What it holds.
    pub kind: Type,
    /// Whether the API document requires it.
    pub required: bool,
    /// Whether Go leaves it out when it is empty.
    pub omit_empty: bool,
    /// Whether it is a pointer in Go: zero is then not empty.
    pub pointer: bool,
    /// The protobuf numbers that lead to it; more than one where Go embeds a struct.
    pub numbers: Vec<u32>,
    /// How server-side apply treats it.
    pub apply: Apply,
    /// How a strategic merge patch treats it.
    pub patch: Patch,
    /// The values, where they are enumerated.
    pub values: Vec<&'static str>,
    /// Whether upstream says of each value what it means.
    pub values_documented: bool,
    go: Option<&'static str>,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// A string.
    String,
    /// A 32-bit integer.
    Int32,
    /// A 64-bit integer.
    Int64,
    /// A boolean.
    Bool,
    /// A floating-point number.
    Double,
    /// Bytes, in base64.
    Bytes,
    /// A time to the second.
    Time,
    /// A time to the microsecond.
    MicroTime,
    /// A resource quantity.
    Quantity,
    /// A number or a string.
    IntOrString,
    /// Anything: a raw extension, or any JSON.
    Any,
    /// A JSON schema, or a list of them.
    SchemaOrList,
    /// A JSON schema, or a boolean.
    SchemaOrBool,
    /// A JSON schema, or a list of strings.
    SchemaOrStrings,
    /// A struct.
    Object(SchemaId),
    /// A list.
    List(Box<Type>),
    /// A map with string keys.
    Map(Box<Type>),
}

/// The place of a type in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SchemaId(u16);

/// How server-side apply treats a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Apply {
    /// As its type says: lists as one value, maps and structs field by field.
    Default,
    /// As one value.
    Atomic,
    /// Field by field, though the type says otherwise.
    Granular,
    /// A list as a set of scalars.
    Set,
    /// A list by keys; each with the value that stands for a missing one.
    Keys(Vec<(&'static str, Option<&'static str>)>),
}

/// How a strategic merge patch treats a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patch {
    /// Whether a list is merged with what is there.
    pub merge: bool,
    /// Whether `$retainKeys` is understood.
    pub retain_keys: bool,
    /// Whether the value is replaced, though it is a map.
    pub replace: bool,
    /// The key by which items of a merged list are told apart; none for a list of scalars.
    pub key: Option<&'static str>,
}

struct Table {
    schemas: Vec<Schema>,
    by_name: HashMap<&'static str, SchemaId>,
    by_kind: HashMap<(&'static str, &'static str, &'static str), SchemaId>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| parse(include_str!("schema/builtin.tsv")));

const API_PREFIXES: [(&str, &str); 4] = [
    ("meta.", "io.k8s.apimachinery.pkg.apis.meta."),
    ("pkg.", "io.k8s.apimachinery.pkg."),
    ("apiextensions.", "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions."),
    ("apiregistration.", "io.k8s.kube-aggregator.pkg.apis.apiregistration."),
];

/// Finds the type of a built-in kind.
pub fn of(group: &str, version: &str, kind: &str) -> Option<&'static Schema> {
    TABLE.by_kind.get(&(group, version, kind)).map(|id| id.get())
}

/// Finds a type by its short name, such as `core.v1.PodSpec`.
pub fn named(name: &str) -> Option<&'static Schema> {
    TABLE.by_name.get(name).map(|id| id.get())
}

/// Finds a type by its name in the API document, such as `io.k8s.api.core.v1.PodSpec`.
pub fn by_openapi_name(name: &str) -> Option<&'static Schema> {
    if let Some(rest) = name.strip_prefix("io.k8s.api.") {
        return named(rest);
    }
    API_PREFIXES.iter().find_map(|(short, long)| named(&format!("{short}{}", name.strip_prefix(long)?)))
}

/// Returns every type.
pub fn all() -> &'static [Schema] {
    &TABLE.schemas
}

impl SchemaId {
    /// Returns the type.
    pub fn get(self) -> &'static Schema {
        &TABLE.schemas[usize::from(self.0)]
    }
}

impl Schema {
    /// Finds a field.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|field| field.name.cmp(name)).ok().map(|at| &self.fields[at])
    }

    /// Returns the name of the type alone: `PodSpec`.
    pub fn go_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    /// Returns the name in the API document: `io.k8s.api.core.v1.PodSpec`.
    pub fn openapi_name(&self) -> String {
        let known = API_PREFIXES
            .iter()
            .find_map(|(short, long)| self.name.strip_prefix(short).map(|rest| format!("{long}{rest}")));
        known.unwrap_or_else(|| format!("io.k8s.api.{}", self.name))
    }

    /// Returns the kinds that the type is: group, version, kind.
    pub fn kinds(&self) -> &[(&'static str, &'static str, &'static str)] {
        &self.kinds
    }
}

impl Field {
    /// Tells whether Go writes the field whatever it holds.
    pub fn always_written(&self) -> bool {
        !self.omit_empty || (!self.pointer && self.kind.is_struct())
    }

    /// Names the Go type of the field, as its decoder does.
    fn go_type(&self) -> String {
        self.go.map_or_else(|| self.kind.go_type(), str::to_owned)
    }
}

impl Type {
    /// Returns the struct that the type is.
    pub fn schema(&self) -> Option<&'static Schema> {
        match self {
            Self::Object(id) => Some(id.get()),
            _ => None,
        }
    }

    /// Returns what a list or map holds.
    pub fn element(&self) -> Option<&Type> {
        match self {
            Self::List(element) | Self::Map(element) => Some(element),
            _ => None,
        }
    }

    /// Tells whether Go's type is a struct, which `omitempty` never leaves out.
    fn is_struct(&self) -> bool {
        matches!(
            self,
            Self::Object(_) | Self::Time | Self::MicroTime | Self::Quantity | Self::IntOrString | Self::Any
        )
    }

    fn go_type_of(schema: &Schema) -> String {
        let mut dots = schema.name.rmatch_indices('.').map(|(at, _)| at);
        dots.nth(1).map_or(schema.name, |at| &schema.name[at + 1..]).to_owned()
    }

    fn go_type(&self) -> String {
        match self {
            Self::String => "string".to_owned(),
            Self::Int32 => "int32".to_owned(),
            Self::Int64 => "int64".to_owned(),
            Self::Bool => "bool".to_owned(),
            Self::Double => "float64".to_owned(),
            Self::Bytes => "[]uint8".to_owned(),
            Self::Time => "v1.Time".to_owned(),
            Self::MicroTime => "v1.MicroTime".to_owned(),
            Self::Quantity => "resource.Quantity".to_owned(),
            Self::IntOrString => "intstr.IntOrString".to_owned(),
            Self::Any => "runtime.RawExtension".to_owned(),
            Self::SchemaOrList => "v1.JSONSchemaPropsOrArray".to_owned(),
            Self::SchemaOrBool => "v1.JSONSchemaPropsOrBool".to_owned(),
            Self::SchemaOrStrings => "v1.JSONSchemaPropsOrStringArray".to_owned(),
            Self::Object(id) => Self::go_type_of(id.get()),
            Self::List(element) => format!("[]{}", element.go_type()),
            Self::Map(element) => format!("map[string]{}", element.go_type()),
        }
    }
}

fn parse(text: &'static str) -> Table {
    let lines = || text.lines().filter(|line| !line.starts_with('#'));
    let mut by_name = HashMap::new();
    for (at, line) in lines().filter(|line| !line.starts_with('\t')).enumerate() {
        let id = SchemaId(u16::try_from(at).unwrap_or(u16::MAX));
        by_name.insert(line.split('\t').next().unwrap_or(line), id);
    }
    let mut schemas: Vec<Schema> = Vec::with_capacity(by_name.len());
    let mut by_kind = HashMap::new();
    for line in lines() {
        let mut columns = line.split('\t');
        let mut next = || columns.next().unwrap_or_default();
        let first = next();
        if !first.is_empty() {
            let atomic = next() == "atomic";
            let kinds: Vec<_> = next().split(' ').filter_map(kind).collect();
            for kind in &kinds {
                by_kind.insert(*kind, by_name[first]);
            }
            schemas.push(Schema { name: first, atomic, fields: Vec::new(), kinds });
            continue;
        }
        let name = next();
        let kind = type_of(next(), &by_name);
        let flags = next();
        let numbers = next().split('.').filter_map(|n| n.parse().ok()).collect();
        let apply = apply_of(next());
        let patch = patch_of(next());
        let go = Some(next()).filter(|go| !go.is_empty());
        let values = next();
        let plain = values.trim_start_matches('!');
        let field = Field {
            name,
            kind,
            required: flags.contains('r'),
            omit_empty: flags.contains('o'),
            pointer: flags.contains('p'),
            numbers,
            apply,
            patch,
            values: if plain.is_empty() { Vec::new() } else { plain.split('|').collect() },
            values_documented: plain == values,
            go,
        };
        if let Some(schema) = schemas.last_mut() {
            schema.fields.push(field);
        }
    }
    Table { schemas, by_name, by_kind }
}

fn kind(text: &'static str) -> Option<(&'static str, &'static str, &'static str)> {
    let (group_version, kind) = text.rsplit_once('/')?;
    let (group, version) = group_version.split_once('/')?;
    Some((group, version, kind))
}

fn type_of(text: &str, by_name: &HashMap<&'static str, SchemaId>) -> Type {
    if let Some(element) = text.strip_prefix("[]") {
        return Type::List(Box::new(type_of(element, by_name)));
    }
    if let Some(element) = text.strip_prefix("{}") {
        return Type::Map(Box::new(type_of(element, by_name)));
    }
    match text {
        "string" => Type::String,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "bool" => Type::Bool,
        "double" => Type::Double,
        "bytes" => Type::Bytes,
        "time" => Type::Time,
        "microtime" => Type::MicroTime,
        "quantity" => Type::Quantity,
        "intOrString" => Type::IntOrString,
        "schemaOrList" => Type::SchemaOrList,
        "schemaOrBool" => Type::SchemaOrBool,
        "schemaOrStrings" => Type::SchemaOrStrings,
        name => by_name.get(name).map_or(Type::Any, |id| Type::Object(*id)),
    }
}

fn apply_of(text: &'static str) -> Apply {
    match text {
        "" => Apply::Default,
        "atomic" => Apply::Atomic,
        "granular" => Apply::Granular,
        "set" => Apply::Set,
        keys => {
            let keys = keys.trim_start_matches("map:").split(',');
            Apply::Keys(
                keys.map(|key| key.split_once('=').map_or((key, None), |(k, d)| (k, Some(d)))).collect(),
            )
        }
    }
}

fn patch_of(text: &'static str) -> Patch {
    let (strategies, key) = text.split_once(':').map_or((text, None), |(s, key)| (s, Some(key)));
    let has = |strategy: &str| strategies.split(',').any(|s| s == strategy);
    Patch { merge: has("merge"), retain_keys: has("retainKeys"), replace: has("replace"), key }
}

#[cfg(test)]
mod tests;
