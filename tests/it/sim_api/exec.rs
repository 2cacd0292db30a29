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

/// Makes a Pod of one container that sleeps, with more of its specification.
async fn sleeper(shell: &Shell, name: &str, image: &str, more: serde_json::Value) {
    let mut spec = serde_json::json!({ "containers": [{ "name": name, "image": image, "command": ["sleep", "infinity"] }] });
    for (field, value) in more.as_object().unwrap() {
        if field == "container" {
            for (field, value) in value.as_object().unwrap() {
                spec["containers"][0][field] = value.clone();
            }
        } else {
            spec[field] = value.clone();
        }
    }
    let pod =
        serde_json::json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec });
    shell.ok(&format!("kubectl create -f - <<'EOF'\n{pod}\nEOF")).await;
    shell.ok(&format!("kubectl wait --for=condition=Ready pod/{name} --timeout=60s")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_security_context_says_is_so() {
    let shell = Shell::new().await;
    shell.ok("kubectl create secret generic key --from-literal=pin=1234").await;
    let more = serde_json::json!({
        "securityContext": { "runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000 },
        "volumes": [{ "name": "tmp", "emptyDir": {} }, { "name": "key", "secret": { "secretName": "key", "defaultMode": 256 } }],
        "container": {
            "securityContext": { "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"], "add": ["NET_BIND_SERVICE"] }, "seccompProfile": { "type": "RuntimeDefault" } },
            "volumeMounts": [{ "name": "tmp", "mountPath": "/tmp" }, { "name": "key", "mountPath": "/key" }] } });
    sleeper(&shell, "tight", "busybox:1.36", more).await;
    let both = async |line: &str| {
        let (_, out, err) = shell.run(&format!("kubectl exec tight -- sh -c \"{line}\" 2>&1")).await;
        format!("{out}{err}").replace("\ncommand terminated with exit code 1", "")
    };
    assert_eq!(both("id").await, "uid=1000 gid=3000 groups=3000,2000");
    assert_eq!(both("whoami").await, "whoami: unknown uid 1000");
    assert_eq!(both("echo x > /x").await, "sh: can't create /x: Read-only file system");
    assert_eq!(both("echo kept > /tmp/x && cat /tmp/x").await, "kept");
    assert_eq!(both("mount | head -n 1").await, "overlay on / type overlay (ro,relatime)");
    assert_eq!(
        both("grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:' /proc/1/status").await,
        "CapEff:\t0000000000000000\nCapBnd:\t0000000000000400\nNoNewPrivs:\t1\nSeccomp:\t2"
    );
    assert_eq!(both("cat /key/pin").await, "1234", "its group may read it");
    let user = serde_json::json!({
        "volumes": [{ "name": "key", "secret": { "secretName": "key", "defaultMode": 256 } }],
        "container": { "securityContext": { "runAsUser": 1000 }, "volumeMounts": [{ "name": "key", "mountPath": "/key" }] } });
    sleeper(&shell, "user", "busybox:1.36", user).await;
    let denied = async |line: &str| shell.run(&format!("kubectl exec user -- {line}")).await.2;
    assert!(denied("cat /key/pin").await.starts_with("cat: can't open '/key/pin': Permission denied"));
    assert!(denied("touch /etc/x").await.starts_with("touch: /etc/x: Permission denied"));
    assert!(denied("cat /etc/shadow").await.starts_with("cat: can't open '/etc/shadow': Permission denied"));
    assert!(denied("dmesg").await.starts_with("dmesg: klogctl: Operation not permitted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_has_the_programs_that_it_has() {
    let shell = Shell::new().await;
    sleeper(&shell, "web", "nginx:1.27", serde_json::json!({})).await;
    sleeper(&shell, "box", "busybox:1.36", serde_json::json!({})).await;
    sleeper(&shell, "tool", "curlimages/curl:8.10.1", serde_json::json!({})).await;
    for (pod, program) in [
        ("web", "ps"),
        ("web", "wget"),
        ("web", "nosuch"),
        ("box", "curl"),
        ("box", "bash"),
        ("tool", "bash"),
    ] {
        let (success, _, err) = shell.run(&format!("kubectl exec {pod} -- {program}")).await;
        assert!(
            !success && err.contains(&format!("exec: {program:?}: executable file not found in $PATH")),
            "{pod} {program}: {err}"
        );
    }
    assert!(shell.ok("kubectl exec web -- curl --version").await.starts_with("curl "));
    assert_eq!(shell.ok("kubectl exec tool -- id -un").await, "curl_user");
    let (_, _, err) = shell.run("kubectl exec web -- cat /nosuch").await;
    assert!(err.starts_with("cat: /nosuch: No such file or directory"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_in_a_container_is_the_service_account_of_its_pod() {
    let shell = Shell::new().await;
    shell
        .ok("kubectl create sa bot && kubectl create role bot --verb=get,list --resource=pods,secrets")
        .await;
    shell.ok("kubectl create rolebinding bot --role=bot --serviceaccount=default:bot").await;
    shell.ok("kubectl create secret generic key --from-literal=pin=1234").await;
    sleeper(&shell, "bot", "bitnami/kubectl:1.34", serde_json::json!({ "serviceAccountName": "bot" })).await;
    let pods = shell.ok("kubectl exec bot -- kubectl get pods").await;
    assert!(
        pods.starts_with("NAME   READY   STATUS    RESTARTS   AGE\nbot    1/1     Running   0"),
        "{pods}"
    );
    assert_eq!(
        shell.ok("kubectl exec bot -- kubectl get secret key -o 'jsonpath={.data.pin}'").await,
        "MTIzNA=="
    );
    assert_eq!(shell.ok("kubectl exec bot -- kubectl auth can-i list po").await, "yes");
    assert_eq!(shell.run("kubectl exec bot -- kubectl auth can-i delete pods").await.1, "no");
    let (_, _, err) = shell.run("kubectl exec bot -- kubectl delete pod bot").await;
    assert!(err.starts_with("Error from server (Forbidden): pods \"bot\" is forbidden: User \"system:serviceaccount:default:bot\" cannot delete"), "{err}");
    let (_, _, err) = shell.run("kubectl exec bot -- kubectl drain node").await;
    assert!(err.starts_with("error: kubectl drain is not simulated in a container"), "{err}");
    shell.ok("kubectl run once --restart=Never --image=bitnami/kubectl:1.34 --overrides='{\"spec\":{\"serviceAccountName\":\"bot\"}}' -- get secrets -o name").await;
    shell.ok("kubectl wait --for=jsonpath='{.status.phase}'=Succeeded pod/once --timeout=30s").await;
    assert_eq!(shell.ok("kubectl logs once").await, "secret/key", "and so is the command of a Pod");
}
