use std::sync::Arc;

use serde_json::{Value, json};

use super::super::review::*;
use super::super::{Authorizer, Mode};
use crate::sim::attributes::UserInfo;
use crate::sim::rbac::{GROUP, ROLE_BINDINGS, ROLES, bootstrap};
use crate::sim::view::Objects;

fn authorizer() -> Authorizer {
    let mut objects = Objects::default();
    for (resource, object) in bootstrap::objects() {
        objects.insert(&resource, object);
    }
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["allowed"], "verbs": ["get", "list"]}]);
    objects.insert(&ROLES, json!({"metadata": {"namespace": "n", "name": "cm-reader"}, "rules": rules}));
    objects.insert(
        &ROLE_BINDINGS,
        json!({"metadata": {"namespace": "n", "name": "app"},
            "subjects": [{"kind": "ServiceAccount", "name": "app", "namespace": "n"}],
            "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": "cm-reader"}}),
    );
    Authorizer::new(vec![Mode::Node, Mode::Rbac], Arc::new(objects))
}

fn app() -> UserInfo {
    UserInfo::named("system:serviceaccount:n:app", &["system:serviceaccounts", "system:serviceaccounts:n"])
}

#[test]
fn a_review_says_whether_and_why() {
    let spec = json!({"user": "system:serviceaccount:n:app", "resourceAttributes":
        {"namespace": "n", "verb": "get", "resource": "configmaps", "name": "allowed"}});
    let review = subject_access(&authorizer(), json!({"kind": "SubjectAccessReview", "spec": spec})).unwrap();
    assert_eq!(
        review["status"],
        json!({"allowed": true, "reason": r#"RBAC: allowed by RoleBinding "app/n" of Role "cm-reader" to ServiceAccount "app/n""#})
    );
    assert_eq!(review["spec"], spec);
    let own = |name: &str| {
        let spec = json!({"resourceAttributes": {"namespace": "n", "verb": "get", "resource": "configmaps", "name": name}});
        self_subject_access(&authorizer(), &app(), json!({ "spec": spec })).unwrap()["status"].clone()
    };
    assert_eq!(own("allowed")["allowed"], true);
    assert_eq!(own("other"), json!({"allowed": false}));
    let path = json!({"spec": {"nonResourceAttributes": {"path": "/healthz", "verb": "get"}}});
    assert_eq!(self_subject_access(&authorizer(), &app(), path).unwrap()["status"]["allowed"], true);
}

#[test]
fn a_local_review_is_about_its_own_namespace() {
    let review = |own: &str, asked: &str| {
        json!({"metadata": {"namespace": own}, "spec": {"user": "u",
            "resourceAttributes": {"namespace": asked, "verb": "get", "resource": "pods"}}})
    };
    local_subject_access(&authorizer(), "n", review("n", "n")).unwrap();
    let refusal = local_subject_access(&authorizer(), "n", review("n", "other")).unwrap_err();
    assert!(refusal.message.contains(
        r#"spec.resourceAttributes.namespace: Invalid value: "other": must match metadata.namespace"#
    ));
    assert_eq!(local_subject_access(&authorizer(), "m", review("n", "n")).unwrap_err().code, 400);
}

#[test]
fn reviews_that_ask_nothing_or_too_much_are_invalid() {
    let message = |review: Value| subject_access(&authorizer(), review).unwrap_err().message;
    assert_eq!(
        message(json!({"spec": {}})),
        "SubjectAccessReview.authorization.k8s.io \"\" is invalid: [spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified, spec.user: Invalid value: \"\": at least one of user or group must be specified]"
    );
    let both = json!({"spec": {"user": "u", "resourceAttributes": {"verb": "get"}, "nonResourceAttributes": {"path": "/"}}});
    assert!(message(both).contains("cannot be specified in combination with resourceAttributes"));
    let named =
        json!({"metadata": {"name": "x"}, "spec": {"user": "u", "resourceAttributes": {"verb": "get"}}});
    assert!(message(named).contains("must be empty"));
}

#[test]
fn rules_are_listed_with_paths_apart() {
    let review = json!({"spec": {"namespace": "n"}});
    let status = self_subject_rules(&authorizer(), &app(), &review).unwrap()["status"].clone();
    assert_eq!(status["incomplete"], false);
    assert!(status["resourceRules"].as_array().unwrap().contains(
        &json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["allowed"]})
    ));
    let paths = status["nonResourceRules"].as_array().unwrap();
    assert!(
        paths.iter().any(|rule| rule["nonResourceURLs"].as_array().unwrap().contains(&json!("/healthz")))
    );
    assert!(paths.iter().all(|rule| rule.get("resources").is_none()));
    assert_eq!(self_subject_rules(&authorizer(), &app(), &json!({"spec": {}})).unwrap_err().code, 400);
    let node = UserInfo::named("system:node:w", &["system:nodes"]);
    let status = self_subject_rules(&authorizer(), &node, &review).unwrap()["status"].clone();
    assert_eq!(status["incomplete"], true);
    assert_eq!(status["evaluationError"], "node authorizer does not support user rule resolution");
}

#[test]
fn who_am_i_tells_all_that_is_known() {
    let mut user = UserInfo::named("jane", &["dev"]);
    user.extra.insert("k".into(), vec!["v".into()]);
    let review = self_subject(&user, json!({"kind": "SelfSubjectReview"}));
    assert_eq!(
        review["status"]["userInfo"],
        json!({"username": "jane", "groups": ["dev", "system:authenticated"], "extra": {"k": ["v"]}})
    );
}
