//! `cks-lab task`

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg, start};
use crate::layout;

/// Show the task again
#[derive(Debug, clap::Args)]
pub(super) struct TaskArgs {
    #[command(flatten)]
    session: SessionArg,
}

pub(super) fn run(cx: &Cx, args: &TaskArgs) -> Result<Exit, CliError> {
    let view = cx.lab().task(args.session.get())?;
    cx.show(&view, || start::task_text(cx, &view))?;
    if cx.is_text() {
        cx.ui.note(&format!("\n{}", layout::time_left(view.left_seconds)));
    }
    Ok(Exit::Passed)
}
