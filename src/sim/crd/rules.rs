//! `x-kubernetes-validations`: CEL rules at any place of a schema, with `self` and, when an object is changed,
//! `oldSelf`. Each place is judged by the rules of k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::costs::{Cardinality, Costs, Site};
use super::validate::correlated;
use crate::cel::{CALL_LIMIT, CelError, Environment, Fault, Program, Shape, Sizes, Type, Val};
use crate::sim::field::{ErrorList, ErrorType, FieldError, Path};
use crate::sim::object::Fields as _;

/// What the rules of one object may cost together.
const OBJECT_LIMIT: u64 = 10_000_000;

/// The rules of a schema by the place where they stand, compiled.
#[derive(Debug, Default)]
pub(super) struct Rules(BTreeMap<String, Place>);

/// The rules of one place, and what `self` is there.
#[derive(Debug)]
struct Place {
    shape: Shape,
    rules: Vec<Rule>,
}

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

/// One walk over an object.
struct Walk<'e> {
    errors: &'e mut ErrorList,
    budget: u64,
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
        let mut walk = Walk { errors, budget: OBJECT_LIMIT };
        self.walk(schema, "", object, old, &Path::default(), &mut walk);
    }

    fn walk(
        &self,
        schema: &Value,
        place: &str,
        value: &Value,
        old: Option<&Value>,
        path: &Path,
        errors: &mut Walk<'_>,
    ) {
        if value.is_null() {
            return;
        }
        if let Some(place) = self.0.get(place) {
            for rule in &place.rules {
                rule.check(schema, &place.shape, value, old, path, errors);
            }
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

fn collect(schema: &Value, place: &str, into: &mut BTreeMap<String, Place>) {
    let rules = schema.items("x-kubernetes-validations");
    if !rules.is_empty() {
        let shape = shape_of(schema, place.is_empty());
        let rules = rules.iter().map(|rule| Rule::compile(rule, &shape)).collect();
        into.insert(place.to_owned(), Place { shape, rules });
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

fn shape_of(schema: &Value, root: bool) -> Shape {
    if root { Shape::of_root(schema) } else { Shape::of(schema) }
}

/// What an expression at a place may name.
fn environment(shape: &Shape, optional_old: bool) -> Environment {
    let own = shape.type_of("selfType");
    let old = if optional_old { Type::optional(own.clone()) } else { own.clone() };
    Environment::new().with("self", own).with("oldSelf", old)
}

/// Compiles a rule; the error is in upstream's words.
fn compile_rule(source: &str, environment: &Environment) -> Result<Program, String> {
    let program = environment.compile(source).map_err(|error| format!("compilation failed: {error}"))?;
    match program.output() {
        Type::Bool => Ok(program),
        _ => Err("cel expression must evaluate to a bool".to_owned()),
    }
}

fn compile_message(source: &str, environment: &Environment) -> Result<Program, String> {
    let program = environment
        .compile(source)
        .map_err(|error| format!("messageExpression compilation failed: {error}"))?;
    match program.output() {
        Type::String => Ok(program),
        _ => Err("messageExpression must evaluate to a string".to_owned()),
    }
}

const REASONS: [&str; 4] =
    ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Validates the rules of a place for what stands in them, in upstream's order.
pub fn validate_rules(schema: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let breaks = |text: &str| text.contains(['\n', '\r']);
    for (index, rule) in schema.items("x-kubernetes-validations").iter().enumerate() {
        let at = path.child("x-kubernetes-validations").index(index);
        let text = |field: &str| rule.text(field);
        let (source, message) = (text("rule").trim(), text("message").trim());
        if source.is_empty() {
            errors.push(FieldError::required(&at.child("rule"), "rule is not specified"));
        } else if !text("message").is_empty() && message.is_empty() {
            let why = "message must be non-empty if specified";
            errors.push(FieldError::invalid(&at.child("message"), text("message"), why));
        } else if breaks(message) {
            let why = "message must not contain line breaks";
            errors.push(FieldError::invalid(&at.child("message"), text("message"), why));
        } else if breaks(source) && message.is_empty() {
            let why = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(&at.child("message"), why));
        }
        if !text("messageExpression").is_empty() && text("messageExpression").trim().is_empty() {
            let why = "messageExpression must be non-empty if specified";
            errors.push(FieldError::required(&at.child("messageExpression"), why));
        }
        if rule.has("reason") && !REASONS.contains(&text("reason")) {
            errors.push(FieldError::not_supported(&at.child("reason"), text("reason"), &REASONS));
        }
        let field = text("fieldPath");
        let at = at.child("fieldPath");
        if !field.is_empty() && field.trim().is_empty() {
            errors.push(FieldError::invalid(&at, field, "fieldPath must be non-empty if specified"));
        }
        if breaks(field) {
            errors.push(FieldError::invalid(&at, field, "fieldPath must not contain line breaks"));
        }
        if !field.is_empty() && !leads_somewhere(schema, field) {
            errors.push(FieldError::invalid(&at, field, "fieldPath must be a valid path"));
        }
    }
    errors
}

/// Tells whether a path such as `.spec.size` or `.labels['a']` leads to a field of a schema.
fn leads_somewhere(schema: &Value, path: &str) -> bool {
    let (mut schema, mut rest) = (schema, path);
    while !rest.is_empty() {
        let (name, after) = if let Some(inner) = rest.strip_prefix("['") {
            let Some((name, after)) = inner.split_once("']") else { return false };
            (name, after)
        } else if let Some(inner) = rest.strip_prefix('.') {
            let end = inner.find(['.', '[']).unwrap_or(inner.len());
            (&inner[..end], &inner[end..])
        } else {
            return false;
        };
        schema = match (schema.at("properties").get(name), schema.at("additionalProperties")) {
            (Some(property), _) if !name.is_empty() => property,
            (None, additional) if additional.is_object() => additional,
            _ => return false,
        };
        rest = after;
    }
    true
}

/// Compiles the rules of a place, which can be in one object as often as `cardinality` says. `uncorrelated` is the list
/// around it whose items have no old self.
pub fn validate_expressions(
    schema: &Value,
    root: bool,
    path: &Path,
    uncorrelated: Option<&Path>,
    cardinality: Cardinality,
    costs: &mut Costs,
) -> ErrorList {
    let mut errors = ErrorList::new();
    let rules = schema.items("x-kubernetes-validations");
    if rules.is_empty() {
        return errors;
    }
    let shape = shape_of(schema, root);
    let environments = [environment(&shape, false), environment(&shape, true)];
    for (index, rule) in rules.iter().enumerate() {
        let at = path.child("x-kubernetes-validations").index(index);
        let (source, message) = (rule.text("rule"), rule.text("messageExpression"));
        let optional = rule.truth("optionalOldSelf") == Some(true);
        // Upstream shows its internal object.
        let shown = json!({ "Rule": source, "Message": rule.text("message"), "MessageExpression": message,
            "Reason": rule.at("reason"), "FieldPath": rule.text("fieldPath"),
            "OptionalOldSelf": rule.at("optionalOldSelf") });
        let environment = &environments[usize::from(optional)];
        let site = Site { environment, sizes: Sizes::of(schema, root), cardinality };
        let place = at.child("rule");
        let compiled = compile_rule(source, environment);
        match &compiled {
            Ok(program) => costs.rule(&site, program, &place, &mut errors),
            Err(why) => errors.push(FieldError::invalid(&place, shown.clone(), why.as_str())),
        }
        // A rule that does not compile keeps its message from being looked at.
        if !message.is_empty() && compiled.is_ok() {
            let place = at.child("messageExpression");
            match compile_message(message, environment) {
                Ok(program) => costs.message(&site, &program, &place, &mut errors),
                Err(why) => errors.push(FieldError::invalid(&place, shown, why)),
            }
        }
        if names_old_self(source) {
            if let Some(list) = uncorrelated {
                let why = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {list}"
                );
                errors.push(FieldError::invalid(&at.child("rule"), source, why));
            }
        } else if rule.has("optionalOldSelf") {
            let why = "may not be set if oldSelf is not used in rule";
            errors.push(FieldError::invalid(&at.child("optionalOldSelf"), optional, why));
        }
    }
    errors
}

impl Rule {
    fn compile(rule: &Value, shape: &Shape) -> Self {
        let source = rule.text("rule").to_owned();
        let expression = rule.text("messageExpression");
        let optional_old = rule.truth("optionalOldSelf") == Some(true);
        let environment = environment(shape, optional_old);
        Self {
            program: compile_rule(&source, &environment),
            message: rule.text("message").to_owned(),
            message_expression: (!expression.is_empty())
                .then(|| compile_message(expression, &environment).ok())
                .flatten(),
            reason: match rule.text("reason") {
                "FieldValueForbidden" => ErrorType::Forbidden,
                "FieldValueRequired" => ErrorType::Required,
                "FieldValueDuplicate" => ErrorType::Duplicate,
                _ => ErrorType::Invalid,
            },
            field_path: rule.at("fieldPath").as_str().map(str::to_owned),
            transition: names_old_self(&source),
            optional_old,
            source,
        }
    }

    fn check(
        &self,
        schema: &Value,
        shape: &Shape,
        value: &Value,
        old: Option<&Value>,
        path: &Path,
        walk: &mut Walk<'_>,
    ) {
        if self.transition && old.is_none() && !self.optional_old {
            return;
        }
        // What has not changed is not judged again, unless the rule is about the change.
        if !self.transition && old == Some(value) {
            return;
        }
        if walk.budget == 0 {
            return;
        }
        let mut bindings = BTreeMap::from([("self".to_owned(), Val::shaped(value, Some(shape)))]);
        let old = old.map(|old| Val::shaped(old, Some(shape)));
        if self.optional_old {
            bindings.insert("oldSelf".to_owned(), Val::Optional(old.map(Arc::new)));
        } else if let Some(old) = old {
            bindings.insert("oldSelf".to_owned(), old);
        }
        let outcome = match &self.program {
            Ok(program) => {
                let mut budget = CALL_LIMIT;
                let outcome = program.run(&bindings, &mut budget);
                let Some(left) = walk.budget.checked_sub(CALL_LIMIT - budget) else {
                    walk.budget = 0;
                    let detail = "validation failed due to running out of cost budget, no further validation rules \
                                  will be run";
                    return walk.errors.push(FieldError::invalid(&named(path), schema.text("type"), detail));
                };
                walk.budget = left;
                outcome
            }
            Err(message) => {
                let detail = format!("rule compile error: {message}");
                return walk.errors.push(FieldError::invalid(&named(path), schema.text("type"), detail));
            }
        };
        let told = if self.message.is_empty() { &self.source } else { &self.message }.trim();
        let detail = match outcome {
            Ok(Val::Bool(true)) => return,
            Ok(_) => {
                let field = match &self.field_path {
                    Some(field) => Path::new(format!("{}{field}", path.as_str()).trim_start_matches('.')),
                    None => named(path),
                };
                walk.errors.push(FieldError {
                    kind: self.reason,
                    field: field.to_string(),
                    value: schema.text("type").into(),
                    detail: self.words(&bindings),
                    shown: None,
                });
                return;
            }
            Err(Fault::Budget) => {
                walk.budget = 0;
                format!(
                    "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {told}",
                    Fault::Budget
                )
            }
            Err(Fault::Error(error)) if error.starts_with("no such overload") => format!(
                "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {told}"
            ),
            Err(error) => format!("{} evaluating rule: {told}", CelError::from(error)),
        };
        walk.errors.push(FieldError::invalid(&named(path), schema.text("type"), detail));
    }

    fn words(&self, bindings: &BTreeMap<String, Val<'_>>) -> String {
        let mut budget = CALL_LIMIT;
        let told =
            self.message_expression.as_ref().and_then(|program| program.run(bindings, &mut budget).ok());
        let told = match &told {
            Some(Val::String(text)) => text.as_str().trim(),
            _ => "",
        };
        match told {
            text if !text.is_empty() && !text.contains('\n') => text.to_owned(),
            _ if !self.message.is_empty() => self.message.trim().to_owned(),
            _ => format!("failed rule: {}", self.source.trim()),
        }
    }
}

/// Names a place as messages do; the root has no name.
fn named(path: &Path) -> Path {
    if path.as_str().is_empty() { Path::new("<nil>") } else { path.clone() }
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
