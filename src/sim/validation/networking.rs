//! NetworkPolicies, Ingresses and their classes, cluster address ranges.

use std::net::IpAddr;

use serde_json::Value;

use super::batch::domain_prefixed_path;
use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules, label_selector};
use super::pod::containers::port_number;
use super::{names, service};
use crate::sim::field::{ErrorList, Path};
use crate::sim::object::{Fields, equal};

pub(super) fn network_policy(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    policy_spec(&mut errors, &At::field(object, "spec"));
    errors
}

pub(super) fn network_policy_update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    policy_spec(&mut errors, &At::field(new, "spec"));
    errors
}

fn policy_spec(errors: &mut ErrorList, spec: &At<'_>) {
    label_selector(errors, &spec.child("podSelector"));
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.child(rules).items() {
            for port in rule.child("ports").items() {
                policy_port(errors, &port);
            }
            for peer in rule.child(peers).items() {
                policy_peer(errors, &peer);
            }
        }
    }
    let types = spec.child("policyTypes");
    if types.len() > 2 {
        errors.invalid(&types.path, types.value.clone(), "may not specify more than two policyTypes");
        return;
    }
    for kind in types.items() {
        if !matches!(kind.str(), "Ingress" | "Egress") {
            errors.not_supported(&kind.path, kind.str(), &["Ingress", "Egress"]);
        }
    }
}

fn policy_port(errors: &mut ErrorList, at: &At<'_>) {
    let (protocol, port, end) = (at.child("protocol"), at.child("port"), at.child("endPort"));
    if protocol.present() && !matches!(protocol.str(), "TCP" | "UDP" | "SCTP") {
        errors.not_supported(&protocol.path, protocol.str(), &["TCP", "UDP", "SCTP"]);
    }
    match port.value {
        Value::Null => {
            if let Some(number) = end.int() {
                errors.invalid(&end.path, number, "may not be specified when `port` is not specified");
            }
        }
        Value::String(name) => {
            if let Some(number) = end.int() {
                errors.invalid(&end.path, number, "may not be specified when `port` is non-numeric");
            }
            errors.all(&port.path, name, names::port_name(name));
        }
        _ => {
            port_number(errors, &port);
            if let Some(number) = end.int() {
                if number < port.number() {
                    errors.invalid(&end.path, number, "must be greater than or equal to `port`");
                }
                port_number(errors, &end);
            }
        }
    }
}

fn policy_peer(errors: &mut ErrorList, at: &At<'_>) {
    let (pods, namespaces, block) =
        (at.child("podSelector"), at.child("namespaceSelector"), at.child("ipBlock"));
    label_selector(errors, &pods);
    label_selector(errors, &namespaces);
    if block.present() {
        ip_block(errors, &block);
    }
    let count = [&pods, &namespaces, &block].iter().filter(|peer| peer.present()).count();
    if count == 0 {
        errors.required(&at.path, "must specify a peer");
    } else if count > 1 && block.present() {
        errors.forbidden(&at.path, "may not specify both ipBlock and another peer");
    }
}

fn ip_block(errors: &mut ErrorList, at: &At<'_>) {
    let cidr = at.child("cidr");
    if cidr.str().is_empty() {
        errors.required(&cidr.path, "");
        return;
    }
    errors.all(&cidr.path, cidr.str(), names::cidr(cidr.str()));
    let Some(network) = names::parse_cidr(cidr.str()) else { return };
    for except in at.child("except").items() {
        errors.all(&except.path, except.str(), names::cidr(except.str()));
        let Some(part) = names::parse_cidr(except.str()) else { continue };
        let inside = network.trunc().contains(&part.network());
        if !inside || network.prefix_len() >= part.prefix_len() {
            errors.invalid(&except.path, except.str(), "must be a strict subset of `cidr`");
        }
    }
}

pub(super) fn ingress(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    ingress_spec(&mut errors, &At::field(object, "spec"), None);
    let key = "kubernetes.io/ingress.class";
    let annotation = object.dig(&["metadata", "annotations", key]);
    let class = object.at("spec").at("ingressClassName");
    if !annotation.is_null() && !class.is_null() && annotation != class {
        errors.invalid(
            &Path::new("annotations").child(key),
            annotation.clone(),
            "must match `ingressClassName` when both are specified",
        );
    }
    errors
}

pub(super) fn ingress_update(new: &Value, old: &Value, subresource: &str, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    if subresource == "status" {
        for point in At::field(new, "status").child("loadBalancer").child("ingress").items() {
            let ip = point.child("ip");
            if !ip.str().is_empty() {
                errors.all(&ip.path, ip.str(), names::ip(ip.str()));
            }
            service::balancer_host(&mut errors, &point.child("hostname"));
        }
        return errors;
    }
    errors.extend(metadata::validate(new, rules));
    ingress_spec(&mut errors, &At::field(new, "spec"), Some(old.at("spec")));
    errors
}

fn ingress_spec(errors: &mut ErrorList, spec: &At<'_>, old: Option<&Value>) {
    let (backend, rules) = (spec.child("defaultBackend"), spec.child("rules"));
    if rules.is_empty() && backend.is_null() {
        errors.invalid(
            &spec.path,
            rules.value.clone(),
            "either `defaultBackend` or `rules` must be specified",
        );
    }
    if backend.present() {
        ingress_backend(errors, &backend);
    }
    for rule in rules.items() {
        let host = rule.child("host");
        if !host.str().is_empty() {
            if names::parse_ip(host.str()).is_some() {
                errors.invalid(&host.path, host.str(), "must be a DNS name, not an IP address");
            }
            ingress_host(errors, &host);
        }
        let http = rule.child("http");
        if http.is_null() {
            continue;
        }
        let paths = http.child("paths");
        if paths.is_empty() {
            errors.required(&paths.path, "");
        }
        for path in paths.items() {
            ingress_path(errors, &path);
        }
    }
    let secret_fault = |name: &str| !name.is_empty() && !names::subdomain_name(name, false).is_empty();
    let lenient =
        old.is_some_and(|old| old.items("tls").iter().any(|tls| secret_fault(tls.text("secretName"))));
    for tls in spec.child("tls").items() {
        for host in tls.child("hosts").items() {
            ingress_host(errors, &host);
        }
        let secret = tls.child("secretName");
        if !lenient && !secret.str().is_empty() {
            errors.all(&secret.path, secret.str(), names::subdomain_name(secret.str(), false));
        }
    }
    let class = spec.child("ingressClassName");
    if class.present() {
        errors.all(&class.path, class.str(), names::subdomain_name(class.str(), false));
    }
}

fn ingress_host(errors: &mut ErrorList, at: &At<'_>) {
    let rule = if at.str().contains('*') { names::wildcard_subdomain } else { names::dns1123_subdomain };
    errors.all(&at.path, at.str(), rule(at.str()));
}

fn ingress_path(errors: &mut ErrorList, at: &At<'_>) {
    let (kind, path) = (at.child("pathType"), at.child("path"));
    if kind.is_null() {
        errors.required(&kind.path, "pathType must be specified");
        return;
    }
    let text = path.str();
    match kind.str() {
        "Exact" | "Prefix" => {
            if !text.starts_with('/') {
                errors.invalid(&path.path, text, "must be an absolute path");
            }
            for part in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|part| text.contains(**part)) {
                errors.invalid(&path.path, text, format!("must not contain '{part}'"));
            }
            for end in ["/..", "/."].iter().filter(|end| text.ends_with(**end)) {
                errors.invalid(&path.path, text, format!("cannot end with '{end}'"));
            }
        }
        "ImplementationSpecific" => {
            if !text.is_empty() && !text.starts_with('/') {
                errors.invalid(&path.path, text, "must be an absolute path");
            }
        }
        other => {
            errors.not_supported(&kind.path, other, &["Exact", "ImplementationSpecific", "Prefix"]);
        }
    }
    ingress_backend(errors, &at.child("backend"));
}

fn ingress_backend(errors: &mut ErrorList, at: &At<'_>) {
    let (resource, service) = (at.child("resource"), at.child("service"));
    match (resource.present(), service.present()) {
        (true, true) => errors.invalid(&at.path, "", "cannot set both resource and service backends"),
        (true, false) => reference(errors, &resource),
        (false, true) => {
            let name = service.child("name");
            if name.str().is_empty() {
                errors.required(&name.path, "");
            } else {
                errors.all(&name.path, name.str(), names::dns1035_name(name.str(), false));
            }
            let port = service.child("port");
            let (name, number) = (port.child("name"), port.child("number"));
            match (!name.str().is_empty(), number.number() != 0) {
                (true, true) => errors.invalid(&at.path, "", "cannot set both port name & port number"),
                (true, false) => errors.all(&name.path, name.str(), names::port_name(name.str())),
                (false, true) => port_number(errors, &number),
                (false, false) => errors.required(&at.path, "port name or number is required"),
            }
        }
        (false, false) => errors.invalid(&at.path, "", "resource or service backend is required"),
    }
}

fn reference(errors: &mut ErrorList, at: &At<'_>) {
    let group = at.child("apiGroup");
    if group.present() {
        errors.all(&group.path, group.str(), names::dns1123_subdomain(group.str()));
    }
    for name in ["kind", "name"] {
        let field = at.child(name);
        if field.str().is_empty() {
            errors.required(&field.path, "");
        } else {
            errors.all(&field.path, field.str(), names::path_segment_name(field.str(), false));
        }
    }
}

pub(super) fn ingress_class(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let spec = At::field(object, "spec");
    let controller = spec.child("controller");
    if controller.len() > 250 {
        errors.too_long(&controller.path, 250);
    }
    domain_prefixed_path(&mut errors, &controller);
    let parameters = spec.child("parameters");
    if parameters.is_null() {
        return errors;
    }
    reference(&mut errors, &parameters);
    let (scope, namespace) = (parameters.child("scope"), parameters.child("namespace"));
    match scope.str() {
        "Namespace" => {
            if namespace.is_null() {
                errors.required(&namespace.path, "`parameters.scope` is set to 'Namespace'");
            } else {
                errors.all(&namespace.path, namespace.str(), names::label_name(namespace.str(), false));
            }
        }
        "Cluster" => {
            if namespace.present() {
                errors.forbidden(&namespace.path, "`parameters.scope` is set to 'Cluster'");
            }
        }
        "" if scope.is_null() => errors.required(&scope.path, ""),
        other => errors.not_supported(&scope.path, other, &["Cluster", "Namespace"]),
    }
    errors
}

pub(super) fn ingress_class_update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    let path = Path::new("spec").child("controller");
    errors.immutable(&path, new.at("spec").at("controller"), old.at("spec").at("controller"));
    errors.extend(ingress_class(new, rules));
    errors
}

pub(super) fn ip_address(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let parent = At::field(object, "spec").child("parentRef");
    if parent.is_null() {
        errors.required(&parent.path, "");
        return errors;
    }
    let group = parent.child("group");
    if !group.str().is_empty() {
        errors.all(&group.path, group.str(), names::dns1123_subdomain(group.str()));
    }
    for name in ["resource", "name", "namespace"] {
        let field = parent.child(name);
        if !field.str().is_empty() {
            errors.all(&field.path, field.str(), names::path_segment_name(field.str(), false));
        } else if name != "namespace" {
            errors.required(&field.path, "");
        }
    }
    errors
}

pub(super) fn ip_address_update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    let path = Path::new("spec").child("parentRef");
    errors.immutable(&path, new.at("spec").at("parentRef"), old.at("spec").at("parentRef"));
    errors
}

/// Names of IPAddresses are addresses in their one canonical form.
pub(super) fn ip_address_name(name: &str, _prefix: bool) -> Vec<String> {
    match names::parse_ip(name) {
        None => vec![names::NO_IP.to_owned()],
        Some(ip) if ip.to_string() != name => {
            vec![format!("must be in canonical form ({:?})", ip.to_string())]
        }
        Some(_) => Vec::new(),
    }
}

pub(super) fn service_cidr(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    cidrs(&mut errors, &At::field(object, "spec").child("cidrs"));
    errors
}

fn cidrs(errors: &mut ErrorList, at: &At<'_>) {
    if at.is_empty() {
        errors.required(&at.path, "at least one CIDR required");
        return;
    }
    if at.len() > 2 {
        errors.invalid(&at.path, at.value.clone(), "may only hold up to 2 values");
        return;
    }
    for cidr in at.items() {
        errors.all(&cidr.path, cidr.str(), names::cidr(cidr.str()));
    }
    let families: Vec<bool> = at
        .strings()
        .iter()
        .filter_map(|cidr| names::parse_cidr(cidr))
        .map(|cidr| matches!(cidr.addr(), IpAddr::V6(_)))
        .collect();
    if let [a, b] = families[..]
        && a == b
    {
        errors.invalid(
            &at.path,
            at.value.clone(),
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
        );
    }
}

pub(super) fn service_cidr_update(
    new: &Value,
    old: &Value,
    subresource: &str,
    rules: MetaRules,
) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    if subresource == "status" {
        return errors;
    }
    let at = At::field(new, "spec").child("cidrs");
    let (now, was) = (at.strings(), old.at("spec").texts("cidrs"));
    if now.len() == was.len() {
        for (cidr, _) in at.items().zip(&was).filter(|(cidr, was)| cidr.str() != **was) {
            errors.invalid(&cidr.path, cidr.str(), super::cursor::IMMUTABLE);
        }
    } else if was.len() == 1 && now.len() == 2 {
        if now[0] != was[0] {
            errors.invalid(&at.path.index(0), now[0], super::cursor::IMMUTABLE);
        }
        cidrs(&mut errors, &at);
    } else if !equal(at.value, old.at("spec").at("cidrs")) {
        errors.invalid(&at.path, at.value.clone(), super::cursor::IMMUTABLE);
    }
    errors
}
