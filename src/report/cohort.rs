//! Many reports as one table: who reached what, by domain, and what was missed most. A report whose seal does not fit
//! is in the table, marked, and counts in no figure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tera::Context;

use super::file::{Page, Read};
use super::html::{self, AFFILIATION, Bar, HtmlError};
use super::seal::{self, Sealing};
use super::{OutcomeName, Report};
use crate::curriculum::Curriculum;
use crate::layout::{clock_time, count};
use crate::session::{Mode, SessionId};

const TEMPLATE: &str = include_str!("../../templates/report/cohort.html");
/// How many of the checks that were missed a page names; JSON has them all.
const MOST_CHECKS: usize = 20;

/// The table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cohort {
    /// How many reports count in the figures: those that are sealed and there once.
    pub counted: usize,
    /// How many of those were passed.
    pub passed: usize,
    /// Their mean score in percent; none where none counts.
    pub mean: Option<f64>,
    /// Their median score in percent.
    pub median: Option<f64>,
    /// Their mean by domain, in the curriculum's order.
    pub domains: Vec<CohortDomain>,
    /// The reports, in the order in which they were given.
    pub rows: Vec<CohortRow>,
    /// The checks that were missed, most often first.
    pub checks: Vec<CohortCheck>,
}

/// A domain in the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CohortDomain {
    /// Its id.
    pub id: String,
    /// How many reports have something of it.
    pub reports: usize,
    /// Their mean in percent.
    pub mean: f64,
}

/// A report in the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CohortRow {
    /// What it is called: its file.
    pub name: String,
    /// The session.
    pub session: SessionId,
    /// What the session was for.
    pub mode: Mode,
    /// The scenario, or the exam's track.
    pub of: String,
    /// The variant's number.
    pub variant: u32,
    /// When it was submitted.
    #[schemars(with = "String")]
    pub submitted: Timestamp,
    /// Percent that were earned.
    pub score: f64,
    /// Whether it was passed, in time.
    pub passed: bool,
    /// Whether it was submitted after the time was up.
    pub late: bool,
    /// The seconds on its clock.
    pub elapsed_seconds: u64,
    /// How many hints were given.
    pub hints: usize,
    /// How many checks could not be judged.
    pub undecided: usize,
    /// How many checks were skipped.
    pub skipped: usize,
    /// What its seal says.
    pub seal: Sealing,
    /// Whether a page around it shows something else than the report in it.
    pub page_edited: bool,
    /// The report before it that counts and is of the same session.
    pub same_as: Option<String>,
    /// Whether it counts in the figures.
    pub counted: bool,
    /// Percent by domain.
    pub domains: BTreeMap<String, f64>,
}

/// A check in the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CohortCheck {
    /// The scenario.
    pub scenario: String,
    /// Its id.
    pub check: String,
    /// What must hold.
    pub title: String,
    /// How often it was judged.
    pub judged: usize,
    /// How often it failed.
    pub failed: usize,
}

/// Puts reports together. Each comes with what it is called.
pub fn merge(reports: &[(String, Read)]) -> Cohort {
    let mut rows: Vec<CohortRow> = Vec::new();
    for (name, read) in reports {
        let same = |row: &&CohortRow| {
            row.counted && row.session == read.report.session && row.submitted == read.report.submitted
        };
        let same_as = rows.iter().find(same).map(|row| row.name.clone());
        let counted = read.counts() && same_as.is_none();
        rows.push(row(name, read, same_as, counted));
    }
    let counted = || rows.iter().filter(|row| row.counted);
    let scores: Vec<f64> = counted().map(|row| row.score).collect();
    let of = reports.iter().zip(&rows).filter(|(_, row)| row.counted).map(|((_, read), _)| &read.report);
    Cohort {
        counted: scores.len(),
        passed: counted().filter(|row| row.passed).count(),
        mean: mean(&scores),
        median: median(&scores),
        domains: domains(&rows),
        checks: checks(of),
        rows,
    }
}

fn row(name: &str, read: &Read, same_as: Option<String>, counted: bool) -> CohortRow {
    let report = &read.report;
    let (of, variant) = match (&report.exam, report.tasks.as_slice()) {
        (Some(exam), _) => (format!("exam {}", exam.track), exam.variant),
        (None, [task, ..]) => (task.result.scenario.clone(), task.result.variant),
        (None, []) => (String::new(), 0),
    };
    CohortRow {
        name: name.to_owned(),
        session: report.session.clone(),
        mode: report.mode,
        of,
        variant,
        submitted: report.submitted,
        score: report.percent(),
        passed: report.passed,
        late: report.overtime_seconds.is_some(),
        elapsed_seconds: report.elapsed_seconds,
        hints: report.tasks.iter().map(|task| task.hints).sum(),
        undecided: report.with(OutcomeName::CannotJudge).count(),
        skipped: report.with(OutcomeName::Skipped).count(),
        seal: read.sealing,
        page_edited: read.page == Some(Page::Edited),
        same_as,
        counted,
        domains: of_domains(report),
    }
}

fn of_domains(report: &Report) -> BTreeMap<String, f64> {
    if let Some(exam) = &report.exam {
        let sat = exam.result.domains.iter().filter(|domain| domain.tasks > 0);
        return sat.map(|domain| (domain.id.clone(), domain.score)).collect();
    }
    let mut sums: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for task in &report.tasks {
        let sum = sums.entry(task.domain.clone()).or_default();
        *sum = (sum.0 + task.result.score, sum.1 + task.result.max);
    }
    sums.into_iter().map(|(domain, (score, max))| (domain, super::percent(score, max))).collect()
}

fn domains(rows: &[CohortRow]) -> Vec<CohortDomain> {
    let curriculum = Curriculum::builtin().newest().domains.iter().map(|domain| domain.id.to_string());
    let one = |id: String| {
        let scores: Vec<f64> =
            rows.iter().filter(|row| row.counted).filter_map(|row| row.domains.get(&id).copied()).collect();
        mean(&scores).map(|mean| CohortDomain { id, reports: scores.len(), mean })
    };
    curriculum.filter_map(one).collect()
}

fn checks<'a>(reports: impl Iterator<Item = &'a Report>) -> Vec<CohortCheck> {
    let mut all: BTreeMap<(&str, &str), CohortCheck> = BTreeMap::new();
    for task in reports.flat_map(|report| &report.tasks) {
        for check in &task.result.checks {
            let failed = match check.outcome {
                OutcomeName::Pass => 0,
                OutcomeName::Fail => 1,
                OutcomeName::CannotJudge | OutcomeName::Skipped => continue,
            };
            let known = all.entry((&task.result.scenario, &check.id)).or_insert_with(|| CohortCheck {
                scenario: task.result.scenario.clone(),
                check: check.id.clone(),
                title: check.title.clone(),
                judged: 0,
                failed: 0,
            });
            known.judged += 1;
            known.failed += failed;
        }
    }
    let mut checks: Vec<CohortCheck> = all.into_values().filter(|check| check.failed > 0).collect();
    // Shares are compared by cross-multiplication; among equals the one that more people met comes first.
    checks.sort_by(|a, b| (b.failed * a.judged).cmp(&(a.failed * b.judged)).then(b.judged.cmp(&a.judged)));
    checks
}

fn mean(scores: &[f64]) -> Option<f64> {
    let sum: f64 = scores.iter().sum();
    (!scores.is_empty()).then(|| rounded(sum / scores.len() as f64))
}

fn median(scores: &[f64]) -> Option<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    Some(match sorted.len() % 2 {
        1 => upper,
        _ => rounded(f64::midpoint(sorted[sorted.len() / 2 - 1], upper)),
    })
}

fn rounded(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}

impl CohortRow {
    /// Says of the seal what a reader must know.
    pub fn seal_words(&self) -> String {
        match (self.seal, self.page_edited, &self.same_as) {
            (Sealing::Sealed, true, _) => "the page was edited".to_owned(),
            (Sealing::Sealed, false, Some(other)) => format!("the same session as {other}"),
            (seal, ..) => seal.words().to_owned(),
        }
    }

    fn result(&self) -> &'static str {
        match (self.passed, self.late) {
            (true, _) => "passed",
            (false, true) => "late",
            (false, false) => "not passed",
        }
    }
}

/// Writes the table as CSV, a column a domain at the end.
///
/// # Errors
/// The writer's.
pub fn csv(cohort: &Cohort) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let head = "report,session,mode,of,variant,submitted,score,passed,late,seconds,hints,cannotJudge,skipped,seal,counted";
    let ids: Vec<String> =
        Curriculum::builtin().newest().domains.iter().map(|domain| domain.id.to_string()).collect();
    writer.write_record(head.split(',').chain(ids.iter().map(String::as_str)))?;
    for row in &cohort.rows {
        let mode = match row.mode {
            Mode::Practice => "practice",
            Mode::Exam => "exam",
        };
        let mut cells = vec![
            harmless(&row.name),
            row.session.to_string(),
            mode.to_owned(),
            harmless(&row.of),
            row.variant.to_string(),
            row.submitted.to_string(),
            row.score.to_string(),
            row.passed.to_string(),
            row.late.to_string(),
            row.elapsed_seconds.to_string(),
            row.hints.to_string(),
            row.undecided.to_string(),
            row.skipped.to_string(),
            harmless(&row.seal_words()),
            row.counted.to_string(),
        ];
        cells.extend(ids.iter().map(|id| row.domains.get(id).map_or(String::new(), f64::to_string)));
        writer.write_record(cells)?;
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Keeps a spreadsheet from taking a text for a formula.
fn harmless(text: &str) -> String {
    match text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        true => format!("'{text}"),
        false => text.to_owned(),
    }
}

#[derive(Serialize)]
struct RowCells {
    name: String,
    score: String,
    class: &'static str,
    result: &'static str,
    of: String,
    submitted: String,
    time: String,
    hints: usize,
    undecided: usize,
    skipped: usize,
    seal: String,
    seal_class: &'static str,
}

#[derive(Serialize)]
struct CheckCells<'a> {
    title: String,
    scenario: &'a str,
    failed: usize,
    judged: usize,
}

/// Writes the table as a page.
///
/// # Errors
/// [`HtmlError`], which no table of this program brings about.
pub fn html(cohort: &Cohort) -> Result<String, HtmlError> {
    let mut context = Context::new();
    context.insert("css", html::style());
    context.insert("heading", &count(cohort.rows.len(), "report", "reports"));
    context.insert("mean", &cohort.mean.map_or("–".to_owned(), |mean| format!("{mean} %")));
    let median = cohort.median.map_or("–".to_owned(), |median| format!("{median} %"));
    context.insert(
        "summary",
        &format!("on average, median {median}; {} of {} passed", cohort.passed, cohort.counted),
    );
    let left_out = cohort.rows.len() - cohort.counted;
    let note = format!(
        "{} in no figure: the last column says why.",
        count(left_out, "report counts", "reports count")
    );
    context.insert("notes", if left_out > 0 { std::slice::from_ref(&note) } else { &[] });
    let titles = Curriculum::builtin().newest();
    let bars: Vec<Bar> = cohort
        .domains
        .iter()
        .map(|domain| {
            let title = titles.domain(&domain.id.as_str().into()).map_or(&domain.id, |found| &found.title);
            Bar::percent(title, count(domain.reports, "report", "reports"), domain.mean, "")
        })
        .collect();
    context.insert("domains", &bars);
    context.insert("rows", &cohort.rows.iter().map(cells).collect::<Vec<_>>());
    let checks = cohort.checks.iter().take(MOST_CHECKS).map(|check| CheckCells {
        title: html::inline(&check.title),
        scenario: &check.scenario,
        failed: check.failed,
        judged: check.judged,
    });
    context.insert("checks", &checks.collect::<Vec<_>>());
    context.insert("meaning", seal::MEANING);
    context.insert("program", env!("CARGO_PKG_VERSION"));
    context.insert("affiliation", AFFILIATION);
    html::page("cohort.html", TEMPLATE, &context)
}

fn cells(row: &CohortRow) -> RowCells {
    RowCells {
        name: row.name.clone(),
        score: format!("{} %", row.score),
        class: if row.passed { "good" } else { "bad" },
        result: row.result(),
        of: format!("{}, variant {}", row.of, row.variant),
        submitted: row.submitted.strftime("%Y-%m-%d %H:%M").to_string(),
        time: clock_time(Duration::from_secs(row.elapsed_seconds)),
        hints: row.hints,
        undecided: row.undecided,
        skipped: row.skipped,
        seal: row.seal_words(),
        seal_class: if row.counted { "good" } else { "bad" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::file::Form;
    use crate::report::tests::{kept, result};

    fn read(session: &str, score: u32, sealing: Sealing) -> Read {
        let mut report = kept(vec![result()]);
        report.session = SessionId::parse(session).unwrap();
        report.score = score;
        report.tasks[0].result.score = score;
        Read { report, sealing, form: Form::Json, page: None }
    }

    fn merged() -> Cohort {
        merge(&[
            ("=ann.json".to_owned(), read("a-1", 9, Sealing::Sealed)),
            ("<bob>".to_owned(), read("b-1", 3, Sealing::Sealed)),
            ("copy".to_owned(), read("a-1", 9, Sealing::Sealed)),
            ("carl".to_owned(), read("d-1", 9, Sealing::Edited)),
            ("dora".to_owned(), read("d-1", 6, Sealing::Sealed)),
        ])
    }

    #[test]
    fn what_was_edited_or_is_there_twice_counts_in_no_figure() {
        let cohort = merged();
        assert_eq!((cohort.counted, cohort.mean, cohort.median), (3, Some(66.67), Some(66.67)));
        let counted: Vec<bool> = cohort.rows.iter().map(|row| row.counted).collect();
        assert_eq!(counted, [true, true, false, false, true]);
        assert_eq!(cohort.rows[2].seal_words(), "the same session as =ann.json");
        assert_eq!(cohort.rows[3].seal_words(), "edited since it was sealed");
        let [missed] = cohort.checks.as_slice() else { panic!("{:?}", cohort.checks) };
        assert_eq!((missed.check.as_str(), missed.failed, missed.judged), ("nothing-more", 3, 3));
        let [domain] = cohort.domains.as_slice() else { panic!("{:?}", cohort.domains) };
        assert_eq!((domain.id.as_str(), domain.reports, domain.mean), ("cluster-hardening", 3, 66.67));
    }

    #[test]
    fn a_table_of_none_has_no_figures() {
        let none = merge(&[("x".to_owned(), read("x-1", 9, Sealing::Unsealed))]);
        assert_eq!((none.counted, none.mean, none.median), (0, None, None));
        html(&none).unwrap();
    }

    #[test]
    fn no_cell_is_a_formula_and_no_name_is_markup() {
        let table = csv(&merged()).unwrap();
        let mut lines = table.lines();
        assert!(lines.next().unwrap().starts_with("report,session,mode,of,variant,"));
        assert!(
            lines
                .next()
                .unwrap()
                .starts_with("'=ann.json,a-1,practice,shrink-the-releaser,7,2026-09-01T12:02:05Z,100,")
        );
        let page = html(&merged()).unwrap();
        assert!(page.contains("&lt;bob&gt;") && !page.contains("<bob>"));
        assert!(page.contains("2 reports count in no figure"));
    }
}
