//! Bodies of requests that create: JSON, YAML and protobuf, to every kind. Nothing is stored, so that inputs do not
//! depend on one another.

#![no_main]

mod http;

use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|data: &[u8]| -> Corpus {
    let [kind, collection, body @ ..] = data else { return Corpus::Reject };
    let kinds = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];
    let kind = kinds[usize::from(*kind) % kinds.len()];
    let path = http::COLLECTIONS[usize::from(*collection) % http::COLLECTIONS.len()];
    let (status, answer) = http::asked(
        |_| {},
        |asked| asked.send("POST", &format!("{path}?dryRun=All&fieldValidation=Warn"), kind, body),
    );
    assert!(status < 500 || status == 501, "{path}: {}", String::from_utf8_lossy(&answer));
    serde_json::from_slice::<serde_json::Value>(&answer).unwrap();
    Corpus::Keep
});
