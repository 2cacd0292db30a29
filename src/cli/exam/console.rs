//! `cks-lab exam` on a terminal: the console, and shells on hosts in between.

use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::{Cx, shell};
use super::{StartArgs, keep, keep_time, start, status};
use crate::lab::Lab;
use crate::lab::error::{LabError, StoreError};
use crate::session::{SessionError, SessionId, TaskState};
use crate::tui::{self, Left};

pub(super) async fn run(cx: &Cx, session: Option<&str>) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let view = match lab.exam_look(session) {
        Err(LabError::Store(StoreError::None) | LabError::Session(SessionError::NoExam { .. }))
            if session.is_none() =>
        {
            if !begin(cx, &lab).await? {
                return Ok(Exit::Passed);
            }
            lab.exam_look(None)?
        }
        other => other?,
    };
    if !cx.is_text() || !cx.ui.full_screen() {
        // Where there is no screen the same is said in lines.
        return status(cx, &lab, lab.exam_status(Some(view.session.as_str())).await?);
    }
    keep(cx, &lab, &view.session, view.state)?;
    let id = view.session;
    loop {
        match open(cx, &id).await? {
            Left::Closed => break,
            Left::Gone => {
                cx.ui.note(&format!("Session {id} is not there any more."));
                break;
            }
            Left::Ssh(host) => {
                let inside = async {
                    let view = lab.exam_host(Some(id.as_str()), &host).await?;
                    shell::open(cx, &view, &[]).await
                };
                // A shell that cannot be opened is no reason to lose the console; what is wrong stands above it.
                if let Err(error) = inside.await {
                    error.print(&cx.ui);
                    cx.confirm("Go on in the console?", false)?;
                }
            }
        }
    }
    if lab.exam_look(Some(id.as_str())).is_ok_and(|view| view.state == TaskState::Running) {
        cx.ui.note(&format!("Exam {id} goes on, and so does its clock; `cks-lab exam` comes back to it."));
    }
    Ok(Exit::Passed)
}

async fn open(cx: &Cx, id: &SessionId) -> Result<Left, CliError> {
    let (relay, mut events) = tui::observer();
    let lab = cx.lab_for(relay);
    // That the clock is kept is looked after by the next command too.
    let keep = |id: &SessionId| drop(keep_time(cx, &lab, id));
    let setup = tui::Setup {
        lab: &lab,
        session: id.clone(),
        colour: cx.ui.coloured(),
        events: &mut events,
        interrupt: cx.interrupt.clone(),
        keep: &keep,
    };
    Ok(tui::run(setup).await?)
}

/// There is no exam: offers to start one, or says what to type.
async fn begin(cx: &Cx, lab: &Lab) -> Result<bool, CliError> {
    let hint = "`cks-lab exam start` draws one and brings it up";
    if !cx.is_text() || !cx.ui.interactive() {
        return Err(CliError::usage("there is no exam").hint(hint));
    }
    match cx.ui.confirm("There is no exam. Draw one and bring it up now?")? {
        Some(true) => start(cx, lab, StartArgs::default()).await.map(|_| true),
        _ => {
            cx.ui.next(&[
                ("cks-lab exam start", "draw one and bring it up"),
                ("cks-lab exam start --help", "with another number of tasks, of minutes, another track"),
            ]);
            Ok(false)
        }
    }
}
