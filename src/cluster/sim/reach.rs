//! Who reaches whom in a simulated cluster: the NetworkPolicy model over objects that are read through the API, with
//! Services resolved to their endpoints and Pods asked whether they listen.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Namespace, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, ListParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::cluster::{ClusterError, Peer, Probe, Reach};
use crate::sim::netpol::{Decision, Endpoint, Outcome, Protocol, World};

/// What was read once for all probes.
struct Snapshot {
    world: World,
    pods: BTreeMap<(String, String), Value>,
    services: Vec<Value>,
    slices: Vec<Value>,
}

/// One place where a connection may end: the Pod or address, and the port there.
struct Target {
    endpoint: Endpoint,
    port: u16,
}

pub(super) async fn run(client: &kube::Client, probes: &[Probe]) -> Result<Vec<Reach>, ClusterError> {
    let (pods, namespaces, policies, services, slices) = futures::try_join!(
        all::<Pod>(client),
        all::<Namespace>(client),
        all::<NetworkPolicy>(client),
        all::<Service>(client),
        all::<EndpointSlice>(client),
    )?;
    let world = World::new(&pods, &namespaces, &policies);
    let pods = pods.into_iter().map(|pod| ((text(&pod, "namespace"), text(&pod, "name")), pod)).collect();
    let snapshot = Snapshot { world, pods, services, slices };
    probes.iter().map(|probe| snapshot.answer(probe)).collect()
}

impl Snapshot {
    fn answer(&self, probe: &Probe) -> Result<Reach, ClusterError> {
        let protocol: Protocol = probe.protocol.parse().map_err(|error| ClusterError::Failed {
            message: "a connection cannot be judged".to_owned(),
            source: Some(Box::new(error) as Box<_>),
        })?;
        let from = match &probe.from {
            Peer::Pod { namespace, name } => Endpoint::pod(namespace, name),
            Peer::Address(address) => Endpoint::Address(*address),
            Peer::Service { .. } => {
                return Ok(broken("a Service opens no connections"));
            }
        };
        let targets = match self.targets(&probe.to, probe.port, protocol) {
            Ok(targets) => targets,
            Err(reason) => return Ok(Reach::Broken { reason }),
        };
        let mut blocked = Vec::new();
        let mut open = 0;
        for target in &targets {
            match self.one(&from, target, protocol) {
                Reach::Open => open += 1,
                Reach::Blocked { by } => blocked.push(by),
                answer @ Reach::Broken { .. } => return Ok(answer),
            }
        }
        Ok(match (open, blocked.first()) {
            (_, None) => Reach::Open,
            (0, Some(by)) => Reach::Blocked { by: by.clone() },
            // Which endpoint a connection gets is up to chance, so it is neither possible nor forbidden.
            (open, Some(by)) => {
                broken(&format!("{open} of {} endpoints answer, others do not: {by}", targets.len()))
            }
        })
    }

    fn one(&self, from: &Endpoint, target: &Target, protocol: Protocol) -> Reach {
        let verdict = self.world.verdict(from, &target.endpoint, target.port, protocol);
        match &verdict.outcome {
            Outcome::NoEndpoint(reason) => Reach::Broken { reason: reason.clone() },
            Outcome::Blocked => {
                let by = [("egress", &verdict.egress), ("ingress", &verdict.ingress)];
                let by = by.into_iter().filter_map(|(direction, decision)| match decision {
                    Decision::Blocked(policies) => {
                        let names: Vec<String> = policies.iter().map(ToString::to_string).collect();
                        Some(format!("NetworkPolicy {} ({direction})", names.join(", ")))
                    }
                    _ => None,
                });
                // What listens is asked all the same: what nobody serves proves nothing about the policy.
                match self.deaf(target, protocol) {
                    Some(reason) => Reach::Broken { reason },
                    None => Reach::Blocked { by: by.collect::<Vec<_>>().join(" and ") },
                }
            }
            Outcome::Allowed => match self.deaf(target, protocol) {
                Some(reason) => Reach::Broken { reason },
                None => Reach::Open,
            },
        }
    }

    /// Says why nothing listens at a Pod's port; images are not looked into, so declared ports are what there is.
    fn deaf(&self, target: &Target, protocol: Protocol) -> Option<String> {
        let Endpoint::Pod { namespace, name } = &target.endpoint else { return None };
        let pod = self.pods.get(&(namespace.clone(), name.clone()))?;
        let containers = list(&pod["spec"]["containers"]);
        let of_protocol = |port: &&Value| port["protocol"].as_str().unwrap_or("TCP") == protocol.to_string();
        let declares = |container: &Value| list(&container["ports"]).iter().any(|port| of_protocol(&port));
        let serves = |container: &Value| {
            let ports = list(&container["ports"]);
            ports.iter().filter(of_protocol).any(|port| port["containerPort"] == target.port)
        };
        let serving = containers.iter().find(|container| serves(container));
        let Some(container) = serving else {
            // A Pod that declares nothing may listen anywhere; one that declares other ports does not listen here.
            let other = containers.iter().any(declares);
            return other
                .then(|| format!("nothing listens on {}/{protocol} in Pod {namespace}/{name}", target.port));
        };
        let statuses = list(&pod["status"]["containerStatuses"]);
        let status = statuses.iter().find(|status| status["name"] == container["name"]);
        let runs = status.is_none_or(|status| status["state"]["running"].is_object());
        let container = container["name"].as_str().unwrap_or_default();
        (!runs).then(|| format!("container {container} of Pod {namespace}/{name} does not run"))
    }

    fn targets(&self, to: &Peer, port: u16, protocol: Protocol) -> Result<Vec<Target>, String> {
        match to {
            Peer::Pod { namespace, name } => {
                Ok(vec![Target { endpoint: Endpoint::pod(namespace, name), port }])
            }
            Peer::Service { namespace, name } => {
                let service = self
                    .services
                    .iter()
                    .find(|service| {
                        text(service, "namespace") == *namespace && text(service, "name") == *name
                    })
                    .ok_or_else(|| format!("Service {namespace}/{name} does not exist"))?;
                self.behind(service, port, protocol)
            }
            Peer::Address(address) => {
                let ip = address.to_string();
                let service = self.services.iter().find(|service| {
                    let many = list(&service["spec"]["clusterIPs"]).iter().any(|known| *known == ip);
                    many || service["spec"]["clusterIP"] == ip
                });
                match service {
                    Some(service) => self.behind(service, port, protocol),
                    None => Ok(vec![Target { endpoint: self.at(*address), port }]),
                }
            }
        }
    }

    /// Resolves a Service's port to the endpoints that are ready.
    fn behind(&self, service: &Value, port: u16, protocol: Protocol) -> Result<Vec<Target>, String> {
        let (namespace, name) = (text(service, "namespace"), text(service, "name"));
        let ports = list(&service["spec"]["ports"]);
        let entry = ports
            .iter()
            .find(|entry| {
                entry["port"] == port && entry["protocol"].as_str().unwrap_or("TCP") == protocol.to_string()
            })
            .ok_or_else(|| format!("Service {namespace}/{name} has no port {port}/{protocol}"))?;
        let entry_name = entry["name"].as_str().unwrap_or_default();
        let mut targets = Vec::new();
        let of_service = self.slices.iter().filter(|slice| {
            text(slice, "namespace") == namespace
                && slice["metadata"]["labels"]["kubernetes.io/service-name"] == name.as_str()
        });
        for slice in of_service {
            let slice_ports = list(&slice["ports"]);
            let Some(number) = slice_ports
                .iter()
                .find(|port| port["name"].as_str().unwrap_or_default() == entry_name)
                .and_then(|port| port["port"].as_u64())
                .and_then(|number| u16::try_from(number).ok())
            else {
                continue;
            };
            for endpoint in list(&slice["endpoints"]) {
                if endpoint["conditions"]["ready"] == false {
                    continue;
                }
                let pod = &endpoint["targetRef"];
                let place = match (pod["kind"].as_str(), pod["namespace"].as_str(), pod["name"].as_str()) {
                    (Some("Pod"), Some(namespace), Some(name)) => Some(Endpoint::pod(namespace, name)),
                    _ => list(&endpoint["addresses"])
                        .iter()
                        .find_map(|address| address.as_str()?.parse().ok())
                        .map(|address| self.at(address)),
                };
                targets.extend(place.map(|endpoint| Target { endpoint, port: number }));
            }
        }
        match targets.is_empty() {
            true => {
                Err(format!("Service {namespace}/{name} has no ready endpoint for port {port}/{protocol}"))
            }
            false => Ok(targets),
        }
    }

    /// Returns the Pod that has an address on the Pod network, else the address itself.
    fn at(&self, address: IpAddr) -> Endpoint {
        let ip = address.to_string();
        let pod = self.pods.iter().find(|(_, pod)| {
            let own = list(&pod["status"]["podIPs"]).iter().any(|known| known["ip"] == ip)
                || pod["status"]["podIP"] == ip;
            own && pod["spec"]["hostNetwork"] != true && pod["status"]["phase"] == "Running"
        });
        match pod {
            Some(((namespace, name), _)) => Endpoint::pod(namespace, name),
            None => Endpoint::Address(address),
        }
    }
}

async fn all<K>(client: &kube::Client) -> Result<Vec<Value>, ClusterError>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let failed = |message: String, source: Box<dyn std::error::Error + Send + Sync>| ClusterError::Failed {
        message,
        source: Some(source),
    };
    let what = K::plural(&());
    let api: Api<K> = Api::all(client.clone());
    let objects = api
        .list(&ListParams::default())
        .await
        .map_err(|error| failed(format!("failed to list {what}"), Box::new(error)))?;
    objects
        .items
        .into_iter()
        .map(serde_json::to_value)
        .collect::<Result<_, _>>()
        .map_err(|error| failed(format!("failed to read {what}"), Box::new(error)))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(object: &Value, field: &str) -> String {
    object["metadata"][field].as_str().unwrap_or_default().to_owned()
}

fn broken(reason: &str) -> Reach {
    Reach::Broken { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests;
