//! The authorizer against a model that follows the documentation word by word, over random policies and requests.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Value, json};

use super::*;

const NAMESPACES: &[&str] = &["", "a", "b"];
const NAMES: &[&str] = &["", "x", "y"];
const USERS: &[&str] = &["u", "v", "system:serviceaccount:a:s", "system:serviceaccount:b:s"];
const GROUPS: &[&str] = &["g", "h"];

fn some(of: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(of.to_vec(), 0..=most.min(of.len()))
}

fn a_rule() -> impl Strategy<Value = Value> {
    let resource = (
        some(&["get", "list", "*"], 2),
        some(&["", "apps", "*"], 2),
        some(&["pods", "pods/log", "*/log", "*", "*/scale", "deployments"], 3),
        some(&["x", "y"], 1),
    )
        .prop_map(|(verbs, groups, resources, names)| {
            json!({"verbs": verbs, "apiGroups": groups, "resources": resources, "resourceNames": names})
        });
    let path = (some(&["get", "*"], 1), some(&["/a", "/a/*", "*", "/b*"], 2))
        .prop_map(|(verbs, urls)| json!({"verbs": verbs, "nonResourceURLs": urls}));
    prop_oneof![3 => resource, 1 => path]
}

/// Namespace, name and rules of a role; cluster roles have no namespace.
fn a_role() -> impl Strategy<Value = Value> {
    (select(NAMESPACES), select(&["r", "q"][..]), prop::collection::vec(a_rule(), 0..3)).prop_map(
        |(namespace, name, rules)| json!({"metadata": {"namespace": namespace, "name": name}, "rules": rules}),
    )
}

fn a_subject() -> impl Strategy<Value = Value> {
    prop_oneof![
        select(USERS).prop_map(|name| json!({"kind": "User", "name": name})),
        select(GROUPS).prop_map(|name| json!({"kind": "Group", "name": name})),
        select(NAMESPACES).prop_map(|ns| json!({"kind": "ServiceAccount", "name": "s", "namespace": ns})),
    ]
}

fn a_binding() -> impl Strategy<Value = Value> {
    (
        select(NAMESPACES),
        0..4_u8,
        select(&["Role", "ClusterRole"][..]),
        select(&["r", "q"][..]),
        prop::collection::vec(a_subject(), 0..3),
    )
        .prop_map(|(namespace, number, kind, role, subjects)| {
            json!({
                "metadata": {"namespace": namespace, "name": format!("b{number}")},
                "roleRef": {"kind": kind, "name": role}, "subjects": subjects,
            })
        })
}

fn a_request() -> impl Strategy<Value = Attributes> {
    let who = (select(USERS), some(GROUPS, 2));
    let what = prop_oneof![
        4 => (
            select(&["get", "list", "delete"][..]),
            select(&["", "apps"][..]),
            select(&["pods", "deployments"][..]),
            select(&["", "log", "scale"][..]),
            select(NAMESPACES),
            select(NAMES),
        )
            .prop_map(|(verb, group, resource, subresource, namespace, name)| Attributes {
                verb: verb.into(),
                group: group.into(),
                resource: resource.into(),
                subresource: subresource.into(),
                namespace: namespace.into(),
                name: name.into(),
                ..Attributes::default()
            }),
        1 => (select(&["get", "post"][..]), select(&["/a", "/a/b", "/b", "/bc"][..]))
            .prop_map(|(verb, path)| Attributes { verb: verb.into(), path: path.into(), ..Attributes::default() }),
    ];
    (who, what)
        .prop_map(|((user, groups), request)| Attributes { user: UserInfo::named(user, &groups), ..request })
}

fn texts<'a>(value: &'a Value, field: &str) -> Vec<&'a str> {
    value[field].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn model_rule(rule: &Value, request: &Attributes) -> bool {
    let listed =
        |field: &str, wanted: &str| texts(rule, field).iter().any(|own| *own == "*" || *own == wanted);
    if !listed("verbs", &request.verb) {
        return false;
    }
    if request.resource.is_empty() {
        return texts(rule, "nonResourceURLs").iter().any(|own| match own.strip_suffix('*') {
            Some(prefix) => request.path.starts_with(prefix),
            None => *own == request.path,
        });
    }
    let full = match request.subresource.as_str() {
        "" => request.resource.clone(),
        subresource => format!("{}/{subresource}", request.resource),
    };
    let any = format!("*/{}", request.subresource);
    let resource = texts(rule, "resources")
        .iter()
        .any(|own| *own == "*" || *own == full || (!request.subresource.is_empty() && *own == any));
    let names = texts(rule, "resourceNames");
    listed("apiGroups", &request.group)
        && resource
        && (names.is_empty() || names.contains(&request.name.as_str()))
}

fn model_subject(subject: &Value, binding_namespace: &str, user: &UserInfo) -> bool {
    let name = subject["name"].as_str().unwrap();
    match subject["kind"].as_str().unwrap() {
        "User" => user.username == name,
        "Group" => user.groups.iter().any(|group| group == name),
        _ => {
            let own = subject["namespace"].as_str().unwrap();
            let namespace = if own.is_empty() { binding_namespace } else { own };
            !namespace.is_empty() && user.username == format!("system:serviceaccount:{namespace}:{name}")
        }
    }
}

fn model(roles: &[Value], bindings: &[Value], request: &Attributes) -> bool {
    // The last of several with one name is the one that is there.
    let role_of = |namespace: &str, name: &str| {
        roles.iter().rev().find(|role| role["metadata"] == json!({"namespace": namespace, "name": name}))
    };
    bindings.iter().enumerate().any(|(at, binding)| {
        let replaced = bindings[at + 1..].iter().any(|later| later["metadata"] == binding["metadata"]);
        let namespace = binding["metadata"]["namespace"].as_str().unwrap();
        let in_force = namespace.is_empty() || namespace == request.namespace;
        let subjects = binding["subjects"].as_array().unwrap();
        let role_namespace = if binding["roleRef"]["kind"] == "Role" { namespace } else { "" };
        let is_role = binding["roleRef"]["kind"] == "ClusterRole" || !namespace.is_empty();
        !replaced
            && in_force
            && subjects.iter().any(|subject| model_subject(subject, namespace, &request.user))
            && is_role
            && role_of(role_namespace, binding["roleRef"]["name"].as_str().unwrap()).is_some_and(|role| {
                role["rules"].as_array().unwrap().iter().any(|rule| model_rule(rule, request))
            })
    })
}

fn policy(roles: &[Value], bindings: &[Value]) -> Objects {
    let mut objects = Objects::default();
    let cluster = |object: &Value| object["metadata"]["namespace"] == "";
    for role in roles {
        objects.insert(if cluster(role) { &CLUSTER_ROLES } else { &ROLES }, role.clone());
    }
    for binding in bindings {
        objects
            .insert(if cluster(binding) { &CLUSTER_ROLE_BINDINGS } else { &ROLE_BINDINGS }, binding.clone());
    }
    objects
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn decisions_equal_the_models(
        roles in prop::collection::vec(a_role(), 0..6),
        bindings in prop::collection::vec(a_binding(), 0..6),
        requests in prop::collection::vec(a_request(), 1..20),
    ) {
        let authorizer = Authorizer::new(Arc::new(policy(&roles, &bindings)));
        for request in &requests {
            prop_assert_eq!(
                authorizer.authorize(request).is_allowed(),
                model(&roles, &bindings, request),
                "{:?}", request
            );
        }
    }

    /// What a user may do is what their rules, listed, allow: reviews and decisions cannot disagree.
    #[test]
    fn listed_rules_allow_exactly_what_is_allowed(
        roles in prop::collection::vec(a_role(), 0..6),
        bindings in prop::collection::vec(a_binding(), 0..6),
        requests in prop::collection::vec(a_request(), 1..20),
    ) {
        let authorizer = Authorizer::new(Arc::new(policy(&roles, &bindings)));
        for request in &requests {
            let (rules, _) = authorizer.rules_for(&request.user, &request.namespace);
            prop_assert_eq!(
                authorizer.authorize(request).is_allowed(),
                rules.iter().any(|rule| rule.allows(request))
            );
        }
    }

    /// Whatever rules do not hold, some request shows it; whatever they hold, none does.
    #[test]
    fn covered_rules_allow_no_more(
        held in prop::collection::vec(a_rule(), 0..4),
        wanted in prop::collection::vec(a_rule(), 0..3),
        requests in prop::collection::vec(a_request(), 1..40),
    ) {
        let read = |rules: &[Value]| Rule::list_of(&json!({ "rules": rules }));
        let (held, wanted) = (read(&held), read(&wanted));
        if uncovered(&held, &wanted).is_empty() {
            for request in &requests {
                let allowed = |rules: &[Rule]| rules.iter().any(|rule| rule.allows(request));
                prop_assert!(!allowed(&wanted) || allowed(&held), "{:?}", request);
            }
        }
        prop_assert!(uncovered(&wanted, &wanted).is_empty(), "rules cover themselves");
    }
}
