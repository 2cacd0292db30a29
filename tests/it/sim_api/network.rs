//! Commands in containers that reach beyond them: names, Services, policies, the API.

use super::kubectl::Shell;

/// A web server behind a Service, a database, and clients to ask them from.
async fn with_town() -> Shell {
    let shell = Shell::new().await;
    shell.ok("kubectl create ns shop").await;
    shell.ok("kubectl -n shop run web --image=nginx:1.27 --port=80 --expose").await;
    shell.ok("kubectl -n shop run db --image=redis:7 --port=6379 --expose").await;
    shell.ok("kubectl -n shop run client --image=busybox:1.36 -l app=client -- sleep infinity").await;
    shell
        .ok("kubectl -n shop run curl --image=curlimages/curl:8.10.1 -l app=curl --command -- sleep infinity")
        .await;
    shell.ok("kubectl -n shop wait --for=condition=Ready pod --all --timeout=60s").await;
    shell.ok("kubectl -n kube-system rollout status deploy/coredns --timeout=60s").await;
    shell
}

async fn policy(shell: &Shell, name: &str, spec: &str) {
    let manifest = format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: shop}}\nspec: {spec}"
    );
    shell.ok(&format!("kubectl apply -f - <<'EOF'\n{manifest}\nEOF")).await;
}

/// Runs a line in a container; what it says on both streams, and its exit code.
async fn inside(shell: &Shell, pod: &str, line: &str) -> (String, i32) {
    let (_, out, err) =
        shell.run(&format!("kubectl -n shop exec {pod} -- sh -c \"{line}\" 2>&1; echo rc=$?")).await;
    let (said, code) = out.rsplit_once("rc=").unwrap_or_else(|| panic!("{out}{err}"));
    let said =
        said.trim_end().trim_end_matches(&format!("command terminated with exit code {code}")).trim_end();
    (said.to_owned(), code.trim().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_answer_by_name_and_what_is_not_there_says_so() {
    let shell = with_town().await;
    for name in ["web", "web.shop", "web.shop.svc.cluster.local"] {
        let (page, code) = inside(&shell, "client", &format!("wget -qO- -T 2 {name}")).await;
        assert!(code == 0 && page.contains("Welcome to nginx!"), "{name}: {code} {page}");
    }
    assert_eq!(
        inside(&shell, "curl", "curl -s -o /dev/null -w '%{http_code}' http://web.shop:80/nosuch").await,
        ("404".to_owned(), 0)
    );
    let (head, _) = inside(&shell, "curl", "curl -sI web").await;
    assert!(head.starts_with("HTTP/1.1 200 OK") && head.contains("Server: nginx/1.27"), "{head}");
    assert_eq!(
        inside(&shell, "curl", "curl -sS nosuch").await,
        ("curl: (6) Could not resolve host: nosuch".to_owned(), 6)
    );
    assert_eq!(
        inside(&shell, "client", "wget -q nosuch").await,
        ("wget: bad address 'nosuch'".to_owned(), 1)
    );
    assert_eq!(inside(&shell, "client", "nc -zv db 6379 2>&1 | grep -c open").await.0, "1");
    assert_eq!(inside(&shell, "client", "echo PING | nc db 6379").await, ("+PONG".to_owned(), 0));
    let (looked, code) = inside(&shell, "client", "nslookup db").await;
    assert!(code == 0 && looked.contains("Name:\tdb.shop.svc.cluster.local"), "{looked}");
    let (looked, code) = inside(&shell, "client", "nslookup db.nosuch").await;
    assert!(code == 1 && looked.contains("** server can't find db.nosuch: NXDOMAIN"), "{looked}");
    let (own, _) = inside(&shell, "client", "ping -c 1 \\$(hostname)").await;
    assert!(own.contains("1 packets received"), "{own}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_listen_refuses() {
    let shell = with_town().await;
    let ip = shell.ok("kubectl -n shop get pod web -o jsonpath={.status.podIP}").await;
    let (said, code) = inside(&shell, "curl", &format!("curl -sS {ip}:81")).await;
    assert_eq!(
        (code, said.starts_with(&format!("curl: (7) Failed to connect to {ip} port 81 after "))),
        (7, true),
        "{said}"
    );
    shell.ok("kubectl -n shop create service clusterip empty --tcp=80:80").await;
    assert_eq!(inside(&shell, "curl", "curl -s empty").await.1, 7, "a Service without endpoints");
    let (said, code) = inside(&shell, "client", "wget -q empty").await;
    assert!(
        code == 1 && said.contains("can't connect to remote host") && said.contains("Connection refused"),
        "{said}"
    );
    let (said, code) = inside(&shell, "curl", "curl -sS -m 2 http://192.0.2.1").await;
    assert_eq!(
        (code, said.contains("port 80 after")),
        (7, true),
        "there is nothing beyond the cluster: {said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_decide_and_what_they_block_times_out() {
    let shell = with_town().await;
    policy(
        &shell,
        "web",
        "{podSelector: {matchLabels: {run: web}}, policyTypes: [Ingress], \
        ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: 80}]}]}",
    )
    .await;
    assert_eq!(inside(&shell, "client", "wget -qO- -T 2 web | grep -c 'h1'").await, ("1".to_owned(), 0));
    let begun = tokio::time::Instant::now();
    assert_eq!(
        inside(&shell, "curl", "curl -sS -m 1 web").await,
        ("curl: (28) Connection timed out after 1000 milliseconds".to_owned(), 28)
    );
    assert!(begun.elapsed().as_millis() >= 1000, "it is really waited for");
    assert_eq!(
        inside(&shell, "curl", "curl -s --connect-timeout 1 db:6379 -o /dev/null").await.1,
        1,
        "another Pod is as open as before"
    );
    policy(
        &shell,
        "client",
        "{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: []}",
    )
    .await;
    let ip = shell.ok("kubectl -n shop get pod web -o jsonpath={.status.podIP}").await;
    assert_eq!(
        inside(&shell, "client", &format!("wget -q -T 1 -O- {ip}")).await,
        ("wget: download timed out".to_owned(), 1)
    );
    assert_eq!(
        inside(&shell, "client", "wget -q -T 1 -O- web").await,
        ("wget: bad address 'web'".to_owned(), 1),
        "names are asked for over the network too"
    );
    policy(&shell, "client", "{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: [\
        {to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}}], ports: [{port: 53, protocol: UDP}]}, \
        {to: [{podSelector: {matchLabels: {run: web}}}]}]}").await;
    assert_eq!(inside(&shell, "client", "wget -qO- -T 2 web | grep -c h1").await, ("1".to_owned(), 0));
    assert_eq!(inside(&shell, "client", "nc -z -w 1 db 6379").await, ("nc: timed out".to_owned(), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_token_of_a_pod_works_against_the_api() {
    let shell = with_town().await;
    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    let url = "https://kubernetes.default.svc/api/v1/namespaces/shop/pods";
    let ask = format!(
        "curl -s --cacert {folder}/ca.crt -H \\\"Authorization: Bearer \\$(cat {folder}/token)\\\" {url}"
    );
    let (refused, code) = inside(&shell, "curl", &ask).await;
    assert_eq!(code, 0);
    assert!(
        refused.contains("User \\\"system:serviceaccount:shop:default\\\" cannot list resource \\\"pods\\\""),
        "{refused}"
    );
    shell.ok("kubectl -n shop create role reader --verb=list --resource=pods").await;
    shell.ok("kubectl -n shop create rolebinding reader --role=reader --serviceaccount=shop:default").await;
    let (list, _) = inside(&shell, "curl", &ask).await;
    assert!(list.contains("\"kind\": \"PodList\""), "{list}");
    let (anonymous, _) = inside(&shell, "curl", &format!("curl -sk {url}")).await;
    assert!(
        anonymous.contains("User \\\"system:anonymous\\\" cannot list resource \\\"pods\\\""),
        "{anonymous}"
    );
    let (untrusted, code) = inside(&shell, "curl", &format!("curl -sS {url}")).await;
    assert!(code == 60 && untrusted.starts_with("curl: (60) SSL certificate problem"), "{untrusted}");
    let made = "curl -sk -o /dev/null -w '%{http_code}' -X POST -H 'Content-Type: application/json' -d '{}'";
    assert_eq!(inside(&shell, "curl", &format!("{made} {url}")).await.0, "403", "as anybody");
    let bare = serde_json::json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "bare", "namespace": "shop" },
        "spec": { "automountServiceAccountToken": false,
            "containers": [{ "name": "bare", "image": "curlimages/curl:8.10.1", "command": ["sleep", "infinity"] }] } });
    shell.ok(&format!("kubectl create -f - <<'EOF'\n{bare}\nEOF")).await;
    shell.ok("kubectl -n shop wait --for=condition=Ready pod/bare --timeout=60s").await;
    let (said, code) = inside(&shell, "bare", &format!("cat {folder}/token")).await;
    assert!(code == 1 && said.contains("No such file or directory"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_container_that_waits_for_a_service_goes_on_when_it_is_there() {
    let shell = Shell::new().await;
    let pod = serde_json::json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "app" }, "spec": {
        "initContainers": [{ "name": "wait", "image": "busybox:1.36",
            "command": ["sh", "-c", "until nslookup late; do echo not yet; sleep 1; done"] }],
        "containers": [{ "name": "app", "image": "nginx:1.27" }] } });
    shell.ok("kubectl -n kube-system rollout status deploy/coredns --timeout=60s").await;
    shell.ok(&format!("kubectl create -f - <<'EOF'\n{pod}\nEOF")).await;
    shell.ok("kubectl wait --for=jsonpath='{.status.initContainerStatuses[0].state.running}' pod/app --timeout=60s || true").await;
    assert_eq!(shell.ok("kubectl get pod app -o jsonpath={.status.phase}").await, "Pending");
    shell.ok("kubectl create service clusterip late --tcp=80:80").await;
    shell.ok("kubectl wait --for=condition=Ready pod/app --timeout=60s").await;
    let log = shell.ok("kubectl logs app -c wait").await;
    assert!(log.contains("not yet") && log.contains("Name:\tlate.default.svc.cluster.local"), "{log}");
}
