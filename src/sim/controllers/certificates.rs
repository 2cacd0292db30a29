//! Certificate requests: what is approved is signed by the cluster's CA for the signers that Kubernetes has built in.
//! `approver` approves kubelets' own, `cleaner` removes old ones.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Authority;
use super::engine::{Controller, Cx, Next, Notice};
use super::queue::{Key, Queue};
use crate::sim::meta;
use crate::sim::pki::request::SigningRequest;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

pub(crate) mod approver;
pub(crate) mod cleaner;

pub(crate) const REQUESTS: GroupResource =
    GroupResource::of("certificates.k8s.io", "certificatesigningrequests");

/// The signers that kube-controller-manager signs for.
const SIGNERS: [&str; 4] = [
    "kubernetes.io/kube-apiserver-client",
    "kubernetes.io/kube-apiserver-client-kubelet",
    "kubernetes.io/kubelet-serving",
    "kubernetes.io/legacy-unknown",
];
/// How long certificates last when the request does not say: `--cluster-signing-duration` is a year.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

const SHORTEST: Duration = Duration::from_secs(600);
/// Below this a certificate is short-lived.
const SHORT: Duration = Duration::from_secs(8 * 3600);
const BACKDATE: Duration = Duration::from_secs(300);

/// Signs what is approved.
#[derive(Debug)]
pub(crate) struct Signer {
    /// The cluster's keys.
    pub authority: Arc<dyn Authority>,
}

#[async_trait]
impl Controller for Signer {
    fn name(&self) -> &'static str {
        "certificate-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![REQUESTS]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if !notice.is_gone() {
            queue.add(notice.key());
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(request) = cx.get(&REQUESTS, "", &key.name) else { return Ok(Next::Done) };
        let signer = request["spec"]["signerName"].as_str().unwrap_or_default();
        let has = |kind: &str| meta::condition(&request, kind).is_some();
        let issued = request["status"]["certificate"].as_str().is_some_and(|text| !text.is_empty());
        if !SIGNERS.contains(&signer) || issued || !has("Approved") || has("Denied") || has("Failed") {
            return Ok(Next::Done);
        }
        let pem = request["spec"]["request"].as_str().and_then(|text| STANDARD.decode(text).ok());
        let pem = pem.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let usages: Vec<String> =
            meta::items(&request["spec"]["usages"]).filter_map(Value::as_str).map(str::to_owned).collect();
        let signed = match refusal(signer, &pem, &usages) {
            Some(refusal) => Err(refusal),
            None => self.authority.sign(&pem, &usages, lifetime(&request)),
        };
        let mut update = Value::clone(&request);
        match signed {
            Ok(certificate) => update["status"]["certificate"] = STANDARD.encode(certificate).into(),
            Err(message) => {
                let mut conditions: Vec<Value> =
                    meta::items(&request["status"]["conditions"]).cloned().collect();
                let now = meta::seconds(cx.clock().now());
                conditions.push(json!({
                    "type": "Failed", "status": "True", "reason": "SignerValidationFailure", "message": message,
                    "lastUpdateTime": now, "lastTransitionTime": now,
                }));
                update["status"]["conditions"] = conditions.into();
            }
        }
        cx.client.update_status(&REQUESTS, "", &key.name, update).await?;
        Ok(Next::Done)
    }
}

/// Returns for how long a certificate is good, from the moment of signing: what was asked, at least ten minutes and at
/// most a year. A long-lived one begins five minutes early, and ends so.
fn lifetime(request: &Value) -> Duration {
    let asked = request["spec"]["expirationSeconds"].as_u64().map_or(LIFETIME, Duration::from_secs);
    let granted = asked.clamp(SHORTEST, LIFETIME);
    if granted < SHORT { granted } else { granted - BACKDATE }
}

/// Says why a signer does not sign a request, in upstream's words.
fn refusal(signer: &str, pem: &str, usages: &[String]) -> Option<String> {
    let asked = SigningRequest::parse(pem.as_bytes()).unwrap_or_default();
    let has = |usage: &str| usages.iter().any(|asked| asked == usage);
    let is_set = |wanted: &[&str]| usages.len() == wanted.len() && wanted.iter().all(|usage| has(usage));
    let refuse = |why: &str| Some(why.to_owned());
    match signer {
        "kubernetes.io/kube-apiserver-client" => {
            let allowed = ["digital signature", "key encipherment", "client auth"];
            if let Some(other) = usages.iter().find(|usage| !allowed.contains(&usage.as_str())) {
                return Some(format!("invalid usage for client certificate: {other}"));
            }
            if !has("client auth") {
                return refuse("missing required usage for client certificate: client auth");
            }
            return None;
        }
        "kubernetes.io/kube-apiserver-client-kubelet" | "kubernetes.io/kubelet-serving" => {}
        _ => return None,
    }
    let serving = signer == "kubernetes.io/kubelet-serving";
    if asked.organizations != ["system:nodes"] {
        return refuse("subject organization is not system:nodes");
    }
    if serving {
        if !asked.common_name.starts_with("system:node:") {
            return refuse("subject common name does not begin with system:node:");
        }
        if asked.dns_names.is_empty() && asked.addresses.is_empty() {
            return refuse("DNS or IP subjectAltName is required");
        }
    } else if !asked.dns_names.is_empty() {
        return refuse("DNS subjectAltNames are not allowed");
    }
    if !asked.emails.is_empty() {
        return refuse("Email subjectAltNames are not allowed");
    }
    if !serving && !asked.addresses.is_empty() {
        return refuse("IP subjectAltNames are not allowed");
    }
    if !asked.uris.is_empty() {
        return refuse("URI subjectAltNames are not allowed");
    }
    if !asked.common_name.starts_with("system:node:") {
        return refuse("subject common name does not begin with system:node:");
    }
    let purpose = if serving { "server auth" } else { "client auth" };
    let with_rsa = ["digital signature", "key encipherment", purpose];
    if !is_set(&with_rsa) && !is_set(&["digital signature", purpose]) {
        let mut listed = with_rsa;
        listed.sort_unstable();
        return Some(format!("usages did not match [{}]", listed.join(" ")));
    }
    None
}

#[cfg(test)]
mod tests;
