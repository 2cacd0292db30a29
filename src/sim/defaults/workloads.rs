//! Defaults of what runs Pods or minds them: apps, batch, autoscaling, policy.

use serde_json::{Value, json};

use super::{always, claim_spec, drop_zeros, each, pod};
use crate::sim::object::{Fields, field_at, is_empty, items_mut, map_at, object_mut, set, set_default};

pub(super) fn apply(version: &str, kind: &str, object: &mut Value) {
    match kind {
        "Deployment" => deployment(object),
        "ReplicaSet" => {
            let spec = field_at(object, "spec");
            set_default(spec, "replicas", 1);
            drop_zeros(spec, &["minReadySeconds"]);
            pod::template(spec, "template");
        }
        "StatefulSet" => stateful_set(object),
        "DaemonSet" => daemon_set(object),
        "Job" => job(object),
        "CronJob" => cron_job(object),
        "HorizontalPodAutoscaler" => autoscaler(version, object),
        _ => {}
    }
}

fn deployment(object: &mut Value) {
    let spec = field_at(object, "spec");
    set_default(spec, "replicas", 1);
    drop_zeros(spec, &["minReadySeconds", "paused"]);
    let strategy = field_at(spec, "strategy");
    set_default(strategy, "type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        let rolling = field_at(strategy, "rollingUpdate");
        set_default(rolling, "maxUnavailable", "25%");
        set_default(rolling, "maxSurge", "25%");
    }
    set_default(spec, "revisionHistoryLimit", 10);
    set_default(spec, "progressDeadlineSeconds", 600);
    pod::template(spec, "template");
}

fn stateful_set(object: &mut Value) {
    let spec = field_at(object, "spec");
    drop_zeros(spec, &["minReadySeconds"]);
    set_default(spec, "podManagementPolicy", "OrderedReady");
    let strategy = field_at(spec, "updateStrategy");
    if strategy.text("type").is_empty() {
        set(strategy, "type", "RollingUpdate");
        map_at(strategy, "rollingUpdate");
    }
    if strategy.text("type") == "RollingUpdate"
        && let Some(rolling) = object_mut(strategy, "rollingUpdate")
    {
        set_default(rolling, "partition", 0);
    }
    let retention = field_at(spec, "persistentVolumeClaimRetentionPolicy");
    set_default(retention, "whenDeleted", "Retain");
    set_default(retention, "whenScaled", "Retain");
    set_default(spec, "replicas", 1);
    set_default(spec, "revisionHistoryLimit", 10);
    if !spec.has("serviceName") {
        set(spec, "serviceName", "");
    }
    pod::template(spec, "template");
    for claim in items_mut(spec, "volumeClaimTemplates") {
        set(claim, "apiVersion", "v1");
        set(claim, "kind", "PersistentVolumeClaim");
        always(claim, "metadata");
        claim_spec(field_at(claim, "spec"));
        set_default(field_at(claim, "status"), "phase", "Pending");
    }
}

fn daemon_set(object: &mut Value) {
    let spec = field_at(object, "spec");
    drop_zeros(spec, &["minReadySeconds"]);
    let strategy = field_at(spec, "updateStrategy");
    set_default(strategy, "type", "RollingUpdate");
    if strategy.text("type") == "RollingUpdate" {
        let rolling = field_at(strategy, "rollingUpdate");
        set_default(rolling, "maxUnavailable", 1);
        set_default(rolling, "maxSurge", 0);
    }
    set_default(spec, "revisionHistoryLimit", 10);
    pod::template(spec, "template");
}

fn job(object: &mut Value) {
    let labels = object.dig(&["spec", "template", "metadata", "labels"]).clone();
    if labels.is_object() && is_empty(object.dig(&["metadata", "labels"])) {
        set(field_at(object, "metadata"), "labels", labels);
    }
    let spec = field_at(object, "spec");
    if !spec.has("completions") && !spec.has("parallelism") {
        set(spec, "completions", 1);
    }
    set_default(spec, "parallelism", 1);
    let limit = if spec.has("backoffLimitPerIndex") { i64::from(i32::MAX) } else { 6 };
    set_default(spec, "backoffLimit", limit);
    set_default(spec, "completionMode", "NonIndexed");
    set_default(spec, "suspend", false);
    set_default(spec, "manualSelector", false);
    failure_policy(spec);
    let replacement = if spec.has("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
    set_default(spec, "podReplacementPolicy", replacement);
    pod::template(spec, "template");
}

fn failure_policy(spec: &mut Value) {
    if let Some(policy) = object_mut(spec, "podFailurePolicy") {
        each(policy, "rules", |rule| {
            each(rule, "onPodConditions", |pattern| set_default(pattern, "status", "True"));
        });
    }
}

fn cron_job(object: &mut Value) {
    let spec = field_at(object, "spec");
    set_default(spec, "concurrencyPolicy", "Allow");
    set_default(spec, "suspend", false);
    set_default(spec, "successfulJobsHistoryLimit", 3);
    set_default(spec, "failedJobsHistoryLimit", 1);
    let template = field_at(spec, "jobTemplate");
    always(template, "metadata");
    let job = field_at(template, "spec");
    failure_policy(job);
    pod::template(job, "template");
}

fn autoscaler(version: &str, object: &mut Value) {
    let spec = field_at(object, "spec");
    set_default(spec, "minReplicas", 1);
    always(spec, "scaleTargetRef");
    if version != "v2" {
        return;
    }
    if spec.items("metrics").is_empty() {
        set(
            spec,
            "metrics",
            json!([{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}}]),
        );
    }
    if let Some(behaviour) = object_mut(spec, "behavior") {
        let up = field_at(behaviour, "scaleUp");
        set_default(up, "stabilizationWindowSeconds", 0);
        set_default(up, "selectPolicy", "Max");
        if up.items("policies").is_empty() {
            let policies = json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15}]);
            set(up, "policies", policies);
        }
        let down = field_at(behaviour, "scaleDown");
        set_default(down, "selectPolicy", "Max");
        if down.items("policies").is_empty() {
            set(down, "policies", json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(version: &str, kind: &str, spec: Value) -> Value {
        let mut object = json!({"metadata": {"name": "m"}, "spec": spec});
        apply(version, kind, &mut object);
        let mut spec = object["spec"].take();
        for name in ["template", "jobTemplate"] {
            spec.as_object_mut().and_then(|map| map.remove(name));
        }
        spec
    }

    #[test]
    fn workloads_get_what_a_real_cluster_gives_them() {
        let selector = json!({"matchLabels": {"app": "m"}});
        assert_eq!(
            spec("v1", "Deployment", json!({"selector": selector, "replicas": 0})),
            json!({"progressDeadlineSeconds": 600, "replicas": 0, "revisionHistoryLimit": 10, "selector": selector,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}})
        );
        assert_eq!(
            spec(
                "v1",
                "StatefulSet",
                json!({"serviceName": "m", "volumeClaimTemplates": [{"metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}]})
            ),
            json!({"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
                "podManagementPolicy": "OrderedReady", "replicas": 1, "revisionHistoryLimit": 10, "serviceName": "m",
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
                "volumeClaimTemplates": [{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                        "volumeMode": "Filesystem"}, "status": {"phase": "Pending"}}]})
        );
        assert_eq!(
            spec("v1", "DaemonSet", json!({})),
            json!({"revisionHistoryLimit": 10,
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}})
        );
        assert_eq!(
            spec("v1", "Job", json!({"suspend": true})),
            json!({"backoffLimit": 6, "completionMode": "NonIndexed", "completions": 1, "manualSelector": false,
                "parallelism": 1, "podReplacementPolicy": "TerminatingOrFailed", "suspend": true})
        );
        assert_eq!(
            spec("v1", "CronJob", json!({"schedule": "0 0 1 1 *"})),
            json!({"concurrencyPolicy": "Allow", "failedJobsHistoryLimit": 1, "schedule": "0 0 1 1 *",
                "successfulJobsHistoryLimit": 3, "suspend": false})
        );
    }

    #[test]
    fn an_autoscaler_without_metrics_looks_at_the_processor() {
        let found = spec("v2", "HorizontalPodAutoscaler", json!({"maxReplicas": 3}));
        assert_eq!(found["metrics"][0]["resource"]["target"]["averageUtilization"], 80);
        assert_eq!(found["minReplicas"], 1);
    }

    #[test]
    fn a_jobs_parallelism_alone_leaves_completions_open() {
        let found = spec("v1", "Job", json!({"parallelism": 2}));
        assert_eq!(found.get("completions"), None);
    }
}
