//! The terminal as the console uses it: taken over and given back whatever happens, keys read in a thread of their own,
//! the bell, the clipboard. Draws nothing itself.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ratatui::crossterm::event::{self, Event};
use ratatui::{DefaultTerminal, Frame};
use tokio::sync::mpsc;

/// How soon the thread that reads keys notices that it is to end.
const LISTEN: Duration = Duration::from_millis(100);

/// The terminal in the console's hands; it is given back when this is dropped, and before the words of a panic.
pub(super) struct Screen {
    terminal: DefaultTerminal,
    keys: mpsc::UnboundedReceiver<io::Result<Event>>,
    over: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let over = Arc::new(AtomicBool::new(false));
        let (sender, keys) = mpsc::unbounded_channel();
        let stop = over.clone();
        let reader = std::thread::spawn(move || read(&sender, &stop));
        Ok(Self { terminal, keys, over, reader: Some(reader) })
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw)?;
        Ok(())
    }

    /// Waits for what is typed; none when the terminal is gone.
    pub(super) async fn next(&mut self) -> io::Result<Option<Event>> {
        self.keys.recv().await.transpose()
    }

    pub(super) fn bell(&mut self) -> io::Result<()> {
        self.send(b"\x07")
    }

    /// Hands a text to the terminal's clipboard, over ssh too, where the terminal allows it (OSC 52).
    pub(super) fn copy(&mut self, text: &str) -> io::Result<()> {
        self.send(format!("\x1b]52;c;{}\x07", STANDARD.encode(text)).as_bytes())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let out = self.terminal.backend_mut();
        out.write_all(bytes)?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The reader must have ended before a shell is opened, or it would take that shell's keys.
        self.over.store(true, Ordering::Relaxed);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        let _ = ratatui::try_restore();
    }
}

fn read(sender: &mpsc::UnboundedSender<io::Result<Event>>, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let event = match event::poll(LISTEN) {
            Ok(false) => continue,
            Ok(true) => event::read(),
            Err(error) => Err(error),
        };
        let failed = event.is_err();
        if sender.send(event).is_err() || failed {
            return;
        }
    }
}
