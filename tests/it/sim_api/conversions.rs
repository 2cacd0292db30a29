//! Custom resources in several versions: what the conversion webhook is asked, and what it may answer.

use serde_json::{Value, json};

use super::kubectl::Shell;
use super::watches::watch;
use super::webhooks::{Server, bundle};
use super::{Http, names};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const V1: &str = "/apis/lab.example.com/v1/namespaces/default/widgets";
const V2: &str = "/apis/lab.example.com/v2/namespaces/default/widgets";

/// In v1 a widget has a `size` in text, in v2 a number and a `colour`.
fn definition(stored: &str, conversion: Value) -> Value {
    let version = |name: &str, spec: Value| {
        json!({ "name": name, "served": true, "storage": name == stored, "schema": { "openAPIV3Schema": {
            "type": "object", "properties": { "spec": { "type": "object", "properties": spec } } } } })
    };
    json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.lab.example.com" },
        "spec": { "group": "lab.example.com", "scope": "Namespaced", "conversion": conversion,
            "names": { "plural": "widgets", "singular": "widget", "kind": "Widget" },
            "versions": [
                version("v1", json!({ "size": { "type": "string" } })),
                version("v2", json!({ "amount": { "type": "integer", "maximum": 10 },
                    "colour": { "type": "string", "default": "blue" } })),
            ] } })
}

fn by(server: &Server) -> Value {
    json!({ "strategy": "Webhook", "webhook": { "conversionReviewVersions": ["v1"],
        "clientConfig": { "url": format!("https://127.0.0.1:{}/convert", server.port),
            "caBundle": bundle(&server.certificate) } } })
}

fn convert(object: &Value, wanted: &Value) -> Value {
    let mut new = object.clone();
    new["apiVersion"] = wanted.clone();
    let spec = &object["spec"];
    new["spec"] = match wanted.as_str().unwrap() {
        "lab.example.com/v1" => json!({ "size": spec["amount"].to_string() }),
        _ => json!({ "amount": spec["size"].as_str().unwrap().parse::<i64>().unwrap() }),
    };
    new
}

fn reviewed(review: &Value, objects: Vec<Value>) -> Value {
    json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": {
        "uid": review["request"]["uid"], "result": { "status": "Success" }, "convertedObjects": objects } })
}

/// A converter whose objects `touch` may spoil.
async fn converter(touch: impl Fn(&mut Value) + Send + Sync + 'static) -> Server {
    Server::start(move |review| {
        let request = &review["request"];
        let each = request["objects"].as_array().unwrap().iter().map(|object| {
            let mut new = convert(object, &request["desiredAPIVersion"]);
            touch(&mut new);
            new
        });
        Some(reviewed(review, each.collect()))
    })
    .await
}

async fn serving(definition: Value) -> Http {
    let http = Http::alone();
    http.ask("POST", "/api/v1/namespaces", json!({ "metadata": { "name": "default" } })).await;
    let (code, created) = http.ask("POST", DEFINITIONS, definition).await;
    assert_eq!(code, 201, "{created}");
    http
}

fn second(name: &str, amount: i64) -> Value {
    json!({ "apiVersion": "lab.example.com/v2", "kind": "Widget", "metadata": { "name": name },
        "spec": { "amount": amount } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_version_is_written_and_read_as_it_is_defined() {
    let server = converter(|_| {}).await;
    let http = serving(definition("v1", by(&server))).await;
    let (code, created) = http.ask("POST", V2, second("a", 3)).await;
    assert_eq!(code, 201, "{created}");
    assert_eq!(created["apiVersion"], "lab.example.com/v2");
    assert_eq!(created["spec"], json!({ "amount": 3, "colour": "blue" }));
    let asked = server.heard();
    let review = &asked[0];
    assert_eq!(
        (&review["apiVersion"], &review["kind"]),
        (&json!("apiextensions.k8s.io/v1"), &json!("ConversionReview"))
    );
    assert_eq!(review["request"]["desiredAPIVersion"], "lab.example.com/v1");
    assert_eq!(review["request"]["objects"][0]["spec"]["amount"], 3);
    let (_, read) = http.get(&format!("{V1}/a")).await;
    assert_eq!((&read["apiVersion"], &read["spec"]), (&json!("lab.example.com/v1"), &json!({ "size": "3" })));
    assert_eq!(server.heard(), Vec::<Value>::new(), "nobody is asked about the stored version");
    let (_, list) = http.get(V2).await;
    assert_eq!((&list["kind"], &list["items"][0]["spec"]["amount"]), (&json!("WidgetList"), &json!(3)));
    let (code, patched) = http.ask("PATCH", &format!("{V2}/a"), json!({ "spec": { "amount": 5 } })).await;
    assert_eq!((code, &patched["spec"]["amount"]), (200, &json!(5)));
    server.heard();
    assert_eq!(http.get(&format!("{V1}/a")).await.1["spec"], json!({ "size": "5" }));
    assert_eq!(server.heard(), Vec::<Value>::new(), "a change is stored in the stored version, too");
    let (code, refused) = http.ask("PATCH", &format!("{V2}/a"), json!({ "spec": { "amount": 11 } })).await;
    assert_eq!(code, 422);
    assert_eq!(
        refused["message"],
        "Widget.lab.example.com \"a\" is invalid: spec.amount: Invalid value: 11: spec.amount in body should be less \
         than or equal to 10"
    );
    let (code, gone) = http.ask("DELETE", &format!("{V2}/a"), Value::Null).await;
    assert_eq!((code, &gone["status"]), (200, &json!("Success")));
    assert_eq!(names(&http.get(V1).await.1), Vec::<&str>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_sends_objects_in_its_own_version_and_ends_when_it_cannot() {
    let server = converter(|_| {}).await;
    let http = serving(definition("v1", by(&server))).await;
    http.ask("POST", V2, second("a", 1)).await;
    let mut lines = watch(&http, &format!("{V2}?watch=1")).await;
    let line = lines.next().await.unwrap();
    assert_eq!((&line["type"], &line["object"]["spec"]["amount"]), (&json!("ADDED"), &json!(1)));
    let first = json!({ "metadata": { "name": "b" }, "apiVersion": "lab.example.com/v1", "kind": "Widget",
        "spec": { "size": "7" } });
    http.ask("POST", V1, first).await;
    let line = lines.next().await.unwrap();
    assert_eq!(line["object"]["apiVersion"], "lab.example.com/v2");
    assert_eq!(line["object"]["spec"]["amount"], 7);
    drop(server);
    http.ask("PATCH", &format!("{V1}/b"), json!({ "spec": { "size": "8" } })).await;
    let line = lines.next().await.unwrap();
    assert_eq!(line["type"], "ERROR");
    let why = line["object"]["message"].as_str().unwrap();
    assert!(why.starts_with("conversion webhook for lab.example.com/v1, Kind=Widget failed: Post "), "{why}");
    assert_eq!(lines.next().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_fails_or_oversteps_is_told_of() {
    let server = Server::start(|review| {
        let object = &review["request"]["objects"][0];
        let mut new = convert(object, &review["request"]["desiredAPIVersion"]);
        match object["metadata"]["name"].as_str().unwrap() {
            "failed" => {
                return Some(json!({ "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
                    "response": { "uid": review["request"]["uid"],
                        "result": { "status": "Failed", "message": "no such size" } } }));
            }
            "none" => return Some(reviewed(review, Vec::new())),
            "other" => new["apiVersion"] = "lab.example.com/v3".into(),
            "renamed" => new["metadata"]["name"] = "x".into(),
            "bare" => drop(new.as_object_mut().unwrap().remove("metadata")),
            "kept" => {
                new["metadata"]["finalizers"] = json!([]);
                new["metadata"]["labels"] = json!({ "by": "hook" });
            }
            _ => {}
        }
        Some(reviewed(review, vec![new]))
    })
    .await;
    let http = serving(definition("v1", by(&server))).await;
    let hook = "conversion webhook for lab.example.com/v2, Kind=Widget";
    for (name, why) in [
        ("failed", "failed: no such size".to_owned()),
        ("none", "returned 0 objects, expected 1".to_owned()),
        (
            "other",
            "returned invalid object at index 0: invalid groupVersion (expected lab.example.com/v1, received \
             lab.example.com/v3)"
                .to_owned(),
        ),
        ("renamed", "returned invalid object: must have the same name: renamed != x".to_owned()),
        ("bare", "returned invalid object: must have the same name: bare != ".to_owned()),
    ] {
        let (code, status) = http.ask("POST", V2, second(name, 1)).await;
        assert_eq!((code, &status["message"]), (500, &json!(format!("{hook} {why}"))), "{name}");
    }
    let mut held = second("kept", 1);
    held["metadata"]["finalizers"] = json!(["lab.example.com/hold"]);
    let (code, created) = http.ask("POST", V2, held).await;
    assert_eq!(code, 201, "{created}");
    assert_eq!(created["metadata"]["labels"], json!({ "by": "hook" }));
    assert_eq!(created["metadata"]["finalizers"], json!(["lab.example.com/hold"]));
    // Nobody listens there.
    let port = 1;
    let moved = json!({ "spec": { "conversion": { "webhook": { "clientConfig": {
        "url": format!("https://127.0.0.1:{port}/convert") } } } } });
    http.ask("PATCH", &format!("{DEFINITIONS}/widgets.lab.example.com"), moved).await;
    let (code, status) = http.get(&format!("{V2}/kept")).await;
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(code, 500);
    assert_eq!(
        status["message"],
        format!(
            "conversion webhook for lab.example.com/v1, Kind=Widget failed: Post \
             \"https://127.0.0.1:{port}/convert?timeout=30s\": {refused}"
        )
    );
    assert_eq!(http.get(&format!("{V1}/kept")).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_move_to_another_stored_version_as_they_are_written() {
    let server = converter(|_| {}).await;
    let http = serving(definition("v1", by(&server))).await;
    http.ask("POST", V2, second("a", 4)).await;
    let path = format!("{DEFINITIONS}/widgets.lab.example.com");
    let (_, mut current) = http.get(&path).await;
    current["spec"] = definition("v2", by(&server))["spec"].clone();
    let (code, changed) = http.ask("PUT", &path, current).await;
    assert_eq!((code, &changed["status"]["storedVersions"]), (200, &json!(["v1", "v2"])), "{changed}");
    server.heard();
    assert_eq!(http.get(&format!("{V1}/a")).await.1["spec"], json!({ "size": "4" }));
    assert_eq!(server.heard().len(), 0, "it is still stored as it was written");
    assert_eq!(http.get(&format!("{V2}/a")).await.1["spec"]["amount"], 4);
    assert_eq!(server.heard().len(), 1);
    http.ask("PATCH", &format!("{V2}/a"), json!({ "metadata": { "labels": { "moved": "yes" } } })).await;
    server.heard();
    assert_eq!(http.get(&format!("{V2}/a")).await.1["spec"]["amount"], 4);
    assert_eq!(server.heard().len(), 0, "by now it is stored in the new version");
    assert_eq!(http.get(&format!("{V1}/a")).await.1["spec"], json!({ "size": "4" }));
}

#[tokio::test]
async fn without_a_webhook_a_version_shows_the_fields_that_it_knows() {
    let http = serving(definition("v1", json!({ "strategy": "None" }))).await;
    let both = json!({ "apiVersion": "lab.example.com/v1", "kind": "Widget", "metadata": { "name": "a" },
        "spec": { "size": "3" } });
    http.ask("POST", V1, both).await;
    let (_, read) = http.get(&format!("{V2}/a")).await;
    assert_eq!(
        (&read["apiVersion"], &read["spec"]),
        (&json!("lab.example.com/v2"), &json!({ "colour": "blue" }))
    );
    let (_, list) = http.get(V2).await;
    assert_eq!(list["items"][0]["apiVersion"], "lab.example.com/v2");
    let path = format!("{DEFINITIONS}/widgets.lab.example.com");
    let (_, mut current) = http.get(&path).await;
    current["spec"] = definition("v2", json!({ "strategy": "None" }))["spec"].clone();
    http.ask("PUT", &path, current).await;
    for version in [V1, V2] {
        let (_, list) = http.get(version).await;
        let group = version.split('/').take(4).skip(2).collect::<Vec<_>>().join("/");
        assert_eq!(list["items"][0]["apiVersion"], group);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_see_the_version_that_they_are_for() {
    let shell = Shell::new().await;
    let server = converter(|_| {}).await;
    let definition = definition("v1", by(&server));
    shell.ok(&format!("kubectl apply -f - <<'EOF'\n{definition}\nEOF")).await;
    let policy = json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": { "name": "small" }, "spec": {
            "matchConstraints": { "resourceRules": [{ "apiGroups": ["lab.example.com"], "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE"], "resources": ["widgets"] }] },
            "validations": [{ "expression": "int(object.spec.size) < 5", "message": "too large" }] } });
    let binding = json!({ "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": "small" },
        "spec": { "policyName": "small", "validationActions": ["Deny"] } });
    for object in [policy, binding] {
        shell.ok(&format!("kubectl apply -f - <<'EOF'\n{object}\nEOF")).await;
    }
    shell.ok(&format!("kubectl apply -f - <<'EOF'\n{}\nEOF", second("few", 4))).await;
    let (success, _, err) =
        shell.run(&format!("kubectl apply -f - <<'EOF'\n{}\nEOF", second("many", 6))).await;
    assert!(!success && err.ends_with("denied request: too large"), "{err}");
    assert_eq!(shell.ok("kubectl get widgets.v1.lab.example.com few -o jsonpath={.spec.size}").await, "4");
    assert_eq!(shell.ok("kubectl get widgets.v2.lab.example.com few -o jsonpath={.spec.amount}").await, "4");
}
