//! The reference page of each kind of check, made from the types themselves and held in step with them.
//! `CKS_LAB_BLESS=1 cargo test --test it reference` writes the pages anew.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use cks_lab::check::CheckKind;
use serde_json::Value;

/// The case of each kind whose check is shown as the example.
const EXAMPLES: &[(&str, &str)] = &[
    ("resource", "every-object-of-a-set"),
    ("workload", "untouched"),
    ("unchanged", "same-permissions-by-other-rules"),
    ("canI", "just-enough"),
    ("admission", "update-and-warnings"),
    ("reach", "as-asked"),
    ("nodeFile", "parsed"),
    ("answer", "exact-set"),
    ("auditPolicy", "as-asked"),
    ("dockerfile", "as-asked"),
    ("falcoRule", "override-appends"),
    ("manifestDir", "reviewed-and-fixed"),
    ("timeline", "as-asked"),
    ("token", "as-the-api-answered"),
    ("checksum", "tampered-removed"),
    ("seccompProfile", "as-asked"),
    ("iamPolicy", "just-enough"),
    ("sbom", "as-asked"),
    ("vulnReport", "exact-set"),
    ("meshPolicy", "as-asked"),
    ("versionPlan", "as-asked"),
    ("certificate", "as-asked"),
    ("staticPodFlag", "as-asked"),
    ("kubeletConfig", "as-asked"),
    ("auditLog", "as-asked"),
    ("atRest", "as-asked"),
    ("nodeService", "as-asked"),
    ("nodeListener", "as-asked"),
    ("exec", "as-asked"),
];

#[test]
#[expect(clippy::disallowed_methods, reason = "a developer asks by the environment to write the pages")]
fn pages_say_what_the_types_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/checks");
    let bless = std::env::var_os("CKS_LAB_BLESS").is_some();
    let mut stale = Vec::new();
    for (kind, schema) in CheckKind::schemas() {
        let page = page(kind, schema.as_value());
        let path = folder.join(format!("{kind}.md"));
        if bless {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, &page).unwrap();
        } else if std::fs::read_to_string(&path).unwrap_or_default() != page {
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "run with CKS_LAB_BLESS=1 to write {stale:?} anew");
}

fn page(kind: &str, schema: &Value) -> String {
    let mut page = format!("# `{kind}`\n\n{}\n", described(schema));
    let example = EXAMPLES.iter().find(|(of, _)| *of == kind).unwrap().1;
    write!(page, "\n## Example\n\n```yaml\n{}```\n", example_of(kind, example)).unwrap();
    page.push_str("\n## Fields\n\n");
    fields(&mut page, schema);
    let mut names = BTreeSet::new();
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        assert!(names.insert(name));
        write!(page, "\n## {name}\n\n{}\n\n", described(definition)).unwrap();
        fields(&mut page, definition);
    }
    page
}

/// Takes the check out of a case, as it would stand in a scenario.
fn example_of(kind: &str, case: &str) -> String {
    let path = format!("{}/tests/fixtures/checks/{kind}/{case}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut example = String::from("assert:\n");
    for line in text.lines().skip_while(|line| *line != "check:").skip(1).take_while(|l| l.starts_with(' ')) {
        example.push_str(&line.replace(" &check", ""));
        example.push('\n');
    }
    example
}

fn described(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or_default().to_owned()
}

fn fields(page: &mut String, schema: &Value) {
    if let Some(values) = schema["oneOf"].as_array() {
        page.push_str("| value | meaning |\n|---|---|\n");
        for value in values {
            let name = match value["const"].as_str() {
                Some(name) => format!("`{name}`"),
                // A value that carries something: a map of one key.
                None => {
                    let (key, of) = value["properties"].as_object().unwrap().iter().next().unwrap();
                    format!("`{key}:` {}", type_of(of))
                }
            };
            writeln!(page, "| {name} | {} |", one_line(&described(value))).unwrap();
        }
        return;
    }
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    page.push_str("| field | type | default | meaning |\n|---|---|---|---|\n");
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let default = match &property["default"] {
            _ if required.contains(&name.as_str()) => "required".to_owned(),
            Value::Null => String::new(),
            value if *value == false => String::new(),
            Value::String(text) => format!("`{text}`"),
            other => format!("`{other}`"),
        };
        let meaning = one_line(&described(property));
        writeln!(page, "| `{name}` | {} | {default} | {meaning} |", type_of(property)).unwrap();
    }
}

fn type_of(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let kinds: Vec<String> = any.iter().filter(|one| one["type"] != "null").map(type_of).collect();
        return kinds.join(" or ");
    }
    let name = match &schema["type"] {
        Value::String(name) => name.as_str(),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap(),
        _ => return "anything".to_owned(),
    };
    match name {
        "array" => format!("list of {}", type_of(&schema["items"])),
        "object" if schema["additionalProperties"].is_object() => {
            format!("map to {}", type_of(&schema["additionalProperties"]))
        }
        "object" => "map".to_owned(),
        "integer" => "number".to_owned(),
        name => name.to_owned(),
    }
}

/// Joins lines and keeps pipes from ending a cell.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
