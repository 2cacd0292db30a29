//! Sets of field paths, as `fieldsV1` writes them (sigs.k8s.io/structured-merge-diff, fieldpath.Set).

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// A field of a struct or an entry of a map.
    Field(String),
    /// An item of a list, by its keys; the text is the JSON of the keys in order.
    Key(String),
    /// An item of a set; the text is its JSON.
    Item(String),
}

impl Step {
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => Some(Self::Key(canonical(rest)?)),
            "v" => Some(Self::Item(canonical(rest)?)),
            _ => None,
        }
    }

    fn write(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Item(item) => format!("v:{item}"),
        }
    }
}

impl fmt::Display for Step {
    /// Writes the step as paths in messages have it: `.name`, `[name="web"]`, `[="a"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Item(item) => write!(f, "[={item}]"),
            Self::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let keys: Vec<String> = keys.iter().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "[{}]", keys.join(","))
            }
        }
    }
}

fn canonical(json: &str) -> Option<String> {
    serde_json::from_str::<Value>(json).ok().map(|value| value.to_string())
}

/// A set of paths. A path is a member itself, or only leads to members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Set {
    member: bool,
    children: BTreeMap<Step, Set>,
}

impl Set {
    /// Reads `fieldsV1`.
    pub(crate) fn parse(fields: &Value) -> Option<Self> {
        let map = fields.as_object()?;
        let mut set = Self::default();
        for (name, below) in map {
            if name == "." {
                continue;
            }
            let mut child = Self::parse(below)?;
            child.member = below.as_object().is_some_and(|below| below.is_empty() || below.contains_key("."));
            set.children.insert(Step::parse(name)?, child);
        }
        Some(set)
    }

    /// Writes `fieldsV1`.
    pub(crate) fn write(&self) -> Value {
        let mut map = Map::new();
        for (step, child) in &self.children {
            let mut below = child.write();
            if child.member && !child.children.is_empty() {
                below["."] = Value::Object(Map::new());
            }
            map.insert(step.write(), below);
        }
        map.into()
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.values().all(Self::is_empty)
    }

    pub(crate) fn insert(&mut self, path: &[Step]) {
        match path {
            [] => self.member = true,
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    pub(crate) fn child(&self, step: &Step) -> Option<&Self> {
        self.children.get(step)
    }

    pub(crate) fn is_member(&self) -> bool {
        self.member
    }

    #[must_use]
    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut children = self.children.clone();
        for (step, theirs) in &other.children {
            let merged = children.get(step).map_or_else(|| theirs.clone(), |ours| ours.union(theirs));
            children.insert(step.clone(), merged);
        }
        Self { member: self.member || other.member, children }
    }

    #[must_use]
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |ours, theirs| ours && theirs)
    }

    #[must_use]
    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.combine(other, |ours, theirs| ours && !theirs)
    }

    fn combine(&self, other: &Self, keep: fn(bool, bool) -> bool) -> Self {
        static NONE: Set = Set { member: false, children: BTreeMap::new() };
        let children = self.children.iter().map(|(step, ours)| {
            (step.clone(), ours.combine(other.children.get(step).unwrap_or(&NONE), keep))
        });
        Self {
            member: keep(self.member, other.member),
            children: children.filter(|(_, child)| !child.is_empty()).collect(),
        }
    }

    /// Takes out the members of `roots` and all that is below them.
    #[must_use]
    pub(crate) fn without_below(&self, roots: &Self) -> Self {
        let children = self.children.iter().filter_map(|(step, ours)| match roots.children.get(step) {
            Some(root) if root.member => None,
            Some(root) => Some((step.clone(), ours.without_below(root))),
            None => Some((step.clone(), ours.clone())),
        });
        Self { member: self.member, children: children.filter(|(_, child)| !child.is_empty()).collect() }
    }

    /// Makes every named field that leads to a member a member.
    #[must_use]
    pub(crate) fn with_named(&self) -> Self {
        let children = self.children.iter().map(|(step, child)| {
            let mut child = child.with_named();
            child.member |= matches!(step, Step::Field(_));
            (step.clone(), child)
        });
        Self { member: self.member, children: children.collect() }
    }

    /// Returns the members in order.
    pub(crate) fn paths(&self) -> Vec<Vec<Step>> {
        let mut paths = Vec::new();
        self.collect(&mut Vec::new(), &mut paths);
        paths
    }

    fn collect(&self, at: &mut Vec<Step>, paths: &mut Vec<Vec<Step>>) {
        if self.member && !at.is_empty() {
            paths.push(at.clone());
        }
        for (step, child) in &self.children {
            at.push(step.clone());
            child.collect(at, paths);
            at.pop();
        }
    }
}
