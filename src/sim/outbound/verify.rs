//! Whether the certificate of a server is to be trusted, by Go's rules and in Go's words: a certificate that is itself
//! among the trusted ones is good, CA or not, and the common name counts for nothing.

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_parser::extensions::GeneralName;

use super::{Identity, Trust, certificates, private_key};

const UNKNOWN: &str = "x509: certificate signed by unknown authority";

/// Prepares TLS that trusts some certificates.
///
/// # Errors
/// What is wrong with the certificates.
pub(super) fn config(trust: Trust<'_>, identity: Option<&Identity>) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (trusted, anything) = match trust {
        Trust::SignedBy(authorities) => (certificates(authorities), false),
        Trust::Anything => (Vec::new(), true),
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().cloned());
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().ok();
    let verifier = Verifier { provider: provider.clone(), chains, trusted, anything };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder
            .with_client_auth_cert(certificates(&identity.certificate), private_key(&identity.key)?)
            .map_err(|error| format!("tls: {error}"))?,
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Words what went wrong in a handshake.
pub(super) fn words(error: &io::Error) -> String {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
            io::ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
            _ => error.to_string(),
        };
    };
    match tls {
        Error::General(why) => format!("tls: failed to verify certificate: {why}"),
        Error::InvalidMessage(_) => "http: server gave HTTP response to HTTPS client".to_owned(),
        Error::AlertReceived(alert) => {
            let name = match alert {
                AlertDescription::HandshakeFailure => "handshake failure",
                AlertDescription::BadCertificate => "bad certificate",
                AlertDescription::CertificateRequired => "certificate required",
                AlertDescription::UnknownCA => "unknown certificate authority",
                AlertDescription::ProtocolVersion => "protocol version not supported",
                AlertDescription::UnrecognisedName => "unrecognized name",
                AlertDescription::InternalError => "internal error",
                _ => return format!("remote error: tls: {alert:?}"),
            };
            format!("remote error: tls: {name}")
        }
        other => format!("tls: {other}"),
    }
}

#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// None where nothing is trusted.
    chains: Option<Arc<WebPkiServerVerifier>>,
    trusted: Vec<CertificateDer<'static>>,
    anything: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.anything {
            return Ok(ServerCertVerified::assertion());
        }
        let refused = |why: String| Err(Error::General(why));
        let Ok((_, certificate)) = x509_parser::parse_x509_certificate(leaf) else {
            return refused("x509: malformed certificate".to_owned());
        };
        if let Some(why) = out_of_date(&certificate, now) {
            return refused(why);
        }
        let pinned = self.trusted.iter().any(|trusted| trusted.as_ref() == leaf.as_ref());
        let chained = || match &self.chains {
            None => false,
            Some(chains) => match chains.verify_server_cert(leaf, intermediates, server_name, ocsp, now) {
                Ok(_) => true,
                // Names are judged below, once it is known that the chain is good.
                Err(Error::InvalidCertificate(
                    rustls::CertificateError::NotValidForName
                    | rustls::CertificateError::NotValidForNameContext { .. },
                )) => true,
                Err(_) => false,
            },
        };
        // Go looks at the name before it looks for a chain.
        if let Some(why) = wrong_name(&certificate, server_name) {
            return refused(why);
        }
        if pinned || chained() { Ok(ServerCertVerified::assertion()) } else { refused(UNKNOWN.to_owned()) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn out_of_date(certificate: &x509_parser::certificate::X509Certificate<'_>, now: UnixTime) -> Option<String> {
    let now = i64::try_from(now.as_secs()).ok()?;
    let (from, until) =
        (certificate.validity().not_before.timestamp(), certificate.validity().not_after.timestamp());
    let shown = |second: i64| {
        jiff::Timestamp::from_second(second).map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).ok()
    };
    let (relation, limit) = match now {
        now if now < from => ("before", from),
        now if now > until => ("after", until),
        _ => return None,
    };
    Some(format!(
        "x509: certificate has expired or is not yet valid: current time {} is {relation} {}",
        shown(now)?,
        shown(limit)?
    ))
}

fn wrong_name(
    certificate: &x509_parser::certificate::X509Certificate<'_>,
    wanted: &ServerName<'_>,
) -> Option<String> {
    let names = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.as_slice(),
        _ => &[],
    };
    let hosts: Vec<&str> = names.iter().filter_map(dns_name).collect();
    let addresses: Vec<std::net::IpAddr> = names.iter().filter_map(address).collect();
    match wanted {
        ServerName::IpAddress(wanted) => {
            let wanted = std::net::IpAddr::from(*wanted);
            if addresses.contains(&wanted) {
                return None;
            }
            if addresses.is_empty() {
                return Some(format!(
                    "x509: cannot validate certificate for {wanted} because it doesn't contain any IP SANs"
                ));
            }
            let list: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            Some(format!("x509: certificate is valid for {}, not {wanted}", list.join(", ")))
        }
        ServerName::DnsName(wanted) => {
            let wanted = wanted.as_ref();
            if hosts.iter().any(|pattern| covers(pattern, wanted)) {
                return None;
            }
            if hosts.is_empty()
                && addresses.is_empty()
                && certificate.subject().iter_common_name().next().is_some()
            {
                return Some(
                    "x509: certificate relies on legacy Common Name field, use SANs instead".to_owned(),
                );
            }
            if hosts.is_empty() {
                return Some(format!(
                    "x509: certificate is not valid for any names, but wanted to match {wanted}"
                ));
            }
            Some(format!("x509: certificate is valid for {}, not {wanted}", hosts.join(", ")))
        }
        _ => Some(UNKNOWN.to_owned()),
    }
}

fn dns_name<'a>(name: &GeneralName<'a>) -> Option<&'a str> {
    match name {
        GeneralName::DNSName(name) => Some(name),
        _ => None,
    }
}

fn address(name: &GeneralName<'_>) -> Option<std::net::IpAddr> {
    let GeneralName::IPAddress(bytes) = name else { return None };
    match bytes.len() {
        4 => <[u8; 4]>::try_from(*bytes).ok().map(Into::into),
        16 => <[u8; 16]>::try_from(*bytes).ok().map(Into::into),
        _ => None,
    }
}

/// Tells whether a name of a certificate, with a wildcard for its first label perhaps, covers a host.
fn covers(pattern: &str, host: &str) -> bool {
    let (pattern, host) =
        (pattern.trim_end_matches('.').to_lowercase(), host.trim_end_matches('.').to_lowercase());
    match pattern.strip_prefix("*.") {
        None => pattern == host,
        Some(rest) => host.split_once('.').is_some_and(|(first, of)| !first.is_empty() && of == rest),
    }
}
