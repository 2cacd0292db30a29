//! How large JSON of a schema can be, by its own bounds or by the longest request: what costs are estimated from. By the
//! rules of k8s.io/apiserver/pkg/cel/common.

use std::collections::BTreeMap;

use serde_json::Value;

use super::shape::escape;

/// The longest request that is taken, in bytes.
const LONGEST_REQUEST: u64 = 3 * 1024 * 1024;
/// A text takes quotation marks.
const LONGEST_TEXT: u64 = LONGEST_REQUEST - 2;
/// A character takes up to four bytes.
const CHARACTER: u64 = 4;

/// The bounds of what one place of a schema holds.
#[derive(Debug, Clone, Default)]
pub struct Sizes {
    /// How many items, entries or bytes there are at most; zero where that is no question.
    pub(super) most: u64,
    /// The least bytes that it takes in a request.
    least_bytes: u64,
    fields: BTreeMap<String, Sizes>,
    keys: Option<Box<Sizes>>,
    inner: Option<Box<Sizes>>,
}

impl Sizes {
    /// Reads a schema; `root` for the one of a whole object. None where expressions cannot see what it describes.
    pub fn of(schema: &Value, root: bool) -> Option<Self> {
        let bound = |field: &str| schema[field].as_i64().map(|bound| u64::try_from(bound).unwrap_or(0));
        let text = |bytes: u64| bound("maxLength").map_or(LONGEST_TEXT, |most| most.saturating_mul(bytes));
        if schema["x-kubernetes-int-or-string"] == true {
            return Some(Self { most: text(CHARACTER), least_bytes: 1, ..Self::default() });
        }
        let embedded = |schema: &Value| schema["x-kubernetes-embedded-resource"] == true;
        let sized = |most, least_bytes| Some(Self { most, least_bytes, ..Self::default() });
        match schema["type"].as_str()? {
            "boolean" => sized(0, 4),
            "integer" | "number" => sized(0, 1),
            "string" => match schema["format"].as_str() {
                Some("byte") => sized(text(1), 2),
                Some("duration") => sized(32, 3),
                Some("date") => sized(12, 12),
                Some("date-time") => sized(32, 21),
                _ => match (&schema["maxLength"], &schema["enum"]) {
                    (Value::Null, Value::Array(choices)) if !choices.is_empty() => {
                        let longest = choices.iter().filter_map(|choice| choice.as_str().map(str::len)).max();
                        sized(u64::try_from(longest.unwrap_or_default()).unwrap_or(LONGEST_TEXT), 2)
                    }
                    _ => sized(text(CHARACTER), 2),
                },
            },
            "array" => {
                let items = schema.get("items")?;
                let inner = Self::of(items, embedded(items))?;
                // Each item takes its comma.
                let most = bound("maxItems").unwrap_or(LONGEST_TEXT / (inner.least_bytes + 1));
                Some(Self { most, least_bytes: 2, inner: Some(Box::new(inner)), ..Self::default() })
            }
            "object" if schema["additionalProperties"].is_object() => {
                let values = &schema["additionalProperties"];
                let inner = Self::of(values, embedded(values))?;
                // Each entry takes the quotation marks of its key, a colon, a comma, and two more.
                let most = bound("maxProperties").unwrap_or(LONGEST_TEXT / (inner.least_bytes + 6));
                let keys = Self { least_bytes: 2, ..Self::default() };
                let (keys, inner) = (Some(Box::new(keys)), Some(Box::new(inner)));
                Some(Self { most, least_bytes: 2, keys, inner, ..Self::default() })
            }
            "object" => Some(Self::object(schema, root || embedded(schema))),
            _ => None,
        }
    }

    fn object(schema: &Value, whole: bool) -> Self {
        let mut sizes = Self { least_bytes: 2, ..Self::default() };
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let Some(own) = Self::of(property, false) else { continue };
            if required.contains(&name.as_str()) && property["default"].is_null() {
                sizes.least_bytes += u64::try_from(name.len()).unwrap_or(0) + own.least_bytes + 4;
            }
            if let Some(escaped) = escape(name) {
                sizes.fields.insert(escaped, own);
            }
        }
        if whole {
            let text = || Self { most: LONGEST_TEXT, least_bytes: 2, ..Self::default() };
            for name in ["kind", "apiVersion"] {
                sizes.fields.insert(name.to_owned(), text());
            }
            let fields = ["name", "generateName"].map(|name| (name.to_owned(), text())).into();
            let metadata = Self { least_bytes: 2, fields, ..Self::default() };
            sizes.fields.insert("metadata".to_owned(), metadata);
        }
        sizes
    }

    /// Returns how often such a value can stand in one request.
    pub fn most_in_a_request(&self) -> u64 {
        LONGEST_REQUEST / (self.least_bytes + 1)
    }

    /// Follows a path from `self` or `oldSelf`, whose name is the first step.
    pub(super) fn at(&self, path: &[String]) -> Option<&Self> {
        path.iter().skip(1).try_fold(self, |sizes, step| match step.as_str() {
            ITEMS | VALUES => sizes.inner.as_deref(),
            KEYS => sizes.keys.as_deref(),
            name => sizes.fields.get(name),
        })
    }
}

/// The step to the items of a list.
pub(super) const ITEMS: &str = "@items";
/// The step to the values of a map.
pub(super) const VALUES: &str = "@values";
/// The step to the keys of a map.
pub(super) const KEYS: &str = "@keys";
