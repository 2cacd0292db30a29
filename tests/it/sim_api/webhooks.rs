//! Admission webhooks over real HTTPS: who is asked, what, and what becomes of the answers.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;

use super::kubectl::Shell;

type Respond = dyn Fn(&Value) -> Option<Value> + Send + Sync;

/// A webhook that listens.
pub(super) struct Server {
    pub(super) port: u16,
    /// Its certificate, as PEM.
    pub(super) certificate: String,
    asked: Arc<Mutex<Vec<Value>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers each document with what `respond` makes of it; with nothing, never.
    pub(super) async fn start(respond: impl Fn(&Value) -> Option<Value> + Send + Sync + 'static) -> Self {
        let names = ["127.0.0.1", "hook.default.svc"].map(str::to_owned);
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (heard, respond): (_, Arc<Respond>) = (asked.clone(), Arc::new(respond));
        let task = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (acceptor, heard, respond) = (acceptor.clone(), heard.clone(), respond.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                        let (heard, respond) = (heard.clone(), respond.clone());
                        async move {
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            let document: Value = serde_json::from_slice(&body).unwrap();
                            let answer = respond(&document);
                            heard.lock().unwrap().push(document);
                            let Some(answer) = answer else { return std::future::pending().await };
                            // A test may want a failure of HTTP.
                            let code =
                                answer["httpStatus"].as_u64().and_then(|code| u16::try_from(code).ok());
                            let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
                            *response.status_mut() = code.unwrap_or(200).try_into().unwrap();
                            Ok::<_, Infallible>(response)
                        }
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { port, certificate: cert.pem(), asked, task }
    }

    /// Answers AdmissionReviews with what `respond` makes of their requests.
    async fn reviewing(respond: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        Self::start(move |review| {
            let mut response = respond(&review["request"]);
            response["uid"] = review["request"]["uid"].clone();
            Some(json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response }))
        })
        .await
    }

    /// Returns what was asked so far, and forgets it.
    pub(super) fn heard(&self) -> Vec<Value> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn client(&self) -> Value {
        json!({ "url": format!("https://127.0.0.1:{}/review", self.port), "caBundle": bundle(&self.certificate) })
    }
}

pub(super) fn bundle(pem: &str) -> String {
    STANDARD.encode(pem)
}

fn patch(operations: &Value) -> Value {
    json!({ "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string()) })
}

/// A webhook for new ConfigMaps.
fn hook(name: &str, client: &Value, more: Value) -> Value {
    let mut hook = json!({ "name": name, "clientConfig": client, "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"] }] });
    for (key, value) in more.as_object().unwrap() {
        hook[key] = value.clone();
    }
    hook
}

async fn register(shell: &Shell, kind: &str, name: &str, hooks: &[Value]) {
    let configuration = json!({ "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": format!("{kind}WebhookConfiguration"), "metadata": { "name": name }, "webhooks": hooks });
    shell.ok(&format!("kubectl apply -f - <<'EOF'\n{configuration}\nEOF")).await;
}

async fn refused(shell: &Shell, line: &str) -> String {
    let (success, out, err) = shell.run(line).await;
    assert!(!success, "{line}: {out}");
    err
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validating_webhook_is_asked_and_may_refuse() {
    let shell = Shell::new().await;
    let server = Server::reviewing(|request| match request["name"].as_str().unwrap_or_default() {
        "plain" => json!({ "allowed": false }),
        "told" => json!({ "allowed": false, "status": { "message": "not this one" } }),
        "coded" => json!({ "allowed": false, "warnings": ["mind the gap"],
            "status": { "code": 403, "reason": "Forbidden", "message": "by law" } }),
        _ => json!({ "allowed": true, "warnings": ["thin ice"] }),
    })
    .await;
    register(&shell, "Validating", "deny", &[hook("deny.example.com", &server.client(), json!({}))]).await;
    let denied = "admission webhook \"deny.example.com\" denied the request";
    assert_eq!(
        refused(&shell, "kubectl create cm plain").await,
        format!("error: failed to create configmap: {denied} without explanation")
    );
    assert_eq!(
        refused(&shell, "kubectl create cm told").await,
        format!("error: failed to create configmap: {denied}: not this one")
    );
    let manifest = "kubectl apply -f - <<< '{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"coded\"}}'";
    assert_eq!(
        refused(&shell, manifest).await,
        format!(
            "Warning: mind the gap\nError from server (Forbidden): error when creating \"STDIN\": {denied}: by law"
        )
    );
    server.heard();
    let (success, out, err) = shell.run("kubectl create cm good --from-literal=a=b --dry-run=server").await;
    assert_eq!((success, out.as_str()), (true, "configmap/good created (server dry run)"));
    assert_eq!(err, "Warning: thin ice");
    let review = &server.heard()[0];
    assert_eq!(
        (&review["apiVersion"], &review["kind"]),
        (&json!("admission.k8s.io/v1"), &json!("AdmissionReview"))
    );
    let request = &review["request"];
    assert_eq!(request["kind"], json!({ "group": "", "version": "v1", "kind": "ConfigMap" }));
    assert_eq!(request["resource"], json!({ "group": "", "version": "v1", "resource": "configmaps" }));
    assert_eq!(request["requestKind"], request["kind"]);
    assert_eq!((&request["operation"], &request["dryRun"]), (&json!("CREATE"), &json!(true)));
    assert_eq!(request["userInfo"]["username"], "kubernetes-admin");
    assert_eq!((&request["object"]["data"]["a"], &request["oldObject"]), (&json!("b"), &Value::Null));
    assert_eq!(request["options"]["kind"], "CreateOptions");
    shell.ok("kubectl create cm good").await;
    server.heard();
    shell.ok("kubectl delete cm good").await;
    let review = &server.heard()[0]["request"];
    assert_eq!((&review["operation"], &review["object"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(review["oldObject"]["metadata"]["name"], "good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selectors_conditions_and_rules_narrow_who_is_asked() {
    let shell = Shell::new().await;
    let server = Server::reviewing(|_| json!({ "allowed": false })).await;
    let client = server.client();
    let one = |more| [hook("narrow.example.com", &client, more)];
    register(
        &shell,
        "Validating",
        "a",
        &one(json!({ "namespaceSelector": { "matchLabels": { "hook": "on" } } })),
    )
    .await;
    shell.ok("kubectl create ns on && kubectl label ns on hook=on").await;
    shell.ok("kubectl create cm free").await;
    refused(&shell, "kubectl create cm held -n on").await;
    register(
        &shell,
        "Validating",
        "a",
        &one(json!({ "objectSelector": { "matchLabels": { "held": "yes" } } })),
    )
    .await;
    shell.ok("kubectl create cm held -n on").await;
    refused(&shell, "kubectl label cm free held=yes").await;
    let conditions = json!({ "matchConditions": [
        { "name": "not-root", "expression": "request.userInfo.username != 'kubernetes-admin'" },
        { "name": "named", "expression": "object.metadata.name.startsWith('c')" }] });
    register(&shell, "Validating", "a", &one(conditions)).await;
    shell.ok("kubectl create cm by-admin").await;
    shell.ok("kubectl create clusterrolebinding all --clusterrole=cluster-admin --user=jane").await;
    shell.ok("kubectl create cm open --as=jane").await;
    refused(&shell, "kubectl create cm closed --as=jane").await;
    let faulty = json!({ "matchConditions": [{ "name": "x", "expression": "object.data.none == '1'" }] });
    register(&shell, "Validating", "a", &one(faulty.clone())).await;
    let why = refused(&shell, "kubectl create cm faulty").await;
    assert!(why.contains("configmaps \"faulty\" is forbidden: expression 'object.data.none == '1'' resulted in error: no such key: "), "{why}");
    let mut open = faulty;
    open["failurePolicy"] = json!("Ignore");
    register(&shell, "Validating", "a", &one(open)).await;
    shell.ok("kubectl create cm faulty").await;
    // The configurations themselves are never judged.
    let all = json!({ "rules": [{ "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["*"] }],
        "namespaceSelector": { "matchExpressions": [{ "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"] }] } });
    register(&shell, "Validating", "a", &one(all)).await;
    refused(&shell, "kubectl create ns other").await;
    shell.ok("kubectl delete validatingwebhookconfiguration a").await;
    shell.ok("kubectl create ns other").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_asked_fails_closed_or_open() {
    let shell = Shell::new().await;
    let silent = Server::start(|_| None).await;
    let strange = Server::start(|_| {
        Some(json!({ "apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview" }))
    })
    .await;
    let old = Server::start(|review| {
        Some(json!({ "apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview",
            "response": { "uid": review["request"]["uid"], "allowed": true } }))
    })
    .await;
    let closed = {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let url = |port: u16| format!("https://127.0.0.1:{port}/v");
    let foreign = json!({ "url": url(silent.port), "caBundle": bundle(&old.certificate) });
    let nameless = json!({ "url": format!("https://localhost:{}/v", silent.port), "caBundle": bundle(&silent.certificate) });
    let service = |name: &str| json!({ "service": { "namespace": "default", "name": name, "path": "/v" } });
    shell.ok("kubectl create service clusterip web --tcp=443:8443").await;
    let address = shell.ok("kubectl get service web -o jsonpath={.spec.clusterIP}").await;
    let astray = Server::start(|_| {
        Some(json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": { "uid": "another", "allowed": true } }))
    })
    .await;
    let mut kinds = ["Validating", "Mutating"];
    let post =
        |port: u16| format!("failed to call webhook: Post \"https://127.0.0.1:{port}/v?timeout=1s\": ");
    for (client, why) in [
        (json!({ "url": url(closed) }), format!("{}dial tcp 127.0.0.1:{closed}: connect: connection refused", post(closed))),
        (
            foreign,
            format!("{}tls: failed to verify certificate: x509: certificate signed by unknown authority", post(silent.port)),
        ),
        (
            nameless,
            format!(
                "failed to call webhook: Post \"https://localhost:{}/v?timeout=1s\": tls: failed to verify certificate: \
                 x509: certificate is valid for hook.default.svc, not localhost",
                silent.port
            ),
        ),
        (json!({ "url": url(silent.port), "caBundle": bundle(&silent.certificate) }), format!("{}context deadline exceeded", post(silent.port))),
        (
            json!({ "url": url(strange.port), "caBundle": bundle(&strange.certificate) }),
            "received invalid webhook response: webhook response was absent".to_owned(),
        ),
        (
            json!({ "url": url(old.port), "caBundle": bundle(&old.certificate) }),
            "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, \
             got admission.k8s.io/v1beta1, Kind=AdmissionReview"
                .to_owned(),
        ),
        (json!({ "url": url(astray.port), "caBundle": bundle(&astray.certificate) }), "uid".to_owned()),
        (
            service("nosuch"),
            "failed to call webhook: Post \"https://nosuch.default.svc:443/v?timeout=1s\": service \"nosuch\" not found".to_owned(),
        ),
        (
            service("web"),
            format!(
                "failed to call webhook: Post \"https://web.default.svc:443/v?timeout=1s\": dial tcp {address}:443: connect: \
                 connection refused"
            ),
        ),
    ] {
        let hooks = |policy: &str| [hook("far.example.com", &client, json!({ "timeoutSeconds": 1, "failurePolicy": policy }))];
        // Each failure of one kind, in turns.
        kinds.rotate_left(1);
        let kind = kinds[0];
        register(&shell, kind, "far", &hooks("Fail")).await;
        let message = format!("Internal error occurred: failed calling webhook \"far.example.com\": {why}");
        let told = refused(&shell, "kubectl create cm x").await;
        if why == "uid" {
            let asked = astray.heard()[0]["request"]["uid"].as_str().unwrap().to_owned();
            let why = format!("received invalid webhook response: expected response.uid={asked:?}, got \"another\"");
            assert!(told.ends_with(&why), "{told}");
        } else {
            assert_eq!(told, format!("error: failed to create configmap: {message}"));
        }
        register(&shell, kind, "far", &hooks("Ignore")).await;
        shell.ok("kubectl create cm x").await;
        shell.ok(&format!("kubectl delete {kind}webhookconfiguration far && kubectl delete cm x")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_leads_out_of_the_cluster_is_reached() {
    let shell = Shell::new().await;
    let server = Server::reviewing(|_| json!({ "allowed": false, "status": { "message": "reached" } })).await;
    shell.ok("kubectl create service externalname hook --external-name=localhost").await;
    let client = json!({ "caBundle": bundle(&server.certificate),
        "service": { "namespace": "default", "name": "hook", "path": "/v", "port": server.port } });
    register(&shell, "Validating", "out", &[hook("out.example.com", &client, json!({}))]).await;
    assert!(refused(&shell, "kubectl create cm x").await.ends_with("denied the request: reached"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mutating_webhook_may_refuse_and_knows_one_form_of_patch() {
    let shell = Shell::new().await;
    let server = Server::reviewing(|request| match request["name"].as_str().unwrap_or_default() {
        "no" => json!({ "allowed": false, "status": { "message": "not this one" } }),
        _ => json!({ "allowed": true, "patchType": "MergePatch", "patch": STANDARD.encode("[{\"op\":\"test\"}]") }),
    })
    .await;
    register(&shell, "Mutating", "m", &[hook("m.example.com", &server.client(), json!({}))]).await;
    assert_eq!(
        refused(&shell, "kubectl create cm no").await,
        "error: failed to create configmap: admission webhook \"m.example.com\" denied the request: not this one"
    );
    let why = refused(&shell, "kubectl create cm merged").await;
    assert!(why.contains("failed calling webhook \"m.example.com\": "), "{why}");
    assert!(!shell.run("kubectl get cm merged").await.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutating_webhooks_patch_and_are_asked_again() {
    let shell = Shell::new().await;
    let first = Server::reviewing(|request| {
        let seen = request["object"]["metadata"]["labels"]["second"].is_string();
        if seen {
            return patch(&json!([{ "op": "add", "path": "/metadata/labels/saw", "value": "second" }]));
        }
        json!({ "allowed": true })
    })
    .await;
    let second = Server::reviewing(|_| {
        patch(&json!([{ "op": "add", "path": "/metadata/labels/second", "value": "was-here" }, { "op": "add",
            "path": "/spec/containers/-", "value": { "name": "side", "image": "busybox:1.36", "command": ["sleep", "9"] } }]))
    })
    .await;
    let pods = json!([{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"] }]);
    let hooks = [
        hook(
            "first.example.com",
            &first.client(),
            json!({ "rules": pods, "reinvocationPolicy": "IfNeeded" }),
        ),
        hook("second.example.com", &second.client(), json!({ "rules": pods })),
    ];
    register(&shell, "Mutating", "both", &hooks).await;
    shell.ok("kubectl run web --image=nginx:1.27").await;
    let pod: Value = serde_json::from_str(&shell.ok("kubectl get pod web -o json").await).unwrap();
    assert_eq!(pod["metadata"]["labels"], json!({ "run": "web", "second": "was-here", "saw": "second" }));
    assert_eq!(
        pod["spec"]["containers"][1]["imagePullPolicy"], "IfNotPresent",
        "a default of what was added"
    );
    assert_eq!(
        pod["spec"]["containers"][1]["volumeMounts"].as_array().unwrap().len(),
        1,
        "others had their turn again"
    );
    assert_eq!(pod["spec"]["volumes"].as_array().unwrap().len(), 1, "and did nothing twice");
    assert_eq!((first.heard().len(), second.heard().len()), (2, 1));

    let bad = Server::reviewing(|request| match request["name"].as_str().unwrap() {
        "missing" => patch(&json!([{ "op": "add", "path": "/none/x", "value": 1 }])),
        "typed" => patch(&json!([{ "op": "add", "path": "/data", "value": 7 }])),
        "garbled" => {
            json!({ "allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode("nonsense") })
        }
        _ => json!({ "allowed": true, "patch": STANDARD.encode("[]") }),
    })
    .await;
    register(&shell, "Mutating", "both", &[hook("bad.example.com", &bad.client(), json!({}))]).await;
    let internal = "error: failed to create configmap: Internal error occurred: ";
    assert_eq!(
        refused(&shell, "kubectl create cm missing").await,
        format!("{internal}add operation does not apply: doc is missing path: \"/none/x\": missing value")
    );
    let typed = refused(&shell, "kubectl create cm typed").await;
    assert!(
        typed.contains(
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type map[string]string"
        ),
        "{typed}"
    );
    assert_eq!(
        refused(&shell, "kubectl create cm garbled").await,
        format!(
            "{internal}failed calling webhook \"bad.example.com\": received undecodable patch in webhook response: invalid \
             character 'o' in literal null (expecting 'u')"
        )
    );
    assert_eq!(
        refused(&shell, "kubectl create cm half").await,
        format!(
            "{internal}failed calling webhook \"bad.example.com\": received invalid webhook response: webhook returned \
             response.patch but not response.patchType"
        )
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_gets_the_version_that_it_asks_for() {
    let shell = Shell::new().await;
    let server = Server::reviewing(|_| json!({ "allowed": true })).await;
    let scaler = |version: &str, more: Value| {
        let mut hook = hook("scaler.example.com", &server.client(), more);
        hook["rules"] = json!([{ "apiGroups": ["autoscaling"], "apiVersions": [version],
            "resources": ["horizontalpodautoscalers"], "operations": ["CREATE"] }]);
        hook
    };
    let create = |name: &str| {
        format!(
            "kubectl create -f - <<< '{}'",
            json!({ "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": { "name": name },
                "spec": { "maxReplicas": 2, "targetCPUUtilizationPercentage": 50,
                    "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "web" } } })
        )
    };
    register(&shell, "Validating", "v", &[scaler("v2", json!({}))]).await;
    shell.ok(&create("a")).await;
    let request = &server.heard()[0]["request"];
    assert_eq!(
        (&request["kind"]["version"], &request["requestKind"]["version"]),
        (&json!("v2"), &json!("v1"))
    );
    assert_eq!(request["object"]["apiVersion"], "autoscaling/v2");
    assert_eq!(request["object"]["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
    register(&shell, "Validating", "v", &[scaler("v2", json!({ "matchPolicy": "Exact" }))]).await;
    shell.ok(&create("b")).await;
    assert!(server.heard().is_empty());
    register(&shell, "Validating", "v", &[scaler("v1", json!({ "matchPolicy": "Exact" }))]).await;
    shell.ok(&create("c")).await;
    assert_eq!(server.heard()[0]["request"]["object"]["spec"]["targetCPUUtilizationPercentage"], 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subresources_are_judged_by_their_own_objects() {
    let shell = Shell::new().await;
    let server =
        Server::reviewing(|request| json!({ "allowed": request["object"]["spec"]["replicas"] != 9 })).await;
    let rules = |resources: &[&str]| {
        json!({ "rules": [{ "apiGroups": ["*"], "apiVersions": ["*"], "resources": resources, "operations": ["*"] }],
            "namespaceSelector": { "matchLabels": { "hook": "on" } } })
    };
    shell.ok("kubectl label ns default hook=on && kubectl create deployment web --image=nginx:1.27").await;
    let hooks = |resources: &[&str]| [hook("sub.example.com", &server.client(), rules(resources))];
    register(&shell, "Validating", "sub", &hooks(&["deployments"])).await;
    shell.ok("kubectl scale deployment web --replicas=9").await;
    register(&shell, "Validating", "sub", &hooks(&["deployments/scale"])).await;
    shell.ok("kubectl scale deployment web --replicas=1").await;
    let request = &server.heard()[0]["request"];
    assert_eq!(request["kind"], json!({ "group": "autoscaling", "version": "v1", "kind": "Scale" }));
    assert_eq!(
        (&request["resource"]["resource"], &request["subResource"]),
        (&json!("deployments"), &json!("scale"))
    );
    assert_eq!(
        (&request["oldObject"]["spec"]["replicas"], &request["object"]["spec"]["replicas"]),
        (&json!(9), &json!(1))
    );
    assert!(
        refused(&shell, "kubectl scale deployment web --replicas=9").await.contains("denied the request")
    );
    shell
        .ok("kubectl run app --image=nginx:1.27 && kubectl wait --for=condition=Ready pod/app --timeout=60s")
        .await;
    server.heard();
    register(&shell, "Validating", "sub", &hooks(&["pods/eviction"])).await;
    let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "app" } });
    shell
        .ok(&format!(
            "kubectl create --raw /api/v1/namespaces/default/pods/app/eviction -f - <<< '{eviction}'"
        ))
        .await;
    let request = &server.heard()[0]["request"];
    assert_eq!(request["kind"], json!({ "group": "policy", "version": "v1", "kind": "Eviction" }));
}
