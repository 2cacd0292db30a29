//! Verbs on stored objects, behind authorization: create, update, patch, delete.

use std::sync::Arc;

use serde_json::Value;

use super::Api;
use crate::sim::attributes::UserInfo;
use crate::sim::client::DeleteOptions;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;
use crate::sim::store::StoreError;

impl Api {
    pub(in crate::sim) async fn create_as(
        &self,
        _user: &UserInfo,
        resource: &GroupResource,
        namespace: &str,
        _name: &str,
        subresource: &str,
        mut object: Value,
    ) -> Result<Arc<Value>, Status> {
        if !subresource.is_empty() {
            return Err(Status::not_simulated(subresource));
        }
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = namespace.into();
        }
        object["metadata"]["uid"] =
            format!("{:08x}-0000-4000-8000-000000000000", self.store().revision()).into();
        object["metadata"]["creationTimestamp"] = format!("{:.0}", self.clock().now()).into();
        let entry = self.store().create(resource, namespace, &name, object);
        entry.map(|entry| entry.object.clone()).map_err(|error| status(error, resource, &name))
    }

    pub(in crate::sim) async fn update_as(
        &self,
        _user: &UserInfo,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        let old =
            self.store().get(resource, namespace, name).ok_or_else(|| Status::not_found(resource, name))?;
        let expected = object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok());
        let mut new = object;
        if subresource == "status" {
            let status = new["status"].take();
            new = Value::clone(&old.object);
            new["status"] = status;
        }
        let entry = self.store().update(resource, namespace, name, expected, new);
        entry.map(|entry| entry.object.clone()).map_err(|error| status(error, resource, name))
    }

    pub(in crate::sim) async fn merge_patch_as(
        &self,
        user: &UserInfo,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        subresource: &str,
        patch: Value,
    ) -> Result<Arc<Value>, Status> {
        let old =
            self.store().get(resource, namespace, name).ok_or_else(|| Status::not_found(resource, name))?;
        let mut new = Value::clone(&old.object);
        json_patch::merge(&mut new, &patch);
        self.update_as(user, resource, namespace, name, subresource, new).await
    }

    pub(in crate::sim) async fn delete_as(
        &self,
        _user: &UserInfo,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        _options: DeleteOptions,
    ) -> Result<Arc<Value>, Status> {
        let entry = self.store().delete(resource, namespace, name, None);
        entry.map(|entry| entry.object.clone()).map_err(|error| status(error, resource, name))
    }
}

fn status(error: StoreError, resource: &GroupResource, name: &str) -> Status {
    match error {
        StoreError::Exists => Status::already_exists(resource, name),
        StoreError::NotFound => Status::not_found(resource, name),
        StoreError::Conflict => Status::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        ),
        other => Status::internal(other),
    }
}
