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
        let lifetime = request["spec"]["expirationSeconds"].as_u64().map_or(LIFETIME, Duration::from_secs);
        let signed = match refusal(signer, &usages) {
            Some(refusal) => Err(refusal),
            None => self.authority.sign(&pem, &usages, lifetime.min(LIFETIME)),
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

/// Says why a signer does not sign for these usages (KEP-1513 names what each allows).
fn refusal(signer: &str, usages: &[String]) -> Option<String> {
    let allowed: &[&str] = match signer {
        "kubernetes.io/kube-apiserver-client" | "kubernetes.io/kube-apiserver-client-kubelet" => {
            &["client auth", "key encipherment", "digital signature"]
        }
        "kubernetes.io/kubelet-serving" => &["server auth", "key encipherment", "digital signature"],
        _ => return None,
    };
    let needed = allowed[0];
    if !usages.iter().any(|usage| usage == needed)
        || usages.iter().any(|usage| !allowed.contains(&usage.as_str()))
    {
        return Some(format!("usages did not match {allowed:?}"));
    }
    None
}
