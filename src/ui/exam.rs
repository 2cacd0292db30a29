//! The exam in words, for commands and the console alike.

use std::fmt::Write as _;
use std::time::Duration;

use indoc::formatdoc;

use super::markdown;
use crate::lab::exam::view::{
    ExamPlan, ExamResult, ExamRules, ExamStarted, ExamStatus, ExamTaskView, PlannedTask,
};
use crate::layout::{self, BAD, FAINT, GOOD, STRONG, Table, WARN, paint, time_left};
use crate::session::TaskState;

fn minutes(seconds: u64) -> String {
    layout::clock_time(Duration::from_secs(seconds))
}

/// Renders an exam that was drawn and not brought up.
pub fn plan(view: &ExamPlan, width: usize) -> String {
    let mut table = Table::new(&["TASK", "WEIGHT", "MINUTES", "CLUSTER", "DOMAIN", "SCENARIO"]);
    for task in &view.tasks {
        let again = if task.repeated { paint(FAINT, "  seen lately") } else { String::new() };
        table.row([
            task.number.to_string(),
            format!("{}%", task.weight),
            task.minutes.to_string(),
            format!("{} {}", task.provider, task.cluster),
            task.domain.clone(),
            format!("{}, variant {}{again}", task.scenario, task.variant),
        ]);
    }
    let taken: u32 = view.tasks.iter().map(|task| task.minutes).sum();
    let title = view.title.as_ref().map(|title| format!("{} · ", paint(STRONG, title))).unwrap_or_default();
    format!(
        "{}\n{title}track {} · variant {} · {} tasks on {} · {taken} of {} minutes · {}% to pass\n",
        table.render(width, ""),
        view.track,
        view.variant,
        view.tasks.len(),
        layout::count(view.clusters, "cluster", "clusters"),
        view.minutes,
        view.pass_mark
    )
}

/// Says which tasks share which cluster.
pub fn clusters(view: &ExamPlan) -> String {
    let mut out = String::from("Tasks that leave each other alone share a cluster:");
    for cluster in 1..=view.clusters {
        let tasks: Vec<&PlannedTask> = view.tasks.iter().filter(|task| task.cluster == cluster).collect();
        let numbers: Vec<String> = tasks.iter().map(|task| task.number.to_string()).collect();
        let provider = tasks.first().map_or("", |task| task.provider.as_str());
        let word = if numbers.len() == 1 { "task" } else { "tasks" };
        let _ = write!(out, "\n  {provider} {cluster}: {word} {}", numbers.join(", "));
    }
    out
}

/// Renders an exam whose clock has started.
pub fn started(view: &ExamStarted, width: usize) -> String {
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
pub fn status(view: &ExamStatus, width: usize) -> String {
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
        TaskState::Running => time_left(Some(view.left_seconds)),
        TaskState::Submitted => paint(WARN, "it has ended; `cks-lab exam review` shows what it came to"),
        TaskState::Preparing => paint(WARN, "the clock does not run yet; `cks-lab exam resume` starts it"),
        TaskState::Failed => paint(BAD, "it could not be prepared"),
    };
    let _ = writeln!(out, "\n{} · {state}", paint(STRONG, &view.session));
    out
}

/// Returns what an alert says; 0 minutes stand for the end.
pub fn alert(minutes: u32, left_seconds: u64) -> String {
    match minutes {
        0 => "the time is up; what is done now is not counted".to_owned(),
        minutes => format!("less than {minutes} minutes are left: {}", self::minutes(left_seconds)),
    }
}

/// Returns what a candidate should know before the clock runs, Markdown.
pub fn rules(rules: &ExamRules) -> String {
    let mut out = formatdoc! {"
        **{tasks} tasks, {minutes} minutes, {mark} % to pass** — {title}

        - Each task is done on a **host of its own** and names it: `cks-lab ssh <host>` goes there, `exit` leads back.
          From a host there is no way to another one. kubectl works on the host.
        - Tasks can be done in any order; `cks-lab exam flag` marks one to come back to. Each shows its weight.
        - **Every part of a task counts.** What is graded is the state at the end, by whatever means it came about.
        - **The clock does not stop** for breaks, closed terminals or restarts. There are alerts at 30, 15 and 5
          minutes; when the time is up everything is graded as it stands.
        - Verdicts, hints and solutions are shown after the end.
        ",
        tasks = rules.tasks, minutes = rules.minutes, mark = rules.pass_mark, title = rules.title
    };
    let pages: Vec<String> = rules.allowed.iter().map(|prefix| format!("<{prefix}>")).collect();
    let _ = writeln!(out, "- Pages that may be open: {}.", pages.join(", "));
    if rules.open_book {
        out.push_str(
            "- The book is open: study links of third parties are shown too, which no real exam does.\n",
        );
    }
    out
}

/// Returns the text of a task with the pages to look things up in, Markdown.
pub fn task_text(view: &ExamTaskView) -> String {
    let mut text = markdown::without_title(&view.text, &view.status.title).trim_end().to_owned();
    if !view.reference.is_empty() {
        text.push_str("\n\n**Quick reference**\n\n");
        for link in &view.reference {
            let _ = writeln!(
                text,
                "- {}: <{}>",
                link.title.replace(['[', ']', '<', '>', '*', '`'], ""),
                link.url
            );
        }
    }
    text
}

/// Renders a task of an exam; `text` is its rendered text.
pub fn task(view: &ExamTaskView, text: &str) -> String {
    let status = &view.status;
    let about = format!("task {} of {}, {}%", status.place.number, view.of, status.place.weight);
    let flag = if status.flagged { paint(WARN, "  flagged") } else { String::new() };
    let note = match status.note.is_empty() {
        true => String::new(),
        false => format!("{}\n", paint(FAINT, format!("note: {}", status.note))),
    };
    format!(
        "{}  {}{flag}\n{}\n{note}\n{text}\n{}\n",
        paint(STRONG, &status.title),
        paint(FAINT, about),
        paint(STRONG, format!("cks-lab ssh {}", status.place.host)),
        time_left(Some(view.left_seconds))
    )
}

/// Renders what an exam came to.
pub fn result(view: &ExamResult, width: usize) -> String {
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
    format!("{}\n{}", table.render(width, ""), outcome(view, width))
}

/// Renders what an exam came to without its tasks: the domains and the verdict.
pub fn outcome(view: &ExamResult, width: usize) -> String {
    let mut out = String::new();
    let bar = |score: f64| {
        let filled = (score / 5.0).round() as usize;
        format!("{}{}", "█".repeat(filled.min(20)), "░".repeat(20 - filled.min(20)))
    };
    let shown = || view.domains.iter().filter(|domain| domain.tasks > 0);
    if width < 90 {
        for domain in shown() {
            let tasks = layout::count(domain.tasks, "task", "tasks");
            let about = paint(FAINT, format!("{}%, {tasks}", domain.weight));
            let _ =
                writeln!(out, "{}\n  {} {:>3.0}%  {about}", domain.title, bar(domain.score), domain.score);
        }
    } else {
        let mut domains = Table::new(&["DOMAIN", "WEIGHT", "TASKS", "SCORE", ""]);
        for domain in shown() {
            domains.row([
                domain.title.clone(),
                format!("{}%", domain.weight),
                domain.tasks.to_string(),
                format!("{:.0}%", domain.score),
                bar(domain.score),
            ]);
        }
        out.push_str(&domains.render(width, ""));
    }
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
        let _ = writeln!(out, "{}", layout::wrap(&paint(WARN, note), width, "", ""));
    }
    let _ = writeln!(out, "{}", paint(FAINT, format!("report: {}", view.report.display())));
    out
}
