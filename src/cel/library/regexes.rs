//! Regular expressions. Compiled ones are kept, as policies apply the same ones over and over.

use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;

use super::{Library, number, text};
use crate::cel::value::Val;
use crate::cel::{Fault, re2};

pub(super) fn declare(library: &mut Library) {
    library.add("matches(string, string) -> bool", matches);
    library.add("string.matches(string) -> bool", matches);
    library.add("string.find(string) -> string", |args| {
        let regex = compiled(text(args, 1))?;
        Ok(Val::text(regex.find(text(args, 0)).map_or("", |found| found.as_str())))
    });
    library.add("string.findAll(string) -> list(string)", |args| find_all(args, -1));
    library.add("string.findAll(string, int) -> list(string)", |args| find_all(args, number(args, 2)));
}

fn matches<'a>(args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    Ok(compiled(text(args, 1))?.is_match(text(args, 0)).into())
}

fn find_all<'a>(args: &[Val<'a>], limit: i64) -> Result<Val<'a>, Fault> {
    let regex = compiled(text(args, 1))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let found: Vec<Val<'a>> =
        regex.find_iter(text(args, 0)).take(limit).map(|found| Val::text(found.as_str())).collect();
    Ok(found.into())
}

/// Compiles a pattern.
///
/// # Errors
/// What is wrong with it.
pub(in crate::cel) fn compiled(pattern: &str) -> Result<Regex, Fault> {
    const KEPT: usize = 256;
    static KNOWN: LazyLock<Mutex<BTreeMap<String, Regex>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = known.get(pattern) {
        return Ok(regex.clone());
    }
    let regex = re2::compile(pattern).map_err(Fault::Error)?;
    if known.len() >= KEPT {
        known.clear();
    }
    known.insert(pattern.to_owned(), regex.clone());
    Ok(regex)
}
