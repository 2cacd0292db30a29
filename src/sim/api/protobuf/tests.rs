use serde_json::json;

use super::*;
use crate::sim::schema::decode::decode;

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

/// What kubectl sent for a command, and what it prints for it as JSON.
fn recorded(command: &str) -> (Vec<u8>, Option<Value>) {
    let table = include_str!("../../../../tests/fixtures/sim/protobuf.tsv");
    let line = table.lines().find(|line| line.starts_with(command)).expect("recorded");
    let mut columns = line.split('\t').skip(1);
    let body = unhex(columns.next().expect("body"));
    (body, columns.next().map(|text| serde_json::from_str(text).expect("JSON")))
}

fn none() -> GroupVersionKind {
    GroupVersionKind::of("", "v1", "Pod")
}

#[test]
fn what_kubectl_sends_is_what_it_prints() {
    let table = include_str!("../../../../tests/fixtures/sim/protobuf.tsv");
    let mut compared = 0;
    for line in table.lines() {
        let (body, printed) = recorded(line);
        let read = read(&body, &none()).expect(line);
        let Some(printed) = printed else { continue };
        let gvk = GroupVersionKind::read(&read).expect("kind");
        let schema = schema::of(&gvk.group, &gvk.version, &gvk.kind).expect("schema");
        let expected = decode(schema, &Document::from_value(&printed)).expect("decodes").object;
        // A dry run on the client names the namespace that the path names otherwise.
        let mut expected = expected;
        if read["metadata"].get("namespace").is_none() {
            expected["metadata"].as_object_mut().expect("metadata").remove("namespace");
        }
        assert_eq!(read, expected, "{line}");
        compared += 1;
    }
    assert_eq!(compared, 18);
}

#[test]
fn reviews_and_tokens_are_read() {
    let (body, _) = recorded("auth can-i create");
    let review = read(&body, &none()).expect("review");
    assert_eq!(
        review["spec"],
        json!({ "resourceAttributes": { "namespace": "x", "verb": "create", "resource": "pods", "name": "exec" } })
    );
    let (body, _) = recorded("create token");
    let token = read(&body, &none()).expect("token");
    assert_eq!(token["kind"], "TokenRequest");
    assert_eq!(
        token["spec"],
        json!({ "audiences": ["x"], "expirationSeconds": 3600, "boundObjectRef": null })
    );
}

#[test]
fn other_bodies_are_refused_and_never_panic() {
    assert_eq!(read(b"{}", &none()), Err(ProtobufError::Prefix));
    let (body, _) = recorded("create deployment");
    for end in 4..body.len() {
        let _ = read(&body[..end], &none());
    }
    for at in 4..body.len() {
        let mut broken = body.clone();
        broken[at] ^= 0xff;
        let _ = read(&broken, &none());
    }
    let unknown = b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Nobody";
    let error = read(unknown, &none()).expect_err("unknown kind").to_string();
    assert!(error.starts_with(r#"no kind "Nobody" is registered for version "v1" in scheme"#), "{error}");
}

#[test]
fn delete_options_need_no_group() {
    let body = b"k8s\0\x0a\x1a\x0a\x09policy/v1\x12\x0dDeleteOptions\x12\x04\x08\x05\x22\x00";
    let options = read(body, &none()).expect("options");
    assert_eq!(options["gracePeriodSeconds"], 5);
    assert_eq!(options["propagationPolicy"], "");
}
