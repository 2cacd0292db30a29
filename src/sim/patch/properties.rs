//! Properties of the patches: what a patch was made from and for is what it makes; twice is once.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{json as json_patch_kind, merge, strategic};
use crate::sim::schema;

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        (0..5).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-d]|x/y|~", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn objects() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-d]", values(), 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// The merge patch that leads from one value to another.
fn difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in new {
        match old.get(key) {
            Some(before) if before == value => {}
            Some(before) => drop(patch.insert(key.clone(), difference(before, value))),
            None => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    patch.into()
}

/// Containers of distinct names, each with environment variables.
fn containers() -> impl Strategy<Value = Vec<Value>> {
    let env = prop::collection::btree_map("[A-D]", "[0-9]", 0..4).prop_map(|map| {
        map.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>()
    });
    let named = prop::collection::btree_map("[a-e]", ("[x-z]", env), 1..5);
    named
        .prop_map(|map| {
            map.into_iter()
                .map(|(n, (image, env))| json!({ "name": n, "image": image, "env": env }))
                .collect()
        })
        .prop_flat_map(|list: Vec<Value>| Just(list).prop_shuffle())
}

/// The patch that kubectl computes for a list merged by name: changes, deletions, the order.
fn list_difference(from: &[Value], to: &[Value]) -> (Vec<Value>, Vec<Value>) {
    let find = |list: &[Value], name: &Value| list.iter().find(|item| item["name"] == *name).cloned();
    let mut patch = Vec::new();
    for item in to {
        match find(from, &item["name"]) {
            Some(old) if old == *item => {}
            Some(old) => {
                let mut change = json!({ "name": item["name"] });
                for (key, value) in item.as_object().expect("object") {
                    match (value, &old[key]) {
                        (value, before) if value == before => {}
                        (Value::Array(new), Value::Array(before)) => {
                            let (list, order) = list_difference(before, new);
                            change[key] = list.into();
                            change[format!("$setElementOrder/{key}")] = order.into();
                        }
                        (value, _) => change[key] = value.clone(),
                    }
                }
                patch.push(change);
            }
            None => patch.push(item.clone()),
        }
    }
    for item in from.iter().filter(|item| find(to, &item["name"]).is_none()) {
        patch.push(json!({ "$patch": "delete", "name": item["name"] }));
    }
    (patch, to.iter().map(|item| json!({ "name": item["name"] })).collect())
}

fn strategic(target: &Value, patch: &Value) -> Value {
    let mut target = target.clone();
    strategic::apply(schema::of("", "v1", "Pod").expect("Pod"), &mut target, patch).expect("applies");
    target
}

proptest! {
    #[test]
    fn a_merge_patch_leads_where_it_was_made_for(from in objects(), to in objects()) {
        let patch = difference(&from, &to);
        let mut merged = from.clone();
        merge::apply(&mut merged, &patch).expect("merges");
        prop_assert_eq!(&merged, &to);
        merge::apply(&mut merged, &patch).expect("merges");
        prop_assert_eq!(&merged, &to);
        merge::apply(&mut merged, &json!({})).expect("merges");
        prop_assert_eq!(&merged, &to);
    }

    #[test]
    fn a_json_patch_leads_where_it_was_made_for(from in values(), to in values()) {
        let patch = serde_json::to_value(::json_patch::diff(&from, &to)).expect("JSON");
        let mut patched = from.clone();
        json_patch_kind::Patch::parse(&patch).expect("patch").apply(&mut patched).expect("applies");
        prop_assert_eq!(patched, to);
    }

    #[test]
    fn a_json_patch_agrees_with_the_library(target in values(), path in "(/[a-d0-3-]){0,3}", value in values(),
        kind in prop_oneof![Just("add"), Just("remove"), Just("replace")]) {
        let patch = json!([{ "op": kind, "path": path, "value": value }]);
        // A bare minus sign counts from the end of nothing in one and names nothing in the other.
        prop_assume!(!path.contains('-') || kind == "add");
        let library: ::json_patch::Patch = serde_json::from_value(patch.clone()).expect("patch");
        let (mut ours, mut theirs) = (target.clone(), target);
        let ours_applies = json_patch_kind::Patch::parse(&patch).expect("patch").apply(&mut ours).is_ok();
        let theirs_applies = ::json_patch::patch(&mut theirs, &library).is_ok();
        if !(path.is_empty() && kind == "remove") {
            prop_assert_eq!(ours_applies, theirs_applies);
        }
        if ours_applies && theirs_applies {
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn a_strategic_patch_leads_where_it_was_made_for(from in containers(), to in containers()) {
        let (list, order) = list_difference(&from, &to);
        let mut inner = json!({ "$setElementOrder/containers": order });
        if !list.is_empty() {
            inner["containers"] = list.into();
        }
        let pod = json!({ "spec": { "containers": from } });
        let merged = strategic(&pod, &json!({ "spec": inner }));
        prop_assert_eq!(&merged["spec"]["containers"], &Value::from(to));
    }

    #[test]
    fn a_strategic_patch_without_directives_is_idempotent(from in containers(), patch in containers()) {
        let pod = json!({ "spec": { "containers": from } });
        let patch = json!({ "spec": { "containers": patch } });
        let once = strategic(&pod, &patch);
        prop_assert_eq!(&strategic(&once, &patch), &once);
        prop_assert_eq!(&strategic(&once, &json!({})), &once);
    }
}
