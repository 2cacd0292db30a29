//! Authorization and admission as clients meet them: the whole way of a request, several clients at once.

use std::sync::Arc;

use cks_lab::clock::SystemClock;
use cks_lab::sim::attributes::UserInfo;
use cks_lab::sim::server::SimulatedCluster;
use k8s_openapi::api::authorization::v1::SelfSubjectRulesReview;
use k8s_openapi::api::core::v1::{Namespace, Pod, ResourceQuota, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

async fn cluster() -> SimulatedCluster {
    SimulatedCluster::in_memory(Arc::new(SystemClock)).await.unwrap()
}

fn read<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// Creates an object; what is there already is as good.
async fn create<T>(api: &Api<T>, value: Value) -> Result<T, String>
where
    T: Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    match api.create(&PostParams::default(), &read(value)).await {
        Ok(object) => Ok(object),
        Err(kube::Error::Api(status)) => Err(status.message.clone()),
        Err(other) => panic!("{other}"),
    }
}

async fn namespace(client: &Client, labels: Value) {
    create::<Namespace>(&Api::all(client.clone()), json!({"metadata": {"name": "n", "labels": labels}}))
        .await
        .unwrap();
    let account = json!({"metadata": {"name": "default"}});
    // A controller may have been faster.
    let _ = create::<ServiceAccount>(&Api::namespaced(client.clone(), "n"), account).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_at_once_never_exceed_a_quota() {
    let cluster = cluster().await;
    let client = cluster.kube_client();
    namespace(&client, json!({})).await;
    let quotas: Api<ResourceQuota> = Api::namespaced(client.clone(), "n");
    create(&quotas, json!({"metadata": {"name": "q"}, "spec": {"hard": {"secrets": "5"}}})).await.unwrap();
    let writers = (0..24).map(|number| {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), "n");
        tokio::spawn(
            async move { create(&secrets, json!({"metadata": {"name": format!("s{number}")}})).await },
        )
    });
    let mut refusals = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        if let Err(refusal) = writer.await.unwrap() {
            refusals.push(refusal);
        }
    }
    assert_eq!(refusals.len(), 19);
    assert!(
        refusals.iter().all(|why| why
            .ends_with("exceeded quota: q, requested: secrets=1, used: secrets=5, limited: secrets=5")),
        "{refusals:?}"
    );
    let secrets: Api<Secret> = Api::namespaced(client.clone(), "n");
    assert_eq!(secrets.list(&Default::default()).await.unwrap().items.len(), 5);
    let used = quotas.get("q").await.unwrap().status.unwrap().used.unwrap();
    assert_eq!(used["secrets"].0, "5");
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let cluster = cluster().await;
    let admin = cluster.kube_client();
    namespace(&admin, json!({})).await;
    let binding = |role: &str, user: &str| {
        json!({"metadata": {"name": format!("{user}-{role}")},
            "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
            "roleRef": {"kind": "ClusterRole", "name": role, "apiGroup": "rbac.authorization.k8s.io"}})
    };
    let as_admin: Api<RoleBinding> = Api::namespaced(admin.clone(), "n");
    create(&as_admin, binding("admin", "joe")).await.unwrap();
    let joe = cluster.kube_client_as(UserInfo::named("joe", &[]));
    let bindings: Api<RoleBinding> = Api::namespaced(joe.clone(), "n");
    let roles: Api<Role> = Api::namespaced(joe.clone(), "n");
    create(&bindings, binding("edit", "jane")).await.unwrap();
    let refusal = create(&bindings, binding("cluster-admin", "joe")).await.unwrap_err();
    assert!(
        refusal.contains("is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"*\"]")
    );
    let role = json!({"metadata": {"name": "more"}, "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]});
    assert!(
        create(&roles, role.clone())
            .await
            .unwrap_err()
            .contains("{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}")
    );
    create::<Role>(&Api::namespaced(admin.clone(), "n"), role).await.unwrap();
    // Nor by a change of what is there.
    let grow = json!({"rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["delete"]}]});
    let patch = roles.patch("more", &PatchParams::default(), &Patch::Merge(grow)).await;
    assert!(matches!(patch, Err(kube::Error::Api(status)) if status.code == 403));
    let other = json!({"roleRef": {"name": "view"}});
    let patch = as_admin.patch("joe-admin", &PatchParams::default(), &Patch::Merge(other)).await;
    assert!(
        matches!(patch, Err(kube::Error::Api(status)) if status.code == 422 && status.message.contains("cannot change roleRef"))
    );
    // What jane got holds at once, and she sees it.
    let jane = cluster.kube_client_as(UserInfo::named("jane", &[]));
    let review = json!({"spec": {"namespace": "n"}});
    let review: SelfSubjectRulesReview = create(&Api::all(jane), review).await.unwrap();
    let rules = review.status.unwrap().resource_rules;
    assert!(
        rules.iter().any(|rule| rule.resources.iter().flatten().any(|resource| resource == "deployments"))
    );
}

#[tokio::test]
async fn a_restricted_namespace_takes_hardened_pods_only() {
    let cluster = cluster().await;
    let client = cluster.kube_client();
    namespace(&client, json!({"pod-security.kubernetes.io/enforce": "restricted"})).await;
    let pods: Api<Pod> = Api::namespaced(client.clone(), "n");
    let pod = |pod_security: Value, security: Value| {
        json!({"metadata": {"generateName": "p-"}, "spec": {"securityContext": pod_security,
            "containers": [{"name": "c", "image": "nginx:1.27", "securityContext": security}]}})
    };
    let refusal = create(&pods, pod(json!({}), json!({}))).await.unwrap_err();
    assert!(
        refusal
            .contains(r#"is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation"#)
    );
    assert!(
        refusal.starts_with(r#"pods "p-"#) && !refusal.starts_with(r#"pods "p-" "#),
        "the name is made: {refusal}"
    );
    let hardened = pod(
        json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}),
        json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}),
    );
    let created = create(&pods, hardened).await.unwrap();
    let spec = created.spec.unwrap();
    assert_eq!(spec.service_account_name.as_deref(), Some("default"));
    assert_eq!(spec.priority, Some(0));
    assert_eq!(spec.tolerations.unwrap().len(), 2);
    assert!(spec.volumes.unwrap()[0].name.starts_with("kube-api-access-"));
}

#[tokio::test]
async fn a_kubelet_is_held_to_its_node() {
    let cluster = cluster().await;
    let admin = cluster.kube_client();
    namespace(&admin, json!({})).await;
    create::<Secret>(&Api::namespaced(admin.clone(), "n"), json!({"metadata": {"name": "s"}})).await.unwrap();
    let node = cluster.kube_client_as(UserInfo::named("system:node:w", &["system:nodes"]));
    let secrets: Api<Secret> = Api::namespaced(node.clone(), "n");
    let refused = secrets.get("s").await;
    assert!(
        matches!(refused, Err(kube::Error::Api(status)) if status.message.ends_with("no relationship found between node 'w' and this object"))
    );
    let pod = json!({"metadata": {"name": "p"}, "spec": {"nodeName": "w", "containers": [{"name": "c", "image": "i",
        "envFrom": [{"secretRef": {"name": "s"}}]}]}});
    create::<Pod>(&Api::namespaced(admin.clone(), "n"), pod).await.unwrap();
    secrets.get("s").await.unwrap();
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(node);
    let steering = json!({"metadata": {"name": "w", "labels": {"node-restriction.kubernetes.io/x": "y"}}});
    assert!(create(&nodes, steering).await.unwrap_err().ends_with(
        r#"node "w" is not allowed to set the following labels: node-restriction.kubernetes.io/x"#
    ));
}
