use std::sync::Mutex;

use serde_json::json;

use super::*;
use crate::clock::ManualClock;
use crate::sim::api::Api;

#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl Sink for Lines {
    fn take(&self, event: &str) {
        self.0.lock().unwrap().push(event.to_owned());
    }
}

const HEAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";

/// An API that audits by these rules, and what it writes.
fn audited(rules: &str) -> (Api, Arc<Lines>) {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new("2026-11-23T03:51:18.348998Z".parse().unwrap()));
    let api = Api::in_memory(clock.clone());
    let lines = Arc::new(Lines::default());
    let (policy, warning) = load(&format!("{HEAD}{rules}"), "/policy.yaml").unwrap();
    assert_eq!(warning, None);
    api.set_audit(Some(Arc::new(Audit::new(policy, vec![lines.clone()], clock))));
    (api, lines)
}

impl Lines {
    fn events(&self) -> Vec<Value> {
        self.0.lock().unwrap().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Stage, level and whether both bodies are there, of each event.
    fn bodies(&self) -> Vec<(String, bool, bool)> {
        let event = |event: Value| {
            let stage = event["stage"].as_str().unwrap().to_owned();
            (stage, event.get("requestObject").is_some(), event.get("responseObject").is_some())
        };
        self.events().into_iter().map(event).collect()
    }
}

async fn send(api: &Api, method: &str, uri: &str, body: &str) -> (u16, Value) {
    use http_body_util::BodyExt as _;
    let user = UserInfo::named("ann", &["dev"]);
    let request = http::Request::builder()
        .method(method)
        .uri(uri)
        .header("user-agent", "kubectl/v1.34.0")
        .extension(crate::sim::api::Identity(user))
        .body(http_body_util::Full::new(bytes::Bytes::from(body.to_owned())))
        .unwrap();
    let response = api.handle(request).await;
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap_or_default())
}

const SECRETS: &str = "/api/v1/namespaces/default/secrets";

fn secret() -> String {
    json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "a" }, "stringData": { "p": "<b&c>" } })
        .to_string()
}

#[tokio::test]
async fn each_level_shows_what_it_may_and_no_more() {
    for (level, request, response) in
        [("Metadata", false, false), ("Request", true, false), ("RequestResponse", true, true)]
    {
        let (api, lines) = audited(&format!("rules: [{{level: {level}}}]"));
        let (code, created) = send(&api, "POST", SECRETS, &secret()).await;
        assert_eq!(code, 201, "{created}");
        assert_eq!(created["metadata"]["name"], "a", "the answer is whole whatever is logged of it");
        let expected = [
            ("RequestReceived".to_owned(), false, false),
            ("ResponseComplete".to_owned(), request, response),
        ];
        assert_eq!(lines.bodies(), expected, "{level}");
        let text = lines.0.lock().unwrap().join("\n");
        assert_eq!(text.contains("stringData") || text.contains("\"data\""), request, "{level}: {text}");
        assert!(!text.contains('<') && !text.contains('&'), "Go escapes these: {text}");
    }
    let (api, lines) = audited("rules: [{level: None}]");
    send(&api, "POST", SECRETS, &secret()).await;
    assert_eq!(lines.events(), Vec::<Value>::new());
}

#[tokio::test]
async fn an_event_has_upstreams_shape_and_order() {
    let (api, lines) = audited("rules: [{level: Metadata}]");
    send(&api, "POST", &format!("{SECRETS}?fieldManager=kubectl-create&fieldValidation=Strict"), &secret())
        .await;
    let all = lines.0.lock().unwrap().clone();
    let id = lines.events()[0]["auditID"].as_str().unwrap().to_owned();
    assert_eq!(
        all[0],
        format!(
            "{{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"{id}\",\
             \"stage\":\"RequestReceived\",\"requestURI\":\"/api/v1/namespaces/default/secrets?fieldManager=kubectl-create\\u0026\
             fieldValidation=Strict\",\"verb\":\"create\",\"user\":{{\"username\":\"ann\",\"groups\":[\"dev\",\
             \"system:authenticated\"]}},\"sourceIPs\":[\"127.0.0.1\"],\"userAgent\":\"kubectl/v1.34.0\",\"objectRef\":\
             {{\"resource\":\"secrets\",\"namespace\":\"default\",\"apiVersion\":\"v1\"}},\
             \"requestReceivedTimestamp\":{at},\"stageTimestamp\":{at}}}",
            at = lines.events()[0]["stageTimestamp"]
        )
    );
    let done = &lines.events()[1];
    assert_eq!(done["auditID"], *id, "both stages of a request have one id");
    assert_eq!(done["objectRef"]["name"], "a", "the name stands in the body");
    assert_eq!(done["responseStatus"], json!({ "metadata": {}, "code": 201 }));
    assert_eq!(done["annotations"]["authorization.k8s.io/decision"], "allow");
    let stamp = done["stageTimestamp"].as_str().unwrap();
    assert!(stamp.len() == "2026-11-23T03:51:18.353296Z".len() && stamp.ends_with('Z'), "{stamp}");
}

#[tokio::test]
async fn the_first_rule_decides_and_stages_are_left_out() {
    let rules = "omitStages: [RequestReceived]\nrules:\n- level: None\n  verbs: [list]\n- level: RequestResponse\n  resources: [{group: '', resources: [secrets]}]\n  omitManagedFields: true\n- level: Metadata\n";
    let (api, lines) = audited(rules);
    send(&api, "GET", SECRETS, "").await;
    assert_eq!(lines.events().len(), 0);
    send(&api, "POST", SECRETS, &secret()).await;
    let events = lines.events();
    assert_eq!((events.len(), &events[0]["stage"]), (1, &json!("ResponseComplete")));
    assert!(events[0]["responseObject"]["metadata"].get("managedFields").is_none());
    assert!(events[0]["responseObject"]["metadata"].get("uid").is_some());
    send(&api, "GET", "/version", "").await;
    let last = lines.events().pop().unwrap();
    assert_eq!((&last["requestURI"], last.get("objectRef")), (&json!("/version"), None));
}

#[tokio::test]
async fn failures_are_logged_with_their_reason() {
    let (api, lines) = audited("omitStages: [RequestReceived]\nrules: [{level: Metadata}]");
    let (code, _) = send(&api, "GET", &format!("{SECRETS}/none"), "").await;
    assert_eq!(code, 404);
    let status = lines.events()[0]["responseStatus"].clone();
    assert_eq!(
        (&status["reason"], &status["code"], status.get("kind")),
        (&json!("NotFound"), &json!(404), None)
    );
}

#[tokio::test]
async fn a_watch_is_told_when_it_starts_and_when_it_ends() {
    let (api, lines) = audited("rules: [{level: RequestResponse}]");
    send(&api, "GET", &format!("{SECRETS}?watch=true&timeoutSeconds=1"), "").await;
    let stages: Vec<String> = lines.bodies().into_iter().map(|(stage, ..)| stage).collect();
    assert_eq!(stages, ["RequestReceived", "ResponseStarted", "ResponseComplete"]);
    assert!(lines.bodies().iter().all(|(_, _, response)| !response));
}

#[test]
fn a_policy_is_refused_in_upstreams_words() {
    let refused = |text: &str| load(text, "/p.yaml").unwrap_err();
    for (text, expected) in [
        (
            "apiVersion: audit.k8s.io/v1\nkind: AuditPolicy\nrules: [{level: None}]",
            "failed decoding: no kind \"AuditPolicy\" is registered for version \"audit.k8s.io/v1\" in scheme \"pkg/audit/scheme.go:30\": from file /p.yaml",
        ),
        (
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metdata}]",
            "rules[0].level: Unsupported value: \"Metdata\": supported values: \"None\", \"Metadata\", \"Request\", \"RequestResponse\": from file /p.yaml",
        ),
        (
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []",
            "loaded illegal policy with 0 rules: from file /p.yaml",
        ),
        ("", "unknown group version field audit.k8s.io/__internal, Kind=Policy in policy: from file /p.yaml"),
        (
            "kind: Policy\nrules: [{level: None}]",
            "unknown group version field audit.k8s.io/__internal, Kind=Policy in policy: from file /p.yaml",
        ),
        (
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestRecieved]\nrules: [{level: None}]",
            "omitStages[0]: Invalid value: \"RequestRecieved\": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic: from file /p.yaml",
        ),
    ] {
        assert_eq!(refused(text), expected);
    }
    let (policy, warning) =
        load(&format!("{HEAD}rules: [{{level: None, resource: []}}]"), "/p.yaml").unwrap();
    assert_eq!(policy.rules.len(), 1);
    assert_eq!(
        warning.unwrap(),
        "Audit policy contains errors, falling back to lenient decoding: strict decoding error: unknown field \"rules[0].resource\""
    );
}

#[test]
fn a_log_is_rotated_and_old_ones_go() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.log");
    let clock = Arc::new(ManualClock::new("2026-11-23T03:51:18.348998Z".parse().unwrap()));
    let settings = LogSettings { max_size: 1, max_backup: 2, max_age: 0 };
    let tree = crate::sim::node::tree::Tree::open(folder.path()).unwrap();
    let log = LogFile::open(tree.clone(), "/audit.log", settings, clock.clone()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let line = "x".repeat(400_000);
    for _ in 0..12 {
        log.take(&line);
        clock.advance(std::time::Duration::from_secs(1));
    }
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "the log and two that are kept: {names:?}");
    assert!(names.contains(&"audit.log".to_owned()));
    assert!(std::fs::metadata(&path).unwrap().len() <= 1 << 20);
    let reopened = LogFile::open(tree, "/audit.log", settings, clock).unwrap();
    let before = std::fs::metadata(&path).unwrap().len();
    reopened.take("y");
    assert_eq!(std::fs::metadata(&path).unwrap().len(), before + 2, "a restarted server appends");
}
