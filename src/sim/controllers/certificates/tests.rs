use http::HeaderMap;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::super::testing::Lab;
use super::*;
use crate::sim::authn::PeerCertificates;
use crate::sim::pki;

const KIND: &str = "certificatesigningrequests.certificates.k8s.io";
const CLIENT: &str = "kubernetes.io/kube-apiserver-client";

fn pem(name: &str, organizations: &[&str], dns: &[&str]) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    for organization in organizations {
        params.distinguished_name.push(DnType::OrganizationName, *organization);
    }
    params.subject_alt_names = dns.iter().map(|name| SanType::DnsName((*name).try_into().unwrap())).collect();
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

async fn request(lab: &Lab, name: &str, signer: &str, pem: &str, usages: &[&str], seconds: Option<i64>) {
    let mut object = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
        "spec": {"request": STANDARD.encode(pem), "signerName": signer, "usages": usages},
    });
    if let Some(seconds) = seconds {
        object["spec"]["expirationSeconds"] = seconds.into();
    }
    lab.client.create(&REQUESTS, "", object).await.unwrap();
}

async fn decide(lab: &Lab, name: &str, kind: &str) {
    let mut request = Value::clone(&lab.the(KIND, name));
    request["status"]["conditions"] =
        json!([{"type": kind, "status": "True", "reason": "Test", "message": "by hand"}]);
    lab.client.update_subresource(&REQUESTS, "", name, "approval", request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_approved_request_becomes_a_certificate_that_lets_its_user_in() {
    let lab = Lab::new(0).await;
    let asked = pem("mary", &["dev"], &[]);
    request(&lab, "mary", CLIENT, &asked, &["digital signature", "client auth"], Some(86_400)).await;
    lab.pass(5).await;
    assert!(lab.the(KIND, "mary")["status"].get("certificate").is_none(), "nobody approved it");
    decide(&lab, "mary", "Approved").await;
    let issued = lab.wait(KIND, "mary", |r| r["status"]["certificate"].is_string()).await;
    let text = STANDARD.decode(issued["status"]["certificate"].as_str().unwrap()).unwrap();
    let der = pki::der(std::str::from_utf8(&text).unwrap()).unwrap();
    {
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        assert_eq!(certificate.subject().to_string(), "O=dev, CN=mary");
        let span =
            certificate.validity().not_after.timestamp() - certificate.validity().not_before.timestamp();
        assert_eq!(span, 86_400);
    }
    let (authenticator, peer) = (lab.client.api().authenticator(), PeerCertificates(Arc::new(vec![der])));
    let user =
        authenticator.authenticate(lab.client.store(), Some(&peer), &HeaderMap::new(), "/api").unwrap();
    assert_eq!(user.username, "mary");
    assert!(user.in_group("dev") && user.in_group("system:authenticated"), "{user:?}");
    request(&lab, "denied", CLIENT, &asked, &["client auth"], None).await;
    decide(&lab, "denied", "Denied").await;
    lab.pass(5).await;
    assert!(lab.the(KIND, "denied")["status"].get("certificate").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_signer_refuses_what_it_is_not_for() {
    let lab = Lab::new(0).await;
    let asked = pem("mary", &["dev"], &[]);
    request(&lab, "odd", CLIENT, &asked, &["client auth", "server auth"], None).await;
    decide(&lab, "odd", "Approved").await;
    let failed = lab.wait(KIND, "odd", |r| meta::condition(r, "Failed").is_some()).await;
    let condition = meta::condition(&failed, "Failed").unwrap();
    assert_eq!(condition["reason"], "SignerValidationFailure");
    assert_eq!(condition["message"], "invalid usage for client certificate: server auth");
    request(&lab, "foreign", "example.com/own", &asked, &["client auth"], None).await;
    decide(&lab, "foreign", "Approved").await;
    lab.pass(30).await;
    assert!(
        lab.the(KIND, "foreign")["status"].get("certificate").is_none(),
        "it is for somebody else to sign"
    );
}

#[test]
fn each_signer_says_what_it_misses() {
    let usages = |list: &[&str]| list.iter().map(|usage| (*usage).to_owned()).collect::<Vec<_>>();
    let serving = "kubernetes.io/kubelet-serving";
    let kubelet = "kubernetes.io/kube-apiserver-client-kubelet";
    let node = pem("system:node:w", &["system:nodes"], &[]);
    let named = pem("system:node:w", &["system:nodes"], &["w"]);
    let server = usages(&["digital signature", "key encipherment", "server auth"]);
    let client = usages(&["digital signature", "client auth"]);
    for (signer, pem, usages, why) in [
        (CLIENT, &node, &server, Some("invalid usage for client certificate: server auth")),
        (
            CLIENT,
            &node,
            &usages(&["digital signature"]),
            Some("missing required usage for client certificate: client auth"),
        ),
        (serving, &node, &server, Some("DNS or IP subjectAltName is required")),
        (serving, &named, &server, None),
        (
            serving,
            &named,
            &client,
            Some("usages did not match [digital signature key encipherment server auth]"),
        ),
        (kubelet, &named, &client, Some("DNS subjectAltNames are not allowed")),
        (kubelet, &node, &client, None),
        (
            kubelet,
            &pem("w", &["system:nodes"], &[]),
            &client,
            Some("subject common name does not begin with system:node:"),
        ),
        (
            kubelet,
            &pem("system:node:w", &["dev"], &[]),
            &client,
            Some("subject organization is not system:nodes"),
        ),
    ] {
        assert_eq!(refusal(signer, pem, usages).as_deref(), why, "{signer}");
    }
}

#[test]
fn certificates_last_as_asked_within_bounds() {
    let of = |seconds: Value| lifetime(&json!({"spec": {"expirationSeconds": seconds}})).as_secs();
    assert_eq!(of(json!(3600)), 3600);
    assert_eq!(of(json!(60)), 600);
    assert_eq!(of(json!(86_400)), 86_100);
    assert_eq!(of(Value::Null), 365 * 86_400 - 300);
    assert_eq!(of(json!(10 * 365 * 86_400_u64)), 365 * 86_400 - 300);
}
