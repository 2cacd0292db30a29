//! What clients are warned of: deprecated fields and kinds, definitions that hide each other, names that make no hostname.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::workloads::pod_spec_path;
use crate::sim::field::{Path, go_quote};
use crate::sim::object::Fields;
use crate::sim::quantity::Quantity;
use crate::sim::validation::cursor::At;
use crate::sim::validation::names::{dns1123_label, parse_cidr, parse_ip};
use crate::sim::validation::pod::security::APPARMOR_ANNOTATION;
use crate::sim::validation::pod::visit_containers;

/// Returns what a client is warned of when it asks anything of a deprecated kind.
pub fn deprecation(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    match (group, version, kind) {
        ("", "v1", "Endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        ("", "v1", "ComponentStatus") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        _ => None,
    }
}

/// Returns what a client is warned of when it creates the object.
pub fn warnings_on_create(group: &str, version: &str, kind: &str, object: &Value) -> Vec<String> {
    let _ = version;
    let mut list = host_name(group, kind, object);
    list.extend(content(group, kind, object, &Value::Null));
    list
}

/// Returns what a client is warned of when it changes the object.
pub fn warnings_on_update(group: &str, version: &str, kind: &str, new: &Value, old: &Value) -> Vec<String> {
    let _ = version;
    // Workloads are looked at again only when their content has changed.
    let counted = matches!(group, "apps" | "batch") || kind == "ReplicationController";
    let generation = |object: &Value| object.at("metadata").int("generation");
    if counted && generation(new) == generation(old) {
        return Vec::new();
    }
    content(group, kind, new, old)
}

fn host_name(group: &str, kind: &str, object: &Value) -> Vec<String> {
    let what = match (group, kind) {
        ("", "Pod") => "the Pod's hostname",
        ("", "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet" | "DaemonSet")
        | ("batch", "Job" | "CronJob") => "Pod names and hostnames",
        _ => return Vec::new(),
    };
    let messages = dns1123_label(object.at("metadata").text("name"));
    if messages.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "metadata.name: this is used in {what}, which can result in surprising behavior; a DNS label is recommended: [{}]",
        messages.join(" ")
    )]
}

fn content(group: &str, kind: &str, object: &Value, old: &Value) -> Vec<String> {
    if let Some(path) = pod_spec_path(group, kind) {
        let holder = &path[..path.len() - 1];
        let at = holder.iter().fold(Path::new(""), |path, name| path.child(name));
        let holder = At::new(at, object.dig(holder));
        let mut list = pod(&holder, kind != "Pod");
        if (group, kind) == ("apps", "StatefulSet") {
            let policy = object.at("spec").at("revisionHistoryLimit").as_i64();
            if policy.is_some_and(|limit| limit < 0) {
                list.push(
                    "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                        .to_owned(),
                );
            }
        }
        return list;
    }
    match (group, kind) {
        ("", "Service") => service(object, old),
        ("", "ServiceAccount") => {
            let key = "kubernetes.io/enforce-mountable-secrets";
            let set = object.dig(&["metadata", "annotations"]).has(key);
            let before = old.dig(&["metadata", "annotations"]).has(key);
            if set && !before {
                vec![format!(
                    "metadata.annotations[{key}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
                )]
            } else {
                Vec::new()
            }
        }
        ("", "PersistentVolume") => persistent_volume(object),
        ("", "PersistentVolumeClaim") => storage_class(object, "annotations"),
        ("", "Node") => node(object),
        ("networking.k8s.io", "Ingress") => {
            let key = "kubernetes.io/ingress.class";
            if object.dig(&["metadata", "annotations"]).has(key) && !object.at("spec").has("ingressClassName")
            {
                vec![format!("annotation {key:?} is deprecated, please use 'spec.ingressClassName' instead")]
            } else {
                Vec::new()
            }
        }
        ("networking.k8s.io", "NetworkPolicy") => network_policy(object),
        ("storage.k8s.io", "StorageClass") => object
            .items("allowedTopologies")
            .iter()
            .enumerate()
            .flat_map(|(i, topology)| {
                topology.items("matchLabelExpressions").iter().enumerate().filter_map(move |(j, rule)| {
                    let word = node_label(rule.text("key"))?;
                    Some(format!(
                        "allowedTopologies[{i}].matchLabelExpressions[{j}].key: {} is {word}",
                        rule.text("key")
                    ))
                })
            })
            .collect(),
        ("node.k8s.io", "RuntimeClass") => object
            .at("scheduling")
            .entries("nodeSelector")
            .into_iter()
            .filter_map(|(key, _)| Some(format!("scheduling.nodeSelector[{key}]: {}", node_label(key)?)))
            .collect(),
        _ => Vec::new(),
    }
}

/// Returns what is said of a label of nodes that has another name by now.
fn node_label(key: &str) -> Option<String> {
    let instead = match key {
        "beta.kubernetes.io/arch" => ("v1.14", "kubernetes.io/arch"),
        "beta.kubernetes.io/os" => ("v1.14", "kubernetes.io/os"),
        "beta.kubernetes.io/instance-type" => ("v1.17", "node.kubernetes.io/instance-type"),
        "failure-domain.beta.kubernetes.io/zone" => ("v1.17", "topology.kubernetes.io/zone"),
        "failure-domain.beta.kubernetes.io/region" => ("v1.17", "topology.kubernetes.io/region"),
        _ => return None,
    };
    Some(format!("deprecated since {}; use {:?} instead", instead.0, instead.1))
}

/// Returns the warnings of a Pod or a template; `holder` is what has `metadata` and `spec`.
fn pod(holder: &At<'_>, is_template: bool) -> Vec<String> {
    let mut list = Vec::new();
    let spec = holder.child("spec");
    let annotations = holder.child("metadata").child("annotations");
    for (key, value) in spec.child("nodeSelector").entries() {
        if let Some(word) = node_label(key) {
            list.push(format!("{}: {word}", value.path));
        }
    }
    node_affinity(&mut list, &spec.child("affinity").child("nodeAffinity"));
    for constraint in spec.child("topologySpreadConstraints").items() {
        let key = constraint.child("topologyKey");
        if let Some(word) = node_label(key.str()) {
            list.push(format!("{}: {} is {word}", key.path, key.str()));
        }
        no_selector(&mut list, &constraint);
    }
    for (key, message) in [
        (
            "scheduler.alpha.kubernetes.io/critical-pod",
            "non-functional in v1.16+; use the \"priorityClassName\" field instead",
        ),
        (
            "security.alpha.kubernetes.io/sysctls",
            "non-functional in v1.11+; use the \"sysctls\" field instead",
        ),
        (
            "security.alpha.kubernetes.io/unsafe-sysctls",
            "non-functional in v1.11+; use the \"sysctls\" field instead",
        ),
    ] {
        if annotations.value.has(key) {
            list.push(format!("{}: {message}", annotations.path.key(key)));
        }
    }
    volumes(&mut list, &spec.child("volumes"));
    repeated(&mut list, &spec.child("hostAliases"), "ip");
    repeated(&mut list, &spec.child("imagePullSecrets"), "name");
    for secret in spec.child("imagePullSecrets").items().filter(|s| s.value.text("name").is_empty()) {
        list.push(format!("{}: invalid empty name \"\"", secret.path.child("name")));
    }
    fractions(&mut list, &spec.child("overhead"));
    let seccomp = "seccomp.security.alpha.kubernetes.io/pod";
    if annotations.value.has(seccomp) && !spec.value.at("securityContext").has("seccompProfile") {
        list.push(seccomp_gone(&annotations.path.key(seccomp)));
    }
    let pod_wide = spec.value.at("securityContext").has("appArmorProfile");
    for container in visit_containers(&spec) {
        let name = container.value.text("name");
        let context = container.value.at("securityContext");
        let key = format!("container.seccomp.security.alpha.kubernetes.io/{name}");
        if annotations.value.has(&key) && !context.has("seccompProfile") {
            list.push(seccomp_gone(&annotations.path.key(&key)));
        }
        let key = format!("{APPARMOR_ANNOTATION}{name}");
        // The annotation of a Pod has been copied to the field by now; it is told of all the same.
        let own_field = pod_wide || context.has("appArmorProfile");
        if annotations.value.has(&key) && (!is_template || !own_field) {
            list.push(format!(
                "{}: deprecated since v1.30; use the \"appArmorProfile\" field instead",
                annotations.path.key(&key)
            ));
        }
        for which in ["limits", "requests"] {
            fractions(&mut list, &container.child("resources").child(which));
        }
        hidden_variables(&mut list, &container.child("env"));
    }
    ports(&mut list, &spec);
    let grace = spec.child("terminationGracePeriodSeconds");
    if grace.number() < 0 {
        list.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            grace.path
        ));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let affinity = spec.child("affinity").child(kind);
        for term in affinity.child("requiredDuringSchedulingIgnoredDuringExecution").items() {
            no_selector(&mut list, &term);
        }
        for term in affinity.child("preferredDuringSchedulingIgnoredDuringExecution").items() {
            no_selector(&mut list, &term.child("podAffinityTerm"));
        }
    }
    list
}

fn seccomp_gone(path: &Path) -> String {
    format!("{path}: non-functional in v1.27+; use the \"seccompProfile\" field instead")
}

fn no_selector(list: &mut Vec<String>, term: &At<'_>) {
    let selector = term.child("labelSelector");
    if selector.is_null() {
        list.push(format!("{}: a null labelSelector results in matching no pod", selector.path));
    }
}

fn node_affinity(list: &mut Vec<String>, at: &At<'_>) {
    let required = at.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
    let preferred = at.child("preferredDuringSchedulingIgnoredDuringExecution");
    let terms = required.items().chain(preferred.items().map(|term| term.child("preference")));
    for rule in terms.flat_map(|term| term.child("matchExpressions").items().collect::<Vec<_>>()) {
        let key = rule.child("key");
        if let Some(word) = node_label(key.str()) {
            list.push(format!("{}: {} is {word}", key.path, key.str()));
        }
    }
}

fn volumes(list: &mut Vec<String>, at: &At<'_>) {
    let gone = [
        ("photonPersistentDisk", "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
        ("gitRepo", "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
        ("scaleIO", "scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
        ("flocker", "flocker", "deprecated in v1.22, non-functional in v1.25+"),
        ("storageos", "storageOS", "deprecated in v1.22, non-functional in v1.25+"),
        ("quobyte", "quobyte", "deprecated in v1.22, non-functional in v1.25+"),
        ("glusterfs", "glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
        ("cephfs", "cephfs", "deprecated in v1.28, non-functional in v1.31+"),
        ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
    ];
    for volume in at.items() {
        for (name, shown, message) in gone {
            if volume.value.has(name) {
                list.push(format!("{}: {message}", volume.path.child(shown)));
            }
        }
    }
    let tokens: BTreeSet<String> = at
        .items()
        .flat_map(|volume| projected(&volume).items().collect::<Vec<_>>())
        .filter(|source| source.value.has("serviceAccountToken"))
        .map(|source| source.value.at("serviceAccountToken").text("path").to_owned())
        .collect();
    for volume in at.items() {
        for source in projected(&volume).items() {
            for (name, shown) in
                [("configMap", "configMap"), ("secret", "secrets"), ("downwardAPI", "downwardAPI")]
            {
                for (index, item) in source.value.at(name).items("items").iter().enumerate() {
                    let path = item.text("path");
                    if tokens.contains(path) {
                        let place = volume.path.child("projected").child("sources").child(shown).index(index);
                        list.push(format!(
                            "{place}: has duplicated path with ServiceAccountToken {}",
                            go_quote(path)
                        ));
                    }
                }
            }
        }
    }
}

fn projected<'a>(volume: &At<'a>) -> At<'a> {
    volume.child("projected").child("sources")
}

fn repeated(list: &mut Vec<String>, at: &At<'_>, field: &str) {
    let mut seen = BTreeSet::new();
    for item in at.items() {
        let text = item.value.text(field).to_owned();
        if !seen.insert(text.clone()) {
            list.push(format!("{}: duplicate {field} {}", item.path.child(field), go_quote(&text)));
        }
    }
}

fn fractions(list: &mut Vec<String>, at: &At<'_>) {
    for name in ["memory", "ephemeral-storage"] {
        let amount = Quantity::of(at.value.at(name));
        if amount.milli_value() % 1000 != 0 {
            list.push(format!(
                "{}: fractional byte value \"{amount}\" is invalid, must be an integer",
                at.path.key(name)
            ));
        }
    }
}

fn hidden_variables(list: &mut Vec<String>, at: &At<'_>) {
    let mut seen = BTreeSet::new();
    for variable in at.items() {
        let name = variable.value.text("name");
        if seen.insert(name.to_owned()) {
            continue;
        }
        let (value, reference) = (variable.value.text("value"), format!("$({name})"));
        if variable.value.has("valueFrom") || value == reference || !value.contains(&reference) {
            list.push(format!(
                "{}: hides previous definition of {}, which may be dropped when using apply",
                variable.path,
                go_quote(name)
            ));
        }
    }
}

fn ports(list: &mut Vec<String>, spec: &At<'_>) {
    let mut all: BTreeMap<(i64, String), Vec<At<'_>>> = BTreeMap::new();
    for port in visit_containers(spec).flat_map(|c| c.child("ports").items().collect::<Vec<_>>()) {
        let host = |port: &At<'_>| {
            (port.value.text("hostIP").to_owned(), port.value.int("hostPort").unwrap_or_default())
        };
        let (ip, number) = host(&port);
        if !ip.is_empty() && number == 0 {
            list.push(format!(
                "{}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{ip}}}",
                port.path,
                port.value.text("name"),
                port.value.int("containerPort").unwrap_or_default(),
                port.value.text("protocol"),
            ));
        }
        let key =
            (port.value.int("containerPort").unwrap_or_default(), port.value.text("protocol").to_owned());
        let others = all.entry(key).or_default();
        for other in others.iter() {
            let (other_ip, other_number) = host(other);
            let what = if ip == other_ip && number == other_number {
                "duplicate"
            } else if number == 0 || other_number == 0 {
                "overlapping"
            } else if number == other_number && ip.is_empty() != other_ip.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            list.push(format!("{}: {what} port definition with {}", port.path, other.path));
        }
        others.push(port);
    }
}

fn service(object: &Value, old: &Value) -> Vec<String> {
    let mut list = Vec::new();
    let spec = At::field(object, "spec");
    let (key, gone) = ("service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints");
    if object.dig(&["metadata", "annotations"]).has(gone) {
        list.push(format!("annotation {gone} is deprecated, please use {key} instead"));
    }
    if object.at("spec").texts("clusterIPs") == ["None"] {
        for field in ["loadBalancerIP", "externalIPs"] {
            if !spec.child(field).is_empty() {
                list.push(format!("spec.{field} is ignored for headless services"));
            }
        }
        if !matches!(spec.value.text("sessionAffinity"), "" | "None") {
            list.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    }
    let same = |field: &str| spec.value.at(field) == old.at("spec").at(field) && !old.is_null();
    for field in ["clusterIPs", "externalIPs"] {
        if !same(field) {
            for ip in spec.child(field).items() {
                list.extend(ip_warnings(&ip.path, ip.str()));
            }
        }
    }
    if !same("loadBalancerIP") {
        list.extend(ip_warnings(&spec.path.child("loadBalancerIP"), spec.value.text("loadBalancerIP")));
    }
    if !same("loadBalancerSourceRanges") {
        for range in spec.child("loadBalancerSourceRanges").items() {
            list.extend(cidr_warnings(&range.path, range.str()));
        }
    }
    let named = spec.value.text("type") == "ExternalName";
    if named && !spec.child("externalIPs").is_empty() {
        list.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if !named && !spec.child("externalName").is_empty() {
        list.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    list
}

/// Warns of addresses in a form that will not be accepted for ever.
fn ip_warnings(path: &Path, text: &str) -> Vec<String> {
    let Some(ip) = parse_ip(text) else { return Vec::new() };
    let canonical = ip.to_string();
    if canonical == text {
        Vec::new()
    } else if ip.is_ipv6() {
        vec![format!("{path}: IPv6 address {text:?} should be in RFC 5952 canonical format ({canonical:?})")]
    } else {
        vec![format!(
            "{path}: non-standard IP address {text:?} will be considered invalid in a future Kubernetes release: use {canonical:?}"
        )]
    }
}

fn cidr_warnings(path: &Path, text: &str) -> Vec<String> {
    let Some(cidr) = parse_cidr(text) else { return Vec::new() };
    let mut list = Vec::new();
    let network = cidr.trunc();
    if cidr.addr() != network.addr() {
        list.push(format!(
            "{path}: CIDR value {text:?} is ambiguous in this context (should be \"{network}\" or \"{}/{}\"?)",
            cidr.addr(),
            cidr.max_prefix_len()
        ));
    }
    let address = text.split('/').next().unwrap_or_default();
    if address != cidr.addr().to_string() {
        list.push(if cidr.addr().is_ipv6() {
            format!("{path}: IPv6 CIDR value {text:?} should be in RFC 5952 canonical format (\"{network}\")")
        } else {
            format!(
                "{path}: non-standard CIDR value {text:?} will be considered invalid in a future Kubernetes release: use \"{network}\""
            )
        });
    }
    list
}

fn network_policy(object: &Value) -> Vec<String> {
    let spec = At::field(object, "spec");
    let mut list = Vec::new();
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        for peer in spec.child(rules).items().flat_map(|rule| rule.child(peers).items().collect::<Vec<_>>()) {
            let block = peer.child("ipBlock");
            let cidr = block.child("cidr");
            list.extend(cidr_warnings(&cidr.path, cidr.str()));
            for except in block.child("except").items() {
                list.extend(cidr_warnings(&except.path, except.str()));
            }
        }
    }
    list
}

const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

fn storage_class(object: &Value, _at: &str) -> Vec<String> {
    let mut list = Vec::new();
    if object.dig(&["metadata", "annotations"]).has(BETA_CLASS) {
        list.push(format!(
            "metadata.annotations[{BETA_CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        ));
    }
    let requests = At::field(object, "spec").child("resources").child("requests");
    let amount = Quantity::of(requests.value.at("storage"));
    if amount.milli_value() % 1000 != 0 {
        list.push(format!(
            "{}: fractional byte value \"{amount}\" is invalid, must be an integer",
            requests.path.key("storage")
        ));
    }
    list
}

fn persistent_volume(object: &Value) -> Vec<String> {
    let mut list = Vec::new();
    let spec = At::field(object, "spec");
    if object.dig(&["metadata", "annotations"]).has(BETA_CLASS) {
        list.push(format!(
            "metadata.annotations[{BETA_CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        ));
    }
    if object.dig(&["metadata", "annotations"]).has("volume.beta.kubernetes.io/mount-options") {
        list.push(
            "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use \"mountOptions\" attribute instead"
                .to_owned(),
        );
    }
    if spec.value.text("persistentVolumeReclaimPolicy") == "Recycle" {
        list.push(
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning."
                .to_owned(),
        );
    }
    let terms = spec.child("nodeAffinity").child("required").child("nodeSelectorTerms");
    for rule in terms.items().flat_map(|term| term.child("matchExpressions").items().collect::<Vec<_>>()) {
        if let Some(word) = node_label(rule.value.text("key")) {
            list.push(format!("{}: {} is {word}", rule.path.child("key"), rule.value.text("key")));
        }
    }
    list
}

fn node(object: &Value) -> Vec<String> {
    let mut list = Vec::new();
    if object.at("spec").has("configSource") {
        list.push("spec.configSource: the feature is no longer supported".to_owned());
    }
    if !object.at("spec").text("externalID").is_empty() {
        list.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned());
    }
    list
}
