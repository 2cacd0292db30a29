//! Which resources are served: the built-in ones of v1.34, and those that CustomResourceDefinitions add.
//! A value is a snapshot; when a CRD changes, a new one is made. Knows names, verbs and storage, no fields.

use std::sync::{Arc, LazyLock};

use serde_json::Value;

use crate::sim::resource::GroupResource;

/// A group, version and kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupVersionKind {
    /// The group; empty for core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The kind.
    pub kind: String,
}

impl GroupVersionKind {
    /// Names a kind.
    pub fn of(group: &str, version: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    /// Reads `apiVersion` and `kind` of an object.
    pub fn read(object: &Value) -> Option<Self> {
        let (group, version) = split_api_version(object.get("apiVersion")?.as_str()?);
        Some(Self::of(group, version, object.get("kind")?.as_str()?))
    }

    /// Returns `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }
}

/// Splits `apps/v1` or `v1` into group and version.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// Joins group and version to `apps/v1` or `v1`.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// One resource in one version.
#[derive(Debug, Clone)]
pub struct Resource {
    /// The group; empty for core.
    pub group: String,
    /// The version.
    pub version: String,
    /// The plural, as in paths.
    pub plural: String,
    /// The singular.
    pub singular: String,
    /// The kind.
    pub kind: String,
    /// The kind of a list.
    pub list_kind: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// The verbs, in the order of discovery.
    pub verbs: Vec<String>,
    /// The short names.
    pub short_names: Vec<String>,
    /// The categories, such as `all`.
    pub categories: Vec<String>,
    /// The subresources.
    pub subresources: Vec<Subresource>,
    /// Where its objects are stored: events of both groups are one resource in the store.
    pub storage: GroupResource,
    /// The kind in which its objects are stored, with group and version.
    pub storage_kind: GroupVersionKind,
    /// The kind in which requests work on its objects: the stored one of a built-in resource, and the request's own of
    /// a custom one.
    pub working_kind: GroupVersionKind,
    /// The definition, for a custom resource.
    pub definition: Option<Arc<Value>>,
}

/// A subresource, such as `status` or `exec`.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// Its name.
    pub name: String,
    /// The kind that it takes and answers; group and version are empty where they are the resource's own.
    pub kind: GroupVersionKind,
    /// The verbs.
    pub verbs: Vec<String>,
}

impl Resource {
    /// Returns the group and the plural.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource::named(self.group.clone(), self.plural.clone())
    }

    /// Returns `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Returns group, version and kind.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::of(&self.group, &self.version, &self.kind)
    }

    /// Finds a subresource.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// Tells whether the resource itself allows `verb`.
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    /// Tells whether objects are kept: false for reviews, bindings and component statuses.
    pub fn is_stored(&self) -> bool {
        self.allows("watch")
    }

    /// Returns the entry of `spec.versions` that describes this version of a custom resource.
    pub fn definition_version(&self) -> Option<&Value> {
        let versions = self.definition.as_ref()?.pointer("/spec/versions")?.as_array()?;
        versions.iter().find(|v| v["name"] == self.version.as_str())
    }
}

impl Subresource {
    /// Tells whether the subresource allows `verb`.
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    /// Returns the kind with the resource's group and version filled in.
    pub fn gvk(&self, resource: &Resource) -> GroupVersionKind {
        if self.kind.version.is_empty() {
            GroupVersionKind::of(&resource.group, &resource.version, &self.kind.kind)
        } else {
            self.kind.clone()
        }
    }
}

/// One version of a group.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its name.
    pub name: String,
    /// Its resources, in the order of discovery.
    pub resources: Vec<Arc<Resource>>,
}

/// A group with its versions, the preferred one first.
#[derive(Debug, Clone)]
pub struct Group {
    /// Its name; empty for core.
    pub name: String,
    /// Its versions.
    pub versions: Vec<Version>,
}

/// All resources that a cluster serves at one moment.
#[derive(Debug, Clone)]
pub struct Resources {
    groups: Vec<Group>,
}

static BUILTIN: LazyLock<Resources> = LazyLock::new(|| parse(include_str!("resources/builtin.tsv")));

impl Resources {
    /// Returns the built-in resources.
    pub fn builtin() -> Self {
        BUILTIN.clone()
    }

    /// Returns the built-in resources and those that are only served when their version is switched on, such as
    /// `admissionregistration.k8s.io/v1beta1`.
    pub fn with_versions(versions: &[&str]) -> Self {
        let mut table = include_str!("resources/builtin.tsv").to_owned();
        for line in include_str!("resources/optional.tsv").lines() {
            if line.split('\t').next().is_some_and(|version| versions.contains(&version)) {
                table.push_str(line);
                table.push('\n');
            }
        }
        parse(&table)
    }

    /// Returns the built-in resources and those of the CRDs that are established.
    pub fn with_definitions<'a>(definitions: impl IntoIterator<Item = &'a Arc<Value>>) -> Self {
        Self::builtin().and_definitions(definitions)
    }

    /// Adds the resources of the CRDs that are established.
    #[must_use]
    pub fn and_definitions<'a>(self, definitions: impl IntoIterator<Item = &'a Arc<Value>>) -> Self {
        let mut all = self;
        let mut custom: Vec<Group> = Vec::new();
        for definition in definitions {
            for resource in custom_resources(definition) {
                let groups = match all.groups.iter().any(|g| g.name == resource.group) {
                    true => &mut all.groups,
                    false => &mut custom,
                };
                insert(groups, resource);
            }
        }
        for group in &mut custom {
            group.versions.sort_by(|a, b| version_order(&a.name, &b.name));
            for version in &mut group.versions {
                version.resources.sort_by(|a, b| a.plural.cmp(&b.plural));
            }
        }
        custom.sort_by(|a, b| a.name.cmp(&b.name));
        all.groups.extend(custom);
        all
    }

    /// Returns the groups, core first, in the order of discovery.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Finds a group.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|g| g.name == name)
    }

    /// Finds a version of a group.
    pub fn version(&self, group: &str, version: &str) -> Option<&Version> {
        self.group(group)?.versions.iter().find(|v| v.name == version)
    }

    /// Finds a resource by the parts of its path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.version(group, version)?.resources.iter().find(|r| r.plural == plural)
    }

    /// Finds a resource by kind.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.version(group, version)?.resources.iter().find(|r| r.kind == kind)
    }

    /// Finds a resource in the group's preferred version that has it.
    pub fn preferred(&self, gr: &GroupResource) -> Option<&Arc<Resource>> {
        let group = self.group(&gr.group)?;
        group.versions.iter().find_map(|v| v.resources.iter().find(|r| r.plural == *gr.resource))
    }

    /// Finds the resource in the version in which it is stored.
    pub fn stored(&self, gr: &GroupResource) -> Option<&Arc<Resource>> {
        let any = self.preferred(gr)?;
        let kind = &any.storage_kind;
        self.find(&kind.group, &kind.version, &any.storage.resource)
    }

    /// Returns every resource in every version.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.groups.iter().flat_map(|g| &g.versions).flat_map(|v| &v.resources)
    }

    /// Returns each stored resource once, in its storage version.
    pub fn stored_resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.all().filter(|r| {
            r.is_stored() && r.group == r.storage_kind.group && r.version == r.storage_kind.version
        })
    }
}

fn insert(groups: &mut Vec<Group>, resource: Resource) {
    let at = groups.iter().position(|g| g.name == resource.group).unwrap_or_else(|| {
        groups.push(Group { name: resource.group.clone(), versions: Vec::new() });
        groups.len() - 1
    });
    let versions = &mut groups[at].versions;
    let at = versions.iter().position(|v| v.name == resource.version).unwrap_or_else(|| {
        versions.push(Version { name: resource.version.clone(), resources: Vec::new() });
        versions.len() - 1
    });
    if !versions[at].resources.iter().any(|r| r.plural == resource.plural) {
        versions[at].resources.push(Arc::new(resource));
    }
}

/// Orders versions as clients prefer them: `v2`, `v1`, `v2beta1`, `v1beta2`, `v1alpha1`, then others by name.
pub fn version_order(a: &str, b: &str) -> std::cmp::Ordering {
    fn rank(version: &str) -> Option<(u8, u64, u64)> {
        let rest = version.strip_prefix('v')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let major = rest[..digits].parse().ok()?;
        match &rest[digits..] {
            "" => Some((3, major, 0)),
            tail => {
                let (stage, minor) = match (tail.strip_prefix("beta"), tail.strip_prefix("alpha")) {
                    (Some(minor), _) => (2, minor),
                    (_, Some(minor)) => (1, minor),
                    _ => return None,
                };
                Some((stage, major, minor.parse().ok()?))
            }
        }
    }
    match (rank(a), rank(b)) {
        (Some(a), Some(b)) => b.cmp(&a),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => a.cmp(b),
    }
}

fn parse(table: &str) -> Resources {
    let mut groups = Vec::new();
    let mut pending: Option<Resource> = None;
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let column = |index: usize| columns.get(index).copied().unwrap_or_default();
        let list = |index: usize| -> Vec<String> {
            column(index).split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect()
        };
        let verbs: Vec<String> = column(5).chars().filter_map(verb).map(str::to_owned).collect();
        if let (Some((_, name)), Some(resource)) = (column(1).split_once('/'), pending.as_mut()) {
            let kind = match column(2).rsplit_once('/') {
                None => GroupVersionKind::of("", "", column(2)),
                Some((api_version, kind)) => {
                    let (group, version) = split_api_version(api_version);
                    GroupVersionKind::of(group, version, kind)
                }
            };
            resource.subresources.push(Subresource { name: name.to_owned(), kind, verbs });
            continue;
        }
        let (group, version) = split_api_version(column(0));
        let (plural, kind) = (column(1), column(2));
        let (storage, storage_kind) = storage_of(group, version, plural, kind);
        let resource = Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            singular: column(4).to_owned(),
            kind: kind.to_owned(),
            list_kind: format!("{kind}List"),
            namespaced: column(3) == "N",
            verbs,
            short_names: list(6),
            categories: list(7),
            subresources: Vec::new(),
            storage,
            working_kind: storage_kind.clone(),
            storage_kind,
            definition: None,
        };
        if let Some(done) = pending.replace(resource) {
            insert(&mut groups, done);
        }
    }
    if let Some(last) = pending {
        insert(&mut groups, last);
    }
    Resources { groups }
}

fn verb(code: char) -> Option<&'static str> {
    Some(match code {
        'c' => "create",
        'd' => "delete",
        'D' => "deletecollection",
        'g' => "get",
        'l' => "list",
        'p' => "patch",
        'u' => "update",
        'w' => "watch",
        _ => return None,
    })
}

fn storage_of(group: &str, version: &str, plural: &str, kind: &str) -> (GroupResource, GroupVersionKind) {
    let (group, version) = match (group, plural) {
        ("events.k8s.io", "events") => ("", "v1"),
        ("autoscaling", "horizontalpodautoscalers") => (group, "v2"),
        _ => (group, version),
    };
    (GroupResource::named(group, plural), GroupVersionKind::of(group, version, kind))
}

fn custom_resources(definition: &Arc<Value>) -> Vec<Resource> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| -> Vec<String> { value.as_array().into_iter().flatten().map(text).collect() };
    let owned = |verbs: &[&str]| -> Vec<String> { verbs.iter().map(|&v| v.to_owned()).collect() };
    if !condition(definition, "Established") {
        return Vec::new();
    }
    let spec = &definition["spec"];
    let names = &definition["status"]["acceptedNames"];
    let versions = spec["versions"].as_array().map_or(&[][..], Vec::as_slice);
    let group = text(&spec["group"]);
    let (plural, kind) = (text(&names["plural"]), text(&names["kind"]));
    let stored = versions.iter().find(|v| v["storage"] == true).map(|v| text(&v["name"])).unwrap_or_default();
    let verbs = if condition(definition, "Terminating") {
        owned(&["delete", "deletecollection", "get", "list", "watch"])
    } else {
        owned(&["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"])
    };
    let served = versions.iter().filter(|v| v["served"] == true);
    let build = |version: &Value| {
        let mut subresources = Vec::new();
        let own = |name: &str, kind: GroupVersionKind| Subresource {
            name: name.to_owned(),
            kind,
            verbs: owned(&["get", "patch", "update"]),
        };
        if version["subresources"]["status"].is_object() {
            subresources.push(own("status", GroupVersionKind::of("", "", &kind)));
        }
        if version["subresources"]["scale"].is_object() {
            subresources.push(own("scale", GroupVersionKind::of("autoscaling", "v1", "Scale")));
        }
        Resource {
            group: group.clone(),
            version: text(&version["name"]),
            plural: plural.clone(),
            singular: text(&names["singular"]),
            kind: kind.clone(),
            list_kind: names["listKind"].as_str().map_or_else(|| format!("{kind}List"), str::to_owned),
            namespaced: spec["scope"] == "Namespaced",
            verbs: verbs.clone(),
            short_names: texts(&names["shortNames"]),
            categories: texts(&names["categories"]),
            subresources,
            storage: GroupResource::named(group.clone(), plural.clone()),
            storage_kind: GroupVersionKind::of(&group, &stored, &kind),
            working_kind: GroupVersionKind::of(&group, version["name"].as_str().unwrap_or_default(), &kind),
            definition: Some(Arc::clone(definition)),
        }
    };
    served.map(build).collect()
}

fn condition(definition: &Value, kind: &str) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == kind && c["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn widget() -> Arc<Value> {
        Arc::new(json!({
            "spec": { "group": "lab.example.com", "scope": "Namespaced", "versions": [
                { "name": "v1alpha1", "served": true, "storage": false },
                { "name": "v1", "served": true, "storage": true, "subresources": { "status": {}, "scale": {} } },
                { "name": "v2", "served": false, "storage": false },
            ] },
            "status": {
                "acceptedNames": { "plural": "widgets", "singular": "widget", "kind": "Widget",
                    "listKind": "WidgetList", "shortNames": ["wd"] },
                "conditions": [{ "type": "Established", "status": "True" }],
            },
        }))
    }

    #[test]
    fn builtin_resources_are_found_by_path_and_by_kind() {
        let all = Resources::builtin();
        let deployment = all.find("apps", "v1", "deployments").expect("deployments");
        assert_eq!(deployment.kind, "Deployment");
        assert!(deployment.namespaced);
        assert!(Arc::ptr_eq(deployment, all.by_kind("apps", "v1", "Deployment").expect("by kind")));
        let scale = deployment.subresource("scale").expect("scale");
        assert_eq!(scale.gvk(deployment), GroupVersionKind::of("autoscaling", "v1", "Scale"));
        assert!(all.find("apps", "v1beta1", "deployments").is_none());
    }

    #[test]
    fn versions_that_are_off_are_served_when_they_are_switched_on() {
        let path = ("admissionregistration.k8s.io", "v1beta1", "mutatingadmissionpolicies");
        assert!(Resources::builtin().find(path.0, path.1, path.2).is_none());
        let all = Resources::with_versions(&["admissionregistration.k8s.io/v1beta1"]);
        assert!(all.find(path.0, path.1, path.2).is_some());
        let versions = &all.group(path.0).expect("group").versions;
        assert_eq!(versions.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), ["v1", "v1beta1"]);
    }

    #[test]
    fn two_names_of_one_thing_share_their_storage() {
        let all = Resources::builtin();
        let events = all.find("events.k8s.io", "v1", "events").expect("events");
        assert_eq!(events.storage, GroupResource::of("", "events"));
        let hpa = all.find("autoscaling", "v1", "horizontalpodautoscalers").expect("hpa");
        assert_eq!(hpa.storage_kind.version, "v2");
        let stored: Vec<_> = all.stored_resources().filter(|r| r.plural == "events").collect();
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].group, "");
    }

    #[test]
    fn definitions_add_their_served_versions_best_first() {
        let all = Resources::with_definitions([&widget()]);
        let group = all.group("lab.example.com").expect("group");
        let versions: Vec<&str> = group.versions.iter().map(|v| v.name.as_str()).collect();
        assert_eq!(versions, ["v1", "v1alpha1"]);
        let widgets = all.find("lab.example.com", "v1", "widgets").expect("widgets");
        assert_eq!(widgets.subresources.len(), 2);
        assert_eq!(widgets.definition_version().expect("version")["storage"], true);
        assert_eq!(
            all.stored(&GroupResource::of("lab.example.com", "widgets")).expect("stored").version,
            "v1"
        );
    }

    #[test]
    fn versions_sort_as_clients_prefer_them() {
        let mut versions = ["v1alpha1", "foo10", "v2beta1", "v1", "v10", "v1beta2", "foo1", "v2"];
        versions.sort_by(|a, b| version_order(a, b));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1beta2", "v1alpha1", "foo1", "foo10"]);
    }
}
