//! What the console shows and what a key does: plain data and pure steps. `draw` puts it on the screen, `tui` does
//! what the keys ask for.

use std::time::Duration;

use ratatui::crossterm::event::{Event as Input, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tui_input::{Input as Line, InputRequest};

use super::names::names;
use crate::exam;
use crate::lab::error::LabError;
use crate::lab::event::Event;
use crate::lab::exam::view::{ExamResult, ExamRules, ExamStatus, ExamTaskStatus, ExamTaskView};
use crate::report::ReportedTask;
use crate::session::TaskState;
use crate::ui;

/// The keys that choose from a list, in its order.
pub(super) const PICKS: &str = "123456789abcdefghilmnoprstuvwxyz";

/// What a key asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Leave,
    Begin,
    Turn(usize),
    Next,
    Flag(usize),
    Note(usize, String),
    Submit { force: bool },
    Copy(String),
    Ssh(String),
}

/// What came of something that was asked for.
pub(super) enum Done {
    Nothing,
    Ended(Box<Ended>),
}

/// What an exam came to.
pub(super) struct Ended {
    pub(super) result: ExamResult,
    pub(super) tasks: Vec<ReportedTask>,
}

/// What is asked of the candidate.
#[derive(Debug, Clone)]
pub(super) enum Prompt {
    Help,
    Goto(String),
    Note(Line),
    Copy {
        names: Vec<String>,
        at: usize,
    },
    Submit,
    /// So many checks cannot be judged.
    Force(usize),
}

/// How urgent a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Alert,
    Bad,
}

/// What the console shows.
pub(super) struct Console {
    pub(super) colour: bool,
    pub(super) status: Option<ExamStatus>,
    pub(super) rules: Option<ExamRules>,
    /// The task that the candidate is at.
    pub(super) task: Option<ExamTaskView>,
    pub(super) ended: Option<Ended>,
    /// After the end: the task that is looked at; 0 is the whole.
    pub(super) looked_at: usize,
    /// Whether the list of tasks is shown, where the candidate has chosen.
    pub(super) list: Option<bool>,
    /// The first line that is shown, and how many there are beyond the last that fits.
    pub(super) scroll: usize,
    pub(super) furthest: usize,
    /// How many lines of text are shown at once.
    pub(super) page: usize,
    pub(super) wide: bool,
    pub(super) prompt: Option<Prompt>,
    pub(super) message: Option<(Tone, String)>,
    pub(super) busy: bool,
    /// What is being done, in the lab's words.
    pub(super) stage: String,
    /// The alert that stands; none before the first look.
    alert: Option<Option<u32>>,
}

impl Console {
    pub(super) fn new(colour: bool) -> Self {
        Self {
            colour,
            status: None,
            rules: None,
            task: None,
            ended: None,
            looked_at: 0,
            list: None,
            scroll: 0,
            furthest: 0,
            page: 1,
            wide: true,
            prompt: None,
            message: None,
            busy: false,
            stage: String::new(),
            alert: None,
        }
    }

    /// Takes in how the exam stands now. Tells whether the bell is to ring.
    pub(super) fn update(
        &mut self,
        status: ExamStatus,
        text: impl Fn(usize) -> Result<ExamTaskView, LabError>,
    ) -> bool {
        let current = status.current;
        let shown = self.task.as_ref().map(|task| task.status.place.number);
        if shown != Some(current) {
            match text(current) {
                Ok(task) => self.task = Some(task),
                Err(error) => self.fail(&error),
            }
            if shown.is_some() {
                self.scroll = 0;
                self.prompt = None;
            }
        }
        let stands = match status.state {
            TaskState::Running => exam::alert(
                Duration::from_secs(status.left_seconds),
                Duration::from_secs(status.minutes * 60),
            ),
            _ => None,
        };
        let before = self.alert.replace(stands);
        let crossed = stands.filter(|_| before.is_some_and(|before| before != stands));
        if let Some(minutes) = crossed {
            self.say(Tone::Alert, ui::exam::alert(minutes, status.left_seconds));
        }
        let ended = |status: &ExamStatus| status.state == TaskState::Submitted;
        if ended(&status) && self.status.as_ref().is_some_and(|before| !ended(before)) {
            self.prompt = None;
            self.scroll = 0;
        }
        self.status = Some(status);
        crossed.is_some()
    }

    /// Takes in what the lab tells.
    pub(super) fn hear(&mut self, event: Event) {
        match event {
            Event::Stage { text } | Event::Detail { text } => self.stage = text,
            Event::Warning { text } => self.say(Tone::Bad, text),
            Event::Alert { minutes, left_seconds } => {
                self.say(Tone::Alert, ui::exam::alert(minutes, left_seconds));
            }
            Event::Output { .. } => {}
        }
    }

    /// Takes in what came of what was asked for.
    pub(super) fn done(&mut self, done: Result<Done, LabError>) {
        self.stage.clear();
        match done {
            Ok(Done::Nothing) => {}
            Ok(Done::Ended(ended)) => {
                self.ended = Some(*ended);
                self.scroll = 0;
            }
            Err(LabError::Undecided { count }) => self.prompt = Some(Prompt::Force(count)),
            Err(error) => self.fail(&error),
        }
    }

    pub(super) fn fail(&mut self, error: &LabError) {
        self.say(Tone::Bad, error.to_string());
    }

    fn say(&mut self, tone: Tone, text: impl Into<String>) {
        self.message = Some((tone, text.into()));
    }

    pub(super) fn state(&self) -> Option<TaskState> {
        self.status.as_ref().map(|status| status.state)
    }

    /// The alert that stands.
    pub(super) fn alerted(&self) -> Option<u32> {
        self.alert.flatten()
    }

    /// The task that keys are about.
    pub(super) fn here(&self) -> Option<&ExamTaskStatus> {
        let status = self.status.as_ref()?;
        let number = match self.ended {
            Some(_) => self.looked_at,
            None => status.current,
        };
        status.tasks.get(number.checked_sub(1)?)
    }

    /// Takes in what was typed.
    pub(super) fn input(&mut self, input: &Input) -> Option<Action> {
        match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => self.key(*key),
            Input::Paste(text) => {
                if let Some(Prompt::Note(line)) = &mut self.prompt {
                    for letter in text.chars().filter(|letter| !letter.is_control()) {
                        line.handle(InputRequest::InsertChar(letter));
                    }
                }
                None
            }
            _ => None,
        }
    }

    fn key(&mut self, key: KeyEvent) -> Option<Action> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('c') {
            return Some(Action::Leave);
        }
        self.message = None;
        match self.prompt.take() {
            Some(prompt) => self.answer(prompt, key),
            None => self.command(key),
        }
    }

    fn command(&mut self, key: KeyEvent) -> Option<Action> {
        let page = self.page.saturating_sub(2).max(1);
        match key.code {
            KeyCode::Char('q') => return Some(Action::Leave),
            KeyCode::Char('?') | KeyCode::F(1) => self.prompt = Some(Prompt::Help),
            KeyCode::Down | KeyCode::Char('j') => self.scroll_to(self.scroll.saturating_add(1)),
            KeyCode::Up | KeyCode::Char('k') => self.scroll_to(self.scroll.saturating_sub(1)),
            KeyCode::PageDown | KeyCode::Char(' ') => self.scroll_to(self.scroll.saturating_add(page)),
            KeyCode::PageUp | KeyCode::Char('b') => self.scroll_to(self.scroll.saturating_sub(page)),
            KeyCode::Home => self.scroll_to(0),
            KeyCode::End => self.scroll_to(usize::MAX),
            _ => {
                return match self.state()? {
                    TaskState::Running => self.running(key.code),
                    TaskState::Submitted => self.ended(key.code),
                    TaskState::Preparing => self.waiting(key.code),
                    TaskState::Failed => None,
                };
            }
        }
        None
    }

    fn scroll_to(&mut self, line: usize) {
        self.scroll = line.min(self.furthest);
    }

    fn waiting(&self, key: KeyCode) -> Option<Action> {
        let ready = self.status.as_ref().is_some_and(|status| status.ready);
        (ready && key == KeyCode::Enter).then_some(Action::Begin)
    }

    fn running(&mut self, key: KeyCode) -> Option<Action> {
        let status = self.status.as_ref()?;
        let (current, count) = (status.current, status.tasks.len());
        match key {
            KeyCode::Char('n') => return Some(Action::Next),
            KeyCode::Right | KeyCode::Char(']') => return Some(Action::Turn(current % count.max(1) + 1)),
            KeyCode::Left | KeyCode::Char('p' | '[') => {
                return Some(Action::Turn(if current <= 1 { count } else { current - 1 }));
            }
            KeyCode::Char('f') => return Some(Action::Flag(current)),
            KeyCode::Char('s') => return self.here().map(|task| Action::Ssh(task.place.host.clone())),
            KeyCode::Char('g') => self.prompt = Some(Prompt::Goto(String::new())),
            KeyCode::Char(digit) if digit.is_ascii_digit() => {
                self.prompt = Some(Prompt::Goto(digit.to_string()));
            }
            KeyCode::Char('e') => {
                let note = self.here().map(|task| task.note.clone()).unwrap_or_default();
                self.prompt = Some(Prompt::Note(Line::new(note)));
            }
            KeyCode::Char('c') => self.offer(),
            KeyCode::Char('t') => self.turn_list(),
            KeyCode::Char('S') => self.prompt = Some(Prompt::Submit),
            _ => {}
        }
        None
    }

    fn ended(&mut self, key: KeyCode) -> Option<Action> {
        let count = self.ended.as_ref()?.tasks.len();
        let at = match key {
            KeyCode::Char('n' | ']') | KeyCode::Right => (self.looked_at + 1) % (count + 1),
            KeyCode::Char('p' | '[') | KeyCode::Left => (self.looked_at + count) % (count + 1),
            KeyCode::Char('g') => {
                self.prompt = Some(Prompt::Goto(String::new()));
                return None;
            }
            KeyCode::Char(digit) if digit.is_ascii_digit() => {
                self.prompt = Some(Prompt::Goto(digit.to_string()));
                return None;
            }
            KeyCode::Char('t') => {
                self.turn_list();
                return None;
            }
            KeyCode::Char('s') => return self.here().map(|task| Action::Ssh(task.place.host.clone())),
            _ => return None,
        };
        self.look_at(at);
        None
    }

    fn look_at(&mut self, number: usize) {
        self.looked_at = number;
        self.scroll = 0;
    }

    /// Whether the list of tasks is shown: beside the text where there is room, else in its place.
    pub(super) fn lists(&self) -> bool {
        self.list.unwrap_or(self.wide)
    }

    fn turn_list(&mut self) {
        self.list = Some(!self.lists());
    }

    fn offer(&mut self) {
        let Some(task) = &self.task else { return };
        let mut all = vec![format!("cks-lab ssh {}", task.status.place.host)];
        all.extend(names(&task.text));
        self.prompt = Some(Prompt::Copy { names: all, at: 0 });
    }

    /// Takes in a key that answers what was asked. What is not answered is asked no more.
    fn answer(&mut self, prompt: Prompt, key: KeyEvent) -> Option<Action> {
        if key.code == KeyCode::Esc {
            return None;
        }
        match prompt {
            Prompt::Help => None,
            Prompt::Goto(number) => self.go_to(number, key.code),
            Prompt::Note(line) => self.note(line, key),
            Prompt::Copy { names, at } => self.pick(names, at, key.code),
            Prompt::Submit => {
                matches!(key.code, KeyCode::Char('y' | 'Y')).then_some(Action::Submit { force: false })
            }
            Prompt::Force(_) => {
                matches!(key.code, KeyCode::Char('y' | 'Y')).then_some(Action::Submit { force: true })
            }
        }
    }

    fn go_to(&mut self, mut number: String, key: KeyCode) -> Option<Action> {
        match key {
            KeyCode::Enter => {
                let wanted: Option<usize> = number.parse().ok();
                let count = self.status.as_ref().map_or(0, |status| status.tasks.len());
                match (wanted, self.ended.is_some()) {
                    (Some(wanted), true) if wanted <= count => self.look_at(wanted),
                    (Some(wanted), false) if (1..=count).contains(&wanted) => {
                        return Some(Action::Turn(wanted));
                    }
                    _ => self.say(Tone::Bad, format!("the tasks are 1 to {count}")),
                }
                return None;
            }
            KeyCode::Backspace => drop(number.pop()),
            KeyCode::Char(digit) if digit.is_ascii_digit() && number.len() < 3 => number.push(digit),
            _ => {}
        }
        self.prompt = Some(Prompt::Goto(number));
        None
    }

    fn note(&mut self, mut line: Line, key: KeyEvent) -> Option<Action> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let request = match key.code {
            KeyCode::Enter => {
                let number = self.status.as_ref()?.current;
                return Some(Action::Note(number, line.value().to_owned()));
            }
            KeyCode::Char('u') if control => InputRequest::DeleteLine,
            KeyCode::Char('w') if control => InputRequest::DeletePrevWord,
            KeyCode::Char('a') if control => InputRequest::GoToStart,
            KeyCode::Char('e') if control => InputRequest::GoToEnd,
            KeyCode::Char(letter) if !control => InputRequest::InsertChar(letter),
            KeyCode::Backspace => InputRequest::DeletePrevChar,
            KeyCode::Delete => InputRequest::DeleteNextChar,
            KeyCode::Left => InputRequest::GoToPrevChar,
            KeyCode::Right => InputRequest::GoToNextChar,
            KeyCode::Home => InputRequest::GoToStart,
            KeyCode::End => InputRequest::GoToEnd,
            _ => {
                self.prompt = Some(Prompt::Note(line));
                return None;
            }
        };
        line.handle(request);
        self.prompt = Some(Prompt::Note(line));
        None
    }

    fn pick(&mut self, names: Vec<String>, at: usize, key: KeyCode) -> Option<Action> {
        let last = names.len().saturating_sub(1);
        let chosen = match key {
            KeyCode::Down => Err((at + 1).min(last)),
            KeyCode::Up => Err(at.saturating_sub(1)),
            KeyCode::PageDown | KeyCode::End => Err(last),
            KeyCode::PageUp | KeyCode::Home => Err(0),
            KeyCode::Enter => Ok(at),
            KeyCode::Char(letter) => match PICKS.find(letter).filter(|place| *place <= last) {
                Some(place) => Ok(place),
                None => return None,
            },
            _ => Err(at),
        };
        match chosen {
            Ok(place) => {
                let name = names.get(place)?.clone();
                let first = name.lines().next().unwrap_or_default();
                self.say(Tone::Plain, format!("`{first}` is handed to the terminal's clipboard"));
                Some(Action::Copy(name))
            }
            Err(at) => {
                self.prompt = Some(Prompt::Copy { names, at });
                None
            }
        }
    }
}
