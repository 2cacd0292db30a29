//! Garbage collection by owner references: in the background, in the foreground, or leaving orphans.
//! An owner is whoever has the reference's kind, name and uid in the dependent's namespace, or in none for cluster scope.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::engine::{Controller, Cx, Next, Notice};
use super::queue::{Key, Queue};
use crate::sim::api::resources::split_api_version;
use crate::sim::client::DeleteOptions;
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Deletes what has lost its owners.
#[derive(Debug, Default)]
pub(crate) struct GarbageCollector {
    /// The objects that name an owner, by its uid.
    dependents: Mutex<HashMap<String, BTreeSet<Key>>>,
}

impl GarbageCollector {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<Key>>> {
        self.dependents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dependents_of(&self, owner: &Value) -> Vec<Key> {
        self.lock().get(meta::uid(owner)).into_iter().flatten().cloned().collect()
    }
}

fn owners(object: &Value) -> impl Iterator<Item = &Value> + Clone {
    meta::items(&object["metadata"]["ownerReferences"])
}

fn owner_uid(reference: &Value) -> &str {
    reference["uid"].as_str().unwrap_or_default()
}

/// A key that names the resource as well; neither groups nor plurals nor names have a slash.
fn key_of(resource: &GroupResource, object: &Value) -> Key {
    Key::new(
        meta::namespace(object),
        &format!("{}/{}/{}", resource.group, resource.resource, meta::name(object)),
    )
}

fn parse(key: &Key) -> Option<(GroupResource, &str)> {
    let mut parts = key.name.splitn(3, '/');
    let (group, resource, name) = (parts.next()?, parts.next()?, parts.next()?);
    Some((GroupResource::named(group, resource), name))
}

fn fetch(cx: &Cx, key: &Key) -> Option<(GroupResource, Arc<Value>)> {
    let (resource, name) = parse(key)?;
    let object = cx.get(&resource, &key.namespace, name)?;
    Some((resource, object))
}

fn is_deleting_dependents(object: &Value) -> bool {
    meta::is_deleting(object) && meta::has_finalizer(object, FOREGROUND)
}

fn is_orphaning(object: &Value) -> bool {
    meta::is_deleting(object) && meta::has_finalizer(object, ORPHAN)
}

/// What became of an owner.
enum Owner {
    Solid,
    Gone,
    Waiting,
    /// Its kind is not served, or it could never be an owner: nothing is decided.
    Unknown,
}

fn find_owner(cx: &Cx, dependent: &Value, reference: &Value) -> Owner {
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let resources = cx.client.api().resources();
    let (group, version) = split_api_version(text("apiVersion"));
    let Some(resource) = resources.by_kind(group, version, text("kind")) else { return Owner::Unknown };
    let namespace = if resource.namespaced { meta::namespace(dependent) } else { "" };
    if resource.namespaced && namespace.is_empty() {
        return Owner::Unknown;
    }
    match cx.get(&resource.storage, namespace, text("name")) {
        Some(owner) if meta::uid(&owner) != text("uid") => Owner::Gone,
        None => Owner::Gone,
        Some(owner) if is_deleting_dependents(&owner) => Owner::Waiting,
        Some(_) => Owner::Solid,
    }
}

#[async_trait]
impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "generic-garbage-collector"
    }

    fn follows(&self) -> Vec<GroupResource> {
        Vec::new()
    }

    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        let (object, key) = (notice.object, || key_of(notice.resource, notice.object));
        let referring = notice.changed("/metadata/ownerReferences") || notice.is_gone();
        if referring {
            let mut dependents = self.lock();
            for reference in notice.previous.into_iter().flat_map(owners).chain(owners(object)) {
                if let Some(set) = dependents.get_mut(owner_uid(reference)) {
                    set.remove(&key());
                    if set.is_empty() {
                        dependents.remove(owner_uid(reference));
                    }
                }
            }
            if !notice.is_gone() {
                for reference in owners(object) {
                    dependents.entry(owner_uid(reference).to_owned()).or_default().insert(key());
                }
            }
        }
        if notice.is_gone() {
            for dependent in self.dependents_of(object) {
                queue.add(dependent);
            }
        } else if is_deleting_dependents(object)
            || is_orphaning(object)
            || (referring && owners(object).next().is_some())
        {
            queue.add(key());
        }
        // An owner that waits for its dependents hears when one goes or refers to it no longer.
        if referring {
            for reference in notice.previous.into_iter().flat_map(owners).chain(owners(object)) {
                let text = |field: &str| reference[field].as_str().unwrap_or_default();
                let resources = cx.client.api().resources();
                let (group, version) = split_api_version(text("apiVersion"));
                let Some(resource) = resources.by_kind(group, version, text("kind")) else { continue };
                let namespace = if resource.namespaced { meta::namespace(object) } else { "" };
                if let Some(owner) = cx.get(&resource.storage, namespace, text("name"))
                    && is_deleting_dependents(&owner)
                {
                    queue.add(key_of(&resource.storage, &owner));
                }
            }
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some((resource, object)) = fetch(cx, key) else { return Ok(Next::Done) };
        if is_orphaning(&object) {
            return self.orphan(cx, &resource, &object).await;
        }
        if is_deleting_dependents(&object) {
            return self.wait_for_dependents(cx, &resource, &object).await;
        }
        if meta::is_deleting(&object) {
            return Ok(Next::Done);
        }
        self.collect(cx, &resource, &object).await
    }
}

impl GarbageCollector {
    async fn orphan(&self, cx: &Cx, resource: &GroupResource, owner: &Value) -> Result<Next, Status> {
        for key in self.dependents_of(owner) {
            if let Some((of, dependent)) = fetch(cx, &key) {
                let rest =
                    owners(&dependent).filter(|r| r["uid"] != owner["metadata"]["uid"]).cloned().collect();
                set_owners(cx, &of, &dependent, rest).await?;
            }
        }
        remove_finalizer(cx, resource, owner, ORPHAN).await
    }

    async fn wait_for_dependents(
        &self,
        cx: &Cx,
        resource: &GroupResource,
        owner: &Value,
    ) -> Result<Next, Status> {
        let mut blocked = false;
        for key in self.dependents_of(owner) {
            let Some((of, dependent)) = fetch(cx, &key) else { continue };
            let uid = &owner["metadata"]["uid"];
            let blocks = owners(&dependent).any(|r| r["uid"] == *uid && r["blockOwnerDeletion"] == true);
            blocked |= blocks;
            if !meta::is_deleting(&dependent) {
                self.collect(cx, &of, &dependent).await?;
            }
        }
        if blocked {
            return Ok(Next::Done);
        }
        remove_finalizer(cx, resource, owner, FOREGROUND).await
    }

    async fn collect(&self, cx: &Cx, resource: &GroupResource, object: &Value) -> Result<Next, Status> {
        if owners(object).next().is_none() {
            return Ok(Next::Done);
        }
        let (mut solid, mut gone, mut waiting) = (Vec::new(), 0, 0);
        for reference in owners(object) {
            match find_owner(cx, object, reference) {
                Owner::Solid => solid.push(reference.clone()),
                Owner::Gone => gone += 1,
                Owner::Waiting => waiting += 1,
                Owner::Unknown => return Ok(Next::Done),
            }
        }
        if !solid.is_empty() {
            if gone + waiting > 0 {
                set_owners(cx, resource, object, solid).await?;
            }
            return Ok(Next::Done);
        }
        let has_dependents = !self.dependents_of(object).is_empty();
        let policy = if waiting > 0 && has_dependents {
            self.unblock_cycles(cx, resource, object).await?;
            "Foreground"
        } else if meta::has_finalizer(object, ORPHAN) {
            "Orphan"
        } else if meta::has_finalizer(object, FOREGROUND) {
            "Foreground"
        } else {
            "Background"
        };
        let options = DeleteOptions {
            propagation_policy: Some(policy.to_owned()),
            uid: Some(meta::uid(object).to_owned()),
            ..DeleteOptions::default()
        };
        match cx.client.delete(resource, meta::namespace(object), meta::name(object), options).await {
            Err(status) if matches!(status.code, 404 | 409) => Ok(Next::Done),
            other => other.map(|_| Next::Done),
        }
    }

    /// An object whose dependent waits for its own dependents would wait for ever if they are the same: it no longer
    /// blocks its owners.
    async fn unblock_cycles(&self, cx: &Cx, resource: &GroupResource, object: &Value) -> Result<(), Status> {
        let mut dependents = self.dependents_of(object).into_iter();
        if dependents
            .any(|key| fetch(cx, &key).is_some_and(|(_, dependent)| is_deleting_dependents(&dependent)))
        {
            let mut references: Vec<Value> = owners(object).cloned().collect();
            for reference in &mut references {
                reference["blockOwnerDeletion"] = false.into();
            }
            set_owners(cx, resource, object, references).await?;
        }
        Ok(())
    }
}

async fn set_owners(
    cx: &Cx,
    resource: &GroupResource,
    of: &Value,
    references: Vec<Value>,
) -> Result<(), Status> {
    let references = if references.is_empty() { Value::Null } else { references.into() };
    let patch = json!({"metadata": {
        "uid": of["metadata"]["uid"], "resourceVersion": of["metadata"]["resourceVersion"], "ownerReferences": references,
    }});
    match cx.client.merge_patch(resource, meta::namespace(of), meta::name(of), "", patch).await {
        Err(status) if status.code == 404 => Ok(()),
        other => other.map(|_| ()),
    }
}

async fn remove_finalizer(
    cx: &Cx,
    resource: &GroupResource,
    of: &Value,
    finalizer: &str,
) -> Result<Next, Status> {
    let rest = meta::finalizers_without(of, finalizer);
    let patch = json!({"metadata": {
        "resourceVersion": of["metadata"]["resourceVersion"],
        "finalizers": if rest.is_empty() { Value::Null } else { rest.into() },
    }});
    match cx.client.merge_patch(resource, meta::namespace(of), meta::name(of), "", patch).await {
        Err(status) if status.code == 404 => Ok(Next::Done),
        other => other.map(|_| Next::Done),
    }
}

#[cfg(test)]
mod tests;
