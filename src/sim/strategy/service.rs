//! Services: addresses and ports that the cluster gives out, and fields that go with the type.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::sim::field::{ErrorList, FieldError, Path};
use crate::sim::object::{Fields, copy, field_at, is_empty, items_mut, remove, set};
use crate::sim::random;
use crate::sim::status::Status;
use crate::sim::validation::names::parse_ip;
use crate::sim::validation::service::{cluster_ips, is_external, is_headless, needs_health_check};

const DEFAULT_RANGE: &str = "10.96.0.0/16";
const NODE_PORTS: std::ops::RangeInclusive<u16> = 30000..=32767;
/// The first ports and addresses are left to those who ask for certain ones.
const RESERVED_PORTS: u16 = 86;

/// What of the cluster's addresses and ports other Services hold.
#[derive(Debug, Clone)]
pub struct Taken {
    ranges: Vec<IpNet>,
    ips: BTreeSet<IpAddr>,
    ports: BTreeSet<(String, u16)>,
}

impl Taken {
    /// Collects what Services hold, out of the ranges from which addresses are given: kubeadm's where there are none.
    pub fn by<'a>(services: impl Iterator<Item = &'a Value>, ranges: &[String]) -> Self {
        let mut ranges: Vec<IpNet> = ranges.iter().filter_map(|range| range.parse().ok()).collect();
        if ranges.is_empty() {
            ranges.extend(DEFAULT_RANGE.parse::<IpNet>());
        }
        let mut taken = Self { ranges, ips: BTreeSet::new(), ports: BTreeSet::new() };
        for service in services {
            let spec = service.at("spec");
            taken.ips.extend(spec.texts("clusterIPs").into_iter().filter_map(parse_ip));
            for port in spec.items("ports") {
                taken.hold_port(port.text("protocol"), port.int("nodePort").unwrap_or_default());
            }
            taken.hold_port("TCP", spec.int("healthCheckNodePort").unwrap_or_default());
        }
        taken
    }

    fn hold_port(&mut self, protocol: &str, port: i64) {
        if let Ok(port) = u16::try_from(port)
            && port != 0
        {
            self.ports.insert((protocol.to_owned(), port));
        }
    }

    fn range(&self, v6: bool) -> Option<IpNet> {
        self.ranges.iter().copied().find(|range| matches!(range, IpNet::V6(_)) == v6)
    }

    fn ask_port(&mut self, protocol: &str, port: i64) -> Result<(), String> {
        let number = u16::try_from(port).ok().filter(|port| NODE_PORTS.contains(port)).ok_or_else(|| {
            "provided port is not in the valid range. The range of valid ports is 30000-32767".to_owned()
        })?;
        if !self.ports.insert((protocol.to_owned(), number)) {
            return Err("provided port is already allocated".to_owned());
        }
        Ok(())
    }

    fn give_port(&mut self, protocol: &str) -> Option<u16> {
        let (low, high) = (*NODE_PORTS.start(), *NODE_PORTS.end());
        let free = |from: u16, to: u16, ports: &BTreeSet<(String, u16)>| {
            let count = to - from + 1;
            let start = u16::from_be_bytes(random::bytes::<2>()) % count;
            (0..count)
                .map(|step| from + (start + step) % count)
                .find(|port| !ports.contains(&(protocol.to_owned(), *port)))
        };
        let port = free(low + RESERVED_PORTS, high, &self.ports)
            .or_else(|| free(low, low + RESERVED_PORTS - 1, &self.ports))?;
        self.ports.insert((protocol.to_owned(), port));
        Some(port)
    }

    fn ask_ip(&mut self, ip: IpAddr) -> Result<(), &'static str> {
        if !self.ranges.iter().any(|range| range.contains(&ip)) {
            return Err("the provided network does not match the current range");
        }
        if !self.ips.insert(ip) {
            return Err("provided IP is already allocated");
        }
        Ok(())
    }

    fn give_ip(&mut self, v6: bool) -> Option<IpAddr> {
        let range = self.range(v6)?;
        let bits = u32::from(range.max_prefix_len() - range.prefix_len()).min(20);
        let size = 1_u128 << bits;
        // The address of the network is none of a host, nor is IPv4's last.
        let last = if v6 { size } else { size - 1 };
        let reserved = (size / 16).clamp(16, 256).min(last - 1);
        let base = match range.network() {
            IpAddr::V4(ip) => u128::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip),
        };
        let address = |offset: u128| match range {
            IpNet::V4(_) => {
                IpAddr::V4(std::net::Ipv4Addr::from(u32::try_from(base + offset).unwrap_or_default()))
            }
            IpNet::V6(_) => IpAddr::V6(std::net::Ipv6Addr::from(base + offset)),
        };
        let pick = |from: u128, to: u128, ips: &BTreeSet<IpAddr>| {
            let count = to.checked_sub(from).filter(|count| *count > 0)?;
            let start = u128::from(u64::from_be_bytes(random::bytes::<8>())) % count;
            (0..count).map(|step| address(from + (start + step) % count)).find(|ip| !ips.contains(ip))
        };
        let ip = pick(reserved, last, &self.ips).or_else(|| pick(1, reserved, &self.ips))?;
        self.ips.insert(ip);
        Some(ip)
    }
}

/// Fills in what linked fields imply, before anything is allocated.
fn normalize(new: &mut Value, old: Option<&Value>) {
    let spec = field_at(new, "spec");
    let ip = spec.text("clusterIP").to_owned();
    let Some(old) = old.map(|old| old.at("spec")) else {
        if !ip.is_empty() && spec.items("clusterIPs").is_empty() {
            set(spec, "clusterIPs", json!([ip]));
        }
        return;
    };
    if old.text("clusterIP") == ip {
        if spec.items("clusterIPs").is_empty() {
            copy(spec, old, "clusterIPs");
        }
    } else if spec.at("clusterIPs") == old.at("clusterIPs") {
        if ip.is_empty() {
            remove(spec, "clusterIPs");
        } else {
            set(spec, "clusterIPs", json!([ip]));
        }
    }
}

fn needs_node_port(spec: &Value) -> bool {
    match spec.text("type") {
        "NodePort" => true,
        "LoadBalancer" => spec.truth("allocateLoadBalancerNodePorts") != Some(false),
        _ => false,
    }
}

fn needs_cluster_ip(spec: &Value) -> bool {
    matches!(spec.text("type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// Keeps what was allocated where the new object says nothing of it.
fn keep_allocated(new: &mut Value, old: &Value) {
    let (health, had_health) = (needs_health_check(new), needs_health_check(old));
    let before = old.at("spec");
    let spec = field_at(new, "spec");
    if needs_cluster_ip(before) && needs_cluster_ip(spec) {
        if is_empty(spec.at("clusterIP")) {
            copy(spec, before, "clusterIP");
        }
        if spec.items("clusterIPs").is_empty() && spec.at("clusterIP") == before.at("clusterIP") {
            copy(spec, before, "clusterIPs");
        }
    }
    let ported = |spec: &Value| matches!(spec.text("type"), "NodePort" | "LoadBalancer");
    if ported(before) && ported(spec) {
        let known: BTreeMap<(String, i64), i64> = before
            .items("ports")
            .iter()
            .map(|port| {
                let key = (port.text("protocol").to_owned(), port.int("port").unwrap_or_default());
                (key, port.int("nodePort").unwrap_or_default())
            })
            .collect();
        let mut used: BTreeSet<i64> =
            spec.items("ports").iter().filter_map(|port| port.int("nodePort")).collect();
        for port in items_mut(spec, "ports") {
            let key = (port.text("protocol").to_owned(), port.int("port").unwrap_or_default());
            if port.int("nodePort").unwrap_or_default() == 0
                && let Some(number) = known.get(&key).filter(|number| **number != 0)
                && used.insert(*number)
            {
                set(port, "nodePort", *number);
            }
        }
    }
    if health && had_health && spec.int("healthCheckNodePort").unwrap_or_default() == 0 {
        copy(spec, before, "healthCheckNodePort");
    }
}

pub(super) fn prepare_create(object: &mut Value) {
    normalize(object, None);
    if object.at("spec").text("type") != "ExternalName" {}
}

/// Takes away fields that belonged to the type that the Service had, unless they were set anew.
pub(super) fn prepare_update(new: &mut Value, old: &Value) {
    normalize(new, Some(old));
    keep_allocated(new, old);
    let before = old.at("spec").clone();
    let external = is_external(new);
    let health = needs_health_check(new);
    let had_health = needs_health_check(old);
    let spec = field_at(new, "spec");
    if needs_cluster_ip(&before) && !needs_cluster_ip(spec) {
        let same = ["clusterIP", "clusterIPs"].iter().all(|field| spec.at(field) == before.at(field));
        if same {
            remove(spec, "clusterIP");
            remove(spec, "clusterIPs");
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if spec.at(field) == before.at(field) {
                remove(spec, field);
            }
        }
    }
    let ported = |spec: &Value| matches!(spec.text("type"), "NodePort" | "LoadBalancer");
    if ported(&before) && !ported(spec) {
        let numbers = |spec: &Value| -> Vec<(String, i64, i64)> {
            let number = |port: &Value, field: &str| port.int(field).unwrap_or_default();
            spec.items("ports")
                .iter()
                .map(|port| {
                    (port.text("protocol").to_owned(), number(port, "port"), number(port, "nodePort"))
                })
                .collect()
        };
        let was = numbers(&before);
        for port in items_mut(spec, "ports") {
            let number = port.int("nodePort").unwrap_or_default();
            if was.iter().any(|(_, _, node)| *node == number) {
                remove(port, "nodePort");
            }
        }
    }
    if had_health && !health && spec.at("healthCheckNodePort") == before.at("healthCheckNodePort") {
        remove(spec, "healthCheckNodePort");
    }
    if before.text("type") == "LoadBalancer" && spec.text("type") != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if spec.at(field) == before.at(field) {
                remove(spec, field);
            }
        }
    }
    if is_external(old) && !external && spec.at("externalTrafficPolicy") == before.at("externalTrafficPolicy")
    {
        remove(spec, "externalTrafficPolicy");
    }
    if new.at("spec").text("type") == "ExternalName" && before.text("type") != "ExternalName" {
        // Nothing balances the load of a name.
        set(field_at(new, "status"), "loadBalancer", json!({}));
    }
}

/// Gives a Service the addresses and ports that it needs, before it is validated: upstream allocates first.
///
/// # Errors
/// When what is asked for is taken, outside the ranges or at odds with itself.
pub fn allocate(new: &mut Value, old: Option<&Value>, mut taken: Taken) -> Result<(), Status> {
    normalize(new, old);
    if let Some(old) = old {
        prepare_update(new, old);
    }
    families(new, old, &taken)?;
    ips(new, &mut taken)?;
    node_ports(new, &mut taken)
}

fn refuse(service: &Value, errors: &ErrorList) -> Status {
    Status::invalid("", "Service", service.at("metadata").text("name"), errors)
}

/// Decides on address families: one, unless more is asked for and the cluster has them.
fn families(new: &mut Value, old: Option<&Value>, taken: &Taken) -> Result<(), Status> {
    if new.at("spec").text("type") == "ExternalName" {
        return Ok(());
    }
    let headless_alone = is_headless(new) && is_empty(new.at("spec").at("selector"));
    if is_empty(new.at("spec").at("ipFamilyPolicy")) {
        let earlier = old.map_or("", |old| old.at("spec").text("ipFamilyPolicy"));
        let policy = match earlier {
            "" if headless_alone => "RequireDualStack",
            "" => "SingleStack",
            earlier => earlier,
        };
        set(field_at(new, "spec"), "ipFamilyPolicy", policy);
    }
    let errors = cluster_ips(new);
    if !errors.is_empty() {
        return Err(refuse(new, &errors));
    }
    let mut errors = ErrorList::new();
    let path = Path::new("spec");
    let spec = new.at("spec");
    let policy = spec.text("ipFamilyPolicy").to_owned();
    if policy == "SingleStack" {
        for (list, what) in [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")] {
            if spec.items(list).len() == 2 {
                errors.push(FieldError::invalid(
                    &path.child("ipFamilyPolicy"),
                    policy.clone(),
                    format!(
                        "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                    ),
                ));
            }
        }
    }
    let mut families: Vec<String> = spec.texts("ipFamilies").iter().map(ToString::to_string).collect();
    for (index, ip) in spec.texts("clusterIPs").into_iter().enumerate() {
        let Some(ip) = parse_ip(ip) else { break };
        if index < families.len() {
            continue;
        }
        let family = if ip.is_ipv6() { "IPv6" } else { "IPv4" };
        if taken.range(ip.is_ipv6()).is_some() {
            families.push(family.to_owned());
        } else {
            errors.push(FieldError::invalid(
                &path.child("clusterIPs").index(index),
                spec.at("clusterIPs").clone(),
                format!("{family} is not configured on this cluster"),
            ));
        }
    }
    if !errors.is_empty() {
        return Err(refuse(new, &errors));
    }
    let other = |family: &str| if family == "IPv4" { "IPv6" } else { "IPv4" }.to_owned();
    let first = if taken.range(false).is_some() { "IPv4" } else { "IPv6" };
    if headless_alone {
        if families.is_empty() {
            families.push(first.to_owned());
        }
        if families.len() < 2 && policy != "SingleStack" {
            families.push(other(&families[0]));
        }
        set(field_at(new, "spec"), "ipFamilies", families);
        return Ok(());
    }
    let both = taken.range(false).is_some() && taken.range(true).is_some();
    if policy == "RequireDualStack" && !both {
        errors.push(FieldError::invalid(
            &path.child("ipFamilyPolicy"),
            policy.clone(),
            "this cluster is not configured for dual-stack services",
        ));
    }
    for (index, family) in families.iter().enumerate() {
        if taken.range(family == "IPv6").is_none() {
            errors.push(FieldError::invalid(
                &path.child("ipFamilies").index(index),
                family.clone(),
                "not configured on this cluster",
            ));
        }
    }
    if !errors.is_empty() {
        return Err(refuse(new, &errors));
    }
    if families.is_empty() {
        families.push(first.to_owned());
    }
    if policy != "SingleStack" && families.len() == 1 && both {
        families.push(other(&families[0]));
    }
    set(field_at(new, "spec"), "ipFamilies", families);
    Ok(())
}

fn ips(new: &mut Value, taken: &mut Taken) -> Result<(), Status> {
    if !needs_cluster_ip(new.at("spec")) || is_headless(new) {
        return Ok(());
    }
    let spec = new.at("spec");
    let asked = spec.texts("clusterIPs");
    let mut given: Vec<String> = Vec::new();
    for (index, family) in spec.texts("ipFamilies").into_iter().enumerate() {
        let ip = match asked.get(index).copied().unwrap_or_default() {
            "" => taken
                .give_ip(family == "IPv6")
                .ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))?,
            text => {
                let Some(ip) = parse_ip(text) else { continue };
                if let Err(why) = taken.ask_ip(ip) {
                    let error = FieldError::invalid(
                        &Path::new("spec").child("clusterIPs"),
                        spec.at("clusterIPs").clone(),
                        format!("failed to allocate IP {text}: {why}"),
                    );
                    return Err(refuse(new, &vec![error]));
                }
                ip
            }
        };
        given.push(ip.to_string());
    }
    let spec = field_at(new, "spec");
    if let Some(first) = given.first() {
        set(spec, "clusterIP", first.clone());
        set(spec, "clusterIPs", given);
    }
    Ok(())
}

fn node_ports(new: &mut Value, taken: &mut Taken) -> Result<(), Status> {
    let full = || Status::internal("failed to allocate a nodePort: range is full");
    if matches!(new.at("spec").text("type"), "NodePort" | "LoadBalancer") {
        let allocates = needs_node_port(new.at("spec"));
        let ports = new.at("spec").items("ports").to_vec();
        let number = |port: &Value, field: &str| port.int(field).unwrap_or_default();
        let mut by_port: BTreeMap<i64, i64> = BTreeMap::new();
        for (index, port) in ports.iter().enumerate() {
            let (own, protocol) = (number(port, "port"), port.text("protocol"));
            let mut node = number(port, "nodePort");
            if node == 0 && !allocates {
                continue;
            }
            if node == 0 {
                // The same port of another protocol gets the same number.
                let wanted = by_port.get(&own).copied().or_else(|| {
                    ports
                        .iter()
                        .find(|p| number(p, "port") == own && number(p, "nodePort") != 0)
                        .map(|p| number(p, "nodePort"))
                });
                node = match wanted {
                    Some(node) => node,
                    None => i64::from(taken.give_port(protocol).ok_or_else(full)?),
                };
                if wanted.is_some() {
                    taken.hold_port(protocol, node);
                }
            } else if let Err(why) = taken.ask_port(protocol, node) {
                let path = Path::new("spec").child("ports").index(index).child("nodePort");
                return Err(refuse(new, &vec![FieldError::invalid(&path, node, why)]));
            }
            by_port.entry(own).or_insert(node);
            if let Some(port) = items_mut(field_at(new, "spec"), "ports").nth(index) {
                set(port, "nodePort", node);
            }
        }
    }
    if needs_health_check(new) {
        let asked = new.at("spec").int("healthCheckNodePort").unwrap_or_default();
        if asked == 0 {
            let port = taken.give_port("TCP").ok_or_else(full)?;
            set(field_at(new, "spec"), "healthCheckNodePort", port);
        } else if let Err(why) = taken.ask_port("TCP", asked) {
            return Err(Status::internal(format!(
                "failed to allocate requested HealthCheck NodePort {asked}: {why}"
            )));
        }
    }
    Ok(())
}
