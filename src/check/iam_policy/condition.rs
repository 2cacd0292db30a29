//! Conditions of policy statements: their operators, and whether one holds for what a request has under a key.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::super::object::matches;
use super::policy::listed;

/// An operator with what stands before and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operator {
    base: Base,
    negated: bool,
    if_exists: bool,
    set: Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Base {
    Text,
    TextInsensitive,
    Like,
    Number(Order),
    Date(Order),
    Bool,
    Binary,
    Address,
    Arn,
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Same,
    Less,
    LessOrSame,
    Greater,
    GreaterOrSame,
}

/// How keys with several values are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    One,
    All,
    Any,
}

impl Operator {
    /// Reads an operator's name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (set, name) = match name.split_once(':') {
            Some(("ForAllValues", name)) => (Set::All, name),
            Some(("ForAnyValue", name)) => (Set::Any, name),
            Some(_) => return None,
            None => (Set::One, name),
        };
        let (name, if_exists) = match name.strip_suffix("IfExists") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let (base, negated) = match name {
            "StringEquals" => (Base::Text, false),
            "StringNotEquals" => (Base::Text, true),
            "StringEqualsIgnoreCase" => (Base::TextInsensitive, false),
            "StringNotEqualsIgnoreCase" => (Base::TextInsensitive, true),
            "StringLike" => (Base::Like, false),
            "StringNotLike" => (Base::Like, true),
            "Bool" => (Base::Bool, false),
            "BinaryEquals" => (Base::Binary, false),
            "IpAddress" => (Base::Address, false),
            "NotIpAddress" => (Base::Address, true),
            "ArnEquals" | "ArnLike" => (Base::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Base::Arn, true),
            "Null" if !if_exists => (Base::Null, false),
            _ => {
                let (order, negated) =
                    match name.strip_prefix("Numeric").or_else(|| name.strip_prefix("Date"))? {
                        "Equals" => (Order::Same, false),
                        "NotEquals" => (Order::Same, true),
                        "LessThan" => (Order::Less, false),
                        "LessThanEquals" => (Order::LessOrSame, false),
                        "GreaterThan" => (Order::Greater, false),
                        "GreaterThanEquals" => (Order::GreaterOrSame, false),
                        _ => return None,
                    };
                (if name.starts_with("Numeric") { Base::Number(order) } else { Base::Date(order) }, negated)
            }
        };
        Some(Self { base, negated, if_exists, set })
    }
}

/// Tells whether a condition holds: any of the wanted values is enough, none of them may be there for a negated one.
pub(super) fn holds(operator: &Operator, given: Option<&Value>, wanted: &[String]) -> bool {
    let given = given.map(listed).unwrap_or_default();
    if operator.base == Base::Null {
        let missing = given.is_empty();
        return wanted
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case(if missing { "true" } else { "false" }));
    }
    if given.is_empty() {
        return match operator.set {
            Set::All => true,
            Set::Any => false,
            Set::One => operator.negated || operator.if_exists,
        };
    }
    let fits = |given: &String| {
        wanted.iter().any(|wanted| compare(operator.base, given, wanted)) != operator.negated
    };
    match operator.set {
        Set::All => given.iter().all(fits),
        Set::Any => given.iter().any(fits),
        // Without a quantifier a negated operator is about all values, any other about one.
        Set::One if operator.negated => given.iter().all(fits),
        Set::One => given.iter().any(fits),
    }
}

fn compare(base: Base, given: &str, wanted: &str) -> bool {
    match base {
        Base::Text | Base::Binary => given == wanted,
        Base::TextInsensitive => given.to_lowercase() == wanted.to_lowercase(),
        Base::Like => matches(wanted, given),
        Base::Bool => given.eq_ignore_ascii_case(wanted),
        Base::Number(order) => match (given.parse::<f64>(), wanted.parse::<f64>()) {
            (Ok(given), Ok(wanted)) => given.partial_cmp(&wanted).is_some_and(|is| order.is(is)),
            _ => false,
        },
        Base::Date(order) => match (instant(given), instant(wanted)) {
            (Some(given), Some(wanted)) => order.is(given.cmp(&wanted)),
            _ => false,
        },
        Base::Address => {
            let network =
                wanted.parse::<IpNet>().ok().or_else(|| wanted.parse::<IpAddr>().ok().map(IpNet::from));
            match (given.parse::<IpAddr>(), network) {
                (Ok(given), Some(network)) => network.contains(&given),
                _ => false,
            }
        }
        Base::Arn => {
            let (wanted, given): (Vec<&str>, Vec<&str>) =
                (wanted.splitn(6, ':').collect(), given.splitn(6, ':').collect());
            wanted.len() == given.len()
                && wanted.iter().zip(&given).all(|(wanted, given)| matches(wanted, given))
        }
        Base::Null => false,
    }
}

impl Order {
    fn is(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Same => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrSame => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrSame => ordering.is_ge(),
        }
    }
}

/// Reads a time as ISO 8601 or as seconds since 1970.
fn instant(text: &str) -> Option<jiff::Timestamp> {
    let seconds = || text.parse::<i64>().ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let day = || {
        let day = text.parse::<jiff::civil::Date>().ok()?;
        day.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|at| at.timestamp())
    };
    text.parse().ok().or_else(seconds).or_else(day)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_hold_as_in_the_cloud() {
        for (operator, given, wanted, expected) in [
            ("StringEquals", json!("a"), "a", true),
            ("StringEquals", json!(null), "a", false),
            ("StringNotEquals", json!(null), "a", true),
            ("StringEqualsIfExists", json!(null), "a", true),
            ("StringLike", json!("team/red"), "team/*", true),
            ("ForAllValues:StringEquals", json!(["a", "b"]), "a", false),
            ("ForAnyValue:StringEquals", json!(["a", "b"]), "a", true),
            ("NumericLessThan", json!(3), "10", true),
            ("DateGreaterThan", json!("2026-02-01T00:00:00Z"), "2026-01-01T00:00:00Z", true),
            ("Bool", json!(true), "true", true),
            ("IpAddress", json!("10.1.2.3"), "10.0.0.0/8", true),
            ("NotIpAddress", json!("10.1.2.3"), "10.0.0.0/8", false),
            ("ArnLike", json!("arn:aws:iam::1:role/ci"), "arn:aws:iam::*:role/*", true),
            ("Null", json!(null), "true", true),
            ("Null", json!("x"), "true", false),
        ] {
            let parsed = Operator::parse(operator).unwrap();
            let given = Some(&given).filter(|given| !given.is_null());
            assert_eq!(
                holds(&parsed, given, &[wanted.to_owned()]),
                expected,
                "{operator} {given:?} {wanted}"
            );
        }
        assert!(Operator::parse("StringEqual").is_none() && Operator::parse("NullIfExists").is_none());
    }
}
