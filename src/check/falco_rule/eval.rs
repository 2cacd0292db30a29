//! Conditions evaluated on one recorded event, and outputs written for it. A field that an event does not have makes a
//! comparison false, as in Falco, whatever the operator.

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine;
use ipnet::IpNet;
use regex::Regex;
use serde_json::Value;

use super::fields::{self, Kind};
use super::filter::{self, Expr, Operand, Operator, Right, Test, Transformer};

/// The fields of an event.
pub(super) type Event = BTreeMap<String, Value>;

/// Tells whether a condition holds for an event.
pub(super) fn holds(expr: &Expr, event: &Event) -> bool {
    match expr {
        Expr::And(parts) => parts.iter().all(|part| holds(part, event)),
        Expr::Or(parts) => parts.iter().any(|part| holds(part, event)),
        Expr::Not(inner) => !holds(inner, event),
        Expr::Macro(_) => false,
        Expr::Test(test) => test_holds(test, event),
    }
}

fn test_holds(test: &Test, event: &Event) -> bool {
    let values = values(&test.left, event);
    if values.is_empty() {
        return false;
    }
    let (name, _) = fields::split(&test.left.field);
    let kind = match test.left.transformers.first() {
        Some(Transformer::Len) => Kind::Number,
        _ => fields::kind(name, test.left.field.ends_with(']')).unwrap_or(Kind::Text),
    };
    let right: Vec<String> = match &test.right {
        Right::Nothing => return true,
        Right::One(word) => vec![word.text.clone()],
        Right::List(words) => words.iter().map(|word| word.text.clone()).collect(),
        Right::Field(field) => {
            let right = self::values(field, event);
            if right.is_empty() {
                return false;
            }
            right
        }
    };
    let either = fields::is_either(name) && !test.left.field.ends_with(']');
    let equal = |left: &String| right.iter().any(|right| same(kind, left, right));
    match test.operator {
        Operator::Exists => true,
        Operator::Ne => values.iter().all(|left| !equal(left)),
        Operator::In if !either => values.iter().all(equal),
        Operator::Eq | Operator::In | Operator::Intersects => values.iter().any(equal),
        operator => values.iter().any(|left| right.iter().any(|right| compare(operator, left, right))),
    }
}

fn same(kind: Kind, left: &str, right: &str) -> bool {
    match kind {
        Kind::Number => number(left).is_some() && number(left) == number(right),
        Kind::Bool => left.eq_ignore_ascii_case(right),
        Kind::Address => match (left.parse::<IpAddr>(), right.parse::<IpAddr>()) {
            (Ok(left), Ok(right)) => left == right,
            _ => false,
        },
        Kind::Network => match (left.parse::<IpAddr>(), network(right)) {
            (Ok(left), Some(right)) => right.contains(&left),
            _ => false,
        },
        Kind::Text => left == right,
        Kind::Any => left == right || (number(left).is_some() && number(left) == number(right)),
    }
}

fn compare(operator: Operator, left: &str, right: &str) -> bool {
    let ordered = |fits: fn(std::cmp::Ordering) -> bool| match (number(left), number(right)) {
        (Some(left), Some(right)) => left.partial_cmp(&right).is_some_and(fits),
        _ => false,
    };
    match operator {
        Operator::Lt => ordered(std::cmp::Ordering::is_lt),
        Operator::Le => ordered(std::cmp::Ordering::is_le),
        Operator::Gt => ordered(std::cmp::Ordering::is_gt),
        Operator::Ge => ordered(std::cmp::Ordering::is_ge),
        Operator::Contains => left.contains(right),
        Operator::IContains => left.to_lowercase().contains(&right.to_lowercase()),
        Operator::StartsWith => left.starts_with(right),
        Operator::EndsWith => left.ends_with(right),
        Operator::BContains => bytes(right).is_some_and(|right| {
            !right.is_empty() && left.as_bytes().windows(right.len()).any(|window| window == right)
        }),
        Operator::BStartsWith => bytes(right).is_some_and(|right| left.as_bytes().starts_with(&right)),
        Operator::Glob => glob(right, false).is_some_and(|glob| glob.is_match(left)),
        Operator::IGlob => glob(right, true).is_some_and(|glob| glob.is_match(left)),
        Operator::Regex => Regex::new(&format!("^(?:{right})$")).is_ok_and(|regex| regex.is_match(left)),
        Operator::Pmatch => below(right, left),
        _ => false,
    }
}

/// Tells whether a path is the given one or lies below it; each part of the given one may have wildcards.
fn below(prefix: &str, path: &str) -> bool {
    let parts = |text: &str| -> Vec<String> {
        text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    };
    let (prefix, path) = (parts(prefix), parts(path));
    prefix.len() <= path.len()
        && prefix.iter().zip(&path).all(|(pattern, part)| {
            pattern == part || glob(pattern, false).is_some_and(|glob| glob.is_match(part))
        })
}

/// Makes a shell pattern into a regular expression; `*` goes across slashes.
fn glob(pattern: &str, insensitive: bool) -> Option<Regex> {
    let mut out = String::from(if insensitive { "(?is)^" } else { "(?s)^" });
    let mut chars = pattern.chars();
    let mut class = false;
    while let Some(char) = chars.next() {
        match char {
            ']' if class => {
                class = false;
                out.push(']');
            }
            '!' if class && out.ends_with('[') => out.push('^'),
            '-' | '^' if class => out.push(char),
            '[' if !class => {
                class = true;
                out.push('[');
            }
            '*' if !class => out.push_str(".*"),
            '?' if !class => out.push('.'),
            '\\' => out.push_str(&regex::escape(&chars.next().unwrap_or('\\').to_string())),
            other => out.push_str(&regex::escape(&other.to_string())),
        }
    }
    out.push('$');
    Regex::new(&out).ok()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        hex.chars().map(|char| char.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    digits.len().is_multiple_of(2).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Reads a number, decimal or hexadecimal.
pub(super) fn number(text: &str) -> Option<f64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|number| number as f64),
        None => text.parse::<f64>().ok().filter(|number| number.is_finite()),
    }
}

/// Reads a network; an address is one of itself.
pub(super) fn network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Returns the values of a field after its transformers; none when the event does not have it.
fn values(operand: &Operand, event: &Event) -> Vec<String> {
    let found = lookup(&operand.field, event);
    let mut values: Vec<String> = match found {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.iter().map(show).collect(),
        Some(value) => vec![show(value)],
    };
    for transformer in operand.transformers.iter().rev() {
        values = match transformer {
            Transformer::Val => values,
            Transformer::Len if found.is_some_and(Value::is_array) => vec![values.len().to_string()],
            Transformer::Len => values.iter().map(|value| value.len().to_string()).collect(),
            Transformer::ToLower => values.iter().map(|value| value.to_lowercase()).collect(),
            Transformer::ToUpper => values.iter().map(|value| value.to_uppercase()).collect(),
            Transformer::Basename => {
                values.iter().map(|value| value.rsplit('/').next().unwrap_or_default().to_owned()).collect()
            }
            Transformer::Base64 => values
                .iter()
                .filter_map(|value| {
                    let bytes = base64::engine::general_purpose::STANDARD.decode(value).ok()?;
                    String::from_utf8(bytes).ok()
                })
                .collect(),
        };
    }
    values
}

/// Finds a field under either of its spellings: `evt.arg.path` and `evt.arg[path]`.
fn lookup<'a>(field: &str, event: &'a Event) -> Option<&'a Value> {
    if let Some(value) = event.get(field) {
        return Some(value);
    }
    if let (name, Some(argument)) = fields::split(field) {
        return event.get(&format!("{name}.{argument}"));
    }
    field.match_indices('.').find_map(|(at, _)| event.get(&format!("{}[{}]", &field[..at], &field[at + 1..])))
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// One piece of an output.
enum Piece {
    Text(String),
    Field(Operand),
}

fn pieces(output: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = output.strip_prefix('*').unwrap_or(output);
    while let Some(at) = rest.find('%') {
        pieces.push(Piece::Text(rest[..at].to_owned()));
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('%') {
            pieces.push(Piece::Text("%".to_owned()));
            rest = after;
            continue;
        }
        let Some((mut operand, mut length)) = filter::operand(after) else {
            let shown: String = after.chars().take(30).collect();
            return Err(format!("the output names no field at `%{shown}`"));
        };
        let asked = operand.field.clone();
        // A full stop or a word may follow the field's name.
        loop {
            let (name, argument) = fields::split(&operand.field);
            if fields::kind(name, argument.is_some()).is_some() {
                break;
            }
            let shorter = (operand.transformers.is_empty() && argument.is_none())
                .then(|| operand.field.rsplit_once('.').map(|(shorter, _)| shorter.to_owned()))
                .flatten();
            let Some(shorter) = shorter else {
                return Err(format!("the output names `{asked}`, which is no field"));
            };
            length -= operand.field.chars().count() - shorter.chars().count();
            operand.field = shorter;
        }
        let end = after.char_indices().nth(length).map_or(after.len(), |(at, _)| at);
        pieces.push(Piece::Field(operand));
        rest = &after[end..];
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

/// Tells what is wrong with an output, if anything is.
pub(super) fn faults_of_output(output: &str) -> Result<(), String> {
    pieces(output).map(|_| ())
}

/// Writes an output for an event; what it does not have is `<NA>`.
pub(super) fn write(output: &str, event: &Event) -> String {
    let mut out = String::new();
    for piece in pieces(output).unwrap_or_default() {
        match piece {
            Piece::Text(text) => out.push_str(&text),
            Piece::Field(operand) => {
                let values = values(&operand, event);
                out.push_str(&if values.is_empty() { "<NA>".to_owned() } else { values.join(", ") });
            }
        }
    }
    out.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event() -> Event {
        let fields = json!({
            "evt.type": "openat", "fd.name": "/etc/shadow", "proc.name": "cat", "user.uid": 1000,
            "fd.sip": "10.1.2.3", "fd.snet": "10.1.2.3", "fd.ip": ["10.1.2.3", "10.9.9.9"],
            "container.id": "abc", "proc.aname": ["bash", "sshd"], "evt.is_open_read": true,
            "evt.arg.flags": "O_RDONLY|O_CLOEXEC", "ka.user.groups": ["dev", "ops"], "proc.args": "",
        });
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn conditions_hold_as_in_falco() {
        for (condition, expected) in [
            ("evt.type in (open, openat) and fd.name startswith /etc/", true),
            ("proc.pname != bash", false),
            ("not proc.pname = bash", true),
            ("proc.pname exists", false),
            ("proc.args exists", true),
            ("user.uid >= 0x3e8 and user.uid < 1001", true),
            ("user.uid in (0, 1000)", true),
            ("fd.name pmatch (/etc, /root)", true),
            ("fd.name pmatch (/et)", false),
            ("fd.name glob '/e*w'", true),
            ("fd.name regex '/etc/(shadow|passwd)'", true),
            ("fd.name regex 'shadow'", false),
            ("fd.snet in ('10.1.0.0/16')", true),
            ("fd.ip = 10.9.9.9", true),
            ("fd.ip != 10.9.9.9", false),
            ("proc.aname = sshd", true),
            ("proc.aname in (sshd)", true),
            ("ka.user.groups in (dev)", false),
            ("ka.user.groups intersects (dev)", true),
            ("evt.is_open_read = true", true),
            ("evt.arg[flags] icontains cloexec", true),
            ("toupper(proc.name) = CAT", true),
            ("basename(fd.name) = shadow and len(fd.name) = 11", true),
            ("proc.name = val(proc.name)", true),
            ("evt.type = open or fd.name contains shadow and proc.name = vi", false),
        ] {
            assert_eq!(holds(&filter::parse(condition).unwrap(), &event()), expected, "{condition}");
        }
    }

    #[test]
    fn outputs_are_filled_in() {
        let output = "%proc.name read %fd.name. by %user.name (100%%) %evt.arg[flags]";
        assert_eq!(write(output, &event()), "cat read /etc/shadow. by <NA> (100%) O_RDONLY|O_CLOEXEC");
        assert!(faults_of_output("%proc.nam").is_err());
        assert!(faults_of_output("50 % of").is_err());
    }
}
