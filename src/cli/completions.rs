//! `cks-lab completions`

use clap_complete::Shell;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, command};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(cx: &Cx, args: &CompletionsArgs) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "cks-lab", &mut script);
    cx.ui.data(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Passed)
}
