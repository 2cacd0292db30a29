//! Progress as one page of HTML, in the style of the reports.

use serde::Serialize;
use tera::Context;

use super::next::{ago, within};
use super::{Progress, ScenarioProgress, Tried};
use crate::history::Best;
use crate::layout::count;
use crate::report::html::{self, AFFILIATION, Bar, HtmlError};

const TEMPLATE: &str = include_str!("../../templates/report/progress.html");
/// How many suggestions a page has; JSON has them all.
const MOST_NEXT: usize = 5;
/// How many attempts are drawn: the last ones.
const MOST_POINTS: usize = 100;
/// The plot's edges, in its own units.
const LEFT: f64 = 56.0;
const RIGHT: f64 = 622.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 160.0;

#[derive(Serialize)]
struct Plot {
    spoken: String,
    line: String,
    points: Vec<Point>,
    goal: String,
    first: String,
    last: String,
}

#[derive(Serialize)]
struct Point {
    x: String,
    y: String,
    class: &'static str,
}

#[derive(Serialize)]
struct Row {
    title: String,
    attempts: usize,
    best: String,
    best_class: &'static str,
    last: String,
    last_class: &'static str,
    when: String,
    mastery: String,
    due: String,
}

/// Renders the page.
///
/// # Errors
/// [`HtmlError`], which no progress of this program brings about.
pub fn render(progress: &Progress) -> Result<String, HtmlError> {
    let readiness = &progress.readiness;
    let mut context = Context::new();
    context.insert("css", html::style());
    context.insert("track", &progress.track);
    context.insert("now", &progress.now.strftime("%Y-%m-%d").to_string());
    context.insert("score", &readiness.score.map(|score| format!("{score} %")));
    let range = readiness.low.zip(readiness.high).map(|(low, high)| format!("{low} to {high} %"));
    context.insert("range", &range);
    context.insert("words", &readiness.words);
    context.insert("pass_mark", &readiness.pass_mark);
    context.insert("next", &progress.next.iter().take(MOST_NEXT).collect::<Vec<_>>());
    context.insert("plot", &plot(&progress.attempts, readiness.pass_mark));
    let tried =
        |tried: usize, all: usize| format!("{tried} of {} tried", count(all, "scenario", "scenarios"));
    let domains: Vec<Bar> = progress
        .domains
        .iter()
        .map(|domain| {
            let about = format!("{} % of the exam, {}", domain.weight, tried(domain.tried, domain.scenarios));
            Bar::percent(&domain.title, about, domain.mastery, "")
        })
        .collect();
    context.insert("domains", &domains);
    let topics: Vec<Bar> = progress
        .domains
        .iter()
        .flat_map(|domain| &domain.topics)
        .filter(|topic| topic.tried > 0)
        .map(|topic| Bar::percent(&topic.title, tried(topic.tried, topic.scenarios), topic.mastery, ""))
        .collect();
    context.insert("topics", &topics);
    context.insert(
        "scenarios",
        &progress.scenarios.iter().map(|known| row(known, progress)).collect::<Vec<_>>(),
    );
    context.insert("program", env!("CARGO_PKG_VERSION"));
    context.insert("affiliation", AFFILIATION);
    html::page("progress.html", TEMPLATE, &context)
}

fn plot(attempts: &[Tried], pass_mark: u32) -> Option<Plot> {
    let drawn = &attempts[attempts.len().saturating_sub(MOST_POINTS)..];
    let (first, last) = (drawn.first()?, drawn.last()?);
    let step = (RIGHT - LEFT) / (drawn.len().max(2) - 1) as f64;
    let y = |score: f64| format!("{:.1}", BOTTOM - (BOTTOM - TOP) * score.clamp(0.0, 100.0) / 100.0);
    let points: Vec<Point> = drawn
        .iter()
        .enumerate()
        .map(|(place, tried)| Point {
            x: format!("{:.1}", LEFT + step * place as f64),
            y: y(tried.score),
            class: if tried.passed { "yes" } else { "no" },
        })
        .collect();
    let day = |tried: &Tried| tried.submitted.strftime("%Y-%m-%d").to_string();
    let passed = drawn.iter().filter(|tried| tried.passed).count();
    Some(Plot {
        spoken: format!(
            "{} from {} to {}, {passed} passed; the last one came to {:.0} %",
            count(drawn.len(), "attempt", "attempts"),
            day(first),
            day(last),
            last.score
        ),
        line: points.iter().map(|point| format!("{},{}", point.x, point.y)).collect::<Vec<_>>().join(" "),
        points,
        goal: y(f64::from(pass_mark)),
        first: day(first),
        last: if drawn.len() > 1 { day(last) } else { String::new() },
    })
}

fn row(known: &ScenarioProgress, progress: &Progress) -> Row {
    let points = |best: &Best| format!("{}/{}{}", best.score, best.max, if best.late { " late" } else { "" });
    let class = |best: &Best| if best.passed && !best.late { "good" } else { "warn" };
    Row {
        title: known.title.clone(),
        attempts: known.attempts,
        best: points(&known.best),
        best_class: class(&known.best),
        last: points(&known.last),
        last_class: class(&known.last),
        when: ago(known.last_tried, progress.now),
        mastery: format!("{:.0}", known.mastery),
        due: match known.due {
            Some(due) if due > progress.now => within(progress.now, due),
            Some(_) => "now".to_owned(),
            None => String::new(),
        },
    }
}
