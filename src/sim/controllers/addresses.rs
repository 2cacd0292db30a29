//! An IPAddress for each address that a Service has, as the API server's allocator keeps them. Which address a Service
//! gets is decided elsewhere, when it is written.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::endpoints::SERVICES;
use super::engine::{Controller, Cx, Next, Notice};
use super::queue::{Key, Queue};
use crate::sim::attributes::UserInfo;
use crate::sim::client::DeleteOptions;
use crate::sim::meta;
use crate::sim::object::Fields as _;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const ADDRESSES: GroupResource = GroupResource::of("networking.k8s.io", "ipaddresses");
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const ALLOCATOR: &str = "ipallocator.k8s.io";

/// Keeps them. The keys are addresses.
#[derive(Debug)]
pub(crate) struct Addresses;

fn addresses(service: &Value) -> Vec<&str> {
    service["spec"].texts("clusterIPs").into_iter().filter(|ip| !matches!(*ip, "" | "None")).collect()
}

#[async_trait]
impl Controller for Addresses {
    fn name(&self) -> &'static str {
        "ip-address-allocator"
    }

    fn user(&self) -> UserInfo {
        // It is the API server itself that does this.
        UserInfo::named("system:kube-apiserver", &["system:masters"])
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![SERVICES, ADDRESSES]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&ADDRESSES) {
            queue.add(Key::new("", meta::name(notice.object)));
            return;
        }
        for service in [Some(&**notice.object), notice.previous].into_iter().flatten() {
            for address in addresses(service) {
                queue.add(Key::new("", address));
            }
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let services = cx.list(&SERVICES, None);
        let holder = services.iter().find(|service| addresses(service).contains(&key.name.as_str()));
        let known = cx.get(&ADDRESSES, "", &key.name);
        match (holder, known) {
            (Some(service), None) => {
                let family = if key.name.contains(':') { "IPv6" } else { "IPv4" };
                let address = json!({
                    "apiVersion": "networking.k8s.io/v1", "kind": "IPAddress",
                    "metadata": { "name": key.name, "labels": { FAMILY: family, MANAGED_BY: ALLOCATOR } },
                    "spec": { "parentRef": { "group": "", "resource": "services",
                        "namespace": meta::namespace(service), "name": meta::name(service) } },
                });
                match cx.client.create(&ADDRESSES, "", address).await {
                    Err(status) if status.reason != "AlreadyExists" => Err(status),
                    _ => Ok(Next::Done),
                }
            }
            // What somebody made by hand is theirs.
            (None, Some(known)) if meta::label(&known, MANAGED_BY) == Some(ALLOCATOR) => {
                match cx.client.delete(&ADDRESSES, "", &key.name, DeleteOptions::default()).await {
                    Err(status) if status.code != 404 => Err(status),
                    _ => Ok(Next::Done),
                }
            }
            _ => Ok(Next::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_address_of_a_service_has_an_object_for_as_long() {
        let lab = Lab::new(0).await;
        let kind = "ipaddresses.networking.k8s.io";
        let first = lab.wait(kind, "10.96.0.1", |_| true).await;
        assert_eq!(
            first["spec"]["parentRef"],
            json!({ "group": "", "resource": "services", "namespace": "default", "name": "kubernetes" })
        );
        let service = "{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {clusterIP: 10.96.7.7, ports: \
                       [{port: 80}]}}";
        lab.apply(service).await;
        let own = lab.wait(kind, "10.96.7.7", |_| true).await;
        assert_eq!(own["metadata"]["labels"][FAMILY], "IPv4");
        lab.client.delete(&ADDRESSES, "", "10.96.7.7", DeleteOptions::default()).await.unwrap();
        lab.wait(kind, "10.96.7.7", |again| again["metadata"]["uid"] != own["metadata"]["uid"]).await;
        lab.client.delete(&SERVICES, "t", "web", DeleteOptions::default()).await.unwrap();
        lab.gone(kind, "10.96.7.7").await;
        lab.apply("{apiVersion: v1, kind: Service, metadata: {name: none}, spec: {clusterIP: None}}").await;
        lab.pass(5).await;
        assert!(lab.get(kind, "None").is_none());
    }
}
