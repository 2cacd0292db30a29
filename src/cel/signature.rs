//! Declarations of functions, written as people write them: `list(<T>).indexOf(<T>) -> int`.

use super::types::Type;

/// One way to call a function.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Signature {
    /// The name, with its namespace: `sets.contains`.
    pub(super) name: String,
    /// Whether the first argument stands before the dot.
    pub(super) member: bool,
    /// The types of the arguments.
    pub(super) args: Vec<Type>,
    /// The type of the result.
    pub(super) result: Type,
}

impl Signature {
    /// Reads a declaration. The declarations are the library's own, and a test reads them all.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (call, result) = text.split_once(" -> ")?;
        let open = matching_open(call)?;
        let (head, args) = (&call[..open], call[open + 1..].strip_suffix(')')?);
        let mut args: Vec<Type> = split(args).into_iter().map(parse_type).collect::<Option<_>>()?;
        // A type before the dot is the receiver's; a lower-case word that is no type is a namespace.
        let dot = head.rfind('.');
        let (receiver, name) = match dot {
            Some(dot) => match parse_type(&head[..dot]) {
                Some(receiver) => (Some(receiver), &head[dot + 1..]),
                None => (None, head),
            },
            None => (None, head),
        };
        let member = receiver.is_some();
        if let Some(receiver) = receiver {
            args.insert(0, receiver);
        }
        Some(Self { name: name.to_owned(), member, args, result: parse_type(result)? })
    }
}

/// Finds the bracket that the last one closes.
fn matching_open(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, char) in text.char_indices().rev() {
        match char {
            ')' => depth += 1,
            '(' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

fn split(args: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, char) in args.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(args[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !args[start..].trim().is_empty() {
        parts.push(args[start..].trim());
    }
    parts
}

fn parse_type(text: &str) -> Option<Type> {
    if let Some(name) = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')) {
        return Some(Type::param(name));
    }
    if let Some(open) = text.find('(') {
        let parts = split(text[open + 1..].strip_suffix(')')?);
        let mut parts = parts.into_iter().map(parse_type).collect::<Option<Vec<_>>>()?.into_iter();
        return match &text[..open] {
            "list" => Some(Type::list(parts.next()?)),
            "map" => Some(Type::map(parts.next()?, parts.next()?)),
            "optional_type" => Some(Type::optional(parts.next()?)),
            "type" => Some(Type::Type(parts.next()?.into())),
            _ => None,
        };
    }
    Some(match text {
        "dyn" => Type::Dyn,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "null" => Type::Null,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        other => Type::Opaque(super::opaque::TYPES.iter().find(|name| **name == other)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receivers_namespaces_and_nested_types_are_told_apart() {
        let of = |text: &str| Signature::parse(text).unwrap();
        let index = of("list(<T>).indexOf(<T>) -> int");
        assert!(index.member && index.name == "indexOf" && index.args.len() == 2);
        let sets = of("sets.contains(list(<T>), list(<T>)) -> bool");
        assert!(!sets.member && sets.name == "sets.contains" && sets.args.len() == 2);
        let quantity = of("kubernetes.Quantity.add(kubernetes.Quantity) -> kubernetes.Quantity");
        assert!(quantity.member && quantity.name == "add");
        assert_eq!(of("f(map(<K>, list(<V>))) -> optional_type(<V>)").args[0].to_string(), "map(K, list(V))");
    }
}
