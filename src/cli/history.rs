//! `cks-lab history`: the attempts as a file, to keep or to carry to another machine. Nothing is sent anywhere.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

use super::Cx;
use super::environment::absolute;
use super::error::CliError;
use super::exit::Exit;
use crate::layout::count;

/// Carry the history of attempts from one machine to another
#[derive(Debug, clap::Subcommand)]
pub(super) enum HistoryCommand {
    /// Write all attempts to a file
    Export(FileArgs),
    /// Add the attempts of such a file; those that are there already are not added again
    Import(FileArgs),
}

/// Which file
#[derive(Debug, clap::Args)]
pub(super) struct FileArgs {
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What `history export --output json` gives.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Exported {
    /// The file.
    #[schemars(with = "String")]
    file: PathBuf,
    /// How many attempts it has.
    attempts: usize,
}

pub(super) async fn run(cx: &Cx, command: &HistoryCommand) -> Result<Exit, CliError> {
    let lab = cx.lab();
    match command {
        HistoryCommand::Export(args) => {
            let file = absolute(&args.file);
            let exported = Exported { attempts: lab.export_history(&file)?, file };
            cx.show(&exported, || {
                format!(
                    "{} written to {}\n",
                    count(exported.attempts, "attempt", "attempts"),
                    args.file.display()
                )
            })?;
        }
        HistoryCommand::Import(args) => {
            let imported = lab.import_history(&absolute(&args.file)).await?;
            cx.show(&imported, || {
                let added = count(imported.added, "attempt", "attempts");
                format!("{added} added, {} known already\n", imported.known + imported.different)
            })?;
            if imported.different > 0 {
                let differ = count(imported.different, "attempt says", "attempts say");
                cx.ui.warn(&format!("{differ} something else than what is there; what is there stays"));
            }
        }
    }
    Ok(Exit::Passed)
}
