//! Schedules of CronJobs: the standard five fields and the `@` names, parsed with the words of robfig/cron for what is
//! wrong. Which moments a schedule means is asked here, too; it knows no Jobs.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// When to do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// At the times that the fields name.
    Fields(Box<Fields>),
    /// Again and again after a while (`@every 1h30m`).
    Every(SignedDuration),
}

/// The fields of a schedule, each a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fields {
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
    /// Whether the day or the weekday is `*`: then both must fit, else either.
    any_day: bool,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const STAR: u64 = 1 << 63;

struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

impl Schedule {
    /// Parses a schedule.
    ///
    /// # Errors
    /// A text in the words of upstream's parser.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty spec string".to_owned());
        }
        let mut text = text;
        if text.starts_with("TZ=") || text.starts_with("CRON_TZ=") {
            let (zone, rest) = text.split_once(' ').unwrap_or((text, ""));
            let name = zone.split_once('=').map_or("", |(_, name)| name);
            if time_zone(name).is_none() {
                return Err(format!("provided bad location {name}: unknown time zone {name}"));
            }
            text = rest.trim();
        }
        if text.starts_with('@') {
            return descriptor(text);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields[..] else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
        };
        let bounds = |min, max, names| Bounds { min, max, names };
        let minute = field(minute, &bounds(0, 59, &[]))?;
        let hour = field(hour, &bounds(0, 23, &[]))?;
        let day = field(day, &bounds(1, 31, &[]))?;
        let month = field(month, &bounds(1, 12, &MONTHS))?;
        let weekday = field(weekday, &bounds(0, 6, &WEEKDAYS))?;
        let any_day = day & STAR != 0 || weekday & STAR != 0;
        Ok(Self::Fields(Box::new(Fields { minute, hour, day, month, weekday, any_day })))
    }

    /// Returns the first moment after `after`, or nothing when there is none within five years.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Every(span) => {
                let next = after.checked_add(*span).ok()?;
                Timestamp::from_second(next.as_second()).ok()
            }
            Self::Fields(fields) => fields.next(after, zone),
        }
    }
}

/// Finds a time zone by its IANA name. Where the machine has no table of zones, names of the right form count as UTC.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    match name {
        "" | "UTC" => Some(TimeZone::UTC),
        name if jiff::tz::db().is_definitively_empty() => {
            let form = name.chars().all(|c| c.is_ascii_alphanumeric() || "/_+-".contains(c));
            form.then_some(TimeZone::UTC)
        }
        name => TimeZone::get(name).ok(),
    }
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let start = zone.to_datetime(after);
        let mut moment = DateTime::from_parts(
            start.date(),
            jiff::civil::Time::new(start.hour(), start.minute(), 0, 0).ok()?,
        );
        moment = moment.checked_add(1.minute()).ok()?;
        let last = moment.checked_add(5.years()).ok()?;
        while moment <= last {
            if self.month & (1 << moment.month()) == 0 {
                moment = moment.date().first_of_month().checked_add(1.month()).ok()?.at(0, 0, 0, 0);
            } else if !self.fits_day(moment) {
                moment = moment.date().checked_add(1.day()).ok()?.at(0, 0, 0, 0);
            } else if self.hour & (1 << moment.hour()) == 0 {
                moment = moment.date().at(moment.hour(), 0, 0, 0).checked_add(1.hour()).ok()?;
            } else if self.minute & (1 << moment.minute()) == 0 {
                moment = moment.checked_add(1.minute()).ok()?;
            } else {
                let found = zone.to_timestamp(moment).ok()?;
                if found > after {
                    return Some(found);
                }
                moment = moment.checked_add(1.minute()).ok()?;
            }
        }
        None
    }

    fn fits_day(&self, moment: DateTime) -> bool {
        let day = self.day & (1 << moment.day()) != 0;
        let weekday = self.weekday & (1 << moment.weekday().to_sunday_zero_offset()) != 0;
        if self.any_day { day && weekday } else { day || weekday }
    }
}

fn descriptor(text: &str) -> Result<Schedule, String> {
    let fields = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let Some(span) = text.strip_prefix("@every ") else {
                return Err(format!("unrecognized descriptor: {text}"));
            };
            return go_duration(span)
                .map(|span| Schedule::Every(span.max(SignedDuration::from_secs(1))))
                .ok_or_else(|| format!("failed to parse duration {text}: time: invalid duration {span:?}"));
        }
    };
    Schedule::parse(fields)
}

/// Parses a duration as Go writes it, such as `1h30m`.
pub fn go_duration(text: &str) -> Option<SignedDuration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(SignedDuration::ZERO);
    }
    let mut nanos = 0_f64;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let unit_end = rest[digits..]
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .map_or(rest.len(), |at| digits + at);
        nanos += number
            * match &rest[digits..unit_end] {
                "ns" => 1.0,
                "us" | "µs" | "μs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    let span = SignedDuration::from_nanos(nanos as i64);
    Some(if negative { -span } else { span })
}

fn field(text: &str, bounds: &Bounds) -> Result<u64, String> {
    let mut bits = 0;
    for part in text.split(',').filter(|part| !part.is_empty()) {
        bits |= range(part, bounds)?;
    }
    Ok(bits)
}

fn range(text: &str, bounds: &Bounds) -> Result<u64, String> {
    let steps: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = steps[0].split('-').collect();
    let mut star = 0;
    let (start, mut end) = if matches!(ends[0], "*" | "?") {
        star = STAR;
        (bounds.min, bounds.max)
    } else {
        let start = number_or_name(ends[0], bounds.names)?;
        match ends[..] {
            [_] => (start, start),
            [_, end] => (start, number_or_name(end, bounds.names)?),
            _ => return Err(format!("too many hyphens: {text}")),
        }
    };
    let step = match steps[..] {
        [_] => 1,
        [_, step] => {
            let step = number(step)?;
            if ends.len() == 1 {
                end = bounds.max;
            }
            if step > 1 {
                star = 0;
            }
            step
        }
        _ => return Err(format!("too many slashes: {text}")),
    };
    if start < bounds.min {
        return Err(format!("beginning of range ({start}) below minimum ({}): {text}", bounds.min));
    }
    if end > bounds.max {
        return Err(format!("end of range ({end}) above maximum ({}): {text}", bounds.max));
    }
    if start > end {
        return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
    }
    if step == 0 {
        return Err(format!("step of range should be a positive number: {text}"));
    }
    let bits = (start..=end).step_by(step as usize).fold(0_u64, |bits, n| bits | (1 << n));
    Ok(bits | star)
}

fn number_or_name(text: &str, names: &[&str]) -> Result<u32, String> {
    let lower = text.to_lowercase();
    // Months count from one, weekdays from zero.
    let first = if names.len() == 12 { 1 } else { 0 };
    match names.iter().position(|name| *name == lower) {
        Some(index) => Ok(index as u32 + first),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => {
            Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_told_in_the_parsers_words() {
        for (text, error) in [
            ("every day", "expected exactly 5 fields, found 2: [every day]"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-3 * * * *", "beginning of range (5) beyond end of range (3): 5-3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("@often", "unrecognized descriptor: @often"),
        ] {
            assert_eq!(Schedule::parse(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn zones_are_known_by_their_names() {
        assert!(time_zone("Europe/Berlin").is_some());
        assert!(time_zone("no such zone").is_none());
    }

    #[test]
    fn the_next_moment_is_found() {
        let from: Timestamp = "2026-01-30T10:02:30Z".parse().expect("time");
        for (schedule, next) in [
            ("*/5 * * * *", "2026-01-30T10:05:00Z"),
            ("0 0 1 1 *", "2027-01-01T00:00:00Z"),
            ("30 9 * * mon-fri", "2026-02-02T09:30:00Z"),
            ("0 12 31 * *", "2026-01-31T12:00:00Z"),
            ("0 0 13 * fri", "2026-02-06T00:00:00Z"),
            ("@daily", "2026-01-31T00:00:00Z"),
            ("@every 1h", "2026-01-30T11:02:30Z"),
        ] {
            let found = Schedule::parse(schedule).expect(schedule).next(from, &TimeZone::UTC);
            assert_eq!(found.map(|moment| moment.to_string()), Some(next.to_owned()), "{schedule}");
        }
        let never = Schedule::parse("0 0 31 2 *").expect("schedule");
        assert_eq!(never.next(from, &TimeZone::UTC), None);
    }
}
