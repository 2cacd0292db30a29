//! `cks-lab report`

use super::Cx;
use super::error::CliError;
use super::exit::Exit;
use crate::report::{json, text};
use crate::ui::Format;

/// Show the report of a session that was submitted
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// The session; the last one where it is left out
    session: Option<String>,
    /// The format; like `--output`
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
}

pub(super) fn run(cx: &Cx, args: &ReportArgs) -> Result<Exit, CliError> {
    let report = cx.lab().report(args.session.as_deref())?;
    let written = match args.format.unwrap_or(cx.ui.format()) {
        Format::Text => text::report(&report, cx.ui.width()),
        Format::Json => json::render(&report)?,
    };
    cx.ui.data(&written)?;
    Ok(Exit::Passed)
}
