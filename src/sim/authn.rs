//! Who asks: client certificates of the cluster's CA, service-account tokens, and anonymous.
//! Decides nothing about what they may do.

pub mod jwt;
pub mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use ring::digest;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use super::attributes::UserInfo;
use super::pki::Pki;
use super::random::hex;
use super::status::Status;
use super::view::View;
use crate::clock::Clock;

/// The audience and issuer of the API server's own tokens.
pub const AUDIENCE: &str = "https://kubernetes.default.svc.cluster.local";

/// The user that a request without credentials is of.
pub fn anonymous() -> UserInfo {
    UserInfo {
        username: "system:anonymous".to_owned(),
        groups: vec!["system:unauthenticated".to_owned()],
        ..UserInfo::default()
    }
}

/// The chain of certificates that a client presented on its connection.
#[derive(Debug, Clone)]
pub struct PeerCertificates(pub Arc<Vec<CertificateDer<'static>>>);

/// Tells users from their credentials.
#[derive(Debug, Clone)]
pub struct Authenticator {
    pki: Arc<Pki>,
    /// None where no authority of clients is trusted.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    clock: Arc<dyn Clock>,
    anonymous: Anonymous,
    /// Users by their static tokens: `--token-auth-file`.
    tokens: Arc<BTreeMap<String, UserInfo>>,
    /// Whether the cluster's own service-account tokens are accepted.
    accounts: bool,
}

/// Which requests without credentials are let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anonymous {
    /// None.
    Refused,
    /// All.
    Allowed,
    /// Those for these paths alone.
    At(Vec<String>),
}

impl Authenticator {
    /// Trusts what the cluster's keys have signed.
    ///
    /// # Errors
    /// A sentence when the CA's certificate cannot be used.
    pub fn new(pki: Arc<Pki>, clock: Arc<dyn Clock>, anonymous: bool) -> Result<Self, String> {
        let verifier = verifier(&[pki.authority_der()])?;
        let anonymous = if anonymous { Anonymous::Allowed } else { Anonymous::Refused };
        Ok(Self { pki, verifier, clock, anonymous, tokens: Arc::default(), accounts: true })
    }

    /// Knows these users by tokens of a file.
    #[must_use]
    pub fn with_tokens(mut self, tokens: BTreeMap<String, UserInfo>) -> Self {
        self.tokens = Arc::new(tokens);
        self
    }

    /// Accepts service-account tokens, or does not, because none of the keys that are trusted has signed them.
    #[must_use]
    pub fn with_accounts(mut self, accounts: bool) -> Self {
        self.accounts = accounts;
        self
    }

    /// Lets in these requests without credentials.
    #[must_use]
    pub fn with_anonymous(mut self, anonymous: Anonymous) -> Self {
        self.anonymous = anonymous;
        self
    }

    /// Trusts clients whose certificates one of these authorities has signed; with none, no certificate counts.
    ///
    /// # Errors
    /// A sentence when a certificate cannot be used.
    pub fn with_client_authorities(
        mut self,
        authorities: &[CertificateDer<'static>],
    ) -> Result<Self, String> {
        self.verifier = verifier(authorities)?;
        Ok(self)
    }

    /// Returns the keys that are trusted.
    pub fn pki(&self) -> &Arc<Pki> {
        &self.pki
    }

    /// Tells who asks by the certificates of the connection and the headers of the request.
    ///
    /// # Errors
    /// 401 when credentials were given and none of them is good.
    pub fn authenticate(
        &self,
        view: &dyn View,
        peer: Option<&PeerCertificates>,
        headers: &HeaderMap,
        path: &str,
    ) -> Result<UserInfo, Status> {
        let mut tried = false;
        if let Some(peer) = peer {
            tried = true;
            if let Some(user) = self.by_certificate(&peer.0) {
                return Ok(user);
            }
        }
        let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if let Some((scheme, token)) = header.trim().split_once(' ')
            && scheme.eq_ignore_ascii_case("bearer")
            && !token.trim().is_empty()
        {
            tried = true;
            if let Some(user) = self.tokens.get(token.trim()) {
                return Ok(authenticated(user.clone()));
            }
            if let Ok(identity) = self.by_token(view, token.trim(), &[AUDIENCE]) {
                return Ok(authenticated(identity.user));
            }
        }
        let open = match &self.anonymous {
            Anonymous::Refused => false,
            Anonymous::Allowed => true,
            Anonymous::At(paths) => paths.iter().any(|open| open == path),
        };
        if tried || !open { Err(Status::unauthorized()) } else { Ok(anonymous()) }
    }

    /// Returns the Secret that the token of a request is kept in, where it is one of the old kind: namespace and name.
    pub(in crate::sim) fn secret_of(headers: &HeaderMap) -> Option<(String, String)> {
        let header = headers.get(AUTHORIZATION)?.to_str().ok()?;
        tokens::secret_of(header.split_once(' ')?.1.trim())
    }

    fn by_certificate(&self, chain: &[CertificateDer<'static>]) -> Option<UserInfo> {
        let (leaf, intermediates) = chain.split_first()?;
        let now = u64::try_from(self.clock.now().as_second()).ok()?;
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now));
        self.verifier.as_ref()?.verify_client_cert(leaf, intermediates, now).ok()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(leaf).ok()?;
        let text = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            attribute.as_str().unwrap_or_default().to_owned()
        };
        let username =
            certificate.subject().iter_common_name().last().map(text).filter(|name| !name.is_empty())?;
        let groups = certificate.subject().iter_organization().map(text).collect();
        let fingerprint = hex(digest::digest(&digest::SHA256, leaf).as_ref());
        let mut user = UserInfo { username, groups, ..UserInfo::default() };
        user.extra.insert(
            "authentication.kubernetes.io/credential-id".to_owned(),
            vec![format!("X509SHA256={fingerprint}")],
        );
        Some(authenticated(user))
    }
}

fn verifier(authorities: &[CertificateDer<'static>]) -> Result<Option<Arc<dyn ClientCertVerifier>>, String> {
    if authorities.is_empty() {
        return Ok(None);
    }
    let mut roots = rustls::RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(Some(built.map_err(|error| error.to_string())?))
}

fn authenticated(mut user: UserInfo) -> UserInfo {
    if !user.in_group("system:authenticated") {
        user.groups.push("system:authenticated".to_owned());
    }
    user
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::clock::ManualClock;
    use crate::sim::pki::der;
    use crate::sim::view::Objects;

    #[test]
    fn a_certificate_of_the_authority_names_user_and_groups() {
        let clock = Arc::new(ManualClock::new("2026-11-23T12:00:00Z".parse().unwrap()));
        let pki = Arc::new(Pki::generate(&[], clock.now()).unwrap());
        let authenticator = Authenticator::new(pki.clone(), clock.clone(), true).unwrap();
        let credentials = pki.client("jane", &["dev"], clock.now()).unwrap();
        let peer = |pem: &str| PeerCertificates(Arc::new(vec![der(pem).unwrap()]));
        let ask = |peer: &PeerCertificates| {
            authenticator.authenticate(&Objects::default(), Some(peer), &HeaderMap::new(), "/api")
        };
        let user = ask(&peer(&credentials.certificate)).unwrap();
        assert_eq!(user.username, "jane");
        assert_eq!(user.groups, ["dev", "system:authenticated"]);
        let foreign = Pki::generate(&[], clock.now()).unwrap().client("jane", &[], clock.now()).unwrap();
        assert_eq!(ask(&peer(&foreign.certificate)).unwrap_err().code, 401);
        assert_eq!(ask(&peer(&pki.server().certificate)).unwrap_err().code, 401, "not for clients");
        clock.advance(std::time::Duration::from_secs(366 * 24 * 3600));
        assert_eq!(ask(&peer(&credentials.certificate)).unwrap_err().code, 401, "expired");
    }

    #[test]
    fn nobody_is_anonymous_and_a_bad_token_is_refused() {
        let clock = Arc::new(ManualClock::new("2026-11-23T12:00:00Z".parse().unwrap()));
        let pki = Arc::new(Pki::generate(&[], clock.now()).unwrap());
        let open = Authenticator::new(pki.clone(), clock.clone(), true).unwrap();
        let closed = Authenticator::new(pki, clock, false).unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(
            open.authenticate(&Objects::default(), None, &headers, "/api").unwrap().username,
            "system:anonymous"
        );
        assert_eq!(closed.authenticate(&Objects::default(), None, &headers, "/api").unwrap_err().code, 401);
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer nonsense"));
        assert_eq!(open.authenticate(&Objects::default(), None, &headers, "/api").unwrap_err().code, 401);
    }
}
