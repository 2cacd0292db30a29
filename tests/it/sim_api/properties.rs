//! Properties over HTTP: what is applied is what is read, and a watch tells what a list shows, whatever is selected.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::BodyExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Http;

static CASES: AtomicUsize = AtomicUsize::new(0);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn apply(http: &Http, path: &str, config: &Value) -> (u16, Value) {
    let path = format!("{path}?fieldManager=one&force=true&fieldValidation=Strict");
    let kind = [("content-type", "application/apply-patch+yaml")];
    let response = http.send("PATCH", &path, &kind, config.to_string().into_bytes()).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

/// Every field of a configuration is in the object; items of lists are found by their keys.
fn contains(object: &Value, config: &Value) -> bool {
    match (object, config) {
        (Value::Object(object), Value::Object(config)) => {
            config.iter().all(|(key, config)| object.get(key).is_some_and(|object| contains(object, config)))
        }
        (Value::Array(object), Value::Array(config)) if config.iter().all(Value::is_object) => {
            object.len() == config.len()
                && config.iter().all(|config| object.iter().any(|object| contains(object, config)))
        }
        _ => object == config,
    }
}

/// What is left of an object when all is gone that differs between two of the same configuration.
fn essence(object: &Value) -> Value {
    fn sort(value: &mut Value) {
        match value {
            Value::Array(items) => {
                items.iter_mut().for_each(sort);
                items.sort_by_key(|item| item["name"].to_string() + &item["containerPort"].to_string());
            }
            Value::Object(fields) => fields.values_mut().for_each(sort),
            _ => {}
        }
    }
    let mut object = object.clone();
    for field in ["name", "uid", "resourceVersion", "creationTimestamp", "generation"] {
        object["metadata"].as_object_mut().unwrap().remove(field);
    }
    for entry in object["metadata"]["managedFields"].as_array_mut().unwrap() {
        entry.as_object_mut().unwrap().remove("time");
    }
    sort(&mut object["spec"]);
    object
}

fn map(values: &'static str) -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[a-c]", values, 0..3)
}

fn container() -> impl Strategy<Value = Value> {
    let image = prop_oneof![Just("nginx:1.27"), Just("redis:7")];
    let ports = proptest::collection::btree_set(8000..8004u16, 0..3);
    let pull = proptest::option::of(prop_oneof![Just("Always"), Just("Never")]);
    (image, map("[0-2]"), ports, pull, proptest::collection::vec("[a-c]", 0..3)).prop_map(
        |(image, env, ports, pull, args)| {
            let env: Vec<Value> =
                env.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
            let ports: Vec<Value> = ports.iter().map(|port| json!({ "containerPort": port })).collect();
            let mut container = json!({ "image": image, "env": env, "ports": ports, "args": args });
            if let Some(pull) = pull {
                container["imagePullPolicy"] = pull.into();
            }
            // What is empty is not said.
            container
                .as_object_mut()
                .unwrap()
                .retain(|_, value| value.as_array().is_none_or(|v| !v.is_empty()));
            container
        },
    )
}

fn deployment() -> impl Strategy<Value = Value> {
    let containers = proptest::collection::btree_map("[p-r]", container(), 1..3);
    let replicas = proptest::option::of(0..4u8);
    let capability = prop_oneof![Just("NET_RAW"), Just("SYS_ADMIN")];
    (containers, replicas, map("[x-z]"), any::<bool>(), proptest::option::of(capability)).prop_map(
        |(containers, replicas, annotations, host, capability)| {
            let mut containers: Vec<Value> = containers
                .into_iter()
                .map(|(name, mut container)| {
                    container["name"] = name.into();
                    container
                })
                .collect();
            if let Some(capability) = capability {
                containers[0]["securityContext"] = json!({ "capabilities": { "drop": [capability] } });
            }
            let mut config = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {},
                "spec": { "selector": { "matchLabels": { "app": "x" } }, "template": {
                    "metadata": { "labels": { "app": "x" } }, "spec": { "containers": containers } } } });
            if !annotations.is_empty() {
                config["metadata"]["annotations"] = json!(annotations);
            }
            if let Some(replicas) = replicas {
                config["spec"]["replicas"] = replicas.into();
            }
            if host {
                // As false it would be left out, as everywhere.
                config["spec"]["template"]["spec"]["hostPID"] = true.into();
            }
            config
        },
    )
}

#[derive(Debug, Clone)]
enum Step {
    Create(String),
    Label(String, Option<String>),
    Data(String),
    Delete(String),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        "[ab]/m[0-3]".prop_map(Step::Create),
        ("[ab]/m[0-3]", proptest::option::of("[uv]")).prop_map(|(name, value)| Step::Label(name, value)),
        "[ab]/m[0-3]".prop_map(Step::Data),
        "[ab]/m[0-3]".prop_map(Step::Delete),
    ];
    proptest::collection::vec(step, 4..40)
}

async fn take(http: &Http, step: &Step, number: usize) {
    let (Step::Create(at) | Step::Label(at, _) | Step::Data(at) | Step::Delete(at)) = step;
    let (namespace, name) = at.split_once('/').unwrap();
    let path = format!("{}/{name}", super::maps(namespace));
    match step {
        Step::Create(_) => http.ask("POST", &super::maps(namespace), super::map(name)).await,
        Step::Label(_, value) => {
            http.ask("PATCH", &path, json!({ "metadata": { "labels": { "keep": value } } })).await
        }
        Step::Data(_) => http.ask("PATCH", &path, json!({ "data": { "n": number.to_string() } })).await,
        Step::Delete(_) => http.ask("DELETE", &path, Value::Null).await,
    };
}

/// Names and versions of what a list shows.
async fn listed(http: &Http, query: &str) -> (String, BTreeMap<String, Value>) {
    let (code, list) = http.get(query).await;
    assert_eq!(code, 200, "{list}");
    let items = list["items"].as_array().unwrap().iter();
    (list["metadata"]["resourceVersion"].as_str().unwrap().to_owned(), items.map(identity).collect())
}

fn identity(object: &Value) -> (String, Value) {
    let metadata = &object["metadata"];
    let name = format!("{}/{}", metadata["namespace"].as_str().unwrap(), metadata["name"].as_str().unwrap());
    (name, json!([metadata["resourceVersion"], object["data"], metadata["labels"]]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The object has what was applied; applying it again changes nothing; and what was applied before leaves no trace.
    #[test]
    fn what_is_applied_is_what_is_read(first in deployment(), second in deployment()) {
        let http = Http::alone();
        runtime().block_on(async {
            let base = "/apis/apps/v1/namespaces/a/deployments";
            let number = CASES.fetch_add(1, Ordering::Relaxed);
            let (both, only) = (format!("{base}/both-{number}"), format!("{base}/only-{number}"));
            let (code, created) = apply(&http, &both, &first).await;
            prop_assert_eq!(code, 201, "{}", created);
            prop_assert!(contains(&created, &first), "{} in {}", first, created);
            let (code, applied) = apply(&http, &both, &second).await;
            prop_assert_eq!(code, 200, "{}", applied);
            prop_assert!(contains(&applied, &second), "{} in {}", second, applied);
            prop_assert_eq!(&http.get(&both).await.1, &applied);
            let (_, again) = apply(&http, &both, &second).await;
            prop_assert_eq!(&again, &applied);
            let (_, fresh) = apply(&http, &only, &second).await;
            prop_assert_eq!(essence(&applied), essence(&fresh));
            Ok(())
        })?;
    }

    #[test]
    fn a_watch_with_any_selector_leads_to_its_list(
        before in steps(), after in steps(),
        namespace in proptest::option::of("[ab]"),
        selector in prop_oneof![Just(""), Just("keep"), Just("!keep"), Just("keep=u"), Just("keep!=u")],
        field in prop_oneof![Just(""), Just("metadata.name=m1"), Just("metadata.name!=m1"), Just("metadata.namespace=b")],
    ) {
        let http = Http::alone();
        runtime().block_on(async {
            for (number, step) in before.iter().enumerate() {
                take(&http, step, number).await;
            }
            let path = namespace.map_or("/api/v1/configmaps".to_owned(), |namespace| super::maps(&namespace));
            let query = format!("{path}?labelSelector={selector}&fieldSelector={field}");
            let (from, mut followed) = listed(&http, &query).await;
            let watch = format!("{query}&watch=1&resourceVersion={from}&allowWatchBookmarks=true&timeoutSeconds=1");
            for (number, step) in after.iter().enumerate() {
                take(&http, step, 100 + number).await;
            }
            let mut lines = super::watches::watch(&http, &watch).await;
            // All of it has happened, so that the watch has it at hand; what ends it is what the list is then.
            let (last, expected) = listed(&http, &query).await;
            while let Some(event) = lines.ready().await {
                let (name, now) = identity(&event["object"]);
                match event["type"].as_str().unwrap() {
                    "ADDED" => prop_assert!(followed.insert(name, now).is_none(), "{}", event),
                    "MODIFIED" => prop_assert!(followed.insert(name, now).is_some(), "{}", event),
                    "DELETED" => prop_assert!(followed.remove(&name).is_some(), "{}", event),
                    _ => prop_assert!(false, "{}", event),
                }
            }
            prop_assert_eq!(followed, expected, "at {}", last);
            Ok(())
        })?;
    }
}
