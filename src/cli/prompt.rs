//! `cks-lab prompt`, which shells of `cks-lab shell` call before each prompt: the task and the time left.

use std::time::Duration;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg};
use crate::lab::error::LabError;
use crate::layout;
use crate::session::TaskState;
use crate::session::store::StoreError;

/// Print the task and the time left for a shell's prompt
#[derive(Debug, clap::Args)]
pub(super) struct PromptArgs {
    #[command(flatten)]
    session: SessionArg,
}

pub(super) fn run(cx: &Cx, args: &PromptArgs) -> Result<Exit, CliError> {
    let session = match cx.lab().session(args.session.get()) {
        // A shell may outlive its session, and says so.
        Err(LabError::Store(StoreError::None | StoreError::Unknown { .. })) => {
            cx.ui.data("no session")?;
            return Ok(Exit::Passed);
        }
        other => other?,
    };
    let only = session.tasks.first().map_or("", |task| task.scenario.as_str());
    // On a host of an exam its name says where one is; the task's own would tell what is trained.
    let task = cx.environment.host.as_deref().unwrap_or(only);
    let time = match (session.state, session.left_seconds) {
        (TaskState::Running, Some(0)) => " time is up".to_owned(),
        (TaskState::Running, Some(left)) => format!(" {}", layout::clock_time(Duration::from_secs(left))),
        (TaskState::Running, None) => String::new(),
        (state, _) => format!(" {}", state.as_str()),
    };
    cx.ui.data(&format!("{task}{time}"))?;
    Ok(Exit::Passed)
}
