//! Forwarding ports: connections of the client to what containers of a Pod serve, over SPDY or over SPDY in a WebSocket.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;

use super::spdy::{self, Event, Gone, Writer};
use super::upgrade::{self, Wanted};
use crate::sim::api::{Body, Connection};
use crate::sim::meta;
use crate::sim::node::NodeLogs;
use crate::sim::node::network::{Site, servers};
use crate::sim::node::shell::Serves;
use crate::sim::node::shell::outside::{HttpRequest, Reply};
use crate::sim::status::Status;

/// The protocol on SPDY, and the name of it within a WebSocket.
const PLAIN: [&str; 1] = ["portforward.k8s.io"];
const TUNNELLED: [&str; 1] = ["SPDY/3.1+portforward.k8s.io"];
/// How much of a connection waits for who takes it.
const QUEUE: usize = 64;
/// The largest request that a container is handed.
const LARGEST: usize = 8 << 20;

/// Switches a connection, and forwards on it.
pub(super) fn respond(logs: &NodeLogs, connection: &Connection) -> Result<Response<Body>, Status> {
    let pod = connection.object.clone();
    let wanted = Wanted::read(&connection.headers)?;
    let known = if wanted == Wanted::Spdy { &PLAIN } else { &TUNNELLED };
    let protocol = upgrade::choose(&connection.headers, wanted, known)?;
    if pod["status"]["phase"] != "Running" {
        let why = format!(
            "unable to upgrade connection: pod not running, current phase is {}",
            pod["status"]["phase"].as_str().unwrap_or_default()
        );
        return Err(Status::internal(why));
    }
    let (response, upgraded) = upgrade::agree(connection, wanted, protocol)?;
    let forwarder = Forwarder { logs: logs.clone(), pod };
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let raw = TokioIo::new(upgraded);
        match wanted {
            Wanted::Spdy => forwarder.serve(raw).await,
            Wanted::WebSocket => {
                let socket = upgrade::websocket(raw).await;
                forwarder.serve(upgrade::tunnel(socket)).await;
            }
        }
    });
    Ok(response)
}

/// The streams of one forwarded connection, as they come.
#[derive(Default)]
struct Pair {
    error: Option<u32>,
    data: Option<(u32, mpsc::Receiver<Bytes>)>,
    port: u16,
}

#[derive(Clone)]
struct Forwarder {
    logs: NodeLogs,
    pod: Arc<Value>,
}

impl Forwarder {
    async fn serve<C: AsyncRead + AsyncWrite + Send + 'static>(self, connection: C) {
        let (mut events, writer) = spdy::serve(connection);
        let mut pairs: HashMap<String, Pair> = HashMap::new();
        let mut open: HashMap<u32, mpsc::Sender<Bytes>> = HashMap::new();
        while let Some(event) = events.recv().await {
            match event {
                Event::Opened { stream, headers } => {
                    let header = |name: &str| {
                        headers
                            .iter()
                            .find(|(known, _)| known == name)
                            .map(|(_, value)| value.clone())
                            .unwrap_or_default()
                    };
                    let id = header("requestid");
                    let pair = pairs.entry(id.clone()).or_default();
                    pair.port = header("port").parse().unwrap_or_default();
                    if header("streamtype") == "error" {
                        pair.error = Some(stream);
                    } else {
                        let (sender, receiver) = mpsc::channel(QUEUE);
                        open.insert(stream, sender);
                        pair.data = Some((stream, receiver));
                    }
                    if pair.error.is_some()
                        && pair.data.is_some()
                        && let Some(Pair { error: Some(error), data: Some((data, read)), port }) =
                            pairs.remove(&id)
                    {
                        let (forwarder, writer) = (self.clone(), writer.clone());
                        tokio::spawn(async move {
                            let _ = forwarder.forward(port, read, data, error, &writer).await;
                        });
                    }
                }
                Event::Data { stream, data } => {
                    if let Some(sender) = open.get(&stream)
                        && sender.send(data).await.is_err()
                    {
                        open.remove(&stream);
                    }
                }
                Event::Ended { stream } => drop(open.remove(&stream)),
            }
        }
    }

    /// Joins one connection to what listens at the port.
    async fn forward(
        &self,
        port: u16,
        mut read: mpsc::Receiver<Bytes>,
        data: u32,
        error: u32,
        writer: &Writer,
    ) -> Result<(), Gone> {
        match self.listener(port) {
            None => {
                let text = self.refused(port);
                writer.send(error, text.as_bytes()).await?;
            }
            Some(site) if self.speaks_http(&site) => {
                let (near, far) = tokio::io::duplex(64 << 10);
                let forwarder = self.clone();
                tokio::spawn(async move { forwarder.serve_http(site, far).await });
                let (mut from, mut to) = tokio::io::split(near);
                let inward = async {
                    while let Some(bytes) = read.recv().await {
                        if to.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                    let _ = to.shutdown().await;
                };
                let outward = async {
                    let mut buffer = vec![0; 16 << 10];
                    while let Ok(length @ 1..) = from.read(&mut buffer).await {
                        writer.send(data, &buffer[..length]).await?;
                    }
                    Ok(())
                };
                let mut outward = std::pin::pin!(outward);
                tokio::select! {
                    sent = &mut outward => sent?,
                    () = inward => outward.await?,
                }
            }
            Some(site) => {
                // The greeting of a server comes before anything is said to it.
                let mut said = self.say(&site, b"");
                loop {
                    match said {
                        Some(bytes) => writer.send(data, &bytes).await?,
                        None if !self.waits(&site) => break,
                        None => {}
                    }
                    let Some(bytes) = read.recv().await else { break };
                    said = self.say(&site, &bytes);
                }
            }
        }
        writer.end(data).await?;
        writer.end(error).await
    }

    fn listener(&self, port: u16) -> Option<Site> {
        let pod = self.logs.latest(&self.pod)?;
        self.logs.with_network(&pod, |network| network.listener(&pod, port))
    }

    /// Says what the container runtime says of a port where nobody listens.
    fn refused(&self, port: u16) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, meta::uid(&self.pod).as_bytes());
        let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let space = meta::uid(&self.pod);
        format!(
            "error forwarding port {port} to pod {hex}, uid : failed to execute portforward in network namespace \
             \"/var/run/netns/cni-{space}\": failed to connect to localhost:{port} inside namespace {hex:?}, IPv4: dial tcp4 \
             127.0.0.1:{port}: connect: connection refused IPv6 dial tcp6 [::1]:{port}: connect: connection refused "
        )
    }

    fn speaks_http(&self, site: &Site) -> bool {
        let Site::Container { pod, container, port } = site else { return false };
        let http = self.logs.with_network(pod, |network| {
            network.with_container(pod, container, |process, trace| match trace.serves.get(port) {
                Some(Serves::Text(text)) => text.starts_with("HTTP/"),
                Some(Serves::Files(_)) => true,
                None => {
                    process.image().is_none_or(|image| image.speaks == crate::sim::node::images::Speaks::Http)
                }
            })
        });
        http.unwrap_or_default()
    }

    /// Tells whether a server waits for what it is told.
    fn waits(&self, site: &Site) -> bool {
        let Site::Container { pod, container, .. } = site else { return false };
        let redis = self.logs.with_network(pod, |network| {
            network.with_container(pod, container, |process, _| {
                process.image().is_some_and(|image| image.speaks == crate::sim::node::images::Speaks::Redis)
            })
        });
        redis.unwrap_or_default()
    }

    fn say(&self, site: &Site, bytes: &[u8]) -> Option<Vec<u8>> {
        let Site::Container { pod, container, port } = site else { return None };
        let reply = self.logs.with_network(pod, |network| {
            network
                .with_container(pod, container, |process, trace| servers::raw(process, trace, *port, bytes))
        });
        match reply {
            Some(Reply::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    async fn serve_http(&self, site: Site, connection: DuplexStream) {
        let service = hyper::service::service_fn(|request: http::Request<Incoming>| {
            let (forwarder, site) = (self.clone(), site.clone());
            async move { Ok::<_, Infallible>(forwarder.answer(&site, request).await) }
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(connection), service)
            .await;
    }

    async fn answer(&self, site: &Site, request: http::Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let failed = |code: u16| {
            let mut response = Response::new(Full::new(Bytes::new()));
            *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
            response
        };
        let Ok(body) = Limited::new(body, LARGEST).collect().await else { return failed(413) };
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
        let request = HttpRequest {
            method: parts.method.to_string(),
            path: parts.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            headers: headers.collect(),
            body: body.to_bytes().to_vec(),
        };
        let Site::Container { pod, container, port } = site else { return failed(502) };
        let reply = self.logs.with_network(pod, |network| {
            network.with_container(pod, container, |process, trace| {
                servers::http(process, trace, *port, &request, None)
            })
        });
        let Some(Reply::Http(answer)) = reply else { return failed(502) };
        let mut response = Response::builder().status(answer.status);
        for (name, value) in
            answer.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"))
        {
            response = response.header(name, value);
        }
        response.body(Full::new(answer.body.into())).unwrap_or_else(|_| failed(502))
    }
}
