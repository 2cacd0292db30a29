//! OpenAPI v2: the one document that older clients validate, explain and compute patches by, as JSON and in the
//! protobuf form that kubectl asks for. Made from the same schemas as v3.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{gnostic, gvk, kinds, patch_types};
use crate::sim::api::resources::{Resource, Resources};
use crate::sim::object::Fields as _;

/// The media type of the protobuf form.
pub const PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The name by which clients ask for it. It is no valid media type, so an answer never carries it.
const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// The document of a cluster without custom resources, in both forms.
static BUILTIN: OnceLock<[Bytes; 2]> = OnceLock::new();

/// Tells whether the Accept header asks for the protobuf form.
pub fn wants_protobuf(accept: &str) -> bool {
    accept
        .split(',')
        .any(|clause| [PROTOBUF, ASKED].contains(&clause.split(';').next().unwrap_or_default().trim()))
}

/// Returns the document as JSON, or in its protobuf form.
pub fn document(resources: &Resources, protobuf: bool) -> Bytes {
    let custom = resources.all().any(|resource| resource.definition.is_some());
    let both = || {
        let document = render(resources);
        [Bytes::from(document.to_string()), Bytes::from(gnostic::encode(&document))]
    };
    let [json, binary] = if custom { both() } else { BUILTIN.get_or_init(both).clone() };
    if protobuf { binary } else { json }
}

fn render(resources: &Resources) -> Value {
    let mut definitions: Map<String, Value> =
        kinds::all().into_iter().map(|(name, schema)| (name, older(&schema))).collect();
    let mut paths = Map::new();
    for resource in resources.all() {
        let name = match &resource.definition {
            Some(_) => super::custom_name(resource),
            None => match kinds::name_of(&resource.group, &resource.version, &resource.kind) {
                Some(name) => name,
                None => continue,
            },
        };
        if let Some(version) = resource.definition_version() {
            definitions.insert(name.clone(), custom(version));
        }
        if let Some(schema) = definitions.get_mut(&name) {
            schema["x-kubernetes-group-version-kind"] = json!([gvk(&resource.gvk())]);
        }
        add_path(resource, &name, &mut paths);
    }
    json!({ "swagger": "2.0", "info": { "title": "Kubernetes", "version": "v1.34.9" }, "paths": paths,
        "definitions": definitions })
}

fn custom(version: &Value) -> Value {
    let mut schema = older(version.dig(&["schema", "openAPIV3Schema"]));
    if version.dig(&["schema", "openAPIV3Schema"]).truth("x-kubernetes-preserve-unknown-fields") == Some(true)
    {
        return schema;
    }
    let meta = "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties
            .insert("apiVersion".into(), json!({ "type": "string", "description": kinds::API_VERSION }));
        properties.insert("kind".into(), json!({ "type": "string", "description": kinds::KIND }));
        properties.insert("metadata".into(), json!({ "$ref": meta, "description": kinds::METADATA }));
    }
    schema
}

/// Brings a schema to what v2 can say. Where it cannot, it says nothing, and clients take everything.
fn older(schema: &Value) -> Value {
    let Value::Object(schema) = schema else { return json!({}) };
    let mut out = Map::new();
    let one = schema.get("allOf").and_then(Value::as_array).and_then(|all| match all.as_slice() {
        [only] => only.get("$ref"),
        _ => None,
    });
    if let Some(Value::String(reference)) = schema.get("$ref").or(one) {
        out.insert("$ref".to_owned(), reference.replace("#/components/schemas/", "#/definitions/").into());
    }
    let vague = ["oneOf", "anyOf", "not"].iter().any(|word| schema.contains_key(*word))
        || schema.get("nullable") == Some(&Value::Bool(true));
    let open = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    let either = schema.get("x-kubernetes-int-or-string") == Some(&Value::Bool(true));
    for (key, value) in schema {
        let value = match key.as_str() {
            "description" | "format" | "enum" => value.clone(),
            "required" if !value.as_array().is_some_and(Vec::is_empty) => value.clone(),
            "type" if !vague && !either => value.clone(),
            "items" if !vague => older(value),
            "additionalProperties" if !vague && value.is_object() => older(value),
            "properties" if !vague && !open => match value {
                Value::Object(map) => map.iter().map(|(name, inner)| (name.clone(), older(inner))).collect(),
                _ => continue,
            },
            key if key.starts_with("x-kubernetes-") && key != "x-kubernetes-validations" => value.clone(),
            _ => continue,
        };
        out.insert(key.clone(), value);
    }
    if either {
        out.insert("type".to_owned(), "string".into());
        out.insert("format".to_owned(), "int-or-string".into());
    }
    out.into()
}

fn add_path(resource: &Resource, schema: &str, paths: &mut Map<String, Value>) {
    let base = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    let scope = if resource.namespaced { "/namespaces/{namespace}" } else { "" };
    let collection = format!("{base}{scope}/{}", resource.plural);
    let body = json!({ "name": "body", "in": "body", "required": true,
        "schema": { "$ref": format!("#/definitions/{schema}") } });
    let query =
        |name: &str, kind: &str| json!({ "name": name, "in": "query", "type": kind, "uniqueItems": true });
    let operation = |action: &str, consumes: Vec<&str>| {
        let mut parameters = vec![body.clone()];
        for name in ["dryRun", "fieldManager", "fieldValidation"] {
            parameters.push(query(name, "string"));
        }
        if action == "patch" {
            parameters.push(query("force", "boolean"));
        }
        json!({ "consumes": consumes, "produces": ["application/json", "application/yaml"],
            "parameters": parameters, "responses": { "200": { "description": "OK" } },
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk(&resource.gvk()) })
    };
    if resource.allows("create") {
        paths.insert(collection.clone(), json!({ "post": operation("post", vec!["*/*"]) }));
    }
    let mut item = Map::new();
    if resource.allows("update") {
        item.insert("put".to_owned(), operation("put", vec!["*/*"]));
    }
    if resource.allows("patch") {
        item.insert("patch".to_owned(), operation("patch", patch_types(resource)));
    }
    if !item.is_empty() {
        paths.insert(format!("{collection}/{{name}}"), item.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json() -> Value {
        serde_json::from_slice(&document(&Resources::builtin(), false)).expect("JSON")
    }

    #[test]
    fn kinds_have_definitions_that_name_them_and_say_how_they_merge() {
        let document = json();
        let definitions = &document["definitions"];
        let pod = &definitions["io.k8s.api.core.v1.Pod"];
        assert_eq!(pod["x-kubernetes-group-version-kind"][0]["kind"], "Pod");
        assert_eq!(pod["properties"]["spec"]["$ref"], "#/definitions/io.k8s.api.core.v1.PodSpec");
        let spec = &definitions["io.k8s.api.core.v1.PodSpec"]["properties"];
        assert_eq!(spec["containers"]["x-kubernetes-patch-merge-key"], "name");
        assert_eq!(spec["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
        assert_eq!(spec["restartPolicy"]["enum"], json!(["Always", "Never", "OnFailure"]));
        let ports = &definitions["io.k8s.api.core.v1.Container"]["properties"]["ports"];
        assert_eq!(ports["x-kubernetes-list-map-keys"], json!(["containerPort", "protocol"]));
        let either = &definitions["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
        assert_eq!((&either["type"], &either["format"]), (&json!("string"), &json!("int-or-string")));
    }

    #[test]
    fn every_reference_leads_to_a_definition() {
        let document = json();
        let text = document.to_string();
        for reference in text.split("\"#/definitions/").skip(1) {
            let name = reference.split('"').next().expect("name");
            assert!(document["definitions"].get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn built_in_kinds_take_strategic_patches_and_dry_runs() {
        let document = json();
        let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
        let consumes = patch["consumes"].as_array().expect("consumes");
        assert!(consumes.contains(&json!("application/strategic-merge-patch+json")));
        assert!(patch["parameters"].as_array().expect("parameters").iter().any(|p| p["name"] == "dryRun"));
    }

    #[test]
    fn what_v2_cannot_say_is_left_out() {
        let schema = json!({ "type": "object", "properties": {
            "a": { "type": "string", "nullable": true },
            "b": { "x-kubernetes-int-or-string": true, "anyOf": [{ "type": "integer" }, { "type": "string" }] },
            "c": { "type": "object", "additionalProperties": { "type": "integer", "minimum": 1 } } } });
        assert_eq!(
            older(&schema)["properties"],
            json!({ "a": {}, "b": { "type": "string", "format": "int-or-string", "x-kubernetes-int-or-string": true },
                "c": { "type": "object", "additionalProperties": { "type": "integer" } } })
        );
    }
}
