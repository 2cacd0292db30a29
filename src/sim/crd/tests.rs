use serde_json::json;

use super::*;
use crate::sim::api::resources::Resources;

fn version(schema: Value, subresources: Value) -> Arc<CustomVersion> {
    let definition = json!({
        "metadata": { "name": "widgets.lab.example.com" },
        "spec": {
            "group": "lab.example.com", "scope": "Namespaced",
            "names": { "plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList" },
            "versions": [{ "name": "v1", "served": true, "storage": true, "subresources": subresources,
                           "schema": { "openAPIV3Schema": schema } }],
        },
        "status": { "conditions": [{ "type": "Established", "status": "True" }],
                    "acceptedNames": { "plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList" } },
    });
    let definition = Arc::new(definition);
    let resources = Resources::with_definitions([&definition]);
    CustomVersion::of(resources.find("lab.example.com", "v1", "widgets").unwrap()).unwrap()
}

fn widget() -> Arc<CustomVersion> {
    version(
        json!({ "type": "object", "properties": {
            "spec": { "type": "object", "required": ["size"],
                "x-kubernetes-validations": [
                    { "rule": "self.size < 10 || self.colour == 'red'", "message": "big ones are red" },
                    { "rule": "self.size >= oldSelf.size", "messageExpression": "'not below ' + string(oldSelf.size)" },
                ],
                "properties": {
                    "size": { "type": "integer", "minimum": 1, "maximum": 99 },
                    "colour": { "type": "string", "enum": ["red", "blue"], "default": "blue" },
                    "tags": { "type": "array", "x-kubernetes-list-type": "set", "items": { "type": "string", "pattern": "^[a-z]+$" } },
                    "open": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                    "max-age": { "type": "integer", "x-kubernetes-validations": [{ "rule": "self > 0", "reason": "FieldValueForbidden" }] },
                } },
            "status": { "type": "object", "properties": { "size": { "type": "integer" } } },
        } }),
        json!({ "status": {}, "scale": { "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size" } }),
    )
}

fn messages(errors: &ErrorList) -> Vec<String> {
    let mut all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    all.sort();
    all
}

fn object(spec: Value) -> Value {
    json!({ "apiVersion": "lab.example.com/v1", "kind": "Widget", "metadata": { "name": "w" }, "spec": spec })
}

#[test]
fn prunes_what_the_schema_does_not_know_and_names_it() {
    let mut found = object(json!({ "size": 5, "shape": "round", "open": { "anything": [1] } }));
    found["extra"] = json!(true);
    assert_eq!(widget().prune(&mut found), ["extra", "spec.shape"]);
    assert_eq!(found, object(json!({ "size": 5, "open": { "anything": [1] } })));
}

#[test]
fn fills_in_defaults_only_where_their_parent_is() {
    let mut found = object(json!({ "size": 5 }));
    widget().apply_defaults(&mut found);
    assert_eq!(found["spec"]["colour"], "blue");
    let mut empty = json!({ "metadata": {} });
    widget().apply_defaults(&mut empty);
    assert_eq!(empty, json!({ "metadata": {} }));
    let mut null = object(json!({ "size": 5, "colour": null }));
    widget().apply_defaults(&mut null);
    assert_eq!(null["spec"]["colour"], "blue");
}

#[test]
fn words_faults_as_a_real_server_does() {
    assert_eq!(
        messages(&widget().validate(&object(json!({ "size": "3", "colour": "green" })), None)),
        [
            ".spec.size: Invalid value: 0: .spec.size accessor error: 3 is of the type string, expected int64",
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; \
             correct the existing errors to complete validation",
            "spec.colour: Unsupported value: \"green\": supported values: \"red\", \"blue\"",
            "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
        ]
    );
    assert_eq!(
        messages(&widget().validate(&object(json!({ "size": 0, "colour": "red" })), None)),
        ["spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"]
    );
    assert!(
        messages(&widget().validate(&object(json!({})), None))
            .contains(&"spec.size: Required value".to_owned())
    );
}

#[test]
fn judges_rules_at_their_place() {
    assert_eq!(
        messages(&widget().validate(&object(json!({ "size": 50, "colour": "blue" })), None)),
        ["spec: Invalid value: \"object\": big ones are red"]
    );
    assert_eq!(
        messages(&widget().validate(&object(json!({ "size": 5, "colour": "red", "max-age": -1 })), None)),
        ["spec.max-age: Forbidden: failed rule: self > 0"]
    );
    assert!(widget().validate(&object(json!({ "size": 50, "colour": "red" })), None).is_empty());
}

#[test]
fn rules_end_when_they_have_cost_too_much() {
    let version = |rule: &str| {
        let schema = json!({ "type": "object", "properties": { "texts": { "type": "array", "items": {
            "type": "string", "x-kubernetes-validations": [{ "rule": rule }] } } } });
        CustomVersion {
            rules: rules::Rules::compile(&schema),
            schema,
            status: false,
            scale: None,
            defaults: false,
        }
    };
    let texts = |count: usize, length: usize| json!({ "texts": vec!["x".repeat(length); count] });
    let rule = "self.matches('^x+$')";
    assert!(version(rule).validate(&texts(11, 900_000), None).is_empty());
    assert_eq!(
        messages(&version(rule).validate(&texts(14, 900_000), None)),
        [
            "texts[11]: Invalid value: \"string\": validation failed due to running out of cost budget, no further validation \
          rules will be run"
        ]
    );
    assert_eq!(
        messages(&version(rule).validate(&texts(2, 1_100_000), None)),
        [
            "texts[0]: Invalid value: \"string\": 'operation cancelled: actual cost limit exceeded': no further validation rules \
          will be run due to call cost exceeds limit for rule: self.matches('^x+$')"
        ]
    );
}

#[test]
fn judges_a_change_by_what_was_there() {
    let old = object(json!({ "size": 7, "colour": "red" }));
    let new = object(json!({ "size": 5, "colour": "red" }));
    assert_eq!(
        messages(&widget().validate(&new, Some(&old))),
        ["spec: Invalid value: \"object\": not below 7"]
    );
    // What was let in under an older schema does not stop changes elsewhere.
    let old = object(json!({ "size": 7, "colour": "red", "tags": ["Bad"] }));
    let new = object(json!({ "size": 8, "colour": "red", "tags": ["Bad"] }));
    assert!(widget().validate(&new, Some(&old)).is_empty());
    let new = object(json!({ "size": 8, "colour": "red", "tags": ["Bad", "Worse"] }));
    assert_eq!(
        messages(&widget().validate(&new, Some(&old))),
        ["spec.tags[1]: Invalid value: \"Worse\": spec.tags[1] in body should match '^[a-z]+$'"]
    );
}

#[test]
fn sets_hold_nothing_twice() {
    let found = object(json!({ "size": 5, "tags": ["a", "b", "a"] }));
    assert_eq!(messages(&widget().validate(&found, None)), ["spec.tags[2]: Duplicate value: \"a\""]);
}

#[test]
fn status_and_spec_are_written_apart() {
    let version = widget();
    let mut new = object(json!({ "size": 5 }));
    new["status"] = json!({ "size": 5 });
    version.prepare_for_create(&mut new);
    assert!(new.get("status").is_none());
    assert_eq!(new["metadata"]["generation"], 1);
    let mut changed = new.clone();
    changed["spec"]["size"] = json!(6);
    changed["status"] = json!({ "size": 9 });
    version.prepare_for_update(&mut changed, &new, Part::Main);
    assert_eq!((changed["metadata"]["generation"].as_i64(), changed.get("status")), (Some(2), None));
    let mut status = new.clone();
    status["spec"]["size"] = json!(60);
    status["status"] = json!({ "size": 9 });
    version.prepare_for_update(&mut status, &new, Part::Status);
    assert_eq!((&status["spec"]["size"], &status["status"]["size"]), (&json!(5), &json!(9)));
    assert_eq!(status["metadata"]["generation"], 1);
}

#[test]
fn a_definition_is_established_when_its_names_are_free() {
    let named = |plural: &str, kind: &str| {
        json!({ "metadata": { "name": format!("{plural}.x.example") },
                "spec": { "group": "x.example", "names": { "plural": plural, "kind": kind },
                          "versions": [{ "name": "v1", "served": true, "storage": true }] } })
    };
    let mut first = named("gadgets", "Gadget");
    let status = accept(&first, &[], "2026-01-01T00:00:00Z").unwrap();
    assert_eq!(status["conditions"][1]["type"], "Established");
    assert_eq!(status["conditions"][1]["status"], "True");
    assert_eq!(status["storedVersions"], json!(["v1"]));
    first["status"] = status;
    assert_eq!(accept(&first, &[], "2026-01-02T00:00:00Z"), None);
    let second = named("gizmos", "Gadget");
    let status = accept(&second, &[&first], "2026-01-01T00:00:00Z").unwrap();
    assert_eq!(status["conditions"][0]["reason"], "KindConflict");
    assert_eq!(status["conditions"][1]["status"], "False");
}

#[test]
fn a_schema_must_be_structural_and_its_defaults_must_fit() {
    let root = Path::new("schema");
    let faults = |properties: Value| {
        messages(&validate_schema(&json!({ "type": "object", "properties": properties }), &root))
    };
    assert_eq!(
        faults(json!({ "spec": { "properties": {} }, "list": { "type": "array" } })),
        [
            "schema.properties[list].items: Required value: must be specified",
            "schema.properties[spec].type: Required value: must not be empty for specified object fields",
        ]
    );
    assert_eq!(
        faults(json!({ "a": { "type": "array", "items": {} } })),
        ["schema.properties[a].items.type: Required value: must not be empty for specified array items"]
    );
    assert_eq!(
        faults(json!({ "a": { "type": "string", "anyOf": [{ "type": "string" }] } })),
        ["schema.properties[a].anyOf[0].type: Forbidden: must be empty to be structural"]
    );
    assert_eq!(
        faults(json!({ "a": { "type": "string", "default": 5 } })),
        [
            "schema.properties[a].default: Invalid value: \"integer\": schema.properties[a].default in body must be of \
             type string: \"integer\""
        ]
    );
    let object =
        json!({ "type": "object", "properties": { "b": { "type": "string" } }, "default": { "c": "x" } });
    assert_eq!(
        faults(json!({ "a": object })),
        ["schema.properties[a].default: Invalid value: {\"c\":\"x\"}: must not have unknown fields"]
    );
}

#[test]
fn rules_are_checked_against_the_schema_that_they_stand_in() {
    let root = Path::new("s");
    let faults = |rule: Value, uncorrelated: Option<&Path>| {
        let schema = json!({ "type": "object", "x-kubernetes-validations": [rule],
            "properties": { "size": { "type": "integer" }, "name": { "type": "string" } } });
        let mut all = validate_rules(&schema, &root);
        if all.is_empty() {
            let mut costs = Costs::default();
            all = validate_expressions(&schema, false, &root, uncorrelated, Some(1), &mut costs);
        }
        all.iter().map(|error| format!("{}: {}", error.field, error.detail)).collect::<Vec<_>>()
    };
    let at = "s.x-kubernetes-validations[0]";
    for (rule, wanted) in [
        (json!({ "rule": "self.size > 1" }), None),
        (json!({ "rule": "oldSelf.size <= self.size" }), None),
        (
            json!({ "rule": "!oldSelf.hasValue() || oldSelf.value().size == 1", "optionalOldSelf": true }),
            None,
        ),
        (
            json!({ "rule": "self.nothing > 1" }),
            Some(
                "rule: compilation failed: ERROR: <input>:1:5: undefined field 'nothing'\n | self.nothing > 1\n | ....^",
            ),
        ),
        (json!({ "rule": "self.size" }), Some("rule: cel expression must evaluate to a bool")),
        (
            json!({ "rule": "self.size > 1", "message": "a\nb" }),
            Some("message: message must not contain line breaks"),
        ),
        (
            json!({ "rule": "self.size > 1", "messageExpression": "self.size" }),
            Some("messageExpression: messageExpression must evaluate to a string"),
        ),
        (
            json!({ "rule": "self.size > 1", "fieldPath": ".nothing" }),
            Some("fieldPath: fieldPath must be a valid path"),
        ),
        (
            json!({ "rule": "self.size > 1", "optionalOldSelf": true }),
            Some("optionalOldSelf: may not be set if oldSelf is not used in rule"),
        ),
    ] {
        let wanted: Vec<String> = wanted.into_iter().map(|wanted| format!("{at}.{wanted}")).collect();
        assert_eq!(faults(rule.clone(), None), wanted, "{rule}");
    }
    assert_eq!(
        faults(json!({ "rule": "oldSelf.size > 1" }), Some(&Path::new("s.items"))),
        [format!(
            "{at}.rule: oldSelf cannot be used on the uncorrelatable portion of the schema within s.items"
        )]
    );
}
