//! `cks-lab prompt`, which shells of `cks-lab shell` call before each prompt: the task and the time left.

use std::time::Duration;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg};
use crate::layout;
use crate::session::TaskState;

/// Print the task and the time left for a shell's prompt
#[derive(Debug, clap::Args)]
pub(super) struct PromptArgs {
    #[command(flatten)]
    session: SessionArg,
}

pub(super) fn run(cx: &Cx, args: &PromptArgs) -> Result<Exit, CliError> {
    let session = cx.lab().session(args.session.get())?;
    let task = session.tasks.first().map_or("", |task| task.scenario.as_str());
    let time = match (session.state, session.left_seconds) {
        (TaskState::Running, Some(0)) => " time is up".to_owned(),
        (TaskState::Running, Some(left)) => format!(" {}", layout::clock_time(Duration::from_secs(left))),
        (TaskState::Running, None) => String::new(),
        (state, _) => format!(" {}", state.as_str()),
    };
    cx.ui.data(&format!("{task}{time}"))?;
    Ok(Exit::Passed)
}
