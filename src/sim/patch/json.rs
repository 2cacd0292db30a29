//! JSON patch (RFC 6902) as upstream's library takes it: negative indices count from the end, a `test` for null holds
//! where nothing is. An operation that does not apply is a 422 whose reason the client is not told.

use serde_json::{Value, json};

use crate::sim::status::Status;

/// More operations than these are refused.
const MAX_OPERATIONS: usize = 10_000;

/// What all copies of a patch may add to an object, in bytes of JSON: as much as a body may have. Without a bound each
/// copy of the whole doubles the object.
const MAX_COPIED: usize = 3 << 20;
/// How deep a patch may nest an object, as deep as a body may be: what walks over objects is recursive.
const MAX_DEPTH: usize = 120;
/// How many values may be moved in all; each is measured on its way.
const MAX_MOVED: usize = 20_000_000;

/// What the operations of one patch have taken so far.
#[derive(Debug, Default)]
struct Spent {
    copied: usize,
    moved: usize,
}

/// A list of operations.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch(Vec<Operation>);

#[derive(Debug, Clone, PartialEq)]
struct Operation {
    kind: String,
    path: String,
    from: String,
    value: Value,
}

impl Patch {
    /// Reads a patch.
    ///
    /// # Errors
    /// 400 when it is no list of operations, 413 when there are too many.
    pub fn parse(patch: &Value) -> Result<Self, Status> {
        let kind = |value: &Value| match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let refuse = |found: &Value, wanted: &str| {
            Status::bad_request(format!(
                "json: cannot unmarshal {} into Go value of type {wanted}",
                kind(found)
            ))
        };
        let Value::Array(items) = patch else { return Err(refuse(patch, "jsonpatch.Patch")) };
        if items.len() > MAX_OPERATIONS {
            return Err(Status::new(
                413,
                "RequestEntityTooLarge",
                format!(
                    "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                    items.len()
                ),
            ));
        }
        let mut operations = Vec::with_capacity(items.len());
        for item in items {
            let Value::Object(map) = item else { return Err(refuse(item, "jsonpatch.Operation")) };
            let text = |name: &str| map.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            operations.push(Operation {
                kind: text("op"),
                path: text("path"),
                from: text("from"),
                value: map.get("value").cloned().unwrap_or_default(),
            });
        }
        Ok(Self(operations))
    }

    /// Applies the operations one after the other.
    ///
    /// # Errors
    /// 422 when one of them does not apply; the target is then as it was after those before.
    pub fn apply(&self, target: &mut Value) -> Result<(), Status> {
        let mut spent = Spent::default();
        for operation in &self.0 {
            operation.apply(target, &mut spent).ok_or_else(rejected)?;
        }
        Ok(())
    }
}

impl Patch {
    /// Applies the operations one after the other, where somebody is to be told which of them does not apply.
    ///
    /// # Errors
    /// What is wrong, in the words of upstream's library.
    pub fn apply_explained(&self, target: &mut Value) -> Result<(), Misfit> {
        let mut spent = Spent::default();
        for operation in &self.0 {
            let holder_is_there = holder(target, &operation.path).is_some();
            if operation.apply(target, &mut spent).is_some() {
                continue;
            }
            if spent.copied > MAX_COPIED {
                return Err(Misfit::Other(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {}, exceeding the limit \
                     {MAX_COPIED}",
                    spent.copied
                )));
            }
            let (kind, path) = (&operation.kind, &operation.path);
            let key = path.rsplit('/').next().unwrap_or_default();
            return Err(match kind.as_str() {
                "test" => Misfit::Test(path.clone()),
                "add" | "remove" | "replace" if !holder_is_there => Misfit::Other(format!(
                    "{kind} operation does not apply: doc is missing path: {path:?}: missing value"
                )),
                "remove" => Misfit::Other(format!(
                    "error in remove for path: '{path}': Unable to remove nonexistent key: {key}: missing value"
                )),
                "replace" => Misfit::Other(format!(
                    "replace operation does not apply: doc is missing key: {path}: missing value"
                )),
                "add" => Misfit::Other(format!(
                    "error in add for path: '{path}': Unable to access invalid index: {key}: invalid index referenced"
                )),
                "move" | "copy" => Misfit::Other(format!(
                    "{kind} operation does not apply: doc is missing from path: {}: missing value",
                    operation.from
                )),
                _ => Misfit::Other(format!("Unexpected kind: {kind}")),
            });
        }
        Ok(())
    }
}

/// Why a patch does not apply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// A test failed, at this path.
    #[error("testing value {0} failed: test failed")]
    Test(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// What a patch answers that does not apply.
fn rejected() -> Status {
    let mut status =
        Status::new(422, "Invalid", "the server rejected our request due to an error in our request");
    status.details = json!({});
    status
}

impl Operation {
    fn apply(&self, target: &mut Value, spent: &mut Spent) -> Option<()> {
        match self.kind.as_str() {
            "add" => {
                fits(&self.path, &self.value, &mut 0)?;
                add(target, &self.path, self.value.clone())
            }
            "remove" => remove(target, &self.path).map(drop),
            "replace" => {
                if self.path.is_empty() {
                    *target = self.value.clone();
                    return Some(());
                }
                fits(&self.path, &self.value, &mut 0)?;
                *find_mut(target, &self.path)? = self.value.clone();
                Some(())
            }
            "move" => {
                let value = remove(target, &self.from)?;
                fits(&self.path, &value, &mut spent.moved)?;
                if spent.moved > MAX_MOVED {
                    return None;
                }
                add(target, &self.path, value)
            }
            "copy" => {
                let value = find(target, &self.from)?;
                spent.copied += value.to_string().len();
                if spent.copied > MAX_COPIED {
                    return None;
                }
                fits(&self.path, value, &mut 0)?;
                let value = value.clone();
                add(target, &self.path, value)
            }
            "test" => match find(target, &self.path) {
                Some(found) => (*found == self.value).then_some(()),
                None => self.value.is_null().then_some(()),
            },
            _ => None,
        }
    }
}

/// Holds a value that is to stand at `path` to the greatest depth, and counts what is in it.
fn fits(path: &str, value: &Value, count: &mut usize) -> Option<()> {
    fn walk(value: &Value, room: usize, count: &mut usize) -> bool {
        *count += 1;
        match value {
            Value::Array(items) => room > 0 && items.iter().all(|item| walk(item, room - 1, count)),
            Value::Object(map) => room > 0 && map.values().all(|item| walk(item, room - 1, count)),
            _ => true,
        }
    }
    let room = MAX_DEPTH.checked_sub(path.matches('/').count())?;
    walk(value, room, count).then_some(())
}

/// Splits a pointer into its unescaped steps.
fn steps(path: &str) -> Option<Vec<String>> {
    if path.is_empty() {
        return Some(Vec::new());
    }
    let path = path.strip_prefix('/')?;
    Some(path.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

fn index(step: &str, length: usize) -> Option<usize> {
    let index: i64 = step.parse().ok()?;
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { index + length } else { index }).ok()
}

fn find<'a>(target: &'a Value, path: &str) -> Option<&'a Value> {
    steps(path)?.iter().try_fold(target, |value, step| match value {
        Value::Object(map) => map.get(step),
        Value::Array(items) => items.get(index(step, items.len())?),
        _ => None,
    })
}

fn step_mut<'a>(value: &'a mut Value, step: &str) -> Option<&'a mut Value> {
    match value {
        Value::Object(map) => map.get_mut(step),
        Value::Array(items) => {
            let at = index(step, items.len())?;
            items.get_mut(at)
        }
        _ => None,
    }
}

fn find_mut<'a>(target: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    steps(path)?.iter().try_fold(target, |value, step| step_mut(value, step))
}

fn holder<'a>(target: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let mut steps = steps(path)?;
    let last = steps.pop()?;
    let holder = steps.iter().try_fold(target, |value, step| step_mut(value, step))?;
    Some((holder, last))
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    match holder(target, path)? {
        (Value::Object(map), key) => {
            map.insert(key, value);
        }
        (Value::Array(items), key) if key == "-" => items.push(value),
        (Value::Array(items), key) => {
            // From the end is counted with the new item in place.
            let at = index(&key, items.len() + 1)?;
            if at > items.len() {
                return None;
            }
            items.insert(at, value);
        }
        _ => return None,
    }
    Some(())
}

fn remove(target: &mut Value, path: &str) -> Option<Value> {
    match holder(target, path)? {
        (Value::Object(map), key) => map.remove(&key),
        (Value::Array(items), key) => {
            let at = index(&key, items.len())?;
            (at < items.len()).then(|| items.remove(at))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_the_whole_do_not_grow_without_bound() {
        let mut target = json!({ "a": "x".repeat(1000) });
        let copies: Vec<Value> =
            (0..40).map(|n| json!({ "op": "copy", "from": "", "path": format!("/k{n}") })).collect();
        let patch = Patch::parse(&json!(copies)).unwrap();
        assert_eq!(patch.apply(&mut target).unwrap_err().code, 422);
        assert!(target.to_string().len() < 2 * MAX_COPIED);
        assert!(Patch::parse(&json!(copies[..10])).unwrap().apply(&mut json!({ "a": "x" })).is_ok());
    }

    #[test]
    fn no_patch_nests_deeper_than_a_body_may() {
        let applies = |patch: Value| Patch::parse(&patch).unwrap().apply(&mut json!({ "a": {} })).is_ok();
        let deeper = |op: &str, levels: usize| -> Value {
            let mut path = String::from("/a");
            let mut steps = Vec::new();
            for _ in 0..levels {
                steps.push(match op {
                    "add" => json!({ "op": op, "path": format!("{path}/a"), "value": {} }),
                    "replace" => json!({ "op": op, "path": path, "value": { "a": {} } }),
                    _ => json!({ "op": op, "from": "/a", "path": format!("{path}/a") }),
                });
                path.push_str("/a");
            }
            steps.into()
        };
        for op in ["add", "replace", "copy"] {
            assert!(applies(deeper(op, 6)), "{op}");
            assert!(!applies(deeper(op, 400)), "{op}");
        }
    }

    fn patched(target: Value, patch: Value) -> Result<Value, Status> {
        let mut target = target;
        Patch::parse(&patch)?.apply(&mut target)?;
        Ok(target)
    }

    #[test]
    fn operations_change_what_they_name() {
        let target = || json!({ "a": { "b": [1, 2, 3] }, "x/y": { "~": 1 } });
        for (patch, expected) in [
            (json!([{ "op": "add", "path": "/a/b/1", "value": 9 }]), json!([1, 9, 2, 3])),
            (json!([{ "op": "add", "path": "/a/b/-", "value": 9 }]), json!([1, 2, 3, 9])),
            (json!([{ "op": "add", "path": "/a/b/3", "value": 9 }]), json!([1, 2, 3, 9])),
            (json!([{ "op": "remove", "path": "/a/b/0" }]), json!([2, 3])),
            (json!([{ "op": "remove", "path": "/a/b/-1" }]), json!([1, 2])),
            (json!([{ "op": "replace", "path": "/a/b/2", "value": 9 }]), json!([1, 2, 9])),
            (json!([{ "op": "move", "from": "/a/b/0", "path": "/a/b/2" }]), json!([2, 3, 1])),
            (json!([{ "op": "copy", "from": "/a/b/0", "path": "/a/b/-" }]), json!([1, 2, 3, 1])),
            (json!([{ "op": "test", "path": "/a/b/1", "value": 2 }]), json!([1, 2, 3])),
            (json!([{ "op": "test", "path": "/a/none", "value": null }]), json!([1, 2, 3])),
            (json!([{ "op": "replace", "path": "/x~1y/~0", "value": 2 }]), json!([1, 2, 3])),
        ] {
            assert_eq!(patched(target(), patch.clone()).expect("applies")["a"]["b"], expected, "{patch}");
        }
    }

    #[test]
    fn what_does_not_apply_is_rejected_without_a_reason() {
        for patch in [
            json!([{ "op": "add", "path": "/no/such", "value": 1 }]),
            json!([{ "op": "add", "path": "/a/7", "value": 1 }]),
            json!([{ "op": "remove", "path": "/b" }]),
            json!([{ "op": "replace", "path": "/b", "value": 1 }]),
            json!([{ "op": "test", "path": "/a", "value": [2] }]),
            json!([{ "op": "copy", "from": "/b", "path": "/c" }]),
            json!([{ "op": "grow", "path": "/a" }]),
            json!([{ "op": "remove", "path": "a" }]),
        ] {
            let error = patched(json!({ "a": [1] }), patch.clone()).expect_err("rejected");
            assert_eq!((error.code, error.reason.as_str()), (422, "Invalid"), "{patch}");
            assert_eq!(error.message, "the server rejected our request due to an error in our request");
        }
    }

    #[test]
    fn a_patch_is_a_list_of_objects() {
        let error = patched(json!({}), json!({})).expect_err("refused");
        assert_eq!(error.message, "json: cannot unmarshal object into Go value of type jsonpatch.Patch");
        let error = patched(json!({}), json!(["x"])).expect_err("refused");
        assert_eq!(error.message, "json: cannot unmarshal string into Go value of type jsonpatch.Operation");
        let many: Value = (0..=MAX_OPERATIONS).map(|_| json!({ "op": "test", "path": "" })).collect();
        assert_eq!(patched(json!({}), many).expect_err("too many").code, 413);
    }
}
