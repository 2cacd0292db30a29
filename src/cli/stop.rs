//! `cks-lab stop`

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg};
use crate::lab::error::LabError;
use crate::lab::view::Removed;
use crate::layout;
use crate::session::TaskState;

/// End a session without a grade
#[derive(Debug, clap::Args)]
pub(super) struct StopArgs {
    #[command(flatten)]
    session: SessionArg,
    /// End every session, whichever is meant otherwise
    // No conflict with the session: that one comes from the environment in every shell that `env` has set up.
    #[arg(long)]
    all: bool,
    /// Forget it even though its cluster cannot be removed, and may go on
    #[arg(long)]
    forget: bool,
    /// Agree to every question
    #[arg(short, long)]
    yes: bool,
}

pub(super) async fn run(cx: &Cx, args: &StopArgs) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let removed = if args.all {
        let status = lab.status()?;
        let running: Vec<&str> = status.sessions.iter().map(|session| session.session.as_str()).collect();
        if running.is_empty() {
            Removed::default()
        } else {
            let question = format!("End without a grade: {}?", running.join(", "));
            cx.confirm(&question, args.yes)?;
            lab.stop_all(args.forget).await.map_err(with_way_out)?
        }
    } else {
        let session = lab.session(args.session.get())?;
        if session.state == TaskState::Running {
            cx.confirm(&format!("End session `{}` without a grade?", session.session), args.yes)?;
        }
        lab.stop(Some(session.session.as_str()), args.forget).await.map_err(with_way_out)?
    };
    cx.show(&removed, || text(&removed))?;
    Ok(Exit::Passed)
}

/// A cluster that will never answer again must not keep its session for ever.
fn with_way_out(error: LabError) -> CliError {
    let unreachable = matches!(error, LabError::Provider(_));
    let error = CliError::from(error);
    match unreachable {
        true => error.hint("`--forget` forgets the session all the same, and leaves the cluster to you"),
        false => error,
    }
}

/// Says what is gone.
pub(super) fn text(removed: &Removed) -> String {
    if removed.sessions.is_empty() && removed.clusters.is_empty() {
        return "nothing to do\n".to_owned();
    }
    let mut out = String::new();
    for session in &removed.sessions {
        out.push_str(&format!("ended {session}\n"));
    }
    if !removed.clusters.is_empty() {
        out.push_str(&format!(
            "removed {}\n",
            layout::count(removed.clusters.len(), "stray cluster", "stray clusters")
        ));
    }
    out
}
