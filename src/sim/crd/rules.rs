//! `x-kubernetes-validations`: CEL rules at any place of a schema, with `self` and, when an object is changed,
//! `oldSelf`. Each place is judged by the rules of k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel.

use std::collections::BTreeMap;

use serde_json::Value;

use super::validate::correlated;
use crate::cel::{CelError, Program};
use crate::sim::field::{ErrorList, ErrorType, FieldError, Path};
use crate::sim::object::Fields as _;

/// The rules of a schema by the place where they stand, compiled.
#[derive(Debug, Default)]
pub(super) struct Rules(BTreeMap<String, Vec<Rule>>);

#[derive(Debug)]
struct Rule {
    source: String,
    program: Result<Program, String>,
    message: String,
    message_expression: Option<Program>,
    reason: ErrorType,
    field_path: Option<String>,
    /// The rule speaks of `oldSelf`, so that it is asked only when there is one.
    transition: bool,
    optional_old: bool,
}

impl Rules {
    pub(super) fn compile(schema: &Value) -> Self {
        let mut rules = Self::default();
        collect(schema, "", &mut rules.0);
        rules
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn check(&self, schema: &Value, object: &Value, old: Option<&Value>, errors: &mut ErrorList) {
        self.walk(schema, "", object, old, &Path::default(), errors);
    }

    fn walk(
        &self,
        schema: &Value,
        place: &str,
        value: &Value,
        old: Option<&Value>,
        path: &Path,
        errors: &mut ErrorList,
    ) {
        if value.is_null() {
            return;
        }
        for rule in self.0.get(place).into_iter().flatten() {
            rule.check(schema, value, old, path, errors);
        }
        match value {
            Value::Object(map) => {
                let additional = schema.at("additionalProperties");
                for (name, value) in map {
                    let old = old.and_then(|old| old.get(name));
                    if let Some(property) = schema.at("properties").get(name) {
                        let place = format!("{place}/properties/{name}");
                        self.walk(property, &place, value, old, &path.child(name), errors);
                    } else if additional.is_object() {
                        let place = format!("{place}/additionalProperties");
                        self.walk(additional, &place, value, old, &path.key(name), errors);
                    }
                }
            }
            Value::Array(list) => {
                let items = schema.at("items");
                let place = format!("{place}/items");
                for (index, value) in list.iter().enumerate() {
                    let old = match schema.text("x-kubernetes-list-type") {
                        "map" => correlated(schema, value, index, old),
                        _ => None,
                    };
                    self.walk(items, &place, value, old, &path.index(index), errors);
                }
            }
            _ => {}
        }
    }
}

fn collect(schema: &Value, place: &str, into: &mut BTreeMap<String, Vec<Rule>>) {
    let rules: Vec<Rule> = schema.items("x-kubernetes-validations").iter().map(Rule::compile).collect();
    if !rules.is_empty() {
        into.insert(place.to_owned(), rules);
    }
    for (name, property) in schema.entries("properties") {
        collect(property, &format!("{place}/properties/{name}"), into);
    }
    for name in ["additionalProperties", "items"] {
        if schema.at(name).is_object() {
            collect(schema.at(name), &format!("{place}/{name}"), into);
        }
    }
}

impl Rule {
    fn compile(rule: &Value) -> Self {
        let source = rule.text("rule").to_owned();
        let expression = rule.text("messageExpression");
        Self {
            program: Program::compile(&source).map_err(|error| error.to_string()),
            message: rule.text("message").to_owned(),
            message_expression: (!expression.is_empty()).then(|| Program::compile(expression).ok()).flatten(),
            reason: match rule.text("reason") {
                "FieldValueForbidden" => ErrorType::Forbidden,
                "FieldValueRequired" => ErrorType::Required,
                "FieldValueDuplicate" => ErrorType::Duplicate,
                _ => ErrorType::Invalid,
            },
            field_path: rule.at("fieldPath").as_str().map(str::to_owned),
            transition: names_old_self(&source),
            optional_old: rule.truth("optionalOldSelf") == Some(true),
            source,
        }
    }

    fn check(&self, schema: &Value, value: &Value, old: Option<&Value>, path: &Path, errors: &mut ErrorList) {
        if self.transition && old.is_none() && !self.optional_old {
            return;
        }
        // What has not changed is not judged again, unless the rule is about the change.
        if !self.transition && old == Some(value) {
            return;
        }
        let mut bindings = BTreeMap::from([("self".to_owned(), typed(schema, value))]);
        if let Some(old) = old {
            bindings.insert("oldSelf".to_owned(), typed(schema, old));
        }
        let outcome = match &self.program {
            Ok(program) => program.evaluate(&bindings),
            Err(message) => Err(CelError::Evaluate(format!("rule compile error: {message}"))),
        };
        let detail = match outcome {
            Ok(Value::Bool(true)) => return,
            Ok(_) => self.words(&bindings),
            Err(error) => {
                let rule = if self.message.is_empty() { &self.source } else { &self.message };
                format!("{error} evaluating rule: {rule}")
            }
        };
        let field = match (&self.field_path, path.as_str()) {
            (Some(field), _) => Path::new(format!("{}{field}", path.as_str()).trim_start_matches('.')),
            (None, "") => Path::new("<nil>"),
            (None, _) => path.clone(),
        };
        errors.push(FieldError {
            kind: self.reason,
            field: field.to_string(),
            value: schema.text("type").into(),
            detail,
            shown: None,
        });
    }

    fn words(&self, bindings: &BTreeMap<String, Value>) -> String {
        let expression = self.message_expression.as_ref().and_then(|program| program.evaluate(bindings).ok());
        match expression.as_ref().and_then(Value::as_str).map(str::trim) {
            Some(text) if !text.is_empty() && !text.contains('\n') => text.to_owned(),
            _ if !self.message.is_empty() => self.message.trim().to_owned(),
            _ => format!("failed rule: {}", self.source.trim()),
        }
    }
}

/// Tells whether an expression uses the identifier `oldSelf`, outside of string literals.
fn names_old_self(source: &str) -> bool {
    let (mut quote, mut word) = (None, String::new());
    for c in source.chars().chain([' ']) {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c.is_alphanumeric() || c == '_' => word.push(c),
            None => {
                if word == "oldSelf" {
                    return true;
                }
                word.clear();
            }
        }
    }
    false
}

/// Gives properties whose names are no CEL identifiers the escaped names by which rules reach them.
fn typed(schema: &Value, value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let properties = schema.at("properties");
            let additional = schema.at("additionalProperties");
            let mut out = serde_json::Map::new();
            for (name, value) in map {
                if let Some(property) = properties.get(name) {
                    let value = typed(property, value);
                    let escaped = escape(name);
                    if escaped != *name {
                        out.insert(escaped, value.clone());
                    }
                    out.insert(name.clone(), value);
                } else {
                    out.insert(name.clone(), typed(additional, value));
                }
            }
            out.into()
        }
        Value::Array(list) => {
            list.iter().map(|item| typed(schema.at("items"), item)).collect::<Vec<_>>().into()
        }
        other => other.clone(),
    }
}

/// Escapes a property name as Kubernetes does: `a-b` is `a__dash__b`, and a reserved word is `__namespace__`.
fn escape(name: &str) -> String {
    const RESERVED: [&str; 18] = [
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
    ];
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}
