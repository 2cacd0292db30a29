//! What the API answers to requests that are wrong, word for word: bodies, patches, preconditions, tokens.

use serde_json::{Value, json};

use super::Http;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn with_map() -> (Http, Value) {
    let http = Http::alone();
    http.ask("POST", "/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await;
    let (code, map) = http.ask("POST", MAPS, json!({"metadata": {"name": "m"}, "data": {"a": "b"}})).await;
    assert_eq!(code, 201, "{map}");
    (http, map)
}

async fn raw(http: &Http, method: &str, path: &str, kind: &str, body: &str) -> (u16, String) {
    use http_body_util::BodyExt as _;
    let response = http.send(method, path, &[("content-type", kind)], body.as_bytes().to_vec()).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    (code, answer["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn bodies_that_are_no_such_object_are_refused_in_the_decoders_words() {
    let (http, _) = with_map().await;
    for (body, message) in [
        (
            "{",
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse \
             error: unexpected end of JSON input ({)",
        ),
        (
            "",
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse \
             error: unexpected end of JSON input (<empty>)",
        ),
        (
            r#"{"apiVersion":"v1","kind":"Secret"}"#,
            "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): \
             unknown conversion",
        ),
        (
            r#"{"apiVersion":"apps/v9","kind":"Deployment"}"#,
            "Deployment in version \"v9\" cannot be handled as a ConfigMap: no kind \"Deployment\" is registered for \
             version \"apps/v9\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        ),
    ] {
        assert_eq!(raw(&http, "POST", MAPS, "application/json", body).await, (400, message.to_owned()));
    }
    let versioned = json!({"metadata": {"name": "other", "resourceVersion": "7"}});
    let (code, status) = http.ask("POST", MAPS, versioned).await;
    assert_eq!(
        (code, &status["message"]),
        (500, &json!("resourceVersion should not be set on objects to be created"))
    );
}

#[tokio::test]
async fn patches_that_do_not_fit_are_refused_in_the_words_of_their_kind() {
    let (http, _) = with_map().await;
    let map = format!("{MAPS}/m");
    let (json, merge, strategic, apply) = (
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    );
    let applied = format!("{map}?fieldManager=tester");
    let strict = format!("{map}?fieldValidation=Strict");
    let map_wanted = "json: cannot unmarshal array into Go value of type map[string]interface {}";
    for (path, kind, body, code, message) in [
        (&map, merge, "[]", 400, format!("error decoding patch: {map_wanted}")),
        (&map, strategic, "[]", 400, map_wanted.to_owned()),
        (
            &map,
            json,
            "{}",
            400,
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp".to_owned(),
        ),
        (
            &map,
            strategic,
            r#"{"data":"x"}"#,
            422,
            " \"\" is invalid: patch: Invalid value: \"map[data:x]\": cannot restore map from string".to_owned(),
        ),
        (
            &strict,
            strategic,
            r#"{"data":{"a":"b","a":"c"}}"#,
            422,
            " \"\" is invalid: patch: Invalid value: \"map[data:map[a:c]]\": strict decoding error: duplicate field \
             \"data.a\""
                .to_owned(),
        ),
        (&applied, apply, "{}", 400, "invalid object type: /, Kind=".to_owned()),
        (
            &applied,
            apply,
            r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"m","namespace":"default"},"foo":1}"#,
            500,
            "failed to create typed patch object (default/m; /v1, Kind=ConfigMap): .foo: field not declared in schema"
                .to_owned(),
        ),
    ] {
        assert_eq!(raw(&http, "PATCH", path, kind, body).await, (code, message), "{kind} {body}");
    }
    let (code, message) = raw(&http, "PATCH", &map, merge, r#"{"kind":"Secret"}"#).await;
    assert_eq!(code, 422);
    assert!(message.ends_with("converting (v1.Secret) to (core.ConfigMap): unknown conversion"), "{message}");
}

#[tokio::test]
async fn what_only_the_server_may_say_is_kept_or_told() {
    let (http, map) = with_map().await;
    let path = format!("{MAPS}/m");
    let (code, status) = http.ask("PATCH", &path, json!({"metadata": {"uid": "x"}})).await;
    assert_eq!(code, 422);
    assert_eq!(
        status["message"],
        "ConfigMap \"m\" is invalid: metadata.uid: Invalid value: \"x\": field is immutable"
    );
    let (code, status) = http.ask("PUT", &path, json!({"metadata": {"name": "m", "uid": "x"}})).await;
    let uid = map["metadata"]["uid"].as_str().unwrap();
    assert_eq!(code, 409);
    assert_eq!(
        status["message"],
        format!(
            "Operation cannot be fulfilled on configmaps \"m\": StorageError: invalid object, Code: 4, Key: \
             /registry/configmaps/default/m, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in \
             precondition: x, UID in object meta: {uid}"
        )
    );
    let dated = json!({"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z"}});
    let (code, after) = http.ask("PATCH", &path, dated).await;
    assert_eq!((code, &after["metadata"]["creationTimestamp"]), (200, &map["metadata"]["creationTimestamp"]));
    let deleted = json!({"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}});
    let (code, status) = http.ask("PATCH", &path, deleted).await;
    assert_eq!(code, 422);
    assert_eq!(
        status["message"],
        "ConfigMap \"m\" is invalid: metadata.deletionTimestamp: Invalid value: \"2020-01-01T00:00:00Z\": field is \
         immutable"
    );
    let (code, status) = http.ask("DELETE", &path, json!({"preconditions": {"uid": "x"}})).await;
    assert_eq!(code, 409);
    assert_eq!(
        status["message"],
        format!(
            "Operation cannot be fulfilled on ConfigMap \"m\": the UID in the precondition (x) does not match the UID in \
             record ({uid}). The object might have been deleted and then recreated"
        )
    );
}

#[tokio::test]
async fn a_replacement_without_a_version_is_refused_where_it_must_have_one() {
    let http = Http::alone();
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    http.ask("POST", "/api/v1/namespaces", json!({"metadata": {"name": "default"}})).await;
    assert_eq!(http.ask("POST", leases, json!({"metadata": {"name": "l"}, "spec": {}})).await.0, 201);
    let (code, status) =
        http.ask("PUT", &format!("{leases}/l"), json!({"metadata": {"name": "l"}, "spec": {}})).await;
    assert_eq!(code, 422);
    assert_eq!(
        status["message"],
        "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0x0: must be specified for \
         an update"
    );
}

#[tokio::test]
async fn continue_tokens_are_read_strictly() {
    let (http, _) = with_map().await;
    for (token, why) in [
        ("!", "continue key is not valid: illegal base64 data at input byte 0"),
        ("e30", "continue key is not valid: server does not recognize this encoded version "),
    ] {
        let (code, status) = http.get(&format!("{MAPS}?limit=1&continue={token}")).await;
        assert_eq!((code, &status["message"]), (400, &json!(format!("invalid continue token: {why}"))));
    }
    let (code, status) = http.get(&format!("{MAPS}?timeoutSeconds=soon")).await;
    assert_eq!(
        (code, &status["message"]),
        (400, &json!("strconv.ParseInt: parsing \"soon\": invalid syntax"))
    );
}
