use std::time::Duration;

use super::*;
use crate::clock::{Clock as _, ManualClock};

fn clock() -> ManualClock {
    ManualClock::new("2026-09-01T12:00:00Z".parse().unwrap())
}

/// A practice session that is being prepared.
pub(crate) fn planned(id: &str) -> Session {
    let id = SessionId::parse(id).unwrap();
    let task = Task {
        scenario: "example".to_owned(),
        title: "An example".to_owned(),
        variant: 7,
        digest: String::new(),
        state: TaskState::Preparing,
        cluster: TaskCluster {
            provider: "fake".to_owned(),
            spec: ClusterSpec { name: id.cluster_name(0), ..ClusterSpec::default() },
            record: None,
        },
        dir: "/nowhere".into(),
        hints: 0,
        resets: 0,
    };
    Session::plan(id, Mode::Practice, &clock().moment(), Some(Duration::from_secs(600)), vec![task])
}

#[test]
fn ids_are_readable_and_name_a_cluster() {
    let id = SessionId::new("a-scenario-with-a-name-that-is-rather-long", 0x1234_5678);
    assert!(id.as_str().starts_with("a-scenario-with-a-name-that-is-rather-long-"));
    assert_eq!(SessionId::parse(id.as_str()), Some(id.clone()));
    let cluster = id.cluster_name(0);
    assert!(cluster.len() <= 30 && !cluster.contains("--"), "{cluster}");
    assert_ne!(cluster, id.cluster_name(1));
    assert_ne!(cluster, SessionId::new("a-scenario-with-a-name-that-is-rather-long", 5).cluster_name(0));
}

#[test]
fn what_could_leave_the_folder_is_no_id() {
    for text in ["", "..", "a/b", "-x", "UPPER", "a b", "a.b"] {
        assert_eq!(SessionId::parse(text), None, "{text:?}");
    }
}

#[test]
fn the_clock_runs_from_begin_to_submit() {
    let clock = clock();
    let mut session = planned("one-aaaa");
    clock.advance(Duration::from_secs(30));
    session.observe(&clock.moment());
    assert_eq!(session.timer.elapsed(), Duration::ZERO, "the preparation does not count");
    session.begin(&clock.moment());
    clock.advance(Duration::from_secs(60));
    session.submit(&clock.moment()).unwrap();
    clock.advance(Duration::from_secs(60));
    session.observe(&clock.moment());
    assert_eq!(session.timer.elapsed(), Duration::from_secs(60));
    assert_eq!(session.tasks[0].state, TaskState::Submitted);
}

#[test]
fn only_what_runs_can_be_submitted_or_hinted() {
    let clock = clock();
    let mut session = planned("one-aaaa");
    let error = session.submit(&clock.moment()).unwrap_err();
    assert_eq!(error.to_string(), "session `one-aaaa` is being prepared");
    assert!(session.give_hint(0, 3).is_err());
    session.begin(&clock.moment());
    session.submit(&clock.moment()).unwrap();
    assert!(session.submit(&clock.moment()).is_err(), "not twice");
    assert!(session.give_hint(0, 3).is_err());
}

#[test]
fn hints_come_in_order_and_the_last_one_again() {
    let mut session = planned("one-aaaa");
    session.begin(&clock().moment());
    assert_eq!(session.give_hint(0, 2).unwrap(), Some((0, true)));
    assert_eq!(session.give_hint(0, 2).unwrap(), Some((1, true)));
    assert_eq!(session.give_hint(0, 2).unwrap(), Some((1, false)));
    assert_eq!(session.give_hint(0, 0).unwrap(), None);
    assert!(session.give_hint(1, 2).is_err(), "no such task");
}
