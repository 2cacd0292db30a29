//! Tables of the groups around admission, extension, storage and the like.

use serde_json::{Value, json};

use super::{changed, created, table};

const ADMISSION: &str = "admissionregistration.k8s.io";

fn policy(change: impl Fn(&mut Value)) -> Value {
    let mut policy = json!({
        "spec": {
            "matchConstraints": {"resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
            ]},
            "validations": [{"expression": "object.metadata.name != 'x'"}]
        }
    });
    change(&mut policy);
    policy
}

fn first_of(group: &str, kind: &str, object: Value) -> String {
    created(group, kind, object).into_iter().next().unwrap_or_default()
}

/// A row of fields to set in a good object, and the first words about the result; nothing when all is still well.
type Row<'a> = (&'a str, Value, &'a str);

fn rows(group: &str, kind: &str, good: &Value, rows: &[Row<'_>]) {
    assert_eq!(created(group, kind, good.clone()), [] as [&str; 0]);
    for (pointer, value, expected) in rows {
        let mut object = good.clone();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = object.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
        if let Value::Array(list) = parent {
            list[field.parse::<usize>().unwrap()] = value.clone();
        } else if value.is_null() {
            parent.as_object_mut().unwrap().remove(field);
        } else {
            parent[field] = value.clone();
        }
        let found = first_of(group, kind, object);
        let same = if expected.is_empty() { found.is_empty() } else { found.starts_with(expected) };
        assert!(same, "{pointer} = {value}\n{expected}\n{found}");
    }
}

#[test]
fn policies_are_compiled_before_they_are_kept() {
    let expression =
        |source: &str| policy(|policy| policy["spec"]["validations"][0]["expression"] = json!(source));
    let kind = "ValidatingAdmissionPolicy";
    // As a real cluster answered.
    assert_eq!(
        created(ADMISSION, kind, expression("object.spec.(")),
        [
            "spec.validations[0].expression: Invalid value: \"object.spec.(\": compilation failed: ERROR: <input>:1:13: Syntax error: no viable alternative at input '.('\n | object.spec.(\n | ............^"
        ]
    );
    for (source, words) in [
        ("request.userInfo.username.startsWith('a')", ""),
        ("authorizer.requestResource.check('get').allowed()", ""),
        ("namespaceObject.metadata.labels['a'] == 'b'", ""),
        (
            "request.operations == 'CREATE'",
            "compilation failed: ERROR: <input>:1:8: undefined field 'operations'",
        ),
        (
            "params.x == 1",
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')",
        ),
        ("object.metadata.name", "must evaluate to bool"),
        ("'a'", "must evaluate to bool"),
    ] {
        let found = first_of(ADMISSION, kind, expression(source));
        if words.is_empty() {
            assert_eq!(found, "", "{source}");
        } else {
            let source = serde_json::to_string(source).unwrap();
            let start = format!("spec.validations[0].expression: Invalid value: {source}: {words}");
            assert!(found.starts_with(&start), "{found}");
        }
    }
}

#[test]
fn variables_are_known_to_later_expressions() {
    let kind = "ValidatingAdmissionPolicy";
    let object = |later: &str| {
        policy(|policy| {
            policy["spec"]["variables"] = json!([
                {"name": "count", "expression": "size(object.spec.containers)"},
                {"name": "few", "expression": "variables.count < 3"}
            ]);
            policy["spec"]["validations"][0]["expression"] = json!(later);
        })
    };
    assert_eq!(created(ADMISSION, kind, object("variables.few")), [] as [&str; 0]);
    let found = first_of(ADMISSION, kind, object("variables.many"));
    assert!(found.contains("undefined field 'many'"), "{found}");
    let found = first_of(ADMISSION, kind, object("variables.count"));
    assert!(found.ends_with("must evaluate to bool"), "{found}");
    let good = object("variables.few");
    rows(
        ADMISSION,
        kind,
        &good,
        &[
            (
                "/spec/variables/0/name",
                json!("a-b"),
                "spec.variables[0].name: Invalid value: \"a-b\": name is not a valid CEL identifier",
            ),
            (
                "/spec/variables/0/name",
                json!(""),
                "spec.variables[0].name: Required value: name is not specified",
            ),
            (
                "/spec/variables/1/expression",
                json!(" "),
                "spec.variables[1].expression: Required value: expression is not specified",
            ),
        ],
    );
}

#[test]
fn policies_have_their_form() {
    let kind = "ValidatingAdmissionPolicy";
    rows(
        ADMISSION,
        kind,
        &policy(|_| {}),
        &[
            (
                "/spec/failurePolicy",
                json!("Never"),
                "spec.failurePolicy: Unsupported value: \"Never\": supported values: \"Fail\", \"Ignore\"",
            ),
            ("/spec/matchConstraints", Value::Null, "spec.matchConstraints: Required value"),
            (
                "/spec/matchConstraints/resourceRules",
                json!([]),
                "spec.matchConstraints.resourceRules: Required value",
            ),
            (
                "/spec/matchConstraints/resourceRules/0/operations",
                json!(["READ"]),
                "spec.matchConstraints.resourceRules[0].operations[0]: Unsupported value: \"READ\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"",
            ),
            (
                "/spec/matchConstraints/resourceRules/0/resources",
                json!(["*", "pods"]),
                "spec.matchConstraints.resourceRules[0].resources: Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources",
            ),
            ("/spec/matchConstraints/resourceRules/0/resources", json!(["pods/*", "nodes"]), ""),
            (
                "/spec/paramKind",
                json!({"apiVersion": "a/b/c", "kind": "X"}),
                "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
            ),
            ("/spec/paramKind", json!({"apiVersion": "v1"}), "spec.paramKind.kind: Required value"),
            (
                "/spec/matchConditions",
                json!([{"name": "a b", "expression": "true"}]),
                "spec.matchConditions[0].name: Invalid value: \"a b\": name part must consist of",
            ),
            (
                "/spec/matchConditions",
                json!([{"name": "a", "expression": "1"}]),
                "spec.matchConditions[0].expression: Invalid value: \"1\": must evaluate to bool",
            ),
            (
                "/spec/validations",
                json!([]),
                "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
            ),
            (
                "/spec/validations/0/message",
                json!("a\nb"),
                "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
            ),
            (
                "/spec/validations/0/messageExpression",
                json!("authorizer"),
                "spec.validations[0].messageExpression: Invalid value: \"authorizer\": compilation failed",
            ),
            (
                "/spec/validations/0/reason",
                json!("Because"),
                "spec.validations[0].reason: Unsupported value: \"Because\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
            ),
            (
                "/spec/auditAnnotations",
                json!([{"key": "k", "valueExpression": "1"}]),
                "spec.auditAnnotations[0].valueExpression: Invalid value: \"1\": must evaluate to one of [string null_type]",
            ),
        ],
    );
}

#[test]
fn bindings_say_what_happens() {
    rows(
        ADMISSION,
        "ValidatingAdmissionPolicyBinding",
        &json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}}),
        &[
            ("/spec/policyName", json!(""), "spec.policyName: Required value"),
            (
                "/spec/validationActions",
                json!([]),
                "spec.validationActions: Required value: at least one validation action is required",
            ),
            // As a real cluster answered.
            (
                "/spec/validationActions",
                json!(["Deny", "Warn"]),
                "spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
            ),
            (
                "/spec/validationActions",
                json!(["Deny", "Deny"]),
                "spec.validationActions[1]: Duplicate value: \"Deny\"",
            ),
            (
                "/spec/paramRef",
                json!({"parameterNotFoundAction": "Deny"}),
                "spec.paramRef: Required value: one of name or selector must be specified",
            ),
            ("/spec/paramRef", json!({"name": "a"}), "spec.paramRef.parameterNotFoundAction: Required value"),
        ],
    );
}

#[test]
fn webhooks_can_be_reached() {
    let hook = json!({
        "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://x/y"},
        "rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}]
    });
    let good = json!({"webhooks": [hook.clone(), hook]});
    let mut good = good;
    good["webhooks"][1]["name"] = json!("d.e.f");
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        rows(
            ADMISSION,
            kind,
            &good,
            &[
                ("/webhooks/1/name", json!("a.b.c"), "webhooks[1].name: Duplicate value: \"a.b.c\""),
                (
                    "/webhooks/0/name",
                    json!("a.b"),
                    "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
                ),
                (
                    "/webhooks/0/sideEffects",
                    Value::Null,
                    "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
                ),
                (
                    "/webhooks/0/timeoutSeconds",
                    json!(31),
                    "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
                ),
                (
                    "/webhooks/0/admissionReviewVersions",
                    Value::Null,
                    "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1",
                ),
                (
                    "/webhooks/0/clientConfig",
                    json!({}),
                    "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
                ),
                (
                    "/webhooks/0/clientConfig/url",
                    json!("http://x"),
                    "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
                ),
                (
                    "/webhooks/0/clientConfig/url",
                    json!("https://u:p@x"),
                    "webhooks[0].clientConfig.url: Invalid value: \"u:p\": user information is not permitted in the URL",
                ),
                (
                    "/webhooks/0/clientConfig/url",
                    json!("https://x:y"),
                    "webhooks[0].clientConfig.url: Required value: url must be a valid URL: parse \"https://x:y\": invalid port \":y\" after host; desired",
                ),
                (
                    "/webhooks/0/clientConfig",
                    json!({"service": {"name": "a", "namespace": "b", "path": "a"}}),
                    "webhooks[0].clientConfig.service.path: Invalid value: \"a\": must start with a '/'",
                ),
                (
                    "/webhooks/0/clientConfig",
                    json!({"service": {"name": "a"}}),
                    "webhooks[0].clientConfig.service.namespace: Required value: service namespace is required",
                ),
                (
                    "/webhooks/0/rules/0/apiGroups",
                    json!(["*", "a"]),
                    "webhooks[0].rules[0].apiGroups: Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other API groups",
                ),
            ],
        );
    }
}

#[test]
fn definitions_have_a_form_and_keep_their_names() {
    let group = "apiextensions.k8s.io";
    let kind = "CustomResourceDefinition";
    let good = json!({
        "metadata": {"name": "toys.a.b"},
        "spec": {
            "group": "a.b", "scope": "Namespaced", "names": {"plural": "toys", "singular": "toy", "kind": "Toy"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}}
            }]
        }
    });
    rows(
        group,
        kind,
        &good,
        &[
            (
                "/metadata/name",
                json!("toy.a.b"),
                "metadata.name: Invalid value: \"toy.a.b\": must be spec.names.plural+\".\"+spec.group",
            ),
            (
                "/spec/scope",
                json!("Global"),
                "spec.scope: Unsupported value: \"Global\": supported values: \"Cluster\", \"Namespaced\"",
            ),
            (
                "/spec/versions/0/schema",
                Value::Null,
                "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
            ),
            (
                "/spec/versions/0/schema/openAPIV3Schema/type",
                Value::Null,
                "spec.validation.openAPIV3Schema.type: Required value: must not be empty at the root",
            ),
            (
                "/spec/versions/0/schema/openAPIV3Schema/uniqueItems",
                json!(true),
                "spec.validation.openAPIV3Schema.uniqueItems: Forbidden: uniqueItems cannot be set to true",
            ),
            (
                "/spec/versions/0/schema/openAPIV3Schema/additionalProperties",
                json!({"type": "string"}),
                "spec.validation.openAPIV3Schema.additionalProperties: Forbidden: must not be used at the root",
            ),
            (
                "/spec/names/kind",
                json!("9Toy"),
                "spec.names.kind: Invalid value: \"9Toy\": may have mixed case, but should otherwise match: a DNS-1035 label must",
            ),
            (
                "/spec/names/listKind",
                json!("Toy"),
                "spec.names.listKind: Invalid value: \"Toy\": kind and listKind may not be the same",
            ),
            (
                "/spec/versions/0/subresources",
                json!({"scale": {"specReplicasPath": ".status.x", "statusReplicasPath": ".status.x"}}),
                "spec.subresources.scale.specReplicasPath: Invalid value: \".status.x\": should be a json path under .spec",
            ),
        ],
    );
    let mut versions = good.clone();
    let mut second = versions["spec"]["versions"][0].clone();
    second["name"] = json!("v2");
    versions["spec"]["versions"].as_array_mut().unwrap().push(second);
    let found = first_of(group, kind, versions);
    assert!(found.ends_with("must have exactly one version marked as storage version"), "{found}");
    let mut stored = good;
    stored["status"] =
        json!({"conditions": [{"type": "Established", "status": "True"}], "storedVersions": ["v1"]});
    assert_eq!(
        changed(group, kind, stored, |new| {
            new["spec"]["scope"] = json!("Cluster");
            new["spec"]["names"]["plural"] = json!("cars");
        }),
        [
            "spec.scope: Invalid value: \"Cluster\": field is immutable",
            "spec.names.plural: Invalid value: \"cars\": field is immutable",
        ]
    );
}

/// A definition whose objects have these fields in their `spec`.
fn defining(properties: Value) -> Value {
    json!({
        "metadata": {"name": "toys.a.b"},
        "spec": {
            "group": "a.b", "scope": "Namespaced", "names": {"plural": "toys", "singular": "toy", "kind": "Toy"},
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}} }]
        }
    })
}

#[test]
fn rules_that_may_cost_too_much_are_refused_before_they_ever_run() {
    let (group, kind) = ("apiextensions.k8s.io", "CustomResourceDefinition");
    let how = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and \
               strings are declared)";
    let schema = "spec.validation.openAPIV3Schema";
    let rule = |rule: &str| json!([{ "rule": rule }]);
    let tags = |most: Value| {
        let mut tags = json!({"type": "array", "items": {"type": "string", "maxLength": 63},
            "x-kubernetes-validations": rule("self.all(x, x.contains('gpu'))")});
        if !most.is_null() {
            tags["maxItems"] = most;
        }
        defining(json!({ "tags": tags }))
    };
    let at =
        format!("{schema}.properties[spec].properties[tags].x-kubernetes-validations[0].rule: Forbidden");
    assert_eq!(
        created(group, kind, tags(Value::Null)),
        [format!("{at}: estimated rule cost exceeds budget by factor of 3.1x {how}")]
    );
    assert_eq!(created(group, kind, tags(json!(333_333))), [] as [&str; 0]);
    assert_eq!(
        created(group, kind, tags(json!(334_000))),
        [format!("{at}: estimated rule cost exceeds budget by factor of 1.002000x {how}")]
    );
    // As a real cluster answered: a number written into a text may be of any length.
    let worker = json!({ "worker": { "type": "object",
        "properties": { "min": { "type": "integer" }, "max": { "type": "integer" } },
        "x-kubernetes-validations": [{ "rule": "self.min <= self.max",
            "messageExpression": "'min (' + string(self.min) + ') > max (' + string(self.max) + ')'" }] } });
    let at = format!(
        "{schema}.properties[spec].properties[worker].x-kubernetes-validations[0].messageExpression: Forbidden"
    );
    let total = "estimated rule cost total";
    assert_eq!(
        created(group, kind, defining(worker.clone())),
        [
            format!(
                "{at}: estimated messageExpression cost exceeds budget by factor of more than 100x {how}"
            ),
            format!("{at}: contributed to {total} exceeding cost limit for entire OpenAPIv3 schema"),
            format!(
                "{schema}: Forbidden: x-kubernetes-validations {total} for entire OpenAPIv3 schema exceeds budget by \
                 factor of more than 100x {how}"
            ),
        ]
    );
    // Within a list, a rule runs for each item.
    let within = |most: i64| {
        defining(json!({ "list": { "type": "array", "maxItems": most, "items": { "type": "string",
            "maxLength": 2500, "x-kubernetes-validations": rule("self.contains('gpu')") } } }))
    };
    assert_eq!(created(group, kind, within(9_000)), [] as [&str; 0]);
    assert!(
        first_of(group, kind, within(11_000)).contains("estimated rule cost exceeds budget by factor of 1.1")
    );
    // What was taken once is not refused for its cost when something else changes.
    let changing = |change: &dyn Fn(&mut Value)| changed(group, kind, tags(Value::Null), change);
    let added = json!(["all"]);
    assert_eq!(changing(&|new| new["spec"]["names"]["categories"] = added.clone()), [] as [&str; 0]);
    let other = changing(&|new| {
        new["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = json!("toys");
    });
    assert_eq!(other.len(), 1, "{other:?}");
}

#[test]
fn classes_keep_what_they_promise() {
    table(
        "scheduling.k8s.io",
        "PriorityClass",
        &[
            (json!({"value": 1_000_000_000}), ""),
            // As a real cluster answered.
            (
                json!({"value": 1_000_000_001}),
                "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
            ),
            (
                json!({"metadata": {"name": "system-mine"}, "value": 1}),
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class",
            ),
            (
                json!({"value": 1, "preemptionPolicy": "Maybe"}),
                "preemptionPolicy: Unsupported value: \"Maybe\": supported values: \"PreemptLowerPriority\", \"Never\"",
            ),
        ],
    );
    assert_eq!(
        changed("scheduling.k8s.io", "PriorityClass", json!({"value": 1}), |new| new["value"] = json!(2)),
        ["value: Forbidden: may not be changed in an update."]
    );
    table(
        "node.k8s.io",
        "RuntimeClass",
        &[
            (json!({"handler": "runsc"}), ""),
            (
                json!({"handler": "Runsc"}),
                "handler: Invalid value: \"Runsc\": a lowercase RFC 1123 label must",
            ),
            (
                json!({"handler": "a", "overhead": {"podFixed": {"cpu": "-1"}}}),
                "overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
        ],
    );
    assert_eq!(
        changed("node.k8s.io", "RuntimeClass", json!({"handler": "a"}), |new| new["handler"] = json!("b")),
        ["handler: Invalid value: \"b\": field is immutable"]
    );
    table(
        "storage.k8s.io",
        "StorageClass",
        &[
            (json!({"provisioner": "rancher.io/local-path"}), ""),
            (json!({}), "provisioner: Required value"),
            (
                json!({"provisioner": "a/b", "reclaimPolicy": "Recycle"}),
                "reclaimPolicy: Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\"",
            ),
        ],
    );
    let class = json!({"provisioner": "a/b", "parameters": {"a": "b"}});
    assert_eq!(
        changed("storage.k8s.io", "StorageClass", class, |new| {
            new["parameters"] = json!({});
            new["provisioner"] = json!("c/d");
            new["reclaimPolicy"] = json!("Retain");
            new["volumeBindingMode"] = json!("WaitForFirstConsumer");
        }),
        [
            "parameters: Forbidden: updates to parameters are forbidden.",
            "provisioner: Forbidden: updates to provisioner are forbidden.",
            "reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.",
            "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable",
        ]
    );
    table(
        "storage.k8s.io",
        "CSIDriver",
        &[(
            json!({"spec": {"volumeLifecycleModes": ["Never"]}}),
            "spec.volumeLifecycleModes[0]: Unsupported value",
        )],
    );
    table(
        "storage.k8s.io",
        "VolumeAttachment",
        &[(
            json!({"spec": {"attacher": "a", "nodeName": "n", "source": {}}}),
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
        )],
    );
}

#[test]
fn budgets_and_autoscalers() {
    table(
        "policy",
        "PodDisruptionBudget",
        &[
            (json!({"spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}}), ""),
            (
                json!({"spec": {"minAvailable": -1}}),
                "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({"spec": {"maxUnavailable": "101%"}}),
                "spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
            ),
        ],
    );
    let both =
        first_of("policy", "PodDisruptionBudget", json!({"spec": {"minAvailable": 1, "maxUnavailable": 1}}));
    assert!(both.ends_with("minAvailable and maxUnavailable cannot be both set"), "{both}");
    let good = json!({"spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 1, "maxReplicas": 3,
        "metrics": [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}
        }}]
    }});
    rows(
        "autoscaling",
        "HorizontalPodAutoscaler",
        &good,
        &[
            (
                "/spec/minReplicas",
                json!(0),
                "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
            ),
            ("/spec/maxReplicas", json!(0), "spec.maxReplicas: Invalid value: 0: must be greater than 0"),
            (
                "/spec/minReplicas",
                json!(4),
                "spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`",
            ),
            ("/spec/scaleTargetRef/name", json!(""), "spec.scaleTargetRef.name: Required value"),
            (
                "/spec/metrics/0/type",
                json!("Pods"),
                "spec.metrics[0].pods: Required value: must populate information for the given metric source",
            ),
            (
                "/spec/metrics/0/resource/target",
                json!({"type": "Utilization"}),
                "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
            ),
            (
                "/spec/behavior",
                json!({"scaleDown": {"stabilizationWindowSeconds": 4000, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 1}]}}),
                "spec.behavior.scaleDown.stabilizationWindowSeconds: Invalid value: 4000: must be less than or equal to 3600",
            ),
        ],
    );
}

fn signing_request() -> String {
    use base64::Engine as _;
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    base64::engine::general_purpose::STANDARD.encode(request.pem().unwrap())
}

#[test]
fn requests_for_certificates() {
    let group = "certificates.k8s.io";
    let kind = "CertificateSigningRequest";
    let good = json!({"spec": {
        "request": signing_request(), "usages": ["client auth"], "signerName": "kubernetes.io/kube-apiserver-client"
    }});
    rows(
        group,
        kind,
        &good,
        &[
            (
                "/spec/request",
                json!("aGVsbG8="),
                "spec.request: Invalid value: \"aGVsbG8=\": PEM block type must be CERTIFICATE REQUEST",
            ),
            ("/spec/usages", json!([]), "spec.usages: Required value"),
            (
                "/spec/usages",
                json!(["fun"]),
                "spec.usages[0]: Unsupported value: \"fun\": supported values: \"any\", \"cert sign\"",
            ),
            (
                "/spec/usages",
                json!(["client auth", "client auth"]),
                "spec.usages[1]: Duplicate value: \"client auth\"",
            ),
            (
                "/spec/signerName",
                json!("me"),
                "spec.signerName: Invalid value: \"me\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
            ),
            (
                "/spec/signerName",
                json!("a/b"),
                "spec.signerName: Invalid value: \"a\": should be a domain with at least two segments separated by dots",
            ),
            (
                "/spec/expirationSeconds",
                json!(60),
                "spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 600 seconds (10 minutes)",
            ),
        ],
    );
    let condition = |kind: &str| json!({"type": kind, "status": "True"});
    let mut old = good;
    old["metadata"] = json!({"name": "x", "uid": "u", "resourceVersion": "1"});
    let decide = |conditions: Value, subresource: &str| {
        let mut new = old.clone();
        new["status"] = json!({"conditions": conditions});
        let rules = super::kinds::of(group, kind).unwrap();
        super::texts(&super::certificates::update(&new, &old, subresource, rules))
    };
    assert_eq!(decide(json!([condition("Approved")]), "approval"), [] as [&str; 0]);
    assert_eq!(
        decide(json!([condition("Approved")]), "status"),
        ["status.conditions: Forbidden: updates may not add a condition of type \"Approved\""]
    );
    let both = decide(json!([condition("Approved"), condition("Denied")]), "approval");
    assert!(both[0].ends_with("Approved and Denied conditions are mutually exclusive"), "{both:?}");
}

#[test]
fn slices_leases_and_extensions() {
    table(
        "discovery.k8s.io",
        "EndpointSlice",
        &[
            (
                json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}),
                "",
            ),
            (json!({"endpoints": []}), "addressType: Required value"),
            (
                json!({"addressType": "IPv4", "endpoints": [{"addresses": ["::1"]}]}),
                "endpoints[0].addresses[0]: Invalid value: \"::1\": must be a valid IPv4 address",
            ),
            (
                json!({"addressType": "IPv4", "endpoints": [{"addresses": ["127.0.0.1"]}]}),
                "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ),
        ],
    );
    table(
        "coordination.k8s.io",
        "Lease",
        &[
            (json!({"spec": {}}), ""),
            (
                json!({"spec": {"leaseDurationSeconds": 0}}),
                "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            ),
        ],
    );
    rows(
        "apiregistration.k8s.io",
        "APIService",
        &json!({
            "metadata": {"name": "v1.a.b"},
            "spec": {"group": "a.b", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 1}
        }),
        &[
            (
                "/metadata/name",
                json!("v2.a.b"),
                "metadata.name: Invalid value: \"v2.a.b\": must be `spec.version+\".\"+spec.group`: \"v1.a.b\"",
            ),
            (
                "/spec/versionPriority",
                json!(0),
                "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
            ),
        ],
    );
    table(
        "flowcontrol.apiserver.k8s.io",
        "FlowSchema",
        &[(
            json!({"spec": {"matchingPrecedence": 10, "priorityLevelConfiguration": {"name": "a"}, "rules": [{}]}}),
            "spec.rules[0].subjects: Required value: subjects must contain at least one value",
        )],
    );
    table(
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
        &[
            (json!({"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}}), ""),
            (
                json!({"spec": {"type": "Exempt"}}),
                "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'",
            ),
        ],
    );
    table(
        "resource.k8s.io",
        "ResourceClaim",
        &[
            (
                json!({"spec": {"devices": {"requests": [{"name": "a", "exactly": {"deviceClassName": "c"}}]}}}),
                "",
            ),
            (
                json!({"spec": {"devices": {"requests": [{"name": "a"}]}}}),
                "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
            ),
        ],
    );
}
