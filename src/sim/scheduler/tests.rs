//! Where Pods go and what is said when they go nowhere, as recorded on a cluster of a tainted control plane and a worker.

use serde_json::{Value, json};

use super::*;
use crate::sim::controllers::testing::Lab;

/// A Pod; `spec` is further YAML of its spec, in flow style.
fn pod(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, labels: {{app: {name}, all: x}}}}, spec: {{{spec} \
         terminationGracePeriodSeconds: 1, containers: [{{name: app, image: 'busybox:1.36', command: [sleep, '3600']}}]}}}}"
    )
}

fn requests(name: &str, spec: &str, resources: &str) -> String {
    pod(name, spec).replace("command:", &format!("resources: {{requests: {{{resources}}}}}, command:"))
}

fn node(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str()
}

async fn placed(lab: &Lab, name: &str) -> String {
    let pod = lab.wait("pods", &format!("t/{name}"), |pod| node(pod).is_some()).await;
    node(&pod).unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn why_no_node_will_do_is_said_in_upstreams_words() {
    let lab = Lab::new(1).await;
    let unhelpful = "no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for \
                     scheduling.";
    let affinity = |kind: &str, key: &str| {
        format!(
            "affinity: {{{kind}: {{requiredDuringSchedulingIgnoredDuringExecution: [{{labelSelector: {{matchLabels: {{app: \
             none}}}}, topologyKey: {key}}}]}}}},"
        )
    };
    let zone = "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: \
                [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]}}},";
    let spread = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule, \
                  labelSelector: {matchLabels: {app: spread}}}],";
    for (name, yaml, reason) in [
        (
            "selector",
            pod("selector", "nodeSelector: {disk: ssd},"),
            "node(s) didn't match Pod's node affinity/selector",
        ),
        ("zone", pod("zone", zone), "node(s) didn't match Pod's node affinity/selector"),
        ("cpu", requests("cpu", "", "cpu: '100'"), "Insufficient cpu"),
        ("memory", requests("memory", "", "memory: 900Gi"), "Insufficient memory"),
        (
            "near",
            pod("near", &affinity("podAffinity", "kubernetes.io/hostname")),
            "node(s) didn't match pod affinity rules",
        ),
        (
            "spread",
            pod("spread", spread),
            "node(s) didn't match pod topology spread constraints (missing required label)",
        ),
    ] {
        lab.apply(&yaml).await;
        lab.pass(1).await;
        let said =
            format!("0/2 nodes are available: 1 {reason}, 1 node(s) had untolerated taint(s). {unhelpful}");
        assert_eq!(lab.events(name), [format!("Warning FailedScheduling {said}")]);
        let pending = lab.the("pods", &format!("t/{name}"));
        let condition = meta::condition(&pending, "PodScheduled").unwrap();
        assert_eq!(
            (&condition["status"], &condition["reason"], &condition["message"]),
            (&json!("False"), &json!("Unschedulable"), &json!(said))
        );
        assert_eq!(pending["status"]["conditions"].as_array().unwrap().len(), 1);
        assert_eq!(lab.shows(name).await, "0/1 Pending 0");
    }
    // What is missing comes: the Pod is scheduled without being touched.
    lab.patch("nodes", "worker-1", "", "{metadata: {labels: {disk: ssd, zone: a}}}").await;
    assert_eq!(placed(&lab, "selector").await, "worker-1");
    assert_eq!(placed(&lab, "zone").await, "worker-1");
    assert_eq!(lab.events("selector")[1], "Normal Scheduled Successfully assigned t/selector to worker-1");
}

#[tokio::test(start_paused = true)]
async fn taints_and_cordons_keep_pods_off() {
    let lab = Lab::new(1).await;
    let control_plane = "nodeSelector: {node-role.kubernetes.io/control-plane: ''},";
    let tolerates =
        "tolerations: [{key: node-role.kubernetes.io/control-plane, operator: Exists, effect: NoSchedule}],";
    lab.apply(&pod("refused", control_plane)).await;
    lab.apply(&pod("tolerant", &format!("{control_plane} {tolerates}"))).await;
    assert_eq!(placed(&lab, "tolerant").await, "control-plane");
    assert_eq!(
        lab.events("refused"),
        [
            "Warning FailedScheduling 0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had \
          untolerated taint(s). no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not \
          helpful for scheduling."
        ]
    );
    lab.patch("nodes", "worker-1", "", "{spec: {unschedulable: true}}").await;
    lab.pass(1).await;
    lab.apply(&pod("cordoned", "")).await;
    lab.pass(1).await;
    let said = lab.events("cordoned");
    assert!(
        said[0].contains("0/2 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. no new"),
        "{said:?}"
    );
    lab.patch("nodes", "worker-1", "", "{spec: {unschedulable: null}}").await;
    assert_eq!(placed(&lab, "cordoned").await, "worker-1");
    let unwelcome = "{spec: {taints: [{key: k, effect: PreferNoSchedule}]}}";
    lab.patch("nodes", "worker-1", "", unwelcome).await;
    lab.apply(&pod("anyway", "")).await;
    assert_eq!(placed(&lab, "anyway").await, "worker-1", "a preference does not refuse");
}

#[tokio::test(start_paused = true)]
async fn a_gated_pod_and_one_of_another_scheduler_are_left_alone() {
    let lab = Lab::new(1).await;
    lab.apply(&pod("gated", "schedulingGates: [{name: example.com/hold}],")).await;
    lab.apply(&pod("other", "schedulerName: mine,")).await;
    lab.pass(30).await;
    assert_eq!(lab.shows("gated").await, "0/1 SchedulingGated 0");
    let condition = meta::condition(&lab.the("pods", "t/gated"), "PodScheduled").unwrap().clone();
    assert_eq!(condition["reason"], "SchedulingGated");
    assert_eq!(condition["message"], "Scheduling is blocked due to non-empty scheduling gates");
    assert!(lab.events("gated").is_empty() && lab.events("other").is_empty());
    assert!(lab.the("pods", "t/other")["status"].get("conditions").is_none());
    lab.patch("pods", "t/gated", "", "{spec: {schedulingGates: null}}").await;
    assert_eq!(placed(&lab, "gated").await, "worker-1");
}

#[tokio::test(start_paused = true)]
async fn ports_of_the_host_are_given_once() {
    let lab = Lab::new(1).await;
    let with_port = |name: &str, port: &str| {
        pod(name, "")
            .replace("command:", &format!("ports: [{{containerPort: 80, hostPort: 8088{port}}}], command:"))
    };
    lab.apply(&with_port("first", "")).await;
    lab.phase("first", "Running").await;
    lab.apply(&with_port("udp", ", protocol: UDP")).await;
    assert_eq!(placed(&lab, "udp").await, "worker-1", "another protocol is another port");
    lab.apply(&with_port("second", "")).await;
    lab.pass(1).await;
    assert_eq!(
        lab.events("second"),
        [
            "Warning FailedScheduling 0/2 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 1 \
          node(s) had untolerated taint(s). no new claims to deallocate, preemption: 0/2 nodes are available: 1 No \
          preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
        ]
    );
    lab.delete("pods", "t/first", None).await;
    assert_eq!(placed(&lab, "second").await, "worker-1");
}

#[tokio::test(start_paused = true)]
async fn affinity_between_pods_holds_both_ways() {
    let lab = Lab::new(2).await;
    let term = |kind: &str, app: &str| {
        format!(
            "affinity: {{{kind}: {{requiredDuringSchedulingIgnoredDuringExecution: [{{labelSelector: {{matchLabels: {{app: \
             {app}}}}}, topologyKey: kubernetes.io/hostname}}]}}}},"
        )
    };
    lab.apply(&pod("anchor", "nodeSelector: {kubernetes.io/hostname: worker-2},")).await;
    placed(&lab, "anchor").await;
    lab.apply(&pod("near", &term("podAffinity", "anchor"))).await;
    assert_eq!(placed(&lab, "near").await, "worker-2");
    lab.apply(&pod("far", &term("podAntiAffinity", "anchor"))).await;
    assert_eq!(placed(&lab, "far").await, "worker-1");
    // The one that is there does not want the other either.
    lab.apply(&pod("hermit", &term("podAntiAffinity", "visitor"))).await;
    let home = placed(&lab, "hermit").await;
    let visitor = format!("nodeSelector: {{kubernetes.io/hostname: {home}}},");
    lab.apply(&pod("visitor", &visitor)).await;
    lab.pass(1).await;
    let said = lab.events("visitor");
    assert!(said[0].contains("1 node(s) didn't satisfy existing pods anti-affinity rules"), "{said:?}");
    // The first of a group starts although nobody is there to be near to.
    lab.apply(&pod("first", &term("podAffinity", "first"))).await;
    placed(&lab, "first").await;
}

#[tokio::test(start_paused = true)]
async fn preferences_decide_between_nodes_that_will_do() {
    let lab = Lab::new(2).await;
    lab.patch("nodes", "worker-2", "", "{metadata: {labels: {disk: ssd}}}").await;
    let preferred = "affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, preference: \
                     {matchExpressions: [{key: disk, operator: In, values: [ssd]}]}}]}},";
    lab.apply(&pod("prefers", preferred)).await;
    assert_eq!(placed(&lab, "prefers").await, "worker-2");
    let near = "affinity: {podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 100, podAffinityTerm: \
                {labelSelector: {matchLabels: {app: prefers}}, topologyKey: kubernetes.io/hostname}}]}},";
    lab.apply(&pod("near", near)).await;
    assert_eq!(placed(&lab, "near").await, "worker-2");
    let far = near.replace("podAffinity:", "podAntiAffinity:");
    lab.apply(&pod("far", &far)).await;
    assert_eq!(placed(&lab, "far").await, "worker-1");
}

#[tokio::test(start_paused = true)]
async fn constraints_spread_pods_over_domains() {
    let lab = Lab::new(2).await;
    let spread = "topologySpreadConstraints: [{maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: \
                  DoNotSchedule, nodeTaintsPolicy: Honor, labelSelector: {matchLabels: {all: x}}}],";
    let mut on = std::collections::BTreeMap::new();
    for name in ["a", "b", "c", "d"] {
        lab.apply(&pod(name, spread)).await;
        *on.entry(placed(&lab, name).await).or_insert(0) += 1;
    }
    assert_eq!(on.into_values().collect::<Vec<_>>(), [2, 2]);
    // Where taints do not matter the control plane counts too, and has none.
    let counted = spread.replace(" nodeTaintsPolicy: Honor,", "");
    assert_ne!(counted, spread);
    lab.apply(&pod("e", &counted)).await;
    lab.pass(1).await;
    let said = lab.events("e");
    assert!(
        said[0].contains(
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match pod topology spread constraints."
        ),
        "{said:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_important_pod_makes_others_leave() {
    let lab = Lab::new(1).await;
    for (name, policy) in [("high", ""), ("never", ", preemptionPolicy: Never")] {
        lab.apply(&format!(
            "{{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {{name: {name}}}, value: 1000{policy}}}"
        ))
        .await;
    }
    let room = "memory: 7Gi";
    lab.apply(&requests("low", "", room)).await;
    lab.phase("low", "Running").await;
    lab.apply(&requests("patient", "priorityClassName: never,", room)).await;
    lab.pass(2).await;
    let full = "Warning FailedScheduling 0/2 nodes are available: 1 Insufficient memory, 1 node(s) had untolerated taint(s).";
    assert_eq!(
        lab.events("patient"),
        [format!(
            "{full} no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
        )]
    );
    lab.delete("pods", "t/patient", Some(0)).await;
    let followed = lab.follow("low");
    let high = lab.apply(&requests("high", "priorityClassName: high,", room)).await;
    let nominated = lab.wait("pods", "t/high", |pod| pod["status"]["nominatedNodeName"].is_string()).await;
    assert_eq!(nominated["status"]["nominatedNodeName"], "worker-1");
    let victim = lab.the("pods", "t/low");
    let condition = meta::condition(&victim, "DisruptionTarget").unwrap();
    assert_eq!(condition["reason"], "PreemptionByScheduler");
    assert_eq!(condition["message"], "default-scheduler: preempting to accommodate a higher priority pod");
    lab.phase("high", "Running").await;
    assert_eq!(followed.rows(), ["1/1 Running 0", "1/1 Terminating 0", "0/1 Error 0", "gone"]);
    assert_eq!(
        lab.events("high")[..2],
        [full.to_owned(), "Normal Scheduled Successfully assigned t/high to worker-1".to_owned()]
    );
    let preempted = format!("Normal Preempted Preempted by pod {} on node worker-1", meta::uid(&high));
    assert!(lab.events("low").contains(&preempted), "{:?}", lab.events("low"));
}

#[tokio::test(start_paused = true)]
async fn without_nodes_there_is_nothing_to_choose_from() {
    let lab = Lab::new(0).await;
    lab.delete("nodes", "control-plane", None).await;
    lab.apply(&pod("p", "")).await;
    lab.pass(1).await;
    assert_eq!(lab.events("p"), ["Warning FailedScheduling no nodes available to schedule pods"]);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_not_there_or_not_bound_holds_a_pod_up() {
    let lab = Lab::new(1).await;
    let uses = |name: &str| {
        pod(name, &format!("volumes: [{{name: v, persistentVolumeClaim: {{claimName: {name}}}}}],"))
    };
    lab.apply(&uses("missing")).await;
    lab.apply(
        "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: unbound}, spec: {storageClassName: nosuch, \
         accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}",
    )
    .await;
    lab.apply(&uses("unbound")).await;
    lab.pass(1).await;
    assert_eq!(
        lab.events("missing"),
        [
            "Warning FailedScheduling 0/2 nodes are available: persistentvolumeclaim \"missing\" not found. not found"
        ]
    );
    let said = lab.events_about("unbound");
    let said = said.iter().find(|event| event["reason"] == "FailedScheduling").unwrap();
    assert_eq!(
        said["message"],
        "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"
    );
}
