//! What each function costs by the sizes of its arguments.

use cel::common::ast::{Expr, LiteralValue, operators};

use super::{Estimate, Estimator, PATTERN, Part, Range, TRAVERSAL, size_of};
use crate::cel::signature::Signature;
use crate::cel::types::Type;

/// The longest pattern behind a named format.
const FORMAT_PATTERN: f64 = 128.0;
/// How long a named format is at most.
const FORMAT: u64 = 64;

impl<'e> Estimator<'e> {
    /// Estimates a call without its arguments.
    pub(super) fn alone(
        &self,
        overload: &Signature,
        target: Option<&Part<'e>>,
        args: &[Part<'e>],
    ) -> Estimate {
        self.of_kubernetes(overload, target, args)
            .or_else(|| of_language(overload, target, args))
            .unwrap_or_else(|| cheap(1))
    }

    /// The functions that Kubernetes adds, and operators on its own types.
    fn of_kubernetes(
        &self,
        overload: &Signature,
        target: Option<&Part<'e>>,
        args: &[Part<'e>],
    ) -> Option<Estimate> {
        let first = args.first();
        Some(match (overload.name.as_str(), target) {
            ("sets.contains" | "sets.intersects" | "sets.equivalent", _) => {
                let factor = if overload.name == "sets.equivalent" { 2.0 } else { 1.0 };
                let product = size_of(args.first()?).times(size_of(args.get(1)?));
                costing(product.scaled(factor).plus(Range::exactly(1)))
            }
            ("check", _) => cheap(350_000),
            ("fieldSelector" | "labelSelector", _) => {
                let length = size_of(first?);
                let requirements = length.scaled(0.5).scaled(50.0);
                costing(Range::exactly(10).plus(length.scaled(TRAVERSAL)).plus(requirements))
            }
            ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", Some(target)) => {
                let Some(item) = self.item_of(target) else {
                    return Some(costing(size_of(target).scaled(TRAVERSAL)));
                };
                let mut each = Range::exactly(1);
                if matches!(item.kind, Type::String | Type::Bytes) {
                    each = each.plus(size_of(&item).scaled(TRAVERSAL));
                }
                costing(size_of(target).times(each))
            }
            ("url" | "jsonpatch.escapeKey", _) => {
                let size = size_of(first?);
                Estimate { cost: size.scaled(TRAVERSAL), size: Some(size) }
            }
            ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(target)) => {
                let size = size_of(target);
                Estimate { cost: size.scaled(TRAVERSAL), size: Some(size) }
            }
            ("replace", Some(target)) => {
                let size = size_of(target);
                let replaced = replaced(size, size_of(first?), size_of(args.get(1)?));
                Estimate { cost: size.scaled(2.0 * TRAVERSAL), size: Some(replaced) }
            }
            ("split", Some(target)) => {
                let size = size_of(target);
                let limit = args.get(1).and_then(literal_int).and_then(|limit| u64::try_from(limit).ok());
                let most = if args.len() > 1 { limit.unwrap_or(size.max) } else { size.max };
                Estimate { cost: size.scaled(2.0 * TRAVERSAL), size: Some(Range { min: 0, max: most }) }
            }
            ("join", Some(target)) => {
                let length = size_of(target);
                let mut size = Range::NOTHING;
                if let Some(item) = self.item_of(target) {
                    size = length.times(size_of(&item));
                }
                if let Some(separator) = first {
                    let between =
                        Range { min: length.min.saturating_sub(1), max: length.max.saturating_sub(1) };
                    size = size.plus(size_of(separator).times(between));
                }
                Estimate { cost: size.scaled(TRAVERSAL), size: Some(size) }
            }
            ("find" | "findAll", Some(target)) => {
                let size = size_of(target);
                let cost = searched(size, size_of(first?));
                Estimate { cost, size: Some(Range { min: 0, max: size.max }) }
            }
            ("containsIP" | "containsCIDR", Some(_)) => {
                // Addresses of 4 or 16 bytes are compared.
                let address = Range { min: 4, max: 16 };
                let mut cost = address.plus(address).scaled(TRAVERSAL);
                if overload.name == "containsCIDR" {
                    cost = cost.plus(address.scaled(TRAVERSAL)).plus(Range::exactly(1));
                }
                if matches!(overload.args.last(), Some(Type::String)) {
                    cost = cost.plus(size_of(first?).scaled(TRAVERSAL));
                }
                costing(cost)
            }
            ("validate", Some(_)) => {
                costing(size_of(first?).scaled(TRAVERSAL).scaled(FORMAT_PATTERN * PATTERN))
            }
            (operators::EQUALS, _) => of_opaque(first?, args.get(1)?)?,
            _ => return None,
        })
    }
}

/// The functions of the language itself whose costs go with sizes.
fn of_language(overload: &Signature, target: Option<&Part<'_>>, args: &[Part<'_>]) -> Option<Estimate> {
    let first = args.first();
    let of = overload.args.first();
    Some(match (overload.name.as_str(), target) {
        ("format", Some(target)) => costing(size_of(target).scaled(TRAVERSAL)),
        ("bytes", None) if matches!(of, Some(Type::String)) => {
            let size = size_of(first?);
            let bytes = Range { min: size.min, max: size.max.saturating_mul(4) };
            Estimate { cost: size.scaled(TRAVERSAL), size: Some(bytes) }
        }
        ("string", None) if matches!(of, Some(Type::Bytes)) => {
            let size = size_of(first?);
            let text = Range { min: size.min / 4, max: size.max };
            Estimate { cost: size.scaled(TRAVERSAL), size: Some(text) }
        }
        ("strings.quote", _) => {
            let size = size_of(first?);
            let quoted =
                Range { min: size.min.saturating_add(2), max: size.max.saturating_mul(2).saturating_add(2) };
            Estimate { cost: size.scaled(TRAVERSAL), size: Some(quoted) }
        }
        ("startsWith" | "endsWith", Some(_)) => costing(size_of(first?).scaled(TRAVERSAL)),
        (operators::IN, _) if matches!(overload.args.get(1), Some(Type::List(_))) => {
            costing(size_of(args.get(1)?))
        }
        ("matches", Some(target)) => costing(searched(size_of(target), size_of(first?))),
        ("contains", Some(target)) => {
            costing(size_of(target).scaled(TRAVERSAL).times(size_of(first?).scaled(TRAVERSAL)))
        }
        (operators::ADD, _) if matches!(of, Some(Type::String | Type::Bytes | Type::List(_))) => {
            let size = size_of(first?).plus(size_of(args.get(1)?));
            let cost =
                if matches!(of, Some(Type::List(_))) { Range::exactly(1) } else { size.scaled(TRAVERSAL) };
            Estimate { cost, size: Some(size) }
        }
        (operators::EQUALS | operators::NOT_EQUALS, _) => compared(first?, args.get(1)?),
        (operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS, _)
            if matches!(of, Some(Type::String | Type::Bytes)) =>
        {
            compared(first?, args.get(1)?)
        }
        _ => return None,
    })
}

fn cheap(cost: u64) -> Estimate {
    costing(Range::exactly(cost))
}

fn costing(cost: Range) -> Estimate {
    Estimate { cost, size: None }
}

/// Comparing ends with the shorter of both.
fn compared(a: &Part<'_>, b: &Part<'_>) -> Estimate {
    let shorter = size_of(a).max.min(size_of(b).max);
    costing(Range { min: u64::from(shorter > 0), max: shorter }.scaled(TRAVERSAL))
}

/// Looks for a pattern in a text; an empty one is looked at, too.
fn searched(text: Range, pattern: Range) -> Range {
    text.plus(Range::exactly(1)).scaled(TRAVERSAL).times(pattern.scaled(PATTERN))
}

/// Compares values of Kubernetes' own types.
fn of_opaque(a: &Part<'_>, b: &Part<'_>) -> Option<Estimate> {
    let (Type::Opaque(kind), Type::Opaque(other)) = (&a.kind, &b.kind) else { return None };
    if kind != other {
        return None;
    }
    Some(match *kind {
        "kubernetes.NamedFormat" => costing(Range { min: 1, max: FORMAT }.scaled(TRAVERSAL)),
        "kubernetes.URL" => {
            let most = b.size.map_or(1, |size| size.max);
            costing(Range { min: 1, max: most }.scaled(TRAVERSAL))
        }
        _ => cheap(1),
    })
}

/// Returns how long a text is once all of one thing in it is another.
fn replaced(text: Range, what: Range, by: Range) -> Range {
    let pieces = |length: u64, of: u64| (length as f64 / of as f64).ceil() as u64;
    let (mut count, mut kept) = (Range::NOTHING, Range::NOTHING);
    if what.min == 0 {
        // Nothing is found before and behind each character.
        count.max = text.max.saturating_add(1);
        kept.max = text.max;
    } else if by.max <= what.min {
        kept.max = text.max;
    } else {
        count.max = pieces(text.max, what.min);
    }
    if what.max == 0 {
        count.min = text.min.saturating_add(1);
        kept.min = text.min;
    } else if what.max <= by.min {
        kept.min = text.min;
    } else {
        count.min = pieces(text.min, what.max);
    }
    count.times(by).plus(kept)
}

fn literal_int(part: &Part<'_>) -> Option<i64> {
    match &part.expr?.expr {
        Expr::Literal(LiteralValue::Int(value)) => Some(*value.inner()),
        _ => None,
    }
}
