//! CustomResourceDefinitions and APIServices: what extends the API.

use serde_json::Value;

use super::cursor::{At, Faults, IMMUTABLE};
use super::metadata::{self, MetaRules};
use super::{names, webhooks};
use crate::cel::re2;
use crate::sim::crd;
use crate::sim::field::{ErrorList, Path};
use crate::sim::object::{Fields, NULL, equal};

const REVIEW_VERSIONS: [&str; 2] = ["v1", "v1beta1"];
const APPROVAL: &str = "api-approved.kubernetes.io";

pub(super) fn definition(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let spec = object.at("spec");
    let name = At::field(object, "metadata").child("name");
    if name.str() != format!("{}.{}", spec.at("names").text("plural"), spec.text("group")) {
        errors.invalid(&name.path, name.str(), "must be spec.names.plural+\".\"+spec.group");
    }
    definition_spec(&mut errors, object, NULL);
    rest(&mut errors, object);
    errors
}

pub(super) fn definition_update(new: &Value, old: &Value, subresource: &str, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    if subresource == "status" {
        names_of(&mut errors, &At::field(new, "status").child("acceptedNames"));
        stored_versions(&mut errors, new);
        return errors;
    }
    definition_spec(&mut errors, new, old);
    let established = old
        .at("status")
        .items("conditions")
        .iter()
        .any(|condition| condition.text("type") == "Established" && condition.text("status") == "True");
    let mut fixed: Vec<&[&str]> = Vec::new();
    if established {
        fixed.extend([["scope"].as_slice(), &["names", "kind"]]);
    }
    fixed.extend([["group"].as_slice(), &["names", "plural"]]);
    for fields in fixed {
        let mut at = At::field(new, "spec");
        for field in fields {
            at = at.child(field);
        }
        if !equal(at.value, old.at("spec").dig(fields)) {
            errors.invalid(&at.path, at.value.clone(), IMMUTABLE);
        }
    }
    rest(&mut errors, new);
    errors
}

/// Validates a definition; `old` is what it was, or null.
fn definition_spec(errors: &mut ErrorList, object: &Value, old: &Value) {
    let spec = At::field(object, "spec");
    let group = spec.child("group");
    let messages = names::dns1123_subdomain(group.str());
    if group.str().is_empty() {
        errors.required(&group.path, "");
    } else if !messages.is_empty() {
        errors.invalid(&group.path, group.str(), messages.join(","));
    } else if !group.str().contains('.') {
        errors.invalid(&group.path, group.str(), "should be a domain with at least one dot");
    }
    either(errors, &spec.child("scope"), &["Cluster", "Namespaced"]);
    let versions = spec.child("versions");
    for version in versions.items() {
        let schema = version.child("schema").child("openAPIV3Schema");
        if schema.is_null() {
            errors.required(&schema.path, "schemas are required");
        }
    }
    // What all versions have in common, upstream holds once for all, and tells it there.
    let first = versions.items().next();
    let common = |field: &str| {
        let own = first.as_ref().map_or(NULL, |first| first.value.at(field));
        versions.items().all(|version| equal(version.value.at(field), own)).then_some(own)
    };
    let (validation, subresources) = (common("schema"), common("subresources"));
    let columns = common("additionalPrinterColumns");
    let taken_before = |name: &str, schema: &Value| {
        let before = old.at("spec").items("versions").iter().find(|version| version.text("name") == name);
        before.is_some_and(|before| equal(before.at("schema"), schema))
    };
    let mut seen = Vec::new();
    for version in versions.items() {
        let name = version.child("name");
        seen.push(name.str());
        label(errors, &name);
        let warning = version.child("deprecationWarning");
        if warning.present() && !version.child("deprecated").is_true() {
            errors.invalid(&warning.path, warning.str(), "can only be set for deprecated versions");
        }
        if validation.is_none() {
            let schema = version.child("schema");
            version_schema(errors, &schema, taken_before(name.str(), schema.value));
        }
        if subresources.is_none() {
            scale(errors, &version.child("subresources"));
        }
        if columns.is_none() {
            for column in version.child("additionalPrinterColumns").items() {
                printer_column(errors, &column);
            }
        }
    }
    let stored = versions.items().filter(|version| version.child("storage").is_true()).count();
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    if seen.len() != all {
        errors.invalid_object(&versions.path, versions.value, "must contain unique version names");
    }
    if stored != 1 {
        let words = "must have exactly one version marked as storage version";
        errors.invalid_object(&versions.path, versions.value, words);
    }
    let own = spec.child("names");
    for field in ["plural", "singular", "kind", "listKind"] {
        let field = own.child(field);
        if field.str().is_empty() {
            errors.required(&field.path, "");
        }
    }
    names_of(errors, &own);
    if let Some(validation) = validation {
        let known = versions.items().all(|version| taken_before(version.value.text("name"), validation));
        version_schema(errors, &At::new(spec.path.child("validation"), validation), known);
    }
    if let Some(subresources) = subresources {
        scale(errors, &At::new(spec.path.child("subresources"), subresources));
    }
    if let Some(columns) = columns {
        for column in At::new(spec.path.child("additionalPrinterColumns"), columns).items() {
            printer_column(errors, &column);
        }
    }
    conversion(errors, &spec.child("conversion"));
}

/// A value that must be set, and be one of some.
fn either(errors: &mut ErrorList, at: &At<'_>, allowed: &[&str]) {
    if at.str().is_empty() {
        errors.required(&at.path, "");
    } else {
        webhooks::choice(errors, at, allowed);
    }
}

/// Validates the schema of a version or of all; `known` tells that it was taken before.
fn version_schema(errors: &mut ErrorList, at: &At<'_>, known: bool) {
    let schema = at.child("openAPIV3Schema");
    if schema.child("nullable").is_true() {
        let path = at.path.child("openAPIV3Schema.nullable");
        errors.forbidden(&path, "nullable cannot be true at the root");
    }
    if schema.value.is_object() {
        let mut structure = crd::validate_schema(schema.value, &schema.path);
        // Rules are compiled against schemas that can be reasoned about alone.
        let costs = crd::Costs::of(known);
        let mut form = Form { structural: structure.is_empty(), faults: 0, costs };
        errors.append(&mut structure);
        form.check(errors, &schema, true, None, Some(1));
        errors.extend(form.costs.finish(&schema.path));
    }
}

/// What JSON schema has and a CustomResourceDefinition may not, and the rules in it.
struct Form {
    structural: bool,
    /// How much is wrong with the schema; expressions are then not looked at.
    faults: usize,
    costs: crd::Costs,
}

impl Form {
    fn check(
        &mut self,
        errors: &mut ErrorList,
        at: &At<'_>,
        root: bool,
        uncorrelated: Option<&Path>,
        cardinality: crd::Cardinality,
    ) {
        if !at.value.is_object() {
            return;
        }
        let within = crd::within(at.value, cardinality);
        let mut found = ErrorList::new();
        if at.child("uniqueItems").is_true() {
            let words = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            found.forbidden(&at.path.child("uniqueItems"), words);
        }
        let more = at.child("additionalProperties");
        if more.present() {
            if more.value == &Value::Bool(false) {
                found.forbidden(&more.path, "additionalProperties cannot be set to false");
            } else if !at.child("properties").is_empty() {
                found.forbidden(&more.path, "additionalProperties and properties are mutual exclusive");
            }
            self.take(errors, &mut found);
            self.check(errors, &more, false, uncorrelated, within);
        }
        self.take(errors, &mut found);
        for (_, property) in at.child("properties").entries() {
            self.check(errors, &property, false, uncorrelated, within);
        }
        for field in ["patternProperties", "definitions", "dependencies", "id", "$ref"] {
            if !at.child(field).is_empty() {
                found.forbidden(&at.path.child(field), format!("{field} is not supported"));
            }
        }
        let items = at.child("items");
        if items.value.is_array() {
            found.forbidden(&items.path, "items must be a schema object and not an array");
        }
        self.take(errors, &mut found);
        // Items have an old self where a key tells which it was.
        let list = if at.value.text("x-kubernetes-list-type") == "map" { None } else { Some(&at.path) };
        self.check(errors, &items, false, uncorrelated.or(list), within);
        shape_of_schema(&mut found, at);
        found.extend(crd::validate_rules(at.value, &at.path));
        self.take(errors, &mut found);
        if self.structural && self.faults == 0 {
            let costs = &mut self.costs;
            errors.extend(crd::validate_expressions(
                at.value,
                root,
                &at.path,
                uncorrelated,
                cardinality,
                costs,
            ));
        }
    }

    fn take(&mut self, errors: &mut ErrorList, found: &mut ErrorList) {
        self.faults += found.len();
        errors.append(found);
    }
}

fn shape_of_schema(errors: &mut ErrorList, at: &At<'_>) {
    let kind = at.child("type");
    if kind.str() == "null" {
        errors.forbidden(&kind.path, "type cannot be set to null, use nullable as an alternative");
    } else if !kind.str().is_empty() {
        let known = ["array", "boolean", "integer", "number", "object", "string"];
        webhooks::choice(errors, &kind, &known);
    }
    let pattern = at.child("pattern");
    if let Err(why) = re2::compile(pattern.str()) {
        let words = format!("must be a valid regular expression, but isn't: {why}");
        errors.invalid(&pattern.path, pattern.str(), words);
    }
    if at.value.truth("x-kubernetes-preserve-unknown-fields") == Some(false) {
        let path = at.path.child("x-kubernetes-preserve-unknown-fields");
        errors.invalid(&path, false, "must be true or undefined");
    }
    let map = at.child("x-kubernetes-map-type");
    webhooks::choice(errors, &map, &["atomic", "granular"]);
    if map.present() && kind.str() != "object" {
        let words = "must be object if x-kubernetes-map-type is specified";
        errors.invalid(&kind.path, kind.str(), words);
    }
    list_type(errors, at, kind.str());
    let list = at.child("x-kubernetes-list-type");
    let (items, of) = (at.child("items"), list.str());
    if !matches!(of, "set" | "map") || items.is_null() {
        return;
    }
    if items.child("nullable").is_true() {
        let words = format!("cannot be nullable when x-kubernetes-list-type is {of}");
        errors.forbidden(&items.path.child("nullable"), words);
    }
    let required = items.value.texts("required");
    for key in at.child("x-kubernetes-list-map-keys").items() {
        let Some(property) = items.value.at("properties").get(key.str()).filter(|_| of == "map") else {
            continue;
        };
        let path = items.path.child("properties").key(key.str());
        if !required.contains(&key.str()) && !property.has("default") {
            errors.required(
                &path.child("default"),
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            );
        }
        if property.truth("nullable") == Some(true) {
            let words = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.forbidden(&path.child("nullable"), words);
        }
    }
}

fn list_type(errors: &mut ErrorList, at: &At<'_>, kind: &str) {
    let list = at.child("x-kubernetes-list-type");
    if list.present() && kind != "array" {
        let words = "must be array if x-kubernetes-list-type is specified";
        errors.invalid(&at.path.child("type"), kind, words);
    }
    webhooks::choice(errors, &list, &["atomic", "map", "set"]);
    let keys = at.child("x-kubernetes-list-map-keys");
    if list.str() != "map" {
        if !keys.is_empty() && list.is_null() {
            errors.required(&list.path, "must be map if x-kubernetes-list-map-keys is non-empty");
        } else if !keys.is_empty() {
            let words = "must be map if x-kubernetes-list-map-keys is non-empty";
            errors.invalid(&list.path, list.str(), words);
        }
        return;
    }
    if keys.is_empty() {
        errors.required(&keys.path, "must not be empty if x-kubernetes-list-type is map");
    }
    let item = at.child("items");
    if item.is_null() {
        errors.required(&item.path, "must have a schema if x-kubernetes-list-type is map");
        return;
    }
    if item.child("type").str() != "object" {
        let words = "must be object if parent array's x-kubernetes-list-type is map";
        errors.invalid(&item.path.child("type"), item.child("type").str(), words);
    }
    let mut seen = Vec::new();
    for key in keys.items() {
        if seen.contains(&key.str()) {
            errors.duplicate(&key.path, key.str());
        }
        seen.push(key.str());
        if !item.child("properties").value.has(key.str()) {
            let words = "entries must all be names of item properties";
            errors.invalid(&key.path, key.str(), words);
        }
    }
}

fn scale(errors: &mut ErrorList, at: &At<'_>) {
    let scale = at.child("scale");
    if scale.is_null() {
        return;
    }
    let fields: [(&str, &[&str], &str); 3] = [
        ("specReplicasPath", &[".spec."], "should be a json path under .spec"),
        ("statusReplicasPath", &[".status."], "should be a json path under .status"),
        ("labelSelectorPath", &[".spec.", ".status."], "should be a json path under either .status or .spec"),
    ];
    for (field, roots, words) in fields {
        let text = scale.child(field).str();
        let path = at.path.child(&format!("scale.{field}"));
        if text.is_empty() {
            if field != "labelSelectorPath" {
                errors.required(&path, "");
            }
            continue;
        }
        let before = errors.len();
        simple_path(errors, &At::new(path.clone(), scale.child(field).value));
        if errors.len() == before && !roots.iter().any(|root| text.starts_with(root)) {
            errors.invalid(&path, text, words);
        }
    }
}

fn simple_path(errors: &mut ErrorList, at: &At<'_>) {
    if at.str().is_empty() {
        errors.required(&at.path, "must not be empty");
    } else if !at.str().starts_with('.') {
        errors.invalid(&at.path, at.str(), "must be a simple json path starting with .");
    }
}

fn printer_column(errors: &mut ErrorList, at: &At<'_>) {
    let (name, kind, path) = (at.child("name"), at.child("type"), at.child("jsonPath"));
    if name.str().is_empty() {
        errors.required(&name.path, "");
    }
    let types = "must be one of boolean,date,integer,number,string";
    match kind.str() {
        "" => errors.required(&kind.path, types),
        "boolean" | "date" | "integer" | "number" | "string" => {}
        other => errors.invalid(&kind.path, other, types),
    }
    let format = at.child("format");
    let formats = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    if !format.str().is_empty() && !formats.contains(&format.str()) {
        errors.invalid(&format.path, format.str(), format!("must be one of {}", formats.join(",")));
    }
    simple_path(errors, &path);
}

/// The names that a kind goes by.
fn names_of(errors: &mut ErrorList, at: &At<'_>) {
    for field in [at.child("plural"), at.child("singular")] {
        if !field.str().is_empty() {
            label(errors, &field);
        }
    }
    let (kind, list) = (at.child("kind"), at.child("listKind"));
    for field in [&kind, &list] {
        let messages = names::dns1035_label(&field.str().to_lowercase());
        if !field.str().is_empty() && !messages.is_empty() {
            let words = format!("may have mixed case, but should otherwise match: {}", messages.join(","));
            errors.invalid(&field.path, field.str(), words);
        }
    }
    for name in at.child("shortNames").items() {
        label(errors, &name);
    }
    if !kind.str().is_empty() && kind.str() == list.str() {
        errors.invalid(&list.path, list.str(), "kind and listKind may not be the same");
    }
    for category in at.child("categories").items() {
        label(errors, &category);
    }
}

fn label(errors: &mut ErrorList, at: &At<'_>) {
    let messages = names::dns1035_label(at.str());
    if !messages.is_empty() {
        errors.invalid(&at.path, at.str(), messages.join(","));
    }
}

fn conversion(errors: &mut ErrorList, at: &At<'_>) {
    if at.is_null() {
        return;
    }
    let strategy = at.child("strategy");
    either(errors, &strategy, &["None", "Webhook"]);
    let webhook = at.child("webhook");
    // The internal form, whose names upstream tells, has these two beside the strategy.
    let client = At::new(at.path.child("webhookClientConfig"), webhook.value.at("clientConfig"));
    let versions =
        At::new(at.path.child("conversionReviewVersions"), webhook.value.at("conversionReviewVersions"));
    if strategy.str() != "Webhook" {
        for field in [&client, &versions] {
            if !field.is_empty() {
                errors.forbidden(&field.path, "should not be set when strategy is not set to Webhook");
            }
        }
        return;
    }
    if client.is_null() {
        errors.required(&client.path, "required when strategy is set to Webhook");
    } else {
        webhooks::client(errors, &client);
    }
    if versions.is_empty() {
        errors.required(&versions.path, "must specify one of v1, v1beta1");
        return;
    }
    let mut seen = Vec::new();
    for version in versions.items() {
        if seen.contains(&version.str()) {
            errors.invalid(&version.path, version.str(), "duplicate version");
            continue;
        }
        seen.push(version.str());
        errors.all(&version.path, version.str(), names::dns1035_label(version.str()));
    }
    if !seen.iter().any(|version| REVIEW_VERSIONS.contains(version)) {
        let words = "must include at least one of v1, v1beta1";
        errors.invalid(&versions.path, versions.value.clone(), words);
    }
}

/// The status, the approval of groups that Kubernetes keeps for itself, and what v1 no longer has.
fn rest(errors: &mut ErrorList, object: &Value) {
    names_of(errors, &At::field(object, "status").child("acceptedNames"));
    stored_versions(errors, object);
    let group = object.at("spec").text("group");
    let protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.ends_with(&format!(".{domain}")));
    if protected {
        let at = At::field(object, "metadata").child("annotations");
        let value = at.value.text(APPROVAL);
        let link = "see https://github.com/kubernetes/enhancements/pull/1111";
        if value.is_empty() {
            let words = format!("protected groups must have approval annotation \"{APPROVAL}\", {link}");
            errors.required(&at.path.key(APPROVAL), &words);
        } else if !value.starts_with("unapproved") && !value.contains("://") {
            let words = format!(
                "protected groups must have approval annotation \"{APPROVAL}\" with either a URL or a reason starting with \"unapproved\", {link}"
            );
            errors.invalid(&at.path.key(APPROVAL), value, words);
        }
    }
    if object.at("spec").truth("preserveUnknownFields") == Some(true) {
        let path = At::field(object, "spec").path.child("preserveUnknownFields");
        let words = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.invalid(&path, true, words);
    }
}

fn stored_versions(errors: &mut ErrorList, object: &Value) {
    let stored = At::field(object, "status").child("storedVersions");
    if stored.is_empty() {
        errors.invalid(&stored.path, stored.value.clone(), "must have at least one stored version");
        return;
    }
    let versions = object.at("spec").items("versions");
    for version in versions.iter().filter(|version| version.truth("storage") == Some(true)) {
        let name = version.text("name");
        if !stored.strings().contains(&name) {
            let words = format!("must have the storage version {name}");
            errors.invalid_object(&stored.path, version, &words);
        }
    }
    for name in stored.items() {
        if !versions.iter().any(|version| version.text("name") == name.str()) {
            errors.invalid(&name.path, name.str(), "must appear in spec.versions");
        }
    }
}

pub(super) fn api_service(object: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate(object, rules);
    let spec = At::field(object, "spec");
    let (group, version) = (spec.child("group"), spec.child("version"));
    let wanted = format!("{}.{}", version.str(), group.str());
    let name = At::field(object, "metadata").child("name");
    if name.str() != wanted {
        let words = format!("must be `spec.version+\".\"+spec.group`: \"{wanted}\"");
        errors.invalid(&name.path, name.str(), words);
    }
    if group.str().is_empty() && version.str() != "v1" {
        errors.required(&group.path, "only v1 may have an empty group and it better be legacy kube");
    }
    if !group.str().is_empty() {
        errors.all(&group.path, group.str(), names::dns1123_subdomain(group.str()));
    }
    errors.all(&version.path, version.str(), names::dns1035_label(version.str()));
    for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1000)] {
        let field = spec.child(field);
        if !(1..=most).contains(&field.number()) {
            let words = format!("must be positive and less than {most}");
            errors.invalid(&field.path, field.number(), words);
        }
    }
    let (service, bundle) = (spec.child("service"), spec.child("caBundle"));
    let insecure = spec.child("insecureSkipTLSVerify");
    if service.is_null() {
        if !bundle.is_empty() {
            errors.invalid(&bundle.path, bundle.str(), "local APIServices may not have a caBundle");
        }
        if insecure.is_true() {
            let words = "local APIServices may not have insecureSkipTLSVerify";
            errors.invalid(&insecure.path, true, words);
        }
        return errors;
    }
    for field in ["namespace", "name"] {
        let field = service.child(field);
        if field.str().is_empty() {
            errors.required(&field.path, "");
        }
    }
    let port = service.child("port");
    if let Some(number) = port.int() {
        let messages = names::port_number(number);
        if !messages.is_empty() {
            errors.invalid(&port.path, number, format!("port is not valid: {}", messages.join(", ")));
        }
    }
    if insecure.is_true() && !bundle.is_empty() {
        errors.invalid(&insecure.path, true, "may not be true if caBundle is present");
    }
    errors
}

pub(super) fn api_service_update(new: &Value, old: &Value, rules: MetaRules) -> ErrorList {
    let mut errors = metadata::validate_update(new, old, rules.core);
    errors.extend(api_service(new, rules));
    errors
}
