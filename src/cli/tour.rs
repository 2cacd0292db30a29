//! `cks-lab tour`: what there is to know in a minute; a bare `cks-lab` shows it to whoever has done nothing yet.

use super::Cx;
use super::error::CliError;
use super::exit::Exit;

/// The tour, as Markdown.
const TOUR: &str = indoc::indoc! {"
    # cks-lab in a minute

    Practise for the CKS on clusters that are yours to break. No Docker is needed: the simulated cluster is up in a
    second, and your own `kubectl` talks to it.

    1. **Pick a task.** `cks-lab next` starts what is most worth practising; `cks-lab list` shows all of it, and
       `cks-lab start <scenario>` starts one of your choice. The task appears and its clock runs.
    2. **Work.** `cks-lab shell` opens a shell in which kubectl is set up. Fix what the task asks for, in any way.
    3. **See how it stands.** `cks-lab check` says what was expected, what was found, why it matters and what to read;
       `cks-lab check --watch` does so after each change. Stuck? `cks-lab hint`, then `cks-lab solution`.
    4. **Finish.** `cks-lab submit` grades for good, keeps a report and removes the cluster. `cks-lab progress` shows
       what you master, and how ready that is for the exam.
    5. **Sit an exam.** `cks-lab exam start` draws tasks by the weights of the real one: two hours, no hints,
       verdicts at the end.

    Your own kubeconfig and clusters are never touched, and nothing leaves this machine. `cks-lab doctor` says what
    works here, `cks-lab --help` lists all commands.
"};

/// Show what there is to know in a minute
#[derive(Debug, clap::Args)]
pub(super) struct TourArgs {}

pub(super) fn run(cx: &Cx) -> Result<Exit, CliError> {
    cx.ui.data(&cx.ui.markdown(TOUR))?;
    Ok(Exit::Passed)
}

/// Shows it as a remark to whoever has done nothing yet.
pub(super) fn welcome(cx: &Cx) {
    cx.ui.note(&cx.ui.markdown(TOUR));
}
