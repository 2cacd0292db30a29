//! What each namespace is given: a `default` ServiceAccount and the ConfigMap with the cluster's root certificate.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::engine::{Controller, Cx, Next, Notice};
use super::namespace::NAMESPACES;
use super::queue::{Key, Queue};
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

pub(crate) const SERVICE_ACCOUNTS: GroupResource = GroupResource::of("", "serviceaccounts");
const CONFIG_MAPS: GroupResource = GroupResource::of("", "configmaps");
const ROOT_CA: &str = "kube-root-ca.crt";

fn is_active(cx: &Cx, namespace: &str) -> bool {
    cx.get(&NAMESPACES, "", namespace)
        .is_some_and(|ns| !meta::is_deleting(&ns) && ns["status"]["phase"] != "Terminating")
}

/// A namespace that goes meanwhile refuses, and needs nothing any more.
fn unless_going(result: Result<impl Sized, Status>) -> Result<Next, Status> {
    match result {
        Err(status) if status.code == 409 && status.reason == "AlreadyExists" => Ok(Next::Done),
        Err(status) if super::pods::is_namespace_going(&status) => Ok(Next::Done),
        other => other.map(|_| Next::Done),
    }
}

/// Keeps the `default` ServiceAccount of each namespace.
#[derive(Debug)]
pub(crate) struct DefaultAccounts;

#[async_trait]
impl Controller for DefaultAccounts {
    fn name(&self) -> &'static str {
        "service-account-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![NAMESPACES, SERVICE_ACCOUNTS]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&NAMESPACES) {
            queue.add(notice.key());
        } else if notice.is_gone() && meta::name(notice.object) == "default" {
            queue.add(Key::new("", meta::namespace(notice.object)));
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        if !is_active(cx, &key.name) || cx.get(&SERVICE_ACCOUNTS, &key.name, "default").is_some() {
            return Ok(Next::Done);
        }
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": key.name},
        });
        unless_going(cx.client.create(&SERVICE_ACCOUNTS, &key.name, account).await)
    }
}

/// Publishes the cluster's root certificate in each namespace.
#[derive(Debug)]
pub(crate) struct RootCertificates {
    /// The certificate, as PEM.
    pub certificate: String,
}

#[async_trait]
impl Controller for RootCertificates {
    fn name(&self) -> &'static str {
        "root-ca-cert-publisher"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![NAMESPACES, CONFIG_MAPS]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&NAMESPACES) {
            queue.add(notice.key());
        } else if meta::name(notice.object) == ROOT_CA {
            queue.add(Key::new("", meta::namespace(notice.object)));
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        if !is_active(cx, &key.name) {
            return Ok(Next::Done);
        }
        let data = json!({"ca.crt": self.certificate});
        let note = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such \
                    as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
                    distributions of Kubernetes clusters.";
        match cx.get(&CONFIG_MAPS, &key.name, ROOT_CA) {
            None => {
                let map = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "data": data,
                    "metadata": {
                        "name": ROOT_CA, "namespace": key.name, "annotations": {"kubernetes.io/description": note},
                    },
                });
                unless_going(cx.client.create(&CONFIG_MAPS, &key.name, map).await)
            }
            Some(map) if map["data"] == data => Ok(Next::Done),
            Some(map) => {
                let mut updated = Value::clone(&map);
                updated["data"] = data;
                updated["metadata"]["annotations"]["kubernetes.io/description"] = note.into();
                unless_going(cx.client.update(&CONFIG_MAPS, &key.name, ROOT_CA, updated).await)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_namespace_keeps_its_account_and_its_certificates() {
        let lab = Lab::new(0).await;
        let before = lab.the("serviceaccounts", "t/default");
        lab.delete("serviceaccounts", "t/default", None).await;
        lab.wait("serviceaccounts", "t/default", |now| meta::uid(now) != meta::uid(&before)).await;
        let map = format!("t/{ROOT_CA}");
        let wanted = lab.wait("configmaps", &map, |_| true).await["data"].clone();
        assert!(wanted["ca.crt"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
        lab.patch("configmaps", &map, "", "{data: {ca.crt: forged, more: x}}").await;
        lab.wait("configmaps", &map, |map| map["data"] == wanted).await;
        lab.delete("configmaps", &map, None).await;
        lab.wait("configmaps", &map, |map| map["data"] == wanted).await;
    }
}
