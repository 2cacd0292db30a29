//! Reading a policy file as the API server does: strictly first, then without what it does not know, in its words.
//!
//! Upstream: `k8s.io/apiserver/pkg/audit/policy/reader.go`.

use serde_json::Value;

use crate::audit_policy::{self, Policy};
use crate::sim::api::parse_yaml;
use crate::sim::object::Fields as _;

/// The keys of each level of a policy.
const POLICY: [&str; 6] = ["apiVersion", "kind", "metadata", "rules", "omitStages", "omitManagedFields"];
const RULE: [&str; 9] = [
    "level",
    "users",
    "userGroups",
    "verbs",
    "resources",
    "namespaces",
    "nonResourceURLs",
    "omitStages",
    "omitManagedFields",
];
const RESOURCES: [&str; 3] = ["group", "resources", "resourceNames"];

/// Reads the policy in `text`, which lies at `path`. The second is what the server warns of in its log.
///
/// # Errors
/// Why the server does not start with it: `failed decoding: ...: from file /etc/kubernetes/audit/policy.yaml`.
pub fn load(text: &str, path: &str) -> Result<(Policy, Option<String>), String> {
    read(text).map_err(|why| format!("{why}: from file {path}"))
}

fn read(text: &str) -> Result<(Policy, Option<String>), String> {
    let mut document = parse_yaml(text).map_err(|why| format!("failed decoding: {why}"))?;
    if document.is_null() {
        document = Value::Object(serde_json::Map::new());
    }
    if !document.is_object() {
        return Err("failed decoding: couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of \
                    type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
                    \"json:\\\"kind,omitempty\\\"\" }"
            .to_owned());
    }
    let (version, kind) = (document.text("apiVersion").to_owned(), document.text("kind").to_owned());
    let known = version == "audit.k8s.io/v1" && kind == "Policy";
    // Without both, the file is taken for the internal form, which is refused once it is read.
    if !known && !version.is_empty() && !kind.is_empty() {
        return Err(format!(
            "failed decoding: no kind {kind:?} is registered for version {version:?} in scheme \"pkg/audit/scheme.go:30\""
        ));
    }
    let unknown = prune(&mut document, known);
    let warning = (!unknown.is_empty()).then(|| {
        let fields: Vec<String> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
        format!(
            "Audit policy contains errors, falling back to lenient decoding: strict decoding error: {}",
            fields.join(", ")
        )
    });
    if !known {
        return Err("unknown group version field audit.k8s.io/__internal, Kind=Policy in policy".to_owned());
    }
    let faults = audit_policy::faults(&document);
    if !faults.is_empty() {
        let said = |(path, text): &(String, String)| match path.as_str() {
            "" => text.clone(),
            path => format!("{path}: {text}"),
        };
        let all: Vec<String> = faults.iter().map(said).collect();
        return Err(if all.len() == 1 { all[0].clone() } else { format!("[{}]", all.join(", ")) });
    }
    let policy = serde_json::from_value(document)
        .map_err(|error| format!("failed decoding: json: cannot unmarshal: {error}"))?;
    Ok((policy, warning))
}

/// Takes away the keys that a policy does not have, and returns where they were. The internal form of a policy has no
/// names that a file could use.
fn prune(document: &mut Value, is_versioned: bool) -> Vec<String> {
    let mut unknown = Vec::new();
    let keys: &[&str] = if is_versioned { &POLICY } else { &["apiVersion", "kind"] };
    keep(document, keys, "", &mut unknown);
    for (index, rule) in items(document, "rules").enumerate() {
        let at = format!("rules[{index}].");
        keep(rule, &RULE, &at, &mut unknown);
        for (nth, resources) in items(rule, "resources").enumerate() {
            keep(resources, &RESOURCES, &format!("{at}resources[{nth}]."), &mut unknown);
        }
    }
    unknown
}

fn items<'a>(of: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    of.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

fn keep(of: &mut Value, keys: &[&str], at: &str, unknown: &mut Vec<String>) {
    let Some(fields) = of.as_object_mut() else { return };
    fields.retain(|key, _| {
        let known = keys.contains(&key.as_str());
        if !known {
            unknown.push(format!("{at}{key}"));
        }
        known
    });
}
