//! Security contexts: users, seccomp and AppArmor profiles (fields and their older annotations), sysctls, privilege, and
//! what Windows Pods may not have.

use std::collections::BTreeSet;

use serde_json::Value;

use super::visit_containers;
use super::volumes::relative;
use crate::sim::field::{ErrorList, FieldError, Path};
use crate::sim::object::{Fields, is_empty};
use crate::sim::validation::cursor::{At, Faults};
use crate::sim::validation::names;

/// The annotation that held a container's AppArmor profile before there was a field.
pub(crate) const APPARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

fn ids(errors: &mut ErrorList, at: &At<'_>, fields: &[&str]) {
    for name in fields {
        let field = at.child(name);
        if let Some(id) = field.int() {
            for message in names::user_or_group_id(id) {
                errors.invalid(&field.path, id, message);
            }
        }
    }
}

/// Validates the security context of a PodSpec; `spec` holds what Go's internal type keeps in it: host namespaces.
pub(super) fn pod(errors: &mut ErrorList, spec: &At<'_>) {
    let at = spec.child("securityContext");
    if at.is_null() {
        return;
    }
    ids(errors, &at, &["fsGroup", "runAsUser", "runAsGroup"]);
    for group in at.child("supplementalGroups").items() {
        for message in names::user_or_group_id(group.number()) {
            errors.invalid(&group.path, group.number(), message);
        }
    }
    if spec.value.truth("shareProcessNamespace") == Some(true) && spec.value.truth("hostPID") == Some(true) {
        errors.invalid(
            &at.path.child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        );
    }
    sysctls(errors, &at.child("sysctls"), spec.value);
    one_of(errors, &at.child("fsGroupChangePolicy"), &["Always", "OnRootMismatch"]);
    seccomp(errors, &at.child("seccompProfile"));
    windows_options(errors, &at.child("windowsOptions"));
    app_armor(errors, &at.child("appArmorProfile"));
    one_of(errors, &at.child("supplementalGroupsPolicy"), &["Merge", "Strict"]);
    one_of(errors, &at.child("seLinuxChangePolicy"), &["Recursive"]);
}

fn one_of(errors: &mut ErrorList, at: &At<'_>, known: &[&str]) {
    if at.present() && !known.contains(&at.str()) {
        errors.not_supported(&at.path, at.str(), known);
    }
}

fn sysctls(errors: &mut ErrorList, at: &At<'_>, spec: &Value) {
    let mut seen = BTreeSet::new();
    for sysctl in at.items() {
        let name = sysctl.child("name");
        let text = name.str();
        if text.is_empty() {
            errors.required(&name.path, "");
        } else if !is_sysctl(text) {
            errors.invalid(
                &name.path,
                text,
                "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            );
        } else if seen.contains(text) {
            errors.duplicate(&name.path, text);
        }
        // Slashes separate as dots do, unless the first separator is a dot.
        let dotted = match text.find(['.', '/']) {
            Some(at) if text.as_bytes()[at] == b'/' => text.replace(['.', '/'], "\0").replace('\0', "."),
            _ => text.to_owned(),
        };
        if spec.truth("hostNetwork") == Some(true) && dotted.starts_with("net.") {
            errors.invalid(&name.path, text, "may not be specified when 'hostNetwork' is true");
        } else if spec.truth("hostIPC") == Some(true)
            && (dotted == "kernel.sem"
                || ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| dotted.starts_with(prefix)))
        {
            errors.invalid(&name.path, text, "may not be specified when 'hostIPC' is true");
        }
        seen.insert(text);
    }
}

fn is_sysctl(name: &str) -> bool {
    name.len() <= 253
        && name.split(['.', '/']).all(|part| {
            let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            edge(part.bytes().next())
                && edge(part.bytes().last())
                && part.bytes().all(|c| edge(Some(c)) || matches!(c, b'-' | b'_'))
        })
}

fn seccomp(errors: &mut ErrorList, at: &At<'_>) {
    if at.is_null() {
        return;
    }
    let (kind, profile) = (at.child("type"), at.child("localhostProfile"));
    match kind.str() {
        "Localhost" | "RuntimeDefault" | "Unconfined" => {}
        "" => errors.required(&kind.path, "type is required when seccompProfile is set"),
        other => errors.not_supported(&kind.path, other, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
    if kind.str() == "Localhost" {
        if profile.is_null() {
            errors.required(&profile.path, "must be set when seccomp type is Localhost");
        } else {
            relative(errors, &profile);
        }
    } else if profile.present() {
        errors.invalid_object(&profile.path, at.value, "can only be set when seccomp type is Localhost");
    }
}

fn app_armor(errors: &mut ErrorList, at: &At<'_>) {
    const NEEDED: &str = "must be set when AppArmor type is Localhost";
    if at.is_null() {
        return;
    }
    let (kind, profile) = (at.child("type"), at.child("localhostProfile"));
    match kind.str() {
        "Localhost" => {
            if profile.is_null() {
                errors.required(&profile.path, NEEDED);
                return;
            }
            if profile.str().trim() != profile.str() {
                errors.invalid(&profile.path, profile.str(), "must not be padded with whitespace");
            } else if profile.str().is_empty() {
                errors.required(&profile.path, NEEDED);
            }
            if profile.len() > 4095 {
                errors.too_long(&profile.path, 4095);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if profile.present() {
                errors.invalid(
                    &profile.path,
                    profile.str(),
                    "can only be set when AppArmor type is Localhost",
                );
            }
        }
        "" => errors.required(&kind.path, "type is required when appArmorProfile is set"),
        other => errors.not_supported(&kind.path, other, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
}

/// Validates a container's security context.
pub(super) fn container(errors: &mut ErrorList, at: &At<'_>, host_users: bool) {
    if at.is_null() {
        return;
    }
    ids(errors, at, &["runAsUser", "runAsGroup"]);
    let proc = at.child("procMount");
    if proc.present() {
        one_of(errors, &proc, &["Default", "Unmasked"]);
        if host_users && proc.str() == "Unmasked" {
            errors.invalid(&proc.path, proc.str(), "`hostUsers` must be false to use `Unmasked`");
        }
    }
    seccomp(errors, &at.child("seccompProfile"));
    if at.value.truth("allowPrivilegeEscalation") == Some(false) {
        if at.child("privileged").is_true() {
            errors.invalid_object(
                &at.path,
                at.value,
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        }
        for _ in at.value.at("capabilities").texts("add").iter().filter(|name| **name == "CAP_SYS_ADMIN") {
            errors.invalid_object(
                &at.path,
                at.value,
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
    windows_options(errors, &at.child("windowsOptions"));
    app_armor(errors, &at.child("appArmorProfile"));
}

fn windows_options(errors: &mut ErrorList, at: &At<'_>) {
    if at.is_null() {
        return;
    }
    let name = at.child("gmsaCredentialSpecName");
    if name.present() {
        errors.all(&name.path, name.str(), names::dns1123_subdomain(name.str()));
    }
    let spec = at.child("gmsaCredentialSpec");
    if spec.present() {
        if spec.str().is_empty() {
            errors.invalid(&spec.path, "", "gmsaCredentialSpec cannot be an empty string");
        } else if spec.len() > 64 * 1024 {
            errors.invalid(&spec.path, spec.str(), "gmsaCredentialSpec size must be under 64 KiB");
        }
    }
    let user = at.child("runAsUserName");
    if user.present() {
        for message in windows_user(user.str()) {
            errors.invalid(&user.path, user.str(), message);
        }
    }
}

fn windows_user(text: &str) -> Vec<&'static str> {
    if text.is_empty() {
        return vec!["runAsUserName cannot be an empty string"];
    }
    if text.chars().any(|c| c.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters"];
    }
    let parts: Vec<&str> = text.split('\\').collect();
    let (domain, user) = match parts[..] {
        [user] => (None, user),
        [domain, user] => (Some(domain), user),
        _ => return vec!["runAsUserName cannot contain more than one backslash"],
    };
    let mut messages = Vec::new();
    if let Some(domain) = domain {
        if domain.len() >= 256 {
            messages.push("runAsUserName's Domain length must be under 256 characters");
        }
        let net_bios = !domain.is_empty()
            && domain.len() <= 15
            && !domain.starts_with('.')
            && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|']);
        let dns = domain.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
        if !net_bios && !dns {
            messages.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
        }
    }
    if user.is_empty() {
        messages.push("runAsUserName's User cannot be empty");
    } else if user.len() > 104 {
        messages.push("runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        messages.push("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        messages.push("runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
    messages
}

/// Validates that host-process containers keep to themselves and to the host's network.
pub(super) fn host_process(errors: &mut ErrorList, spec: &At<'_>) {
    let pod_wide = spec.value.dig(&["securityContext", "windowsOptions"]).truth("hostProcess");
    let (mut all, mut host) = (0, 0);
    for container in visit_containers(spec) {
        all += 1;
        let own = container.value.dig(&["securityContext", "windowsOptions"]).truth("hostProcess");
        if let (Some(pod_wide), Some(own)) = (pod_wide, own)
            && pod_wide != own
        {
            errors.invalid(
                &container.path.child("securityContext").child("windowsOptions").child("hostProcess"),
                own,
                format!("pod hostProcess value must be identical if both are specified, was {pod_wide}"),
            );
        }
        host += usize::from(own.or(pod_wide) == Some(true));
    }
    if host == 0 {
        return;
    }
    if host != all {
        errors.invalid(
            &spec.path,
            "",
            "If pod contains any hostProcess containers then all containers must be HostProcess containers",
        );
    }
    if spec.value.truth("hostNetwork") != Some(true) {
        errors.invalid(
            &spec.path.child("hostNetwork"),
            false,
            "hostNetwork must be true if pod contains any hostProcess containers",
        );
    }
}

/// Validates that a Pod in a user namespace shares no namespace of the host.
pub(super) fn host_users(errors: &mut ErrorList, spec: &At<'_>) {
    if spec.value.truth("hostUsers") != Some(false) {
        return;
    }
    for (name, shown) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if spec.value.truth(name) == Some(true) {
            errors.forbidden(&spec.path.child(shown), "when `pod.Spec.HostUsers` is false");
        }
    }
}

/// Validates that a Pod that names its operating system has only what that system knows.
pub(super) fn operating_system(errors: &mut ErrorList, spec: &At<'_>) {
    let at = spec.child("os");
    if at.is_null() {
        return;
    }
    match at.value.text("name") {
        "" => errors.required(&at.path.child("name"), "cannot be empty"),
        "linux" => linux(errors, spec),
        "windows" => windows(errors, spec),
        other => errors.not_supported(&at.path, other, &["linux", "windows"]),
    }
}

fn linux(errors: &mut ErrorList, spec: &At<'_>) {
    for holder in std::iter::once(spec.clone()).chain(visit_containers(spec)) {
        let options = holder.child("securityContext").child("windowsOptions");
        if options.present() {
            errors.forbidden(&options.path, "windows options cannot be set for a linux pod");
        }
    }
}

fn windows(errors: &mut ErrorList, spec: &At<'_>) {
    const NOT_ON_WINDOWS: &str = "cannot be set for a windows pod";
    let context = spec.child("securityContext");
    let mut refuse = |holder: &At<'_>, names: &[&str]| {
        for name in names {
            if !is_empty(holder.value.at(name)) && holder.value.at(name) != &Value::Bool(false)
                || holder.value.at(name).as_bool() == Some(false) && !matches!(*name, "hostPID" | "hostIPC")
            {
                errors.forbidden(&holder.path.child(name), NOT_ON_WINDOWS);
            }
        }
    };
    refuse(&context, &["appArmorProfile", "seLinuxOptions"]);
    refuse(spec, &["hostUsers", "hostPID", "hostIPC"]);
    refuse(&context, &["seccompProfile", "fsGroup", "fsGroupChangePolicy", "sysctls"]);
    refuse(spec, &["shareProcessNamespace"]);
    refuse(
        &context,
        &["runAsUser", "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy", "seLinuxChangePolicy"],
    );
    for container in visit_containers(spec) {
        refuse(
            &container.child("securityContext"),
            &[
                "appArmorProfile",
                "seLinuxOptions",
                "seccompProfile",
                "capabilities",
                "readOnlyRootFilesystem",
                "privileged",
                "allowPrivilegeEscalation",
                "procMount",
                "runAsUser",
                "runAsGroup",
            ],
        );
    }
}

/// Validates the annotations that mean something for a Pod.
pub(super) fn annotations(errors: &mut ErrorList, at: &At<'_>, spec: &At<'_>) {
    let mirror = at.value.at("kubernetes.io/config.mirror");
    if let Some(value) = mirror.as_str()
        && spec.value.text("nodeName").is_empty()
    {
        errors.invalid(
            &at.path.key("kubernetes.io/config.mirror"),
            value,
            "must set spec.nodeName if mirror pod annotation is set",
        );
    }
    let cost = "controller.kubernetes.io/pod-deletion-cost";
    if let Some(value) = at.value.at(cost).as_str() {
        let first = value.trim_start_matches('-').bytes().next();
        let form = first.is_some_and(|c| c.is_ascii_digit()) && (first != Some(b'0') || value == "0");
        if !form || value.parse::<i32>().is_err() {
            errors.invalid(&at.path.key(cost), value, "must be a 32bit integer");
        }
    }
    if let Some(profile) = at.value.at(SECCOMP_POD).as_str() {
        seccomp_annotation(errors, &at.path.child(SECCOMP_POD), profile);
    }
    for (key, value) in at.entries().filter(|(key, _)| key.starts_with(SECCOMP_CONTAINER)) {
        seccomp_annotation(errors, &at.path.child(key), value.str());
    }
    for (key, value) in at.entries() {
        let Some(container) = key.strip_prefix(APPARMOR_ANNOTATION) else { continue };
        if !visit_containers(spec).any(|found| found.value.text("name") == container) {
            errors.invalid(&value.path, container, "container not found");
        }
        let profile = value.str();
        if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with("localhost/") {
            errors.invalid(
                &value.path,
                profile,
                format!("invalid AppArmor profile name: {}", crate::sim::field::go_quote(profile)),
            );
        }
    }
}

fn seccomp_annotation(errors: &mut ErrorList, path: &Path, profile: &str) {
    if matches!(profile, "runtime/default" | "docker/default" | "unconfined") {
        return;
    }
    match profile.strip_prefix("localhost/") {
        Some(rest) => {
            let value = Value::from(rest);
            relative(errors, &At::new(path.clone(), &value));
        }
        None => errors.invalid(path, profile, "must be a valid seccomp profile"),
    }
}

/// Validates that annotations and fields say the same, where both speak.
pub(super) fn annotations_match(errors: &mut ErrorList, annotations: &Value, spec: &At<'_>) {
    let context = spec.child("securityContext");
    let profile = context.child("seccompProfile");
    if let (true, Some(annotation)) = (profile.present(), annotations.at(SECCOMP_POD).as_str()) {
        errors.extend(mismatch(&profile, annotation, "seccomp"));
    }
    for container in visit_containers(spec) {
        let profile = container.child("securityContext").child("seccompProfile");
        let key = format!("{SECCOMP_CONTAINER}{}", container.value.text("name"));
        if let (true, Some(annotation)) = (profile.present(), annotations.at(&key).as_str()) {
            errors.extend(mismatch(&profile, annotation, "seccomp"));
        }
    }
    if spec.value.at("os").text("name") == "windows" {
        return;
    }
    for container in visit_containers(spec) {
        let own = container.child("securityContext").child("appArmorProfile");
        let in_force = if own.present() { own.value } else { context.value.at("appArmorProfile") };
        let key = format!("{APPARMOR_ANNOTATION}{}", container.value.text("name"));
        if let (false, Some(annotation)) = (in_force.is_null(), annotations.at(&key).as_str()) {
            errors.extend(mismatch(&At::new(own.path, in_force), annotation, "apparmor"));
        }
    }
}

fn mismatch(profile: &At<'_>, annotation: &str, what: &str) -> Option<FieldError> {
    let kind = || {
        FieldError::forbidden(
            &profile.path.child("type"),
            format!("{what} type in annotation and field must match"),
        )
    };
    match profile.value.text("type") {
        "Unconfined" => (annotation != "unconfined").then(kind),
        "RuntimeDefault" => {
            let same =
                annotation == "runtime/default" || (what == "seccomp" && annotation == "docker/default");
            (!same).then(kind)
        }
        "Localhost" => match annotation.strip_prefix("localhost/") {
            None => Some(kind()),
            Some(name) => (profile.value.at("localhostProfile").as_str() != Some(name)).then(|| {
                FieldError::forbidden(
                    &profile.path.child("localhostProfile"),
                    format!("{what} profile in annotation and field must match"),
                )
            }),
        },
        _ => None,
    }
}
