//! `cks-lab practise`: several scenarios one after the other, across as many commands as it takes.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::error::CliError;
use super::exit::Exit;
use super::start::{ClusterArgs, PaceArgs, begin, present};
use super::{Cx, complete, list};
use crate::lab::Lab;
use crate::lab::practice::{PlanItem, PlanState, PlanView, Wish, domains};
use crate::lab::view::Started;
use crate::layout::{BAD, FAINT, GOOD, STRONG, Table, WARN, paint};

/// How many minutes a plan has where none are asked for.
const MINUTES: u32 = 30;

/// Practise several scenarios one after the other; without options it goes on with the plan that there is
#[derive(Debug, clap::Args)]
pub(super) struct PractiseArgs {
    /// Make a plan of scenarios of this domain, such as `cluster-hardening`
    #[arg(long, value_name = "DOMAIN", add = complete::domains(), conflicts_with = "weakest")]
    domain: Option<String>,
    /// Make a plan of scenarios of the domain where most is to be gained
    #[arg(long)]
    weakest: bool,
    /// Make a plan that fits into so many minutes; 30 where none are named
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=600))]
    minutes: Option<u32>,
    /// Held against this track; the newest where none is named
    #[arg(long, value_name = "TRACK", add = complete::tracks())]
    track: Option<String>,
    /// Show the plan and start nothing
    #[arg(long)]
    plan: bool,
    /// Forget the plan; sessions that were started for it stay
    #[arg(long, conflicts_with_all = ["domain", "weakest", "minutes", "plan"])]
    end: bool,
    #[command(flatten)]
    cluster: ClusterArgs,
}

/// What `practise --output json` gives.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Practised {
    /// The plan; none after it was forgotten.
    plan: Option<PlanView>,
    /// What was started.
    started: Option<Started>,
}

pub(super) async fn run(cx: &Cx, args: &PractiseArgs) -> Result<Exit, CliError> {
    let lab = cx.lab();
    if args.end {
        let there = lab.drop_plan()?;
        let said = if there { "the plan is forgotten\n" } else { "there is no plan\n" };
        cx.show(&Practised { plan: None, started: None }, || said.to_owned())?;
        return Ok(Exit::Passed);
    }
    let plan = plan(cx, &lab, args).await?;
    let next = plan.next().cloned().filter(|_| plan.running().is_none() && !args.plan);
    if cx.is_text() {
        cx.ui.data(&text(&plan, cx.ui.width()))?;
    }
    let Some(item) = next else {
        if !cx.is_text() {
            cx.show(&Practised { plan: Some(plan), started: None }, String::new)?;
            return Ok(Exit::Passed);
        }
        cx.ui.note("");
        match (plan.running(), plan.is_done()) {
            (Some(item), _) => advise_running(cx, item),
            (None, true) => cx.ui.next(&[
                ("cks-lab progress", "what has come of it"),
                ("cks-lab practise --minutes 30", "another plan"),
            ]),
            (None, false) => cx.ui.next(&[("cks-lab practise", "start the next one")]),
        }
        return Ok(Exit::Passed);
    };
    // Where nobody can be asked the command itself is the answer.
    let question = format!("Start `{}`?", item.scenario);
    if cx.ui.interactive() && !args.cluster.yes && cx.ui.confirm(&question)? != Some(true) {
        cx.ui.note("Nothing was started; `cks-lab practise` goes on with the plan.");
        return Ok(Exit::Passed);
    }
    let started = begin(cx, &lab, &item.scenario, &args.cluster, &PaceArgs::default()).await?;
    match cx.is_text() {
        true => present(cx, &lab, &started)?,
        false => cx.show(&Practised { plan: lab.planned()?, started: Some(started) }, String::new)?,
    }
    Ok(Exit::Passed)
}

/// Goes on with the plan that there is, or makes one.
async fn plan(cx: &Cx, lab: &Lab, args: &PractiseArgs) -> Result<PlanView, CliError> {
    if let Some(domain) = &args.domain {
        list::known(domain, domains(args.track.as_deref())?.into_iter(), "domain")?;
    }
    let asked = args.domain.is_some() || args.weakest || args.minutes.is_some() || args.track.is_some();
    match lab.planned()? {
        Some(plan) if !asked => return Ok(plan),
        Some(plan) if !plan.is_done() && cx.ui.interactive() => {
            let question = format!("Give up the plan of {}?", plan.what);
            cx.confirm(&question, args.cluster.yes)?;
        }
        _ => {}
    }
    let wish = Wish {
        track: args.track.clone(),
        domain: args.domain.clone(),
        weakest: args.weakest,
        provider: args.cluster.choice(cx),
    };
    Ok(lab.plan(&wish, args.minutes.unwrap_or(MINUTES)).await?)
}

/// After a submission: says how far the plan is that the scenario is part of, and offers the next one.
pub(super) async fn go_on_after(cx: &Cx, lab: &Lab, scenario: &str) -> Result<(), CliError> {
    let plan = match lab.planned() {
        Ok(Some(plan)) if plan.items.iter().any(|item| item.scenario == scenario) => plan,
        Ok(_) => return Ok(()),
        // The submission is done, and a plan that cannot be read takes nothing from it.
        Err(error) => {
            cx.ui.warn(&format!("the plan cannot be read: {error}; `cks-lab practise --end` forgets it"));
            return Ok(());
        }
    };
    cx.ui.note(&format!("\n{} of {} of the plan are done.", plan.submitted(), plan.items.len()));
    let Some(item) = plan.next() else { return Ok(()) };
    let question = format!("Go on with `{}` ({} minutes)?", item.scenario, item.minutes);
    if !cx.ui.interactive() || cx.ui.confirm(&question)? != Some(true) {
        cx.ui.next(&[("cks-lab practise", &format!("go on with {}", item.scenario))]);
        return Ok(());
    }
    let started = begin(cx, lab, &item.scenario, &ClusterArgs::default(), &PaceArgs::default()).await?;
    present(cx, lab, &started)
}

fn advise_running(cx: &Cx, item: &PlanItem) {
    let session = item.session.as_ref().map_or("", |session| session.as_str());
    cx.ui.note(&format!("{session} is being worked on."));
    cx.ui.next(&[
        ("cks-lab task", "the task again"),
        ("cks-lab check", "judge the work as it stands"),
        ("cks-lab submit", "grade for good, and go on"),
    ]);
}

fn text(plan: &PlanView, width: usize) -> String {
    let mut table = Table::bare();
    for (place, item) in plan.items.iter().enumerate() {
        let state = match item.state {
            PlanState::Open => paint(FAINT, "open"),
            PlanState::Running => paint(STRONG, "running"),
            PlanState::Passed => paint(GOOD, "passed"),
            PlanState::Failed => paint(BAD, "not passed"),
        };
        table.row([
            format!("{}.", place + 1),
            state,
            format!("{} min", item.minutes),
            item.scenario.clone(),
            item.title.clone(),
        ]);
    }
    let mut out =
        format!("{}\n{}", paint(STRONG, format!("A plan of {}", plan.what)), table.render(width, "  "));
    if plan.is_done() {
        let _ = writeln!(out, "{}", paint(WARN, "All of it is done."));
    }
    out
}
