//! A shell in virtual time: what a container's script has said, written and done after so many seconds, computed anew
//! whenever somebody asks, so that nothing has to run meanwhile. Knows scripts and files, no Pods.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

pub(super) mod bytes;
mod expand;
mod files;
pub(super) mod outside;
mod parse;
#[cfg(test)]
mod tests;
mod tools;

use outside::{Ask, Told};
use parse::{Chain, Command, List, Pipeline, SyntaxError};
pub(super) use tools::is_tool;

/// How many commands are evaluated before a script counts as still running.
const STEPS: u32 = 20_000;
/// How much output is kept.
const OUTPUT: usize = 4 << 20;
/// How long a command takes that does not wait.
const TICK: Duration = Duration::from_micros(500);

/// A piece of output and when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The time since the start.
    pub at: Duration,
    /// Whether it went to stderr.
    pub error: bool,
    /// What was written.
    pub text: String,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// The time since the start.
    pub at: Duration,
    /// The exit code.
    pub code: i32,
    /// Whether it ran out of memory.
    pub out_of_memory: bool,
}

/// What a process does when it is asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnTerm {
    /// Nothing, as process 1 does by default.
    Ignore,
    /// It exits.
    Exit(i32),
}

/// What a process has done up to a moment.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// What it wrote, in order.
    pub output: Vec<Written>,
    /// How it ended, if it has.
    pub ending: Option<Ending>,
    /// The files it wrote (or removed), by path.
    pub files: BTreeMap<String, Option<String>>,
    /// The ports it listens on.
    pub listens: Vec<u16>,
    /// What it serves there, where that is known.
    pub serves: BTreeMap<u16, Serves>,
    /// What it does on SIGTERM.
    pub on_term: Option<OnTerm>,
    /// Whether nothing of this will ever change.
    pub settled: bool,
    /// What it has asked of the world and has no answer to, by the number of the question.
    pub pending: Option<(usize, Ask)>,
    /// When it can be told how it goes on, after the start.
    pub wakes: Option<Duration>,
    /// Whether it waits for somebody to type something.
    pub waits: bool,
}

/// What a program serves at a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serves {
    /// The files below a folder.
    Files(String),
    /// Always the same.
    Text(String),
}

/// What surrounds a process.
pub trait Host: Send + Sync {
    /// Reads a file; nothing when there is none.
    fn read(&self, path: &str) -> Option<String>;
    /// Lists a folder; nothing when there is none.
    fn list(&self, path: &str) -> Option<Vec<String>>;
    /// Says why a path cannot be written to, as the system does: `Read-only file system`, `Permission denied`.
    fn refuses(&self, path: &str) -> Option<&'static str>;
    /// Tells whether a file that is there may not be read.
    fn hides(&self, _path: &str) -> bool {
        false
    }
    /// Returns mode, owner and group of what is at a path.
    fn facts(&self, path: &str) -> (u32, u32, u32) {
        (if self.list(path).is_some() { 0o755 } else { 0o644 }, 0, 0)
    }
    /// Tells whether a program that BusyBox has is missing here.
    fn lacks(&self, _program: &str) -> bool {
        false
    }
    /// Answers a question about the world beyond: the one of this number that the process asks, at this time after its
    /// start.
    fn ask(&self, _number: usize, _at: Duration, _ask: &Ask) -> Told {
        Told::Later
    }
    /// Tells whether a program is installed that nobody can say anything of; it then runs for ever.
    fn is_service(&self, program: &str) -> bool;
    /// Returns the command line of process 1.
    fn first_process(&self) -> String {
        "sh".to_owned()
    }
    /// Returns the lines of `mount`.
    fn mounts(&self) -> String {
        String::new()
    }
}

/// What a process is started with.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// The folder that it starts in; empty for the root.
    pub folder: String,
    /// The host name.
    pub hostname: String,
    /// User and group ids; the first group is the primary one.
    pub user: u32,
    /// The user's name, where there is one.
    pub user_name: String,
    /// The groups.
    pub groups: Vec<u32>,
    /// The memory it may use, in bytes.
    pub memory: Option<u64>,
    /// When it was started.
    pub at: Timestamp,
    /// What it is given to read.
    pub stdin: Option<String>,
    /// When it was given that.
    pub stdin_at: Duration,
    /// Whether somebody may still give it something to read.
    pub waits: bool,
    /// Whether its tools are those of GNU, and not BusyBox's.
    pub gnu: bool,
    /// Whether it is at a terminal.
    pub tty: bool,
}

/// What a shell remembers from one line to the next.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    variables: BTreeMap<String, String>,
    functions: BTreeMap<String, Command>,
    folder: String,
    status: i32,
    /// The files that were written or removed.
    pub files: BTreeMap<String, Option<String>>,
}

impl Memory {
    /// Returns the folder that the shell is in.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Returns the status of the last line.
    pub fn status(&self) -> i32 {
        self.status
    }

    /// Returns what a shell remembers before its first line.
    pub fn new(start: &Start, files: BTreeMap<String, Option<String>>) -> Self {
        let folder = if start.folder.is_empty() { "/" } else { &start.folder };
        Self { variables: start.env.clone(), folder: folder.to_owned(), files, ..Self::default() }
    }
}

/// Why evaluation goes no further here.
enum Flow {
    /// The moment that was asked for is reached.
    Pause,
    Exit(i32),
    OutOfMemory,
    Break(u32),
    Continue(u32),
    Return(i32),
}

type Step = Result<i32, Flow>;

struct Machine<'a> {
    host: &'a dyn Host,
    start: &'a Start,
    until: Duration,
    now: Duration,
    steps: u32,
    trace: Trace,
    size: usize,
    variables: BTreeMap<String, String>,
    arguments: Vec<String>,
    functions: BTreeMap<String, Command>,
    folder: String,
    status: i32,
    /// Where stdout goes when it is not the log: the innermost pipe or file last.
    captured: Vec<String>,
    stdin: Option<String>,
    /// Where stderr goes.
    errors: Errors,
    /// When what was sent to the background ends; nothing when it does not before `until`.
    background: Vec<Option<Duration>>,
    errexit: bool,
    depth: u32,
    /// How many questions have been asked.
    asked: usize,
    /// Whether a line could not be read.
    misread: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Errors {
    Log,
    Stdout,
    Nowhere,
}

/// Runs a command line until a moment after its start.
pub fn run(argv: &[String], start: &Start, host: &dyn Host, files: Option<&Trace>, until: Duration) -> Trace {
    let files = files.map(|trace| trace.files.clone()).unwrap_or_default();
    let mut machine = Machine::new(start, host, Memory::new(start, files), until);
    let outcome = machine.program(argv.to_vec());
    machine.finish(outcome).0
}

/// Runs one line of a shell that remembers those before. A shell that has ended says so in the second part of what is
/// returned.
pub fn run_line(
    line: &str,
    start: &Start,
    host: &dyn Host,
    memory: &Memory,
    until: Duration,
) -> (Trace, Memory, bool) {
    let mut machine = Machine::new(start, host, memory.clone(), until);
    machine.status = memory.status;
    let outcome = machine.script(line);
    let leaves = matches!(outcome, Err(Flow::Exit(_))) && !machine.misread;
    let outcome = match outcome {
        // A line that makes no sense ends a script, and not the shell that somebody types at.
        Err(Flow::Exit(code)) if machine.misread => Ok(code),
        outcome => outcome,
    };
    if let Ok(code) = &outcome {
        machine.status = *code;
    }
    let (trace, memory) = machine.finish(outcome);
    (trace, memory, leaves)
}

impl<'a> Machine<'a> {
    fn new(start: &'a Start, host: &'a dyn Host, memory: Memory, until: Duration) -> Self {
        Self {
            host,
            start,
            until,
            now: Duration::ZERO,
            steps: 0,
            trace: Trace { files: memory.files, ..Trace::default() },
            size: 0,
            variables: memory.variables,
            arguments: Vec::new(),
            functions: memory.functions,
            folder: memory.folder,
            status: 0,
            captured: Vec::new(),
            stdin: start.stdin.clone(),
            errors: Errors::Log,
            background: Vec::new(),
            errexit: false,
            depth: 0,
            asked: 0,
            misread: false,
        }
    }

    fn finish(self, outcome: Step) -> (Trace, Memory) {
        let ending = |code, out_of_memory| Some(Ending { at: self.now, code, out_of_memory });
        let ending = match outcome {
            Ok(code) | Err(Flow::Exit(code) | Flow::Return(code)) => ending(code, false),
            Err(Flow::OutOfMemory) => ending(137, true),
            Err(Flow::Break(_) | Flow::Continue(_)) => ending(0, false),
            Err(Flow::Pause) => None,
        };
        let mut trace = self.trace;
        trace.ending = ending;
        trace.output.sort_by_key(|written| written.at);
        let memory = Memory {
            variables: self.variables,
            functions: self.functions,
            folder: self.folder,
            status: self.status,
            files: trace.files.clone(),
        };
        (trace, memory)
    }
}

impl Machine<'_> {
    /// Lets time pass.
    fn pass(&mut self, time: Duration) -> Result<(), Flow> {
        self.steps += 1;
        let then = self.now.saturating_add(time);
        if then > self.until || self.steps > STEPS {
            self.now = self.until;
            return Err(Flow::Pause);
        }
        self.now = then;
        Ok(())
    }

    /// Asks the world beyond, and waits for the answer.
    fn ask(&mut self, ask: &Ask) -> Result<Told, Flow> {
        let number = self.asked;
        match self.host.ask(number, self.now, ask) {
            Told::Later => {
                self.trace.wakes = Some(self.now);
                self.trace.pending = Some((number, ask.clone()));
                Err(Flow::Pause)
            }
            told => {
                self.asked += 1;
                Ok(told)
            }
        }
    }

    /// Returns what there is to read, or waits until somebody has typed it.
    fn given(&mut self) -> Result<String, Flow> {
        match self.stdin.clone() {
            Some(text) => {
                let wait = self.start.stdin_at.saturating_sub(self.now);
                if !wait.is_zero() {
                    self.pass(wait)?;
                }
                Ok(text)
            }
            None if self.start.waits => {
                self.trace.waits = true;
                Err(Flow::Pause)
            }
            None => Ok(String::new()),
        }
    }

    fn say(&mut self, text: &str) {
        match self.captured.last_mut() {
            Some(captured) => captured.push_str(text),
            None => self.log(text, false),
        }
    }

    fn complain(&mut self, text: &str) {
        match self.errors {
            Errors::Log => self.log(text, true),
            Errors::Stdout => self.say(text),
            Errors::Nowhere => {}
        }
    }

    fn log(&mut self, text: &str, error: bool) {
        if text.is_empty() || self.size > OUTPUT {
            return;
        }
        self.size += text.len();
        self.trace.output.push(Written { at: self.now, error, text: text.to_owned() });
    }

    fn script(&mut self, script: &str) -> Step {
        match parse::parse(script) {
            Ok(list) => self.list(&list),
            Err(SyntaxError(what)) => {
                self.complain(&format!("sh: syntax error: unexpected {what}\n"));
                self.misread = true;
                Err(Flow::Exit(2))
            }
        }
    }

    fn list(&mut self, list: &List) -> Step {
        let mut status = 0;
        for chain in list {
            status = if chain.background { self.in_background(chain)? } else { self.chain(chain)? };
            self.status = status;
        }
        Ok(status)
    }

    /// Runs a chain beside what follows: its output falls where it belongs in time.
    fn in_background(&mut self, chain: &Chain) -> Step {
        let (now, captured) = (self.now, std::mem::take(&mut self.captured));
        let variables = self.variables.clone();
        let outcome = self.chain(chain);
        let end = if matches!(outcome, Err(Flow::Pause)) { None } else { Some(self.now) };
        if let Err(Flow::OutOfMemory) = outcome {
            return Err(Flow::OutOfMemory);
        }
        self.background.push(end);
        self.variables = variables;
        self.captured = captured;
        self.now = now;
        if self.steps > STEPS {
            return Err(Flow::Pause);
        }
        Ok(0)
    }

    fn chain(&mut self, chain: &Chain) -> Step {
        let mut status = self.pipeline(&chain.first)?;
        for (and, pipeline) in &chain.rest {
            if (status == 0) == *and {
                status = self.pipeline(pipeline)?;
            }
        }
        if status != 0 && self.errexit && chain.rest.is_empty() && !chain.first.negated {
            return Err(Flow::Exit(status));
        }
        Ok(status)
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Step {
        let Some((last, before)) = pipeline.commands.split_last() else { return Ok(0) };
        let outer = self.stdin.clone();
        for command in before {
            self.captured.push(String::new());
            let outcome = self.command(command);
            let text = self.captured.pop().unwrap_or_default();
            match outcome {
                Ok(_) | Err(Flow::Exit(_)) => self.stdin = Some(text),
                Err(flow) => return Err(flow),
            }
        }
        let outcome = self.command(last);
        // What a command alone has read is gone for those after it.
        if !before.is_empty() {
            self.stdin = outer;
        }
        let status = match outcome {
            // Each part of a pipe is a process of its own.
            Err(Flow::Exit(code)) if !before.is_empty() => code,
            other => other?,
        };
        self.status = if pipeline.negated { i32::from(status == 0) } else { status };
        Ok(self.status)
    }

    fn command(&mut self, command: &Command) -> Step {
        self.depth += 1;
        if self.depth > 60 {
            return Err(Flow::Exit(2));
        }
        let outcome = self.command_inside(command);
        self.depth -= 1;
        outcome
    }

    fn command_inside(&mut self, command: &Command) -> Step {
        match command {
            Command::Simple { assignments, words, redirects } => {
                let mut argv = Vec::new();
                for word in words {
                    argv.extend(self.expand(word)?);
                }
                let mut values = Vec::new();
                for (name, word) in assignments {
                    values.push((name.clone(), self.expand_one(word)?));
                }
                if argv.is_empty() {
                    for (name, value) in values {
                        self.assign(&name, value)?;
                    }
                    return self.redirected(redirects, |machine| machine.pass(TICK).map(|()| machine.status));
                }
                let saved: Vec<(String, Option<String>)> = values
                    .iter()
                    .map(|(name, _)| (name.clone(), self.variables.get(name).cloned()))
                    .collect();
                for (name, value) in values {
                    self.assign(&name, value)?;
                }
                let outcome = self.redirected(redirects, |machine| machine.builtin(argv));
                for (name, value) in saved {
                    match value {
                        Some(value) => self.variables.insert(name, value),
                        None => self.variables.remove(&name),
                    };
                }
                outcome
            }
            Command::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.tested(condition)? == 0 {
                        return self.list(body);
                    }
                }
                otherwise.as_ref().map_or(Ok(0), |body| self.list(body))
            }
            Command::Loop { until, condition, body, redirects } => self.redirected(redirects, |machine| {
                let mut status = 0;
                while (machine.tested(condition)? == 0) != *until {
                    machine.pass(TICK)?;
                    match machine.list(body) {
                        Ok(code) => status = code,
                        Err(Flow::Break(1)) => break,
                        Err(Flow::Continue(1)) => {}
                        Err(Flow::Break(n)) => return Err(Flow::Break(n - 1)),
                        Err(Flow::Continue(n)) => return Err(Flow::Continue(n - 1)),
                        Err(flow) => return Err(flow),
                    }
                }
                Ok(status)
            }),
            Command::For { name, words, body, redirects } => {
                let mut values = self.arguments.clone();
                if let Some(words) = words {
                    values.clear();
                    for word in words {
                        values.extend(self.expand(word)?);
                    }
                }
                self.redirected(redirects, |machine| {
                    let mut status = 0;
                    for value in values {
                        machine.variables.insert(name.clone(), value);
                        machine.pass(TICK)?;
                        match machine.list(body) {
                            Ok(code) => status = code,
                            Err(Flow::Break(1)) => break,
                            Err(Flow::Continue(1)) => {}
                            Err(Flow::Break(n)) => return Err(Flow::Break(n - 1)),
                            Err(Flow::Continue(n)) => return Err(Flow::Continue(n - 1)),
                            Err(flow) => return Err(flow),
                        }
                    }
                    Ok(status)
                })
            }
            Command::Case { word, arms } => {
                let value = self.expand_one(word)?;
                for (patterns, body) in arms {
                    for pattern in patterns {
                        let pattern = self.expand_one(pattern)?;
                        if expand::matches(&pattern, &value) {
                            return self.list(body);
                        }
                    }
                }
                Ok(0)
            }
            Command::Group { list, own, redirects } => self.redirected(redirects, |machine| {
                if !own {
                    return machine.list(list);
                }
                let (variables, folder) = (machine.variables.clone(), machine.folder.clone());
                let outcome = machine.list(list);
                machine.variables = variables;
                machine.folder = folder;
                match outcome {
                    Err(Flow::Exit(code)) => Ok(code),
                    other => other,
                }
            }),
            Command::Function { name, body } => {
                self.functions.insert(name.clone(), Command::clone(body));
                Ok(0)
            }
        }
    }

    /// Evaluates a condition: a failure in it does not end the script.
    fn tested(&mut self, condition: &List) -> Step {
        let errexit = std::mem::replace(&mut self.errexit, false);
        let outcome = self.list(condition);
        self.errexit = errexit;
        outcome
    }

    fn assign(&mut self, name: &str, value: String) -> Result<(), Flow> {
        if self.start.memory.is_some_and(|limit| value.len() as u64 * 4 > limit) || value.len() > 64 << 20 {
            return Err(Flow::OutOfMemory);
        }
        self.variables.insert(name.to_owned(), value);
        Ok(())
    }
}

/// Tells whether a command is a shell that reads what somebody types.
pub(super) fn is_shell(command: &[String]) -> bool {
    let Some((program, rest)) = command.split_first() else { return false };
    let name = program.rsplit('/').next().unwrap_or_default();
    matches!(name, "sh" | "ash" | "bash" | "dash" | "zsh")
        && rest.iter().all(|argument| matches!(argument.as_str(), "-l" | "-i" | "-il" | "-li" | "--login"))
}
