use serde_json::json;

use super::super::testing::Lab;
use super::*;

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  progressDeadlineSeconds: 25
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: web, image: 'nginx:1.27', readinessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}}
";

fn conditions(deployment: &Value) -> Vec<String> {
    let text = |c: &Value, field: &str| c[field].as_str().unwrap_or_default().to_owned();
    let shown = |c: &Value| format!("{}={} {}", text(c, "type"), text(c, "status"), text(c, "reason"));
    meta::items(&deployment["status"]["conditions"]).map(shown).collect()
}

#[test]
fn a_new_set_grows_into_the_room_that_there_is_and_never_shrinks() {
    let deployment = json!({ "spec": { "replicas": 3, "strategy": { "type": "RollingUpdate",
        "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } } } });
    for (total, current, next) in [(3, 0, 1), (4, 1, 1), (6, 2, 2), (1, 0, 3), (3, 2, 3)] {
        let found = rollout::new_set_replicas(&deployment, total, current);
        assert_eq!(found, next, "{current} of {total}");
    }
}

/// Returns the size of each ReplicaSet by its revision.
fn sizes(lab: &Lab) -> Vec<(i64, i64)> {
    let mut sizes: Vec<(i64, i64)> =
        lab.list("replicasets.apps", "web").iter().map(|set| (revision::of(set), replicas(set))).collect();
    sizes.sort_unstable();
    sizes
}

async fn complete(lab: &Lab) -> Arc<Value> {
    let done = |d: &Value| {
        meta::int(&d["status"]["observedGeneration"], 0) == meta::generation(d)
            && progress::is_complete(d, &d["status"])
            && meta::condition(d, "Progressing").is_some_and(|c| c["reason"] == "NewReplicaSetAvailable")
    };
    lab.wait("deployments.apps", "t/web", done).await
}

/// Follows the conditions of the Deployment: each change once.
fn follow(lab: &Lab) -> Arc<std::sync::Mutex<Vec<Vec<String>>>> {
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (kept, mut watch) = (seen.clone(), lab.client.store().watch(Some(&DEPLOYMENTS), None).unwrap());
    tokio::spawn(async move {
        while let Ok(event) = watch.next().await {
            if event.entry.name() != "web" {
                continue;
            }
            let now = conditions(&event.entry.object);
            let mut kept: std::sync::MutexGuard<'_, Vec<Vec<String>>> = kept.lock().unwrap();
            if !now.is_empty() && kept.last() != Some(&now) {
                kept.push(now);
            }
        }
    });
    seen
}

async fn set_image(lab: &Lab, image: &str) {
    let patch = format!(
        "{{spec: {{template: {{spec: {{containers: [{{name: web, image: '{image}', readinessProbe: {{httpGet: {{path: /, \
         port: 80}}, periodSeconds: 1}}}}]}}}}}}}}"
    );
    lab.patch("deployments.apps", "t/web", "", &patch).await;
}

#[tokio::test(start_paused = true)]
async fn a_rollout_goes_through_the_conditions_that_were_recorded() {
    let lab = Lab::new(1).await;
    let seen = follow(&lab);
    lab.apply(WEB).await;
    let done = complete(&lab).await;
    let available = "Available=True MinimumReplicasAvailable".to_owned();
    let unavailable = "Available=False MinimumReplicasUnavailable".to_owned();
    let progressing = |reason: &str| format!("Progressing=True {reason}");
    assert_eq!(
        *seen.lock().unwrap(),
        [
            vec![progressing("NewReplicaSetCreated")],
            vec![progressing("NewReplicaSetCreated"), unavailable.clone()],
            vec![unavailable, progressing("ReplicaSetUpdated")],
            vec![available.clone(), progressing("NewReplicaSetAvailable")],
        ]
    );
    assert_eq!(meta::annotation(&done, "deployment.kubernetes.io/revision"), Some("1"));
    assert_eq!(
        done["status"].as_object().unwrap().keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "availableReplicas",
            "conditions",
            "observedGeneration",
            "readyReplicas",
            "replicas",
            "updatedReplicas"
        ]
    );
    seen.lock().unwrap().clear();
    set_image(&lab, "nginx:1.28").await;
    complete(&lab).await;
    let rolled = seen.lock().unwrap().clone();
    assert_eq!(
        rolled[rolled.len() - 3..],
        ["NewReplicaSetCreated", "ReplicaSetUpdated", "NewReplicaSetAvailable"]
            .map(|reason| vec![available.clone(), progressing(reason)])
    );
    assert_eq!(sizes(&lab), [(1, 0), (2, 2)]);
    let [first, second] = [1, 2].map(|number| {
        let sets = lab.list("replicasets.apps", "web");
        meta::name(sets.iter().find(|set| revision::of(set) == number).unwrap()).to_owned()
    });
    assert_eq!(
        lab.events("web"),
        [
            format!("Normal ScalingReplicaSet Scaled up replica set {first} from 0 to 2"),
            format!("Normal ScalingReplicaSet Scaled up replica set {second} from 0 to 1"),
            format!("Normal ScalingReplicaSet Scaled down replica set {first} from 2 to 1"),
            format!("Normal ScalingReplicaSet Scaled up replica set {second} from 1 to 2"),
            format!("Normal ScalingReplicaSet Scaled down replica set {first} from 1 to 0"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_rollout_that_stands_still_runs_out_of_time_and_is_undone() {
    let lab = Lab::new(1).await;
    lab.apply(WEB).await;
    complete(&lab).await;
    set_image(&lab, "nginx:9.99").await;
    let start = lab.client.clock().now();
    let late = lab
        .wait("deployments.apps", "t/web", |d| {
            meta::condition(d, "Progressing").is_some_and(|c| c["reason"] == "ProgressDeadlineExceeded")
        })
        .await;
    let waited = lab.client.clock().now().duration_since(start).as_secs();
    assert!((25..=29).contains(&waited), "{waited}");
    assert_eq!(sizes(&lab), [(1, 2), (2, 1)], "the old ones serve on");
    let count = |field: &str| late["status"][field].as_i64();
    assert_eq!(
        ["replicas", "updatedReplicas", "availableReplicas", "unavailableReplicas"].map(count),
        [Some(3), Some(1), Some(2), Some(1)]
    );
    // `kubectl rollout undo` writes the old template back; its ReplicaSet gets the next revision.
    set_image(&lab, "nginx:1.27").await;
    let undone = complete(&lab).await;
    assert_eq!(sizes(&lab), [(2, 0), (3, 2)]);
    assert_eq!(meta::annotation(&undone, "deployment.kubernetes.io/revision"), Some("3"));
    let set = lab.list("replicasets.apps", "web").into_iter().find(|set| replicas(set) == 2).unwrap();
    assert_eq!(meta::annotation(&set, "deployment.kubernetes.io/revision-history"), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_paused_deployment_scales_and_does_not_roll() {
    let lab = Lab::new(1).await;
    lab.apply(WEB).await;
    complete(&lab).await;
    lab.patch("deployments.apps", "t/web", "", "{spec: {paused: true, replicas: 3}}").await;
    set_image(&lab, "nginx:1.28").await;
    lab.pass(60).await;
    assert_eq!(sizes(&lab), [(1, 3)]);
    let mut paused = conditions(&lab.the("deployments.apps", "t/web"));
    paused.sort();
    assert_eq!(paused, ["Available=True MinimumReplicasAvailable", "Progressing=Unknown DeploymentPaused"]);
    let seen = follow(&lab);
    lab.patch("deployments.apps", "t/web", "", "{spec: {paused: null}}").await;
    complete(&lab).await;
    assert_eq!(sizes(&lab), [(1, 0), (2, 3)]);
    let resumed = "Progressing=Unknown DeploymentResumed".to_owned();
    assert!(seen.lock().unwrap().iter().any(|conditions| conditions.contains(&resumed)));
}

#[tokio::test(start_paused = true)]
async fn surge_and_unavailability_bound_every_step() {
    let lab = Lab::new(1).await;
    for (surge, unavailable, most, least) in [("1", "0", 5, 4), ("0", "1", 4, 3), ("'50%'", "'25%'", 6, 3)] {
        let strategy =
            format!("strategy: {{rollingUpdate: {{maxSurge: {surge}, maxUnavailable: {unavailable}}}}}");
        let yaml = WEB.replace("replicas: 2", &format!("replicas: 4\n  {strategy}"));
        lab.apply(&yaml).await;
        complete(&lab).await;
        set_image(&lab, "nginx:1.28").await;
        let (mut highest, mut lowest) = (0, i64::MAX);
        lab.until("the rollout", |lab| {
            let pods = lab.list("pods", "web");
            let live = pods.iter().filter(|pod| pods::is_active(pod));
            highest = highest.max(live.clone().count());
            lowest = lowest.min(live.filter(|pod| pods::is_ready(pod)).count() as i64);
            let web = lab.the("deployments.apps", "t/web");
            (meta::int(&web["status"]["observedGeneration"], 0) == meta::generation(&web)
                && progress::is_complete(&web, &web["status"]))
            .then_some(())
        })
        .await;
        assert!(highest <= most && lowest >= least, "{surge} {unavailable}: {highest} {lowest}");
        lab.delete("deployments.apps", "t/web", None).await;
        lab.until("its end", |lab| lab.list("pods", "web").is_empty().then_some(())).await;
    }
}

#[tokio::test(start_paused = true)]
async fn recreate_waits_for_the_last_old_pod() {
    let lab = Lab::new(1).await;
    lab.apply(&WEB.replace("replicas: 2", "replicas: 2\n  strategy: {type: Recreate}")).await;
    complete(&lab).await;
    set_image(&lab, "nginx:1.28").await;
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
    lab.until("the new ones", |lab| {
        let mut images: Vec<String> = lab.list("pods", "web").iter().map(|pod| image(pod)).collect();
        images.dedup();
        assert!(images.len() <= 1, "old and new together: {images:?}");
        (images == ["nginx:1.28"]).then_some(())
    })
    .await;
    complete(&lab).await;
}

#[tokio::test(start_paused = true)]
async fn old_replica_sets_go_beyond_the_limit_and_a_refusal_is_shown() {
    let lab = Lab::new(1).await;
    lab.apply(&WEB.replace("replicas: 2", "replicas: 1\n  revisionHistoryLimit: 1")).await;
    complete(&lab).await;
    for tag in ["1.28", "1.26", "1.25"] {
        set_image(&lab, &format!("nginx:{tag}")).await;
        complete(&lab).await;
    }
    lab.until("the clean-up", |lab| (sizes(lab) == [(3, 0), (4, 1)]).then_some(())).await;
    lab.apply("{apiVersion: v1, kind: ResourceQuota, metadata: {name: q}, spec: {hard: {pods: '1'}}}").await;
    lab.pass(2).await;
    lab.patch("deployments.apps", "t/web", "", "{spec: {replicas: 2}}").await;
    let refused =
        lab.wait("deployments.apps", "t/web", |d| meta::condition(d, "ReplicaFailure").is_some()).await;
    let failure = meta::condition(&refused, "ReplicaFailure").unwrap();
    assert_eq!((&failure["status"], &failure["reason"]), (&json!("True"), &json!("FailedCreate")));
    let text = failure["message"].as_str().unwrap();
    assert!(
        text.contains("is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"),
        "{text}"
    );
    let set = lab.list("replicasets.apps", "web").into_iter().find(|set| replicas(set) == 2).unwrap();
    let told = lab.events(meta::name(&set));
    assert!(
        told.iter().any(|event| event.starts_with("Warning FailedCreate Error creating: pods \"web-")),
        "{told:?}"
    );
    lab.delete("resourcequotas", "t/q", None).await;
    complete(&lab).await;
    assert!(meta::condition(&lab.the("deployments.apps", "t/web"), "ReplicaFailure").is_none());
}
