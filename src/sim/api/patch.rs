//! The patch verb: which kind of patch, on which version, as an update of what is there.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::call::Call;
use super::rest::Updated;
use super::verbs::ResourceRequest;
use super::{Api, convert};
use crate::sim::status::Status;

/// A patch as it came.
#[derive(Debug)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7396.
    Merge(Value),
    /// Strategic merge.
    Strategic(Value),
    /// Server-side apply.
    Apply(Value),
}

impl Patch {
    pub(crate) fn read(call: &Call, request: &ResourceRequest<'_>) -> Result<Self, Status> {
        let custom = call.resource.definition.is_some();
        match request.media_type() {
            "application/json-patch+json" => serde_json::from_slice(&request.body)
                .map(Self::Json)
                .map_err(|error| faulty(&error, &request.body)),
            "application/merge-patch+json" => json(&request.body).map(Self::Merge),
            "application/strategic-merge-patch+json" if !custom => json(&request.body).map(Self::Strategic),
            "application/apply-patch+yaml" => yaml(&request.body).map(Self::Apply),
            _ => {
                let strategic = if custom { "" } else { "application/strategic-merge-patch+json, " };
                Err(Status::unsupported_media_type(format!(
                    "the body of the request was in an unknown format - accepted media types include: \
                     application/json-patch+json, application/merge-patch+json, {strategic}application/apply-patch+yaml"
                )))
            }
        }
    }

    /// Applies to an object of the version that the request names.
    fn apply(&self, old: &Value) -> Result<Value, Status> {
        let mut new = old.clone();
        match self {
            Self::Json(patch) => json_patch::patch(&mut new, patch).map_err(|_| {
                let mut status = Status::new(
                    422,
                    "Invalid",
                    "the server rejected our request due to an error in our request",
                );
                status.details = serde_json::json!({});
                status
            })?,
            Self::Merge(patch) | Self::Strategic(patch) => json_patch::merge(&mut new, patch),
            Self::Apply(_) => return Err(Status::not_simulated("server-side apply")),
        }
        Ok(new)
    }
}

impl Api {
    /// Patches an object.
    pub(crate) async fn patch(&self, call: &mut Call, patch: &Patch) -> Result<Updated, Status> {
        let resource = call.resource.clone();
        self.update(call, matches!(patch, Patch::Apply(_)), |old| {
            let Some(old) = old else { return Err(Status::not_simulated("server-side apply")) };
            let before = convert::from_storage(&resource, &old.object);
            let mut after = patch.apply(&before)?;
            // A patch that does not name a version applies to whatever is there.
            if after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
                && let Some(metadata) = after["metadata"].as_object_mut()
            {
                metadata.remove("resourceVersion");
            }
            Ok(convert::to_storage(&resource, after))
        })
        .await
    }
}

fn json(body: &Bytes) -> Result<Value, Status> {
    serde_json::from_slice(body).map_err(|error| faulty(&error, body))
}

fn yaml(body: &Bytes) -> Result<Value, Status> {
    let text = std::str::from_utf8(body).map_err(|error| Status::bad_request(error.to_string()))?;
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))
}

fn faulty(error: &serde_json::Error, body: &[u8]) -> Status {
    Status::bad_request(format!("error decoding patch: {}", super::decode::go_syntax_error(error, body)))
}

/// What a patch makes of an object that is not stored, such as a Scale.
pub(crate) fn apply_to(patch: &Patch, object: &Arc<Value>) -> Result<Value, Status> {
    patch.apply(object)
}
