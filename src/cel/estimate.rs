//! What an expression may cost at most, before it is evaluated: from the types of its parts and from the bounds of what
//! its variables hold. By the rules of cel-go's checker and of Kubernetes' library, whose figures decide which rules a
//! CustomResourceDefinition may have.

use std::collections::{BTreeMap, HashMap};

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};

use super::check::{Checked, qualified_name};
use super::library::LIBRARY;
use super::signature::Signature;
use super::sizes::{ITEMS, KEYS, Sizes, VALUES};
use super::types::Type;

mod calls;

/// What one character of a text costs to look at.
const TRAVERSAL: f64 = 0.1;
/// What one character of a pattern costs for each step through a text.
const PATTERN: f64 = 0.25;

/// From where to where a size or a cost goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    min: u64,
    max: u64,
}

impl Range {
    const UNKNOWN: Self = Self { min: 0, max: u64::MAX };
    const NOTHING: Self = Self { min: 0, max: 0 };

    const fn exactly(value: u64) -> Self {
        Self { min: value, max: value }
    }

    fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    fn scaled(self, factor: f64) -> Self {
        // The conversion of a number that is too large gives the largest.
        let scale = |value: u64| (value as f64 * factor).ceil() as u64;
        Self { min: scale(self.min), max: scale(self.max) }
    }

    fn or(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}

/// How large keys and values within something are.
#[derive(Debug, Clone, Copy)]
struct Entries {
    list: bool,
    key: Range,
    value: Range,
}

/// What is known of a name of a loop.
struct Local {
    path: Vec<String>,
    size: Option<Range>,
    entries: Option<Entries>,
}

/// A part of an expression as functions look at it.
struct Part<'e> {
    path: Vec<String>,
    kind: Type,
    expr: Option<&'e IdedExpr>,
    size: Option<Range>,
}

/// What a call costs, without its arguments where `alone`, and how large its result is.
struct Estimate {
    cost: Range,
    size: Option<Range>,
}

struct Estimator<'e> {
    checked: &'e Checked,
    sizes: &'e Sizes,
    paths: HashMap<u64, Vec<String>>,
    locals: BTreeMap<&'e str, Vec<Local>>,
    known: HashMap<u64, Range>,
    entries: HashMap<u64, Entries>,
}

/// Returns the most that a checked expression costs, whose variables are of these sizes.
pub(super) fn most(expr: &IdedExpr, checked: &Checked, sizes: &Sizes) -> u64 {
    let mut estimator = Estimator {
        checked,
        sizes,
        paths: HashMap::new(),
        locals: BTreeMap::new(),
        known: HashMap::new(),
        entries: HashMap::new(),
    };
    estimator.cost(expr).max
}

impl<'e> Estimator<'e> {
    fn cost(&mut self, node: &'e IdedExpr) -> Range {
        match &node.expr {
            Expr::Unspecified | Expr::Literal(_) => Range::NOTHING,
            Expr::Ident(name) => {
                let path = match self.local(name) {
                    Some(local) => local.path.clone(),
                    None => vec![name.clone()],
                };
                self.paths.insert(node.id, path);
                Range::exactly(1)
            }
            Expr::Select(select) => self.select(node, select),
            Expr::Call(call) => self.call(node, call),
            Expr::List(list) => {
                let mut cost = Range::exactly(10);
                let mut items = Range { min: if list.elements.is_empty() { 0 } else { u64::MAX }, max: 0 };
                for element in &list.elements {
                    cost = cost.plus(self.cost(element));
                    items = items.or(self.size_or_unknown(element));
                }
                let entries = Entries { list: true, key: Range::exactly(1), value: items };
                self.entries.insert(node.id, entries);
                cost
            }
            Expr::Map(map) => {
                let mut cost = Range::exactly(30);
                let none = Range { min: if map.entries.is_empty() { 0 } else { u64::MAX }, max: 0 };
                let (mut keys, mut values) = (none, none);
                for entry in &map.entries {
                    let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
                    cost = cost.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
                    keys = keys.or(self.size_or_unknown(&entry.key));
                    values = values.or(self.size_or_unknown(&entry.value));
                }
                self.entries.insert(node.id, Entries { list: false, key: keys, value: values });
                cost
            }
            Expr::Struct(object) => object.entries.iter().fold(Range::exactly(40), |cost, entry| {
                let value = match &entry.expr {
                    EntryExpr::StructField(field) => &field.value,
                    EntryExpr::MapEntry(entry) => &entry.value,
                };
                cost.plus(self.cost(value))
            }),
            Expr::Comprehension(comprehension) => self.comprehension(node, comprehension),
        }
    }

    fn select(&mut self, node: &'e IdedExpr, select: &'e SelectExpr) -> Range {
        let cost = self.cost(&select.operand);
        // Asking whether there is a field costs nothing.
        if select.test {
            return cost;
        }
        let looked_up =
            matches!(self.type_of(&select.operand), Type::Map(..) | Type::Object(_) | Type::Param(_));
        let mut path = self.path(&select.operand);
        path.push(select.field.clone());
        self.paths.insert(node.id, path);
        cost.plus(Range::exactly(u64::from(looked_up)))
    }

    fn call(&mut self, node: &'e IdedExpr, call: &'e CallExpr) -> Range {
        if let ("dyn", [arg]) = (call.func_name.as_str(), call.args.as_slice()) {
            let cost = self.cost(arg).plus(Range::exactly(1));
            self.copy(node, arg);
            return cost;
        }
        let mut costs = Vec::with_capacity(call.args.len());
        let mut parts = Vec::with_capacity(call.args.len());
        for arg in &call.args {
            costs.push(self.cost(arg));
            parts.push(self.part(arg));
        }
        let qualified = call.target.as_ref().and_then(|target| {
            let name = format!("{}.{}", qualified_name(target)?, call.func_name);
            LIBRARY.has(&name).then_some(name)
        });
        let mut cost = Range::NOTHING;
        let mut target = None;
        if let Some(on) = call.target.as_deref().filter(|_| qualified.is_none()) {
            cost = self.cost(on);
            target = Some(self.part(on));
        }
        let Some(overloads) = self.checked.overloads.get(&node.id).filter(|found| !found.is_empty()) else {
            return Range::NOTHING;
        };
        let mut own = Range { min: u64::MAX, max: 0 };
        let mut size: Option<Range> = None;
        for overload in overloads {
            let estimate = self.function(node, overload, target.as_ref(), &parts, &costs);
            own = own.or(estimate.cost);
            size = match (size, estimate.size) {
                (Some(known), Some(found)) => Some(known.or(found)),
                (known, found) => found.or(known),
            };
            let step = match (overload.name.as_str(), overload.args.first()) {
                (operators::INDEX, Some(Type::List(_))) => Some(ITEMS),
                (operators::INDEX, Some(Type::Map(..))) => Some(VALUES),
                _ => None,
            };
            if let (Some(step), Some(of)) = (step, call.args.first()) {
                size = self.entries_of(of).map(|entries| entries.value);
                let mut path = self.path(of);
                path.push(step.to_owned());
                self.paths.insert(node.id, path);
            }
            if size.is_none() {
                size = self.size(node);
            }
        }
        if let Some(size) = size {
            self.known.insert(node.id, size);
        }
        cost.plus(own)
    }

    fn comprehension(&mut self, node: &'e IdedExpr, of: &'e ComprehensionExpr) -> Range {
        let mut cost = self.cost(&of.iter_range).plus(self.cost(&of.accu_init));
        let accumulator = Local {
            path: self.path(&of.accu_init),
            size: self.size(&of.accu_init),
            entries: self.entries_of(&of.accu_init),
        };
        self.push(&of.accu_var, accumulator);
        let entries = self.entries_of(&of.iter_range);
        let list = match entries {
            Some(entries) => entries.list,
            None => matches!(self.type_of(&of.iter_range), Type::List(_)),
        };
        let step = |name: &str, path: &[String]| {
            let mut path = path.to_vec();
            path.push(name.to_owned());
            path
        };
        let path = self.path(&of.iter_range);
        let (keys, values) = (entries.map(|entries| entries.key), entries.map(|entries| entries.value));
        let key =
            Local { path: step(if list { "@indices" } else { KEYS }, &path), size: keys, entries: None };
        let value =
            Local { path: step(if list { ITEMS } else { VALUES }, &path), size: values, entries: None };
        match &of.iter_var2 {
            Some(second) => {
                self.push(&of.iter_var, key);
                self.push(second, value);
            }
            None => self.push(&of.iter_var, if list { value } else { key }),
        }
        let round = self.cost(&of.loop_cond).plus(self.cost(&of.loop_step));
        self.pop(&of.iter_var);
        if let Some(second) = &of.iter_var2 {
            self.pop(second);
        }
        cost = cost.plus(self.cost(&of.result));
        self.pop(&of.accu_var);
        let rounds = self.size_or_unknown(&of.iter_range);
        match &of.accu_init.expr {
            Expr::Literal(_) => {
                if let Some(size) = self.size(&of.accu_init) {
                    self.known.insert(node.id, size);
                }
            }
            Expr::List(_) | Expr::Map(_) => {
                self.known.insert(node.id, rounds);
                if let Some(entries) = self.entries_of(&of.loop_step) {
                    self.entries.insert(node.id, entries);
                }
            }
            _ => {}
        }
        cost.plus(rounds.times(round))
    }

    fn push(&mut self, name: &'e str, local: Local) {
        self.locals.entry(name).or_default().push(local);
    }

    fn pop(&mut self, name: &'e str) {
        if let Some(locals) = self.locals.get_mut(name) {
            locals.pop();
        }
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.get(name)?.last()
    }

    fn type_of(&self, node: &IdedExpr) -> Type {
        self.checked.types.get(&node.id).cloned().unwrap_or(Type::Dyn)
    }

    fn path(&self, node: &IdedExpr) -> Vec<String> {
        if let Expr::Ident(name) = &node.expr
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&node.id).cloned().unwrap_or_default()
    }

    fn part(&mut self, node: &'e IdedExpr) -> Part<'e> {
        Part { path: self.path(node), kind: self.type_of(node), expr: Some(node), size: self.size(node) }
    }

    /// Returns what a list holds, as a part of its own.
    fn item_of(&self, list: &Part<'e>) -> Option<Part<'e>> {
        let kind = match &list.kind {
            Type::List(of) | Type::Optional(of) => of.as_ref().clone(),
            Type::Map(key, _) => key.as_ref().clone(),
            _ => return None,
        };
        let mut path = list.path.clone();
        if !path.is_empty() {
            path.push(ITEMS.to_owned());
        }
        let size = self.declared(&path);
        Some(Part { path, kind, expr: None, size })
    }

    /// Returns the size that the schema gives to what a path leads to.
    fn declared(&self, path: &[String]) -> Option<Range> {
        if path.is_empty() {
            return None;
        }
        self.sizes.at(path).map(|sizes| Range { min: 0, max: sizes.most })
    }

    fn size(&mut self, node: &IdedExpr) -> Option<Range> {
        if let Some(known) = self.known.get(&node.id) {
            return Some(*known);
        }
        let count = |count: usize| Some(Range::exactly(u64::try_from(count).unwrap_or(u64::MAX)));
        match &node.expr {
            Expr::Literal(LiteralValue::String(text)) => return count(text.inner().chars().count()),
            Expr::Literal(LiteralValue::Bytes(bytes)) => return count(bytes.inner().len()),
            Expr::Literal(_) => return count(1),
            Expr::List(list) => return count(list.elements.len()),
            Expr::Map(map) => return count(map.entries.len()),
            _ => {}
        }
        if let Some(declared) = self.declared(&self.path(node)) {
            self.known.insert(node.id, declared);
            return Some(declared);
        }
        if is_scalar(&self.type_of(node)) {
            return Some(Range::exactly(1));
        }
        match &node.expr {
            Expr::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn size_or_unknown(&mut self, node: &IdedExpr) -> Range {
        self.size(node).unwrap_or(Range::UNKNOWN)
    }

    fn entries_of(&self, node: &IdedExpr) -> Option<Entries> {
        if let Some(found) = self.entries.get(&node.id) {
            return Some(*found);
        }
        match &node.expr {
            Expr::Ident(name) => self.local(name)?.entries,
            _ => None,
        }
    }

    fn copy(&mut self, to: &IdedExpr, from: &IdedExpr) {
        if let Some(size) = self.size(from) {
            self.known.insert(to.id, size);
        }
        if let Some(entries) = self.entries_of(from) {
            self.entries.insert(to.id, entries);
        }
    }

    /// Estimates one way to call a function, with its arguments.
    fn function(
        &mut self,
        node: &IdedExpr,
        overload: &Signature,
        target: Option<&Part<'e>>,
        args: &[Part<'e>],
        costs: &[Range],
    ) -> Estimate {
        let given = costs.iter().fold(Range::NOTHING, |sum, cost| sum.plus(*cost));
        match (overload.name.as_str(), costs) {
            // The second is not always looked at.
            (operators::LOGICAL_AND | operators::LOGICAL_OR, [a, b]) => {
                return Estimate { cost: Range { min: a.min, max: a.plus(*b).max }, size: None };
            }
            (operators::CONDITIONAL, [condition, yes, no]) => {
                let size = size_of(&args[1]).or(size_of(&args[2]));
                self.join(node, &args[1], &args[2]);
                return Estimate { cost: condition.plus(yes.or(*no)), size: Some(size) };
            }
            (operators::ADD, [_, _]) if matches!(overload.args.first(), Some(Type::List(_))) => {
                self.join(node, &args[0], &args[1]);
            }
            _ => {}
        }
        let own = self.alone(overload, target, args);
        Estimate { cost: own.cost.plus(given), size: own.size }
    }

    /// Notes that something is one of two.
    fn join(&mut self, node: &IdedExpr, a: &Part<'e>, b: &Part<'e>) {
        let entries = |part: &Part<'e>| part.expr.and_then(|expr| self.entries_of(expr));
        if let (Some(a), Some(b)) = (entries(a), entries(b)) {
            let both = Entries { list: a.list, key: a.key.or(b.key), value: a.value.or(b.value) };
            self.entries.insert(node.id, both);
        }
    }
}

fn size_of(part: &Part<'_>) -> Range {
    part.size.unwrap_or(Range::UNKNOWN)
}

fn is_scalar(kind: &Type) -> bool {
    match kind {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(of) => is_scalar(of),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
