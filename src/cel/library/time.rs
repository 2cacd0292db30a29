//! Timestamps and durations: how they are read and written, and their parts in any time zone.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::{Library, fail, text};
use crate::cel::Fault;
use crate::cel::value::Val;

pub(super) fn declare(library: &mut Library) {
    macro_rules! part {
        ($($name:literal => $part:expr,)*) => {
            $(
                library.add(concat!("timestamp.", $name, "() -> int"), |args| zoned(args).map(|at| Val::Int($part(&at))));
                library.add(concat!("timestamp.", $name, "(string) -> int"), |args| {
                    zoned(args).map(|at| Val::Int($part(&at)))
                });
            )*
        };
    }
    part! {
        "getFullYear" => |at: &Zoned| i64::from(at.year()),
        "getMonth" => |at: &Zoned| i64::from(at.month()) - 1,
        "getDayOfYear" => |at: &Zoned| i64::from(at.day_of_year()) - 1,
        "getDayOfMonth" => |at: &Zoned| i64::from(at.day()) - 1,
        "getDate" => |at: &Zoned| i64::from(at.day()),
        "getDayOfWeek" => |at: &Zoned| i64::from(at.weekday().to_sunday_zero_offset()),
        "getHours" => |at: &Zoned| i64::from(at.hour()),
        "getMinutes" => |at: &Zoned| i64::from(at.minute()),
        "getSeconds" => |at: &Zoned| i64::from(at.second()),
        "getMilliseconds" => |at: &Zoned| i64::from(at.millisecond()),
    }
    library.add("duration.getHours() -> int", |args| whole(args, |span| span.as_secs() / 3600));
    library.add("duration.getMinutes() -> int", |args| whole(args, |span| span.as_secs() / 60));
    library.add("duration.getSeconds() -> int", |args| whole(args, |span| span.as_secs()));
    library.add("duration.getMilliseconds() -> int", |args| {
        whole(args, |span| i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
    });
}

fn whole<'a>(args: &[Val<'a>], part: fn(SignedDuration) -> i64) -> Result<Val<'a>, Fault> {
    match &args[0] {
        Val::Duration(span) => Ok(Val::Int(part(*span))),
        _ => fail("no such overload"),
    }
}

fn zoned(args: &[Val<'_>]) -> Result<Zoned, Fault> {
    let Val::Timestamp(at) = &args[0] else { return Err(Fault::Error("no such overload".to_owned())) };
    let zone = if args.len() == 1 { Some(TimeZone::UTC) } else { zone(text(args, 1)) };
    match zone {
        Some(zone) => Ok(at.to_zoned(zone)),
        None => Err(Fault::Error(format!("unknown time zone {}", text(args, 1)))),
    }
}

/// Reads `Europe/Berlin` or `+02:00`.
fn zone(name: &str) -> Option<TimeZone> {
    if matches!(name, "" | "UTC") {
        return Some(TimeZone::UTC);
    }
    if let Some((hours, minutes)) = name.split_once(':') {
        let negative = hours.starts_with('-');
        let hours: i32 = hours.trim_start_matches(['+', '-']).parse().ok()?;
        let minutes: i32 = minutes.parse().ok()?;
        let seconds = (hours * 60 + minutes) * 60 * if negative { -1 } else { 1 };
        return jiff::tz::Offset::from_seconds(seconds).ok().map(TimeZone::fixed);
    }
    TimeZone::get(name).ok()
}

/// Reads RFC 3339.
pub(in crate::cel) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let date_and_time =
        text.len() >= 20 && text.as_bytes().get(10).is_some_and(|sep| matches!(sep, b'T' | b't'));
    if date_and_time { text.parse().ok() } else { None }
}

/// Writes RFC 3339 with as many fractional digits as are needed.
pub(super) fn format_timestamp(at: Timestamp) -> String {
    at.to_string()
}

/// Reads a duration as Go does: `1h30m`, `-1.5s`, `100ms`.
pub(in crate::cel) fn parse_duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').filter(|&end| end > 0)?;
        let (number, after) = rest.split_at(end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || whole.len() > 18 {
            return None;
        }
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        nanos += whole * scale;
        let mut part = scale;
        for digit in fraction.chars() {
            part /= 10;
            nanos += i128::from(digit.to_digit(10)?) * part;
        }
        rest = after;
    }
    let nanos = i64::try_from(if negative { -nanos } else { nanos }).ok()?;
    Some(SignedDuration::from_nanos(nanos))
}

/// Writes a duration as CEL does: seconds with a fraction, `5400s`.
pub(in crate::cel) fn format_duration(span: SignedDuration) -> String {
    let nanos = span.as_nanos();
    let (sign, nanos) = if nanos < 0 { ("-", -nanos) } else { ("", nanos) };
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if fraction == 0 {
        return format!("{sign}{seconds}s");
    }
    let fraction = format!("{fraction:09}");
    format!("{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("1h30m", Some(5_400_000_000_000)),
            ("-1.5s", Some(-1_500_000_000)),
            ("100ms", Some(100_000_000)),
            (".5s", Some(500_000_000)),
            ("0", Some(0)),
            ("", None),
            ("1", None),
            ("1x", None),
            ("s", None),
        ] {
            assert_eq!(parse_duration(text).map(|span| span.as_nanos()), nanos, "{text}");
        }
        assert_eq!(format_duration(SignedDuration::from_millis(-1500)), "-1.5s");
    }
}
