//! What of TLS the flags say: the certificate, the lowest version, the cipher suites.

use super::{Flags, Read};

/// The suites that Go knows and that can be chosen, with those of TLS 1.3, which are on in any case.
const SUITES: [&str; 26] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
];

/// What a server presents and takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) struct Tls {
    /// The certificate chain and its key, as PEM.
    pub identity: Option<(String, String)>,
    /// Whether nothing before TLS 1.3 is taken.
    pub only_13: bool,
    /// The suites of TLS 1.2 that are taken; all that there are where none is named.
    pub suites: Vec<String>,
}

impl Tls {
    /// Reads the flags with the files that they name.
    ///
    /// # Errors
    /// In the words of a server that does not start.
    pub fn read(flags: &Flags, read: Read<'_>) -> Result<Self, String> {
        let identity = match (flags.text("tls-cert-file"), flags.text("tls-private-key-file")) {
            ("", _) | (_, "") => None,
            (certificate, key) => Some((read(certificate)?, read(key)?)),
        };
        let suites = flags.list("tls-cipher-suites");
        if let Some(unknown) = suites.iter().find(|suite| !SUITES.contains(&suite.as_str())) {
            return Err(format!("Cipher suite {unknown} not supported or doesn't exist"));
        }
        let only_13 = match flags.text("tls-min-version") {
            "" | "VersionTLS10" | "VersionTLS11" | "VersionTLS12" => false,
            "VersionTLS13" => true,
            other => return Err(format!("unknown tls version {other:?}")),
        };
        if let Some((certificate, key)) = &identity {
            let found = super::certificates(certificate)
                .map_err(|_| "tls: failed to find any PEM data in certificate input".to_owned())?;
            check_pair(&found, key)?;
        }
        Ok(Self { identity, only_13, suites })
    }
}

/// Checks that a key is that of a certificate.
fn check_pair(chain: &[rustls::pki_types::CertificateDer<'static>], key: &str) -> Result<(), String> {
    use rustls::pki_types::pem::PemObject as _;
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| "tls: failed to find any PEM data in key input".to_owned())?;
    let provider = rustls::crypto::ring::default_provider();
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| "tls: failed to parse private key".to_owned())?;
    match rustls::sign::CertifiedKey::new(chain.to_vec(), key).keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::KeyMismatch)) => {
            Err("tls: private key does not match public key".to_owned())
        }
        _ => Ok(()),
    }
}
