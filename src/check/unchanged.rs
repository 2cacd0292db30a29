//! `unchanged`: what the task does not speak of is as it was seeded. Compares meaning, not text.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::api::Api;
use super::permissions::{self, Atom, Rbac};
use super::select::{Select, Selected};
use super::subject::Identity;
use super::{Check, CheckCx, CheckError, Finding, Verdict, object};

/// Makes sure that objects, permissions and cluster roles are as they were after the seed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unchanged {
    /// Sets of objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<UnchangedObjects>,
    /// ServiceAccounts as `namespace/name` whose effective permissions, from all bindings together, neither grow nor
    /// shrink; `*` and `?` stand for any characters and any one. One that is deleted has lost them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub effective_permissions: Vec<String>,
    /// ClusterRoles by name whose rules are the same and of which none is lost; `*` and `?` as above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_roles: Vec<String>,
}

/// Objects that must be as they were seeded. Status, bookkeeping of the API server and kubectl's annotations never
/// count; the order of keys and of sets does not either.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnchangedObjects {
    /// The API version, such as `v1` or `apps/v1`.
    pub api_version: String,
    /// The kind, such as `NetworkPolicy`.
    pub kind: String,
    /// The namespace; `*` means every namespace. Left out for kinds without namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The one object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Several names; `*` and `?` stand for any characters and any one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// A label selector as kubectl takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// A CEL expression over `object` that must be true for objects of the set.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Every object of the kind in the namespace.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// Only these fields, such as `spec.podSelector`, `data` or `metadata.labels`; everything but metadata beyond
    /// labels and annotations when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Fields that may differ, such as `spec.replicas`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// Lets the set be empty after the seed, as for kinds of which the learner must not make any.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_empty: bool,
    /// Lets the set grow; otherwise an object more is a finding as one less is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_grow: bool,
    /// Lets objects be deleted and made anew with the same content; otherwise the uid must be the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_recreated: bool,
}

/// What was there after the seed.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Baseline {
    /// For each set of the specification: objects by `namespace/name`.
    objects: Vec<BTreeMap<String, Kept>>,
    /// Granted atoms by `namespace/name` of the ServiceAccount.
    permissions: BTreeMap<String, BTreeSet<Atom>>,
    /// What a new account would have had, by namespace: the grants to groups.
    newcomers: BTreeMap<String, BTreeSet<Atom>>,
    /// Rules by ClusterRole.
    cluster_roles: BTreeMap<String, BTreeSet<Atom>>,
}

/// One object, without what does not count.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    uid: String,
    content: Value,
}

impl Check for Unchanged {
    fn lint(&self, faults: &mut Vec<String>) {
        if self.objects.is_empty() && self.effective_permissions.is_empty() && self.cluster_roles.is_empty() {
            faults.push("unchanged: name objects, effectivePermissions or clusterRoles".to_owned());
        }
        for (index, set) in self.objects.iter().enumerate() {
            set.select().lint(&format!("objects[{index}]"), faults);
            for path in set.only.iter().chain(&set.except) {
                if path.is_empty() || !object::is_path(path) {
                    faults.push(format!("objects[{index}]: `{path}` is not a path"));
                }
            }
        }
        for (index, account) in self.effective_permissions.iter().enumerate() {
            if account.split('/').count() != 2 || account.starts_with('/') || account.ends_with('/') {
                faults.push(format!("effectivePermissions[{index}]: give `namespace/name`"));
            }
        }
        if self.cluster_roles.iter().any(String::is_empty) {
            faults.push("clusterRoles: an empty name means nothing".to_owned());
        }
    }

    async fn record(&self, cx: &CheckCx<'_>) -> Result<Value, CheckError> {
        let api = Api::new(cx.client.clone());
        let now = self.look(&api).await?;
        for (set, found) in self.objects.iter().zip(&now.objects) {
            if found.is_empty() && !set.may_be_empty {
                let what = set.select().describe();
                return Err(CheckError::Spec(format!("there is no {what} after the seed")));
            }
        }
        for (patterns, found) in [
            (&self.effective_permissions, now.permissions.keys().collect::<Vec<_>>()),
            (&self.cluster_roles, now.cluster_roles.keys().collect()),
        ] {
            if let Some(empty) =
                patterns.iter().find(|pattern| !found.iter().any(|name| object::matches(pattern, name)))
            {
                return Err(CheckError::Spec(format!("nothing is named `{empty}` after the seed")));
            }
        }
        serde_json::to_value(now).map_err(|error| CheckError::Spec(error.to_string()))
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let before: Baseline = cx
            .baseline
            .and_then(|baseline| serde_json::from_value(baseline.clone()).ok())
            .ok_or(CheckError::NoBaseline)?;
        if before.objects.len() != self.objects.len() {
            return Err(CheckError::NoBaseline);
        }
        let api = Api::new(cx.client.clone());
        let now = self.look(&api).await?;
        let mut findings = Vec::new();
        for (set, (before, now)) in self.objects.iter().zip(before.objects.iter().zip(&now.objects)) {
            set.compare(before, now, &mut findings);
        }
        if !self.effective_permissions.is_empty() || !self.cluster_roles.is_empty() {
            let rbac = Rbac::read(&api).await?;
            let (old, new) = (&before.permissions, &now.permissions);
            compare_grants(&rbac, "ServiceAccount", old, new, &mut findings);
            before.newcomers(&rbac, new, &mut findings);
            compare_grants(&rbac, "ClusterRole", &before.cluster_roles, &now.cluster_roles, &mut findings);
        }
        Ok(Verdict::of(findings))
    }
}

impl Unchanged {
    async fn look(&self, api: &Api) -> Result<Baseline, CheckError> {
        let mut now = Baseline::default();
        for set in &self.objects {
            now.objects.push(set.look(api).await?);
        }
        if self.effective_permissions.is_empty() && self.cluster_roles.is_empty() {
            return Ok(now);
        }
        let rbac = Rbac::read(api).await?;
        if !self.effective_permissions.is_empty() {
            for account in api.list_known("v1", "ServiceAccount", None, None).await? {
                let key = object::key(&account);
                let Some((namespace, name)) = key.split_once('/') else { continue };
                if self.effective_permissions.iter().any(|pattern| object::matches(pattern, &key)) {
                    let granted = rbac.granted(&Identity::service_account(namespace, name));
                    let fresh = || rbac.granted(&Identity::service_account(namespace, ""));
                    now.newcomers.entry(namespace.to_owned()).or_insert_with(fresh);
                    now.permissions.insert(key.clone(), granted);
                }
            }
        }
        for name in rbac.cluster_role_names() {
            if self.cluster_roles.iter().any(|pattern| object::matches(pattern, name)) {
                let rules = rbac.cluster_role(name).unwrap_or_default();
                now.cluster_roles.insert(name.to_owned(), rules);
            }
        }
        Ok(now)
    }
}

/// How many changed permissions of one subject are shown.
const SHOWN: usize = 4;

/// Compares what is granted by what it comes to.
fn compare_grants(
    rbac: &Rbac,
    kind: &str,
    before: &BTreeMap<String, BTreeSet<Atom>>,
    now: &BTreeMap<String, BTreeSet<Atom>>,
    findings: &mut Vec<Finding>,
) {
    for (name, old) in before {
        let object = format!("{kind} {name}");
        let Some(new) = now.get(name) else {
            findings.push(Finding::new(object, "", "it exists", "it does not"));
            continue;
        };
        for (atom, _) in rbac.beyond(old, new).into_iter().take(SHOWN) {
            findings.push(Finding::new(&object, atom.to_string(), "granted, as before", "no longer granted"));
        }
        for (atom, _) in rbac.beyond(new, old).into_iter().take(SHOWN) {
            findings.push(Finding::new(&object, atom.to_string(), "not granted, as before", "granted"));
        }
    }
}

impl Baseline {
    /// Finds accounts that were not there and have more than a new account would have had.
    fn newcomers(&self, rbac: &Rbac, now: &BTreeMap<String, BTreeSet<Atom>>, findings: &mut Vec<Finding>) {
        for (key, new) in now.iter().filter(|(key, _)| !self.permissions.contains_key(*key)) {
            let (namespace, name) = key.split_once('/').unwrap_or_default();
            let mut had = permissions::basics(&Identity::service_account(namespace, name));
            had.extend(self.newcomers.get(namespace).into_iter().flatten().cloned());
            for (atom, _) in rbac.beyond(new, &had).into_iter().take(SHOWN) {
                let object = format!("ServiceAccount {key}");
                findings.push(Finding::new(
                    object,
                    atom.to_string(),
                    "no such account, as before",
                    "granted",
                ));
            }
        }
    }
}

impl UnchangedObjects {
    fn select(&self) -> Select {
        Select {
            api_version: self.api_version.clone(),
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            names: self.names.clone(),
            selector: self.selector.clone(),
            condition: self.condition.clone(),
            all: self.all,
        }
    }

    async fn look(&self, api: &Api) -> Result<BTreeMap<String, Kept>, CheckError> {
        // A namespace or a kind that is gone has taken its objects along, which the comparison then tells.
        let Selected::Objects(found) = self.select().objects(api).await? else { return Ok(BTreeMap::new()) };
        Ok(found
            .into_iter()
            .filter(|item| !object::is_going(item))
            .map(|item| {
                let uid = item["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
                (object::key(&item), Kept { uid, content: self.content(&item) })
            })
            .collect())
    }

    /// Keeps what counts of an object.
    fn content(&self, item: &Value) -> Value {
        let mut content = Value::Object(serde_json::Map::new());
        if self.only.is_empty() {
            for (field, value) in item.as_object().into_iter().flatten() {
                if !matches!(field.as_str(), "apiVersion" | "kind" | "metadata" | "status") {
                    content[field] = value.clone();
                }
            }
            for field in ["labels", "annotations"] {
                let value = &item["metadata"][field];
                if value.as_object().is_some_and(|map| !map.is_empty()) {
                    content["metadata"][field] = value.clone();
                }
            }
        } else {
            for path in &self.only {
                if let Some(value) = object::at(item, path) {
                    content[path] = value.clone();
                }
            }
        }
        let bookkeeping = [
            "metadata.annotations['kubectl.kubernetes.io/last-applied-configuration']",
            "metadata.annotations['deployment.kubernetes.io/revision']",
            "metadata.annotations['kubernetes.io/change-cause']",
        ];
        for path in bookkeeping.into_iter().chain(self.except.iter().map(String::as_str)) {
            object::remove(&mut content, path);
        }
        for (path, value) in content.as_object_mut().into_iter().flatten() {
            for excepted in &self.except {
                if let Some(rest) = excepted.strip_prefix(path.as_str()) {
                    object::remove(value, rest.trim_start_matches('.'));
                }
            }
        }
        for field in ["labels", "annotations"] {
            if content["metadata"][field].as_object().is_some_and(serde_json::Map::is_empty) {
                object::remove(&mut content, &format!("metadata.{field}"));
            }
        }
        if content["metadata"].as_object().is_none_or(serde_json::Map::is_empty) {
            object::remove(&mut content, "metadata");
        }
        prune(&mut content);
        content
    }

    fn compare(
        &self,
        before: &BTreeMap<String, Kept>,
        now: &BTreeMap<String, Kept>,
        findings: &mut Vec<Finding>,
    ) {
        for (key, old) in before {
            let object = format!("{} {key}", self.kind);
            let Some(new) = now.get(key) else {
                findings.push(Finding::new(object, "", "it exists", "it does not"));
                continue;
            };
            if old.uid != new.uid && !self.may_be_recreated {
                let actual = "deleted and made anew";
                findings.push(Finding::new(&object, "metadata.uid", "the object that was there", actual));
            }
            differences(&object, "", &old.content, &new.content, findings);
        }
        for key in now.keys().filter(|key| !self.may_grow && !before.contains_key(*key)) {
            let object = format!("{} {key}", self.kind);
            findings.push(Finding::new(object, "", "it does not exist, as before", "it exists"));
        }
    }
}

/// Removes nulls, as an edit may leave them. Empty maps stay: `podSelector: {}` selects all.
fn prune(value: &mut Value) {
    if let Value::Object(map) = value {
        map.values_mut().for_each(prune);
        map.retain(|_, value| !value.is_null());
    } else if let Value::Array(list) = value {
        list.iter_mut().for_each(prune);
    }
}

/// Finds where two values differ, as deep as their shapes agree.
fn differences(object: &str, path: &str, old: &Value, new: &Value, findings: &mut Vec<Finding>) {
    const MOST: usize = 20;
    if old == new || findings.len() >= MOST {
        return;
    }
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let below = match (path.is_empty(), key.contains(['.', '/', '['])) {
                    (true, _) => key.clone(),
                    (false, true) => format!("{path}['{key}']"),
                    (false, false) => format!("{path}.{key}"),
                };
                differences(object, &below, &old[key], &new[key], findings);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            if is_set(path) && a.iter().all(|item| b.contains(item)) && b.iter().all(|item| a.contains(item))
            {
                return;
            }
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                differences(object, &format!("{path}[{index}]"), a, b, findings);
            }
        }
        _ => {
            let shown = |value: &Value| match value {
                Value::Null => "nothing".to_owned(),
                value => object::show(value),
            };
            findings.push(Finding::new(object, path, format!("{}, as before", shown(old)), shown(new)));
        }
    }
}

/// Tells whether the order of a list has no meaning.
fn is_set(path: &str) -> bool {
    let field = path.rsplit('.').next().unwrap_or(path);
    matches!(
        field,
        "subjects"
            | "rules"
            | "verbs"
            | "apiGroups"
            | "resources"
            | "resourceNames"
            | "nonResourceURLs"
            | "policyTypes"
            | "ingress"
            | "egress"
            | "from"
            | "to"
            | "ports"
            | "imagePullSecrets"
            | "secrets"
            | "tolerations"
            | "taints"
            | "finalizers"
            | "accessModes"
            | "tls"
            | "hosts"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_sets_does_not_count_and_that_of_containers_does() {
        let mut findings = Vec::new();
        let old = json!({"ports": [{"port": 1}, {"port": 2}], "containers": ["a", "b"]});
        let new = json!({"ports": [{"port": 2}, {"port": 1}], "containers": ["b", "a"]});
        differences("x", "", &old, &new, &mut findings);
        let paths: Vec<_> = findings.iter().map(|finding| finding.path.as_str()).collect();
        assert_eq!(paths, ["containers[0]", "containers[1]"]);
    }

    #[test]
    fn bookkeeping_never_counts() {
        let set = UnchangedObjects { except: vec!["spec.replicas".to_owned()], ..Default::default() };
        let object = json!({
            "metadata": {"name": "a", "resourceVersion": "3", "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}"}},
            "spec": {"replicas": 3, "paused": false}, "status": {"replicas": 3},
        });
        assert_eq!(set.content(&object), json!({"spec": {"paused": false}}));
    }

    #[test]
    fn chosen_fields_may_have_exceptions_below() {
        let set = UnchangedObjects {
            only: vec!["spec.template".to_owned()],
            except: vec!["spec.template.metadata".to_owned()],
            ..Default::default()
        };
        let object = json!({"spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"x": 1}}}});
        assert_eq!(set.content(&object), json!({"spec.template": {"spec": {"x": 1}}}));
    }
}
