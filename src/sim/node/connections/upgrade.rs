//! Switching a request to another protocol: what the client offers, and the answer that agrees to it.

use futures::{SinkExt as _, StreamExt as _};
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::sim::api::{Body, Connection};
use crate::sim::status::Status;

/// The header in which SPDY clients say what they speak on it.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED_PROTOCOLS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
/// How much of a tunnel waits for who takes it.
const TUNNEL: usize = 64 << 10;

/// A connection once it is switched.
pub(super) type Raw = TokioIo<hyper::upgrade::Upgraded>;
/// A WebSocket.
pub(super) type Socket = WebSocketStream<Raw>;

/// What a client wants to switch to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// WebSockets.
    WebSocket,
    /// SPDY/3.1.
    Spdy,
}

impl Wanted {
    /// Reads what a request wants.
    pub fn read(headers: &HeaderMap) -> Result<Self, Status> {
        let upgrade = text(headers, &UPGRADE);
        if upgrade.eq_ignore_ascii_case("websocket") {
            Ok(Self::WebSocket)
        } else if upgrade.to_ascii_lowercase().starts_with("spdy/") {
            Ok(Self::Spdy)
        } else {
            Err(Status::bad_request("Upgrade request required"))
        }
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Chooses the first protocol of ours that the client offers.
///
/// # Errors
/// When there is none, in upstream's words.
pub(super) fn choose(
    headers: &HeaderMap,
    wanted: Wanted,
    known: &[&'static str],
) -> Result<&'static str, Status> {
    let name = if wanted == Wanted::Spdy { STREAM_PROTOCOL } else { SEC_WEBSOCKET_PROTOCOL };
    let offered: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    known.iter().find(|known| offered.contains(*known)).copied().ok_or_else(|| {
        let (offered, known) = (offered.join(" "), known.join(" "));
        Status::new(
            403,
            "Forbidden",
            format!("unable to upgrade: unable to negotiate protocol: client supports [{offered}], server accepts [{known}]"),
        )
    })
}

/// Agrees to switch, to a protocol that was chosen. The connection itself is there once the answer has gone out.
pub(super) fn agree(
    connection: &Connection,
    wanted: Wanted,
    protocol: &'static str,
) -> Result<(Response<Body>, OnUpgrade), Status> {
    let Some(upgrade) = connection.upgrade.clone() else {
        return Err(Status::not_simulated(&format!("{} without a connection of its own", connection.kind)));
    };
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answers = response.headers_mut();
    answers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let chosen = HeaderValue::from_static(protocol);
    match wanted {
        Wanted::Spdy => {
            answers.insert(UPGRADE, HeaderValue::from_static("SPDY/3.1"));
            answers.insert(ACCEPTED_PROTOCOLS, chosen.clone());
            answers.insert(STREAM_PROTOCOL, chosen);
        }
        Wanted::WebSocket => {
            let key =
                derive_accept_key(text(&connection.headers, &http::header::SEC_WEBSOCKET_KEY).as_bytes());
            answers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            answers.insert(SEC_WEBSOCKET_PROTOCOL, chosen);
            if let Ok(key) = HeaderValue::from_str(&key) {
                answers.insert(SEC_WEBSOCKET_ACCEPT, key);
            }
        }
    }
    Ok((response, upgrade))
}

/// Makes a WebSocket of a switched connection.
pub(super) async fn websocket(raw: Raw) -> Socket {
    WebSocketStream::from_raw_socket(raw, Role::Server, None).await
}

/// Returns what is said in the binary messages of a WebSocket as one stream of bytes.
pub(super) fn tunnel(socket: Socket) -> DuplexStream {
    let (near, far) = tokio::io::duplex(TUNNEL);
    tokio::spawn(async move {
        let (mut read, mut write) = tokio::io::split(far);
        let (mut sink, mut messages) = socket.split();
        let inward = async {
            while let Some(Ok(message)) = messages.next().await {
                match message {
                    Message::Binary(data) if write.write_all(&data).await.is_err() => break,
                    Message::Close(_) => break,
                    _ => {}
                }
            }
            let _ = write.shutdown().await;
        };
        let outward = async {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(read @ 1..) = read.read(&mut buffer).await {
                if sink.send(Message::Binary(buffer[..read].to_vec().into())).await.is_err() {
                    return;
                }
            }
            let _ = sink.close().await;
        };
        futures::join!(inward, outward);
    });
    near
}
