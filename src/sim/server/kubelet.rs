//! The ports of kubelets: who asks is found out by certificate, or by token with the API, which also says what they may do.

use std::sync::Arc;

use http::HeaderMap;

use crate::sim::api::Api;
use crate::sim::attributes::{Attributes, UserInfo};
use crate::sim::authn::{AUDIENCE, Authenticator, PeerCertificates};
use crate::sim::node::host::{Asks, KubeletAnswer, KubeletRequest, NodeHost};
use crate::sim::pki::der;

/// Answers a request to a port of a kubelet.
pub(super) fn answer(api: &Api, host: &NodeHost, request: &KubeletRequest) -> KubeletAnswer {
    let identify = |request: &KubeletRequest, authority: &str| {
        if let Some(certificate) = &request.certificate {
            return by_certificate(api, certificate, authority).map_or(Asks::Nobody, Asks::User);
        }
        let Some(token) = &request.token else { return Asks::Anonymous };
        if !api.is_up() {
            return Asks::Nobody;
        }
        let identity = api.authenticator().by_token(api.store(), token, &[AUDIENCE]);
        identity.map_or(Asks::Nobody, |identity| Asks::User(identity.user))
    };
    let allows = |user: &UserInfo, verb: &str, subresources: &[&str]| {
        if !api.is_up() {
            return Err(());
        }
        let authorizer = api.authorizer();
        Ok(subresources.iter().any(|subresource| {
            let attributes = Attributes {
                user: user.clone(),
                verb: verb.to_owned(),
                version: "v1".to_owned(),
                resource: "nodes".to_owned(),
                subresource: (*subresource).to_owned(),
                name: host.name().to_owned(),
                ..Attributes::default()
            };
            authorizer.authorize(&attributes).is_allowed()
        }))
    };
    host.kubelet_answers(request, &identify, &allows)
}

fn by_certificate(api: &Api, certificate: &str, authority: &str) -> Option<UserInfo> {
    let authenticator = Authenticator::new(api.pki().clone(), api.clock().clone(), false).ok()?;
    let authenticator = authenticator.with_client_authorities(&[der(authority)?]).ok()?;
    let peer = PeerCertificates(Arc::new(vec![der(certificate)?]));
    authenticator.authenticate(api.store(), Some(&peer), &HeaderMap::new(), "").ok()
}
