use std::fs;

use serde_json::json;

use super::*;

const PODS: GroupResource = GroupResource::of("", "pods");
const NODES: GroupResource = GroupResource::of("", "nodes");

fn pod(namespace: &str, name: &str, note: u64) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "note": note})
}

fn add(store: &Store, namespace: &str, name: &str, note: u64) -> u64 {
    store.create(&PODS, namespace, name, pod(namespace, name, note)).unwrap().revision
}

fn names(entries: &[Arc<Entry>]) -> Vec<String> {
    entries.iter().map(|entry| format!("{}/{}", entry.namespace(), entry.name())).collect()
}

/// Everything that a reader can see of a store.
fn content(store: &Store) -> Vec<(u64, Value)> {
    store
        .resources()
        .iter()
        .flat_map(|resource| store.list(resource, None))
        .map(|entry| (entry.revision, Value::clone(&entry.object)))
        .collect()
}

#[test]
fn a_write_raises_the_revision_and_stamps_the_object() {
    let store = Store::in_memory();
    assert_eq!(add(&store, "a", "x", 1), 1);
    let entry = store.update(&PODS, "a", "x", Some(1), pod("a", "x", 2)).unwrap();
    assert_eq!((entry.revision, entry.object["metadata"]["resourceVersion"].as_str()), (2, Some("2")));
    assert!(entry.json().ends_with(br#""note":2}"#));
    let fields = [br#"{"kind":"Pod","apiVersion":"v1","#, entry.json_fields()].concat();
    assert_eq!(fields, **entry.json());
    assert!(matches!(store.create(&PODS, "a", "x", pod("a", "x", 3)), Err(StoreError::Exists)));
    assert!(matches!(store.update(&PODS, "a", "x", Some(1), pod("a", "x", 3)), Err(StoreError::Conflict)));
    assert!(matches!(store.update(&PODS, "a", "y", None, pod("a", "y", 3)), Err(StoreError::NotFound)));
    assert!(matches!(store.delete(&PODS, "a", "x", Some(1)), Err(StoreError::Conflict)));
    let gone = store.delete(&PODS, "a", "x", Some(2)).unwrap();
    assert_eq!(gone.object["metadata"]["resourceVersion"], "3");
    assert!(store.get(&PODS, "a", "x").is_none());
    assert_eq!(store.revision(), 3);
}

#[test]
fn an_equal_replacement_is_no_change() {
    let store = Store::in_memory();
    add(&store, "a", "x", 1);
    assert_eq!(store.update(&PODS, "a", "x", None, pod("a", "x", 1)).unwrap().revision, 1);
    assert_eq!(store.revision(), 1);
}

#[test]
fn lists_come_in_the_order_of_keys_and_keep_to_the_namespace() {
    let store = Store::in_memory();
    for (namespace, name) in [("b", "z"), ("a", "y"), ("a-b", "x"), ("a", "x"), ("ab", "q")] {
        add(&store, namespace, name, 0);
    }
    assert_eq!(names(&store.list(&PODS, None)), ["a-b/x", "a/x", "a/y", "ab/q", "b/z"]);
    assert_eq!(names(&store.list(&PODS, Some("a"))), ["a/x", "a/y"]);
    assert!(store.list(&NODES, None).is_empty());
}

#[test]
fn a_list_of_the_past_undoes_what_came_after() {
    let store = Store::in_memory();
    add(&store, "a", "x", 1);
    let then = add(&store, "b", "y", 1);
    store.update(&PODS, "a", "x", None, pod("a", "x", 2)).unwrap();
    store.delete(&PODS, "b", "y", None).unwrap();
    add(&store, "c", "z", 1);
    store.delete(&PODS, "a", "x", None).unwrap();
    let past = store.list_at(&PODS, None, then).unwrap();
    assert_eq!(names(&past), ["a/x", "b/y"]);
    assert_eq!(past[0].object["note"], 1);
    assert_eq!(names(&store.list_at(&PODS, Some("b"), then).unwrap()), ["b/y"]);
    assert!(matches!(store.list_at(&PODS, None, 99), Err(StoreError::Ahead)));
}

#[tokio::test]
async fn a_watch_tells_every_change_once_and_in_order() {
    let store = Store::in_memory();
    let first = add(&store, "a", "x", 1);
    let mut pods = store.watch(Some(&PODS), Some(first)).unwrap();
    let mut all = store.watch(None, None).unwrap();
    assert!(pods.try_next().unwrap().is_none());
    store.update(&PODS, "a", "x", None, pod("a", "x", 2)).unwrap();
    store.create(&NODES, "", "n", json!({"metadata": {"name": "n"}})).unwrap();
    store.delete(&PODS, "a", "x", None).unwrap();
    let (modified, deleted) = (pods.next().await.unwrap(), pods.next().await.unwrap());
    assert_eq!((modified.change, modified.revision), (Change::Modified, 2));
    assert_eq!(modified.previous.as_ref().unwrap().object["note"], 1);
    assert_eq!((deleted.change, deleted.revision), (Change::Deleted, 4));
    assert!(
        deleted
            .line()
            .starts_with(br#"{"type":"DELETED","object":{"kind":"Pod","apiVersion":"v1","metadata""#)
    );
    assert!(pods.try_next().unwrap().is_none());
    assert_eq!(pods.revision(), 4);
    let mut seen = Vec::new();
    while let Some(event) = all.try_next().unwrap() {
        seen.push(event.revision);
    }
    assert_eq!(seen, [2, 3, 4]);
    let waiting = tokio::spawn(async move { pods.next().await.unwrap().revision });
    tokio::task::yield_now().await;
    add(&store, "a", "y", 1);
    assert_eq!(waiting.await.unwrap(), 5);
}

#[test]
fn a_watch_that_lags_too_far_expires() {
    let store = Store::in_memory();
    let mut slow = store.watch(Some(&PODS), None).unwrap();
    add(&store, "a", "x", 0);
    for note in 0..=RING_EVENTS as u64 {
        store.update(&PODS, "a", "x", None, pod("a", "x", note + 1)).unwrap();
    }
    assert!(matches!(slow.try_next(), Err(StoreError::Expired)));
    assert!(matches!(store.watch(None, Some(1)), Err(StoreError::Expired)));
    assert!(matches!(store.list_at(&PODS, None, 1), Err(StoreError::Expired)));
}

#[test]
fn reopening_brings_everything_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    add(&store, "a", "x", 1);
    add(&store, "a", "y", 1);
    store.update(&PODS, "a", "x", None, pod("a", "x", 2)).unwrap();
    store.delete(&PODS, "a", "y", None).unwrap();
    let before = content(&store);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(content(&store), before);
    assert_eq!(store.revision(), 4);
    let mut watch = store.watch(Some(&PODS), Some(2)).unwrap();
    assert_eq!(watch.try_next().unwrap().unwrap().change, Change::Modified);
    assert_eq!(watch.try_next().unwrap().unwrap().change, Change::Deleted);
    assert_eq!(add(&store, "a", "z", 1), 5);
}

#[test]
fn what_could_not_be_read_back_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!({ "a": inner }));
    let object = |name: &str, depth: usize| json!({ "metadata": { "name": name, "namespace": "a" }, "spec": nested(depth) });
    let create = |name: &str, depth: usize| store.create(&PODS, "a", name, object(name, depth));
    create("deepest", MAX_DEPTH - 1).unwrap();
    assert!(matches!(create("deeper", MAX_DEPTH), Err(StoreError::TooDeep)));
    drop(store);
    assert_eq!(names(&Store::open(dir.path()).unwrap().list(&PODS, None)), ["a/deepest"]);
}

#[test]
fn a_tail_torn_anywhere_costs_only_the_last_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    add(&store, "a", "x", 1);
    let log = dir.path().join("log.0");
    let whole = fs::metadata(&log).unwrap().len();
    add(&store, "a", "y", 1);
    drop(store);
    let bytes = fs::read(&log).unwrap();
    for cut in whole..bytes.len() as u64 {
        fs::write(&log, &bytes[..usize::try_from(cut).unwrap()]).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(names(&store.list(&PODS, None)), ["a/x"], "cut at {cut}");
        assert_eq!(add(&store, "b", "z", 1), 2);
        drop(store);
        assert_eq!(names(&Store::open(dir.path()).unwrap().list(&PODS, None)), ["a/x", "b/z"]);
    }
}

#[test]
fn compaction_keeps_the_objects_and_drops_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let filler = "x".repeat(100_000);
    for round in 0..60 {
        for name in ["x", "y"] {
            let mut object = pod("a", name, round);
            object["filler"] = filler.as_str().into();
            if round == 0 {
                store.create(&PODS, "a", name, object).unwrap();
            } else {
                store.update(&PODS, "a", name, None, object).unwrap();
            }
        }
        store.maintain().unwrap();
    }
    store.delete(&PODS, "a", "y", None).unwrap();
    let (before, revision) = (content(&store), store.revision());
    drop(store);
    let used: u64 = fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert!(used < 2 * (4 << 20), "{used} bytes are left");
    assert!(!dir.path().join("log.0").exists());
    let store = Store::open(dir.path()).unwrap();
    assert_eq!((content(&store), store.revision()), (before, revision));
    assert!(matches!(store.watch(None, Some(1)), Err(StoreError::Expired)));
}
