//! `cks-lab check`

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg, status};
use crate::report::{OutcomeName, TaskReport, text};
use crate::session::Session;

/// Judge the work as it stands
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    session: SessionArg,
}

pub(super) async fn run(cx: &Cx, args: &CheckArgs) -> Result<Exit, CliError> {
    let (report, session) = cx.lab().check(args.session.get()).await?;
    cx.show(&report, || text::task(&report, cx.ui.width()))?;
    if cx.is_text() {
        cx.ui.note(&status::time(&session));
        let next: &[(&str, &str)] = match report.passed {
            true => &[("cks-lab submit", "grade for good, keep the report, remove the cluster")],
            false => &[("cks-lab hint", "a nudge"), ("cks-lab task", "read it again")],
        };
        cx.ui.next(next);
    }
    Ok(exit(&report, &session))
}

/// Returns what a grading exits with: lateness before failure, failure before what could not be judged.
pub(super) fn exit(report: &TaskReport, session: &Session) -> Exit {
    let some = |outcome| report.with(outcome).next().is_some();
    match () {
        () if session.timer.is_up() => Exit::TimeUp,
        () if report.passed => Exit::Passed,
        () if !some(OutcomeName::Fail) && some(OutcomeName::CannotJudge) => Exit::Unavailable,
        () => Exit::Failed,
    }
}
