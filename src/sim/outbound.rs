//! Requests that the API server itself sends: JSON by POST over TLS, to webhooks. Failures are told as Go's HTTP client
//! tells them. Knows no admission.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::field::go_quote;
use super::object::Fields as _;
use super::store::Store;

mod kubeconfig;
mod service;
mod verify;

/// More than this is not read of an answer.
const LONGEST_ANSWER: usize = 16 << 20;

/// Addresses that only exist in the simulated cluster: nothing of it can be reached by a socket.
const SIMULATED: [&str; 3] = ["10.96.0.0/12", "10.244.0.0/16", "172.18.0.0/16"];

/// Where a request goes.
#[derive(Debug, Clone)]
pub struct Target {
    /// Host and port as the URL has them.
    authority: String,
    /// The path, with its slash.
    path: String,
    /// The name that the certificate must have.
    server_name: String,
    dial: Dial,
    tls: Arc<ClientConfig>,
    authorization: Option<String>,
}

/// Which certificates of servers are good.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// Those that these certificates (PEM) have signed, and these themselves.
    SignedBy(&'a str),
    /// All.
    Anything,
}

/// What to connect to.
#[derive(Debug, Clone)]
enum Dial {
    /// A host and a port.
    To(String, u16),
    /// Nothing: why, in Go's words.
    Nowhere(String),
}

/// A client certificate with its key, as PEM.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// The certificate, and those between it and a CA.
    pub certificate: String,
    /// The key.
    pub key: String,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub code: u16,
    /// The body.
    pub body: Bytes,
}

impl Target {
    /// Aims at a URL, whose server must show a certificate that is trusted.
    ///
    /// # Errors
    /// What is wrong with the URL or the certificates.
    pub fn url(url: &str, trust: Trust<'_>, identity: Option<&Identity>) -> Result<Self, String> {
        let unparsable = || format!("Unparsable URL: parse {}: invalid URL", go_quote(url));
        let parsed: http::Uri = url.parse().map_err(|_| unparsable())?;
        if parsed.scheme_str() != Some("https") {
            return Err(format!("unsupported protocol scheme {:?}", parsed.scheme_str().unwrap_or_default()));
        }
        let host = parsed.host().ok_or_else(unparsable)?.trim_matches(['[', ']']).to_owned();
        let port = parsed.port_u16().unwrap_or(443);
        Ok(Self {
            authority: parsed.authority().map(ToString::to_string).unwrap_or_default(),
            path: clean(parsed.path()),
            dial: Dial::To(host.clone(), port),
            server_name: host,
            tls: verify::config(trust, identity)?,
            authorization: None,
        })
    }

    /// Aims at a Service of the cluster.
    ///
    /// # Errors
    /// What is wrong with the certificates.
    pub fn service(
        store: &Store,
        (namespace, name, port): (&str, &str, u16),
        path: &str,
        authorities: &str,
    ) -> Result<Self, String> {
        let server_name = format!("{name}.{namespace}.svc");
        Ok(Self {
            authority: format!("{server_name}:{port}"),
            path: clean(path),
            dial: service::resolve(store, namespace, name, port).unwrap_or_else(Dial::Nowhere),
            server_name,
            tls: verify::config(Trust::SignedBy(authorities), None)?,
            authorization: None,
        })
    }

    /// Aims at what the `clientConfig` of a webhook names: a URL, or a Service.
    ///
    /// # Errors
    /// What is wrong with the URL or the certificates.
    pub fn configured(store: &Store, client: &Value) -> Result<Self, String> {
        let bundle = STANDARD.decode(client.text("caBundle")).unwrap_or_default();
        let bundle = String::from_utf8_lossy(&bundle);
        let service = client.at("service");
        if !service.is_object() {
            return Self::url(client.text("url"), Trust::SignedBy(&bundle), None);
        }
        let port = service.int("port").and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
        let place = (service.text("namespace"), service.text("name"), port);
        Self::service(store, place, service.text("path"), &bundle)
    }

    /// Sends this header along, such as `Bearer TOKEN`.
    #[must_use]
    pub fn with_authorization(self, header: String) -> Self {
        Self { authorization: Some(header), ..self }
    }

    /// Posts a document; `timeout` is also told to the server.
    ///
    /// # Errors
    /// Why there was no answer: `Post "https://...": dial tcp ...: connect: connection refused`.
    pub async fn post(
        &self,
        body: Vec<u8>,
        timeout: Option<Duration>,
        agent: &str,
    ) -> Result<Answer, String> {
        let query = timeout.map(|timeout| format!("?timeout={}s", timeout.as_secs())).unwrap_or_default();
        let sent = self.send(body, &query, agent);
        let answer = match timeout {
            None => sent.await,
            Some(timeout) => match tokio::time::timeout(timeout, sent).await {
                Ok(answer) => answer,
                Err(_) => Err("context deadline exceeded".to_owned()),
            },
        };
        answer.map_err(|why| {
            let url = format!("https://{}{}{query}", self.authority, self.path);
            format!("Post {}: {why}", go_quote(&url))
        })
    }

    async fn send(&self, body: Vec<u8>, query: &str, agent: &str) -> Result<Answer, String> {
        let stream = self.connect().await?;
        let mut request = Request::builder();
        if let Some(header) = &self.authorization {
            request = request.header("authorization", header);
        }
        let request = request
            .method(Method::POST)
            .uri(format!("{}{query}", self.path))
            .header("host", &self.authority)
            .header("user-agent", agent)
            .header("accept", "application/json, */*")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let exchange = async {
            let (parts, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
            let body =
                Limited::new(body, LONGEST_ANSWER).collect().await.map_err(|error| error.to_string())?;
            Ok(Answer { code: parts.status.as_u16(), body: body.to_bytes() })
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            // What the connection has read before its end is still to be had.
            _ = &mut connection => exchange.await,
        }
    }

    async fn connect(&self) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
        let (host, port) = match &self.dial {
            Dial::To(host, port) => (host.as_str(), *port),
            Dial::Nowhere(why) => return Err(why.clone()),
        };
        let addresses = lookup(host, port).await?;
        let mut stream = None;
        let mut refusal = None;
        for address in addresses {
            match dial(address).await {
                Ok(connected) => {
                    stream = Some(connected);
                    break;
                }
                Err(why) => refusal = refusal.or(Some(why)),
            }
        }
        let stream = stream.ok_or_else(|| refusal.unwrap_or_default())?;
        let name = ServerName::try_from(self.server_name.clone()).map_err(|error| error.to_string())?;
        let connector = TlsConnector::from(self.tls.clone());
        connector.connect(name, stream).await.map_err(|error| verify::words(&error))
    }
}

impl Answer {
    /// Returns the body of a success.
    ///
    /// # Errors
    /// What a client of Kubernetes says of any other answer.
    pub fn success(self) -> Result<Bytes, String> {
        let said = || String::from_utf8_lossy(&self.body).trim().to_owned();
        Err(match self.code {
            200..=206 => return Ok(self.body),
            400 => "the server rejected our request for an unknown reason".to_owned(),
            401 => "the server has asked for the client to provide credentials".to_owned(),
            403 | 406 | 415 => said(),
            404 => "the server could not find the requested resource".to_owned(),
            405 => "the server does not allow this method on the requested resource".to_owned(),
            409 => "the server reported a conflict".to_owned(),
            422 => "the server rejected our request due to an error in our request".to_owned(),
            429 => {
                "the server has received too many requests and has asked us to try again later".to_owned()
            }
            503 => "the server is currently unable to handle the request".to_owned(),
            504 => "the server was unable to return a response in the time allotted, but may still be processing \
                    the request"
                .to_owned(),
            code if code >= 500 => {
                format!("an error on the server ({}) has prevented the request from succeeding", go_quote(&said()))
            }
            code => {
                format!("the server responded with the status code {code} but did not return more information")
            }
        })
    }
}

/// Joins a path as Go's `path.Join` does: one slash before each step, none at the end.
fn clean(path: &str) -> String {
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty() && *step != ".").collect();
    format!("/{}", steps.join("/"))
}

async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let unknown = || format!("dial tcp: lookup {host} on 172.18.0.1:53: no such host");
    // The API server is on the network of its node, where names of the cluster mean nothing.
    if host.ends_with(".svc") || host.ends_with(".cluster.local") {
        return Err(unknown());
    }
    let found: Vec<SocketAddr> =
        tokio::net::lookup_host((host, port)).await.map_err(|_| unknown())?.collect();
    if found.is_empty() { Err(unknown()) } else { Ok(found) }
}

async fn dial(address: SocketAddr) -> Result<TcpStream, String> {
    let refused = |why: &str| format!("dial tcp {address}: connect: {why}");
    if is_simulated(address.ip()) {
        return Err(refused("connection refused"));
    }
    TcpStream::connect(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::ConnectionRefused => refused("connection refused"),
        std::io::ErrorKind::HostUnreachable => refused("no route to host"),
        std::io::ErrorKind::NetworkUnreachable => refused("network is unreachable"),
        std::io::ErrorKind::TimedOut => refused("connection timed out"),
        _ => refused(&error.to_string()),
    })
}

/// Tells whether an address exists in the simulated cluster alone.
fn is_simulated(address: IpAddr) -> bool {
    SIMULATED.iter().filter_map(|net| net.parse::<IpNet>().ok()).any(|net| net.contains(&address))
}

fn broken(error: hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return "EOF".to_owned();
    }
    error.to_string()
}

/// Reads all certificates of a PEM text.
fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok).collect()
}

fn private_key(pem: &str) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| "tls: failed to find any PEM data in key input".to_owned())
}
