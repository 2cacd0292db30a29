//! What authorization and admission read of a cluster's state, so that they need no store of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::resource::GroupResource;

/// Reads objects as they are now.
pub trait View: Send + Sync {
    /// Returns one object; the namespace is empty for cluster-scoped resources.
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Value>>;

    /// Returns the objects of one namespace, or of all, sorted by namespace and name.
    fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Vec<Arc<Value>>;

    /// Returns a number that grows with each change of any object of this resource.
    fn revision_of(&self, resource: &GroupResource) -> u64;
}

/// A fixed set of objects.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    objects: BTreeMap<GroupResource, BTreeMap<(String, String), Arc<Value>>>,
    revision: u64,
}

impl Objects {
    /// Adds or replaces an object under the namespace and name in its metadata.
    pub fn insert(&mut self, resource: &GroupResource, object: Value) {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = (text("namespace"), text("name"));
        self.revision += 1;
        self.objects.entry(resource.clone()).or_default().insert(key, Arc::new(object));
    }

    /// Removes an object.
    pub fn remove(&mut self, resource: &GroupResource, namespace: &str, name: &str) {
        self.revision += 1;
        if let Some(objects) = self.objects.get_mut(resource) {
            objects.remove(&(namespace.to_owned(), name.to_owned()));
        }
    }
}

impl View for Objects {
    fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.objects.get(resource)?.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Vec<Arc<Value>> {
        let Some(objects) = self.objects.get(resource) else { return Vec::new() };
        objects
            .iter()
            .filter(|((ns, _), _)| namespace.is_none_or(|wanted| wanted == ns))
            .map(|(_, object)| object.clone())
            .collect()
    }

    fn revision_of(&self, _resource: &GroupResource) -> u64 {
        self.revision
    }
}
