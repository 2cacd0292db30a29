//! Faults in authored files: a stable code, a place, a sentence and a cure. Rendering is here, printing is not.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a look; the file still works.
    Warning,
    /// The file cannot be used.
    Error,
}

/// A place in a file; lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, schemars::JsonSchema)]
pub struct Span {
    /// The file, relative to the scenario catalog where it lies in one.
    #[schemars(with = "String")]
    pub file: PathBuf,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Diagnostic {
    /// A stable kebab-case code such as `unknown-field`.
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, as a lowercase fragment with the thing in backticks.
    pub message: String,
    /// Where.
    pub span: Option<Span>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Severity {
    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Diagnostic {
    /// Renders the fault as text of several lines: what, where, the line itself where `source` is the file's text,
    /// and what to do. No colour, no final line end.
    pub fn render(&self, source: Option<&str>) -> String {
        let mut text = format!("{}[{}]: {}", self.severity.as_str(), self.code, self.message);
        let Some(span) = &self.span else {
            if let Some(help) = &self.help {
                let _ = write!(text, "\n  = help: {help}");
            }
            return text;
        };
        let number = span.line.to_string();
        let margin = " ".repeat(number.len());
        let _ = write!(text, "\n{margin}--> {}:{}:{}", span.file.display(), span.line, span.column);
        let line = source.and_then(|source| source.lines().nth(span.line.saturating_sub(1) as usize));
        if let Some(line) = line {
            let (shown, caret) = window(line, span.column);
            let _ = write!(text, "\n{margin} |\n{number} | {shown}\n{margin} | {}^", " ".repeat(caret));
        }
        if let Some(help) = &self.help {
            let _ = write!(text, "\n{margin} = help: {help}");
        }
        text
    }
}

/// Cuts a long line around the column, replaces what would move or change the terminal, and gives the caret's place.
fn window(line: &str, column: u32) -> (String, usize) {
    const WIDTH: usize = 100;
    const BEFORE: usize = 60;
    let clean: Vec<char> = line.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let caret = (column.saturating_sub(1) as usize).min(clean.len());
    let start = if clean.len() <= WIDTH { 0 } else { caret.saturating_sub(BEFORE) };
    let end = clean.len().min(start + WIDTH);
    let mut shown: String = clean[start..end].iter().collect();
    let mut shift = 0;
    if start > 0 {
        shown.insert(0, '…');
        shift = 1;
    }
    if end < clean.len() {
        shown.push('…');
    }
    (shown, caret - start + shift)
}

/// Finds the known name that is closest to `wrong`, for "did you mean"; none when nothing is close.
pub fn closest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong_folded = fold(wrong);
    let allowed = (wrong.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (likeness(&wrong_folded, &fold(name)), name))
        .filter(|(distance, name)| {
            *distance <= allowed || (wrong.len() >= 4 && (name.contains(wrong) || wrong.contains(name)))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Measures how far a name is from what was typed, which may be only its beginning.
fn likeness(wrong: &[char], name: &[char]) -> usize {
    const LEAST: usize = 4;
    let whole = distance(wrong, name);
    if wrong.len() < LEAST || name.len() <= wrong.len() + 1 {
        return whole;
    }
    let beginnings = wrong.len() - 1..=wrong.len() + 1;
    beginnings.map(|end| distance(wrong, &name[..end])).min().map_or(whole, |part| part.min(whole))
}

fn fold(text: &str) -> Vec<char> {
    text.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// Counts insertions, deletions, replacements and swaps of neighbours.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let mut best = (last[j] + usize::from(from != to)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(line: u32, column: u32) -> Diagnostic {
        Diagnostic {
            code: "unknown-field",
            severity: Severity::Error,
            message: "unknown field `chekcs`".to_owned(),
            span: Some(Span { file: "setup/x/scenario.yaml".into(), line, column }),
            help: Some("did you mean `checks`?".to_owned()),
        }
    }

    #[test]
    fn a_fault_shows_its_line() {
        let text = fault(2, 3).render(Some("id: x\n  chekcs: []\n"));
        assert_eq!(
            text,
            "error[unknown-field]: unknown field `chekcs`\n --> setup/x/scenario.yaml:2:3\n  |\n2 |   chekcs: []\n  |   ^\n  \
             = help: did you mean `checks`?"
        );
    }

    #[test]
    fn a_place_outside_the_text_does_no_harm() {
        assert!(fault(9, 1).render(Some("id: x")).ends_with("checks`?"));
        assert!(fault(1, 400).render(Some("id: x")).contains("1 | id: x\n  |      ^"));
        assert!(!fault(1, 1).render(None).contains('|'));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place_and_cleaned() {
        let line = format!("{}X\u{1b}[31m{}", "a".repeat(300), "b".repeat(300));
        let text = fault(1, 301).render(Some(&line));
        assert!(text.lines().all(|line| line.chars().count() < 110), "{text}");
        assert!(!text.contains('\u{1b}'));
        let lines: Vec<&str> = text.lines().collect();
        let caret = lines[4].chars().count() - 1;
        assert_eq!(lines[3].chars().nth(caret), Some('X'), "{text}");
    }

    #[test]
    fn json_has_stable_keys() {
        let json = serde_json::to_value(fault(2, 3)).unwrap();
        assert_eq!(json["severity"], "error");
        assert_eq!(
            json["span"],
            serde_json::json!({"file": "setup/x/scenario.yaml", "line": 2, "column": 3})
        );
    }

    #[test]
    fn the_closest_name_is_meant() {
        let known = ["network-policies", "rbac", "reach", "resource", "canI"];
        assert_eq!(closest("resuorce", known), Some("resource"));
        assert_eq!(closest("cani", known), Some("canI"));
        assert_eq!(closest("networkpolicy", known), Some("network-policies"));
        assert_eq!(closest("knitting", known), None);
        assert_eq!(
            closest("shrnk", ["fence-the-ledger", "shrink-the-publisher"]),
            Some("shrink-the-publisher")
        );
        assert_eq!(closest("shrub", ["fence-the-ledger", "quota"]), None);
    }
}
