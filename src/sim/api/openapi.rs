//! OpenAPI v3: the index, and a document for each group and version with paths and schemas. The schemas are those of
//! the k8s-openapi crate and, for custom resources, of their definitions. Made when first asked for, since a cluster
//! must be up long before anybody explains a field.

mod extensions;
mod gnostic;
mod kinds;
pub mod v2;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::resources::{GroupVersionKind, Resource, Resources};
use crate::sim::object::{self, Fields as _};

/// The documents of built-in groups, by their path; they are the same for every cluster.
static BUILTIN: LazyLock<Mutex<BTreeMap<String, Bytes>>> = LazyLock::new(Mutex::default);

/// Returns the index that `/openapi/v3` answers.
pub fn index(resources: &Resources) -> Value {
    let mut paths = Map::new();
    for (group, version) in versions(resources) {
        let path = document_path(&group, &version);
        let url = format!("/openapi/v3/{path}?hash={}", hash(resources, &group, &version));
        paths.insert(path, json!({ "serverRelativeURL": url }));
    }
    json!({ "paths": paths })
}

/// Returns the document of a group and version, or none when nothing serves it.
pub fn document(resources: &Resources, group: &str, version: &str) -> Option<Bytes> {
    let served = &resources.version(group, version)?.resources;
    let custom = served.iter().any(|resource| resource.definition.is_some());
    if custom {
        return Some(render(group, version, served));
    }
    let path = document_path(group, version);
    let mut cache = BUILTIN.lock().unwrap_or_else(PoisonError::into_inner);
    Some(cache.entry(path).or_insert_with(|| render(group, version, served)).clone())
}

fn versions(resources: &Resources) -> Vec<(String, String)> {
    let pairs = resources
        .groups()
        .iter()
        .flat_map(|group| group.versions.iter().map(|version| (group.name.clone(), version.name.clone())));
    pairs.collect()
}

fn document_path(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// Tells clients whether what they have kept is current. Built-in groups change only with the program.
fn hash(resources: &Resources, group: &str, version: &str) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(env!("CARGO_PKG_VERSION").as_bytes());
    for resource in resources.version(group, version).into_iter().flat_map(|version| &version.resources) {
        context.update(resource.plural.as_bytes());
        if let Some(schema) = resource.definition_version() {
            context.update(schema.to_string().as_bytes());
        }
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

fn render(group: &str, version: &str, served: &[Arc<Resource>]) -> Bytes {
    let mut schemas = kinds::schemas(group, version);
    let mut paths = Map::new();
    for resource in served {
        let name = match &resource.definition {
            Some(_) => custom_schema(resource, &mut schemas),
            None => kinds::name_of(group, version, &resource.kind),
        };
        if let Some(schema) = name.as_ref().and_then(|name| schemas.get_mut(name)) {
            object::set(schema, "x-kubernetes-group-version-kind", json!([gvk(&resource.gvk())]));
        }
        add_paths(resource, name.as_deref(), &mut paths);
    }
    schemas.entry("io.k8s.apimachinery.pkg.apis.meta.v1.Patch").or_insert_with(|| {
        let what = "Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.";
        json!({ "type": "object", "description": what })
    });
    let document = json!({
        "openapi": "3.0.0",
        "info": { "title": "Kubernetes", "version": "v1.34.9" },
        "paths": paths,
        "components": { "schemas": schemas },
    });
    Bytes::from(document.to_string())
}

fn gvk(kind: &GroupVersionKind) -> Value {
    json!({ "group": kind.group, "kind": kind.kind, "version": kind.version })
}

/// Adds the paths by which clients learn the kind of a resource, and that its PATCH validates fields.
fn add_paths(resource: &Resource, schema: Option<&str>, paths: &mut Map<String, Value>) {
    let base = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{base}{scope}/{}", resource.plural);
    let item = format!("{collection}/{{name}}");
    let kind = resource.gvk();
    let mut add = |path: &str, method: &str, verb: &str, action: &str, kind: &GroupVersionKind| {
        let entry = paths.entry(path).or_insert_with(|| json!({ "parameters": path_parameters(path) }));
        entry[method] = operation(resource, verb, action, kind, schema);
    };
    for (method, verb, action) in [("get", "list", "list"), ("post", "create", "post")] {
        if resource.allows(verb) {
            add(&collection, method, verb, action, &kind);
        }
    }
    for (method, verb) in [("get", "get"), ("put", "update"), ("patch", "patch"), ("delete", "delete")] {
        if resource.allows(verb) {
            add(&item, method, verb, method, &kind);
        }
    }
    for sub in &resource.subresources {
        let path = format!("{item}/{}", sub.name);
        let methods = [("get", "get"), ("put", "update"), ("patch", "patch"), ("post", "create")];
        for (method, verb) in methods {
            if sub.allows(verb) {
                add(&path, method, verb, method, &sub.gvk(resource));
            }
        }
    }
}

fn path_parameters(path: &str) -> Vec<Value> {
    let names = ["name", "namespace"].into_iter().filter(|name| path.contains(&format!("{{{name}}}")));
    names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "uniqueItems": true } }))
        .collect()
}

fn operation(
    resource: &Resource,
    verb: &str,
    action: &str,
    kind: &GroupVersionKind,
    schema: Option<&str>,
) -> Value {
    let mut parameters = Vec::new();
    let mut query = |name: &str, kind: &str| {
        parameters
            .push(json!({ "name": name, "in": "query", "schema": { "type": kind, "uniqueItems": true } }));
    };
    if matches!(verb, "create" | "update" | "patch") {
        query("dryRun", "string");
        query("fieldManager", "string");
        query("fieldValidation", "string");
    }
    if verb == "patch" {
        query("force", "boolean");
    }
    let content = schema.map_or_else(|| json!({}), |name| {
        json!({ "application/json": { "schema": { "$ref": format!("#/components/schemas/{name}") } } })
    });
    let mut operation = json!({
        "tags": [tag(resource)],
        "operationId": format!("{verb}{}{}", tag(resource), kind.kind),
        "parameters": parameters,
        "responses": { "200": { "description": "OK", "content": content } },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": gvk(kind),
    });
    if verb == "patch" {
        let patch = json!({ "schema": { "$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.Patch" } });
        let content: Map<String, Value> =
            patch_types(resource).into_iter().map(|kind| (kind.to_owned(), patch.clone())).collect();
        operation["requestBody"] = json!({ "content": content, "required": true });
    }
    operation
}

/// Returns the media types of the patches that a resource takes.
fn patch_types(resource: &Resource) -> Vec<&'static str> {
    let mut types =
        vec!["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
    if resource.definition.is_none() {
        types.push("application/strategic-merge-patch+json");
    }
    types
}

fn tag(resource: &Resource) -> String {
    let group = if resource.group.is_empty() { "core" } else { &resource.group };
    format!("{}_{}", group.trim_end_matches(".k8s.io"), resource.version)
}

/// Adds the schema of a custom resource and returns its name, such as `com.example.lab.v1.Widget`.
fn custom_schema(resource: &Resource, schemas: &mut Map<String, Value>) -> Option<String> {
    let version = resource.definition_version()?;
    let mut schema = version.dig(&["schema", "openAPIV3Schema"]).clone();
    let meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let common = kinds::schemas("", "v1");
    for (name, common) in common {
        if name.starts_with("io.k8s.apimachinery.") {
            schemas.entry(name).or_insert(common);
        }
    }
    let properties = object::map_at(&mut schema, "properties");
    properties.insert("apiVersion".into(), json!({ "type": "string", "description": kinds::API_VERSION }));
    properties.insert("kind".into(), json!({ "type": "string", "description": kinds::KIND }));
    properties.insert(
        "metadata".into(),
        json!({ "allOf": [{ "$ref": format!("#/components/schemas/{meta}") }], "description": kinds::METADATA }),
    );
    let name = custom_name(resource);
    schemas.insert(name.clone(), schema);
    Some(name)
}

/// Names the schema of a custom resource.
fn custom_name(resource: &Resource) -> String {
    let reversed: Vec<&str> = resource.group.split('.').rev().collect();
    format!("{}.{}.{}", reversed.join("."), resource.version, resource.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(group: &str, version: &str) -> Value {
        serde_json::from_slice(&document(&Resources::builtin(), group, version).unwrap()).unwrap()
    }

    #[test]
    fn every_served_version_is_in_the_index_and_has_a_document() {
        let resources = Resources::builtin();
        let index = index(&resources);
        for (group, version) in versions(&resources) {
            let url = index["paths"][document_path(&group, &version)]["serverRelativeURL"].as_str().unwrap();
            assert!(url.starts_with(&format!("/openapi/v3/{}?hash=", document_path(&group, &version))));
            assert!(document(&resources, &group, &version).is_some());
        }
        assert!(document(&resources, "nothing.example", "v1").is_none());
    }

    #[test]
    fn every_stored_kind_has_a_schema_that_names_it() {
        let resources = Resources::builtin();
        for resource in resources.all().filter(|resource| resource.is_stored()) {
            let document = parsed(&resource.group, &resource.version);
            let schemas = document["components"]["schemas"].as_object().unwrap();
            let named = schemas
                .values()
                .any(|schema| schema["x-kubernetes-group-version-kind"][0]["kind"] == resource.kind.as_str());
            assert!(named, "{} {}", resource.api_version(), resource.kind);
        }
    }

    #[test]
    fn every_reference_leads_to_a_schema() {
        for (group, version) in versions(&Resources::builtin()) {
            let text = String::from_utf8(document(&Resources::builtin(), &group, &version).unwrap().to_vec())
                .unwrap();
            let document: Value = serde_json::from_str(&text).unwrap();
            for reference in text.split("\"#/components/schemas/").skip(1) {
                let name = reference.split('"').next().unwrap();
                assert!(document["components"]["schemas"].get(name).is_some(), "{group}/{version}: {name}");
            }
        }
    }

    #[test]
    fn what_is_required_is_what_upstream_requires() {
        let document = parsed("apps", "v1");
        let schemas = &document["components"]["schemas"];
        assert!(schemas["io.k8s.api.apps.v1.Deployment"].get("required").is_none());
        let spec = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["required"];
        assert_eq!(*spec, json!(["selector", "template"]));
    }

    #[test]
    fn a_patch_takes_field_validation() {
        let document = parsed("apps", "v1");
        let patch = &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
        assert!(patch["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "fieldValidation"));
    }
}
