//! Keys and certificates of one cluster: its CA, what the API server and the first clients present, the key that signs
//! service-account tokens. Knows files and X.509, not who may ask for a certificate.

pub(in crate::sim) mod authority;
pub mod request;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::time::ASN1Time;

use crate::persist::{self, PersistError};

/// Why there is no key or certificate.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error(transparent)]
    Persist(#[from] PersistError),
    /// A file of the cluster's keys is missing.
    #[error("`{0}` of the cluster's keys is missing")]
    Missing(&'static str),
    /// A key or certificate does not parse, or cannot be made.
    #[error("failed to make or read a certificate")]
    Certificate(#[from] rcgen::Error),
    /// The token-signing key does not parse.
    #[error("the key that signs tokens is damaged")]
    TokenKey,
    /// A signing request is refused.
    #[error("{0}")]
    Request(String),
}

/// A certificate with its key, both as PEM.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The certificate.
    pub certificate: String,
    /// The private key, PKCS #8.
    pub key: String,
}

/// The keys of one cluster.
pub struct Pki {
    authority_pem: String,
    authority_key: String,
    authority: Issuer<'static, KeyPair>,
    server: Credentials,
    token_key_pem: String,
    token_key: EcdsaKeyPair,
}

impl std::fmt::Debug for Pki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pki").finish_non_exhaustive()
    }
}

/// How long certificates of the cluster's own are valid, as kubeadm's.
const YEAR: SignedDuration = SignedDuration::from_hours(365 * 24);

impl Pki {
    /// Makes the keys of a new cluster whose nodes have these names.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] when the system's generator of randomness fails.
    pub fn generate(nodes: &[String], now: Timestamp) -> Result<Self, PkiError> {
        let authority_key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name("kubernetes", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
            KeyUsagePurpose::KeyCertSign,
        ];
        params.subject_alt_names = vec![SanType::DnsName("kubernetes".try_into()?)];
        valid(&mut params, now, YEAR * 10);
        let authority_pem = params.self_signed(&authority_key)?.pem();
        let authority_key_pem = authority_key.serialize_pem();
        let authority = Issuer::from_ca_cert_pem(&authority_pem, authority_key)?;
        let server = server_certificate(&authority, nodes, now)?;
        let token_key_pem = KeyPair::generate()?.serialize_pem();
        Self::assemble(authority_pem, authority_key_pem, authority, server, token_key_pem)
    }

    fn assemble(
        authority_pem: String,
        authority_key: String,
        authority: Issuer<'static, KeyPair>,
        server: Credentials,
        token_key_pem: String,
    ) -> Result<Self, PkiError> {
        let pkcs8 = KeyPair::from_pem(&token_key_pem)?.serialize_der();
        let random = ring::rand::SystemRandom::new();
        let token_key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &random)
            .map_err(|_| PkiError::TokenKey)?;
        Ok(Self { authority_pem, authority_key, authority, server, token_key_pem, token_key })
    }

    /// Writes the keys into a folder, readable by their owner alone.
    ///
    /// # Errors
    /// [`PkiError::Persist`].
    pub fn save(&self, dir: &Path) -> Result<(), PkiError> {
        persist::create_dir(dir)?;
        for (file, content) in [
            ("ca.crt", &self.authority_pem),
            ("ca.key", &self.authority_key),
            ("apiserver.crt", &self.server.certificate),
            ("apiserver.key", &self.server.key),
            ("sa.key", &self.token_key_pem),
        ] {
            persist::write_atomic(&dir.join(file), content.as_bytes())?;
        }
        Ok(())
    }

    /// Reads the keys that [`Pki::save`] wrote.
    ///
    /// # Errors
    /// [`PkiError`] when a file is missing or damaged.
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        let read = |file: &'static str| -> Result<String, PkiError> {
            let bytes = persist::read(&dir.join(file))?.ok_or(PkiError::Missing(file))?;
            String::from_utf8(bytes).map_err(|_| PkiError::Missing(file))
        };
        let authority_pem = read("ca.crt")?;
        let authority_key = read("ca.key")?;
        let authority = Issuer::from_ca_cert_pem(&authority_pem, KeyPair::from_pem(&authority_key)?)?;
        let server = Credentials { certificate: read("apiserver.crt")?, key: read("apiserver.key")? };
        Self::assemble(authority_pem, authority_key, authority, server, read("sa.key")?)
    }

    /// Returns the CA's certificate as PEM.
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// Returns the CA's private key as PEM.
    pub fn authority_key_pem(&self) -> &str {
        &self.authority_key
    }

    /// Returns what the API server presents.
    pub fn server(&self) -> &Credentials {
        &self.server
    }

    /// Returns the key that signs service-account tokens, as PEM.
    pub fn token_key_pem(&self) -> &str {
        &self.token_key_pem
    }

    /// Returns the public half of that key, as PEM.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] when the key is damaged.
    pub fn token_public_pem(&self) -> Result<String, PkiError> {
        use rcgen::PublicKeyData as _;
        let der = KeyPair::from_pem(&self.token_key_pem)?.subject_public_key_info();
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
        let lines: Vec<&str> =
            (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
        Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")))
    }

    pub(crate) fn token_key(&self) -> &EcdsaKeyPair {
        &self.token_key
    }

    /// Makes a client certificate for a user of these groups, valid for a year.
    ///
    /// # Errors
    /// [`PkiError::Certificate`].
    pub fn client(&self, user: &str, groups: &[&str], now: Timestamp) -> Result<Credentials, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name(user, groups);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, now, YEAR);
        issue(&self.authority, &params)
    }

    pub(crate) fn authority(&self) -> &Issuer<'static, KeyPair> {
        &self.authority
    }

    /// Returns certificate chain and key for a TLS listener.
    ///
    /// # Errors
    /// [`PkiError::Certificate`] when the server's files are damaged.
    pub fn server_identity(
        &self,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), PkiError> {
        let certificate = der(&self.server.certificate).ok_or(PkiError::Missing("apiserver.crt"))?;
        let key = KeyPair::from_pem(&self.server.key)?.serialize_der();
        Ok((vec![certificate], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key))))
    }

    /// Returns the CA's certificate as DER.
    pub fn authority_der(&self) -> CertificateDer<'static> {
        der(&self.authority_pem).unwrap_or_else(|| CertificateDer::from(Vec::new()))
    }
}

/// Reads the first certificate of a PEM text.
pub(crate) fn der(pem: &str) -> Option<CertificateDer<'static>> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    Some(CertificateDer::from(pem.contents))
}

fn server_certificate(
    authority: &Issuer<'static, KeyPair>,
    nodes: &[String],
    now: Timestamp,
) -> Result<Credentials, PkiError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = name("kube-apiserver", &[]);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    for host in [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
    ]
    .into_iter()
    .chain(nodes.iter().map(String::as_str))
    {
        params.subject_alt_names.push(SanType::DnsName(host.try_into()?));
    }
    let node = (!nodes.is_empty()).then(|| crate::sim::bootstrap::node_address(0));
    for address in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(10, 96, 0, 1)].into_iter().chain(node) {
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(address)));
    }
    valid(&mut params, now, YEAR);
    issue(authority, &params)
}

fn issue(authority: &Issuer<'static, KeyPair>, params: &CertificateParams) -> Result<Credentials, PkiError> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok(Credentials { certificate: certificate.pem(), key: key.serialize_pem() })
}

/// Names a subject; rcgen keeps one organization only, which is what the cluster's own certificates have.
fn name(common: &str, organizations: &[&str]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for organization in organizations {
        name.push(DnType::OrganizationName, *organization);
    }
    name.push(DnType::CommonName, common);
    name
}

fn valid(params: &mut CertificateParams, now: Timestamp, lifetime: SignedDuration) {
    // A client's clock may be a little behind.
    let time = |at: Timestamp| ASN1Time::from_timestamp(at.as_second()).map(|time| time.to_datetime());
    if let (Ok(from), Ok(to)) = (time(now - SignedDuration::from_mins(5)), time(now + lifetime)) {
        params.not_before = from;
        params.not_after = to;
    }
}

/// Shares the keys between the API server and the controllers that sign.
pub type SharedPki = Arc<Pki>;

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn keys_survive_on_disk_and_are_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::generate(&["control-plane".to_owned()], now()).unwrap();
        pki.save(dir.path()).unwrap();
        let loaded = Pki::load(dir.path()).unwrap();
        assert_eq!(loaded.authority_pem(), pki.authority_pem());
        assert_eq!(loaded.server().certificate, pki.server().certificate);
        for file in std::fs::read_dir(dir.path()).unwrap() {
            assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        std::fs::remove_file(dir.path().join("sa.key")).unwrap();
        assert!(matches!(Pki::load(dir.path()), Err(PkiError::Missing("sa.key"))));
    }

    #[test]
    fn the_server_is_known_by_the_names_a_real_one_has() {
        let pki = Pki::generate(&["control-plane".to_owned()], now()).unwrap();
        let (chain, _) = pki.server_identity().unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
        let names = certificate.subject_alternative_name().unwrap().unwrap().value.general_names.len();
        assert_eq!(names, 9);
        assert_eq!(certificate.validity().not_before.timestamp(), now().as_second() - 300);
        let (_, authority) = x509_parser::pem::parse_x509_pem(pki.authority_pem().as_bytes()).unwrap();
        let authority = authority.parse_x509().unwrap();
        certificate.verify_signature(Some(authority.public_key())).unwrap();
    }
}
