//! Service-account tokens: bound ones of TokenRequest, and those of legacy token Secrets. A token is good while what it
//! is bound to is there.

use serde_json::{Value, json};

use super::{AUDIENCE, Authenticator, jwt};
use crate::sim::attributes::UserInfo;
use crate::sim::object::Fields as _;
use crate::sim::random;
use crate::sim::resource::GroupResource;
use crate::sim::view::View;

const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
const ACCOUNTS: GroupResource = GroupResource::of("", "serviceaccounts");
const SECRETS: GroupResource = GroupResource::of("", "secrets");
const PODS: GroupResource = GroupResource::of("", "pods");
const NODES: GroupResource = GroupResource::of("", "nodes");

/// Who a token is of, and for whom it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIdentity {
    /// The service account as a user.
    pub user: UserInfo,
    /// The audiences that were asked for and that the token has.
    pub audiences: Vec<String>,
}

/// What a bound token is to say.
#[derive(Debug, Clone, Default)]
pub struct TokenSpec<'a> {
    /// The namespace of the service account.
    pub namespace: &'a str,
    /// Its name.
    pub account: &'a str,
    /// Its uid.
    pub account_uid: &'a str,
    /// Who is to accept it.
    pub audiences: Vec<String>,
    /// For how many seconds it is good.
    pub seconds: i64,
    /// From when on, in seconds, its use is to be warned of; for tokens that live longer than was asked.
    pub warn_after: Option<i64>,
    /// The object that it dies with: `pod`, `secret` or `node`, its name and uid.
    pub bound: Option<(&'static str, &'a str, &'a str)>,
    /// The node of the Pod that it is bound to: name and uid.
    pub node: Option<(&'a str, &'a str)>,
}

impl Authenticator {
    /// Makes a bound token.
    ///
    /// # Errors
    /// When the system's generator of randomness fails.
    pub fn issue(&self, spec: &TokenSpec<'_>) -> Result<String, ring::error::Unspecified> {
        let now = self.clock.now().as_second();
        let reference = |name: &str, uid: &str| json!({ "name": name, "uid": uid });
        let mut own = json!({ "namespace": spec.namespace,
            "serviceaccount": reference(spec.account, spec.account_uid) });
        if let Some((kind, name, uid)) = spec.bound {
            own[kind] = reference(name, uid);
        }
        if let Some((name, uid)) = spec.node {
            own["node"] = reference(name, uid);
        }
        if let Some(after) = spec.warn_after {
            own["warnafter"] = (now + after).into();
        }
        let claims = json!({ "aud": spec.audiences, "exp": now + spec.seconds, "iat": now, "nbf": now,
            "iss": AUDIENCE, "jti": random::uuid(), "kubernetes.io": own,
            "sub": format!("system:serviceaccount:{}:{}", spec.namespace, spec.account) });
        jwt::sign(self.pki.token_key(), &claims)
    }

    /// Makes the token of a Secret of type `kubernetes.io/service-account-token`; it does not expire.
    ///
    /// # Errors
    /// When the system's generator of randomness fails.
    pub fn issue_legacy(
        &self,
        namespace: &str,
        secret: &str,
        account: &str,
        account_uid: &str,
    ) -> Result<String, ring::error::Unspecified> {
        let claims = json!({ "iss": LEGACY_ISSUER,
            "kubernetes.io/serviceaccount/namespace": namespace,
            "kubernetes.io/serviceaccount/secret.name": secret,
            "kubernetes.io/serviceaccount/service-account.name": account,
            "kubernetes.io/serviceaccount/service-account.uid": account_uid,
            "sub": format!("system:serviceaccount:{namespace}:{account}") });
        jwt::sign(self.pki.token_key(), &claims)
    }

    /// Tells whose token this is, when it is good for one of the audiences.
    ///
    /// # Errors
    /// Why it is not.
    pub fn by_token(
        &self,
        view: &dyn View,
        token: &str,
        audiences: &[&str],
    ) -> Result<TokenIdentity, &'static str> {
        if !self.accounts {
            return Err("invalid bearer token");
        }
        let claims = jwt::verify(self.pki.token_key(), token).ok_or("invalid bearer token")?;
        match claims.text("iss") {
            AUDIENCE => self.bound(view, &claims, audiences),
            LEGACY_ISSUER => legacy(view, &claims, token, audiences),
            _ => Err("invalid bearer token"),
        }
    }

    fn bound(
        &self,
        view: &dyn View,
        claims: &Value,
        audiences: &[&str],
    ) -> Result<TokenIdentity, &'static str> {
        let now = self.clock.now().as_second();
        if claims.int("exp").is_none_or(|end| now >= end) {
            return Err("service account token has expired");
        }
        // As much as another server's clock may be ahead.
        if claims.int("nbf").is_some_and(|start| now + 10 < start) {
            return Err("service account token is not valid yet");
        }
        let common: Vec<String> = claims
            .texts("aud")
            .into_iter()
            .filter(|audience| audiences.contains(audience))
            .map(str::to_owned)
            .collect();
        if common.is_empty() {
            return Err("token audiences do not match");
        }
        let own = claims.at("kubernetes.io");
        let namespace = own.text("namespace");
        let (account, uid) = (own["serviceaccount"].text("name"), own["serviceaccount"].text("uid"));
        if !alive(view, &ACCOUNTS, namespace, account, uid, now) {
            return Err("service account token has been invalidated");
        }
        let mut user = account_user(namespace, account, uid);
        let mut note = |key: &str, value: &str| {
            user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        };
        note("credential-id", &format!("JTI={}", claims.text("jti")));
        for (kind, resource, scope) in
            [("secret", &SECRETS, namespace), ("pod", &PODS, namespace), ("node", &NODES, "")]
        {
            let Some(bound) = own.get(kind) else { continue };
            let (name, uid) = (bound.text("name"), bound.text("uid"));
            // The node of a Pod is a fact about it, and need not be there any more.
            let must_live = kind != "node" || own.get("pod").is_none();
            if must_live && !alive(view, resource, scope, name, uid, now) {
                return Err("service account token has been invalidated");
            }
            if kind != "secret" {
                note(&format!("{kind}-name"), name);
                note(&format!("{kind}-uid"), uid);
            }
        }
        Ok(TokenIdentity { user, audiences: common })
    }
}

fn legacy(
    view: &dyn View,
    claims: &Value,
    token: &str,
    audiences: &[&str],
) -> Result<TokenIdentity, &'static str> {
    let claim = |name: &str| claims.text(&format!("kubernetes.io/serviceaccount/{name}"));
    let (namespace, secret) = (claim("namespace"), claim("secret.name"));
    let (account, uid) = (claim("service-account.name"), claim("service-account.uid"));
    if !audiences.contains(&AUDIENCE) {
        return Err("token audiences do not match");
    }
    let found = view.get(&SECRETS, namespace, secret).ok_or("service account token has been invalidated")?;
    let kept = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.decode(found["data"].text("token")).unwrap_or_default()
    };
    if found["metadata"].has("deletionTimestamp") || kept != token.as_bytes() {
        return Err("service account token has been invalidated");
    }
    if found["metadata"]["labels"].has("kubernetes.io/legacy-token-invalid-since") {
        return Err("the token in the secret has been marked invalid");
    }
    if !alive(view, &ACCOUNTS, namespace, account, uid, i64::MIN) {
        return Err("service account token has been invalidated");
    }
    let user = account_user(namespace, account, uid);
    Ok(TokenIdentity { user, audiences: vec![AUDIENCE.to_owned()] })
}

/// Returns the Secret that a token says it is kept in, namespace and name. Nothing of it is verified.
pub(super) fn secret_of(token: &str) -> Option<(String, String)> {
    use base64::Engine as _;
    let payload = token.split('.').nth(1)?;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).ok()?;
    let claims: Value = serde_json::from_slice(&payload).ok()?;
    let claim = |name: &str| claims.text(&format!("kubernetes.io/serviceaccount/{name}")).to_owned();
    (claims.text("iss") == LEGACY_ISSUER).then(|| (claim("namespace"), claim("secret.name")))
}

/// Tells whether an object is there, is still the same, and has not been on its way out for over a minute.
fn alive(
    view: &dyn View,
    resource: &GroupResource,
    namespace: &str,
    name: &str,
    uid: &str,
    now: i64,
) -> bool {
    let Some(object) = view.get(resource, namespace, name) else { return false };
    let metadata = &object["metadata"];
    let ended = metadata
        .text("deletionTimestamp")
        .parse::<jiff::Timestamp>()
        .is_ok_and(|end| end.as_second().saturating_add(60) < now);
    metadata.text("uid") == uid && !ended
}

/// Returns a service account as a user.
pub fn account_user(namespace: &str, account: &str, uid: &str) -> UserInfo {
    UserInfo {
        username: format!("system:serviceaccount:{namespace}:{account}"),
        uid: uid.to_owned(),
        groups: vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")],
        ..UserInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::clock::{Clock as _, ManualClock};
    use crate::sim::pki::Pki;
    use crate::sim::view::Objects;

    struct Setting {
        clock: Arc<ManualClock>,
        authenticator: Authenticator,
        objects: Objects,
    }

    fn setting() -> Setting {
        let clock = Arc::new(ManualClock::new("2026-11-23T12:00:00Z".parse().unwrap()));
        let pki = Arc::new(Pki::generate(&[], clock.now()).unwrap());
        let authenticator = Authenticator::new(pki, clock.clone(), true).unwrap();
        let mut objects = Objects::default();
        objects.insert(&ACCOUNTS, json!({"metadata": {"namespace": "a", "name": "app", "uid": "1"}}));
        objects.insert(&PODS, json!({"metadata": {"namespace": "a", "name": "p", "uid": "2"}}));
        Setting { clock, authenticator, objects }
    }

    fn spec<'a>() -> TokenSpec<'a> {
        TokenSpec {
            namespace: "a",
            account: "app",
            account_uid: "1",
            audiences: vec![AUDIENCE.to_owned()],
            seconds: 600,
            ..TokenSpec::default()
        }
    }

    #[test]
    fn a_bound_token_is_good_until_it_expires_or_its_account_goes() {
        let mut s = setting();
        let token = s.authenticator.issue(&spec()).unwrap();
        let identity = s.authenticator.by_token(&s.objects, &token, &[AUDIENCE]).unwrap();
        assert_eq!(identity.user.username, "system:serviceaccount:a:app");
        assert_eq!(identity.user.groups, ["system:serviceaccounts", "system:serviceaccounts:a"]);
        assert_eq!(
            s.authenticator.by_token(&s.objects, &token, &["vault"]),
            Err("token audiences do not match")
        );
        s.objects.insert(&ACCOUNTS, json!({"metadata": {"namespace": "a", "name": "app", "uid": "9"}}));
        assert!(
            s.authenticator.by_token(&s.objects, &token, &[AUDIENCE]).is_err(),
            "another account of that name"
        );
        s.objects.insert(&ACCOUNTS, json!({"metadata": {"namespace": "a", "name": "app", "uid": "1"}}));
        s.clock.advance(Duration::from_secs(600));
        assert_eq!(
            s.authenticator.by_token(&s.objects, &token, &[AUDIENCE]),
            Err("service account token has expired")
        );
    }

    #[test]
    fn a_token_dies_with_the_pod_that_it_is_bound_to() {
        let mut s = setting();
        let token = s
            .authenticator
            .issue(&TokenSpec { bound: Some(("pod", "p", "2")), node: Some(("n", "3")), ..spec() })
            .unwrap();
        let identity = s.authenticator.by_token(&s.objects, &token, &[AUDIENCE]).unwrap();
        assert_eq!(identity.user.extra["authentication.kubernetes.io/pod-name"], ["p"]);
        assert_eq!(identity.user.extra["authentication.kubernetes.io/node-name"], ["n"]);
        s.objects.remove(&PODS, "a", "p");
        assert!(s.authenticator.by_token(&s.objects, &token, &[AUDIENCE]).is_err());
    }

    #[test]
    fn a_legacy_token_is_good_while_its_secret_holds_it() {
        use base64::Engine as _;
        let mut s = setting();
        let token = s.authenticator.issue_legacy("a", "app-token", "app", "1").unwrap();
        assert!(s.authenticator.by_token(&s.objects, &token, &[AUDIENCE]).is_err(), "no such secret");
        let data = base64::engine::general_purpose::STANDARD.encode(&token);
        s.objects.insert(
            &SECRETS,
            json!({"metadata": {"namespace": "a", "name": "app-token"}, "data": {"token": data}}),
        );
        let identity = s.authenticator.by_token(&s.objects, &token, &[AUDIENCE]).unwrap();
        assert_eq!(identity.user.username, "system:serviceaccount:a:app");
        s.objects.insert(
            &SECRETS,
            json!({"metadata": {"namespace": "a", "name": "app-token",
                "labels": {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}}, "data": {"token": data}}),
        );
        assert!(s.authenticator.by_token(&s.objects, &token, &[AUDIENCE]).is_err(), "marked invalid");
        s.objects.remove(&SECRETS, "a", "app-token");
        assert!(s.authenticator.by_token(&s.objects, &token, &[AUDIENCE]).is_err());
    }
}
