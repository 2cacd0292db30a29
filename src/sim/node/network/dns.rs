//! Names: the hosts file and the resolvers of a Pod, and what CoreDNS knows of the cluster.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::{Network, SERVICES, Site};
use crate::sim::meta;
use crate::sim::node::shell::outside::{Found, NoName, Transport};
use crate::sim::object::Fields as _;

/// The cluster's domain.
const DOMAIN: &str = "cluster.local";
/// The address of the cluster's resolver.
const CLUSTER: &str = "10.96.0.10";

/// What stands in a Pod's resolv.conf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Resolvers {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

impl Resolvers {
    /// Composes it by the Pod's policy, as the kubelet does.
    pub fn of(pod: &Value) -> Self {
        let spec = &pod["spec"];
        let policy = spec["dnsPolicy"].as_str().unwrap_or("ClusterFirst");
        let of_cluster = match policy {
            "ClusterFirst" => spec["hostNetwork"] != true,
            "ClusterFirstWithHostNet" => true,
            _ => false,
        };
        let mut resolvers = match (policy, of_cluster) {
            (_, true) => Self {
                servers: vec![CLUSTER.to_owned()],
                search: vec![
                    format!("{}.svc.{DOMAIN}", meta::namespace(pod)),
                    format!("svc.{DOMAIN}"),
                    DOMAIN.to_owned(),
                ],
                options: vec!["ndots:5".to_owned()],
            },
            ("None", _) => Self { servers: Vec::new(), search: Vec::new(), options: Vec::new() },
            _ => Self {
                servers: vec![Network::node_resolver().to_string()],
                search: Vec::new(),
                options: Vec::new(),
            },
        };
        let config = &spec["dnsConfig"];
        resolvers.servers.extend(config.texts("nameservers").into_iter().map(str::to_owned));
        resolvers.search.extend(config.texts("searches").into_iter().map(str::to_owned));
        for option in meta::items(&config["options"]) {
            let (name, value) = (option.text("name"), option.text("value"));
            let written = if value.is_empty() { name.to_owned() } else { format!("{name}:{value}") };
            resolvers.options.retain(|known| known.split(':').next() != Some(name));
            resolvers.options.push(written);
        }
        resolvers
    }

    /// Writes the file.
    pub fn file(&self) -> String {
        let mut text = String::new();
        if !self.search.is_empty() {
            text.push_str(&format!("search {}\n", self.search.join(" ")));
        }
        for server in &self.servers {
            text.push_str(&format!("nameserver {server}\n"));
        }
        if !self.options.is_empty() {
            text.push_str(&format!("options {}\n", self.options.join(" ")));
        }
        text
    }

    /// Lists the names that are asked for, in their order.
    fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let dots =
            self.options.iter().find_map(|option| option.strip_prefix("ndots:")?.parse().ok()).unwrap_or(1);
        let searched = self.search.iter().map(|domain| format!("{name}.{domain}"));
        if name.matches('.').count() < dots {
            searched.chain([name.to_owned()]).collect()
        } else {
            std::iter::once(name.to_owned()).chain(searched).collect()
        }
    }
}

/// Writes the hosts file of a Pod.
pub(in super::super) fn hosts_file(pod: &Value, hostname: &str) -> String {
    let mut text = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
        .to_owned();
    text.push_str(&format!("{}\t{hostname}\n", pod["status"]["podIP"].as_str().unwrap_or_default()));
    let aliases: Vec<&Value> = meta::items(&pod["spec"]["hostAliases"]).collect();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
    }
    for alias in aliases {
        text.push_str(&format!("{}\t{}\n", alias.text("ip"), alias.texts("hostnames").join("\t")));
    }
    text
}

/// Finds the addresses of a name.
pub(super) fn find(
    network: &Network<'_>,
    name: &str,
    server: Option<IpAddr>,
    exact: bool,
) -> Result<Found, NoName> {
    let name = name.to_ascii_lowercase();
    let resolvers = network.resolvers();
    if !exact && server.is_none() {
        let hostname = network.pod["spec"]["hostname"].as_str().unwrap_or_else(|| meta::name(network.pod));
        let hosts = hosts_file(network.pod, hostname);
        let lines = hosts.lines().filter(|line| !line.starts_with('#'));
        let mut addresses: Vec<IpAddr> = lines
            .filter(|line| line.split_whitespace().skip(1).any(|known| known.eq_ignore_ascii_case(&name)))
            .filter_map(|line| line.split_whitespace().next()?.parse().ok())
            .collect();
        addresses.sort_by_key(|address| !address.is_ipv4());
        if !addresses.is_empty() {
            return Ok(Found { name, addresses, server: None });
        }
    }
    let (server, knows) = ask(network, &resolvers, server)?;
    let names = if exact { vec![name.trim_end_matches('.').to_owned()] } else { resolvers.candidates(&name) };
    for name in names.into_iter().filter(|_| knows) {
        let addresses = of_zone(network, &name);
        if !addresses.is_empty() {
            return Ok(Found { name, addresses, server: Some(server) });
        }
    }
    Err(NoName::Unknown)
}

/// Finds the name of an address.
pub(super) fn name_of(network: &Network<'_>, address: IpAddr) -> Result<Found, NoName> {
    let (server, knows) = ask(network, &network.resolvers(), None)?;
    let ip = address.to_string();
    let services = network.store.list(&SERVICES, None);
    let service =
        services.iter().filter(|_| knows).find(|service| service.object["spec"]["clusterIP"] == ip.as_str());
    let service = service.ok_or(NoName::Unknown)?;
    let name = format!("{}.{}.svc.{DOMAIN}", service.name(), service.namespace());
    Ok(Found { name, addresses: vec![address], server: Some(server) })
}

/// Finds a resolver that answers, and tells whether it knows the cluster.
fn ask(
    network: &Network<'_>,
    resolvers: &Resolvers,
    server: Option<IpAddr>,
) -> Result<(IpAddr, bool), NoName> {
    let servers: Vec<IpAddr> = match server {
        Some(server) => vec![server],
        None => resolvers.servers.iter().filter_map(|server| server.parse().ok()).collect(),
    };
    for server in servers {
        if server == Network::node_resolver() {
            return Ok((server, false));
        }
        if let Ok(Site::Container { pod, .. }) = network.connect(SocketAddr::new(server, 53), Transport::Udp)
        {
            return Ok((server, pod["metadata"]["labels"]["k8s-app"] == "kube-dns"));
        }
    }
    Err(NoName::Silence)
}

/// What the cluster's zone says of a name.
fn of_zone(network: &Network<'_>, name: &str) -> Vec<IpAddr> {
    let Some(inside) = name.strip_suffix(DOMAIN).and_then(|name| name.strip_suffix('.')) else {
        return Vec::new();
    };
    let labels: Vec<&str> = inside.split('.').collect();
    match labels.as_slice() {
        [service, namespace, "svc"] => of_service(network, namespace, service, None),
        [host, service, namespace, "svc"] => of_service(network, namespace, service, Some(host)),
        [address, namespace, "pod"] => {
            let known = network.store.get(&super::NAMESPACES, "", namespace).is_some();
            address.replace('-', ".").parse().ok().filter(|_| known).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

fn of_service(network: &Network<'_>, namespace: &str, name: &str, host: Option<&str>) -> Vec<IpAddr> {
    let Some(service) = network.store.get(&SERVICES, namespace, name) else { return Vec::new() };
    let service = &service.object;
    if let Some(other) =
        service["spec"]["externalName"].as_str().filter(|_| service["spec"]["type"] == "ExternalName")
    {
        // No more than one step: what points in circles leads nowhere.
        let points_on = other.strip_suffix(DOMAIN).is_some_and(|rest| rest.ends_with(".svc."));
        let labels: Vec<&str> = other.split('.').collect();
        return match labels.as_slice() {
            [next, space, "svc", ..] if points_on && (*next, *space) != (name, namespace) => network
                .store
                .get(&SERVICES, space, next)
                .filter(|next| next.object["spec"]["type"] != "ExternalName")
                .map(|_| of_service(network, space, next, None))
                .unwrap_or_default(),
            _ => Vec::new(),
        };
    }
    let cluster_ip = service["spec"].text("clusterIP");
    if cluster_ip != "None" && host.is_none() {
        return cluster_ip.parse().ok().into_iter().collect();
    }
    let unready = service["spec"]["publishNotReadyAddresses"] == true;
    let mut found: Vec<IpAddr> = Vec::new();
    for slice in network.slices(service) {
        for endpoint in meta::items(&slice["endpoints"]) {
            if endpoint["conditions"]["ready"] == false && !unready {
                continue;
            }
            for address in endpoint.texts("addresses") {
                let named = host.is_none_or(|host| {
                    endpoint.text("hostname") == host || address.replace('.', "-") == host
                });
                if named && let Ok(address) = address.parse() {
                    found.push(address);
                }
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_search_path_follows_the_policy_of_the_pod() {
        let pod = |spec: Value| json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec});
        let first = Resolvers::of(&pod(json!({})));
        assert_eq!(
            first.file(),
            "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"
        );
        assert_eq!(
            first.candidates("db"),
            ["db.shop.svc.cluster.local", "db.svc.cluster.local", "db.cluster.local", "db"]
        );
        assert_eq!(first.candidates("db.shop."), ["db.shop"]);
        assert_eq!(first.candidates("a.b.c.d.e.f")[0], "a.b.c.d.e.f");
        let own = json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.2.3.4"], "searches": ["x.y"],
            "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]}});
        assert_eq!(
            Resolvers::of(&pod(own)).file(),
            "search x.y\nnameserver 1.2.3.4\noptions ndots:2 rotate\n"
        );
        let host = Resolvers::of(&pod(json!({"hostNetwork": true, "dnsPolicy": "ClusterFirst"})));
        assert_eq!(host.file(), "nameserver 172.18.0.1\n");
    }
}
