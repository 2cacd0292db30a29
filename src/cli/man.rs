//! `cks-lab man`: the manual, a page a command.

use std::path::PathBuf;

use clap_mangen::Man;

use super::environment::absolute;
use super::error::CliError;
use super::exit::Exit;
use super::{Cx, command};
use crate::lab::error::LabError;
use crate::layout::count;
use crate::persist;

/// Write the manual pages
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Write a page a command into this folder, such as `~/.local/share/man/man1`; without it the first page is printed
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(cx: &Cx, args: &ManArgs) -> Result<Exit, CliError> {
    let mut root = command().disable_help_subcommand(true);
    root.build();
    let Some(dir) = &args.dir else {
        cx.ui.data(&page(root)?)?;
        return Ok(Exit::Passed);
    };
    let dir = absolute(dir);
    persist::create_dir(&dir).map_err(LabError::from)?;
    let mut pages = Vec::new();
    collect(root, &mut pages);
    for command in &pages {
        let name = Man::new(command.clone()).get_filename();
        let text = page(command.clone())?;
        persist::write_atomic(&dir.join(name), text.as_bytes()).map_err(LabError::from)?;
    }
    cx.ui.note(&format!("{} written to {}", count(pages.len(), "page", "pages"), dir.display()));
    Ok(Exit::Passed)
}

fn page(command: clap::Command) -> Result<String, CliError> {
    let mut text = Vec::new();
    Man::new(command)
        .source(concat!("cks-lab ", env!("CARGO_PKG_VERSION")))
        .manual("cks-lab")
        .render(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn collect(command: clap::Command, pages: &mut Vec<clap::Command>) {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        collect(sub.clone(), pages);
    }
    pages.push(command);
}
