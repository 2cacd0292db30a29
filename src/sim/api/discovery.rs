//! Discovery: aggregated (v2 and v2beta1) and legacy documents, worded as a v1.34 server words them.
//! Renders [`Resources`]; what is served is decided there.

use base64::Engine as _;
use ring::digest;
use serde_json::{Map, Value, json};

use super::resources::{Group, GroupVersionKind, Resource, Resources, Version, api_version};

/// The form in which a client wants `/api` and `/apis`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `apidiscovery.k8s.io/v2`
    V2,
    /// `apidiscovery.k8s.io/v2beta1`
    V2Beta1,
    /// One document a group version.
    Legacy,
}

impl Form {
    /// Chooses by the Accept header: the first form that is named there, the legacy one when none is.
    pub fn negotiate(accept: &str) -> Self {
        for clause in accept.split(',') {
            let mut parts = clause.split(';').map(str::trim);
            if !matches!(parts.next(), Some("application/json" | "*/*" | "application/*")) {
                continue;
            }
            let parameters: Vec<&str> = parts.collect();
            if !parameters.contains(&"as=APIGroupDiscoveryList")
                || !parameters.contains(&"g=apidiscovery.k8s.io")
            {
                return Self::Legacy;
            }
            if parameters.contains(&"v=v2") {
                return Self::V2;
            }
            if parameters.contains(&"v=v2beta1") {
                return Self::V2Beta1;
            }
        }
        Self::Legacy
    }

    /// Returns the Content-Type of an answer in this form.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::V2 => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            Self::V2Beta1 => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
            Self::Legacy => "application/json",
        }
    }
}

/// Renders `/api`; `server` is the address that the legacy form names, such as `127.0.0.1:6443`.
pub fn api(resources: &Resources, form: Form, server: &str) -> Value {
    match form {
        Form::Legacy => {
            let core = resources.group("").map_or(&[][..], |g| &g.versions);
            let versions: Vec<&str> = core.iter().map(|v| v.name.as_str()).collect();
            json!({ "kind": "APIVersions", "versions": versions,
                "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": server }] })
        }
        _ => aggregated(form, resources.groups().iter().filter(|g| g.name.is_empty())),
    }
}

/// Renders `/apis`.
pub fn apis(resources: &Resources, form: Form) -> Value {
    let groups = resources.groups().iter().filter(|g| !g.name.is_empty());
    match form {
        Form::Legacy => {
            let groups: Vec<Value> = groups.map(api_group).collect();
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        _ => aggregated(form, groups),
    }
}

/// Renders `/apis/GROUP`.
pub fn group(resources: &Resources, name: &str) -> Option<Value> {
    let mut document = api_group(resources.group(name)?);
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Some(document)
}

/// Renders `/api/v1` or `/apis/GROUP/VERSION`.
pub fn resource_list(resources: &Resources, group: &str, version: &str) -> Option<Value> {
    let found = resources.version(group, version)?;
    let rows: Vec<Value> = found.resources.iter().flat_map(|r| api_resources(r)).collect();
    let mut document = json!({ "kind": "APIResourceList", "groupVersion": api_version(group, version),
        "resources": rows });
    // The core list alone is served by an old code path that leaves the apiVersion out.
    if !group.is_empty() {
        document["apiVersion"] = "v1".into();
    }
    Some(document)
}

fn api_group(group: &Group) -> Value {
    let entry = |version: &Version| json!({ "groupVersion": api_version(&group.name, &version.name), "version": version.name });
    let versions: Vec<Value> = group.versions.iter().map(entry).collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({ "name": group.name, "versions": versions, "preferredVersion": preferred })
}

fn api_resources(resource: &Resource) -> Vec<Value> {
    let mut row = json!({ "name": resource.plural, "singularName": resource.singular, "kind": resource.kind,
        "namespaced": resource.namespaced, "verbs": resource.verbs });
    names(&mut row, resource);
    if resource.is_stored() {
        row["storageVersionHash"] = storage_version_hash(&resource.storage_kind).into();
    }
    let mut rows = vec![row];
    for sub in &resource.subresources {
        let mut row = json!({ "name": format!("{}/{}", resource.plural, sub.name), "singularName": "",
            "kind": sub.kind.kind, "namespaced": resource.namespaced, "verbs": sub.verbs });
        if !sub.kind.version.is_empty() {
            row["group"] = sub.kind.group.clone().into();
            row["version"] = sub.kind.version.clone().into();
        }
        rows.push(row);
    }
    rows
}

fn names(row: &mut Value, resource: &Resource) {
    if !resource.short_names.is_empty() {
        row["shortNames"] = resource.short_names.clone().into();
    }
    if !resource.categories.is_empty() {
        row["categories"] = resource.categories.clone().into();
    }
}

fn aggregated<'a>(form: Form, groups: impl Iterator<Item = &'a Group>) -> Value {
    let items: Vec<Value> = groups.map(discovered_group).collect();
    let version = if form == Form::V2Beta1 { "v2beta1" } else { "v2" };
    json!({ "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items })
}

fn discovered_group(group: &Group) -> Value {
    let mut metadata = Map::new();
    if !group.name.is_empty() {
        metadata.insert("name".to_owned(), group.name.clone().into());
    }
    let version = |version: &Version| {
        let resources: Vec<Value> = version.resources.iter().map(|r| discovered(r)).collect();
        json!({ "version": version.name, "resources": resources, "freshness": "Current" })
    };
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    json!({ "metadata": metadata, "versions": versions })
}

fn discovered(resource: &Resource) -> Value {
    let kind =
        |kind: &GroupVersionKind| json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
    let scope = if resource.namespaced { "Namespaced" } else { "Cluster" };
    let mut row = json!({ "resource": resource.plural, "scope": scope, "singularResource": resource.singular,
        "responseKind": kind(&GroupVersionKind::of("", "", &resource.kind)), "verbs": resource.verbs });
    names(&mut row, resource);
    if !resource.subresources.is_empty() {
        let sub = |sub: &super::resources::Subresource| json!({ "subresource": sub.name, "responseKind": kind(&sub.kind), "verbs": sub.verbs });
        row["subresources"] = resource.subresources.iter().map(sub).collect::<Vec<_>>().into();
    }
    row
}

fn storage_version_hash(kind: &GroupVersionKind) -> String {
    let text = format!("{}/{}/{}", kind.group, kind.version, kind.kind);
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&hash.as_ref()[..8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregated_discovery_equals_the_recorded_one() {
        let recorded: Map<String, Value> =
            serde_json::from_str(include_str!("../../../tests/fixtures/sim/discovery.json")).expect("JSON");
        let all = Resources::builtin();
        let mut seen = Vec::new();
        for document in [api(&all, Form::V2, ""), apis(&all, Form::V2)] {
            for group in document["items"].as_array().expect("items") {
                let name = group["metadata"]["name"].as_str().unwrap_or_default();
                for version in group["versions"].as_array().expect("versions") {
                    let gv = api_version(name, version["version"].as_str().expect("version"));
                    assert_eq!(version["resources"], recorded[&gv], "{gv}");
                    seen.push(gv);
                }
            }
        }
        assert_eq!(seen.len(), recorded.len());
        assert_eq!(seen[..3], ["v1", "apiregistration.k8s.io/v1", "apps/v1"]);
        assert_eq!(&seen[6..8], ["autoscaling/v2", "autoscaling/v1"]);
    }

    #[test]
    fn legacy_lists_name_subresources_and_storage_hashes() {
        let all = Resources::builtin();
        let core = resource_list(&all, "", "v1").expect("core");
        assert!(core.get("apiVersion").is_none());
        let row = |name: &str| {
            let rows = core["resources"].as_array().expect("rows");
            rows.iter().find(|r| r["name"] == name).cloned().expect("row")
        };
        assert_eq!(
            row("pods/eviction"),
            json!({ "name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy",
                "version": "v1", "kind": "Eviction", "verbs": ["create"] })
        );
        assert_eq!(row("configmaps")["storageVersionHash"], "qFsyl6wFWjQ=");
        assert!(row("bindings").get("storageVersionHash").is_none());
        let scaling = resource_list(&all, "autoscaling", "v1").expect("autoscaling");
        assert_eq!(scaling["resources"][0]["storageVersionHash"], "qwQve8ut294=");
        assert_eq!(group(&all, "autoscaling").expect("group")["preferredVersion"]["version"], "v2");
        assert!(resource_list(&all, "nothing", "v1").is_none());
    }

    #[test]
    fn the_accept_header_chooses_the_form() {
        let kubectl = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
            application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(Form::negotiate(kubectl), Form::V2);
        let older =
            "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        assert_eq!(Form::negotiate(older), Form::V2Beta1);
        assert_eq!(Form::negotiate("application/json, */*"), Form::Legacy);
        assert_eq!(Form::negotiate(""), Form::Legacy);
    }
}
