use super::*;
use crate::sim::schema;

fn write<'a>(manager: &'a str, time: &'a str) -> Write<'a> {
    Write { manager, api_version: "v1", subresource: "", time, reset: &[] }
}

fn config_map() -> Types<'static> {
    Types::Builtin(schema::of("", "v1", "ConfigMap").unwrap())
}

fn deployment() -> Types<'static> {
    Types::Builtin(schema::of("apps", "v1", "Deployment").unwrap())
}

fn cm(data: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" }, "data": data })
}

fn managers(object: &Value) -> Vec<(String, String, Value)> {
    let entries = object["metadata"].items("managedFields").iter();
    entries
        .map(|e| (e.text("manager").to_owned(), e.text("operation").to_owned(), e["fieldsV1"].clone()))
        .collect()
}

const T1: &str = "2026-01-01T00:00:01Z";
const T2: &str = "2026-01-01T00:00:02Z";
const T3: &str = "2026-01-01T00:00:03Z";

#[test]
fn a_create_is_tracked_as_a_real_server_tracks_it() {
    let mut new = cm(json!({ "a": "1" }));
    track(config_map(), None, &mut new, &write("kubectl-create", T1));
    assert_eq!(
        managers(&new),
        [("kubectl-create".into(), "Update".into(), json!({ "f:data": { ".": {}, "f:a": {} } }))]
    );
    let mut new = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d", "labels": { "app": "d" } },
        "spec": {
            "replicas": 1, "selector": { "matchLabels": { "app": "d" } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%" } },
            "template": {
                "metadata": { "labels": { "app": "d" } },
                "spec": { "containers": [{ "name": "c", "image": "x", "resources": {}, "ports": [{ "containerPort": 80, "protocol": "TCP" }] }] },
            },
        },
    });
    track(deployment(), None, &mut new, &write("kubectl-create", T1));
    assert_eq!(
        managers(&new)[0].2,
        json!({
            "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
            "f:spec": {
                "f:replicas": {}, "f:selector": {},
                "f:strategy": { "f:rollingUpdate": { ".": {}, "f:maxSurge": {} }, "f:type": {} },
                "f:template": {
                    "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
                    "f:spec": { "f:containers": { "k:{\"name\":\"c\"}": {
                        ".": {}, "f:name": {}, "f:image": {}, "f:resources": {},
                        "f:ports": { ".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:containerPort": {}, "f:protocol": {} } },
                    } } },
                },
            },
        })
    );
}

#[test]
fn an_update_takes_over_what_it_changes_and_nothing_else() {
    let mut first = cm(json!({ "a": "1", "b": "2" }));
    track(config_map(), None, &mut first, &write("one", T1));
    let mut second = first.clone();
    second["data"] = json!({ "a": "1", "b": "9", "c": "3" });
    track(config_map(), Some(&first), &mut second, &write("two", T2));
    assert_eq!(
        managers(&second),
        [
            ("one".into(), "Update".into(), json!({ "f:data": { ".": {}, "f:a": {} } })),
            ("two".into(), "Update".into(), json!({ "f:data": { "f:b": {}, "f:c": {} } })),
        ]
    );
    let mut third = second.clone();
    third["data"] = json!({ "a": "1" });
    track(config_map(), Some(&second), &mut third, &write("three", T3));
    assert_eq!(
        managers(&third),
        [("one".into(), "Update".into(), json!({ "f:data": { ".": {}, "f:a": {} } }))]
    );
}

#[test]
fn a_conflict_names_the_manager_and_the_field() {
    let mut live = cm(json!({ "a": "1" }));
    track(config_map(), None, &mut live, &write("kubectl-client-side-apply", T1));
    let error =
        apply(config_map(), Some(&live), &cm(json!({ "a": "2" })), &write("alice", T2), false).unwrap_err();
    assert_eq!(error.code, 409);
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using v1: .data.a"
    );
    let forced =
        apply(config_map(), Some(&live), &cm(json!({ "a": "2" })), &write("alice", T2), true).unwrap();
    assert_eq!(forced["data"]["a"], "2");
    let error =
        apply(config_map(), Some(&forced), &cm(json!({ "a": "3" })), &write("bob", T3), false).unwrap_err();
    assert_eq!(error.message, "Apply failed with 1 conflict: conflict with \"alice\": .data.a");
}

#[test]
fn the_same_value_is_shared_and_stays_until_the_last_owner_goes() {
    let alice =
        apply(config_map(), None, &cm(json!({ "a": "1", "b": "2" })), &write("alice", T1), false).unwrap();
    let both = apply(config_map(), Some(&alice), &cm(json!({ "a": "1" })), &write("bob", T2), false).unwrap();
    let gone = apply(config_map(), Some(&both), &cm(json!({})), &write("alice", T3), false).unwrap();
    assert_eq!(gone["data"], json!({ "a": "1" }), "what only alice applied is gone, what bob shares is not");
    let none = apply(
        config_map(),
        Some(&gone),
        &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "c" } }),
        &write("bob", T3),
        false,
    )
    .unwrap();
    assert!(none["data"].get("a").is_none());
}

#[test]
fn applying_twice_changes_nothing() {
    let config = cm(json!({ "a": "1" }));
    let once = apply(config_map(), None, &config, &write("alice", T1), false).unwrap();
    let twice = apply(config_map(), Some(&once), &config, &write("alice", T2), false).unwrap();
    assert_eq!(once, twice);
}

#[test]
fn the_identity_stays_when_the_last_applied_metadata_goes() {
    let mut config = cm(json!({ "a": "1" }));
    config["metadata"]["annotations"] = json!({ "x": "y" });
    let mut live = apply(config_map(), None, &config, &write("alice", "t1"), false).expect("applies");
    live["metadata"]["uid"] = "u".into();
    live["metadata"]["resourceVersion"] = "7".into();
    let applied = apply(config_map(), Some(&live), &cm(json!({ "a": "1" })), &write("alice", "t2"), false)
        .expect("applies");
    let metadata = &applied["metadata"];
    assert!(metadata.get("annotations").is_none());
    assert_eq!((&metadata["name"], &metadata["uid"]), (&live["metadata"]["name"], &json!("u")));
    assert_eq!(metadata["resourceVersion"], "7");
}

#[test]
fn items_of_a_list_belong_to_whoever_names_them() {
    let with = |containers: Value| {
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" },
                "spec": { "template": { "spec": { "containers": containers } } } })
    };
    let one =
        apply(deployment(), None, &with(json!([{ "name": "a", "image": "x" }])), &write("one", T1), false)
            .unwrap();
    let two = apply(
        deployment(),
        Some(&one),
        &with(json!([{ "name": "b", "image": "y" }])),
        &write("two", T2),
        false,
    )
    .unwrap();
    let names = |object: &Value| -> Vec<String> {
        let list = object["spec"]["template"]["spec"].items("containers").iter();
        list.map(|c| c.text("name").to_owned()).collect()
    };
    assert_eq!(names(&two), ["a", "b"]);
    let without = apply(deployment(), Some(&two), &with(json!([])), &write("one", T3), false).unwrap();
    assert_eq!(names(&without), ["b"]);
}

#[test]
fn forgets_the_managers_on_request() {
    let mut live = cm(json!({ "a": "1" }));
    track(config_map(), None, &mut live, &write("one", T1));
    let mut new = live.clone();
    new["metadata"]["managedFields"] = json!([{}]);
    track(config_map(), Some(&live), &mut new, &write("two", T2));
    assert!(managers(&new).is_empty());
}

#[test]
fn status_is_not_set_through_the_resource() {
    let live = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" }, "spec": { "replicas": 1 }, "status": { "replicas": 1 } });
    let config = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" }, "spec": { "replicas": 2 }, "status": { "replicas": 7 } });
    let write = Write { reset: &[&["status"]], ..write("one", T1) };
    let merged = apply(deployment(), Some(&live), &config, &write, true).unwrap();
    assert_eq!((&merged["spec"]["replicas"], &merged["status"]["replicas"]), (&json!(2), &json!(1)));
    assert!(managers(&merged).iter().all(|(name, _, set)| name != "one" || set.get("f:status").is_none()));
}

#[test]
fn no_more_than_ten_updaters_are_told_apart() {
    let mut live = cm(json!({}));
    for n in 0..15 {
        let mut new = live.clone();
        new["data"][format!("k{n}")] = json!("v");
        let (name, time) = (format!("m{n}"), format!("2026-01-01T00:00:{:02}Z", n + 10));
        track(config_map(), Some(&live), &mut new, &write(&name, &time));
        live = new;
    }
    let names: Vec<String> = managers(&live).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), 10);
    assert_eq!(names[0], ANCIENT);
    assert!(managers(&live)[0].2["f:data"].get("f:k0").is_some());
}

mod algebra {
    use proptest::prelude::*;

    use super::*;

    fn data() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
        proptest::collection::btree_map("[a-d]", "[0-2]", 0..4)
    }

    proptest! {
        /// Whatever two managers apply by force, each finds what it applied last, and nothing is left that neither applies.
        #[test]
        fn what_is_applied_is_there_and_nothing_else(first in data(), second in data(), third in data()) {
            let one = apply(config_map(), None, &cm(json!(first)), &write("one", T1), true).unwrap();
            let two = apply(config_map(), Some(&one), &cm(json!(second)), &write("two", T2), true).unwrap();
            let end = apply(config_map(), Some(&two), &cm(json!(third)), &write("one", T3), true).unwrap();
            for (key, value) in &third {
                prop_assert_eq!(&end["data"][key], value);
            }
            for (key, _) in end["data"].as_object().cloned().unwrap_or_default() {
                prop_assert!(third.contains_key(&key) || second.contains_key(&key), "{} is nobody's", key);
            }
        }

        #[test]
        fn sets_are_sets(a in data(), b in data()) {
            let set = |data: &std::collections::BTreeMap<String, String>| {
                let mut set = Set::default();
                for key in data.keys() { set.insert(&[Step::Field("data".into()), Step::Field(key.clone())]); }
                set
            };
            let (x, y) = (set(&a), set(&b));
            prop_assert_eq!(x.union(&y).difference(&y), x.difference(&y));
            prop_assert_eq!(x.intersection(&y), y.intersection(&x));
            prop_assert_eq!(Set::parse(&x.write()).unwrap(), x);
        }
    }
}
