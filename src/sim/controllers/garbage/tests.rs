use serde_json::json;

use super::super::testing::Lab;
use super::*;

const MAPS: &str = "configmaps";

/// A map that is owned by others, given with how firmly.
async fn owned(lab: &Lab, name: &str, owners: &[(&Value, bool)]) -> Value {
    let references: Vec<Value> = owners
        .iter()
        .map(|(owner, blocks)| {
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": meta::name(owner), "uid": meta::uid(owner),
                "blockOwnerDeletion": blocks })
        })
        .collect();
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "ownerReferences": references } });
    lab.apply(&map.to_string()).await
}

async fn delete(lab: &Lab, name: &str, policy: &str) {
    let options = DeleteOptions { propagation_policy: Some(policy.to_owned()), ..DeleteOptions::default() };
    lab.client.delete(&GroupResource::of("", MAPS), "t", name, options).await.unwrap();
}

fn there(lab: &Lab, name: &str) -> bool {
    lab.get(MAPS, &format!("t/{name}")).is_some()
}

#[tokio::test(start_paused = true)]
async fn dependents_go_after_their_last_owner() {
    let lab = Lab::new(0).await;
    let (first, second) = (owned(&lab, "first", &[]).await, owned(&lab, "second", &[]).await);
    owned(&lab, "of-one", &[(&first, false)]).await;
    owned(&lab, "of-both", &[(&first, false), (&second, false)]).await;
    delete(&lab, "first", "Background").await;
    lab.gone(MAPS, "t/of-one").await;
    let kept = lab.wait(MAPS, "t/of-both", |map| owners(map).count() == 1).await;
    assert_eq!(owners(&kept).next().unwrap()["name"], "second", "the owner that is gone is forgotten");
    lab.pass(30).await;
    assert!(there(&lab, "of-both"));
    delete(&lab, "second", "Background").await;
    lab.gone(MAPS, "t/of-both").await;
}

#[tokio::test(start_paused = true)]
async fn who_names_an_owner_that_never_was_goes_at_once() {
    let lab = Lab::new(0).await;
    let owner = owned(&lab, "owner", &[]).await;
    let mut other = owner.clone();
    other["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000".into();
    owned(&lab, "stray", &[(&other, false)]).await;
    lab.gone(MAPS, "t/stray").await;
    assert!(there(&lab, "owner"));
}

#[tokio::test(start_paused = true)]
async fn in_the_foreground_an_owner_waits_for_those_that_block_it() {
    let lab = Lab::new(0).await;
    let owner = owned(&lab, "owner", &[]).await;
    owned(&lab, "loose", &[(&owner, false)]).await;
    let held = owned(&lab, "held", &[(&owner, true)]).await;
    lab.patch(MAPS, "t/held", "", "{metadata: {finalizers: [example.com/hold]}}").await;
    delete(&lab, "owner", "Foreground").await;
    lab.gone(MAPS, "t/loose").await;
    lab.pass(60).await;
    let waiting = lab.the(MAPS, "t/owner");
    assert!(meta::is_deleting(&waiting) && meta::has_finalizer(&waiting, FOREGROUND));
    assert!(meta::is_deleting(&lab.the(MAPS, "t/held")), "{held}");
    lab.patch(MAPS, "t/held", "", "{metadata: {finalizers: null}}").await;
    lab.gone(MAPS, "t/held").await;
    lab.gone(MAPS, "t/owner").await;
}

#[tokio::test(start_paused = true)]
async fn orphans_stay_without_their_owner() {
    let lab = Lab::new(0).await;
    let owner = owned(&lab, "owner", &[]).await;
    owned(&lab, "orphan", &[(&owner, true)]).await;
    delete(&lab, "owner", "Orphan").await;
    lab.gone(MAPS, "t/owner").await;
    lab.pass(30).await;
    assert_eq!(owners(&lab.the(MAPS, "t/orphan")).count(), 0);
}

#[tokio::test(start_paused = true)]
async fn owners_in_a_circle_do_not_wait_for_each_other() {
    let lab = Lab::new(0).await;
    let first = owned(&lab, "first", &[]).await;
    let second = owned(&lab, "second", &[(&first, true)]).await;
    let circle = json!({ "metadata": { "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap",
        "name": "second", "uid": meta::uid(&second), "blockOwnerDeletion": true }] } });
    lab.patch(MAPS, "t/first", "", &circle.to_string()).await;
    delete(&lab, "first", "Foreground").await;
    lab.gone(MAPS, "t/first").await;
    lab.gone(MAPS, "t/second").await;
}
