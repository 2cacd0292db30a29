//! `cks-lab show`

use std::fmt::Write as _;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, complete, list};
use crate::lab::view::ShowView;
use crate::layout::{self, FAINT, STRONG, Table, paint};
use crate::report::text::study_link;

/// Show what a scenario trains, what it needs and what to read
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The scenario's id
    #[arg(add = complete::scenarios())]
    scenario: String,
}

pub(super) fn run(cx: &Cx, args: &ShowArgs) -> Result<Exit, CliError> {
    let view = cx.lab().show(&args.scenario)?;
    cx.show(&view, || text(&view, cx.ui.width()))?;
    if cx.is_text() {
        cx.ui.note("");
        cx.ui.next(&[(&format!("cks-lab start {}", args.scenario), "begin")]);
    }
    Ok(Exit::Passed)
}

fn text(view: &ShowView, width: usize) -> String {
    let listed = &view.listed;
    let mut out = format!("{}\n\n", paint(STRONG, &listed.title));
    let needs: Vec<&str> = listed.needs.iter().map(|need| need.words()).collect();
    let mut table = Table::bare();
    let mut row = |name: &str, value: String| table.row([paint(FAINT, name), value]);
    row("scenario", listed.id.clone());
    row("domain", format!("{} ({}% of the exam)", view.domain_title, view.weight));
    row("topic", view.topic_title.clone());
    row("tracks", listed.tracks.join(", "));
    row("time", format!("{} minutes, {}", listed.minutes, listed.difficulty));
    row("points", listed.points.to_string());
    row("needs", needs.join(", "));
    row("runs on", listed.providers.join(", "));
    row("hints", view.hints.to_string());
    row("best", list::best(listed.best.as_ref()));
    out.push_str(&table.render(width, ""));
    let _ = writeln!(out, "\n{}", paint(STRONG, "What is judged, in one of its variants"));
    for check in &view.checks {
        let _ = writeln!(out, "{}", layout::wrap(check, width, "  • ", "    "));
    }
    if !view.resources.is_empty() {
        let _ = writeln!(out, "\n{}", paint(STRONG, "What to read"));
        for link in &view.resources {
            let _ = writeln!(out, "{}", layout::wrap(&study_link(link), width, "  • ", "    "));
        }
    }
    out
}
