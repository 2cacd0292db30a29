//! Patches of all four kinds to objects that are there.

#![no_main]

mod http;

use libfuzzer_sys::{Corpus, fuzz_target};

const OBJECTS: &[(&str, &str, &str)] = &[
    ("/api/v1/namespaces/default/configmaps", "x", r#"{"metadata": {"name": "x"}, "data": {"a": "1", "b": "2"}}"#),
    (
        "/apis/apps/v1/namespaces/default/deployments",
        "x",
        r#"{"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {"selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [
            {"name": "c", "image": "nginx", "ports": [{"containerPort": 80}], "env": [{"name": "E", "value": "1"}]},
            {"name": "d", "image": "redis"}], "volumes": [{"name": "v", "emptyDir": {}}],
            "tolerations": [{"key": "k", "operator": "Exists"}]}}}}"#,
    ),
    (
        "/api/v1/namespaces/default/services",
        "x",
        r#"{"metadata": {"name": "x"}, "spec": {"selector": {"app": "x"}, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}}"#,
    ),
    (
        "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles",
        "x",
        r#"{"metadata": {"name": "x"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}"#,
    ),
    (
        "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
        "x",
        r#"{"metadata": {"name": "x"}, "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}]}}"#,
    ),
];

fuzz_target!(|data: &[u8]| -> Corpus {
    let [kind, object, body @ ..] = data else { return Corpus::Reject };
    let kinds = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ];
    let (collection, name, _) = OBJECTS[usize::from(*object) % OBJECTS.len()];
    let media = kinds[usize::from(*kind) % kinds.len()];
    let forced = if media.contains("apply") { "&force=true" } else { "" };
    let path = format!("{collection}/{name}?dryRun=All&fieldManager=fuzz{forced}");
    let (status, answer) = http::asked(
        |asked| {
            for (collection, _, object) in OBJECTS {
                let (status, answer) = asked.send("POST", collection, "application/json", object.as_bytes());
                assert_eq!(status, 201, "{}", String::from_utf8_lossy(&answer));
            }
        },
        |asked| asked.send("PATCH", &path, media, body),
    );
    http::hold(&path, status, &answer);
    Corpus::Keep
});
