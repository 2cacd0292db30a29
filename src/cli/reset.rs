//! `cks-lab reset`

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg, start};

/// Start the task over with the same names and values; the clock goes on
#[derive(Debug, clap::Args)]
pub(super) struct ResetArgs {
    #[command(flatten)]
    session: SessionArg,
    /// Agree to every question
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(cx: &Cx, args: &ResetArgs) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let session = lab.session(args.session.get())?;
    // Where nobody can be asked the command itself is the answer.
    if cx.ui.interactive() {
        let question = format!("Throw away what was done in session `{}` and start over?", session.session);
        cx.confirm(&question, args.yes)?;
    }
    let started = lab.reset(Some(session.session.as_str())).await?;
    start::present(cx, &lab, &started)?;
    Ok(Exit::Passed)
}
