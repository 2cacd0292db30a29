//! A bare `cks-lab`: what is running, and what to type next.

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, status, tour};
use crate::session::{Mode, TaskState};

pub(super) fn run(cx: &Cx) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let view = lab.status()?;
    if cx.is_text() && lab.is_new()? {
        tour::welcome(cx);
    }
    cx.show(&view, || status::text(&view, cx.ui.width()))?;
    if !cx.is_text() {
        return Ok(Exit::Passed);
    }
    status::warn(cx, &view);
    let current = view.sessions.iter().find(|session| view.current.as_ref() == Some(&session.session));
    let next: &[(&str, &str)] = match current {
        None => &[
            ("cks-lab next", "start what is most worth practising"),
            ("cks-lab list", "the scenarios"),
            ("cks-lab start <scenario>", "begin"),
            ("cks-lab doctor", "what works on this machine"),
            ("cks-lab --help", "all commands"),
        ],
        Some(session) if session.interrupted => &[("cks-lab clean", "remove what is left of it")],
        Some(session) if session.mode == Mode::Exam => match session.state {
            TaskState::Preparing => {
                &[("cks-lab exam resume", "start the clock"), ("cks-lab exam abort", "drop it")]
            }
            TaskState::Failed => &[("cks-lab stop", "remove it")],
            TaskState::Submitted => &[
                ("cks-lab exam review", "what it came to"),
                ("cks-lab exam abort", "remove its clusters"),
                ("cks-lab next", "what is most worth practising now"),
            ],
            TaskState::Running => &[
                ("cks-lab exam status", "what is left to do, and the time"),
                ("cks-lab exam task", "the task, with the host to go to"),
                ("cks-lab exam submit", "grade for good"),
            ],
        },
        Some(session) => match session.state {
            TaskState::Preparing => &[("cks-lab status", "is it ready?")],
            TaskState::Failed => &[("cks-lab stop", "remove it")],
            TaskState::Submitted => &[
                ("cks-lab report", "the grade"),
                ("cks-lab solution", "the way to do it"),
                ("cks-lab next", "what is most worth practising now"),
            ],
            TaskState::Running => &[
                ("cks-lab task", "the task again"),
                ("cks-lab shell", "a shell to work in"),
                ("cks-lab check", "judge the work as it stands"),
                ("cks-lab submit", "grade for good"),
            ],
        },
    };
    cx.ui.note("");
    cx.ui.next(next);
    Ok(Exit::Passed)
}
