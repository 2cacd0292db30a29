//! `cks-lab check`

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, SessionArg, status};
use crate::lab::error::LabError;
use crate::lab::watch::Judged;
use crate::layout::{self, FAINT, STRONG, paint};
use crate::report::{OutcomeName, TaskReport, text};
use crate::session::Session;

/// Judge the work as it stands
#[derive(Debug, clap::Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    session: SessionArg,
    /// Go on: judge anew each time something changed in the cluster or in the task folder; a line of JSON each with
    /// `--output json`
    #[arg(short, long)]
    watch: bool,
}

pub(super) async fn run(cx: &Cx, args: &CheckArgs) -> Result<Exit, CliError> {
    if args.watch {
        return watch(cx, args).await;
    }
    let (report, session) = cx.lab().check(args.session.get()).await?;
    cx.show(&report, || text::task(&report, cx.ui.width()))?;
    if cx.is_text() {
        cx.ui.note(&status::time(&session));
        let next: &[(&str, &str)] = match report.passed {
            true => &[("cks-lab submit", "grade for good, keep the report, remove the cluster")],
            false => &[("cks-lab hint", "a nudge"), ("cks-lab task", "read it again")],
        };
        cx.ui.next(next);
    }
    Ok(exit(&report, &session))
}

/// Judges anew each time something changed, until the session ends or somebody interrupts, which is no failure then.
async fn watch(cx: &Cx, args: &CheckArgs) -> Result<Exit, CliError> {
    let lab = cx.lab();
    let mut watch = lab.watch(args.session.get())?;
    let mut last = None;
    loop {
        let (judged, session) = match (watch.next().await, last) {
            (Ok(Some(judged)), _) => judged,
            (Ok(None), last) => {
                cx.ui.note("The session has ended.");
                return Ok(last.unwrap_or(Exit::Passed));
            }
            (Err(LabError::Interrupted), Some(last)) => return Ok(last),
            (Err(error), _) => return Err(error.into()),
        };
        match cx.is_text() {
            true => cx.ui.data(&judgement(&judged, cx.ui.width()))?,
            false => cx.ui.data(&format!("{}\n", serde_json::to_string(&judged)?))?,
        }
        if cx.is_text() {
            cx.ui.note(&status::time(&session));
            match (judged.report.passed, judged.number) {
                (true, _) => cx.ui.next(&[("cks-lab submit", "in another terminal: grade for good")]),
                (false, 1) => {
                    cx.ui.note(&paint(FAINT, "Judged again when something changes; Ctrl-C ends it."))
                }
                (false, _) => {}
            }
        }
        last = Some(exit(&judged.report, &session));
    }
}

fn judgement(judged: &Judged, width: usize) -> String {
    if judged.number == 1 {
        return text::task(&judged.report, width);
    }
    let changed = match judged.changed.as_slice() {
        [] => "something on a node changed".to_owned(),
        some => some.join(", "),
    };
    let head =
        layout::wrap(&changed, width, &format!("\n{} ", paint(STRONG, format!("{}.", judged.number))), "   ");
    let body = text::changes(&judged.report, &judged.newly_passed, &judged.newly_lost, width);
    format!("{head}\n{body}")
}

/// Returns what a grading exits with: lateness before failure, failure before what could not be judged.
pub(super) fn exit(report: &TaskReport, session: &Session) -> Exit {
    let some = |outcome| report.with(outcome).next().is_some();
    match () {
        () if session.timer.is_up() => Exit::TimeUp,
        () if report.passed => Exit::Passed,
        () if !some(OutcomeName::Fail) && some(OutcomeName::CannotJudge) => Exit::Unavailable,
        () => Exit::Failed,
    }
}
