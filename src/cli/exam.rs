//! `cks-lab exam`: draw one, sit it, see what it came to.

mod console;
mod notify;

use std::path::PathBuf;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg, environment};
use crate::cluster::registry::{self, Choice};
use crate::lab::Lab;
use crate::lab::error::LabError;
use crate::lab::exam::ExamRequest;
use crate::lab::exam::view::{ExamResult, ExamStatus, ExamTaskView};
use crate::process::HostCommand;
use crate::session::{SessionId, TaskState};
use crate::ui::exam as text;

/// Sit a mock exam
#[derive(Debug, clap::Args)]
pub(super) struct ExamArgs {
    /// What to do; the console where nothing is said
    #[command(subcommand)]
    pub(super) command: Option<ExamCommand>,
}

/// What to do
#[derive(Debug, clap::Subcommand)]
pub(super) enum ExamCommand {
    /// Draw tasks by the domains' weights, bring them all up, start the clock
    Start(StartArgs),
    /// Open the console: tasks, text, clock and keys on one screen
    Console(SessionArg),
    /// Show the rules of the exam
    Rules(SessionArg),
    /// Show the tasks, what was visited and flagged, and the time left
    Status(SessionArg),
    /// Turn to a task and show it; the present one where no number is given
    Task(NumberArgs),
    /// Turn to the next task: one that was not visited, then one that is flagged
    Next(SessionArg),
    /// Flag a task to come back to, or take the flag away
    Flag(NumberArgs),
    /// Keep a note on a task
    Note(NoteArgs),
    /// Grade the exam for good
    Submit(SubmitArgs),
    /// End the exam without a grade and remove its clusters
    Abort(AbortArgs),
    /// Go on with an exam after a closed terminal, a crash or a reboot
    Resume(SessionArg),
    /// Show the verdicts of an exam that has ended; of one task where a number is given
    Review(NumberArgs),
    /// Wait for the end of an exam and grade it; started by other commands
    #[command(hide = true)]
    Clock(ClockArgs),
}

/// Draw an exam
#[derive(Debug, Default, clap::Args)]
pub(super) struct StartArgs {
    /// The curriculum's track; the newest where none is named
    #[arg(long, value_name = "TRACK")]
    track: Option<String>,
    /// How many tasks; as many of 17 as fit the clock where no number is given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=60))]
    tasks: Option<u16>,
    /// How many minutes; those of the real exam where no number is given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=600))]
    minutes: Option<u32>,
    /// The number that tasks, names and values are drawn from; the same number gives the same exam
    #[arg(long, value_name = "N")]
    variant: Option<u32>,
    /// Where the clusters come from
    #[arg(short, long, value_name = "PROVIDER", value_parser = clap::builder::PossibleValuesParser::new(registry::choices()))]
    provider: Option<String>,
    /// The plan of an instructor, YAML: fixed and drawn tasks, weights, minutes, pass mark
    #[arg(long, value_name = "FILE", conflicts_with_all = ["track", "tasks", "minutes"])]
    blueprint: Option<PathBuf>,
    /// Show what would be drawn, and on which clusters, and bring nothing up
    #[arg(long)]
    plan: bool,
    /// Show study links of third parties too, which no real exam does
    #[arg(long)]
    open_book: bool,
    /// Start the clock without the rules and without a question
    #[arg(short, long)]
    yes: bool,
}

/// Which task
#[derive(Debug, clap::Args)]
pub(super) struct NumberArgs {
    /// The task's number
    number: Option<usize>,
    #[command(flatten)]
    session: SessionArg,
}

/// Which task, and what to note
#[derive(Debug, clap::Args)]
pub(super) struct NoteArgs {
    /// The task's number
    number: usize,
    /// The note; it takes the place of the one before
    #[arg(required = true)]
    note: Vec<String>,
    #[command(flatten)]
    session: SessionArg,
}

/// Grade for good
#[derive(Debug, clap::Args)]
pub(super) struct SubmitArgs {
    /// Grade although some checks cannot be judged
    #[arg(long)]
    force: bool,
    /// Agree to every question
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    session: SessionArg,
}

/// End without a grade
#[derive(Debug, clap::Args)]
pub(super) struct AbortArgs {
    /// Agree to every question
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    session: SessionArg,
}

/// Whose clock
#[derive(Debug, clap::Args)]
pub(super) struct ClockArgs {
    /// The session
    session: String,
}

pub(super) async fn run(cx: &Cx, command: Option<ExamCommand>) -> Result<Exit, CliError> {
    let Some(command) = command else { return console::run(cx, None).await };
    let lab = cx.lab();
    match command {
        ExamCommand::Console(args) => console::run(cx, args.get()).await,
        ExamCommand::Rules(args) => {
            let rules = lab.exam_rules(args.get())?;
            cx.show(&rules, || cx.ui.markdown(&text::rules(&rules)))?;
            Ok(Exit::Passed)
        }
        ExamCommand::Start(args) => start(cx, &lab, args).await,
        ExamCommand::Status(args) => status(cx, &lab, lab.exam_status(args.get()).await?),
        ExamCommand::Task(args) => task(cx, &lab, lab.exam_task(args.session.get(), args.number).await?),
        ExamCommand::Next(args) => task(cx, &lab, lab.exam_next(args.get()).await?),
        ExamCommand::Flag(args) => status(cx, &lab, lab.exam_flag(args.session.get(), args.number).await?),
        ExamCommand::Note(args) => {
            let noted = lab.exam_note(args.session.get(), args.number, &args.note.join(" ")).await?;
            status(cx, &lab, noted)
        }
        ExamCommand::Submit(args) => submit(cx, &lab, &args).await,
        ExamCommand::Abort(args) => abort(cx, &lab, &args).await,
        ExamCommand::Resume(args) => status(cx, &lab, lab.exam_resume(args.get()).await?),
        ExamCommand::Review(args) => review(cx, &lab, &args).await,
        ExamCommand::Clock(args) => {
            super::sim_server::ignore_hangup();
            notify::keep(cx, &args.session).await?;
            Ok(Exit::Passed)
        }
    }
}

async fn start(cx: &Cx, lab: &Lab, args: StartArgs) -> Result<Exit, CliError> {
    if args.provider.as_deref() == Some("kubeconfig") {
        return Err(CliError::usage("an exam needs clusters of its own, not one that is there already"));
    }
    let usual = cx.config.provider.clone().filter(|provider| provider != "kubeconfig");
    let exam = lab
        .exam_draw(&ExamRequest {
            track: args.track,
            tasks: args.tasks.map(usize::from),
            minutes: args.minutes,
            variant: args.variant,
            blueprint: args.blueprint.map(|path| environment::absolute(&path)),
            provider: args.provider.as_deref().map(Choice::parse),
            usual_provider: usual.as_deref().map_or(Choice::Auto, Choice::parse),
            node_image: cx.config.node_image.clone(),
            open_book: args.open_book,
        })
        .await?;
    let plan = exam.plan();
    if args.plan {
        cx.show(&plan, || text::plan(&plan, cx.ui.columns()))?;
        return Ok(Exit::Passed);
    }
    if plan.clusters < plan.tasks.len() && cx.is_text() {
        cx.ui.note(&text::clusters(&plan));
    }
    let ready = lab.exam_prepare(exam).await?;
    let id = ready.session.to_string();
    if cx.is_text() && cx.ui.interactive() && !args.yes {
        let rules = lab.exam_rules(Some(&id))?;
        cx.ui.note(&format!("Everything is ready.\n\n{}", cx.ui.markdown(&text::rules(&rules))));
        let begun = cx.confirm("Start the clock?", false);
        if begun.is_err() {
            lab.stop(Some(&id), false).await?;
        }
        begun?;
    }
    let started = lab.exam_begin(Some(&id))?;
    keep_time(cx, lab, &started.session)?;
    cx.show(&started, || text::started(&started, cx.ui.width()))?;
    if cx.is_text() {
        cx.ui.note("");
        cx.ui.next(&[
            ("cks-lab exam", "all of it on one screen; or:"),
            ("cks-lab exam task 1", "the first task, with the host to go to"),
            ("cks-lab ssh <host>", "a shell there; `exit` leads back"),
            ("cks-lab exam next", "the next task"),
            ("cks-lab exam status", "what is left to do, and the time"),
            ("cks-lab exam submit", "grade for good"),
        ]);
    }
    Ok(Exit::Passed)
}

fn status(cx: &Cx, lab: &Lab, view: ExamStatus) -> Result<Exit, CliError> {
    keep(cx, lab, &view.session, view.state)?;
    cx.show(&view, || text::status(&view, cx.ui.width()))?;
    Ok(Exit::Passed)
}

fn task(cx: &Cx, lab: &Lab, view: ExamTaskView) -> Result<Exit, CliError> {
    keep_time(cx, lab, &view.session)?;
    cx.show(&view, || text::task(&view, &cx.ui.markdown(&text::task_text(&view))))?;
    Ok(Exit::Passed)
}

async fn submit(cx: &Cx, lab: &Lab, args: &SubmitArgs) -> Result<Exit, CliError> {
    let status = lab.exam_status(args.session.get()).await?;
    if status.state == TaskState::Running {
        let open = status.tasks.iter().filter(|task| !task.visited).count();
        let question = match open {
            0 => "Submit the exam for good?".to_owned(),
            open => {
                format!("Submit the exam for good? {open} of {} tasks were not visited.", status.tasks.len())
            }
        };
        cx.confirm(&question, args.yes || !cx.ui.interactive())?;
    }
    let result = lab.exam_submit(Some(status.session.as_str()), args.force).await?;
    cx.show(&result, || text::result(&result, cx.ui.width()))?;
    if cx.is_text() {
        cx.ui.note("");
        cx.ui.next(&[
            ("cks-lab exam review 1", "the checks of a task: expected, found, why, what to read"),
            ("cks-lab ssh <host>", "the clusters are still there"),
            ("cks-lab exam abort", "remove them"),
        ]);
    }
    Ok(if result.passed { Exit::Passed } else { Exit::Failed })
}

async fn abort(cx: &Cx, lab: &Lab, args: &AbortArgs) -> Result<Exit, CliError> {
    let status = lab.exam_status(args.session.get()).await?;
    if status.state == TaskState::Running {
        cx.confirm("End the exam without a grade?", args.yes)?;
    }
    let removed = lab.stop(Some(status.session.as_str()), false).await?;
    cx.show(&removed, || format!("ended {}\n", status.session))?;
    Ok(Exit::Passed)
}

async fn review(cx: &Cx, lab: &Lab, args: &NumberArgs) -> Result<Exit, CliError> {
    let result: ExamResult = lab.exam_review(args.session.get()).await?;
    let Some(number) = args.number else {
        cx.show(&result, || text::result(&result, cx.ui.width()))?;
        return Ok(Exit::Passed);
    };
    let report = lab.report(Some(result.session.as_str()))?;
    let Some(task) = number.checked_sub(1).and_then(|index| report.tasks.get(index)) else {
        return Err(CliError::usage(format!("the exam has tasks 1 to {}", report.tasks.len())));
    };
    cx.show(task, || crate::report::text::reported(task, cx.ui.width()))?;
    Ok(Exit::Passed)
}

fn keep(cx: &Cx, lab: &Lab, session: &SessionId, state: TaskState) -> Result<(), CliError> {
    match state {
        TaskState::Running => keep_time(cx, lab, session),
        _ => Ok(()),
    }
}

/// Makes sure that somebody ends the exam when its time is up, even when no command is typed any more.
pub(super) fn keep_time(cx: &Cx, lab: &Lab, session: &SessionId) -> Result<(), CliError> {
    if lab.is_kept(session)? {
        return Ok(());
    }
    let log = lab.sessions().dir(session).join("clock.log");
    HostCommand::new(&cx.environment.program)
        .args(["exam", "clock", session.as_str()])
        .spawn_detached(&log)
        .map_err(LabError::from)?;
    Ok(())
}
