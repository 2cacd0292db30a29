//! `journalctl`: what the units of a node have written.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::options::Options;
use super::{Cx, Done};
use crate::sim::node::host::JournalLine;

const KNOWN: &[super::options::Known] = &[
    ("unit", Some('u'), true),
    ("identifier", Some('t'), true),
    ("follow", Some('f'), false),
    ("lines", Some('n'), true),
    ("since", Some('S'), true),
    ("until", Some('U'), true),
    ("pager-end", Some('e'), false),
    ("catalog", Some('x'), false),
    ("no-pager", None, false),
    ("output", Some('o'), true),
    ("reverse", Some('r'), false),
    ("boot", Some('b'), false),
    ("dmesg", Some('k'), false),
    ("quiet", Some('q'), false),
    ("all", Some('a'), false),
    ("full", Some('l'), false),
    ("no-full", None, false),
    ("no-hostname", None, false),
    ("no-tail", None, false),
    ("grep", Some('g'), true),
    ("utc", None, false),
    ("system", None, false),
];

pub(super) fn run(cx: &Cx) -> Done {
    // `-b 0` is this boot; there is no other.
    let mut args: Vec<String> = cx.args().to_vec();
    if let Some(at) = args.iter().position(|arg| arg == "-b")
        && args.get(at + 1).is_some_and(|next| next == "0")
    {
        args.remove(at + 1);
    }
    let options = match Options::read(&args, KNOWN) {
        Ok(options) => options,
        Err(option) => return cx.not_simulated(&format!("option `{option}`")),
    };
    if let Some(word) = options.rest.first() {
        return cx.not_simulated(&format!("a match such as `{word}`"));
    }
    let filter = match Filter::new(cx, &options) {
        Ok(filter) => filter,
        Err(done) => return done,
    };
    let most = match options.get("lines") {
        Some("all") => None,
        Some(lines) => match lines.trim_start_matches('+').parse::<usize>() {
            Ok(lines) => Some(lines),
            Err(_) => return Done::fail(1, format!("Failed to parse lines '{lines}'\n")),
        },
        None if options.has("follow") && !options.has("no-tail") => Some(10),
        None if options.has("pager-end") => Some(1000),
        None => None,
    };
    let mut lines = filter.lines(cx, 0);
    let next = cx.host.journal(None, 0).last().map_or(0, |line| line.number + 1);
    if let Some(most) = most {
        lines.drain(..lines.len().saturating_sub(most));
    }
    if options.has("reverse") {
        lines.reverse();
    }
    let text: String = lines.iter().map(|line| filter.show(cx.host.name(), line)).collect();
    if options.has("follow") {
        let mut next = next;
        let cx = cx.clone();
        return Done::follow(text, move || {
            let new = filter.lines(&cx, next);
            if let Some(last) = cx.host.journal(None, next).last() {
                next = last.number + 1;
            }
            new.iter().map(|line| filter.show(cx.host.name(), line)).collect()
        });
    }
    if text.is_empty() && !options.has("quiet") {
        return Done::out("-- No entries --\n");
    }
    Done::out(text)
}

struct Filter {
    units: Vec<String>,
    identifiers: Vec<String>,
    kernel: bool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    pattern: Option<regex::Regex>,
    format: String,
    host: bool,
}

impl Filter {
    fn new(cx: &Cx, options: &Options) -> Result<Self, Done> {
        let time = |name: &str| match options.get(name) {
            None => Ok(None),
            Some(text) => match moment(text, cx.host.now()) {
                Some(at) => Ok(Some(at)),
                None => Err(Done::fail(1, format!("Failed to parse timestamp: {text}\n"))),
            },
        };
        let format = options.get("output").unwrap_or("short");
        if !["short", "short-precise", "short-iso", "cat", "json", "json-pretty"].contains(&format) {
            return Err(cx.not_simulated(&format!("output `{format}`")));
        }
        let pattern = match options.get("grep") {
            None => None,
            Some(pattern) => {
                // As journalctl does it: small letters alone match capitals too.
                let fold = !pattern.chars().any(char::is_uppercase);
                let built = regex::RegexBuilder::new(pattern).case_insensitive(fold).build();
                Some(built.map_err(|_| Done::fail(1, format!("Bad pattern \"{pattern}\"\n")))?)
            }
        };
        let unit = |name: &String| if name.contains('.') { name.clone() } else { format!("{name}.service") };
        Ok(Self {
            units: options.all("unit").iter().map(unit).collect(),
            identifiers: options.all("identifier").to_vec(),
            kernel: options.has("dmesg"),
            since: time("since")?,
            until: time("until")?,
            pattern,
            format: format.to_owned(),
            host: !options.has("no-hostname"),
        })
    }

    fn lines(&self, cx: &Cx, from: u64) -> Vec<JournalLine> {
        let mut lines = cx.host.journal(None, from);
        lines.retain(|line| {
            (self.units.is_empty() || self.units.iter().any(|unit| glob(unit, &line.unit)))
                && (self.identifiers.is_empty() || self.identifiers.contains(&line.identifier))
                && (!self.kernel || line.identifier == "kernel")
                && self.since.is_none_or(|since| line.at >= since)
                && self.until.is_none_or(|until| line.at <= until)
                && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(&line.text))
        });
        lines
    }

    fn show(&self, host: &str, line: &JournalLine) -> String {
        let with = |time: String| {
            let host = if self.host { format!("{host} ") } else { String::new() };
            format!("{time} {host}{}\n", said(line))
        };
        match self.format.as_str() {
            "cat" => format!("{}\n", line.text),
            "json" => format!("{}\n", fields(host, line)),
            "json-pretty" => format!("{:#}\n", fields(host, line)),
            "short-precise" => with(line.at.strftime("%b %d %H:%M:%S%.6f").to_string()),
            "short-iso" => with(line.at.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()),
            _ => with(line.at.strftime("%b %d %H:%M:%S").to_string()),
        }
    }
}

/// A line as journalctl shows it without being asked for another form.
pub(super) fn short(host: &str, line: &JournalLine) -> String {
    format!("{} {host} {}", line.at.strftime("%b %d %H:%M:%S"), said(line))
}

fn said(line: &JournalLine) -> String {
    match line.identifier.as_str() {
        "kernel" => format!("kernel: {}", line.text),
        identifier => format!("{identifier}[{}]: {}", line.pid, line.text),
    }
}

fn fields(host: &str, line: &JournalLine) -> serde_json::Value {
    json!({
        "__REALTIME_TIMESTAMP": line.at.as_microsecond().to_string(),
        "_HOSTNAME": host,
        "_PID": line.pid.to_string(),
        "_SYSTEMD_UNIT": line.unit,
        "SYSLOG_IDENTIFIER": line.identifier,
        "MESSAGE": line.text,
    })
}

fn glob(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        }
    }
}

/// Reads a time as systemd does: a date and time, a time of today, or how long ago. The node's clock shows UTC.
fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    let today = now.to_zoned(TimeZone::UTC).date();
    let utc = |at: DateTime| at.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp());
    match text {
        "now" => return Some(now),
        "today" => return utc(today.to_datetime(Time::midnight())),
        "yesterday" => return utc(today.yesterday().ok()?.to_datetime(Time::midnight())),
        _ => {}
    }
    let back = text.strip_prefix('-').or_else(|| text.strip_suffix("ago"));
    if let Some(span) = back {
        let mut seconds = 0_i64;
        let mut rest = span.trim();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let (number, after) = rest.split_at(digits);
            let after = after.trim_start();
            let end = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
            let (unit, after) = after.split_at(end);
            let length = match unit {
                "s" | "sec" | "second" | "seconds" => 1,
                "m" | "min" | "minute" | "minutes" => 60,
                "h" | "hr" | "hour" | "hours" => 3600,
                "d" | "day" | "days" => 86_400,
                "w" | "week" | "weeks" => 604_800,
                _ => return None,
            };
            seconds = seconds.checked_add(number.parse::<i64>().ok()?.checked_mul(length)?)?;
            rest = after.trim_start();
        }
        return now.checked_sub(SignedDuration::from_secs(seconds)).ok();
    }
    let text = text.strip_suffix("UTC").unwrap_or(text).trim();
    if let Some(number) = text.strip_prefix('@') {
        return Timestamp::from_second(number.parse().ok()?).ok();
    }
    if let Ok(time) =
        format!("{text}{}", if text.matches(':').count() == 1 { ":00" } else { "" }).parse::<Time>()
    {
        return utc(today.to_datetime(time));
    }
    let whole = match text.matches(':').count() {
        0 => format!("{text} 00:00:00"),
        1 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    utc(whole.replace(' ', "T").parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_systemd_reads_them() {
        let now: Timestamp = "2026-11-23T04:00:00Z".parse().unwrap();
        for (text, wanted) in [
            ("2026-11-23 03:00:00", Some("2026-11-23T03:00:00Z")),
            ("2026-11-23 03:00", Some("2026-11-23T03:00:00Z")),
            ("2026-11-23", Some("2026-11-23T00:00:00Z")),
            ("03:30", Some("2026-11-23T03:30:00Z")),
            ("today", Some("2026-11-23T00:00:00Z")),
            ("yesterday", Some("2026-11-22T00:00:00Z")),
            ("5 min ago", Some("2026-11-23T03:55:00Z")),
            ("1h 30min ago", Some("2026-11-23T02:30:00Z")),
            ("-10s", Some("2026-11-23T03:59:50Z")),
            ("soon", None),
            ("5 moons ago", None),
        ] {
            assert_eq!(moment(text, now), wanted.map(|wanted| wanted.parse().unwrap()), "{text}");
        }
    }
}
