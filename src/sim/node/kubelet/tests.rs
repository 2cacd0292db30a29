//! What `kubectl get pods`, `kubectl describe` and the status say in each state a Pod can be in, as recorded on a cluster.

use serde_json::{Value, json};

use super::*;
use crate::sim::controllers::testing::Lab;

/// A Pod of one container `app`; `more` is further YAML of the container, in flow style.
fn pod(name: &str, policy: &str, more: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1, restartPolicy: \
         {policy}, containers: [{{name: app, image: 'busybox:1.36', {more}}}]}}}}"
    )
}

fn conditions(pod: &Value) -> Vec<String> {
    let text = |c: &Value, field: &str| c[field].as_str().unwrap_or_default().to_owned();
    let shown = |c: &Value| {
        format!("{}={} {} {}", text(c, "type"), text(c, "status"), text(c, "reason"), text(c, "message"))
    };
    meta::items(&pod["status"]["conditions"]).map(|c| shown(c).trim_end().to_owned()).collect()
}

/// Returns the events without those of images that had to be pulled.
fn events(lab: &Lab, pod: &str) -> Vec<String> {
    lab.events(pod).into_iter().filter(|event| !event.contains("Pull")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_healthy_pod_runs_and_ends_when_deleted() {
    let lab = Lab::new(1).await;
    let followed = lab.follow("p");
    lab.apply(&pod("p", "Always", "command: [sleep, '3600']")).await;
    let running = lab.phase("p", "Running").await;
    assert_eq!(
        conditions(&running),
        [
            "PodReadyToStartContainers=True",
            "Initialized=True",
            "Ready=True",
            "ContainersReady=True",
            "PodScheduled=True",
        ]
    );
    let status = &running["status"]["containerStatuses"][0];
    assert_eq!(status["image"], "docker.io/library/busybox:1.36");
    assert_eq!(
        (&status["ready"], &status["started"], &status["lastState"]),
        (&json!(true), &json!(true), &json!({}))
    );
    lab.delete("pods", "t/p", None).await;
    lab.gone("pods", "t/p").await;
    assert_eq!(
        followed.rows(),
        [
            "0/1 Pending 0",
            "0/1 ContainerCreating 0",
            "1/1 Running 0",
            "1/1 Terminating 0",
            "0/1 Error 0",
            "gone",
        ],
        "a sleep ignores SIGTERM: it is killed, and the Pod has failed just before it goes"
    );
    assert_eq!(
        events(&lab, "p"),
        [
            "Normal Scheduled Successfully assigned t/p to worker-1",
            "Normal Created Created container: app",
            "Normal Started Started container app",
            "Normal Killing Stopping container app",
        ]
    );
    let paths: Vec<Value> =
        lab.events_about("p").iter().map(|e| e["involvedObject"]["fieldPath"].clone()).collect();
    assert_eq!(paths.first().unwrap(), &Value::Null);
    assert!(paths[1..].iter().all(|path| path == "spec.containers{app}"), "{paths:?}");
}

#[tokio::test(start_paused = true)]
async fn a_crash_loop_backs_off_ever_longer() {
    let lab = Lab::new(1).await;
    let followed = lab.follow("p");
    lab.apply(&pod("p", "Always", "command: [sh, -c, 'echo started; exit 1']")).await;
    let start = lab.client.clock().now();
    let restarts = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or(0);
    let mut at = Vec::new();
    for count in 1..=7 {
        lab.wait("pods", "t/p", |pod| restarts(pod) == count).await;
        at.push(lab.client.clock().now().duration_since(start).as_secs());
    }
    let waits: Vec<i64> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, wanted) in waits.iter().zip([10, 20, 40, 80, 160, 300]) {
        assert!((wait - wanted).abs() <= 3, "{waits:?}");
    }
    assert_eq!(
        followed.rows()[..8],
        [
            "0/1 Pending 0",
            "0/1 ContainerCreating 0",
            "0/1 Error 0",
            "0/1 Error 1",
            "0/1 CrashLoopBackOff 1",
            "0/1 Error 2",
            "0/1 CrashLoopBackOff 2",
            "0/1 Error 3",
        ],
        "what ends at once is never seen running"
    );
    let looping = lab
        .wait("pods", "t/p", |pod| {
            pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        })
        .await;
    let status = &looping["status"]["containerStatuses"][0];
    let name = format!("p_t({})", meta::uid(&looping));
    assert_eq!(
        status["state"]["waiting"]["message"],
        format!("back-off 5m0s restarting failed container=app pod={name}")
    );
    let last = &status["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(1), &json!("Error")));
    assert_eq!(looping["status"]["phase"], "Running");
    assert_eq!(
        conditions(&looping)[2],
        "Ready=False ContainersNotReady containers with unready status: [app]"
    );
    let back_off = format!("Warning BackOff Back-off restarting failed container app in pod {name}");
    assert!(events(&lab, "p").contains(&back_off));
    let row = lab.row("/api/v1/namespaces/t/pods/p").await;
    assert!(row.starts_with("p 0/1 CrashLoopBackOff 7 ("), "{row}");
}

#[tokio::test(start_paused = true)]
async fn the_restart_policy_decides_what_an_end_means() {
    let lab = Lab::new(1).await;
    for (name, policy, code, phase, shown) in [
        ("never-0", "Never", 0, "Succeeded", "0/1 Completed 0"),
        ("never-3", "Never", 3, "Failed", "0/1 Error 0"),
        ("onfailure-0", "OnFailure", 0, "Succeeded", "0/1 Completed 0"),
    ] {
        lab.apply(&pod(name, policy, &format!("command: [sh, -c, 'exit {code}']"))).await;
        let ended = lab.phase(name, phase).await;
        assert_eq!(lab.shows(name).await, shown);
        let reason = if code == 0 { "PodCompleted" } else { "PodFailed" };
        let initialized = if code == 0 { "Initialized=True PodCompleted" } else { "Initialized=True" };
        assert_eq!(
            conditions(&ended),
            [
                "PodReadyToStartContainers=False".to_owned(),
                initialized.to_owned(),
                format!("Ready=False {reason}"),
                format!("ContainersReady=False {reason}"),
                "PodScheduled=True".to_owned(),
            ]
        );
        assert_eq!(ended["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], code);
    }
    lab.apply(&pod(
        "oom",
        "Never",
        "command: [sh, -c, 'tail /dev/zero'], resources: {limits: {memory: 10Mi}}",
    ))
    .await;
    lab.phase("oom", "Failed").await;
    assert_eq!(lab.shows("oom").await, "0/1 OOMKilled 0");
    let told = "sh -c 'echo why > /dev/termination-log; exit 2'";
    lab.apply(&pod("tells", "Never", &format!("command: [sh, -c, {:?}]", &told[7..told.len() - 1]))).await;
    let ended = lab.phase("tells", "Failed").await;
    assert_eq!(ended["status"]["containerStatuses"][0]["state"]["terminated"]["message"], "why\n");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_not_there_cannot_be_started() {
    let lab = Lab::new(1).await;
    let followed = lab.follow("p");
    lab.apply(&pod("p", "Always", "command: [nosuchcmd]")).await;
    lab.pass(15).await;
    assert_eq!(
        followed.rows(),
        [
            "0/1 Pending 0",
            "0/1 ContainerCreating 0",
            "0/1 RunContainerError 0",
            "0/1 RunContainerError 1",
            "0/1 CrashLoopBackOff 1",
            "0/1 RunContainerError 2",
            "0/1 CrashLoopBackOff 2",
        ]
    );
    let why = "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: \
               unable to start container process: exec: \"nosuchcmd\": executable file not found in $PATH: unknown";
    let last = lab.the("pods", "t/p")["status"]["containerStatuses"][0]["lastState"]["terminated"].clone();
    assert_eq!(
        (&last["exitCode"], &last["reason"], &last["message"], &last["startedAt"]),
        (&json!(128), &json!("StartError"), &json!(why), &json!("1970-01-01T00:00:00Z"))
    );
    assert_eq!(
        events(&lab, "p")[1..3],
        ["Normal Created Created container: app".to_owned(), format!("Warning Failed Error: {why}")]
    );
    assert!(!events(&lab, "p").iter().any(|event| event.contains("Started")));
    lab.apply(&pod("once", "Never", "command: [nosuchcmd]")).await;
    lab.phase("once", "Failed").await;
    assert_eq!(lab.shows("once").await, "0/1 StartError 0");
}

#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_had_is_asked_for_again_and_again() {
    let lab = Lab::new(1).await;
    let followed = lab.follow("p");
    let image = "registry.example.com/team/app:1.0";
    lab.apply(&pod("p", "Always", "").replace("busybox:1.36", image)).await;
    lab.pass(25).await;
    assert_eq!(
        followed.rows()[..6],
        [
            "0/1 Pending 0",
            "0/1 ContainerCreating 0",
            "0/1 ErrImagePull 0",
            "0/1 ImagePullBackOff 0",
            "0/1 ErrImagePull 0",
            "0/1 ImagePullBackOff 0",
        ]
    );
    let why = "failed to pull and unpack image \"registry.example.com/team/app:1.0\": failed to resolve reference \
               \"registry.example.com/team/app:1.0\": failed to do request: Head \
               \"https://registry.example.com/v2/team/app/manifests/1.0\": dial tcp: lookup registry.example.com on \
               172.18.0.1:53: no such host";
    assert_eq!(
        lab.events("p")[1..],
        [
            format!("Normal Pulling Pulling image {image:?}"),
            format!("Warning Failed Failed to pull image {image:?}: {why}"),
            "Warning Failed Error: ErrImagePull".to_owned(),
            format!("Normal BackOff Back-off pulling image {image:?}"),
            "Warning Failed Error: ImagePullBackOff".to_owned(),
        ]
    );
    let stuck = lab.the("pods", "t/p");
    assert_eq!(stuck["status"]["phase"], "Pending");
    let status = &stuck["status"]["containerStatuses"][0];
    assert_eq!(
        status["state"]["waiting"]["message"],
        format!("Back-off pulling image {image:?}: ErrImagePull: {why}")
    );
    assert_eq!((&status["imageID"], status.get("containerID")), (&json!(""), None));
    assert_eq!(conditions(&stuck)[0], "PodReadyToStartContainers=True");

    lab.apply(&pod("never", "Always", "imagePullPolicy: Never").replace("busybox:1.36", "app:1")).await;
    lab.pass(2).await;
    assert_eq!(lab.shows("never").await, "0/1 ErrImageNeverPull 0");
    lab.apply(&pod("odd", "Always", "").replace("busybox:1.36", "Nginx:latest")).await;
    lab.pass(2).await;
    assert_eq!(lab.shows("odd").await, "0/1 InvalidImageName 0");
    assert_eq!(
        lab.events("odd")[1..],
        [
            "Warning InspectFailed Failed to apply default image tag \"Nginx:latest\": couldn't parse image name \
             \"Nginx:latest\": invalid reference format: repository name (library/Nginx) must be lowercase",
            "Warning Failed Error: InvalidImageName",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_container_is_configured_with_must_be_there() {
    let lab = Lab::new(1).await;
    let secret =
        "env: [{name: A, valueFrom: {secretKeyRef: {name: late, key: k}}}], command: [sleep, '3600']";
    lab.apply(&pod("env", "Always", secret)).await;
    lab.pass(3).await;
    assert_eq!(lab.shows("env").await, "0/1 CreateContainerConfigError 0");
    let told = "Warning Failed Error: secret \"late\" not found";
    assert_eq!(events(&lab, "env").last().unwrap(), told);
    let volume = pod("volume", "Always", "command: [sleep, '3600']")
        .replace("restartPolicy", "volumes: [{name: v, secret: {secretName: late}}], restartPolicy");
    lab.apply(&volume).await;
    lab.pass(3).await;
    assert_eq!(lab.shows("volume").await, "0/1 ContainerCreating 0");
    assert_eq!(
        events(&lab, "volume").last().unwrap(),
        "Warning FailedMount MountVolume.SetUp failed for volume \"v\" : secret \"late\" not found"
    );
    assert_eq!(conditions(&lab.the("pods", "t/volume"))[0], "PodReadyToStartContainers=False");
    let user = "securityContext: {runAsNonRoot: true}, command: [sleep, '3600']";
    lab.apply(&pod("root", "Always", user)).await;
    lab.pass(3).await;
    let uid = lab.the("pods", "t/root")["metadata"]["uid"].as_str().unwrap().to_owned();
    assert_eq!(
        events(&lab, "root").last().unwrap(),
        &format!(
            "Warning Failed Error: container has runAsNonRoot and image will run as root (pod: \"root_t({uid})\", container: \
             app)"
        )
    );
    // What was missing comes, and they run.
    lab.apply("{apiVersion: v1, kind: Secret, metadata: {name: late}, stringData: {k: v}}").await;
    lab.phase("env", "Running").await;
    lab.phase("volume", "Running").await;
    assert_eq!(lab.shows("env").await, "1/1 Running 0");
}

#[tokio::test(start_paused = true)]
async fn init_containers_run_one_after_the_other_and_sidecars_stay() {
    let lab = Lab::new(1).await;
    let init = |list: &str| {
        pod("p", "Always", "command: [sleep, '3600']")
            .replace("restartPolicy", &format!("initContainers: [{list}], restartPolicy"))
    };
    let one = "{name: one, image: 'busybox:1.36', command: [sleep, '2']}";
    let two = "{name: two, image: 'busybox:1.36', command: [sleep, '2']}";
    let log = "{name: log, image: 'busybox:1.36', restartPolicy: Always, command: [sleep, '3600']}";
    let followed = lab.follow("p");
    lab.apply(&init(&format!("{one}, {log}, {two}"))).await;
    let waiting = lab
        .wait("pods", "t/p", |pod| pod["status"]["initContainerStatuses"][0]["state"]["running"].is_object())
        .await;
    assert_eq!(
        conditions(&waiting)[1],
        "Initialized=False ContainersNotInitialized containers with incomplete status: [one log two]"
    );
    assert_eq!(waiting["status"]["containerStatuses"][0]["state"]["waiting"]["reason"], "PodInitializing");
    lab.phase("p", "Running").await;
    assert_eq!(
        followed.rows(),
        [
            "0/2 Pending 0",
            "0/2 Init:0/3 0",
            "0/2 Init:1/3 0",
            "1/2 Init:2/3 0",
            "1/2 PodInitializing 0",
            "2/2 Running 0",
        ]
    );
    let fails = "{name: bad, image: 'busybox:1.36', command: [sh, -c, exit 1]}";
    let name = |yaml: String, name: &str| {
        yaml.replace("metadata: {name: p}", &format!("metadata: {{name: {name}}}"))
    };
    let followed = lab.follow("fails");
    lab.apply(&name(init(fails), "fails")).await;
    lab.pass(12).await;
    assert_eq!(
        followed.rows()[..5],
        [
            "0/1 Pending 0",
            "0/1 Init:0/1 0",
            "0/1 Init:Error 0",
            "0/1 Init:Error 1",
            "0/1 Init:CrashLoopBackOff 1",
        ]
    );
    lab.apply(&name(init(fails), "once").replace("restartPolicy: Always", "restartPolicy: Never")).await;
    lab.phase("once", "Failed").await;
    assert_eq!(lab.shows("once").await, "0/1 Init:Error 0");
}

#[tokio::test(start_paused = true)]
async fn a_failed_liveness_probe_restarts_and_readiness_only_tells() {
    let lab = Lab::new(1).await;
    let probe = |kind: &str| {
        format!(
            "command: [sleep, '3600'], {kind}: {{periodSeconds: 2, failureThreshold: 2, exec: {{command: [cat, /nosuch]}}}}"
        )
    };
    let followed = lab.follow("live");
    lab.apply(&pod("live", "Always", &probe("livenessProbe"))).await;
    lab.pass(40).await;
    assert_eq!(
        followed.rows()[..7],
        [
            "0/1 Pending 0",
            "0/1 ContainerCreating 0",
            "1/1 Running 0",
            "1/1 Running 1",
            "1/1 Running 2",
            "0/1 CrashLoopBackOff 2",
            "1/1 Running 3",
        ],
        "the kubelet ends and starts it in one breath"
    );
    let told = events(&lab, "live");
    assert!(
        told.contains(&"Warning Unhealthy Liveness probe failed: cat: can't open '/nosuch': No such file or directory\n".to_owned()),
        "{told:?}"
    );
    assert!(
        told.contains(&"Normal Killing Container app failed liveness probe, will be restarted".to_owned())
    );
    let last = &lab.the("pods", "t/live")["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!(last["exitCode"], 137);
    lab.apply(&pod("ready", "Always", &probe("readinessProbe"))).await;
    lab.pass(20).await;
    assert_eq!(lab.shows("ready").await, "0/1 Running 0");
    let unready = lab.the("pods", "t/ready");
    assert_eq!(
        conditions(&unready)[2],
        "Ready=False ContainersNotReady containers with unready status: [app]"
    );
}

#[tokio::test(start_paused = true)]
async fn a_deadline_fails_the_pod_when_its_containers_have_ended() {
    let lab = Lab::new(1).await;
    let followed = lab.follow("p");
    let yaml = pod("p", "Always", "command: [sleep, '3600']")
        .replace("restartPolicy", "activeDeadlineSeconds: 5, restartPolicy");
    lab.apply(&yaml).await;
    let failed = lab.phase("p", "Failed").await;
    let text = "Pod was active on the node longer than the specified deadline";
    assert_eq!(
        (&failed["status"]["reason"], &failed["status"]["message"]),
        (&json!("DeadlineExceeded"), &json!(text))
    );
    assert_eq!(followed.rows()[2..], ["1/1 Running 0", "0/1 Error 0"]);
    assert_eq!(
        events(&lab, "p")[3..],
        [format!("Normal DeadlineExceeded {text}"), "Normal Killing Stopping container app".to_owned()]
    );
}

#[tokio::test(start_paused = true)]
async fn a_kubelet_refuses_what_its_node_cannot_do() {
    let lab = Lab::new(1).await;
    let sysctl = pod("p", "Always", "").replace(
        "restartPolicy",
        "securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}, restartPolicy",
    );
    lab.apply(&sysctl).await;
    let refused = lab.phase("p", "Failed").await;
    assert_eq!(
        refused["status"]["message"],
        "Pod was rejected: forbidden sysctl: \"kernel.msgmax\" not allowlisted"
    );
    assert_eq!(lab.shows("p").await, "0/1 SysctlForbidden 0");
    assert!(refused["status"].get("containerStatuses").is_none());
    let armor = "securityContext: {appArmorProfile: {type: RuntimeDefault}}";
    lab.apply(&pod("armor", "Always", armor)).await;
    lab.phase("armor", "Failed").await;
    assert_eq!(lab.shows("armor").await, "0/1 AppArmor 0");
    assert_eq!(
        events(&lab, "armor")[1..],
        ["Warning AppArmor Cannot enforce AppArmor: AppArmor is not enabled on the host"]
    );
}
