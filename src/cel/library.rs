//! The functions that expressions may call: declarations for the checker and implementations for the evaluation.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::Fault;
use super::signature::Signature;
use super::types::Type;
use super::value::Val;

mod authorizer;
mod convert;
pub(super) mod formats;
mod lists;
mod network;
pub(super) mod quantity;
pub(super) mod regexes;
mod semvers;
mod strings;
mod strings_format;
pub(super) mod time;
pub(super) mod url;

/// What a function does with its arguments, the receiver first.
pub(super) type Function = for<'a> fn(&[Val<'a>]) -> Result<Val<'a>, Fault>;

/// One way to call a function.
pub(super) struct Overload {
    /// How it is declared.
    pub(super) signature: Signature,
    /// What it does; nothing for operators, which the evaluation knows.
    function: Option<Function>,
}

/// All functions by name.
pub(super) struct Library {
    functions: BTreeMap<String, Vec<Overload>>,
    /// Declarations that could not be read; a test keeps it empty.
    unread: Vec<&'static str>,
}

pub(super) static LIBRARY: LazyLock<Library> = LazyLock::new(|| {
    let mut library = Library { functions: BTreeMap::new(), unread: Vec::new() };
    operators(&mut library);
    for declare in [
        convert::declare,
        strings::declare,
        strings_format::declare,
        time::declare,
        lists::declare,
        regexes::declare,
        url::declare,
        quantity::declare,
        network::declare,
        formats::declare,
        semvers::declare,
        authorizer::declare,
    ] {
        declare(&mut library);
    }
    library
});

impl Library {
    /// Adds a function, declared as `list(<T>).indexOf(<T>) -> int`.
    fn add(&mut self, declaration: &'static str, function: Function) {
        self.declare(declaration, Some(function));
    }

    fn declare(&mut self, declaration: &'static str, function: Option<Function>) {
        match Signature::parse(declaration) {
            Some(signature) => {
                let overloads = self.functions.entry(signature.name.clone()).or_default();
                overloads.push(Overload { signature, function });
            }
            None => self.unread.push(declaration),
        }
    }

    /// Tells whether there is a function of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }

    /// Returns the ways to call a function.
    pub(super) fn overloads(&self, name: &str) -> impl Iterator<Item = &Overload> {
        self.functions.get(name).into_iter().flatten()
    }

    /// Calls the first overload that takes the arguments; `None` when none does.
    pub(super) fn apply<'a>(
        &self,
        name: &str,
        member: bool,
        args: &[Val<'a>],
    ) -> Option<Result<Val<'a>, Fault>> {
        let overload = self.overloads(name).find(|overload| {
            overload.signature.member == member
                && overload.signature.args.len() == args.len()
                && overload.signature.args.iter().zip(args).all(|(wanted, arg)| takes(wanted, arg))
        })?;
        overload.function.map(|function| function(args))
    }
}

/// Tells whether a value may be an argument declared as `wanted`.
fn takes(wanted: &Type, arg: &Val<'_>) -> bool {
    match (wanted, arg) {
        (Type::Dyn | Type::Param(_), _) => true,
        (Type::List(_), Val::List(_))
        | (Type::Map(..), Val::Map(_))
        | (Type::Optional(_), Val::Optional(_)) => true,
        (Type::Type(_), Val::Type(_)) => true,
        (wanted, arg) => *wanted == arg.type_of(),
    }
}

/// Returns the type that a name stands for in an expression.
pub(super) fn type_named(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "int" => Type::Int,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "null_type" => Type::Null,
        "string" => Type::String,
        "type" => Type::Type(std::sync::Arc::new(Type::Dyn)),
        "uint" => Type::Uint,
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        other => Type::Opaque(super::opaque::TYPES.iter().find(|known| **known == other)?),
    })
}

fn operators(library: &mut Library) {
    let mut declare = |declarations: &[&'static str]| {
        for declaration in declarations {
            library.declare(declaration, None);
        }
    };
    declare(&[
        "_&&_(bool, bool) -> bool",
        "_||_(bool, bool) -> bool",
        "!_(bool) -> bool",
        "_?_:_(bool, <T>, <T>) -> <T>",
        "@not_strictly_false(bool) -> bool",
        "_==_(<T>, <T>) -> bool",
        "_!=_(<T>, <T>) -> bool",
        "_[_](list(<T>), int) -> <T>",
        "_[_](map(<K>, <V>), <K>) -> <V>",
        "_[_](optional_type(list(<T>)), int) -> optional_type(<T>)",
        "_[_](optional_type(map(<K>, <V>)), <K>) -> optional_type(<V>)",
        "_[?_](list(<T>), int) -> optional_type(<T>)",
        "_[?_](map(<K>, <V>), <K>) -> optional_type(<V>)",
        "_[?_](optional_type(list(<T>)), int) -> optional_type(<T>)",
        "_[?_](optional_type(map(<K>, <V>)), <K>) -> optional_type(<V>)",
        "@in(<T>, list(<T>)) -> bool",
        "@in(<K>, map(<K>, <V>)) -> bool",
        "_+_(int, int) -> int",
        "_+_(uint, uint) -> uint",
        "_+_(double, double) -> double",
        "_+_(string, string) -> string",
        "_+_(bytes, bytes) -> bytes",
        "_+_(list(<T>), list(<T>)) -> list(<T>)",
        "_+_(duration, duration) -> duration",
        "_+_(duration, timestamp) -> timestamp",
        "_+_(timestamp, duration) -> timestamp",
        "_-_(int, int) -> int",
        "_-_(uint, uint) -> uint",
        "_-_(double, double) -> double",
        "_-_(duration, duration) -> duration",
        "_-_(timestamp, duration) -> timestamp",
        "_-_(timestamp, timestamp) -> duration",
        "_*_(int, int) -> int",
        "_*_(uint, uint) -> uint",
        "_*_(double, double) -> double",
        "_/_(int, int) -> int",
        "_/_(uint, uint) -> uint",
        "_/_(double, double) -> double",
        "_%_(int, int) -> int",
        "_%_(uint, uint) -> uint",
        "-_(int) -> int",
        "-_(double) -> double",
        "cel.@mapInsert(map(<K>, <V>), <K>, <V>) -> map(<K>, <V>)",
        "cel.@mapInsert(map(<K>, <V>), map(<K>, <V>)) -> map(<K>, <V>)",
        "optional_type(<T>).or(optional_type(<T>)) -> optional_type(<T>)",
        "optional_type(<T>).orValue(<T>) -> <T>",
    ]);
    macro_rules! ordered {
        ($($operator:literal)*) => {
            $(declare(&[
                concat!($operator, "(bool, bool) -> bool"),
                concat!($operator, "(int, int) -> bool"),
                concat!($operator, "(int, double) -> bool"),
                concat!($operator, "(int, uint) -> bool"),
                concat!($operator, "(uint, uint) -> bool"),
                concat!($operator, "(uint, double) -> bool"),
                concat!($operator, "(uint, int) -> bool"),
                concat!($operator, "(double, double) -> bool"),
                concat!($operator, "(double, int) -> bool"),
                concat!($operator, "(double, uint) -> bool"),
                concat!($operator, "(string, string) -> bool"),
                concat!($operator, "(bytes, bytes) -> bool"),
                concat!($operator, "(timestamp, timestamp) -> bool"),
                concat!($operator, "(duration, duration) -> bool"),
            ]);)*
        };
    }
    ordered!("_<_" "_<=_" "_>_" "_>=_");
}

/// Fails a function.
fn fail<'a>(message: impl Into<String>) -> Result<Val<'a>, Fault> {
    Err(Fault::Error(message.into()))
}

/// Returns a text argument; overloads are chosen by type, so that it is one.
fn text<'v>(args: &'v [Val<'_>], index: usize) -> &'v str {
    args.get(index).and_then(Val::as_str).unwrap_or_default()
}

/// Returns a whole-number argument.
fn number(args: &[Val<'_>], index: usize) -> i64 {
    match args.get(index) {
        Some(Val::Int(value)) => *value,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declaration_is_read() {
        assert_eq!(LIBRARY.unread, Vec::<&str>::new());
    }
}
