//! EndpointSlices.

use serde_json::Value;

use super::core::ordinary_ip;
use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules, labels};
use super::names;
use super::webhooks::choice;
use crate::sim::field::{ErrorList, Path};
use crate::sim::object::Fields;

const MOST_ENDPOINTS: usize = 1000;
const MOST_ADDRESSES: usize = 100;
const MOST_PORTS: usize = 20_000;
const MOST_HINTS: usize = 8;

pub(super) fn create(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let kind = At::field(object, "addressType");
    if kind.str().is_empty() {
        errors.required(&kind.path, "");
    }
    let types = ["FQDN", "IPv4", "IPv6"];
    if !kind.str().is_empty() {
        choice(&mut errors, &kind, &types);
    }
    let endpoints = At::field(object, "endpoints");
    if endpoints.len() > MOST_ENDPOINTS {
        errors.too_many(&endpoints.path, endpoints.len(), MOST_ENDPOINTS);
    } else {
        for endpoint in endpoints.items() {
            self::endpoint(&mut errors, &endpoint, kind.str());
        }
    }
    let ports = At::field(object, "ports");
    if ports.len() > MOST_PORTS {
        errors.too_many(&ports.path, ports.len(), MOST_PORTS);
    } else {
        slice_ports(&mut errors, &ports);
    }
    errors
}

pub(super) fn update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = create(new, rules);
    errors.immutable(&Path::new("addressType"), new.at("addressType"), old.at("addressType"));
    errors
}

fn endpoint(errors: &mut ErrorList, at: &At<'_>, kind: &str) {
    let addresses = at.child("addresses");
    if addresses.is_empty() {
        errors.required(&addresses.path, "must contain at least 1 address");
    } else if addresses.len() > MOST_ADDRESSES {
        errors.too_many(&addresses.path, addresses.len(), MOST_ADDRESSES);
    }
    for address in addresses.items() {
        let parsed = names::parse_ip(address.str());
        match kind {
            "IPv4" if !parsed.is_some_and(|ip| ip.is_ipv4()) => {
                errors.invalid(&address.path, address.str(), "must be a valid IPv4 address");
            }
            "IPv6" if !parsed.is_some_and(|ip| ip.is_ipv6()) => {
                errors.invalid(&address.path, address.str(), "must be a valid IPv6 address");
            }
            "IPv4" | "IPv6" => ordinary_ip(errors, &address),
            "FQDN" => domain_name(errors, &address),
            _ => {}
        }
    }
    labels(errors, &at.child("deprecatedTopology"));
    let (hostname, node) = (at.child("hostname"), at.child("nodeName"));
    if hostname.present() {
        errors.all(&hostname.path, hostname.str(), names::dns1123_label(hostname.str()));
    }
    if node.present() {
        errors.all(&node.path, node.str(), names::subdomain_name(node.str(), false));
    }
    for field in ["forZones", "forNodes"] {
        let list = at.child("hints").child(field);
        if list.len() > MOST_HINTS {
            errors.too_many(&list.path, list.len(), MOST_HINTS);
            continue;
        }
        let mut seen = Vec::new();
        for hint in list.items() {
            let name = hint.child("name");
            if seen.contains(&name.str()) {
                errors.duplicate(&name.path, name.str());
            } else {
                seen.push(name.str());
            }
            let messages = match field {
                "forZones" => names::label_value(name.str()),
                _ => names::subdomain_name(name.str(), false),
            };
            errors.all(&name.path, name.str(), messages);
        }
    }
}

fn domain_name(errors: &mut ErrorList, at: &At<'_>) {
    let name = at.str().strip_suffix('.').unwrap_or(at.str());
    if name.is_empty() {
        errors.required(&at.path, "");
        return;
    }
    let messages = names::dns1123_subdomain(name);
    if !messages.is_empty() {
        errors.invalid(&at.path, name, messages.join(","));
    } else if !name.contains('.') {
        errors.invalid(&at.path, name, "should be a domain with at least two segments separated by dots");
    }
}

fn slice_ports(errors: &mut ErrorList, list: &At<'_>) {
    let mut seen = Vec::new();
    for port in list.items() {
        let (name, protocol, app) = (port.child("name"), port.child("protocol"), port.child("appProtocol"));
        if !name.str().is_empty() {
            errors.all(&name.path, name.str(), names::dns1123_label(name.str()));
        }
        if seen.contains(&name.str()) {
            errors.duplicate(&name.path, name.str());
        } else {
            seen.push(name.str());
        }
        if protocol.is_null() {
            errors.required(&protocol.path, "");
        }
        choice(errors, &protocol, &["SCTP", "TCP", "UDP"]);
        if app.present() {
            errors.all(&app.path, app.str(), names::qualified_name(app.str()));
        }
    }
}
