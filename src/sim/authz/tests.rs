use serde_json::json;

use super::*;
use crate::sim::attributes::UserInfo;
use crate::sim::view::Objects;

mod escalation;
mod node;
mod review;

fn list(user: &str, group: &str, resource: &str, namespace: &str) -> Attributes {
    Attributes {
        user: UserInfo::named(user, &[]),
        verb: "list".into(),
        group: group.into(),
        resource: resource.into(),
        namespace: namespace.into(),
        ..Attributes::default()
    }
}

#[test]
fn refusals_are_worded_as_the_api_server_words_them() {
    let status = forbidden(&list("jane", "", "pods", "x"), "");
    assert_eq!(
        status.message,
        r#"pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "x""#
    );
    assert_eq!(status.details, json!({"kind": "pods"}));
    let status = forbidden(&list("jane", "", "nodes", ""), "");
    assert_eq!(
        status.message,
        r#"nodes is forbidden: User "jane" cannot list resource "nodes" in API group "" at the cluster scope"#
    );
    let mut exec = list("jane", "", "pods", "x");
    (exec.verb, exec.subresource, exec.name) = ("create".into(), "exec".into(), "p".into());
    assert_eq!(
        forbidden(&exec, r#"RBAC: role.rbac.authorization.k8s.io "r" not found"#).message,
        r#"pods "p" is forbidden: User "jane" cannot create resource "pods/exec" in API group "" in the namespace "x": RBAC: role.rbac.authorization.k8s.io "r" not found"#
    );
    let path = Attributes {
        user: UserInfo::named("jane", &[]),
        verb: "get".into(),
        path: "/metrics".into(),
        ..Attributes::default()
    };
    assert_eq!(forbidden(&path, "").message, r#"forbidden: User "jane" cannot get path "/metrics""#);
}

#[test]
fn modes_are_asked_in_order_and_masters_are_never_refused() {
    let view = Arc::new(Objects::default());
    let with = |modes: &str| Authorizer::new(Mode::parse_list(modes).unwrap(), view.clone());
    let request = list("jane", "", "pods", "x");
    assert!(!with("Node,RBAC").authorize(&request).is_allowed());
    assert!(with("RBAC,AlwaysAllow").authorize(&request).is_allowed());
    assert_eq!(with("AlwaysDeny").authorize(&request).reason(), "Everything is forbidden.");
    let mut master = request;
    master.user = UserInfo::named("root", &["system:masters"]);
    assert!(with("AlwaysDeny").authorize(&master).is_allowed());
}

#[test]
fn modes_that_are_not_simulated_are_refused() {
    assert_eq!(Mode::parse_list("Node,RBAC"), Ok(vec![Mode::Node, Mode::Rbac]));
    assert_eq!(Mode::parse_list("Webhook"), Err(ModeError::NotSimulated("Webhook".into())));
    assert_eq!(
        Mode::parse_list("Foo").unwrap_err().to_string(),
        r#"authorization-mode "Foo" is not a valid mode"#
    );
    assert_eq!(Mode::parse_list(""), Err(ModeError::Empty));
}
