//! The streams of a command that is run from afar: what the client sends, what it is told, how it ended. Over WebSockets or
//! SPDY, which nobody beyond this file knows.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use http::Response;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

pub(super) use super::spdy::Gone;
use super::spdy::{self, Event, Writer};
use super::upgrade::{self, Socket, Wanted};
use crate::sim::api::{Body, Connection};
use crate::sim::object::Fields as _;
use crate::sim::status::Status;

/// The protocols over WebSockets, best first. Only the first can say that stdin has ended.
const OVER_WEBSOCKETS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// The protocols over SPDY, best first. Those before the fourth have words instead of a Status at the end.
const OVER_SPDY: [&str; 4] =
    ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
/// The channels of a WebSocket.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const CLOSE: u8 = 255;
/// How long a client is given to open its streams.
const OPENING: Duration = Duration::from_secs(30);
/// How long a client is given to end its side.
const GOODBYE: Duration = Duration::from_secs(5);
/// How much waits for who takes it.
const QUEUE: usize = 32;
/// After how long without input a client that cannot say so has no more.
const SILENCE: Duration = Duration::from_millis(300);
/// Keys that interrupt, and that say that there is no more.
const INTERRUPT: u8 = 3;
const END_OF_INPUT: u8 = 4;
/// How much a command is given to read at most.
const MOST_INPUT: usize = 256 << 20;

/// What a client sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Something to read.
    Stdin(Vec<u8>),
    /// There is no more to read.
    End,
}

#[derive(Debug)]
enum Output {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
}

/// The streams of one command.
#[derive(Debug)]
pub(super) struct Remote {
    input: mpsc::Receiver<Input>,
    output: mpsc::Sender<Output>,
    /// What came while something else was waited for.
    early: VecDeque<Input>,
    /// How much of that there was since there was none.
    waiting: usize,
    /// Whether the client sends anything to read.
    pub stdin: bool,
    /// Whether there is a terminal at the other end.
    pub tty: bool,
    /// Whether the client says when stdin has ended.
    ends: bool,
}

impl Remote {
    /// Says something, as a terminal wants it where there is one.
    pub async fn say(&self, error: bool, text: &[u8]) -> Result<(), Gone> {
        if text.is_empty() {
            return Ok(());
        }
        let output = match (self.tty, error) {
            (true, _) => {
                let mut lines = Vec::with_capacity(text.len() + 16);
                for byte in text {
                    if *byte == b'\n' {
                        lines.push(b'\r');
                    }
                    lines.push(*byte);
                }
                Output::Stdout(lines)
            }
            (false, true) => Output::Stderr(text.to_vec()),
            (false, false) => Output::Stdout(text.to_vec()),
        };
        self.output.send(output).await.map_err(|_| Gone)
    }

    /// Waits for what the client sends next.
    pub async fn next(&mut self) -> Result<Input, Gone> {
        match self.early.pop_front() {
            Some(input) => Ok(input),
            None => {
                self.waiting = 0;
                self.input.recv().await.ok_or(Gone)
            }
        }
    }

    /// Waits for a moment, unless the client goes.
    pub async fn wait(&mut self, until: Instant) -> Result<(), Gone> {
        self.during(tokio::time::sleep_until(until)).await
    }

    /// Waits for something to happen, unless the client goes.
    pub async fn during<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Gone> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                input = self.input.recv() => self.put_by(input.ok_or(Gone)?)?,
            }
        }
    }

    /// Puts by what came too early. A client that sends on and on while nobody reads is not waited for.
    fn put_by(&mut self, input: Input) -> Result<(), Gone> {
        // Each counts for something, so that there are not too many of them either.
        self.waiting += 64;
        if let Input::Stdin(data) = &input {
            self.waiting += data.len();
        }
        self.early.push_back(input);
        if self.waiting > MOST_INPUT { Err(Gone) } else { Ok(()) }
    }

    /// Waits for something to happen; nothing comes of it when the client presses the key that interrupts.
    pub async fn unless_interrupted<T>(&mut self, work: impl Future<Output = T>) -> Result<Option<T>, Gone> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(Some(done)),
                input = self.input.recv() => match input.ok_or(Gone)? {
                    // What was typed before it goes with it.
                    Input::Stdin(data) if self.tty && data.contains(&INTERRUPT) => {
                        self.early.clear();
                        self.waiting = 0;
                        return Ok(None);
                    }
                    input => self.put_by(input)?,
                },
            }
        }
    }

    /// Reads what is typed until there is no more, or until the key that says so.
    pub async fn read_typed(&mut self) -> Result<Vec<u8>, Gone> {
        let mut all = Vec::new();
        while let Input::Stdin(data) = self.next().await? {
            let shown: Vec<u8> = data.iter().copied().filter(|byte| *byte != END_OF_INPUT).collect();
            let shown = String::from_utf8_lossy(&shown).replace('\r', "\n");
            self.say(false, shown.as_bytes()).await?;
            all.extend_from_slice(shown.as_bytes());
            if data.contains(&END_OF_INPUT) || data.contains(&INTERRUPT) || all.len() > MOST_INPUT {
                break;
            }
        }
        Ok(all)
    }

    /// Reads all that there is to read.
    pub async fn read_all(&mut self) -> Result<Vec<u8>, Gone> {
        let mut all = Vec::new();
        loop {
            if all.len() > MOST_INPUT {
                self.say(true, b"more than 256 MiB of input are not simulated\n").await?;
                return Err(Gone);
            }
            let next = if self.ends {
                self.next().await?
            } else {
                match tokio::time::timeout(SILENCE, self.next()).await {
                    Ok(input) => input?,
                    Err(_) => break,
                }
            };
            match next {
                Input::Stdin(data) => all.extend_from_slice(&data),
                Input::End => break,
            }
        }
        Ok(all)
    }
}

/// Switches a connection to the protocol that the client wants, and lets `serve` use it. What that returns is how the
/// command ended, as a Status.
pub(super) fn accept<F, S>(connection: &Connection, serve: S) -> Result<Response<Body>, Status>
where
    F: Future<Output = Result<Value, Gone>> + Send + 'static,
    S: FnOnce(Remote) -> F + Send + 'static,
{
    let headers = &connection.headers;
    let wanted = Wanted::read(headers)?;
    let known: &[&'static str] = if wanted == Wanted::Spdy { &OVER_SPDY } else { &OVER_WEBSOCKETS };
    let protocol = upgrade::choose(headers, wanted, known)?;
    let (response, upgraded) = upgrade::agree(connection, wanted, protocol)?;
    let flag = |name: &str| connection.options[name] == true;
    let (stdin, tty) = (flag("stdin"), flag("tty"));
    let (to_command, input) = mpsc::channel(QUEUE);
    let (output, from_command) = mpsc::channel(QUEUE);
    let ends = wanted == Wanted::Spdy || protocol == OVER_WEBSOCKETS[0];
    let remote = Remote { input, output, early: VecDeque::new(), waiting: 0, stdin, tty, ends };
    let streams = Streams { stdin, stdout: flag("stdout"), stderr: flag("stderr") && !tty };
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let raw = TokioIo::new(upgraded);
        let wire = Wire { to_command, from_command };
        match wanted {
            Wanted::WebSocket => {
                let socket = upgrade::websocket(raw).await;
                wire.over_websocket(socket, serve(remote)).await;
            }
            Wanted::Spdy => wire.over_spdy(raw, streams, protocol, serve(remote)).await,
        }
    });
    Ok(response)
}

/// Which streams a client opens beside that of errors. That of sizes is taken when it comes.
#[derive(Debug, Clone, Copy)]
struct Streams {
    stdin: bool,
    stdout: bool,
    stderr: bool,
}

/// The side of the streams that knows what they run over.
struct Wire {
    to_command: mpsc::Sender<Input>,
    from_command: mpsc::Receiver<Output>,
}

impl Wire {
    async fn over_websocket(mut self, socket: Socket, command: impl Future<Output = Result<Value, Gone>>) {
        let (mut sink, mut messages) = socket.split();
        let to_command = self.to_command;
        let (end, ended) = tokio::sync::oneshot::channel();
        let outward = async {
            let mut send = async |channel: u8, data: &[u8]| {
                let mut message = vec![channel];
                message.extend_from_slice(data);
                sink.send(Message::Binary(message.into())).await.is_ok()
            };
            while let Some(output) = self.from_command.recv().await {
                let sent = match output {
                    Output::Stdout(data) => send(STDOUT, &data).await,
                    Output::Stderr(data) => send(STDERR, &data).await,
                };
                if !sent {
                    return;
                }
            }
            // The command has gone, and with it its end of the streams.
            if let Ok(status) = ended.await {
                let status: Value = status;
                send(ERROR, status.to_string().as_bytes()).await;
                let normal = CloseFrame { code: CloseCode::Normal, reason: Default::default() };
                let _ = sink.send(Message::Close(Some(normal))).await;
            }
        };
        let inward = async {
            while let Some(Ok(message)) = messages.next().await {
                let Message::Binary(data) = message else { continue };
                let input = match data.split_first() {
                    Some((&STDIN, data)) => Input::Stdin(data.to_vec()),
                    Some((&CLOSE, [STDIN])) => Input::End,
                    _ => continue,
                };
                // A command that is over reads nothing; the client's end of it all is still waited for.
                let _ = to_command.send(input).await;
            }
            drop(to_command);
        };
        let command = async {
            if let Ok(status) = command.await {
                let _ = end.send(status);
            }
        };
        // What is on its way to the client is lost unless the client ends the connection; so that is waited for.
        let both = async {
            let told = async { futures::join!(command, outward) };
            told.await;
        };
        let mut inward = std::pin::pin!(inward);
        let mut both = std::pin::pin!(both);
        tokio::select! {
            () = &mut both => {}
            () = &mut inward => {
                // The command learns that its client has gone, and ends.
                both.await;
                return;
            }
        }
        let _ = tokio::time::timeout(GOODBYE, inward).await;
    }

    async fn over_spdy(
        mut self,
        raw: upgrade::Raw,
        streams: Streams,
        protocol: &str,
        command: impl Future<Output = Result<Value, Gone>>,
    ) {
        let (mut events, writer) = spdy::serve(raw);
        let opened = tokio::time::timeout(OPENING, open(&mut events, streams)).await;
        let Ok(Some(opened)) = opened else { return };
        let to_command = self.to_command;
        let stdin = opened.get("stdin").copied();
        let inward = async {
            while let Some(event) = events.recv().await {
                let input = match event {
                    Event::Data { stream, data } if Some(stream) == stdin => Input::Stdin(data.to_vec()),
                    Event::Ended { stream } if Some(stream) == stdin => Input::End,
                    _ => continue,
                };
                let _ = to_command.send(input).await;
            }
            drop(to_command);
        };
        let (end, ended) = tokio::sync::oneshot::channel();
        let outward = async {
            while let Some(output) = self.from_command.recv().await {
                let (name, data) = match output {
                    Output::Stdout(data) => ("stdout", data),
                    Output::Stderr(data) => ("stderr", data),
                };
                if let Some(stream) = opened.get(name)
                    && writer.send(*stream, &data).await.is_err()
                {
                    return;
                }
            }
            if let Ok(status) = ended.await {
                let _ = finish(&writer, &opened, protocol, &status).await;
            }
            drop(writer);
        };
        let command = async {
            if let Ok(status) = command.await {
                let _ = end.send(status);
            }
        };
        let both = async { futures::join!(command, outward) };
        let mut inward = std::pin::pin!(inward);
        let mut both = std::pin::pin!(both);
        tokio::select! {
            _ = &mut both => {}
            () = &mut inward => {
                both.await;
                return;
            }
        }
        let _ = tokio::time::timeout(GOODBYE, inward).await;
    }
}

/// Waits until all streams are open.
async fn open(events: &mut mpsc::Receiver<Event>, wanted: Streams) -> Option<HashMap<String, u32>> {
    let mut opened = HashMap::new();
    let needed =
        [("error", true), ("stdin", wanted.stdin), ("stdout", wanted.stdout), ("stderr", wanted.stderr)];
    while !needed.iter().all(|(name, needed)| !needed || opened.contains_key(*name)) {
        if let Event::Opened { stream, headers } = events.recv().await? {
            let kind = headers.into_iter().find(|(name, _)| name == "streamtype")?.1;
            opened.insert(kind, stream);
        }
    }
    Some(opened)
}

/// Says how the command ended, and that nothing more will come.
async fn finish(
    writer: &Writer,
    opened: &HashMap<String, u32>,
    protocol: &str,
    status: &Value,
) -> Result<(), Gone> {
    for (name, stream) in opened {
        if name == "error" {
            let text = match protocol {
                "v4.channel.k8s.io" => status.to_string(),
                _ if status["status"] == "Success" => String::new(),
                _ => status.text("message").to_owned(),
            };
            writer.send(*stream, text.as_bytes()).await?;
        }
    }
    for stream in opened.values() {
        writer.end(*stream).await?;
    }
    writer.leave().await
}
