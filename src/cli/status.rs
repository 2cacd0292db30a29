//! `cks-lab status`, and how sessions and their time are written.

use std::fmt::Write as _;
use std::time::Duration;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, complete};
use crate::lab::view::{SessionView, StatusView};
use crate::layout::{self, BAD, FAINT, GOOD, STRONG, Table, WARN, paint, time_left};
use crate::session::{Session, TaskState};

/// Show what is running and how much time is left
#[derive(Debug, clap::Args)]
pub(super) struct StatusArgs {
    /// Only this session
    #[arg(short, long, value_name = "SESSION", add = complete::sessions())]
    session: Option<String>,
}

pub(super) fn run(cx: &Cx, args: &StatusArgs) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let mut view = lab.status()?;
    if let Some(wanted) = &args.session {
        let one = lab.session(Some(wanted))?;
        view.sessions.retain(|session| session.session == one.session);
        view.unreadable.clear();
    }
    cx.show(&view, || text(&view, cx.ui.width()))?;
    if cx.is_text() {
        warn(cx, &view);
    }
    Ok(Exit::Passed)
}

/// Warns of sessions that cannot be read and of clocks that were moved.
pub(super) fn warn(cx: &Cx, view: &StatusView) {
    for unreadable in &view.unreadable {
        cx.ui.warn(&format!("session `{}` is left as it is: {}", unreadable.session, unreadable.reason));
    }
    for session in view.sessions.iter().filter(|session| session.clock_moved) {
        cx.ui.warn(&format!(
            "the machine's clock was moved while session `{}` was running; its time is counted without that",
            session.session
        ));
    }
}

/// Renders all sessions.
pub(super) fn text(view: &StatusView, width: usize) -> String {
    if view.sessions.is_empty() {
        return "no session\n".to_owned();
    }
    let mut out = String::new();
    for session in &view.sessions {
        let current = view.current.as_ref() == Some(&session.session);
        let mark = if current { "* " } else { "  " };
        let _ = writeln!(out, "{mark}{}  {}", paint(STRONG, &session.session), state(session));
        let mut table = Table::bare();
        for task in &session.tasks {
            table.row([paint(FAINT, "task"), task.title.clone()]);
            table.row([
                paint(FAINT, "cluster"),
                format!(
                    "{}, variant {}, {}",
                    task.provider,
                    task.variant,
                    layout::count(task.hints, "hint", "hints")
                ),
            ]);
            if let Some(kubeconfig) = &task.kubeconfig {
                table.row([paint(FAINT, "kubeconfig"), kubeconfig.display().to_string()]);
            }
            table.row([paint(FAINT, "files"), task.task_dir.display().to_string()]);
        }
        let elapsed = layout::clock_time(Duration::from_secs(session.elapsed_seconds));
        if session.state == TaskState::Running {
            table.row([paint(FAINT, "time"), format!("{elapsed} gone, {}", time_left(session.left_seconds))]);
        } else if session.state == TaskState::Submitted {
            table.row([paint(FAINT, "time"), elapsed]);
        }
        out.push_str(&table.render(width, "    "));
    }
    out
}

fn state(session: &SessionView) -> String {
    match (session.state, &session.busy) {
        _ if session.interrupted => paint(BAD, "its start was cut short"),
        (TaskState::Running, Some(busy)) => format!("{} in use by {busy}", paint(GOOD, "running")),
        (TaskState::Running, None) => paint(GOOD, "running"),
        (TaskState::Failed, _) => paint(BAD, "failed"),
        (state, _) => paint(WARN, state.as_str()),
    }
}

/// Writes the time of a session in a line.
pub(super) fn time(session: &Session) -> String {
    let timer = &session.timer;
    let gone = layout::clock_time(timer.elapsed());
    match timer.overtime() {
        Some(over) => {
            let over = format!("The time was up {} ago.", layout::clock_time(over));
            paint(BAD, over)
        }
        None => format!("{gone} gone, {}", time_left(timer.left().map(|left| left.as_secs()))),
    }
}
