//! `kubectl logs`: which lines, of which run of which container, and what is said where there are none.

use super::kubectl::Shell;

/// Makes a Pod of BusyBox containers that each run a script.
async fn pod(shell: &Shell, name: &str, restart: &str, scripts: &[(&str, &str)]) {
    let containers: Vec<_> = scripts
        .iter()
        .map(|(name, script)| {
            serde_json::json!({ "name": name, "image": "busybox:1.36", "command": ["sh", "-c", script] })
        })
        .collect();
    let pod = serde_json::json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": { "restartPolicy": restart, "terminationGracePeriodSeconds": 1, "containers": containers } });
    shell.ok(&format!("kubectl create -f - <<'EOF'\n{pod}\nEOF")).await;
}

async fn refused(shell: &Shell, line: &str) -> String {
    let (success, out, err) = shell.run(line).await;
    assert!(!success, "{line}: {out}");
    err
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lines_that_are_asked_for_are_shown() {
    let shell = Shell::new().await;
    let script = "for i in 1 2 3; do echo line $i; done; echo oops >&2; printf unfinished; sleep 3600";
    pod(&shell, "app", "Always", &[("app", script)]).await;
    shell.ok("kubectl wait --for=condition=Ready pod/app --timeout=60s").await;
    assert_eq!(shell.ok("kubectl logs app").await, "line 1\nline 2\nline 3\noops");
    assert_eq!(shell.ok("kubectl logs app --tail=2").await, "line 3\noops");
    assert_eq!(shell.ok("kubectl logs app --tail=0").await, "");
    assert_eq!(shell.ok("kubectl logs app --limit-bytes=8").await, "line 1\nl");
    assert_eq!(shell.ok("kubectl logs app --since=1h").await.lines().count(), 4);
    assert_eq!(shell.ok("kubectl logs app --since-time=2100-01-01T00:00:00Z").await, "");
    let stamped = shell.ok("kubectl logs app --timestamps --tail=1").await;
    let (at, text) = stamped.split_once(' ').unwrap();
    assert_eq!(text, "oops");
    assert_eq!(
        (at.len(), at.parse::<jiff::Timestamp>().is_ok()),
        ("2026-11-23T12:00:00.000000000Z".len(), true)
    );
    assert_eq!(
        refused(&shell, "kubectl logs app --previous").await,
        "Error from server (BadRequest): previous terminated container \"app\" in pod \"app\" not found"
    );
    let negative =
        refused(&shell, "kubectl get --raw '/api/v1/namespaces/default/pods/app/log?tailLines=-1'").await;
    assert!(negative.contains("must be greater than or equal to 0"), "{negative}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_several_containers_must_be_named() {
    let shell = Shell::new().await;
    let scripts = [("web", "echo from web; sleep 3600"), ("side", "echo from side; sleep 3600")];
    pod(&shell, "two", "Always", &scripts).await;
    shell.ok("kubectl wait --for=condition=Ready pod/two --timeout=60s").await;
    let (_, out, err) = shell.run("kubectl logs two").await;
    assert_eq!((out.as_str(), err.as_str()), ("from web", "Defaulted container \"web\" out of: web, side"));
    assert_eq!(shell.ok("kubectl logs two -c side").await, "from side");
    let all = shell.ok("kubectl logs two --all-containers --prefix").await;
    let mut all: Vec<&str> = all.lines().collect();
    // kubectl asks for them in no certain order.
    all.sort_unstable();
    assert_eq!(all, ["[pod/two/side] from side", "[pod/two/web] from web"]);
    assert_eq!(
        refused(&shell, "kubectl get --raw /api/v1/namespaces/default/pods/two/log").await,
        "Error from server (BadRequest): a container name must be specified for pod two, choose one of: [web side]"
    );
    let raw = "kubectl get --raw '/api/v1/namespaces/default/pods/two/log?container=nosuch'";
    assert_eq!(
        refused(&shell, raw).await,
        "Error from server (BadRequest): container nosuch is not valid for pod two"
    );
    assert!(refused(&shell, "kubectl logs none").await.contains("pods \"none\" not found"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_reads_on_until_the_run_is_over() {
    let shell = Shell::new().await;
    pod(&shell, "job", "Never", &[("app", "echo a; sleep 1; echo b; sleep 1; printf end; exit 3")]).await;
    shell.ok("kubectl wait --for=jsonpath='{.status.phase}'=Running pod/job --timeout=60s").await;
    assert_eq!(shell.ok("kubectl logs -f job").await, "a\nb\nend");
    assert_eq!(shell.ok("kubectl logs job").await, "a\nb\nend", "what has ended can be read as well");
    pod(&shell, "gone", "Never", &[("app", "echo up; sleep 3600")]).await;
    shell.ok("kubectl wait --for=condition=Ready pod/gone --timeout=60s").await;
    let follow = shell.run("kubectl logs -f gone");
    let (told, deleted) = tokio::join!(follow, shell.ok("kubectl delete pod gone"));
    assert!(deleted.contains("deleted"));
    assert_eq!((told.0, told.1.as_str()), (true, "up"), "{}", told.2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_run_before_a_crash_is_kept_and_what_has_not_run_says_why() {
    let shell = Shell::new().await;
    pod(&shell, "crash", "Always", &[("app", "echo crashed; exit 1")]).await;
    let restarted =
        "kubectl wait --for=jsonpath='{.status.containerStatuses[0].restartCount}'=1 pod/crash --timeout=60s";
    shell.ok(restarted).await;
    assert_eq!(shell.ok("kubectl logs crash --previous").await, "crashed");
    shell.ok("kubectl run bad --image=no-such-image/at:all").await;
    let waiting = "kubectl wait --for=jsonpath='{.status.containerStatuses[0].state.waiting.reason}'=ImagePullBackOff pod/bad";
    shell.ok(waiting).await;
    assert_eq!(
        refused(&shell, "kubectl logs bad").await,
        "Error from server (BadRequest): container \"bad\" in pod \"bad\" is waiting to start: trying and failing to pull image"
    );
    shell.ok("kubectl run far --image=busybox:1.36 --overrides='{\"spec\":{\"nodeSelector\":{\"no\":\"where\"}}}'").await;
    assert_eq!(shell.ok("kubectl logs far").await, "", "a Pod without a node has said nothing");
}
