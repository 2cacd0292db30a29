//! `cks-lab next`

use super::error::CliError;
use super::exit::Exit;
use super::start::{ClusterArgs, PaceArgs, begin, present};
use super::{Cx, complete, list};
use crate::lab::error::LabError;
use crate::lab::practice::{Wish, domains};
use crate::layout::{FAINT, STRONG, paint};
use crate::progress::Suggestion;

/// How many others are named to whoever declines the first.
const OTHERS: usize = 3;

/// Start what is most worth practising now
#[derive(Debug, clap::Args)]
pub(super) struct NextArgs {
    /// Only a scenario of this domain, such as `cluster-hardening`
    #[arg(long, value_name = "DOMAIN", add = complete::domains())]
    domain: Option<String>,
    /// Held against this track; the newest where none is named
    #[arg(long, value_name = "TRACK", add = complete::tracks())]
    track: Option<String>,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    pace: PaceArgs,
}

pub(super) async fn run(cx: &Cx, args: &NextArgs) -> Result<Exit, CliError> {
    if let Some(domain) = &args.domain {
        list::known(domain, domains(args.track.as_deref())?.into_iter(), "domain")?;
    }
    let lab = cx.lab();
    let wish = Wish {
        track: args.track.clone(),
        domain: args.domain.clone(),
        weakest: false,
        provider: args.cluster.choice(cx),
    };
    let suggestions = lab.suggestions(&wish).await?;
    let Some((first, others)) = suggestions.split_first() else {
        return Err(LabError::NothingToPractise.into());
    };
    cx.ui.note(&format!("{} {}", paint(STRONG, &first.title), paint(FAINT, format!("({})", first.scenario))));
    cx.ui.note(&format!("{} minutes; {}", first.minutes, first.reason));
    // Where nobody can be asked the command itself is the answer.
    if cx.ui.interactive() && !args.cluster.yes && cx.ui.confirm("Start it?")? != Some(true) {
        let start = |one: &Suggestion| (format!("cks-lab start {}", one.scenario), one.reason.clone());
        let others: Vec<(String, String)> = others.iter().take(OTHERS).map(start).collect();
        cx.ui.note("Nothing was started. What else is worth it:");
        cx.ui.next(&others.iter().map(|(command, why)| (command.as_str(), why.as_str())).collect::<Vec<_>>());
        return Ok(Exit::Passed);
    }
    let started = begin(cx, &lab, &first.scenario, &args.cluster, &args.pace).await?;
    present(cx, &lab, &started)?;
    Ok(Exit::Passed)
}
