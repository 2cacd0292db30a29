//! Attaching to what a container runs: what it says from now on, and what it is given to read.

use std::time::Duration;

use http::Response;
use serde_json::{Value, json};

use super::remote::{self, Gone, Input, Remote};
use super::{NodeConnections, Target, terminal};
use crate::sim::api::{Body, Connection};
use crate::sim::node::kubelet::after;
use crate::sim::node::shell::bytes::{to_bytes, to_text};
use crate::sim::status::Status;

/// How often it is looked whether a container has said something.
const LOOK: Duration = Duration::from_millis(100);

/// Switches a connection to the protocol that the client wants, and joins it to the container.
pub(super) fn respond(node: &NodeConnections, connection: &Connection) -> Result<Response<Body>, Status> {
    // Before the switch: a client that is told so then looks at the log instead.
    let target = node.target(connection)?;
    remote::accept(connection, move |remote| async move { run(&target, remote).await })
}

async fn run(target: &Target, mut remote: Remote) -> Result<Value, Gone> {
    let done = json!({ "metadata": {}, "status": "Success" });
    if remote.tty && remote.stdin && target.with(|process| process.is_at_shell()) {
        terminal::attach(target, &mut remote).await?;
        return Ok(done);
    }
    let reads = remote.stdin && target.with(|process| process.container["stdin"] == true);
    let record = target.logs.record(&target.run);
    // Who comes first to a container that waits for somebody is told all that it has said.
    let first = reads && !std::mem::replace(&mut record.console().attached, true);
    let started = target.run.started();
    let begun = if first { started } else { target.logs.now() };
    let mut read = Vec::new();
    let mut sent = 0;
    loop {
        let run = target.logs.again(&target.run, &target.pod);
        let until = run.ended().map_or_else(|| target.logs.now(), |end| end.min(target.logs.now()));
        let trace =
            target.logs.with_process(&target.pod, &target.run, |process| process.trace(started, until));
        let output = trace.unwrap_or_default().output;
        for written in output.iter().skip(sent).filter(|written| after(started, written.at) >= begun) {
            remote.say(written.error, &to_bytes(&written.text)).await?;
        }
        sent = sent.max(output.len());
        if run.ended().is_some() {
            return Ok(done);
        }
        let input = tokio::select! {
            input = remote.next() => input?,
            () = tokio::time::sleep(LOOK) => continue,
        };
        let ended = match input {
            Input::Stdin(data) => {
                let end = remote.tty && data.contains(&4);
                read.extend_from_slice(&data);
                end
            }
            Input::End => true,
        };
        if ended && reads {
            let passed = target.logs.now().duration_since(started).unsigned_abs();
            record.console().stdin.get_or_insert_with(|| (passed, to_text(&read)));
        }
    }
}
