//! What a check found, in as few lines as say it: what was expected and found alike is said once, for all the places
//! where it was found.

use std::fmt::Write as _;

use super::labelled;
use crate::check::Finding;
use crate::layout::{self, CODE, FAINT, paint};

/// How many lines of places there are for one thing that was found; JSON has them all.
const MOST_LINES: usize = 8;
/// How long a value may be; JSON has it whole.
const LONGEST_VALUE: usize = 240;
/// The columns before a value.
const INDENT: usize = 15;

/// Findings with the same expectation and the same answer.
pub(in crate::report) struct Group<'a> {
    pub(in crate::report) expected: &'a str,
    pub(in crate::report) actual: &'a str,
    /// The objects, each with the places in it.
    pub(in crate::report) objects: Vec<(&'a str, Vec<&'a str>)>,
    /// How many more there are that are not named.
    pub(in crate::report) further: usize,
}

/// Renders findings.
pub(super) fn render(out: &mut String, findings: &[Finding], width: usize) {
    for group in groups(findings) {
        let lines: Vec<String> =
            group.objects.iter().flat_map(|(object, places)| lines(object, places)).collect();
        // A line that says that one is missing is no shorter than the one that is missing.
        let shown = if lines.len() > MOST_LINES { MOST_LINES - 1 } else { lines.len() };
        for line in &lines[..shown] {
            let indent = if line.starts_with(BULLET) { "      " } else { "    " };
            let _ = writeln!(out, "{}", layout::wrap(line, width, indent, &format!("{indent}  ")));
        }
        match lines.len() - shown + group.further {
            0 => {}
            more => {
                let _ = writeln!(out, "      {}", paint(FAINT, format!("and {more} more")));
            }
        }
        for (label, value) in [("expected", group.expected), ("found", group.actual)] {
            let value = layout::shorten(&broken(value, width.saturating_sub(INDENT)), LONGEST_VALUE);
            let _ = writeln!(out, "{}", labelled(label, &value, width));
        }
    }
}

/// Breaks words that are longer than a line, such as a list in JSON, into several.
fn broken(value: &str, width: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for letter in value.chars() {
        used = if letter.is_whitespace() { 0 } else { used + 1 };
        if used > width {
            out.push('\n');
            used = 1;
        }
        out.push(letter);
    }
    out
}

const BULLET: &str = "• ";

/// Puts together what was expected and found alike.
pub(in crate::report) fn groups(findings: &[Finding]) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for finding in findings {
        if let Some(count) = finding.further_count() {
            let of_object =
                |group: &&mut Group<'_>| group.objects.iter().any(|(object, _)| *object == finding.object);
            if let Some(group) = groups.iter_mut().rev().find(of_object) {
                group.further += count;
                continue;
            }
        }
        let alike =
            |group: &Group<'_>| (group.expected, group.actual) == (&finding.expected, &finding.actual);
        let place = groups.iter().position(alike).unwrap_or_else(|| {
            let (expected, actual) = (finding.expected.as_str(), finding.actual.as_str());
            groups.push(Group { expected, actual, objects: Vec::new(), further: 0 });
            groups.len() - 1
        });
        let objects = &mut groups[place].objects;
        match objects.iter_mut().find(|(object, _)| *object == finding.object) {
            Some((_, places)) => places.push(&finding.path),
            None => objects.push((&finding.object, vec![&finding.path])),
        }
    }
    groups
}

/// Names an object with its places: in one line where there is one place, else a line each below it.
fn lines(object: &str, places: &[&str]) -> Vec<String> {
    let places = together(places);
    match places.as_slice() {
        [] => vec![object.to_owned()],
        [place] => vec![format!("{object} {}", paint(CODE, place))],
        many => {
            let places = many.iter().map(|place| format!("{BULLET}{}", paint(CODE, place)));
            std::iter::once(object.to_owned()).chain(places).collect()
        }
    }
}

/// Says places that differ in their first word alone, as requests do in their verb, as one.
pub(in crate::report) fn together(places: &[&str]) -> Vec<String> {
    let mut together: Vec<(Vec<&str>, &str)> = Vec::new();
    for place in places.iter().filter(|place| !place.is_empty()) {
        let (first, rest) = place.split_once(' ').unwrap_or((place, ""));
        match together.iter_mut().find(|(_, other)| !rest.is_empty() && *other == rest) {
            Some((words, _)) => words.push(first),
            None => together.push((vec![first], rest)),
        }
    }
    let join =
        |(words, rest): (Vec<&str>, &str)| format!("{} {rest}", words.join(", ")).trim_end().to_owned();
    together.into_iter().map(join).collect()
}
