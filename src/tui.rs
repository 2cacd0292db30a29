//! The console of an exam: one screen over the session, for a candidate who works in other terminals. Everything that
//! it does is a command too. It reads the session anew all the time and keeps nothing of its own; knows no files.

mod console;
mod draw;
mod names;
mod terminal;
mod text;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::lab::Lab;
use crate::lab::error::{LabError, StoreError};
use crate::lab::event::{Event, Observer};
use crate::lab::interrupt::Interrupt;
use crate::session::{SessionId, TaskState};

use console::{Action, Console, Done, Ended};
use terminal::Screen;

/// How often the session is read and the clock is drawn.
const TICK: Duration = Duration::from_secs(1);

/// What a console is made of.
pub struct Setup<'a> {
    /// The lab; its observer is the one that [`observer`] has made.
    pub lab: &'a Lab,
    /// Which exam.
    pub session: SessionId,
    /// Whether colour is wanted.
    pub colour: bool,
    /// What the lab tells.
    pub events: &'a mut mpsc::UnboundedReceiver<Event>,
    /// Who may ask to stop.
    pub interrupt: Interrupt,
    /// Makes sure that somebody keeps the clock.
    pub keep: &'a dyn Fn(&SessionId),
}

/// Why the console was left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// The candidate wants to work on something else; the exam goes on.
    Closed,
    /// The candidate wants a shell on this host, and to come back afterwards.
    Ssh(String),
    /// The exam is not there any more.
    Gone,
}

/// Hands what the lab tells to the console.
pub struct Relay(mpsc::UnboundedSender<Event>);

impl Observer for Relay {
    fn observe(&self, event: Event) {
        // Nobody listens any more when the console was left.
        let _ = self.0.send(event);
    }
}

/// Makes the observer of the console's lab, and what the console hears through it.
pub fn observer() -> (Arc<Relay>, mpsc::UnboundedReceiver<Event>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Arc::new(Relay(sender)), receiver)
}

type Work<'a> = Pin<Box<dyn Future<Output = Result<Done, LabError>> + 'a>>;

/// Shows the console until it is left.
///
/// # Errors
/// The terminal's own.
pub async fn run(setup: Setup<'_>) -> io::Result<Left> {
    let Setup { lab, session, colour, events, mut interrupt, keep } = setup;
    let id = session.as_str();
    let mut screen = Screen::open()?;
    let mut console = Console::new(colour);
    let mut tick = tokio::time::interval(TICK);
    let mut work: Option<Work<'_>> = None;
    let mut asked: VecDeque<Action> = VecDeque::new();
    loop {
        match lab.exam_look(Some(id)) {
            Ok(status) => {
                if status.state == TaskState::Preparing && console.rules.is_none() {
                    console.rules = lab.exam_rules(Some(id)).ok();
                }
                let bell = console.update(status, |number| lab.exam_text(Some(id), number));
                if bell {
                    screen.bell()?;
                }
            }
            Err(LabError::Store(StoreError::Unknown { .. } | StoreError::None)) => return Ok(Left::Gone),
            Err(error) => console.fail(&error),
        }
        if work.is_none() {
            let next = |action| -> Work<'_> { Box::pin(act(lab, id, action)) };
            work = own_work(lab, id, &console).or_else(|| asked.pop_front().map(next));
        }
        console.busy = work.is_some();
        screen.draw(|frame| draw::draw(&mut console, frame))?;

        let action = tokio::select! {
            () = interrupt.pulled() => return Ok(Left::Closed),
            key = screen.next() => match key? {
                Some(event) => console.input(&event),
                None => return Ok(Left::Closed),
            },
            Some(event) = events.recv() => {
                console.hear(event);
                None
            }
            done = finished(&mut work) => {
                work = None;
                console.done(done);
                None
            }
            _ = tick.tick() => None,
        };
        match action {
            None => {}
            Some(Action::Leave) => return Ok(Left::Closed),
            Some(Action::Ssh(host)) => return Ok(Left::Ssh(host)),
            Some(Action::Copy(text)) => screen.copy(&text)?,
            Some(Action::Begin) => {
                match lab.exam_begin(Some(id)) {
                    Ok(started) => keep(&started.session),
                    Err(error) => console.fail(&error),
                };
            }
            // One thing at a time, in the order in which they were asked for.
            Some(action) => asked.push_back(action),
        }
    }
}

/// What is to be done without being asked: to grade when the time is up, and to read what an exam came to.
fn own_work<'a>(lab: &'a Lab, id: &'a str, console: &Console) -> Option<Work<'a>> {
    let status = console.status.as_ref()?;
    match status.state {
        TaskState::Running if status.left_seconds == 0 => {
            Some(Box::pin(async move { lab.exam_status(Some(id)).await.map(|_| Done::Nothing) }))
        }
        TaskState::Submitted if console.ended.is_none() => Some(Box::pin(async move {
            let result = lab.exam_review(Some(id)).await?;
            let tasks = lab.report(Some(id))?.tasks;
            Ok(Done::Ended(Box::new(Ended { result, tasks })))
        })),
        _ => None,
    }
}

async fn act(lab: &Lab, id: &str, action: Action) -> Result<Done, LabError> {
    match action {
        Action::Turn(number) => drop(lab.exam_task(Some(id), Some(number)).await?),
        Action::Next => drop(lab.exam_next(Some(id)).await?),
        Action::Flag(number) => drop(lab.exam_flag(Some(id), Some(number)).await?),
        Action::Note(number, note) => drop(lab.exam_note(Some(id), number, &note).await?),
        Action::Submit { force } => drop(lab.exam_submit(Some(id), force).await?),
        // These are done where they come up.
        Action::Leave | Action::Ssh(_) | Action::Copy(_) | Action::Begin => {}
    }
    Ok(Done::Nothing)
}

async fn finished(work: &mut Option<Work<'_>>) -> Result<Done, LabError> {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}
