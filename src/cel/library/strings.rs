//! The string functions of the extension library, version 2, which Kubernetes has. Positions count code points.

use super::{Library, fail, number, text};
use crate::cel::Fault;
use crate::cel::value::Val;

pub(super) fn declare(library: &mut Library) {
    library.add("jsonpatch.escapeKey(string) -> string", |args| {
        Ok(Val::text(&text(args, 0).replace('~', "~0").replace('/', "~1")))
    });
    library.add("string.charAt(int) -> string", |args| {
        let (text, at) = (text(args, 0), number(args, 1));
        let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        match usize::try_from(at) {
            Ok(_) if at == count => Ok(Val::text("")),
            Ok(index) if at < count => Ok(Val::text(&text.chars().skip(index).take(1).collect::<String>())),
            _ => fail(format!("index out of range: {at}")),
        }
    });
    library.add("string.indexOf(string) -> int", |args| index_of(text(args, 0), text(args, 1), 0));
    library.add("string.indexOf(string, int) -> int", |args| {
        index_of(text(args, 0), text(args, 1), number(args, 2))
    });
    library.add("string.lastIndexOf(string) -> int", |args| {
        let count = text(args, 0).chars().count();
        last_index_of(text(args, 0), text(args, 1), i64::try_from(count).unwrap_or(i64::MAX))
    });
    library.add("string.lastIndexOf(string, int) -> int", |args| {
        let count = i64::try_from(text(args, 0).chars().count()).unwrap_or(i64::MAX);
        let at = number(args, 2);
        if at < 0 || at >= count.max(1) {
            return fail(format!("index out of range: {at}"));
        }
        last_index_of(text(args, 0), text(args, 1), at)
    });
    library.add("list(string).join() -> string", |args| join(args, ""));
    library.add("list(string).join(string) -> string", |args| join(args, text(args, 1)));
    library.add("string.lowerAscii() -> string", |args| Ok(text(args, 0).to_ascii_lowercase().into()));
    library.add("string.upperAscii() -> string", |args| Ok(text(args, 0).to_ascii_uppercase().into()));
    library.add("string.replace(string, string) -> string", |args| {
        Ok(text(args, 0).replace(text(args, 1), text(args, 2)).into())
    });
    library.add("string.replace(string, string, int) -> string", |args| {
        let (from, to) = (text(args, 1), text(args, 2));
        Ok(match usize::try_from(number(args, 3)) {
            Ok(times) => text(args, 0).replacen(from, to, times).into(),
            Err(_) => text(args, 0).replace(from, to).into(),
        })
    });
    library.add("string.split(string) -> list(string)", |args| Ok(split(text(args, 0), text(args, 1), -1)));
    library.add("string.split(string, int) -> list(string)", |args| {
        Ok(split(text(args, 0), text(args, 1), number(args, 2)))
    });
    library.add("string.substring(int) -> string", |args| {
        let count = i64::try_from(text(args, 0).chars().count()).unwrap_or(i64::MAX);
        let start = number(args, 1);
        if start < 0 || start > count {
            return fail(format!("index out of range: {start}"));
        }
        Ok(substring(text(args, 0), start, count))
    });
    library.add("string.substring(int, int) -> string", |args| {
        let count = i64::try_from(text(args, 0).chars().count()).unwrap_or(i64::MAX);
        let (start, end) = (number(args, 1), number(args, 2));
        if start > end {
            return fail(format!("invalid substring range. start: {start}, end: {end}"));
        }
        if let Some(wrong) = [start, end].into_iter().find(|&at| at < 0 || at > count) {
            return fail(format!("index out of range: {wrong}"));
        }
        Ok(substring(text(args, 0), start, end))
    });
    library.add("string.trim() -> string", |args| Ok(Val::text(text(args, 0).trim())));
    library.add("strings.quote(string) -> string", |args| Ok(quote(text(args, 0)).into()));
}

fn index_of<'a>(text: &str, wanted: &str, from: i64) -> Result<Val<'a>, Fault> {
    let count = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if wanted.is_empty() {
        return Ok(Val::Int(from));
    }
    if from < 0 || from >= count.max(1) {
        return fail(format!("index out of range: {from}"));
    }
    let start = byte_at(text, from);
    Ok(Val::Int(match text[start..].find(wanted) {
        Some(found) => i64::try_from(text[..start + found].chars().count()).unwrap_or(i64::MAX),
        None => -1,
    }))
}

fn last_index_of<'a>(text: &str, wanted: &str, upto: i64) -> Result<Val<'a>, Fault> {
    if wanted.is_empty() {
        return Ok(Val::Int(upto));
    }
    let end = byte_at(text, upto).saturating_add(wanted.len()).min(text.len());
    let end = (end..=text.len()).find(|&end| text.is_char_boundary(end)).unwrap_or(text.len());
    Ok(Val::Int(match text[..end].rfind(wanted) {
        Some(found) => i64::try_from(text[..found].chars().count()).unwrap_or(i64::MAX),
        None => -1,
    }))
}

/// Returns where the code point of that position begins.
fn byte_at(text: &str, position: i64) -> usize {
    let position = usize::try_from(position).unwrap_or(0);
    text.char_indices().nth(position).map_or(text.len(), |(at, _)| at)
}

fn substring<'a>(text: &str, start: i64, end: i64) -> Val<'a> {
    Val::text(&text[byte_at(text, start)..byte_at(text, end)])
}

fn join<'a>(args: &[Val<'a>], separator: &str) -> Result<Val<'a>, Fault> {
    let Val::List(list) = &args[0] else { return fail("no such overload") };
    let mut joined = String::new();
    for (index, item) in list.iter().enumerate() {
        let Some(item) = item.as_str() else { return fail("no such overload") };
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(item);
    }
    Ok(joined.into())
}

fn split<'a>(text: &str, separator: &str, limit: i64) -> Val<'a> {
    let parts: Vec<Val<'a>> = match usize::try_from(limit) {
        Ok(0) => Vec::new(),
        _ if separator.is_empty() => {
            let mut chars: Vec<String> = text.chars().map(String::from).collect();
            if let Ok(limit) = usize::try_from(limit)
                && chars.len() > limit
            {
                let rest = chars.split_off(limit - 1).concat();
                chars.push(rest);
            }
            chars.into_iter().map(Val::from).collect()
        }
        Ok(limit) => text.splitn(limit, separator).map(Val::text).collect(),
        Err(_) => text.split(separator).map(Val::text).collect(),
    };
    parts.into()
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
