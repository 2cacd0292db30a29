//! Evaluation of a checked expression, with a budget: each step and what functions do with large texts costs, and when
//! the budget is spent, evaluation ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};

use super::Fault;
use super::check::{JSON_PATCH, qualified_name, select_name};
use super::library::{self, LIBRARY};
use super::macros::MAP_INSERT;
use super::value::{Key, List, Map, Text, Val};

/// Looks variables up.
pub trait Variables<'a> {
    /// Returns a variable's value, or `None` when there is no such variable.
    fn variable(&self, name: &str) -> Option<Result<Val<'a>, Fault>>;

    /// Tells whether there are variables whose names begin with `root` and a dot.
    fn has_qualified(&self, _root: &str) -> bool {
        false
    }
}

impl<'a> Variables<'a> for BTreeMap<String, Val<'a>> {
    fn variable(&self, name: &str) -> Option<Result<Val<'a>, Fault>> {
        self.get(name).cloned().map(Ok)
    }

    fn has_qualified(&self, root: &str) -> bool {
        self.keys().any(|name| name.strip_prefix(root).is_some_and(|rest| rest.starts_with('.')))
    }
}

/// One evaluation.
pub(super) struct Evaluation<'e, 'a> {
    pub(super) variables: &'e dyn Variables<'a>,
    pub(super) budget: &'e mut u64,
    /// Names of loops. An accumulator may hold a fault, which a later round may outweigh, as in `exists`.
    scopes: Vec<(&'e str, Out<'a>)>,
}

type Out<'a> = Result<Val<'a>, Fault>;

/// Holds the objects that are written below a field to names that say where they are.
fn check_names(expected: &str, value: &IdedExpr) -> Result<(), Fault> {
    match &value.expr {
        Expr::Struct(object) if object.type_name != expected => error(format!(
            "type mismatch: unexpected type name {:?}, expected {expected:?}, which matches field name path from root \
             Object type",
            object.type_name
        )),
        Expr::List(list) => list.elements.iter().try_for_each(|element| check_names(expected, element)),
        _ => Ok(()),
    }
}

fn error<T>(message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Error(message.into()))
}

fn no_overload<T>() -> Result<T, Fault> {
    error("no such overload")
}

impl<'e, 'a> Evaluation<'e, 'a> {
    pub(super) fn new(variables: &'e dyn Variables<'a>, budget: &'e mut u64) -> Self {
        Self { variables, budget, scopes: Vec::new() }
    }

    fn spend(&mut self, cost: u64) -> Result<(), Fault> {
        match self.budget.checked_sub(cost) {
            Some(left) => {
                *self.budget = left;
                Ok(())
            }
            None => {
                *self.budget = 0;
                Err(Fault::Budget)
            }
        }
    }

    pub(super) fn of(&mut self, node: &'e IdedExpr) -> Out<'a> {
        match &node.expr {
            Expr::Unspecified => error("the expression is empty"),
            Expr::Literal(value) => Ok(literal(value)),
            Expr::Ident(name) => {
                self.spend(1)?;
                self.ident(name)
            }
            Expr::Select(select) => self.select(node, select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => {
                self.spend(10)?;
                let mut items = Vec::with_capacity(list.elements.len());
                for (index, element) in list.elements.iter().enumerate() {
                    let value = self.of(element)?;
                    match value {
                        Val::Optional(inner) if list.optional_indices.contains(&index) => {
                            items.extend(inner.map(|inner| inner.as_ref().clone()));
                        }
                        value => items.push(value),
                    }
                }
                Ok(items.into())
            }
            Expr::Map(map) => {
                self.spend(30)?;
                let mut entries = BTreeMap::new();
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
                    let key = self.of(&entry.key)?;
                    let Some(key) = key.to_key() else {
                        return error(format!("unsupported key type: {}", key.type_of().name()));
                    };
                    let mut value = self.of(&entry.value)?;
                    if entry.optional {
                        match value {
                            Val::Optional(Some(inner)) => value = inner.as_ref().clone(),
                            Val::Optional(None) => continue,
                            _ => {}
                        }
                    }
                    if entries.contains_key(&key) {
                        let shown = key.to_val().to_json().unwrap_or_default();
                        return error(format!("Failed with repeated key: {shown}"));
                    }
                    entries.insert(key, value);
                }
                Ok(Val::Map(Map::Entries(Arc::new(entries))))
            }
            Expr::Struct(object) => {
                self.spend(40)?;
                let mut entries = BTreeMap::new();
                for entry in &object.entries {
                    let EntryExpr::StructField(field) = &entry.expr else { continue };
                    if object.type_name != JSON_PATCH {
                        check_names(&format!("{}.{}", object.type_name, field.field), &field.value)?;
                    }
                    let mut value = self.of(&field.value)?;
                    if field.optional {
                        match value {
                            Val::Optional(Some(inner)) => value = inner.as_ref().clone(),
                            Val::Optional(None) => continue,
                            _ => {}
                        }
                    }
                    entries.insert(Key::String(Text::Shared(Arc::from(field.field.as_str()))), value);
                }
                Ok(Val::Map(Map::Entries(Arc::new(entries))))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    fn ident(&self, name: &str) -> Out<'a> {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some((_, value)) = self.scopes.iter().rev().find(|(known, _)| *known == name) {
            return value.clone();
        }
        if let Some(value) = self.variables.variable(name) {
            return value;
        }
        match library::type_named(name) {
            Some(named) => Ok(Val::Type(named)),
            None => error(format!("no such attribute(s): {name}")),
        }
    }

    fn select(&mut self, node: &'e IdedExpr, select: &'e SelectExpr) -> Out<'a> {
        if let Some(found) = self.qualified(node) {
            return if select.test { Ok(Val::Bool(true)) } else { found };
        }
        let operand = self.of(&select.operand)?;
        if select.test {
            return has(&operand, &select.field);
        }
        self.spend(1)?;
        field(&operand, &select.field)
    }

    /// Reads `a.b.c` as one name, if it is one. Most are not, which the first part tells.
    fn qualified(&mut self, node: &'e IdedExpr) -> Option<Out<'a>> {
        let root = qualified_root(node)?;
        let declared = self.variables.has_qualified(root);
        if !declared && !matches!(root, "google" | "net" | "kubernetes") {
            return None;
        }
        if self.scopes.iter().any(|(known, _)| *known == root) {
            return None;
        }
        let name = select_name(node)?;
        if declared {
            return self.variables.variable(&name);
        }
        let shadowed = self.variables.variable(root).is_some();
        library::type_named(&name).filter(|_| !shadowed).map(|named| Ok(Val::Type(named)))
    }

    fn call(&mut self, call: &'e CallExpr) -> Out<'a> {
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, [a, b]) if call.target.is_none() => self.logical(a, b, false),
            (operators::LOGICAL_OR, [a, b]) if call.target.is_none() => self.logical(a, b, true),
            (operators::CONDITIONAL, [condition, yes, no]) => match self.of(condition)? {
                Val::Bool(true) => self.of(yes),
                Val::Bool(false) => self.of(no),
                _ => no_overload(),
            },
            (operators::NOT_STRICTLY_FALSE, [condition]) => match self.of(condition) {
                Ok(Val::Bool(value)) => Ok(Val::Bool(value)),
                Err(Fault::Budget) => Err(Fault::Budget),
                _ => Ok(Val::Bool(true)),
            },
            (operators::OPT_SELECT, [operand, field]) => {
                let operand = self.of(operand)?;
                self.spend(1)?;
                let Expr::Literal(LiteralValue::String(field)) = &field.expr else { return no_overload() };
                optional_get(&operand, &Key::String(Text::Shared(Arc::from(field.inner()))))
            }
            (operators::OPT_INDEX, [operand, index]) => {
                let operand = self.of(operand)?;
                let index = self.of(index)?;
                self.spend(1)?;
                optional_index(&operand, &index)
            }
            ("or" | "orValue", [other]) if call.target.is_some() => {
                let Some(target) = &call.target else { return no_overload() };
                match self.of(target)? {
                    Val::Optional(Some(inner)) if call.func_name == "orValue" => Ok(inner.as_ref().clone()),
                    Val::Optional(Some(inner)) => Ok(Val::Optional(Some(inner))),
                    Val::Optional(None) => self.of(other),
                    _ => no_overload(),
                }
            }
            _ => self.function(call),
        }
    }

    /// `&&` and `||`: one side that decides wins over a fault of the other.
    fn logical(&mut self, a: &'e IdedExpr, b: &'e IdedExpr, decides: bool) -> Out<'a> {
        let first = self.of(a);
        match &first {
            Ok(Val::Bool(value)) if *value == decides => return first,
            Err(Fault::Budget) => return first,
            _ => {}
        }
        let second = self.of(b);
        match (first, second) {
            (_, Ok(Val::Bool(value))) if value == decides => Ok(Val::Bool(value)),
            (_, Err(Fault::Budget)) => Err(Fault::Budget),
            (Err(fault), _) => Err(fault),
            (Ok(Val::Bool(_)), second @ (Err(_) | Ok(Val::Bool(_)))) => second,
            _ => no_overload(),
        }
    }

    fn function(&mut self, call: &'e CallExpr) -> Out<'a> {
        let qualified = call.target.as_ref().and_then(|target| {
            let name = format!("{}.{}", qualified_name(target)?, call.func_name);
            LIBRARY.has(&name).then_some(name)
        });
        let member = call.target.is_some() && qualified.is_none();
        let mut args = Vec::with_capacity(call.args.len() + 1);
        if let Some(target) = call.target.as_ref().filter(|_| member) {
            args.push(self.of(target)?);
        }
        for arg in &call.args {
            args.push(self.of(arg)?);
        }
        let name = qualified.as_deref().unwrap_or(&call.func_name);
        self.spend(cost(name, &args))?;
        if let Some(result) = operator(name, &args) {
            return result;
        }
        LIBRARY.apply(name, member, &args).unwrap_or_else(no_overload)
    }

    fn comprehension(&mut self, comprehension: &'e ComprehensionExpr) -> Out<'a> {
        let range = self.of(&comprehension.iter_range)?;
        let accumulated = self.of(&comprehension.accu_init)?;
        let depth = self.scopes.len();
        self.scopes.push((&comprehension.accu_var, Ok(accumulated)));
        let result = self.iterate(comprehension, range);
        self.scopes.truncate(depth + 1);
        let result = result.and_then(|()| self.of(&comprehension.result));
        self.scopes.truncate(depth);
        result
    }

    fn iterate(&mut self, comprehension: &'e ComprehensionExpr, range: Val<'a>) -> Result<(), Fault> {
        let two = comprehension.iter_var2.as_deref();
        match range {
            Val::List(list) => {
                for index in 0..list.len() {
                    let Some(item) = list.get(index) else { break };
                    let (first, second) = match two {
                        Some(_) => (Val::Int(i64::try_from(index).unwrap_or(i64::MAX)), item),
                        None => (item, Val::Null),
                    };
                    if !self.step(comprehension, first, second)? {
                        break;
                    }
                }
            }
            Val::Map(map) => {
                for key in map.keys() {
                    let second = match two {
                        Some(_) => map.get(&key).unwrap_or_else(|| error("no such key"))?,
                        None => Val::Null,
                    };
                    if !self.step(comprehension, key.to_val(), second)? {
                        break;
                    }
                }
            }
            _ => return no_overload(),
        }
        Ok(())
    }

    /// Runs one round; false ends the loop.
    fn step(
        &mut self,
        comprehension: &'e ComprehensionExpr,
        first: Val<'a>,
        second: Val<'a>,
    ) -> Result<bool, Fault> {
        self.spend(1)?;
        let depth = self.scopes.len();
        self.scopes.push((&comprehension.iter_var, Ok(first)));
        if let Some(name) = &comprehension.iter_var2 {
            self.scopes.push((name, Ok(second)));
        }
        let go_on = match self.of(&comprehension.loop_cond)? {
            Val::Bool(go_on) => go_on,
            _ => return no_overload(),
        };
        if go_on && !self.grow(comprehension, depth - 1)? {
            match self.of(&comprehension.loop_step) {
                Err(Fault::Budget) => return Err(Fault::Budget),
                value => self.scopes[depth - 1].1 = value,
            }
        }
        self.scopes.truncate(depth);
        Ok(go_on)
    }

    /// Adds to a list or map that a macro builds in place, where copying it in each round would take a square of the
    /// time. Returns false when the step is another one.
    fn grow(&mut self, comprehension: &'e ComprehensionExpr, accumulator: usize) -> Result<bool, Fault> {
        let is_accumulator =
            |node: &IdedExpr| matches!(&node.expr, Expr::Ident(name) if *name == comprehension.accu_var);
        let (filter, step) = match &comprehension.loop_step.expr {
            Expr::Call(call) if call.func_name == operators::CONDITIONAL => match call.args.as_slice() {
                [filter, step, same] if is_accumulator(same) => (Some(filter), step),
                _ => return Ok(false),
            },
            _ => (None, &comprehension.loop_step),
        };
        let Expr::Call(step) = &step.expr else { return Ok(false) };
        let [accumulated, added @ ..] = step.args.as_slice() else { return Ok(false) };
        if !is_accumulator(accumulated) {
            return Ok(false);
        }
        let growth = match (step.func_name.as_str(), added, &self.scopes[accumulator].1) {
            (operators::ADD, [added], Ok(Val::List(List::Items(_)))) => match &added.expr {
                Expr::List(list) if list.optional_indices.is_empty() => &list.elements,
                _ => return Ok(false),
            },
            (MAP_INSERT, [_, _], Ok(Val::Map(Map::Entries(_)))) => &step.args,
            // What is a fault already stays one.
            (operators::ADD | MAP_INSERT, _, Err(_)) => return Ok(true),
            _ => return Ok(false),
        };
        self.spend(1)?;
        let outcome = self.added(filter, growth, step.func_name == MAP_INSERT);
        match (outcome, &mut self.scopes[accumulator].1) {
            (Err(Fault::Budget), _) => return Err(Fault::Budget),
            (Err(fault), slot) => *slot = Err(fault),
            (Ok(None), _) => {}
            (Ok(Some(values)), Ok(Val::List(List::Items(items)))) => Arc::make_mut(items).extend(values),
            (Ok(Some(mut values)), slot) => {
                let (value, key) = (values.pop(), values.pop());
                let inserted = match (key.as_ref().and_then(Val::to_key), value, &mut *slot) {
                    (Some(key), Some(value), Ok(Val::Map(Map::Entries(entries)))) => {
                        match Arc::make_mut(entries).entry(key) {
                            std::collections::btree_map::Entry::Vacant(entry) => {
                                entry.insert(value);
                                Ok(())
                            }
                            std::collections::btree_map::Entry::Occupied(entry) => {
                                let shown = entry.key().to_val().to_json().unwrap_or_default();
                                error(format!("insert failed: key {shown} already exists"))
                            }
                        }
                    }
                    _ => no_overload(),
                };
                if let Err(fault) = inserted {
                    *slot = Err(fault);
                }
            }
        }
        Ok(true)
    }

    /// Evaluates what is added in a round; `None` when the filter leaves it out.
    fn added(
        &mut self,
        filter: Option<&'e IdedExpr>,
        growth: &'e [IdedExpr],
        skip_first: bool,
    ) -> Result<Option<Vec<Val<'a>>>, Fault> {
        if let Some(filter) = filter {
            match self.of(filter)? {
                Val::Bool(true) => {}
                Val::Bool(false) => return Ok(None),
                _ => return no_overload(),
            }
        }
        growth
            .iter()
            .skip(usize::from(skip_first))
            .map(|node| self.of(node))
            .collect::<Result<_, _>>()
            .map(Some)
    }
}

fn qualified_root(node: &IdedExpr) -> Option<&str> {
    match &node.expr {
        Expr::Ident(name) => Some(name),
        Expr::Select(select) => qualified_root(&select.operand),
        _ => None,
    }
}

fn literal<'a>(value: &LiteralValue) -> Val<'a> {
    match value {
        LiteralValue::Boolean(value) => Val::Bool(*value.inner()),
        LiteralValue::Bytes(value) => Val::Bytes(Arc::from(value.inner())),
        LiteralValue::Double(value) => Val::Double(*value.inner()),
        LiteralValue::Int(value) => Val::Int(*value.inner()),
        LiteralValue::Null => Val::Null,
        LiteralValue::String(value) => Val::text(value.inner()),
        LiteralValue::UInt(value) => Val::Uint(*value.inner()),
    }
}

/// Says what a key is, for `no such key`.
fn shown(key: &Key<'_>) -> String {
    match key.to_val() {
        Val::String(text) => text.as_str().to_owned(),
        other => other.to_json().unwrap_or_default().to_string(),
    }
}

fn has<'a>(operand: &Val<'a>, field: &str) -> Out<'a> {
    let key = Key::String(Text::Shared(Arc::from(field)));
    match operand {
        Val::Map(map) => match map.get(&key) {
            Some(Err(fault)) => Err(fault),
            found => Ok(Val::Bool(found.is_some())),
        },
        Val::Optional(Some(inner)) => has(inner, field),
        _ => Ok(Val::Bool(false)),
    }
}

fn field<'a>(operand: &Val<'a>, field: &str) -> Out<'a> {
    let key = Key::String(Text::Shared(Arc::from(field)));
    match operand {
        Val::Map(map) => map.get(&key).unwrap_or_else(|| error(format!("no such key: {field}"))),
        Val::Optional(_) => optional_get(operand, &key),
        _ => error(format!("no such key: {field}")),
    }
}

fn optional_get<'a>(operand: &Val<'a>, key: &Key<'_>) -> Out<'a> {
    match operand {
        Val::Map(map) => Ok(Val::Optional(map.get(key).transpose()?.map(Arc::new))),
        Val::Optional(Some(inner)) => optional_get(inner, key),
        _ => Ok(Val::Optional(None)),
    }
}

fn optional_index<'a>(operand: &Val<'a>, index: &Val<'a>) -> Out<'a> {
    match operand {
        Val::Optional(Some(inner)) => optional_index(inner, index),
        Val::List(list) => {
            let found = position(index).and_then(|index| list.get(usize::try_from(index).ok()?));
            Ok(Val::Optional(found.map(Arc::new)))
        }
        Val::Map(_) => match index.to_key() {
            Some(key) => optional_get(operand, &key),
            None => no_overload(),
        },
        _ => Ok(Val::Optional(None)),
    }
}

fn position(index: &Val<'_>) -> Option<i64> {
    match index {
        Val::Int(index) => Some(*index),
        Val::Uint(index) => i64::try_from(*index).ok(),
        Val::Double(index) if index.fract() == 0.0 => Some(*index as i64),
        _ => None,
    }
}

fn index<'a>(operand: &Val<'a>, at: &Val<'a>) -> Out<'a> {
    match operand {
        Val::List(list) => match position(at) {
            Some(index) => usize::try_from(index)
                .ok()
                .and_then(|index| list.get(index))
                .map_or_else(|| error(format!("index out of bounds: {index}")), Ok),
            None => error(format!("unsupported index type '{}' in list", at.type_of().name())),
        },
        Val::Map(map) => match at.to_key() {
            Some(key) => map.get(&key).unwrap_or_else(|| error(format!("no such key: {}", shown(&key)))),
            None => error(format!("unsupported key type: {}", at.type_of().name())),
        },
        Val::Optional(_) => optional_index(operand, at),
        _ => no_overload(),
    }
}

/// What a call costs: one, and more for large texts and lists.
fn cost(name: &str, args: &[Val<'_>]) -> u64 {
    let texts: usize = args.iter().filter_map(Val::as_str).map(str::len).sum();
    let lists: usize = match name {
        operators::IN | operators::ADD | operators::EQUALS | operators::NOT_EQUALS => {
            args.iter().map(|arg| if let Val::List(list) = arg { list.len() } else { 0 }).sum()
        }
        _ if name.starts_with("sets.") => {
            args.iter().map(|arg| if let Val::List(list) = arg { list.len() } else { 1 }).product()
        }
        _ => args.iter().map(|arg| if let Val::List(list) = arg { list.len() } else { 0 }).sum(),
    };
    let texts = if matches!(name, "matches" | "find" | "findAll") { texts } else { texts / 10 };
    let asks = if name == "check" { 350_000 } else { 0 };
    1 + u64::try_from(texts + lists).unwrap_or(u64::MAX / 2) + asks
}

/// Applies an operator; `None` when the name is none.
fn operator<'a>(name: &str, args: &[Val<'a>]) -> Option<Out<'a>> {
    Some(match (name, args) {
        (operators::EQUALS, [a, b]) => Ok(Val::Bool(a.equals(b))),
        (operators::NOT_EQUALS, [a, b]) => Ok(Val::Bool(!a.equals(b))),
        (operators::LESS, [a, b]) => compared(a, b, |order| order.is_lt()),
        (operators::LESS_EQUALS, [a, b]) => compared(a, b, |order| order.is_le()),
        (operators::GREATER, [a, b]) => compared(a, b, |order| order.is_gt()),
        (operators::GREATER_EQUALS, [a, b]) => compared(a, b, |order| order.is_ge()),
        (operators::LOGICAL_NOT, [Val::Bool(value)]) => Ok(Val::Bool(!value)),
        (operators::INDEX, [operand, at]) => index(operand, at),
        (operators::IN, [item, Val::List(list)]) => {
            Ok(Val::Bool(list.iter().any(|other| other.equals(item))))
        }
        (operators::IN, [key, Val::Map(map)]) => match key.to_key().and_then(|key| map.get(&key)) {
            Some(Err(fault)) => Err(fault),
            found => Ok(Val::Bool(found.is_some())),
        },
        (operators::ADD, [a, b]) => add(a, b),
        (operators::SUBSTRACT, [a, b]) => subtract(a, b),
        (operators::MULTIPLY, [a, b]) => match (a, b) {
            (Val::Int(a), Val::Int(b)) => int(a.checked_mul(*b)),
            (Val::Uint(a), Val::Uint(b)) => uint(a.checked_mul(*b)),
            (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a * b)),
            _ => no_overload(),
        },
        (operators::DIVIDE, [a, b]) => match (a, b) {
            (Val::Int(_), Val::Int(0)) | (Val::Uint(_), Val::Uint(0)) => error("division by zero"),
            (Val::Int(a), Val::Int(b)) => int(a.checked_div(*b)),
            (Val::Uint(a), Val::Uint(b)) => uint(a.checked_div(*b)),
            (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a / b)),
            _ => no_overload(),
        },
        (operators::MODULO, [a, b]) => match (a, b) {
            (Val::Int(_), Val::Int(0)) | (Val::Uint(_), Val::Uint(0)) => error("modulus by zero"),
            (Val::Int(a), Val::Int(b)) => int(a.checked_rem(*b)),
            (Val::Uint(a), Val::Uint(b)) => uint(a.checked_rem(*b)),
            _ => no_overload(),
        },
        (operators::NEGATE, [Val::Int(value)]) => int(value.checked_neg()),
        (operators::NEGATE, [Val::Double(value)]) => Ok(Val::Double(-value)),
        (MAP_INSERT, [Val::Map(map), rest @ ..]) => insert(map, rest),
        (name, _) if name.starts_with(['_', '!', '-', '@']) => no_overload(),
        _ => return None,
    })
}

fn insert<'a>(map: &Map<'a>, added: &[Val<'a>]) -> Out<'a> {
    let mut entries: BTreeMap<Key<'a>, Val<'a>> = BTreeMap::new();
    for key in map.keys() {
        if let Some(value) = map.get(&key) {
            entries.insert(key, value?);
        }
    }
    let mut add = |key: Key<'a>, value: Val<'a>| {
        if entries.contains_key(&key) {
            return error(format!(
                "insert failed: key {} already exists",
                key.to_val().to_json().unwrap_or_default()
            ));
        }
        entries.insert(key, value);
        Ok(())
    };
    match added {
        [Val::Map(more)] => {
            for key in more.keys() {
                if let Some(value) = more.get(&key) {
                    add(key, value?)?;
                }
            }
        }
        [key, value] => match key.to_key() {
            Some(key) => add(key, value.clone())?,
            None => return no_overload(),
        },
        _ => return no_overload(),
    }
    Ok(Val::Map(Map::Entries(Arc::new(entries))))
}

fn compared<'a>(a: &Val<'a>, b: &Val<'a>, holds: fn(std::cmp::Ordering) -> bool) -> Out<'a> {
    match a.compare(b) {
        Some(order) => Ok(Val::Bool(holds(order))),
        // Nothing is less or greater than what is no number.
        None if matches!((a, b), (Val::Double(_), _) | (_, Val::Double(_)))
            && [a, b].iter().all(|v| matches!(v, Val::Double(_) | Val::Int(_) | Val::Uint(_))) =>
        {
            error("NaN values cannot be ordered")
        }
        None => no_overload(),
    }
}

fn int<'a>(value: Option<i64>) -> Out<'a> {
    value.map_or_else(|| error("integer overflow"), |value| Ok(Val::Int(value)))
}

fn uint<'a>(value: Option<u64>) -> Out<'a> {
    value.map_or_else(|| error("unsigned integer overflow"), |value| Ok(Val::Uint(value)))
}

fn add<'a>(a: &Val<'a>, b: &Val<'a>) -> Out<'a> {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => int(a.checked_add(*b)),
        (Val::Uint(a), Val::Uint(b)) => uint(a.checked_add(*b)),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a + b)),
        (Val::String(a), Val::String(b)) => Ok(format!("{}{}", a.as_str(), b.as_str()).into()),
        (Val::Bytes(a), Val::Bytes(b)) => Ok(Val::Bytes(Arc::from([a.as_ref(), b.as_ref()].concat()))),
        (Val::List(a), Val::List(b)) => Ok(a.iter().chain(b.iter()).collect::<Vec<_>>().into()),
        (Val::Timestamp(at), Val::Duration(by)) | (Val::Duration(by), Val::Timestamp(at)) => {
            at.checked_add(*by).map_or_else(|_| error("timestamp overflow"), |at| Ok(Val::Timestamp(at)))
        }
        (Val::Duration(a), Val::Duration(b)) => {
            a.checked_add(*b).map_or_else(|| error("duration overflow"), |sum| Ok(Val::Duration(sum)))
        }
        _ => no_overload(),
    }
}

fn subtract<'a>(a: &Val<'a>, b: &Val<'a>) -> Out<'a> {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => int(a.checked_sub(*b)),
        (Val::Uint(a), Val::Uint(b)) => uint(a.checked_sub(*b)),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a - b)),
        (Val::Timestamp(a), Val::Timestamp(b)) => Ok(Val::Duration(a.duration_since(*b))),
        (Val::Timestamp(at), Val::Duration(by)) => {
            at.checked_sub(*by).map_or_else(|_| error("timestamp overflow"), |at| Ok(Val::Timestamp(at)))
        }
        (Val::Duration(a), Val::Duration(b)) => {
            a.checked_sub(*b).map_or_else(|| error("duration overflow"), |rest| Ok(Val::Duration(rest)))
        }
        _ => no_overload(),
    }
}
