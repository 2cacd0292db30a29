//! Running a command in a container, over the WebSocket protocols of Kubernetes. What it writes to files stays for those
//! after it, as long as the container runs.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::NodeConnections;
use crate::sim::api::{Body, Connection};
use crate::sim::node::logs::Run;
use crate::sim::node::shell::Ending;
use crate::sim::object::Fields as _;
use crate::sim::status::Status;

/// The protocols, best first. Only the first can say that stdin has ended.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// The channels of both.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const CLOSE: u8 = 255;
/// How far ahead a command is worked out at first.
const AHEAD: Duration = Duration::from_secs(10);
/// After how long without input a client that cannot say so has no more.
const SILENCE: Duration = Duration::from_millis(300);

/// How long a client is given to end its side.
const GOODBYE: Duration = Duration::from_secs(5);

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// What is to be run, and where.
struct Session {
    node: NodeConnections,
    pod: std::sync::Arc<Value>,
    container: String,
    command: Vec<String>,
    stdin: bool,
    tty: bool,
    /// Whether the client says when stdin has ended.
    can_close: bool,
}

/// Switches a connection to the protocol that the client wants, and runs the command on it.
pub(super) fn respond(node: &NodeConnections, connection: Connection) -> Result<Response<Body>, Status> {
    let headers = &connection.headers;
    if !is_websocket(headers) {
        let wants_spdy = header(headers, "upgrade").to_lowercase().contains("spdy");
        return Err(if wants_spdy {
            Status::not_simulated("exec over SPDY; kubectl 1.31 and newer use WebSockets")
        } else {
            Status::bad_request("Upgrade request required")
        });
    }
    let offered = header(headers, "sec-websocket-protocol");
    let protocol = PROTOCOLS.iter().find(|known| offered.split(',').any(|name| name.trim() == **known));
    let Some(protocol) = protocol else {
        return Err(Status::bad_request(format!("unable to negotiate a protocol out of {offered:?}")));
    };
    let Some(upgrade) = connection.upgrade.clone() else {
        return Err(Status::not_simulated("exec without a connection of its own"));
    };
    let key = derive_accept_key(header(headers, "sec-websocket-key").as_bytes());
    let options = &connection.options;
    let session = Session {
        node: node.clone(),
        pod: connection.object.clone(),
        container: connection.container.clone(),
        command: options.texts("command").into_iter().map(str::to_owned).collect(),
        stdin: options["stdin"] == true,
        tty: options["tty"] == true,
        can_close: *protocol == PROTOCOLS[0],
    };
    tokio::spawn(session.serve(upgrade));
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answers = response.headers_mut();
    answers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    if let Ok(key) = HeaderValue::from_str(&key) {
        answers.insert(SEC_WEBSOCKET_ACCEPT, key);
    }
    Ok(response)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Tells whether a request wants to switch to WebSockets.
fn is_websocket(headers: &HeaderMap) -> bool {
    header(headers, "upgrade").eq_ignore_ascii_case("websocket")
}

/// The client has gone.
struct Gone;

impl Session {
    async fn serve(self, upgrade: OnUpgrade) {
        let Ok(upgraded) = upgrade.await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let status = match self.run(&mut socket).await {
            Ok(status) => status,
            Err(Gone) => return,
        };
        let _ = send(&mut socket, ERROR, status.to_string().as_bytes()).await;
        let normal = CloseFrame { code: CloseCode::Normal, reason: Default::default() };
        if socket.close(Some(normal)).await.is_ok() {
            // What is still on its way to the client is lost unless the client ends the connection.
            let _ = tokio::time::timeout(GOODBYE, async { while frame(&mut socket).await.is_ok() {} }).await;
        }
    }

    /// Runs the command and returns how it ended, as a Status.
    async fn run(&self, socket: &mut Socket) -> Result<Value, Gone> {
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
        if self.tty && self.stdin && is_shell(&self.command) {
            return Ok(ended(self.interact(socket, &run).await?));
        }
        let input = if self.stdin { Some(self.input(socket).await?) } else { None };
        let files = self.node.files(&run);
        let mut limit = AHEAD;
        let begun = Instant::now();
        let mut sent = 0;
        loop {
            let trace = self.node.run(&self.pod, &run, &files, &self.command, input.clone(), limit);
            for written in trace.output.iter().skip(sent) {
                wait(socket, begun + written.at).await?;
                self.say(socket, written.error, &written.text).await?;
            }
            sent = trace.output.len();
            match trace.ending {
                Some(Ending { at, code, .. }) => {
                    wait(socket, begun + at).await?;
                    self.node.keep(&run, trace.files);
                    return Ok(ended(code));
                }
                None => wait(socket, begun + limit).await?,
            }
            limit *= 2;
        }
    }

    async fn say(&self, socket: &mut Socket, error: bool, text: &str) -> Result<(), Gone> {
        let channel = if error && !self.tty { STDERR } else { STDOUT };
        if self.tty {
            return send(socket, channel, text.replace('\n', "\r\n").as_bytes()).await;
        }
        send(socket, channel, text.as_bytes()).await
    }

    /// Reads all of stdin.
    async fn input(&self, socket: &mut Socket) -> Result<String, Gone> {
        let mut input = Vec::new();
        loop {
            let frame = if self.can_close {
                frame(socket).await?
            } else {
                match tokio::time::timeout(SILENCE, frame(socket)).await {
                    Ok(frame) => frame?,
                    Err(_) => break,
                }
            };
            match frame.split_first() {
                Some((&STDIN, data)) => input.extend_from_slice(data),
                Some((&CLOSE, [STDIN])) => break,
                _ => {}
            }
        }
        Ok(String::from_utf8_lossy(&input).into_owned())
    }

    /// Is a shell at a terminal: each line is run after those before it, of which only the new output is shown.
    async fn interact(&self, socket: &mut Socket, run: &Run) -> Result<i32, Gone> {
        let prompt = if self.node.is_root(&self.pod, run) { "# " } else { "$ " };
        let files = self.node.files(run);
        let mut script = String::new();
        let mut shown = 0;
        let mut line = String::new();
        let mut escape = false;
        send(socket, STDOUT, prompt.as_bytes()).await?;
        loop {
            let frame = frame(socket).await?;
            let Some((&STDIN, data)) = frame.split_first() else { continue };
            for letter in String::from_utf8_lossy(data).chars() {
                if escape {
                    escape = !letter.is_ascii_alphabetic() && letter != '~';
                    continue;
                }
                match letter {
                    '\u{1b}' => escape = true,
                    '\u{3}' => {
                        line.clear();
                        send(socket, STDOUT, format!("^C\r\n{prompt}").as_bytes()).await?;
                    }
                    '\u{4}' if line.is_empty() => {
                        send(socket, STDOUT, b"\r\n").await?;
                        return Ok(0);
                    }
                    '\u{7f}' | '\u{8}' => {
                        let erased = line.pop();
                        if erased.is_some() {
                            send(socket, STDOUT, b"\x08 \x08").await?;
                        }
                    }
                    '\r' | '\n' => {
                        send(socket, STDOUT, b"\r\n").await?;
                        let leaves = line.split_whitespace().next() == Some("exit");
                        script.push_str(&std::mem::take(&mut line));
                        script.push('\n');
                        let command = ["sh", "-c", &script].map(str::to_owned);
                        let trace = self.node.run(&self.pod, run, &files, &command, None, AHEAD);
                        for written in trace.output.iter().skip(shown) {
                            self.say(socket, written.error, &written.text).await?;
                        }
                        shown = trace.output.len();
                        self.node.keep(run, trace.files);
                        if let (true, Some(ending)) = (leaves, trace.ending) {
                            return Ok(ending.code);
                        }
                        send(socket, STDOUT, prompt.as_bytes()).await?;
                    }
                    letter if !letter.is_control() => {
                        line.push(letter);
                        send(socket, STDOUT, letter.to_string().as_bytes()).await?;
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Waits for the next message of the client.
async fn frame(socket: &mut Socket) -> Result<Vec<u8>, Gone> {
    loop {
        match socket.next().await {
            Some(Ok(Message::Binary(data))) => return Ok(data.to_vec()),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Gone),
            Some(Ok(_)) => {}
        }
    }
}

async fn send(socket: &mut Socket, channel: u8, data: &[u8]) -> Result<(), Gone> {
    let mut message = vec![channel];
    message.extend_from_slice(data);
    socket.send(Message::Binary(message.into())).await.map_err(|_| Gone)
}

/// Waits for a moment, unless the client goes.
async fn wait(socket: &mut Socket, until: Instant) -> Result<(), Gone> {
    loop {
        tokio::select! {
            () = tokio::time::sleep_until(until) => return Ok(()),
            frame = frame(socket) => drop(frame?),
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
