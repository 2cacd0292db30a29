//! `cks-lab progress`

mod text;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, complete};
use crate::progress::html;
use crate::report::json;
use crate::ui::Format;

/// Show attempts over time, what is mastered, how ready that is for the exam
#[derive(Debug, clap::Args)]
pub(super) struct ProgressArgs {
    /// Held against this track; the newest where none is named
    #[arg(long, value_name = "TRACK", add = complete::tracks())]
    track: Option<String>,
    /// The format; like `--output` where it is left out
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<ProgressFormat>,
}

/// The formats of progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ProgressFormat {
    /// For a terminal.
    Text,
    /// For programs; the schema is in the reference.
    Json,
    /// For a browser: one page that needs nothing else.
    Html,
}

pub(super) fn run(cx: &Cx, args: &ProgressArgs) -> Result<Exit, CliError> {
    let progress = cx.lab().progress(args.track.as_deref())?;
    let format = args.format.unwrap_or(match cx.ui.format() {
        Format::Text => ProgressFormat::Text,
        Format::Json => ProgressFormat::Json,
    });
    let written = match format {
        ProgressFormat::Text => text::progress(&progress, cx.ui.width()),
        ProgressFormat::Json => json::render(&progress)?,
        ProgressFormat::Html => {
            html::render(&progress).map_err(|error| CliError::new(Exit::Internal, error))?
        }
    };
    cx.ui.data(&written)?;
    if format == ProgressFormat::Text {
        cx.ui.note("");
        cx.ui.next(&[
            ("cks-lab next", "start the first of these"),
            ("cks-lab practise --minutes 30", "several, one after the other"),
        ]);
    }
    Ok(Exit::Passed)
}
