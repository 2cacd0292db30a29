//! Progress in words and blocks, for the terminal.

use std::fmt::Write as _;

use crate::layout::{self, BAD, FAINT, GOOD, STRONG, Table, WARN, paint};
use crate::progress::{Progress, Tried};

/// How many suggestions are shown; JSON has them all.
const MOST_NEXT: usize = 5;
/// How many scenarios are shown; JSON has them all.
const MOST_SCENARIOS: usize = 15;
/// How many lines the plot takes.
const LINES: usize = 6;
/// The columns of a bar.
const BAR: usize = 20;
/// Parts of a block, from nothing to all of it.
const BLOCKS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Renders all of it.
pub(super) fn progress(progress: &Progress, width: usize) -> String {
    let mut out = String::new();
    if !progress.attempts.is_empty() {
        let _ = writeln!(out, "{}", paint(STRONG, "Attempts"));
        out.push_str(&plot(&progress.attempts, width));
        out.push('\n');
    }
    out.push_str(&domains(progress, width));
    if !progress.scenarios.is_empty() {
        let _ = write!(out, "\n{}", scenarios(progress, width));
    }
    let _ = writeln!(out, "\n{}", paint(STRONG, "Ready for the exam?"));
    let _ = writeln!(out, "{}", layout::wrap(&progress.readiness.words, width, "  ", "  "));
    if !progress.next.is_empty() {
        let _ = writeln!(out, "\n{}", paint(STRONG, "What to practise next"));
        for one in progress.next.iter().take(MOST_NEXT) {
            let line = format!(
                "{} {} {}",
                paint(STRONG, &one.scenario),
                one.title,
                paint(FAINT, format!("({} min; {})", one.minutes, one.reason))
            );
            let _ = writeln!(out, "{}", layout::wrap(&line, width, "  • ", "    "));
        }
    }
    out
}

/// Draws the last attempts as columns, each as high as its score.
fn plot(attempts: &[Tried], width: usize) -> String {
    let room = (width.saturating_sub(8) / 2).max(1);
    let drawn = &attempts[attempts.len().saturating_sub(room)..];
    let mut out = String::new();
    for line in (0..LINES).rev() {
        let label = match line {
            line if line + 1 == LINES => "100%",
            0 => "0%",
            _ => "",
        };
        let mut columns = String::new();
        for tried in drawn {
            // What was earned of all eighths; one that earned nothing has a foot, so that it can be seen.
            let eighths = (tried.score.clamp(0.0, 100.0) / 100.0 * (LINES * 8) as f64).round() as usize;
            let here = eighths.saturating_sub(line * 8).min(8).max(usize::from(line == 0));
            columns.push_str(&paint(if tried.passed { GOOD } else { WARN }, BLOCKS[here]));
            columns.push(' ');
        }
        let line = format!("{label:>6} {}{columns}", paint(FAINT, "│"));
        let _ = writeln!(out, "{}", line.trim_end());
    }
    let day = |tried: &Tried| tried.submitted.strftime("%Y-%m-%d").to_string();
    if let (Some(first), Some(last)) = (drawn.first(), drawn.last()) {
        let passed = drawn.iter().filter(|tried| tried.passed).count();
        let span =
            if day(first) == day(last) { day(first) } else { format!("{} to {}", day(first), day(last)) };
        let words = format!("{}, {passed} passed, {span}", layout::count(drawn.len(), "attempt", "attempts"));
        let _ = writeln!(out, "        {}", paint(FAINT, words));
    }
    out
}

fn domains(progress: &Progress, width: usize) -> String {
    let mut table = Table::new(&["mastery", "", "weight", "tried", "domain"]);
    for domain in &progress.domains {
        table.row([
            bar(domain.mastery),
            format!("{:.0}%", domain.mastery),
            format!("{}%", domain.weight),
            format!("{}/{}", domain.tried, domain.scenarios),
            paint(STRONG, &domain.title),
        ]);
        for topic in domain.topics.iter().filter(|topic| topic.tried > 0) {
            table.row([
                bar(topic.mastery),
                format!("{:.0}%", topic.mastery),
                String::new(),
                format!("{}/{}", topic.tried, topic.scenarios),
                paint(FAINT, format!("  {}", topic.id)),
            ]);
        }
    }
    table.render(width, "")
}

fn bar(percent: f64) -> String {
    let filled = ((percent / 100.0 * BAR as f64).round() as usize).min(BAR);
    let style = match percent {
        percent if percent >= 67.0 => GOOD,
        percent if percent >= 34.0 => WARN,
        _ => BAD,
    };
    format!("{}{}", paint(style, "█".repeat(filled)), paint(FAINT, "░".repeat(BAR - filled)))
}

fn scenarios(progress: &Progress, width: usize) -> String {
    let mut table = Table::new(&["tries", "best", "last", "mastery", "due", "scenario"]);
    for known in progress.scenarios.iter().take(MOST_SCENARIOS) {
        let due = match known.due {
            Some(due) if due > progress.now => paint(FAINT, due.strftime("%Y-%m-%d").to_string()),
            Some(_) => paint(WARN, "now"),
            None => String::new(),
        };
        table.row([
            known.attempts.to_string(),
            super::super::list::best(Some(&known.best)),
            super::super::list::best(Some(&known.last)),
            format!("{:.0}%", known.mastery),
            due,
            known.scenario.clone(),
        ]);
    }
    let mut out = table.render(width, "");
    if progress.scenarios.len() > MOST_SCENARIOS {
        let more = progress.scenarios.len() - MOST_SCENARIOS;
        let _ = writeln!(out, "{}", paint(FAINT, format!("and {more} more")));
    }
    out
}
