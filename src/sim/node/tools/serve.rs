//! The server's side of the tools: a socket for each node, one tool a connection.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::{Ask, Cx, Done, Frame, More, SOCKET, SOCKET_FOLDER, SocketPath};
use crate::sim::client::Client;
use crate::sim::node::NodeLogs;
use crate::sim::node::host::{Hosts, NodeHost};

/// How often it is looked for something new to show.
const FOLLOW: Duration = Duration::from_millis(200);
/// The longest command line.
const LONGEST: u64 = 1024 * 1024;
/// The most that a tool reads from its stdin.
const MOST_STDIN: u32 = 4 * 1024 * 1024;

/// Listens for the tools of all nodes below the folder of a cluster.
///
/// # Errors
/// What keeps a socket from being made.
pub(in crate::sim) fn listen(
    hosts: &Hosts,
    logs: &NodeLogs,
    client: &Client,
    tasks: &mut JoinSet<()>,
) -> std::io::Result<()> {
    for host in hosts.iter() {
        let Some(folder) = host.root().parent().map(|folder| folder.join(SOCKET_FOLDER)) else { continue };
        let listener = bind(&folder)?;
        let place =
            Place { host: host.clone(), hosts: hosts.clone(), logs: logs.clone(), client: client.clone() };
        tasks.spawn(accept(listener, place));
    }
    Ok(())
}

fn bind(folder: &Path) -> std::io::Result<UnixListener> {
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))?;
    let socket = SocketPath::of(folder, SOCKET)?;
    // One that lies there is a dead server's: this one holds the lock.
    let _ = std::fs::remove_file(folder.join(SOCKET));
    UnixListener::bind(&socket.path)
}

#[derive(Clone)]
struct Place {
    host: NodeHost,
    hosts: Hosts,
    logs: NodeLogs,
    client: Client,
}

async fn accept(listener: UnixListener, place: Place) {
    let mut talks = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = talks.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    talks.spawn(converse(stream, place.clone()));
                }
                Err(_) => tokio::time::sleep(FOLLOW).await,
            }
        }
    }
}

async fn converse(stream: UnixStream, place: Place) {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let mut line = Vec::new();
    if (&mut reading).take(LONGEST).read_until(b'\n', &mut line).await.is_err() {
        return;
    }
    let Ok(ask) = serde_json::from_slice::<Ask>(&line) else { return };
    // Whoever goes away, as on Ctrl-C, is not written to, which ends this.
    let _ = answer(ask, place, &mut reading, &mut writing).await;
}

async fn answer(
    mut ask: Ask,
    place: Place,
    reading: &mut BufReader<OwnedReadHalf>,
    writing: &mut OwnedWriteHalf,
) -> std::io::Result<()> {
    let mut done = run(ask.clone(), &place).await;
    if matches!(done.more, Some(More::Stdin)) {
        send(writing, Frame::Stdin, b"").await?;
        let length = reading.read_u32().await?;
        if length > MOST_STDIN {
            return send(writing, Frame::Exit, &[1]).await;
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        reading.read_exact(&mut bytes).await?;
        ask.stdin = Some(bytes);
        done = run(ask, &place).await;
    }
    tokio::time::sleep(done.after).await;
    send(writing, Frame::Out, &done.out).await?;
    send(writing, Frame::Err, done.err.as_bytes()).await?;
    match done.more {
        Some(More::Follow(mut next)) => loop {
            let mut byte = [0];
            tokio::select! {
                // Nothing is to be read but the end.
                _ = reading.read(&mut byte) => return Ok(()),
                () = tokio::time::sleep(FOLLOW) => {}
            }
            send(writing, Frame::Out, next().as_bytes()).await?;
        },
        Some(More::Run(argv)) => {
            let argv = serde_json::to_vec(&argv).unwrap_or_default();
            send(writing, Frame::Run, &argv).await
        }
        Some(More::Stdin) | None => send(writing, Frame::Exit, &[done.status]).await,
    }
}

/// Runs a tool where it may wait for the API.
async fn run(ask: Ask, place: &Place) -> Done {
    let place = place.clone();
    let runtime = tokio::runtime::Handle::current();
    let running = tokio::task::spawn_blocking(move || {
        let Place { host, hosts, logs, client } = place;
        match super::Tree::open(host.root()) {
            Ok(tree) => super::run(&Cx { host, hosts, logs, client, runtime, tree, ask: Arc::new(ask) }),
            Err(error) => Done::fail(1, format!("the node's files cannot be opened: {error}\n")),
        }
    });
    running.await.unwrap_or_else(|_| Done::fail(70, "the tool failed inside\n"))
}

async fn send(writing: &mut OwnedWriteHalf, frame: Frame, payload: &[u8]) -> std::io::Result<()> {
    if payload.is_empty() && matches!(frame, Frame::Out | Frame::Err) {
        return Ok(());
    }
    writing.write_u8(frame as u8).await?;
    writing.write_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX)).await?;
    writing.write_all(payload).await?;
    writing.flush().await
}
