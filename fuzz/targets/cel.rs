//! CEL: expressions as admission policies have them, compiled and, when they compile, evaluated within the cost that
//! Kubernetes allows.

#![no_main]

use std::collections::BTreeMap;

use cks_lab::cel::Program;
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let Ok(source) = std::str::from_utf8(data) else { return };
    let Ok(program) = Program::compile(source) else { return };
    let object = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "x", "labels": { "app": "web" } },
        "spec": { "replicas": 3, "share": 0.5, "hostNetwork": false,
        "containers": [{ "name": "c", "image": "registry.example.com/nginx:1.27" }, { "name": "d", "args": [] }] } });
    let bindings: BTreeMap<String, Value> =
        [("object".to_owned(), object), ("oldObject".to_owned(), Value::Null)].into();
    let _ = program.evaluate(&bindings);
});
