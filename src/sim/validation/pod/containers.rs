//! Containers: names, images, ports, environment, mounts, probes, lifecycle; and what init and ephemeral ones may not have.

use std::collections::BTreeSet;

use serde_json::Value;

use super::security;
use super::volumes::{Volumes, climbs, relative};
use crate::sim::field::{ErrorList, FieldError};
use crate::sim::object::{Fields, is_empty};
use crate::sim::quantity::Quantity;
use crate::sim::validation::cursor::{At, Faults};
use crate::sim::validation::names;
use crate::sim::validation::resources;

/// What rules for containers need of the Pod around them.
pub(super) struct PodFacts<'a> {
    pub(super) volumes: Volumes<'a>,
    pub(super) claims: Vec<&'a str>,
    pub(super) grace: Option<i64>,
    pub(super) restart_policy: &'a str,
    pub(super) host_users: bool,
}

pub(super) fn regular(errors: &mut ErrorList, at: &At<'_>, pod: &PodFacts<'_>) {
    if at.is_empty() {
        errors.required(&at.path, "");
        return;
    }
    let mut seen = BTreeSet::new();
    for container in at.items() {
        any(errors, &container, pod);
        let name = container.child("name");
        if !seen.insert(name.str()) {
            errors.duplicate(&name.path, name.str());
        }
        lifecycle_and_probes(errors, &container, pod);
        let restart = container.child("restartPolicy");
        if restart.present() {
            errors.forbidden(&restart.path, "may not be set for non-init containers");
        }
    }
    host_ports(errors, at.items());
}

pub(super) fn init(errors: &mut ErrorList, at: &At<'_>, regular: &At<'_>, pod: &PodFacts<'_>) {
    let mut seen: BTreeSet<&str> = regular.items().map(|container| container.value.text("name")).collect();
    for container in at.items() {
        any(errors, &container, pod);
        let restart = container.child("restartPolicy");
        if restart.present() && restart.str() != "Always" {
            errors.not_supported(&restart.path, restart.str(), &["Always"]);
        }
        let name = container.child("name");
        if seen.contains(name.str()) {
            errors.duplicate(&name.path, name.str());
        } else if !name.str().is_empty() {
            seen.insert(name.str());
        }
        // Init containers run one by one, so each is checked alone; upstream tells it at the first place of the list.
        host_ports(errors, std::iter::once(At::new(at.path.index(0), container.value)));
        if restart.str() == "Always" {
            lifecycle_and_probes(errors, &container, pod);
        } else {
            for name in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if container.value.has(name) {
                    errors.forbidden(
                        &container.path.child(name),
                        "may not be set for init containers without restartPolicy=Always",
                    );
                }
            }
        }
    }
}

const EPHEMERAL_FORBIDDEN: [&str; 8] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

pub(super) fn ephemeral(errors: &mut ErrorList, at: &At<'_>, spec: &At<'_>, pod: &PodFacts<'_>) {
    const NOT_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";
    let others: BTreeSet<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| spec.value.items(list))
        .map(|container| container.text("name"))
        .collect();
    let mut seen = others.clone();
    for container in at.items() {
        any(errors, &container, pod);
        trimmed_image(errors, &container);
        let name = container.child("name");
        if !seen.insert(name.str()) {
            errors.duplicate(&name.path, name.str());
        }
        let target = container.child("targetContainerName");
        if !target.str().is_empty() && !others.contains(target.str()) {
            errors.not_found(&target.path, target.str());
        }
        for name in EPHEMERAL_FORBIDDEN {
            if !is_empty(container.value.at(name)) {
                errors.forbidden(&container.path.child(name), NOT_EPHEMERAL);
            }
        }
        for mount in container.child("volumeMounts").items() {
            for name in ["subPath", "subPathExpr"] {
                if !mount.value.text(name).is_empty() {
                    errors.forbidden(&mount.path.child(name), NOT_EPHEMERAL);
                }
            }
        }
    }
}

/// Validates that an image's name has no space around it, as it may have in templates only.
pub(super) fn trimmed_image(errors: &mut ErrorList, container: &At<'_>) {
    let image = container.child("image");
    if image.str().trim() != image.str() {
        errors.invalid(&image.path, image.str(), "must not have leading or trailing whitespace");
    }
}

/// Validates what holds for containers of all sorts.
fn any(errors: &mut ErrorList, at: &At<'_>, pod: &PodFacts<'_>) {
    let name = at.child("name");
    if name.str().is_empty() {
        errors.required(&name.path, "");
    } else {
        errors.all(&name.path, name.str(), names::dns1123_label(name.str()));
    }
    let image = at.child("image");
    if image.str().is_empty() {
        errors.required(&image.path, "");
    }
    let policy = at.child("terminationMessagePolicy");
    match policy.str() {
        "File" | "FallbackToLogsOnError" => {}
        "" => errors.required(&policy.path, ""),
        other => errors.not_supported(&policy.path, other, &["File", "FallbackToLogsOnError"]),
    }
    ports(errors, &at.child("ports"));
    env(errors, &at.child("env"));
    env_from(errors, &at.child("envFrom"));
    mounts(errors, at, pod);
    devices(errors, at, pod);
    pull_policy(errors, &at.child("imagePullPolicy"));
    resources::container(errors, &at.child("resources"), &pod.claims);
    resize_policy(errors, &at.child("resizePolicy"), pod.restart_policy);
    security::container(errors, &at.child("securityContext"), pod.host_users);
}

/// The protocols in the order in which Go sorts them.
pub(crate) const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

fn ports(errors: &mut ErrorList, at: &At<'_>) {
    let mut seen = BTreeSet::new();
    for port in at.items() {
        let name = port.child("name");
        if !name.str().is_empty() {
            let messages = names::port_name(name.str());
            if !messages.is_empty() {
                errors.all(&name.path, name.str(), messages);
            } else if !seen.insert(name.str()) {
                errors.duplicate(&name.path, name.str());
            }
        }
        let number = port.child("containerPort");
        if number.number() == 0 {
            errors.required(&number.path, "");
        } else {
            port_number(errors, &number);
        }
        let host = port.child("hostPort");
        if host.number() != 0 {
            port_number(errors, &host);
        }
        protocol(errors, &port.child("protocol"));
    }
}

/// Validates a port's number.
pub(crate) fn port_number(errors: &mut ErrorList, at: &At<'_>) {
    for message in names::port_number(at.number()) {
        errors.invalid(&at.path, at.number(), message);
    }
}

/// Validates a protocol, which must be there.
pub(crate) fn protocol(errors: &mut ErrorList, at: &At<'_>) {
    if at.str().is_empty() {
        errors.required(&at.path, "");
    } else if !PROTOCOLS.contains(&at.str()) {
        errors.not_supported(&at.path, at.str(), &PROTOCOLS);
    }
}

/// Validates a port given by number or name.
pub(crate) fn port_or_name(errors: &mut ErrorList, at: &At<'_>) {
    match at.value {
        Value::String(name) => errors.all(&at.path, name, names::port_name(name)),
        _ => port_number(errors, at),
    }
}

fn host_ports<'a>(errors: &mut ErrorList, containers: impl Iterator<Item = At<'a>>) {
    let mut seen = BTreeSet::new();
    for container in containers {
        for port in container.child("ports").items() {
            let host = port.child("hostPort");
            if host.number() == 0 {
                continue;
            }
            let key =
                format!("{}/{}/{}", port.value.text("protocol"), port.value.text("hostIP"), host.number());
            if !seen.insert(key.clone()) {
                errors.duplicate(&host.path, key);
            }
        }
    }
}

fn env(errors: &mut ErrorList, at: &At<'_>) {
    for variable in at.items() {
        let name = variable.child("name");
        if name.str().is_empty() {
            errors.required(&name.path, "");
        } else {
            errors.all(&name.path, name.str(), names::env_var_name(name.str()));
        }
        let source = variable.child("valueFrom");
        if source.present() {
            value_from(errors, &source, !variable.value.text("value").is_empty());
        }
    }
}

const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

fn value_from(errors: &mut ErrorList, at: &At<'_>, has_value: bool) {
    let mut count = 0;
    let field = at.child("fieldRef");
    if field.present() {
        count += 1;
        field_selector(errors, &field, &ENV_FIELDS);
    }
    let resource = at.child("resourceFieldRef");
    if resource.present() {
        count += 1;
        resource_selector(errors, &resource, false);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        let reference = at.child(name);
        if reference.present() {
            count += 1;
            let (name, key) = (reference.child("name"), reference.child("key"));
            errors.all(&name.path, name.str(), names::subdomain_name(name.str(), false));
            if key.str().is_empty() {
                errors.required(&key.path, "");
            } else {
                errors.all(&key.path, key.str(), names::config_map_key(key.str()));
            }
        }
    }
    if count == 0 {
        errors.invalid(
            &at.path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
        );
    } else if has_value {
        errors.invalid(&at.path, "", "may not be specified when `value` is not empty");
    } else if count > 1 {
        errors.invalid(&at.path, "", "may not have more than one field specified at a time");
    }
}

/// Splits `metadata.labels['key']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['").filter(|(path, _)| !path.is_empty())
}

/// Validates a reference to a field of the Pod.
pub(super) fn field_selector(errors: &mut ErrorList, at: &At<'_>, allowed: &[&str]) {
    const KNOWN: [&str; 14] = [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.serviceAccountName",
        "spec.schedulerName",
        "status.phase",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    let (version, path) = (at.child("apiVersion"), at.child("fieldPath"));
    for field in [&version, &path] {
        if field.str().is_empty() {
            errors.required(&field.path, "");
            return;
        }
    }
    let fault = if version.str() != "v1" {
        Some(format!("unsupported pod version: {}", version.str()))
    } else if let Some((base, _)) = subscript(path.str()) {
        (!matches!(base, "metadata.annotations" | "metadata.labels"))
            .then(|| format!("field label does not support subscript: {}", path.str()))
    } else {
        (!KNOWN.contains(&path.str()) && path.str() != "spec.host")
            .then(|| format!("field label not supported: {}", path.str()))
    };
    if let Some(fault) = fault {
        errors.invalid(&path.path, path.str(), format!("error converting fieldPath: {fault}"));
        return;
    }
    let name = if path.str() == "spec.host" { "spec.nodeName" } else { path.str() };
    match subscript(name) {
        Some(("metadata.annotations", key)) => {
            let key = key.to_lowercase();
            errors.all(&at.path, &key, names::qualified_name(&key));
        }
        Some((_, key)) => errors.all(&at.path, key, names::qualified_name(key)),
        None if !allowed.contains(&name) => errors.not_supported(&path.path, name, allowed),
        None => {}
    }
}

/// Validates a reference to a resource of a container.
pub(super) fn resource_selector(errors: &mut ErrorList, at: &At<'_>, volume: bool) {
    const KNOWN: [&str; 6] = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let (container, resource) = (at.child("containerName"), at.child("resource"));
    let name = resource.str();
    let huge = name.starts_with("requests.hugepages-") || name.starts_with("limits.hugepages-");
    if volume && container.str().is_empty() {
        errors.required(&container.path, "");
    } else if name.is_empty() {
        errors.required(&resource.path, "");
    } else if !KNOWN.contains(&name) && !huge {
        errors.not_supported(&resource.path, name, &KNOWN);
    }
    let divisor = at.child("divisor");
    let amount = Quantity::of(divisor.value);
    if amount.is_zero() {
        return;
    }
    let text = amount.to_string();
    let fault = |what: &str| {
        format!(
            "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the {what} resource"
        )
    };
    let bytes = ["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    let wrong = match name {
        "limits.cpu" | "requests.cpu" => (!matches!(text.as_str(), "1m" | "1"))
            .then(|| "only divisor's values 1m and 1 are supported with the cpu resource".to_owned()),
        "limits.memory" | "requests.memory" => (!bytes.contains(&text.as_str())).then(|| fault("memory")),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => {
            (!bytes.contains(&text.as_str())).then(|| fault("local ephemeral storage"))
        }
        _ if huge => (!bytes.contains(&text.as_str())).then(|| fault("hugepages")),
        _ => None,
    };
    if let Some(detail) = wrong {
        errors.invalid(&divisor.path, name, detail);
    }
}

fn env_from(errors: &mut ErrorList, at: &At<'_>) {
    for source in at.items() {
        let prefix = source.child("prefix");
        if !prefix.str().is_empty() {
            errors.all(&prefix.path, prefix.str(), names::env_var_name(prefix.str()));
        }
        let mut count = 0;
        for name in ["configMapRef", "secretRef"] {
            let reference = source.child(name);
            if reference.present() {
                count += 1;
                let name = reference.child("name");
                if name.str().is_empty() {
                    errors.required(&name.path, "");
                } else {
                    errors.all(&name.path, name.str(), names::subdomain_name(name.str(), true));
                }
            }
        }
        if count == 0 {
            errors.invalid(&at.path, "", "must specify one of: `configMapRef` or `secretRef`");
        } else if count > 1 {
            errors.invalid(&at.path, "", "may not have more than one field specified at a time");
        }
    }
}

fn mounts(errors: &mut ErrorList, container: &At<'_>, pod: &PodFacts<'_>) {
    let at = container.child("volumeMounts");
    let devices = container.value.items("volumeDevices");
    let mut points = BTreeSet::new();
    for mount in at.items() {
        let (name, point) = (mount.child("name"), mount.child("mountPath"));
        if name.str().is_empty() {
            errors.required(&name.path, "");
        }
        let volume = pod.volumes.get(name.str());
        if volume.is_none() {
            errors.not_found(&name.path, name.str());
        }
        if point.str().is_empty() {
            errors.required(&point.path, "");
        }
        if !points.insert(point.str()) {
            errors.invalid(&point.path, point.str(), "must be unique");
        }
        if devices.iter().any(|device| device.text("name") == name.str()) {
            errors.invalid(&name.path, name.str(), "must not already exist in volumeDevices");
        }
        if devices.iter().any(|device| device.text("devicePath") == point.str()) {
            errors.invalid(&point.path, point.str(), "must not already exist as a path in volumeDevices");
        }
        let (sub, expression) = (mount.child("subPath"), mount.child("subPathExpr"));
        if volume.is_some_and(|volume| volume.has("image")) {
            for field in [&sub, &expression] {
                if !field.str().is_empty() {
                    errors.invalid(&field.path, field.str(), "not allowed in image volume sources");
                }
            }
        }
        if !sub.str().is_empty() {
            relative(errors, &At::new(at.path.child("subPath"), sub.value));
        }
        if !expression.str().is_empty() {
            if !sub.str().is_empty() {
                errors.invalid(
                    &expression.path,
                    expression.str(),
                    "subPathExpr and subPath are mutually exclusive",
                );
            }
            relative(errors, &At::new(at.path.child("subPathExpr"), expression.value));
        }
        propagation(errors, &at, &mount, container);
        recursive_read_only(errors, &at, &mount);
    }
}

fn propagation(errors: &mut ErrorList, list: &At<'_>, mount: &At<'_>, container: &At<'_>) {
    let at = At::new(list.path.child("mountPropagation"), mount.value.at("mountPropagation"));
    if at.is_null() {
        return;
    }
    const KNOWN: [&str; 3] = ["Bidirectional", "HostToContainer", "None"];
    if !KNOWN.contains(&at.str()) {
        errors.not_supported(&at.path, at.str(), &KNOWN);
    }
    let privileged = container.value.at("securityContext").truth("privileged") == Some(true);
    if at.str() == "Bidirectional" && !privileged {
        errors.forbidden(
            &at.path,
            "Bidirectional mount propagation is available only to privileged containers",
        );
    }
}

fn recursive_read_only(errors: &mut ErrorList, list: &At<'_>, mount: &At<'_>) {
    let at = At::new(list.path.child("recursiveReadOnly"), mount.value.at("recursiveReadOnly"));
    match at.value.as_str() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.value.truth("readOnly") != Some(true) {
                errors.forbidden(&at.path, "may only be specified when readOnly is true");
            }
            if !matches!(mount.value.text("mountPropagation"), "" | "None") {
                errors.forbidden(
                    &at.path,
                    "may only be specified when mountPropagation is None or not specified",
                );
            }
        }
        Some(other) => errors.not_supported(&at.path, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn devices(errors: &mut ErrorList, container: &At<'_>, pod: &PodFacts<'_>) {
    let mounts = container.value.items("volumeMounts");
    let (mut seen_names, mut seen_paths) = (BTreeSet::new(), BTreeSet::new());
    for device in container.child("volumeDevices").items() {
        let (name, path) = (device.child("name"), device.child("devicePath"));
        if name.str().is_empty() {
            errors.required(&name.path, "");
        }
        if seen_names.contains(name.str()) {
            errors.invalid(&name.path, name.str(), "must be unique");
        }
        match pod.volumes.get(name.str()) {
            None => errors.not_found(&name.path, name.str()),
            Some(volume) if !volume.has("persistentVolumeClaim") && !volume.has("ephemeral") => {
                errors.invalid(
                    &name.path,
                    name.str(),
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
                );
            }
            Some(_) => {}
        }
        if path.str().is_empty() {
            errors.required(&path.path, "");
        }
        if seen_paths.contains(path.str()) {
            errors.invalid(&path.path, path.str(), "must be unique");
        }
        if climbs(path.str()) {
            errors.invalid(&path.path, path.str(), "can not contain backsteps ('..')");
        } else {
            seen_paths.insert(path.str());
        }
        if mounts.iter().any(|mount| mount.text("name") == name.str()) {
            errors.invalid(&name.path, name.str(), "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|mount| mount.text("mountPath") == path.str()) {
            errors.invalid(&path.path, path.str(), "must not already exist as a path in volumeMounts");
        }
        if !name.str().is_empty() {
            seen_names.insert(name.str());
        }
    }
}

/// Validates when an image is pulled.
pub(super) fn pull_policy(errors: &mut ErrorList, at: &At<'_>) {
    match at.str() {
        "Always" | "IfNotPresent" | "Never" => {}
        "" => errors.required(&at.path, ""),
        other => errors.not_supported(&at.path, other, &["Always", "IfNotPresent", "Never"]),
    }
}

fn resize_policy(errors: &mut ErrorList, at: &At<'_>, pod_restart_policy: &str) {
    let mut seen = BTreeSet::new();
    for policy in at.items() {
        let (resource, restart) = (policy.value.text("resourceName"), policy.value.text("restartPolicy"));
        if !seen.insert(resource) {
            errors.duplicate(&policy.path, resource);
        }
        match resource {
            "cpu" | "memory" => {}
            "" => errors.required(&at.path, ""),
            other => errors.not_supported(&at.path, other, &["cpu", "memory"]),
        }
        match restart {
            "NotRequired" | "RestartContainer" => {}
            "" => errors.required(&at.path, ""),
            other => errors.not_supported(&at.path, other, &["NotRequired", "RestartContainer"]),
        }
        if pod_restart_policy == "Never" && restart != "NotRequired" {
            errors.invalid(&at.path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'");
        }
    }
}

fn lifecycle_and_probes(errors: &mut ErrorList, container: &At<'_>, pod: &PodFacts<'_>) {
    let lifecycle = container.child("lifecycle");
    for name in ["postStart", "preStop"] {
        let hook = lifecycle.child(name);
        if hook.present() {
            handler(errors, &hook, &["exec", "httpGet", "tcpSocket", "sleep"], pod.grace);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.child(name);
        if probe.is_null() {
            continue;
        }
        handler(errors, &probe, &["exec", "httpGet", "tcpSocket", "grpc"], pod.grace);
        for number in
            ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
        {
            errors.negative(&probe.child(number));
        }
        let grace = probe.child("terminationGracePeriodSeconds");
        if let Some(seconds) = grace.int().filter(|seconds| *seconds <= 0) {
            errors.invalid(&grace.path, seconds, "must be greater than 0");
        }
        let threshold = probe.child("successThreshold");
        if name == "readinessProbe" {
            if let Some(seconds) = grace.int() {
                errors.invalid(&grace.path, seconds, "must not be set for readinessProbes");
            }
        } else if threshold.number() != 1 {
            errors.invalid(&threshold.path, threshold.number(), "must be 1");
        }
    }
}

fn handler(errors: &mut ErrorList, at: &At<'_>, kinds: &[&str], grace: Option<i64>) {
    let mut count = 0;
    for kind in kinds {
        let action = at.child(kind);
        if action.is_null() {
            continue;
        }
        if count > 0 {
            errors.forbidden(&action.path, "may not specify more than 1 handler type");
            continue;
        }
        count += 1;
        match *kind {
            "exec" => {
                let command = action.child("command");
                if command.is_empty() {
                    errors.required(&command.path, "");
                }
            }
            "httpGet" => http_get(errors, &action),
            "tcpSocket" => port_or_name(errors, &action.child("port")),
            "grpc" => port_number(errors, &action.child("port")),
            _ => {
                let seconds = action.child("seconds").number();
                if let Some(grace) = grace
                    && (seconds < 0 || seconds > grace)
                {
                    errors.push(FieldError::invalid(
                        &action.path,
                        seconds,
                        format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})"),
                    ));
                }
            }
        }
    }
    if count == 0 {
        errors.required(&at.path, "must specify a handler type");
    }
}

fn http_get(errors: &mut ErrorList, at: &At<'_>) {
    let (path, scheme) = (at.child("path"), at.child("scheme"));
    if path.str().is_empty() {
        errors.required(&path.path, "");
    }
    port_or_name(errors, &at.child("port"));
    if !matches!(scheme.str(), "HTTP" | "HTTPS") {
        errors.not_supported(&scheme.path, scheme.str(), &["HTTP", "HTTPS"]);
    }
    let headers = at.child("httpHeaders");
    for header in headers.items() {
        let name = header.value.text("name");
        errors.all(&headers.path, name, names::http_header_name(name));
    }
}
