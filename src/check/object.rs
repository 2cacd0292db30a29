//! Objects as findings name them, paths into them, and names with wildcards. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::expect::Expect;
use super::{CheckError, Finding};
use crate::cel::{CelError, Program};

/// Names an object as findings do: `Deployment shop/api`.
pub(crate) fn display(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or("object");
    let name = object["metadata"]["name"].as_str().unwrap_or("without name");
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// Returns `namespace/name`, or the name of an object without namespace.
pub(crate) fn key(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

/// Tells whether an object is on its way out.
pub(crate) fn is_going(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// Looks a path up: names with dots between, `[0]` for list elements, `['a/b']` for keys with dots or slashes, and
/// `[name=x]` for the list element with that field.
pub(crate) fn at<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    let mut current = root;
    for step in steps(path)? {
        current = match step {
            Step::Field(name) => current.as_object()?.get(name)?,
            Step::Index(index) => current.as_array()?.get(index)?,
            Step::Element(field, value) => {
                current.as_array()?.iter().find(|item| item[field].as_str() == Some(value))?
            }
        };
    }
    Some(current)
}

/// Removes what is at a path; nothing there is fine.
pub(crate) fn remove(root: &mut Value, path: &str) {
    let Some(steps) = steps(path) else { return };
    let Some((last, way)) = steps.split_last() else { return };
    let mut current = root;
    for step in way {
        let next = match step {
            Step::Field(name) => current.as_object_mut().and_then(|map| map.get_mut(*name)),
            Step::Index(index) => current.as_array_mut().and_then(|list| list.get_mut(*index)),
            Step::Element(field, value) => current
                .as_array_mut()
                .and_then(|list| list.iter_mut().find(|item| item[*field].as_str() == Some(*value))),
        };
        match next {
            Some(next) => current = next,
            None => return,
        }
    }
    match (last, current) {
        (Step::Field(name), Value::Object(map)) => {
            map.remove(*name);
        }
        (Step::Index(index), Value::Array(list)) if *index < list.len() => {
            list.remove(*index);
        }
        (Step::Element(field, value), Value::Array(list)) => {
            list.retain(|item| item[*field].as_str() != Some(*value));
        }
        _ => {}
    }
}

/// Tells whether a path can be read by [`at`].
pub(crate) fn is_path(path: &str) -> bool {
    steps(path).is_some()
}

enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Element(&'a str, &'a str),
}

fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    let mut steps = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            if let Some(quote @ ('\'' | '"')) = inner.chars().next() {
                let (name, after) = inner[1..].split_once(quote)?;
                steps.push(Step::Field(name));
                rest = after.strip_prefix(']')?;
            } else {
                let (inside, after) = inner.split_once(']')?;
                steps.push(match inside.split_once('=') {
                    Some((field, value)) => Step::Element(field, value),
                    None => Step::Index(inside.parse().ok()?),
                });
                rest = after;
            }
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            steps.push(Step::Field(&rest[..end]));
            rest = &rest[end..];
        }
        if let Some(after) = rest.strip_prefix('.') {
            if after.is_empty() || after.starts_with(['.', '[']) {
                return None;
            }
            rest = after;
        }
    }
    Some(steps)
}

/// Writes a value into a finding: texts as they are, the rest as JSON, long ones cut.
pub(crate) fn show(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    shorten(&text)
}

/// Cuts what is too long for a finding.
pub(crate) fn shorten(text: &str) -> String {
    const MAX: usize = 400;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Tells whether a name matches a pattern in which `*` stands for any characters and `?` for any one.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&char) if char == '?' || char == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    n = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&char| char == '*')
}

/// Tells whether a name has wildcards.
pub(crate) fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?'])
}

/// Pushes a fault for each expectation that does not compile or cannot fail.
pub(crate) fn lint_expects(field: &str, expects: &[Expect], variables: &[&str], faults: &mut Vec<String>) {
    for (index, expect) in expects.iter().enumerate() {
        let at = format!("{field}[{index}]");
        lint_cel(&format!("{at}.that"), &expect.that, variables, faults);
        if let Some(actual) = &expect.actual {
            lint_cel(&format!("{at}.actual"), actual, variables, faults);
        }
        if matches!(expect.that.trim(), "true" | "") {
            faults.push(format!("{at}.that: this expectation cannot fail"));
        }
        if expect.expected.trim().is_empty() {
            faults.push(format!("{at}.expected: say what should be there"));
        }
    }
}

/// Pushes a fault for an expression that does not compile.
pub(crate) fn lint_cel(field: &str, source: &str, variables: &[&str], faults: &mut Vec<String>) {
    if let Err(error) = Program::compile_with(source, variables) {
        faults.push(format!("{field}: {error}"));
    }
}

/// Compiles an expression of a specification.
///
/// # Errors
/// [`CheckError::Spec`] when it does not compile.
pub(crate) fn compile(source: &str) -> Result<Program, CheckError> {
    Program::compile(source).map_err(|error| CheckError::Spec(format!("`{source}`: {error}")))
}

/// Judges expectations over one set of variables; `root` is what paths look into.
///
/// # Errors
/// [`CheckError::Spec`] when an expression does not give a boolean.
pub(crate) fn judge(
    expects: &[Expect],
    subject: &str,
    root: &Value,
    bindings: &BTreeMap<String, Value>,
    findings: &mut Vec<Finding>,
) -> Result<(), CheckError> {
    for expect in expects {
        let actual = match compile(&expect.that)?.evaluate(bindings) {
            Ok(Value::Bool(true)) => continue,
            Ok(Value::Bool(false)) => None,
            Ok(other) => {
                let shown = show(&other);
                return Err(CheckError::Spec(format!("`{}` gave {shown}, not a boolean", expect.that)));
            }
            Err(CelError::Evaluate(reason)) => Some(reason),
            Err(error) => return Err(CheckError::Spec(error.to_string())),
        };
        let there = match &expect.actual {
            Some(source) => compile(source)?.evaluate(bindings).ok().map(|value| show(&value)),
            None => at(root, &expect.path).map(show),
        };
        let actual = there.or(actual).unwrap_or_else(|| "nothing".to_owned());
        findings.push(Finding::new(subject, &expect.path, &expect.expected, actual));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_reach_list_elements_and_keys_with_slashes() {
        let pod = json!({
            "metadata": {"annotations": {"a.b/c": "x"}},
            "spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]},
        });
        assert_eq!(at(&pod, "metadata.annotations['a.b/c']"), Some(&json!("x")));
        assert_eq!(at(&pod, "spec.containers[1].image"), Some(&json!("j")));
        assert_eq!(at(&pod, "spec.containers[name=a].image"), Some(&json!("i")));
        assert_eq!(at(&pod, "spec.volumes[0]"), None);
        assert_eq!(at(&pod, ""), Some(&pod));
        for bad in ["a..b", "a[", "a[x]", ".a", "a.", "a['x]"] {
            assert!(!is_path(bad), "{bad}");
        }
    }

    #[test]
    fn removing_leaves_the_rest() {
        let mut value = json!({"a": {"b": 1, "c": [1, 2]}});
        remove(&mut value, "a.b");
        remove(&mut value, "a.c[0]");
        remove(&mut value, "x.y");
        assert_eq!(value, json!({"a": {"c": [2]}}));
    }

    #[test]
    fn stars_match_across_anything() {
        for (pattern, name, expected) in [
            ("system:*", "system:node", true),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*-a-*b", "x-a-yyb", true),
            ("*-a-*b", "x-a-yyc", false),
            ("view", "viewer", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn an_expectation_that_errors_is_a_finding_with_the_reason() {
        let expect = Expect {
            that: "object.metadata.labels['team'] == 'red'".to_owned(),
            path: "metadata.labels.team".to_owned(),
            expected: "red".to_owned(),
            actual: None,
        };
        let object = json!({"metadata": {"labels": {}}});
        let bindings = [("object".to_owned(), object.clone())].into();
        let mut findings = Vec::new();
        judge(&[expect], "Pod a", &object, &bindings, &mut findings).unwrap();
        assert_eq!(findings[0].actual, "no such key: team");
    }
}
