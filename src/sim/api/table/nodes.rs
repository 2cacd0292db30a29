//! Nodes, namespaces, events and what belongs to the cluster as a whole, as rows.

use jiff::Timestamp;
use serde_json::Value;

use super::age::since;
use super::cells::{age, name, number, or_none};
use crate::sim::object::Fields as _;

/// A Node.
pub(super) fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = object.at("status");
    let info = status.at("nodeInfo");
    let ready = status.items("conditions").iter().find(|c| c.text("type") == "Ready");
    let mut state = match ready.map(|c| c.text("status")) {
        None => "Unknown",
        Some("True") => "Ready",
        Some(_) => "NotReady",
    }
    .to_owned();
    if object.at("spec").truth("unschedulable") == Some(true) {
        state.push_str(",SchedulingDisabled");
    }
    let mut roles: Vec<&str> = Vec::new();
    for (key, value) in object.at("metadata").entries("labels") {
        match (key.strip_prefix("node-role.kubernetes.io/"), value.as_str()) {
            (Some(role), _) if !role.is_empty() => roles.push(role),
            (None, Some(role)) if key == "kubernetes.io/role" && !role.is_empty() => roles.push(role),
            _ => {}
        }
    }
    roles.sort_unstable();
    roles.dedup();
    let address = |kind: &str| {
        let found = status.items("addresses").iter().find(|a| a.text("type") == kind);
        or_none(found.map_or("", |a| a.text("address")))
    };
    let known = |field: &str| match info.text(field) {
        "" => Value::from("<unknown>"),
        text => text.into(),
    };
    vec![
        name(object),
        state.into(),
        or_none(&roles.join(",")),
        age(object, now),
        info.text("kubeletVersion").into(),
        address("InternalIP"),
        address("ExternalIP"),
        known("osImage"),
        known("kernelVersion"),
        known("containerRuntimeVersion"),
    ]
}

struct EventFields<'a> {
    object: &'a Value,
    first: &'a Value,
    last: &'a Value,
    count: i64,
    component: &'a str,
    host: &'a str,
    message: &'a str,
}

/// An Event of the core group.
pub(super) fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let source = event.at("source");
    row(
        event,
        now,
        &EventFields {
            object: event.at("involvedObject"),
            first: event.at("firstTimestamp"),
            last: event.at("lastTimestamp"),
            count: number(event, "count"),
            component: source.text("component"),
            host: source.text("host"),
            message: event.text("message"),
        },
    )
}

/// An Event of events.k8s.io.
pub(super) fn new_event(event: &Value, now: Timestamp) -> Vec<Value> {
    let source = event.at("deprecatedSource");
    row(
        event,
        now,
        &EventFields {
            object: event.at("regarding"),
            first: event.at("deprecatedFirstTimestamp"),
            last: event.at("deprecatedLastTimestamp"),
            count: number(event, "deprecatedCount"),
            component: source.text("component"),
            host: source.text("host"),
            message: event.text("note"),
        },
    )
}

fn row(event: &Value, now: Timestamp, fields: &EventFields<'_>) -> Vec<Value> {
    let first = since(if fields.first.is_null() { event.at("eventTime") } else { fields.first }, now);
    let series = event.at("series");
    let (last, count) = if series.is_object() {
        (since(series.at("lastObservedTime"), now), number(series, "count"))
    } else if fields.last.is_null() {
        (first.clone(), fields.count.max(1))
    } else {
        (since(fields.last, now), fields.count.max(1))
    };
    let kind = fields.object.text("kind").to_lowercase();
    let target = match fields.object.text("name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    let reporting = or(event.text("reportingController"), event.text("reportingComponent"));
    let mut source = or(fields.component, &reporting);
    let host = or(fields.host, event.text("reportingInstance"));
    if !host.is_empty() {
        source = format!("{source}, {host}");
    }
    vec![
        last.into(),
        event.text("type").into(),
        event.text("reason").into(),
        target.into(),
        fields.object.text("fieldPath").into(),
        source.into(),
        fields.message.trim().into(),
        first.into(),
        count.into(),
        name(event),
    ]
}

/// A Namespace.
pub(super) fn namespace(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), object.at("status").text("phase").into(), age(object, now)]
}

/// A ComponentStatus.
pub(super) fn component_status(object: &Value, _now: Timestamp) -> Vec<Value> {
    let healthy = object.items("conditions").iter().find(|c| c.text("type") == "Healthy");
    let (state, message, error) = healthy.map_or(("Unknown", "", ""), |c| {
        let state = if c.text("status") == "True" { "Healthy" } else { "Unhealthy" };
        (state, c.text("message"), c.text("error"))
    });
    vec![name(object), state.into(), message.into(), error.into()]
}

/// A Lease.
pub(super) fn lease(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), object.at("spec").text("holderIdentity").into(), age(object, now)]
}

/// A RuntimeClass.
pub(super) fn runtime_class(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), object.text("handler").into(), age(object, now)]
}

/// A PriorityClass.
pub(super) fn priority_class(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        number(object, "value").into(),
        object.truth("globalDefault").unwrap_or(false).into(),
        age(object, now),
        object.text("preemptionPolicy").into(),
    ]
}
