//! `cks-lab author`: new, lint, test, schema.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use schemars::JsonSchema;
use serde::Serialize;

use super::Cx;
use super::error::CliError;
use super::exit::Exit;
use crate::author::{self, Cell, Column, NewError, TestEvent, TestPlan, TestReport};
use crate::clock::SystemClock;
use crate::cluster::registry::{self, Choice};
use crate::cluster::{Capability, ClusterSpec};
use crate::diag::{Diagnostic, Severity};
use crate::lab::error::LabError;
use crate::lab::event::{Event, Observer as _};
use crate::layout::{self, BAD, FAINT, GOOD, STRONG, Table, WARN, paint};
use crate::scenario::{Variant, schema};

/// Write, lint and prove scenarios
#[derive(Debug, Subcommand)]
pub(super) enum AuthorCommand {
    /// Make a folder to start from
    New(NewArgs),
    /// Find everything that is wrong with scenarios
    Lint(LintArgs),
    /// Prove scenarios: nothing done earns nothing, the solution everything, each wrong fix what it says
    Test(TestArgs),
    /// Print the JSON Schema of `scenario.yaml`
    Schema,
}

/// Make a folder to start from
#[derive(Debug, clap::Args)]
pub(super) struct NewArgs {
    /// The scenario's name in kebab-case, with or without its domain: `cluster-hardening/shrink-the-publisher`
    id: String,
    /// The curriculum topic that it trains, such as `rbac`
    #[arg(long, value_name = "TOPIC")]
    topic: String,
}

/// Find everything that is wrong with scenarios
#[derive(Debug, clap::Args)]
pub(super) struct LintArgs {
    /// The scenarios; all of them where none is named
    #[arg(id = "names", value_name = "SCENARIO")]
    names: Vec<String>,
}

/// Prove scenarios
#[derive(Debug, clap::Args)]
pub(super) struct TestArgs {
    /// The scenarios; all of them where none is named
    #[arg(id = "names", value_name = "SCENARIO")]
    names: Vec<String>,
    /// All of them, which is also what is meant where none is named
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Where the clusters come from
    #[arg(short, long, value_name = "PROVIDER", value_parser = clap::builder::PossibleValuesParser::new(registry::choices()))]
    provider: Option<String>,
    /// A variant to try; may be given more than once
    #[arg(long = "variant", value_name = "N", default_values_t = [1])]
    variants: Vec<u32>,
    /// How many clusters there may be at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: Option<u16>,
    /// How many seconds one run of steps may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// The context to use, for `--provider kubeconfig`
    #[arg(long, value_name = "CONTEXT")]
    context: Option<String>,
    /// The node image, for `--provider kind`, instead of kind's own
    #[arg(long, value_name = "IMAGE")]
    node_image: Option<String>,
    /// Agree to every question
    #[arg(short, long)]
    yes: bool,
}

/// What `author new` made.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Made {
    /// The folder.
    #[schemars(with = "String")]
    folder: PathBuf,
}

/// What `author lint` found.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Linted {
    /// How many faults keep a scenario from being used.
    errors: usize,
    /// How many are worth a look.
    warnings: usize,
    /// The faults.
    diagnostics: Vec<Diagnostic>,
}

pub(super) async fn run(cx: &Cx, command: &AuthorCommand) -> Result<Exit, CliError> {
    match command {
        AuthorCommand::New(args) => new(cx, args),
        AuthorCommand::Lint(args) => lint(cx, args),
        AuthorCommand::Test(args) => test(cx, args).await,
        AuthorCommand::Schema => {
            cx.ui.data(&schema::schema_text())?;
            Ok(Exit::Passed)
        }
    }
}

fn new(cx: &Cx, args: &NewArgs) -> Result<Exit, CliError> {
    let catalog =
        cx.scenarios.clone().unwrap_or_else(|| super::environment::absolute(Path::new("scenarios")));
    let (domain, id) = match args.id.rsplit_once('/') {
        Some((domain, id)) => (Some(domain), id),
        None => (None, args.id.as_str()),
    };
    let own = crate::curriculum::Curriculum::builtin();
    let place =
        own.places_in(&args.topic.as_str().into(), own.newest()).first().map(|place| place.domain.id.clone());
    if let (Some(wanted), Some(domain)) = (domain, place)
        && wanted != domain.as_str()
    {
        return Err(CliError::usage(format!("topic `{}` is not of domain `{wanted}`", args.topic))
            .hint(format!("its domain is `{domain}`")));
    }
    let folder = author::new(&catalog, id, &args.topic).map_err(new_error)?;
    let made = Made { folder };
    cx.show(&made, || format!("{}\n", made.folder.display()))?;
    if cx.is_text() {
        let scenarios = catalog.display();
        cx.ui.next(&[
            (&format!("cks-lab --scenarios {scenarios} author lint {id}"), "what is wrong with it"),
            (&format!("cks-lab --scenarios {scenarios} author test {id}"), "does it prove itself?"),
        ]);
    }
    Ok(Exit::Passed)
}

fn new_error(error: NewError) -> CliError {
    let (exit, hint) = match &error {
        NewError::UnknownTopic { similar: Some(similar), .. } => {
            (Exit::Usage, format!("did you mean `{similar}`?"))
        }
        NewError::UnknownTopic { .. } => (Exit::Usage, "`cks-lab curriculum` shows the topics".to_owned()),
        NewError::BadId(_) => (Exit::Usage, "for example `shrink-the-publisher`".to_owned()),
        NewError::Exists(_) => (Exit::Usage, "take another name".to_owned()),
        NewError::Write { .. } => (Exit::Internal, "`--scenarios DIR` names another folder".to_owned()),
    };
    CliError::new(exit, error).hint(hint)
}

fn lint(cx: &Cx, args: &LintArgs) -> Result<Exit, CliError> {
    let catalog = cx.lab().catalog(cx.scenarios.as_deref())?;
    let diagnostics = author::lint(&catalog, &args.names).map_err(LabError::from)?;
    let count = |severity| diagnostics.iter().filter(|fault| fault.severity == severity).count();
    let linted = Linted { errors: count(Severity::Error), warnings: count(Severity::Warning), diagnostics };
    cx.show(&linted, || {
        let mut out = String::new();
        for fault in &linted.diagnostics {
            let source = fault.span.as_ref().and_then(|span| catalog.source(&span.file));
            let _ = writeln!(out, "{}\n", fault.render(source.as_deref()));
        }
        let looked_at = if args.names.is_empty() { catalog.names().len() } else { args.names.len() };
        let _ = writeln!(
            out,
            "{} in {}",
            match (linted.errors, linted.warnings) {
                (0, 0) => paint(GOOD, "no fault"),
                (0, warnings) => paint(WARN, layout::count(warnings, "warning", "warnings")),
                (errors, 0) => paint(BAD, layout::count(errors, "error", "errors")),
                (errors, warnings) => format!(
                    "{} and {}",
                    paint(BAD, layout::count(errors, "error", "errors")),
                    layout::count(warnings, "warning", "warnings")
                ),
            },
            layout::count(looked_at, "scenario", "scenarios")
        );
        out
    })?;
    Ok(if linted.errors > 0 { Exit::Invalid } else { Exit::Passed })
}

async fn test(cx: &Cx, args: &TestArgs) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let catalog = lab.catalog(cx.scenarios.as_deref())?;
    let wanted = args.provider.clone().or_else(|| cx.config.provider.clone());
    let choice = Choice::parse(wanted.as_deref().unwrap_or("auto"));
    let provider = lab.registry().choose(&choice, &[Capability::Api]).await.map_err(LabError::from)?;
    let own = provider.name() == "kubeconfig";
    if own {
        let question = format!(
            "Prove scenarios in the cluster of context `{}`?",
            args.context.as_deref().unwrap_or("that is current")
        );
        cx.confirm(&question, args.yes)?;
    }
    let scratch = scratch(&cx.environment.state)?;
    let prefix = format!("proof-{}", std::process::id());
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let plan = TestPlan {
        catalog: &catalog,
        scenarios: args.names.clone(),
        variants: args.variants.iter().copied().map(Variant).collect(),
        provider: provider.clone(),
        spec: ClusterSpec {
            context: args.context.clone(),
            source_kubeconfig: own.then(|| cx.environment.kubeconfig.clone()),
            confirmed: own,
            node_image: args.node_image.clone().or_else(|| cx.config.node_image.clone()),
            ..ClusterSpec::default()
        },
        prefix: prefix.clone(),
        scratch: scratch.path().to_owned(),
        // Steps are mostly kubectl starting up and waiting; a cluster of containers takes more.
        parallel: args.parallel.map_or(if provider.copies() { cores * 4 } else { 1 }, usize::from),
        path: cx.environment.path.clone(),
        timeout: Duration::from_secs(args.timeout),
        // Its cache is changed by every kubectl of the learner.
        watched: vec![cx.environment.home.join(".kube/config")],
        clock: Arc::new(SystemClock),
    };
    let done = std::sync::atomic::AtomicUsize::new(0);
    let clusters = std::sync::atomic::AtomicUsize::new(0);
    let observe = |event: TestEvent<'_>| {
        use std::sync::atomic::Ordering::Relaxed;
        let text = match event {
            TestEvent::Planned { clusters: planned } => {
                clusters.store(planned, Relaxed);
                format!("proving on {}", layout::count(planned, "cluster", "clusters"))
            }
            TestEvent::Done { scenario, variant, .. } => {
                let done = done.fetch_add(1, Relaxed) + 1;
                format!("proving: {done} of {} done, {scenario} variant {variant}", clusters.load(Relaxed))
            }
        };
        if cx.ui.moves() {
            cx.ui.observe(Event::Stage { text });
        }
    };
    let mut interrupt = cx.interrupt.clone();
    let tested = tokio::select! {
        biased;
        () = interrupt.pulled() => None,
        tested = author::test(&plan, &observe) => Some(tested),
    };
    let Some(tested) = tested else {
        author::sweep(provider.as_ref(), &prefix).await.map_err(LabError::from)?;
        return Err(LabError::Interrupted.into());
    };
    let report = tested.map_err(LabError::from)?;
    cx.show(&report, || table(&report, cx.ui.width()))?;
    Ok(if report.passed { Exit::Passed } else { Exit::Failed })
}

fn scratch(state: &Path) -> Result<tempfile::TempDir, CliError> {
    crate::persist::create_dir(state).map_err(LabError::from)?;
    Ok(tempfile::Builder::new().prefix("proofs-").tempdir_in(state)?)
}

fn table(report: &TestReport, width: usize) -> String {
    let heads: Vec<&str> = Column::ALL.iter().map(|column| column.title()).collect();
    let mut table = Table::new(&[&["scenario", "variant"], heads.as_slice(), &["s"]].concat());
    for trial in &report.trials {
        let cells = Column::ALL.iter().map(|column| match trial.cell(*column) {
            Cell::Nothing => paint(FAINT, "-"),
            Cell::Shown { shown, of } => paint(if shown == of { GOOD } else { BAD }, format!("{shown}/{of}")),
        });
        let head = [trial.scenario.to_string(), trial.variant.to_string()];
        table.row(head.into_iter().chain(cells).chain([format!("{:.1}", trial.seconds)]));
    }
    let mut out = table.render(width.max(120), "");
    for trial in &report.trials {
        if let Some(reason) = &trial.not_tried {
            let head = paint(WARN, format!("{} was not tried:", trial.scenario));
            let _ = writeln!(out, "\n{}", layout::wrap(reason, width, &format!("{head} "), "  "));
        }
        for proof in trial.proofs.iter().filter(|proof| !proof.problems.is_empty()) {
            let head = format!("{} variant {}, {}", trial.scenario, trial.variant, proof.column.title());
            let _ = writeln!(out, "\n{}: {}", paint(BAD, head), proof.describe);
            for problem in &proof.problems {
                let _ = writeln!(out, "{}", layout::wrap(problem, width, "  - ", "    "));
            }
        }
    }
    for stray in &report.strays {
        let _ = writeln!(out, "\n{} {}", paint(BAD, "changed outside the scratch folder:"), stray.display());
    }
    let verdict = if report.passed { paint(GOOD, "proven") } else { paint(BAD, "not proven") };
    let _ = writeln!(out, "\n{} on {} in {:.1} s", paint(STRONG, verdict), report.provider, report.seconds);
    out
}
