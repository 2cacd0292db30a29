//! Roles and bindings compiled for look-up by subject, kept from one revision to the next where they did not change.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::rule::Rule;
use super::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, Decision, GROUP, ROLE_BINDINGS, ROLES};
use crate::sim::attributes::{Attributes, UserInfo};
use crate::sim::resource::GroupResource;
use crate::sim::view::View;

/// What a binding refers to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleRef {
    /// The API group, as written.
    pub group: String,
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// The role's name.
    pub name: String,
}

impl RoleRef {
    /// Reads the `roleRef` of a binding.
    pub fn of(binding: &Value) -> Self {
        let role = &binding["roleRef"];
        Self { group: text(role, "apiGroup"), kind: text(role, "kind"), name: text(role, "name") }
    }
}

/// Why a role could not be resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolutionError {
    /// There is no such Role or ClusterRole.
    NotFound {
        /// Whether a ClusterRole is meant.
        cluster: bool,
        /// The role's name.
        name: String,
    },
    /// A binding refers to neither.
    UnsupportedKind(String),
}

impl ResolutionError {
    /// Words the error as a look-up in the API does, with the plural.
    pub fn as_stored(&self) -> String {
        match self {
            Self::NotFound { cluster, name } => {
                format!("{} {name:?} not found", if *cluster { &CLUSTER_ROLES } else { &ROLES })
            }
            Self::UnsupportedKind(_) => self.to_string(),
        }
    }
}

impl fmt::Display for ResolutionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { cluster, name } => {
                write!(f, "{}.{GROUP} {name:?} not found", if *cluster { "clusterrole" } else { "role" })
            }
            Self::UnsupportedKind(kind) => write!(f, "unsupported role reference kind: {kind:?}"),
        }
    }
}

/// Words several errors as upstream's aggregates do: one as it is, more as `[a, b]`, each once.
pub(crate) fn aggregate<'a>(errors: impl IntoIterator<Item = &'a String>) -> String {
    let mut seen: Vec<&String> = Vec::new();
    for error in errors {
        if !seen.contains(&error) {
            seen.push(error);
        }
    }
    match seen.as_slice() {
        [only] => (*only).clone(),
        _ => format!("[{}]", seen.iter().map(|error| error.as_str()).collect::<Vec<_>>().join(", ")),
    }
}

#[derive(Debug)]
enum Subject {
    User(String),
    Group(String),
}

#[derive(Debug)]
struct Binding {
    source: Arc<Value>,
    name: String,
    namespace: String,
    role: RoleRef,
    /// What the subject matches, and how a reason describes it.
    subjects: Vec<(Subject, String)>,
}

impl Binding {
    fn compile(source: Arc<Value>) -> Self {
        let namespace = text(&source["metadata"], "namespace");
        let subjects = source["subjects"].as_array().map_or(&[][..], Vec::as_slice);
        let subjects = subjects.iter().filter_map(|subject| compile_subject(subject, &namespace)).collect();
        let name = text(&source["metadata"], "name");
        Self { name, role: RoleRef::of(&source), subjects, namespace, source }
    }

    fn subject_of(&self, user: &UserInfo) -> Option<&str> {
        self.subjects
            .iter()
            .find(|(subject, _)| match subject {
                Subject::User(name) => *name == user.username,
                Subject::Group(name) => user.in_group(name),
            })
            .map(|(_, described)| described.as_str())
    }

    fn describe(&self, subject: &str) -> String {
        let (kind, name) = if self.namespace.is_empty() {
            ("ClusterRoleBinding", self.name.clone())
        } else {
            ("RoleBinding", format!("{}/{}", self.name, self.namespace))
        };
        format!("{kind} {name:?} of {} {:?} to {subject}", self.role.kind, self.role.name)
    }
}

fn compile_subject(subject: &Value, binding_namespace: &str) -> Option<(Subject, String)> {
    let name = text(subject, "name");
    match subject["kind"].as_str()? {
        "User" => Some((Subject::User(name.clone()), format!("User {name:?}"))),
        "Group" => Some((Subject::Group(name.clone()), format!("Group {name:?}"))),
        "ServiceAccount" => {
            let own = text(subject, "namespace");
            let namespace = if own.is_empty() { binding_namespace } else { &own };
            if namespace.is_empty() {
                return None;
            }
            let described = format!("ServiceAccount {:?}", format!("{name}/{namespace}"));
            Some((Subject::User(format!("system:serviceaccount:{namespace}:{name}")), described))
        }
        _ => None,
    }
}

/// The bindings of one namespace, or the cluster-wide ones.
#[derive(Debug, Default)]
struct Scope {
    bindings: Vec<Arc<Binding>>,
    by_user: HashMap<String, Vec<usize>>,
    by_group: HashMap<String, Vec<usize>>,
}

impl Scope {
    fn add(&mut self, binding: Arc<Binding>) {
        let at = self.bindings.len();
        for (subject, _) in &binding.subjects {
            match subject {
                Subject::User(name) => self.by_user.entry(name.clone()).or_default().push(at),
                Subject::Group(name) => self.by_group.entry(name.clone()).or_default().push(at),
            }
        }
        self.bindings.push(binding);
    }

    fn of<'a>(&'a self, user: &UserInfo) -> impl Iterator<Item = &'a Arc<Binding>> + use<'a> {
        let by_group = user.groups.iter().filter_map(|group| self.by_group.get(group));
        let found: BTreeSet<usize> =
            self.by_user.get(&user.username).into_iter().chain(by_group).flatten().copied().collect();
        found.into_iter().map(|at| &self.bindings[at])
    }
}

#[derive(Debug)]
struct Role {
    source: Arc<Value>,
    rules: Vec<Rule>,
}

type Key = (String, String);

/// The compiled policy at one revision.
#[derive(Debug, Default)]
pub(super) struct Index {
    revision: Option<[u64; 4]>,
    roles: HashMap<Key, Arc<Role>>,
    cluster: Scope,
    namespaces: HashMap<String, Scope>,
    compiled: HashMap<Key, Arc<Binding>>,
}

/// Returns what changes whenever a role or binding does.
pub(super) fn revision(view: &dyn View) -> [u64; 4] {
    [&ROLES, &ROLE_BINDINGS, &CLUSTER_ROLES, &CLUSTER_ROLE_BINDINGS]
        .map(|resource| view.revision_of(resource))
}

impl Index {
    pub(super) fn revision(&self) -> Option<[u64; 4]> {
        self.revision
    }

    pub(super) fn build(view: &dyn View, revision: [u64; 4], before: &Self) -> Self {
        let mut index = Self { revision: Some(revision), ..Self::default() };
        for resource in [&CLUSTER_ROLES, &ROLES] {
            index.add_roles(view, resource, before);
        }
        for resource in [&CLUSTER_ROLE_BINDINGS, &ROLE_BINDINGS] {
            index.add_bindings(view, resource, before);
        }
        index
    }

    fn add_roles(&mut self, view: &dyn View, resource: &GroupResource, before: &Self) {
        for source in view.list(resource, None) {
            let key = key_of(&source);
            let role = match before.roles.get(&key) {
                Some(old) if Arc::ptr_eq(&old.source, &source) => old.clone(),
                _ => Arc::new(Role { rules: Rule::list_of(&source), source }),
            };
            self.roles.insert(key, role);
        }
    }

    fn add_bindings(&mut self, view: &dyn View, resource: &GroupResource, before: &Self) {
        for source in view.list(resource, None) {
            let key = key_of(&source);
            let binding = match before.compiled.get(&key) {
                Some(old) if Arc::ptr_eq(&old.source, &source) => old.clone(),
                _ => Arc::new(Binding::compile(source)),
            };
            if key.0.is_empty() {
                self.cluster.add(binding.clone());
            } else {
                self.namespaces.entry(key.0.clone()).or_default().add(binding.clone());
            }
            self.compiled.insert(key, binding);
        }
    }

    fn bindings_for<'a>(
        &'a self,
        user: &UserInfo,
        namespace: &str,
    ) -> impl Iterator<Item = &'a Arc<Binding>> {
        let scope = if namespace.is_empty() { None } else { self.namespaces.get(namespace) };
        let local: Vec<&Arc<Binding>> = scope.map(|scope| scope.of(user).collect()).unwrap_or_default();
        self.cluster.of(user).chain(local)
    }

    pub(super) fn role_rules(&self, role: &RoleRef, namespace: &str) -> Result<&[Rule], ResolutionError> {
        let (cluster, namespace) = match role.kind.as_str() {
            "Role" => (false, namespace),
            "ClusterRole" => (true, ""),
            other => return Err(ResolutionError::UnsupportedKind(other.to_owned())),
        };
        match self.roles.get(&(namespace.to_owned(), role.name.clone())) {
            Some(found) if cluster || !namespace.is_empty() => Ok(&found.rules),
            _ => Err(ResolutionError::NotFound { cluster, name: role.name.clone() }),
        }
    }

    pub(super) fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<Rule>, Vec<ResolutionError>) {
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        for binding in self.bindings_for(user, namespace) {
            match self.role_rules(&binding.role, &binding.namespace) {
                Ok(found) => rules.extend_from_slice(found),
                Err(error) => errors.push(error),
            }
        }
        (rules, errors)
    }

    pub(super) fn authorize(&self, request: &Attributes) -> Decision {
        let mut errors = Vec::new();
        for binding in self.bindings_for(&request.user, &request.namespace) {
            match self.role_rules(&binding.role, &binding.namespace) {
                Ok(rules) if rules.iter().any(|rule| rule.allows(request)) => {
                    let subject = binding.subject_of(&request.user).unwrap_or_default();
                    return Decision::Allow {
                        reason: format!("RBAC: allowed by {}", binding.describe(subject)),
                    };
                }
                Ok(_) => {}
                Err(error) => errors.push(error.to_string()),
            }
        }
        let reason = if errors.is_empty() { String::new() } else { format!("RBAC: {}", aggregate(&errors)) };
        Decision::NoOpinion { reason }
    }
}

fn key_of(object: &Value) -> Key {
    (text(&object["metadata"], "namespace"), text(&object["metadata"], "name"))
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or_default().to_owned()
}
