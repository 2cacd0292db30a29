//! A watch tells what a list would show: whatever is written, following it leads to the same set.

use std::collections::BTreeMap;
use std::time::Duration;

use cks_lab::sim::api::Body;
use http::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::{Http, map, maps, names};

/// Reads a watch line by line.
pub(super) struct Lines {
    body: Body,
    rest: Vec<u8>,
}

impl Lines {
    fn of(response: Response<Body>) -> Self {
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), rest: Vec::new() }
    }

    /// Reads the next line if it is there already.
    pub(super) async fn ready(&mut self) -> Option<Value> {
        tokio::select! {
            biased;
            line = tokio::task::unconstrained(self.next()) => line,
            () = std::future::ready(()) => None,
        }
    }

    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(Duration::from_secs(10), self.body.frame()).await.unwrap()?;
            self.rest.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
    }
}

pub(super) async fn watch(http: &Http, path: &str) -> Lines {
    Lines::of(http.send("GET", path, &[], Vec::new()).await)
}

#[tokio::test]
async fn following_a_watch_leads_to_the_list() {
    let http = Http::alone();
    http.create("a", map("before")).await;
    let (_, list) = http.get("/api/v1/configmaps?labelSelector=keep").await;
    let from = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut lines =
        watch(&http, &format!("/api/v1/configmaps?watch=1&labelSelector=keep&resourceVersion={from}")).await;
    // A fixed sequence that looks like chance: names come and go, gain and lose the label.
    let mut state = 12345u32;
    for _ in 0..300 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let name = format!("m{}", (state >> 8) % 9);
        let path = format!("{}/{name}", maps("a"));
        match (state >> 16) % 4 {
            0 => {
                http.ask("POST", &maps("a"), map(&name)).await;
            }
            1 => {
                http.ask(
                    "PATCH",
                    &path,
                    json!({"metadata": {"labels": {"keep": "1"}}, "data": {"n": state.to_string()}}),
                )
                .await;
            }
            2 => {
                http.ask("PATCH", &path, json!({"metadata": {"labels": {"keep": null}}})).await;
            }
            _ => {
                http.ask("DELETE", &path, Value::Null).await;
            }
        }
    }
    let mut last = map("zz-last");
    last["metadata"]["labels"] = json!({"keep": "1"});
    http.create("a", last).await;
    let mut seen: BTreeMap<String, Value> = BTreeMap::new();
    loop {
        let event = lines.next().await.unwrap();
        let name = event["object"]["metadata"]["name"].as_str().unwrap().to_owned();
        match event["type"].as_str().unwrap() {
            "ADDED" => assert!(seen.insert(name.clone(), event["object"].clone()).is_none(), "{name} twice"),
            "MODIFIED" => {
                assert!(seen.insert(name.clone(), event["object"].clone()).is_some(), "{name} is new")
            }
            "DELETED" => assert!(seen.remove(&name).is_some(), "{name} was not there"),
            other => panic!("{other}"),
        }
        if name == "zz-last" {
            break;
        }
    }
    let (_, list) = http.get("/api/v1/configmaps?labelSelector=keep").await;
    assert_eq!(names(&list), seen.keys().map(String::as_str).collect::<Vec<_>>());
    for (item, seen) in list["items"].as_array().unwrap().iter().zip(seen.values()) {
        assert_eq!(item["metadata"]["resourceVersion"], seen["metadata"]["resourceVersion"]);
        assert_eq!(item["data"], seen["data"]);
    }
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let http = Http::alone();
    http.create("a", map("x")).await;
    let mut lines = watch(&http, "/api/v1/namespaces/a/configmaps?watch=true&timeoutSeconds=1").await;
    let event = lines.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!("x")));
    assert_eq!(lines.next().await, None, "and ends in time");
}

#[tokio::test]
async fn streaming_lists_end_with_their_bookmark() {
    let http = Http::alone();
    let created = http.create("a", map("x")).await;
    let path = "/api/v1/configmaps?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let mut lines = watch(&http, path).await;
    assert_eq!(lines.next().await.unwrap()["type"], "ADDED");
    let bookmark = lines.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(bookmark["object"]["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
    let (code, status) = http.get("/api/v1/configmaps?watch=1&sendInitialEvents=true").await;
    assert_eq!((code, &status["reason"]), (422, &json!("Invalid")));
}

#[tokio::test]
async fn only_the_first_table_of_a_watch_names_its_columns() {
    let http = Http::alone();
    http.create("a", map("x")).await;
    http.create("a", map("y")).await;
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let response = http.send("GET", "/api/v1/configmaps?watch=1", &accept, Vec::new()).await;
    let mut lines = Lines::of(response);
    let (first, second) = (lines.next().await.unwrap(), lines.next().await.unwrap());
    assert_eq!(first["object"]["rows"][0]["cells"][0], "x");
    assert!(first["object"]["columnDefinitions"].is_array());
    assert_eq!(second["object"]["rows"][0]["cells"][0], "y");
    assert!(second["object"]["columnDefinitions"].is_null());
}

#[tokio::test]
async fn a_version_that_the_log_has_forgotten_is_gone() {
    let http = Http::alone();
    http.create("a", map("x")).await;
    let store = http.api.store();
    let resource = cks_lab::sim::resource::GroupResource::of("", "configmaps");
    for n in 0..17_000u32 {
        let object = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "x", "namespace": "a"}, "n": n});
        store.update(&resource, "a", "x", None, object).unwrap();
    }
    let mut lines = watch(&http, "/api/v1/configmaps?watch=1&resourceVersion=1").await;
    let event = lines.next().await.unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(event["object"]["reason"], "Expired");
    let (code, _) = http.get("/api/v1/configmaps?resourceVersionMatch=Exact&resourceVersion=1").await;
    assert_eq!(code, 410);
}
