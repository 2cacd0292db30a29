use serde_json::{Value, json};

use super::*;
use crate::sim::schema;

fn patched(group: &str, kind: &str, target: Value, patch: &Value) -> Result<Value, Status> {
    let mut target = target;
    apply(schema::of(group, "v1", kind).expect("schema"), &mut target, patch)?;
    Ok(target)
}

fn spec(target: Value, patch: Value) -> Value {
    let (target, patch) = (json!({ "spec": target }), json!({ "spec": patch }));
    patched("", "Pod", target, &patch).expect("applies")["spec"].take()
}

fn refused(target: Value, patch: Value) -> (u16, String) {
    let status =
        patched("", "Pod", json!({ "spec": target }), &json!({ "spec": patch })).expect_err("refused");
    (status.code, status.message)
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("list").iter().map(|item| item["name"].as_str().expect("name")).collect()
}

#[test]
fn lists_with_a_key_are_merged_by_it() {
    let target = json!({ "containers": [{ "name": "a", "image": "1" }, { "name": "b", "image": "1" }] });
    let patch = json!({ "containers": [{ "name": "b", "image": "2" }, { "name": "c", "image": "3" }] });
    let merged = spec(target, patch);
    assert_eq!(
        merged["containers"],
        json!([{ "name": "a", "image": "1" }, { "name": "b", "image": "2" }, { "name": "c", "image": "3" }])
    );
}

#[test]
fn lists_without_a_strategy_are_replaced() {
    let target =
        json!({ "tolerations": [{ "key": "a" }], "containers": [{ "name": "a", "args": ["x", "y"] }] });
    let patch = json!({ "tolerations": [{ "key": "b" }], "containers": [{ "name": "a", "args": ["z"] }] });
    let merged = spec(target, patch);
    assert_eq!(merged["tolerations"], json!([{ "key": "b" }]));
    assert_eq!(merged["containers"], json!([{ "name": "a", "args": ["z"] }]));
}

#[test]
fn lists_of_scalars_with_a_strategy_are_joined() {
    let target = json!({ "metadata": { "finalizers": ["a", "b"] } });
    let patch = json!({ "metadata": { "finalizers": ["b", "c"] } });
    let merged = patched("", "Pod", target.clone(), &patch).expect("applies");
    assert_eq!(merged["metadata"]["finalizers"], json!(["a", "b", "c"]));
    let patch = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": ["a"] } });
    let merged = patched("", "Pod", target.clone(), &patch).expect("applies");
    assert_eq!(merged["metadata"]["finalizers"], json!(["b"]));
    let patch =
        json!({ "metadata": { "$setElementOrder/finalizers": ["c", "b", "a"], "finalizers": ["c"] } });
    let merged = patched("", "Pod", target, &patch).expect("applies");
    assert_eq!(merged["metadata"]["finalizers"], json!(["c", "b", "a"]));
}

#[test]
fn null_deletes_and_leaves_no_trace_where_nothing_was() {
    let merged = spec(
        json!({ "nodeName": "n", "hostname": "h" }),
        json!({ "nodeName": null, "os": null,
        "securityContext": { "runAsUser": null, "runAsGroup": 1 } }),
    );
    assert_eq!(merged, json!({ "hostname": "h", "securityContext": { "runAsGroup": 1 } }));
}

#[test]
fn items_are_deleted_by_their_key() {
    let target = json!({ "containers": [{ "name": "a" }, { "name": "b" }, { "name": "c" }] });
    let patch =
        json!({ "containers": [{ "$patch": "delete", "name": "b" }, { "$patch": "delete", "name": "z" }] });
    assert_eq!(names(&spec(target, patch)["containers"]), ["a", "c"]);
}

#[test]
fn lists_and_maps_are_replaced_when_the_patch_says_so() {
    let target = json!({ "containers": [{ "name": "a" }], "nodeSelector": { "a": "1" } });
    let patch = json!({ "containers": [{ "name": "b" }, { "$patch": "replace" }],
        "nodeSelector": { "$patch": "replace", "b": "2" } });
    let merged = spec(target, patch);
    assert_eq!(merged["containers"], json!([{ "name": "b" }]));
    assert_eq!(merged["nodeSelector"], json!({ "b": "2" }));
    let merged =
        spec(json!({ "affinity": { "podAffinity": {} } }), json!({ "affinity": { "$patch": "delete" } }));
    assert_eq!(merged["affinity"], json!({}));
}

#[test]
fn retain_keys_clears_the_other_fields() {
    let target = json!({ "volumes": [{ "name": "v", "emptyDir": {} }] });
    let patch = json!({ "volumes": [{ "name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": { "path": "/x" } }] });
    assert_eq!(spec(target, patch)["volumes"], json!([{ "name": "v", "hostPath": { "path": "/x" } }]));
    let strategy =
        json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1 } } } });
    let patch = json!({ "spec": { "strategy": { "$retainKeys": ["type"], "type": "Recreate" } } });
    let merged = patched("apps", "Deployment", strategy, &patch).expect("applies");
    assert_eq!(merged["spec"]["strategy"], json!({ "type": "Recreate" }));
    let patch = json!({ "volumes": [{ "name": "v", "$retainKeys": ["name"], "hostPath": {} }] });
    assert_eq!(
        refused(json!({ "volumes": [{ "name": "v" }] }), patch),
        (400, "invalid patch format of retainKeys".to_owned())
    );
}

#[test]
fn the_order_of_items_is_the_one_that_the_patch_names() {
    let target =
        json!({ "containers": [{ "name": "s1" }, { "name": "a" }, { "name": "s2" }, { "name": "b" }] });
    let patch = json!({ "$setElementOrder/containers": [{ "name": "b" }, { "name": "a" }] });
    assert_eq!(names(&spec(target.clone(), patch)["containers"]), ["s1", "s2", "b", "a"]);
    let patch = json!({ "$setElementOrder/containers": [{ "name": "a" }, { "name": "new" }, { "name": "b" }],
        "containers": [{ "name": "new", "image": "x" }] });
    assert_eq!(names(&spec(target, patch)["containers"]), ["s1", "a", "new", "s2", "b"]);
}

#[test]
fn what_kubectl_apply_sends_is_understood() {
    let target = json!({ "metadata": { "labels": { "old": "1", "app": "web" } },
        "spec": { "replicas": 2, "template": { "spec": { "containers": [
            { "name": "web", "image": "nginx:1", "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
              "ports": [{ "containerPort": 80, "protocol": "TCP" }] }] } } } });
    let patch = json!({ "metadata": { "labels": { "old": null } },
        "spec": { "template": { "spec": { "$setElementOrder/containers": [{ "name": "web" }], "containers": [
            { "name": "web", "image": "nginx:2", "$setElementOrder/env": [{ "name": "B" }, { "name": "C" }],
              "env": [{ "name": "C", "value": "3" }, { "$patch": "delete", "name": "A" }],
              "$setElementOrder/ports": [{ "containerPort": 8080 }],
              "ports": [{ "containerPort": 8080 }, { "$patch": "delete", "containerPort": 80 }] }] } } } });
    let merged = patched("apps", "Deployment", target, &patch).expect("applies");
    assert_eq!(merged["metadata"]["labels"], json!({ "app": "web" }));
    assert_eq!(merged["spec"]["replicas"], 2);
    assert_eq!(
        merged["spec"]["template"]["spec"]["containers"],
        json!([{ "name": "web", "image": "nginx:2", "env": [{ "name": "B", "value": "2" }, { "name": "C", "value": "3" }],
            "ports": [{ "containerPort": 8080 }] }])
    );
}

#[test]
fn a_budget_selector_is_replaced_as_a_whole() {
    let target = json!({ "spec": { "selector": { "matchLabels": { "a": "1" } } } });
    let patch = json!({ "spec": { "selector": { "matchLabels": { "b": "2" } } } });
    let merged = patched("policy", "PodDisruptionBudget", target, &patch).expect("applies");
    assert_eq!(merged["spec"]["selector"], json!({ "matchLabels": { "b": "2" } }));
}

#[test]
fn malformed_patches_are_refused_in_upstreams_words() {
    let target = json!({ "containers": [{ "name": "a" }], "volumes": [] });
    assert_eq!(
        refused(target.clone(), json!({ "containers": [{ "image": "x" }] })),
        (500, "map: map[image:x] does not contain declared merge key: name".to_owned())
    );
    assert_eq!(
        refused(target.clone(), json!({ "containers": [{ "$patch": "grow", "name": "a" }] })),
        (500, "unknown patch type: grow in map: map[$patch:grow name:a]".to_owned())
    );
    assert_eq!(
        refused(target.clone(), json!({ "$setElementOrder/containers": {} })),
        (500, "expected a []interface {}, but received a map[string]interface {}".to_owned())
    );
    assert_eq!(
        refused(target.clone(), json!({ "$deleteFromPrimitiveList": ["a"] })),
        (400, "invalid patch format of primitive list".to_owned())
    );
    assert_eq!(
        refused(target.clone(), json!({ "$setElementOrder/nothing": [], })).1,
        "unable to find api field in struct PodSpec for the json field \"nothing\""
    );
    let order = json!({ "$setElementOrder/containers": [{ "name": "b" }], "containers": [{ "name": "a" }] });
    assert!(refused(target, order).1.starts_with("The order in patch list:\n[map[name:a]]\n doesn't match"));
}
