//! The network as a Pod finds it: names, Services, policies, and who listens behind an address. What is not in the cluster is
//! out of reach.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::Value;

use super::Machine;
use super::history::History;
use super::kubelet::{NODES, PODS};
use super::process::Process;
use super::shell::Trace;
use super::shell::outside::{Ask, HttpAnswer, NoWay, Reply, Told, Transport, Trust};
use crate::sim::meta;
use crate::sim::netpol::{self, Endpoint, Outcome, Protocol, World};
use crate::sim::object::Fields as _;
use crate::sim::resource::GroupResource;
use crate::sim::store::Store;

pub(super) mod dns;
pub(super) mod servers;

const NAMESPACES: GroupResource = GroupResource::of("", "namespaces");
const SERVICES: GroupResource = GroupResource::of("", "services");
const SLICES: GroupResource = GroupResource::of("discovery.k8s.io", "endpointslices");
const POLICIES: GroupResource = GroupResource::of("networking.k8s.io", "networkpolicies");
/// The port of API servers on their nodes.
const API_PORT: u16 = 6443;
/// The port of kubelets.
const KUBELET_PORT: u16 = 10250;

/// The network of one Pod.
pub(super) struct Network<'a> {
    pub store: &'a Store,
    pub machine: &'a dyn Machine,
    pub history: &'a History,
    pub pod: &'a Value,
}

/// What is behind an address.
#[derive(Debug, Clone)]
pub(super) enum Site {
    /// The API server.
    Api,
    /// A kubelet, which lets nobody in who has no certificate.
    Kubelet,
    /// A container of a Pod, which listens on this port.
    Container { pod: Arc<Value>, container: String, port: u16 },
}

/// An answer, or what an API server must be asked for one.
pub(super) enum Answer {
    Told(Told),
    Api,
}

impl Network<'_> {
    /// Answers a question.
    pub fn answer(&self, ask: &Ask) -> Answer {
        Answer::Told(match ask {
            Ask::Name { name, server, exact } => Told::Name(dns::find(self, name, *server, *exact)),
            Ask::Pointer(address) => Told::Name(dns::name_of(self, *address)),
            Ask::Connect(to, transport) => Told::Connected(self.connect(*to, *transport).map(drop)),
            Ask::Http { to, tls, request } => match self.connect(*to, Transport::Tcp) {
                Ok(Site::Api) => match tls {
                    Some(trust) if self.trusts(trust) => return Answer::Api,
                    Some(_) => Told::Replied(Reply::Untrusted),
                    None => Told::Replied(Reply::Http(HttpAnswer {
                        status: 400,
                        headers: Vec::new(),
                        body: b"Client sent an HTTP request to an HTTPS server.\n".to_vec(),
                    })),
                },
                Ok(Site::Kubelet) => Told::Replied(match tls {
                    Some(Trust::Anybody) => Reply::Http(HttpAnswer {
                        status: 401,
                        headers: vec![("Content-Type".to_owned(), "text/plain; charset=utf-8".to_owned())],
                        body: b"Unauthorized".to_vec(),
                    }),
                    Some(_) => Reply::Untrusted,
                    None => Reply::Nothing,
                }),
                Ok(Site::Container { pod, container, port }) => {
                    let reply = self.with_container(&pod, &container, |process, trace| {
                        servers::http(process, trace, port, request, tls.as_ref())
                    });
                    Told::Replied(reply.unwrap_or(Reply::Nothing))
                }
                Err(_) => Told::Replied(Reply::Nothing),
            },
            Ask::Say(to, bytes) => match self.connect(*to, Transport::Tcp) {
                Ok(Site::Container { pod, container, port }) => {
                    let reply = self.with_container(&pod, &container, |process, trace| {
                        servers::raw(process, trace, port, bytes)
                    });
                    Told::Replied(reply.unwrap_or(Reply::Nothing))
                }
                _ => Told::Replied(Reply::Nothing),
            },
        })
    }

    /// Tells whether a client takes the certificate of the API server.
    fn trusts(&self, trust: &Trust) -> bool {
        const CONFIG_MAPS: GroupResource = GroupResource::of("", "configmaps");
        match trust {
            Trust::Anybody => true,
            Trust::System => false,
            Trust::Authority(pem) => {
                let own = self.store.get(&CONFIG_MAPS, "kube-system", "kube-root-ca.crt");
                let own = own
                    .and_then(|map| map.object["data"]["ca.crt"].as_str().map(str::trim).map(str::to_owned));
                own.is_some_and(|own| pem.contains(&own))
            }
        }
    }

    /// Finds who takes a connection, or why nobody does.
    pub fn connect(&self, to: SocketAddr, transport: Transport) -> Result<Site, NoWay> {
        let to = self.behind_service(to, transport)?;
        let own = self.pod_addresses(self.pod).any(|address| address == to.ip());
        let own_pod = own && self.pod["spec"]["hostNetwork"] != true;
        if to.ip().is_loopback() || own_pod {
            return match transport {
                Transport::Icmp => Ok(Site::Kubelet),
                _ => self.listener(&Arc::new(self.current()), to.port()).ok_or(NoWay::Refused),
            };
        }
        if !self.passes(to, transport) {
            return Err(NoWay::Silence);
        }
        let ip = to.ip().to_string();
        let at = |pod: &Value| self.pod_addresses(pod).any(|address| address == to.ip());
        let pods = self.store.list(&PODS, None);
        let lives = |pod: &Value| !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        if let Some(pod) = pods
            .iter()
            .find(|pod| pod.object["spec"]["hostNetwork"] != true && lives(&pod.object) && at(&pod.object))
        {
            return match transport {
                Transport::Icmp => Ok(Site::Kubelet),
                _ => self.listener(&pod.object, to.port()).ok_or(NoWay::Refused),
            };
        }
        let nodes = self.store.list(&NODES, None);
        let node = nodes.iter().find(|node| {
            meta::items(&node.object["status"]["addresses"]).any(|address| address["address"] == ip.as_str())
        });
        let Some(node) = node else {
            // Nobody has this address of the Pod network, or there is nothing beyond the cluster.
            let inside = matches!(to.ip(), IpAddr::V4(ip) if [[10, 244], [10, 96]].contains(&[ip.octets()[0], ip.octets()[1]]));
            return Err(if inside { NoWay::Silence } else { NoWay::Unreachable });
        };
        let plane = "node-role.kubernetes.io/control-plane";
        match to.port() {
            _ if transport == Transport::Icmp => return Ok(Site::Kubelet),
            API_PORT if !node.object["metadata"]["labels"][plane].is_null() => return Ok(Site::Api),
            KUBELET_PORT => return Ok(Site::Kubelet),
            _ => {}
        }
        pods.iter()
            .filter(|pod| {
                pod.object["spec"]["hostNetwork"] == true && pod.object["spec"]["nodeName"] == node.name()
            })
            .find_map(|pod| self.listener(&pod.object, to.port()))
            .ok_or(NoWay::Refused)
    }

    /// Returns the Pod as it is by now.
    fn current(&self) -> Value {
        let pod = self.store.get(&PODS, meta::namespace(self.pod), meta::name(self.pod));
        pod.map_or_else(|| self.pod.clone(), |pod| Value::clone(&pod.object))
    }

    fn pod_addresses<'a>(&self, pod: &'a Value) -> impl Iterator<Item = IpAddr> + 'a {
        let listed = meta::items(&pod["status"]["podIPs"]).filter_map(|entry| entry["ip"].as_str());
        listed.chain(pod["status"]["podIP"].as_str()).filter_map(|ip| ip.parse().ok())
    }

    /// Tells whether the policies of both ends let a connection through.
    fn passes(&self, to: SocketAddr, transport: Transport) -> bool {
        let [pods, namespaces, policies] =
            [&PODS, &NAMESPACES, &POLICIES].map(|kind| self.store.list(kind, None));
        if policies.is_empty() {
            return true;
        }
        let objects = |list: &[Arc<crate::sim::store::Entry>]| -> Vec<Arc<Value>> {
            list.iter().map(|entry| entry.object.clone()).collect()
        };
        let (pods, namespaces, policies) = (objects(&pods), objects(&namespaces), objects(&policies));
        let world = World::new(
            pods.iter().map(|pod| &**pod),
            namespaces.iter().map(|namespace| &**namespace),
            policies.iter().map(|policy| &**policy),
        );
        let from = Endpoint::pod(meta::namespace(self.pod), meta::name(self.pod));
        let protocol = match transport {
            Transport::Udp => Protocol::Udp,
            // Only rules that name no port let it pass.
            Transport::Tcp | Transport::Icmp => Protocol::Tcp,
        };
        let verdict: netpol::Verdict = world.verdict(&from, &Endpoint::Address(to.ip()), to.port(), protocol);
        verdict.outcome != Outcome::Blocked
    }

    /// Replaces the address of a Service, or a port that it opens on nodes, by one of its endpoints.
    fn behind_service(&self, to: SocketAddr, transport: Transport) -> Result<SocketAddr, NoWay> {
        let ip = to.ip().to_string();
        let services = self.store.list(&SERVICES, None);
        let has_address = |service: &Value| {
            let spec = &service["spec"];
            spec["clusterIP"] == ip.as_str()
                || meta::items(&spec["clusterIPs"]).any(|known| *known == ip)
                || meta::items(&service["status"]["loadBalancer"]["ingress"])
                    .any(|known| known["ip"] == ip.as_str())
        };
        let protocol = if transport == Transport::Udp { "UDP" } else { "TCP" };
        let of_protocol = |port: &&Value| port["protocol"].as_str().unwrap_or("TCP") == protocol;
        let found = services.iter().find(|service| has_address(&service.object));
        let (service, port) = match found {
            Some(service) => {
                let mut ports = meta::items(&service.object["spec"]["ports"]).filter(of_protocol);
                let port = ports.find(|port| port["port"] == to.port() && transport != Transport::Icmp);
                // Nobody takes what is sent to a Service's address beside its ports.
                (service, port.ok_or(NoWay::Silence)?)
            }
            None => {
                let is_node = self.store.list(&NODES, None).iter().any(|node| {
                    meta::items(&node.object["status"]["addresses"])
                        .any(|known| known["address"] == ip.as_str())
                });
                let opened = services.iter().filter(|_| is_node).find_map(|service| {
                    let mut ports = meta::items(&service.object["spec"]["ports"]).filter(of_protocol);
                    ports.find(|port| port["nodePort"] == to.port()).map(|port| (service, port))
                });
                match opened {
                    Some(opened) => opened,
                    None => return Ok(to),
                }
            }
        };
        let endpoints = self.endpoints(&service.object, port.text("name"));
        if endpoints.is_empty() {
            return Err(NoWay::Refused);
        }
        // Any of them, as it comes.
        let turn = usize::try_from(self.history.now().subsec_nanosecond() / 1000).unwrap_or_default();
        Ok(endpoints[turn % endpoints.len()])
    }

    /// Lists the ready endpoints of a Service's port, by the port's name.
    fn endpoints(&self, service: &Value, port: &str) -> Vec<SocketAddr> {
        let mut found = Vec::new();
        for (slice, endpoint) in self
            .slices(service)
            .iter()
            .flat_map(|slice| meta::items(&slice["endpoints"]).map(move |endpoint| (slice, endpoint)))
        {
            let number = meta::items(&slice["ports"])
                .find(|known| known.text("name") == port)
                .and_then(|known| known["port"].as_u64())
                .and_then(|number| u16::try_from(number).ok());
            let addresses =
                meta::items(&endpoint["addresses"]).filter_map(|ip| ip.as_str()?.parse::<IpAddr>().ok());
            if endpoint["conditions"]["ready"] != false
                && let Some(number) = number
            {
                found.extend(addresses.map(|address| SocketAddr::new(address, number)));
            }
        }
        found
    }

    fn slices(&self, service: &Value) -> Vec<Arc<Value>> {
        let slices = self.store.list(&SLICES, Some(meta::namespace(service)));
        let of = |slice: &Value| {
            slice["metadata"]["labels"]["kubernetes.io/service-name"] == meta::name(service)
                && meta::namespace(slice) == meta::namespace(service)
        };
        slices.iter().filter(|slice| of(&slice.object)).map(|slice| slice.object.clone()).collect()
    }

    /// Finds the container of a Pod that listens on a port.
    pub fn listener(&self, pod: &Arc<Value>, port: u16) -> Option<Site> {
        let names = ["containers", "initContainers", "ephemeralContainers"];
        let declares =
            meta::items(&pod["spec"]["containers"]).any(|container| !container.items("ports").is_empty());
        names.iter().flat_map(|list| meta::items(&pod["spec"][*list])).find_map(|container| {
            let name = container.text("name");
            let listens =
                self.with_container(pod, name, |process, trace| process.serves(trace, port, declares))?;
            listens.then(|| Site::Container { pod: pod.clone(), container: name.to_owned(), port })
        })
    }

    /// Lets somebody look at a container that runs, and at what it has done by now.
    pub fn with_container<T>(
        &self,
        pod: &Value,
        container: &str,
        look: impl FnOnce(&Process<'_>, &Trace) -> T,
    ) -> Option<T> {
        with_container(self.store, self.machine, self.history, pod, container, look)
    }

    /// Returns where the Pod asks for names.
    fn resolvers(&self) -> dns::Resolvers {
        dns::Resolvers::of(self.pod)
    }

    /// Returns the address that stands for the node's own resolver.
    fn node_resolver() -> IpAddr {
        Ipv4Addr::new(172, 18, 0, 1).into()
    }
}

/// Lets somebody look at a container that runs, and at what it has done by now.
pub(super) fn with_container<T>(
    store: &Store,
    machine: &dyn Machine,
    history: &History,
    pod: &Value,
    container: &str,
    look: impl FnOnce(&Process<'_>, &Trace) -> T,
) -> Option<T> {
    let lists = [
        ("containers", "containerStatuses"),
        ("initContainers", "initContainerStatuses"),
        ("ephemeralContainers", "ephemeralContainerStatuses"),
    ];
    let (spec, status) = lists.iter().find_map(|(specs, statuses)| {
        let spec = meta::items(&pod["spec"][*specs]).find(|spec| spec["name"] == container)?;
        let status = meta::items(&pod["status"][*statuses]).find(|status| status["name"] == container)?;
        Some((spec, status))
    })?;
    let started = meta::time(&status["state"]["running"]["startedAt"])?;
    let process = Process {
        store,
        machine,
        pod,
        container: spec,
        node: &Value::Null,
        history,
        id: status["containerID"].as_str().unwrap_or_default().trim_start_matches("containerd://"),
        api: None,
        // What it would find out by asking around in its turn is not asked for now.
        asks: false,
    };
    let trace = process.trace(started, history.now());
    Some(look(&process, &trace))
}
