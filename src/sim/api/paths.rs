//! Paths that are no resources: discovery, version, health, metrics, OpenID configuration.

use http::Response;
use http::request::Parts;
use serde_json::{Value, json};

use super::answer::{self, Accepted, Body};
use super::discovery::{self, Form};
use super::request::{Query, RequestInfo};
use super::{Api, openapi};
use crate::sim::status::Status;

/// The version that the simulated cluster is of.
pub const VERSION: &str = "v1.34.9";

/// What `/healthz` and its kin check, as a real server names it.
const CHECKS: &[&str] = &[
    "ping",
    "log",
    "etcd",
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/priority-and-fairness-config-consumer",
    "poststarthook/priority-and-fairness-filter",
    "poststarthook/storage-object-count-tracker-hook",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/start-cluster-authentication-info-controller",
    "poststarthook/start-kube-apiserver-identity-lease-controller",
    "poststarthook/start-kube-apiserver-identity-lease-garbage-collector",
    "poststarthook/start-legacy-token-tracking-controller",
    "poststarthook/start-service-ip-repair-controllers",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-kubernetes-service-cidr-controller",
    "poststarthook/aggregator-reload-proxy-client-cert",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-status-local-available-controller",
    "poststarthook/apiservice-status-remote-available-controller",
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-discovery-controller",
    "poststarthook/kube-apiserver-autoregistration",
    "autoregister-completion",
    "poststarthook/apiservice-openapi-controller",
    "poststarthook/apiservice-openapiv3-controller",
];

/// What `/debug/pprof` lists.
const PROFILES: &str = "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n/debug/pprof/\n<br>\n<p>Set debug=1 as a query parameter to export in legacy text format</p>\n</body>\n</html>\n";

/// Answers a request for a path.
pub(crate) fn respond(
    api: &Api,
    parts: &Parts,
    info: &RequestInfo,
    query: &Query,
    accepted: Result<Accepted, Status>,
) -> Result<Response<Body>, Status> {
    let path = info.path.trim_end_matches('/');
    let resources = api.resources();
    let plain = Accepted { shape: answer::Shape::Full, ..*accepted.as_ref().unwrap_or(&Accepted::default()) };
    let accept = parts.headers.get(http::header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let found = |document: Option<Value>| match document {
        Some(document) => Ok(answer::object(200, &document, plain)),
        None => Ok(answer::not_found()),
    };
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        [] => Ok(answer::object(200, &root(&resources), plain)),
        ["version"] => Ok(answer::bytes(200, "application/json", version().into())),
        ["api"] => {
            let form = Form::negotiate(accept);
            let document = discovery::api(&resources, form, &api.address());
            Ok(discovered(&document, form, plain))
        }
        ["apis"] => {
            let form = Form::negotiate(accept);
            Ok(discovered(&discovery::apis(&resources, form), form, plain))
        }
        ["api", version] => found(discovery::resource_list(&resources, "", version)),
        ["apis", group] => found(discovery::group(&resources, group)),
        ["apis", group, version] => found(discovery::resource_list(&resources, group, version)),
        ["healthz" | "livez" | "readyz"] => Ok(health(segments[0], query)),
        ["healthz" | "livez" | "readyz", rest @ ..] => {
            let check = rest.join("/");
            if CHECKS.contains(&check.as_str()) {
                Ok(answer::text(200, "ok"))
            } else {
                Ok(answer::not_found())
            }
        }
        ["openapi", "v2"] => {
            let protobuf = openapi::v2::wants_protobuf(accept);
            let media_type = if protobuf { openapi::v2::PROTOBUF } else { "application/json" };
            Ok(answer::bytes(200, media_type, openapi::v2::document(&resources, protobuf)))
        }
        ["openapi", "v3"] => Ok(answer::object(200, &openapi::index(&resources), plain)),
        ["openapi", "v3", "api", version] => document(openapi::document(&resources, "", version)),
        ["openapi", "v3", "apis", group, version] => document(openapi::document(&resources, group, version)),
        ["metrics"] => Ok(answer::text(200, metrics(api))),
        ["debug", "pprof"] if api.generation().profiling => Ok(answer::text(200, PROFILES)),
        [".well-known", "openid-configuration"] => {
            Ok(answer::object(200, &api.openid_configuration(), plain))
        }
        ["openid", "v1", "jwks"] => Ok(answer::object(200, &api.jwks(), plain)),
        _ => Ok(answer::not_found()),
    }
}

fn document(bytes: Option<bytes::Bytes>) -> Result<Response<Body>, Status> {
    Ok(bytes.map_or_else(answer::not_found, |bytes| answer::bytes(200, "application/json", bytes)))
}

fn discovered(document: &Value, form: Form, accepted: Accepted) -> Response<Body> {
    let mut response = answer::object(200, document, Accepted { yaml: false, ..accepted });
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(form.content_type()));
    response.headers_mut().insert("vary", http::HeaderValue::from_static("Accept"));
    response
}

/// What `/version` answers, in its own order and always indented.
fn version() -> String {
    let fields = [
        ("major", "1"),
        ("minor", "34"),
        ("emulationMajor", "1"),
        ("emulationMinor", "34"),
        ("minCompatibilityMajor", "1"),
        ("minCompatibilityMinor", "33"),
        ("gitVersion", VERSION),
        ("gitCommit", "0000000000000000000000000000000000000000"),
        ("gitTreeState", "clean"),
        ("buildDate", "2026-10-20T12:00:00Z"),
        ("goVersion", "go1.24.9"),
        ("compiler", "gc"),
        ("platform", "linux/amd64"),
    ];
    let lines: Vec<String> = fields.iter().map(|(name, value)| format!("  {name:?}: {value:?}")).collect();
    format!("{{\n{}\n}}", lines.join(",\n"))
}

fn root(resources: &super::resources::Resources) -> Value {
    let mut paths: Vec<String> =
        vec!["/.well-known/openid-configuration".into(), "/api".into(), "/api/v1".into()];
    paths.push("/apis".into());
    paths.push("/apis/".into());
    for group in resources.groups().iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|version| format!("/apis/{}/{}", group.name, version.name)));
    }
    paths.push("/healthz".into());
    paths.extend(CHECKS.iter().map(|check| format!("/healthz/{check}")));
    paths.push("/livez".into());
    paths.extend(CHECKS.iter().map(|check| format!("/livez/{check}")));
    for path in ["/metrics", "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/openid/v1/jwks", "/readyz"] {
        paths.push(path.into());
    }
    paths.extend(CHECKS.iter().map(|check| format!("/readyz/{check}")));
    paths.push("/version".into());
    paths.sort();
    json!({ "paths": paths })
}

fn health(kind: &str, query: &Query) -> Response<Body> {
    let excluded: Vec<&str> = query.all("exclude").collect();
    let verbose = query.get("verbose").is_some();
    let mut text = String::new();
    let extra: &[&str] = if kind == "readyz" { &["shutdown"] } else { &[] };
    let mut unknown: Vec<&str> = excluded.clone();
    for check in CHECKS.iter().chain(extra) {
        if excluded.contains(check) {
            unknown.retain(|name| name != check);
            text.push_str(&format!("[+]{check} excluded: ok\n"));
        } else {
            text.push_str(&format!("[+]{check} ok\n"));
        }
    }
    if !unknown.is_empty() {
        let names: Vec<String> = unknown.iter().map(|name| format!("{name:?}")).collect();
        text.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {}\n",
            names.join(",")
        ));
    }
    if !verbose {
        return answer::text(200, "ok");
    }
    text.push_str(&format!("{kind} check passed\n"));
    answer::text(200, text)
}

fn metrics(api: &Api) -> String {
    let mut text = String::from(
        "# HELP apiserver_storage_objects [STABLE] Number of stored objects at the time of last check split by kind. \
         In case of a fetching error, the value will be -1.\n# TYPE apiserver_storage_objects gauge\n",
    );
    for resource in api.store().resources() {
        text.push_str(&format!(
            "apiserver_storage_objects{{resource=\"{resource}\"}} {}\n",
            api.store().count(&resource)
        ));
    }
    text.push_str(&format!(
        "# HELP kubernetes_build_info [ALPHA] A metric with a constant '1' value labeled by major, minor, git version, \
         git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform \
         on which it is running.\n# TYPE kubernetes_build_info gauge\nkubernetes_build_info{{git_version=\"{VERSION}\",\
         major=\"1\",minor=\"34\",platform=\"linux/amd64\"}} 1\n"
    ));
    text
}
