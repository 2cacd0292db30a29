//! `cks-lab next`

use super::error::CliError;
use super::exit::Exit;
use super::start::{ClusterArgs, PaceArgs, begin, present};
use super::{Cx, complete, list};
use crate::lab::practice::{Wish, domains};
use crate::layout::{FAINT, STRONG, paint};

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
    let Some(first) = lab.suggestions(&wish).await?.into_iter().next() else {
        return Err(crate::lab::error::LabError::NothingToPractise.into());
    };
    cx.ui.note(&format!("{} {}", paint(STRONG, &first.title), paint(FAINT, format!("({})", first.scenario))));
    cx.ui.note(&format!("{} minutes; {}", first.minutes, first.reason));
    // Where nobody can be asked the command itself is the answer.
    if cx.ui.interactive() {
        cx.confirm("Start it?", args.cluster.yes)?;
    }
    let started = begin(cx, &lab, &first.scenario, &args.cluster, &args.pace).await?;
    present(cx, &lab, &started)?;
    Ok(Exit::Passed)
}
