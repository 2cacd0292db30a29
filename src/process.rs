//! Host commands: the only file that spawns. A command runs in a process group of its own that is killed when it
//! times out, when the future is dropped, and, for what it left in the background, when it ends.
//! Knows nothing of what it runs.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};

pub mod sandbox;

/// How many lines of stderr an error carries.
const TAIL_LINES: usize = 20;
/// How many bytes of one line an error carries.
const TAIL_LINE_BYTES: usize = 500;
/// How much output is kept before the command is ended as out of hand.
const OUTPUT_LIMIT: usize = 64 * 1024 * 1024;
/// How long a command that has timed out may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// A host command, described before it is run.
#[derive(Debug, Clone)]
pub struct HostCommand {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    removed: Vec<OsString>,
    clear_env: bool,
    cwd: Option<PathBuf>,
    stdin: Option<Vec<u8>>,
    timeout: Option<Duration>,
}

/// What a command that has ended did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The exit status; 128 and the signal's number for one that was killed, as shells count.
    pub status: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: Vec<u8>,
    /// What it wrote to stderr.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Returns stdout as text, without the final line ends.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    /// Returns stderr as text, without the final line ends.
    pub fn stderr_text(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim_end().to_owned()
    }
}

/// Where a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The standard output.
    Stdout,
    /// The standard error.
    Stderr,
}

/// Why a command did not do what it should. `argv` can be pasted into a shell.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// There is no such program.
    #[error("`{program}` was not found")]
    NotFound {
        /// The program.
        program: String,
    },
    /// It could not be started.
    #[error("`{argv}` could not be started")]
    Spawn {
        /// The command line.
        argv: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// It ended with another status than 0.
    #[error("`{argv}` ended with {status}{}", tail_text(.stderr))]
    Failed {
        /// The command line.
        argv: String,
        /// The status in words, such as `status 1` or `signal 9`.
        status: String,
        /// The status as a number, as in [`Output::status`].
        code: i32,
        /// The last lines of stderr.
        stderr: String,
    },
    /// It took too long and was ended.
    #[error("`{argv}` did not end within {after:?}{}", tail_text(.stderr))]
    TimedOut {
        /// The command line.
        argv: String,
        /// How long it was given.
        after: Duration,
        /// The last lines of stderr.
        stderr: String,
    },
    /// It wrote more than is kept.
    #[error("`{argv}` wrote more than {} MiB", OUTPUT_LIMIT / 1024 / 1024)]
    TooMuchOutput {
        /// The command line.
        argv: String,
    },
    /// Its pipes failed.
    #[error("`{argv}` could not be read")]
    Io {
        /// The command line.
        argv: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

fn tail_text(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(":\n{stderr}") }
}

/// A process that lives on when this one ends.
#[derive(Debug)]
pub struct Detached {
    child: std::process::Child,
    argv: String,
}

impl Detached {
    /// Returns its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns its exit status in words when it has ended already.
    ///
    /// # Errors
    /// [`ProcessError::Io`] when it cannot be asked.
    pub fn ended(&mut self) -> Result<Option<String>, ProcessError> {
        let status =
            self.child.try_wait().map_err(|source| ProcessError::Io { argv: self.argv.clone(), source })?;
        Ok(status.map(|status| words(status).0))
    }
}

impl HostCommand {
    /// Describes a command; the program is looked up on `PATH`.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            removed: Vec::new(),
            clear_env: false,
            cwd: None,
            stdin: None,
            timeout: None,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = A>, A: Into<OsString>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Takes an environment variable away.
    #[must_use]
    pub fn remove_env(mut self, name: impl Into<OsString>) -> Self {
        self.removed.push(name.into());
        self
    }

    /// Starts from an empty environment.
    #[must_use]
    pub fn clear_env(mut self) -> Self {
        self.clear_env = true;
        self
    }

    /// Sets the working folder.
    #[must_use]
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// Sets what is written to its stdin; without it there is none.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// Sets how long it may take.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Returns the command line as it can be pasted into a shell, with the variables that were set.
    pub fn argv(&self) -> String {
        let mut words: Vec<String> = Vec::new();
        if self.clear_env {
            words.push("env -i".to_owned());
        }
        for (name, value) in &self.env {
            words.push(format!("{}={}", name.to_string_lossy(), quote(value)));
        }
        words.push(quote(&self.program));
        words.extend(self.args.iter().map(quote));
        words.join(" ")
    }

    /// Runs it to its end; another status than 0 is an error.
    ///
    /// # Errors
    /// Any [`ProcessError`].
    pub async fn run(&self) -> Result<Output, ProcessError> {
        self.succeed(self.output().await?)
    }

    /// Runs it to its end and returns its output, whatever the status.
    ///
    /// # Errors
    /// Any [`ProcessError`] but [`ProcessError::Failed`].
    pub async fn output(&self) -> Result<Output, ProcessError> {
        self.stream(|_, _| ()).await
    }

    /// Runs it to its end and hands over each line as it is written; another status than 0 is an error.
    ///
    /// # Errors
    /// Any [`ProcessError`].
    pub async fn run_lines(&self, on_line: impl FnMut(Stream, &str) + Send) -> Result<Output, ProcessError> {
        self.succeed(self.stream(on_line).await?)
    }

    /// Runs it on the terminal of this process, with its stdin, stdout and stderr, and returns the exit status.
    /// It stays in this process group, so that the terminal's job control reaches it; the timeout is not kept.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`], [`ProcessError::Spawn`] or [`ProcessError::Io`].
    pub async fn on_terminal(&self) -> Result<i32, ProcessError> {
        let mut command = tokio::process::Command::from(self.prepare());
        let mut child = command.spawn().map_err(|source| self.spawn_error(source))?;
        let status = child.wait().await.map_err(|source| self.io_error(source))?;
        Ok(words(status).1)
    }

    /// Becomes it: this process ends and the command has its place, terminal and parent. Returns only when that failed.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`] or [`ProcessError::Spawn`].
    pub fn replace(&self) -> Result<std::convert::Infallible, ProcessError> {
        use std::os::unix::process::CommandExt as _;

        Err(self.spawn_error(self.prepare().exec()))
    }

    /// Starts it as a process that lives on: own process group, no stdin, stdout and stderr appended to `log`.
    ///
    /// # Errors
    /// [`ProcessError::NotFound`], [`ProcessError::Spawn`], or [`ProcessError::Io`] when the log cannot be opened.
    pub fn spawn_detached(&self, log: &Path) -> Result<Detached, ProcessError> {
        use std::os::unix::fs::OpenOptionsExt as _;
        use std::os::unix::process::CommandExt as _;

        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(log)
            .map_err(|source| self.io_error(source))?;
        let copy = log.try_clone().map_err(|source| self.io_error(source))?;
        let mut command = self.prepare();
        command.stdin(Stdio::null()).stdout(log).stderr(copy).process_group(0);
        let child = command.spawn().map_err(|source| self.spawn_error(source))?;
        Ok(Detached { child, argv: self.argv() })
    }

    async fn stream(&self, mut on_line: impl FnMut(Stream, &str) + Send) -> Result<Output, ProcessError> {
        let mut command = self.prepare();
        command.stdin(if self.stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut command = tokio::process::Command::from(command);
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| self.spawn_error(source))?;
        let mut group = Group(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw));

        let stdin = child.stdin.take().zip(self.stdin.clone());
        let feed = async {
            if let Some((mut pipe, bytes)) = stdin {
                // A command that does not read all of its input is not in error for it.
                let _ = pipe.write_all(&bytes).await;
                let _ = pipe.shutdown().await;
            }
        };
        let (sender, mut lines) = tokio::sync::mpsc::channel(64);
        let out =
            child.stdout.take().map(|pipe| tokio::spawn(read_lines(pipe, Stream::Stdout, sender.clone())));
        let err = child.stderr.take().map(|pipe| tokio::spawn(read_lines(pipe, Stream::Stderr, sender)));
        let readers = Readers([out, err]);

        let mut output = Output { status: 0, signal: None, stdout: Vec::new(), stderr: Vec::new() };
        let mut tail = Tail::default();
        let limit = self.timeout.unwrap_or(Duration::MAX);
        let collect = async {
            while let Some((stream, line)) = lines.recv().await {
                let line: Vec<u8> = line.map_err(|source| self.io_error(source))?;
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end_matches(['\n', '\r']);
                if stream == Stream::Stderr {
                    tail.push(text);
                }
                on_line(stream, text);
                let kept = match stream {
                    Stream::Stdout => &mut output.stdout,
                    Stream::Stderr => &mut output.stderr,
                };
                kept.extend_from_slice(&line);
                if kept.len() > OUTPUT_LIMIT {
                    return Err(ProcessError::TooMuchOutput { argv: self.argv() });
                }
            }
            Ok(())
        };
        let wait = async {
            let status = child.wait().await.map_err(|source| self.io_error(source));
            // What it left in the background would hold the pipes open and outlive the step it belongs to.
            group.kill(Signal::SIGKILL);
            status
        };
        let both = async {
            let (status, collected, ()) = futures::join!(wait, collect, feed);
            collected.and(status)
        };
        let ended = tokio::time::timeout(limit, both).await;
        drop(readers);
        match ended {
            Ok(status) => {
                let status = status?;
                output.status = words(status).1;
                output.signal = status.signal();
                group.0 = None;
                Ok(output)
            }
            Err(_) => {
                group.kill(Signal::SIGTERM);
                let _ = tokio::time::timeout(GRACE, child.wait()).await;
                group.kill(Signal::SIGKILL);
                Err(ProcessError::TimedOut { argv: self.argv(), after: limit, stderr: tail.text() })
            }
        }
    }

    fn succeed(&self, output: Output) -> Result<Output, ProcessError> {
        if output.status == 0 {
            return Ok(output);
        }
        let mut tail = Tail::default();
        output.stderr_text().lines().for_each(|line| tail.push(line));
        let status = match output.signal {
            Some(signal) => format!("signal {signal}"),
            None => format!("status {}", output.status),
        };
        Err(ProcessError::Failed { argv: self.argv(), status, code: output.status, stderr: tail.text() })
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    fn prepare(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.args);
        if self.clear_env {
            command.env_clear();
        }
        for name in &self.removed {
            command.env_remove(name);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command
    }

    fn spawn_error(&self, source: std::io::Error) -> ProcessError {
        // A missing working folder is reported by the system in the same words as a missing program.
        let folder_exists = self.cwd.as_ref().is_none_or(|dir| dir.is_dir());
        if source.kind() == std::io::ErrorKind::NotFound && folder_exists {
            return ProcessError::NotFound { program: self.program.to_string_lossy().into_owned() };
        }
        ProcessError::Spawn { argv: self.argv(), source }
    }

    fn io_error(&self, source: std::io::Error) -> ProcessError {
        ProcessError::Io { argv: self.argv(), source }
    }
}

/// Tells whether a process with this id lives.
pub fn is_alive(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else { return false };
    match nix::sys::signal::kill(Pid::from_raw(pid), None) {
        Ok(()) => true,
        Err(errno) => errno == nix::errno::Errno::EPERM,
    }
}

/// Quotes a word for a POSIX shell where it needs it.
pub fn quote(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref().to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Kills the process group when dropped before the command has ended.
struct Group(Option<Pid>);

impl Group {
    fn kill(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // The group may be gone, which is what is wanted.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill(Signal::SIGKILL);
    }
}

/// Ends the pipe readers when dropped.
struct Readers([Option<tokio::task::JoinHandle<()>>; 2]);

impl Drop for Readers {
    fn drop(&mut self) {
        for reader in self.0.iter().flatten() {
            reader.abort();
        }
    }
}

type Line = (Stream, std::io::Result<Vec<u8>>);

async fn read_lines(pipe: impl AsyncRead + Unpin, stream: Stream, to: tokio::sync::mpsc::Sender<Line>) {
    let mut reader = BufReader::new(pipe);
    loop {
        let mut line = Vec::new();
        let read = reader.read_until(b'\n', &mut line).await;
        let line = match read {
            Ok(0) => return,
            Ok(_) => Ok(line),
            Err(error) => Err(error),
        };
        let failed = line.is_err();
        if to.send((stream, line)).await.is_err() || failed {
            return;
        }
    }
}

/// The last lines of a stream.
#[derive(Default)]
struct Tail(VecDeque<String>);

impl Tail {
    fn push(&mut self, line: &str) {
        if self.0.len() == TAIL_LINES {
            self.0.pop_front();
        }
        let mut end = line.len().min(TAIL_LINE_BYTES);
        while !line.is_char_boundary(end) {
            end -= 1;
        }
        self.0.push_back(line[..end].to_owned());
    }

    fn text(&self) -> String {
        self.0.iter().map(String::as_str).collect::<Vec<_>>().join("\n").trim().to_owned()
    }
}

fn words(status: ExitStatus) -> (String, i32) {
    match (status.code(), status.signal()) {
        (Some(code), _) => (format!("status {code}"), code),
        (None, Some(signal)) => (format!("signal {signal}"), 128 + signal),
        (None, None) => ("an unknown status".to_owned(), 1),
    }
}

#[cfg(test)]
mod tests;
