//! The terminal: data to stdout, all else to stderr, colour where it is wanted, width, progress, questions.
//! Knows events and text, not commands.

pub mod exam;
pub mod markdown;
mod progress;
pub mod raw;

use std::io::{self, IsTerminal as _, Write as _};

use crate::lab::event::{Event, Observer};
use crate::layout::{self, BAD, CODE, FAINT, WARN, paint};

use progress::Line;

/// How data is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs; the schemas are in the reference.
    Json,
}

/// How the terminal is to be used.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// How data is written.
    pub format: Format,
    /// Whether only data, warnings and errors are written.
    pub quiet: bool,
    /// Whether colour is wanted at all.
    pub colour: bool,
    /// Whether terminals can move the cursor.
    pub dumb: bool,
    /// The width, where it is not the terminal's own.
    pub width: Option<usize>,
}

/// The widest that text is laid out.
const WIDEST: usize = 110;

/// The terminal.
pub struct Ui {
    settings: Settings,
    line: Line,
}

impl Ui {
    /// Takes the terminal of this process.
    pub fn new(settings: Settings) -> Self {
        let moving = io::stderr().is_terminal() && !settings.dumb && !settings.quiet;
        Self { settings, line: Line::new(moving, settings.colour) }
    }

    /// Returns how data is written.
    pub fn format(&self) -> Format {
        self.settings.format
    }

    /// Returns the columns that text may take: no more than can be read well.
    pub fn width(&self) -> usize {
        self.columns().min(WIDEST)
    }

    /// Returns the columns that there are, for tables.
    pub fn columns(&self) -> usize {
        let terminal = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        self.settings.width.or_else(terminal).unwrap_or(80).max(40)
    }

    /// Tells whether stdout shows colours.
    pub fn coloured(&self) -> bool {
        self.settings.colour && io::stdout().is_terminal()
    }

    /// Tells whether there is a line of progress that is written over.
    pub fn moves(&self) -> bool {
        self.line.moves()
    }

    /// Tells whether somebody can be asked.
    pub fn interactive(&self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Tells whether the whole screen can be drawn on and keys be read.
    pub fn full_screen(&self) -> bool {
        io::stdin().is_terminal() && io::stdout().is_terminal() && !self.settings.dumb
    }

    /// Writes data to stdout.
    ///
    /// # Errors
    /// The system's, for example on a full disk or a closed pipe.
    pub fn data(&self, text: &str) -> io::Result<()> {
        self.line.clear();
        let mut out = io::stdout().lock();
        match self.coloured() {
            true => out.write_all(text.as_bytes())?,
            false => write!(out, "{}", anstream::adapter::strip_str(text))?,
        }
        out.flush()
    }

    /// Renders Markdown for stdout.
    pub fn markdown(&self, text: &str) -> String {
        markdown::render(text, self.width(), self.coloured())
    }

    /// Writes a remark to stderr, unless it is to be quiet.
    pub fn note(&self, text: &str) {
        if !self.settings.quiet {
            self.err(text);
        }
    }

    /// Writes a command that can be typed next, with what it does, to stderr.
    pub fn next(&self, rows: &[(&str, &str)]) {
        let mut table = layout::Table::bare();
        for (command, what) in rows {
            table.row([paint(CODE, command), paint(FAINT, what)]);
        }
        self.note(table.render(self.width(), "  ").trim_end());
    }

    /// Writes a warning to stderr.
    pub fn warn(&self, text: &str) {
        let lead = format!("{} ", paint(WARN, "warning:"));
        self.err(&layout::wrap(text, self.width(), &lead, "  "));
    }

    /// Writes an error with its causes and hints to stderr.
    pub fn error(&self, message: &str, causes: &[String], hints: &[String]) {
        let width = self.width();
        let lead = format!("{} ", paint(BAD, "error:"));
        let mut text = layout::wrap(message, width, &lead, "  ");
        for cause in causes {
            text.push('\n');
            text.push_str(&layout::wrap(cause, width, &format!("  {} ", paint(FAINT, "caused by:")), "    "));
        }
        for hint in hints {
            text.push('\n');
            text.push_str(&layout::wrap(hint, width, &format!("  {} ", paint(CODE, "hint:")), "    "));
        }
        self.err(&text);
    }

    /// Writes a fault of an authored file to stderr, as it is laid out already.
    pub fn fault(&self, text: &str) {
        self.err(&format!("{text}\n"));
    }

    /// Asks a question that is answered with yes or no; `None` when there is nobody to ask.
    ///
    /// # Errors
    /// The system's.
    pub fn confirm(&self, question: &str) -> io::Result<Option<bool>> {
        if !self.interactive() {
            return Ok(None);
        }
        self.line.clear();
        let mut err = io::stderr().lock();
        write!(err, "{} [y/N] ", layout::wrap(question, self.width(), "", ""))?;
        err.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        Ok(Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")))
    }

    /// Ends the line of progress.
    pub fn settle(&self) {
        self.line.clear();
    }

    fn err(&self, text: &str) {
        self.line.clear();
        let colour = self.settings.colour && io::stderr().is_terminal();
        write_err(text, colour);
    }
}

impl Observer for Ui {
    fn observe(&self, event: Event) {
        match event {
            Event::Stage { text } if self.line.moves() => self.line.stage(&text, self.width()),
            Event::Detail { text } if self.line.moves() => self.line.detail(&text, self.width()),
            Event::Stage { text } => self.note(&text),
            Event::Detail { text } => self.note(&format!("  {text}")),
            Event::Warning { text } => self.warn(&text),
            Event::Alert { minutes, left_seconds } => self.warn(&exam::alert(minutes, left_seconds)),
            Event::Output { text } => self.note(&format!("{} {text}", paint(FAINT, "|"))),
        }
    }
}

fn write_err(text: &str, colour: bool) {
    // Where stderr cannot be written there is nobody to tell.
    let mut err = io::stderr().lock();
    let _ = match colour {
        true => writeln!(err, "{text}"),
        false => writeln!(err, "{}", anstream::adapter::strip_str(text)),
    };
}
