//! `format` of texts: `%s`, `%d`, `%f`, `%e`, `%b`, `%o`, `%x` and `%X` with precision.

use super::convert::format_double;
use super::time::{format_duration, format_timestamp};
use super::{Library, fail, text};
use crate::cel::Fault;
use crate::cel::value::Val;

pub(super) fn declare(library: &mut Library) {
    library.add("string.format(list(dyn)) -> string", format);
}

fn format<'a>(args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let Val::List(list) = &args[1] else { return fail("no such overload") };
    let mut out = String::new();
    let mut next = 0;
    let mut chars = text(args, 0).chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            out.push(char);
            continue;
        }
        let mut precision = None;
        let mut verb = chars.next();
        if verb == Some('%') {
            out.push('%');
            continue;
        }
        if verb == Some('.') {
            let mut digits = String::new();
            verb = chars.next();
            while let Some(digit) = verb.filter(char::is_ascii_digit) {
                digits.push(digit);
                verb = chars.next();
            }
            precision = Some(digits.parse::<usize>().unwrap_or(0).min(100));
        }
        let Some(verb) = verb else { return fail("unexpected end of string") };
        let Some(value) = list.get(next) else { return fail(format!("index {next} out of range")) };
        next += 1;
        let written = match verb {
            's' => shown(&value),
            'd' => whole(&value),
            'f' => double(&value).map(|value| fixed(value, precision.unwrap_or(6))),
            'e' => double(&value).map(|value| scientific(value, precision.unwrap_or(6))),
            'b' => match &value {
                Val::Bool(value) => Some(u8::from(*value).to_string()),
                value => radix(value, |n| format!("{n:b}")),
            },
            'o' => radix(&value, |n| format!("{n:o}")),
            'x' => hexadecimal(&value),
            'X' => hexadecimal(&value).map(|text| text.to_uppercase()),
            other => {
                return fail(format!(
                    "could not parse formatting clause: unrecognized formatting clause \"{other}\""
                ));
            }
        };
        match written {
            Some(written) => out.push_str(&written),
            None => {
                return fail(format!(
                    "error during formatting: %{verb} cannot be used with {}",
                    value.type_of().name()
                ));
            }
        }
    }
    Ok(out.into())
}

fn shown(value: &Val<'_>) -> Option<String> {
    Some(match value {
        Val::Null => "null".to_owned(),
        Val::Bool(value) => value.to_string(),
        Val::Int(value) => value.to_string(),
        Val::Uint(value) => value.to_string(),
        Val::Double(value) => format_double(*value),
        Val::String(text) => text.as_str().to_owned(),
        Val::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Val::Timestamp(at) => format_timestamp(*at),
        Val::Duration(span) => format_duration(*span),
        Val::Type(t) => t.name().to_owned(),
        Val::List(list) => {
            let items: Option<Vec<String>> = list.iter().map(|item| shown(&item)).collect();
            format!("[{}]", items?.join(", "))
        }
        Val::Map(map) => {
            let mut entries = Vec::new();
            for key in map.keys() {
                let value = map.get(&key)?.ok()?;
                entries.push(format!("{}: {}", shown(&key.to_val())?, shown(&value)?));
            }
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        Val::Optional(_) | Val::Opaque(_) => return value.to_json().map(|json| json.to_string()),
    })
}

fn whole(value: &Val<'_>) -> Option<String> {
    match value {
        Val::Int(value) => Some(value.to_string()),
        Val::Uint(value) => Some(value.to_string()),
        Val::Double(value) if value.is_nan() || value.is_infinite() => Some(format_double(*value)),
        _ => None,
    }
}

fn double(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Double(value) => Some(*value),
        Val::Int(value) => Some(*value as f64),
        Val::Uint(value) => Some(*value as f64),
        Val::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn fixed(value: f64, precision: usize) -> String {
    if value.is_finite() { format!("{value:.precision$}") } else { format_double(value) }
}

fn scientific(value: f64, precision: usize) -> String {
    if !value.is_finite() {
        return format_double(value);
    }
    let text = format!("{value:.precision$e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

fn radix(value: &Val<'_>, write: fn(u64) -> String) -> Option<String> {
    match value {
        Val::Int(value) if *value < 0 => Some(format!("-{}", write(value.unsigned_abs()))),
        Val::Int(value) => Some(write(value.unsigned_abs())),
        Val::Uint(value) => Some(write(*value)),
        _ => None,
    }
}

fn hexadecimal(value: &Val<'_>) -> Option<String> {
    let bytes = match value {
        Val::String(text) => text.as_str().as_bytes(),
        Val::Bytes(bytes) => bytes,
        value => return radix(value, |n| format!("{n:x}")),
    };
    Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
