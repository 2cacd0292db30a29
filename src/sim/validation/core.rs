//! The smaller kinds of the core group: ConfigMaps and Secrets, Namespaces, quotas and limits, Endpoints, Events.

use base64::Engine;
use serde_json::Value;

use super::cursor::{At, Faults};
use super::metadata::{self, MetaRules};
use super::pod::{self, containers};
use super::{names, resources};
use crate::sim::field::{ErrorList, FieldError, Path, go_quote};
use crate::sim::object::{Fields, equal, is_empty};
use crate::sim::quantity::Quantity;

const MAX_DATA: usize = 1024 * 1024;
const FIXED: &str = "field is immutable when `immutable` is set";

fn bytes(value: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default()
}

pub(super) fn config_map(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let mut size = 0;
    for (key, value) in At::field(object, "data").entries() {
        errors.all(&value.path, key, names::config_map_key(key));
        if object.at("binaryData").has(key) {
            errors.invalid(&value.path, key, "duplicate of key present in binaryData");
        }
        size += value.len();
    }
    for (key, value) in At::field(object, "binaryData").entries() {
        errors.all(&value.path, key, names::config_map_key(key));
        size += bytes(value.value).len();
    }
    if size > MAX_DATA {
        errors.too_long(&Path::new(""), MAX_DATA);
    }
    errors
}

pub(super) fn config_map_update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    fixed(&mut errors, new, old, &["data", "binaryData"]);
    errors.extend(config_map(new, rules));
    errors
}

fn fixed(errors: &mut ErrorList, new: &Value, old: &Value, fields: &[&str]) {
    if old.truth("immutable") != Some(true) {
        return;
    }
    if new.truth("immutable") != Some(true) {
        errors.forbidden(&Path::new("immutable"), FIXED);
    }
    for name in fields {
        if !equal(new.at(name), old.at(name)) {
            errors.forbidden(&Path::new(name), FIXED);
        }
    }
}

pub(super) fn secret(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let data = At::field(object, "data");
    let mut size = 0;
    for (key, value) in data.entries() {
        errors.all(&value.path, key, names::config_map_key(key));
        size += bytes(value.value).len();
    }
    if size > MAX_DATA {
        errors.too_long(&data.path, MAX_DATA);
    }
    let mut need = |key: &str| errors.required(&data.path.key(key), "");
    match object.text("type") {
        "kubernetes.io/service-account-token" => {
            let key = "kubernetes.io/service-account.name";
            if object.dig(&["metadata", "annotations", key]).as_str().unwrap_or_default().is_empty() {
                errors.required(&Path::new("metadata").child("annotations").key(key), "");
            }
        }
        "kubernetes.io/dockercfg" => json_key(&mut errors, &data, ".dockercfg"),
        "kubernetes.io/dockerconfigjson" => json_key(&mut errors, &data, ".dockerconfigjson"),
        "kubernetes.io/basic-auth"
            if data.value.get("username").is_none() && data.value.get("password").is_none() =>
        {
            need("username");
            need("password");
        }
        "kubernetes.io/ssh-auth" if bytes(data.value.at("ssh-privatekey")).is_empty() => {
            need("ssh-privatekey");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if data.value.get(key).is_none() {
                    need(key);
                }
            }
        }
        _ => {}
    }
    errors
}

fn json_key(errors: &mut ErrorList, data: &At<'_>, key: &str) {
    let Some(value) = data.value.get(key) else {
        errors.required(&data.path.key(key), "");
        return;
    };
    if let Some(fault) = json_fault(&bytes(value)) {
        errors.invalid(&data.path.key(key), "<secret contents redacted>", fault);
    }
}

/// Returns what Go says of bytes that are no JSON object.
fn json_fault(bytes: &[u8]) -> Option<String> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(Value::Object(_) | Value::Null) => None,
        Ok(other) => {
            let kind = match other {
                Value::String(_) => "string",
                Value::Number(_) => "number",
                Value::Bool(_) => "bool",
                _ => "array",
            };
            Some(format!("json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"))
        }
        Err(error) if error.is_eof() => Some("unexpected end of JSON input".to_owned()),
        Err(error) => {
            let line_start: usize =
                bytes.split(|byte| *byte == b'\n').take(error.line() - 1).map(|line| line.len() + 1).sum();
            let at = line_start + error.column().saturating_sub(1);
            let found = String::from_utf8_lossy(bytes.get(at..).unwrap_or_default()).chars().next();
            let found = go_quote(&found.unwrap_or(' ').to_string()).replace('"', "'");
            Some(format!("invalid character {found} looking for beginning of value"))
        }
    }
}

pub(super) fn secret_update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    errors.immutable(&Path::new("type"), new.at("type"), old.at("type"));
    fixed(&mut errors, new, old, &["data"]);
    errors.extend(secret(new, rules));
    errors
}

pub(super) fn namespace(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let path = Path::new("spec").child("finalizers");
    for name in object.at("spec").texts("finalizers") {
        finalizer(&mut errors, &path, name);
    }
    errors
}

fn finalizer(errors: &mut ErrorList, path: &Path, name: &str) {
    errors.all(path, name, names::qualified_name(name));
    metadata::standard_finalizer(errors, path, name);
}

pub(super) fn namespace_update(new: &Value, old: &Value, subresource: &str, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    match subresource {
        "status" => {
            let phase = new.at("status").text("phase");
            let path = Path::new("status").child("Phase");
            if !new.at("metadata").has("deletionTimestamp") {
                if phase != "Active" {
                    errors.invalid(&path, phase, "may only be 'Active' if `deletionTimestamp` is empty");
                }
            } else if phase != "Terminating" {
                errors.invalid(&path, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
            }
        }
        "finalize" => {
            for name in At::field(new, "spec").child("finalizers").items() {
                finalizer(&mut errors, &name.path, name.str());
            }
        }
        _ => {}
    }
    errors
}

const LIMIT_TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];

pub(super) fn limit_range(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let mut seen = Vec::new();
    for limit in At::field(object, "spec").child("limits").items() {
        let kind = limit.child("type");
        let messages = names::qualified_name(kind.str());
        if messages.is_empty() && !kind.str().contains('/') && !LIMIT_TYPES.contains(&kind.str()) {
            errors.invalid(&kind.path, kind.str(), "must be a standard limit type or fully qualified");
        }
        errors.all(&kind.path, kind.str(), messages);
        if seen.contains(&kind.str()) {
            errors.duplicate(&kind.path, kind.str());
        }
        seen.push(kind.str());
        limit_item(&mut errors, &limit, kind.str());
    }
    errors
}

fn limit_item(errors: &mut ErrorList, limit: &At<'_>, kind: &str) {
    let names_in = |errors: &mut ErrorList, list: &str| {
        for (name, amount) in limit.child(list).entries() {
            errors.extend(match kind {
                "Pod" | "Container" => resources::container_resource_name(&amount.path, name),
                _ => resources::resource_name(&amount.path, name),
            });
        }
    };
    names_in(errors, "max");
    names_in(errors, "min");
    for list in ["default", "defaultRequest"] {
        if kind != "Pod" {
            names_in(errors, list);
        } else if !limit.child(list).is_empty() {
            errors.forbidden(&limit.path.child(list), "may not be specified when `type` is 'Pod'");
        }
    }
    let has_storage = |list: &str| limit.value.at(list).has("storage");
    if kind == "PersistentVolumeClaim" && !has_storage("min") && !has_storage("max") {
        errors.required(
            &limit.path.child("limits"),
            "either minimum or maximum storage value is required, but neither was provided",
        );
    }
    names_in(errors, "maxLimitRequestRatio");
    let lists = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];
    let mut keys: Vec<&str> =
        lists.iter().flat_map(|list| limit.value.entries(list)).map(|(name, _)| name).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        limit_amounts(errors, limit, kind, key);
    }
}

fn limit_amounts(errors: &mut ErrorList, limit: &At<'_>, kind: &str, key: &str) {
    let amount = |list: &str| {
        let value = limit.value.at(list).at(key);
        let hidden = kind == "Pod" && list.starts_with("default");
        (!value.is_null() && !hidden).then(|| Quantity::of(value))
    };
    let (min, max) = (amount("min"), amount("max"));
    let (default, request, ratio) =
        (amount("default"), amount("defaultRequest"), amount("maxLimitRequestRatio"));
    let mut greater = |a: Option<Quantity>,
                       b: Option<Quantity>,
                       list: &str,
                       shown: Option<Quantity>,
                       words: (&str, &str)| {
        if let (Some(a), Some(b), Some(shown)) = (a, b, shown)
            && a > b
        {
            errors.invalid(
                &limit.path.child(list).key(key),
                shown,
                format!("{} value {a} is greater than {} value {b}", words.0, words.1),
            );
        }
    };
    greater(min, max, "min", min, ("min", "max"));
    greater(min, request, "defaultRequest", request, ("min", "default request"));
    greater(request, max, "defaultRequest", request, ("default request", "max"));
    greater(request, default, "defaultRequest", request, ("default request", "default limit"));
    greater(min, default, "default", min, ("min", "default"));
    greater(default, max, "default", max, ("default", "max"));
    if let Some(ratio) = ratio {
        let path = limit.path.child("maxLimitRequestRatio").key(key);
        if ratio < Quantity::units(1, crate::sim::quantity::Format::DecimalSi) {
            errors.invalid(&path, ratio, format!("ratio {ratio} is less than 1"));
        }
        if let (Some(min), Some(max)) = (min, max) {
            let bound = max.as_f64() / min.as_f64();
            if ratio.as_f64() > bound {
                errors.invalid(&path, ratio, format!("ratio {ratio} is greater than max/min = {bound:.6}"));
            }
        }
    }
    if let (Some(default), Some(request)) = (default, request)
        && !resources::is_overcommit_allowed(key)
        && default != request
    {
        errors.invalid(
            &limit.path.child("defaultRequest").key(key),
            request,
            format!("default value {default} must equal to defaultRequest value {request} in {key}"),
        );
    }
}

const SCOPES: [&str; 7] = [
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "CrossNamespacePodAffinity",
    "VolumeAttributesClass",
];

pub(super) fn resource_quota(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    quota_spec(&mut errors, &At::field(object, "spec"));
    let status = At::field(object, "status");
    quota_amounts(&mut errors, &status.child("hard"));
    quota_amounts(&mut errors, &status.child("used"));
    errors
}

fn quota_amounts(errors: &mut ErrorList, at: &At<'_>) {
    for (name, amount) in at.entries() {
        errors.extend(resources::quota_resource_name(&amount.path, name));
        resources::quantity(errors, name, &amount);
    }
}

fn quota_spec(errors: &mut ErrorList, at: &At<'_>) {
    quota_amounts(errors, &at.child("hard"));
    let scopes = at.child("scopes");
    let misfits = |scope: &str| {
        at.value
            .entries("hard")
            .iter()
            .filter(|(name, _)| resources::is_standard_quota(name) && !scope_fits(scope, name))
            .count()
    };
    for scope in scopes.strings() {
        if !SCOPES.contains(&scope) {
            errors.invalid(&scopes.path, scopes.value.clone(), "unsupported scope");
        }
        for _ in 0..misfits(scope) {
            errors.invalid(&scopes.path, scopes.value.clone(), "unsupported scope applied to resource");
        }
    }
    let conflicts = |list: &[&str]| {
        [("BestEffort", "NotBestEffort"), ("NotTerminating", "Terminating")]
            .iter()
            .filter(|(a, b)| list.contains(a) && list.contains(b))
            .count()
    };
    for _ in 0..conflicts(&scopes.strings()) {
        errors.invalid(&scopes.path, scopes.value.clone(), "conflicting scopes");
    }
    let selector = at.child("scopeSelector");
    let rules = selector.child("matchExpressions");
    for rule in rules.value.as_array().into_iter().flatten() {
        let (scope, operator) = (rule.text("scopeName"), rule.text("operator"));
        let told = |name: &str| rules.path.child(name);
        if !SCOPES.contains(&scope) {
            errors.invalid(&told("scopeName"), scope, "unsupported scope");
        }
        for _ in 0..misfits(scope) {
            errors.invalid_object(&rules.path, selector.value, "unsupported scope applied to resource");
        }
        if (SCOPES[..4].contains(&scope) || scope == "CrossNamespacePodAffinity") && operator != "Exists" {
            errors.invalid(
                    &told("operator"),
                    operator,
                    "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
                );
        }
        match operator {
            "In" | "NotIn" if is_empty(rule.at("values")) => errors.required(
                &told("values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            ),
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" => {
                if !is_empty(rule.at("values")) {
                    errors.invalid(
                        &told("values"),
                        rule.at("values").clone(),
                        "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
                    );
                }
            }
            other => errors.invalid(&told("operator"), other, "not a valid selector operator"),
        }
    }
    let named: Vec<&str> =
        selector.value.items("matchExpressions").iter().map(|rule| rule.text("scopeName")).collect();
    for _ in 0..conflicts(&named) {
        errors.invalid(&rules.path, scopes.value.clone(), "conflicting scopes");
    }
}

fn scope_fits(scope: &str, name: &str) -> bool {
    let compute =
        ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"].contains(&name);
    match scope {
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => name == "pods" || compute,
        "BestEffort" => name == "pods",
        "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

pub(super) fn resource_quota_update(
    new: &Value,
    old: &Value,
    subresource: &str,
    rules: MetaRules,
) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    if subresource == "status" {
        let status = At::field(new, "status");
        quota_amounts(&mut errors, &status.child("hard"));
        quota_amounts(&mut errors, &status.child("used"));
        return errors;
    }
    let spec = At::field(new, "spec");
    quota_spec(&mut errors, &spec);
    let sorted = |object: &Value| {
        let mut list: Vec<String> =
            object.at("spec").texts("scopes").iter().map(ToString::to_string).collect();
        list.sort();
        list
    };
    if sorted(new) != sorted(old) {
        let scopes = spec.child("scopes");
        errors.invalid(&scopes.path, scopes.value.clone(), super::cursor::IMMUTABLE);
    }
    errors
}

pub(super) fn replication_controller(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    controller_spec(&mut errors, object);
    errors
}

pub(super) fn replication_controller_update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    controller_spec(&mut errors, new);
    errors
}

fn controller_spec(errors: &mut ErrorList, object: &Value) {
    let spec = At::field(object, "spec");
    errors.negative(&spec.child("minReadySeconds"));
    let selector = spec.child("selector");
    if selector.is_empty() {
        errors.required(&selector.path, "");
    }
    errors.negative(&spec.child("replicas"));
    let template = spec.child("template");
    if template.is_null() {
        errors.required(&template.path, "");
        return;
    }
    let labels = template.value.dig(&["metadata", "labels"]);
    if selector.entries().any(|(key, value)| labels.at(key) != value.value) {
        errors.invalid(
            &template.path.child("metadata").child("labels"),
            labels.clone(),
            "`selector` does not match template `labels`",
        );
    }
    pod::template(errors, &template);
    super::apps::runs_for_ever(errors, &template, "ReplicationController");
}

pub(super) fn endpoints(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    for subset in At::field(object, "subsets").items() {
        let (ready, waiting) = (subset.child("addresses"), subset.child("notReadyAddresses"));
        if ready.is_empty() && waiting.is_empty() {
            errors.required(&subset.path, "must specify `addresses` or `notReadyAddresses`");
        }
        for address in ready.items().chain(waiting.items()) {
            let (ip, host, node) =
                (address.child("ip"), address.child("hostname"), address.child("nodeName"));
            errors.all(&ip.path, ip.str(), names::ip(ip.str()));
            if !host.str().is_empty() {
                errors.all(&host.path, host.str(), names::dns1123_label(host.str()));
            }
            if node.present() {
                errors.all(&node.path, node.str(), names::subdomain_name(node.str(), false));
            }
            ordinary_ip(&mut errors, &ip);
        }
        let ports = subset.child("ports");
        for port in ports.items() {
            let name = port.child("name");
            if name.str().is_empty() {
                if ports.len() > 1 {
                    errors.required(&name.path, "");
                }
            } else {
                errors.all(&name.path, name.str(), names::dns1123_label(name.str()));
            }
            containers::port_number(&mut errors, &port.child("port"));
            containers::protocol(&mut errors, &port.child("protocol"));
            let protocol = port.child("appProtocol");
            if protocol.present() {
                errors.all(&protocol.path, protocol.str(), names::qualified_name(protocol.str()));
            }
        }
    }
    errors
}

/// Validates that an address is one that something else can be reached at.
pub(super) fn ordinary_ip(errors: &mut ErrorList, at: &At<'_>) {
    let Some(ip) = names::parse_ip(at.str()) else {
        errors.invalid(&at.path, at.str(), "must be a valid IP address");
        return;
    };
    let (link_local, multicast) = match ip {
        std::net::IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        std::net::IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] == 0xff02),
    };
    if ip.is_unspecified() {
        errors.invalid(&at.path, at.str(), format!("may not be unspecified ({})", at.str()));
    }
    if ip.is_loopback() {
        errors.invalid(&at.path, at.str(), "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if link_local {
        errors.invalid(&at.path, at.str(), "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if multicast {
        errors.invalid(
            &at.path,
            at.str(),
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        );
    }
}

/// Validates an Event as stored, in the core group's form. `new_form` is whether events.k8s.io/v1 was asked.
pub(super) fn event(object: &Value, new_form: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let field = |names: &[&str], path: &[&str]| {
        let at = names.iter().find(|name| object.has(name)).copied().unwrap_or(names[0]);
        let path = path.iter().fold(Path::new(""), |path, name| path.child(name));
        At::new(path, object.at(at))
    };
    let namespace = object.at("metadata").text("namespace");
    let (subject, shown) = if new_form {
        (object.at("regarding"), "regarding")
    } else {
        (object.at("involvedObject"), "involvedObject")
    };
    let _ = shown;
    let involved = At::new(Path::new("involvedObject").child("namespace"), subject.at("namespace"));
    let timed = object.has("eventTime");
    let mismatch = if timed {
        involved.str().is_empty() && !matches!(namespace, "default" | "kube-system")
    } else if involved.str().is_empty() {
        !matches!(namespace, "" | "default")
    } else {
        involved.str() != namespace
    };
    if mismatch {
        errors.invalid(&involved.path, involved.str(), "does not match event.namespace");
    }
    if timed {
        let name = if new_form { "reportingController" } else { "reportingComponent" };
        let reporter = field(&["reportingComponent", "reportingController"], &[name]);
        if reporter.str().is_empty() {
            errors.required(&reporter.path, "");
        }
        errors.all(&reporter.path, reporter.str(), names::qualified_name(reporter.str()));
        for name in ["reportingInstance", "action", "reason"] {
            let text = field(&[name], &[name]);
            if text.str().is_empty() {
                errors.required(&text.path, "");
            }
            if text.len() > 128 {
                errors.invalid(&text.path, "", "can have at most 128 characters");
            }
        }
        let message = field(&["message", "note"], &["message"]);
        if message.len() > 1024 {
            errors.invalid(&message.path, "", "can have at most 1024 characters");
        }
    }
    errors.all(&Path::new("namespace"), namespace, names::dns1123_subdomain(namespace));
    if !new_form {
        return errors;
    }
    if !timed {
        errors.required(&Path::new("eventTime"), "");
    }
    let kind = object.text("type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.invalid(&Path::new("type"), "", format!("has invalid value: {kind}"));
    }
    for (name, shown) in
        [("deprecatedFirstTimestamp", "firstTimestamp"), ("deprecatedLastTimestamp", "lastTimestamp")]
    {
        if object.has(name) {
            errors.invalid(&Path::new(shown), "", "needs to be unset");
        }
    }
    if object.int("deprecatedCount").is_some_and(|count| count != 0) {
        errors.invalid(&Path::new("count"), "", "needs to be unset");
    }
    errors
}

pub(super) fn event_update(new: &Value, old: &Value, new_form: bool) -> ErrorList {
    let mut errors = event(new, new_form);
    if !new_form {
        return errors;
    }
    for name in
        ["regarding", "reason", "reportingController", "reportingInstance", "action", "type", "eventTime"]
    {
        let shown = if name == "regarding" { "involvedObject" } else { name };
        errors.immutable(&Path::new(shown), new.at(name), old.at(name));
    }
    errors
}

/// Validates how long a token is asked for.
pub(super) fn token_request(object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let seconds = At::field(object, "spec").child("expirationSeconds");
    if seconds.number() < 600 {
        errors.push(FieldError::invalid(
            &seconds.path,
            seconds.number(),
            "may not specify a duration less than 10 minutes",
        ));
    }
    if seconds.number() > 1 << 32 {
        errors.invalid(
            &seconds.path,
            seconds.number(),
            "may not specify a duration larger than 2^32 seconds",
        );
    }
    errors
}
