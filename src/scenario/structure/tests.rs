use super::*;

fn found(text: &str) -> Vec<(&'static str, u32, u32)> {
    parse(text)
        .unwrap_err()
        .iter()
        .map(|fault| (fault.code.as_str(), fault.at.line, fault.at.column))
        .collect()
}

const VALID: &str = "\
apiVersion: cks-lab/v1
id: a
title: A
topic: rbac
difficulty: core
minutes: 7
needs: [api]
task: task.md
checks:
  - id: one
    points: 3
    describe: d
    assert:
      canI:
        as: { serviceAccount: a/b }
        allowed: [{ verbs: [get], resource: pods, namespace: a }]
solution: { explain: s.md, run: 'true' }
proofs: {}
";

#[test]
fn a_valid_text_parses() {
    let raw = parse(VALID).unwrap();
    assert_eq!(raw.checks[0].id.at, At { line: 10, column: 9 });
    assert_eq!(raw.checks[0].assert.at, At { line: 14, column: 7 });
}

#[test]
fn every_fault_is_found_at_its_place() {
    let text = VALID
        .replace("title: A\n", "titel: A\n")
        .replace("topic: rbac", "topic: rback")
        .replace("minutes: 7", "minutes: seven")
        .replace("needs: [api]", "needs: [api, nods]")
        .replace("      canI:", "      cani:")
        .replace("points: 3", "points: -3");
    assert_eq!(
        found(&text),
        [
            ("missing-field", 1, 1),
            ("unknown-field", 3, 1),
            ("unknown-topic", 4, 8),
            ("wrong-type", 6, 10),
            ("unknown-value", 7, 14),
            ("wrong-type", 11, 13),
            ("unknown-value", 14, 7),
        ]
    );
}

#[test]
fn faults_say_what_was_meant() {
    let faults = parse(&VALID.replace("verbs: [get]", "verb: [get]")).unwrap_err();
    assert_eq!(faults.len(), 2, "{faults:?}");
    let unknown = faults.iter().find(|fault| fault.code == Code::UnknownField).unwrap();
    assert_eq!(unknown.message, "unknown key `verb`");
    assert_eq!(unknown.help.as_deref(), Some("did you mean `verbs`?"));
    let faults = parse(&VALID.replace("core", "hard")).unwrap_err();
    assert_eq!(faults[0].message, "unknown value `hard`");
    assert_eq!(faults[0].help.as_deref(), Some("one of quick, core, deep"));
}

#[test]
fn a_choice_wants_exactly_one_key() {
    let text = VALID.replace("solution:", "      resource: { apiVersion: v1, kind: Pod }\nsolution:");
    let faults = parse(&text).unwrap_err();
    assert!(
        faults.iter().any(|fault| fault.message == "expected a map of one key, found one of 2"),
        "{faults:?}"
    );
    let text = format!("{VALID}seed: [apply]\n");
    assert_eq!(parse(&text).unwrap_err()[0].message, "`apply` needs a value: `apply: …`");
}

#[test]
fn duplicate_keys_are_all_found() {
    let text = format!("{VALID}id: b\nminutes: 9\n");
    assert_eq!(found(&text), [("duplicate-key", 19, 1), ("duplicate-key", 20, 1)]);
}

#[test]
fn broken_yaml_has_a_place() {
    let faults = parse("id: [a\nb: c\n").unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].code, Code::YamlSyntax, "{faults:?}");
}

#[test]
fn a_bomb_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..9 {
        let before = format!("*a{}", n - 1);
        let list = [before.as_str(); 10].join(", ");
        text.push_str(&format!("a{n}: &a{n} [{list}]\n"));
    }
    assert_eq!(parse(&text).unwrap_err()[0].code, Code::YamlBomb);
    let deep = format!("id: {}{}", "[".repeat(5000), "]".repeat(5000));
    let fault = &parse(&deep).unwrap_err()[0];
    assert!([Code::YamlBomb, Code::YamlSyntax].contains(&fault.code), "{fault:?}");
}

#[test]
fn anchors_may_be_used() {
    let text = VALID.replace("as: { serviceAccount: a/b }", "as: &who { serviceAccount: a/b }").replace(
        "solution:",
        "  - { id: two, points: 1, describe: d, assert: { canI: { as: *who } } }\nsolution:",
    );
    assert_eq!(parse(&text).unwrap().checks.len(), 2);
}

#[test]
fn manifests_read_as_kubectl_reads_them() {
    let documents = parse_manifest("---\n# nothing\n---\na: 0755\nb: yes\n---\nc: 1\n").unwrap();
    assert_eq!(documents.len(), 2);
    assert_eq!(documents[0].value["a"], 493);
    assert_eq!(documents[0].value["b"], true);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,200}") {
        let _ = parse(&text);
    }

    #[test]
    fn no_damage_makes_the_parser_panic(at in 0..VALID.len(), cut in 0..40_usize, put in "[\\-:{}\\[\\]&*!|>'\"%@ \\n\\tа-я0-9]{0,8}") {
        let end = (at + cut).min(VALID.len());
        let mut text = String::from(&VALID[..at]);
        text.push_str(&put);
        text.push_str(&VALID[end..]);
        if let Err(faults) = parse(&text) {
            proptest::prop_assert!(!faults.is_empty());
        }
    }
}
