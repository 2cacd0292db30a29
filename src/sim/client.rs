//! The in-process client: what controllers, the scheduler and the kubelet write through, each as a user of its own.
//! Requests take the same way as HTTP ones from defaulting and admission on; they are not asked whether they may.

use std::sync::Arc;

use serde_json::Value;

use super::api::Api;
use super::attributes::UserInfo;
use super::resource::GroupResource;
use super::selectors::Selector;
use super::status::Status;
use super::store::Store;
use crate::clock::Clock;

/// How to delete (metav1.DeleteOptions).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds until the object goes; the kind's own default when absent, and 0 removes at once.
    pub grace_period_seconds: Option<i64>,
    /// `Orphan`, `Background` or `Foreground`.
    pub propagation_policy: Option<String>,
    /// The uid that the object must have.
    pub uid: Option<String>,
    /// The resourceVersion that the object must have.
    pub resource_version: Option<String>,
    /// Do everything but delete.
    pub dry_run: bool,
}

/// A client of one cluster.
///
/// Objects are of the storage version, as in the store. Reads that need no API semantics go to [`Client::store`],
/// which is always current.
#[derive(Debug, Clone)]
pub struct Client {
    api: Api,
    user: Arc<UserInfo>,
}

impl Client {
    /// Creates a client of `api` that acts as `user`.
    pub fn new(api: Api, user: UserInfo) -> Self {
        Self { api, user: Arc::new(user) }
    }

    /// Returns a client of the same cluster that acts as someone else.
    #[must_use]
    pub fn with_user(&self, user: UserInfo) -> Self {
        Self::new(self.api.clone(), user)
    }

    /// Returns who asks.
    pub fn user(&self) -> &UserInfo {
        &self.user
    }

    /// Returns the objects themselves.
    pub fn store(&self) -> &Store {
        self.api.store()
    }

    /// Returns the cluster's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        self.api.clock()
    }

    /// Returns the API that it writes through.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Returns an object.
    ///
    /// # Errors
    /// NotFound.
    pub async fn get(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Arc<Value>, Status> {
        match self.store().get(resource, namespace, name) {
            Some(entry) => Ok(entry.object.clone()),
            None => Err(Status::not_found(resource, name)),
        }
    }

    /// Returns the objects of one namespace or of all, those that match a label selector such as `app=web,tier`.
    ///
    /// # Errors
    /// BadRequest for a selector that is none.
    pub async fn list(
        &self,
        resource: &GroupResource,
        namespace: Option<&str>,
        label_selector: Option<&str>,
    ) -> Result<Vec<Arc<Value>>, Status> {
        let selector = Selector::parse(label_selector.unwrap_or_default())
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let entries = self.store().list(resource, namespace);
        let selected = entries.iter().filter(|entry| selector.matches(&entry.object["metadata"]["labels"]));
        Ok(selected.map(|entry| entry.object.clone()).collect())
    }

    /// Creates an object; the name, or `generateName`, is the object's own.
    ///
    /// # Errors
    /// AlreadyExists, Invalid, and whatever admission says.
    pub async fn create(
        &self,
        resource: &GroupResource,
        namespace: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        self.api.create_as(&self.user, resource, namespace, "", "", object).await
    }

    /// Creates through a subresource: `binding`, `eviction`, `token`.
    ///
    /// # Errors
    /// NotFound, and whatever the subresource says.
    pub async fn create_subresource(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        self.api.create_as(&self.user, resource, namespace, name, subresource, object).await
    }

    /// Replaces an object. With `metadata.resourceVersion` in it, only that version of it.
    ///
    /// # Errors
    /// NotFound, Conflict, Invalid, and whatever admission says.
    pub async fn update(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        self.update_subresource(resource, namespace, name, "", object).await
    }

    /// Replaces the status of an object, and nothing else of it.
    ///
    /// # Errors
    /// As [`Client::update`].
    pub async fn update_status(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        self.update_subresource(resource, namespace, name, "status", object).await
    }

    /// Replaces what a subresource such as `finalize`, `approval` or `scale` covers.
    ///
    /// # Errors
    /// As [`Client::update`].
    pub async fn update_subresource(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        self.api.update_as(&self.user, resource, namespace, name, subresource, object).await
    }

    /// Applies a JSON merge patch (RFC 7396) to an object or, with `subresource`, to what that covers.
    ///
    /// # Errors
    /// As [`Client::update`].
    pub async fn merge_patch(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch: Value,
    ) -> Result<Arc<Value>, Status> {
        self.api.merge_patch_as(&self.user, resource, namespace, name, subresource, patch).await
    }

    /// Deletes an object, or begins to: finalizers and a Pod's grace period hold it. Returns it as it is then.
    ///
    /// # Errors
    /// NotFound, and Conflict when a precondition does not hold.
    pub async fn delete(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        options: DeleteOptions,
    ) -> Result<Arc<Value>, Status> {
        self.api.delete_as(&self.user, resource, namespace, name, options).await
    }
}
