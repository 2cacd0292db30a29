//! The exam in words, for the terminal.

use std::fmt::Write as _;
use std::time::Duration;

use super::super::status::left;
use crate::lab::exam::view::{ExamResult, ExamStarted, ExamStatus, ExamTaskView};
use crate::layout::{self, BAD, FAINT, GOOD, STRONG, Table, WARN, paint};
use crate::session::TaskState;

fn minutes(seconds: u64) -> String {
    layout::clock_time(Duration::from_secs(seconds))
}

/// Renders an exam whose clock has started.
pub(super) fn started(view: &ExamStarted, width: usize) -> String {
    let mut table = Table::new(&["TASK", "HOST", "WEIGHT", "MINUTES"]);
    for task in &view.tasks {
        table.row([
            task.number.to_string(),
            task.host.clone(),
            format!("{}%", task.weight),
            task.minutes.to_string(),
        ]);
    }
    let mut out = table.render(width, "");
    let _ = writeln!(
        out,
        "\n{} · track {} · variant {} · {} minutes · {}% to pass",
        paint(STRONG, &view.session),
        view.track,
        view.variant,
        view.minutes,
        view.pass_mark
    );
    out
}

/// Renders how an exam stands.
pub(super) fn status(view: &ExamStatus, width: usize) -> String {
    let mut table = Table::new(&["", "TASK", "HOST", "WEIGHT", "TIME", "TITLE"]);
    for task in &view.tasks {
        let mark = match (task.place.number == view.current, task.flagged, task.visited) {
            (true, true, _) => "> flag",
            (true, false, _) => ">",
            (false, true, _) => "  flag",
            (false, false, true) => "  seen",
            (false, false, false) => "",
        };
        let title = match task.note.is_empty() {
            true => task.title.clone(),
            false => format!("{}  {}", task.title, paint(FAINT, &task.note)),
        };
        table.row([
            mark.to_owned(),
            task.place.number.to_string(),
            task.place.host.clone(),
            format!("{}%", task.place.weight),
            minutes(task.spent_seconds),
            title,
        ]);
    }
    let mut out = table.render(width, "");
    let state = match view.state {
        TaskState::Running => left(Some(view.left_seconds)),
        TaskState::Submitted => paint(WARN, "it has ended; `cks-lab exam review` shows what it came to"),
        TaskState::Preparing => paint(WARN, "the clock does not run yet; `cks-lab exam resume` starts it"),
        TaskState::Failed => paint(BAD, "it could not be prepared"),
    };
    let _ = writeln!(out, "\n{} · {state}", paint(STRONG, &view.session));
    out
}

/// Renders a task of an exam.
pub(super) fn task(view: &ExamTaskView, text: &str) -> String {
    let status = &view.status;
    let about = format!("task {} of {}, {}%", status.place.number, view.of, status.place.weight);
    let flag = if status.flagged { paint(WARN, "  flagged") } else { String::new() };
    format!(
        "{}  {}{flag}\n{}\n\n{text}\n{}\n",
        paint(STRONG, &status.title),
        paint(FAINT, about),
        paint(STRONG, format!("cks-lab ssh {}", status.place.host)),
        left(Some(view.left_seconds))
    )
}

/// Renders what an exam came to.
pub(super) fn result(view: &ExamResult, width: usize) -> String {
    let mut table = Table::new(&["TASK", "WEIGHT", "SCORE", "POINTS", "TIME", "TITLE"]);
    for task in &view.tasks {
        let open = match (task.cannot_judge, task.skipped) {
            (0, 0) => String::new(),
            (0, skipped) => format!("  {}", paint(FAINT, format!("{skipped} skipped"))),
            (open, _) => format!("  {}", paint(WARN, format!("{open} not judged"))),
        };
        table.row([
            task.number.to_string(),
            format!("{}%", task.weight),
            format!("{:.0}%", task.score),
            format!("{}/{}", task.awarded, task.max),
            minutes(task.spent_seconds),
            format!("{}{open}", task.title),
        ]);
    }
    let mut out = table.render(width, "");
    out.push('\n');
    let mut domains = Table::new(&["DOMAIN", "WEIGHT", "TASKS", "SCORE", ""]);
    for domain in view.domains.iter().filter(|domain| domain.tasks > 0) {
        let filled = (domain.score / 5.0).round() as usize;
        domains.row([
            domain.title.clone(),
            format!("{}%", domain.weight),
            domain.tasks.to_string(),
            format!("{:.0}%", domain.score),
            format!("{}{}", "█".repeat(filled.min(20)), "░".repeat(20 - filled.min(20))),
        ]);
    }
    out.push_str(&domains.render(width, ""));
    let verdict = if view.passed { paint(GOOD, "passed") } else { paint(BAD, "not passed") };
    let _ = writeln!(
        out,
        "\n{} of 100%, {} are needed: {verdict}",
        paint(STRONG, format!("{}%", view.score)),
        format_args!("{}%", view.pass_mark)
    );
    if view.undecided > 0.0 {
        let note = format!(
            "{}% hang on checks that could not be judged; they are not counted as earned.",
            view.undecided
        );
        let _ = writeln!(out, "{}", paint(WARN, note));
    }
    let _ = writeln!(out, "{}", paint(FAINT, format!("report: {}", view.report.display())));
    out
}
