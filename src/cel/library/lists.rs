//! Functions over lists and sets.

use std::cmp::Ordering;

use super::{Library, fail};
use crate::cel::Fault;
use crate::cel::value::{List, Val};

pub(super) fn declare(library: &mut Library) {
    macro_rules! ordered {
        ($($name:literal)*) => {
            $(
                library.add(concat!("list(", $name, ").isSorted() -> bool"), is_sorted);
                library.add(concat!("list(", $name, ").min() -> ", $name), |args| extreme(args, "min", Ordering::Less));
                library.add(concat!("list(", $name, ").max() -> ", $name), |args| {
                    extreme(args, "max", Ordering::Greater)
                });
            )*
        };
    }
    ordered!("int" "uint" "double" "bool" "duration" "timestamp" "string" "bytes");
    library.add("list(int).sum() -> int", |args| sum(args, Val::Int(0)));
    library.add("list(uint).sum() -> uint", |args| sum(args, Val::Uint(0)));
    library.add("list(double).sum() -> double", |args| sum(args, Val::Double(0.0)));
    library
        .add("list(duration).sum() -> duration", |args| sum(args, Val::Duration(jiff::SignedDuration::ZERO)));
    library.add("list(<T>).indexOf(<T>) -> int", |args| {
        position(args, |list, wanted| list.iter().position(|item| item.equals(wanted)))
    });
    library.add("list(<T>).lastIndexOf(<T>) -> int", |args| {
        position(args, |list, wanted| {
            (0..list.len()).rev().find(|&at| list.get(at).is_some_and(|i| i.equals(wanted)))
        })
    });
    library.add("sets.contains(list(<T>), list(<T>)) -> bool", |args| {
        both(args, |a, b| b.iter().all(|item| a.iter().any(|other| other.equals(&item))))
    });
    library.add("sets.equivalent(list(<T>), list(<T>)) -> bool", |args| {
        both(args, |a, b| {
            b.iter().all(|item| a.iter().any(|other| other.equals(&item)))
                && a.iter().all(|item| b.iter().any(|other| other.equals(&item)))
        })
    });
    library.add("sets.intersects(list(<T>), list(<T>)) -> bool", |args| {
        both(args, |a, b| b.iter().any(|item| a.iter().any(|other| other.equals(&item))))
    });
}

fn both<'a>(args: &[Val<'a>], holds: fn(&List<'a>, &List<'a>) -> bool) -> Result<Val<'a>, Fault> {
    match args {
        [Val::List(a), Val::List(b)] => Ok(Val::Bool(holds(a, b))),
        _ => fail("no such overload"),
    }
}

fn position<'a>(args: &[Val<'a>], find: fn(&List<'a>, &Val<'a>) -> Option<usize>) -> Result<Val<'a>, Fault> {
    let [Val::List(list), wanted] = args else { return fail("no such overload") };
    Ok(Val::Int(find(list, wanted).map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX))))
}

fn is_sorted<'a>(args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let Val::List(list) = &args[0] else { return fail("no such overload") };
    for at in 1..list.len() {
        let (Some(before), Some(here)) = (list.get(at - 1), list.get(at)) else { break };
        match before.compare(&here) {
            Some(Ordering::Greater) => return Ok(false.into()),
            Some(_) => {}
            None => return fail("no such overload"),
        }
    }
    Ok(true.into())
}

fn extreme<'a>(args: &[Val<'a>], name: &str, wanted: Ordering) -> Result<Val<'a>, Fault> {
    let Val::List(list) = &args[0] else { return fail("no such overload") };
    let mut best: Option<Val<'a>> = None;
    for item in list.iter() {
        best = match best {
            None => Some(item),
            Some(known) => match item.compare(&known) {
                Some(order) if order == wanted => Some(item),
                Some(_) => Some(known),
                None => return fail("no such overload"),
            },
        };
    }
    best.map_or_else(|| fail(format!("{name} called on empty list")), Ok)
}

fn sum<'a>(args: &[Val<'a>], zero: Val<'a>) -> Result<Val<'a>, Fault> {
    let Val::List(list) = &args[0] else { return fail("no such overload") };
    let mut total: Option<Val<'a>> = None;
    for item in list.iter() {
        total = Some(match (total, item) {
            (None, item @ (Val::Int(_) | Val::Uint(_) | Val::Double(_) | Val::Duration(_))) => item,
            (Some(Val::Int(a)), Val::Int(b)) => match a.checked_add(b) {
                Some(sum) => Val::Int(sum),
                None => return fail("integer overflow"),
            },
            (Some(Val::Uint(a)), Val::Uint(b)) => match a.checked_add(b) {
                Some(sum) => Val::Uint(sum),
                None => return fail("unsigned integer overflow"),
            },
            (Some(Val::Double(a)), Val::Double(b)) => Val::Double(a + b),
            (Some(Val::Duration(a)), Val::Duration(b)) => match a.checked_add(b) {
                Some(sum) => Val::Duration(sum),
                None => return fail("duration overflow"),
            },
            _ => return fail("no such overload"),
        });
    }
    Ok(total.unwrap_or(zero))
}
