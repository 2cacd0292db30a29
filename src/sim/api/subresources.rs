//! Subresources: parts of an object with rules of their own, and actions on it.

mod binding;
pub mod connect;
mod eviction;
mod reviews;
mod scale;
mod token;

use std::sync::Arc;

use http::Response;
use serde_json::Value;

use super::answer::{self, Accepted, Body, Shape};
use super::call::Call;
use super::patch::Patch;
use super::resources::{GroupVersionKind, Subresource};
use super::rest::Updated;
use super::verbs::ResourceRequest;
use super::{Api, decode, verbs};
use crate::sim::status::Status;

impl Api {
    /// Answers a request on a subresource that exists and has this verb.
    pub(crate) async fn on_subresource(
        &self,
        call: &mut Call,
        subresource: &Subresource,
        request: &ResourceRequest<'_>,
    ) -> Result<Response<Body>, Status> {
        let resource = call.resource.clone();
        let verb = request.info.verb.as_str();
        match (subresource.name.as_str(), verb) {
            ("log" | "exec" | "attach" | "portforward" | "proxy", _) => self.connect(call, request).await,
            ("token" | "eviction" | "binding", "create") => {
                call.options = request.options("CreateOptions")?;
                let object = self.decode_as(call, &subresource.gvk(&resource), request)?;
                let answer = self.create_sub(call, object).await?;
                Ok(answer::object(201, &answer, plain(request.accepted)))
            }
            ("scale", _) => {
                let scale = self.on_scale(call, request).await?;
                Ok(answer::object(200, &scale, plain(request.accepted)))
            }
            (_, "get" | "watch") => {
                let entry = self.read(call).await?;
                self.respond(&resource, 200, &entry.object, request)
            }
            (_, "update") => {
                call.options = request.options("UpdateOptions")?;
                let object = self.decode(call, request)?;
                verbs::named(call, &object)?;
                let updated = self.update_sub(call, |_| Ok(object.clone())).await?;
                self.respond(&resource, 200, &updated.object, request)
            }
            (_, "patch") => {
                call.options = request.options("PatchOptions")?;
                let patch = Patch::read(call, request)?;
                let updated = self.patch(call, &patch).await?;
                self.respond(&resource, 200, &updated.object, request)
            }
            _ => Err(verbs::not_allowed(&resource)),
        }
    }

    /// Reads a body of a kind that is not the resource's own.
    pub(super) fn decode_as(
        &self,
        call: &mut Call,
        kind: &GroupVersionKind,
        request: &ResourceRequest<'_>,
    ) -> Result<Value, Status> {
        let validation = call.options.validation;
        let (object, warnings) = decode::object(request.media_type(), &request.body, kind, None, validation)?;
        for warning in warnings {
            call.warn(warning);
        }
        Ok(object)
    }

    /// Does what creating through a subresource does.
    pub(crate) async fn create_sub(&self, call: &mut Call, object: Value) -> Result<Arc<Value>, Status> {
        match call.subresource.as_str() {
            "token" => self.create_token(call, object).await.map(Arc::new),
            "eviction" => self.evict(call, object).await.map(Arc::new),
            "binding" => self.bind(call, object).await.map(Arc::new),
            other => Err(Status::not_simulated(&format!("{}/{other}", call.resource.plural))),
        }
    }

    /// Replaces what a subresource covers.
    pub(crate) async fn update_sub<F>(&self, call: &mut Call, make: F) -> Result<Updated, Status>
    where
        F: Fn(Option<&Arc<Value>>) -> Result<Value, Status>,
    {
        self.update(call, false, make).await
    }
}

/// What is no stored object is answered as it is, whatever shape is asked for.
fn plain(accepted: Accepted) -> Accepted {
    Accepted { shape: Shape::Full, ..accepted }
}
