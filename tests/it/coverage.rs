//! The built-in scenarios against the curriculum: every topic that needs no node has one, every study link can be
//! reached, and no name can be learned by heart.

use std::collections::{BTreeMap, BTreeSet};

use cks_lab::curriculum::Curriculum;
use cks_lab::scenario::catalog::Catalog;
use cks_lab::scenario::{Scenario, SeedStep, Variant};
use serde_json::Value;

use crate::cli::Home;

/// Topics of v1.19 that can only be judged on a node, or with software that runs there.
const NEED_A_NODE: &[&str] =
    &["cis-benchmark", "host-os-footprint", "kernel-hardening", "pod-to-pod-mtls", "base-image-footprint"];

/// The scenarios for each topic of a track.
fn by_topic(track: &str) -> BTreeMap<String, Vec<String>> {
    let curriculum = Curriculum::builtin();
    let track = curriculum.track(track).unwrap();
    let mut found: BTreeMap<String, Vec<String>> =
        track.topics().map(|(_, topic)| (topic.id.to_string(), Vec::new())).collect();
    for summary in Catalog::embedded().summaries() {
        for place in curriculum.places_in(&summary.topic, track) {
            found.get_mut(place.topic.id.as_str()).unwrap().push(summary.id.to_string());
        }
    }
    found
}

#[test]
fn every_topic_that_needs_no_node_has_a_scenario() {
    let found = by_topic("v1.19");
    for topic in NEED_A_NODE {
        assert!(found.contains_key(*topic), "`{topic}` is no topic");
    }
    let bare: Vec<&String> = found
        .iter()
        .filter(|(topic, scenarios)| scenarios.is_empty() && !NEED_A_NODE.contains(&topic.as_str()))
        .map(|(topic, _)| topic)
        .collect();
    assert!(bare.is_empty(), "no scenario for {bare:?}");
    assert!(Catalog::embedded().names().len() >= 30);
}

#[tokio::test]
async fn every_study_link_of_both_tracks_can_be_reached() {
    let home = Home::new();
    for (track, count) in [("v1.19", 168), ("v1.34", 101)] {
        let links: BTreeSet<&str> =
            Curriculum::builtin().track(track).unwrap().links().map(|link| link.url.as_str()).collect();
        let page = home.json(0, &["curriculum", "--track", track]).await;
        let mut shown = Vec::new();
        urls(&page, &mut shown);
        let shown: BTreeSet<&str> = shown.into_iter().collect();
        let missing: Vec<&&str> = links.difference(&shown).collect();
        assert!(missing.is_empty(), "{track}: {missing:?}");
        let all = Curriculum::builtin().track(track).unwrap().links().count();
        assert!(all >= count, "{track} has {all} of {count} links");
    }
}

fn urls<'v>(value: &'v Value, into: &mut Vec<&'v str>) {
    match value {
        Value::Object(map) => {
            into.extend(map.get("url").and_then(Value::as_str));
            map.values().for_each(|value| urls(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| urls(value, into)),
        _ => {}
    }
}

/// The names that the seed gives to objects, but for those that every cluster has.
fn names(scenario: &Scenario) -> BTreeSet<String> {
    let objects = scenario.seed.iter().filter_map(|step| match step {
        SeedStep::Apply { objects, .. } => Some(objects),
        _ => None,
    });
    let mut names = BTreeSet::new();
    for object in objects.flatten() {
        for field in ["name", "namespace"] {
            names.extend(object["metadata"][field].as_str().map(str::to_owned));
        }
    }
    let given = |name: &str| {
        ["default", "admin", "edit", "view"].contains(&name)
            || name.starts_with("kube-")
            || name.starts_with("system:")
            // Custom resources are named by those who define them.
            || name.contains('.')
    };
    names.retain(|name| !given(name));
    names
}

#[test]
fn two_variants_share_no_name() {
    let catalog = Catalog::embedded();
    let mut shared = Vec::new();
    for id in catalog.names() {
        let one = names(&catalog.load(&id, Variant(1)).unwrap());
        let two = names(&catalog.load(&id, Variant(2)).unwrap());
        let same: Vec<&String> = one.intersection(&two).collect();
        if !same.is_empty() {
            shared.push(format!("{id}: {same:?}"));
        }
    }
    assert!(shared.is_empty(), "the same in variants 1 and 2:\n{}", shared.join("\n"));
}
