use std::sync::Arc;

use serde_json::{Value, json};

use super::super::escalation::{Write, check};
use super::super::{Authorizer, Mode};
use crate::sim::attributes::UserInfo;
use crate::sim::rbac::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, GROUP, ROLE_BINDINGS, ROLES, bootstrap};
use crate::sim::resource::GroupResource;
use crate::sim::view::Objects;

/// A fresh cluster where joe is admin of namespace `n`, plus more rules for joe in `n`.
fn cluster(more: Value) -> Authorizer {
    let mut objects = Objects::default();
    for (resource, object) in bootstrap::objects() {
        objects.insert(&resource, object);
    }
    let joe = json!([{"kind": "User", "name": "joe"}]);
    objects.insert(&ROLES, json!({"metadata": {"namespace": "n", "name": "more"}, "rules": more}));
    for (name, kind, role) in [("adm", "ClusterRole", "admin"), ("more", "Role", "more")] {
        let binding = json!({"metadata": {"namespace": "n", "name": name}, "subjects": joe,
            "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role}});
        objects.insert(&ROLE_BINDINGS, binding);
    }
    Authorizer::new(vec![Mode::Node, Mode::Rbac], Arc::new(objects))
}

fn write(
    authorizer: &Authorizer,
    resource: &GroupResource,
    object: &Value,
    old: Option<&Value>,
) -> Result<(), String> {
    let user = UserInfo::named("joe", &[]);
    let namespace = if resource.resource.starts_with("cluster") { "" } else { "n" };
    let name = old.map_or("", |old| old["metadata"]["name"].as_str().unwrap());
    check(authorizer, &Write { user: &user, resource, namespace, name, object, old })
        .map_err(|refusal| refusal.message)
}

fn role(rules: Value) -> Value {
    json!({"metadata": {"name": "more"}, "rules": rules})
}

fn binding(kind: &str, role: &str) -> Value {
    json!({"metadata": {"name": "more"}, "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role}})
}

#[test]
fn a_role_grants_no_more_than_its_author_holds() {
    let authorizer = cluster(json!([]));
    let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]);
    assert_eq!(
        write(&authorizer, &ROLES, &role(nodes), None).unwrap_err(),
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"joe\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}"
    );
    let several = json!([
        {"apiGroups": ["", "batch"], "resources": ["nodes", "pods"], "verbs": ["get", "list", "approve"]},
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["watch"], "resourceNames": ["a", "b"]},
    ]);
    let refusal = write(&authorizer, &ROLES, &role(several), None).unwrap_err();
    let lines: Vec<&str> = refusal.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            r#"{APIGroups:[""], Resources:["nodes"], ResourceNames:["a"], Verbs:["watch"]}"#,
            r#"{APIGroups:[""], Resources:["nodes"], ResourceNames:["b"], Verbs:["watch"]}"#,
            r#"{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list" "approve"]}"#,
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["approve"]}"#,
            r#"{APIGroups:["batch"], Resources:["nodes"], Verbs:["get" "list" "approve"]}"#,
            r#"{APIGroups:["batch"], Resources:["pods"], Verbs:["get" "list" "approve"]}"#,
        ]
    );
    let held = json!([{"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "delete"]}]);
    write(&authorizer, &ROLES, &role(held), None).unwrap();
}

#[test]
fn escalate_lifts_the_bound_for_roles() {
    let escalate = json!([{"apiGroups": [GROUP], "resources": ["roles"], "verbs": ["escalate"]}]);
    let everything = role(json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]));
    assert!(write(&cluster(json!([])), &ROLES, &everything, None).is_err());
    write(&cluster(escalate), &ROLES, &everything, None).unwrap();
    let only_mine = json!([{"apiGroups": [GROUP], "resources": ["roles"], "resourceNames": ["more"], "verbs": ["escalate"]}]);
    assert!(
        write(&cluster(only_mine.clone()), &ROLES, &everything, None).is_err(),
        "a create has no name yet"
    );
    write(&cluster(only_mine), &ROLES, &everything, Some(&role(json!([])))).unwrap();
}

#[test]
fn a_binding_grants_no_more_than_its_author_holds() {
    let authorizer = cluster(json!([]));
    assert_eq!(
        write(&authorizer, &ROLE_BINDINGS, &binding("ClusterRole", "cluster-admin"), None).unwrap_err(),
        "rolebindings.rbac.authorization.k8s.io \"more\" is forbidden: user \"joe\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}\n\
         {NonResourceURLs:[\"*\"], Verbs:[\"*\"]}"
    );
    write(&authorizer, &ROLE_BINDINGS, &binding("ClusterRole", "edit"), None).unwrap();
    assert_eq!(
        write(&authorizer, &ROLE_BINDINGS, &binding("ClusterRole", "gone"), None).unwrap_err(),
        r#"clusterroles.rbac.authorization.k8s.io "gone" not found"#
    );
    assert_eq!(
        write(&authorizer, &ROLE_BINDINGS, &binding("Role", "gone"), None).unwrap_err(),
        r#"roles.rbac.authorization.k8s.io "gone" not found"#
    );
    // What is held in one namespace is not held everywhere.
    assert!(write(&authorizer, &CLUSTER_ROLE_BINDINGS, &binding("ClusterRole", "edit"), None).is_err());
}

#[test]
fn bind_lifts_the_bound_for_bindings_of_one_role() {
    let bind = json!([{"apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["cluster-admin"], "verbs": ["bind"]}]);
    let authorizer = cluster(bind);
    write(&authorizer, &ROLE_BINDINGS, &binding("ClusterRole", "cluster-admin"), None).unwrap();
    assert!(write(&authorizer, &ROLE_BINDINGS, &binding("ClusterRole", "system:node"), None).is_err());
    assert!(
        write(&authorizer, &CLUSTER_ROLE_BINDINGS, &binding("ClusterRole", "cluster-admin"), None).is_err(),
        "the right is of one namespace"
    );
}

#[test]
fn aggregation_wants_all_rights() {
    let authorizer = cluster(json!([]));
    let mut aggregating = role(json!([]));
    aggregating["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
    let refusal = write(&authorizer, &CLUSTER_ROLES, &aggregating, None).unwrap_err();
    assert_eq!(
        refusal,
        r#"clusterroles.rbac.authorization.k8s.io "more" is forbidden: must have cluster-admin privileges to use the aggregationRule"#
    );
    assert!(write(&authorizer, &CLUSTER_ROLES, &role(json!([])), Some(&aggregating)).is_err());
    write(&authorizer, &CLUSTER_ROLES, &role(json!([])), None).unwrap();
}

#[test]
fn masters_and_garbage_collection_pass() {
    let authorizer = cluster(json!([]));
    let everything = role(json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]));
    let root = UserInfo::named("root", &["system:masters"]);
    let as_root =
        Write { user: &root, resource: &ROLES, namespace: "n", name: "", object: &everything, old: None };
    check(&authorizer, &as_root).unwrap();
    let mut orphaned = everything.clone();
    orphaned["metadata"]["finalizers"] = json!([]);
    orphaned["metadata"]["ownerReferences"] = json!([]);
    write(&authorizer, &ROLES, &orphaned, Some(&everything)).unwrap();
    orphaned["metadata"]["labels"] = json!({"a": "b"});
    assert!(write(&authorizer, &ROLES, &orphaned, Some(&everything)).is_err());
}
