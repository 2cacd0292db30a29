//! `cks-lab doctor`

use super::Cx;
use super::error::CliError;
use super::exit::Exit;
use crate::lab::view::{DoctorFinding, DoctorView, Health};
use crate::layout::{BAD, CODE, GOOD, Table, WARN, paint};

/// Look at what works on this machine
#[derive(Debug, clap::Args)]
pub(super) struct DoctorArgs {}

pub(super) async fn run(cx: &Cx, _args: &DoctorArgs) -> Result<Exit, CliError> {
    let mut view = cx.lab().doctor().await;
    let config = &cx.environment.config;
    let exists = if config.exists() { "" } else { " (not there; the defaults hold)" };
    view.findings.push(DoctorFinding {
        name: "preferences".to_owned(),
        health: Health::Ok,
        detail: format!("{}{exists}", config.display()),
        hint: None,
    });
    cx.show(&view, || text(&view, cx.ui.width()))?;
    Ok(if view.usable { Exit::Passed } else { Exit::Unavailable })
}

fn text(view: &DoctorView, width: usize) -> String {
    let mut table = Table::bare();
    for finding in &view.findings {
        let mark = match finding.health {
            Health::Ok => paint(GOOD, "ok"),
            Health::Missing => paint(WARN, "missing"),
            Health::Bad => paint(BAD, "bad"),
        };
        let hint = finding.hint.as_ref().map(|hint| format!("\n{} {hint}", paint(CODE, "hint:")));
        table.row([mark, finding.name.clone(), format!("{}{}", finding.detail, hint.unwrap_or_default())]);
    }
    table.render(width, "")
}
