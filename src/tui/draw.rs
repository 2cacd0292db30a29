//! Puts the console on the screen. Only weight, reversal and words say anything; colour repeats it.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Margin, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};
use unicode_width::UnicodeWidthStr as _;

use super::console::{Console, PICKS, Prompt, Tone};
use super::text;
use crate::lab::exam::view::{ExamStatus, ExamTaskStatus};
use crate::layout::{self, CODE, FAINT, STRONG, paint};
use crate::report;
use crate::session::TaskState;
use crate::ui;

/// From how many columns on the list stands beside the text, and from how many it has titles.
const BESIDE: u16 = 74;
const TITLES: u16 = 110;
/// The columns of the list without and with titles.
const NARROW: u16 = 23;
const WIDE: u16 = 52;
/// The least that can be used.
const LEAST: (u16, u16) = (30, 8);

/// Draws the whole screen.
pub(super) fn draw(console: &mut Console, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        frame.render_widget(Paragraph::new("the window is too small"), area);
        return;
    }
    let [bar, body, message, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(area);
    console.wide = area.width >= BESIDE;
    frame.render_widget(top(console, bar.width), bar);
    middle(console, frame, body);
    frame.render_widget(bottom(console, message.width), message);
    frame.render_widget(keys_line(console, keys.width), keys);
    ask(console, frame, body, message);
}

fn coloured(console: &Console, colour: Color) -> Style {
    if console.colour { Style::new().fg(colour) } else { Style::new() }
}

fn top(console: &Console, width: u16) -> Paragraph<'static> {
    let reversed = Style::new().add_modifier(Modifier::REVERSED);
    let Some(status) = &console.status else { return Paragraph::new("").style(reversed) };
    let left = match (status.state, console.here()) {
        (TaskState::Running, Some(task)) => {
            let flag = if task.flagged { " · flagged" } else { "" };
            let place = &task.place;
            format!(
                " Task {} of {} · {}% · {}{flag}",
                place.number,
                status.tasks.len(),
                place.weight,
                place.host
            )
        }
        (TaskState::Submitted, Some(task)) => {
            format!(" Task {} of {} · {}", task.place.number, status.tasks.len(), task.place.host)
        }
        _ => format!(" {} · track {}", status.session, status.track),
    };
    let (right, look) = clock(console, status);
    let room = usize::from(width).saturating_sub(right.width());
    let left = layout::pad(&layout::shorten(&left, room.saturating_sub(1)), room);
    Paragraph::new(Line::from(vec![Span::raw(left), Span::styled(right, look)])).style(reversed)
}

/// The clock with its words.
fn clock(console: &Console, status: &ExamStatus) -> (String, Style) {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let left = layout::clock_time(Duration::from_secs(status.left_seconds));
    match (status.state, console.alerted()) {
        (TaskState::Running, _) if status.left_seconds == 0 => {
            (" the time is up ".to_owned(), bold.patch(coloured(console, Color::Red)))
        }
        (TaskState::Running, Some(minutes)) => {
            let colour = if minutes <= 5 { Color::Red } else { Color::Yellow };
            (format!(" under {minutes} minutes: {left} left "), bold.patch(coloured(console, colour)))
        }
        (TaskState::Running, None) => (format!(" {left} left "), bold),
        (TaskState::Preparing, _) => (" the clock does not run yet ".to_owned(), bold),
        (TaskState::Submitted, _) => (" ended ".to_owned(), bold),
        (TaskState::Failed, _) => (" failed ".to_owned(), bold),
    }
}

fn middle(console: &mut Console, frame: &mut Frame<'_>, area: Rect) {
    let listed =
        matches!(console.state(), Some(TaskState::Running | TaskState::Submitted)) && console.lists();
    if !listed {
        return written(console, frame, area);
    }
    if !console.wide {
        return list(console, frame, area);
    }
    let width = if area.width >= TITLES { WIDE } else { NARROW };
    let [left, line, right] =
        Layout::horizontal([Constraint::Length(width), Constraint::Length(2), Constraint::Min(1)])
            .areas(area);
    list(console, frame, left);
    let rule = Style::new().add_modifier(Modifier::DIM);
    frame.render_widget(Paragraph::new("│\n".repeat(usize::from(line.height))).style(rule), line);
    written(console, frame, right);
}

fn list(console: &Console, frame: &mut Frame<'_>, area: Rect) {
    let Some(status) = &console.status else { return };
    let titles = area.width >= WIDE;
    let mut lines: Vec<Line<'_>> = Vec::new();
    let dim = Style::new().add_modifier(Modifier::DIM);
    let here = match console.ended {
        Some(_) => console.looked_at,
        None => status.current,
    };
    let width = usize::from(area.width);
    if console.ended.is_some() {
        lines.push(row(console, here == 0, vec![Span::raw("  result")], width));
    } else {
        lines.push(Line::styled(
            if titles { " task   weight  host    title" } else { " task   weight  host" },
            dim,
        ));
    }
    for task in &status.tasks {
        lines.push(row(console, task.place.number == here, cells(console, task, titles, width), width));
    }
    let rows = usize::from(area.height);
    // Where not all fit, the present one stays in sight.
    let beyond = lines.len().saturating_sub(rows);
    let first = (here + 1).saturating_sub(rows.saturating_sub(1)).min(beyond);
    if lines.len() + 2 <= rows && console.ended.is_none() {
        let visited = status.tasks.iter().filter(|task| task.visited).count();
        let flagged = status.tasks.iter().filter(|task| task.flagged).count();
        lines.push(Line::default());
        lines.push(Line::styled(format!(" {visited} visited, {flagged} flagged"), dim));
    }
    frame.render_widget(Paragraph::new(lines.split_off(first)), area);
}

fn row(console: &Console, here: bool, mut spans: Vec<Span<'static>>, width: usize) -> Line<'static> {
    let used: usize = spans.iter().map(Span::width).sum();
    spans.insert(0, Span::raw(if here { ">" } else { " " }));
    spans.push(Span::raw(" ".repeat(width.saturating_sub(used + 1))));
    let line = Line::from(spans);
    match here {
        true => line.style(coloured(console, Color::Reset).add_modifier(Modifier::REVERSED)),
        false => line,
    }
}

fn cells(console: &Console, task: &ExamTaskStatus, titles: bool, width: usize) -> Vec<Span<'static>> {
    let place = &task.place;
    let number = format!("{:>2} ", place.number);
    if let Some(ended) = &console.ended {
        let result = ended.result.tasks.iter().find(|result| result.number == place.number);
        let score = result.map_or(0.0, |result| result.score);
        let open = result.is_some_and(|result| result.cannot_judge > 0);
        let colour = match score {
            100.0 => Color::Green,
            0.0 => Color::Red,
            _ => Color::Yellow,
        };
        let mut cells = vec![
            Span::raw(number),
            Span::styled(
                format!("{:>4.0}%{}", score, if open { "?" } else { " " }),
                coloured(console, colour),
            ),
            Span::raw(if titles { format!(" of {:>2}%  ", place.weight) } else { "  ".to_owned() }),
        ];
        cells.push(Span::raw(rest(task, titles, width)));
        return cells;
    }
    let seen = if task.visited { "· " } else { "  " };
    let flag = Span::styled(if task.flagged { "F" } else { " " }, coloured(console, Color::Yellow));
    let note = Span::styled(if task.note.is_empty() { " " } else { "n" }, coloured(console, Color::Cyan));
    vec![
        Span::raw(number),
        Span::raw(seen),
        flag,
        note,
        Span::raw(format!(" {:>3}%  ", place.weight)),
        Span::raw(rest(task, titles, width)),
    ]
}

/// The host, and the title where there is room.
fn rest(task: &ExamTaskStatus, titles: bool, width: usize) -> String {
    let host = &task.place.host;
    match titles {
        true => format!("{host} {}", layout::shorten(&task.title, width.saturating_sub(host.width() + 18))),
        false => host.clone(),
    }
}

/// The text beside the list, or alone from the first column on, so that what is selected there is text alone.
fn written(console: &mut Console, frame: &mut Frame<'_>, area: Rect) {
    let width = usize::from(area.width).min(100);
    let lines = text::lines(&content(console, width), width, console.colour);
    console.page = usize::from(area.height);
    console.furthest = lines.len().saturating_sub(console.page);
    console.scroll = console.scroll.min(console.furthest);
    let shown: Vec<Line<'_>> = lines.into_iter().skip(console.scroll).take(console.page).collect();
    frame.render_widget(Paragraph::new(shown), area);
}

fn content(console: &Console, width: usize) -> String {
    let markdown = |text: &str| ui::markdown::render(text, width, console.colour);
    match console.state() {
        None => String::new(),
        Some(TaskState::Preparing) if console.status.as_ref().is_some_and(|status| status.ready) => {
            let rules = console.rules.as_ref().map(ui::exam::rules).unwrap_or_default();
            format!("{}\n{}", markdown(&rules), paint(STRONG, "Enter starts the clock."))
        }
        Some(TaskState::Preparing) => "The exam is being prepared; this goes on by itself.".to_owned(),
        Some(TaskState::Failed) => {
            "The exam could not be prepared. `cks-lab stop` removes what is left.".to_owned()
        }
        Some(TaskState::Running) => {
            let (Some(view), Some(task)) = (&console.task, console.here()) else { return String::new() };
            let note = match task.note.is_empty() {
                true => String::new(),
                false => format!(
                    "{}\n",
                    layout::wrap(&paint(FAINT, format!("note: {}", task.note)), width, "", "")
                ),
            };
            format!(
                "{}\n{}\n{note}\n{}",
                layout::wrap(&paint(STRONG, &view.status.title), width, "", ""),
                paint(CODE, format!("cks-lab ssh {}", task.place.host)),
                markdown(&ui::exam::task_text(view))
            )
        }
        Some(TaskState::Submitted) => match &console.ended {
            None => "The exam has ended; this is being read.".to_owned(),
            Some(ended) => match console.looked_at.checked_sub(1).and_then(|index| ended.tasks.get(index)) {
                Some(task) => report::text::reported(task, width),
                // The tasks are in the list.
                None => ui::exam::outcome(&ended.result, width),
            },
        },
    }
}

fn bottom(console: &Console, width: u16) -> Paragraph<'static> {
    let (tone, text) = match (&console.message, console.busy) {
        (_, true) if !console.stage.is_empty() => (Tone::Plain, format!("{} …", console.stage)),
        (Some((tone, text)), _) => (*tone, text.clone()),
        (None, _) => (Tone::Plain, String::new()),
    };
    let style = match tone {
        Tone::Plain => Style::new(),
        Tone::Alert => coloured(console, Color::Yellow).add_modifier(Modifier::BOLD | Modifier::REVERSED),
        Tone::Bad => coloured(console, Color::Red).add_modifier(Modifier::BOLD),
    };
    let more = match (console.scroll < console.furthest, console.scroll > 0) {
        (true, false) => " more below ",
        (true, true) => " more above and below ",
        (false, true) => " more above ",
        (false, false) => "",
    };
    let room = usize::from(width).saturating_sub(more.width() + 1);
    let text = layout::shorten(&text, room);
    let gap = " ".repeat(room.saturating_sub(text.width()));
    Paragraph::new(Line::from(vec![
        Span::raw(" "),
        Span::styled(text, style),
        Span::raw(gap),
        Span::styled(more, Style::new().add_modifier(Modifier::DIM)),
    ]))
}

/// The keys that there are, those that are used least left out where there is no room.
fn keys_line(console: &Console, width: u16) -> Paragraph<'static> {
    let mut keys: Vec<(u8, &str, &str)> = match (console.state(), console.ended.is_some()) {
        (Some(TaskState::Running), _) => vec![
            (0, "n", "next"),
            (3, "p", "prev"),
            (0, "f", "flag"),
            (2, "e", "note"),
            (1, "c", "copy"),
            (1, "s", "ssh"),
            (1, "t", "tasks"),
            (0, "S", "submit"),
            (0, "?", "help"),
            (0, "q", "quit"),
        ],
        (Some(TaskState::Submitted), true) => vec![
            (0, "n", "next"),
            (0, "p", "prev"),
            (1, "s", "ssh"),
            (1, "t", "tasks"),
            (0, "?", "help"),
            (0, "q", "quit"),
        ],
        (Some(TaskState::Preparing), _) => vec![(0, "Enter", "start the clock"), (0, "q", "quit")],
        _ => vec![(0, "q", "quit")],
    };
    let wide = |keys: &[(u8, &str, &str)]| {
        keys.iter().map(|(_, key, what)| key.width() + what.width() + 3).sum::<usize>().saturating_sub(2)
    };
    for least in (1..=3).rev() {
        while wide(&keys) > usize::from(width) {
            let Some(place) = keys.iter().rposition(|(worth, _, _)| *worth == least) else { break };
            keys.remove(place);
        }
    }
    let mut spans = Vec::new();
    for (_, key, what) in keys {
        let strong = coloured(console, Color::Cyan).add_modifier(Modifier::BOLD);
        spans.extend([Span::styled(key, strong), Span::raw(format!(" {what}  "))]);
    }
    Paragraph::new(Line::from(spans))
}

/// What is asked: a line at the bottom, or a box above the text.
fn ask(console: &Console, frame: &mut Frame<'_>, body: Rect, line: Rect) {
    let Some(prompt) = &console.prompt else { return };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut typed = |label: String, value: &str, cursor: usize| {
        frame.render_widget(Clear, line);
        let room = usize::from(line.width).saturating_sub(label.width() + 1);
        let first = cursor.saturating_sub(room.saturating_sub(1));
        let value: String = value.chars().skip(first).collect();
        let place = label.width() + cursor - first;
        let place = line.x + u16::try_from(place).unwrap_or(u16::MAX).min(line.width.saturating_sub(1));
        let spans = vec![Span::styled(label, bold), Span::raw(value)];
        frame.render_widget(Paragraph::new(Line::from(spans)), line);
        frame.set_cursor_position((place, line.y));
    };
    match prompt {
        Prompt::Goto(number) => typed(" task: ".to_owned(), number, number.len()),
        Prompt::Note(note) => {
            let number = console.status.as_ref().map_or(0, |status| status.current);
            typed(format!(" note on task {number}: "), note.value(), note.visual_cursor());
        }
        Prompt::Help => boxed(frame, body, " keys ", help(console)),
        Prompt::Copy { names, at } => {
            let rows = usize::from(body.height).saturating_sub(3).max(1);
            let first = (at + 1).saturating_sub(rows);
            let row = |(place, name): (usize, &String)| {
                let key = PICKS.chars().nth(place).unwrap_or(' ');
                let more = if name.trim_end().lines().count() > 1 { " …" } else { "" };
                let name = layout::shorten(name.lines().next().unwrap_or_default(), 60);
                let line = Line::from(vec![
                    Span::styled(format!(" {key} "), bold),
                    Span::raw(format!("{name}{more} ")),
                ]);
                if place == *at { line.style(Style::new().add_modifier(Modifier::REVERSED)) } else { line }
            };
            let lines = names.iter().enumerate().skip(first).take(rows).map(row).collect();
            boxed(frame, body, " copy: a key, or ↑ ↓ Enter ", lines);
        }
        Prompt::Submit => boxed(frame, body, " submit ", submit(console)),
        Prompt::Force(count) => {
            let checks = layout::count(*count, "check", "checks");
            let lines = [
                format!("{checks} could not be judged, so nothing was"),
                "submitted. They would count as not earned.".to_owned(),
                String::new(),
                "Submit all the same?".to_owned(),
                String::new(),
                "y  yes, for good      any other key  no".to_owned(),
            ];
            boxed(frame, body, " submit ", lines.map(Line::from).to_vec());
        }
    }
}

fn submit(console: &Console) -> Vec<Line<'static>> {
    let Some(status) = &console.status else { return Vec::new() };
    let count = |of: fn(&ExamTaskStatus) -> bool| status.tasks.iter().filter(|task| of(task)).count();
    let (unseen, flagged) = (count(|task| !task.visited), count(|task| task.flagged));
    let left = layout::clock_time(Duration::from_secs(status.left_seconds));
    vec![
        Line::from("Submit the exam for good?"),
        Line::default(),
        Line::from(format!(
            "{unseen} of {} tasks were not visited, {flagged} are flagged,",
            status.tasks.len()
        )),
        Line::from(format!("{left} are left.")),
        Line::default(),
        Line::from("y  yes, for good      any other key  no"),
    ]
}

fn help(console: &Console) -> Vec<Line<'static>> {
    let rows: &[(&str, &str)] = match console.state() {
        Some(TaskState::Submitted) => &[
            ("n p → ←", "the result, then each task"),
            ("number", "that task; 0 is the result"),
            ("↑ ↓ Space b", "scroll"),
            ("s", "a shell on the host; its state is still there"),
            ("t", "tasks on and off"),
            ("q", "leave; cks-lab exam abort removes the clusters"),
        ],
        _ => &[
            ("n", "next: not visited, else flagged (exam next)"),
            ("p ← →", "previous and following (exam task N)"),
            ("number", "to that task, with Enter"),
            ("f", "flag to come back, or take it away (exam flag)"),
            ("e", "note (exam note)"),
            ("c", "copy a name or the host"),
            ("s", "a shell on the host, here (ssh <host>)"),
            ("t", "tasks on and off; off, text is alone to be selected"),
            ("↑ ↓ Space b", "scroll"),
            ("S", "submit, after a question (exam submit)"),
            ("q", "leave; the exam and its clock go on"),
            ("", ""),
            ("· F n", "visited, flagged, noted"),
        ],
    };
    let strong = coloured(console, Color::Cyan).add_modifier(Modifier::BOLD);
    let line = |(key, what): &(&'static str, &'static str)| {
        Line::from(vec![Span::styled(layout::pad(key, 13), strong), Span::raw(*what)])
    };
    rows.iter().map(line).collect()
}

fn boxed(frame: &mut Frame<'_>, over: Rect, title: &'static str, lines: Vec<Line<'static>>) {
    let wide = lines.iter().map(Line::width).max().unwrap_or(0).max(title.width()) + 4;
    let width = u16::try_from(wide).unwrap_or(u16::MAX).min(over.width);
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(over.height);
    let area =
        Rect { x: over.x + (over.width - width) / 2, y: over.y + (over.height - height) / 2, width, height };
    frame.render_widget(Clear, area);
    frame.render_widget(Block::bordered().title(title), area);
    frame.render_widget(Paragraph::new(lines), area.inner(Margin::new(2, 1)));
}
