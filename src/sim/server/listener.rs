//! TLS on a loopback port: HTTP/1.1 and HTTP/2 with upgrades, and the certificates that clients present.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::ServerError;
use crate::sim::api::Api;
use crate::sim::authn::PeerCertificates;
use crate::sim::pki::Pki;

/// How long a client may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many requests, watches among them, one HTTP/2 connection carries at a time.
const STREAMS: u32 = 1000;

/// A port of the loopback interface that stays this cluster's while nobody listens on it, as an API server's does while it
/// is down: who connects then is refused.
#[derive(Debug)]
pub(super) struct Front {
    address: SocketAddr,
    /// Holds the port. It never listens.
    _reserved: TcpSocket,
    serving: Mutex<(u64, Option<Serving>)>,
}

/// What listens, until it is dropped.
#[derive(Debug)]
struct Serving(tokio::task::JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Front {
    /// Takes `port` or, when it is taken, another.
    ///
    /// # Errors
    /// [`ServerError::Listen`].
    pub(super) fn reserve(port: u16) -> Result<Self, ServerError> {
        if port != 0 {
            // Somebody may hold the port without listening on it yet, or listen on it.
            if let Ok(reserved) = socket(port)
                && let Ok(probe) = socket(port)
                && probe.listen(1).is_ok()
            {
                return Self::over(reserved);
            }
        }
        Self::over(socket(0).map_err(ServerError::Listen)?)
    }

    fn over(reserved: TcpSocket) -> Result<Self, ServerError> {
        let address = reserved.local_addr().map_err(ServerError::Listen)?;
        Ok(Self { address, _reserved: reserved, serving: Mutex::new((0, None)) })
    }

    /// Returns the address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    fn replace(&self, serving: Option<Serving>) {
        let mut place = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        *place = (place.0 + 1, serving);
    }

    /// Returns what changes with each opening and closing.
    pub(super) fn generation(&self) -> u64 {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Closes the port if it is as it was at a generation.
    pub(super) fn close_if(&self, generation: u64) {
        let mut place = self.serving.lock().unwrap_or_else(PoisonError::into_inner);
        if place.0 == generation {
            *place = (generation + 1, None);
        }
    }

    /// Serves `api` from now on.
    pub(super) fn open(&self, acceptor: TlsAcceptor, api: Api) {
        self.close();
        let first = self.listen();
        let port = self.address.port();
        self.replace(Some(Serving(tokio::spawn(async move {
            let listener = again(first, port).await;
            serve(listener, acceptor, api).await;
        }))));
    }

    /// Lets clients connect, and wait: somebody listens who does not answer.
    pub(super) fn hang(&self) {
        self.close();
        let first = self.listen();
        let port = self.address.port();
        self.replace(Some(Serving(tokio::spawn(async move {
            let _listener = again(first, port).await;
            std::future::pending::<()>().await;
        }))));
    }

    /// Ends all connections and refuses those to come.
    pub(super) fn close(&self) {
        self.replace(None);
    }

    fn listen(&self) -> std::io::Result<TcpListener> {
        listen(self.address.port())
    }
}

fn listen(port: u16) -> std::io::Result<TcpListener> {
    const BACKLOG: u32 = 1024;
    socket(port)?.listen(BACKLOG)
}

/// Waits until the listener before has gone.
async fn again(mut listener: std::io::Result<TcpListener>, port: u16) -> TcpListener {
    loop {
        match listener {
            Ok(listener) => return listener,
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                listener = listen(port);
            }
        }
    }
}

/// Binds a socket that shares its port with others which do not listen.
fn socket(port: u16) -> std::io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    #[cfg(not(target_os = "linux"))]
    socket.set_reuseport(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    Ok(socket)
}

/// What of TLS an API server is told by its flags.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TlsSettings {
    /// `--tls-min-version`: whether anything before TLS 1.3 is refused.
    pub(super) only_13: bool,
    /// `--tls-cipher-suites`: the suites of TLS 1.2 that are offered; all that there are without any.
    pub(super) suites: Vec<String>,
    /// Certificate chain and key, as PEM, where they are not the cluster's own.
    pub(super) identity: Option<(String, String)>,
}

/// Prepares TLS with the cluster's keys.
pub(super) fn acceptor(pki: &Pki, settings: &TlsSettings) -> Result<TlsAcceptor, ServerError> {
    let failed = |error: rustls::Error| ServerError::Tls(error.to_string());
    let mut provider = rustls::crypto::ring::default_provider();
    if !settings.suites.is_empty() {
        // As in Go, the suites of TLS 1.3 cannot be chosen.
        provider.cipher_suites.retain(|suite| {
            let name = format!("{:?}", suite.suite());
            let is_named = |wanted: &String| *wanted == name || format!("{wanted}_SHA256") == name;
            suite.version().version == rustls::ProtocolVersion::TLSv1_3
                || settings.suites.iter().any(is_named)
        });
    }
    let provider = Arc::new(provider);
    let (chain, key) = match &settings.identity {
        None => pki.server_identity()?,
        Some((chain, key)) => identity(chain, key)?,
    };
    let versions: &[&rustls::SupportedProtocolVersion] =
        if settings.only_13 { &[&rustls::version::TLS13] } else { rustls::ALL_VERSIONS };
    let mut config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(failed)?
        .with_client_cert_verifier(Arc::new(Anyone(provider)))
        .with_single_cert(chain, key)
        .map_err(failed)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(chain: &str, key: &str) -> Result<Identity, ServerError> {
    use rustls::pki_types::pem::PemObject as _;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain.as_bytes()).collect();
    let failed = |error: rustls::pki_types::pem::Error| ServerError::Tls(error.to_string());
    Ok((chain.map_err(failed)?, PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(failed)?))
}

/// Serves `api` until it is dropped.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, api: Api) {
    // Dropped with this future, which ends the connections.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, acceptor.clone(), api.clone()));
                }
                // Out of descriptors, say: what is open goes on, and closing some of it helps.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// What a Go server says to a client that speaks plain HTTP to a TLS port.
const PLAIN: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Waits for what a client says first, and tells whether it is the method of an HTTP request and no TLS.
async fn is_plain(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1) if first[0].is_ascii_uppercase())
}

async fn refuse_plain(mut stream: TcpStream) {
    // A connection that is closed with something unread is reset, and what was said on it may be lost.
    let mut request = [0; 16 << 10];
    let _ = stream.read(&mut request).await;
    let _ = stream.write_all(PLAIN).await;
    let _ = stream.shutdown().await;
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, api: Api) {
    let _ = stream.set_nodelay(true);
    match tokio::time::timeout(HANDSHAKE, is_plain(&stream)).await {
        Ok(false) => {}
        Ok(true) => return refuse_plain(stream).await,
        Err(_) => return,
    }
    let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let peer = stream.get_ref().1.peer_certificates().filter(|chain| !chain.is_empty());
    let peer = peer.map(|chain| {
        PeerCertificates(Arc::new(chain.iter().map(|certificate| certificate.clone().into_owned()).collect()))
    });
    let service = service_fn(move |mut request: Request<Incoming>| {
        let api = api.clone();
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        async move { Ok::<_, std::convert::Infallible>(api.handle(request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http2().max_concurrent_streams(STREAMS);
    // A client that goes away in the middle of something is no concern of the server.
    let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}

/// Lets every client in whose key fits its certificate. Whether the certificate counts is for authentication to say,
/// with a 401 instead of a broken connection.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ClientCertVerifier for Anyone {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Returns the URL of an address.
pub(super) fn url(address: SocketAddr) -> String {
    format!("https://{address}")
}
