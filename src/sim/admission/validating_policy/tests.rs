//! Policies against requests, in the words that real clusters answered.

use serde_json::{Value, json};

use super::*;
use crate::sim::admission::Operation;
use crate::sim::admission::testing::{Cluster, create};

static NAMESPACES: GroupResource = GroupResource::of("", "namespaces");
static CONFIG_MAPS: GroupResource = GroupResource::of("", "configmaps");

fn policy(spec: Value) -> Value {
    let mut policy = json!({
        "metadata": {"name": "p"},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {"matchPolicy": "Equivalent", "resourceRules": [{
                "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                "resources": ["deployments"],
            }]},
        },
    });
    json_patch::merge(&mut policy["spec"], &spec);
    policy
}

fn binding(spec: Value) -> Value {
    let mut binding =
        json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    json_patch::merge(&mut binding["spec"], &spec);
    binding
}

fn cluster(policy_spec: Value, binding_spec: Value) -> Cluster {
    let namespace = json!({"metadata": {"name": "a", "labels": {"team": "red"}}});
    Cluster::new()
        .with(&NAMESPACES, namespace)
        .with(&POLICIES, policy(policy_spec))
        .with(&BINDINGS, binding(binding_spec))
}

fn deployment(replicas: u32) -> AdmissionRequest {
    create(
        "apps",
        "deployments",
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "a"},
            "spec": {"replicas": replicas}}),
    )
}

fn judge(cluster: &Cluster, request: &mut AdmissionRequest) -> Result<(), Status> {
    cluster.validate(&ValidatingAdmissionPolicy::default(), request)
}

fn refused(cluster: &Cluster, replicas: u32) -> Status {
    judge(cluster, &mut deployment(replicas)).unwrap_err()
}

#[test]
fn variables_and_message_expressions_word_the_refusal() {
    let cluster = cluster(
        json!({
            "variables": [{"name": "count", "expression": "object.spec.replicas"}],
            "validations": [
                {"expression": "variables.count <= 3", "reason": "Forbidden",
                    "messageExpression": "'too many: ' + string(variables.count)"},
                {"expression": "has(object.metadata.labels) && 'team' in object.metadata.labels",
                    "message": "team label wanted"},
            ],
        }),
        json!({}),
    );
    let status = refused(&cluster, 5);
    assert_eq!(
        status.message,
        "deployments.apps \"d\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: too many: 5"
    );
    assert_eq!((status.code, status.reason.as_str()), (403, "Forbidden"));
    let status = refused(&cluster, 2);
    assert!(status.message.ends_with("denied request: team label wanted"));
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert_eq!(
        status.details["causes"],
        json!([{"message": "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: team label wanted"}])
    );
    let mut good = deployment(2);
    good.object.as_mut().unwrap()["metadata"]["labels"] = json!({"team": "x"});
    assert_eq!(judge(&cluster, &mut good), Ok(()));
}

#[test]
fn a_fault_refuses_unless_the_policy_ignores_it() {
    let validations = json!([{"expression": "object.metadata.labels['team'] != ''", "message": "no"}]);
    let fails = cluster(json!({"validations": validations}), json!({}));
    assert!(refused(&fails, 1).message.ends_with(
        "denied request: expression 'object.metadata.labels['team'] != ''' resulted in error: no such key: labels"
    ));
    let ignores = cluster(json!({"validations": validations, "failurePolicy": "Ignore"}), json!({}));
    assert_eq!(judge(&ignores, &mut deployment(1)), Ok(()));
    let variable = cluster(
        json!({"variables": [{"name": "x", "expression": "object.spec.none"}],
            "validations": [{"expression": "variables.x == 1"}]}),
        json!({}),
    );
    assert!(refused(&variable, 1).message.ends_with(
        "expression 'variables.x == 1' resulted in error: composited variable \"x\" fails to evaluate: no such key: none"
    ));
}

#[test]
fn without_a_message_the_expression_is_named() {
    let cluster = cluster(json!({"validations": [{"expression": " false "}]}), json!({}));
    assert!(refused(&cluster, 1).message.ends_with("denied request: failed expression: false"));
}

#[test]
fn bindings_warn_and_audit_instead_of_denying() {
    let spec = json!({"validations": [{"expression": "false", "message": "never"}]});
    let warns = cluster(spec.clone(), json!({"validationActions": ["Warn", "Audit"]}));
    let mut request = deployment(1);
    assert_eq!(judge(&warns, &mut request), Ok(()));
    assert_eq!(
        request.warnings,
        ["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': never"]
    );
    assert_eq!(
        request.audit_annotations["validation.policy.admission.k8s.io/validation_failure"],
        r#"[{"binding":"b","expressionIndex":0,"message":"never","policy":"p","validationActions":["Warn","Audit"]}]"#
    );
    let unbound = Cluster::new().with(&POLICIES, policy(spec));
    assert_eq!(judge(&unbound, &mut deployment(1)), Ok(()));
}

#[test]
fn what_is_not_matched_is_not_judged() {
    let never = |constraints: Value, binding: Value| {
        cluster(json!({"matchConstraints": constraints, "validations": [{"expression": "false"}]}), binding)
    };
    for (constraints, binding) in [
        (json!({"namespaceSelector": {"matchLabels": {"team": "blue"}}}), json!({})),
        (json!({"objectSelector": {"matchLabels": {"app": "x"}}}), json!({})),
        (
            json!({"excludeResourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"],
            "resources": ["deployments"], "resourceNames": ["d"]}]}),
            json!({}),
        ),
        (json!({}), json!({"matchResources": {"namespaceSelector": {"matchLabels": {"team": "blue"}}}})),
    ] {
        assert_eq!(judge(&never(constraints, binding), &mut deployment(1)), Ok(()));
    }
    let mut delete = deployment(1);
    delete.operation = Operation::Delete;
    assert_eq!(judge(&never(json!({}), json!({})), &mut delete), Ok(()));
    let conditions = cluster(
        json!({"matchConditions": [{"name": "m", "expression": "request.userInfo.username != 'jane'"}],
            "validations": [{"expression": "false"}]}),
        json!({}),
    );
    assert_eq!(judge(&conditions, &mut deployment(1)), Ok(()));
}

#[test]
fn parameters_come_from_the_binding() {
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "object.spec.replicas <= int(params.data.max)"}]});
    let reference = json!({"paramRef": {"name": "limits", "parameterNotFoundAction": "Deny"}});
    let limited = cluster(spec.clone(), reference);
    assert!(refused(&limited, 1).message.ends_with(
        "denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    ));
    limited
        .put(&CONFIG_MAPS, json!({"metadata": {"name": "limits", "namespace": "a"}, "data": {"max": "3"}}));
    assert_eq!(judge(&limited, &mut deployment(3)), Ok(()));
    assert!(refused(&limited, 4).message.contains("failed expression"));
    let allowed = cluster(spec, json!({"paramRef": {"name": "limits", "parameterNotFoundAction": "Allow"}}));
    assert_eq!(judge(&allowed, &mut deployment(9)), Ok(()));
    let unknown = cluster(
        json!({"paramKind": {"apiVersion": "x.test/v1", "kind": "Limit"}, "validations": [{"expression": "true"}]}),
        json!({}),
    );
    assert!(refused(&unknown, 1).message.ends_with(
        "'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'x.test/v1, Kind=Limit'"
    ));
}

#[test]
fn the_authorizer_is_asked_for_the_user() {
    let cluster = cluster(
        json!({"validations": [{"expression":
            "authorizer.group('').resource('pods').namespace('a').check('get').allowed() || authorizer.requestResource.check('bless').allowed()"}]}),
        json!({}),
    );
    assert!(refused(&cluster, 1).message.contains("failed expression"));
    let mut master = deployment(1);
    master.user.groups = vec!["system:masters".to_owned()];
    assert_eq!(judge(&cluster, &mut master), Ok(()));
}

#[test]
fn annotations_are_published_once() {
    let cluster = cluster(
        json!({"auditAnnotations": [
            {"key": "replicas", "valueExpression": "'has ' + string(object.spec.replicas)"},
            {"key": "nothing", "valueExpression": "object.spec.replicas > 5 ? 'many' : ''"},
        ]}),
        json!({}),
    );
    let mut request = deployment(2);
    assert_eq!(judge(&cluster, &mut request), Ok(()));
    assert_eq!(request.audit_annotations, [("p/replicas".to_owned(), "has 2".to_owned())].into());
}

#[test]
fn policies_do_not_judge_themselves() {
    let cluster = cluster(
        json!({"matchConstraints": {"resourceRules": [{"apiGroups": ["*"], "apiVersions": ["*"],
            "operations": ["*"], "resources": ["*"]}]}, "validations": [{"expression": "false"}]}),
        json!({}),
    );
    let mut request = create(
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
        json!({"kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "b"}}),
    );
    assert_eq!(judge(&cluster, &mut request), Ok(()));
    assert!(judge(&cluster, &mut deployment(1)).is_err());
}
