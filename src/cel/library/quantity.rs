//! Resource quantities: `1.5Gi`, `100m`, `2e3`.

use std::cmp::Ordering;
use std::fmt;

use super::{Library, fail, text};
use crate::cel::Fault;
use crate::cel::opaque::Opaque;
use crate::cel::value::Val;

/// A number of billionths; what is smaller is rounded up, as Kubernetes does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(i128);

const SCALE: i128 = 1_000_000_000;

pub(super) fn declare(library: &mut Library) {
    library.add("quantity(string) -> kubernetes.Quantity", |args| match Quantity::parse(text(args, 0)) {
        Some(quantity) => Ok(Val::Opaque(Opaque::Quantity(quantity))),
        None => fail(
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    });
    library.add("isQuantity(string) -> bool", |args| Ok(Quantity::parse(text(args, 0)).is_some().into()));
    library.add("sign(kubernetes.Quantity) -> int", |args| {
        Ok(Val::Int(i64::try_from(of(args, 0)?.0.signum()).unwrap_or(0)))
    });
    library.add("kubernetes.Quantity.isGreaterThan(kubernetes.Quantity) -> bool", |args| {
        Ok((of(args, 0)? > of(args, 1)?).into())
    });
    library.add("kubernetes.Quantity.isLessThan(kubernetes.Quantity) -> bool", |args| {
        Ok((of(args, 0)? < of(args, 1)?).into())
    });
    library.add("kubernetes.Quantity.compareTo(kubernetes.Quantity) -> int", |args| {
        Ok(Val::Int(match of(args, 0)?.cmp(&of(args, 1)?) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        }))
    });
    library.add("kubernetes.Quantity.asApproximateFloat() -> double", |args| {
        Ok(Val::Double(of(args, 0)?.0 as f64 / SCALE as f64))
    });
    library.add("kubernetes.Quantity.asInteger() -> int", |args| {
        of(args, 0)?.integer().map_or_else(|| fail("cannot convert value to integer"), |v| Ok(Val::Int(v)))
    });
    library
        .add("kubernetes.Quantity.isInteger() -> bool", |args| Ok(of(args, 0)?.integer().is_some().into()));
    library
        .add("kubernetes.Quantity.add(kubernetes.Quantity) -> kubernetes.Quantity", |args| combined(args, 1));
    library.add("kubernetes.Quantity.add(int) -> kubernetes.Quantity", |args| combined(args, 1));
    library.add("kubernetes.Quantity.sub(kubernetes.Quantity) -> kubernetes.Quantity", |args| {
        combined(args, -1)
    });
    library.add("kubernetes.Quantity.sub(int) -> kubernetes.Quantity", |args| combined(args, -1));
}

fn of(args: &[Val<'_>], index: usize) -> Result<Quantity, Fault> {
    match args.get(index) {
        Some(Val::Opaque(Opaque::Quantity(quantity))) => Ok(*quantity),
        Some(Val::Int(value)) => Ok(Quantity(i128::from(*value) * SCALE)),
        _ => Err(Fault::Error("no such overload".to_owned())),
    }
}

fn combined<'a>(args: &[Val<'a>], sign: i128) -> Result<Val<'a>, Fault> {
    let (a, b) = (of(args, 0)?.0, of(args, 1)?.0);
    match b.checked_mul(sign).and_then(|b| a.checked_add(b)) {
        Some(sum) => Ok(Val::Opaque(Opaque::Quantity(Quantity(sum)))),
        None => fail("quantity overflow"),
    }
}

impl Quantity {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || number.len() > 60 {
            return None;
        }
        let (multiplier, exponent) = scale_of(suffix)?;
        // digits * multiplier * 10^(exponent - fraction digits), in billionths
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let shift = exponent - i32::try_from(fraction.len()).ok()? + 9;
        let scaled = digits.checked_mul(multiplier)?;
        let value = if shift >= 0 {
            match 10_i128.checked_pow(shift.unsigned_abs()).and_then(|by| scaled.checked_mul(by)) {
                Some(value) => value,
                // Larger than anything that is compared with it.
                None if scaled > 0 => i128::MAX / 4,
                None => 0,
            }
        } else {
            let by = 10_i128.checked_pow(shift.unsigned_abs()).unwrap_or(i128::MAX);
            scaled / by + i128::from(scaled % by != 0)
        };
        Some(Self(if negative { -value } else { value }))
    }

    fn integer(self) -> Option<i64> {
        if self.0 % SCALE == 0 { i64::try_from(self.0 / SCALE).ok() } else { None }
    }
}

/// Returns a suffix as a factor and a power of ten.
fn scale_of(suffix: &str) -> Option<(i128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let exponent: i32 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
            (1, exponent.clamp(-1000, 1000))
        }
    })
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, value) = if self.0 < 0 { ("-", -self.0) } else { ("", self.0) };
        match (value % SCALE, value % 1_000_000, value % 1_000) {
            (0, ..) => write!(f, "{sign}{}", value / SCALE),
            (_, 0, _) => write!(f, "{sign}{}m", value / 1_000_000),
            (.., 0) => write!(f, "{sign}{}u", value / 1_000),
            _ => write!(f, "{sign}{value}n"),
        }
    }
}
