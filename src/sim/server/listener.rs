//! TLS on a loopback port: HTTP/1.1 and HTTP/2 with upgrades, and the certificates that clients present.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::ServerError;
use crate::sim::api::Api;
use crate::sim::authn::PeerCertificates;
use crate::sim::pki::Pki;

/// How long a client may take to shake hands.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many requests, watches among them, one HTTP/2 connection carries at a time.
const STREAMS: u32 = 1000;

/// Binds to `port` on the loopback interface or, when it is taken, to another.
pub(super) async fn bind(port: u16) -> Result<TcpListener, ServerError> {
    if port != 0
        && let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
    {
        return Ok(listener);
    }
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(ServerError::Listen)
}

/// Prepares TLS with the cluster's keys.
pub(super) fn acceptor(pki: &Pki) -> Result<TlsAcceptor, ServerError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = pki.server_identity()?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| ServerError::Tls(error.to_string()))?
        .with_client_cert_verifier(Arc::new(Anyone(provider)))
        .with_single_cert(chain, key)
        .map_err(|error| ServerError::Tls(error.to_string()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves `api` until it is dropped.
pub(super) async fn serve(listener: TcpListener, acceptor: TlsAcceptor, api: Api) {
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
