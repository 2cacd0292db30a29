//! `cks-lab curriculum`

use std::fmt::Write as _;

use super::Cx;
use super::error::CliError;
use super::exit::Exit;
use crate::lab::view::CurriculumView;
use crate::layout::{self, CODE, FAINT, STRONG, paint};
use crate::report::StudyLink;
use crate::report::text::study_link;

/// Show the curriculum: domains, weights, topics, study links, scenarios
#[derive(Debug, clap::Args)]
pub(super) struct CurriculumArgs {
    /// The track, such as `v1.34`; the newest where it is left out
    #[arg(long, value_name = "TRACK")]
    track: Option<String>,
    /// Without the study links
    #[arg(long)]
    brief: bool,
}

pub(super) fn run(cx: &Cx, args: &CurriculumArgs) -> Result<Exit, CliError> {
    let view = cx.lab().curriculum(args.track.as_deref())?;
    cx.show(&view, || text(&view, args.brief, cx.ui.width()))?;
    Ok(Exit::Passed)
}

fn text(view: &CurriculumView, brief: bool, width: usize) -> String {
    let mut out = format!("{}\n", paint(STRONG, &view.title));
    let links = |out: &mut String, links: &[StudyLink], indent: &str| {
        for link in links.iter().filter(|_| !brief) {
            let rest = format!("{indent}  ");
            let _ =
                writeln!(out, "{}", layout::wrap(&study_link(link), width, &format!("{indent}• "), &rest));
        }
    };
    links(&mut out, &view.general, "  ");
    for domain in &view.domains {
        let _ = writeln!(
            out,
            "\n{} {}",
            paint(STRONG, &domain.title),
            paint(FAINT, format!("{}%", domain.weight))
        );
        for topic in &domain.topics {
            let _ = writeln!(out, "{}", layout::wrap(&topic.title, width, "  ", "  "));
            if !topic.scenarios.is_empty() {
                let scenarios = paint(CODE, topic.scenarios.join(", "));
                let _ = writeln!(out, "{}", layout::wrap(&scenarios, width, "    → ", "      "));
            }
            links(&mut out, &topic.resources, "    ");
        }
    }
    if !brief && !view.related.is_empty() {
        let _ = writeln!(out, "\n{}", paint(STRONG, "Further"));
        links(&mut out, &view.related, "  ");
    }
    out
}
