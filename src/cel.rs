//! CEL as Kubernetes has it: parsed by the CEL crate, which only this module uses; type-checked, evaluated and bounded
//! here, with Kubernetes' function library, and with its wording of what is wrong.

mod check;
mod estimate;
mod eval;
mod library;
mod macros;
mod opaque;
pub mod re2;
mod shape;
mod signature;
mod sizes;
mod types;
mod value;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use cel::common::ast::{IdedExpr, SourceInfo};
use serde_json::Value;

pub use eval::Variables;
pub use opaque::{Access, Authorize, Authorizer, Decision, Opaque};
pub use shape::{RESERVED, Shape, escape};
pub use sizes::Sizes;
pub use types::{ObjectType, Type};
pub use value::{Key, List, Map, Text, Val};

/// What one evaluation may cost, as in Kubernetes: a step costs one, a request to the authorizer 350,000.
pub const CALL_LIMIT: u64 = 1_000_000;

/// The longest expression that is parsed.
const LONGEST: usize = 100_000;

/// How deep an expression may be nested.
const DEEPEST: usize = 128;

/// What expressions may use: variables with their types. The functions are always those of the library.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    names: check::Names,
    bind: bool,
}

impl Environment {
    /// Knows nothing but Kubernetes' functions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Declares a variable.
    #[must_use]
    pub fn with(mut self, name: &str, of: Type) -> Self {
        self.names.variables.insert(name.to_owned(), of);
        self
    }

    /// Allows what Kubernetes does not: `cel.bind`, and lists of items of different types.
    #[must_use]
    pub fn relaxed(mut self) -> Self {
        self.bind = true;
        self.names.mixed = true;
        self
    }

    /// Allows to write objects: `Object{...}`, those within it such as `Object.spec{...}`, and `JSONPatch{...}`.
    #[must_use]
    pub fn constructing(mut self) -> Self {
        self.names.constructs = true;
        self
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// [`CelError::Compile`] with all that is wrong with it.
    pub fn compile(&self, source: &str) -> Result<Program, CelError> {
        let (expr, info) = parse(source, self.bind)?;
        match check::check(&expr, &self.names) {
            Ok(checked) => Ok(Program { expr, source: source.to_owned(), output: checked.output }),
            Err(faults) => {
                let mut faults: Vec<(usize, usize, String)> = faults
                    .into_iter()
                    .map(|fault| {
                        let (line, column) = position(&info, fault.id);
                        (line, column, fault.message)
                    })
                    .collect();
                faults.sort_by_key(|fault| (fault.0, fault.1));
                Err(faulty(source, &faults))
            }
        }
    }
}

impl Environment {
    /// Returns the most that a program of this environment may cost, whose variables are of these sizes.
    pub fn estimate(&self, program: &Program, sizes: &Sizes) -> u64 {
        match check::check(&program.expr, &self.names) {
            Ok(checked) => estimate::most(&program.expr, &checked, sizes),
            Err(_) => 0,
        }
    }
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    expr: IdedExpr,
    source: String,
    output: Type,
}

/// Why an expression does not compile or evaluate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CelError {
    /// The source is not CEL.
    #[error("{message}")]
    Compile {
        /// Each fault with its place and the line it is in, in the form Kubernetes uses.
        message: String,
        /// The line of the first fault within the expression, from 1.
        line: u32,
        /// The column within the line, from 1.
        column: u32,
    },
    /// The expression failed while it was evaluated, for example `no such key: team`.
    #[error("{0}")]
    Evaluate(String),
}

/// Why an evaluation ended without a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Something in the expression failed.
    #[error("{0}")]
    Error(String),
    /// It cost more than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    Budget,
}

impl From<Fault> for CelError {
    fn from(fault: Fault) -> Self {
        Self::Evaluate(fault.to_string())
    }
}

impl Program {
    /// Compiles `source`; any name may be a variable.
    ///
    /// # Errors
    /// [`CelError::Compile`] with the place of the first fault.
    pub fn compile(source: &str) -> Result<Self, CelError> {
        let mut environment = Environment::new().relaxed();
        environment.names.open = true;
        environment.compile(source)
    }

    /// Compiles `source` and makes sure that it uses no variable beyond `variables`, whose types are not known.
    ///
    /// # Errors
    /// [`CelError::Compile`] for a fault or an undeclared variable.
    pub fn compile_with(source: &str, variables: &[&str]) -> Result<Self, CelError> {
        let environment = Environment::new().relaxed();
        variables.iter().fold(environment, |all, name| all.with(name, Type::Dyn)).compile(source)
    }

    /// Returns the type that it gives, as far as that is known before.
    pub fn output(&self) -> &Type {
        &self.output
    }

    /// Returns what was compiled.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Evaluates with the given variables.
    ///
    /// # Errors
    /// [`CelError::Evaluate`] for a missing key, a wrong type, a breached bound.
    pub fn evaluate(&self, bindings: &BTreeMap<String, Value>) -> Result<Value, CelError> {
        let variables: BTreeMap<String, Val<'_>> =
            bindings.iter().map(|(name, value)| (name.clone(), Val::json(value))).collect();
        let mut budget = CALL_LIMIT;
        let value = self.run(&variables, &mut budget)?;
        let kind = value.type_of();
        value.to_json().ok_or_else(|| CelError::Evaluate(format!("a {kind} has no JSON form")))
    }

    /// Evaluates, and takes what it costs from `budget`.
    ///
    /// # Errors
    /// [`Fault`] for a missing key, a wrong type, a spent budget.
    pub fn run<'a>(&self, variables: &dyn Variables<'a>, budget: &mut u64) -> Result<Val<'a>, Fault> {
        eval::Evaluation::new(variables, budget).of(&self.expr)
    }
}

fn environment(bind: bool) -> cel::Env {
    let mut env = cel::Env::stdlib();
    // The macros are none of the parser's own, which a test makes sure of.
    let _ = macros::add_to(&mut env, bind);
    env
}

fn parse(source: &str, bind: bool) -> Result<(IdedExpr, SourceInfo), CelError> {
    static KUBERNETES: LazyLock<cel::Env> = LazyLock::new(|| environment(false));
    static CHECKS: LazyLock<cel::Env> = LazyLock::new(|| environment(true));
    let size = source.chars().count();
    if size > LONGEST {
        let message = format!("expression code point size exceeds limit: size: {size}, limit {LONGEST}");
        return Err(faulty(source, &[(1, 0, message)]));
    }
    let deep = depth(source);
    if deep > DEEPEST {
        return Err(faulty(source, &[(1, 0, format!("expression recursion limit exceeded: {DEEPEST}"))]));
    }
    let env: &cel::Env = if bind { &CHECKS } else { &KUBERNETES };
    let parsed = with_room(deep, || env.parser().max_recursion_depth(96).parse_with_source_info(source));
    let Some(parsed) = parsed else {
        return Err(faulty(source, &[(1, 0, "the parser failed".to_owned())]));
    };
    parsed.map_err(|errors| {
        let faults: Vec<(usize, usize, String)> = errors
            .errors
            .iter()
            .map(|error| {
                let (line, column) = error.pos;
                let place = |value: isize| usize::try_from(value).unwrap_or(1);
                (place(line).max(1), place(column).max(1), error.msg.clone())
            })
            .collect();
        faulty(source, &faults)
    })
}

/// Runs the parser, on a stack of its own when the expression is nested: it takes many calls for each level.
fn with_room<T: Send>(deep: usize, parse: impl FnOnce() -> T + Send) -> Option<T> {
    const SHALLOW: usize = 12;
    const STACK: usize = 64 << 20;
    if deep <= SHALLOW {
        return Some(parse());
    }
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, parse).ok()?.join().ok()
    })
}

/// Estimates from the source alone how deep its tree will be, since the parser itself would overflow the stack: open
/// brackets, operators in a row, and choices within choices. What stands between `&&` and `||` is side by side.
fn depth(source: &str) -> usize {
    #[derive(Default)]
    struct Level {
        chain: usize,
        choices: usize,
    }
    let mut levels = vec![Level::default()];
    let mut outer = 0;
    let mut deepest = 0;
    let mut quote: Option<char> = None;
    let mut chars = source.chars().peekable();
    while let Some(char) = chars.next() {
        if let Some(open) = quote {
            match char {
                '\\' => {
                    chars.next();
                }
                char if char == open => quote = None,
                _ => {}
            }
            continue;
        }
        let nested = levels.len() > 1;
        let Some(level) = levels.last_mut() else { break };
        match char {
            '\'' | '"' => quote = Some(char),
            '(' | '[' | '{' => {
                outer += level.chain + level.choices + 2;
                levels.push(Level::default());
            }
            ')' | ']' | '}' if nested => {
                levels.pop();
                if let Some(level) = levels.last_mut() {
                    outer -= level.chain + level.choices + 2;
                    level.chain += 1;
                }
            }
            ',' | ':' => level.chain = 0,
            '&' | '|' => level.chain = 0,
            '?' if !matches!(chars.peek(), Some('.')) => {
                level.choices += 1;
                level.chain = 0;
            }
            '+' | '-' | '*' | '/' | '%' | '<' | '>' | '=' | '!' | '.' => level.chain += 1,
            _ => {}
        }
        let here = levels.last().map_or(0, |level| level.chain + level.choices);
        deepest = deepest.max(outer + here);
    }
    deepest
}

/// Returns line and column, from 1, of a node.
fn position(info: &SourceInfo, id: u64) -> (usize, usize) {
    let offset = info.offset_for(id).map_or(0, |(start, _)| start as usize);
    let (mut line, mut column) = (1, 1);
    for char in info.source.chars().take(offset) {
        if char == '\n' {
            line += 1;
            column = 1;
        } else {
            column += 1;
        }
    }
    (line, column)
}

/// Words faults: `ERROR: <input>:1:13: what is wrong`, the line, and a caret under the place.
fn faulty(source: &str, faults: &[(usize, usize, String)]) -> CelError {
    /// So many faults are told, as upstream; each repeats the line it is in.
    const MOST: usize = 100;
    let mut words: Vec<String> = faults
        .iter()
        .take(MOST)
        .map(|(line, column, message)| {
            let text = source.lines().nth(line - 1).unwrap_or_default();
            let dots = ".".repeat(column.saturating_sub(1));
            format!("ERROR: <input>:{line}:{column}: {message}\n | {text}\n | {dots}^")
        })
        .collect();
    if faults.len() > MOST {
        words.push(format!("{} more errors were truncated", faults.len() - MOST));
    }
    let (line, column) = faults.first().map_or((1, 1), |(line, column, _)| (*line, *column));
    CelError::Compile {
        message: words.join("\n"),
        line: u32::try_from(line).unwrap_or(1),
        column: u32::try_from(column.max(1)).unwrap_or(1),
    }
}
