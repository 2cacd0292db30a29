//! An exam as an instructor plans it: which tasks are in it, which are drawn, what they weigh, how long it takes. Text
//! to a valid plan, with every fault at its place; draws nothing and knows no cluster.

pub mod code;
mod raw;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::curriculum::{Curriculum, Track};
use crate::diag::{Diagnostic, Span, closest};
use crate::exam::{Pick, Slot};
use crate::scenario::catalog::Summary;
use crate::scenario::raw::{At, Placed};
use crate::scenario::structure;

use code::Code;
use raw::{RawBlueprint, RawDrawn, RawFixed, RawTask};

/// How many tasks an exam has at most.
const MOST_TASKS: usize = 60;
/// How many minutes an exam takes at most.
const MOST_MINUTES: u32 = 600;

/// A planned exam.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blueprint {
    /// What to call it.
    pub title: String,
    /// The curriculum's track.
    pub track: &'static Track,
    /// How many minutes there are; the track's own where there is none.
    pub minutes: Option<u32>,
    /// Percent that are needed to pass; the track's own where there is none.
    pub pass_mark: Option<u32>,
    /// The number that tasks, names and values are drawn from.
    pub variant: Option<u32>,
    /// The provider's name.
    pub provider: Option<String>,
    /// Whether pages of third parties are shown.
    pub open_book: bool,
    /// Prefixes of the pages that may be open; the track's own where there is none.
    pub allowed_links: Vec<String>,
    /// The places, in their order.
    pub slots: Vec<Slot>,
    /// For each place the variant that it was given.
    pub variants: Vec<Option<u32>>,
}

/// What a blueprint may name.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The scenarios.
    pub scenarios: &'a [Summary],
    /// The providers that an exam can have, and `auto`.
    pub providers: &'a [&'a str],
}

/// Reads a blueprint. `file` is what faults are said to be in.
///
/// # Errors
/// Every fault, in the order of the file.
pub fn parse(text: &str, file: &Path, known: Known<'_>) -> Result<Blueprint, Vec<Diagnostic>> {
    let raw: RawBlueprint = structure::parse_as(text, raw::schema())
        .map_err(|faults| faults.into_iter().map(|fault| fault.in_file(file)).collect::<Vec<_>>())?;
    let mut reading = Reading { file, known, faults: Vec::new() };
    let blueprint = reading.blueprint(&raw);
    reading.faults.sort_by(|a, b| (&a.span, a.code).cmp(&(&b.span, b.code)));
    if reading.faults.is_empty() { Ok(blueprint) } else { Err(reading.faults) }
}

/// Returns the JSON Schema (2020-12) of a blueprint as the text that is published.
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}

/// Returns the JSON Schema (2020-12) of a blueprint.
pub fn schema() -> &'static Value {
    raw::schema()
}

struct Reading<'a> {
    file: &'a Path,
    known: Known<'a>,
    faults: Vec<Diagnostic>,
}

impl Reading<'_> {
    fn fault(&mut self, code: Code, at: At, message: String, help: Option<String>) {
        let span = Span { file: self.file.to_path_buf(), line: at.line, column: at.column };
        let severity = code.severity();
        self.faults.push(Diagnostic { code: code.as_str(), severity, message, span: Some(span), help });
    }

    fn blueprint(&mut self, raw: &RawBlueprint) -> Blueprint {
        if raw.title.trim().is_empty() {
            self.fault(Code::EmptyText, raw.title.at, "the title is empty".to_owned(), None);
        }
        let track = self.track(raw.track.as_ref());
        self.range(raw.minutes.as_ref(), "minutes", MOST_MINUTES);
        self.range(raw.pass_mark.as_ref(), "percent to pass", 100);
        if let Some(provider) = &raw.provider
            && !self.known.providers.contains(&provider.as_str())
        {
            let known = self.known.providers;
            let message = format!("no exam can be on `{}`", provider.value);
            let near = closest(provider, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
            let help = near.unwrap_or_else(|| format!("one of {}", known.join(", ")));
            self.fault(Code::UnknownProvider, provider.at, message, Some(help));
        }
        for link in &raw.allowed_links {
            if !["https://", "http://"].iter().any(|scheme| link.starts_with(scheme)) {
                let message = format!("`{}` is not the beginning of a web address", link.value);
                self.fault(
                    Code::BadLink,
                    link.at,
                    message,
                    Some("such as `https://kubernetes.io/docs/`".to_owned()),
                );
            }
        }
        let (slots, variants) = self.tasks(raw, track);
        Blueprint {
            title: raw.title.value.trim().to_owned(),
            track,
            minutes: raw.minutes.as_ref().map(|minutes| minutes.value),
            pass_mark: raw.pass_mark.as_ref().map(|mark| mark.value),
            variant: raw.variant,
            provider: raw.provider.as_ref().map(|provider| provider.value.clone()),
            open_book: raw.open_book,
            allowed_links: raw.allowed_links.iter().map(|link| link.value.clone()).collect(),
            slots,
            variants,
        }
    }

    fn track(&mut self, wanted: Option<&Placed<String>>) -> &'static Track {
        let curriculum = Curriculum::builtin();
        let Some(wanted) = wanted else { return curriculum.newest() };
        curriculum.track(wanted).unwrap_or_else(|| {
            let known: Vec<&str> = curriculum.tracks().iter().map(|track| track.id.as_str()).collect();
            let help = Some(format!("one of {}", known.join(", ")));
            self.fault(Code::UnknownTrack, wanted.at, format!("there is no track `{}`", wanted.value), help);
            curriculum.newest()
        })
    }

    fn range(&mut self, number: Option<&Placed<u32>>, what: &str, most: u32) {
        if let Some(number) = number
            && !(1..=most).contains(&number.value)
        {
            let message = format!("{} {what} are not from 1 to {most}", number.value);
            self.fault(Code::BadNumber, number.at, message, None);
        }
    }

    fn tasks(&mut self, raw: &RawBlueprint, track: &Track) -> (Vec<Slot>, Vec<Option<u32>>) {
        let mut slots = Vec::new();
        let mut variants = Vec::new();
        let fixed: BTreeSet<&str> = raw.tasks.iter().filter_map(|task| fixed(task)).collect();
        let mut seen = BTreeSet::new();
        let mut minutes = 0;
        for task in raw.tasks.iter() {
            match &task.value {
                RawTask::Fixed(fixed) => {
                    minutes += self.fixed(fixed, &mut seen);
                    self.range(fixed.weight.as_ref(), "percent of weight", 100);
                    let weight = fixed.weight.as_ref().map(|weight| weight.value);
                    slots.push(Slot { pick: Pick::Fixed(fixed.scenario.value.clone()), weight });
                    variants.push(fixed.variant);
                }
                RawTask::Drawn(drawn) => {
                    let number = self.drawn(drawn, track, &fixed, &slots);
                    let domain = drawn.domain.as_ref().map(|domain| domain.value.clone());
                    let weight = drawn.weight.as_ref().map(|weight| weight.value);
                    let slot = Slot { pick: Pick::Drawn(domain), weight };
                    slots.extend(std::iter::repeat_n(slot, number));
                    variants.extend(std::iter::repeat_n(None, number));
                }
            }
        }
        let at = raw.tasks.at;
        if slots.is_empty() || slots.len() > MOST_TASKS {
            let message = format!("{} tasks are not from 1 to {MOST_TASKS}", slots.len());
            self.fault(Code::BadNumber, at, message, None);
        }
        let limit = raw.minutes.as_ref().map_or(track.exam.minutes, |minutes| minutes.value);
        if minutes > limit {
            let message = format!("the fixed tasks take {minutes} minutes, and there are {limit}");
            self.fault(Code::TooLong, at, message, Some("give more `minutes`, or fewer tasks".to_owned()));
        }
        self.weights(&slots, at);
        (slots, variants)
    }

    /// Returns the minutes of the task.
    fn fixed<'t>(&mut self, fixed: &'t RawFixed, seen: &mut BTreeSet<&'t str>) -> u32 {
        let id = fixed.scenario.value.as_str();
        let known = self.known.scenarios;
        let Some(summary) = known.iter().find(|summary| summary.id.as_str() == id) else {
            let near = closest(id, known.iter().map(|summary| summary.id.as_str()));
            let help = near.map(|near| format!("did you mean `{near}`?"));
            self.fault(
                Code::UnknownScenario,
                fixed.scenario.at,
                format!("there is no scenario `{id}`"),
                help,
            );
            return 0;
        };
        if !seen.insert(id) {
            self.fault(
                Code::DuplicateTask,
                fixed.scenario.at,
                format!("scenario `{id}` is there twice"),
                None,
            );
        }
        summary.minutes
    }

    /// Returns how many tasks it stands for.
    fn drawn(&mut self, drawn: &RawDrawn, track: &Track, fixed: &BTreeSet<&str>, before: &[Slot]) -> usize {
        self.range(drawn.number.as_ref(), "tasks", MOST_TASKS as u32);
        self.range(drawn.weight.as_ref(), "percent of weight", 100);
        let number = drawn.number.as_ref().map_or(1, |number| number.value as usize).min(MOST_TASKS);
        let Some(domain) = &drawn.domain else { return number };
        if !track.domains.iter().any(|known| known.id.as_str() == domain.value) {
            let known = || track.domains.iter().map(|domain| domain.id.as_str());
            let near = closest(domain, known()).map(|near| format!("did you mean `{near}`?"));
            let help = near.unwrap_or_else(|| format!("one of {}", known().collect::<Vec<_>>().join(", ")));
            let message = format!("track `{}` has no domain `{}`", track.id, domain.value);
            self.fault(Code::UnknownDomain, domain.at, message, Some(help));
            return number;
        }
        let of_domain = |summary: &&Summary| {
            let places = Curriculum::builtin().places_in(&summary.topic, track);
            let there = places.first().is_some_and(|place| place.domain.id.as_str() == domain.value);
            there && !fixed.contains(summary.id.as_str())
        };
        let there = self.known.scenarios.iter().filter(of_domain).count();
        let pick = Pick::Drawn(Some(domain.value.clone()));
        let wanted = number + before.iter().filter(|slot| slot.pick == pick).count();
        if wanted > there {
            let message = format!(
                "{wanted} tasks of `{}` are wanted, and there are {there} to draw from",
                domain.value
            );
            self.fault(Code::TooFew, domain.at, message, None);
        }
        number
    }

    fn weights(&mut self, slots: &[Slot], at: At) {
        let given: u32 = slots.iter().filter_map(|slot| slot.weight).map(|weight| weight.min(100)).sum();
        let open =
            u32::try_from(slots.iter().filter(|slot| slot.weight.is_none()).count()).unwrap_or(u32::MAX);
        let message = match open {
            0 if given != 100 && !slots.is_empty() => {
                format!("the weights add up to {given} percent, not to 100")
            }
            open if open > 0 && given.saturating_add(open) > 100 => {
                format!(
                    "the weights add up to {given} percent, which leaves too little to the {open} tasks without one"
                )
            }
            _ => return,
        };
        self.fault(
            Code::BadWeights,
            at,
            message,
            Some("tasks without a `weight` share what is left".to_owned()),
        );
    }
}

fn fixed(task: &Placed<RawTask>) -> Option<&str> {
    match &task.value {
        RawTask::Fixed(fixed) => Some(&fixed.scenario),
        RawTask::Drawn(_) => None,
    }
}
