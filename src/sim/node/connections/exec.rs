//! Running a command in a container. What it writes to files stays for those after it, as long as the container runs.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::NodeConnections;
use super::remote::{self, Gone, Input, Remote};
use crate::sim::api::{Body, Connection};
use crate::sim::node::logs::Run;
use crate::sim::node::shell::Ending;
use crate::sim::object::Fields as _;
use crate::sim::status::Status;

/// How far ahead a command is worked out at first.
const AHEAD: Duration = Duration::from_secs(10);

/// What is to be run, and where.
struct Session {
    node: NodeConnections,
    pod: Arc<Value>,
    container: String,
    command: Vec<String>,
}

/// Switches a connection to the protocol that the client wants, and runs the command on it.
pub(super) fn respond(node: &NodeConnections, connection: &Connection) -> Result<Response<Body>, Status> {
    let options = &connection.options;
    let session = Session {
        node: node.clone(),
        pod: connection.object.clone(),
        container: connection.container.clone(),
        command: options.texts("command").into_iter().map(str::to_owned).collect(),
    };
    remote::accept(connection, |remote| session.run(remote))
}

impl Session {
    /// Runs the command and returns how it ended, as a Status.
    async fn run(self, mut remote: Remote) -> Result<Value, Gone> {
        let failed = |status: Status| Ok(status.to_json());
        let run = match self.node.logs.run(&self.pod, &self.container, false) {
            Ok(Some(run)) if run.ended().is_none() => run,
            _ => {
                let why = format!("unable to upgrade connection: container not found ({:?})", self.container);
                return failed(Status::internal(why));
            }
        };
        let Some(program) = self.command.first() else {
            return failed(Status::bad_request("you must specify at least one command for the container"));
        };
        if let Some(why) = self.node.refusal(&self.pod, &run, program) {
            return failed(why);
        }
        if remote.tty && remote.stdin && is_shell(&self.command) {
            return Ok(ended(self.interact(&mut remote, &run).await?));
        }
        let input = match remote.stdin {
            true => Some(String::from_utf8_lossy(&remote.read_all().await?).into_owned()),
            false => None,
        };
        let files = self.node.files(&run);
        let mut limit = AHEAD;
        let begun = Instant::now();
        let mut sent = 0;
        loop {
            let trace = self.node.run(&self.pod, &run, &files, &self.command, input.clone(), limit);
            for written in trace.output.iter().skip(sent) {
                remote.wait(begun + written.at).await?;
                remote.say(written.error, written.text.as_bytes()).await?;
            }
            sent = trace.output.len();
            match trace.ending {
                Some(Ending { at, code, .. }) => {
                    remote.wait(begun + at).await?;
                    self.node.keep(&run, trace.files);
                    return Ok(ended(code));
                }
                None => remote.wait(begun + limit).await?,
            }
            limit *= 2;
        }
    }

    /// Is a shell at a terminal: each line is run after those before it, of which only the new output is shown.
    async fn interact(&self, remote: &mut Remote, run: &Run) -> Result<i32, Gone> {
        let prompt = if self.node.is_root(&self.pod, run) { "# " } else { "$ " };
        let files = self.node.files(run);
        let mut script = String::new();
        let mut shown = 0;
        let mut line = String::new();
        let mut escape = false;
        remote.say(false, prompt.as_bytes()).await?;
        loop {
            let data = match remote.next().await? {
                Input::Stdin(data) => data,
                Input::End => return Ok(0),
            };
            for letter in String::from_utf8_lossy(&data).chars() {
                if escape {
                    escape = !letter.is_ascii_alphabetic() && letter != '~';
                    continue;
                }
                match letter {
                    '\u{1b}' => escape = true,
                    '\u{3}' => {
                        line.clear();
                        remote.say(false, format!("^C\n{prompt}").as_bytes()).await?;
                    }
                    '\u{4}' if line.is_empty() => {
                        remote.say(false, b"\n").await?;
                        return Ok(0);
                    }
                    '\u{7f}' | '\u{8}' => {
                        let erased = line.pop();
                        if erased.is_some() {
                            remote.say(false, b"\x08 \x08").await?;
                        }
                    }
                    '\r' | '\n' => {
                        remote.say(false, b"\n").await?;
                        let leaves = line.split_whitespace().next() == Some("exit");
                        script.push_str(&std::mem::take(&mut line));
                        script.push('\n');
                        let command = ["sh", "-c", &script].map(str::to_owned);
                        let trace = self.node.run(&self.pod, run, &files, &command, None, AHEAD);
                        for written in trace.output.iter().skip(shown) {
                            remote.say(written.error, written.text.as_bytes()).await?;
                        }
                        shown = trace.output.len();
                        self.node.keep(run, trace.files);
                        if let (true, Some(ending)) = (leaves, trace.ending) {
                            return Ok(ending.code);
                        }
                        remote.say(false, prompt.as_bytes()).await?;
                    }
                    letter if !letter.is_control() => {
                        line.push(letter);
                        remote.say(false, letter.to_string().as_bytes()).await?;
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Says how a command ended.
fn ended(code: i32) -> Value {
    if code == 0 {
        return json!({ "metadata": {}, "status": "Success" });
    }
    json!({ "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: command terminated with exit code {code}"),
        "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] } })
}

/// Tells whether a command is a shell that reads what somebody types.
fn is_shell(command: &[String]) -> bool {
    let Some((program, rest)) = command.split_first() else { return false };
    let name = program.rsplit('/').next().unwrap_or_default();
    matches!(name, "sh" | "ash" | "bash" | "dash" | "zsh")
        && rest.iter().all(|argument| matches!(argument.as_str(), "-l" | "-i" | "-il" | "-li" | "--login"))
}
