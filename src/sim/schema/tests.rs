use serde_json::{Value, json};

use super::document::Document;
use super::*;

fn decode(group: &str, version: &str, kind: &str, value: &Value) -> Result<decode::Decoded, String> {
    let text = value.to_string();
    let document = Document::parse(text.as_bytes()).expect("JSON");
    decode::decode(of(group, version, kind).expect("schema"), &document).map_err(|error| error.to_string())
}

fn error(group: &str, kind: &str, value: &Value) -> String {
    decode(group, "v1", kind, value).expect_err("refused")
}

#[test]
fn the_table_says_what_types_are() {
    let pod = of("", "v1", "Pod").expect("Pod");
    assert_eq!(pod.openapi_name(), "io.k8s.api.core.v1.Pod");
    let spec = pod.field("spec").expect("spec").kind.schema().expect("PodSpec");
    assert_eq!(spec.go_name(), "PodSpec");
    let containers = spec.field("containers").expect("containers");
    assert_eq!(containers.numbers, [2]);
    assert_eq!(containers.apply, Apply::Keys(vec![("name", None)]));
    assert_eq!(containers.patch.key, Some("name"));
    let container = containers.kind.element().and_then(Type::schema).expect("Container");
    let ports = container.field("ports").expect("ports");
    assert_eq!(ports.apply, Apply::Keys(vec![("containerPort", None), ("protocol", Some("TCP"))]));
    assert_eq!(ports.patch.key, Some("containerPort"));
    let volume = named("core.v1.Volume").expect("Volume");
    assert_eq!(volume.field("emptyDir").expect("emptyDir").numbers, [2, 2]);
    let policy = spec.field("restartPolicy").expect("restartPolicy");
    assert_eq!(policy.values, ["Always", "Never", "OnFailure"]);
    for schema in all() {
        assert!(std::ptr::eq(by_openapi_name(&schema.openapi_name()).expect("by name"), schema));
    }
    assert!(named("meta.v1.LabelSelector").expect("LabelSelector").atomic);
    let definition = of("apiextensions.k8s.io", "v1", "CustomResourceDefinition").expect("CRD");
    assert_eq!(
        definition.openapi_name(),
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"
    );
}

#[test]
fn every_served_kind_has_a_type() {
    for resource in crate::sim::api::resources::Resources::builtin().all() {
        assert!(of(&resource.group, &resource.version, &resource.kind).is_some(), "{}", resource.kind);
    }
}

#[test]
fn unknown_and_duplicate_fields_are_named_in_their_order() {
    let text = br#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a","name":"b","labels":{"x":"1","x":"2"}},
        "spec":{"replica":1,"template":{"spec":{"containers":[{"imagePullPolice":"x"}]}}},"foo":1}"#;
    let document = Document::parse(text).expect("JSON");
    let decoded =
        decode::decode(of("apps", "v1", "Deployment").expect("schema"), &document).expect("decodes");
    assert_eq!(
        decoded.strict,
        [
            r#"duplicate field "metadata.name""#,
            r#"duplicate field "metadata.labels.x""#,
            r#"unknown field "spec.replica""#,
            r#"unknown field "spec.template.spec.containers[0].imagePullPolice""#,
            r#"unknown field "foo""#,
        ]
    );
    assert_eq!(decoded.object["metadata"]["name"], "b");
    assert!(decoded.object["spec"].get("replica").is_none());
}

#[test]
fn type_errors_are_worded_as_go_words_them() {
    assert_eq!(
        error("", "Pod", &json!({ "spec": { "containers": "x" } })),
        "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container"
    );
    assert_eq!(
        error("", "Pod", &json!({ "spec": { "containers": ["x"] } })),
        "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container"
    );
    assert_eq!(
        error("apps", "Deployment", &json!({ "spec": { "replicas": "3" } })),
        "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
    );
    assert_eq!(
        error("apps", "Deployment", &json!({ "spec": { "replicas": 1.5 } })),
        "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"
    );
    assert_eq!(
        error("", "ConfigMap", &json!({ "metadata": { "labels": { "a": 1 } }, "zzz": true })),
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
    );
    assert_eq!(
        error("", "Pod", &json!({ "spec": { "restartPolicy": 1 } })),
        "json: cannot unmarshal number into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy"
    );
    assert_eq!(
        error("", "Service", &json!({ "spec": { "ports": [{ "targetPort": true }] } })),
        "json: cannot unmarshal bool into Go struct field ServicePort.spec.ports.targetPort of type int32"
    );
    assert_eq!(
        error("", "Pod", &json!({ "spec": "x" })),
        "json: cannot unmarshal string into Go struct field Pod.spec of type v1.PodSpec"
    );
    assert_eq!(error("", "Secret", &json!({ "data": { "a": "%" } })), "illegal base64 data at input byte 0");
    let lots = json!({ "spec": { "restartPolicy": 1, "containers": [
        { "resources": { "limits": { "cpu": "lots" } } }] } });
    assert!(error("", "Pod", &lots).starts_with("quantities must match the regular expression"));
}

#[test]
fn what_is_read_has_the_form_that_go_writes() {
    let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a", "labels": {},
            "annotations": null, "creationTimestamp": null },
        "spec": { "hostNetwork": false, "automountServiceAccountToken": false, "nodeName": "", "volumes": [],
            "containers": [{ "name": "c", "resources": { "limits": { "cpu": "0.5", "memory": "1024Mi" },
                "requests": { "cpu": 1 } }, "env": null, "securityContext": {} }] } });
    let read = decode("", "v1", "Pod", &pod).expect("decodes").object;
    let expected = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "a" },
        "spec": { "automountServiceAccountToken": false,
            "containers": [{ "name": "c", "resources": { "limits": { "cpu": "500m", "memory": "1Gi" },
                "requests": { "cpu": "1" } }, "securityContext": {} }] },
        "status": {} });
    assert_eq!(read, expected);
    let role = decode("rbac.authorization.k8s.io", "v1", "Role", &json!({ "rules": [] })).expect("decodes");
    assert_eq!(role.object, json!({ "metadata": {}, "rules": null }));
    let service = decode("", "v1", "Service", &json!({})).expect("decodes").object;
    assert_eq!(service, json!({ "metadata": {}, "spec": {}, "status": { "loadBalancer": {} } }));
    let event = json!({ "metadata": {}, "involvedObject": {}, "eventTime": "2024-01-01T00:00:00.25+01:00",
        "firstTimestamp": "2024-01-01T00:00:00.9Z" });
    let event = decode("", "v1", "Event", &event).expect("decodes").object;
    assert_eq!(event["eventTime"], "2023-12-31T23:00:00.250000Z");
    assert_eq!(event["firstTimestamp"], "2024-01-01T00:00:00Z");
    assert_eq!(event["lastTimestamp"], Value::Null);
}

#[test]
fn schemas_of_definitions_may_be_lists_booleans_and_strings() {
    let props = json!({ "type": "object", "additionalProperties": false, "x-unknown": 1, "properties": {
        "a": { "type": "array", "items": { "type": "string", "nope": 1 } },
        "b": { "additionalProperties": { "type": "integer", "minimum": 0 } } } });
    let definition =
        json!({ "spec": { "versions": [{ "name": "v1", "schema": { "openAPIV3Schema": props } }] } });
    let decoded =
        decode("apiextensions.k8s.io", "v1", "CustomResourceDefinition", &definition).expect("decodes");
    assert_eq!(decoded.strict, [r#"unknown field "spec.versions[0].schema.openAPIV3Schema.x-unknown""#]);
    let read = decoded.object.pointer("/spec/versions/0/schema/openAPIV3Schema").expect("schema");
    let expected = json!({ "type": "object", "additionalProperties": false, "properties": {
        "a": { "type": "array", "items": { "type": "string" } },
        "b": { "additionalProperties": { "type": "integer", "minimum": 0 } } } });
    assert_eq!(read, &expected);
}

/// The table agrees with the types that `kube` and the rest of the program use.
#[test]
fn the_table_agrees_with_k8s_openapi() {
    let mut generator = schemars::generate::SchemaSettings::openapi3().into_generator();
    macro_rules! kinds {
        ($($kind:ty),* $(,)?) => { $(generator.subschema_for::<$kind>();)* };
    }
    use k8s_openapi::api;
    kinds!(
        api::core::v1::Pod,
        api::core::v1::Node,
        api::core::v1::Service,
        api::core::v1::Secret,
        api::core::v1::Namespace,
        api::core::v1::PersistentVolume,
        api::core::v1::ResourceQuota,
        api::core::v1::LimitRange,
        api::core::v1::ServiceAccount,
        api::core::v1::Event,
        api::apps::v1::Deployment,
        api::apps::v1::StatefulSet,
        api::apps::v1::DaemonSet,
        api::apps::v1::ReplicaSet,
        api::batch::v1::CronJob,
        api::networking::v1::NetworkPolicy,
        api::networking::v1::Ingress,
        api::rbac::v1::ClusterRole,
        api::rbac::v1::RoleBinding,
        api::policy::v1::PodDisruptionBudget,
        api::autoscaling::v2::HorizontalPodAutoscaler,
        api::admissionregistration::v1::ValidatingAdmissionPolicy,
        api::admissionregistration::v1::ValidatingWebhookConfiguration,
        api::certificates::v1::CertificateSigningRequest,
        api::authorization::v1::SubjectAccessReview,
        api::resource::v1::ResourceClaim,
        api::flowcontrol::v1::FlowSchema,
        api::storage::v1::StorageClass,
        api::discovery::v1::EndpointSlice,
        api::node::v1::RuntimeClass,
        api::scheduling::v1::PriorityClass,
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    );
    let definitions = generator.take_definitions(true);
    let mut compared = 0;
    for schema in all() {
        let Some(definition) = definitions.get(&schema.openapi_name()) else { continue };
        let Some(properties) = definition["properties"].as_object() else { continue };
        let known: Vec<&str> = properties.keys().map(String::as_str).collect();
        let ours: Vec<&str> = schema.fields.iter().map(|f| f.name).collect();
        assert_eq!(ours, known, "{}", schema.name);
        for field in &schema.fields {
            let required = definition["required"].as_array();
            let required = required.is_some_and(|list| list.iter().any(|name| name == field.name));
            assert!(required || !field.required, "{}.{}", schema.name, field.name);
            let property = &properties[field.name];
            let expected = match &field.kind {
                Type::String | Type::Bytes => "string",
                Type::Int32 | Type::Int64 => "integer",
                Type::Bool => "boolean",
                Type::List(_) => "array",
                Type::Map(_) => "object",
                _ => continue,
            };
            assert_eq!(property["type"], expected, "{}.{}", schema.name, field.name);
        }
        compared += 1;
    }
    assert!(compared > 300, "{compared}");
}

#[test]
fn every_field_that_is_sent_has_a_protobuf_number() {
    for schema in all() {
        for field in &schema.fields {
            let meta = !schema.kinds().is_empty() && ["apiVersion", "kind"].contains(&field.name);
            assert!(meta || !field.numbers.is_empty(), "{}.{}", schema.name, field.name);
        }
    }
}
