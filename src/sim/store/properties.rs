//! The store against a model of it: maps of the objects at each revision.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;

const RESOURCES: [GroupResource; 2] =
    [GroupResource::of("", "pods"), GroupResource::of("apps", "deployments")];

/// All objects at one moment: resource, namespace and name to what is in them.
type Objects = BTreeMap<(usize, String, String), u64>;

/// Creates the object, replaces it or, for an even number, removes it, if it is there.
#[derive(Debug, Clone)]
struct Write {
    resource: usize,
    namespace: String,
    name: String,
    note: u64,
}

fn writes(most: usize) -> impl Strategy<Value = Vec<Write>> {
    let write = (0..2usize, "[ab]|a-b", "[x-z]", 0..6u64)
        .prop_map(|(resource, namespace, name, note)| Write { resource, namespace, name, note });
    proptest::collection::vec(write, 1..most)
}

fn apply(store: &Store, model: &mut Objects, write: &Write) {
    let Write { resource, namespace, name, note } = write;
    let key = (*resource, namespace.clone(), name.clone());
    let resource = &RESOURCES[*resource];
    let object = json!({ "metadata": { "name": name, "namespace": namespace }, "note": note });
    match model.get(&key) {
        None => {
            store.create(resource, namespace, name, object).unwrap();
            model.insert(key, *note);
        }
        Some(_) if note % 2 == 0 => {
            store.delete(resource, namespace, name, None).unwrap();
            model.remove(&key);
        }
        Some(_) => {
            store.update(resource, namespace, name, None, object).unwrap();
            model.insert(key, *note);
        }
    }
}

fn put(objects: &mut Objects, resource: usize, entry: &Entry) {
    let key = (resource, entry.namespace().to_owned(), entry.name().to_owned());
    objects.insert(key, entry.object["note"].as_u64().unwrap());
}

fn content(store: &Store) -> Objects {
    let mut objects = Objects::new();
    for (index, resource) in RESOURCES.iter().enumerate() {
        for entry in store.list(resource, None) {
            put(&mut objects, index, &entry);
        }
    }
    objects
}

/// The objects as they were at each revision from 0 on.
fn history(store: &Store, writes: &[Write], mut between: impl FnMut(usize)) -> Vec<Objects> {
    let mut model = Objects::new();
    let mut history = vec![Objects::new()];
    for (at, write) in writes.iter().enumerate() {
        apply(store, &mut model, write);
        // A replacement by the same is no revision.
        history.resize(usize::try_from(store.revision()).unwrap() + 1, model.clone());
        between(at);
    }
    history
}

/// Overwrites what lies behind `synced`, as a power loss may: cut anywhere, and any page of it not arrived.
fn lose_power(log: &Path, synced: u64, cut: f64, holes: &[f64]) {
    let file = OpenOptions::new().write(true).open(log).unwrap();
    let unsynced = file.metadata().unwrap().len() - synced;
    #[expect(
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "small"
    )]
    let place = |share: f64, of: u64| (of as f64 * share) as u64;
    let kept = place(cut, unsynced);
    file.set_len(synced + kept).unwrap();
    for hole in holes {
        let from = place(*hole, kept);
        let zeros = vec![0; usize::try_from((kept - from).min(64)).unwrap()];
        file.write_all_at(&zeros, synced + from).unwrap();
    }
    file.set_len(synced + unsynced).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// A list of the past is what it was, and the changes since then lead from it to the list of now.
    #[test]
    fn a_watch_from_any_moment_leads_to_the_list(writes in writes(40), from in 0.0..1.0f64) {
        let store = Store::in_memory();
        let history = history(&store, &writes, |_| {});
        let last = history.len() - 1;
        #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "small")]
        let from = (from * (last + 1) as f64) as usize;
        for (index, resource) in RESOURCES.iter().enumerate() {
            for namespace in [None, Some("a")] {
                let mut followed = Objects::new();
                for entry in store.list_at(resource, namespace, from as u64).unwrap() {
                    put(&mut followed, index, &entry);
                }
                let inside = |key: &(usize, String, String)| {
                    key.0 == index && namespace.is_none_or(|namespace| namespace == key.1)
                };
                let of = |moment: &Objects| -> Objects {
                    moment.iter().filter(|(key, _)| inside(key)).map(|(k, v)| (k.clone(), *v)).collect()
                };
                prop_assert_eq!(&followed, &of(&history[from]));
                let mut watch = store.watch(Some(resource), Some(from as u64)).unwrap();
                while let Some(event) = watch.try_next().unwrap() {
                    let key = (index, event.entry.namespace().to_owned(), event.entry.name().to_owned());
                    if !inside(&key) {
                        continue;
                    }
                    let before = event.previous.as_ref().map(|entry| entry.object["note"].as_u64().unwrap());
                    prop_assert_eq!(followed.get(&key).copied(), before);
                    prop_assert_eq!(event.change == Change::Added, before.is_none());
                    match event.change {
                        Change::Deleted => { followed.remove(&key); }
                        _ => put(&mut followed, index, &event.entry),
                    }
                    prop_assert_eq!(&followed, &of(&history[usize::try_from(event.revision).unwrap()]));
                }
                prop_assert_eq!(&followed, &of(&history[last]));
            }
        }
    }

    /// After a power loss the store is as it was at some moment, no earlier than the last sync, and goes on from there.
    #[test]
    fn a_power_loss_costs_only_what_was_not_synced(
        writes in writes(40), synced_at in 0..40usize, cut in 0.0..=1.0f64,
        holes in proptest::collection::vec(0.0..1.0f64, 0..3),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log.0");
        let store = Store::open(dir.path()).unwrap();
        let mut synced = (0, fs::metadata(&log).unwrap().len());
        let moments = history(&store, &writes, |at| {
            if at == synced_at {
                store.maintain().unwrap();
                synced = (usize::try_from(store.revision()).unwrap(), fs::metadata(&log).unwrap().len());
            }
        });
        drop(store);
        lose_power(&log, synced.1, cut, &holes);
        let store = Store::open(dir.path()).unwrap();
        let revision = usize::try_from(store.revision()).unwrap();
        prop_assert!(revision >= synced.0, "{revision} < {}", synced.0);
        let mut now = content(&store);
        prop_assert_eq!(&now, &moments[revision]);
        apply(&store, &mut now, &Write { resource: 0, namespace: "c".into(), name: "x".into(), note: 1 });
        drop(store);
        prop_assert_eq!(content(&Store::open(dir.path()).unwrap()), now);
    }
}
