//! Kubelets' requests for client certificates are approved by themselves, where their sender may have that.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::REQUESTS;
use crate::sim::attributes::{Attributes, UserInfo};
use crate::sim::controllers::engine::{Controller, Cx, Next, Notice};
use crate::sim::controllers::queue::{Key, Queue};
use crate::sim::meta;
use crate::sim::pki::request::SigningRequest;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";

/// Approves kubelets' requests.
#[derive(Debug)]
pub(crate) struct Approver;

#[async_trait]
impl Controller for Approver {
    fn name(&self) -> &'static str {
        "certificate-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![REQUESTS]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if !notice.is_gone() && notice.object["spec"]["signerName"] == SIGNER {
            queue.add(notice.key());
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(request) = cx.get(&REQUESTS, "", &key.name) else { return Ok(Next::Done) };
        let decided = ["Approved", "Denied"].iter().any(|kind| meta::condition(&request, kind).is_some());
        let issued = request["status"]["certificate"].as_str().is_some_and(|text| !text.is_empty());
        let Some(user) = node_of(&request).filter(|_| !decided && !issued) else { return Ok(Next::Done) };
        let own = request["spec"]["username"] == user.as_str();
        let ways = [
            (
                "selfnodeclient",
                own,
                "Auto approving self kubelet client certificate after SubjectAccessReview.",
            ),
            ("nodeclient", true, "Auto approving kubelet client certificate after SubjectAccessReview."),
        ];
        for (subresource, applies, message) in ways {
            if applies && may(cx, &request, subresource) {
                let mut updated = Value::clone(&request);
                let mut conditions: Vec<Value> =
                    meta::items(&request["status"]["conditions"]).cloned().collect();
                conditions.push(json!({
                    "type": "Approved", "status": "True", "reason": "AutoApproved", "message": message,
                }));
                updated["status"]["conditions"] = conditions.into();
                cx.client.update_subresource(&REQUESTS, "", &key.name, "approval", updated).await?;
                break;
            }
        }
        Ok(Next::Done)
    }
}

/// Returns the node's user that a request is for, when it is of the form that kubelets send.
fn node_of(request: &Value) -> Option<String> {
    let pem = STANDARD.decode(request["spec"]["request"].as_str()?).ok()?;
    let asked = SigningRequest::parse(&pem).ok()?;
    let usages: Vec<&str> = meta::items(&request["spec"]["usages"]).filter_map(Value::as_str).collect();
    let allowed = ["digital signature", "key encipherment", "client auth"];
    let good = asked.organizations == ["system:nodes"]
        && asked.common_name.starts_with("system:node:")
        && asked.dns_names.is_empty()
        && asked.addresses.is_empty()
        && asked.emails.is_empty()
        && asked.uris.is_empty()
        && usages.contains(&"client auth")
        && usages.contains(&"digital signature")
        && usages.iter().all(|usage| allowed.contains(usage));
    good.then_some(asked.common_name)
}

/// Asks whether the sender may create requests of this kind.
fn may(cx: &Cx, request: &Value, subresource: &str) -> bool {
    let spec = &request["spec"];
    let texts = |list: &Value| meta::items(list).filter_map(Value::as_str).map(str::to_owned).collect();
    let user = UserInfo {
        username: spec["username"].as_str().unwrap_or_default().to_owned(),
        uid: spec["uid"].as_str().unwrap_or_default().to_owned(),
        groups: texts(&spec["groups"]),
        extra: spec["extra"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, values)| (key.clone(), texts(values)))
            .collect(),
    };
    let attributes = Attributes {
        user,
        verb: "create".to_owned(),
        group: REQUESTS.group.to_string(),
        version: "*".to_owned(),
        resource: REQUESTS.resource.to_string(),
        subresource: subresource.to_owned(),
        ..Attributes::default()
    };
    cx.client.api().authorizer().authorize(&attributes).is_allowed()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;
    use crate::sim::controllers::testing::Lab;

    fn request(organization: &str, name: &str) -> String {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, organization);
        params.distinguished_name.push(DnType::CommonName, name);
        STANDARD.encode(params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap())
    }

    fn object(name: &str, signer: &str, request: &str) -> Value {
        json!({
            "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
            "spec": {"request": request, "signerName": signer, "usages": ["digital signature", "client auth"]},
        })
    }

    #[tokio::test(start_paused = true)]
    async fn a_kubelet_gets_its_certificate_by_itself_and_others_wait() {
        let lab = Lab::new(0).await;
        let node = UserInfo::named("system:node:control-plane", &["system:nodes"]);
        let kubelet = lab.client.with_user(node);
        let own = request("system:nodes", "system:node:control-plane");
        kubelet.create(&REQUESTS, "", object("own", SIGNER, &own)).await.unwrap();
        let issued = lab
            .wait("certificatesigningrequests.certificates.k8s.io", "own", |r| {
                !r["status"]["certificate"].is_null()
            })
            .await;
        let approved = meta::condition(&issued, "Approved").unwrap();
        assert_eq!(approved["reason"], "AutoApproved");
        assert_eq!(
            approved["message"],
            "Auto approving self kubelet client certificate after SubjectAccessReview."
        );
        let jane = lab.client.with_user(UserInfo::named("jane", &[]));
        let foreign = object("foreign", SIGNER, &request("system:nodes", "system:node:control-plane"));
        jane.create(&REQUESTS, "", foreign).await.unwrap();
        let posing = object("posing", SIGNER, &request("system:masters", "system:node:control-plane"));
        kubelet.create(&REQUESTS, "", posing).await.unwrap();
        let plain = object("plain", "kubernetes.io/kube-apiserver-client", &request("dev", "jane"));
        jane.create(&REQUESTS, "", plain).await.unwrap();
        lab.pass(600).await;
        for name in ["foreign", "posing", "plain"] {
            let waiting = lab.the("certificatesigningrequests.certificates.k8s.io", name);
            assert!(meta::condition(&waiting, "Approved").is_none(), "{name}");
        }
    }
}
