//! The type checker: finds undeclared names, functions without a matching overload and wrong types before anything is
//! evaluated, in the words and at the places in which Kubernetes tells them.

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};

use super::library::{LIBRARY, regexes, time};
use super::signature::Signature;
use super::types::{Bindings, Type, most_general, signature};

/// A fault and the node it is told at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TypeFault {
    /// The node.
    pub(super) id: u64,
    /// What is wrong.
    pub(super) message: String,
}

/// What names an expression may use.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// The variables with their types.
    pub(super) variables: BTreeMap<String, Type>,
    /// Any other name is a variable of unknown type.
    pub(super) open: bool,
    /// Lists and maps may be written with items of different types.
    pub(super) mixed: bool,
    /// Objects may be written.
    pub(super) constructs: bool,
}

/// The type of an object that a mutation writes.
pub(super) const OBJECT: &str = "Object";
/// The type of one operation of a patch that a mutation writes.
pub(super) const JSON_PATCH: &str = "JSONPatch";

/// What is known of an expression without faults.
#[derive(Debug)]
pub(super) struct Checked {
    /// The type that it gives.
    pub(super) output: Type,
    /// The type of each of its nodes.
    pub(super) types: BTreeMap<u64, Type>,
    /// The ways of each call that may be meant.
    pub(super) overloads: BTreeMap<u64, Vec<&'static Signature>>,
}

/// Checks an expression.
pub(super) fn check(expr: &IdedExpr, names: &Names) -> Result<Checked, Vec<TypeFault>> {
    let mut checker = Checker {
        names,
        scopes: Vec::new(),
        bindings: Bindings::default(),
        next: 0,
        faults: Vec::new(),
        types: BTreeMap::new(),
        overloads: BTreeMap::new(),
    };
    let found = checker.of(expr);
    let output = checker.bindings.substitute(&found, true);
    if checker.faults.is_empty() {
        literals(expr, &mut checker.faults);
    }
    if !checker.faults.is_empty() {
        return Err(checker.faults);
    }
    let Checker { bindings, types, overloads, .. } = checker;
    let settled = |(id, found): (u64, Type)| (id, bindings.substitute(&found, true));
    Ok(Checked { output, types: types.into_iter().map(settled).collect(), overloads })
}

/// Finds literal texts that can never be what a function reads them as.
fn literals(node: &IdedExpr, faults: &mut Vec<TypeFault>) {
    let mut each = |nodes: &mut dyn Iterator<Item = &IdedExpr>| nodes.for_each(|node| literals(node, faults));
    match &node.expr {
        Expr::Call(call) => {
            each(&mut call.target.iter().map(|target| target.as_ref()).chain(&call.args));
            let valid: fn(&str) -> bool = match call.func_name.as_str() {
                "duration" => |text| time::parse_duration(text).is_some(),
                "timestamp" => |text| time::parse_timestamp(text).is_some(),
                "matches" => |text| regexes::compiled(text).is_ok(),
                _ => return,
            };
            if let Some(arg) = call.args.last()
                && let Expr::Literal(LiteralValue::String(text)) = &arg.expr
                && !valid(text.inner())
            {
                faults
                    .push(TypeFault { id: arg.id, message: format!("invalid {} argument", call.func_name) });
            }
        }
        Expr::Select(select) => each(&mut std::iter::once(select.operand.as_ref())),
        Expr::List(list) => each(&mut list.elements.iter()),
        Expr::Map(map) => each(&mut map.entries.iter().flat_map(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
            EntryExpr::StructField(field) => vec![&field.value],
        })),
        Expr::Struct(object) => each(&mut object.entries.iter().flat_map(|entry| match &entry.expr {
            EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
            EntryExpr::StructField(field) => vec![&field.value],
        })),
        Expr::Comprehension(of) => {
            each(&mut [&of.iter_range, &of.accu_init, &of.loop_cond, &of.loop_step, &of.result].into_iter());
        }
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
    }
}

struct Checker<'n> {
    names: &'n Names,
    scopes: Vec<(String, Type)>,
    bindings: Bindings,
    next: u32,
    faults: Vec<TypeFault>,
    types: BTreeMap<u64, Type>,
    overloads: BTreeMap<u64, Vec<&'static Signature>>,
}

impl Checker<'_> {
    fn fault(&mut self, id: u64, message: String) -> Type {
        self.faults.push(TypeFault { id, message });
        Type::Error
    }

    fn fresh(&mut self) -> Type {
        self.next += 1;
        Type::param(&format!("_var{}", self.next))
    }

    fn shown(&self, t: &Type) -> Type {
        self.bindings.substitute(t, true)
    }

    fn of(&mut self, node: &IdedExpr) -> Type {
        let found = self.infer(node);
        self.types.insert(node.id, found.clone());
        found
    }

    fn infer(&mut self, node: &IdedExpr) -> Type {
        match &node.expr {
            Expr::Unspecified => Type::Error,
            Expr::Literal(value) => match value {
                LiteralValue::Boolean(_) => Type::Bool,
                LiteralValue::Bytes(_) => Type::Bytes,
                LiteralValue::Double(_) => Type::Double,
                LiteralValue::Int(_) => Type::Int,
                LiteralValue::Null => Type::Null,
                LiteralValue::String(_) => Type::String,
                LiteralValue::UInt(_) => Type::Uint,
            },
            Expr::Ident(name) => match self.ident(name) {
                Some(found) => found,
                None => self.fault(node.id, format!("undeclared reference to '{name}' (in container '')")),
            },
            Expr::Select(select) => {
                if let Some(found) = self.qualified(node) {
                    return if select.test { Type::Bool } else { found };
                }
                let operand = self.of(&select.operand);
                let found = self.field(node.id, &operand, &select.field, false);
                if select.test { Type::Bool } else { found }
            }
            Expr::Call(_) => self.call(node),
            Expr::List(list) => {
                let mut of: Option<Type> = None;
                for (index, element) in list.elements.iter().enumerate() {
                    let mut found = self.of(element);
                    if list.optional_indices.contains(&index) {
                        found = self.unwrapped(element.id, &found);
                    }
                    of = Some(self.join(element.id, of, found));
                }
                let of = of.unwrap_or_else(|| self.fresh());
                Type::list(of)
            }
            Expr::Map(map) => {
                let (mut keys, mut values) = (None, None);
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
                    let key = self.of(&entry.key);
                    keys = Some(self.join(entry.key.id, keys, key));
                    let mut value = self.of(&entry.value);
                    if entry.optional {
                        value = self.unwrapped(entry.value.id, &value);
                    }
                    values = Some(self.join(entry.value.id, values, value));
                }
                let key = keys.unwrap_or_else(|| self.fresh());
                let value = values.unwrap_or_else(|| self.fresh());
                Type::map(key, value)
            }
            Expr::Struct(object) => self.object(node.id, object),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    /// Finds a name: of a loop, of a variable, of a type.
    fn ident(&self, name: &str) -> Option<Type> {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some((_, found)) = self.scopes.iter().rev().find(|(known, _)| known == name) {
            return Some(found.clone());
        }
        if let Some(found) = self.names.variables.get(name) {
            return Some(found.clone());
        }
        if let Some(named) = super::library::type_named(name) {
            return Some(Type::Type(Arc::new(named)));
        }
        self.names.open.then_some(Type::Dyn)
    }

    /// Reads `a.b.c` as one name, if it is one: a declared variable with dots, or a type such as `net.IP`.
    fn qualified(&self, node: &IdedExpr) -> Option<Type> {
        let name = select_name(node)?;
        let root = name.split('.').next()?;
        if self.scopes.iter().any(|(known, _)| known == root) {
            return None;
        }
        if let Some(found) = self.names.variables.get(&name) {
            return Some(found.clone());
        }
        if self.names.variables.contains_key(root) {
            return None;
        }
        super::library::type_named(&name).map(|named| Type::Type(Arc::new(named)))
    }

    fn field(&mut self, id: u64, operand: &Type, field: &str, optional: bool) -> Type {
        let operand = self.bindings.substitute(operand, false);
        let (within_optional, operand) = match operand {
            Type::Optional(of) => (true, self.bindings.substitute(&of, false)),
            other => (false, other),
        };
        let found = match &operand {
            Type::Map(_, value) => value.as_ref().clone(),
            Type::Object(object) => match object.fields.get(field) {
                Some(found) => found.clone(),
                None => return self.fault(id, format!("undefined field '{field}'")),
            },
            Type::Dyn | Type::Error | Type::Param(_) => Type::Dyn,
            other => {
                let message = format!("type '{}' does not support field selection", self.shown(other));
                return self.fault(id, message);
            }
        };
        if within_optional || optional { Type::optional(found) } else { found }
    }

    fn call(&mut self, node: &IdedExpr) -> Type {
        let Expr::Call(call) = &node.expr else { return Type::Error };
        if call.func_name == operators::OPT_SELECT
            && let [operand, field] = call.args.as_slice()
        {
            let operand = self.of(operand);
            return match &field.expr {
                Expr::Literal(LiteralValue::String(field)) => {
                    self.field(node.id, &operand, field.inner(), true)
                }
                _ => self.fault(node.id, "unsupported optional field selection".to_owned()),
            };
        }
        let mut args: Vec<Type> = Vec::new();
        // `sets.contains(..)` is a function of that name, not one called on `sets`.
        let qualified = call.target.as_ref().and_then(|target| {
            let name = format!("{}.{}", qualified_name(target)?, call.func_name);
            LIBRARY.has(&name).then_some(name)
        });
        let member = call.target.is_some() && qualified.is_none();
        if let Some(target) = call.target.as_ref().filter(|_| member) {
            args.push(self.of(target));
        }
        for arg in &call.args {
            args.push(self.of(arg));
        }
        let name = qualified.as_deref().unwrap_or(&call.func_name);
        if !LIBRARY.has(name) {
            return self.fault(node.id, format!("undeclared reference to '{name}' (in container '')"));
        }
        self.resolve(node.id, name, member, &args)
    }

    fn resolve(&mut self, id: u64, name: &str, member: bool, args: &[Type]) -> Type {
        let mut result: Option<Type> = None;
        for overload in LIBRARY.overloads(name).filter(|overload| overload.signature.member == member) {
            if overload.signature.args.len() != args.len() {
                continue;
            }
            let mut renamed = Bindings::default();
            let mut parameters = Vec::new();
            for t in overload.signature.args.iter().chain([&overload.signature.result]) {
                collect_params(t, &mut parameters);
            }
            for parameter in parameters {
                let fresh = self.fresh();
                renamed.bind(parameter, fresh);
            }
            let wanted: Vec<Type> =
                overload.signature.args.iter().map(|arg| renamed.substitute(arg, false)).collect();
            if self.bindings.all_assignable(&wanted, args) {
                self.overloads.entry(id).or_default().push(&overload.signature);
                let returned = renamed.substitute(&overload.signature.result, false);
                let returned = self.bindings.substitute(&returned, false);
                result = Some(match result {
                    Some(known) if known == returned => known,
                    Some(_) => Type::Dyn,
                    None => returned,
                });
            }
        }
        if let Some(result) = result {
            return result;
        }
        let shown: Vec<Type> = args.iter().map(|arg| self.shown(arg)).collect();
        // One fault is told once.
        if shown.contains(&Type::Error) {
            return Type::Error;
        }
        let applied = signature(&shown, member);
        self.fault(id, format!("found no matching overload for '{name}' applied to '{applied}'"))
    }

    fn join(&mut self, id: u64, known: Option<Type>, found: Type) -> Type {
        let Some(known) = known else { return found };
        if self.bindings.assignable(&known, &found) {
            return most_general(&known, &found);
        }
        if self.names.mixed {
            return Type::Dyn;
        }
        let message = format!("expected type '{}' but found '{}'", self.shown(&known), self.shown(&found));
        self.fault(id, message);
        known
    }

    fn unwrapped(&mut self, id: u64, found: &Type) -> Type {
        match self.bindings.substitute(found, false) {
            Type::Optional(of) => of.as_ref().clone(),
            Type::Dyn | Type::Error => Type::Dyn,
            other => {
                let message = format!(
                    "expected type 'optional_type({})' but found '{}'",
                    self.shown(&other),
                    self.shown(&other)
                );
                self.fault(id, message)
            }
        }
    }

    fn object(&mut self, id: u64, object: &cel::common::ast::StructExpr) -> Type {
        let is_patch = self.names.constructs && object.type_name == JSON_PATCH;
        for entry in &object.entries {
            let EntryExpr::StructField(field) = &entry.expr else { continue };
            let found = self.of(&field.value);
            let wanted = match field.field.as_str() {
                _ if !is_patch => continue,
                "op" | "path" | "from" => Type::String,
                "value" => Type::Dyn,
                other => {
                    self.fault(entry.id, format!("undefined field '{other}'"));
                    continue;
                }
            };
            if !self.bindings.assignable(&wanted, &found) {
                let found = self.shown(&found);
                self.fault(
                    entry.id,
                    format!(
                        "expected type of field '{}' is '{wanted}' but provided type is '{found}'",
                        field.field
                    ),
                );
            }
        }
        // The fields of an object that is written are not declared: what it is merged into knows them.
        let of_object = object.type_name == OBJECT || object.type_name.starts_with("Object.");
        if is_patch || (self.names.constructs && of_object) {
            return Type::object(&object.type_name, []);
        }
        let known = self.names.variables.get(&object.type_name).cloned();
        match known {
            Some(Type::Type(of)) => of.as_ref().clone(),
            _ => {
                let message = format!("undeclared reference to '{}' (in container '')", object.type_name);
                self.fault(id, message)
            }
        }
    }

    fn comprehension(&mut self, comprehension: &cel::common::ast::ComprehensionExpr) -> Type {
        let range = self.of(&comprehension.iter_range);
        let accumulated = self.of(&comprehension.accu_init);
        let range = self.bindings.substitute(&range, false);
        let (first, second) = match &range {
            Type::List(of) if comprehension.iter_var2.is_some() => (Type::Int, of.as_ref().clone()),
            Type::List(of) => (of.as_ref().clone(), Type::Dyn),
            Type::Map(key, value) => (key.as_ref().clone(), value.as_ref().clone()),
            Type::Dyn | Type::Error | Type::Param(_) => (Type::Dyn, Type::Dyn),
            other => {
                let message = format!(
                    "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)",
                    self.shown(other)
                );
                self.fault(comprehension.iter_range.id, message);
                (Type::Error, Type::Error)
            }
        };
        let depth = self.scopes.len();
        self.scopes.push((comprehension.accu_var.clone(), accumulated.clone()));
        self.scopes.push((comprehension.iter_var.clone(), first));
        if let Some(name) = &comprehension.iter_var2 {
            self.scopes.push((name.clone(), second));
        }
        let condition = self.of(&comprehension.loop_cond);
        self.expect(comprehension.loop_cond.id, &Type::Bool, &condition);
        let step = self.of(&comprehension.loop_step);
        self.expect(comprehension.loop_step.id, &accumulated, &step);
        self.scopes.truncate(depth + 1);
        let result = self.of(&comprehension.result);
        self.scopes.truncate(depth);
        self.bindings.substitute(&result, false)
    }

    fn expect(&mut self, id: u64, wanted: &Type, found: &Type) {
        if !self.bindings.assignable(wanted, found) {
            let message = format!("expected type '{}' but found '{}'", self.shown(wanted), self.shown(found));
            self.fault(id, message);
        }
    }
}

fn collect_params(t: &Type, into: &mut Vec<Arc<str>>) {
    match t {
        Type::Param(name) if !into.contains(name) => into.push(name.clone()),
        Type::List(of) | Type::Optional(of) | Type::Type(of) => collect_params(of, into),
        Type::Map(key, value) => {
            collect_params(key, into);
            collect_params(value, into);
        }
        _ => {}
    }
}

/// Returns `a.b.c` for a selection, also one that only tests whether `c` is there.
pub(super) fn select_name(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Select(select) => Some(format!("{}.{}", qualified_name(&select.operand)?, select.field)),
        _ => None,
    }
}

/// Returns `a.b.c` for a chain of selections on a name.
pub(super) fn qualified_name(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => {
            Some(format!("{}.{}", qualified_name(&select.operand)?, select.field))
        }
        _ => None,
    }
}
