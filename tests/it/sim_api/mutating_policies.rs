//! MutatingAdmissionPolicies: off by default, and what they change where they are switched on.

use cks_lab::sim::server::{ApiServerFlags, SimConfig};
use serde_json::{Value, json};

use super::kubectl::Shell;

fn switched_on() -> SimConfig {
    let api_server = ApiServerFlags {
        runtime_config: vec!["admissionregistration.k8s.io/v1beta1=true".to_owned()],
        feature_gates: vec!["MutatingAdmissionPolicy=true".to_owned()],
        ..ApiServerFlags::default()
    };
    SimConfig { api_server, ..SimConfig::new("test", 0) }
}

const API: &str = "admissionregistration.k8s.io/v1beta1";

/// A policy for new Pods with a binding of its own name.
async fn policy(shell: &Shell, name: &str, mutations: Value, more: Value) {
    let mut spec = json!({ "mutations": mutations, "reinvocationPolicy": "Never", "matchConstraints": { "resourceRules": [
        { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }] } });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let mut binding = json!({ "policyName": name });
    if spec["paramKind"].is_object() {
        binding["paramRef"] =
            json!({ "name": "settings", "namespace": "default", "parameterNotFoundAction": "Deny" });
    }
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": API, "kind": "MutatingAdmissionPolicy", "metadata": { "name": name }, "spec": spec },
        { "apiVersion": API, "kind": "MutatingAdmissionPolicyBinding", "metadata": { "name": name }, "spec": binding }] });
    shell.ok(&format!("kubectl create -f - <<'EOF'\n{list}\nEOF")).await;
}

fn apply(expression: &str) -> Value {
    json!([{ "patchType": "ApplyConfiguration", "applyConfiguration": { "expression": expression } }])
}

async fn pod(shell: &Shell, name: &str) -> Value {
    shell.ok(&format!("kubectl run {name} --image=nginx:1.27")).await;
    serde_json::from_str(&shell.ok(&format!("kubectl get pod {name} -o json")).await).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_does_not_serve_them_unless_it_is_told_to() {
    let shell = Shell::new().await;
    let (success, _, err) = shell.run("kubectl get mutatingadmissionpolicies").await;
    assert!(!success);
    assert_eq!(err, "error: the server doesn't have a resource type \"mutatingadmissionpolicies\"");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configurations_are_merged_and_patches_run() {
    let shell = Shell::with(switched_on()).await;
    shell.ok("kubectl create cm settings --from-literal=team=red").await;
    let sidecar = "Object{ metadata: Object.metadata{ labels: {'team': variables.team} }, spec: Object.spec{ \
                   initContainers: [Object.spec.initContainers{ name: 'mesh', image: 'nginx:1.27', restartPolicy: 'Always' }] } }";
    policy(
        &shell,
        "a-sidecar",
        apply(sidecar),
        json!({ "paramKind": { "apiVersion": "v1", "kind": "ConfigMap" },
            "variables": [{ "name": "team", "expression": "params.data.team" }],
            "matchConditions": [{ "name": "once", "expression":
                "!has(object.spec.initContainers) || !object.spec.initContainers.exists(c, c.name == 'mesh')" }] }),
    )
    .await;
    let patch = "[JSONPatch{op: 'test', path: '/metadata/labels/team', value: 'red'}, JSONPatch{op: 'add', path: \
                 '/metadata/labels/' + jsonpatch.escapeKey('example.com/tier'), value: 'gold'}]";
    let patch = json!([{ "patchType": "JSONPatch", "jsonPatch": { "expression": patch } }]);
    policy(&shell, "b-tier", patch, json!({})).await;
    let made = pod(&shell, "web").await;
    assert_eq!(
        made["metadata"]["labels"],
        json!({ "run": "web", "team": "red", "example.com/tier": "gold" })
    );
    assert_eq!(made["spec"]["initContainers"][0]["name"], "mesh");
    assert_eq!(made["spec"]["initContainers"][0]["imagePullPolicy"], "IfNotPresent", "defaulted");
    assert_eq!(
        made["spec"]["initContainers"][0]["volumeMounts"].as_array().unwrap().len(),
        1,
        "others saw it"
    );
    assert_eq!(made["spec"]["containers"][0]["image"], "nginx:1.27", "what is not named stays");
    let table = shell.ok("kubectl get mutatingadmissionpolicies a-sidecar").await;
    assert!(
        table.starts_with("NAME        MUTATIONS   PARAMKIND      AGE\na-sidecar   1           v1/ConfigMap"),
        "{table}"
    );
    shell.ok("kubectl delete cm settings").await;
    let (_, _, err) = shell.run("kubectl run late --image=nginx:1.27").await;
    assert_eq!(
        err,
        "The pods \"late\" is invalid: : policy 'a-sidecar' with binding 'a-sidecar' denied request: failed to configure \
         binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_and_bindings_narrow_what_is_changed() {
    let shell = Shell::with(switched_on()).await;
    let label = |name: &str| {
        apply(&format!("Object{{ metadata: Object.metadata{{ labels: {{'{name}': 'yes'}} }} }}"))
    };
    let condition =
        |expression: &str| json!({ "matchConditions": [{ "name": "c", "expression": expression }] });
    policy(&shell, "a", label("a"), condition("object.metadata.name == 'web'")).await;
    policy(&shell, "b", label("b"), json!({})).await;
    let elsewhere = json!({ "spec": { "matchResources": { "namespaceSelector": { "matchLabels": { "not": "here" } } } } });
    shell.ok(&format!("kubectl patch mutatingadmissionpolicybinding b --type=merge -p '{elsewhere}'")).await;
    assert_eq!(pod(&shell, "web").await["metadata"]["labels"], json!({ "run": "web", "a": "yes" }));
    assert_eq!(pod(&shell, "other").await["metadata"]["labels"], json!({ "run": "other" }));
    shell.ok("kubectl label namespace default not=here").await;
    assert_eq!(pod(&shell, "third").await["metadata"]["labels"], json!({ "run": "third", "b": "yes" }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_changed_refuses_the_request_or_not() {
    let shell = Shell::with(switched_on()).await;
    let atomic = "Object{ spec: Object.spec{ nodeSelector: {'a': 'b'} } }";
    policy(&shell, "atomic", apply(atomic), json!({})).await;
    let (_, _, err) = shell.run("kubectl run web --image=nginx:1.27").await;
    assert_eq!(
        err,
        "The pods \"web\" is invalid: : policy 'atomic' with binding 'atomic' denied request: error applying patch: invalid \
         ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.nodeSelector"
    );
    shell.ok("kubectl delete mutatingadmissionpolicy atomic && kubectl delete mutatingadmissionpolicybinding atomic").await;
    policy(&shell, "open", apply(atomic), json!({ "failurePolicy": "Ignore" })).await;
    assert!(pod(&shell, "web").await["spec"].get("nodeSelector").is_none());
    let misnamed = apply("Object{ spec: Object.wrong{ hostname: 'x' } }");
    policy(&shell, "misnamed", misnamed, json!({})).await;
    let (_, _, err) = shell.run("kubectl run other --image=nginx:1.27").await;
    assert!(err.contains("unexpected type name \"Object.wrong\", expected \"Object.spec\""), "{err}");
    let bad = json!({ "apiVersion": API, "kind": "MutatingAdmissionPolicy", "metadata": { "name": "bad" },
        "spec": { "reinvocationPolicy": "Never", "matchConstraints": { "resourceRules": [
            { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] }] },
            "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": "Object{}" } }] } });
    let (_, _, err) = shell.run(&format!("kubectl create -f - <<'EOF'\n{bad}\nEOF")).await;
    assert!(err.contains("spec.mutations[0].jsonPatch.expression: Invalid value: \"Object{}\": must evaluate to list(JSONPatch)"), "{err}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_wants_it_sees_what_later_ones_changed() {
    let shell = Shell::with(switched_on()).await;
    let seen = "Object{ metadata: Object.metadata{ annotations: {'saw': has(object.metadata.labels.later) ? 'later' : \
                'nothing'} } }";
    policy(&shell, "a-first", apply(seen), json!({ "reinvocationPolicy": "IfNeeded" })).await;
    policy(&shell, "b-never", apply(&seen.replace("'saw'", "'never-saw'")), json!({})).await;
    policy(
        &shell,
        "c-later",
        apply("Object{ metadata: Object.metadata{ labels: {'later': 'yes'} } }"),
        json!({}),
    )
    .await;
    let made = pod(&shell, "web").await;
    assert_eq!(made["metadata"]["annotations"], json!({ "saw": "later", "never-saw": "nothing" }));
}
