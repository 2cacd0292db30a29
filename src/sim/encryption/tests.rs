use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::sim::store::Store;

const SECRETS: GroupResource = GroupResource::of("", "secrets");
const CONFIG_MAPS: GroupResource = GroupResource::of("", "configmaps");

fn key(name: &str, byte: u8, size: usize) -> String {
    format!("{{name: {name}, secret: {}}}", STANDARD.encode(vec![byte; size]))
}

fn config(providers: &str) -> String {
    format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  \
         providers: {providers}\n"
    )
}

fn with(providers: &str) -> Arc<Encryption> {
    Arc::new(load(&config(providers), "/enc.yaml").unwrap())
}

fn object(name: &str) -> Value {
    json!({ "metadata": { "name": name, "namespace": "a" }, "data": "hunter2" })
}

fn prefix(store: &Store, name: &str) -> String {
    let entry = store.get(&SECRETS, "a", name).unwrap();
    let stored = entry.sealed().map_or(&b"plain"[..], |sealed| &sealed[..]);
    let text = String::from_utf8_lossy(stored);
    text.splitn(6, ':').take(5).collect::<Vec<_>>().join(":")
}

#[test]
fn each_provider_opens_what_it_sealed_and_nothing_else() {
    for (provider, sizes) in [("aescbc", &[16, 24, 32][..]), ("aesgcm", &[16, 24, 32]), ("secretbox", &[32])]
    {
        for size in sizes {
            let one = with(&format!("[{{{provider}: {{keys: [{}]}}}}]", key("k1", 7, *size)));
            let sealed = one.seal(&SECRETS, "a/s", b"hunter2").unwrap();
            assert!(sealed.starts_with(format!("k8s:enc:{provider}:v1:k1:").as_bytes()));
            assert!(!sealed.windows(7).any(|w| w == b"hunter2"), "{provider}");
            assert_ne!(
                sealed,
                one.seal(&SECRETS, "a/s", b"hunter2").unwrap(),
                "{provider}: no two are the same"
            );
            assert_eq!(one.unseal(&SECRETS, "a/s", &sealed).unwrap(), b"hunter2");
            let other = with(&format!("[{{{provider}: {{keys: [{}]}}}}]", key("k1", 8, *size)));
            assert!(
                other.unseal(&SECRETS, "a/s", &sealed).is_err(),
                "{provider}: another secret of the same name"
            );
            let rotated = with(&format!(
                "[{{{provider}: {{keys: [{}, {}]}}}}]",
                key("k2", 9, *size),
                key("k1", 7, *size)
            ));
            assert_eq!(rotated.unseal(&SECRETS, "a/s", &sealed).unwrap(), b"hunter2");
            assert!(rotated.is_stale(&SECRETS, &sealed) && !one.is_stale(&SECRETS, &sealed));
        }
    }
    let gcm = with(&format!("[{{aesgcm: {{keys: [{}]}}}}]", key("k1", 7, 32)));
    let sealed = gcm.seal(&SECRETS, "a/s", b"x").unwrap();
    assert!(gcm.unseal(&SECRETS, "a/other", &sealed).is_err(), "a value moved to another key is not taken");
}

#[test]
fn what_no_key_opens_is_told_in_upstreams_words() {
    let one = with(&format!("[{{aescbc: {{keys: [{}]}}}}]", key("key1", 7, 32)));
    let sealed = one.seal(&SECRETS, "a/s", b"hunter2").unwrap();
    let why = |providers: &str, stored: &[u8]| with(providers).unseal(&SECRETS, "a/s", stored).unwrap_err();
    assert_eq!(why("[{identity: {}}]", &sealed), "no matching prefix found");
    assert_eq!(
        why(&format!("[{{aescbc: {{keys: [{}]}}}}]", key("key2", 7, 32)), &sealed),
        "no matching key was found for the provided AES transformer"
    );
    assert_eq!(
        why(&format!("[{{aesgcm: {{keys: [{}]}}}}]", key("k", 7, 32)), b"{}"),
        "no matching prefix found"
    );
}

#[test]
fn a_configuration_is_refused_in_upstreams_words() {
    let refused = |text: &str| load(text, "/e.yaml").unwrap_err();
    let keys = |provider: &str, key: &str| config(&format!("[{{{provider}: {{keys: [{key}]}}}}]"));
    let short = "{name: a, secret: c2hvcnRrZXk=}";
    for (text, expected) in [
        (
            keys("aescbc", short),
            "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 8, expected one of [16 24 32]",
        ),
        (
            keys("secretbox", short),
            "resources[0].providers[0].secretbox.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 8, expected one of [32]",
        ),
        (
            keys("aescbc", "{name: a, secret: '%%%'}"),
            "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secrets must be base64 encoded",
        ),
        (
            keys("aesgcm", "{name: a}"),
            "resources[0].providers[0].aesgcm.keys[0].secret: Required value: secret is a mandatory field for a key",
        ),
        (
            config("[]"),
            "resources[0].providers: Required value: at least one resources[0].providers is required",
        ),
        (
            keys("aescbd", short),
            "error decoding encryption provider configuration file \"/e.yaml\": strict decoding error: unknown field \"resources[0].providers[0].aescbd\"",
        ),
        (
            config("[{identity: {}}]").replace("EncryptionConfiguration", "EncryptionConfig"),
            "error decoding encryption provider configuration file \"/e.yaml\": no kind \"EncryptionConfig\" is registered for version \"apiserver.config.k8s.io/v1\" in scheme \"pkg/server/options/encryptionconfig/config.go:142\"",
        ),
    ] {
        assert_eq!(refused(&text), format!("error while parsing file: {expected}"));
    }
}

#[test]
fn resources_are_named_as_upstream_lets_them_be() {
    let text = config("[{identity: {}}]");
    for (pattern, secrets, deployments) in [
        ("secrets", true, false),
        ("deployments.apps", false, true),
        ("'*.apps'", false, true),
        ("'*.'", true, false),
        ("'*.*'", true, true),
        ("deployments", false, false),
    ] {
        let all = load(&text.replace("[secrets]", &format!("[{pattern}]")), "/e.yaml").unwrap();
        assert_eq!(all.covers(&SECRETS), secrets, "{pattern}");
        assert_eq!(all.covers(&GroupResource::of("apps", "deployments")), deployments, "{pattern}");
    }
}

/// What learners do: encrypt, see that old values stay, rewrite them, and lose the key.
#[test]
fn values_stay_as_they_were_written_until_they_are_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.create(&SECRETS, "a", "old", object("old")).unwrap();
    store.create(&CONFIG_MAPS, "a", "plain", object("plain")).unwrap();
    let cbc = format!("{{aescbc: {{keys: [{}]}}}}", key("key1", 7, 32));
    store.set_transformer(Some(with(&format!("[{cbc}, {{identity: {{}}}}]"))));
    store.create(&SECRETS, "a", "new", object("new")).unwrap();
    assert_eq!(
        (prefix(&store, "old"), prefix(&store, "new")),
        ("plain".into(), "k8s:enc:aescbc:v1:key1".into())
    );
    let before = store.get(&SECRETS, "a", "old").unwrap();
    let after = store.update(&SECRETS, "a", "old", None, Value::clone(&before.object)).unwrap();
    assert!(after.revision > before.revision, "the same content is written again where it lies otherwise");
    assert_eq!(prefix(&store, "old"), "k8s:enc:aescbc:v1:key1");
    let again = store.update(&SECRETS, "a", "old", None, Value::clone(&after.object)).unwrap();
    assert_eq!(again.revision, after.revision, "and only then");

    // Without the key they are there and cannot be read.
    store.set_transformer(Some(with("[{identity: {}}]")));
    assert!(store.get(&SECRETS, "a", "new").is_none());
    assert_eq!(store.locked(&SECRETS, "a", "new").unwrap(), "no matching prefix found");
    assert_eq!(store.all_locked(&SECRETS, Some("a")).len(), 2);
    assert_eq!(store.all_locked(&SECRETS, Some("b")).len(), 0);
    assert!(store.create(&SECRETS, "a", "new", object("new")).is_err(), "nothing takes its place");
    assert!(store.get(&CONFIG_MAPS, "a", "plain").is_some());
    let revision = store.revision();
    drop(store);

    // Nor does the disk know more; it is all there once the key is back.
    let log = std::fs::read(dir.path().join("log.0")).unwrap();
    let text = String::from_utf8_lossy(&log);
    assert_eq!(text.matches("hunter2").count(), 2, "the first writes of what was plain, and no other");
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.revision(), revision);
    assert!(store.locked(&SECRETS, "a", "old").unwrap().contains("identity transformer"));
    store.set_transformer(Some(with(&format!("[{{identity: {{}}}}, {cbc}]"))));
    assert_eq!(store.get(&SECRETS, "a", "new").unwrap().object["data"], "hunter2");
    let new = store.get(&SECRETS, "a", "new").unwrap();
    store.update(&SECRETS, "a", "new", None, Value::clone(&new.object)).unwrap();
    assert_eq!(prefix(&store, "new"), "plain", "identity first, and what is rewritten is plain again");
    store.set_transformer(None);
    assert!(store.get(&SECRETS, "a", "new").is_some() && store.get(&SECRETS, "a", "old").is_none());
}

/// A plain value needs identity among the providers.
#[test]
fn without_identity_what_is_plain_cannot_be_read() {
    let store = Store::in_memory();
    store.create(&SECRETS, "a", "old", object("old")).unwrap();
    store.set_transformer(Some(with(&format!("[{{aescbc: {{keys: [{}]}}}}]", key("key1", 7, 32)))));
    assert_eq!(store.locked(&SECRETS, "a", "old").unwrap(), "no matching prefix found");
}

#[tokio::test]
async fn the_api_answers_as_upstream_does() {
    use http_body_util::BodyExt as _;

    use crate::clock::ManualClock;
    use crate::sim::api::{Api, Identity};
    use crate::sim::attributes::UserInfo;

    let api = Api::in_memory(Arc::new(ManualClock::new("2026-11-23T03:51:18Z".parse().unwrap())));
    let send = async |method: &str, path: &str, body: &str| {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .extension(Identity(UserInfo::named("ann", &[])))
            .body(http_body_util::Full::new(bytes::Bytes::from(body.to_owned())))
            .unwrap();
        let response = api.handle(request).await;
        let code = response.status().as_u16();
        let body: Value =
            serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
        (code, body["message"].as_str().unwrap_or_default().to_owned())
    };
    let cbc = |name: &str| with(&format!("[{{aescbc: {{keys: [{}]}}}}]", key(name, 7, 32)));
    api.store().set_transformer(Some(cbc("key1")));
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = r#"{"apiVersion":"v1","kind":"Secret","metadata":{"name":"new"}}"#;
    assert_eq!(send("POST", secrets, secret).await.0, 201);
    assert_eq!(send("GET", &format!("{secrets}/new"), "").await.0, 200);
    api.store().set_transformer(Some(cbc("key2")));
    let why = "no matching key was found for the provided AES transformer";
    let one = (500, format!("Internal error occurred: {why}"));
    assert_eq!(send("GET", &format!("{secrets}/new"), "").await, one);
    assert_eq!(send("DELETE", &format!("{secrets}/new"), "").await, one);
    let all =
        format!("Internal error occurred: unable to transform key \"/registry/secrets/default/new\": {why}");
    assert_eq!(send("GET", secrets, "").await, (500, all.clone()));
    assert_eq!(send("GET", "/api/v1/secrets", "").await, (500, all));
    assert_eq!(send("GET", "/api/v1/namespaces/other/secrets", "").await.0, 200);
    assert_eq!(send("POST", secrets, secret).await.0, 409);
    assert_eq!(send("GET", "/api/v1/configmaps", "").await.0, 200);
}
