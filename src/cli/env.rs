//! `cks-lab env`

use std::fmt::Write as _;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg};
use crate::process::quote;

/// Print the variables that a shell needs
#[derive(Debug, clap::Args)]
pub(super) struct EnvArgs {
    #[command(flatten)]
    session: SessionArg,
}

pub(super) async fn run(cx: &Cx, args: &EnvArgs) -> Result<Exit, CliError> {
    let view = cx.lab().env(args.session.get()).await?;
    cx.show(&view, || {
        view.variables.iter().fold(String::new(), |mut text, (name, value)| {
            let _ = writeln!(text, "export {name}={}", quote(value));
            text
        })
    })?;
    Ok(Exit::Passed)
}
