//! Reports as one page of HTML that needs nothing from elsewhere and runs no script: for a phone, for print, in light
//! and in dark. Everything that learners or clusters made is escaped. The report itself lies in the page as data.

use std::time::Duration;

use serde::Serialize;
use tera::{Context, Tera};

use super::text::findings::{groups, together};
use super::{CheckResult, LinkKind, OutcomeName, Report, ReportedTask, StudyLink, seal};
use crate::curriculum::{Curriculum, DomainId};
use crate::layout::{clock_time, count};
use crate::session::Mode;

/// What every page says at its end.
pub const AFFILIATION: &str = "Not affiliated with or endorsed by the Cloud Native Computing Foundation or the Linux \
    Foundation; CKS and Kubernetes are their marks. Holds no real exam content.";

const STYLE: &str = include_str!("../../templates/report/style.css");
const TEMPLATE: &str = include_str!("../../templates/report/report.html");
/// Where in a page the report lies.
const DATA: (&str, &str) = ("<script type=\"application/json\" id=\"cks-lab-report\">", "</script>");

/// Why a page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum HtmlError {
    /// The template.
    #[error("the page could not be made")]
    Template(#[from] tera::Error),
    /// The data in it.
    #[error("the report could not be written as JSON")]
    Data(#[from] serde_json::Error),
}

/// A bar with its name and value.
#[derive(Debug, Serialize)]
pub(crate) struct Bar {
    name: String,
    about: String,
    value: String,
    /// What a screen reader says of it.
    spoken: String,
    class: &'static str,
    /// In percent of the whole, such as `66.7`.
    width: String,
    /// Where a line is drawn, likewise.
    mark: Option<String>,
}

#[derive(Serialize)]
struct Fact {
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
struct Verdict {
    class: &'static str,
    mark: &'static str,
    word: &'static str,
    detail: String,
}

#[derive(Serialize)]
struct Link {
    title: String,
    href: Option<String>,
    third_party: bool,
}

#[derive(Serialize)]
struct Apart {
    title: String,
    task: String,
    worth: String,
    reason: String,
}

#[derive(Serialize)]
struct Task {
    number: usize,
    title: String,
    points: String,
    class: &'static str,
    about: String,
    note: Option<String>,
    checks: Vec<Check>,
    attack: Option<String>,
}

#[derive(Serialize)]
struct Check {
    class: &'static str,
    outcome: &'static str,
    title: String,
    worth: String,
    simulated: bool,
    findings: Vec<Found>,
    reason: Option<String>,
    why: Option<String>,
    links: Vec<Link>,
}

#[derive(Serialize)]
struct Found {
    objects: Vec<Object>,
    further: usize,
    expected: String,
    actual: String,
}

#[derive(Serialize)]
struct Object {
    name: String,
    places: Vec<String>,
}

/// Renders a report.
///
/// # Errors
/// [`HtmlError`], which no report of this program brings about.
pub fn render(report: &Report) -> Result<String, HtmlError> {
    let exam = report.exam.as_ref();
    let heading = match (exam, report.tasks.as_slice()) {
        (Some(exam), _) => format!("Mock exam of track {}", exam.track),
        (None, [task]) => task.title.clone(),
        (None, tasks) => count(tasks.len(), "task", "tasks"),
    };
    let kicker = match report.mode {
        Mode::Exam => "Exam report",
        Mode::Practice => "Practice report",
    };
    let mut context = Context::new();
    context.insert("css", STYLE);
    context.insert("title", &format!("{heading} - {}", kicker.to_lowercase()));
    context.insert("kicker", kicker);
    context.insert("heading", &heading);
    context.insert("score", &score(report));
    context.insert("verdict", &verdict(report));
    context.insert("facts", &facts(report));
    context.insert("notes", &notes(report));
    context.insert("domains", &domains(report));
    context.insert("pass_mark", &exam.map(|exam| exam.result.pass_mark));
    context.insert("times", &times(report));
    context.insert("unjudged", &apart(report, OutcomeName::CannotJudge));
    context.insert("skipped", &apart(report, OutcomeName::Skipped));
    let marked = mark_simulated(report);
    let tasks: Vec<Task> =
        report.tasks.iter().enumerate().map(|(index, done)| task(report, index, done, marked)).collect();
    context.insert("tasks", &tasks);
    context.insert("modelled", &modelled(report, marked));
    context.insert("reading", &reading(report));
    context.insert("digest", &report.seal.as_ref().map(|seal| format!("sha256 {}", seal.digest)));
    context.insert("meaning", seal::MEANING);
    context.insert("program", &report.program);
    context.insert("affiliation", AFFILIATION);
    context.insert("data", &script_data(&serde_json::to_string(report)?));
    page("report.html", TEMPLATE, &context)
}

/// Returns the report that lies in a page, as JSON.
pub fn data(page: &str) -> Option<&str> {
    // The last one: text that stands before it can only be escaped text.
    let begin = page.rfind(DATA.0)? + DATA.0.len();
    let end = page[begin..].find(DATA.1)?;
    Some(&page[begin..begin + end])
}

/// Fills a page's template, in which everything is escaped that is not marked as safe.
pub(crate) fn page(name: &str, template: &str, context: &Context) -> Result<String, HtmlError> {
    let mut tera = Tera::default();
    tera.autoescape_on([".html"]);
    tera.add_raw_template(name, template)?;
    Ok(tera.render(name, context)?)
}

/// Returns the style of every page.
pub(crate) fn style() -> &'static str {
    STYLE
}

impl Bar {
    /// Makes a bar of a percentage.
    pub(crate) fn percent(name: &str, about: String, percent: f64, class: &'static str) -> Self {
        let value = format!("{percent:.0} %");
        Self {
            spoken: format!("{name}: {value}{}{about}", if about.is_empty() { "" } else { ", " }),
            name: name.to_owned(),
            about,
            value,
            class,
            width: format!("{:.1}", percent.clamp(0.0, 100.0)),
            mark: None,
        }
    }

    /// Draws a line in it.
    pub(crate) fn marked(mut self, percent: f64) -> Self {
        self.mark = Some(format!("{:.1}", percent.clamp(0.0, 100.0)));
        self
    }
}

/// Escapes text, and shows what stands between backticks as code.
pub(crate) fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.trim().split('`').peekable();
    let mut code = false;
    while let Some(part) = parts.next() {
        // A backtick without a second one is one.
        let closed = !code || parts.peek().is_some();
        match (code, closed) {
            (true, true) => out.push_str(&format!("<code>{}</code>", escape(part))),
            (true, false) => out.push_str(&format!("`{}", escape(part))),
            (false, _) => out.push_str(&escape(part)),
        }
        code = !code;
    }
    out
}

/// Escapes text for HTML, within elements and within quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#x27;"),
            other => out.push(other),
        }
    }
    out
}

/// Makes JSON that no browser takes for the end of a script or the beginning of a comment.
fn script_data(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn score(report: &Report) -> String {
    match &report.exam {
        Some(exam) => format!("{} %", exam.result.score),
        None => format!("{} of {} points", report.score, report.max),
    }
}

fn verdict(report: &Report) -> Verdict {
    let failed = report.with(OutcomeName::Fail).count();
    let detail = match &report.exam {
        Some(exam) => format!("{} % are needed", exam.result.pass_mark),
        None => format!("{:.0} %", report.percent()),
    };
    let late = report.overtime_seconds.is_some();
    let (class, mark, word) = match (report.passed, failed) {
        (true, _) => ("good", "✓", "passed"),
        (false, _) if report.exam.is_some() => ("bad", "✗", "not passed"),
        (false, 0) if late => ("bad", "✗", "too late"),
        (false, 0) => ("warn", "?", "undecided"),
        (false, _) => ("bad", "✗", "not passed"),
    };
    Verdict { class, mark, word, detail }
}

fn facts(report: &Report) -> Vec<Fact> {
    let mut facts = Vec::new();
    let mut fact = |name, value: String| facts.push(Fact { name, value });
    let minute = |at: jiff::Timestamp| at.strftime("%Y-%m-%d %H:%M UTC").to_string();
    fact("Session", report.session.to_string());
    match (&report.exam, report.tasks.as_slice()) {
        (Some(exam), tasks) => {
            fact("Exam", format!("track {}, variant {}", exam.track, exam.variant));
            fact("Tasks", tasks.len().to_string());
        }
        (None, [task]) => {
            fact("Scenario", format!("{}, variant {}", task.result.scenario, task.result.variant));
            fact("Domain", domain_title(&task.domain));
        }
        (None, tasks) => fact("Tasks", tasks.len().to_string()),
    }
    let mut providers: Vec<&str> = report.tasks.iter().map(|task| task.result.provider.as_str()).collect();
    providers.sort_unstable();
    providers.dedup();
    fact("Cluster", providers.join(", "));
    fact("Started", minute(report.started));
    fact("Submitted", minute(report.submitted));
    let spent = clock_time(Duration::from_secs(report.elapsed_seconds));
    fact(
        "Time",
        match report.limit_seconds {
            Some(limit) => format!("{spent} of {}", clock_time(Duration::from_secs(limit))),
            None => format!("{spent}, no limit"),
        },
    );
    let hints: usize = report.tasks.iter().map(|task| task.hints).sum();
    let resets: u32 = report.tasks.iter().map(|task| task.resets).sum();
    if report.mode == Mode::Practice {
        let hints = count(hints, "hint", "hints");
        fact("Help", format!("{hints}, {}", count(resets as usize, "reset", "resets")));
    }
    facts
}

fn notes(report: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(over) = report.overtime_seconds {
        let over = clock_time(Duration::from_secs(over));
        notes.push(format!("Submitted {over} after the time was up."));
    }
    for jump in &report.clock_jumps {
        let by = clock_time(Duration::from_secs(jump.seconds.unsigned_abs()));
        let direction = if jump.seconds < 0 { "back" } else { "forward" };
        notes.push(format!(
            "The machine's clock was moved {direction} by {by}; the time was counted without it, where that is known."
        ));
    }
    let open = report.with(OutcomeName::CannotJudge).count();
    if open > 0 {
        let checks = count(open, "check", "checks");
        notes.push(match &report.exam {
            Some(exam) if exam.result.undecided > 0.0 => format!(
                "{checks} could not be judged; {} % of the exam hang on them and are not counted as earned.",
                exam.result.undecided
            ),
            _ => format!("{checks} could not be judged."),
        });
    }
    notes
}

fn domain_title(id: &str) -> String {
    let known = Curriculum::builtin().newest().domain(&DomainId::from(id));
    known.map_or_else(|| id.to_owned(), |domain| domain.title.clone())
}

fn domains(report: &Report) -> Vec<Bar> {
    if let Some(exam) = &report.exam {
        let mark = f64::from(exam.result.pass_mark);
        let sat = exam.result.domains.iter().filter(|domain| domain.tasks > 0);
        return sat
            .map(|domain| {
                let tasks = count(domain.tasks, "task", "tasks");
                let about = format!("{tasks}, {} % of this exam", domain.share);
                let class = if domain.score >= mark { "good" } else { "bad" };
                Bar::percent(&domain.title, about, domain.score, class).marked(mark)
            })
            .collect();
    }
    let mut sums: Vec<(&str, u32, u32)> = Vec::new();
    for task in &report.tasks {
        match sums.iter_mut().find(|(domain, ..)| *domain == task.domain) {
            Some(sum) => (sum.1, sum.2) = (sum.1 + task.result.score, sum.2 + task.result.max),
            None => sums.push((&task.domain, task.result.score, task.result.max)),
        }
    }
    let bar = |(domain, score, max): (&str, u32, u32)| {
        let class = if max > 0 && score == max { "good" } else { "" };
        Bar::percent(
            &domain_title(domain),
            format!("{score} of {max} points"),
            super::percent(score, max),
            class,
        )
    };
    sums.into_iter().map(bar).collect()
}

fn times(report: &Report) -> Vec<Bar> {
    let spent = |index: usize, task: &ReportedTask| match report.exam.as_ref() {
        Some(exam) => exam.tasks.get(index).map_or(0, |task| task.spent_seconds),
        None => task.result.elapsed_seconds,
    };
    let meant = |task: &ReportedTask| u64::from(task.minutes) * 60;
    let longest = report.tasks.iter().enumerate().map(|(index, task)| spent(index, task).max(meant(task)));
    let longest = longest.max().unwrap_or(0).max(1) as f64;
    let bar = |(index, task): (usize, &ReportedTask)| {
        let (spent, meant) = (spent(index, task), meant(task));
        let words = format!(
            "{} of {}",
            clock_time(Duration::from_secs(spent)),
            clock_time(Duration::from_secs(meant))
        );
        let class = if spent > meant { "warn" } else { "" };
        let name = numbered(report, index, task);
        Bar {
            spoken: format!("{name}: {words}"),
            about: String::new(),
            value: words,
            class,
            width: format!("{:.1}", spent as f64 / longest * 100.0),
            mark: (meant > 0).then(|| format!("{:.1}", (meant as f64 / longest * 100.0).min(99.7))),
            name,
        }
    };
    report.tasks.iter().enumerate().map(bar).collect()
}

fn numbered(report: &Report, index: usize, task: &ReportedTask) -> String {
    match report.tasks.len() {
        1 => task.title.clone(),
        _ => format!("{}. {}", index + 1, task.title),
    }
}

fn apart(report: &Report, outcome: OutcomeName) -> Vec<Apart> {
    let apart = |(task, check): (&ReportedTask, &CheckResult)| Apart {
        title: inline(&check.title),
        task: task.title.clone(),
        worth: if check.gate { "gate".to_owned() } else { count(check.points as usize, "point", "points") },
        reason: check.reason.clone().unwrap_or_default(),
    };
    report.with(outcome).map(apart).collect()
}

fn task(report: &Report, index: usize, done: &ReportedTask, marked: bool) -> Task {
    let result = &done.result;
    let sat = report.exam.as_ref().and_then(|exam| exam.tasks.get(index));
    let mut about = vec![result.scenario.clone(), domain_title(&done.domain), done.topic.clone()];
    about.push(format!("variant {}", result.variant));
    match sat {
        Some(sat) => {
            about.push(format!("host {}", sat.host));
            about.push(format!("{} % of the exam", sat.weight));
        }
        None => about.push(result.provider.clone()),
    }
    let open = result.with(OutcomeName::CannotJudge).count() > 0;
    let failed = result.with(OutcomeName::Fail).count() > 0;
    let class = match (result.passed, failed) {
        (true, _) => "good",
        (false, true) => "bad",
        (false, false) if open => "warn",
        (false, false) => "",
    };
    Task {
        number: index + 1,
        title: numbered(report, index, done),
        points: format!("{} of {} points", result.score, result.max),
        class,
        about: about.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · "),
        note: sat.map(|sat| sat.note.clone()).filter(|note| !note.is_empty()),
        checks: result.checks.iter().map(|one| check(one, marked)).collect(),
        attack: done.attack.as_deref().map(inline),
    }
}

fn check(check: &CheckResult, marked: bool) -> Check {
    let (class, outcome) = match check.outcome {
        OutcomeName::Pass => ("good", "✓ pass"),
        OutcomeName::Fail => ("bad", "✗ fail"),
        OutcomeName::CannotJudge => ("warn", "? cannot judge"),
        OutcomeName::Skipped => ("faint", "– skipped"),
    };
    let worth = match (check.gate, check.outcome) {
        (true, OutcomeName::Fail) => "gate, broken".to_owned(),
        (true, _) => "gate".to_owned(),
        (false, _) => format!("{}/{}", check.awarded, check.points),
    };
    let failed = check.outcome == OutcomeName::Fail;
    let found = groups(&check.findings).into_iter().map(|group| Found {
        objects: group
            .objects
            .iter()
            .map(|(name, places)| Object { name: (*name).to_owned(), places: together(places) })
            .collect(),
        further: group.further,
        expected: group.expected.to_owned(),
        actual: group.actual.to_owned(),
    });
    Check {
        class,
        outcome,
        title: inline(&check.title),
        worth,
        simulated: marked && check.simulated,
        findings: found.collect(),
        reason: check.reason.clone(),
        why: (failed && !check.why.is_empty()).then(|| inline(&check.why)),
        links: if failed { check.resources.iter().map(link).collect() } else { Vec::new() },
    }
}

/// Makes a link; what leads anywhere but to a page of the web is shown as text.
fn link(link: &StudyLink) -> Link {
    let web = link.url.starts_with("https://") || link.url.starts_with("http://");
    Link {
        title: if web { link.title.clone() } else { format!("{} {}", link.title, link.url) },
        href: web.then(|| link.url.clone()),
        third_party: link.kind == LinkKind::ThirdParty,
    }
}

/// The pages that failed checks name, each once.
fn reading(report: &Report) -> Vec<Link> {
    let mut links: Vec<&StudyLink> = Vec::new();
    for wanted in report.with(OutcomeName::Fail).flat_map(|(_, check)| &check.resources) {
        if !links.iter().any(|known| known.url == wanted.url) {
            links.push(wanted);
        }
    }
    links.into_iter().map(link).collect()
}

fn mark_simulated(report: &Report) -> bool {
    let mut checks = report.tasks.iter().flat_map(|task| &task.result.checks);
    let some = checks.clone().any(|check| check.simulated);
    some && checks.any(|check| !check.simulated)
}

fn modelled(report: &Report, marked: bool) -> Option<&'static str> {
    let some = report.tasks.iter().flat_map(|task| &task.result.checks).any(|check| check.simulated);
    match (some, marked) {
        (false, _) => None,
        (true, true) => Some("Checks marked as modelled look at something that the cluster only models."),
        (true, false) => Some("Judged on a simulated cluster."),
    }
}

#[cfg(test)]
mod tests;
