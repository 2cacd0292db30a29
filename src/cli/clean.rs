//! `cks-lab clean`

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, stop};

/// Remove what ended sessions and interrupted commands have left
#[derive(Debug, clap::Args)]
pub(super) struct CleanArgs {
    /// Agree to every question
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(cx: &Cx, args: &CleanArgs) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let left = lab.leftovers().await?;
    if !left.is_empty() {
        let sessions = left.sessions.iter().map(|id| format!("session {id}"));
        let clusters = left.clusters.iter().map(|cluster| format!("{} {}", cluster.summary, cluster.name));
        let all: Vec<String> = sessions.chain(clusters).collect();
        cx.confirm(&format!("Remove {}? Reports and history stay.", all.join(", ")), args.yes)?;
    }
    let removed = lab.clean(&left).await?;
    cx.show(&removed, || stop::text(&removed))?;
    Ok(Exit::Passed)
}
