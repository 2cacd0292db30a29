//! `kubectl port-forward`, `attach`, `run -i`, `debug` and `cp`: what joins a client to a container.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use super::kubectl::Shell;

async fn with_web() -> Shell {
    let shell = Shell::new().await;
    shell.ok("kubectl run web --image=nginx:1.27 --port=80 --expose").await;
    shell.ok("kubectl run quiet --image=busybox:1.36 -- sleep infinity").await;
    shell.ok("kubectl wait --for=condition=Ready pod --all --timeout=60s").await;
    shell
}

/// Forwards a port while a command line runs that has it as `$PORT`.
async fn forwarded(shell: &Shell, kubectl: &str, what: &str, line: &str) -> (bool, String, String) {
    let mut command = shell.command(&format!("exec {kubectl} port-forward --address 127.0.0.1 {what}"));
    let mut forward = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(forward.stdout.take().unwrap());
    let (sender, port) = tokio::sync::oneshot::channel();
    // All of it is read: kubectl ends when it cannot say anything.
    std::thread::spawn(move || {
        let mut sender = Some(sender);
        for line in out.lines().map_while(Result::ok) {
            if line.starts_with("Forwarding from 127.0.0.1:")
                && let Some(sender) = sender.take()
            {
                let _ = sender.send(line.split([':', ' ']).nth(3).unwrap().to_owned());
            }
        }
    });
    let port = port.await.expect("kubectl says where it forwards from");
    let told = shell.run(&format!("PORT={port}; {line}")).await;
    forward.kill().unwrap();
    let output = forward.wait_with_output().unwrap();
    (told.0, told.1, told.2 + &String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forwarded_port_is_that_of_the_container() {
    let shell = with_web().await;
    let twice = "curl -sS http://127.0.0.1:$PORT/ && curl -sS -o /dev/null -w '%{http_code}' http://127.0.0.1:$PORT/nosuch";
    for kubectl in ["kubectl", "KUBECTL_PORT_FORWARD_WEBSOCKETS=false kubectl"] {
        let kubectl = kubectl.replace("KUBECTL", "env KUBECTL");
        for what in ["pod/web :80", "svc/web :80"] {
            let (success, out, err) = forwarded(&shell, &kubectl, what, twice).await;
            assert!(
                success && out.contains("Welcome to nginx!") && out.ends_with("404"),
                "{kubectl} {what}: {out}{err}"
            );
        }
    }
    let (success, _, err) =
        forwarded(&shell, "kubectl", "pod/quiet :80", "curl -sS http://127.0.0.1:$PORT/").await;
    assert!(
        !success
            && err.contains("an error occurred forwarding")
            && err.contains("connect: connection refused"),
        "{err}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_copied_both_ways() {
    let shell = with_web().await;
    let bytes: Vec<u8> = (0..=255).cycle().take(5000).collect();
    std::fs::write(shell.path("data.bin"), &bytes).unwrap();
    shell.ok("mkdir -p $HOME/tree/sub && echo one > $HOME/tree/a && echo two > $HOME/tree/sub/b").await;
    shell
        .ok("cd $HOME && kubectl cp data.bin quiet:/tmp/data.bin && kubectl cp quiet:/tmp/data.bin back.bin")
        .await;
    assert_eq!(std::fs::read(shell.path("back.bin")).unwrap(), bytes);
    shell.ok("cd $HOME && kubectl cp tree quiet:/tmp/").await;
    assert_eq!(shell.ok("kubectl exec quiet -- cat /tmp/tree/sub/b").await, "two");
    shell.ok("cd $HOME && kubectl cp default/quiet:/tmp/tree copied").await;
    assert_eq!(shell.ok("cat $HOME/copied/a $HOME/copied/sub/b").await, "one\ntwo");
    let (_, _, err) = shell.run("kubectl exec quiet -- tar cf - /nosuch").await;
    assert!(err.contains("No such file or directory"), "{err}");
    shell.ok("kubectl run bare --image=registry.k8s.io/pause:3.10 && kubectl wait --for=condition=Ready pod/bare").await;
    let (success, _, err) = shell.run("cd $HOME && kubectl cp bare:/etc/x x").await;
    assert!(!success && err.contains("exec: \"tar\": executable file not found in $PATH"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_for_one_command_says_what_it_found_and_goes() {
    let shell = with_web().await;
    shell.ok("kubectl -n kube-system rollout status deploy/coredns --timeout=60s").await;
    let out =
        shell.ok("kubectl run tmp --rm -i --restart=Never --image=busybox:1.36 -- wget -qO- -T 2 web").await;
    assert!(out.contains("Welcome to nginx!"), "{out}");
    assert!(shell.run("kubectl get pod tmp").await.2.contains("not found"));
    let out =
        shell.ok("echo typed | kubectl run tmp --rm -i --restart=Never --image=busybox:1.36 -- cat").await;
    assert!(out.contains("typed"), "{out}");
    let (_, out, err) =
        shell.run("echo 'echo from $(hostname); exit 3' | kubectl run tmp -i --restart=Never --image=busybox:1.36 -- sh; echo rc $?").await;
    assert!(out.contains("from tmp"), "{out}{err}");
    shell.ok("kubectl wait --for=jsonpath='{.status.phase}'=Failed pod/tmp --timeout=30s").await;
    let code = "kubectl get pod tmp -o jsonpath='{.status.containerStatuses[0].state.terminated.exitCode}'";
    assert_eq!(shell.ok(code).await, "3");
}

/// Types lines at a terminal that a command line has, and returns what it shows.
async fn typed(shell: &Shell, line: &str, keys: &[&str]) -> String {
    // `script` gives it a terminal; the keys come one after the other, as from somebody who reads.
    let keys: String = keys.iter().map(|keys| format!("sleep 2; printf '{keys}\\r'; ")).collect();
    shell.ok(&format!("({keys} sleep 1) | timeout 60 script -qec \"{line}\" /dev/null || true")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shell_at_a_terminal_goes_on_line_by_line() {
    let shell = with_web().await;
    let shown =
        typed(&shell, "kubectl exec -it quiet -- sh", &["x=5; cd /tmp", "echo $x > f; pwd", "exit 0"]).await;
    assert!(shown.contains("/tmp # ") && shown.contains("\r\n/tmp\r\n"), "{shown}");
    assert_eq!(shell.ok("kubectl exec quiet -- cat /tmp/f").await, "5");
    let shown = typed(
        &shell,
        "kubectl run box -it --rm --restart=Never --image=busybox:1.36",
        &["echo in $HOSTNAME", "exit"],
    )
    .await;
    assert!(shown.contains("in box"), "{shown}");
    assert!(shell.run("kubectl get pod box").await.2.contains("not found"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_is_debugged_from_another() {
    let shell = with_web().await;
    let shown = typed(
        &shell,
        "kubectl debug -it web --image=busybox:1.36 --target=web -c dbg",
        &["wget -qO- 127.0.0.1 | grep -c h1", "exit"],
    )
    .await;
    assert!(shown.contains("\r\n1\r\n"), "its network is that of the Pod: {shown}");
    shell.ok("kubectl wait --for=jsonpath='{.status.ephemeralContainerStatuses[0].state.terminated.exitCode}'=0 pod/web --timeout=30s").await;
    shell.ok("kubectl debug web --image=busybox:1.36 -c stays -- sleep infinity").await;
    shell.ok("kubectl wait --for=jsonpath='{.status.ephemeralContainerStatuses[1].state.running}' pod/web --timeout=30s || sleep 2").await;
    assert_eq!(shell.ok("kubectl exec web -c stays -- hostname").await, "web");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attaching_shows_what_is_said_from_then_on() {
    let shell = Shell::new().await;
    shell.ok("kubectl run count --image=busybox:1.36 --restart=Never -- sh -c 'for i in 1 2 3 4 5 6 7 8 9; do echo tick $i; sleep 1; done'").await;
    shell.ok("kubectl wait --for=condition=Ready pod/count --timeout=60s; sleep 1").await;
    for kubectl in ["kubectl", "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false kubectl"] {
        let shown = shell.ok(&format!("{kubectl} attach count")).await;
        if kubectl == "kubectl" {
            assert!(!shown.contains("tick 1\n") && shown.ends_with("tick 9"), "{shown}");
            shell.ok("kubectl delete pod count --now && kubectl run count --image=busybox:1.36 --restart=Never -- sh -c 'sleep 10; echo over'").await;
            shell.ok("kubectl wait --for=condition=Ready pod/count --timeout=60s").await;
        } else {
            assert_eq!(shown, "over");
        }
    }
}
