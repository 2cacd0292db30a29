//! Types as the checker reasons about them: how they are written, what may stand for what, and how type parameters of
//! an overload are bound. Knows no values.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Anything, known when it is evaluated.
    Dyn,
    /// What an expression with a fault has; goes with everything, so that one fault is told once.
    Error,
    /// `null`
    Null,
    /// `bool`
    Bool,
    /// `int`
    Int,
    /// `uint`
    Uint,
    /// `double`
    Double,
    /// `string`
    String,
    /// `bytes`
    Bytes,
    /// `timestamp`
    Timestamp,
    /// `duration`
    Duration,
    /// `list(T)`
    List(Arc<Type>),
    /// `map(K, V)`
    Map(Arc<Type>, Arc<Type>),
    /// `optional_type(T)`
    Optional(Arc<Type>),
    /// The type of a type.
    Type(Arc<Type>),
    /// A type parameter of an overload, or a variable of the checker.
    Param(Arc<str>),
    /// An object with known fields.
    Object(Arc<ObjectType>),
    /// A type of the library that only its own functions know.
    Opaque(&'static str),
}

/// An object's name and fields.
#[derive(Debug, PartialEq, Eq)]
pub struct ObjectType {
    /// The name, as messages show it.
    pub name: String,
    /// The fields with their types.
    pub fields: BTreeMap<String, Type>,
}

impl Type {
    /// Makes a list.
    pub fn list(of: Type) -> Self {
        Self::List(Arc::new(of))
    }

    /// Makes a map.
    pub fn map(key: Type, value: Type) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    /// Makes an optional.
    pub fn optional(of: Type) -> Self {
        Self::Optional(Arc::new(of))
    }

    /// Makes an object.
    pub fn object(name: &str, fields: impl IntoIterator<Item = (String, Type)>) -> Self {
        Self::Object(Arc::new(ObjectType { name: name.to_owned(), fields: fields.into_iter().collect() }))
    }

    pub(super) fn param(name: &str) -> Self {
        Self::Param(Arc::from(name))
    }

    pub(super) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// Returns the name alone, without parameters.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Dyn => "dyn",
            Self::Error => "!error!",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Param(name) => name,
            Self::Object(object) => &object.name,
            Self::Opaque(name) => name,
        }
    }

    fn parts(&self) -> Vec<&Type> {
        match self {
            Self::List(of) | Self::Optional(of) | Self::Type(of) => vec![of],
            Self::Map(key, value) => vec![key, value],
            _ => Vec::new(),
        }
    }

    fn rebuild(&self, parts: &mut dyn FnMut(&Type) -> Type) -> Type {
        match self {
            Self::List(of) => Self::List(Arc::new(parts(of))),
            Self::Optional(of) => Self::Optional(Arc::new(parts(of))),
            Self::Type(of) => Self::Type(Arc::new(parts(of))),
            Self::Map(key, value) => {
                let key = parts(key);
                Self::Map(Arc::new(key), Arc::new(parts(value)))
            }
            other => other.clone(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        let parts = self.parts();
        if !parts.is_empty() {
            let parts: Vec<String> = parts.iter().map(ToString::to_string).collect();
            write!(f, "({})", parts.join(", "))?;
        }
        Ok(())
    }
}

/// What the checker has found out about type variables.
#[derive(Debug, Clone, Default)]
pub(super) struct Bindings(BTreeMap<Arc<str>, Type>);

impl Bindings {
    /// Binds a variable.
    pub(super) fn bind(&mut self, name: Arc<str>, to: Type) {
        self.0.insert(name, to);
    }

    /// Replaces variables by what they are bound to; with `settle`, unbound ones by dyn.
    pub(super) fn substitute(&self, t: &Type, settle: bool) -> Type {
        match t {
            Type::Param(name) => match self.0.get(name) {
                Some(bound) => self.substitute(bound, settle),
                None if settle => Type::Dyn,
                None => t.clone(),
            },
            other => other.rebuild(&mut |part| self.substitute(part, settle)),
        }
    }

    /// Tells whether a value of type `actual` may stand where `wanted` is declared, and learns from it what variables
    /// must be. On false, nothing is learnt.
    pub(super) fn assignable(&mut self, wanted: &Type, actual: &Type) -> bool {
        let before = self.clone();
        if self.unify(wanted, actual) {
            return true;
        }
        *self = before;
        false
    }

    /// As [`Self::assignable`] for arguments, all or nothing.
    pub(super) fn all_assignable(&mut self, wanted: &[Type], actual: &[Type]) -> bool {
        let before = self.clone();
        if wanted.len() == actual.len() && wanted.iter().zip(actual).all(|(w, a)| self.unify(w, a)) {
            return true;
        }
        *self = before;
        false
    }

    fn unify(&mut self, wanted: &Type, actual: &Type) -> bool {
        if let Type::Param(name) = wanted {
            return self.unify_param(name, wanted, actual);
        }
        if let Type::Param(name) = actual {
            return self.unify_param(name, actual, wanted);
        }
        if wanted.is_dyn() || actual.is_dyn() {
            return true;
        }
        match (wanted, actual) {
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => self.unify(a, b),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::Map(k, v), Type::Map(l, w)) => self.unify(k, l) && self.unify(v, w),
            (Type::Object(a), Type::Object(b)) => a.name == b.name,
            // null stands for any object, and for times and durations.
            (Type::Object(_) | Type::Timestamp | Type::Duration | Type::Opaque(_), Type::Null)
            | (Type::Null, Type::Object(_) | Type::Timestamp | Type::Duration | Type::Opaque(_)) => true,
            (a, b) => a == b,
        }
    }

    fn unify_param(&mut self, name: &Arc<str>, param: &Type, other: &Type) -> bool {
        if let Some(bound) = self.0.get(name).cloned() {
            if !self.unify(&bound, other) {
                return false;
            }
            // The more general of both is what it is from now on.
            if other.is_dyn() {
                self.0.insert(name.clone(), Type::Dyn);
            } else if matches!(bound, Type::Null) && !matches!(other, Type::Param(_)) {
                self.0.insert(name.clone(), other.clone());
            }
            return true;
        }
        let other = self.substitute(other, false);
        if other != *param && !occurs(name, &other) {
            self.0.insert(name.clone(), other);
        }
        true
    }
}

fn occurs(name: &Arc<str>, within: &Type) -> bool {
    match within {
        Type::Param(other) => other == name,
        other => other.parts().iter().any(|part| occurs(name, part)),
    }
}

/// Returns the more general of two types, of which the second goes where the first is.
pub(super) fn most_general(a: &Type, b: &Type) -> Type {
    if a.is_dyn() || !b.is_dyn() && !matches!(a, Type::Null) { a.clone() } else { b.clone() }
}

/// Writes the arguments of a call as messages show them: `string.(int)` or `(int, int)`.
pub(super) fn signature(args: &[Type], member: bool) -> String {
    let join = |args: &[Type]| args.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match args.split_first() {
        Some((target, args)) if member => format!("{target}.({})", join(args)),
        _ => format!("({})", join(args)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_bound_once_and_hold() {
        let mut bindings = Bindings::default();
        let list = Type::list(Type::param("T"));
        assert!(
            bindings.all_assignable(&[list.clone(), Type::param("T")], &[Type::list(Type::Int), Type::Int])
        );
        assert_eq!(bindings.substitute(&list, true).to_string(), "list(int)");
        let mut bindings = Bindings::default();
        assert!(!bindings.all_assignable(&[list, Type::param("T")], &[Type::list(Type::Int), Type::String]));
        assert_eq!(bindings.substitute(&Type::param("T"), true), Type::Dyn);
    }

    #[test]
    fn dyn_goes_with_everything() {
        let mut bindings = Bindings::default();
        assert!(bindings.assignable(&Type::Bool, &Type::Dyn));
        assert!(bindings.assignable(&Type::list(Type::Dyn), &Type::list(Type::Int)));
        assert!(!bindings.assignable(&Type::Bool, &Type::Int));
    }
}
