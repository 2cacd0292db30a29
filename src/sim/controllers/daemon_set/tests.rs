use super::super::testing::Lab;
use super::*;

const AGENT: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: agent, image: 'busybox:1.36', command: [sleep, '3600']}]
";

fn nodes(lab: &Lab) -> Vec<String> {
    let mut nodes: Vec<String> = lab
        .list("pods", "agent")
        .iter()
        .filter(|p| pods::is_active(p))
        .map(|p| node_of(p).to_owned())
        .collect();
    nodes.sort();
    nodes
}

async fn settled(lab: &Lab, count: i64) -> Arc<Value> {
    lab.wait("daemonsets.apps", "t/agent", |set| {
        let status = &set["status"];
        meta::int(&status["observedGeneration"], 0) == meta::generation(set)
            && ["desiredNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable"]
                .iter()
                .all(|field| meta::int(&status[*field], 0) == count)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn each_node_that_will_have_one_gets_one() {
    let lab = Lab::new(2).await;
    lab.apply(AGENT).await;
    let set = settled(&lab, 2).await;
    assert_eq!(nodes(&lab), ["worker-1", "worker-2"], "the control plane is tainted");
    assert_eq!(meta::annotation(&set, GENERATION), Some("1"));
    let pod = lab.list("pods", "agent").remove(0);
    let tolerated: Vec<&str> =
        meta::items(&pod["spec"]["tolerations"]).filter_map(|t| t["key"].as_str()).collect();
    assert!(tolerated.contains(&"node.kubernetes.io/unschedulable"), "{tolerated:?}");
    assert!(meta::label(&pod, REVISION_LABEL).is_some());
    // A cordoned node keeps its daemon, and one that loses what is selected loses it.
    lab.patch("nodes", "worker-1", "", "{spec: {unschedulable: true}}").await;
    lab.pass(5).await;
    assert_eq!(nodes(&lab), ["worker-1", "worker-2"]);
    lab.patch("nodes", "worker-2", "", "{metadata: {labels: {disk: ssd}}}").await;
    lab.patch("daemonsets.apps", "t/agent", "", "{spec: {template: {spec: {nodeSelector: {disk: ssd}}}}}")
        .await;
    settled(&lab, 1).await;
    assert_eq!(nodes(&lab), ["worker-2"]);
    lab.patch("nodes", "worker-2", "", "{metadata: {labels: {disk: null}}}").await;
    lab.until("nobody", |lab| nodes(lab).is_empty().then_some(())).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_template_replaces_them_one_after_the_other() {
    let lab = Lab::new(3).await;
    lab.apply(AGENT).await;
    settled(&lab, 3).await;
    let patch = "{spec: {template: {spec: {containers: [{name: agent, image: 'busybox:1.37', command: [sleep, '3600']}]}}}}";
    lab.patch("daemonsets.apps", "t/agent", "", patch).await;
    let mut fewest = 3;
    lab.until("the rollout", |lab| {
        let pods = lab.list("pods", "agent");
        fewest = fewest.min(pods.iter().filter(|pod| pods::is_active(pod) && pods::is_ready(pod)).count());
        let set = lab.the("daemonsets.apps", "t/agent");
        let status = &set["status"];
        (meta::int(&status["observedGeneration"], 0) == meta::generation(&set)
            && status["updatedNumberScheduled"] == 3
            && status["numberAvailable"] == 3)
            .then_some(())
    })
    .await;
    assert_eq!(fewest, 2, "maxUnavailable is 1");
    let numbers: Vec<i64> =
        lab.list("controllerrevisions.apps", "agent").iter().map(|r| meta::int(&r["revision"], 0)).collect();
    assert_eq!(numbers.iter().max(), Some(&2));
    // Of what was before, as many are kept as the limit says.
    lab.patch("daemonsets.apps", "t/agent", "", "{spec: {revisionHistoryLimit: 0}}").await;
    lab.until("the old revision's end", |lab| {
        (lab.list("controllerrevisions.apps", "agent").len() == 1).then_some(())
    })
    .await;
    // On delete only what is deleted is replaced.
    lab.patch(
        "daemonsets.apps",
        "t/agent",
        "",
        "{spec: {updateStrategy: {type: OnDelete, rollingUpdate: null}}}",
    )
    .await;
    lab.patch("daemonsets.apps", "t/agent", "", &patch.replace("1.37", "1.36")).await;
    lab.pass(30).await;
    let image = |pod: &Value| pod["spec"]["containers"][0]["image"].as_str().unwrap().to_owned();
    let old = lab.list("pods", "agent");
    assert!(old.iter().all(|pod| image(pod) == "busybox:1.37"));
    lab.delete("pods", &format!("t/{}", meta::name(&old[0])), None).await;
    lab.until("its successor", |lab| {
        let pods = lab.list("pods", "agent");
        (pods.iter().filter(|pod| image(pod) == "busybox:1.36").count() == 1 && pods.len() == 3).then_some(())
    })
    .await;
}
