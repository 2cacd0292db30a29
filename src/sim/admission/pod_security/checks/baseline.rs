//! The controls of the baseline level.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Container, Subject, Violation, name_containers, plural, quote, setters};
use crate::sim::admission::pods::items;

const APP_ARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD_ANNOTATION: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER_ANNOTATION: &str = "container.seccomp.security.alpha.kubernetes.io/";

pub(super) fn app_armor(pod: Subject<'_>) -> Option<Violation> {
    let mut bad_values = BTreeSet::new();
    let mut is_bad = |security: &Value| match security["appArmorProfile"]["type"].as_str() {
        Some("RuntimeDefault" | "Localhost") | None => false,
        Some(other) => {
            bad_values.insert(other.to_owned());
            true
        }
    };
    let bad_pod = is_bad(pod.security());
    let bad: Vec<&str> = pod.containers().filter(|c| is_bad(c.security())).map(Container::name).collect();
    let allowed = |profile: &str| {
        profile.is_empty() || profile == "runtime/default" || profile.starts_with("localhost/")
    };
    let mut annotations: Vec<String> = pod
        .annotations()
        .filter(|(key, value)| key.starts_with(APP_ARMOR_ANNOTATION) && !allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    annotations.sort();
    let mut who: Vec<String> = setters(bad_pod, &bad).into_iter().collect();
    if !annotations.is_empty() {
        who.push(plural("annotation", "annotations", annotations.len()).to_owned());
    }
    if who.is_empty() {
        return None;
    }
    let values: Vec<String> = bad_values.into_iter().chain(annotations).collect();
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    let detail = format!("{} must not set AppArmor profile type to {}", who.join(" and "), quote(&values));
    Violation::new(reason, detail)
}

pub(super) fn capabilities(pod: Subject<'_>) -> Option<Violation> {
    const DEFAULT: &[&str] = &[
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    let (mut bad, mut added) = (Vec::new(), BTreeSet::new());
    for container in pod.containers() {
        let own: Vec<&str> = items(&container.security()["capabilities"]["add"])
            .filter_map(Value::as_str)
            .filter(|capability| !DEFAULT.contains(capability))
            .collect();
        if !own.is_empty() {
            bad.push(container.name());
            added.extend(own);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let detail = format!(
        "{} must not include {} in securityContext.capabilities.add",
        name_containers(&bad),
        quote(added)
    );
    Violation::new("non-default capabilities", detail)
}

pub(super) fn host_namespaces(pod: Subject<'_>) -> Option<Violation> {
    let shared: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| pod.spec[*field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    if shared.is_empty() { None } else { Violation::new("host namespaces", shared.join(", ")) }
}

pub(super) fn host_path_volumes(pod: Subject<'_>) -> Option<Violation> {
    let bad: Vec<&str> = items(&pod.spec["volumes"])
        .filter(|volume| volume["hostPath"].is_object())
        .filter_map(|volume| volume["name"].as_str())
        .collect();
    if bad.is_empty() {
        return None;
    }
    Violation::new("hostPath volumes", format!("{} {}", plural("volume", "volumes", bad.len()), quote(bad)))
}

pub(super) fn host_ports(pod: Subject<'_>) -> Option<Violation> {
    let (mut bad, mut ports) = (Vec::new(), BTreeSet::new());
    for container in pod.containers() {
        let own: Vec<String> = items(&container.0["ports"])
            .filter_map(|port| port["hostPort"].as_i64())
            .filter(|port| *port != 0)
            .map(|port| port.to_string())
            .collect();
        if !own.is_empty() {
            bad.push(container.name());
            ports.extend(own);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let noun = plural("hostPort", "hostPorts", ports.len());
    let detail = format!(
        "{} {} {noun} {}",
        name_containers(&bad),
        plural("uses", "use", bad.len()),
        ports.into_iter().collect::<Vec<_>>().join(", ")
    );
    Violation::new(noun, detail)
}

pub(super) fn host_probes(pod: Subject<'_>) -> Option<Violation> {
    let (mut bad, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for container in pod.containers() {
        let value = container.0;
        let lifecycle = &value["lifecycle"];
        let handlers = [
            &value["livenessProbe"],
            &value["readinessProbe"],
            &value["startupProbe"],
            &lifecycle["postStart"],
            &lifecycle["preStop"],
        ];
        for host in handlers.iter().flat_map(|h| [&h["httpGet"]["host"], &h["tcpSocket"]["host"]]) {
            if let Some(host) = host.as_str().filter(|host| !host.is_empty()) {
                bad.insert(container.name());
                hosts.insert(host);
            }
        }
    }
    if bad.is_empty() {
        return None;
    }
    let names: Vec<&str> = bad.into_iter().collect();
    let detail = format!(
        "{} {} {} {}",
        name_containers(&names),
        plural("uses", "use", names.len()),
        plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len()),
        quote(hosts)
    );
    Violation::new("probe or lifecycle host", detail)
}

pub(super) fn privileged(pod: Subject<'_>) -> Option<Violation> {
    let bad: Vec<&str> =
        pod.containers().filter(|c| c.security()["privileged"] == true).map(Container::name).collect();
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.privileged=true", name_containers(&bad));
    Violation::new("privileged", detail)
}

pub(super) fn proc_mount(pod: Subject<'_>) -> Option<Violation> {
    let (mut bad, mut mounts) = (Vec::new(), BTreeSet::new());
    for container in pod.containers() {
        if let Some(mount) = container.security()["procMount"].as_str().filter(|mount| *mount != "Default") {
            bad.push(container.name());
            mounts.insert(mount);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let detail =
        format!("{} must not set securityContext.procMount to {}", name_containers(&bad), quote(mounts));
    Violation::new("procMount", detail)
}

pub(super) fn se_linux(pod: Subject<'_>) -> Option<Violation> {
    se_linux_allowing(pod, &["", "container_t", "container_init_t", "container_kvm_t"])
}

pub(super) fn se_linux_with_engine(pod: Subject<'_>) -> Option<Violation> {
    se_linux_allowing(pod, &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"])
}

fn se_linux_allowing(pod: Subject<'_>, types: &[&str]) -> Option<Violation> {
    let (mut bad_types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut is_bad = |security: &Value| {
        let options = &security["seLinuxOptions"];
        let value = |field: &str| options[field].as_str().unwrap_or_default().to_owned();
        let (bad_type, has_user, has_role) =
            (!types.contains(&value("type").as_str()), !value("user").is_empty(), !value("role").is_empty());
        if bad_type {
            bad_types.insert(value("type"));
        }
        user |= has_user;
        role |= has_role;
        bad_type || has_user || has_role
    };
    let bad_pod = is_bad(pod.security());
    let bad: Vec<&str> = pod.containers().filter(|c| is_bad(c.security())).map(Container::name).collect();
    let who = setters(bad_pod, &bad)?;
    let mut what = Vec::new();
    if !bad_types.is_empty() {
        what.push(format!("{} {}", plural("type", "types", bad_types.len()), quote(bad_types)));
    }
    if user {
        what.push("user may not be set".to_owned());
    }
    if role {
        what.push("role may not be set".to_owned());
    }
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {}", what.join("; "));
    Violation::new("seLinuxOptions", detail)
}

pub(super) fn seccomp_annotations(pod: Subject<'_>) -> Option<Violation> {
    let allowed = |value: &str| {
        value == "runtime/default" || value == "docker/default" || value.starts_with("localhost/")
    };
    let keys = std::iter::once(SECCOMP_POD_ANNOTATION.to_owned())
        .chain(pod.containers().map(|c| format!("{SECCOMP_CONTAINER_ANNOTATION}{}", c.name())));
    let mut forbidden = BTreeSet::new();
    for key in keys {
        let value = pod.metadata["annotations"].get(&key).and_then(Value::as_str);
        if let Some(value) = value.filter(|value| !allowed(value)) {
            forbidden.insert(format!("{key}={value:?}"));
        }
    }
    if forbidden.is_empty() {
        return None;
    }
    let noun = plural("annotation", "annotations", forbidden.len());
    let list: Vec<String> = forbidden.into_iter().collect();
    Violation::new("seccompProfile", format!("forbidden {noun} {}", list.join(", ")))
}

pub(super) fn seccomp(pod: Subject<'_>) -> Option<Violation> {
    explicit_seccomp(pod)
}

/// What sets a seccomp profile that neither level allows.
pub(super) fn explicit_seccomp(pod: Subject<'_>) -> Option<Violation> {
    let mut bad_values = BTreeSet::new();
    let mut is_bad = |security: &Value| {
        let profile = &security["seccompProfile"];
        if !profile.is_object() || valid_seccomp(profile) {
            return false;
        }
        bad_values.insert(profile["type"].as_str().unwrap_or_default().to_owned());
        true
    };
    let bad_pod = is_bad(pod.security());
    let bad: Vec<&str> = pod.containers().filter(|c| is_bad(c.security())).map(Container::name).collect();
    let who = setters(bad_pod, &bad)?;
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {}", quote(bad_values));
    Violation::new("seccompProfile", detail)
}

/// Tells whether a seccompProfile is of a type that both levels allow.
pub(super) fn valid_seccomp(profile: &Value) -> bool {
    matches!(profile["type"].as_str(), Some("RuntimeDefault" | "Localhost"))
}

const SYSCTLS: &[(u64, &[&str])] = &[
    (
        0,
        &[
            "kernel.shm_rmid_forced",
            "net.ipv4.ip_local_port_range",
            "net.ipv4.tcp_syncookies",
            "net.ipv4.ping_group_range",
            "net.ipv4.ip_unprivileged_port_start",
        ],
    ),
    (27, &["net.ipv4.ip_local_reserved_ports"]),
    (
        29,
        &[
            "net.ipv4.tcp_keepalive_time",
            "net.ipv4.tcp_fin_timeout",
            "net.ipv4.tcp_keepalive_intvl",
            "net.ipv4.tcp_keepalive_probes",
        ],
    ),
    (32, &["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"]),
];

fn sysctls(pod: Subject<'_>, minor: u64) -> Option<Violation> {
    let allowed = |name: &str| SYSCTLS.iter().any(|(from, names)| *from <= minor && names.contains(&name));
    let forbidden: Vec<&str> = items(&pod.security()["sysctls"])
        .filter_map(|sysctl| sysctl["name"].as_str())
        .filter(|name| !allowed(name))
        .collect();
    if forbidden.is_empty() { None } else { Violation::new("forbidden sysctls", forbidden.join(", ")) }
}

pub(super) fn sysctls_0(pod: Subject<'_>) -> Option<Violation> {
    sysctls(pod, 0)
}

pub(super) fn sysctls_27(pod: Subject<'_>) -> Option<Violation> {
    sysctls(pod, 27)
}

pub(super) fn sysctls_29(pod: Subject<'_>) -> Option<Violation> {
    sysctls(pod, 29)
}

pub(super) fn sysctls_32(pod: Subject<'_>) -> Option<Violation> {
    sysctls(pod, 32)
}

pub(super) fn windows_host_process(pod: Subject<'_>) -> Option<Violation> {
    let is_bad = |security: &Value| security["windowsOptions"]["hostProcess"] == true;
    let bad: Vec<&str> = pod.containers().filter(|c| is_bad(c.security())).map(Container::name).collect();
    let who = setters(is_bad(pod.security()), &bad)?;
    Violation::new(
        "hostProcess",
        format!("{who} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}
