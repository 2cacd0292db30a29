//! How an exam is graded: all tasks side by side, then the score by weight, the report and the history.

use std::path::PathBuf;
use std::time::Duration;

use super::view::ExamResult;
use super::{Lab, LabError};
use crate::curriculum::Curriculum;
use crate::exam::score::{Graded, score};
use crate::grade;
use crate::lab::event::Event;
use crate::persist;
use crate::report::{ExamReport, ExamTaskReport, OutcomeName, Report, ReportedTask, TaskReport};
use crate::scenario::Scenario;
use crate::session::store::Locked;
use crate::session::{Session, SessionId};
use crate::verify;

/// An exam that is graded so soon after its end was not late: nobody could have done more in that time.
const PROMPT: Duration = Duration::from_secs(30);

impl Lab {
    /// Grades an exam for good and keeps the report; its clusters stay to be looked at.
    pub(super) async fn finish(&self, locked: &mut Locked, force: bool) -> Result<ExamResult, LabError> {
        self.tell(Event::Stage { text: "grading".to_owned() });
        let mut ended = locked.session.clone();
        ended.submit(&self.clock.moment())?;
        let tasks = self.grade_all(&ended).await?;
        let undecided: usize =
            tasks.iter().map(|task| task.result.with(OutcomeName::CannotJudge).count()).sum();
        if undecided > 0 && !force {
            return Err(LabError::Undecided { count: undecided });
        }
        let exam = exam_report(&ended, &tasks)?;
        let mut report = Report::new(&ended, self.clock.now(), tasks);
        report.passed = exam.result.passed;
        report.overtime_seconds = report.overtime_seconds.filter(|over| *over > PROMPT.as_secs());
        // Report and history come before the state: what is cut short in between is graded again and not lost.
        report.exam = Some(exam);
        self.keep(report).await?;
        locked.session = ended;
        locked.save()?;
        self.exam_result(&locked.session.id)
    }

    pub(super) fn exam_result(&self, id: &SessionId) -> Result<ExamResult, LabError> {
        let path: PathBuf = self.report_path(id);
        let report: Option<Report> = persist::load(&path)?;
        let result = report.and_then(|report| ExamResult::new(&report, path));
        result.ok_or_else(|| LabError::NoReport { session: id.clone() })
    }

    async fn grade_all(&self, session: &Session) -> Result<Vec<ReportedTask>, LabError> {
        let each = (0..session.tasks.len()).map(|index| async move {
            let scenario = self.scenario_of(session, index)?;
            let mut result = match self.grade(session, index, &scenario).await {
                Ok((result, _)) => result,
                // One cluster that is gone keeps nobody from being graded on the others.
                Err(error @ (LabError::Provider(_) | LabError::NoCluster { .. })) => {
                    self.warn(format!("task {} cannot be judged: {error}", index + 1));
                    unreached(session, index, &scenario, &error)?
                }
                Err(error) => return Err(error),
            };
            if let Some(desk) = session.sitting()?.desks.get(index) {
                result.elapsed_seconds = desk.spent.as_secs();
            }
            Ok::<_, LabError>(ReportedTask::new(session.task(index)?, &scenario, result))
        });
        futures::future::try_join_all(each).await
    }
}

/// The report of a task whose cluster cannot be reached.
fn unreached(
    session: &Session,
    index: usize,
    scenario: &Scenario,
    error: &LabError,
) -> Result<TaskReport, LabError> {
    let outcomes = verify::unanswered(&scenario.checks, &error.to_string());
    let score = grade::grade(&scenario.checks, &outcomes);
    let simulated = vec![false; outcomes.len()];
    Ok(TaskReport::new(session, session.task(index)?, scenario, &outcomes, &simulated, &score))
}

fn exam_report(session: &Session, tasks: &[ReportedTask]) -> Result<ExamReport, LabError> {
    let sitting = session.sitting()?;
    let graded: Vec<Graded> = sitting
        .desks
        .iter()
        .zip(tasks)
        .map(|(desk, task)| Graded {
            domain: desk.domain.clone(),
            weight: desk.weight,
            awarded: task.result.score,
            max: task.result.max,
            undecided: undecided(&task.result),
        })
        .collect();
    let curriculum = Curriculum::builtin();
    let track = curriculum.track(&sitting.track).unwrap_or_else(|| curriculum.newest());
    let domains = track.domains.iter();
    let domains: Vec<_> =
        domains.map(|domain| (domain.id.to_string(), domain.title.clone(), domain.weight)).collect();
    let each = sitting.desks.iter().zip(&graded).map(|(desk, graded)| ExamTaskReport {
        host: desk.host.clone(),
        domain: desk.domain.clone(),
        weight: desk.weight,
        score: score(std::slice::from_ref(graded), &[], 0).score,
        spent_seconds: desk.spent.as_secs(),
        note: desk.note.clone(),
    });
    Ok(ExamReport {
        track: sitting.track.clone(),
        variant: sitting.variant,
        tasks: each.collect(),
        result: score(&graded, &domains, sitting.pass_mark),
    })
}

/// The points that hang on checks which could not be judged. A gate that could not be judged may cost everything.
fn undecided(result: &TaskReport) -> u32 {
    let open = || result.with(OutcomeName::CannotJudge);
    match open().any(|check| check.gate) {
        true => result.max,
        false => open().map(|check| check.points).sum(),
    }
}
