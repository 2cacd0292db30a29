use std::sync::Arc;

use super::*;
use crate::clock::SystemClock;
use crate::sim::api::Api;

/// An occurrence about a Pod, so many seconds after noon.
fn occurrence(reason: &str, message: &str, style: Style, after: u64) -> Occurrence {
    let noon: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    let api = Api::in_memory(Arc::new(SystemClock));
    Occurrence {
        client: api.client(UserInfo::named("system:node:w", &["system:nodes"])),
        component: "kubelet".to_owned(),
        host: "w".to_owned(),
        regarding: json!({"kind": "Pod", "namespace": "ns", "name": "p", "uid": "u", "apiVersion": "v1",
                          "fieldPath": "spec.containers{app}"}),
        severity: Severity::Warning,
        reason: reason.to_owned(),
        message: message.to_owned(),
        style,
        at: noon + Duration::from_secs(after),
    }
}

fn core(reason: &str, message: &str, after: u64) -> Occurrence {
    occurrence(reason, message, Style::Core, after)
}

fn series(message: &str, after: u64) -> Occurrence {
    occurrence("FailedScheduling", message, Style::Series { action: "Scheduling".to_owned() }, after)
}

fn created(writing: Writing) -> Value {
    match writing {
        Writing::Create { namespace, event } => {
            assert_eq!(namespace, "ns");
            event
        }
        Writing::Patch { .. } => panic!("a patch: {writing:?}"),
    }
}

fn patched(writing: Writing) -> (String, Value, Value) {
    match writing {
        Writing::Patch { name, patch, otherwise, .. } => (name, patch, otherwise),
        Writing::Create { .. } => panic!("a new event: {writing:?}"),
    }
}

#[test]
fn an_event_has_the_fields_that_kubectl_shows() {
    let event = created(Correlator::default().decide(&core("BackOff", "Back-off", 0)));
    assert_eq!(
        event["metadata"]["name"], "p.18eaaacd413b8000",
        "the name ends with the time in hexadecimal nanoseconds"
    );
    for (field, wanted) in [
        ("count", json!(1)),
        ("source", json!({"component": "kubelet", "host": "w"})),
        ("firstTimestamp", json!("2026-11-23T12:00:00Z")),
        ("lastTimestamp", json!("2026-11-23T12:00:00Z")),
        ("eventTime", Value::Null),
        ("reportingComponent", json!("kubelet")),
        ("reportingInstance", json!("w")),
        ("type", json!("Warning")),
    ] {
        assert_eq!(event[field], wanted, "{field}");
    }
    assert_eq!(event["involvedObject"]["fieldPath"], "spec.containers{app}");
}

#[test]
fn the_same_again_counts_on_the_first_event() {
    let mut correlator = Correlator::default();
    let first = created(correlator.decide(&core("BackOff", "Back-off", 0)));
    let (name, patch, otherwise) = patched(correlator.decide(&core("BackOff", "Back-off", 30)));
    assert_eq!(first["metadata"]["name"], name);
    assert_eq!(patch, json!({"count": 2, "lastTimestamp": "2026-11-23T12:00:30Z", "message": "Back-off"}));
    // Where the event has expired it is made anew, with all that it counted.
    assert_eq!(
        (&otherwise["count"], &otherwise["firstTimestamp"]),
        (&json!(2), &json!("2026-11-23T12:00:00Z"))
    );
    created(correlator.decide(&core("Failed", "Back-off", 31)));
    created(correlator.decide(&core("BackOff", "another", 32)));
}

#[test]
fn the_tenth_distinct_message_is_combined_with_the_following() {
    let mut correlator = Correlator::default();
    for index in 0..9 {
        let event = created(correlator.decide(&core("Unhealthy", &format!("id {index}"), index)));
        assert_eq!(event["message"], format!("id {index}"));
    }
    let tenth = created(correlator.decide(&core("Unhealthy", "id 9", 9)));
    assert_eq!(tenth["message"], "(combined from similar events): id 9");
    let (name, patch, _) = patched(correlator.decide(&core("Unhealthy", "id 10", 10)));
    assert_eq!(tenth["metadata"]["name"], name);
    assert_eq!(
        (&patch["count"], &patch["message"]),
        (&json!(2), &json!("(combined from similar events): id 10"))
    );
    // Another reason is not similar, and after ten quiet minutes it starts anew.
    created(correlator.decide(&core("Killing", "id 11", 11)));
    let later = created(correlator.decide(&core("Unhealthy", "id 12", 700)));
    assert_eq!(later["message"], "id 12");
}

#[test]
fn the_schedulers_events_are_series() {
    let mut correlator = Correlator::default();
    let first = created(correlator.decide(&series("0/1 nodes", 0)));
    assert_eq!(first["action"], "Scheduling");
    assert_eq!(first["eventTime"], "2026-11-23T12:00:00.000000Z");
    assert_eq!((&first["firstTimestamp"], &first["source"]), (&Value::Null, &json!({})));
    assert!(first.get("count").is_none() && first.get("series").is_none());
    let (name, patch, _) = patched(correlator.decide(&series("0/1 nodes", 300)));
    assert_eq!(first["metadata"]["name"], name);
    assert_eq!(patch, json!({"series": {"count": 2, "lastObservedTime": "2026-11-23T12:05:00.000000Z"}}));
    created(correlator.decide(&series("0/2 nodes", 301)));
    created(correlator.decide(&series("0/1 nodes", 1000)));
}

#[tokio::test]
async fn what_is_recorded_is_written_and_counted() {
    let api = Api::in_memory(Arc::new(SystemClock));
    let user = UserInfo::named("system:node:w", &["system:nodes"]);
    let mut tasks = tokio::task::JoinSet::new();
    let sink = EventSink::start(api.client(user.clone()), &mut tasks);
    let recorder = sink.recorder("kubelet", "w", user);
    let pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns", "uid": "u"}});
    for _ in 0..3 {
        recorder.field(&pod, "spec.containers{app}", Severity::Normal, "Pulled", "present");
    }
    recorder.warning(
        &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w"}}),
        "Rebooted",
        "again",
    );
    drop((sink, recorder));
    while tasks.join_next().await.is_some() {}
    let events = api.store().list(&EVENTS, None);
    let about = |name: &str| {
        events.iter().find(|e| e.object["involvedObject"]["name"] == name).map(|e| e.object.clone()).unwrap()
    };
    assert_eq!(events.len(), 2);
    assert_eq!((&about("p")["count"], &about("p")["reason"]), (&json!(3), &json!("Pulled")));
    assert_eq!(about("w")["metadata"]["namespace"], "default", "objects without namespace");
}
