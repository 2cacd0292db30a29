//! Services.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

use super::core::ordinary_ip;
use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules};
use super::names;
use super::pod::containers;
use crate::sim::field::{ErrorList, FieldError, Path};
use crate::sim::object::Fields;

fn spec(object: &Value) -> At<'_> {
    At::field(object, "spec")
}

pub(crate) fn is_headless(object: &Value) -> bool {
    object.at("spec").texts("clusterIPs") == ["None"]
}

/// Tells whether a Service can be reached from outside the cluster.
pub(crate) fn is_external(object: &Value) -> bool {
    let spec = object.at("spec");
    match spec.text("type") {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !spec.items("externalIPs").is_empty(),
        _ => false,
    }
}

/// Tells whether load balancers ask nodes whether they have endpoints of the Service.
pub(crate) fn needs_health_check(object: &Value) -> bool {
    let spec = object.at("spec");
    spec.text("type") == "LoadBalancer" && spec.text("externalTrafficPolicy") == "Local"
}

pub(super) fn create(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    topology_annotations(&mut errors, object);
    let spec = spec(object);
    let ports = spec.child("ports");
    let kind = spec.value.text("type");
    if ports.is_empty() && !is_headless(object) && kind != "ExternalName" {
        errors.required(&ports.path, "");
    }
    by_type(&mut errors, object, &spec);
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        self::port(&mut errors, &port, ports.len() > 1, &mut seen);
    }
    metadata::labels(&mut errors, &spec.child("selector"));
    affinity(&mut errors, &spec);
    errors.extend(cluster_ips(object));
    for ip in spec.child("externalIPs").items() {
        let messages = names::ip(ip.str());
        if messages.is_empty() {
            ordinary_ip(&mut errors, &ip);
        } else {
            errors.all(&ip.path, ip.str(), messages);
        }
    }
    match kind {
        "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName" => {}
        "" => errors.required(&spec.path.child("type"), ""),
        other => errors.not_supported(
            &spec.path.child("type"),
            other,
            &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        ),
    }
    port_numbers(&mut errors, &ports, kind);
    source_ranges(&mut errors, object, &spec);
    let allocate = spec.child("allocateLoadBalancerNodePorts");
    if allocate.present() && kind != "LoadBalancer" {
        errors.forbidden(&allocate.path, "may only be used when `type` is 'LoadBalancer'");
    }
    if allocate.is_null() && kind == "LoadBalancer" {
        errors.required(&Path::new("allocateLoadBalancerNodePorts"), "");
    }
    balancer_class(&mut errors, object, None);
    traffic(&mut errors, object, &spec);
    errors
}

fn topology_annotations(errors: &mut ErrorList, object: &Value) {
    let annotations = At::field(object, "metadata").child("annotations");
    let (mode, hints) = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints");
    let (mode_value, hints_value) = (annotations.value.at(mode), annotations.value.at(hints));
    if !mode_value.is_null() && !hints_value.is_null() && mode_value != hints_value {
        errors.invalid(
            &annotations.path.key(mode),
            mode_value.clone(),
            format!("must match annotations[{hints}] when both are specified"),
        );
    }
}

fn by_type(errors: &mut ErrorList, object: &Value, spec: &At<'_>) {
    let first = spec.path.child("clusterIPs").index(0);
    match spec.value.text("type") {
        kind @ ("LoadBalancer" | "NodePort") if is_headless(object) => {
            errors.invalid(&first, "None", format!("may not be set to 'None' for {kind} services"));
        }
        "ExternalName" => {
            for name in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                let field = spec.child(name);
                if !field.is_empty() {
                    errors.forbidden(&field.path, "may not be set for ExternalName services");
                }
            }
            let name = spec.child("externalName");
            let text = name.str().strip_suffix('.').unwrap_or(name.str());
            if text.is_empty() {
                errors.required(&name.path, "");
            } else {
                errors.all(&name.path, text, names::dns1123_subdomain(text));
            }
        }
        _ => {}
    }
}

fn port<'a>(errors: &mut ErrorList, at: &At<'a>, need_name: bool, seen: &mut BTreeSet<&'a str>) {
    let name = at.child("name");
    if name.str().is_empty() {
        if need_name {
            errors.required(&name.path, "");
        }
    } else {
        errors.all(&name.path, name.str(), names::dns1123_label(name.str()));
        if !seen.insert(name.str()) {
            errors.duplicate(&name.path, name.str());
        }
    }
    containers::port_number(errors, &at.child("port"));
    containers::protocol(errors, &at.child("protocol"));
    containers::port_or_name(errors, &at.child("targetPort"));
    let protocol = at.child("appProtocol");
    if protocol.present() {
        errors.all(&protocol.path, protocol.str(), names::qualified_name(protocol.str()));
    }
}

fn affinity(errors: &mut ErrorList, spec: &At<'_>) {
    const NEEDED: &str = "when session affinity type is ClientIP";
    let (affinity, config) = (spec.child("sessionAffinity"), spec.child("sessionAffinityConfig"));
    match affinity.str() {
        "ClientIP" => {
            let client = config.child("clientIP");
            let timeout = client.child("timeoutSeconds");
            if let Some(missing) = [&config, &client, &timeout].into_iter().find(|field| field.is_null()) {
                errors.required(&missing.path, NEEDED);
            } else if !(1..=86400).contains(&timeout.number()) {
                errors.invalid(&timeout.path, timeout.number(), "must be greater than 0 and less than 86400");
            }
        }
        "None" => {
            if config.present() {
                errors.forbidden(&config.path, "must not be set when session affinity is None");
            }
        }
        "" => errors.required(&affinity.path, ""),
        other => errors.not_supported(&affinity.path, other, &["ClientIP", "None"]),
    }
}

fn port_numbers(errors: &mut ErrorList, ports: &At<'_>, kind: &str) {
    if kind == "ClusterIP" {
        for port in ports.items().filter(|port| port.value.int("nodePort").unwrap_or_default() != 0) {
            errors.forbidden(&port.path.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let number = port.child("nodePort");
        if number.number() != 0 && !seen.insert((port.value.text("protocol"), number.number())) {
            errors.duplicate(&number.path, number.number());
        }
    }
    let mut seen = BTreeSet::new();
    for port in ports.items() {
        let (protocol, number) = (port.value.text("protocol"), port.value.int("port").unwrap_or_default());
        if !seen.insert((protocol, number)) {
            errors.push(FieldError::duplicate(&port.path, Value::Null).showing(format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{number},\"TargetPort\":0,\"NodePort\":0}}",
                Value::from(protocol)
            )));
        }
    }
}

fn source_ranges(errors: &mut ErrorList, object: &Value, spec: &At<'_>) {
    const ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
    const KEY: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    let balanced = spec.value.text("type") == "LoadBalancer";
    let ranges = spec.child_as("loadBalancerSourceRanges", "LoadBalancerSourceRanges");
    if !ranges.is_empty() {
        if !balanced {
            errors.forbidden(&ranges.path, ONLY);
        }
        for range in ranges.items() {
            errors.all(&range.path, range.str().trim(), names::cidr(range.str().trim()));
        }
    } else if let Some(text) = object.dig(&["metadata", "annotations", KEY]).as_str() {
        let path = Path::new("metadata").child("annotations").key(KEY);
        if !balanced {
            errors.forbidden(&path, ONLY);
        }
        for range in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
            errors.all(&path, range, names::cidr(range));
        }
    }
}

fn balancer_class(errors: &mut ErrorList, object: &Value, old: Option<&Value>) {
    let class = spec(object).child("loadBalancerClass");
    let balanced = |object: &Value| object.at("spec").text("type") == "LoadBalancer";
    if let Some(old) = old
        && balanced(object)
        && balanced(old)
        && class.value != old.at("spec").at("loadBalancerClass")
    {
        errors.invalid(&class.path, class.value.clone(), "may not change once set");
    }
    if class.present() {
        if balanced(object) {
            errors.all(&class.path, class.str(), names::qualified_name(class.str()));
        } else {
            errors.forbidden(&class.path, "may only be used when `type` is 'LoadBalancer'");
        }
    }
}

fn traffic(errors: &mut ErrorList, object: &Value, spec: &At<'_>) {
    let outside = spec.child("externalTrafficPolicy");
    if !is_external(object) {
        if !outside.str().is_empty() {
            errors.invalid(
                &outside.path,
                outside.str(),
                "may only be set for externally-accessible services",
            );
        }
    } else if outside.str().is_empty() {
        errors.required(&outside.path, "");
    } else if !matches!(outside.str(), "Cluster" | "Local") {
        errors.not_supported(&outside.path, outside.str(), &["Cluster", "Local"]);
    }
    let health = spec.child("healthCheckNodePort");
    if !needs_health_check(object) {
        if health.number() != 0 {
            errors.invalid(
                &health.path,
                health.number(),
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            );
        }
    } else if health.number() == 0 {
        errors.required(&health.path, "");
    } else {
        containers::port_number(errors, &health);
    }
    let inside = spec.child("internalTrafficPolicy");
    if inside.is_null() {
        if matches!(spec.value.text("type"), "ClusterIP" | "NodePort" | "LoadBalancer") {
            errors.required(&inside.path, "");
        }
    } else if !matches!(inside.str(), "Cluster" | "Local") {
        errors.not_supported(&inside.path, inside.str(), &["Cluster", "Local"]);
    }
    let spread = spec.child("trafficDistribution");
    let known = ["PreferClose", "PreferSameNode", "PreferSameZone"];
    if spread.present() && !known.contains(&spread.str()) {
        errors.not_supported(&spread.path, spread.str(), &known);
    }
}

fn is_v6(text: &str) -> bool {
    matches!(names::parse_ip(text), Some(IpAddr::V6(_)))
}

/// Validates cluster addresses and address families among each other; allocation does so, too.
pub(crate) fn cluster_ips(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let spec = spec(object);
    if spec.value.text("type") == "ExternalName" {
        return errors;
    }
    let (ips, families, policy) =
        (spec.child("clusterIPs"), spec.child("ipFamilies"), spec.child("ipFamilyPolicy"));
    let list = ips.strings();
    match spec.value.text("clusterIP") {
        "" => {
            if !list.is_empty() {
                errors.invalid(
                    &ips.path,
                    ips.value.clone(),
                    "must be empty when `clusterIP` is not specified",
                );
            }
        }
        ip => match list.first() {
            None => errors.required(&ips.path, ""),
            Some(first) if *first != ip => {
                errors.invalid(&ips.path, ips.value.clone(), "first value must match `clusterIP`");
            }
            Some(_) => {}
        },
    }
    let mut seen = BTreeSet::new();
    for family in families.items() {
        if !matches!(family.str(), "IPv4" | "IPv6") {
            errors.not_supported(&family.path, family.str(), &["IPv4", "IPv6"]);
        }
        if !seen.insert(family.str()) {
            errors.duplicate(&family.path, family.str());
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    if policy.present() && !policies.contains(&policy.str()) {
        errors.not_supported(&policy.path, policy.str(), &policies);
    }
    let mut unsound = false;
    for (index, ip) in ips.items().enumerate() {
        if index == 0 && ip.str() == "None" {
            if list.len() > 1 {
                unsound = true;
                errors.invalid(&ips.path, ips.value.clone(), "'None' must be the first and only value");
            }
            continue;
        }
        let messages = names::ip(ip.str());
        unsound |= !messages.is_empty();
        errors.all(&ip.path, ip.str(), messages);
    }
    if list.len() > 2 {
        errors.invalid(&ips.path, ips.value.clone(), "may only hold up to 2 values");
    }
    if unsound {
        return errors;
    }
    if list.len() > 1 && !(list.iter().any(|ip| is_v6(ip)) && list.iter().any(|ip| !is_v6(ip))) {
        errors.invalid(&ips.path, ips.value.clone(), "may specify no more than one IP for each IP family");
    }
    if !is_headless(object) {
        for (index, (ip, family)) in ips.items().zip(families.strings()).enumerate() {
            if (family == "IPv4" && is_v6(ip.str())) || (family == "IPv6" && !is_v6(ip.str())) {
                errors.invalid(
                    &ip.path,
                    ip.str(),
                    format!("expected an {family} value as indicated by `ipFamilies[{index}]`"),
                );
            }
        }
    }
    errors
}

pub(super) fn update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    let external = |object: &Value| object.at("spec").text("type") == "ExternalName";
    if !external(new) && !external(old) {
        let (now_headless, was_headless) = (is_headless(new), is_headless(old));
        if !(now_headless && was_headless) {
            kept(&mut errors, new, old, "clusterIPs", "clusterIP");
        }
        if !now_headless && !was_headless {
            kept(&mut errors, new, old, "ipFamilies", "ipFamily");
        }
    }
    balancer_class(&mut errors, new, Some(old));
    let health = |object: &Value| object.at("spec").int("healthCheckNodePort").unwrap_or_default();
    if needs_health_check(old) && needs_health_check(new) && health(old) != health(new) {
        errors.forbidden(&Path::new("spec").child("healthCheckNodePort"), super::cursor::IMMUTABLE);
    }
    errors.extend(create(new, rules));
    errors
}

/// Validates that the first address or family stays, and that the second goes only where a single one is wanted.
fn kept(errors: &mut ErrorList, new: &Value, old: &Value, list: &str, one: &str) {
    let (spec, before) = (spec(new), old.at("spec"));
    let field = spec.child(list);
    let (now, was) = (field.strings(), before.texts(list));
    // Upstream shows the addresses in some of the messages about families.
    let ips = spec.value.at("clusterIPs").clone();
    let first = field.path.index(0);
    if now.len() == was.len() {
        for (index, _) in now.iter().zip(&was).enumerate().filter(|(_, (now, was))| now != was) {
            let path = if list == "clusterIPs" { field.path.index(index) } else { first.clone() };
            errors.invalid(&path, field.value.clone(), "may not change once set");
        }
        return;
    }
    if now.len() < was.len() && spec.value.texts("clusterIPs").is_empty() {
        errors.invalid(&first, field.value.clone(), format!("primary {one} can not be unset"));
    }
    if let (Some(now), Some(was)) = (now.first(), was.first())
        && now != was
    {
        errors.invalid(&first, ips, "may not change once set");
    }
    if now.len() < was.len() && now.len() == 1 && spec.value.text("ipFamilyPolicy") != "SingleStack" {
        errors.invalid(
            &spec.path.child("ipFamilyPolicy"),
            spec.value.at("ipFamilyPolicy").clone(),
            format!("must be set to 'SingleStack' when releasing the secondary {one}"),
        );
    }
}

pub(super) fn status(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    let ingress = At::field(new, "status").child("loadBalancer").child("ingress");
    if new.at("spec").text("type") != "LoadBalancer" && !ingress.is_empty() {
        errors.forbidden(&ingress.path, "may only be used when `spec.type` is 'LoadBalancer'");
        return errors;
    }
    for point in ingress.items() {
        let (ip, mode, host) = (point.child("ip"), point.child("ipMode"), point.child("hostname"));
        if !ip.str().is_empty() {
            errors.all(&ip.path, ip.str(), names::ip(ip.str()));
        }
        match (mode.value.as_str(), ip.str().is_empty()) {
            (None, false) => errors.required(&mode.path, "must be specified when `ip` is set"),
            (Some(_), true) => errors.forbidden(&mode.path, "may not be specified when `ip` is not set"),
            (Some(text), false) if !matches!(text, "Proxy" | "VIP") => {
                errors.not_supported(&mode.path, text, &["Proxy", "VIP"]);
            }
            _ => {}
        }
        balancer_host(&mut errors, &host);
    }
    errors
}

/// Validates the name of a load balancer.
pub(super) fn balancer_host(errors: &mut ErrorList, host: &At<'_>) {
    if !host.str().is_empty() {
        errors.all(&host.path, host.str(), names::dns1123_subdomain(host.str()));
        if names::parse_ip(host.str()).is_some() {
            errors.invalid(&host.path, host.str(), "must be a DNS name, not an IP address");
        }
    }
}
