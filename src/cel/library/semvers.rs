//! Semantic versions.

use std::cmp::Ordering;
use std::sync::Arc;

use semver::Version;

use super::{Library, fail, text};
use crate::cel::Fault;
use crate::cel::opaque::Opaque;
use crate::cel::value::Val;

pub(super) fn declare(library: &mut Library) {
    library.add("semver(string) -> kubernetes.Semver", |args| parse(text(args, 0), false));
    library.add("semver(string, bool) -> kubernetes.Semver", |args| parse(text(args, 0), normalizes(args)));
    library.add("isSemver(string) -> bool", |args| Ok(parse(text(args, 0), false).is_ok().into()));
    library.add("isSemver(string, bool) -> bool", |args| {
        Ok(parse(text(args, 0), normalizes(args)).is_ok().into())
    });
    library.add("kubernetes.Semver.major() -> int", |args| part(args, |version| version.major));
    library.add("kubernetes.Semver.minor() -> int", |args| part(args, |version| version.minor));
    library.add("kubernetes.Semver.patch() -> int", |args| part(args, |version| version.patch));
    library.add("kubernetes.Semver.isGreaterThan(kubernetes.Semver) -> bool", |args| {
        Ok(order(args)?.is_gt().into())
    });
    library.add("kubernetes.Semver.isLessThan(kubernetes.Semver) -> bool", |args| {
        Ok(order(args)?.is_lt().into())
    });
    library.add("kubernetes.Semver.compareTo(kubernetes.Semver) -> int", |args| {
        Ok(Val::Int(match order(args)? {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }))
    });
}

fn normalizes(args: &[Val<'_>]) -> bool {
    matches!(args.get(1), Some(Val::Bool(true)))
}

fn parse<'a>(text: &str, normalize: bool) -> Result<Val<'a>, Fault> {
    let normal = if normalize { normalized(text) } else { text.to_owned() };
    match Version::parse(&normal) {
        Ok(version) => Ok(Val::Opaque(Opaque::Semver(Arc::new(version)))),
        Err(error) => fail(error.to_string()),
    }
}

/// Drops a leading v and leading zeros, and adds missing minor and patch numbers.
fn normalized(text: &str) -> String {
    let text = text.trim().trim_start_matches('v');
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let mut parts: Vec<String> = numbers
        .split('.')
        .map(|part| match part.trim_start_matches('0') {
            "" if !part.is_empty() => "0".to_owned(),
            trimmed => trimmed.to_owned(),
        })
        .collect();
    while parts.len() < 3 {
        parts.push("0".to_owned());
    }
    format!("{}{rest}", parts.join("."))
}

fn version<'v>(args: &'v [Val<'_>], index: usize) -> Result<&'v Version, Fault> {
    match args.get(index) {
        Some(Val::Opaque(Opaque::Semver(version))) => Ok(version),
        _ => Err(Fault::Error("no such overload".to_owned())),
    }
}

fn part<'a>(args: &[Val<'a>], part: fn(&Version) -> u64) -> Result<Val<'a>, Fault> {
    Ok(Val::Int(i64::try_from(part(version(args, 0)?)).unwrap_or(i64::MAX)))
}

fn order(args: &[Val<'_>]) -> Result<Ordering, Fault> {
    Ok(version(args, 0)?.cmp_precedence(version(args, 1)?))
}
