//! `cks-lab submit`

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg, check, practise};
use crate::layout::{FAINT, paint};
use crate::report::text;
use crate::session::TaskState;

/// Grade for good, keep the report, remove the cluster
#[derive(Debug, clap::Args)]
pub(super) struct SubmitArgs {
    #[command(flatten)]
    session: SessionArg,
    /// Submit although some checks cannot be judged; they count as not earned
    #[arg(long)]
    force: bool,
    /// Agree to every question
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(cx: &Cx, args: &SubmitArgs) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let meant = lab.session(args.session.get())?;
    // Where nobody can be asked the command itself is the answer.
    if meant.state == TaskState::Running && cx.ui.interactive() {
        let question = format!("Grade session `{}` for good and remove its cluster?", meant.session);
        cx.confirm(&question, args.yes)?;
    }
    let (submitted, session) = lab.submit(Some(meant.session.as_str()), args.force).await?;
    let report = lab.report(Some(session.id.as_str()))?;
    cx.show(&submitted, || text::report(&report, cx.ui.width()))?;
    if cx.is_text() {
        cx.ui.note(&paint(FAINT, format!("Report: {}", submitted.report.display())));
        cx.ui.next(&[
            ("cks-lab solution", "the way to do it"),
            ("cks-lab next", "what is most worth practising now"),
        ]);
        practise::go_on_after(cx, &lab, &submitted.result.scenario).await?;
    }
    Ok(check::exit(&submitted.result, &session))
}
