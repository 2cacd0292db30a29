//! Waits until everything that runs in a namespace runs.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use super::SeedError;
use crate::cluster::Progress;

const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// The longest pause of the first seconds, in which all is ready on a simulated cluster, and of those after.
const SHORT_PAUSE: Duration = Duration::from_millis(100);
const SOON: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is not ready yet.
struct Missing {
    object: String,
    state: String,
}

pub(super) async fn wait(
    client: &kube::Client,
    namespace: &str,
    within: Duration,
    progress: &dyn Progress,
) -> Result<(), SeedError> {
    let mut pause = FIRST_PAUSE;
    let mut waited = Duration::ZERO;
    let mut shown = String::new();
    loop {
        let Some(missing) = first_missing(client, namespace).await.map_err(SeedError::Api)? else {
            return Ok(());
        };
        if waited >= within {
            return Err(SeedError::NotReady { object: missing.object, state: missing.state, within });
        }
        let detail = format!("{}: {}", missing.object, missing.state);
        if detail != shown {
            progress.detail(&detail);
            shown = detail;
        }
        tokio::time::sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(if waited < SOON { SHORT_PAUSE } else { LONGEST_PAUSE });
    }
}

async fn first_missing(client: &kube::Client, namespace: &str) -> kube::Result<Option<Missing>> {
    let all = ListParams::default();
    let deployments = Api::<Deployment>::namespaced(client.clone(), namespace).list(&all).await?;
    let sets = Api::<StatefulSet>::namespaced(client.clone(), namespace).list(&all).await?;
    let daemons = Api::<DaemonSet>::namespaced(client.clone(), namespace).list(&all).await?;
    let pods = Api::<Pod>::namespaced(client.clone(), namespace).list(&all).await?;
    let of = |kind: &str, name: &Option<String>, state: Option<String>| {
        let object = format!("{kind} {namespace}/{}", name.as_deref().unwrap_or_default());
        state.map(|state| Missing { object, state })
    };
    Ok(deployments
        .iter()
        .find_map(|found| of("Deployment", &found.metadata.name, deployment(found)))
        .or_else(|| {
            sets.iter().find_map(|found| of("StatefulSet", &found.metadata.name, stateful_set(found)))
        })
        .or_else(|| daemons.iter().find_map(|found| of("DaemonSet", &found.metadata.name, daemon_set(found))))
        .or_else(|| pods.iter().find_map(|found| of("Pod", &found.metadata.name, pod(found)))))
}

fn deployment(found: &Deployment) -> Option<String> {
    let wanted = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = found.status.clone().unwrap_or_default();
    counted(
        found.metadata.generation,
        status.observed_generation,
        wanted,
        &[status.updated_replicas, status.ready_replicas, status.available_replicas],
        status.replicas,
    )
}

fn stateful_set(found: &StatefulSet) -> Option<String> {
    let wanted = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = found.status.clone().unwrap_or_default();
    counted(
        found.metadata.generation,
        status.observed_generation,
        wanted,
        &[status.ready_replicas],
        Some(status.replicas),
    )
}

fn daemon_set(found: &DaemonSet) -> Option<String> {
    let Some(status) = found.status.clone() else { return Some("it was not seen yet".to_owned()) };
    counted(
        found.metadata.generation,
        status.observed_generation,
        status.desired_number_scheduled,
        &[Some(status.number_ready), status.updated_number_scheduled],
        None,
    )
}

/// Compares the counts of a status with what is wanted; `existing` must not be more than that.
fn counted(
    generation: Option<i64>,
    observed: Option<i64>,
    wanted: i32,
    counts: &[Option<i32>],
    existing: Option<i32>,
) -> Option<String> {
    if observed < generation || observed.is_none() {
        return Some("it was not seen yet".to_owned());
    }
    let ready = counts.iter().map(|count| count.unwrap_or_default()).min().unwrap_or_default();
    let old = existing.unwrap_or_default() > wanted;
    (ready < wanted || old).then(|| format!("{ready} of {wanted} replicas are ready"))
}

fn pod(found: &Pod) -> Option<String> {
    if found.metadata.deletion_timestamp.is_some() {
        return Some("it is being deleted".to_owned());
    }
    let status = found.status.clone().unwrap_or_default();
    let phase = status.phase.unwrap_or_default();
    let ready = status
        .conditions
        .unwrap_or_default()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if phase == "Succeeded" || (phase == "Running" && ready) {
        return None;
    }
    let waiting = status.container_statuses.unwrap_or_default().into_iter().find_map(|container| {
        let waiting = container.state?.waiting?;
        Some(format!(", container `{}`: {}", container.name, waiting.reason.unwrap_or_default()))
    });
    Some(format!("phase {phase}, not ready{}", waiting.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_deployment_is_ready_when_its_newest_template_is() {
        let with = |observed: i64, updated: i32, ready: i32, existing: i32| {
            deployment(&of(json!({
                "metadata": {"generation": 2},
                "spec": {"replicas": 2, "selector": {}, "template": {}},
                "status": {"observedGeneration": observed, "updatedReplicas": updated, "readyReplicas": ready,
                           "availableReplicas": ready, "replicas": existing},
            })))
        };
        assert_eq!(with(2, 2, 2, 2), None);
        assert_eq!(with(1, 2, 2, 2).as_deref(), Some("it was not seen yet"));
        assert_eq!(with(2, 1, 2, 2).as_deref(), Some("1 of 2 replicas are ready"));
        assert_eq!(with(2, 2, 1, 2).as_deref(), Some("1 of 2 replicas are ready"));
        assert!(with(2, 2, 2, 3).is_some(), "an old replica is still there");
        let fresh =
            json!({"metadata": {"generation": 1}, "spec": {"replicas": 0, "selector": {}, "template": {}}});
        assert!(deployment(&of(fresh)).is_some(), "nothing was observed");
    }

    #[test]
    fn a_daemon_set_that_wants_no_pod_is_ready_once_seen() {
        let with = |observed: i64| {
            daemon_set(&of(json!({
                "metadata": {"generation": 1},
                "status": {"observedGeneration": observed, "currentNumberScheduled": 0, "desiredNumberScheduled": 0,
                           "numberMisscheduled": 0, "numberReady": 0},
            })))
        };
        assert_eq!(with(1), None);
        assert!(with(0).is_some());
    }

    #[test]
    fn a_pod_is_ready_when_it_says_so_or_is_done() {
        let with = |status: Value| pod(&of(json!({"metadata": {}, "status": status})));
        let ready = json!([{"type": "Ready", "status": "True"}]);
        assert_eq!(with(json!({"phase": "Running", "conditions": ready})), None);
        assert_eq!(with(json!({"phase": "Succeeded"})), None);
        assert!(with(json!({"phase": "Running"})).is_some());
        assert!(with(json!({"phase": "Failed"})).is_some());
        let waiting = json!([{"name": "c", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
                              "state": {"waiting": {"reason": "ImagePullBackOff"}}}]);
        assert_eq!(
            with(json!({"phase": "Pending", "containerStatuses": waiting})).as_deref(),
            Some("phase Pending, not ready, container `c`: ImagePullBackOff")
        );
    }
}
