//! `cks-lab report`: shows a kept report, verifies the seals of reports, puts many into one table.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::environment::absolute;
use super::error::CliError;
use super::exit::Exit;
use super::{Cx, complete};
use crate::lab::error::LabError;
use crate::layout::{self, BAD, FAINT, GOOD, STRONG, Table, WARN, paint};
use crate::persist::{self, PersistError};
use crate::report::file::{self, Form, Page, Read};
use crate::report::seal::{MEANING, Sealing};
use crate::report::{Report, cohort, html, json, junit, text};
use crate::ui::Format;

/// Show the report of a session that was submitted
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct ReportArgs {
    #[command(subcommand)]
    command: Option<ReportCommand>,
    /// The session; the last one where it is left out
    #[arg(add = complete::sessions())]
    session: Option<String>,
    /// The format; like `--output` where it is left out
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<ReportFormat>,
    /// Show the report in this file, in whichever format it is
    #[arg(long, value_name = "FILE", conflicts_with = "session")]
    from: Option<PathBuf>,
}

#[derive(Debug, clap::Subcommand)]
enum ReportCommand {
    /// Say whether reports were edited since they were made
    Verify(VerifyArgs),
    /// Put the reports of many into one table
    Merge(MergeArgs),
}

/// The formats of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ReportFormat {
    /// For a terminal.
    Text,
    /// For programs; the schema is in the reference.
    Json,
    /// For a browser: one page that needs nothing else.
    Html,
    /// For systems that show test results: JUnit XML.
    Junit,
}

/// Say whether reports were edited
#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// The reports: as JSON or HTML
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Put many reports into one table
#[derive(Debug, clap::Args)]
struct MergeArgs {
    /// The reports: as JSON or HTML
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The format
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<CohortFormat>,
    /// Refuse all when one of them was edited or is not sealed, instead of marking it
    #[arg(long)]
    strict: bool,
}

/// The formats of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CohortFormat {
    /// For spreadsheets.
    Csv,
    /// For a browser.
    Html,
    /// For programs; the schema is in the reference.
    Json,
}

/// What `report verify --output json` gives.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Verified {
    /// Whether every file is known to be as the program wrote it.
    intact: bool,
    /// The files.
    files: Vec<VerifiedFile>,
    /// What a seal shows and what it does not.
    meaning: &'static str,
}

/// A report that was verified.
#[derive(Debug, Serialize, JsonSchema)]
struct VerifiedFile {
    /// The file.
    file: String,
    /// In what form it is.
    form: Form,
    /// What its seal says.
    seal: Sealing,
    /// Whether the page shows what the report in it says; none where there is no page.
    page: Option<Page>,
    /// Whether all of it is known to be as the program wrote it.
    intact: bool,
    /// The digest of its seal.
    digest: Option<String>,
    /// The session.
    session: String,
    /// Percent that were earned, as the file says.
    score: f64,
}

pub(super) fn run(cx: &Cx, args: &ReportArgs) -> Result<Exit, CliError> {
    match &args.command {
        Some(ReportCommand::Verify(args)) => return verify(cx, args),
        Some(ReportCommand::Merge(args)) => return merge(cx, args),
        None => {}
    }
    let report = match &args.from {
        Some(path) => {
            let read = read(path)?;
            if !read.is_intact() {
                cx.ui.warn(&format!("`{}` is {}", path.display(), words(&read)));
            }
            read.report
        }
        None => cx.lab().report(args.session.as_deref())?,
    };
    let format = args.format.unwrap_or(match cx.ui.format() {
        Format::Text => ReportFormat::Text,
        Format::Json => ReportFormat::Json,
    });
    let written = match format {
        ReportFormat::Text => text::report(&harmless(report)?, cx.ui.width()),
        ReportFormat::Json => json::render(&report)?,
        ReportFormat::Html => html::render(&report).map_err(|error| CliError::new(Exit::Internal, error))?,
        ReportFormat::Junit => {
            junit::render(&report).map_err(|error| CliError::new(Exit::Internal, error))?
        }
    };
    cx.ui.data(&written)?;
    Ok(Exit::Passed)
}

/// Takes from a report what would move the cursor or change colours: a terminal obeys whoever wrote the text.
fn harmless(report: Report) -> Result<Report, CliError> {
    let mut value = serde_json::to_value(report)?;
    plain(&mut value);
    Ok(serde_json::from_value(value)?)
}

fn plain(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => {
            text.retain(|letter| !letter.is_control() || matches!(letter, '\n' | '\t'));
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(plain),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(plain),
        _ => {}
    }
}

fn read(path: &Path) -> Result<Read, CliError> {
    let path = absolute(path);
    let bytes = persist::read(&path).map_err(LabError::from)?.ok_or_else(|| {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        CliError::new(Exit::Invalid, PersistError::Io { path: path.clone(), action: "read", source })
    })?;
    file::read(&bytes).map_err(|error| {
        CliError::new(Exit::Invalid, format!("`{}` cannot be used: {error}", path.display()))
            .hint("reports are made by `cks-lab report --format json` and `--format html`")
    })
}

fn words(read: &Read) -> String {
    match read.page {
        Some(Page::Edited) if read.sealing == Sealing::Sealed => {
            "a page that was edited: it shows something else than the sealed report in it".to_owned()
        }
        Some(Page::Unknown) => format!(
            "{}; the page around it is of version {}, and whether it shows the same cannot be said here",
            read.sealing.words(),
            read.report.program
        ),
        _ => read.sealing.words().to_owned(),
    }
}

fn verify(cx: &Cx, args: &VerifyArgs) -> Result<Exit, CliError> {
    let mut files = Vec::new();
    let mut table = Table::bare();
    for path in &args.files {
        let read = read(path)?;
        let style = match read.sealing {
            _ if read.is_intact() => GOOD,
            _ if read.counts() => WARN,
            Sealing::Unknown => WARN,
            _ => BAD,
        };
        table.row([path.display().to_string(), paint(style, words(&read))]);
        files.push(VerifiedFile {
            file: path.display().to_string(),
            form: read.form,
            seal: read.sealing,
            page: read.page,
            intact: read.is_intact(),
            digest: read.report.seal.as_ref().map(|seal| seal.digest.clone()),
            session: read.report.session.to_string(),
            score: read.report.percent(),
        });
    }
    let verified = Verified { intact: files.iter().all(|file| file.intact), files, meaning: MEANING };
    cx.show(&verified, || {
        let mut out = table.render(cx.ui.width(), "");
        let _ = writeln!(out, "\n{}", paint(FAINT, layout::wrap(MEANING, cx.ui.width(), "", "")));
        out
    })?;
    Ok(if verified.intact { Exit::Passed } else { Exit::Failed })
}

fn merge(cx: &Cx, args: &MergeArgs) -> Result<Exit, CliError> {
    let mut reports = Vec::new();
    let mut broken = Vec::new();
    for path in &args.files {
        let read = read(path)?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        if !read.counts() {
            broken.push((path.display().to_string(), words(&read)));
        }
        reports.push((name, read));
    }
    if let (true, Some((first, why))) = (args.strict, broken.first()) {
        return Err(CliError::new(Exit::Failed, format!("`{first}` is {why}"))
            .hint("without `--strict` such reports are in the table, marked, and count in no figure"));
    }
    let cohort = cohort::merge(&reports);
    let format = args.format.unwrap_or(match cx.ui.format() {
        Format::Text => CohortFormat::Csv,
        Format::Json => CohortFormat::Json,
    });
    let written = match format {
        CohortFormat::Csv => cohort::csv(&cohort).map_err(|error| CliError::new(Exit::Internal, error))?,
        CohortFormat::Html => cohort::html(&cohort).map_err(|error| CliError::new(Exit::Internal, error))?,
        CohortFormat::Json => json::render(&cohort)?,
    };
    cx.ui.data(&written)?;
    for (file, why) in &broken {
        cx.ui.warn(&format!("`{file}` is {why}; it counts in no figure"));
    }
    for row in cohort.rows.iter().filter(|row| row.same_as.is_some()) {
        cx.ui.warn(&format!("`{}` is {}; it counts once", row.name, row.seal_words()));
    }
    let mean = cohort.mean.map_or("–".to_owned(), |mean| format!("{mean}%"));
    cx.ui.note(&paint(
        STRONG,
        format!("{} of {} reports count, {mean} on average", cohort.counted, cohort.rows.len()),
    ));
    Ok(if broken.is_empty() { Exit::Passed } else { Exit::Failed })
}
