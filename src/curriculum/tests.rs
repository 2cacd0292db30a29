use super::*;

fn track(id: &str) -> &'static Track {
    Curriculum::builtin().track(id).unwrap()
}

fn topic_links(track: &Track) -> usize {
    track.topics().map(|(_, topic)| topic.resources.len()).sum()
}

#[test]
fn the_old_track_keeps_all_its_links() {
    let track = track("v1.19");
    assert_eq!(track.domains.len(), 6);
    assert_eq!(track.topics().count(), 28);
    assert_eq!((track.general.len(), topic_links(track), track.related.len()), (3, 155, 10));
    assert_eq!(track.links().count(), 168);
    let allowed = track
        .topics()
        .flat_map(|(_, topic)| &topic.resources)
        .filter(|link| link.kind == Kind::Allowed)
        .count();
    assert_eq!(allowed, 55);
}

#[test]
fn the_new_track_keeps_all_its_links() {
    let track = track("v1.34");
    assert_eq!(track.domains.len(), 6);
    assert_eq!(track.topics().count(), 26);
    assert_eq!((track.general.len(), topic_links(track)), (2, 101));
    assert_eq!(Curriculum::builtin().newest().id.as_str(), "v1.34");
}

#[test]
fn weights_are_those_of_the_published_outlines() {
    let weights = |id| track(id).domains.iter().map(|domain| domain.weight).collect::<Vec<_>>();
    assert_eq!(weights("v1.19"), [10, 15, 15, 20, 20, 20]);
    assert_eq!(weights("v1.34"), [15, 15, 10, 20, 20, 20]);
}

#[test]
fn every_topic_of_either_track_has_a_place_in_both() {
    let curriculum = Curriculum::builtin();
    for id in curriculum.topic_ids() {
        for track in curriculum.tracks() {
            assert!(!curriculum.places_in(id, track).is_empty(), "`{id}` has no place in {}", track.id);
        }
    }
}

#[test]
fn topics_that_moved_are_found_where_they_went() {
    let curriculum = Curriculum::builtin();
    let places = |topic: &str| {
        curriculum
            .places(&topic.into())
            .iter()
            .map(|place| format!("{}/{}/{}", place.track.id, place.domain.id, place.topic.id))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        places("gui-elements"),
        ["v1.19/cluster-setup/gui-elements", "v1.34/cluster-hardening/restrict-api-access"]
    );
    assert_eq!(
        places("image-scanning"),
        [
            "v1.19/supply-chain-security/image-scanning",
            "v1.34/supply-chain-security/understand-supply-chain",
            "v1.34/supply-chain-security/static-analysis"
        ]
    );
    assert_eq!(
        places("investigate-attacks"),
        [
            "v1.19/monitoring-logging-runtime/detect-attack-phases",
            "v1.19/monitoring-logging-runtime/investigate-bad-actors",
            "v1.34/monitoring-logging-runtime/investigate-attacks"
        ]
    );
    assert_eq!(places("rbac"), ["v1.19/cluster-hardening/rbac", "v1.34/cluster-hardening/rbac"]);
    assert!(places("knitting").is_empty());
}

#[test]
fn resources_are_found_by_id_and_by_address() {
    let curriculum = Curriculum::builtin();
    let by_id = curriculum.resource(&"rbac-good-practices".into()).unwrap();
    assert_eq!(by_id.url, "https://kubernetes.io/docs/concepts/security/rbac-good-practices/");
    let by_url = curriculum
        .resource_by_url("http://kubernetes.io/docs/concepts/security/rbac-good-practices")
        .unwrap();
    assert_eq!(by_url.id, by_id.id);
    assert!(curriculum.resource(&"no-such-page".into()).is_none());
}

#[test]
fn what_may_be_open_depends_on_the_track() {
    let issue = "https://github.com/kubernetes/kubernetes/issues/57601";
    assert_eq!(track("v1.19").kind_of(issue), Kind::Allowed);
    assert_eq!(track("v1.34").kind_of(issue), Kind::ThirdParty);
    assert_eq!(track("v1.34").kind_of("https://kubernetes.io/docs/concepts/anything/"), Kind::Allowed);
    assert_eq!(track("v1.34").kind_of("https://aquasecurity.github.io/trivy/"), Kind::ThirdParty);
}

#[test]
fn a_contradiction_is_refused() {
    let (_, text) = SOURCES[1];
    let heavier = text.replacen("weight: 15", "weight: 16", 1);
    let error = Curriculum::parse(&[SOURCES[0], ("v1.34", &heavier)]).unwrap_err();
    assert_eq!(error.to_string(), "curriculum `v1.34`: the weights add up to 101");
    let orphan = Curriculum::parse(&[SOURCES[1]]).unwrap_err();
    assert!(orphan.to_string().contains("which the track before does not have"), "{orphan}");
}
