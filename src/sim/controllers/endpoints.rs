//! Who stands behind a Service: its EndpointSlices, and the Endpoints object that older clients read.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::engine::{Controller, Cx, Next, Notice};
use super::pods::{self, PODS};
use super::queue::{Key, Queue};
use crate::sim::client::DeleteOptions;
use crate::sim::meta;
use crate::sim::object;
use crate::sim::resource::GroupResource;
use crate::sim::selectors::Selector;
use crate::sim::status::Status;

pub(crate) mod mirroring;

pub(crate) const SERVICES: GroupResource = GroupResource::of("", "services");
const ENDPOINTS: GroupResource = GroupResource::of("", "endpoints");
const SLICES: GroupResource = GroupResource::of("discovery.k8s.io", "endpointslices");

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SLICE_CONTROLLER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// The most endpoints in one slice.
const SLICE_SIZE: usize = 100;

/// Keeps EndpointSlices.
#[derive(Debug)]
pub(crate) struct EndpointSlices;

/// Keeps Endpoints.
#[derive(Debug)]
pub(crate) struct Endpoints;

/// Queues the Services that a change of a Pod or of what the controller keeps concerns.
fn notice(cx: &Cx, notice: &Notice<'_>, kept: &GroupResource, queue: &Queue) {
    let namespace = meta::namespace(notice.object);
    if notice.is(&SERVICES) {
        queue.add(notice.key());
    } else if notice.is(kept) {
        let service = match meta::label(notice.object, SERVICE_NAME) {
            Some(service) => service,
            None => meta::name(notice.object),
        };
        queue.add(Key::new(namespace, service));
    } else if notice.changed("/status") || notice.changed("/metadata") || notice.is_gone() {
        for service in cx.store().list(&SERVICES, Some(namespace)) {
            let versions = [Some(&**notice.object), notice.previous].into_iter().flatten();
            if let Some(selector) = selector(&service.object)
                && versions.into_iter().any(|pod| selector.matches(meta::labels(pod)))
            {
                queue.add(Key::new(namespace, service.name()));
            }
        }
    }
}

/// Returns the selector; a Service without one has endpoints that somebody else keeps.
fn selector(service: &Value) -> Option<Selector> {
    let selector = &service["spec"]["selector"];
    let external = service["spec"]["type"] == "ExternalName";
    (!object::is_empty(selector) && !external).then(|| Selector::from_map(selector))
}

/// Returns the Pods behind a Service that have an address and still run, in order of their names.
fn members(cx: &Cx, service: &Value, selector: &Selector) -> Vec<Arc<Value>> {
    let mut members = cx.list(&PODS, Some(meta::namespace(service)));
    members.retain(|pod| {
        let has_address = pod["status"]["podIP"].as_str().is_some_and(|ip| !ip.is_empty());
        has_address && !pods::is_finished(pod) && selector.matches(meta::labels(pod))
    });
    members
}

/// Resolves a Service's ports on a Pod; a named target port that the Pod does not have is left out.
fn ports(service: &Value, pod: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    for port in meta::items(&service["spec"]["ports"]) {
        let protocol = port["protocol"].as_str().unwrap_or("TCP");
        let target = match &port["targetPort"] {
            Value::String(name) => named_port(pod, name, protocol),
            Value::Number(number) if number.as_i64() != Some(0) => number.as_i64(),
            _ => port["port"].as_i64(),
        };
        let Some(target) = target else { continue };
        let mut resolved = json!({ "port": target, "protocol": protocol });
        for field in ["name", "appProtocol"] {
            if let Some(text) = port[field].as_str() {
                resolved[field] = text.into();
            }
        }
        found.push(resolved);
    }
    found
}

fn named_port(pod: &Value, name: &str, protocol: &str) -> Option<i64> {
    let sidecars = meta::items(&pod["spec"]["initContainers"]).filter(|c| c["restartPolicy"] == "Always");
    let ports =
        meta::items(&pod["spec"]["containers"]).chain(sidecars).flat_map(|c| meta::items(&c["ports"]));
    let mut ports =
        ports.filter(|p| p["name"] == name && p["protocol"].as_str().unwrap_or("TCP") == protocol);
    ports.next().and_then(|p| p["containerPort"].as_i64())
}

fn target(pod: &Value) -> Value {
    json!({ "kind": "Pod", "name": meta::name(pod), "namespace": meta::namespace(pod), "uid": meta::uid(pod) })
}

fn publishes_not_ready(service: &Value) -> bool {
    service["spec"]["publishNotReadyAddresses"] == true
}

fn is_headless(service: &Value) -> bool {
    service["spec"]["clusterIP"] == "None"
}

#[async_trait]
impl Controller for EndpointSlices {
    fn name(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![SERVICES, PODS, SLICES]
    }

    fn notice(&self, cx: &Cx, change: &Notice<'_>, queue: &Queue) {
        notice(cx, change, &SLICES, queue);
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        // Slices of a Service that is gone are the garbage collector's.
        let Some(service) = cx.get(&SERVICES, &key.namespace, &key.name) else { return Ok(Next::Done) };
        let Some(selector) = selector(&service).filter(|_| !meta::is_deleting(&service)) else {
            return Ok(Next::Done);
        };
        let mut kept = cx.list(&SLICES, Some(&key.namespace));
        kept.retain(|slice| {
            meta::label(slice, SERVICE_NAME) == Some(&key.name)
                && meta::label(slice, MANAGED_BY) == Some(SLICE_CONTROLLER)
        });
        let mut unused = kept;
        for wanted in wanted_slices(&service, &members(cx, &service, &selector)) {
            let same_ports = unused.iter().position(|slice| slice["ports"] == wanted["ports"]);
            match same_ports.or(if unused.is_empty() { None } else { Some(0) }) {
                Some(at) => {
                    let slice = unused.remove(at);
                    let differs = ["endpoints", "ports"]
                        .iter()
                        .any(|field| !object::equal(&slice[field], &wanted[field]))
                        || slice["metadata"]["labels"] != wanted["metadata"]["labels"];
                    if differs {
                        let mut update = Value::clone(&slice);
                        for field in ["endpoints", "ports"] {
                            update[field] = wanted[field].clone();
                        }
                        update["metadata"]["labels"] = wanted["metadata"]["labels"].clone();
                        cx.client.update(&SLICES, &key.namespace, meta::name(&slice), update).await?;
                    }
                }
                None => {
                    cx.client.create(&SLICES, &key.namespace, wanted).await?;
                }
            }
        }
        for slice in unused {
            cx.client.delete(&SLICES, &key.namespace, meta::name(&slice), DeleteOptions::default()).await?;
        }
        Ok(Next::Done)
    }
}

/// Returns the slices that a Service should have: one for each set of ports that its Pods resolve them to, and an
/// empty one when there are no Pods.
fn wanted_slices(service: &Value, members: &[Arc<Value>]) -> Vec<Value> {
    let mut by_ports: BTreeMap<String, (Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for pod in members {
        let ports = ports(service, pod);
        let key = Value::from(ports.clone()).to_string();
        by_ports.entry(key).or_insert_with(|| (ports, Vec::new())).1.push(endpoint(service, pod));
    }
    if by_ports.is_empty() {
        by_ports.insert(String::new(), (Vec::new(), Vec::new()));
    }
    let mut slices = Vec::new();
    for (ports, endpoints) in by_ports.into_values() {
        let chunks: Vec<Vec<Value>> = match endpoints.is_empty() {
            true => vec![Vec::new()],
            false => endpoints.chunks(SLICE_SIZE).map(<[Value]>::to_vec).collect(),
        };
        for endpoints in chunks {
            slices.push(json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "generateName": format!("{}-", meta::name(service)), "namespace": meta::namespace(service),
                    "labels": slice_labels(service), "ownerReferences": [meta::controller_reference(service)],
                },
                "addressType": "IPv4", "endpoints": endpoints, "ports": if ports.is_empty() { Value::Null } else { ports.clone().into() },
            }));
        }
    }
    slices
}

fn slice_labels(service: &Value) -> Value {
    let mut labels: Map<String, Value> =
        service["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.remove(HEADLESS);
    labels.insert(SERVICE_NAME.to_owned(), meta::name(service).into());
    labels.insert(MANAGED_BY.to_owned(), SLICE_CONTROLLER.into());
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), "".into());
    }
    labels.into()
}

fn endpoint(service: &Value, pod: &Value) -> Value {
    let terminating = meta::is_deleting(pod);
    let serving = pods::is_ready(pod);
    let ready = publishes_not_ready(service) || (serving && !terminating);
    let mut endpoint = json!({
        "addresses": [pod["status"]["podIP"]],
        "conditions": { "ready": ready, "serving": serving, "terminating": terminating },
        "targetRef": target(pod),
    });
    if let Some(node) = pod["spec"]["nodeName"].as_str() {
        endpoint["nodeName"] = node.into();
    }
    if let Some(host) = host_name(service, pod) {
        endpoint["hostname"] = host.into();
    }
    endpoint
}

/// Returns the name that a Pod has below a headless Service.
fn host_name<'a>(service: &Value, pod: &'a Value) -> Option<&'a str> {
    let host = pod["spec"]["hostname"].as_str()?;
    (pod["spec"]["subdomain"] == meta::name(service)).then_some(host)
}

#[async_trait]
impl Controller for Endpoints {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![SERVICES, PODS, ENDPOINTS]
    }

    fn notice(&self, cx: &Cx, change: &Notice<'_>, queue: &Queue) {
        notice(cx, change, &ENDPOINTS, queue);
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let (namespace, name) = (key.namespace.as_str(), key.name.as_str());
        let kept = cx.get(&ENDPOINTS, namespace, name);
        let Some(service) = cx.get(&SERVICES, namespace, name) else {
            // What somebody made by hand for a Service to come is theirs.
            let ours = kept
                .as_ref()
                .is_some_and(|kept| meta::label(kept, "endpoints.kubernetes.io/managed-by").is_some());
            if ours {
                cx.client.delete(&ENDPOINTS, namespace, name, DeleteOptions::default()).await?;
            }
            return Ok(Next::Done);
        };
        let Some(selector) = selector(&service).filter(|_| !meta::is_deleting(&service)) else {
            return Ok(Next::Done);
        };
        let subsets = subsets(&service, &members(cx, &service, &selector));
        let mut labels: Map<String, Value> =
            service["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        labels.insert("endpoints.kubernetes.io/managed-by".to_owned(), "endpoint-controller".into());
        if is_headless(&service) {
            labels.insert(HEADLESS.to_owned(), "".into());
        }
        match kept {
            None => {
                let endpoints = json!({
                    "apiVersion": "v1", "kind": "Endpoints",
                    "metadata": { "name": name, "namespace": namespace, "labels": labels },
                    "subsets": if subsets.is_empty() { Value::Null } else { subsets.into() },
                });
                cx.client.create(&ENDPOINTS, namespace, endpoints).await?;
            }
            Some(kept) => {
                let subsets = Value::from(subsets);
                if !object::equal(&kept["subsets"], &subsets)
                    || kept["metadata"]["labels"] != Value::from(labels.clone())
                {
                    let mut update = Value::clone(&kept);
                    object::set(
                        &mut update,
                        "subsets",
                        if object::is_empty(&subsets) { Value::Null } else { subsets },
                    );
                    update["metadata"]["labels"] = labels.into();
                    cx.client.update(&ENDPOINTS, namespace, name, update).await?;
                }
            }
        }
        Ok(Next::Done)
    }
}

/// Groups the addresses by the ports that they serve.
fn subsets(service: &Value, members: &[Arc<Value>]) -> Vec<Value> {
    let mut by_ports: BTreeMap<String, Value> = BTreeMap::new();
    for pod in members.iter().filter(|pod| !meta::is_deleting(pod)) {
        let ports = ports(service, pod);
        let key = Value::from(ports.clone()).to_string();
        let subset = by_ports.entry(key).or_insert_with(|| match ports.is_empty() {
            true => json!({}),
            false => json!({ "ports": ports }),
        });
        let mut address = json!({ "ip": pod["status"]["podIP"], "targetRef": target(pod) });
        if let Some(node) = pod["spec"]["nodeName"].as_str() {
            address["nodeName"] = node.into();
        }
        if let Some(host) = host_name(service, pod) {
            address["hostname"] = host.into();
        }
        let ready = pods::is_ready(pod) || publishes_not_ready(service);
        let list = object::field_at(subset, if ready { "addresses" } else { "notReadyAddresses" });
        match list {
            Value::Array(list) => list.push(address),
            other => *other = json!([address]),
        }
    }
    by_ports.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, ip: &str, ready: &str, port: i64) -> Arc<Value> {
        Arc::new(json!({
            "metadata": { "name": name, "namespace": "n", "uid": name, "labels": { "app": "a" } },
            "spec": { "nodeName": "w", "containers": [{ "name": "c", "ports": [{ "name": "http", "containerPort": port }] }] },
            "status": { "podIP": ip, "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] },
        }))
    }

    fn service() -> Value {
        json!({ "metadata": { "name": "s", "namespace": "n", "uid": "u" }, "spec": {
            "selector": { "app": "a" }, "ports": [{ "name": "web", "port": 80, "targetPort": "http", "protocol": "TCP" }] } })
    }

    #[test]
    fn a_named_port_is_resolved_on_each_pod() {
        let members = [pod("a", "10.0.0.1", "True", 8080), pod("b", "10.0.0.2", "True", 9090)];
        let slices = wanted_slices(&service(), &members);
        let ports: Vec<&Value> = slices.iter().map(|slice| &slice["ports"][0]["port"]).collect();
        assert_eq!(ports, [&json!(8080), &json!(9090)]);
        assert_eq!(slices[0]["endpoints"][0]["addresses"], json!(["10.0.0.1"]));
    }

    #[test]
    fn a_pod_that_is_not_ready_takes_no_traffic() {
        let members = [pod("a", "10.0.0.1", "True", 80), pod("b", "10.0.0.2", "False", 80)];
        let slices = wanted_slices(&service(), &members);
        assert_eq!(slices[0]["endpoints"][1]["conditions"]["ready"], false);
        let subsets = subsets(&service(), &members);
        assert_eq!(subsets[0]["addresses"][0]["ip"], "10.0.0.1");
        assert_eq!(subsets[0]["notReadyAddresses"][0]["ip"], "10.0.0.2");
    }

    #[test]
    fn a_pod_that_goes_serves_until_it_is_gone() {
        let mut going = Value::clone(&pod("a", "10.0.0.1", "True", 80));
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let members = [Arc::new(going)];
        let conditions = &wanted_slices(&service(), &members)[0]["endpoints"][0]["conditions"];
        assert_eq!(conditions, &json!({ "ready": false, "serving": true, "terminating": true }));
        assert!(subsets(&service(), &members).is_empty());
    }

    #[test]
    fn a_service_without_pods_has_one_empty_slice() {
        let slices = wanted_slices(&service(), &[]);
        assert_eq!((slices.len(), &slices[0]["endpoints"]), (1, &json!([])));
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_ended_or_is_not_selected_is_no_endpoint() {
        let lab = crate::sim::controllers::testing::Lab::new(1).await;
        lab.apply(
            "
apiVersion: v1
kind: Service
metadata: {name: app}
spec: {selector: {app: a}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: serves, labels: {app: a}}
spec: {containers: [{name: c, image: 'nginx:1.27'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: ended, labels: {app: a}}
spec: {restartPolicy: Never, containers: [{name: c, image: 'busybox:1.36', command: [echo, hi]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: other, labels: {app: b}}
spec: {containers: [{name: c, image: 'nginx:1.27'}]}
",
        )
        .await;
        let ended = lab.phase("ended", "Succeeded").await;
        assert!(ended["status"]["podIP"].is_string(), "it still has an address");
        for pod in ["serves", "other"] {
            lab.wait("pods", &format!("t/{pod}"), pods::is_ready).await;
        }
        lab.pass(5).await;
        let slices = lab.list("endpointslices.discovery.k8s.io", "app-");
        assert_eq!(slices.len(), 1, "what this controller keeps is not mirrored again: {slices:?}");
        let names = |list: &Value| -> Vec<String> {
            meta::items(list)
                .map(|e| e["targetRef"]["name"].as_str().unwrap_or_default().to_owned())
                .collect()
        };
        assert_eq!(names(&slices[0]["endpoints"]), ["serves"]);
        let endpoints = lab.the("endpoints", "t/app");
        assert_eq!(names(&endpoints["subsets"][0]["addresses"]), ["serves"]);
    }
}
