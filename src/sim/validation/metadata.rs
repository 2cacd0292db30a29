//! ObjectMeta and label selectors: what holds for every kind (k8s.io/apimachinery/pkg/api/validation).

use serde_json::Value;

use super::cursor::{At, Faults};
use super::names::{self, NameRule};
use crate::sim::field::{ErrorList, Path, go_quote};
use crate::sim::object::Fields;

const ANNOTATIONS_LIMIT: usize = 256 * 1024;
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

/// What ObjectMeta is held to: how the kind's names look and where its objects live.
#[derive(Clone, Copy)]
pub(crate) struct MetaRules {
    pub(crate) namespaced: bool,
    pub(crate) name: NameRule,
    /// Whether unqualified finalizers must be standard ones: so for most kinds, not for API extensions.
    pub(crate) core: bool,
}

/// Validates the metadata of a new object.
pub(crate) fn validate(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = ErrorList::new();
    let meta = At::field(object, "metadata");
    validate_meta(&mut errors, &meta, rules);
    if rules.core {
        core_finalizers(&mut errors, &meta.child("finalizers"));
    }
    errors
}

fn validate_meta(errors: &mut ErrorList, meta: &At<'_>, rules: MetaRules) {
    let generate = meta.child("generateName");
    if !generate.str().is_empty() {
        errors.all(&generate.path, generate.str(), (rules.name)(generate.str(), true));
    }
    let name = meta.child("name");
    if name.str().is_empty() {
        errors.required(&name.path, "name or generateName is required");
    } else {
        errors.all(&name.path, name.str(), (rules.name)(name.str(), false));
    }
    let namespace = meta.child("namespace");
    match (rules.namespaced, namespace.str()) {
        (true, "") => errors.required(&namespace.path, ""),
        (true, text) => errors.all(&namespace.path, text, names::label_name(text, false)),
        (false, "") => {}
        (false, _) => errors.forbidden(&namespace.path, "not allowed on this type"),
    }
    errors.negative(&meta.child("generation"));
    labels(errors, &meta.child("labels"));
    annotations(errors, &meta.child("annotations"));
    owner_references(errors, &meta.child("ownerReferences"));
    finalizers(errors, &meta.child("finalizers"));
    managed_fields(errors, &meta.child("managedFields"));
}

/// Validates the checks that run for every kind after its own: the name fits in a URL.
pub(crate) fn validate_generic(object: &Value, namespaced: bool) -> ErrorList {
    validate(object, MetaRules { namespaced, name: names::path_segment_name, core: false })
}

/// Validates the metadata of a changed object.
pub(crate) fn validate_update(new: &Value, old: &Value, core: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    let (meta, before) = (At::field(new, "metadata"), old.at("metadata"));
    if before.has("deletionTimestamp") {
        no_new_finalizers(&mut errors, &meta.child("finalizers"), before);
    }
    let version = meta.child("resourceVersion");
    if version.str().is_empty() {
        errors.invalid(&version.path, "", "must be specified for an update");
    }
    let generation = meta.child("generation");
    if generation.number() < before.int("generation").unwrap_or_default() {
        errors.invalid(&generation.path, generation.number(), "must not be decremented");
    }
    for name in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        errors.immutable(&meta.path.child(name), meta.value.at(name), before.at(name));
    }
    labels(&mut errors, &meta.child("labels"));
    annotations(&mut errors, &meta.child("annotations"));
    owner_references(&mut errors, &meta.child("ownerReferences"));
    managed_fields(&mut errors, &meta.child("managedFields"));
    if core {
        core_finalizers(&mut errors, &meta.child("finalizers"));
    }
    errors
}

fn no_new_finalizers(errors: &mut ErrorList, at: &At<'_>, before: &Value) {
    let old = before.texts("finalizers");
    let mut added: Vec<&str> = at.strings().into_iter().filter(|name| !old.contains(name)).collect();
    added.sort_unstable();
    added.dedup();
    if !added.is_empty() {
        let list: Vec<String> = added.iter().map(|name| go_quote(name)).collect();
        errors.forbidden(
            &at.path,
            format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                list.join(", ")
            ),
        );
    }
}

/// Validates labels; the key's fault and the value's are both told at the map.
pub(crate) fn labels(errors: &mut ErrorList, at: &At<'_>) {
    for (key, value) in at.entries() {
        errors.all(&at.path, key, names::qualified_name(key));
        errors.all(&at.path, value.str(), names::label_value(value.str()));
    }
}

/// Validates one label's key at its own place.
pub(crate) fn label_key(errors: &mut ErrorList, path: &Path, key: &str) {
    errors.all(path, key, names::qualified_name(key));
}

pub(crate) fn annotations(errors: &mut ErrorList, at: &At<'_>) {
    let mut size = 0;
    for (key, value) in at.entries() {
        errors.all(&at.path, key, names::qualified_name(&key.to_lowercase()));
        size += key.len() + value.str().len();
    }
    if size > ANNOTATIONS_LIMIT {
        errors.too_long(&at.path, ANNOTATIONS_LIMIT);
    }
}

fn owner_references(errors: &mut ErrorList, at: &At<'_>) {
    let mut controller: Option<String> = None;
    for item in at.items() {
        let owner = At::new(at.path.clone(), item.value);
        let (version, kind) = (owner.child("apiVersion"), owner.child("kind"));
        if version.str().rsplit('/').next().unwrap_or_default().is_empty() {
            errors.invalid(&version.path, version.str(), "version must not be empty");
        }
        for field in [&kind, &owner.child("name"), &owner.child("uid")] {
            if field.str().is_empty() {
                errors.invalid(&field.path, "", "must not be empty");
            }
        }
        if version.str() == "v1" && kind.str() == "Event" {
            errors.invalid(&at.path, item.value.clone(), "/v1, Kind=Event is disallowed from being an owner");
        }
        if item.value.truth("controller") == Some(true) {
            let current = format!("{}/{}", kind.str(), item.value.text("name"));
            match &controller {
                Some(first) => errors.invalid(
                    &at.path,
                    at.value.clone(),
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {current}"
                    ),
                ),
                None => controller = Some(current),
            }
        }
    }
}

fn finalizers(errors: &mut ErrorList, at: &At<'_>) {
    let list = at.strings();
    for name in &list {
        errors.all(&at.path, name, names::qualified_name(name));
    }
    if list.contains(&"orphan") && list.contains(&"foregroundDeletion") {
        errors.invalid(
            &at.path,
            at.value.clone(),
            "finalizer orphan and foregroundDeletion cannot be both set",
        );
    }
}

fn core_finalizers(errors: &mut ErrorList, at: &At<'_>) {
    for item in at.items() {
        standard_finalizer(errors, &item.path, item.str());
    }
}

/// Validates that a finalizer without a domain is one of Kubernetes' own.
pub(crate) fn standard_finalizer(errors: &mut ErrorList, path: &Path, name: &str) {
    if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
        errors.invalid(path, name, "name is neither a standard finalizer name nor is it fully qualified");
    }
}

fn managed_fields(errors: &mut ErrorList, at: &At<'_>) {
    for entry in at.items() {
        let operation = entry.child("operation");
        if !matches!(operation.str(), "Apply" | "Update") {
            errors.invalid(&operation.path, operation.str(), "must be `Apply` or `Update`");
        }
        let form = entry.child("fieldsType");
        if !matches!(form.str(), "" | "FieldsV1") {
            errors.invalid(&form.path, form.str(), "must be `FieldsV1`");
        }
        let manager = entry.child("manager");
        if manager.str().len() > 128 {
            errors.too_long(&manager.path, 128);
        }
    }
}

/// Validates a metav1.LabelSelector.
pub(crate) fn label_selector(errors: &mut ErrorList, at: &At<'_>) {
    if at.is_null() {
        return;
    }
    labels(errors, &at.child("matchLabels"));
    for rule in at.child("matchExpressions").items() {
        let (operator, values) = (rule.child("operator"), rule.child("values"));
        match operator.str() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&values.path, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "In" | "NotIn" => {}
            "Exists" | "DoesNotExist" => {
                if !values.is_empty() {
                    errors.forbidden(
                        &values.path,
                        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                    );
                }
            }
            other => errors.invalid(&operator.path, other, "not a valid selector operator"),
        }
        let key = rule.child("key");
        label_key(errors, &key.path, key.str());
        for value in values.items() {
            errors.all(&value.path, value.str(), names::label_value(value.str()));
        }
    }
}

/// Tells whether a label selector asks for nothing.
pub(crate) fn selects_all(selector: &Value) -> bool {
    selector.entries("matchLabels").is_empty() && selector.items("matchExpressions").is_empty()
}

/// Tells whether a label selector, known to be valid, takes these labels.
pub(crate) fn selector_matches(selector: &Value, labels: &Value) -> bool {
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    selector.entries("matchLabels").iter().all(|(key, value)| label(key) == value.as_str())
        && selector.items("matchExpressions").iter().all(|rule| {
            let found = label(rule.text("key"));
            let listed = found.is_some_and(|value| rule.texts("values").contains(&value));
            match rule.text("operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(errors: ErrorList) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    const POD: MetaRules = MetaRules { namespaced: true, name: names::subdomain_name, core: true };

    #[test]
    fn a_name_and_a_namespace_are_required_where_the_kind_has_one() {
        assert_eq!(
            texts(validate(&json!({"metadata": {}}), POD)),
            [
                "metadata.name: Required value: name or generateName is required",
                "metadata.namespace: Required value"
            ]
        );
        let cluster = MetaRules { namespaced: false, ..POD };
        assert_eq!(
            texts(validate(&json!({"metadata": {"name": "a", "namespace": "b"}}), cluster)),
            ["metadata.namespace: Forbidden: not allowed on this type"]
        );
    }

    #[test]
    fn labels_finalizers_and_owners_are_checked() {
        let object = json!({"metadata": {
            "name": "a", "namespace": "b",
            "labels": {"bad key": "ok", "ok": "not ok"},
            "annotations": {"UPPER.io/ok": "x", "a//b": ""},
            "finalizers": ["mine", "example.com/ok"],
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "1", "controller": true},
                {"apiVersion": "", "kind": "Pod", "name": "y", "uid": "", "controller": true}],
        }});
        let found = texts(validate(&object, POD));
        let starts = [
            "metadata.labels: Invalid value: \"bad key\": name part",
            "metadata.labels: Invalid value: \"not ok\": a valid label must be",
            "metadata.annotations: Invalid value: \"a//b\": a qualified name must",
            "metadata.ownerReferences.apiVersion: Invalid value: \"\": version must not be empty",
            "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
            "metadata.ownerReferences: Invalid value: [",
            "metadata.finalizers[0]: Invalid value: \"mine\": name is neither",
        ];
        assert_eq!(found.len(), starts.len(), "{found:#?}");
        for (text, start) in found.iter().zip(starts) {
            assert!(text.starts_with(start), "{text}");
        }
    }

    #[test]
    fn an_object_being_deleted_gets_no_new_finalizers() {
        let old = json!({"metadata": {"name": "held", "namespace": "n", "uid": "1", "resourceVersion": "1",
            "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["lab.example.com/hold"]}});
        let mut new = old.clone();
        new["metadata"]["finalizers"] = json!(["lab.example.com/hold", "lab.example.com/more"]);
        assert_eq!(
            texts(validate_update(&new, &old, true)),
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"lab.example.com/more\"}"
            ]
        );
    }

    #[test]
    fn selectors_need_known_operators_with_fitting_values() {
        let selector = json!({"matchLabels": {"a": "b"}, "matchExpressions": [
            {"key": "k", "operator": "In"},
            {"key": "k", "operator": "Exists", "values": ["v"]},
            {"key": "", "operator": "Like", "values": ["not ok"]}]});
        let mut errors = ErrorList::new();
        label_selector(&mut errors, &At::new(Path::new("spec"), &selector));
        let found = texts(errors);
        assert_eq!(
            &found[..3],
            [
                "spec.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                "spec.matchExpressions[1].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                "spec.matchExpressions[2].operator: Invalid value: \"Like\": not a valid selector operator",
            ]
        );
        assert_eq!(found.len(), 6, "{found:#?}");
    }
}
