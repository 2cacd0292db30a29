//! What the journal of a node holds: the last lines of each unit, in the order in which they came.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How many lines of each unit are kept.
const KEPT: usize = 3000;

/// A line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalLine {
    /// The place of the line among all of the node.
    pub number: u64,
    /// When it was written.
    pub at: Timestamp,
    /// The unit that it is about, such as `kubelet.service`.
    pub unit: String,
    /// Who wrote it: `kubelet`, `systemd`.
    pub identifier: String,
    /// The process that wrote it.
    pub pid: u32,
    /// The line.
    pub text: String,
}

/// The journal of one node.
#[derive(Debug, Default)]
pub(super) struct Journal {
    units: BTreeMap<String, VecDeque<JournalLine>>,
    next: u64,
}

impl Journal {
    pub(super) fn add(&mut self, at: Timestamp, unit: &str, identifier: &str, pid: u32, text: String) {
        let line = JournalLine {
            number: self.next,
            at,
            unit: unit.to_owned(),
            identifier: identifier.to_owned(),
            pid,
            text,
        };
        self.next += 1;
        let lines = self.units.entry(unit.to_owned()).or_default();
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// Returns the lines of one unit or of all, in their order, from a number on.
    pub(super) fn lines(&self, unit: Option<&str>, from: u64) -> Vec<JournalLine> {
        let chosen = self.units.iter().filter(|(name, _)| unit.is_none_or(|unit| unit == name.as_str()));
        let mut lines: Vec<JournalLine> =
            chosen.flat_map(|(_, lines)| lines.iter()).filter(|line| line.number >= from).cloned().collect();
        lines.sort_by_key(|line| line.number);
        lines
    }
}

/// Words a line as klog does: `I1123 03:37:17.298578     627 kubelet.go:3231] ...`. The severity is `I`, `W`, `E` or `F`.
pub(in crate::sim) fn klog(severity: char, at: Timestamp, pid: u32, place: &str, text: &str) -> String {
    format!("{severity}{} {pid:>7} {place}] {text}", at.strftime("%m%d %H:%M:%S%.6f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_as_klog_writes_it() {
        let at: Timestamp = "2026-11-23T03:37:17.298578Z".parse().unwrap();
        assert_eq!(
            klog('I', at, 627, "kubelet.go:3231", "\"Trying\""),
            "I1123 03:37:17.298578     627 kubelet.go:3231] \"Trying\""
        );
    }

    #[test]
    fn old_lines_go_and_units_keep_to_themselves() {
        let mut journal = Journal::default();
        for number in 0..KEPT + 5 {
            journal.add(Timestamp::UNIX_EPOCH, "a.service", "a", 1, number.to_string());
        }
        journal.add(Timestamp::UNIX_EPOCH, "b.service", "b", 2, "one".to_owned());
        assert_eq!(journal.lines(Some("a.service"), 0).len(), KEPT);
        assert_eq!(journal.lines(Some("a.service"), 0)[0].text, "5");
        assert_eq!(journal.lines(None, 0).last().unwrap().text, "one");
    }
}
