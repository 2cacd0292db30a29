//! CEL: compile with a span, evaluate with bindings, the Kubernetes extension library. The only user of the CEL crate.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use cel::extensions;
use serde_json::Value;

/// A compiled expression.
#[derive(Debug)]
pub struct Program(cel::Program);

static ENV: LazyLock<Arc<cel::Env>> = LazyLock::new(|| {
    let mut env = cel::Env::stdlib();
    for extension in [extensions::strings, extensions::lists, extensions::math, extensions::encoders] {
        // The extensions are the crate's own and disjoint; one that is declared already is there.
        let _ = env.add_extension(extension);
    }
    Arc::new(env)
});

/// Why an expression does not compile or evaluate.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CelError {
    /// The source is not CEL.
    #[error("{message}")]
    Compile {
        /// The parser's words, in the form cel-go uses.
        message: String,
        /// The line within the expression, from 1.
        line: u32,
        /// The column within the line, from 1.
        column: u32,
    },
    /// The expression failed while it was evaluated, for example `no such key: team`.
    #[error("{0}")]
    Evaluate(String),
}

impl Program {
    /// Compiles `source` with the Kubernetes library.
    ///
    /// # Errors
    /// [`CelError::Compile`] with the place of the first fault.
    pub fn compile(source: &str) -> Result<Self, CelError> {
        ENV.compile(source).map(Self).map_err(|errors| {
            let (line, column) = errors.errors.first().map_or((1, 1), |error| error.pos);
            CelError::Compile {
                message: errors.to_string(),
                line: u32::try_from(line).unwrap_or(1),
                column: u32::try_from(column).unwrap_or(1),
            }
        })
    }

    /// Compiles `source` and makes sure that it uses no variable beyond `variables`.
    ///
    /// # Errors
    /// [`CelError::Compile`] for a fault or an undeclared variable.
    pub fn compile_with(source: &str, variables: &[&str]) -> Result<Self, CelError> {
        Self::compile(source).and_then(|program| {
            let bindings = variables.iter().map(|&name| (name.to_owned(), Value::Null)).collect();
            match program.evaluate(&bindings) {
                Err(CelError::Evaluate(message)) if message.starts_with("Undeclared reference") => {
                    Err(CelError::Compile { message, line: 1, column: 1 })
                }
                _ => Ok(program),
            }
        })
    }

    /// Evaluates with the given variables.
    ///
    /// # Errors
    /// [`CelError::Evaluate`] for a missing key, a wrong type, a breached bound.
    pub fn evaluate(&self, bindings: &BTreeMap<String, Value>) -> Result<Value, CelError> {
        let mut context = cel::Context::with_env(ENV.clone());
        for (name, value) in bindings {
            context
                .add_variable(name.as_str(), value)
                .map_err(|error| CelError::Evaluate(error.to_string()))?;
        }
        match self.0.execute(&context) {
            Ok(value) => to_json(&value),
            Err(cel::ExecutionError::NoSuchKey(key)) => {
                Err(CelError::Evaluate(format!("no such key: {key}")))
            }
            Err(error) => Err(CelError::Evaluate(error.to_string())),
        }
    }
}

fn to_json(value: &cel::Value) -> Result<Value, CelError> {
    Ok(match value {
        cel::Value::Null => Value::Null,
        cel::Value::Bool(value) => (*value).into(),
        cel::Value::Int(value) => (*value).into(),
        cel::Value::UInt(value) => (*value).into(),
        cel::Value::Float(value) => (*value).into(),
        cel::Value::String(value) => value.as_str().into(),
        cel::Value::List(values) => values.iter().map(to_json).collect::<Result<Vec<_>, _>>()?.into(),
        cel::Value::Map(map) => map
            .map
            .iter()
            .map(|(key, value)| Ok((key.to_string(), to_json(value)?)))
            .collect::<Result<serde_json::Map<_, _>, CelError>>()?
            .into(),
        other => return Err(CelError::Evaluate(format!("{other:?} has no JSON form"))),
    })
}
