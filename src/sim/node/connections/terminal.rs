//! A shell at a terminal: what is typed is shown and run line by line, in real time, until somebody leaves.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::exec::AHEAD;
use super::remote::{Gone, Input, Remote};
use super::{Target, request};
use crate::sim::node::process::Started;
use crate::sim::node::shell::bytes::{to_bytes, to_text};
use crate::sim::node::shell::{Ending, Memory, Written};

/// The longest line that is taken.
const LONGEST: usize = 64 << 10;

/// Is a shell that somebody runs beside the container's own process. Returns its exit code.
pub(super) async fn visit(target: &Target, command: &[String], remote: &mut Remote) -> Result<i32, Gone> {
    let (started, now) = (target.run.started(), target.logs.now());
    let Some(memory) = target.with(|process| Some(process.memory(started, now))) else { return Ok(1) };
    Terminal { target, command, memory, own: false }.serve(remote).await
}

/// Is the shell that the container itself runs, and goes on where others have left it. When it ends, so does the
/// container.
pub(super) async fn attach(target: &Target, remote: &mut Remote) -> Result<i32, Gone> {
    let (started, now) = (target.run.started(), target.logs.now());
    let known = target.logs.record(&target.run).console().memory.clone();
    let memory = known.or_else(|| target.with(|process| Some(process.memory(started, now))));
    let Some(memory) = memory else { return Ok(1) };
    let command = target.with(|process| process.words());
    Terminal { target, command: &command, memory, own: true }.serve(remote).await
}

struct Terminal<'a> {
    target: &'a Target,
    command: &'a [String],
    memory: Memory,
    /// Whether this is the container's own process.
    own: bool,
}

impl Terminal<'_> {
    async fn serve(&mut self, remote: &mut Remote) -> Result<i32, Gone> {
        let mut line = String::new();
        let mut escape = false;
        let mut after_return = false;
        self.prompt(remote).await?;
        loop {
            let data = match remote.next().await? {
                Input::Stdin(data) => data,
                Input::End => return Ok(self.leave(self.memory.status())),
            };
            for letter in String::from_utf8_lossy(&data).chars() {
                if escape {
                    escape = !letter.is_ascii_alphabetic() && letter != '~';
                    continue;
                }
                let second = std::mem::replace(&mut after_return, letter == '\r') && letter == '\n';
                match letter {
                    '\u{1b}' => escape = true,
                    '\u{3}' => {
                        line.clear();
                        self.say(remote, "^C\n").await?;
                        self.prompt(remote).await?;
                    }
                    '\u{4}' if line.is_empty() => {
                        self.say(remote, "\n").await?;
                        return Ok(self.leave(self.memory.status()));
                    }
                    '\u{7f}' | '\u{8}' if line.pop().is_some() => {
                        self.say(remote, "\u{8} \u{8}").await?;
                    }
                    '\n' if second => {}
                    '\r' | '\n' => {
                        self.say(remote, "\n").await?;
                        if let Some(code) = self.run(&std::mem::take(&mut line), remote).await? {
                            return Ok(self.leave(code));
                        }
                        self.prompt(remote).await?;
                    }
                    letter if !letter.is_control() && line.len() < LONGEST => {
                        line.push(letter);
                        self.say(remote, letter.encode_utf8(&mut [0; 4])).await?;
                    }
                    _ => {}
                }
            }
        }
    }

    async fn prompt(&self, remote: &Remote) -> Result<(), Gone> {
        let bash = self.command.first().is_some_and(|program| program.ends_with("bash"));
        let folder = self.memory.folder();
        let prompt = self.target.with(|process| {
            let root = process.is_root();
            let end = if root { '#' } else { '$' };
            match (process.is_gnu(), bash) {
                (true, true) => {
                    let user = if root { "root".to_owned() } else { "I have no name!".to_owned() };
                    format!("{user}@{}:{folder}{end} ", process.hostname())
                }
                (true, false) => format!("{end} "),
                (false, _) => format!("{folder} {end} "),
            }
        });
        self.say(remote, &prompt).await
    }

    /// Says something, and keeps it where it is what the container says.
    async fn say(&self, remote: &Remote, text: &str) -> Result<(), Gone> {
        if self.own {
            let at = self.target.logs.now().duration_since(self.target.run.started()).unsigned_abs();
            let text = text.to_owned();
            self.target.logs.record(&self.target.run).console().output.push(Written {
                at,
                error: false,
                text,
            });
        }
        remote.say(false, &to_bytes(text)).await
    }

    /// Runs a line; returns the exit code when that has ended the shell.
    async fn run(&mut self, line: &str, remote: &mut Remote) -> Result<Option<i32>, Gone> {
        if line.trim().is_empty() {
            return Ok(None);
        }
        let (begun, record) = (self.target.logs.now(), Arc::default());
        let since = Instant::now();
        let (mut limit, mut sent, mut stdin) = (AHEAD, 0, None);
        loop {
            let passed = since.elapsed();
            let started = Started {
                argv: &[],
                stdin: stdin.clone(),
                waits: true,
                tty: true,
                begun,
                passed,
                record: Arc::clone(&record),
            };
            let worked = self.target.with(|process| Some(process.line(line, &self.memory, &started, limit)));
            let Some((trace, memory, left)) = worked else { return Ok(Some(137)) };
            let pause = async |remote: &mut Remote, until: Duration| {
                remote
                    .unless_interrupted(tokio::time::sleep_until(since + until))
                    .await
                    .map(|done| done.is_none())
            };
            let mut interrupted = false;
            for written in trace.output.iter().skip(sent) {
                interrupted = pause(remote, written.at).await?;
                if interrupted {
                    break;
                }
                self.say(remote, &written.text).await?;
                sent += 1;
            }
            let wakes = trace.wakes.unwrap_or_default();
            if interrupted {
            } else if let Some(ending) = trace.ending {
                interrupted = pause(remote, ending.at).await?;
                if !interrupted {
                    self.keep(memory);
                    return Ok(left.then_some(ending.code));
                }
            } else if trace.waits {
                let read = remote.read_typed().await?;
                stdin = Some((since.elapsed(), to_text(&read)));
            } else if wakes > passed {
                interrupted = pause(remote, wakes).await?;
            } else if let Some((number, ask)) = trace.pending {
                match remote.unless_interrupted(request(&self.target.api, &ask)).await? {
                    Some(told) => record.keep(number, &ask, told),
                    None => interrupted = true,
                }
            } else {
                interrupted = pause(remote, limit).await?;
                limit *= 2;
            }
            if interrupted {
                self.say(remote, "^C\n").await?;
                return Ok(None);
            }
        }
    }

    /// Remembers what a line has changed.
    fn keep(&mut self, memory: Memory) {
        self.memory = memory;
        if self.own {
            self.target.logs.record(&self.target.run).console().memory = Some(self.memory.clone());
            return;
        }
        let (started, now) = (self.target.run.started(), self.target.logs.now());
        self.target.with(|process| process.leave(started, now, &self.memory.files));
    }

    /// Ends the shell, and the container with it if it is the container's own.
    fn leave(&self, code: i32) -> i32 {
        if self.own {
            let at = self.target.logs.now().duration_since(self.target.run.started()).unsigned_abs();
            let ending = Ending { at, code, out_of_memory: false };
            self.target.logs.record(&self.target.run).console().ended = Some(ending);
        }
        code
    }
}
