//! The same verbs for clients within the server: by group and plural, past authorization, in the stored version.

use std::sync::Arc;

use serde_json::{Value, json};

use super::Api;
use super::call::{Call, WriteOptions};
use super::patch::Patch;
use crate::sim::attributes::UserInfo;
use crate::sim::client::DeleteOptions;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

impl Api {
    fn inside(
        &self,
        user: &UserInfo,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        subresource: &str,
    ) -> Result<Call, Status> {
        self.reachable()?;
        let resources = self.resources();
        let Some(found) = resources.stored(resource).or_else(|| resources.preferred(resource)) else {
            return Err(Status::no_such_path());
        };
        let mut call = Call::new(user.clone(), found.clone(), namespace, name);
        call.custom = self.custom(found);
        subresource.clone_into(&mut call.subresource);
        call.options = WriteOptions::internal(manager(user));
        Ok(call)
    }

    pub(in crate::sim) async fn create_as(
        &self,
        user: &UserInfo,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        let mut call = self.inside(user, resource, namespace, name, subresource)?;
        if subresource.is_empty() {
            let object = self.typed(&call, object);
            self.create(&mut call, object).await
        } else {
            self.create_sub(&mut call, object).await
        }
    }

    pub(in crate::sim) async fn update_as(
        &self,
        user: &UserInfo,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        subresource: &str,
        object: Value,
    ) -> Result<Arc<Value>, Status> {
        let mut call = self.inside(user, resource, namespace, name, subresource)?;
        let object = self.typed(&call, object);
        let updated = self.update_sub(&mut call, |_| Ok(object.clone())).await?;
        Ok(updated.object)
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
        let mut call = self.inside(user, resource, namespace, name, subresource)?;
        Ok(self.patch(&mut call, &Patch::merge(patch)).await?.object)
    }

    pub(in crate::sim) async fn delete_as(
        &self,
        user: &UserInfo,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
        options: DeleteOptions,
    ) -> Result<Arc<Value>, Status> {
        let mut call = self.inside(user, resource, namespace, name, "")?;
        let mut raw = json!({ "kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1" });
        if let Some(seconds) = options.grace_period_seconds {
            raw["gracePeriodSeconds"] = seconds.into();
        }
        if let Some(policy) = &options.propagation_policy {
            raw["propagationPolicy"] = policy.clone().into();
        }
        call.options.raw = raw;
        Ok(self.delete(&mut call, &options).await?.object)
    }

    fn typed(&self, call: &Call, mut object: Value) -> Value {
        let kind = &call.resource.working_kind;
        if call.subresource.is_empty() || object.get("kind").is_none() {
            object["apiVersion"] = kind.api_version().into();
            object["kind"] = kind.kind.clone().into();
        }
        object
    }
}

/// Returns who manages the fields that a component of the cluster writes.
fn manager(user: &UserInfo) -> &str {
    match user.username.as_str() {
        name if name.starts_with("system:node:") => "kubelet",
        name if name.starts_with("system:serviceaccount:kube-system:") => "kube-controller-manager",
        name => name.strip_prefix("system:").unwrap_or(name),
    }
}
