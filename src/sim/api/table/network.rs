//! Services, endpoints, ingresses and policies as rows.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{age, at_most_three, labels, name, or_none, selector};
use crate::sim::object::Fields as _;

/// The addresses that a load balancer has, sorted.
fn balancer(status: &Value) -> String {
    let ingress = status.at("loadBalancer").items("ingress");
    let mut found: Vec<&str> = ingress
        .iter()
        .map(|i| if i.text("ip").is_empty() { i.text("hostname") } else { i.text("ip") })
        .filter(|address| !address.is_empty())
        .collect();
    found.sort_unstable();
    found.dedup();
    found.join(",")
}

/// A Service.
pub(super) fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object.at("spec");
    let kind = spec.text("type");
    let outside = spec.texts("externalIPs").join(",");
    let external = match kind {
        "ClusterIP" | "NodePort" => outside,
        "LoadBalancer" => {
            let found = [balancer(object.at("status")), outside];
            let found: Vec<&str> = found.iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
            if found.is_empty() { "<pending>".to_owned() } else { found.join(",") }
        }
        "ExternalName" => spec.text("externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    };
    let ports: Vec<String> = spec
        .items("ports")
        .iter()
        .map(|port| {
            let (number, protocol) = (port.int("port").unwrap_or(0), port.text("protocol"));
            match port.int("nodePort") {
                Some(node) if node > 0 => format!("{number}:{node}/{protocol}"),
                _ => format!("{number}/{protocol}"),
            }
        })
        .collect();
    vec![
        name(object),
        kind.into(),
        or_none(spec.texts("clusterIPs").first().copied().unwrap_or_else(|| spec.text("clusterIP"))),
        or_none(&external),
        or_none(&ports.join(",")),
        age(object, now),
        labels(spec, "selector"),
    ]
}

/// An Endpoints object.
pub(super) fn endpoints(object: &Value, now: Timestamp) -> Vec<Value> {
    let subsets = object.items("subsets");
    let (mut shown, mut count) = (Vec::new(), 0);
    let mut add = |text: String| {
        count += 1;
        if shown.len() < 3 {
            shown.push(text);
        }
    };
    for subset in subsets {
        let addresses = subset.items("addresses");
        if subset.items("ports").is_empty() {
            addresses.iter().for_each(|address| add(address.text("ip").to_owned()));
        }
        for port in subset.items("ports") {
            let port = port.int("port").unwrap_or(0);
            for address in addresses {
                let ip = address.text("ip");
                add(if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") });
            }
        }
    }
    let written = if subsets.is_empty() { "<none>".to_owned() } else { at_most_three(&shown, count) };
    vec![name(object), written.into(), age(object, now)]
}

/// An EndpointSlice.
pub(super) fn endpoint_slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let written = |all: Vec<String>| {
        let text = at_most_three(&all[..all.len().min(3)], all.len());
        if text.is_empty() { "<unset>".to_owned() } else { text }
    };
    let port = |port: &Value| match (port.int("port"), port.text("name")) {
        (Some(number), _) => number.to_string(),
        (None, "") => "*".to_owned(),
        (None, name) => name.to_owned(),
    };
    let ports = object.items("ports").iter().map(port).collect();
    let addresses = object.items("endpoints").iter().flat_map(|e| e.texts("addresses"));
    vec![
        name(object),
        object.text("addressType").into(),
        written(ports).into(),
        written(addresses.map(str::to_owned).collect()).into(),
        age(object, now),
    ]
}

/// An Ingress.
pub(super) fn ingress(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object.at("spec");
    let rules = spec.items("rules");
    let mut hosts = Vec::new();
    let mut more = false;
    for rule in rules {
        more |= hosts.len() == 3;
        if !more && !rule.text("host").is_empty() {
            hosts.push(rule.text("host").to_owned());
        }
    }
    let hosts = match (hosts.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (false, false) => hosts.join(","),
        (false, true) => at_most_three(&hosts, rules.len()),
    };
    vec![
        name(object),
        or_none(spec.text("ingressClassName")),
        hosts.into(),
        balancer(object.at("status")).into(),
        if spec.items("tls").is_empty() { "80" } else { "80, 443" }.into(),
        age(object, now),
    ]
}

/// An IngressClass.
pub(super) fn ingress_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object.at("spec");
    let parameters = spec.at("parameters");
    let written = match (parameters.is_object(), parameters.text("apiGroup")) {
        (false, _) => "<none>".to_owned(),
        (true, "") => format!("{}/{}", parameters.text("kind"), parameters.text("name")),
        (true, group) => format!("{}.{group}/{}", parameters.text("kind"), parameters.text("name")),
    };
    vec![name(object), spec.text("controller").into(), written.into(), age(object, now)]
}

/// A NetworkPolicy.
pub(super) fn network_policy(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), selector(object.dig(&["spec", "podSelector"])), age(object, now)]
}

/// An IPAddress.
pub(super) fn ip_address(object: &Value, _now: Timestamp) -> Vec<Value> {
    let parent = object.dig(&["spec", "parentRef"]);
    let resource = match parent.text("group") {
        "" => parent.text("resource").to_lowercase(),
        group => format!("{}.{group}", parent.text("resource")).to_lowercase(),
    };
    let written = match (parent.is_object(), parent.text("namespace")) {
        (false, _) => "<none>".to_owned(),
        (true, "") => format!("{resource}/{}", parent.text("name")),
        (true, namespace) => format!("{resource}/{namespace}/{}", parent.text("name")),
    };
    vec![name(object), written.into()]
}

/// A ServiceCIDR.
pub(super) fn service_cidr(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), object.at("spec").texts("cidrs").join(",").into(), age(object, now)]
}
