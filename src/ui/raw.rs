//! Bytes to and from the terminal as they are, for a process that stands for another program.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

/// The most that is read from stdin.
const MOST: u64 = 4 * 1024 * 1024;

/// Writes to stdout.
///
/// # Errors
/// The system's, such as a closed pipe.
pub fn out(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Writes to stderr.
///
/// # Errors
/// The system's.
pub fn err(bytes: &[u8]) -> io::Result<()> {
    io::stderr().lock().write_all(bytes)
}

/// Reads stdin to its end, or to four megabytes.
///
/// # Errors
/// The system's.
pub fn read() -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Tells whether stdout and stderr are a terminal.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal() && io::stderr().is_terminal()
}
