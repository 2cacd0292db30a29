//! HorizontalPodAutoscalers: the bounds are kept, and as no metrics are served here, the conditions say what a cluster
//! without a metrics server says.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::engine::{Controller, Cx, Next, Notice};
use super::queue::Queue;
use crate::sim::api::resources::split_api_version;
use crate::sim::meta;
use crate::sim::object;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const AUTOSCALERS: GroupResource = GroupResource::of("autoscaling", "horizontalpodautoscalers");
/// `--horizontal-pod-autoscaler-sync-period`.
const PERIOD: Duration = Duration::from_secs(15);
const MISSING: &str = "the server could not find the requested resource";

/// Keeps autoscalers.
#[derive(Debug)]
pub(crate) struct Autoscalers;

/// A metric that could not be had: the reason of its event and condition, and why.
struct Lack {
    reason: &'static str,
    kind: &'static str,
    why: String,
}

#[async_trait]
impl Controller for Autoscalers {
    fn name(&self) -> &'static str {
        "horizontal-pod-autoscaler"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![AUTOSCALERS]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if !notice.is_gone() && notice.changed("/spec") {
            // What somebody just made is looked at with the next round, as upstream's ticks do.
            queue.add_after(notice.key(), PERIOD);
        }
    }

    async fn sync(&self, cx: &Cx, key: &super::queue::Key) -> Result<Next, Status> {
        let Some(scaler) = cx.get(&AUTOSCALERS, &key.namespace, &key.name) else { return Ok(Next::Done) };
        if meta::is_deleting(&scaler) {
            return Ok(Next::Done);
        }
        let mut status = if scaler["status"].is_object() { scaler["status"].clone() } else { json!({}) };
        reconcile(cx, &scaler, &mut status).await?;
        if status["currentMetrics"].is_null() {
            status["currentMetrics"] = Value::Null;
        }
        if status["desiredReplicas"].is_null() {
            status["desiredReplicas"] = 0.into();
        }
        if !object::equal(&status, &scaler["status"]) {
            let mut updated = Value::clone(&scaler);
            updated["status"] = status;
            cx.client.update_status(&AUTOSCALERS, &key.namespace, &key.name, updated).await?;
        }
        Ok(Next::After(PERIOD))
    }
}

async fn reconcile(cx: &Cx, scaler: &Value, status: &mut Value) -> Result<(), Status> {
    let now = cx.clock().now();
    let spec = &scaler["spec"];
    let target = match target(cx, scaler) {
        Ok(target) => target,
        Err(why) => {
            cx.recorder.warning(scaler, "FailedGetScale", why.clone());
            let text = format!("the HPA controller was unable to get the target's current scale: {why}");
            set(status, "AbleToScale", "False", "FailedGetScale", &text, now);
            return Ok(());
        }
    };
    let text = "the HPA controller was able to get the target's current scale";
    set(status, "AbleToScale", "True", "SucceededGetScale", text, now);
    let current = meta::int(&target.object["status"]["replicas"], 0);
    let asked = meta::int(&target.object["spec"]["replicas"], 1);
    let (least, most) = (meta::int(&spec["minReplicas"], 1), meta::int(&spec["maxReplicas"], 0));
    meta::set_omitempty(status, "currentReplicas", current);
    meta::set_omitempty(status, "observedGeneration", meta::generation(scaler));
    if asked == 0 && least != 0 {
        let text = "scaling is disabled since the replica count of the target is zero";
        set(status, "ScalingActive", "False", "ScalingDisabled", text, now);
        status["desiredReplicas"] = 0.into();
        return Ok(());
    }
    let (wanted, reason) = if asked > most {
        (most, "Current number of replicas above Spec.MaxReplicas")
    } else if asked < least {
        (least, "Current number of replicas below Spec.MinReplicas")
    } else {
        lack_of_metrics(cx, scaler, status, now);
        return Ok(());
    };
    let mut scaled = Value::clone(&target.object);
    scaled["spec"]["replicas"] = wanted.into();
    let (namespace, name) = (meta::namespace(scaler), meta::name(&target.object));
    match cx.client.update(&target.resource, namespace, name, scaled).await {
        Ok(_) => {
            let text = format!("New size: {wanted}; reason: {reason}");
            cx.recorder.normal(scaler, "SuccessfulRescale", text);
            let text = format!("the HPA controller was able to update the target scale to {wanted}");
            set(status, "AbleToScale", "True", "SucceededRescale", &text, now);
            status["desiredReplicas"] = wanted.into();
            status["lastScaleTime"] = meta::seconds(now).into();
            Ok(())
        }
        Err(refusal) => {
            let text = format!("New size: {wanted}; reason: {reason}; error: {refusal}");
            cx.recorder.warning(scaler, "FailedRescale", text);
            let text = format!("the HPA controller was unable to update the target scale: {refusal}");
            set(status, "AbleToScale", "False", "FailedUpdateScale", &text, now);
            Err(refusal)
        }
    }
}

struct Target {
    resource: GroupResource,
    object: std::sync::Arc<Value>,
}

/// Finds what is to be scaled.
fn target(cx: &Cx, scaler: &Value) -> Result<Target, String> {
    let reference = &scaler["spec"]["scaleTargetRef"];
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (group, version) = split_api_version(text("apiVersion"));
    let resources = cx.client.api().resources();
    let Some(resource) = resources.by_kind(group, version, text("kind")) else {
        return Err(format!("no matches for kind {:?} in group {group:?}", text("kind")));
    };
    if !resource.subresources.iter().any(|sub| sub.name == "scale") {
        return Err(MISSING.to_string());
    }
    match cx.get(&resource.storage, meta::namespace(scaler), text("name")) {
        Some(object) => Ok(Target { resource: resource.storage.clone(), object }),
        None => Err(Status::not_found(&resource.storage, text("name")).to_string()),
    }
}

/// Says for each metric that it cannot be had, and for all that nothing can be computed.
fn lack_of_metrics(cx: &Cx, scaler: &Value, status: &mut Value, now: Timestamp) {
    let metrics = meta::items(&scaler["spec"]["metrics"]);
    let count = metrics.clone().count();
    let mut first: Option<Lack> = None;
    for metric in metrics {
        let lack = lack(scaler, metric);
        cx.recorder.warning(scaler, lack.reason, lack.why.clone());
        first.get_or_insert(lack);
    }
    let Some(first) = first else { return };
    let text = format!("the HPA was unable to compute the replica count: {}", first.why);
    set(status, "ScalingActive", "False", first.reason, &text, now);
    let text = format!(
        "invalid metrics ({count} invalid out of {count}), first error is: failed to get {} metric value: {}",
        first.kind, first.why
    );
    cx.recorder.warning(scaler, "FailedComputeMetricsReplicas", text);
}

fn lack(scaler: &Value, metric: &Value) -> Lack {
    let resource = |source: &Value| {
        let name = source["name"].as_str().unwrap_or_default();
        let what = if source["target"]["averageUtilization"].is_null() { "usage" } else { "utilization" };
        format!(
            "failed to get {name} {what}: unable to get metrics for resource {name}: unable to fetch metrics from resource \
             metrics API: {MISSING} (get pods.metrics.k8s.io)"
        )
    };
    match metric["type"].as_str() {
        Some("ContainerResource") => Lack {
            reason: "FailedGetContainerResourceMetric",
            kind: match metric["containerResource"]["name"].as_str() {
                Some("memory") => "memory container",
                _ => "cpu container",
            },
            why: resource(&metric["containerResource"]),
        },
        Some("Pods") => {
            let name = metric["pods"]["metric"]["name"].as_str().unwrap_or_default();
            Lack {
                reason: "FailedGetPodsMetric",
                kind: "pods",
                why: format!(
                    "unable to get metric {name}: unable to fetch metrics from custom metrics API: no custom metrics API \
                     (custom.metrics.k8s.io) registered"
                ),
            }
        }
        Some("Object") => {
            let (about, metric) = (&metric["object"]["describedObject"], &metric["object"]["metric"]);
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            Lack {
                reason: "FailedGetObjectMetric",
                kind: "object",
                why: format!(
                    "unable to get metric {}: {} on {} {}/unable to fetch metrics from custom metrics API: no custom metrics \
                     API (custom.metrics.k8s.io) registered",
                    text(&metric["name"]),
                    text(&about["kind"]),
                    meta::namespace(scaler),
                    text(&about["name"])
                ),
            }
        }
        Some("External") => {
            let external = &metric["external"]["metric"];
            let name = external["name"].as_str().unwrap_or_default();
            let selector = match external["selector"].is_null() {
                true => "nil".to_owned(),
                false => format!("&LabelSelector{}", external["selector"]),
            };
            Lack {
                reason: "FailedGetExternalMetric",
                kind: "external",
                why: format!(
                    "unable to get external metric {}/{name}/{selector}: unable to fetch metrics from external metrics API: \
                     {MISSING} (get {name}.external.metrics.k8s.io)",
                    meta::namespace(scaler)
                ),
            }
        }
        _ => Lack {
            reason: "FailedGetResourceMetric",
            kind: match metric["resource"]["name"].as_str() {
                Some("memory") => "memory resource",
                _ => "cpu resource",
            },
            why: resource(&metric["resource"]),
        },
    }
}

/// Sets a condition; the time of transition stays when the status does.
fn set(status: &mut Value, kind: &str, value: &str, reason: &str, message: &str, now: Timestamp) {
    let known = meta::items(&status["conditions"]).find(|c| c["type"] == kind).cloned();
    let transition = match &known {
        Some(known) if known["status"] == value => known["lastTransitionTime"].clone(),
        _ => meta::seconds(now).into(),
    };
    let condition = json!({
        "type": kind, "status": value, "lastTransitionTime": transition, "reason": reason, "message": message,
    });
    match status["conditions"].as_array_mut() {
        Some(conditions) => match conditions.iter_mut().find(|c| c["type"] == kind) {
            Some(known) => *known = condition,
            None => conditions.push(condition),
        },
        None => status["conditions"] = json!([condition]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use super::*;

    const TARGET: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'nginx:1.27'}]}
";

    fn scaler(name: &str, target: &str) -> String {
        format!(
            "{{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {{name: {name}}}, spec: {{minReplicas: 2, \
             maxReplicas: 5, scaleTargetRef: {{apiVersion: apps/v1, kind: Deployment, name: {target}}}, metrics: [{{type: \
             Resource, resource: {{name: cpu, target: {{type: Utilization, averageUtilization: 80}}}}}}]}}}}"
        )
    }

    fn conditions(scaler: &Value) -> Vec<String> {
        let text = |c: &Value, field: &str| c[field].as_str().unwrap_or_default().to_owned();
        meta::items(&scaler["status"]["conditions"])
            .map(|c| {
                format!(
                    "{}={} {}: {}",
                    text(c, "type"),
                    text(c, "status"),
                    text(c, "reason"),
                    text(c, "message")
                )
            })
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_above_the_bounds_shrinks() {
        let lab = Lab::new(1).await;
        lab.apply(&TARGET.replace("replicas: 1", "replicas: 8")).await;
        lab.apply(&scaler("web", "web")).await;
        lab.wait("deployments.apps", "t/web", |d| d["spec"]["replicas"] == 5).await;
        lab.until("its event", |lab| {
            let told = "Normal SuccessfulRescale New size: 5; reason: Current number of replicas above Spec.MaxReplicas";
            lab.events("web").contains(&told.to_owned()).then_some(())
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn bounds_are_kept_and_the_lack_of_metrics_is_said() {
        let lab = Lab::new(1).await;
        lab.apply(TARGET).await;
        lab.apply(&scaler("web", "web")).await;
        lab.wait("deployments.apps", "t/web", |d| d["spec"]["replicas"] == 2).await;
        let kind = "horizontalpodautoscalers.autoscaling";
        let judged = lab.wait(kind, "t/web", |s| meta::condition(s, "ScalingActive").is_some()).await;
        let lack = "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from \
                    resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)";
        assert_eq!(
            conditions(&judged),
            [
                "AbleToScale=True SucceededGetScale: the HPA controller was able to get the target's current scale"
                    .to_owned(),
                format!(
                    "ScalingActive=False FailedGetResourceMetric: the HPA was unable to compute the replica count: {lack}"
                ),
            ]
        );
        assert_eq!(
            (&judged["status"]["currentReplicas"], &judged["status"]["desiredReplicas"]),
            (&2.into(), &2.into())
        );
        lab.pass(1).await;
        assert_eq!(
            lab.events("web").into_iter().filter(|e| !e.contains("ScalingReplicaSet")).collect::<Vec<_>>(),
            [
                "Normal SuccessfulRescale New size: 2; reason: Current number of replicas below Spec.MinReplicas".to_owned(),
                format!("Warning FailedGetResourceMetric {lack}"),
                format!(
                    "Warning FailedComputeMetricsReplicas invalid metrics (1 invalid out of 1), first error is: failed to get \
                     cpu resource metric value: {lack}"
                ),
            ]
        );
        let row = lab.row("/apis/autoscaling/v2/namespaces/t/horizontalpodautoscalers/web").await;
        assert!(row.starts_with("web Deployment/web cpu: <unknown>/80% 2 5 2"), "{row}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_target_that_is_not_there_is_said() {
        let lab = Lab::new(0).await;
        lab.apply(&scaler("web", "nosuch")).await;
        let kind = "horizontalpodautoscalers.autoscaling";
        let judged = lab.wait(kind, "t/web", |s| meta::condition(s, "AbleToScale").is_some()).await;
        assert_eq!(
            conditions(&judged),
            [
                "AbleToScale=False FailedGetScale: the HPA controller was unable to get the target's current scale: \
              deployments.apps \"nosuch\" not found"
            ]
        );
    }
}
