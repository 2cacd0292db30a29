//! The simulated API over HTTP: reads, writes and watches by Kubernetes' rules, for whatever client asks.

mod answers;
mod clients;
mod conversions;
mod copy;
mod crash;
mod exec;
mod image_policy;
mod kubectl;
mod logs;
mod mutating_policies;
mod network;
mod port_forward;
mod properties;
mod tokens;
mod watches;
mod webhooks;

use std::sync::Arc;

use cks_lab::clock::SystemClock;
use cks_lab::sim::api::{Api, Body};
use cks_lab::sim::attributes::UserInfo;
use cks_lab::sim::server::SimulatedCluster;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// Asks an API without a socket.
struct Http {
    api: Api,
    user: UserInfo,
}

impl Http {
    /// An API where everybody may do everything, and nothing runs beside it.
    fn alone() -> Self {
        Self { api: Api::in_memory(Arc::new(SystemClock)), user: UserInfo::named("tester", &[]) }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        self.api.service(self.user.clone()).oneshot(request).await.unwrap()
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let kind = match (method, &body) {
            ("PATCH", Value::Array(_)) => "application/json-patch+json",
            ("PATCH", _) => "application/merge-patch+json",
            _ => "application/json",
        };
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let response = self.send(method, path, &[("content-type", kind)], bytes).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into()))
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.ask("GET", path, Value::Null).await
    }

    async fn create(&self, namespace: &str, object: Value) -> Value {
        let (code, created) = self.ask("POST", &maps(namespace), object).await;
        assert_eq!(code, 201, "{created}");
        created
    }
}

fn maps(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"n": "0"}})
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_is_written_is_read_back_with_what_the_server_adds() {
    let http = Http::alone();
    let created = http.create("a", map("x")).await;
    assert_eq!((&created["kind"], &created["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert_eq!(created["metadata"]["namespace"], "a");
    assert_eq!(created["metadata"]["uid"].as_str().unwrap().len(), 36);
    let (code, read) = http.get("/api/v1/namespaces/a/configmaps/x").await;
    assert_eq!((code, &read), (200, &created));
    let (code, again) = http.ask("POST", &maps("a"), map("x")).await;
    assert_eq!((code, &again["reason"]), (409, &json!("AlreadyExists")));
    let (_, list) = http.get("/api/v1/configmaps").await;
    assert_eq!(list["kind"], "ConfigMapList");
    assert!(list["items"][0].get("kind").is_none(), "items of typed lists carry no kind");
}

#[tokio::test]
async fn an_old_resource_version_is_refused_and_none_at_all_wins() {
    let http = Http::alone();
    let mut object = http.create("a", map("x")).await;
    let path = "/api/v1/namespaces/a/configmaps/x";
    let (_, newer) = http.ask("PATCH", path, json!({"data": {"n": "1"}})).await;
    object["data"]["n"] = "2".into();
    let (code, status) = http.ask("PUT", path, object.clone()).await;
    assert_eq!(code, 409);
    assert_eq!(
        status["message"],
        "Operation cannot be fulfilled on configmaps \"x\": the object has been modified; please apply your changes to the latest version and try again"
    );
    object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let (code, written) = http.ask("PUT", path, object.clone()).await;
    assert_eq!((code, &written["data"]["n"]), (200, &json!("2")));
    assert_ne!(written["metadata"]["resourceVersion"], newer["metadata"]["resourceVersion"]);
    let (_, same) = http.ask("PUT", path, object).await;
    assert_eq!(
        same["metadata"]["resourceVersion"], written["metadata"]["resourceVersion"],
        "no change, no version"
    );
}

#[tokio::test]
async fn names_are_generated_and_dry_runs_leave_nothing() {
    let http = Http::alone();
    let created = http.create("a", json!({"metadata": {"generateName": "job-"}})).await;
    let name = created["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("job-") && name.len() == 9, "{name}");
    let (code, _) = http.ask("POST", &format!("{}?dryRun=All", maps("a")), map("x")).await;
    assert_eq!(code, 201);
    assert_eq!(http.get("/api/v1/namespaces/a/configmaps/x").await.0, 404);
    let (code, _) = http.ask("DELETE", &format!("{}/{name}?dryRun=All", maps("a")), Value::Null).await;
    assert_eq!(code, 200);
    assert_eq!(http.get(&format!("{}/{name}", maps("a"))).await.0, 200);
    let (code, status) = http.ask("POST", &format!("{}?dryRun=Some", maps("a")), map("x")).await;
    assert_eq!(code, 422);
    assert_eq!(
        status["message"],
        "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"Some\": supported values: \"All\""
    );
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_dropped() {
    let http = Http::alone();
    let object = json!({"metadata": {"name": "x"}, "dada": {"n": "0"}});
    let (code, status) =
        http.ask("POST", &format!("{}?fieldValidation=Strict", maps("a")), object.clone()).await;
    assert_eq!(code, 400);
    assert_eq!(
        status["message"],
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dada\""
    );
    let kind = [("content-type", "application/json")];
    let response = http.send("POST", &maps("a"), &kind, object.to_string().into_bytes()).await;
    assert_eq!(response.headers()["warning"], "299 - \"unknown field \\\"dada\\\"\"");
    let quiet = format!("{}?fieldValidation=Ignore", maps("b"));
    let response = http.send("POST", &quiet, &kind, object.to_string().into_bytes()).await;
    assert_eq!(response.status(), 201);
    assert!(response.headers().get("warning").is_none());
}

#[tokio::test]
async fn what_is_not_served_is_refused_as_a_real_server_does() {
    let http = Http::alone();
    for (method, path, code, text) in [
        ("GET", "/nothing", 404, "404 page not found\n"),
        ("GET", "/apis/none.example.com/v1/things", 404, "404 page not found\n"),
        ("GET", "/api/v1/things", 404, "the server could not find the requested resource"),
        ("DELETE", "/api/v1/pods", 405, "the server does not allow this method on the requested resource"),
        (
            "POST",
            "/api/v1/configmaps",
            405,
            "the server does not allow this method on the requested resource",
        ),
        ("GET", "/api/v1/namespaces/a/configmaps/x", 404, "configmaps \"x\" not found"),
        ("GET", "/apis/apps/v1/namespaces/a/deployments/x", 404, "deployments.apps \"x\" not found"),
        (
            "GET",
            "/api/v1/pods?labelSelector=a%20in%20b",
            400,
            "unable to parse requirement: found 'b' expected: '('",
        ),
        ("GET", "/api/v1/pods?fieldSelector=spec.x=y", 400, "field label not supported: spec.x"),
    ] {
        let (got, body) = http.ask(method, path, Value::Null).await;
        let message = body["message"].as_str().or(body.as_str()).unwrap_or_default();
        assert_eq!((got, message), (code, text), "{method} {path}");
    }
    let (code, status) = http.ask("POST", &maps("a"), json!({"kind": "Pod", "apiVersion": "v1"})).await;
    assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")));
    let large = format!("{{\"data\":{{\"a\":\"{}\"}}}}", "x".repeat(4 << 20));
    let response = http.send("POST", &maps("a"), &[], large.into_bytes()).await;
    assert_eq!(response.status(), 413);
}

#[tokio::test]
async fn pages_show_one_moment_while_others_write() {
    let http = Http::alone();
    for index in 0..7 {
        http.create(if index % 2 == 0 { "a" } else { "b" }, map(&format!("m{index}"))).await;
    }
    let (_, first) = http.get("/api/v1/configmaps?limit=3").await;
    assert_eq!(names(&first), ["m0", "m2", "m4"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 4);
    http.ask("DELETE", &format!("{}/m6", maps("a")), Value::Null).await;
    http.create("b", map("m2x")).await;
    http.ask("PATCH", &format!("{}/m1", maps("b")), json!({"data": {"n": "9"}})).await;
    let token = first["metadata"]["continue"].as_str().unwrap();
    let (_, second) = http.get(&format!("/api/v1/configmaps?limit=3&continue={token}")).await;
    assert_eq!(names(&second), ["m6", "m1", "m3"]);
    assert_eq!(second["items"][1]["data"]["n"], "0");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let (_, last) = http.get(&format!("/api/v1/configmaps?limit=3&continue={token}")).await;
    assert_eq!(names(&last), ["m5"]);
    assert!(last["metadata"].get("continue").is_none());
    let exact = format!(
        "/api/v1/configmaps?resourceVersionMatch=Exact&resourceVersion={}",
        first["metadata"]["resourceVersion"].as_str().unwrap()
    );
    assert_eq!(names(&http.get(&exact).await.1).len(), 7);
    let (code, status) = http.get("/api/v1/configmaps?resourceVersion=99999").await;
    assert_eq!((code, &status["message"]), (504, &json!("Too large resource version: 99999, current: 10")));
}

#[tokio::test]
async fn finalizers_hold_an_object_and_preconditions_are_kept() {
    let http = Http::alone();
    let mut object = map("held");
    object["metadata"]["finalizers"] = json!(["lab.example.com/hold"]);
    http.create("a", object).await;
    let path = format!("{}/held", maps("a"));
    let (code, status) = http.ask("DELETE", &path, json!({"preconditions": {"uid": "no"}})).await;
    assert_eq!((code, &status["reason"]), (409, &json!("Conflict")));
    let (code, held) = http.ask("DELETE", &path, Value::Null).await;
    assert_eq!(code, 200);
    assert!(held["metadata"]["deletionTimestamp"].is_string(), "{held}");
    assert_eq!(http.get(&path).await.0, 200);
    let (code, _) = http.ask("PATCH", &path, json!({"metadata": {"finalizers": null}})).await;
    assert_eq!(code, 200);
    assert_eq!(http.get(&path).await.0, 404);
    http.create("a", map("plain")).await;
    let (_, status) = http.ask("DELETE", &format!("{}/plain", maps("a")), Value::Null).await;
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(status["details"]["kind"], "configmaps");
    http.create("a", map("many")).await;
    let foreground = json!({"propagationPolicy": "Foreground"});
    let (_, waiting) = http.ask("DELETE", &format!("{}/many", maps("a")), foreground).await;
    assert_eq!(waiting["metadata"]["finalizers"], json!(["foregroundDeletion"]));
}

#[tokio::test]
async fn a_pod_on_a_node_goes_when_its_node_says_so() {
    let http = Http::alone();
    let pods = "/api/v1/namespaces/a/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "x"}]}});
    let (code, body) = http.ask("POST", pods, pod).await;
    assert_eq!(code, 201, "{body}");
    let (code, going) = http.ask("DELETE", &format!("{pods}/p"), Value::Null).await;
    assert_eq!((code, &going["metadata"]["deletionGracePeriodSeconds"]), (200, &json!(30)));
    let (_, same) = http.ask("DELETE", &format!("{pods}/p"), json!({"gracePeriodSeconds": 60})).await;
    assert_eq!(same["metadata"]["deletionGracePeriodSeconds"], 30, "only shorter");
    let (code, gone) = http.ask("DELETE", &format!("{pods}/p"), json!({"gracePeriodSeconds": 0})).await;
    assert_eq!((code, &gone["kind"]), (200, &json!("Pod")));
    assert_eq!(http.get(&format!("{pods}/p")).await.0, 404);
}

#[tokio::test]
async fn collections_are_deleted_by_selector() {
    let http = Http::alone();
    for (name, app) in [("x", "web"), ("y", "db"), ("z", "web")] {
        let mut object = map(name);
        object["metadata"]["labels"] = json!({"app": app});
        http.create("a", object).await;
    }
    let (code, deleted) =
        http.ask("DELETE", &format!("{}?labelSelector=app%3Dweb", maps("a")), Value::Null).await;
    assert_eq!((code, names(&deleted)), (200, vec!["x", "z"]));
    assert_eq!(names(&http.get(&maps("a")).await.1), ["y"]);
}

#[tokio::test]
async fn clients_choose_the_shape_of_answers() {
    let http = Http::alone();
    http.create("a", map("x")).await;
    let shaped = async |accept: &str| {
        let response = http.send("GET", &maps("a"), &[("accept", accept)], Vec::new()).await;
        let code = response.status().as_u16();
        (code, response.into_body().collect().await.unwrap().to_bytes())
    };
    let (_, table) = shaped("application/json;as=Table;v=v1;g=meta.k8s.io,application/json").await;
    let table: Value = serde_json::from_slice(&table).unwrap();
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("x")));
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let (_, partial) = shaped("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io").await;
    let partial: Value = serde_json::from_slice(&partial).unwrap();
    assert!(partial["items"][0].get("data").is_none() && partial["items"][0]["metadata"]["name"] == "x");
    let (_, yaml) = shaped("application/yaml").await;
    assert!(String::from_utf8_lossy(&yaml).contains("kind: ConfigMapList"));
    assert_eq!(shaped("text/html").await.0, 406);
}

#[tokio::test]
async fn a_cluster_in_memory_serves_a_kube_client() {
    let cluster = SimulatedCluster::in_memory(Arc::new(SystemClock)).await.unwrap();
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(cluster.kube_client());
    let found = namespaces.list(&Default::default()).await.unwrap();
    assert!(found.items.iter().any(|namespace| namespace.metadata.name.as_deref() == Some("kube-system")));
    let jane = cluster.kube_client_as(UserInfo::named("jane", &[]));
    let refused =
        kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(jane).list(&Default::default()).await;
    let kube::Error::Api(status) = refused.unwrap_err() else { panic!("a Status is expected") };
    assert_eq!(
        status.message,
        "namespaces is forbidden: User \"jane\" cannot list resource \"namespaces\" in API group \"\" at the cluster scope"
    );
}

#[tokio::test]
async fn a_token_speaks_for_its_account_until_the_account_goes() {
    let cluster = SimulatedCluster::in_memory(Arc::new(SystemClock)).await.unwrap();
    let admin = Http { api: cluster.api().clone(), user: UserInfo::named("root", &["system:masters"]) };
    let account = json!({"metadata": {"name": "app"}});
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    assert_eq!(admin.ask("POST", accounts, account).await.0, 201);
    let (code, answer) = admin.ask("POST", &format!("{accounts}/app/token"), json!({"spec": {}})).await;
    assert_eq!(code, 201, "{answer}");
    let bearer = format!("Bearer {}", answer["status"]["token"].as_str().unwrap());
    let whoami = async || {
        let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
            .header("authorization", &bearer)
            .header("content-type", "application/json")
            .body(Full::new("{}".into()))
            .unwrap();
        let response: Response<Body> = cluster.api().handle(request).await;
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice::<Value>(&body).unwrap())
    };
    let (code, review) = whoami().await;
    assert_eq!(code, 201, "{review}");
    assert_eq!(review["status"]["userInfo"]["username"], "system:serviceaccount:default:app");
    assert_eq!(admin.ask("DELETE", &format!("{accounts}/app"), Value::Null).await.0, 200);
    assert_eq!(whoami().await.0, 401);
}
