//! The controls of the restricted level.

use std::collections::BTreeSet;

use serde_json::Value;

use super::baseline::{explicit_seccomp, valid_seccomp};
use super::{Container, Subject, Violation, name_containers, plural, quote, setters};
use crate::sim::admission::pods::items;

pub(super) fn privilege_escalation(pod: Subject<'_>) -> Option<Violation> {
    let bad: Vec<&str> = pod
        .containers()
        .filter(|c| c.security()["allowPrivilegeEscalation"] != false)
        .map(Container::name)
        .collect();
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", name_containers(&bad));
    Violation::new("allowPrivilegeEscalation != false", detail)
}

pub(super) fn privilege_escalation_but_windows(pod: Subject<'_>) -> Option<Violation> {
    if pod.is_windows() { None } else { privilege_escalation(pod) }
}

pub(super) fn capabilities(pod: Subject<'_>) -> Option<Violation> {
    let (mut missing_drop, mut adding, mut added) = (Vec::new(), Vec::new(), BTreeSet::new());
    for container in pod.containers() {
        let capabilities = &container.security()["capabilities"];
        if !items(&capabilities["drop"]).any(|dropped| dropped == "ALL") {
            missing_drop.push(container.name());
        }
        let own: Vec<&str> = items(&capabilities["add"])
            .filter_map(Value::as_str)
            .filter(|capability| *capability != "NET_BIND_SERVICE")
            .collect();
        if !own.is_empty() {
            adding.push(container.name());
            added.extend(own);
        }
    }
    let mut details = Vec::new();
    if !missing_drop.is_empty() {
        let who = name_containers(&missing_drop);
        details.push(format!(r#"{who} must set securityContext.capabilities.drop=["ALL"]"#));
    }
    if !adding.is_empty() {
        let who = name_containers(&adding);
        details.push(format!("{who} must not include {} in securityContext.capabilities.add", quote(added)));
    }
    if details.is_empty() { None } else { Violation::new("unrestricted capabilities", details.join("; ")) }
}

pub(super) fn capabilities_but_windows(pod: Subject<'_>) -> Option<Violation> {
    if pod.is_windows() { None } else { capabilities(pod) }
}

pub(super) fn volumes(pod: Subject<'_>) -> Option<Violation> {
    const ALLOWED: &[&str] = &[
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    const RESTRICTED: &[&str] = &[
        "hostPath",
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "gitRepo",
        "nfs",
        "iscsi",
        "glusterfs",
        "rbd",
        "flexVolume",
        "cinder",
        "cephfs",
        "flocker",
        "fc",
        "azureFile",
        "vsphereVolume",
        "quobyte",
        "azureDisk",
        "photonPersistentDisk",
        "portworxVolume",
        "scaleIO",
        "storageos",
    ];
    let (mut bad, mut types) = (Vec::new(), BTreeSet::new());
    for volume in items(&pod.spec["volumes"]) {
        let has = |source: &&&str| volume[**source].is_object();
        if ALLOWED.iter().any(|source| has(&source)) {
            continue;
        }
        bad.push(volume["name"].as_str().unwrap_or_default());
        types.insert(RESTRICTED.iter().find(has).copied().unwrap_or("unknown"));
    }
    if bad.is_empty() {
        return None;
    }
    let detail = format!(
        "{} {} {} {} {}",
        plural("volume", "volumes", bad.len()),
        quote(&bad),
        plural("uses", "use", bad.len()),
        plural("restricted volume type", "restricted volume types", types.len()),
        quote(types)
    );
    Violation::new("restricted volume types", detail)
}

pub(super) fn run_as_non_root(pod: Subject<'_>) -> Option<Violation> {
    let own = &pod.security()["runAsNonRoot"];
    let (mut explicit, mut implicit) = (Vec::new(), Vec::new());
    for container in pod.containers() {
        match container.security()["runAsNonRoot"].as_bool() {
            Some(true) => {}
            Some(false) => explicit.push(container.name()),
            None if own == true => {}
            None => implicit.push(container.name()),
        }
    }
    if let Some(who) = setters(own == false, &explicit) {
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return Violation::new("runAsNonRoot != true", detail);
    }
    if implicit.is_empty() {
        return None;
    }
    let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", name_containers(&implicit));
    Violation::new("runAsNonRoot != true", detail)
}

pub(super) fn run_as_user(pod: Subject<'_>) -> Option<Violation> {
    let is_root = |security: &Value| security["runAsUser"] == 0;
    let bad: Vec<&str> = pod.containers().filter(|c| is_root(c.security())).map(Container::name).collect();
    let who = setters(is_root(pod.security()), &bad)?;
    Violation::new("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

pub(super) fn seccomp(pod: Subject<'_>) -> Option<Violation> {
    if let Some(violation) = explicit_seccomp(pod) {
        return Some(violation);
    }
    let own = valid_seccomp(&pod.security()["seccompProfile"]);
    let bad: Vec<&str> = pod
        .containers()
        .filter(|c| !own && !c.security()["seccompProfile"].is_object())
        .map(Container::name)
        .collect();
    if bad.is_empty() {
        return None;
    }
    let who = name_containers(&bad);
    let detail = format!(
        r#"pod or {who} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost""#
    );
    Violation::new("seccompProfile", detail)
}

pub(super) fn seccomp_but_windows(pod: Subject<'_>) -> Option<Violation> {
    if pod.is_windows() { None } else { seccomp(pod) }
}
