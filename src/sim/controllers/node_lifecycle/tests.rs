use serde_json::json;

use super::super::testing::Lab;
use super::*;

const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: plain}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: app, image: 'busybox:1.36', command: [sleep, '3600']}]
";
const IMPATIENT: &str = "
apiVersion: v1
kind: Pod
metadata: {name: impatient}
spec:
  terminationGracePeriodSeconds: 1
  tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 10}]
  containers: [{name: app, image: 'busybox:1.36', command: [sleep, '3600']}]
";

fn taints(node: &Value) -> Vec<String> {
    let text =
        |taint: &Value| format!("{}:{}", taint["key"].as_str().unwrap(), taint["effect"].as_str().unwrap());
    meta::items(&node["spec"]["taints"]).map(text).collect()
}

#[tokio::test(start_paused = true)]
async fn a_silent_kubelet_makes_its_node_unknown_and_its_pods_unready() {
    let lab = Lab::new(1).await;
    lab.apply(POD).await;
    lab.apply(IMPATIENT).await;
    lab.phase("plain", "Running").await;
    lab.phase("impatient", "Running").await;
    lab.machines.stop("worker-1");
    lab.pass(45).await;
    assert!(meta::is_condition_true(&lab.the("nodes", "worker-1"), "Ready"), "50 s are given");
    let node = lab.wait("nodes", "worker-1", |node| taints(node).len() == 2).await;
    for kind in CONDITIONS {
        let condition = meta::condition(&node, kind).unwrap();
        assert_eq!(
            (&condition["status"], &condition["reason"], &condition["message"]),
            (&json!("Unknown"), &json!("NodeStatusUnknown"), &json!("Kubelet stopped posting node status."))
        );
    }
    assert_eq!(
        taints(&node),
        ["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"]
    );
    assert!(node["spec"]["taints"][0]["timeAdded"].is_string());
    let events = lab.events("worker-1");
    assert_eq!(events.last().unwrap(), "Normal NodeNotReady Node worker-1 status is now: NodeNotReady");
    let pod = lab.the("pods", "t/plain");
    let ready = meta::condition(&pod, "Ready").unwrap();
    assert_eq!((&ready["status"], ready.get("reason")), (&json!("False"), None));
    assert_eq!(lab.shows("plain").await, "1/1 Running 0");
    assert_eq!(lab.events("plain").last().unwrap(), "Warning NodeNotReady Node is not ready");
    // One tolerates for ten seconds and then goes, as far as it can; the other has its default of five minutes.
    lab.wait("pods", "t/impatient", meta::is_deleting).await;
    assert_eq!(
        lab.events("impatient").last().unwrap(),
        "Normal TaintManagerEviction Marking for deletion Pod t/impatient"
    );
    let target = lab.the("pods", "t/impatient");
    let disrupted = meta::condition(&target, "DisruptionTarget").unwrap();
    assert_eq!(disrupted["reason"], "DeletionByTaintManager");
    assert_eq!(disrupted["message"], "Taint manager: deleting due to NoExecute taint");
    assert_eq!(lab.shows("impatient").await, "1/1 Terminating 0");
    assert!(!meta::is_deleting(&lab.the("pods", "t/plain")));
    lab.pass(60).await;
    assert!(lab.get("pods", "t/impatient").is_some(), "without its kubelet it lingers");

    lab.machines.start("worker-1");
    lab.gone("pods", "t/impatient").await;
    let node = lab.wait("nodes", "worker-1", |node| taints(node).is_empty()).await;
    assert!(meta::is_condition_true(&node, "Ready"));
    lab.wait("pods", "t/plain", pods::is_ready).await;
    let cancelled = "Normal TaintManagerEviction Cancelling deletion of Pod t/plain";
    assert_eq!(lab.events("plain").last().unwrap(), cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_nobody_stands_for_is_never_ready() {
    let lab = Lab::new(0).await;
    lab.apply("{apiVersion: v1, kind: Node, metadata: {name: ghost}}").await;
    lab.pass(30).await;
    assert_eq!(
        taints(&lab.the("nodes", "ghost")),
        ["node.kubernetes.io/not-ready:NoSchedule"],
        "as it was admitted"
    );
    let node = lab.wait("nodes", "ghost", |node| taints(node).len() == 2).await;
    let ready = meta::condition(&node, "Ready").unwrap();
    assert_eq!(ready["reason"], "NodeStatusNeverUpdated");
    assert_eq!(ready["message"], "Kubelet never posted node status.");
    assert_eq!(
        lab.events("ghost"),
        ["Normal RegisteredNode Node ghost event: Registered Node ghost in Controller"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_cordoned_node_is_tainted_until_it_is_not() {
    let lab = Lab::new(1).await;
    lab.pass(1).await;
    lab.patch("nodes", "worker-1", "", "{spec: {unschedulable: true}}").await;
    let cordoned = |node: &Value| taints(node) == ["node.kubernetes.io/unschedulable:NoSchedule"];
    lab.wait("nodes", "worker-1", cordoned).await;
    lab.pass(2).await;
    let told = "Normal NodeNotSchedulable Node worker-1 status is now: NodeNotSchedulable";
    assert_eq!(lab.events("worker-1").last().unwrap(), told);
    lab.patch(
        "nodes",
        "worker-1",
        "",
        "{spec: {unschedulable: null, taints: [{key: k, effect: NoSchedule}]}}",
    )
    .await;
    lab.pass(2).await;
    assert_eq!(taints(&lab.the("nodes", "worker-1")), ["k:NoSchedule"], "taints of others stay");
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_deleted_node_are_collected_and_the_node_stays_gone() {
    let lab = Lab::new(1).await;
    lab.apply(POD).await;
    let pod = lab.phase("plain", "Running").await;
    lab.delete("nodes", "worker-1", None).await;
    lab.pass(35).await;
    assert_eq!(lab.shows("plain").await, "1/1 Running 0");
    let mut last = pod;
    lab.until("its end", |lab| match lab.get("pods", "t/plain") {
        Some(pod) => {
            last = pod;
            None
        }
        None => Some(()),
    })
    .await;
    lab.pass(30).await;
    assert!(lab.get("nodes", "worker-1").is_none(), "a kubelet registers once");
    let events = lab.events("worker-1");
    assert_eq!(
        events.last().unwrap(),
        "Normal RemovingNode Node worker-1 event: Removing Node worker-1 from Controller"
    );
    // Started again it registers again, and is soon ready.
    lab.machines.stop("worker-1");
    lab.pass(12).await;
    lab.machines.start("worker-1");
    let node = lab.wait("nodes", "worker-1", |node| taints(node).is_empty()).await;
    assert!(meta::is_condition_true(&node, "Ready"));
    let events = lab.events("worker-1");
    let kubelet: Vec<&str> = events.iter().rev().map(|e| e.split(' ').nth(1).unwrap()).take(7).collect();
    assert!(kubelet.contains(&"Starting") && kubelet.contains(&"NodeReady"), "{kubelet:?}");
}

#[tokio::test(start_paused = true)]
async fn a_no_execute_taint_evicts_who_does_not_tolerate_it() {
    let lab = Lab::new(1).await;
    let tolerant = |name: &str, seconds: &str| {
        POD.replace("plain", name)
            .replace("spec:", &format!("spec:\n  tolerations: [{{key: k, operator: Exists{seconds}}}]"))
    };
    lab.apply(POD).await;
    lab.apply(&tolerant("five", ", effect: NoExecute, tolerationSeconds: 5")).await;
    lab.apply(&tolerant("forever", "")).await;
    for name in ["plain", "five", "forever"] {
        lab.phase(name, "Running").await;
    }
    lab.patch("nodes", "worker-1", "", "{spec: {taints: [{key: k, value: v, effect: NoExecute}]}}").await;
    lab.wait("pods", "t/plain", meta::is_deleting).await;
    let start = lab.client.clock().now();
    lab.gone("pods", "t/plain").await;
    lab.wait("pods", "t/five", meta::is_deleting).await;
    let waited = lab.client.clock().now().duration_since(start).as_secs();
    assert!((4..=5).contains(&waited), "{waited}");
    lab.pass(600).await;
    assert_eq!(lab.shows("forever").await, "1/1 Running 0");
    assert!(
        lab.events("plain")
            .contains(&"Normal TaintManagerEviction Marking for deletion Pod t/plain".to_owned())
    );
    let sources: Vec<Value> =
        lab.events_about("plain").iter().map(|e| e["source"]["component"].clone()).collect();
    assert!(sources.contains(&json!("taint-eviction-controller")), "{sources:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pod_for_a_node_that_is_not_there_is_collected() {
    let lab = Lab::new(0).await;
    lab.apply(&POD.replace("spec:", "spec:\n  nodeName: nowhere")).await;
    lab.pass(30).await;
    assert_eq!(lab.shows("plain").await, "0/1 Pending 0");
    let mut last = None;
    lab.until("its end", |lab| match lab.get("pods", "t/plain") {
        Some(pod) => {
            last = Some(pod);
            None
        }
        None => Some(()),
    })
    .await;
    assert!(lab.events("plain").is_empty());
}
