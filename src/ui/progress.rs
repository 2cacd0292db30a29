//! One line on a terminal that says what is going on and that it is going on. Where the cursor cannot be moved there
//! is none.

use std::io::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::layout::{self, CODE, FAINT, paint};

const FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const TICK: Duration = Duration::from_millis(100);
/// How many ticks make a second.
const SECOND: u64 = 10;

/// The line.
pub(super) struct Line {
    moves: bool,
    shared: Arc<Shared>,
    turner: Mutex<Option<std::thread::JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    colour: bool,
}

#[derive(Default)]
struct State {
    stage: String,
    detail: String,
    width: usize,
    ticks: u64,
    shown: bool,
    ended: bool,
}

impl Line {
    pub(super) fn new(moves: bool, colour: bool) -> Self {
        let shared = Shared { state: Mutex::default(), wake: Condvar::new(), colour };
        Self { moves, shared: Arc::new(shared), turner: Mutex::default() }
    }

    /// Tells whether there is a line at all.
    pub(super) fn moves(&self) -> bool {
        self.moves
    }

    pub(super) fn stage(&self, text: &str, width: usize) {
        let mut state = self.shared.lock();
        *state = State { stage: text.to_owned(), width, ..State::default() };
        self.shared.draw(&mut state);
        drop(state);
        let mut turner = self.turner.lock().unwrap_or_else(PoisonError::into_inner);
        if turner.is_none() {
            let shared = self.shared.clone();
            *turner = Some(std::thread::spawn(move || turn(&shared)));
        }
    }

    pub(super) fn detail(&self, text: &str, width: usize) {
        let mut state = self.shared.lock();
        state.detail = text.to_owned();
        state.width = width;
        self.shared.draw(&mut state);
    }

    /// Takes the line away; the next stage brings it back.
    pub(super) fn clear(&self) {
        let mut state = self.shared.lock();
        if state.shown {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
        *state = State::default();
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.clear();
        self.shared.lock().ended = true;
        self.shared.wake.notify_all();
        let turner = self.turner.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(turner) = turner {
            let _ = turner.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw(&self, state: &mut State) {
        if state.stage.is_empty() {
            return;
        }
        let frame = FRAMES[usize::try_from(state.ticks).unwrap_or(0) % FRAMES.len()];
        let seconds = state.ticks / SECOND;
        let time = if seconds > 1 { format!(" {seconds} s") } else { String::new() };
        let room = state.width.saturating_sub(layout::columns(&time) + 3);
        let stage = layout::shorten(&state.stage, room);
        let room = room.saturating_sub(layout::columns(&stage) + 2);
        let detail = if room > 10 { layout::shorten(&state.detail, room) } else { String::new() };
        let line = format!("{} {stage}{}  {}", paint(CODE, frame), paint(FAINT, time), paint(FAINT, detail));
        let line = if self.colour { line } else { anstream::adapter::strip_str(&line).to_string() };
        let mut err = io::stderr().lock();
        let _ = write!(err, "\r\x1b[2K{}", line.trim_end());
        let _ = err.flush();
        state.shown = true;
    }
}

fn turn(shared: &Shared) {
    let mut state = shared.lock();
    while !state.ended {
        let waited = shared.wake.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner);
        state = waited.0;
        if !state.stage.is_empty() {
            state.ticks += 1;
            shared.draw(&mut state);
        }
    }
}
