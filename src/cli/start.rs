//! `cks-lab start`

use std::path::PathBuf;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, environment};
use crate::cluster::ProviderError;
use crate::cluster::registry::{self, Choice};
use crate::lab::error::LabError;
use crate::lab::view::{Started, TaskView};
use crate::lab::{Lab, StartRequest};
use crate::layout::{self, FAINT, STRONG, paint};
use crate::ui::markdown;

/// Start a scenario: cluster up, seeded, task on the screen, clock running
#[derive(Debug, clap::Args)]
pub(super) struct StartArgs {
    /// The scenario's id
    scenario: String,
    /// Where the cluster comes from: `auto` takes the first that has what the scenario needs
    #[arg(short, long, value_name = "PROVIDER", value_parser = clap::builder::PossibleValuesParser::new(registry::choices()))]
    provider: Option<String>,
    /// The number that names and values are drawn from; the same number gives the same ones
    #[arg(long, value_name = "N")]
    variant: Option<u32>,
    /// How many minutes there are, instead of the scenario's own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=600), conflicts_with = "no_timer")]
    minutes: Option<u32>,
    /// Without a limit; the time is only counted
    #[arg(long)]
    no_timer: bool,
    /// Agree to every question
    #[arg(short, long)]
    yes: bool,
    /// Keep what was created when the start fails
    #[arg(long)]
    retain: bool,
    /// The context to use, for `--provider kubeconfig`
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// The file with that context, instead of the usual one
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The node image, for `--provider kind`, instead of kind's own
    #[arg(long, value_name = "IMAGE")]
    node_image: Option<String>,
}

pub(super) async fn run(cx: &Cx, args: StartArgs) -> Result<Exit, CliError> {
    let provider = args.provider.or_else(|| cx.config.provider.clone()).unwrap_or_else(|| "auto".to_owned());
    let own = provider == "kubeconfig";
    if !own && (args.context.is_some() || args.kubeconfig.is_some()) {
        return Err(CliError::usage("`--context` and `--kubeconfig` go with `--provider kubeconfig`"));
    }
    if provider != "kind" && args.node_image.is_some() {
        return Err(CliError::usage("`--node-image` goes with `--provider kind`"));
    }
    // Only a learner who asks for it has a file of their own read.
    let kubeconfig = args.kubeconfig.map(|path| environment::absolute(&path));
    let source = own.then(|| kubeconfig.unwrap_or_else(|| cx.environment.kubeconfig.clone()));
    let request = StartRequest {
        scenario: args.scenario,
        provider: Choice::parse(&provider),
        variant: args.variant,
        minutes: args.minutes,
        timer: !args.no_timer,
        retain: args.retain,
        context: args.context,
        source_kubeconfig: source,
        node_image: args.node_image.or_else(|| cx.config.node_image.clone()),
        confirmed: args.yes,
    };
    let lab = cx.lab();
    let started = match lab.start(request.clone()).await {
        Err(LabError::Provider(ProviderError::Unconfirmed { question })) => {
            cx.confirm(&question, args.yes)?;
            lab.start(StartRequest { confirmed: true, ..request }).await?
        }
        other => other?,
    };
    present(cx, &lab, &started)?;
    Ok(Exit::Passed)
}

/// Puts the task on the screen and says what to do with it.
pub(super) fn present(cx: &Cx, lab: &Lab, started: &Started) -> Result<(), CliError> {
    let view = lab.task(Some(started.session.as_str()))?;
    cx.show(started, || task_text(cx, &view))?;
    if cx.is_text() {
        if !cx.environment.has("kubectl") {
            cx.ui.warn(
                "`kubectl` is not on PATH, and the task is done with it; `cks-lab doctor` says where it is",
            );
        }
        let left = view.left_seconds.map_or("no limit".to_owned(), |left| {
            format!("{} left", layout::clock_time(std::time::Duration::from_secs(left)))
        });
        cx.ui.note(&format!(
            "\n{} on {}, variant {}, {left}",
            paint(STRONG, &started.session),
            started.provider,
            started.variant
        ));
        cx.ui.next(&[
            ("cks-lab shell", "a shell to work in; or: eval \"$(cks-lab env)\""),
            ("cks-lab check", "judge the work as it stands"),
            ("cks-lab hint", "a nudge"),
            ("cks-lab submit", "grade for good"),
        ]);
    }
    Ok(())
}

/// Renders a task with its head line; a text that begins with its title too is shown without.
pub(super) fn task_text(cx: &Cx, view: &TaskView) -> String {
    let about = format!("{} points, {} minutes", view.points, view.minutes);
    let about = paint(FAINT, about);
    let text = markdown::without_title(&view.text, &view.title);
    format!("{}  {about}\n\n{}", paint(STRONG, &view.title), cx.ui.markdown(text))
}
