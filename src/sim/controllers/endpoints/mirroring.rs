//! Endpoints that somebody keeps by hand for a Service without selector, mirrored into EndpointSlices.

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{ENDPOINTS, HEADLESS, MANAGED_BY, SERVICE_NAME, SERVICES, SLICES};
use crate::sim::client::DeleteOptions;
use crate::sim::controllers::engine::{Controller, Cx, Next, Notice};
use crate::sim::controllers::queue::{Key, Queue};
use crate::sim::meta;
use crate::sim::object;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const CONTROLLER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Annotations that belong to the Endpoints alone.
const OWN: [&str; 2] =
    ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];

/// Mirrors Endpoints.
#[derive(Debug)]
pub(crate) struct Mirroring;

/// Tells whether Endpoints are kept by hand and not kept out of this.
fn is_mirrored(endpoints: &Value) -> bool {
    meta::label(endpoints, SKIP) != Some("true")
        && meta::annotation(endpoints, LEADER).is_none()
        && !meta::is_deleting(endpoints)
}

#[async_trait]
impl Controller for Mirroring {
    fn name(&self) -> &'static str {
        "endpointslicemirroring-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![SERVICES, ENDPOINTS, SLICES]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&SLICES) {
            if meta::label(notice.object, MANAGED_BY) == Some(CONTROLLER)
                && let Some(service) = meta::label(notice.object, SERVICE_NAME)
            {
                queue.add(Key::new(meta::namespace(notice.object), service));
            }
        } else {
            queue.add(notice.key());
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        let mut kept = cx.list(&SLICES, Some(namespace));
        kept.retain(|slice| {
            meta::label(slice, SERVICE_NAME) == Some(name)
                && meta::label(slice, MANAGED_BY) == Some(CONTROLLER)
        });
        let service = cx.get(&SERVICES, namespace, name);
        let without_selector = service.is_some_and(|service| object::is_empty(&service["spec"]["selector"]));
        let endpoints = cx.get(&ENDPOINTS, namespace, name);
        let endpoints = endpoints.filter(|endpoints| without_selector && is_mirrored(endpoints));
        let wanted = endpoints.as_deref().map(slices).unwrap_or_default();
        for slice in wanted {
            match kept.iter().position(|known| {
                known["ports"] == slice["ports"] && known["addressType"] == slice["addressType"]
            }) {
                None => {
                    cx.client.create(&SLICES, namespace, slice).await?;
                }
                Some(at) => {
                    let known = kept.remove(at);
                    let same = object::equal(&known["endpoints"], &slice["endpoints"])
                        && known["metadata"]["labels"] == slice["metadata"]["labels"];
                    if !same {
                        let mut updated = Value::clone(&known);
                        updated["endpoints"] = slice["endpoints"].clone();
                        updated["metadata"]["labels"] = slice["metadata"]["labels"].clone();
                        cx.client.update(&SLICES, namespace, meta::name(&known), updated).await?;
                    }
                }
            }
        }
        for slice in kept {
            match cx.client.delete(&SLICES, namespace, meta::name(&slice), DeleteOptions::default()).await {
                Err(status) if status.code != 404 => return Err(status),
                _ => {}
            }
        }
        Ok(Next::Done)
    }
}

/// Returns the slices of Endpoints: one for each subset and family of addresses.
fn slices(endpoints: &Value) -> Vec<Value> {
    let mut labels: Map<String, Value> =
        endpoints["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.to_owned(), meta::name(endpoints).into());
    labels.insert(MANAGED_BY.to_owned(), CONTROLLER.into());
    let annotations: Map<String, Value> = meta::texts(&endpoints["metadata"]["annotations"])
        .filter(|(key, _)| !OWN.contains(key))
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    let mut slices = Vec::new();
    for subset in meta::items(&endpoints["subsets"]) {
        for (family, v6) in [("IPv4", false), ("IPv6", true)] {
            let of = |list: &'static str, ready: bool| {
                meta::items(&subset[list])
                    .filter(move |address| address["ip"].as_str().is_some_and(|ip| ip.contains(':') == v6))
                    .map(move |address| endpoint(address, ready))
            };
            let found: Vec<Value> = of("addresses", true).chain(of("notReadyAddresses", false)).collect();
            if found.is_empty() {
                continue;
            }
            let mut metadata = json!({
                "generateName": format!("{}-", meta::name(endpoints)), "namespace": meta::namespace(endpoints),
                "labels": labels, "ownerReferences": [meta::controller_reference(endpoints)],
            });
            meta::set_omitempty(&mut metadata, "annotations", annotations.clone());
            slices.push(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
                "addressType": family, "endpoints": found, "ports": subset["ports"],
            }));
        }
    }
    slices
}

fn endpoint(address: &Value, ready: bool) -> Value {
    let mut endpoint = json!({"addresses": [address["ip"]], "conditions": {"ready": ready}});
    for field in ["targetRef", "nodeName", "hostname"] {
        if !address[field].is_null() {
            endpoint[field] = address[field].clone();
        }
    }
    endpoint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_subset_becomes_a_slice_that_says_what_is_ready() {
        let endpoints = json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": "db", "namespace": "n", "uid": "u", "labels": {"tier": "data"}},
            "subsets": [{
                "addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}], "notReadyAddresses": [{"ip": "192.0.2.2"}],
                "ports": [{"port": 5432, "protocol": "TCP"}],
            }],
        });
        let slices = slices(&endpoints);
        let families: Vec<&str> = slices.iter().filter_map(|slice| slice["addressType"].as_str()).collect();
        assert_eq!(families, ["IPv4", "IPv6"]);
        assert_eq!(
            slices[0]["endpoints"],
            json!([
                {"addresses": ["192.0.2.1"], "conditions": {"ready": true}},
                {"addresses": ["192.0.2.2"], "conditions": {"ready": false}},
            ])
        );
        let labels = json!({"tier": "data", SERVICE_NAME: "db", MANAGED_BY: CONTROLLER});
        assert_eq!(slices[0]["metadata"]["labels"], labels);
        assert_eq!(slices[0]["metadata"]["ownerReferences"][0]["kind"], "Endpoints");
    }
}
