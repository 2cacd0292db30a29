//! `cks-lab submit`

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg, check};
use crate::layout::{FAINT, paint};
use crate::report::text;

/// Grade for good, keep the report, remove the cluster
#[derive(Debug, clap::Args)]
pub(super) struct SubmitArgs {
    #[command(flatten)]
    session: SessionArg,
    /// Submit although some checks cannot be judged; they count as not earned
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(cx: &Cx, args: &SubmitArgs) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let (submitted, session) = lab.submit(args.session.get(), args.force).await?;
    let report = lab.report(Some(session.id.as_str()))?;
    cx.show(&submitted, || text::report(&report, cx.ui.width()))?;
    if cx.is_text() {
        cx.ui.note(&paint(FAINT, format!("Report: {}", submitted.report.display())));
        cx.ui.next(&[("cks-lab solution", "the way to do it"), ("cks-lab list", "what to practise next")]);
    }
    Ok(check::exit(&submitted.result, &session))
}
