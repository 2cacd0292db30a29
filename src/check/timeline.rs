//! `timeline`: which events of a log the learner found, compared with those that the log itself had when it was seeded.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::document::{self, Malformed, Source};
use super::task_file::{self, Content};
use super::{Check, CheckCx, CheckError, Finding, Format, Order, Verdict, object};

/// Compares the events that the learner wrote down with those that expressions find in the logs.
///
/// The logs are read once, right after the seed, so that what happens to them later changes nothing. The answer is YAML,
/// JSON or CSV: a list of entries, or a map from label to one entry or several; an entry is an event's id, or a map
/// with the id and further fields. Exactly the expected events must be in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Timeline {
    /// Where the answer lies.
    pub answer: Source,
    /// The logs.
    pub logs: Vec<Log>,
    /// The events that are asked for.
    pub expected: Vec<LogEvent>,
    /// The key, or column, of an entry that holds the event's id.
    #[serde(default = "id")]
    pub id_field: String,
    /// The key, or column, of an entry that holds the label, such as `phase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_field: Option<String>,
    /// Further keys of an entry, each with a CEL expression over `event` for what must be there: `user:
    /// event.user.username`. Times are compared as times, to the second where the answer has no more.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// Whether entries must stand in the order of the events.
    #[serde(default)]
    pub order: Order,
}

/// A log in the task folder, on a node or in an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Log {
    /// The name that `expected` refers to.
    pub name: String,
    /// Where it lies.
    pub source: Source,
    /// How it is read: `jsonLines` gives one `event` a line, `text` gives each line as `event.text`, and `json` and
    /// `yaml` take the items of a list. `event.line` is the line's or the item's number, from 1.
    #[serde(default = "json_lines")]
    pub format: Option<Format>,
    /// A CEL expression over `event` for its id, a text or a number.
    pub id: String,
    /// A CEL expression over `event` for its time, which decides the order between logs. Without it events stand in the
    /// order of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// An event that is asked for, or several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogEvent {
    /// What the event shows, such as `persistence`; the learner's label, where labels are asked for.
    pub label: String,
    /// The log's name.
    pub log: String,
    /// A CEL expression over `event` that is true for this event and no other.
    #[serde(rename = "where")]
    pub condition: String,
    /// How many events it is true for.
    #[serde(default = "one")]
    pub count: u32,
}

fn id() -> String {
    "id".to_owned()
}

fn json_lines() -> Option<Format> {
    Some(Format::JsonLines)
}

fn one() -> u32 {
    1
}

/// The largest log that is read.
const LARGEST: u64 = 32 * 1024 * 1024;

/// An event as it was found in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Known {
    label: String,
    id: String,
    time: String,
    line: u64,
    fields: BTreeMap<String, Value>,
}

/// An entry as the learner wrote it.
#[derive(Debug, Clone, Default, PartialEq)]
struct Entry {
    label: Option<String>,
    id: String,
    fields: Map<String, Value>,
    place: String,
}

impl Check for Timeline {
    fn lint(&self, faults: &mut Vec<String>) {
        self.answer.lint("answer", faults);
        if self.logs.is_empty() || self.expected.is_empty() {
            faults.push("timeline: name logs and what is expected of them".to_owned());
        }
        let mut names = BTreeSet::new();
        for (index, log) in self.logs.iter().enumerate() {
            let at = format!("logs[{index}]");
            log.source.lint(&format!("{at}.source"), faults);
            if log.name.is_empty() || !names.insert(&log.name) {
                faults.push(format!("{at}.name: a name of its own"));
            }
            if !matches!(log.format, Some(Format::JsonLines | Format::Text | Format::Json | Format::Yaml)) {
                faults.push(format!("{at}.format: jsonLines, text, json or yaml"));
            }
            object::lint_cel(&format!("{at}.id"), &log.id, &["event"], faults);
            if let Some(time) = &log.time {
                object::lint_cel(&format!("{at}.time"), time, &["event"], faults);
            }
        }
        if self.order == Order::Exact && self.logs.len() > 1 && self.logs.iter().any(|log| log.time.is_none())
        {
            faults.push("order: between several logs it follows from their times".to_owned());
        }
        for (index, event) in self.expected.iter().enumerate() {
            let at = format!("expected[{index}]");
            if event.label.trim().is_empty() || event.count == 0 {
                faults.push(format!("{at}: a label, and at least one event"));
            }
            if !names.contains(&event.log) {
                faults.push(format!("{at}.log: `{}` is none of the logs", event.log));
            }
            if event.condition.trim() == "true" {
                faults.push(format!("{at}.where: it is true for everything"));
            }
            object::lint_cel(&format!("{at}.where"), &event.condition, &["event"], faults);
        }
        for (field, source) in &self.fields {
            object::lint_cel(&format!("fields.{field}"), source, &["event"], faults);
        }
        if self.fields.contains_key(&self.id_field) {
            faults.push("fields: the id is compared anyway".to_owned());
        }
    }

    async fn record(&self, cx: &CheckCx<'_>) -> Result<Value, CheckError> {
        let api = Api::new(cx.client.clone());
        let mut known = Vec::new();
        for log in &self.logs {
            let text = match log.source.read_up_to(&api, cx, LARGEST).await? {
                Content::Text(text) => text,
                Content::Unusable(finding) => {
                    let text = format!("{} after the seed: {}", finding.object, finding.actual);
                    return Err(CheckError::Spec(text));
                }
            };
            let events = log.events(&text)?;
            for wanted in self.expected.iter().filter(|wanted| wanted.log == log.name) {
                known.extend(self.select(log, wanted, &events)?);
            }
        }
        let ids: BTreeSet<&String> = known.iter().map(|event| &event.id).collect();
        if ids.len() < known.len() && self.label_field.is_none() {
            return Err(CheckError::Spec("an event is expected twice".to_owned()));
        }
        Ok(json!({"events": known}))
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let recorded =
            cx.baseline.map(|baseline| baseline["events"].clone()).ok_or(CheckError::NoBaseline)?;
        let known: Vec<Known> = serde_json::from_value(recorded).map_err(|_| CheckError::NoBaseline)?;
        let text = match self.answer.read(&api, cx).await? {
            Content::Text(text) => text,
            Content::Unusable(finding) => return Ok(Verdict::Fail(vec![finding])),
        };
        let label = self.answer.label();
        match self.entries(&text) {
            Ok(entries) => Ok(Verdict::of(self.compare(&label, &known, &entries))),
            Err(fault) => Ok(Verdict::Fail(vec![fault.finding(&label, "entries as YAML, JSON or CSV")])),
        }
    }
}

impl Log {
    /// Reads the events, each with its line.
    fn events(&self, text: &str) -> Result<Vec<Value>, CheckError> {
        let wrong = |fault: String| CheckError::Spec(format!("log `{}`: {fault}", self.name));
        let items: Vec<(usize, Value)> = match self.format.unwrap_or(Format::JsonLines) {
            Format::Text => text
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.trim().is_empty())
                .map(|(index, line)| (index + 1, json!({"text": line})))
                .collect(),
            Format::JsonLines => text
                .lines()
                .enumerate()
                .filter(|(_, line)| !line.trim().is_empty())
                .map(|(index, line)| {
                    let event = serde_json::from_str(line);
                    event.map(|event| (index + 1, event)).map_err(|error| wrong(error.to_string()))
                })
                .collect::<Result<_, _>>()?,
            format => match task_file::parse(text, format).map_err(wrong)? {
                Value::Array(items) => {
                    items.into_iter().enumerate().map(|(at, item)| (at + 1, item)).collect()
                }
                _ => return Err(wrong("it is no list".to_owned())),
            },
        };
        Ok(items
            .into_iter()
            .map(|(line, mut event)| {
                if let Value::Object(map) = &mut event {
                    map.entry("line").or_insert(line.into());
                }
                event
            })
            .collect())
    }
}

impl Timeline {
    /// Finds the events that one expectation asks for.
    fn select(&self, log: &Log, wanted: &LogEvent, events: &[Value]) -> Result<Vec<Known>, CheckError> {
        let program = object::compile(&wanted.condition)?;
        let mut found = Vec::new();
        for event in events {
            let bindings = BTreeMap::from([("event".to_owned(), event.clone())]);
            // Lines of other shapes lack fields: an error is no match, and the count tells when too little is found.
            if program.evaluate(&bindings) != Ok(Value::Bool(true)) {
                continue;
            }
            let of = |source: &str| {
                let value = object::compile(source)?.evaluate(&bindings);
                value.map_err(|error| CheckError::Spec(format!("`{source}`: {error}")))
            };
            let time = log.time.as_ref().map(|time| of(time)).transpose()?;
            let fields = self.fields.iter().map(|(field, source)| Ok((field.clone(), of(source)?)));
            found.push(Known {
                label: wanted.label.clone(),
                id: text(&of(&log.id)?),
                time: time.as_ref().map(text).unwrap_or_default(),
                line: event["line"].as_u64().unwrap_or_default(),
                fields: fields.collect::<Result<_, CheckError>>()?,
            });
        }
        if found.len() as u64 != u64::from(wanted.count) {
            return Err(CheckError::Spec(format!(
                "`{}` is true for {} events of `{}`, not for {}",
                wanted.condition,
                found.len(),
                log.name,
                wanted.count
            )));
        }
        Ok(found)
    }

    /// Reads the answer.
    fn entries(&self, text: &str) -> Result<Vec<Entry>, Malformed> {
        let shape = |message: &str| Malformed { at: None, message: message.to_owned() };
        if self.is_csv(text) {
            return self.csv(text);
        }
        let mut entries = Vec::new();
        match document::json_or_yaml(text)? {
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.entry(item, None, format!("entry {}", index + 1), &mut entries)?;
                }
            }
            Value::Object(map) => {
                // One list under one key, as `events:` or `timeline:`.
                let only = map.values().next().and_then(Value::as_array).filter(|_| map.len() == 1);
                let labels: Vec<String> = self.expected.iter().map(|event| folded(&event.label)).collect();
                let is_label = map.keys().next().is_some_and(|key| labels.contains(&folded(key)));
                if let Some(items) = only.filter(|_| !is_label) {
                    for (index, item) in items.iter().enumerate() {
                        self.entry(item, None, format!("entry {}", index + 1), &mut entries)?;
                    }
                } else {
                    for (key, value) in &map {
                        let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                        for value in values {
                            self.entry(value, Some(key), key.clone(), &mut entries)?;
                        }
                    }
                }
            }
            Value::Null => {}
            _ => return Err(shape("one value, and neither a list nor a map")),
        }
        Ok(entries)
    }

    fn entry(
        &self,
        item: &Value,
        label: Option<&str>,
        place: String,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Malformed> {
        let label = label.map(str::to_owned);
        match item {
            Value::Null => {}
            Value::Object(map) => {
                let key =
                    |name: &str| map.iter().find(|(key, _)| folded(key) == folded(name)).map(|(_, v)| v);
                let own = self.label_field.as_ref().and_then(|field| key(field)).map(text);
                let ids = match key(&self.id_field) {
                    Some(Value::Array(ids)) => ids.iter().map(text).collect(),
                    Some(id) => vec![text(id)],
                    None => vec![String::new()],
                };
                for id in ids {
                    entries.push(Entry {
                        label: own.clone().or_else(|| label.clone()),
                        id,
                        fields: map.clone(),
                        place: place.clone(),
                    });
                }
            }
            Value::Array(_) => {
                return Err(Malformed { at: None, message: format!("{place}: a list within a list") });
            }
            id => entries.push(Entry { label, id: text(id), fields: Map::new(), place }),
        }
        Ok(())
    }

    /// Tells CSV by its header, which names the columns.
    fn is_csv(&self, text: &str) -> bool {
        let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let columns: Vec<String> = header.split([',', ';']).map(folded).collect();
        columns.len() > 1 && columns.contains(&folded(&self.id_field))
    }

    fn csv(&self, text: &str) -> Result<Vec<Entry>, Malformed> {
        let header = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let delimiter = if header.contains(';') && !header.contains(',') { b';' } else { b',' };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .trim(csv::Trim::All)
            .from_reader(text.trim_start().as_bytes());
        let fault = |error: csv::Error| Malformed {
            at: error.position().map(|position| (position.line(), 1)),
            message: error.to_string(),
        };
        let columns = reader.headers().map_err(fault)?.clone();
        let mut entries = Vec::new();
        for record in reader.records() {
            let record = record.map_err(fault)?;
            let line = record.position().map_or(0, csv::Position::line);
            let map: Map<String, Value> =
                columns.iter().zip(&record).map(|(name, cell)| (name.to_owned(), cell.into())).collect();
            self.entry(&Value::Object(map), None, format!("line {line}"), &mut entries)?;
        }
        Ok(entries)
    }

    fn compare(&self, label: &str, known: &[Known], entries: &[Entry]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let labelled = self.label_field.is_some() || entries.iter().any(|entry| entry.label.is_some());
        let fits = |event: &Known, entry: &Entry| {
            let right = entry.label.as_ref().is_some_and(|label| folded(label) == folded(&event.label));
            event.id.trim() == entry.id.trim() && (!labelled || right)
        };
        let mut seen: Vec<&Known> = Vec::new();
        for entry in entries {
            let Some(event) = known.iter().find(|event| fits(event, entry)) else {
                let shown = match &entry.label {
                    Some(name) => format!("{name}: {}", entry.id),
                    None => entry.id.clone(),
                };
                findings.push(Finding::new(
                    label,
                    &entry.place,
                    "an event that was asked for",
                    object::shorten(&shown),
                ));
                continue;
            };
            if seen.iter().any(|other| std::ptr::eq(*other, event)) {
                findings.push(Finding::new(label, &entry.place, "each event once", &entry.id));
                continue;
            }
            seen.push(event);
            for (field, value) in &event.fields {
                let given = entry.fields.iter().find(|(key, _)| folded(key) == folded(field)).map(|(_, v)| v);
                if !given.is_some_and(|given| same(given, value)) {
                    let path = format!("{}, {field}", entry.place);
                    let actual = given.map_or("nothing".to_owned(), object::show);
                    findings.push(Finding::new(label, path, format!("the event's {field}"), actual));
                }
            }
        }
        let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
        for event in known.iter().filter(|event| !seen.iter().any(|other| std::ptr::eq(*other, *event))) {
            *missing.entry(&event.label).or_default() += 1;
        }
        for (name, count) in missing {
            let expected = if count == 1 { "its event".to_owned() } else { format!("{count} more events") };
            findings.push(Finding::new(label, name, expected, "not there"));
        }
        if findings.is_empty() && self.order == Order::Exact {
            let ordered = seen.windows(2).all(|pair| {
                let times = (instant(&pair[0].time), instant(&pair[1].time));
                match times {
                    (Some(first), Some(second)) => first <= second,
                    _ => pair[0].line <= pair[1].line,
                }
            });
            if !ordered {
                findings.push(Finding::new(label, "order", "the order of the events", "another order"));
            }
        }
        findings
    }
}

/// Compares a field of the answer with the event's: times as times, lists whatever their order, the rest as texts.
fn same(given: &Value, wanted: &Value) -> bool {
    if let Value::Array(wanted) = wanted {
        let given: BTreeSet<String> = match given {
            Value::Array(given) => given.iter().map(text).collect(),
            other => text(other).split([',', ' ']).filter(|one| !one.is_empty()).map(str::to_owned).collect(),
        };
        return given == wanted.iter().map(text).collect();
    }
    let (given, wanted) = (text(given), text(wanted));
    if given.trim() == wanted.trim() {
        return true;
    }
    match (instant(&given), instant(&wanted)) {
        (Some(one), Some(other)) if given.contains('.') => one == other,
        (Some(one), Some(other)) => one.as_second() == other.as_second(),
        _ => false,
    }
}

fn instant(text: &str) -> Option<jiff::Timestamp> {
    let text = text.trim();
    let zoned = |text: &str| text.parse::<jiff::Timestamp>().ok();
    zoned(text).or_else(|| {
        // Without a zone, as logs are read aloud: in UTC.
        text.parse::<jiff::civil::DateTime>()
            .ok()?
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|at| at.timestamp())
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Makes labels and keys comparable: `Initial Access`, `initial_access` and `initial-access` are the same.
fn folded(text: &str) -> String {
    text.trim().trim_matches('"').to_lowercase().replace(['_', ' '], "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check() -> Timeline {
        let event = |label: &str| LogEvent { label: label.to_owned(), ..LogEvent::default() };
        Timeline {
            id_field: "auditID".to_owned(),
            label_field: Some("phase".to_owned()),
            expected: vec![event("initial access"), event("persistence")],
            ..Timeline::default()
        }
    }

    #[test]
    fn every_way_to_write_entries_is_read() {
        for text in [
            "- {phase: initial-access, auditID: a1}\n- {phase: Persistence, auditID: b2}\n",
            "initial_access: a1\npersistence: [b2]\n",
            "timeline:\n- phase: initial access\n  auditid: a1\n- phase: persistence\n  auditID: b2\n",
            "phase,auditID,time\ninitial access, a1,\"x, y\"\npersistence,b2,z\n",
            r#"{"initial access": {"auditID": "a1"}, "persistence": {"auditID": "b2"}}"#,
        ] {
            let entries = check().entries(text).unwrap();
            let found: BTreeSet<(String, String)> = entries
                .iter()
                .map(|entry| (folded(entry.label.as_ref().unwrap()), entry.id.clone()))
                .collect();
            let wanted = [("initial-access", "a1"), ("persistence", "b2")];
            assert_eq!(found, wanted.map(|(label, id)| (label.to_owned(), id.to_owned())).into(), "{text}");
        }
    }

    #[test]
    fn times_are_compared_as_times() {
        let same = |given: &str, wanted: &str| same(&given.into(), &wanted.into());
        assert!(same("2026-03-01T10:00:05Z", "2026-03-01T10:00:05.123456Z"));
        assert!(same("2026-03-01 11:00:05+01:00", "2026-03-01T10:00:05.123456Z"));
        assert!(same("2026-03-01 10:00:05", "2026-03-01T10:00:05.9Z"));
        assert!(!same("2026-03-01T10:00:05.1Z", "2026-03-01T10:00:05.2Z"));
        assert!(!same("2026-03-01T10:00:06Z", "2026-03-01T10:00:05Z"));
    }
}
