//! Subresources, and resources that are asked but not stored.

use std::sync::Arc;

use http::Response;
use serde_json::Value;

use super::Api;
use super::answer::Body;
use super::call::Call;
use super::resources::Subresource;
use super::rest::Updated;
use super::verbs::ResourceRequest;
use crate::sim::status::Status;
use crate::sim::store::Entry;

impl Api {
    pub(crate) async fn on_subresource(
        &self,
        call: &mut Call,
        subresource: &Subresource,
        request: &ResourceRequest<'_>,
    ) -> Result<Response<Body>, Status> {
        let _ = request;
        Err(Status::not_simulated(&format!("{}/{}", call.resource.plural, subresource.name)))
    }

    pub(crate) async fn on_virtual(
        &self,
        call: &mut Call,
        request: &ResourceRequest<'_>,
    ) -> Result<Response<Body>, Status> {
        let _ = request;
        Err(Status::not_simulated(&call.resource.plural))
    }

    pub(crate) async fn create_sub(&self, call: &mut Call, object: Value) -> Result<Arc<Value>, Status> {
        let _ = object;
        Err(Status::not_simulated(&format!("{}/{}", call.resource.plural, call.subresource)))
    }

    pub(crate) async fn update_sub<F>(&self, call: &mut Call, make: F) -> Result<Updated, Status>
    where
        F: Fn(Option<&Arc<Entry>>) -> Result<Value, Status>,
    {
        self.update(call, false, make).await
    }
}
