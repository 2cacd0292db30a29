//! Reports for reading in a terminal: a block a check, then what to read and what it all comes to.

pub(in crate::report) mod findings;

use std::fmt::Write as _;
use std::time::Duration;

use super::{CheckResult, LinkKind, OutcomeName, Report, ReportedTask, StudyLink, TaskReport};
use crate::layout::{self, BAD, FAINT, GOOD, LINK, STRONG, WARN, paint};

/// Renders the checks of a task and the sum.
pub fn task(report: &TaskReport, width: usize) -> String {
    let simulated = report.checks.iter().filter(|check| check.simulated).count();
    let mark_simulated = simulated > 0 && simulated < report.checks.len();
    let mut out = String::new();
    let reading = reading(report);
    for check in &report.checks {
        block(&mut out, check, &reading, mark_simulated, width);
    }
    out.push('\n');
    if !reading.is_empty() {
        let mut table = layout::Table::bare();
        for (place, link) in reading.iter().enumerate() {
            table.row([paint(FAINT, format!("[{}]", place + 1)), study_link(link)]);
        }
        let _ = writeln!(out, "{}\n{}", paint(STRONG, "What to read"), table.render(width, "  "));
    }
    out.push_str(&sum(report));
    out.push('\n');
    if simulated > 0 {
        let note = match mark_simulated {
            true => "Checks marked ~ look at something that this cluster only models.",
            false => "Judged on a simulated cluster.",
        };
        let _ = writeln!(out, "{}", paint(FAINT, note));
    }
    out
}

/// Renders what became of a task since it was judged before: what passes now, what does not any more with the reason,
/// what is still to be done, and the sum.
pub fn changes(report: &TaskReport, newly_passed: &[String], newly_lost: &[String], width: usize) -> String {
    let mut out = String::new();
    for check in &report.checks {
        let line = |style, mark: &str| {
            layout::wrap(&check.title, width, &format!("{} ", paint(style, mark)), "    ")
        };
        match check.outcome {
            _ if newly_lost.contains(&check.id) => block(&mut out, check, &[], false, width),
            OutcomeName::Pass if newly_passed.contains(&check.id) => {
                let _ = writeln!(out, "{}", line(GOOD, "✓ now passes"));
            }
            OutcomeName::Pass | OutcomeName::Skipped => {}
            OutcomeName::Fail => {
                let _ = writeln!(out, "{}", line(BAD, "✗ still fails"));
            }
            OutcomeName::CannotJudge => block(&mut out, check, &[], false, width),
        }
    }
    let _ = writeln!(out, "{}", sum(report));
    out
}

/// Renders a kept report.
pub fn report(report: &Report, width: usize) -> String {
    let mut out = String::new();
    for task in &report.tasks {
        out.push_str(&reported(task, width));
    }
    if let Some(exam) = &report.exam {
        let verdict = if exam.result.passed { paint(GOOD, "passed") } else { paint(BAD, "not passed") };
        let needed = exam.result.pass_mark;
        let _ = writeln!(out, "\n{}% of the exam, {needed}% are needed: {verdict}", exam.result.score);
    }
    if let Some(over) = report.overtime_seconds {
        let over = layout::clock_time(Duration::from_secs(over));
        let _ = writeln!(out, "{}", paint(WARN, format!("Submitted {over} after the time was up.")));
    }
    for jump in &report.clock_jumps {
        let by = layout::clock_time(Duration::from_secs(jump.seconds.unsigned_abs()));
        let direction = if jump.seconds < 0 { "back" } else { "forward" };
        let note = format!(
            "The machine's clock was moved {direction} by {by}; the time was counted without it, where that is known."
        );
        let _ = writeln!(out, "{}", layout::wrap(&note, width, "", ""));
    }
    out
}

/// Renders one task of a kept report.
pub fn reported(done: &ReportedTask, width: usize) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}", paint(STRONG, &done.title));
    let about = format!(
        "{} · {} · {} · variant {} · {}",
        done.result.scenario, done.domain, done.topic, done.result.variant, done.result.provider
    );
    let _ = writeln!(out, "{}\n", layout::wrap(&about, width, "", ""));
    out.push_str(&task(&done.result, width));
    if let Some(attack) = &done.attack {
        let _ = writeln!(out, "\n{}", paint(STRONG, "What an attacker could do at the start"));
        let _ = writeln!(out, "{}", layout::wrap(attack, width, "  ", "  "));
    }
    let helped = match (done.hints, done.resets) {
        (0, 0) => String::new(),
        (hints, 0) => format!(" with {}", layout::count(hints, "hint", "hints")),
        (0, resets) => format!(" after {}", layout::count(resets as usize, "reset", "resets")),
        (hints, resets) => format!(
            " with {} after {}",
            layout::count(hints, "hint", "hints"),
            layout::count(resets as usize, "reset", "resets")
        ),
    };
    let spent = layout::clock_time(Duration::from_secs(done.result.elapsed_seconds));
    let _ = writeln!(out, "\nDone in {spent}{helped}.");
    out
}

/// Renders what a task comes to in one line.
pub fn sum(report: &TaskReport) -> String {
    let points = format!("{} of {} points", report.score, report.max);
    let count = |outcome| report.with(outcome).count();
    let broken = report.with(OutcomeName::Fail).filter(|check| check.gate).count();
    let mut rest = Vec::new();
    if broken > 0 {
        rest.push(format!("{} broken", layout::count(broken, "gate is", "gates are")));
    }
    match count(OutcomeName::CannotJudge) {
        0 => {}
        some => rest.push(format!("{} could not be judged", layout::count(some, "check", "checks"))),
    }
    match count(OutcomeName::Skipped) {
        0 => {}
        some => rest.push(format!("{} skipped", layout::count(some, "check", "checks"))),
    }
    let rest = if rest.is_empty() { String::new() } else { format!(" ({})", rest.join(", ")) };
    let verdict = match (report.passed, count(OutcomeName::Fail)) {
        (true, _) => paint(GOOD, "passed"),
        (false, 0) => paint(WARN, "undecided"),
        (false, _) => paint(BAD, "not passed"),
    };
    format!("{}, {verdict}{rest}", paint(STRONG, points))
}

/// Returns the pages that failed checks name, each once. Checks of a topic name much the same ones.
fn reading(report: &TaskReport) -> Vec<&StudyLink> {
    let mut links: Vec<&StudyLink> = Vec::new();
    for link in report.with(OutcomeName::Fail).flat_map(|check| &check.resources) {
        if !links.iter().any(|known| known.url == link.url) {
            links.push(link);
        }
    }
    links
}

fn block(out: &mut String, check: &CheckResult, reading: &[&StudyLink], mark_simulated: bool, width: usize) {
    let mark = match check.outcome {
        OutcomeName::Pass => paint(GOOD, "✓ pass"),
        OutcomeName::Fail => paint(BAD, "✗ FAIL"),
        OutcomeName::CannotJudge => paint(WARN, "? cannot judge"),
        OutcomeName::Skipped => paint(FAINT, "- skipped"),
    };
    let worth = match (check.gate, check.outcome) {
        (true, OutcomeName::Fail) => "gate, broken".to_owned(),
        (true, _) => "gate".to_owned(),
        (false, _) => format!("{}/{}", check.awarded, check.points),
    };
    let simulated = if mark_simulated && check.simulated { " ~" } else { "" };
    let head = format!("{mark} {} ", paint(FAINT, format!("[{worth}]{simulated}")));
    let _ = writeln!(out, "{}", layout::wrap(&check.title, width, &head, "    "));
    if check.outcome == OutcomeName::Pass {
        return;
    }
    findings::render(out, &check.findings, width);
    if let Some(reason) = &check.reason {
        let _ = writeln!(out, "{}", labelled("because", reason, width));
    }
    if check.outcome == OutcomeName::Fail {
        if !check.why.is_empty() {
            let _ = writeln!(out, "{}", labelled("why", &check.why, width));
        }
        let named = |(_, link): &(usize, &&StudyLink)| check.resources.iter().any(|own| own.url == link.url);
        let places: Vec<String> =
            reading.iter().enumerate().filter(named).map(|(place, _)| format!("[{}]", place + 1)).collect();
        if !places.is_empty() {
            let _ = writeln!(out, "{}", labelled("read", &places.join(" "), width));
        }
    }
}

/// Renders a study link in one line; one that may not be open during the exam says so.
pub fn study_link(link: &StudyLink) -> String {
    let third_party = match link.kind {
        LinkKind::Allowed => "",
        LinkKind::ThirdParty => " (third-party)",
    };
    format!("{} {}{}", link.title, paint(LINK, &link.url), paint(FAINT, third_party))
}

fn labelled(label: &str, text: &str, width: usize) -> String {
    let lead = format!("      {} ", paint(FAINT, layout::pad(label, 8)));
    layout::wrap(text.trim_end(), width, &lead, &" ".repeat(15))
}
