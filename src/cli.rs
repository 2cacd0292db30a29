//! The command line: arguments, one line of dispatch a command, and the one place where errors are shown.
//! Commands lie in `cli/<command>.rs`; they ask the lab and hand what it returns to the terminal.

mod author;
mod check;
mod clean;
mod complete;
mod completions;
mod cp;
mod curriculum;
mod doctor;
mod env;
mod environment;
mod error;
mod exam;
pub mod exit;
mod hint;
mod history;
mod inside;
mod list;
mod man;
mod next;
mod overview;
mod practise;
mod progress;
mod prompt;
pub mod reference;
mod report;
mod reset;
mod shell;
mod show;
mod sim_server;
mod solution;
mod ssh;
mod start;
mod status;
mod stop;
mod submit;
mod task;
mod tool;
mod tour;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser, Subcommand};
use serde::Serialize;

use crate::clock::SystemClock;
use crate::cluster::registry::{self, Registry};
use crate::config::Config;
use crate::lab::event::Observer;
use crate::lab::interrupt::{Interrupt, Trigger, interrupt};
use crate::lab::{Lab, Setup};
use crate::ui::{Format, Settings, Ui};

use environment::Environment;
use error::CliError;
use exit::Exit;

/// Practise for the Certified Kubernetes Security Specialist exam: start a scenario, fix it, have it checked.
#[derive(Debug, Parser)]
#[command(name = "cks-lab", version, max_term_width = 100)]
pub struct Args {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
struct Global {
    /// How data is written to stdout
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    output: Format,
    /// Write only data, warnings and errors
    #[arg(short, long, global = true)]
    quiet: bool,
    /// Write without colour
    #[arg(long, global = true)]
    no_color: bool,
    /// Take scenarios from a folder instead of those that are built in
    #[arg(long, global = true, value_name = "DIR", env = "CKS_LAB_SCENARIOS")]
    scenarios: Option<PathBuf>,
}

/// Which session is meant.
#[derive(Debug, Clone, clap::Args)]
struct SessionArg {
    /// The session, by its name or a part of it that only one has; the last one where it is left out
    #[arg(short, long, value_name = "SESSION", env = "CKS_LAB_SESSION", add = complete::sessions())]
    session: Option<String>,
}

impl SessionArg {
    fn get(&self) -> Option<&str> {
        self.session.as_deref().filter(|session| !session.is_empty())
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
enum Command {
    /// List the scenarios by domain, with my best score
    List(list::ListArgs),
    /// Show what a scenario trains, what it needs and what to read
    Show(show::ShowArgs),
    /// Start a scenario: cluster up, seeded, task on the screen, clock running
    Start(start::StartArgs),
    /// Open a shell to work on the task
    Shell(shell::ShellArgs),
    /// Print the variables that a shell needs: eval "$(cks-lab env)"
    Env(env::EnvArgs),
    /// Judge the work as it stands: what was expected, what was found, why it matters, what to read
    Check(check::CheckArgs),
    /// Give the next hint
    Hint(hint::HintArgs),
    /// Show the task again
    Task(task::TaskArgs),
    /// Show what is running and how much time is left
    Status(status::StatusArgs),
    /// Start the task over with the same names and values; the clock goes on
    Reset(reset::ResetArgs),
    /// Show the solution, or run it
    Solution(solution::SolutionArgs),
    /// Grade for good, keep the report, remove the cluster
    Submit(submit::SubmitArgs),
    /// End a session without a grade
    Stop(stop::StopArgs),
    /// Remove what ended sessions and interrupted commands have left
    Clean(clean::CleanArgs),
    /// Look at what works on this machine
    Doctor(doctor::DoctorArgs),
    /// Show the curriculum: domains, weights, topics, study links, scenarios
    Curriculum(curriculum::CurriculumArgs),
    /// Show the report of a session that was submitted
    Report(report::ReportArgs),
    /// Show attempts over time, what is mastered, how ready that is for the exam
    Progress(progress::ProgressArgs),
    /// Start what is most worth practising now
    Next(next::NextArgs),
    /// Practise several scenarios one after the other
    Practise(practise::PractiseArgs),
    /// Carry the history of attempts from one machine to another
    #[command(subcommand)]
    History(history::HistoryCommand),
    /// Sit a mock exam: many tasks, one clock, verdicts at the end
    Exam(exam::ExamArgs),
    /// Go to a node of the cluster, or to the host of a task of the exam
    Ssh(ssh::SshArgs),
    /// Copy a file to a node or from one
    Cp(cp::CpArgs),
    /// Show what there is to know in a minute
    Tour(tour::TourArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Write the manual pages
    Man(man::ManArgs),
    /// Write, lint and prove scenarios
    #[command(subcommand)]
    Author(author::AuthorCommand),
    /// Serve simulated clusters; started by other commands
    #[command(hide = true)]
    SimServer(sim_server::SimServerArgs),
    /// Print the task and the time left for a shell's prompt
    #[command(hide = true)]
    Prompt(prompt::PromptArgs),
}

/// What commands work with.
pub(crate) struct Cx {
    ui: Arc<Ui>,
    environment: Environment,
    config: Config,
    scenarios: Option<PathBuf>,
    interrupt: Interrupt,
}

impl Cx {
    fn lab(&self) -> Lab {
        self.lab_for(self.ui.clone())
    }

    /// Makes a lab that tells somebody else than the terminal.
    fn lab_for(&self, observer: Arc<dyn Observer>) -> Lab {
        Lab::new(Setup {
            state: self.environment.state.clone(),
            scenarios: self.scenarios.clone(),
            registry: self.registry(),
            clock: Arc::new(SystemClock),
            observer,
            interrupt: self.interrupt.clone(),
        })
    }

    fn registry(&self) -> Registry {
        Registry::standard(&registry::Places {
            state: self.environment.state.clone(),
            program: self.environment.program.clone(),
            path: self.environment.path.clone(),
        })
    }

    /// Writes data: as JSON, or as the text that `text` makes of it.
    fn show<T: Serialize>(&self, data: &T, text: impl FnOnce() -> String) -> Result<(), CliError> {
        let written = match self.ui.format() {
            Format::Json => crate::report::json::render(data)?,
            Format::Text => text(),
        };
        Ok(self.ui.data(&written)?)
    }

    fn is_text(&self) -> bool {
        self.ui.format() == Format::Text
    }

    /// Asks, unless `yes` answers already.
    fn confirm(&self, question: &str, yes: bool) -> Result<(), CliError> {
        if yes {
            return Ok(());
        }
        match self.ui.confirm(question)? {
            Some(true) => Ok(()),
            Some(false) => Err(CliError::usage("it was not agreed to, so nothing was done")),
            None => Err(CliError::usage(question).hint("nobody is there to answer; `--yes` agrees")),
        }
    }
}

/// Runs a command line.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(exit) = inside::run(&args) {
        return exit;
    }
    match complete::answer(&args) {
        Ok(true) => return Exit::Passed.into(),
        Ok(false) => {}
        Err(error) => {
            let _ = error.print();
            return Exit::Usage.into();
        }
    }
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => {
            // Help and version come this way too, and go to stdout.
            let wrong = error.use_stderr();
            let written = error.print();
            return if wrong { Exit::Usage } else { printed(written) }.into();
        }
    };
    let environment = match Environment::read() {
        Ok(environment) => environment,
        Err(error) => {
            let ui = Ui::new(Settings { quiet: args.global.quiet, ..Settings::default() });
            error.print(&ui);
            return error.exit.into();
        }
    };
    let ui = Arc::new(Ui::new(Settings {
        format: args.global.output,
        quiet: args.global.quiet,
        colour: environment.colour && !args.global.no_color,
        dumb: environment.dumb,
        width: environment.columns,
    }));
    let exit = match execute(args, environment, &ui) {
        Ok(exit) => exit,
        Err(error) if is_closed_pipe(&error) => Exit::Passed,
        Err(error) => {
            error.print(&ui);
            error.exit
        }
    };
    ui.settle();
    exit.into()
}

fn execute(args: Args, environment: Environment, ui: &Arc<Ui>) -> Result<Exit, CliError> {
    let config = Config::load(&environment.config)?;
    let scenarios = args.global.scenarios.or_else(|| config.scenarios.clone());
    let scenarios = scenarios.map(|folder| environment::absolute(&folder));
    let (trigger, interrupt) = interrupt();
    let cx = Cx { ui: ui.clone(), environment, config, scenarios, interrupt };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(async {
        tokio::select! {
            exit = dispatch(&cx, args.command) => exit,
            () = signals(&trigger) => Err(CliError::new(Exit::Interrupted, "it was interrupted twice")
                .hint("`cks-lab clean` removes what is left")),
        }
    });
    // A task that hangs must not keep the command from ending.
    runtime.shutdown_background();
    exit
}

async fn dispatch(cx: &Cx, command: Option<Command>) -> Result<Exit, CliError> {
    match command {
        None => overview::run(cx),
        Some(Command::List(args)) => list::run(cx, &args),
        Some(Command::Show(args)) => show::run(cx, &args),
        Some(Command::Start(args)) => start::run(cx, args).await,
        Some(Command::Shell(args)) => shell::run(cx, &args).await,
        Some(Command::Env(args)) => env::run(cx, &args).await,
        Some(Command::Check(args)) => check::run(cx, &args).await,
        Some(Command::Hint(args)) => hint::run(cx, &args),
        Some(Command::Task(args)) => task::run(cx, &args),
        Some(Command::Status(args)) => status::run(cx, &args),
        Some(Command::Reset(args)) => reset::run(cx, &args).await,
        Some(Command::Solution(args)) => solution::run(cx, &args).await,
        Some(Command::Submit(args)) => submit::run(cx, &args).await,
        Some(Command::Stop(args)) => stop::run(cx, &args).await,
        Some(Command::Clean(args)) => clean::run(cx, &args).await,
        Some(Command::Doctor(args)) => doctor::run(cx, &args).await,
        Some(Command::Curriculum(args)) => curriculum::run(cx, &args),
        Some(Command::Report(args)) => report::run(cx, &args),
        Some(Command::Progress(args)) => progress::run(cx, &args),
        Some(Command::Next(args)) => next::run(cx, &args).await,
        Some(Command::Practise(args)) => practise::run(cx, &args).await,
        Some(Command::History(command)) => history::run(cx, &command).await,
        Some(Command::Exam(args)) => exam::run(cx, args.command).await,
        Some(Command::Ssh(args)) => ssh::run(cx, &args).await,
        Some(Command::Cp(args)) => cp::run(cx, &args).await,
        Some(Command::Tour(_)) => tour::run(cx),
        Some(Command::Completions(args)) => completions::run(cx, &args),
        Some(Command::Man(args)) => man::run(cx, &args),
        Some(Command::Author(command)) => author::run(cx, &command).await,
        Some(Command::SimServer(args)) => sim_server::run(cx, &args).await,
        Some(Command::Prompt(args)) => prompt::run(cx, &args),
    }
}

/// Passes the first signal on, so that the command cleans up; ends with the second.
async fn signals(trigger: &Trigger) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupts), Ok(mut terminations)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the system's own behaviour stays, which is to end.
        return std::future::pending().await;
    };
    for _ in 0..2 {
        tokio::select! {
            _ = interrupts.recv() => {}
            _ = terminations.recv() => {}
        }
        trigger.pull();
    }
}

fn printed(written: std::io::Result<()>) -> Exit {
    match written {
        Ok(()) => Exit::Passed,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Passed,
        Err(_) => Exit::Internal,
    }
}

/// A reader that has seen enough, such as `head`, is no error.
fn is_closed_pipe(error: &CliError) -> bool {
    let output = error.source.downcast_ref::<error::OutputError>();
    output.is_some_and(|output| output.0.kind() == std::io::ErrorKind::BrokenPipe)
}

/// Returns the command line's own description, for the reference and completions.
pub(crate) fn command() -> clap::Command {
    Args::command()
}
