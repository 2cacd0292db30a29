//! Running a command in a container. What it writes to files stays for those after it, as long as the container runs.

use std::sync::Arc;
use std::time::Duration;

use http::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::remote::{self, Gone, Remote};
use super::{NodeConnections, Target, request, terminal};
use crate::sim::api::{Body, Connection};
use crate::sim::node::process::Started;
use crate::sim::node::shell;
use crate::sim::node::shell::bytes::{to_bytes, to_text};
use crate::sim::object::Fields as _;
use crate::sim::status::Status;

/// How far ahead a command is worked out at first.
pub(super) const AHEAD: Duration = Duration::from_secs(10);

/// Switches a connection to the protocol that the client wants, and runs the command on it.
pub(super) fn respond(node: &NodeConnections, connection: &Connection) -> Result<Response<Body>, Status> {
    let target = node.target(connection);
    let command: Vec<String> = connection.options.texts("command").into_iter().map(str::to_owned).collect();
    remote::accept(connection, move |remote| async move {
        match target {
            Ok(target) => run(&target, &command, remote).await,
            Err(why) => Ok(why.to_json()),
        }
    })
}

/// Runs a command and returns how it ended, as a Status.
async fn run(target: &Target, command: &[String], mut remote: Remote) -> Result<Value, Gone> {
    let Some(program) = command.first() else {
        let why = Status::bad_request("you must specify at least one command for the container");
        return Ok(why.to_json());
    };
    if let Some(why) = target.refusal(program) {
        return Ok(why.to_json());
    }
    if remote.tty && remote.stdin && shell::is_shell(command) {
        return Ok(ended(terminal::visit(target, command, &mut remote).await?));
    }
    let (begun, record) = (target.logs.now(), Arc::default());
    let since = Instant::now();
    let mut stdin = None;
    let mut limit = AHEAD;
    let mut sent = 0;
    loop {
        let passed = since.elapsed();
        let started = Started {
            argv: command,
            stdin: stdin.clone(),
            waits: remote.stdin,
            tty: remote.tty,
            begun,
            passed,
            record: Arc::clone(&record),
        };
        let trace = target.trace(&started, limit);
        for written in trace.output.iter().skip(sent) {
            remote.wait(since + written.at).await?;
            remote.say(written.error, &to_bytes(&written.text)).await?;
        }
        sent = trace.output.len();
        let wakes = trace.wakes.unwrap_or_default();
        if let Some(ending) = trace.ending {
            remote.wait(since + ending.at).await?;
            target.with(|process| process.leave_all(trace.files));
            return Ok(ended(ending.code));
        } else if trace.waits {
            let read = if remote.tty { remote.read_typed().await? } else { remote.read_all().await? };
            stdin = Some((since.elapsed(), to_text(&read)));
        } else if wakes > passed {
            remote.wait(since + wakes).await?;
        } else if let Some((number, ask)) = trace.pending {
            let told = remote.during(request(&target.api, &ask)).await?;
            record.keep(number, &ask, told);
        } else {
            remote.wait(since + limit).await?;
            limit *= 2;
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
