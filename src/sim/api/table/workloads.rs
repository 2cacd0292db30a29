//! What makes and scales Pods, as rows.

use jiff::Timestamp;
use serde_json::Value;

use super::cells::{age, containers, flag, labels, length, name, number, or_none, selector, written};
use crate::sim::api::resources::split_api_version;
use crate::sim::object::Fields as _;

fn template(object: &Value) -> [Value; 2] {
    containers(object.dig(&["spec", "template", "spec"]))
}

fn counts(object: &Value) -> [Value; 3] {
    let status = object.at("status");
    [
        number(object.at("spec"), "replicas").into(),
        number(status, "replicas").into(),
        number(status, "readyReplicas").into(),
    ]
}

/// A ReplicationController.
pub(super) fn replication_controller(object: &Value, now: Timestamp) -> Vec<Value> {
    let [desired, current, ready] = counts(object);
    let [names, images] = template(object);
    vec![
        name(object),
        desired,
        current,
        ready,
        age(object, now),
        names,
        images,
        labels(object.at("spec"), "selector"),
    ]
}

/// A ReplicaSet.
pub(super) fn replica_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [desired, current, ready] = counts(object);
    let [names, images] = template(object);
    let chosen = selector(object.dig(&["spec", "selector"]));
    vec![name(object), desired, current, ready, age(object, now), names, images, chosen]
}

/// A Deployment.
pub(super) fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let [desired, _, ready] = counts(object);
    let status = object.at("status");
    let [names, images] = template(object);
    vec![
        name(object),
        format!("{ready}/{desired}").into(),
        number(status, "updatedReplicas").into(),
        number(status, "availableReplicas").into(),
        age(object, now),
        names,
        images,
        written(object.dig(&["spec", "selector"])).into(),
    ]
}

/// A StatefulSet.
pub(super) fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let [desired, _, ready] = counts(object);
    let [names, images] = template(object);
    vec![name(object), format!("{ready}/{desired}").into(), age(object, now), names, images]
}

/// A DaemonSet.
pub(super) fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = object.at("status");
    let count = |field: &str| Value::from(number(status, field));
    let [names, images] = template(object);
    vec![
        name(object),
        count("desiredNumberScheduled"),
        count("currentNumberScheduled"),
        count("numberReady"),
        count("updatedNumberScheduled"),
        count("numberAvailable"),
        labels(object.dig(&["spec", "template", "spec"]), "nodeSelector"),
        age(object, now),
        names,
        images,
        selector(object.dig(&["spec", "selector"])),
    ]
}

/// A ControllerRevision.
pub(super) fn controller_revision(object: &Value, now: Timestamp) -> Vec<Value> {
    let owners = object.at("metadata").items("ownerReferences");
    let controller = owners.iter().find(|owner| owner.truth("controller") == Some(true));
    let controller = controller.map_or_else(
        || "<none>".to_owned(),
        |owner| {
            let kind = owner.text("kind").to_lowercase();
            match split_api_version(owner.text("apiVersion")).0 {
                "" => format!("{kind}/{}", owner.text("name")),
                group => format!("{kind}.{group}/{}", owner.text("name")),
            }
        },
    );
    vec![name(object), controller.into(), number(object, "revision").into(), age(object, now)]
}

/// A Job.
pub(super) fn job(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (object.at("spec"), object.at("status"));
    let succeeded = number(status, "succeeded");
    let completions = match (spec.int("completions"), spec.int("parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, Some(parallel)) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let started = super::age::read(status.at("startTime"));
    let ended = super::age::read(status.at("completionTime")).unwrap_or(now);
    let duration = started.map_or_else(String::new, |start| super::age::human(ended.duration_since(start)));
    let has = |kind: &str| {
        status.items("conditions").iter().any(|c| c.text("type") == kind && c.text("status") == "True")
    };
    let state = if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if object.at("metadata").has("deletionTimestamp") {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let [names, images] = template(object);
    vec![
        name(object),
        state.into(),
        completions.into(),
        duration.into(),
        age(object, now),
        names,
        images,
        selector(spec.at("selector")),
    ]
}

/// A CronJob.
pub(super) fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (object.at("spec"), object.at("status"));
    let last = status.at("lastScheduleTime");
    let last = if last.is_null() { "<none>".to_owned() } else { super::age::since(last, now) };
    let job = spec.dig(&["jobTemplate", "spec"]);
    let [names, images] = containers(job.dig(&["template", "spec"]));
    vec![
        name(object),
        spec.text("schedule").into(),
        or_none(spec.text("timeZone")),
        flag(spec.truth("suspend")),
        length(status, "active").into(),
        last.into(),
        age(object, now),
        names,
        images,
        selector(job.at("selector")),
    ]
}

/// A PodDisruptionBudget.
pub(super) fn disruption_budget(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = object.at("spec");
    let bound = |field: &str| -> Value {
        match spec.at(field) {
            Value::Null => "N/A".into(),
            Value::String(text) => text.clone().into(),
            other => other.to_string().into(),
        }
    };
    vec![
        name(object),
        bound("minAvailable"),
        bound("maxUnavailable"),
        number(object.at("status"), "disruptionsAllowed").into(),
        age(object, now),
    ]
}

/// A HorizontalPodAutoscaler, of v2 or v1.
pub(super) fn autoscaler(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (object.at("spec"), object.at("status"));
    let target = spec.at("scaleTargetRef");
    let metrics = if spec.has("targetCPUUtilizationPercentage") {
        let percent = |value: Option<i64>| value.map_or("<unknown>".to_owned(), |value| format!("{value}%"));
        let current = percent(status.int("currentCPUUtilizationPercentage"));
        format!("cpu: {current}/{}", percent(spec.int("targetCPUUtilizationPercentage")))
    } else {
        metrics(spec.items("metrics"), status.items("currentMetrics"))
    };
    let least = spec.int("minReplicas").map_or_else(|| "<unset>".to_owned(), |least| least.to_string());
    vec![
        name(object),
        format!("{}/{}", target.text("kind"), target.text("name")).into(),
        metrics.into(),
        least.into(),
        number(spec, "maxReplicas").into(),
        number(status, "currentReplicas").into(),
        age(object, now),
    ]
}

fn metrics(specs: &[Value], statuses: &[Value]) -> String {
    if specs.is_empty() {
        return "<none>".to_owned();
    }
    let written: Vec<String> =
        specs.iter().enumerate().map(|(at, spec)| metric(spec, statuses.get(at))).collect();
    let shown = written[..written.len().min(2)].join(", ");
    if written.len() > 2 { format!("{shown} + {} more...", written.len() - 2) } else { shown }
}

fn metric(spec: &Value, status: Option<&Value>) -> String {
    let (field, average) = match spec.text("type") {
        "External" => ("external", true),
        "Pods" => ("pods", false),
        "Object" => ("object", true),
        "Resource" => ("resource", false),
        "ContainerResource" => ("containerResource", false),
        _ => return "<unknown type>".to_owned(),
    };
    let metric = spec.at(field);
    let target = metric.at("target");
    let current = status.map_or(crate::sim::object::NULL, |status| status.dig(&[field, "current"]));
    let shown = |field: &str| match current.at(field) {
        Value::String(text) => text.clone(),
        Value::Null => "<unknown>".to_owned(),
        other => other.to_string(),
    };
    let resource = match field {
        "resource" | "containerResource" => format!("{}: ", metric.text("name")),
        _ => String::new(),
    };
    if target.has("averageValue") {
        let note = if average { " (avg)" } else { "" };
        return format!("{resource}{}/{}{note}", shown("averageValue"), target.text("averageValue"));
    }
    if !resource.is_empty() {
        let percent =
            |value: Option<i64>, none: &str| value.map_or(none.to_owned(), |value| format!("{value}%"));
        let current = percent(current.int("averageUtilization"), "<unknown>");
        return format!("{resource}{current}/{}", percent(target.int("averageUtilization"), "<auto>"));
    }
    format!("{}/{}", shown("value"), target.text("value"))
}
