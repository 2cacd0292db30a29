use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::sim::view::Objects;

mod model;

/// A view that a test can change.
#[derive(Default)]
pub(crate) struct Shared(pub Mutex<Objects>);

impl View for Shared {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.0.lock().unwrap().get(resource, namespace, name)
    }

    fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Vec<Arc<Value>> {
        self.0.lock().unwrap().list(resource, namespace)
    }

    fn revision_of(&self, resource: &GroupResource) -> u64 {
        self.0.lock().unwrap().revision_of(resource)
    }
}

fn role(namespace: &str, name: &str, rules: Value) -> Value {
    json!({"kind": "Role", "metadata": {"namespace": namespace, "name": name}, "rules": rules})
}

fn binding(namespace: &str, name: &str, kind: &str, role: &str, subjects: Value) -> Value {
    json!({
        "metadata": {"namespace": namespace, "name": name}, "subjects": subjects,
        "roleRef": {"apiGroup": GROUP, "kind": kind, "name": role},
    })
}

fn ask(user: &UserInfo, verb: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes {
        user: user.clone(),
        verb: verb.into(),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..Attributes::default()
    }
}

fn path(user: &UserInfo, path: &str) -> Attributes {
    Attributes { user: user.clone(), verb: "get".into(), path: path.into(), ..Attributes::default() }
}

fn bootstrapped() -> Objects {
    let mut objects = Objects::default();
    for (resource, object) in bootstrap::objects() {
        objects.insert(&resource, object);
    }
    objects
}

#[test]
fn a_role_binding_allows_in_its_namespace_and_says_why() {
    let mut objects = Objects::default();
    objects.insert(
        &ROLES,
        role("x", "r", json!([{"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get"]}])),
    );
    let subjects = json!([{"kind": "User", "name": "jane"}, {"kind": "ServiceAccount", "name": "app"}]);
    objects.insert(&ROLE_BINDINGS, binding("x", "b", "Role", "r", subjects));
    let authorizer = Authorizer::new(Arc::new(objects));
    let jane = UserInfo::named("jane", &[]);
    assert_eq!(
        authorizer.authorize(&ask(&jane, "get", "pods", "x", "p")),
        Decision::Allow { reason: r#"RBAC: allowed by RoleBinding "b/x" of Role "r" to User "jane""#.into() }
    );
    assert!(authorizer.authorize(&ask(&jane, "get", "pods/log", "x", "p")).is_allowed());
    for refused in [
        ask(&jane, "get", "pods", "y", "p"),
        ask(&jane, "get", "pods", "", "p"),
        ask(&jane, "list", "pods", "x", ""),
        ask(&jane, "get", "pods/exec", "x", "p"),
        ask(&jane, "get", "secrets", "x", "p"),
        Attributes { group: "apps".into(), ..ask(&jane, "get", "pods", "x", "p") },
        path(&jane, "/healthz"),
    ] {
        assert_eq!(authorizer.authorize(&refused), Decision::NoOpinion { reason: String::new() });
    }
    let app = UserInfo::named("system:serviceaccount:x:app", &[]);
    assert_eq!(
        authorizer.authorize(&ask(&app, "get", "pods", "x", "p")).reason(),
        r#"RBAC: allowed by RoleBinding "b/x" of Role "r" to ServiceAccount "app/x""#
    );
}

#[test]
fn missing_roles_are_named_in_the_refusal() {
    let mut objects = Objects::default();
    let jane = json!([{"kind": "User", "name": "jane"}]);
    objects.insert(&ROLE_BINDINGS, binding("x", "a", "Role", "gone", jane.clone()));
    let authorizer = Authorizer::new(Arc::new(objects.clone()));
    let user = UserInfo::named("jane", &[]);
    let request = ask(&user, "get", "pods", "x", "p");
    assert_eq!(
        authorizer.authorize(&request).reason(),
        r#"RBAC: role.rbac.authorization.k8s.io "gone" not found"#
    );
    objects.insert(&CLUSTER_ROLE_BINDINGS, binding("", "c", "ClusterRole", "lost", jane.clone()));
    objects.insert(&ROLE_BINDINGS, binding("x", "d", "Role", "gone", jane));
    let authorizer = Authorizer::new(Arc::new(objects));
    assert_eq!(
        authorizer.authorize(&request).reason(),
        r#"RBAC: [clusterrole.rbac.authorization.k8s.io "lost" not found, role.rbac.authorization.k8s.io "gone" not found]"#
    );
}

#[test]
fn names_wildcards_and_paths_match_as_upstream() {
    let mut objects = Objects::default();
    let rules = json!([
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"], "verbs": ["get", "list"]},
        {"apiGroups": ["*"], "resources": ["*/scale"], "verbs": ["*"]},
        {"nonResourceURLs": ["/logs/*", "/exact"], "verbs": ["get"]},
    ]);
    objects.insert(&CLUSTER_ROLES, json!({"metadata": {"name": "c"}, "rules": rules}));
    let group = json!([{"kind": "Group", "name": "dev"}]);
    objects.insert(&CLUSTER_ROLE_BINDINGS, binding("", "c", "ClusterRole", "c", group));
    let authorizer = Authorizer::new(Arc::new(objects));
    let dev = UserInfo::named("jane", &["dev"]);
    let allowed = |request: &Attributes| authorizer.authorize(request).is_allowed();
    assert!(allowed(&ask(&dev, "get", "configmaps", "any", "a")));
    assert!(!allowed(&ask(&dev, "get", "configmaps", "any", "b")));
    assert!(!allowed(&ask(&dev, "list", "configmaps", "any", "")), "a name does not open the collection");
    assert!(allowed(&Attributes {
        group: "apps".into(),
        ..ask(&dev, "patch", "deployments/scale", "n", "d")
    }));
    assert!(!allowed(&Attributes { group: "apps".into(), ..ask(&dev, "patch", "deployments", "n", "d") }));
    assert!(allowed(&path(&dev, "/logs/kube-apiserver.log")));
    assert!(!allowed(&path(&dev, "/logs")));
    assert!(allowed(&path(&dev, "/exact")));
    assert!(!allowed(&path(&dev, "/exact/more")));
    // A review may name the subresource within the resource.
    let written_out = Attributes { resource: "deployments/scale".into(), ..ask(&dev, "get", "", "n", "") };
    assert!(!allowed(&written_out), "`*/scale` is for requests that have a subresource");
}

#[test]
fn a_change_of_policy_holds_at_once() {
    let shared = Arc::new(Shared::default());
    let authorizer = Authorizer::new(shared.clone());
    let jane = UserInfo::named("jane", &[]);
    let request = ask(&jane, "get", "pods", "x", "p");
    assert!(!authorizer.authorize(&request).is_allowed());
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    shared.0.lock().unwrap().insert(&ROLES, role("x", "r", rules));
    let subjects = json!([{"kind": "User", "name": "jane"}]);
    shared.0.lock().unwrap().insert(&ROLE_BINDINGS, binding("x", "b", "Role", "r", subjects));
    assert!(authorizer.authorize(&request).is_allowed());
    shared.0.lock().unwrap().insert(&ROLES, role("x", "r", json!([])));
    assert!(!authorizer.authorize(&request).is_allowed());
    shared.0.lock().unwrap().remove(&ROLE_BINDINGS, "x", "b");
    assert!(!authorizer.authorize(&request).is_allowed());
}

#[test]
fn bootstrap_policy_is_whole_and_grants_what_a_fresh_cluster_does() {
    let objects = bootstrap::objects();
    assert_eq!(objects.len(), 149);
    let authorizer = Authorizer::new(Arc::new(bootstrapped()));
    let admin = UserInfo::named("kubernetes-admin", &["kubeadm:cluster-admins"]);
    assert!(authorizer.authorize(&ask(&admin, "delete", "nodes", "", "n")).is_allowed());
    let nobody = UserInfo::named("jane", &[]);
    assert!(authorizer.authorize(&path(&nobody, "/healthz")).is_allowed());
    assert!(!authorizer.authorize(&path(&nobody, "/metrics")).is_allowed());
    assert!(!authorizer.authorize(&ask(&nobody, "list", "pods", "default", "")).is_allowed());
    for (_, object) in &objects {
        assert_eq!(bootstrap::reconcile(Some(object), object), None, "{}", object["metadata"]["name"]);
        assert_eq!(bootstrap::reconcile(None, object).as_ref(), Some(object));
    }
}

#[test]
fn reconciling_restores_what_is_missing_and_keeps_what_was_added() {
    let (_, expected) = bootstrap::objects()
        .into_iter()
        .find(|(_, object)| object["metadata"]["name"] == "system:basic-user")
        .unwrap();
    let mut changed = expected.clone();
    changed["rules"] = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let restored = bootstrap::reconcile(Some(&changed), &expected).unwrap();
    assert_eq!(restored["rules"][0]["resources"], json!(["pods"]));
    assert!(uncovered(&Rule::list_of(&restored), &Rule::list_of(&expected)).is_empty());
    changed["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = json!("false");
    assert_eq!(bootstrap::reconcile(Some(&changed), &expected), None);
}

#[test]
fn aggregated_roles_gather_the_rules_of_labelled_ones() {
    let objects = bootstrapped();
    let all = objects.list(&CLUSTER_ROLES, None);
    let get = |name: &str| objects.get(&CLUSTER_ROLES, "", name).unwrap();
    // The recorded roles are already what the controller makes of them, once from the inside out.
    for name in ["view", "edit", "admin"] {
        assert_eq!(aggregation::aggregate(&get(name), &all), None, "{name}");
    }
    assert_eq!(aggregation::aggregate(&get("cluster-admin"), &all), None);
    let mut grown = all.clone();
    grown.push(Arc::new(json!({
        "metadata": {"name": "crontabs", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
        "rules": [{"apiGroups": ["x.io"], "resources": ["crontabs"], "verbs": ["get"]}],
    })));
    let view = aggregation::aggregate(&get("view"), &grown).unwrap();
    let before = Rule::list_of(&get("view"));
    let after = Rule::list_of(&view);
    assert_eq!(after.len(), before.len() + 1);
    assert!(after.iter().any(|rule| rule.resources == ["crontabs"]));
}

#[test]
fn compact_joins_verbs_of_one_resource() {
    let rules = [
        Rule::resources(&["get"], &[""], &["pods"]),
        Rule::paths(&["get"], &["/x"]),
        Rule::resources(&["list"], &[""], &["pods"]),
        Rule::resources(&["get"], &["", "apps"], &["pods"]),
    ];
    let printed: Vec<String> = compact(&rules).iter().map(Rule::to_compact_string).collect();
    assert_eq!(
        printed,
        [
            r#"{NonResourceURLs:["/x"], Verbs:["get"]}"#,
            r#"{APIGroups:["" "apps"], Resources:["pods"], Verbs:["get"]}"#,
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["get" "list"]}"#,
        ]
    );
}
