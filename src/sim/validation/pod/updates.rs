//! What may change of a Pod: the object itself, its status, its ephemeral containers, its resources.

use serde_json::Value;

use super::{security, whole};
use crate::sim::field::{ErrorList, FieldError, Path, go_quote};
use crate::sim::object::{Fields, copy, equal, field_at, items_mut, map_at, remove, set};
use crate::sim::pod_resources::qos_class;
use crate::sim::validation::cursor::{At, Faults, exported};
use crate::sim::validation::diff;
use crate::sim::validation::metadata::{self, MetaRules};
use crate::sim::validation::names;
use crate::sim::validation::pod::scheduling;

const MIRROR: &str = "kubernetes.io/config.mirror";
const MAY_CHANGE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Validates a change of the Pod itself.
pub(crate) fn update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    errors.extend(whole(new, rules));
    annotations(&mut errors, new, old);
    let (spec, before) = (At::field(new, "spec"), old.at("spec"));
    for list in ["containers", "initContainers"] {
        if !images(&mut errors, &spec.child(list), before.items(list).len()) {
            return errors;
        }
    }
    let deadline = spec.child("activeDeadlineSeconds");
    match (deadline.int(), before.int("activeDeadlineSeconds")) {
        (Some(seconds), _) if !(0..=i64::from(i32::MAX)).contains(&seconds) => {
            errors.invalid(&deadline.path, seconds, names::range(0, i64::from(i32::MAX)));
            return errors;
        }
        (Some(seconds), Some(earlier)) if earlier < seconds => {
            errors.invalid(&deadline.path, seconds, "must be less than or equal to previous value");
            return errors;
        }
        (None, Some(_)) => {
            errors.invalid(
                &deadline.path,
                Value::Null,
                "must not update from a positive integer to nil value",
            );
        }
        _ => {}
    }
    only_added_tolerations(&mut errors, &spec.child("tolerations"), before.items("tolerations"));
    only_removed_gates(&mut errors, &spec.child("schedulingGates"), before.items("schedulingGates"));
    if equal(spec.value, before) {
        return errors;
    }
    let masked = mask(&mut errors, &spec, before);
    if !equal(&masked, before) {
        errors.forbidden(&spec.path, format!("{MAY_CHANGE}\n{}", diff::objects(before, &masked)));
    }
    errors
}

/// Validates that containers stay the same in number and keep an image; false when further rules make no sense.
fn images(errors: &mut ErrorList, at: &At<'_>, before: usize) -> bool {
    if at.len() != before {
        errors.forbidden(&at.path, "pod updates may not add or remove containers");
        return false;
    }
    for container in at.items() {
        let image = container.child("image");
        if image.str().is_empty() {
            errors.required(&image.path, "");
        }
        super::containers::trimmed_image(errors, &container);
    }
    true
}

/// Returns the new spec with all that may change put back.
fn mask(errors: &mut ErrorList, spec: &At<'_>, before: &Value) -> Value {
    let mut masked = spec.value.clone();
    for list in ["containers", "initContainers"] {
        for (container, earlier) in items_mut(&mut masked, list).zip(before.items(list)) {
            copy(container, earlier, "image");
        }
    }
    for name in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        copy(&mut masked, before, name);
    }
    let grace = "terminationGracePeriodSeconds";
    if before.int(grace).is_some_and(|seconds| seconds < 0) && masked.int(grace) == Some(1) {
        copy(&mut masked, before, grace);
    }
    if !before.items("schedulingGates").is_empty() {
        mask_gated(errors, spec, &mut masked, before);
    }
    masked
}

/// A Pod that waits at its gates may still be told more narrowly where to run.
fn mask_gated(errors: &mut ErrorList, spec: &At<'_>, masked: &mut Value, before: &Value) {
    let selector = spec.child("nodeSelector");
    if !equal(selector.value, before.at("nodeSelector")) {
        let lost = before.entries("nodeSelector").iter().any(|(key, value)| selector.value.at(key) != *value);
        if lost {
            errors.invalid(
                &selector.path,
                selector.value.clone(),
                "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
            );
        }
        copy(masked, before, "nodeSelector");
    }
    let affinity = spec.child("affinity").child("nodeAffinity");
    let earlier = before.dig(&["affinity", "nodeAffinity"]);
    if !equal(affinity.value, earlier) {
        node_affinity(errors, &affinity, earlier);
        let holder = field_at(masked, "affinity");
        set(holder, "nodeAffinity", earlier.clone());
    }
}

fn node_affinity(errors: &mut ErrorList, at: &At<'_>, before: &Value) {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    if before.at(required).is_null() {
        return;
    }
    let terms = at.child(required).child("nodeSelectorTerms");
    let earlier = before.at(required).items("nodeSelectorTerms");
    if !earlier.is_empty() && earlier.len() != terms.len() {
        errors.invalid_object(
            &terms.path,
            terms.value,
            "no additions/deletions to non-empty NodeSelectorTerms list are allowed",
        );
        return;
    }
    for (term, earlier) in terms.items().zip(earlier) {
        let lists = ["matchExpressions", "matchFields"];
        let was_empty = lists.iter().all(|list| earlier.items(list).is_empty());
        let grew_from_nothing = was_empty && lists.iter().any(|list| !term.value.items(list).is_empty());
        let kept = lists.iter().all(|list| term.value.items(list).starts_with(earlier.items(list)));
        if grew_from_nothing || !kept {
            errors.push(FieldError::invalid(
                &term.path,
                exported(term.value),
                "only additions are allowed (no mutations or deletions)",
            ));
        }
    }
}

fn only_added_tolerations(errors: &mut ErrorList, at: &At<'_>, before: &[Value]) {
    let without_seconds = |toleration: &Value| {
        let mut toleration = toleration.clone();
        remove(&mut toleration, "tolerationSeconds");
        toleration
    };
    for old in before {
        if !at.items().any(|new| equal(&without_seconds(new.value), &without_seconds(old))) {
            errors
                .forbidden(&at.path, "existing toleration can not be modified except its tolerationSeconds");
            return;
        }
    }
    scheduling::tolerations(errors, at);
}

fn only_removed_gates(errors: &mut ErrorList, at: &At<'_>, before: &[Value]) {
    for gate in at.items() {
        let name = gate.value.text("name");
        if !before.iter().any(|old| old.text("name") == name) {
            errors.forbidden(
                &gate.path.child("name"),
                format!("only deletion is allowed, but found new scheduling gate '{name}'"),
            );
        }
    }
}

fn annotations(errors: &mut ErrorList, new: &Value, old: &Value) {
    let at = At::field(new, "metadata").child("annotations");
    let before = old.dig(&["metadata", "annotations"]);
    let kind = |key: &str| match key {
        MIRROR => Some("mirror pod annotation"),
        key if key.starts_with(security::APPARMOR_ANNOTATION) => Some("AppArmor annotations"),
        _ => None,
    };
    for (key, value) in old.at("metadata").entries("annotations") {
        if at.value.at(key) != value
            && let Some(what) = kind(key)
        {
            errors.forbidden(&at.path.key(key), format!("may not remove or update {what}"));
        }
    }
    for (key, value) in at.entries().filter(|(key, _)| !before.has(key)) {
        if let Some(what) = kind(key) {
            errors.forbidden(&value.path, format!("may not add {what}"));
        }
    }
    security::annotations(errors, &at, &At::field(new, "spec"));
}

/// Validates a change of the status.
pub(crate) fn status(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    annotations(&mut errors, new, old);
    let conditions = At::new(Path::new("metadata").child("conditions"), new.dig(&["status", "conditions"]));
    for condition in conditions.items() {
        let kind = condition.child_as("type", "Type");
        if !matches!(kind.str(), "PodScheduled" | "Ready" | "Initialized") {
            errors.all(&kind.path, kind.str(), names::qualified_name(kind.str()));
        }
    }
    let (at, before) = (At::field(new, "status"), old.at("status"));
    if new.at("spec").text("nodeName") != old.at("spec").text("nodeName") {
        errors.forbidden(&at.path.child("nodeName"), "may not be changed directly");
    }
    let nominated = at.child("nominatedNodeName");
    if !nominated.str().is_empty() && nominated.str() != before.text("nominatedNodeName") {
        errors.all(&nominated.path, nominated.str(), names::subdomain_name(nominated.str(), false));
    }
    let class = at.child("qosClass");
    errors.immutable(&class.path, class.value, before.at("qosClass"));
    let spec = old.at("spec");
    for (list, policy) in [
        ("containerStatuses", spec.text("restartPolicy")),
        ("initContainerStatuses", spec.text("restartPolicy")),
        ("ephemeralContainerStatuses", "Never"),
    ] {
        transitions(&mut errors, &at.child(list), before.items(list), policy, spec);
    }
    for list in ["podIPs", "hostIPs"] {
        let ips = at.child(list);
        for ip in ips.items() {
            errors.all(&ip.path, ip.value.text("ip"), names::ip(ip.value.text("ip")));
        }
    }
    errors
}

fn transitions(errors: &mut ErrorList, at: &At<'_>, before: &[Value], policy: &str, spec: &Value) {
    if policy == "Always" {
        return;
    }
    for (index, old) in before.iter().enumerate() {
        let ended = old.dig(&["state", "terminated"]);
        let name = old.text("name");
        let sidecar = spec
            .items("initContainers")
            .iter()
            .any(|container| container.text("name") == name && container.text("restartPolicy") == "Always");
        if ended.is_null() || sidecar || (policy == "OnFailure" && ended.int("exitCode") != Some(0)) {
            continue;
        }
        let revived = at
            .items()
            .any(|new| new.value.text("name") == name && new.value.dig(&["state", "terminated"]).is_null());
        if revived {
            errors.forbidden(
                &at.path.index(index).child("state"),
                "may not be transitioned to non-terminated state",
            );
        }
    }
}

/// Validates a change through `pods/ephemeralcontainers`.
pub(crate) fn ephemeral_containers(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    if old.dig(&["metadata", "annotations"]).has(MIRROR) {
        return vec![FieldError::forbidden(
            &Path::new(""),
            "static pods do not support ephemeral containers",
        )];
    }
    let mut errors = metadata::validate_update(new, old, rules.core);
    errors.extend(whole(new, rules));
    annotations(&mut errors, new, old);
    let at = At::field(new, "spec").child("ephemeralContainers");
    for before in old.at("spec").items("ephemeralContainers") {
        let name = before.text("name");
        match at.items().find(|container| container.value.text("name") == name) {
            None => errors.forbidden(
                &at.path,
                format!("existing ephemeral containers {} may not be removed\n", go_quote(name)),
            ),
            Some(after) if !equal(before, after.value) => errors.forbidden(
                &at.path,
                format!(
                    "existing ephemeral containers {} may not be changed\n{}",
                    go_quote(name),
                    diff::objects(before, after.value)
                ),
            ),
            Some(_) => {}
        }
    }
    errors
}

/// Validates a change through `pods/resize`.
pub(crate) fn resize(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let refusal = |detail: &str| vec![FieldError::forbidden(&Path::new(""), detail)];
    let pod_level = |pod: &Value| {
        let own = pod.dig(&["spec", "resources"]);
        !own.entries("requests").is_empty() || !own.entries("limits").is_empty()
    };
    if pod_level(old) || pod_level(new) {
        return refusal("pods with pod-level resources cannot be resized");
    }
    if old.dig(&["metadata", "annotations"]).has(MIRROR) {
        return refusal("static pods cannot be resized");
    }
    if old.dig(&["spec", "os"]).text("name") == "windows" {
        return refusal("windows pods cannot be resized");
    }
    let mut errors = metadata::validate_update(new, old, rules.core);
    errors.extend(whole(new, rules));
    let (spec, before) = (At::field(new, "spec"), old.at("spec"));
    let class = match old.at("status").text("qosClass") {
        "" => qos_class(old).to_owned(),
        class => class.to_owned(),
    };
    if class != qos_class(new) {
        errors.invalid(&spec.path, class, "Pod QOS Class may not change as a result of resizing");
    }
    let running =
        old.at("status").items("containerStatuses").iter().find(|s| s.dig(&["state", "running"]).is_object());
    if running.is_some_and(|status| !status.has("resources")) {
        errors.forbidden(&spec.path, "Pod running on node without support for resize");
    }
    let mut masked = spec.value.clone();
    for list in ["initContainers", "containers"] {
        for (container, earlier) in spec.child(list).items().zip(before.items(list)) {
            let sidecar = earlier.text("restartPolicy") == "Always";
            if list == "containers" || sidecar {
                resized(&mut errors, &container.child("resources"), earlier);
            }
        }
    }
    for list in ["containers", "initContainers"] {
        for (container, earlier) in items_mut(&mut masked, list).zip(before.items(list)) {
            let sidecar = earlier.text("restartPolicy") == "Always";
            let detail = match (list, sidecar) {
                ("containers", _) => "only cpu and memory resources are mutable",
                (_, true) => "only cpu and memory resources for sidecar containers are mutable",
                (_, false) => "resources for non-sidecar init containers are immutable",
            };
            if list == "containers" || sidecar {
                put_compute_back(container, earlier);
            }
            if !equal(container, earlier) {
                errors.forbidden(&spec.path, detail);
            }
        }
    }
    if errors.is_empty() && !equal(&masked, before) {
        errors.forbidden(&spec.path, "only cpu and memory resources are mutable");
    }
    errors
}

fn put_compute_back(container: &mut Value, earlier: &Value) {
    for list in ["limits", "requests"] {
        let before = earlier.dig(&["resources", list]).clone();
        let resources = field_at(container, "resources");
        if before.is_null() {
            remove(resources, list);
            continue;
        }
        let amounts = map_at(resources, list);
        for name in ["cpu", "memory"] {
            match before.get(name) {
                Some(amount) => amounts.insert(name.to_owned(), amount.clone()),
                None => amounts.remove(name),
            };
        }
    }
}

/// What is asked for may change and not go. Since 1.34 a memory limit may go down: whether the container fits below it
/// is the kubelet's to find out.
fn resized(errors: &mut ErrorList, at: &At<'_>, earlier: &Value) {
    for list in ["requests", "limits"] {
        let lost = earlier.at("resources").entries(list).iter().any(|(name, _)| !at.value.at(list).has(name));
        if lost {
            errors.forbidden(&at.path.child(list), format!("resource {list} cannot be removed"));
        }
    }
}
