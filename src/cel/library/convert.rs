//! Conversions between types, sizes, tests of texts, and optionals: CEL's standard functions.

use std::sync::Arc;

use super::time::{format_duration, format_timestamp, parse_duration, parse_timestamp};
use super::{Library, fail, text};
use crate::cel::Fault;
use crate::cel::opaque::Opaque;
use crate::cel::value::{List, Map, Val};

pub(super) fn declare(library: &mut Library) {
    library.add("size(string) -> int", size);
    library.add("size(bytes) -> int", size);
    library.add("size(list(<T>)) -> int", size);
    library.add("size(map(<K>, <V>)) -> int", size);
    library.add("string.size() -> int", size);
    library.add("bytes.size() -> int", size);
    library.add("list(<T>).size() -> int", size);
    library.add("map(<K>, <V>).size() -> int", size);

    library.add("string.contains(string) -> bool", |args| Ok(text(args, 0).contains(text(args, 1)).into()));
    library
        .add("string.startsWith(string) -> bool", |args| Ok(text(args, 0).starts_with(text(args, 1)).into()));
    library.add("string.endsWith(string) -> bool", |args| Ok(text(args, 0).ends_with(text(args, 1)).into()));

    library.add("type(<T>) -> type(<T>)", |args| Ok(Val::Type(args[0].type_of())));
    library.add("dyn(<T>) -> dyn", |args| Ok(args[0].clone()));
    library.add("bool(bool) -> bool", same);
    library.add("bool(string) -> bool", |args| match text(args, 0) {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true.into()),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false.into()),
        _ => fail("type conversion error from 'string' to 'bool'"),
    });
    library.add("bytes(bytes) -> bytes", same);
    library.add("bytes(string) -> bytes", |args| Ok(Val::Bytes(Arc::from(text(args, 0).as_bytes()))));
    for declaration in [
        "int(int) -> int",
        "int(uint) -> int",
        "int(double) -> int",
        "int(string) -> int",
        "int(timestamp) -> int",
        "int(duration) -> int",
    ] {
        library.add(declaration, to_int);
    }
    for declaration in
        ["uint(uint) -> uint", "uint(int) -> uint", "uint(double) -> uint", "uint(string) -> uint"]
    {
        library.add(declaration, to_uint);
    }
    for declaration in [
        "double(double) -> double",
        "double(int) -> double",
        "double(uint) -> double",
        "double(string) -> double",
    ] {
        library.add(declaration, to_double);
    }
    for declaration in [
        "string(string) -> string",
        "string(bool) -> string",
        "string(bytes) -> string",
        "string(double) -> string",
        "string(duration) -> string",
        "string(int) -> string",
        "string(timestamp) -> string",
        "string(uint) -> string",
        "string(net.IP) -> string",
        "string(net.CIDR) -> string",
    ] {
        library.add(declaration, to_text);
    }
    library.add("timestamp(timestamp) -> timestamp", same);
    library.add("timestamp(string) -> timestamp", |args| {
        parse_timestamp(text(args, 0)).map_or_else(
            || fail("type conversion error from 'string' to 'google.protobuf.Timestamp'"),
            |at| Ok(Val::Timestamp(at)),
        )
    });
    library.add("timestamp(int) -> timestamp", |args| match args {
        [Val::Int(seconds)] => jiff::Timestamp::from_second(*seconds)
            .map_or_else(|_| fail("timestamp overflow"), |at| Ok(Val::Timestamp(at))),
        _ => fail("no such overload"),
    });
    library.add("duration(duration) -> duration", same);
    library.add("duration(string) -> duration", |args| {
        parse_duration(text(args, 0)).map_or_else(
            || fail("type conversion error from 'string' to 'google.protobuf.Duration'"),
            |span| Ok(Val::Duration(span)),
        )
    });
    library.add("duration(int) -> duration", |args| match args {
        [Val::Int(nanos)] => Ok(Val::Duration(jiff::SignedDuration::from_nanos(*nanos))),
        _ => fail("no such overload"),
    });

    library.add("optional.of(<T>) -> optional_type(<T>)", |args| {
        Ok(Val::Optional(Some(Arc::new(args[0].clone()))))
    });
    library.add("optional.none() -> optional_type(<T>)", |_| Ok(Val::Optional(None)));
    library.add("optional.ofNonZeroValue(<T>) -> optional_type(<T>)", |args| {
        Ok(Val::Optional(if is_zero(&args[0]) { None } else { Some(Arc::new(args[0].clone())) }))
    });
    library.add("optional_type(<T>).hasValue() -> bool", |args| {
        Ok(matches!(args[0], Val::Optional(Some(_))).into())
    });
    library.add("optional_type(<T>).value() -> <T>", |args| match &args[0] {
        Val::Optional(Some(value)) => Ok(value.as_ref().clone()),
        _ => fail("optional.none() dereference"),
    });
}

fn same<'a>(args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(args[0].clone())
}

fn size<'a>(args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let size = match &args[0] {
        Val::String(text) => text.as_str().chars().count(),
        Val::Bytes(bytes) => bytes.len(),
        Val::List(list) => list.len(),
        Val::Map(map) => map.len(),
        _ => return fail("no such overload"),
    };
    Ok(Val::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn is_zero(value: &Val<'_>) -> bool {
    match value {
        Val::Null | Val::Optional(None) => true,
        Val::Bool(value) => !value,
        Val::Int(value) => *value == 0,
        Val::Uint(value) => *value == 0,
        Val::Double(value) => *value == 0.0,
        Val::String(text) => text.as_str().is_empty(),
        Val::Bytes(bytes) => bytes.is_empty(),
        Val::List(list) => List::is_empty(list),
        Val::Map(map) => Map::is_empty(map),
        Val::Duration(span) => span.is_zero(),
        _ => false,
    }
}

fn to_int<'a>(args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match &args[0] {
        Val::Int(value) => Ok(Val::Int(*value)),
        Val::Uint(value) => {
            i64::try_from(*value).map_or_else(|_| fail("integer overflow"), |v| Ok(Val::Int(v)))
        }
        Val::Double(value) if value.is_finite() && *value > -9.2e18 && *value < 9.2e18 => {
            Ok(Val::Int(value.trunc() as i64))
        }
        Val::Double(_) => fail("integer overflow"),
        Val::String(text) => text
            .as_str()
            .parse()
            .map_or_else(|_| fail("type conversion error from 'string' to 'int'"), |v| Ok(Val::Int(v))),
        Val::Timestamp(at) => Ok(Val::Int(at.as_second())),
        Val::Duration(span) => {
            i64::try_from(span.as_nanos()).map_or_else(|_| fail("integer overflow"), |v| Ok(Val::Int(v)))
        }
        _ => fail("no such overload"),
    }
}

fn to_uint<'a>(args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match &args[0] {
        Val::Uint(value) => Ok(Val::Uint(*value)),
        Val::Int(value) => {
            u64::try_from(*value).map_or_else(|_| fail("unsigned integer overflow"), |v| Ok(Val::Uint(v)))
        }
        Val::Double(value) if *value >= 0.0 && *value < 1.8e19 => Ok(Val::Uint(value.trunc() as u64)),
        Val::Double(_) => fail("unsigned integer overflow"),
        Val::String(text) => text
            .as_str()
            .parse()
            .map_or_else(|_| fail("type conversion error from 'string' to 'uint'"), |v| Ok(Val::Uint(v))),
        _ => fail("no such overload"),
    }
}

fn to_double<'a>(args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    match &args[0] {
        Val::Double(value) => Ok(Val::Double(*value)),
        Val::Int(value) => Ok(Val::Double(*value as f64)),
        Val::Uint(value) => Ok(Val::Double(*value as f64)),
        Val::String(text) => text
            .as_str()
            .parse()
            .map_or_else(|_| fail("type conversion error from 'string' to 'double'"), |v| Ok(Val::Double(v))),
        _ => fail("no such overload"),
    }
}

fn to_text<'a>(args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(match &args[0] {
        Val::String(text) => Val::String(text.clone()),
        Val::Bool(value) => value.to_string().into(),
        Val::Int(value) => value.to_string().into(),
        Val::Uint(value) => value.to_string().into(),
        Val::Double(value) => format_double(*value).into(),
        Val::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Val::text(text),
            Err(_) => return fail("invalid UTF-8 in bytes, cannot convert to string"),
        },
        Val::Duration(span) => format_duration(*span).into(),
        Val::Timestamp(at) => format_timestamp(*at).into(),
        Val::Opaque(Opaque::Ip(address)) => address.to_string().into(),
        Val::Opaque(Opaque::Cidr(network)) => network.to_string().into(),
        _ => return fail("no such overload"),
    })
}

/// Writes a double as Go's `%g` does for the numbers people use.
pub(super) fn format_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let exponent = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    if (-4..21).contains(&exponent) {
        return value.to_string();
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, digits_of) = match exponent.strip_prefix('-') {
                Some(rest) => ('-', rest),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{digits_of:0>2}")
        }
        None => text,
    }
}
