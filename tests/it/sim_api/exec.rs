//! `kubectl exec`: what a command in a container says, how it ends, and what it leaves behind.

use super::kubectl::Shell;

async fn with_pod() -> Shell {
    let shell = Shell::new().await;
    shell.ok("kubectl run app --image=busybox:1.36 --env=GREETING=hello -- sh -c 'echo started > /tmp/own; sleep 3600'").await;
    shell.ok("kubectl wait --for=condition=Ready pod/app --timeout=60s").await;
    shell
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_says_what_it_says_and_ends_as_it_ends() {
    let shell = with_pod().await;
    assert_eq!(
        shell.ok("kubectl exec app -- sh -c 'echo $GREETING from $(hostname)'").await,
        "hello from app"
    );
    let (success, out, err) =
        shell.run("kubectl exec app -- sh -c 'echo out; echo err >&2; exit 7'; echo rc $?").await;
    assert_eq!(
        (success, out.as_str(), err.as_str()),
        (true, "out\nrc 7", "err\ncommand terminated with exit code 7")
    );
    assert_eq!(shell.ok("kubectl exec app -- cat /tmp/own").await, "started");
    shell.ok("kubectl exec app -- sh -c 'echo kept > /tmp/left'").await;
    assert_eq!(shell.ok("kubectl exec app -- cat /tmp/left").await, "kept", "a later command sees it");
    assert_eq!(shell.ok("printf 'a\\nb\\n' | kubectl exec -i app -- wc -l").await.trim(), "2");
    assert_eq!(shell.ok("echo 'echo by $GREETING' | kubectl exec -i app -- sh").await, "by hello");
}

/// What older clients speak, and newer ones when they are told to.
const SPDY: &str = "KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false kubectl";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_speak_spdy_are_served_alike() {
    let shell = with_pod().await;
    let (success, out, err) =
        shell.run(&format!("{SPDY} exec app -- sh -c 'echo out; echo err >&2; exit 7'; echo rc $?")).await;
    assert_eq!(
        (success, out.as_str(), err.as_str()),
        (true, "out\nrc 7", "err\ncommand terminated with exit code 7")
    );
    let many =
        shell.ok(&format!("seq 20000 | {SPDY} exec -i app -- sh -c 'cat; echo end' | tail -n 2")).await;
    assert_eq!(
        many, "20000\nend",
        "stdin that ends is read to its end, and output in many frames is all there"
    );
    assert_eq!(shell.ok(&format!("{SPDY} exec app -- sh -c 'sleep 1; echo late'")).await, "late");
    let loud = shell.run(&format!("{SPDY} exec app -v=9 -- true")).await.2;
    assert!(loud.contains("Upgrade: SPDY/3.1") || loud.contains("SPDY/3.1"), "{loud}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_run_is_told_in_the_words_of_the_runtime() {
    let shell = with_pod().await;
    let refused = async |line: &str| {
        let (success, out, err) = shell.run(line).await;
        assert!(!success, "{line}: {out}");
        err
    };
    let missing = refused("kubectl exec app -- nosuch").await;
    assert!(missing.starts_with("error: Internal error occurred: Internal error occurred: error executing command in container: failed to exec in container: failed to start exec "), "{missing}");
    assert!(
        missing.ends_with(
            "unable to start container process: exec: \"nosuch\": executable file not found in $PATH: unknown"
        ),
        "{missing}"
    );
    assert_eq!(
        refused("kubectl exec app -c nosuch -- true").await,
        "Error from server (BadRequest): container nosuch is not valid for pod app"
    );
    shell
        .ok("kubectl run web --image=nginx:1.27 && kubectl wait --for=condition=Ready pod/web --timeout=60s")
        .await;
    let unknown = refused("kubectl exec web -- nginx -t").await;
    assert!(
        unknown.contains("the simulated cluster does not do this: running \"nginx\" in a container"),
        "{unknown}"
    );
    shell.ok("kubectl run crash --image=busybox:1.36 -- sh -c 'exit 1'").await;
    shell.ok("kubectl wait --for=jsonpath='{.status.containerStatuses[0].state.waiting.reason}'=CrashLoopBackOff pod/crash --timeout=60s").await;
    assert_eq!(
        refused("kubectl exec crash -- true").await,
        "error: Internal error occurred: unable to upgrade connection: container not found (\"crash\")"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_connect_is_a_matter_of_roles_and_admission() {
    let shell = with_pod().await;
    shell.ok("kubectl create role viewer --verb=get,list --resource=pods && kubectl create rolebinding viewer --role=viewer --user=jane").await;
    let (success, _, err) = shell.run("kubectl exec app --as=jane -- true").await;
    assert!(!success && err.contains("User \"jane\" cannot create resource \"pods/exec\""), "{err}");
    shell.ok("kubectl create role shell --verb=create --resource=pods/exec && kubectl create rolebinding shell --role=shell --user=jane").await;
    assert_eq!(shell.ok("kubectl exec app --as=jane -- echo in").await, "in");
    let policy = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": { "name": "no-shell" },
            "spec": { "matchConstraints": { "resourceRules": [{ "apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CONNECT"], "resources": ["pods/exec"] }] },
                "validations": [{ "expression": "object.command[0] != 'sh'", "message": "no shells" }] } },
        { "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": "no-shell" },
            "spec": { "policyName": "no-shell", "validationActions": ["Deny"] } }] });
    shell.ok(&format!("kubectl create -f - <<'EOF'\n{policy}\nEOF")).await;
    assert_eq!(shell.ok("kubectl exec app -- echo in").await, "in");
    let (success, _, err) = shell.run("kubectl exec app -- sh -c 'echo in'").await;
    assert!(!success && err.contains("denied request: no shells"), "{err}");
}
