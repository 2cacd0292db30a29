//! `cks-lab solution`

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg};
use crate::lab::view::SolutionView;
use crate::layout::{CODE, STRONG, paint};

/// Show the solution, or run it
#[derive(Debug, clap::Args)]
pub(super) struct SolutionArgs {
    #[command(flatten)]
    session: SessionArg,
    /// Run it against the session's cluster
    #[arg(long)]
    apply: bool,
}

pub(super) async fn run(cx: &Cx, args: &SolutionArgs) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let view = match args.apply {
        true => lab.apply_solution(args.session.get(), &cx.environment.path).await?,
        false => lab.solution(args.session.get())?,
    };
    cx.show(&view, || text(cx, &view))?;
    if cx.is_text() && view.applied {
        cx.ui.note("The solution was run.");
        cx.ui.next(&[("cks-lab check", "judge the work as it stands")]);
    }
    Ok(Exit::Passed)
}

fn text(cx: &Cx, view: &SolutionView) -> String {
    let mut out = cx.ui.markdown(&view.explain);
    if !view.run.trim().is_empty() {
        out.push_str(&format!("\n{}\n\n", paint(STRONG, "What to type")));
        for line in view.run.trim_end().lines() {
            out.push_str(format!("    {}", paint(CODE, line)).trim_end());
            out.push('\n');
        }
    }
    out
}
