//! The cluster's keys as controllers use them.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;

use crate::sim::api::Api;
use crate::sim::controllers::Authority;
use crate::sim::object::Fields as _;
use crate::sim::pki::request::SigningRequest;

/// Signs with the keys of an API server.
#[derive(Debug)]
pub(super) struct Keys(pub(super) Api);

impl Authority for Keys {
    fn root_certificate(&self) -> String {
        self.0.pki().authority_pem().to_owned()
    }

    fn legacy_token(&self, account: &Value, secret: &str) -> Result<String, String> {
        let metadata = &account["metadata"];
        let (namespace, name, uid) =
            (metadata.text("namespace"), metadata.text("name"), metadata.text("uid"));
        let token = self.0.authenticator().issue_legacy(namespace, secret, name, uid);
        token.map_err(|_| "failed to generate token".to_owned())
    }

    fn sign(&self, request: &str, usages: &[String], lifetime: Duration) -> Result<String, String> {
        let request = SigningRequest::parse(request.as_bytes()).map_err(|error| error.to_string())?;
        let usages: Vec<&str> = usages.iter().map(String::as_str).collect();
        let lifetime = SignedDuration::try_from(lifetime).map_err(|error| error.to_string())?;
        let signed = self.0.pki().sign(&request, &usages, self.0.clock().now(), lifetime);
        signed.map_err(|error| error.to_string())
    }
}
