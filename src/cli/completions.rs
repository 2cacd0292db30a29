//! `cks-lab completions`

use clap_complete::Shell;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, complete};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(cx: &Cx, args: &CompletionsArgs) -> Result<Exit, CliError> {
    let program = cx.environment.program.to_string_lossy();
    cx.ui.data(&complete::script(&args.shell.to_string(), &program)?)?;
    Ok(Exit::Passed)
}
