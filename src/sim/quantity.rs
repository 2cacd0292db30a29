//! Quantities of resources (k8s.io/apimachinery/pkg/api/resource): `500m`, `1.5Gi`, `1e3`. They are parsed with upstream's
//! words for what is wrong, compared and added exactly to a billionth, and written in upstream's canonical form.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Value;

const NANO: i128 = 1_000_000_000;
const MAX: i128 = (i64::MAX as i128) * NANO;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// How a quantity is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `12e6`
    DecimalExponent,
    /// `12Mi`
    BinarySi,
    /// `12M`
    DecimalSi,
}

/// An amount of a resource.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It has no number, or something after it.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// It has a suffix of the right letters in the wrong order.
    #[error("unable to parse quantity's suffix")]
    Suffix,
    /// Its number is none.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
}

impl Quantity {
    /// Nothing at all.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// Makes a quantity of whole units.
    pub fn units(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * NANO, format }
    }

    /// Makes a quantity of thousandths.
    pub fn milli(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * (NANO / 1000), format }
    }

    /// Parses a text.
    ///
    /// # Errors
    /// [`QuantityError`], worded as upstream words it.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let (negative, rest) = match text.as_bytes()[0] {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let whole_end = digits(rest);
        let (whole, mut rest) = rest.split_at(whole_end);
        let mut fraction = "";
        if let Some(after) = rest.strip_prefix('.') {
            (fraction, rest) = after.split_at(digits(after));
        }
        let letters = rest
            .find(|c| !matches!(c, 'e' | 'E' | 'i' | 'n' | 'u' | 'm' | 'k' | 'K' | 'M' | 'G' | 'T' | 'P'));
        let tail = letters.map_or("", |at| &rest[at..]);
        let tail = tail.strip_prefix(['-', '+']).unwrap_or(tail);
        if digits(tail) != tail.len() {
            return Err(QuantityError::Format);
        }
        if whole.is_empty() && fraction.is_empty() && !rest.is_empty() {
            return Err(QuantityError::Numeric);
        }
        let (tens, twos, mut format) = interpret(rest).ok_or(QuantityError::Suffix)?;
        let magnitude = scale(whole, fraction, tens, twos);
        if format == Format::BinarySi && magnitude > 0 && magnitude < NANO {
            format = Format::DecimalSi;
        }
        Ok(Self { nanos: if negative { -magnitude } else { magnitude }, format })
    }

    /// Reads a quantity as it stands in an object: a text or a number. What is none counts as nothing, since objects
    /// are decoded before anybody asks.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::String(text) => Self::parse(text.trim()).unwrap_or(Self::ZERO),
            Value::Number(number) => Self::parse(&number.to_string()).unwrap_or(Self::ZERO),
            _ => Self::ZERO,
        }
    }

    /// Tells whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.nanos == 0
    }

    /// Tells whether it is less than nothing.
    pub fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Returns the whole units, rounded away from zero.
    pub fn value(&self) -> i64 {
        clamp(away(self.nanos, NANO))
    }

    /// Returns the thousandths, rounded away from zero.
    pub fn milli_value(&self) -> i64 {
        clamp(away(self.nanos, NANO / 1000))
    }

    /// Returns the amount as a floating number.
    pub fn as_f64(&self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// Adds; nothing takes the other's form.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }

    /// Subtracts; nothing takes the other's form.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        let format = if self.is_zero() { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_sub(other.nanos), format }
    }

    /// Rounds up, away from zero, to thousandths.
    #[must_use]
    pub fn rounded_to_milli(self) -> Self {
        Self { nanos: away(self.nanos, NANO / 1000) * (NANO / 1000), ..self }
    }

    /// Tells whether it is a whole number of units.
    pub fn is_whole(&self) -> bool {
        self.nanos % NANO == 0
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl fmt::Display for Quantity {
    /// Writes the canonical form: no fraction, the largest suffix that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let small = self.nanos.abs() < 1024 * NANO;
        if self.format == Format::BinarySi && !small && self.is_whole() {
            let mut number = self.nanos / NANO;
            let mut suffix = "";
            for (name, _) in BINARY {
                if number % 1024 != 0 {
                    break;
                }
                number /= 1024;
                suffix = name;
            }
            return write!(f, "{number}{suffix}");
        }
        let mut number = self.nanos;
        let mut exponent = -9;
        while number % 1000 == 0 && exponent < 18 {
            number /= 1000;
            exponent += 3;
        }
        if self.format == Format::DecimalExponent {
            if exponent == 0 { write!(f, "{number}") } else { write!(f, "{number}e{exponent}") }
        } else {
            let suffix = DECIMAL.iter().find(|(_, tens)| *tens == exponent).map_or("", |(name, _)| name);
            write!(f, "{number}{suffix}")
        }
    }
}

impl From<Quantity> for Value {
    fn from(quantity: Quantity) -> Self {
        Self::String(quantity.to_string())
    }
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Returns the powers of ten and of two, and the form, that a suffix stands for.
fn interpret(suffix: &str) -> Option<(i32, u32, Format)> {
    if let Some((_, tens)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((*tens, 0, Format::DecimalSi));
    }
    if let Some((_, twos)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((0, *twos, Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let tens: i64 = exponent.strip_prefix('+').unwrap_or(exponent).parse().ok()?;
    Some((tens.clamp(-1000, 1000) as i32, 0, Format::DecimalExponent))
}

/// Returns the billionths, rounded up, and no more than the greatest quantity.
fn scale(whole: &str, fraction: &str, tens: i32, twos: u32) -> i128 {
    let whole = whole.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return 0;
    }
    let mut power = 9 + tens - i32::try_from(fraction.len()).unwrap_or(i32::MAX / 2);
    // More digits than fit cannot matter but for rounding up.
    let (kept, dropped) = digits.split_at(digits.len().min(30));
    power += i32::try_from(dropped.len()).unwrap_or(i32::MAX / 2);
    let mut mantissa: i128 = kept.parse().unwrap_or(i128::MAX);
    let mut inexact = dropped.bytes().any(|digit| digit != b'0');
    for _ in 0..twos {
        match mantissa.checked_mul(2) {
            Some(doubled) => mantissa = doubled,
            None => return MAX,
        }
    }
    while power > 0 {
        match mantissa.checked_mul(10) {
            Some(more) if more <= MAX.saturating_mul(10) => mantissa = more,
            _ => return MAX,
        }
        power -= 1;
    }
    while power < 0 && mantissa > 0 {
        inexact |= mantissa % 10 != 0;
        mantissa /= 10;
        power += 1;
    }
    (mantissa + i128::from(inexact)).min(MAX)
}

fn away(value: i128, unit: i128) -> i128 {
    let whole = value / unit;
    whole + (value % unit).signum()
}

fn clamp(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        Quantity::parse(text).map_or_else(|error| error.to_string(), |quantity| quantity.to_string())
    }

    #[test]
    fn the_canonical_form_has_no_fraction_and_the_largest_suffix() {
        for (text, expected) in [
            ("0", "0"),
            ("0Ki", "0"),
            ("1000m", "1"),
            ("0.5", "500m"),
            (".5", "500m"),
            ("1.", "1"),
            ("100", "100"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("1024", "1024"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.1Gi", "107374182400m"),
            ("512Ki", "512Ki"),
            ("1Ki", "1Ki"),
            ("0.5Ki", "512"),
            ("0.1Ki", "102400m"),
            ("1e3", "1e3"),
            ("12345e-3", "12345e-3"),
            ("1E", "1E"),
            ("1E3", "1e3"),
            ("+3", "3"),
            ("-1.5", "-1500m"),
            ("007", "7"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("100000000000000000000000", "9223372036854775807"),
            ("16Ei", "9223372036854775807"),
        ] {
            assert_eq!(canonical(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_told_in_upstreams_words() {
        for (text, error) in [
            ("", QuantityError::Format),
            ("lots", QuantityError::Format),
            ("1x", QuantityError::Format),
            ("1 Gi", QuantityError::Format),
            ("1.2.3", QuantityError::Format),
            ("1KK", QuantityError::Suffix),
            ("1ki", QuantityError::Suffix),
            ("1Mi5", QuantityError::Suffix),
            ("Mi", QuantityError::Numeric),
        ] {
            assert_eq!(Quantity::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn amounts_compare_and_add_across_suffixes() {
        let of = |text: &str| Quantity::parse(text).expect(text);
        assert_eq!(of("1"), of("1000m"));
        assert!(of("1Gi") > of("1G"));
        assert_eq!(of("0").plus(of("64Mi")).plus(of("64Mi")).to_string(), "128Mi");
        assert_eq!(of("1").minus(of("250m")).to_string(), "750m");
        assert_eq!((of("1500m").value(), of("1500u").milli_value(), of("-1500m").value()), (2, 2, -2));
        assert_eq!(Quantity::of(&serde_json::json!(2)).to_string(), "2");
    }
}
