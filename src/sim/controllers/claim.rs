//! Who manages what: a controller takes over orphans that its selector matches and lets go of what it no longer does.

use std::sync::Arc;

use serde_json::{Value, json};

use super::engine::Cx;
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::selectors::Selector;
use crate::sim::status::Status;

/// Returns those of `candidates` that `owner` manages, adopting and releasing on the way.
///
/// # Errors
/// The first refusal other than that an object is gone; the rest is claimed all the same.
pub(crate) async fn claim(
    cx: &Cx,
    resource: &GroupResource,
    owner: &Value,
    selector: &Selector,
    candidates: Vec<Arc<Value>>,
) -> Result<Vec<Arc<Value>>, Status> {
    let mut claimed = Vec::new();
    let mut refusal = None;
    for candidate in candidates {
        let matches = selector.matches(meta::labels(&candidate));
        let outcome = match meta::controller(&candidate) {
            Some(reference) if reference["uid"] != owner["metadata"]["uid"] => continue,
            Some(_) if matches => Ok(Some(candidate)),
            Some(_) if meta::is_deleting(owner) => continue,
            Some(_) => release(cx, resource, owner, &candidate).await.map(|()| None),
            None if !matches || meta::is_deleting(owner) || meta::is_deleting(&candidate) => continue,
            None => adopt(cx, resource, owner, &candidate).await.map(Some),
        };
        match outcome {
            Ok(Some(mine)) => claimed.push(mine),
            Ok(None) => {}
            Err(status) if status.code == 404 => {}
            Err(status) => refusal = refusal.or(Some(status)),
        }
    }
    refusal.map_or(Ok(claimed), Err)
}

async fn adopt(
    cx: &Cx,
    resource: &GroupResource,
    owner: &Value,
    orphan: &Value,
) -> Result<Arc<Value>, Status> {
    let mut owners: Vec<Value> = meta::items(&orphan["metadata"]["ownerReferences"]).cloned().collect();
    owners.retain(|reference| reference["uid"] != owner["metadata"]["uid"]);
    owners.push(meta::controller_reference(owner));
    patch_owners(cx, resource, orphan, owners.into()).await
}

async fn release(cx: &Cx, resource: &GroupResource, owner: &Value, object: &Value) -> Result<(), Status> {
    let mut owners: Vec<Value> = meta::items(&object["metadata"]["ownerReferences"]).cloned().collect();
    owners.retain(|reference| reference["uid"] != owner["metadata"]["uid"]);
    let owners = if owners.is_empty() { Value::Null } else { owners.into() };
    patch_owners(cx, resource, object, owners).await.map(|_| ())
}

/// The resourceVersion makes sure that the references are those that were read.
async fn patch_owners(
    cx: &Cx,
    resource: &GroupResource,
    of: &Value,
    owners: Value,
) -> Result<Arc<Value>, Status> {
    let patch = json!({"metadata": {
        "uid": of["metadata"]["uid"], "resourceVersion": of["metadata"]["resourceVersion"], "ownerReferences": owners,
    }});
    cx.client.merge_patch(resource, meta::namespace(of), meta::name(of), "", patch).await
}
