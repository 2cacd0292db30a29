use super::super::testing::Lab;
use super::*;

const DB: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 3
  serviceName: db
  revisionHistoryLimit: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: db, image: 'busybox:1.36', command: [sleep, '3600']}]
";

async fn settled(lab: &Lab) -> Arc<Value> {
    lab.wait("statefulsets.apps", "t/db", |set| {
        let (status, wanted) = (&set["status"], meta::int(&set["spec"]["replicas"], 0));
        meta::int(&status["observedGeneration"], 0) == meta::generation(set)
            && meta::int(&status["readyReplicas"], 0) == wanted
            && meta::int(&status["replicas"], 0) == wanted
            && status["currentRevision"] == status["updateRevision"]
    })
    .await
}

fn revisions(lab: &Lab) -> Vec<i64> {
    let mut numbers: Vec<i64> =
        lab.list("controllerrevisions.apps", "db").iter().map(|r| meta::int(&r["revision"], 0)).collect();
    numbers.sort_unstable();
    numbers
}

fn names(lab: &Lab) -> Vec<String> {
    lab.list("pods", "db").iter().map(|pod| meta::name(pod).to_owned()).collect()
}

async fn set_value(lab: &Lab, value: &str) {
    let patch = format!(
        "{{spec: {{template: {{spec: {{containers: [{{name: db, image: 'busybox:1.36', command: [sleep, '3600'], env: \
         [{{name: A, value: '{value}'}}]}}]}}}}}}}}"
    );
    lab.patch("statefulsets.apps", "t/db", "", &patch).await;
}

#[tokio::test(start_paused = true)]
async fn pods_below_the_partition_stay_as_they_are() {
    let lab = Lab::new(1).await;
    lab.apply(DB).await;
    settled(&lab).await;
    let partition = |at: i64| format!("{{spec: {{updateStrategy: {{rollingUpdate: {{partition: {at}}}}}}}}}");
    lab.patch("statefulsets.apps", "t/db", "", &partition(2)).await;
    set_value(&lab, "new").await;
    let value = |pod: &Value| pod["spec"]["containers"][0]["env"][0]["value"].as_str().map(str::to_owned);
    lab.wait("pods", "t/db-2", |pod| value(pod).is_some() && pods::is_ready(pod)).await;
    lab.pass(60).await;
    let values: Vec<Option<String>> = lab.list("pods", "db").iter().map(|pod| value(pod)).collect();
    assert_eq!(values, [None, None, Some("new".to_owned())]);
    // One that is lost comes back as it was.
    let lost = lab.the("pods", "t/db-0");
    lab.delete("pods", "t/db-0", None).await;
    let is_next = |pod: &Value| meta::uid(pod) != meta::uid(&lost) && pods::is_ready(pod);
    let again = lab.wait("pods", "t/db-0", is_next).await;
    assert_eq!(value(&again), None);
    lab.patch("statefulsets.apps", "t/db", "", &partition(0)).await;
    settled(&lab).await;
    assert!(lab.list("pods", "db").iter().all(|pod| value(pod).is_some()));
}

#[tokio::test(start_paused = true)]
async fn pods_come_in_order_each_when_the_one_before_is_ready() {
    let lab = Lab::new(1).await;
    lab.apply(DB).await;
    let mut seen: Vec<Vec<String>> = Vec::new();
    lab.until("all three", |lab| {
        let pods = lab.list("pods", "db");
        let now: Vec<String> = pods.iter().map(|pod| meta::name(pod).to_owned()).collect();
        for (index, pod) in pods.iter().enumerate() {
            let before_last = index + 1 < pods.len();
            assert!(!before_last || pods::is_ready(pod), "{now:?}");
        }
        if seen.last() != Some(&now) {
            seen.push(now.clone());
        }
        (now.len() == 3).then_some(())
    })
    .await;
    let set = settled(&lab).await;
    assert_eq!(set["status"]["collisionCount"], 0);
    let pod = lab.the("pods", "t/db-1");
    assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("db-1"), &json!("db")));
    assert_eq!(meta::label(&pod, INDEX_LABEL), Some("1"));
    assert_eq!(meta::label(&pod, NAME_LABEL), Some("db-1"));
    assert_eq!(
        lab.events("db"),
        [0, 1, 2].map(|n| format!("Normal SuccessfulCreate create Pod db-{n} in StatefulSet db successful"))
    );
    lab.patch("statefulsets.apps", "t/db", "", "{spec: {replicas: 1}}").await;
    lab.gone("pods", "t/db-2").await;
    assert!(lab.get("pods", "t/db-1").is_some(), "the last goes first");
    lab.gone("pods", "t/db-1").await;
    assert_eq!(names(&lab), ["db-0"]);
}

#[tokio::test(start_paused = true)]
async fn an_update_goes_from_the_last_down_and_an_undo_is_a_new_revision() {
    let lab = Lab::new(1).await;
    lab.apply(DB).await;
    settled(&lab).await;
    set_value(&lab, "b").await;
    let replaced = lab
        .until("the first to be replaced", |lab| {
            let going: Vec<String> = lab
                .list("pods", "db")
                .iter()
                .filter(|pod| meta::is_deleting(pod))
                .map(|pod| meta::name(pod).to_owned())
                .collect();
            (!going.is_empty()).then_some(going)
        })
        .await;
    assert_eq!(replaced, ["db-2"]);
    settled(&lab).await;
    assert_eq!(revisions(&lab), [1, 2]);
    // `kubectl rollout undo` writes the first template back: its revision becomes the third.
    lab.patch(
        "statefulsets.apps",
        "t/db",
        "",
        "{spec: {template: {spec: {containers: [{name: db, image: 'busybox:1.36', command: [sleep, '3600']}]}}}}",
    )
    .await;
    settled(&lab).await;
    assert_eq!(revisions(&lab), [2, 3]);
    set_value(&lab, "c").await;
    settled(&lab).await;
    assert_eq!(revisions(&lab), [3, 4], "one old revision is kept");
}

#[tokio::test(start_paused = true)]
async fn a_partition_holds_the_lower_ones_back() {
    let lab = Lab::new(1).await;
    lab.apply(DB).await;
    settled(&lab).await;
    lab.patch("statefulsets.apps", "t/db", "", "{spec: {updateStrategy: {rollingUpdate: {partition: 2}}}}")
        .await;
    set_value(&lab, "b").await;
    let status = lab
        .wait("statefulsets.apps", "t/db", |set| {
            set["status"]["updatedReplicas"] == 1 && set["status"]["readyReplicas"] == 3
        })
        .await;
    lab.pass(30).await;
    let env = |name: &str| lab.the("pods", name)["spec"]["containers"][0]["env"][0]["value"].clone();
    assert_eq!((env("t/db-2"), env("t/db-1")), (json!("b"), Value::Null));
    assert_ne!(status["status"]["currentRevision"], status["status"]["updateRevision"]);
    // One below the partition comes back as it was.
    lab.delete("pods", "t/db-0", Some(0)).await;
    lab.wait("pods", "t/db-0", pods::is_ready).await;
    assert_eq!(env("t/db-0"), Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_failed_is_made_anew() {
    let lab = Lab::new(1).await;
    lab.apply(DB).await;
    settled(&lab).await;
    let uid = meta::uid(&lab.the("pods", "t/db-0")).to_owned();
    lab.patch("pods", "t/db-0", "status", "{status: {phase: Failed}}").await;
    lab.wait("pods", "t/db-0", |pod| meta::uid(pod) != uid && pods::is_ready(pod)).await;
    let told = "Warning RecreatingFailedPod StatefulSet t/db is recreating failed Pod db-0";
    assert!(lab.events("db").contains(&told.to_owned()), "{:?}", lab.events("db"));
}
