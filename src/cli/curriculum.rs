//! `cks-lab curriculum`

use std::fmt::Write as _;

use super::error::CliError;
use super::exit::Exit;
use super::{Cx, complete};
use crate::lab::view::CurriculumView;
use crate::layout::{self, CODE, FAINT, GOOD, LINK, STRONG, paint};
use crate::report::{LinkKind, StudyLink};

/// Show the curriculum: domains, weights, topics, study links, scenarios
#[derive(Debug, clap::Args)]
pub(super) struct CurriculumArgs {
    /// The track, such as `v1.34`; the newest where it is left out
    #[arg(long, value_name = "TRACK", add = complete::tracks())]
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
    let mut out = format!("{}\n{}\n", paint(STRONG, &view.title), paint(FAINT, sum(view)));
    let links = |out: &mut String, links: &[StudyLink], indent: &str| {
        for link in links.iter().filter(|_| !brief) {
            let lead = format!("{indent}{} ", mark(link.kind));
            let line = format!("{} {}", link.title, paint(LINK, &link.url));
            let _ = writeln!(out, "{}", layout::wrap(&line, width, &lead, &format!("{indent}  ")));
        }
    };
    if !brief {
        let (allowed, third_party) = (mark(LinkKind::Allowed), mark(LinkKind::ThirdParty));
        let _ = writeln!(
            out,
            "{allowed} may be open during the exam  {third_party} third-party, to study before\n"
        );
    }
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

fn mark(kind: LinkKind) -> String {
    match kind {
        LinkKind::Allowed => paint(GOOD, "✓"),
        LinkKind::ThirdParty => paint(FAINT, "·"),
    }
}

fn sum(view: &CurriculumView) -> String {
    let topics: Vec<_> = view.domains.iter().flat_map(|domain| &domain.topics).collect();
    let of_topics = topics.iter().map(|topic| topic.resources.len()).sum::<usize>();
    format!(
        "{}, {}, {}",
        layout::count(topics.len(), "topic", "topics"),
        layout::count(of_topics + view.general.len() + view.related.len(), "link", "links"),
        layout::count(topics.iter().map(|topic| topic.scenarios.len()).sum(), "scenario", "scenarios"),
    )
}
