//! Webhook configurations of admission, and how any webhook is reached.

use serde_json::Value;

use super::cursor::{At, Faults};
use super::expressions::{Extras, match_conditions};
use super::metadata::{self, MetaRules, label_selector};
use super::names;
use crate::sim::field::{ErrorList, Path};
use crate::sim::object::{Fields, equal};

pub(super) fn create(kind: &str, object: &Value, rules: MetaRules) -> ErrorList {
    configuration(kind, object, rules, None)
}

/// Validates a changed configuration; match conditions that were there before stay unread.
pub(super) fn update(kind: &str, new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    configuration(kind, new, rules, Some(old))
}

fn configuration(kind: &str, object: &Value, rules: MetaRules, old: Option<&Value>) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let known: Vec<_> = old
        .map(|old| old.items("webhooks").iter().map(|hook| hook.at("matchConditions")).collect())
        .unwrap_or_default();
    let conditions: Vec<_> = object.items("webhooks").iter().map(|hook| hook.at("matchConditions")).collect();
    let same = old.is_some()
        && known.len() == conditions.len()
        && known.iter().zip(&conditions).all(|(old, new)| equal(old, new));
    let mut seen = Vec::new();
    for hook in At::field(object, "webhooks").items() {
        webhook(&mut errors, &hook, kind == "MutatingWebhookConfiguration", !same);
        review_versions(&mut errors, &hook.child("admissionReviewVersions"));
        let name = hook.child("name");
        if seen.contains(&name.str()) {
            errors.duplicate(&name.path, name.str());
        } else if !name.str().is_empty() {
            seen.push(name.str());
        }
    }
    errors
}

fn webhook(errors: &mut ErrorList, at: &At<'_>, mutating: bool, conditions: bool) {
    qualified(errors, &at.child("name"));
    for rule in at.child("rules").items() {
        rule_with_operations(errors, &rule);
    }
    choice(errors, &at.child("failurePolicy"), &["Fail", "Ignore"]);
    choice(errors, &at.child("matchPolicy"), &["Equivalent", "Exact"]);
    let effects = at.child("sideEffects");
    if effects.is_null() {
        errors.required(&effects.path, "must specify one of None, NoneOnDryRun");
    }
    choice(errors, &effects, &["None", "NoneOnDryRun"]);
    let timeout = at.child("timeoutSeconds");
    if let Some(seconds) = timeout.int()
        && !(1..=30).contains(&seconds)
    {
        errors.invalid(&timeout.path, seconds, "the timeout value must be between 1 and 30 seconds");
    }
    label_selector(errors, &at.child("namespaceSelector"));
    label_selector(errors, &at.child("objectSelector"));
    if mutating {
        choice(errors, &at.child("reinvocationPolicy"), &["IfNeeded", "Never"]);
    }
    client(errors, &at.child("clientConfig"));
    if conditions {
        let extras = Extras { params: false, authorizer: true };
        match_conditions(errors, &at.child("matchConditions"), extras);
    }
}

/// A value that must be one of some, where it is set.
pub(super) fn choice(errors: &mut ErrorList, at: &At<'_>, allowed: &[&str]) {
    if at.present() && !allowed.contains(&at.str()) {
        errors.not_supported(&at.path, at.str(), allowed);
    }
}

/// A name with at least three segments, such as that of a webhook.
fn qualified(errors: &mut ErrorList, at: &At<'_>) {
    let name = at.str();
    if name.is_empty() {
        errors.required(&at.path, "");
        return;
    }
    let messages = names::dns1123_subdomain(name);
    if !messages.is_empty() {
        errors.invalid(&at.path, name, messages.join(","));
        return;
    }
    if name.split('.').count() < 3 {
        errors.invalid(&at.path, name, "should be a domain with at least three segments separated by dots");
    }
}

/// Where a webhook is: at a URL or behind a Service.
pub(super) fn client(errors: &mut ErrorList, at: &At<'_>) {
    let (url, service) = (at.child("url"), at.child("service"));
    if url.present() == service.present() {
        errors.required(&at.path, "exactly one of url or service is required");
    } else if url.present() {
        client_url(errors, &url);
    } else {
        client_service(errors, &service);
    }
}

fn client_url(errors: &mut ErrorList, at: &At<'_>) {
    const FORM: &str = "; desired format: https://host[/path]";
    let url = match Url::parse(at.str()) {
        Ok(url) => url,
        Err(problem) => {
            errors.required(&at.path, &format!("url must be a valid URL: {problem}{FORM}"));
            return;
        }
    };
    if url.scheme != "https" {
        errors.invalid(
            &at.path,
            url.scheme.as_str(),
            format!("'https' is the only allowed URL scheme{FORM}"),
        );
    }
    if url.host.is_empty() {
        errors.invalid(&at.path, url.host, format!("host must be provided{FORM}"));
    }
    if let Some(user) = url.user {
        errors.invalid(&at.path, user, "user information is not permitted in the URL");
    }
    if !url.fragment.is_empty() {
        errors.invalid(&at.path, url.fragment, "fragments are not permitted in the URL");
    }
    if !url.query.is_empty() {
        errors.invalid(&at.path, url.query, "query parameters are not permitted in the URL");
    }
}

/// The parts of a URL that rules look at, cut as Go's `url.Parse` does.
struct Url<'a> {
    scheme: String,
    user: Option<&'a str>,
    host: &'a str,
    query: &'a str,
    fragment: &'a str,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let fault = |problem: &str| format!("parse {}: {problem}", crate::sim::field::go_quote(text));
        if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
            return Err(fault("net/url: invalid control character in URL"));
        }
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let (scheme, rest) = scheme(rest).map_err(fault)?;
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let Some(authority) = rest.strip_prefix("//") else {
            if scheme.is_empty() && rest.split('/').next().is_some_and(|first| first.contains(':')) {
                return Err(fault("first path segment in URL cannot contain colon"));
            }
            return Ok(Self { scheme, user: None, host: "", query, fragment });
        };
        let authority = authority.split('/').next().unwrap_or_default();
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        let port = match host.strip_prefix('[') {
            Some(inner) => match inner.split_once(']') {
                Some((_, port)) => port,
                None => return Err(fault("missing ']' in host")),
            },
            None => host.find(':').map_or("", |colon| &host[colon..]),
        };
        let digits = port.strip_prefix(':').unwrap_or(if port.is_empty() { "" } else { "x" });
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(fault(&format!("invalid port {} after host", crate::sim::field::go_quote(port))));
        }
        if host.contains(' ') {
            return Err(fault("invalid character \" \" in host name"));
        }
        Ok(Self { scheme, user, host, query, fragment })
    }
}

fn scheme(text: &str) -> Result<(String, &str), &'static str> {
    for (index, letter) in text.char_indices() {
        match letter {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if index > 0 => {}
            ':' if index == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((text[..index].to_lowercase(), &text[index + 1..])),
            _ => break,
        }
    }
    Ok((String::new(), text))
}

fn client_service(errors: &mut ErrorList, at: &At<'_>) {
    for (field, words) in
        [("name", "service name is required"), ("namespace", "service namespace is required")]
    {
        let field = at.child(field);
        if field.str().is_empty() {
            errors.required(&field.path, words);
        }
    }
    let port = at.child("port");
    if let Some(number) = port.int() {
        let messages = names::port_number(number);
        if !messages.is_empty() {
            errors.invalid(&port.path, number, format!("port is not valid: {}", messages.join(", ")));
        }
    }
    let path = at.child("path");
    let text = path.str();
    if text.is_empty() || text == "/" {
        return;
    }
    if text == "//" {
        errors.invalid(&path.path, text, "segment[0] may not be empty");
        return;
    }
    let Some(rest) = text.strip_prefix('/') else {
        errors.invalid(&path.path, text, "must start with a '/'");
        return;
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    for (index, step) in rest.split('/').enumerate() {
        if step.is_empty() {
            errors.invalid(&path.path, text, format!("segment[{index}] may not be empty"));
            continue;
        }
        for message in names::dns1123_subdomain(step) {
            errors.invalid(&path.path, text, format!("segment[{index}]: {message}"));
        }
    }
}

fn review_versions(errors: &mut ErrorList, list: &At<'_>) {
    const ACCEPTED: [&str; 2] = ["v1", "v1beta1"];
    if list.is_empty() {
        errors.required(&list.path, "must specify one of v1, v1beta1");
        return;
    }
    let mut seen = Vec::new();
    for version in list.items() {
        if seen.contains(&version.str()) {
            errors.invalid(&version.path, version.str(), "duplicate version");
            continue;
        }
        seen.push(version.str());
        errors.all(&version.path, version.str(), names::dns1035_label(version.str()));
    }
    if !seen.iter().any(|version| ACCEPTED.contains(version)) {
        errors.invalid(&list.path, list.value.clone(), "must include at least one of v1, v1beta1");
    }
}

/// Which requests a webhook or a policy is for.
pub(super) fn rule_with_operations(errors: &mut ErrorList, at: &At<'_>) {
    let operations = at.child("operations");
    if operations.is_empty() {
        errors.required(&operations.path, "");
    }
    alone(errors, &operations, "if '*' is present, must not specify other operations");
    for operation in operations.items() {
        choice(errors, &operation, &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"]);
    }
    let groups = at.child("apiGroups");
    if groups.is_empty() {
        errors.required(&groups.path, "");
    }
    alone(errors, &groups, "if '*' is present, must not specify other API groups");
    let versions = at.child("apiVersions");
    if versions.is_empty() {
        errors.required(&versions.path, "");
    }
    alone(errors, &versions, "if '*' is present, must not specify other API versions");
    for version in versions.items().filter(|version| version.str().is_empty()) {
        errors.required(&version.path, "");
    }
    resources(errors, &at.child("resources"));
    choice(errors, &at.child("scope"), &["*", "Cluster", "Namespaced"]);
}

/// The wildcard must be alone in its list.
fn alone(errors: &mut ErrorList, list: &At<'_>, words: &str) {
    if list.len() > 1 && list.strings().contains(&"*") {
        errors.invalid(&list.path, list.value.clone(), words);
    }
}

fn resources(errors: &mut ErrorList, list: &At<'_>) {
    if list.is_empty() {
        errors.required(&list.path, "");
    }
    let (mut all_parts, mut of_all) = (Vec::new(), Vec::new());
    let (mut everything, mut all, mut whole) = (false, false, false);
    for item in list.items() {
        let text = item.str();
        if text.is_empty() {
            errors.required(&item.path, "");
            continue;
        }
        everything |= text == "*/*";
        all |= text == "*";
        let Some((resource, part)) = text.split_once('/') else {
            whole = text != "*";
            continue;
        };
        if all_parts.contains(&resource) {
            let words = format!("if '{resource}/*' is present, must not specify {text}");
            errors.invalid(&item.path, text, words);
        }
        if of_all.contains(&part) {
            errors.invalid(&item.path, text, format!("if '*/{part}' is present, must not specify {text}"));
        }
        if part == "*" {
            all_parts.push(resource);
        }
        if resource == "*" {
            of_all.push(part);
        }
    }
    if list.len() > 1 && everything {
        let words = "if '*/*' is present, must not specify other resources";
        errors.invalid(&list.path, list.value.clone(), words);
    }
    if all && whole {
        let words = "if '*' is present, must not specify other resources without subresources";
        errors.invalid(&list.path, list.value.clone(), words);
    }
}

/// The kind of parameters that a policy takes.
pub(super) fn param_kind(errors: &mut ErrorList, at: &At<'_>) {
    let (version, kind) = (at.child("apiVersion"), at.child("kind"));
    group_version(errors, &version);
    if kind.str().is_empty() {
        errors.required(&kind.path, "");
    } else {
        let messages = names::dns1035_label(&kind.str().to_lowercase());
        if !messages.is_empty() {
            let words = format!("may have mixed case, but should otherwise match: {}", messages.join(","));
            errors.invalid(&kind.path, kind.str(), words);
        }
    }
}

fn group_version(errors: &mut ErrorList, at: &At<'_>) {
    let text = at.str();
    if text.is_empty() {
        errors.required(&at.path, "");
        return;
    }
    let (group, version) = text.split_once('/').unwrap_or(("", text));
    if version.contains('/') {
        errors.invalid(&at.path, text, format!("unexpected GroupVersion string: {text}"));
        return;
    }
    let mut check = |part: &str, messages: Vec<String>| {
        if !messages.is_empty() {
            errors.invalid(&at.path, part, messages.join(","));
        }
    };
    if !group.is_empty() {
        check(group, names::dns1123_subdomain(group));
    }
    if version.is_empty() {
        check(text, vec!["version must be specified".to_owned()]);
    } else {
        check(version, names::dns1035_label(version));
    }
}

/// Files the messages about a qualified name.
pub(super) fn qualified_name(errors: &mut ErrorList, path: &Path, name: &str) {
    errors.all(path, name, names::qualified_name(name));
}
