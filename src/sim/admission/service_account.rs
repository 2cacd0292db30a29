//! ServiceAccount: every Pod runs as a service account that exists, with its token and pull secrets.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::pods::{PODS, items, text};
use super::{AdmissionCx, AdmissionRequest, Operation, Plugin};
use crate::sim::object::{field_at, items_mut};
use crate::sim::pod_refs::{self, is_mirror};
use crate::sim::random;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME: &str = "kube-api-access-";
const MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

/// How often, and how long apart, a namespace's own account is looked for: a controller makes it a moment after the
/// namespace.
const ATTEMPTS: u32 = 10;
const BETWEEN: Duration = Duration::from_millis(100);

static SERVICE_ACCOUNTS: GroupResource = GroupResource::of("", "serviceaccounts");

/// The plugin.
#[derive(Debug, Default)]
pub struct ServiceAccount;

#[async_trait]
impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if request.operation != Operation::Create || !request.is_for(&PODS) {
            return Ok(());
        }
        if is_mirror(request.object()) {
            return self.validate(cx, request).await;
        }
        let Some(mut pod) = request.object.take() else { return Ok(()) };
        let spec = field_at(&mut pod, "spec");
        if text(spec, "serviceAccountName").is_empty() {
            spec["serviceAccountName"] = json!("default");
        }
        let name = text(spec, "serviceAccountName").to_owned();
        // The old name of the field says the same.
        spec["serviceAccount"] = json!(name);
        request.object = Some(pod);
        let account = find(cx, request, &name).await?;
        if let Some(spec) = request.object.as_mut().map(|pod| field_at(pod, "spec")) {
            let wanted = spec["automountServiceAccountToken"].as_bool();
            if wanted.or(account["automountServiceAccountToken"].as_bool()).unwrap_or(true) {
                mount_token(spec);
            }
            let own = &account["imagePullSecrets"];
            if items(&spec["imagePullSecrets"]).next().is_none() && items(own).next().is_some() {
                spec["imagePullSecrets"] = own.clone();
            }
        }
        check_secrets(request, &account)
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if !request.concerns(&PODS) {
            return Ok(());
        }
        let name = text(&request.object()["spec"], "serviceAccountName").to_owned();
        match (request.operation, request.subresource.as_str()) {
            (Operation::Update, "ephemeralcontainers") => {
                if is_mirror(request.object()) {
                    return Ok(());
                }
                let account = find(cx, request, &name).await?;
                if is_enforced(&account) {
                    let mountable = secrets_of(&account);
                    let ephemeral = items(&request.object()["spec"]["ephemeralContainers"]);
                    for container in ephemeral {
                        check_container(request, container, "ephemeral container", &mountable, &account)?;
                    }
                }
                Ok(())
            }
            (Operation::Create, "") => {
                if is_mirror(request.object()) {
                    return check_mirror(request);
                }
                if name.is_empty() {
                    let why = format!(
                        "no service account specified for pod {}/{}",
                        request.namespace,
                        text(&request.object()["metadata"], "name")
                    );
                    return Err(request.forbidden(why));
                }
                let account = find(cx, request, &name).await?;
                check_secrets(request, &account)
            }
            _ => Ok(()),
        }
    }
}

async fn find(
    cx: &AdmissionCx<'_>,
    request: &AdmissionRequest,
    name: &str,
) -> Result<std::sync::Arc<Value>, Status> {
    let attempts = if name == "default" { ATTEMPTS } else { 1 };
    for attempt in 0..attempts {
        if attempt > 0 {
            tokio::time::sleep(BETWEEN).await;
        }
        if let Some(account) = cx.get(&SERVICE_ACCOUNTS, &request.namespace, name) {
            return Ok(account);
        }
    }
    let why = format!(
        "error looking up service account {}/{name}: serviceaccount {name:?} not found",
        request.namespace
    );
    Err(request.forbidden(why))
}

fn check_mirror(request: &AdmissionRequest) -> Result<(), Status> {
    let spec = &request.object()["spec"];
    if !text(spec, "serviceAccountName").is_empty() {
        return Err(request.forbidden("a mirror pod may not reference service accounts"));
    }
    if pod_refs::secrets(spec).next().is_some() {
        return Err(request.forbidden("a mirror pod may not reference secrets"));
    }
    let projects_token = items(&spec["volumes"])
        .flat_map(|volume| items(&volume["projected"]["sources"]))
        .any(|source| source["serviceAccountToken"].is_object());
    if projects_token {
        return Err(request.forbidden("a mirror pod may not use ServiceAccountToken volume projections"));
    }
    Ok(())
}

fn is_enforced(account: &Value) -> bool {
    let value = account["metadata"]["annotations"][MOUNTABLE].as_str();
    matches!(value, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
}

fn secrets_of(account: &Value) -> Vec<&str> {
    items(&account["secrets"]).filter_map(|secret| secret["name"].as_str()).collect()
}

fn check_secrets(request: &AdmissionRequest, account: &Value) -> Result<(), Status> {
    if !is_enforced(account) {
        return Ok(());
    }
    let mountable = secrets_of(account);
    let name = text(&account["metadata"], "name");
    let spec = &request.object()["spec"];
    for secret in items(&spec["volumes"]).filter_map(|volume| volume["secret"]["secretName"].as_str()) {
        if !mountable.contains(&secret) {
            return Err(request.forbidden(format!(
                "volume with secret.secretName=\"{secret}\" is not allowed because service account {name} does not reference that secret"
            )));
        }
    }
    for (list, kind) in [("initContainers", "init container"), ("containers", "container")] {
        for container in items(&spec[list]) {
            check_container(request, container, kind, &mountable, account)?;
        }
    }
    let pullable: Vec<&Value> = items(&account["imagePullSecrets"]).map(|secret| &secret["name"]).collect();
    for (index, secret) in items(&spec["imagePullSecrets"]).enumerate() {
        if !pullable.contains(&&secret["name"]) {
            return Err(request.forbidden(format!(
                "imagePullSecrets[{index}].name=\"{}\" is not allowed because service account {name} does not reference that imagePullSecret",
                text(secret, "name")
            )));
        }
    }
    Ok(())
}

fn check_container(
    request: &AdmissionRequest,
    container: &Value,
    kind: &str,
    mountable: &[&str],
    account: &Value,
) -> Result<(), Status> {
    let (own, account) = (text(container, "name"), text(&account["metadata"], "name"));
    let refuse = |what: String, secret: &str| {
        Err(request.forbidden(format!(
            "{kind} {own} with {what} referencing secret.secretName=\"{secret}\" is not allowed because service account {account} does not reference that secret"
        )))
    };
    for env in items(&container["env"]) {
        if let Some(secret) = env["valueFrom"]["secretKeyRef"]["name"].as_str()
            && !mountable.contains(&secret)
        {
            return refuse(format!("envVar {}", text(env, "name")), secret);
        }
    }
    for from in items(&container["envFrom"]) {
        if let Some(secret) = from["secretRef"]["name"].as_str()
            && !mountable.contains(&secret)
        {
            return refuse("envFrom".to_owned(), secret);
        }
    }
    Ok(())
}

fn mount_token(spec: &mut Value) {
    let existing =
        items(&spec["volumes"]).map(|volume| text(volume, "name")).find(|name| name.starts_with(VOLUME));
    let has_volume = existing.is_some();
    let volume = existing.map_or_else(|| format!("{VOLUME}{}", random::suffix(5)), ToOwned::to_owned);
    let mount = json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH});
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        for container in items_mut(spec, list) {
            if items(&container["volumeMounts"]).any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            push(container, "volumeMounts", mount.clone());
            needed = true;
        }
    }
    if needed && !has_volume {
        push(spec, "volumes", token_volume(&volume));
    }
}

fn push(object: &mut Value, list: &str, item: Value) {
    let list = field_at(object, list);
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = json!([item]),
    }
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{
                    "path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                }]}},
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::admission::testing::{Cluster, create, update};

    fn account(name: &str, fields: Value) -> Value {
        let mut account = json!({"metadata": {"name": name, "namespace": "n"}});
        for (key, value) in fields.as_object().unwrap() {
            account[key] = value.clone();
        }
        account
    }

    fn pod(spec: Value) -> Value {
        json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec})
    }

    fn admitted(cluster: &Cluster, spec: Value) -> Value {
        let mut request = create("", "pods", pod(spec));
        cluster.admit(&ServiceAccount, &mut request).unwrap();
        cluster.validate(&ServiceAccount, &mut request).unwrap();
        request.object.unwrap()["spec"].clone()
    }

    fn refusal(cluster: &Cluster, spec: Value) -> String {
        let mut request = create("", "pods", pod(spec));
        cluster.admit(&ServiceAccount, &mut request).unwrap_err().message
    }

    #[test]
    fn a_pod_gets_the_default_account_and_its_token() {
        let cluster = Cluster::new().with(&SERVICE_ACCOUNTS, account("default", json!({})));
        let spec = admitted(
            &cluster,
            json!({"initContainers": [{"name": "i"}], "containers": [{"name": "c"}, {
                "name": "own", "volumeMounts": [{"name": "x", "mountPath": MOUNT_PATH}],
            }]}),
        );
        assert_eq!(
            (&spec["serviceAccountName"], &spec["serviceAccount"]),
            (&json!("default"), &json!("default"))
        );
        let volume = spec["volumes"][0]["name"].as_str().unwrap();
        assert!(volume.starts_with("kube-api-access-") && volume.len() == VOLUME.len() + 5, "{volume}");
        let mount = json!([{"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}]);
        assert_eq!(spec["initContainers"][0]["volumeMounts"], mount);
        assert_eq!(spec["containers"][0]["volumeMounts"], mount);
        assert_eq!(spec["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
        // As recorded from a real cluster.
        assert_eq!(
            spec["volumes"][0]["projected"],
            json!({"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"items": [{"key": "ca.crt", "path": "ca.crt"}], "name": "kube-root-ca.crt"}},
                {"downwardAPI": {"items": [
                    {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}, "path": "namespace"}]}},
            ]})
        );
    }

    #[test]
    fn automounting_is_decided_by_the_pod_then_the_account() {
        let cluster = Cluster::new()
            .with(&SERVICE_ACCOUNTS, account("off", json!({"automountServiceAccountToken": false})))
            .with(&SERVICE_ACCOUNTS, account("on", json!({})));
        let mounts = |account: &str, own: Value| {
            let spec = json!({"serviceAccountName": account, "automountServiceAccountToken": own, "containers": [{}]});
            admitted(&cluster, spec)["volumes"].is_array()
        };
        assert!(mounts("on", Value::Null));
        assert!(!mounts("off", Value::Null));
        assert!(mounts("off", json!(true)));
        assert!(!mounts("on", json!(false)));
    }

    #[test]
    fn an_account_that_is_not_there_refuses_the_pod() {
        let cluster = Cluster::new();
        assert_eq!(
            refusal(&cluster, json!({"serviceAccountName": "nobody"})),
            r#"pods "p" is forbidden: error looking up service account n/nobody: serviceaccount "nobody" not found"#
        );
        let mut generated = create(
            "",
            "pods",
            json!({"metadata": {"generateName": "w-", "namespace": "n"},
            "spec": {"serviceAccountName": "nobody"}}),
        );
        let message = cluster.admit(&ServiceAccount, &mut generated).unwrap_err().message;
        assert!(message.starts_with(r#"pods "w-" is forbidden"#), "{message}");
    }

    #[test]
    fn pull_secrets_come_from_the_account_unless_the_pod_has_some() {
        let own = json!([{"name": "reg"}]);
        let cluster =
            Cluster::new().with(&SERVICE_ACCOUNTS, account("default", json!({"imagePullSecrets": own})));
        assert_eq!(admitted(&cluster, json!({}))["imagePullSecrets"], own);
        let other = json!([{"name": "other"}]);
        assert_eq!(admitted(&cluster, json!({"imagePullSecrets": other}))["imagePullSecrets"], other);
    }

    #[test]
    fn secrets_can_be_limited_to_those_of_the_account() {
        let mut limited =
            account("default", json!({"secrets": [{"name": "mine"}], "imagePullSecrets": [{"name": "reg"}]}));
        limited["metadata"]["annotations"] = json!({ MOUNTABLE: "true" });
        let cluster = Cluster::new().with(&SERVICE_ACCOUNTS, limited);
        let env = |secret: &str| json!([{"name": "E", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]);
        admitted(&cluster, json!({"containers": [{"name": "c", "env": env("mine")}]}));
        for (spec, why) in [
            (
                json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
                r#"volume with secret.secretName="s" is not allowed because service account default does not reference that secret"#,
            ),
            (
                json!({"containers": [{"name": "c", "env": env("s")}]}),
                r#"container c with envVar E referencing secret.secretName="s" is not allowed because service account default does not reference that secret"#,
            ),
            (
                json!({"initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "s"}}]}]}),
                r#"init container i with envFrom referencing secret.secretName="s" is not allowed because service account default does not reference that secret"#,
            ),
            (
                json!({"imagePullSecrets": [{"name": "reg"}, {"name": "x"}]}),
                r#"imagePullSecrets[1].name="x" is not allowed because service account default does not reference that imagePullSecret"#,
            ),
        ] {
            assert_eq!(refusal(&cluster, spec), format!(r#"pods "p" is forbidden: {why}"#));
        }
        let before = pod(json!({"serviceAccountName": "default"}));
        let mut after = before.clone();
        after["spec"]["ephemeralContainers"] = json!([{"name": "e", "env": env("s")}]);
        let mut request = update("", "pods", before, after);
        request.subresource = "ephemeralcontainers".into();
        let message = cluster.validate(&ServiceAccount, &mut request).unwrap_err().message;
        assert!(message.contains("ephemeral container e with envVar E referencing"), "{message}");
    }

    #[test]
    fn mirror_pods_reference_nothing() {
        let cluster = Cluster::new();
        let mirror = |spec: Value| {
            let mut pod = pod(spec);
            pod["metadata"]["annotations"] = json!({ pod_refs::MIRROR_ANNOTATION: "x" });
            let mut request = create("", "pods", pod);
            let result = cluster.admit(&ServiceAccount, &mut request);
            (result.map_err(|refusal| refusal.message), request.object.unwrap())
        };
        let (result, object) = mirror(json!({"containers": [{"name": "c"}]}));
        result.unwrap();
        assert_eq!(object["spec"], json!({"containers": [{"name": "c"}]}));
        let why = |spec: Value| mirror(spec).0.unwrap_err();
        assert!(
            why(json!({"serviceAccountName": "x"}))
                .ends_with("a mirror pod may not reference service accounts")
        );
        let secret = json!({"volumes": [{"projected": {"sources": [{"secret": {"name": "s"}}]}}]});
        assert!(why(secret).ends_with("a mirror pod may not reference secrets"));
        let token =
            json!({"volumes": [{"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]});
        assert!(why(token).ends_with("a mirror pod may not use ServiceAccountToken volume projections"));
    }
}
