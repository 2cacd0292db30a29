//! `cks-lab start`

use std::path::PathBuf;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, complete, environment};
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
    #[arg(add = complete::scenarios())]
    scenario: String,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    pace: PaceArgs,
}

/// Where the cluster of a task comes from.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ClusterArgs {
    /// Where the cluster comes from: `auto` takes the first that has what the scenario needs
    #[arg(short, long, value_name = "PROVIDER", value_parser = clap::builder::PossibleValuesParser::new(registry::choices()))]
    provider: Option<String>,
    /// Agree to every question
    #[arg(short, long)]
    pub(super) yes: bool,
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

/// Which variant of a task, and how much time for it.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct PaceArgs {
    /// The number that names and values are drawn from; the same number gives the same ones
    #[arg(long, value_name = "N")]
    variant: Option<u32>,
    /// How many minutes there are, instead of the scenario's own
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=600), conflicts_with = "no_timer")]
    minutes: Option<u32>,
    /// Without a limit; the time is only counted
    #[arg(long)]
    no_timer: bool,
}

impl ClusterArgs {
    /// Returns the provider that is meant.
    pub(super) fn choice(&self, cx: &Cx) -> Choice {
        Choice::parse(self.provider(cx))
    }

    fn provider<'a>(&'a self, cx: &'a Cx) -> &'a str {
        self.provider.as_deref().or(cx.config.provider.as_deref()).unwrap_or("auto")
    }

    fn request(&self, cx: &Cx, scenario: &str, pace: &PaceArgs) -> Result<StartRequest, CliError> {
        let own = self.provider(cx) == "kubeconfig";
        if !own && (self.context.is_some() || self.kubeconfig.is_some()) {
            return Err(CliError::usage("`--context` and `--kubeconfig` go with `--provider kubeconfig`"));
        }
        if self.provider(cx) != "kind" && self.node_image.is_some() {
            return Err(CliError::usage("`--node-image` goes with `--provider kind`"));
        }
        // Only a learner who asks for it has a file of their own read.
        let kubeconfig = self.kubeconfig.as_deref().map(environment::absolute);
        let source = own.then(|| kubeconfig.unwrap_or_else(|| cx.environment.kubeconfig.clone()));
        Ok(StartRequest {
            scenario: scenario.to_owned(),
            provider: self.choice(cx),
            variant: pace.variant,
            minutes: pace.minutes,
            timer: !pace.no_timer,
            retain: self.retain,
            context: self.context.clone(),
            source_kubeconfig: source,
            node_image: self.node_image.clone().or_else(|| cx.config.node_image.clone()),
            confirmed: self.yes,
        })
    }
}

pub(super) async fn run(cx: &Cx, args: StartArgs) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let started = begin(cx, &lab, &args.scenario, &args.cluster, &args.pace).await?;
    present(cx, &lab, &started)?;
    Ok(Exit::Passed)
}

/// Starts a scenario; where the provider has a question it is asked.
pub(super) async fn begin(
    cx: &Cx,
    lab: &Lab,
    scenario: &str,
    cluster: &ClusterArgs,
    pace: &PaceArgs,
) -> Result<Started, CliError> {
    let request = cluster.request(cx, scenario, pace)?;
    Ok(match lab.start(request.clone()).await {
        Err(LabError::Provider(ProviderError::Unconfirmed { question })) => {
            cx.confirm(&question, cluster.yes)?;
            lab.start(StartRequest { confirmed: true, ..request }).await?
        }
        other => other?,
    })
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
