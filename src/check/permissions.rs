//! What RBAC's objects grant a subject, all bindings together, as a set of atoms that can be compared by meaning.
//! Reads the objects through the API; what the authorizer answers is asked elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::CheckError;
use super::api::{Api, Kind};
use super::subject::Identity;

/// The smallest thing that can be granted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Atom {
    /// A verb on a resource; `*` where the rule says so.
    Resource {
        /// The namespace it is granted in; `None` is the whole cluster.
        namespace: Option<String>,
        /// The API group.
        group: String,
        /// The plural, with subresource.
        resource: String,
        /// The one object's name, if it is limited to one.
        name: Option<String>,
        /// The verb.
        verb: String,
    },
    /// A verb on a path that is no resource.
    Path {
        /// The path, possibly ending in `*`.
        path: String,
        /// The verb.
        verb: String,
    },
}

impl Atom {
    /// Tells whether this grants everything that `other` grants.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Resource { namespace, group, resource, name, verb },
                Self::Resource { namespace: n, group: g, resource: r, name: o, verb: v },
            ) => {
                namespace.as_ref().is_none_or(|namespace| n.as_ref() == Some(namespace))
                    && (group == "*" || group == g)
                    && resource_covers(resource, r)
                    && name.as_ref().is_none_or(|name| o.as_ref() == Some(name))
                    && (verb == "*" || verb == v)
            }
            (Self::Path { path, verb }, Self::Path { path: p, verb: v }) => {
                path_covers(path, p) && (verb == "*" || verb == v)
            }
            _ => false,
        }
    }

    /// Tells whether there is a request that both grant.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        fn meets(a: &str, b: &str) -> bool {
            a == "*" || b == "*" || a == b
        }
        fn both<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
            match (a, b) {
                (Some(a), Some(b)) => a == b,
                _ => true,
            }
        }
        match (self, other) {
            (
                Self::Resource { namespace, group, resource, name, verb },
                Self::Resource { namespace: n, group: g, resource: r, name: o, verb: v },
            ) => {
                both(namespace.as_ref(), n.as_ref())
                    && meets(group, g)
                    && (resource_covers(resource, r) || resource_covers(r, resource))
                    && both(name.as_ref(), o.as_ref())
                    && meets(verb, v)
            }
            (Self::Path { path, verb }, Self::Path { path: p, verb: v }) => {
                (path_covers(path, p) || path_covers(p, path)) && meets(verb, v)
            }
            _ => false,
        }
    }
}

fn resource_covers(pattern: &str, resource: &str) -> bool {
    if pattern == "*" || pattern == resource {
        return true;
    }
    match (pattern.strip_prefix("*/"), resource.split_once('/')) {
        (Some(wanted), Some((_, sub))) => wanted == sub,
        _ => false,
    }
}

fn path_covers(pattern: &str, path: &str) -> bool {
    pattern == path || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { path, verb } => write!(f, "{verb} {path}"),
            Self::Resource { namespace, group, resource, name, verb } => {
                write!(f, "{verb} {}", qualified(group, resource))?;
                if let Some(name) = name {
                    write!(f, " {name:?}")?;
                }
                match namespace {
                    Some(namespace) => write!(f, " in {namespace}"),
                    None => f.write_str(" cluster-wide"),
                }
            }
        }
    }
}

/// Writes a resource as kubectl does: `pods/exec`, `deployments.apps/scale`.
pub(crate) fn qualified(group: &str, resource: &str) -> String {
    match (group, resource.split_once('/')) {
        ("", _) => resource.to_owned(),
        (group, Some((plural, sub))) => format!("{plural}.{group}/{sub}"),
        (group, None) => format!("{resource}.{group}"),
    }
}

/// Reads `deployments.apps/scale` into group and `deployments/scale`.
pub(crate) fn unqualified(resource: &str) -> (String, String) {
    let (plural, sub) = match resource.split_once('/') {
        Some((plural, sub)) => (plural, Some(sub)),
        None => (resource, None),
    };
    let (plural, group) = plural.split_once('.').unwrap_or((plural, ""));
    let resource = sub.map_or_else(|| plural.to_owned(), |sub| format!("{plural}/{sub}"));
    (group.to_owned(), resource)
}

/// The RBAC objects of a cluster at one moment, and what is served.
pub(crate) struct Rbac {
    cluster_roles: BTreeMap<String, Vec<Value>>,
    roles: BTreeMap<(String, String), Vec<Value>>,
    cluster_bindings: Vec<Value>,
    bindings: Vec<Value>,
    served: Vec<Kind>,
}

impl Rbac {
    /// Reads all of it.
    ///
    /// # Errors
    /// [`CheckError::Api`] when any part of it cannot be read.
    pub(crate) async fn read(api: &Api) -> Result<Self, CheckError> {
        const V1: &str = "rbac.authorization.k8s.io/v1";
        let (cluster_roles, roles, cluster_bindings, bindings, served) = futures::try_join!(
            api.list_known(V1, "ClusterRole", None, None),
            api.list_known(V1, "Role", None, None),
            api.list_known(V1, "ClusterRoleBinding", None, None),
            api.list_known(V1, "RoleBinding", None, None),
            served(api),
        )?;
        let rules = |role: &Value| role["rules"].as_array().cloned().unwrap_or_default();
        Ok(Self {
            cluster_roles: cluster_roles
                .iter()
                .map(|role| (text(&role["metadata"]["name"]), rules(role)))
                .collect(),
            roles: roles
                .iter()
                .map(|role| {
                    let meta = &role["metadata"];
                    ((text(&meta["namespace"]), text(&meta["name"])), rules(role))
                })
                .collect(),
            cluster_bindings,
            bindings,
            served,
        })
    }

    /// Returns all that the subject is granted, as the rules say it.
    pub(crate) fn granted(&self, who: &Identity) -> BTreeSet<Atom> {
        let mut atoms = BTreeSet::new();
        for binding in &self.cluster_bindings {
            if binds(binding, "", who) {
                self.add(&binding["roleRef"], None, &mut atoms);
            }
        }
        for binding in &self.bindings {
            let namespace = text(&binding["metadata"]["namespace"]);
            if binds(binding, &namespace, who) {
                self.add(&binding["roleRef"], Some(&namespace), &mut atoms);
            }
        }
        atoms
    }

    /// Returns the rules of a ClusterRole as atoms granted cluster-wide, or `None` when there is none of the name.
    pub(crate) fn cluster_role(&self, name: &str) -> Option<BTreeSet<Atom>> {
        let mut atoms = BTreeSet::new();
        for rule in self.cluster_roles.get(name)? {
            expand(rule, None, &mut atoms);
        }
        Some(atoms)
    }

    /// Returns the names of all ClusterRoles.
    pub(crate) fn cluster_role_names(&self) -> impl Iterator<Item = &str> {
        self.cluster_roles.keys().map(String::as_str)
    }

    fn add(&self, role: &Value, namespace: Option<&str>, atoms: &mut BTreeSet<Atom>) {
        let name = text(&role["name"]);
        let rules = match (role["kind"].as_str(), namespace) {
            (Some("ClusterRole"), _) => self.cluster_roles.get(&name),
            (Some("Role"), Some(namespace)) => self.roles.get(&(namespace.to_owned(), name)),
            _ => None,
        };
        for rule in rules.into_iter().flatten() {
            expand(rule, namespace, atoms);
        }
    }

    /// Resolves wildcards of groups, resources and verbs against what is served. What has no effect is left out:
    /// resources and verbs that are not served, and resources without namespace granted in a namespace.
    pub(crate) fn effect(&self, atom: &Atom) -> Vec<Atom> {
        let Atom::Resource { namespace, group, resource, name, verb } = atom else {
            return vec![atom.clone()];
        };
        let mut effect = Vec::new();
        let mut add = |group: &str, resource: &str, verb: &str| {
            effect.push(Atom::Resource {
                namespace: namespace.clone(),
                group: group.to_owned(),
                resource: resource.to_owned(),
                name: name.clone(),
                verb: verb.to_owned(),
            });
        };
        for kind in &self.served {
            let matched = (group == "*" || *group == kind.group) && resource_covers(resource, &kind.resource);
            // A request for the namespace x itself counts as one in x.
            let of_namespace = kind.group.is_empty() && kind.resource.starts_with("namespaces");
            if matched && (namespace.is_none() || kind.namespaced || of_namespace) {
                for served in kind.verbs.iter().filter(|served| verb == "*" || verb == *served) {
                    add(&kind.group, &kind.resource, served);
                }
            }
        }
        for &(of_group, of_resource, verbs) in VIRTUAL {
            // Asked about with a namespace; all others are asked about without one, and so granted cluster-wide only.
            let in_namespace = matches!(of_resource, "serviceaccounts" | "roles" | "clusterroles");
            if namespace.is_some() && !in_namespace {
                continue;
            }
            let matched = (group == "*" || group == of_group)
                && (resource_covers(resource, of_resource) || resource_covers(of_resource, resource));
            if matched {
                let resource = if resource.contains('*') { of_resource } else { resource };
                for known in verbs.iter().filter(|known| verb == "*" || verb == *known) {
                    add(of_group, resource, known);
                }
            }
        }
        effect
    }

    /// Resolves wildcards of all atoms.
    pub(crate) fn effects(&self, atoms: &BTreeSet<Atom>) -> BTreeSet<Atom> {
        atoms.iter().flat_map(|atom| self.effect(atom)).collect()
    }

    /// Returns the atoms of `a` that grant something which nothing in `b` grants, each with an example of it.
    pub(crate) fn beyond<'a>(&self, a: &'a BTreeSet<Atom>, b: &BTreeSet<Atom>) -> Vec<(&'a Atom, Vec<Atom>)> {
        let effects = self.effects(b);
        let mut more = Vec::new();
        for atom in a {
            if b.iter().any(|other| other.covers(atom)) {
                continue;
            }
            let mut extra = self.effect(atom);
            extra.retain(|atom| !effects.contains(atom) && !effects.iter().any(|other| other.covers(atom)));
            if !extra.is_empty() {
                more.push((atom, extra));
            }
        }
        more
    }

    /// Tells whether a resource is served or one that the authorizer knows without its being served.
    pub(crate) fn knows(&self, group: &str, resource: &str) -> bool {
        self.served.iter().any(|kind| kind.group == group && kind.resource == resource)
            || VIRTUAL.iter().any(|&(g, r, _)| g == group && resource_covers(r, resource))
    }

    /// Tells whether a resource lives in namespaces, if it is served.
    pub(crate) fn is_namespaced(&self, group: &str, resource: &str) -> Option<bool> {
        let kind = self.served.iter().find(|kind| kind.group == group && kind.resource == resource)?;
        Some(kind.namespaced)
    }
}

/// What the authorizer is asked about without being served: identities, signers, roles beyond their objects, and the
/// kubelet's own paths.
const VIRTUAL: &[(&str, &str, &[&str])] = &[
    ("", "users", &["impersonate"]),
    ("", "groups", &["impersonate"]),
    ("", "serviceaccounts", &["impersonate"]),
    ("authentication.k8s.io", "uids", &["impersonate"]),
    ("authentication.k8s.io", "userextras", &["impersonate"]),
    ("certificates.k8s.io", "signers", &["approve", "sign", "attest"]),
    ("rbac.authorization.k8s.io", "roles", &["bind", "escalate"]),
    ("rbac.authorization.k8s.io", "clusterroles", &["bind", "escalate"]),
    ("", "nodes/metrics", &["get", "create", "update", "patch", "delete"]),
    ("", "nodes/stats", &["get", "create", "update", "patch", "delete"]),
    ("", "nodes/log", &["get", "create", "update", "patch", "delete"]),
    ("", "nodes/spec", &["get", "create", "update", "patch", "delete"]),
    ("", "nodes/pods", &["get", "create", "update", "patch", "delete"]),
    ("", "nodes/configz", &["get", "create", "update", "patch", "delete"]),
    ("", "nodes/healthz", &["get", "create", "update", "patch", "delete"]),
    ("", "nodes/checkpoint", &["get", "create", "update", "patch", "delete"]),
];

/// Returns everything that is served, one entry for each group's resource and subresource, any version.
async fn served(api: &Api) -> Result<Vec<Kind>, CheckError> {
    let mut all: Vec<Kind> = Vec::new();
    for group_version in api.group_versions().await? {
        let kinds = api.resources(&group_version).await?;
        for kind in kinds.iter().flat_map(|kinds| kinds.iter()) {
            match all.iter_mut().find(|known| known.group == kind.group && known.resource == kind.resource) {
                Some(known) => {
                    for verb in &kind.verbs {
                        if !known.verbs.contains(verb) {
                            known.verbs.push(verb.clone());
                        }
                    }
                }
                None => all.push(kind.clone()),
            }
        }
    }
    Ok(all)
}

fn binds(binding: &Value, namespace: &str, who: &Identity) -> bool {
    let subjects = binding["subjects"].as_array().map(Vec::as_slice).unwrap_or_default();
    subjects.iter().any(|subject| {
        let name = subject["name"].as_str().unwrap_or_default();
        match subject["kind"].as_str() {
            Some("User") => name == who.user,
            Some("Group") => who.groups.iter().any(|group| group == name),
            Some("ServiceAccount") => {
                let named = subject["namespace"].as_str().filter(|named| !named.is_empty());
                let namespace = named.unwrap_or(namespace);
                !namespace.is_empty() && who.user == format!("system:serviceaccount:{namespace}:{name}")
            }
            _ => false,
        }
    })
}

fn expand(rule: &Value, namespace: Option<&str>, atoms: &mut BTreeSet<Atom>) {
    let list = |field: &str| -> Vec<String> {
        rule[field].as_array().map(|all| all.iter().map(text).collect()).unwrap_or_default()
    };
    let names = list("resourceNames");
    let names: Vec<Option<String>> =
        if names.is_empty() { vec![None] } else { names.into_iter().map(Some).collect() };
    for verb in list("verbs") {
        for group in list("apiGroups") {
            for resource in list("resources") {
                for name in &names {
                    atoms.insert(Atom::Resource {
                        namespace: namespace.map(str::to_owned),
                        group: group.clone(),
                        resource: resource.clone(),
                        name: name.clone(),
                        verb: verb.clone(),
                    });
                }
            }
        }
        // Paths are granted by cluster-wide bindings only.
        if namespace.is_none() {
            for path in list("nonResourceURLs") {
                atoms.insert(Atom::Path { path, verb: verb.clone() });
            }
        }
    }
}

/// Returns what a fresh cluster grants everybody of the subject's sort. A constant, and not what the cluster's groups
/// have now: a grant to a group is a grant.
pub(crate) fn basics(who: &Identity) -> BTreeSet<Atom> {
    let mut atoms = BTreeSet::new();
    let mut paths = |all: &[&str]| {
        atoms.extend(all.iter().map(|path| Atom::Path { path: (*path).to_owned(), verb: "get".to_owned() }));
    };
    paths(&["/healthz", "/livez", "/readyz", "/version", "/version/"]);
    let in_group = |name: &str| who.groups.iter().any(|group| group == name);
    if in_group("system:authenticated") {
        paths(&["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"]);
        if in_group("system:serviceaccounts") {
            paths(&["/.well-known/openid-configuration", "/.well-known/openid-configuration/"]);
            paths(&["/openid/v1/jwks", "/openid/v1/jwks/"]);
        }
        for (group, resource) in [
            ("authorization.k8s.io", "selfsubjectaccessreviews"),
            ("authorization.k8s.io", "selfsubjectrulesreviews"),
            ("authentication.k8s.io", "selfsubjectreviews"),
        ] {
            atoms.insert(Atom::Resource {
                namespace: None,
                group: group.to_owned(),
                resource: resource.to_owned(),
                name: None,
                verb: "create".to_owned(),
            });
        }
    }
    if in_group("system:unauthenticated") {
        // How kubeadm lets new nodes find the cluster.
        atoms.insert(Atom::Resource {
            namespace: Some("kube-public".to_owned()),
            group: String::new(),
            resource: "configmaps".to_owned(),
            name: Some("cluster-info".to_owned()),
            verb: "get".to_owned(),
        });
    }
    atoms
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atom(namespace: Option<&str>, resource: &str, name: Option<&str>, verb: &str) -> Atom {
        let (group, resource) = unqualified(resource);
        Atom::Resource {
            namespace: namespace.map(str::to_owned),
            group,
            resource,
            name: name.map(str::to_owned),
            verb: verb.to_owned(),
        }
    }

    #[test]
    fn wider_grants_cover_narrower_ones_and_not_the_reverse() {
        let wide = atom(None, "pods", None, "*");
        let narrow = atom(Some("a"), "pods", Some("x"), "get");
        assert!(wide.covers(&narrow) && !narrow.covers(&wide));
        assert!(!wide.covers(&atom(None, "pods/exec", None, "create")));
        assert!(atom(None, "*", None, "*").covers(&atom(None, "pods/exec", None, "create")));
        assert!(atom(None, "*/scale", None, "get").covers(&atom(
            Some("a"),
            "deployments/scale",
            None,
            "get"
        )));
        assert!(!atom(None, "*", None, "*").covers(&atom(None, "deployments.apps", None, "get")));
    }

    #[test]
    fn a_grant_for_one_name_overlaps_with_any_name() {
        let any = atom(Some("a"), "secrets", None, "get");
        assert!(any.overlaps(&atom(None, "secrets", Some("db"), "*")));
        assert!(!any.overlaps(&atom(Some("b"), "secrets", Some("db"), "*")));
        assert!(!any.overlaps(&atom(Some("a"), "secrets", Some("db"), "list")));
    }

    #[test]
    fn resources_are_written_as_kubectl_writes_them() {
        for text in ["pods", "pods/exec", "deployments.apps", "deployments.apps/scale"] {
            let (group, resource) = unqualified(text);
            assert_eq!(qualified(&group, &resource), text);
        }
        assert_eq!(unqualified("roles.rbac.authorization.k8s.io").0, "rbac.authorization.k8s.io");
    }
}
