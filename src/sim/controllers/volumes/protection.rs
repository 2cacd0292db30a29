//! Protection of what is in use: a claim stays while a Pod uses it, a volume while it is bound.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{CLAIMS, VOLUMES};
use crate::sim::controllers::engine::{Controller, Cx, Next, Notice};
use crate::sim::controllers::pods::{self, PODS};
use crate::sim::controllers::queue::{Key, Queue};
use crate::sim::meta;
use crate::sim::pod_refs;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";

/// Lets claims go that no Pod uses.
#[derive(Debug)]
pub(crate) struct ClaimProtection;

/// Lets volumes go that are not bound.
#[derive(Debug)]
pub(crate) struct VolumeProtection;

async fn set_finalizers(
    cx: &Cx,
    resource: &GroupResource,
    of: &Value,
    finalizers: Vec<Value>,
) -> Result<Next, Status> {
    let finalizers = if finalizers.is_empty() { Value::Null } else { finalizers.into() };
    let patch = json!({"metadata": {
        "resourceVersion": of["metadata"]["resourceVersion"], "finalizers": finalizers,
    }});
    match cx.client.merge_patch(resource, meta::namespace(of), meta::name(of), "", patch).await {
        Err(status) if status.code == 404 => Ok(Next::Done),
        other => other.map(|_| Next::Done),
    }
}

/// Adds the finalizer to what stays, takes it from what may go.
async fn protect(
    cx: &Cx,
    resource: &GroupResource,
    object: &Value,
    finalizer: &str,
    in_use: bool,
) -> Result<Next, Status> {
    let has = meta::has_finalizer(object, finalizer);
    if meta::is_deleting(object) {
        if has && !in_use {
            return set_finalizers(cx, resource, object, meta::finalizers_without(object, finalizer)).await;
        }
    } else if !has {
        let mut all: Vec<Value> = meta::items(&object["metadata"]["finalizers"]).cloned().collect();
        all.push(finalizer.into());
        return set_finalizers(cx, resource, object, all).await;
    }
    Ok(Next::Done)
}

#[async_trait]
impl Controller for ClaimProtection {
    fn name(&self) -> &'static str {
        "pvc-protection-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![CLAIMS, PODS]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&CLAIMS) {
            if !notice.is_gone() {
                queue.add(notice.key());
            }
        } else if notice.is_gone() || pods::is_finished(notice.object) {
            for claim in pod_refs::claims(notice.object) {
                queue.add(Key::new(meta::namespace(notice.object), &claim));
            }
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(claim) = cx.get(&CLAIMS, &key.namespace, &key.name) else { return Ok(Next::Done) };
        // A Pod that has no node yet does not hold a claim, for it could not start with it any more.
        let uses = |pod: &Value| {
            pod["spec"]["nodeName"].as_str().is_some_and(|node| !node.is_empty())
                && !pods::is_finished(pod)
                && pod_refs::claims(pod).contains(&key.name)
        };
        let in_use =
            meta::is_deleting(&claim) && cx.list(&PODS, Some(&key.namespace)).iter().any(|pod| uses(pod));
        protect(cx, &CLAIMS, &claim, CLAIM, in_use).await
    }
}

#[async_trait]
impl Controller for VolumeProtection {
    fn name(&self) -> &'static str {
        "pv-protection-controller"
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![VOLUMES]
    }

    fn notice(&self, _cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if !notice.is_gone() {
            queue.add(notice.key());
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(volume) = cx.get(&VOLUMES, "", &key.name) else { return Ok(Next::Done) };
        let in_use = volume["status"]["phase"] == "Bound";
        protect(cx, &VOLUMES, &volume, VOLUME, in_use).await
    }
}
