//! `cks-lab list`

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, complete};
use crate::curriculum::Curriculum;
use crate::history::Best;
use crate::lab::view::ListView;
use crate::layout::{FAINT, GOOD, STRONG, Table, WARN, paint};

/// List the scenarios by domain, with my best score
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Only those of a domain, such as `cluster-hardening`
    #[arg(long, value_name = "DOMAIN", add = complete::domains())]
    domain: Option<String>,
    /// Only those of a track, such as `v1.34`
    #[arg(long, value_name = "TRACK", add = complete::tracks())]
    track: Option<String>,
}

pub(super) fn run(cx: &Cx, args: &ListArgs) -> Result<Exit, CliError> {
    let mut view = cx.lab().list()?;
    if let Some(domain) = &args.domain {
        known(
            domain,
            Curriculum::builtin().newest().domains.iter().map(|domain| domain.id.as_str()),
            "domain",
        )?;
        view.scenarios.retain(|scenario| scenario.domain == *domain);
    }
    if let Some(track) = &args.track {
        known(track, Curriculum::builtin().tracks().iter().map(|track| track.id.as_str()), "track")?;
        view.scenarios.retain(|scenario| scenario.tracks.contains(track));
    }
    cx.show(&view, || text(&view, cx.ui.columns()))?;
    if cx.is_text() {
        cx.ui.note("");
        cx.ui.next(&[("cks-lab show <scenario>", "what it trains"), ("cks-lab start <scenario>", "begin")]);
    }
    Ok(Exit::Passed)
}

/// Refuses a name that nothing has, with the one that was meant.
pub(super) fn known<'a>(
    wanted: &str,
    names: impl Iterator<Item = &'a str> + Clone,
    what: &str,
) -> Result<(), CliError> {
    if names.clone().any(|name| name == wanted) {
        return Ok(());
    }
    let error = CliError::usage(format!("there is no {what} `{wanted}`"));
    Err(match crate::diag::closest(wanted, names.clone()) {
        Some(meant) => error.hint(format!("did you mean `{meant}`?")),
        None => error.hint(format!("{what}s: {}", names.collect::<Vec<_>>().join(", "))),
    })
}

/// The columns, each with how early it is left out where there is no room for all; 0 is never.
const COLUMNS: [(&str, usize); 8] = [
    ("scenario", 0),
    ("topic", 3),
    ("min", 0),
    ("pts", 0),
    ("level", 2),
    ("runs on", 0),
    ("best", 0),
    ("title", 1),
];

fn text(view: &ListView, width: usize) -> String {
    if view.scenarios.is_empty() {
        return "no scenario\n".to_owned();
    }
    let mut tables = (0..3).map(|left_out| table(view, left_out));
    let fits = |table: &Table| table.columns() <= width;
    tables.find(fits).unwrap_or_else(|| table(view, 3)).render(width, "")
}

/// Lays out the list without the first so many columns that can be left out.
fn table(view: &ListView, left_out: usize) -> Table {
    let shown = |early: usize| early == 0 || early > left_out;
    let head: Vec<&str> = COLUMNS.iter().filter(|(_, early)| shown(*early)).map(|(name, _)| *name).collect();
    let mut table = Table::new(&head);
    for domain in &Curriculum::builtin().newest().domains {
        let mut of_domain =
            view.scenarios.iter().filter(|scenario| scenario.domain == domain.id.as_str()).peekable();
        if of_domain.peek().is_none() {
            continue;
        }
        let weight = paint(FAINT, format!("{}%", domain.weight));
        table.section(format!("{} {weight}", paint(STRONG, &domain.title)));
        for scenario in of_domain {
            let cells = [
                scenario.id.clone(),
                scenario.topic.clone(),
                scenario.minutes.to_string(),
                scenario.points.to_string(),
                scenario.difficulty.to_string(),
                scenario.providers.join(","),
                best(scenario.best.as_ref()),
                scenario.title.clone(),
            ];
            let cells = cells.into_iter().zip(COLUMNS).filter(|(_, (_, early))| shown(*early));
            table.row(cells.map(|(cell, _)| cell));
        }
    }
    table
}

/// Writes the best score in a few letters.
pub(super) fn best(best: Option<&Best>) -> String {
    match best {
        None => paint(FAINT, "-"),
        Some(best) => {
            let score = format!("{}/{}{}", best.score, best.max, if best.late { " late" } else { "" });
            paint(if best.passed && !best.late { GOOD } else { WARN }, score)
        }
    }
}
